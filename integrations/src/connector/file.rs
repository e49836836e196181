//! The shape of `connector.toml`, closed: an unknown key is refused with its line.

use aura_protocol::descriptor::{Action, Connector as Descriptor, Field, TriggerKind};
use aura_protocol::flow::Effect;
use aura_protocol::run::{ErrorClass, Reach};
use aura_protocol::value::Value;
use serde::Deserialize;

use super::{Call, Connector, ErrorRule, Hooks, WaitHeader, WaitUnit};
use crate::template::{Template, path};

/// Types that a field can have.
const KINDS: &[&str] = &["text", "integer", "decimal", "boolean", "list", "object", "any"];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    pub(super) id: String,
    title: String,
    #[serde(default)]
    signing_secret: Option<String>,
    /// Tried in order: the first whose slots are all filled.
    base_url: Vec<String>,
    /// Sent with every request.
    #[serde(default)]
    headers: toml::Table,
    /// Paths to the peer's own words in an error body.
    #[serde(default)]
    message: Vec<String>,
    /// Paths to the peer's code in an error body.
    #[serde(default)]
    code: Vec<String>,
    #[serde(default)]
    wait: Vec<WaitFile>,
    #[serde(default)]
    fields: Vec<FieldFile>,
    #[serde(default)]
    errors: Vec<ErrorFile>,
    #[serde(default)]
    actions: Vec<ActionFile>,
    #[serde(default)]
    triggers: Vec<TriggerFile>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FieldFile {
    name: String,
    #[serde(default)]
    required: bool,
    #[serde(default)]
    secret: bool,
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    default: Option<String>,
    help: String,
    #[serde(default)]
    example: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WaitFile {
    header: String,
    unit: WaitUnit,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ErrorFile {
    #[serde(default)]
    status: Vec<u16>,
    at: String,
    #[serde(default)]
    is: Vec<toml::Value>,
    class: ErrorClass,
    #[serde(default)]
    reach: Option<Reach>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ActionFile {
    id: String,
    title: String,
    effect: Effect,
    #[serde(default)]
    key_window_ms: u64,
    #[serde(default)]
    input: Vec<FieldFile>,
    request: RequestFile,
    answer: AnswerFile,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RequestFile {
    method: String,
    path: String,
    #[serde(default)]
    key_header: Option<String>,
    #[serde(default)]
    body: Option<toml::Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AnswerFile {
    output: toml::Value,
    #[serde(default)]
    when_missing: Option<ErrorClass>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TriggerFile {
    id: String,
    title: String,
    scheme: String,
    #[serde(default)]
    matches: toml::Table,
    #[serde(default)]
    reply_within_ms: Option<u64>,
    #[serde(default)]
    multipart: bool,
    #[serde(default)]
    backfill: Option<toml::Value>,
}

impl File {
    pub(super) fn compile(self, hooks: Hooks) -> Result<Connector, String> {
        let defaults =
            self.fields.iter().filter_map(|field| Some((field.name.clone(), field.default.clone()?))).collect();
        let mut actions = Vec::new();
        let mut calls = Vec::new();
        for action in self.actions {
            calls.push(call(&action).map_err(|problem| format!("action {}: {problem}", action.id))?);
            actions.push(Action {
                id: action.id,
                title: action.title,
                effect: action.effect,
                key_window_ms: action.key_window_ms,
                input: fields(action.input)?,
            });
        }
        Ok(Connector {
            descriptor: Descriptor {
                id: self.id,
                title: self.title,
                fields: fields(self.fields)?,
                actions,
                triggers: self.triggers.into_iter().map(trigger).collect::<Result<_, _>>()?,
            },
            signing_secret: self.signing_secret,
            hooks,
            base_url: self.base_url.into_iter().map(text).collect::<Result<_, _>>()?,
            headers: self
                .headers
                .into_iter()
                .map(|(name, value)| Ok((header_name(&name)?, Template::read(&value)?)))
                .collect::<Result<_, String>>()?,
            defaults,
            messages: self.message.iter().map(|text| path(text)).collect::<Result<_, _>>()?,
            codes: self.code.iter().map(|text| path(text)).collect::<Result<_, _>>()?,
            waits: self.wait.into_iter().map(|wait| WaitHeader { header: wait.header, unit: wait.unit }).collect(),
            errors: self.errors.into_iter().map(rule).collect::<Result<_, _>>()?,
            calls,
        })
    }
}

fn text(text: String) -> Result<Template, String> {
    Template::read(&toml::Value::String(text))
}

fn header_name(name: &str) -> Result<String, String> {
    if name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-') {
        Ok(name.to_owned())
    } else {
        Err(format!("header `{name}` is written in lower case"))
    }
}

fn fields(list: Vec<FieldFile>) -> Result<Vec<Field>, String> {
    list.into_iter()
        .map(|field| {
            if !KINDS.contains(&field.kind.as_str()) {
                return Err(format!(
                    "field {} has type `{}`, which is none of {}",
                    field.name,
                    field.kind,
                    KINDS.join(", ")
                ));
            }
            Ok(Field {
                name: field.name,
                required: field.required,
                secret: field.secret,
                kind: field.kind,
                default: field.default,
                help: field.help,
                example: field.example,
            })
        })
        .collect()
}

fn call(action: &ActionFile) -> Result<Call, String> {
    let request = &action.request;
    if !matches!(request.method.as_str(), "GET" | "POST" | "PUT" | "PATCH" | "DELETE") {
        return Err(format!("method `{}` is none of GET, POST, PUT, PATCH, DELETE", request.method));
    }
    if !request.path.starts_with('/') {
        return Err(format!("path `{}` does not begin with /", request.path));
    }
    Ok(Call {
        action: action.id.clone(),
        method: request.method.clone(),
        path: text(request.path.clone())?,
        key_header: request.key_header.as_deref().map(header_name).transpose()?,
        body: request.body.as_ref().map(Template::read).transpose()?,
        output: Template::read(&action.answer.output)?,
        when_missing: action.answer.when_missing,
    })
}

fn rule(file: ErrorFile) -> Result<ErrorRule, String> {
    let is = file
        .is
        .into_iter()
        .map(|value| match Template::read(&value)? {
            Template::Fixed(value) => Ok(value),
            _ => Err(format!("error rule at {}: `is` holds plain values", file.at)),
        })
        .collect::<Result<Vec<Value>, String>>()?;
    let at = path(&file.at)?;
    Ok(ErrorRule { status: file.status, at, is, class: file.class, reach: file.reach.unwrap_or(Reach::Refused) })
}

/// A value of the file as it stands; its texts hold expressions of flows, no slots of ours.
fn plain(value: &toml::Value) -> Value {
    match value {
        toml::Value::String(text) => Value::from(text.as_str()),
        toml::Value::Integer(number) => Value::Int(i128::from(*number)),
        toml::Value::Boolean(yes) => Value::Bool(*yes),
        toml::Value::Array(items) => Value::List(items.iter().map(plain).collect()),
        toml::Value::Table(table) => Value::Map(table.iter().map(|(key, value)| (key.clone(), plain(value))).collect()),
        other => Value::from(other.to_string()),
    }
}

fn trigger(file: TriggerFile) -> Result<TriggerKind, String> {
    let matches = file
        .matches
        .into_iter()
        .map(|(name, value)| match value {
            toml::Value::String(text) => Ok((header_name(&name)?, text)),
            _ => Err(format!("trigger {}: `matches` holds header values as text", file.id)),
        })
        .collect::<Result<_, String>>()?;
    let backfill = match file.backfill.as_ref().map(plain) {
        None => None,
        Some(Value::Map(source)) => {
            let wrong = |wrong: Vec<aura_protocol::schedule::Wrong>| {
                let said = wrong.into_iter().map(|wrong| format!("{}: {}", wrong.key, wrong.message));
                format!("trigger {}: backfill: {}", file.id, said.collect::<Vec<_>>().join("; "))
            };
            aura_protocol::source::Source::read(&source, None).map_err(wrong)?;
            Some(Value::Map(source))
        }
        Some(_) => return Err(format!("trigger {}: `backfill` is a table", file.id)),
    };
    Ok(TriggerKind {
        id: file.id,
        title: file.title,
        scheme: file.scheme,
        matches,
        reply_within_ms: file.reply_within_ms,
        multipart: file.multipart,
        backfill,
    })
}
