//! The part of the schema for rule tables. What it cannot say (one type a column, cells in step with `inputs`)
//! is in `check`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde_json::Value as Json;

/// A decision as data: `decision` and `matched` can be read in the values of `set` and the conditions of `branch`.
#[derive(JsonSchema)]
#[schemars(rename = "Rules", deny_unknown_fields)]
pub(super) struct RulesFile {
    /// The columns: a name and an expression for each.
    inputs: BTreeMap<String, Json>,
    /// Which of the rows that match count, default `unique`.
    hit: Option<HitWord>,
    /// What an input can be, as a cell; others fail the step.
    domain: Option<BTreeMap<String, Json>>,
    /// The rows in order.
    rows: Vec<RowFile>,
    /// The decision if no row matches.
    r#else: Option<Json>,
}

/// One row.
#[derive(JsonSchema)]
#[schemars(rename = "RulesRow", deny_unknown_fields)]
struct RowFile {
    /// A name for the row, default its number from 1.
    id: Option<String>,
    /// What each input must be: a value, `-`, `>= 100`, `[50..100)`, `not(DE, AT)`, or a list of these.
    when: BTreeMap<String, Json>,
    /// What it decides.
    then: Json,
    /// A note for people.
    note: Option<String>,
}

/// Which of the rows that match count.
#[derive(JsonSchema)]
#[schemars(rename = "Hit", rename_all = "snake_case")]
enum HitWord {
    /// One row matches; two are an error.
    Unique,
    /// The first one.
    First,
    /// Several may match if they say the same.
    Any,
    /// The list of all.
    Collect,
    /// The sum of all.
    Sum,
    /// The least of all.
    Min,
    /// The greatest of all.
    Max,
    /// How many match.
    Count,
}
