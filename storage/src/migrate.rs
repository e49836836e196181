//! Layouts of the store: what this program reads and writes, and the steps that bring an older store to it.
//!
//! A step is one transaction: its changes and the new number are committed together, so a store is at layout N or
//! N+1 and never between, wherever the power goes. Steps run in the order of [`Layout::steps`] after a verified
//! backup. Tries are counted in the store before they begin: after [`TRIES_MAX`] that did not come to an end the
//! start is refused instead of repeated for ever. To change the layout: a step here, its number in [`LAYOUT`],
//! [`Table::since`] for new tables, and a store of the release before in `tests/golden`.

use std::panic::{AssertUnwindSafe, catch_unwind};

use serde::{Deserialize, Serialize};

use crate::backend::{Backend, Change, Fault, Snapshot};
use crate::seal;
use crate::table::{Key, Table};
use crate::writer::{Schema, meta, stored};

/// What one step changes, told from the store as it is before it.
pub(crate) type Changes = fn(&dyn Snapshot) -> Result<Vec<Change>, Fault>;

/// One step; tables of the layout it leads to are created with it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Step {
    /// The layout it leads to, from the one before.
    pub to: u32,
    /// Rows that it writes and removes.
    pub changes: Changes,
}

/// A layout and the way to it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Layout {
    /// Its number.
    pub number: u32,
    /// The steps to it, oldest first.
    pub steps: &'static [Step],
}

/// The layout that this program reads and writes.
pub(crate) const LAYOUT: Layout = Layout {
    number: 7,
    steps: &[
        only_tables_of(2),
        only_tables_of(3),
        only_tables_of(4),
        only_tables_of(5),
        only_tables_of(6),
        only_tables_of(7),
    ],
};

/// A step that only brings new tables.
const fn only_tables_of(to: u32) -> Step {
    Step { to, changes: only_tables }
}

/// For steps that only bring new tables.
fn only_tables(_: &dyn Snapshot) -> Result<Vec<Change>, Fault> {
    Ok(Vec::new())
}

/// Tries of a migration that may be cut short or fail.
pub(crate) const TRIES_MAX: u32 = 3;

/// How often a migration was begun (row of `Meta`; only there while one is not done).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Tries {
    /// Layout it leads to.
    to: u32,
    /// Begun this often.
    begun: u32,
}

/// How a migration ended.
#[derive(Debug)]
pub(crate) enum Unmigrated {
    /// It was tried too often; nothing was done this time.
    TooOften,
    /// The backup before it failed, so it was not begun.
    Backup(String),
    /// A step failed; the store is at this layout.
    Step(u32, Fault),
    /// The store could not be read or written.
    Fault(Fault),
}

/// Brings a store from an older layout to `layout`; `backup` runs once before the first step.
pub(crate) fn run(
    backend: &dyn Backend,
    layout: Layout,
    found: u32,
    backup: impl FnOnce() -> Result<(), String>,
) -> Result<(), Unmigrated> {
    let tries = begun(backend).map_err(Unmigrated::Fault)?;
    let begun = tries.filter(|tries| tries.to == layout.number).map_or(0, |tries| tries.begun);
    if begun >= TRIES_MAX {
        return Err(Unmigrated::TooOften);
    }
    let tries = stored(Table::Meta, &meta::tries(), &Tries { to: layout.number, begun: begun + 1 });
    let tries = tries.map_err(Unmigrated::Fault)?;
    let count = Change { table: Table::Meta, key: meta::tries(), value: Some(tries) };
    backend.write(vec![count]).map_err(Unmigrated::Fault)?;
    // After the count, so that a disk that fills up with backups does so three times at most.
    backup().map_err(Unmigrated::Backup)?;
    let mut at = found;
    for step in layout.steps.iter().filter(|step| step.to > found) {
        if step.to != at + 1 {
            break;
        }
        one(backend, *step, step.to == layout.number).map_err(|fault| Unmigrated::Step(at, fault))?;
        tracing::info!(from = at, to = step.to, "the store was brought to a newer layout");
        at = step.to;
    }
    if at != layout.number {
        return Err(Unmigrated::Step(at, Fault::Damaged(format!("this program has no step from layout {at}"))));
    }
    Ok(())
}

/// Forgets tries that came to no end, so that a person can have it tried again.
pub(crate) fn forget_tries(backend: &dyn Backend) -> Result<(), Fault> {
    backend.write(vec![Change { table: Table::Meta, key: meta::tries(), value: None }]).map(drop)
}

fn begun(backend: &dyn Backend) -> Result<Option<Tries>, Fault> {
    let row = backend.snapshot()?.read(Table::Meta, &meta::tries())?;
    row.map(|row| {
        seal::unplain_value(Table::Meta, &meta::tries(), &row)
            .ok_or_else(|| Fault::Damaged("its row of tries is damaged".into()))
    })
    .transpose()
}

fn one(backend: &dyn Backend, step: Step, last: bool) -> Result<(), Fault> {
    let snapshot = backend.snapshot()?;
    let changes = catch_unwind(AssertUnwindSafe(|| (step.changes)(snapshot.as_ref())));
    let mut changes =
        changes.unwrap_or_else(|_| Err(Fault::Damaged("the step ended by a fault of the program".into())))?;
    drop(snapshot);
    let schema = Schema { schema: step.to, program: env!("CARGO_PKG_VERSION").to_owned() };
    let row = |key: Key, value: Option<Vec<u8>>| Change { table: Table::Meta, key, value };
    changes.push(row(meta::schema(), Some(stored(Table::Meta, &meta::schema(), &schema)?)));
    if last {
        changes.push(row(meta::tries(), None));
    }
    // The backend takes changes table by table.
    changes.sort_by_key(|change| change.table);
    let tables: Vec<Table> = Table::ALL.iter().copied().filter(|table| table.since() == step.to).collect();
    backend.adopt(&tables, changes).map(drop)
}
