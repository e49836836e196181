//! Polls with the real daemon: each object of a provider once, over kills, pages, failures and changes by people.
//!
//! The one invariant: what became of an object is read from the runs' own `trigger.body`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use aura_protocol::rpc::{FlowEnable, FlowPause, PollInfo};
use aura_protocol::run::Record;
use serde_json::json;

use crate::support::daemon::Journal;
use crate::support::{Answer, Daemon, LIMIT, Receiver, Request, assert_says, wait_for, wait_until};

/// A provider with numbered objects.
#[derive(Clone, Default)]
struct Provider(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    count: u64,
    broken: bool,
    slow: bool,
}

fn parameter(request: &Request, name: &str) -> Option<u64> {
    let query = request.path.split_once('?')?.1;
    let pair = query.split('&').find_map(|pair| pair.strip_prefix(&format!("{name}=")));
    pair?.parse().ok()
}

impl Provider {
    fn add(&self, more: u64) -> u64 {
        let mut state = self.0.lock().expect("a state");
        state.count += more;
        state.count
    }

    fn count(&self) -> u64 {
        self.0.lock().expect("a state").count
    }

    fn breaks(&self, broken: bool) {
        self.0.lock().expect("a state").broken = broken;
    }

    /// So slow that something can happen while it answers.
    fn is_slow(&self, slow: bool) {
        self.0.lock().expect("a state").slow = slow;
    }

    /// `/since`: objects from `after` on (with it: what is on the border comes twice), oldest first, in pages of 7.
    /// `/newest`: all, newest first, in pages of 5 by offset.
    fn serve(&self, receiver: &Receiver) {
        let answer = |items: Vec<u64>, next: Option<u64>| {
            let items: Vec<_> = items.into_iter().map(|id| json!({ "id": id })).collect();
            let body = json!({ "items": items, "next": next }).to_string();
            Answer::ok().header("content-type", "application/json").body(&body)
        };
        let state = self.clone();
        receiver.on("/since", move |request, _| {
            let state = state.0.lock().expect("a state");
            if state.broken {
                return Answer::status(503);
            }
            let from = parameter(request, "page").unwrap_or_else(|| parameter(request, "after").unwrap_or(1).max(1));
            let items: Vec<u64> = (from..=state.count).take(7).collect();
            let next = items.last().map(|last| last + 1).filter(|next| *next <= state.count);
            answer(items, next).after(Duration::from_millis(if state.slow { 800 } else { 0 }))
        });
        let state = self.clone();
        receiver.on("/newest", move |request, _| {
            let count = state.0.lock().expect("a state").count;
            let offset = parameter(request, "page").unwrap_or(0);
            let items: Vec<u64> = (1..=count.saturating_sub(offset)).rev().take(5).collect();
            let next = Some(offset + 5).filter(|next| *next < count);
            answer(items, next)
        });
    }
}

fn oldest(url: &str, more: &str) -> String {
    format!(
        r#"aura: 1
flow: objects
triggers:
  - id: new
    on: poll
    with:
      every: 1s
      http: {{ url: "{url}", query: {{ after: "{{{{ cursor ?? 0 }}}}", page: "{{{{ page ?? '' }}}}" }} }}
      items: "{{{{ output.body.items }}}}"
      key: "{{{{ item.id }}}}"
      cursor: "{{{{ item.id }}}}"
      next: "{{{{ output.body.next }}}}"
{more}
steps:
  - id: say
    set: {{ id: "{{{{ trigger.body.id }}}}" }}
"#
    )
}

/// The objects that became runs, with how many runs each.
fn told(daemon: &Daemon) -> BTreeMap<u64, usize> {
    let mut found = BTreeMap::new();
    for head in daemon.runs("objects") {
        let journal = Journal(daemon.show(head.run));
        let body = journal.records().find_map(|record| match record {
            Record::RunStarted(started) => Some(started.event.body.clone()),
            _ => None,
        });
        let object: serde_json::Value = serde_json::from_slice(&body.expect("a first record")).expect("an object");
        *found.entry(object["id"].as_u64().expect("an id")).or_default() += 1;
    }
    found
}

fn poll(daemon: &Daemon) -> PollInfo {
    let said = daemon.aura(&["poll", "show", "objects", "--json"]).success();
    serde_json::from_value(said.json()).expect("a poll")
}

fn once(ids: std::ops::RangeInclusive<u64>) -> BTreeMap<u64, usize> {
    ids.map(|id| (id, 1)).collect()
}

#[test]
fn each_object_is_told_once_however_often_the_daemon_is_killed() {
    let (receiver, provider) = (Receiver::start(), Provider::default());
    provider.serve(&receiver);
    provider.add(40);
    let mut daemon = Daemon::start();
    daemon.publish(&oldest(&receiver.url("/since"), "      start: all\n      pages: 2"));
    for round in 0..6_u64 {
        let begin = Instant::now();
        let live = Duration::from_millis(40 + round * 90);
        wait_until("a while", LIMIT, || begin.elapsed() > live);
        daemon.kill9();
        provider.add(9);
        daemon.up();
    }
    let all = provider.add(3);
    wait_until("the last object", LIMIT, || daemon.runs("objects").len() as u64 >= all);
    daemon.wait_quiet(LIMIT);
    assert_eq!(told(&daemon), once(1..=all));
    let info = wait_for("a look that found nothing", LIMIT, || Some(poll(&daemon)).filter(|info| !info.reading));
    assert_eq!((info.cursor.to_json(), info.error), (all.to_string(), None));
}

#[test]
fn newest_first_is_read_back_to_what_is_known_and_what_was_there_starts_nothing() {
    let (receiver, provider) = (Receiver::start(), Provider::default());
    provider.serve(&receiver);
    provider.add(12);
    let daemon = Daemon::start();
    let text = oldest(&receiver.url("/newest"), "      order: newest").replace("      cursor: \"{{ item.id }}\"\n", "");
    daemon.publish(&text);
    wait_until("the beginning", LIMIT, || poll(&daemon).begun);
    provider.add(13);
    wait_until("the new ones", LIMIT, || daemon.runs("objects").len() >= 13);
    let before = receiver.count("/newest");
    wait_until("looks that find nothing", LIMIT, || receiver.count("/newest") >= before + 2);
    daemon.wait_quiet(LIMIT);
    assert_eq!(told(&daemon), once(13..=25));
    let starts: Vec<u64> = daemon
        .runs("objects")
        .iter()
        .map(|head| daemon.wait_state(head.run, aura_protocol::run::RunState::Succeeded))
        .map(|journal| {
            journal.output("say").trim_start_matches(r#"{"id":"#).trim_end_matches('}').parse().expect("an id")
        })
        .collect();
    // What a page tells begins side by side, so two of one page may change places (docs/triggers.md).
    let page = |ids: &[u64]| ids.iter().copied().collect::<std::collections::BTreeSet<u64>>();
    let told: Vec<_> = [&starts[..5], &starts[5..10], &starts[10..]].map(page).into();
    assert_eq!(told, [(21..=25).collect(), (16..=20).collect(), (13..=15).collect()], "page by page: {starts:?}");
}

#[test]
fn a_provider_that_fails_is_left_alone_for_longer_and_people_see_why() {
    let (receiver, provider) = (Receiver::start(), Provider::default());
    provider.serve(&receiver);
    provider.add(3);
    provider.breaks(true);
    let daemon = Daemon::start();
    daemon.publish(&oldest(&receiver.url("/since"), "      start: all"));
    let info = wait_for("two failures", LIMIT, || Some(poll(&daemon)).filter(|info| info.failures >= 2));
    assert_eq!(info.state, "failing");
    assert_says(info.error.unwrap_or_default(), &["503"]);
    let said = daemon.aura(&["poll", "list"]).success();
    assert_says(&said.out, &["objects/new", "http every 1s", "failing", "503"]);
    let wait = info.next_ms.expect("a time") - info.last_ms.expect("a time");
    assert!((1_900..6_000).contains(&wait), "doubled, and some jitter: {wait}");
    provider.breaks(false);
    daemon.aura(&["poll", "now", "objects"]).success();
    wait_until("all of them", LIMIT, || daemon.runs("objects").len() == 3);
    wait_until("no error any more", LIMIT, || poll(&daemon).error.is_none());
    assert_eq!(told(&daemon), once(1..=3));
}

#[test]
fn a_cursor_is_set_and_reset_and_nothing_is_told_twice() {
    let (receiver, provider) = (Receiver::start(), Provider::default());
    provider.serve(&receiver);
    provider.add(5);
    let daemon = Daemon::start();
    daemon.publish(&oldest(&receiver.url("/since"), ""));
    wait_until("the beginning", LIMIT, || poll(&daemon).begun);
    provider.add(2);
    wait_until("two objects", LIMIT, || daemon.runs("objects").len() == 2);
    // What was there at the beginning is known by its keys: neither reading it again nor a reset tells it.
    daemon.aura(&["poll", "set", "objects", "1"]).success();
    let last = receiver.count("/since");
    wait_until("another look", LIMIT, || receiver.count("/since") >= last + 2);
    daemon.aura(&["poll", "reset", "objects/new", "--all"]).success();
    let last = receiver.count("/since");
    wait_until("another look", LIMIT, || receiver.count("/since") >= last + 2);
    assert_eq!(told(&daemon), once(6..=7));
    // A paused flow asks nobody; its cursor stays.
    daemon.ask().flow_pause(FlowPause { flow: "objects".into(), paused: true }).expect("paused");
    wait_until("rest", LIMIT, || poll(&daemon).state == "paused" && poll(&daemon).next_ms.is_none());
    let (all, at) = (provider.add(1), receiver.count("/since"));
    let begin = Instant::now();
    wait_until("a while", LIMIT, || begin.elapsed() > Duration::from_millis(1_500));
    assert!(receiver.count("/since") <= at + 1, "at most the look that had begun");
    daemon.ask().flow_pause(FlowPause { flow: "objects".into(), paused: false }).expect("resumed");
    wait_until("what came meanwhile", LIMIT, || daemon.runs("objects").len() == 3);
    assert_eq!(told(&daemon), once(6..=all));
    let said = daemon.aura(&["poll", "set", "nowhere", "1"]);
    assert_eq!(said.code, 3, "{said:?}");
    let count = provider.count();
    assert_eq!(count, 8);
}

#[test]
fn what_is_read_while_its_flow_is_switched_off_or_loses_its_trigger_is_told_afterwards() {
    let (receiver, provider) = (Receiver::start(), Provider::default());
    provider.serve(&receiver);
    provider.add(3);
    provider.is_slow(true);
    let daemon = Daemon::start();
    let text = oldest(&receiver.url("/since"), "      start: all");
    let asked = || receiver.count("/since");
    let enable = |enabled| daemon.ask().flow_enable(FlowEnable { flow: "objects".into(), enabled }).expect("switched");
    daemon.publish(&text);
    wait_until("a question", LIMIT, || asked() > 0);
    enable(false);
    wait_until("the end of the look", LIMIT, || poll(&daemon).state == "off" && poll(&daemon).last_ms.is_some());
    assert_eq!(told(&daemon), BTreeMap::new());
    enable(true);
    wait_until("all objects", LIMIT, || daemon.runs("objects").len() == 3);
    provider.add(2);
    let before = asked();
    wait_until("a question", LIMIT, || asked() > before);
    daemon
        .publish("aura: 1\nflow: objects\ntriggers: [{ id: by_hand, on: manual }]\nsteps: [{ id: a, set: { x: 1 } }]");
    let begin = Instant::now();
    wait_until("the answer", LIMIT, || begin.elapsed() > Duration::from_millis(1_000));
    daemon.publish(&text);
    wait_until("what is new", LIMIT, || daemon.runs("objects").len() == 5);
    assert_eq!(told(&daemon), once(1..=5));
}

#[test]
fn polls_that_wait_for_a_used_up_budget_keep_no_other_poll_from_looking() {
    let (receiver, provider) = (Receiver::start(), Provider::default());
    provider.serve(&receiver);
    provider.add(2);
    let daemon = Daemon::start();
    let base = receiver.url("/");
    let base = base.trim_end_matches('/');
    daemon.connect("shop", "shopify", &[("base_url", base), ("access_token", "token"), ("rate", "1/1h")]);
    for number in 0..10 {
        daemon.publish(&format!(
            "aura: 1\nflow: shop-{number}\ntriggers:\n  - id: new\n    on: poll\n    connection: shop\n    with: {{ every: 1s, uses: shopify.get_order, input: {{ id: \"1\" }}, key: \"{{{{ item.id }}}}\" }}\nsteps: [{{ id: a, set: {{ x: 1 }} }}]"
        ));
    }
    wait_until("nine that wait for the budget", LIMIT, || {
        let said = daemon.aura(&["poll", "list", "--json"]).success();
        said.out.matches("\"asking\"").count() >= 9
    });
    daemon.publish(&oldest(&receiver.url("/since"), "      start: all"));
    wait_until("what the other poll found", LIMIT, || daemon.runs("objects").len() == 2);
}

#[test]
fn a_source_that_changes_something_is_refused() {
    let daemon = Daemon::start();
    daemon.connect("mail", "sendgrid", &[("api_key", "SG.tests-only-0123456789")]);
    let text = "aura: 1\nflow: mails\ntriggers:\n  - id: new\n    on: poll\n    connection: mail\n    with: { every: 1m, uses: sendgrid.send_template, input: { to: a, template: b }, key: \"{{ item.id }}\" }\nsteps: [{ id: a, set: { x: 1 } }]";
    let error = daemon.apply(text).expect_err("a mail is no read");
    assert_says(format!("{:?}", error.findings), &["a source only reads, and `send_template` does not"]);
}
