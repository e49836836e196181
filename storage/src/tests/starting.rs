//! The check of a start: what it finds, that it looks at so much and no more, and that it can be stopped.

use std::sync::atomic::Ordering;

use aura_protocol::run::RunState;
use aura_protocol::{FlowId, RunId};

use super::support::{MASTER, TENANT, block_on};
use crate::archive::Progress;
use crate::rows::{LiveRow, journal_key, run_key};
use crate::store::{Store, StoreOptions};
use crate::table::{Key, Table};
use crate::txn::Txn;

fn run(number: u8) -> RunId {
    RunId::from_parts(1, &[number; 10])
}

fn put<T: serde::Serialize>(store: &Store, table: Table, key: Key, value: &T) -> Txn {
    let mut txn = Txn::new();
    store.put(&mut txn, TENANT, table, key, value).unwrap();
    txn
}

/// A run that is queued or at work, with so many journal rows.
async fn begun(store: &Store, number: u8, state: RunState, rows: u64) {
    let (run, flow) = (run(number), FlowId::from_bytes([1; 16]));
    let live = LiveRow {
        state,
        transition: rows,
        due_ms: None,
        flow,
        slot: None,
        created_ms: 0,
        rate: None,
        priority: 0,
        turn: 0,
        throttle: None,
    };
    let mut txn = put(store, Table::Live, run_key(TENANT, run), &live);
    for number in 1..=rows {
        txn.puts.extend(put(store, Table::Journal, journal_key(TENANT, run, number), &number).puts);
    }
    store.commit(txn).await.unwrap();
}

#[test]
fn the_newest_numbers_of_each_journal_are_looked_at_and_the_rest_by_doctor() {
    block_on(async {
        let store = Store::open(&StoreOptions::in_memory(MASTER)).unwrap();
        let found = |deep: Option<bool>| {
            let found = match deep {
                None => store.check_start(&Progress::default()).unwrap().found,
                Some(deep) => store.check(deep).unwrap(),
            };
            // That these runs have no list row is not the matter here.
            found
                .into_iter()
                .map(|found| found.message)
                .filter(|said| !said.contains("in the list"))
                .collect::<Vec<_>>()
        };
        begun(&store, 1, RunState::Running, 300).await;
        assert!(found(None).is_empty(), "{:?}", found(None));
        for (number, at_start) in [(10, false), (100, true), (300, true)] {
            let mut txn = Txn::new();
            txn.delete(Table::Journal, journal_key(TENANT, run(1), number));
            store.commit(txn).await.unwrap();
            let (start, doctor) = (found(None), found(Some(false)));
            let says = format!("transition {number} of the run is missing");
            assert_eq!(start.contains(&says), at_start, "{number}: {start:?}");
            assert!(!doctor.is_empty(), "{number}");
            store.commit(put(&store, Table::Journal, journal_key(TENANT, run(1), number), &number)).await.unwrap();
        }
        // More than the run knows of.
        store.commit(put(&store, Table::Journal, journal_key(TENANT, run(1), 301), &301)).await.unwrap();
        assert_eq!(found(None), ["the journal goes on to transition 301 and the run is at 300"]);
        begun(&store, 2, RunState::Retrying, 1).await;
        begun(&store, 3, RunState::Queued, 1).await;
        assert_eq!(found(None).len(), 3, "{:?}", found(None));
        assert_eq!(found(Some(false)).len(), 3, "doctor says the same: {:?}", found(Some(false)));

        let seen = store.check_start(&Progress::default()).unwrap();
        assert_eq!((seen.live, seen.recent, seen.whole), (3, 0, true));
        let progress = Progress::default();
        progress.stop.store(true, Ordering::Relaxed);
        assert!(store.check_start(&progress).is_err(), "it was asked to stop");
    });
}
