//! The types of the flow file. A string field may hold `{{ expressions }}` unless its docs say otherwise.

use std::collections::BTreeMap;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::limits::{Limit, Rate};
use super::policies::{Batch, Throttle};
use crate::value::{Map, Value};

/// A span of time: integer and unit (`ms s m h d w`), a day is 24 hours.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    /// Milliseconds.
    pub ms: u64,
}

impl Span {
    /// A span of milliseconds.
    #[must_use]
    pub const fn from_ms(ms: u64) -> Self {
        Self { ms }
    }
    /// A span of seconds.
    #[must_use]
    pub const fn from_secs(secs: u64) -> Self {
        Self { ms: secs * 1000 }
    }
}

const UNITS: &[(&str, u64)] =
    &[("w", 604_800_000), ("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];

impl std::str::FromStr for Span {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let factor = UNITS.iter().find(|(name, _)| *name == unit).map(|(_, factor)| *factor);
        match (number.parse::<u64>(), factor) {
            (Ok(number), Some(factor)) => number
                .checked_mul(factor)
                .filter(|ms| *ms <= 100 * 365 * 86_400_000)
                .map(Self::from_ms)
                .ok_or_else(|| format!("`{text}` is longer than a hundred years")),
            _ => Err(format!(
                "`{text}` is not a duration; write an integer and a unit, like 500ms, 30s, 5m, 23h, 7d or 2w"
            )),
        }
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, factor) =
            UNITS.iter().find(|(_, factor)| self.ms.is_multiple_of(*factor)).copied().unwrap_or(("ms", 1));
        if self.ms == 0 { f.write_str("0s") } else { write!(f, "{}{unit}", self.ms / factor) }
    }
}
impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
impl Serialize for Span {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A flow as written: what starts it, and what it does.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Flow {
    /// Stable name, `[a-z0-9-]`.
    pub flow: String,
    /// Title for people.
    pub title: Option<String>,
    /// A note for people.
    pub note: Option<String>,
    /// Labels for search and grouping.
    pub labels: BTreeMap<String, String>,
    /// Whom a run is about (an expression); indexed by HMAC.
    pub subject: Option<String>,
    /// JSON Schema of the input of manual and called runs.
    pub input: Option<Value>,
    /// What starts runs.
    pub triggers: Vec<Trigger>,
    /// Runs that may go on at the same time, by key.
    pub concurrency: Option<Concurrency>,
    /// Runs that start in a time, by key.
    pub rate: Option<Rate>,
    /// Who goes first: an integer or an expression.
    pub priority: Option<Value>,
    /// Paths of what begins a run by whose values it is found.
    pub index: Vec<String>,
    /// A run may take this long.
    pub timeout: Option<Span>,
    /// How long events, runs and payloads are kept.
    pub retention: Option<Span>,
    /// The steps.
    pub steps: Vec<Step>,
    /// Steps that run when a failure was handled nowhere nearer.
    pub on_error: Vec<Step>,
    /// Steps that always run at the end.
    pub finally: Vec<Step>,
}

/// What starts a run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Trigger {
    /// Unique in the flow.
    pub id: String,
    /// `webhook`, `manual`, `schedule`, … or `connector.event` as in `shopify.checkout_updated`.
    pub on: String,
    /// The connection whose secret signs deliveries.
    pub connection: Option<String>,
    /// Settings of the trigger kind.
    pub with: Map,
    /// How deliveries prove themselves.
    pub auth: Option<Auth>,
    /// Addresses and networks that may send; empty: anybody.
    pub allow: Vec<String>,
    /// Equal keys inside the window are one event.
    pub dedupe: Option<Dedupe>,
    /// Wait for quiet; then one run with the last event.
    pub debounce: Option<Debounce>,
    /// Collect events: one run with all of them.
    pub batch: Option<Batch>,
    /// So many events start runs in a time.
    pub throttle: Option<Throttle>,
    /// Only events for which this is true start runs (an expression).
    pub filter: Option<String>,
    /// What the sender hears.
    pub reply: Reply,
}

/// How a delivery proves itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Auth {
    /// Nobody checks. Must be written out; doctor warns.
    None,
    /// `Authorization: Bearer …` with the value of this secret.
    Bearer(String),
    /// `Authorization: Basic …` with this user and the value of this secret as password.
    Basic {
        /// The user.
        user: String,
        /// Name of the secret that is the password.
        secret: String,
    },
    /// A header with the value of this secret.
    Header {
        /// Name of the header.
        name: String,
        /// Name of the secret that is its value.
        secret: String,
    },
    /// A signature scheme and the name of its secret.
    Scheme {
        /// One of [`crate::signature::SCHEMES`].
        scheme: String,
        /// Name of the secret that signs.
        secret: String,
    },
    /// The HMAC of a sender that no scheme names.
    Hmac(Box<Hmac>),
}

impl Auth {
    /// The name of the secret that proves deliveries; `None` if nobody checks.
    #[must_use]
    pub fn secret(&self) -> Option<&str> {
        match self {
            Self::None => None,
            Self::Bearer(secret)
            | Self::Basic { secret, .. }
            | Self::Header { secret, .. }
            | Self::Scheme { secret, .. } => Some(secret),
            Self::Hmac(hmac) => Some(&hmac.secret),
        }
    }
}

/// An HMAC described in the trigger, as its author wrote it; [`crate::signature::Generic`] checks it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hmac {
    /// Name of the secret that signs.
    pub secret: String,
    /// The header that holds the signature.
    pub header: String,
    /// What stands before the signature, as in `sha256=`.
    pub prefix: String,
    /// `hex` or `base64`.
    pub encoding: String,
    /// `sha256`, `sha512` or `sha1`.
    pub algorithm: String,
    /// The header that holds the time, in Unix seconds or milliseconds.
    pub timestamp: Option<String>,
    /// How far that time may be from ours.
    pub tolerance: Option<Span>,
    /// What is signed, as in `{timestamp}.{body}`.
    pub signed: Option<String>,
    /// The header that holds the id of a delivery, on which repeats are told.
    pub id: Option<String>,
}

impl Default for Hmac {
    fn default() -> Self {
        let (none, word) = (String::new, str::to_owned);
        Self {
            secret: none(),
            header: none(),
            prefix: none(),
            encoding: word("hex"),
            algorithm: word("sha256"),
            timestamp: None,
            tolerance: None,
            signed: None,
            id: None,
        }
    }
}

/// Equal keys inside the window are one event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dedupe {
    /// An expression.
    pub key: String,
    /// Default 7 days, at least 72 hours.
    pub window: Span,
}

/// Wait until no event of the key came for a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Debounce {
    /// An expression.
    pub key: String,
    /// The quiet time.
    pub quiet: Span,
    /// Counted from the first event; never wait longer.
    pub max: Option<Span>,
}

/// What the sender of a webhook hears.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reply {
    /// The acknowledgement, right after the commit.
    #[default]
    Ack,
    /// What the run's `respond` says, if it comes in time; else the acknowledgement.
    Respond {
        /// How long the sender is kept waiting (≤ 25 s).
        wait: Span,
    },
}

/// Runs of a flow that may go on at the same time, by key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Concurrency {
    /// An expression; absent: one key for the whole flow.
    pub key: Option<String>,
    /// How many hold the key at once.
    pub limit: u32,
    /// What happens to one more.
    pub when_full: WhenFull,
}

/// What happens to a run that finds its concurrency key full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WhenFull {
    /// It waits, first accepted first.
    #[default]
    Queue,
    /// There is no run; the event says which run was in the way.
    Drop,
    /// The oldest holder is cancelled, this one starts with its end.
    Replace,
}

/// One step: a kind and its modifiers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Step {
    /// Unique in the flow.
    pub id: String,
    /// What it does.
    pub kind: Kind,
    /// The rule table beside `set` or `branch`, as it was written; [`super::rules`] reads it.
    pub rules: Option<Value>,
    /// Skip this step unless true (an expression).
    pub when: Option<String>,
    /// Steps of the same scope that must have settled; absent: the one written before.
    pub needs: Option<Vec<Need>>,
    /// How several needs are joined.
    pub join: Option<Value>,
    /// `cancel`: the steps that lost a settled join are cancelled.
    pub losers: Option<String>,
    /// Sugar for a map of one step.
    pub each: Option<Value>,
    /// When and how often to try again.
    pub retry: Option<Retry>,
    /// How long one attempt may take.
    pub timeout: Option<Span>,
    /// Steps that run instead when this one failed.
    pub on_error: Vec<Self>,
    /// Steps that undo this one.
    pub compensate: Vec<Self>,
    /// What a repeat of this call does outside.
    pub effect: Option<Effect>,
    /// What to do when the outcome of a call is unknown.
    pub in_doubt: Option<InDoubtPolicy>,
    /// The owner accepts that `in_doubt: retry` may do it twice.
    pub i_accept_duplicates: bool,
    /// Limits of its calls by key.
    pub limit: Option<Limit>,
    /// Paths whose values are never shown.
    pub redact: Vec<String>,
    /// A note for people.
    pub note: Option<String>,
}

/// A need on a sibling step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Need {
    /// The sibling.
    pub step: String,
    /// `settled`, `succeeded` or `failed`.
    pub when: String,
}

/// What a step does.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// A connector's action.
    Uses {
        /// `connector.action`.
        action: String,
        /// The connection it uses.
        connection: Option<String>,
        /// Its input; texts may hold expressions.
        with: Map,
    },
    /// An HTTP request.
    Http(Http),
    /// Named values; its output is that object.
    Set(Map),
    /// JavaScript in the runner.
    Code(Value),
    /// The first arm whose condition is true.
    Branch(Vec<Arm>),
    /// Steps for each item of a list.
    Map {
        /// Settings beside the steps.
        with: Map,
        /// The body.
        steps: Vec<Step>,
    },
    /// Steps again and again, within mandatory caps.
    Loop {
        /// Settings beside the steps.
        with: Map,
        /// The body.
        steps: Vec<Step>,
    },
    /// Steps, and others when they fail.
    Try {
        /// The body.
        steps: Vec<Step>,
        /// What runs when the body failed.
        catch: Vec<Step>,
    },
    /// Waits for a time.
    Sleep(Sleep),
    /// Waits for an event or a callback.
    Wait(Value),
    /// Waits for people.
    Approval(Value),
    /// Runs another flow.
    Call(Value),
    /// Emits an event.
    Emit(Value),
    /// Reads or writes the key-value store.
    Kv(Value),
    /// Answers the sender of the webhook.
    Respond(Respond),
    /// Ends the run.
    Stop(Stop),
}

impl Default for Kind {
    fn default() -> Self {
        Self::Set(Map::new())
    }
}

impl Kind {
    /// The key that tells the kind in the file.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Uses { .. } => "uses",
            Self::Http(_) => "http",
            Self::Set(_) => "set",
            Self::Code(_) => "code",
            Self::Branch(_) => "branch",
            Self::Map { .. } => "map",
            Self::Loop { .. } => "loop",
            Self::Try { .. } => "try",
            Self::Sleep(_) => "sleep",
            Self::Wait(_) => "wait",
            Self::Approval(_) => "approval",
            Self::Call(_) => "call",
            Self::Emit(_) => "emit",
            Self::Kv(_) => "kv",
            Self::Respond(_) => "respond",
            Self::Stop(_) => "stop",
        }
    }
}

/// One arm of a branch.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Arm {
    /// Taken if true (an expression); absent for `else: true`.
    pub when: Option<String>,
    /// What the arm does.
    pub steps: Vec<Step>,
}

/// An HTTP request.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Http {
    /// GET, HEAD, POST, PUT, PATCH or DELETE (default GET).
    pub method: String,
    /// The address.
    pub url: String,
    /// Query parameters.
    pub query: Map,
    /// Headers.
    pub headers: Map,
    /// JSON body (text is sent as it is).
    pub body: Option<Value>,
    /// Form body.
    pub form: Option<Map>,
}

/// How long a step sleeps.
#[derive(Clone, Debug, PartialEq)]
pub enum Sleep {
    /// For a span: a duration like `23h`, or an expression that gives one.
    For(String),
    /// Until a time: an expression that gives a date or its text.
    Until(String),
}

/// The answer to the sender.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Respond {
    /// Status (default 200); an integer or an expression.
    pub status: Option<Value>,
    /// Headers.
    pub headers: Map,
    /// Body: text as it is, anything else as JSON.
    pub body: Option<Value>,
}

/// How a run ends here.
#[derive(Clone, Debug, PartialEq)]
pub enum Stop {
    /// Succeeded, with a reason.
    Ok(Value),
    /// Failed, with a reason.
    Fail(Value),
}

/// Attempts; the first one counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retry {
    /// Default 4.
    pub attempts: u32,
    /// Default 1 s.
    pub base: Span,
    /// In thousandths, default 2000.
    pub factor_milli: u32,
    /// Default 1 m.
    pub cap: Span,
    /// No further attempt after this long.
    pub max_elapsed: Option<Span>,
}

impl Default for Retry {
    fn default() -> Self {
        Self { attempts: 4, base: Span::from_secs(1), factor_milli: 2000, cap: Span::from_secs(60), max_elapsed: None }
    }
}

impl Retry {
    /// The longest pause after an attempt (1 is the first): what full jitter draws from, up to and with it.
    #[must_use]
    pub fn longest_pause(&self, attempt: u32) -> Span {
        let (factor, cap) = (u128::from(self.factor_milli), u128::from(self.cap.ms));
        let mut span = u128::from(self.base.ms).min(cap);
        for _ in 1..attempt.min(1000) {
            let next = (span * factor / 1000).min(cap);
            if next == span {
                break;
            }
            span = next;
        }
        Span::from_ms(u64::try_from(span).unwrap_or(self.cap.ms))
    }
}

/// What repeating a call does outside (design §4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// No effect outside.
    Read,
    /// Twice is the same as once.
    Idempotent,
    /// The peer honours our key within a window.
    Keyed,
    /// The peer can be asked whether it saw our key.
    Lookup,
    /// Must not be repeated blindly.
    #[default]
    Once,
}

impl Effect {
    /// Whether `Started` is committed before the bytes of a call leave.
    #[must_use]
    pub fn needs_started(self) -> bool {
        matches!(self, Self::Lookup | Self::Once)
    }
}

/// What happens when the outcome of a call is unknown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum InDoubtPolicy {
    /// A person decides.
    #[default]
    Ask,
    /// A question to the peer decides.
    Probe,
    /// The step fails.
    Fail,
    /// The call is repeated; needs `i_accept_duplicates: true`.
    Retry,
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// For information: something was not checked.
    Note,
    /// The flow is taken.
    Warning,
    /// The flow is refused.
    Error,
}

/// One finding of a check: where, what, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// Error or warning.
    pub severity: Severity,
    /// From 1; 0 when it has no place.
    pub line: u32,
    /// From 1, in characters.
    pub column: u32,
    /// Where in the document, as in `steps[1].branch[0].steps[0].with.to`.
    pub path: String,
    /// What is wrong, one sentence.
    pub message: String,
    /// What to do, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}
