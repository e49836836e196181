//! Requests and replies of operations: pause and resume, ending a run by hand, the bin, and how far a search went.

use serde::{Deserialize, Serialize};

use super::RunRef;
use crate::run::RunState;

/// `aura flow pause` and `aura flow resume`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowPause {
    /// Name.
    pub flow: String,
    /// Hold its events?
    pub paused: bool,
}

/// `aura run pause` and `aura run resume`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunPause {
    /// Run.
    pub run: RunRef,
    /// Hold it?
    pub paused: bool,
    /// Why.
    #[serde(default)]
    pub reason: String,
}

/// `aura run force-finish`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunForceFinish {
    /// Run.
    pub run: RunRef,
    /// As what: succeeded or failed.
    pub state: RunState,
    /// Why; must not be empty.
    pub reason: String,
}

/// What went into the bin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removed {
    /// Its name.
    pub name: String,
    /// It can be restored until then, in Unix milliseconds.
    pub until_ms: i64,
}

/// Something in the bin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Binned {
    /// `flow`, `connection` or `subscription`.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// When it was deleted, in Unix milliseconds.
    pub deleted_ms: i64,
    /// It can be restored until then, in Unix milliseconds.
    pub until_ms: i64,
    /// Who deleted it.
    pub by: String,
}

/// How far an answer goes that did not look at everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bounded {
    /// Runs that were looked at.
    pub looked_at: u64,
    /// The oldest of them was created then, in Unix milliseconds.
    pub back_to_ms: i64,
}
