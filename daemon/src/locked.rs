//! The locked state: no master key, or one that does not fit. The daemon says why and does nothing else.
//!
//! Invariant: nothing is read from or written to the store, and no delivery is accepted. The rpc answers hello,
//! status and doctor; the door answers `/healthz`, and everything else with 503. A reload (SIGHUP) looks for the
//! key again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use aura_integrations::redact::Sink;
use aura_protocol::rpc::{
    Actor, Call, DoctorFinding, DoctorRequest, Front, HelloReply, HelloRequest, Offered, RoomStatus, StatusReply,
};
use aura_protocol::{Code, TenantId, WireError, version};
use axum::Router;
use axum::http::header::{CONNECTION, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::sync::Semaphore;

use crate::clock::Clock;
use crate::config::Options;
use crate::rpc::peer::Peer;
use crate::rpc::{socket, status};
use crate::sockets::Places;
use crate::stop::Stop;
use crate::tasks::Tasks;
use crate::{doctor, notify};

/// Connections at the door at a time.
const CONNECTIONS_MAX: usize = 64;
/// A connection ends after this long.
const CONNECTION_TIME: Duration = Duration::from_secs(10);
/// When a sender should come again, in seconds.
const RETRY_AFTER_S: u16 = 30;

/// What a locked daemon knows of itself.
#[derive(Clone)]
struct Locked(Arc<Inner>);

struct Inner {
    options: Options,
    listen: String,
    clock: Clock,
    why: String,
    started: Instant,
}

/// Why the locked state ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Look for the key again.
    Again,
    /// The daemon was asked to end.
    End,
}

/// Serves what a locked daemon serves until it is asked to look again or to end.
///
/// # Errors
/// The system refuses files or signals.
pub async fn serve(
    options: &Options,
    places: &Places,
    clock: &Clock,
    why: &str,
    sink: &Sink,
    asked: impl Future<Output = Result<Next, Stop>>,
) -> Result<Next, Stop> {
    let inner = Inner {
        options: options.clone(),
        listen: places.address.to_string(),
        clock: clock.clone(),
        why: why.to_owned(),
        started: Instant::now(),
    };
    let (locked, tasks) = (Locked(Arc::new(inner)), Tasks::default());
    tracing::error!("locked: {why}");
    notify::ready(&format!("locked: {why}"));
    let at_socket = locked.clone();
    let session = move |peer| Offered::Closed(Session { locked: at_socket.clone(), peer });
    tasks.spawn(socket::serve_with(
        places.rpc.listener()?,
        tasks.clone(),
        (sink.clone(), options.accounts.clone()),
        session,
    ));
    tasks.spawn(door(places.hooks()?, tasks.clone()));
    if let Some((listener, _)) = places.api()? {
        tasks.spawn(door(listener, tasks.clone()));
    }
    let beat = async {
        match notify::interval() {
            Some(interval) => loop {
                notify::alive();
                tokio::time::sleep(interval).await;
            },
            None => std::future::pending().await,
        }
    };
    let next = tokio::select! {
        next = asked => next,
        () = beat => Ok(Next::End),
    };
    tasks.close(Duration::from_secs(1)).await;
    next
}

/// One client of a locked daemon.
#[derive(Clone)]
pub struct Session {
    locked: Locked,
    peer: Peer,
}

impl Front for Session {
    fn actor(&self, call: &Call) -> Result<Actor, WireError> {
        let role = self.peer.role()?;
        Ok(Actor { name: self.peer.account.clone(), role, tenant: TenantId::DEFAULT, request: call.request })
    }

    fn refusal(&self) -> WireError {
        WireError::new(Code::Locked, format!("the daemon is locked: {}", self.locked.0.why)).hint(HINT)
    }

    async fn hello(&self, actor: Actor, request: HelloRequest) -> Result<HelloReply, WireError> {
        status::hello(&actor, &request)
    }

    async fn status(&self, _: Actor, (): ()) -> Result<StatusReply, WireError> {
        let Inner { options, listen, clock, why, started } = &*self.locked.0;
        let store_bytes = std::fs::metadata(options.data_dir.join("aura.redb")).map(|file| file.len()).unwrap_or(0);
        Ok(StatusReply {
            build: version::BUILD.to_owned(),
            pid: std::process::id(),
            state: format!("locked: {why}"),
            profile: options.profile.clone(),
            listen: listen.clone(),
            data_dir: options.data_dir.display().to_string(),
            up_ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
            now_ms: clock.wall_ms(),
            store_bytes,
            cursor: 0,
            live: Vec::new(),
            held: 0,
            room: RoomStatus::default(),
            checked: None,
            tunnel: None,
        })
    }

    async fn doctor(&self, _: Actor, _: DoctorRequest) -> Result<Vec<DoctorFinding>, WireError> {
        let mut found = doctor::outside(&self.locked.0.options.data_dir, &self.locked.0.clock);
        let key = DoctorFinding {
            level: "fail".to_owned(),
            subject: "master key".to_owned(),
            message: format!("the daemon is locked: {}", self.locked.0.why),
            hint: Some(HINT.to_owned()),
        };
        found.insert(0, key);
        Ok(found)
    }
}

/// What to do about a locked daemon.
const HINT: &str = "provide the key, then `systemctl reload aurad` (or send SIGHUP) or start it again; see docs/operating.md, The master key";

/// The door of a locked daemon.
async fn door(listener: tokio::net::TcpListener, tasks: Tasks) {
    let router = router();
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let accepted = tokio::select! {
            () = tasks.closing.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, _)) = accepted else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else { continue };
        let service = TowerToHyperService::new(router.clone());
        tasks.spawn(async move {
            let mut builder = http1::Builder::new();
            builder.timer(TokioTimer::new()).header_read_timeout(CONNECTION_TIME).keep_alive(false);
            let served = builder.serve_connection(TokioIo::new(stream), service);
            let _ = tokio::time::timeout(CONNECTION_TIME, served).await;
            drop(place);
        });
    }
}

fn router() -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(|| async { (StatusCode::SERVICE_UNAVAILABLE, "locked\n") }))
        .fallback(|| async { refused() })
}

fn refused() -> Response {
    let text = format!(
        "{{\"error\":{{\"code\":\"{}\",\"message\":\"the daemon is locked and accepts nothing; send again later with the same id\"}}}}\n",
        Code::Locked.text()
    );
    let mut response = (StatusCode::SERVICE_UNAVAILABLE, text).into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(RETRY_AFTER, HeaderValue::from(RETRY_AFTER_S));
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    response
}
