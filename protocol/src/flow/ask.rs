//! The shape of an `approval` step: who is asked what, how many must agree, until when.
//!
//! Check reads it from the file and the engine again when it compiles the step, so both refuse the same things. What
//! people fill in is told from the file alone: a payload that stands in the form can ask for nothing.

use super::Span;
use crate::approval::{Field, FieldKind, is_role};
use crate::value::{Map, Value};

/// People who may be asked at most.
const APPROVERS_MAX: usize = 100;
/// Fields that people see or fill in at most.
const FIELDS_MAX: usize = 100;

/// What stands in an `approval` step.
#[derive(Clone, Debug, PartialEq)]
pub struct AskShape {
    /// What people see, with expressions.
    pub form: Value,
    /// What they fill in.
    pub fields: Vec<Field>,
    /// Accounts and roles.
    pub approvers: Vec<String>,
    /// So many must agree.
    pub quorum: u32,
    /// So many refusals end it.
    pub reject: Option<u32>,
    /// Not whoever began the run.
    pub no_self: bool,
    /// Whoever is asked may ask somebody else.
    pub delegate: bool,
    /// How long they have.
    pub deadline: Deadline,
    /// After which time others are asked too, and who.
    pub escalate: Option<(Deadline, Vec<String>)>,
}

/// How long people have.
#[derive(Clone, Debug, PartialEq)]
pub enum Deadline {
    /// So long.
    Span(Span),
    /// So long in business time.
    Business(Span, crate::business::Hours),
}

impl Deadline {
    /// When it is over if it begins then, both in Unix milliseconds; `None` if that is too far.
    #[must_use]
    pub fn after(&self, from_ms: i64) -> Option<i64> {
        match self {
            Self::Span(span) => from_ms.checked_add(i64::try_from(span.ms).ok()?),
            Self::Business(span, hours) => hours.after(from_ms, *span),
        }
    }
}

/// Field at fault (empty: the whole), one sentence, what to write.
type Fault = (String, String, String);

fn fault<T>(field: &str, message: impl Into<String>, hint: &str) -> Result<T, Fault> {
    Err((field.to_owned(), message.into(), hint.to_owned()))
}

fn names(value: Option<&Value>, field: &str) -> Result<Vec<String>, Fault> {
    let hint = "write accounts and roles: `[anna, admin]`";
    let list = value.and_then(Value::as_list).unwrap_or_default();
    if list.is_empty() || list.len() > APPROVERS_MAX {
        return fault(field, format!("`{field}` names 1 to {APPROVERS_MAX} accounts or roles"), hint);
    }
    let mut names: Vec<String> = Vec::with_capacity(list.len());
    for value in list {
        let name = value.as_str().filter(|name| !name.is_empty() && name.len() <= 128 && !name.contains("{{"));
        match name {
            None => return fault(field, format!("`{field}` holds names, no expressions"), hint),
            Some(name) if names.iter().any(|known| known == name) => {
                return fault(field, format!("`{}` stands there twice", crate::text::display(name)), hint);
            }
            Some(name) => names.push(name.to_owned()),
        }
    }
    Ok(names)
}

fn time(value: &Value, field: &str) -> Result<Deadline, Fault> {
    if let Value::Map(_) = value {
        return match crate::business::read(value) {
            Ok((span, hours)) => Ok(Deadline::Business(span, hours)),
            Err(why) => fault(field, why, "write `{ business: 8h, zone: Europe/Berlin }`"),
        };
    }
    match value.as_str().unwrap_or_default().parse::<Span>().ok().filter(|span| span.ms > 0) {
        Some(span) => Ok(Deadline::Span(span)),
        None => fault(field, format!("`{field}` must be a duration"), "write one such as `2d`"),
    }
}

fn flag(value: &Value, field: &str) -> Result<bool, Fault> {
    match value.get(field) {
        None => Ok(false),
        Some(Value::Bool(said)) => Ok(*said),
        Some(_) => fault(field, format!("`{field}` is true or false"), ""),
    }
}

/// What to write in place of a field that was written as other tools write one: `{ type: integer, title: … }`.
fn meant(field: &Value) -> Option<&'static str> {
    const BESIDE: &[&str] = &["type", "title", "label", "description", "required", "default"];
    let keys = field.as_map().filter(|keys| keys.keys().all(|key| BESIDE.contains(&key.as_str())))?;
    match keys.get("type")?.as_str()? {
        "string" | "text" => Some("write `{ ask: text }`"),
        "number" | "integer" => Some("write `{ ask: number }`"),
        "boolean" => Some("write `{ ask: boolean }`"),
        _ => None,
    }
}

/// What people see, and what they fill in.
fn form(value: Option<&Value>) -> Result<(Value, Vec<Field>), Fault> {
    let all = match value {
        None => return Ok((Value::Map(Map::new()), Vec::new())),
        Some(Value::Map(all)) if all.len() <= FIELDS_MAX => all,
        Some(_) => {
            let message = format!("`form` is an object of at most {FIELDS_MAX} fields that people see and fill in");
            return fault("form", message, "write `{ sum: \"{{ … }}\", reason: { ask: text } }`");
        }
    };
    let (mut shown, mut fields) = (Map::new(), Vec::new());
    for (name, field) in all {
        let Some(asked) = field.get("ask") else {
            if let Some(kind) = meant(field) {
                let message = format!(
                    "the field `{}` would only be shown; a field to fill in says `ask`",
                    crate::text::display(name)
                );
                return fault("form", message, kind);
            }
            shown.insert(name.clone(), field.clone());
            continue;
        };
        let kind = asked.as_str().and_then(FieldKind::named);
        let alone = field.as_map().is_some_and(|keys| keys.len() == 1);
        let Some(kind) = kind.filter(|_| alone) else {
            let message = format!("the field `{}` asks for text, number or boolean", crate::text::display(name));
            return fault("form", message, "write `{ ask: text }`");
        };
        fields.push(Field { name: name.clone(), kind });
    }
    Ok((Value::Map(shown), fields))
}

/// Reads the shape of an `approval` step.
///
/// # Errors
/// The field at fault, one sentence, and what to write.
pub fn shape(value: &Value) -> Result<AskShape, Fault> {
    let approvers = names(value.get("approvers"), "approvers")?;
    let number = |value: &Value| match value.as_int().and_then(|number| u32::try_from(number).ok()) {
        Some(number) if number > 0 => Ok(number),
        _ => fault("quorum", "`quorum` says how many must agree", "write `2`, or `{ approve: 2, reject: 1 }`"),
    };
    let (quorum, reject) = match value.get("quorum") {
        None => (1, None),
        Some(Value::Map(sides)) if sides.keys().all(|key| matches!(key.as_str(), "approve" | "reject")) => {
            (sides.get("approve").map_or(Ok(1), number)?, sides.get("reject").map(number).transpose()?)
        }
        Some(one) => (number(one)?, None),
    };
    let escalate = match value.get("escalate") {
        None => None,
        Some(Value::Map(rule)) if rule.keys().all(|key| matches!(key.as_str(), "after" | "approvers")) => {
            let after = rule.get("after").unwrap_or(&Value::Null);
            Some((time(after, "escalate")?, names(rule.get("approvers"), "escalate")?))
        }
        Some(_) => {
            let hint = "write `{ after: 1d, approvers: [owner] }`";
            return fault("escalate", "`escalate` says after which time who is asked too", hint);
        }
    };
    let later = escalate.iter().flat_map(|(_, names)| names);
    let all: std::collections::BTreeSet<&String> = approvers.iter().chain(later).collect();
    if !all.iter().any(|name| is_role(name)) && usize::try_from(quorum).is_ok_and(|quorum| quorum > all.len()) {
        let message = format!("{quorum} must agree and only {} are asked", all.len());
        return fault("quorum", message, "ask more people, or lower it");
    }
    let Some(deadline) = value.get("deadline") else {
        return fault("", "the key `deadline` is missing", "write how long people have: `deadline: 2d`");
    };
    let (form, fields) = form(value.get("form"))?;
    Ok(AskShape {
        form,
        fields,
        approvers,
        quorum,
        reject,
        no_self: flag(value, "no_self")?,
        delegate: flag(value, "delegate")?,
        deadline: time(deadline, "deadline")?,
        escalate,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_shows_asks_or_is_refused() {
        let check = |form: &str, expected: &str| {
            let form = Value::from_json(form.as_bytes()).unwrap();
            let said = match super::form(Some(&form)) {
                Ok((shown, fields)) => {
                    let fields = fields.iter().map(|field| format!("{}?", field.name)).collect::<Vec<_>>();
                    format!("{} {}", shown.to_json(), fields.join(" "))
                }
                Err((_, message, hint)) => format!("{message}: {hint}"),
            };
            assert_eq!(said.trim(), expected);
        };
        check(r#"{"sum": 3, "limit": {"ask": "number"}}"#, r#"{"sum":3} limit?"#);
        check(r#"{"qty": {"ask": "date"}}"#, "the field `qty` asks for text, number or boolean: write `{ ask: text }`");
        // As other tools write a field; shown as it stands it would ask nobody anything.
        let wrong = |hint: &str| format!("the field `qty` would only be shown; a field to fill in says `ask`: {hint}");
        check(r#"{"qty": {"type": "integer", "title": "Quantity"}}"#, &wrong("write `{ ask: number }`"));
        check(r#"{"qty": {"type": "string"}}"#, &wrong("write `{ ask: text }`"));
        // A value of the flow's own is shown.
        check(r#"{"order": {"type": "string", "id": 7}}"#, r#"{"order":{"type":"string","id":7}}"#);
        check(r#"{"order": {"type": "refund"}}"#, r#"{"order":{"type":"refund"}}"#);
    }
}
