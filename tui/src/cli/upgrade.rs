//! `aura upgrade check`: what another build of `aurad` makes of the flows that this daemon runs, before it takes over.
//!
//! Each version that may still start or go on is read by that build, and each file of cases is run by it; nothing is
//! stored, sent or changed. Invariant: a version or case that the other build was not asked about is never said to be
//! the same.

use std::path::PathBuf;

use aura_protocol::WireError;
use aura_protocol::flow::Severity;
use aura_protocol::rpc::{FlowTest, FlowTested, FlowVersionOf, VersionOf};
use aura_protocol::text::display;
use serde::Serialize;

use super::flow::trial::{by, pairs};
use super::output::{Output, note};
use super::{Ended, files};
use crate::client::Session;

/// `aura upgrade`.
#[derive(clap::Subcommand, Debug)]
pub enum Command {
    /// Read every version that is published or has unfinished runs, and run your tests, with another build of aurad
    #[command(
        after_help = "Example: aura upgrade check --with /tmp/new/aurad flows/   # exit code 1 if something would change"
    )]
    Check(Check),
}

/// What to compare with.
#[derive(clap::Args, Debug)]
pub struct Check {
    /// The other build
    #[arg(long, value_name = "AURAD")]
    with: PathBuf,
    /// Flows with their tests, or directories with such files in them
    #[arg(value_name = "FILE|DIR")]
    paths: Vec<String>,
}

/// One flow version or file of cases, and what the other build makes of it.
#[derive(Serialize)]
struct Row {
    /// Name of the flow, or the file of cases.
    what: String,
    /// The version, if it is one.
    #[serde(skip_serializing_if = "String::is_empty")]
    version: String,
    /// Unfinished runs of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    live: Option<u64>,
    /// What would not be the same, in words; empty: nothing that was looked at.
    problems: Vec<String>,
    /// Cases that passed.
    #[serde(skip_serializing_if = "Option::is_none")]
    passed: Option<usize>,
}

/// Does it.
///
/// # Errors
/// What the daemon says, or the other build cannot be started.
pub async fn upgrade(command: &Command, session: &mut Session, out: &mut Output) -> Ended {
    let Command::Check(args) = command;
    let pairs = pairs(&args.paths)?;
    let (mut all, mut wrong) = (0_usize, 0_usize);
    let mut tell = |row: &Row, out: &mut Output| {
        all += 1;
        wrong += usize::from(!row.problems.is_empty());
        said(row, out)
    };
    let flows = session.call(|rpc, context, call| async move { rpc.flow_list(context, call, ()).await }).await?;
    for flow in &flows {
        let name = flow.flow.clone();
        let log = session
            .call(|rpc, context, call| {
                let name = name.clone();
                async move { rpc.flow_history(context, call, name).await }
            })
            .await?;
        let mut seen: Vec<&str> = Vec::new();
        for row in log.iter().filter(|row| row.published || row.live > 0) {
            if seen.contains(&row.version.as_str()) {
                continue;
            }
            seen.push(&row.version);
            let query = FlowVersionOf { flow: name.clone(), version: VersionOf::Hash(row.version.clone()) };
            let found = session
                .call(|rpc, context, call| {
                    let query = query.clone();
                    async move { rpc.flow_text(context, call, query).await }
                })
                .await?;
            let tested = by(&args.with, &FlowTest { flow: found.text, ..FlowTest::default() }).await?;
            let problems = reading(&tested, &row.version);
            let version = row.version.chars().take(12).collect();
            tell(&Row { what: name.clone(), version, live: Some(row.live), problems, passed: None }, out)?;
        }
    }
    for pair in pairs {
        let (file, flow) = (pair.cases.display().to_string(), pair.flow.display().to_string());
        let request = FlowTest { flow: files::text(&flow)?, cases: files::text(&file)?, ..FlowTest::default() };
        let tested = by(&args.with, &request).await?;
        let passed = tested.cases.iter().filter(|case| case.passed).count();
        let problems = cases(&tested);
        tell(&Row { what: file, version: String::new(), live: None, problems, passed: Some(passed) }, out)?;
    }
    if all == 0 {
        return Err(WireError::not_found("no flow is published, and no file of cases was named"));
    }
    if args.paths.is_empty() {
        note("only read, not run: name the files of your tests to have that build run them");
    }
    if !out.json {
        let end = if wrong == 0 { "nothing would change".to_owned() } else { format!("{wrong} would change or stop") };
        out.line(&format!("{all} looked at: {end}"))?;
    }
    Ok(u8::from(wrong > 0))
}

/// What the other build does not read as this one does.
fn reading(tested: &FlowTested, version: &str) -> Vec<String> {
    let errors = tested.flow_findings.iter().filter(|finding| finding.severity == Severity::Error);
    let mut problems: Vec<String> =
        errors.map(|finding| format!("line {}: {}", finding.line, finding.message)).take(10).collect();
    if problems.is_empty() && tested.version.is_empty() {
        problems.push("that build does not say how it reads a flow; it is older than this command".to_owned());
    } else if problems.is_empty() && tested.version != version {
        let other: String = tested.version.chars().take(12).collect();
        problems.push(format!("that build reads another version in it: {other}"));
    }
    problems
}

/// What does not pass.
fn cases(tested: &FlowTested) -> Vec<String> {
    let findings = tested.flow_findings.iter().chain(&tested.case_findings);
    let errors = findings.filter(|finding| finding.severity == Severity::Error);
    let mut problems: Vec<String> =
        errors.map(|finding| format!("line {}: {}", finding.line, finding.message)).collect();
    for case in tested.cases.iter().filter(|case| !case.passed) {
        let why = case.problems.first().map(|problem| problem.message.as_str()).unwrap_or("it failed");
        problems.push(format!("case `{}` (line {}): {why}", case.name, case.line));
    }
    if let Some(case) = &tested.not_run {
        problems.push(format!("time was up before the case `{case}`"));
    }
    if problems.is_empty() && tested.cases.is_empty() {
        problems.push("no case was run".to_owned());
    }
    problems.truncate(20);
    problems
}

fn said(row: &Row, out: &mut Output) -> Result<(), WireError> {
    if out.json {
        return out.value(row);
    }
    let word = if row.problems.is_empty() { "ok  " } else { "FAIL" };
    let live = row.live.filter(|live| *live > 0).map(|live| format!(", {live} unfinished")).unwrap_or_default();
    let passed = row.passed.map(|passed| format!("{passed} passed")).unwrap_or_default();
    out.line(&display(format!("{word}  {}  {}{live}{passed}", row.what, row.version).trim_end()))?;
    row.problems.iter().try_for_each(|problem| out.line(&display(&format!("          {problem}"))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_looked_at_is_never_the_same() {
        let read = |version: &str| reading(&FlowTested { version: version.into(), ..FlowTested::default() }, "abc");
        assert!(read("abc").is_empty());
        assert!(read("")[0].contains("older"), "it says nothing");
        assert!(read("abd")[0].contains("another version"));
        assert_eq!(cases(&FlowTested::default()), ["no case was run"]);
    }
}
