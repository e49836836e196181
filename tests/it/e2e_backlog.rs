//! More calls than may be made at once: they wait in order, can be cancelled, survive a kill, and take no memory.

use aura_protocol::RunId;
use aura_protocol::rpc::{RunCancel, RunRef};
use aura_protocol::run::RunState;

use crate::support::{Answer, Daemon, LIMIT, Receiver, Setup, wait_until};

/// With one call at a time the runs of four are kept in memory; the others wait by name only.
const RUNS: usize = 24;

fn one_at_a_time() -> (Daemon, Receiver) {
    let environment = [("AURA_CALLS_MAX".to_owned(), "1".to_owned())].into();
    let daemon = Daemon::start_with(Setup { environment, ..Setup::default() });
    let receiver = Receiver::start();
    receiver.on("/call", |_, before| if before == 0 { Answer::hold() } else { Answer::ok() });
    daemon.publish(&format!(
        "aura: 1\nflow: queue\ntriggers:\n  - {{ id: by_hand, on: manual }}\nsteps:\n  - id: call\n    effect: keyed\n    http: {{ method: POST, url: \"{}\", body: {{ n: \"{{{{ input.n }}}}\" }} }}\n",
        receiver.url("/call")
    ));
    (daemon, receiver)
}

fn begin(daemon: &Daemon, receiver: &Receiver) -> Vec<RunId> {
    let runs = (0..RUNS).map(|number| daemon.run("queue", &format!("{{\"n\":{number}}}"))).collect();
    receiver.wait("/call", 1);
    runs
}

fn numbers(receiver: &Receiver) -> Vec<usize> {
    let number = |body: serde_json::Value| body["n"].as_u64().and_then(|number| usize::try_from(number).ok());
    receiver.on_path("/call").iter().map(|request| number(request.json()).expect("its number")).collect()
}

fn cancel(daemon: &Daemon, run: RunId) {
    let cancel = RunCancel { run: RunRef(run.to_string()), reason: "by a test".into() };
    daemon.ask().run_cancel(cancel).expect("a cancel");
    daemon.wait_state(run, RunState::Cancelled);
}

#[test]
fn calls_are_made_in_the_order_they_were_scheduled() {
    let (daemon, receiver) = one_at_a_time();
    let runs = begin(&daemon, &receiver);
    assert_eq!(numbers(&receiver), [0], "one at a time");
    cancel(&daemon, runs[2]);
    cancel(&daemon, runs[20]);
    assert_eq!(numbers(&receiver), [0], "both ended while the first call was still out");
    receiver.release("/call");
    for (number, run) in runs.iter().enumerate().filter(|(number, _)| ![2, 20].contains(number)) {
        daemon.wait_state(*run, RunState::Succeeded);
        assert!(numbers(&receiver).contains(&number));
    }
    let wanted: Vec<usize> = (0..RUNS).filter(|number| ![2, 20].contains(number)).collect();
    assert_eq!(numbers(&receiver), wanted);
}

#[test]
fn a_killed_daemon_makes_every_call_that_waited() {
    let (mut daemon, receiver) = one_at_a_time();
    let runs = begin(&daemon, &receiver);
    daemon.kill9();
    receiver.release("/call");
    daemon.up();
    let waited = || runs.iter().all(|run| daemon.show(*run).head.state == RunState::Succeeded);
    wait_until("all runs to succeed", LIMIT, waited);
    let mut seen = numbers(&receiver);
    assert_eq!(seen.iter().filter(|number| **number == 0).count(), 2, "the one that was out is sent again, keyed");
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen, (0..RUNS).collect::<Vec<_>>());
    assert_eq!(receiver.on_path("/call").len(), RUNS + 1, "nothing else was sent twice");
}
