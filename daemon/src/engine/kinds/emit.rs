//! `emit`: gives an event to every flow that has a trigger `on: event` for it, to subscribers outside if it says so, or
//! to both. Its output says to whom.
//!
//! The pure half resolves the body once; the driver's half (`engine::emitted`) leaves a note for each taker
//! in the very transaction that records the output, so each takes it exactly once however often the step is tried.

use aura_protocol::Value;
use aura_protocol::expr::{ExprError, Template};
use aura_protocol::flow::{Effect, Kind, Span, Step};
use aura_protocol::outgoing::check_customer;

use super::{Enter, Entered, StepKind, refused};
use crate::engine::core::plan::{ActionEffects, Builder, KEY_WINDOW, PlanError, StepIx};

/// The body of an event has at most so many bytes: there is one for each taker in one transaction.
const BODY_MAX: usize = 64 * 1024;

#[derive(Debug)]
struct Emit {
    event: String,
    body: Template,
    /// Outside too or only; as written.
    to: Option<String>,
    /// Whom it concerns.
    customer: Option<Template>,
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
    let to = value.get("to").and_then(Value::as_str).map(str::to_owned);
    let customer = value.get("customer").map(|customer| builder.template(step, customer)).transpose()?;
    Ok(Box::new(Emit { event, body, to, customer }))
}

impl StepKind for Emit {
    fn enter(&self, at: &Enter<'_>) -> Result<Entered, ExprError> {
        let body = self.body.eval(at.scope)?;
        if body.value.weight() > BODY_MAX {
            return Err(refused(format!("the body of an event is larger than {} KiB", BODY_MAX / 1024)));
        }
        let mut draws = body.draws;
        let mut input = vec![("event", Value::from(self.event.as_str())), ("body", body.value)];
        input.extend(self.to.as_deref().map(|to| ("to", Value::from(to))));
        if let Some(customer) = &self.customer {
            let customer = customer.eval(at.scope)?;
            // Of nobody would be for everybody.
            let name = match &customer.value {
                Value::Str(name) if check_customer(name).is_ok() => name.clone(),
                Value::Int(number) => number.to_string(),
                other => {
                    let shown = aura_protocol::text::display(&other.to_json());
                    let shown = shown.get(..shown.floor_char_boundary(80)).unwrap_or_default();
                    return Err(refused(format!("`customer` is {shown}, which names nobody: nothing was sent")));
                }
            };
            input.push(("customer", Value::from(name)));
            draws.extend(customer.draws);
        }
        Ok(Entered::Call { input: Value::object(input), draws })
    }

    /// Nothing leaves the daemon: what was not recorded did not happen.
    fn effect(&self, _actions: ActionEffects<'_>) -> Option<(Effect, Span)> {
        Some((Effect::Idempotent, KEY_WINDOW))
    }

    fn emits(&self) -> bool {
        true
    }
}
