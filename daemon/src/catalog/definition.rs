//! The border to the flow format: reading, checking with what this daemon knows, version, outline.

use aura_integrations::registry::Registry;
use aura_protocol::flow::{self, Finding, Flow, Knowledge};
use aura_protocol::rpc::OutlineRow;

use crate::catalog::State;
use crate::catalog::connections::SECRET;
use crate::engine::core::bugs::{Bug, has};

/// Reads a text that was checked before.
///
/// # Errors
/// What is wrong with it.
pub fn read(text: &str) -> Result<Flow, Vec<Finding>> {
    flow::read(text).map(|document| document.flow)
}

/// Reads and checks a text: the flow and its warnings, or all findings.
///
/// # Errors
/// At least one finding is an error.
pub fn check(text: &str, state: &State, registry: &Registry) -> Result<(Flow, Vec<Finding>), Vec<Finding>> {
    let document = flow::read(text)?;
    let connections = || state.connections.values();
    let known = Knowledge {
        connectors: registry.connectors().to_vec(),
        connections: Some(connections().map(|record| (record.name.clone(), record.connector.clone())).collect()),
        secrets: Some(
            connections().filter(|record| record.connector == SECRET).map(|record| record.name.clone()).collect(),
        ),
        variables: Some(state.variable_names()),
    };
    let findings = flow::check(&document, Some(&known));
    if flow::is_refused(&findings) && !has(Bug::FindingsAreIgnored) {
        Err(findings)
    } else {
        Ok((document.flow, findings))
    }
}

/// The hash that names a version.
#[must_use]
pub fn version(flow: &Flow) -> String {
    flow::version_hash(flow)
}

/// Steps in written order.
#[must_use]
pub fn outline(flow: &Flow) -> Vec<OutlineRow> {
    flow::outline(flow)
}
