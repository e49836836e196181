//! Events from inside, with the real binaries: of `emit` steps and of runs that failed, across SIGKILLs.
//!
//! The one invariant: who takes such an event takes it exactly once, and nothing of it goes on for ever.

use std::collections::BTreeSet;

use aura_protocol::run::RunState;

use crate::support::{Answer, Daemon, LIMIT, Receiver, assert_says, wait_for, wait_until};

const TAKER: &str = r#"aura: 1
flow: taker
triggers:
  - { id: told, on: event, with: { name: order_paid }, filter: "{{ trigger.body.n != 3 }}" }
steps: [{ id: got, set: { n: "{{ trigger.body.n }}" } }]
"#;

const WAITER: &str = r#"aura: 1
flow: waiter
triggers:
  - { id: hand, on: manual }
  - { id: told, on: event, with: { name: order_paid } }
steps:
  - id: paid
    wait: { event: told, match: { event: "{{ trigger.body.n }}", run: "{{ input.n }}" }, deadline: 1d }
"#;

const ALARM: &str = r#"aura: 1
flow: alarm
triggers: [{ id: broken, on: flow_failed, with: { flows: [giver], labels: { team: growth } } }]
steps:
  - { id: told, set: { flow: "{{ trigger.body.flow }}", why: "{{ trigger.body.error.message }}", run: "{{ trigger.body.run_id }}" } }
  - { id: stop, stop: { fail: too } }
"#;

#[test]
fn an_event_reaches_all_who_take_it_and_a_failure_those_who_want_to_know() {
    let mut daemon = Daemon::start();
    daemon.publish(TAKER);
    daemon.publish(WAITER);
    daemon.publish(ALARM);
    // A flow that hears of itself, and of other teams.
    let all =
        ALARM.replace("flow: alarm", "flow: all").replace(", with: { flows: [giver], labels: { team: growth } }", "");
    daemon.publish(&all);
    daemon.publish(&ALARM.replace("flow: alarm", "flow: other").replace("team: growth", "team: care"));
    let giver = |n: u32, end: &str| {
        format!(
            "aura: 1\nflow: giver\nlabels: {{ team: growth }}\nsteps:\n  - {{ id: give, emit: {{ event: order_paid, body: {{ n: {n} }} }} }}\n  - {{ id: stop, stop: {{ {end} }} }}\n"
        )
    };
    let waiter = daemon.run("waiter", r#"{"n":5}"#);
    daemon.wait_state(waiter, RunState::Waiting);
    daemon.publish(&giver(3, "ok: done"));
    let journal = daemon.wait_state(daemon.run("giver", "{}"), RunState::Succeeded);
    assert_says(journal.output("give"), &[r#""flow":"taker""#, r#""flow":"waiter""#, "event_id"]);
    daemon.publish(&giver(5, "fail: no"));
    let failed = daemon.run("giver", "{}");
    daemon.wait_state(failed, RunState::Failed);
    assert_says(daemon.wait_state(waiter, RunState::Succeeded).output("paid"), &[r#""n":5"#]);
    let taken = wait_for("the taker", LIMIT, || daemon.runs("taker").into_iter().find(|head| head.state.is_final()));
    assert_eq!(daemon.wait_state(taken.run, RunState::Succeeded).output("got"), r#"{"n":5}"#);
    for flow in ["alarm", "all"] {
        let told = wait_for(flow, LIMIT, || daemon.runs(flow).into_iter().find(|head| head.state.is_final()));
        let journal = daemon.wait_state(told.run, RunState::Failed);
        assert_eq!(journal.output("told"), format!(r#"{{"flow":"giver","why":"no","run":"{failed}"}}"#));
    }
    daemon.kill9();
    daemon.up();
    daemon.wait_quiet_of("all", LIMIT);
    let count = |flow: &str| daemon.runs(flow).len();
    assert_eq!((count("taker"), count("alarm")), (1, 1));
    assert_eq!((count("all"), count("other")), (1, 0), "an alarm that fails tells nobody");
}

#[test]
fn a_default_on_error_stands_in_for_flows_without_one() {
    let daemon = Daemon::start();
    let with = "with: { flows: [giver], labels: { team: growth } }";
    daemon.publish(&ALARM.replace(with, "with: { default_on_error: true }"));
    let fails = |name: &str, more: &str| {
        let text = format!("aura: 1\nflow: {name}\n{more}steps: [{{ id: bad, set: {{ x: \"{{{{ 1 / 0 }}}}\" }} }}]");
        daemon.publish(&text);
        daemon.wait_state(daemon.run(name, "{}"), RunState::Failed)
    };
    let own = "on_error: [{ id: mine, set: { seen: true } }]\n";
    assert_eq!(fails("careful", own).output("mine"), r#"{"seen":true}"#);
    fails("careless", "");
    let told = wait_for("the default", LIMIT, || daemon.runs("alarm").into_iter().find(|head| head.state.is_final()));
    assert_says(daemon.wait_state(told.run, RunState::Failed).output("told"), &[r#""flow":"careless""#]);
    daemon.wait_quiet_of("alarm", LIMIT);
    assert_eq!(daemon.runs("alarm").len(), 1, "what has its own is left to it");
}

#[test]
fn an_event_from_inside_that_repeats_another_is_listed() {
    let daemon = Daemon::start();
    daemon.publish(&TAKER.replace("n != 3 }}\"", "n != 3 }}\", dedupe: { key: \"{{ trigger.body.n }}\" }"));
    daemon.publish(
        "aura: 1\nflow: giver\nsteps:\n  - { id: give, emit: { event: order_paid, body: { n: 1 } } }\n  - { id: again, needs: [give], emit: { event: order_paid, body: { n: 1 } } }\n",
    );
    daemon.wait_state(daemon.run("giver", "{}"), RunState::Succeeded);
    let listed = || daemon.aura(&["event", "list", "--flow", "taker", "--state", "duplicate"]).success().out;
    wait_until("the repeat", LIMIT, || listed().contains("repeats event evt_"));
    assert_eq!((listed().matches("repeats event").count(), daemon.runs("taker").len()), (1, 1));
}

#[test]
fn events_are_taken_once_across_kills() {
    const MANY: u32 = 40;
    let (mut daemon, receiver) = (Daemon::start(), Receiver::start());
    daemon.publish(TAKER.replace(", filter: \"{{ trigger.body.n != 3 }}\"", "").as_str());
    daemon.publish(&format!(
        "aura: 1\nflow: giver\nsteps:\n  - id: all\n    map:\n      over: \"{{{{ input.list }}}}\"\n      max_parallel: 4\n      steps:\n        - {{ id: put, http: {{ method: PUT, url: \"{}\" }} }}\n        - {{ id: give, emit: {{ event: order_paid, body: {{ n: \"{{{{ item }}}}\" }} }} }}\n",
        receiver.url("/put")
    ));
    receiver.on("/put", |_, _| Answer::ok());
    let list: Vec<String> = (0..MANY).map(|n| n.to_string()).collect();
    let run = daemon.run("giver", &format!(r#"{{"list":[{}]}}"#, list.join(",")));
    for share in [5, 20] {
        wait_until("some of it", LIMIT, || daemon.runs("taker").len() >= share);
        daemon.kill9();
        daemon.up();
    }
    daemon.wait_state(run, RunState::Succeeded);
    wait_until("all of it", LIMIT, || daemon.runs("taker").len() >= usize::try_from(MANY).expect("few"));
    daemon.wait_quiet_of("taker", LIMIT);
    daemon.kill9();
    daemon.up();
    daemon.wait_quiet_of("taker", LIMIT);
    let runs = daemon.runs("taker");
    let seen: BTreeSet<String> =
        runs.iter().map(|head| daemon.wait_state(head.run, RunState::Succeeded).output("got").to_owned()).collect();
    assert_eq!((runs.len(), seen.len()), (40, 40), "each once");
}

#[test]
fn a_flow_that_leads_to_itself_comes_to_an_end() {
    let daemon = Daemon::start();
    daemon.publish(
        "aura: 1\nflow: ring\ntriggers: [{ id: again, on: event, with: { name: round } }]\nsteps: [{ id: go, emit: { event: round } }]",
    );
    daemon.run("ring", "null");
    let last =
        wait_for("the end", LIMIT, || daemon.runs("ring").into_iter().find(|head| head.state == RunState::Failed));
    assert_says(last.error.expect("why").message, &["led to one another more than 32 times"]);
    daemon.wait_quiet_of("ring", LIMIT);
    assert_eq!(daemon.runs("ring").len(), 33);
}
