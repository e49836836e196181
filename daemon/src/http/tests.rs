//! The door over raw sockets: what a hostile or clumsy sender may try, byte by byte.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aura_integrations::http::{EgressPolicy, Http};
use aura_integrations::redact::Sink;
use aura_integrations::registry::Registry;
use aura_protocol::rpc::{Actor, ConnectionAdd, Role};
use aura_protocol::{RequestId, TenantId, signature};
use aura_storage::{Key, Store, StoreOptions, Table};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::peer::Proxies;
use super::{Door, Limits, Outside};
use crate::catalog::Catalog;
use crate::clock::Clock;
use crate::config::Options;
use crate::engine::{Deps, Engine};
use crate::room::{Room, Tight};
use crate::tasks::Tasks;

/// What the log said on this thread.
#[derive(Clone, Default)]
struct Said(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Said {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

pub(super) struct Rig {
    pub address: SocketAddr,
    pub catalog: Catalog,
    pub tasks: Tasks,
    pub actor: Actor,
    pub door: Door,
    pub room: Room,
    /// Endpoint paths by trigger.
    paths: Vec<(String, String)>,
}

const FLOW: &str = "aura: 1
flow: door
triggers:
  - { id: open, on: webhook, auth: none }
  - { id: signed, on: webhook, auth: { scheme: github, secret: hub } }
  - { id: token, on: webhook, auth: { bearer: word } }
steps:
  - id: a
    set: { got: \"{{ trigger.body }}\" }
";

pub(super) fn limits() -> Limits {
    Limits {
        body_max: 4096,
        head: Duration::from_millis(400),
        body_idle: Duration::from_millis(300),
        body_total: Duration::from_millis(900),
        ..Limits::of(&Options::default())
    }
}

fn outside() -> Outside {
    let proxies = Proxies::new(&["127.0.0.2".to_owned()]);
    Outside { reached: "https://hooks.example.com".into(), proxies, relay: None }
}

pub(super) async fn rig(limits: Limits) -> Rig {
    rig_of(limits, FLOW, &["hub", "word"]).await
}

/// A door in front of one flow, which is named `door`; its secrets have the value `hush`.
pub(super) async fn rig_of(limits: Limits, flow: &str, secrets: &[&str]) -> Rig {
    let store = Store::open(&StoreOptions::in_memory([7; 32])).unwrap();
    let (clock, registry, tasks) = (Clock::system(), Arc::new(Registry::builtin()), Tasks::default());
    let catalog = Catalog::open(store.clone(), Arc::clone(&registry), clock.clone(), Sink::default()).unwrap();
    let actor =
        Actor { name: "test".to_owned(), role: Role::Owner, tenant: TenantId::DEFAULT, request: RequestId::now() };
    for name in secrets {
        let fields = vec![("value".to_owned(), "hush".to_owned())];
        let add = ConnectionAdd { name: (*name).to_owned(), connector: "secret".to_owned(), fields, keep_ms: None };
        catalog.connection_add(&actor, add).await.unwrap();
    }
    catalog.apply(&actor, flow).await.unwrap();
    catalog.publish(&actor, "door").await.unwrap();
    let room = Room::default();
    let engine = Engine::start(Deps {
        reached: "https://hooks.example.com".into(),
        store,
        flows: Arc::new(catalog.clone()),
        clock: clock.clone(),
        registry,
        http: Arc::new(Http::new(EgressPolicy::default()).unwrap()),
        calls_max: 4,
        room: room.clone(),
        hold: crate::hold::Hold::default(),
        runners: crate::config::Options::default().runners(),
        outgoing: crate::engine::outgoing::OutgoingOptions::default(),
        blobs: crate::engine::blobs::BlobLimits::default(),
    })
    .await
    .unwrap();
    let (listener, address) = super::listen("127.0.0.1:0", super::Which::Door).await.unwrap();
    let door = Door::new(catalog.clone(), engine, clock, limits, tasks.clone(), outside());
    tasks.spawn(door.clone().serve(listener));
    let paths = catalog.webhooks("").into_iter().map(|webhook| (webhook.trigger, webhook.url)).collect();
    Rig { address, catalog, tasks, actor, door, room, paths }
}

impl Rig {
    pub fn path(&self, trigger: &str) -> &str {
        self.paths.iter().find(|(id, _)| id == trigger).map(|(_, path)| path.as_str()).unwrap()
    }

    pub async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Sends bytes and reads to the end of the connection.
    pub async fn exchange(&self, bytes: &[u8]) -> String {
        let mut stream = self.connect().await;
        let _ = stream.write_all(bytes).await;
        read_all(&mut stream).await
    }

    pub async fn post(&self, path: &str, headers: &str, body: &str) -> String {
        let length = body.len();
        self.exchange(
            format!("POST {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n{body}")
                .as_bytes(),
        )
        .await
    }
}

async fn read_all(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    // A hang shows as a failure, not as a test that never ends.
    let _ = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut answer)).await.expect("no hang");
    String::from_utf8_lossy(&answer).into_owned()
}

pub(super) fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or("none")
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_have_limits_in_time_and_size() {
    let rig = rig(limits()).await;
    for begin in ["", "POST /hooks/x HT", "POST /hooks/x HTTP/1.1\r\nhost: a\r\nx-slow: "] {
        let began = std::time::Instant::now();
        let mut stream = rig.connect().await;
        stream.write_all(begin.as_bytes()).await.unwrap();
        let answer = read_all(&mut stream).await;
        assert!(!answer.contains("200") && !answer.contains("404"), "{begin:?}: {answer}");
        assert!(began.elapsed() < Duration::from_secs(5), "{begin:?} held its connection {:?}", began.elapsed());
    }
    let path = rig.path("open");
    let many: String = (0..120).map(|n| format!("x-{n}: 1\r\n")).collect();
    assert_eq!(status(&rig.post(path, &many, "{}").await), "431");
    let giant = format!("x-giant: {}\r\n", "g".repeat(20_000));
    assert_eq!(status(&rig.post(path, &giant, "{}").await), "431");
    // A connection that was kept open has the same time for its next head.
    let mut stream = rig.connect().await;
    stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    let answer = read_all(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("ok\n"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_have_limits_in_time_and_size() {
    let rig = rig(limits()).await;
    let path = rig.path("open").to_owned();
    let head = format!("POST {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n");
    let idle = rig.exchange(format!("{head}content-length: 10\r\n\r\n{{").as_bytes()).await;
    assert_eq!(status(&idle), "408", "{idle}");
    let mut stream = rig.connect().await;
    stream.write_all(format!("{head}content-length: 1000\r\n\r\n").as_bytes()).await.unwrap();
    let (mut reader, mut writer) = stream.into_split();
    let drip = tokio::spawn(async move {
        while writer.write_all(b" ").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    let mut answer = String::new();
    let _ = tokio::time::timeout(Duration::from_secs(8), reader.read_to_string(&mut answer)).await.expect("no hang");
    assert_eq!(status(&answer), "408", "a byte now and then does not hold it: {answer}");
    drip.abort();
    let large = rig.post(&path, "content-type: application/json\r\n", &" ".repeat(5000)).await;
    assert_eq!(status(&large), "413");
    assert!(large.contains("larger than 4096 bytes"), "{large}");
    let chunk = format!("{:x}\r\n{}\r\n", 3000, " ".repeat(3000));
    let chunked = format!("{head}transfer-encoding: chunked\r\n\r\n{chunk}{chunk}0\r\n\r\n");
    assert_eq!(status(&rig.exchange(chunked.as_bytes()).await), "413");
}

#[tokio::test(flavor = "multi_thread")]
async fn tricks_with_lengths_and_doubled_headers_are_refused() {
    let rig = rig(limits()).await;
    let path = rig.path("open").to_owned();
    let json = "content-type: application/json\r\n";
    for (case, request) in [
        (
            "two lengths",
            format!("POST {path} HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{{}}"),
        ),
        (
            "a length twice",
            format!("POST {path} HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\ncontent-length: 2\r\n\r\n{{}}"),
        ),
        (
            "a length and a coding",
            format!(
                "POST {path} HTTP/1.1\r\nhost: a\r\ncontent-length: 7\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{{}}\r\n0\r\n\r\n"
            ),
        ),
        (
            "a coding and a length",
            format!(
                "POST {path} HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\ncontent-length: 7\r\n\r\n2\r\n{{}}\r\n0\r\n\r\n"
            ),
        ),
        ("a bare LF", format!("POST {path} HTTP/1.1\r\nhost: a\ncontent-length: 2\r\n\r\n{{}}")),
        ("a bare LF at the end", format!("POST {path} HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\n{{}}")),
        ("a bare CR", format!("POST {path} HTTP/1.1\r\nhost: a\rx: 1\r\ncontent-length: 2\r\n\r\n{{}}")),
        (
            "two codings",
            format!(
                "POST {path} HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"
            ),
        ),
        ("odd coding", format!("POST {path} HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n")),
        ("a length that is none", format!("POST {path} HTTP/1.1\r\nhost: a\r\ncontent-length: +2\r\n\r\n{{}}")),
        ("a folded header", format!("POST {path} HTTP/1.1\r\nhost: a\r\nx: 1\r\n 2\r\ncontent-length: 2\r\n\r\n{{}}")),
        ("two hosts", format!("POST {path} HTTP/1.1\r\nhost: a\r\nhost: b\r\n{json}content-length: 2\r\n\r\n{{}}")),
        ("a NUL", format!("POST {path} HTTP/1.1\r\nhost: a\r\nx: a\0b\r\ncontent-length: 2\r\n\r\n{{}}")),
        ("a bad chunk", format!("POST {path} HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n\r\n")),
    ] {
        let answer = rig.exchange(request.as_bytes()).await;
        assert_eq!(status(&answer), "400", "{case}: {answer}");
        assert!(!answer.contains("aura-event-id"), "{case}: {answer}");
    }
    // What a proxy in front may have counted differently never becomes a second request.
    let smuggle = format!(
        "POST {path} HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\nGET /healthz HTTP/1.1\r\nhost: a\r\n\r\n"
    );
    let answer = rig.exchange(smuggle.as_bytes()).await;
    assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn proof_comes_first_and_refusals_look_alike() {
    let rig = rig(limits()).await;
    let body = "{\"a\": 1}";
    let scheme = signature::scheme("github").unwrap();
    let signed = |secret: &str, body: &str| {
        let headers = signature::sign(scheme, secret, body.as_bytes(), 0, "d-1");
        headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect::<String>()
    };
    let path = rig.path("signed").to_owned();
    let good = rig.post(&path, &signed("hush", body), body).await;
    assert_eq!(status(&good), "202", "{good}");
    assert!(good.contains("aura-event-id: evt_"), "{good}");
    assert_eq!(status(&rig.post(&path, &signed("hush", body), body).await), "200", "the same delivery");
    for (case, headers, body) in [
        ("no signature", String::new(), body),
        ("another secret", signed("rush", body), body),
        ("another body", signed("hush", body), "{\"a\": 2}"),
        ("not even JSON, and unsigned", String::new(), "{"),
    ] {
        assert_eq!(status(&rig.post(&path, &headers, body).await), "401", "{case}");
    }
    let doubled = format!("{}x-hub-signature-256: sha256=00\r\n", signed("hush", body));
    assert_eq!(status(&rig.post(&path, &doubled, body).await), "400");
    let token = rig.path("token").to_owned();
    assert_eq!(status(&rig.post(&token, "authorization: Bearer hush\r\n", body).await), "202");
    assert_eq!(status(&rig.post(&token, "authorization: Bearer rush\r\n", body).await), "401");
    assert_eq!(status(&rig.post("/hooks/default/door/token", "authorization: Bearer hush\r\n", body).await), "202");
    assert_eq!(
        status(&rig.post("/webhooks/github/door", &signed("hush", "{}"), "{}").await),
        "200",
        "the alias knows the same delivery"
    );

    let strip = |answer: &str| answer.lines().filter(|line| !line.starts_with("date:")).collect::<Vec<_>>().join("\n");
    let unknown = strip(&rig.post("/hooks/aaaaaaaaaaaaaaaaaaaaaaaaaa", "", body).await);
    let open = rig.path("open").to_owned();
    for path in ["/hooks/default/door/open", "/hooks/default/door/none", "/webhooks/shopify/door", "/hooks/%ff", "/"] {
        assert_eq!(strip(&rig.post(path, "", body).await), unknown, "{path}");
    }
    let get = rig.exchange(format!("GET {open} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").as_bytes()).await;
    assert_eq!(strip(&get), unknown);
    rig.catalog.enable(&rig.actor, "door", false).await.unwrap();
    assert_eq!(strip(&rig.post(&open, "", body).await), unknown, "disabled");
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_of_one_source_and_in_all_are_capped() {
    let rig = rig(Limits { per_source_max: 3, count_loopback: true, head: Duration::from_secs(20), ..limits() }).await;
    let mut held = Vec::new();
    for _ in 0..3 {
        let mut stream = rig.connect().await;
        stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        let mut piece = [0; 512];
        assert!(stream.read(&mut piece).await.unwrap() > 0);
        held.push(stream);
    }
    assert_eq!(rig.exchange(b"GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n").await, "", "closed without an answer");
    held.clear();
    // The places come back when their connections end.
    let again = async {
        while rig.exchange(b"GET /healthz HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await.is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), again).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn overload_is_said_with_a_time_and_bounds_memory() {
    let rig = rig(Limits {
        in_flight_max: 1,
        body_idle: Duration::from_secs(9),
        body_total: Duration::from_secs(9),
        ..limits()
    })
    .await;
    let path = rig.path("open").to_owned();
    let mut slow = rig.connect().await;
    let head = format!("POST {path} HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 10\r\n\r\n");
    slow.write_all(head.as_bytes()).await.unwrap();
    // The server asks for the body: the delivery has its place.
    assert!(slow.read(&mut [0; 512]).await.unwrap() > 0);
    let answer = rig.post(&path, "content-type: application/json\r\n", "{}").await;
    assert_eq!(status(&answer), "503", "{answer}");
    let after = answer.lines().find_map(|line| line.strip_prefix("retry-after: ")).unwrap();
    assert!((1..=2).contains(&after.trim().parse::<u32>().unwrap()), "{answer}");
    assert!(answer.contains("AURA-E1700") && !answer.contains("aura-event-id"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn closing_lets_requests_at_work_finish_and_ends_idle_connections() {
    let rig = rig(Limits {
        head: Duration::from_secs(20),
        body_idle: Duration::from_secs(9),
        body_total: Duration::from_secs(9),
        ..limits()
    })
    .await;
    let path = rig.path("open").to_owned();
    let mut idle = rig.connect().await;
    idle.write_all(b"GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    let mut piece = [0; 512];
    assert!(idle.read(&mut piece).await.unwrap() > 0);
    let mut at_work = rig.connect().await;
    at_work
        .write_all(
            format!("POST {path} HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n").as_bytes(),
        )
        .await
        .unwrap();
    // The server asks for the body: the request is at work.
    assert!(at_work.read(&mut piece).await.unwrap() > 0);
    let tasks = rig.tasks.clone();
    let close = tokio::spawn(async move { tasks.close(Duration::from_secs(8)).await });
    assert_eq!(read_all(&mut idle).await, "", "an idle connection ends");
    at_work.write_all(b"{}").await.unwrap();
    assert_eq!(status(&read_all(&mut at_work).await), "202");
    tokio::time::timeout(Duration::from_secs(10), close).await.unwrap().unwrap();
    let late = rig.post(&path, "", "{}").await;
    assert_eq!(status(&late), "503", "nobody is let in any more: {late}");
    assert!(late.contains("\r\nretry-after: 2\r\n") && late.contains("AURA-E1700"), "{late}");
}

#[tokio::test]
async fn a_trigger_that_lost_its_secret_refuses_everything_and_the_log_says_which() {
    let said = Said::default();
    let writer = said.clone();
    let log = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    let _log = tracing::subscriber::set_default(log);
    let rig = rig(limits()).await;
    let path = rig.path("signed").to_owned();
    let scheme = signature::scheme("github").unwrap();
    let signed = |secret: &str, id: &str| {
        let headers = signature::sign(scheme, secret, b"{}", 0, id);
        headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect::<String>()
    };
    assert_eq!(status(&rig.post(&path, &signed("hush", "d-1"), "{}").await), "202");
    // Another connector under the same name: the secret that signed is gone.
    let fields = vec![("api_key".to_owned(), "k".to_owned())];
    let add = ConnectionAdd { name: "hub".to_owned(), connector: "sendgrid".to_owned(), fields, keep_ms: None };
    rig.catalog.connection_add(&rig.actor, add).await.unwrap();
    for (id, headers) in [("d-2", signed("hush", "d-2")), ("d-3", signed("", "d-3")), ("none", String::new())] {
        let answer = rig.post(&path, &headers, "{}").await;
        assert_eq!(status(&answer), "401", "{id}: {answer}");
        assert!(!answer.contains("hub") && !answer.contains("secret"), "the sender is not told why: {answer}");
    }
    let text = String::from_utf8(said.0.lock().unwrap().clone()).unwrap();
    let sentence = "no secret configured, every delivery is refused: there is no secret named hub";
    assert_eq!(text.matches(sentence).count(), 1, "one line, not one for each delivery: {text}");
    assert!(!text.contains("hush"), "{text}");
}

#[tokio::test]
async fn an_endpoint_that_was_closed_or_whose_flow_was_disabled_is_open_no_more() {
    let rig = rig(limits()).await;
    let flow = rig.catalog.flow_id("door").unwrap();
    let open = || ["open", "signed"].map(|trigger| rig.catalog.open_now(flow, trigger).is_some());
    assert_eq!(open(), [true, true]);
    rig.catalog.hook_close(&rig.actor, "door", "open", true).await.unwrap();
    assert_eq!(open(), [false, true]);
    rig.catalog.hook_close(&rig.actor, "door", "open", false).await.unwrap();
    assert_eq!(open(), [true, true]);
    for number in 0..4 {
        rig.catalog.hook_readdress(&rig.actor, "door", "open", i64::MAX - number).await.unwrap();
    }
    let address = || rig.catalog.webhooks("").into_iter().find(|hook| hook.trigger == "open").unwrap().url;
    let now = address();
    let refused = rig.catalog.hook_readdress(&rig.actor, "door", "open", i64::MAX).await.unwrap_err();
    assert!(refused.message.contains("4 addresses before"), "{refused}");
    assert_eq!(address(), now);
    rig.catalog.hook_readdress(&rig.actor, "door", "open", 0).await.unwrap();
    assert_ne!(address(), now, "without an overlap it is always possible");
    let before = rig.path("open").to_owned();
    assert_eq!(status(&rig.post(&before, "", "{}").await), "202", "what was promised goes on");
    assert_eq!(status(&rig.post(&now, "", "{}").await), "404");
}

#[tokio::test]
async fn a_disk_without_room_keeps_nothing_of_what_is_refused() {
    let rig = rig(limits()).await;
    let path = rig.path("signed").to_owned();
    let refused = async || {
        assert_eq!(status(&rig.post(&path, "", "{}").await), "401");
        rig.door.log.flush().await;
        let (from, to) = (Key::tenant(TenantId::DEFAULT), Key::tenant(TenantId::DEFAULT).after_prefix());
        let kept = rig.catalog.store().keys(Table::Deliveries, &from, &to, 100).unwrap().len();
        (kept, rig.door.log.unkept())
    };
    assert_eq!(refused().await, (1, 0));
    rig.room.make(Some(Tight::Quota));
    assert_eq!(refused().await, (1, 1));
    rig.room.make(None);
    assert_eq!(refused().await, (2, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_reply_leaves_places_for_other_flows() {
    let rig = rig(Limits { in_flight_max: 8, ..limits() }).await;
    let slow = "aura: 1
flow: slow
triggers:
  - { id: ask, on: webhook, auth: none, reply: { respond: { wait: 20s } } }
steps:
  - id: wait
    sleep: { for: 1h }
  - id: say
    respond: { status: 200, body: late }
";
    rig.catalog.apply(&rig.actor, slow).await.unwrap();
    rig.catalog.publish(&rig.actor, "slow").await.unwrap();
    let path = rig.catalog.webhooks("").into_iter().find(|webhook| webhook.flow == "slow").unwrap().url;
    let rig = Arc::new(rig);
    let mut asked = tokio::task::JoinSet::new();
    for _ in 0..5 {
        let (rig, path) = (Arc::clone(&rig), path.clone());
        asked.spawn(async move { rig.post(&path, "", "{}").await });
    }
    // Four wait for twenty seconds; the fifth is one too many of this flow.
    let first = tokio::time::timeout(Duration::from_secs(10), asked.join_next()).await.unwrap().unwrap().unwrap();
    assert_eq!(status(&first), "503", "{first}");
    assert!(first.contains("retry-after: "), "{first}");
    let open = rig.path("open").to_owned();
    assert_eq!(status(&rig.post(&open, "", "{}").await), "202", "another flow still has its place");
    assert_eq!(asked.len(), 4, "those that wait go on waiting");
    asked.abort_all();
}

#[tokio::test]
async fn a_taken_address_is_said_with_the_setting_that_names_it() {
    let (taken, _) = super::listen("127.0.0.1:0", super::Which::Door).await.unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for (which, setting) in [(super::Which::Door, "`--listen`"), (super::Which::Api, "`api_listen`")] {
        let said = super::listen(&address, which).await.unwrap_err().to_string();
        assert!(said.contains(&address) && said.contains(setting), "{said}");
    }
}
