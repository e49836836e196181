//! `set {name: value}`: its output is that object. With `rules` beside it the values may read the decision.

use aura_protocol::Value;
use aura_protocol::expr::{ExprError, Template};
use aura_protocol::flow::rules::{NAMES, Rules, WithDecision};
use aura_protocol::flow::{Kind, Step};

use super::{Enter, Entered, StepKind};
use crate::engine::core::plan::{Builder, PlanError, StepIx};

#[derive(Debug)]
struct Set {
    rules: Option<Rules>,
    values: Template,
}

/// Compiles a `set` step.
///
/// # Errors
/// An expression or the rule table is wrong.
pub fn compile(builder: &mut Builder<'_>, _ix: StepIx, step: &Step) -> Result<Box<dyn StepKind>, PlanError> {
    let Kind::Set(values) = &step.kind else { return Err(PlanError::Kind { step: step.id.clone(), kind: "set" }) };
    let rules = builder.rules(step)?;
    let more: &[&str] = if rules.is_some() { &NAMES } else { &[] };
    let values = builder.template_with(step, &Value::Map(values.clone()), more)?;
    Ok(Box::new(Set { rules, values }))
}

impl StepKind for Set {
    fn enter(&self, at: &Enter<'_>) -> Result<Entered, ExprError> {
        let value = match &self.rules {
            None => self.values.eval(at.scope)?.value,
            Some(rules) => {
                let decided = rules.decide(at.scope)?;
                self.values.eval(&WithDecision::new(at.scope, decided))?.value
            }
        };
        Ok(Entered::Done(value))
    }
}
