//! What became of every step of a run that has ended, read from its journal.
//!
//! Invariant: nothing is guessed. A scope that failed has no record of its own, so the journal is folded once more
//! and asked at the records that follow from it (a handler, a `catch`, the end of an item).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use aura_protocol::flow::Effect;
use aura_protocol::run::{
    ItemCopy, Record, Resolution, RunStarted, RunState as State, ScopeKind, StepError, Transition,
};
use aura_protocol::{RunId, Value};

use super::super::plan::{Owner, Plan, StepIx};
use super::super::state::RunState;

/// How a step settled.
#[derive(Clone, Debug, PartialEq)]
pub enum Settled {
    /// It ended well.
    Completed {
        /// Attempt that did it; 0 for what calls nobody.
        attempt: u32,
        /// Its output.
        output: Value,
    },
    /// It failed and its handler ended normally.
    Handled {
        /// Output of the handler.
        output: Value,
    },
    /// It was not taken.
    Skipped {
        /// Why.
        why: String,
        /// What it needs did not come.
        spread: bool,
    },
}

/// The call of a step as it was scheduled.
#[derive(Clone, Debug, PartialEq)]
pub struct Called {
    /// Hash of its input.
    pub input_hash: String,
    /// Its key.
    pub key: String,
    /// What a repeat does outside.
    pub effect: Effect,
    /// When its key was first used.
    pub key_ms: i64,
    /// It drew something (time, chance) for its input.
    pub draws: bool,
}

/// A map's list.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Listed {
    /// The items in input order.
    pub items: Vec<Value>,
    /// Their keys; empty: their positions.
    pub keys: Vec<String>,
    /// At work at once at most.
    pub parallel: u32,
}

/// What became of one instance of a step.
#[derive(Clone, Debug, Default)]
pub struct Was {
    /// Number of the record with which it settled.
    pub at: usize,
    /// How.
    pub settled: Option<Settled>,
    /// Its call, if it made one.
    pub call: Option<Called>,
    /// The answer that it gave to the sender.
    pub answer: Option<Record>,
    /// Scopes of it that began: number of the record and which.
    pub opened: Vec<(usize, ScopeKind)>,
    /// Of a map: number of the record and the list.
    pub listed: Option<(usize, Listed)>,
    /// Of a map or loop: the items that ended, with the number of the record.
    pub items: BTreeMap<u32, (usize, ItemCopy)>,
    /// Why it failed, when its handler or `catch` began.
    pub error: Option<StepError>,
    /// The attempt that failed last.
    pub attempt: u32,
    /// A join went on without it: number of the record and the join.
    pub lost: Option<(usize, String)>,
    /// Nobody knows whether its call happened.
    pub doubt: bool,
    /// It is a copy itself: what was in it is known of the run before only.
    pub copied: bool,
}

impl Was {
    /// The number of the record with which a scope of it began.
    #[must_use]
    pub fn began(&self, wanted: impl Fn(ScopeKind) -> bool) -> Option<(usize, ScopeKind)> {
        self.opened.iter().rev().find(|(_, scope)| wanted(*scope)).copied()
    }
}

/// A run that has ended.
#[derive(Debug)]
pub struct Past {
    /// It.
    pub run: RunId,
    /// How it began.
    pub started: Arc<RunStarted>,
    /// How it ended.
    pub finished: Option<State>,
    /// Its steps, by path.
    pub steps: BTreeMap<String, Was>,
    /// Steps that were undone.
    pub undone: BTreeSet<String>,
    /// Steps, and items by map and key, in which something was undone.
    pub undone_in: BTreeSet<(String, String)>,
    /// The same, where something was done that could be undone.
    pub undoable_in: BTreeSet<(String, String)>,
}

impl Past {
    /// Reads a journal under the plan of its version; `None` if it does not begin.
    #[must_use]
    pub fn read(run: RunId, plan: &Plan, journal: &[Transition]) -> Option<Self> {
        let first = journal.first()?.records.iter().find_map(|record| match record {
            Record::RunStarted(started) => Some(Arc::clone(started)),
            _ => None,
        })?;
        let mut past = Self {
            run,
            started: first,
            finished: None,
            steps: BTreeMap::new(),
            undone: BTreeSet::new(),
            undone_in: BTreeSet::new(),
            undoable_in: BTreeSet::new(),
        };
        let mut state = RunState::new(run, plan);
        let mut at = 0;
        for transition in journal {
            state.open_transition(plan, transition.number, transition.at_ms);
            for record in &transition.records {
                at += 1;
                past.before(at, plan, &state, record.bare());
                state.apply(plan, record, transition.at_ms);
                past.after(at, plan, &state, record.bare(), transition.at_ms);
                if let (Record::Copied(_), Some(path)) = (record, record.path()) {
                    past.step(path).copied = true;
                }
            }
        }
        past.mark(plan);
        Some(past)
    }

    /// What the state says just before a record.
    fn before(&mut self, at: usize, plan: &Plan, state: &RunState, record: &Record) {
        match record {
            Record::ScopeOpened { path, scope: ScopeKind::OnError | ScopeKind::Catch } => {
                let error = state.find(plan, path).and_then(|at| state.cell(at)?.error.clone());
                self.step(path).error = error;
            }
            // Copied without its handler's beginning.
            Record::Handled { path, .. } if self.step(path).error.is_none() => {
                let error = state.find(plan, path).and_then(|at| state.cell(at)?.error.clone());
                self.step(path).error = error;
            }
            Record::ItemDone { path, index } => {
                let frame =
                    state.find(plan, path).and_then(|at| state.cell(at)?.items.as_ref()?.live.get(index).copied());
                let output = frame.map(|frame| state.last_output(frame)).unwrap_or_default();
                self.step(path).items.insert(*index, (at, ItemCopy { index: *index, output, error: None }));
            }
            _ => {}
        }
    }

    fn after(&mut self, at: usize, plan: &Plan, state: &RunState, record: &Record, at_ms: i64) {
        if let Record::RunFinished { state, .. } = record {
            self.finished = Some(*state);
        }
        let Some(path) = record.path() else { return };
        if !matches!(record, Record::Log { .. } | Record::Signalled { .. }) {
            let was = self.step(path);
            was.at = at;
            match record {
                Record::Scheduled { input_hash, key, effect, draws, path, .. } => {
                    let kept = state.kept_key(path).filter(|kept| kept.key == *key);
                    was.call = Some(Called {
                        input_hash: input_hash.clone(),
                        key: key.clone(),
                        effect: *effect,
                        key_ms: kept.map_or(at_ms, |kept| kept.since_ms),
                        draws: !draws.is_empty(),
                    });
                }
                Record::Completed { attempt, output, .. } => {
                    was.settled = Some(Settled::Completed { attempt: *attempt, output: output.clone() });
                    was.doubt = false;
                }
                Record::Handled { output, .. } => was.settled = Some(Settled::Handled { output: output.clone() }),
                Record::Skipped { why, spread, .. } => {
                    was.settled = Some(Settled::Skipped { why: why.clone(), spread: *spread });
                }
                Record::Failed { attempt, .. } => was.attempt = *attempt,
                Record::InDoubt { .. } => was.doubt = true,
                Record::Resolved { resolution, .. } => was.doubt = *resolution == Resolution::Retry,
                Record::Lost { join, .. } => was.lost = Some((at, join.clone())),
                Record::ScopeOpened { scope, .. } => was.opened.push((at, *scope)),
                Record::Responded { .. } => was.answer = Some(record.clone()),
                Record::Listed { items, keys, parallel, .. } => {
                    let list = Listed { items: items.clone(), keys: keys.clone(), parallel: *parallel };
                    was.listed = Some((at, list));
                }
                Record::ItemsCopied { items, .. } => {
                    was.items.extend(items.iter().map(|item| (item.index, (at, item.clone()))));
                }
                Record::Compensated { error: None, path } => {
                    self.undone.insert(path.clone());
                }
                _ => {}
            }
        }
        // An item that failed ends when the last step at work in it settles, however that one does: seen where the map
        // goes on without it.
        let settles = matches!(
            record,
            Record::Failed { retry_at_ms: None, .. }
                | Record::Completed { .. }
                | Record::Handled { .. }
                | Record::Skipped { .. }
                | Record::TimedOut { .. }
                | Record::Lost { .. }
                | Record::InDoubt { .. }
        );
        if settles {
            for (map, key) in items_around(plan, path) {
                // Where a failed item fails the whole, it has not settled.
                let kind = step_of(plan, &map).and_then(|ix| plan.step(ix)).map(|step| &step.kind);
                if !kind.and_then(|kind| kind.map()).is_some_and(|rules| rules.carry_on) {
                    continue;
                }
                let Some(items) = state.find(plan, &map).and_then(|at| state.cell(at)?.items.as_ref()) else {
                    continue;
                };
                let Some(index) = items.index_of(&key) else { continue };
                if let Some(Err(error)) = items.results.get(&index) {
                    let copy = ItemCopy { index, output: Value::Null, error: Some(error.clone()) };
                    self.step(&map).items.insert(index, (at, copy));
                }
            }
        }
    }

    fn step(&mut self, path: &str) -> &mut Was {
        if !self.steps.contains_key(path) {
            self.steps.insert(path.to_owned(), Was::default());
        }
        self.steps.entry(path.to_owned()).or_default()
    }

    /// Marks what contains something that was undone, or could be.
    fn mark(&mut self, plan: &Plan) {
        let undoable = |path: &&String| {
            let has = step_of(plan, path).and_then(|ix| plan.step(ix)).is_some_and(|step| step.compensate.is_some());
            has && self.steps.get(*path).is_some_and(|was| matches!(was.settled, Some(Settled::Completed { .. })))
        };
        let undoable: Vec<String> =
            self.steps.keys().filter(undoable).filter(|path| !self.undone.contains(*path)).cloned().collect();
        for path in undoable {
            self.undoable_in.extend(all_around(plan, &path));
        }
        for path in &self.undone {
            self.undone_in.extend(all_around(plan, path));
        }
    }
}

/// The step of a path: of `each`, which are two with one id, the one with as many keys.
#[must_use]
pub fn step_of(plan: &Plan, path: &str) -> Option<StepIx> {
    let id = path.split('[').next().unwrap_or(path);
    let keys = path.matches('[').count();
    plan.with_id(id).iter().copied().find(|ix| depth(plan, *ix) == keys)
}

/// How many maps and loops are around a step.
#[must_use]
pub fn depth(plan: &Plan, step: StepIx) -> usize {
    let mut owner = plan.owner_of(step);
    let mut found = 0;
    while let Some(step) = owner.step() {
        found += usize::from(matches!(owner, Owner::Item(_)));
        owner = plan.owner_of(step);
    }
    found
}

/// The steps around a path, innermost first: path, how it is in there, and the key of the item it is in.
#[must_use]
pub fn around(plan: &Plan, path: &str) -> Vec<(String, Owner, String)> {
    let (_, keys) = path.split_at(path.find('[').unwrap_or(path.len()));
    let mut keys: Vec<&str> = keys.split_inclusive(']').collect();
    let Some(mut owner) = step_of(plan, path).map(|step| plan.owner_of(step)) else { return Vec::new() };
    let mut found = Vec::new();
    while let Some(step) = owner.step() {
        let key = if matches!(owner, Owner::Item(_)) { keys.pop().unwrap_or_default() } else { "" };
        let id = plan.step(step).map(|step| step.id.as_str()).unwrap_or_default();
        let key = key.trim_start_matches('[').trim_end_matches(']').to_owned();
        found.push((format!("{id}{}", keys.concat()), owner, key));
        owner = plan.owner_of(step);
    }
    found
}

/// The items that a path is in: map and key as it stands in the path.
fn items_around(plan: &Plan, path: &str) -> Vec<(String, String)> {
    let items = around(plan, path).into_iter().filter(|(_, owner, _)| matches!(owner, Owner::Item(_)));
    items.map(|(map, _, key)| (map, key)).collect()
}

/// Everything around a path: steps (with an empty key), and items by their key.
fn all_around(plan: &Plan, path: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for (outer, owner, key) in around(plan, path) {
        if matches!(owner, Owner::Item(_)) {
            found.push((outer.clone(), key));
        }
        found.push((outer, String::new()));
    }
    found
}
