//! Blobs: kept once, counted exactly, never served changed; the deep check finds what does not fit.

use std::collections::BTreeMap;

use aura_protocol::run::{Record, Transition};
use aura_protocol::{BlobRef, Value};
use proptest::prelude::*;

use super::support::{MASTER, TENANT, block_on, live, on_both, run};
use crate::rows::{blob_key, journal_key, run_key};
use crate::store::{CommitError, ReadError, Store, StoreOptions};
use crate::table::Table;
use crate::txn::Txn;

fn content(number: u8) -> Vec<u8> {
    format!("a large value number {number}; ").repeat(4_000).into_bytes()
}

fn hold(store: &Store, txn: &mut Txn, number: u8) -> BlobRef {
    let sealed = store.seal_blob(TENANT, &content(number)).unwrap();
    txn.hold_blob(blob_key(TENANT, sealed.blob.hash), Some(sealed.content));
    sealed.blob
}

fn named(store: &Store, number: u8) -> BlobRef {
    store.seal_blob(TENANT, &content(number)).unwrap().blob
}

fn count(store: &Store, blob: BlobRef) -> Option<u64> {
    store.get(TENANT, Table::BlobCounts, &blob_key(TENANT, blob.hash)).unwrap()
}

#[test]
fn equal_content_is_kept_once_and_goes_with_its_last_reference() {
    on_both(async |place| {
        let store = place.open();
        let mut txn = Txn::new();
        let first = hold(&store, &mut txn, 1);
        let again = hold(&store, &mut txn, 1);
        assert_eq!(first, again, "the same content has the same name");
        store.commit(txn).await.unwrap();
        assert_eq!(count(&store, first), Some(2));
        let sealed = store.0.stored(Table::Blobs, &blob_key(TENANT, first.hash)).unwrap().unwrap();
        assert!(sealed.len() < content(1).len() / 10, "compressed: {} bytes", sealed.len());
        assert_eq!(store.blob(TENANT, first).unwrap(), Some(content(1)));
        // Another reference does not write the content again: the sealed bytes, with their nonce, stay.
        let mut txn = Txn::new();
        hold(&store, &mut txn, 1);
        store.commit(txn).await.unwrap();
        assert_eq!(store.0.stored(Table::Blobs, &blob_key(TENANT, first.hash)).unwrap().unwrap(), sealed);
        store.close().await;
        let store = place.open();
        for left in [Some(2), Some(1), None] {
            let mut txn = Txn::new();
            txn.release_blob(blob_key(TENANT, first.hash));
            store.commit(txn).await.unwrap();
            assert_eq!(count(&store, first), left);
        }
        assert_eq!(store.blob(TENANT, first).unwrap(), None);
        store.close().await;
    });
}

#[test]
fn a_reference_to_what_is_not_there_is_a_conflict_and_leaves_no_trace() {
    on_both(async |place| {
        let store = place.open();
        let (missing, mut txn) = (named(&store, 2), Txn::new());
        store.put(&mut txn, TENANT, Table::Runs, run_key(TENANT, run(1)), &1_u8).unwrap();
        let other = hold(&store, &mut txn, 3);
        txn.hold_blob(blob_key(TENANT, missing.hash), None);
        assert_eq!(store.commit(txn).await, Err(CommitError::Conflict(Table::Blobs)));
        assert_eq!(count(&store, other), None);
        assert_eq!(store.get::<u8>(TENANT, Table::Runs, &run_key(TENANT, run(1))).unwrap(), None);
        // Within one group a later transaction sees what an earlier one holds.
        let (mut bring, mut refer) = (Txn::new(), Txn::new());
        hold(&store, &mut bring, 2);
        refer.hold_blob(blob_key(TENANT, missing.hash), None);
        let receipts = [store.reserve().await.unwrap().submit(bring), store.reserve().await.unwrap().submit(refer)];
        for receipt in receipts {
            receipt.committed().await.unwrap();
        }
        assert_eq!(count(&store, missing), Some(2));
        // To release and to hold in one transaction keeps it.
        let mut txn = Txn::new();
        txn.release_blob(blob_key(TENANT, missing.hash));
        txn.release_blob(blob_key(TENANT, missing.hash));
        txn.hold_blob(blob_key(TENANT, missing.hash), None);
        store.commit(txn).await.unwrap();
        assert_eq!((count(&store, missing), store.blob(TENANT, missing).unwrap()), (Some(1), Some(content(2))));
        store.close().await;
    });
}

#[test]
fn a_changed_blob_is_never_served() {
    on_both(async |place| {
        let store = place.open();
        let mut txn = Txn::new();
        let blob = hold(&store, &mut txn, 4);
        store.commit(txn).await.unwrap();
        let key = blob_key(TENANT, blob.hash);
        let sealed = store.0.stored(Table::Blobs, &key).unwrap().unwrap();
        for at in [0, 10, 60, sealed.len() - 1] {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            let mut txn = Txn::new();
            txn.puts.push((Table::Blobs, key.clone(), changed));
            store.commit(txn).await.unwrap();
            assert!(matches!(store.blob(TENANT, blob), Err(ReadError::Corrupt { .. })), "byte {at}");
        }
        let longer = BlobRef { bytes: blob.bytes + 1, ..blob };
        let mut txn = Txn::new();
        txn.puts.push((Table::Blobs, key, sealed));
        store.commit(txn).await.unwrap();
        assert!(store.blob(TENANT, longer).is_err(), "not of the length that was referred to");
        store.close().await;
    });
}

/// A run whose only transition refers to blobs.
fn journaled(store: &Store, txn: &mut Txn, blobs: &[BlobRef]) {
    let output = Value::List(blobs.iter().map(|blob| Value::Blob(*blob)).collect());
    let record = Record::Completed { path: "a".into(), attempt: 1, output };
    let transition = Transition { number: 1, at_ms: 5, records: vec![record.clone(), record] };
    assert_eq!(transition.blobs(), blobs.iter().copied().collect());
    store.put(txn, TENANT, Table::Journal, journal_key(TENANT, run(1), 1), &transition).unwrap();
    store.put(txn, TENANT, Table::Runs, run_key(TENANT, run(1)), &super::history::head(0)).unwrap();
    store.put(txn, TENANT, Table::Live, run_key(TENANT, run(1)), &live(1, None)).unwrap();
}

#[test]
fn the_deep_check_finds_dangling_references_and_wrong_counts() {
    on_both(async |place| {
        let store = place.open();
        let found = || {
            let findings = store.check(true).unwrap();
            findings.into_iter().map(|finding| format!("{}: {}", finding.subject, finding.message)).collect::<Vec<_>>()
        };
        let mut txn = Txn::new();
        let (one, two) = (hold(&store, &mut txn, 1), hold(&store, &mut txn, 2));
        journaled(&store, &mut txn, &[one, two]);
        store.commit(txn).await.unwrap();
        assert_eq!(found(), Vec::<String>::new(), "all fits");
        let one_key = blob_key(TENANT, one.hash);
        let mut more = Txn::new();
        more.hold_blob(one_key.clone(), None);
        store.commit(more).await.unwrap();
        assert_eq!(found(), [format!("blob_counts {}: 1 rows refer to it and 2 are counted", one_key.hex())]);
        let mut less = Txn::new();
        less.release_blob(one_key.clone());
        less.delete(Table::Blobs, blob_key(TENANT, two.hash));
        store.commit(less).await.unwrap();
        let listed = found();
        assert_eq!(listed.len(), 2, "{listed:?}");
        assert!(listed[0].starts_with("journal ") && listed[0].ends_with("it refers to is missing"), "{listed:?}");
        assert!(listed[1].ends_with("it counts a stored value that is missing"), "{listed:?}");
        let mut gone = Txn::new();
        gone.delete(Table::BlobCounts, blob_key(TENANT, two.hash));
        gone.delete(Table::Journal, journal_key(TENANT, run(1), 1));
        gone.delete(Table::Live, run_key(TENANT, run(1)));
        gone.delete(Table::Runs, run_key(TENANT, run(1)));
        gone.delete(Table::BlobCounts, one_key.clone());
        store.commit(gone).await.unwrap();
        assert_eq!(found(), [format!("blobs {}: nothing refers to it, and it is not counted", one_key.hex())]);
        store.close().await;
    });
}

#[derive(Clone, Debug)]
enum Act {
    Hold(u8, bool),
    Release(u8),
}

/// What a transaction must do to counts: holds first, then releases.
fn apply(model: &mut BTreeMap<u8, u64>, acts: &[Act]) -> bool {
    let mut next = model.clone();
    for act in acts {
        if let Act::Hold(number, with_content) = act {
            let count = next.entry(*number).or_default();
            if *count == 0 && !with_content {
                return false;
            }
            *count += 1;
        }
    }
    for act in acts {
        if let Act::Release(number) = act {
            let count = next.entry(*number).or_default();
            *count = count.saturating_sub(1);
        }
    }
    next.retain(|_, count| *count > 0);
    *model = next;
    true
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn counts_agree_with_a_model(groups in proptest::collection::vec(
        proptest::collection::vec(proptest::collection::vec(
            prop_oneof![
                (0_u8..3, any::<bool>()).prop_map(|(number, content)| Act::Hold(number, content)),
                (0_u8..3).prop_map(Act::Release),
            ], 1..4), 1..5), 1..6))
    {
        block_on(async {
            let store = Store::open(&StoreOptions::in_memory(MASTER)).unwrap();
            let mut model = BTreeMap::new();
            for group in &groups {
                let mut receipts = Vec::new();
                for acts in group {
                    let mut txn = Txn::new();
                    for act in acts {
                        match act {
                            Act::Hold(number, true) => drop(hold(&store, &mut txn, *number)),
                            Act::Hold(number, false) => {
                                txn.hold_blob(blob_key(TENANT, named(&store, *number).hash), None);
                            }
                            Act::Release(number) => txn.release_blob(blob_key(TENANT, named(&store, *number).hash)),
                        }
                    }
                    receipts.push(store.reserve().await.unwrap().submit(txn));
                }
                for (acts, receipt) in group.iter().zip(receipts) {
                    assert_eq!(receipt.committed().await.is_ok(), apply(&mut model, acts), "{acts:?}");
                }
                for number in 0..3 {
                    let blob = named(&store, number);
                    let there = store.blob(TENANT, blob).unwrap().map(|bytes| bytes == content(number));
                    assert_eq!(count(&store, blob), model.get(&number).copied());
                    assert_eq!(there, model.contains_key(&number).then_some(true));
                }
            }
            store.close().await;
        });
    }
}
