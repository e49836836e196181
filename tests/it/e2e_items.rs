//! Steps side by side, joins and their losers, maps with failing items, and undoing, also across a SIGKILL.
//!
//! The one invariant: what was done is undone once, the last first, whatever happened to the daemon meanwhile.

use aura_protocol::rpc::{RunCancel, RunRef};
use aura_protocol::run::{Record, RunState, StepState};

use crate::e2e_effects::stage;
use crate::support::{Answer, Daemon, LIMIT, Receiver, assert_says, wait_for};

/// Paths that the receiver was asked for, in order.
fn asked(receiver: &Receiver) -> Vec<String> {
    receiver.log().iter().map(|request| format!("{} {}", request.method, request.path)).collect()
}

#[test]
fn two_branches_run_side_by_side_and_a_join_merges_them() {
    let (daemon, receiver) = stage(
        "merge",
        r#"
steps:
  - id: left
    http: { url: "RECEIVER/left" }
  - id: right
    needs: []
    http: { url: "RECEIVER/right" }
  - id: both
    needs: [left, right]
    set: { sum: "{{ steps.left.output.body.n + steps.right.output.body.n }}" }
"#,
    );
    receiver.on("/left", |_, _| Answer::hold().body(r#"{"n":1}"#));
    receiver.on("/right", |_, _| Answer::ok().body(r#"{"n":2}"#));
    let run = daemon.run("merge", "{}");
    receiver.wait("/left", 1);
    receiver.wait("/right", 1);
    let waits = wait_for("the right answer", LIMIT, || {
        let detail = daemon.show(run);
        let right = detail.journal.iter().flat_map(|transition| &transition.records);
        let done = right.into_iter().any(|record| matches!(record, Record::Completed { path, .. } if path == "right"));
        done.then_some(detail.head)
    });
    let blocked = waits.blocked_by.expect("why it does not move");
    assert_eq!(blocked.reason, "both waits for left");
    receiver.release("/left");
    let journal = daemon.wait_state(run, RunState::Succeeded);
    assert_eq!(journal.output("both"), r#"{"sum":3}"#);
}

#[test]
fn losers_of_a_join_are_cancelled_and_the_run_goes_on_without_them() {
    let (daemon, receiver) = stage(
        "race",
        r#"
steps:
  - id: quick
    http: { url: "RECEIVER/quick" }
  - id: slow
    needs: []
    http: { url: "RECEIVER/slow" }
  - id: later
    needs: []
    sleep: { for: 23h }
  - id: charge
    needs: []
    http: { method: POST, url: "RECEIVER/charge" }
  - id: first
    needs: [quick, slow, later, charge]
    join: any
    losers: cancel
    set: { from: "{{ steps.quick?.output?.body ?? 'nobody' }}" }
"#,
    );
    receiver.on("/quick", |_, _| Answer::hold().body(r#""quick""#));
    receiver.on("/slow", |_, _| Answer::hold());
    receiver.on("/charge", |_, _| Answer::hold().body(r#"{"paid":true}"#));
    let run = daemon.run("race", "{}");
    for path in ["/quick", "/slow", "/charge"] {
        receiver.wait(path, 1);
    }
    receiver.release("/quick");
    let first = |daemon: &Daemon| {
        let detail = daemon.show(run);
        let records: Vec<&Record> = detail.journal.iter().flat_map(|transition| &transition.records).collect();
        let done = records.iter().any(|record| matches!(record, Record::Completed { path, .. } if path == "first"));
        done.then_some(detail.head.state)
    };
    let state = wait_for("the join", LIMIT, || first(&daemon));
    assert!(!state.is_final(), "a started `once` call is left to end: {state:?}");
    receiver.release("/charge");
    let journal = daemon.wait_state(run, RunState::Succeeded);
    assert_eq!(journal.output("first"), r#"{"from":"quick"}"#);
    assert_says(journal.output("charge"), &[r#""paid":true"#]);
    for step in ["slow", "later"] {
        let lost = journal.of(step).any(|record| matches!(record, Record::Lost { join, .. } if join == "first"));
        assert!(lost, "{step}: {:?}", journal.of(step).collect::<Vec<_>>());
    }
    assert!(journal.0.head.finished_ms.is_some(), "nobody waits for 23 hours");
}

#[test]
fn a_map_goes_on_when_an_item_fails_and_says_which() {
    let (daemon, receiver) = stage(
        "parcels",
        r#"
steps:
  - id: parcels
    map:
      over: "{{ input.parcels }}"
      as: parcel
      key: "{{ item.sku }}"
      max_parallel: 2
      on_item_error: continue
      steps:
        - id: ship
          http: { method: PUT, url: "RECEIVER/ship/{{ parcel.sku }}", body: { index: "{{ index }}" } }
          retry: { attempts: 1 }
        - id: label
          set: { tracking: "{{ steps.ship.output.body.tracking }}" }
  - id: lost
    each: "{{ steps.parcels.output.filter(row => !row.ok) }}"
    http: { method: PUT, url: "RECEIVER/lost/{{ item.key }}" }
"#,
    );
    receiver.on("/ship/A", |_, _| Answer::hold().body(r#"{"tracking":"t-A"}"#));
    receiver.on("/ship/B", |_, _| Answer::status(404));
    receiver.on("/ship/C", |_, _| Answer::hold().body(r#"{"tracking":"t-C"}"#));
    let input = r#"{"parcels":[{"sku":"A"},{"sku":"B"},{"sku":"C"},{"sku":"D"}]}"#;
    let run = daemon.run("parcels", input);
    receiver.wait("/ship/C", 1);
    assert!(receiver.on_path("/ship/D").is_empty(), "two at once: A and C are at work");
    assert_eq!(receiver.on_path("/ship/C")[0].json()["index"], 2);
    let shown = daemon.aura(&["run", "show", &run.to_string()]).success();
    assert_says(&shown.out, &["parcels", "0 of 4 items", "ship[A]", "ship[B]", "failed"]);
    receiver.release("/ship/A");
    receiver.release("/ship/C");
    receiver.on("/ship/D", |_, _| Answer::ok().body(r#"{"tracking":"t-D"}"#));
    let journal = daemon.wait_state(run, RunState::Succeeded);
    let rows: serde_json::Value = serde_json::from_str(&journal.output("parcels")).expect("a list");
    let told: Vec<String> = rows
        .as_array()
        .expect("a list")
        .iter()
        .map(|row| format!("{} {} {}", row["key"], row["ok"], row["output"]["tracking"]))
        .collect();
    assert_eq!(told[0], r#""A" true "t-A""#);
    assert_eq!(told[1], r#""B" false null"#);
    assert_eq!(told[2], r#""C" true "t-C""#);
    assert_eq!(told.len(), 4);
    assert_says(rows[1]["error"]["class"].to_string(), &["not_found"]);
    assert_eq!(receiver.on_path("/lost/B").len(), 1);
    assert_eq!(receiver.log().iter().filter(|request| request.path.starts_with("/lost")).count(), 1);
    let keys: Vec<&str> = ["ship[A]", "ship[C]"].iter().map(|path| journal.key(path)).collect();
    assert_ne!(keys[0], keys[1], "each item has a key of its own");
}

const UNDO: &str = r#"
steps:
  - id: book
    each: "{{ input.legs }}"
    http: { method: PUT, url: "RECEIVER/book/{{ item }}" }
    compensate:
      - id: unbook
        http: { method: DELETE, url: "RECEIVER/book/{{ item }}", body: { was: "{{ steps.book?.output.status }}" } }
  - id: charge
    http: { method: POST, url: "RECEIVER/charge" }
    compensate:
      - id: refund
        http: { method: PUT, url: "RECEIVER/refund", body: { why: "{{ error.message }}" } }
  - id: print
    http: { method: POST, url: "RECEIVER/print" }
finally:
  - id: tidy
    http: { method: PUT, url: "RECEIVER/tidy" }
"#;

/// A run that books two legs, charges, and fails at the printer.
fn undoing(name: &str, flow: &str) -> (Daemon, Receiver) {
    let (daemon, receiver) = stage(name, flow);
    receiver.on("/print", |_, _| Answer::status(400));
    (daemon, receiver)
}

const UNDONE: [&str; 8] = [
    "PUT /book/a",
    "PUT /book/b",
    "POST /charge",
    "POST /print",
    "PUT /refund",
    "DELETE /book/b",
    "DELETE /book/a",
    "PUT /tidy",
];

#[test]
fn what_was_done_is_undone_in_reverse_order_before_finally() {
    let (daemon, receiver) = undoing("undo", UNDO);
    receiver.on("/book/a", |request, _| if request.method == "PUT" { Answer::ok() } else { Answer::status(409) });
    let run = daemon.run("undo", r#"{"legs":["a"]}"#);
    let journal = daemon.wait_state(run, RunState::Failed);
    assert_eq!(asked(&receiver).last().map(String::as_str), Some("PUT /tidy"));
    // What could not be undone is added to the error of the run, and everything else is undone all the same.
    assert_says(journal.error(), &["400", "; then in unbook[0]", "409"]);
    assert_says(receiver.on_path("/refund")[0].json()["why"].to_string(), &["400"]);
    let undone = journal.records().filter_map(|record| match record {
        Record::Compensated { path, error } => Some((path.as_str(), error.is_none())),
        _ => None,
    });
    assert_eq!(undone.collect::<Vec<_>>(), [("charge", true), ("book[0]", false)]);
    let shown = daemon.aura(&["run", "show", &run.to_string()]).success();
    assert_says(&shown.out, &["refund", "undone", "could not be undone", "unbook[0]"]);
}

#[test]
fn undoing_goes_on_after_a_kill_where_it_was() {
    // One leg after the other, so that their order is known.
    let flow = UNDO.replace("each: \"{{ input.legs }}\"", "each: { over: \"{{ input.legs }}\", max_parallel: 1 }");
    let (mut daemon, receiver) = undoing("undo-kill", &flow);
    receiver.on("/refund", |_, before| if before == 0 { Answer::hold() } else { Answer::ok() });
    let run = daemon.run("undo-kill", r#"{"legs":["a","b"]}"#);
    receiver.wait("/refund", 1);
    daemon.kill9();
    receiver.release("/refund");
    daemon.up();
    let journal = daemon.wait_state(run, RunState::Failed);
    let mut asked = asked(&receiver);
    // The refund is idempotent: it was out when the daemon was killed and is sent again.
    asked.dedup();
    assert_eq!(asked, UNDONE);
    assert_eq!(journal.state("refund"), StepState::Succeeded);
}

#[test]
fn a_cancel_undoes_too() {
    let (daemon, receiver) = undoing("undo-cancel", UNDO);
    receiver.on("/print", |_, _| Answer::hold().body("{}"));
    let run = daemon.run("undo-cancel", r#"{"legs":["a"]}"#);
    receiver.wait("/print", 1);
    let cancel = RunCancel { run: RunRef(run.to_string()), reason: "not today".into() };
    daemon.ask().run_cancel(cancel).expect("a cancel");
    receiver.release("/print");
    daemon.wait_state(run, RunState::Cancelled);
    assert_says(receiver.wait("/refund", 1)[0].json()["why"].to_string(), &["not today"]);
    assert_eq!(receiver.on_path("/book/a").iter().filter(|request| request.method == "DELETE").count(), 1);
}

#[test]
fn a_run_that_ends_well_undoes_nothing() {
    let (daemon, receiver) = stage("keep", UNDO);
    let run = daemon.run("keep", r#"{"legs":["a"]}"#);
    daemon.wait_state(run, RunState::Succeeded);
    assert!(receiver.on_path("/refund").is_empty());
}
