//! Rows that the daemon, the start-up check and tests read: their types, tables and keys.

pub mod outgoing;
pub mod relay;

use aura_protocol::event::Delivery;
use aura_protocol::rpc::{Backfilling, Verdict};
use aura_protocol::run::{RunState, StepError};
use aura_protocol::schedule::Stretches;
use aura_protocol::{ConnectionId, DeliveryId, EventId, FlowId, HeldId, RunId, TenantId, Value};
use serde::{Deserialize, Serialize};

use crate::table::Key;

/// Key of a run's head and of its live row.
#[must_use]
pub fn run_key(tenant: TenantId, run: RunId) -> Key {
    Key::tenant(tenant).id(run.bytes())
}

/// Key of one transition.
#[must_use]
pub fn journal_key(tenant: TenantId, run: RunId, number: u64) -> Key {
    run_key(tenant, run).number(number)
}

/// Key of a blob and of its count.
#[must_use]
pub fn blob_key(tenant: TenantId, hash: [u8; 16]) -> Key {
    Key::tenant(tenant).id(hash)
}

/// Key of a timer: due time, tenant, then the run or held row that it wakes.
#[must_use]
pub fn timer_key(due_ms: i64, tenant: TenantId, owner: [u8; 16]) -> Key {
    Key::new().time(due_ms).id(tenant.bytes()).id(owner)
}

/// An unfinished run (table `Live`, plain): what start-up needs without opening its journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LiveRow {
    /// State.
    pub state: RunState,
    /// Number of its last transition; 0 while queued.
    pub transition: u64,
    /// Due time of its timer row, if it has one.
    pub due_ms: Option<i64>,
    /// Its flow.
    pub flow: FlowId,
    /// Index hash of its concurrency key, if the flow has one.
    pub slot: Option<[u8; 16]>,
    /// When it was created (order of the queue behind a key).
    pub created_ms: i64,
    /// While queued: index hash of the key of its flow's rate, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<[u8; 16]>,
    /// While queued: who goes first; 0 is the usual one.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub priority: i32,
    /// While queued: its place in the order of acceptance, microseconds that no two have; 0: `created_ms` says it.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub turn: i64,
    /// While queued behind a throttle of its trigger: how many in how many milliseconds, as it was accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub throttle: Option<(u32, u64)>,
}

fn is_zero<T: Default + PartialEq>(number: &T) -> bool {
    *number == T::default()
}

/// Key of what of a rate is used up.
#[must_use]
pub fn limit_key(tenant: TenantId, hash: [u8; 16]) -> Key {
    Key::tenant(tenant).id(hash)
}

/// What of a rate is used up (table `Limits`, plain): integers and times only.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LimitRow {
    /// Uses that still count: microseconds (Unix) of the first and the last one of a group, and how many.
    pub used: Vec<(i64, i64, u32)>,
    /// After this time, in Unix milliseconds, the row says nothing any more.
    pub until_ms: i64,
}

/// Key of a row by which a run is found.
#[must_use]
pub fn index_key(tenant: TenantId, hash: [u8; 16], run: RunId) -> Key {
    Key::tenant(tenant).id(hash).id(run.bytes())
}

/// By what a run is found (table `Index`, plain); all is in the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexRow {
    /// Its flow.
    pub flow: FlowId,
}

/// Who put something into the bin, and when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deleted {
    /// Unix milliseconds.
    pub at_ms: i64,
    /// Who.
    pub by: String,
}

/// Whom a timer wakes (table `Timers`, plain).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TimerRow {
    /// The run whose id is in the key.
    Run,
    /// The held row whose id is in the key.
    Held,
}

/// Held event group (table `Held`, sealed).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HeldRow {
    /// Its id.
    pub held: HeldId,
    /// Flow.
    pub flow: FlowId,
    /// Trigger id.
    pub trigger: String,
    /// Index hash of the debounce key.
    pub hash: [u8; 16],
    /// First event's time.
    pub first_ms: i64,
    /// When it fires; `None` while its flow is disabled.
    pub due_ms: Option<i64>,
    /// Ids of its events, first 1,000.
    pub events: Vec<EventId>,
    /// How many more.
    pub events_more: u64,
    /// The delivery accepted last.
    pub last: Delivery,
    /// It waits for its paused flow, alone; such rows start in the order of their ids.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub paused: bool,
    /// It collects events of which all are in its run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch: Option<BatchRow>,
}

/// What a held row that collects events is about.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchRow {
    /// The value of its key, as JSON.
    pub key: String,
    /// Bytes of its events so far.
    pub bytes: u64,
    /// Its time is over then.
    pub until_ms: i64,
    /// It takes no more: another one of the same key does.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub full: bool,
}

/// What is decided about a schedule (table `Schedules`, sealed): up to where its instants were fired or left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScheduleRow {
    /// Flow.
    pub flow: FlowId,
    /// Trigger id.
    pub trigger: String,
    /// The rule its instants come from; another rule begins anew.
    pub rule: String,
    /// It fires; false while its flow is disabled or has no such trigger.
    pub armed: bool,
    /// The high-water mark: every instant up to here is decided.
    pub mark_ms: i64,
    /// The last stretch nobody could fire: its mark before, and the time when that was seen.
    pub gap: Option<(i64, i64)>,
    /// The instant that fired last.
    pub last_ms: Option<i64>,
    /// The run it became, if it did.
    pub last_run: Option<RunId>,
    /// Instants left out so far.
    pub missed: u64,
    /// All that decides which instants there are; empty in rows of before it was noted.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub settings: String,
    /// Which instants fired; none in rows of before it was noted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fired: Option<Stretches>,
    /// What there is to say of the last instant.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub last_note: String,
    /// Who lets it rest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused_by: Option<String>,
    /// It rests because its flow is paused: it goes on from its mark, not anew.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub keeps: bool,
    /// Runs of past instants that are being made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backfill: Option<Backfilling>,
}

/// How far a source was read.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ReadTo {
    /// What the next look begins with; null at first.
    pub cursor: Value,
    /// What the look that goes on has come to.
    #[serde(default)]
    pub reached: Value,
    /// The page that comes next in it; null: the first.
    #[serde(default)]
    pub page: Value,
    /// When it began, in Unix milliseconds; none: it ended.
    #[serde(default)]
    pub began_ms: Option<i64>,
    /// Pages read in it.
    #[serde(default)]
    pub pages: u64,
    /// Of these the last ones that were empty.
    #[serde(default)]
    pub empty: u64,
    /// What asked for the page after the first, second, fourth, eighth … one: who comes there again goes in a circle.
    #[serde(default)]
    pub mark: Value,
}

/// A poll (table `Polls`, sealed): written with what it tells, so that each object is told once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PollRow {
    /// Flow.
    pub flow: FlowId,
    /// Trigger id.
    pub trigger: String,
    /// What is read; another source begins anew.
    pub identity: String,
    /// How far.
    pub place: ReadTo,
    /// What was there at the beginning is known: from now on objects are told.
    pub begun: bool,
    /// Objects told so far.
    pub told: u64,
    /// Looks in a row that failed.
    #[serde(default)]
    pub failures: u32,
    /// Why the last one did.
    #[serde(default)]
    pub error: String,
}

/// How a backfill stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BackfillState {
    /// It reads on.
    Running,
    /// Somebody holds it.
    Paused,
    /// All was told.
    Done,
    /// Somebody ended it.
    Cancelled,
    /// It cannot go on.
    Failed,
}

/// A backfill (table `Backfills`, sealed): written with what it tells.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BackfillRow {
    /// Flow.
    pub flow: FlowId,
    /// Its name then.
    pub name: String,
    /// Trigger id.
    pub trigger: String,
    /// What is read; another source cannot go on from here.
    pub identity: String,
    /// Objects since then; null: all.
    pub since: Value,
    /// Objects until then; null: all.
    pub until: Value,
    /// Also those that were handled before.
    pub again: bool,
    /// So many objects at most.
    pub limit: Option<u64>,
    /// How it stands.
    pub state: BackfillState,
    /// Who began it.
    pub by: String,
    /// When, in Unix milliseconds.
    pub created_ms: i64,
    /// When it ended.
    pub ended_ms: Option<i64>,
    /// How far.
    pub place: ReadTo,
    /// Pages read.
    pub pages: u64,
    /// Objects seen.
    pub seen: u64,
    /// Of these told to the flow.
    pub told: u64,
    /// Of these left out: handled before.
    pub skipped: u64,
    /// How many objects there may be, if the provider said so.
    pub expected: Option<u64>,
    /// Pages in a row that failed.
    pub failures: u32,
    /// Why the last one did, or why it stands still.
    pub error: String,
}

/// A signal for a run (table `Inbox`, sealed).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum InboxRow {
    /// Cancel it.
    Cancel {
        /// Who.
        by: String,
        /// Why.
        reason: String,
    },
    /// A flow is to take an event that came from inside: of an `emit` step, or of a run that failed.
    Event {
        /// Which.
        flow: FlowId,
        /// The event, with the id of its trigger.
        delivery: Box<Delivery>,
    },
    /// A run that a step of it called has ended.
    Returned {
        /// The step.
        path: String,
        /// The run.
        run: RunId,
        /// What it gave.
        output: Value,
        /// Why it failed, if it did.
        error: Option<Box<StepError>>,
    },
    /// Runs that wait for an event and events that came meet under this hash; the owner in the key is one of them.
    Meet {
        /// Of their key.
        hash: [u8; 16],
    },
}

/// Key of a row of table `Waits`: the index hash of the awaited key, and whose row it is.
#[must_use]
pub fn wait_key(tenant: TenantId, hash: [u8; 16], owner: [u8; 16]) -> Key {
    Key::tenant(tenant).id(hash).id(owner)
}

/// One side of a wait for an event (table `Waits`, sealed).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum WaitRow {
    /// A run waits.
    Run {
        /// Which.
        run: RunId,
        /// Its step.
        path: String,
        /// Until then; afterwards the row is rubbish.
        until_ms: i64,
    },
    /// An event came and nobody has waited for it yet.
    Event {
        /// It.
        delivery: Box<Delivery>,
        /// Its flow.
        flow: String,
        /// It is kept until then.
        until_ms: i64,
    },
}

/// Key of what a `kv` step keeps, and of a variable: the index hash of its name.
#[must_use]
pub fn name_key(tenant: TenantId, hash: [u8; 16]) -> Key {
    Key::tenant(tenant).id(hash)
}

/// Key of the counter of the rows in table `Kv`.
#[must_use]
pub fn kv_count_key(tenant: TenantId) -> Key {
    Key::tenant(tenant).number(u64::from(u32::from_be_bytes(*b"kv  ")))
}

/// What a `kv` step keeps (table `Kv`, sealed).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KvRow {
    /// Its name.
    pub name: String,
    /// The value.
    pub value: Value,
    /// Last change.
    pub changed_ms: i64,
    /// The run that changed it.
    pub run: RunId,
    /// It is gone after this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_ms: Option<i64>,
}

/// A variable of a tenant (table `Vars`, sealed).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VarRow {
    /// Its name.
    pub name: String,
    /// The value.
    pub value: Value,
    /// Last change.
    pub changed_ms: i64,
    /// By whom.
    pub by: String,
}

/// A flow (table `Flows`, sealed).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FlowRecord {
    /// Id.
    pub id: FlowId,
    /// Name.
    pub flow: String,
    /// Takes events.
    pub enabled: bool,
    /// What it takes is held until somebody resumes it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub paused: bool,
    /// It is in the bin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deleted: Option<Deleted>,
    /// Hash of the published version.
    pub published: Option<String>,
    /// Authored text of the draft, if there is one.
    pub draft: Option<String>,
    /// Endpoint names by trigger id (26 characters each).
    pub endpoints: Vec<(String, String)>,
    /// Last change.
    pub changed_ms: i64,
    /// Publications, oldest first: the newest [`HISTORY_MAX`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<Publication>,
    /// What people said of single endpoints, beside what the flow says.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hooks: Vec<HookRecord>,
}

/// What people said of one endpoint: part of its flow's row, so that it goes and comes with the flow.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookRecord {
    /// Trigger id.
    pub trigger: String,
    /// It takes no deliveries until somebody opens it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub closed: bool,
    /// Endpoint names before, each until then in Unix milliseconds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub before: Vec<(String, i64)>,
}

/// Key of a refused delivery and of its body.
#[must_use]
pub fn delivery_key(tenant: TenantId, delivery: DeliveryId) -> Key {
    Key::tenant(tenant).id(delivery.bytes())
}

/// A delivery that was refused, or came where no endpoint is (table `Deliveries`, sealed). Accepted ones have no row:
/// what is known of them stands with their event.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RefusedRow {
    /// Its id.
    pub id: DeliveryId,
    /// When it came.
    pub at_ms: i64,
    /// The same by the wall's clock, against which proofs count.
    pub proof_ms: i64,
    /// The flow whose endpoint it came to, if one has the address.
    pub flow: Option<FlowId>,
    /// The flow's name then.
    pub name: String,
    /// Trigger id.
    pub trigger: String,
    /// Method.
    pub method: String,
    /// Path as it was asked for.
    pub path: String,
    /// Query without `?`.
    #[serde(default)]
    pub query: String,
    /// The whole address as its sender wrote it, for proofs over it.
    #[serde(default)]
    pub url: String,
    /// Headers in their order, names in lower case, without those whose reader could act as the sender.
    pub headers: Vec<(String, String)>,
    /// Index hashes of the values that were left out, by name: whether a secret fits can still be told.
    #[serde(default)]
    pub withheld: Vec<(String, [u8; 16])>,
    /// Address of the sender.
    pub from: String,
    /// Status of the answer.
    pub status: u16,
    /// What the look at it found.
    pub verdict: Verdict,
    /// In one sentence.
    pub why: String,
    /// From the head to the answer, in microseconds.
    pub took_us: u64,
    /// Bytes of its body, as far as they were read.
    pub bytes: u64,
    /// The whole body is in table `DeliveryBodies`.
    pub whole: bool,
    /// The event as which it was claimed, and its run.
    #[serde(default)]
    pub claimed: Option<(EventId, Option<RunId>)>,
}

/// The body of a refused delivery (table `DeliveryBodies`, sealed).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedBody {
    /// Byte for byte, from its beginning.
    #[serde(with = "aura_protocol::bytes")]
    pub body: Vec<u8>,
}

/// Publications of a flow that are remembered.
pub const HISTORY_MAX: usize = 200;

/// A version became the published one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Publication {
    /// Hash of the version.
    pub version: String,
    /// When.
    pub at_ms: i64,
    /// By whom.
    pub by: String,
    /// Why, if it was no usual one: `rolled back`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
}

/// A published version (table `Versions`, sealed).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VersionRecord {
    /// Hash of the canonical form.
    pub version: String,
    /// Authored text.
    pub text: String,
    /// When it was published.
    pub published_ms: i64,
    /// By whom.
    pub by: String,
}

/// A connection or named secret (table `Connections`, sealed).
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct ConnectionRecord {
    /// Id.
    pub id: ConnectionId,
    /// Name used in flows.
    pub name: String,
    /// Connector, or `secret`.
    pub connector: String,
    /// Settings that are no secrets.
    pub settings: Vec<(String, String)>,
    /// Secrets.
    pub secrets: Vec<(String, String)>,
    /// Secrets that were replaced and still count for deliveries until their end.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub previous: Vec<PreviousSecret>,
    /// It is in the bin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deleted: Option<Deleted>,
    /// Last change.
    pub changed_ms: i64,
}

/// A secret during its rotation.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PreviousSecret {
    /// The field it was in.
    pub field: String,
    /// The value.
    pub value: String,
    /// Unix milliseconds after which it counts no more.
    pub until_ms: i64,
}

impl std::fmt::Debug for ConnectionRecord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<&str> = self.secrets.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("ConnectionRecord")
            .field("name", &self.name)
            .field("connector", &self.connector)
            .field("secrets", &names)
            .finish_non_exhaustive()
    }
}
