//! What a schedule has to fire: pure, from its mark and the clock.
//!
//! Invariant: the mark never goes back behind an instant that fired, and every instant up to the mark is
//! decided: fired, or left out and counted. So a restart finds exactly what is missing, and a clock that is set
//! back fires nothing twice.

use aura_protocol::schedule::{CATCH_UP_MAX, CatchUp, Schedule};

/// Up to so late an instant is on time: a restart or a busy moment is no absence.
pub const GRACE_MS: i64 = 60_000;
/// Most instants that fire after an absence.
const ALL_MAX: usize = CATCH_UP_MAX;

/// A gap is forgotten when the schedule has gone on for so long after it. Shorter than the store keeps the keys of
/// instants: what fired in the stretch that is lived again does not fire twice.
const GAP_MS: i64 = 6 * 86_400_000;
/// So many of a cron rule's missed instants are counted.
const COUNT_MAX: usize = 10_000;

/// Up to where a schedule is decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Every instant up to here is decided.
    pub ms: i64,
    /// The last stretch nobody fired in: the mark before it, and the clock when that was seen. A clock that is
    /// set back into it may have been wrong since, and the schedule goes on from there.
    pub gap: Option<(i64, i64)>,
}

/// What is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due {
    /// Instants to fire, oldest first.
    pub fire: Vec<i64>,
    /// How many before them are left out (of a cron rule at least so many: it is counted to a limit).
    pub missed: u64,
    /// The oldest was more than [`GRACE_MS`] late.
    pub late: bool,
    /// The mark once all of this is done.
    pub mark: Mark,
}

impl Mark {
    /// The mark of a schedule that begins (again) now: what came before is not its business.
    #[must_use]
    pub fn begin(before: Option<Self>, now_ms: i64) -> Self {
        match before {
            None => Self { ms: now_ms, gap: Some((i64::MIN, now_ms)) },
            Some(mark) if now_ms > mark.ms => Self { ms: now_ms, gap: Some((mark.ms, now_ms)) },
            Some(mark) => mark,
        }
    }

    /// The mark after a clock that was set back out of a time that never was; `None` if it stays.
    #[must_use]
    pub fn rewound(self, now_ms: i64) -> Option<Self> {
        let (from, to) = self.gap?;
        (now_ms < self.ms && now_ms < to && from < self.ms)
            .then(|| Self { ms: from.max(now_ms), gap: None })
            .filter(|mark| mark.ms < self.ms)
    }
}

/// What a schedule has to fire now; `None`: nothing.
#[must_use]
pub fn due(schedule: &Schedule, mark: Mark, now_ms: i64) -> Option<Due> {
    let upto = schedule.come(mark.ms, now_ms)?;
    let oldest = schedule.next_after(mark.ms).filter(|first| *first <= upto)?;
    let lateness = |instant: i64| now_ms.saturating_sub(schedule.fires_at(instant));
    let late = lateness(oldest) > GRACE_MS;
    let (mut backlog, more) = newest(schedule, mark.ms, upto);
    let newest = *backlog.last()?;
    let all = backlog.len();
    let fire = match schedule.catch_up {
        _ if !late => backlog,
        CatchUp::All => backlog.split_off(all.saturating_sub(schedule.catch_up_max)),
        CatchUp::Latest => vec![newest],
        CatchUp::Skip => Some(newest).filter(|ms| lateness(*ms) <= GRACE_MS).into_iter().collect(),
    };
    let missed = u64::try_from(all - fire.len()).unwrap_or(0) + more;
    let gap = if late { Some((mark.ms, now_ms)) } else { mark.gap };
    let gap = gap.filter(|(_, to)| newest.saturating_sub(*to) <= GAP_MS);
    Some(Due { fire, missed, late, mark: Mark { ms: newest, gap } })
}

/// The newest instants in `(after, now]`, oldest first, at most [`ALL_MAX`]; and how many older ones were seen.
///
/// The instants are walked forwards only, from windows that grow back from now: ten years of seconds are as
/// cheap as ten minutes.
fn newest(schedule: &Schedule, after_ms: i64, now_ms: i64) -> (Vec<i64>, u64) {
    let mut window: i64 = 1_000 * i64::try_from(ALL_MAX).unwrap_or(i64::MAX);
    loop {
        let from = now_ms.saturating_sub(window).max(after_ms);
        let mut found: Vec<i64> =
            schedule.after(from, 2 * ALL_MAX + 2).take_while(|instant| *instant <= now_ms).collect();
        if found.len() >= ALL_MAX || from <= after_ms {
            let older = found.len().saturating_sub(ALL_MAX);
            let unseen = schedule.count(after_ms, from, COUNT_MAX);
            found.drain(..older);
            return (found, u64::try_from(older).unwrap_or(0) + unseen);
        }
        window = window.saturating_mul(2);
    }
}

#[cfg(test)]
mod tests;
