//! Calls and what becomes of them: effect classes, retries, doubt and its three ends, cancel in a call.
//!
//! The one invariant: a `once` call whose outcome is unknown is never sent again by itself.

use std::net::TcpListener;
use std::time::Duration;

use aura_protocol::RunId;
use aura_protocol::rpc::{RunCancel, RunRef};
use aura_protocol::run::{RunState, StepState};

use crate::support::{Answer, Daemon, Receiver, assert_says};

/// A daemon with one flow of a manual trigger, and the outside world.
pub fn stage(name: &str, rest: &str) -> (Daemon, Receiver) {
    let (daemon, receiver) = (Daemon::start(), Receiver::start());
    let text = format!("aura: 1\nflow: {name}\ntriggers:\n  - {{ id: hand, on: manual }}\n{rest}");
    daemon.publish(&text.replace("RECEIVER", &receiver.url("")));
    (daemon, receiver)
}

const CHARGE: &str = r#"
steps:
  - id: charge
    http: { method: POST, url: "RECEIVER/charge", body: { amount: 5 } }
    on_error:
      - id: tell
        set: { said: "{{ error.message }}", class: "{{ error.class }}" }
  - id: after
    http: { method: POST, url: "RECEIVER/after", body: { paid: "{{ steps.charge.output }}" } }
    effect: keyed
"#;

/// A run whose `once` call was taken but never answered.
fn doubtful() -> (Daemon, Receiver, RunId) {
    let (daemon, receiver) = stage("charge", CHARGE);
    receiver.on("/charge", |_, before| if before == 0 { Answer::close() } else { Answer::ok().body(r#"{"paid":2}"#) });
    let run = daemon.run("charge", "{}");
    let journal = daemon.wait_state(run, RunState::InDoubt);
    assert_eq!(journal.state("charge"), StepState::InDoubt);
    assert!(!journal.reached("after"), "nothing that needs the step may go on");
    let blocked = journal.0.head.blocked_by.as_ref().expect("why it does not move");
    assert_says(&blocked.reason, &["in doubt"]);
    assert_eq!(receiver.on_path("/charge").len(), 1, "never sent again by itself");
    (daemon, receiver, run)
}

#[test]
fn a_step_in_doubt_resolved_as_done_goes_on_with_the_given_output() {
    let (daemon, receiver, run) = doubtful();
    let id = run.to_string();
    daemon.aura(&["run", "resolve", &id, "charge", "--done", "--output", r#"{"paid":1}"#, "--json"]).success();
    let journal = daemon.wait_state(run, RunState::Succeeded);
    assert_eq!(journal.output("charge"), r#"{"paid":1}"#);
    assert_eq!(receiver.wait("/after", 1)[0].json()["paid"]["paid"], 1);
    assert_eq!(receiver.on_path("/charge").len(), 1, "done means: not sent again");
}

#[test]
fn a_step_in_doubt_resolved_as_retry_is_sent_again_with_the_same_key() {
    let (daemon, receiver, run) = doubtful();
    daemon.aura(&["run", "resolve", &run.to_string(), "charge", "--retry"]).success();
    let journal = daemon.wait_state(run, RunState::Succeeded);
    let calls = receiver.on_path("/charge");
    assert_eq!(calls.len(), 2);
    assert_eq!(calls[0].key(), calls[1].key());
    assert_eq!(calls[0].key(), journal.key("charge"));
    assert!(calls[0].key().starts_with("aura_") && calls[0].key().len() == 31, "{}", calls[0].key());
}

#[test]
fn a_step_in_doubt_resolved_as_failed_enters_its_handler() {
    let (daemon, receiver, run) = doubtful();
    daemon.aura(&["run", "resolve", &run.to_string(), "charge", "--fail"]).success();
    let journal = daemon.wait_state(run, RunState::Succeeded);
    assert_eq!(journal.state("charge"), StepState::Failed, "handled, but it stays failed");
    assert_says(journal.output("tell"), &["in_doubt"]);
    receiver.wait("/after", 1);
}

#[test]
fn what_is_not_in_doubt_cannot_be_resolved() {
    let (daemon, receiver, run) = doubtful();
    let said = daemon.aura(&["run", "resolve", &run.to_string(), "after", "--retry"]);
    assert_ne!(said.code, 0, "{said:?}");
    assert_says(&said.err, &["after"]);
    let id = run.to_string();
    daemon.aura(&["run", "resolve", &id, "charge", "--done"]).success();
    daemon.wait_state(run, RunState::Succeeded);
    let said = daemon.aura(&["run", "resolve", &id, "charge", "--retry"]);
    assert_ne!(said.code, 0, "{said:?}");
    assert_eq!(receiver.on_path("/charge").len(), 1, "a refused decision changes nothing");
}

#[test]
fn cancel_leaves_a_once_call_to_end_and_records_its_answer() {
    let (daemon, receiver) = stage(
        "slow-charge",
        r#"
steps:
  - id: charge
    http: { method: POST, url: "RECEIVER/charge", body: { amount: 5 } }
  - id: after
    http: { method: POST, url: "RECEIVER/after" }
finally:
  - id: tidy
    http: { method: POST, url: "RECEIVER/tidy" }
    effect: keyed
"#,
    );
    receiver.on("/charge", |_, _| Answer::hold().body(r#"{"paid":true}"#));
    let run = daemon.run("slow-charge", "{}");
    receiver.wait("/charge", 1);
    let cancel = RunCancel { run: RunRef(run.to_string()), reason: "changed my mind".into() };
    let head = daemon.ask().run_cancel(cancel).expect("a cancel");
    assert!(!head.state.is_final(), "the call is still at work: {head:?}");
    assert!(receiver.on_path("/tidy").is_empty(), "finally waits for the call");
    receiver.release("/charge");
    let journal = daemon.wait_state(run, RunState::Cancelled);
    assert_says(journal.output("charge"), &[r#""paid":true"#]);
    assert!(!journal.reached("after"), "no new step after a cancel");
    receiver.wait("/tidy", 1);
    assert_eq!(receiver.on_path("/charge").len(), 1);
    assert!(receiver.on_path("/after").is_empty());
}

#[test]
fn a_definite_refusal_with_retry_after_is_repeated_then_and_not_before() {
    let (daemon, receiver) = stage(
        "patient",
        r#"
steps:
  - id: charge
    http: { method: POST, url: "RECEIVER/charge" }
    retry: { attempts: 3, base: 10ms }
"#,
    );
    receiver.on("/charge", |_, before| match before {
        0 => Answer::status(429).header("retry-after", "1"),
        _ => Answer::ok(),
    });
    let run = daemon.run("patient", "{}");
    let journal = daemon.wait_state(run, RunState::Succeeded);
    let calls = receiver.on_path("/charge");
    assert_eq!(calls.len(), 2, "429 is a definite refusal, also for `once`");
    let waited = calls[1].at_ms - calls[0].at_ms;
    assert!((1000..10_000).contains(&waited), "Retry-After: 1 and {waited} ms");
    assert_eq!(journal.failures("charge"), 1);
}

#[test]
fn lost_answers_and_server_errors_go_by_the_effect_class() {
    // Method, effect, first answer, and whether the call is repeated by itself.
    let table = [
        ("GET", "", Answer::status(500), true),
        ("GET", "", Answer::close(), true),
        ("PUT", "", Answer::status(503), true),
        ("DELETE", "", Answer::close(), true),
        ("POST", "effect: keyed", Answer::status(502), true),
        ("PATCH", "effect: keyed", Answer::close(), true),
        ("POST", "effect: idempotent", Answer::status(500), true),
        ("POST", "", Answer::status(500), false),
        ("POST", "effect: once", Answer::close(), false),
        ("PATCH", "", Answer::status(503), false),
        ("PUT", "effect: once", Answer::status(500), false),
    ];
    let (daemon, receiver) = (Daemon::start(), Receiver::start());
    for (number, (method, effect, first, repeated)) in table.into_iter().enumerate() {
        let (path, name) = (format!("/call{number}"), format!("class-{number}"));
        let case = format!("{method} {effect} {first:?}");
        receiver.on(&path, move |_, before| if before == 0 { first.clone() } else { Answer::ok() });
        let step = format!("  - id: call\n    http: {{ method: {method}, url: \"{}\" }}\n", receiver.url(&path));
        let rest = format!("    retry: {{ attempts: 3, base: 10ms, cap: 20ms }}\n    {effect}\n");
        daemon.publish(&format!(
            "aura: 1\nflow: {name}\ntriggers:\n  - {{ id: hand, on: manual }}\nsteps:\n{step}{rest}"
        ));
        let run = daemon.run(&name, "{}");
        let state = if repeated { RunState::Succeeded } else { RunState::InDoubt };
        daemon.wait_state(run, state);
        let calls = receiver.on_path(&path);
        assert_eq!(calls.len(), if repeated { 2 } else { 1 }, "{case}");
        assert!(calls.iter().all(|call| call.method == method), "{case}: {calls:?}");
        if repeated && method != "GET" {
            assert_eq!(calls[0].key(), calls[1].key(), "{case}");
        }
    }
}

#[test]
fn what_cannot_help_is_not_repeated() {
    for (status, class) in [(400, "invalid"), (401, "auth"), (404, "not_found"), (409, "conflict")] {
        let (daemon, receiver) = stage(
            "refused",
            "steps:\n  - id: call\n    http: { method: POST, url: \"RECEIVER/call\" }\n    effect: keyed\n    retry: { attempts: 5, base: 10ms }\n",
        );
        receiver.on("/call", move |_, _| Answer::status(status));
        let run = daemon.run("refused", "{}");
        let journal = daemon.wait_state(run, RunState::Failed);
        assert_eq!(receiver.on_path("/call").len(), 1, "{status}");
        let error = journal.0.head.error.as_ref().expect("an error");
        assert_eq!((error.class.word(), error.step.as_str()), (class, "call"), "{status}: {error:?}");
        assert_eq!(error.code.as_deref(), Some(status.to_string().as_str()));
    }
}

#[test]
fn attempts_have_an_end() {
    let (daemon, receiver) = stage(
        "tired",
        "steps:\n  - id: call\n    http: { url: \"RECEIVER/call\" }\n    retry: { attempts: 3, base: 10ms, cap: 20ms }\n",
    );
    receiver.on("/call", |_, _| Answer::status(503));
    let run = daemon.run("tired", "{}");
    let journal = daemon.wait_state(run, RunState::Failed);
    assert_eq!(receiver.on_path("/call").len(), 3, "attempts count the first one");
    assert_eq!(journal.failures("call"), 3);
    assert_says(journal.error(), &["503"]);
}

#[test]
fn a_call_that_could_not_begin_is_no_doubt() {
    // A port that was free a moment ago and that nobody listens on.
    let address = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port");
    let (daemon, _) = stage(
        "nobody",
        &format!(
            "steps:\n  - id: call\n    http: {{ method: POST, url: \"http://{address}/\" }}\n    retry: {{ attempts: 2, base: 10ms }}\n"
        ),
    );
    let run = daemon.run("nobody", "{}");
    let journal = daemon.wait_state(run, RunState::Failed);
    assert_eq!(journal.failures("call"), 2, "failures before the first byte are repeated, also for `once`");
}

#[test]
fn a_timeout_fails_a_read_and_leaves_a_once_call_in_doubt() {
    let (daemon, receiver) = stage(
        "hasty",
        r#"
steps:
  - id: ask
    http: { url: "RECEIVER/ask" }
    timeout: 200ms
    retry: { attempts: 2, base: 10ms }
    on_error:
      - id: told
        set: { class: "{{ error.class }}" }
  - id: charge
    http: { method: POST, url: "RECEIVER/charge" }
    timeout: 200ms
"#,
    );
    receiver.on("/ask", |_, _| Answer::hold());
    receiver.on("/charge", |_, _| Answer::hold());
    let run = daemon.run("hasty", "{}");
    let journal = daemon.wait_state(run, RunState::InDoubt);
    assert_eq!(journal.output("told"), r#"{"class":"timeout"}"#);
    assert_eq!((receiver.on_path("/ask").len(), receiver.on_path("/charge").len()), (2, 1));
    assert_eq!(journal.state("charge"), StepState::InDoubt);
}

#[test]
fn a_kill_in_a_keyed_call_repeats_it_with_the_same_key() {
    let (mut daemon, receiver) =
        stage("keyed", "steps:\n  - id: call\n    http: { method: POST, url: \"RECEIVER/call\" }\n    effect: keyed\n");
    receiver.on("/call", |_, before| if before == 0 { Answer::hold() } else { Answer::ok() });
    let run = daemon.run("keyed", "{}");
    receiver.wait("/call", 1);
    daemon.kill9();
    daemon.up();
    daemon.wait_state(run, RunState::Succeeded);
    let calls = receiver.wait("/call", 2);
    assert_eq!((calls.len(), calls[0].key()), (2, calls[1].key()));
}

#[test]
fn a_kill_in_a_once_call_leaves_it_in_doubt() {
    let (mut daemon, receiver) =
        stage("once", "steps:\n  - id: call\n    http: { method: POST, url: \"RECEIVER/call\" }\n");
    receiver.on("/call", |_, _| Answer::hold());
    let run = daemon.run("once", "{}");
    receiver.wait("/call", 1);
    daemon.kill9();
    daemon.up();
    let journal = daemon.wait_state(run, RunState::InDoubt);
    assert_eq!(journal.state("call"), StepState::InDoubt);
    assert_eq!(receiver.on_path("/call").len(), 1);
    // The daemon may be started ever so often: only a person decides.
    assert!(daemon.stop().success());
    daemon.up();
    daemon.wait_state(run, RunState::InDoubt);
    assert_eq!(receiver.on_path("/call").len(), 1);
}

#[test]
fn a_stop_of_the_daemon_lets_a_call_end() {
    let (mut daemon, receiver) =
        stage("drained", "steps:\n  - id: call\n    http: { method: POST, url: \"RECEIVER/call\" }\n");
    receiver.on("/call", |_, _| Answer::ok().after(Duration::from_millis(300)));
    let run = daemon.run("drained", "{}");
    receiver.wait("/call", 1);
    assert!(daemon.stop().success());
    daemon.up();
    daemon.wait_state(run, RunState::Succeeded);
    assert_eq!(receiver.on_path("/call").len(), 1, "its answer was waited for and recorded");
}
