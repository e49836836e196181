//! What takes how much room: rows and bytes by table and by flow, counted on one snapshot.
//!
//! Bytes are those of keys and values as stored; the file is larger by its pages and by what is free in it.

use std::collections::{BTreeMap, VecDeque};

use aura_protocol::event::EventRow;
use aura_protocol::run::RunHead;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::archive::{ArchiveError, Progress};
use crate::backend::{Row, Snapshot};
use crate::store::Store;
use crate::table::{Key, Table};

/// Rows and bytes read at a time.
const PAGE_ROWS: usize = 1_024;
/// See [`PAGE_ROWS`].
const PAGE_BYTES: usize = 512 * 1024;
/// Most flows that are counted apart; the rest goes together.
const FLOWS_MAX: usize = 10_000;

/// One table.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableUse {
    /// Its name.
    pub table: String,
    /// Rows.
    pub rows: u64,
    /// Bytes of keys and values.
    pub bytes: u64,
}

/// One flow: its runs with their journals, and its held and dropped events.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowUse {
    /// Its name.
    pub flow: String,
    /// Runs.
    pub runs: u64,
    /// Held and dropped events.
    pub events: u64,
    /// Rows.
    pub rows: u64,
    /// Bytes of keys and values.
    pub bytes: u64,
}

/// Everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Bytes of the file.
    pub file_bytes: u64,
    /// Tables, in their order.
    pub tables: Vec<TableUse>,
    /// Flows, the largest first.
    pub flows: Vec<FlowUse>,
}

fn weight((key, value): &Row) -> u64 {
    u64::try_from(key.0.len() + value.len()).unwrap_or(0)
}

/// The rows of a table one after the other, read in pages.
struct Rows<'a> {
    snapshot: &'a dyn Snapshot,
    table: Table,
    from: Key,
    page: VecDeque<Row>,
    ended: bool,
    sum: TableUse,
}

impl<'a> Rows<'a> {
    fn new(snapshot: &'a dyn Snapshot, table: Table) -> Self {
        let sum = TableUse { table: table.name().to_owned(), ..TableUse::default() };
        Self { snapshot, table, from: Key::new(), page: VecDeque::new(), ended: false, sum }
    }

    fn peek(&mut self, progress: &Progress) -> Result<Option<&Row>, ArchiveError> {
        if self.page.is_empty() && !self.ended {
            progress.go_on()?;
            let rows = self.snapshot.page(self.table, &self.from, PAGE_ROWS, PAGE_BYTES)?;
            match rows.last() {
                Some((last, _)) if *last >= self.from => self.from = last.next(),
                _ => self.ended = true,
            }
            if !self.ended {
                self.page = rows.into();
            }
        }
        Ok(self.page.front())
    }

    fn next(&mut self, progress: &Progress) -> Result<Option<Row>, ArchiveError> {
        self.peek(progress)?;
        let row = self.page.pop_front();
        if let Some(row) = &row {
            self.sum.rows += 1;
            self.sum.bytes += weight(row);
            progress.add(row.0.0.len() + row.1.len());
        }
        Ok(row)
    }
}

#[derive(Default)]
struct Flows(BTreeMap<String, FlowUse>);

impl Flows {
    fn of(&mut self, name: &str) -> &mut FlowUse {
        let name = if self.0.len() < FLOWS_MAX || self.0.contains_key(name) { name } else { "(others)" };
        self.0.entry(name.to_owned()).or_insert_with(|| FlowUse { flow: name.to_owned(), ..FlowUse::default() })
    }
}

impl Store {
    /// Counts everything. Blocks the calling thread: it reads the whole store.
    ///
    /// # Errors
    /// The disk failed, or it was asked to stop. Rows whose value is damaged are counted under `(damaged)`.
    pub fn usage(&self, progress: &Progress) -> Result<Usage, ArchiveError> {
        let inner = self.inner();
        let snapshot = inner.shared.backend.snapshot()?;
        let snapshot = snapshot.as_ref();
        progress.begin(self.bytes());
        let mut flows = Flows::default();
        let mut journal = Rows::new(snapshot, Table::Journal);
        let mut tables = Vec::new();
        for table in Table::ALL.iter().copied().filter(|table| *table != Table::Journal) {
            let mut rows = Rows::new(snapshot, table);
            while let Some(row) = rows.next(progress)? {
                match table {
                    Table::Runs => {
                        let head: Option<RunHead> = self.value(table, &row);
                        let flow = flows.of(head.as_ref().map_or("(damaged)", |head| head.flow.as_str()));
                        flow.runs += 1;
                        flow.rows += 1;
                        flow.bytes += weight(&row);
                        // Journals stand in the order of their runs.
                        while journal.peek(progress)?.is_some_and(|(key, _)| before_end(key, &row.0)) {
                            let Some(row_of_run) = journal.next(progress)? else { break };
                            flow.rows += 1;
                            flow.bytes += weight(&row_of_run);
                        }
                    }
                    Table::Events => {
                        let event: Option<EventRow> = self.value(table, &row);
                        let flow = flows.of(event.as_ref().map_or("(damaged)", |event| event.flow.as_str()));
                        flow.events += 1;
                        flow.rows += 1;
                        flow.bytes += weight(&row);
                    }
                    _ => {}
                }
            }
            tables.push((table, rows.sum));
        }
        while journal.next(progress)?.is_some() {}
        tables.push((Table::Journal, journal.sum));
        tables.sort_by_key(|(table, _)| *table);
        let tables = tables.into_iter().map(|(_, sum)| sum).collect();
        let mut flows: Vec<FlowUse> = flows.0.into_values().collect();
        flows.sort_by(|one, other| other.bytes.cmp(&one.bytes).then_with(|| one.flow.cmp(&other.flow)));
        Ok(Usage { file_bytes: self.bytes(), tables, flows })
    }

    fn value<T: DeserializeOwned>(&self, table: Table, (key, stored): &Row) -> Option<T> {
        let tenant = key.id_at(0).map(aura_protocol::TenantId::from_bytes)?;
        self.inner().opened(tenant, table, key, stored).ok()
    }
}

/// Whether a journal key belongs to a run or to one before it.
fn before_end(journal: &Key, run: &Key) -> bool {
    journal.0.get(..run.0.len()).is_some_and(|prefix| prefix <= run.0.as_slice())
}
