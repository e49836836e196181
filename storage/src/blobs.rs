//! Large values, kept once by their content: sealed by workers, counted by the writer.
//!
//! A blob exists exactly while its count does, and its count is the number of journal rows that refer to it: the
//! same transaction writes the row and holds the blob. Content that is there already is not written again.
//! `check` recounts. The record inside the seal is `version ‖ LZ4 block with its length before it`.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use aura_protocol::{BlobRef, TenantId};

use crate::backend::Fault;
use crate::rows::blob_key;
use crate::seal;
use crate::store::{CommitError, ReadError, Store};
use crate::table::{Key, Table};
use crate::txn::{BlobChange, Txn};

/// Values whose encoding is longer than this many bytes become blobs.
pub const BLOB_MIN: usize = 64 * 1024;
/// Bytes of one blob at most, before compression.
pub const BLOB_MAX: usize = 64 * 1024 * 1024;

/// Version of the record inside the seal.
const RECORD: u8 = 1;

/// A row to write or to remove.
type Change = (Table, Key, Option<Vec<u8>>);

/// A blob whose references change.
struct Held {
    before: u64,
    now: u64,
    content: Option<Arc<[u8]>>,
}

/// The rows that changes of references lead to, or why they do not apply; `read` sees what is there before them.
pub(crate) fn counted(
    changes: &[BlobChange],
    mut read: impl FnMut(Table, &Key) -> Result<Option<Vec<u8>>, Fault>,
) -> Result<Result<Vec<Change>, CommitError>, Fault> {
    if changes.is_empty() {
        return Ok(Ok(Vec::new()));
    }
    let mut held: BTreeMap<&Key, Held> = BTreeMap::new();
    for change in changes {
        let (BlobChange::Hold { key, .. } | BlobChange::Release { key }) = change;
        if let Entry::Vacant(place) = held.entry(key) {
            let before = match read(Table::BlobCounts, key)? {
                None => 0,
                Some(stored) => match seal::unplain_value(Table::BlobCounts, key, &stored) {
                    Some(count) => count,
                    None => {
                        let message = format!("the count of the blob {} is damaged", key.hex());
                        return Ok(Err(CommitError::Io(message)));
                    }
                },
            };
            place.insert(Held { before, now: before, content: None });
        }
    }
    // What a transaction holds counts before what it releases, so that content does not go and come back.
    for change in changes {
        let BlobChange::Hold { key, content } = change else { continue };
        let Some(blob) = held.get_mut(key) else { continue };
        if blob.now == 0 {
            blob.content.clone_from(content);
            if content.is_none() {
                return Ok(Err(CommitError::Conflict(Table::Blobs)));
            }
        }
        blob.now = blob.now.saturating_add(1);
    }
    for change in changes {
        let BlobChange::Release { key } = change else { continue };
        let Some(blob) = held.get_mut(key) else { continue };
        if blob.now == 0 {
            tracing::warn!(blob = %key.hex(), "a blob is released that nothing holds; run `aura doctor --deep`");
        }
        blob.now = blob.now.saturating_sub(1);
    }
    let mut rows = Vec::with_capacity(held.len());
    for (key, blob) in held {
        if blob.now == blob.before {
            continue;
        }
        if blob.now == 0 {
            rows.push((Table::Blobs, key.clone(), None));
            rows.push((Table::BlobCounts, key.clone(), None));
            continue;
        }
        if let (0, Some(content)) = (blob.before, blob.content) {
            rows.push((Table::Blobs, key.clone(), Some(content.to_vec())));
        }
        let count = seal::plain_value(Table::BlobCounts, key, &blob.now);
        rows.push((Table::BlobCounts, key.clone(), Some(count.map_err(|error| Fault::Io(error.to_string()))?)));
    }
    Ok(Ok(rows))
}

impl Txn {
    /// Bytes of the blobs that it brings.
    pub(crate) fn blob_bytes(&self) -> usize {
        let content = |change: &BlobChange| match change {
            BlobChange::Hold { content: Some(content), .. } => 128 + content.len(),
            BlobChange::Hold { .. } | BlobChange::Release { .. } => 128,
        };
        self.blobs.iter().map(content).sum()
    }
}

/// A blob that was compressed and sealed, ready to ride in a transaction.
#[derive(Clone, Debug)]
pub struct SealedBlob {
    /// What rows hold.
    pub blob: BlobRef,
    /// What [`Txn::hold_blob`] takes.
    pub content: Arc<[u8]>,
}

impl Store {
    /// Names, compresses and seals content; nothing is stored yet. Takes about 3 ms per MiB.
    ///
    /// # Errors
    /// It is larger than [`BLOB_MAX`], or the tenant's keys cannot be read or stored.
    pub fn seal_blob(&self, tenant: TenantId, content: &[u8]) -> Result<SealedBlob, ReadError> {
        if content.len() > BLOB_MAX {
            return Err(ReadError::Io(format!("a value of {} bytes is too large to be stored", content.len())));
        }
        let keys = self.0.keys_or_new(tenant)?;
        let blob = BlobRef {
            hash: keys.index_hash("blob", &[content]),
            bytes: u64::try_from(content.len()).unwrap_or(u64::MAX),
        };
        let mut record = vec![RECORD];
        record.extend_from_slice(&lz4_flex::block::compress_prepend_size(content));
        let sealed = seal::seal(keys.data(), Table::Blobs, &blob_key(tenant, blob.hash), &record)?;
        Ok(SealedBlob { blob, content: sealed.into() })
    }

    /// The content of a blob; `None` if it is not there.
    ///
    /// # Errors
    /// The disk failed, or the content is not what was written.
    pub fn blob(&self, tenant: TenantId, blob: BlobRef) -> Result<Option<Vec<u8>>, ReadError> {
        let key = blob_key(tenant, blob.hash);
        let Some(stored): Option<Vec<u8>> = self.0.stored(Table::Blobs, &key)? else { return Ok(None) };
        let keys = self.0.keys_or_new(tenant)?;
        match unsealed(keys.data(), &key, &stored) {
            Some(content) if u64::try_from(content.len()) == Ok(blob.bytes) => Ok(Some(content)),
            _ => Err(ReadError::damaged(Table::Blobs, &key)),
        }
    }
}

/// The content of a stored row, if its seal fits.
pub(crate) fn unsealed(data_key: &[u8; 32], key: &Key, stored: &[u8]) -> Option<Vec<u8>> {
    let record = seal::unseal(data_key, Table::Blobs, key, stored)?;
    let block = record.strip_prefix(&[RECORD])?;
    let length = u32::from_le_bytes(*block.first_chunk::<4>()?);
    if usize::try_from(length).ok()? > BLOB_MAX {
        return None;
    }
    lz4_flex::block::decompress_size_prepended(block).ok()
}
