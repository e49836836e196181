//! The rpc service: one list of methods, each with its request, reply and minimum role.
//!
//! The macro below makes from one line the tarpc method, the [`Operation`], its role and the dispatch
//! that refuses before the handler runs. A method without a role does not parse, so none can be forgotten.

mod feed;
mod listen;
mod operate;
mod replay;
mod room;
mod sources;
mod trials;
mod tunnel;
mod versions;
mod views;
mod webhooks;

use serde::{Deserialize, Serialize};

pub use crate::schedule::wire::{
    Backfilling, ScheduleBackfill, ScheduleBackfilled, ScheduleInfo, SchedulePause, ScheduleQuery, ScheduleRef,
};
pub use feed::{
    DeliveryFeed, DeliveryNews, FEED_NAMES_MAX, FEED_WAIT_MS_MAX, HookName, RAW_MAX, RawDelivery, RawQuery,
};
pub use listen::{FlowListen, HEARD_MAX, Heard, HeardEvent, HeardQuery, LISTEN_MAX_MS, Listening};
pub use operate::{Binned, Bounded, FlowPause, Removed, RunForceFinish, RunPause};
pub use replay::{EDIT_MAX, Fate, PREVIEW_MAX, ReplayCall, ReplayPreview, Replayed, RunReplay, VersionOf};
pub use room::{RUNS_MAX, RoomStatus, RunDelete, RunFilter, RunsDeleted};
pub use sources::{
    BackfillAsk, BackfillControl, BackfillEffect, BackfillInfo, BackfillPlan, BackfillQuery, BackfillWhat, FormInfo,
    PollChange, PollEdit, PollInfo, PollQuery,
};
pub use trials::{
    AskedStep, CallRow, CaseProblem, CaseReport, CrashReport, DataFrom, FlowPart, FlowTest, FlowTested, FlowTried,
    FlowTry, PathRow,
};
pub use tunnel::TunnelStatus;
pub use versions::{
    FLOWS_AT_ONCE, FlowFiles, FlowText, FlowVersion, FlowVersionOf, PlannedFlow, RunMigrate, RunMigrated,
};
pub use views::{
    Activity, EventPage, EventQuery, FlowActivity, LastRun, RunPage, SettingRow, Settings, WebhookTest, WebhookTested,
};
pub use webhooks::{
    ADDRESS_KEEP_MAX_MS, DeliveryDetail, DeliveryPage, DeliveryQuery, DeliveryRow, REDELIVER_MAX, Redelivered,
    RedeliveredRow, Rotated, Verdict, Webhook, WebhookRedeliver, WebhookRotate, WebhookSample, WebhookSampleQuery,
    WebhookSwitch,
};

use crate::approval::Question;
use crate::descriptor::Connector;
use crate::error::{Code, WireError};
use crate::event::EventRow;
use crate::flow::Finding;
use crate::ids::{ConnectionId, EventId, FlowId, RequestId, RunId, TenantId};
use crate::outgoing::{
    Resend, Resent, SendingDetail, SendingPage, SendingQuery, SendingRef, Subscription, SubscriptionEnable,
    SubscriptionPage, SubscriptionPut, SubscriptionQuery, SubscriptionRotate, SubscriptionTest,
};
use crate::relay::{RelayAdd, RelayInfo, RelayPause, RelayState, RelayToken};
use crate::run::{Resolution, RunHead, RunState, Transition};
use crate::upkeep::{BackupRequest, ExportPage, ExportQuery, Job, JobQuery, Resumed};
use crate::value::Value;
use crate::variable::{VarSet, Variable};
use crate::watch::{WatchReply, WatchRequest};

/// The roles, weakest first. Order is rank for the operations below; `auditor` reads without payloads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Reads states and audit, no payloads.
    Auditor,
    /// Reads.
    Viewer,
    /// Runs, cancels, resolves.
    Operator,
    /// Edits flows.
    Editor,
    /// Publishes, connects.
    Admin,
    /// Everything, keys and backup included.
    Owner,
}

impl Role {
    /// As settings and flows write it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Auditor => "auditor",
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Editor => "editor",
            Self::Admin => "admin",
            Self::Owner => "owner",
        }
    }
}

/// Who calls, for which tenant; with an id that makes a repeat safe.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    /// The tenant.
    pub tenant: TenantId,
    /// Who says so, for the record; the daemon trusts only the socket's peer.
    pub actor: String,
    /// Same id, same answer (mutating calls).
    pub request: RequestId,
}

/// Who was found to call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    /// Account name.
    pub name: String,
    /// Role in the tenant.
    pub role: Role,
    /// Tenant.
    pub tenant: TenantId,
    /// The request.
    pub request: RequestId,
}

macro_rules! service {
    ($($(#[$doc:meta])* $method:ident / $operation:ident ($request:ty) -> $reply:ty : $role:ident;)*) => {
        /// The tarpc service. Clients use `AuraClient`.
        #[tarpc::service]
        pub trait Aura {
            $($(#[$doc])* async fn $method(call: Call, request: $request) -> Result<$reply, WireError>;)*
        }

        /// Every operation, as audit and the role table name it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum Operation { $($(#[$doc])* $operation,)* }

        impl Operation {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$operation,)*];
            /// The weakest role that may.
            #[must_use]
            pub fn role(self) -> Role { match self { $(Self::$operation => Role::$role,)* } }
            /// The method's name on the wire.
            #[must_use]
            pub fn method(self) -> &'static str { match self { $(Self::$operation => stringify!($method),)* } }
        }

        /// What the daemon implements: called only after the role was checked.
        pub trait Handler: Clone + Send + Sync + 'static {
            /// Who is calling, from the socket's peer and the call.
            fn actor(&self, call: &Call) -> Result<Actor, WireError>;
            /// Whether a daemon like this one does such a thing at all, whoever asks.
            fn does(&self, _operation: Operation) -> Result<(), WireError> { Ok(()) }
            $($(#[$doc])* fn $method(&self, actor: Actor, request: $request) -> impl Future<Output = Result<$reply, WireError>> + Send;)*
        }

        /// What a daemon implements that cannot serve now: whatever it does not answer itself is refused.
        pub trait Front: Clone + Send + Sync + 'static {
            /// Who is calling, from the socket's peer and the call.
            fn actor(&self, call: &Call) -> Result<Actor, WireError>;
            /// Why nothing else is answered.
            fn refusal(&self) -> WireError;
            $($(#[$doc])* fn $method(&self, _actor: Actor, _request: $request) -> impl Future<Output = Result<$reply, WireError>> + Send {
                std::future::ready(Err(self.refusal()))
            })*
        }

        /// One or the other as the tarpc service.
        #[derive(Clone)]
        pub enum Offered<H, F> {
            /// A daemon that serves.
            Open(H),
            /// A daemon that cannot serve now.
            Closed(F),
        }

        impl<H: Handler, F: Front> Aura for Offered<H, F> {
            $(async fn $method(self, _: tarpc::context::Context, call: Call, request: $request) -> Result<$reply, WireError> {
                match self {
                    Self::Open(handler) => {
                        let actor = handler.actor(&call)?;
                        allow(&actor, Operation::$operation)?;
                        handler.does(Operation::$operation)?;
                        handler.$method(actor, request).await
                    }
                    Self::Closed(front) => {
                        let actor = front.actor(&call)?;
                        allow(&actor, Operation::$operation)?;
                        front.$method(actor, request).await
                    }
                }
            })*
        }

        /// A [`Handler`] as the tarpc service.
        #[derive(Clone)]
        pub struct Guarded<H>(pub H);

        impl<H: Handler> Aura for Guarded<H> {
            $(async fn $method(self, _: tarpc::context::Context, call: Call, request: $request) -> Result<$reply, WireError> {
                let actor = self.0.actor(&call)?;
                allow(&actor, Operation::$operation)?;
                self.0.does(Operation::$operation)?;
                self.0.$method(actor, request).await
            })*
        }
    };
}

fn allow(actor: &Actor, operation: Operation) -> Result<(), WireError> {
    if actor.role >= operation.role() {
        return Ok(());
    }
    Err(WireError::new(
        Code::Forbidden,
        format!("{} has the role {:?} and {} needs {:?}", actor.name, actor.role, operation.method(), operation.role()),
    ))
}

service! {
    /// Handshake: the first call on a connection.
    hello / Hello(HelloRequest) -> HelloReply: Auditor;
    /// What the daemon is and how it is.
    status / Status(()) -> StatusReply: Auditor;
    /// Checks of the installation; deep reads everything stored.
    doctor / Doctor(DoctorRequest) -> Vec<DoctorFinding>: Viewer;
    /// All flows.
    flow_list / FlowList(()) -> Vec<FlowRow>: Viewer;
    /// One flow with its text.
    flow_show / FlowShow(String) -> FlowDetail: Viewer;
    /// Checks a text with what the daemon knows.
    flow_check / FlowCheck(String) -> Vec<Finding>: Viewer;
    /// Stores a text as the flow's draft, creating the flow if needed.
    flow_apply / FlowApply(FlowApply) -> FlowRow: Editor;
    /// Makes the draft the published version.
    flow_publish / FlowPublish(String) -> FlowRow: Editor;
    /// The publications of a flow, newest first.
    flow_history / FlowHistory(String) -> Vec<FlowVersion>: Viewer;
    /// The text of a version.
    flow_text / FlowTextOf(FlowVersionOf) -> FlowText: Viewer;
    /// What flow files would change, and what that means for runs.
    flow_plan / FlowPlan(FlowFiles) -> Vec<PlannedFlow>: Viewer;
    /// Stores many texts as drafts, or publishes them too: all of them or none.
    flow_apply_all / FlowApplyAll(FlowFiles) -> Vec<FlowRow>: Editor;
    /// Publishes an old version again.
    flow_rollback / FlowRollback(FlowVersionOf) -> FlowRow: Editor;
    /// Starts or stops taking events.
    flow_enable / FlowEnable(FlowEnable) -> FlowRow: Operator;
    /// Holds events of a flow back, or starts them in the order in which they came.
    flow_pause / FlowPause(FlowPause) -> FlowRow: Operator;
    /// Puts a flow into the bin.
    flow_delete / FlowDelete(String) -> Removed: Admin;
    /// Takes a flow out of the bin.
    flow_restore / FlowRestore(String) -> FlowRow: Admin;
    /// What is in the bin.
    bin_list / BinList(()) -> Vec<Binned>: Viewer;
    /// Runs a flow's cases under a virtual clock; nothing is stored or sent.
    flow_test / FlowTest(FlowTest) -> FlowTested: Editor;
    /// Does one step of a text really, as a test run of its own; or says what that would send.
    flow_try / FlowTryOut(FlowTry) -> FlowTried: Editor;
    /// Gives a trigger of a draft an address for test events, for a while.
    flow_listen / FlowListening(FlowListen) -> Listening: Editor;
    /// What test events came.
    flow_heard / FlowHeard(HeardQuery) -> Heard: Editor;
    /// Ends a listener.
    flow_unlisten / FlowUnlisten(String) -> (): Editor;
    /// Writes a file of cases from a run.
    run_record / RunRecord(RunRef) -> String: Viewer;
    /// Starts a run by hand.
    flow_run / FlowRun(FlowRun) -> RunHead: Operator;
    /// Runs, newest first, in windows.
    run_list / RunList(RunQuery) -> Vec<RunHead>: Viewer;
    /// Runs, newest first, with where to go on.
    run_page / RunPage(RunQuery) -> RunPage: Viewer;
    /// One run with its journal (large payloads cut, see `run_payload`).
    run_show / RunShow(RunRef) -> RunDetail: Viewer;
    /// A window of one payload of a run as JSON text.
    run_payload / RunPayload(PayloadQuery) -> PayloadWindow: Viewer;
    /// Runs something again, from a point of a run that has ended; or says what that would do.
    run_replay / RunReplay(RunReplay) -> Replayed: Operator;
    /// Moves an unfinished run to another version, or says why it cannot.
    run_migrate / RunMigration(RunMigrate) -> RunMigrated: Operator;
    /// Asks a run to end.
    run_cancel / RunCancel(RunCancel) -> RunHead: Operator;
    /// Holds a run where it is, or lets it go on.
    run_pause / RunPause(RunPause) -> RunHead: Operator;
    /// Ends a run as it stands.
    run_force_finish / RunForceFinish(RunForceFinish) -> RunHead: Admin;
    /// Deletes finished runs, or says which it would.
    run_delete / RunDelete(RunDelete) -> RunsDeleted: Operator;
    /// Decides about a step in doubt.
    run_resolve / RunResolve(RunResolve) -> RunHead: Operator;
    /// Gives a step what it waits for.
    run_signal / RunSignal(RunSignal) -> RunHead: Operator;
    /// Decides about what a step asks people.
    run_vote / RunVote(RunVote) -> RunHead: Viewer;
    /// Has somebody else decide instead.
    run_delegate / RunDelegate(RunDelegate) -> RunHead: Viewer;
    /// What a run asks people now.
    run_asks / RunAsks(RunRef) -> Vec<Question>: Viewer;
    /// Held, dropped and repeated events, newest first, in pages.
    event_list / EventList(EventQuery) -> EventPage: Viewer;
    /// One event that has a row of its own.
    event_show / EventShow(EventId) -> EventRow: Viewer;
    /// What the flows did lately.
    flow_activity / FlowActivity(()) -> Activity: Viewer;
    /// News since a cursor.
    watch / Watch(WatchRequest) -> WatchReply: Viewer;
    /// The endpoints of triggers.
    webhook_list / WebhookList(()) -> Vec<Webhook>: Viewer;
    /// Sends a sample delivery, signed as its sender would, to a trigger's own endpoint.
    webhook_test / WebhookTest(WebhookTest) -> WebhookTested: Operator;
    /// The pages of forms.
    form_list / FormList(()) -> Vec<FormInfo>: Viewer;
    /// Polls with their cursors.
    poll_list / PollList(PollQuery) -> Vec<PollInfo>: Viewer;
    /// Looks at once, moves a cursor, or begins anew.
    poll_change / PollChanged(PollChange) -> PollInfo: Operator;
    /// What a backfill would mean.
    backfill_plan / BackfillPlanned(BackfillAsk) -> BackfillPlan: Operator;
    /// Begins a backfill.
    backfill_start / BackfillBegun(BackfillAsk) -> BackfillInfo: Operator;
    /// Backfills, newest first.
    backfill_list / BackfillList(BackfillQuery) -> Vec<BackfillInfo>: Viewer;
    /// Holds a backfill, lets it go on, or ends it.
    backfill_control / BackfillControlled(BackfillControl) -> BackfillInfo: Operator;
    /// Deliveries to endpoints, accepted or refused, newest first, in pages.
    webhook_deliveries / WebhookDeliveries(DeliveryQuery) -> DeliveryPage: Viewer;
    /// One delivery as it came, and what differed.
    webhook_delivery / WebhookDelivery(String) -> DeliveryDetail: Viewer;
    /// Deliveries behind a cursor, as they come.
    webhook_feed / WebhookFeed(DeliveryFeed) -> DeliveryNews: Viewer;
    /// The bytes of one delivery, to hand a copy of it on.
    webhook_raw / WebhookRaw(RawQuery) -> RawDelivery: Operator;
    /// Delivers again what came before: to its own endpoint, or to the one that claims it; or says what that would do.
    webhook_redeliver / WebhookRedeliver(WebhookRedeliver) -> Redelivered: Operator;
    /// Gives an endpoint a new secret or a new address; the one before counts for a while.
    webhook_rotate / WebhookRotate(WebhookRotate) -> Rotated: Admin;
    /// Closes or opens one endpoint without a new version.
    webhook_switch / WebhookSwitch(WebhookSwitch) -> Webhook: Operator;
    /// A realistic delivery of the provider, signed now, with its `curl`.
    webhook_sample / WebhookSample(WebhookSampleQuery) -> WebhookSample: Operator;
    /// Proves an endpoint's public address end to end.
    webhook_doctor / WebhookDoctor(String) -> Vec<DoctorFinding>: Operator;
    /// Schedules with their next instants.
    schedule_list / ScheduleList(ScheduleQuery) -> Vec<ScheduleInfo>: Viewer;
    /// Lets one schedule rest, or go on.
    schedule_pause / SchedulePause(SchedulePause) -> ScheduleInfo: Operator;
    /// One run of a schedule now, beside its instants.
    schedule_run / ScheduleRun(ScheduleRef) -> RunHead: Operator;
    /// Runs of past instants; only those that never fired.
    schedule_backfill / ScheduleBackfill(ScheduleBackfill) -> ScheduleBackfilled: Operator;
    /// Ends a backfill; what it made stays.
    schedule_stop / ScheduleStop(ScheduleRef) -> ScheduleInfo: Operator;
    /// All connections, never a secret value.
    connection_list / ConnectionList(()) -> Vec<Connection>: Viewer;
    /// Adds or replaces a connection.
    connection_add / ConnectionAdd(ConnectionAdd) -> Connection: Admin;
    /// Puts a connection into the bin.
    connection_delete / ConnectionDelete(String) -> Removed: Admin;
    /// Takes a connection out of the bin.
    connection_restore / ConnectionRestore(String) -> Connection: Admin;
    /// Subscriptions of people outside, never with a secret.
    subscription_list / SubscriptionList(SubscriptionQuery) -> SubscriptionPage: Viewer;
    /// Creates or changes a subscription.
    subscription_put / SubscriptionChange(SubscriptionPut) -> Subscription: Admin;
    /// Gives a subscription a new secret.
    subscription_rotate / SubscriptionRotation(SubscriptionRotate) -> Subscription: Admin;
    /// Lets a subscription be sent to, or not.
    subscription_enable / SubscriptionSwitch(SubscriptionEnable) -> Subscription: Operator;
    /// Puts a subscription into the bin.
    subscription_delete / SubscriptionDelete(String) -> Removed: Admin;
    /// Takes a subscription out of the bin.
    subscription_restore / SubscriptionRestore(String) -> Subscription: Admin;
    /// Sends a test event, once and at once.
    subscription_test / SubscriptionTrial(SubscriptionTest) -> SendingDetail: Operator;
    /// Sendings, newest first, in pages.
    sending_list / SendingList(SendingQuery) -> SendingPage: Viewer;
    /// One sending with what is sent.
    sending_show / SendingShow(SendingRef) -> SendingDetail: Viewer;
    /// Sends again, or says what that would send.
    sending_resend / SendingResend(Resend) -> Resent: Operator;
    /// Gives a sending that waits up.
    sending_give_up / SendingGiveUp(SendingRef) -> SendingDetail: Operator;
    /// Relays that this daemon takes deliveries from, and what it is if it is one.
    relay_list / RelayList(()) -> RelayState: Viewer;
    /// Takes deliveries from a relay, or changes how.
    relay_add / RelayAddition(RelayAdd) -> RelayInfo: Admin;
    /// Takes nothing from a relay any more; what waits there stays there.
    relay_remove / RelayRemoval(String) -> RelayInfo: Admin;
    /// Takes nothing from a relay for a while, or goes on.
    relay_pause / RelayPausing(RelayPause) -> RelayInfo: Operator;
    /// A new token for this relay; the one before counts no more.
    relay_token / RelayTokenMade(()) -> RelayToken: Admin;
    /// All variables.
    var_list / VarList(()) -> Vec<Variable>: Viewer;
    /// Sets a variable.
    var_set / VarSet(VarSet) -> Variable: Editor;
    /// Takes a variable away; gives it as it was.
    var_unset / VarUnset(String) -> Variable: Editor;
    /// What connectors this daemon has.
    connector_list / ConnectorList(()) -> Vec<Connector>: Viewer;
    /// Settings in effect with their sources; secrets are shown as dots.
    config_show / ConfigShow(()) -> Settings: Operator;
    /// The newest lines of the daemon's log, at most this many, oldest first.
    log_recent / LogRecent(u32) -> Vec<String>: Operator;
    /// Makes a backup in the background.
    backup / Backup(BackupRequest) -> Job: Owner;
    /// Gives unused space of the store back, in the background; deliveries are answered 503 meanwhile.
    compact / Compact(()) -> Job: Owner;
    /// Counts in the background what takes room.
    du / Du(()) -> Job: Viewer;
    /// News of such work.
    job / JobNews(JobQuery) -> Job: Viewer;
    /// Lets a restored store go on.
    resume / Resume(()) -> Resumed: Owner;
    /// A window of flows, runs and events as lines of JSON.
    export / Export(ExportQuery) -> ExportPage: Viewer;
    /// Moves the demo's clock (only a demo daemon has one).
    demo_advance / DemoAdvance(u64) -> i64: Operator;
}

/// What the client speaks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HelloRequest {
    /// Protocol number of the client.
    pub protocol: u32,
    /// Build of the client.
    pub build: String,
}

/// What the daemon speaks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HelloReply {
    /// Protocol number of the daemon.
    pub protocol: u32,
    /// Build of the daemon.
    pub build: String,
    /// What it offers beyond the number.
    pub capabilities: Vec<String>,
    /// Who you are to it.
    pub account: String,
    /// Your role.
    pub role: Role,
}

/// What `aura status` shows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusReply {
    /// Build.
    pub build: String,
    /// Process id.
    pub pid: u32,
    /// `ready`, `closing`, `paused` or `compacting`, with the reason.
    pub state: String,
    /// Name of this daemon on screen (`demo` for a demo).
    pub profile: String,
    /// Address of the HTTP door.
    pub listen: String,
    /// Data directory.
    pub data_dir: String,
    /// Up for this many milliseconds.
    pub up_ms: u64,
    /// The daemon's clock.
    pub now_ms: i64,
    /// Bytes of the database file.
    pub store_bytes: u64,
    /// Newest cursor of the tail.
    pub cursor: u64,
    /// Unfinished runs by state.
    pub live: Vec<(RunState, u64)>,
    /// Held event groups.
    pub held: u64,
    /// Room: what is stored, what may be, and what the disk has.
    #[serde(default)]
    pub room: RoomStatus,
    /// What the check of this start found; none until it has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checked: Option<StartChecked>,
    /// Its tunnel, if it keeps one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tunnel: Option<TunnelStatus>,
}

/// What the check of a start looked at and found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartChecked {
    /// Unfinished runs.
    pub live: u64,
    /// Runs created last.
    pub recent: u64,
    /// Nothing was left out because of its number.
    pub whole: bool,
    /// Rows that are damaged or missing.
    pub damaged: u64,
}

/// `aura doctor`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DoctorRequest {
    /// Read and verify everything stored.
    pub deep: bool,
}

/// One line of `aura doctor`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DoctorFinding {
    /// `ok`, `warn` or `fail`.
    pub level: String,
    /// What was looked at.
    pub subject: String,
    /// What was found.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
}

/// A flow in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowRow {
    /// Id.
    pub id: FlowId,
    /// Name.
    pub flow: String,
    /// Title.
    pub title: String,
    /// Takes events.
    pub enabled: bool,
    /// Its events are held until somebody resumes it.
    #[serde(default)]
    pub paused: bool,
    /// Events held because of that, or not started yet since it was resumed.
    #[serde(default)]
    pub held: u64,
    /// Published version hash.
    pub published: Option<String>,
    /// Draft hash, if it differs from the published one.
    pub draft: Option<String>,
    /// What starts it, as `id: on`.
    pub triggers: Vec<String>,
    /// When the next of its schedules is due; none without schedules or while it is disabled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_ms: Option<i64>,
    /// When it was last changed.
    pub changed_ms: i64,
}

/// A flow with its texts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowDetail {
    /// The row.
    pub row: FlowRow,
    /// Authored text of the published version.
    pub published: Option<String>,
    /// Authored text of the draft.
    pub draft: Option<String>,
}

/// `aura flow apply`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowApply {
    /// The flow file.
    pub text: String,
}

/// `aura flow enable` and `disable`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowEnable {
    /// Name.
    pub flow: String,
    /// Take events?
    pub enabled: bool,
}

/// `aura flow run`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FlowRun {
    /// Name.
    pub flow: String,
    /// Becomes `input` and `trigger.body`.
    pub input: Value,
}

/// Which runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunQuery {
    /// Only of this flow.
    pub flow: Option<String>,
    /// Only in these states (empty: all).
    pub states: Vec<RunState>,
    /// Older than this run.
    pub before: Option<RunId>,
    /// At most this many (≤ 500).
    pub limit: u32,
    /// Only those that fit this filter ([`crate::filter`]).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
}

/// A run by id, or by a unique prefix or suffix of at least four characters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunRef(pub String);

/// A run with everything but large payloads.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunDetail {
    /// Its row.
    pub head: RunHead,
    /// Its journal; payloads over 16 KiB stand as the text `… N bytes …`.
    pub journal: Vec<Transition>,
    /// Step ids of its version in written order, with depth, kind and title for the timeline.
    pub outline: Vec<OutlineRow>,
    /// Cut: the journal is longer than one frame; this is its end.
    pub cut: bool,
}

/// One step of a flow in written order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutlineRow {
    /// Step id.
    pub step: String,
    /// Nesting, from 0.
    pub depth: u32,
    /// Kind, or the action for `uses`.
    pub kind: String,
    /// `steps`, `on_error`, `finally`, or the arm as `when …` / `else`.
    pub scope: String,
}

/// A window of a payload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PayloadQuery {
    /// Run.
    pub run: RunRef,
    /// Step; empty for the trigger.
    pub step: String,
    /// `input`, `output` or `error`.
    pub part: String,
    /// Byte offset.
    pub offset: u64,
    /// At most this many bytes (≤ 256 KiB).
    pub limit: u32,
}

/// A piece of pretty-printed JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PayloadWindow {
    /// The piece.
    pub text: String,
    /// Whole length in bytes.
    pub total: u64,
}

/// `aura run cancel`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunCancel {
    /// Run.
    pub run: RunRef,
    /// Why.
    pub reason: String,
}

/// `aura run resolve`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunResolve {
    /// Run.
    pub run: RunRef,
    /// The step in doubt.
    pub step: String,
    /// How.
    pub resolution: Resolution,
}

/// `aura run signal`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunSignal {
    /// Run.
    pub run: RunRef,
    /// The step that waits, or will.
    pub step: String,
    /// What it is given.
    pub data: Value,
}

/// `aura approve` and `aura reject`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunVote {
    /// Run.
    pub run: RunRef,
    /// The step that asks.
    pub step: String,
    /// Yes or no.
    pub approve: bool,
    /// The hash of what was seen.
    pub hash: String,
    /// What was filled in.
    pub form: Value,
    /// Why, in words.
    pub comment: String,
}

/// `aura run delegate`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunDelegate {
    /// Run.
    pub run: RunRef,
    /// The step that asks.
    pub step: String,
    /// The account that is asked instead.
    pub to: String,
}

/// A connection, never with a secret value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connection {
    /// Id.
    pub id: ConnectionId,
    /// Name used in flows.
    pub name: String,
    /// Connector.
    pub connector: String,
    /// Settings that are no secrets.
    pub settings: Vec<(String, String)>,
    /// Names of the secrets that are set.
    pub secrets: Vec<String>,
    /// When it was last changed.
    pub changed_ms: i64,
}

/// `aura connection add`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectionAdd {
    /// Name used in flows.
    pub name: String,
    /// Connector; `secret` for a bare named secret (one field `value`).
    pub connector: String,
    /// Settings and secrets by field name.
    pub fields: Vec<(String, String)>,
    /// A rotation: secrets that this replaces go on proving deliveries for so many milliseconds, at most 7 days.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_ms: Option<u64>,
}

impl std::fmt::Debug for ConnectionAdd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<&str> = self.fields.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("ConnectionAdd")
            .field("name", &self.name)
            .field("connector", &self.connector)
            .field("fields", &names)
            .finish()
    }
}

/// Frames of MessagePack with field names, at most [`crate::wire::FRAME_MAX`] bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Codec;

impl<T: Serialize> tokio_serde::Serializer<T> for Codec {
    type Error = std::io::Error;
    fn serialize(self: std::pin::Pin<&mut Self>, item: &T) -> Result<tokio_util::bytes::Bytes, Self::Error> {
        crate::wire::encode(item).map(Into::into).map_err(std::io::Error::other)
    }
}

impl<T: serde::de::DeserializeOwned> tokio_serde::Deserializer<T> for Codec {
    type Error = std::io::Error;
    fn deserialize(self: std::pin::Pin<&mut Self>, bytes: &tokio_util::bytes::BytesMut) -> Result<T, Self::Error> {
        crate::wire::decode(bytes).map_err(|error| std::io::Error::new(std::io::ErrorKind::InvalidData, error))
    }
}

/// The framing both sides use around [`Codec`].
#[must_use]
pub fn framing() -> tokio_util::codec::LengthDelimitedCodec {
    tokio_util::codec::LengthDelimitedCodec::builder().max_frame_length(crate::wire::FRAME_MAX).new_codec()
}
