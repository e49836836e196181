//! What an expression computes with: `Value` borrowed from the scope, plus dates, patterns and functions.
//!
//! Cloning is cheap everywhere: what comes from outside is borrowed, what was made here is shared. Only
//! [`Machine::export`](super::eval::Machine::export) copies.

use std::borrow::{Borrow, Cow};
use std::cmp::Ordering;
use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::rc::Rc;

use indexmap::IndexMap;
use jiff::Zoned;
use rust_decimal::Decimal;

use super::ast::{Pattern, Term};
use super::number::{Number, compare_text};
use crate::value::{Map, Value};

/// Text from the scope, from the expression, or made here.
#[derive(Clone, Debug)]
pub(super) enum Text<'a> {
    Borrowed(&'a str),
    Made(Rc<str>),
}

impl Deref for Text<'_> {
    type Target = str;
    fn deref(&self) -> &str {
        match self {
            Self::Borrowed(text) => text,
            Self::Made(text) => text,
        }
    }
}
impl Borrow<str> for Text<'_> {
    fn borrow(&self) -> &str {
        self
    }
}
impl PartialEq for Text<'_> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}
impl Eq for Text<'_> {}
impl Hash for Text<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (**self).hash(state);
    }
}
impl From<String> for Text<'_> {
    fn from(text: String) -> Self {
        Self::Made(text.into())
    }
}

/// A list from the scope or made here.
#[derive(Clone, Debug)]
pub(super) enum List<'a> {
    Borrowed(&'a [Value]),
    Made(Rc<Vec<Data<'a>>>),
}

impl<'a> List<'a> {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Borrowed(items) => items.len(),
            Self::Made(items) => items.len(),
        }
    }

    pub(super) fn get(&self, place: usize) -> Option<Data<'a>> {
        match self {
            Self::Borrowed(items) => items.get(place).map(Data::of),
            Self::Made(items) => items.get(place).cloned(),
        }
    }

    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = Data<'a>> + '_ {
        (0..self.len()).filter_map(|place| self.get(place))
    }
}

/// The fields of an object made here.
pub(super) type Fields<'a> = IndexMap<Text<'a>, Data<'a>>;

/// An object from the scope or made here.
#[derive(Clone, Debug)]
pub(super) enum Object<'a> {
    Borrowed(&'a Map),
    Made(Rc<Fields<'a>>),
}

impl<'a> Object<'a> {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Borrowed(map) => map.len(),
            Self::Made(map) => map.len(),
        }
    }

    pub(super) fn get(&self, key: &str) -> Option<Data<'a>> {
        match self {
            Self::Borrowed(map) => map.get(key).map(Data::of),
            Self::Made(map) => map.get(key).cloned(),
        }
    }

    /// The pair at a place, in the order in which the object was written.
    pub(super) fn at(&self, place: usize) -> Option<(Text<'a>, Data<'a>)> {
        match self {
            Self::Borrowed(map) => map.get_index(place).map(|(key, value)| (Text::Borrowed(key), Data::of(value))),
            Self::Made(map) => map.get_index(place).map(|(key, value)| (key.clone(), value.clone())),
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Text<'a>, Data<'a>)> + '_ {
        (0..self.len()).filter_map(|place| self.at(place))
    }
}

/// A value while it is computed with.
#[derive(Clone, Debug)]
pub(super) enum Data<'a> {
    Null,
    Bool(bool),
    Int(i128),
    Dec(Decimal),
    /// A decimal from outside, as it was written.
    Written(Text<'a>),
    Text(Text<'a>),
    List(List<'a>),
    Object(Object<'a>),
    Date(Rc<Zoned>),
    Regex(&'a Pattern),
    /// A function given as an argument.
    Arrow(&'a Term),
}

impl<'a> Data<'a> {
    pub(super) fn of(value: &'a Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(yes) => Self::Bool(*yes),
            Value::Int(number) => Self::Int(*number),
            Value::Dec(text) => Self::Written(Text::Borrowed(text)),
            Value::Str(text) => Self::Text(Text::Borrowed(text)),
            Value::List(items) => Self::List(List::Borrowed(items)),
            Value::Map(map) => Self::Object(Object::Borrowed(map)),
            // A scope gives values that are read from the store already.
            Value::Blob(blob) => Self::text(blob.mark()),
        }
    }

    /// Takes a value that was made here (parsed JSON).
    pub(super) fn made(value: Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(yes) => Self::Bool(yes),
            Value::Int(number) => Self::Int(number),
            Value::Dec(text) => Self::Written(text.into()),
            Value::Str(text) => Self::text(text),
            Value::List(items) => Self::list(items.into_iter().map(Self::made).collect()),
            Value::Map(map) => {
                Self::object(map.into_iter().map(|(key, value)| (key.into(), Self::made(value))).collect())
            }
            Value::Blob(blob) => Self::text(blob.mark()),
        }
    }

    pub(super) fn text(text: String) -> Self {
        Self::Text(text.into())
    }

    pub(super) fn list(items: Vec<Self>) -> Self {
        Self::List(List::Made(Rc::new(items)))
    }

    pub(super) fn object(fields: Fields<'a>) -> Self {
        Self::Object(Object::Made(Rc::new(fields)))
    }

    pub(super) fn number(number: Number) -> Self {
        match number {
            Number::Int(number) => Self::Int(number),
            Number::Dec(number) => Self::Dec(number),
        }
    }

    /// The word for this type in error messages.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "boolean",
            Self::Int(_) => "integer",
            Self::Dec(_) | Self::Written(_) => "decimal",
            Self::Text(_) => "text",
            Self::List(_) => "list",
            Self::Object(_) => "object",
            Self::Date(_) => "date",
            Self::Regex(_) => "regular expression",
            Self::Arrow(_) => "function",
        }
    }

    /// The bit of this type in [`super::functions::types`].
    pub(super) fn bit(&self) -> u16 {
        use super::functions::types;
        match self {
            Self::Null => types::NULL,
            Self::Bool(_) => types::BOOL,
            Self::Int(_) | Self::Dec(_) | Self::Written(_) => types::NUMBER,
            Self::Text(_) => types::TEXT,
            Self::List(_) => types::LIST,
            Self::Object(_) => types::OBJECT,
            Self::Date(_) => types::DATE,
            Self::Regex(_) => types::REGEX,
            Self::Arrow(_) => 0,
        }
    }

    /// The text of a number, as it is written out.
    pub(super) fn number_text(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Int(number) => Some(number.to_string().into()),
            Self::Dec(number) => Some(number.to_string().into()),
            Self::Written(text) => Some(Cow::Borrowed(text)),
            _ => None,
        }
    }

    /// Order of two numbers, texts or dates; `None` for anything else and for different types.
    pub(super) fn order(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Int(left), Self::Int(right)) => Some(left.cmp(right)),
            (Self::Dec(left), Self::Dec(right)) => Some(left.cmp(right)),
            (Self::Text(left), Self::Text(right)) => Some(left.as_bytes().cmp(right.as_bytes())),
            (Self::Date(left), Self::Date(right)) => Some(left.timestamp().cmp(&right.timestamp())),
            (Self::Int(left), Self::Dec(right)) if let Some(left) = Number::Int(*left).decimal() => {
                Some(left.cmp(right))
            }
            (Self::Dec(left), Self::Int(right)) if let Some(right) = Number::Int(*right).decimal() => {
                Some(left.cmp(&right))
            }
            _ => Some(compare_text(&self.number_text()?, &other.number_text()?)),
        }
    }
}

/// Date as text that leaves an expression: RFC 3339 in UTC, with the zone in brackets elsewhere (RFC 9557).
pub(super) fn date_text(date: &Zoned) -> String {
    match date.time_zone().iana_name() {
        Some("UTC") => date.timestamp().to_string(),
        Some(_) => date.to_string(),
        None => offset_text(date),
    }
}

/// Date as RFC 3339 text with its offset, `Z` in UTC.
pub(super) fn offset_text(date: &Zoned) -> String {
    if date.time_zone().iana_name() == Some("UTC") {
        return date.timestamp().to_string();
    }
    date.timestamp().display_with_offset(date.offset()).to_string()
}
