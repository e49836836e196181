//! What happens next: walks the open scopes and does all that needs no waiting, until nothing is left.
//!
//! Rule 8 of the flow format stands here once: step handler, scope, flow handler, `finally`, finished.

use aura_protocol::Value;
use aura_protocol::run::{ErrorClass, Record, RunState as State, ScopeKind, StepError, StepState};
use sha2::{Digest, Sha256};

use super::bugs::{Bug, has};
use super::plan::{ScopeIx, StepIx};
use super::scope::StepScope;
use super::{Work, log};
use crate::engine::kinds::{Enter, Entered};

/// Where a scope stands.
enum Progress {
    /// Something to do.
    Do(Next),
    /// A call, a sleep or a person is awaited.
    Blocked,
    /// Every step has settled.
    Done,
    /// A failure in it was not handled.
    Failed,
}

/// The next thing to do.
enum Next {
    Enter(StepIx),
    CloseArm(StepIx, ScopeIx),
    OpenHandler(StepIx),
    CloseHandler(StepIx, ScopeIx),
}

impl Work<'_> {
    /// Runs to quiescence.
    pub(crate) fn advance(&mut self) {
        // Each round settles or opens something of a finite plan, so this ends; the bound is a belt.
        for _ in 0..=self.plan.steps.len() * 4 + 8 {
            if self.state.finished.is_some() || !self.round() {
                return;
            }
        }
    }

    /// One thing; false if there is nothing to do now.
    fn round(&mut self) -> bool {
        if let (true, Some(finally)) = (self.state.finally_open, self.plan.finally) {
            return match self.walk(finally) {
                Progress::Do(next) => self.act(next),
                Progress::Blocked => false,
                Progress::Done | Progress::Failed => self.finish(),
            };
        }
        let ending = self.state.cancel.is_some() && !has(Bug::CancelDoesNotStick);
        if ending || self.state.timed_out || self.state.outcome.as_ref().is_some_and(|outcome| outcome.stopped) {
            if self.calls_out() {
                return false;
            }
            let handler = self.state.timed_out && !ending && !self.state.outcome.as_ref().is_some_and(|o| o.stopped);
            return if handler { self.flow_handler() } else { self.last_steps() };
        }
        if self.state.outcome.is_some() {
            return self.flow_handler();
        }
        match self.walk(0) {
            Progress::Do(next) => self.act(next),
            Progress::Blocked => false,
            Progress::Done => self.last_steps(),
            Progress::Failed => self.flow_handler(),
        }
    }

    /// Calls whose answers are awaited although the run is ending.
    fn calls_out(&self) -> bool {
        let out = |cell: &super::state::StepCell| cell.state == Some(StepState::Running) && cell.effect.is_some();
        self.state.steps.iter().any(out)
    }

    /// The flow's handler, if there is one, then the last steps.
    fn flow_handler(&mut self) -> bool {
        let Some(handler) = self.plan.on_error else { return self.last_steps() };
        if !self.state.on_error_open {
            self.emit(Record::ScopeOpened { path: String::new(), scope: ScopeKind::FlowOnError });
            return true;
        }
        match self.walk(handler) {
            Progress::Do(next) => self.act(next),
            Progress::Blocked => false,
            Progress::Done | Progress::Failed => self.last_steps(),
        }
    }

    /// `finally`, then the end.
    fn last_steps(&mut self) -> bool {
        let green = self.state.ending(self.plan).state == State::Succeeded;
        let skip = has(Bug::FinallyOnlyWhenGreen) && !green;
        if self.plan.finally.is_some() && !self.state.finally_open && !skip {
            self.emit(Record::ScopeOpened { path: String::new(), scope: ScopeKind::Finally });
            return true;
        }
        self.finish()
    }

    fn finish(&mut self) -> bool {
        let outcome = match &self.state.outcome {
            Some(outcome) if self.state.finally_open => outcome.clone(),
            _ => self.state.ending(self.plan),
        };
        self.emit(Record::RunFinished { state: outcome.state, error: outcome.error, output: outcome.output });
        false
    }

    /// Where a scope stands, seen from its first step on.
    fn walk(&self, scope: ScopeIx) -> Progress {
        for &ix in self.plan.scope_steps(scope) {
            let Some(cell) = self.state.cell(ix) else { return Progress::Blocked };
            match cell.state {
                None => return Progress::Do(Next::Enter(ix)),
                Some(StepState::Failed) if !cell.handled => return self.walk_handler(ix),
                Some(StepState::Running) if cell.effect.is_none() => {
                    let Some(arm) = cell.open else { return Progress::Blocked };
                    return match self.walk(arm) {
                        Progress::Done => Progress::Do(Next::CloseArm(ix, arm)),
                        other => other,
                    };
                }
                Some(
                    StepState::Running
                    | StepState::Waiting
                    | StepState::Retrying
                    | StepState::InDoubt
                    | StepState::Queued,
                ) => return Progress::Blocked,
                Some(StepState::Succeeded | StepState::Failed | StepState::Cancelled | StepState::Skipped) => {}
            }
        }
        Progress::Done
    }

    /// A failed step: its handler, else its scope fails.
    fn walk_handler(&self, ix: StepIx) -> Progress {
        let handler = self.plan.step(ix).and_then(|step| step.on_error);
        let (Some(handler), Some(cell)) = (handler, self.state.cell(ix)) else { return Progress::Failed };
        if !cell.handler_open {
            return Progress::Do(Next::OpenHandler(ix));
        }
        match self.walk(handler) {
            Progress::Done => Progress::Do(Next::CloseHandler(ix, handler)),
            other => other,
        }
    }

    fn act(&mut self, next: Next) -> bool {
        match next {
            Next::Enter(ix) => self.enter(ix),
            Next::OpenHandler(ix) => {
                self.emit(Record::ScopeOpened { path: self.id(ix), scope: ScopeKind::OnError });
            }
            Next::CloseArm(ix, scope) => {
                let output = self.state.last_output(self.plan, scope);
                self.emit(Record::Completed { path: self.id(ix), attempt: 0, output });
            }
            Next::CloseHandler(ix, scope) => {
                let output = self.state.last_output(self.plan, scope);
                self.emit(Record::Handled { path: self.id(ix), output });
            }
        }
        true
    }

    /// A step's turn has come.
    fn enter(&mut self, ix: StepIx) {
        let Some(step) = self.plan.step(ix) else { return };
        let path = step.id.clone();
        let entered = {
            let scope = StepScope::new(self.plan, self.state, self.moment, ix);
            match step.when.as_ref().map(|when| when.eval_bool(&scope)) {
                Some(Err(error)) => Err(error),
                Some(Ok((false, _))) => {
                    self.emit(Record::Skipped { path, why: "its `if` is false".to_owned() });
                    return;
                }
                _ => step.kind.enter(&Enter { scope: &scope, now_ms: self.moment.now_ms }),
            }
        };
        match entered {
            Err(error) => {
                let mut error = StepError::new(ErrorClass::Invalid, error.to_string());
                error.step.clone_from(&path);
                self.fail(ix, 0, error);
            }
            Ok(Entered::Done(output)) => self.emit(Record::Completed { path, attempt: 0, output }),
            Ok(Entered::Arm(arm)) => self.emit(Record::ScopeOpened { path, scope: ScopeKind::Arm(arm) }),
            Ok(Entered::Wait(until_ms)) => self.emit(Record::WaitCreated { path, until_ms }),
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
                let key = (self.keys)(&path);
                self.emit(Record::Scheduled { path, input, input_hash, key, effect, draws });
                self.call(ix);
            }
        }
    }
}

/// SHA-256 of the canonical input, hex.
fn hash(input: &Value) -> String {
    hex::encode(Sha256::digest(input.to_canonical_json()))
}
