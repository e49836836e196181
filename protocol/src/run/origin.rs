//! Where a run begins that goes on from another one: which run, which point, what was edited, which keys it keeps.
//!
//! Invariant: a run refers to the other one by its id only. What it did not do again stands in its own journal
//! ([`super::Record::Copied`]), so the other run may be deleted.

use serde::{Deserialize, Serialize};

use super::StepError;
use crate::ids::RunId;
use crate::value::Value;

/// From where a run is done again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Point {
    /// All of it, with the same event.
    #[default]
    Start,
    /// A step, and all that needs it.
    Step(String),
    /// One item of a map (or iteration of a loop), and what needs the map.
    Item {
        /// Path of the map or loop.
        map: String,
        /// Key of the item, or its position if the map has none.
        key: String,
    },
}

impl std::fmt::Display for Point {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Start => f.write_str("the start"),
            Self::Step(path) => write!(f, "step {path}"),
            Self::Item { map, key } => write!(f, "item {key} of {map}"),
        }
    }
}

/// The run that a run goes on from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Origin {
    /// The other run.
    pub run: RunId,
    /// From where it is done again.
    #[serde(default)]
    pub point: Point,
    /// Who wanted it.
    pub by: String,
    /// Who wanted the replays that the other run came from, first to last, everybody once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub before: Vec<String>,
    /// The input of the point is another one than it was.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub edited: bool,
    /// The edited input of a step that calls somebody; that of the start or of an item stands where it belongs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<Value>,
    /// Keys that calls keep if their input is what it was.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<KeptKey>,
}

/// So many people who had a run done again are known of it.
const BEFORE_MAX: usize = 64;

impl Origin {
    /// Who had it done again, first to last: what the next replay knows as [`Origin::before`].
    #[must_use]
    pub fn wanted_by(&self) -> Vec<String> {
        let mut people: Vec<String> = self.before.iter().filter(|name| **name != self.by).cloned().collect();
        people.push(self.by.clone());
        people.drain(..people.len().saturating_sub(BEFORE_MAX));
        people
    }
}

/// The key of a call of the other run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptKey {
    /// The step.
    pub path: String,
    /// SHA-256 of the input for which it counts, hex.
    pub input_hash: String,
    /// The key.
    pub key: String,
    /// When it was first used, in Unix milliseconds: its peer's memory of it counts from then.
    pub since_ms: i64,
}

/// What an item of a map gave in another run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ItemCopy {
    /// Its position.
    pub index: u32,
    /// Its output; null if it failed.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub output: Value,
    /// Why it failed, where the map goes on without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<StepError>,
}
