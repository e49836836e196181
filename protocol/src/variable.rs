//! Variables of a tenant: named values that flows read as `vars.name` and people set with `aura var`.

use serde::{Deserialize, Serialize};

use crate::value::Value;

/// Largest value of a variable, in the bytes of [`Value::weight`].
pub const VALUE_MAX: usize = 16 * 1024;
/// Variables of a tenant at most.
pub const VARIABLES_MAX: usize = 500;

/// A variable as lists show it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: Value,
    /// Last change.
    pub changed_ms: i64,
    /// By whom.
    pub by: String,
}

/// Sets a variable.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VarSet {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: Value,
}

/// Whether a text can name a variable: a letter or `_`, then letters, digits and `_`, at most 64, all ASCII; so
/// `vars.name` always reads it.
#[must_use]
pub fn is_name(name: &str) -> bool {
    let mut letters = name.chars();
    let first = letters.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
    first && name.len() <= 64 && letters.all(|c| c.is_ascii_alphanumeric() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_a_path_reads() {
        let cases = [("shop_url", true), ("_x1", true), ("X", true), ("", false), ("1a", false), ("a-b", false)];
        for (name, expected) in cases.into_iter().chain([("ä", false), ("a.b", false)]) {
            assert_eq!(is_name(name), expected, "{name}");
        }
        assert!(is_name(&"a".repeat(64)) && !is_name(&"a".repeat(65)));
    }
}
