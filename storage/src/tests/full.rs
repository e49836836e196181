//! A full disk, and a writer that panics: the transaction fails with a sentence, nothing is half there, and what was acknowledged is there.

use std::time::Duration;

use super::history::{count, quiet_redb, read_all, transaction};
use super::support::{MASTER, TENANT, block_on, put};
use crate::backend::memory::Memory;
use crate::backend::{Backend, Change, Fault, Snapshot};
use crate::faults::{Disk, open as open_on, open_with};
use crate::open;
use crate::store::{CommitError, Standing, Store, StoreOptions};
use crate::table::{Key, Table};
use crate::txn::Txn;
use crate::writer::Limits;

#[test]
fn a_full_disk_loses_nothing_serves_readers_and_goes_on_when_there_is_room() {
    quiet_redb();
    let options = StoreOptions { cache_bytes: 1 << 20, ..StoreOptions::in_memory(MASTER) };
    let limits = Limits { again_after: Duration::from_millis(5), ..Limits::default() };
    let disk = Disk::default();
    block_on(open_on(&disk, &options).unwrap().close());
    for extra in [0, 400_000, 3_000_000] {
        disk.limit(Some(disk.content().len() as u64 + extra));
        let store = match open_with(&disk, &options, limits) {
            Ok(store) => store,
            Err(error) => {
                assert!(error.to_string().contains("the disk is full"), "{error}");
                assert_eq!(extra, 0, "there was room for a start");
                disk.limit(None);
                continue;
            }
        };
        let mut number = count(&store);
        let acked = block_on(async {
            let mut standing = store.standing();
            let sentence = loop {
                match store.commit(transaction(&store, number).unwrap()).await {
                    Ok(_) => number += 1,
                    // The rest of the room may be enough for a small commit: then it goes on until that is used up.
                    Err(CommitError::Io(_)) if matches!(*standing.borrow(), Standing::Good(_)) => {
                        let there = count(&store);
                        assert!(there == number || there == number + 1, "{there} of {number}");
                        number = there;
                    }
                    Err(CommitError::Io(sentence)) => break sentence,
                    Err(other) => panic!("{other}"),
                }
                assert!(number < 20_000, "the disk never fills");
            };
            assert!(sentence.contains("the disk is full"), "{sentence}");
            let pinned = store.pinned();
            let epoch = store.epoch();
            // It tries again and again, and nothing is promised meanwhile.
            standing.wait_for(|standing| matches!(standing, Standing::Full(_))).await.unwrap();
            let seen = read_all(&store, count(&store));
            assert!(seen.missing == 0 && seen.errors.is_empty(), "readers are served: {seen:?}");
            assert_eq!(*store.failed().borrow(), None, "a full disk ends nothing");
            disk.limit(None);
            standing.wait_for(|standing| matches!(standing, Standing::Good(_))).await.unwrap();
            assert!(store.epoch() > epoch);
            assert_eq!(pinned.commit(Txn::new()).await, Err(CommitError::Reopened));
            let there = count(&store);
            assert!(there == number || there == number + 1, "{there} of {number}");
            store.commit(transaction(&store, there).unwrap()).await.unwrap();
            store.close().await;
            there + 1
        });
        let store = open_on(&disk, &options).unwrap();
        assert_eq!(count(&store), acked);
        let seen = read_all(&store, acked);
        assert!(seen.missing == 0 && seen.errors.is_empty(), "{seen:?}");
        assert_eq!(store.check(true), Ok(vec![]));
        block_on(store.close());
    }
}

#[test]
fn a_disk_without_room_for_a_new_store_is_a_sentence() {
    quiet_redb();
    let disk = Disk::default();
    disk.limit(Some(4_096));
    let error = open_on(&disk, &StoreOptions::in_memory(MASTER)).unwrap_err().to_string();
    assert!(error.contains("the disk is full"), "{error}");
}

/// A backend with a fault of the program in it.
#[derive(Debug)]
struct Panicking(Memory);

impl Backend for Panicking {
    fn adopt(&self, _: &[Table], changes: Vec<Change>) -> Result<i64, Fault> {
        self.write(changes)
    }
    fn complete(&self, _: u32) -> Result<(), Fault> {
        Ok(())
    }
    fn compact(&self) -> Result<(), Fault> {
        Ok(())
    }
    fn snapshot(&self) -> Result<Box<dyn Snapshot>, Fault> {
        self.0.snapshot()
    }
    fn write(&self, changes: Vec<Change>) -> Result<i64, Fault> {
        assert!(!changes.iter().any(|change| change.table == Table::Flows), "deliberate: redb-like panic");
        self.0.write(changes)
    }
    fn reopen(&self) -> Result<(), Fault> {
        self.0.reopen()
    }
    fn healthy(&self) -> Result<(), Fault> {
        self.0.healthy()
    }
    fn bytes(&self) -> u64 {
        self.0.bytes()
    }
    fn is_fresh(&self) -> bool {
        self.0.is_fresh()
    }
    fn was_repaired(&self) -> bool {
        false
    }
    fn verify(&self, _: Table, _: &Key, _: &[u8]) -> Result<Vec<String>, Fault> {
        panic!("deliberate: redb-like panic")
    }
    fn close(&self) -> Result<(), Fault> {
        self.0.close()
    }
}

#[test]
fn a_panic_in_the_writer_fails_the_store_and_hangs_nobody() {
    let memory = Memory::default();
    let backend = std::sync::Arc::new(Panicking(memory.clone()));
    let inner = open::start(backend, "memory", &StoreOptions::in_memory(MASTER), Limits::default(), None).unwrap();
    let store = Store::from_inner(inner);
    block_on(async {
        assert!(store.check(true).is_err(), "a check that panics is an error");
        let key = Key::tenant(TENANT).number(1);
        store.commit(put(&store, Table::Versions, key.clone(), "fine")).await.unwrap();
        let broken = store.commit(put(&store, Table::Flows, key.clone(), "breaks")).await;
        assert!(matches!(broken, Err(CommitError::Io(_))), "{broken:?}");
        assert!(store.failed().borrow().is_some());
        assert!(store.commit(put(&store, Table::Versions, key.clone(), "later")).await.is_err());
        assert_eq!(store.get::<String>(TENANT, Table::Versions, &key), Ok(Some("fine".into())), "reads go on");
        store.close().await;
    });
    let inner =
        open::start(std::sync::Arc::new(memory), "memory", &StoreOptions::in_memory(MASTER), Limits::default(), None);
    assert_eq!(Store::from_inner(inner.unwrap()).check(true), Ok(vec![]), "no false alarm afterwards");
}
