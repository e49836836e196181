//! Power cuts: nothing acknowledged is ever lost, nothing is half there, and the file always opens.
//!
//! Each seed runs a history on a simulated disk, cuts the power at a random operation (while opening,
//! committing, folding, trimming or closing), keeps a random part of what was not synced, and opens again;
//! sometimes the power goes again during that repair. A third of the openings are those of `quick_restart`.

use std::sync::atomic::{AtomicU64, Ordering};

use super::history::{count, quiet_redb, read_all, transaction};
use super::support::{MASTER, block_on, rounds};
use crate::faults::{Dice, Disk, open_with};
use crate::store::{Store, StoreOptions};
use crate::writer::Limits;

#[derive(Default)]
struct Tally {
    acked: AtomicU64,
    unacked_there: AtomicU64,
    cuts: AtomicU64,
    cuts_in_open: AtomicU64,
    cuts_in_repair: AtomicU64,
}

/// A third of the openings record free pages with every commit, whatever those before did.
fn options(opening: u64) -> StoreOptions {
    let record_from = if opening.is_multiple_of(3) { 0 } else { StoreOptions::RECORD_FROM };
    StoreOptions { cache_bytes: 1 << 20, record_from, ..StoreOptions::in_memory(MASTER) }
}

/// Runs transactions until the power goes; answers how many are acknowledged and how many were handed over.
async fn work(store: &Store, from: u64, dice: &mut Dice) -> (u64, u64) {
    let (mut acked, mut handed) = (from, from);
    // A cut always comes, but a limit must stand anyway.
    for _ in 0..60 {
        let mut receipts = Vec::new();
        for _ in 0..=dice.roll(6) {
            let Ok(txn) = transaction(store, handed) else { break };
            let Ok(permit) = store.reserve().await else { break };
            receipts.push(permit.submit(txn));
            handed += 1;
        }
        for receipt in receipts {
            match receipt.committed().await {
                Ok(_) => acked += 1,
                Err(_) => return (acked, handed),
            }
        }
    }
    (acked, handed)
}

fn one(seed: u64, image: &[u8], tally: &Tally) {
    let dice = &mut Dice::new(seed);
    let small = Limits { tail_groups: 9, trim: 3, fold_keys: 7, ..Limits::default() };
    let limits = if seed.is_multiple_of(2) { small } else { Limits::default() };
    let mut disk = Disk::with_content(image.to_vec());
    let (mut acked, mut handed) = (0, 0);
    for opening in 0..2 {
        disk.cut_after(dice.roll(90), dice.roll(2) == 0);
        match open_with(&disk, &options(seed + opening), limits) {
            Err(_) => _ = tally.cuts_in_open.fetch_add(1, Ordering::Relaxed),
            Ok(store) => {
                let before = count(&store);
                assert!(
                    (acked..=handed).contains(&before),
                    "seed {seed}: {before} of {acked}..={handed} after a start"
                );
                (acked, handed) = block_on(work(&store, before, dice));
                block_on(store.close());
            }
        }
        tally.cuts.fetch_add(1, Ordering::Relaxed);
        disk = disk.after_cut(dice);
        for _ in 0..dice.roll(3) {
            disk.cut_after(dice.roll(12), dice.roll(2) == 0);
            if open_with(&disk, &options(dice.roll(3)), limits).is_err() {
                tally.cuts_in_repair.fetch_add(1, Ordering::Relaxed);
            }
            disk = disk.after_cut(dice);
        }
    }
    let store = open_with(&disk, &options(seed), limits).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
    let there = count(&store);
    assert!((acked..=handed).contains(&there), "seed {seed}: {there} of {acked} acknowledged, {handed} handed over");
    let seen = read_all(&store, there);
    assert!(seen.missing == 0 && seen.errors.is_empty(), "seed {seed}: {seen:?}");
    assert_eq!(store.check(seed.is_multiple_of(16)), Ok(vec![]), "seed {seed}");
    tally.acked.fetch_add(acked, Ordering::Relaxed);
    tally.unacked_there.fetch_add(there - acked, Ordering::Relaxed);
}

#[test]
fn nothing_acknowledged_is_lost_in_any_power_cut() {
    quiet_redb();
    let disk = Disk::default();
    block_on(open_with(&disk, &options(1), Limits::default()).unwrap().close());
    let image = disk.content();
    let seeds = rounds(2_000);
    let (tally, next) = (Tally::default(), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds {
                        break;
                    }
                    one(seed, &image, &tally);
                }
            });
        }
    });
    let read = |value: &AtomicU64| value.load(Ordering::Relaxed);
    println!(
        "power cuts: {} seeds, {} cuts ({} while opening) and {} more during repair; {} transactions acknowledged, \
         0 lost; {} unacknowledged ones were there",
        seeds,
        read(&tally.cuts),
        read(&tally.cuts_in_open),
        read(&tally.cuts_in_repair),
        read(&tally.acked),
        read(&tally.unacked_there)
    );
    assert!(read(&tally.acked) > seeds * 3, "the cuts come too early to say anything");
    assert!(read(&tally.cuts_in_open) > seeds / 50 && read(&tally.cuts_in_repair) > seeds / 10);
}
