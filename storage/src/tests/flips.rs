//! Changed bytes: no changed value is ever served, and whatever makes a row vanish is found.
//!
//! 200 seeded single-byte changes of a closed file, always in pages that are in use; each file is opened,
//! read whole through `get` and `scan`, and checked shallow and deep. `history` knows every right value.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use super::history::{commit, quiet_redb, read_all};
use super::support::{MASTER, TENANT, block_on, rounds, run};
use crate::faults::{Dice, Disk, open_with};
use crate::rows::run_key;
use crate::store::{ReadError, StoreOptions};
use crate::table::Table;
use crate::writer::Limits;

/// About five rows each.
const TRANSACTIONS: u64 = 802;

fn options() -> StoreOptions {
    StoreOptions { cache_bytes: 4 << 20, ..StoreOptions::in_memory(MASTER) }
}

fn limits() -> Limits {
    Limits { fold_keys: 100, ..Limits::default() }
}

/// A closed file and the offsets of its pages in use.
fn filled() -> (Vec<u8>, Vec<usize>) {
    let disk = Disk::default();
    block_on(async {
        let store = open_with(&disk, &options(), limits()).unwrap();
        commit(&store, 0, TRANSACTIONS, 9).await;
        assert!(store.get::<i64>(TENANT, Table::Counters, &super::history::counter()).unwrap().is_some());
        store.close().await;
    });
    let content = disk.content();
    let pages = content.chunks(4_096).enumerate().filter(|(_, page)| page.iter().any(|byte| *byte != 0));
    let pages = pages.map(|(number, _)| number * 4_096).collect();
    (content, pages)
}

/// What became of one changed byte.
fn one(content: &[u8], offset: usize, bits: u8) -> &'static str {
    let mut content = content.to_vec();
    content[offset] ^= bits;
    let disk = Disk::with_content(content);
    let store = match open_with(&disk, &options(), limits()) {
        Ok(store) => store,
        Err(error) => {
            assert!(error.to_string().len() > 20, "no sentence: {error}");
            return "refused at the start with a sentence";
        }
    };
    let startup = store.check(false);
    let seen = read_all(&store, TRANSACTIONS);
    let deep = store.check(true);
    block_on(store.close());
    let named =
        seen.errors.iter().any(|error| matches!(error, ReadError::Corrupt { record, .. } if !record.is_empty()));
    let at_start = startup.as_ref().is_ok_and(|found| !found.is_empty());
    let by_deep = deep.as_ref().is_ok_and(|found| !found.is_empty());
    if seen.missing > 0 && seen.errors.is_empty() {
        assert!(
            by_deep,
            "byte {offset} ^ {bits:#x}: {} rows vanished and the deep check is silent: {deep:?}",
            seen.missing
        );
    }
    if !seen.errors.is_empty() {
        assert!(by_deep || deep.is_err(), "byte {offset} ^ {bits:#x}: {:?} and the deep check is silent", seen.errors);
    }
    match (named, at_start, seen.missing > 0, by_deep) {
        (true, ..) => "error that names the record",
        (_, true, ..) => "found by the start-up check",
        (_, _, true, true) => "row vanished, found by the deep check",
        (_, _, false, true) => "found by the deep check",
        _ if !seen.errors.is_empty() || startup.is_err() || deep.is_err() => "error without a record",
        _ => "no effect",
    }
}

#[test]
fn a_changed_byte_is_never_served() {
    quiet_redb();
    let (content, pages) = filled();
    let flips = rounds(200);
    let (next, histogram) = (AtomicU64::new(0), Mutex::new(BTreeMap::<&str, u64>::new()));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let flip = next.fetch_add(1, Ordering::Relaxed);
                    if flip >= flips {
                        break;
                    }
                    let mut dice = Dice::new(flip);
                    let page = pages[usize::try_from(dice.roll(pages.len() as u64)).unwrap()];
                    let offset = page + usize::try_from(dice.roll(4_096)).unwrap();
                    let bits = u8::try_from(1_u64 << dice.roll(8)).unwrap();
                    let class = one(&content, offset.min(content.len() - 1), bits);
                    *histogram.lock().unwrap().entry(class).or_default() += 1;
                }
            });
        }
    });
    let histogram = histogram.into_inner().unwrap();
    println!("byte flips in {} pages in use of {} bytes: {histogram:#?}", pages.len(), content.len());
    assert_eq!(histogram.values().sum::<u64>(), flips);
    assert!(histogram["error that names the record"] > 20, "{histogram:?}");
    assert!(!histogram.contains_key("error without a record"), "{histogram:?}");
}

/// redb marks a page of a tree that has pages below it so, in its first byte.
const BRANCH: u8 = 2;

/// A flip in the tree leads a search to rows that are whole and open under their own keys, but that nobody asked for.
#[test]
fn a_changed_tree_never_serves_one_run_as_another() {
    quiet_redb();
    let (content, pages) = filled();
    let branches: Vec<usize> = pages.into_iter().filter(|page| content[*page] == BRANCH).collect();
    let used = |page: &usize| (*page..*page + 4_096).filter(|at| content[*at] != 0).collect::<Vec<_>>();
    let used: Vec<usize> = branches.iter().flat_map(used).collect();
    let (mut named, mut dice) = (0, Dice::new(7));
    for _ in 0..rounds(200) {
        let offset = used[usize::try_from(dice.roll(used.len() as u64)).unwrap()];
        let mut changed = content.clone();
        changed[offset] ^= u8::try_from(1_u64 << dice.roll(8)).unwrap();
        let Ok(store) = open_with(&Disk::with_content(changed), &options(), limits()) else { continue };
        for number in 0..TRANSACTIONS / 4 {
            let (from, to) = (run_key(TENANT, run(number)), run_key(TENANT, run(number)).after_prefix());
            for backwards in [false, true] {
                match store.scan::<String>(TENANT, Table::Journal, &from, &to, 9, backwards) {
                    Ok(rows) => {
                        for (key, _) in rows {
                            assert!(key >= from && key < to, "byte {offset}: run {number} is given {}", key.hex());
                        }
                    }
                    Err(error) => named += usize::from(matches!(error, ReadError::Corrupt { .. })),
                }
            }
        }
        block_on(store.close());
    }
    println!("{named} searches were refused");
    assert!(named > 0, "no flip was noticed: the test reads nothing");
}
