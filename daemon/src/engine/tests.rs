//! The engine over a store in memory, where its neighbours say what a race would make them say.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use aura_integrations::http::{EgressPolicy, Http};
use aura_integrations::redact::Sink;
use aura_integrations::registry::Registry;
use aura_protocol::event::{Delivery, EventState};
use aura_protocol::flow::Flow;
use aura_protocol::rpc::{Actor, Role};
use aura_protocol::{EventId, FlowId, RequestId, TenantId};
use aura_storage::rows::{ConnectionRecord, InboxRow};
use aura_storage::{Key, Store, StoreOptions, Table, Txn};

use super::driver::lock;
use super::{Answer, Deps, Engine, Flows, Inside, Intake, Published};
use crate::catalog::Catalog;
use crate::clock::Clock;

const TENANT: TenantId = TenantId::DEFAULT;

/// The catalog, which says of each flow so many times that it is paused.
struct Said {
    catalog: Catalog,
    paused: AtomicUsize,
}

impl Flows for Said {
    fn ids(&self, tenant: TenantId) -> Vec<FlowId> {
        self.catalog.ids(tenant)
    }
    fn published(&self, tenant: TenantId, flow: FlowId) -> Option<Published> {
        self.catalog.published(tenant, flow)
    }
    fn is_paused(&self, tenant: TenantId, flow: FlowId) -> Option<bool> {
        let once = self.paused.fetch_update(Ordering::AcqRel, Ordering::Acquire, |left| left.checked_sub(1));
        if once.is_ok() { Some(true) } else { self.catalog.is_paused(tenant, flow) }
    }
    fn takers(&self, tenant: TenantId, what: Inside<'_>) -> Vec<FlowId> {
        self.catalog.takers(tenant, what)
    }
    fn version(&self, tenant: TenantId, flow: FlowId, version: &str) -> Option<Arc<Flow>> {
        self.catalog.version(tenant, flow, version)
    }
    fn connection(&self, tenant: TenantId, name: &str) -> Option<Arc<ConnectionRecord>> {
        self.catalog.connection(tenant, name)
    }
}

struct Rig {
    store: Store,
    catalog: Catalog,
    actor: Actor,
    said: Arc<Said>,
    clock: Clock,
}

impl Rig {
    fn new() -> Self {
        let store = Store::open(&StoreOptions::in_memory([7; 32])).unwrap();
        let (registry, clock) = (Arc::new(Registry::builtin()), Clock::demo());
        let catalog = Catalog::open(store.clone(), registry, clock.clone(), Sink::default()).unwrap();
        let actor = Actor { name: "test".to_owned(), role: Role::Owner, tenant: TENANT, request: RequestId::now() };
        let said = Arc::new(Said { catalog: catalog.clone(), paused: AtomicUsize::new(0) });
        Self { store, catalog, actor, said, clock }
    }

    /// A flow that takes an event from inside and does next to nothing.
    async fn flow(&self, name: &str) -> FlowId {
        let text = format!(
            "aura: 1\nflow: {name}\ntriggers:\n  - {{ id: told, on: event, with: {{ name: paid }} }}\nsteps: [{{ id: got, set: {{ n: 1 }} }}]\n"
        );
        self.catalog.apply(&self.actor, &text).await.unwrap();
        self.catalog.publish(&self.actor, name).await.unwrap();
        self.catalog.flow_id(name).unwrap()
    }

    async fn engine(&self) -> Engine {
        let deps = Deps {
            reached: "https://hooks.example.com".into(),
            store: self.store.clone(),
            flows: Arc::clone(&self.said) as Arc<dyn Flows>,
            clock: self.clock.clone(),
            registry: Arc::new(Registry::builtin()),
            http: Arc::new(Http::new(EgressPolicy::default()).unwrap()),
            calls_max: 4,
            room: crate::room::Room::default(),
            hold: crate::hold::Hold::default(),
            runners: crate::config::Options::default().runners(),
            outgoing: super::outgoing::OutgoingOptions::default(),
            blobs: super::blobs::BlobLimits::default(),
        };
        Engine::start(deps).await.unwrap()
    }

    fn rows(&self, table: Table) -> usize {
        let from = Key::tenant(TENANT);
        self.store.keys(table, &from, &from.after_prefix(), usize::MAX).unwrap().len()
    }

    /// Accepts a delivery whose flow was paused, or was not, when it was read.
    async fn accept(&self, engine: &Engine, flow: FlowId, was_paused: bool) -> Answer {
        let published = Published { paused: was_paused, ..self.catalog.published(TENANT, flow).unwrap() };
        let delivery = delivery();
        let shown = delivery.to_trigger();
        let intake = Intake {
            tenant: TENANT,
            flow: published,
            trigger: 0,
            delivery,
            shown,
            delivery_id: None,
            anew: false,
            note: None,
            relayed: None,
        };
        engine.accept(intake, engine.asks()).await.unwrap()
    }
}

fn delivery() -> Delivery {
    Delivery {
        event: EventId::now(),
        trigger: "told".to_owned(),
        method: super::emitted::EMIT.to_owned(),
        query: String::new(),
        headers: vec![("content-type".to_owned(), "application/json".to_owned())],
        body: b"{}".to_vec(),
        blob: None,
        came: None,
        received_ms: 1_800_000_000_000,
    }
}

async fn wait_until(what: &str, holds: impl Fn() -> bool) {
    let waited = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), waited).await.unwrap_or_else(|_| panic!("no {what}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resume_that_comes_between_the_look_and_the_count_leaves_nothing_held() {
    let rig = Rig::new();
    let flow = rig.flow("resumed").await;
    let engine = rig.engine().await;
    // It is looked before the lock and under it; after that, and before it is counted, the flow is resumed.
    rig.said.paused.store(2, Ordering::Release);
    let held = rig.accept(&engine, flow, true).await;
    assert_eq!(held.ack.state, EventState::Held);
    wait_until("run of what was held", || rig.rows(Table::Runs) == 1 && engine.held_back(flow) == 0).await;
    let next = rig.accept(&engine, flow, true).await;
    assert_eq!(next.ack.state, EventState::Started, "what was read before the resume does not count");
    assert_eq!((rig.rows(Table::Held), engine.held_back(flow)), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_read_before_a_pause_that_was_answered_is_held() {
    let rig = Rig::new();
    let flow = rig.flow("halted").await;
    let engine = rig.engine().await;
    rig.catalog.pause(&rig.actor, "halted", true).await.unwrap();
    let held = rig.accept(&engine, flow, false).await;
    assert_eq!((held.ack.state, rig.rows(Table::Runs)), (EventState::Held, 0));
    rig.catalog.pause(&rig.actor, "halted", false).await.unwrap();
    engine.flow_changed(TENANT, flow).await;
    wait_until("run of what was held", || rig.rows(Table::Runs) == 1 && engine.held_back(flow) == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_flow_that_is_gone_for_good_nothing_is_left() {
    let rig = Rig::new();
    let text = "aura: 1\nflow: brief\ntriggers:\n  - { id: told, on: event, with: { name: paid }, batch: { max: 9, for: 1h } }\n  - { id: nightly, on: schedule, with: { cron: '0 3 * * *', zone: UTC } }\n  - { id: asked, on: poll, with: { every: 1h, http: { url: 'https://127.0.0.1:1/' }, key: '{{ item.id }}' } }\nsteps: [{ id: got, set: { n: 1 } }]\n";
    rig.catalog.apply(&rig.actor, text).await.unwrap();
    rig.catalog.publish(&rig.actor, "brief").await.unwrap();
    let flow = rig.catalog.flow_id("brief").unwrap();
    let engine = rig.engine().await;
    rig.accept(&engine, flow, false).await;
    let tables = [Table::Held, Table::Schedules, Table::Polls, Table::Versions, Table::Flows];
    assert_eq!(tables.map(|table| rig.rows(table) > 0), [true; 5]);
    rig.catalog.flow_delete(&rig.actor, "brief").await.unwrap();
    engine.flow_changed(TENANT, flow).await;
    assert_eq!(rig.catalog.empty_bin(TENANT).await.unwrap(), [], "it can come back for 30 days");
    rig.clock.advance(31 * 86_400_000);
    assert_eq!(rig.catalog.empty_bin(TENANT).await.unwrap(), [flow]);
    engine.flow_gone(flow);
    assert_eq!(tables.map(|table| rig.rows(table)), [0; 5]);
    assert!(lock(&engine.driver().held).len() == 0 && engine.driver().unarmed().is_empty());
    assert!(engine.schedules(TENANT, Some(flow), 1).is_empty() && engine.polls(TENANT, Some(flow)).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_could_not_be_held_is_not_counted() {
    let rig = Rig::new();
    let flow = rig.flow("uncounted").await;
    let engine = rig.engine().await;
    rig.store.close().await;
    let published = rig.catalog.published(TENANT, flow).unwrap();
    // Nobody can make keys for another tenant any more.
    let other = TenantId::from_bytes([9; 16]);
    let held = engine.driver().hold_back(other, &published, "told", &delivery(), &mut Txn::new());
    assert!(held.is_err());
    assert_eq!(engine.held_back(flow), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn notes_beyond_memory_are_taken_and_those_that_cannot_be_are_in_nobodys_way() {
    const LOST: usize = 24;
    const GOOD: usize = 60;
    let rig = Rig::new();
    let (lost, good) = (rig.flow("lost").await, rig.flow("good").await);
    let mut txn = Txn::new();
    // Nobody can begin a run of a version that is not there.
    let versions = Key::tenant(TENANT).id(lost.bytes());
    for key in rig.store.keys(Table::Versions, &versions, &versions.after_prefix(), 10).unwrap() {
        txn.delete(Table::Versions, key);
    }
    for (run, flow, count) in [([0; 16], lost, LOST), ([1; 16], good, GOOD)] {
        for _ in 0..count {
            let delivery = delivery();
            let key = Key::tenant(TENANT).id(run).id(delivery.event.bytes());
            let row = InboxRow::Event { flow, delivery: Box::new(delivery) };
            rig.store.put(&mut txn, TENANT, Table::Inbox, key, &row).unwrap();
        }
    }
    rig.store.commit(txn).await.unwrap();
    let engine = rig.engine().await;
    wait_until("runs of all that can be taken", || rig.rows(Table::Runs) == GOOD).await;
    assert_eq!(rig.rows(Table::Inbox), LOST, "the others wait");
    let most = lock(&engine.driver().taking).most;
    assert!(most <= 16, "{most} names at once");
    // What comes now is taken as well.
    rig.flow("later").await;
    let later = rig.catalog.flow_id("later").unwrap();
    rig.accept(&engine, later, false).await;
    assert_eq!(rig.rows(Table::Runs), GOOD + 1);
}

#[tokio::test]
async fn only_flows_that_have_a_trigger_for_what_happens_inside_are_asked() {
    let rig = Rig::new();
    let mut flows = Vec::new();
    for name in ["paid", "sent"] {
        flows.push(rig.flow(name).await);
    }
    let alarm = "aura: 1\nflow: alarm\ntriggers:\n  - { id: a, on: flow_failed, with: { flows: [paid] } }\n  - { id: b, on: flow_failed }\n  - { id: told, on: event, with: { name: paid } }\nsteps: [{ id: got, set: { n: 1 } }]\n";
    rig.catalog.apply(&rig.actor, alarm).await.unwrap();
    let check = |what: Inside<'_>, expected: &[FlowId]| {
        let (mut found, mut expected) = (rig.catalog.takers(TENANT, what), expected.to_vec());
        found.sort_unstable();
        expected.sort_unstable();
        assert_eq!(found, expected, "{what:?}");
    };
    check(Inside::Failed, &[]);
    rig.catalog.publish(&rig.actor, "alarm").await.unwrap();
    flows.push(rig.catalog.flow_id("alarm").unwrap());
    check(Inside::Emitted("paid"), &flows);
    check(Inside::Emitted("lost"), &[]);
    check(Inside::Failed, &flows[2..]);
    let other = alarm
        .replace("flow_failed", "event")
        .replace("flows: [paid]", "name: x")
        .replace("b, on: event", "b, on: event, with: { name: y }");
    rig.catalog.apply(&rig.actor, &other).await.unwrap();
    rig.catalog.publish(&rig.actor, "alarm").await.unwrap();
    check(Inside::Failed, &[]);
    check(Inside::Emitted("y"), &flows[2..]);
    let again =
        Catalog::open(rig.store.clone(), Arc::new(Registry::builtin()), Clock::system(), Sink::default()).unwrap();
    assert_eq!(again.takers(TENANT, Inside::Emitted("x")), &flows[2..], "as it is read at a start");
}
