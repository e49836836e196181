//! The load generator: a closed loop over keep-alive connections, or a fixed rate.
//!
//! The one invariant: at a fixed rate a latency counts from the moment the request was *due*, so a server that
//! stands still is not spared the requests that nobody could send meanwhile. Sender and sink run in this
//! process, the server in one of its own.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use hdrhistogram::Histogram;
use tokio::sync::{Mutex, mpsc};

use crate::http::{Connection, post};
use crate::payload;

/// Requests that are due and that no connection has taken yet; more are counted as not sent.
const DUE_MAX: usize = 65_536;

/// What is sent where.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The server.
    pub address: SocketAddr,
    /// Path of the webhook.
    pub path: String,
    /// First part of all ids.
    pub tag: String,
    /// Keep-alive connections.
    pub connections: usize,
    /// How long requests are begun.
    pub length: Duration,
    /// Requests a second; `None`: as fast as answers come.
    pub rate: Option<u32>,
    /// Stop after so many.
    pub most: Option<u64>,
    /// The answer must be that of W1.
    pub replies: bool,
    /// The first broken connection ends the load (for kills).
    pub stop_at_error: bool,
    /// Latency counts from the moment of sending also at a fixed rate: for overload, where nobody could send all
    /// that is due.
    pub from_sending: bool,
}

impl Plan {
    /// A closed loop on a server, to be changed with `..`.
    #[must_use]
    pub fn closed(served: &crate::served::Served, tag: &str, connections: usize, length: Duration) -> Self {
        Self {
            address: served.address,
            path: served.path.clone(),
            tag: tag.to_owned(),
            connections,
            length,
            rate: None,
            most: None,
            replies: false,
            stop_at_error: false,
            from_sending: false,
        }
    }
}

/// A request that was acknowledged.
#[derive(Clone, Copy, Debug)]
pub struct Ack {
    /// Its number.
    pub number: u64,
    /// When it was sent, or due.
    pub due: Instant,
}

/// What came of a load.
#[derive(Debug)]
pub struct Outcome {
    /// First request.
    pub begin: Instant,
    /// Last answer.
    pub end: Instant,
    /// Acknowledged requests.
    pub acks: Vec<Ack>,
    /// Times to the acknowledgement, in microseconds.
    pub latency: Histogram<u64>,
    /// Answers 429 and 503 with `Retry-After`.
    pub refused: u64,
    /// All other answers without 2xx, and wrong replies.
    pub wrong: u64,
    /// Connections that broke.
    pub broken: u64,
    /// Requests that were due and never sent, because no connection was free.
    pub unsent: u64,
    /// What went wrong first.
    pub first_error: Option<String>,
}

/// A histogram of microseconds up to an hour.
#[must_use]
pub fn histogram() -> Histogram<u64> {
    // The bounds are constants that the crate accepts.
    #[expect(clippy::expect_used, reason = "constant bounds")]
    Histogram::new_with_bounds(1, 3_600_000_000, 3).expect("valid bounds")
}

impl Outcome {
    fn new() -> Self {
        let now = Instant::now();
        Self {
            begin: now,
            end: now,
            acks: Vec::new(),
            latency: histogram(),
            refused: 0,
            wrong: 0,
            broken: 0,
            unsent: 0,
            first_error: None,
        }
    }

    fn add(&mut self, other: Self) {
        self.acks.extend(other.acks);
        let _ = self.latency.add(other.latency);
        self.refused += other.refused;
        self.wrong += other.wrong;
        self.broken += other.broken;
        self.end = self.end.max(other.end);
        self.first_error = self.first_error.take().or(other.first_error);
    }

    fn note(&mut self, sentence: impl FnOnce() -> String) {
        self.first_error.get_or_insert_with(sentence);
    }
}

/// What all connections share.
struct Shared {
    plan: Plan,
    next: AtomicU64,
    stop: AtomicBool,
    begin: Instant,
    due: Option<Mutex<mpsc::Receiver<Instant>>>,
}

impl Shared {
    /// Number and time of the next request; `None` at the end.
    async fn next(&self) -> Option<(u64, Instant)> {
        if self.stop.load(Ordering::Relaxed) {
            return None;
        }
        let due = match &self.due {
            Some(due) => due.lock().await.recv().await?,
            None => Instant::now(),
        };
        if self.due.is_none() && due >= self.begin + self.plan.length {
            return None;
        }
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.plan.most.is_none_or(|most| number < most).then_some((number, due))
    }
}

/// Sends what the plan says and waits for all answers.
///
/// # Errors
/// The system gives no thread or runtime. What the server does wrong stands in the outcome.
pub fn run(plan: &Plan) -> Result<Outcome> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(drive(plan))
}

async fn drive(plan: &Plan) -> Result<Outcome> {
    let begin = Instant::now();
    let unsent = Arc::new(AtomicU64::new(0));
    let due = match plan.rate {
        Some(rate) => Some(Mutex::new(clock(rate, begin, plan.length, Arc::clone(&unsent))?)),
        None => None,
    };
    let shared =
        Arc::new(Shared { plan: plan.clone(), next: AtomicU64::new(0), stop: AtomicBool::new(false), begin, due });
    let workers: Vec<_> = (0..plan.connections).map(|_| tokio::spawn(worker(Arc::clone(&shared)))).collect();
    let mut whole = Outcome::new();
    for worker in workers {
        whole.add(worker.await?);
    }
    whole.begin = begin;
    whole.unsent = unsent.load(Ordering::Relaxed);
    Ok(whole)
}

/// Says when requests are due. A thread of its own, because the runtime's timer has steps of a millisecond.
fn clock(rate: u32, begin: Instant, length: Duration, unsent: Arc<AtomicU64>) -> Result<mpsc::Receiver<Instant>> {
    let (sender, receiver) = mpsc::channel(DUE_MAX);
    std::thread::Builder::new().name("clock".to_owned()).spawn(move || {
        for number in 0u64.. {
            let after = Duration::from_nanos(number.saturating_mul(1_000_000_000) / u64::from(rate.max(1)));
            if after >= length {
                break;
            }
            let due = begin + after;
            let wait = due.saturating_duration_since(Instant::now());
            if !wait.is_zero() {
                #[expect(clippy::disallowed_methods, reason = "a thread of its own that does nothing but keep time")]
                std::thread::sleep(wait);
            }
            match sender.try_send(due) {
                Ok(()) => {}
                Err(mpsc::error::TrySendError::Full(_)) => {
                    unsent.fetch_add(1, Ordering::Relaxed);
                }
                Err(mpsc::error::TrySendError::Closed(_)) => break,
            }
        }
    })?;
    Ok(receiver)
}

async fn worker(shared: Arc<Shared>) -> Outcome {
    let plan = &shared.plan;
    let mut out = Outcome::new();
    let mut connection = None;
    while let Some((number, due)) = shared.next().await {
        let mut open = match connection.take() {
            Some(open) => open,
            None => match Connection::open(plan.address).await {
                Ok(open) => open,
                Err(error) => {
                    failed(&shared, &mut out, &error).await;
                    continue;
                }
            },
        };
        let due = if plan.from_sending { Instant::now() } else { due };
        let request = post(&plan.address, &plan.path, &payload::payload(&plan.tag, number));
        match open.call(&request).await {
            Ok(answer) => {
                let now = Instant::now();
                out.end = now;
                let (status, keep) = (answer.status, answer.keep);
                if (200..300).contains(&status) && (!plan.replies || reply_is_right(&plan.tag, number, answer.body)) {
                    out.acks.push(Ack { number, due });
                    let micros = u64::try_from((now - due).as_micros()).unwrap_or(u64::MAX);
                    out.latency.saturating_record(micros.max(1));
                } else if matches!(status, 429 | 503) && answer.retry_after {
                    out.refused += 1;
                } else {
                    out.wrong += 1;
                    out.note(|| format!("{status} {}", String::from_utf8_lossy(answer.body)));
                }
                connection = keep.then_some(open);
            }
            Err(error) => failed(&shared, &mut out, &error).await,
        }
    }
    out
}

/// A connection broke: the load ends, or goes on a little later.
async fn failed(shared: &Shared, out: &mut Outcome, error: &std::io::Error) {
    out.broken += 1;
    out.note(|| error.to_string());
    if shared.plan.stop_at_error {
        shared.stop.store(true, Ordering::Relaxed);
    } else {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Whether a body is the answer that W1 owes to this number.
fn reply_is_right(tag: &str, number: u64, body: &[u8]) -> bool {
    let route: &[u8] = if payload::amount(number) >= 100 { b"\"high\"" } else { b"\"low\"" };
    let label = format!("\"order-{}\"", payload::id(tag, number));
    payload::find(body, label.as_bytes()).is_some() && payload::find(body, route).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_is_judged_by_label_and_route() {
        let check = |number: u64, body: &str, expected: bool| {
            assert_eq!(reply_is_right("t", number, body.as_bytes()), expected, "{body}");
        };
        check(100, r#"{"label": "order-t-000000000100", "route": "high"}"#, true);
        check(99, r#"{"label":"order-t-000000000099","route":"low"}"#, true);
        check(99, r#"{"label":"order-t-000000000099","route":"high"}"#, false);
        check(99, r#"{"label":"order-t-000000000098","route":"low"}"#, false);
        check(1, "<html>", false);
    }
}
