//! Paths into a flow file, as findings name them: `steps[1].branch[0].steps[0].with.to`.
//!
//! A key that is no simple word stands in brackets and quotes, so that a path names one place.

use std::fmt;

/// A place in a flow file.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Path(String);

impl Path {
    /// The file itself.
    pub fn root() -> Self {
        Self::default()
    }

    /// The value of a key.
    pub fn field(&self, key: &str) -> Self {
        let simple = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
        Self(match (simple, self.0.is_empty()) {
            (true, true) => key.to_owned(),
            (true, false) => format!("{}.{key}", self.0),
            (false, _) => format!("{}[{key:?}]", self.0),
        })
    }

    /// An item of a list, from 0.
    pub fn item(&self, index: usize) -> Self {
        Self(format!("{}[{index}]", self.0))
    }

    /// The path as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
