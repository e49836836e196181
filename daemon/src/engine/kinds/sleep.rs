//! `sleep`: waits for a span or until a time. The run leaves memory meanwhile.

use aura_protocol::Value;
use aura_protocol::expr::{ExprError, Template};
use aura_protocol::flow::{Kind, Sleep, Span, Step};

use super::{Enter, Entered, StepKind, refused};
use crate::engine::core::plan::{Builder, PlanError, StepIx};
use crate::engine::core::state::ms;

#[derive(Debug)]
enum Until {
    Span(Template),
    Time(Template),
}

/// Compiles a `sleep` step.
///
/// # Errors
/// An expression is wrong.
pub fn compile(builder: &mut Builder<'_>, _ix: StepIx, step: &Step) -> Result<Box<dyn StepKind>, PlanError> {
    let Kind::Sleep(sleep) = &step.kind else { return Err(PlanError::Kind { step: step.id.clone(), kind: "sleep" }) };
    let text = |text: &String| builder.template(step, &Value::from(text.as_str()));
    Ok(Box::new(match sleep {
        Sleep::For(span) => Until::Span(text(span)?),
        Sleep::Until(time) => Until::Time(text(time)?),
    }))
}

impl StepKind for Until {
    fn enter(&self, at: &Enter<'_>) -> Result<Entered, ExprError> {
        let value = match self {
            Self::Span(template) | Self::Time(template) => template.eval(at.scope)?.value,
        };
        let text = value.as_str().ok_or_else(|| refused(format!("sleep needs text, this is {}", value.kind())))?;
        let until = match self {
            Self::Span(_) => at.now_ms.saturating_add(ms(text.parse::<Span>().map_err(refused)?.ms)),
            Self::Time(_) => time_of(text)?,
        };
        Ok(Entered::Wait(until))
    }
}

fn time_of(text: &str) -> Result<i64, ExprError> {
    let zoned = text.parse::<jiff::Zoned>().map(|time| time.timestamp());
    zoned
        .or_else(|_| text.parse::<jiff::Timestamp>())
        .map(jiff::Timestamp::as_millisecond)
        .map_err(|_| refused(format!("`{text}` is not a time; write it like 2026-11-22T08:00:00Z")))
}
