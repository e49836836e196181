//! Which steps of a run are copied, which run again, and why: decided scope by scope.
//!
//! Invariant: what changes spreads. A step that runs again changes what it gives, so whatever needs or reads it runs
//! again too, to the end of its scope; and a scope in which something runs again is completed anew.

use std::collections::{BTreeMap, BTreeSet};

use aura_protocol::Value;
use aura_protocol::run::{Point, Record};

use super::super::bugs::{Bug, has};
use super::super::plan::{Owner, Plan, PlanStep, ScopeIx, StepIx};
use super::past::{Past, Settled, Was};
use super::same::{Same, Sameness};
use super::{Chain, Wanted};

/// What becomes of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is copied with all that is in it.
    Copy,
    /// It is completed anew; what is in it is judged by itself.
    Open,
    /// It runs again.
    Again(String),
    /// It had not begun.
    New,
}

/// A verdict, and whether what the step gives may be another thing then.
#[derive(Clone, Debug)]
pub(super) struct Judged {
    pub(super) verdict: Verdict,
    pub(super) changes: bool,
}

impl Judged {
    fn again(why: impl Into<String>) -> Self {
        Self { verdict: Verdict::Again(why.into()), changes: true }
    }
}

/// Decides and collects.
pub(super) struct Copier<'a> {
    pub(super) plan: &'a Plan,
    pub(super) past: &'a Past,
    pub(super) same: &'a Same,
    pub(super) wanted: &'a Wanted,
    pub(super) chain: &'a Chain,
    /// Steps of the scopes around that change.
    pub(super) dirty: BTreeSet<String>,
    /// Steps of the scopes around that have addresses of their own and are not copied: they have others now.
    pub(super) open: BTreeSet<String>,
    /// Number of the record before, and what is copied.
    pub(super) records: Vec<(usize, Record)>,
    /// Steps that are copied with all that is in them.
    pub(super) whole: BTreeSet<String>,
    /// Items of maps, by map and key, that are.
    pub(super) whole_items: BTreeSet<(String, String)>,
    /// Steps whose body failed and stays so, because the point is in their handler; and those with it in their `catch`.
    pub(super) failed_bodies: BTreeSet<(String, bool)>,
    /// Why steps run again.
    pub(super) why: BTreeMap<String, String>,
    /// The edited input of a call.
    pub(super) input: Option<Value>,
    /// The edit found its place.
    pub(super) edited: bool,
    /// Bytes of what copied items gave.
    pub(super) weight: usize,
}

impl<'a> Copier<'a> {
    pub(super) fn new(plan: &'a Plan, past: &'a Past, same: &'a Same, wanted: &'a Wanted, chain: &'a Chain) -> Self {
        Self {
            plan,
            past,
            same,
            wanted,
            chain,
            dirty: BTreeSet::new(),
            open: BTreeSet::new(),
            records: Vec::new(),
            whole: BTreeSet::new(),
            whole_items: BTreeSet::new(),
            failed_bodies: BTreeSet::new(),
            why: BTreeMap::new(),
            input: None,
            edited: false,
            weight: 0,
        }
    }

    /// Judges the steps of a scope and collects what of them is copied. `keys`: of the items around it.
    pub(super) fn scope(&mut self, scope: ScopeIx, keys: &str) {
        let steps: Vec<(StepIx, &'a PlanStep)> =
            self.plan.scope_steps(scope).iter().filter_map(|ix| Some((*ix, self.plan.step(*ix)?))).collect();
        let mut judged: Vec<Judged> = steps.iter().map(|(_, step)| self.first(step, keys)).collect();
        while self.spread(&steps, keys, &mut judged) {}
        let outer = (self.dirty.clone(), self.open.clone());
        self.open.extend(open(&steps, &judged));
        let changed = steps.iter().zip(&judged).filter(|(_, judged)| judged.changes);
        self.dirty.extend(changed.map(|((_, step), _)| step.id.clone()));
        for ((ix, step), judged) in steps.into_iter().zip(judged) {
            let path = format!("{}{keys}", step.id);
            let Some(was) = self.past.steps.get(&path) else { continue };
            match judged.verdict {
                Verdict::Copy => self.copy(ix, step, &path, was, keys),
                Verdict::Open => self.open(ix, step, &path, was, keys),
                Verdict::Again(why) => {
                    self.why.insert(path, why);
                }
                Verdict::New => {}
            }
        }
        (self.dirty, self.open) = outer;
    }

    /// What a step is by itself.
    fn first(&mut self, step: &PlanStep, keys: &str) -> Judged {
        let path = format!("{}{keys}", step.id);
        let Some(was) = self.past.steps.get(&path) else { return Judged { verdict: Verdict::New, changes: false } };
        let same = self.same.step(&step.id);
        if matches!(&self.wanted.point, Point::Step(point) if *point == path) {
            self.edit(was);
            return Judged::again("the replay begins here");
        }
        if let Sameness::Not(why) = same {
            return Judged::again(why);
        }
        if self.chain.contains_key(&path) {
            return Judged { verdict: Verdict::Open, changes: true };
        }
        let undone = !has(Bug::ReplayCopiesWhatWasUndone);
        if self.past.undone.contains(&path) && undone {
            return Judged::again("it was undone");
        }
        if step.kind.stops().is_some() {
            return Judged::again("it ends the run");
        }
        let contains = holds(was);
        let handled = matches!(was.settled, Some(Settled::Handled { .. }));
        let settled = was.settled.is_some() || was.lost.is_some();
        let undone_in = self.past.undone_in.contains(&(path, String::new())) && undone;
        if same == Sameness::Shell || undone_in {
            if contains && was.lost.is_none() {
                return Judged { verdict: Verdict::Open, changes: true };
            }
            // Of a step that calls, only its handler and what undoes it are inside.
            if handled || !settled {
                return Judged::again("its handler is another one, or was undone");
            }
        }
        if settled {
            return Judged { verdict: Verdict::Copy, changes: false };
        }
        let verdict = match () {
            () if contains => Verdict::Open,
            () if was.doubt => Verdict::Again("its outcome was not known: it may happen twice".to_owned()),
            () => Verdict::Again("it had not ended well".to_owned()),
        };
        // Whatever went on without it did so without what it gives.
        Judged { verdict, changes: false }
    }

    /// Lets changes spread once; whether they did.
    fn spread(&self, steps: &[(StepIx, &PlanStep)], keys: &str, judged: &mut [Judged]) -> bool {
        let mut dirty = self.dirty.clone();
        let changed = steps.iter().zip(judged.iter()).filter(|(_, judged)| judged.changes);
        dirty.extend(changed.map(|((_, step), _)| step.id.clone()));
        let mut addresses = self.open.clone();
        addresses.extend(open(steps, judged));
        let mut moved = false;
        for (position, (_, step)) in steps.iter().enumerate() {
            let Some(verdict) = judged.get(position).map(|judged| judged.verdict.clone()) else { continue };
            let firm = judged.get(position).is_some_and(|judged| judged.changes);
            let needs = || step.needs.iter().find(|need| judged.get(need.position).is_some_and(|need| need.changes));
            if verdict == Verdict::New && !firm && needs().is_some() && !has(Bug::ReplayCopiesTooMuch) {
                // It had not begun; what went on without it (a join of any) needs the point through it all the same.
                if let Some(place) = judged.get_mut(position) {
                    place.changes = true;
                    moved = true;
                }
                continue;
            }
            if verdict == Verdict::New || (firm && verdict != Verdict::Open) {
                continue;
            }
            let path = format!("{}{keys}", step.id);
            let Some(was) = self.past.steps.get(&path) else { continue };
            let name = |position: usize| steps.get(position).map(|(_, step)| step.id.as_str()).unwrap_or_default();
            let new = if let Some(need) = needs().filter(|_| !has(Bug::ReplayCopiesTooMuch)) {
                Some(Judged::again(format!("it needs {}", name(need.position))))
            } else if let Some(read) = self.same.reads(&step.id, &dirty) {
                Some(Judged::again(format!("it reads {read}")))
            } else if verdict == Verdict::Copy && self.lost_a_race(was, steps, judged) {
                Some(Judged::again("it lost against a step that runs again"))
            } else if let Some(of) = self.same.gives(&step.id, &addresses).filter(|_| gave(was, &verdict)) {
                let why = format!("it gave out the address of {of}, which is another one in a new run");
                // What only comes behind it is not another thing then.
                let changes = holds(was) || self.is_read(steps, &step.id);
                Some(Judged { verdict: Verdict::Again(why), changes })
            } else if verdict == Verdict::Copy
                && (self.same.reads_inside(&step.id, &dirty) || self.same.gives_inside(&step.id, &addresses))
            {
                match was.settled {
                    _ if holds(was) => Some(Judged { verdict: Verdict::Open, changes: true }),
                    Some(Settled::Handled { .. }) => Some(Judged::again("its handler reads or says what is new")),
                    _ => None,
                }
            } else if verdict == Verdict::Copy && has(Bug::ReplayCopiesTooLittle) && was.call.is_some() {
                Some(Judged::again("bug"))
            } else {
                None
            };
            if let (Some(new), Some(place)) = (new, judged.get_mut(position)) {
                *place = new;
                moved = true;
            }
        }
        moved
    }

    /// Whether another step of its scope, or something in one, reads a step.
    fn is_read(&self, steps: &[(StepIx, &PlanStep)], id: &str) -> bool {
        let it = BTreeSet::from([id.to_owned()]);
        let others = steps.iter().filter(|(_, other)| other.id != id);
        others.into_iter().any(|(_, other)| self.same.reads_inside(&other.id, &it))
    }

    /// Whether a join went on without this step that is itself not copied.
    fn lost_a_race(&self, was: &Was, steps: &[(StepIx, &PlanStep)], judged: &[Judged]) -> bool {
        let Some((_, join)) = &was.lost else { return false };
        let winner = steps.iter().position(|(_, step)| step.id == *join).and_then(|position| judged.get(position));
        winner.is_none_or(|winner| winner.verdict != Verdict::Copy)
    }

    /// The point has another input.
    fn edit(&mut self, was: &Was) {
        if let Some(input) = self.wanted.edit.clone().filter(|_| was.call.is_some()) {
            self.input = Some(input);
            self.edited = true;
        }
    }

    /// How the point is in a step around it.
    pub(super) fn via(&self, path: &str) -> Option<(Owner, &'a str)> {
        self.chain.get(path).map(|(owner, key)| (*owner, key.as_str()))
    }
}

/// The steps that have addresses of their own and are not copied.
fn open<'s>(steps: &'s [(StepIx, &PlanStep)], judged: &'s [Judged]) -> impl Iterator<Item = String> + use<'s> {
    let both = steps.iter().zip(judged).filter(|(_, judged)| judged.verdict != Verdict::Copy);
    let addressed = both.map(|((_, step), _)| *step).filter(|step| step.kind.asks() || step.kind.is_called_back());
    addressed.map(|step| step.id.clone())
}

/// Whether what a step says was said, and would count as said.
fn gave(was: &Was, verdict: &Verdict) -> bool {
    let skipped = matches!(was.settled, Some(Settled::Skipped { .. })) || was.lost.is_some();
    matches!(verdict, Verdict::Copy | Verdict::Open) && !skipped
}

/// Whether scopes of a step began.
pub(super) fn holds(was: &Was) -> bool {
    use aura_protocol::run::ScopeKind as Kind;
    let body = |scope| matches!(scope, Kind::Arm(_) | Kind::Try | Kind::Iteration(_) | Kind::Item(_));
    was.listed.is_some() || !was.items.is_empty() || was.began(body).is_some()
}
