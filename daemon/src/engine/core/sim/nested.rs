//! Rules of steps with steps in them: iterations and their caps, what is caught, what runs out of time.

use std::collections::{BTreeMap, BTreeSet};

use aura_protocol::run::{ErrorClass, Record, ScopeKind};

use super::super::plan::{Owner, Plan};
use super::judge::step_of;
use super::{Fault, Sim, id_of};

/// What the journal has said of a step with steps in it.
#[derive(Default)]
struct Nest {
    opened_ms: Option<i64>,
    began: u32,
    done: u32,
    broken: Option<u32>,
    expired: bool,
    caught: bool,
    /// A failure in its body that nothing handled there.
    failed: bool,
    over: bool,
}

/// The steps whose bodies are around a step, with the scope kind by which it is in there, innermost first.
fn around(plan: &Plan, path: &str) -> Vec<(String, Owner)> {
    let mut keys: Vec<&str> = path[id_of(path).len()..].split_inclusive(']').collect();
    let mut scope = step_of(plan, path).scope;
    let mut found = Vec::new();
    while let Some(step) = plan.owner(scope).step() {
        let owner = plan.owner(scope);
        if matches!(owner, Owner::Item(_)) {
            keys.pop();
        }
        found.push((format!("{}{}", plan.steps[step].id, keys.concat()), owner));
        scope = plan.steps[step].scope;
    }
    found
}

fn is_body(owner: Owner) -> bool {
    matches!(owner, Owner::Arm(..) | Owner::Item(_) | Owner::Try(_))
}

pub(super) fn nested(sim: &Sim) -> Result<(), Fault> {
    let plan = &sim.plan;
    let mut nests: BTreeMap<String, Nest> = BTreeMap::new();
    let mut resolved: BTreeSet<String> = BTreeSet::new();
    // While something is in doubt, or the run is ending, clocks stand still or do not count.
    let mut doubt = sim.met.keys().any(|what| what.starts_with("clock"));
    for transition in &sim.journal {
        for record in &transition.records {
            doubt |= matches!(record, Record::InDoubt { .. } | Record::CancelRequested { .. });
            let Some(path) = record.path() else { continue };
            if matches!(record, Record::Log { .. } | Record::Responded { .. } | Record::Signalled { .. }) {
                continue;
            }
            if matches!(record, Record::Resolved { .. }) {
                resolved.insert(path.to_owned());
            }
            inside(plan, path, record, &nests, &resolved)?;
            own(plan, path, record, transition.at_ms, doubt, &mut nests)?;
            failure(plan, path, record, &mut nests);
        }
    }
    Ok(())
}

/// What happens in a body: not in one whose time is over, that was left, or that was broken off.
fn inside(
    plan: &Plan,
    path: &str,
    record: &Record,
    nests: &BTreeMap<String, Nest>,
    resolved: &BTreeSet<String>,
) -> Result<(), Fault> {
    let begins = matches!(
        record,
        Record::Scheduled { .. }
            | Record::WaitCreated { .. }
            | Record::Awaiting { .. }
            | Record::Listed { .. }
            | Record::ScopeOpened { .. }
    ) && !matches!(record, Record::ScopeOpened { scope: ScopeKind::Compensate, .. });
    let answers = matches!(
        record,
        Record::Completed { attempt: 1.., .. } | Record::Failed { attempt: 1.., .. } | Record::InDoubt { .. }
    );
    let mut handler = false;
    for (number, (outer, owner)) in around(plan, path).into_iter().enumerate() {
        // What undoes a step, or handles it, is not in its body any more.
        handler |= matches!(owner, Owner::Compensate(_));
        let Some(nest) = nests.get(&outer).filter(|_| is_body(owner) && !handler) else { continue };
        if begins && nest.expired {
            return Err(format!("{path} began in {outer}, whose time was over"));
        }
        if answers && (nest.over || nest.caught) && !resolved.contains(path) {
            return Err(format!("{path} was answered after {outer} had ended"));
        }
        let first = matches!(record, Record::Scheduled { .. } | Record::WaitCreated { .. } | Record::Awaiting { .. })
            || matches!(record, Record::Completed { attempt: 0, .. } if !nests.contains_key(path));
        if number == 0 && first && nest.broken.is_some() {
            return Err(format!("{path} began after its iteration was broken off"));
        }
    }
    Ok(())
}

/// What a step with steps in it says of itself.
fn own(
    plan: &Plan,
    path: &str,
    record: &Record,
    at_ms: i64,
    doubt: bool,
    nests: &mut BTreeMap<String, Nest>,
) -> Result<(), Fault> {
    let step = step_of(plan, path);
    let nest = nests.entry(path.to_owned()).or_default();
    match record {
        Record::Listed { .. } => {
            nest.opened_ms.get_or_insert(at_ms);
        }
        Record::ScopeOpened { scope, .. } => match scope {
            ScopeKind::Arm(_) | ScopeKind::Try => {
                nest.opened_ms.get_or_insert(at_ms);
            }
            ScopeKind::Iteration(number) => {
                nest.opened_ms.get_or_insert(at_ms);
                if *number != nest.began || nest.began != nest.done {
                    return Err(format!("iteration {number} of {path} began after {} of {}", nest.done, nest.began));
                }
                nest.began += 1;
                let cap = step.kind.repeats().map_or(0, |rules| rules.max_iterations);
                if nest.began > cap {
                    return Err(format!("{path} began iteration {number}, its cap is {cap}"));
                }
            }
            ScopeKind::Catch => nest.caught = true,
            _ => {}
        },
        Record::ItemDone { .. } => nest.done += 1,
        Record::Broken { index, .. } => nest.broken = Some(*index),
        Record::TimedOut { .. } => nest.expired = true,
        Record::Failed { retry_at_ms: None, .. } => nest.over = true,
        Record::Completed { .. } => {
            nest.over = true;
            if nest.failed && !nest.caught {
                return Err(format!("the body of {path} failed, its catch did not run"));
            }
            let (Some(limit), Some(opened)) = (step.limit, nest.opened_ms) else { return Ok(()) };
            // Answers take a few milliseconds each, limits are seconds.
            let late = at_ms - opened > i64::try_from(limit.ms).unwrap_or(i64::MAX) + 999;
            if late && !nest.caught && !doubt {
                return Err(format!("{path} took {} ms, it may take {} ms", at_ms - opened, limit.ms));
            }
        }
        _ => {}
    }
    Ok(())
}

/// A failure that nothing in a body handled is one of the step around it.
fn failure(plan: &Plan, path: &str, record: &Record, nests: &mut BTreeMap<String, Nest>) {
    let Record::Failed { retry_at_ms: None, error, .. } = record else { return };
    if error.class == ErrorClass::Cancelled || step_of(plan, path).on_error.is_some() {
        return;
    }
    if let Some((outer, Owner::Try(_))) = around(plan, path).into_iter().next() {
        nests.entry(outer).or_default().failed = true;
    }
}
