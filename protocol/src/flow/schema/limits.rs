//! Limits by key as the schema shows them.

use schemars::JsonSchema;

use super::{Duration, Expression};

/// Runs that start in a time, by key; what is beyond waits.
#[derive(JsonSchema)]
#[schemars(rename = "Rate", deny_unknown_fields)]
pub(super) struct RateFile {
    /// Absent: one key for the whole flow.
    key: Option<Expression>,
    /// How many in any stretch of `per`.
    #[schemars(range(min = 1, max = 1_000_000))]
    count: u32,
    /// The stretch, 100ms to 31d.
    per: Duration,
}

/// Calls in a time.
#[derive(JsonSchema)]
#[schemars(rename = "CallRate", deny_unknown_fields)]
pub(super) struct CallRateFile {
    /// How many in any stretch of `per`.
    #[schemars(range(min = 1, max = 1_000_000))]
    count: u32,
    /// The stretch, 100ms to 31d.
    per: Duration,
}

/// Limits of the calls of a step; what is beyond waits.
#[derive(JsonSchema)]
#[schemars(rename = "Limit", deny_unknown_fields)]
pub(super) struct LimitFile {
    /// Absent: one key for the step.
    key: Option<Expression>,
    /// Calls at the same time.
    #[schemars(range(min = 1))]
    concurrency: Option<u32>,
    /// Calls in a time.
    rate: Option<CallRateFile>,
    /// Who goes first; default: the priority of the run.
    priority: Option<Priority>,
}

/// An integer from -100 to 100, or an expression that gives one.
#[derive(JsonSchema)]
#[schemars(untagged)]
pub(super) enum Priority {
    /// Always this.
    Number(i32),
    /// An expression.
    Expression(Expression),
}

/// Collect events of a key: one run with all of them.
#[derive(JsonSchema)]
#[schemars(rename = "Batch", deny_unknown_fields)]
pub(super) struct BatchFile {
    /// Absent: one for the trigger.
    key: Option<Expression>,
    /// So many events make it full.
    #[schemars(range(min = 2, max = 1000))]
    max: u32,
    /// Counted from the first event; then it starts as it is.
    r#for: Duration,
}

/// So many events of a key start runs in a time.
#[derive(JsonSchema)]
#[schemars(rename = "Throttle", deny_unknown_fields)]
pub(super) struct ThrottleFile {
    /// Absent: one for the trigger.
    key: Option<Expression>,
    /// How many in any stretch of `per`.
    #[schemars(range(min = 1, max = 1_000_000))]
    limit: u32,
    /// The stretch, 100ms to 31d.
    per: Duration,
    /// What becomes of one more, default `queue`.
    on_excess: Option<Excess>,
}

/// What becomes of an event beyond a throttle.
#[derive(JsonSchema)]
#[schemars(rename = "OnExcess", rename_all = "snake_case")]
pub(super) enum Excess {
    /// Its run waits until there is room.
    Queue,
    /// There is no run, and the event says why.
    Drop,
}
