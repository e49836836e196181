//! The closed lists of keys of the flow file (design §3): the reader takes these and no others.
//!
//! The generated schema is tested against the same lists, so neither can gain a key alone.

/// Of the flow.
pub const FLOW: &[&str] = &[
    "aura",
    "flow",
    "title",
    "note",
    "labels",
    "subject",
    "input",
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
/// Of a trigger.
pub const TRIGGER: &[&str] =
    &["id", "on", "connection", "with", "auth", "allow", "dedupe", "debounce", "batch", "throttle", "filter", "reply"];
/// The kinds of steps; a step has exactly one of them as a key.
pub const KINDS: &[&str] = &[
    "uses", "http", "set", "code", "branch", "map", "loop", "try", "sleep", "wait", "approval", "call", "emit", "kv",
    "respond", "stop",
];
/// Kinds that a later format will have.
pub const KINDS_LATER: &[&str] = &["mcp", "agent"];
/// What stands beside `uses`.
pub const BESIDE_USES: &[&str] = &["with", "connection"];
/// What may stand beside `set` and `branch`.
pub const BESIDE_RULES: &[&str] = &["rules"];
/// The kinds that `rules` may stand beside.
pub const WITH_RULES: &[&str] = &["set", "branch"];
/// Of `rules`.
pub const RULES: &[&str] = super::rules::KEYS;
/// Of a row of `rules`.
pub const RULES_ROW: &[&str] = super::rules::ROW_KEYS;
/// What may stand beside every kind.
pub const MODIFIERS: &[&str] = &[
    "if",
    "needs",
    "join",
    "losers",
    "each",
    "retry",
    "timeout",
    "on_error",
    "compensate",
    "effect",
    "in_doubt",
    "i_accept_duplicates",
    "limit",
    "redact",
    "note",
];
/// The kinds of triggers, besides `connector.event`.
pub const TRIGGER_KINDS: &[&str] = &["webhook", "manual", "schedule", "form", "poll", "called", "event", "flow_failed"];
/// Of `auth`.
pub const AUTH: &[&str] = &["scheme", "secret", "bearer", "basic", "header", "hmac"];
/// Of `auth.basic`.
pub const BASIC: &[&str] = &["user", "secret"];
/// Of `auth.header`.
pub const AUTH_HEADER: &[&str] = &["name", "secret"];
/// Of `auth.hmac`.
pub const HMAC: &[&str] =
    &["secret", "header", "prefix", "encoding", "algorithm", "timestamp", "tolerance", "signed", "id"];
/// Of `dedupe`.
pub const DEDUPE: &[&str] = &["key", "window"];
/// Of `debounce`.
pub const DEBOUNCE: &[&str] = &["key", "for", "max"];
/// Of `batch` of a trigger.
pub const BATCH: &[&str] = &["key", "max", "for"];
/// Of `throttle`.
pub const THROTTLE: &[&str] = &["key", "limit", "per", "on_excess"];
/// Of `reply`.
pub const REPLY: &[&str] = &["respond"];
/// Of `reply.respond`.
pub const REPLY_RESPOND: &[&str] = &["wait", "on_timeout"];
/// Of `concurrency`.
pub const CONCURRENCY: &[&str] = &["key", "limit", "when_full"];
/// Of `rate` of the flow.
pub const RATE: &[&str] = &["key", "count", "per"];
/// Of `limit` of a step.
pub const LIMIT: &[&str] = &["key", "concurrency", "rate", "priority"];
/// Of `rate` in a `limit`.
pub const LIMIT_RATE: &[&str] = &["count", "per"];
/// Of a need that is more than a name.
pub const NEED: &[&str] = &["step", "when"];
/// Of `join` that is more than a word.
pub const JOIN: &[&str] = &["n_of"];
/// Of `retry`.
pub const RETRY: &[&str] = &["attempts", "base", "factor", "cap", "max_elapsed"];
/// Of an arm of `branch`.
pub const ARM: &[&str] = &["when", "else", "steps"];
/// Of `http`.
pub const HTTP: &[&str] = &["method", "url", "query", "headers", "body", "form"];
/// Of `map`.
pub const MAP: &[&str] = &["over", "as", "key", "max_parallel", "batch", "on_item_error", "steps"];
/// Of `loop`.
pub const LOOP: &[&str] = &["while", "until", "max_iterations", "max_duration", "break_if", "steps"];
/// Of `try`.
pub const TRY: &[&str] = &["steps", "catch"];
/// Of `sleep`.
pub const SLEEP: &[&str] = &["for", "until"];
/// Of `wait`.
pub const WAIT: &[&str] = &["event", "callback", "match", "deadline"];
/// Of `match` in a `wait`.
pub const MATCH: &[&str] = &["event", "run"];
/// Of `approval`.
pub const APPROVAL: &[&str] = &["form", "approvers", "quorum", "no_self", "delegate", "deadline", "escalate"];
/// Of `escalate` in an `approval`.
pub const ESCALATE: &[&str] = &["after", "approvers"];
/// Of `call`.
pub const CALL: &[&str] = &["flow", "input", "wait", "detach"];
/// Of `code`.
pub const CODE: &[&str] = &["js", "input"];
/// Of `emit`.
pub const EMIT: &[&str] = &["event", "body", "to", "customer"];
/// Of `kv`.
pub const KV: &[&str] = &["get", "set", "delete", "incr", "cas", "default", "value", "by", "from", "to", "ttl"];
/// Of `respond`.
pub const RESPOND: &[&str] = &["status", "headers", "body"];
/// Of `stop`.
pub const STOP: &[&str] = &["ok", "fail"];
/// Methods of `http`.
pub const METHODS: &[&str] = &["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"];

/// Every key of a step.
pub(crate) fn step() -> Vec<&'static str> {
    [&["id"], KINDS, BESIDE_USES, BESIDE_RULES, MODIFIERS].concat()
}
