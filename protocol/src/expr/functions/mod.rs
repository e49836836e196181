//! The function library: one table of entries, from which parser, help and docs are fed.
//!
//! To add a function, write it in the file of its receiver and add its entry to that file's `FUNCTIONS`;
//! its doc line and example appear in `docs/expressions.md`, and the example is run by the tests. A
//! function pays for what it scans and makes before it does so.

mod calendar;
mod date;
mod date_format;
mod digest;
mod encode;
mod in_use;
mod json;
mod list;
mod markup;
mod number;
mod object;
mod page;
mod pattern;
mod sets;
mod shape;
mod text;
mod words;

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::OnceLock;

use super::ast::{Pattern, Term};
use super::data::{Data, List, Object, Text};
use super::eval::{Fail, Machine, Outcome, a, number_of};
use super::number::Number;

pub(super) use date::field as date_field;
pub(super) use in_use::instead;
#[cfg(test)]
pub(super) use in_use::{Here, IN_USE};
pub use page::page;

/// Bits for the types that a first argument may have.
pub(super) mod types {
    pub const NULL: u16 = 1;
    pub const BOOL: u16 = 2;
    pub const NUMBER: u16 = 4;
    pub const TEXT: u16 = 8;
    pub const LIST: u16 = 16;
    pub const OBJECT: u16 = 32;
    pub const DATE: u16 = 64;
    pub const REGEX: u16 = 128;
    /// Everything that can be data.
    pub const ANY: u16 = NULL | BOOL | NUMBER | TEXT | LIST | OBJECT | DATE;
}

/// How a function may be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// `x.f(…)`
    Method,
    /// `f(…)`, `Math.f(…)`
    Plain,
    /// Both; the receiver is the first argument of the plain form.
    Both,
}

type Run = for<'a, 'v> fn(&mut Machine<'a>, &Args<'a, 'v>) -> Outcome<'a>;

/// One function of the library.
pub struct Function {
    /// As it is written, with its prefix: `trim`, `Math.floor`.
    pub name: &'static str,
    pub(super) form: Form,
    /// Types of the first argument (of the receiver); 0 if it does not matter.
    pub(super) on: u16,
    /// Fewest and most arguments, the receiver included.
    pub(super) arity: (u8, u8),
    /// Place of a function argument (the receiver has place 0) and how many parameters it gets.
    pub(super) arrow: Option<(u8, u8)>,
    /// One line for help and docs.
    pub doc: &'static str,
    /// An expression, and the JSON of what it gives.
    pub example: (&'static str, &'static str),
    pub(super) run: Run,
}

impl std::fmt::Debug for Function {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

type Example = (&'static str, &'static str);

/// An entry that can be written as a method only; `extra` counts the arguments in parentheses.
const fn method(
    name: &'static str,
    on: u16,
    extra: (u8, u8),
    doc: &'static str,
    example: Example,
    run: Run,
) -> Function {
    Function {
        name,
        form: Form::Method,
        on,
        arity: (extra.0 + 1, extra.1.saturating_add(1)),
        arrow: None,
        doc,
        example,
        run,
    }
}

/// An entry that can be written as a method and as `f(x)`.
const fn both(name: &'static str, on: u16, extra: (u8, u8), doc: &'static str, example: Example, run: Run) -> Function {
    Function {
        name,
        form: Form::Both,
        on,
        arity: (extra.0 + 1, extra.1.saturating_add(1)),
        arrow: None,
        doc,
        example,
        run,
    }
}

/// An entry that is written `f(…)`; `arity` counts all arguments.
const fn plain(
    name: &'static str,
    on: u16,
    arity: (u8, u8),
    doc: &'static str,
    example: Example,
    run: Run,
) -> Function {
    Function { name, form: Form::Plain, on, arity, arrow: None, doc, example, run }
}

impl Function {
    /// The same entry, taking a function of `params` parameters at `place`.
    const fn arrow(mut self, place: u8, params: u8) -> Self {
        self.arrow = Some((place, params));
        self
    }

    /// How it is written, for docs: `text.trim()`, `Math.floor(x)`.
    #[must_use]
    pub fn usage(&self) -> String {
        let (fewest, most) = self.arity;
        let receiver = u8::from(self.form != Form::Plain);
        let mut args = String::new();
        for place in receiver..most {
            let shown = match self.arrow {
                Some((1, _)) if place == 1 && matches!(self.name, "sort" | "reduce") => "(x, y) => …",
                Some((1, _)) if place == 1 => "x => …",
                _ if most == u8::MAX => "…",
                _ => ["a", "b", "c", "d"].get(usize::from(place - receiver)).copied().unwrap_or("…"),
            };
            if !args.is_empty() {
                args.push_str(", ");
            }
            args.push_str(shown);
            if place >= fewest {
                args.push('?');
            }
            if most == u8::MAX {
                break;
            }
        }
        match self.form {
            Form::Plain => format!("{}({args})", self.name),
            _ => format!("{}.{}({args})", type_names(self.on).replace(" or ", "/").replace(", ", "/"), self.name),
        }
    }
}

const GROUPS: &[(&str, &[Function])] = &[
    ("Text", text::FUNCTIONS),
    ("Words and what is found in a text", words::FUNCTIONS),
    ("Patterns", pattern::FUNCTIONS),
    ("Lists", list::FUNCTIONS),
    ("Lists taken together", sets::FUNCTIONS),
    ("Objects", object::FUNCTIONS),
    ("Shapes, defaults, amounts", shape::FUNCTIONS),
    ("Numbers", number::FUNCTIONS),
    ("Dates", date::FUNCTIONS),
    ("Working days and parts of dates", calendar::FUNCTIONS),
    ("JSON and conversions", json::FUNCTIONS),
    ("Encodings and random values", encode::FUNCTIONS),
    ("Addresses, HTML, CSV", markup::FUNCTIONS),
    ("Digests", digest::FUNCTIONS),
];

/// All functions in groups, for help and docs.
#[must_use]
pub fn groups() -> &'static [(&'static str, &'static [Function])] {
    GROUPS
}

type Index = HashMap<&'static str, Vec<&'static Function>>;

/// Names of one form to their entries.
fn index(method: bool) -> &'static Index {
    static INDEX: OnceLock<(Index, Index)> = OnceLock::new();
    let (methods, plain) = INDEX.get_or_init(|| {
        let (mut methods, mut plain) = (Index::new(), Index::new());
        for function in GROUPS.iter().flat_map(|(_, functions)| functions.iter()) {
            if function.form != Form::Plain {
                methods.entry(function.name).or_default().push(function);
            }
            if function.form != Form::Method {
                plain.entry(function.name).or_default().push(function);
            }
        }
        (methods, plain)
    });
    if method { methods } else { plain }
}

/// The entries of a name, as a method or as a plain call.
pub(super) fn lookup(name: &str, method: bool) -> Option<&'static [&'static Function]> {
    index(method).get(name).map(Vec::as_slice)
}

/// All names of one form, for "did you mean".
pub(super) fn names(method: bool) -> impl Iterator<Item = &'static str> {
    index(method).keys().copied()
}

/// The types of a set in words: `text or list`.
pub(super) fn type_names(set: u16) -> String {
    if set & types::ANY == types::ANY {
        return "any value".to_owned();
    }
    let all = [
        (types::NULL, "null"),
        (types::BOOL, "boolean"),
        (types::NUMBER, "number"),
        (types::TEXT, "text"),
        (types::LIST, "list"),
        (types::OBJECT, "object"),
        (types::DATE, "date"),
        (types::REGEX, "regular expression"),
    ];
    let names: Vec<&str> = all.iter().filter(|(bit, _)| set & bit != 0).map(|(_, name)| *name).collect();
    match names.split_last() {
        Some((last, [])) => (*last).to_owned(),
        Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
        None => "any value".to_owned(),
    }
}

/// The arguments of one call; place 0 is the receiver.
pub(super) struct Args<'a, 'v> {
    pub(super) function: &'static Function,
    pub(super) values: &'v [Data<'a>],
    pub(super) method: bool,
}

impl<'a> Args<'a, '_> {
    /// The argument at a place; null is handed on as null, a missing one as `None`.
    fn get(&self, place: usize) -> Option<&Data<'a>> {
        self.values.get(place)
    }

    fn wrong(&self, place: usize, wanted: &str) -> Fail {
        let found = self.get(place).map_or_else(|| "missing".to_owned(), |data| a(data.kind()));
        let name = self.function.name;
        if self.method && place == 0 {
            return Fail::new(format!("`{name}` works on {wanted}, this is {found}"));
        }
        let number = if self.method { place } else { place + 1 };
        Fail::new(format!("argument {number} of `{name}` must be {wanted}, it is {found}"))
    }

    fn text(&self, place: usize) -> Outcome<'a, &Text<'a>> {
        match self.get(place) {
            Some(Data::Text(text)) => Ok(text),
            _ => Err(self.wrong(place, "text")),
        }
    }

    fn list(&self, place: usize) -> Outcome<'a, &List<'a>> {
        match self.get(place) {
            Some(Data::List(list)) => Ok(list),
            _ => Err(self.wrong(place, "a list")),
        }
    }

    fn object(&self, place: usize) -> Outcome<'a, &Object<'a>> {
        match self.get(place) {
            Some(Data::Object(object)) => Ok(object),
            _ => Err(self.wrong(place, "an object")),
        }
    }

    fn date(&self, place: usize) -> Outcome<'a, &Rc<jiff::Zoned>> {
        match self.get(place) {
            Some(Data::Date(date)) => Ok(date),
            Some(Data::Text(_)) => Err(self.wrong(place, "a date").hint("make a date of the text with `date(x)`")),
            _ => Err(self.wrong(place, "a date")),
        }
    }

    fn pattern(&self, place: usize) -> Outcome<'a, &'a Pattern> {
        match self.get(place) {
            Some(Data::Regex(pattern)) => Ok(pattern),
            _ => Err(self.wrong(place, "a regular expression").hint("write it as /…/")),
        }
    }

    fn arrow(&self, place: usize) -> Outcome<'a, &'a Term> {
        match self.get(place) {
            Some(Data::Arrow(arrow)) => Ok(arrow),
            _ => Err(self.wrong(place, "a function").hint("write it here, for example `x => x.id`")),
        }
    }

    fn number(&self, place: usize) -> Outcome<'a, Number> {
        let data = self.get(place);
        match data.and_then(number_of) {
            Some(number) => Ok(number),
            None if matches!(data, Some(Data::Written(_))) => Err(Fail::new(format!(
                "`{}`: the number has more digits than can be calculated with",
                self.function.name
            ))),
            None => Err(self.wrong(place, "a number").hint("make a number of text with `Number(x)`")),
        }
    }

    fn int(&self, place: usize) -> Outcome<'a, i128> {
        match self.get(place) {
            Some(Data::Int(number)) => Ok(*number),
            _ => Err(self.wrong(place, "an integer")),
        }
    }

    fn int_or(&self, place: usize, default: i128) -> Outcome<'a, i128> {
        if self.get(place).is_none() { Ok(default) } else { self.int(place) }
    }

    /// An integer between bounds, with a default if it was not given.
    fn within(&self, place: usize, default: u32, most: u32) -> Outcome<'a, u32> {
        let number = self.int_or(place, i128::from(default))?;
        u32::try_from(number).ok().filter(|number| *number <= most).ok_or_else(|| {
            Fail::new(format!("`{}` takes a whole number from 0 to {most}, this is {number}", self.function.name))
        })
    }
}

/// Start and end of a slice as JavaScript counts: negative from the end, clamped.
fn bounds(length: usize, start: i128, end: i128) -> (usize, usize) {
    let whole = i128::try_from(length).unwrap_or(i128::MAX);
    let place =
        |at: i128| usize::try_from(if at < 0 { (whole + at.max(-whole)).max(0) } else { at.min(whole) }).unwrap_or(0);
    (place(start), place(end).max(place(start)))
}

fn count<'a>(number: usize) -> Data<'a> {
    Data::Int(i128::try_from(number).unwrap_or(i128::MAX))
}
