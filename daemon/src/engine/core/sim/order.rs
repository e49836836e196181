//! The order of design §3 rule 8, times and attempts, told again from the journal alone.
//!
//! After a failure: retry, the step's `on_error`, the nearer of `catch` and a map that carries on, the flow's `on_error`,
//! `compensate`, `finally`, finished. What belongs to a stage begins in it and in no other; nothing fires before its time;
//! an answer counts for the attempt that is at work.

use std::collections::BTreeMap;

use aura_protocol::run::{ErrorClass, Record, Resolution, RunState as State, ScopeKind};

use super::super::plan::{Owner, Plan};
use super::judge::step_of;
use super::{Fault, Sim};

/// A stage of a run's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Body,
    Handler,
    Undo,
    Last,
    Over,
}

/// The stage that a step belongs to.
fn belongs(plan: &Plan, path: &str) -> Stage {
    let mut scope = step_of(plan, path).scope;
    loop {
        match plan.owner(scope) {
            Owner::Compensate(_) => return Stage::Undo,
            Owner::Finally => return Stage::Last,
            Owner::FlowOnError => return Stage::Handler,
            owner => match owner.step() {
                Some(step) => scope = plan.steps[step].scope,
                None => return Stage::Body,
            },
        }
    }
}

/// What the journal has said of a step.
#[derive(Default)]
struct Told {
    attempt: u32,
    /// Failed for good.
    failed: bool,
    /// Its handler was opened.
    handler: bool,
    /// When its sleep or its next attempt is due.
    due: Option<i64>,
}

pub(super) fn order(sim: &Sim) -> Result<(), Fault> {
    let plan = &sim.plan;
    let mut stage = Stage::Body;
    let mut told: BTreeMap<&str, Told> = BTreeMap::new();
    let (mut failures, mut doubt) = (0, sim.met.keys().any(|what| what.starts_with("clock")));
    let mut deadline = None;
    for transition in &sim.journal {
        let at_ms = transition.at_ms;
        for record in &transition.records {
            if stage == Stage::Over {
                return Err(format!("the run had ended: {record:?}"));
            }
            doubt |= matches!(record, Record::InDoubt { .. });
            let next = match record {
                Record::RunStarted(_) => {
                    deadline = plan.timeout.map(|span| at_ms + i64::try_from(span.ms).unwrap_or(i64::MAX / 2));
                    None
                }
                Record::ScopeOpened { scope: ScopeKind::FlowOnError, .. } if failures == 0 => {
                    return Err("the flow's handler began and nothing had failed".into());
                }
                Record::ScopeOpened { scope: ScopeKind::FlowOnError, .. } => Some(Stage::Handler),
                Record::ScopeOpened { scope: ScopeKind::Compensate, .. } => Some(Stage::Undo),
                Record::ScopeOpened { scope: ScopeKind::Finally, .. } => Some(Stage::Last),
                Record::RunFinished { .. } => Some(Stage::Over),
                _ => None,
            };
            if let Some(next) = next {
                if next < stage || (next == stage && stage != Stage::Undo) {
                    return Err(format!("{next:?} came after {stage:?}"));
                }
                stage = next;
            }
            failures += usize::from(fails(record));
            let Some(path) = record.path() else { continue };
            let entry = told.entry(path).or_default();
            of_step(plan, path, record, at_ms, entry)?;
            if begins(record) {
                let wanted = belongs(plan, path);
                if wanted != stage {
                    return Err(format!("{path} belongs to {wanted:?} and began in {stage:?}"));
                }
                let late = deadline.is_some_and(|deadline| at_ms > deadline + 5_000);
                if late && stage == Stage::Body && !doubt {
                    return Err(format!("{path} began after the run's time was over"));
                }
            }
        }
    }
    let root_failed = sim.state.frame(0).is_some_and(|frame| frame.failed.is_some());
    let stopped = sim.state.outcome.as_ref().is_some_and(|outcome| outcome.stopped);
    let handled = sim.state.on_error.is_some();
    let cancelled = sim.state.finished == Some(State::Cancelled) || sim.state.cancel.is_some();
    if plan.on_error.is_some() && root_failed && !stopped && !cancelled && !handled {
        return Err("the run failed and the flow's handler did not run".into());
    }
    Ok(())
}

/// Whether something in the run failed.
fn fails(record: &Record) -> bool {
    matches!(record, Record::Failed { retry_at_ms: None, .. } | Record::TimedOut { .. })
        || matches!(record, Record::TimerFired { path } if path.is_empty())
}

/// Whether a step begins.
fn begins(record: &Record) -> bool {
    match record {
        Record::Scheduled { .. } | Record::WaitCreated { .. } | Record::Awaiting { .. } | Record::Listed { .. } => true,
        Record::ScopeOpened { scope, .. } => matches!(
            scope,
            ScopeKind::Arm(_) | ScopeKind::Try | ScopeKind::Item(_) | ScopeKind::Iteration(_) | ScopeKind::Catch
        ),
        _ => false,
    }
}

/// One step: attempts in order, handlers behind failures, timers on time.
fn of_step(plan: &Plan, path: &str, record: &Record, at_ms: i64, told: &mut Told) -> Result<(), Fault> {
    let early = |due: Option<i64>| due.is_some_and(|due| at_ms < due);
    match record {
        Record::Scheduled { .. } if told.attempt > 0 => return Err(format!("{path} was scheduled twice")),
        Record::Scheduled { .. } => told.attempt = 1,
        Record::WaitCreated { until_ms, .. } => told.due = Some(*until_ms),
        Record::TimerFired { .. } if early(told.due) => {
            return Err(format!("{path} went on {} ms before its time", told.due.unwrap_or_default() - at_ms));
        }
        Record::TimerFired { .. } if told.attempt > 0 => {
            told.attempt += 1;
            told.due = None;
            if told.failed {
                return Err(format!("{path} was tried again after it had failed for good"));
            }
        }
        Record::Resolved { resolution: Resolution::Retry, .. } => told.attempt += 1,
        Record::Failed { attempt, retry_at_ms, error, .. } => {
            of_attempt(path, *attempt, told)?;
            let asked = error.retry_after_ms.and_then(|ms| i64::try_from(ms).ok()).map(|ms| at_ms + ms);
            if retry_at_ms.is_some_and(|retry| asked.is_some_and(|asked| retry < asked)) {
                return Err(format!("{path} is tried again sooner than its peer asked"));
            }
            told.due = *retry_at_ms;
            // What a cancel dropped has no handler.
            told.failed |= retry_at_ms.is_none() && error.class != ErrorClass::Cancelled;
        }
        Record::Completed { attempt, .. } => of_attempt(path, *attempt, told)?,
        Record::InDoubt { attempt, .. } => of_attempt(path, *attempt, told)?,
        Record::ScopeOpened { scope: ScopeKind::OnError, .. } => {
            // The failure of a step with steps in it stands at the step inside.
            if !told.failed && step_of(plan, path).kind.repeats().is_none() && told.attempt > 0 {
                return Err(format!("the handler of {path} began and it had not failed for good"));
            }
            if std::mem::replace(&mut told.handler, true) {
                return Err(format!("the handler of {path} began twice"));
            }
        }
        Record::Handled { .. } if !told.handler => {
            return Err(format!("{path} is handled, and its handler did not run"));
        }
        _ => {}
    }
    Ok(())
}

fn of_attempt(path: &str, attempt: u32, told: &Told) -> Result<(), Fault> {
    if attempt > 0 && told.attempt > 0 && attempt != told.attempt {
        return Err(format!("an answer of attempt {attempt} counts for attempt {} of {path}", told.attempt));
    }
    Ok(())
}
