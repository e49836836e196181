//! `kv`: what the flows of a tenant keep under a name. Its output depends on the operation.
//!
//! The pure half resolves the step's expressions once; the driver's half ([`crate::engine::kv`]) reads and writes in
//! the very transaction that records the output, so it happens exactly once however often it is tried.

use aura_protocol::expr::{ExprError, Template};
use aura_protocol::flow::{Effect, Kind, Span, Step, kv};
use aura_protocol::{Map, Value};

use super::{Enter, Entered, StepKind, refused};
use crate::engine::core::plan::{ActionEffects, Builder, KEY_WINDOW, PlanError, StepIx};

#[derive(Debug)]
struct Keep(Template);

/// Compiles a `kv` step.
///
/// # Errors
/// An expression is wrong.
pub fn compile(builder: &mut Builder<'_>, _ix: StepIx, step: &Step) -> Result<Box<dyn StepKind>, PlanError> {
    let Kind::Kv(value) = &step.kind else { return Err(PlanError::Kind { step: step.id.clone(), kind: "kv" }) };
    Ok(Box::new(Keep(builder.template(step, value)?)))
}

impl StepKind for Keep {
    fn enter(&self, at: &Enter<'_>) -> Result<Entered, ExprError> {
        let input = self.0.eval(at.scope)?;
        Ok(Entered::Call { input: resolved(&input.value).map_err(refused)?, draws: input.draws })
    }

    /// Nothing leaves the daemon: what was not recorded did not happen.
    fn effect(&self, _actions: ActionEffects<'_>) -> Option<(Effect, Span)> {
        Some((Effect::Idempotent, KEY_WINDOW))
    }

    fn keeps(&self) -> bool {
        true
    }
}

/// The operation as it is journaled: its name as text, `ttl_ms`, and the values it needs.
fn resolved(value: &Value) -> Result<Value, String> {
    let shape = kv::shape(value).map_err(|(_, message, _)| message)?;
    let name = match shape.name {
        Value::Str(text) => text.clone(),
        Value::Int(number) => number.to_string(),
        other => return Err(format!("the name of what is kept must be text, this is {}", other.kind())),
    };
    if name.is_empty() || name.len() > kv::NAME_MAX {
        return Err(format!("the name of what is kept has 1 to {} bytes, this has {}", kv::NAME_MAX, name.len()));
    }
    let mut out = Map::new();
    out.insert("operation".to_owned(), Value::from(shape.operation));
    out.insert("name".to_owned(), Value::from(name));
    for field in ["default", "value", "by", "from", "to"] {
        let Some(value) = shape.fields.get(field) else { continue };
        if value.weight() > kv::VALUE_MAX {
            return Err(format!("`{field}` is larger than {} KiB", kv::VALUE_MAX / 1024));
        }
        out.insert(field.to_owned(), value.clone());
    }
    if let Some(ttl) = shape.fields.get("ttl") {
        let text = ttl.as_str().ok_or_else(|| format!("`ttl` must be a duration, this is {}", ttl.kind()))?;
        let span = text.parse::<Span>()?;
        out.insert("ttl_ms".to_owned(), Value::Int(i128::from(span.ms)));
    }
    Ok(Value::Map(out))
}
