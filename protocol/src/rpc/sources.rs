//! Forms, polls and backfills as clients see them.

use serde::{Deserialize, Serialize};

use crate::flow::Effect;
use crate::ids::{BackfillId, EventId};
use crate::value::Value;

/// The page of a form trigger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FormInfo {
    /// Flow name.
    pub flow: String,
    /// Trigger id.
    pub trigger: String,
    /// Its heading.
    pub title: String,
    /// Names of its fields.
    pub fields: Vec<String>,
    /// Where people fill it in, `…/f/{26 characters}`.
    pub url: String,
    /// Takes what is sent.
    pub enabled: bool,
    /// Last event, if any since the start.
    pub last_event: Option<EventId>,
}

/// `aura poll list`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PollQuery {
    /// Only of this flow.
    pub flow: Option<String>,
}

/// A poll trigger of a published flow.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PollInfo {
    /// Flow name.
    pub flow: String,
    /// Trigger id.
    pub trigger: String,
    /// What is asked: an action, or `http`.
    pub source: String,
    /// Through which connection.
    pub connection: Option<String>,
    /// The pause between two looks.
    pub every: String,
    /// `waiting`, `asking`, `reading`, `beginning` (what is there is being marked as known), `failing`, `paused` or
    /// `off`.
    pub state: String,
    /// With what the next look begins; null: from the beginning, or it has none.
    pub cursor: Value,
    /// A look is not finished: it goes on with its next page.
    pub reading: bool,
    /// What was there at the beginning is known.
    pub begun: bool,
    /// Objects told so far.
    pub told: u64,
    /// The last look, in Unix milliseconds; none since the start.
    pub last_ms: Option<i64>,
    /// The next look; none while its flow is off or paused.
    pub next_ms: Option<i64>,
    /// Looks in a row that failed.
    pub failures: u32,
    /// Why the last one did.
    pub error: Option<String>,
}

/// `aura poll now`, `set` and `reset`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PollChange {
    /// The flow.
    pub flow: String,
    /// The trigger; none: the only poll of the flow.
    pub trigger: Option<String>,
    /// What.
    pub change: PollEdit,
}

/// What is done to a poll.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PollEdit {
    /// Look at once.
    Now,
    /// Go on from this cursor.
    Cursor(Value),
    /// Begin as a new poll does; what was told or marked as known is still known by its keys.
    Reset {
        /// Tell what is there and not known, whatever the trigger says.
        all: bool,
    },
}

/// `aura flow backfill`: what to do, or what it would mean.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackfillAsk {
    /// The flow.
    pub flow: String,
    /// The trigger whose events its objects become; none: the only one with past objects.
    pub trigger: Option<String>,
    /// Objects since then: a time, a day, a span back from now, or a number.
    pub since: Option<String>,
    /// Objects until then.
    pub until: Option<String>,
    /// Also those that were handled before.
    pub again: bool,
    /// So many at most.
    pub limit: Option<u64>,
    /// As the plan said: how many objects there may be.
    pub expected: Option<u64>,
}

/// What a backfill would do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BackfillPlan {
    /// The flow.
    pub flow: String,
    /// The trigger.
    pub trigger: String,
    /// What is asked: an action, or `http`.
    pub source: String,
    /// Through which connection.
    pub connection: Option<String>,
    /// Since when, as it is asked.
    pub since: Value,
    /// Until when.
    pub until: Value,
    /// How many objects there may be; none: nobody said.
    pub count: Option<u64>,
    /// `count` is what the provider says or all there is; else at least so many.
    pub exact: bool,
    /// Objects of the first page, which was read for this plan.
    pub first_page: u64,
    /// Of these handled before: they are left out unless it is told again.
    pub known: u64,
    /// Calls that reading costs, if the count is known.
    pub pages: Option<u64>,
    /// What the flow does for each object.
    pub effects: Vec<BackfillEffect>,
    /// Calls in all, if the count is known.
    pub calls: Option<u64>,
    /// The budget of the source's connection.
    pub rate: Option<String>,
    /// How long it takes at that rate, in milliseconds, if both are known.
    pub at_rate_ms: Option<u64>,
}

/// A call that the flow makes for each object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackfillEffect {
    /// The step.
    pub step: String,
    /// What repeating it would do outside.
    pub effect: Effect,
    /// Its connection.
    pub connection: Option<String>,
    /// A map repeats it: perhaps several times for each object.
    pub repeated: bool,
}

/// A backfill.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BackfillInfo {
    /// Its id.
    pub id: BackfillId,
    /// The flow.
    pub flow: String,
    /// The trigger.
    pub trigger: String,
    /// `running`, `paused`, `done`, `cancelled` or `failed`.
    pub state: String,
    /// Since when.
    pub since: Value,
    /// Until when.
    pub until: Value,
    /// Also what was handled before.
    pub again: bool,
    /// So many at most.
    pub limit: Option<u64>,
    /// Who began it.
    pub by: String,
    /// When, in Unix milliseconds.
    pub created_ms: i64,
    /// When it ended.
    pub ended_ms: Option<i64>,
    /// Pages read.
    pub pages: u64,
    /// Objects seen.
    pub seen: u64,
    /// Objects told to the flow.
    pub told: u64,
    /// Objects left out because they were handled before.
    pub skipped: u64,
    /// How many there may be.
    pub expected: Option<u64>,
    /// Pages in a row that failed.
    pub failures: u32,
    /// Why the last one did, or why it stands still.
    pub error: Option<String>,
    /// What it waits for now.
    pub waits_for: Option<String>,
    /// When it tries again.
    pub next_ms: Option<i64>,
}

/// `aura backfill list`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackfillQuery {
    /// Only of this flow.
    pub flow: Option<String>,
}

/// `aura backfill pause`, `resume` and `cancel`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackfillControl {
    /// Which.
    pub id: BackfillId,
    /// What.
    pub what: BackfillWhat,
}

/// What is done to a backfill.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BackfillWhat {
    /// Hold it.
    Pause,
    /// Let it go on.
    Resume,
    /// End it; what was told stays.
    Cancel,
}
