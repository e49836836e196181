//! What every backend does: one suite, run on the file and on memory.

use super::support::{Place, TENANT, block_on, entry, live, on_both, put, run, texts};
use crate::rows::{TimerRow, journal_key, run_key, timer_key};
use crate::store::{CommitError, ReadError};
use crate::table::{Key, Table};
use crate::txn::{TailEntry, Txn};
use crate::writer::Limits;

fn at(number: u64) -> Key {
    Key::tenant(TENANT).number(number)
}

#[test]
fn what_is_put_is_read_also_after_a_reopen() {
    on_both(async |place: &Place| {
        let store = place.open();
        assert_eq!(store.epoch(), 1);
        store.commit(put(&store, Table::Flows, at(1), "one")).await.unwrap();
        store.commit(put(&store, Table::Flows, at(1), "two")).await.unwrap();
        store.close().await;
        assert_eq!(store.commit(Txn::new()).await, Err(CommitError::Closed));
        assert!(store.try_reserve().is_none());
        let store = place.open();
        assert_eq!(store.epoch(), 2);
        assert_eq!(store.get::<String>(TENANT, Table::Flows, &at(1)), Ok(Some("two".into())));
        assert_eq!(store.get::<String>(TENANT, Table::Flows, &at(2)), Ok(None));
        let mut txn = Txn::new();
        txn.delete(Table::Flows, at(1));
        txn.delete(Table::Flows, at(9));
        store.commit(txn).await.unwrap();
        assert_eq!(store.get::<String>(TENANT, Table::Flows, &at(1)), Ok(None));
        assert_eq!(store.check(true), Ok(vec![]));
    });
}

#[test]
fn dropping_the_last_handle_closes_the_file() {
    on_both(async |place: &Place| {
        let store = place.open();
        let receipt = store.reserve().await.unwrap().submit(put(&store, Table::Flows, at(1), "one"));
        drop(store);
        assert!(receipt.committed().await.is_ok());
        let store = place.open();
        assert_eq!(store.get::<String>(TENANT, Table::Flows, &at(1)), Ok(Some("one".into())));
        assert_eq!(store.check(true), Ok(vec![]), "closed cleanly");
    });
}

#[test]
fn scans_have_bounds_limits_and_two_directions() {
    on_both(async |place: &Place| {
        let store = place.open();
        let mut txn = Txn::new();
        for number in [3_u64, 1, 200, 2, 70_000] {
            store.put(&mut txn, TENANT, Table::Flows, at(number), &number.to_string()).unwrap();
        }
        store.put(&mut txn, TENANT, Table::Versions, at(2), &"elsewhere").unwrap();
        store.commit(txn).await.unwrap();
        let check = |from: u64, to: u64, limit, backwards, expected: &[&str]| {
            assert_eq!(texts(&store, Table::Flows, &at(from), &at(to), limit, backwards), expected, "{from}..{to}");
        };
        check(0, u64::MAX, 10, false, &["1", "2", "3", "200", "70000"]);
        check(0, u64::MAX, 10, true, &["70000", "200", "3", "2", "1"]);
        check(2, 200, 10, false, &["2", "3"]);
        check(2, 200, 10, true, &["3", "2"]);
        check(0, u64::MAX, 2, false, &["1", "2"]);
        check(0, u64::MAX, 2, true, &["70000", "200"]);
        check(0, u64::MAX, 0, false, &[]);
        check(9, 2, 10, false, &[]);
        check(2, 2, 10, false, &[]);
        let (from, to) = (Key::tenant(TENANT), Key::tenant(TENANT).after_prefix());
        assert_eq!(texts(&store, Table::Flows, &from, &to, 10, false).len(), 5);
    });
}

#[test]
fn a_conflict_leaves_no_trace_and_does_not_touch_its_neighbours() {
    on_both(async |place: &Place| {
        let store = place.open();
        store.commit(put(&store, Table::Flows, at(1), "one")).await.unwrap();
        let mut refused = put(&store, Table::Flows, at(2), "half");
        refused.expect_absent(Table::Flows, at(1));
        refused.delete(Table::Flows, at(1));
        refused.tell(TailEntry::Run(TENANT, run(1), 1));
        refused.counters.push((at(0), 5));
        refused.dedupe.push(entry(1, 100));
        store.dedupe_remember(entry(1, 100));
        let mut missing = put(&store, Table::Flows, at(3), "half");
        missing.expect_present(Table::Flows, at(9));
        let before = *store.newest().borrow();
        // All of them wait before the writer can take the first: one group.
        let mut receipts = Vec::new();
        for txn in
            [put(&store, Table::Flows, at(4), "before"), refused, missing, put(&store, Table::Flows, at(5), "after")]
        {
            receipts.push(store.reserve().await.unwrap().submit(txn));
        }
        let mut results = Vec::new();
        for receipt in receipts {
            results.push(receipt.committed().await.map(|_| ()));
        }
        let conflict = Err(CommitError::Conflict(Table::Flows));
        assert_eq!(results, [Ok(()), conflict.clone(), conflict, Ok(())]);
        let (from, to) = (at(0), at(99));
        assert_eq!(texts(&store, Table::Flows, &from, &to, 10, false), ["one", "before", "after"]);
        assert_eq!(*store.newest().borrow(), before, "nothing for the tail");
        assert_eq!(store.get::<i64>(TENANT, Table::Counters, &at(0)), Ok(None));
        assert_eq!(store.dedupe_find(TENANT, &entry(1, 100).hash, 0), None);
    });
}

#[test]
fn checks_see_the_transactions_before_them_in_the_same_group() {
    on_both(async |place: &Place| {
        let store = place.open();
        let mut txns = Vec::new();
        for text in ["first", "second"] {
            let mut txn = put(&store, Table::Flows, at(1), text);
            txn.expect_absent(Table::Flows, at(1));
            txns.push(txn);
        }
        let mut gone = Txn::new();
        gone.expect_present(Table::Flows, at(1));
        gone.delete(Table::Flows, at(1));
        txns.extend([gone.clone(), gone]);
        let mut receipts = Vec::new();
        for txn in txns {
            receipts.push(store.reserve().await.unwrap().submit(txn));
        }
        let mut results = Vec::new();
        for receipt in receipts {
            results.push(receipt.committed().await.is_ok());
        }
        assert_eq!(results, [true, false, true, false]);
        assert_eq!(store.get::<String>(TENANT, Table::Flows, &at(1)), Ok(None));
    });
}

#[test]
fn a_full_queue_is_told_and_empties() {
    on_both(async |place: &Place| {
        let store = place.open();
        let permits: Vec<_> = std::iter::from_fn(|| store.try_reserve()).take(100_000).collect();
        assert_eq!(permits.len(), crate::StoreOptions::QUEUE_MAX);
        let receipts: Vec<_> = permits.into_iter().map(|permit| permit.submit(Txn::new())).collect();
        for receipt in receipts {
            assert!(receipt.committed().await.is_ok());
        }
        assert!(store.try_reserve().is_some());
    });
}

#[test]
fn the_tail_has_one_row_per_group_and_no_gaps() {
    on_both(async |place: &Place| {
        let store = place.open();
        let mut newest = store.newest();
        let mut cursors = Vec::new();
        for number in 1..=20_u64 {
            let mut txn = Txn::new();
            txn.tell(TailEntry::Run(TENANT, run(number), number));
            cursors.push(store.commit(txn).await.unwrap().cursor);
            newest.wait_for(|newest| *newest == number).await.unwrap();
        }
        assert_eq!(cursors, (1..=20).collect::<Vec<_>>());
        let barrier = store.commit(Txn::new()).await.unwrap().cursor;
        assert_eq!(barrier, 20, "nothing to tell");
        store.close().await;
        let store = place.open();
        assert_eq!(*store.newest().borrow(), 20);
        let page = store.tail_after(17, 100).unwrap();
        assert!(!page.cut);
        let expected: Vec<_> =
            (18..=20).map(|number| (number, vec![TailEntry::Run(TENANT, run(number), number)])).collect();
        assert_eq!(page.groups, expected);
        assert_eq!(store.tail_after(3, 2).unwrap().groups.len(), 2);
        assert!(store.tail_after(20, 10).unwrap().groups.is_empty());
        assert!(store.tail_after(21, 10).unwrap().cut, "a cursor of another store");
        let mut txn = Txn::new();
        txn.tell(TailEntry::Run(TENANT, run(1), 1));
        assert_eq!(store.commit(txn).await.unwrap().cursor, 21);
    });
}

#[test]
fn an_old_cursor_is_told_that_the_tail_was_cut_and_no_dedupe_key_goes_with_it() {
    on_both(async |place: &Place| {
        let limits = Limits { tail_groups: 20, trim: 4, fold_keys: 1_000, ..Limits::default() };
        let store = place.open_with(limits);
        for number in 1..=100_u64 {
            let mut txn = Txn::new();
            txn.tell(TailEntry::Run(TENANT, run(number), number));
            if number % 7 == 0 {
                txn.dedupe.push(entry(number, 1_000));
            }
            store.commit(txn).await.unwrap();
        }
        let page = store.tail_after(0, 100).unwrap();
        assert!(page.cut);
        assert!((20..=24).contains(&page.groups.len()), "{}", page.groups.len());
        assert_eq!(page.groups.last().unwrap().0, 100);
        store.close().await;
        let store = place.open_with(limits);
        for number in 1..=100 {
            let found = store.dedupe_find(TENANT, &entry(number, 0).hash, 5);
            assert_eq!(found, (number % 7 == 0).then(|| entry(number, 1_000)), "{number}");
        }
        assert_eq!(store.check(true), Ok(vec![]));
    });
}

#[test]
fn dedupe_keys_are_found_at_once_after_folds_and_after_restarts_until_they_expire() {
    on_both(async |place: &Place| {
        // Eight bits of fingerprint: nearly every look-up has false hits in several segments.
        let limits = Limits { fold_keys: 16, fingerprint_mask: 0xFF, ..Limits::default() };
        let mut store = place.open_with(limits);
        for number in 0..200_u64 {
            let entry = entry(number, 1_000 + i64::try_from(number).unwrap());
            store.dedupe_remember(entry);
            assert_eq!(store.dedupe_find(TENANT, &entry.hash, 0), Some(entry), "not committed yet");
            let mut txn = Txn::new();
            txn.dedupe.push(entry);
            store.commit(txn).await.unwrap();
            if number % 50 == 49 {
                store.close().await;
                store = place.open_with(limits);
            }
        }
        for number in 0..200_u64 {
            let expires_ms = 1_000 + i64::try_from(number).unwrap();
            let wanted = entry(number, expires_ms);
            assert_eq!(store.dedupe_find(TENANT, &wanted.hash, expires_ms - 1), Some(wanted), "{number}");
            assert_eq!(store.dedupe_find(TENANT, &wanted.hash, expires_ms), None, "{number} expired");
        }
        for number in 200..400 {
            assert_eq!(store.dedupe_find(TENANT, &entry(number, 0).hash, 0), None, "{number} never came");
        }
        // A key that comes again after its window: the later entry counts.
        let again = entry(3, 9_000);
        let mut txn = Txn::new();
        txn.dedupe.push(again);
        store.commit(txn).await.unwrap();
        assert_eq!(store.dedupe_find(TENANT, &again.hash, 1_500), Some(again));
        // Segments whose every key has expired go with the next fold, the others stay.
        for number in 1_000..1_040_u64 {
            let mut txn = Txn::new();
            txn.dedupe.push(entry(number, 20_000));
            store.commit(txn).await.unwrap();
        }
        assert_eq!(store.dedupe_find(TENANT, &again.hash, 1_500), Some(again));
        assert_eq!(store.check(true), Ok(vec![]));
        store.close().await;
        let store = place.open_with(limits);
        assert_eq!(store.dedupe_find(TENANT, &again.hash, 1_500), Some(again));
        assert_eq!(store.dedupe_find(TENANT, &entry(1_010, 0).hash, 1_500), Some(entry(1_010, 20_000)));
        assert_eq!(store.check(true), Ok(vec![]));
    });
}

#[test]
fn counters_add_up() {
    on_both(async |place: &Place| {
        let store = place.open();
        let mut receipts = Vec::new();
        for number in 1..=10 {
            let mut txn = Txn::new();
            txn.counters.push((at(1), number));
            txn.counters.push((at(1), -1));
            txn.counters.push((at(2), i64::MAX));
            receipts.push(store.reserve().await.unwrap().submit(txn));
        }
        for receipt in receipts {
            receipt.committed().await.unwrap();
        }
        store.close().await;
        let store = place.open();
        assert_eq!(store.get::<i64>(TENANT, Table::Counters, &at(1)), Ok(Some(45)));
        assert_eq!(store.get::<i64>(TENANT, Table::Counters, &at(2)), Ok(Some(i64::MAX)), "never wraps");
    });
}

#[test]
fn tenants_have_keys_of_their_own_that_stay() {
    on_both(async |place: &Place| {
        let store = place.open();
        let other = aura_protocol::TenantId::from_bytes([9; 16]);
        let hash = store.index_hash(other, "flow", &[b"x"]);
        assert_ne!(hash, store.index_hash(TENANT, "flow", &[b"x"]));
        let step = store.step_key(other, run(1), "mail");
        assert_ne!(step, store.step_key(TENANT, run(1), "mail"));
        let mut txn = Txn::new();
        store.put(&mut txn, other, Table::Flows, Key::tenant(other).number(1), &"text").unwrap();
        store.commit(txn).await.unwrap();
        store.close().await;
        let store = place.open();
        let key = Key::tenant(other).number(1);
        assert_eq!(store.get::<String>(other, Table::Flows, &key), Ok(Some("text".into())));
        let wrong = store.get::<String>(TENANT, Table::Flows, &key);
        assert_eq!(wrong, Err(ReadError::Corrupt { table: Table::Flows, record: key.hex() }));
        assert_eq!(store.index_hash(other, "flow", &[b"x"]), hash);
        assert_eq!(store.step_key(other, run(1), "mail"), step);
        assert_eq!(store.check(true), Ok(vec![]));
    });
}

#[test]
fn rows_that_do_not_fit_each_other_are_found() {
    type Change = fn(&mut Txn, aura_protocol::RunId);
    let changes: [(&str, Change, &str); 6] = [
        ("nothing", |_, _| {}, ""),
        ("a gap", |txn, run| txn.delete(Table::Journal, journal_key(TENANT, run, 2)), "transition 2"),
        ("the end", |txn, run| txn.delete(Table::Journal, journal_key(TENANT, run, 3)), "ends at transition 2"),
        ("the timer", |txn, run| txn.delete(Table::Timers, timer_key(77, TENANT, run.bytes())), "timer"),
        ("the live row", |txn, run| txn.delete(Table::Live, run_key(TENANT, run)), "wakes nothing"),
        ("the head", |txn, run| txn.delete(Table::Runs, run_key(TENANT, run)), "no row in the list"),
    ];
    for (what, change, expected) in changes {
        on_both(async |place: &Place| {
            let store = place.open();
            let mut txn = Txn::new();
            let run = run(1);
            for number in 1..=3 {
                store.put(&mut txn, TENANT, Table::Journal, journal_key(TENANT, run, number), &number).unwrap();
            }
            store.put(&mut txn, TENANT, Table::Runs, run_key(TENANT, run), &"head").unwrap();
            store.put(&mut txn, TENANT, Table::Live, run_key(TENANT, run), &live(3, Some(77))).unwrap();
            store.put(&mut txn, TENANT, Table::Timers, timer_key(77, TENANT, run.bytes()), &TimerRow::Run).unwrap();
            change(&mut txn, run);
            store.commit(txn).await.unwrap();
            let found = store.check(false).unwrap();
            if expected.is_empty() {
                assert_eq!(found, [], "{what}");
            } else {
                assert!(found.iter().any(|finding| finding.message.contains(expected)), "{what}: {found:?}");
            }
        });
    }
}

#[test]
fn many_tasks_at_once_keep_their_order() {
    for place in Place::both() {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
        let store = place.open();
        runtime.block_on(async {
            let mut tasks = Vec::new();
            for task in 0..8_u64 {
                let store = store.clone();
                tasks.push(tokio::spawn(async move {
                    for number in 0..50_u64 {
                        let mut txn = put(&store, Table::Flows, at(task), &number.to_string());
                        txn.tell(TailEntry::Run(TENANT, run(task), number));
                        txn.counters.push((at(0), 1));
                        store.commit(txn).await.unwrap();
                    }
                }));
            }
            for task in tasks {
                task.await.unwrap();
            }
        });
        assert_eq!(texts(&store, Table::Flows, &at(0), &at(9), 9, false), ["49"; 8]);
        assert_eq!(store.get::<i64>(TENANT, Table::Counters, &at(0)), Ok(Some(400)));
        let groups = store.tail_after(0, 1_000).unwrap().groups;
        let told: Vec<_> = groups.into_iter().flat_map(|(_, entries)| entries).collect();
        assert_eq!(told.len(), 400);
        for task in 0..8 {
            let numbers: Vec<_> = told
                .iter()
                .filter_map(|entry| match entry {
                    TailEntry::Run(_, told, number) if *told == run(task) => Some(*number),
                    _ => None,
                })
                .collect();
            assert_eq!(numbers, (0..50).collect::<Vec<_>>());
        }
        block_on(store.close());
    }
}
