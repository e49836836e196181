//! `branch`: the first arm whose condition is true; its output is the arm's last written step's. With `rules`
//! beside it the conditions may read the decision, which is made once, before the first of them.

use aura_protocol::Value;
use aura_protocol::expr::{ExprError, Scope, Template};
use aura_protocol::flow::rules::{NAMES, Rules, WithDecision};
use aura_protocol::flow::{Kind, Step};

use super::{Enter, Entered, StepKind};
use crate::engine::core::plan::{Builder, Owner, PlanError, StepIx};

/// Conditions in order; `None` is `else`.
#[derive(Debug)]
struct Branch {
    rules: Option<Rules>,
    conditions: Vec<Option<Template>>,
}

/// Compiles a `branch` step and the scopes of its arms.
///
/// # Errors
/// An expression or the rule table is wrong.
pub fn compile(builder: &mut Builder<'_>, ix: StepIx, step: &Step) -> Result<Box<dyn StepKind>, PlanError> {
    let Kind::Branch(arms) = &step.kind else { return Err(PlanError::Kind { step: step.id.clone(), kind: "branch" }) };
    let rules = builder.rules(step)?;
    let more: &[&str] = if rules.is_some() { &NAMES } else { &[] };
    let mut conditions = Vec::with_capacity(arms.len());
    for (number, arm) in (0..).zip(arms) {
        let condition = |when: &String| builder.template_with(step, &Value::from(when.as_str()), more);
        conditions.push(arm.when.as_ref().map(condition).transpose()?);
        builder.scope(Owner::Arm(ix, number), &arm.steps)?;
    }
    Ok(Box::new(Branch { rules, conditions }))
}

impl Branch {
    fn taken(&self, scope: &dyn Scope) -> Result<Entered, ExprError> {
        for (number, condition) in (0..).zip(&self.conditions) {
            let taken = match condition {
                None => true,
                Some(condition) => condition.eval_bool(scope)?.0,
            };
            if taken {
                return Ok(Entered::Arm(number));
            }
        }
        Ok(Entered::Done(Value::Null))
    }
}

impl StepKind for Branch {
    fn enter(&self, at: &Enter<'_>) -> Result<Entered, ExprError> {
        match &self.rules {
            None => self.taken(at.scope),
            Some(rules) => self.taken(&WithDecision::new(at.scope, rules.decide(at.scope)?)),
        }
    }
}
