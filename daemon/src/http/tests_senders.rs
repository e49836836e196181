//! Senders as they are: every scheme, handshakes, a rotation, a proxy in front, the API's own listener.

use aura_protocol::TenantId;
use aura_protocol::rpc::ConnectionAdd;
use aura_protocol::signature::{self, Request, SCHEMES};
use aura_storage::rows::RefusedBody;
use aura_storage::{Key, Table};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::Limits;
use super::tests::{Rig, limits, rig_of, status};

/// A key pair of P-256 made for tests.
const PRIVATE: &str = "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgrndvihEGF7u4sXrg8imzkJd1nijPLcXgIqO9+mch7WuhRANCAAR4onK7SDUPVlYbH9K40iWHa9L1VzFqFiC83M+gxY9RC3mJWyUQix3/ad3ScEYM74lrWeFrkAIgjhYxQHkTcRnI";
const PUBLIC: &str = "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEeKJyu0g1D1ZWGx/SuNIlh2vS9VcxahYgvNzPoMWPUQt5iVslEIsd/2nd0nBGDO+Ja1nha5ACII4WMUB5E3EZyA==";

fn flow(triggers: &str) -> String {
    format!("aura: 1\nflow: door\ntriggers:\n{triggers}steps:\n  - {{ id: a, set: {{ b: 1 }} }}\n")
}

fn lines(headers: &[(String, String)]) -> String {
    headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect()
}

/// Bodies in the log of refused deliveries.
async fn kept_bodies(rig: &Rig) -> Vec<Vec<u8>> {
    rig.door.log.flush().await;
    let (from, to) = (Key::tenant(TenantId::DEFAULT), Key::tenant(TenantId::DEFAULT).after_prefix());
    let rows: Vec<(Key, RefusedBody)> =
        rig.catalog.store().scan(TenantId::DEFAULT, Table::DeliveryBodies, &from, &to, 100, false).unwrap();
    rows.into_iter().map(|(_, row)| row.body).collect()
}

async fn connection(rig: &Rig, name: &str, fields: &[(&str, &str)], keep_ms: Option<u64>) {
    let fields = fields.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
    let add = ConnectionAdd { name: name.to_owned(), connector: "secret".to_owned(), fields, keep_ms };
    rig.catalog.connection_add(&rig.actor, add).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn every_scheme_passes_its_own_deliveries_and_hears_its_own_status() {
    let triggers: String = SCHEMES
        .iter()
        .map(|scheme| {
            format!("  - {{ id: {0}, on: webhook, auth: {{ scheme: {0}, secret: key-{0} }} }}\n", scheme.name)
        })
        .collect();
    let names: Vec<String> = SCHEMES.iter().map(|scheme| format!("key-{}", scheme.name)).collect();
    let rig = rig_of(limits(), &flow(&triggers), &names.iter().map(String::as_str).collect::<Vec<_>>()).await;
    for scheme in SCHEMES {
        let (secret, signer) = match scheme.key {
            signature::Key::Text => ("a secret of the sender", "a secret of the sender"),
            signature::Key::Base64 { .. } => ("whsec_c2VjcmV0", "whsec_c2VjcmV0"),
            signature::Key::PublicKey => (PUBLIC, PRIVATE),
        };
        let path = rig.path(scheme.name).to_owned();
        let url = format!("https://hooks.example.com{path}");
        let body = r#"{"id":"evt_1","event_id":"Ev1","data":[{"topic":"t","external_id":"x"}]}"#;
        let at = |ahead_s: i64| {
            let request = Request { method: "POST", url: &url, headers: &[], body: body.as_bytes() };
            let now = rig.door.clock.now_ms() + ahead_s * 1000;
            lines(&signature::sign_request(scheme, signer, &request, now, "d-1"))
        };
        assert_eq!(status(&rig.post(&path, &at(0), body).await), "401", "{}: another secret", scheme.name);
        connection(&rig, &format!("key-{}", scheme.name), &[("value", secret)], None).await;
        let taken = rig.post(&path, &at(0), body).await;
        assert_eq!(status(&taken), scheme.success_status.to_string(), "{}: {taken}", scheme.name);
        assert!(taken.contains("aura-event-id: evt_"), "{}: {taken}", scheme.name);
        if signature::delivery_id(
            scheme,
            &[
                (scheme.families[0].signature.to_owned(), String::new()),
                (scheme.families[0].id.unwrap_or("x").to_owned(), "d-1".to_owned()),
            ],
            body.as_bytes(),
        )
        .is_some()
        {
            let again = rig.post(&path, &at(1), body).await;
            assert!(status(&again) == "200" && again.contains("duplicate"), "{}: {again}", scheme.name);
        }
        for (case, headers, body) in [("another body", at(0), "{}"), ("nothing", String::new(), body)] {
            let refused = rig.post(&path, &headers, body).await;
            assert_eq!(status(&refused), "401", "{} {case}: {refused}", scheme.name);
        }
        if scheme.window.is_some() {
            assert_eq!(status(&rig.post(&path, &at(-302), body).await), "401", "{}: too old", scheme.name);
        }
        let other = rig.path(if scheme.name == "stripe" { "github" } else { "stripe" }).to_owned();
        assert_eq!(status(&rig.post(&other, &at(0), body).await), "401", "{} at another endpoint", scheme.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn handshakes_are_answered_before_there_is_a_secret_and_start_nothing() {
    let rig = rig_of(
        limits(),
        &flow(
            "  - { id: meta, on: webhook, auth: { scheme: meta, secret: fb } }
  - { id: near, on: webhook, auth: { scheme: meta, secret: fb }, allow: [203.0.113.0/24] }
  - { id: notion, on: webhook, auth: { scheme: notion, secret: note } }
  - { id: woo, on: webhook, auth: { scheme: woocommerce, secret: hub } }
  - { id: slack, on: webhook, auth: { scheme: slack, secret: hub } }
",
        ),
        &["fb", "hub"],
    )
    .await;
    let get = async |trigger: &str, query: &str| {
        let path = rig.path(trigger);
        rig.exchange(format!("GET {path}?{query} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").as_bytes()).await
    };
    let query = "hub.mode=subscribe&hub.challenge=1158201444&hub.verify_token=agreed";
    assert_eq!(status(&get("meta", query).await), "403", "nothing was agreed yet");
    connection(&rig, "fb", &[("value", "app secret"), ("verify_token", "agreed")], None).await;
    let answer = get("meta", query).await;
    assert!(status(&answer) == "200" && answer.ends_with("\r\n\r\n1158201444"), "{answer}");
    assert!(answer.contains("nosniff") && answer.contains("text/plain"), "{answer}");
    assert_eq!(status(&get("meta", &query.replace("agreed", "guess")).await), "403");
    assert_eq!(status(&get("near", query).await), "403", "from a network that may not send");
    for trigger in ["notion", "woo", "slack"] {
        assert_eq!(status(&get(trigger, query).await), "404", "{trigger} has no handshake by GET");
    }

    let notion = rig.path("notion").to_owned();
    let offered = || rig.catalog.webhooks("").into_iter().find(|hook| hook.trigger == "notion").unwrap().offered;
    let token = r#"{"verification_token":"secret_abc"}"#;
    assert_eq!(offered(), None);
    let answer = rig.post(&notion, "content-type: application/json\r\n", token).await;
    assert!(status(&answer) == "200" && !answer.contains("aura-event-id"), "{answer}");
    assert_eq!(offered().as_deref(), Some("secret_abc"));
    assert_eq!(status(&rig.post(&notion, "", "{}").await), "401", "an offer makes no secret");
    connection(&rig, "note", &[("value", "secret_abc")], None).await;
    assert_eq!(offered(), None, "it is the secret now, and secrets are not shown");
    assert_eq!(status(&rig.post(&notion, "", token).await), "401", "nobody brings another token");
    let scheme = signature::scheme("notion").unwrap();
    let signed = lines(&signature::sign(scheme, "secret_abc", b"{\"id\":\"1\"}", 0, ""));
    assert_eq!(status(&rig.post(&notion, &signed, "{\"id\":\"1\"}").await), "202");
    let early = format!(
        "POST /hooks/not-yet HTTP/1.1\r\nhost: hooks.example.com\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{token}",
        token.len()
    );
    assert_eq!(status(&rig.exchange(early.as_bytes()).await), "404");
    let bodies = kept_bodies(&rig).await;
    assert!(bodies.contains(&b"{}".to_vec()), "{bodies:?}");
    assert!(!bodies.iter().any(|body| body.windows(10).any(|part| part == b"secret_abc")), "a token is never kept");

    let woo = rig.path("woo").to_owned();
    let form = "content-type: application/x-www-form-urlencoded\r\n";
    let ping = rig.post(&woo, form, "webhook_id=42").await;
    assert!(status(&ping) == "200" && !ping.contains("aura-event-id"), "{ping}");
    assert_eq!(status(&rig.post(&woo, form, "webhook_id=42&more=1").await), "401");

    let slack = rig.path("slack").to_owned();
    let challenge = r#"{"type":"url_verification","challenge":"abc123"}"#;
    assert_eq!(status(&rig.post(&slack, "", challenge).await), "401", "this handshake is signed");
    let now = rig.door.clock.now_ms();
    let signed = lines(&signature::sign(signature::scheme("slack").unwrap(), "hush", challenge.as_bytes(), now, ""));
    let answer = rig.post(&slack, &signed, challenge).await;
    assert!(status(&answer) == "200" && answer.ends_with("\r\n\r\nabc123"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_described_sender_proves_itself_and_two_secrets_count_during_a_rotation() {
    let way = "{ secret: hub, header: X-Own-Signature, prefix: \"v1=\", timestamp: X-Own-Time, id: X-Own-Id }";
    let rig =
        rig_of(limits(), &flow(&format!("  - {{ id: own, on: webhook, auth: {{ hmac: {way} }} }}\n")), &["hub"]).await;
    let path = rig.path("own").to_owned();
    let hmac = aura_protocol::flow::Hmac {
        header: "x-own-signature".to_owned(),
        prefix: "v1=".to_owned(),
        timestamp: Some("x-own-time".to_owned()),
        id: Some("x-own-id".to_owned()),
        ..aura_protocol::flow::Hmac::default()
    };
    let generic = signature::Generic::of(&hmac).unwrap();
    let signed = |secret: &str, id: &str, ahead_s: i64| {
        let now = rig.door.clock.now_ms() + ahead_s * 1000;
        lines(&generic.with(|scheme| signature::sign(scheme, secret, b"{}", now, id)))
    };
    assert_eq!(status(&rig.post(&path, &signed("hush", "1", 0), "{}").await), "202");
    assert_eq!(status(&rig.post(&path, &signed("hush", "1", 1), "{}").await), "200", "a repeat by its id");
    assert_eq!(status(&rig.post(&path, &signed("hush", "2", -310), "{}").await), "401");
    assert_eq!(status(&rig.post(&path, &signed("rush", "2", 0), "{}").await), "401");
    let doubled = format!("{}x-own-time: 1\r\n", signed("hush", "2", 0));
    assert_eq!(status(&rig.post(&path, &doubled, "{}").await), "400");
    connection(&rig, "hub", &[("value", "rush")], Some(3_600_000)).await;
    for (number, secret) in ["hush", "rush"].into_iter().enumerate() {
        assert_eq!(status(&rig.post(&path, &signed(secret, &format!("r{number}"), 0), "{}").await), "202", "{secret}");
    }
    connection(&rig, "hub", &[("value", "brush")], None).await;
    for (secret, expected) in [("hush", "401"), ("rush", "401"), ("brush", "202")] {
        assert_eq!(status(&rig.post(&path, &signed(secret, "e", 0), "{}").await), expected, "{secret}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_and_a_sender_behind_a_proxy_have_their_share() {
    let rig =
        rig_of(Limits { per_second: 5, ..limits() }, &flow("  - { id: open, on: webhook, auth: none }\n"), &[]).await;
    let path = rig.path("open").to_owned();
    let mut seen = Vec::new();
    for _ in 0..12 {
        let answer = rig.post(&path, "", "{}").await;
        if status(&answer) == "429" {
            assert!(answer.contains("\r\nretry-after: ") && !answer.contains("aura-event-id"), "{answer}");
        }
        seen.push(status(&answer).to_owned());
    }
    assert_eq!(seen.iter().take(5).filter(|status| *status == "202").count(), 5, "{seen:?}");
    assert!(seen.iter().any(|status| status == "429"), "{seen:?}");

    // 127.0.0.2 is the proxy that this door trusts: one sender behind it holds all its places.
    let rig = rig_of(
        Limits { per_source_max: 1, body_idle: std::time::Duration::from_secs(9), ..limits() },
        &flow("  - { id: open, on: webhook, auth: none }\n"),
        &[],
    )
    .await;
    let path = rig.path("open").to_owned();
    let through_proxy = async |sender: &str, expect: &str| {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
        let mut stream = socket.connect(rig.address).await.unwrap();
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: a\r\nx-forwarded-for: {sender}\r\n{expect}content-length: 2\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut piece = vec![0; 1024];
        if expect.is_empty() {
            stream.write_all(b"{}").await.unwrap();
        }
        let count = stream.read(&mut piece).await.unwrap();
        (stream, String::from_utf8_lossy(&piece[..count]).into_owned())
    };
    let (mut held, asked) = through_proxy("203.0.113.5", "expect: 100-continue\r\n").await;
    assert_eq!(status(&asked), "100", "its body is waited for: {asked}");
    assert_eq!(status(&through_proxy("203.0.113.77", "").await.1), "429", "the same network");
    assert_eq!(status(&through_proxy("198.51.100.7", "").await.1), "202", "another sender");
    held.write_all(b"{}").await.unwrap();
    let mut piece = [0; 1024];
    assert!(held.read(&mut piece).await.unwrap() > 0);
    assert_eq!(status(&through_proxy("203.0.113.77", "").await.1), "202");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_apis_listener_answers_under_its_own_name_only_and_knows_no_hooks() {
    let rig = rig_of(limits(), &flow("  - { id: open, on: webhook, auth: none }\n"), &[]).await;
    let (listener, address) = super::listen("127.0.0.1:0", super::Which::Door).await.unwrap();
    rig.tasks.spawn(rig.door.clone().serve_api(listener, vec!["aura.intern".to_owned()]));
    assert_eq!(status(&rig.post(rig.path("open"), "", "{}").await), "202");
    let ask = async |path: &str, host: &str| {
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    };
    let metrics = ask("/metrics", "localhost:1").await;
    assert_eq!(status(&metrics), "200", "{metrics}");
    assert!(metrics.contains("\naura_http_responses_total{status=\"202\"} 1\n"), "{metrics}");
    assert!(metrics.contains("\naura_http_body_bytes_total 2\n"), "{metrics}");
    assert_eq!(status(&ask("/healthz", &address.to_string()).await), "200");
    assert_eq!(status(&ask("/readyz", "aura.intern").await), "200");
    assert_eq!(status(&ask("/metrics", "evil.example").await), "421");
    assert_eq!(status(&ask(rig.path("open"), "localhost").await), "404");
    let at_the_door = rig.exchange(b"GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await;
    assert_eq!(status(&at_the_door), "404", "strangers read no numbers");
}
