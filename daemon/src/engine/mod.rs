//! The engine: durable runs. `core` is pure; this handle drives it.
//!
//! Others see [`Engine`] (accept, run, cancel, resolve), the [`Flows`] it asks for definitions, and
//! nothing of its insides.

mod admission;
mod asked;
mod backlog;
pub mod blobs;
mod callbacks;
mod calls;
mod carried;
mod child;
pub mod core;
mod driver;
mod emitted;
mod force;
mod gate;
mod groups;
mod held;
mod held_back;
mod intake;
pub mod kinds;
pub mod kv;
pub mod limited;
pub mod limits;
pub(crate) mod links;
mod meet;
mod migrate;
pub mod outgoing;
pub mod repeats;
pub mod replays;
mod schedules;
mod sources;
mod takers;
#[cfg(test)]
mod tests;
mod timers;
pub mod tries;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use aura_integrations::{http::Http, registry::Registry};
use aura_protocol::event::{Ack, Delivery};
use aura_protocol::flow::Flow;
use aura_protocol::rpc::{
    Actor, BackfillAsk, BackfillControl, BackfillInfo, BackfillPlan, PollChange, PollInfo, ScheduleBackfill,
    ScheduleBackfilled, ScheduleInfo, SchedulePause, ScheduleRef,
};
use aura_protocol::run::{Resolution, RunHead, RunState};
use aura_protocol::{FlowId, RunId, SubscriptionId, TenantId, Value, WireError};
use aura_storage::rows::ConnectionRecord;
use aura_storage::rows::outgoing::SubscriptionRecord;
use aura_storage::rows::relay::TakenRow;
use aura_storage::{Key, Store};

use crate::clock::Clock;
use crate::hold::Hold;
use crate::reached::Reached;
use crate::room::{Room, Tight};
use crate::runner::pool::Pool;
pub use admission::Asking;
pub use asked::{Opened, VotedBy};
pub use callbacks::CalledBack;
use carried::CarriedOn;
use core::Input;
use driver::{Driver, EngineError};

/// A flow that takes events.
#[derive(Clone, Debug)]
pub struct Published {
    /// Id.
    pub id: FlowId,
    /// Name.
    pub name: String,
    /// Version hash.
    pub version: String,
    /// Definition.
    pub flow: Arc<Flow>,
    /// Takes events.
    pub enabled: bool,
    /// What it takes is held until it is resumed.
    pub paused: bool,
}

impl Published {
    /// Whether its events start runs now.
    #[must_use]
    pub fn starts(&self) -> bool {
        self.enabled && !self.paused
    }
}

/// What happens inside, for which flows have triggers.
#[derive(Clone, Copy, Debug)]
pub enum Inside<'a> {
    /// An event of this name, of an `emit` step.
    Emitted(&'a str),
    /// A run that failed.
    Failed,
}

/// Where definitions and connections come from (the catalog).
pub trait Flows: Send + Sync + 'static {
    /// All flows.
    fn ids(&self, tenant: TenantId) -> Vec<FlowId>;
    /// The published version of a flow now.
    fn published(&self, tenant: TenantId, flow: FlowId) -> Option<Published>;
    /// Whether a flow holds its events now; none: it is not published any more.
    fn is_paused(&self, tenant: TenantId, flow: FlowId) -> Option<bool> {
        self.published(tenant, flow).map(|flow| flow.paused)
    }
    /// Flows whose triggers may take what happened inside: found without a look at all flows, since every failed run
    /// asks.
    fn takers(&self, tenant: TenantId, what: Inside<'_>) -> Vec<FlowId>;
    /// A certain version, for runs that started with it.
    fn version(&self, tenant: TenantId, flow: FlowId, version: &str) -> Option<Arc<Flow>>;
    /// A connection or named secret by name, secrets included: never shown, never logged.
    fn connection(&self, tenant: TenantId, name: &str) -> Option<Arc<ConnectionRecord>>;
    /// Subscriptions that get an event of this type and customer, enabled or not.
    fn subscribers(&self, _tenant: TenantId, _kind: &str, _customer: Option<&str>) -> Vec<Arc<SubscriptionRecord>> {
        Vec::new()
    }
    /// A subscription that is not in the bin, secrets included.
    fn subscription(&self, _tenant: TenantId, _id: SubscriptionId) -> Option<Arc<SubscriptionRecord>> {
        None
    }
    /// All of them, those in the bin too.
    fn subscription_ids(&self, _tenant: TenantId) -> Vec<SubscriptionId> {
        Vec::new()
    }
    /// The variables that a new run reads, as an object; null if it reads none.
    fn variables(&self, _tenant: TenantId, _wanted: &aura_protocol::flow::Variables) -> Value {
        Value::Null
    }
}

/// What the engine is built from.
#[derive(Clone)]
pub struct Deps {
    /// The store.
    pub store: Store,
    /// Definitions.
    pub flows: Arc<dyn Flows>,
    /// Time.
    pub clock: Clock,
    /// Connectors.
    pub registry: Arc<Registry>,
    /// The one way out.
    pub http: Arc<Http>,
    /// Calls at work at the same time (default 64).
    pub calls_max: usize,
    /// Whether there is room for more.
    pub room: Room,
    /// Whether anything may start.
    pub hold: Hold,
    /// How outgoing webhooks are sent.
    pub outgoing: outgoing::OutgoingOptions,
    /// How much outputs and runs may hold.
    pub blobs: blobs::BlobLimits,
    /// Where scripts run.
    pub runners: Pool,
    /// How the HTTP door is reached from outside, for addresses of callbacks.
    pub reached: Reached,
}

/// A delivery that passed the door: verified, bounded, not yet accepted.
#[derive(Clone, Debug)]
pub struct Intake {
    /// Tenant.
    pub tenant: TenantId,
    /// The flow.
    pub flow: Published,
    /// Position of the trigger in `flow.triggers`.
    pub trigger: usize,
    /// The delivery; its event id and time are set by the door.
    pub delivery: Delivery,
    /// `trigger` in expressions, read from the delivery once.
    pub shown: Value,
    /// The sender's own id of this delivery (scheme's header, or `Idempotency-Key`), for dedupe by default.
    pub delivery_id: Option<String>,
    /// Somebody delivers it again: what the trigger says of repeats does not count, only `delivery_id` does.
    pub anew: bool,
    /// The row of the inbox that brought it; it goes with what becomes of the event.
    pub note: Option<Key>,
    /// A relay brought it: the row that remembers so is part of what becomes of the event, and nobody waits for a reply.
    pub relayed: Option<(Key, TakenRow)>,
}

/// What the sender hears.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The acknowledgement; always its event id goes into the header `Aura-Event-Id`.
    pub ack: Ack,
    /// What the run's `respond` said, if the trigger replies so and it came in time.
    pub reply: Option<Response>,
}

/// The flow's own answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// Status.
    pub status: u16,
    /// Headers.
    pub headers: Vec<(String, String)>,
    /// Body.
    pub body: Vec<u8>,
}

/// Why an event was not accepted: nothing of it is stored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The writer's queue is full, or too many events are held: 503 or 429 with `Retry-After`.
    #[error("the daemon is busy; send again in {retry_after_s} s")]
    Busy {
        /// Seconds.
        retry_after_s: u32,
    },
    /// Nothing may start now: 503 with `Retry-After`.
    #[error("no events are taken right now; send again in {retry_after_s} s")]
    Held {
        /// Seconds.
        retry_after_s: u32,
    },
    /// The flow does not take events now.
    #[error("the flow takes no events")]
    Disabled,
    /// There is no room: 503, or 429 if it is the tenant's quota, with `Retry-After`.
    #[error("there is no room for more")]
    NoRoom(Tight),
    /// The store failed; not promised.
    #[error("{0}")]
    Store(String),
}

/// The engine. Cheap to clone.
#[derive(Clone)]
pub struct Engine(Arc<Parts>);

/// What stays when the store had to be opened again; the driver's memory does not.
struct Parts {
    deps: Deps,
    repeats: Arc<repeats::Repeats>,
    driver: RwLock<Arc<Driver>>,
    /// One renewal at a time.
    renewing: tokio::sync::Mutex<()>,
    draining: AtomicBool,
}

/// References to stored values are ours alone: what a client sends holds none.
fn no_references(value: &Value) -> Result<(), WireError> {
    if value.has_blob() {
        return Err(WireError::new(aura_protocol::Code::Invalid, "the value holds a reference to a stored value"));
    }
    Ok(())
}

impl Engine {
    /// Loads what lives, resumes it and starts the timer task.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn start(deps: Deps) -> anyhow::Result<Self> {
        let repeats = Arc::default();
        let driver = begun(&deps, &repeats).await?;
        Ok(Self(Arc::new(Parts {
            deps,
            repeats,
            driver: RwLock::new(driver),
            renewing: tokio::sync::Mutex::new(()),
            draining: AtomicBool::new(false),
        })))
    }

    fn driver(&self) -> Arc<Driver> {
        Arc::clone(&self.0.driver.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The store was opened again after a fault: forgets everything and resumes from what is stored, as a start
    /// does. What is still at work for the old memory cannot write any more: its handle is of the old opening.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn renew(&self) -> anyhow::Result<()> {
        let _one = self.0.renewing.lock().await;
        let old = self.driver();
        if old.deps.store.epoch() == self.0.deps.store.epoch() {
            return Ok(());
        }
        old.stopping.cancel();
        old.retired.cancel();
        old.tasks.close();
        // Only so that a call is not made twice at the same time; what hangs is fenced anyway.
        let _ = tokio::time::timeout(Duration::from_secs(2), old.tasks.wait()).await;
        let new = begun(&self.0.deps, &self.0.repeats).await?;
        if self.0.draining.load(Ordering::Acquire) {
            new.stopping.cancel();
        }
        *self.0.driver.write().unwrap_or_else(PoisonError::into_inner) = new;
        Ok(())
    }

    /// A restored store goes on: what waited is delivered, started and armed.
    ///
    /// # Errors
    /// If the store cannot be read or written: it stays paused.
    pub async fn go_on(&self) -> Result<(), WireError> {
        let driver = self.driver();
        driver.deps.store.resume().await.map_err(EngineError::from)?;
        self.0.deps.hold.restored(None);
        driver.go_on(TenantId::DEFAULT).await?;
        driver.wake.notify_one();
        Ok(())
    }

    /// Whether anything may start.
    #[must_use]
    pub fn hold(&self) -> &Hold {
        &self.0.deps.hold
    }

    /// Whether one more delivery would be told to come back.
    #[must_use]
    pub fn is_full(&self) -> bool {
        let driver = self.driver();
        let behind = driver::lock(&driver.backlog).len();
        driver.admission.is_full(behind)
    }

    /// Counts somebody who asks to be let in, from the head of the delivery to its promise or refusal.
    #[must_use]
    pub fn asks(&self) -> Asking {
        self.driver().admission.asks()
    }

    /// Calls that wait for one of the places of `calls_max`.
    #[must_use]
    pub fn calls_waiting(&self) -> usize {
        driver::lock(&self.driver().backlog).len()
    }

    /// Whether there is no room for anything more: nothing is accepted, and nothing else is stored that may be left out.
    #[must_use]
    pub fn is_tight(&self) -> bool {
        self.0.deps.room.tight().is_some()
    }

    /// Accepts a delivery: returns after the commit (and after `respond`, if the trigger replies so).
    ///
    /// What was begun goes on if the caller stops waiting.
    ///
    /// # Errors
    /// Busy, disabled, no room or store failure: then nothing is promised.
    pub async fn accept(&self, intake: Intake, asking: Asking) -> Result<Answer, Refusal> {
        let driver = self.driver();
        if driver.stopping.is_cancelled() {
            return Err(Refusal::Busy { retry_after_s: 2 });
        }
        if let Some(why) = self.0.deps.hold.why() {
            return Err(Refusal::Held { retry_after_s: why.retry_after_s() });
        }
        if !intake.flow.enabled {
            return Err(Refusal::Disabled);
        }
        if let Some(why) = self.0.deps.room.tight() {
            return Err(Refusal::NoRoom(why));
        }
        let busy = Refusal::Busy { retry_after_s: 1 };
        let Some(place) = driver.admission.enter(asking).await else { return Err(busy) };
        let Some(permit) = driver.deps.store.try_reserve() else { return Err(busy) };
        let tasks = driver.tasks.clone();
        CarriedOn::new(tasks, async move { driver.accept(intake, permit, place).await }).await
    }

    /// Deliveries that repeated an earlier event.
    #[must_use]
    pub fn repeats(&self) -> &repeats::Repeats {
        &self.0.repeats
    }

    /// Starts a run by hand; a repeat of the actor's request id gives the same run.
    ///
    /// # Errors
    /// As the wire says.
    pub async fn run(&self, actor: &Actor, flow: Published, input: Value) -> Result<RunHead, WireError> {
        self.0.deps.room.wanted()?;
        if let Some(why) = self.0.deps.hold.why() {
            let error = WireError::new(aura_protocol::Code::Conflict, format!("no run can start now: {}", why.text()));
            return Err(error.hint("`aura status` says when it can"));
        }
        let (tenant, request, by) = (actor.tenant, actor.request.bytes(), actor.name.clone());
        no_references(&input)?;
        self.detached(|driver| async move { driver.run_by_hand(tenant, flow, input, request, &by).await }).await
    }

    /// Where scripts run.
    #[must_use]
    pub fn runners(&self) -> Pool {
        self.0.deps.runners.clone()
    }

    /// Asks a run to end.
    ///
    /// # Errors
    /// Not found, or already ended.
    pub async fn cancel(&self, actor: &Actor, run: RunId, reason: &str) -> Result<RunHead, WireError> {
        let (tenant, by, reason) = (actor.tenant, actor.name.clone(), reason.to_owned());
        let (cancel, request) = (Input::Cancel { by, reason }, actor.request.bytes());
        self.detached(|driver| async move { driver.decide_once(tenant, run, cancel, request).await }).await
    }

    /// Holds a run where it is, or lets it go on.
    ///
    /// # Errors
    /// Not found, queued, ending or ended; or not paused.
    pub async fn pause(&self, actor: &Actor, run: RunId, paused: bool, reason: &str) -> Result<RunHead, WireError> {
        let (tenant, by, reason) = (actor.tenant, actor.name.clone(), reason.to_owned());
        let (input, request) = (if paused { Input::Pause { by, reason } } else { Input::Resume { by } }, actor.request);
        self.detached(|driver| async move { driver.decide_once(tenant, run, input, request.bytes()).await }).await
    }

    /// Ends a run as it stands, also one that cannot be read.
    ///
    /// # Errors
    /// Not found, or already ended.
    pub async fn force_finish(
        &self,
        actor: &Actor,
        run: RunId,
        state: RunState,
        reason: &str,
    ) -> Result<RunHead, WireError> {
        let (tenant, by, reason) = (actor.tenant, actor.name.clone(), reason.to_owned());
        let request = actor.request.bytes();
        self.detached(|driver| async move { driver.force_finish(tenant, run, (state, by, reason), request).await })
            .await
    }

    /// Decides about a step in doubt.
    ///
    /// # Errors
    /// Not found, or the step is not in doubt.
    pub async fn resolve(&self, actor: &Actor, run: RunId, step: &str, how: Resolution) -> Result<RunHead, WireError> {
        if let Resolution::Done(output) = &how {
            no_references(output)?;
        }
        let resolve = Input::Resolve { path: step.to_owned(), resolution: how, by: actor.name.clone() };
        let (tenant, request) = (actor.tenant, actor.request.bytes());
        self.detached(|driver| async move { driver.decide_once(tenant, run, resolve, request).await }).await
    }

    /// Gives a step what it waits for, or will wait for.
    ///
    /// # Errors
    /// Not found, no wait, or it has come already.
    pub async fn signal(&self, actor: &Actor, run: RunId, step: &str, data: Value) -> Result<RunHead, WireError> {
        no_references(&data)?;
        let signal = Input::Signal { path: step.to_owned(), data, by: actor.name.clone() };
        let (tenant, request) = (actor.tenant, actor.request.bytes());
        self.detached(|driver| async move { driver.decide_once(tenant, run, signal, request).await }).await
    }

    /// Whether something from outside can be taken now.
    fn may_take(&self) -> Result<(), Refusal> {
        if let Some(why) = self.0.deps.hold.why() {
            return Err(Refusal::Held { retry_after_s: why.retry_after_s() });
        }
        match self.0.deps.room.tight() {
            Some(why) => Err(Refusal::NoRoom(why)),
            None => Ok(()),
        }
    }

    /// Somebody called the address of a wait.
    ///
    /// # Errors
    /// Busy, no room or store failure: then nothing is promised.
    pub async fn called_back(&self, code: String, data: Value) -> Result<CalledBack, Refusal> {
        self.may_take()?;
        if no_references(&data).is_err() {
            return Ok(CalledBack::Unknown);
        }
        let driver = self.driver();
        let work = Arc::clone(&driver);
        let task = driver.tasks.spawn(async move { work.called_back(TenantId::DEFAULT, &code, data).await });
        match task.await {
            Ok(Ok(said)) => Ok(said),
            Ok(Err(error)) => Err(Refusal::Store(error.to_string())),
            Err(_) => Err(Refusal::Store("the call could not be taken".to_owned())),
        }
    }

    /// Runs something to its end even if the caller stops waiting.
    async fn detached<T, F>(&self, work: impl FnOnce(Arc<Driver>) -> F) -> Result<T, WireError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, EngineError>> + Send + 'static,
    {
        let driver = self.driver();
        let task = driver.tasks.spawn(work(Arc::clone(&driver)));
        match task.await {
            Ok(result) => result.map_err(WireError::from),
            Err(_) => Err(WireError::internal("the request ended by a fault of the daemon; its log says more")),
        }
    }

    /// A flow was published, enabled or disabled: held rows are held back or armed again.
    pub async fn flow_changed(&self, tenant: TenantId, flow: FlowId) {
        let driver = self.driver();
        driver.limits_changed(tenant, flow);
        if driver.deps.flows.published(tenant, flow).is_some_and(|flow| flow.starts()) {
            driver.start_held_back(tenant, flow);
        }
        if let Err(error) = driver.rearm(tenant, flow).await {
            tracing::error!(%error, "held events could not be armed again");
        }
        if let Err(error) = driver.fit_schedules(tenant, flow).await {
            tracing::error!(%error, "the schedules of a flow could not be changed");
        }
        if let Err(error) = driver.fit_polls(tenant, flow).await {
            tracing::error!(%error, "the polls of a flow could not be changed");
        }
    }

    /// A flow is gone for good, with its rows: nothing is known of it any more.
    pub fn flow_gone(&self, flow: FlowId) {
        let driver = self.driver();
        driver.schedules.forget(flow);
        driver.polls.forget(flow);
        driver.backfills.forget(flow);
        driver::lock(&driver.held).forget(flow);
        driver::lock(&driver.held_back).forget(flow);
    }

    /// When the next schedule of each flow is due, in Unix milliseconds.
    #[must_use]
    pub fn next_by_flow(&self) -> std::collections::HashMap<FlowId, i64> {
        self.driver().next_by_flow()
    }

    /// The schedules of published flows (of one, if said) with so many next instants.
    #[must_use]
    pub fn schedules(&self, tenant: TenantId, flow: Option<FlowId>, count: usize) -> Vec<ScheduleInfo> {
        self.driver().list_schedules(tenant, flow, count)
    }

    /// Lets one schedule of a flow rest, or go on.
    ///
    /// # Errors
    /// No such schedule, or not stored.
    pub async fn pause_schedule(
        &self,
        actor: &Actor,
        asked: SchedulePause,
        flow: FlowId,
    ) -> Result<ScheduleInfo, WireError> {
        let driver = self.driver();
        driver.pause_schedule(actor, &asked.schedule, flow, asked.paused).await
    }

    /// One run of a schedule now, beside its instants.
    ///
    /// # Errors
    /// No such schedule, nothing may start now, or not stored.
    pub async fn run_schedule(&self, actor: &Actor, asked: ScheduleRef, flow: FlowId) -> Result<RunHead, WireError> {
        self.0.deps.room.wanted()?;
        if let Some(why) = self.0.deps.hold.why() {
            let error = WireError::new(aura_protocol::Code::Conflict, format!("no run can start now: {}", why.text()));
            return Err(error.hint("`aura status` says when it can"));
        }
        let driver = self.driver();
        driver.run_schedule(actor, &asked, flow).await
    }

    /// Plans runs of past instants of a schedule, and makes them.
    ///
    /// # Errors
    /// No such schedule, too many runs, another backfill of it goes on, it rests, or not stored.
    pub async fn backfill_schedule(
        &self,
        actor: &Actor,
        asked: ScheduleBackfill,
        flow: FlowId,
    ) -> Result<ScheduleBackfilled, WireError> {
        self.driver().backfill_schedule(actor, &asked, flow).await
    }

    /// Ends a backfill of a schedule.
    ///
    /// # Errors
    /// No such schedule, or not stored.
    pub async fn stop_backfill(
        &self,
        actor: &Actor,
        asked: ScheduleRef,
        flow: FlowId,
    ) -> Result<ScheduleInfo, WireError> {
        self.driver().stop_backfill(actor, &asked, flow).await
    }

    /// The polls of published flows (of one, if said).
    #[must_use]
    pub fn polls(&self, tenant: TenantId, flow: Option<FlowId>) -> Vec<PollInfo> {
        self.driver().list_polls(tenant, flow)
    }

    /// Looks now, moves a cursor, or begins anew.
    ///
    /// # Errors
    /// No such poll, or not stored.
    pub async fn change_poll(&self, tenant: TenantId, change: PollChange) -> Result<PollInfo, WireError> {
        self.driver().change_poll(tenant, change).await
    }

    /// What a backfill would mean.
    ///
    /// # Errors
    /// No source, or it cannot be read.
    pub async fn plan_backfill(
        &self,
        tenant: TenantId,
        flow: Published,
        ask: BackfillAsk,
    ) -> Result<BackfillPlan, WireError> {
        self.driver().plan_backfill(tenant, flow, ask).await
    }

    /// Begins a backfill; a repeat of the request finds that it is not over.
    ///
    /// # Errors
    /// No source, another one is not over, or not stored.
    pub async fn start_backfill(
        &self,
        actor: &Actor,
        flow: Published,
        ask: BackfillAsk,
    ) -> Result<BackfillInfo, WireError> {
        self.0.deps.room.wanted()?;
        self.driver().start_backfill(actor.tenant, flow, ask, &actor.name).await
    }

    /// All backfills that are remembered (of one flow, if said), newest first.
    #[must_use]
    pub fn backfills(&self, flow: Option<FlowId>) -> Vec<BackfillInfo> {
        self.driver().list_backfills(flow)
    }

    /// Holds a backfill, lets it go on, or ends it.
    ///
    /// # Errors
    /// No such backfill, it is over, or not stored.
    pub async fn change_backfill(&self, tenant: TenantId, what: BackfillControl) -> Result<BackfillInfo, WireError> {
        self.driver().change_backfill(tenant, what.id, what.what).await
    }

    /// Takes and gives back the engine's locks: returns only if nobody holds one for ever.
    pub fn touch(&self) {
        let driver = self.driver();
        drop(driver::lock(&driver.held));
        drop(driver::lock(&driver.gate));
        drop(driver.counts());
    }

    /// The opening of the store that the engine's memory is of.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.driver().deps.store.epoch()
    }

    /// Number of held event groups.
    #[must_use]
    pub fn held(&self) -> u64 {
        let driver = self.driver();
        let groups = u64::try_from(driver::lock(&driver.held).len()).unwrap_or(u64::MAX);
        groups.saturating_add(driver::lock(&driver.held_back).all())
    }

    /// Events held for a flow because it is, or was, paused.
    #[must_use]
    pub fn held_back(&self, flow: FlowId) -> u64 {
        driver::lock(&self.driver().held_back).of(flow)
    }

    /// Says of runs that wait behind a limit why, as things stand now; `always`: also if very many calls wait.
    pub fn tell_blocked(&self, heads: &mut [RunHead], always: bool) {
        self.driver().tell_blocked(heads, always);
    }

    /// A connection has other settings now: what it allows counts for calls that wait already.
    pub fn connection_changed(&self, tenant: TenantId, name: &str) {
        if let Some(record) = self.0.deps.flows.connection(tenant, name) {
            self.driver().budget_changed(&record);
        }
    }

    /// Unfinished runs by state.
    #[must_use]
    pub fn live(&self) -> Vec<(RunState, u64)> {
        self.driver().counts()
    }

    /// Takes no more work and waits (at most `grace`) for calls at work; what is left resumes at the next start.
    pub async fn drain(&self, grace: Duration) {
        self.0.draining.store(true, Ordering::Release);
        let driver = self.driver();
        driver.stopping.cancel();
        driver.tasks.close();
        let _ = tokio::time::timeout(grace, driver.tasks.wait()).await;
    }
}

/// A driver with everything that lives, resumed. Its handle of the store is of this opening only.
async fn begun(deps: &Deps, repeats: &Arc<repeats::Repeats>) -> anyhow::Result<Arc<Driver>> {
    let pinned = Deps { store: deps.store.pinned(), ..deps.clone() };
    let driver = Arc::new(Driver::new(pinned, Arc::clone(repeats)));
    let paused = deps.store.paused()?;
    deps.hold.restored(paused.map(|paused| paused.snapshot_ms));
    let runs = driver.read_live(TenantId::DEFAULT)?;
    // Also while paused, so that a person sees what is in doubt; the calls wait until they may be made.
    driver.recover(TenantId::DEFAULT, runs, paused.is_some_and(|paused| !paused.judged)).await;
    match paused {
        Some(paused) if !paused.judged => driver.deps.store.judged(paused).await?,
        Some(_) => {}
        None => driver.go_on(TenantId::DEFAULT).await?,
    }
    driver.read_schedules(TenantId::DEFAULT).await?;
    driver.read_polls(TenantId::DEFAULT).await?;
    driver.read_backfills(TenantId::DEFAULT)?;
    driver.read_subscriptions(TenantId::DEFAULT)?;
    driver.tasks.spawn(Arc::clone(&driver).outgoing());
    driver.tasks.spawn(Arc::clone(&driver).timers());
    driver.tasks.spawn(Arc::clone(&driver).schedules());
    driver.tasks.spawn(Arc::clone(&driver).poll());
    driver.tasks.spawn(Arc::clone(&driver).sweeps());
    driver.tasks.spawn(Arc::clone(&driver).rates());
    Ok(driver)
}
