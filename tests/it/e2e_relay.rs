//! Relays: what providers send to a relay becomes runs at home, once each, whoever is away or killed meanwhile.
//!
//! The one invariant: the relay's promise is kept by home, and nothing but triggers that take deliveries can be reached
//! over it. `relay_kills` does the same under random kills.

use aura_protocol::relay::{Numbered, ROUTES_PATH, RelayAdd, Relayed, TAKE_PATH, Take, Taken};
use aura_protocol::{Code, EventId, FlowId, RelayId, wire};
use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aura_protocol::event::EventState;
use aura_protocol::rpc::{DeliveryQuery, FlowEnable, Verdict};

use crate::support::sender::{SECRET, exchange, hmac};
use crate::support::{Answer, Daemon, Hook, Journal, LIMIT, Pair, Place, Receiver, Reply, Setup, now_ms, wait_until};

const ORDERS: &str = r#"
aura: 1
flow: orders
triggers:
  - id: in
    on: webhook
    auth: { scheme: standard_webhooks, secret: sender }
    filter: "{{ trigger.body.n != 13 }}"
concurrency: { key: "{{ 'all' }}", limit: 1 }
steps:
  - id: turn
    kv: { incr: turn }
  - id: kept
    set: { n: "{{ trigger.body.n }}", turn: "{{ steps.turn.output }}" }
"#;

fn pair() -> Pair {
    let pair = Pair::start(&[]);
    pair.home.secret("sender", SECRET);
    pair.home.publish(ORDERS);
    pair.wait_routes();
    pair
}

fn body(n: usize) -> String {
    format!("{{\"n\":{n}}}")
}

fn sent(hook: &Hook, n: usize) -> Reply {
    let reply = hook.send(&format!("msg_{n}"), &body(n)).expect("an answer");
    assert_eq!(reply.status, 202, "{}", reply.text());
    reply
}

/// Numbers and events of the runs at home, in the order in which they ran where they ran one after the other.
fn ran(home: &Daemon, flow: &str) -> Vec<(String, String)> {
    home.wait_quiet_of(flow, LIMIT);
    let mut found: Vec<(u64, String, String)> = home
        .runs(flow)
        .into_iter()
        .map(|head| {
            let kept: serde_json::Value =
                serde_json::from_str(&Journal(home.show(head.run)).output("kept")).expect("JSON");
            (kept["turn"].as_u64().unwrap_or(0), kept["n"].to_string(), head.event.to_string())
        })
        .collect();
    found.sort();
    found.into_iter().map(|(_, n, event)| (n, event)).collect()
}

fn numbers(home: &Daemon, flow: &str) -> Vec<String> {
    ran(home, flow).into_iter().map(|(n, _)| n).collect()
}

fn expect_runs(home: &Daemon, flow: &str, count: usize) {
    wait_until("the runs at home", LIMIT, || home.runs(flow).len() >= count);
}

#[test]
fn what_a_relay_took_while_home_was_away_becomes_one_run_each_in_order() {
    let mut pair = pair();
    let hook = pair.hook("orders");
    let first = sent(&hook, 1);
    assert_eq!(first.field("state"), "held", "the relay promises that it is kept: {}", first.text());
    expect_runs(&pair.home, "orders", 1);
    pair.home.kill9();
    let events: Vec<String> = (2..=6).map(|n| sent(&hook, n).event().expect("a promise").to_owned()).collect();
    sent(&hook, 13);
    // A repeat of the sender is told at home.
    let again = hook.send("msg_3", &body(3)).expect("an answer");
    assert_eq!(again.status, 202);
    assert_eq!(pair.serving().waiting, 7, "they wait");
    // The relay starts again without home and goes on: its routes and what waits are stored.
    pair.relay.kill9();
    pair.relay.up();
    assert_eq!(pair.serving().waiting, 7);
    sent(&hook, 7);
    let unproved = hook.send_with(&[("content-type".to_owned(), "application/json".to_owned())], b"{}").unwrap();
    assert_eq!(unproved.status, 401, "proved by a relay that home has not spoken to");
    pair.home.up();
    pair.wait_drained();
    let (numbers, of): (Vec<String>, Vec<String>) = ran(&pair.home, "orders").into_iter().unzip();
    assert_eq!(numbers, ["1", "2", "3", "4", "5", "6", "7"], "in the order of the relay");
    assert_eq!(of[1..6], events, "under the ids that the relay promised");
    let page = pair.home.ask().webhook_deliveries(DeliveryQuery { limit: 50, ..DeliveryQuery::default() }).unwrap();
    let state = |state| page.deliveries.iter().filter(|row| row.state == Some(state)).count();
    assert_eq!((state(EventState::Dropped), state(EventState::Duplicate)), (1, 1), "{page:#?}");
    let ran = page.deliveries.iter().find(|row| row.run.is_some()).expect("a delivery that began a run");
    assert!(ran.why.contains("by the relay dmz") && ran.from == "127.0.0.1", "{ran:#?}");
    assert_eq!(ran.verdict, Verdict::Proved);
    assert_eq!((pair.seen().refused, pair.seen().error), (0, String::new()));
}

#[test]
fn a_delivery_whose_taking_the_relay_did_not_hear_of_is_not_taken_twice() {
    let mut pair = Pair::start(&[]);
    // Nothing but what home remembers of the relay tells repeats here: no key, no id of a sender.
    pair.home.publish(
        "aura: 1\nflow: open\ntriggers:\n  - { id: in, on: webhook, auth: none }\nsteps:\n  - { id: kept, set: { n: \"{{ trigger.body.n }}\" } }\n",
    );
    let hook = pair.at_relay(pair.home.open_hook("open"));
    let header = [("content-type".to_owned(), "application/json".to_owned())];
    for n in 0..40 {
        assert_eq!(hook.send_with(&header, body(n).as_bytes()).unwrap().status, 202);
        // The first run is there: its commit is, and the relay has not heard so, or just has.
        expect_runs(&pair.home, "open", n + 1);
        if n % 8 == 7 {
            pair.home.kill9();
            pair.home.up();
        }
    }
    pair.wait_drained();
    let mut found = numbers(&pair.home, "open");
    found.sort_by_key(|n| n.parse::<usize>().unwrap());
    assert_eq!(found, (0..40).map(|n| n.to_string()).collect::<Vec<_>>());
}

#[test]
fn routes_follow_what_is_published_disabled_rotated_and_deleted_at_home() {
    let pair = pair();
    let hook = pair.hook("orders");
    sent(&hook, 1);
    let eventually = |what: &str, hook: &Hook, status: u16| {
        let mut n = 1000;
        wait_until(what, LIMIT, || {
            n += 1;
            hook.send(&format!("{what} {n}"), &body(n)).expect("an answer").status == status
        });
    };
    pair.home.ask().flow_enable(FlowEnable { flow: "orders".to_owned(), enabled: false }).unwrap();
    eventually("a disabled flow to be closed at the relay", &hook, 404);
    pair.home.ask().flow_enable(FlowEnable { flow: "orders".to_owned(), enabled: true }).unwrap();
    eventually("an enabled flow to be open at the relay", &hook, 202);
    // Another secret: the one before counts no more.
    let other = "whsec_YW5vdGhlciBzZWNyZXQgb2YgdGhlIHRlc3RzIQ==";
    pair.home.secret("sender", other);
    eventually("the secret of before to be refused", &hook, 401);
    let new = Hook { secret: other.to_owned(), ..hook.clone() };
    eventually("the new secret", &new, 202);
    pair.home.aura(&["webhook", "rotate", "orders/in", "--address", "--keep", "0s"]).success();
    eventually("the address of before to be over", &new, 404);
    let moved = Hook { secret: other.to_owned(), ..pair.hook("orders") };
    assert_ne!(moved.path, new.path);
    eventually("the new address", &moved, 202);
    pair.wait_drained();
    pair.home.wait_quiet_of("orders", LIMIT);
    pair.home.aura(&["flow", "delete", "orders"]).success();
    eventually("a deleted flow to be gone at the relay", &moved, 404);
    let left = pair.relay.ask().connection_list(()).unwrap();
    assert!(left.is_empty(), "secrets of no route stay nowhere: {left:#?}");
    let log =
        pair.relay.ask().webhook_deliveries(DeliveryQuery { limit: 50, failed: true, ..DeliveryQuery::default() });
    let log = log.unwrap().deliveries;
    assert!(log.iter().any(|row| row.verdict == Verdict::Digest && row.flow == "orders"), "{log:#?}");
}

#[test]
fn a_relay_knows_only_what_its_door_needs_and_does_nothing_else() {
    let pair = Pair::start(&[]);
    pair.home.secret("sender", SECRET);
    pair.home.secret("steps-only", "a secret that no door needs");
    pair.home.publish(
        r#"
aura: 1
flow: rich
triggers:
  - id: in
    on: webhook
    auth: { scheme: standard_webhooks, secret: sender }
    reply: { respond: { wait: 5s } }
  - id: nightly
    on: schedule
    with: { cron: "0 3 * * *" }
steps:
  - id: call
    http: { method: GET, url: "http://127.0.0.1:1/", headers: { x: private-word } }
    retry: { attempts: 1 }
    on_error:
      - { id: nothing, set: { ok: true } }
  - id: kept
    set: { n: "{{ trigger.body.n }}" }
  - id: answer
    respond: { status: 201, body: "own" }
"#,
    );
    pair.wait_routes();
    let hook = pair.hook("rich");
    let reply = sent(&hook, 1);
    assert_eq!(reply.field("state"), "held", "the usual acknowledgement, not the flow's own: {}", reply.text());
    let shown = pair.relay.ask().flow_show("rich".to_owned()).unwrap();
    let text = shown.published.expect("its routes");
    assert!(!text.contains("private-word") && !text.contains("nightly") && !text.contains("respond"), "{text}");
    let names: Vec<String> = pair.relay.ask().connection_list(()).unwrap().into_iter().map(|one| one.name).collect();
    assert_eq!(names, ["sender"]);
    for (what, code) in [
        (pair.relay.ask().flow_publish("rich".to_owned()).unwrap_err().code, Code::Conflict),
        (pair.relay.apply(ORDERS).unwrap_err().code, Code::Conflict),
        (pair.home.ask().relay_token(()).unwrap_err().code, Code::Conflict),
    ] {
        assert_eq!(what, code);
    }
    let told = pair.seen().warnings;
    assert!(told.iter().any(|one| one.contains("rich/in answers its senders itself")), "{told:?}");
    expect_runs(&pair.home, "rich", 1);
    assert_eq!(numbers(&pair.home, "rich"), ["1"]);
    assert_eq!(pair.relay.ask().status(()).unwrap().live.iter().map(|(_, count)| count).sum::<u64>(), 0);
    // Nobody is both.
    let (mut relay, mut home) = (pair.relay, pair.home);
    let (relay_at, home_at) = (relay.place.data(), home.place.data());
    assert!(relay.stop().success() && home.stop().success());
    for (data, arguments, part) in
        [(relay_at, Vec::new(), "is the data of a relay"), (home_at, vec!["relay".to_owned()], "cannot become a relay")]
    {
        let place = Place::new(Setup { data_dir: Some(data), arguments, ..Setup::default() });
        let (status, said) = place.refused("127.0.0.1:0");
        assert!(status.code() == Some(78) && said.contains(part), "{status} {said}");
    }
}

#[test]
fn a_full_relay_answers_503_and_loses_nothing() {
    let mut pair = Pair::start(&[("AURA_RELAY_QUEUE_MAX", "3")]);
    pair.home.secret("sender", SECRET);
    pair.home.publish(ORDERS);
    let hook = pair.hook("orders");
    pair.home.kill9();
    (1..=3).for_each(|n| drop(sent(&hook, n)));
    let full = hook.send("msg_4", &body(4)).unwrap();
    assert_eq!((full.status, full.event()), (503, None), "{}", full.text());
    assert!(full.header("retry-after").is_some());
    pair.home.up();
    pair.wait_drained();
    sent(&hook, 4);
    expect_runs(&pair.home, "orders", 4);
    assert_eq!(numbers(&pair.home, "orders"), ["1", "2", "3", "4"]);
}

#[test]
fn without_the_token_a_relay_is_an_unknown_address_and_home_says_why_nothing_comes() {
    let mut pair = pair();
    let hook = pair.hook("orders");
    let ask = |token: &str| {
        let head = format!(
            "POST /relay/v1/take HTTP/1.1\r\nhost: r\r\nconnection: close\r\nauthorization: Bearer {token}\r\ncontent-length: 0\r\n\r\n"
        );
        exchange(pair.relay.address(), head.as_bytes(), || ()).unwrap()
    };
    let nowhere = exchange(
        pair.relay.address(),
        b"POST /nothing HTTP/1.1\r\nhost: r\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
        || (),
    )
    .unwrap();
    for token in ["", "relay_0000", "relay_"] {
        let reply = ask(token);
        assert_eq!((reply.status, reply.text()), (404, nowhere.text()), "{token}");
    }
    // Rotated at the relay: home hears nothing until it is given the new one.
    let token = pair.relay.ask().relay_token(()).unwrap();
    assert!(token.replaced);
    sent(&hook, 1);
    let told = "the token is another one";
    wait_until("home to hear so, though it asked before", LIMIT, || pair.seen().error.contains(told));
    assert_eq!((pair.home.runs("orders").len(), pair.serving().waiting), (0, 1), "nothing under the token of before");
    pair.relay.kill9();
    wait_until("home to see that its relay is away", LIMIT, || pair.seen().away_since_ms.is_some());
    assert!(pair.home.ask().status(()).unwrap().state.contains("the relay dmz is away"));
    pair.relay.up();
    wait_until("home to say what is wrong", LIMIT, || pair.seen().error.contains("the token is another one"));
    let doctor = pair.home.aura(&["doctor"]);
    assert!(doctor.out.contains("dmz does not work") && !doctor.out.contains(&token.token), "{doctor:#?}");
    let path = pair.home.place.path("token");
    std::fs::write(&path, &token.token).unwrap();
    let at = format!("@{}", path.display());
    let url = format!("http://{}", pair.relay.address());
    let added = pair.home.aura(&["relay", "add", "dmz", &url, "--token", &at]).success();
    assert!(!format!("{added:?}").contains(&token.token));
    expect_runs(&pair.home, "orders", 1);
    pair.wait_drained();
    // People: lists, one, pause, remove.
    wait_until("home to hear that nothing waits", LIMIT, || pair.seen().waiting == 0);
    let list = pair.home.aura(&["relay", "list", "--json"]).success();
    assert_eq!(list.json()["relays"][0]["connected"], true, "{list:?}");
    let said = format!("{list:?}{}{}", pair.home.place.said(), pair.relay.place.said());
    assert!(!said.contains(&token.token), "a token in what is shown");
    assert!(pair.relay.aura(&["relay", "list"]).success().out.contains("this daemon is a relay"));
    pair.home.aura(&["relay", "show", "dmz"]).success();
    let shown = pair.home.aura(&["webhook", "show", "orders"]).success();
    assert!(shown.out.contains(&format!("relay  {url}/hooks/")), "{shown:?}");
    pair.home.aura(&["relay", "pause", "dmz"]).success();
    sent(&hook, 2);
    assert_eq!(pair.serving().waiting, 1);
    pair.home.aura(&["relay", "resume", "dmz"]).success();
    expect_runs(&pair.home, "orders", 2);
    pair.home.aura(&["relay", "remove", "dmz", "--yes"]).success();
    assert_eq!(pair.home.aura(&["relay", "show", "dmz"]).code, 3);
    assert_eq!(pair.home.aura(&["relay", "add", "x", "http://10.0.0.1", "--token", &at]).code, 2);
    assert_eq!(pair.home.aura(&["relay", "add", "x", "https://r", "--token", &token.token]).code, 2);
}

#[test]
fn handshakes_large_and_packed_bodies_and_what_home_cannot_take() {
    let mut pair = Pair::start(&[]);
    pair.home.connect("meta", "secret", &[("value", "app-secret-of-tests"), ("verify_token", "agreed-word")]);
    pair.home.publish(
        r#"
aura: 1
flow: large
triggers:
  - id: in
    on: webhook
    auth: none
    with: { body_max: "12 MiB", encodings: [gzip] }
  - id: meta
    on: webhook
    auth: { scheme: meta, secret: meta }
steps:
  - id: kept
    set: { n: "{{ trigger.body.n }}" }
"#,
    );
    pair.wait_routes();
    let hooks = pair.home.ask().webhook_list(()).unwrap();
    let hook = |trigger: &str| {
        let url = &hooks.iter().find(|one| one.trigger == trigger).unwrap().url;
        let path = format!("/{}", url.splitn(4, '/').nth(3).unwrap());
        pair.at_relay(Hook { address: pair.home.address(), path, secret: String::new() })
    };
    let (open, meta) = (hook("in"), hook("meta"));
    pair.home.kill9();
    // Home is away and the vendor asks whether somebody is there.
    let asked = format!(
        "GET {}?hub.mode=subscribe&hub.verify_token=agreed-word&hub.challenge=42 HTTP/1.1\r\nhost: r\r\nconnection: close\r\n\r\n",
        meta.path
    );
    let answer = exchange(pair.relay.address(), asked.as_bytes(), || ()).unwrap();
    assert_eq!((answer.status, answer.text().as_str()), (200, "42"));
    let signature = hex(&hmac(b"app-secret-of-tests", b"{\"n\":1}"));
    let headers = [
        ("content-type".to_owned(), "application/json".to_owned()),
        ("x-hub-signature-256".to_owned(), format!("sha256={signature}")),
    ];
    assert_eq!(meta.send_with(&headers, b"{\"n\":1}").unwrap().status, 200);
    // Larger than one answer of the link: read in pieces.
    let plain = [("content-type".to_owned(), "application/json".to_owned())];
    let large = format!("{{\"n\":2,\"fill\":\"{}\"}}", "x".repeat(9 << 20));
    assert_eq!(open.send_with(&plain, large.as_bytes()).unwrap().status, 202);
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut packed, b"{\"n\":3}").unwrap();
    let gzip = [plain[0].clone(), ("content-encoding".to_owned(), "gzip".to_owned())];
    assert_eq!(open.send_with(&gzip, &packed.finish().unwrap()).unwrap().status, 202);
    let broken = open.send_with(&plain, b"{").unwrap();
    assert_eq!(broken.status, 400, "what is not in form is refused where it comes");
    pair.home.up();
    expect_runs(&pair.home, "large", 3);
    assert_eq!(numbers(&pair.home, "large"), ["1", "2", "3"]);
    pair.wait_drained();
    // The trigger goes while something waits for it: it is in the log, and can be claimed.
    pair.home.aura(&["relay", "pause", "dmz"]).success();
    assert_eq!(open.send_with(&plain, b"{\"n\":4}").unwrap().status, 202);
    pair.home.ask().flow_enable(FlowEnable { flow: "large".to_owned(), enabled: false }).unwrap();
    pair.home.aura(&["relay", "resume", "dmz"]).success();
    wait_until("home to refuse it", LIMIT, || pair.seen().refused == 1);
    pair.wait_drained();
    let failed = DeliveryQuery { limit: 50, failed: true, ..DeliveryQuery::default() };
    let log = pair.home.ask().webhook_deliveries(failed).unwrap().deliveries;
    let row = log.iter().find(|row| row.verdict == Verdict::Disabled).expect("a row of it");
    assert!(row.why.contains("by the relay dmz, which had taken it"), "{row:#?}");
    pair.home.ask().flow_enable(FlowEnable { flow: "large".to_owned(), enabled: true }).unwrap();
    pair.home.aura(&["webhook", "claim", &row.id.to_string(), "large/in"]).success();
    expect_runs(&pair.home, "large", 4);
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A relay that says what the test wants: `answer` is given what home asks; without one the connection breaks.
fn false_relay(home: &Daemon, answer: impl Fn(&Take) -> Option<Vec<Relayed>> + Send + Sync + 'static) -> Receiver {
    let receiver = Receiver::start();
    let relay = RelayId::now();
    receiver.on(ROUTES_PATH, |_, _| Answer::status(204).body(""));
    receiver.on(TAKE_PATH, move |request, _| {
        let asked: Take = wire::decode(request.body.as_deref().expect("a body")).expect("a question");
        let Some(deliveries) = answer(&asked) else { return Answer::close() };
        let waiting = u64::try_from(deliveries.len()).expect("few");
        let public_url = String::new();
        let taken = Taken { relay, deliveries, waiting, bytes: 0, oldest_ms: None, routes: None, public_url };
        // What waits for something waits a moment here too.
        let pause = if waiting == 0 { Duration::from_millis(20) } else { Duration::ZERO };
        Answer::ok().bytes(&wire::encode(&taken).expect("an answer")).after(pause)
    });
    let token = format!("relay_{}", "0".repeat(64));
    let add = RelayAdd { name: "false".to_owned(), url: receiver.url(""), token, insecure: false };
    home.ask().relay_add(add).expect("a relay");
    receiver
}

fn relayed(home: &Daemon, flow: &str, trigger: &str, number: u64) -> Relayed {
    let flows = home.ask().flow_list(()).expect("the flows");
    let id = flows.iter().find(|row| row.flow == flow).map_or(FlowId::from_bytes([7; 16]), |row| row.id);
    let body = format!("{{\"n\":{number}}}").into_bytes();
    Relayed {
        which: Numbered { number, event: EventId::now() },
        flow: id,
        name: flow.to_owned(),
        trigger: trigger.to_owned(),
        method: "POST".to_owned(),
        query: String::new(),
        headers: vec![("content-type".to_owned(), "application/json".to_owned())],
        bytes: u64::try_from(body.len()).expect("few"),
        body,
        from: "203.0.113.9".to_owned(),
        verdict: Verdict::Proved,
        received_ms: now_ms(),
    }
}

const TWO: &str = r#"
aura: 1
flow: open
triggers:
  - { id: in, on: webhook, auth: none }
  - { id: hand, on: manual }
steps:
  - id: kept
    set: { n: "{{ trigger.body.n }}" }
"#;

#[test]
fn what_a_relay_offers_again_is_acknowledged_again_and_runs_once_also_behind_a_kill() {
    let mut home = Daemon::start();
    home.publish(TWO);
    let offered = relayed(&home, "open", "in", 1);
    let (event, heard) = (offered.which, Arc::new(AtomicUsize::new(0)));
    let count = Arc::clone(&heard);
    // Whenever home says that it has it, the answer is lost.
    let receiver = false_relay(&home, move |asked| {
        let said = asked.ack.contains(&event);
        count.fetch_add(usize::from(said), Ordering::SeqCst);
        (!said).then(|| vec![offered.clone()])
    });
    wait_until("home to say that it has it", LIMIT, || heard.load(Ordering::SeqCst) > 2);
    home.kill9();
    let before = heard.load(Ordering::SeqCst);
    home.up();
    wait_until("home to say so again", LIMIT, || heard.load(Ordering::SeqCst) > before + 2);
    // Forgotten and added under another name, it is the same relay.
    home.aura(&["relay", "remove", "false", "--yes"]).success();
    let asked = receiver.count(TAKE_PATH);
    let token = home.place.path("token");
    std::fs::write(&token, format!("relay_{}", "0".repeat(64))).unwrap();
    let at = format!("@{}", token.display());
    home.aura(&["relay", "add", "other", &receiver.url(""), "--token", &at]).success();
    receiver.wait(TAKE_PATH, asked + 5);
    assert_eq!(home.runs("open").len(), 1);
    let seen = home.ask().relay_list(()).unwrap().relays.remove(0);
    assert!(seen.repeated > 0 && seen.taken == 0, "{seen:#?}");
}

#[test]
fn a_false_relay_reaches_no_other_trigger_and_breaks_nothing() {
    let home = Daemon::start();
    home.publish(TWO);
    let good = relayed(&home, "open", "in", 1);
    let hand = relayed(&home, "open", "hand", 2);
    let nowhere = relayed(&home, "none", "in", 3);
    let long = Relayed { query: "q".repeat(1 << 20), ..relayed(&home, "open", "in", 4) };
    let large = Relayed { bytes: 1 << 40, ..relayed(&home, "open", "in", 5) };
    let broken = Relayed { body: b"{".to_vec(), bytes: 1, ..relayed(&home, "open", "in", 6) };
    let ahead = Relayed { received_ms: i64::MAX, ..relayed(&home, "open", "in", 7) };
    let all = [good, hand, nowhere, long, large, broken, ahead];
    let which = all.each_ref().map(|one| one.which);
    let acked = Arc::new(Mutex::new(HashSet::new()));
    let known = Arc::clone(&acked);
    let receiver = false_relay(&home, move |asked| {
        let mut known = known.lock().expect("what is known");
        known.extend(asked.ack.iter().copied());
        let left = all.iter().filter(|one| one.which.number > asked.after && !known.contains(&one.which));
        Some(left.cloned().collect())
    });
    wait_until("home to be through with all of them", LIMIT, || {
        let acked = acked.lock().expect("what is known");
        which.iter().all(|one| acked.contains(one))
    });
    assert_eq!(numbers(&home, "open"), ["1", "7"]);
    let seen = home.ask().relay_list(()).unwrap().relays.remove(0);
    assert_eq!((seen.taken, seen.refused), (2, 5), "{seen:#?}");
    let failed = DeliveryQuery { limit: 50, failed: true, ..DeliveryQuery::default() };
    assert_eq!(home.ask().webhook_deliveries(failed).unwrap().deliveries.len(), 5, "each in the log with its why");
    // Answers that are none of a relay, and what is out of order.
    for (what, bytes, part) in [
        ("noise", b"\xc1\xff noise".to_vec(), "none of a relay"),
        ("nothing", Vec::new(), "none of a relay"),
        ("too much", vec![0; 11 << 20], "larger than"),
    ] {
        let asked = receiver.count(TAKE_PATH);
        receiver.on(TAKE_PATH, move |_, _| Answer::ok().bytes(&bytes));
        receiver.wait(TAKE_PATH, asked + 1);
        wait_until(what, LIMIT, || home.ask().relay_list(()).unwrap().relays[0].error.contains(part));
    }
    assert_eq!(home.runs("open").len(), 2);
    assert!(home.ask().status(()).is_ok());
}

#[test]
fn what_cannot_be_taken_holds_up_nothing_behind_it_also_while_it_waits() {
    let home = Daemon::start();
    home.publish(TWO);
    // Its body is never there: it stays at the relay, a page of its own.
    let stays = Relayed { body: Vec::new(), ..relayed(&home, "open", "in", 1) };
    let behind: Vec<Relayed> = (2..=9).map(|number| relayed(&home, "open", "in", number)).collect();
    let (there, acked) = (Arc::new(AtomicUsize::new(1)), Mutex::new(HashSet::new()));
    let offered = Arc::clone(&there);
    let receiver = false_relay(&home, move |asked| {
        let mut acked = acked.lock().expect("what is known");
        acked.extend(asked.ack.iter().copied());
        if asked.after == 0 {
            return Some(vec![stays.clone()]);
        }
        let now = behind.iter().take(offered.load(Ordering::SeqCst));
        Some(now.filter(|one| one.which.number > asked.after && !acked.contains(&one.which)).cloned().collect())
    });
    for count in 1..=8 {
        there.store(count, Ordering::SeqCst);
        expect_runs(&home, "open", count);
    }
    assert_eq!(numbers(&home, "open").len(), 8);
    wait_until("what stays to be said", LIMIT, || !home.ask().relay_list(()).unwrap().relays[0].error.is_empty());
    drop(receiver);
}
