//! The other side of W2's call: an HTTP server that answers a small JSON and remembers which ids came, and when.
//!
//! The one invariant: an effect is counted by the id in its body, so a lost or repeated one is seen however
//! the engine under test names its requests.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use anyhow::{Context, Result};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use crate::payload;

/// Most ids of one phase; more are counted as strangers.
const NUMBERS_MAX: u64 = 20_000_000;

/// What came in one phase.
#[derive(Debug, Default)]
struct Seen {
    tag: String,
    /// By number: how often, and when first.
    effects: Vec<Option<(u32, Instant)>>,
    count: u64,
    strangers: u64,
}

/// A running sink; it ends with the process.
#[derive(Clone, Debug)]
pub struct Sink {
    /// Where it listens.
    pub address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
}

/// What a phase looks like from the sink.
#[derive(Clone, Debug, Default)]
pub struct Arrived {
    /// First arrivals in the order of the ids that were asked for; `None`: it never came.
    pub first: Vec<Option<Instant>>,
    /// Ids that came more than once.
    pub repeated: u64,
    /// Requests without an id of the phase.
    pub strangers: u64,
}

impl Sink {
    /// Starts one on its own thread.
    ///
    /// # Errors
    /// The port is taken or the system gives no thread.
    pub fn start(listen: SocketAddr) -> Result<Self> {
        let listener =
            std::net::TcpListener::bind(listen).with_context(|| format!("the sink cannot listen on {listen}"))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let seen = Arc::new(Mutex::new(Seen::default()));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let shared = Arc::clone(&seen);
        std::thread::Builder::new().name("sink".to_owned()).spawn(move || runtime.block_on(serve(listener, shared)))?;
        Ok(Self { address, seen })
    }

    /// Begins a phase whose ids start with this tag.
    pub fn begin(&self, tag: &str) {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Seen { tag: tag.to_owned(), ..Seen::default() };
    }

    /// How many different ids have come in this phase.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).count
    }

    /// When each of these came first.
    #[must_use]
    pub fn arrived(&self, numbers: impl Iterator<Item = u64>) -> Arrived {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let at = |number: u64| usize::try_from(number).ok().and_then(|at| seen.effects.get(at).copied().flatten());
        Arrived {
            first: numbers.map(|number| at(number).map(|(_, first)| first)).collect(),
            repeated: seen.effects.iter().flatten().map(|(count, _)| u64::from(*count > 1)).sum(),
            strangers: seen.strangers,
        }
    }
}

fn take(seen: &Mutex<Seen>, body: &[u8]) {
    let now = Instant::now();
    let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
    let number = payload::number(&seen.tag, body).filter(|number| *number < NUMBERS_MAX && !seen.tag.is_empty());
    let Some(at) = number.and_then(|number| usize::try_from(number).ok()) else {
        seen.strangers += 1;
        return;
    };
    if seen.effects.len() <= at {
        seen.effects.resize((at + 1).next_power_of_two(), None);
    }
    let mut fresh = false;
    if let Some(effect) = seen.effects.get_mut(at) {
        let (count, _) = effect.get_or_insert((0, now));
        fresh = *count == 0;
        *count += 1;
    }
    seen.count += u64::from(fresh);
}

async fn serve(listener: std::net::TcpListener, seen: Arc<Mutex<Seen>>) {
    let Ok(listener) = TcpListener::from_std(listener) else { return };
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let _ = stream.set_nodelay(true);
        let seen = Arc::clone(&seen);
        tokio::spawn(async move {
            let answer = service_fn(move |request: Request<Incoming>| {
                let seen = Arc::clone(&seen);
                async move {
                    if let Ok(body) = request.into_body().collect().await {
                        take(&seen, &body.to_bytes());
                    }
                    let mut response = Response::new(Full::new(Bytes::from_static(br#"{"ok":true,"echo":1}"#)));
                    response
                        .headers_mut()
                        .insert("content-type", hyper::header::HeaderValue::from_static("application/json"));
                    Ok::<_, Infallible>(response)
                }
            });
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn effects_are_counted_once_and_repeats_are_seen() {
        let seen = Mutex::new(Seen { tag: "t".to_owned(), ..Seen::default() });
        for body in ["t-000000000000", "t-000000000003", "t-000000000003", "nothing"] {
            take(&seen, body.as_bytes());
        }
        let sink = Sink { address: SocketAddr::from(([127, 0, 0, 1], 1)), seen: Arc::new(seen) };
        let arrived = sink.arrived([0, 1, 3, 9].into_iter());
        let came: Vec<bool> = arrived.first.iter().map(Option::is_some).collect();
        assert_eq!(
            (came, arrived.repeated, arrived.strangers, sink.count()),
            (vec![true, false, true, false], 1, 1, 2)
        );
        sink.begin("u");
        assert_eq!(sink.count(), 0);
    }
}
