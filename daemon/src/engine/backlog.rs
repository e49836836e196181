//! Calls that wait for their turn: only so many have their runs in memory, of all others only the name is kept.
//!
//! Invariant: whoever ends a call takes the next one on, so nobody waits while there is room; and a call that waits
//! here is in no run's `calls`, so its run can be forgotten and is read again when its turn comes.

use std::collections::VecDeque;

use aura_protocol::{RunId, TenantId};

/// Names kept at most before deliveries are told to come back; about 100 bytes each.
pub const WAITING_MAX: usize = 250_000;

/// A call that is scheduled and durable, by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Waiting {
    pub tenant: TenantId,
    pub run: RunId,
    pub path: Box<str>,
    pub attempt: u32,
}

/// Calls at work, and who comes next: first scheduled, first made.
#[derive(Debug)]
pub(crate) struct Backlog {
    at_work: usize,
    most: usize,
    waiting: VecDeque<Waiting>,
}

impl Backlog {
    /// At most this many at work.
    pub fn new(most: usize) -> Self {
        Self { at_work: 0, most: most.max(1), waiting: VecDeque::new() }
    }

    /// Takes a place at work if nobody waits for one; the holder must call [`Backlog::next`] or [`Backlog::leave`].
    pub fn enter(&mut self) -> bool {
        let free = self.waiting.is_empty() && self.at_work < self.most;
        self.at_work += usize::from(free);
        free
    }

    /// A place beyond the limit, for what ends at once.
    pub fn begin(&mut self) {
        self.at_work += 1;
    }

    /// As [`Backlog::enter`], or waits behind all others: in one, or the last one at work could leave in between
    /// and nobody would take this one on.
    pub fn enter_or_wait(&mut self, call: Waiting) -> bool {
        let entered = self.enter();
        if !entered {
            self.waiting.push_back(call);
        }
        entered
    }

    /// Gives the holder's place to who waits longest; `None`: nobody does, the place is free again.
    pub fn next(&mut self) -> Option<Waiting> {
        let next = self.waiting.pop_front();
        if next.is_none() {
            self.leave();
        }
        next
    }

    /// The holder leaves and nobody follows.
    pub fn leave(&mut self) {
        self.at_work = self.at_work.saturating_sub(1);
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(number: u8) -> Waiting {
        let run = RunId::from_bytes([number; 16]);
        Waiting { tenant: TenantId::DEFAULT, run, path: "call".into(), attempt: 1 }
    }

    #[test]
    fn places_go_to_who_waits_longest_and_nobody_overtakes() {
        let mut backlog = Backlog::new(2);
        assert!(backlog.enter() && backlog.enter());
        for number in 1..=2 {
            assert!(!backlog.enter() && !backlog.enter_or_wait(call(number)), "both places are taken");
        }
        assert_eq!(backlog.next(), Some(call(1)), "a place is handed on");
        assert!(!backlog.enter_or_wait(call(3)), "one still waits, so a new call waits behind it");
        assert_eq!(backlog.len(), 2);
        assert_eq!((backlog.next(), backlog.next()), (Some(call(2)), Some(call(3))));
        assert_eq!((backlog.next(), backlog.next()), (None, None), "both leave");
        assert!(backlog.enter() && backlog.enter() && !backlog.enter());
    }

    #[test]
    fn who_found_no_place_gets_the_one_that_became_free_before_it_waits() {
        let mut backlog = Backlog::new(1);
        assert!(backlog.enter() && !backlog.enter());
        assert_eq!(backlog.next(), None, "the last one at work leaves");
        assert!(backlog.enter_or_wait(call(1)), "nobody is left who would take it on");
        assert_eq!(backlog.len(), 0);
    }
}
