//! Templates of `connector.toml`: how a request is made from inputs and an output from an answer.
//!
//! `"${input.to}"` alone yields the value with its type, inside text it is inserted; `a | b` takes the first
//! that is there, a `?` at the end makes it optional (its key is then left out). Sources are `input.…`,
//! `connection.…`, `key`, `body.…` and `header.…`. What a value holds is never read as a template again.
//! These are not the expressions of flows: connectors need none of those.

use aura_protocol::value::{Map, Value};

use crate::ctx::CallCtx;

/// A value with slots.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Template {
    Fixed(Value),
    Slot(Slot),
    Text(Vec<Piece>),
    List(Vec<Self>),
    Table(Vec<(String, Self)>),
}

/// A place where a value goes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Slot {
    /// The first that is there is taken.
    pub(crate) sources: Vec<Source>,
    pub(crate) optional: bool,
}

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Source {
    Input(Vec<String>),
    Connection(String),
    Key,
    Body(Vec<String>),
    Header(String),
}

/// A piece of text.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Piece {
    Fixed(String),
    Slot(Slot),
}

/// What a template may read. The parts of the answer are there only when there is one.
#[derive(Clone, Copy)]
pub(crate) struct Scope<'a> {
    pub(crate) input: &'a Value,
    pub(crate) ctx: &'a CallCtx<'a>,
    /// Defaults of the connection's fields.
    pub(crate) defaults: &'a [(String, String)],
    pub(crate) body: Option<&'a Value>,
    pub(crate) headers: &'a [(String, String)],
}

/// A slot has no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Gap {
    #[error("`{0}` is missing")]
    Missing(String),
    #[error("`{0}` is {1} and cannot stand inside text")]
    NotText(String, &'static str),
}

impl Template {
    /// Reads a TOML value as a template.
    pub(crate) fn read(value: &toml::Value) -> Result<Self, String> {
        Ok(match value {
            toml::Value::String(text) => read_text(text)?,
            toml::Value::Integer(number) => Self::Fixed(Value::from(*number)),
            toml::Value::Boolean(yes) => Self::Fixed(Value::from(*yes)),
            toml::Value::Array(items) => Self::List(items.iter().map(Self::read).collect::<Result<_, _>>()?),
            toml::Value::Table(table) => Self::Table(
                table
                    .iter()
                    .map(|(key, value)| Ok((key.clone(), Self::read(value)?)))
                    .collect::<Result<_, String>>()?,
            ),
            toml::Value::Float(_) | toml::Value::Datetime(_) => {
                return Err("numbers with a point and dates are written as text".to_owned());
            }
        })
    }

    /// Every source that the template reads.
    pub(crate) fn sources(&self) -> Vec<&Source> {
        match self {
            Self::Fixed(_) => Vec::new(),
            Self::Slot(slot) => slot.sources.iter().collect(),
            Self::Text(pieces) => pieces
                .iter()
                .filter_map(|piece| match piece {
                    Piece::Fixed(_) => None,
                    Piece::Slot(slot) => Some(&slot.sources),
                })
                .flatten()
                .collect(),
            Self::List(items) => items.iter().flat_map(Self::sources).collect(),
            Self::Table(entries) => entries.iter().flat_map(|(_, item)| item.sources()).collect(),
        }
    }

    /// The value; `None` if the whole of it is an optional slot without one.
    pub(crate) fn fill(&self, scope: &Scope<'_>) -> Result<Option<Value>, Gap> {
        Ok(Some(match self {
            Self::Fixed(value) => value.clone(),
            Self::Slot(slot) => return slot.value(scope),
            Self::Text(_) => Value::Str(self.text(scope)?),
            Self::List(items) => {
                let mut list = Vec::with_capacity(items.len());
                for item in items {
                    list.extend(item.fill(scope)?);
                }
                Value::List(list)
            }
            Self::Table(entries) => {
                let mut map = Map::new();
                for (key, item) in entries {
                    if let Some(value) = item.fill(scope)? {
                        map.insert(key.clone(), value);
                    }
                }
                Value::Map(map)
            }
        }))
    }

    /// The text of a template that makes text.
    pub(crate) fn text(&self, scope: &Scope<'_>) -> Result<String, Gap> {
        let one;
        let pieces: &[Piece] = match self {
            Self::Text(pieces) => pieces,
            Self::Slot(slot) => {
                one = [Piece::Slot(slot.clone())];
                &one
            }
            Self::Fixed(Value::Str(text)) => return Ok(text.clone()),
            Self::Fixed(_) | Self::List(_) | Self::Table(_) => {
                return Err(Gap::NotText("the template".to_owned(), "no text"));
            }
        };
        let mut out = String::new();
        for piece in pieces {
            match piece {
                Piece::Fixed(text) => out.push_str(text),
                Piece::Slot(slot) => match slot.value(scope)? {
                    None => {}
                    Some(Value::Str(text) | Value::Dec(text)) => out.push_str(&text),
                    Some(Value::Int(number)) => out.push_str(&number.to_string()),
                    Some(Value::Bool(yes)) => out.push_str(if yes { "true" } else { "false" }),
                    Some(other) => return Err(Gap::NotText(slot.name(), other.kind())),
                },
            }
        }
        Ok(out)
    }
}

impl Slot {
    fn value(&self, scope: &Scope<'_>) -> Result<Option<Value>, Gap> {
        for source in &self.sources {
            if let Some(value) = source.value(scope).filter(|value| !value.is_null()) {
                return Ok(Some(value));
            }
        }
        if self.optional { Ok(None) } else { Err(Gap::Missing(self.name())) }
    }

    fn name(&self) -> String {
        self.sources.iter().map(Source::name).collect::<Vec<_>>().join(" or ")
    }
}

impl Source {
    fn value(&self, scope: &Scope<'_>) -> Option<Value> {
        match self {
            Self::Input(path) => at(scope.input, path).cloned(),
            Self::Connection(field) => scope.ctx.field(field).map(Value::from).or_else(|| {
                scope.defaults.iter().find(|(name, _)| name == field).map(|(_, value)| Value::from(value.clone()))
            }),
            Self::Key => Some(Value::from(scope.ctx.key)),
            Self::Body(path) => at(scope.body?, path).cloned(),
            Self::Header(name) => {
                scope.headers.iter().find(|(have, _)| have == name).map(|(_, value)| Value::from(value.clone()))
            }
        }
    }

    fn name(&self) -> String {
        match self {
            Self::Input(path) => path.join("."),
            Self::Connection(field) => format!("{field} of the connection"),
            Self::Key => "key".to_owned(),
            Self::Body(path) => format!("{} of the answer", path.join(".")),
            Self::Header(name) => format!("header {name} of the answer"),
        }
    }
}

/// What stands at a path; a number is a position in a list, `*` the first entry under which the rest exists.
pub(crate) fn at<'v>(value: &'v Value, path: &[String]) -> Option<&'v Value> {
    let Some((first, rest)) = path.split_first() else {
        return Some(value);
    };
    match value {
        Value::Map(map) if first == "*" => map.values().find_map(|inner| at(inner, rest)),
        Value::List(items) if first == "*" => items.iter().find_map(|inner| at(inner, rest)),
        Value::Map(map) => at(map.get(first)?, rest),
        Value::List(items) => at(items.get(first.parse::<usize>().ok()?)?, rest),
        _ => None,
    }
}

/// Splits `a.b.0`.
pub(crate) fn path(text: &str) -> Result<Vec<String>, String> {
    let parts: Vec<String> = text.split('.').map(str::to_owned).collect();
    if parts.iter().any(String::is_empty) { Err(format!("`{text}` is not a path")) } else { Ok(parts) }
}

fn read_text(text: &str) -> Result<Template, String> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        let (inside, tail) = after.split_once('}').ok_or_else(|| format!("`{text}` has a `${{` without its `}}`"))?;
        if !before.is_empty() {
            pieces.push(Piece::Fixed(before.to_owned()));
        }
        pieces.push(Piece::Slot(read_slot(inside)?));
        rest = tail;
    }
    if pieces.is_empty() {
        return Ok(Template::Fixed(Value::from(text)));
    }
    if !rest.is_empty() {
        pieces.push(Piece::Fixed(rest.to_owned()));
    }
    Ok(match pieces.as_slice() {
        [Piece::Slot(slot)] => Template::Slot(slot.clone()),
        _ => Template::Text(pieces),
    })
}

fn read_slot(text: &str) -> Result<Slot, String> {
    let (body, optional) = text.strip_suffix('?').map_or((text, false), |body| (body, true));
    let sources = body.split('|').map(|source| read_source(source.trim())).collect::<Result<_, _>>()?;
    Ok(Slot { sources, optional })
}

fn read_source(text: &str) -> Result<Source, String> {
    match text.split_once('.') {
        Some(("input", rest)) => path(rest).map(Source::Input),
        Some(("connection", field)) if !field.contains('.') => Ok(Source::Connection(field.to_owned())),
        Some(("body", rest)) => path(rest).map(Source::Body),
        Some(("header", name)) => Ok(Source::Header(name.to_ascii_lowercase())),
        None if text == "key" => Ok(Source::Key),
        _ => Err(format!("`${{{text}}}` is none of input.…, connection.…, key, body.… and header.…")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::{EgressPolicy, Http};

    fn fill(template: &str, input: &str) -> Result<Option<String>, String> {
        let table: toml::Table = toml::from_str(&format!("t = {template}")).map_err(|error| error.to_string())?;
        let template = Template::read(&table["t"])?;
        let http = Http::new(EgressPolicy::default()).unwrap();
        let sent = std::sync::atomic::AtomicBool::new(false);
        let settings = [("from".to_owned(), "shop@acme.example".to_owned()), ("empty".to_owned(), String::new())];
        let ctx = CallCtx {
            http: &http,
            settings: &settings,
            secrets: &[],
            key: "aura_k",
            timeout: std::time::Duration::ZERO,
            now_ms: 0,
            sent: &sent,
        };
        let input = Value::from_json(input.as_bytes()).unwrap();
        let body = Value::from_json(br#"{"data":{"rows":[{"id":7}],"m":{"userErrors":[]}}}"#).unwrap();
        let defaults = [("version".to_owned(), "2026-10".to_owned())];
        let scope = Scope { input: &input, ctx: &ctx, defaults: &defaults, body: Some(&body), headers: &[] };
        template.fill(&scope).map(|value| value.map(|value| value.to_json())).map_err(|gap| gap.to_string())
    }

    #[test]
    fn slots_are_filled() {
        let check = |template: &str, input: &str, expected: Result<Option<&str>, &str>| {
            let got = fill(template, input);
            let same = match (&got, expected) {
                (Ok(value), Ok(expected)) => value.as_deref() == expected,
                (Err(error), Err(part)) => error.contains(part),
                _ => false,
            };
            assert!(same, "{template} with {input}: {got:?}, expected {expected:?}");
        };
        check(r#""plain""#, "{}", Ok(Some(r#""plain""#)));
        check(r#""${input.n}""#, r#"{"n": 612.10}"#, Ok(Some("612.10")));
        check(
            r#""${input.list}""#,
            r#"{"list": [1, {"a": 123456789012345678901234567890}]}"#,
            Ok(Some(r#"[1,{"a":123456789012345678901234567890}]"#)),
        );
        check(r#""id:${input.n}/${key}""#, r#"{"n": 5}"#, Ok(Some(r#""id:5/aura_k""#)));
        check(r#""${input.from | connection.from}""#, "{}", Ok(Some(r#""shop@acme.example""#)));
        check(r#""${input.from | connection.from}""#, r#"{"from": "x"}"#, Ok(Some(r#""x""#)));
        check(r#""v${connection.version}""#, "{}", Ok(Some(r#""v2026-10""#)));
        check(r#""${connection.empty}""#, "{}", Err("empty of the connection"));
        check(r#""${input.a}""#, r#"{"a": null}"#, Err("`a` is missing"));
        check(r#""${input.a?}""#, "{}", Ok(None));
        check(r#"{ a = "${input.a?}", b = [true, 1, "${input.a?}"] }"#, "{}", Ok(Some(r#"{"b":[true,1]}"#)));
        check(r#""x${input.a}""#, r#"{"a": []}"#, Err("is list and cannot stand inside text"));
        check(r#""${body.data.rows.0.id}""#, "{}", Ok(Some("7")));
        check(r#""${body.data.*.0.id}""#, "{}", Ok(Some("7")));
        check(r#""${header.x-id?}""#, "{}", Ok(None));
        check(r#""${input.a}""#, r#"{"a": "${key}"}"#, Ok(Some(r#""${key}""#)));
        check(r#""${secret.a}""#, "{}", Err("is none of input"));
        check(r#""${input.a""#, "{}", Err("without its `}`"));
        check(r#""${input..a}""#, "{}", Err("is not a path"));
        check("1.5", "{}", Err("written as text"));
    }
}
