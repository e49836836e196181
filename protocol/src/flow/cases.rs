//! Tests of a flow, as they stand in a file beside it (`<flow>.test.yaml`): what comes in, what the other side says,
//! what goes wrong, and what must come of it.
//!
//! Keys are closed, as those of a flow file, and every part keeps its line and column. [`read_cases`] reads a file;
//! the daemon's `trial` runs it over the pure core under a virtual clock.

use std::collections::HashMap;

use super::Span;
use crate::run::{ErrorClass, Reach, Resolution};
use crate::value::{Map, Value};

pub use super::read::read_cases;

/// A file may have this many cases.
pub const CASES_MAX: usize = 500;

/// A file of cases.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CaseFile {
    /// The flow's file beside it; `None`: the same name without `.test`.
    pub flow: Option<String>,
    /// The cases, in written order.
    pub cases: Vec<Case>,
    pub(crate) places: HashMap<String, (u32, u32)>,
}

impl CaseFile {
    /// Line and column (from 1) of what a path names, as in `cases[0].expect.outputs`, or of the nearest part around it.
    #[must_use]
    pub fn place(&self, path: &str) -> (u32, u32) {
        let mut rest = path;
        loop {
            if let Some(place) = self.places.get(rest) {
                return *place;
            }
            if rest.is_empty() {
                return (0, 0);
            }
            rest = rest.get(..rest.rfind(['.', '[']).unwrap_or(0)).unwrap_or_default();
        }
    }
}

/// One case.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Case {
    /// Told apart by it.
    pub name: String,
    /// A note for people.
    pub note: Option<String>,
    /// The event that begins the run; `None`: by hand, with `input`.
    pub trigger: Option<CaseEvent>,
    /// The input of a run by hand.
    pub input: Option<Value>,
    /// Variables of the tenant.
    pub vars: Map,
    /// What `kv` steps find.
    pub kv: Map,
    /// When the run begins, in Unix milliseconds.
    pub clock_ms: Option<i64>,
    /// What the other side says, by step id or path; one for each attempt, the last for all that follow.
    pub pins: Vec<(String, Vec<Pin>)>,
    /// What comes for steps that wait.
    pub signals: Vec<CaseSignal>,
    /// What people decide about steps in doubt, by id or path.
    pub resolve: Vec<(String, Resolution)>,
    /// What goes wrong.
    pub faults: Vec<Fault>,
    /// What must come of it.
    pub expect: Expect,
}

/// The event that begins a run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CaseEvent {
    /// The trigger; `None`: the flow's first.
    pub id: Option<String>,
    /// Its body; `None`: the recorded sample of a connector's event, else null.
    pub body: Option<Value>,
    /// Headers.
    pub headers: Map,
    /// Query.
    pub query: Map,
}

/// What the other side says to one attempt.
#[derive(Clone, Debug, PartialEq)]
pub struct Pin {
    /// So long after it was asked.
    pub after: Span,
    /// What.
    pub says: Says,
}

/// An answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Says {
    /// It was done, and this is the step's output.
    Output(Value),
    /// A status of HTTP, judged as the engine judges it.
    Status {
        /// Status.
        status: u16,
        /// Headers.
        headers: Map,
        /// Body.
        body: Value,
    },
    /// It was not done.
    Error {
        /// Class.
        class: ErrorClass,
        /// What is known about it.
        reach: Reach,
        /// One sentence.
        message: String,
        /// Status or the vendor's code.
        code: Option<String>,
        /// The peer asked to wait so long.
        retry_after: Option<Span>,
    },
    /// Nobody heard an answer.
    Lost {
        /// The request arrived and was done.
        arrived: bool,
    },
}

/// What comes for a step that waits, or will wait.
#[derive(Clone, Debug, PartialEq)]
pub struct CaseSignal {
    /// The step, by id or path.
    pub step: String,
    /// So long after the run's beginning.
    pub at: Span,
    /// What.
    pub data: Value,
    /// Whether it must be taken; `None`: it does not matter.
    pub taken: Option<bool>,
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The daemon is killed as soon as the journal holds so many records, and starts again.
    Crash(u32),
    /// Somebody cancels the run so long after its beginning.
    Cancel(Span),
}

/// What must come of it. What is not said is not looked at, but the state: without it the run must succeed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Expect {
    /// How the run ends: `succeeded failed cancelled`, `waiting` or `in_doubt` if it stands still so, `dropped`.
    pub run: Option<String>,
    /// Its error: the whole message, or an object of parts.
    pub error: Option<Value>,
    /// Every step that settled and how, in that order.
    pub path: Option<Vec<(String, String)>>,
    /// These steps in this order; others may stand between them.
    pub passes: Option<Vec<(String, String)>>,
    /// Every call that may change something outside, in order.
    pub effects: Option<Vec<CaseEffect>>,
    /// Inputs of calls, by step; null: none was made. What is not named in them does not matter.
    pub calls: Option<Map>,
    /// Outputs, by step.
    pub outputs: Option<Map>,
    /// The answer to the sender: `status`, `headers`, `body`.
    pub reply: Option<Value>,
    /// What `kv` steps keep at the end.
    pub kv: Option<Map>,
    /// How long the run lives.
    pub takes: Option<Span>,
}

/// One call that changes something outside.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CaseEffect {
    /// The step, by its path.
    pub step: String,
    /// `connector.action`, `POST https://…`, `call FLOW`.
    pub action: Option<String>,
    /// Its input; what is not named does not matter.
    pub input: Option<Value>,
    /// How often it is sent, always under the same key.
    pub times: Option<u32>,
}

/// How steps settle, as `path` and `passes` say it.
pub const PATH_STATES: &[&str] =
    &["succeeded", "failed", "skipped", "cancelled", "in_doubt", "undone", "waiting", "retrying", "running"];
/// How runs end, as `run` says it.
pub const RUN_STATES: &[&str] = &["succeeded", "failed", "cancelled", "waiting", "in_doubt", "dropped"];
