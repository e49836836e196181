//! A numbered history of transactions and what the store must hold after any number of them.
//!
//! Transaction `i` is transition `i % 4 + 1` of run `i / 4`, with all rows that the engine would write, so
//! the whole state follows from how many are committed. A state between two of them is a half transaction.

use std::collections::BTreeMap;

use aura_protocol::run::{RunHead, RunState};
use aura_protocol::{EventId, FlowId};
use serde::de::DeserializeOwned;

use super::support::{TENANT, entry, live, run};
use crate::rows::{LiveRow, TimerRow, journal_key, run_key, timer_key};
use crate::store::{ReadError, Store};
use crate::table::{Key, Table};
use crate::txn::{TailEntry, Txn};

/// Dedupe entries of a history live this long.
pub(crate) const EXPIRES_MS: i64 = i64::MAX;

fn text(number: u64) -> String {
    let length = match number % 11 {
        0 => 9_000,
        odd if odd % 2 == 1 => 900,
        _ => 60,
    };
    format!("transition {number} ").repeat(length / 14)
}

pub(crate) fn head(number: u64) -> RunHead {
    let transition = number % 4 + 1;
    RunHead {
        run: run(number / 4),
        flow_id: FlowId::from_bytes([3; 16]),
        flow: "recover".into(),
        version: "v".into(),
        trigger: "t".into(),
        event: EventId::from_bytes([4; 16]),
        state: if transition == 4 { RunState::Succeeded } else { RunState::Waiting },
        created_ms: 5,
        finished_ms: None,
        step: format!("step {number}"),
        attempt: 0,
        steps_done: 0,
        steps_all: 4,
        blocked_by: None,
        error: None,
        transition,
        origin: None,
    }
}

fn due(number: u64) -> i64 {
    i64::try_from(1_000 + number * 7 % 1_000).unwrap()
}

pub(crate) fn counter() -> Key {
    Key::tenant(TENANT).number(1)
}

/// Transaction `number`, the first is 0.
pub(crate) fn transaction(store: &Store, number: u64) -> Result<Txn, ReadError> {
    let mut txn = Txn::new();
    let (id, transition) = (run(number / 4), number % 4 + 1);
    let key = run_key(TENANT, id);
    txn.expect_absent(Table::Journal, journal_key(TENANT, id, transition));
    store.put(&mut txn, TENANT, Table::Journal, journal_key(TENANT, id, transition), &text(number))?;
    store.put(&mut txn, TENANT, Table::Runs, key.clone(), &head(number))?;
    if transition > 1 {
        txn.expect_present(Table::Live, key.clone());
        txn.delete(Table::Timers, timer_key(due(number - 1), TENANT, id.bytes()));
    }
    if transition == 4 {
        txn.delete(Table::Live, key);
    } else {
        store.put(&mut txn, TENANT, Table::Live, key, &live(transition, Some(due(number))))?;
        store.put(&mut txn, TENANT, Table::Timers, timer_key(due(number), TENANT, id.bytes()), &TimerRow::Run)?;
    }
    txn.counters.push((counter(), 1));
    txn.tell(TailEntry::Run(TENANT, id, transition));
    txn.dedupe.push(entry(number, EXPIRES_MS));
    Ok(txn)
}

/// Commits transactions `from..to` one after the other in groups of a size.
pub(crate) async fn commit(store: &Store, from: u64, to: u64, at_once: usize) {
    let numbers: Vec<u64> = (from..to).collect();
    for group in numbers.chunks(at_once) {
        let mut receipts = Vec::new();
        for number in group {
            let txn = transaction(store, *number).unwrap();
            receipts.push(store.reserve().await.unwrap().submit(txn));
        }
        for receipt in receipts {
            receipt.committed().await.unwrap();
        }
    }
}

/// What a table held.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    /// Rows that must be there and are not.
    pub missing: usize,
    /// Rows that could not be read: the error named them.
    pub errors: Vec<ReadError>,
}

/// How a reader fared; a wrong or an unknown value is a panic at once.
fn compare<T: DeserializeOwned + PartialEq + std::fmt::Debug>(
    store: &Store,
    table: Table,
    expected: &BTreeMap<Key, T>,
    seen: &mut Seen,
) {
    let known = |key: &Key, value: &T| match expected.get(key) {
        Some(wanted) => assert!(wanted == value, "{table:?} {}: a wrong value is served: {value:?}", key.hex()),
        None => panic!("{table:?} {}: a row that was never there is served: {value:?}", key.hex()),
    };
    for key in expected.keys() {
        match store.get::<T>(TENANT, table, key) {
            Ok(Some(value)) => known(key, &value),
            Ok(None) => seen.missing += 1,
            Err(error) => seen.errors.push(error),
        }
    }
    let (from, to) = (Key::new(), Key(vec![255; 80]));
    match store.scan::<T>(TENANT, table, &from, &to, usize::MAX, expected.len().is_multiple_of(2)) {
        Ok(rows) => {
            rows.iter().for_each(|(key, value)| known(key, value));
            seen.missing += expected.len().saturating_sub(rows.len());
        }
        Err(error) => seen.errors.push(error),
    }
}

/// Reads everything after `count` transactions; panics if something else than that state is served.
pub(crate) fn read_all(store: &Store, count: u64) -> Seen {
    let mut seen = Seen::default();
    let mut journal = BTreeMap::new();
    let mut heads = BTreeMap::new();
    let mut lives: BTreeMap<Key, LiveRow> = BTreeMap::new();
    let mut timers: BTreeMap<Key, TimerRow> = BTreeMap::new();
    for number in 0..count {
        let (id, transition) = (run(number / 4), number % 4 + 1);
        journal.insert(journal_key(TENANT, id, transition), text(number));
        heads.insert(run_key(TENANT, id), head(number));
        if number + 1 == count && transition < 4 {
            lives.insert(run_key(TENANT, id), live(transition, Some(due(number))));
            timers.insert(timer_key(due(number), TENANT, id.bytes()), TimerRow::Run);
        }
    }
    compare(store, Table::Journal, &journal, &mut seen);
    compare(store, Table::Runs, &heads, &mut seen);
    compare(store, Table::Live, &lives, &mut seen);
    compare(store, Table::Timers, &timers, &mut seen);
    let counted = i64::try_from(count).unwrap();
    compare(store, Table::Counters, &BTreeMap::from_iter((count > 0).then(|| (counter(), counted))), &mut seen);
    for number in 0..count {
        match store.dedupe_find(TENANT, &entry(number, 0).hash, 0) {
            Some(found) => assert_eq!(found, entry(number, EXPIRES_MS), "a wrong dedupe entry is served"),
            None => seen.missing += 1,
        }
    }
    assert_eq!(store.dedupe_find(TENANT, &entry(count, 0).hash, 0), None, "a dedupe key that never came");
    match store.tail_after(0, 10_000) {
        Ok(page) => {
            let told: Vec<TailEntry> = page.groups.into_iter().flat_map(|(_, entries)| entries).collect();
            let expected: Vec<TailEntry> =
                (0..count).map(|number| TailEntry::Run(TENANT, run(number / 4), number % 4 + 1)).collect();
            assert!(told.len() <= expected.len(), "the tail tells what never was");
            if page.cut {
                // Only the newest groups are kept: they must be the end of the story.
                assert_eq!(told, expected[expected.len() - told.len()..], "the tail is wrong");
            } else {
                seen.missing += expected.len() - told.len();
                told.iter().zip(&expected).for_each(|(told, expected)| assert_eq!(told, expected, "the tail is wrong"));
            }
        }
        Err(error) => seen.errors.push(error),
    }
    seen
}

/// How many transactions the store holds, by its counter.
pub(crate) fn count(store: &Store) -> u64 {
    store.get::<i64>(TENANT, Table::Counters, &counter()).unwrap().unwrap_or(0).try_into().unwrap()
}

/// Panics of redb on damaged pages are answers here, not news: only other panics are printed.
pub(crate) fn quiet_redb() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !info.location().is_some_and(|place| place.file().contains("redb-")) {
                before(info);
            }
        }));
    });
}
