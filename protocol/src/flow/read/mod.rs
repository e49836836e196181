//! Typed reading: the tree of a file to a [`Flow`], with every finding at its line and column.
//!
//! Keys are closed ([`super::keys`]). Everything of format 1 is read, also what this build does not
//! execute; what it must not do stands in [`super::check`]. Reading goes on after a finding, so that one
//! look shows all of them. [`scan`] holds the small readers, [`step`] and [`trigger`] the two big parts.

mod cases;
mod scan;
mod step;
#[cfg(test)]
mod tests;
mod trigger;

pub use cases::read_cases;
pub(super) use trigger::DEDUPE_WINDOW;

use super::document::Document;
use super::path::Path;
use super::tree::{self, Mark, Tree};
use super::{Concurrency, Finding, Flow, Limit, Rate, Severity, WhenFull, keys};
use crate::text::display;

/// One look shows at most this many findings.
const FINDINGS_MAX: usize = 100;

/// Reads a flow file: YAML 1.2 as far as the format takes it, or JSON.
///
/// # Errors
/// What is wrong, each with line, column and usually a hint: one finding if the text is no YAML, else all.
pub fn read(text: &str) -> Result<Document, Vec<Finding>> {
    let tree = tree::parse(text).map_err(|finding| vec![finding])?;
    let mut reader = Reader { findings: Vec::new() };
    let flow = reader.flow(&tree);
    if reader.findings.is_empty() { Ok(Document::new(flow, text, &tree)) } else { Err(reader.findings) }
}

/// Collects findings while it reads.
struct Reader {
    findings: Vec<Finding>,
}

impl Reader {
    fn fail(&mut self, mark: Mark, path: &Path, message: impl Into<String>, hint: impl Into<String>) {
        if self.findings.len() >= FINDINGS_MAX {
            return;
        }
        let hint: String = hint.into();
        self.findings.push(Finding {
            severity: Severity::Error,
            line: mark.line,
            column: mark.column,
            path: display(path.as_str()),
            message: display(&message.into()),
            hint: Some(display(&hint)).filter(|hint| !hint.is_empty()),
        });
    }

    fn flow(&mut self, tree: &Tree) -> Flow {
        let mut flow = Flow::default();
        let Some(fields) = self.fields(tree, &Path::root(), "a flow file", keys::FLOW) else { return flow };
        match fields.get("aura").map(|(tree, path)| (self.value(tree, &path), tree.mark, path)) {
            None => self.fail(tree.mark, &Path::root(), "the key `aura` is missing", "begin the file with `aura: 1`"),
            Some((crate::Value::Int(1), ..)) => {}
            Some((other, mark, path)) => {
                let shown = super::shown(&other);
                self.fail(mark, &path, format!("format {shown} is not known"), "this build reads format 1: `aura: 1`");
            }
        }
        flow.flow = self.needed(&fields, "flow", Self::text);
        flow.title = self.given(&fields, "title", Self::text);
        flow.note = self.given(&fields, "note", Self::text);
        flow.labels = self.given(&fields, "labels", Self::labels).unwrap_or_default();
        flow.subject = self.given(&fields, "subject", Self::expression);
        flow.input = self.given(&fields, "input", Self::any);
        flow.triggers = self.list_of(&fields, "triggers", Self::trigger);
        flow.concurrency = self.given(&fields, "concurrency", Self::concurrency);
        flow.rate = self.given(&fields, "rate", |reader, tree, path| reader.rate(tree, path, keys::RATE));
        flow.priority = self.given(&fields, "priority", Self::any);
        flow.index = self.list_of(&fields, "index", Self::text);
        flow.timeout = self.given(&fields, "timeout", Self::span);
        flow.retention = self.given(&fields, "retention", Self::span);
        if !fields.has("steps") {
            let hint = "write `steps:` and under it a list; each step has an `id` and one kind";
            self.fail(tree.mark, &Path::root(), "the key `steps` is missing", hint);
        }
        flow.steps = self.steps_of(&fields, "steps");
        flow.on_error = self.steps_of(&fields, "on_error");
        flow.finally = self.steps_of(&fields, "finally");
        flow
    }

    fn labels(&mut self, tree: &Tree, path: &Path) -> Option<std::collections::BTreeMap<String, String>> {
        let entries = self.entries(tree, path, "labels")?;
        let mut labels = std::collections::BTreeMap::new();
        for entry in entries {
            if let Some(text) = self.text(&entry.tree, &path.field(&entry.key)) {
                labels.insert(entry.key.clone(), text);
            }
        }
        Some(labels)
    }

    fn rate(&mut self, tree: &Tree, path: &Path, known: &[&'static str]) -> Option<Rate> {
        let fields = self.fields(tree, path, "`rate`", known)?;
        Some(Rate {
            key: self.given(&fields, "key", Self::expression),
            count: self.needed(&fields, "count", Self::count),
            per: self.needed(&fields, "per", Self::span),
        })
    }

    fn limit(&mut self, tree: &Tree, path: &Path) -> Option<Limit> {
        let fields = self.fields(tree, path, "`limit`", keys::LIMIT)?;
        Some(Limit {
            key: self.given(&fields, "key", Self::expression),
            concurrency: self.given(&fields, "concurrency", Self::count),
            rate: self.given(&fields, "rate", |reader, tree, path| reader.rate(tree, path, keys::LIMIT_RATE)),
            priority: self.given(&fields, "priority", Self::any),
        })
    }

    fn concurrency(&mut self, tree: &Tree, path: &Path) -> Option<Concurrency> {
        let fields = self.fields(tree, path, "`concurrency`", keys::CONCURRENCY)?;
        Some(Concurrency {
            key: self.given(&fields, "key", Self::expression),
            limit: self.given(&fields, "limit", Self::count).unwrap_or(1),
            when_full: self
                .given(&fields, "when_full", |reader, tree, path| {
                    let words = [("queue", WhenFull::Queue), ("drop", WhenFull::Drop), ("replace", WhenFull::Replace)];
                    reader.word(tree, path, &words)
                })
                .unwrap_or_default(),
        })
    }
}
