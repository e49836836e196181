//! What expressions of a step may see: the run's state, the error inside handlers, and drawn values.

use std::cell::Cell;

use aura_protocol::expr::Scope;
use aura_protocol::run::StepError;
use aura_protocol::{Map, Value};
use sha2::{Digest, Sha256};

use super::plan::{Owner, Plan, StepIx};
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
    error: Value,
    empty: Value,
}

impl<'a> StepScope<'a> {
    /// The scope of a step; inside a handler it has `error`.
    #[must_use]
    pub fn new(plan: &'a Plan, state: &'a RunState, moment: &'a Moment, step: StepIx) -> Self {
        let error = handled_error(plan, state, step).map_or(Value::Null, |error| error.to_value());
        Self { state, plan, moment, error, empty: Value::Map(Map::new()) }
    }
}

/// The error that the handler around a step handles: of the nearest failing step, or of the run.
fn handled_error(plan: &Plan, state: &RunState, step: StepIx) -> Option<StepError> {
    let mut at = step;
    loop {
        match plan.owner_of(at) {
            Owner::OnError(owner) => return state.cell(owner).and_then(|cell| cell.error.clone()),
            Owner::Arm(owner, _) => at = owner,
            Owner::FlowOnError | Owner::Finally => {
                return state.outcome.as_ref().and_then(|outcome| outcome.error.clone());
            }
            Owner::Root => return None,
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
            _ => None,
        }
    }

    fn step(&self, id: &str) -> Option<&Value> {
        let ix = self.plan.find(id)?;
        self.state.cell(ix)?.value.as_ref()
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
