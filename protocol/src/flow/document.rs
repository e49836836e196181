//! A flow that was read, with its text and where each part of it stands.
//!
//! Every finding about a document has a line and a column: of the path itself, else of the nearest part
//! around it that is written in the file.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};

use super::path::Path;
use super::tree::{Mark, Shape, Style, Tree};
use super::{Finding, Flow, Severity};
use crate::text::display;

/// A flow, its text, and where its parts stand in it.
#[derive(Clone, Debug, Default)]
pub struct Document {
    /// The flow.
    pub flow: Flow,
    /// The text it was read from.
    pub source: String,
    /// By the hash of the path: paths of deep parts are long, and there may be ten thousand.
    places: HashMap<u64, Place>,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    /// The key, or the item of a list.
    key: Mark,
    /// The value.
    value: Mark,
    /// Columns from the value's start to its first letter, if an offset in the text is an offset in the line.
    shift: Option<u32>,
}

impl Document {
    /// A document of a flow that was not read from a text; its findings have no place.
    #[must_use]
    pub fn of(flow: Flow) -> Self {
        Self { flow, ..Self::default() }
    }

    pub(crate) fn new(flow: Flow, source: &str, tree: &Tree) -> Self {
        let lines: Vec<&str> = source.lines().collect();
        let mut places = HashMap::new();
        collect(tree, tree.mark, &Path::root(), &lines, &mut places);
        Self { flow, source: source.to_owned(), places }
    }

    /// Line and column (from 1) of what a path names, or of the nearest part around it; (0, 0) without a text.
    #[must_use]
    pub fn place(&self, path: &str) -> (u32, u32) {
        self.near(path).map_or((0, 0), |(place, _)| (place.key.line, place.key.column))
    }

    fn near(&self, path: &str) -> Option<(&Place, bool)> {
        let mut rest = path;
        loop {
            if let Some(place) = self.places.get(&hash(rest)) {
                return Some((place, rest.len() == path.len()));
            }
            if rest.is_empty() {
                return None;
            }
            rest = rest.get(..rest.rfind(['.', '[']).unwrap_or(0)).unwrap_or_default();
        }
    }

    pub(crate) fn finding(
        &self,
        severity: Severity,
        path: &Path,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) -> Finding {
        let (line, column) = self.place(path.as_str());
        let hint: String = hint.into();
        Finding {
            severity,
            line,
            column,
            path: display(path.as_str()),
            message: display(&message.into()),
            hint: Some(display(&hint)).filter(|hint| !hint.is_empty()),
        }
    }

    /// As [`Document::finding`] about a byte of the text at the path: its own column where that can be told.
    pub(crate) fn finding_in(
        &self,
        path: &Path,
        text: &str,
        offset: usize,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) -> Finding {
        let mut finding = self.finding(Severity::Error, path, message, hint);
        if let Some((place, true)) = self.near(path.as_str()) {
            finding.line = place.value.line;
            finding.column = place.value.column;
            if let (Some(shift), Some(before)) = (place.shift, text.get(..offset)) {
                let letters = u32::try_from(before.chars().count()).unwrap_or(0);
                finding.column = place.value.column.saturating_add(shift).saturating_add(letters);
            }
        }
        finding
    }
}

fn hash(path: &str) -> u64 {
    let mut hasher = std::hash::DefaultHasher::new();
    path.hash(&mut hasher);
    hasher.finish()
}

fn collect(tree: &Tree, key: Mark, path: &Path, lines: &[&str], places: &mut HashMap<u64, Place>) {
    places.insert(hash(path.as_str()), Place { key, value: tree.mark, shift: shift(tree, lines) });
    match &tree.shape {
        Shape::Scalar { .. } => {}
        Shape::List(items) => {
            for (index, item) in items.iter().enumerate() {
                collect(item, item.mark, &path.item(index), lines, places);
            }
        }
        Shape::Map(entries) => {
            for entry in entries {
                collect(&entry.tree, entry.mark, &path.field(&entry.key), lines, places);
            }
        }
    }
}

/// Whether the text stands letter for letter on its line, and how far after the start of its value.
fn shift(tree: &Tree, lines: &[&str]) -> Option<u32> {
    let Shape::Scalar { text, style } = &tree.shape else { return None };
    let line = usize::try_from(tree.mark.line).ok().and_then(|n| lines.get(n.checked_sub(1)?))?;
    let skip = usize::try_from(tree.mark.column).ok()?.checked_sub(1)?;
    let start = line.char_indices().nth(skip).map(|(at, _)| at)?;
    let written = line.get(start..)?;
    match style {
        Style::Plain => written.starts_with(text.as_str()).then_some(0),
        Style::Quoted => written.get(1..)?.starts_with(text.as_str()).then_some(1),
        Style::Block => None,
    }
}
