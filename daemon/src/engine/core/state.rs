//! The state of a run: nothing but the fold of its records.
//!
//! Invariant: [`RunState::apply`] is the only thing that changes it, so that a run read back from its
//! journal is the run that was in memory. What follows from a failure (which scopes fail with it, and that
//! an item failed) is part of the fold; what to do next is [`super::advance`]. Its open scopes are
//! [`super::frames`], what people see of it `view`.

use std::collections::BTreeMap;
use std::sync::Arc;

use aura_protocol::event::timestamp;
use aura_protocol::flow::Effect;
use aura_protocol::run::{
    Awaited, ErrorClass, KeptKey, Point, Record, Resolution, RunStarted, RunState as State, ScopeKind, StepError,
    StepState, Transition,
};
use aura_protocol::{RunId, Value};

use super::bugs::{Bug, has};
use super::frames::{Frame, FrameIx, Items, Place, StepCell, result_weight};
use super::plan::{Owner, Plan, StepIx};

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
    /// Its scopes; 0 is the flow's `steps`.
    pub frames: Vec<Option<Box<Frame>>>,
    /// The flow's handler, once it was opened.
    pub on_error: Option<FrameIx>,
    /// The last steps, once they were opened.
    pub finally: Option<FrameIx>,
    /// Steps that may have to be undone, in the order in which they were completed.
    pub undo: Vec<Place>,
    /// Steps are being undone.
    pub compensating: bool,
    /// The step that is being undone.
    pub undoing: Option<Place>,
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
    /// Records of its journal.
    pub records: u64,
    /// When it was created.
    pub created_ms: i64,
    /// When it ended.
    pub finished_ms: Option<i64>,
    /// Its deadline.
    pub deadline_ms: Option<i64>,
    /// In doubt or paused since then: the deadline stands still.
    pub still_since_ms: Option<i64>,
    /// Who paused it, and why.
    pub paused: Option<(String, String)>,
    /// The last transition left something to do at once.
    pub yielded_ms: Option<i64>,
    /// The answer to the sender.
    pub replied: Option<Reply>,
    /// The step that moved last.
    pub last: Option<Place>,
    /// Steps outside of maps that are over.
    pub done: u32,
    /// What came for steps before they waited for it, by path.
    pub signals: BTreeMap<String, Value>,
    /// The large values that its journal refers to, by hash, with their bytes.
    pub held: BTreeMap<[u8; 16], u64>,
}

impl RunState {
    /// A run before its first record.
    #[must_use]
    pub fn new(run: RunId, plan: &Plan) -> Self {
        let mut state = Self {
            run,
            started: None,
            trigger: Value::Null,
            run_value: Value::Null,
            input: Value::Null,
            frames: Vec::new(),
            on_error: None,
            finally: None,
            undo: Vec::new(),
            compensating: false,
            undoing: None,
            outcome: None,
            cancel: None,
            timed_out: false,
            finished: None,
            transition: 0,
            records: 0,
            created_ms: 0,
            finished_ms: None,
            deadline_ms: None,
            still_since_ms: None,
            paused: None,
            yielded_ms: None,
            replied: None,
            last: None,
            done: 0,
            signals: BTreeMap::new(),
            held: BTreeMap::new(),
        };
        state.open_frame(plan, 0, None, None);
        state
    }

    /// Reads a run back from its journal.
    #[must_use]
    pub fn fold(run: RunId, plan: &Plan, journal: &[Transition]) -> Self {
        let mut state = Self::new(run, plan);
        journal.iter().for_each(|transition| state.read(plan, transition));
        state
    }

    /// Reads the next transition of its journal.
    pub fn read(&mut self, plan: &Plan, transition: &Transition) {
        self.open_transition(plan, transition.number, transition.at_ms);
        for record in &transition.records {
            self.apply(plan, record, transition.at_ms);
        }
    }

    /// Begins the fold of a transition. The clock of the run's timeout starts with the first one.
    pub fn open_transition(&mut self, plan: &Plan, number: u64, at_ms: i64) {
        if self.transition == 0 && number > 0 {
            self.deadline_ms = plan.timeout.map(|span| at_ms.saturating_add(ms(span.ms)));
        }
        self.transition = number;
        self.yielded_ms = None;
    }

    /// Applies one record.
    pub fn apply(&mut self, plan: &Plan, record: &Record, at_ms: i64) {
        // What is copied counts once, by itself.
        let own = !matches!(record, Record::Copied(_));
        self.records = self.records.saturating_add(u64::from(own));
        record.blobs(&mut |blob| {
            self.held.insert(blob.hash, blob.bytes);
        });
        match record {
            Record::RunStarted(started) => self.begin(started, at_ms),
            Record::CancelRequested { by, reason } => {
                self.cancel = Some((by.clone(), reason.clone()));
                self.resumed(at_ms);
            }
            Record::Paused { by, reason } => {
                self.paused = Some((by.clone(), reason.clone()));
                if !has(Bug::PausedTimeCounts) {
                    self.still_since_ms.get_or_insert(at_ms);
                }
            }
            Record::Resumed { .. } => self.resumed(at_ms),
            Record::Yielded => self.yielded_ms = Some(at_ms),
            Record::Migrated { version, .. } => self.migrated(version),
            Record::RunFinished { state, error, output } => {
                self.finished = Some(*state);
                self.finished_ms = Some(at_ms);
                // Ended from outside: nothing of the run said how.
                if let (None, Some(error)) = (&self.outcome, error) {
                    let error = Some(error.clone());
                    self.outcome = Some(Outcome { state: *state, error, output: output.clone(), stopped: false });
                }
            }
            Record::ScopeOpened { path, scope: scope @ (ScopeKind::FlowOnError | ScopeKind::Finally) }
                if path.is_empty() =>
            {
                self.open_end(plan, *scope);
            }
            Record::TimerFired { path } if path.is_empty() => self.timed_out(at_ms),
            Record::Copied(copied) => self.apply(plan, copied, at_ms),
            Record::Signalled { path, data, .. } => {
                let at = self.find(plan, path);
                self.last = at.or(self.last);
                let waits = at.and_then(|at| self.cell(at)).is_some_and(|cell| cell.state.is_some());
                if !waits && !has(Bug::EarlySignalIsForgotten) {
                    self.signals.insert(path.clone(), data.clone());
                }
            }
            record => {
                if let Some(at) = record.path().and_then(|path| self.find(plan, path)) {
                    self.last = Some(at);
                    self.apply_at(plan, at, record, at_ms);
                }
            }
        }
    }

    /// Applies the record of a step.
    fn apply_at(&mut self, plan: &Plan, at: Place, record: &Record, at_ms: i64) {
        match record {
            Record::Scheduled { path, input, key, effect, limit, .. } => {
                let key_ms = self.kept_key(path).filter(|kept| kept.key == *key).map_or(at_ms, |kept| kept.since_ms);
                if let Some(cell) = self.cell_mut(at) {
                    cell.state = Some(StepState::Running);
                    cell.attempt = 1;
                    cell.input = input.clone();
                    cell.key.clone_from(key);
                    cell.effect = Some(*effect);
                    cell.scheduled_ms = at_ms;
                    cell.unknown = false;
                    cell.limited.clone_from(limit);
                    cell.key_ms = key_ms;
                }
            }
            Record::Started { attempt, epoch, .. } => {
                if let Some(cell) = self.cell_mut(at) {
                    cell.started = Some((*attempt, *epoch));
                    // A keyed call has this record only when it is sent again after a restart.
                    cell.unknown |= cell.effect == Some(Effect::Keyed);
                }
            }
            Record::Completed { output, .. } => self.completed(plan, at, output),
            Record::Handled { output, .. } => {
                if let Some(cell) = self.cell_mut(at) {
                    cell.handled = !has(Bug::HandledIsForgotten);
                    let error = cell.error.as_ref().map(StepError::to_value);
                    cell.value = Some(settled_value(output.clone(), StepState::Failed, error));
                }
                self.over(plan, at);
            }
            Record::Failed { error, retry_at_ms, .. } => self.failed(plan, at, error, *retry_at_ms),
            Record::Skipped { spread, .. } => {
                if let Some(cell) = self.cell_mut(at) {
                    cell.state = Some(StepState::Skipped);
                    cell.spread = *spread;
                    cell.value = Some(settled_value(Value::Null, StepState::Skipped, None));
                }
                self.over(plan, at);
            }
            Record::Lost { .. } => self.lost(plan, at, at_ms),
            Record::ScopeOpened { scope, .. } => self.opened(plan, at, *scope, at_ms),
            Record::Broken { index, .. } => {
                let frame = self.cell(at).and_then(|cell| cell.items.as_ref()?.live.get(index).copied());
                if let Some(frame) = frame.and_then(|frame| self.frame_mut(frame)) {
                    frame.broken = true;
                }
            }
            Record::TimedOut { error, .. } => {
                if let Some(cell) = self.cell_mut(at) {
                    cell.expired = true;
                    cell.error = Some(error.clone());
                }
            }
            Record::Listed { items, keys, parallel, .. } => {
                let limit = limit(plan, self.step_ix(plan, at));
                if let Some(cell) = self.cell_mut(at) {
                    cell.contain(at_ms, limit);
                    cell.items = Some(Box::new(Items::new(items.clone(), keys.clone(), *parallel)));
                }
            }
            Record::ItemDone { index, .. } => {
                let frame = self.cell(at).and_then(|cell| cell.items.as_ref()?.live.get(index).copied());
                let output = frame.map(|frame| self.last_output(frame)).unwrap_or_default();
                self.item_over(plan, at, *index, Ok(output));
            }
            Record::WaitCreated { until_ms, .. } => {
                if let Some(cell) = self.cell_mut(at) {
                    cell.state = Some(StepState::Waiting);
                    cell.wait_until_ms = Some(*until_ms);
                }
            }
            Record::Awaiting { what, until_ms, .. } => {
                if let Some(cell) = self.cell_mut(at) {
                    cell.state = Some(StepState::Waiting);
                    cell.awaits = Some(Box::new(what.clone()));
                    cell.people = matches!(what, Awaited::People(_)).then(Box::default);
                    cell.wait_until_ms = *until_ms;
                }
            }
            Record::Voted { .. } | Record::Delegated { .. } | Record::Escalated { .. } => {
                if let Some(people) = self.cell_mut(at).and_then(|cell| cell.people.as_deref_mut()) {
                    super::votes::apply(people, record);
                }
            }
            Record::Called { run, flow, waits: true, .. } => {
                if let Some(cell) = self.cell_mut(at) {
                    cell.state = Some(StepState::Waiting);
                    cell.awaits = Some(Box::new(Awaited::Run { run: *run, flow: flow.clone() }));
                }
            }
            Record::TimerFired { .. } => self.retried(at),
            Record::InDoubt { error, .. } => {
                let lost = self.is_lost(at);
                if let Some(cell) = self.cell_mut(at) {
                    cell.state = Some(StepState::InDoubt);
                    cell.retry_at_ms = None;
                    cell.error = Some(error.clone());
                }
                if lost {
                    // Listed for people, never blocking.
                    self.over(plan, at);
                } else {
                    self.still_since_ms.get_or_insert(at_ms);
                }
            }
            Record::Resolved { resolution, .. } => {
                if let Some(cell) = self.cell_mut(at) {
                    if *resolution == Resolution::Retry {
                        cell.attempt += 1;
                        cell.error = None;
                    }
                    cell.state = Some(StepState::Running);
                    cell.unknown = false;
                }
                self.doubt_ends(at_ms);
            }
            Record::Compensated { error, .. } => {
                self.undoing = None;
                self.undo.retain(|undone| *undone != at);
                if let Some(error) = error {
                    self.add_error(error);
                }
            }
            Record::Responded { status, headers, body, .. } => {
                self.replied = Some((*status, headers.clone(), body.clone()));
            }
            Record::ItemsCopied { items, .. } => self.items_copied(plan, at, items, at_ms),
            Record::Log { .. }
            | Record::Copied(_)
            | Record::Called { .. }
            | Record::Signalled { .. }
            | Record::RunStarted(_)
            | Record::CancelRequested { .. }
            | Record::Paused { .. }
            | Record::Resumed { .. }
            | Record::ForceFinished { .. }
            | Record::Migrated { .. }
            | Record::Yielded
            | Record::RunFinished { .. } => {}
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

    fn migrated(&mut self, version: &str) {
        let Some(started) = &self.started else { return };
        self.started = Some(Arc::new(RunStarted { version: version.to_owned(), ..RunStarted::clone(started) }));
        if let Value::Map(run) = &mut self.run_value {
            run.insert("version".to_owned(), Value::from(version));
        }
    }

    /// The key that a call keeps of the run that this one goes on from.
    #[must_use]
    pub fn kept_key(&self, path: &str) -> Option<&KeptKey> {
        let keys = &self.started.as_ref()?.origin.as_ref()?.keys;
        // In the order of their paths.
        keys.binary_search_by(|kept| kept.path.as_str().cmp(path)).ok().and_then(|found| keys.get(found))
    }

    /// The input of a call as somebody edited it for this run.
    #[must_use]
    pub fn edited(&self, path: &str) -> Option<&Value> {
        let origin = self.started.as_ref()?.origin.as_ref()?;
        origin.input.as_ref().filter(|_| matches!(&origin.point, Point::Step(step) if step == path))
    }

    fn completed(&mut self, plan: &Plan, at: Place, output: &Value) {
        let Some(step) = self.step_ix(plan, at).and_then(|ix| plan.step(ix)) else { return };
        let Some(cell) = self.cell_mut(at) else { return };
        cell.state = Some(StepState::Succeeded);
        cell.wait_until_ms = None;
        cell.awaits = None;
        cell.people = None;
        cell.retry_at_ms = None;
        cell.input = Value::Null;
        cell.value = Some(settled_value(output.clone(), StepState::Succeeded, None));
        if let Some(items) = &mut cell.items {
            // What they gave is in the output; the list was read for the last time, unless a body is kept.
            items.results.clear();
            if items.kept.is_empty() {
                **items = Items::default();
            }
        }
        if let Some(ok) = step.kind.stops() {
            let error = (!ok).then(|| StepError {
                step: step.id.clone(),
                ..StepError::new(ErrorClass::Invalid, reason_text(output))
            });
            let state = if ok { State::Succeeded } else { State::Failed };
            self.outcome = Some(Outcome { state, error, output: output.clone(), stopped: true });
        }
        if step.compensate.is_some() {
            self.undo.push(at);
            self.keep(at);
        }
        self.over(plan, at);
    }

    fn failed(&mut self, plan: &Plan, at: Place, error: &StepError, retry_at_ms: Option<i64>) {
        let (dropping, lost) = (self.dropping(), self.is_lost(at));
        let has_handler =
            self.step_ix(plan, at).and_then(|ix| plan.step(ix)).is_some_and(|step| step.on_error.is_some());
        let Some(cell) = self.cell_mut(at) else { return };
        cell.wait_until_ms = None;
        cell.awaits = None;
        cell.people = None;
        cell.expired = false;
        cell.unknown |= error.unknown && cell.effect.is_some_and(|effect| !repeatable(effect));
        cell.retry_at_ms = retry_at_ms;
        cell.error = Some(error.clone());
        if retry_at_ms.is_some() {
            cell.state = Some(StepState::Retrying);
            return;
        }
        if lost || (dropping && error.class == ErrorClass::Cancelled) {
            cell.state = Some(StepState::Cancelled);
            cell.value = Some(settled_value(Value::Null, StepState::Cancelled, Some(error.to_value())));
            return self.over(plan, at);
        }
        cell.state = Some(StepState::Failed);
        cell.value = Some(settled_value(Value::Null, StepState::Failed, Some(error.to_value())));
        if !has_handler || cell.handler.is_some() {
            if let Some(frame) = self.frame_mut(at.frame) {
                frame.failed.get_or_insert_with(|| error.clone());
            }
            self.over(plan, at);
        }
    }

    /// Nothing more happens to a step: if its scope has failed and nothing else is at work in it, that fails upward
    /// (rule 7).
    fn over(&mut self, plan: &Plan, at: Place) {
        let in_map = self.step_ix(plan, at).and_then(|ix| plan.step(ix)).is_some_and(|step| step.in_map);
        let Some(cell) = self.cell_mut(at) else { return };
        if !std::mem::replace(&mut cell.over, true) && !in_map {
            self.done = self.done.saturating_add(1);
        }
        let Some(frame) = self.frame_mut(at.frame) else { return };
        if frame.closed || frame.cells.iter().any(StepCell::active) {
            return;
        }
        let Some(error) = frame.failed.clone() else { return };
        frame.closed = true;
        let (scope, owner, index) = (frame.scope, frame.owner, frame.index.as_ref().map(|(index, _)| *index));
        match (plan.owner(scope), owner) {
            (Owner::FlowOnError | Owner::Finally, _) => self.add_error(&error),
            (Owner::Try(_), Some(owner)) => {
                // Its catch begins in the same transition; the time of the whole being over comes first.
                if let Some(cell) = self.cell_mut(owner).filter(|cell| !cell.expired) {
                    cell.error = Some(error);
                }
            }
            (Owner::Arm(..) | Owner::OnError(_) | Owner::Catch(_), Some(owner)) => {
                self.failed(plan, owner, &error, None)
            }
            (Owner::Item(_), Some(owner)) => self.item_over(plan, owner, index.unwrap_or_default(), Err(error)),
            // What undoes a step fails alone; the record that ends it says so.
            (Owner::Compensate(_), _) => {}
            _ => {
                self.outcome.get_or_insert_with(|| failure(error));
            }
        }
    }

    /// An item of a map has ended.
    fn item_over(&mut self, plan: &Plan, map: Place, index: u32, result: Result<Value, StepError>) {
        let kind = self.step_ix(plan, map).and_then(|ix| plan.step(ix)).map(|step| &step.kind);
        let carry_on = kind.and_then(|kind| kind.map()).is_some_and(|rules| rules.carry_on);
        let carry_on = carry_on || has(Bug::ItemFailureIsGreen);
        let repeats = kind.is_some_and(|kind| kind.repeats().is_some());
        let frame = self.cell_mut(map).and_then(|cell| cell.items.as_mut()?.live.remove(&index));
        let kept = frame.filter(|frame| !self.drop_frame(*frame));
        if self.last.is_none_or(|last| self.cell(last).is_none()) {
            self.last = Some(map);
        }
        let Some(items) = self.cell_mut(map).and_then(|cell| cell.items.as_mut()) else { return };
        items.kept.extend(kept.map(|frame| (index, frame)));
        if repeats {
            // Only what the last iteration gave is ever read.
            items.results.clear();
            items.weight = 0;
        }
        items.weight = items.weight.saturating_add(result_weight(&result));
        if let Err(error) = &result
            && !carry_on
        {
            items.failed.get_or_insert_with(|| error.clone());
        }
        items.results.insert(index, result);
        let failed = items.failed.clone().filter(|_| items.live.is_empty());
        if let Some(error) = failed {
            self.failed(plan, map, &error, None);
        }
    }

    /// A join went on without a step.
    fn lost(&mut self, plan: &Plan, at: Place, at_ms: i64) {
        let Some(cell) = self.cell_mut(at) else { return };
        cell.lost = true;
        let begun = cell.state.is_some();
        let doubtful = cell.state == Some(StepState::InDoubt);
        if cell.value.is_none() {
            let state = if begun { StepState::Cancelled } else { StepState::Skipped };
            cell.value = Some(settled_value(Value::Null, state, None));
        }
        if !begun {
            cell.state = Some(StepState::Skipped);
        }
        let mut inside = Vec::new();
        self.live_under(at, &mut |place, cell| {
            if cell.state == Some(StepState::InDoubt) {
                inside.push(place);
            }
        });
        if !begun || doubtful {
            self.over(plan, at);
        }
        for place in inside {
            self.over(plan, place);
        }
        self.doubt_ends(at_ms);
    }

    fn opened(&mut self, plan: &Plan, at: Place, scope: ScopeKind, at_ms: i64) {
        let Some(ix) = self.step_ix(plan, at) else { return };
        let Some(step) = plan.step(ix) else { return };
        let limit = limit(plan, Some(ix));
        match scope {
            ScopeKind::Arm(_) | ScopeKind::Try => {
                let body = if let ScopeKind::Arm(arm) = scope { plan.arm(ix, arm) } else { step.body };
                let frame = body.map(|body| self.open_frame(plan, body, Some(at), None));
                if let Some(cell) = self.cell_mut(at) {
                    cell.contain(at_ms, limit);
                    cell.body = frame;
                }
            }
            ScopeKind::Catch => {
                let frame = step.catch.map(|catch| self.open_frame(plan, catch, Some(at), None));
                if let Some(cell) = self.cell_mut(at) {
                    // What it does instead is not bound by the time of what failed.
                    (cell.catch, cell.expired, cell.deadline_ms) = (frame, false, None);
                }
            }
            ScopeKind::Iteration(index) => {
                let frame = step.body.map(|scope| self.open_frame(plan, scope, Some(at), Some(index)));
                let Some(cell) = self.cell_mut(at) else { return };
                if cell.items.is_none() {
                    cell.contain(at_ms, limit);
                }
                let items = cell.items.get_or_insert_with(|| Box::new(Items::new(Vec::new(), Vec::new(), 1)));
                items.live.extend(frame.map(|frame| (index, frame)));
                items.next = index.saturating_add(1);
            }
            ScopeKind::OnError => {
                let frame = step.on_error.map(|scope| self.open_frame(plan, scope, Some(at), None));
                if let Some(cell) = self.cell_mut(at) {
                    cell.handler = frame;
                }
            }
            ScopeKind::Item(index) => {
                let frame = step.body.map(|scope| self.open_frame(plan, scope, Some(at), Some(index)));
                if let Some(items) = self.cell_mut(at).and_then(|cell| cell.items.as_mut()) {
                    frame.into_iter().for_each(|frame| items.begins(index, frame));
                }
            }
            ScopeKind::Compensate => {
                self.decide_end(plan);
                self.compensating = true;
                self.undoing = Some(at);
                let frame = step.compensate.map(|scope| self.open_frame(plan, scope, Some(at), None));
                if let Some(cell) = self.cell_mut(at) {
                    cell.undo = frame;
                }
            }
            ScopeKind::FlowOnError | ScopeKind::Finally => {}
        }
    }

    /// The flow's handler or the last steps begin.
    fn open_end(&mut self, plan: &Plan, scope: ScopeKind) {
        if scope == ScopeKind::Finally {
            self.decide_end(plan);
            self.finally = plan.finally.map(|scope| self.open_frame(plan, scope, None, None));
        } else {
            self.on_error = plan.on_error.map(|scope| self.open_frame(plan, scope, None, None));
        }
    }

    /// From here on only errors are added to the end.
    fn decide_end(&mut self, plan: &Plan) {
        if !self.closing() {
            let outcome = self.ending(plan);
            self.outcome = Some(outcome);
        }
    }

    /// Whether only compensations and the last steps are left.
    #[must_use]
    pub fn closing(&self) -> bool {
        self.compensating || self.finally.is_some()
    }

    /// An error after the end was decided is added to it.
    fn add_error(&mut self, error: &StepError) {
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

    /// How the run ends as things stand: a cancel sticks, else what was decided, else success.
    #[must_use]
    pub fn ending(&self, _plan: &Plan) -> Outcome {
        if self.cancel.is_some() && !self.closing() {
            return self.cancelled();
        }
        self.outcome.clone().unwrap_or_else(|| Outcome {
            state: State::Succeeded,
            error: None,
            output: self.last_output(0),
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

    /// Whether what is at work is being dropped: after a cancel, a `stop` or the run's timeout, before what still
    /// runs then.
    #[must_use]
    pub fn dropping(&self) -> bool {
        let stopped = self.outcome.as_ref().is_some_and(|outcome| outcome.stopped);
        !self.closing() && (self.cancel.is_some() || stopped || (self.timed_out && self.on_error.is_none()))
    }

    fn timed_out(&mut self, at_ms: i64) {
        self.timed_out = true;
        let took = at_ms.saturating_sub(self.created_ms);
        let error = StepError::new(ErrorClass::Timeout, format!("the run took longer than its timeout ({took} ms)"));
        self.outcome.get_or_insert_with(|| failure(error));
    }

    /// The next attempt of a step is due.
    fn retried(&mut self, at: Place) {
        let Some(cell) = self.cell_mut(at) else { return };
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

    /// It is paused no more.
    fn resumed(&mut self, at_ms: i64) {
        if self.paused.take().is_some() {
            self.doubt_ends(at_ms);
        }
    }

    /// If it is not paused and nothing that counts is in doubt any more, the deadline goes on.
    fn doubt_ends(&mut self, at_ms: i64) {
        let Some(since) = self.still_since_ms.filter(|_| self.paused.is_none()) else { return };
        let mut doubtful = false;
        self.each_live(&mut |_, cell| doubtful |= cell.state == Some(StepState::InDoubt));
        if !doubtful {
            self.still_since_ms = None;
            self.deadline_ms = self.deadline_ms.map(|due| due.saturating_add(at_ms.saturating_sub(since)));
            let mut limited = Vec::new();
            self.each_live(&mut |at, cell| limited.extend(cell.deadline_ms.map(|_| at)));
            for at in limited {
                let Some(cell) = self.cell_mut(at) else { continue };
                let stood = at_ms.saturating_sub(since.max(cell.scheduled_ms));
                cell.deadline_ms = cell.deadline_ms.map(|due| due.saturating_add(stood));
            }
        }
    }

    /// Output of the last written step of a scope; null if it was skipped or there is none. Of an iteration that
    /// was broken off, of the last one that came.
    #[must_use]
    pub fn last_output(&self, frame: FrameIx) -> Value {
        let Some(frame) = self.frame(frame) else { return Value::Null };
        let mut cells = frame.cells.iter().rev().skip_while(|cell| frame.broken && cell.state.is_none());
        cells.next().map(StepCell::output).unwrap_or_default()
    }
}

/// How long all that is in a step may take, in milliseconds.
fn limit(plan: &Plan, step: Option<StepIx>) -> Option<i64> {
    plan.step(step?)?.limit.map(|span| ms(span.ms))
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
