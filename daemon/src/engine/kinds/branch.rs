//! `branch`: the first arm whose condition is true; its output is the arm's last written step's.

use aura_protocol::Value;
use aura_protocol::expr::{ExprError, Template};
use aura_protocol::flow::{Kind, Step};

use super::{Enter, Entered, StepKind};
use crate::engine::core::plan::{Builder, Owner, PlanError, StepIx};

/// Conditions in order; `None` is `else`.
#[derive(Debug)]
struct Branch(Vec<Option<Template>>);

/// Compiles a `branch` step and the scopes of its arms.
///
/// # Errors
/// An expression is wrong.
pub fn compile(builder: &mut Builder<'_>, ix: StepIx, step: &Step) -> Result<Box<dyn StepKind>, PlanError> {
    let Kind::Branch(arms) = &step.kind else { return Err(PlanError::Kind { step: step.id.clone(), kind: "branch" }) };
    let mut conditions = Vec::with_capacity(arms.len());
    for (number, arm) in (0..).zip(arms) {
        conditions.push(arm.when.as_ref().map(|when| builder.template(step, &Value::from(when.as_str()))).transpose()?);
        builder.scope(Owner::Arm(ix, number), &arm.steps)?;
    }
    Ok(Box::new(Branch(conditions)))
}

impl StepKind for Branch {
    fn enter(&self, at: &Enter<'_>) -> Result<Entered, ExprError> {
        for (number, condition) in (0..).zip(&self.0) {
            let taken = match condition {
                None => true,
                Some(condition) => condition.eval_bool(at.scope)?.0,
            };
            if taken {
                return Ok(Entered::Arm(number));
            }
        }
        Ok(Entered::Done(Value::Null))
    }
}
