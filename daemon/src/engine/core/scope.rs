//! What expressions of a step may see: the run's state, the error inside handlers, and drawn values.

use std::cell::Cell;

use aura_protocol::expr::Scope;
use aura_protocol::run::StepError;
use aura_protocol::{Map, Value};
use sha2::{Digest, Sha256};

use super::Place;
use super::plan::{Owner, Plan};
use super::state::RunState;

/// Time and randomness of one transition; all draws follow from the seed.
#[derive(Clone, Debug)]
pub struct Moment {
    /// Unix milliseconds.
    pub now_ms: i64,
    /// Random bytes, fresh for each transition.
    pub seed: [u8; 16],
    draws: Cell<u32>,
}

impl Moment {
    /// A moment.
    #[must_use]
    pub fn new(now_ms: i64, seed: [u8; 16]) -> Self {
        Self { now_ms, seed, draws: Cell::new(0) }
    }

    /// Sixteen bytes that no other draw of this transition gives.
    #[must_use]
    pub fn draw(&self) -> [u8; 16] {
        let count = self.draws.get();
        self.draws.set(count.wrapping_add(1));
        let digest = Sha256::new().chain_update(self.seed).chain_update(count.to_be_bytes()).finalize();
        let mut out = [0; 16];
        out.iter_mut().zip(digest.iter()).for_each(|(to, from)| *to = *from);
        out
    }

    /// A number below `bound`, evenly enough for jitter.
    #[must_use]
    pub fn below(&self, bound: u64) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = self.draw();
        u64::from_be_bytes([a, b, c, d, e, f, g, h]) % bound.max(1)
    }
}

/// Names for the expressions of one step.
pub struct StepScope<'a> {
    state: &'a RunState,
    plan: &'a Plan,
    moment: &'a Moment,
    at: Place,
    error: Value,
    empty: Value,
}

impl<'a> StepScope<'a> {
    /// The scope of a step; inside a handler it has `error`.
    #[must_use]
    pub fn new(plan: &'a Plan, state: &'a RunState, moment: &'a Moment, at: Place) -> Self {
        let error = handled_error(plan, state, at).map_or(Value::Null, |error| error.to_value());
        Self { state, plan, moment, at, error, empty: Value::Map(Map::new()) }
    }

    /// The item of a map around this step: the nearest one, or the one with a name.
    fn item(&self, name: &str) -> Option<&Value> {
        let mut next = Some(self.at);
        while let Some(at) = next {
            let frame = self.state.frame(at.frame)?;
            if let (Some((index, number)), Some(map)) = (&frame.index, frame.owner) {
                let items = self.state.cell(map)?.items.as_ref()?;
                let item = || usize::try_from(*index).ok().and_then(|index| items.list.get(index));
                match name {
                    "item" => return item(),
                    "index" => return Some(number),
                    _ => {
                        let rules = self.state.step_ix(self.plan, map).and_then(|ix| self.plan.step(ix)?.kind.map());
                        if rules.is_some_and(|rules| rules.name.as_deref() == Some(name)) {
                            return item();
                        }
                    }
                }
            }
            next = frame.owner;
        }
        None
    }
}

/// The error that the handler around a step handles: of the nearest failing step, or of the run.
fn handled_error(plan: &Plan, state: &RunState, step: Place) -> Option<StepError> {
    let mut at = step;
    loop {
        let frame = state.frame(at.frame)?;
        match plan.owner(frame.scope) {
            Owner::OnError(_) => return state.cell(frame.owner?)?.error.clone(),
            Owner::FlowOnError | Owner::Finally | Owner::Compensate(_) => {
                return state.outcome.as_ref().and_then(|outcome| outcome.error.clone());
            }
            _ => at = frame.owner?,
        }
    }
}

impl Scope for StepScope<'_> {
    fn root(&self, name: &str) -> Option<&Value> {
        match name {
            "trigger" => Some(&self.state.trigger),
            "input" => Some(&self.state.input),
            "run" => Some(&self.state.run_value),
            "error" => Some(&self.error),
            "vars" | "env" => Some(&self.empty),
            name => self.item(name),
        }
    }

    /// A step of this scope, or of one around it; the flow's handler and last steps read the flow's steps.
    fn step(&self, id: &str) -> Option<&Value> {
        let known = self.plan.with_id(id);
        let mut frame = Some(self.at.frame);
        while let Some(at) = frame {
            let here = self.state.frame(at)?;
            let found = known.iter().filter_map(|ix| self.plan.step(*ix)).find(|step| step.scope == here.scope);
            if let Some(step) = found {
                return here.cells.get(step.position)?.value.as_ref();
            }
            frame = here.owner.map(|owner| owner.frame).or((at != 0).then_some(0));
        }
        None
    }

    fn now_ms(&self) -> i64 {
        self.moment.now_ms
    }

    fn entropy(&self, _n: u32) -> [u8; 16] {
        self.moment.draw()
    }
}

/// Names for the policies of a trigger: the trigger alone.
pub struct DoorScope<'a> {
    trigger: &'a Value,
    moment: &'a Moment,
}

impl<'a> DoorScope<'a> {
    /// The scope of a trigger's policies.
    #[must_use]
    pub fn new(trigger: &'a Value, moment: &'a Moment) -> Self {
        Self { trigger, moment }
    }
}

impl Scope for DoorScope<'_> {
    fn root(&self, name: &str) -> Option<&Value> {
        (name == "trigger").then_some(self.trigger)
    }
    fn step(&self, _id: &str) -> Option<&Value> {
        None
    }
    fn now_ms(&self) -> i64 {
        self.moment.now_ms
    }
    fn entropy(&self, _n: u32) -> [u8; 16] {
        self.moment.draw()
    }
}
