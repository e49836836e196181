//! What commands print: text for people or JSON for scripts, never a control character from outside.
//!
//! Invariant: text lines pass `text::display` before they come here where they hold foreign text; JSON is
//! escaped here so that even a terminal is safe.

use std::io::Write;

use aura_protocol::WireError;
use aura_protocol::flow::Finding;
use aura_protocol::text::display;
use jiff::tz::TimeZone;
use serde::Serialize;
use unicode_width::UnicodeWidthStr;

/// Where a command writes.
pub struct Output {
    /// JSON was asked for.
    pub json: bool,
    /// The zone of shown times.
    pub zone: TimeZone,
    out: std::io::Stdout,
    closed: bool,
}

impl Output {
    /// To standard output.
    #[must_use]
    pub fn new(json: bool) -> Self {
        Self { json, zone: TimeZone::system(), out: std::io::stdout(), closed: false }
    }

    /// The reader went away, as `head` does: what is still said is dropped, and only a command without an
    /// end of its own ends by it. All others finish their work and end with their own code.
    #[must_use]
    pub fn closed(&self) -> bool {
        self.closed
    }

    /// One line of text.
    ///
    /// # Errors
    /// If standard output takes no more for another reason than that its reader is gone.
    pub fn line(&mut self, text: &str) -> Result<(), WireError> {
        if self.closed {
            return Ok(());
        }
        let mut bytes = text.as_bytes().to_vec();
        bytes.push(b'\n');
        let mut out = self.out.lock();
        match out.write_all(&bytes).and_then(|()| out.flush()) {
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => {
                self.closed = true;
                Ok(())
            }
            other => other.map_err(|error| WireError::internal(format!("standard output: {error}"))),
        }
    }

    /// One value as one line of JSON.
    ///
    /// # Errors
    /// If it is no JSON (a fault of ours) or standard output takes no more.
    pub fn value<T: Serialize>(&mut self, value: &T) -> Result<(), WireError> {
        self.line(&json_line(value)?)
    }

    /// A table: columns as wide as their widest cell, two cells between them.
    ///
    /// # Errors
    /// If standard output takes no more.
    pub fn table(&mut self, head: &[&str], rows: &[Vec<String>]) -> Result<(), WireError> {
        let rows: Vec<Vec<String>> = rows.iter().map(|row| row.iter().map(|cell| display(cell)).collect()).collect();
        let mut widths: Vec<usize> = head.iter().map(|cell| cell.width()).collect();
        for row in &rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.width());
            }
        }
        let draw = |cells: &mut dyn Iterator<Item = &str>| {
            let mut line = String::new();
            for (cell, width) in cells.zip(&widths) {
                line.push_str(cell);
                line.extend(std::iter::repeat_n(' ', width.saturating_sub(cell.width()) + 2));
            }
            line.trim_end().to_owned()
        };
        self.line(&draw(&mut head.iter().copied()))?;
        for row in &rows {
            self.line(&draw(&mut row.iter().map(String::as_str)))?;
        }
        Ok(())
    }
}

impl Output {
    /// A table as comma-separated values. What a spreadsheet would take for a formula gets a `'` before it.
    ///
    /// # Errors
    /// If standard output takes no more.
    pub fn csv(&mut self, head: &[&str], rows: &[Vec<String>]) -> Result<(), WireError> {
        self.line(&csv_line(head.iter().copied()))?;
        for row in rows {
            self.line(&csv_line(row.iter().map(String::as_str)))?;
        }
        Ok(())
    }
}

fn csv_line<'a>(cells: impl Iterator<Item = &'a str>) -> String {
    let cell = |cell: &str| {
        let shown = display(cell);
        let formula = shown.starts_with(['=', '+', '-', '@']) && shown.len() > 1 && shown.parse::<i64>().is_err();
        let shown = if formula { format!("'{shown}") } else { shown };
        if shown.contains([',', '"', ' ']) { format!("\"{}\"", shown.replace('"', "\"\"")) } else { shown }
    };
    cells.map(cell).collect::<Vec<_>>().join(",")
}

/// JSON in one line, with everything a terminal could obey written as `\u` escapes.
///
/// # Errors
/// If it is no JSON (a fault of ours).
pub fn json_line<T: Serialize>(value: &T) -> Result<String, WireError> {
    let text = serde_json::to_string(value).map_err(|error| WireError::internal(format!("not JSON: {error}")))?;
    Ok(escape(&text))
}

/// Combining marks kept on one letter as they are.
const MARKS_MAX: usize = 8;

/// Control, bidirectional and invisible characters of a JSON text as `\u` escapes; they occur only in its strings.
/// So are runs of variation selectors and of combining marks, after the first and the eighth of them.
#[must_use]
pub fn escape(json: &str) -> String {
    if json.is_ascii() && !json.contains('\u{7f}') {
        return json.to_owned();
    }
    let mut out = String::with_capacity(json.len() + 16);
    let (mut marks, mut selector) = (0, false);
    for c in json.chars() {
        let mark = matches!(c, '\u{300}'..='\u{36f}' | '\u{1ab0}'..='\u{1aff}' | '\u{1dc0}'..='\u{1dff}'
            | '\u{20d0}'..='\u{20ff}' | '\u{fe20}'..='\u{fe2f}');
        let selects =
            matches!(c, '\u{fe00}'..='\u{fe0f}' | '\u{e0100}'..='\u{e01ef}' | '\u{180b}'..='\u{180d}' | '\u{180f}');
        marks = if mark { marks + 1 } else { 0 };
        if risky(c) || marks > MARKS_MAX || (selects && selector) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                out.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            out.push(c);
        }
        selector = selects;
    }
    out
}

fn risky(c: char) -> bool {
    matches!(c, '\u{7f}'..='\u{9f}' | '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// What scripts read of an error; `docs/errors.md` states it.
#[derive(Serialize)]
struct ErrorLine<'a> {
    code: &'static str,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<&'a str>,
    retryable: bool,
    #[serde(skip_serializing_if = "<[Finding]>::is_empty")]
    findings: &'a [Finding],
}

#[derive(Serialize)]
struct Refused<'a> {
    error: ErrorLine<'a>,
}

fn error_line(error: &WireError) -> String {
    let WireError { code, message, hint, retryable, findings } = error;
    let line = ErrorLine { code: code.text(), message, hint: hint.as_deref(), retryable: *retryable, findings };
    json_line(&Refused { error: line }).unwrap_or_default()
}

/// An error on standard error: sentence, hint and code, or one JSON line.
pub fn complain(error: &WireError, json: bool) {
    let text = if json {
        error_line(error)
    } else {
        let hint = error.hint.as_ref().map_or(String::new(), |hint| format!("\n  hint: {}", display(hint)));
        format!("aura: {} [{}]{hint}", display(&error.message), error.code.text())
    };
    // Standard error is the last place to say anything.
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// A note for people beside the output: standard error, so that pipes stay clean.
pub fn note(text: &str) {
    let _ = writeln!(std::io::stderr(), "{}", display(text));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_quoted_and_never_formulas() {
        let check = |cells: &[&str], line: &str| assert_eq!(csv_line(cells.iter().copied()), line);
        check(&["a", "b c", "d,e", "say \"x\""], "a,\"b c\",\"d,e\",\"say \"\"x\"\"\"");
        check(&["=1+1", "-", "-5", "@x"], "'=1+1,-,-5,'@x");
    }

    #[test]
    fn json_keeps_its_meaning_and_loses_its_teeth() {
        let evil = "a\u{1b}]52;c;aGk=\u{7}b\u{9b}2J\u{202e}c\u{e0041}";
        let line = json_line(&evil).unwrap();
        assert!(line.is_ascii(), "{line}");
        assert_eq!(serde_json::from_str::<String>(&line).unwrap(), evil);
        let heaps = format!("e{}x\u{fe0f}\u{fe0e}\u{180e}\u{fffb}", "\u{301}".repeat(12));
        let line = json_line(&heaps).unwrap();
        assert_eq!(serde_json::from_str::<String>(&line).unwrap(), heaps);
        assert_eq!(line.matches('\u{301}').count(), 8, "{line}");
        assert!(!line.contains(['\u{fe0e}', '\u{180e}', '\u{fffb}']), "{line}");
        assert_eq!(escape("\"Grüße ❤\u{fe0f} e\u{301}\""), "\"Grüße ❤\u{fe0f} e\u{301}\"");
    }

    #[test]
    fn an_error_for_scripts_is_what_its_page_says() {
        let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/errors.md")).unwrap();
        let example = page.split("```json\n").nth(1).and_then(|rest| rest.split("\n```").next()).unwrap();
        let error = WireError::not_found("there is no flow named carts").hint("`aura flow list` shows all flows");
        assert_eq!(error_line(&error), example);
        let bare = error_line(&WireError::new(aura_protocol::Code::Busy, "later"));
        assert_eq!(bare, r#"{"error":{"code":"AURA-E1700","message":"later","retryable":true}}"#);
    }
}
