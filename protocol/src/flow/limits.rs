//! Limits by key: how many at once, how many in a time, and who goes first.
//!
//! The invariant of a [`Rate`]: never more than `count` in any stretch of `per`. What is beyond a limit waits, it never
//! fails. Where limits stand: `rate` and `priority` of the flow, `limit` of a step, and `rate` and `concurrency` among
//! the settings of a connection.

use super::types::Span;
use crate::value::Value;

/// Priorities go from `-100` to `100`; the usual one is 0.
pub const PRIORITY_MAX: i64 = 100;
/// A rate counts at most so many.
pub const COUNT_MAX: u32 = 1_000_000;
/// A rate is of at least this time …
pub const PER_MIN: Span = Span::from_ms(100);
/// … and of at most this.
pub const PER_MAX: Span = Span::from_secs(31 * 24 * 3600);
/// Paths of one flow by which its runs are found.
pub const INDEX_MAX: usize = 8;

/// So many in any stretch of a time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rate {
    /// An expression; absent: one for the whole flow or step.
    pub key: Option<String>,
    /// How many.
    pub count: u32,
    /// In any stretch of this time.
    pub per: Span,
}

/// Limits of the calls of a step.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Limit {
    /// An expression; absent: one for the step.
    pub key: Option<String>,
    /// Calls at the same time.
    pub concurrency: Option<u32>,
    /// Calls in a time.
    pub rate: Option<Rate>,
    /// Who goes first: an integer or an expression; absent: that of the run.
    pub priority: Option<Value>,
}

impl Rate {
    /// Reads `40/1m`, as settings of connections write it.
    ///
    /// # Errors
    /// A sentence that says what to write.
    pub fn read(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{}` is no rate; write a number and a time, like 40/1m", crate::text::display(text));
        let (count, per) = text.split_once('/').ok_or_else(wrong)?;
        let count = count.trim().parse::<u32>().map_err(|_| wrong())?;
        let per = per.trim();
        // `10/s` is what people write.
        let per = if per.starts_with(|c: char| c.is_ascii_digit()) { per.parse() } else { format!("1{per}").parse() };
        let rate = Self { key: None, count, per: per.map_err(|_| wrong())? };
        rate.wrong().map_or(Ok(rate), |(_, message)| Err(message))
    }

    /// Which of its fields is out of bounds, and why.
    #[must_use]
    pub fn wrong(&self) -> Option<(&'static str, String)> {
        if self.count == 0 || self.count > COUNT_MAX {
            return Some(("count", format!("a rate counts from 1 to {COUNT_MAX}, this is {}", self.count)));
        }
        if self.per < PER_MIN || self.per > PER_MAX {
            return Some(("per", format!("a rate is of {PER_MIN} to {PER_MAX}, this is {}", self.per)));
        }
        None
    }
}

impl std::fmt::Display for Rate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} in {}", self.count, self.per)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_of_connections_are_read_or_refused() {
        let check = |text: &str, expected: Option<(u32, u64)>| {
            let rate = Rate::read(text).ok().map(|rate| (rate.count, rate.per.ms));
            assert_eq!(rate, expected, "{text}");
        };
        check("40/1m", Some((40, 60_000)));
        check("2/s", Some((2, 1000)));
        check(" 5 / 250ms", Some((5, 250)));
        for wrong in ["", "40", "0/1m", "4/0s", "x/1m", "4/x", "4/40d", "2000000/1m", "-1/1m"] {
            check(wrong, None);
        }
    }
}
