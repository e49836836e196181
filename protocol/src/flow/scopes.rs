//! The scopes of a flow as a flat list: every list of steps, whose body it is, and who is around it.
//!
//! Checks and the outline walk this instead of the nested types, so that a path, a parent and a place in
//! the file are told in one way only. Scopes stand in written order, a parent always before its bodies.

use std::collections::HashMap;

use super::path::Path;
use super::{Flow, Kind, Step};

/// What a list of steps is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ScopeKind {
    /// The flow's `steps`.
    Main,
    /// The flow's `on_error`.
    FlowOnError,
    /// The flow's `finally`.
    Finally,
    /// An arm of a branch, by its number.
    Arm(usize),
    /// The body of a map.
    Map,
    /// The body of a loop.
    Loop,
    /// The body of a try.
    Try,
    /// The `catch` of a try.
    Catch,
    /// The `on_error` of a step.
    OnError,
    /// The `compensate` of a step.
    Compensate,
}

/// A step: the number of its scope and its number in there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct At {
    pub scope: usize,
    pub step: usize,
}

/// A list of steps.
#[derive(Debug)]
pub(crate) struct ScopeRow<'f> {
    pub kind: ScopeKind,
    pub steps: &'f [Step],
    pub path: Path,
    /// The step whose body this is.
    pub owner: Option<At>,
}

impl ScopeRow<'_> {
    /// The path of a step of this scope.
    pub fn step_path(&self, step: usize) -> Path {
        self.path.item(step)
    }
}

/// All scopes of a flow.
#[derive(Debug)]
pub(crate) struct Scopes<'f> {
    pub rows: Vec<ScopeRow<'f>>,
    /// Where each id stands; the first one if an id is written twice.
    pub ids: HashMap<&'f str, At>,
}

impl<'f> Scopes<'f> {
    pub fn of(flow: &'f Flow) -> Self {
        let mut scopes = Self { rows: Vec::new(), ids: HashMap::new() };
        let root = Path::root();
        scopes.add(ScopeKind::Main, &flow.steps, root.field("steps"), None);
        scopes.add(ScopeKind::FlowOnError, &flow.on_error, root.field("on_error"), None);
        scopes.add(ScopeKind::Finally, &flow.finally, root.field("finally"), None);
        scopes
    }

    fn add(&mut self, kind: ScopeKind, steps: &'f [Step], path: Path, owner: Option<At>) {
        if steps.is_empty() {
            return;
        }
        let scope = self.rows.len();
        self.rows.push(ScopeRow { kind, steps, path: path.clone(), owner });
        for (index, step) in steps.iter().enumerate() {
            let at = At { scope, step: index };
            self.ids.entry(step.id.as_str()).or_insert(at);
            let path = path.item(index);
            let body = |name: &str| path.field(name).field("steps");
            match &step.kind {
                Kind::Branch(arms) => {
                    for (number, arm) in arms.iter().enumerate() {
                        let path = path.field("branch").item(number).field("steps");
                        self.add(ScopeKind::Arm(number), &arm.steps, path, Some(at));
                    }
                }
                Kind::Map { steps, .. } => self.add(ScopeKind::Map, steps, body("map"), Some(at)),
                Kind::Loop { steps, .. } => self.add(ScopeKind::Loop, steps, body("loop"), Some(at)),
                Kind::Try { steps, catch } => {
                    self.add(ScopeKind::Try, steps, body("try"), Some(at));
                    self.add(ScopeKind::Catch, catch, path.field("try").field("catch"), Some(at));
                }
                _ => {}
            }
            self.add(ScopeKind::OnError, &step.on_error, path.field("on_error"), Some(at));
            self.add(ScopeKind::Compensate, &step.compensate, path.field("compensate"), Some(at));
        }
    }

    /// Every step with its place and path, scope by scope.
    pub fn steps(&self) -> impl Iterator<Item = (At, &'f Step, Path)> + '_ {
        self.rows.iter().enumerate().flat_map(|(scope, row)| {
            row.steps.iter().enumerate().map(move |(step, it)| (At { scope, step }, it, row.step_path(step)))
        })
    }

    pub fn row(&self, scope: usize) -> Option<&ScopeRow<'f>> {
        self.rows.get(scope)
    }

    pub fn step(&self, at: At) -> Option<&'f Step> {
        self.row(at.scope)?.steps.get(at.step)
    }

    /// This scope and all around it, innermost first.
    pub fn around(&self, scope: usize) -> impl Iterator<Item = &ScopeRow<'f>> + '_ {
        std::iter::successors(self.row(scope), |row| self.row(row.owner?.scope))
    }

    /// Whether the steps of a scope stand for one item of a map: in its body, or beside a step with `each`.
    pub fn is_repeated(&self, scope: usize) -> bool {
        self.around(scope).any(|row| match row.kind {
            ScopeKind::Map => true,
            ScopeKind::OnError | ScopeKind::Compensate => {
                row.owner.and_then(|owner| self.step(owner)).is_some_and(|owner| owner.each.is_some())
            }
            _ => false,
        })
    }

    /// What the maps around the steps of a scope call their items.
    pub fn item_names(&self, scope: usize) -> Vec<&'f str> {
        let name = |row: &ScopeRow<'f>| -> Option<&'f str> {
            let owner = self.step(row.owner?)?;
            match row.kind {
                ScopeKind::Map | ScopeKind::OnError | ScopeKind::Compensate => {
                    item_name(owner, row.kind == ScopeKind::Map)
                }
                _ => None,
            }
        };
        self.around(scope).filter_map(name).collect()
    }

    /// The first step of a body of a step.
    pub fn body(&self, owner: At, kind: ScopeKind) -> Option<At> {
        let scope = self.rows.iter().position(|row| row.owner == Some(owner) && row.kind == kind)?;
        Some(At { scope, step: 0 })
    }

    /// Whether a scope or one around it is of a kind.
    pub fn is_within(&self, scope: usize, kinds: &[ScopeKind]) -> bool {
        self.around(scope).any(|row| kinds.contains(&row.kind))
    }
}

/// What a map calls its item, or a step with `each`.
pub(crate) fn item_name(step: &Step, is_map: bool) -> Option<&str> {
    match (&step.kind, &step.each) {
        (Kind::Map { with, .. }, None) if is_map => with.get("as")?.as_str(),
        (_, Some(each)) => each.get("as")?.as_str(),
        _ => None,
    }
}
