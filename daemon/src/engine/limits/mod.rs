//! Limits by key: how many at once, how many in a time, who goes first, fairness between tenants.
//!
//! [`window`] counts the uses of a rate, [`lanes`] is who waits behind which limits and whose turn it is; both are pure.
//! Runs wait in `engine::gate`, calls in `engine::backlog`, by name only. What of a rate is used up is written with
//! what uses it, so a restart forgets none of it.

pub mod lanes;
pub mod window;

use aura_protocol::Value;
use aura_protocol::flow::{self, limits::PRIORITY_MAX};

/// So many in any stretch of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// How many.
    pub count: u32,
    /// The stretch in microseconds.
    pub per_us: i64,
}

impl Rate {
    /// How many in how many milliseconds, as a queued run's row has it.
    #[must_use]
    pub fn stored(self) -> (u32, u64) {
        (self.count, u64::try_from(self.per_us / 1000).unwrap_or(0))
    }
}

impl From<&flow::Rate> for Rate {
    fn from(rate: &flow::Rate) -> Self {
        let per_us = i64::try_from(rate.per.ms.saturating_mul(1000)).unwrap_or(i64::MAX / 4);
        Self { count: rate.count.max(1), per_us: per_us.max(1) }
    }
}

/// What one key limits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limit {
    /// At the same time; none: any number.
    pub most: Option<u32>,
    /// In a time; none: any number.
    pub rate: Option<Rate>,
}

/// A priority that an expression gave.
///
/// # Errors
/// It is no integer from -100 to 100: a sentence.
pub fn priority(value: &Value) -> Result<i32, String> {
    let number = value.as_int().and_then(|number| i64::try_from(number).ok());
    let fits = number.filter(|number| number.abs() <= PRIORITY_MAX).and_then(|number| i32::try_from(number).ok());
    fits.ok_or_else(|| {
        let said = aura_protocol::text::display(&value.to_json());
        format!("a priority is an integer from -{PRIORITY_MAX} to {PRIORITY_MAX}, this is {said}")
    })
}

/// Microseconds of a time in milliseconds.
#[must_use]
pub fn us(ms: i64) -> i64 {
    ms.saturating_mul(1000)
}
