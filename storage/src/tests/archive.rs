//! Backups: what comes back is what was there, and nothing that was cut or changed is ever restored.

use std::fs;
use std::path::Path;
use std::sync::atomic::Ordering;

use super::history::{commit, count, read_all};
use super::support::{MASTER, TENANT, block_on, put};
use crate::archive::{self, ArchiveError, Progress};
use crate::store::{Store, StoreOptions};
use crate::table::{Key, Table};

const TRANSACTIONS: u64 = 400;

fn open(dir: &Path) -> Store {
    Store::open(&StoreOptions::in_dir(dir, MASTER)).unwrap()
}

/// A store with a history, and a backup of it.
fn backed_up() -> (tempfile::TempDir, archive::Proved) {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir.path().join("data"));
    block_on(commit(&store, 0, TRANSACTIONS, 9));
    let secret = put(&store, Table::Connections, Key::tenant(TENANT).number(1), "sealed-canary-4711");
    block_on(store.commit(secret)).unwrap();
    let proved = store.backup(&dir.path().join("one.aurabk"), 77, &Progress::default()).unwrap();
    block_on(store.close());
    (dir, proved)
}

fn restore(dir: &Path, to: &str, master: &[u8; 32]) -> Result<archive::Proved, ArchiveError> {
    archive::restore(&dir.join("one.aurabk"), &dir.join(to), master, 99, &Progress::default())
}

#[test]
fn a_restored_store_holds_what_the_snapshot_held_and_is_paused() {
    let (dir, proved) = backed_up();
    assert_eq!(proved.damaged_rows, 0, "{:?}", proved.damaged);
    assert!(proved.manifest.tables.iter().find(|sum| sum.table == "journal").unwrap().rows == TRANSACTIONS);
    let restored = restore(dir.path(), "again", &MASTER).unwrap();
    assert_eq!(restored.manifest, proved.manifest);
    let store = open(&dir.path().join("again"));
    assert_eq!(store.epoch(), 2, "calls of the snapshot belong to an earlier start");
    assert_eq!(count(&store), TRANSACTIONS);
    let seen = read_all(&store, TRANSACTIONS);
    assert!(seen.missing == 0 && seen.errors.is_empty(), "{seen:?}");
    assert_eq!(store.check(true), Ok(vec![]));
    let paused = store.paused().unwrap().unwrap();
    assert_eq!((paused.since_ms, paused.snapshot_ms, paused.judged), (99, 77, false));
    block_on(async {
        store.judged(paused).await.unwrap();
        assert!(store.paused().unwrap().unwrap().judged);
        store.resume().await.unwrap();
        store.close().await;
    });
    assert_eq!(open(&dir.path().join("again")).paused(), Ok(None), "the mark is gone for good");
}

#[test]
fn a_backup_taken_while_commits_go_on_is_one_state() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir.path().join("data"));
    block_on(commit(&store, 0, 100, 9));
    let proved = std::thread::scope(|scope| {
        let writing = scope.spawn(|| block_on(commit(&store, 100, 500, 7)));
        let proved = store.backup(&dir.path().join("one.aurabk"), 1, &Progress::default()).unwrap();
        writing.join().unwrap();
        proved
    });
    block_on(store.close());
    restore(dir.path(), "again", &MASTER).unwrap();
    let again = open(&dir.path().join("again"));
    let there = count(&again);
    assert!((100..=500).contains(&there), "{there}");
    assert_eq!(proved.manifest.tables.iter().find(|sum| sum.table == "journal").unwrap().rows, there);
    let seen = read_all(&again, there);
    assert!(seen.missing == 0 && seen.errors.is_empty(), "half a transaction in it: {seen:?}");
}

#[test]
fn another_key_a_cut_and_a_change_are_refused_before_anything_is_left() {
    let (dir, _) = backed_up();
    let path = dir.path().join("one.aurabk");
    let whole = fs::read(&path).unwrap();
    for canary in [&b"sealed-canary"[..], &MASTER, b"journal", b"aurad"] {
        assert!(!whole.windows(canary.len()).any(|part| part == canary), "in clear");
    }
    let refused = |part: &str, master: &[u8; 32]| {
        let error = restore(dir.path(), "again", master).expect_err(part).to_string();
        assert!(error.contains(part), "{part}: {error}");
        assert!(!dir.path().join("again").exists(), "{part}: something was left behind");
    };
    refused("the master key does not fit", &[8; 32]);
    for length in [0, 5, 12, 40, 59, 60, 64, 1_000, whole.len() / 2, whole.len() - 17, whole.len() - 1] {
        fs::write(&path, &whole[..length]).unwrap();
        refused(if length < 12 { "is not a backup" } else { "is damaged" }, &MASTER);
    }
    for place in (60..whole.len()).step_by(whole.len() / 40) {
        let mut changed = whole.clone();
        changed[place] ^= 0x10;
        fs::write(&path, &changed).unwrap();
        refused("is damaged", &MASTER);
    }
    fs::write(&path, [&whole[..], b"x"].concat()).unwrap();
    refused("is damaged", &MASTER);
    fs::write(&path, &whole).unwrap();
    // A directory with anything in it stays as it is.
    fs::create_dir(dir.path().join("full")).unwrap();
    fs::write(dir.path().join("full/mine"), b"x").unwrap();
    let error = restore(dir.path(), "full", &MASTER).unwrap_err().to_string();
    assert!(error.contains("is not empty"), "{error}");
    assert_eq!(fs::read_dir(dir.path().join("full")).unwrap().count(), 1);
    restore(dir.path(), "again", &MASTER).unwrap();
}

#[test]
fn a_backup_replaces_nothing_and_leaves_no_half_one() {
    let (dir, _) = backed_up();
    let store = open(&dir.path().join("data"));
    let names = || {
        let mut names: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let before = names();
    let taken = store.backup(&dir.path().join("one.aurabk"), 1, &Progress::default()).unwrap_err().to_string();
    assert!(taken.contains("is there already"), "{taken}");
    let stopped = Progress::default();
    stopped.stop.store(true, Ordering::Relaxed);
    let ended = store.backup(&dir.path().join("two.aurabk"), 1, &stopped).unwrap_err();
    assert!(matches!(ended, ArchiveError::Stopped), "{ended:?}");
    assert!(store.backup(Path::new("/proc/no/such.aurabk"), 1, &Progress::default()).is_err());
    assert_eq!(names(), before);
    fs::write(dir.path().join("two.aurabk.part"), b"left by a kill").unwrap();
    store.backup(&dir.path().join("two.aurabk"), 1, &Progress::default()).unwrap();
    assert!(!dir.path().join("two.aurabk.part").exists());
}

#[test]
fn what_takes_room_is_told_by_table_and_by_flow() {
    let (dir, proved) = backed_up();
    let store = open(&dir.path().join("data"));
    let usage = store.usage(&Progress::default()).unwrap();
    for sum in proved.manifest.tables.iter().filter(|sum| sum.table != "meta") {
        let table = usage.tables.iter().find(|table| table.table == sum.table).unwrap();
        assert_eq!((table.rows, table.bytes), (sum.rows, sum.bytes), "{}", sum.table);
    }
    let [flow] = usage.flows.as_slice() else { panic!("{:?}", usage.flows) };
    let of = |name: &str| usage.tables.iter().find(|table| table.table == name).unwrap();
    assert_eq!((flow.flow.as_str(), flow.runs), ("recover", TRANSACTIONS / 4));
    assert_eq!(flow.bytes, of("runs").bytes + of("journal").bytes);
}

#[test]
fn compaction_gives_space_back_and_keeps_every_row() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let key = |number| Key::tenant(TENANT).number(number);
    block_on(async {
        for number in 0..300 {
            store.commit(put(&store, Table::Requests, key(number), &"x".repeat(20_000))).await.unwrap();
        }
        commit(&store, 0, 40, 9).await;
        let mut txn = crate::txn::Txn::new();
        (0..300).for_each(|number| txn.delete(Table::Requests, key(number)));
        store.commit(txn).await.unwrap();
    });
    let (before, after) = store.compact().unwrap();
    assert!(after < before / 4, "{before} -> {after}");
    assert_eq!(count(&store), 40);
    block_on(commit(&store, 40, 80, 9));
    let seen = read_all(&store, 80);
    assert!(seen.missing == 0 && seen.errors.is_empty(), "{seen:?}");
    assert_eq!(store.check(true), Ok(vec![]));
}

#[test]
fn a_scrub_names_what_does_not_open_and_nothing_else() {
    let (dir, _) = backed_up();
    let store = open(&dir.path().join("data"));
    let (seen, found) = store.scrub(5, 0, &Progress::default()).unwrap();
    assert!(seen.rows > TRANSACTIONS && seen.damaged == 0 && found.is_empty(), "{found:?}");
    block_on(store.remember_scrub(&seen)).unwrap();
    assert_eq!(store.scrubbed().unwrap(), Some(seen));
    // A value that was put as it is, without a seal.
    let key = Key::tenant(TENANT).number(9);
    let mut txn = crate::txn::Txn::new();
    txn.puts.push((Table::Flows, key.clone(), b"rot".to_vec()));
    block_on(store.commit(txn)).unwrap();
    let (seen, found) = store.scrub(6, 0, &Progress::default()).unwrap();
    assert_eq!(seen.damaged, 1);
    assert_eq!(found[0].subject, format!("flows {}", key.hex()));
    let proved = store.backup(&dir.path().join("two.aurabk"), 1, &Progress::default()).unwrap();
    assert_eq!((proved.damaged_rows, proved.damaged), (1, vec![format!("flows {}", key.hex())]));
}
