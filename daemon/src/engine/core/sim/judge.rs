//! The rules that hold for every run in the simulator, whatever happened to it.
//!
//! They read journal, peer and end state with eyes of their own: what a join may count and which order undoing
//! has is told here again, not asked of the engine.

use std::collections::{BTreeMap, BTreeSet};

use aura_protocol::approval::Ask;
use aura_protocol::flow::InDoubtPolicy;
use aura_protocol::run::{Awaited, ErrorClass, Record, Resolution, RunState as State, ScopeKind, StepState};
use aura_protocol::{RunId, Value};

use super::super::Place;
use super::super::plan::{Join, Owner, Plan, PlanStep, StepIx, When};
use super::super::state::repeatable;
use super::kept::{kept, large};
use super::nested::nested;
use super::{Fault, Sim, id_of, records};

/// The step of a path: with keys the one inside of the map.
pub(super) fn step_of<'p>(plan: &'p Plan, path: &str) -> &'p PlanStep {
    let keys = path.matches('[').count();
    let depth = |ix: StepIx| {
        let (mut depth, mut at) = (0, Some(ix));
        while let Some(ix) = at {
            let owner = plan.owner_of(ix);
            depth += usize::from(matches!(owner, Owner::Item(_)));
            at = owner.step();
        }
        depth
    };
    let ix = plan.with_id(id_of(path)).iter().copied().find(|ix| depth(*ix) == keys).expect("a step of the flow");
    &plan.steps[ix]
}

/// The path of a sibling: the same items around it.
fn sibling(plan: &Plan, path: &str, step: &PlanStep, position: usize) -> String {
    let id = &plan.steps[plan.scope_steps(step.scope)[position]].id;
    // The step that `each` repeats stands alone in its scope, so siblings share all keys.
    format!("{id}{}", &path[id_of(path).len()..])
}

/// Whether a step stands where the run is only tidying up.
fn in_end(plan: &Plan, path: &str) -> bool {
    let mut scope = step_of(plan, path).scope;
    loop {
        match plan.owner(scope) {
            Owner::Finally | Owner::Compensate(_) => return true,
            owner => match owner.step() {
                Some(step) => scope = plan.steps[step].scope,
                None => return false,
            },
        }
    }
}

pub(super) fn judge(sim: &Sim) -> Result<(), Fault> {
    peer(sim)?;
    ends(sim)?;
    joins(sim)?;
    undone(sim)?;
    maps(sim)?;
    green(sim)?;
    kept(sim)?;
    large(sim)?;
    nested(sim)?;
    signals(sim)?;
    children(sim)?;
    votes(sim)
}

/// Everybody who decides is asked, saw what is asked, decides once; and enough agreed where a run went on.
fn votes(sim: &Sim) -> Result<(), Fault> {
    /// Who may decide still, and how many agreed.
    struct Open<'r> {
        ask: &'r Ask,
        may: BTreeSet<&'r str>,
        seen: BTreeSet<&'r str>,
        agreed: usize,
    }
    // By hand, and by those who had it done again; said here a second time, for the journal alone.
    let mut starters = vec!["a"];
    let mut asks: BTreeMap<&str, Open<'_>> = BTreeMap::new();
    for record in records(sim) {
        match record {
            Record::RunStarted(started) => {
                let origins = started.origin.iter();
                starters
                    .extend(origins.flat_map(|origin| origin.before.iter().chain([&origin.by])).map(String::as_str));
            }
            Record::Awaiting { path, what: Awaited::People(ask), .. } => {
                let may: BTreeSet<&str> = ["a", "b", "c"].into_iter().collect();
                asks.insert(path, Open { ask, seen: may.clone(), may, agreed: 0 });
            }
            Record::Escalated { path } => {
                if let Some(open) = asks.get_mut(path.as_str())
                    && open.seen.insert("d")
                {
                    open.may.insert("d");
                }
            }
            Record::Delegated { path, by, to } => {
                let Some(open) = asks.get_mut(path.as_str()) else {
                    return Err(format!("{by} handed on {path}, which asks nobody"));
                };
                if !open.ask.delegate || !open.may.remove(by.as_str()) || !open.seen.insert(to) {
                    return Err(format!("{by} had {to} decide about {path} and may not"));
                }
                open.may.insert(to);
            }
            Record::Voted { path, vote } => {
                let Some(open) = asks.get_mut(path.as_str()) else {
                    return Err(format!("{} decided about {path}, which asks nobody", vote.by));
                };
                if !open.may.remove(vote.by.as_str()) || vote.hash != open.ask.hash {
                    return Err(format!("{} decided about {path} and may not", vote.by));
                }
                if open.ask.no_self && starters.contains(&vote.by.as_str()) {
                    return Err(format!("{} began the run and decided about {path}", vote.by));
                }
                open.agreed += usize::from(vote.approve);
            }
            Record::Completed { path, .. } => {
                let Some(Open { ask, agreed, .. }) = asks.remove(path.as_str()) else { continue };
                if agreed < usize::try_from(ask.quorum).unwrap_or(usize::MAX) {
                    return Err(format!("{path} went on, {agreed} of {} had agreed", ask.quorum));
                }
            }
            Record::Failed { path, .. } => {
                asks.remove(path.as_str());
            }
            _ => {}
        }
    }
    Ok(())
}

/// A called run that failed fails its step, and one that nobody waits for any more is asked to end.
fn children(sim: &Sim) -> Result<(), Fault> {
    let mut called: BTreeMap<&str, RunId> = BTreeMap::new();
    let mut meant_well: BTreeMap<&str, bool> = BTreeMap::new();
    for record in records(sim) {
        match record {
            Record::Scheduled { path, input, .. } if sim.children.contains(id_of(path)) => {
                meant_well.insert(path, sim.disk.loaded(input)?.get("input") == Some(&Value::Bool(true)));
            }
            Record::Called { path, run, waits: true, .. } if called.insert(path, *run).is_some() => {
                return Err(format!("{path} called twice"));
            }
            Record::Completed { path, .. }
                if called.remove(path.as_str()).is_some() && meant_well.get(path.as_str()) != Some(&true) =>
            {
                return Err(format!("the run that {path} called failed, and {path} went on"));
            }
            Record::Failed { path, error, .. } if error.class != ErrorClass::Cancelled => {
                called.remove(path.as_str());
            }
            _ => {}
        }
    }
    match called.iter().find(|(_, run)| !sim.cancelled.contains(run)) {
        Some((path, _)) => Err(format!("nobody waits for what {path} called, and it goes on")),
        None => Ok(()),
    }
}

/// What came for a step ends its wait, once, and a wait that nothing ended fails.
fn signals(sim: &Sim) -> Result<(), Fault> {
    let mut came: BTreeMap<&str, &Value> = BTreeMap::new();
    let mut waiting: BTreeSet<&str> = BTreeSet::new();
    for record in records(sim) {
        match record {
            Record::Signalled { path, data, .. } if came.insert(path, data).is_some() => {
                return Err(format!("{path} was given twice what it waits for"));
            }
            Record::Awaiting { path, what: Awaited::Callback | Awaited::Event { .. }, .. } => {
                waiting.insert(path);
            }
            Record::Completed { path, output, .. } if waiting.contains(path.as_str()) => {
                if came.get(path.as_str()) != Some(&output) {
                    return Err(format!("{path} went on with {output:?}, {:?} came", came.get(path.as_str())));
                }
                waiting.remove(path.as_str());
            }
            Record::Failed { path, error, .. }
                if waiting.remove(path.as_str())
                    && error.class == ErrorClass::Timeout
                    && came.contains_key(path.as_str()) =>
            {
                return Err(format!("{path} gave up although it had come"));
            }
            _ => {}
        }
    }
    Ok(())
}

/// What reached the peer.
fn peer(sim: &Sim) -> Result<(), Fault> {
    for ((path, key), times) in &sim.peer.effects {
        let accepted = step_of(&sim.plan, path).in_doubt == InDoubtPolicy::Retry;
        if *times > 1 && !accepted {
            return Err(format!("{path} happened {times} times under {key}"));
        }
    }
    for (path, keys) in &sim.peer.arrived {
        if keys.iter().collect::<BTreeSet<_>>().len() > 1 {
            return Err(format!("{path} was sent with several keys"));
        }
    }
    for (path, sent) in &sim.peer.sent {
        let attempts = usize::try_from(step_of(&sim.plan, path).retry.attempts).unwrap();
        // A person who resolves by repeating adds one, and so does the crash.
        let repeats = records(sim).filter(
            |record| matches!(record, Record::Resolved { path: of, resolution: Resolution::Retry, .. } if of == path),
        );
        let allowed = attempts + repeats.count() + sim.crashes;
        if *sent > allowed {
            return Err(format!("{path} was sent {sent} times, {allowed} are allowed"));
        }
    }
    for (path, _) in sim.peer.effects.keys() {
        // Its own last attempt; its handler may have failed in another way. A person who says that it
        // failed is believed, and so is a peer that refuses the same key for good.
        let last = records(sim).filter_map(|record| match record {
            Record::Failed { path: of, attempt, error, retry_at_ms: None } if of == path && *attempt > 0 => {
                Some(Some(error.class))
            }
            Record::Completed { path: of, .. } | Record::InDoubt { path: of, .. } if of == path => Some(None),
            _ => None,
        });
        let class = last.last().flatten();
        let definite = matches!(class, Some(ErrorClass::InDoubt | ErrorClass::Invalid));
        if class.is_some() && !definite && !repeatable(step_of(&sim.plan, path).effect) {
            return Err(format!("{path} happened and ended as {class:?}, not in doubt"));
        }
    }
    Ok(())
}

/// Cancel and last steps.
fn ends(sim: &Sim) -> Result<(), Fault> {
    if sim.plan.finally.is_some() {
        let frame = sim.state.finally.and_then(|frame| sim.state.frame(frame));
        let Some(frame) = frame else { return Err("`finally` did not run".into()) };
        if frame.failed.is_none() && frame.cells.iter().any(|cell| cell.state.is_none()) {
            return Err("`finally` did not run to its end".into());
        }
    }
    let mut cancelled = false;
    for record in records(sim) {
        match record {
            Record::CancelRequested { .. } => cancelled = true,
            Record::Scheduled { path, .. } if cancelled && !in_end(&sim.plan, path) => {
                return Err(format!("{path} began after the cancel"));
            }
            _ => {}
        }
    }
    if cancelled && sim.state.finished != Some(State::Cancelled) {
        return Err(format!("the cancel did not stick: {:?}", sim.state.finished));
    }
    Ok(())
}

/// What the journal has said of a step so far.
#[derive(Clone, Copy, Default)]
struct Told {
    begun: bool,
    /// Succeeded, failed with a handler that ended well, or skipped by its own `if`.
    came: Option<StepState>,
    /// Lost, or skipped by spread.
    dead: bool,
}

/// Needs, joins, losers, and scopes that failed.
fn joins(sim: &Sim) -> Result<(), Fault> {
    let plan = &sim.plan;
    let mut told: BTreeMap<String, Told> = BTreeMap::new();
    let mut lost: BTreeSet<String> = BTreeSet::new();
    let mut failed: BTreeSet<(usize, String)> = BTreeSet::new();
    let keys_of = |path: &str| path[id_of(path).len()..].to_owned();
    for record in records(sim) {
        let Some(path) = record.path() else { continue };
        if matches!(record, Record::Log { .. } | Record::Responded { .. } | Record::Signalled { .. }) {
            continue;
        }
        let step = step_of(plan, path);
        let begins = matches!(
            record,
            Record::Scheduled { .. }
                | Record::WaitCreated { .. }
                | Record::Awaiting { .. }
                | Record::Listed { .. }
                | Record::Completed { .. }
                | Record::Skipped { spread: false, .. }
                | Record::ScopeOpened { scope: ScopeKind::Arm(_) | ScopeKind::Try | ScopeKind::Iteration(0), .. }
        );
        if begins && !told.get(path).is_some_and(|told| told.begun) {
            begun(plan, path, step, &told)?;
            if failed.contains(&(step.scope, keys_of(path))) {
                return Err(format!("{path} began in a scope that had failed"));
            }
            if lost.contains(path) {
                return Err(format!("{path} began although a join went on without it"));
            }
            if step.cancel_losers {
                let open = step.needs.iter().map(|need| sibling(plan, path, step, need.position));
                lost.extend(open.filter(|path| told.get(path).is_none_or(|told| told.came.is_none() && !told.dead)));
            }
        }
        let inside = lost.iter().find(|lost| is_inside(plan, path, lost));
        if let (Record::Scheduled { .. }, Some(lost)) = (record, inside) {
            return Err(format!("{path} began in {lost}, which lost a join"));
        }
        let entry = told.entry(path.to_owned()).or_default();
        entry.begun |= begins;
        match record {
            Record::Completed { .. } => entry.came = Some(StepState::Succeeded),
            Record::Handled { .. } => entry.came = Some(StepState::Failed),
            Record::Skipped { spread: false, .. } => entry.came = Some(StepState::Skipped),
            Record::Skipped { spread: true, .. } | Record::Lost { .. } => entry.dead = true,
            Record::Failed { retry_at_ms: None, error, .. }
                if step.on_error.is_none() && error.class != ErrorClass::Cancelled && !lost.contains(path) =>
            {
                failed.insert((step.scope, keys_of(path)));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Whether a step stands in the body of another one.
fn is_inside(plan: &Plan, path: &str, outer: &str) -> bool {
    let wanted = step_of(plan, outer);
    let mut scope = step_of(plan, path).scope;
    while let Some(step) = plan.owner(scope).step() {
        let around = &plan.steps[step];
        if around.scope == wanted.scope && around.position == wanted.position {
            return path[id_of(path).len()..].starts_with(&outer[id_of(outer).len()..]);
        }
        scope = around.scope;
    }
    false
}

/// A step began: what it needs must be there.
fn begun(plan: &Plan, path: &str, step: &PlanStep, told: &BTreeMap<String, Told>) -> Result<(), Fault> {
    let of = |position: usize| told.get(&sibling(plan, path, step, position)).copied().unwrap_or_default();
    let comes = |state: StepState, when: When| match when {
        When::Settled => true,
        When::Succeeded => state == StepState::Succeeded,
        When::Failed => state == StepState::Failed,
    };
    let came = step.needs.iter().filter(|need| of(need.position).came.is_some_and(|state| comes(state, need.when)));
    let came = came.count();
    let enough = match step.join {
        _ if step.needs.is_empty() => true,
        Join::All => {
            came > 0
                && step.needs.iter().all(|need| {
                    let told = of(need.position);
                    told.dead || told.came.is_some_and(|state| comes(state, need.when))
                })
        }
        Join::First(wanted) => came >= wanted,
    };
    if enough { Ok(()) } else { Err(format!("{path} began, {came} of its {} needs had come", step.needs.len())) }
}

/// Compensation: all that was done, the last first, before the last steps, unless the run ends well. What a person
/// resolves as done after that stays.
fn undone(sim: &Sim) -> Result<(), Fault> {
    let mut done: Vec<&str> = Vec::new();
    let mut opened = 0;
    let mut left: Option<Vec<&str>> = None;
    let mut stopped_well = false;
    for record in records(sim) {
        match record {
            Record::Completed { path, .. } => {
                let step = step_of(&sim.plan, path);
                stopped_well |= step.kind.stops() == Some(true);
                if step.compensate.is_some() {
                    done.push(path);
                }
            }
            Record::ScopeOpened { path, scope: ScopeKind::Compensate } => {
                opened += 1;
                let last = done.pop();
                if last != Some(path.as_str()) {
                    return Err(format!("{path} is undone, {last:?} was done last"));
                }
            }
            Record::ScopeOpened { scope: ScopeKind::Finally, .. } | Record::RunFinished { .. } => {
                left.get_or_insert_with(|| done.clone());
            }
            _ => {}
        }
    }
    if sim.state.finished == Some(State::Succeeded) && opened > 0 {
        return Err("the run is green and steps were undone".into());
    }
    let root_failed = sim.state.frame(0).is_some_and(|frame| frame.failed.is_some());
    let must = (root_failed && !stopped_well) || sim.state.cancel.is_some();
    match left.filter(|left| must && !left.is_empty()) {
        Some(left) => Err(format!("the run failed and {left:?} were not undone")),
        None => Ok(()),
    }
}

/// Maps give one row for each item, in input order.
fn maps(sim: &Sim) -> Result<(), Fault> {
    let mut lists: BTreeMap<&str, (usize, &[String])> = BTreeMap::new();
    let mut done: BTreeMap<&str, usize> = BTreeMap::new();
    for record in records(sim) {
        match record {
            Record::ItemDone { path, .. } => *done.entry(path).or_default() += 1,
            Record::Listed { path, items, keys, .. } => {
                lists.insert(path, (items.len(), keys));
            }
            Record::Completed { path, output, .. } => {
                let Some((count, keys)) = lists.get(path.as_str()) else { continue };
                let output = sim.disk.loaded(output)?;
                let rows = output.as_list().unwrap_or_default();
                if rows.len() != *count {
                    return Err(format!("{path} gave {} rows for {count} items", rows.len()));
                }
                let carry_on = step_of(&sim.plan, path).kind.map().is_some_and(|rules| rules.carry_on);
                let ended = done.get(path.as_str()).copied().unwrap_or(0);
                if !carry_on && ended != *count {
                    return Err(format!("{path} went on and {ended} of its {count} items ended well"));
                }
                for (index, row) in rows.iter().enumerate().filter(|_| carry_on) {
                    let key = keys.get(index).map_or(Value::from(index as i64), |key| Value::from(key.as_str()));
                    if row.get("key") != Some(&key) {
                        return Err(format!("row {index} of {path} has the key {:?}", row.get("key")));
                    }
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// A green run has no failure that nothing handled.
fn green(sim: &Sim) -> Result<(), Fault> {
    let stopped = sim.state.outcome.as_ref().is_some_and(|outcome| outcome.stopped);
    if sim.state.finished != Some(State::Succeeded) || stopped {
        return Ok(());
    }
    for (ix, frame) in sim.state.frames.iter().enumerate().filter_map(|(ix, frame)| Some((ix, frame.as_ref()?))) {
        for position in 0..frame.cells.len() {
            let at = Place { frame: ix, position };
            if unhandled(sim, at) {
                return Err(format!("{} failed unhandled and the run is green", sim.state.path(&sim.plan, at)));
            }
        }
    }
    Ok(())
}

/// Whether a step failed and neither it nor a step around it has a handler that ended well.
fn unhandled(sim: &Sim, step: Place) -> bool {
    let mut at = step;
    loop {
        let cell = sim.state.cell(at).expect("a cell");
        if cell.state != Some(StepState::Failed) || cell.handled {
            return false;
        }
        let scope = sim.state.frame(at.frame).expect("a frame").scope;
        match (sim.plan.owner(scope), sim.state.around(at)) {
            (Owner::Item(map), _) if sim.plan.steps[map].kind.map().is_some_and(|rules| rules.carry_on) => {
                return false;
            }
            (_, Some(around)) => at = around,
            (_, None) => return true,
        }
    }
}
