//! Which deliveries were told already: a feed tells one that was held again when it moves, and a list that is read
//! beside the feed overlaps with it.
//!
//! Invariant: memory is bounded, and what was forgotten is not told again: whatever is older than that is not new. What a
//! relay took is told by its id alone: that has the time of another clock, and is as old as the delivery waited there.

use std::collections::{HashSet, VecDeque};

use aura_protocol::DeliveryId;
use aura_protocol::rpc::DeliveryRow;

/// Ids that are remembered.
const REMEMBERED: usize = 100_000;
/// Between its id and its commit a delivery takes less than this, in milliseconds.
pub const LATE_MS: u64 = 60_000;

/// What was told.
#[derive(Debug)]
pub struct Seen {
    ids: HashSet<DeliveryId>,
    order: VecDeque<DeliveryId>,
    most: usize,
    floor_ms: u64,
    newest_ms: u64,
}

impl Seen {
    /// Nothing is new that is older than `floor_ms`, in Unix milliseconds of ids.
    #[must_use]
    pub fn from(floor_ms: u64) -> Self {
        Self { ids: HashSet::new(), order: VecDeque::new(), most: REMEMBERED, floor_ms, newest_ms: floor_ms }
    }

    /// Whether it is new; it is not the next time.
    pub fn is_new(&mut self, row: &DeliveryRow) -> bool {
        let (id, relayed) = (row.id, row.relay.is_some());
        let at = ms_of(id);
        if (at < self.floor_ms && !relayed) || !self.ids.insert(id) {
            return false;
        }
        // The floor follows the daemon's clock only.
        if !relayed {
            self.newest_ms = self.newest_ms.max(at);
        }
        self.order.push_back(id);
        if self.order.len() > self.most
            && let Some(gone) = self.order.pop_front()
        {
            self.ids.remove(&gone);
            // What comes now is not that old; an id of a relay's clock that is ahead of ours is no such mark.
            if ms_of(gone).saturating_add(LATE_MS) < self.newest_ms {
                self.floor_ms = self.floor_ms.max(ms_of(gone) + 1);
            }
        }
        true
    }

    /// Before this nothing is missing: where to look again if the feed has a gap, in Unix milliseconds of ids.
    #[must_use]
    pub fn look_from(&self) -> u64 {
        self.newest_ms.saturating_sub(LATE_MS).max(self.floor_ms)
    }
}

/// Unix milliseconds in an id.
fn ms_of(id: DeliveryId) -> u64 {
    id.bytes().iter().take(6).fold(0, |ms, byte| (ms << 8) | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(ms: u64, number: u8) -> DeliveryRow {
        DeliveryRow { id: DeliveryId::from_parts(ms, &[number; 10]), ..DeliveryRow::default() }
    }

    fn relayed(ms: u64, number: u8) -> DeliveryRow {
        DeliveryRow { relay: Some("dmz".into()), ..row(ms, number) }
    }

    #[test]
    fn each_is_new_once_and_what_is_older_than_the_beginning_never() {
        let mut seen = Seen::from(10_000);
        let told = [(10_000, 1), (10_000, 1), (9_999, 2), (12_000, 1), (11_000, 3), (12_000, 1), (10_000, 4)];
        let new: Vec<bool> = told.iter().map(|(ms, number)| seen.is_new(&row(*ms, *number))).collect();
        assert_eq!(new, [true, false, false, true, true, false, true]);
        assert_eq!(seen.look_from(), 10_000);
        assert!(seen.is_new(&row(100_000, 1)));
        assert_eq!(seen.look_from(), 100_000 - LATE_MS);
    }

    #[test]
    fn what_is_forgotten_does_not_come_twice() {
        let mut seen = Seen { most: 10, ..Seen::from(0) };
        for number in 0..100_u64 {
            assert!(seen.is_new(&row(number * 20_000, 7)));
        }
        assert!(seen.ids.len() <= 10 && seen.order.len() <= 10);
        assert!(!seen.is_new(&row(5 * 20_000, 7)), "forgotten, and held since");
        assert!(!seen.is_new(&row(99 * 20_000, 7)), "remembered");
        // Many at once: nothing is so old that it cannot be on its way.
        let mut seen = Seen { most: 10, ..Seen::from(0) };
        let all = (0..100).filter(|number| seen.is_new(&row(1_000, *number))).count();
        assert_eq!((all, seen.floor_ms), (100, 0));
        assert!(seen.is_new(&row(999, 1)), "a late one");
    }

    #[test]
    fn what_a_relay_took_is_new_once_whatever_its_clock_says() {
        let mut seen = Seen::from(1_000_000);
        let told = [relayed(5, 1), relayed(999_999, 2), relayed(u64::MAX >> 16, 3), relayed(5, 1), row(5, 4)];
        let new: Vec<bool> = told.iter().map(|row| seen.is_new(row)).collect();
        assert_eq!(new, [true, true, true, false, false]);
        // A clock that is far ahead hides nothing of ours.
        assert_eq!((seen.floor_ms, seen.look_from()), (1_000_000, 1_000_000));
        assert!(seen.is_new(&row(1_000_001, 5)));
    }
}
