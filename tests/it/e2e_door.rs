//! The HTTP door as senders see it: promises, repeats, replies of flows, debounce, and refusals.
//!
//! The one invariant: an answer with `Aura-Event-Id` is a promise, any other answer stored nothing.

use std::time::{Duration, Instant};

use aura_protocol::event::EventState;
use aura_protocol::run::{Record, RunState};
use aura_protocol::{EventId, RunId};

use crate::support::daemon::run_of;
use crate::support::sender::{self, SECRET, exchange, shopify};
use crate::support::{Answer, Daemon, Hook, LIMIT, Receiver, Reply, Setup, assert_says, now_ms, wait_for, wait_until};

/// A flow with one webhook trigger; the lines after `on` and the steps differ.
fn flow(trigger: &str, steps: &str) -> String {
    format!("aura: 1\nflow: door\ntriggers:\n  - id: in\n    on: webhook\n{trigger}steps:\n{steps}")
}

const SIGNED: &str = "    auth: { scheme: standard_webhooks, secret: sender }\n";
const OPEN: &str = "    auth: none\n";
const STEP: &str = "  - id: a\n    set: { got: \"{{ trigger.body }}\" }\n";

fn signed() -> (Daemon, Hook) {
    let daemon = Daemon::start();
    daemon.secret("sender", SECRET);
    daemon.publish(&flow(SIGNED, STEP));
    let hook = daemon.hook("door");
    (daemon, hook)
}

/// The run of an event, by its acknowledgement.
fn settled(daemon: &Daemon, reply: &Reply) -> RunId {
    let run = run_of(reply, EventState::Started);
    daemon.wait_state(run, RunState::Succeeded);
    run
}

#[test]
fn an_accepted_delivery_is_one_run_whatever_is_repeated() {
    let (mut daemon, hook) = signed();
    let first = hook.send("msg_1", r#"{"order": 12345678901234567890.10}"#).expect("an answer");
    assert_eq!(first.status, 202, "{}", first.text());
    let run = settled(&daemon, &first);
    let journal = daemon.wait_state(run, RunState::Succeeded);
    assert_eq!(journal.output("a"), r#"{"got":{"order":12345678901234567890.10}}"#, "a number keeps its text");
    let check = |daemon: &Daemon| {
        let again = hook.send("msg_1", r#"{"order": 1}"#).expect("an answer");
        assert_eq!((again.status, again.field("state").as_str()), (200, "duplicate"), "{}", again.text());
        assert_eq!(again.event(), first.event(), "the promise of the first one");
        assert_eq!(again.field("run_id"), run.to_string());
        assert_eq!(daemon.runs("door").len(), 1);
    };
    check(&daemon);
    daemon.kill9();
    daemon.up();
    check(&daemon);
    let other = hook.send("msg_2", "{}").expect("an answer");
    assert_ne!(other.event(), first.event());
    settled(&daemon, &other);
}

#[test]
fn a_sender_that_repeats_after_a_kill_between_commit_and_reply_gets_the_same_run() {
    let (mut daemon, receiver) = (Daemon::start(), Receiver::start());
    daemon.secret("sender", SECRET);
    let steps = r#"
  - id: ask
    http: { method: POST, url: "RECEIVER/ask" }
    effect: keyed
  - id: answer
    respond: { status: 201, headers: { x-made: "yes" }, body: { made: "{{ steps.ask.output.body.made }}" } }
"#;
    let trigger = format!("{SIGNED}    reply: {{ respond: {{ wait: 20s }} }}\n");
    daemon.publish(&flow(&trigger, &steps.replace("RECEIVER", &receiver.url(""))));
    receiver.on("/ask", |_, before| if before == 0 { Answer::hold() } else { Answer::ok().body(r#"{"made":7}"#) });
    let hook = daemon.hook("door");
    let sender = {
        let hook = hook.clone();
        std::thread::spawn(move || hook.send("msg_1", "{}"))
    };
    // The event is committed, its run is at work, and its sender has heard nothing yet.
    receiver.wait("/ask", 1);
    daemon.kill9();
    assert!(sender.join().expect("the sender").is_err(), "no promise was heard");
    daemon.up();
    let reply = hook.send("msg_1", "{}").expect("an answer");
    assert_eq!((reply.status, reply.text().as_str()), (201, r#"{"made":7}"#));
    assert_eq!(reply.header("x-made"), Some("yes"));
    let runs = daemon.runs("door");
    assert_eq!(runs.len(), 1, "one event, one run");
    assert_eq!(reply.event(), Some(runs[0].event.to_string().as_str()), "the promise is also on a flow's own reply");
    let calls = receiver.wait("/ask", 2);
    assert_eq!(calls[0].key(), calls[1].key());
}

#[test]
fn a_late_respond_is_recorded_and_served_to_repeats() {
    let (daemon, receiver) = (Daemon::start(), Receiver::start());
    daemon.secret("sender", SECRET);
    let steps = format!(
        "  - id: ask\n    http: {{ url: \"{}\" }}\n  - id: answer\n    respond: {{ status: 409, body: taken }}\n",
        receiver.url("/ask")
    );
    daemon.publish(&flow(&format!("{SIGNED}    reply: {{ respond: {{ wait: 300ms, on_timeout: ack }} }}\n"), &steps));
    receiver.on("/ask", |_, _| Answer::hold());
    let hook = daemon.hook("door");
    let early = hook.send("msg_1", "{}").expect("an answer");
    assert_eq!((early.status, early.field("state").as_str()), (202, "started"), "the ack after `wait`");
    receiver.release("/ask");
    daemon.wait_state(run_of(&early, EventState::Started), RunState::Succeeded);
    for _ in 0..2 {
        let late = hook.send("msg_1", "{}").expect("an answer");
        assert_eq!((late.status, late.text().as_str()), (409, "taken"), "exactly what was recorded");
        assert_eq!(late.event(), early.event());
    }
}

#[test]
fn a_run_that_ends_without_respond_answers_the_ack_at_once() {
    let daemon = Daemon::start();
    daemon.publish(&flow(
        &format!("{OPEN}    reply: {{ respond: {{ wait: 20s }} }}\n"),
        "  - id: maybe\n    if: \"{{ false }}\"\n    respond: { body: never }\n",
    ));
    let begin = Instant::now();
    let reply = daemon.open_hook("door").send("1", "{}").expect("an answer");
    assert_eq!(reply.status, 202, "{}", reply.text());
    assert!(begin.elapsed() < Duration::from_secs(10), "it did not wait for nothing");
}

#[test]
fn debounce_makes_one_run_of_many_events_with_the_last_one() {
    let (mut daemon, receiver) = (Daemon::start(), Receiver::start());
    let trigger = format!("{OPEN}    debounce: {{ key: \"{{{{ trigger.body.cart }}}}\", for: 1s }}\n");
    let step = "  - id: a\n    set: { last: \"{{ trigger.body.n }}\", events: \"{{ run.events }}\" }\n";
    daemon.publish(&flow(&trigger, step));
    let hook = daemon.open_hook("door");
    let mut events = Vec::new();
    for number in 1..=3 {
        let reply = hook.send(&format!("a{number}"), &format!(r#"{{"cart": 7, "n": {number}}}"#)).expect("an answer");
        assert_eq!((reply.status, reply.field("state").as_str()), (202, "held"), "{}", reply.text());
        assert!(!reply.field("starts_at").is_empty(), "a held event says when it starts: {}", reply.text());
        events.push(reply.event().expect("a promise").parse::<EventId>().expect("an id"));
    }
    hook.send("b1", r#"{"cart": 8, "n": 9}"#).expect("an answer");
    assert_eq!(daemon.ask().status(()).expect("a status").held, 2, "one group per key");
    daemon.kill9();
    daemon.up();
    wait_until("two runs", LIMIT, || daemon.runs("door").len() == 2);
    daemon.wait_quiet(LIMIT);
    let journals: Vec<_> =
        daemon.runs("door").iter().map(|head| daemon.wait_state(head.run, RunState::Succeeded)).collect();
    let outputs: Vec<String> = journals.iter().map(|journal| journal.output("a")).collect();
    let journal = journals.iter().find(|journal| journal.output("a").contains("\"last\":3")).expect("the last event");
    assert!(outputs.iter().any(|output| output.contains("\"last\":9")), "{outputs:?}");
    let started = journal.records().find_map(|record| match record {
        Record::RunStarted(started) => Some(started),
        _ => None,
    });
    assert_eq!(started.expect("a start").events, events, "the ids of all");
    assert_says(
        journal.output("a"),
        &events.iter().map(ToString::to_string).collect::<Vec<_>>().iter().map(String::as_str).collect::<Vec<_>>(),
    );
    drop(receiver);
}

#[test]
fn debounce_waits_no_longer_than_max() {
    let daemon = Daemon::start();
    let trigger = format!("{OPEN}    debounce: {{ key: \"{{{{ trigger.method }}}}\", for: 800ms, max: 2s }}\n");
    daemon.publish(&flow(&trigger, STEP));
    let hook = daemon.open_hook("door");
    let begin = now_ms();
    let mut number = 0;
    let run = wait_for("a run although events keep coming", LIMIT, || {
        number += 1;
        hook.send(&format!("n{number}"), "{}").expect("an answer");
        daemon.runs("door").first().cloned()
    });
    let after = run.created_ms - begin;
    assert!((1900..6000).contains(&after), "`max` counts from the first event: {after} ms, {number} events");
}

#[test]
fn dedupe_keys_and_filters_are_judged_at_acceptance() {
    let daemon = Daemon::start();
    let trigger = format!(
        "{OPEN}    dedupe: {{ key: \"{{{{ trigger.headers['x-order'] }}}}\", window: 7d }}\n    filter: \"{{{{ trigger.body.total > 10 }}}}\"\n"
    );
    daemon.publish(&flow(&trigger, STEP));
    let hook = daemon.open_hook("door");
    let send = |order: &str, body: &str| {
        let headers =
            [("content-type".to_owned(), "application/json".to_owned()), ("x-order".to_owned(), order.to_owned())];
        hook.send_with(&headers, body.as_bytes()).expect("an answer")
    };
    assert_eq!(send("1", r#"{"total": 20}"#).field("state"), "started");
    assert_eq!(send("1", r#"{"total": 20}"#).field("state"), "duplicate");
    let dropped = send("2", r#"{"total": 5}"#);
    assert_eq!((dropped.field("state").as_str(), dropped.event().is_some()), ("dropped", true), "recorded, no run");
    assert_eq!(daemon.runs("door").len(), 1);
}

/// A refusal: this status, a sentence with these words, no promise, and nothing changed.
fn refuses(daemon: &Daemon, case: &str, send: impl FnOnce() -> Reply, statuses: &[u16], says: &[&str]) {
    let before = daemon.ask().status(()).expect("a status");
    let reply = send();
    assert!(statuses.contains(&reply.status), "{case}: {} {}", reply.status, reply.text());
    assert_eq!(reply.event(), None, "{case}: a refusal promises nothing");
    assert_says(reply.text(), says);
    let after = daemon.ask().status(()).expect("a status");
    assert_eq!((before.cursor, before.live, before.held), (after.cursor, after.live, after.held), "{case}");
    assert!(daemon.runs("door").is_empty(), "{case}");
}

#[test]
fn deliveries_that_prove_nothing_are_refused_and_change_nothing() {
    let (daemon, hook) = signed();
    let body = br#"{"a": 1}"#;
    let now = now_ms() / 1000;
    let with = |headers: Vec<(String, String)>| hook.send_with(&headers, body).expect("an answer");
    let changed = |name: &str, value: Option<&str>| {
        let mut headers = hook.signed("msg_1", now, body);
        headers.retain(|(known, _)| known != name);
        headers.extend(value.map(|value| (name.to_owned(), value.to_owned())));
        headers
    };
    let unproved = [401];
    refuses(&daemon, "no signature", || with(changed("webhook-signature", None)), &unproved, &["sign"]);
    refuses(&daemon, "no id", || with(changed("webhook-id", None)), &[400, 401], &[]);
    refuses(&daemon, "no timestamp", || with(changed("webhook-timestamp", None)), &[400, 401], &[]);
    let wrong = "v1,AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    refuses(&daemon, "wrong signature", || with(changed("webhook-signature", Some(wrong))), &unproved, &["sign"]);
    refuses(&daemon, "another id", || with(changed("webhook-id", Some("msg_2"))), &unproved, &["sign"]);
    refuses(&daemon, "stale", || with(hook.signed("msg_1", now - 3600, body)), &unproved, &["sign"]);
    refuses(&daemon, "from the future", || with(hook.signed("msg_1", now + 3600, body)), &unproved, &["sign"]);
    let other = Hook { secret: "whsec_YW5vdGhlciBzZWNyZXQgdGhhbiB0aGUgcmlnaHQgb25l".into(), ..hook.clone() };
    refuses(&daemon, "another secret", || with(other.signed("msg_1", now, body)), &unproved, &["sign"]);
    let tampered = || hook.send_with(&hook.signed("msg_1", now, body), br#"{"a": 2}"#).expect("an answer");
    refuses(&daemon, "another body", tampered, &unproved, &["sign"]);
    let unknown = Hook { path: format!("/hooks/{}", "a".repeat(26)), ..hook.clone() };
    refuses(&daemon, "unknown endpoint", || unknown.send("msg_1", "{}").expect("an answer"), &[404], &["no such"]);
    let get = format!("GET {} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n", hook.path);
    let get = || exchange(hook.address, get.as_bytes(), || ()).expect("an answer");
    refuses(&daemon, "wrong method", get, &[404], &["no such"]);
    // The proof that the endpoint works: the same sender with the right signature.
    assert_eq!(with(hook.signed("msg_1", now, body)).status, 202);
}

#[test]
fn an_endpoint_without_its_secret_is_closed() {
    let daemon = Daemon::start();
    let text = flow(SIGNED, STEP);
    match daemon.apply(&text).and_then(|row| daemon.ask().flow_publish(row.flow)) {
        // Refused where the owner sees it: nothing to call.
        Err(error) => assert_says(error.to_string() + &format!("{:?}", error.findings), &["sender"]),
        Ok(_) => {
            let hook = daemon.hook("door");
            refuses(&daemon, "no secret", || hook.send("msg_1", "{}").expect("an answer"), &[401], &["sign"]);
            let empty = Hook { secret: "whsec_".into(), ..hook };
            refuses(&daemon, "empty secret", || empty.send("msg_1", "{}").expect("an answer"), &[401], &["sign"]);
        }
    }
}

#[test]
fn bodies_and_heads_that_are_not_what_they_claim_are_refused() {
    let daemon = Daemon::start_with(Setup {
        environment: vec![("AURA_HTTP_BODY_MAX".into(), "65536".into())],
        ..Setup::default()
    });
    daemon.publish(&flow(OPEN, STEP));
    let hook = daemon.open_hook("door");
    let json = [("content-type".to_owned(), "application/json".to_owned())];
    let send = |body: &[u8]| hook.send_with(&json, body).expect("an answer");
    let large = vec![b' '; 65537];
    refuses(&daemon, "too large", || send(&large), &[413], &["65536"]);
    refuses(&daemon, "bad JSON", || send(b"{\"a\": "), &[400], &["json"]);
    let deep = ["[".repeat(10_000), "]".repeat(10_000)].concat();
    refuses(&daemon, "depth 10,000", || send(deep.as_bytes()), &[400], &["deep"]);
    refuses(&daemon, "invalid UTF-8", || send(b"{\"a\": \"\xff\xfe\"}"), &[400], &["utf-8"]);
    refuses(&daemon, "a body after the JSON", || send(b"{} {}"), &[400], &["json"]);
    let twice = [json.as_slice(), &[("content-type".to_owned(), "text/plain".to_owned())]].concat();
    refuses(
        &daemon,
        "two content types",
        || hook.send_with(&twice, b"{}").expect("an answer"),
        &[400],
        &["content-type"],
    );
    let key = |value: &str| ("idempotency-key".to_owned(), value.to_owned());
    let keys = [json.as_slice(), &[key("1"), key("2")]].concat();
    let keys = || hook.send_with(&keys, b"{}").expect("an answer");
    refuses(&daemon, "two idempotency keys", keys, &[400], &["idempotency-key"]);
    let lengths = format!(
        "POST {} HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{{}}",
        hook.path
    );
    refuses(
        &daemon,
        "two lengths",
        || exchange(hook.address, lengths.as_bytes(), || ()).expect("an answer"),
        &[400],
        &[],
    );
    let packed = [json.as_slice(), &[("content-encoding".to_owned(), "gzip".to_owned())]].concat();
    refuses(
        &daemon,
        "compressed",
        || hook.send_with(&packed, b"{}").expect("an answer"),
        &[415],
        &["content-encoding"],
    );
    assert_eq!(send(b"{}").status, 202, "the endpoint works");
    daemon.wait_quiet(LIMIT);
}

#[test]
fn duplicate_signature_headers_are_refused() {
    let (daemon, hook) = signed();
    let now = now_ms() / 1000;
    for name in ["webhook-id", "webhook-timestamp"] {
        let mut headers = hook.signed("msg_1", now, b"{}");
        headers.push((name.to_owned(), "msg_other".to_owned()));
        let send = || hook.send_with(&headers, b"{}").expect("an answer");
        refuses(&daemon, name, send, &[400, 401], &[]);
    }
}

#[test]
fn what_was_sent_is_kept_byte_for_byte() {
    let daemon = Daemon::start();
    daemon.publish(&flow(OPEN, STEP));
    let hook = daemon.open_hook("door");
    let body = "{ \"a\" : 1.50,\r\n \"b\":\"\\u00e4\u{1F600}\" }";
    let reply = hook.send("1", body).expect("an answer");
    let run = run_of(&reply, EventState::Started);
    let journal = daemon.wait_state(run, RunState::Succeeded);
    let kept = journal.records().find_map(|record| match record {
        Record::RunStarted(started) => Some(started.event.body.clone()),
        _ => None,
    });
    assert_eq!(kept.as_deref(), Some(body.as_bytes()));
    assert_eq!(journal.output("a"), "{\"got\":{\"a\":1.50,\"b\":\"ä\u{1F600}\"}}");
}

#[test]
fn a_connectors_trigger_takes_its_topic_only() {
    let daemon = Daemon::start();
    daemon.connect("shop", "shopify", &[("shop", "tests"), ("access_token", "token"), ("webhook_secret", "hush")]);
    daemon.publish(
        "aura: 1\nflow: door\ntriggers:\n  - id: in\n    on: shopify.checkout_updated\n    connection: shop\nsteps:\n  - id: a\n    set: { got: \"{{ trigger.body.id }}\" }\n",
    );
    let hook = daemon.open_hook("door");
    let body = br#"{"id": 450789469}"#;
    let send =
        |topic: &str, secret: &str| hook.send_with(&shopify(secret, topic, "e1", body), body).expect("an answer");
    refuses(&daemon, "wrong secret", || send("checkouts/update", "guess"), &[401], &["sign"]);
    let other = send("orders/paid", "hush");
    assert!(other.event().is_none() && daemon.runs("door").is_empty(), "another topic starts nothing: {other:?}");
    let reply = send("checkouts/update", "hush");
    assert!((200..300).contains(&reply.status), "{}", reply.text());
    let run = settled(&daemon, &reply);
    assert_eq!(daemon.wait_state(run, RunState::Succeeded).output("a"), r#"{"got":450789469}"#);
    assert_eq!(send("checkouts/update", "hush").field("state"), "duplicate", "by the scheme's delivery id");
    assert_eq!(sender::hmac(b"key", b"The quick brown fox jumps over the lazy dog")[..4], [0xf7, 0xbc, 0x83, 0xf4]);
}
