//! The canonical form: one JSON text for one flow, however it was written, and its hash, the version.
//!
//! Keys are sorted, defaults are left out, comments are gone. The canonical form is itself a flow file:
//! reading it gives the same flow.

use sha2::{Digest, Sha256};

use super::read::DEDUPE_WINDOW;
use super::{
    Arm, Auth, Batch, Flow, Hmac, Http, Kind, Limit, Need, OnExcess, Rate, Reply, Retry, Sleep, Span, Step, Stop,
    Throttle, Trigger, WhenFull,
};
use crate::value::{Map, Value};

/// The flow as sorted JSON with defaults left out.
#[must_use]
pub fn canonical(flow: &Flow) -> Value {
    sorted(whole(flow))
}

/// A step as it stands in the canonical form.
#[must_use]
pub fn canonical_step(of: &Step) -> Value {
    sorted(step(of))
}

/// The version of a flow: SHA-256 of its canonical JSON, in hex.
#[must_use]
pub fn version_hash(flow: &Flow) -> String {
    hex::encode(Sha256::digest(canonical_text(flow).as_bytes()))
}

/// The canonical JSON, as it is hashed.
#[must_use]
pub fn canonical_text(flow: &Flow) -> String {
    canonical(flow).to_canonical_json()
}

fn sorted(value: Value) -> Value {
    match value {
        Value::List(items) => Value::List(items.into_iter().map(sorted).collect()),
        Value::Map(map) => {
            let mut entries: Vec<(String, Value)> = map.into_iter().map(|(key, value)| (key, sorted(value))).collect();
            entries.sort_by(|a, b| a.0.cmp(&b.0));
            Value::Map(entries.into_iter().collect())
        }
        other => other,
    }
}

/// An object under construction: what is absent or default is not put.
#[derive(Default)]
struct Out(Map);

impl Out {
    fn put(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.0.insert(key.to_owned(), value.into());
        self
    }
    fn some(self, key: &str, value: Option<impl Into<Value>>) -> Self {
        match value {
            Some(value) => self.put(key, value),
            None => self,
        }
    }
    fn map(self, key: &str, map: &Map) -> Self {
        if map.is_empty() { self } else { self.put(key, map.clone()) }
    }
    fn steps(self, key: &str, list: &[Step]) -> Self {
        if list.is_empty() { self } else { self.put(key, steps(list)) }
    }
    fn span(self, key: &str, span: Option<Span>) -> Self {
        self.some(key, span.map(|span| span.to_string()))
    }
    /// A number or span that is left out when it is what the reader would take anyway.
    fn unless<T: PartialEq>(self, key: &str, value: &T, usual: &T, text: impl FnOnce(&T) -> Value) -> Self {
        if value == usual { self } else { self.put(key, text(value)) }
    }
    fn done(self) -> Value {
        Value::Map(self.0)
    }
}

fn text_of(span: &Span) -> Value {
    Value::Str(span.to_string())
}

/// An enum as serde writes it.
fn word(value: &impl serde::Serialize) -> Value {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(text)) => Value::Str(text),
        _ => Value::Null,
    }
}

fn whole(flow: &Flow) -> Value {
    let labels: Map = flow.labels.iter().map(|(key, text)| (key.clone(), Value::from(text.as_str()))).collect();
    let triggers: Vec<Value> = flow.triggers.iter().map(trigger).collect();
    Out::default()
        .put("aura", 1_i64)
        .put("flow", flow.flow.as_str())
        .some("title", flow.title.as_deref())
        .some("note", flow.note.as_deref())
        .map("labels", &labels)
        .some("subject", flow.subject.as_deref())
        .some("input", flow.input.clone())
        .some("triggers", Some(triggers).filter(|list| !list.is_empty()))
        .some(
            "concurrency",
            flow.concurrency.as_ref().map(|limits| {
                Out::default()
                    .some("key", limits.key.as_deref())
                    .put("limit", i64::from(limits.limit))
                    .unless("when_full", &limits.when_full, &WhenFull::Queue, word)
                    .done()
            }),
        )
        .some("rate", flow.rate.as_ref().map(rate))
        .some("priority", flow.priority.clone())
        .some("index", Some(&flow.index).filter(|paths| !paths.is_empty()).map(|paths| texts(paths)))
        .span("timeout", flow.timeout)
        .span("retention", flow.retention)
        .put("steps", steps(&flow.steps))
        .steps("on_error", &flow.on_error)
        .steps("finally", &flow.finally)
        .done()
}

fn texts(list: &[String]) -> Value {
    Value::List(list.iter().map(|text| Value::from(text.as_str())).collect())
}

fn rate(rate: &Rate) -> Value {
    let per = rate.per.to_string();
    Out::default().some("key", rate.key.as_deref()).put("count", i64::from(rate.count)).put("per", per).done()
}

fn limit(limit: &Limit) -> Value {
    Out::default()
        .some("key", limit.key.as_deref())
        .some("concurrency", limit.concurrency.map(i64::from))
        .some("rate", limit.rate.as_ref().map(rate))
        .some("priority", limit.priority.clone())
        .done()
}

fn hmac(hmac: &Hmac) -> Value {
    let (usual, word) = (Hmac::default(), |text: &String| Value::from(text.as_str()));
    Out::default()
        .put("secret", hmac.secret.as_str())
        .put("header", hmac.header.as_str())
        .unless("prefix", &hmac.prefix, &usual.prefix, word)
        .unless("encoding", &hmac.encoding, &usual.encoding, word)
        .unless("algorithm", &hmac.algorithm, &usual.algorithm, word)
        .some("timestamp", hmac.timestamp.as_deref())
        .span("tolerance", hmac.tolerance)
        .some("signed", hmac.signed.as_deref())
        .some("id", hmac.id.as_deref())
        .done()
}

fn trigger(trigger: &Trigger) -> Value {
    let auth = trigger.auth.as_ref().map(|auth| match auth {
        Auth::None => Value::from("none"),
        Auth::Bearer(secret) => Value::object([("bearer", secret.as_str())]),
        Auth::Scheme { scheme, secret } => Value::object([("scheme", scheme.as_str()), ("secret", secret.as_str())]),
        Auth::Basic { user, secret } => {
            Value::object([("basic", Value::object([("user", user.as_str()), ("secret", secret.as_str())]))])
        }
        Auth::Header { name, secret } => {
            Value::object([("header", Value::object([("name", name.as_str()), ("secret", secret.as_str())]))])
        }
        Auth::Hmac(hmac) => Value::object([("hmac", self::hmac(hmac))]),
    });
    let reply = match trigger.reply {
        Reply::Ack => None,
        Reply::Respond { wait } => {
            Some(Out::default().put("respond", Out::default().put("wait", text_of(&wait)).done()).done())
        }
    };
    Out::default()
        .put("id", trigger.id.as_str())
        .put("on", trigger.on.as_str())
        .some("connection", trigger.connection.as_deref())
        .map("with", &trigger.with)
        .some("auth", auth)
        .some(
            "allow",
            (!trigger.allow.is_empty())
                .then(|| Value::List(trigger.allow.iter().map(|it| Value::from(it.as_str())).collect())),
        )
        .some(
            "dedupe",
            trigger.dedupe.as_ref().map(|dedupe| {
                Out::default()
                    .put("key", dedupe.key.as_str())
                    .unless("window", &dedupe.window, &DEDUPE_WINDOW, text_of)
                    .done()
            }),
        )
        .some(
            "debounce",
            trigger.debounce.as_ref().map(|debounce| {
                Out::default()
                    .put("key", debounce.key.as_str())
                    .put("for", text_of(&debounce.quiet))
                    .span("max", debounce.max)
                    .done()
            }),
        )
        .some("batch", trigger.batch.as_ref().map(batch))
        .some("throttle", trigger.throttle.as_ref().map(throttle))
        .some("filter", trigger.filter.as_deref())
        .some("reply", reply)
        .done()
}

fn batch(batch: &Batch) -> Value {
    let max = Value::Int(i128::from(batch.max));
    Out::default().some("key", batch.key.as_deref()).put("max", max).put("for", text_of(&batch.within)).done()
}

fn throttle(throttle: &Throttle) -> Value {
    Out::default()
        .some("key", throttle.key.as_deref())
        .put("limit", Value::Int(i128::from(throttle.limit)))
        .put("per", text_of(&throttle.per))
        .unless("on_excess", &throttle.on_excess, &OnExcess::Queue, |word| Value::from(word.word()))
        .done()
}

fn steps(list: &[Step]) -> Value {
    Value::List(list.iter().map(step).collect())
}

fn step(step: &Step) -> Value {
    let out = Out::default()
        .put("id", step.id.as_str())
        .some("rules", step.rules.clone())
        .some("if", step.when.as_deref())
        .some("needs", step.needs.as_ref().map(|needs| Value::List(needs.iter().map(need).collect())))
        .some("join", step.join.clone())
        .some("losers", step.losers.as_deref())
        .some("each", step.each.clone())
        .some("retry", step.retry.as_ref().map(retry))
        .span("timeout", step.timeout)
        .steps("on_error", &step.on_error)
        .steps("compensate", &step.compensate)
        .some("effect", step.effect.as_ref().map(word))
        .some("in_doubt", step.in_doubt.as_ref().map(word))
        .unless("i_accept_duplicates", &step.i_accept_duplicates, &false, |yes| Value::Bool(*yes))
        .some("limit", step.limit.as_ref().map(limit))
        .some("note", step.note.as_deref());
    let out = out.some("redact", Some(&step.redact).filter(|list| !list.is_empty()).map(|list| texts(list)));
    let name = step.kind.name();
    match &step.kind {
        Kind::Uses { action, connection, with } => {
            out.put(name, action.as_str()).some("connection", connection.as_deref()).map("with", with)
        }
        Kind::Http(call) => out.put(name, http(call)),
        Kind::Set(values) => out.put(name, values.clone()),
        Kind::Branch(arms) => out.put(name, Value::List(arms.iter().map(arm).collect())),
        Kind::Map { with, steps: list } | Kind::Loop { with, steps: list } => {
            out.put(name, Out(with.clone()).put("steps", steps(list)).done())
        }
        Kind::Try { steps: list, catch } => {
            out.put(name, Out::default().put("steps", steps(list)).steps("catch", catch).done())
        }
        Kind::Sleep(Sleep::For(text)) => out.put(name, Value::object([("for", text.as_str())])),
        Kind::Sleep(Sleep::Until(text)) => out.put(name, Value::object([("until", text.as_str())])),
        Kind::Code(value)
        | Kind::Wait(value)
        | Kind::Approval(value)
        | Kind::Call(value)
        | Kind::Emit(value)
        | Kind::Kv(value) => out.put(name, value.clone()),
        Kind::Respond(respond) => out.put(
            name,
            Out::default()
                .some("status", respond.status.clone())
                .map("headers", &respond.headers)
                .some("body", respond.body.clone())
                .done(),
        ),
        Kind::Stop(Stop::Ok(reason)) => out.put(name, Value::object([("ok", reason.clone())])),
        Kind::Stop(Stop::Fail(reason)) => out.put(name, Value::object([("fail", reason.clone())])),
    }
    .done()
}

fn arm(arm: &Arm) -> Value {
    let out = match &arm.when {
        Some(when) => Out::default().put("when", when.as_str()),
        None => Out::default().put("else", true),
    };
    out.put("steps", steps(&arm.steps)).done()
}

fn http(call: &Http) -> Value {
    Out::default()
        .unless("method", &call.method.as_str(), &"GET", |method| Value::from(*method))
        .put("url", call.url.as_str())
        .map("query", &call.query)
        .map("headers", &call.headers)
        .some("body", call.body.clone())
        .some("form", call.form.clone())
        .done()
}

fn need(need: &Need) -> Value {
    if need.when == "settled" {
        return Value::from(need.step.as_str());
    }
    Value::object([("step", need.step.as_str()), ("when", need.when.as_str())])
}

fn retry(retry: &Retry) -> Value {
    let usual = Retry::default();
    Out::default()
        .unless("attempts", &retry.attempts, &usual.attempts, |n| Value::from(i64::from(*n)))
        .unless("base", &retry.base, &usual.base, text_of)
        .unless("factor", &retry.factor_milli, &usual.factor_milli, |milli| thousandths(*milli))
        .unless("cap", &retry.cap, &usual.cap, text_of)
        .span("max_elapsed", retry.max_elapsed)
        .done()
}

fn thousandths(milli: u32) -> Value {
    let (whole, rest) = (milli / 1000, milli % 1000);
    if rest == 0 {
        return Value::from(i64::from(whole));
    }
    let fraction = format!("{rest:03}");
    Value::Dec(format!("{whole}.{}", fraction.trim_end_matches('0')))
}

#[cfg(test)]
pub(super) mod tests;
