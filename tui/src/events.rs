//! Events with a row of their own as the screens know them: pages from the daemon, news on top.
//!
//! Invariant: at most [`KEPT`] rows; the oldest go first, and then nothing older is asked for.

use std::collections::BTreeMap;

use aura_protocol::event::EventRow;
use aura_protocol::ids::EventId;
use aura_protocol::rpc::EventPage;

/// Most rows kept.
pub const KEPT: usize = 5_000;

/// What is known.
#[derive(Debug, Default)]
pub struct Events {
    /// Oldest first.
    pub rows: BTreeMap<EventId, EventRow>,
    /// Where older ones begin; `None`: nothing older, or not asked yet.
    pub next: Option<EventId>,
    /// At least one page was read.
    pub known: bool,
}

impl Events {
    /// Takes a page; `newest` if it is the first one.
    pub fn take(&mut self, page: EventPage, newest: bool) {
        for row in page.events {
            self.rows.insert(row.event, row);
        }
        if !newest || !self.known {
            self.next = page.next;
        }
        self.known = true;
        self.trim();
    }

    /// Takes news.
    pub fn put(&mut self, row: EventRow) {
        self.rows.insert(row.event, row);
        self.trim();
    }

    fn trim(&mut self) {
        while self.rows.len() > KEPT {
            self.rows.pop_first();
            self.next = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_put_behind_each_other_and_a_new_first_page_loses_no_place() {
        let mut events = Events::default();
        let page = |from: u8, to: u8| EventPage {
            events: (from..to).rev().map(crate::fixture::held).collect(),
            next: Some(crate::fixture::event(from)),
        };
        events.take(page(20, 30), true);
        events.take(page(10, 20), false);
        assert_eq!((events.rows.len(), events.next), (20, Some(crate::fixture::event(10))));
        events.take(page(25, 35), true);
        assert_eq!((events.rows.len(), events.next), (25, Some(crate::fixture::event(10))));
        events.take(EventPage::default(), false);
        assert_eq!(events.next, None);
    }
}
