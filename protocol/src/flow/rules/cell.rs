//! The cells of a rule table: what a column's value must be for a row to match.
//!
//! A cell is a constant, never an expression, so that a table can be checked for gaps and overlaps without
//! running it. A column has one type; a value of another type is an error, never "does not match". Null
//! matches `null`, `-` and what is not excluded.

use std::cmp::Ordering;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use crate::expr;
use crate::value::Value;

/// A list in a cell has at most this many alternatives.
const ALTERNATIVES_MAX: usize = 256;

/// A place on an axis: numbers are ordered with numbers, times with times.
#[derive(Clone, Debug)]
pub(super) enum Point {
    Number(Value),
    Time(Timestamp, String),
}

impl Point {
    pub fn order(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Number(one), Self::Number(two)) => expr::order(one, two).unwrap_or(Ordering::Equal),
            (Self::Time(one, _), Self::Time(two, _)) => one.cmp(two),
            (Self::Number(_), Self::Time(..)) => Ordering::Less,
            (Self::Time(..), Self::Number(_)) => Ordering::Greater,
        }
    }

    pub fn text(&self) -> String {
        match self {
            Self::Number(number) => number.to_json(),
            Self::Time(_, text) => text.clone(),
        }
    }
}

/// A constant in a cell.
#[derive(Clone, Debug)]
pub(super) enum Literal {
    Null,
    Bool(bool),
    Text(String),
    Point(Point),
}

impl Literal {
    pub fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Null, Self::Null) => true,
            (Self::Bool(one), Self::Bool(two)) => one == two,
            (Self::Text(one), Self::Text(two)) => one == two,
            (Self::Point(one), Self::Point(two)) => one.order(two).is_eq(),
            _ => false,
        }
    }

    pub fn text(&self) -> String {
        match self {
            Self::Null => "null".to_owned(),
            Self::Bool(yes) => yes.to_string(),
            Self::Text(text) => crate::text::display(text),
            Self::Point(point) => point.text(),
        }
    }

    fn kind(&self) -> Option<ColumnKind> {
        match self {
            Self::Null => None,
            Self::Bool(_) => Some(ColumnKind::Bool),
            Self::Text(_) => Some(ColumnKind::Text),
            Self::Point(Point::Number(_)) => Some(ColumnKind::Number),
            Self::Point(Point::Time(..)) => Some(ColumnKind::Time),
        }
    }
}

/// The type that the cells of a column have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ColumnKind {
    Number,
    Time,
    Text,
    Bool,
}

impl ColumnKind {
    pub fn word(self) -> &'static str {
        match self {
            Self::Number => "numbers",
            Self::Time => "dates",
            Self::Text => "texts",
            Self::Bool => "true and false",
        }
    }
}

/// One end of an interval.
#[derive(Clone, Debug)]
pub(super) struct Bound {
    pub point: Point,
    /// The point itself belongs to it.
    pub closed: bool,
}

/// What a cell asks.
#[derive(Clone, Debug)]
pub(super) enum Cell {
    Any,
    Is(Literal),
    Range { low: Option<Bound>, high: Option<Bound> },
    OneOf(Vec<Self>),
    Not(Box<Self>),
}

/// A sentence and what to write.
pub(super) type Refused = (String, &'static str);

const SPELLING: &str =
    "write a value, `-` for any, `>= 100`, `[50..100)`, `not(DE, AT)`, or a list of these for one of them";

impl Cell {
    /// Reads a cell.
    pub fn read(value: &Value) -> Result<Self, Refused> {
        Ok(match value {
            Value::Null => Self::Is(Literal::Null),
            Value::Bool(yes) => Self::Is(Literal::Bool(*yes)),
            Value::Int(_) | Value::Dec(_) => Self::Is(Literal::Point(Point::Number(value.clone()))),
            Value::Str(text) => Self::text(text, false)?,
            Value::List(items) => {
                if items.is_empty() || items.len() > ALTERNATIVES_MAX {
                    let message =
                        format!("a list in a cell has 1 to {ALTERNATIVES_MAX} alternatives, this has {}", items.len());
                    return Err((message, SPELLING));
                }
                Self::OneOf(items.iter().map(Self::read).collect::<Result<_, _>>()?)
            }
            other => return Err((format!("a cell cannot be {}", expr::a_kind(other)), SPELLING)),
        })
    }

    /// Reads a cell written as text; `inner` within `not(…)`, where numbers stand without quotes.
    fn text(text: &str, inner: bool) -> Result<Self, Refused> {
        if text.contains("{{") {
            let hint = "compute the value in `inputs`: cells are constants, so that gaps and overlaps can be found";
            return Err(("a cell holds no expression".to_owned(), hint));
        }
        let trimmed = text.trim();
        if trimmed.is_empty() {
            return Err(("an empty cell is not clear".to_owned(), "write `-` for any value, `= ''` for an empty text"));
        }
        if trimmed == "-" {
            return Ok(Self::Any);
        }
        if let Some(parts) = trimmed.strip_prefix("not(").and_then(|rest| rest.strip_suffix(')')) {
            let parts = split(parts);
            let alternatives = parts.into_iter().map(|part| Self::text(part, true)).collect::<Result<_, _>>()?;
            return Ok(Self::Not(Box::new(Self::OneOf(alternatives))));
        }
        for sign in ["<=", ">=", "!=", "==", "<", ">", "="] {
            let Some(rest) = trimmed.strip_prefix(sign) else { continue };
            let literal = literal(rest)?;
            let bound = |closed: bool| point(&literal, sign).map(|point| Some(Bound { point, closed }));
            return Ok(match sign {
                "<" | "<=" => Self::Range { low: None, high: bound(sign == "<=")? },
                ">" | ">=" => Self::Range { low: bound(sign == ">=")?, high: None },
                "!=" => Self::Not(Box::new(Self::Is(literal))),
                _ => Self::Is(literal),
            });
        }
        if let Some(range) = interval(trimmed)? {
            return Ok(range);
        }
        let quoted = unquoted(trimmed);
        Ok(Self::Is(match quoted {
            Some(exact) => Literal::Text(exact.to_owned()),
            None if inner => literal(trimmed)?,
            None => time(trimmed).map_or_else(
                || Literal::Text(text.to_owned()),
                |instant| Literal::Point(Point::Time(instant, trimmed.to_owned())),
            ),
        }))
    }

    /// The types in it, null aside.
    pub fn kinds(&self, out: &mut Vec<ColumnKind>) {
        let mut add = |kind: Option<ColumnKind>| out.extend(kind.filter(|kind| !out.contains(kind)));
        match self {
            Self::Any => {}
            Self::Is(literal) => add(literal.kind()),
            Self::Range { low, high } => {
                for bound in [low, high].into_iter().flatten() {
                    add(Literal::Point(bound.point.clone()).kind());
                }
            }
            Self::OneOf(cells) => cells.iter().for_each(|cell| cell.kinds(out)),
            Self::Not(cell) => cell.kinds(out),
        }
    }

    /// Whether a value, of the column's type or null, fits.
    pub fn fits(&self, given: &Literal) -> bool {
        match self {
            Self::Any => true,
            Self::Is(literal) => literal.is(given),
            Self::Range { low, high } => {
                let Literal::Point(given) = given else { return false };
                let above = |bound: &Bound| match given.order(&bound.point) {
                    Ordering::Equal => bound.closed,
                    order => order.is_gt(),
                };
                let below = |bound: &Bound| match given.order(&bound.point) {
                    Ordering::Equal => bound.closed,
                    order => order.is_lt(),
                };
                low.as_ref().is_none_or(above) && high.as_ref().is_none_or(below)
            }
            Self::OneOf(cells) => cells.iter().any(|cell| cell.fits(given)),
            Self::Not(cell) => !cell.fits(given),
        }
    }

    /// Whether all between two neighbouring points of the column's axis fits; `None` is without end.
    pub fn spans(&self, low: Option<&Point>, high: Option<&Point>) -> bool {
        match self {
            Self::Any => true,
            Self::Is(_) => false,
            Self::Range { low: from, high: to } => {
                let begins = from.as_ref().is_none_or(|bound| low.is_some_and(|low| bound.point.order(low).is_le()));
                let ends = to.as_ref().is_none_or(|bound| high.is_some_and(|high| bound.point.order(high).is_ge()));
                begins && ends
            }
            Self::OneOf(cells) => cells.iter().any(|cell| cell.spans(low, high)),
            Self::Not(cell) => !cell.spans(low, high),
        }
    }

    /// Whether a text that no cell names fits.
    pub fn takes_others(&self) -> bool {
        match self {
            Self::Any => true,
            Self::Is(_) | Self::Range { .. } => false,
            Self::OneOf(cells) => cells.iter().any(Self::takes_others),
            Self::Not(cell) => !cell.takes_others(),
        }
    }

    /// Every constant in it.
    pub fn literals(&self, visit: &mut dyn FnMut(Literal)) {
        match self {
            Self::Any => {}
            Self::Is(literal) => visit(literal.clone()),
            Self::Range { low, high } => {
                for bound in [low, high].into_iter().flatten() {
                    visit(Literal::Point(bound.point.clone()));
                }
            }
            Self::OneOf(cells) => cells.iter().for_each(|cell| cell.literals(visit)),
            Self::Not(cell) => cell.literals(visit),
        }
    }
}

/// The value of an input as a column of this type takes it; `None` if it is of another type.
pub(super) fn given(value: &Value, kind: Option<ColumnKind>) -> Option<Literal> {
    Some(match (value, kind) {
        (Value::Null, _) => Literal::Null,
        (Value::Bool(yes), Some(ColumnKind::Bool)) => Literal::Bool(*yes),
        (Value::Str(text), Some(ColumnKind::Text)) => Literal::Text(text.clone()),
        (Value::Int(_) | Value::Dec(_), Some(ColumnKind::Number)) => Literal::Point(Point::Number(value.clone())),
        (Value::Str(text), Some(ColumnKind::Time)) => Literal::Point(Point::Time(time(text)?, text.clone())),
        // No cell of the column asks for more than null or anything.
        (_, None) => Literal::Text(String::new()),
        _ => return None,
    })
}

/// The parts between commas that stand in no quotes.
fn split(text: &str) -> Vec<&str> {
    let (mut parts, mut begin, mut quote) = (Vec::new(), 0, None);
    for (at, next) in text.char_indices() {
        match (next, quote) {
            (',', None) => {
                parts.push(text.get(begin..at).unwrap_or_default());
                begin = at + 1;
            }
            ('\'' | '"', None) => quote = Some(next),
            (_, Some(open)) if open == next => quote = None,
            _ => {}
        }
    }
    parts.push(text.get(begin..).unwrap_or_default());
    parts
}

fn unquoted(text: &str) -> Option<&str> {
    ['\'', '"'].iter().find_map(|quote| text.strip_prefix(*quote)?.strip_suffix(*quote))
}

/// The instant that a text names: a day (its first moment in UTC), or a time with its offset or zone.
fn time(text: &str) -> Option<Timestamp> {
    if text.len() > 100 || !text.as_bytes().first().is_some_and(u8::is_ascii_digit) || text.get(4..5) != Some("-") {
        return None;
    }
    if let Ok(instant) = text.parse::<Timestamp>() {
        return Some(instant);
    }
    let local: DateTime = text.parse().ok()?;
    local.to_zoned(TimeZone::UTC).ok().map(|date| date.timestamp())
}

/// A constant behind a sign: here numbers, `true` and `null` stand without quotes.
fn literal(text: &str) -> Result<Literal, Refused> {
    let text = text.trim();
    if let Some(exact) = unquoted(text) {
        return Ok(Literal::Text(exact.to_owned()));
    }
    if let Some(number) = Value::from_number_text(text) {
        return Ok(Literal::Point(Point::Number(number)));
    }
    Ok(match (text, time(text)) {
        ("", _) => return Err(("a cell ends where a value was expected".to_owned(), SPELLING)),
        ("null", _) => Literal::Null,
        ("true", _) => Literal::Bool(true),
        ("false", _) => Literal::Bool(false),
        (_, Some(instant)) => Literal::Point(Point::Time(instant, text.to_owned())),
        _ => Literal::Text(text.to_owned()),
    })
}

fn point(literal: &Literal, sign: &str) -> Result<Point, Refused> {
    match literal {
        Literal::Point(point) => Ok(point.clone()),
        other => {
            let message = format!("`{}` has no order: `{sign}` compares numbers and dates", other.text());
            Err((message, "dates are written as 2026-05-01 or 2026-05-01T10:00:00Z"))
        }
    }
}

/// `[a..b)` and its like; `None` if the text is no interval.
fn interval(text: &str) -> Result<Option<Cell>, Refused> {
    let from = text.strip_prefix('[').map(|rest| (rest, true)).or(text.strip_prefix('(').map(|rest| (rest, false)));
    let Some((rest, low_closed)) = from else { return Ok(None) };
    let to = rest.strip_suffix(']').map(|rest| (rest, true)).or(rest.strip_suffix(')').map(|rest| (rest, false)));
    let Some((inside, high_closed)) = to else { return Ok(None) };
    let Some((low, high)) = inside.split_once("..") else { return Ok(None) };
    let (low, high) = (point(&literal(low)?, "..")?, point(&literal(high)?, "..")?);
    let order = low.order(&high);
    if order.is_gt() || (order.is_eq() && !(low_closed && high_closed)) {
        return Err((format!("nothing lies in {}", crate::text::display(text)), "write the smaller end first"));
    }
    let bound = |point: Point, closed: bool| Some(Bound { point, closed });
    Ok(Some(Cell::Range { low: bound(low, low_closed), high: bound(high, high_closed) }))
}
