//! Layouts: a rehearsal step that only tests have is killed at every write, and the store is old or new, never between.

use std::sync::atomic::{AtomicU32, Ordering};

use super::history::{commit, count, quiet_redb, read_all};
use super::support::{MASTER, TENANT, block_on};
use crate::backend::{Change, Fault, Snapshot};
use crate::faults::{Dice, Disk, open_with};
use crate::migrate::{LAYOUT, Layout, Step};
use crate::open::{self, OpenError};
use crate::store::{Store, StoreOptions};
use crate::table::{Key, Table};
use crate::txn::Txn;
use crate::writer::{Limits, Schema, meta, stored};

const NEXT: u32 = LAYOUT.number + 1;

fn place() -> Key {
    Key::new().number(99)
}

/// Moves a row to another key and adds ten to its number.
fn rehearsal(snapshot: &dyn Snapshot) -> Result<Vec<Change>, Fault> {
    let row = snapshot.read(Table::Meta, &place())?.ok_or_else(|| Fault::Damaged("no row".into()))?;
    let number: Option<i64> = crate::seal::unplain_value(Table::Meta, &place(), &row);
    let number = number.ok_or_else(|| Fault::Damaged("a damaged row".into()))?;
    let value = stored(Table::Meta, &place().next(), &(number + 10))?;
    let change = |key, value| Change { table: Table::Meta, key, value };
    Ok(vec![change(place(), None), change(place().next(), Some(value))])
}

fn failing(_: &dyn Snapshot) -> Result<Vec<Change>, Fault> {
    panic!("a step with a fault")
}

static TO_NEXT: [Step; 1] = [Step { to: NEXT, changes: rehearsal }];
static BROKEN: [Step; 1] = [Step { to: NEXT, changes: failing }];

fn next(steps: &'static [Step]) -> Limits {
    Limits { layout: Layout { number: NEXT, steps }, ..Limits::default() }
}

fn options() -> StoreOptions {
    StoreOptions { cache_bytes: 1 << 20, ..StoreOptions::in_memory(MASTER) }
}

fn schema(store: &Store) -> u32 {
    let row: Schema = store.get(TENANT, Table::Meta, &meta::schema()).unwrap().unwrap();
    row.schema
}

/// A history and the row that the rehearsal moves.
fn fill(store: &Store) {
    let mut txn = Txn::new();
    store.put(&mut txn, TENANT, Table::Meta, place(), &5_i64).unwrap();
    block_on(async {
        store.commit(txn).await.unwrap();
        commit(store, 0, 40, 9).await;
    });
}

/// Whether the whole store is as one layout wants it.
fn judge(store: &Store) -> u32 {
    let old: Option<i64> = store.get(TENANT, Table::Meta, &place()).unwrap();
    let new: Option<i64> = store.get(TENANT, Table::Meta, &place().next()).unwrap();
    match schema(store) {
        NEXT => assert_eq!((old, new), (None, Some(15))),
        before => assert_eq!((before, old, new), (LAYOUT.number, Some(5), None)),
    }
    assert_eq!(count(store), 40);
    let seen = read_all(store, 40);
    assert!(seen.missing == 0 && seen.errors.is_empty(), "{seen:?}");
    schema(store)
}

#[test]
fn a_migration_killed_at_any_write_leaves_the_old_layout_or_the_new_one() {
    quiet_redb();
    let disk = Disk::default();
    let store = open_with(&disk, &options(), Limits::default()).unwrap();
    fill(&store);
    block_on(store.close());
    let image = disk.content();
    let (mut old, mut new, mut cuts) = (0, 0, 0);
    for at in 0.. {
        let mut finished = false;
        for sync in [false, true] {
            let mut dice = Dice::new(at * 2 + u64::from(sync));
            let disk = Disk::with_content(image.clone());
            disk.cut_after(at, sync);
            if let Ok(store) = open_with(&disk, &options(), next(&TO_NEXT)) {
                finished = !disk.is_dead();
                drop(store);
            }
            cuts += 1;
            // The old program opens it, or says that it is too new.
            let after = disk.after_cut(&mut dice);
            match open_with(&Disk::with_content(after.content()), &options(), Limits::default()) {
                Ok(store) => {
                    assert_eq!(judge(&store), LAYOUT.number, "cut after {at}");
                    old += 1;
                }
                Err(OpenError::Newer { found, known, .. }) => {
                    assert_eq!((found, known), (NEXT, LAYOUT.number));
                    new += 1;
                }
                Err(error) => panic!("cut after {at}: {error}"),
            }
            // The new program finishes it.
            let store = open_with(&after, &options(), next(&TO_NEXT)).unwrap();
            assert_eq!(judge(&store), NEXT, "cut after {at}");
        }
        if finished {
            break;
        }
    }
    println!("a migration was cut {cuts} times: {old} left the old layout, {new} the new one");
    assert!(old > 5 && new > 2, "{old} {new}");
}

#[test]
fn after_three_tries_it_is_refused_with_the_way_back_until_a_person_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let options = StoreOptions::in_dir(dir.path(), MASTER);
    let open = |limits: Limits| open::directory(dir.path(), &options, limits).map(Store::from_inner);
    let store = open(Limits::default()).unwrap();
    fill(&store);
    drop(store);
    for _ in 0..3 {
        let error = open(next(&BROKEN)).unwrap_err();
        assert!(error.to_string().contains("the step ended by a fault"), "{error}");
    }
    let backups = || {
        std::fs::read_dir(dir.path())
            .unwrap()
            .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().ends_with(".aurabk"))
            .count()
    };
    assert_eq!(backups(), 1, "one backup for all tries");
    let refused = open(next(&TO_NEXT)).unwrap_err().to_string();
    assert!(refused.contains("it was tried 3 times") && refused.contains("aurad migrate"), "{refused}");
    // The program before still opens it; nothing was lost by the tries.
    let store = open(Limits::default()).unwrap();
    assert_eq!(judge(&store), LAYOUT.number);
    drop(store);
    // A person has it tried again.
    Store::migrate(&options).unwrap();
    drop(open(next(&TO_NEXT)).unwrap());
    let newer = open(Limits::default()).unwrap_err().to_string();
    assert!(newer.contains(&format!("layout {NEXT}")) && newer.contains("`aura restore "), "{newer}");
    assert!(newer.contains("before-layout-"), "{newer}");
}

#[test]
fn the_backup_before_a_migration_brings_the_old_layout_back() {
    let dir = tempfile::tempdir().unwrap();
    let (data, back) = (dir.path().join("data"), dir.path().join("back"));
    let options = StoreOptions::in_dir(&data, MASTER);
    let store = Store::open(&options).unwrap();
    fill(&store);
    drop(store);
    drop(open::directory(&data, &options, next(&TO_NEXT)).unwrap());
    let backup = std::fs::read_dir(&data).unwrap().map(|entry| entry.unwrap().path());
    let backup = backup.into_iter().find(|path| path.extension().is_some_and(|ending| ending == "aurabk")).unwrap();
    crate::archive::restore(&backup, &back, &MASTER, 1, &crate::archive::Progress::default()).unwrap();
    let store = Store::open(&StoreOptions::in_dir(&back, MASTER)).unwrap();
    assert_eq!(judge(&store), LAYOUT.number);
    assert!(store.paused().unwrap().is_some());
}

static TIMES: AtomicU32 = AtomicU32::new(0);

fn counted(_: &dyn Snapshot) -> Result<Vec<Change>, Fault> {
    TIMES.fetch_add(1, Ordering::Relaxed);
    Ok(Vec::new())
}

static COUNTED: [Step; 1] = [Step { to: NEXT, changes: counted }];

#[test]
fn a_store_of_this_layout_is_not_migrated_again() {
    let dir = tempfile::tempdir().unwrap();
    let options = StoreOptions::in_dir(dir.path(), MASTER);
    drop(open::directory(dir.path(), &options, Limits::default()).unwrap());
    for _ in 0..3 {
        drop(open::directory(dir.path(), &options, next(&COUNTED)).unwrap());
    }
    assert_eq!(TIMES.load(Ordering::Relaxed), 1);
}
