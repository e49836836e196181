//! Who may come in: so many deliveries are decided and committed at the same time, others wait a moment or come back.
//!
//! A burst waits its turn; an overload does not. What tells them apart is how many ask at once: once there are more
//! than could be served in the moment a burst is given, most must be told to come back anyway, and then it is better
//! to let few in at a time. Those few fill a commit and hear their answer soon; if all who may wait did, every
//! promise would be late (measured: `docs/benchmarks.md`, overload).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::backlog::WAITING_MAX;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Decided at the same time; four commits of a busy day.
const CALM_MAX: usize = 128;
/// Decided at the same time in an overload: enough to fill a commit while the one before is written.
const OVERLOAD_MAX: usize = 12;
/// More than this at once are an overload.
const BURST_MAX: usize = 512;
/// In an overload nobody comes in while more calls than this wait for their turn: what cannot be done soon is better
/// left with its sender. Without one it is kept here, because a slow provider is no reason to refuse anybody.
const BEHIND_MAX: usize = 20_000;
/// A burst's patience.
const PATIENCE: Duration = Duration::from_millis(250);

/// The places.
#[derive(Debug)]
pub(crate) struct Admission {
    asking: Arc<AtomicUsize>,
    calm: Arc<Semaphore>,
    overload: Arc<Semaphore>,
}

/// One who asks to be let in; counted until it is dropped.
#[derive(Debug)]
pub struct Asking(Arc<AtomicUsize>);

impl Drop for Asking {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// One who was let in.
#[derive(Debug)]
pub(crate) struct Admitted {
    _asking: Asking,
    _place: OwnedSemaphorePermit,
    _few: Option<OwnedSemaphorePermit>,
}

impl Admission {
    /// All places free.
    pub fn new() -> Self {
        let places = |count| Arc::new(Semaphore::new(count));
        Self { asking: Arc::default(), calm: places(CALM_MAX), overload: places(OVERLOAD_MAX) }
    }

    /// Counts one more who asks.
    pub fn asks(&self) -> Asking {
        self.asking.fetch_add(1, Ordering::AcqRel);
        Asking(Arc::clone(&self.asking))
    }

    fn is_overload(&self) -> bool {
        self.asking.load(Ordering::Acquire) > BURST_MAX
    }

    /// Whether one more would be told to come back, as things stand: so many calls wait for their turn.
    pub fn is_full(&self, behind: usize) -> bool {
        let places = self.overload.available_permits().min(self.calm.available_permits());
        behind >= WAITING_MAX || self.is_overload() && (places == 0 || behind >= BEHIND_MAX)
    }

    /// A place; in a burst after a moment's wait. `None`: come back later.
    pub async fn enter(&self, asking: Asking) -> Option<Admitted> {
        let (few, patience) = match self.is_overload() {
            true => (Some(Arc::clone(&self.overload).try_acquire_owned().ok()?), Duration::ZERO),
            false => (None, PATIENCE),
        };
        let place = match Arc::clone(&self.calm).try_acquire_owned() {
            Ok(place) => place,
            Err(_) if patience.is_zero() => return None,
            Err(_) => tokio::time::timeout(patience, Arc::clone(&self.calm).acquire_owned()).await.ok()?.ok()?,
        };
        Some(Admitted { _asking: asking, _place: place, _few: few })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_burst_waits_and_is_served() {
        let admission = Admission::new();
        let mut inside = Vec::new();
        for _ in 0..CALM_MAX {
            inside.push(admission.enter(admission.asks()).await.unwrap());
        }
        assert!(!admission.is_full(BEHIND_MAX), "one more may wait");
        assert!(admission.is_full(WAITING_MAX), "there is an end to what is kept");
        let (late, ()) = tokio::join!(admission.enter(admission.asks()), async {
            tokio::task::yield_now().await;
            inside.pop();
        });
        assert!(late.is_some(), "it got the place that became free");
        assert!(admission.enter(admission.asks()).await.is_none(), "nobody left while it was patient");
        drop((inside, late));
        assert_eq!(admission.asking.load(Ordering::Acquire), 0, "everybody is counted out again");
    }

    #[tokio::test]
    async fn an_overload_lets_few_in_and_refuses_at_once() {
        let admission = Admission::new();
        let outside: Vec<_> = (0..BURST_MAX).map(|_| admission.asks()).collect();
        let mut inside = Vec::new();
        let began = std::time::Instant::now();
        while let Some(admitted) = admission.enter(admission.asks()).await {
            inside.push(admitted);
        }
        assert_eq!(inside.len(), OVERLOAD_MAX);
        assert!(admission.is_full(0));
        inside.pop();
        assert!(!admission.is_full(0) && admission.is_full(BEHIND_MAX), "there is a place, but too much is behind");
        assert!(began.elapsed() < PATIENCE, "nobody waited");
        drop(outside);
        assert!(!admission.is_full(BEHIND_MAX), "it is over: others may come in beside them");
        assert!(admission.enter(admission.asks()).await.is_some());
    }
}
