//! The shape of a `code` step: a script and what it may read.
//!
//! Check reads it from the file and the engine again when it compiles the step, so both refuse the same things. The
//! script is JavaScript and never a template: what a payload says cannot become code.

use super::Span;
use crate::value::Value;

/// Longest script in bytes.
pub const SCRIPT_MAX: usize = 64 * 1024;
/// How long a script may take unless its step says `timeout`.
pub const TIME: Span = Span::from_ms(1_000);
/// The longest `timeout` of a script.
pub const TIME_MAX: Span = Span::from_ms(30_000);

/// What stands in a `code` step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CodeShape<'v> {
    /// The body of a function of `input`.
    pub js: &'v str,
    /// What it may read; may hold expressions.
    pub input: &'v Value,
}

/// Reads the shape of a `code` step.
///
/// # Errors
/// The field at fault (empty: the whole), one sentence, and what to write.
pub fn shape(value: &Value) -> Result<CodeShape<'_>, (&'static str, String, &'static str)> {
    const HINT: &str = "write `js` with the script and `input` with what it reads: \
                        `code: { js: \"return input.a + 1\", input: { a: 2 } }`";
    let Some(js) = value.get("js") else { return Err(("", "the key `js` is missing".to_owned(), HINT)) };
    let Some(js) = js.as_str() else {
        return Err(("js", format!("`js` must be the text of a script, this is {}", js.kind()), HINT));
    };
    if js.trim().is_empty() {
        return Err(("js", "the script is empty".to_owned(), HINT));
    }
    if js.len() > SCRIPT_MAX {
        let message = format!("the script has {} bytes, the most is {SCRIPT_MAX}", js.len());
        return Err(("js", message, "split it into several steps"));
    }
    Ok(CodeShape { js, input: value.get("input").unwrap_or(&Value::Null) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_is_text_of_some_length() {
        let long = format!("{{\"js\":\"{}\"}}", "a".repeat(SCRIPT_MAX + 1));
        let cases = [
            ("{\"js\":\"return 1\"}", "return 1"),
            ("{\"js\":\"return '{{ input.a }}'\",\"input\":{}}", "return '{{ input.a }}'"),
            ("{}", "! the key `js` is missing"),
            ("{\"js\":1}", "! `js` must be the text of a script, this is integer"),
            ("{\"js\":\" \"}", "! the script is empty"),
            (&long, "! the script has 65537 bytes, the most is 65536"),
        ];
        for (text, expected) in cases {
            let value = Value::from_json(text.as_bytes()).unwrap();
            let got = shape(&value).map_or_else(|(_, message, _)| format!("! {message}"), |it| it.js.to_owned());
            assert_eq!(got, expected);
        }
    }
}
