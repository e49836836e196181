//! `stop`: ends the run from any depth with its own state.

use aura_protocol::expr::{ExprError, Template};
use aura_protocol::flow::{Kind, Step, Stop};

use super::{Enter, Entered, StepKind};
use crate::engine::core::plan::{Builder, PlanError, StepIx};

#[derive(Debug)]
struct StopHere {
    ok: bool,
    reason: Template,
}

/// Compiles a `stop` step.
///
/// # Errors
/// An expression is wrong.
pub fn compile(builder: &mut Builder<'_>, _ix: StepIx, step: &Step) -> Result<Box<dyn StepKind>, PlanError> {
    let (ok, reason) = match &step.kind {
        Kind::Stop(Stop::Ok(reason)) => (true, reason),
        Kind::Stop(Stop::Fail(reason)) => (false, reason),
        _ => return Err(PlanError::Kind { step: step.id.clone(), kind: "stop" }),
    };
    Ok(Box::new(StopHere { ok, reason: builder.template(step, reason)? }))
}

impl StepKind for StopHere {
    fn enter(&self, at: &Enter<'_>) -> Result<Entered, ExprError> {
        Ok(Entered::Done(self.reason.eval(at.scope)?.value))
    }

    fn stops(&self) -> Option<bool> {
        Some(self.ok)
    }
}
