//! Outgoing webhooks with the real binaries, against receivers that fail, stall, redirect, answer slowly, close in the
//! middle or answer without end, and across SIGKILLs.
//!
//! The one invariant: whatever receivers do, the schedule is kept, others get theirs at once, memory stays bounded,
//! ordered subscriptions keep their order, and nothing that a step emitted is lost.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use aura_protocol::run::RunState;
use aura_protocol::signature;

use crate::support::{Answer, Daemon, LIMIT, Receiver, Request, Setup, assert_says, wait_for, wait_until};

/// Emits `input.n` one after the other to people outside.
const GIVER: &str = r#"aura: 1
flow: giver
steps:
  - id: each
    map:
      over: "{{ input.n }}"
      max_parallel: 1
      steps: [{ id: give, emit: { event: order.paid, body: { n: "{{ item }}" }, to: subscribers } }]
"#;

/// A short schedule: 300 ms, 600 ms, then given up.
fn quick(more: &[(&str, &str)]) -> Setup {
    let mut environment = vec![
        ("AURA_OUTGOING_RETRIES".to_owned(), "300ms,600ms".to_owned()),
        ("AURA_OUTGOING_TIMEOUT_SECONDS".to_owned(), "1".to_owned()),
    ];
    environment.extend(more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    Setup { environment, ..Setup::default() }
}

/// Creates a subscription to all events; gives its secret.
fn subscribe(daemon: &Daemon, name: &str, url: &str, more: &[&str]) -> String {
    let words = ["subscription", "create", name, "--url", url, "--types", "*", "--json"];
    let made = daemon.aura(&[&words, more].concat()).success().json();
    made["secret"].as_str().expect("a secret, once").to_owned()
}

fn give(daemon: &Daemon, numbers: &str) {
    daemon.wait_state(daemon.run("giver", &format!("{{\"n\":{numbers}}}")), RunState::Succeeded);
}

fn shown(daemon: &Daemon, name: &str) -> serde_json::Value {
    daemon.aura(&["subscription", "show", name, "--json"]).success().json()
}

/// Sendings of a subscription, newest first.
fn sendings(daemon: &Daemon, name: &str, more: &[&str]) -> Vec<serde_json::Value> {
    let words = ["subscription", "sendings", name, "--limit", "10000", "--json"];
    let said = daemon.aura(&[&words, more].concat()).success();
    said.out.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

fn wait_state(daemon: &Daemon, name: &str, state: &str, count: usize) -> Vec<serde_json::Value> {
    let what = format!("{count} sendings {state} to {name}");
    wait_for(&what, LIMIT, || Some(sendings(daemon, name, &["--state", state])).filter(|rows| rows.len() == count))
}

fn is_signed(request: &Request, secret: &str) -> bool {
    let scheme = signature::scheme("standard_webhooks").expect("the scheme");
    let body = request.body.as_deref().unwrap_or_default();
    let whole = signature::Request::post(&request.headers, body);
    signature::verify(scheme, &[secret], &whole, crate::support::now_ms(), None).is_ok()
}

#[test]
fn events_reach_whom_they_concern_signed_and_nobody_else() {
    let mut daemon = Daemon::start_with(quick(&[]));
    let receiver = Receiver::start();
    let url = |path: &str| receiver.url(path);
    std::fs::write(daemon.place.path("key"), "the-header-secret-9a7\n").expect("a file");
    let header = format!("X-Key=@{}", daemon.place.path("key").display());
    let acme = subscribe(&daemon, "acme", &url("/acme"), &["--customer", "acme", "--secret-header", &header]);
    subscribe(&daemon, "other", &url("/other"), &["--customer", "other"]);
    let everything = subscribe(&daemon, "erp", &url("/erp"), &["--customer", "*", "--header", "X-Shop=north"]);
    subscribe(&daemon, "open", &url("/open"), &[]);
    daemon.aura(&["subscription", "edit", "open", "--types", "product.*"]).success();
    daemon.publish(
        r#"aura: 1
flow: tells
triggers: [{ id: hand, on: manual }]
steps:
  - { id: inside, emit: { event: order.paid, body: { secret: inside } } }
  - { id: theirs, emit: { event: order.paid, to: subscribers, customer: "{{ input.customer }}", body: { sum: 12.50, id: 123456789012345678901 } } }
  - { id: all, emit: { event: product.new, to: everyone, body: { id: 7 } } }
"#,
    );
    daemon.publish("aura: 1\nflow: hears\ntriggers: [{ id: t, on: event, with: { name: product.new } }]\nsteps: [{ id: s, set: { id: \"{{ trigger.body.id }}\" } }]\n");
    let journal = daemon.wait_state(daemon.run("tells", r#"{"customer":"acme"}"#), RunState::Succeeded);
    assert_eq!(journal.output("inside"), r#"{"told":[]}"#);
    assert_says(journal.output("theirs"), &[r#""told":[]"#, r#""message_id":"msg_"#, r#""subscriptions":2"#]);
    assert_says(journal.output("all"), &[r#""flow":"hears""#, r#""subscriptions":4"#]);
    let to_acme = receiver.wait("/acme", 2);
    for path in ["/erp", "/acme"] {
        let mut kinds: Vec<String> =
            receiver.wait(path, 2).iter().map(|request| request.json()["type"].to_string()).collect();
        kinds.sort();
        assert_eq!(kinds, [r#""order.paid""#, r#""product.new""#], "{path}");
    }
    assert_eq!(receiver.wait("/other", 1)[0].json()["type"], "product.new");
    assert_eq!(receiver.wait("/open", 1)[0].json()["type"], "product.new");
    wait_state(&daemon, "other", "succeeded", 1);
    assert_eq!((receiver.count("/other"), receiver.count("/open")), (1, 1));
    let paid = to_acme.iter().find(|request| request.json()["type"] == "order.paid").expect("the order");
    let body = String::from_utf8(paid.body.clone().expect("a body")).expect("text");
    assert!(body.contains(r#""data":{"sum":12.50,"id":123456789012345678901}"#), "numbers keep their text: {body}");
    assert_eq!(paid.header("x-key"), Some("the-header-secret-9a7"));
    assert!(is_signed(paid, &acme) && !is_signed(paid, &everything));
    assert!(
        receiver
            .log()
            .iter()
            .all(|request| !String::from_utf8_lossy(request.body.as_deref().unwrap_or_default()).contains("inside"))
    );
    // Of nobody is no event for all: the step fails.
    let failed = daemon.run("tells", r#"{"customer":null}"#);
    assert_says(daemon.wait_state(failed, RunState::Failed).error(), &["`customer` is null, which names nobody"]);
    // A rotation: both sign, and what was shown is never shown again.
    let rotated = daemon.aura(&["subscription", "rotate", "acme", "--keep", "1h", "--json"]).success().json();
    let new = rotated["secret"].as_str().expect("the new secret").to_owned();
    let tested =
        daemon.aura(&["subscription", "test", "acme", "--type", "order.paid", "--data", r#"{"n":1}"#]).success();
    assert_says(tested.out, &["status 200 after"]);
    let test = receiver.wait("/acme", 3).pop().expect("the test");
    assert_eq!((test.json()["type"].as_str(), test.json()["data"]["n"].as_i64()), (Some("order.paid"), Some(1)));
    assert!(is_signed(&test, &acme) && is_signed(&test, &new) && !is_signed(&test, &everything));
    let at_once = daemon.aura(&["subscription", "rotate", "erp", "--keep", "1ms", "--json"]).success().json();
    daemon.aura(&["subscription", "test", "erp"]).success();
    let test = receiver.wait("/erp", 3).pop().expect("the test");
    assert!(is_signed(&test, at_once["secret"].as_str().expect("a secret")) && !is_signed(&test, &everything));
    let said = ["list", "show acme", "sendings acme", "list --json", "show acme --json"].map(|words| {
        let words: Vec<&str> = std::iter::once("subscription").chain(words.split(' ')).collect();
        daemon.aura(&words).success().out
    });
    let said = format!("{said:?}{}", daemon.place.said());
    for secret in [&acme, &new, &everything, "the-header-secret-9a7"] {
        assert!(!said.contains(secret), "a secret was shown");
    }
    daemon.stop();
    let store = std::fs::read(daemon.place.data().join("aura.redb")).expect("the store");
    for text in ["the-header-secret-9a7", "123456789012345678901", "acme", &new] {
        assert!(!store.windows(text.len()).any(|window| window == text.as_bytes()), "`{text}` lies open in the store");
    }
}

#[test]
fn a_failing_receiver_is_tried_by_the_schedule_given_up_and_recovered() {
    let daemon = Daemon::start_with(quick(&[]));
    let receiver = Receiver::start();
    daemon.publish(GIVER);
    receiver
        .on("/bad", |_, before| if before < 3 { Answer::status(503).body("not now\u{1b}[31m") } else { Answer::ok() });
    receiver.on("/moved", |_, _| Answer::status(302).header("location", "/elsewhere"));
    receiver.on(
        "/busy",
        |_, before| if before == 0 { Answer::status(429).header("retry-after", "2") } else { Answer::ok() },
    );
    let secret = subscribe(&daemon, "bad", &receiver.url("/bad"), &[]);
    subscribe(&daemon, "moved", &receiver.url("/moved"), &[]);
    subscribe(&daemon, "busy", &receiver.url("/busy"), &[]);
    give(&daemon, "[1]");
    let requests = receiver.wait("/bad", 3);
    let ids: BTreeSet<&str> = requests.iter().filter_map(|request| request.header("webhook-id")).collect();
    assert_eq!(ids.len(), 1, "one id over all attempts");
    assert!(requests.iter().all(|request| is_signed(request, &secret)), "each is signed anew");
    let waits: Vec<i64> = requests.windows(2).map(|pair| pair[1].at_ms - pair[0].at_ms).collect();
    // Up to a fifth longer, and what the machine takes.
    assert!((299..1_500).contains(&waits[0]) && (599..2_500).contains(&waits[1]), "{waits:?}");
    let failed = wait_state(&daemon, "bad", "failed", 1);
    let message = failed[0]["message"].as_str().expect("an id").to_owned();
    assert_eq!(failed[0]["reason"], "given up after 3 attempts");
    let attempts = daemon.aura(&["subscription", "attempts", "bad", &message]).success().out;
    assert_says(attempts.clone(), &["the answer has status 503", "not now", "order.paid", "\"n\": 1", "give[0]"]);
    assert!(!attempts.contains('\u{1b}'));
    assert_says(shown(&daemon, "bad").to_string(), &["failing_since_ms"]);
    // A redirect is a failure and nobody goes there.
    let moved = wait_state(&daemon, "moved", "failed", 1);
    assert_says(moved[0].to_string(), &["redirects are not followed"]);
    assert_eq!((receiver.count("/moved"), receiver.count("/elsewhere")), (3, 0));
    let busy = receiver.wait("/busy", 2);
    assert!(busy[1].at_ms - busy[0].at_ms >= 1_999, "the receiver asked for two seconds");
    // Counted first, then sent.
    let plan = daemon.aura(&["subscription", "recover", "bad", "--since", "1h", "--plan"]).success().out;
    assert_says(plan, &["1 message would be sent"]);
    assert_eq!(receiver.count("/bad"), 3);
    assert_ne!(daemon.aura(&["subscription", "recover", "bad", "--since", "1h"]).code, 0, "nobody agreed");
    daemon.aura(&["subscription", "recover", "bad", "--since", "1h", "--yes"]).success();
    let again = receiver.wait("/bad", 4).pop().expect("a fourth");
    assert_eq!(again.header("webhook-id"), Some(message.as_str()));
    let rows = wait_state(&daemon, "bad", "succeeded", 1);
    assert_eq!(rows[0]["attempts"].as_array().map(Vec::len), Some(4));
    assert!(shown(&daemon, "bad")["health"].get("failing_since_ms").is_none());
    // One that succeeded, by name; and one that is not there.
    daemon.aura(&["subscription", "resend", "bad", &message]).success();
    receiver.wait("/bad", 5);
    let nothing = daemon.aura(&["subscription", "resend", "bad", "msg_01KAM6Z7Q2M1GC2R8T4W9X5Y3Z"]);
    assert_eq!((nothing.code, nothing.out.as_str()), (3, ""), "{nothing:?}");
}

#[test]
fn a_receiver_that_is_gone_or_fails_too_long_is_disabled_and_what_it_missed_is_recovered() {
    let mut daemon = Daemon::start_with(quick(&[
        ("AURA_OUTGOING_DISABLE_AFTER", "500ms"),
        ("AURA_OUTGOING_RETRIES", "300ms,600ms,1h"),
    ]));
    let receiver = Receiver::start();
    daemon.publish(GIVER);
    daemon.publish("aura: 1\nflow: alarm\ntriggers: [{ id: t, on: event, with: { name: subscription_disabled } }]\nsteps: [{ id: s, set: { who: \"{{ trigger.body.subscription }}\", why: \"{{ trigger.body.cause }}\" } }]\n");
    receiver.on("/gone", |_, _| Answer::status(410));
    receiver.on("/dead", |_, before| if before < 3 { Answer::status(500) } else { Answer::ok() });
    subscribe(&daemon, "gone", &receiver.url("/gone"), &[]);
    subscribe(&daemon, "dead", &receiver.url("/dead"), &[]);
    give(&daemon, "[1]");
    wait_until("both to be disabled", LIMIT, || {
        ["gone", "dead"].iter().all(|name| shown(&daemon, name)["enabled"] == false)
    });
    let alarms = wait_for("both alarms", LIMIT, || {
        Some(daemon.runs("alarm")).filter(|runs| runs.len() == 2 && runs.iter().all(|run| run.state.is_final()))
    });
    let said: BTreeSet<String> =
        alarms.iter().map(|run| daemon.wait_state(run.run, RunState::Succeeded).output("s")).collect();
    assert_eq!(
        said.iter().map(String::as_str).collect::<Vec<_>>(),
        [r#"{"who":"dead","why":"failing"}"#, r#"{"who":"gone","why":"gone"}"#]
    );
    assert_says(
        daemon.aura(&["subscription", "list"]).success().out,
        &["its receiver answered 410 (gone)", "its receiver failed for too long"],
    );
    // Disabled ones get nothing, also after a kill; what waits is kept.
    let before = (receiver.count("/gone"), receiver.count("/dead"));
    daemon.kill9();
    daemon.up();
    give(&daemon, "[2, 3]");
    assert_eq!((receiver.count("/gone"), receiver.count("/dead")), before);
    assert_eq!(shown(&daemon, "dead")["health"]["waiting"], 1);
    daemon.aura(&["subscription", "enable", "dead"]).success();
    let missing = ["subscription", "recover", "dead", "--since", "1h", "--missing", "--yes", "--json"];
    let recovered = daemon.aura(&missing).success().json();
    assert_eq!((recovered["sendings"].as_i64(), recovered["missing"].as_i64()), (Some(3), Some(2)));
    wait_state(&daemon, "dead", "succeeded", 3);
    let numbers: BTreeSet<i64> =
        receiver.on_path("/dead").iter().filter_map(|request| request.json()["data"]["n"].as_i64()).collect();
    assert_eq!(numbers, BTreeSet::from([1, 2, 3]));
    assert_eq!(daemon.aura(&missing).success().json()["sendings"], 0, "nothing is missing any more");
    // The bin.
    daemon.aura(&["subscription", "delete", "dead"]).success();
    give(&daemon, "[4]");
    assert_says(daemon.aura(&["subscription", "list", "--deleted"]).success().out, &["dead"]);
    assert_eq!(shown_code(&daemon, "dead"), 3);
    daemon.aura(&["subscription", "restore", "dead"]).success();
    assert_eq!((shown(&daemon, "dead")["enabled"].as_bool(), sendings(&daemon, "dead", &[]).len()), (Some(false), 3));
    // One that was disabled, lay in the bin over a start and is wanted again: that holds over the next start too.
    daemon.aura(&["subscription", "delete", "gone"]).success();
    daemon.kill9();
    daemon.up();
    daemon.aura(&["subscription", "restore", "gone"]).success();
    assert_eq!(shown(&daemon, "gone")["health"]["disabled"][1], "gone", "why it was disabled is still known");
    daemon.aura(&["subscription", "enable", "gone"]).success();
    daemon.kill9();
    daemon.up();
    assert_eq!(shown(&daemon, "gone")["enabled"], true);
}

fn shown_code(daemon: &Daemon, name: &str) -> i32 {
    daemon.aura(&["subscription", "show", name]).code
}

/// A receiver that speaks no honest HTTP; gives its address.
fn hostile(serve: impl Fn(TcpStream) + Send + Sync + Clone + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("its address");
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let serve = serve.clone();
            std::thread::spawn(move || serve(stream));
        }
    });
    address
}

fn head(stream: &mut TcpStream) {
    let mut seen = Vec::new();
    let mut byte = [0; 1];
    while !seen.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|count| count == 1) {
        seen.push(byte[0]);
    }
}

/// Memory of a process that is its own, in KiB.
fn memory_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("its status");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("a line");
    line.split_whitespace().nth(1).and_then(|text| text.parse().ok()).expect("a number")
}

#[test]
fn hostile_receivers_hold_nobody_up_and_cost_little() {
    let mut daemon = Daemon::start_with(quick(&[("AURA_OUTGOING_MAX", "32"), ("AURA_WORKERS", "2")]));
    let receiver = Receiver::start();
    daemon.publish(GIVER);
    let silent = hostile(|mut stream| {
        head(&mut stream);
        // Until the other side gives up.
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let endless = hostile(|mut stream| {
        head(&mut stream);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
        let chunk = [b"10000\r\n".as_slice(), &[b'x'; 65_536], b"\r\n"].concat();
        while stream.write_all(&chunk).is_ok() {}
    });
    let broken = hostile(|mut stream| {
        head(&mut stream);
        let _ = stream.write_all(b"HTTP/1.1 2");
    });
    let half = hostile(|mut stream| {
        head(&mut stream);
        let _ = stream.write_all(b"HTTP/1.1 500 No\r\ncontent-length: 100\r\n\r\nhalf");
    });
    let long_head = hostile(|mut stream| {
        head(&mut stream);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n");
        while stream.write_all(&[b"x-a: ".as_slice(), &[b'y'; 4096], b"\r\n"].concat()).is_ok() {}
    });
    let slow = hostile(|mut stream| {
        head(&mut stream);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n");
        // A byte now and then: after its body nothing comes from the other side, so each read takes its whole time.
        let _ = stream.set_read_timeout(Some(Duration::from_millis(100)));
        while stream.write_all(b".").is_ok() {
            if stream.read(&mut [0; 4096]).is_ok_and(|count| count == 0) {
                return;
            }
        }
    });
    for (name, address) in [
        ("silent", silent),
        ("endless", endless),
        ("broken", broken),
        ("half", half),
        ("longhead", long_head),
        ("slow", slow),
    ] {
        for number in 0..4 {
            subscribe(&daemon, &format!("{name}-{number}"), &format!("http://{address}/"), &[]);
        }
    }
    subscribe(&daemon, "refused", "http://127.0.0.1:1/", &[]);
    subscribe(&daemon, "good", &receiver.url("/good"), &[]);
    let numbers: Vec<usize> = (0..40).collect();
    give(&daemon, "[0]");
    receiver.wait("/good", 1);
    let began = Instant::now();
    give(&daemon, &format!("{:?}", &numbers[1..]));
    receiver.wait("/good", 40);
    // Ten attempts of the silent ones would be longer than this.
    assert!(began.elapsed() < Duration::from_secs(10), "others waited for the silent ones: {:?}", began.elapsed());
    for (name, part) in [
        ("silent-0", "no answer of"),
        ("broken-0", "broke off"),
        ("half-0", "status 500"),
        ("longhead-0", "broke off"),
        ("refused", "no connection"),
    ] {
        wait_until(&format!("an attempt of {name}"), LIMIT, || {
            sendings(&daemon, name, &[]).iter().any(|row| row["attempts"].to_string().contains(part))
        });
    }
    // A status is an answer, whatever its body is like.
    for (name, part) in [("endless-0", "longer than anybody reads"), ("slow-0", "too slowly")] {
        let rows = wait_for(name, LIMIT, || {
            Some(sendings(&daemon, name, &["--state", "succeeded"])).filter(|rows| !rows.is_empty())
        });
        assert_says(rows[0].to_string(), &[part]);
    }
    let used = memory_kib(daemon.pid());
    assert!(used < 250 * 1024, "{used} KiB");
    daemon.stop();
}

#[test]
fn order_holds_and_nothing_is_lost_across_kills() {
    let mut daemon = Daemon::start_with(quick(&[("AURA_OUTGOING_RETRIES", "50ms,50ms,50ms,50ms,50ms,50ms,50ms,50ms")]));
    let receiver = Receiver::start();
    daemon.publish(GIVER);
    // Every third request fails, and some break off before or after they were read.
    let rule = |request: &Request, _: usize| match request.number % 5 {
        1 => Answer::status(500),
        3 => Answer::close(),
        _ => Answer::ok(),
    };
    receiver.on("/ordered", rule);
    receiver.on("/any", rule);
    subscribe(&daemon, "ordered", &receiver.url("/ordered"), &["--ordered"]);
    subscribe(&daemon, "any", &receiver.url("/any"), &[]);
    let mut expected = 0;
    for round in 0..4 {
        let numbers: Vec<usize> = (expected..expected + 12).collect();
        let run = daemon.run("giver", &format!("{{\"n\":{numbers:?}}}"));
        wait_until("some to arrive", LIMIT, || receiver.count("/ordered") > round * 6 + 2);
        daemon.kill9();
        daemon.up();
        daemon.wait_state(run, RunState::Succeeded);
        expected += 12;
    }
    for name in ["ordered", "any"] {
        wait_state(&daemon, name, "succeeded", expected);
        assert_eq!(shown(&daemon, name)["health"]["waiting"], 0, "what is counted is what waits");
    }
    let arrived = |path: &str| -> Vec<(i64, String)> {
        let requests = receiver.on_path(path);
        let of =
            |request: &Request| Some((request.json()["data"]["n"].as_i64()?, request.header("webhook-id")?.to_owned()));
        requests.iter().filter(|request| request.body.is_some()).filter_map(of).collect()
    };
    for path in ["/ordered", "/any"] {
        let seen: BTreeSet<(i64, String)> = arrived(path).into_iter().collect();
        assert_eq!(seen.len(), expected, "each under one id, none lost: {path}");
    }
    // Repeats are allowed, going back is not.
    let order: Vec<i64> = arrived("/ordered").into_iter().map(|(n, _)| n).collect();
    assert!(order.is_sorted(), "{order:?}");
}

#[test]
fn a_rate_holds_an_order_can_be_skipped_and_what_is_wrong_is_refused() {
    let daemon = Daemon::start_with(quick(&[("AURA_OUTGOING_RETRIES", "1h")]));
    let receiver = Receiver::start();
    daemon.publish(GIVER);
    subscribe(&daemon, "slow", &receiver.url("/slow"), &["--rate", "2/1s"]);
    receiver.on("/stuck", |_, before| if before == 0 { Answer::status(500) } else { Answer::ok() });
    subscribe(&daemon, "stuck", &receiver.url("/stuck"), &["--ordered"]);
    give(&daemon, "[1, 2, 3, 4, 5]");
    let times: Vec<i64> = receiver.wait("/slow", 5).iter().map(|request| request.at_ms).collect();
    assert!(times[4] - times[0] >= 1_990, "two in any second: {times:?}");
    // The first of an ordered subscription waits an hour; a person gives it up.
    wait_until("the first attempt", LIMIT, || receiver.count("/stuck") == 1);
    let waiting = wait_state(&daemon, "stuck", "waiting", 5);
    let first = waiting.last().expect("the oldest")["message"].as_str().expect("an id").to_owned();
    let refused = daemon.aura(&["subscription", "edit", "stuck", "--ordered", "false"]);
    assert_says(refused.err, &["whether they go in order stays"]);
    daemon.aura(&["subscription", "give-up", "stuck", &first]).success();
    wait_state(&daemon, "stuck", "succeeded", 4);
    assert_says(sendings(&daemon, "stuck", &["--state", "failed"])[0].to_string(), &["given up by"]);
    assert_ne!(daemon.aura(&["subscription", "give-up", "stuck", &first]).code, 0);
    for (words, part) in [
        (&["create", "bad", "--url", "ftp://a.example", "--types", "*"][..], "only http and https"),
        (&["create", "bad", "--url", "http://169.254.169.254/", "--types", "*"], "blocked by egress policy"),
        (&["create", "bad", "--url", "https://a.example", "--types", "a b"], "no event type"),
        (&["create", "bad", "--url", "https://a.example"], "needs event types"),
        (&["create", "slow", "--url", "https://a.example", "--types", "*"], "already"),
        (
            &["create", "bad", "--url", "https://a.example", "--types", "*", "--header", "webhook-id=1"],
            "is set by AURA",
        ),
        (&["edit", "nobody", "--url", "https://a.example"], "there is no subscription"),
        (&["resend", "slow"], "say which messages"),
        (&["test", "slow", "--type", "order.*"], "stands for many"),
    ] {
        let said = daemon.aura(&[&["subscription"][..], words].concat());
        assert!(said.code != 0 && said.err.contains(part), "{words:?}: {said:?}");
    }
    // Pages, over all subscriptions and by filter.
    let page = daemon.aura(&["subscription", "sendings", "--limit", "3", "--json"]).success().out;
    assert!((3..=4).contains(&page.lines().count()), "a page ends between two messages: {page}");
    assert_eq!(sendings(&daemon, "slow", &["--type", "order.*", "--since", "1h"]).len(), 5);
    assert_eq!(sendings(&daemon, "slow", &["--type", "other"]).len(), 0);
    assert_eq!(sendings(&daemon, "slow", &["--until", "1h"]).len(), 0);
    // What a step redacts is sent, and nobody is shown it: not what was sent, nor what came back.
    receiver.on("/echo", |request, _| {
        Answer::ok().body(&String::from_utf8_lossy(request.body.as_deref().unwrap_or_default()))
    });
    subscribe(&daemon, "echo", &receiver.url("/echo"), &[]);
    daemon.publish(
        "aura: 1\nflow: tells\nsteps:\n  - id: tell\n    redact: [input.body.iban]\n    emit: { event: person.new, to: subscribers, body: { iban: NO9386011117947, name: Ada } }\n",
    );
    daemon.wait_state(daemon.run("tells", "{}"), RunState::Succeeded);
    assert_eq!(receiver.wait("/echo", 1)[0].json()["data"]["iban"], "NO9386011117947");
    let rows = wait_state(&daemon, "echo", "succeeded", 1);
    let message = rows[0]["message"].as_str().expect("an id");
    let seen = daemon.aura(&["subscription", "attempts", "echo", message, "--json"]).success().out;
    assert_says(seen.clone(), &["[redacted]", "Ada"]);
    assert!(!format!("{seen}{rows:?}").contains("NO9386011117947"), "{seen} {rows:?}");
}
