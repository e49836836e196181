//! `uses`: an action of a connector, with its connection.

use aura_integrations::ctx::CallCtx;
use aura_protocol::Value;
use aura_protocol::expr::{ExprError, Template};
use aura_protocol::flow::{Effect, Kind, Span, Step};
use aura_protocol::run::{CallOutcome, ErrorClass, Reach, StepError};
use futures::future::BoxFuture;

use super::{CallContext, Enter, Entered, StepKind};
use crate::engine::core::plan::{ActionEffects, Builder, PlanError, StepIx};

#[derive(Debug)]
struct Uses {
    action: String,
    connection: Option<String>,
    with: Template,
}

/// Compiles a `uses` step.
///
/// # Errors
/// No connector has the action, or an expression is wrong.
pub fn compile(builder: &mut Builder<'_>, _ix: StepIx, step: &Step) -> Result<Box<dyn StepKind>, PlanError> {
    let Kind::Uses { action, connection, with } = &step.kind else {
        return Err(PlanError::Kind { step: step.id.clone(), kind: "uses" });
    };
    if !builder.knows_action(action) {
        return Err(PlanError::Action { step: step.id.clone(), action: action.clone() });
    }
    let with = builder.template(step, &Value::Map(with.clone()))?;
    Ok(Box::new(Uses { action: action.clone(), connection: connection.clone(), with }))
}

impl StepKind for Uses {
    fn enter(&self, at: &Enter<'_>) -> Result<Entered, ExprError> {
        let input = self.with.eval(at.scope)?;
        Ok(Entered::Call { input: input.value, draws: input.draws })
    }

    fn effect(&self, actions: ActionEffects<'_>) -> Option<(Effect, Span)> {
        actions(&self.action)
    }

    fn connection(&self) -> Option<&str> {
        self.connection.as_deref()
    }

    fn call<'a>(&'a self, context: CallContext, input: &'a Value) -> BoxFuture<'a, CallOutcome> {
        Box::pin(async move {
            if let (Some(name), None) = (&self.connection, &context.connection) {
                let message = format!("there is no connection {name}; add it with `aura connection add {name} …`");
                return CallOutcome::Failed(StepError::new(ErrorClass::Auth, message), Reach::Unsent);
            }
            let ctx = CallCtx {
                http: &context.http,
                settings: context.connection.as_ref().map_or(&[], |connection| &connection.settings),
                secrets: context.connection.as_ref().map_or(&[], |connection| &connection.secrets),
                key: &context.key,
                timeout: context.timeout,
                now_ms: context.now_ms,
                sent: &context.sent,
            };
            context.registry.call(&ctx, &self.action, input).await
        })
    }
}
