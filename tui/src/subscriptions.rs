//! Subscriptions as the screens know them, and what was sent to the one that is looked at.
//!
//! Invariant: bounded; what is shown is one answer of the daemon, never pieces of two.

use aura_protocol::outgoing::{Sending, SendingPage, Subscription};

/// Most subscriptions kept.
pub const KEPT: usize = 2_000;
/// Sendings read of the selected one.
pub const SENDINGS: u32 = 100;

/// What is known.
#[derive(Debug, Default)]
pub struct Subscriptions {
    /// By name.
    pub rows: Vec<Subscription>,
    /// At least one answer came.
    pub known: bool,
    /// Whose sendings are known.
    pub of: String,
    /// They, newest first.
    pub sendings: Vec<Sending>,
    /// There are older ones.
    pub more: bool,
}

impl Subscriptions {
    /// Takes all subscriptions; true if anything changed.
    pub fn take(&mut self, mut rows: Vec<Subscription>) -> bool {
        rows.truncate(KEPT);
        let changed = !self.known || self.rows != rows;
        (self.rows, self.known) = (rows, true);
        changed
    }

    /// Takes one that changed.
    pub fn put(&mut self, row: Subscription) {
        match self.rows.iter_mut().find(|known| known.name == row.name) {
            Some(known) => *known = row,
            None => self.rows.push(row),
        }
    }

    /// Takes sendings; true if anything changed.
    pub fn sent(&mut self, of: String, page: SendingPage) -> bool {
        let more = page.next.is_some();
        let changed = self.of != of || self.sendings != page.sendings || self.more != more;
        (self.of, self.sendings, self.more) = (of, page.sendings, more);
        changed
    }
}
