//! `aura flow check`: what is wrong in a file, where, and what to do; alone or with a daemon's knowledge.
//!
//! Invariant: without a daemon the output says what was not checked, so silence never means more than it is.

use std::collections::BTreeSet;

use aura_protocol::flow::{Finding, Severity};
use aura_protocol::text::display;
use aura_protocol::{Code, WireError};
use serde::Serialize;

use super::super::output::{Output, note};
use super::super::{Ended, files};
use crate::client::Session;

const FINDINGS_MAX: usize = 200;

/// Checks files one by one.
///
/// # Errors
/// A file that cannot be read; other failures of a daemon than being away.
pub async fn check(paths: &[String], session: &mut Session, out: &mut Output) -> Ended {
    let mut away = session.client().await.err();
    let mut errors = 0_usize;
    for path in paths {
        let text = files::text(path)?;
        let mut found = alone(&text);
        if away.is_none() {
            let answer = session
                .call(|rpc, context, call| {
                    let text = text.clone();
                    async move { rpc.flow_check(context, call, text).await }
                })
                .await;
            match answer {
                Ok(more) => asked(&mut found, more),
                Err(error) if error.code == Code::FlowRefused => asked(&mut found, error.findings),
                // It is there and knows nothing: as if it were away.
                Err(error) if error.code == Code::Locked => away = Some(error),
                Err(error) => return Err(error),
            }
        }
        let mut found = in_order(found);
        if found.iter().all(|finding| finding.severity != Severity::Error) {
            found.extend(upcoming(&text));
        }
        errors += found.iter().filter(|finding| finding.severity == Severity::Error).count();
        for finding in found.iter().take(FINDINGS_MAX) {
            print(finding, path, &text, out)?;
        }
        if found.len() > FINDINGS_MAX {
            note(&format!("{path}: {} more findings are not shown", found.len() - FINDINGS_MAX));
        }
        if !out.json && found.iter().all(|finding| finding.severity == Severity::Note) {
            out.line(&format!("{}: ok", display(path)))?;
        }
    }
    if let Some(error) = away {
        note(&format!(
            "note: no aurad answered, so connections, connectors and secrets were not checked: {}",
            error.message
        ));
    }
    Ok(if errors == 0 { 0 } else { Code::FlowRefused.exit_code() })
}

/// What only a daemon knows was checked, so it is no longer a note.
fn asked(found: &mut Vec<Finding>, more: Vec<Finding>) {
    found.retain(|finding| finding.severity != Severity::Note);
    found.extend(more);
}

/// When the schedules of a flow are due next, as people would read them off a clock.
#[must_use]
pub fn upcoming(text: &str) -> Vec<Finding> {
    let now_ms = jiff::Timestamp::now().as_millisecond();
    aura_protocol::flow::read(text).map(|document| aura_protocol::flow::upcoming(&document, now_ms)).unwrap_or_default()
}

/// What can be said without a daemon.
#[must_use]
pub fn alone(text: &str) -> Vec<Finding> {
    match aura_protocol::flow::read(text) {
        Ok(document) => aura_protocol::flow::check(&document, None),
        Err(findings) => findings,
    }
}

/// By place, without what both sides found.
#[must_use]
pub fn in_order(mut found: Vec<Finding>) -> Vec<Finding> {
    let mut seen = BTreeSet::new();
    found.retain(|finding| seen.insert((finding.line, finding.column, finding.message.clone())));
    found.sort_by_key(|finding| (finding.line, finding.column));
    found
}

/// `file:line:column: error: message`.
#[must_use]
pub fn line(finding: &Finding, file: &str) -> String {
    let severity = match finding.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Note => "note",
    };
    let place = if finding.line == 0 { String::new() } else { format!("{}:{}:", finding.line, finding.column) };
    display(&format!("{file}:{place} {severity}: {}", finding.message))
}

#[derive(Serialize)]
struct Located<'a> {
    file: &'a str,
    #[serde(flatten)]
    finding: &'a Finding,
}

/// Prints a finding with its line of the source and a mark under the place.
///
/// # Errors
/// If standard output takes no more.
pub fn print(finding: &Finding, file: &str, text: &str, out: &mut Output) -> Result<(), WireError> {
    if out.json {
        return out.value(&Located { file, finding });
    }
    out.line(&line(finding, file))?;
    let number = usize::try_from(finding.line).unwrap_or(0);
    if let Some(source) = number.checked_sub(1).and_then(|index| text.lines().nth(index)) {
        let (shown, mark) = excerpt(source, usize::try_from(finding.column).unwrap_or(1));
        out.line(&format!("{number:>5} | {shown}"))?;
        out.line(&format!("      | {mark}^"))?;
    }
    match &finding.hint {
        Some(hint) => out.line(&display(&format!("  hint: {hint}"))),
        None => Ok(()),
    }
}

/// A window of a source line around a column (from 1, in characters), and the blanks before the mark.
fn excerpt(source: &str, column: usize) -> (String, String) {
    let at = column.saturating_sub(1);
    let from = at.saturating_sub(80);
    let window = |from: usize, count: usize| -> String {
        display(&source.replace('\t', " ").chars().skip(from).take(count).collect::<String>())
    };
    let before = unicode_width::UnicodeWidthStr::width(window(from, at - from).as_str());
    (window(from, 160), " ".repeat(before))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(line: u32, column: u32, message: &str) -> Finding {
        Finding { severity: Severity::Error, line, column, path: String::new(), message: message.into(), hint: None }
    }

    #[test]
    fn a_line_is_as_compilers_write_it() {
        assert_eq!(line(&finding(3, 7, "no such key"), "a.yaml"), "a.yaml:3:7: error: no such key");
        assert_eq!(line(&finding(0, 0, "empty"), "a.yaml"), "a.yaml: error: empty");
    }

    #[test]
    fn the_mark_stands_under_the_place_also_in_long_and_wide_lines() {
        let check = |source: &str, column: usize, expected_mark: usize, starts: &str| {
            let (shown, mark) = excerpt(source, column);
            assert_eq!(mark.len(), expected_mark, "{source}");
            assert!(shown.starts_with(starts), "{shown}");
        };
        check("abc: x", 6, 5, "abc");
        check("\tab", 2, 1, " ab");
        check("日本: x", 3, 4, "日本");
        check(&"x".repeat(500), 300, 80, "xxx");
        check("", 1, 0, "");
    }

    #[test]
    fn what_both_sides_found_is_said_once_in_the_order_of_the_file() {
        let found = in_order(vec![finding(9, 1, "b"), finding(2, 1, "a"), finding(9, 1, "b")]);
        let lines: Vec<u32> = found.iter().map(|finding| finding.line).collect();
        assert_eq!(lines, [2, 9]);
    }

    #[test]
    fn the_flow_that_new_writes_passes() {
        let mut found = alone(&super::super::template::flow("order-paid"));
        found.retain(|finding| finding.severity != Severity::Note);
        assert_eq!(found, Vec::new());
    }
}
