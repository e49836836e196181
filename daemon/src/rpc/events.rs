//! Calls about events: those with a row of their own (held, dropped, fired) and the repeats since the start.
//!
//! Both come as one list, newest first; a page says where the next one begins also when it found nothing.

use aura_protocol::event::EventRow;
use aura_protocol::rpc::{EventPage, EventQuery};
use aura_protocol::{EventId, TenantId, WireError, wire};
use aura_storage::{Key, Store, Table};

use crate::catalog::unreadable;
use crate::rpc::Shared;
use crate::rpc::eyes::Eyes;

/// Most rows of one page.
const PAGE_MAX: usize = 500;
/// Bytes of rows after which a page ends.
const PAGE_BYTES_MAX: usize = 1024 * 1024;
/// Rows read at a time: a stored body may have a MiB.
const WINDOW: usize = 16;
/// Rows looked at for one page, whatever its filter.
const LOOKED_AT: usize = 2_000;
/// Longest body in a list.
const BODY_LISTED: usize = 2 * 1024;
/// Longest body of one event that is shown.
const BODY_SHOWN: usize = 512 * 1024;

/// A page of events.
///
/// # Errors
/// The store cannot be read.
pub fn list(shared: &Shared, eyes: &Eyes, query: &EventQuery) -> Result<EventPage, WireError> {
    page(&shared.store, eyes, shared.engine.repeats().rows(), query)
}

fn page(store: &Store, eyes: &Eyes, repeats: Vec<EventRow>, query: &EventQuery) -> Result<EventPage, WireError> {
    let tenant = TenantId::DEFAULT;
    let limit = usize::try_from(query.limit).unwrap_or(PAGE_MAX).clamp(1, PAGE_MAX);
    let fits = |row: &EventRow| {
        query.flow.as_ref().is_none_or(|flow| row.flow == *flow)
            && (query.states.is_empty() || query.states.contains(&row.state))
    };
    let mut repeats = repeats.into_iter().filter(|row| query.before.is_none_or(|before| row.event < before)).peekable();
    let from = Key::tenant(tenant);
    let mut to =
        query.before.map_or_else(|| Key::tenant(tenant).after_prefix(), |event| Key::tenant(tenant).id(event.bytes()));
    let (mut page, mut bytes, mut looked_at, mut more) = (EventPage::default(), 0, 0, true);
    while more && looked_at < LOOKED_AT {
        let window: Vec<(Key, EventRow)> =
            store.scan(tenant, Table::Events, &from, &to, WINDOW, true).map_err(|error| unreadable(&error))?;
        more = window.len() == WINDOW;
        looked_at += window.len();
        if let Some((key, _)) = window.last() {
            to = key.clone();
        }
        let floor = window.last().filter(|_| more).map(|(_, row)| row.event);
        let mut merged: Vec<EventRow> = window.into_iter().map(|(_, row)| row).collect();
        while let Some(row) = repeats.next_if(|row| floor.is_none_or(|floor| row.event > floor)) {
            merged.push(row);
        }
        merged.sort_by_key(|row| std::cmp::Reverse(row.event));
        for mut row in merged {
            page.next = Some(row.event);
            if !fits(&row) {
                continue;
            }
            eyes.event(store, &mut row);
            cut(&mut row, BODY_LISTED);
            bytes += wire::encode(&row).map_or(PAGE_BYTES_MAX, |encoded| encoded.len());
            page.events.push(row);
            if page.events.len() == limit || bytes > PAGE_BYTES_MAX {
                return Ok(page);
            }
        }
    }
    if !more {
        page.next = None;
    }
    Ok(page)
}

fn cut(row: &mut EventRow, max: usize) {
    if row.delivery.body.len() > max {
        row.delivery.body = format!("… {} bytes …", row.delivery.body.len()).into_bytes();
    }
}

/// One event.
///
/// # Errors
/// It has no row of its own, or the store cannot be read.
pub fn show(shared: &Shared, eyes: &Eyes, event: EventId) -> Result<EventRow, WireError> {
    let tenant = TenantId::DEFAULT;
    let key = Key::tenant(tenant).id(event.bytes());
    let stored: Option<EventRow> = shared.store.get(tenant, Table::Events, &key).map_err(|error| unreadable(&error))?;
    let found = stored.or_else(|| shared.engine.repeats().rows().into_iter().find(|row| row.event == event));
    let mut row = found.ok_or_else(|| {
        WireError::not_found(format!("no held, dropped or repeated event is named {event}"))
            .hint("an event that began a run at once is shown with its run: `aura run show RUN`")
    })?;
    eyes.event(&shared.store, &mut row);
    cut(&mut row, BODY_SHOWN);
    Ok(row)
}

#[cfg(test)]
mod tests {
    use aura_protocol::event::{Delivery, EventState};
    use aura_storage::{StoreOptions, Txn};

    use super::*;

    fn event(number: u64) -> EventId {
        EventId::from_parts(number, &[0; 10])
    }

    fn row(number: u64, state: EventState) -> EventRow {
        let delivery = Delivery {
            event: event(number),
            trigger: "t".to_owned(),
            method: "POST".to_owned(),
            query: String::new(),
            headers: Vec::new(),
            body: vec![b'x'; 5_000],
            blob: None,
            came: None,
            received_ms: 0,
        };
        let (flow, trigger, reason) = ("f".to_owned(), "t".to_owned(), String::new());
        EventRow { event: event(number), flow, trigger, state, reason, starts_at_ms: None, run: None, delivery }
    }

    #[tokio::test]
    async fn pages_put_together_are_all_events_in_order_also_under_a_filter() {
        let store = Store::open(&StoreOptions::in_memory([7; 32])).unwrap();
        let mut txn = Txn::new();
        for number in (0..300).filter(|number| number % 3 != 0) {
            let state = if number % 3 == 1 { EventState::Held } else { EventState::Dropped };
            let key = Key::tenant(TenantId::DEFAULT).id(event(number).bytes());
            store.put(&mut txn, TenantId::DEFAULT, Table::Events, key, &row(number, state)).unwrap();
        }
        store.commit(txn).await.unwrap();
        let repeats: Vec<EventRow> =
            (0..300).rev().filter(|number| number % 3 == 0).map(|number| row(number, EventState::Duplicate)).collect();
        let all = |states: &[EventState], limit| {
            let mut query = EventQuery { states: states.to_vec(), limit, ..EventQuery::default() };
            let mut seen = Vec::new();
            loop {
                let found = page(&store, &Eyes::own(), repeats.clone(), &query).unwrap();
                assert!(found.events.len() <= usize::try_from(limit).unwrap());
                assert!(found.events.iter().all(|row| row.delivery.body.len() < 100));
                seen.extend(found.events.iter().map(|row| row.event));
                query.before = found.next;
                if found.next.is_none() {
                    return seen;
                }
            }
        };
        let expected = |remainder: Option<u64>| -> Vec<EventId> {
            (0..300).rev().filter(|number| remainder.is_none_or(|wanted| number % 3 == wanted)).map(event).collect()
        };
        assert_eq!(all(&[], 7), expected(None));
        assert_eq!(all(&[], 500), expected(None));
        assert_eq!(all(&[EventState::Duplicate], 10), expected(Some(0)));
        assert_eq!(all(&[EventState::Dropped], 33), expected(Some(2)));
        assert_eq!(all(&[EventState::Queued], 33), []);
    }
}
