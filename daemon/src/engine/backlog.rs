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

    /// Waits behind all others.
    pub fn wait(&mut self, call: Waiting) {
        self.waiting.push_back(call);
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
            assert!(!backlog.enter(), "both places are taken");
            backlog.wait(call(number));
        }
        assert_eq!(backlog.next(), Some(call(1)), "a place is handed on");
        assert!(!backlog.enter(), "one still waits, so a new call waits behind it");
        backlog.wait(call(3));
        assert_eq!(backlog.len(), 2);
        assert_eq!((backlog.next(), backlog.next()), (Some(call(2)), Some(call(3))));
        assert_eq!((backlog.next(), backlog.next()), (None, None), "both leave");
        assert!(backlog.enter() && backlog.enter() && !backlog.enter());
    }
}
