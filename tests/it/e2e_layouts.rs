//! Stores of earlier layouts, opened by the real daemon: what waited in them goes on.
//!
//! The one invariant: a store that was written once is read for ever. `AURA_WRITE_GOLDEN=1` writes the store of the
//! layout of now if it is not there, and never changes one that is.

use std::fs;
use std::path::{Path, PathBuf};

use aura_protocol::run::RunState;

use crate::support::daemon::Place;
use crate::support::sender::exchange;
use crate::support::{Daemon, Setup, assert_says};

/// What waits in the store: for people, for a callback, within a loop; and a number that was counted.
const FLOWS: &[&str] = &[
    "aura: 1
flow: pay
steps:
  - id: links
    set: { ben: \"{{ run.approvals.check.ben }}\", back: \"{{ run.callbacks.back }}\" }
  - id: count
    kv: { incr: payments }
  - id: check
    approval:
      form: { sum: \"{{ input.sum }}\", limit: { ask: number } }
      approvers: [ben, owner]
      quorum: 2
      deadline: 3650d
  - id: back
    wait: { callback: true, deadline: 3650d }
  - id: end
    set: { n: \"{{ steps.count.output }}\", limit: \"{{ steps.check.output.form.limit }}\", back: \"{{ steps.back.output }}\" }
",
    "aura: 1
flow: turns
triggers:
  - { id: hand, on: manual }
  - { id: told, on: event, with: { name: paid } }
steps:
  - id: round
    loop:
      while: \"{{ index < 2 }}\"
      max_iterations: 2
      max_duration: 3650d
      steps: [{ id: nap, sleep: { for: 2s } }, { id: turn, set: { i: \"{{ index }}\" } }]
",
    "aura: 1
flow: tells
steps:
  - id: tried
    try:
      steps: [{ id: sub, call: { flow: missing } }]
      catch: [{ id: tell, emit: { event: paid } }]
",
];

fn file(layout: u32) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("golden/layout-{layout}/aura.redb"))
}

/// Writes the store as a daemon of today leaves it.
fn written(to: &Path) {
    let mut daemon = Daemon::start();
    FLOWS.iter().for_each(|flow| drop(daemon.publish(flow)));
    let run = daemon.run("pay", r#"{"sum":12.50}"#);
    daemon.wait_state(run, RunState::Waiting);
    daemon.wait_state(daemon.run("tells", "{}"), RunState::Succeeded);
    daemon.wait_state(daemon.run("turns", "{}"), RunState::Waiting);
    daemon.aura(&["compact"]).success();
    daemon.stop();
    fs::create_dir_all(to.parent().expect("a folder")).expect("a folder");
    fs::copy(daemon.place.data().join("aura.redb"), to).expect("a copy");
}

#[test]
fn a_store_of_the_third_layout_opens_and_what_waits_in_it_goes_on() {
    goes_on(3);
}

#[test]
fn a_store_of_the_fourth_layout_opens_and_what_waits_in_it_goes_on() {
    goes_on(4);
}

fn goes_on(layout: u32) {
    let golden = file(layout);
    if std::env::var_os("AURA_WRITE_GOLDEN").is_some() && !golden.exists() {
        written(&golden);
    }
    let place = Place::new(Setup::default());
    fs::create_dir(place.data()).expect("a data directory");
    fs::copy(golden, place.data().join("aura.redb")).expect("a copy");
    let mut daemon = Daemon::start_at(place);
    let pay = daemon.runs("pay")[0].run;
    let journal = daemon.wait_state(pay, RunState::Waiting);
    let links = aura_protocol::Value::from_json(journal.output("links").as_bytes()).expect("JSON");
    let path = |name: &str, part: &str| {
        let link = links.get(name).and_then(aura_protocol::Value::as_str).expect("a link");
        link.find(part).map(|at| link[at..].to_owned()).expect("an address of the door")
    };
    let (ben, back) = (path("ben", "/a/"), path("back", "/c/"));
    let ask = |head: &str, body: &str| {
        let length = body.len();
        let text = format!(
            "{head} HTTP/1.1\r\nhost: a\r\naccept: application/json\r\ncontent-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
        );
        exchange(daemon.address(), text.as_bytes(), || ()).expect("an answer")
    };
    let hash = ask(&format!("GET {ben}"), "").field("hash");
    let vote = format!(r#"{{"decision":"approve","hash":"{hash}","form":{{"limit":3}}}}"#);
    let reply = ask(&format!("POST {ben}"), &vote);
    assert_eq!(reply.status, 200, "a link of then still counts: {}", reply.text());
    daemon.aura(&["approve", &pay.to_string(), "--hash", &hash, "--field", "limit=4"]).success();
    assert_eq!(ask(&format!("POST {back}"), "7").status, 200);
    let journal = daemon.wait_state(pay, RunState::Succeeded);
    assert_eq!(journal.output("end"), r#"{"n":1,"limit":4,"back":7}"#);
    let turns = daemon.runs("turns");
    assert_eq!(turns.len(), 2, "one by hand, one by an event");
    for head in turns {
        let journal = daemon.wait_state(head.run, RunState::Succeeded);
        assert_eq!(journal.output("turn[1]"), r#"{"i":1}"#);
    }
    let next = daemon.run("pay", r#"{"sum":1}"#);
    assert_eq!(daemon.wait_state(next, RunState::Waiting).output("count"), "2");
    assert_says(daemon.aura(&["doctor", "--deep"]).out, &["ok"]);
    daemon.stop();
}
