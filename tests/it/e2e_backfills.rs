//! Backfills with the real daemon: planned, confirmed, once for each object over kills, held and ended by people.
//!
//! The one invariant: what became of an object is read from the runs' own `trigger.body`.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use aura_protocol::rpc::FlowEnable;
use aura_protocol::run::Record;
use serde_json::json;

use crate::support::daemon::Journal;
use crate::support::{Answer, Daemon, LIMIT, Receiver, Request, assert_says, wait_for, wait_until};

const COUNT: u64 = 120;

fn parameter(request: &Request, name: &str) -> Option<String> {
    let query = request.path.split_once('?')?.1;
    query.split('&').find_map(|pair| pair.strip_prefix(&format!("{name}="))).map(str::to_owned)
}

/// Objects 1 to [`COUNT`], each an hour younger than the one before, from `since` on in pages of ten.
fn provider() -> Receiver {
    let receiver = Receiver::start();
    receiver.on("/past", |request, _| {
        let at = |id: u64| format!("2026-01-{:02}T{:02}:00:00Z", 1 + id / 24, id % 24);
        let since = parameter(request, "since").unwrap_or_default().replace("%3A", ":");
        let from: u64 = parameter(request, "page").and_then(|page| page.parse().ok()).unwrap_or(1);
        let items: Vec<u64> = (from..=COUNT).filter(|id| at(*id) >= since).take(10).collect();
        let next = items.last().map(|last| last + 1).filter(|next| *next <= COUNT);
        let items: Vec<_> = items.into_iter().map(|id| json!({ "id": id, "at": at(id) })).collect();
        let body = json!({ "items": items, "next": next }).to_string();
        Answer::ok().header("content-type", "application/json").body(&body).after(Duration::from_millis(10))
    });
    receiver
}

fn flow(receiver: &Receiver) -> String {
    format!(
        r#"aura: 1
flow: past
triggers:
  - id: new
    on: webhook
    auth: none
    with:
      backfill:
        http: {{ url: "{}", query: {{ since: "{{{{ since ?? '' }}}}", page: "{{{{ page ?? '' }}}}" }} }}
        items: "{{{{ output.body.items }}}}"
        key: "{{{{ item.id }}}}"
        cursor: "{{{{ item.at }}}}"
        next: "{{{{ output.body.next }}}}"
steps:
  - id: tell
    http: {{ method: POST, url: "{}", body: {{ id: "{{{{ trigger.body.id }}}}" }} }}
"#,
        receiver.url("/past"),
        receiver.url("/told")
    )
}

/// The objects that became runs, with how many runs each.
fn told(daemon: &Daemon) -> BTreeMap<u64, usize> {
    let mut found = BTreeMap::new();
    for head in daemon.runs("past") {
        let journal = Journal(daemon.show(head.run));
        let started = journal.records().find_map(|record| match record {
            Record::RunStarted(started) => Some((started.event.clone(), started.priority)),
            _ => None,
        });
        let (event, priority) = started.expect("a first record");
        assert_eq!((event.method.as_str(), priority), ("BACKFILL", -50), "behind what is live");
        let object: serde_json::Value = serde_json::from_slice(&event.body).expect("an object");
        *found.entry(object["id"].as_u64().expect("an id")).or_default() += 1;
    }
    found
}

fn once(ids: std::ops::RangeInclusive<u64>) -> BTreeMap<u64, usize> {
    ids.map(|id| (id, 1)).collect()
}

fn last(daemon: &Daemon) -> serde_json::Value {
    newest(daemon, &["backfill", "list", "past", "--json"])
}

fn newest(daemon: &Daemon, words: &[&str]) -> serde_json::Value {
    let said = daemon.aura(words).success();
    let line = said.out.lines().next().expect("a backfill").to_owned();
    serde_json::from_str(&line).expect("JSON")
}

#[test]
fn a_backfill_is_planned_confirmed_and_tells_each_object_once_over_kills() {
    let receiver = provider();
    let mut daemon = Daemon::start();
    daemon.publish(&flow(&receiver));
    let plan = daemon.aura(&["flow", "backfill", "past", "--since", "2026-01-02", "--plan"]).success();
    assert_says(
        &plan.out,
        &[
            "past/new: past objects of http since 2026-01-02T00:00:00Z",
            "at least 10",
            "tell (once)",
            "live events go first",
        ],
    );
    let refused = daemon.aura(&["flow", "backfill", "past"]);
    assert_eq!(refused.code, 2, "{refused:?}");
    assert_says(&refused.err, &["nothing was begun", "--yes"]);
    assert!(daemon.runs("past").is_empty(), "a plan begins nothing");
    daemon.aura(&["flow", "backfill", "past", "--since", "2026-01-02", "--yes"]).success();
    let again = daemon.aura(&["flow", "backfill", "past", "--yes"]);
    assert_eq!(again.code, 5, "{again:?}");
    for round in 0..5_u64 {
        let begin = Instant::now();
        wait_until("a while", LIMIT, || begin.elapsed() > Duration::from_millis(30 + round * 40));
        daemon.kill9();
        daemon.up();
    }
    wait_until("the end", LIMIT, || last(&daemon)["state"] == "done");
    daemon.wait_quiet(LIMIT);
    assert_eq!(told(&daemon), once(24..=COUNT), "since the second of January");
    assert_eq!(last(&daemon)["told"], COUNT - 23);
    // Once more: all of it is known, and what is older is told.
    daemon.aura(&["flow", "backfill", "past", "--until", "2026-01-02T02:00:00Z", "--yes"]).success();
    wait_until("the end", LIMIT, || last(&daemon)["state"] == "done");
    daemon.wait_quiet(LIMIT);
    assert_eq!(told(&daemon), once(1..=COUNT));
    let info = last(&daemon);
    assert_eq!((&info["told"], &info["skipped"]), (&json!(23), &json!(3)), "{info}");
    // Again means again, for as many as are wanted.
    daemon.aura(&["flow", "backfill", "past", "--again", "--limit", "15", "--yes"]).success();
    wait_until("the end", LIMIT, || last(&daemon)["state"] == "done");
    daemon.wait_quiet(LIMIT);
    let found = told(&daemon);
    let twice: Vec<u64> = found.iter().filter(|(_, runs)| **runs == 2).map(|(id, _)| *id).collect();
    assert_eq!(twice, (1..=15).collect::<Vec<_>>());
}

#[test]
fn a_backfill_is_held_goes_on_and_is_ended_by_people() {
    let receiver = provider();
    let daemon = Daemon::start();
    daemon.publish(&flow(&receiver));
    let begun = daemon.aura(&["flow", "backfill", "past", "--yes", "--json"]).success().json();
    let id = begun["id"].as_str().expect("an id").to_owned();
    let held = daemon.aura(&["backfill", "pause", &id, "--json"]).success().json();
    assert_eq!(held["state"], "paused");
    daemon.wait_quiet(LIMIT);
    let (before, at) = (daemon.runs("past").len(), Instant::now());
    wait_until("a while", LIMIT, || at.elapsed() > Duration::from_millis(500));
    assert_eq!(daemon.runs("past").len(), before, "it stands still");
    assert!(before < usize::try_from(COUNT).expect("few"), "it was held halfway");
    let short = id.get(id.len() - 6..).expect("an end").to_owned();
    daemon.aura(&["backfill", "resume", &short]).success();
    wait_until("the end", LIMIT, || last(&daemon)["state"] == "done");
    daemon.wait_quiet(LIMIT);
    assert_eq!(told(&daemon), once(1..=COUNT));
    let over = daemon.aura(&["backfill", "cancel", &id]);
    assert_eq!(over.code, 5, "{over:?}");
    assert_says(&over.err, &["is over: done"]);
    let said = daemon.aura(&["backfill", "list"]).success();
    assert_says(&said.out, &["past/new", "done", "120 told"]);
}

#[test]
fn a_backfill_that_cannot_go_on_stands_still_and_says_why() {
    let receiver = provider();
    let daemon = Daemon::start();
    daemon.publish(&flow(&receiver));
    receiver.on("/past", |request, _| {
        let broken = parameter(request, "page").is_some_and(|page| !page.is_empty());
        let body = json!({ "items": [{ "id": 1, "at": "2026-01-01T01:00:00Z" }], "next": 2 }).to_string();
        if broken { Answer::status(404) } else { Answer::ok().header("content-type", "application/json").body(&body) }
    });
    daemon.aura(&["flow", "backfill", "past", "--yes"]).success();
    let info = wait_for("a standstill", LIMIT, || Some(last(&daemon)).filter(|info| info["state"] == "paused"));
    assert_says(info["error"].as_str().unwrap_or_default(), &["404"]);
    daemon.wait_quiet(LIMIT);
    assert_eq!(told(&daemon), once(1..=1));
    let nothing = daemon.aura(&["flow", "backfill", "past", "--limit", "0", "--plan"]);
    assert_says(&nothing.err, &["a backfill of 0 objects tells nothing", "--limit"]);
    let cancelled = daemon.aura(&["backfill", "cancel", info["id"].as_str().expect("an id"), "--json"]).success();
    assert_eq!(cancelled.json()["state"], "cancelled");
    // Its flow is switched off and deleted while it runs.
    let enabled = false;
    daemon.ask().flow_enable(FlowEnable { flow: "past".into(), enabled }).expect("off");
    daemon.aura(&["flow", "backfill", "past", "--yes"]).success();
    wait_until("its turn", LIMIT, || last(&daemon)["waits_for"] == "its flow is off or paused");
    daemon.aura(&["flow", "delete", "past"]).success();
    let gone = || Some(newest(&daemon, &["backfill", "list", "--json"])).filter(|info| info["state"] == "failed");
    assert_says(wait_for("its end", LIMIT, gone)["error"].as_str().unwrap_or_default(), &["its flow is deleted"]);
    let manual = "aura: 1\nflow: hand\ntriggers: [{ id: hand, on: manual }]\nsteps: [{ id: a, set: { x: 1 } }]";
    daemon.publish(manual);
    let said = daemon.aura(&["flow", "backfill", "hand", "--plan"]);
    assert_says(&said.err, &["no trigger of hand says where its past objects are read"]);
}
