//! The uses of a rate that still count: never more than `count` in any stretch of `per`, whatever came when.
//!
//! Unlike a bucket that refills, a full stretch may be used at once and the next one is still whole. Uses that lie
//! close together are kept as one group that counts until the last of them is over; so a window has few groups and
//! errs on the side of waiting, by at most a part of `per`.

use std::collections::VecDeque;

use aura_storage::rows::LimitRow;

use super::Rate;
use crate::engine::core::bugs::{Bug, has};

/// Uses within this part of `per` are one group.
const PARTS: i64 = 32;
/// Groups of one window; more cannot be, and no more are read back.
const GROUPS_MAX: usize = 64;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Group {
    first_us: i64,
    last_us: i64,
    count: u32,
}

/// What is used up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Window {
    groups: VecDeque<Group>,
    used: u32,
}

impl Window {
    /// As it was stored.
    #[must_use]
    pub fn of(row: &LimitRow) -> Self {
        let mut window = Self::default();
        for (first_us, last_us, count) in row.used.iter().take(GROUPS_MAX) {
            window.groups.push_back(Group { first_us: *first_us, last_us: *last_us, count: *count });
            window.used = window.used.saturating_add(*count);
        }
        window
    }

    /// As it is stored.
    #[must_use]
    pub fn row(&self, rate: Rate) -> LimitRow {
        let used = self.groups.iter().map(|group| (group.first_us, group.last_us, group.count)).collect();
        let until_us = self.groups.back().map_or(0, |group| group.last_us.saturating_add(rate.per_us));
        LimitRow { used, until_ms: until_us / 1000 + 1 }
    }

    /// Forgets what is over. A clock that was set back makes no use lie in the future: nothing is held up longer than
    /// `per`.
    pub fn settle(&mut self, rate: Rate, now_us: i64) {
        for group in self.groups.iter_mut().rev().take_while(|group| group.last_us > now_us) {
            group.last_us = now_us;
            group.first_us = group.first_us.min(now_us);
        }
        while let Some(group) = self.groups.front().filter(|group| group.last_us.saturating_add(rate.per_us) <= now_us)
        {
            self.used = self.used.saturating_sub(group.count);
            self.groups.pop_front();
        }
    }

    /// How many may be used now, as of the last [`Window::settle`].
    #[must_use]
    pub fn left(&self, rate: Rate) -> u32 {
        rate.count.saturating_sub(self.used)
    }

    /// How many are used up, as of the last [`Window::settle`].
    #[must_use]
    pub fn used(&self) -> u32 {
        self.used
    }

    /// When it was used last, in microseconds; 0: never.
    #[must_use]
    pub fn last_us(&self) -> i64 {
        self.groups.back().map_or(0, |group| group.last_us)
    }

    /// When more than `spoken_for` may be used, in microseconds; none if nothing has to be over for that.
    #[must_use]
    pub fn next_us(&self, rate: Rate, spoken_for: u32) -> Option<i64> {
        let mut used = self.used.saturating_add(spoken_for);
        if used < rate.count {
            return None;
        }
        for group in &self.groups {
            used = used.saturating_sub(group.count);
            if used < rate.count {
                return Some(group.last_us.saturating_add(rate.per_us));
            }
        }
        None
    }

    /// One is used now.
    pub fn take(&mut self, rate: Rate, now_us: i64) {
        self.settle(rate, now_us);
        if has(Bug::RateIsForgotten) {
            return;
        }
        self.used = self.used.saturating_add(1);
        let part = rate.per_us / PARTS;
        match self.groups.back_mut().filter(|group| now_us.saturating_sub(group.first_us) < part) {
            Some(group) => {
                group.last_us = now_us;
                group.count = group.count.saturating_add(1);
            }
            None => self.groups.push_back(Group { first_us: now_us, last_us: now_us, count: 1 }),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::engine::core::bugs;

    fn use_all(count: u32, per_us: i64, arrivals: &[i64], restarts: bool) -> Vec<i64> {
        let rate = Rate { count, per_us };
        let (mut window, mut now, mut used) = (Window::default(), 0, Vec::new());
        for pause in arrivals {
            now += pause;
            window.settle(rate, now);
            // Whoever finds no room waits for exactly the time that is said.
            if let Some(next) = window.next_us(rate, 0) {
                assert!(next > now, "there is something to wait for");
                now = next;
                window.settle(rate, now);
            }
            assert_eq!(window.next_us(rate, 0), None, "the time that was said is enough");
            assert!(window.left(rate) > 0);
            window.take(rate, now);
            used.push(now);
            assert!(window.groups.len() <= usize::try_from(PARTS).unwrap() + 2, "{} groups", window.groups.len());
            if restarts {
                window = Window::of(&window.row(rate));
            }
        }
        used
    }

    fn most_in(used: &[i64], per_us: i64) -> usize {
        let within = |from: &i64| used.iter().filter(|at| *at >= from && **at < *from + per_us).count();
        used.iter().map(within).max().unwrap_or(0)
    }

    proptest! {
        #[test]
        fn no_stretch_has_more_than_it_may_and_nobody_waits_much_longer_than_needed(
            count in 1_u32..40, per_us in 1_i64..100_000, restarts in any::<bool>(),
            arrivals in proptest::collection::vec(prop_oneof![3 => 0_i64..50, 1 => 0_i64..200_000], 1..200),
        ) {
            let used = use_all(count, per_us, &arrivals, restarts);
            prop_assert!(most_in(&used, per_us) <= usize::try_from(count).unwrap());
            // Back to back, so many stretches are enough for all of them, each longer by at most its part.
            let stretches = i64::try_from(used.len()).unwrap() / i64::from(count) + 1;
            let came: i64 = arrivals.iter().sum();
            let last = used.last().copied().unwrap_or(0);
            prop_assert!(last <= came + stretches * (per_us + per_us / PARTS + 1), "{last} of {came}");
        }
    }

    #[test]
    fn a_full_stretch_may_be_used_at_once_and_the_next_one_is_whole() {
        assert_eq!(use_all(3, 60, &[0; 7], false), [0, 0, 0, 60, 60, 60, 120]);
        bugs::with(Some(Bug::RateIsForgotten), || assert_eq!(use_all(3, 60, &[0; 7], false), [0; 7]));
    }

    #[test]
    fn a_clock_that_was_set_back_holds_nobody_up_longer_than_the_stretch() {
        let rate = Rate { count: 1, per_us: 100 };
        let mut window = Window::default();
        window.take(rate, 1_000_000);
        window.settle(rate, 500);
        assert_eq!(window.next_us(rate, 0), Some(600));
        window.settle(rate, 600);
        assert_eq!((window.next_us(rate, 0), window.left(rate)), (None, 1));
        assert_eq!(window.next_us(rate, 1), None, "what is spoken for is waited for elsewhere");
    }
}
