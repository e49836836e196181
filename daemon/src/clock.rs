//! The daemon's clock: wall time for due times and records, and a wait that a jump can end.
//!
//! Only a demo daemon has a clock that can be moved; everybody else's follows the system. Nothing in the
//! engine reads the system's time except through here. Time-outs of calls are real time (tokio's).

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use tokio::sync::Notify;

/// Wall time in Unix milliseconds, never backwards within one start.
#[derive(Clone, Debug)]
pub struct Clock(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    movable: bool,
    offset_ms: AtomicI64,
    floor_ms: AtomicI64,
    jumped: Notify,
}

impl Clock {
    /// The system's clock.
    #[must_use]
    pub fn system() -> Self {
        Self::new(false)
    }

    /// A clock that [`Clock::advance`] can move: only for the demo and for tests.
    #[must_use]
    pub fn demo() -> Self {
        Self::new(true)
    }

    fn new(movable: bool) -> Self {
        let inner = Inner { movable, offset_ms: AtomicI64::new(0), floor_ms: AtomicI64::new(0), jumped: Notify::new() };
        Self(Arc::new(inner))
    }

    /// Now, in Unix milliseconds; never less than an earlier answer.
    #[must_use]
    pub fn now_ms(&self) -> i64 {
        let now = jiff::Timestamp::now().as_millisecond() + self.0.offset_ms.load(Ordering::Acquire);
        self.0.floor_ms.fetch_max(now, Ordering::AcqRel).max(now)
    }

    /// Moves a demo clock forward; `None` for a clock that cannot be moved.
    pub fn advance(&self, ms: u64) -> Option<i64> {
        if !self.0.movable {
            return None;
        }
        let ms = i64::try_from(ms).unwrap_or(i64::MAX / 4);
        self.0.offset_ms.fetch_add(ms, Ordering::AcqRel);
        self.0.jumped.notify_waiters();
        Some(self.now_ms())
    }

    /// Waits until a time, or until the clock jumped (then the caller looks again). At most an hour,
    /// so that a system clock set by its operator is noticed.
    pub async fn wait_until(&self, due_ms: i64) {
        let jumped = self.0.jumped.notified();
        let left = u64::try_from(due_ms.saturating_sub(self.now_ms())).unwrap_or(0).min(3_600_000);
        tokio::select! {
            () = tokio::time::sleep(std::time::Duration::from_millis(left)) => {}
            () = jumped => {}
        }
    }
}
