//! Long pieces of work on the store: backup, compaction, what takes room; and the export of what was stored.
//!
//! One is at work at a time. A call starts it and answers at once; [`JobQuery`] waits for news of it, so a lost link
//! loses nothing and a large store needs no long call.

use serde::{Deserialize, Serialize};

/// `aura backup`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupRequest {
    /// File or directory on the daemon's machine, absolute; none: `backups` in the data directory.
    pub to: Option<String>,
}

/// Which job, and how long to wait for news.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobQuery {
    /// Its number.
    pub job: u64,
    /// Answer after this long at the latest (≤ 10 s), earlier when it ends.
    pub wait_ms: u32,
}

/// A piece of work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// Its number.
    pub job: u64,
    /// `backup`, `compact`, `du` or `scrub`.
    pub work: String,
    /// Bytes done of the part at work.
    pub done: u64,
    /// Bytes of that part; 0 while nobody knows.
    pub total: u64,
    /// How it ended, if it has.
    pub ended: Option<Ended>,
}

/// How a piece of work ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ended {
    /// A backup was made and read back.
    Backup(BackupDone),
    /// The store was compacted.
    Compact(CompactDone),
    /// Room was counted.
    Usage(StoreUse),
    /// Every value was opened.
    Scrub {
        /// Values.
        rows: u64,
        /// Values that did not open.
        damaged: u64,
    },
    /// It failed.
    Failed(crate::error::WireError),
}

/// Sums of a table in a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupTable {
    /// Its name.
    pub table: String,
    /// Rows.
    pub rows: u64,
    /// Bytes of keys and values.
    pub bytes: u64,
    /// SHA-256 over its rows.
    pub sha256: String,
}

/// A backup that was read back whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupDone {
    /// The file, on the daemon's machine.
    pub file: String,
    /// Its size.
    pub bytes: u64,
    /// When the snapshot was taken, Unix milliseconds.
    pub created_ms: i64,
    /// Layout of the store in it.
    pub layout: u32,
    /// Program that wrote it.
    pub program: String,
    /// Meaning of its journals.
    pub semantics: u32,
    /// Newest cursor in it.
    pub cursor: u64,
    /// What it holds.
    pub tables: Vec<BackupTable>,
    /// Records that were damaged in the store already; the first 100.
    pub damaged: Vec<String>,
    /// How many in all.
    pub damaged_rows: u64,
    /// How long it took, with reading it back.
    pub took_ms: u64,
}

/// A compaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompactDone {
    /// Bytes of the file before.
    pub before: u64,
    /// Bytes of the file after.
    pub after: u64,
    /// How long deliveries were answered 503.
    pub took_ms: u64,
}

/// Room of one table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableRoom {
    /// Its name.
    pub table: String,
    /// Rows.
    pub rows: u64,
    /// Bytes of keys and values.
    pub bytes: u64,
}

/// Room of one flow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowRoom {
    /// Its name.
    pub flow: String,
    /// Runs.
    pub runs: u64,
    /// Held and dropped events.
    pub events: u64,
    /// Rows of them and of their journals.
    pub rows: u64,
    /// Bytes of keys and values.
    pub bytes: u64,
}

/// What takes room.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreUse {
    /// Bytes of the file.
    pub file_bytes: u64,
    /// Tables in their order.
    pub tables: Vec<TableRoom>,
    /// Flows, the largest first.
    pub flows: Vec<FlowRoom>,
}

/// `aura resume`: what began.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resumed {
    /// It was paused; false: there was nothing to do.
    pub was_paused: bool,
    /// Unfinished runs that go on.
    pub runs: u64,
    /// Runs with a step in doubt, which wait for a person.
    pub in_doubt: u64,
}

/// A window of `aura flow export --runs`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportQuery {
    /// Only of this flow.
    pub flow: Option<String>,
    /// Runs with their journals and events too, not only flows.
    pub runs: bool,
    /// Where the window before ended; empty: from the beginning.
    pub after: String,
}

/// Lines of JSON, oldest run first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportPage {
    /// One JSON object each, with `kind`: `flow`, `run`, `transition` or `event`.
    pub lines: Vec<String>,
    /// Where to go on; none: this was all.
    pub next: Option<String>,
}
