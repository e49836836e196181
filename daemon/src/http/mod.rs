//! The HTTP door: deliveries of providers in, an answer only after the commit.
//!
//! [`accept`] holds connections within their limits, [`intake`] takes one delivery through lookup, reading,
//! proof and checks to the engine, [`answer`] says what the sender hears. Nothing of a delivery is stored
//! or even parsed before its proof. See `docs/http-door.md`.

pub mod accept;
pub mod answer;
pub mod api;
pub mod approve;
pub mod body;
pub mod callback;
pub mod counters;
pub mod form;
pub mod greet;
pub mod intake;
pub mod io;
pub mod limits;
pub mod listen;
pub mod log;
pub mod meet;
pub mod multipart;
pub mod peer;
pub mod probe;
pub mod proof;
pub mod refuse;
pub mod strict;
pub mod unpack;

#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_senders;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};

use crate::catalog::Catalog;
use crate::clock::Clock;
use crate::config::Options;
use crate::engine::Engine;
use crate::http::counters::Counters;
use crate::http::form::FormRate;
use crate::http::limits::{InFlight, Rate, Sources, Waiting};
use crate::http::listen::Listeners;
use crate::http::log::Log;
use crate::http::peer::Proxies;
use crate::reached::Reached;
use crate::relay::here::{self, Here};
use crate::tasks::Tasks;

/// Limits of the door.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Largest body in bytes.
    pub body_max: usize,
    /// Open connections.
    pub connections_max: usize,
    /// Open connections of one source network.
    pub per_source_max: usize,
    /// Whether the loopback is counted as a source too.
    pub count_loopback: bool,
    /// Deliveries at work.
    pub in_flight_max: usize,
    /// Bytes of bodies in memory.
    pub in_flight_bytes: usize,
    /// A head must have arrived within this.
    pub head: Duration,
    /// A body may pause this long.
    pub body_idle: Duration,
    /// A body must have arrived within this.
    pub body_total: Duration,
    /// Deliveries of one tenant a second; 0: no limit.
    pub per_second: u32,
    /// While the daemon ends, whoever comes hears 503; false where the socket stays open without us.
    pub turn_away: bool,
}

impl Limits {
    /// The limits that the settings say.
    #[must_use]
    pub fn of(options: &Options) -> Self {
        Self {
            body_max: options.http_body_max,
            connections_max: options.http_connections_max,
            per_source_max: options.http_connections_per_source,
            count_loopback: false,
            in_flight_max: options.http_in_flight_max,
            in_flight_bytes: options.http_in_flight_bytes,
            head: Duration::from_secs(options.http_head_seconds),
            body_idle: Duration::from_secs(options.http_body_idle_seconds),
            body_total: Duration::from_secs(options.http_body_seconds),
            per_second: u32::try_from(options.http_rate).unwrap_or(u32::MAX),
            turn_away: true,
        }
    }
}

/// What the handlers share. Cheap to clone.
#[derive(Clone)]
pub struct Door(Arc<Shared>);

/// The services behind the door.
pub struct Shared {
    /// Flows and secrets.
    pub catalog: Catalog,
    /// Takes what passed.
    pub engine: Engine,
    /// Time of acceptance and of signatures.
    pub clock: Clock,
    /// Limits.
    pub limits: Limits,
    /// Tasks that must not end with their connection.
    pub tasks: Tasks,
    /// Deliveries and bytes at work.
    pub in_flight: InFlight,
    /// Of these, deliveries that wait for the reply of their flow.
    pub waiting: Waiting,
    /// Proxies whose words about senders count.
    pub proxies: Proxies,
    /// Deliveries at work by sender, where a proxy brings them.
    pub clients: Sources,
    /// Deliveries of the tenant a second.
    pub rate: Rate,
    /// Submissions of forms by their source.
    pub forms: FormRate,
    /// How providers reach the door.
    pub reached: Reached,
    /// The log of deliveries.
    pub log: Log,
    /// Probes of the doctor on their way.
    pub probes: probe::Probes,
    /// Who listens for test events.
    pub listeners: Listeners,
    /// Counts for `/metrics`.
    pub counters: Counters,
    /// What it is as a relay, if it is one: then what it takes goes home.
    pub relay: Option<Here>,
    unproved: Unproved,
}

/// Refused deliveries since the log last said so.
#[derive(Debug, Default)]
struct Unproved {
    said_ms: AtomicI64,
    count: AtomicU64,
}

impl std::ops::Deref for Door {
    type Target = Shared;
    fn deref(&self) -> &Shared {
        &self.0
    }
}

impl Door {
    /// A door in front of an engine.
    #[must_use]
    pub fn new(catalog: Catalog, engine: Engine, clock: Clock, limits: Limits, tasks: Tasks, outside: Outside) -> Self {
        let in_flight = InFlight::new(limits.in_flight_max, limits.in_flight_bytes);
        let waiting = Waiting::new(limits.in_flight_max, limits.in_flight_bytes);
        let unproved = Unproved::default();
        let clients = Sources::new(limits.per_source_max, true);
        let (rate, counters) = (Rate::new(limits.per_second), Counters::default());
        let Outside { reached, proxies, relay } = outside;
        let (log, notes) = Log::new(catalog.store().clone(), clock.clone());
        tasks.spawn(log.clone().keep(notes, tasks.closing.clone()));
        Self(Arc::new(Shared {
            catalog,
            engine,
            clock,
            limits,
            tasks,
            in_flight,
            waiting,
            proxies,
            clients,
            rate,
            forms: FormRate::default(),
            reached,
            log,
            probes: probe::Probes::default(),
            listeners: Listeners::default(),
            counters,
            relay,
            unproved,
        }))
    }

    /// The routes. Whatever is not one answers like an endpoint that does not exist.
    pub fn router(&self) -> Router {
        let router = Router::new()
            .route("/hooks/{endpoint}", any(intake::endpoint))
            .route("/hooks/test/{token}", any(listen::endpoint))
            .route("/hooks/probe/{nonce}", any(probe::endpoint))
            .route("/hooks/{tenant}/{flow}/{trigger}", any(intake::named))
            .route("/webhooks/{provider}/{flow}", any(intake::provider))
            .route("/c/{code}", any(callback::callback))
            .route("/a/{token}", any(approve::approve))
            .route("/f/{endpoint}", any(form::page))
            .route("/f/{endpoint}/thanks", any(form::thanks))
            .route("/healthz", get(|| async { "ok\n" }))
            .route("/readyz", get(ready))
            .fallback(intake::nowhere)
            .method_not_allowed_fallback(|| async { answer::Refused::NotFound.into_response() });
        let router = if self.relay.is_some() { here::routes(router) } else { router };
        router.with_state(self.clone())
    }

    /// Serves until the daemon closes.
    pub async fn serve(self, listener: tokio::net::TcpListener) {
        let router = self.router();
        accept::run(listener, router, &self).await;
    }

    /// Serves the API's own listener until the daemon closes.
    pub async fn serve_api(self, listener: tokio::net::TcpListener, hosts: Vec<String>) {
        let router = self.api(hosts);
        accept::run(listener, router, &self).await;
    }
}

/// How the door is seen from outside.
#[derive(Clone, Debug, Default)]
pub struct Outside {
    /// How providers reach it.
    pub reached: Reached,
    /// Proxies in front of it.
    pub proxies: Proxies,
    /// What it is as a relay, if it is one.
    pub relay: Option<Here>,
}

impl Outside {
    /// What the settings say.
    #[must_use]
    pub fn of(options: &Options, reached: Reached) -> Self {
        Self { reached, proxies: Proxies::new(&options.trusted_proxies), relay: None }
    }
}

async fn ready(State(door): State<Door>) -> Response {
    if door.tasks.closing.is_cancelled() {
        return (StatusCode::SERVICE_UNAVAILABLE, "closing\n").into_response();
    }
    if let Some(why) = door.engine.hold().why() {
        let word = if why.restored_ms.is_some() { "paused\n" } else { "compacting\n" };
        return (StatusCode::SERVICE_UNAVAILABLE, word).into_response();
    }
    (StatusCode::OK, "ready\n").into_response()
}

/// Where the API listens. Beside a door on any free port (tests, demos) the usual address is any free port too.
#[must_use]
pub fn api_address(options: &Options) -> Option<String> {
    let free = options.listen.ends_with(":0") && options.api_listen == Options::default().api_listen;
    let address = if free { "127.0.0.1:0" } else { options.api_listen.as_str() };
    (!address.is_empty()).then(|| address.to_owned())
}

/// What listens at an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// The door for providers.
    Door,
    /// The API of this machine.
    Api,
}

/// Opens an address.
///
/// # Errors
/// One sentence: the port is taken, or the address is not one of this machine.
pub async fn listen(address: &str, which: Which) -> Result<(tokio::net::TcpListener, SocketAddr), crate::stop::Stop> {
    let (what, how) = match which {
        Which::Door => ("HTTP door", "choose another with `--listen` or the setting `listen`"),
        Which::Api => ("API", "choose another with the setting `api_listen` (`AURA_API_LISTEN`), or none with \"\""),
    };
    let fail = |error: std::io::Error| {
        let why = match error.kind() {
            std::io::ErrorKind::AddrInUse => "it is in use by another program".to_owned(),
            std::io::ErrorKind::AddrNotAvailable => "it is no address of this machine".to_owned(),
            std::io::ErrorKind::PermissionDenied => "ports below 1024 need a privilege".to_owned(),
            _ => error.to_string(),
        };
        crate::stop::Stop::Taken(format!("the {what} cannot listen on {address}: {why}; {how}"))
    };
    let listener = tokio::net::TcpListener::bind(address).await.map_err(fail)?;
    let local = listener.local_addr().map_err(fail)?;
    Ok((listener, local))
}
