//! The machinery of provider fakes: a small HTTP server on a free loopback port that records and misbehaves.
//!
//! A provider's fake hands in a function from request to answer; this part keeps what came (the last 1,000),
//! tells subscribers, and on order answers wrongly, late, never, or drops the connection after reading. It
//! serves tests and `aurad demo`, never anything else.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aura_protocol::value::Value;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, broadcast};
use tokio::task::{JoinHandle, JoinSet};

/// Requests kept.
const KEPT: usize = 1000;
/// Largest body read.
const BODY_MAX: usize = 16 * 1024 * 1024;
/// Connections served at the same time.
const CONNECTIONS: usize = 256;

/// A request as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// From 1, without gaps.
    pub number: u64,
    /// Method.
    pub method: String,
    /// Path with query.
    pub path: String,
    /// Headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// Body.
    pub body: Vec<u8>,
}

impl Seen {
    /// The first header of that name (lower case).
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(have, _)| have == name).map(|(_, value)| value.as_str())
    }

    /// The body as JSON; null if it is none.
    #[must_use]
    pub fn json(&self) -> Value {
        Value::from_json(&self.body).unwrap_or_default()
    }
}

/// An answer of a fake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// Status.
    pub status: u16,
    /// Headers.
    pub headers: Vec<(String, String)>,
    /// Body.
    pub body: String,
}

impl Reply {
    /// A JSON answer.
    #[must_use]
    pub fn json(status: u16, body: impl Into<String>) -> Self {
        let headers = vec![("content-type".to_owned(), "application/json; charset=utf-8".to_owned())];
        Self { status, headers, body: body.into() }
    }

    /// With one more header.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }
}

/// What a fake does with a request. The body is always read and recorded first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Behaviour {
    /// Answers as the provider does.
    Normal,
    /// Answers this instead, without doing anything.
    Answer(Reply),
    /// Does its work, then answers late.
    Delay(Duration),
    /// Never answers; nothing is done.
    Hang,
    /// Does its work, then drops the connection without an answer.
    Drop,
}

type Respond = dyn Fn(&Seen) -> Reply + Send + Sync;

struct Shared {
    respond: Box<Respond>,
    kept: Mutex<Kept>,
    sender: broadcast::Sender<Seen>,
}

struct Kept {
    count: u64,
    seen: VecDeque<Seen>,
    next: VecDeque<Behaviour>,
    usual: Behaviour,
}

impl Shared {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A running fake. It ends when the handle is dropped.
pub struct FakeHandle {
    /// Where it listens, as in `http://127.0.0.1:39001`.
    pub base_url: String,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

impl FakeHandle {
    /// Starts a server on a free port of 127.0.0.1 that answers by `respond`.
    ///
    /// # Errors
    /// No port could be bound.
    pub async fn serve(respond: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let base_url = format!("http://{}", listener.local_addr()?);
        let kept = Kept { count: 0, seen: VecDeque::new(), next: VecDeque::new(), usual: Behaviour::Normal };
        let (sender, _) = broadcast::channel(KEPT);
        let shared = Arc::new(Shared { respond: Box::new(respond), kept: Mutex::new(kept), sender });
        let task = tokio::spawn(accept(listener, Arc::clone(&shared)));
        Ok(Self { base_url, shared, task })
    }

    /// What came, oldest first; the last 1,000.
    #[must_use]
    pub fn requests(&self) -> Vec<Seen> {
        self.shared.kept().seen.iter().cloned().collect()
    }

    /// How many came at all.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.shared.kept().count
    }

    /// Every request from now on. A receiver that is more than 1,000 behind hears how many it missed.
    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<Seen> {
        self.shared.sender.subscribe()
    }

    /// What to do with the next request, after those told before.
    pub fn next(&self, behaviour: Behaviour) {
        let mut kept = self.shared.kept();
        if kept.next.len() < KEPT {
            kept.next.push_back(behaviour);
        }
    }

    /// What to do with every request for which nothing else was told.
    pub fn usually(&self, behaviour: Behaviour) {
        self.shared.kept().usual = behaviour;
    }
}

impl std::fmt::Debug for FakeHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FakeHandle").field("base_url", &self.base_url).finish_non_exhaustive()
    }
}

impl Drop for FakeHandle {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Accepts until aborted; its connections end with it.
async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let slots = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
        let Ok((stream, _)) = listener.accept().await else { continue };
        let shared = Arc::clone(&shared);
        connections.spawn(async move {
            let _slot = slot;
            let service = service_fn(move |request| answer(request, Arc::clone(&shared)));
            // An Err is a client that went, or our own Drop behaviour.
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn answer(request: Request<Incoming>, shared: Arc<Shared>) -> Result<Response<Full<Bytes>>, io::Error> {
    let (head, body) = request.into_parts();
    let body = Limited::new(body, BODY_MAX).collect().await.map_err(io::Error::other)?.to_bytes().to_vec();
    let headers = head
        .headers
        .iter()
        .map(|(name, value)| (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
        .collect();
    let path = head.uri.path_and_query().map_or_else(|| "/".to_owned(), ToString::to_string);
    let (seen, behaviour) = {
        let mut kept = shared.kept();
        kept.count += 1;
        let seen = Seen { number: kept.count, method: head.method.to_string(), path, headers, body };
        if kept.seen.len() == KEPT {
            kept.seen.pop_front();
        }
        kept.seen.push_back(seen.clone());
        let behaviour = kept.next.pop_front().unwrap_or_else(|| kept.usual.clone());
        (seen, behaviour)
    };
    let reply = match behaviour {
        Behaviour::Answer(reply) => reply,
        Behaviour::Hang => {
            let _ = shared.sender.send(seen);
            std::future::pending::<Infallible>().await;
            return Err(io::Error::other("never"));
        }
        Behaviour::Normal => (shared.respond)(&seen),
        Behaviour::Delay(late) => {
            let reply = (shared.respond)(&seen);
            tokio::time::sleep(late).await;
            reply
        }
        Behaviour::Drop => {
            (shared.respond)(&seen);
            let _ = shared.sender.send(seen);
            return Err(io::Error::other("dropped as told"));
        }
    };
    // Nobody listening is no fault.
    let _ = shared.sender.send(seen);
    let mut response = Response::builder().status(reply.status);
    for (name, value) in &reply.headers {
        response = response.header(name, value);
    }
    response.body(Full::new(Bytes::from(reply.body))).map_err(io::Error::other)
}

/// A call of an action against a fake, for the tests of connectors.
#[cfg(test)]
pub(crate) async fn call(
    action: &str,
    input: &str,
    settings: &[(&str, &str)],
    secrets: &[(&str, &str)],
) -> aura_protocol::run::CallOutcome {
    use crate::http::{EgressPolicy, Http};
    let sink = crate::redact::Sink::default();
    sink.replace(secrets.iter().map(|(_, secret)| *secret));
    let own = |list: &[(&str, &str)]| -> Vec<(String, String)> {
        list.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    };
    let policy = EgressPolicy { allow_loopback: true, ..EgressPolicy::default() };
    let http = Http::guarded(policy, sink).unwrap();
    let ctx = crate::ctx::CallCtx {
        http: &http,
        settings: &own(settings),
        secrets: &own(secrets),
        key: "aura_testkey",
        timeout: Duration::from_secs(20),
        now_ms: 1_790_000_000_000,
        sent: &std::sync::atomic::AtomicBool::new(false),
    };
    let input = Value::from_json(input.as_bytes()).unwrap();
    crate::registry::Registry::builtin().call(&ctx, action, &input).await
}
