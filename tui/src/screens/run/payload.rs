//! The payload pane: input, output or error of a step as JSON text, folded by depth or in windows.
//!
//! Invariant: small payloads stand in the journal we have; only cut ones are asked for, a window at a time.

use aura_protocol::Value;
use aura_protocol::rpc::{PayloadQuery, RunDetail, RunRef};
use aura_protocol::run::{Awaited, Record};
use aura_protocol::text::display_lines;
use unicode_segmentation::UnicodeSegmentation;
use unicode_width::UnicodeWidthStr;

/// Bytes asked for at once.
pub const WINDOW: u32 = 64 * 1024;

/// Which side of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// What it was given.
    Input,
    /// What it gave.
    Output,
    /// Why it failed.
    Error,
}

impl Part {
    /// The word on screen and on the wire.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Input => "input",
            Self::Output => "output",
            Self::Error => "error",
        }
    }
}

/// What there is to show.
pub enum Payload {
    /// JSON for people.
    Text(Part, String),
    /// It must be asked for.
    Window(PayloadQuery),
    /// Nothing (yet), and why.
    Nothing(Part, &'static str),
}

/// The payload of a step; without a chosen part its error, else output, else input.
#[must_use]
pub fn of(detail: &RunDetail, step: &str, part: Option<Part>, offset: u64) -> Payload {
    let found = |part| find(detail, step, part);
    let (part, value) = match part {
        Some(part) => (part, found(part)),
        None if step.is_empty() => (Part::Input, found(Part::Input)),
        None => match (found(Part::Output), found(Part::Error)) {
            (Some(output), _) => (Part::Output, Some(output)),
            (None, Some(error)) => (Part::Error, Some(error)),
            (None, None) => (Part::Input, found(Part::Input)),
        },
    };
    match value {
        Some(value) if !is_cut(&value) => Payload::Text(part, value.to_json_pretty()),
        None if !detail.cut => Payload::Nothing(part, none(part, step)),
        _ => Payload::Window(PayloadQuery {
            run: RunRef(detail.head.run.to_string()),
            step: step.to_owned(),
            part: part.word().to_owned(),
            offset,
            limit: WINDOW,
        }),
    }
}

fn none(part: Part, step: &str) -> &'static str {
    match part {
        Part::Input if step.is_empty() => "the event is not known",
        Part::Input => "no input: not a call, or not begun",
        Part::Output => "no output yet",
        Part::Error => "no error",
    }
}

/// The daemon writes `… N bytes …` where it cut.
fn is_cut(value: &Value) -> bool {
    match value {
        Value::Str(text) => text.starts_with("… ") && text.ends_with(" bytes …"),
        Value::Map(map) => map.values().any(is_cut),
        _ => false,
    }
}

fn find(detail: &RunDetail, step: &str, part: Part) -> Option<Value> {
    let records = || detail.journal.iter().rev().flat_map(|transition| transition.records.iter().rev());
    if step.is_empty() {
        return records().find_map(|record| match (record, part) {
            (Record::RunStarted(start), Part::Input) if start.trigger == "manual" && !start.input.is_null() => {
                Some(start.input.clone())
            }
            (Record::RunStarted(start), Part::Input) => Some(start.event.to_trigger()),
            (Record::RunFinished { output, .. }, Part::Output) => Some(output.clone()),
            (Record::RunFinished { error: Some(error), .. }, Part::Error) => Some(error.to_value()),
            _ => None,
        });
    }
    records().map(Record::bare).filter(|record| record.path() == Some(step)).find_map(|record| match (record, part) {
        (Record::Scheduled { input, .. }, Part::Input) => Some(input.clone()),
        (Record::Awaiting { what: Awaited::People(ask), .. }, Part::Input) => Some(ask.form.clone()),
        (Record::Completed { output, .. } | Record::Handled { output, .. }, Part::Output) => Some(output.clone()),
        (Record::Failed { error, .. } | Record::InDoubt { error, .. }, Part::Error) => Some(error.to_value()),
        _ => None,
    })
}

/// Lines of pretty JSON: deeper ones than `fold` levels left out (0: none), long ones wrapped or left.
#[must_use]
pub fn lines(text: &str, fold: usize, width: Option<usize>) -> Vec<String> {
    let mut out = Vec::new();
    let mut hidden = false;
    for line in display_lines(text).lines() {
        let depth = (line.len() - line.trim_start_matches(' ').len()) / 2;
        if fold > 0 && depth > fold {
            hidden = true;
            continue;
        }
        if std::mem::take(&mut hidden) {
            out.push(format!("{}...", "  ".repeat(fold + 1)));
        }
        match width {
            Some(width) if line.width() > width && width > 4 => wrap(line, width, &mut out),
            _ => out.push(line.to_owned()),
        }
    }
    out
}

fn wrap(line: &str, width: usize, out: &mut Vec<String>) {
    let mut piece = String::new();
    let mut used = 0;
    for grapheme in line.graphemes(true) {
        let wide = grapheme.width();
        if used + wide > width {
            out.push(std::mem::take(&mut piece));
            used = 0;
        }
        used += wide;
        piece.push_str(grapheme);
    }
    out.push(piece);
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "{\n  \"a\": {\n    \"b\": [\n      1\n    ]\n  },\n  \"c\": 2\n}";

    #[test]
    fn folding_leaves_a_sign_where_something_is_hidden() {
        assert_eq!(lines(TEXT, 0, None).len(), 8);
        assert_eq!(lines(TEXT, 1, None), ["{", "  \"a\": {", "    ...", "  },", "  \"c\": 2", "}"]);
    }

    #[test]
    fn long_lines_are_wrapped_between_graphemes() {
        assert_eq!(lines("日本語日本語", 0, Some(5)), ["日本", "語日", "本語"]);
    }
}
