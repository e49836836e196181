//! Where rows live: the one contract of all backends.
//!
//! Everything that crosses it is owned data: no closures, no borrowing iterators, no types of a database, so
//! that a backend may as well be a server. [`Backend::write`] is atomic and durable when it returns, or
//! nothing of it may ever be seen as acknowledged. Backends never panic: they answer a [`Fault`].
//! `redb` is the file, `memory` the reference; `open` chooses.

pub(crate) mod memory;
pub(crate) mod redb;

use crate::table::{Key, Table};

/// Why a backend could not do it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Fault {
    /// The disk or the file system refused.
    #[error("{0}")]
    Io(String),
    /// There is no room left.
    #[error("{0}")]
    Full(String),
    /// The file is not as it was written.
    #[error("{0}")]
    Damaged(String),
}

/// One row written, or removed if there is no value.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    pub table: Table,
    pub key: Key,
    pub value: Option<Vec<u8>>,
}

/// A key with its stored value.
pub(crate) type Row = (Key, Vec<u8>);

/// One state of the store that no later commit changes.
pub(crate) trait Snapshot: Send {
    /// One row.
    fn read(&self, table: Table, key: &Key) -> Result<Option<Vec<u8>>, Fault>;
    /// Rows of `from..to`, at most `limit`, newest first with `backwards`.
    fn range(&self, table: Table, from: &Key, to: &Key, limit: usize, backwards: bool) -> Result<Vec<Row>, Fault>;
    /// Rows from a key on, in order: at most `rows_max`, and no further one once they hold `bytes_max` bytes.
    fn page(&self, table: Table, from: &Key, rows_max: usize, bytes_max: usize) -> Result<Vec<Row>, Fault>;
}

/// A place for rows.
pub(crate) trait Backend: Send + Sync + std::fmt::Debug {
    /// What is committed now.
    fn snapshot(&self) -> Result<Box<dyn Snapshot>, Fault>;
    /// Commits all changes at once; they are durable when it returns. Called by one thread only. Answers by how
    /// many bytes of keys and values the rows grew.
    fn write(&self, changes: Vec<Change>) -> Result<i64, Fault>;
    /// As [`Backend::write`], and creates these tables in the same commit if they are missing.
    fn adopt(&self, tables: &[Table], changes: Vec<Change>) -> Result<i64, Fault>;
    /// The tables of this layout are there, each with the types that we gave it.
    fn complete(&self, layout: u32) -> Result<(), Fault>;
    /// Gives space that is not used back to the file system; waits a while until nobody reads an older state.
    /// Called between two commits. Reads that begin meanwhile wait.
    fn compact(&self) -> Result<(), Fault>;
    /// Lets go of what failed and opens it anew: only what is on the disk counts. Nothing is committed by it.
    /// Called by the writer only; readers wait meanwhile.
    fn reopen(&self) -> Result<(), Fault>;
    /// Whether a commit could be tried; after an I/O error it answers that error until [`Backend::reopen`].
    fn healthy(&self) -> Result<(), Fault>;
    /// Bytes on disk (or in memory).
    fn bytes(&self) -> u64;
    /// Nothing has been stored yet.
    fn is_fresh(&self) -> bool;
    /// The last end was no clean close, and everything was verified while opening.
    fn was_repaired(&self) -> bool;
    /// Verifies a copy of all pages, and that the copy holds the newest commit (told by a row with its value).
    /// One sentence per fault found. Called between two commits.
    fn verify(&self, table: Table, key: &Key, value: &[u8]) -> Result<Vec<String>, Fault>;
    /// Writes out and closes; later calls answer [`Fault::Io`].
    fn close(&self) -> Result<(), Fault>;
}

/// By how many bytes a row grows with a change.
fn growth(key: &Key, before: Option<usize>, after: Option<usize>) -> i64 {
    let bytes = |value: Option<usize>| value.map_or(0, |value| i64::try_from(key.0.len() + value).unwrap_or(i64::MAX));
    bytes(after) - bytes(before)
}

/// Every key of a table.
pub(crate) fn all() -> (Key, Key) {
    (Key::new(), Key(vec![u8::MAX; 80]))
}

/// Lets a thread of ours, never one of the runtime, rest for a while.
pub(crate) fn rest(time: std::time::Duration) {
    let (_nobody, never) = std::sync::mpsc::sync_channel::<()>(0);
    let _ = never.recv_timeout(time);
}
