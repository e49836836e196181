//! Requests and replies about versions of flows: their history, plans, many files at once, runs that move.
//!
//! A plan changes nothing. What is applied together is one transaction: all of it or nothing.

use serde::{Deserialize, Serialize};

use super::{RunRef, VersionOf};
use crate::flow::Finding;
use crate::flow::diff::FlowDiff;
use crate::run::{RunHead, RunState};

/// Most flows of one plan or of one `apply`.
pub const FLOWS_AT_ONCE: usize = 200;

/// A publication of a flow, or a version that was never published.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowVersion {
    /// Hash of the version.
    pub version: String,
    /// When, in Unix milliseconds; 0: it is the draft, or was run as a draft only.
    pub at_ms: i64,
    /// By whom.
    pub by: String,
    /// Why: `rolled back`, or empty.
    #[serde(default)]
    pub note: String,
    /// It is the published one now.
    pub published: bool,
    /// Unfinished runs of it.
    pub live: u64,
    /// What changed against the publication before, in words; empty for the first one.
    pub changes: String,
}

/// A version of a flow by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowVersionOf {
    /// Name of the flow.
    pub flow: String,
    /// Which.
    pub version: VersionOf,
}

/// The authored text of a version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowText {
    /// Name of the flow.
    pub flow: String,
    /// Hash of the version.
    pub version: String,
    /// Text.
    pub text: String,
}

/// Flow files that belong together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowFiles {
    /// Their texts, at most [`FLOWS_AT_ONCE`].
    pub texts: Vec<String>,
    /// Publish them too.
    #[serde(default)]
    pub publish: bool,
}

/// What a flow file would change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedFlow {
    /// Name of the flow; empty if the text is not readable.
    pub flow: String,
    /// `new`, `same`, `changed` or `refused`.
    pub change: String,
    /// The version that is published now.
    #[serde(default)]
    pub published: Option<String>,
    /// The version of the text.
    #[serde(default)]
    pub version: String,
    /// Against the published version.
    #[serde(default)]
    pub diff: FlowDiff,
    /// Errors and warnings.
    #[serde(default)]
    pub findings: Vec<Finding>,
    /// What is missing before it can be published or run, in sentences: connections, secrets, variables.
    #[serde(default)]
    pub missing: Vec<String>,
    /// Unfinished runs of the flow by state; they go on under their versions.
    #[serde(default)]
    pub live: Vec<(RunState, u64)>,
    /// Of these, how many could move to this version (of those that were looked at).
    #[serde(default)]
    pub movable: u64,
    /// How many were looked at.
    #[serde(default)]
    pub looked_at: u64,
    /// Groups of events that are held: they begin runs of the version that is published when they fire.
    #[serde(default)]
    pub held: u64,
    /// What it means for the flow's runs and events, in sentences.
    #[serde(default)]
    pub notes: Vec<String>,
}

/// `aura run migrate`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunMigrate {
    /// An unfinished run.
    pub run: RunRef,
    /// To which version.
    pub to: VersionOf,
    /// Only say whether it can.
    #[serde(default)]
    pub plan: bool,
}

/// Whether a run moved to another version.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunMigrated {
    /// How it stands.
    pub run: RunHead,
    /// The version that it had.
    pub from: String,
    /// The one that was wanted.
    pub to: String,
    /// Why it cannot move; empty: it did, or with `plan` could.
    pub reasons: Vec<String>,
}
