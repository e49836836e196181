//! `set {name: value}`: its output is that object.

use aura_protocol::Value;
use aura_protocol::expr::{ExprError, Template};
use aura_protocol::flow::{Kind, Step};

use super::{Enter, Entered, StepKind};
use crate::engine::core::plan::{Builder, PlanError, StepIx};

#[derive(Debug)]
struct Set(Template);

/// Compiles a `set` step.
///
/// # Errors
/// An expression is wrong.
pub fn compile(builder: &mut Builder<'_>, _ix: StepIx, step: &Step) -> Result<Box<dyn StepKind>, PlanError> {
    let Kind::Set(values) = &step.kind else { return Err(PlanError::Kind { step: step.id.clone(), kind: "set" }) };
    Ok(Box::new(Set(builder.template(step, &Value::Map(values.clone()))?)))
}

impl StepKind for Set {
    fn enter(&self, at: &Enter<'_>) -> Result<Entered, ExprError> {
        Ok(Entered::Done(self.0.eval(at.scope)?.value))
    }
}
