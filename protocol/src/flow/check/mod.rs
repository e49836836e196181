//! The checks of a flow: everything that can be refused before a run (design §3, rules 1 to 12).
//!
//! [`check`] needs no daemon; what only a daemon knows (connectors, connections, secrets) comes in as
//! [`Knowledge`], and without it a note says what was not looked at. One file per idea: [`ids`] names and
//! needs, [`executed`] what this build does not do, [`expressions`] syntax and what may be read where,
//! [`triggers`] the door, [`steps`] the rules of kinds and modifiers, [`items`] joins, maps and compensation, [`rules`] rule tables,
//! [`known`] connectors.

mod executed;
mod expressions;
mod gathering;
mod ids;
mod items;
mod known;
mod limits;
mod rules;
mod steps;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_expressions;
#[cfg(test)]
mod tests_items;
#[cfg(test)]
mod tests_rules;
#[cfg(test)]
mod tests_scopes;
mod triggers;

pub use steps::method_effect;

use super::path::Path;
use super::scopes::Scopes;
use super::{Document, Finding, Severity, Span};
use crate::descriptor::Connector;

/// One look shows at most this many findings.
const FINDINGS_MAX: usize = 200;

/// What only a daemon knows.
#[derive(Clone, Debug, Default)]
pub struct Knowledge {
    /// The connectors it has.
    pub connectors: Vec<Connector>,
    /// Name and connector of each connection; `None`: not looked at.
    pub connections: Option<Vec<(String, String)>>,
    /// Names of the secrets that are set; `None`: not looked at.
    pub secrets: Option<Vec<String>>,
    /// Names of the variables that are set; `None`: not looked at.
    pub variables: Option<Vec<String>>,
}

/// Checks a flow, in the order of the file. It may be taken if no finding is an error.
#[must_use]
pub fn check(document: &Document, known: Option<&Knowledge>) -> Vec<Finding> {
    let scopes = Scopes::of(&document.flow);
    let mut checks = Checks { document, scopes: &scopes, findings: Vec::new() };
    checks.names();
    checks.executed();
    checks.triggers();
    checks.flow_limits();
    checks.steps();
    checks.expressions();
    checks.known(known);
    let mut findings = checks.findings;
    // Errors first, so that a cut never makes a refused flow look good.
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    findings.truncate(FINDINGS_MAX);
    findings.sort_by_key(|finding| (finding.line, finding.column));
    findings
}

/// When each schedule of a flow is due next, ten instants each, as notes at their places.
#[must_use]
pub fn upcoming(document: &Document, now_ms: i64) -> Vec<Finding> {
    let schedules = document.flow.triggers.iter().enumerate().filter(|(_, trigger)| trigger.on == "schedule");
    schedules
        .filter_map(|(number, trigger)| {
            let schedule = crate::schedule::Schedule::read(&trigger.with).ok()?;
            let next: Vec<String> = schedule.after(now_ms, 10).map(|instant| schedule.local(instant)).collect();
            let path = Path::root().field("triggers").item(number).field("with");
            let mut message =
                if next.is_empty() { "never due again".to_owned() } else { format!("due next: {}", next.join(", ")) };
            let jitter = schedule.jitter_ms();
            if jitter > 0 && !next.is_empty() {
                let most = Span::from_ms(u64::try_from(jitter).unwrap_or(0));
                message.push_str(&format!("; each begins up to {most} later"));
            }
            Some(document.finding(Severity::Note, &path, message, ""))
        })
        .collect()
}

/// Whether a flow with these findings is refused.
#[must_use]
pub fn is_refused(findings: &[Finding]) -> bool {
    findings.iter().any(|finding| finding.severity == Severity::Error)
}

/// The flow under check and what was found.
struct Checks<'f> {
    document: &'f Document,
    scopes: &'f Scopes<'f>,
    findings: Vec<Finding>,
}

impl Checks<'_> {
    fn say(&mut self, severity: Severity, path: &Path, message: impl Into<String>, hint: impl Into<String>) {
        self.findings.push(self.document.finding(severity, path, message, hint));
    }

    fn error(&mut self, path: &Path, message: impl Into<String>, hint: impl Into<String>) {
        self.say(Severity::Error, path, message, hint);
    }

    fn warn(&mut self, path: &Path, message: impl Into<String>, hint: impl Into<String>) {
        self.say(Severity::Warning, path, message, hint);
    }

    fn note(&mut self, path: &Path, message: impl Into<String>) {
        self.say(Severity::Note, path, message, "");
    }
}
