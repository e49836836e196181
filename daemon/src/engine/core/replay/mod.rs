//! Running something again: from a run that has ended to the first records of a new one, pure.
//!
//! `(versions, journal, point, edit) → (records, keys, preview)`. Invariant: a step is copied only if it had settled,
//! was not undone, is the same step in both versions, and neither is nor needs nor reads the point or anything else
//! that runs again. [`past`] reads the journal, [`same`] compares versions, [`copy`] decides scope by scope,
//! `consent` looks at what people agreed to.

mod consent;
pub mod copy;
mod emit;
mod fate;
pub mod past;
pub mod same;

use std::collections::BTreeMap;

use aura_protocol::Value;
use aura_protocol::flow::Flow;
use aura_protocol::rpc::ReplayPreview;
use aura_protocol::run::{KeptKey, Point, Record, path_key};

use super::plan::{Owner, Plan};
use copy::Copier;
use past::{Past, around, step_of};
use same::{Same, Sameness};

/// A replay begins with at most so many records.
pub const RECORDS_MAX: usize = 50_000;
/// What its items gave together may weigh so much, in bytes.
pub const ITEMS_WEIGHT_MAX: usize = 4 * 1024 * 1024;
/// At most so many calls keep their keys.
pub const KEYS_MAX: usize = 10_000;
/// Keys of items that a refusal names.
const NAMED: usize = 5;

/// A version of a flow.
#[derive(Clone, Copy, Debug)]
pub struct Version<'a> {
    /// As it was read.
    pub flow: &'a Flow,
    /// Compiled.
    pub plan: &'a Plan,
}

/// What is wanted.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// From where.
    pub point: Point,
    /// Another input of the point.
    pub edit: Option<Value>,
    /// Calls keep their keys where their input is what it was.
    pub reuse_keys: bool,
    /// Variables have other values now.
    pub variables_differ: bool,
    /// Now, in Unix milliseconds.
    pub now_ms: i64,
    /// Who wants it.
    pub by: String,
}

/// How the new run begins.
#[derive(Debug)]
pub struct Opening {
    /// What is copied, in the order in which it happened.
    pub records: Vec<Record>,
    /// Keys that calls keep, by path.
    pub keys: Vec<KeptKey>,
    /// The edited input of a call.
    pub input: Option<Value>,
    /// What people are shown before.
    pub preview: ReplayPreview,
}

/// Why there is no such replay.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Impossible {
    /// The run goes on.
    #[error("the run has not finished; cancel it first, or wait for its end")]
    Live,
    /// No such step.
    #[error("{0}")]
    Point(String),
    /// The edit does not fit.
    #[error("{0}")]
    Edit(String),
    /// It would not fit.
    #[error("{0}")]
    TooLarge(String),
}

/// The steps around the point: how it is in there, and the key of the item.
type Chain = BTreeMap<String, (Owner, String)>;

/// Decides what is copied.
///
/// # Errors
/// The run goes on, has no such point, or the edit does not fit.
pub fn opening(past: &Past, old: Version<'_>, new: Version<'_>, wanted: &Wanted) -> Result<Opening, Impossible> {
    if past.finished.is_none() {
        return Err(Impossible::Live);
    }
    let other = old.plan.version != new.plan.version;
    let chain = locate(past, new.plan, &wanted.point)?;
    let same = Same::of(other.then_some((old.flow, old.plan)), (new.flow, new.plan), wanted.variables_differ);
    let mut copier = Copier::new(new.plan, past, &same, wanted, &chain);
    if wanted.point != Point::Start {
        copier.scope(0, "");
    }
    copier.finished(new.flow, !other)
}

/// Why an unfinished run cannot go on under another version: everything that settled or is open in it must be the
/// same there.
#[must_use]
pub fn hindrances(past: &Past, old: Version<'_>, new: Version<'_>) -> Vec<String> {
    let same = Same::of(Some((old.flow, old.plan)), (new.flow, new.plan), false);
    let mut found: BTreeMap<&str, String> = BTreeMap::new();
    for (path, was) in &past.steps {
        let id = path.split('[').next().unwrap_or(path);
        let ended = was.settled.is_some() || was.lost.is_some();
        let why = match same.step(id) {
            Sameness::Whole => continue,
            // It is open, and what is in it is looked at by itself.
            Sameness::Shell if !ended => continue,
            Sameness::Shell => "something in it is another step in that version, and it has ended",
            Sameness::Not(why) => why,
        };
        found.entry(id).or_insert_with(|| format!("{}: {why}", aura_protocol::text::display(id)));
    }
    found.into_values().collect()
}

/// Finds the point and what is around it.
fn locate(past: &Past, plan: &Plan, point: &Point) -> Result<Chain, Impossible> {
    let (path, item) = match point {
        Point::Start => return Ok(Chain::new()),
        Point::Step(path) => (path, None),
        Point::Item { map, key } => (map, Some(key)),
    };
    let shown = aura_protocol::text::display(path);
    let refuse = |text: String| Err(Impossible::Point(text));
    let Some(ix) = step_of(plan, path) else {
        let id = path.split('[').next().unwrap_or(path);
        let id = aura_protocol::text::display(id);
        return match plan.with_id(path.split('[').next().unwrap_or(path)).first() {
            Some(ix) if past::depth(plan, *ix) > 0 => refuse(format!(
                "{id} is in a map or loop: say which item, as in {id}[KEY]; items: {}",
                items_of(past, plan, *ix).join(", ")
            )),
            Some(_) => refuse(format!("{id} is in no map or loop: say {id}")),
            None => refuse(format!("the version has no step {id}")),
        };
    };
    let outer = around(plan, path);
    let outermost = outer.last().and_then(|(path, ..)| step_of(plan, path)).unwrap_or(ix);
    match plan.owner_of(outermost) {
        Owner::FlowOnError | Owner::Finally => {
            return refuse(format!("{shown} runs at the end of a run in any case; replay from a step of the flow"));
        }
        _ if outer.iter().any(|(_, owner, _)| matches!(owner, Owner::Compensate(_))) => {
            return refuse(format!("{shown} only undoes another step; replay from that one"));
        }
        _ => {}
    }
    let Some(was) = past.steps.get(path) else {
        let origin = past
            .started
            .origin
            .as_ref()
            .map_or(String::new(), |origin| format!(" (if it was copied from {}, replay that run)", origin.run));
        return refuse(format!("the run did not come to {shown}{origin}"));
    };
    let mut chain: Chain = outer.into_iter().map(|(path, owner, key)| (path, (owner, key))).collect();
    if let Some(key) = item {
        let kind = plan.step(ix).map(|step| &step.kind);
        let repeats = kind.is_some_and(|kind| kind.repeats().is_some());
        if !repeats && kind.is_none_or(|kind| kind.map().is_none()) {
            return refuse(format!("{shown} is neither a map nor a loop"));
        }
        let known = match &was.listed {
            _ if repeats => key.parse().is_ok_and(|index: u32| {
                was.items.contains_key(&index)
                    || was.began(|scope| scope == aura_protocol::run::ScopeKind::Iteration(index)).is_some()
            }),
            Some((_, list)) if !list.keys.is_empty() => list.keys.contains(key),
            Some((_, list)) => key.parse().is_ok_and(|index: usize| index < list.items.len()),
            None => false,
        };
        if !known {
            let keys = keys_of(past, path);
            let key = aura_protocol::text::display(key);
            return refuse(format!("{shown} has no item {key}; items: {}", keys.join(", ")));
        }
        chain.insert(path.clone(), (Owner::Item(ix), path_key(key)));
    }
    Ok(chain)
}

/// The first keys of a map of a run.
fn keys_of(past: &Past, map: &str) -> Vec<String> {
    let Some(was) = past.steps.get(map) else { return vec!["none".to_owned()] };
    let list = was.listed.as_ref().map(|(_, list)| list);
    let keys: Vec<String> = match list {
        Some(list) if !list.keys.is_empty() => list.keys.iter().take(NAMED + 1).cloned().collect(),
        Some(list) => (0..list.items.len()).take(NAMED + 1).map(|index| index.to_string()).collect(),
        None => was.items.keys().take(NAMED + 1).map(u32::to_string).collect(),
    };
    shortened(keys)
}

/// The first items in which a step was, as they stand in a path.
fn items_of(past: &Past, plan: &Plan, step: super::plan::StepIx) -> Vec<String> {
    let id = plan.step(step).map(|step| step.id.as_str()).unwrap_or_default();
    let paths = past.steps.keys().filter_map(|path| path.strip_prefix(id)).filter(|rest| rest.starts_with('['));
    shortened(paths.take(NAMED + 1).map(str::to_owned).collect())
}

fn shortened(mut keys: Vec<String>) -> Vec<String> {
    if keys.len() > NAMED {
        keys.truncate(NAMED);
        keys.push("…".to_owned());
    }
    if keys.is_empty() {
        keys.push("none".to_owned());
    }
    keys.iter().map(|key| aura_protocol::text::display(key)).collect()
}
