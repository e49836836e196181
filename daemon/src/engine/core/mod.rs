//! The engine's core: `(plan, state, input) → (records, actions)`, pure.
//!
//! No clock, no I/O, no randomness, no async: time and random bytes come in as a [`Moment`]. One call of
//! [`step`] is one transition: it runs everything that needs no waiting, and leaves calls, sleeps and
//! people to the driver. State is the fold of the records ([`state`], [`frames`]), what happens next is derived
//! from it ([`advance`], `turn`), so a crash between two transitions loses nothing.

pub mod advance;
pub mod bugs;
pub mod decide;
#[cfg(test)]
mod fixtures;
pub mod frames;
#[cfg(test)]
mod golden;
mod hold;
mod nested;
pub mod plan;
mod react;
pub mod replay;
pub mod scope;
#[cfg(test)]
mod sim;
pub mod state;
#[cfg(test)]
mod tests;
mod turn;
mod view;
pub(crate) mod votes;
mod waits;

use std::sync::Arc;

use aura_protocol::approval::{MayNot, Vote};
use aura_protocol::run::{CallOutcome, Record, Resolution, RunStarted, RunState as State, StepError};
use aura_protocol::{RunId, Value};

use bugs::{Bug, has};
pub use frames::Place;
use plan::{Plan, PlanStep, StepIx};
pub use scope::Moment;
pub use state::RunState;

/// What the driver tells the core.
#[derive(Clone, Debug)]
pub enum Input {
    /// A new run that may go on at once.
    Start(Arc<RunStarted>),
    /// A new run that must wait for its concurrency key: recorded as transition 0.
    Queue(Arc<RunStarted>),
    /// A new run that goes on from another one, whose records it begins with.
    Replay {
        /// How it begins.
        started: Arc<RunStarted>,
        /// What the other run did and this one does not do again.
        copied: Vec<Record>,
        /// It must wait for its concurrency key.
        queued: bool,
    },
    /// It goes on under another version, under whose plan its state was read already.
    Migrate {
        /// Hash of the version.
        version: String,
        /// Who wants it.
        by: String,
    },
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
    /// A script printed something; its answer comes after it.
    Printed {
        /// Step.
        path: String,
        /// Attempt.
        attempt: u32,
        /// What, line by line.
        lines: Vec<String>,
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
    /// Somebody holds it where it is.
    Pause {
        /// Who.
        by: String,
        /// Why.
        reason: String,
    },
    /// Somebody lets it go on.
    Resume {
        /// Who.
        by: String,
    },
    /// Somebody ends it as it stands.
    ForceFinish {
        /// As what.
        state: State,
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
    /// Somebody decides about what a step asks.
    Vote {
        /// Step.
        path: String,
        /// The role of whoever decides.
        role: String,
        /// The decision; its time is that of the moment.
        vote: Vote,
    },
    /// Whoever is asked has somebody else decide.
    Delegate {
        /// Step.
        path: String,
        /// Account and role of who is asked.
        by: (String, String),
        /// Account and role of who is asked instead.
        to: (String, String),
    },
    /// A run of another flow is begun for a step, in the same commit.
    Called {
        /// Step.
        path: String,
        /// Attempt.
        attempt: u32,
        /// The run.
        run: RunId,
        /// Its flow.
        flow: String,
        /// Its version.
        version: String,
        /// The step waits for its end.
        waits: bool,
    },
    /// A run that a step called has ended.
    Returned {
        /// Step.
        path: String,
        /// The run.
        run: RunId,
        /// What it gave, or why it failed.
        outcome: Result<Value, Box<StepError>>,
    },
    /// What a step waits for came.
    Signal {
        /// Step.
        path: String,
        /// What.
        data: Value,
        /// Who brought it.
        by: String,
    },
    /// The daemon started again; calls of earlier starts are gone.
    Recover {
        /// Number of this start.
        epoch: u64,
        /// The store was restored: whoever had it before may have sent what was only scheduled then.
        restored: bool,
    },
}

/// A call that the driver must make once the transition is durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// Where in the run.
    pub at: Place,
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
    pub abort: Vec<Place>,
    /// Runs that were called and nobody waits for any more.
    pub children: Vec<RunId>,
    /// To end if no byte left yet; else their answers are awaited.
    pub abort_unsent: Vec<Place>,
}

/// Why an input does not apply.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The attempt is not the one at work: a late answer.
    #[error("the attempt is not the one at work")]
    Stale,
    /// It moves too fast to be read at one point.
    #[error("the run moves on all the time; try again")]
    Moving,
    /// The run has ended.
    #[error("the run has already ended")]
    Ended,
    /// Only compensations and `finally` are left.
    #[error("the run is already ending")]
    Ending,
    /// It waits for its turn to begin.
    #[error("the run has not begun: it is queued; cancel it, or pause its flow")]
    NotBegun,
    /// Nobody paused it.
    #[error("the run is not paused")]
    NotPaused,
    /// The step is not in doubt.
    #[error("step {0} is not in doubt")]
    NotInDoubt(String),
    /// The step is no `wait`.
    #[error("step {0} waits for nothing from outside")]
    NoWait(String),
    /// It has come already.
    #[error("step {0} has what it waits for already")]
    Answered(String),
    /// Its time is over.
    #[error("step {0} does not wait any more")]
    Over(String),
    /// The step asks nobody.
    #[error("step {0} asks nobody")]
    AsksNobody(String),
    /// The step has not begun.
    #[error("step {0} does not ask yet")]
    NotYet(String),
    /// Whoever decides may not.
    #[error("{0} {1}")]
    MayNot(String, MayNot),
    /// They saw something else.
    #[error("what was seen is not what is asked now; look again")]
    Changed,
    /// Too much, or too many.
    #[error("{0}")]
    TooMuch(String),
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
    let mut work = Work { plan, state, moment, keys, out: Output::default(), opened: false, wave: Wave::default() };
    match input {
        Input::Queue(started) => {
            work.state.created_ms = moment.now_ms;
            work.emit_at(0, Record::RunStarted(started));
            return Ok(work.out);
        }
        Input::Start(started) => work.emit(Record::RunStarted(started)),
        Input::Replay { started, copied, queued } => {
            let number = u64::from(!queued);
            work.state.created_ms = moment.now_ms;
            work.emit_at(number, Record::RunStarted(started));
            copied.into_iter().for_each(|record| work.emit_at(number, record));
            if queued {
                return Ok(work.out);
            }
        }
        Input::Migrate { version, by } => work.emit(Record::Migrated { version, by }),
        Input::Unqueue => work.emit(log("", "info", "left the queue of its concurrency key")),
        Input::Begin { path, attempt, lease, epoch } => {
            let at = work.at_work(&path, attempt)?;
            if work.state.dropping() || work.state.is_lost(at) {
                return Err(Refused::Ending);
            }
            let more = work.state.yielded_ms.is_some();
            work.emit(Record::Started { path, attempt, lease, epoch });
            if !more {
                return Ok(work.out);
            }
        }
        Input::Result { path, attempt, outcome } => {
            let at = work.at_work(&path, attempt)?;
            work.result(at, path, attempt, outcome);
            work.overdue();
        }
        Input::Printed { path, attempt, lines } => {
            work.at_work(&path, attempt)?;
            lines.into_iter().for_each(|line| work.emit(log(&path, "info", line)));
            if work.state.yielded_ms.is_none() {
                return Ok(work.out);
            }
        }
        Input::Due if work.state.paused.is_some() && !has(Bug::PauseDoesNotStick) => return Ok(work.out),
        Input::Due => work.due(),
        Input::Cancel { by, reason } => {
            if work.state.closing() {
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
                work.drop_all("the run is cancelled");
            }
        }
        Input::Pause { by, reason } => work.pause(by, reason)?,
        Input::Resume { by } => work.resume(by)?,
        Input::ForceFinish { state, by, reason } => {
            work.force_finish(state, by, reason);
            return Ok(work.out);
        }
        Input::Resolve { path, resolution, by } => work.resolve(path, resolution, by)?,
        Input::Vote { path, role, vote } => {
            work.vote(path, &role, vote)?;
            work.overdue();
        }
        Input::Delegate { path, by, to } => {
            work.delegate(path, by, to)?;
            work.overdue();
        }
        Input::Called { path, attempt, run, flow, version, waits } => {
            work.at_work(&path, attempt)?;
            work.called(path, run, flow, version, waits)?;
        }
        Input::Returned { path, run, outcome } => {
            work.returned(&path, run, outcome)?;
            work.overdue();
        }
        Input::Signal { path, data, by } => {
            work.signal(path, data, by)?;
            work.overdue();
        }
        Input::Recover { epoch, restored } => work.recover(epoch, restored),
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
    wave: Wave,
}

/// How much this transition has begun, so that a long list does not become one commit.
#[derive(Debug, Default)]
struct Wave {
    /// Items begun.
    items: u32,
    /// Bytes of outputs.
    bytes: usize,
    /// It has been enough; the rest comes at once in the next one.
    full: bool,
}

impl<'a> Work<'a> {
    /// The step of a place.
    pub(crate) fn step_at(&self, at: Place) -> Option<&'a PlanStep> {
        self.plan.step(self.state.step_ix(self.plan, at)?)
    }
}

impl Work<'_> {
    /// Records something and applies it.
    pub(crate) fn emit(&mut self, record: Record) {
        let number = if self.opened { self.state.transition } else { self.state.transition + 1 };
        self.emit_at(number, record);
    }

    /// A record as the journal holds it: large values stand elsewhere.
    fn kept(&self, mut record: Record) -> Record {
        if let Some(stored) = self.moment.stored() {
            let min = stored.min();
            for payload in record.payloads_mut() {
                if payload.weight() > min {
                    *payload = stored.keep(std::mem::take(payload));
                }
            }
        }
        record
    }

    /// Why an output or a call's input is too much for this run.
    pub(crate) fn refused(&self, value: &Value) -> Option<StepError> {
        let weight = match value {
            Value::Blob(blob) => usize::try_from(blob.bytes).unwrap_or(usize::MAX),
            other => other.weight(),
        };
        let stored = self.moment.stored().filter(|stored| weight > stored.min())?;
        stored.refuses(weight, self.state.held.values().sum())
    }

    fn emit_at(&mut self, number: u64, record: Record) {
        let record = self.kept(record);
        if !self.opened {
            self.opened = true;
            self.state.open_transition(self.plan, number, self.moment.now_ms);
        }
        self.state.apply(self.plan, &record, self.moment.now_ms);
        self.out.records.push(record);
    }

    /// The path of a place.
    pub(crate) fn path(&self, at: Place) -> String {
        self.state.path(self.plan, at)
    }

    /// Asks the driver for the call of a step.
    pub(crate) fn call(&mut self, at: Place) {
        // While it is paused nothing leaves; what is scheduled does when it is resumed.
        if self.state.paused.is_some() && !has(Bug::PauseDoesNotStick) {
            return;
        }
        let attempt = self.state.cell(at).map_or(1, |cell| cell.attempt);
        if let Some(step) = self.state.step_ix(self.plan, at) {
            self.out.calls.push(Call { at, step, attempt });
        }
    }

    /// The place of a path.
    fn place(&self, path: &str) -> Result<Place, Refused> {
        let id = path.split('[').next().unwrap_or_default();
        let known = !self.plan.with_id(id).is_empty();
        // A step that the flow has and that is not there any more: its item has ended.
        let gone = || if known { Refused::Stale } else { Refused::UnknownStep(path.to_owned()) };
        self.state.find(self.plan, path).ok_or_else(gone)
    }

    fn at_work(&self, path: &str, attempt: u32) -> Result<Place, Refused> {
        let at = self.place(path)?;
        let cell = self.state.cell(at).ok_or(Refused::Stale)?;
        let same = cell.attempt == attempt || has(Bug::LateAnswerCounts);
        if cell.calling() && same { Ok(at) } else { Err(Refused::Stale) }
    }

    /// A step failed for good.
    pub(crate) fn fail(&mut self, at: Place, attempt: u32, error: StepError) {
        let path = self.path(at);
        let error = if error.step.is_empty() { StepError { step: path.clone(), ..error } } else { error };
        self.emit(Record::Failed { path, attempt, error, retry_at_ms: None });
    }
}
