//! What clients ask about schedules and hear: rows, pause, a run now, backfill.

use serde::{Deserialize, Serialize};

use crate::ids::RunId;

/// `aura schedule list` and `next`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScheduleQuery {
    /// Only of this flow.
    pub flow: Option<String>,
    /// So many instants of each (at most 100, of all flows together 10).
    pub count: u32,
}

/// One trigger of kind `schedule`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ScheduleRef {
    /// Flow name.
    pub flow: String,
    /// Trigger id; none: the only schedule of its flow.
    pub trigger: Option<String>,
}

/// `aura schedule pause` and `resume`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SchedulePause {
    /// Which.
    pub schedule: ScheduleRef,
    /// It rests, or goes on.
    pub paused: bool,
}

/// `aura schedule backfill`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScheduleBackfill {
    /// Which.
    pub schedule: ScheduleRef,
    /// From this instant on, in Unix milliseconds.
    pub from_ms: i64,
    /// To this one, and with it.
    pub to_ms: i64,
    /// Only say what it would do.
    pub dry: bool,
}

/// What a backfill does or would do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackfillPlan {
    /// The schedule, as it is after this.
    pub schedule: ScheduleInfo,
    /// Instants that get a run.
    pub count: u64,
    /// Instants in between that fired before and get none.
    pub fired: u64,
    /// The first of them that get a run, at most ten.
    pub first: Vec<i64>,
    /// The last one that gets a run.
    pub last: Option<i64>,
    /// It has begun.
    pub begun: bool,
}

/// A backfill that goes on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backfilling {
    /// From this instant on.
    pub from_ms: i64,
    /// To this one.
    pub to_ms: i64,
    /// Up to here it is done.
    pub at_ms: i64,
    /// Runs so far.
    pub made: u64,
    /// Runs to come, at most.
    pub left: u64,
    /// Who began it.
    pub by: String,
}

/// A schedule trigger of a published flow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScheduleInfo {
    /// Flow name.
    pub flow: String,
    /// Trigger id.
    pub trigger: String,
    /// The rule, as in `every 5m` or `0 9 * * * Europe/Berlin`.
    pub rule: String,
    /// The zone it counts in.
    pub zone: String,
    /// What becomes of missed instants: `skip`, `latest`, `all`.
    pub catch_up: String,
    /// What happens while an earlier run goes on: `skip`, `queue`, `cancel`, `allow`.
    pub overlap: String,
    /// The flow takes events.
    pub enabled: bool,
    /// The next instants, in Unix milliseconds; none while it is disabled or paused.
    pub next: Vec<i64>,
    /// The instant that fired last.
    pub last_ms: Option<i64>,
    /// The run that it became, if it did.
    pub last_run: Option<RunId>,
    /// How many instants were left out so far because nobody could fire them in time.
    pub missed: u64,
    /// Why the last instant fired or did not, where there is more to say.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub last_note: String,
    /// Up to so many milliseconds later than its instant a run begins.
    #[serde(default)]
    pub jitter_ms: i64,
    /// When the run of each of `next` begins, if that is another time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub begins: Vec<i64>,
    /// Somebody paused this schedule alone, and who.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused_by: Option<String>,
    /// A backfill goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backfill: Option<Backfilling>,
}
