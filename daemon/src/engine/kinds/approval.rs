//! `approval`: stands still until people have decided. Its output is what they filled in and who they are.
//!
//! What they are asked is evaluated once and journaled; a decision carries its hash, so it can be about nothing else.

use aura_protocol::Value;
use aura_protocol::approval::{Ask, is_role};
use aura_protocol::expr::{ExprError, Template};
use aura_protocol::flow::ask::{AskShape, Deadline, shape};
use aura_protocol::flow::{Kind, Step};
use aura_protocol::run::Awaited;
use sha2::{Digest, Sha256};

use super::{Enter, Entered, StepKind, refused};
use crate::engine::core::plan::{Builder, PlanError, StepIx};

/// What people are asked has at most so many bytes.
const FORM_MAX: usize = 64 * 1024;

#[derive(Debug)]
struct Approval {
    form: Template,
    rules: AskShape,
    accounts: Vec<String>,
}

/// Compiles an `approval` step.
///
/// # Errors
/// An expression or a rule is wrong.
pub fn compile(builder: &mut Builder<'_>, _ix: StepIx, step: &Step) -> Result<Box<dyn StepKind>, PlanError> {
    let wrong = || PlanError::Kind { step: step.id.clone(), kind: "approval" };
    let Kind::Approval(value) = &step.kind else { return Err(wrong()) };
    let rules = shape(value).map_err(|_| wrong())?;
    let form = builder.template(step, &rules.form)?;
    let later = rules.escalate.iter().flat_map(|(_, names)| names);
    let accounts = rules.approvers.iter().chain(later).filter(|name| !is_role(name)).cloned().collect();
    Ok(Box::new(Approval { form, rules, accounts }))
}

impl StepKind for Approval {
    fn enter(&self, at: &Enter<'_>) -> Result<Entered, ExprError> {
        let form = self.form.eval(at.scope)?.value;
        if form.weight() > FORM_MAX {
            return Err(refused(format!("what people are asked is larger than {} KiB", FORM_MAX / 1024)));
        }
        let rules = &self.rules;
        let after = |deadline: &Deadline| {
            deadline.after(at.now_ms).ok_or_else(|| refused("the deadline is more than ten years away"))
        };
        let until_ms = after(&rules.deadline)?;
        let (escalate_ms, escalate) = match &rules.escalate {
            None => (None, Vec::new()),
            Some((deadline, names)) => (Some(after(deadline)?), names.clone()),
        };
        let asked = rules.fields.iter().map(|field| (field.name.clone(), Value::from(field.kind.word()))).collect();
        let seen = Value::object([("form", form.clone()), ("asked", Value::Map(asked))]);
        let ask = Ask {
            hash: hex::encode(Sha256::digest(seen.to_canonical_json())),
            form,
            fields: rules.fields.clone(),
            approvers: rules.approvers.clone(),
            quorum: rules.quorum,
            reject: rules.reject,
            no_self: rules.no_self,
            delegate: rules.delegate,
            escalate_ms,
            escalate,
        };
        Ok(Entered::Await { what: Awaited::People(Box::new(ask)), until_ms })
    }

    fn asks(&self) -> bool {
        true
    }

    fn no_self(&self) -> bool {
        self.rules.no_self
    }

    fn accounts(&self) -> &[String] {
        &self.accounts
    }
}
