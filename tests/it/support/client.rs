//! The rpc as tests speak it: one blocking method per operation they use.
//!
//! The one invariant: a test asks exactly what `aura` would ask, over the same socket and codec. Transport
//! failures come back as [`Code::Unreachable`], so a test can wait through a restart.

use std::path::Path;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use aura_protocol::event::EventRow;
use aura_protocol::flow::Finding;
use aura_protocol::relay::{RelayAdd, RelayInfo, RelayState, RelayToken};
use aura_protocol::rpc::*;
use aura_protocol::run::RunHead;
use aura_protocol::variable::{VarSet, Variable};
use aura_protocol::version::{BUILD, PROTOCOL};
use aura_protocol::watch::{WatchReply, WatchRequest};
use aura_protocol::{Code, EventId, RequestId, TenantId, WireError};
use tarpc::context::Context;
use tarpc::tokio_util::codec::Framed;

static RUNTIME: LazyLock<tokio::runtime::Runtime> = LazyLock::new(|| {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime")
});

/// Runs a future to its end on the tests' runtime.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    RUNTIME.block_on(future)
}

/// Longest wait for one answer.
const PATIENCE: Duration = Duration::from_secs(40);

/// A connection to the daemon's socket.
#[derive(Clone, Debug)]
pub struct Client {
    inner: AuraClient,
}

fn unreachable(error: impl std::fmt::Display) -> WireError {
    WireError::new(Code::Unreachable, error.to_string())
}

impl Client {
    /// Connects and shakes hands.
    pub fn connect(socket: &Path) -> Result<Self, WireError> {
        let client = Self::connect_silently(socket)?;
        client.hello(HelloRequest { protocol: PROTOCOL, build: BUILD.to_owned() })?;
        Ok(client)
    }

    /// Connects without a handshake.
    pub fn connect_silently(socket: &Path) -> Result<Self, WireError> {
        let inner = RUNTIME.block_on(async {
            let connecting = tokio::net::UnixStream::connect(socket);
            let stream = tokio::time::timeout(PATIENCE, connecting).await.map_err(unreachable)?.map_err(unreachable)?;
            let transport = tarpc::serde_transport::new(Framed::new(stream, framing()), Codec);
            Ok(AuraClient::new(tarpc::client::Config::default(), transport).spawn())
        })?;
        Ok(Self { inner })
    }

    /// Starts a run under a request id of the caller.
    pub fn flow_run_as(&self, request: RequestId, run: FlowRun) -> Result<RunHead, WireError> {
        let (context, call) = Self::call();
        block_on(self.inner.flow_run(context, Call { request, ..call }, run)).map_err(unreachable)?
    }

    fn call() -> (Context, Call) {
        let mut context = tarpc::context::current();
        context.deadline = Instant::now() + PATIENCE;
        let call = Call { tenant: TenantId::DEFAULT, actor: "tests".to_owned(), request: RequestId::now() };
        (context, call)
    }
}

macro_rules! asks {
    ($($method:ident($request:ty) -> $reply:ty;)*) => {
        impl Client {
            $(
                /// As the rpc method of this name.
                pub fn $method(&self, request: $request) -> Result<$reply, WireError> {
                    let (context, call) = Self::call();
                    RUNTIME.block_on(self.inner.$method(context, call, request)).map_err(unreachable)?
                }
            )*
        }
    };
}

asks! {
    hello(HelloRequest) -> HelloReply;
    status(()) -> StatusReply;
    doctor(DoctorRequest) -> Vec<DoctorFinding>;
    flow_list(()) -> Vec<FlowRow>;
    flow_show(String) -> FlowDetail;
    flow_apply(FlowApply) -> FlowRow;
    flow_publish(String) -> FlowRow;
    flow_enable(FlowEnable) -> FlowRow;
    flow_pause(FlowPause) -> FlowRow;
    flow_run(FlowRun) -> RunHead;
    run_vote(RunVote) -> RunHead;
    run_delegate(RunDelegate) -> RunHead;
    schedule_list(ScheduleQuery) -> Vec<ScheduleInfo>;
    schedule_pause(SchedulePause) -> ScheduleInfo;
    schedule_backfill(ScheduleBackfill) -> ScheduleBackfilled;
    event_list(EventQuery) -> EventPage;
    event_show(EventId) -> EventRow;
    run_list(RunQuery) -> Vec<RunHead>;
    run_page(RunQuery) -> RunPage;
    run_pause(RunPause) -> RunHead;
    run_show(RunRef) -> RunDetail;
    run_cancel(RunCancel) -> RunHead;
    watch(WatchRequest) -> WatchReply;
    webhook_list(()) -> Vec<Webhook>;
    webhook_deliveries(DeliveryQuery) -> DeliveryPage;
    webhook_delivery(String) -> DeliveryDetail;
    webhook_redeliver(WebhookRedeliver) -> Redelivered;
    connection_add(ConnectionAdd) -> Connection;
    connection_list(()) -> Vec<Connection>;
    run_payload(PayloadQuery) -> PayloadWindow;
    flow_check(String) -> Vec<Finding>;
    relay_add(RelayAdd) -> RelayInfo;
    relay_list(()) -> RelayState;
    relay_token(()) -> RelayToken;
    var_set(VarSet) -> Variable;
    var_list(()) -> Vec<Variable>;
    var_unset(String) -> Variable;
}
