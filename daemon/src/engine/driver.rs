//! Drives the core: one lock per run, one transaction per transition, calls only after the commit.
//!
//! Invariant: memory is ahead of the store only by transactions that are already in the writer's queue,
//! in the same order; so decisions on memory are decisions on what will be durable. If a commit fails this
//! driver's handle of the store is dead and another driver reads what is true ([`super::Engine::renew`]).
//! Lock order: intake, gate, kv, map of runs, one run, backlog; what is held back may be locked within any.

use std::collections::HashMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aura_protocol::approval::MayNot;
use aura_protocol::flow::{Effect, Span};
use aura_protocol::run::{Blocked, Record, RunHead, RunState as State, Transition};
use aura_protocol::{FlowId, RunId, TenantId, WireError};
use aura_storage::rows::{LiveRow, TimerRow, journal_key, run_key, timer_key};
use aura_storage::{CommitError, Key, ReadError, Receipt, Table, TailEntry, Txn};
use tokio::sync::{Notify, Semaphore, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::admission::Admission;
use super::backlog::Backlog;
use super::blobs::{Blobs, Kept};
use super::callbacks::DoorLinks;
use super::child::Note;
use super::core::bugs::{Bug, has};
use super::core::plan::Plan;
use super::core::replay::Impossible;
use super::core::scope::Stored;
use super::core::{Call, Input, Moment, Output, Place, Refused, RunState, step};
use super::gate::Gate;
use super::groups::HeldRows;
use super::held_back::HeldBack;
use super::kv::Keeper;
use super::meet::Met;
use super::outgoing::Outgoing;
use super::repeats::Repeats;
use super::schedules::Schedules;
use super::sources::backfills::Backfills;
use super::sources::polls::Polls;
use super::takers::Taking;
use super::{Deps, Response};

/// Why a transition did not happen.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// No such run.
    #[error("there is no run {0}")]
    NotFound(RunId),
    /// It does not apply.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// Its version cannot be run by this build.
    #[error("{0}")]
    Plan(String),
    /// Stored data is damaged or unreadable.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// There is no such replay.
    #[error(transparent)]
    Replay(#[from] Impossible),
    /// Too many runs wait behind one key.
    #[error("too many runs wait behind this concurrency key")]
    Full,
    /// The store did not commit.
    #[error(transparent)]
    Commit(#[from] CommitError),
}

impl From<EngineError> for WireError {
    fn from(error: EngineError) -> Self {
        use aura_protocol::Code;
        let code = match &error {
            EngineError::NotFound(_)
            | EngineError::Refused(Refused::UnknownStep(_))
            | EngineError::Replay(Impossible::Point(_)) => Code::NotFound,
            EngineError::Refused(Refused::MayNot(_, MayNot::Decided)) | EngineError::Replay(Impossible::Live) => {
                Code::Conflict
            }
            EngineError::Refused(Refused::MayNot(..)) => Code::Forbidden,
            EngineError::Refused(Refused::NoWait(_) | Refused::AsksNobody(_) | Refused::TooMuch(_))
            | EngineError::Replay(Impossible::Edit(_) | Impossible::TooLarge(_)) => Code::Invalid,
            EngineError::Refused(_) | EngineError::Commit(CommitError::Conflict(_)) => Code::Conflict,
            EngineError::Read(ReadError::Corrupt { .. }) => Code::Corrupt,
            EngineError::Full | EngineError::Commit(CommitError::Io(_) | CommitError::Reopened) => Code::Busy,
            EngineError::Plan(_) | EngineError::Read(_) | EngineError::Commit(_) => Code::Internal,
        };
        Self::new(code, error.to_string())
    }
}

/// A run in memory.
pub(crate) struct Live {
    pub tenant: TenantId,
    pub state: RunState,
    pub plan: Arc<Plan>,
    /// Due time of its timer row.
    pub timer: Option<i64>,
    /// Index hash of its concurrency key.
    pub slot: Option<[u8; 16]>,
    /// Index hash of the key of its flow's rate, while it is queued.
    pub rate: Option<[u8; 16]>,
    /// While it is queued: its place in the order of acceptance.
    pub turn: i64,
    /// While it is queued behind a throttle of its trigger: how many in how many milliseconds.
    pub throttle: Option<(u32, u64)>,
    /// Live row as last written.
    pub row: Option<LiveRow>,
    /// Calls at work.
    pub calls: HashMap<Place, InFlight>,
    /// While queued: why.
    pub blocked: Option<Blocked>,
}

impl Live {
    /// Whether reading its journal again is much work.
    fn is_long(&self) -> bool {
        self.state.transition >= LONG_JOURNAL || self.state.yielded_ms.is_some()
    }

    /// Whether it goes on by itself so soon that reading it again would be waste.
    fn comes_back_by(&self, soon: i64) -> bool {
        self.state.next_due().is_some_and(|due| due <= soon)
    }
}

/// A call at work.
#[derive(Clone)]
pub(crate) struct InFlight {
    pub attempt: u32,
    /// It knows its step by path; before, by its place in the version that it was begun under.
    pub named: Arc<AtomicBool>,
    /// A byte of it left.
    pub sent: Arc<AtomicBool>,
    /// Ends it, unless a byte left.
    pub unsent: CancellationToken,
    /// Ends it whatever it did; its answer does not matter.
    pub abort: CancellationToken,
}

impl InFlight {
    pub fn new(attempt: u32) -> Self {
        Self {
            attempt,
            named: Arc::new(AtomicBool::new(false)),
            sent: Arc::new(AtomicBool::new(false)),
            unsent: CancellationToken::new(),
            abort: CancellationToken::new(),
        }
    }
}

/// A run's place in memory; `None` until somebody reads it.
pub(crate) type Cell = Arc<Mutex<Option<Live>>>;

/// What is left to do once a transition is durable.
pub(crate) struct Done {
    pub receipt: Option<Receipt>,
    pub head: RunHead,
    pub calls: Vec<(Call, InFlight)>,
    /// Calls that waited for their turn and are not wanted any more.
    pub dropped: Vec<(String, u32)>,
    pub plan: Arc<Plan>,
    pub reply: Option<Response>,
    pub slot: Option<[u8; 16]>,
    /// It waited behind a limit until now, or holds one.
    pub gated: bool,
    pub wake: bool,
    /// For other runs.
    pub notes: Vec<Note>,
    /// Waits for events that began: hash and owner.
    pub meets: Vec<Met>,
    /// Large values of the transition, findable until it is durable.
    pub kept: Vec<Kept>,
}

/// The engine's insides.
pub(crate) struct Driver {
    pub deps: Deps,
    plans: Mutex<HashMap<(FlowId, String), Arc<Plan>>>,
    runs: Mutex<HashMap<RunId, Cell>>,
    pub gate: Mutex<Gate>,
    /// Held rows; its lock is the intake lock.
    pub held: Mutex<HeldRows>,
    /// What is held for paused flows.
    pub held_back: Mutex<HeldBack>,
    counts: Mutex<HashMap<State, u64>>,
    pub schedules: Schedules,
    pub polls: Polls,
    pub backfills: Backfills,
    /// Objects of sources are told by one at a time.
    pub telling: Mutex<()>,
    /// A timer row was written.
    pub wake: Notify,
    /// Somebody waits for a rate.
    pub rates_changed: Notify,
    /// Timers that are tried again later than their row says.
    pub put_off: Mutex<HashMap<Key, i64>>,
    /// What `kv` steps have submitted.
    pub kv: Mutex<Keeper>,
    /// Large values on their way to the store, and some that were read lately.
    pub blobs: Blobs,
    pub slots: Arc<Semaphore>,
    /// Calls that wait for one of those places.
    pub backlog: Mutex<Backlog>,
    /// Deliveries that are being decided and committed.
    pub admission: Admission,
    /// Keys under which somebody looks for runs that wait and for events, and who is to be seen by another look.
    pub meeting: Mutex<HashMap<[u8; 16], Vec<[u8; 16]>>>,
    /// Events from inside that are being taken.
    pub taking: Mutex<Taking>,
    /// Sendings to people outside: who is sent to now, and who when.
    pub sends: Outgoing,
    /// Events that repeated earlier ones, for lists.
    pub repeats: Arc<Repeats>,
    pub replies: Mutex<HashMap<RunId, Vec<oneshot::Sender<Option<Response>>>>>,
    pub stopping: CancellationToken,
    /// Its memory is given up: calls at work are dropped, their answers could not be recorded.
    pub retired: CancellationToken,
    pub tasks: TaskTracker,
}

/// Locks, also after a panic elsewhere: the data is guarded by the store, not by the lock.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A run with nothing at work stays in memory if its journal has so many transitions …
const LONG_JOURNAL: u64 = 64;
/// … it goes on by itself within this many milliseconds …
const SOON_MS: i64 = 60_000;
/// … and not more runs than this are in memory.
const KEPT_MAX: usize = 1024;

/// For each call that may be made at the same time so many have their runs in memory, to be ready when one ends.
const READY: usize = 4;
/// Plans kept in memory at most; they are compiled again when needed.
const PLANS_MAX: usize = 1024;

impl Driver {
    pub fn new(deps: Deps, repeats: Arc<Repeats>) -> Self {
        let slots = Arc::new(Semaphore::new(deps.calls_max.max(1)));
        let backlog = Mutex::new(Backlog::new(deps.calls_max.max(1).saturating_mul(READY)));
        let blobs = Blobs::new(deps.store.clone(), deps.blobs);
        let sends = Outgoing::new(&deps.outgoing);
        Self {
            deps,
            plans: Mutex::default(),
            runs: Mutex::default(),
            gate: Mutex::default(),
            held: Mutex::default(),
            held_back: Mutex::default(),
            counts: Mutex::default(),
            schedules: Schedules::default(),
            polls: Polls::default(),
            backfills: Backfills::default(),
            telling: Mutex::default(),
            wake: Notify::new(),
            rates_changed: Notify::new(),
            put_off: Mutex::default(),
            kv: Mutex::default(),
            blobs,
            slots,
            backlog,
            admission: Admission::new(),
            meeting: Mutex::default(),
            taking: Mutex::default(),
            sends,
            repeats,
            replies: Mutex::default(),
            stopping: CancellationToken::new(),
            retired: CancellationToken::new(),
            tasks: TaskTracker::new(),
        }
    }

    /// A fresh moment.
    pub fn moment(&self) -> Moment {
        let seed = aura_storage::random::draw().unwrap_or_else(|_| *uuid::Uuid::now_v7().as_bytes());
        Moment::new(self.deps.clock.now_ms(), seed)
    }

    /// A new run id of the engine's clock.
    pub fn new_run(&self, moment: &Moment) -> RunId {
        let draw = moment.draw();
        let mut random = [0; 10];
        random.iter_mut().zip(draw).for_each(|(to, from)| *to = from);
        RunId::from_parts(u64::try_from(moment.now_ms).unwrap_or(0), &random)
    }

    /// The compiled plan of a version.
    pub fn plan(&self, tenant: TenantId, flow: FlowId, version: &str) -> Result<Arc<Plan>, EngineError> {
        let key = (flow, version.to_owned());
        if let Some(plan) = lock(&self.plans).get(&key) {
            return Ok(Arc::clone(plan));
        }
        let missing = || EngineError::Plan(format!("version {version} of flow {flow} is not stored"));
        let definition = self.deps.flows.version(tenant, flow, version).ok_or_else(missing)?;
        let actions = |name: &str| {
            let action = self.deps.registry.action(name)?;
            let window =
                if action.key_window_ms == 0 { super::core::plan::KEY_WINDOW.ms } else { action.key_window_ms };
            Some((action.effect, Span::from_ms(window)))
        };
        let plan = Plan::compile(&definition, version, &actions)
            .map_err(|error| EngineError::Plan(format!("flow {}: {error}", definition.flow)))?;
        let mut plans = lock(&self.plans);
        if plans.len() >= PLANS_MAX {
            plans.clear();
        }
        plans.insert(key, Arc::clone(&plan));
        Ok(plan)
    }

    /// The place of a run in memory.
    pub fn cell(&self, run: RunId) -> Cell {
        Arc::clone(lock(&self.runs).entry(run).or_default())
    }

    /// The place of a run that is in memory.
    pub fn known_cell(&self, run: RunId) -> Option<Cell> {
        lock(&self.runs).get(&run).map(Arc::clone)
    }

    /// Forgets a run whose transaction was never handed over.
    pub fn forget(&self, run: RunId) {
        let cell = lock(&self.runs).remove(&run);
        let state = cell.and_then(|cell| lock(&cell).as_ref()?.row.map(|row| row.state));
        self.count(state, None);
    }

    /// Forgets a run that has nothing at work; its journal has everything.
    pub fn forget_idle(&self, run: RunId, cell: Cell) {
        let mut runs = lock(&self.runs);
        let soon = || self.deps.clock.now_ms().saturating_add(SOON_MS);
        let keep = |live: &Live| live.is_long() && runs.len() <= KEPT_MAX && live.comes_back_by(soon());
        let idle = lock(&cell).as_ref().is_none_or(|live| live.calls.is_empty() && !keep(live));
        if idle && Arc::strong_count(&cell) <= 2 {
            runs.remove(&run);
        }
        // While the map is locked, so that of two who come at once the later one counts right.
        drop(cell);
        drop(runs);
    }

    /// Reads a run back from its journal, a page at a time: however long it is, only what it comes to is in memory.
    pub fn load(&self, tenant: TenantId, run: RunId) -> Result<Live, EngineError> {
        let live = self.load_under(tenant, run, None)?;
        let started = live.state.started.as_ref();
        match started.map(|started| (started.flow_id, started.version.clone())) {
            // It moved to another version: nothing of it means another thing there, but steps stand elsewhere.
            Some((flow, version)) if version != live.plan.version && !has(Bug::VersionIsNotPinned) => {
                let plan = self.plan(tenant, flow, &version)?;
                self.load_under(tenant, run, Some(plan))
            }
            _ => Ok(live),
        }
    }

    /// As [`Driver::load`], under a plan or that of the version with which it began.
    fn load_under(&self, tenant: TenantId, run: RunId, under: Option<Arc<Plan>>) -> Result<Live, EngineError> {
        let row: Option<LiveRow> = self.deps.store.get(tenant, Table::Live, &run_key(tenant, run))?;
        let mut folded: Option<(Arc<Plan>, RunState)> = None;
        let mut last = None;
        self.each_transition(tenant, run, &mut |transition| {
            let (plan, state) = match &mut folded {
                Some(folded) => folded,
                None => {
                    let plan = match &under {
                        Some(plan) => Arc::clone(plan),
                        None => self.plan_of(tenant, run, &transition)?,
                    };
                    let state = RunState::new(run, &plan);
                    folded.insert((plan, state))
                }
            };
            // Rows of a journal that are missing: then the run is not what its journal says, and does not go on.
            let gap = match last {
                None => transition.number > 1,
                Some(last) => transition.number != last + 1,
            };
            if gap {
                return Err(damaged(tenant, run));
            }
            last = Some(transition.number);
            state.read(plan, &transition);
            Ok(())
        })?;
        let missing = || if row.is_some() { damaged(tenant, run) } else { EngineError::NotFound(run) };
        let (plan, state) = folded.ok_or_else(missing)?;
        // An unfinished run says itself where it is.
        if row.is_some_and(|row| last != Some(row.transition)) {
            return Err(damaged(tenant, run));
        }
        Ok(Live {
            tenant,
            state,
            plan,
            timer: row.and_then(|row| row.due_ms),
            slot: row.and_then(|row| row.slot),
            rate: row.and_then(|row| row.rate),
            turn: row.map_or(0, |row| row.turn),
            throttle: row.and_then(|row| row.throttle),
            row,
            calls: HashMap::new(),
            blocked: None,
        })
    }

    /// The plan of a run, told by its first transition.
    fn plan_of(&self, tenant: TenantId, run: RunId, first: &Transition) -> Result<Arc<Plan>, EngineError> {
        let started = first.records.iter().find_map(|record| match record {
            Record::RunStarted(started) => Some(started),
            _ => None,
        });
        let started = started.ok_or_else(|| damaged(tenant, run))?;
        if has(Bug::VersionIsNotPinned)
            && let Some(now) = self.deps.flows.published(tenant, started.flow_id)
        {
            return self.plan(tenant, started.flow_id, &now.version);
        }
        self.plan(tenant, started.flow_id, &started.version)
    }

    /// Visits all transitions of a run in their order.
    pub fn each_transition(
        &self,
        tenant: TenantId,
        run: RunId,
        visit: &mut dyn FnMut(Transition) -> Result<(), EngineError>,
    ) -> Result<(), EngineError> {
        const PAGE: usize = 256;
        let prefix = run_key(tenant, run);
        let (mut from, to) = (prefix.clone(), prefix.after_prefix());
        loop {
            let page: Vec<(Key, Transition)> = self.deps.store.scan(tenant, Table::Journal, &from, &to, PAGE, false)?;
            let more = page.len() == PAGE;
            let Some(last) = page.last().map(|(_, transition)| transition.number) else { return Ok(()) };
            for (_, transition) in page {
                visit(transition)?;
            }
            if !more {
                return Ok(());
            }
            from = journal_key(tenant, run, last + 1);
        }
    }

    /// One transition of a run that exists: decided under its lock, durable when this returns.
    ///
    /// `extra` adds to the same transaction (for example the removal of an inbox row).
    pub async fn transition(
        self: &Arc<Self>,
        tenant: TenantId,
        run: RunId,
        input: Input,
        extra: Txn,
    ) -> Result<RunHead, EngineError> {
        let permit = self.deps.store.reserve().await?;
        let cell = self.cell(run);
        let decided = {
            let mut guard = lock(&cell);
            self.decided(tenant, run, &mut guard, input, extra).map(|(mut done, txn)| {
                // Nothing to write is a barrier: what this answer rests on is durable when it is given. Progress of a
                // run: whoever waits for one waits for its calls, too.
                done.receipt = Some(permit.submit_unasked(txn.unwrap_or_default()));
                done
            })
        };
        let done = match decided {
            Ok(done) => done,
            Err(error) => {
                self.forget_idle(run, cell);
                return Err(error);
            }
        };
        self.finish(tenant, run, cell, done).await
    }

    /// Under the run's lock: reads it if needed, applies the input; gives what is to be committed.
    pub(crate) fn decided(
        &self,
        tenant: TenantId,
        run: RunId,
        place: &mut Option<Live>,
        input: Input,
        mut txn: Txn,
    ) -> Result<(Done, Option<Txn>), EngineError> {
        if place.is_none() {
            *place = Some(self.load(tenant, run)?);
        }
        let live = place.as_mut().ok_or(EngineError::NotFound(run))?;
        let done = match self.apply(live, input, &mut txn) {
            // What was decided does not count: the run is read again, as the store has it.
            Err(error @ EngineError::Read(_)) => {
                *place = None;
                return Err(error);
            }
            other => other?,
        };
        let changed = !(txn.puts.is_empty() && txn.deletes.is_empty());
        Ok((done, changed.then_some(txn)))
    }

    /// Runs the core on a run in memory and adds what it gave to a transaction.
    pub fn apply(&self, live: &mut Live, input: Input, txn: &mut Txn) -> Result<Done, EngineError> {
        let session = self.blobs.session(live.tenant);
        let mut moment = self.moment().with_stored(Arc::clone(&session) as Arc<dyn Stored>);
        if live.plan.has_callbacks {
            let (store, base) = (self.deps.store.clone(), Arc::from(self.deps.reached.address()));
            moment = moment.with_links(Arc::new(DoorLinks { store, tenant: live.tenant, base }));
        }
        if let Input::Result { path, attempt, .. } | Input::Called { path, attempt, .. } = &input
            && let Some(at) = live.state.find(&live.plan, path)
            && live.calls.get(&at).is_some_and(|call| call.attempt == *attempt)
        {
            live.calls.remove(&at);
        }
        let (tenant, run) = (live.tenant, live.state.run);
        let keys = |path: &str| self.deps.store.step_key(tenant, run, path);
        let before = live.row.map(|row| row.state);
        let had_reply = live.state.replied.is_some();
        let mut out = step(&live.plan, &mut live.state, input, &moment, &keys)?;
        let kept = session.end()?;
        let (timer, head) = (live.timer, head(live));
        let mut notes = self.notes(live, &out.records, std::mem::take(&mut out.children), txn)?;
        if head.state == State::Failed {
            notes.extend(self.tell_failure(live, &out.records, txn)?);
        }
        let mut meets = Vec::new();
        if live.plan.awaits_events {
            meets = self.awaits(live, &out.records, txn)?;
        }
        if !out.records.is_empty() {
            self.write(live, &head, std::mem::take(&mut out.records), &moment, txn)?;
        }
        self.count(before, live.row.map(|row| row.state));
        Ok(Done { kept, meets, notes, ..self.done(live, head, out, had_reply, timer) })
    }

    fn done(&self, live: &mut Live, head: RunHead, out: Output, had_reply: bool, timer: Option<i64>) -> Done {
        let calls = out.calls.into_iter().filter_map(|call| {
            // A run that is resumed names its calls again; those that are out go on.
            if live.calls.get(&call.at).is_some_and(|known| known.attempt == call.attempt) {
                return None;
            }
            let flight = InFlight::new(call.attempt);
            live.calls.insert(call.at, flight.clone());
            Some((call, flight))
        });
        let calls = calls.collect();
        for at in &out.abort {
            if let Some(call) = live.calls.remove(at) {
                call.abort.cancel();
            }
        }
        let mut dropped = Vec::new();
        for at in &out.abort_unsent {
            match (live.calls.get(at), live.state.cell(*at)) {
                (Some(call), _) => call.unsent.cancel(),
                // It waits for its turn by its name only.
                (None, Some(step)) => dropped.push((live.state.path(&live.plan, *at), step.attempt)),
                (None, None) => {}
            }
        }
        let reply = live.state.replied.clone().filter(|_| !had_reply);
        Done {
            receipt: None,
            head,
            calls,
            dropped,
            plan: Arc::clone(&live.plan),
            reply: reply.map(|(status, headers, body)| Response { status, headers, body }),
            slot: live.slot,
            gated: live.slot.is_some() || live.rate.is_some(),
            wake: live.timer != timer && live.timer.is_some(),
            notes: Vec::new(),
            meets: Vec::new(),
            kept: Vec::new(),
        }
    }

    /// Journal, list row, live row, timer and tail of one transition.
    fn write(
        &self,
        live: &mut Live,
        head: &RunHead,
        records: Vec<Record>,
        moment: &Moment,
        txn: &mut Txn,
    ) -> Result<(), EngineError> {
        let (store, tenant, run) = (&self.deps.store, live.tenant, live.state.run);
        let number = live.state.transition;
        let transition = Transition { number, at_ms: moment.now_ms, records };
        store.put(txn, tenant, Table::Journal, journal_key(tenant, run, number), &transition)?;
        if !live.state.held.is_empty() {
            self.blobs.hold(tenant, &transition, txn);
        }
        store.put(txn, tenant, Table::Runs, run_key(tenant, run), head)?;
        let due = live.state.next_due().filter(|_| number > 0);
        if due != live.timer {
            if let Some(old) = live.timer {
                txn.delete(Table::Timers, timer_key(old, tenant, run.bytes()));
            }
            if let Some(new) = due {
                store.put(txn, tenant, Table::Timers, timer_key(new, tenant, run.bytes()), &TimerRow::Run)?;
            }
            live.timer = due;
        }
        let row = live.state.finished.is_none().then(|| LiveRow {
            state: head.state,
            transition: number,
            due_ms: live.timer,
            flow: live.state.started.as_ref().map_or(FlowId::from_bytes([0; 16]), |started| started.flow_id),
            slot: live.slot,
            created_ms: live.state.created_ms,
            rate: live.rate.filter(|_| number == 0),
            priority: live.state.started.as_ref().map_or(0, |started| started.priority),
            turn: if number == 0 { live.turn } else { 0 },
            throttle: live.throttle.filter(|_| number == 0),
        });
        match row {
            Some(row) => store.put(txn, tenant, Table::Live, run_key(tenant, run), &row)?,
            None if live.row.is_some() && !has(Bug::EndedRunStaysLive) => txn.delete(Table::Live, run_key(tenant, run)),
            None => {}
        }
        live.row = row;
        txn.tell(TailEntry::Run(tenant, run, number));
        Ok(())
    }

    /// After the decision: waits for the commit, then does what may only follow it.
    pub async fn finish(
        self: &Arc<Self>,
        tenant: TenantId,
        run: RunId,
        cell: Cell,
        done: Done,
    ) -> Result<RunHead, EngineError> {
        if let Some(receipt) = done.receipt {
            receipt.committed().await?;
        }
        for (call, flight) in done.calls {
            self.spawn_call(tenant, run, Arc::clone(&done.plan), call, flight);
        }
        for (path, attempt) in done.dropped {
            self.spawn_dropped(tenant, run, path, attempt);
        }
        for note in done.notes {
            self.deliver(tenant, note);
        }
        for (hash, owner) in done.meets {
            self.spawn_meet(tenant, hash, owner);
        }
        if done.wake {
            self.wake.notify_one();
        }
        let ended = done.head.state.is_final();
        if done.reply.is_some() || ended {
            self.answer_waiting(run, done.reply);
        }
        if ended && done.gated {
            self.release(done.slot, run);
        } else if done.head.state == State::Queued {
            // What it waits for may come by itself: somebody must know when.
            self.pump_runs();
        }
        self.forget_idle(run, cell);
        Ok(done.head)
    }

    /// Forgets those who stopped waiting for a run's answer.
    pub fn forget_waiting(&self, run: RunId) {
        let mut replies = lock(&self.replies);
        if let Some(waiting) = replies.get_mut(&run) {
            waiting.retain(|sender| !sender.is_closed());
            if waiting.is_empty() {
                replies.remove(&run);
            }
        }
    }

    /// Tells everybody who waits for a run's answer.
    pub fn answer_waiting(&self, run: RunId, reply: Option<Response>) {
        for waiting in lock(&self.replies).remove(&run).unwrap_or_default() {
            let _ = waiting.send(reply.clone());
        }
    }

    /// A transition whose result nobody waits for.
    pub fn spawn_transition(self: &Arc<Self>, tenant: TenantId, run: RunId, input: Input, extra: Txn) {
        let driver = Arc::clone(self);
        self.tasks.spawn(async move { driver.carried(tenant, run, input, extra).await });
    }

    /// As [`Driver::transition`], with nobody who hears of it.
    pub async fn carried(self: &Arc<Self>, tenant: TenantId, run: RunId, input: Input, extra: Txn) {
        let leftover = Txn { deletes: extra.deletes.clone(), ..Txn::default() };
        match self.transition(tenant, run, input, extra).await {
            Ok(_) => {}
            // Too late for this run; what it should have taken away with it goes all the same.
            Err(EngineError::Refused(_)) if !leftover.deletes.is_empty() => {
                let _ = self.deps.store.commit(leftover).await;
            }
            Err(EngineError::Refused(_) | EngineError::Commit(_)) => {}
            Err(error) => tracing::error!(%run, %error, "a run could not go on"),
        }
    }

    /// Keeps the number of unfinished runs by state.
    pub fn count(&self, before: Option<State>, after: Option<State>) {
        if before == after {
            return;
        }
        let mut counts = lock(&self.counts);
        if let Some(before) = before {
            let count = counts.entry(before).or_default();
            *count = count.saturating_sub(1);
        }
        if let Some(after) = after {
            *counts.entry(after).or_default() += 1;
        }
    }

    /// Unfinished runs by state.
    pub fn counts(&self) -> Vec<(State, u64)> {
        let counts = lock(&self.counts);
        let mut counts: Vec<_> = counts.iter().filter(|(_, count)| **count > 0).map(|(s, c)| (*s, *c)).collect();
        counts.sort_by_key(|(state, _)| state.word());
        counts
    }

    /// Puts a new run into memory before its transaction is submitted.
    pub fn remember(&self, run: RunId, live: Live) -> Cell {
        let cell: Cell = Arc::new(Mutex::new(Some(live)));
        lock(&self.runs).insert(run, Arc::clone(&cell));
        cell
    }
}

fn damaged(tenant: TenantId, run: RunId) -> EngineError {
    ReadError::Corrupt { table: Table::Journal, record: run_key(tenant, run).hex() }.into()
}

/// The row lists show; with why a queued run waits.
pub(crate) fn head(live: &Live) -> RunHead {
    let mut head = live.state.head(&live.plan).unwrap_or_else(|| empty_head(live.state.run));
    if head.state == State::Queued {
        head.blocked_by.clone_from(&live.blocked);
    }
    head
}

pub(crate) fn empty_head(run: RunId) -> RunHead {
    RunHead {
        run,
        flow_id: FlowId::from_bytes([0; 16]),
        flow: String::new(),
        version: String::new(),
        trigger: String::new(),
        event: aura_protocol::EventId::from_bytes([0; 16]),
        state: State::Running,
        created_ms: 0,
        finished_ms: None,
        step: String::new(),
        attempt: 0,
        steps_done: 0,
        steps_all: 0,
        blocked_by: None,
        error: None,
        transition: 0,
        origin: None,
    }
}

/// Whether an effect class must commit `Started` first.
pub(crate) fn needs_started(effect: Option<Effect>) -> bool {
    effect.is_some_and(Effect::needs_started)
}
