//! Requests and replies about room: deleting finished runs, and what `status` says about size, quota and disk.
//!
//! A run that has not finished, or is in doubt, is never deleted. One call does a bounded piece and says whether
//! there is more, so that a script can go on and a client that leaves stops it.

use serde::{Deserialize, Serialize};

use super::RunRef;
use crate::ids::RunId;
use crate::run::RunState;

/// Most runs that one call names.
pub const RUNS_MAX: usize = 500;

/// `aura run delete`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunDelete {
    /// These runs (at most [`RUNS_MAX`]); with them no filter.
    #[serde(default)]
    pub runs: Vec<RunRef>,
    /// All that fit.
    #[serde(default)]
    pub filter: Option<RunFilter>,
    /// Only count and name; nothing is deleted.
    #[serde(default)]
    pub plan: bool,
}

/// Which finished runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunFilter {
    /// Only of this flow.
    #[serde(default)]
    pub flow: Option<String>,
    /// Only with these ends (empty: all three).
    #[serde(default)]
    pub states: Vec<RunState>,
    /// Only those that finished before this time.
    #[serde(default)]
    pub before_ms: Option<i64>,
    /// Only those that fit this filter too ([`crate::filter`]).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub words: Option<String>,
    /// Go on behind this run, as the reply before said.
    #[serde(default)]
    pub after: Option<RunId>,
}

/// What became of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunsDeleted {
    /// Runs that fit: deleted, or with `plan` to be deleted.
    pub runs: u64,
    /// Their first ids, at most ten.
    pub first: Vec<RunId>,
    /// Named runs that were kept, and why.
    pub kept: Vec<(RunId, String)>,
    /// When the oldest and the newest of them finished.
    pub finished_ms: Option<(i64, i64)>,
    /// There may be more behind this run: ask again with it as `after`.
    pub next: Option<RunId>,
}

/// Size, quota and disk.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomStatus {
    /// Bytes of all rows.
    pub stored: u64,
    /// How many there may be; 0: any number.
    pub quota: u64,
    /// When the oldest run that is kept was created.
    pub oldest_ms: Option<i64>,
    /// Free bytes of the disk, if it is known.
    pub disk_free: Option<u64>,
    /// Bytes of the disk that stay free.
    pub disk_reserve: u64,
    /// Why nothing new is accepted now: `disk` or `quota`.
    pub tight: Option<String>,
}
