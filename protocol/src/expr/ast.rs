//! The parsed form of one expression: small, shared, evaluated many times.
//!
//! Names are resolved here already: functions to their entries, lambda parameters to slots, regular
//! expressions to compiled programs. Every tree is at most [`HEIGHT_MAX`] high, so that walking it needs
//! no further check.

use rust_decimal::Decimal;

use super::functions::Function;
use crate::text::display;

/// Highest tree that the parser builds.
pub(super) const HEIGHT_MAX: u8 = 100;

/// One construct and the byte offset at which it begins.
#[derive(Clone, Debug)]
pub(super) struct Term {
    pub(super) at: u32,
    pub(super) height: u8,
    pub(super) kind: Kind,
}

#[derive(Clone, Debug)]
pub(super) enum Kind {
    Null,
    Bool(bool),
    Int(i128),
    Dec(Decimal),
    Text(Box<str>),
    Regex(Box<Pattern>),
    /// A template string: texts and expressions.
    Join(Vec<Term>),
    List(Vec<Item>),
    Object(Vec<Property>),
    /// A root name, for example `trigger`.
    Root(Box<str>),
    /// `steps.<id>`.
    Step(Box<str>),
    /// A lambda parameter.
    Local(u16, Box<str>),
    Field {
        of: Box<Term>,
        name: Box<str>,
        optional: bool,
    },
    Index {
        of: Box<Term>,
        index: Box<Term>,
        optional: bool,
    },
    /// A call; with `method` the first argument stands before the dot.
    Call {
        function: &'static [&'static Function],
        method: bool,
        optional: bool,
        args: Vec<Term>,
    },
    /// A function written as the argument of a call; its parameters get the next slots.
    Arrow {
        params: u8,
        body: Box<Term>,
    },
    Not(Box<Term>),
    Negate(Box<Term>),
    Binary(Binary, Box<Term>, Box<Term>),
    And(Box<Term>, Box<Term>),
    Or(Box<Term>, Box<Term>),
    Coalesce(Box<Term>, Box<Term>),
    Choose(Box<Term>, Box<Term>, Box<Term>),
}

#[derive(Clone, Debug)]
pub(super) struct Item {
    pub(super) spread: bool,
    pub(super) value: Term,
}

#[derive(Clone, Debug)]
pub(super) enum Property {
    Pair(Box<str>, Term),
    Computed(Term, Term),
    Spread(Term),
}

/// A compiled regular expression and its flags.
#[derive(Clone, Debug)]
pub(super) struct Pattern {
    pub(super) source: Box<str>,
    pub(super) global: bool,
    pub(super) regex: regex::Regex,
    /// How many of its places can be at work at once at worst: what a byte of text costs.
    pub(super) weight: usize,
    /// Whether it can look far beyond what it then takes as its match, again and again.
    pub(super) far: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Binary {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
    Equal,
    Unequal,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
}

impl Binary {
    pub(super) fn symbol(self) -> &'static str {
        match self {
            Self::Add => "+",
            Self::Subtract => "-",
            Self::Multiply => "*",
            Self::Divide => "/",
            Self::Remainder => "%",
            Self::Equal => "==",
            Self::Unequal => "!=",
            Self::Less => "<",
            Self::LessEqual => "<=",
            Self::Greater => ">",
            Self::GreaterEqual => ">=",
        }
    }
}

impl Kind {
    /// Calls `visit` for every direct child.
    pub(super) fn children<'a>(&'a self, visit: &mut dyn FnMut(&'a Term)) {
        match self {
            Self::Null
            | Self::Bool(_)
            | Self::Int(_)
            | Self::Dec(_)
            | Self::Text(_)
            | Self::Regex(_)
            | Self::Root(_)
            | Self::Step(_)
            | Self::Local(..) => {}
            Self::Join(parts) => parts.iter().for_each(visit),
            Self::List(items) => items.iter().for_each(|item| visit(&item.value)),
            Self::Object(properties) => {
                for property in properties {
                    match property {
                        Property::Pair(_, value) | Property::Spread(value) => visit(value),
                        Property::Computed(key, value) => {
                            visit(key);
                            visit(value);
                        }
                    }
                }
            }
            Self::Field { of, .. } => visit(of),
            Self::Index { of, index, .. } => {
                visit(of);
                visit(index);
            }
            Self::Call { args, .. } => args.iter().for_each(visit),
            Self::Arrow { body, .. } => visit(body),
            Self::Not(inner) | Self::Negate(inner) => visit(inner),
            Self::Binary(_, left, right)
            | Self::And(left, right)
            | Self::Or(left, right)
            | Self::Coalesce(left, right) => {
                visit(left);
                visit(right);
            }
            Self::Choose(condition, yes, no) => {
                visit(condition);
                visit(yes);
                visit(no);
            }
        }
    }
}

impl Term {
    /// The construct as people wrote it, for error messages: a path such as `trigger.body.items[0]`.
    pub(super) fn path(&self) -> String {
        match &self.kind {
            Kind::Root(name) | Kind::Local(_, name) => name.to_string(),
            Kind::Step(id) if is_name(id) => format!("steps.{id}"),
            Kind::Step(id) => format!("steps['{}']", display(id)),
            Kind::Field { of, name, optional } => {
                format!("{}{}{name}", of.path(), if *optional { "?." } else { "." })
            }
            Kind::Index { of, index, optional } => {
                let dot = if *optional { "?." } else { "" };
                match &index.kind {
                    Kind::Text(key) => format!("{}{dot}['{}']", of.path(), display(key)),
                    Kind::Int(place) => format!("{}{dot}[{place}]", of.path()),
                    _ => format!("{}{dot}[…]", of.path()),
                }
            }
            Kind::Call { function, method, args, .. } => {
                let name = function.first().map_or("", |function| function.name);
                match args.first() {
                    Some(receiver) if *method => format!("{}.{name}()", receiver.path()),
                    _ => format!("{name}()"),
                }
            }
            Kind::Text(text) => format!("'{}'", display(text)),
            Kind::Int(number) => number.to_string(),
            Kind::Dec(number) => number.to_string(),
            Kind::Bool(yes) => yes.to_string(),
            Kind::Null => "null".to_owned(),
            Kind::Regex(pattern) => format!("/{}/", display(&pattern.source)),
            Kind::List(_) => "the list".to_owned(),
            Kind::Object(_) => "the object".to_owned(),
            Kind::Join(_) => "the text".to_owned(),
            Kind::Arrow { .. } => "the function".to_owned(),
            _ => "the expression".to_owned(),
        }
    }
}

/// Whether a text can be written after a dot.
pub(super) fn is_name(text: &str) -> bool {
    let mut chars = text.chars();
    chars.next().is_some_and(|first| first.is_alphabetic() || first == '_' || first == '$')
        && chars.all(|next| next.is_alphanumeric() || next == '_' || next == '$')
}
