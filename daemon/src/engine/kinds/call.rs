//! `call`: a run of another flow, with its own journal. Its output is what that run gave, or its id if it is detached.
//!
//! The pure half resolves name and input once; the driver's half (`engine/child.rs`) begins the run in the
//! very transaction that records it here, so there is exactly one however often it is tried.

use aura_protocol::Value;
use aura_protocol::expr::{ExprError, Template};
use aura_protocol::flow::{Effect, Kind, Span, Step};

use super::{Enter, Entered, StepKind};
use crate::engine::core::plan::{ActionEffects, Builder, KEY_WINDOW, PlanError, StepIx};

#[derive(Debug)]
struct Call(Template);

/// Compiles a `call` step.
///
/// # Errors
/// An expression is wrong.
pub fn compile(builder: &mut Builder<'_>, _ix: StepIx, step: &Step) -> Result<Box<dyn StepKind>, PlanError> {
    let wrong = || PlanError::Kind { step: step.id.clone(), kind: "call" };
    let Kind::Call(value) = &step.kind else { return Err(wrong()) };
    let flow = value.get("flow").cloned().ok_or_else(wrong)?;
    let parts = Value::object([
        ("flow", flow),
        ("input", value.get("input").cloned().unwrap_or_default()),
        ("waits", Value::Bool(value.get("detach") != Some(&Value::Bool(true)))),
    ]);
    Ok(Box::new(Call(builder.template(step, &parts)?)))
}

impl StepKind for Call {
    fn enter(&self, at: &Enter<'_>) -> Result<Entered, ExprError> {
        let input = self.0.eval(at.scope)?;
        Ok(Entered::Call { input: input.value, draws: input.draws })
    }

    /// The run and the record of it are one commit: what was not recorded did not happen.
    fn effect(&self, _actions: ActionEffects<'_>) -> Option<(Effect, Span)> {
        Some((Effect::Idempotent, KEY_WINDOW))
    }

    fn calls_flow(&self) -> bool {
        true
    }
}
