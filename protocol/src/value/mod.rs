//! `Value`: data as it passes through flows, without ever losing a digit.
//!
//! Integers are `i128`, every other number keeps its text, objects keep their order. MessagePack carries
//! the numbers that it has no type for as binary (a `Value` never holds binary itself, and a reference to a large one is binary too); JSON carries them
//! as they were written. There is no date in here: expressions have dates, and give them out as text.

mod blob;
mod json;
mod json_write;
mod serde_impl;

use indexmap::IndexMap;

pub use blob::BlobRef;
pub use json::{DEPTH_MAX, JsonError};

/// An object in the order in which it was written.
pub type Map = IndexMap<String, Value>;

/// A piece of data.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Value {
    /// Nothing.
    #[default]
    Null,
    /// True or false.
    Bool(bool),
    /// A number without fraction or exponent that fits 128 bits.
    Int(i128),
    /// Any other number, as its JSON text (for example `612.10`, `1e400`).
    Dec(String),
    /// Text.
    Str(String),
    /// A list.
    List(Vec<Self>),
    /// An object.
    Map(Map),
    /// A value that stands elsewhere: only journals and the state of a run hold these, expressions never see one.
    Blob(BlobRef),
}

impl Value {
    /// The word for this type in error messages: null, boolean, integer, decimal, text, list or object.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "boolean",
            Self::Int(_) => "integer",
            Self::Dec(_) => "decimal",
            Self::Str(_) => "text",
            Self::List(_) => "list",
            Self::Map(_) => "object",
            Self::Blob(_) => "stored value",
        }
    }

    /// The field of an object; `None` for a missing field and for anything that is no object.
    #[must_use]
    pub fn get(&self, field: &str) -> Option<&Self> {
        match self {
            Self::Map(map) => map.get(field),
            _ => None,
        }
    }

    /// The text, if it is text.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Str(text) => Some(text),
            _ => None,
        }
    }

    /// The integer, if it is one.
    #[must_use]
    pub fn as_int(&self) -> Option<i128> {
        match self {
            Self::Int(number) => Some(*number),
            _ => None,
        }
    }

    /// The boolean, if it is one.
    #[must_use]
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Bool(yes) => Some(*yes),
            _ => None,
        }
    }

    /// The list, if it is one.
    #[must_use]
    pub fn as_list(&self) -> Option<&[Self]> {
        match self {
            Self::List(items) => Some(items),
            _ => None,
        }
    }

    /// The object, if it is one.
    #[must_use]
    pub fn as_map(&self) -> Option<&Map> {
        match self {
            Self::Map(map) => Some(map),
            _ => None,
        }
    }

    /// Whether this is null.
    #[must_use]
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// An object of pairs, in their order.
    pub fn object<K: Into<String>, V: Into<Self>>(pairs: impl IntoIterator<Item = (K, V)>) -> Self {
        Self::Map(pairs.into_iter().map(|(key, value)| (key.into(), value.into())).collect())
    }

    /// Whether it is a reference or has one in it.
    #[must_use]
    pub fn has_blob(&self) -> bool {
        match self {
            Self::Blob(_) => true,
            Self::List(items) => items.iter().any(Self::has_blob),
            Self::Map(map) => map.values().any(Self::has_blob),
            _ => false,
        }
    }

    /// Every reference in it.
    pub fn blobs(&self, visit: &mut dyn FnMut(BlobRef)) {
        match self {
            Self::Blob(blob) => visit(*blob),
            Self::List(items) => items.iter().for_each(|item| item.blobs(visit)),
            Self::Map(map) => map.values().for_each(|item| item.blobs(visit)),
            _ => {}
        }
    }

    /// The same with every reference replaced by what `load` gives for it (references in that too).
    ///
    /// # Errors
    /// The first that `load` gives.
    pub fn loaded<E>(&self, load: &mut dyn FnMut(BlobRef) -> Result<Self, E>) -> Result<Self, E> {
        Ok(match self {
            Self::Blob(blob) => {
                let value = load(*blob)?;
                if value.has_blob() { value.loaded(load)? } else { value }
            }
            Self::List(items) => Self::List(items.iter().map(|item| item.loaded(load)).collect::<Result<_, _>>()?),
            Self::Map(map) => {
                let fields = map.iter().map(|(key, item)| Ok((key.clone(), item.loaded(load)?)));
                Self::Map(fields.collect::<Result<_, E>>()?)
            }
            other => other.clone(),
        })
    }

    /// Rough size in memory, for budgets: bytes of text and 16 per item.
    #[must_use]
    pub fn weight(&self) -> usize {
        match self {
            Self::Null | Self::Bool(_) | Self::Int(_) | Self::Blob(_) => 16,
            Self::Dec(text) | Self::Str(text) => 16 + text.len(),
            Self::List(items) => 16 + items.iter().map(Self::weight).sum::<usize>(),
            Self::Map(map) => 16 + map.iter().map(|(key, value)| key.len() + 16 + value.weight()).sum::<usize>(),
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Str(text.to_owned())
    }
}
impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Str(text)
    }
}
impl From<bool> for Value {
    fn from(yes: bool) -> Self {
        Self::Bool(yes)
    }
}
impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Int(i128::from(number))
    }
}
impl From<Vec<Self>> for Value {
    fn from(items: Vec<Self>) -> Self {
        Self::List(items)
    }
}
impl From<Map> for Value {
    fn from(map: Map) -> Self {
        Self::Map(map)
    }
}
impl<T: Into<Self>> From<Option<T>> for Value {
    fn from(maybe: Option<T>) -> Self {
        maybe.map_or(Self::Null, Into::into)
    }
}
