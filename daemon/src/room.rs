//! Room on the disk and in the quota: who wants to add to the store asks here first.
//!
//! One task looks every two seconds and when the store says that its disk is full. Below the reserve no event
//! is accepted, no call is begun and no timer fires; what reads, ends or removes goes on. It all comes back by
//! itself when there is room. Looking writes nothing.

use std::time::Duration;

use aura_protocol::{Code, WireError};
use aura_storage::{Space, Standing, Store};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// How often the disk is looked at.
const EVERY: Duration = Duration::from_secs(2);
/// The reserve is at most this part of a small disk.
const PART: u64 = 4;
const MIB: u64 = 1024 * 1024;

/// Why there is no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tight {
    /// The disk has less than the reserve.
    Disk,
    /// What is stored is as much as may be, and nothing of it may be deleted.
    Quota,
}

impl Tight {
    /// The word in `status`.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Disk => "disk",
            Self::Quota => "quota",
        }
    }
}

/// What is known about room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Look {
    /// Why there is none.
    pub tight: Option<Tight>,
    /// Free bytes of the disk, if the system says.
    pub free: Option<u64>,
    /// Bytes that must stay free.
    pub reserve: u64,
    /// Bytes stored.
    pub stored: u64,
}

/// The answer, as it changes. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Room(watch::Sender<Look>);

impl Default for Room {
    fn default() -> Self {
        Self(watch::Sender::new(Look::default()))
    }
}

/// What is kept free and how much may be stored.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bounds {
    /// Bytes of the disk that stay free.
    pub reserve_bytes: u64,
    /// The same as a part of the disk; the greater counts.
    pub reserve_percent: u64,
    /// Bytes that may be stored; 0: any number.
    pub quota: u64,
}

impl Bounds {
    /// Bytes that must stay free of a disk.
    #[must_use]
    pub fn reserve(&self, total: u64) -> u64 {
        let percent = (total / 100).saturating_mul(self.reserve_percent.min(100));
        self.reserve_bytes.max(percent).min(total / PART)
    }
}

impl Room {
    /// Why nothing may be added now.
    #[must_use]
    pub fn tight(&self) -> Option<Tight> {
        self.0.borrow().tight
    }

    /// Makes it tight, or not.
    #[cfg(test)]
    pub(crate) fn make(&self, tight: Option<Tight>) {
        self.0.send_modify(|look| look.tight = tight);
    }

    /// Everything that is known.
    #[must_use]
    pub fn now(&self) -> Look {
        *self.0.borrow()
    }

    /// Waits until there is room on the disk; a used-up quota does not hold up what was accepted.
    pub async fn on_disk(&self) {
        // The sender lives as long as this handle, so an error cannot come.
        let _ = self.0.subscribe().wait_for(|look| look.tight != Some(Tight::Disk)).await;
    }

    /// Refuses what would add to the store.
    ///
    /// # Errors
    /// There is no room: busy, with what to do.
    pub fn wanted(&self) -> Result<(), WireError> {
        let (why, hint) = match self.tight() {
            None => return Ok(()),
            Some(Tight::Disk) => {
                ("the daemon's disk is nearly full", "make room on it, or delete runs with `aura run delete`")
            }
            Some(Tight::Quota) => ("the quota is used up", "delete runs with `aura run delete`, or raise `quota_mib`"),
        };
        Err(WireError::new(Code::Busy, format!("{why}: nothing new is begun until there is room")).hint(hint))
    }

    /// Looks for ever; makes the ballast again when there is room for it.
    pub async fn watch(self, store: Store, bounds: Bounds, closing: CancellationToken) {
        let mut standing = store.standing();
        loop {
            let full = matches!(*standing.borrow_and_update(), Standing::Full(_));
            let asked = store.clone();
            let space = tokio::task::spawn_blocking(move || asked.space()).await.ok().flatten();
            let before = self.now();
            let look = looked(before, space, full, store.stored(), bounds);
            if look.tight != before.tight {
                match look.tight {
                    Some(why) => {
                        tracing::warn!(?why, free = ?look.free, reserve = look.reserve, stored = look.stored, "no room: intake, timers and calls wait")
                    }
                    None => tracing::info!(free = ?look.free, "there is room again"),
                }
            }
            self.0.send_replace(look);
            if look.tight != Some(Tight::Disk) {
                store.keep_ballast(look.reserve.saturating_add(look.reserve / 4));
            }
            tokio::select! {
                () = closing.cancelled() => return,
                () = tokio::time::sleep(EVERY) => {}
                changed = standing.changed() => if changed.is_err() { return },
            }
        }
    }
}

fn looked(before: Look, space: Option<Space>, full: bool, stored: u64, bounds: Bounds) -> Look {
    let reserve = space.map_or(0, |space| bounds.reserve(space.total));
    // A little more is wanted before it goes on, so that it does not flutter.
    let wanted =
        if before.tight == Some(Tight::Disk) { reserve.saturating_add((reserve / 8).min(64 * MIB)) } else { reserve };
    let low = full || space.is_some_and(|space| space.free < wanted);
    let tight = if low {
        Some(Tight::Disk)
    } else if bounds.quota > 0 && stored >= bounds.quota {
        Some(Tight::Quota)
    } else {
        None
    };
    Look { tight, free: space.map(|space| space.free), reserve, stored }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reserve_is_the_greater_of_two_and_small_disks_keep_most_of_theirs() {
        let check = |mib, percent, total_mib: u64, expected_mib: u64| {
            let bounds = Bounds { reserve_bytes: mib * MIB, reserve_percent: percent, quota: 0 };
            assert_eq!(
                bounds.reserve(total_mib * MIB) / MIB,
                expected_mib,
                "{mib} MiB, {percent} % of {total_mib} MiB"
            );
        };
        check(512, 5, 100_000, 5_000);
        check(512, 5, 4_000, 512);
        check(512, 5, 64, 16);
        check(0, 0, 100_000, 0);
        check(8, 0, 64, 8);
    }

    #[test]
    fn it_stops_below_the_reserve_and_goes_on_with_a_little_more() {
        let bounds = Bounds { reserve_bytes: 80 * MIB, reserve_percent: 0, quota: 1000 };
        let space = |free: u64| Some(Space { total: 10_000 * MIB, free: free * MIB });
        let check = |before, free, full, stored, expected| {
            let before = Look { tight: before, ..Look::default() };
            assert_eq!(looked(before, space(free), full, stored, bounds).tight, expected, "{free} MiB free");
        };
        check(None, 80, false, 0, None);
        check(None, 79, false, 0, Some(Tight::Disk));
        check(Some(Tight::Disk), 85, false, 0, Some(Tight::Disk));
        check(Some(Tight::Disk), 90, false, 0, None);
        check(None, 9_000, true, 0, Some(Tight::Disk));
        check(None, 9_000, false, 1000, Some(Tight::Quota));
        check(Some(Tight::Quota), 9_000, false, 999, None);
        assert_eq!(looked(Look::default(), None, false, 0, bounds).tight, None, "in memory there is no disk");
    }
}
