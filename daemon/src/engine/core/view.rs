//! What people see of a run: its state, the step at work, why it does not move, its row in lists.
//!
//! Invariant: nothing here changes a run, and what it looks at is what is at work, not what has been.

use aura_protocol::event::timestamp;
use aura_protocol::run::{Awaited, Blocked, RunHead, RunState as State, StepState};

use super::bugs::{Bug, has};
use super::frames::{Place, StepCell};
use super::plan::{Join, Plan};
use super::state::RunState;

/// A list of names in a sentence is cut after this many.
const NAMES_MAX: usize = 4;

/// One look over what is at work.
#[derive(Debug, Default)]
struct Look {
    calls: bool,
    retrying: bool,
    waiting: bool,
    doubt: bool,
    /// The first step at work that contains nothing.
    current: Option<Place>,
    /// The first one of the state that the run shows.
    doubtful: Option<Place>,
    next_due: Option<i64>,
}

impl RunState {
    fn look(&self) -> Look {
        let mut look = Look::default();
        self.each_live(&mut |at, cell| {
            look.calls |= cell.calling();
            look.retrying |= cell.state == Some(StepState::Retrying);
            look.waiting |= cell.state == Some(StepState::Waiting);
            look.doubt |= cell.state == Some(StepState::InDoubt);
            let due = [cell.wait_until_ms, cell.escalates(), cell.retry_at_ms, self.live_limit(at, cell)]
                .into_iter()
                .flatten()
                .chain(look.next_due)
                .min();
            look.next_due = due;
            if !contains(cell) && look.current.is_none() {
                look.current = Some(at);
            }
            if cell.state == Some(StepState::InDoubt) && look.doubtful.is_none() {
                look.doubtful = Some(at);
            }
        });
        look
    }

    /// When something is due by itself: a sleep, a retry, the run's deadline, or the rest of a long transition.
    #[must_use]
    pub fn next_due(&self) -> Option<i64> {
        if self.finished.is_some() || self.paused.is_some() {
            return None;
        }
        self.look().next_due.into_iter().chain(self.live_deadline()).chain(self.yielded_ms).min()
    }

    /// When the time of all that is in a step is over, if it counts now: not while in doubt, nor in what is given up.
    #[must_use]
    pub fn live_limit(&self, at: Place, cell: &StepCell) -> Option<i64> {
        let counts = || self.still_since_ms.is_none() && !cell.expired && !has(Bug::LimitIsForgotten);
        let running = cell.state == Some(StepState::Running) && !cell.over;
        cell.deadline_ms.filter(|_| running && counts() && self.goes_on(at))
    }

    /// The deadline, if it counts now: not while in doubt, not once the end is decided.
    #[must_use]
    pub fn live_deadline(&self) -> Option<i64> {
        let counts = self.still_since_ms.is_none()
            && !self.timed_out
            && self.cancel.is_none()
            && !self.closing()
            && self.on_error.is_none();
        self.deadline_ms.filter(|_| counts && self.finished.is_none() && !has(Bug::TimeoutIsForgotten))
    }

    /// The state people see.
    #[must_use]
    pub fn state(&self) -> State {
        self.seen(&self.look())
    }

    fn seen(&self, look: &Look) -> State {
        if let Some(state) = self.finished {
            return state;
        }
        if self.transition == 0 {
            return State::Queued;
        }
        if self.paused.is_some() {
            State::Paused
        } else if look.calls || self.yielded_ms.is_some() {
            State::Running
        } else if look.retrying {
            State::Retrying
        } else if look.waiting {
            State::Waiting
        } else if look.doubt {
            State::InDoubt
        } else {
            State::Running
        }
    }

    /// Why it does not move, in one line: what its step waits for, and which join waits for that.
    #[must_use]
    pub fn blocked_by(&self, plan: &Plan) -> Option<Blocked> {
        let look = self.look();
        self.blocked(plan, &look)
    }

    fn blocked(&self, plan: &Plan, look: &Look) -> Option<Blocked> {
        if let Some((by, reason)) = self.paused.as_ref().filter(|_| self.finished.is_none()) {
            let why = if reason.is_empty() { String::new() } else { format!(": {reason}") };
            return Some(Blocked::because(format!("paused by {by}{why}"), None));
        }
        let at = look.current?;
        let state = self.seen(look);
        if state.is_final() || self.yielded_ms.is_some() {
            return None;
        }
        let wait = self.waits(plan, at);
        let join = self.join_of(plan, at);
        let (reason, until_ms) = match (wait, join) {
            (Some((wait, until)), Some(join)) => (format!("{wait}; {join}"), until),
            (Some((wait, until)), None) => (wait, until),
            (None, Some(join)) => (join, None),
            (None, None) => return None,
        };
        Some(Blocked::because(reason, until_ms))
    }

    /// What a step waits for, if it is not at work.
    fn waits(&self, plan: &Plan, at: Place) -> Option<(String, Option<i64>)> {
        let (cell, path) = (self.cell(at)?, self.path(plan, at));
        let why = || {
            let mut error = cell.error.clone();
            error.iter_mut().for_each(|error| plan.redacted.error(&path, error));
            error.map(|error| error.message).unwrap_or_default()
        };
        match cell.state? {
            StepState::Waiting if cell.awaits.is_some() => {
                let what = match cell.awaits.as_deref()? {
                    Awaited::Callback => "its callback".to_owned(),
                    Awaited::Event { trigger, .. } => format!("an event of {trigger}"),
                    Awaited::People(ask) => {
                        let standing = cell.people.as_deref().cloned().unwrap_or_default();
                        format!("approval by {}", ask.who(&standing))
                    }
                    Awaited::Run { run, flow } => format!("{run} of {flow}"),
                };
                let until = cell.wait_until_ms.map(|until| format!(" until {}", timestamp(until))).unwrap_or_default();
                Some((format!("{path} waits for {what}{until}"), cell.wait_until_ms))
            }
            StepState::Waiting => {
                let until = cell.wait_until_ms?;
                Some((format!("{path} sleeps until {}", timestamp(until)), Some(until)))
            }
            StepState::Retrying => {
                let due = cell.retry_at_ms?;
                Some((format!("{path} tries again at {}: {}", timestamp(due), why()), Some(due)))
            }
            StepState::InDoubt => Some((format!("{path} is in doubt: {}", why()), None)),
            _ => None,
        }
    }

    /// The join that waits for a step or for one around it, and for whom else.
    fn join_of(&self, plan: &Plan, at: Place) -> Option<String> {
        let mut next = Some(at);
        while let Some(at) = next {
            let frame = self.frame(at.frame)?;
            let steps = plan.scope_steps(frame.scope).iter().filter_map(|ix| plan.step(*ix));
            let joins = |step: &super::plan::PlanStep| {
                let cell = frame.cells.get(step.position);
                step.needs.len() > 1
                    && cell.is_some_and(|cell| cell.state.is_none())
                    && step.needs.iter().any(|need| need.position == at.position)
            };
            if let Some(join) = steps.into_iter().find(|step| joins(step)) {
                let open = |position: usize| frame.cells.get(position).is_some_and(|cell| !cell.over);
                let positions: Vec<usize> =
                    join.needs.iter().map(|need| need.position).filter(|position| open(*position)).collect();
                let mut names: Vec<String> = positions
                    .iter()
                    .take(NAMES_MAX)
                    .map(|position| self.path(plan, Place { frame: at.frame, position: *position }))
                    .collect();
                if positions.len() > NAMES_MAX {
                    names.push(format!("{} more", positions.len() - NAMES_MAX));
                }
                let name = self.path(plan, Place { frame: at.frame, position: join.position });
                let all = join.needs.len();
                let which = match join.join {
                    Join::All => String::new(),
                    Join::First(1) => "any of ".to_owned(),
                    Join::First(count) => format!("{count} of {all}: "),
                };
                return Some(format!("{name} waits for {which}{}", names.join(", ")));
            }
            next = frame.owner;
        }
        None
    }

    /// The row lists show.
    #[must_use]
    pub fn head(&self, plan: &Plan) -> Option<RunHead> {
        let started = self.started.as_ref()?;
        let look = self.look();
        let state = self.seen(&look);
        let at = if state == State::InDoubt { look.doubtful } else { look.current };
        let at = at.or(self.last);
        let outcome = self.outcome.as_ref().filter(|_| self.finished.is_some());
        let mut error = outcome.and_then(|outcome| outcome.error.clone());
        error.iter_mut().for_each(|error| plan.redacted.error("", error));
        Some(RunHead {
            run: self.run,
            flow_id: started.flow_id,
            flow: started.flow.clone(),
            version: started.version.clone(),
            trigger: started.trigger.clone(),
            event: started.event.event,
            state,
            created_ms: self.created_ms,
            finished_ms: self.finished_ms,
            step: at.map(|at| self.path(plan, at)).unwrap_or_default(),
            attempt: at.and_then(|at| self.cell(at)).map_or(0, |cell| cell.attempt),
            steps_done: self.done,
            steps_all: plan.steps_outside_maps,
            blocked_by: self.blocked(plan, &look),
            error,
            transition: self.transition,
            origin: started.origin.as_ref().map(|origin| origin.run),
        })
    }
}

/// Whether what a cell does is done by cells below it.
fn contains(cell: &StepCell) -> bool {
    cell.handler.is_some() || cell.body.is_some() || cell.items.is_some()
}
