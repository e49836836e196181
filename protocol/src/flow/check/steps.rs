//! Rules of step kinds and of the modifiers of calls: arms, answers, ends, effects, retries, timeouts.
//!
//! An effect may be narrowed by the author, never widened beyond what the action declares; for an `http`
//! step the author's word is the declaration.

use super::super::path::Path;
use super::super::scopes::{At, ScopeKind};
use super::super::suggest::did_you_mean;
use super::super::{
    Arm, Effect, Http, InDoubtPolicy, Kind, Reply, Respond, Retry, Span, Step, ask, await_for, code, kv, redact,
    support,
};
use super::Checks;
use super::triggers::is_name;
use crate::value::{Map, Value};

/// A call is tried at most this often.
const ATTEMPTS_MAX: u32 = 100;

impl Checks<'_> {
    pub(super) fn steps(&mut self) {
        let scopes = self.scopes;
        for (at, step, path) in scopes.steps() {
            self.modifiers(step, &path);
            self.step_limits(step, &path);
            self.joined(step, &path);
            self.repeated(step, at, &path);
            self.ruled(step, &path);
            self.redacted(step, &path);
            match &step.kind {
                Kind::Uses { action, connection, .. } => self.uses(action, connection.as_deref(), &path),
                Kind::Http(http) => self.http(http, &path.field("http")),
                Kind::Branch(arms) => self.arms(arms, &path.field("branch")),
                Kind::Respond(respond) => self.respond(respond, at, &path),
                Kind::Stop(_) => self.stop(step, at, &path),
                Kind::Kv(value) => self.kv(value, &path.field("kv")),
                Kind::Wait(value) => self.wait(value, &path.field("wait")),
                Kind::Approval(value) => {
                    if let Err((field, message, hint)) = ask::shape(value) {
                        let own = path.field("approval");
                        let place = if field.is_empty() { own } else { own.field(&field) };
                        self.error(&place, message, hint);
                    }
                }
                Kind::Emit(value) => self.emits(value, &path.field("emit")),
                Kind::Call(value) => self.called(value, &path.field("call")),
                Kind::Code(value) => self.code(value, step, &path),
                Kind::Loop { with, steps } => self.loops(with, steps, step, &path),
                Kind::Try { steps, catch } => self.tries(steps, catch, &path.field("try")),
                _ => {}
            }
        }
    }

    fn redacted(&mut self, step: &Step, path: &Path) {
        for wrong in step.redact.iter().filter_map(|text| redact::read(text).err()) {
            self.error(&path.field("redact"), wrong, "write paths such as `output.token`");
        }
    }

    fn uses(&mut self, action: &str, connection: Option<&str>, path: &Path) {
        let parts: Vec<&str> = action.split('.').collect();
        let is_word = |text: &&str| {
            !text.is_empty()
                && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-')
        };
        if parts.len() != 2 || !parts.iter().all(is_word) {
            let message = format!("`{}` names no action", crate::text::display(action));
            self.error(&path.field("uses"), message, "write `connector.action`, as in `slack.post_message`");
        }
        if let Some(name) = connection.filter(|name| !is_name(name)) {
            let message = format!("`{}` cannot name a connection", crate::text::display(name));
            self.error(&path.field("connection"), message, "use letters, digits, `-`, `_` and `.`; no expression");
        }
    }

    fn http(&mut self, http: &Http, path: &Path) {
        let is_web = http.url.starts_with("http://") || http.url.starts_with("https://");
        if !is_web && !http.url.trim_start().starts_with("{{") {
            let message = format!("`{}` is no web address", crate::text::display(&http.url));
            self.error(&path.field("url"), message, "it begins with https:// or http://, or is an expression");
        }
        if http.body.is_some() && http.form.is_some() {
            self.error(&path.field("form"), "a request has either a `body` or a `form`", "keep one of the two");
        }
        if matches!(http.method.as_str(), "GET" | "HEAD") {
            for (key, _) in [("body", http.body.is_some()), ("form", http.form.is_some())].iter().filter(|it| it.1) {
                let message = format!("a {} request with a `{key}` is ignored by most servers", http.method);
                self.warn(&path.field(key), message, "write `method: POST`, or use `query`");
            }
        }
        self.headers(&http.headers, &path.field("headers"), false);
    }

    /// Headers of a request may be numbers and booleans; those of an answer are texts.
    fn headers(&mut self, headers: &Map, path: &Path, only_text: bool) {
        for (name, value) in headers {
            let path = path.field(name);
            let is_token = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
            if name.is_empty() || !name.chars().all(is_token) {
                let message = format!("`{}` is no name of a header", crate::text::display(name));
                self.error(&path, message, "use letters, digits and `-`");
            }
            match value {
                Value::Str(text) if text.chars().any(char::is_control) => {
                    self.error(&path, "a header has no control characters", "remove line breaks and tabs");
                }
                Value::Str(_) => {}
                Value::Int(_) | Value::Dec(_) | Value::Bool(_) if !only_text => {}
                other => self.error(&path, format!("a header must be a text, this is {}", other.kind()), ""),
            }
        }
    }

    fn kv(&mut self, value: &Value, path: &Path) {
        let shape = match kv::shape(value) {
            Ok(shape) => shape,
            Err((field, message, hint)) => {
                let path = if field.is_empty() { path.clone() } else { path.field(&field) };
                return self.error(&path, message, hint);
            }
        };
        let name = path.field(shape.operation);
        match shape.name {
            Value::Str(text) if text.is_empty() || text.len() > kv::NAME_MAX => {
                let message = format!("the name of what is kept has 1 to {} bytes", kv::NAME_MAX);
                self.error(&name, message, "give it a name such as `orders-{{ trigger.body.id }}`");
            }
            Value::Str(_) | Value::Int(_) => {}
            other => self.error(&name, format!("a name must be text, this is {}", other.kind()), ""),
        }
        match shape.fields.get("ttl") {
            Some(Value::Str(text)) if !text.contains("{{") => {
                if let Err(message) = text.parse::<Span>() {
                    self.error(&path.field("ttl"), message, "write a duration such as `7d`");
                }
            }
            None | Some(Value::Str(_)) => {}
            Some(other) => {
                let message = format!("`ttl` must be a duration, this is {}", other.kind());
                self.error(&path.field("ttl"), message, "write a duration such as `7d`");
            }
        }
        if let Some(by) = shape.fields.get("by")
            && !matches!(by, Value::Int(_) | Value::Dec(_))
            && !by.as_str().is_some_and(|text| text.contains("{{"))
        {
            let message = format!("`by` must be a number, this is {}", by.kind());
            self.error(&path.field("by"), message, "write a number such as `1` or `-2`");
        }
    }

    fn wait(&mut self, value: &Value, path: &Path) {
        let shape = match await_for::shape(value) {
            Ok(shape) => shape,
            Err((field, message, hint)) => {
                let path = if field.is_empty() { path.clone() } else { path.field(&field) };
                return self.error(&path, message, hint);
            }
        };
        let Some(event) = shape.event else { return };
        let triggers = &self.document.flow.triggers;
        let path = path.field("event");
        match triggers.iter().find(|trigger| trigger.id == event.trigger) {
            None => {
                let ids: Vec<&str> = triggers.iter().map(|trigger| trigger.id.as_str()).collect();
                let message = format!("the flow has no trigger `{}`", crate::text::display(event.trigger));
                self.error(&path, message, did_you_mean(event.trigger, ids));
            }
            Some(trigger) if matches!(trigger.on.as_str(), "manual" | "schedule" | "called" | "flow_failed") => {
                let message = format!("a `{}` trigger brings no events that could be awaited", trigger.on);
                self.error(&path, message, "name a `webhook` trigger or one of a connector");
            }
            Some(trigger)
                if trigger.debounce.is_some()
                    || trigger.batch.is_some()
                    || trigger.throttle.is_some()
                    || trigger.reply != Reply::Ack =>
            {
                let message = format!("events of `{}` go to the runs that wait for them, one by one", trigger.id);
                self.error(&path, message, "leave `debounce`, `batch`, `throttle` and `reply` out of that trigger");
            }
            Some(_) => {}
        }
    }

    fn emits(&mut self, value: &Value, path: &Path) {
        match value.get("event") {
            None => self.error(path, "the key `event` is missing", "write what happened: `event: order_paid`"),
            Some(Value::Str(name)) if is_name(name) => {}
            Some(_) => {
                let hint = "use letters, digits, `-`, `_` and `.`; what differs belongs into `body`";
                self.error(&path.field("event"), "`event` is a name, no expression", hint);
            }
        }
        let outside = match value.get("to") {
            None => false,
            Some(Value::Str(to)) if to == "flows" => false,
            Some(Value::Str(to)) if to == "subscribers" || to == "everyone" => true,
            Some(_) => {
                let hint = "write flows, subscribers (outside of this installation) or everyone";
                self.error(&path.field("to"), "`to` does not say who gets the event", hint);
                return;
            }
        };
        if !outside && value.get("customer").is_some() {
            let hint = "write `to: subscribers`, or leave `customer` out";
            self.error(&path.field("customer"), "flows have no customer: only subscribers do", hint);
        }
    }

    fn called(&mut self, value: &Value, path: &Path) {
        match value.get("flow") {
            Some(Value::Str(name)) if name.contains("{{") => {
                let hint = "write its name; a `branch` chooses among several";
                self.error(&path.field("flow"), "which flow is called cannot be computed", hint);
            }
            Some(Value::Str(_)) => {}
            Some(_) => self.error(&path.field("flow"), "`flow` names a flow", "write its name"),
            None => self.error(path, "the key `flow` is missing", "write the name of the flow that is called"),
        }
        for key in ["wait", "detach"] {
            if let Some(other) = value.get(key).filter(|value| **value != Value::Bool(true)) {
                let message = format!("`{key}` can only be true, this is {}", super::super::shown(other));
                self.error(&path.field(key), message, "a call waits unless it says `detach: true`");
            }
        }
        if value.get("wait").is_some() && value.get("detach").is_some() {
            self.error(&path.field("detach"), "a call either waits or is detached", "keep one of the two");
        }
    }

    fn code(&mut self, value: &Value, step: &Step, path: &Path) {
        if let Err((field, message, hint)) = code::shape(value) {
            let own = path.field("code");
            let own = if field.is_empty() { own } else { own.field(field) };
            self.error(&own, message, hint);
        }
        if let Some(timeout) = step.timeout.filter(|timeout| timeout.ms == 0 || *timeout > code::TIME_MAX) {
            let message = format!("a script may take from 1ms to {}, not {timeout}", code::TIME_MAX);
            self.error(&path.field("timeout"), message, "give long work to a service, and call it");
        }
    }

    /// The caps of a loop, which every loop has.
    fn loops(&mut self, with: &Map, steps: &[Step], step: &Step, path: &Path) {
        let own = path.field("loop");
        if steps.is_empty() {
            self.error(&own, "the loop has no steps", "write `steps` with what to do in each iteration");
        }
        let most = support::ITERATIONS_MAX;
        let fits = |value: &Value| value.as_int().is_some_and(|number| (1..=i128::from(most)).contains(&number));
        if let Some(value) = with.get("max_iterations").filter(|value| !fits(value)) {
            let message =
                format!("`max_iterations` must be an integer from 1 to {most}, this is {}", super::super::shown(value));
            self.error(&own.field("max_iterations"), message, "");
        }
        if let Some(value) = with.get("max_duration") {
            let span = value.as_str().unwrap_or_default().parse::<Span>();
            if span.as_ref().map_or(true, |span| span.ms == 0) {
                let message = format!("`max_duration` must be a duration, this is {}", super::super::shown(value));
                self.error(&own.field("max_duration"), message, "write a duration such as `30m` or `7d`");
            }
            if let (Ok(span), Some(timeout)) = (span, step.timeout) {
                let message = format!("`max_duration` ({span}) and `timeout` ({timeout}) are the same limit");
                self.warn(&path.field("timeout"), message, "the shorter one counts; keep one of the two");
            }
        }
        for key in ["while", "until", "break_if"] {
            let path = own.field(key);
            match with.get(key) {
                None | Some(Value::Bool(_)) => {}
                Some(Value::Str(text)) if text.contains("{{") => {}
                Some(other) => {
                    let message = format!("`{key}` must be a condition, this is {}", super::super::shown(other));
                    self.error(&path, message, "write an expression: \"{{ … }}\"");
                }
            }
        }
    }

    fn tries(&mut self, steps: &[Step], catch: &[Step], path: &Path) {
        if steps.is_empty() {
            self.error(path, "the try has no steps", "write `steps` with what may fail");
        }
        if catch.is_empty() {
            let hint = "write `catch` with what to do then; a `set` is enough to go on";
            self.error(path, "a try says in `catch` what happens when its steps fail", hint);
        }
    }

    fn arms(&mut self, arms: &[Arm], path: &Path) {
        if arms.is_empty() {
            self.error(path, "the branch has no arms", "write `- when: \"{{ … }}\"` with `steps`");
        }
        for (index, _) in arms.iter().enumerate().filter(|(index, arm)| arm.when.is_none() && index + 1 < arms.len()) {
            let hint = "the arms after it would never be taken";
            self.error(&path.item(index), "`else` must be the last arm", hint);
        }
    }

    fn respond(&mut self, respond: &Respond, at: At, path: &Path) {
        let own = path.field("respond");
        let within =
            [(self.scopes.is_repeated(at.scope), "map"), (self.scopes.is_within(at.scope, &[ScopeKind::Loop]), "loop")];
        for (is_within, name) in within {
            if is_within {
                let message = format!("`respond` cannot stand inside a {name}: a run answers once");
                self.error(&own, message, format!("answer before or after the {name}"));
            }
        }
        let is_sure = |step: &Step| matches!(step.kind, Kind::Respond(_)) && step.when.is_none();
        let before = self.scopes.row(at.scope).map(|row| row.steps).unwrap_or_default().get(..at.step);
        let this_is_sure = self.scopes.step(at).is_some_and(is_sure);
        if let Some(first) = before.unwrap_or_default().iter().find(|step| is_sure(step))
            && this_is_sure
        {
            self.error(
                &own,
                format!("a run answers once, and `{}` has answered already", first.id),
                "keep one of the two",
            );
        }
        match &respond.status {
            None => {}
            Some(Value::Int(200..=599)) => {}
            Some(Value::Str(text)) if text.contains("{{") => {}
            Some(_) => self.error(&own.field("status"), "`status` must be an integer from 200 to 599", ""),
        }
        self.headers(&respond.headers, &own.field("headers"), true);
    }

    fn stop(&mut self, step: &Step, at: At, path: &Path) {
        for (kind, name) in [(ScopeKind::Finally, "finally"), (ScopeKind::Compensate, "compensate")] {
            if self.scopes.is_within(at.scope, &[kind]) {
                let message = format!("`stop` cannot stand in `{name}`: the run has its end already");
                self.error(&path.field("stop"), message, "leave it out");
            }
        }
        let Some(row) = self.scopes.row(at.scope) else { return };
        let follows = row.steps.get(at.step + 1).is_some_and(|next| next.needs.is_none());
        if step.when.is_none() && follows {
            let path = row.step_path(at.step + 1);
            self.warn(&path, format!("this step never starts: `{}` ends the run before it", step.id), "");
        }
    }

    fn modifiers(&mut self, step: &Step, path: &Path) {
        let kind = step.kind.name();
        if support::KINDS.contains(&kind) && !support::CALLS.contains(&kind) {
            let scope = support::SCOPES.contains(&kind);
            let timed = scope || kind == "code";
            let written = [
                ("retry", step.retry.is_some()),
                ("timeout", step.timeout.is_some() && !timed),
                ("effect", step.effect.is_some()),
                ("in_doubt", step.in_doubt.is_some()),
                ("i_accept_duplicates", step.i_accept_duplicates),
            ];
            for (key, _) in written.iter().filter(|(_, written)| *written) {
                let message = format!("`{key}` belongs to a call (`uses` or `http`), this is a `{kind}` step");
                self.error(&path.field(key), message, "leave it out");
            }
            if step.in_doubt == Some(InDoubtPolicy::Retry) {
                self.doubt(step, path);
            }
            if scope && step.timeout == Some(Span::from_ms(0)) {
                self.error(&path.field("timeout"), "a timeout of 0 ends the step before it starts", "");
            }
            return;
        }
        if step.timeout == Some(Span::from_ms(0)) {
            self.error(&path.field("timeout"), "a timeout of 0 ends the call before it starts", "");
        }
        if let Some(retry) = &step.retry {
            self.retry(retry, &path.field("retry"));
        }
        self.doubt(step, path);
    }

    fn retry(&mut self, retry: &Retry, path: &Path) {
        if retry.attempts == 0 || retry.attempts > ATTEMPTS_MAX {
            let message = format!("`attempts` must be from 1 to {ATTEMPTS_MAX}, this is {}", retry.attempts);
            self.error(&path.field("attempts"), message, "the first attempt counts: 1 never tries again");
        }
        if retry.factor_milli < 1000 {
            self.error(&path.field("factor"), "`factor` must be at least 1", "2 doubles the pause each time");
        }
        if retry.cap < retry.base {
            let message = format!("`cap` ({}) is shorter than `base` ({})", retry.cap, retry.base);
            self.error(&path.field("cap"), message, "");
        }
    }

    fn doubt(&mut self, step: &Step, path: &Path) {
        let effect = match &step.kind {
            Kind::Http(http) => Some(step.effect.unwrap_or_else(|| method_effect(&http.method))),
            _ => step.effect,
        };
        if step.in_doubt == Some(InDoubtPolicy::Retry) && !step.i_accept_duplicates {
            let hint = "write `i_accept_duplicates: true` beside it if twice is acceptable";
            self.error(&path.field("in_doubt"), "`in_doubt: retry` may do it twice outside", hint);
        }
        if step.i_accept_duplicates && step.in_doubt != Some(InDoubtPolicy::Retry) {
            let hint = "it goes with `in_doubt: retry`";
            self.warn(&path.field("i_accept_duplicates"), "`i_accept_duplicates` does nothing here", hint);
        }
        if step.in_doubt.is_some() && matches!(effect, Some(Effect::Read | Effect::Idempotent)) {
            let hint = "a call that may be repeated is repeated";
            self.warn(&path.field("in_doubt"), "this call is never in doubt", hint);
        }
    }
}

/// What an HTTP method does outside unless the author says otherwise (design §4).
#[must_use]
pub fn method_effect(method: &str) -> Effect {
    match method {
        "GET" | "HEAD" => Effect::Read,
        "PUT" | "DELETE" => Effect::Idempotent,
        _ => Effect::Once,
    }
}
