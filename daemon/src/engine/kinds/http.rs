//! `http`: a request of the flow's own. Its output is `{status, headers, body}`.
//!
//! GET and HEAD are `read`, PUT and DELETE `idempotent`, POST and PATCH `once` unless the step says
//! otherwise (design §4). A `keyed` request carries its key as `Idempotency-Key`.

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use aura_integrations::http::{Http, HttpRequest, HttpResponse, classify};
use aura_protocol::expr::{ExprError, Template};
use aura_protocol::flow::{Effect, Kind, Span, Step};
use aura_protocol::run::{CallOutcome, ErrorClass, Reach, StepError};
use aura_protocol::{Map, Value};
use futures::future::BoxFuture;

use super::{CallContext, Enter, Entered, StepKind, refused};
use crate::engine::core::plan::{ActionEffects, Builder, KEY_WINDOW, PlanError, StepIx};

const METHODS: &[&str] = &["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"];

#[derive(Debug)]
struct Request {
    method: String,
    parts: Template,
}

/// Compiles an `http` step.
///
/// # Errors
/// An expression is wrong.
pub fn compile(builder: &mut Builder<'_>, _ix: StepIx, step: &Step) -> Result<Box<dyn StepKind>, PlanError> {
    let Kind::Http(http) = &step.kind else { return Err(PlanError::Kind { step: step.id.clone(), kind: "http" }) };
    let method = if http.method.is_empty() { "GET".to_owned() } else { http.method.to_ascii_uppercase() };
    let mut parts = Map::new();
    parts.insert("method".into(), Value::from(method.as_str()));
    parts.insert("url".into(), Value::from(http.url.as_str()));
    if !http.query.is_empty() {
        parts.insert("query".into(), Value::Map(http.query.clone()));
    }
    if !http.headers.is_empty() {
        parts.insert("headers".into(), Value::Map(http.headers.clone()));
    }
    if let Some(body) = &http.body {
        parts.insert("body".into(), body.clone());
    }
    if let Some(form) = &http.form {
        parts.insert("form".into(), Value::Map(form.clone()));
    }
    Ok(Box::new(Request { method, parts: builder.template(step, &Value::Map(parts))? }))
}

impl StepKind for Request {
    fn enter(&self, at: &Enter<'_>) -> Result<Entered, ExprError> {
        let input = self.parts.eval(at.scope)?;
        if !METHODS.contains(&self.method.as_str()) {
            return Err(refused(format!("{} is no method; take one of {}", self.method, METHODS.join(", "))));
        }
        Ok(Entered::Call { input: input.value, draws: input.draws })
    }

    fn effect(&self, _actions: ActionEffects<'_>) -> Option<(Effect, Span)> {
        let effect = match self.method.as_str() {
            "GET" | "HEAD" => Effect::Read,
            "PUT" | "DELETE" => Effect::Idempotent,
            _ => Effect::Once,
        };
        Some((effect, KEY_WINDOW))
    }

    fn call<'a>(&'a self, context: CallContext, input: &'a Value) -> BoxFuture<'a, CallOutcome> {
        Box::pin(async move {
            let mut request = match request(input) {
                Ok(request) => request,
                Err(message) => {
                    return CallOutcome::Failed(StepError::new(ErrorClass::Invalid, message), Reach::Unsent);
                }
            };
            if !matches!(self.method.as_str(), "GET" | "HEAD") {
                request.headers.push(("idempotency-key".to_owned(), context.key.clone()));
            }
            request.timeout = context.timeout;
            request.redirects = 5;
            match context.http.send(request, &context.sent).await {
                Err((error, reach)) => CallOutcome::Failed(error, reach),
                Ok(response) => match classify(&response) {
                    Some((error, reach)) => CallOutcome::Failed(error, reach),
                    None => CallOutcome::Done(output(&response)),
                },
            }
        })
    }
}

/// Makes a request that only reads, as a step would; its output is a step's.
pub async fn read(http: &Http, input: &Value, timeout: Duration) -> CallOutcome {
    let mut request = match request(input) {
        Ok(request) => request,
        Err(message) => return CallOutcome::Failed(StepError::new(ErrorClass::Invalid, message), Reach::Unsent),
    };
    (request.timeout, request.redirects) = (timeout, 5);
    match http.send(request, &AtomicBool::new(false)).await {
        Err((error, reach)) => CallOutcome::Failed(error, reach),
        Ok(response) => match classify(&response) {
            Some((error, reach)) => CallOutcome::Failed(error, reach),
            None => CallOutcome::Done(output(&response)),
        },
    }
}

/// Whether a request can be made of a resolved input.
///
/// # Errors
/// What is wrong with it.
pub fn sendable(input: &Value) -> Result<(), String> {
    request(input).map(drop)
}

/// The request of a resolved input.
fn request(input: &Value) -> Result<HttpRequest, String> {
    let text = |name: &str| input.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let mut url = url::Url::parse(&text("url")).map_err(|error| format!("`{}` is no address: {error}", text("url")))?;
    for (name, value) in input.get("query").and_then(Value::as_map).into_iter().flatten() {
        url.query_pairs_mut().append_pair(name, &scalar(name, value)?);
    }
    let mut headers = Vec::new();
    for (name, value) in input.get("headers").and_then(Value::as_map).into_iter().flatten() {
        headers.push((name.to_ascii_lowercase(), scalar(name, value)?));
    }
    let typed = |headers: &[(String, String)]| headers.iter().any(|(name, _)| name == "content-type");
    let mut body = Vec::new();
    if let Some(form) = input.get("form").and_then(Value::as_map) {
        let mut pairs = url::form_urlencoded::Serializer::new(String::new());
        for (name, value) in form {
            pairs.append_pair(name, &scalar(name, value)?);
        }
        body = pairs.finish().into_bytes();
        if !typed(&headers) {
            headers.push(("content-type".to_owned(), "application/x-www-form-urlencoded".to_owned()));
        }
    } else if let Some(value) = input.get("body") {
        body = match value {
            Value::Null => Vec::new(),
            Value::Str(text) => text.clone().into_bytes(),
            other => other.to_json().into_bytes(),
        };
        if !typed(&headers) && !matches!(value, Value::Str(_) | Value::Null) {
            headers.push(("content-type".to_owned(), "application/json".to_owned()));
        }
    }
    Ok(HttpRequest { method: text("method"), url: url.into(), headers, body, ..HttpRequest::default() })
}

fn scalar(name: &str, value: &Value) -> Result<String, String> {
    match value {
        Value::Str(text) | Value::Dec(text) => Ok(text.clone()),
        Value::Int(number) => Ok(number.to_string()),
        Value::Bool(yes) => Ok(yes.to_string()),
        other => Err(format!("{name} must be text, a number or true/false, it is {}", other.kind())),
    }
}

fn output(response: &HttpResponse) -> Value {
    let headers: Map =
        response.headers.iter().map(|(name, value)| (name.clone(), Value::from(value.as_str()))).collect();
    let json = headers.get("content-type").and_then(Value::as_str).is_some_and(|kind| kind.contains("json"));
    let text = || Value::Str(String::from_utf8_lossy(&response.body).into_owned());
    let body = if response.body.is_empty() {
        Value::Null
    } else if json {
        Value::from_json(&response.body).unwrap_or_else(|_| text())
    } else {
        text()
    };
    Value::object([
        ("status", Value::Int(i128::from(response.status))),
        ("headers", Value::Map(headers)),
        ("body", body),
    ])
}
