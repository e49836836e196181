//! Concurrency by key: who holds a key, who waits behind it. Memory only; rebuilt from live rows.
//!
//! A run holds from RunStarted to RunFinished, also while it sleeps or is in doubt (rule 12).

use std::collections::{HashMap, VecDeque};

use aura_protocol::run::Blocked;
use aura_protocol::{FlowId, RunId};

/// Runs waiting behind one key at most; one more is refused at the door.
pub const QUEUE_MAX: usize = 10_000;

/// All keys in use.
#[derive(Debug, Default)]
pub struct Gate {
    keys: HashMap<(FlowId, [u8; 16]), Slot>,
}

#[derive(Debug, Default)]
struct Slot {
    limit: u32,
    holders: VecDeque<RunId>,
    queue: VecDeque<RunId>,
}

impl Gate {
    /// Whether one more run of the key would go on at once.
    #[must_use]
    pub fn free(&self, flow: FlowId, key: [u8; 16], limit: u32) -> bool {
        self.keys.get(&(flow, key)).is_none_or(|slot| slot.queue.is_empty() && slot.holders.len() < size(limit))
    }

    /// The run that has held the key longest.
    #[must_use]
    pub fn oldest(&self, flow: FlowId, key: [u8; 16]) -> Option<RunId> {
        self.keys.get(&(flow, key))?.holders.front().copied()
    }

    /// Runs waiting behind the key, first accepted first.
    #[must_use]
    pub fn waiting(&self, flow: FlowId, key: [u8; 16]) -> Vec<RunId> {
        self.keys.get(&(flow, key)).map(|slot| slot.queue.iter().copied().collect()).unwrap_or_default()
    }

    /// A run holds the key.
    pub fn hold(&mut self, flow: FlowId, key: [u8; 16], limit: u32, run: RunId) {
        let slot = self.keys.entry((flow, key)).or_default();
        slot.limit = limit;
        slot.holders.push_back(run);
    }

    /// A run waits behind the key.
    pub fn queue(&mut self, flow: FlowId, key: [u8; 16], limit: u32, run: RunId) {
        let slot = self.keys.entry((flow, key)).or_default();
        slot.limit = limit;
        slot.queue.push_back(run);
    }

    /// A run ended (holder or waiting); gives the runs that hold the key from now on.
    pub fn release(&mut self, flow: FlowId, key: [u8; 16], run: RunId) -> Vec<RunId> {
        let Some(slot) = self.keys.get_mut(&(flow, key)) else { return Vec::new() };
        slot.holders.retain(|held| *held != run);
        slot.queue.retain(|queued| *queued != run);
        let next = slot.promote();
        if slot.holders.is_empty() && slot.queue.is_empty() {
            self.keys.remove(&(flow, key));
        }
        next
    }

    /// After a start: every free place is given to who waits; the runs with their keys.
    pub fn promote_all(&mut self) -> Vec<((FlowId, [u8; 16]), RunId)> {
        self.keys.iter_mut().flat_map(|(key, slot)| slot.promote().into_iter().map(|run| (*key, run))).collect()
    }

    /// A flow has another limit now: free places are given to who waits.
    pub fn set_limit(&mut self, flow: FlowId, limit: u32) -> Vec<((FlowId, [u8; 16]), RunId)> {
        for (_, slot) in self.keys.iter_mut().filter(|((of, _), _)| *of == flow) {
            slot.limit = limit;
        }
        self.promote_all()
    }

    /// Why a run behind this key waits.
    #[must_use]
    pub fn why(&self, flow: FlowId, key: [u8; 16]) -> Option<Blocked> {
        let holder = self.oldest(flow, key)?;
        Some(Blocked { reason: format!("waits for {holder}, which holds its concurrency key"), until_ms: None })
    }
}

impl Slot {
    fn promote(&mut self) -> Vec<RunId> {
        let mut next = Vec::new();
        while self.holders.len() < size(self.limit) {
            let Some(run) = self.queue.pop_front() else { break };
            self.holders.push_back(run);
            next.push(run);
        }
        next
    }
}

fn size(limit: u32) -> usize {
    usize::try_from(limit.max(1)).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_accepted_goes_first_and_a_waiting_run_can_leave() {
        let flow = FlowId::from_bytes([1; 16]);
        let runs: Vec<RunId> = (0..4).map(|n| RunId::from_parts(n, &[0; 10])).collect();
        let (key, mut gate) = ([7; 16], Gate::default());
        assert!(gate.free(flow, key, 1));
        gate.hold(flow, key, 1, runs[0]);
        assert!(!gate.free(flow, key, 1));
        runs[1..].iter().for_each(|run| gate.queue(flow, key, 1, *run));
        assert_eq!(gate.release(flow, key, runs[1]), Vec::<RunId>::new(), "a queued run that was cancelled");
        assert_eq!(gate.release(flow, key, runs[0]), vec![runs[2]]);
        assert_eq!(gate.release(flow, key, runs[2]), vec![runs[3]]);
        assert_eq!(gate.release(flow, key, runs[3]), Vec::<RunId>::new());
        assert!(gate.free(flow, key, 1));
    }
}
