//! What of a page a poll tells, what it refreshes, and whether it has read far enough. Pure.
//!
//! Invariant: newest first ends at what the poll itself knew before this look, or at what lies behind the cursor of the
//! last one; never at what a backfill told, since what comes behind that may be new.

use std::collections::HashSet;

use aura_protocol::EventId;
use aura_protocol::Value;
use aura_protocol::source::Order;
use aura_storage::DedupeEntry;

use super::page::{self, Object};
use super::{is_of_backfill, made_ms};

/// A look.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Look<'a> {
    pub order: Order,
    /// When it began; keys of events made since are its own.
    pub began_ms: i64,
    pub now_ms: i64,
    /// How long a key counts.
    pub window_ms: i64,
    /// How far the last one came.
    pub cursor: &'a Value,
}

/// What of a page is new.
#[derive(Debug, Default)]
pub(crate) struct Sifted {
    /// Oldest first.
    pub fresh: Vec<Object>,
    /// Keys that count anew.
    pub refreshed: Vec<DedupeEntry>,
    /// What follows is known.
    pub stop: bool,
}

/// Sifts a page; `known` gives an object's key with what is known of it, `event` the id of an event made now.
pub(crate) fn sift(
    look: &Look<'_>,
    objects: &[Object],
    known: impl Fn(&Object) -> ([u8; 16], Option<DedupeEntry>),
    event: impl Fn() -> EventId,
) -> Sifted {
    let mut sifted = Sifted::default();
    let mut seen = HashSet::new();
    let expires_ms = look.now_ms.saturating_add(look.window_ms);
    for object in objects {
        match known(object) {
            // From now on it is this poll's own.
            (_, Some(entry)) if is_of_backfill(&entry) => {
                sifted.refreshed.push(DedupeEntry { event: event(), run: None, expires_ms, ..entry });
            }
            (_, Some(entry)) => {
                sifted.stop |= look.order == Order::Newest && made_ms(entry.event) < look.began_ms;
                // What is still there is not forgotten, also of the page behind what was known.
                if entry.expires_ms.saturating_sub(look.now_ms) < look.window_ms / 2 {
                    sifted.refreshed.push(DedupeEntry { expires_ms, ..entry });
                }
            }
            (_, None) if sifted.stop => {}
            // Its key may have been forgotten; it is older than what the last look came to.
            (_, None) if look.order == Order::Newest && page::is_before(&object.cursor, look.cursor) => {
                sifted.stop = true;
            }
            (hash, None) if seen.insert(hash) => sifted.fresh.push(object.clone()),
            (_, None) => {}
        }
    }
    if look.order == Order::Newest {
        sifted.fresh.reverse();
    }
    sifted
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use aura_protocol::TenantId;

    use super::super::of_backfill;
    use super::*;

    const DAY: i64 = 86_400_000;
    /// A look of the hundredth day; keys count for thirty.
    const BEGAN: i64 = 100 * DAY;

    fn event(at_ms: i64) -> EventId {
        let [_, _, time @ ..] = at_ms.to_be_bytes();
        let mut bytes = [0; 16];
        bytes[..6].copy_from_slice(&time);
        EventId::from_bytes(bytes)
    }

    /// Objects by their number, each with the day as its cursor; of some it is known when they were told and by whom.
    fn sifted(order: Order, objects: &[i64], known: &[(i64, i64, bool)], cursor: Value) -> (Vec<i64>, Vec<i64>, bool) {
        let entry = |number: i64, told_ms: i64, by_backfill: bool| DedupeEntry {
            tenant: TenantId::DEFAULT,
            hash: [u8::try_from(number).unwrap(); 16],
            event: event(told_ms),
            run: by_backfill.then(of_backfill),
            expires_ms: told_ms + 30 * DAY,
        };
        let known: HashMap<i64, DedupeEntry> =
            known.iter().map(|(number, told, back)| (*number, entry(*number, *told, *back))).collect();
        let object = |number: &i64| Object {
            key: number.to_string(),
            body: Vec::new(),
            cursor: Value::Int(i128::from(*number)),
        };
        let objects: Vec<Object> = objects.iter().map(object).collect();
        let look = Look { order, began_ms: BEGAN, now_ms: BEGAN + 1, window_ms: 30 * DAY, cursor: &cursor };
        let find = |object: &Object| {
            let number: i64 = object.key.parse().unwrap();
            ([u8::try_from(number).unwrap(); 16], known.get(&number).copied())
        };
        let sifted = sift(&look, &objects, find, || event(BEGAN + 1));
        assert!(sifted.refreshed.iter().all(|entry| entry.run.is_none() && entry.expires_ms == BEGAN + 1 + 30 * DAY));
        let numbers = sifted.fresh.iter().map(|object| object.key.parse().unwrap()).collect();
        (numbers, sifted.refreshed.iter().map(|entry| i64::from(entry.hash[0])).collect(), sifted.stop)
    }

    #[test]
    fn newest_first_is_read_to_what_the_poll_knew_and_the_rest_of_that_page_is_not_forgotten() {
        let check =
            |objects: &[i64], known: &[(i64, i64, bool)], cursor: Value, fresh: &[i64], refreshed: &[i64], stop| {
                let found = sifted(Order::Newest, objects, known, cursor);
                assert_eq!(found, (fresh.to_vec(), refreshed.to_vec(), stop), "{objects:?} {known:?}");
            };
        let (old, recent) = (BEGAN - 20 * DAY, BEGAN - DAY);
        check(&[5, 4, 3], &[(3, recent, false)], Value::Null, &[4, 5], &[], true);
        // Behind what was known: keys are refreshed, and what was forgotten is not told again.
        check(&[5, 4, 3, 2], &[(4, recent, false), (3, old, false)], Value::Null, &[5], &[3], true);
        // Told by this look itself, before a kill.
        check(&[5, 4], &[(5, BEGAN + 1, false)], Value::Null, &[4], &[], false);
        // Told by a backfill: what lies behind it may be new, and it is the poll's own from now on.
        check(&[5, 4, 3], &[(5, recent, true), (3, recent, false)], Value::Null, &[4], &[5], true);
        // All that was known is gone or forgotten: the cursor says where the last look was.
        check(&[5, 4, 3], &[], Value::Int(4), &[4, 5], &[], true);
        check(&[5, 4, 3], &[], Value::from("b"), &[3, 4, 5], &[], false);
    }

    #[test]
    fn oldest_first_has_no_end_but_the_last_page() {
        let known = [(1, BEGAN - DAY, false), (2, BEGAN - DAY, true)];
        assert_eq!(sifted(Order::Oldest, &[1, 2, 3, 3], &known, Value::Int(9)), (vec![3], vec![2], false));
    }
}
