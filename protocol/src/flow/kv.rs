//! The shape of a `kv` step: one operation, its name, and what belongs to it.
//!
//! Check reads it from the file (where values may be expressions) and the engine again from what the expressions
//! gave, so both refuse the same things in the same words.

use crate::value::{Map, Value};

/// Largest value that is kept, as JSON.
pub const VALUE_MAX: usize = 64 * 1024;
/// Longest name in bytes.
pub const NAME_MAX: usize = 512;

/// The operations, each with the keys that it may have beside it and those that it must have.
pub const OPERATIONS: &[(&str, &[&str], &[&str])] = &[
    ("get", &["default"], &[]),
    ("set", &["value", "ttl"], &["value"]),
    ("delete", &[], &[]),
    ("incr", &["by", "ttl"], &[]),
    ("cas", &["from", "to", "ttl"], &["from", "to"]),
];

/// What stands in a `kv` step.
#[derive(Clone, Debug, PartialEq)]
pub struct KvShape<'v> {
    /// `get`, `set`, `delete`, `incr` or `cas`.
    pub operation: &'static str,
    /// The name of what is kept.
    pub name: &'v Value,
    /// All fields.
    pub fields: &'v Map,
}

/// Reads the shape of a `kv` step.
///
/// # Errors
/// One sentence and what to write, with the field at fault (empty: the whole).
pub fn shape(value: &Value) -> Result<KvShape<'_>, (String, String, String)> {
    let example = "write one of `get`, `set`, `delete`, `incr`, `cas` with a name: `kv: { incr: orders }`".to_owned();
    let refuse = |field: &str, message: String, hint: &str| Err((field.to_owned(), message, hint.to_owned()));
    let Some(fields) = value.as_map() else {
        return refuse("", format!("`kv` must be an object, this is {}", value.kind()), &example);
    };
    let mut found = OPERATIONS.iter().filter(|(operation, ..)| fields.contains_key(*operation));
    let Some((operation, may, must)) = found.next() else {
        return refuse("", "the `kv` step has no operation".to_owned(), &example);
    };
    if let Some((other, ..)) = found.next() {
        return refuse(other, format!("a `kv` step does one thing, this has `{operation}` and `{other}`"), &example);
    }
    if let Some(key) = fields.keys().find(|key| key != operation && !may.contains(&key.as_str())) {
        let hint = match may {
            [] => format!("`{operation}` takes nothing beside it"),
            may => format!("`{operation}` takes: {}", may.join(", ")),
        };
        let message = format!("`{operation}` has no `{}`", crate::text::display(key));
        return refuse(key, message, &hint);
    }
    if let Some(key) = must.iter().find(|key| !fields.contains_key(**key)) {
        return refuse("", format!("`{operation}` needs `{key}`"), "");
    }
    let name = fields.get(*operation).unwrap_or(&Value::Null);
    Ok(KvShape { operation, name, fields })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_has_its_fields_and_no_others() {
        let cases = [
            ("{\"get\":\"a\"}", "get"),
            ("{\"get\":\"a\",\"default\":1}", "get"),
            ("{\"set\":\"a\",\"value\":null,\"ttl\":\"7d\"}", "set"),
            ("{\"delete\":\"a\"}", "delete"),
            ("{\"incr\":\"a\",\"by\":2}", "incr"),
            ("{\"cas\":\"a\",\"from\":1,\"to\":2}", "cas"),
            ("[]", "! `kv` must be an object, this is list"),
            ("{}", "! the `kv` step has no operation"),
            ("{\"list\":\"a\"}", "! the `kv` step has no operation"),
            ("{\"get\":\"a\",\"incr\":\"a\"}", "! a `kv` step does one thing, this has `get` and `incr`"),
            ("{\"get\":\"a\",\"ttl\":\"1d\"}", "! `get` has no `ttl`"),
            ("{\"set\":\"a\"}", "! `set` needs `value`"),
            ("{\"cas\":\"a\",\"from\":1}", "! `cas` needs `to`"),
        ];
        for (text, expected) in cases {
            let value = Value::from_json(text.as_bytes()).unwrap();
            let got = shape(&value).map_or_else(|(_, message, _)| format!("! {message}"), |it| it.operation.to_owned());
            assert_eq!(got, expected, "{text}");
        }
    }
}
