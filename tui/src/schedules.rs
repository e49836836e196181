//! Schedules as the screens know them: all rows of one answer, and which of them a person changed since.
//!
//! Invariant: nothing is asked from here; [`Schedules::stale`] says that what is known may be old.

use std::collections::BTreeMap;

use aura_protocol::rpc::{ScheduleInfo, ScheduleRef};

/// What is known.
#[derive(Debug, Default)]
pub struct Schedules {
    /// By flow and trigger.
    pub rows: BTreeMap<(String, String), ScheduleInfo>,
    /// They were read.
    pub known: bool,
    /// Something happened since.
    pub stale: bool,
}

/// What a row is known by.
#[must_use]
pub fn key(row: &ScheduleInfo) -> (String, String) {
    (row.flow.clone(), row.trigger.clone())
}

/// It as a question names it.
#[must_use]
pub fn named(row: &ScheduleInfo) -> ScheduleRef {
    ScheduleRef { flow: row.flow.clone(), trigger: Some(row.trigger.clone()) }
}

impl Schedules {
    /// Takes a whole list.
    pub fn take(&mut self, rows: Vec<ScheduleInfo>) {
        self.rows = rows.into_iter().map(|row| (key(&row), row)).collect();
        self.known = true;
    }

    /// Takes one row that was changed; its further instants come with the next list.
    pub fn put(&mut self, row: ScheduleInfo) {
        self.rows.insert(key(&row), row);
        self.stale = true;
    }

    /// Soonest first; what is not due comes last, by name.
    #[must_use]
    pub fn in_order(&self) -> Vec<&ScheduleInfo> {
        let mut rows: Vec<&ScheduleInfo> = self.rows.values().collect();
        rows.sort_by_key(|row| begins(row).unwrap_or(i64::MAX));
        rows
    }
}

/// When the next run of a schedule begins.
#[must_use]
pub fn begins(row: &ScheduleInfo) -> Option<i64> {
    row.begins.first().or(row.next.first()).copied()
}
