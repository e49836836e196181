//! Tests of flows over the wire: a flow and its file of cases go to whoever executes them, a report comes back.
//!
//! Nothing of a daemon's store is read or written by a test, and the work of one call is bounded. The same messages go
//! over the standard input and output of `aurad test`, which needs no running daemon.

use serde::{Deserialize, Serialize};

use super::RunRef;
use crate::flow::Finding;
use crate::run::RunHead;

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
    /// Only a part of the flow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part: Option<FlowPart>,
    /// What this run was given and what the other sides said to it stands in for what no pin says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_run: Option<RunRef>,
    /// What neither a pin nor a run says is made up, and said to be.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub generate: bool,
}

/// A part of a flow, by a step as `STEP` or `STEP[ITEM]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FlowPart {
    /// Up to and with a step, and nothing that it does not need.
    To(String),
    /// A step alone: what it reads of others is given.
    Only(String),
}

impl FlowPart {
    /// The step.
    #[must_use]
    pub fn step(&self) -> &str {
        match self {
            Self::To(step) | Self::Only(step) => step,
        }
    }
}

/// Where data of a simulated run came from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DataFrom {
    /// The flow made it of what it was given.
    #[default]
    Computed,
    /// A pin says it.
    Pinned,
    /// A real run had it.
    Recorded,
    /// Nobody said it, so it is made up: from an example of the connector, or of what the flow reads.
    Generated,
}

impl DataFrom {
    /// The word people see.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Computed => "computed",
            Self::Pinned => "pinned",
            Self::Recorded => "recorded",
            Self::Generated => "generated",
        }
    }
}

/// The step that was asked for, in full.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AskedStep {
    /// Its path.
    pub step: String,
    /// Its kind, or its action.
    pub kind: String,
    /// How it settled, or stands; empty: the run did not come to it.
    pub state: String,
    /// The resolved input of its call as JSON, cut to 256 KiB; none if it calls nobody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<String>,
    /// Its output as JSON, cut to 256 KiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<String>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Where its output came from.
    #[serde(default)]
    pub from: DataFrom,
    /// What it stands on: the event and other steps, and where their data came from.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub given: Vec<(String, DataFrom)>,
}

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowTested {
    /// Name of the flow.
    pub flow: String,
    /// Hash of the version that who ran the cases reads in the text; empty if it refuses it or is older than this.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub version: String,
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
    /// The step that was asked for, if only a part was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked: Option<AskedStep>,
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
    /// Where what it gave came from.
    #[serde(default)]
    pub from: DataFrom,
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

/// `aura flow try`: one step of a text, really, as a test run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FlowTry {
    /// What is tried and on what: its part is one step.
    pub test: FlowTest,
    /// Only say what would be sent.
    #[serde(default)]
    pub preview: bool,
    /// Send it also if what it is made of was made up.
    #[serde(default)]
    pub made_up: bool,
}

/// What became of a try.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FlowTried {
    /// The simulation that found the input.
    pub tested: FlowTested,
    /// The test run; none if only the preview was wanted, or the simulation did not come to the step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<RunHead>,
}
