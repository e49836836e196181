//! Sources: polls and backfills read a provider's objects and tell each to its flow once.
//!
//! Invariant: how far a source was read, the keys of its objects and the notes by which the flow takes them are one
//! transaction, so a kill at any moment tells nothing twice and leaves nothing out. [`page`] is pure; [`polls`] and
//! [`backfills`] say when what is read; [`super::takers`] has the notes taken.

pub mod backfills;
pub(crate) mod page;
pub mod plan;
pub mod polls;
pub(crate) mod sift;

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, MutexGuard};
use std::time::Duration;

use aura_integrations::ctx::CallCtx;
use aura_protocol::event::Delivery;
use aura_protocol::run::{CallOutcome, ErrorClass, StepError};
use aura_protocol::source::{Ask, BACKFILL, Source};
use aura_protocol::{EventId, FlowId, RunId, TenantId, Value};
use aura_storage::rows::InboxRow;
use aura_storage::{DedupeEntry, Key, Table, Txn};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::calls::Turn;
use super::core::Moment;
use super::driver::{Driver, EngineError, lock};
use super::kinds::http;
use super::limits::lanes::Need;
use page::Object;

/// One question may take this long.
const TIMEOUT: Duration = Duration::from_secs(60);
/// How often who waits for room looks again.
const BREATH: Duration = Duration::from_millis(50);
/// And later, if that takes long.
const BREATH_MAX: Duration = Duration::from_millis(200);
/// Objects of one transaction.
const CHUNK: usize = 64;
/// Bytes of one transaction's objects.
const CHUNK_BYTES: usize = 1024 * 1024;
/// The first pause after a failure.
const AGAIN_MS: i64 = 1_000;
/// The longest one.
const AGAIN_MAX_MS: i64 = 3_600_000;

/// The hash of an object's key in a backfill that tells again what was told.
pub(crate) type OwnKey<'a> = &'a dyn Fn(&str) -> [u8; 16];

/// What a question waits for besides its turn.
#[derive(Clone, Copy)]
pub(crate) struct Asking<'a> {
    /// Whether its answer is still wanted: somebody may change what asks for it while it waits.
    pub wanted: &'a (dyn Fn() -> bool + Sync),
    /// Of these it takes one with its turn, never before: who waits for a rate keeps nobody else out.
    pub places: Option<&'a Arc<Semaphore>>,
}

impl<'a> Asking<'a> {
    /// For whoever wants the answer as long as this holds.
    pub fn while_wanted(wanted: &'a (dyn Fn() -> bool + Sync)) -> Self {
        Self { wanted, places: None }
    }
}

/// What a provider said.
pub(crate) struct Said {
    pub answer: Result<Value, StepError>,
    /// To be kept until the answer is worked off.
    pub place: Option<OwnedSemaphorePermit>,
}

/// To whom objects are told.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Listener<'a> {
    pub tenant: TenantId,
    pub flow: FlowId,
    pub trigger: &'a str,
    /// Method of the events.
    pub method: &'a str,
    /// How long a key counts, in milliseconds.
    pub window_ms: i64,
}

/// What is written with objects that are told.
pub(crate) struct Told {
    pub txn: Txn,
    /// Names of the notes, to be handed over after the commit.
    pub notes: Vec<(Key, EventId)>,
}

/// Pieces of a page that are told in one transaction each; at least one, also of nothing.
pub(crate) fn chunks(objects: &[Object]) -> Vec<&[Object]> {
    let mut out = Vec::new();
    let mut rest = objects;
    while !rest.is_empty() {
        let mut bytes = 0_usize;
        let fits = rest.iter().take(CHUNK).take_while(|object| {
            bytes = bytes.saturating_add(object.body.len());
            bytes <= CHUNK_BYTES
        });
        let (one, more) = rest.split_at(fits.count().max(1).min(rest.len()));
        out.push(one);
        rest = more;
    }
    if out.is_empty() {
        out.push(objects);
    }
    out
}

/// When what failed so often in a row is tried again.
pub(crate) fn again_after(failures: u32, least_ms: i64, error: &StepError, moment: &Moment) -> i64 {
    let doubled = AGAIN_MS.max(least_ms).saturating_mul(1_i64 << failures.saturating_sub(1).min(20));
    let pause = doubled.min(AGAIN_MAX_MS.max(least_ms));
    let asked = error.retry_after_ms.and_then(|ms| i64::try_from(ms).ok()).unwrap_or(0);
    // Many that failed together must not come back together.
    let jitter = moment.below(u64::try_from(pause / 4).unwrap_or(0).max(1));
    pause.max(asked).saturating_add(i64::try_from(jitter).unwrap_or(0))
}

/// What the key of an object has in place of a run if a backfill told it.
pub(crate) fn of_backfill() -> RunId {
    RunId::from_bytes([0; 16])
}

/// Whether a backfill told an object that the poll of its trigger has not seen since.
pub(crate) fn is_of_backfill(entry: &DedupeEntry) -> bool {
    entry.run == Some(of_backfill())
}

/// When an event was made, in Unix milliseconds.
pub(crate) fn made_ms(event: EventId) -> i64 {
    let [a, b, c, d, e, f, ..] = event.bytes();
    i64::from_be_bytes([0, 0, a, b, c, d, e, f])
}

impl Driver {
    /// The key under which an object is known to a trigger.
    pub(crate) fn object_hash(&self, listener: &Listener<'_>, key: &str) -> [u8; 16] {
        let parts: [&[u8]; 3] = [&listener.flow.bytes(), listener.trigger.as_bytes(), key.as_bytes()];
        self.deps.store.index_hash(listener.tenant, "source", &parts)
    }

    /// Marks objects as known, and leaves a note of each for its flow if `tell`. Who tells holds the lock until the
    /// transaction is handed over: a poll and a backfill of one trigger may come upon one object at the same time.
    /// With a key of its own (`again`) an object counts as new unless that one is known.
    pub(crate) fn tell_objects(
        &self,
        _telling: &MutexGuard<'_, ()>,
        listener: &Listener<'_>,
        objects: &[Object],
        tell: bool,
        again: Option<OwnKey<'_>>,
    ) -> Result<Told, EngineError> {
        let mut told = Told { txn: Txn::new(), notes: Vec::new() };
        let moment = self.moment();
        let expires_ms = moment.now_ms.saturating_add(listener.window_ms);
        let (tenant, store) = (listener.tenant, &self.deps.store);
        for object in objects {
            let event = EventId::from_bytes(self.new_run(&moment).bytes());
            let (own, shared) = (again.map(|hash| hash(&object.key)), self.object_hash(listener, &object.key));
            let find = |hash: &[u8; 16]| store.dedupe_find(tenant, hash, moment.now_ms);
            let known = find(&shared);
            if own.map_or(known, |own| find(&own)).is_some() {
                continue;
            }
            let run = (listener.method == BACKFILL).then(of_backfill);
            let new = |hash| DedupeEntry { tenant, hash, event, run, expires_ms };
            // What the poll knew by itself it knows by itself also after a backfill told it again.
            let shared = known.map_or_else(|| new(shared), |known| DedupeEntry { expires_ms, ..known });
            for entry in own.map(new).into_iter().chain([shared]) {
                store.dedupe_remember(entry);
                told.txn.dedupe.push(entry);
            }
            if !tell {
                continue;
            }
            let delivery = Delivery {
                event,
                trigger: listener.trigger.to_owned(),
                method: listener.method.to_owned(),
                query: String::new(),
                headers: vec![
                    ("content-type".to_owned(), "application/json".to_owned()),
                    ("key".to_owned(), object.key.clone()),
                ],
                body: object.body.clone(),
                blob: None,
                received_ms: moment.now_ms,
                came: None,
            };
            let key = Key::tenant(tenant).id(listener.flow.bytes()).id(event.bytes());
            let row = InboxRow::Event { flow: listener.flow, delivery: Box::new(delivery) };
            store.put(&mut told.txn, tenant, Table::Inbox, key.clone(), &row)?;
            told.notes.push((key, event));
        }
        Ok(told)
    }

    /// Waits until there is room for more of what nobody waits for: live events and calls go first. `None`: it ends.
    pub(crate) async fn quiet(&self) -> Option<()> {
        loop {
            if self.stopping.is_cancelled() || self.retired.is_cancelled() {
                return None;
            }
            self.may_start().await;
            if !lock(&self.taking).is_busy() {
                return Some(());
            }
            tokio::time::sleep(BREATH).await;
        }
    }

    /// Whether a trigger reads this source and starts runs, as things stand now. Who tells objects asks under the lock
    /// of what is known, or what is read for nobody would be known and told to nobody.
    pub(crate) fn listens(&self, listener: &Listener<'_>, identity: &str) -> bool {
        let Some(flow) = self.goes_on(listener.tenant, listener.flow) else { return false };
        let trigger = flow.flow.triggers.iter().find(|trigger| trigger.id == listener.trigger);
        let source = trigger.and_then(|trigger| self.source_of(trigger));
        source.is_some_and(|source| source.identity == identity)
    }

    /// A place among the calls and room in a connection's budget, behind all calls of runs that wait. `None`: it ends,
    /// or the answer is not wanted any more.
    async fn background_turn(
        self: &Arc<Self>,
        tenant: TenantId,
        connection: Option<&str>,
        asking: Asking<'_>,
    ) -> Option<(Turn, Option<OwnedSemaphorePermit>)> {
        let need = Need { narrow: None, wide: connection.and_then(|name| self.budget_of(tenant, name)) };
        self.restore_need(tenant, &need);
        let mut breath = BREATH;
        loop {
            if self.stopping.is_cancelled() || self.retired.is_cancelled() || !(asking.wanted)() {
                return None;
            }
            // Both or none: nobody holds one of them while it waits for the other.
            let place = asking.places.map(|places| Arc::clone(places).try_acquire_owned());
            let full = matches!(place, Some(Err(_)));
            if !full && lock(&self.backlog).enter(&need, self.now_us()) {
                return Some((self.turn(need.lane()), place.and_then(Result::ok)));
            }
            drop(place);
            tokio::time::sleep(breath).await;
            breath = (breath * 2).min(BREATH_MAX);
        }
    }

    /// Asks a provider once, within its connection's budget. `None`: the daemon ends, or nobody wants the answer any
    /// more.
    pub(crate) async fn ask_source(
        self: &Arc<Self>,
        tenant: TenantId,
        source: &Source,
        input: &Value,
        asking: Asking<'_>,
    ) -> Option<Said> {
        let action = match &source.ask {
            Ask::Uses { action, .. } => Some(action.as_str()),
            Ask::Http => None,
        };
        self.ask_provider(tenant, action, source.connection(), input, asking).await
    }

    /// Asks a provider once: an action, or a request if none is named. `None`: the daemon ends, or nobody wants the
    /// answer any more.
    pub(crate) async fn ask_provider(
        self: &Arc<Self>,
        tenant: TenantId,
        action: Option<&str>,
        connection: Option<&str>,
        input: &Value,
        asking: Asking<'_>,
    ) -> Option<Said> {
        let (turn, place) = self.background_turn(tenant, connection, asking).await?;
        let Ok(slot) = Arc::clone(&self.slots).acquire_owned().await else { return None };
        if !(asking.wanted)() {
            return None;
        }
        if let Err(error) = self.uses_rates(tenant, &turn).await {
            let answer = Err(StepError::new(ErrorClass::Internal, error.to_string()));
            return Some(Said { answer, place });
        }
        let asked = async {
            let Some(action) = action else { return http::read(&self.deps.http, input, TIMEOUT).await };
            let record = connection.and_then(|name| self.deps.flows.connection(tenant, name));
            if let (Some(name), None) = (connection, &record) {
                let message = format!("there is no connection {name}; add it with `aura connection add {name} …`");
                let error = StepError::new(ErrorClass::Auth, message);
                return CallOutcome::Failed(error, aura_protocol::run::Reach::Unsent);
            }
            let sent = AtomicBool::new(false);
            let ctx = CallCtx {
                http: &self.deps.http,
                settings: record.as_ref().map_or(&[], |record| &record.settings),
                secrets: record.as_ref().map_or(&[], |record| &record.secrets),
                // A read needs no key; the same question may be asked again.
                key: "",
                timeout: TIMEOUT,
                now_ms: self.deps.clock.now_ms(),
                sent: &sent,
            };
            self.deps.registry.call(&ctx, action, input).await
        };
        let outcome = tokio::select! {
            biased;
            () = self.stopping.cancelled() => return None,
            () = self.retired.cancelled() => return None,
            outcome = tokio::time::timeout(TIMEOUT, asked) => outcome,
        };
        drop((slot, turn));
        self.pump_calls();
        let answer = match outcome.map(|outcome| self.clean(outcome)) {
            Ok(CallOutcome::Done(output)) => Ok(output),
            Ok(CallOutcome::Failed(error, _)) => Err(error),
            Err(_) => {
                let message = format!("no answer within {} s", TIMEOUT.as_secs());
                Err(StepError::new(ErrorClass::Timeout, message))
            }
        };
        Some(Said { answer, place })
    }
}
