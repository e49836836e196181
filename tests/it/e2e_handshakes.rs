//! What vendors send before or beside events, at the real door: each is answered as its vendor wants and starts nothing.
//!
//! The one invariant: every scheme that has a handshake stands in the table; signatures are made by the tests' own code
//! ([`crate::support::sender`]), not by AURA's.

use std::collections::BTreeSet;

use aura_protocol::rpc::{DeliveryQuery, Verdict};
use aura_protocol::signature::{Greeting, SCHEMES};

use crate::support::sender::{exchange, hmac};
use crate::support::{Daemon, now_ms};

const SECRET: &str = "a secret of the sender";

/// A handshake: scheme, method, query, headers, body, and the answer's status and body.
type Row = (&'static str, &'static str, &'static str, Vec<(String, String)>, &'static str, u16, &'static str);

fn rows() -> Vec<Row> {
    let now = (now_ms() / 1000).to_string();
    let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let form = || header("content-type", "application/x-www-form-urlencoded");
    let slack = |secret: &str, body: &str| {
        let proof = hex::encode(hmac(secret.as_bytes(), format!("v0:{now}:{body}").as_bytes()));
        vec![header("x-slack-request-timestamp", &now), header("x-slack-signature", &format!("v0={proof}"))]
    };
    let github = |secret: &str, body: &str| {
        let proof = format!("sha256={}", hex::encode(hmac(secret.as_bytes(), body.as_bytes())));
        let event = [header("x-github-event", "ping"), header("x-github-delivery", "d-1")];
        [&event[..], &[header("x-hub-signature-256", &proof)]].concat()
    };
    let challenge =
        r#"{"token":"t","challenge":"3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7tYXAYM8P","type":"url_verification"}"#;
    let answer = "3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7tYXAYM8P";
    let zen = r#"{"zen":"Keep it logically awesome.","hook_id":1}"#;
    let hub = "hub.mode=subscribe&hub.challenge=1158201444&hub.verify_token=agreed";
    vec![
        ("slack", "POST", "", slack(SECRET, challenge), challenge, 200, answer),
        ("slack", "POST", "", slack("another", challenge), challenge, 401, ""),
        ("slack", "POST", "", vec![], challenge, 401, ""),
        ("slack", "POST", "", vec![form()], "token=t&ssl_check=1", 200, ""),
        ("slack", "GET", "ssl_check=1&token=t", vec![], "", 200, ""),
        ("slack", "GET", "", vec![], "", 404, ""),
        ("slack", "POST", "", vec![form()], "command=%2Fdeploy&text=now", 401, ""),
        ("github", "POST", "", github(SECRET, zen), zen, 200, ""),
        ("github", "POST", "", github("another", zen), zen, 401, ""),
        ("meta", "GET", hub, vec![], "", 200, "1158201444"),
        ("meta", "GET", "hub.mode=subscribe&hub.challenge=1&hub.verify_token=guess", vec![], "", 403, ""),
        ("notion", "POST", "", vec![], r#"{"verification_token":"secret_abc"}"#, 200, ""),
        ("woocommerce", "POST", "", vec![form()], "webhook_id=42", 200, ""),
        ("woocommerce", "POST", "", vec![form()], "webhook_id=42&order=7", 401, ""),
    ]
}

#[test]
fn the_handshake_of_every_vendor_is_answered_and_starts_nothing() {
    let daemon = Daemon::start();
    daemon.connect("key", "secret", &[("value", SECRET), ("verify_token", "agreed")]);
    let greeting: BTreeSet<&str> =
        SCHEMES.iter().filter(|scheme| scheme.greeting != Greeting::None).map(|scheme| scheme.name).collect();
    for name in &greeting {
        // Notion names its token before there is any secret.
        let secret = if *name == "notion" { "later" } else { "key" };
        daemon.publish(&format!(
            "aura: 1\nflow: {name}\ntriggers:\n  - id: in\n    on: webhook\n    auth: {{ scheme: {name}, secret: {secret} }}\nsteps:\n  - id: a\n    set: {{ b: 1 }}\n"
        ));
    }
    let rows = rows();
    let told: BTreeSet<&str> = rows.iter().filter(|row| row.5 == 200).map(|row| row.0).collect();
    assert_eq!(told, greeting, "a vendor with a handshake has a row here");
    for (scheme, method, query, headers, body, status, answer) in rows {
        let path = daemon.open_hook(scheme).path;
        let mark = if query.is_empty() { "" } else { "?" };
        let lines: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let length = body.len();
        let request = format!(
            "{method} {path}{mark}{query} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n{lines}\r\n{body}"
        );
        let reply = exchange(daemon.address(), request.as_bytes(), || ()).expect("an answer");
        assert_eq!((reply.status, reply.event()), (status, None), "{scheme} {method} {query} {body}: {}", reply.text());
        let query = DeliveryQuery { flow: Some(scheme.to_owned()), limit: 1, ..DeliveryQuery::default() };
        let row = daemon.ask().webhook_deliveries(query).expect("the deliveries").deliveries.remove(0);
        assert_eq!(row.verdict == Verdict::Handshake, status == 200, "{scheme} {method} {body}: {row:?}");
        if status == 200 {
            assert_eq!(reply.text(), answer, "{scheme} {method} {body}");
        }
        assert!(daemon.runs(scheme).is_empty(), "{scheme} {method} {body}");
    }
    let said = daemon.aura(&["webhook", "show", "notion"]).success();
    assert!(said.out.contains("secret_abc"), "the token that will sign is shown: {said:?}");
}
