//! Policies of a trigger that look at several events: `batch` collects them, `throttle` bounds how often they count.
//!
//! The invariant: neither loses an event. One of a batch is kept until its run has it; one beyond a throttle waits as
//! a queued run or is recorded as dropped. What other policies mean stands in [`super::types`] and [`super::limits`].

use super::limits::Rate;
use super::types::Span;

/// Events of one batch at most.
pub const BATCH_MAX: u32 = 1_000;
/// Bytes of the events of one batch from which on it is not waited for more (4 MiB).
pub const BATCH_BYTES: u64 = 4 * 1024 * 1024;
/// The longest time a batch may be open (31 days).
pub const BATCH_FOR_MAX: Span = Span::from_secs(31 * 86_400);

/// Collect events of a key: one run with all of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// An expression; absent: one for the trigger.
    pub key: Option<String>,
    /// So many events make it full.
    pub max: u32,
    /// Counted from the first event; then it starts as it is.
    pub within: Span,
}

/// So many events of a key start runs in a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Throttle {
    /// An expression; absent: one for the trigger.
    pub key: Option<String>,
    /// How many.
    pub limit: u32,
    /// In any stretch of this time.
    pub per: Span,
    /// What becomes of one more.
    pub on_excess: OnExcess,
}

/// What becomes of an event beyond a throttle.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnExcess {
    /// Its run waits until there is room, in the order of acceptance.
    #[default]
    Queue,
    /// There is no run; the event is recorded as dropped and says why.
    Drop,
}

impl OnExcess {
    /// As the file writes it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Queue => "queue",
            Self::Drop => "drop",
        }
    }
}

impl Throttle {
    /// It as a rate, whose bounds it shares.
    #[must_use]
    pub fn rate(&self) -> Rate {
        Rate { key: self.key.clone(), count: self.limit, per: self.per }
    }
}
