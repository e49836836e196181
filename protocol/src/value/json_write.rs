//! `Value` to JSON text: short, for people, or canonical for hashing.
//!
//! What is written is always valid JSON and reads back as the same value: a `Dec` whose text is no number
//! (nobody should build one) goes out as text.

use std::fmt::Write as _;

use super::Value;

/// How a text is laid out.
#[derive(Clone, Copy)]
struct Style {
    pretty: bool,
    sorted: bool,
}

impl Value {
    /// The shortest JSON text, numbers as they were written, keys in their order.
    #[must_use]
    pub fn to_json(&self) -> String {
        self.written(Style { pretty: false, sorted: false })
    }

    /// JSON for people: two spaces a level.
    #[must_use]
    pub fn to_json_pretty(&self) -> String {
        self.written(Style { pretty: true, sorted: false })
    }

    /// As [`Value::to_json`] with the keys of every object sorted by code point: equal for equal objects, for hashing.
    #[must_use]
    pub fn to_canonical_json(&self) -> String {
        self.written(Style { pretty: false, sorted: true })
    }

    fn written(&self, style: Style) -> String {
        let mut out = String::with_capacity(64);
        write_value(self, style, 0, &mut out);
        out
    }
}

fn write_value(value: &Value, style: Style, level: usize, out: &mut String) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(true) => out.push_str("true"),
        Value::Bool(false) => out.push_str("false"),
        Value::Int(number) => drop(write!(out, "{number}")),
        Value::Dec(text) if Value::from_number_text(text).is_some() => out.push_str(text),
        Value::Dec(text) | Value::Str(text) => write_text(text, out),
        Value::Blob(blob) => write_text(&blob.mark(), out),
        Value::List(items) if items.is_empty() => out.push_str("[]"),
        Value::List(items) => {
            out.push('[');
            for (position, item) in items.iter().enumerate() {
                separate(position, style, level + 1, out);
                write_value(item, style, level + 1, out);
            }
            close(']', style, level, out);
        }
        Value::Map(map) if map.is_empty() => out.push_str("{}"),
        Value::Map(map) => {
            let mut entries: Vec<(&String, &Value)> = map.iter().collect();
            if style.sorted {
                entries.sort_unstable_by_key(|(key, _)| *key);
            }
            out.push('{');
            for (position, (key, item)) in entries.into_iter().enumerate() {
                separate(position, style, level + 1, out);
                write_text(key, out);
                out.push_str(if style.pretty { ": " } else { ":" });
                write_value(item, style, level + 1, out);
            }
            close('}', style, level, out);
        }
    }
}

fn separate(position: usize, style: Style, level: usize, out: &mut String) {
    if position > 0 {
        out.push(',');
    }
    if style.pretty {
        break_line(level, out);
    }
}

fn close(bracket: char, style: Style, level: usize, out: &mut String) {
    if style.pretty {
        break_line(level, out);
    }
    out.push(bracket);
}

fn break_line(level: usize, out: &mut String) {
    out.push('\n');
    out.extend(std::iter::repeat_n("  ", level));
}

/// Writes a text in quotes with the escapes that JSON requires and no others.
fn write_text(text: &str, out: &mut String) {
    out.push('"');
    let mut rest = text;
    while let Some(at) = rest.bytes().position(|byte| matches!(byte, b'"' | b'\\' | 0..=0x1F)) {
        let (plain, tail) = rest.split_at(at);
        out.push_str(plain);
        match tail.as_bytes().first() {
            Some(b'"') => out.push_str("\\\""),
            Some(b'\\') => out.push_str("\\\\"),
            Some(b'\n') => out.push_str("\\n"),
            Some(b'\r') => out.push_str("\\r"),
            Some(b'\t') => out.push_str("\\t"),
            Some(0x08) => out.push_str("\\b"),
            Some(0x0C) => out.push_str("\\f"),
            Some(control) => drop(write!(out, "\\u{control:04x}")),
            None => {}
        }
        rest = tail.get(1..).unwrap_or("");
    }
    out.push_str(rest);
    out.push('"');
}
