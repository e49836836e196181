//! The engine's core: `(plan, state, input) → (records, actions)`, pure.
//!
//! No clock, no I/O, no randomness, no async: time and random bytes come in as a [`Moment`]. One call of
//! [`step`] is one transition: it runs everything that needs no waiting, and leaves calls, sleeps and
//! people to the driver. State is the fold of the records ([`state`]), what happens next is derived from
//! it ([`advance`]), so a crash between two transitions loses nothing.

pub mod advance;
pub mod bugs;
pub mod decide;
pub mod plan;
pub mod scope;
#[cfg(test)]
mod sim;
pub mod state;

use std::sync::Arc;

use aura_protocol::Value;
use aura_protocol::flow::Effect;
use aura_protocol::run::{CallOutcome, ErrorClass, Reach, Record, Resolution, RunStarted, StepError, StepState};

use bugs::{Bug, has};
use decide::{Verdict, decide, doubt};
use plan::{Plan, StepIx};
pub use scope::Moment;
pub use state::RunState;

/// What the driver tells the core.
#[derive(Clone, Debug)]
pub enum Input {
    /// A new run that may go on at once.
    Start(Arc<RunStarted>),
    /// A new run that must wait for its concurrency key: recorded as transition 0.
    Queue(Arc<RunStarted>),
    /// A queued run got its key.
    Unqueue,
    /// A worker holds every permit and is about to send.
    Begin {
        /// Step.
        path: String,
        /// Attempt.
        attempt: u32,
        /// Fence.
        lease: u64,
        /// Start number of the daemon.
        epoch: u64,
    },
    /// An attempt ended.
    Result {
        /// Step.
        path: String,
        /// Attempt.
        attempt: u32,
        /// How.
        outcome: CallOutcome,
    },
    /// Time passed: everything due by now fires.
    Due,
    /// Somebody wants it to end.
    Cancel {
        /// Who.
        by: String,
        /// Why.
        reason: String,
    },
    /// Somebody decided about a step in doubt.
    Resolve {
        /// Step.
        path: String,
        /// How.
        resolution: Resolution,
        /// Who.
        by: String,
    },
    /// The daemon started again; calls of earlier starts are gone.
    Recover {
        /// Number of this start.
        epoch: u64,
    },
}

/// A call that the driver must make once the transition is durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// Step.
    pub step: StepIx,
    /// Attempt.
    pub attempt: u32,
}

/// What a transition gave.
#[derive(Debug, Default)]
pub struct Output {
    /// For the journal; empty: nothing changed.
    pub records: Vec<Record>,
    /// To make.
    pub calls: Vec<Call>,
    /// To end, their answers do not matter any more.
    pub abort: Vec<StepIx>,
    /// To end if no byte left yet; else their answers are awaited.
    pub abort_unsent: Vec<StepIx>,
}

/// Why an input does not apply.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The attempt is not the one at work: a late answer.
    #[error("the attempt is not the one at work")]
    Stale,
    /// The run has ended.
    #[error("the run has already ended")]
    Ended,
    /// Only `finally` is left.
    #[error("the run is already ending")]
    Ending,
    /// The step is not in doubt.
    #[error("step {0} is not in doubt")]
    NotInDoubt(String),
    /// There is no such step.
    #[error("the flow has no step {0}")]
    UnknownStep(String),
}

/// Derives the idempotency key of a step from its path.
pub type Keys<'a> = &'a dyn Fn(&str) -> String;

/// One transition. On `Err` nothing changed.
///
/// # Errors
/// The input does not apply to this state.
pub fn step(
    plan: &Plan,
    state: &mut RunState,
    input: Input,
    moment: &Moment,
    keys: Keys<'_>,
) -> Result<Output, Refused> {
    if state.finished.is_some() {
        return Err(Refused::Ended);
    }
    let mut work = Work { plan, state, moment, keys, out: Output::default(), opened: false };
    match input {
        Input::Queue(started) => {
            work.state.created_ms = moment.now_ms;
            work.emit_at(0, Record::RunStarted(started));
            return Ok(work.out);
        }
        Input::Start(started) => work.emit(Record::RunStarted(started)),
        Input::Unqueue => work.emit(log("", "info", "left the queue of its concurrency key")),
        Input::Begin { path, attempt, lease, epoch } => {
            work.at_work(&path, attempt)?;
            if work.state.dropping() {
                return Err(Refused::Ending);
            }
            work.emit(Record::Started { path, attempt, lease, epoch });
            return Ok(work.out);
        }
        Input::Result { path, attempt, outcome } => {
            let ix = work.at_work(&path, attempt)?;
            work.result(ix, attempt, outcome);
        }
        Input::Due => work.due(),
        Input::Cancel { by, reason } => {
            if work.state.finally_open {
                return Err(Refused::Ending);
            }
            let queued = work.state.transition == 0;
            if work.state.cancel.is_none() {
                work.emit(Record::CancelRequested { by, reason });
                if queued {
                    // It never began, so nothing of it runs, not even its last steps.
                    let outcome = work.state.cancelled();
                    let output = outcome.output;
                    work.emit(Record::RunFinished { state: outcome.state, error: outcome.error, output });
                    return Ok(work.out);
                }
                work.drop_active("the run is cancelled");
            }
        }
        Input::Resolve { path, resolution, by } => work.resolve(path, resolution, by)?,
        Input::Recover { epoch } => work.recover(epoch),
    }
    work.advance();
    Ok(work.out)
}

/// A log record.
fn log(path: &str, level: &str, message: impl Into<String>) -> Record {
    Record::Log { path: path.to_owned(), level: level.to_owned(), message: message.into() }
}

/// One transition at work.
pub(crate) struct Work<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) state: &'a mut RunState,
    pub(crate) moment: &'a Moment,
    pub(crate) keys: Keys<'a>,
    pub(crate) out: Output,
    opened: bool,
}

impl Work<'_> {
    /// Records something and applies it.
    pub(crate) fn emit(&mut self, record: Record) {
        let number = if self.opened { self.state.transition } else { self.state.transition + 1 };
        self.emit_at(number, record);
    }

    fn emit_at(&mut self, number: u64, record: Record) {
        if !self.opened {
            self.opened = true;
            self.state.open_transition(self.plan, number, self.moment.now_ms);
        }
        self.state.apply(self.plan, &record, self.moment.now_ms);
        self.out.records.push(record);
    }

    /// The id of a step.
    pub(crate) fn id(&self, ix: StepIx) -> String {
        self.plan.step(ix).map(|step| step.id.clone()).unwrap_or_default()
    }

    /// Asks the driver for the call of a step.
    pub(crate) fn call(&mut self, ix: StepIx) {
        let attempt = self.state.cell(ix).map_or(1, |cell| cell.attempt);
        self.out.calls.push(Call { step: ix, attempt });
    }

    fn at_work(&self, path: &str, attempt: u32) -> Result<StepIx, Refused> {
        let ix = self.plan.find(path).ok_or_else(|| Refused::UnknownStep(path.to_owned()))?;
        let cell = self.state.cell(ix).ok_or(Refused::Stale)?;
        let at_work = cell.state == Some(StepState::Running) && cell.effect.is_some() && cell.attempt == attempt;
        if at_work { Ok(ix) } else { Err(Refused::Stale) }
    }

    /// A step failed for good.
    pub(crate) fn fail(&mut self, ix: StepIx, attempt: u32, error: StepError) {
        let path = self.id(ix);
        let error = if error.step.is_empty() { StepError { step: path.clone(), ..error } } else { error };
        self.emit(Record::Failed { path, attempt, error, retry_at_ms: None });
    }

    fn result(&mut self, ix: StepIx, attempt: u32, outcome: CallOutcome) {
        let path = self.id(ix);
        let (error, reach) = match outcome {
            CallOutcome::Done(output) => {
                self.emit(Record::Completed { path, attempt, output });
                return;
            }
            CallOutcome::Failed(error, reach) => {
                (StepError { step: path.clone(), unknown: reach == Reach::Unknown, ..error }, reach)
            }
        };
        if self.state.dropping() {
            match reach {
                _ if self.maybe_happened(ix, reach) => {
                    self.emit(Record::InDoubt { path, attempt, error });
                }
                _ => {
                    let error = StepError { class: ErrorClass::Cancelled, ..error };
                    self.emit(Record::Failed { path, attempt, error, retry_at_ms: None });
                }
            }
            return;
        }
        let (Some(step), Some(cell)) = (self.plan.step(ix), self.state.cell(ix)) else { return };
        let verdict = decide(step, cell, error.clone(), reach, self.moment);
        self.conclude(ix, attempt, error, verdict);
    }

    fn conclude(&mut self, ix: StepIx, attempt: u32, error: StepError, verdict: Verdict) {
        let path = self.id(ix);
        match verdict {
            Verdict::Retry(due) => self.emit(Record::Failed { path, attempt, error, retry_at_ms: Some(due) }),
            Verdict::Fail(error) => self.fail(ix, attempt, error),
            Verdict::Doubt(error) => self.emit(Record::InDoubt { path, attempt, error }),
        }
    }

    /// Whether a call that must not be repeated blindly may have happened, in this attempt or an earlier one.
    fn maybe_happened(&self, ix: StepIx, reach: Reach) -> bool {
        let earlier = self.state.cell(ix).is_some_and(|cell| cell.unknown);
        (earlier || reach == Reach::Unknown) && !state::repeatable(self.effect(ix))
    }

    fn effect(&self, ix: StepIx) -> Effect {
        self.state.cell(ix).and_then(|cell| cell.effect).unwrap_or_default()
    }

    /// Everything due by now fires.
    fn due(&mut self) {
        let now = self.moment.now_ms;
        if self.state.live_deadline().is_some_and(|due| due <= now) {
            self.emit(Record::TimerFired { path: String::new() });
            self.drop_active("the run's time is over");
            return;
        }
        for ix in 0..self.plan.steps.len() {
            let Some(cell) = self.state.cell(ix) else { continue };
            let (state, path) = (cell.state, self.id(ix));
            let is_due = |due: Option<i64>| due.is_some_and(|due| due <= now);
            if is_due(cell.wait_until_ms) && state == Some(StepState::Waiting) {
                self.emit(Record::TimerFired { path: path.clone() });
                self.emit(Record::Completed { path, attempt: 0, output: Value::Null });
            } else if is_due(cell.retry_at_ms) && state == Some(StepState::Retrying) {
                self.emit(Record::TimerFired { path });
                self.again(ix);
            }
        }
    }

    /// The next attempt, unless the peer has forgotten the key under which an earlier one may have happened.
    fn again(&mut self, ix: StepIx) {
        let (Some(step), Some(cell)) = (self.plan.step(ix), self.state.cell(ix)) else { return };
        let late = self.moment.now_ms > decide::window_end(step, cell);
        if !(late && cell.unknown && cell.effect == Some(Effect::Keyed)) {
            return self.call(ix);
        }
        let attempt = cell.attempt;
        let message = "an earlier attempt may have arrived and its key is too old to repeat it";
        let error = StepError { step: step.id.clone(), unknown: true, ..StepError::new(ErrorClass::InDoubt, message) };
        let verdict = doubt(step, None, error.clone());
        self.conclude(ix, attempt, error, verdict);
    }

    /// Ends what is at work, as far as nothing outside can be in the balance (design §3 rule 8, Cancel).
    fn drop_active(&mut self, why: &str) {
        if has(Bug::CancelDoesNotStick) {
            return;
        }
        for ix in 0..self.plan.steps.len() {
            let Some(cell) = self.state.cell(ix) else { continue };
            let (attempt, effect) = (cell.attempt, cell.effect);
            let calls = cell.state == Some(StepState::Running) && effect.is_some();
            match cell.state {
                Some(StepState::Retrying) if cell.unknown => {
                    let last = cell.error.clone().unwrap_or_else(|| StepError::new(ErrorClass::InDoubt, why));
                    let path = self.id(ix);
                    self.emit(Record::InDoubt { path, attempt, error: StepError { unknown: true, ..last } });
                    continue;
                }
                Some(StepState::Waiting | StepState::Retrying) => {}
                Some(StepState::Running) if calls => {
                    if matches!(effect, Some(Effect::Keyed | Effect::Lookup | Effect::Once)) {
                        self.out.abort_unsent.push(ix);
                        continue;
                    }
                    self.out.abort.push(ix);
                }
                _ => continue,
            }
            self.fail(ix, attempt, StepError::new(ErrorClass::Cancelled, why));
        }
    }

    fn resolve(&mut self, path: String, resolution: Resolution, by: String) -> Result<(), Refused> {
        let ix = self.plan.find(&path).ok_or_else(|| Refused::UnknownStep(path.clone()))?;
        let cell = self.state.cell(ix).filter(|cell| cell.state == Some(StepState::InDoubt));
        let Some(cell) = cell else { return Err(Refused::NotInDoubt(path)) };
        let attempt = cell.attempt;
        let error = cell.error.clone().unwrap_or_else(|| StepError::new(ErrorClass::InDoubt, "unknown"));
        if resolution == Resolution::Retry && !self.goes_on(ix) {
            return Err(Refused::Ending);
        }
        self.emit(Record::Resolved { path: path.clone(), resolution: resolution.clone(), by });
        match resolution {
            Resolution::Done(output) => self.emit(Record::Completed { path, attempt, output }),
            Resolution::Fail => self.fail(ix, attempt, StepError { class: ErrorClass::InDoubt, ..error }),
            Resolution::Retry => self.call(ix),
        }
        Ok(())
    }

    /// Whether the part of the flow that a step belongs to still goes on, so that its answer would count.
    fn goes_on(&self, step: StepIx) -> bool {
        let mut at = step;
        loop {
            match self.plan.owner_of(at) {
                plan::Owner::Arm(owner, _) | plan::Owner::OnError(owner) => at = owner,
                plan::Owner::Finally => return self.state.finally_open,
                plan::Owner::FlowOnError => return !self.state.finally_open && !self.state.dropping(),
                plan::Owner::Root => {
                    return !self.state.finally_open
                        && !self.state.on_error_open
                        && !self.state.dropping()
                        && self.state.outcome.is_none();
                }
            }
        }
    }

    /// After a restart: calls of this run that were out are judged by the effect table, others are made.
    fn recover(&mut self, epoch: u64) {
        for ix in 0..self.plan.steps.len() {
            let (Some(cell), Some(step)) = (self.state.cell(ix), self.plan.step(ix)) else { continue };
            if cell.state != Some(StepState::Running) || cell.effect.is_none() {
                continue;
            }
            let (effect, attempt) = (self.effect(ix), cell.attempt);
            let was_out = cell.started.is_some_and(|(of, at)| of == attempt && at < epoch);
            let late = effect == Effect::Keyed && self.moment.now_ms > decide::window_end(step, cell);
            let ending = self.state.dropping();
            let message = "the daemon stopped while this call was out; whether it arrived is not known";
            let error =
                StepError { step: step.id.clone(), unknown: true, ..StepError::new(ErrorClass::InDoubt, message) };
            if (effect.needs_started() && was_out && !has(Bug::OnceIsRepeated))
                || late
                || (ending && effect == Effect::Keyed)
            {
                let next = decide::next_attempt(step, cell, &error, self.moment);
                let verdict = if ending { Verdict::Doubt(error.clone()) } else { doubt(step, next, error.clone()) };
                self.conclude(ix, attempt, error, verdict);
            } else if ending {
                self.fail(ix, attempt, StepError::new(ErrorClass::Cancelled, "the run is ending"));
            } else {
                if effect == Effect::Keyed {
                    // It may have left before the stop; that is remembered, should no repeat be answered for certain.
                    let path = self.id(ix);
                    self.emit(Record::Started { path, attempt, lease: u64::from(attempt), epoch });
                }
                self.call(ix);
            }
        }
    }
}
