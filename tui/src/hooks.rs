//! Endpoints and their deliveries as the screens know them.
//!
//! Invariant: at most [`KEPT`] deliveries, of the endpoint that is chosen only; nothing is asked from here.

use std::collections::BTreeMap;

use aura_protocol::ids::DeliveryId;
use aura_protocol::rpc::{DeliveryDetail, DeliveryPage, DeliveryRow, Webhook};

/// Most deliveries kept.
pub const KEPT: usize = 2_000;

/// Whose deliveries are shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Whose {
    /// Those of every endpoint.
    #[default]
    All,
    /// Those of one.
    Endpoint(String, String),
    /// Those that nobody has claimed.
    Unclaimed,
}

/// What is known.
#[derive(Debug, Default)]
pub struct Hooks {
    /// All endpoints.
    pub rows: Vec<Webhook>,
    /// They were read.
    pub known: bool,
    /// Whose deliveries these are.
    pub whose: Whose,
    /// Oldest first.
    pub deliveries: BTreeMap<DeliveryId, DeliveryRow>,
    /// Where older ones begin.
    pub next: Option<DeliveryId>,
    /// Refused ones that were not kept.
    pub unkept: u64,
    /// The deliveries of `whose` were read.
    pub read: bool,
    /// The one that is open.
    pub open: Option<DeliveryDetail>,
    /// Something happened since.
    pub stale: bool,
}

impl Hooks {
    /// Takes the endpoints.
    pub fn take(&mut self, rows: Vec<Webhook>) {
        self.rows = rows;
        self.known = true;
    }

    /// Takes a page of deliveries; `newest` if it is the first one.
    pub fn page(&mut self, whose: &Whose, page: DeliveryPage, newest: bool) {
        if self.whose != *whose {
            // The person has gone on meanwhile.
            return;
        }
        if !newest || !self.read {
            self.next = page.next;
        }
        self.unkept = page.unkept;
        self.read = true;
        self.deliveries.extend(page.deliveries.into_iter().map(|row| (row.id, row)));
        while self.deliveries.len() > KEPT {
            self.deliveries.pop_first();
            self.next = None;
        }
    }

    /// Shows the deliveries of somebody else.
    pub fn show(&mut self, whose: Whose) {
        if self.whose != whose {
            *self = Self { rows: std::mem::take(&mut self.rows), known: self.known, whose, ..Self::default() };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_of_another_endpoint_is_not_taken_and_what_is_kept_is_bounded() {
        let mut hooks = Hooks::default();
        let page = |from: u64, to: u64| DeliveryPage {
            deliveries: (from..to)
                .map(|number| DeliveryRow { id: DeliveryId::from_parts(number, &[0; 10]), ..DeliveryRow::default() })
                .collect(),
            next: Some(DeliveryId::from_parts(from, &[0; 10])),
            unkept: 1,
        };
        hooks.page(&Whose::All, page(100, 200), true);
        assert_eq!((hooks.deliveries.len(), hooks.read), (100, true));
        hooks.show(Whose::Unclaimed);
        assert!(hooks.deliveries.is_empty() && !hooks.read);
        hooks.page(&Whose::All, page(100, 200), true);
        assert!(hooks.deliveries.is_empty(), "it came too late");
        hooks.page(&Whose::Unclaimed, page(0, 5_000), false);
        assert_eq!((hooks.deliveries.len(), hooks.next), (KEPT, None));
    }
}
