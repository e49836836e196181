//! How runs go and end: branches, handlers, `finally`, stop, cancel, sleep, concurrency, kills in between.
//!
//! The one invariant: nothing ends green by accident, and `finally` runs whatever the end.

use aura_protocol::event::EventState;
use aura_protocol::rpc::{FlowEnable, RunCancel, RunRef};
use aura_protocol::run::{Record, RunState, StepState};
use aura_protocol::{RunId, WireError};

use crate::e2e_effects::stage;
use crate::support::daemon::{Journal, run_of};
use crate::support::{Answer, Daemon, Hook, LIMIT, Receiver, assert_says, now_ms, wait_for, wait_until};

fn cancel(daemon: &Daemon, run: RunId) -> Result<aura_protocol::run::RunHead, WireError> {
    daemon.ask().run_cancel(RunCancel { run: RunRef(run.to_string()), reason: "by a test".into() })
}

/// Runs a flow by hand until a state.
fn ends(name: &str, rest: &str, input: &str, state: RunState) -> (Journal, Receiver) {
    let (daemon, receiver) = stage(name, rest);
    receiver.on("/broken", |_, _| Answer::status(400));
    let run = daemon.run(name, input);
    (daemon.wait_state(run, state), receiver)
}

#[test]
fn a_skipped_step_has_null_as_output_and_stops_nobody() {
    let rest = r#"
steps:
  - id: gift
    if: "{{ input.total > 100 }}"
    set: { name: mug }
  - id: mail
    set: { gift: "{{ steps.gift.output?.name ?? 'none' }}" }
"#;
    let (journal, _) = ends("gift", rest, r#"{"total": 5}"#, RunState::Succeeded);
    assert_eq!(journal.state("gift"), StepState::Skipped);
    assert_eq!(journal.output("mail"), r#"{"gift":"none"}"#);
    let (journal, _) = ends("gift", rest, r#"{"total": 500}"#, RunState::Succeeded);
    assert_eq!(journal.output("mail"), r#"{"gift":"mug"}"#);
}

#[test]
fn a_branch_takes_one_arm_and_gives_its_last_output() {
    let arms = |otherwise: &str| {
        format!(
            r#"
steps:
  - id: size
    branch:
      - when: "{{{{ input.n > 100 }}}}"
        steps:
          - id: huge
            set: {{ name: huge }}
      - when: "{{{{ input.n > 10 }}}}"
        steps:
          - id: first
            set: {{ name: none }}
          - id: large
            set: {{ name: large }}
{otherwise}
  - id: after
    set: {{ got: "{{{{ steps.size.output }}}}" }}
"#
        )
    };
    let otherwise = "      - else: true\n        steps:\n          - id: small\n            set: { name: small }";
    let check = |rest: &str, input: &str, expected: &str| {
        let (journal, _) = ends("arms", rest, input, RunState::Succeeded);
        assert_eq!(journal.output("after"), format!("{{\"got\":{expected}}}"), "{input}");
    };
    check(&arms(otherwise), r#"{"n": 500}"#, r#"{"name":"huge"}"#);
    check(&arms(otherwise), r#"{"n": 50}"#, r#"{"name":"large"}"#);
    check(&arms(otherwise), r#"{"n": 5}"#, r#"{"name":"small"}"#);
    check(&arms(""), r#"{"n": 5}"#, "null");
}

#[test]
fn finally_runs_whatever_the_end() {
    // The steps, the state at the end, and how it gets there.
    let table = [
        ("set: { a: 1 }", RunState::Succeeded),
        ("http: { method: POST, url: \"RECEIVER/broken\" }", RunState::Failed),
        ("set: { a: \"{{ input.nothing.here }}\" }", RunState::Failed),
        ("stop: { ok: enough }", RunState::Succeeded),
        ("stop: { fail: too bad }", RunState::Failed),
        ("sleep: { for: 1h }", RunState::Cancelled),
    ];
    for (kind, state) in table {
        let (daemon, receiver) = stage(
            "ends",
            &format!(
                "steps:\n  - id: only\n    {kind}\nfinally:\n  - id: tidy\n    http: {{ method: POST, url: \"RECEIVER/tidy\" }}\n    effect: keyed\n"
            ),
        );
        receiver.on("/broken", |_, _| Answer::status(400));
        let run = daemon.run("ends", "{}");
        if state == RunState::Cancelled {
            daemon.wait_state(run, RunState::Waiting);
            cancel(&daemon, run).expect("a cancel");
        }
        let journal = daemon.wait_state(run, state);
        assert_eq!(receiver.wait("/tidy", 1).len(), 1, "{kind}");
        assert_eq!(journal.state("tidy"), StepState::Succeeded, "{kind}");
    }
}

#[test]
fn an_error_in_finally_is_added_and_starts_no_handler() {
    let rest = r#"
steps:
  - id: only
    set: { a: 1 }
on_error:
  - id: handler
    set: { b: 1 }
finally:
  - id: tidy
    http: { method: POST, url: "RECEIVER/broken" }
"#;
    let (journal, _) = ends("untidy", rest, "{}", RunState::Failed);
    assert!(!journal.reached("handler"), "an error of `finally` starts no handler");
    assert_says(journal.error(), &["400"]);
}

#[test]
fn a_handled_step_stays_failed_and_the_run_goes_on() {
    let rest = r#"
steps:
  - id: call
    http: { method: POST, url: "RECEIVER/broken" }
    on_error:
      - id: instead
        set: { from: cache, because: "{{ error.class }}" }
  - id: after
    set: { got: "{{ steps.call.output.from }}", was: "{{ steps.call.error.class }}" }
"#;
    let (journal, _) = ends("handled", rest, "{}", RunState::Succeeded);
    assert_eq!(journal.state("call"), StepState::Failed);
    assert_eq!(journal.output("after"), r#"{"got":"cache","was":"invalid"}"#);
}

#[test]
fn a_handler_that_fails_fails_the_run() {
    let rest = r#"
steps:
  - id: call
    http: { method: POST, url: "RECEIVER/broken" }
    on_error:
      - id: instead
        http: { method: POST, url: "RECEIVER/broken" }
  - id: after
    set: { a: 1 }
"#;
    let (journal, _) = ends("badly-handled", rest, "{}", RunState::Failed);
    assert!(!journal.reached("after"));
}

#[test]
fn the_flows_handler_never_turns_a_run_green_but_by_stop_ok() {
    let flow = |last: &str| {
        format!(
            "steps:\n  - id: call\n    http: {{ method: POST, url: \"RECEIVER/broken\" }}\n  - id: after\n    set: {{ a: 1 }}\non_error:\n  - id: tell\n    set: {{ said: \"{{{{ error.step }}}}\" }}\n{last}"
        )
    };
    let (journal, _) = ends("unhandled", &flow(""), "{}", RunState::Failed);
    assert_eq!(journal.output("tell"), r#"{"said":"call"}"#);
    assert!(!journal.reached("after"));
    let stop = "  - id: fine\n    stop: { ok: it was not needed }\n";
    let (journal, _) = ends("excused", &flow(stop), "{}", RunState::Succeeded);
    assert_says(journal.result(), &["not needed"]);
}

#[test]
fn stop_ends_the_run_from_any_depth() {
    let flow = |how: &str| {
        format!(
            r#"
steps:
  - id: choose
    branch:
      - when: "{{{{ true }}}}"
        steps:
          - id: end
            stop: {{ {how} }}
          - id: inside
            set: {{ a: 1 }}
  - id: after
    set: {{ a: 1 }}
"#
        )
    };
    let (journal, _) = ends("stop-ok", &flow("ok: already bought"), "{}", RunState::Succeeded);
    assert_eq!(journal.result(), r#""already bought""#);
    assert!(!journal.reached("inside") && !journal.reached("after"));
    let (journal, _) = ends("stop-fail", &flow("fail: no stock"), "{}", RunState::Failed);
    assert_says(journal.error(), &["no stock"]);
    assert!(!journal.reached("inside") && !journal.reached("after"));
}

#[test]
fn cancel_in_sleep_ends_the_run_at_once_and_sticks() {
    let (mut daemon, receiver) = stage(
        "sleeper",
        "steps:\n  - id: rest\n    sleep: { for: 1h }\n  - id: after\n    http: { method: POST, url: \"RECEIVER/after\" }\n",
    );
    let run = daemon.run("sleeper", "{}");
    let journal = daemon.wait_state(run, RunState::Waiting);
    let blocked = journal.0.head.blocked_by.expect("why it does not move");
    assert!(blocked.until_ms.is_some_and(|until| until > now_ms() + 3_000_000), "{blocked:?}");
    daemon.aura(&["run", "cancel", &run.to_string(), "--json"]).success();
    daemon.wait_state(run, RunState::Cancelled);
    daemon.kill9();
    daemon.up();
    daemon.wait_state(run, RunState::Cancelled);
    assert!(receiver.log().is_empty());
    assert!(cancel(&daemon, run).is_err(), "a finished run cannot be cancelled");
}

#[test]
fn a_kill_in_sleep_changes_nothing_but_the_daemon() {
    let (mut daemon, receiver) = stage(
        "nap",
        "steps:\n  - id: before\n    http: { method: POST, url: \"RECEIVER/before\" }\n  - id: rest\n    sleep: { for: 2s }\n  - id: after\n    http: { method: POST, url: \"RECEIVER/after\" }\n",
    );
    let run = daemon.run("nap", "{}");
    let until =
        daemon.wait_state(run, RunState::Waiting).0.head.blocked_by.and_then(|why| why.until_ms).expect("a time");
    daemon.kill9();
    daemon.up();
    daemon.wait_state(run, RunState::Succeeded);
    assert_eq!(receiver.on_path("/before").len(), 1, "a recorded step is not done again");
    let after = receiver.on_path("/after");
    assert_eq!(after.len(), 1);
    assert!(after[0].at_ms >= until, "it slept to the end: {} of {until}", after[0].at_ms);
}

#[test]
fn a_sleep_that_ended_while_the_daemon_was_away_goes_on_at_its_start() {
    let (mut daemon, receiver) = stage(
        "overslept",
        "steps:\n  - id: rest\n    sleep: { for: 300ms }\n  - id: after\n    http: { method: POST, url: \"RECEIVER/after\" }\n",
    );
    let run = daemon.run("overslept", "{}");
    daemon.kill9();
    let due = now_ms() + 400;
    wait_until("the sleep to be over", LIMIT, || now_ms() > due);
    daemon.up();
    daemon.wait_state(run, RunState::Succeeded);
    assert_eq!(receiver.on_path("/after").len(), 1);
}

#[test]
fn a_run_has_its_time_and_no_more() {
    let rest = "timeout: 300ms\nsteps:\n  - id: rest\n    sleep: { for: 1h }\nfinally:\n  - id: tidy\n    http: { method: POST, url: \"RECEIVER/tidy\" }\n    effect: keyed\n";
    let (journal, receiver) = ends("limited", rest, "{}", RunState::Failed);
    assert_eq!(journal.0.head.error.as_ref().expect("an error").class.word(), "timeout");
    receiver.wait("/tidy", 1);
}

/// A flow with a webhook and a concurrency key, whose runs sleep long.
fn crowded(when_full: &str) -> (Daemon, Receiver, Hook) {
    let (daemon, receiver) = (Daemon::start(), Receiver::start());
    let text = r#"
aura: 1
flow: crowded
triggers:
  - id: in
    on: webhook
    auth: none
concurrency: { key: "{{ trigger.body.cart }}", limit: 1, when_full: HOW }
steps:
  - id: rest
    sleep: { for: 1h }
finally:
  - id: tidy
    http: { method: POST, url: "RECEIVER/tidy", body: { run: "{{ run.id }}" } }
    effect: keyed
"#;
    daemon.publish(&text.replace("HOW", when_full).replace("RECEIVER", &receiver.url("")));
    let hook = daemon.open_hook("crowded");
    (daemon, receiver, hook)
}

fn send(hook: &Hook, id: &str, body: &str, state: EventState) -> RunId {
    run_of(&hook.send(id, body).expect("an answer"), state)
}

#[test]
fn queued_runs_start_first_come_first_served() {
    let (daemon, _, hook) = crowded("queue");
    let first = send(&hook, "1", r#"{"cart": 7}"#, EventState::Started);
    let other = send(&hook, "2", r#"{"cart": 8}"#, EventState::Started);
    let second = send(&hook, "3", r#"{"cart": 7}"#, EventState::Queued);
    let third = send(&hook, "4", r#"{"cart": 7}"#, EventState::Queued);
    daemon.wait_state(first, RunState::Waiting);
    daemon.wait_state(other, RunState::Waiting);
    let waiting = daemon.wait_state(second, RunState::Queued).0.head.blocked_by.expect("why it does not move");
    assert_says(&waiting.reason, &[&first.to_string()]);
    cancel(&daemon, first).expect("a cancel");
    daemon.wait_state(first, RunState::Cancelled);
    daemon.wait_state(second, RunState::Waiting);
    daemon.wait_state(third, RunState::Queued);
    cancel(&daemon, second).expect("a cancel");
    daemon.wait_state(third, RunState::Waiting);
}

#[test]
fn a_queue_survives_a_kill_and_a_queued_run_can_be_cancelled() {
    let (mut daemon, _, hook) = crowded("queue");
    let first = send(&hook, "1", r#"{"cart": 7}"#, EventState::Started);
    let second = send(&hook, "2", r#"{"cart": 7}"#, EventState::Queued);
    let third = send(&hook, "3", r#"{"cart": 7}"#, EventState::Queued);
    daemon.kill9();
    daemon.up();
    daemon.wait_state(second, RunState::Queued);
    cancel(&daemon, second).expect("a cancel");
    daemon.wait_state(second, RunState::Cancelled);
    daemon.wait_state(first, RunState::Waiting);
    cancel(&daemon, first).expect("a cancel");
    daemon.wait_state(third, RunState::Waiting);
}

#[test]
fn a_dropped_event_is_recorded_with_the_run_that_was_in_the_way() {
    let (mut daemon, _, hook) = crowded("drop");
    let first = send(&hook, "1", r#"{"cart": 7}"#, EventState::Started);
    let reply = hook.send("2", r#"{"cart": 7}"#).expect("an answer");
    assert_eq!((reply.field("state").as_str(), reply.field("run_id").as_str()), ("dropped", "null"));
    assert!((200..300).contains(&reply.status) && reply.event().is_some(), "dropped is a promise too: {reply:?}");
    assert_eq!(daemon.runs("crowded").len(), 1);
    assert!(daemon.stop().success());
    let event = crate::judge::event(&daemon.place.data(), reply.event().expect("an event"));
    assert_says(&event.expect("a recorded event").reason, &[&first.to_string()]);
}

#[test]
fn replace_cancels_the_sleeping_run_and_starts_with_its_end() {
    let (daemon, receiver, hook) = crowded("replace");
    let first = send(&hook, "1", r#"{"cart": 7}"#, EventState::Started);
    daemon.wait_state(first, RunState::Waiting);
    let second = send(&hook, "2", r#"{"cart": 7}"#, EventState::Queued);
    let ended = daemon.wait_state(first, RunState::Cancelled);
    let begun = daemon.wait_state(second, RunState::Waiting);
    let by = ended.records().find_map(|record| match record {
        Record::CancelRequested { by, reason } => Some(format!("{by} {reason}")),
        _ => None,
    });
    assert_says(by.expect("a cancel record"), &[&second.to_string()]);
    assert_eq!(receiver.on_path("/tidy").len(), 1, "the replaced run had its `finally`");
    let end = ended.0.head.finished_ms.expect("an end");
    // Transition 0 is what was accepted while it queued.
    let begin = begun.0.journal.iter().find(|step| step.number == 1).expect("a start").at_ms;
    assert!(begin >= end, "the new run starts with the holder's end: {begin} and {end}: {begun:#?}");
    let third = send(&hook, "3", r#"{"cart": 7}"#, EventState::Queued);
    daemon.wait_state(second, RunState::Cancelled);
    daemon.wait_state(third, RunState::Waiting);
}

#[test]
fn replace_cancels_what_was_queued_in_between() {
    let (daemon, receiver, hook) = crowded("replace");
    receiver.on("/tidy", |_, _| Answer::hold());
    let first = send(&hook, "1", r#"{"cart": 7}"#, EventState::Started);
    daemon.wait_state(first, RunState::Waiting);
    let second = send(&hook, "2", r#"{"cart": 7}"#, EventState::Queued);
    receiver.wait("/tidy", 1);
    let third = send(&hook, "3", r#"{"cart": 7}"#, EventState::Queued);
    daemon.wait_state(second, RunState::Cancelled);
    receiver.release("/tidy");
    daemon.wait_state(first, RunState::Cancelled);
    daemon.wait_state(third, RunState::Waiting);
}

#[test]
fn a_policy_expression_that_fails_loses_no_event() {
    for policy in [
        r#"dedupe: { key: "{{ trigger.body.order.id }}" }"#,
        r#"debounce: { key: "{{ trigger.body.order.id }}", for: 1h }"#,
        r#"filter: "{{ trigger.body.order.total > 5 }}""#,
    ] {
        let daemon = Daemon::start();
        let text = format!(
            "aura: 1\nflow: policy\ntriggers:\n  - id: in\n    on: webhook\n    auth: none\n    {policy}\nsteps:\n  - id: a\n    set: {{ b: 1 }}\n"
        );
        daemon.publish(&text);
        let reply = daemon.open_hook("policy").send("1", r#"{"no": "order"}"#).expect("an answer");
        assert!((200..300).contains(&reply.status), "the sender is not to blame: {policy}: {reply:?}");
        let run: RunId = reply.field("run_id").parse().unwrap_or_else(|error| panic!("{error}: {}", reply.text()));
        let journal = daemon.wait_state(run, RunState::Failed);
        assert!(!journal.reached("a"), "{policy}");
        assert_says(journal.error(), &["order"]);
    }
    let daemon = Daemon::start();
    daemon.publish("aura: 1\nflow: policy\ntriggers:\n  - { id: in, on: webhook, auth: none }\nconcurrency: { key: \"{{ trigger.body.a.b }}\", limit: 1 }\nsteps:\n  - id: a\n    set: { b: 1 }\n");
    let reply = daemon.open_hook("policy").send("1", "{}").expect("an answer");
    let run: RunId = reply.field("run_id").parse().expect("a run");
    daemon.wait_state(run, RunState::Failed);
}

#[test]
fn a_disabled_flow_takes_nothing_and_holds_what_was_held() {
    let daemon = Daemon::start();
    daemon.publish("aura: 1\nflow: paused\ntriggers:\n  - id: in\n    on: webhook\n    auth: none\n    debounce: { key: \"{{ trigger.method }}\", for: 400ms }\nsteps:\n  - id: a\n    set: { b: 1 }\n");
    let hook = daemon.open_hook("paused");
    let reply = hook.send("1", "{}").expect("an answer");
    assert_eq!(reply.field("state"), "held", "{}", reply.text());
    daemon.aura(&["flow", "disable", "paused"]).success();
    let due = now_ms() + 900;
    wait_until("the hold to be over", LIMIT, || now_ms() > due);
    assert!(daemon.runs("paused").is_empty(), "a disabled flow starts no run");
    assert_eq!(daemon.ask().status(()).expect("a status").held, 1);
    let refused = hook.send("2", "{}").expect("an answer");
    assert_eq!((refused.status, refused.event()), (404, None), "{}", refused.text());
    daemon.ask().flow_enable(FlowEnable { flow: "paused".into(), enabled: true }).expect("enabled");
    let run = wait_for("the held event to become a run", LIMIT, || daemon.runs("paused").first().map(|head| head.run));
    daemon.wait_state(run, RunState::Succeeded);
}
