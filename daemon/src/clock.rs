//! The daemon's clocks: the engine's, which no setting of the system's clock can jerk, and the one on the wall.
//!
//! Invariant: what lasts (sleeps, retries, deadlines, debounce) is measured in the engine's time, which follows the
//! wall while that goes evenly and goes on evenly when it is set, also over a restart within one boot of the machine;
//! only schedules and signatures look at the wall.
//! Only a demo daemon has a clock that can be moved. Nothing in the engine reads the system's time except through
//! here. Time-outs of calls are real time (tokio's).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use aura_storage::{Steady, Store};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// The wall may be off by this much before it counts as set: what NTP does in small steps is followed.
const EVEN_MS: i64 = 1_000;

/// Where the kernel names the boot of the machine.
const BOOT_NAME: &str = "/proc/sys/kernel/random/boot_id";
/// How often it is looked whether the clock goes otherwise than what was kept of it.
const LOOK: std::time::Duration = std::time::Duration::from_secs(60);

/// Time in Unix milliseconds. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Clock(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    movable: bool,
    offset_ms: AtomicI64,
    floor_ms: AtomicI64,
    /// Engine's time less the time since boot.
    base_ms: AtomicI64,
    /// The wall was set, and the log said so.
    apart: AtomicBool,
    jumped: Notify,
    /// It settled: how it goes with the time since boot has changed at once.
    settled: Notify,
}

/// Milliseconds since boot, sleep of the machine included; nobody can set it.
fn since_boot_ms() -> i64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    time.tv_sec.saturating_mul(1000).saturating_add(time.tv_nsec / 1_000_000)
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
        let inner = Inner {
            movable,
            offset_ms: AtomicI64::new(0),
            floor_ms: AtomicI64::new(0),
            base_ms: AtomicI64::new(jiff::Timestamp::now().as_millisecond() - since_boot_ms()),
            apart: AtomicBool::new(false),
            jumped: Notify::new(),
            settled: Notify::new(),
        };
        Self(Arc::new(inner))
    }

    /// Now, in the engine's time; never less than an earlier answer.
    #[must_use]
    pub fn now_ms(&self) -> i64 {
        let (wall, boot) = (jiff::Timestamp::now().as_millisecond(), since_boot_ms());
        let now = self.follow(wall, boot).saturating_add(self.0.offset_ms.load(Ordering::Acquire));
        self.0.floor_ms.fetch_max(now, Ordering::AcqRel).max(now)
    }

    /// The wall while it goes evenly, else the time since boot counted on from when it last did.
    fn follow(&self, wall: i64, boot: i64) -> i64 {
        let steady = boot.saturating_add(self.0.base_ms.load(Ordering::Acquire));
        let apart = wall.saturating_sub(steady);
        if apart.saturating_abs() <= EVEN_MS {
            self.0.base_ms.store(wall.saturating_sub(boot), Ordering::Release);
            self.0.apart.store(false, Ordering::Release);
            return wall;
        }
        if !self.0.apart.swap(true, Ordering::AcqRel) {
            tracing::warn!(by_ms = apart, "the system's clock was set; what waits goes on as if it had not been");
        }
        steady
    }

    /// Nothing waits: a wall that was set forward is followed from now on.
    pub fn settle(&self) {
        let (wall, boot) = (jiff::Timestamp::now().as_millisecond(), since_boot_ms());
        if wall > boot.saturating_add(self.0.base_ms.load(Ordering::Acquire)) {
            self.0.base_ms.store(wall.saturating_sub(boot), Ordering::Release);
            self.0.settled.notify_one();
        }
    }

    /// How it goes with the time since boot; none for a clock that can be moved, or where the boot has no name.
    #[must_use]
    pub fn steady(&self) -> Option<Steady> {
        let boot = std::fs::read_to_string(BOOT_NAME).ok().filter(|_| !self.0.movable)?;
        // What was set meanwhile is seen, small steps are followed.
        let _ = self.now_ms();
        Some(Steady { boot: boot.trim().to_owned(), base_ms: self.0.base_ms.load(Ordering::Acquire) })
    }

    /// Goes on as an earlier daemon of this boot did, whatever the wall was set to since. Before anything waits.
    pub fn resume(&self, kept: &Steady) {
        if self.steady().is_none_or(|now| now.boot != kept.boot) {
            return;
        }
        self.0.base_ms.store(kept.base_ms, Ordering::Release);
        self.0.floor_ms.store(0, Ordering::Release);
        let _ = self.now_ms();
    }

    /// Keeps in the store how it goes with the time since boot, for the next start: written only when that changed.
    pub async fn keep(self, store: Store, closing: CancellationToken) {
        let mut kept = match store.steady() {
            Ok(kept) => kept,
            Err(error) => {
                tracing::error!(%error, "how the clock went before cannot be read");
                None
            }
        };
        loop {
            let now = self.steady();
            let same = |now: &Steady, kept: &Steady| {
                now.boot == kept.boot && now.base_ms.abs_diff(kept.base_ms) <= EVEN_MS.unsigned_abs() / 2
            };
            if let Some(now) = now.filter(|now| kept.as_ref().is_none_or(|kept| !same(now, kept))) {
                match store.keep_steady(&now).await {
                    Ok(()) => kept = Some(now),
                    Err(error) => tracing::warn!(%error, "how the clock goes could not be kept; it is tried again"),
                }
            }
            tokio::select! {
                () = closing.cancelled() => return,
                () = self.0.settled.notified() => {}
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    }

    /// How far the wall is ahead of the engine's time (behind, if negative): not 0 once the system's clock was set.
    #[must_use]
    pub fn apart_ms(&self) -> i64 {
        let apart = self.wall_ms().saturating_sub(self.now_ms());
        if apart.saturating_abs() <= EVEN_MS { 0 } else { apart }
    }

    /// The time on the wall, in Unix milliseconds: it follows the system's clock back as well. For schedules and
    /// signatures only; what lasts is measured with [`Clock::now_ms`].
    #[must_use]
    pub fn wall_ms(&self) -> i64 {
        jiff::Timestamp::now().as_millisecond() + self.0.offset_ms.load(Ordering::Acquire)
    }

    /// Waits until a time on the wall, or until the clock jumped; looks at the clock again at least every `look_ms`.
    /// Without a time only a jump ends it.
    pub async fn wait_wall(&self, due_ms: Option<i64>, look_ms: u64) {
        let jumped = self.0.jumped.notified();
        let sleep = async {
            match due_ms {
                Some(due) => {
                    let left = u64::try_from(due.saturating_sub(self.wall_ms())).unwrap_or(0).min(look_ms);
                    tokio::time::sleep(std::time::Duration::from_millis(left)).await;
                }
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = sleep => {}
            () = jumped => {}
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_engine_goes_on_evenly_when_the_wall_is_set() {
        let clock = Clock::system();
        let start = 1_800_000_000_000;
        clock.0.base_ms.store(start - 5_000, Ordering::Release);
        let check =
            |wall: i64, boot: i64, expected: i64| assert_eq!(clock.follow(wall, boot), expected, "{wall} {boot}");
        check(start, 5_000, start);
        check(start + 1_300, 6_000, start + 1_300);
        // An hour forward, an hour back, ten years forward: a second is a second.
        check(start + 3_600_000, 7_000, start + 2_300);
        check(start - 3_600_000, 8_000, start + 3_300);
        check(start + 315_360_000_000, 9_000, start + 4_300);
        // Set right again.
        check(start + 6_000, 10_000, start + 6_000);
    }

    #[test]
    fn the_next_daemon_of_this_boot_goes_on_whatever_the_wall_says() {
        let before = Clock::system();
        // An hour forward: the wall is ahead of what waits.
        before.0.base_ms.fetch_sub(3_600_000, Ordering::AcqRel);
        before.0.floor_ms.store(0, Ordering::Release);
        let kept = before.steady().expect("the kernel names its boot");
        let next = Clock::system();
        assert_eq!(next.apart_ms(), 0, "it cannot know yet");
        next.resume(&Steady { boot: "another boot".into(), ..kept.clone() });
        assert_eq!(next.apart_ms(), 0, "nothing is known of another boot");
        next.resume(&kept);
        assert!((3_599_000..3_601_000).contains(&next.apart_ms()), "{}", next.apart_ms());
        assert!((next.now_ms() - before.now_ms()).abs() < 100);
        next.settle();
        assert_eq!(next.apart_ms(), 0);
        assert!(Clock::demo().steady().is_none(), "a clock that can be moved is not kept");
    }

    #[test]
    fn the_engine_never_goes_back_and_settles_only_forward() {
        let clock = Clock::system();
        let now = clock.now_ms();
        clock.0.base_ms.fetch_sub(7_200_000, Ordering::AcqRel);
        assert!(clock.now_ms() >= now && clock.apart_ms() == 0, "the floor holds");
        clock.settle();
        assert!(clock.now_ms() >= now && clock.wall_ms() - clock.now_ms() < 1_000);
        clock.0.base_ms.fetch_add(7_200_000, Ordering::AcqRel);
        clock.settle();
        assert!(clock.apart_ms() < -7_000_000, "a wall that is behind is not followed");
    }
}
