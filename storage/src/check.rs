//! What the check of a start and doctor look at: rows that must fit each other, and, if deep, every value.
//!
//! One snapshot is looked at, so commits meanwhile cause no findings. Shallow work grows with the number of
//! unfinished runs only; that of a start ([`start`]) is bounded. Whatever a flip in a tree makes vanish leaves a gap here (a journal number, a timer,
//! a cursor) or is found by the backend's page check, which runs before.

mod blobs;
mod start;

pub use start::StartCheck;

use aura_protocol::TenantId;
use aura_protocol::run::RunHead;

use crate::backend::{Fault, Snapshot};
use crate::open::each;
use crate::rows::{HeldRow, LiveRow, TimerRow, timer_key};
use crate::seal;
use crate::store::Inner;
use crate::table::{Key, Table};

/// Most findings that are listed.
const FINDINGS_MAX: usize = 1_000;

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

impl Finding {
    pub(crate) fn damage(subject: impl Into<String>, message: impl Into<String>) -> Self {
        Self { damage: true, subject: subject.into(), message: message.into() }
    }
}

struct Check<'a> {
    inner: &'a Inner,
    snapshot: &'a dyn Snapshot,
    found: &'a mut Vec<Finding>,
    /// Look at so many of the newest numbers of a journal only.
    newest: Option<usize>,
}

/// Looks at rows of a snapshot.
pub(crate) fn rows(inner: &Inner, snapshot: &dyn Snapshot, deep: bool, found: &mut Vec<Finding>) {
    let mut check = Check { inner, snapshot, found, newest: None };
    check.each(Table::Live, Check::live_row);
    check.each(Table::Timers, Check::timer_row);
    check.each(Table::Held, Check::held_row);
    check.values(if deep { Table::ALL } else { &[Table::Meta, Table::Tenants, Table::Counters] });
    if deep {
        check.tail();
        check.segments();
        check.journal();
        check.blobs();
    }
    found.truncate(FINDINGS_MAX);
}

/// The tenant at the front of a key.
fn tenant_of(key: &Key) -> Option<TenantId> {
    key.id_at(0).map(TenantId::from_bytes)
}

impl Check<'_> {
    fn add(&mut self, table: Table, key: &Key, message: impl Into<String>) {
        if self.found.len() < FINDINGS_MAX {
            self.found.push(Finding::damage(format!("{} {}", table.name(), key.hex()), message));
        }
    }

    fn each(&mut self, table: Table, mut visit: impl FnMut(&mut Self, &Key, &[u8])) {
        let snapshot = self.snapshot;
        if let Err(fault) = each(snapshot, table, Key::new(), 64, |key, stored| visit(self, key, stored)) {
            self.unreadable(table, &fault);
        }
    }

    fn unreadable(&mut self, table: Table, fault: &Fault) {
        self.add(table, &Key::new(), format!("the table cannot be read: {fault}"));
    }

    /// Whether a row exists; being unreadable is a finding of its own.
    fn exists(&mut self, table: Table, key: &Key) -> bool {
        match self.snapshot.read(table, key) {
            Ok(value) => value.is_some(),
            Err(fault) => {
                self.unreadable(table, &fault);
                true
            }
        }
    }

    /// Opens a sealed row.
    fn opened<T: serde::de::DeserializeOwned>(&self, table: Table, key: &Key, stored: &[u8]) -> Option<T> {
        let keys = self.inner.keys(tenant_of(key)?).ok()??;
        seal::value(&seal::unseal(keys.data(), table, key, stored)?)
    }

    /// An unfinished run: a head, a journal without gaps, a timer if one is due, a key if it is queued.
    fn live_row(&mut self, key: &Key, stored: &[u8]) {
        let Some(live) = seal::unplain_value::<LiveRow>(Table::Live, key, stored) else {
            return self.add(Table::Live, key, "its value is damaged");
        };
        let (Some(tenant), Some(run)) = (tenant_of(key), key.id_at(16)) else {
            return self.add(Table::Live, key, "its key is damaged");
        };
        if !self.exists(Table::Runs, key) {
            self.add(Table::Live, key, "the run has no row in the list");
        }
        match self.newest {
            Some(count) => self.newest_numbers(key, live.transition, count),
            None => self.numbers(key, live.transition),
        }
        if let Some(why) = start::stuck(&live) {
            self.add(Table::Live, key, why);
        }
        if let Some(due_ms) = live.due_ms
            && !self.exists(Table::Timers, &timer_key(due_ms, tenant, run))
        {
            self.add(Table::Live, key, "the timer that wakes the run is missing");
        }
    }

    /// The journal of a run holds the numbers 1 to `last`, after a 0 if the run was queued first.
    fn numbers(&mut self, run: &Key, last: u64) {
        let (from, to) = (run.clone().number(0), run.after_prefix());
        let mut expected = 1;
        let mut next = from;
        loop {
            let rows = match self.snapshot.range(Table::Journal, &next, &to, 256, false) {
                Ok(rows) => rows,
                Err(fault) => return self.unreadable(Table::Journal, &fault),
            };
            for (key, _) in &rows {
                if expected == 1 && key.number_at(32) == Some(0) {
                    continue;
                }
                if key.number_at(32) != Some(expected) {
                    let message = format!("transition {expected} of the run is missing");
                    return self.add(Table::Journal, run, message);
                }
                expected += 1;
            }
            match rows.last() {
                Some((key, _)) if rows.len() == 256 && *key >= next => next = key.next(),
                _ => break,
            }
        }
        if expected - 1 != last {
            let message = format!("the journal ends at transition {} and the run is at {last}", expected - 1);
            self.add(Table::Journal, run, message);
        }
    }

    /// A timer wakes a live run or a held row that is due then.
    fn timer_row(&mut self, key: &Key, stored: &[u8]) {
        let (Some(due), Some(tenant), Some(owner)) = (key.number_at(0), key.id_at(8), key.id_at(24)) else {
            return self.add(Table::Timers, key, "its key is damaged");
        };
        let owner_key = Key::tenant(TenantId::from_bytes(tenant)).id(owner);
        let due = i64::try_from(due).ok();
        let fits = match seal::unplain_value::<TimerRow>(Table::Timers, key, stored) {
            None => return self.add(Table::Timers, key, "its value is damaged"),
            Some(TimerRow::Run) => self.due_of_live(&owner_key) == Some(due),
            Some(TimerRow::Held) => self.due_of_held(&owner_key) == Some(due),
        };
        if !fits {
            self.add(Table::Timers, key, "it wakes nothing that is due then");
        }
    }

    fn due_of_live(&mut self, key: &Key) -> Option<Option<i64>> {
        let stored = self.snapshot.read(Table::Live, key).ok()??;
        seal::unplain_value::<LiveRow>(Table::Live, key, &stored).map(|live| live.due_ms)
    }

    fn due_of_held(&mut self, key: &Key) -> Option<Option<i64>> {
        let stored = self.snapshot.read(Table::Held, key).ok()??;
        self.opened::<HeldRow>(Table::Held, key, &stored).map(|held| held.due_ms)
    }

    /// A held row that is due has its timer.
    fn held_row(&mut self, key: &Key, stored: &[u8]) {
        let Some(held) = self.opened::<HeldRow>(Table::Held, key, stored) else {
            return self.add(Table::Held, key, "its value is damaged");
        };
        if let (Some(due_ms), Some(tenant), Some(owner)) = (held.due_ms, tenant_of(key), key.id_at(16))
            && !self.exists(Table::Timers, &timer_key(due_ms, tenant, owner))
        {
            self.add(Table::Held, key, "the timer that starts it is missing");
        }
    }

    /// Every value of the tables opens.
    fn values(&mut self, tables: &[Table]) {
        for table in tables {
            self.each(*table, |check, key, stored| check.value(*table, key, stored));
        }
    }

    /// A value opens.
    fn value(&mut self, table: Table, key: &Key, stored: &[u8]) {
        let fits = if table.is_plain() {
            seal::unplain(table, key, stored).is_some()
        } else if let Some(tenant) = tenant_of(key) {
            match (table, self.inner.keys(tenant)) {
                (Table::Tenants, _) => self.inner.vault.unwrap(tenant, stored).is_some(),
                (_, Ok(Some(keys))) => seal::unseal(keys.data(), table, key, stored).is_some(),
                _ => false,
            }
        } else {
            false
        };
        if !fits {
            self.add(table, key, "its value is damaged");
        }
    }

    /// Cursors grow by one.
    fn tail(&mut self) {
        let mut expected = None;
        self.each(Table::Tail, |check, key, _| {
            let cursor = key.number_at(0);
            if expected.is_some() && cursor != expected {
                check.add(Table::Tail, key, "groups before it are missing");
            }
            expected = cursor.map(|cursor| cursor.saturating_add(1));
        });
    }

    /// Every segment of dedupe keys has its fingerprints, and they their segment.
    fn segments(&mut self) {
        let (mut segments, mut prints) = (Vec::new(), Vec::new());
        self.each(Table::Dedupe, |_, key, _| match crate::dedupe::printed(key) {
            Some(number) => prints.push(number),
            None => segments.extend(key.number_at(0)),
        });
        for number in prints.into_iter().filter(|number| segments.binary_search(number).is_err()) {
            self.add(Table::Dedupe, &crate::dedupe::key(number), "a segment of dedupe keys is missing");
        }
    }

    /// Every listed run has its whole journal, and every journal its run.
    fn journal(&mut self) {
        self.each(Table::Runs, |check, key, stored| {
            // A damaged value is a finding already.
            if let Some(head) = check.opened::<RunHead>(Table::Runs, key, stored) {
                check.numbers(key, head.transition);
            }
        });
        let mut current = Vec::new();
        self.each(Table::Journal, |check, key, _| {
            let run = Key(key.0.get(..32).unwrap_or_default().to_vec());
            if run.0 != current {
                current.clone_from(&run.0);
                if !check.exists(Table::Runs, &run) {
                    check.add(Table::Journal, key, "the journal has no run");
                }
            }
        });
    }
}
