//! The open scopes of a run: frames of cells in an arena, and the paths that name them.
//!
//! A frame is one scope at work: the flow's steps, the arm that was taken, a handler, one item of a map. Its
//! cells are its steps. Invariant: frames are opened by records only, in their order, so a [`Place`] means the
//! same in memory and read back. The frame of an item that has ended is dropped (its result stays with the
//! map), unless a step in it may have to be undone: so what is walked is what is at work, not what has been.

use std::collections::{BTreeMap, HashMap};

use aura_protocol::Value;
use aura_protocol::approval::{Ask, Standing};
use aura_protocol::flow::Effect;
use aura_protocol::run::{Awaited, ItemCopy, Limited, StepError, StepState, path_key};

use super::bugs::{Bug, has};
use super::plan::{Owner, Plan, ScopeIx, StepIx};
use super::state::RunState;

/// Position in [`RunState::frames`].
pub type FrameIx = usize;

/// One step of one frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    /// Frame.
    pub frame: FrameIx,
    /// Position in the scope.
    pub position: usize,
}

/// A scope at work.
#[derive(Clone, Debug, PartialEq)]
pub struct Frame {
    /// Which.
    pub scope: ScopeIx,
    /// The step whose body it is; none for the flow's own.
    pub owner: Option<Place>,
    /// For an item: its position, also as a value for expressions.
    pub index: Option<(u32, Value)>,
    /// One per step.
    pub cells: Vec<StepCell>,
    /// The first failure in it that nothing handled: nothing more starts.
    pub failed: Option<StepError>,
    /// It failed and its owner knows.
    pub closed: bool,
    /// Something in it may have to be undone.
    pub keep: bool,
    /// An iteration that `break_if` ended: nothing more starts.
    pub broken: bool,
}

/// One step of a run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StepCell {
    /// State.
    pub state: Option<StepState>,
    /// Nothing more happens to it.
    pub over: bool,
    /// Attempt at work or the last one; 0 before the first.
    pub attempt: u32,
    /// Resolved input of a call.
    pub input: Value,
    /// Idempotency key of a call.
    pub key: String,
    /// What a repeat does outside, as it was when scheduled.
    pub effect: Option<Effect>,
    /// Under which key its limit counts a call.
    pub limited: Option<Box<Limited>>,
    /// When it was scheduled.
    pub scheduled_ms: i64,
    /// When its key was first used: then, or in the run that this one goes on from.
    pub key_ms: i64,
    /// Attempt and daemon epoch of the last `Started`.
    pub started: Option<(u32, u64)>,
    /// What is in it must have ended then.
    pub deadline_ms: Option<i64>,
    /// That time is over, and what is at work in it is being ended.
    pub expired: bool,
    /// A sleep ends then.
    pub wait_until_ms: Option<i64>,
    /// What it waits for from outside.
    pub awaits: Option<Box<Awaited>>,
    /// How the decision of people stands, while it asks them.
    pub people: Option<Box<Standing>>,
    /// The next attempt is due then.
    pub retry_at_ms: Option<i64>,
    /// Some attempt of a call that must not be repeated blindly may have happened.
    pub unknown: bool,
    /// Its error, if it failed.
    pub error: Option<StepError>,
    /// It failed and its handler ended normally.
    pub handled: bool,
    /// A join went on without it.
    pub lost: bool,
    /// Skipped because what it needs did not come.
    pub spread: bool,
    /// The arm, or the body of a `try`, that is open or was.
    pub body: Option<FrameIx>,
    /// What runs after the body of a `try` failed.
    pub catch: Option<FrameIx>,
    /// Its handler that is open or was.
    pub handler: Option<FrameIx>,
    /// Its compensation that is open or was.
    pub undo: Option<FrameIx>,
    /// The items of a map, or the iterations of a loop.
    pub items: Option<Box<Items>>,
    /// What `steps.<id>` shows once settled.
    pub value: Option<Value>,
}

/// The items of a map.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Items {
    /// In input order.
    pub list: Vec<Value>,
    /// Their keys; empty: their positions.
    pub keys: Vec<String>,
    by_key: HashMap<String, u32>,
    /// At work at once at most.
    pub parallel: u32,
    /// The first one that was not begun.
    pub next: u32,
    /// At work.
    pub live: BTreeMap<u32, FrameIx>,
    /// Ended, with steps that may have to be undone.
    pub kept: BTreeMap<u32, FrameIx>,
    /// What the ended ones gave.
    pub results: BTreeMap<u32, Result<Value, StepError>>,
    /// Bytes of the results, roughly.
    pub weight: usize,
    /// The first failure that ends the map.
    pub failed: Option<StepError>,
}

impl Items {
    /// Items with their keys, none begun.
    #[must_use]
    pub fn new(list: Vec<Value>, keys: Vec<String>, parallel: u32) -> Self {
        let by_key = keys.iter().zip(0..).map(|(key, index)| (path_key(key), index)).collect();
        Self { list, keys, by_key, parallel: parallel.max(1), ..Self::default() }
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> u32 {
        u32::try_from(self.list.len()).unwrap_or(u32::MAX)
    }

    /// The first item that has neither begun nor been copied.
    #[must_use]
    pub fn first_new(&self) -> u32 {
        let known = |index: &u32| self.live.contains_key(index) || self.results.contains_key(index);
        (self.next..).find(|index| !known(index)).unwrap_or(u32::MAX)
    }

    /// An item begins: behind it comes the next one, unless one before it has not begun.
    pub(super) fn begins(&mut self, index: u32, frame: FrameIx) {
        self.live.insert(index, frame);
        self.next = self.first_new();
    }

    /// The key of an item.
    #[must_use]
    pub fn key(&self, index: u32) -> String {
        let key = usize::try_from(index).ok().and_then(|index| self.keys.get(index));
        key.cloned().unwrap_or_else(|| index.to_string())
    }

    /// The position of the item with a key as it stands in a path.
    #[must_use]
    pub fn index_of(&self, key: &str) -> Option<u32> {
        if self.keys.is_empty() { key.parse().ok() } else { self.by_key.get(key).copied() }
    }

    /// Whether the item with a key as it stands in a path began and is not at work any more.
    fn has_ended(&self, key: &str) -> bool {
        let began = |index: u32| index < self.next || self.results.contains_key(&index);
        self.index_of(key).is_some_and(|index| began(index) && !self.live.contains_key(&index))
    }

    /// The frame of the item with a key as it stands in a path.
    fn frame(&self, key: &str) -> Option<FrameIx> {
        let index = self.index_of(key)?;
        self.live.get(&index).or_else(|| self.kept.get(&index)).copied()
    }

    /// What the map gives: outputs, or with `carry_on` what became of each.
    #[must_use]
    pub fn output(&self, carry_on: bool) -> Value {
        let row = |(index, result): (&u32, &Result<Value, StepError>)| match result {
            Ok(output) if !carry_on => output.clone(),
            Ok(output) => {
                Value::object([("key", self.key_value(*index)), ("ok", Value::Bool(true)), ("output", output.clone())])
            }
            Err(error) => Value::object([
                ("key", self.key_value(*index)),
                ("ok", Value::Bool(false)),
                ("error", error.to_value()),
            ]),
        };
        Value::List(self.results.iter().map(row).collect())
    }

    fn key_value(&self, index: u32) -> Value {
        if self.keys.is_empty() { Value::from(i64::from(index)) } else { Value::from(self.key(index)) }
    }
}

/// Bytes of what an item gave, roughly.
pub(super) fn result_weight(result: &Result<Value, StepError>) -> usize {
    match result {
        Ok(output) => output.weight(),
        Err(error) => error.message.len() + 64,
    }
}

impl StepCell {
    /// Whether it has settled so that successors may look at it.
    #[must_use]
    pub fn settled(&self) -> bool {
        self.over && (self.state != Some(StepState::Failed) || self.handled)
    }

    /// Whether something is still to happen in it.
    #[must_use]
    pub fn active(&self) -> bool {
        self.state.is_some() && !self.over
    }

    /// Whether a call of it is out or about to leave.
    #[must_use]
    pub fn calling(&self) -> bool {
        self.state == Some(StepState::Running) && self.effect.is_some()
    }

    /// Its output, null if there is none.
    #[must_use]
    pub fn output(&self) -> Value {
        self.value.as_ref().and_then(|value| value.get("output")).cloned().unwrap_or_default()
    }

    /// The frames below it in which something may be at work: of what is given up for another one, only the other.
    fn frames(&self) -> impl Iterator<Item = FrameIx> + '_ {
        let end = self.handler.or(self.catch);
        let body = self.body.filter(|_| end.is_none());
        let items = self.items.iter().filter(move |_| end.is_none()).flat_map(|items| items.live.values().copied());
        end.into_iter().chain(body).chain(items)
    }

    /// All frames below it.
    fn all_frames(&self) -> impl Iterator<Item = FrameIx> + '_ {
        let items = self.items.iter().flat_map(|items| items.live.values().copied());
        self.body.into_iter().chain(self.catch).chain(self.handler).chain(items)
    }

    /// When others are asked too, if they are not yet.
    #[must_use]
    pub fn escalates(&self) -> Option<i64> {
        match self.awaits.as_deref() {
            Some(Awaited::People(ask)) if !self.people.as_ref().is_some_and(|people| people.escalated) => {
                ask.escalate_ms
            }
            _ => None,
        }
    }

    /// What it asks people, and how that stands.
    #[must_use]
    pub fn asks(&self) -> Option<(&Ask, &Standing)> {
        match (self.awaits.as_deref(), self.people.as_deref()) {
            (Some(Awaited::People(ask)), Some(standing)) => Some((ask, standing)),
            _ => None,
        }
    }

    /// Begins as a step with steps in it.
    pub(super) fn contain(&mut self, at_ms: i64, limit: Option<i64>) {
        self.state = Some(StepState::Running);
        self.scheduled_ms = at_ms;
        self.deadline_ms = limit.map(|span| at_ms.saturating_add(span));
    }
}

impl RunState {
    /// Opens a scope.
    pub(super) fn open_frame(
        &mut self,
        plan: &Plan,
        scope: ScopeIx,
        owner: Option<Place>,
        index: Option<u32>,
    ) -> FrameIx {
        let cells = vec![StepCell::default(); plan.scope_steps(scope).len()];
        let index = index.map(|index| (index, Value::from(i64::from(index))));
        let frame = Frame { scope, owner, index, cells, failed: None, closed: false, keep: false, broken: false };
        self.frames.push(Some(Box::new(frame)));
        self.frames.len() - 1
    }

    /// A frame that is there.
    #[must_use]
    pub fn frame(&self, ix: FrameIx) -> Option<&Frame> {
        self.frames.get(ix)?.as_deref()
    }

    pub(super) fn frame_mut(&mut self, ix: FrameIx) -> Option<&mut Frame> {
        self.frames.get_mut(ix)?.as_deref_mut()
    }

    /// A step's cell.
    #[must_use]
    pub fn cell(&self, at: Place) -> Option<&StepCell> {
        self.frame(at.frame)?.cells.get(at.position)
    }

    pub(super) fn cell_mut(&mut self, at: Place) -> Option<&mut StepCell> {
        self.frame_mut(at.frame)?.cells.get_mut(at.position)
    }

    /// The step of a place.
    #[must_use]
    pub fn step_ix(&self, plan: &Plan, at: Place) -> Option<StepIx> {
        plan.scope_steps(self.frame(at.frame)?.scope).get(at.position).copied()
    }

    /// The step around a place.
    #[must_use]
    pub fn around(&self, at: Place) -> Option<Place> {
        self.frame(at.frame)?.owner
    }

    /// Drops a frame and those below it, unless something in it may have to be undone; gives whether it is gone.
    pub(super) fn drop_frame(&mut self, ix: FrameIx) -> bool {
        if self.frame(ix).is_none_or(|frame| frame.keep) {
            return false;
        }
        let Some(frame) = self.frames.get_mut(ix).and_then(Option::take) else { return false };
        for below in frame.cells.iter().flat_map(StepCell::all_frames) {
            self.drop_frame(below);
        }
        true
    }

    /// Keeps the frames around a place: something in there may have to be undone.
    pub(super) fn keep(&mut self, at: Place) {
        let mut next = Some(at.frame);
        while let Some(frame) = next.and_then(|ix| self.frame_mut(ix)).filter(|frame| !frame.keep) {
            frame.keep = true;
            next = frame.owner.map(|owner| owner.frame);
        }
    }

    /// The place of a path, if its scope is open or was and is kept.
    #[must_use]
    pub fn find(&self, plan: &Plan, path: &str) -> Option<Place> {
        let (id, rest) = path.split_at(path.find('[').unwrap_or(path.len()));
        plan.with_id(id).iter().find_map(|&ix| {
            let step = plan.step(ix)?;
            let mut left = rest;
            let frame = self.frame_of(plan, step.scope, &mut left)?;
            left.is_empty().then_some(Place { frame, position: step.position })
        })
    }

    /// Whether a step that is not to be found was, or will never come: its item has ended, or what is around it.
    #[must_use]
    pub fn has_ended(&self, plan: &Plan, path: &str) -> bool {
        let (id, keys) = path.split_at(path.find('[').unwrap_or(path.len()));
        plan.with_id(id).iter().filter_map(|ix| plan.step(*ix)).any(|step| self.scope_ended(plan, step.scope, keys))
    }

    fn scope_ended(&self, plan: &Plan, scope: ScopeIx, keys: &str) -> bool {
        let owner = plan.owner(scope);
        let Some(around) = owner.step().and_then(|step| plan.step(step)) else { return false };
        let mut rest = keys;
        let Some(frame) = self.frame_of(plan, around.scope, &mut rest) else {
            return self.scope_ended(plan, around.scope, keys);
        };
        let Some(cell) = self.cell(Place { frame, position: around.position }) else { return false };
        match owner {
            _ if cell.over => true,
            Owner::Item(_) => {
                let key = rest.strip_prefix('[').and_then(|rest| rest.split_once(']')).map(|(key, _)| key);
                let items = cell.items.as_ref();
                key.zip(items).is_some_and(|(key, items)| items.has_ended(key))
            }
            // Another arm was taken.
            Owner::Arm(..) => cell.state.is_some(),
            _ => false,
        }
    }

    /// The frame of a scope; takes the keys of items around it from the front of `keys`.
    fn frame_of(&self, plan: &Plan, scope: ScopeIx, keys: &mut &str) -> Option<FrameIx> {
        let owner = plan.owner(scope);
        let Some(step) = owner.step() else {
            return match owner {
                Owner::FlowOnError => self.on_error,
                Owner::Finally => self.finally,
                _ => Some(0),
            };
        };
        let around = plan.step(step)?;
        let frame = self.frame_of(plan, around.scope, keys)?;
        let cell = self.cell(Place { frame, position: around.position })?;
        match owner {
            Owner::OnError(_) => cell.handler,
            Owner::Catch(_) => cell.catch,
            Owner::Compensate(_) => cell.undo,
            Owner::Item(_) => {
                let (key, rest) = keys.strip_prefix('[')?.split_once(']')?;
                *keys = rest;
                cell.items.as_ref()?.frame(key)
            }
            _ => cell.body.filter(|body| self.frame(*body).is_some_and(|frame| frame.scope == scope)),
        }
    }

    /// The path of a place: the step's id and the keys of the items around it, outermost first.
    #[must_use]
    pub fn path(&self, plan: &Plan, at: Place) -> String {
        let mut path =
            self.step_ix(plan, at).and_then(|ix| plan.step(ix)).map(|step| step.id.clone()).unwrap_or_default();
        if at.frame != 0 {
            self.add_keys(at.frame, &mut path);
        }
        path
    }

    fn add_keys(&self, frame: FrameIx, path: &mut String) {
        let Some(frame) = self.frame(frame) else { return };
        let Some(owner) = frame.owner else { return };
        self.add_keys(owner.frame, path);
        if let Some((index, _)) = frame.index {
            let key = self.cell(owner).and_then(|cell| cell.items.as_ref()).map(|items| items.key(index));
            path.push('[');
            path.push_str(&path_key(&key.unwrap_or_default()));
            path.push(']');
        }
    }

    /// Items of a map, or the last iteration of a loop, that another run did.
    pub(super) fn items_copied(&mut self, plan: &Plan, at: Place, copies: &[ItemCopy], at_ms: i64) {
        let step = self.step_ix(plan, at).and_then(|ix| plan.step(ix));
        let repeats = step.is_some_and(|step| step.kind.repeats().is_some());
        let limit = step.and_then(|step| step.limit).map(|span| super::state::ms(span.ms));
        let Some(cell) = self.cell_mut(at) else { return };
        if cell.items.is_none() {
            cell.contain(at_ms, limit);
        }
        cell.items.get_or_insert_with(|| Box::new(Items::new(Vec::new(), Vec::new(), 1)));
        for copy in copies {
            // What is in it was copied too, because it may have to be undone.
            let frame = self.cell_mut(at).and_then(|cell| cell.items.as_mut()?.live.remove(&copy.index));
            let kept = frame.filter(|frame| !self.drop_frame(*frame));
            let Some(items) = self.cell_mut(at).and_then(|cell| cell.items.as_mut()) else { return };
            items.kept.extend(kept.map(|frame| (copy.index, frame)));
            let result = copy.error.clone().map_or_else(|| Ok(copy.output.clone()), Err);
            if repeats {
                items.results.clear();
                items.weight = 0;
                items.next = copy.index.saturating_add(1);
            }
            items.weight = items.weight.saturating_add(result_weight(&result));
            items.results.insert(copy.index, result);
        }
        if let Some(items) = self.cell_mut(at).and_then(|cell| cell.items.as_mut()).filter(|_| !repeats) {
            items.next = items.first_new();
        }
    }

    /// Everything that is not over, and what contains it, from the outside in.
    pub fn each_live(&self, visit: &mut dyn FnMut(Place, &StepCell)) {
        self.live_in(0, visit);
        let undoing = self.undoing.and_then(|at| self.cell(at)?.undo);
        for frame in self.on_error.into_iter().chain(undoing).chain(self.finally) {
            self.live_in(frame, visit);
        }
    }

    /// As [`RunState::each_live`], for one frame.
    pub fn live_in(&self, ix: FrameIx, visit: &mut dyn FnMut(Place, &StepCell)) {
        let Some(frame) = self.frame(ix) else { return };
        for (position, cell) in frame.cells.iter().enumerate().filter(|(_, cell)| cell.active()) {
            visit(Place { frame: ix, position }, cell);
            for below in cell.frames() {
                self.live_in(below, visit);
            }
        }
    }

    /// As [`RunState::each_live`], for a step and what is below it.
    pub fn live_under(&self, at: Place, visit: &mut dyn FnMut(Place, &StepCell)) {
        let Some(cell) = self.cell(at).filter(|cell| cell.active()) else { return };
        visit(at, cell);
        for below in cell.frames() {
            self.live_in(below, visit);
        }
    }

    /// Whether a join went on without this step or one around it, or the time of one around it is over.
    #[must_use]
    pub fn is_lost(&self, step: Place) -> bool {
        let mut next = Some(step);
        while let Some(at) = next {
            if self.cell(at).is_some_and(|cell| cell.lost || (cell.expired && at != step)) {
                return true;
            }
            next = self.around(at);
            // What undoes a step counts, whatever became of what the step stood in.
            let undoes = next.and_then(|around| self.cell(around)?.undo) == Some(at.frame);
            if undoes && !has(Bug::UndoOfLosersIsLost) {
                return false;
            }
        }
        false
    }

    /// Whether the part of the flow that a step belongs to still goes on, so that what becomes of it counts.
    #[must_use]
    pub fn goes_on(&self, step: Place) -> bool {
        let mut at = step;
        loop {
            if self.cell(at).is_none_or(|cell| cell.lost) {
                return false;
            }
            let Some(around) = self.around(at) else {
                return if self.finally == Some(at.frame) {
                    true
                } else if self.on_error == Some(at.frame) {
                    !self.closing() && !self.dropping()
                } else {
                    !self.closing() && self.on_error.is_none() && !self.dropping() && self.outcome.is_none()
                };
            };
            let Some(cell) = self.cell(around) else { return false };
            if cell.undo == Some(at.frame) {
                return self.undoing == Some(around);
            }
            let goes_on = match (cell.handler, cell.catch) {
                (Some(handler), _) => handler == at.frame && !cell.over,
                (None, Some(catch)) => catch == at.frame && cell.state == Some(StepState::Running) && !cell.expired,
                (None, None) => cell.state == Some(StepState::Running) && !cell.expired,
            };
            if !goes_on {
                return false;
            }
            at = around;
        }
    }
}
