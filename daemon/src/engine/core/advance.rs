//! What happens next: walks the open scopes and does all that needs no waiting, until nothing is left.
//!
//! Rule 8 of the flow format stands here once: step handler, scope, flow handler, compensation, `finally`,
//! finished. A scope is walked again as long as something in it moved; only what is at work is walked.

use aura_protocol::Value;
use aura_protocol::run::{ErrorClass, Record, RunState as State, ScopeKind, StepError, StepState};
use sha2::{Digest, Sha256};

use super::bugs::{Bug, has};
use super::frames::{FrameIx, StepCell};
use super::scope::StepScope;
use super::turn::{Turn, turn};
use super::{Place, Work, log};
use crate::engine::kinds::{Enter, Entered, refused};

/// One transition begins at most this many items of maps; the rest comes at once in the next.
pub const WAVE_ITEMS: u32 = 1000;
/// One transition begins no further item once it holds this many bytes of outputs.
const WAVE_BYTES: usize = 1024 * 1024;
/// One transition begins no further item once it has this many records.
const WAVE_RECORDS: usize = 8000;
/// A map's output is at most this large, as text.
const OUTPUT_MAX: usize = 4 * 1024 * 1024;

/// Where a scope stands.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    /// A call, a sleep or a person is awaited.
    Blocked,
    /// Every step has settled.
    Done,
    /// A failure in it was not handled, and nothing is at work in it.
    Failed,
}

impl Work<'_> {
    /// Runs to quiescence, or until the transition has grown long.
    pub(crate) fn advance(&mut self) {
        if self.state.paused.is_some() && !has(Bug::PauseDoesNotStick) {
            return;
        }
        // Each round settles or opens something of what is finite, and a long one yields: so this ends.
        while self.state.finished.is_none() && !self.wave.full && self.round() {}
        if self.wave.full && self.state.finished.is_none() {
            self.emit(Record::Yielded);
        }
    }

    /// One stage of the run's life; false if there is nothing to do now.
    fn round(&mut self) -> bool {
        if let Some(finally) = self.state.finally {
            return match self.walk(finally) {
                Progress::Blocked => false,
                Progress::Done | Progress::Failed => self.finish(),
            };
        }
        if self.state.compensating {
            return self.compensate();
        }
        let stopped = self.state.outcome.as_ref().is_some_and(|outcome| outcome.stopped);
        let ending = self.state.cancel.is_some() && !has(Bug::CancelDoesNotStick);
        if ending || self.state.timed_out || stopped {
            if self.calls_out() {
                return false;
            }
            let handler = self.state.timed_out && !ending && !stopped;
            return if handler { self.flow_handler() } else { self.compensate() };
        }
        if self.state.outcome.is_some() {
            return self.flow_handler();
        }
        match self.walk(0) {
            // What stopped the run from inside is seen in the next round.
            Progress::Blocked => self.state.outcome.is_some(),
            Progress::Done => self.compensate(),
            Progress::Failed => self.flow_handler(),
        }
    }

    /// Calls whose answers are awaited although the run is ending.
    fn calls_out(&self) -> bool {
        let mut out = false;
        self.state.each_live(&mut |_, cell| out |= cell.calling());
        out
    }

    /// The flow's handler, if there is one, then what follows it.
    fn flow_handler(&mut self) -> bool {
        if self.plan.on_error.is_none() || has(Bug::FlowHandlerIsSkipped) {
            return self.compensate();
        }
        let Some(handler) = self.state.on_error else {
            self.emit(Record::ScopeOpened { path: String::new(), scope: ScopeKind::FlowOnError });
            return true;
        };
        match self.walk(handler) {
            Progress::Blocked => self.state.outcome.as_ref().is_some_and(|outcome| outcome.stopped),
            Progress::Done | Progress::Failed => self.compensate(),
        }
    }

    /// Undoes what was done, the last first, unless the run ends well; then the last steps.
    fn compensate(&mut self) -> bool {
        if let Some(at) = self.state.undoing {
            let Some(frame) = self.state.cell(at).and_then(|cell| cell.undo) else { return self.last_steps() };
            let error = match self.walk(frame) {
                Progress::Blocked => return false,
                Progress::Done => None,
                Progress::Failed => self.state.frame(frame).and_then(|frame| frame.failed.clone()),
            };
            self.emit(Record::Compensated { path: self.path(at), error });
            return true;
        }
        let green = self.state.ending(self.plan).state == State::Succeeded && !self.state.compensating;
        let next = if has(Bug::CompensationInOrder) { self.state.undo.first() } else { self.state.undo.last() };
        match next.copied().filter(|_| !green && !has(Bug::UndoIsForgotten)) {
            Some(_) if !self.has_room() => false,
            Some(at) => {
                self.emit(Record::ScopeOpened { path: self.path(at), scope: ScopeKind::Compensate });
                true
            }
            None => self.last_steps(),
        }
    }

    /// `finally`, then the end.
    fn last_steps(&mut self) -> bool {
        let green = self.state.ending(self.plan).state == State::Succeeded;
        let skip = has(Bug::FinallyOnlyWhenGreen) && !green;
        if self.plan.finally.is_some() && self.state.finally.is_none() && !skip {
            self.emit(Record::ScopeOpened { path: String::new(), scope: ScopeKind::Finally });
            return true;
        }
        self.finish()
    }

    fn finish(&mut self) -> bool {
        let outcome = self.state.ending(self.plan);
        self.emit(Record::RunFinished { state: outcome.state, error: outcome.error, output: outcome.output });
        false
    }

    /// Whether nothing more begins now: the run was stopped from inside, or the transition is long enough.
    pub(super) fn halted(&self) -> bool {
        self.wave.full || (self.state.dropping() && !has(Bug::CancelDoesNotStick))
    }

    /// Whether this transition may begin one more item or compensation; if not, the next one does at once.
    pub(super) fn has_room(&mut self) -> bool {
        let wave = &mut self.wave;
        let records = self.out.records.len();
        wave.full |= wave.items >= WAVE_ITEMS || wave.bytes >= WAVE_BYTES || records >= WAVE_RECORDS;
        wave.items = wave.items.saturating_add(1);
        !wave.full
    }

    /// Does all that can be done in a scope now.
    pub(super) fn walk(&mut self, frame: FrameIx) -> Progress {
        loop {
            let before = self.out.records.len();
            let count = self.state.frame(frame).map_or(0, |frame| frame.cells.len());
            for position in 0..count {
                if self.halted() {
                    return Progress::Blocked;
                }
                self.visit(Place { frame, position });
            }
            if self.out.records.len() == before {
                break;
            }
        }
        match self.state.frame(frame) {
            Some(frame) if frame.failed.is_some() => {
                if frame.cells.iter().any(StepCell::active) {
                    Progress::Blocked
                } else {
                    Progress::Failed
                }
            }
            Some(frame) if frame.broken && !frame.cells.iter().any(StepCell::active) => Progress::Done,
            Some(frame) if frame.cells.iter().all(StepCell::settled) => Progress::Done,
            Some(_) => Progress::Blocked,
            // It failed, and what it was the item of has taken note.
            None => Progress::Failed,
        }
    }

    /// One step: begins it, or goes on inside of it.
    fn visit(&mut self, at: Place) {
        let Some(cell) = self.state.cell(at).filter(|cell| !cell.over) else { return };
        if cell.lost {
            return self.visit_lost(at);
        }
        if cell.expired {
            return self.visit_expired(at);
        }
        match cell.state {
            None => self.start(at),
            Some(StepState::Failed) => match cell.handler {
                None if has(Bug::HandlerIsSkipped) => {
                    self.emit(Record::Handled { path: self.path(at), output: Value::Null });
                }
                None => self.emit(Record::ScopeOpened { path: self.path(at), scope: ScopeKind::OnError }),
                Some(handler) => {
                    if self.walk(handler) == Progress::Done {
                        let output = self.state.last_output(handler);
                        self.emit(Record::Handled { path: self.path(at), output });
                    }
                }
            },
            Some(StepState::Running) if cell.items.is_some() => {
                if self.step_at(at).is_some_and(|step| step.kind.repeats().is_some()) {
                    self.visit_loop(at);
                } else {
                    self.visit_items(at);
                }
            }
            Some(StepState::Running) if cell.effect.is_none() => self.visit_body(at),
            _ => {}
        }
    }

    /// A step that a join did not wait for: over as soon as no call of it is out.
    fn visit_lost(&mut self, at: Place) {
        let mut out = false;
        self.state.live_under(at, &mut |_, cell| out |= cell.calling());
        if !out {
            let why = "a join went on without this step";
            self.fail(at, 0, StepError::new(ErrorClass::Cancelled, why));
        }
    }

    /// An arm that was taken, or a try.
    fn visit_body(&mut self, at: Place) {
        let Some(cell) = self.state.cell(at) else { return };
        let caught = cell.catch.is_some();
        let Some(body) = cell.catch.or(cell.body) else { return };
        match self.walk(body) {
            Progress::Done => {
                let output = self.state.last_output(body);
                self.emit(Record::Completed { path: self.path(at), attempt: 0, output });
            }
            Progress::Failed if !caught && self.catches(at) => self.catch(at),
            Progress::Failed | Progress::Blocked => {}
        }
    }

    /// The items of a map: goes on in those at work, begins others, ends the map.
    fn visit_items(&mut self, at: Place) {
        let live = |work: &Self| -> Vec<(u32, FrameIx)> {
            let items = work.state.cell(at).and_then(|cell| cell.items.as_ref());
            let Some(items) = items else { return Vec::new() };
            // A replay may open more than may be at work: of items that were undone. They come one after the other.
            let most = usize::try_from(items.parallel).unwrap_or(usize::MAX);
            items.live.iter().take(most).map(|(index, frame)| (*index, *frame)).collect()
        };
        for (index, frame) in live(self) {
            if self.halted() {
                return;
            }
            self.visit_item(at, index, frame);
        }
        loop {
            if self.halted() {
                return;
            }
            let Some(items) = self.state.cell(at).and_then(|cell| cell.items.as_ref()) else { return };
            let at_work = u32::try_from(items.live.len()).unwrap_or(u32::MAX);
            if items.failed.is_some() || items.next >= items.count() || at_work >= items.parallel {
                break;
            }
            let index = items.next;
            if !self.has_room() {
                return;
            }
            self.emit(Record::ScopeOpened { path: self.path(at), scope: ScopeKind::Item(index) });
            let items = self.state.cell(at).and_then(|cell| cell.items.as_ref());
            let Some(frame) = items.and_then(|items| items.live.get(&index).copied()) else { return };
            self.visit_item(at, index, frame);
        }
        let carry_on = self.step_at(at).and_then(|step| step.kind.map()).is_some_and(|rules| rules.carry_on);
        let Some(items) = self.state.cell(at).filter(|cell| !cell.over).and_then(|cell| cell.items.as_ref()) else {
            return;
        };
        if items.failed.is_some() || !items.live.is_empty() || items.next < items.count() {
            return;
        }
        if items.weight > OUTPUT_MAX {
            let message = format!(
                "what its items gave is together larger than {} MiB; end the steps of an item with a `set` of what is needed",
                OUTPUT_MAX / 1024 / 1024
            );
            return self.fail(at, 0, StepError::new(ErrorClass::Invalid, message));
        }
        let output = items.output(carry_on);
        self.wave.bytes = self.wave.bytes.saturating_add(items.weight);
        self.emit(Record::Completed { path: self.path(at), attempt: 0, output });
    }

    fn visit_item(&mut self, at: Place, index: u32, frame: FrameIx) {
        if self.walk(frame) == Progress::Done {
            self.emit(Record::ItemDone { path: self.path(at), index });
        }
    }

    /// A step that has not begun: waits, begins, or is skipped.
    fn start(&mut self, at: Place) {
        let frame = self.state.frame(at.frame).filter(|frame| frame.failed.is_none() && !frame.broken);
        let Some(frame) = frame else { return };
        let Some(step) = self.step_at(at) else { return };
        let id = step.id.clone();
        match turn(frame, step) {
            Turn::Wait => {}
            Turn::Skip => {
                let why = "what it needs did not come".to_owned();
                self.emit(Record::Skipped { path: self.path(at), why, spread: true });
            }
            Turn::Go(_) if self.breaks_before(at) => {}
            Turn::Go(losers) => {
                let losers = if has(Bug::LosersGoOn) { Vec::new() } else { losers };
                for position in losers {
                    let loser = Place { frame: at.frame, position };
                    self.emit(Record::Lost { path: self.path(loser), join: id.clone() });
                    self.drop_under(loser, "a join went on without this step");
                }
                self.enter(at);
            }
        }
    }

    /// A step's turn has come.
    pub(super) fn enter(&mut self, at: Place) {
        let path = self.path(at);
        let Some(step) = self.state.step_ix(self.plan, at).and_then(|ix| self.plan.step(ix)) else { return };
        let mut limited = None;
        let entered = {
            let scope = StepScope::new(self.plan, self.state, self.moment, at);
            let entered = match step.when.as_ref().map(|when| when.eval_bool(&scope)) {
                Some(Err(error)) => Err(error),
                Some(Ok((false, _))) if scope.lost().is_none() => {
                    let why = "its `if` is false".to_owned();
                    self.emit(Record::Skipped { path, why, spread: false });
                    return;
                }
                _ => match self.state.edited(&path) {
                    Some(input) => Ok(Entered::Call { input: input.clone(), draws: Vec::new() }),
                    None => step.kind.enter(&Enter { scope: &scope, now_ms: self.moment.now_ms }),
                },
            };
            let counted = step.counted.as_ref().filter(|_| matches!(entered, Ok(Entered::Call { .. })));
            let entered = match counted.map(|counted| counted.of(&scope)) {
                None => entered,
                Some(Ok(found)) => {
                    limited = Some(Box::new(found));
                    entered
                }
                Some(Err(error)) => Err(error),
            };
            match (scope.lost(), entered) {
                (Some(lost), _) => Err(refused(lost)),
                (None, entered) => entered,
            }
        };
        if let Ok(Entered::Done(value) | Entered::Call { input: value, .. }) = &entered
            && let Some(error) = self.refused(value)
        {
            self.fail(at, 0, StepError { step: path, ..error });
            return;
        }
        match entered {
            Err(error) => {
                let mut error = StepError::new(ErrorClass::Invalid, error.to_string());
                error.step.clone_from(&path);
                self.fail(at, 0, error);
            }
            Ok(Entered::Done(output)) => {
                self.wave.bytes = self.wave.bytes.saturating_add(output.weight());
                self.emit(Record::Completed { path, attempt: 0, output });
                if step.kind.stops().is_some() {
                    self.drop_all("the run was stopped");
                }
            }
            Ok(Entered::Arm(arm)) => {
                self.emit(Record::ScopeOpened { path, scope: ScopeKind::Arm(arm) });
                self.visit(at);
            }
            Ok(Entered::Try) => {
                self.emit(Record::ScopeOpened { path, scope: ScopeKind::Try });
                self.visit(at);
            }
            Ok(Entered::Loop) => self.visit_loop(at),
            Ok(Entered::Items { items, .. }) if items.is_empty() => {
                self.emit(Record::Completed { path, attempt: 0, output: Value::List(Vec::new()) });
            }
            Ok(Entered::Items { .. }) if self.is_full() => self.fail(at, 0, self.full()),
            Ok(Entered::Items { items, keys, parallel }) => {
                self.emit(Record::Listed { path, items, keys, parallel });
                if let (true, Some(Record::Listed { keys, .. })) =
                    (has(Bug::ItemKeyIsForgotten), self.out.records.last_mut())
                {
                    keys.clear();
                }
                self.visit(at);
            }
            Ok(Entered::Wait(until_ms)) => self.emit(Record::WaitCreated { path, until_ms }),
            Ok(Entered::Await { what, until_ms }) => self.wait(at, what, Some(until_ms)),
            Ok(Entered::Respond { status, headers, body }) => {
                if self.state.replied.is_some() {
                    self.emit(log(&path, "warn", "the sender was already answered; this answer is not sent"));
                } else {
                    self.emit(Record::Responded { path: path.clone(), status, headers, body });
                }
                self.emit(Record::Completed { path, attempt: 0, output: Value::Null });
            }
            Ok(Entered::Call { input, draws }) => {
                let effect = step.effect;
                let input_hash = hash(&input);
                let kept = self
                    .state
                    .kept_key(&path)
                    .filter(|kept| kept.input_hash == input_hash || has(Bug::ReplayKeepsEveryKey));
                let key = kept.map_or_else(|| (self.keys)(&path), |kept| kept.key.clone());
                self.wave.bytes = self.wave.bytes.saturating_add(input.weight());
                self.emit(Record::Scheduled { path, input, input_hash, key, effect, draws, limit: limited });
                self.call(at);
            }
        }
    }
}

/// SHA-256 of the canonical input, hex.
pub(super) fn hash(input: &Value) -> String {
    hex::encode(Sha256::digest(input.to_canonical_json()))
}
