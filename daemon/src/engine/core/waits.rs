//! Waits for something from outside: a callback, an event, a person.
//!
//! Invariant: what was taken is never lost and never counts twice. What comes before its step waits is kept in the
//! journal and given to the step as soon as it does; what comes afterwards is refused.

use aura_protocol::run::{Awaited, ErrorClass, Record, StepError, StepState};
use aura_protocol::{RunId, Value};

use super::bugs::{Bug, has};
use super::{Place, Refused, Work};

/// A run keeps at most so many signals that came early.
pub const EARLY_MAX: usize = 100;

impl Work<'_> {
    /// A step begins to wait; what has come already ends it at once.
    pub(super) fn wait(&mut self, at: Place, what: Awaited, until_ms: Option<i64>) {
        let path = self.path(at);
        let asks = matches!(what, Awaited::People(_));
        self.emit(Record::Awaiting { path: path.clone(), what, until_ms });
        if asks {
            return self.decide_votes(at);
        }
        if let Some(data) = self.state.signals.get(&path).cloned() {
            self.emit(Record::Completed { path, attempt: 0, output: data });
        }
    }

    /// Something came for a step.
    pub(super) fn signal(&mut self, path: String, data: Value, by: String) -> Result<(), Refused> {
        let id = path.split('[').next().unwrap_or_default();
        let known = self.plan.with_id(id);
        if known.is_empty() {
            return Err(Refused::UnknownStep(path));
        }
        if !known.iter().any(|ix| self.plan.step(*ix).is_some_and(|step| step.kind.waits())) {
            return Err(Refused::NoWait(path));
        }
        if let Some(error) = self.refused(&data) {
            return Err(Refused::TooMuch(error.message));
        }
        let at = self.state.find(self.plan, &path);
        let cell = at.and_then(|at| self.state.cell(at));
        let waits = |cell: &super::frames::StepCell| {
            cell.awaits.as_deref().is_some_and(|what| !matches!(what, Awaited::Run { .. } | Awaited::People(_)))
        };
        if cell.is_some_and(waits) {
            self.emit(Record::Signalled { path: path.clone(), data: data.clone(), by });
            self.emit(Record::Completed { path, attempt: 0, output: data });
            return Ok(());
        }
        let begun = match cell {
            Some(cell) => cell.state.is_some() || cell.over,
            None => self.state.has_ended(self.plan, &path),
        };
        let came = cell.is_some_and(|cell| cell.state == Some(StepState::Succeeded));
        if came || self.state.signals.contains_key(&path) {
            return Err(Refused::Answered(path));
        }
        if begun {
            return Err(Refused::Over(path));
        }
        if self.state.dropping() || self.state.closing() {
            return Err(Refused::Ending);
        }
        if self.state.signals.len() >= EARLY_MAX {
            return Err(Refused::TooMuch(format!("the run keeps {EARLY_MAX} early signals already")));
        }
        self.emit(Record::Signalled { path, data, by });
        Ok(())
    }

    /// The run that a step called exists with this commit.
    pub(super) fn called(
        &mut self,
        path: String,
        run: RunId,
        flow: String,
        version: String,
        waits: bool,
    ) -> Result<(), Refused> {
        let at = self.place(&path)?;
        if self.state.dropping() || self.state.is_lost(at) {
            return Err(Refused::Ending);
        }
        self.emit(Record::Called { path: path.clone(), run, flow, version, waits });
        if !waits {
            let output = Value::object([("run_id", Value::from(run.to_string()))]);
            self.emit(Record::Completed { path, attempt: 0, output });
        }
        Ok(())
    }

    /// A run that a step called has ended.
    pub(super) fn returned(
        &mut self,
        path: &str,
        run: RunId,
        outcome: Result<Value, Box<StepError>>,
    ) -> Result<(), Refused> {
        let at = self.place(path)?;
        let awaits = self.state.cell(at).and_then(|cell| cell.awaits.as_deref());
        let over = || self.state.cell(at).is_some_and(|cell| cell.over && has(Bug::ReturnCountsTwice));
        if !matches!(awaits, Some(Awaited::Run { run: of, .. }) if *of == run) && !over() {
            return Err(Refused::Stale);
        }
        let path = path.to_owned();
        match outcome {
            Ok(output) => match self.refused(&output) {
                None => self.emit(Record::Completed { path, attempt: 0, output }),
                Some(error) => self.fail(at, 0, error),
            },
            Err(_) if has(Bug::CalledFailureIsGreen) => {
                self.emit(Record::Completed { path, attempt: 0, output: Value::Null });
            }
            Err(error) => self.fail(at, 0, *error),
        }
        Ok(())
    }

    /// Nobody came in time.
    pub(super) fn wait_ends(&mut self, at: Place, what: &Awaited) {
        let message = match what {
            Awaited::Callback => "nobody called back until the deadline".to_owned(),
            Awaited::Event { trigger, .. } => format!("no such event of {trigger} came until the deadline"),
            Awaited::People(_) => "nobody decided until the deadline".to_owned(),
            Awaited::Run { run, .. } => format!("{run} did not end until the deadline"),
        };
        if has(Bug::DeadlineIsGreen) {
            return self.emit(Record::Completed { path: self.path(at), attempt: 0, output: Value::Null });
        }
        self.fail(at, 0, StepError::new(ErrorClass::Timeout, message));
    }
}
