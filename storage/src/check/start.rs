//! The check of every start: what lives, and the runs created last, beside everything else that goes on.
//!
//! Bounded: it looks at so many unfinished runs, timers and held events, at the newest numbers of each of their
//! journals, and at the list rows created last. Each page comes from a snapshot of its own and is followed by a
//! rest, so no old state is held for long and nobody waits for it.

use std::time::{Duration, Instant};

use aura_protocol::run::RunHead;

use super::{Check, Finding, tenant_of};
use crate::archive::{ArchiveError, Progress};
use crate::backend::{self, Fault, all};
use crate::rows::LiveRow;
use crate::store::Store;
use crate::table::{Key, Table};

/// Rows of each of the tables that is looked at, at most.
const ROWS_MAX: u64 = 100_000;
/// Runs created last that are looked at, whatever their state.
const RECENT: usize = 256;
/// Newest numbers of one journal that are looked at …
const NUMBERS: usize = 256;
/// … so many at a time.
const AT_ONCE: usize = 32;
/// Rows looked at between two rests.
const PAGE: usize = 256;
/// It rests this many times as long as it works, at most so long at a time.
const PACE: u32 = 2;
const REST_MAX: Duration = Duration::from_millis(250);

/// What the check of a start saw.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StartCheck {
    /// Unfinished runs.
    pub live: u64,
    /// Runs created last.
    pub recent: u64,
    /// Nothing was left out because of its number.
    pub whole: bool,
    /// What was found, and what opening the store found.
    pub found: Vec<Finding>,
}

impl Store {
    /// Looks at what lives and at the runs created last. Blocks the calling thread; commits go on meanwhile.
    ///
    /// # Errors
    /// The disk failed, or it was asked to stop. Damage is a finding, not an error.
    pub fn check_start(&self, progress: &Progress) -> Result<StartCheck, ArchiveError> {
        let mut seen = StartCheck { whole: true, found: self.inner().found.clone(), ..StartCheck::default() };
        let small: [(Table, Visit); 3] = [
            (Table::Meta, |check, key, stored| check.value(Table::Meta, key, stored)),
            (Table::Tenants, |check, key, stored| check.value(Table::Tenants, key, stored)),
            (Table::Counters, |check, key, stored| check.value(Table::Counters, key, stored)),
        ];
        for (table, visit) in small {
            self.pages(table, &mut seen, progress, visit)?;
        }
        seen.live = self.pages(Table::Live, &mut seen, progress, |check, key, stored| check.live_row(key, stored))?;
        self.pages(Table::Timers, &mut seen, progress, |check, key, stored| check.timer_row(key, stored))?;
        self.pages(Table::Held, &mut seen, progress, |check, key, stored| check.held_row(key, stored))?;
        self.recent(&mut seen)?;
        Ok(seen)
    }

    /// Visits the rows of a table, a page at a time; gives how many.
    fn pages(
        &self,
        table: Table,
        seen: &mut StartCheck,
        progress: &Progress,
        visit: Visit,
    ) -> Result<u64, ArchiveError> {
        let (mut from, to) = all();
        let mut rows = 0;
        loop {
            progress.go_on()?;
            let began = Instant::now();
            let inner = self.inner();
            let snapshot = inner.shared.backend.snapshot()?;
            let page = match snapshot.range(table, &from, &to, PAGE, false) {
                // The other tables are looked at all the same.
                Err(Fault::Damaged(_)) => {
                    seen.found.push(Finding::damage(table.name(), "the table cannot be read to its end"));
                    return Ok(rows);
                }
                page => page?,
            };
            let mut check = Check { inner, snapshot: snapshot.as_ref(), found: &mut seen.found, newest: Some(NUMBERS) };
            for (key, stored) in &page {
                visit(&mut check, key, stored);
            }
            rows += u64::try_from(page.len()).unwrap_or(0);
            match page.last() {
                // Keys that do not grow would come from a damaged tree, and never end.
                Some((last, _)) if page.len() == PAGE && *last >= from => from = last.next(),
                _ => return Ok(rows),
            }
            if rows >= ROWS_MAX {
                seen.whole = false;
                return Ok(rows);
            }
            backend::rest(began.elapsed().saturating_mul(PACE).min(REST_MAX));
        }
    }

    /// The list rows created last: each has its journal, and its live row unless it has ended.
    fn recent(&self, seen: &mut StartCheck) -> Result<(), ArchiveError> {
        let (from, to) = all();
        let inner = self.inner();
        let snapshot = inner.shared.backend.snapshot()?;
        let rows = snapshot.range(Table::Runs, &from, &to, RECENT, true)?;
        let mut check = Check { inner, snapshot: snapshot.as_ref(), found: &mut seen.found, newest: Some(NUMBERS) };
        for (key, stored) in &rows {
            check.head_row(key, stored);
        }
        seen.recent = u64::try_from(rows.len()).unwrap_or(0);
        Ok(())
    }
}

/// Looks at one row.
type Visit = fn(&mut Check<'_>, &Key, &[u8]);

impl Check<'_> {
    /// A list row against the live row and the journal.
    fn head_row(&mut self, key: &Key, stored: &[u8]) {
        let Some(head) = self.opened::<RunHead>(Table::Runs, key, stored) else {
            return self.add(Table::Runs, key, "its value is damaged");
        };
        if tenant_of(key).is_some() && !head.state.is_final() && !self.exists(Table::Live, key) {
            self.add(Table::Runs, key, "the run has not ended and nothing makes it go on: its live row is missing");
        }
        // An unfinished run was looked at with the live ones.
        if head.state.is_final() {
            self.newest_numbers(key, head.transition, NUMBERS);
        }
    }

    /// The newest numbers of a journal, from `last` down without gaps.
    pub(super) fn newest_numbers(&mut self, run: &Key, last: u64, count: usize) {
        let (from, mut to) = (run.clone().number(0), run.after_prefix());
        let (mut expected, mut seen) = (last, 0);
        loop {
            let rows = match self.snapshot.range(Table::Journal, &from, &to, AT_ONCE, true) {
                Ok(rows) => rows,
                Err(fault) => return self.unreadable(Table::Journal, &fault),
            };
            for (key, _) in &rows {
                let number = key.number_at(32).unwrap_or(0);
                if number != expected {
                    let message = match (seen, number > last) {
                        (0, true) => format!("the journal goes on to transition {number} and the run is at {last}"),
                        _ => format!("transition {expected} of the run is missing"),
                    };
                    return self.add(Table::Journal, run, message);
                }
                if number == 0 {
                    return;
                }
                expected -= 1;
                seen += 1;
            }
            match rows.last() {
                Some((key, _)) if rows.len() == AT_ONCE && seen < count && *key < to => to = key.clone(),
                Some(_) if seen >= count => return,
                _ => break,
            }
        }
        // The first of a run that was never queued has the number 1.
        if expected > 0 {
            self.add(Table::Journal, run, format!("transition {expected} of the run is missing"));
        }
    }
}

/// Whether a row says how its run goes on.
pub(super) fn stuck(live: &LiveRow) -> Option<&'static str> {
    use aura_protocol::run::RunState as State;
    match live.state {
        State::Queued if live.slot.is_none() && live.rate.is_none() => {
            Some("the run is queued and the key it waits for is missing")
        }
        State::Retrying if live.due_ms.is_none() => Some("the run waits for its next attempt and has no timer"),
        _ => None,
    }
}
