//! What may go wrong beside one crash, and how it comes.
//!
//! Invariant: everything here is decided by the case's luck and the moment, so a fault can be met again.

use aura_protocol::run::Record;

use super::{Fault, Input, Sim};

/// What may go wrong beside one crash.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Trouble {
    /// At most so many crashes, wherever.
    pub crashes: u8,
    /// After a crash it is another disk: what was scheduled may have been sent by whoever had it before.
    pub restores: bool,
    /// The clock jumps, also back.
    pub jumps: bool,
    /// What came comes again.
    pub twice: bool,
    /// Retention is not judged row by row: that takes most of the time.
    pub quick: bool,
}

impl Sim {
    /// Counts what has gone wrong.
    pub(super) fn meets(&mut self, what: &'static str) {
        *self.met.entry(what).or_default() += 1;
    }

    /// An answer comes once more, perhaps while the next attempt is at work: nobody listens.
    pub(super) fn answer_again(&mut self) -> Result<(), Fault> {
        let which = self.pick(self.late.len());
        let (path, attempt, outcome) = self.late.swap_remove(which);
        self.meets("late answer");
        self.refuses(
            Input::Result { path: path.clone(), attempt, outcome },
            &format!("a repeated answer of {path} counts"),
        )
    }

    /// An input that must change nothing.
    pub(super) fn refuses(&mut self, input: Input, fault: &str) -> Result<(), Fault> {
        let before = (self.journal.len(), self.epoch);
        self.apply(input)?;
        let same = self.journal.len() == before.0 || self.epoch != before.1;
        if same { Ok(()) } else { Err(fault.to_owned()) }
    }

    /// Whether what became of an earlier attempt of a step is told.
    pub(super) fn was_doubted(&self, path: &str) -> bool {
        let told = |record: &Record| matches!(record, Record::InDoubt { .. } | Record::Failed { .. });
        super::records(self).any(|record| told(record) && record.path() == Some(path))
    }

    /// The clock of the machine is set: hours ahead, days, or some minutes back.
    pub(super) fn jump(&mut self) {
        const STEPS: &[(&str, i64)] = &[
            ("clock ahead", 3_600_000),
            ("clock ahead", 30 * 3_600_000),
            ("clock ahead", 72 * 3_600_000),
            ("clock back", -600_000),
            ("clock back", -7_000),
        ];
        let (what, by) = STEPS[self.pick_for(5, STEPS.len())];
        self.meets(what);
        self.now_ms = (self.now_ms + by).max(1_000);
    }
}
