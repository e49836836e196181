//! A part of a flow: its plan with what the asked step does not need taken out, or given instead of done.
//!
//! Invariant: the asked step itself, and what it is in, are as in the whole flow; indices and paths are the same, so
//! pins and recorded runs mean the same steps. Only what stands around it is another kind.

use std::collections::BTreeSet;

use aura_protocol::Value;
use aura_protocol::expr::{ExprError, Template};
use aura_protocol::rpc::FlowPart;
use aura_protocol::run::Record;
use aura_protocol::text::display;

use super::world::id_of;
use crate::engine::core::plan::{Owner, Plan, ScopeIx, StepIx};
use crate::engine::core::replay::past::depth;
use crate::engine::kinds::{Enter, Entered, StepKind, refused};

/// The part of a plan that is wanted.
#[derive(Clone, Debug)]
pub(super) struct Part {
    /// The asked step.
    pub step: StepIx,
    /// Its path; without keys where the first item will do.
    pub path: String,
    /// Keys of items that the path names.
    keys: Vec<String>,
    /// How many keys a whole path of it has.
    depth: usize,
    /// It alone; the others are given.
    pub alone: bool,
    /// The steps around the asked one, innermost first, with how it is in there.
    pub around: Vec<Owner>,
    /// Steps that run, by index, and those around and in them.
    pub needed: BTreeSet<StepIx>,
    /// Steps whose output is given instead.
    pub given: Vec<StepIx>,
}

/// Gives what it was told.
#[derive(Debug)]
struct Given(Value);

impl StepKind for Given {
    fn enter(&self, _at: &Enter<'_>) -> Result<Entered, ExprError> {
        Ok(Entered::Done(self.0.clone()))
    }
}

/// Fails, so that what handles it runs.
#[derive(Debug)]
struct Fails(String);

impl StepKind for Fails {
    fn enter(&self, _at: &Enter<'_>) -> Result<Entered, ExprError> {
        Err(refused(self.0.clone()))
    }
}

/// Takes one arm, whatever its condition.
#[derive(Debug)]
struct Takes(u32);

impl StepKind for Takes {
    fn enter(&self, _at: &Enter<'_>) -> Result<Entered, ExprError> {
        Ok(Entered::Arm(self.0))
    }
}

/// What else is known of a run when a part of it is made: outputs by path, and why steps failed.
pub(super) trait Gives {
    /// What a step gives, at this path or at the first one of its id; none: it is done, for it calls nobody.
    fn output(&mut self, step: StepIx, path: &str) -> Option<Value>;
    /// Why a step fails whose handler is asked for.
    fn error(&mut self, path: &str) -> String;
}

impl Part {
    /// Finds the asked step.
    ///
    /// # Errors
    /// A sentence: no such step, or one that only undoes another.
    pub(super) fn find(plan: &Plan, wanted: &FlowPart) -> Result<Self, String> {
        let path = wanted.step().trim();
        let (id, keys) = (id_of(path), path.get(id_of(path).len()..).unwrap_or_default());
        let keys: Vec<String> = keys.split_inclusive(']').map(str::to_owned).collect();
        let shown = display(path);
        if keys.iter().any(|key| !key.starts_with('[') || !key.ends_with(']')) {
            return Err(format!("`{shown}` is no step: write STEP, or STEP[ITEM] for one item of a map"));
        }
        let all = plan.with_id(id);
        let fits = |ix: &&StepIx| depth(plan, **ix) == keys.len();
        let step = all.iter().find(fits).or_else(|| all.last().filter(|ix| depth(plan, **ix) > keys.len()));
        let Some(step) = step.copied() else {
            return Err(match all.first() {
                Some(_) => format!("{} is in no map or loop with so many keys: say {}", shown, display(id)),
                None => format!("the flow has no step {}; it has {}", display(id), names(plan)),
            });
        };
        let mut around = Vec::new();
        let mut owner = plan.owner_of(step);
        loop {
            around.push(owner);
            match owner {
                Owner::Compensate(of) => {
                    let of = plan.step(of).map(|step| step.id.as_str()).unwrap_or_default();
                    return Err(format!("{shown} only undoes {of}; simulate the whole flow with a failure after {of}"));
                }
                Owner::Root | Owner::FlowOnError | Owner::Finally => break,
                other => match other.step() {
                    Some(step) => owner = plan.owner_of(step),
                    None => break,
                },
            }
        }
        let mut part = Self {
            step,
            path: path.to_owned(),
            keys,
            depth: depth(plan, step),
            alone: matches!(wanted, FlowPart::Only(_)),
            around,
            needed: BTreeSet::new(),
            given: Vec::new(),
        };
        part.collect(plan);
        Ok(part)
    }

    /// What the asked step needs, scope by scope outwards.
    fn collect(&mut self, plan: &Plan) {
        let mut inner = self.step;
        self.whole(plan, inner);
        for owner in self.around.clone() {
            for step in needs_of(plan, inner) {
                if self.alone {
                    self.given.push(step);
                } else {
                    self.whole(plan, step);
                }
            }
            match owner {
                // What failed came before: all of it is needed.
                Owner::FlowOnError | Owner::Finally if !self.alone => {
                    plan.scope_steps(0).iter().for_each(|step| self.whole(plan, *step));
                }
                Owner::Catch(of) if !self.alone => {
                    self.whole(plan, of);
                }
                _ => {}
            }
            let Some(outer) = owner.step() else { break };
            self.needed.insert(outer);
            inner = outer;
        }
    }

    /// A step with all that is in it.
    fn whole(&mut self, plan: &Plan, step: StepIx) {
        self.needed.insert(step);
        for (scope, of) in plan.scopes.iter().enumerate().filter(|(_, of)| of.owner.step() == Some(step)) {
            if self.needed.contains(&step) && scope > 0 {
                of.steps.iter().for_each(|step| self.whole(plan, *step));
            }
        }
    }

    /// Whether a path is of the asked instance, or of the first one where no item was named.
    pub(super) fn is_asked(&self, plan: &Plan, path: &str) -> bool {
        if id_of(path) != plan.step(self.step).map(|step| step.id.as_str()).unwrap_or_default() {
            return false;
        }
        path.matches('[').count() == self.depth && self.beside(path)
    }

    /// Whether a path is not in another item than the asked one.
    pub(super) fn beside(&self, path: &str) -> bool {
        let keys = path.get(id_of(path).len()..).unwrap_or_default();
        keys.split_inclusive(']').zip(&self.keys).all(|(met, wanted)| met == wanted)
    }

    /// Whether a step runs, and not only because the asked one is in it.
    pub(super) fn shows(&self, plan: &Plan, path: &str) -> bool {
        let around = |ix: &StepIx| self.around.iter().any(|owner| owner.step() == Some(*ix)) && *ix != self.step;
        let runs = |ix: &StepIx| self.needed.contains(ix) && !around(ix);
        plan.with_id(id_of(path)).iter().any(runs) && self.beside(path)
    }

    /// The plan of this part: what is not needed is skipped, and where a step is wanted alone what it reads is given.
    pub(super) fn cut(&self, mut plan: Plan, gives: &mut dyn Gives) -> Plan {
        let never = Template::parse_text("{{ false }}").ok();
        let mut scope: Option<ScopeIx> = plan.step(self.step).map(|step| step.scope);
        let mut inner = self.step;
        for owner in &self.around {
            for ix in plan.scope_steps(scope.unwrap_or(0)).to_vec() {
                if ix != inner && !self.given.contains(&ix) && (self.alone || !self.needed.contains(&ix)) {
                    let Some(step) = plan.steps.get_mut(ix) else { continue };
                    step.kind = Box::new(Given(Value::Null));
                    step.when = Template::parse_text("{{ false }}").ok().or_else(|| never.clone());
                }
            }
            if self.alone {
                self.opened(&mut plan, *owner, gives);
            }
            let Some(outer) = owner.step() else { break };
            (scope, inner) = (plan.step(outer).map(|step| step.scope), outer);
        }
        for ix in &self.given {
            let keys = self.keys.get(..depth(&plan, *ix).min(self.keys.len())).unwrap_or_default().concat();
            let path = plan.step(*ix).map(|step| format!("{}{keys}", step.id)).unwrap_or_default();
            let Some(value) = gives.output(*ix, &path) else { continue };
            let Some(step) = plan.steps.get_mut(*ix) else { continue };
            (step.kind, step.when) = (Box::new(Given(value)), None);
        }
        if self.keys.len() == self.depth && self.depth > 0 {
            self.parallel(&mut plan);
        }
        plan
    }

    /// The way into a scope whose beginning is not what is tried.
    fn opened(&self, plan: &mut Plan, owner: Owner, gives: &mut dyn Gives) {
        let mut fails = |plan: &mut Plan, ix: StepIx, own: bool| {
            let Some(step) = plan.steps.get_mut(ix) else { return };
            let message = gives.error(&step.id);
            (step.kind, step.when) = (Box::new(Fails(message)), None);
            if !own {
                step.on_error = None;
            }
        };
        match owner {
            Owner::Arm(branch, arm) => {
                if let Some(step) = plan.steps.get_mut(branch) {
                    (step.kind, step.when) = (Box::new(Takes(arm)), None);
                }
            }
            Owner::OnError(of) => fails(plan, of, true),
            Owner::Catch(of) => {
                let body = plan.step(of).and_then(|step| step.body).unwrap_or_default();
                let steps = plan.scope_steps(body).to_vec();
                for ix in steps.iter().skip(1) {
                    if let Some(step) = plan.steps.get_mut(*ix) {
                        (step.kind, step.when) = (Box::new(Given(Value::Null)), None);
                    }
                }
                if let Some(first) = steps.first() {
                    fails(plan, *first, false);
                }
            }
            Owner::FlowOnError => {
                if let Some(first) = plan.scope_steps(0).first().copied() {
                    fails(plan, first, false);
                }
            }
            Owner::Finally => {
                for ix in plan.scope_steps(0).to_vec() {
                    if let Some(step) = plan.steps.get_mut(ix) {
                        (step.kind, step.when) = (Box::new(Given(Value::Null)), None);
                    }
                }
            }
            Owner::Item(of) | Owner::Try(of) => {
                if let Some(step) = plan.steps.get_mut(of) {
                    step.when = None;
                }
            }
            Owner::Root | Owner::Compensate(_) => {}
        }
    }

    /// An item that was named does not wait for those before it.
    fn parallel(&self, plan: &mut Plan) {
        for owner in &self.around {
            let Owner::Item(of) = owner else { continue };
            let Some(step) = plan.steps.get_mut(*of).filter(|step| step.kind.map().is_some()) else { continue };
            let inner = std::mem::replace(&mut step.kind, Box::new(Given(Value::Null)));
            step.kind = Box::new(AtOnce(inner));
        }
    }

    /// Whether the asked step has settled with this record.
    pub(super) fn ends_with(&self, plan: &Plan, record: &Record) -> bool {
        let ends = match record {
            Record::Completed { .. } | Record::Handled { .. } | Record::Skipped { .. } | Record::Lost { .. } => true,
            Record::Failed { retry_at_ms: None, .. } => {
                plan.step(self.step).is_some_and(|step| step.on_error.is_none())
            }
            _ => false,
        };
        ends && record.path().is_some_and(|path| self.is_asked(plan, path))
    }
}

/// A map whose items all begin at once.
#[derive(Debug)]
struct AtOnce(Box<dyn StepKind>);

impl StepKind for AtOnce {
    fn enter(&self, at: &Enter<'_>) -> Result<Entered, ExprError> {
        Ok(match self.0.enter(at)? {
            Entered::Items { items, keys, .. } => Entered::Items { items, keys, parallel: u32::MAX },
            other => other,
        })
    }

    fn map(&self) -> Option<&crate::engine::kinds::MapRules> {
        self.0.map()
    }
}

/// The siblings that a step needs, also indirectly.
fn needs_of(plan: &Plan, step: StepIx) -> Vec<StepIx> {
    let Some(scope) = plan.step(step).map(|step| step.scope) else { return Vec::new() };
    let siblings = plan.scope_steps(scope);
    let mut found = BTreeSet::new();
    let mut open = vec![step];
    while let Some(next) = open.pop() {
        let needs = plan.step(next).map(|step| step.needs.as_slice()).unwrap_or_default();
        for ix in needs.iter().filter_map(|need| siblings.get(need.position)) {
            if found.insert(*ix) {
                open.push(*ix);
            }
        }
    }
    found.into_iter().collect()
}

/// The first ids of a flow, for a sentence.
fn names(plan: &Plan) -> String {
    let mut names: Vec<&str> = plan.steps.iter().map(|step| step.id.as_str()).take(12).collect();
    names.dedup();
    display(&names.join(", "))
}
