//! The handle everybody uses. (Contract; the implementation follows.)

use std::path::PathBuf;
use std::sync::Arc;

use aura_protocol::TenantId;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::table::{Key, Table};
use crate::txn::{DedupeEntry, TailEntry, Txn};

/// Where and how.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    /// Directory of `aura.redb`; `None` for the memory backend.
    pub dir: Option<PathBuf>,
    /// The master key.
    pub master: [u8; 32],
    /// Page cache in bytes (default 32 MiB).
    pub cache_bytes: usize,
    /// Longest queue of waiting transactions.
    pub queue_max: usize,
}

/// Why the store did not open: one sentence each.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Anything; refined by the implementation.
    #[error("{0}")]
    Other(String),
}

/// Why a transaction was not committed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommitError {
    /// A row was there or was not.
    #[error("a row of {0:?} is not as expected")]
    Conflict(Table),
    /// The disk failed: whether it is committed is unknown.
    #[error("the store could not write: {0}")]
    Io(String),
    /// The store is closed.
    #[error("the store is closed")]
    Closed,
}

/// Why something could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The value's seal or checksum does not fit: it is never served.
    #[error("the record {record} of {table:?} is damaged")]
    Corrupt {
        /// Table.
        table: Table,
        /// Key in hex.
        record: String,
    },
    /// The disk failed.
    #[error("the store could not read: {0}")]
    Io(String),
}

/// A committed transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Committed {
    /// Cursor of its group.
    pub cursor: u64,
}

/// A place in the writer's queue.
#[derive(Debug)]
pub struct Permit(());

/// Resolves when the group with this transaction is durable.
#[derive(Debug)]
pub struct Receipt(());

impl Receipt {
    /// Waits for the commit.
    ///
    /// # Errors
    /// Conflict, I/O, closed.
    pub async fn committed(self) -> Result<Committed, CommitError> {
        Err(CommitError::Closed)
    }
}

impl Permit {
    /// Hands over a transaction. Order of calls is order of commits.
    #[must_use]
    pub fn submit(self, _txn: Txn) -> Receipt {
        Receipt(())
    }
}

/// The store. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Store(Arc<()>);

/// A page of the tail.
#[derive(Clone, Debug, Default)]
pub struct TailPage {
    /// Entries by group, with the group's cursor.
    pub groups: Vec<(u64, Vec<TailEntry>)>,
    /// The cursor asked for is older than what is kept.
    pub cut: bool,
}

/// A finding of a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Is this damage (else a note)?
    pub damage: bool,
    /// What was looked at.
    pub subject: String,
    /// What was found.
    pub message: String,
}

impl Store {
    /// Opens or creates a store; checks schema version, key and structure.
    ///
    /// # Errors
    /// One sentence: wrong key, newer file, truncated file, another daemon, full disk.
    pub fn open(_options: &StoreOptions) -> Result<Self, OpenError> {
        Err(OpenError::Other("not written yet".into()))
    }
    /// Waits for a place in the queue.
    ///
    /// # Errors
    /// Closed.
    pub async fn reserve(&self) -> Result<Permit, CommitError> {
        Err(CommitError::Closed)
    }
    /// A place in the queue if there is one now; `None`: overloaded.
    #[must_use]
    pub fn try_reserve(&self) -> Option<Permit> {
        None
    }
    /// Reserve, submit and wait.
    ///
    /// # Errors
    /// As [`Receipt::committed`].
    pub async fn commit(&self, txn: Txn) -> Result<Committed, CommitError> {
        self.reserve().await?.submit(txn).committed().await
    }
    /// Seals a value (or adds its checksum, for plain tables) and adds the put to a transaction.
    pub fn put<T: Serialize>(
        &self,
        _txn: &mut Txn,
        _tenant: TenantId,
        _table: Table,
        _key: Key,
        _value: &T,
    ) -> Result<(), ReadError> {
        Ok(())
    }
    /// Reads one row.
    pub fn get<T: DeserializeOwned>(
        &self,
        _tenant: TenantId,
        _table: Table,
        _key: &Key,
    ) -> Result<Option<T>, ReadError> {
        Ok(None)
    }
    /// Reads rows of `from..to` in order (newest first with `backwards`), at most `limit`.
    pub fn scan<T: DeserializeOwned>(
        &self,
        _tenant: TenantId,
        _table: Table,
        _from: &Key,
        _to: &Key,
        _limit: usize,
        _backwards: bool,
    ) -> Result<Vec<(Key, T)>, ReadError> {
        Ok(Vec::new())
    }
    /// Groups after a cursor.
    pub fn tail_after(&self, _cursor: u64, _groups_max: usize) -> Result<TailPage, ReadError> {
        Ok(TailPage::default())
    }
    /// The newest cursor, as it grows.
    #[must_use]
    pub fn newest(&self) -> tokio::sync::watch::Receiver<u64> {
        tokio::sync::watch::channel(0).1
    }
    /// What a dedupe key led to, also if its transaction is still on its way.
    #[must_use]
    pub fn dedupe_find(&self, _tenant: TenantId, _hash: &[u8; 16], _now_ms: i64) -> Option<DedupeEntry> {
        None
    }
    /// Remembers a key in memory at once; the same entry must ride in the transaction submitted next.
    pub fn dedupe_remember(&self, _entry: DedupeEntry) {}
    /// HMAC under the tenant's index key, for keys made of foreign text.
    #[must_use]
    pub fn index_hash(&self, _tenant: TenantId, _label: &str, _parts: &[&[u8]]) -> [u8; 16] {
        [0; 16]
    }
    /// The idempotency key of a step: `aura_` + base32(HMAC(tenant key, run ‖ path))[..26].
    #[must_use]
    pub fn step_key(&self, _tenant: TenantId, _run: aura_protocol::RunId, _path: &str) -> String {
        String::new()
    }
    /// Number of this start, one more at each open.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        0
    }
    /// Becomes `Some(sentence)` when the disk failed: the daemon must end.
    #[must_use]
    pub fn failed(&self) -> tokio::sync::watch::Receiver<Option<String>> {
        tokio::sync::watch::channel(None).1
    }
    /// Bytes of the file.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        0
    }
    /// Structure (numbers without gaps, live rows with their timers) and, if deep, every value and page.
    pub fn check(&self, _deep: bool) -> Result<Vec<Finding>, ReadError> {
        Ok(Vec::new())
    }
    /// Commits what waits and closes the file.
    pub async fn close(&self) {}
}
