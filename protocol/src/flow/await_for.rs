//! The shape of a `wait` step: what it waits for, which event is meant, and how long.
//!
//! Check reads it from the file and the engine again when it compiles the step, so both refuse the same things.

use super::Span;
use crate::value::Value;

/// What stands in a `wait` step.
#[derive(Clone, Debug, PartialEq)]
pub struct WaitShape<'v> {
    /// The trigger whose event is awaited; `None`: a callback.
    pub event: Option<EventShape<'v>>,
    /// How long, as written.
    pub deadline: &'v str,
}

/// Which event is awaited.
#[derive(Clone, Debug, PartialEq)]
pub struct EventShape<'v> {
    /// Id of the trigger.
    pub trigger: &'v str,
    /// The key of an event, an expression over it.
    pub event: &'v Value,
    /// What it must be, an expression of the step.
    pub run: &'v Value,
}

/// Reads the shape of a `wait` step.
///
/// # Errors
/// One sentence and what to write, with the field at fault (empty: the whole).
pub fn shape(value: &Value) -> Result<WaitShape<'_>, (String, String, String)> {
    let refuse = |field: &str, message: &str, hint: &str| Err((field.to_owned(), message.to_owned(), hint.to_owned()));
    let deadline = match value.get("deadline").map(|deadline| (deadline, deadline.as_str())) {
        None => return refuse("", "the key `deadline` is missing", "write how long it waits at most: `deadline: 7d`"),
        Some((_, Some(text))) if text.contains("{{") || text.parse::<Span>().is_ok_and(|span| span.ms > 0) => text,
        Some(_) => {
            return refuse("deadline", "`deadline` must be a duration", "write one such as `7d`, or an expression");
        }
    };
    let (event, callback) = (value.get("event"), value.get("callback"));
    let matching = value.get("match");
    let event = match (event, callback) {
        (Some(event), None) => {
            let hint = "write which event is meant: `match: { event: \"{{ trigger.body.order }}\", run: \"{{ … }}\" }`";
            let Some(trigger) = event.as_str() else {
                return refuse("event", "`event` names a trigger of this flow", "write its id");
            };
            let sides = matching.and_then(Value::as_map);
            let Some(sides) = sides else { return refuse("match", "an event is told by its `match`", hint) };
            if let Some(other) = sides.keys().find(|key| !matches!(key.as_str(), "event" | "run")) {
                let message = format!("`match` has no key `{}`", crate::text::display(other));
                return refuse("match", &message, hint);
            }
            let is_expression = |value: &&Value| value.as_str().is_some_and(|text| text.contains("{{"));
            match (sides.get("event").filter(is_expression), sides.get("run")) {
                (Some(event), Some(run)) => Some(EventShape { trigger, event, run }),
                _ => return refuse("match", "`match` says the key of the event and what this run has there", hint),
            }
        }
        (None, Some(Value::Bool(true))) if matching.is_some() => {
            return refuse("match", "`match` belongs to `event`; a callback has an address of its own", "leave it out");
        }
        (None, Some(Value::Bool(true))) => None,
        (None, Some(_)) => return refuse("callback", "`callback` can only be true", "write `callback: true`"),
        (None, None) | (Some(_), Some(_)) => {
            return refuse(
                "",
                "a wait has exactly one of `event` and `callback`",
                "write `callback: true` or `event: id`",
            );
        }
    };
    Ok(WaitShape { event, deadline })
}
