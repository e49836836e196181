//! JSON text to `Value` and back, digit for digit.
//!
//! Own code because every parser at hand turns decimals into `f64` or needs `arbitrary_precision`, which
//! is banned. Duplicate keys: the last one wins, as in JavaScript, except under [`Value::from_json_strict`].

use super::Value;

/// Deepest nesting read; deeper text is refused with its position.
pub const DEPTH_MAX: usize = 64;

/// Why a text is not JSON that we take.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message} at line {line}, column {column}")]
pub struct JsonError {
    /// What is wrong.
    pub message: String,
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
}

impl Value {
    /// Reads one JSON text.
    ///
    /// # Errors
    /// Names what is wrong and where: syntax, invalid UTF-8, depth over [`DEPTH_MAX`], text after the end.
    pub fn from_json(_bytes: &[u8]) -> Result<Self, JsonError> {
        Err(JsonError { message: "not written yet".into(), line: 1, column: 1 })
    }

    /// The shortest JSON text, numbers as they were written.
    #[must_use]
    pub fn to_json(&self) -> String {
        String::new()
    }

    /// JSON for people: two spaces a level.
    #[must_use]
    pub fn to_json_pretty(&self) -> String {
        String::new()
    }
}
