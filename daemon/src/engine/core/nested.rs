//! Steps with steps in them that may go round, fail into a `catch`, or run out of time.
//!
//! Invariant: an iteration is judged once, in the transition in which its last step settled: the records of its end
//! and of what follows (the next one, or the end of the loop) are one commit. What a time limit ends is ended as a
//! cancel does it: calls that must not be repeated blindly are left to end, and only then does the step fail.

use aura_protocol::Value;
use aura_protocol::expr::Template;
use aura_protocol::run::{ErrorClass, Record, ScopeKind, StepError};

use super::advance::Progress;
use super::bugs::{Bug, has};
use super::frames::{FrameIx, StepCell};
use super::scope::StepScope;
use super::{Place, Work};

impl Work<'_> {
    /// Whether a failure in a step's body has a `catch` to go to.
    pub(super) fn catches(&self, at: Place) -> bool {
        self.step_at(at).is_some_and(|step| step.catch.is_some())
    }

    /// The body of a `try` failed, or its time is over: what runs instead.
    pub(super) fn catch(&mut self, at: Place) {
        let path = self.path(at);
        if has(Bug::CatchIsSkipped) {
            return self.emit(Record::Completed { path, attempt: 0, output: Value::Null });
        }
        self.emit(Record::ScopeOpened { path, scope: ScopeKind::Catch });
    }

    /// After what came from outside was recorded and before anything goes on from it, and before anything is sent again: a time
    /// limit that passed unseen (the daemon was down, the clock jumped) ends its step, as it would have.
    pub(super) fn overdue(&mut self) {
        if self.plan.has_limits && self.state.paused.is_none() {
            self.expire(self.moment.now_ms);
        }
    }

    /// Steps whose time is over by now: the outer ones first, what is in them goes with them.
    pub(super) fn expire(&mut self, now_ms: i64) {
        let mut due = Vec::new();
        self.state.each_live(&mut |at, cell| {
            if self.state.live_limit(at, cell).is_some_and(|due| due <= now_ms) {
                due.push(at);
            }
        });
        for at in due {
            let Some(cell) = self.state.cell(at) else { continue };
            if self.state.live_limit(at, cell).is_none() || self.state.is_lost(at) {
                continue;
            }
            let took = now_ms.saturating_sub(cell.scheduled_ms);
            let path = self.path(at);
            let what = match self.step_at(at).is_some_and(|step| step.kind.repeats().is_some()) {
                true => format!("the loop took longer than it may ({took} ms)"),
                false => format!("the steps in it took longer than its timeout ({took} ms)"),
            };
            let error = StepError { step: path.clone(), ..StepError::new(ErrorClass::Timeout, what) };
            self.emit(Record::TimedOut { path, error });
            self.drop_under(at, "the time of the step around it is over");
        }
    }

    /// A step whose time is over: it fails as soon as no call in it is out.
    pub(super) fn visit_expired(&mut self, at: Place) {
        let mut out = false;
        self.state.live_under(at, &mut |_, cell| out |= cell.calling());
        if out && !has(Bug::LimitFailsAtOnce) {
            return;
        }
        let Some(cell) = self.state.cell(at) else { return };
        if cell.catch.is_none() && self.catches(at) {
            return self.catch(at);
        }
        let error = cell.error.clone().unwrap_or_else(|| StepError::new(ErrorClass::Timeout, "its time is over"));
        self.fail(at, 0, error);
    }

    /// A loop: goes on in its iteration, begins the next one, or ends.
    pub(super) fn visit_loop(&mut self, at: Place) {
        while !self.halted() {
            let items = self.state.cell(at).filter(|cell| !cell.over).map(|cell| cell.items.as_ref());
            let Some(items) = items else { return };
            let live = items.and_then(|items| items.live.first_key_value()).map(|(index, frame)| (*index, *frame));
            let Some((index, frame)) = live else {
                let next = items.map_or(0, |items| items.next);
                if !self.iterate(at, next) {
                    return;
                }
                continue;
            };
            if self.walk(frame) != Progress::Done {
                return;
            }
            match self.is_last(at, frame) {
                Err(error) => return self.fail(at, 0, error),
                Ok(last) => {
                    self.emit(Record::ItemDone { path: self.path(at), index });
                    if last {
                        return self.loop_ends(at);
                    }
                }
            }
        }
    }

    /// Begins an iteration, unless the loop ends before it; whether it did.
    fn iterate(&mut self, at: Place, next: u32) -> bool {
        let Some(rules) = self.step_at(at).and_then(|step| step.kind.repeats()) else { return false };
        let begins = match &rules.during {
            None => Ok(true),
            Some(condition) => {
                let last = self.given(at).cloned().unwrap_or_default();
                let scope = StepScope::new(self.plan, self.state, self.moment, at).before_iteration(last, next);
                holds(condition, &scope, "while")
            }
        };
        match begins {
            Err(error) => self.fail(at, 0, error),
            Ok(false) => self.loop_ends(at),
            Ok(true) if next >= rules.max_iterations && !has(Bug::LoopCapIsForgotten) => {
                let message = format!("the loop did not end within {} iterations", rules.max_iterations);
                self.fail(at, 0, StepError::new(ErrorClass::Timeout, message));
            }
            Ok(true) if !self.has_room() => {}
            Ok(true) if self.is_full() => self.fail(at, 0, self.full()),
            Ok(true) => {
                self.emit(Record::ScopeOpened { path: self.path(at), scope: ScopeKind::Iteration(next) });
                return true;
            }
        }
        false
    }

    /// Whether the run's journal has so many records that nothing that repeats begins any more. What is at work goes
    /// on, and so do handlers, compensations and last steps.
    pub(super) fn is_full(&self) -> bool {
        self.state.records >= self.plan.records_max
    }

    /// What a list or loop fails with then.
    pub(super) fn full(&self) -> StepError {
        let most = self.plan.records_max;
        let message = format!("the run has {most} records, the most it may have; make runs of its parts with `call`");
        StepError::new(ErrorClass::Invalid, message)
    }

    fn loop_ends(&mut self, at: Place) {
        let output = self.given(at).cloned().unwrap_or_default();
        self.emit(Record::Completed { path: self.path(at), attempt: 0, output });
    }

    /// What the last iteration gave.
    fn given(&self, at: Place) -> Option<&Value> {
        self.state.cell(at)?.items.as_ref()?.results.values().next_back()?.as_ref().ok()
    }

    /// Whether an iteration that has ended is the last one.
    fn is_last(&self, at: Place, frame: FrameIx) -> Result<bool, StepError> {
        if self.state.frame(frame).is_some_and(|frame| frame.broken) {
            return Ok(true);
        }
        let Some(rules) = self.step_at(at).and_then(|step| step.kind.repeats()) else { return Ok(true) };
        for (condition, name) in [(&rules.break_if, "break_if"), (&rules.until, "until")] {
            let scope = StepScope::new(self.plan, self.state, self.moment, Place { frame, position: usize::MAX });
            if condition.as_ref().map_or(Ok(false), |condition| holds(condition, &scope, name))? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether `break_if` ends the iteration before this step of it begins.
    pub(super) fn breaks_before(&mut self, at: Place) -> bool {
        let Some(frame) = self.state.frame(at.frame) else { return false };
        let (Some((index, _)), Some(owner)) = (&frame.index, frame.owner) else { return false };
        let index = *index;
        let rules = self.step_at(owner).and_then(|step| step.kind.repeats());
        let Some(condition) = rules.and_then(|rules| rules.break_if.as_ref()) else { return false };
        if !frame.cells.iter().any(StepCell::settled) {
            return false;
        }
        let scope = StepScope::new(self.plan, self.state, self.moment, at);
        match holds(condition, &scope, "break_if") {
            Ok(false) => return false,
            Ok(true) if has(Bug::BreakGoesOn) => {
                self.emit(Record::Broken { path: self.path(owner), index });
                self.enter(at);
            }
            Ok(true) => self.emit(Record::Broken { path: self.path(owner), index }),
            Err(error) => self.fail(at, 0, error),
        }
        true
    }
}

/// Whether a condition is true.
fn holds(condition: &Template, scope: &StepScope<'_>, name: &str) -> Result<bool, StepError> {
    let said = condition.eval_bool(scope).map(|(said, _)| said).map_err(|error| error.to_string());
    let said = scope.lost().map_or(said, Err);
    said.map_err(|message| StepError::new(ErrorClass::Invalid, format!("`{name}`: {message}")))
}
