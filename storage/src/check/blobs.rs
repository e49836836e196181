//! Blobs: every reference of a journal leads to one, and each is counted exactly as often as rows refer to it.
//!
//! Part of the deep check. Memory grows with the number of blobs (about 100 bytes each), not with their size.

use std::collections::BTreeMap;

use aura_protocol::BlobRef;
use aura_protocol::run::Transition;

use super::{Check, tenant_of};
use crate::rows::blob_key;
use crate::seal;
use crate::table::{Key, Table};

impl Check<'_> {
    /// Recounts the references to every blob.
    pub(super) fn blobs(&mut self) {
        let mut referred: BTreeMap<Key, u64> = BTreeMap::new();
        self.each(Table::Journal, |check, key, stored| {
            let Some(tenant) = tenant_of(key) else { return };
            // A damaged value is a finding already.
            let Some(transition) = check.opened::<Transition>(Table::Journal, key, stored) else { return };
            for BlobRef { hash, .. } in transition.blobs() {
                let blob = blob_key(tenant, hash);
                let count = referred.entry(blob.clone()).or_default();
                *count += 1;
                if *count == 1 && !check.exists(Table::Blobs, &blob) {
                    check.add(Table::Journal, key, format!("the stored value {} it refers to is missing", blob.hex()));
                }
            }
        });
        self.each(Table::BlobCounts, |check, key, stored| {
            let Some(count) = seal::unplain_value::<u64>(Table::BlobCounts, key, stored) else { return };
            let found = referred.get(key).copied().unwrap_or(0);
            if count != found {
                check.add(Table::BlobCounts, key, format!("{found} rows refer to it and {count} are counted"));
            }
            if !check.exists(Table::Blobs, key) {
                check.add(Table::BlobCounts, key, "it counts a stored value that is missing");
            }
        });
        for key in referred.keys() {
            if !self.exists(Table::BlobCounts, key) {
                self.add(Table::Blobs, key, "rows refer to it and nothing is counted");
            }
        }
        self.each(Table::Blobs, |check, key, _| {
            if !check.exists(Table::BlobCounts, key) && !referred.contains_key(key) {
                check.add(Table::Blobs, key, "nothing refers to it, and it is not counted");
            }
        });
    }
}
