//! What this build executes of format 1. Everything else is refused by check, never ignored.
//!
//! The daemon asserts in a test that its registry of kinds equals [`KINDS`]: a kind is added there and here
//! in one change.

use super::{Auth, Span};
use crate::signature;

/// Step kinds.
pub const KINDS: &[&str] = &[
    "uses", "http", "set", "branch", "map", "loop", "try", "sleep", "wait", "approval", "call", "code", "emit", "kv",
    "respond", "stop",
];
/// Modifiers of steps that this build does not execute yet; it executes all others of the format.
pub const MODIFIERS_LATER: &[&str] = &[];
/// Modifiers of steps that this build executes.
pub fn modifiers() -> impl Iterator<Item = &'static str> {
    super::keys::MODIFIERS.iter().copied().filter(|key| !MODIFIERS_LATER.contains(key))
}
/// Trigger kinds, besides a connector's own (`connector.event`).
pub const TRIGGERS: &[&str] = &["webhook", "manual", "schedule", "form", "poll", "called", "event", "flow_failed"];
/// Keys of triggers.
pub const TRIGGER_KEYS: &[&str] =
    &["id", "on", "connection", "with", "auth", "allow", "dedupe", "debounce", "batch", "throttle", "filter", "reply"];
/// Keys of the flow.
pub const FLOW_KEYS: &[&str] = &[
    "aura",
    "flow",
    "title",
    "note",
    "labels",
    "subject",
    "triggers",
    "concurrency",
    "rate",
    "priority",
    "index",
    "timeout",
    "retention",
    "steps",
    "on_error",
    "finally",
];
/// Root names that a run provides to expressions.
pub const ROOTS: &[&str] = &["input", "trigger", "steps", "item", "index", "vars", "run", "error"];

/// Kinds that call something outside: they alone have an effect and a retry.
pub const CALLS: &[&str] = &["uses", "http"];

/// Kinds with steps in them: their timeout is that of all of it.
pub const SCOPES: &[&str] = &["branch", "map", "loop", "try"];

/// A loop may have this many iterations.
pub const ITERATIONS_MAX: u32 = 100_000;

/// Who waits less than this gives up early: 10 s, the usual `wait`.
const EARLY_MS: u64 = 10_000;

/// The sender of these deliveries gives up early: its name and how long it waits.
#[must_use]
pub fn patience(on: &str, auth: Option<&Auth>) -> Option<(&'static str, Span)> {
    let name = match (auth, on.split_once('.')) {
        (Some(Auth::Scheme { scheme, .. }), _) => scheme.as_str(),
        (_, Some(("shopify", _))) => "shopify_webhook",
        (_, Some((connector, _))) => connector,
        _ => return None,
    };
    let scheme = signature::scheme(name)?;
    let within = scheme.reply_within_ms.filter(|ms| *ms < EARLY_MS)?;
    Some((scheme.title, Span::from_ms(within)))
}

/// Names of the signature schemes of webhooks.
pub fn schemes() -> impl Iterator<Item = &'static str> + Clone {
    signature::SCHEMES.iter().map(|scheme| scheme.name)
}
