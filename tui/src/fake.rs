//! A daemon with a scripted store behind a real socket, for tests of the link and of commands.
//!
//! Invariant: what it answers was put in by the test; it invents nothing.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aura_protocol::descriptor::Connector;
use aura_protocol::event::EventRow;
use aura_protocol::flow::Finding;
use aura_protocol::ids::{EventId, RequestId};
use aura_protocol::outgoing::{
    Resend, Resent, SendingDetail, SendingPage, SendingQuery, SendingRef, Subscription, SubscriptionEnable,
    SubscriptionPage, SubscriptionPut, SubscriptionQuery, SubscriptionRotate, SubscriptionTest,
};
use aura_protocol::rpc::*;
use aura_protocol::run::{RunHead, RunState};
use aura_protocol::upkeep::{BackupRequest, ExportPage, ExportQuery, Job, JobQuery, Resumed};
use aura_protocol::version::PROTOCOL;
use aura_protocol::watch::{Item, WatchReply, WatchRequest};
use aura_protocol::{Code, WireError};
use futures::StreamExt;
use tarpc::server::{BaseChannel, Channel};
use tokio::net::UnixListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// The scripted store; shared by all connections and restarts.
#[derive(Default)]
pub struct Script {
    /// Heads for lists.
    pub heads: Vec<RunHead>,
    /// The one run with a journal.
    pub detail: Option<RunDetail>,
    /// News by cursor: the item at index n came with cursor n + 1.
    pub news: Vec<Item>,
    /// Request ids of cancels, in the order they came.
    pub cancels: Vec<RequestId>,
    /// So many cancels are taken but never answered: the connection hangs.
    pub unanswered: usize,
    /// What the feed of deliveries answers, in order; then nothing more comes.
    pub feed: Vec<DeliveryNews>,
    /// The list of deliveries, newest first.
    pub deliveries: Vec<DeliveryRow>,
    /// Protocol number it claims.
    pub protocol: u32,
}

/// The fake daemon.
#[derive(Clone)]
pub struct Fake {
    /// What it answers from.
    pub script: Arc<Mutex<Script>>,
    changed: watch::Sender<u64>,
    hung: Arc<tokio::sync::Notify>,
}

/// A listening fake; dropping it closes all connections and leaves a stale socket.
pub struct Running {
    _tasks: JoinSet<()>,
}

impl Fake {
    /// With a store.
    pub fn new(mut script: Script) -> Self {
        if script.protocol == 0 {
            script.protocol = PROTOCOL;
        }
        Self {
            script: Arc::new(Mutex::new(script)),
            changed: watch::channel(0).0,
            hung: Arc::new(tokio::sync::Notify::new()),
        }
    }

    /// Adds news and wakes the polls.
    pub fn push(&self, item: Item) {
        self.script.lock().unwrap().news.push(item);
        self.changed.send_modify(|version| *version += 1);
    }

    /// Waits until a call hangs.
    pub async fn hangs(&self) {
        self.hung.notified().await;
    }

    /// Listens on a path, replacing a stale socket.
    pub fn listen(&self, path: &Path) -> Running {
        let path: PathBuf = path.to_owned();
        let _ = std::fs::remove_file(&path);
        let listener = UnixListener::bind(&path).unwrap();
        let fake = self.clone();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let framed = tokio_util::codec::Framed::new(stream, framing());
                let transport = tarpc::serde_transport::new(framed, Codec);
                let calls = BaseChannel::with_defaults(transport).execute(Guarded(fake.clone()).serve());
                connections.spawn(calls.for_each_concurrent(16, |call| call));
            }
        });
        Running { _tasks: tasks }
    }
}

fn unscripted<T>() -> Result<T, WireError> {
    Err(WireError::internal("the fake has no script for this"))
}

impl Handler for Fake {
    fn actor(&self, call: &Call) -> Result<Actor, WireError> {
        Ok(Actor { name: "maria".into(), role: Role::Owner, tenant: call.tenant, request: call.request })
    }
    async fn hello(&self, _: Actor, _: HelloRequest) -> Result<HelloReply, WireError> {
        Ok(HelloReply {
            protocol: self.script.lock().unwrap().protocol,
            build: "0.1.0".into(),
            capabilities: Vec::new(),
            account: "maria".into(),
            role: Role::Owner,
        })
    }
    async fn status(&self, _: Actor, (): ()) -> Result<StatusReply, WireError> {
        let mut status = crate::fixture::status();
        status.cursor = u64::try_from(self.script.lock().unwrap().news.len()).unwrap();
        Ok(status)
    }
    async fn run_list(&self, _: Actor, _: RunQuery) -> Result<Vec<RunHead>, WireError> {
        Ok(self.script.lock().unwrap().heads.clone())
    }
    async fn run_page(&self, _: Actor, query: RunQuery) -> Result<RunPage, WireError> {
        let limit = usize::try_from(query.limit).unwrap();
        let heads = self.script.lock().unwrap().heads.clone();
        let older = heads.into_iter().filter(|head| query.before.is_none_or(|before| head.run < before));
        let mut runs: Vec<RunHead> = older.take(limit + 1).collect();
        let more = runs.len() > limit;
        runs.truncate(limit);
        let next = runs.last().filter(|_| more).map(|head| head.run);
        Ok(RunPage { runs, next, bounded: None })
    }
    async fn run_show(&self, _: Actor, run: RunRef) -> Result<RunDetail, WireError> {
        let detail = self.script.lock().unwrap().detail.clone();
        detail
            .filter(|detail| detail.head.run.to_string().ends_with(&run.0))
            .ok_or_else(|| WireError::not_found(format!("there is no run {}", run.0)))
    }
    async fn run_payload(&self, _: Actor, query: PayloadQuery) -> Result<PayloadWindow, WireError> {
        Ok(PayloadWindow { text: format!("\"window at {}\"", query.offset), total: 200_000 })
    }
    async fn run_delete(&self, _: Actor, _: RunDelete) -> Result<RunsDeleted, WireError> {
        unscripted()
    }
    async fn run_cancel(&self, actor: Actor, cancel: RunCancel) -> Result<RunHead, WireError> {
        let hangs = {
            let mut script = self.script.lock().unwrap();
            script.cancels.push(actor.request);
            let hangs = script.unanswered > 0;
            script.unanswered = script.unanswered.saturating_sub(1);
            hangs
        };
        if hangs {
            self.hung.notify_one();
            std::future::pending::<()>().await;
        }
        let script = self.script.lock().unwrap();
        let head = script.heads.iter().find(|head| head.run.to_string() == cancel.run.0);
        let mut head = head.cloned().ok_or_else(|| WireError::not_found("no such run"))?;
        head.state = RunState::Cancelled;
        head.transition += 1;
        Ok(head)
    }
    async fn watch(&self, _: Actor, request: WatchRequest) -> Result<WatchReply, WireError> {
        let mut changed = self.changed.subscribe();
        let until = tokio::time::Instant::now() + Duration::from_millis(u64::from(request.wait_ms));
        loop {
            let (news, end) = {
                let script = self.script.lock().unwrap();
                let end = u64::try_from(script.news.len()).unwrap();
                let from = usize::try_from(request.cursor.unwrap_or(end)).unwrap().min(script.news.len());
                (script.news[from..].to_vec(), end)
            };
            let late = tokio::time::Instant::now() >= until;
            if !news.is_empty() || late {
                let now_ms = crate::fixture::NOW;
                return Ok(WatchReply { cursor: end, items: news, cut: false, more: false, now_ms });
            }
            let _ = tokio::time::timeout_at(until, changed.changed()).await;
        }
    }
    async fn event_list(&self, _: Actor, _: EventQuery) -> Result<EventPage, WireError> {
        unscripted()
    }
    async fn event_show(&self, _: Actor, _: EventId) -> Result<EventRow, WireError> {
        unscripted()
    }
    async fn flow_activity(&self, _: Actor, (): ()) -> Result<Activity, WireError> {
        unscripted()
    }
    async fn webhook_test(&self, _: Actor, _: WebhookTest) -> Result<WebhookTested, WireError> {
        unscripted()
    }
    async fn webhook_deliveries(&self, _: Actor, query: DeliveryQuery) -> Result<DeliveryPage, WireError> {
        let rows = self.script.lock().unwrap().deliveries.clone();
        let mut left = rows.into_iter().filter(|row| query.before.is_none_or(|before| row.id < before));
        let of_time = |row: &DeliveryRow| query.after.is_none_or(|after| row.id > after);
        // Pages of two, so that there are several.
        let deliveries: Vec<DeliveryRow> = left.by_ref().filter(of_time).take(2).collect();
        let next = left.next().and(deliveries.last()).map(|row| row.id);
        Ok(DeliveryPage { deliveries, next, unkept: 0 })
    }
    async fn webhook_feed(&self, _: Actor, request: DeliveryFeed) -> Result<DeliveryNews, WireError> {
        let mut script = self.script.lock().unwrap();
        if script.feed.is_empty() {
            return Ok(DeliveryNews { cursor: request.cursor.unwrap_or(0), ..DeliveryNews::default() });
        }
        Ok(script.feed.remove(0))
    }
    async fn webhook_raw(&self, _: Actor, _: RawQuery) -> Result<RawDelivery, WireError> {
        unscripted()
    }
    async fn webhook_delivery(&self, _: Actor, _: String) -> Result<DeliveryDetail, WireError> {
        unscripted()
    }
    async fn webhook_redeliver(&self, _: Actor, _: WebhookRedeliver) -> Result<Redelivered, WireError> {
        unscripted()
    }
    async fn webhook_rotate(&self, _: Actor, _: WebhookRotate) -> Result<Rotated, WireError> {
        unscripted()
    }
    async fn webhook_switch(&self, _: Actor, _: WebhookSwitch) -> Result<Webhook, WireError> {
        unscripted()
    }
    async fn webhook_sample(&self, _: Actor, _: WebhookSampleQuery) -> Result<WebhookSample, WireError> {
        unscripted()
    }
    async fn webhook_doctor(&self, _: Actor, _: String) -> Result<Vec<DoctorFinding>, WireError> {
        unscripted()
    }
    async fn config_show(&self, _: Actor, (): ()) -> Result<Settings, WireError> {
        unscripted()
    }
    async fn log_recent(&self, _: Actor, _: u32) -> Result<Vec<String>, WireError> {
        unscripted()
    }
    async fn doctor(&self, _: Actor, _: DoctorRequest) -> Result<Vec<DoctorFinding>, WireError> {
        unscripted()
    }
    async fn flow_list(&self, _: Actor, (): ()) -> Result<Vec<FlowRow>, WireError> {
        unscripted()
    }
    async fn flow_show(&self, _: Actor, _: String) -> Result<FlowDetail, WireError> {
        unscripted()
    }
    async fn flow_check(&self, _: Actor, _: String) -> Result<Vec<Finding>, WireError> {
        unscripted()
    }
    async fn flow_apply(&self, _: Actor, _: FlowApply) -> Result<FlowRow, WireError> {
        unscripted()
    }
    async fn flow_publish(&self, _: Actor, _: String) -> Result<FlowRow, WireError> {
        unscripted()
    }
    async fn flow_history(&self, _: Actor, _: String) -> Result<Vec<FlowVersion>, WireError> {
        unscripted()
    }
    async fn flow_text(&self, _: Actor, _: FlowVersionOf) -> Result<FlowText, WireError> {
        unscripted()
    }
    async fn flow_plan(&self, _: Actor, _: FlowFiles) -> Result<Vec<PlannedFlow>, WireError> {
        unscripted()
    }
    async fn flow_apply_all(&self, _: Actor, _: FlowFiles) -> Result<Vec<FlowRow>, WireError> {
        unscripted()
    }
    async fn flow_rollback(&self, _: Actor, _: FlowVersionOf) -> Result<FlowRow, WireError> {
        unscripted()
    }
    async fn flow_try(&self, _: Actor, _: FlowTry) -> Result<FlowTried, WireError> {
        unscripted()
    }
    async fn flow_listen(&self, _: Actor, _: FlowListen) -> Result<Listening, WireError> {
        unscripted()
    }
    async fn flow_heard(&self, _: Actor, _: HeardQuery) -> Result<Heard, WireError> {
        unscripted()
    }
    async fn flow_unlisten(&self, _: Actor, _: String) -> Result<(), WireError> {
        unscripted()
    }
    async fn run_replay(&self, _: Actor, _: RunReplay) -> Result<Replayed, WireError> {
        unscripted()
    }
    async fn run_migrate(&self, _: Actor, _: RunMigrate) -> Result<RunMigrated, WireError> {
        unscripted()
    }
    async fn flow_enable(&self, _: Actor, _: FlowEnable) -> Result<FlowRow, WireError> {
        unscripted()
    }
    async fn flow_pause(&self, _: Actor, _: FlowPause) -> Result<FlowRow, WireError> {
        unscripted()
    }
    async fn flow_delete(&self, _: Actor, _: String) -> Result<Removed, WireError> {
        unscripted()
    }
    async fn flow_restore(&self, _: Actor, _: String) -> Result<FlowRow, WireError> {
        unscripted()
    }
    async fn bin_list(&self, _: Actor, (): ()) -> Result<Vec<Binned>, WireError> {
        unscripted()
    }
    async fn run_pause(&self, _: Actor, _: RunPause) -> Result<RunHead, WireError> {
        unscripted()
    }
    async fn run_force_finish(&self, _: Actor, _: RunForceFinish) -> Result<RunHead, WireError> {
        unscripted()
    }
    async fn connection_delete(&self, _: Actor, _: String) -> Result<Removed, WireError> {
        unscripted()
    }
    async fn connection_restore(&self, _: Actor, _: String) -> Result<Connection, WireError> {
        unscripted()
    }
    async fn flow_test(&self, _: Actor, _: FlowTest) -> Result<FlowTested, WireError> {
        unscripted()
    }
    async fn run_record(&self, _: Actor, _: RunRef) -> Result<String, WireError> {
        unscripted()
    }
    async fn flow_run(&self, _: Actor, _: FlowRun) -> Result<RunHead, WireError> {
        unscripted()
    }
    async fn run_resolve(&self, _: Actor, _: RunResolve) -> Result<RunHead, WireError> {
        Err(WireError::new(Code::Conflict, "this step is not in doubt"))
    }
    async fn run_vote(&self, _: Actor, _: RunVote) -> Result<RunHead, WireError> {
        Err(WireError::new(Code::Conflict, "this step asks nobody"))
    }
    async fn run_delegate(&self, _: Actor, _: RunDelegate) -> Result<RunHead, WireError> {
        Err(WireError::new(Code::Conflict, "this step asks nobody"))
    }
    async fn run_asks(&self, _: Actor, _: RunRef) -> Result<Vec<aura_protocol::approval::Question>, WireError> {
        Ok(Vec::new())
    }
    async fn run_signal(&self, _: Actor, _: RunSignal) -> Result<RunHead, WireError> {
        Err(WireError::new(Code::Conflict, "this step does not wait any more"))
    }
    async fn schedule_list(&self, _: Actor, _: ScheduleQuery) -> Result<Vec<ScheduleInfo>, WireError> {
        Ok(Vec::new())
    }
    async fn schedule_pause(&self, _: Actor, _: SchedulePause) -> Result<ScheduleInfo, WireError> {
        unscripted()
    }
    async fn schedule_run(&self, _: Actor, _: ScheduleRef) -> Result<RunHead, WireError> {
        unscripted()
    }
    async fn schedule_backfill(&self, _: Actor, _: ScheduleBackfill) -> Result<ScheduleBackfilled, WireError> {
        unscripted()
    }
    async fn schedule_stop(&self, _: Actor, _: ScheduleRef) -> Result<ScheduleInfo, WireError> {
        unscripted()
    }
    async fn form_list(&self, _: Actor, (): ()) -> Result<Vec<aura_protocol::rpc::FormInfo>, WireError> {
        Ok(Vec::new())
    }
    async fn poll_list(
        &self,
        _: Actor,
        _: aura_protocol::rpc::PollQuery,
    ) -> Result<Vec<aura_protocol::rpc::PollInfo>, WireError> {
        Ok(Vec::new())
    }
    async fn poll_change(
        &self,
        _: Actor,
        _: aura_protocol::rpc::PollChange,
    ) -> Result<aura_protocol::rpc::PollInfo, WireError> {
        unscripted()
    }
    async fn backfill_plan(
        &self,
        _: Actor,
        _: aura_protocol::rpc::BackfillAsk,
    ) -> Result<aura_protocol::rpc::BackfillPlan, WireError> {
        unscripted()
    }
    async fn backfill_start(
        &self,
        _: Actor,
        _: aura_protocol::rpc::BackfillAsk,
    ) -> Result<aura_protocol::rpc::BackfillInfo, WireError> {
        unscripted()
    }
    async fn backfill_list(
        &self,
        _: Actor,
        _: aura_protocol::rpc::BackfillQuery,
    ) -> Result<Vec<aura_protocol::rpc::BackfillInfo>, WireError> {
        Ok(Vec::new())
    }
    async fn backfill_control(
        &self,
        _: Actor,
        _: aura_protocol::rpc::BackfillControl,
    ) -> Result<aura_protocol::rpc::BackfillInfo, WireError> {
        unscripted()
    }
    async fn webhook_list(&self, _: Actor, (): ()) -> Result<Vec<Webhook>, WireError> {
        unscripted()
    }
    async fn connection_list(&self, _: Actor, (): ()) -> Result<Vec<Connection>, WireError> {
        unscripted()
    }
    async fn connection_add(&self, _: Actor, _: ConnectionAdd) -> Result<Connection, WireError> {
        unscripted()
    }
    async fn subscription_list(&self, _: Actor, _: SubscriptionQuery) -> Result<SubscriptionPage, WireError> {
        unscripted()
    }
    async fn subscription_put(&self, _: Actor, _: SubscriptionPut) -> Result<Subscription, WireError> {
        unscripted()
    }
    async fn subscription_rotate(&self, _: Actor, _: SubscriptionRotate) -> Result<Subscription, WireError> {
        unscripted()
    }
    async fn subscription_enable(&self, _: Actor, _: SubscriptionEnable) -> Result<Subscription, WireError> {
        unscripted()
    }
    async fn subscription_delete(&self, _: Actor, _: String) -> Result<Removed, WireError> {
        unscripted()
    }
    async fn subscription_restore(&self, _: Actor, _: String) -> Result<Subscription, WireError> {
        unscripted()
    }
    async fn subscription_test(&self, _: Actor, _: SubscriptionTest) -> Result<SendingDetail, WireError> {
        unscripted()
    }
    async fn sending_list(&self, _: Actor, _: SendingQuery) -> Result<SendingPage, WireError> {
        unscripted()
    }
    async fn sending_show(&self, _: Actor, _: SendingRef) -> Result<SendingDetail, WireError> {
        unscripted()
    }
    async fn sending_resend(&self, _: Actor, _: Resend) -> Result<Resent, WireError> {
        unscripted()
    }
    async fn sending_give_up(&self, _: Actor, _: SendingRef) -> Result<SendingDetail, WireError> {
        unscripted()
    }
    async fn relay_list(&self, _: Actor, (): ()) -> Result<aura_protocol::relay::RelayState, WireError> {
        Ok(aura_protocol::relay::RelayState::default())
    }
    async fn relay_add(
        &self,
        _: Actor,
        _: aura_protocol::relay::RelayAdd,
    ) -> Result<aura_protocol::relay::RelayInfo, WireError> {
        unscripted()
    }
    async fn relay_remove(&self, _: Actor, _: String) -> Result<aura_protocol::relay::RelayInfo, WireError> {
        unscripted()
    }
    async fn relay_pause(
        &self,
        _: Actor,
        _: aura_protocol::relay::RelayPause,
    ) -> Result<aura_protocol::relay::RelayInfo, WireError> {
        unscripted()
    }
    async fn relay_token(&self, _: Actor, (): ()) -> Result<aura_protocol::relay::RelayToken, WireError> {
        unscripted()
    }
    async fn var_list(&self, _: Actor, (): ()) -> Result<Vec<aura_protocol::variable::Variable>, WireError> {
        unscripted()
    }
    async fn var_set(
        &self,
        _: Actor,
        _: aura_protocol::variable::VarSet,
    ) -> Result<aura_protocol::variable::Variable, WireError> {
        unscripted()
    }
    async fn var_unset(&self, _: Actor, _: String) -> Result<aura_protocol::variable::Variable, WireError> {
        unscripted()
    }
    async fn connector_list(&self, _: Actor, (): ()) -> Result<Vec<Connector>, WireError> {
        unscripted()
    }
    async fn backup(&self, _: Actor, _: BackupRequest) -> Result<Job, WireError> {
        unscripted()
    }
    async fn compact(&self, _: Actor, (): ()) -> Result<Job, WireError> {
        unscripted()
    }
    async fn du(&self, _: Actor, (): ()) -> Result<Job, WireError> {
        unscripted()
    }
    async fn job(&self, _: Actor, _: JobQuery) -> Result<Job, WireError> {
        unscripted()
    }
    async fn resume(&self, _: Actor, (): ()) -> Result<Resumed, WireError> {
        unscripted()
    }
    async fn export(&self, _: Actor, _: ExportQuery) -> Result<ExportPage, WireError> {
        unscripted()
    }
    async fn demo_advance(&self, _: Actor, _: u64) -> Result<i64, WireError> {
        unscripted()
    }
}
