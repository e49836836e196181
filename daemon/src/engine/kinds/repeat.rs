//! `loop`: its steps again and again, within caps that every loop has. Its output is the last iteration's.
//!
//! The conditions are evaluated by the core ([`crate::engine::core`]) at the ends of iterations; here they are only
//! read. A loop that reaches a cap fails: it did not come to its end.

use aura_protocol::Value;
use aura_protocol::expr::ExprError;
use aura_protocol::flow::{Kind, Span, Step, support};

use super::{Enter, Entered, LoopRules, StepKind};
use crate::engine::core::plan::{Builder, PlanError, StepIx};

#[derive(Debug)]
struct Repeat(LoopRules);

/// Compiles a `loop` step and its body.
///
/// # Errors
/// An expression or a cap is wrong.
pub fn compile(builder: &mut Builder<'_>, ix: StepIx, step: &Step) -> Result<Box<dyn StepKind>, PlanError> {
    let wrong = || PlanError::Kind { step: step.id.clone(), kind: "loop" };
    let Kind::Loop { with, steps } = &step.kind else { return Err(wrong()) };
    let condition = |name: &str| match with.get(name) {
        // `true` is an expression as good as any.
        Some(Value::Bool(said)) => Some(builder.template(step, &Value::from(format!("{{{{ {said} }}}}")))).transpose(),
        value => value.map(|value| builder.template(step, value)).transpose(),
    };
    let caps = with.get("max_iterations").and_then(Value::as_int).and_then(|most| u32::try_from(most).ok());
    let span = with.get("max_duration").and_then(Value::as_str).and_then(|text| text.parse::<Span>().ok());
    let (Some(max_iterations), Some(max_duration)) = (caps, span) else { return Err(wrong()) };
    let rules = LoopRules {
        during: condition("while")?,
        until: condition("until")?,
        break_if: condition("break_if")?,
        max_iterations: max_iterations.min(support::ITERATIONS_MAX),
        max_duration,
    };
    builder.items(ix, None, steps)?;
    Ok(Box::new(Repeat(rules)))
}

impl StepKind for Repeat {
    fn enter(&self, _at: &Enter<'_>) -> Result<Entered, ExprError> {
        Ok(Entered::Loop)
    }

    fn repeats(&self) -> Option<&LoopRules> {
        Some(&self.0)
    }
}
