//! As much of GraphQL as the fake and the tests need: reading a query's selections, checking them against
//! the API's own field names, and answering with exactly what was asked for.
//!
//! `schema.json` holds, for the types that our queries touch, each field's type, taken from the introspection
//! of Admin API 2026-10; scalars stand for themselves.

use aura_protocol::value::{Map, Value};

/// One selected field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Selection {
    pub(super) name: String,
    pub(super) arguments: Vec<(String, String)>,
    pub(super) fields: Vec<Self>,
}

const SCHEMA: &str = include_str!("fixtures/schema.json");
const DEPTH_MAX: usize = 16;

/// Reads `query (…) { … }`.
pub(super) fn parse(text: &str) -> Result<Vec<Selection>, String> {
    let tokens = tokens(text);
    let start = tokens.iter().position(|token| token == "{").ok_or("a query has braces")?;
    let mut reader = Reader { tokens: &tokens, at: start };
    let fields = reader.selections(0)?;
    if reader.at == tokens.len() { Ok(fields) } else { Err("text after the query".to_owned()) }
}

/// Checks selections against a type of the schema, by its name.
pub(super) fn check(fields: &[Selection], of: &str) -> Result<(), String> {
    let schema = Value::from_json(SCHEMA.as_bytes()).map_err(|error| error.to_string())?;
    check_in(&schema, fields, of)
}

/// What was asked for of an object; lists are answered item by item, a missing field is null.
pub(super) fn project(value: &Value, fields: &[Selection]) -> Value {
    match value {
        _ if fields.is_empty() => value.clone(),
        Value::List(items) => Value::List(items.iter().map(|item| project(item, fields)).collect()),
        Value::Map(map) => Value::Map(
            fields
                .iter()
                .map(|field| {
                    let inner = map.get(&field.name).map(|inner| project(inner, &field.fields));
                    (field.name.clone(), inner.unwrap_or_default())
                })
                .collect::<Map>(),
        ),
        other => other.clone(),
    }
}

fn check_in(schema: &Value, fields: &[Selection], of: &str) -> Result<(), String> {
    let known = schema.get(of).ok_or_else(|| format!("type `{of}` is not in the schema"))?;
    for field in fields {
        let entry =
            known.get(&field.name).ok_or_else(|| format!("Field '{}' doesn't exist on type '{of}'", field.name))?;
        let kind = entry.get("type").and_then(Value::as_str).unwrap_or_default();
        let arguments = entry.get("args").and_then(Value::as_list).unwrap_or_default();
        for (name, _) in &field.arguments {
            if !arguments.iter().any(|argument| argument.as_str() == Some(name)) {
                return Err(format!("Field '{}' doesn't accept argument '{name}'", field.name));
            }
        }
        let has_fields = schema.get(kind).is_some();
        match (has_fields, field.fields.is_empty()) {
            (true, true) => return Err(format!("Field must have selections (field '{}' returns {kind})", field.name)),
            (false, false) => {
                return Err(format!("Selections can't be made on scalars (field '{}' returns {kind})", field.name));
            }
            (true, false) => check_in(schema, &field.fields, kind)?,
            (false, true) => {}
        }
    }
    Ok(())
}

fn tokens(text: &str) -> Vec<String> {
    let mut out = Vec::new();
    let mut word = String::new();
    for letter in text.chars() {
        if letter.is_ascii_alphanumeric() || letter == '_' || letter == '$' {
            word.push(letter);
            continue;
        }
        if !word.is_empty() {
            out.push(std::mem::take(&mut word));
        }
        if !letter.is_whitespace() && letter != ',' {
            out.push(letter.to_string());
        }
    }
    if !word.is_empty() {
        out.push(word);
    }
    out
}

struct Reader<'t> {
    tokens: &'t [String],
    at: usize,
}

impl Reader<'_> {
    fn next(&mut self) -> Result<&str, String> {
        let token = self.tokens.get(self.at).ok_or("the query ends too early")?;
        self.at += 1;
        Ok(token)
    }

    fn peek(&self) -> &str {
        self.tokens.get(self.at).map_or("", String::as_str)
    }

    fn expect(&mut self, expected: &str) -> Result<(), String> {
        let token = self.next()?;
        if token == expected { Ok(()) } else { Err(format!("`{expected}` expected, not `{token}`")) }
    }

    fn selections(&mut self, depth: usize) -> Result<Vec<Selection>, String> {
        if depth > DEPTH_MAX {
            return Err("too deep".to_owned());
        }
        self.expect("{")?;
        let mut fields = Vec::new();
        while self.peek() != "}" {
            let name = self.next()?.to_owned();
            if !name.starts_with(|letter: char| letter.is_ascii_alphabetic() || letter == '_') {
                return Err(format!("a field expected, not `{name}`"));
            }
            let mut arguments = Vec::new();
            if self.peek() == "(" {
                self.next()?;
                while self.peek() != ")" {
                    let argument = self.next()?.to_owned();
                    self.expect(":")?;
                    arguments.push((argument, self.next()?.to_owned()));
                }
                self.next()?;
            }
            let inner = if self.peek() == "{" { self.selections(depth + 1)? } else { Vec::new() };
            fields.push(Selection { name, arguments, fields: inner });
        }
        self.next()?;
        if fields.is_empty() { Err("a selection is empty".to_owned()) } else { Ok(fields) }
    }
}
