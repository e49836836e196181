//! What clients are told: the tail without gaps, answers to repeated requests, ids, doctor, no secrets.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use aura_protocol::rpc::{DoctorRequest, FlowRun, RunRef};
use aura_protocol::run::RunState;
use aura_protocol::watch::{BYTES_MAX, Item, Subscription, WatchRequest};
use aura_protocol::{Code, RequestId, RunId, Value};

use crate::e2e_effects::stage;
use crate::support::{Daemon, LIMIT, assert_says, wait_until};

const STEPS: &str = "steps:\n  - id: a\n    set: { b: 1 }\n  - id: rest\n    sleep: { for: 100ms }\n  - id: call\n    http: { method: POST, url: \"RECEIVER/call\" }\n    effect: keyed\n";

fn ask(cursor: Option<u64>, max_items: u32, wait_ms: u32) -> WatchRequest {
    WatchRequest { subscriptions: vec![Subscription::Transitions], cursor, max_items, max_bytes: BYTES_MAX, wait_ms }
}

/// Reads news until there is none; adds the numbers of transitions by run.
fn read(daemon: &Daemon, mut cursor: u64, max_items: u32, seen: &mut BTreeMap<RunId, Vec<u64>>) -> u64 {
    loop {
        let reply = daemon.ask().watch(ask(Some(cursor), max_items, 0)).expect("news");
        assert!(!reply.cut, "retention cut nothing");
        // What one commit holds has one cursor and comes whole.
        assert!(reply.items.len() <= usize::try_from(max_items).expect("few") + 64, "{}", reply.items.len());
        for item in &reply.items {
            if let Item::Transition(run, transition) = item {
                seen.entry(*run).or_default().push(transition.number);
            }
        }
        if reply.items.is_empty() && !reply.more {
            return reply.cursor;
        }
        assert!(reply.cursor >= cursor, "a cursor never goes back");
        cursor = reply.cursor;
    }
}

#[test]
fn the_tail_has_no_gaps_over_kills_and_small_windows() {
    for window in [1, 7, 500] {
        let (mut daemon, _receiver) = stage("tailed", STEPS);
        let mut cursor = daemon.ask().watch(ask(None, 10, 0)).expect("where now is").cursor;
        let mut seen = BTreeMap::new();
        for _ in 0..3 {
            for _ in 0..5 {
                daemon.run("tailed", "{}");
            }
            cursor = read(&daemon, cursor, window, &mut seen);
            daemon.kill9();
            daemon.up();
        }
        daemon.wait_quiet(LIMIT);
        read(&daemon, cursor, window, &mut seen);
        assert_eq!(seen.len(), 15);
        for (run, numbers) in seen {
            let journal = daemon.wait_state(run, RunState::Succeeded);
            let expected: Vec<u64> = journal.0.journal.iter().map(|transition| transition.number).collect();
            assert_eq!(numbers, expected, "{run}: told once each, in order, with windows of {window}");
        }
    }
}

#[test]
fn a_long_poll_ends_with_news_or_with_its_time() {
    let (daemon, _receiver) = stage("polled", STEPS);
    let cursor = daemon.ask().watch(ask(None, 10, 0)).expect("where now is").cursor;
    let begin = Instant::now();
    let reply = daemon.ask().watch(ask(Some(cursor), 10, 300)).expect("nothing new");
    assert!(reply.items.is_empty() && reply.cursor >= cursor, "also nothing gives the next cursor: {reply:?}");
    assert!(begin.elapsed() >= Duration::from_millis(250), "{:?}", begin.elapsed());
    let client = daemon.ask().clone();
    let begin = Instant::now();
    let poll = std::thread::spawn(move || client.watch(ask(Some(reply.cursor), 10, 20_000)));
    daemon.run("polled", "{}");
    let reply = poll.join().expect("the poll").expect("news");
    assert!(!reply.items.is_empty());
    assert!(begin.elapsed() < Duration::from_secs(5), "news end a poll at once: {:?}", begin.elapsed());
}

#[test]
fn a_client_that_goes_away_in_a_long_poll_harms_nobody() {
    let (daemon, _receiver) = stage("left", STEPS);
    for _ in 0..50 {
        let client = crate::support::Client::connect(&daemon.place.socket()).expect("a connection");
        let poll = std::thread::spawn(move || client.watch(ask(None, 10, 1)));
        poll.join().expect("the poll").expect("an answer");
    }
    let run = daemon.run("left", "{}");
    daemon.wait_state(run, RunState::Succeeded);
}

#[test]
fn a_repeated_request_is_answered_and_not_redone() {
    let (mut daemon, _receiver) = stage("asked", STEPS);
    let request = RequestId::now();
    let run = || FlowRun { flow: "asked".into(), input: Value::Null };
    let first = daemon.ask().flow_run_as(request, run()).expect("a run").run;
    assert_eq!(daemon.ask().flow_run_as(request, run()).expect("the same run").run, first);
    daemon.kill9();
    daemon.up();
    assert_eq!(daemon.ask().flow_run_as(request, run()).expect("the same run").run, first, "also after a kill");
    assert_ne!(daemon.ask().flow_run_as(RequestId::now(), run()).expect("another run").run, first);
    assert_eq!(daemon.runs("asked").len(), 2);
}

#[test]
fn a_run_is_found_by_any_end_of_its_id_that_is_its_own() {
    let (daemon, _receiver) = stage("named", STEPS);
    let run = daemon.run("named", "{}");
    let other = daemon.run("named", "{}");
    let id = run.to_string();
    for piece in [id.as_str(), &id[4..], &id[id.len() - 6..], &id[id.len() - 6..].to_lowercase()] {
        let found = daemon.ask().run_show(RunRef(piece.to_owned())).unwrap_or_else(|error| panic!("{piece}: {error}"));
        assert_eq!(found.head.run, run, "{piece}");
    }
    // Both begin with the same milliseconds or seconds.
    let error = daemon.ask().run_show(RunRef(id[..10].to_owned())).expect_err("two runs");
    assert_eq!(error.code, Code::Ambiguous, "{error:?} {other}");
    for (piece, code) in [("ZZZZZZ", Code::NotFound), ("Z", Code::Invalid), ("", Code::Invalid)] {
        let error = daemon.ask().run_show(RunRef(piece.to_owned())).expect_err(piece);
        assert!([code, Code::NotFound].contains(&error.code), "{piece}: {error:?}");
    }
}

#[test]
fn doctor_finds_nothing_wrong_after_kills_and_says_what_it_read() {
    let (mut daemon, _receiver) = stage("healthy", STEPS);
    for _ in 0..3 {
        for _ in 0..5 {
            daemon.run("healthy", "{}");
        }
        daemon.kill9();
        daemon.up();
    }
    daemon.wait_quiet(LIMIT);
    for deep in [false, true] {
        let findings = daemon.ask().doctor(DoctorRequest { deep }).expect("a check");
        assert!(!findings.is_empty());
        let bad: Vec<_> = findings.iter().filter(|finding| finding.level == "fail").collect();
        assert!(bad.is_empty(), "{bad:?}");
    }
    let said = daemon.aura(&["doctor", "--deep"]).success();
    assert!(!said.out.is_empty());
}

#[test]
fn secrets_are_taken_and_never_given_back() {
    let daemon = Daemon::start();
    daemon.aura(&["connection", "add", "api", "secret", "value=hush-hush"]).success();
    let list = daemon.ask().connection_list(()).expect("the connections");
    assert_eq!((list.len(), list[0].secrets.as_slice()), (1, &["value".to_owned()][..]));
    let text = format!("{list:?}{}", daemon.aura(&["connection", "list", "--json"]).success().out);
    assert_says(&text, &["api"]);
    assert!(!text.contains("hush-hush"), "{text}");
    assert!(!daemon.place.said().contains("hush-hush"), "not in the log either");
}

#[test]
fn commands_print_what_scripts_read() {
    let (daemon, receiver) = stage("scripted", STEPS);
    let run = daemon.aura(&["flow", "run", "scripted", "--input", r#"{"a": 1}"#, "--wait", "--json"]).success();
    assert_says(&run.out, &["run_"]);
    receiver.wait("/call", 1);
    wait_until("the run in the list", LIMIT, || {
        daemon.aura(&["run", "list", "--state", "succeeded", "--json"]).success().out.contains("scripted")
    });
    let id = daemon.runs("scripted")[0].run.to_string();
    let shown = daemon.aura(&["run", "show", &id]).success();
    assert_says(&shown.out, &["rest", "call", "succeeded"]);
    assert_says(daemon.aura(&["run", "logs", &id]).success().out, &["rest"]);
    assert_says(daemon.aura(&["status"]).success().out, &["ready"]);
    assert_says(daemon.aura(&["flow", "list"]).success().out, &["scripted"]);
    let gone = daemon.aura(&["run", "show", "run_00000000000000000000000000"]);
    assert_eq!(gone.code, i32::from(Code::NotFound.exit_code()), "{gone:?}");
}
