//! A full disk: the transaction fails with a sentence, nothing is half there, and a reopen finds all acks.

use super::history::{count, quiet_redb, read_all, transaction};
use super::support::{MASTER, block_on};
use crate::faults::{Disk, open};
use crate::store::{CommitError, StoreOptions};
use crate::txn::Txn;

#[test]
fn a_full_disk_fails_the_store_and_loses_nothing() {
    quiet_redb();
    let options = StoreOptions { cache_bytes: 1 << 20, ..StoreOptions::in_memory(MASTER) };
    let disk = Disk::default();
    block_on(open(&disk, &options).unwrap().close());
    for extra in [0, 400_000, 3_000_000] {
        disk.limit(Some(disk.content().len() as u64 + extra));
        let store = match open(&disk, &options) {
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
            let sentence = loop {
                match store.commit(transaction(&store, number).unwrap()).await {
                    Ok(_) => number += 1,
                    Err(CommitError::Io(sentence)) => break sentence,
                    Err(other) => panic!("{other}"),
                }
                assert!(number < 20_000, "the disk never fills");
            };
            assert!(sentence.contains("the disk is full"), "{sentence}");
            let failed = store.failed().borrow().clone().unwrap_or_default();
            assert!(failed.contains("the disk is full") && failed.contains("start again"), "{failed}");
            let later = store.commit(transaction(&store, number).unwrap()).await;
            assert!(matches!(later, Err(CommitError::Io(_))), "{later:?}");
            let barrier = store.commit(Txn::new()).await;
            assert!(matches!(barrier, Err(CommitError::Io(_))), "nothing is promised after a failure: {barrier:?}");
            store.close().await;
            number
        });
        disk.limit(None);
        let store = open(&disk, &options).unwrap();
        let there = count(&store);
        assert!(there == acked || there == acked + 1, "{there} of {acked}");
        let seen = read_all(&store, there);
        assert!(seen.missing == 0 && seen.errors.is_empty(), "{seen:?}");
        assert_eq!(store.check(true), Ok(vec![]));
        block_on(store.commit(transaction(&store, there).unwrap())).unwrap();
        block_on(store.close());
    }
}

#[test]
fn a_disk_without_room_for_a_new_store_is_a_sentence() {
    quiet_redb();
    let disk = Disk::default();
    disk.limit(Some(4_096));
    let error = open(&disk, &StoreOptions::in_memory(MASTER)).unwrap_err().to_string();
    assert!(error.contains("the disk is full"), "{error}");
}
