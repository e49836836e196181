//! What people do to a run as a whole: hold it where it is, let it go on, end it as it stands.
//!
//! Invariant: a paused run begins nothing, its time stands still, and what comes for it meanwhile is kept. What is out
//! when it is paused ends and is recorded; what was only scheduled leaves when it is resumed.

use aura_protocol::Value;
use aura_protocol::flow::Effect;
use aura_protocol::run::{Awaited, ErrorClass, Record, RunState as State, StepError};

use super::bugs::{Bug, has};
use super::state::repeatable;
use super::{Place, Refused, Work};

impl Work<'_> {
    /// Holds the run; a paused one stays as it is.
    pub(super) fn pause(&mut self, by: String, reason: String) -> Result<(), Refused> {
        if self.state.transition == 0 {
            return Err(Refused::NotBegun);
        }
        if self.state.cancel.is_some() || self.state.dropping() {
            return Err(Refused::Ending);
        }
        if self.state.paused.is_none() {
            self.emit(Record::Paused { by, reason });
        }
        Ok(())
    }

    /// Lets it go on: calls that were scheduled are made now, unless they are out.
    pub(super) fn resume(&mut self, by: String) -> Result<(), Refused> {
        if self.state.paused.is_none() {
            return Err(Refused::NotPaused);
        }
        self.emit(Record::Resumed { by });
        for at in self.calling() {
            self.call(at);
        }
        Ok(())
    }

    /// Ends it as it stands. What may have happened outside and nobody knows is said.
    pub(super) fn force_finish(&mut self, state: State, by: String, reason: String) {
        if has(Bug::ForceFinishWaits) && !self.calling().is_empty() {
            return;
        }
        self.emit(Record::ForceFinished { state, by: by.clone(), reason: reason.clone() });
        let mut children = Vec::new();
        self.state.each_live(&mut |_, cell| {
            if let Some(Awaited::Run { run, .. }) = cell.awaits.as_deref() {
                children.push(*run);
            }
        });
        self.out.children.extend(children);
        for at in self.calling() {
            self.out.abort.push(at);
            let Some(cell) = self.state.cell(at) else { continue };
            let (attempt, effect) = (cell.attempt, cell.effect.unwrap_or_default());
            let began = effect == Effect::Keyed || cell.started.is_some_and(|(of, _)| of == attempt);
            if began && !repeatable(effect) {
                let path = self.path(at);
                let message = "the run was ended by hand while this call was out; whether it arrived is not known";
                let error = StepError { step: path.clone(), ..StepError::new(ErrorClass::InDoubt, message) };
                self.emit(Record::InDoubt { path, attempt, error });
            }
        }
        let failed = state != State::Succeeded;
        let error = failed.then(|| StepError::new(ErrorClass::Cancelled, format!("ended by hand by {by}: {reason}")));
        self.emit(Record::RunFinished { state, error, output: Value::Null });
    }

    fn calling(&self) -> Vec<Place> {
        let mut calling = Vec::new();
        self.state.each_live(&mut |at, cell| {
            if cell.calling() {
                calling.push(at);
            }
        });
        calling
    }
}
