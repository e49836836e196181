//! Calls that wait for their turn: only so many have their runs in memory, of all others only the name is kept.
//!
//! A call needs a place, room in its step's limit and in its connection's budget ([`super::limits::lanes`]). Invariant:
//! whoever ends a call gives its room back and lets the next ones in, so nobody waits while there is room; and a call
//! that waits here is in no run's `calls`, so its run can be forgotten and is read again when its turn comes.

use aura_protocol::{RunId, TenantId};

use super::limits::lanes::{Lane, Lanes, Need, Ticket};

/// Names kept at most before deliveries are told to come back; about 200 bytes each.
pub const WAITING_MAX: usize = 250_000;

/// A call that is scheduled and durable, by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Waiting {
    pub tenant: TenantId,
    pub run: RunId,
    pub path: Box<str>,
    pub attempt: u32,
    pub priority: i32,
}

/// Calls at work, and who comes next.
#[derive(Debug)]
pub(crate) struct Backlog {
    lanes: Lanes<TenantId, Waiting>,
}

impl Backlog {
    /// At most this many at work.
    pub fn new(most: usize) -> Self {
        Self { lanes: Lanes::new(most.max(1)) }
    }

    /// The limits themselves.
    pub fn lanes(&mut self) -> &mut Lanes<TenantId, Waiting> {
        &mut self.lanes
    }

    /// Takes a place and room in its limits if nobody waits for them; the holder must call [`Backlog::leave`].
    pub fn enter(&mut self, need: &Need, now_us: i64) -> bool {
        self.lanes.enter(need, now_us)
    }

    /// A place beyond the limit, for what ends at once.
    pub fn begin(&mut self) {
        self.lanes.begin();
    }

    /// As [`Backlog::enter`], or waits: in one, or the last one at work could leave in between and nobody would take
    /// this one on.
    pub fn enter_or_wait(&mut self, need: &Need, call: Waiting, now_us: i64) -> bool {
        let entered = self.lanes.enter(need, now_us);
        if !entered {
            let (tenant, priority) = (call.tenant, call.priority);
            self.lanes.wait(need, tenant, priority, call, now_us);
        }
        entered
    }

    /// Whose turn has come; it has its place.
    pub fn next(&mut self, now_us: i64) -> Option<(Waiting, Lane)> {
        self.lanes.next(now_us)
    }

    /// The holder leaves; `used`: its bytes may have left.
    pub fn leave(&mut self, lane: Lane, used: bool, now_us: i64) {
        self.lanes.leave(lane, used, now_us);
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.lanes.count()
    }

    /// The first calls of these runs that wait.
    pub fn of_runs(&self, wanted: &dyn Fn(RunId) -> bool) -> Vec<(Ticket, &Waiting)> {
        self.lanes.iter().filter(|(_, call)| wanted(call.run)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(number: u8) -> Waiting {
        let run = RunId::from_bytes([number; 16]);
        Waiting { tenant: TenantId::DEFAULT, run, path: "call".into(), attempt: 1, priority: 0 }
    }

    #[test]
    fn places_go_to_who_waits_longest_and_nobody_overtakes() {
        let (mut backlog, need) = (Backlog::new(2), Need::default());
        let next = |backlog: &mut Backlog| {
            backlog.leave(Lane::default(), false, 0);
            backlog.next(0).map(|(call, _)| call)
        };
        assert!(backlog.enter(&need, 0) && backlog.enter(&need, 0));
        for number in 1..=2 {
            assert!(
                !backlog.enter(&need, 0) && !backlog.enter_or_wait(&need, call(number), 0),
                "both places are taken"
            );
        }
        assert_eq!(next(&mut backlog), Some(call(1)), "a place is handed on");
        assert!(!backlog.enter_or_wait(&need, call(3), 0), "one still waits, so a new call waits behind it");
        assert_eq!(backlog.len(), 2);
        assert_eq!((next(&mut backlog), next(&mut backlog)), (Some(call(2)), Some(call(3))));
        assert_eq!((next(&mut backlog), next(&mut backlog)), (None, None), "both leave");
        assert!(backlog.enter(&need, 0) && backlog.enter(&need, 0) && !backlog.enter(&need, 0));
    }

    #[test]
    fn who_found_no_place_gets_the_one_that_became_free_before_it_waits() {
        let (mut backlog, need) = (Backlog::new(1), Need::default());
        assert!(backlog.enter(&need, 0) && !backlog.enter(&need, 0));
        backlog.leave(Lane::default(), false, 0);
        assert_eq!(backlog.next(0), None, "the last one at work leaves");
        assert!(backlog.enter_or_wait(&need, call(1), 0), "nobody is left who would take it on");
        assert_eq!(backlog.len(), 0);
    }
}
