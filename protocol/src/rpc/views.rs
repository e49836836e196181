//! Requests and replies of the views around runs: pages, events, what flows did lately, settings, a test delivery.
//!
//! Pages go on from the `next` of the page before, also when a page is empty: a filter that finds nothing in
//! what one call may look at says where to look on.

use serde::{Deserialize, Serialize};

use crate::event::EventRow;
use crate::ids::{EventId, RunId};
use crate::run::{RunHead, RunState};

/// A piece of the list of runs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RunPage {
    /// Newest first.
    pub runs: Vec<RunHead>,
    /// Give this as `before` to go on; `None`: there are no older ones.
    pub next: Option<RunId>,
    /// Not all that is stored was looked at: how far this answer goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bounded: Option<super::Bounded>,
}

/// Which events that have a row of their own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventQuery {
    /// Only of this flow.
    #[serde(default)]
    pub flow: Option<String>,
    /// Only these: held, dropped, duplicate, or started once a held one fired (empty: all).
    #[serde(default)]
    pub states: Vec<crate::event::EventState>,
    /// Older than this event.
    #[serde(default)]
    pub before: Option<EventId>,
    /// At most this many (≤ 500).
    pub limit: u32,
}

/// A piece of the list of events. Bodies over 2 KiB stand as the text `… N bytes …`; `event_show` has them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct EventPage {
    /// Newest first.
    pub events: Vec<EventRow>,
    /// Give this as `before` to go on; `None`: there are no older ones.
    pub next: Option<EventId>,
}

/// What the flows did lately.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Activity {
    /// A row for each flow that did something.
    pub flows: Vec<FlowActivity>,
    /// How far back was looked, in Unix milliseconds: usually a day, less on a very busy daemon.
    pub since_ms: i64,
}

/// What one flow did lately.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowActivity {
    /// Its name.
    pub flow: String,
    /// Its newest run of that time.
    pub last: Option<LastRun>,
    /// Runs created in that time.
    pub runs: u64,
    /// Of them failed.
    pub failed: u64,
    /// Groups of events that are held now.
    pub held: u64,
    /// When the next of them begins a run.
    #[serde(default)]
    pub next_held_ms: Option<i64>,
}

/// The newest run of a flow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastRun {
    /// The run.
    pub run: RunId,
    /// How it stands.
    pub state: RunState,
    /// When it was created, in Unix milliseconds.
    pub created_ms: i64,
    /// When it ended.
    pub finished_ms: Option<i64>,
    /// Why it failed, in one sentence; empty otherwise.
    #[serde(default)]
    pub error: String,
}

/// `aura webhook test`: a sample delivery to a trigger's own endpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WebhookTest {
    /// The flow.
    pub flow: String,
    /// Its trigger; may be left out if it has one endpoint only.
    #[serde(default)]
    pub trigger: Option<String>,
    /// The body; `None` for a small sample.
    #[serde(default, with = "serde_bytes")]
    pub body: Option<Vec<u8>>,
    /// Its content type; empty for JSON.
    #[serde(default)]
    pub content_type: String,
}

/// What the door answered to the sample.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WebhookTested {
    /// Where it was sent.
    pub url: String,
    /// Headers that were sent; what proves the delivery is shown as dots.
    pub sent: Vec<(String, String)>,
    /// Bytes of the body that was sent.
    pub sent_bytes: u64,
    /// Status of the answer.
    pub status: u16,
    /// Headers of the answer.
    pub headers: Vec<(String, String)>,
    /// Body of the answer as text, at most 64 KiB.
    pub body: String,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
}

/// A setting in effect and where it comes from. Secrets are shown as dots.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettingRow {
    /// Name, as in the settings file.
    pub name: String,
    /// Value as TOML.
    pub value: String,
    /// `default`, `file PATH`, `environment NAME` or `flag --name`.
    pub source: String,
}

/// The daemon's settings.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// All of them, in the order of the settings file.
    pub rows: Vec<SettingRow>,
    /// What is allowed but risky, in sentences.
    pub warnings: Vec<String>,
}
