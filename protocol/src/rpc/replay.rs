//! Requests and replies about running something again: a replay, with what it would send.
//!
//! A preview changes nothing and is what the replay does; only a call whose input is computed anew may turn out to
//! need another key than the preview says.

use serde::{Deserialize, Serialize};

use super::RunRef;
use crate::flow::Effect;
use crate::ids::RunId;
use crate::run::{Point, RunHead};
use crate::value::Value;

/// Most steps that a preview names.
pub const PREVIEW_MAX: usize = 500;
/// Largest edited input, in bytes.
pub const EDIT_MAX: usize = 1024 * 1024;

/// Which version of a flow.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VersionOf {
    /// That of the run itself.
    #[default]
    Run,
    /// The published one.
    Published,
    /// The draft.
    Draft,
    /// The one whose hash begins so (at least four characters).
    Hash(String),
}

/// `aura run replay`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunReplay {
    /// The run; it has ended.
    pub run: RunRef,
    /// From where.
    #[serde(default)]
    pub point: Point,
    /// Another input of the point: the body of the event, the input of a call, an item.
    #[serde(default)]
    pub input: Option<Value>,
    /// Under which version.
    #[serde(default)]
    pub version: VersionOf,
    /// Calls keep their keys where their input is what it was.
    #[serde(default)]
    pub reuse_keys: bool,
    /// Only say what would happen.
    #[serde(default)]
    pub preview: bool,
}

/// What became of a question for a replay.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Replayed {
    /// What it does.
    pub preview: ReplayPreview,
    /// The new run; none if only the preview was wanted.
    pub run: Option<RunHead>,
}

/// What a replay does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReplayPreview {
    /// The run that it goes on from.
    pub of: RunId,
    /// The flow.
    pub flow: String,
    /// From where.
    pub point: Point,
    /// The version under which it runs.
    pub version: String,
    /// It is the version of that run.
    pub same_version: bool,
    /// Steps that are copied, each instance counted.
    pub copied: u64,
    /// Steps that run again.
    pub again: u64,
    /// Calls by what becomes of them, at most [`PREVIEW_MAX`]: those that are sent first.
    pub calls: Vec<ReplayCall>,
    /// How many more there are.
    #[serde(default)]
    pub more: u64,
}

/// What becomes of a call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplayCall {
    /// The step.
    pub path: String,
    /// What it calls: an action, `http`, `kv`, `call`; or `approval`, `wait`: it stands still for somebody.
    pub calls: String,
    /// What a repeat does outside.
    pub effect: Effect,
    /// What becomes of it.
    pub fate: Fate,
    /// Why, in words.
    pub why: String,
}

impl ReplayCall {
    /// The words people see: what happens, in the words of what the step does.
    #[must_use]
    pub fn said(&self) -> &'static str {
        match (self.fate, self.calls.as_str()) {
            (Fate::Copied, _) => self.fate.word(),
            (_, "approval") => "people are asked",
            (_, "wait") => "waits",
            (_, "call") => "called anew",
            (_, "emit") => "said anew",
            (fate, _) => fate.word(),
        }
    }
}

/// What becomes of a call in a replay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    /// Sent with a new key: its peer takes it for another one.
    NewKey,
    /// Sent with the same key, as long as its input is the same.
    SameKey,
    /// Not sent: its result is copied.
    Copied,
}

impl Fate {
    /// The words people see.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::NewKey => "sent with a new key",
            Self::SameKey => "same key",
            Self::Copied => "copied",
        }
    }
}
