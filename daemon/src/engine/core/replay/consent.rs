//! What people agreed to, and whether a replay may go on from it.
//!
//! Invariant: nobody's yes counts for what they did not see, or for a run that they had done again themselves. Whoever
//! doubts refuses: from the start, or from the approval on, people are asked anew.

use std::collections::BTreeSet;

use aura_protocol::Value;
use aura_protocol::run::{Point, ScopeKind};
use aura_protocol::text::display;

use super::super::plan::{Owner, PlanStep, StepIx};
use super::Impossible;
use super::copy::Copier;
use super::past::{Settled, Was, around, step_of};

impl Copier<'_> {
    /// Whether approvals that are copied still mean what they meant.
    pub(super) fn consent(&self) -> Result<(), Impossible> {
        let edited = self.edited && self.wanted.point != Point::Start;
        for (path, was) in &self.past.steps {
            let Some(Settled::Completed { output, .. }) = &was.settled else { continue };
            let Some((ix, step)) = step_of(self.plan, path).and_then(|ix| Some((ix, self.plan.step(ix)?))) else {
                continue;
            };
            let inside: Vec<&PlanStep> = if is_opaque(was) { self.asking_in(ix) } else { Vec::new() };
            let asks = step.kind.asks();
            if (!asks && inside.is_empty()) || !self.is_copied(path) || !self.leads_on(path) {
                continue;
            }
            let shown = display(path);
            if edited && !self.is_elsewhere(path) {
                let text = format!(
                    "{shown} was approved before {} had another input; replay from the start with another input, or \
                     without the edit",
                    self.wanted.point
                );
                return Err(Impossible::Edit(text));
            }
            if asks && step.kind.no_self() && output.get("votes").and_then(Value::as_list).is_none() {
                // So long that it is stored by itself, or of a release that wrote it otherwise.
                let text = format!("who decided about {shown} cannot be read here; replay from {shown}");
                return Err(Impossible::Edit(text));
            }
            if asks && step.kind.no_self() && voters(output).any(|by| by == self.wanted.by) {
                let text = format!(
                    "{} decided about {shown}, and nobody decides about a run of their own there; have somebody else \
                     replay it, or replay from {shown}",
                    display(&self.wanted.by)
                );
                return Err(Impossible::Edit(text));
            }
            if let Some(inner) = inside.iter().find(|inner| inner.kind.no_self()) {
                let of = self.past.started.origin.as_ref().map(|origin| origin.run.to_string()).unwrap_or_default();
                let text = format!("who decided about {} is known only of {of}; replay that run", display(&inner.id));
                return Err(Impossible::Edit(text));
            }
        }
        Ok(())
    }

    /// The steps in a step that ask people.
    fn asking_in(&self, ix: StepIx) -> Vec<&PlanStep> {
        let within = |at: StepIx| {
            let mut owner = self.plan.owner_of(at).step();
            while let Some(outer) = owner.filter(|outer| *outer != ix) {
                owner = self.plan.owner_of(outer).step();
            }
            owner.is_some()
        };
        let steps = self.plan.steps.iter().enumerate();
        steps.filter(|(at, step)| step.kind.asks() && within(*at)).map(|(_, step)| step).collect()
    }

    /// Whether something that runs needs a step, or what is around it.
    fn leads_on(&self, path: &str) -> bool {
        let outer = around(self.plan, path);
        let again = outer.iter().any(|(outer, owner, _)| {
            let step = step_of(self.plan, outer).and_then(|ix| self.plan.step(ix));
            let repeats = step.is_some_and(|step| step.kind.repeats().is_some());
            repeats && matches!(owner, Owner::Item(_)) && !self.is_copied(outer)
        });
        again
            || std::iter::once(path).chain(outer.iter().map(|(outer, ..)| outer.as_str())).any(|at| self.is_needed(at))
    }

    fn is_needed(&self, path: &str) -> bool {
        let Some(step) = step_of(self.plan, path).and_then(|ix| self.plan.step(ix)) else { return false };
        let (_, keys) = path.split_at(path.find('[').unwrap_or(path.len()));
        let mut needing = BTreeSet::from([step.position]);
        // What a step needs is written before it.
        let siblings = self.plan.scope_steps(step.scope).iter().filter_map(|ix| self.plan.step(*ix));
        siblings.into_iter().any(|sibling| {
            let needs = sibling.needs.iter().any(|need| needing.contains(&need.position));
            needs && {
                needing.insert(sibling.position);
                !self.is_copied(&format!("{}{keys}", sibling.id))
            }
        })
    }

    /// Whether it belongs to another item of a map than the point.
    fn is_elsewhere(&self, path: &str) -> bool {
        around(self.plan, path).iter().any(|(outer, owner, key)| {
            let map =
                step_of(self.plan, outer).and_then(|ix| self.plan.step(ix)).is_some_and(|it| it.kind.map().is_some());
            let mine = self.via(outer).filter(|(owner, _)| matches!(owner, Owner::Item(_)));
            map && matches!(owner, Owner::Item(_)) && mine.is_some_and(|(_, mine)| mine != key)
        })
    }
}

/// Whether what was in it is not known of this run: it was copied whole, or items of it were.
fn is_opaque(was: &Was) -> bool {
    let began =
        |index: u32| was.began(|scope| matches!(scope, ScopeKind::Item(of) | ScopeKind::Iteration(of) if of == index));
    was.copied || was.items.keys().any(|index| began(*index).is_none())
}

/// Who decided, as the output of an approval says.
fn voters(output: &Value) -> impl Iterator<Item = &str> {
    let votes = output.get("votes").and_then(Value::as_list).unwrap_or_default();
    votes.iter().filter_map(|vote| vote.get("by").and_then(Value::as_str))
}
