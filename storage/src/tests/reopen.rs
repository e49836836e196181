//! I/O errors while the store is in use: it opens again by itself, loses nothing, and stops at the third.
//!
//! Each cycle runs the numbered history on a disk of which one operation in some fails with EIO (a failed sync
//! leaves a random part of its writes on the disk), and goes on from what the store says after each reopen.

use std::time::Duration;

use super::history::{count, quiet_redb, read_all, transaction};
use super::support::{MASTER, Place, TENANT, block_on, entry, on_both, put, rounds};
use crate::faults::{Dice, Disk, open_with};
use crate::store::{CommitError, Standing, Store, StoreOptions};
use crate::table::{Key, Table};
use crate::txn::Txn;
use crate::writer::Limits;

fn options() -> StoreOptions {
    StoreOptions { cache_bytes: 1 << 20, ..StoreOptions::in_memory(MASTER) }
}

fn limits(seed: u64) -> Limits {
    let small = Limits { tail_groups: 9, trim: 3, fold_keys: 7, ..Limits::default() };
    let limits = if seed.is_multiple_of(2) { small } else { Limits::default() };
    Limits { again_after: Duration::from_millis(1), ..limits }
}

/// With time to mend the disk before the next try: a second fault would be the end.
fn calm() -> Limits {
    Limits { again_after: Duration::from_millis(300), ..Limits::default() }
}

#[derive(Debug, Default)]
struct Tally {
    cycles: u64,
    stopped: u64,
    faults: u64,
    reopens: u64,
    acked: u64,
}

/// Hands over transactions until the store stops or enough are acknowledged; answers `(acked, handed)`.
async fn work(store: &Store, dice: &mut Dice, seed: u64) -> (u64, u64) {
    let mut standing = store.standing();
    let (mut acked, mut handed) = (count(store), count(store));
    while acked < 150 {
        let pinned = store.pinned();
        let mut receipts = Vec::new();
        for _ in 0..=dice.roll(6) {
            let Ok(txn) = transaction(store, handed) else { break };
            let Ok(permit) = pinned.reserve().await else { break };
            receipts.push(permit.submit(txn));
            handed += 1;
        }
        let mut failed = receipts.is_empty();
        for receipt in receipts {
            match receipt.committed().await {
                Ok(_) => {
                    assert!(!failed, "seed {seed}: acknowledged behind one that failed");
                    acked += 1;
                }
                Err(CommitError::Io(_) | CommitError::Reopened) => failed = true,
                Err(other) => panic!("seed {seed}: {other}"),
            }
        }
        if !failed {
            continue;
        }
        // It may fail again between the two looks: only what was read since it goes on counts.
        let there = loop {
            let going = |now: &Standing| matches!(now, Standing::Good(_) | Standing::Failed(_));
            let now = standing.wait_for(going).await.unwrap().clone();
            if let Standing::Failed(sentence) = now {
                assert_eq!(store.failed().borrow().as_ref(), Some(&sentence));
                return (acked, handed);
            }
            if let Ok(there) = store.get::<i64>(TENANT, Table::Counters, &super::history::counter()) {
                break there.unwrap_or(0);
            }
        };
        let there = u64::try_from(there).unwrap();
        assert!((acked..=handed).contains(&there), "seed {seed}: {there} of {acked}..={handed} after a reopen");
        (acked, handed) = (there, there);
    }
    (acked, handed)
}

fn cycle(seed: u64, image: &[u8], tally: &mut Tally) {
    let dice = &mut Dice::new(seed);
    let disk = Disk::with_content(image.to_vec());
    let store = open_with(&disk, &options(), limits(seed)).unwrap();
    let first = store.epoch();
    // One operation in 20 to 100: the p of 0.01 to 0.05.
    disk.fail(Some((20 + dice.roll(80), seed)));
    let (acked, handed) = block_on(work(&store, dice, seed));
    let reopens = store.epoch() - first;
    let stopped = store.failed().borrow().is_some();
    block_on(store.close());
    assert!(reopens <= disk.faults(), "seed {seed}: {reopens} reopens for {} faults", disk.faults());
    assert!(reopens <= 2, "seed {seed}: the third fault ends it");
    assert!(!stopped || disk.faults() >= 3, "seed {seed}: it stopped before the third fault");
    disk.fail(None);
    let disk = Disk::with_content(crate::backend::redb::Medium::reopen(&disk).unwrap().content());
    let store = open_with(&disk, &options(), limits(seed)).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
    let there = count(&store);
    assert!((acked..=handed).contains(&there), "seed {seed}: {there} of {acked}..={handed}");
    let seen = read_all(&store, there);
    assert!(seen.missing == 0 && seen.errors.is_empty(), "seed {seed}: {seen:?}");
    assert_eq!(store.check(true), Ok(vec![]), "seed {seed}");
    tally.cycles += 1;
    tally.stopped += u64::from(stopped);
    tally.faults += disk.faults();
    tally.reopens += reopens;
    tally.acked += acked;
}

#[test]
fn io_errors_lose_nothing_and_the_third_ends_it() {
    quiet_redb();
    let disk = Disk::default();
    block_on(open_with(&disk, &options(), Limits::default()).unwrap().close());
    let image = disk.content();
    let mut tally = Tally::default();
    for seed in 0..rounds(200) {
        cycle(seed, &image, &mut tally);
    }
    println!("I/O errors: {tally:?}, 0 acknowledged lost");
    assert!(tally.stopped * 2 > tally.cycles && tally.reopens > tally.cycles && tally.acked > tally.cycles * 10);
}

#[test]
fn a_failed_read_is_noticed_without_any_write() {
    quiet_redb();
    let disk = Disk::default();
    let store = open_with(&disk, &options(), calm()).unwrap();
    let before = store.epoch();
    // A sync of somebody else's write would do the same: the handle is out until it is opened again.
    block_on(async {
        let mut standing = store.standing();
        disk.fail(Some((1, 3)));
        assert!(store.check(true).is_err(), "the mark of a page check cannot be written");
        disk.fail(None);
        standing.wait_for(|now| matches!(now, Standing::Good(epoch) if *epoch > before)).await.unwrap();
        store.commit(put(&store, Table::Flows, Key::tenant(TENANT).number(1), "later")).await.unwrap();
    });
    assert_eq!(store.check(true), Ok(vec![]));
}

#[test]
fn what_was_decided_before_a_reopen_is_refused_and_forgotten() {
    quiet_redb();
    let disk = Disk::default();
    let store = open_with(&disk, &options(), calm()).unwrap();
    block_on(async {
        let old = store.pinned();
        let permit = old.reserve().await.unwrap();
        let mut standing = store.standing();
        disk.fail(Some((1, 3)));
        let lost = store.commit(transaction(&store, 0).unwrap()).await;
        assert!(matches!(lost, Err(CommitError::Io(_))), "{lost:?}");
        disk.fail(None);
        standing.wait_for(|now| matches!(now, Standing::Good(2..))).await.unwrap();
        let key = Key::tenant(TENANT).number(7);
        let stale = permit.submit(put(&store, Table::Flows, key.clone(), "stale")).committed().await;
        assert_eq!(stale, Err(CommitError::Reopened));
        assert!(old.try_reserve().is_none());
        assert_eq!(old.commit_low(Txn::new()).await, Err(CommitError::Reopened));
        old.dedupe_remember(entry(5, 100));
        assert_eq!(store.dedupe_find(TENANT, &entry(5, 0).hash, 0), None);
        assert_eq!(store.get::<String>(TENANT, Table::Flows, &key), Ok(None));
        assert!(old.epoch() < store.epoch() && store.pinned().try_reserve().is_some());
    });
}

#[test]
fn housekeeping_rides_along_and_what_is_stored_is_counted() {
    on_both(async |place: &Place| {
        let store = place.open();
        let before = store.stored();
        let key = |number| Key::tenant(TENANT).number(number);
        store.commit(put(&store, Table::Flows, key(1), &"x".repeat(5_000))).await.unwrap();
        let with = store.stored();
        assert!((before + 5_000..before + 5_200).contains(&with), "{before} then {with}");
        store.commit(put(&store, Table::Flows, key(1), &"x".repeat(2_000))).await.unwrap();
        assert!(store.stored() < with - 2_900, "a replaced value counts once");
        let mut gone = Txn::new();
        gone.delete(Table::Flows, key(1));
        let mut refused = Txn::new();
        refused.expect_present(Table::Flows, key(9));
        let (gone, refused) = (store.commit_low(gone), store.commit_low(refused));
        assert!(gone.await.is_ok());
        assert_eq!(refused.await, Err(CommitError::Conflict(Table::Flows)));
        let after = store.stored();
        assert!((before..before + 200).contains(&after), "{before} then {after}");
        store.close().await;
        assert_eq!(place.open().stored(), after, "also after a start");
    });
}
