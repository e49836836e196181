//! `watch`: one outstanding long poll per client instead of streams.
//!
//! The client sends its cursor and gets a batch and the next cursor, also when nothing matched. The
//! daemon keeps nothing per client: a slow client is only late. `Cut` says once that retention took
//! what the cursor pointed at.

use serde::{Deserialize, Serialize};

use crate::event::EventRow;
use crate::ids::RunId;
use crate::run::{RunHead, Transition};

/// Largest batch in bytes.
pub const BYTES_MAX: u32 = 256 * 1024;
/// Longest wait in milliseconds.
pub const WAIT_MS_MAX: u32 = 25_000;

/// What a client wants to see.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Subscription {
    /// Heads of all runs as they change.
    Runs,
    /// Every transition of one run.
    Run(RunId),
    /// Every transition of every run (tail).
    Transitions,
    /// Held and dropped events.
    Events,
    /// Flows, connections, drafts.
    Catalog,
}

/// A long poll.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WatchRequest {
    /// What to see.
    pub subscriptions: Vec<Subscription>,
    /// After this; `None`: from now on (the reply says where now is).
    pub cursor: Option<u64>,
    /// At most this many items.
    pub max_items: u32,
    /// At most this many bytes, ≤ [`BYTES_MAX`].
    pub max_bytes: u32,
    /// Wait this long for news, ≤ [`WAIT_MS_MAX`].
    pub wait_ms: u32,
}

/// What came.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WatchReply {
    /// Continue from here.
    pub cursor: u64,
    /// News in commit order.
    pub items: Vec<Item>,
    /// Retention cut the stream: read lists anew, then go on from `cursor`.
    pub cut: bool,
    /// More is there already: ask again at once.
    pub more: bool,
    /// The daemon's clock, in Unix milliseconds (a demo's clock jumps).
    pub now_ms: i64,
}

/// One piece of news.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Item {
    /// A run changed (its newest head; several changes may come as one).
    Run(Box<RunHead>),
    /// One transition of a run.
    Transition(RunId, Transition),
    /// An event was held, dropped, or its held row fired.
    Event(Box<EventRow>),
    /// A flow or connection changed: its name.
    Changed(String),
}
