//! Backups: a whole store in one sealed file, written from a snapshot, proved by reading it back.
//!
//! File: magic (12) ‖ salt (32) ‖ key check (16), then frames `length (4) ‖ ciphertext ‖ tag (16)` of at most 1 MiB
//! each, sealed with XChaCha20-Poly1305 under a key of this archive alone (HKDF of the master key and the salt); the
//! nonce is the frame's number and whether it is the last, so nothing can be cut, moved or put in. Inside: a head,
//! the rows of each table in order, and sums per table. It holds the wrapped tenant keys and never the master key.
//! `write` makes one, `read` proves one, `restore` makes a store of one.

pub(crate) mod frames;
pub(crate) mod read;
pub(crate) mod restore;
pub(crate) mod write;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::backend::Fault;
use crate::open::OpenError;
use crate::table::{Key, Table};
use crate::vault::Vault;

/// Ending of a backup's file name.
pub const ENDING: &str = "aurabk";
/// Largest row of an archive, in bytes: a longer one is damage.
const ROW_MAX: usize = 64 * 1024 * 1024;
/// Most damaged records that are named.
const DAMAGED_MAX: usize = 100;

/// Why there is no backup, or no store of it: one sentence each.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The key is another one.
    #[error("the master key does not fit the backup {0}; use the key of the store that it was made from")]
    WrongKey(String),
    /// Not one of our files.
    #[error("{0} is not a backup of aura")]
    Foreign(String),
    /// Cut short or changed.
    #[error("the backup {path} is damaged: {reason}; nothing was restored from it, take another one")]
    Damaged {
        /// The file.
        path: String,
        /// What was found.
        reason: String,
    },
    /// A newer program wrote it.
    #[error(
        "the backup {path} has layout {found} (written by aura {program}) and this program knows layouts up to {known}; use the newer program"
    )]
    Newer {
        /// The file.
        path: String,
        /// Its layout.
        found: u32,
        /// Newest layout of this program.
        known: u32,
        /// Version of the program that wrote it.
        program: String,
    },
    /// The target is in use.
    #[error("{0}")]
    Target(String),
    /// The disk or the system refused.
    #[error("{0}")]
    Io(String),
    /// Somebody asked for the end.
    #[error("stopped before it was done; nothing was left behind")]
    Stopped,
}

impl ArchiveError {
    pub(crate) fn io(what: &str, path: &Path, error: &std::io::Error) -> Self {
        Self::Io(format!("could not {what} {}: {error}", path.display()))
    }
    pub(crate) fn damaged(path: &Path, reason: impl Into<String>) -> Self {
        Self::Damaged { path: path.display().to_string(), reason: reason.into() }
    }
}

impl From<Fault> for ArchiveError {
    fn from(fault: Fault) -> Self {
        Self::Io(format!("the store could not be read or written: {fault}"))
    }
}

impl From<OpenError> for ArchiveError {
    fn from(error: OpenError) -> Self {
        Self::Target(error.to_string())
    }
}

/// How far a long piece of work is; others read it, and may ask for its end.
#[derive(Debug, Default)]
pub struct Progress {
    /// Bytes done.
    pub done: AtomicU64,
    /// Bytes in all, as far as known; 0: not known.
    pub total: AtomicU64,
    /// Set: end soon, leave nothing behind.
    pub stop: AtomicBool,
}

impl Progress {
    /// Adds what was done.
    pub(crate) fn add(&self, bytes: usize) {
        self.done.fetch_add(u64::try_from(bytes).unwrap_or(0), Ordering::Relaxed);
    }
    /// Begins a part of so many bytes.
    pub(crate) fn begin(&self, total: u64) {
        self.done.store(0, Ordering::Relaxed);
        self.total.store(total, Ordering::Relaxed);
    }
    pub(crate) fn go_on(&self) -> Result<(), ArchiveError> {
        if self.stop.load(Ordering::Relaxed) { Err(ArchiveError::Stopped) } else { Ok(()) }
    }
}

/// What a backup says at its front.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Layout of the store.
    pub layout: u32,
    /// Program that made the backup.
    pub program: String,
    /// Meaning of journals.
    pub semantics: u32,
    /// When the snapshot was taken, Unix milliseconds.
    pub created_ms: i64,
    /// Newest cursor in it.
    pub cursor: u64,
}

/// Sums of one table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableSum {
    /// Its name.
    pub table: String,
    /// Rows.
    pub rows: u64,
    /// Bytes of keys and values.
    pub bytes: u64,
    /// SHA-256 over all its rows in order, in hexadecimal.
    pub sha256: String,
}

/// What a backup holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The head.
    pub head: Head,
    /// Sums of every table.
    pub tables: Vec<TableSum>,
}

/// A backup that was read back whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proved {
    /// What it holds.
    pub manifest: Manifest,
    /// Bytes of the file.
    pub file_bytes: u64,
    /// Records whose value was damaged already in the store: table and key, the first 100.
    pub damaged: Vec<String>,
    /// How many in all.
    pub damaged_rows: u64,
}

/// Reads a backup whole and gives what it holds; nothing is written anywhere.
///
/// # Errors
/// Another master key, not a backup, cut short or changed, from a newer program.
pub fn verify(path: &Path, master: &[u8; 32], progress: &Progress) -> Result<Proved, ArchiveError> {
    read::prove(path, &Vault::new(master), progress)
}

/// Makes a paused store of a backup in an empty directory, or in one that is not there yet.
///
/// # Errors
/// As [`verify`], or the directory is not empty, or the disk failed: nothing is left behind.
pub fn restore(
    path: &Path,
    dir: &Path,
    master: &[u8; 32],
    now_ms: i64,
    progress: &Progress,
) -> Result<Proved, ArchiveError> {
    restore::restore(path, dir, &Vault::new(master), now_ms, progress)
}

/// Sums while rows go by.
#[derive(Default)]
pub(crate) struct Sum {
    rows: u64,
    bytes: u64,
    hash: Sha256,
}

impl Sum {
    pub(crate) fn add(&mut self, key: &Key, value: &[u8]) {
        let length = |bytes: &[u8]| u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        self.rows += 1;
        self.bytes += length(&key.0) + length(value);
        self.hash.update(length(&key.0).to_be_bytes());
        self.hash.update(&key.0);
        self.hash.update(length(value).to_be_bytes());
        self.hash.update(value);
    }
    pub(crate) fn end(self, table: Table) -> TableSum {
        use std::fmt::Write as _;
        let digest = self.hash.finalize();
        let sha256 = digest.iter().fold(String::with_capacity(64), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        });
        TableSum { table: table.name().to_owned(), rows: self.rows, bytes: self.bytes, sha256 }
    }
}

/// A file that goes away unless it is kept.
pub(crate) struct Draft(Option<PathBuf>);

impl Draft {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self(Some(path))
    }
    pub(crate) fn keep(mut self) {
        self.0 = None;
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if let Some(path) = self.0.take() {
            let _ = std::fs::remove_file(path);
        }
    }
}
