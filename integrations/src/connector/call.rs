//! One call of an action: inputs checked, request made, answer judged.
//!
//! Secrets are out of an answer already when it comes here ([`crate::redact::Sink`]), out of the whole of it: a piece
//! of one must not be left at a cut. Order of judgement: the connector's error rules (a 200 may be an error), then the status, then the
//! output. A 2xx whose output cannot be read is *unknown*: the peer did something.

use aura_protocol::descriptor::Field;
use aura_protocol::run::{CallOutcome, ErrorClass, Reach, StepError};
use aura_protocol::text::display;
use aura_protocol::value::{Map, Value};
use url::Url;

use super::{Call, Connector, WaitUnit};
use crate::ctx::CallCtx;
use crate::http::{HttpRequest, HttpResponse, detail, status_class};
use crate::template::{Gap, Scope, Template, at};

/// Most characters of a peer's words in a sentence.
const WORDS_MAX: usize = 300;

impl Connector {
    /// Calls one of its actions, once.
    pub(crate) async fn call(&self, ctx: &CallCtx<'_>, action: usize, input: &Value) -> CallOutcome {
        let (Some(action), Some(call)) = (self.descriptor.actions.get(action), self.calls.get(action)) else {
            let error = StepError::new(ErrorClass::Internal, format!("{} lost an action", self.descriptor.title));
            return CallOutcome::Failed(error, Reach::Unsent);
        };
        let unsent = |problem: String| {
            let sentence = format!("{}.{}: {problem}", self.descriptor.id, action.id);
            CallOutcome::Failed(StepError::new(ErrorClass::Invalid, sentence), Reach::Unsent)
        };
        let mut map = match check_input(&action.input, input) {
            Ok(map) => map,
            Err(problem) => return unsent(problem),
        };
        if let Some(prepare) = self.hooks.prepare
            && let Err(problem) = prepare(&action.id, &mut map)
        {
            return unsent(problem);
        }
        let input = Value::Map(map);
        let request = match self.request(ctx, call, &input) {
            Ok(request) => request,
            Err(problem) => return unsent(problem),
        };
        match ctx.http.send(request, ctx.sent).await {
            Ok(response) => self.judge(ctx, call, &input, &response),
            Err((error, reach)) => CallOutcome::Failed(error, reach),
        }
    }

    /// Whether one of its actions takes an input, as a call would find out.
    pub(crate) fn check_input(&self, action: &str, input: &Value) -> Result<(), String> {
        let found = self.descriptor.actions.iter().find(|known| known.id == action);
        let known = found.ok_or_else(|| format!("there is no action `{}`", display(action)))?;
        let mut map = check_input(&known.input, input)?;
        self.hooks.prepare.map_or(Ok(()), |prepare| prepare(action, &mut map))
    }

    fn request(&self, ctx: &CallCtx<'_>, call: &Call, input: &Value) -> Result<HttpRequest, String> {
        let scope = Scope { input, ctx, defaults: &self.defaults, body: None, headers: &[] };
        let base = self.base(&scope)?;
        let path = path(&call.path, &scope)?;
        let mut headers = vec![("accept".to_owned(), "application/json".to_owned())];
        for (name, template) in &self.headers {
            headers.push((name.clone(), template.text(&scope).map_err(|gap| gap.to_string())?));
        }
        if let Some(name) = &call.key_header {
            headers.push((name.clone(), ctx.key.to_owned()));
        }
        let mut body = Vec::new();
        if let Some(template) = &call.body {
            let value = template.fill(&scope).map_err(|gap| gap.to_string())?.unwrap_or_default();
            body = value.to_json().into_bytes();
            headers.push(("content-type".to_owned(), "application/json; charset=utf-8".to_owned()));
        }
        Ok(HttpRequest {
            method: call.method.clone(),
            url: format!("{base}{path}"),
            headers,
            body,
            timeout: ctx.timeout,
            redirects: 0,
        })
    }

    /// The first base address that the connection fills, without a slash at its end.
    fn base(&self, scope: &Scope<'_>) -> Result<String, String> {
        let mut gap = None;
        for template in &self.base_url {
            match template.text(scope) {
                Ok(text) => {
                    let bad = || format!("`{}` is not a base address", display(&text));
                    let url = Url::parse(&text).map_err(|_| bad())?;
                    // A `?`, `#` or `@` here would turn the path that follows into something else.
                    if !url.has_host() || text.contains(['?', '#', '@', '\\']) {
                        return Err(bad());
                    }
                    return Ok(text.trim_end_matches('/').to_owned());
                }
                Err(found) => gap = gap.or(Some(found)),
            }
        }
        Err(gap.map_or_else(|| "it has no base address".to_owned(), |gap| gap.to_string()))
    }

    fn judge(&self, ctx: &CallCtx<'_>, call: &Call, input: &Value, response: &HttpResponse) -> CallOutcome {
        let body = if response.body.is_empty() { Ok(Value::Null) } else { Value::from_json(&response.body) };
        let known = body.as_ref().ok();
        let rule = known.and_then(|body| {
            self.errors.iter().find(|rule| {
                (rule.status.is_empty() || rule.status.contains(&response.status))
                    && at(body, &rule.at).is_some_and(|found| {
                        if rule.is.is_empty() { !is_nothing(found) } else { rule.is.contains(found) }
                    })
            })
        });
        let (class, reach, wait) = match rule {
            Some(rule) => (rule.class, rule.reach, status_class(response).2),
            None if response.is_success() => {
                return match body {
                    Ok(body) => self.output(ctx, call, input, response, &body),
                    Err(error) => {
                        let what = format!("answered with something that is not JSON ({error})");
                        self.unreadable(call, response, ErrorClass::Transient, &what)
                    }
                };
            }
            None => status_class(response),
        };
        let words = known.and_then(|body| self.words(body));
        let mut error = StepError::new(
            class,
            match &words {
                Some(words) => format!("{} refused {}: {words}", self.descriptor.title, call.action),
                None => format!("{} answered {} with status {}", self.descriptor.title, call.action, response.status),
            },
        );
        if reach == Reach::Unknown
            && let Some(words) = &words
        {
            error.message = format!("{} could not say whether it did {}: {words}", self.descriptor.title, call.action);
        }
        let code = known.and_then(|body| self.codes.iter().find_map(|path| at(body, path)?.as_str()));
        error.code = Some(code.map_or_else(|| response.status.to_string(), short));
        error.detail = detail(&response.body);
        error.retry_after_ms = match class {
            ErrorClass::RateLimited => wait.or_else(|| self.wait(ctx, response, known)),
            _ => wait,
        };
        CallOutcome::Failed(error, reach)
    }

    /// How long a throttled answer asks to wait, beyond `Retry-After`.
    fn wait(&self, ctx: &CallCtx<'_>, response: &HttpResponse, body: Option<&Value>) -> Option<u64> {
        let from_body = self.hooks.wait.and_then(|read| read(body?));
        from_body.or_else(|| {
            self.waits.iter().find_map(|wait| {
                let number: i64 = response.header(&wait.header)?.trim().parse().ok()?;
                let ms = number.checked_mul(1000)?;
                u64::try_from(if wait.unit == WaitUnit::Seconds { ms } else { ms.saturating_sub(ctx.now_ms) }).ok()
            })
        })
    }

    fn words(&self, body: &Value) -> Option<String> {
        let text = self.messages.iter().find_map(|path| at(body, path)?.as_str())?;
        Some(short(text))
    }

    fn output(
        &self,
        ctx: &CallCtx<'_>,
        call: &Call,
        input: &Value,
        response: &HttpResponse,
        body: &Value,
    ) -> CallOutcome {
        let scope = Scope { input, ctx, defaults: &self.defaults, body: Some(body), headers: &response.headers };
        let gap = match call.output.fill(&scope) {
            Ok(value) => return CallOutcome::Done(value.unwrap_or_default()),
            Err(gap) => gap,
        };
        match (call.when_missing, gap) {
            (Some(class), Gap::Missing(_)) => {
                let sentence = format!("{} has nothing for {}", self.descriptor.title, call.action);
                let mut error = StepError::new(class, sentence);
                error.code = Some(response.status.to_string());
                CallOutcome::Failed(error, Reach::Refused)
            }
            (_, gap) => self.unreadable(
                call,
                response,
                ErrorClass::Internal,
                &format!("answered in a form we do not know: {gap}"),
            ),
        }
    }

    fn unreadable(&self, call: &Call, response: &HttpResponse, class: ErrorClass, what: &str) -> CallOutcome {
        let mut error = StepError::new(class, format!("{} {what} to {}", self.descriptor.title, call.action));
        error.code = Some(response.status.to_string());
        error.detail = detail(&response.body);
        CallOutcome::Failed(error, Reach::Unknown)
    }
}

/// The inputs as an object, if they are what the action declares: closed, complete, of the right types.
fn check_input(fields: &[Field], input: &Value) -> Result<Map, String> {
    let map = match input {
        Value::Map(map) => map.clone(),
        Value::Null => Map::new(),
        other => return Err(format!("`with` must be an object, not {}", other.kind())),
    };
    for (name, value) in &map {
        let Some(field) = fields.iter().find(|field| field.name == *name) else {
            let known: Vec<&str> = fields.iter().map(|field| field.name.as_str()).collect();
            return Err(format!("input `{}` is not known, it takes {}", display(name), known.join(", ")));
        };
        let fits = match field.kind.as_str() {
            _ if value.is_null() => true,
            "decimal" => matches!(value, Value::Int(_) | Value::Dec(_)),
            "any" => true,
            kind => value.kind() == kind,
        };
        if !fits {
            return Err(format!("input `{name}` must be {}, not {}", field.kind, value.kind()));
        }
    }
    for field in fields {
        if field.required && map.get(&field.name).is_none_or(Value::is_null) {
            return Err(format!("input `{}` is missing", field.name));
        }
    }
    Ok(map)
}

/// A path whose inserted parts are percent-encoded, so that an input cannot leave its segment.
fn path(template: &Template, scope: &Scope<'_>) -> Result<String, String> {
    use crate::template::Piece;
    let Template::Text(pieces) = template else {
        return template.text(scope).map_err(|gap| gap.to_string());
    };
    let mut out = String::new();
    for piece in pieces {
        match piece {
            Piece::Fixed(text) => out.push_str(text),
            Piece::Slot(slot) => {
                let text = Template::Slot(slot.clone()).text(scope).map_err(|gap| gap.to_string())?;
                if text.is_empty() || text == "." || text == ".." {
                    return Err("an input of the path is empty or made of dots".to_owned());
                }
                for byte in text.bytes() {
                    if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
                        out.push(char::from(byte));
                    } else {
                        out.push_str(&format!("%{byte:02X}"));
                    }
                }
            }
        }
    }
    Ok(out)
}

/// The beginning of a peer's words, to be shown.
fn short(text: &str) -> String {
    let head: String = text.chars().take(WORDS_MAX).collect();
    display(&head)
}

fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::List(items) => items.is_empty(),
        Value::Map(map) => map.is_empty(),
        Value::Str(text) => text.is_empty(),
        Value::Bool(_) | Value::Int(_) | Value::Dec(_) | Value::Blob(_) => false,
    }
}
