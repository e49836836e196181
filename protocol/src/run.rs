//! Runs: states, journal records, and what a list row shows.
//!
//! A run's journal is a sequence of [`Transition`]s, each one commit; its state is the fold of its
//! records (`daemon::engine::core`). Times are Unix milliseconds of the daemon's clock.

mod head;
mod origin;
mod payloads;

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::approval::{Ask, Vote};
use crate::event::Delivery;
use crate::flow::Effect;
use crate::ids::{EventId, FlowId, RunId};
use crate::value::{BlobRef, Value};
pub use origin::{ItemCopy, KeptKey, Origin, Point};

pub use head::{Blocked, RunHead};

/// The state of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// Waits for its concurrency key.
    Queued,
    /// A step is at work.
    Running,
    /// Sleeps or waits for somebody.
    Waiting,
    /// Waits for the next attempt of a step.
    Retrying,
    /// A person paused it.
    Paused,
    /// The outcome of a call is unknown and a person must decide.
    InDoubt,
    /// Ended well.
    Succeeded,
    /// Ended by an unhandled error.
    Failed,
    /// Ended by a person or by a newer run.
    Cancelled,
}

impl RunState {
    /// Whether the run has ended.
    #[must_use]
    pub fn is_final(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled)
    }

    /// The word people see.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Waiting => "waiting",
            Self::Retrying => "retrying",
            Self::Paused => "paused",
            Self::InDoubt => "in doubt",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

/// The state of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepState {
    /// Its turn has not come.
    Queued,
    /// At work.
    Running,
    /// Sleeps or waits.
    Waiting,
    /// Waits for its next attempt.
    Retrying,
    /// Outcome unknown.
    InDoubt,
    /// Done.
    Succeeded,
    /// Failed (perhaps handled).
    Failed,
    /// Ended by cancel.
    Cancelled,
    /// Not taken.
    Skipped,
}

impl StepState {
    /// The word people see.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Waiting => "waiting",
            Self::Retrying => "retrying",
            Self::InDoubt => "in doubt",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Skipped => "skipped",
        }
    }
}

/// Why something failed, in the classes that decide what happens next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorClass {
    /// May go away by itself.
    Transient,
    /// The peer said: slower.
    RateLimited,
    /// Took too long.
    Timeout,
    /// The peer does not accept who we say we are.
    Auth,
    /// The request is wrong.
    Invalid,
    /// The thing is not there.
    NotFound,
    /// The thing is in another state.
    Conflict,
    /// Nobody knows whether it happened.
    InDoubt,
    /// Cancelled.
    Cancelled,
    /// A fault of ours.
    Internal,
}

impl ErrorClass {
    /// Whether a repeat can help at all.
    #[must_use]
    pub fn retryable(self) -> bool {
        matches!(self, Self::Transient | Self::RateLimited | Self::Timeout)
    }
    /// The word in journals and on screen.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Transient => "transient",
            Self::RateLimited => "rate_limited",
            Self::Timeout => "timeout",
            Self::Auth => "auth",
            Self::Invalid => "invalid",
            Self::NotFound => "not_found",
            Self::Conflict => "conflict",
            Self::InDoubt => "in_doubt",
            Self::Cancelled => "cancelled",
            Self::Internal => "internal",
        }
    }
}

/// What is known about a call that did not succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reach {
    /// No byte of it left: repeating is safe.
    Unsent,
    /// The peer refused it: nothing happened there.
    Refused,
    /// Lost, timed out or 5xx after bytes left: nobody knows.
    Unknown,
    /// It happened there, but its answer cannot be kept (it is too large): never asked for again.
    Arrived,
}

/// What failed, as `error` in expressions and on screen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct StepError {
    /// Class.
    pub class: ErrorClass,
    /// One sentence.
    pub message: String,
    /// The step that failed; empty for the run itself.
    #[serde(default)]
    pub step: String,
    /// HTTP status or the vendor's code, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// What the peer said, cut to 4 KiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<Value>,
    /// The peer asked to wait this long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
    /// Bytes of the attempt left and nobody knows whether it happened.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unknown: bool,
}

impl StepError {
    /// An error of a class with its sentence.
    #[must_use]
    pub fn new(class: ErrorClass, message: impl Into<String>) -> Self {
        Self {
            class,
            message: message.into(),
            step: String::new(),
            code: None,
            detail: None,
            retry_after_ms: None,
            unknown: false,
        }
    }

    /// As an object for expressions.
    #[must_use]
    pub fn to_value(&self) -> Value {
        Value::object([
            ("class", Value::from(self.class.word())),
            ("message", Value::from(self.message.clone())),
            ("step", Value::from(self.step.clone())),
            ("code", Value::from(self.code.clone())),
            ("detail", self.detail.clone().unwrap_or_default()),
        ])
    }
}

/// The outcome of one attempt of a call, as the driver reports it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum CallOutcome {
    /// The peer did it and this is its answer.
    Done(Value),
    /// It did not succeed.
    Failed(StepError, Reach),
}

/// How a person resolves a step in doubt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resolution {
    /// It happened; go on with this output.
    Done(Value),
    /// Send it again with the same key.
    Retry,
    /// It failed; handlers take over.
    Fail,
}

/// What a step waits for from outside.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Awaited {
    /// Whoever has its address calls it.
    Callback,
    /// An event of another trigger of the flow.
    Event {
        /// The trigger.
        trigger: String,
        /// Which of its events: what their key must be, as canonical JSON.
        key: String,
    },
    /// People decide.
    People(Box<Ask>),
    /// A run of another flow ends.
    Run {
        /// Which.
        run: RunId,
        /// Its flow.
        flow: String,
    },
}

/// One scope of steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScopeKind {
    /// An arm of a branch, by its position.
    Arm(u32),
    /// The handler of a step.
    OnError,
    /// An item of a map, by its position in the list.
    Item(u32),
    /// The body of a `try`.
    Try,
    /// What runs when the body of a `try` failed.
    Catch,
    /// An iteration of a loop, from 0.
    Iteration(u32),
    /// The steps that undo a step.
    Compensate,
    /// The flow's handler (`path` is empty).
    FlowOnError,
    /// The flow's last steps (`path` is empty).
    Finally,
}

/// One journal record. `path` names a step instance: its id, and in maps the keys of the items around it,
/// outermost first, as in `ship[3]` ([`path_key`]).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Record {
    /// The run began.
    RunStarted(Arc<RunStarted>),
    /// A call may be sent; its input never changes again.
    Scheduled {
        /// The step.
        path: String,
        /// Resolved input.
        input: Value,
        /// SHA-256 of the canonical input, hex.
        input_hash: String,
        /// Stable idempotency key.
        key: String,
        /// What a repeat does outside.
        effect: Effect,
        /// Values that `now`, `uuid` and `random` gave, in order.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        draws: Vec<Value>,
        /// Under which key its limit counts it, and who goes first there.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        limit: Option<Box<Limited>>,
    },
    /// The bytes of an attempt are about to leave.
    Started {
        /// The step.
        path: String,
        /// From 1.
        attempt: u32,
        /// Fence of the worker that holds it.
        lease: u64,
        /// Start number of the daemon.
        epoch: u64,
    },
    /// A step ended well.
    Completed {
        /// The step.
        path: String,
        /// Attempt that did it; 0 for pure steps.
        attempt: u32,
        /// Its output.
        output: Value,
    },
    /// The handler of a failed step ended normally: the step stays failed, the run goes on.
    Handled {
        /// The step.
        path: String,
        /// Output of the handler's last step, and so of the step.
        output: Value,
    },
    /// An attempt failed; with `retry_at` another one follows.
    Failed {
        /// The step.
        path: String,
        /// From 1; 0 for pure steps.
        attempt: u32,
        /// Why.
        error: StepError,
        /// When the next attempt is due.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retry_at_ms: Option<i64>,
    },
    /// A step was not taken.
    Skipped {
        /// The step.
        path: String,
        /// Why, in words.
        why: String,
        /// Not by its own `if`: what it needs did not come, so what needs only it is skipped too.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        spread: bool,
    },
    /// A join went on without this step (`losers: cancel`): it does not begin, or is ended.
    Lost {
        /// The step that lost.
        path: String,
        /// The step whose join went on.
        join: String,
    },
    /// A map's list was evaluated, once.
    Listed {
        /// The map.
        path: String,
        /// The items in input order.
        items: Vec<Value>,
        /// Their keys, all different; empty: their positions.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        keys: Vec<String>,
        /// How many items are at work at once at most.
        parallel: u32,
    },
    /// All steps of an item, or of an iteration of a loop, ended well.
    ItemDone {
        /// The map or loop.
        path: String,
        /// Position of the item.
        index: u32,
    },
    /// `break_if` came true: nothing more of this iteration begins, and it is the last one.
    Broken {
        /// The loop.
        path: String,
        /// The iteration.
        index: u32,
    },
    /// A step with steps in it took longer than it may: what is at work in it is dropped, then it fails.
    TimedOut {
        /// The step.
        path: String,
        /// The failure.
        error: StepError,
    },
    /// A step was undone, or could not be.
    Compensated {
        /// The step.
        path: String,
        /// Why its `compensate` failed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error: Option<StepError>,
    },
    /// What the run that this one goes on from did, and this one does not do again.
    Copied(Box<Self>),
    /// Items of a map that the run that this one goes on from did; of a loop, its last iteration that counts.
    ItemsCopied {
        /// The map or loop.
        path: String,
        /// What they gave.
        items: Vec<ItemCopy>,
    },
    /// The run goes on under another version of its flow.
    Migrated {
        /// Hash of the version.
        version: String,
        /// Who wanted it.
        by: String,
    },
    /// There is more to do than one commit should hold; the run goes on at once.
    Yielded,
    /// The steps of a scope begin.
    ScopeOpened {
        /// The step that owns the scope; empty for the flow's own.
        path: String,
        /// Which scope.
        scope: ScopeKind,
    },
    /// A step waits for a time.
    WaitCreated {
        /// The step.
        path: String,
        /// When it goes on.
        until_ms: i64,
    },
    /// A step waits for something from outside.
    Awaiting {
        /// The step.
        path: String,
        /// What.
        what: Awaited,
        /// When it gives up.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        until_ms: Option<i64>,
    },
    /// A run of another flow began, in the same commit.
    Called {
        /// The step.
        path: String,
        /// The run.
        run: RunId,
        /// Its flow.
        flow: String,
        /// The version that was published then.
        version: String,
        /// The step waits for its end.
        waits: bool,
    },
    /// Somebody decided about what a step asks.
    Voted {
        /// The step.
        path: String,
        /// The decision.
        vote: Vote,
    },
    /// Whoever was asked asks somebody else instead.
    Delegated {
        /// The step.
        path: String,
        /// Who was asked.
        by: String,
        /// Who is asked instead.
        to: String,
    },
    /// Nobody decided in time, so others are asked too.
    Escalated {
        /// The step.
        path: String,
    },
    /// What a step waits for came, or came early and is kept until the step waits for it.
    Signalled {
        /// The step.
        path: String,
        /// What came.
        data: Value,
        /// Who brought it: an account, `callback`, or an event.
        by: String,
    },
    /// The time came: of a sleep, of a retry, or of the run (`path` empty).
    TimerFired {
        /// The step, or empty for the run's timeout.
        path: String,
    },
    /// The outcome of a call is unknown.
    InDoubt {
        /// The step.
        path: String,
        /// From 1.
        attempt: u32,
        /// Why nobody knows.
        error: StepError,
    },
    /// Somebody decided about a step in doubt.
    Resolved {
        /// The step.
        path: String,
        /// How.
        resolution: Resolution,
        /// Who.
        by: String,
    },
    /// Somebody wants the run to end.
    CancelRequested {
        /// Who: an account, or the run that replaces this one.
        by: String,
        /// Why, in words.
        reason: String,
    },
    /// Somebody paused it: nothing more of it begins until it is resumed.
    Paused {
        /// Who.
        by: String,
        /// Why, in words.
        reason: String,
    },
    /// Somebody let a paused run go on.
    Resumed {
        /// Who.
        by: String,
    },
    /// Somebody ended it as it stands: nothing more of it runs, not even its last steps.
    ForceFinished {
        /// As what: succeeded or failed.
        state: RunState,
        /// Who.
        by: String,
        /// Why, in words.
        reason: String,
    },
    /// The answer to the sender, exactly as it will be sent.
    Responded {
        /// The step.
        path: String,
        /// HTTP status.
        status: u16,
        /// Headers.
        headers: Vec<(String, String)>,
        /// Body.
        #[serde(with = "crate::bytes")]
        body: Vec<u8>,
    },
    /// A line for people.
    Log {
        /// The step, or empty.
        path: String,
        /// `info`, `warn` or `error`.
        level: String,
        /// Text.
        message: String,
    },
    /// The run ended.
    RunFinished {
        /// How.
        state: RunState,
        /// The unhandled error, with those of `finally` added.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error: Option<StepError>,
        /// The reason of `stop`, or the last step's output.
        output: Value,
    },
}

impl Record {
    /// The step this record is about, if any.
    #[must_use]
    pub fn path(&self) -> Option<&str> {
        match self {
            Self::RunStarted(_)
            | Self::CancelRequested { .. }
            | Self::Paused { .. }
            | Self::Resumed { .. }
            | Self::ForceFinished { .. }
            | Self::RunFinished { .. }
            | Self::Migrated { .. }
            | Self::Yielded => None,
            Self::Copied(copied) => copied.path(),
            Self::ItemsCopied { path, .. }
            | Self::Scheduled { path, .. }
            | Self::Started { path, .. }
            | Self::Completed { path, .. }
            | Self::Failed { path, .. }
            | Self::Handled { path, .. }
            | Self::Skipped { path, .. }
            | Self::Lost { path, .. }
            | Self::Listed { path, .. }
            | Self::ItemDone { path, .. }
            | Self::Broken { path, .. }
            | Self::TimedOut { path, .. }
            | Self::Compensated { path, .. }
            | Self::ScopeOpened { path, .. }
            | Self::WaitCreated { path, .. }
            | Self::Awaiting { path, .. }
            | Self::Signalled { path, .. }
            | Self::Called { path, .. }
            | Self::Voted { path, .. }
            | Self::Escalated { path }
            | Self::Delegated { path, .. }
            | Self::TimerFired { path }
            | Self::InDoubt { path, .. }
            | Self::Resolved { path, .. }
            | Self::Responded { path, .. }
            | Self::Log { path, .. } => Some(path).filter(|path| !path.is_empty()).map(String::as_str),
        }
    }
}

/// The key of an item as it stands in a path, between `[` and `]`: what would close or break it is escaped as `%` and
/// two hex digits.
#[must_use]
pub fn path_key(key: &str) -> String {
    let mut out = String::with_capacity(key.len());
    for c in key.chars() {
        match c {
            '[' | ']' | '%' | '\u{7f}' | '\0'..='\u{1f}' => {
                out.push('%');
                out.push_str(&format!("{:02x}", u32::from(c)));
            }
            _ => out.push(c),
        }
    }
    out
}

/// How a run began.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunStarted {
    /// The flow.
    pub flow_id: FlowId,
    /// Its name at that time.
    pub flow: String,
    /// Hash of the published version it runs.
    pub version: String,
    /// Id of the trigger; `manual` for a manual run.
    pub trigger: String,
    /// Engine semantics number.
    pub semantics: u32,
    /// The event accepted last.
    pub event: Delivery,
    /// Ids of all events of a held row, first 1,000.
    pub events: Vec<EventId>,
    /// How many more there were.
    #[serde(default)]
    pub events_more: u64,
    /// When the run must have ended, unless it stands still meanwhile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline_ms: Option<i64>,
    /// A policy expression failed at the door: the run is failed from the start (rule 10).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<StepError>,
    /// The step of another run that called it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caller: Option<Caller>,
    /// Input of a manual or called run.
    #[serde(default)]
    pub input: Value,
    /// Who goes first: of two that wait the one of the higher priority; 0 is the usual one.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub priority: i32,
    /// Index hashes of the values by which it is found.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub index: Vec<[u8; 16]>,
    /// The variables that the flow reads, as they were when the run was created; null if it reads none.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub vars: Value,
    /// The run that it goes on from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Box<Origin>>,
}

fn is_zero(priority: &i32) -> bool {
    *priority == 0
}

/// Under which key the limit of a step counts a call.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limited {
    /// The key as text; empty: one for the step.
    #[serde(default)]
    pub key: String,
    /// Who goes first; none: by the priority of the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<i32>,
}

/// The step of another run that called a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Caller {
    /// The run.
    pub run: RunId,
    /// Its step.
    pub path: String,
    /// It waits for the end.
    pub waits: bool,
    /// How many calls deep.
    pub depth: u32,
}

/// One commit of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Transition {
    /// From 1, without gaps; before it a 0 for a run that was queued first.
    pub number: u64,
    /// When, by the daemon's clock.
    pub at_ms: i64,
    /// What happened.
    pub records: Vec<Record>,
}

impl Transition {
    /// The stored values that this commit refers to, each once: while its row exists it holds one reference to
    /// each of them, and whoever removes the row releases them.
    #[must_use]
    pub fn blobs(&self) -> BTreeSet<BlobRef> {
        let mut found = BTreeSet::new();
        self.records.iter().for_each(|record| {
            record.blobs(&mut |blob| {
                found.insert(blob);
            });
        });
        found
    }
}
