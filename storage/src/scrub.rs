//! The scrub: opens every stored value, slowly, so that rot is found before somebody needs the record.
//!
//! Each page of rows comes from a snapshot of its own, so an old state is never held for long; a row that goes
//! meanwhile is no finding. What does not open is named, never repaired and never served.

use std::time::{Duration, Instant};

use aura_protocol::TenantId;
use serde::{Deserialize, Serialize};

use crate::archive::{ArchiveError, Progress, read};
use crate::backend::{self, Fault};
use crate::check::Finding;
use crate::store::{CommitError, ReadError, Store};
use crate::table::{Key, Table};
use crate::txn::Txn;
use crate::writer::meta;

/// Rows and bytes looked at between two pauses.
const PAGE_ROWS: usize = 512;
/// See [`PAGE_ROWS`].
const PAGE_BYTES: usize = 256 * 1024;
/// Longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// Most damaged records that are named.
const FINDINGS_MAX: usize = 1_000;

/// What the last scrub found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scrubbed {
    /// When it ended, Unix milliseconds.
    pub at_ms: i64,
    /// Values opened.
    pub rows: u64,
    /// Bytes of keys and values.
    pub bytes: u64,
    /// Values that did not open.
    pub damaged: u64,
}

impl Store {
    /// Opens every value; pauses `pace` times as long as it works (0: not at all). Blocks the calling thread.
    ///
    /// # Errors
    /// The disk failed, or it was asked to stop.
    pub fn scrub(&self, now_ms: i64, pace: u32, progress: &Progress) -> Result<(Scrubbed, Vec<Finding>), ArchiveError> {
        let inner = self.inner();
        let mut seen = Scrubbed { at_ms: now_ms, ..Scrubbed::default() };
        let mut found = Vec::new();
        progress.begin(self.bytes());
        for table in Table::ALL {
            let mut from = Key::new();
            loop {
                progress.go_on()?;
                let began = Instant::now();
                let rows = match inner.shared.backend.snapshot()?.page(*table, &from, PAGE_ROWS, PAGE_BYTES) {
                    // The other tables are looked at all the same.
                    Err(Fault::Damaged(_)) => {
                        found.push(Finding::damage(table.name(), "the table cannot be read to its end"));
                        break;
                    }
                    rows => rows?,
                };
                let Some((last, _)) = rows.last() else { break };
                from = last.next();
                for (key, value) in &rows {
                    let bytes = key.0.len() + value.len();
                    seen.rows += 1;
                    seen.bytes += u64::try_from(bytes).unwrap_or(0);
                    progress.add(bytes);
                    if !read::fits(&inner.vault, *table, key, value) {
                        seen.damaged += 1;
                        if found.len() < FINDINGS_MAX {
                            let subject = format!("{} {}", table.name(), key.hex());
                            found.push(Finding::damage(subject, "its value is damaged"));
                        }
                    }
                }
                if pace > 0 {
                    backend::rest(began.elapsed().saturating_mul(pace).min(PAUSE_MAX));
                }
            }
        }
        Ok((seen, found))
    }

    /// What the last scrub found, if there was one.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn scrubbed(&self) -> Result<Option<Scrubbed>, ReadError> {
        self.get(TenantId::DEFAULT, Table::Meta, &meta::scrubbed())
    }

    /// Remembers what a scrub found.
    ///
    /// # Errors
    /// As [`Store::commit`].
    pub async fn remember_scrub(&self, seen: &Scrubbed) -> Result<(), CommitError> {
        let mut txn = Txn::new();
        self.put(&mut txn, TenantId::DEFAULT, Table::Meta, meta::scrubbed(), seen)
            .map_err(|error| CommitError::Io(error.to_string()))?;
        self.commit(txn).await.map(drop)
    }
}
