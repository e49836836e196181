//! Flows that call flows, with the real binaries: one child however often the daemon dies, failures and cancels that
//! reach the other side.

use aura_protocol::rpc::{RunCancel, RunRef};
use aura_protocol::run::{Record, RunState};

use crate::support::{Answer, Daemon, LIMIT, Receiver, assert_says, wait_for};

const CHILD: &str = r#"aura: 1
flow: child
triggers: [{ id: asked, on: called }]
steps:
  - id: work
    http: { method: PUT, url: "RECEIVER/work", body: { n: "{{ input.n }}" } }
    retry: { attempts: 1 }
  - id: gave
    set: { twice: "{{ steps.work.output.body.n * 2 }}" }
"#;

const PARENT: &str = r#"aura: 1
flow: parent
triggers: [{ id: hand, on: manual }]
steps:
  - id: ask
    call: { flow: child, input: { n: "{{ input.n }}" } }
    on_error:
      - id: told
        set: { why: "{{ error.message }}" }
  - id: end
    set: { got: "{{ steps.ask.output }}" }
"#;

fn stage() -> (Daemon, Receiver) {
    let (daemon, receiver) = (Daemon::start(), Receiver::start());
    daemon.publish(&CHILD.replace("RECEIVER", &receiver.url("")));
    daemon.publish(PARENT);
    (daemon, receiver)
}

#[test]
fn a_call_waits_for_its_run_and_a_kill_makes_no_second_one() {
    let (mut daemon, receiver) = stage();
    receiver.on("/work", |_, _| Answer::hold().body(r#"{"n":21}"#));
    let run = daemon.run("parent", r#"{"n":4}"#);
    receiver.wait("/work", 1);
    let head = daemon.wait_state(run, RunState::Waiting).0.head;
    assert_says(head.blocked_by.expect("why it does not move").reason, &["ask waits for run_", "of child"]);
    daemon.kill9();
    daemon.up();
    receiver.wait("/work", 2);
    receiver.release("/work");
    let journal = daemon.wait_state(run, RunState::Succeeded);
    assert_eq!(journal.output("end"), r#"{"got":{"twice":42}}"#);
    assert_eq!(daemon.runs("child").len(), 1);
    let called = journal.of("ask").find_map(|record| match record {
        Record::Called { run, version, .. } => Some((*run, version.clone())),
        _ => None,
    });
    let child = &daemon.runs("child")[0];
    assert_eq!(called, Some((child.run, child.version.clone())), "run and version stand in the journal");
}

#[test]
fn a_child_that_fails_fails_its_step_and_a_flow_that_is_not_there_too() {
    let (daemon, receiver) = stage();
    receiver.on("/work", |_, _| Answer::status(404));
    let journal = daemon.wait_state(daemon.run("parent", r#"{"n":4}"#), RunState::Succeeded);
    assert_says(journal.output("ask"), &["of child failed"]);
    daemon.publish("aura: 1\nflow: lost\nsteps: [{ id: ask, call: { flow: nobody } }]");
    let journal = daemon.wait_state(daemon.run("lost", "{}"), RunState::Failed);
    assert_says(journal.error(), &["no published flow nobody"]);
    daemon.publish("aura: 1\nflow: other\nsteps: [{ id: ask, call: { flow: lost } }]");
    let journal = daemon.wait_state(daemon.run("other", "{}"), RunState::Failed);
    assert_says(journal.error(), &["cannot be called", "on: called"]);
}

#[test]
fn a_cancel_reaches_the_child_and_a_detached_one_goes_on() {
    let (daemon, receiver) = stage();
    receiver.on("/work", |_, _| Answer::hold().body(r#"{"n":1}"#));
    let run = daemon.run("parent", r#"{"n":4}"#);
    receiver.wait("/work", 1);
    daemon.wait_state(run, RunState::Waiting);
    let cancel = RunCancel { run: RunRef(run.to_string()), reason: "enough".to_owned() };
    daemon.ask().run_cancel(cancel).expect("a cancel");
    daemon.wait_state(run, RunState::Cancelled);
    let child = wait_for("the child", LIMIT, || {
        daemon.runs("child").into_iter().find(|head| head.state == RunState::Cancelled)
    });
    let journal = daemon.wait_state(child.run, RunState::Cancelled);
    let asked = journal.records().any(
        |record| matches!(record, Record::CancelRequested { by, reason } if *by == run.to_string() && reason.contains("gave up")),
    );
    assert!(asked, "the journal says who cancelled it");
    receiver.release("/work");
    daemon.publish("aura: 1\nflow: apart\nsteps: [{ id: ask, call: { flow: child, input: { n: 1 }, detach: true } }]");
    receiver.on("/work", |_, _| Answer::ok().body(r#"{"n":1}"#));
    let journal = daemon.wait_state(daemon.run("apart", "{}"), RunState::Succeeded);
    assert_says(journal.output("ask"), &["run_id"]);
    wait_for("the detached child", LIMIT, || {
        daemon.runs("child").into_iter().find(|head| head.state == RunState::Succeeded)
    });
}
