//! Forms, polls and backfills as clients see them.

use serde::{Deserialize, Serialize};

use crate::ids::EventId;

/// The page of a form trigger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FormInfo {
    /// Flow name.
    pub flow: String,
    /// Trigger id.
    pub trigger: String,
    /// Its heading.
    pub title: String,
    /// Names of its fields.
    pub fields: Vec<String>,
    /// Where people fill it in, `…/f/{26 characters}`.
    pub url: String,
    /// Takes what is sent.
    pub enabled: bool,
    /// Last event, if any since the start.
    pub last_event: Option<EventId>,
}
