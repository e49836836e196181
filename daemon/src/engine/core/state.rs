//! The state of a run: nothing but the fold of its records.
//!
//! Invariant: [`RunState::apply`] is the only thing that changes it, so that a run read back from its
//! journal is the run that was in memory. What follows from a failure (which scopes fail with it) is
//! part of the fold; what to do next is [`super::advance`].

use std::sync::Arc;

use aura_protocol::event::timestamp;
use aura_protocol::flow::Effect;
use aura_protocol::run::{
    Blocked, ErrorClass, Record, Resolution, RunHead, RunStarted, RunState as State, ScopeKind, StepError, StepState,
    Transition,
};
use aura_protocol::{RunId, Value};

use super::bugs::{Bug, has};
use super::plan::{Owner, Plan, ScopeIx, StepIx};

/// One step of a run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StepCell {
    /// State.
    pub state: Option<StepState>,
    /// Attempt at work or the last one; 0 before the first.
    pub attempt: u32,
    /// Resolved input of a call.
    pub input: Value,
    /// Idempotency key of a call.
    pub key: String,
    /// What a repeat does outside, as it was when scheduled.
    pub effect: Option<Effect>,
    /// When it was scheduled.
    pub scheduled_ms: i64,
    /// Attempt and daemon epoch of the last `Started`.
    pub started: Option<(u32, u64)>,
    /// A sleep ends then.
    pub wait_until_ms: Option<i64>,
    /// The next attempt is due then.
    pub retry_at_ms: Option<i64>,
    /// Some attempt of a call that must not be repeated blindly may have happened.
    pub unknown: bool,
    /// Its error, if it failed.
    pub error: Option<StepError>,
    /// It failed and its handler ended normally.
    pub handled: bool,
    /// The arm or handler that is open or was.
    pub open: Option<ScopeIx>,
    /// Its handler was opened.
    pub handler_open: bool,
    /// What `steps.<id>` shows once settled.
    pub value: Option<Value>,
}

impl StepCell {
    /// Whether nothing more happens to it.
    #[must_use]
    pub fn settled(&self) -> bool {
        match self.state {
            Some(StepState::Succeeded | StepState::Skipped | StepState::Cancelled) => true,
            Some(StepState::Failed) => self.handled,
            _ => false,
        }
    }

    /// Its output, null if there is none.
    #[must_use]
    pub fn output(&self) -> Value {
        self.value.as_ref().and_then(|value| value.get("output")).cloned().unwrap_or_default()
    }
}

/// How a run will end, once decided.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// Succeeded, failed or cancelled.
    pub state: State,
    /// Its error.
    pub error: Option<StepError>,
    /// Reason of `stop`, or last output.
    pub output: Value,
    /// By `stop`: no handler runs.
    pub stopped: bool,
}

/// Status, headers and body of an answer to a sender.
pub type Reply = (u16, Vec<(String, String)>, Vec<u8>);

/// A run.
#[derive(Clone, Debug, PartialEq)]
pub struct RunState {
    /// Its id.
    pub run: RunId,
    /// How it began.
    pub started: Option<Arc<RunStarted>>,
    /// `trigger` in expressions.
    pub trigger: Value,
    /// `run` in expressions.
    pub run_value: Value,
    /// `input` in expressions.
    pub input: Value,
    /// One cell per step of the plan.
    pub steps: Vec<StepCell>,
    /// Scopes that failed.
    pub failed: Vec<ScopeIx>,
    /// The flow's handler was opened.
    pub on_error_open: bool,
    /// The last steps were opened.
    pub finally_open: bool,
    /// How it will end.
    pub outcome: Option<Outcome>,
    /// Who wants it to end, and why.
    pub cancel: Option<(String, String)>,
    /// Its time is over.
    pub timed_out: bool,
    /// It ended so.
    pub finished: Option<State>,
    /// Number of the last transition.
    pub transition: u64,
    /// When it was created.
    pub created_ms: i64,
    /// When it ended.
    pub finished_ms: Option<i64>,
    /// Its deadline.
    pub deadline_ms: Option<i64>,
    /// In doubt since then: the deadline stands still.
    pub doubt_since_ms: Option<i64>,
    /// The answer to the sender.
    pub replied: Option<Reply>,
    /// The step that moved last.
    pub last_step: Option<StepIx>,
}

impl RunState {
    /// A run before its first record.
    #[must_use]
    pub fn new(run: RunId, plan: &Plan) -> Self {
        Self {
            run,
            started: None,
            trigger: Value::Null,
            run_value: Value::Null,
            input: Value::Null,
            steps: vec![StepCell::default(); plan.steps.len()],
            failed: Vec::new(),
            on_error_open: false,
            finally_open: false,
            outcome: None,
            cancel: None,
            timed_out: false,
            finished: None,
            transition: 0,
            created_ms: 0,
            finished_ms: None,
            deadline_ms: None,
            doubt_since_ms: None,
            replied: None,
            last_step: None,
        }
    }

    /// Reads a run back from its journal.
    #[must_use]
    pub fn fold(run: RunId, plan: &Plan, journal: &[Transition]) -> Self {
        let mut state = Self::new(run, plan);
        for transition in journal {
            state.open_transition(plan, transition.number, transition.at_ms);
            for record in &transition.records {
                state.apply(plan, record, transition.at_ms);
            }
        }
        state
    }

    /// Begins the fold of a transition. The clock of the run's timeout starts with the first one.
    pub fn open_transition(&mut self, plan: &Plan, number: u64, at_ms: i64) {
        if self.transition == 0 && number > 0 {
            self.deadline_ms = plan.timeout.map(|span| at_ms.saturating_add(ms(span.ms)));
        }
        self.transition = number;
    }

    /// Applies one record.
    pub fn apply(&mut self, plan: &Plan, record: &Record, at_ms: i64) {
        let ix = record.path().and_then(|path| plan.find(path));
        if ix.is_some() {
            self.last_step = ix;
        }
        match record {
            Record::RunStarted(started) => self.begin(started, at_ms),
            Record::Scheduled { input, key, effect, .. } => {
                if let Some(cell) = self.cell_mut(ix) {
                    cell.state = Some(StepState::Running);
                    cell.attempt = 1;
                    cell.input = input.clone();
                    cell.key.clone_from(key);
                    cell.effect = Some(*effect);
                    cell.scheduled_ms = at_ms;
                    cell.unknown = false;
                }
            }
            Record::Started { attempt, epoch, .. } => {
                if let Some(cell) = self.cell_mut(ix) {
                    cell.started = Some((*attempt, *epoch));
                    // A keyed call has this record only when it is sent again after a restart.
                    cell.unknown |= cell.effect == Some(Effect::Keyed);
                }
            }
            Record::Completed { output, .. } => self.completed(plan, ix, output),
            Record::Handled { output, .. } => {
                if let Some(cell) = self.cell_mut(ix) {
                    cell.handled = !has(Bug::HandledIsForgotten);
                    let error = cell.error.as_ref().map(StepError::to_value);
                    cell.value = Some(settled_value(output.clone(), StepState::Failed, error));
                }
            }
            Record::Failed { error, retry_at_ms, .. } => self.failed(plan, ix, error, *retry_at_ms),
            Record::Skipped { .. } => {
                if let Some(cell) = self.cell_mut(ix) {
                    cell.state = Some(StepState::Skipped);
                    cell.value = Some(settled_value(Value::Null, StepState::Skipped, None));
                }
            }
            Record::ScopeOpened { scope, .. } => self.opened(plan, ix, *scope),
            Record::WaitCreated { until_ms, .. } => {
                if let Some(cell) = self.cell_mut(ix) {
                    cell.state = Some(StepState::Waiting);
                    cell.wait_until_ms = Some(*until_ms);
                }
            }
            Record::TimerFired { .. } => self.timer_fired(ix, at_ms),
            Record::InDoubt { error, .. } => {
                if let Some(cell) = self.cell_mut(ix) {
                    cell.state = Some(StepState::InDoubt);
                    cell.retry_at_ms = None;
                    cell.error = Some(error.clone());
                }
                self.doubt_since_ms.get_or_insert(at_ms);
            }
            Record::Resolved { resolution, .. } => self.resolved(ix, resolution, at_ms),
            Record::CancelRequested { by, reason } => self.cancel = Some((by.clone(), reason.clone())),
            Record::Responded { status, headers, body, .. } => {
                self.replied = Some((*status, headers.clone(), body.clone()));
            }
            Record::Log { .. } => {}
            Record::RunFinished { state, .. } => {
                self.finished = Some(*state);
                self.finished_ms = Some(at_ms);
            }
        }
    }

    fn begin(&mut self, started: &Arc<RunStarted>, at_ms: i64) {
        self.created_ms = at_ms;
        // Whoever has read the event already hands it in; it is the same.
        if self.trigger.is_null() {
            self.trigger = started.event.to_trigger();
        }
        self.input = started.input.clone();
        let events = started.events.iter().map(|event| Value::from(event.to_string())).collect::<Vec<_>>();
        self.run_value = Value::object([
            ("id", Value::from(self.run.to_string())),
            ("flow", Value::from(started.flow.clone())),
            ("version", Value::from(started.version.clone())),
            ("started_at", Value::from(timestamp(at_ms))),
            ("events", Value::List(events)),
        ]);
        if let Some(error) = &started.refused {
            self.outcome = Some(failure(error.clone()));
        }
        self.started = Some(Arc::clone(started));
    }

    fn completed(&mut self, plan: &Plan, ix: Option<StepIx>, output: &Value) {
        let Some(ix) = ix else { return };
        let stops = plan.step(ix).and_then(|step| step.kind.stops());
        let Some(cell) = self.steps.get_mut(ix) else { return };
        cell.state = Some(StepState::Succeeded);
        cell.wait_until_ms = None;
        cell.retry_at_ms = None;
        cell.input = Value::Null;
        cell.value = Some(settled_value(output.clone(), StepState::Succeeded, None));
        if let Some(ok) = stops {
            let error = (!ok).then(|| StepError {
                step: plan.step(ix).map(|step| step.id.clone()).unwrap_or_default(),
                ..StepError::new(ErrorClass::Invalid, reason_text(output))
            });
            let state = if ok { State::Succeeded } else { State::Failed };
            self.outcome = Some(Outcome { state, error, output: output.clone(), stopped: true });
        }
    }

    fn failed(&mut self, plan: &Plan, ix: Option<StepIx>, error: &StepError, retry_at_ms: Option<i64>) {
        let Some(at) = ix else { return };
        let dropping = self.dropping();
        let Some(cell) = self.steps.get_mut(at) else { return };
        cell.wait_until_ms = None;
        cell.unknown |= error.unknown && cell.effect.is_some_and(|effect| !repeatable(effect));
        if let Some(due) = retry_at_ms {
            cell.state = Some(StepState::Retrying);
            cell.retry_at_ms = Some(due);
            cell.error = Some(error.clone());
            return;
        }
        cell.retry_at_ms = None;
        cell.error = Some(error.clone());
        if dropping && error.class == ErrorClass::Cancelled {
            cell.state = Some(StepState::Cancelled);
            cell.value = Some(settled_value(Value::Null, StepState::Cancelled, Some(error.to_value())));
            return;
        }
        cell.state = Some(StepState::Failed);
        cell.value = Some(settled_value(Value::Null, StepState::Failed, Some(error.to_value())));
        let has_handler = plan.step(at).is_some_and(|step| step.on_error.is_some());
        if !has_handler || cell.handler_open {
            self.fail_scope(plan, at, error);
        }
    }

    /// The scope of a step failed with it: so does its owner, unless a handler is there.
    fn fail_scope(&mut self, plan: &Plan, ix: StepIx, error: &StepError) {
        let Some(step) = plan.step(ix) else { return };
        self.failed.push(step.scope);
        match plan.owner_of(ix) {
            Owner::Root => {
                if self.outcome.is_none() {
                    self.outcome = Some(failure(error.clone()));
                }
            }
            Owner::Arm(owner, _) | Owner::OnError(owner) => self.failed(plan, Some(owner), error, None),
            Owner::FlowOnError | Owner::Finally => {
                let outcome = self.outcome.get_or_insert_with(|| failure(error.clone()));
                if outcome.state == State::Succeeded {
                    outcome.state = State::Failed;
                }
                match &mut outcome.error {
                    None => outcome.error = Some(error.clone()),
                    Some(first) if first != error => {
                        first.message = format!("{}; then in {}: {}", first.message, error.step, error.message);
                    }
                    Some(_) => {}
                }
            }
        }
    }

    fn opened(&mut self, plan: &Plan, ix: Option<StepIx>, scope: ScopeKind) {
        match scope {
            ScopeKind::Arm(arm) => {
                let open = ix.and_then(|ix| plan.arm(ix, arm));
                if let Some(cell) = self.cell_mut(ix) {
                    cell.state = Some(StepState::Running);
                    cell.open = open;
                }
            }
            ScopeKind::OnError => {
                let open = ix.and_then(|ix| plan.step(ix)).and_then(|step| step.on_error);
                if let Some(cell) = self.cell_mut(ix) {
                    cell.handler_open = true;
                    cell.open = open;
                }
            }
            ScopeKind::FlowOnError => self.on_error_open = true,
            ScopeKind::Finally => {
                self.finally_open = true;
                let outcome = self.ending(plan);
                self.outcome = Some(outcome);
            }
        }
    }

    /// How the run ends as things stand: a cancel sticks, else what was decided, else success.
    #[must_use]
    pub fn ending(&self, plan: &Plan) -> Outcome {
        if self.cancel.is_some() {
            return self.cancelled();
        }
        self.outcome.clone().unwrap_or_else(|| Outcome {
            state: State::Succeeded,
            error: None,
            output: self.last_output(plan, 0),
            stopped: false,
        })
    }

    /// The outcome of a cancelled run.
    #[must_use]
    pub fn cancelled(&self) -> Outcome {
        let (by, reason) = self.cancel.clone().unwrap_or_default();
        let error = StepError::new(ErrorClass::Cancelled, format!("cancelled by {by}: {reason}"));
        Outcome { state: State::Cancelled, error: Some(error), output: Value::Null, stopped: false }
    }

    /// Whether what is at work is being dropped: after a cancel or the run's timeout, before the last steps.
    #[must_use]
    pub fn dropping(&self) -> bool {
        !self.finally_open && (self.cancel.is_some() || (self.timed_out && !self.on_error_open))
    }

    fn timer_fired(&mut self, ix: Option<StepIx>, at_ms: i64) {
        let Some(cell) = self.cell_mut(ix) else {
            self.timed_out = true;
            let took = at_ms.saturating_sub(self.created_ms);
            let error =
                StepError::new(ErrorClass::Timeout, format!("the run took longer than its timeout ({took} ms)"));
            self.outcome.get_or_insert_with(|| failure(error));
            return;
        };
        if cell.state == Some(StepState::Retrying) {
            cell.state = Some(StepState::Running);
            cell.retry_at_ms = None;
            if !has(Bug::AttemptsAreForgotten) {
                cell.attempt += 1;
            }
            if has(Bug::KeyPerAttempt) {
                cell.key.push('+');
            }
        }
    }

    fn resolved(&mut self, ix: Option<StepIx>, resolution: &Resolution, at_ms: i64) {
        if let Some(cell) = self.cell_mut(ix) {
            if *resolution == Resolution::Retry {
                cell.attempt += 1;
                cell.error = None;
            }
            cell.state = Some(StepState::Running);
            cell.unknown = false;
        }
        let doubtful = self.steps.iter().any(|cell| cell.state == Some(StepState::InDoubt));
        if let (false, Some(since)) = (doubtful, self.doubt_since_ms) {
            self.doubt_since_ms = None;
            self.deadline_ms = self.deadline_ms.map(|due| due.saturating_add(at_ms.saturating_sub(since)));
        }
    }

    fn cell_mut(&mut self, ix: Option<StepIx>) -> Option<&mut StepCell> {
        self.steps.get_mut(ix?)
    }

    /// A step's cell.
    #[must_use]
    pub fn cell(&self, ix: StepIx) -> Option<&StepCell> {
        self.steps.get(ix)
    }

    /// Output of the last written step of a scope; null if it was skipped or there is none.
    #[must_use]
    pub fn last_output(&self, plan: &Plan, scope: ScopeIx) -> Value {
        plan.scope_steps(scope).last().and_then(|ix| self.cell(*ix)).map(StepCell::output).unwrap_or_default()
    }

    /// When something is due by itself: a sleep, a retry, or the run's deadline.
    #[must_use]
    pub fn next_due(&self) -> Option<i64> {
        if self.finished.is_some() {
            return None;
        }
        let steps = self.steps.iter().flat_map(|cell| [cell.wait_until_ms, cell.retry_at_ms]).flatten();
        steps.chain(self.live_deadline()).min()
    }

    /// The deadline, if it counts now: not while in doubt, not once the end is decided.
    #[must_use]
    pub fn live_deadline(&self) -> Option<i64> {
        let counts = self.doubt_since_ms.is_none()
            && !self.timed_out
            && self.cancel.is_none()
            && !self.finally_open
            && !self.on_error_open;
        self.deadline_ms.filter(|_| counts && self.finished.is_none())
    }

    /// The state people see.
    #[must_use]
    pub fn state(&self) -> State {
        if let Some(state) = self.finished {
            return state;
        }
        if self.transition == 0 {
            return State::Queued;
        }
        let any = |wanted: StepState| self.steps.iter().any(|cell| cell.state == Some(wanted));
        let calls = self.steps.iter().any(|cell| cell.state == Some(StepState::Running) && cell.effect.is_some());
        if calls {
            State::Running
        } else if any(StepState::Retrying) {
            State::Retrying
        } else if any(StepState::Waiting) {
            State::Waiting
        } else if any(StepState::InDoubt) {
            State::InDoubt
        } else {
            State::Running
        }
    }

    /// The step at work, or the one that moved last.
    #[must_use]
    pub fn current(&self) -> Option<StepIx> {
        let active = |cell: &StepCell| {
            matches!(
                cell.state,
                Some(StepState::Retrying | StepState::Waiting | StepState::InDoubt) | Some(StepState::Running)
            ) && cell.open.is_none()
        };
        self.steps.iter().position(active).or(self.last_step)
    }

    /// Why it does not move, in one line.
    #[must_use]
    pub fn blocked_by(&self, plan: &Plan) -> Option<Blocked> {
        let ix = self.current()?;
        let (cell, id) = (self.cell(ix)?, &plan.step(ix)?.id);
        let (reason, until_ms) = match (self.state(), cell.state?) {
            (state, _) if state.is_final() => return None,
            (_, StepState::Waiting) => {
                let until = cell.wait_until_ms?;
                (format!("{id} sleeps until {}", timestamp(until)), Some(until))
            }
            (_, StepState::Retrying) => {
                let due = cell.retry_at_ms?;
                let why = cell.error.as_ref().map(|error| error.message.clone()).unwrap_or_default();
                (format!("{id} tries again at {}: {why}", timestamp(due)), Some(due))
            }
            (_, StepState::InDoubt) => {
                let why = cell.error.as_ref().map(|error| error.message.clone()).unwrap_or_default();
                (format!("{id} is in doubt: {why}"), None)
            }
            _ => return None,
        };
        Some(Blocked { reason, until_ms })
    }

    /// The row lists show.
    #[must_use]
    pub fn head(&self, plan: &Plan) -> Option<RunHead> {
        let started = self.started.as_ref()?;
        let current = self.current();
        let settled = self.steps.iter().filter(|cell| cell.settled()).count();
        let error = self.outcome.as_ref().and_then(|outcome| outcome.error.clone()).filter(|_| self.finished.is_some());
        Some(RunHead {
            run: self.run,
            flow_id: started.flow_id,
            flow: started.flow.clone(),
            version: started.version.clone(),
            trigger: started.trigger.clone(),
            event: started.event.event,
            state: self.state(),
            created_ms: self.created_ms,
            finished_ms: self.finished_ms,
            step: current.and_then(|ix| plan.step(ix)).map(|step| step.id.clone()).unwrap_or_default(),
            attempt: current.and_then(|ix| self.cell(ix)).map_or(0, |cell| cell.attempt),
            steps_done: u32::try_from(settled).unwrap_or(u32::MAX),
            steps_all: u32::try_from(self.steps.len()).unwrap_or(u32::MAX),
            blocked_by: self.blocked_by(plan),
            error,
            transition: self.transition,
        })
    }
}

/// Whether repeating a call of this class is safe whatever became of it.
#[must_use]
pub fn repeatable(effect: Effect) -> bool {
    matches!(effect, Effect::Read | Effect::Idempotent)
}

/// A failed outcome.
#[must_use]
pub fn failure(error: StepError) -> Outcome {
    Outcome { state: State::Failed, error: Some(error), output: Value::Null, stopped: false }
}

/// What `steps.<id>` shows.
fn settled_value(output: Value, state: StepState, error: Option<Value>) -> Value {
    Value::object([("output", output), ("state", Value::from(state.word())), ("error", error.unwrap_or_default())])
}

fn reason_text(reason: &Value) -> String {
    reason.as_str().map_or_else(|| reason.to_json(), str::to_owned)
}

/// Milliseconds of a span as a signed number.
#[must_use]
pub fn ms(span: u64) -> i64 {
    i64::try_from(span).unwrap_or(i64::MAX / 4)
}
