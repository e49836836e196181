//! The catalog's promises that need no daemon: its lists fit their frames, rows are made once, files are planned together.

use std::sync::Arc;

use aura_integrations::redact::Sink;
use aura_integrations::registry::Registry;
use aura_protocol::relay::RouteSet;
use aura_protocol::rpc::{Actor, Connection, ConnectionAdd, FlowRow, Role, Webhook};
use aura_protocol::{ConnectionId, EventId, FlowId, RequestId, TenantId, wire};
use aura_storage::rows::{FlowRecord, HISTORY_MAX};
use aura_storage::{Key, Store, StoreOptions, Table, Txn};

use super::{CONNECTIONS_MAX, Catalog, ENDPOINTS_MAX, Entry, FLOWS_MAX, TITLE_MAX, TRIGGER_MAX, TRIGGERS_SHOWN, cut};
use crate::clock::Clock;

/// Longest name of a flow, trigger or connection.
const NAME: usize = 64;
/// Longest address of the door (`config::PUBLIC_URL_MAX`).
const URL: usize = crate::config::PUBLIC_URL_MAX;

fn long(bytes: usize) -> String {
    "x".repeat(bytes)
}

#[track_caller]
fn fits(row: &impl serde::Serialize, most: usize) {
    let one = wire::encode(row).unwrap().len();
    assert!(one * most + 1024 <= wire::FRAME_MAX, "{most} rows of {one} bytes are more than a frame");
}

#[test]
fn the_longest_lists_fit_one_frame() {
    let flow = FlowRow {
        id: FlowId::now(),
        flow: long(NAME),
        title: long(TITLE_MAX),
        enabled: true,
        paused: true,
        held: u64::MAX,
        published: Some(long(72)),
        draft: Some(long(72)),
        triggers: vec![long(TRIGGER_MAX); TRIGGERS_SHOWN + 1],
        next_ms: Some(i64::MAX),
        changed_ms: i64::MAX,
    };
    fits(&flow, FLOWS_MAX);
    let webhook = Webhook {
        flow: long(NAME),
        trigger: long(NAME),
        on: long(NAME),
        url: long(URL + "/hooks/".len() + 26),
        alias: Some(long(URL + "/hooks/default//".len() + 2 * NAME)),
        auth: long(NAME),
        secret_set: true,
        enabled: true,
        // At most OFFERS_SHOWN of all have one.
        offered: None,
        last_event: Some(EventId::now()),
        closed: true,
        allow: vec![long(43)],
        // At most ROTATIONS_SHOWN of all have them.
        secret_until_ms: None,
        address_until_ms: None,
        accepted: u64::MAX,
        refused: u64::MAX,
        last_ms: Some(i64::MAX),
    };
    fits(&webhook, ENDPOINTS_MAX);
    let pairs = vec![("x".repeat(8), "x".repeat(120)); 8];
    let connection = Connection {
        id: ConnectionId::now(),
        name: long(NAME),
        connector: long(NAME),
        settings: pairs,
        secrets: vec![long(24); 8],
        changed_ms: i64::MAX,
    };
    fits(&connection, CONNECTIONS_MAX);
}

#[test]
fn a_row_is_bounded_whatever_its_flow_says() {
    let triggers: String = (0..30).map(|n| format!("  - {{ id: t{n}, on: webhook, auth: none }}\n")).collect();
    let title = "\u{e9}".repeat(500);
    let text =
        format!("aura: 1\nflow: f\ntitle: {title}\ntriggers:\n{triggers}steps:\n  - id: a\n    set: {{ b: 1 }}\n");
    let record = FlowRecord {
        history: Vec::new(),
        hooks: Vec::new(),
        id: FlowId::now(),
        flow: "f".to_owned(),
        enabled: true,
        paused: false,
        deleted: None,
        published: None,
        draft: Some(text),
        endpoints: Vec::new(),
        changed_ms: 0,
    };
    let row = Entry::of(record, None).row;
    assert!(row.draft.is_some() && row.title.len() <= TITLE_MAX && row.title.ends_with("\u{e9}…"), "{row:?}");
    assert_eq!(row.triggers.len(), TRIGGERS_SHOWN + 1);
    assert_eq!(row.triggers[0], "t0: webhook");
    assert_eq!(row.triggers[TRIGGERS_SHOWN], "… and 22 more");
    assert_eq!((cut("abc", 3), cut("abcd", 3)), ("abc".to_owned(), "…".to_owned()));
}

#[tokio::test]
async fn files_are_planned_together() {
    let store = Store::open(&StoreOptions::in_memory([7; 32])).unwrap();
    let registry = Arc::new(Registry::builtin());
    let catalog = Catalog::open(store, registry, Clock::system(), Sink::default()).unwrap();
    let calls =
        |name: &str, other: &str| format!("aura: 1\nflow: {name}\nsteps: [{{ id: a, call: {{ flow: {other} }} }}]");
    let called = |name: &str, on: &str| {
        format!("aura: 1\nflow: {name}\ntriggers: [{{ id: in, on: {on} }}]\nsteps: [{{ id: a, set: {{ b: 1 }} }}]")
    };
    let check = |texts: &[String], expected: &[(&str, &str)]| {
        let planned = catalog.planned_all(texts);
        assert_eq!(planned.len(), expected.len());
        for ((planned, _), (change, note)) in planned.iter().zip(expected) {
            let notes = planned.notes.join("; ");
            assert_eq!(planned.change, *change, "{}: {notes}", planned.flow);
            assert_eq!(notes.is_empty(), note.is_empty(), "{}: {notes}", planned.flow);
            assert!(notes.contains(note), "{}: {notes}", planned.flow);
        }
    };
    check(&[calls("outer", "inner")], &[("new", "it calls inner, which is neither published nor among the files")]);
    check(&[calls("outer", "inner"), called("inner", "called")], &[("new", ""), ("new", "")]);
    let wrong = [calls("outer", "inner"), called("inner", "manual")];
    check(&wrong, &[("new", "it calls inner, which has no trigger `on: called`"), ("new", "")]);
    check(
        &[called("one", "manual"), called("one", "called")],
        &[("new", ""), ("refused", "another file is of the flow one")],
    );
}

#[tokio::test]
async fn a_version_with_unfinished_runs_is_in_the_history_however_long_ago_it_was_published() {
    let store = Store::open(&StoreOptions::in_memory([7; 32])).unwrap();
    let catalog = Catalog::open(store, Arc::new(Registry::builtin()), Clock::system(), Sink::default()).unwrap();
    let (role, request) = (Role::Owner, RequestId::now());
    let actor = Actor { name: "test".to_owned(), role, tenant: TenantId::DEFAULT, request };
    for number in 0..=HISTORY_MAX {
        let text = format!(
            "aura: 1\nflow: old\ntriggers: [{{ id: a, on: manual }}]\nsteps: [{{ id: got, set: {{ n: {number} }} }}]\n"
        );
        catalog.apply(&actor, &text).await.unwrap();
        catalog.publish(&actor, "old").await.unwrap();
    }
    let none = catalog.history("old", &|_| 0).unwrap();
    assert_eq!(none.len(), HISTORY_MAX);
    let named: Vec<&str> = none.iter().map(|row| row.version.as_str()).collect();
    let all = catalog.history("old", &|version| u64::from(!named.contains(&version))).unwrap();
    assert_eq!((all.len(), all.last().map(|row| (row.live, row.at_ms > 0))), (HISTORY_MAX + 1, Some((1, true))));
}

fn catalog_of(store: &Store) -> Catalog {
    Catalog::open(store.clone(), Arc::new(Registry::builtin()), Clock::system(), Sink::default()).unwrap()
}

/// A catalog with a flow that has a signed and an open endpoint, a schedule and a step with a secret word in it.
async fn with_endpoints(catalog: &Catalog) -> Actor {
    let (role, request) = (Role::Owner, RequestId::now());
    let actor = Actor { name: "test".to_owned(), role, tenant: TenantId::DEFAULT, request };
    for (name, value) in [("hook", "whsec_c2lnbmVkIGJ5IHRlc3Rz"), ("steps", "a value that only steps need")] {
        let fields = vec![("value".to_owned(), value.to_owned())];
        let add = ConnectionAdd { name: name.to_owned(), connector: "secret".to_owned(), fields, keep_ms: None };
        catalog.connection_add(&actor, add).await.unwrap();
    }
    let text = r#"
aura: 1
flow: shop
triggers:
  - { id: signed, on: webhook, auth: { scheme: standard_webhooks, secret: hook }, filter: "{{ trigger.body.n > 1 }}" }
  - { id: open, on: webhook, auth: none, allow: [203.0.113.0/24], with: { body_max: 5 MiB } }
  - { id: daily, on: schedule, with: { cron: "0 3 * * *" } }
steps: [{ id: a, set: { word: inner-word } }]
"#;
    catalog.apply(&actor, text).await.unwrap();
    catalog.publish(&actor, "shop").await.unwrap();
    actor
}

/// What the door of a catalog knows, in words.
fn doors(catalog: &Catalog) -> Vec<String> {
    let shown = catalog.webhooks("").into_iter().map(|hook| {
        let Webhook { url, auth, secret_set, enabled, closed, allow, .. } = hook;
        format!("{}/{} {url} {auth} {secret_set} {enabled} {closed} {allow:?}", hook.flow, hook.trigger)
    });
    shown.collect()
}

#[tokio::test]
async fn a_relay_has_the_doors_of_home_and_nothing_that_they_do_not_need() {
    let (at_home, at_relay) = (
        Store::open(&StoreOptions::in_memory([7; 32])).unwrap(),
        Store::open(&StoreOptions::in_memory([8; 32])).unwrap(),
    );
    let (home, relay) = (catalog_of(&at_home), catalog_of(&at_relay));
    let actor = with_endpoints(&home).await;
    let sent = home.for_relays(1 << 20);
    let bytes = wire::encode(&sent).unwrap();
    let has = |word: &[u8]| bytes.windows(word.len()).any(|window| window == word);
    for word in ["inner-word", "a value that only steps need", "daily", "n > 1"] {
        assert!(!has(word.as_bytes()), "{word} left home");
    }
    assert!(has(b"whsec_c2lnbmVkIGJ5IHRlc3Rz"));
    assert_eq!(wire::encode(&home.for_relays(1 << 20)).unwrap(), bytes, "the same as long as nothing changes");
    relay.mirror(sent.clone(), Txn::new()).await.unwrap();
    assert_eq!((doors(&relay).len(), doors(&relay)), (2, doors(&home)));
    assert_eq!(doors(&catalog_of(&at_relay)), doors(&home), "also behind a start");
    // One endpoint is closed and the other moves; then the flow is disabled, and at last gone.
    home.hook_close(&actor, "shop", "open", true).await.unwrap();
    home.hook_readdress(&actor, "shop", "signed", i64::MAX).await.unwrap();
    let old = doors(&relay);
    relay.mirror(home.for_relays(1 << 20), Txn::new()).await.unwrap();
    assert_ne!(doors(&relay), old);
    assert_eq!(doors(&relay), doors(&home));
    home.enable(&actor, "shop", false).await.unwrap();
    relay.mirror(home.for_relays(1 << 20), Txn::new()).await.unwrap();
    assert_eq!(doors(&catalog_of(&at_relay)), doors(&home));
    relay.mirror(RouteSet::default(), Txn::new()).await.unwrap();
    let rows = |table| at_relay.keys(table, &Key::new(), &Key(vec![255; 40]), 10).unwrap().len();
    let left = [Table::Flows, Table::Versions, Table::Connections].map(rows);
    assert_eq!((doors(&relay).len(), left), (0, [0, 0, 0]));
}

#[tokio::test]
async fn routes_that_are_none_change_nothing() {
    let (home, relay) = (
        catalog_of(&Store::open(&StoreOptions::in_memory([7; 32])).unwrap()),
        catalog_of(&Store::open(&StoreOptions::in_memory([8; 32])).unwrap()),
    );
    with_endpoints(&home).await;
    let sent = home.for_relays(1 << 20);
    relay.mirror(sent.clone(), Txn::new()).await.unwrap();
    let before = doors(&relay);
    let with = |change: &dyn Fn(&mut RouteSet)| {
        let mut set = sent.clone();
        change(&mut set);
        set
    };
    for (set, part) in [
        (with(&|set| set.flows.push(set.flows[0].clone())), "stands twice"),
        (with(&|set| set.proofs.push(set.proofs[0].clone())), "stands twice"),
        (with(&|set| set.flows[0].text = "no flow".to_owned()), "cannot be read"),
        (with(&|set| set.flows[0].text = set.flows[0].text.replace("webhook", "manual")), "takes no deliveries"),
        (with(&|set| set.flows[0].endpoints[0].1 = "../../etc".to_owned()), "is none"),
    ] {
        let error = relay.mirror(set, Txn::new()).await.unwrap_err();
        assert!(error.message.contains(part), "{error}");
        assert_eq!(doors(&relay), before);
    }
}
