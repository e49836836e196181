//! `respond`: answers the sender of the webhook. The bytes are part of the commit that records it.

use aura_protocol::expr::{ExprError, Template};
use aura_protocol::flow::{Kind, Step};
use aura_protocol::{Map, Value};

use super::{Enter, Entered, StepKind, refused};
use crate::engine::core::plan::{Builder, PlanError, StepIx};

#[derive(Debug)]
struct Respond(Template);

/// Compiles a `respond` step.
///
/// # Errors
/// An expression is wrong.
pub fn compile(builder: &mut Builder<'_>, _ix: StepIx, step: &Step) -> Result<Box<dyn StepKind>, PlanError> {
    let Kind::Respond(respond) = &step.kind else {
        return Err(PlanError::Kind { step: step.id.clone(), kind: "respond" });
    };
    let parts = Value::object([
        ("status", respond.status.clone().unwrap_or(Value::Int(200))),
        ("headers", Value::Map(respond.headers.clone())),
        ("body", respond.body.clone().unwrap_or_default()),
    ]);
    Ok(Box::new(Respond(builder.template(step, &parts)?)))
}

impl StepKind for Respond {
    fn enter(&self, at: &Enter<'_>) -> Result<Entered, ExprError> {
        let parts = self.0.eval(at.scope)?.value;
        let status = parts.get("status").and_then(Value::as_int).and_then(|status| u16::try_from(status).ok());
        let status = status
            .filter(|status| (200..=599).contains(status))
            .ok_or_else(|| refused("the status of an answer is an integer from 200 to 599"))?;
        let mut headers = headers(parts.get("headers").and_then(Value::as_map))?;
        let body = match parts.get("body") {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::Str(text)) => text.clone().into_bytes(),
            Some(other) => {
                if !headers.iter().any(|(name, _)| name == "content-type") {
                    headers.push(("content-type".to_owned(), "application/json".to_owned()));
                }
                other.to_json().into_bytes()
            }
        };
        Ok(Entered::Respond { status, headers, body })
    }
}

fn headers(map: Option<&Map>) -> Result<Vec<(String, String)>, ExprError> {
    let Some(map) = map else { return Ok(Vec::new()) };
    map.iter()
        .map(|(name, value)| {
            let text = value.as_str().ok_or_else(|| refused(format!("header {name} must be text")))?;
            let named = !name.is_empty()
                && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
            let clean = text.chars().all(|letter| !letter.is_control());
            if named && clean {
                Ok((name.to_ascii_lowercase(), text.to_owned()))
            } else {
                Err(refused(format!("header {name} has characters that a header cannot have")))
            }
        })
        .collect()
}
