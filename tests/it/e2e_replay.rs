//! Replays, with the real binaries: what is sent again, what is not, and under which key; also across a SIGKILL.
//!
//! The one invariant: what a replay copies is never sent a second time, whatever happens to the daemon meanwhile.

use aura_protocol::rpc::{FlowRun, RunCancel, RunRef};
use aura_protocol::run::{Record, RunState};
use aura_protocol::{RunId, Value};

use crate::e2e_effects::stage;
use crate::support::{Answer, Daemon, LIMIT, Receiver, assert_says, wait_for};

const ORDER: &str = r#"
steps:
  - id: reserve
    http: { method: POST, url: "RECEIVER/reserve", body: { id: "{{ input.id }}" } }
  - id: charge
    http: { method: POST, url: "RECEIVER/charge", body: { id: "{{ input.id }}", of: "{{ steps.reserve.output.body.n }}" } }
    effect: keyed
  - id: ship
    http: { method: POST, url: "RECEIVER/ship", body: { paid: "{{ steps.charge.output.body.n }}" } }
"#;

/// The run that a command of ours says it began.
fn began(daemon: &Daemon, arguments: &[&str]) -> RunId {
    let said = daemon.aura(&[arguments, &["--json"]].concat()).success().json();
    said["run"]["run"].as_str().expect("a run").parse().expect("an id")
}

/// What becomes of each call, as a preview says.
fn fates(daemon: &Daemon, arguments: &[&str]) -> Vec<String> {
    let said = daemon.aura(&[arguments, &["--preview", "--json"]].concat()).success().json();
    assert!(said["run"].is_null(), "a preview begins nothing: {said}");
    let calls = said["preview"]["calls"].as_array().expect("calls").clone();
    let line = |call: &serde_json::Value| format!("{} {}", call["path"], call["fate"]).replace('"', "");
    calls.iter().map(line).collect()
}

/// A run whose `charge` was refused.
fn refused() -> (Daemon, Receiver, RunId) {
    let (daemon, receiver) = stage("order", ORDER);
    receiver.on("/reserve", |_, _| Answer::ok().body(r#"{"n":7}"#));
    receiver.on("/charge", |_, _| Answer::status(422));
    let run = daemon.run("order", r#"{"id":1}"#);
    daemon.wait_state(run, RunState::Failed);
    (daemon, receiver, run)
}

#[test]
fn a_mended_flow_goes_on_where_it_failed_and_nothing_before_is_sent_again() {
    let (daemon, receiver, run) = refused();
    let id = run.to_string();
    let mended = format!("aura: 1\nflow: order\ntriggers:\n  - {{ id: hand, on: manual }}\n{ORDER}");
    daemon.publish(&mended.replace("RECEIVER/charge", "RECEIVER/pay").replace("RECEIVER", &receiver.url("")));
    receiver.on("/pay", |_, _| Answer::ok().body(r#"{"n":8}"#));
    let told = fates(&daemon, &["run", "replay", &id, "--retry"]);
    assert_eq!(told, ["charge new_key", "ship new_key", "reserve copied"]);
    let shown = daemon.aura(&["run", "replay", &id, "--retry", "--preview"]).success();
    assert_says(&shown.out, &["again from step charge", "another version than that run's", "sent with a new key"]);
    let again = began(&daemon, &["run", "replay", &id, "--retry"]);
    let journal = daemon.wait_state(again, RunState::Succeeded);
    assert_eq!(receiver.on_path("/reserve").len(), 1, "copied, not sent");
    assert_eq!(receiver.on_path("/pay")[0].json()["of"], 7, "the copy is what the next step reads");
    assert_eq!(receiver.on_path("/ship")[0].json()["paid"], 8);
    assert_eq!(journal.0.head.origin, Some(run));
    assert_ne!(journal.0.head.version, daemon.show(run).head.version);
    let shown = daemon.aura(&["run", "show", &again.to_string()]).success();
    assert_says(&shown.out, &[&format!("goes on from {run}"), "copied     reserve"]);
    // Under its own version it would fail as before.
    let same = began(&daemon, &["run", "replay", &id, "--from", "charge"]);
    daemon.wait_state(same, RunState::Failed);
    assert_eq!(receiver.on_path("/charge").len(), 2);
    let keys: Vec<String> = receiver.on_path("/charge").iter().map(|request| request.key().to_owned()).collect();
    assert_ne!(keys[0], keys[1], "a new run has its own keys");
}

#[test]
fn what_was_copied_stays_so_when_the_daemon_dies_in_the_replay() {
    let (mut daemon, receiver, run) = refused();
    receiver.on("/charge", |_, _| Answer::hold().body(r#"{"n":9}"#));
    let again = began(&daemon, &["run", "replay", &run.to_string(), "--from", "charge"]);
    receiver.wait("/charge", 2);
    daemon.kill9();
    daemon.up();
    // A keyed call is sent again with its key.
    let sent = receiver.wait("/charge", 3);
    assert_eq!(sent[1].key(), sent[2].key());
    receiver.release("/charge");
    let journal = daemon.wait_state(again, RunState::Succeeded);
    assert_eq!(receiver.on_path("/reserve").len(), 1);
    assert_eq!(receiver.on_path("/ship")[0].json()["paid"], 9);
    assert!(journal.output("charge").contains(r#""n":9"#), "{journal:?}");
    // The run that it goes on from may go: the copy is its own.
    daemon.aura(&["run", "delete", &run.to_string()]).success();
    daemon.kill9();
    daemon.up();
    let copied = journal.records().filter(|record| matches!(record, Record::Copied(_))).count();
    assert_eq!(copied, 1);
    assert_eq!(daemon.show(again).head.state, RunState::Succeeded);
    let third = began(&daemon, &["run", "replay", &again.to_string(), "--from", "ship"]);
    daemon.wait_state(third, RunState::Succeeded);
    assert_eq!((receiver.on_path("/reserve").len(), receiver.on_path("/ship").len()), (1, 2));
}

#[test]
fn keys_are_kept_where_the_input_is_what_it_was() {
    let (daemon, receiver, run) = refused();
    let id = run.to_string();
    receiver.on("/charge", |_, _| Answer::ok().body(r#"{"n":1}"#));
    let kept = ["run", "replay", &id, "--from", "charge", "--reuse-keys"];
    assert_eq!(fates(&daemon, &kept), ["ship new_key", "charge same_key", "reserve copied"]);
    daemon.wait_state(began(&daemon, &kept), RunState::Succeeded);
    let edited = [&kept[..], &["--input", r#"{"method":"POST","url":"URL","body":2}"#]].concat();
    let url = receiver.url("/charge");
    let edited: Vec<String> = edited.iter().map(|word| word.replace("URL", &url)).collect();
    let edited: Vec<&str> = edited.iter().map(String::as_str).collect();
    assert_eq!(fates(&daemon, &edited)[0], "charge new_key");
    daemon.wait_state(began(&daemon, &edited), RunState::Succeeded);
    let sent = receiver.on_path("/charge");
    assert_eq!(sent[0].key(), sent[1].key(), "the same input, the same key");
    assert_ne!(sent[0].key(), sent[2].key(), "another input is another call");
    assert_eq!(sent[2].json(), 2);
}

const PARCELS: &str = r#"
steps:
  - id: parcels
    map:
      over: "{{ input.list }}"
      key: "{{ item.id }}"
      max_parallel: 2
      on_item_error: continue
      steps:
        - id: label
          http: { method: POST, url: "RECEIVER/label", body: { id: "{{ item.id }}" } }
        - id: send
          http: { method: POST, url: "RECEIVER/send", body: { id: "{{ item.id }}", to: "{{ item.to }}" } }
  - id: told
    set: { count: "{{ steps.parcels.output.filter(p => p.ok).length }}" }
"#;

#[test]
fn one_item_is_done_again_with_an_edit_and_the_others_are_not() {
    let (daemon, receiver) = stage("parcels", PARCELS);
    receiver.on("/send", |request, _| if request.json()["to"].is_null() { Answer::status(400) } else { Answer::ok() });
    let list = r#"{"list":[{"id":"A","to":1},{"id":"B","to":null},{"id":"C","to":3}]}"#;
    let run = daemon.run("parcels", list);
    let first = daemon.wait_state(run, RunState::Succeeded);
    assert_eq!(first.output("told"), r#"{"count":2}"#);
    let id = run.to_string();
    let said = daemon.aura(&["run", "replay", &id, "--item", "parcels:X"]);
    assert_says(&said.err, &["parcels has no item X", "A, B, C"]);
    let said = daemon.aura(&["run", "replay", &id, "--from", "send"]);
    assert_says(&said.err, &["say which item", "[A]"]);
    let edit = r#"{"id":"B","to":2}"#;
    let again = began(&daemon, &["run", "replay", &id, "--item", "parcels:B", "--input", edit]);
    let journal = daemon.wait_state(again, RunState::Succeeded);
    assert_eq!(journal.output("told"), r#"{"count":3}"#);
    let of = |path: &str, id: &str| receiver.on_path(path).iter().filter(|request| request.json()["id"] == id).count();
    assert_eq!((of("/send", "A"), of("/send", "B"), of("/send", "C")), (1, 2, 1));
    assert_eq!((of("/label", "A"), of("/label", "B")), (1, 2), "all of the item, none of the others");
    // Only the step in the item: what is before it there is copied too.
    let again = began(&daemon, &["run", "replay", &id, "--from", "send[C]"]);
    daemon.wait_state(again, RunState::Succeeded);
    assert_eq!((of("/send", "C"), of("/label", "C"), of("/send", "B")), (2, 1, 2));
}

#[test]
fn a_replay_waits_for_its_concurrency_key_and_is_never_dropped() {
    let (daemon, receiver) = stage(
        "one",
        "concurrency: { limit: 1, when_full: drop }\nsteps:\n  - id: a\n    set: { x: 1 }\n  - id: work\n    http: { method: PUT, url: \"RECEIVER/work\" }\n",
    );
    let first = daemon.run("one", "{}");
    daemon.wait_state(first, RunState::Succeeded);
    receiver.on("/work", |_, _| Answer::hold());
    let holder = daemon.run("one", "{}");
    receiver.wait("/work", 2);
    let again = began(&daemon, &["run", "replay", &first.to_string(), "--from", "work"]);
    let queued = daemon.wait_state(again, RunState::Queued);
    assert_says(&queued.0.head.blocked_by.expect("why").reason, &[&holder.to_string()]);
    receiver.on("/work", |_, _| Answer::ok());
    receiver.release("/work");
    daemon.wait_state(holder, RunState::Succeeded);
    let journal = daemon.wait_state(again, RunState::Succeeded);
    assert!(journal.of("a").all(|record| matches!(record, Record::Copied(_))), "{journal:?}");
    let live = daemon.run("one", "{}");
    daemon.wait_state(live, RunState::Succeeded);
}

#[test]
fn many_are_run_again_once_and_many_are_cancelled() {
    let (daemon, receiver) = stage("many", "steps:\n  - id: work\n    http: { method: PUT, url: \"RECEIVER/work\" }\n");
    receiver.on("/work", |_, _| Answer::status(400));
    for n in 0..4 {
        let input = Value::from(n);
        let run = daemon.ask().flow_run(FlowRun { flow: "many".to_owned(), input }).expect("a run").run;
        daemon.wait_state(run, RunState::Failed);
    }
    let filter = "flow=many state=failed";
    let planned = daemon.aura(&["run", "replay", "--filter", filter, "--plan"]).success();
    assert_says(&planned.out, &["4 runs would be run again", "4 sent with a new key"]);
    assert_eq!(receiver.on_path("/work").len(), 4, "a plan sends nothing");
    let refused = daemon.aura(&["run", "replay", "--filter", filter]);
    assert_says(&refused.err, &["--yes"]);
    receiver.on("/work", |_, _| Answer::hold());
    let said = daemon.aura(&["run", "replay", "--filter", filter, "--yes", "--rate", "100/s"]).success();
    assert_eq!(said.out.lines().filter(|line| line.contains(" again as run_")).count(), 4, "{}", said.out);
    receiver.wait("/work", 8);
    let planned = daemon.aura(&["run", "replay", "--filter", filter, "--plan"]).success();
    assert_says(&planned.out, &["0 runs would be run again, 4 were already"]);
    let planned = daemon.aura(&["run", "cancel", "--filter", "flow=many state=running", "--plan"]).success();
    assert_says(&planned.out, &["4 runs would be asked to end"]);
    daemon.aura(&["run", "cancel", "--filter", "flow=many", "--yes", "--reason", "enough"]).success();
    receiver.release("/work");
    daemon.wait_quiet_of("many", LIMIT);
    let cancelled = daemon.runs("many").iter().filter(|head| head.state == RunState::Cancelled).count();
    assert_eq!(cancelled, 4);
}

#[test]
fn what_a_replay_has_mended_is_not_run_again_with_many() {
    let (daemon, receiver) =
        stage("family", "steps:\n  - id: work\n    http: { method: PUT, url: \"RECEIVER/work\" }\n");
    receiver.on("/work", |_, _| Answer::status(400));
    let fails = |daemon: &Daemon, run: RunId| daemon.wait_state(run, RunState::Failed);
    let runs: Vec<RunId> = (0..2).map(|_| daemon.run("family", "{}")).collect();
    runs.iter().for_each(|run| drop(fails(&daemon, *run)));
    // The first one is replayed in vain, and then with success; the other one twice in vain.
    let replay = |run: RunId| began(&daemon, &["run", "replay", &run.to_string()]);
    for of in [runs[0], runs[1], runs[1]] {
        fails(&daemon, replay(of));
    }
    receiver.on("/work", |_, _| Answer::ok());
    daemon.wait_state(replay(runs[0]), RunState::Succeeded);
    let sent = receiver.on_path("/work").len();
    let filter = "flow=family state=failed";
    let planned = daemon.aura(&["run", "replay", "--filter", filter, "--plan"]).success();
    assert_says(&planned.out, &["1 runs would be run again, 4 were already (2 of them with success)"]);
    let planned = daemon.aura(&["run", "replay", "--filter", filter, "--again", "--plan"]).success();
    assert_says(&planned.out, &["5 runs would be run again, 0 were already"]);
    let said = daemon.aura(&["run", "replay", "--filter", filter, "--yes"]).success();
    assert_eq!(said.out.lines().count(), 1, "{}", said.out);
    daemon.wait_quiet_of("family", LIMIT);
    assert_eq!(receiver.on_path("/work").len(), sent + 1, "the mended one is not sent again");
    let planned = daemon.aura(&["run", "replay", "--filter", filter, "--plan", "--json"]).success().json();
    assert_eq!(
        (&planned["runs"], &planned["already"], &planned["mended"]),
        (&serde_json::json!([]), &5.into(), &5.into())
    );
}

#[test]
fn what_goes_on_or_is_not_there_is_refused_with_a_sentence() {
    let (daemon, receiver) = stage("live", "steps:\n  - id: work\n    http: { method: PUT, url: \"RECEIVER/work\" }\n");
    receiver.on("/work", |_, _| Answer::hold());
    let run = daemon.run("live", "{}");
    receiver.wait("/work", 1);
    let id = run.to_string();
    let check = |arguments: &[&str], code: i32, says: &str| {
        let said = daemon.aura(arguments);
        assert_eq!(said.code, code, "{arguments:?}: {}", said.err);
        assert_says(&said.err, &[says]);
    };
    check(&["run", "replay", &id], 5, "the run has not finished");
    let cancel = RunCancel { run: RunRef(id.clone()), reason: "enough".to_owned() };
    daemon.ask().run_cancel(cancel).expect("a cancel");
    receiver.release("/work");
    wait_for("the end", LIMIT, || daemon.show(run).head.state.is_final().then_some(()));
    check(&["run", "replay", &id, "--from", "nothing"], 3, "the version has no step nothing");
    check(&["run", "replay", &id, "--version", "draft"], 5, "no draft");
    check(&["run", "replay", &id, "--version", "zz"], 2, "no version");
    check(&["run", "replay", &id, "--version", "0000"], 3, "no version 0000");
    check(&["run", "replay", &id, "--item", "work:1"], 3, "neither a map nor a loop");
}
