//! Flows as the screens know them: rows, what they did lately, the one that is open.
//!
//! Invariant: nothing is asked from here; [`Catalog::stale`] says that what is known may be old.

use std::collections::BTreeMap;

use aura_protocol::flow::{Finding, Severity};
use aura_protocol::ids::FlowId;
use aura_protocol::rpc::{Activity, BackfillInfo, FlowActivity, FlowDetail, FlowRow, FormInfo, PollInfo, Webhook};

/// One flow with everything about it.
#[derive(Clone, Debug, PartialEq)]
pub struct FlowView {
    /// Row and texts.
    pub detail: FlowDetail,
    /// Its endpoints.
    pub hooks: Vec<Webhook>,
    /// The pages of its forms.
    pub forms: Vec<FormInfo>,
    /// Its polls.
    pub polls: Vec<PollInfo>,
    /// Its backfills, newest first.
    pub backfills: Vec<BackfillInfo>,
    /// What was found in its draft, or in its published text if there is no draft.
    pub findings: Vec<Finding>,
}

impl FlowView {
    /// Findings that keep it from being published.
    #[must_use]
    pub fn errors(&self) -> usize {
        self.findings.iter().filter(|finding| finding.severity == Severity::Error).count()
    }
}

/// All flows.
#[derive(Debug, Default)]
pub struct Catalog {
    /// By name.
    pub rows: BTreeMap<String, FlowRow>,
    /// What each did lately.
    pub activity: BTreeMap<String, FlowActivity>,
    /// How far back that looks.
    pub since_ms: i64,
    /// The open flow.
    pub open: Option<FlowView>,
    /// The rows were read.
    pub known: bool,
    /// Something happened since.
    pub stale: bool,
    /// The open flow itself may have changed.
    pub open_stale: bool,
}

impl Catalog {
    /// Takes a whole list.
    pub fn take(&mut self, rows: Vec<FlowRow>, activity: Activity) {
        self.rows = rows.into_iter().map(|row| (row.flow.clone(), row)).collect();
        self.since_ms = activity.since_ms;
        self.activity = activity.flows.into_iter().map(|flow| (flow.flow.clone(), flow)).collect();
        self.known = true;
    }

    /// Takes one row.
    pub fn put(&mut self, row: FlowRow) {
        if let Some(open) = self.open.as_mut().filter(|open| open.detail.row.id == row.id) {
            open.detail.row = row.clone();
        }
        self.rows.insert(row.flow.clone(), row);
        self.stale = true;
        self.open_stale = true;
    }

    /// The flow of an id.
    #[must_use]
    pub fn of(&self, id: FlowId) -> Option<&FlowRow> {
        self.rows.values().find(|row| row.id == id)
    }
}
