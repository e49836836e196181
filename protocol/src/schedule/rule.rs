//! One rule of a schedule: a cron expression, an interval, a recurrence rule, or times by name.

use croner::Cron;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::rrule::Recurrence;
use crate::flow::Span;

/// What gives instants.
#[derive(Clone, Debug)]
pub enum Rule {
    /// A cron expression and its text.
    Cron(Box<Cron>, String),
    /// So many milliseconds, counted from an instant.
    Every {
        /// The interval.
        ms: i64,
        /// An instant of it.
        anchor: i64,
    },
    /// A recurrence rule and its text.
    Recurs(Box<Recurrence>, String),
    /// These instants, in order.
    At(Vec<i64>),
}

impl Rule {
    /// The first instant after a time.
    pub fn next_after(&self, after_ms: i64, zone: &TimeZone) -> Option<i64> {
        match self {
            Self::Every { ms, anchor } => {
                let place = after_ms.checked_sub(*anchor)?.div_euclid((*ms).max(1)).checked_add(1)?;
                place.checked_mul(*ms)?.checked_add(*anchor)
            }
            Self::Cron(cron, _) => {
                let after = Timestamp::from_second(after_ms.div_euclid(1000)).ok()?.to_zoned(zone.clone());
                let next = cron.find_next_occurrence(&after, false).ok()?;
                let next = next.timestamp().as_millisecond();
                // A walk that stands still or goes back would be an endless loop for whoever follows it.
                (next > after_ms).then_some(next)
            }
            Self::Recurs(rule, _) => rule.next_after(after_ms),
            Self::At(all) => all.get(all.partition_point(|at| *at <= after_ms)).copied(),
        }
    }

    /// As people read it.
    pub fn text(&self) -> String {
        match self {
            Self::Cron(_, text) | Self::Recurs(_, text) => text.clone(),
            Self::Every { ms, .. } => format!("every {}", Span::from_ms(u64::try_from(*ms).unwrap_or(0))),
            Self::At(all) if all.len() == 1 => "once".to_owned(),
            Self::At(all) => format!("at {} times", all.len()),
        }
    }

    /// Whether it means wall times, of a zone.
    pub fn reads_the_wall(&self) -> bool {
        !matches!(self, Self::Every { .. })
    }
}
