//! Policies over several events, through the real daemon: batch, throttle, one run per key, order by key; over kills,
//! pauses and senders side by side.
//!
//! The one invariant: every event that was promised is in exactly one run, or recorded with the reason why in none.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use aura_protocol::event::EventState;
use aura_protocol::rpc::{EventQuery, FlowPause};
use aura_protocol::run::{Record, RunState};

use crate::kill_loop::{Chance, Load, number, seed};
use crate::support::daemon::{Journal, run_of};
use crate::support::sender::SECRET;
use crate::support::{Answer, Daemon, Hook, LIMIT, Receiver, assert_says, now_ms, wait_for, wait_until};

fn signed(flow: &str, policy: &str, rest: &str) -> String {
    format!(
        "aura: 1\nflow: {flow}\ntriggers:\n  - id: in\n    on: webhook\n    auth: {{ scheme: standard_webhooks, secret: sender }}\n    {policy}\n{rest}"
    )
}

fn open(flow: &str, policy: &str, rest: &str) -> String {
    format!("aura: 1\nflow: {flow}\ntriggers:\n  - id: in\n    on: webhook\n    auth: none\n    {policy}\n{rest}")
}

/// The body of the event with which each run began, in the order of the runs.
fn begun_with(daemon: &Daemon, flow: &str) -> Vec<(RunState, serde_json::Value)> {
    let read = |head: aura_protocol::run::RunHead| {
        let journal = Journal(daemon.show(head.run));
        let body = journal.records().find_map(|record| match record {
            Record::RunStarted(started) => Some(started.event.body.clone()),
            _ => None,
        });
        (head.state, serde_json::from_slice(&body.expect("a first record")).expect("JSON"))
    };
    daemon.runs(flow).into_iter().map(read).collect()
}

fn send(hook: &Hook, id: &str, body: &str) -> String {
    let reply = hook.send(id, body).expect("an answer");
    assert!((200..300).contains(&reply.status), "{} {}", reply.status, reply.text());
    reply.field("state")
}

#[test]
fn every_promised_event_is_in_one_batch_over_kills() {
    let mut chance = Chance(seed());
    let cycles = number("AURA_KILL_CYCLES", 50) / 10;
    println!("{cycles} cycles, AURA_SEED={}", chance.0);
    let mut daemon = Daemon::start();
    daemon.secret("sender", SECRET);
    let policy = "batch: { key: \"{{ trigger.body.customer }}\", max: 4, for: 700ms }";
    let steps = "steps:\n  - id: all\n    set: { ns: \"{{ trigger.events.map(x => x.body.n) }}\", key: \"{{ trigger.key }}\" }\n";
    daemon.publish(&signed("batched", policy, steps));
    let hook = daemon.hook("batched");
    let load = Arc::new(Load { next: AtomicU64::new(1), ..Load::default() });
    let senders: Vec<_> = (0..6)
        .map(|_| {
            let (load, hook, chance) = (Arc::clone(&load), hook.clone(), Chance(chance.below(u64::MAX)));
            std::thread::spawn(move || load.send(&hook, 5, chance))
        })
        .collect();
    for _ in 0..cycles.max(3) {
        let moment = Instant::now() + Duration::from_millis(chance.between(150, 600));
        wait_until("the moment of a kill", LIMIT, || Instant::now() >= moment);
        daemon.kill9();
        daemon.up();
    }
    load.stop.store(true, Ordering::SeqCst);
    senders.into_iter().for_each(|sender| sender.join().expect("a sender"));
    daemon.wait_quiet(LIMIT);
    // A run that ends at once is never among the live ones, and its commit may still be on its way.
    let told = load.acks.lock().expect("acks").len();
    wait_until("the last batch to be stored", LIMIT, || {
        let events =
            begun_with(&daemon, "batched").into_iter().map(|(_, events)| events.as_array().map_or(0, Vec::len));
        events.sum::<usize>() >= told
    });
    let mut found: BTreeMap<String, usize> = BTreeMap::new();
    let mut sizes = BTreeSet::new();
    for (state, events) in begun_with(&daemon, "batched") {
        let events = events.as_array().expect("a list").clone();
        assert_eq!(state, RunState::Succeeded, "{events:?}");
        sizes.insert(events.len());
        let keys: BTreeSet<&str> = events.iter().filter_map(|event| event["body"]["customer"].as_str()).collect();
        assert_eq!(keys.len(), 1, "one key in a batch: {events:?}");
        for event in &events {
            *found.entry(event["event"].as_str().expect("an id").to_owned()).or_default() += 1;
        }
    }
    let promised: BTreeMap<String, usize> =
        load.acks.lock().expect("acks").iter().map(|acked| (acked.event.to_string(), 1)).collect();
    assert!(promised.len() > 20 && sizes.iter().all(|size| (1..=4).contains(size)), "{} {sizes:?}", promised.len());
    assert!(sizes.contains(&4), "some were full: {sizes:?}");
    assert_eq!(found, promised, "each promised event in exactly one run, and nothing else");
    let shown = daemon.ask().event_show(load.acks.lock().expect("acks")[0].event).expect("the event");
    assert_eq!(shown.state, EventState::Started, "its fate is told: {shown:?}");
    assert!(shown.run.is_some(), "{shown:?}");
}

#[test]
fn a_batch_starts_full_or_when_its_time_is_over_and_waits_while_its_flow_is_paused() {
    let daemon = Daemon::start();
    let policy = "batch: { max: 3, for: 1s }";
    let steps = "steps:\n  - id: all\n    set: { n: \"{{ trigger.events.length }}\" }\n  - id: each\n    map: { over: \"{{ trigger.events }}\", steps: [{ id: one, set: { n: \"{{ item.body.n }}\" } }] }\n";
    daemon.publish(&open("few", policy, steps));
    let hook = daemon.open_hook("few");
    let states: Vec<String> = (0..4).map(|n| send(&hook, &format!("{n}"), &format!("{{\"n\":{n}}}"))).collect();
    assert_eq!(states, ["held"; 4]);
    wait_until("a full batch and one whose time is over", LIMIT, || daemon.runs("few").len() == 2);
    daemon.wait_quiet(LIMIT);
    let counts: Vec<usize> =
        begun_with(&daemon, "few").iter().map(|(_, events)| events.as_array().expect("a list").len()).collect();
    assert_eq!(counts, [3, 1]);
    assert!(Journal(daemon.show(daemon.runs("few")[0].run)).output("each").contains("\"n\":2"));
    let (full, late) = (daemon.runs("few")[0].created_ms, daemon.runs("few")[1].created_ms);
    assert!(late - full > 400, "the second one waited: {full} {late}");
    // Paused: what came is kept, also what made a batch full, and starts in order afterwards.
    daemon.ask().flow_pause(FlowPause { flow: "few".into(), paused: true }).expect("paused");
    (10..15).for_each(|n| assert_eq!(send(&hook, &format!("{n}"), &format!("{{\"n\":{n}}}")), "held"));
    let over = now_ms() + 1_500;
    wait_until("longer than a batch waits", LIMIT, || now_ms() > over);
    assert_eq!(daemon.runs("few").len(), 2, "a paused flow starts nothing");
    daemon.ask().flow_pause(FlowPause { flow: "few".into(), paused: false }).expect("resumed");
    wait_until("what was kept", LIMIT, || daemon.runs("few").len() == 4);
    daemon.wait_quiet(LIMIT);
    let numbers: Vec<Vec<i64>> = begun_with(&daemon, "few")
        .iter()
        .skip(2)
        .map(|(_, events)| {
            events.as_array().expect("a list").iter().filter_map(|event| event["body"]["n"].as_i64()).collect()
        })
        .collect();
    assert_eq!(numbers, [vec![10, 11, 12], vec![13, 14]]);
}

#[test]
fn a_large_batch_is_read_as_any_other() {
    let daemon = Daemon::start();
    let steps = "steps:\n  - id: last\n    set: { n: \"{{ trigger.events[2].body.n }}\", all: \"{{ trigger.events.length }}\" }\n";
    daemon.publish(&open("large", "batch: { max: 3, for: 1h }", steps));
    let (hook, text) = (daemon.open_hook("large"), "x".repeat(90_000));
    (0..3).for_each(|n| _ = send(&hook, &format!("{n}"), &format!("{{\"n\":{n},\"text\":\"{text}\"}}")));
    let run = wait_for("a full batch", LIMIT, || daemon.runs("large").first().map(|head| head.run));
    let journal = daemon.wait_state(run, RunState::Succeeded);
    assert_says(journal.output("last"), &["\"n\":2", "\"all\":3"]);
}

#[test]
fn a_throttle_drops_or_queues_what_is_too_much_and_remembers_it_over_a_kill() {
    let mut daemon = Daemon::start();
    let steps = "steps:\n  - id: a\n    set: { n: \"{{ trigger.body.n }}\" }\n";
    let key = "key: \"{{ trigger.body.shop }}\"";
    daemon.publish(&open("dropping", &format!("throttle: {{ {key}, limit: 2, per: 1h, on_excess: drop }}"), steps));
    daemon.publish(&open("queueing", &format!("throttle: {{ {key}, limit: 2, per: 3s }}"), steps));
    let (dropping, queueing) = (daemon.open_hook("dropping"), daemon.open_hook("queueing"));
    let one =
        |hook: &Hook, n: u32, shop: &str| send(hook, &format!("{n}"), &format!("{{\"n\":{n},\"shop\":\"{shop}\"}}"));
    let begin = Instant::now();
    assert_eq!([1, 2, 3].map(|n| one(&dropping, n, "a")), ["started", "started", "dropped"]);
    assert_eq!([1, 2, 3, 4, 5].map(|n| one(&queueing, n, "a")), ["started", "started", "queued", "queued", "queued"]);
    assert_eq!(one(&queueing, 6, "b"), "started", "each key counts for itself");
    let queued = daemon.runs("queueing")[4].clone();
    let why = queued.blocked_by.expect("a reason").reason;
    assert_says(&why, &["the throttle of its trigger", "2 in 3s are used up, the next at"]);
    daemon.kill9();
    daemon.up();
    assert_eq!(one(&dropping, 4, "a"), "dropped", "what was used before the kill counts");
    assert_eq!(one(&dropping, 5, "b"), "started");
    let query = EventQuery { flow: Some("dropping".into()), limit: 10, ..EventQuery::default() };
    let events = daemon.ask().event_list(query).expect("events").events;
    assert_eq!(events.len(), 2, "{events:?}");
    assert_says(&events[0].reason, &["on_excess: drop", "2 in 1h are used up"]);
    daemon.wait_quiet(LIMIT);
    assert!(begin.elapsed() > Duration::from_millis(5_500), "five in 3s each two: {:?}", begin.elapsed());
    let order: Vec<i64> = begun_with(&daemon, "queueing")
        .iter()
        .filter(|(_, body)| body["shop"] == "a")
        .filter_map(|(_, body)| body["n"].as_i64())
        .collect();
    assert_eq!(order, [1, 2, 3, 4, 5]);
    // A key that fails is the owner's mistake, not the sender's.
    daemon.publish(&open("failing", "throttle: { key: \"{{ trigger.body.a.b }}\", limit: 2, per: 1h }", steps));
    let reply = daemon.open_hook("failing").send("1", "{}").expect("an answer");
    let journal = daemon.wait_state(run_of(&reply, EventState::Started), RunState::Failed);
    assert_says(journal.error(), &["the throttle key of the trigger failed"]);
}

#[test]
fn a_throttle_counts_what_was_kept_while_its_flow_was_paused() {
    let daemon = Daemon::start();
    let steps = "steps:\n  - id: a\n    set: { n: \"{{ trigger.body.n }}\" }\n";
    daemon.publish(&open("kept", "throttle: { limit: 2, per: 1h, on_excess: drop }", steps));
    let hook = daemon.open_hook("kept");
    assert_eq!(send(&hook, "0", "{\"n\":0}"), "started");
    daemon.ask().flow_pause(FlowPause { flow: "kept".into(), paused: true }).expect("paused");
    (1..4).for_each(|n| assert_eq!(send(&hook, &format!("{n}"), &format!("{{\"n\":{n}}}")), "held"));
    daemon.ask().flow_pause(FlowPause { flow: "kept".into(), paused: false }).expect("resumed");
    daemon.wait_quiet(LIMIT);
    let query = EventQuery { flow: Some("kept".into()), limit: 10, ..EventQuery::default() };
    let mut fates = Vec::new();
    wait_until("all to be told", LIMIT, || {
        let mut events = daemon.ask().event_list(query.clone()).expect("events").events;
        events.sort_by_key(|row| row.delivery.body.clone());
        fates = events.iter().map(|row| row.state).collect();
        !fates.contains(&EventState::Held)
    });
    assert_eq!(fates, [EventState::Started, EventState::Dropped, EventState::Dropped]);
}

#[test]
fn events_of_a_key_run_one_after_another_in_order_over_a_kill_and_a_failure() {
    let (mut daemon, receiver) = (Daemon::start(), Receiver::start());
    receiver.on("/first", |_, before| if before == 0 { Answer::hold() } else { Answer::ok() });
    receiver.on("/work", |request, _| match request.json()["n"].as_u64() {
        Some(3) => Answer::status(400),
        _ => Answer::ok().after(Duration::from_millis(5)),
    });
    let step = |path: &str| {
        format!(
            "http: {{ method: POST, url: \"{}\", body: {{ n: \"{{{{ trigger.body.n }}}}\", key: \"{{{{ trigger.body.key }}}}\" }} }}",
            receiver.url(path)
        )
    };
    let steps = format!(
        "concurrency: {{ key: \"{{{{ trigger.body.key }}}}\", limit: 1, when_full: queue }}\nsteps:\n  - id: first\n    effect: keyed\n    if: \"{{{{ trigger.body.n == 0 }}}}\"\n    {}\n  - id: work\n    effect: keyed\n    {}\n",
        step("/first"),
        step("/work")
    );
    daemon.publish(&open("ordered", "filter: true", &steps));
    let hook = daemon.open_hook("ordered");
    // Several fall into one millisecond: only the order of acceptance tells them apart.
    for n in 0..12 {
        for key in ["a", "b"] {
            let state = send(&hook, &format!("{key}{n}"), &format!("{{\"n\":{n},\"key\":\"{key}\"}}"));
            assert_eq!(state, if n == 0 { "started" } else { "queued" });
        }
    }
    receiver.wait("/first", 2);
    daemon.kill9();
    receiver.release("/first");
    daemon.up();
    daemon.wait_quiet(LIMIT);
    let mut seen: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for request in receiver.on_path("/work") {
        let (key, n) = (request.json()["key"].as_str().expect("a key").to_owned(), request.json()["n"].as_u64());
        let of_key = seen.entry(key).or_default();
        // A call that was out when the daemon died is repeated with its own key.
        if of_key.last() != n.as_ref() {
            of_key.push(n.expect("a number"));
        }
    }
    let expected: Vec<u64> = (0..12).collect();
    assert_eq!(seen.values().collect::<Vec<_>>(), [&expected, &expected], "{seen:?}");
    let failed = begun_with(&daemon, "ordered").into_iter().filter(|(state, _)| *state == RunState::Failed);
    let failed: Vec<_> = failed.map(|(_, body)| body["n"].as_u64()).collect();
    assert_eq!(failed, [Some(3), Some(3)], "a failed run does not stop those behind it");
}

#[test]
fn one_run_per_key_is_left_out_replaced_or_queued_as_the_flow_says() {
    let daemon = Daemon::start();
    let rest = |when: &str| {
        format!(
            "concurrency: {{ key: \"{{{{ trigger.body.key }}}}\", limit: 1, when_full: {when} }}\nsteps:\n  - id: rest\n    sleep: {{ for: 1h }}\n"
        )
    };
    for (word, second) in [("drop", "dropped"), ("replace", "queued"), ("queue", "queued")] {
        daemon.publish(&open(word, "filter: true", &rest(word)));
        let hook = daemon.open_hook(word);
        assert_eq!(send(&hook, "1", "{\"key\":1}"), "started");
        let run = daemon.runs(word)[0].run;
        daemon.wait_state(run, RunState::Waiting);
        assert_eq!(send(&hook, "2", "{\"key\":1}"), second, "{word}");
        assert_eq!(send(&hook, "3", "{\"key\":2}"), "started", "{word}: another key");
    }
    let states = |flow: &str| daemon.runs(flow).iter().map(|head| head.state).collect::<Vec<_>>();
    wait_until("the replaced run to end", LIMIT, || {
        states("replace") == [RunState::Cancelled, RunState::Waiting, RunState::Waiting]
    });
    assert_eq!(states("drop"), [RunState::Waiting; 2]);
    assert_eq!(states("queue"), [RunState::Waiting, RunState::Queued, RunState::Waiting]);
}
