//! A run as lists show it, and why it does not move.

use serde::{Deserialize, Serialize};

use super::{RunState, StepError};
use crate::ids::{EventId, FlowId, RunId};

/// Why a run does not move.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blocked {
    /// One line: "sleeps until …", "waits for run_… (concurrency key)", "in doubt: …".
    pub reason: String,
    /// When it goes on by itself, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until_ms: Option<i64>,
    /// The limit behind which it waits, as in `concurrency "c-7"`; none if it waits for something else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// How many wait before it behind that limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ahead: Option<u64>,
}

impl Blocked {
    /// A reason that no limit is behind.
    #[must_use]
    pub fn because(reason: impl Into<String>, until_ms: Option<i64>) -> Self {
        Self { reason: reason.into(), until_ms, key: None, ahead: None }
    }
}

/// A run as lists show it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunHead {
    /// The run.
    pub run: RunId,
    /// Its flow.
    pub flow_id: FlowId,
    /// The flow's name when it began.
    pub flow: String,
    /// Version hash.
    pub version: String,
    /// Trigger id.
    pub trigger: String,
    /// The event that began it.
    pub event: EventId,
    /// State.
    pub state: RunState,
    /// When it was created.
    pub created_ms: i64,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_ms: Option<i64>,
    /// The step at work or the last one.
    #[serde(default)]
    pub step: String,
    /// Attempt of that step.
    #[serde(default)]
    pub attempt: u32,
    /// Steps settled so far.
    #[serde(default)]
    pub steps_done: u32,
    /// Steps of the flow.
    #[serde(default)]
    pub steps_all: u32,
    /// Why it does not move.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blocked_by: Option<Blocked>,
    /// Its error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<StepError>,
    /// Number of its last transition; 0 while queued.
    pub transition: u64,
    /// The run that it goes on from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<RunId>,
}
