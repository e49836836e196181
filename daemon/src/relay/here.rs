//! A daemon that is a relay: its token, its routes, and its part of the door.
//!
//! Invariant: whoever does not show the token hears what any unknown address hears, before a byte of the body is read;
//! a token that is replaced counts no more, also for what was asked with it before; and who is a relay is nothing else: its store says so, and it starts no run.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use aura_protocol::relay::{
    ACK_MAX, BODY_PATH, BodyPiece, ROUTES_MAX, ROUTES_PATH, RelayServing, RelayToken, RouteSet, TAKE_MAX, TAKE_PATH,
    TOKEN_PREFIX, Take, Taken, WAIT_MAX_MS,
};
use aura_protocol::text::display;
use aura_protocol::{Code, EventId, RelayId, TenantId, WireError, wire};
use aura_storage::rows::relay::{HereRow, QueuedRow, here_key};
use aura_storage::{Key, Store, Table, Txn};
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::queue::{Bounds, Queue, Unkept};
use crate::catalog::edit::uncommitted;
use crate::catalog::{Catalog, unreadable};
use crate::clock::Clock;
use crate::config::Options;
use crate::http::answer::Refused;
use crate::http::{Door, intake};
use crate::stop::Stop;

const TENANT: TenantId = TenantId::DEFAULT;
/// A request of home must have arrived within this time.
const BODY_TIME: Duration = Duration::from_secs(30);
/// Largest question, in bytes: as many answers about deliveries as one may hold.
const QUESTION_MAX: usize = 256 * 1024;

/// What makes a daemon a relay. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Here(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    queue: Queue,
    store: Store,
    clock: Clock,
    row: RwLock<HereRow>,
    /// One change of the row at a time.
    changing: tokio::sync::Mutex<()>,
    asked_ms: AtomicI64,
    forwarded: AtomicU64,
}

/// Opens a store as what it is: of a relay if one is wanted, of a daemon at home else. A new store becomes either.
///
/// # Errors
/// It is the other one: nobody is both.
pub async fn opened(store: &Store, clock: &Clock, options: &Options, wanted: bool) -> Result<Option<Here>, Stop> {
    let failed = |error: &dyn std::fmt::Display| Stop::Store(format!("what this store is cannot be read: {error}"));
    let row: Option<HereRow> =
        store.get(TENANT, Table::RelayHere, &here_key(TENANT)).map_err(|error| failed(&error))?;
    let dir = options.data_dir.display();
    let row = match (row, wanted) {
        (None, false) => return Ok(None),
        (Some(_), false) => {
            return Err(Stop::Config(format!(
                "{dir} is the data of a relay, which runs no flows; start it as `aurad relay`, or give another --data-dir"
            )));
        }
        (Some(row), true) => row,
        (None, true) => {
            let all = (Key::tenant(TENANT), Key::tenant(TENANT).after_prefix());
            for table in [Table::Flows, Table::Connections, Table::Runs, Table::Relays] {
                let found = store.keys(table, &all.0, &all.1, 1).map_err(|error| failed(&error))?;
                if !found.is_empty() {
                    return Err(Stop::Config(format!(
                        "{dir} is the data of a daemon with {} of its own, so it cannot become a relay; give another --data-dir",
                        table.name()
                    )));
                }
            }
            let row = HereRow { id: RelayId::now(), token: None, token_ms: 0, routes: None, routes_ms: 0 };
            let mut txn = Txn::new();
            store.put(&mut txn, TENANT, Table::RelayHere, here_key(TENANT), &row).map_err(|error| failed(&error))?;
            store.commit(txn).await.map_err(|error| failed(&error))?;
            row
        }
    };
    let bounds = Bounds { count: options.relay_queue_max, bytes: options.relay_queue_mib.saturating_mul(1 << 20) };
    let queue = Queue::open(store.clone(), bounds).map_err(|error| failed(&error))?;
    Ok(Some(Here(Arc::new(Inner {
        queue,
        store: store.clone(),
        clock: clock.clone(),
        row: RwLock::new(row),
        changing: tokio::sync::Mutex::default(),
        asked_ms: AtomicI64::new(0),
        forwarded: AtomicU64::new(0),
    }))))
}

impl Here {
    fn row(&self) -> HereRow {
        self.0.row.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, row: HereRow) {
        *self.0.row.write().unwrap_or_else(PoisonError::into_inner) = row;
    }

    /// What waits for home.
    #[must_use]
    pub fn queue(&self) -> &Queue {
        &self.0.queue
    }

    /// Keeps a proved delivery for home; returns after its commit.
    ///
    /// # Errors
    /// What its sender hears: nothing is promised.
    pub async fn keep(&self, door: &Door, event: EventId, row: QueuedRow) -> Result<(), Refused> {
        if door.tasks.closing.is_cancelled() {
            return Err(Refused::Ending);
        }
        if let Some(why) = door.engine.hold().why() {
            return Err(Refused::Held(why.retry_after_s()));
        }
        if door.engine.is_tight() {
            return Err(Refused::NoRoom);
        }
        let (queue, now_ms) = (self.0.queue.clone(), self.0.clock.now_ms());
        // What was begun goes on if its sender hangs up: the number that it was given must not stay open.
        let kept = door.tasks.detached(async move { queue.keep(event, row, now_ms).await }).await;
        match kept {
            Ok(Ok(())) => Ok(()),
            Ok(Err(Unkept::Full)) => Err(Refused::NoRoom),
            Ok(Err(Unkept::Busy)) => Err(Refused::Busy(1)),
            Ok(Err(Unkept::Store(why))) => {
                tracing::error!(why, "a delivery for home could not be stored");
                Err(Refused::Store)
            }
            Err(error) => {
                tracing::error!(%error, "a delivery for home was lost before its promise");
                Err(Refused::Store)
            }
        }
    }

    /// Makes a new token; the one before counts no more.
    ///
    /// # Errors
    /// No randomness, or not stored.
    pub async fn new_token(&self) -> Result<RelayToken, WireError> {
        let mut random = [0_u8; 32];
        getrandom::fill(&mut random).map_err(|error| WireError::internal(format!("no randomness: {error}")))?;
        let token = format!("{TOKEN_PREFIX}{}", hex::encode(random));
        let _one = self.0.changing.lock().await;
        let old = self.row();
        let row = HereRow { token: Some(digest(token.as_bytes())), token_ms: self.0.clock.now_ms(), ..old.clone() };
        let mut txn = Txn::new();
        self.put(&mut txn, &row)?;
        self.0.store.commit(txn).await.map_err(|error| uncommitted(&error))?;
        self.set(row);
        Ok(RelayToken { token, replaced: old.token.is_some() })
    }

    fn put(&self, txn: &mut Txn, row: &HereRow) -> Result<(), WireError> {
        let key = here_key(TENANT);
        self.0.store.put(txn, TENANT, Table::RelayHere, key, row).map_err(|error| unreadable(&error))
    }

    /// Takes over routes, unless the token that they came with was replaced meanwhile.
    async fn new_routes(&self, catalog: &Catalog, shown: Shown, bytes: &[u8]) -> Result<bool, WireError> {
        let wrong = |why: &dyn std::fmt::Display| WireError::new(Code::Invalid, format!("the routes are none: {why}"));
        let set: RouteSet = wire::decode(bytes).map_err(|error| wrong(&error))?;
        let _one = self.0.changing.lock().await;
        if !self.knows(&shown) {
            return Ok(false);
        }
        let row = HereRow { routes: Some(digest(bytes)), routes_ms: self.0.clock.now_ms(), ..self.row() };
        let mut txn = Txn::new();
        self.put(&mut txn, &row)?;
        let flows = set.flows.len();
        catalog.mirror(set, txn).await?;
        self.set(row);
        tracing::info!(flows, "home sent its routes");
        Ok(true)
    }

    /// As people see it.
    #[must_use]
    pub fn shown(&self, flows: usize) -> RelayServing {
        let (row, waiting, bounds) = (self.row(), self.0.queue.waiting(), self.0.queue.bounds());
        let asked_ms = self.0.asked_ms.load(Relaxed);
        RelayServing {
            token_ms: row.token.map(|_| row.token_ms),
            flows: u64::try_from(flows).unwrap_or(u64::MAX),
            routes_ms: row.routes.map(|_| row.routes_ms),
            waiting: waiting.count,
            waiting_max: bounds.count,
            bytes: waiting.bytes,
            bytes_max: bounds.bytes,
            oldest_ms: waiting.oldest_ms,
            asked_ms: (asked_ms > 0).then_some(asked_ms),
            forwarded: self.0.forwarded.load(Relaxed),
        }
    }

    /// The hash of the token that a request shows, if it is the one of now.
    fn known(&self, headers: &HeaderMap) -> Option<Shown> {
        let mut given = headers.get_all(AUTHORIZATION).iter();
        let (Some(one), None) = (given.next(), given.next()) else { return None };
        let token = one.to_str().ok().and_then(|text| text.strip_prefix("Bearer ")).unwrap_or_default();
        let shown = Shown(digest(token.as_bytes()));
        self.knows(&shown).then_some(shown)
    }

    /// Whether a token is the one of now.
    fn knows(&self, shown: &Shown) -> bool {
        let known = self.0.row.read().unwrap_or_else(PoisonError::into_inner).token;
        // Without a token nobody has one: its hash is compared with what none has.
        let (known, is) = (known.unwrap_or_default(), known.is_some());
        is & bool::from(shown.0.ct_eq(&known))
    }

    /// Whether it still is, behind a wait.
    fn still(&self, shown: &Shown) -> Result<(), Response> {
        if self.knows(shown) { Ok(()) } else { Err(Refused::NotFound.into_response()) }
    }
}

/// The hash of a token that was shown.
#[derive(Clone, Copy)]
struct Shown([u8; 32]);

/// SHA-256.
#[must_use]
pub fn digest(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// The routes of a relay, beside those of every door.
pub fn routes(router: Router<Door>) -> Router<Door> {
    router.route(TAKE_PATH, any(take)).route(ROUTES_PATH, any(take_routes)).route(BODY_PATH, any(piece))
}

/// Lets home in; anybody else is answered like at any unknown address.
async fn admitted(door: &Door, request: Request, method: &Method) -> Result<(Here, Shown, Body), Response> {
    let here = door.relay.as_ref().filter(|_| request.method() == method);
    match here.and_then(|here| Some((here, here.known(request.headers())?))) {
        Some((here, shown)) => {
            here.0.asked_ms.store(here.0.clock.now_ms(), Relaxed);
            Ok((here.clone(), shown, request.into_body()))
        }
        None => Err(intake::nowhere(State(door.clone()), request).await),
    }
}

fn said(status: StatusCode, why: &str) -> Response {
    (status, format!("{why}\n")).into_response()
}

async fn bytes_of(body: Body, most: usize) -> Result<Vec<u8>, Response> {
    match tokio::time::timeout(BODY_TIME, to_bytes(body, most)).await {
        Ok(Ok(bytes)) => Ok(bytes.to_vec()),
        Ok(Err(_)) => Err(said(StatusCode::PAYLOAD_TOO_LARGE, "the request broke off or is too large")),
        Err(_) => Err(said(StatusCode::REQUEST_TIMEOUT, "the request did not arrive in time")),
    }
}

async fn question<T: DeserializeOwned>(body: Body) -> Result<T, Response> {
    let bytes = bytes_of(body, QUESTION_MAX).await?;
    wire::decode(&bytes).map_err(|error| said(StatusCode::BAD_REQUEST, &display(&error.to_string())))
}

fn answer(bytes: Vec<u8>) -> Response {
    let mut response = Response::new(Body::from(bytes));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    response
}

fn encoded<T: Serialize>(value: &T) -> Response {
    match wire::encode(value) {
        Ok(bytes) => answer(bytes),
        Err(error) => said(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}

fn unavailable(why: &dyn std::fmt::Display) -> Response {
    tracing::error!(%why, "home could not be answered");
    said(StatusCode::SERVICE_UNAVAILABLE, "the relay's store cannot be read or written now")
}

/// `POST /relay/v1/take`.
async fn take(State(door): State<Door>, request: Request) -> Response {
    match admitted(&door, request, &Method::POST).await {
        Ok((here, shown, body)) => taken(&door, &here, shown, body).await.unwrap_or_else(|response| response),
        Err(response) => response,
    }
}

async fn taken(door: &Door, here: &Here, shown: Shown, body: Body) -> Result<Response, Response> {
    let asked: Take = question(body).await?;
    here.still(&shown)?;
    if asked.ack.len() > ACK_MAX {
        return Err(said(StatusCode::BAD_REQUEST, "too many deliveries are said to be stored at once"));
    }
    if let Some(why) = door.engine.hold().why() {
        return Err(said(StatusCode::SERVICE_UNAVAILABLE, &format!("the relay is {}", why.text())));
    }
    let (queue, acked) = (here.0.queue.clone(), asked.ack);
    let let_go = door.tasks.detached(async move { queue.let_go(&acked).await }).await;
    match let_go {
        Ok(Ok(gone)) => _ = here.0.forwarded.fetch_add(gone, Relaxed),
        Ok(Err(error)) => return Err(unavailable(&error)),
        Err(error) => return Err(unavailable(&error)),
    }
    let wait = Duration::from_millis(asked.wait_ms.min(WAIT_MAX_MS));
    if !wait.is_zero() {
        tokio::select! {
            () = door.tasks.closing.cancelled() => {}
            _ = tokio::time::timeout(wait, here.0.queue.wait(asked.after)) => {}
        }
    }
    here.still(&shown)?;
    let (queue, most) = (here.0.queue.clone(), usize::try_from(asked.max.clamp(1, TAKE_MAX)).unwrap_or(1));
    let read = tokio::task::spawn_blocking(move || queue.read(asked.after, most)).await;
    let deliveries = match read {
        Ok(Ok(deliveries)) => deliveries,
        Ok(Err(error)) => return Err(unavailable(&error)),
        Err(error) => return Err(unavailable(&error)),
    };
    let (waiting, row) = (here.0.queue.waiting(), here.row());
    Ok(encoded(&Taken {
        relay: row.id,
        deliveries,
        waiting: waiting.count,
        bytes: waiting.bytes,
        oldest_ms: waiting.oldest_ms,
        routes: row.routes,
        public_url: door.reached.outside().to_owned(),
    }))
}

/// `POST /relay/v1/body`.
async fn piece(State(door): State<Door>, request: Request) -> Response {
    match admitted(&door, request, &Method::POST).await {
        Ok((here, shown, body)) => piece_of(&here, shown, body).await.unwrap_or_else(|response| response),
        Err(response) => response,
    }
}

async fn piece_of(here: &Here, shown: Shown, body: Body) -> Result<Response, Response> {
    let asked: BodyPiece = question(body).await?;
    here.still(&shown)?;
    let queue = here.0.queue.clone();
    match tokio::task::spawn_blocking(move || queue.piece(asked.which, asked.offset)).await {
        Ok(Ok(Some(bytes))) => Ok(answer(bytes)),
        Ok(Ok(None)) => Err(said(StatusCode::GONE, "no such delivery waits here")),
        Ok(Err(error)) => Err(unavailable(&error)),
        Err(error) => Err(unavailable(&error)),
    }
}

/// `PUT /relay/v1/routes`.
async fn take_routes(State(door): State<Door>, request: Request) -> Response {
    match admitted(&door, request, &Method::PUT).await {
        Ok((here, shown, body)) => routed(&door, &here, shown, body).await.unwrap_or_else(|response| response),
        Err(response) => response,
    }
}

async fn routed(door: &Door, here: &Here, shown: Shown, body: Body) -> Result<Response, Response> {
    let bytes = bytes_of(body, ROUTES_MAX).await?;
    let (here, catalog) = (here.clone(), door.catalog.clone());
    let changed = door.tasks.detached(async move { here.new_routes(&catalog, shown, &bytes).await }).await;
    match changed {
        Ok(Ok(false)) => Err(Refused::NotFound.into_response()),
        Ok(Ok(true)) => Ok(StatusCode::NO_CONTENT.into_response()),
        Ok(Err(error)) if error.code == Code::Invalid => {
            Err(said(StatusCode::BAD_REQUEST, &display(&error.to_string())))
        }
        Ok(Err(error)) => Err(unavailable(&error)),
        Err(error) => Err(unavailable(&error)),
    }
}
