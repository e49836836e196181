//! The service's methods, one line each, for one connected client.
//!
//! A session knows who is at the other end of its socket; what the call says about itself is only a name
//! for the record.

use aura_protocol::approval::Question;
use aura_protocol::descriptor::Connector;
use aura_protocol::event::EventRow;
use aura_protocol::flow::Finding;
use aura_protocol::outgoing::{
    Resend, Resent, SendingDetail, SendingPage, SendingQuery, SendingRef, Subscription, SubscriptionEnable,
    SubscriptionPage, SubscriptionPut, SubscriptionQuery, SubscriptionRotate, SubscriptionTest,
};
use aura_protocol::relay::{RelayAdd, RelayInfo, RelayPause, RelayState, RelayToken};
use aura_protocol::rpc::{
    Activity, Actor, BackfillAsk, BackfillControl, BackfillInfo, BackfillPlan, BackfillQuery, Binned, Call, Connection,
    ConnectionAdd, DeliveryDetail, DeliveryFeed, DeliveryNews, DeliveryPage, DeliveryQuery, DoctorFinding,
    DoctorRequest, EventPage, EventQuery, FlowApply, FlowDetail, FlowEnable, FlowFiles, FlowListen, FlowPause, FlowRow,
    FlowRun, FlowTest, FlowTested, FlowText, FlowTried, FlowTry, FlowVersion, FlowVersionOf, FormInfo, Handler, Heard,
    HeardQuery, HelloReply, HelloRequest, Listening, Operation, PayloadQuery, PayloadWindow, PlannedFlow, PollChange,
    PollInfo, PollQuery, RawDelivery, RawQuery, Redelivered, Removed, Replayed, Role, Rotated, RunCancel, RunDelegate,
    RunDelete, RunDetail, RunForceFinish, RunMigrate, RunMigrated, RunPage, RunPause, RunQuery, RunRef, RunReplay,
    RunResolve, RunSignal, RunVote, RunsDeleted, ScheduleBackfill, ScheduleBackfilled, ScheduleInfo, SchedulePause,
    ScheduleQuery, ScheduleRef, Settings, StatusReply, Webhook, WebhookRedeliver, WebhookRotate, WebhookSample,
    WebhookSampleQuery, WebhookSwitch, WebhookTest, WebhookTested,
};
use aura_protocol::run::RunHead;
use aura_protocol::upkeep::{BackupRequest, ExportPage, ExportQuery, Job, JobQuery, Resumed};
use aura_protocol::variable::{VarSet, Variable};
use aura_protocol::watch::{WatchReply, WatchRequest};
use aura_protocol::{Code, EventId, TenantId, WireError};

use crate::rpc::eyes::Eyes;
use crate::rpc::peer::Peer;
use crate::rpc::{
    Service, activity, bin, deletion, deliveries, events, export, feed, flows, hook_doctor, hooks, listens, outgoing,
    redeliver, relays, replays, runs, sample, schedules, sources, status, trials, tries, versions, watch,
};
use crate::upkeep::{self, backup, compact, usage};

/// One client.
#[derive(Clone)]
pub struct Session {
    /// The services.
    pub service: Service,
    /// Who it is.
    pub peer: Peer,
}

impl Handler for Session {
    fn actor(&self, call: &Call) -> Result<Actor, WireError> {
        let role = self.peer.role()?;
        if call.tenant != TenantId::DEFAULT {
            return Err(WireError::not_found("there is no such tenant here"));
        }
        Ok(Actor { name: self.peer.account.clone(), role, tenant: call.tenant, request: call.request })
    }

    fn does(&self, operation: Operation) -> Result<(), WireError> {
        relays::does(&self.service, operation)
    }

    async fn hello(&self, actor: Actor, request: HelloRequest) -> Result<HelloReply, WireError> {
        status::hello(&actor, &request)
    }
    async fn status(&self, _: Actor, (): ()) -> Result<StatusReply, WireError> {
        Ok(status::status(&self.service))
    }
    async fn doctor(&self, _: Actor, request: DoctorRequest) -> Result<Vec<DoctorFinding>, WireError> {
        self.service.read(move |shared| Ok(crate::doctor::look(shared, request.deep))).await
    }
    async fn flow_list(&self, _: Actor, (): ()) -> Result<Vec<FlowRow>, WireError> {
        let next = self.service.engine.next_by_flow();
        let mut rows = self.service.catalog.list();
        for row in &mut rows {
            row.next_ms = next.get(&row.id).copied();
            row.held = self.service.engine.held_back(row.id);
        }
        Ok(rows)
    }
    async fn flow_show(&self, _: Actor, flow: String) -> Result<FlowDetail, WireError> {
        self.service.catalog.show(&flow)
    }
    async fn flow_check(&self, _: Actor, text: String) -> Result<Vec<Finding>, WireError> {
        self.service.read(move |shared| Ok(shared.catalog.check(&text))).await
    }
    async fn flow_apply(&self, actor: Actor, request: FlowApply) -> Result<FlowRow, WireError> {
        flows::apply(&self.service, actor, request).await
    }
    async fn flow_publish(&self, actor: Actor, flow: String) -> Result<FlowRow, WireError> {
        flows::publish(&self.service, actor, flow).await
    }
    async fn flow_history(&self, _: Actor, flow: String) -> Result<Vec<FlowVersion>, WireError> {
        self.service.read(move |shared| versions::history(shared, &flow)).await
    }
    async fn flow_text(&self, _: Actor, query: FlowVersionOf) -> Result<FlowText, WireError> {
        self.service.read(move |shared| versions::text(shared, &query)).await
    }
    async fn flow_plan(&self, _: Actor, files: FlowFiles) -> Result<Vec<PlannedFlow>, WireError> {
        self.service.read(move |shared| versions::plan(shared, &files)).await
    }
    async fn flow_apply_all(&self, actor: Actor, files: FlowFiles) -> Result<Vec<FlowRow>, WireError> {
        versions::apply_all(&self.service, actor, files).await
    }
    async fn flow_rollback(&self, actor: Actor, request: FlowVersionOf) -> Result<FlowRow, WireError> {
        versions::rollback(&self.service, actor, request).await
    }
    async fn flow_enable(&self, actor: Actor, request: FlowEnable) -> Result<FlowRow, WireError> {
        flows::enable(&self.service, actor, request).await
    }
    async fn flow_pause(&self, actor: Actor, request: FlowPause) -> Result<FlowRow, WireError> {
        bin::pause(&self.service, actor, request).await
    }
    async fn flow_delete(&self, actor: Actor, flow: String) -> Result<Removed, WireError> {
        bin::flow_delete(&self.service, actor, flow).await
    }
    async fn flow_restore(&self, actor: Actor, flow: String) -> Result<FlowRow, WireError> {
        bin::flow_restore(&self.service, actor, flow).await
    }
    async fn bin_list(&self, _: Actor, (): ()) -> Result<Vec<Binned>, WireError> {
        Ok(self.service.catalog.binned())
    }
    async fn flow_test(&self, _: Actor, request: FlowTest) -> Result<FlowTested, WireError> {
        trials::test(&self.service, request).await
    }
    async fn flow_try(&self, actor: Actor, request: FlowTry) -> Result<FlowTried, WireError> {
        tries::try_out(&self.service, actor, request).await
    }
    async fn flow_listen(&self, actor: Actor, request: FlowListen) -> Result<Listening, WireError> {
        listens::listen(&self.service, &actor, request).await
    }
    async fn flow_heard(&self, actor: Actor, query: HeardQuery) -> Result<Heard, WireError> {
        listens::heard(&self.service, &actor, query).await
    }
    async fn flow_unlisten(&self, actor: Actor, id: String) -> Result<(), WireError> {
        listens::unlisten(&self.service, &actor, &id)
    }
    async fn run_record(&self, _: Actor, run: RunRef) -> Result<String, WireError> {
        self.service.read(move |shared| trials::record(shared, &run)).await
    }
    async fn flow_run(&self, actor: Actor, request: FlowRun) -> Result<RunHead, WireError> {
        flows::run(&self.service, actor, request).await
    }
    async fn run_list(&self, actor: Actor, query: RunQuery) -> Result<Vec<RunHead>, WireError> {
        let eyes = Eyes::of(&actor);
        self.service.read(move |shared| runs::list(shared, &eyes, &query)).await
    }
    async fn run_page(&self, actor: Actor, query: RunQuery) -> Result<RunPage, WireError> {
        let eyes = Eyes::of(&actor);
        self.service.read(move |shared| runs::page(shared, &eyes, &query)).await
    }
    async fn run_show(&self, actor: Actor, run: RunRef) -> Result<RunDetail, WireError> {
        let eyes = Eyes::of(&actor);
        self.service.read(move |shared| runs::show(shared, &eyes, &run)).await
    }
    async fn run_payload(&self, actor: Actor, query: PayloadQuery) -> Result<PayloadWindow, WireError> {
        let eyes = Eyes::of(&actor);
        self.service.read(move |shared| runs::payload(shared, &eyes, &query)).await
    }
    async fn run_replay(&self, actor: Actor, request: RunReplay) -> Result<Replayed, WireError> {
        replays::replay(&self.service, actor, request).await
    }
    async fn run_migrate(&self, actor: Actor, request: RunMigrate) -> Result<RunMigrated, WireError> {
        versions::migrate(&self.service, actor, request).await
    }
    async fn run_cancel(&self, actor: Actor, request: RunCancel) -> Result<RunHead, WireError> {
        runs::cancel(&self.service, actor, request).await
    }
    async fn run_pause(&self, actor: Actor, request: RunPause) -> Result<RunHead, WireError> {
        runs::pause(&self.service, actor, request).await
    }
    async fn run_force_finish(&self, actor: Actor, request: RunForceFinish) -> Result<RunHead, WireError> {
        runs::force_finish(&self.service, actor, request).await
    }
    async fn run_delete(&self, _: Actor, request: RunDelete) -> Result<RunsDeleted, WireError> {
        deletion::delete(&self.service, request).await
    }
    async fn run_resolve(&self, actor: Actor, request: RunResolve) -> Result<RunHead, WireError> {
        runs::resolve(&self.service, actor, request).await
    }
    async fn run_vote(&self, actor: Actor, request: RunVote) -> Result<RunHead, WireError> {
        runs::vote(&self.service, actor, request).await
    }
    async fn run_delegate(&self, actor: Actor, request: RunDelegate) -> Result<RunHead, WireError> {
        runs::delegate(&self.service, actor, request).await
    }
    async fn run_asks(&self, actor: Actor, run: RunRef) -> Result<Vec<Question>, WireError> {
        runs::asks(&self.service, actor, run).await
    }
    async fn run_signal(&self, actor: Actor, request: RunSignal) -> Result<RunHead, WireError> {
        runs::signal(&self.service, actor, request).await
    }
    async fn event_list(&self, actor: Actor, query: EventQuery) -> Result<EventPage, WireError> {
        let eyes = Eyes::of(&actor);
        self.service.read(move |shared| events::list(shared, &eyes, &query)).await
    }
    async fn event_show(&self, actor: Actor, event: EventId) -> Result<EventRow, WireError> {
        let eyes = Eyes::of(&actor);
        self.service.read(move |shared| events::show(shared, &eyes, event)).await
    }
    async fn flow_activity(&self, actor: Actor, (): ()) -> Result<Activity, WireError> {
        let eyes = Eyes::of(&actor);
        self.service.read(move |shared| activity::activity(shared, &eyes)).await
    }
    async fn watch(&self, actor: Actor, request: WatchRequest) -> Result<WatchReply, WireError> {
        watch::watch(&self.service, Eyes::of(&actor), request).await
    }
    async fn webhook_list(&self, actor: Actor, (): ()) -> Result<Vec<Webhook>, WireError> {
        let mut hooks = self.service.catalog.webhooks(&self.service.reached.address());
        if !matches!(actor.role, Role::Owner | Role::Admin) {
            hooks.iter_mut().for_each(|hook| hook.offered = None);
        }
        Ok(hooks)
    }
    async fn form_list(&self, _: Actor, (): ()) -> Result<Vec<FormInfo>, WireError> {
        Ok(self.service.catalog.forms(&self.service.reached.address()))
    }
    async fn poll_list(&self, actor: Actor, query: PollQuery) -> Result<Vec<PollInfo>, WireError> {
        self.service.read(move |shared| sources::polls(shared, actor.tenant, &query)).await
    }
    async fn poll_change(&self, actor: Actor, change: PollChange) -> Result<PollInfo, WireError> {
        sources::change_poll(&self.service, actor, change).await
    }
    async fn backfill_plan(&self, actor: Actor, ask: BackfillAsk) -> Result<BackfillPlan, WireError> {
        sources::plan(&self.service, actor, ask).await
    }
    async fn backfill_start(&self, actor: Actor, ask: BackfillAsk) -> Result<BackfillInfo, WireError> {
        sources::begin(&self.service, actor, ask).await
    }
    async fn backfill_list(&self, _: Actor, query: BackfillQuery) -> Result<Vec<BackfillInfo>, WireError> {
        self.service.read(move |shared| sources::backfills(shared, &query)).await
    }
    async fn backfill_control(&self, actor: Actor, what: BackfillControl) -> Result<BackfillInfo, WireError> {
        sources::control(&self.service, actor, what).await
    }
    async fn webhook_test(&self, _: Actor, request: WebhookTest) -> Result<WebhookTested, WireError> {
        sample::test(&self.service, request).await
    }
    async fn webhook_deliveries(&self, actor: Actor, query: DeliveryQuery) -> Result<DeliveryPage, WireError> {
        deliveries::list(&self.service, &actor, query).await
    }
    async fn webhook_delivery(&self, actor: Actor, id: String) -> Result<DeliveryDetail, WireError> {
        deliveries::show(&self.service, &actor, id).await
    }
    async fn webhook_feed(&self, actor: Actor, request: DeliveryFeed) -> Result<DeliveryNews, WireError> {
        feed::feed(&self.service, &actor, request).await
    }
    async fn webhook_raw(&self, actor: Actor, query: RawQuery) -> Result<RawDelivery, WireError> {
        feed::raw(&self.service, &actor, query).await
    }
    async fn webhook_redeliver(&self, actor: Actor, request: WebhookRedeliver) -> Result<Redelivered, WireError> {
        redeliver::redeliver(&self.service, actor, request).await
    }
    async fn webhook_rotate(&self, actor: Actor, request: WebhookRotate) -> Result<Rotated, WireError> {
        hooks::rotate(&self.service, actor, request).await
    }
    async fn webhook_switch(&self, actor: Actor, request: WebhookSwitch) -> Result<Webhook, WireError> {
        hooks::switch(&self.service, actor, request).await
    }
    async fn webhook_sample(&self, _: Actor, query: WebhookSampleQuery) -> Result<WebhookSample, WireError> {
        sample::of_provider(&self.service, &query)
    }
    async fn webhook_doctor(&self, _: Actor, name: String) -> Result<Vec<DoctorFinding>, WireError> {
        hook_doctor::look(&self.service, &name).await
    }
    async fn schedule_list(&self, actor: Actor, query: ScheduleQuery) -> Result<Vec<ScheduleInfo>, WireError> {
        self.service.read(move |shared| schedules::list(shared, actor.tenant, &query)).await
    }
    async fn schedule_pause(&self, actor: Actor, request: SchedulePause) -> Result<ScheduleInfo, WireError> {
        schedules::pause(&self.service, actor, request).await
    }
    async fn schedule_run(&self, actor: Actor, request: ScheduleRef) -> Result<RunHead, WireError> {
        schedules::run(&self.service, actor, request).await
    }
    async fn schedule_backfill(
        &self,
        actor: Actor,
        request: ScheduleBackfill,
    ) -> Result<ScheduleBackfilled, WireError> {
        schedules::backfill(&self.service, actor, request).await
    }
    async fn schedule_stop(&self, actor: Actor, request: ScheduleRef) -> Result<ScheduleInfo, WireError> {
        schedules::stop(&self.service, actor, request).await
    }
    async fn connection_list(&self, _: Actor, (): ()) -> Result<Vec<Connection>, WireError> {
        Ok(self.service.catalog.connection_list())
    }
    async fn connection_add(&self, actor: Actor, request: ConnectionAdd) -> Result<Connection, WireError> {
        let inner = self.service.clone();
        let change = async move {
            let added = inner.catalog.connection_add(&actor, request).await?;
            inner.engine.connection_changed(actor.tenant, &added.name);
            Ok(added)
        };
        self.service.change(change).await
    }
    async fn connection_delete(&self, actor: Actor, name: String) -> Result<Removed, WireError> {
        bin::connection_delete(&self.service, actor, name).await
    }
    async fn connection_restore(&self, actor: Actor, name: String) -> Result<Connection, WireError> {
        bin::connection_restore(&self.service, actor, name).await
    }
    async fn subscription_list(&self, _: Actor, query: SubscriptionQuery) -> Result<SubscriptionPage, WireError> {
        self.service.read(move |shared| outgoing::list(shared, &query)).await
    }
    async fn subscription_put(&self, actor: Actor, request: SubscriptionPut) -> Result<Subscription, WireError> {
        outgoing::put(&self.service, actor, request).await
    }
    async fn subscription_rotate(&self, actor: Actor, request: SubscriptionRotate) -> Result<Subscription, WireError> {
        outgoing::rotate(&self.service, actor, request).await
    }
    async fn subscription_enable(&self, actor: Actor, request: SubscriptionEnable) -> Result<Subscription, WireError> {
        outgoing::enable(&self.service, actor, request).await
    }
    async fn subscription_delete(&self, actor: Actor, name: String) -> Result<Removed, WireError> {
        outgoing::delete(&self.service, actor, name).await
    }
    async fn subscription_restore(&self, actor: Actor, name: String) -> Result<Subscription, WireError> {
        outgoing::restore(&self.service, actor, name).await
    }
    async fn subscription_test(&self, actor: Actor, request: SubscriptionTest) -> Result<SendingDetail, WireError> {
        outgoing::test(&self.service, actor, request).await
    }
    async fn sending_list(&self, actor: Actor, query: SendingQuery) -> Result<SendingPage, WireError> {
        let eyes = Eyes::of(&actor);
        self.service.read(move |shared| outgoing::sendings(shared, &eyes, &query)).await
    }
    async fn sending_show(&self, actor: Actor, of: SendingRef) -> Result<SendingDetail, WireError> {
        let eyes = Eyes::of(&actor);
        self.service.read(move |shared| outgoing::show(shared, &eyes, &of)).await
    }
    async fn sending_resend(&self, actor: Actor, ask: Resend) -> Result<Resent, WireError> {
        outgoing::resend(&self.service, actor, ask).await
    }
    async fn sending_give_up(&self, actor: Actor, of: SendingRef) -> Result<SendingDetail, WireError> {
        outgoing::give_up(&self.service, actor, of).await
    }
    async fn relay_list(&self, _: Actor, (): ()) -> Result<RelayState, WireError> {
        Ok(relays::list(&self.service))
    }
    async fn relay_add(&self, _: Actor, add: RelayAdd) -> Result<RelayInfo, WireError> {
        relays::add(&self.service, add).await
    }
    async fn relay_remove(&self, _: Actor, name: String) -> Result<RelayInfo, WireError> {
        relays::remove(&self.service, name).await
    }
    async fn relay_pause(&self, _: Actor, request: RelayPause) -> Result<RelayInfo, WireError> {
        relays::pause(&self.service, request).await
    }
    async fn relay_token(&self, _: Actor, (): ()) -> Result<RelayToken, WireError> {
        relays::token(&self.service).await
    }
    async fn var_list(&self, _: Actor, (): ()) -> Result<Vec<Variable>, WireError> {
        Ok(self.service.catalog.var_list())
    }
    async fn var_set(&self, actor: Actor, request: VarSet) -> Result<Variable, WireError> {
        let catalog = self.service.catalog.clone();
        self.service.change(async move { catalog.var_set(&actor, request).await }).await
    }
    async fn var_unset(&self, actor: Actor, name: String) -> Result<Variable, WireError> {
        let catalog = self.service.catalog.clone();
        self.service.change(async move { catalog.var_unset(&actor, &name).await }).await
    }
    async fn connector_list(&self, _: Actor, (): ()) -> Result<Vec<Connector>, WireError> {
        Ok(self.service.catalog.registry().connectors().to_vec())
    }
    async fn config_show(&self, _: Actor, (): ()) -> Result<Settings, WireError> {
        Ok(self.service.settings.clone())
    }
    async fn log_recent(&self, _: Actor, most: u32) -> Result<Vec<String>, WireError> {
        Ok(crate::recent::newest(usize::try_from(most).unwrap_or(crate::recent::LINES)))
    }
    async fn backup(&self, actor: Actor, request: BackupRequest) -> Result<Job, WireError> {
        backup::start(&self.service, &actor, request)
    }
    async fn compact(&self, actor: Actor, (): ()) -> Result<Job, WireError> {
        compact::start(&self.service, &actor)
    }
    async fn du(&self, actor: Actor, (): ()) -> Result<Job, WireError> {
        usage::start(&self.service, &actor)
    }
    async fn job(&self, _: Actor, query: JobQuery) -> Result<Job, WireError> {
        self.service.upkeep.news(&query).await
    }
    async fn resume(&self, _: Actor, (): ()) -> Result<Resumed, WireError> {
        upkeep::resume(&self.service).await
    }
    async fn export(&self, _: Actor, query: ExportQuery) -> Result<ExportPage, WireError> {
        self.service.read(move |shared| export::page(shared, &query)).await
    }
    async fn demo_advance(&self, _: Actor, ms: u64) -> Result<i64, WireError> {
        self.service
            .clock
            .advance(ms)
            .ok_or_else(|| WireError::new(Code::Conflict, "this daemon's clock follows the system and cannot be moved"))
    }
}
