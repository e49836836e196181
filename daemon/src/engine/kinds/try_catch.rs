//! `try`: steps, and others that run instead when they fail. Its output is the one's or the other's.

use aura_protocol::expr::ExprError;
use aura_protocol::flow::{Kind, Step};

use super::{Enter, Entered, StepKind};
use crate::engine::core::plan::{Builder, PlanError, StepIx};

#[derive(Debug)]
struct Try;

/// Compiles a `try` step, its body and its `catch`.
///
/// # Errors
/// An expression is wrong.
pub fn compile(builder: &mut Builder<'_>, ix: StepIx, step: &Step) -> Result<Box<dyn StepKind>, PlanError> {
    let Kind::Try { steps, catch } = &step.kind else {
        return Err(PlanError::Kind { step: step.id.clone(), kind: "try" });
    };
    builder.tried(ix, steps, catch)?;
    Ok(Box::new(Try))
}

impl StepKind for Try {
    fn enter(&self, _at: &Enter<'_>) -> Result<Entered, ExprError> {
        Ok(Entered::Try)
    }
}
