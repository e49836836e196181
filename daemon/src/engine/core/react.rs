//! What inputs do to the steps at work: answers, timers, cancel, decisions of people, a restart.
//!
//! Invariant: a call that may have happened and must not be repeated blindly is never repeated and never
//! forgotten here (the effect table of design §4, [`super::decide`]).

use aura_protocol::Value;
use aura_protocol::flow::Effect;
use aura_protocol::run::{Awaited, CallOutcome, ErrorClass, Reach, Record, Resolution, StepError, StepState};

use super::bugs::{Bug, has};
use super::decide::{self, Verdict, decide, doubt};
use super::{Place, Refused, Work, state};

impl Work<'_> {
    pub(super) fn result(&mut self, at: Place, path: String, attempt: u32, outcome: CallOutcome) {
        let (error, reach) = match outcome {
            CallOutcome::Done(output) => match self.refused(&output) {
                None => {
                    self.emit(Record::Completed { path, attempt, output });
                    return;
                }
                Some(error) => (StepError { step: path.clone(), ..error }, Reach::Arrived),
            },
            CallOutcome::Failed(error, reach) => {
                (StepError { step: path.clone(), unknown: reach == Reach::Unknown, ..error }, reach)
            }
        };
        if self.state.dropping() || self.state.is_lost(at) {
            match reach {
                Reach::Arrived => self.fail(at, attempt, error),
                _ if self.maybe_happened(at, reach) => {
                    self.emit(Record::InDoubt { path, attempt, error });
                }
                _ => {
                    let error = StepError { class: ErrorClass::Cancelled, ..error };
                    self.emit(Record::Failed { path, attempt, error, retry_at_ms: None });
                }
            }
            return;
        }
        let (Some(step), Some(cell)) = (self.step_at(at), self.state.cell(at)) else { return };
        let verdict = decide(step, cell, error.clone(), reach, self.moment);
        self.conclude(at, attempt, error, verdict);
    }

    fn conclude(&mut self, at: Place, attempt: u32, error: StepError, verdict: Verdict) {
        let path = self.path(at);
        match verdict {
            Verdict::Retry(due) => self.emit(Record::Failed { path, attempt, error, retry_at_ms: Some(due) }),
            Verdict::Fail(error) => self.fail(at, attempt, error),
            Verdict::Doubt(error) => self.emit(Record::InDoubt { path, attempt, error }),
        }
    }

    /// Whether a call that must not be repeated blindly may have happened, in this attempt or an earlier one.
    fn maybe_happened(&self, at: Place, reach: Reach) -> bool {
        let earlier = self.state.cell(at).is_some_and(|cell| cell.unknown);
        (earlier || reach == Reach::Unknown) && !state::repeatable(self.effect(at))
    }

    fn effect(&self, at: Place) -> Effect {
        self.state.cell(at).and_then(|cell| cell.effect).unwrap_or_default()
    }

    /// Everything due by now fires.
    pub(super) fn due(&mut self) {
        let now = self.moment.now_ms;
        if self.state.live_deadline().is_some_and(|due| due <= now) {
            self.emit(Record::TimerFired { path: String::new() });
            self.drop_all("the run's time is over");
            return;
        }
        let is_due = |due: Option<i64>| due.is_some_and(|due| due <= now);
        self.expire(now);
        let mut due = Vec::new();
        self.state.each_live(&mut |at, cell| {
            let early = has(Bug::SleepEndsEarly) && cell.awaits.is_none() && cell.wait_until_ms.is_some();
            let wakes = early || is_due(cell.escalates()) || is_due(cell.wait_until_ms);
            if wakes && cell.state == Some(StepState::Waiting) {
                due.push((at, false));
            } else if is_due(cell.retry_at_ms) && cell.state == Some(StepState::Retrying) {
                due.push((at, true));
            }
        });
        for (at, again) in due {
            // What fired before may have ended the item that it is in.
            let Some(cell) = self.state.cell(at).filter(|cell| cell.active()) else { continue };
            if is_due(cell.escalates()) && !is_due(cell.wait_until_ms) {
                self.escalate(at);
                continue;
            }
            if let Some(what) = cell.awaits.clone() {
                self.wait_ends(at, &what);
                continue;
            }
            let path = self.path(at);
            self.emit(Record::TimerFired { path: path.clone() });
            if again {
                self.again(at);
            } else {
                self.emit(Record::Completed { path, attempt: 0, output: Value::Null });
            }
        }
    }

    /// The next attempt, unless the peer has forgotten the key under which an earlier one may have happened.
    fn again(&mut self, at: Place) {
        let (Some(step), Some(cell)) = (self.step_at(at), self.state.cell(at)) else { return };
        let Some(error) = decide::forgotten(step, cell, self.moment.now_ms) else { return self.call(at) };
        let attempt = cell.attempt;
        let error = StepError { step: self.path(at), ..error };
        let verdict = doubt(step, None, error.clone());
        self.conclude(at, attempt, error, verdict);
    }

    /// Ends what is at work in the run, as far as nothing outside can be in the balance.
    pub(super) fn drop_all(&mut self, why: &str) {
        if has(Bug::CancelDoesNotStick) {
            return;
        }
        let mut places = Vec::new();
        self.state.each_live(&mut |at, _| places.push(at));
        self.drop_these(places, why);
    }

    /// As [`Work::drop_all`], for a step and what is below it.
    pub(super) fn drop_under(&mut self, at: Place, why: &str) {
        let mut places = Vec::new();
        self.state.live_under(at, &mut |at, _| places.push(at));
        self.drop_these(places, why);
    }

    /// Design §3 rule 8, Cancel: reads, waits and unstarted calls are dropped at once, others are left to end.
    fn drop_these(&mut self, places: Vec<Place>, why: &str) {
        for at in places {
            let Some(cell) = self.state.cell(at).filter(|cell| cell.active()) else { continue };
            let (attempt, effect) = (cell.attempt, cell.effect);
            match cell.state {
                Some(StepState::Retrying) if cell.unknown => {
                    let last = cell.error.clone().unwrap_or_else(|| StepError::new(ErrorClass::InDoubt, why));
                    let path = self.path(at);
                    self.emit(Record::InDoubt { path, attempt, error: StepError { unknown: true, ..last } });
                    continue;
                }
                Some(StepState::Waiting | StepState::Retrying) => {
                    if let Some(Awaited::Run { run, .. }) = cell.awaits.as_deref()
                        && !has(Bug::ChildrenAreForgotten)
                    {
                        self.out.children.push(*run);
                    }
                }
                // Wanted by this very transition: it never leaves.
                Some(StepState::Running) if self.out.calls.iter().any(|call| call.at == at) && !cell.unknown => {
                    self.out.calls.retain(|call| call.at != at);
                }
                Some(StepState::Running) if cell.calling() => {
                    if matches!(effect, Some(Effect::Keyed | Effect::Lookup | Effect::Once)) {
                        self.out.abort_unsent.push(at);
                        continue;
                    }
                    self.out.abort.push(at);
                }
                _ => continue,
            }
            self.fail(at, attempt, StepError::new(ErrorClass::Cancelled, why));
        }
    }

    pub(super) fn resolve(&mut self, path: String, resolution: Resolution, by: String) -> Result<(), Refused> {
        let at = self.place(&path)?;
        let cell = self.state.cell(at).filter(|cell| cell.state == Some(StepState::InDoubt));
        let Some(cell) = cell else { return Err(Refused::NotInDoubt(path)) };
        let attempt = cell.attempt;
        let error = cell.error.clone().unwrap_or_else(|| StepError::new(ErrorClass::InDoubt, "unknown"));
        if resolution == Resolution::Retry && !self.state.goes_on(at) {
            return Err(Refused::Ending);
        }
        self.emit(Record::Resolved { path: path.clone(), resolution: resolution.clone(), by });
        match resolution {
            Resolution::Done(output) => self.emit(Record::Completed { path, attempt, output }),
            Resolution::Fail => self.fail(at, attempt, StepError { class: ErrorClass::InDoubt, ..error }),
            Resolution::Retry => self.call(at),
        }
        Ok(())
    }

    /// After a restart: calls of this run that were out are judged by the effect table, others are made.
    pub(super) fn recover(&mut self, epoch: u64, restored: bool) {
        self.overdue();
        let mut calls = Vec::new();
        self.state.each_live(&mut |at, cell| {
            if cell.calling() {
                calls.push(at);
            }
        });
        for at in calls {
            let (Some(cell), Some(step)) = (self.state.cell(at), self.step_at(at)) else { continue };
            let (effect, attempt) = (self.effect(at), cell.attempt);
            let was_out = cell.started.is_some_and(|(of, at)| of == attempt && at < epoch);
            let late = effect == Effect::Keyed && self.moment.now_ms > decide::window_end(step, cell);
            let ending = self.state.dropping() || self.state.is_lost(at);
            // This attempt never left, and no further one will tell what became of one before it.
            let earlier = ending && cell.unknown && !was_out;
            let message = match restored {
                true => "this call was out or about to leave when the backup was made; whether it arrived is not known",
                false if earlier => "the run is ending, and whether an earlier attempt arrived is not known",
                false => "the daemon stopped while this call was out; whether it arrived is not known",
            };
            let error =
                StepError { step: self.path(at), unknown: true, ..StepError::new(ErrorClass::InDoubt, message) };
            if (effect.needs_started()
                && (was_out || (restored && !has(Bug::RestoreIsForgotten)))
                && !has(Bug::OnceIsRepeated))
                || late
                || (ending && effect == Effect::Keyed)
                || earlier
            {
                let next = decide::next_attempt(step, cell, &error, self.moment);
                let verdict = if ending { Verdict::Doubt(error.clone()) } else { doubt(step, next, error.clone()) };
                self.conclude(at, attempt, error, verdict);
            } else if ending {
                self.fail(at, attempt, StepError::new(ErrorClass::Cancelled, "the run is ending"));
            } else {
                if effect == Effect::Keyed {
                    // It may have left before the stop; that is remembered, should no repeat be answered for certain.
                    let path = self.path(at);
                    self.emit(Record::Started { path, attempt, lease: u64::from(attempt), epoch });
                }
                self.call(at);
            }
        }
    }
}
