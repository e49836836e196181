//! Tests of flows over the wire: a flow and its file of cases go to whoever executes them, a report comes back.
//!
//! Nothing of a daemon's store is read or written by a test, and the work of one call is bounded. The same messages go
//! over the standard input and output of `aurad test`, which needs no running daemon.

use serde::{Deserialize, Serialize};

use crate::flow::Finding;

/// `aura flow test` and `aura flow simulate`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowTest {
    /// Text of the flow.
    pub flow: String,
    /// Text of its file of cases.
    pub cases: String,
    /// Only the case of this name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub case: Option<String>,
    /// Each case once more with a crash at every record and around every call.
    #[serde(default)]
    pub crash: bool,
}

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowTested {
    /// Name of the flow.
    pub flow: String,
    /// What is wrong with the text of the flow; then no case was run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub flow_findings: Vec<Finding>,
    /// What is wrong with the file of cases; then no case was run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub case_findings: Vec<Finding>,
    /// The cases, in written order.
    #[serde(default)]
    pub cases: Vec<CaseReport>,
    /// Time ran out: the cases from this one on were not run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_run: Option<String>,
}

/// What came of one case.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaseReport {
    /// Its name.
    pub name: String,
    /// Its line in the file, from 1.
    pub line: u32,
    /// Everything was as expected.
    pub passed: bool,
    /// What was not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<CaseProblem>,
    /// What is good to know, as calls that were answered by a connector's recorded example.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// How the run ended, or how it stands still.
    pub state: String,
    /// Its error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// How long the run lived by its own clock, in milliseconds.
    pub lived_ms: u64,
    /// How long the test took, in microseconds.
    pub took_us: u64,
    /// Records of its journal.
    pub records: u32,
    /// The steps that settled, in that order (the first 1,000).
    #[serde(default)]
    pub path: Vec<PathRow>,
    /// The calls that left, in order (the first 500).
    #[serde(default)]
    pub calls: Vec<CallRow>,
    /// The run's output as JSON, cut to 16 KiB.
    pub output: String,
    /// What the crashes showed, if there were any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crashes: Option<CrashReport>,
}

/// Something that is not as expected.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaseProblem {
    /// Line in the file of cases, from 1.
    pub line: u32,
    /// Column, from 1.
    pub column: u32,
    /// One sentence.
    pub message: String,
    /// The difference: `-` was expected, `+` was met.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lines: Vec<String>,
}

/// A step that settled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PathRow {
    /// So many milliseconds after the beginning.
    pub at_ms: u64,
    /// Its path.
    pub step: String,
    /// How.
    pub state: String,
}

/// A call that left.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallRow {
    /// When it left first, in milliseconds after the beginning.
    pub at_ms: u64,
    /// The path of its step.
    pub step: String,
    /// `connector.action`, `POST https://…`, `call FLOW`.
    pub action: String,
    /// Its effect class.
    pub effect: String,
    /// Its input as JSON, cut to 2 KiB.
    pub input: String,
    /// How often it was sent, always under the same key.
    pub sent: u32,
}

/// What `--crash` found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CrashReport {
    /// Runs with a crash: one behind every commit and one behind every call that left.
    pub runs: u32,
    /// Records of the run without one.
    pub records: u32,
    /// In so many of them a call was in doubt, and a person who knew decided.
    pub in_doubt: u32,
    /// All the same: state, error, outputs, effects by key.
    pub same: bool,
}
