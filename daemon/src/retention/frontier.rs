//! How far retention has looked, for each length, and what it left behind. Memory only, bounded.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use aura_protocol::{RunId, TenantId};
use aura_storage::Key;

use super::Policy;

/// Runs left behind that are remembered; the others are found by the daily look at everything.
const LEFT_MAX: usize = 10_000;
/// Everything is looked at again after this long.
const ANEW_MS: i64 = 24 * 3_600_000;
/// Runs left behind that one sweep looks at.
const DUE_MAX: usize = 2_000;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Frontiers {
    policy: Policy,
    began_ms: i64,
    reached: BTreeMap<i64, Key>,
    left: BinaryHeap<Reverse<(i64, RunId)>>,
}

impl Frontiers {
    /// Before a sweep: begins anew if a retention changed or a day is over.
    pub(super) fn begin(&mut self, policy: &Policy, now: i64) {
        if self.policy != *policy || now.saturating_sub(self.began_ms) >= ANEW_MS {
            *self = Self { policy: policy.clone(), began_ms: now, ..Self::default() };
        }
    }

    /// Where the look for runs of a length goes on.
    pub(super) fn at(&self, kept: i64, tenant: TenantId) -> Key {
        self.reached.get(&kept).cloned().unwrap_or_else(|| Key::tenant(tenant))
    }

    /// Everything of a length before this key was looked at.
    pub(super) fn reach(&mut self, kept: i64, key: Key) {
        self.reached.insert(kept, key);
    }

    /// A run that must be looked at again at a time.
    pub(super) fn later(&mut self, due_ms: i64, run: RunId) {
        if self.left.len() < LEFT_MAX {
            self.left.push(Reverse((due_ms, run)));
        }
    }

    /// Runs left behind whose time has come.
    pub(super) fn due(&mut self, now: i64) -> Vec<RunId> {
        let mut due = Vec::new();
        while due.len() < DUE_MAX && self.left.peek().is_some_and(|Reverse((at, _))| *at <= now) {
            due.extend(self.left.pop().map(|Reverse((_, run))| run));
        }
        due
    }
}
