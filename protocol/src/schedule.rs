//! Schedules: when a `schedule` trigger is due. Pure: an instant goes in, the next one comes out.
//!
//! The instants of a schedule are one fixed set on the time line; [`Schedule::next_after`] walks it and always
//! finds the same ones, wherever it starts. Who keeps what was decided stands in the daemon's `schedules`.

mod read;
mod rrule;
mod rule;
mod stretch;
pub mod wire;

use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::flow::Span;
use crate::value::Map;
pub use read::{Wrong, settings_of};
use rule::Rule;
pub use stretch::{STRETCHES_MAX, Stretches};

/// Keys of `with` on a schedule trigger.
pub const KEYS: &[&str] =
    &["cron", "every", "rrule", "at", "start", "until", "except", "zone", "jitter", "catch_up", "overlap"];
/// The shortest `every`.
pub const EVERY_MIN: Span = Span::from_secs(1);
/// The longest `every`: a leap year.
pub const EVERY_MAX: Span = Span::from_secs(366 * 86_400);
/// The longest `jitter`.
pub const JITTER_MAX: Span = Span::from_secs(12 * 3600);
/// Most instants that `catch_up: all` fires after an absence; the newest ones.
pub const CATCH_UP_MAX: usize = 1_000;
/// Days and times that `except` and `at` may name.
pub const NAMED_MAX: usize = 500;
/// Exceptions in a row that are stepped over before a schedule counts as over.
const STEPS_MAX: usize = 100_000;

/// What becomes of instants that passed while nobody could fire them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CatchUp {
    /// They are left out.
    Skip,
    /// Only the last one fires.
    #[default]
    Latest,
    /// All fire, at most the newest 1,000.
    All,
}

/// What happens when the run of an earlier instant still goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Overlap {
    /// No run; the event says which run was in the way.
    Skip,
    /// The run waits for the one before it.
    Queue,
    /// The one before it is cancelled.
    Cancel,
    /// Both go on.
    Allow,
}

/// When a trigger is due, and what happens when that cannot be kept.
#[derive(Clone, Debug)]
pub struct Schedule {
    rules: Vec<Rule>,
    zone: TimeZone,
    zone_name: String,
    /// No instant before this one, and none after that one.
    bounds: (i64, i64),
    except_days: Vec<Date>,
    except_at: Vec<i64>,
    /// Up to so much later than its instant a run begins.
    jitter_ms: i64,
    seed: [u8; 16],
    /// What decides which instants there are, as JSON.
    settings: String,
    /// What becomes of missed instants.
    pub catch_up: CatchUp,
    /// Of these at most so many, the newest, with [`CatchUp::All`].
    pub catch_up_max: usize,
    /// What happens when an earlier run still goes on; `None` if the file does not say.
    pub overlap: Option<Overlap>,
}

impl Schedule {
    /// Reads the `with` of a schedule trigger.
    ///
    /// # Errors
    /// Everything that is wrong with it, each with its key.
    pub fn read(with: &Map) -> Result<Self, Vec<Wrong>> {
        read::schedule(with)
    }

    /// The same schedule whose jitter is drawn for one owner: a flow's trigger.
    #[must_use]
    pub fn seeded(self, seed: [u8; 16]) -> Self {
        Self { seed, ..self }
    }

    /// The first instant after a time, in Unix milliseconds; `None` if there is none any more.
    ///
    /// A wall time that a clock change leaves out counts at the first moment after it; one that comes twice
    /// counts once, the first time, unless the rule repeats within the hour.
    #[must_use]
    pub fn next_after(&self, after_ms: i64) -> Option<i64> {
        let mut after = after_ms.max(self.bounds.0.saturating_sub(1));
        for _ in 0..STEPS_MAX {
            let next = self.rules.iter().filter_map(|rule| rule.next_after(after, &self.zone)).min()?;
            if next > self.bounds.1 {
                return None;
            }
            match self.excepted(next) {
                None => return Some(next),
                Some(until) => after = until,
            }
        }
        None
    }

    /// The end of the exception an instant falls into.
    fn excepted(&self, instant: i64) -> Option<i64> {
        if self.except_at.binary_search(&instant).is_ok() {
            return Some(instant);
        }
        if self.except_days.is_empty() {
            return None;
        }
        let day = Timestamp::from_millisecond(instant).ok()?.to_zoned(self.zone.clone()).date();
        self.except_days.binary_search(&day).ok()?;
        let end =
            day.tomorrow().ok().and_then(|next| wall(next.to_datetime(jiff::civil::Time::midnight()), &self.zone));
        Some(end.map_or(instant, |end| (end - 1).max(instant)))
    }

    /// Whether a time is one of its instants.
    #[must_use]
    pub fn has(&self, instant: i64) -> bool {
        self.next_after(instant.saturating_sub(1)) == Some(instant)
    }

    /// The next instants after a time, at most `count`.
    pub fn after(&self, after_ms: i64, count: usize) -> impl Iterator<Item = i64> + '_ {
        std::iter::successors(self.next_after(after_ms), |last| self.next_after(*last)).take(count)
    }

    /// When the run of an instant begins: with `jitter` a little later, by the same time whenever it is asked.
    #[must_use]
    pub fn fires_at(&self, instant: i64) -> i64 {
        let Ok(most) = u64::try_from(self.jitter_ms) else { return instant };
        if most == 0 {
            return instant;
        }
        let mut hash = Sha256::new();
        hash.update(self.seed);
        hash.update(instant.to_be_bytes());
        let drawn = hash.finalize().iter().take(8).fold(0_u64, |sum, byte| (sum << 8) | u64::from(*byte));
        instant.saturating_add(i64::try_from(drawn % (most + 1)).unwrap_or(0))
    }

    /// The last instant after `after` up to which the runs of all have their time by now; `None`: not of one.
    ///
    /// Instants begin in their order: one that drew a short delay waits for the one before it.
    #[must_use]
    pub fn come(&self, after_ms: i64, now_ms: i64) -> Option<i64> {
        let sure = now_ms.saturating_sub(self.jitter_ms);
        let first = self.next_after(after_ms)?;
        let mut come = (first <= sure).then_some(sure);
        let mut walked = come.unwrap_or(after_ms);
        while self.jitter_ms > 0
            && let Some(next) = self.next_after(walked)
            && self.fires_at(next) <= now_ms
        {
            (come, walked) = (Some(next), next);
        }
        come
    }

    /// How many instants are in `(after, to]`; those that have to be walked are counted to `most` only.
    #[must_use]
    pub fn count(&self, after_ms: i64, to_ms: i64, most: usize) -> u64 {
        let plain = self.except_at.is_empty() && self.except_days.is_empty();
        match self.rules.as_slice() {
            [Rule::Every { ms, anchor }] if plain => {
                let (from, to) = (after_ms.max(self.bounds.0.saturating_sub(1)), to_ms.min(self.bounds.1));
                let place = |at: i64| at.saturating_sub(*anchor).div_euclid((*ms).max(1));
                u64::try_from(place(to).saturating_sub(place(from))).unwrap_or(0)
            }
            _ => {
                let walked = self.after(after_ms, most).take_while(|instant| *instant <= to_ms).count();
                u64::try_from(walked).unwrap_or(u64::MAX)
            }
        }
    }

    /// The rule as people read it.
    #[must_use]
    pub fn rule(&self) -> String {
        let rules: Vec<String> = self.rules.iter().map(Rule::text).collect();
        let mut text = rules.join(" | ");
        if self.rules.iter().any(Rule::reads_the_wall) {
            text.push_str(&format!(" {}", self.zone_name));
        }
        match self.except_at.len() + self.except_days.len() {
            0 => {}
            1 => text.push_str(", 1 exception"),
            count => text.push_str(&format!(", {count} exceptions")),
        }
        text
    }

    /// All that decides which instants there are, as JSON: what has the same text has the same instants, and
    /// [`settings_of`] reads it back.
    #[must_use]
    pub fn settings(&self) -> &str {
        &self.settings
    }

    /// The longest delay behind an instant, in milliseconds.
    #[must_use]
    pub fn jitter_ms(&self) -> i64 {
        self.jitter_ms
    }

    /// Name of the zone.
    #[must_use]
    pub fn zone_name(&self) -> &str {
        &self.zone_name
    }

    /// An instant as RFC 3339 text with the offset of the schedule's zone.
    #[must_use]
    pub fn local(&self, unix_ms: i64) -> String {
        match Timestamp::from_millisecond(unix_ms) {
            Ok(time) => time.display_with_offset(self.zone.to_offset(time)).to_string(),
            Err(_) => unix_ms.to_string(),
        }
    }

    /// The zone, for showing times.
    #[must_use]
    pub fn zone(&self) -> &TimeZone {
        &self.zone
    }
}

/// The instant of a wall time by the one rule of schedules: what a clock change leaves out is due at the first moment
/// after it, what comes twice the first time.
fn wall(at: DateTime, zone: &TimeZone) -> Option<i64> {
    let ambiguous = zone.to_ambiguous_timestamp(at);
    let instant = match ambiguous.offset() {
        jiff::tz::AmbiguousOffset::Gap { .. } => {
            // The clock jumps at one moment: the last one before it by the old offset.
            let before = ambiguous.earlier().ok()?;
            zone.following(before).next().map(|change| change.timestamp())?
        }
        _ => ambiguous.earlier().ok()?,
    };
    Some(instant.as_millisecond())
}

#[cfg(test)]
mod tests;
