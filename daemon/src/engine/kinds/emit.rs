//! `emit`: gives an event to every flow that has a trigger `on: event` for it. Its output says to whom.
//!
//! The pure half resolves the body once; the driver's half (`engine::emitted`) leaves a note for each taker
//! in the very transaction that records the output, so each takes it exactly once however often the step is tried.

use aura_protocol::Value;
use aura_protocol::expr::{ExprError, Template};
use aura_protocol::flow::{Effect, Kind, Span, Step};

use super::{Enter, Entered, StepKind, refused};
use crate::engine::core::plan::{ActionEffects, Builder, KEY_WINDOW, PlanError, StepIx};

/// The body of an event has at most so many bytes: there is one for each taker in one transaction.
const BODY_MAX: usize = 64 * 1024;

#[derive(Debug)]
struct Emit {
    event: String,
    body: Template,
}

/// Compiles an `emit` step.
///
/// # Errors
/// An expression is wrong.
pub fn compile(builder: &mut Builder<'_>, _ix: StepIx, step: &Step) -> Result<Box<dyn StepKind>, PlanError> {
    let wrong = || PlanError::Kind { step: step.id.clone(), kind: "emit" };
    let Kind::Emit(value) = &step.kind else { return Err(wrong()) };
    let event = value.get("event").and_then(Value::as_str).ok_or_else(wrong)?.to_owned();
    let body = builder.template(step, value.get("body").unwrap_or(&Value::Null))?;
    Ok(Box::new(Emit { event, body }))
}

impl StepKind for Emit {
    fn enter(&self, at: &Enter<'_>) -> Result<Entered, ExprError> {
        let body = self.body.eval(at.scope)?;
        if body.value.weight() > BODY_MAX {
            return Err(refused(format!("the body of an event is larger than {} KiB", BODY_MAX / 1024)));
        }
        let input = Value::object([("event", Value::from(self.event.as_str())), ("body", body.value)]);
        Ok(Entered::Call { input, draws: body.draws })
    }

    /// Nothing leaves the daemon: what was not recorded did not happen.
    fn effect(&self, _actions: ActionEffects<'_>) -> Option<(Effect, Span)> {
        Some((Effect::Idempotent, KEY_WINDOW))
    }

    fn emits(&self) -> bool {
        true
    }
}
