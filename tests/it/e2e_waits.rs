//! Waits for callbacks, signals and events, with the real binaries: early, late, twice, and across a SIGKILL.
//!
//! The one invariant: what was taken ends exactly one wait, whatever happened to the daemon since.

use aura_protocol::run::{Record, RunState};

use crate::e2e_effects::stage;
use crate::support::{Answer, Daemon, Hook, LIMIT, Receiver, Reply, assert_says, wait_for};

const CALLBACK: &str = r#"
steps:
  - id: order
    http: { method: PUT, url: "RECEIVER/order", body: { back: "{{ run.callbacks.paid }}" } }
  - id: paid
    wait: { callback: true, deadline: 7d }
  - id: end
    set: { amount: "{{ steps.paid.output.amount }}" }
"#;

fn post(daemon: &Daemon, path: &str, body: &str) -> Reply {
    let door = Hook { address: daemon.address(), path: path.to_owned(), secret: String::new() };
    door.send("", body).expect("an answer")
}

/// The address that the flow handed out.
fn address(receiver: &Receiver) -> String {
    receiver.wait("/order", 1);
    receiver.on_path("/order")[0].json()["back"].as_str().expect("an address").to_owned()
}

#[test]
fn a_callback_ends_its_wait_once_also_after_a_kill() {
    let (mut daemon, receiver) = stage("back", CALLBACK);
    let run = daemon.run("back", "{}");
    let address = address(&receiver);
    let path = address.split_once("/c/").map(|(_, code)| format!("/c/{code}")).expect("an address of the door");
    let waits = wait_for("the wait", LIMIT, || {
        let head = daemon.show(run).head;
        (head.state == RunState::Waiting).then_some(head)
    });
    assert_says(waits.blocked_by.expect("why it does not move").reason, &["paid waits for its callback until"]);
    daemon.kill9();
    daemon.up();
    assert_eq!(post(&daemon, "/c/AAAA", "{}").status, 404);
    let mut wrong = path.clone().into_bytes();
    wrong[10] = if wrong[10] == b'A' { b'B' } else { b'A' };
    assert_eq!(post(&daemon, &String::from_utf8(wrong).expect("text"), "{}").status, 404);
    let first = post(&daemon, &path, r#"{"amount":12.50}"#);
    assert_eq!(first.status, 200, "{first:?}");
    daemon.kill9();
    daemon.up();
    let journal = daemon.wait_state(run, RunState::Succeeded);
    assert_eq!(journal.output("end"), r#"{"amount":12.50}"#);
    // The sender did not hear the answer and sends again; after the run has ended nobody waits.
    assert_eq!(post(&daemon, &path, r#"{"amount":99}"#).status, 410);
    assert_eq!(daemon.wait_state(run, RunState::Succeeded).output("end"), r#"{"amount":12.50}"#);
}

#[test]
fn what_comes_before_its_step_waits_is_kept_and_counts_once() {
    let (mut daemon, receiver) = stage("early", CALLBACK);
    receiver.on("/order", |_, _| Answer::hold());
    let run = daemon.run("early", "{}");
    let address = address(&receiver);
    let path = address.split_once("/c/").map(|(_, code)| format!("/c/{code}")).expect("an address of the door");
    assert_eq!(post(&daemon, &path, r#"{"amount":1}"#).status, 200);
    let again = post(&daemon, &path, r#"{"amount":2}"#);
    assert_eq!(again.status, 200);
    assert_says(again.text(), &["duplicate"]);
    daemon.kill9();
    daemon.up();
    receiver.wait("/order", 2);
    receiver.release("/order");
    let journal = daemon.wait_state(run, RunState::Succeeded);
    assert_eq!(journal.output("end"), r#"{"amount":1}"#);
}

#[test]
fn a_person_gives_a_step_what_it_waits_for_and_a_deadline_fails_it() {
    let (daemon, _receiver) = stage(
        "signal",
        r#"
steps:
  - id: quick
    wait: { callback: true, deadline: 200ms }
    on_error:
      - id: late
        set: { class: "{{ error.class }}" }
  - id: go
    wait: { callback: true, deadline: 7d }
"#,
    );
    let run = daemon.run("signal", "{}").to_string();
    wait_for("the deadline", LIMIT, || {
        daemon.aura(&["run", "show", &run]).success().out.contains("handled").then_some(())
    });
    let refused = daemon.aura(&["run", "signal", &run, "quick", "--data", "1"]);
    assert_says(&refused.err, &["step quick does not wait any more"]);
    let refused = daemon.aura(&["run", "signal", &run, "late", "--data", "1"]);
    assert_says(&refused.err, &["waits for nothing from outside"]);
    daemon.aura(&["run", "signal", &run, "go", "--data", r#"{"by":"hand"}"#]).success();
    let journal = daemon.wait_state(run.parse().expect("an id"), RunState::Succeeded);
    assert_eq!(journal.output("go"), r#"{"by":"hand"}"#);
    assert_eq!(journal.output("quick"), r#"{"class":"timeout"}"#);
}

const EVENTS: &str = r#"aura: 1
flow: shop
triggers:
  - { id: created, on: webhook, auth: none }
  - { id: paid, on: webhook, auth: none }
steps:
  - id: payment
    wait:
      event: paid
      match: { event: "{{ trigger.body.order }}", run: "{{ trigger.body.id }}" }
      deadline: 3d
  - id: end
    set: { amount: "{{ steps.payment.output.body.amount }}" }
"#;

/// Endpoints of the two triggers.
fn hooks(daemon: &Daemon) -> (String, String) {
    let path = |trigger: &str| {
        let all = daemon.ask().webhook_list(()).expect("the endpoints");
        let hook = all.iter().find(|hook| hook.trigger == trigger).expect("an endpoint");
        hook.url.find("/hooks/").map(|at| hook.url[at..].to_owned()).expect("an address")
    };
    (path("created"), path("paid"))
}

#[test]
fn an_event_ends_the_wait_of_the_run_it_is_about_and_starts_none() {
    let mut daemon = Daemon::start();
    daemon.publish(EVENTS);
    let (created, paid) = hooks(&daemon);
    for id in ["a-1", "a-2"] {
        assert_eq!(post(&daemon, &created, &format!(r#"{{"id":"{id}"}}"#)).status, 202);
    }
    wait_for("two waiting runs", LIMIT, || {
        (daemon.runs("shop").iter().filter(|head| head.state == RunState::Waiting).count() == 2).then_some(())
    });
    daemon.kill9();
    daemon.up();
    let (_, paid_now) = hooks(&daemon);
    assert_eq!(paid, paid_now);
    let answer = post(&daemon, &paid, r#"{"order":"a-2","amount":7}"#);
    assert_eq!(answer.field("state"), "held");
    let ended = wait_for("the run of a-2", LIMIT, || {
        daemon.runs("shop").into_iter().find(|head| head.state == RunState::Succeeded)
    });
    assert_eq!(daemon.wait_state(ended.run, RunState::Succeeded).output("end"), r#"{"amount":7}"#);
    let heads = daemon.runs("shop");
    assert_eq!(heads.len(), 2, "the event of `paid` starts no run");
    assert_eq!(heads.iter().filter(|head| head.state == RunState::Waiting).count(), 1, "a-1 waits on");
}

#[test]
fn an_event_that_comes_first_is_kept_for_its_run() {
    let mut daemon = Daemon::start();
    daemon.publish(EVENTS);
    let (created, paid) = hooks(&daemon);
    post(&daemon, &paid, r#"{"order":"b-1","amount":3}"#);
    post(&daemon, &paid, r#"{"order":"b-2","amount":4}"#);
    daemon.kill9();
    daemon.up();
    post(&daemon, &created, r#"{"id":"b-1"}"#);
    let ended = wait_for("the run of b-1", LIMIT, || {
        daemon.runs("shop").into_iter().find(|head| head.state == RunState::Succeeded)
    });
    let journal = daemon.wait_state(ended.run, RunState::Succeeded);
    assert_eq!(journal.output("end"), r#"{"amount":3}"#);
    let signalled = journal.of("payment").filter(|record| matches!(record, Record::Signalled { .. }));
    assert_eq!(signalled.count(), 1);
    let events = daemon.aura(&["event", "list"]).success();
    assert_says(&events.out, &["ended the wait of payment", "kept for the run that waits for it"]);
}
