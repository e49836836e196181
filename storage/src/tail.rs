//! The tail: one row per group commit that says what happened, in ids only.
//!
//! Cursors grow by exactly one per row, so a missing row is seen. The row also carries the group's dedupe
//! entries until they are folded into a segment; rows not folded yet are never trimmed.

use serde::{Deserialize, Serialize};

use crate::backend::Snapshot;
use crate::dedupe;
use crate::seal;
use crate::store::{ReadError, TailPage};
use crate::table::{Key, Table};
use crate::txn::{DedupeEntry, TailEntry};

/// Most groups that one page holds.
const PAGE_MAX: usize = 10_000;

/// A row of the tail.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct TailRow {
    /// What happened.
    pub entries: Vec<TailEntry>,
    /// Dedupe entries in their fixed form, see [`dedupe`].
    #[serde(with = "serde_bytes")]
    pub dedupe: Vec<u8>,
    /// Bytes of all rows before this group, see [`crate::Store::stored`].
    #[serde(default)]
    pub bytes: Option<u64>,
}

impl TailRow {
    pub(crate) fn new(entries: Vec<TailEntry>, dedupe: &[DedupeEntry], bytes: u64) -> Self {
        Self { entries, dedupe: dedupe::pack(dedupe), bytes: Some(bytes) }
    }
}

/// The key of a cursor.
pub(crate) fn key(cursor: u64) -> Key {
    Key::new().number(cursor)
}

/// The first and the last cursor kept; `(1, 0)` if there is none.
pub(crate) fn bounds(snapshot: &dyn Snapshot) -> Result<(u64, u64), crate::backend::Fault> {
    let (from, to) = crate::backend::all();
    let end = |backwards| -> Result<Option<u64>, _> {
        let rows = snapshot.range(Table::Tail, &from, &to, 1, backwards)?;
        Ok(rows.first().and_then(|(key, _)| key.number_at(0)))
    };
    Ok(end(false)?.zip(end(true)?).unwrap_or((1, 0)))
}

/// What the newest row says about the bytes of all rows.
pub(crate) fn bytes(snapshot: &dyn Snapshot, last: u64) -> Result<Option<u64>, crate::backend::Fault> {
    let key = key(last);
    let stored = snapshot.read(Table::Tail, &key)?;
    Ok(stored.and_then(|stored| seal::unplain_value::<TailRow>(Table::Tail, &key, &stored)).and_then(|row| row.bytes))
}

/// The groups after a cursor, up to the newest announced: a client never holds a cursor that is not known yet.
pub(crate) fn after(
    snapshot: &dyn Snapshot,
    cursor: u64,
    newest: u64,
    groups_max: usize,
) -> Result<TailPage, ReadError> {
    let fault = |fault| ReadError::of(Table::Tail, &key(cursor), fault);
    if cursor > newest {
        return Ok(TailPage { groups: Vec::new(), cut: true });
    }
    let (first, _) = bounds(snapshot).map_err(fault)?;
    let cut = cursor.saturating_add(1) < first;
    let from = if cut { first } else { cursor + 1 };
    let rows = snapshot
        .range(Table::Tail, &key(from), &key(newest.saturating_add(1)), groups_max.min(PAGE_MAX), false)
        .map_err(fault)?;
    if rows.is_empty() && groups_max > 0 && cursor < newest {
        return Err(ReadError::damaged(Table::Tail, &key(from)));
    }
    let mut groups = Vec::with_capacity(rows.len());
    for (expected, (row_key, stored)) in (from..).zip(rows) {
        let row: Option<TailRow> = seal::unplain_value(Table::Tail, &row_key, &stored);
        // A cursor left out means that its row is gone: the tail has no gaps.
        let (Some(row), true) = (row, row_key == key(expected)) else {
            return Err(ReadError::damaged(Table::Tail, &key(expected)));
        };
        groups.push((expected, row.entries));
    }
    Ok(TailPage { groups, cut })
}
