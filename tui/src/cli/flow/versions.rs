//! `aura flow log | diff | rollback | plan`, and `apply` of a directory.
//!
//! Invariant: what is applied together was shown first, and is stored whole or not at all.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use aura_protocol::flow::Severity;
use aura_protocol::flow::diff::{Change, FlowDiff};
use aura_protocol::rpc::{FlowFiles, FlowRow, FlowText, FlowVersion, FlowVersionOf, PlannedFlow, VersionOf};
use aura_protocol::text::{display, display_lines};
use aura_protocol::{Code, WireError};
use similar::{ChangeTag, TextDiff};

use super::super::output::{Output, note};
use super::super::run_replay::version;
use super::super::{Ended, files, prompt};
use super::{check, said};
use crate::client::Session;
use crate::times;

fn short(version: &str) -> String {
    version.chars().take(8).collect()
}

/// The publications of a flow.
pub async fn log(name: String, session: &mut Session, out: &mut Output) -> Ended {
    let versions = history(&name, session).await?;
    if out.json {
        for version in &versions {
            out.value(version)?;
        }
        return Ok(0);
    }
    let rows: Vec<Vec<String>> = versions
        .iter()
        .map(|version| {
            let state = if version.published { "published" } else { version.note.as_str() };
            let again = if version.published && !version.note.is_empty() {
                format!(" ({})", version.note)
            } else {
                String::new()
            };
            vec![
                short(&version.version),
                if version.at_ms > 0 { times::full(version.at_ms, &out.zone) } else { "-".to_owned() },
                if version.by.is_empty() { "-".to_owned() } else { version.by.clone() },
                version.live.to_string(),
                format!("{state}{again}"),
                version.changes.clone(),
            ]
        })
        .collect();
    out.table(&["VERSION", "WHEN", "BY", "LIVE", "STATE", "CHANGES"], &rows)?;
    Ok(0)
}

async fn history(name: &str, session: &mut Session) -> Result<Vec<FlowVersion>, WireError> {
    session
        .call(|rpc, context, call| {
            let name = name.to_owned();
            async move { rpc.flow_history(context, call, name).await }
        })
        .await
}

async fn text(flow: &str, version: VersionOf, session: &mut Session) -> Result<FlowText, WireError> {
    let query = FlowVersionOf { flow: flow.to_owned(), version };
    session
        .call(|rpc, context, call| {
            let query = query.clone();
            async move { rpc.flow_text(context, call, query).await }
        })
        .await
}

/// What differs between two versions.
pub async fn diff(
    name: String,
    (old, new): (Option<String>, Option<String>),
    steps: bool,
    session: &mut Session,
    out: &mut Output,
) -> Ended {
    let (old, new) = match (old, new) {
        (Some(old), Some(new)) => (version(&old), version(&new)),
        (Some(old), None) => (version(&old), VersionOf::Published),
        (None, _) => {
            let known = history(&name, session).await?;
            if known.iter().any(|version| version.note == "draft") {
                (VersionOf::Published, VersionOf::Draft)
            } else {
                let mut publications = known.iter().skip_while(|version| !version.published);
                let now = publications.next().map(|version| version.version.clone());
                let before =
                    publications.map(|version| version.version.clone()).find(|before| Some(before) != now.as_ref());
                let before = before.ok_or_else(|| {
                    WireError::new(
                        Code::Conflict,
                        format!("{} was published once only, and has no draft", display(&name)),
                    )
                })?;
                (VersionOf::Hash(before), VersionOf::Published)
            }
        }
    };
    let (old, new) = (text(&name, old, session).await?, text(&name, new, session).await?);
    let read = |text: &FlowText| {
        let read = aura_protocol::flow::read(&text.text).map(|document| document.flow);
        read.map_err(|_| {
            WireError::internal(format!("version {} is not readable by this client", short(&text.version)))
        })
    };
    let found = aura_protocol::flow::diff::diff(&read(&old)?, &read(&new)?);
    let lines = unified(&old, &new);
    if out.json {
        let value =
            serde_json::json!({ "flow": name, "from": old.version, "to": new.version, "diff": found, "text": lines });
        return out.value(&value).map(|()| 0);
    }
    out.line(&display(&format!("{name} {} to {}: {}", short(&old.version), short(&new.version), found.sentence())))?;
    print(&found, out)?;
    if !steps {
        for line in &lines {
            out.line(&display_lines(line))?;
        }
    }
    Ok(0)
}

/// Changes part by part.
fn print(found: &FlowDiff, out: &mut Output) -> Result<(), WireError> {
    let keys = |keys: &[aura_protocol::flow::diff::KeyChange], out: &mut Output| -> Result<(), WireError> {
        for key in keys {
            let old = key.old.as_deref().unwrap_or("-");
            let new = key.new.as_deref().unwrap_or("-");
            out.line(&display(&format!("      {}: {old} -> {new}", key.key)))?;
        }
        Ok(())
    };
    if !found.flow.is_empty() {
        out.line("  ~ flow")?;
        keys(&found.flow, out)?;
    }
    for (word, parts) in [("trigger", &found.triggers), ("step", &found.steps)] {
        for part in parts {
            let sign = match part.change {
                Change::Added => '+',
                Change::Removed => '-',
                Change::Changed => '~',
            };
            out.line(&display(&format!("  {sign} {word} {} ({})", part.id, part.kind)))?;
            keys(&part.keys, out)?;
        }
    }
    Ok(())
}

/// What differs line by line, with three lines around it.
fn unified(old: &FlowText, new: &FlowText) -> Vec<String> {
    if old.text == new.text {
        return Vec::new();
    }
    let diff = TextDiff::from_lines(&old.text, &new.text);
    let mut lines = vec![format!("--- {}", short(&old.version)), format!("+++ {}", short(&new.version))];
    for group in diff.grouped_ops(3) {
        let (Some(first), Some(last)) = (group.first(), group.last()) else { continue };
        lines.push(format!(
            "@@ -{},{} +{},{} @@",
            first.old_range().start + 1,
            last.old_range().end - first.old_range().start,
            first.new_range().start + 1,
            last.new_range().end - first.new_range().start
        ));
        for change in group.iter().flat_map(|op| diff.iter_changes(op)) {
            let sign = match change.tag() {
                ChangeTag::Delete => '-',
                ChangeTag::Insert => '+',
                ChangeTag::Equal => ' ',
            };
            lines.push(format!("{sign}{}", change.value().trim_end_matches(['\r', '\n'])));
        }
    }
    lines
}

/// Publishes an old version again.
pub async fn rollback(name: String, old: String, session: &mut Session) -> Result<FlowRow, WireError> {
    let request = FlowVersionOf { flow: name, version: VersionOf::Hash(old) };
    session
        .call(|rpc, context, call| {
            let request = request.clone();
            async move { rpc.flow_rollback(context, call, request).await }
        })
        .await
}

/// Whether somebody agrees; without a terminal only `--yes` does.
///
/// # Errors
/// Nobody agreed.
pub(crate) fn agreed(yes: bool, sentence: &str, what: &str) -> Result<(), WireError> {
    if yes {
        return Ok(());
    }
    if !(std::io::stdin().is_terminal() && std::io::stderr().is_terminal()) {
        return Err(WireError::new(Code::Invalid, sentence.to_owned()).hint("agree with --yes"));
    }
    note(sentence);
    let answer = prompt::ask(&format!("{what}? write yes"), false)?;
    if answer.trim() == "yes" {
        return Ok(());
    }
    Err(WireError::new(Code::Invalid, "not agreed; nothing was done"))
}

/// Files by name and text: those that were named, and the flow files of directories in the order of their names.
fn gathered(paths: &[String]) -> Result<Vec<(String, String)>, WireError> {
    let mut found = Vec::new();
    for path in paths {
        if !Path::new(path).is_dir() {
            found.push((path.clone(), files::text(path)?));
            continue;
        }
        let refuse =
            |error: std::io::Error| WireError::new(Code::Invalid, format!("{} cannot be read: {error}", display(path)));
        let mut inside: Vec<PathBuf> = Vec::new();
        for entry in std::fs::read_dir(path).map_err(refuse)? {
            let file = entry.map_err(refuse)?.path();
            let is_flow = file.extension().is_some_and(|end| ["yaml", "yml", "json"].iter().any(|known| end == *known));
            // Cases stand beside their flow.
            let is_cases = file.file_stem().is_some_and(|stem| stem.to_string_lossy().ends_with(".test"));
            if is_flow && !is_cases && file.is_file() {
                inside.push(file);
            }
        }
        inside.sort();
        if inside.is_empty() {
            return Err(WireError::new(Code::Invalid, format!("{} holds no flow files", display(path)))
                .hint("their names end in .yaml, .yml or .json"));
        }
        for file in inside {
            let name = file.display().to_string();
            found.push((name.clone(), files::text(&name)?));
        }
    }
    Ok(found)
}

pub(crate) async fn planned(found: &[(String, String)], session: &mut Session) -> Result<Vec<PlannedFlow>, WireError> {
    let request = FlowFiles { texts: found.iter().map(|(_, text)| text.clone()).collect(), publish: false };
    session
        .call(|rpc, context, call| {
            let request = request.clone();
            async move { rpc.flow_plan(context, call, request).await }
        })
        .await
}

/// Shows a plan; gives whether a file would be refused.
pub(crate) fn show(found: &[(String, String)], plans: &[PlannedFlow], out: &mut Output) -> Result<bool, WireError> {
    let mut refused = false;
    for ((file, text), plan) in found.iter().zip(plans) {
        let wrong = plan.findings.iter().any(|finding| finding.severity == Severity::Error);
        refused |= wrong;
        if out.json {
            out.value(plan)?;
            continue;
        }
        let name = if plan.flow.is_empty() { file } else { &plan.flow };
        let what = match plan.change.as_str() {
            "changed" => plan.diff.sentence(),
            _ => String::new(),
        };
        out.line(display(&format!("{name}: {} {what}", plan.change)).trim_end())?;
        print(&plan.diff, out)?;
        for missing in &plan.missing {
            out.line(&display(&format!("  missing: {missing}")))?;
        }
        for finding in plan.findings.iter().filter(|finding| finding.severity == Severity::Error) {
            check::print(finding, file, text, out)?;
        }
        for line in &plan.notes {
            out.line(&display(&format!("  {line}")))?;
        }
        if !wrong && plan.change != "same" {
            for finding in check::upcoming(text) {
                out.line(&display(&format!("  {}: {}", finding.path, finding.message)))?;
            }
        }
    }
    Ok(refused)
}

/// What files would change.
pub async fn plan(paths: &[String], session: &mut Session, out: &mut Output) -> Ended {
    let found = gathered(paths)?;
    let plans = planned(&found, session).await?;
    let refused = show(&found, &plans, out)?;
    Ok(if refused { Code::FlowRefused.exit_code() } else { 0 })
}

/// Applies directories: all or none.
pub async fn apply(paths: &[String], publish: bool, yes: bool, session: &mut Session, out: &mut Output) -> Ended {
    let found = gathered(paths)?;
    let plans = planned(&found, session).await?;
    let change = plans.iter().filter(|plan| plan.change != "same").count();
    if !out.json && show(&found, &plans, out)? {
        return Err(WireError::new(Code::FlowRefused, "some of the files are refused; nothing was stored"));
    }
    let what = if publish { "published" } else { "stored as drafts" };
    agreed(yes, &format!("{} flows would be {what}, {change} of them new or changed", found.len()), "do it")?;
    let request = FlowFiles { texts: found.into_iter().map(|(_, text)| text).collect(), publish };
    let rows = session
        .call(|rpc, context, call| {
            let request = request.clone();
            async move { rpc.flow_apply_all(context, call, request).await }
        })
        .await?;
    for row in &rows {
        said(row, if publish { "published" } else { "stored as draft" }, out)?;
    }
    Ok(0)
}
