//! `wait`: stands still until somebody calls back or an event comes. Its output is what came.
//!
//! The run leaves memory meanwhile. Which event is meant is told by a key, evaluated once when the step begins and
//! once at the door for each event of the trigger.

use aura_protocol::Value;
use aura_protocol::expr::{ExprError, Template};
use aura_protocol::flow::{Kind, Span, Step, await_for};
use aura_protocol::run::Awaited;

use super::{Enter, Entered, StepKind, refused};
use crate::engine::core::plan::{Builder, PlanError, StepIx};
use crate::engine::core::state::ms;

#[derive(Debug)]
struct Wait {
    /// Trigger and the key that its event must have; none for a callback.
    event: Option<(String, Template)>,
    deadline: Template,
}

/// Compiles a `wait` step.
///
/// # Errors
/// An expression is wrong.
pub fn compile(builder: &mut Builder<'_>, _ix: StepIx, step: &Step) -> Result<Box<dyn StepKind>, PlanError> {
    let wrong = || PlanError::Kind { step: step.id.clone(), kind: "wait" };
    let Kind::Wait(value) = &step.kind else { return Err(wrong()) };
    let shape = await_for::shape(value).map_err(|_| wrong())?;
    let event = match &shape.event {
        None => None,
        Some(event) => {
            builder.awaits(step, event.trigger, event.event)?;
            Some((event.trigger.to_owned(), builder.template(step, event.run)?))
        }
    };
    Ok(Box::new(Wait { event, deadline: builder.template(step, &Value::from(shape.deadline))? }))
}

impl StepKind for Wait {
    fn enter(&self, at: &Enter<'_>) -> Result<Entered, ExprError> {
        let what = match &self.event {
            None => Awaited::Callback,
            Some((trigger, key)) => {
                let key = key.eval(at.scope)?.value;
                if key.is_null() {
                    return Err(refused("the key of the awaited event is null"));
                }
                Awaited::Event { trigger: trigger.clone(), key: key.to_canonical_json() }
            }
        };
        let value = self.deadline.eval(at.scope)?.value;
        let text = value.as_str().ok_or_else(|| refused(format!("`deadline` needs text, this is {}", value.kind())))?;
        let span = text.parse::<Span>().map_err(refused)?;
        Ok(Entered::Await { what, until_ms: at.now_ms.saturating_add(ms(span.ms)) })
    }

    fn waits(&self) -> bool {
        true
    }

    fn is_called_back(&self) -> bool {
        self.event.is_none()
    }
}
