//! Makes calls: waits for a place, commits `Started` where the effect class wants it, sends, reports.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use aura_protocol::flow::Effect;
use aura_protocol::run::{CallOutcome, ErrorClass, Reach, StepError};
use aura_protocol::{RunId, TenantId, Value};
use aura_storage::{ReadError, Txn};
use tokio::sync::{AcquireError, OwnedSemaphorePermit};

use super::backlog::Waiting;
use super::core::decide::forgotten;
use super::core::plan::Plan;
use super::core::{Call, Input, Refused};
use super::driver::{Driver, EngineError, InFlight, lock, needs_started};
use super::kinds::CallContext;
use super::limits::lanes::{Lane, Need};
use crate::runner::pool;

/// A place among the calls at work, and room in its limits.
pub(crate) struct Turn {
    driver: Arc<Driver>,
    lane: Lane,
    /// Its use of its rates counts.
    used: AtomicBool,
}

impl Turn {
    /// In which limits it has room.
    pub(crate) fn lane(&self) -> Lane {
        self.lane
    }

    /// Its use counts from now on: it is not given back when it leaves.
    pub(crate) fn counts(&self) {
        self.used.store(true, Ordering::Release);
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let used = self.used.load(Ordering::Acquire);
        lock(&self.driver.backlog).leave(self.lane, used, self.driver.now_us());
    }
}

/// What the journal says of a call.
struct Scheduled {
    path: String,
    input: Value,
    key: String,
    effect: Option<Effect>,
    /// Why it must not leave any more.
    forgotten: Option<StepError>,
}

impl Driver {
    /// Starts a call whose schedule is durable, or lets it wait for its turn.
    pub fn spawn_call(self: &Arc<Self>, tenant: TenantId, run: RunId, plan: Arc<Plan>, call: Call, flight: InFlight) {
        let Some(lane) = self.has_turn(tenant, run, &plan, &call, &flight) else { return };
        let turn = self.turn(lane);
        let driver = Arc::clone(self);
        self.tasks.spawn(async move {
            // Should it end in an unforeseen way its place must not be lost.
            driver.try_call(tenant, run, &plan, &call, &flight, &turn).await;
            drop((turn, plan));
            driver.pump_calls();
        });
    }

    pub(crate) fn turn(self: &Arc<Self>, lane: Lane) -> Turn {
        Turn { driver: Arc::clone(self), lane, used: AtomicBool::new(false) }
    }

    /// Calls whose turn has come are made: whoever ends a call lets the next ones in.
    pub(crate) fn pump_calls(self: &Arc<Self>) {
        while !(self.stopping.is_cancelled() || self.retired.is_cancelled()) {
            let next = {
                let mut backlog = lock(&self.backlog);
                let next = backlog.next(self.now_us());
                if next.is_none() && backlog.lanes().wakes_us().is_some() {
                    self.rates_changed.notify_one();
                }
                next
            };
            let Some((waiting, lane)) = next else { return };
            let turn = self.turn(lane);
            let driver = Arc::clone(self);
            self.tasks.spawn(async move {
                match driver.called_up(&waiting) {
                    Ok(Some((plan, call, flight))) => {
                        driver.try_call(waiting.tenant, waiting.run, &plan, &call, &flight, &turn).await;
                    }
                    Ok(None) => {}
                    Err(error) => tracing::error!(run = %waiting.run, %error, "a call that waited could not be made"),
                }
                drop(turn);
                driver.pump_calls();
            });
        }
    }

    /// Whether a call may begin, and with room in which limits; if not it waits by its name only, and its run need not
    /// stay in memory for it.
    fn has_turn(
        self: &Arc<Self>,
        tenant: TenantId,
        run: RunId,
        plan: &Plan,
        call: &Call,
        flight: &InFlight,
    ) -> Option<Lane> {
        let step = plan.step(call.step)?;
        if self.is_unlimited(tenant, step) && lock(&self.backlog).enter(&Need::default(), self.now_us()) {
            return Some(Lane::default());
        }
        // Under the run's lock: who calls it up finds the place empty.
        let cell = self.cell(run);
        let mut place = lock(&cell);
        let begins = place.as_mut().and_then(|live| {
            if live.calls.get(&call.at).is_none_or(|known| known.attempt != call.attempt) {
                return None;
            }
            let path = live.state.path(plan, call.at).into();
            let limited = live.state.cell(call.at).and_then(|cell| cell.limited.clone());
            let (need, priority) = self.need(live, step, limited.as_deref());
            self.restore_need(tenant, &need);
            let mut backlog = lock(&self.backlog);
            if flight.unsent.is_cancelled() {
                // Cancelled meanwhile: it only reports that nothing of it left.
                backlog.begin();
                return Some(Lane::default());
            }
            let waiting = Waiting { tenant, run, path, attempt: call.attempt, priority };
            let entered = backlog.enter_or_wait(&need, waiting, self.now_us());
            if !entered {
                live.calls.remove(&call.at);
            }
            entered.then(|| need.lane())
        });
        drop(place);
        self.forget_idle(run, cell);
        if begins.is_none() {
            // A rate may have room since, or must be waited for.
            self.pump_calls();
        }
        begins
    }

    /// A call whose turn has come, its run read again; `None` if it is not wanted any more.
    fn called_up(&self, waiting: &Waiting) -> Result<Option<(Arc<Plan>, Call, InFlight)>, EngineError> {
        let cell = self.cell(waiting.run);
        let found = {
            let mut place = lock(&cell);
            if place.is_none() {
                *place = Some(self.load(waiting.tenant, waiting.run)?);
            }
            place.as_mut().and_then(|live| {
                let at = live.state.find(&live.plan, &waiting.path)?;
                live.state.cell(at).filter(|step| step.calling() && step.attempt == waiting.attempt)?;
                let step = live.state.step_ix(&live.plan, at)?;
                let held = live.state.finished.is_some() || live.state.paused.is_some();
                if held || live.calls.contains_key(&at) {
                    return None;
                }
                let flight = InFlight::new(waiting.attempt);
                live.calls.insert(at, flight.clone());
                Some((Arc::clone(&live.plan), Call { at, step, attempt: waiting.attempt }, flight))
            })
        };
        self.forget_idle(waiting.run, cell);
        Ok(found)
    }

    async fn try_call(
        self: &Arc<Self>,
        tenant: TenantId,
        run: RunId,
        plan: &Plan,
        call: &Call,
        flight: &InFlight,
        turn: &Turn,
    ) {
        match self.make_call(tenant, run, plan, call, flight, turn).await {
            Ok(()) | Err(EngineError::Refused(_) | EngineError::Commit(_)) => {}
            Err(error) => tracing::error!(%run, %error, "the answer of a call could not be recorded"),
        }
    }

    /// A call that waited for its turn is not wanted any more: nothing of it has left.
    pub(crate) fn spawn_dropped(self: &Arc<Self>, tenant: TenantId, run: RunId, path: String, attempt: u32) {
        let driver = Arc::clone(self);
        self.tasks.spawn(async move {
            match driver.report(tenant, run, &path, attempt, dropped()).await {
                Ok(()) | Err(EngineError::Refused(_) | EngineError::Commit(_)) => {}
                Err(error) => tracing::error!(%run, %error, "a dropped call could not be recorded"),
            }
        });
    }

    async fn make_call(
        self: &Arc<Self>,
        tenant: TenantId,
        run: RunId,
        plan: &Plan,
        call: &Call,
        flight: &InFlight,
        turn: &Turn,
    ) -> Result<(), EngineError> {
        let Some(step) = plan.step(call.step) else { return Ok(()) };
        let attempt = call.attempt;
        let place = tokio::select! {
            biased;
            () = flight.abort.cancelled() => return Ok(()),
            () = flight.unsent.cancelled() => {
                let Some(Scheduled { path, .. }) = self.scheduled(run, call) else { return Ok(()) };
                return self.report(tenant, run, &path, attempt, dropped()).await;
            }
            // It is scheduled: the next start makes it.
            () = self.stopping.cancelled() => return Ok(()),
            place = self.ready(step.kind.in_runner()) => place,
        };
        if self.is_paused(run, call) {
            return Ok(());
        }
        let Some(Scheduled { path, input, key, effect, forgotten }) = self.scheduled(run, call) else { return Ok(()) };
        if let Some(error) = forgotten {
            // It waited for its turn for longer than its peer remembers the key.
            return self.report(tenant, run, &path, attempt, CallOutcome::Failed(error, Reach::Unknown)).await;
        }
        let input = match self.blobs.loaded(tenant, &input) {
            Ok(input) => input,
            Err(ReadError::Io(message)) => return Err(ReadError::Io(message).into()),
            Err(damaged) => {
                let error = StepError::new(ErrorClass::Internal, format!("its input cannot be read: {damaged}"));
                let outcome = CallOutcome::Failed(error, Reach::Unsent);
                return self.report(tenant, run, &path, attempt, outcome).await;
            }
        };
        if step.kind.keeps() {
            drop(place);
            return self.make_kv(tenant, run, &path, attempt, &input).await;
        }
        if step.kind.emits() {
            drop(place);
            return self.make_emit(tenant, run, &path, attempt, &input).await;
        }
        if step.kind.calls_flow() {
            drop(place);
            return self.make_child(tenant, run, &path, attempt, &input).await;
        }
        self.uses_rates(tenant, turn).await?;
        if needs_started(effect) {
            let epoch = self.deps.store.epoch();
            let begin = Input::Begin { path: path.clone(), attempt, lease: u64::from(attempt), epoch };
            match self.transition(tenant, run, begin, Txn::new()).await {
                Ok(_) => {}
                // Cancelled meanwhile: nothing of it left, so it is dropped.
                Err(EngineError::Refused(Refused::Ending)) => {
                    return self.report(tenant, run, &path, attempt, dropped()).await;
                }
                Err(error) => return Err(error),
            }
        }
        let connection = step.kind.connection().and_then(|name| self.deps.flows.connection(tenant, name));
        // A script's own time is kept by its runner, which has to be started first.
        let more = if step.kind.in_runner() { pool::START + pool::LATE } else { Duration::ZERO };
        let timeout = Duration::from_millis(step.timeout.ms) + more;
        let context = CallContext {
            http: Arc::clone(&self.deps.http),
            registry: Arc::clone(&self.deps.registry),
            connection,
            key,
            timeout,
            sent: Arc::clone(&flight.sent),
            now_ms: self.deps.clock.now_ms(),
            runners: self.deps.runners.clone(),
            printed: Arc::default(),
        };
        let printed = Arc::clone(&context.printed);
        // From here on a cancel leaves the call to end within its timeout: whether its bytes have left is
        // known for certain only when it has ended.
        let outcome = tokio::select! {
            biased;
            () = flight.abort.cancelled() => return Ok(()),
            () = self.retired.cancelled() => return Ok(()),
            outcome = tokio::time::timeout(timeout, step.kind.call(context, &input)) => match outcome {
                Ok(outcome) => outcome,
                Err(_) => timed_out(timeout, flight.sent.load(Ordering::Acquire)),
            },
        };
        drop(place);
        let lines = std::mem::take(&mut *lock(&printed));
        if !lines.is_empty() {
            let printed = Input::Printed { path: path.clone(), attempt, lines };
            self.transition(tenant, run, printed, Txn::new()).await?;
        }
        // Compressed and sealed here, before the run is locked; findable until its transition is durable.
        let outcome = self.clean(outcome);
        let (outcome, kept) = self.blobs.keep_outcome(tenant, outcome)?;
        let reported = self.report(tenant, run, &path, attempt, outcome).await;
        drop(kept);
        reported
    }

    /// What a call ended with, without secrets. An output came through the client, which takes them out of the whole
    /// answer; an error may be of our own making, from what the connection holds.
    pub(crate) fn clean(&self, mut outcome: CallOutcome) -> CallOutcome {
        if let CallOutcome::Failed(error, _) = &mut outcome {
            self.deps.http.sink().error(error);
        }
        outcome
    }

    /// Waits until something may start: there is room for what it will bring, and nothing holds it back.
    pub(crate) async fn may_start(&self) {
        loop {
            self.deps.room.on_disk().await;
            if !self.deps.hold.held() {
                return;
            }
            self.deps.hold.released().await;
        }
    }

    /// The places that a call needs, once it may be made: of a runner first, so that who waits for one is in nobody's
    /// way.
    async fn ready(&self, in_runner: bool) -> Result<Vec<OwnedSemaphorePermit>, AcquireError> {
        self.may_start().await;
        let mut places = Vec::with_capacity(2);
        if in_runner {
            places.push(self.deps.runners.place().await?);
        }
        places.push(Arc::clone(&self.slots).acquire_owned().await?);
        Ok(places)
    }

    async fn report(
        self: &Arc<Self>,
        tenant: TenantId,
        run: RunId,
        path: &str,
        attempt: u32,
        outcome: CallOutcome,
    ) -> Result<(), EngineError> {
        let input = Input::Result { path: path.to_owned(), attempt, outcome };
        self.transition(tenant, run, input, Txn::new()).await.map(drop)
    }

    /// Whether its run is paused: then it leaves when the run is resumed, which names it again.
    fn is_paused(&self, run: RunId, call: &Call) -> bool {
        let Some(cell) = self.known_cell(run) else { return false };
        let paused = lock(&cell).as_mut().is_some_and(|live| {
            let paused = live.state.paused.is_some();
            if paused && live.calls.get(&call.at).is_some_and(|known| known.attempt == call.attempt) {
                live.calls.remove(&call.at);
            }
            paused
        });
        self.forget_idle(run, cell);
        paused
    }

    /// The path, journaled input, key and effect of a call that is still wanted.
    fn scheduled(&self, run: RunId, call: &Call) -> Option<Scheduled> {
        let cell = self.known_cell(run)?;
        let wanted = lock(&cell).as_ref().and_then(|live| {
            let step = live.state.cell(call.at).filter(|step| step.attempt == call.attempt)?;
            let path = live.state.path(&live.plan, call.at);
            let planned = live.plan.step(call.step)?;
            let forgotten = forgotten(planned, step, self.deps.clock.now_ms());
            if let Some(flight) = live.calls.get(&call.at) {
                flight.named.store(true, Ordering::Release);
            }
            Some(Scheduled { path, input: step.input.clone(), key: step.key.clone(), effect: step.effect, forgotten })
        });
        self.forget_idle(run, cell);
        wanted
    }
}

fn dropped() -> CallOutcome {
    CallOutcome::Failed(StepError::new(ErrorClass::Cancelled, "dropped before it was sent"), Reach::Unsent)
}

fn timed_out(limit: Duration, sent: bool) -> CallOutcome {
    let error = StepError::new(ErrorClass::Timeout, format!("no answer within {} ms", limit.as_millis()));
    CallOutcome::Failed(error, if sent { Reach::Unknown } else { Reach::Unsent })
}
