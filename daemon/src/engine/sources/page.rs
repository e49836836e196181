//! One page of a source: what is asked for it, and what is read in the answer. Pure.
//!
//! Invariant: an object without a key is a mistake and never told without one; nothing of a page is taken if one of
//! its objects cannot be read.

use aura_protocol::Value;
use aura_protocol::expr::{Scope, Template};
use aura_protocol::run::{ErrorClass, StepError};
use aura_protocol::source::{Count, ITEMS_MAX, Source};
use aura_protocol::text::display;
use aura_storage::rows::ReadTo;

use crate::engine::core::Moment;

/// Most bytes of one object.
const OBJECT_MAX: usize = 1024 * 1024;
/// Empty pages in a row that are followed.
const EMPTY_MAX: u64 = 200;
/// Longest key, in bytes.
const KEY_MAX: usize = 1024;

/// Since and until when, for a backfill; null in a poll.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bounds {
    pub since: Value,
    pub until: Value,
}

/// One object of a page.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Object {
    /// What tells it from others, as canonical text.
    pub key: String,
    /// What its flow gets.
    pub body: Vec<u8>,
    /// How far it brings the reader; null: nowhere.
    pub cursor: Value,
}

/// A page.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Page {
    /// In the provider's order.
    pub objects: Vec<Object>,
    /// What asks for the next one; null: it was the last.
    pub next: Value,
    /// How far the page as a whole brings the reader; null: nowhere.
    pub cursor: Value,
}

struct Names<'a> {
    names: &'a [(&'a str, &'a Value)],
    moment: &'a Moment,
}

impl Scope for Names<'_> {
    fn root(&self, name: &str) -> Option<&Value> {
        self.names.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
    }
    fn step(&self, _: &str) -> Option<&Value> {
        None
    }
    fn now_ms(&self) -> i64 {
        self.moment.now_ms
    }
    fn entropy(&self, _: u32) -> [u8; 16] {
        self.moment.draw()
    }
}

fn wrong(message: impl Into<String>) -> StepError {
    StepError::new(ErrorClass::Invalid, message)
}

fn eval(what: &str, template: &Template, names: &[(&str, &Value)], moment: &Moment) -> Result<Value, StepError> {
    let scope = Names { names, moment };
    template.eval(&scope).map(|found| found.value).map_err(|error| wrong(format!("`{what}` failed: {error}")))
}

/// The input of the call for the page that comes next.
pub(crate) fn asked(source: &Source, place: &ReadTo, bounds: &Bounds, moment: &Moment) -> Result<Value, StepError> {
    let Bounds { since, until } = bounds;
    let names = [("cursor", &place.cursor), ("page", &place.page), ("since", since), ("until", until)];
    eval("input", &source.input, &names, moment)
}

/// The input of the call that counts.
pub(crate) fn count_input(count: &Count, bounds: &Bounds, moment: &Moment) -> Result<Value, StepError> {
    eval("count", &count.input, &[("since", &bounds.since), ("until", &bounds.until)], moment)
}

/// How many objects there are, from the answer to a source's `count`.
pub(crate) fn counted(template: &Template, output: &Value, moment: &Moment) -> Result<u64, StepError> {
    let value = eval("count", template, &[("output", output)], moment)?;
    let number = value.as_int().and_then(|number| u64::try_from(number).ok());
    number.ok_or_else(|| wrong("`count.value` gave no whole number"))
}

/// What a page holds.
pub(crate) fn read(
    source: &Source,
    place: &ReadTo,
    bounds: &Bounds,
    output: &Value,
    moment: &Moment,
) -> Result<Page, StepError> {
    let Bounds { since, until } = bounds;
    let whole =
        [("output", output), ("cursor", &place.cursor), ("page", &place.page), ("since", since), ("until", until)];
    let found = match &source.items {
        Some(items) => eval("items", items, &whole, moment)?,
        None => output.clone(),
    };
    let items = match found {
        Value::List(items) => items,
        Value::Null => Vec::new(),
        other => return Err(wrong(format!("`items` must give a list, this is {}", other.kind()))),
    };
    if items.len() > ITEMS_MAX {
        let message = format!("a page has {} objects, more than {ITEMS_MAX}: ask for smaller pages", items.len());
        return Err(wrong(message));
    }
    let mut objects = Vec::with_capacity(items.len());
    for (number, item) in items.into_iter().enumerate() {
        let index = Value::Int(i128::try_from(number).unwrap_or(0));
        let names = [("item", &item), ("index", &index), ("output", output)];
        let of = |error: StepError| wrong(format!("object {}: {}", number + 1, error.message));
        let key = match eval("key", &source.key, &names, moment).map_err(of)? {
            Value::Null => return Err(of(wrong("its key is null"))),
            key => key.to_canonical_json(),
        };
        if key.len() > KEY_MAX {
            return Err(of(wrong(format!("its key is longer than {KEY_MAX} bytes"))));
        }
        let cursor = match source.cursor.as_ref().filter(|_| source.cursor_of_item) {
            Some(cursor) => eval("cursor", cursor, &names, moment).map_err(of)?,
            None => Value::Null,
        };
        let body = match &source.body {
            Some(body) => eval("body", body, &names, moment).map_err(of)?.to_json(),
            None => item.to_json(),
        };
        if body.len() > OBJECT_MAX {
            return Err(of(wrong(format!("it has {} bytes, more than {OBJECT_MAX}", body.len()))));
        }
        objects.push(Object { key, body: body.into_bytes(), cursor });
    }
    let next = match &source.next {
        Some(next) => eval("next", next, &whole, moment)?,
        None => Value::Null,
    };
    let next = match next {
        Value::Bool(false) => Value::Null,
        Value::Str(text) if text.is_empty() => Value::Null,
        next => next,
    };
    if !next.is_null() && next == place.page {
        let shown = display(&next.to_json().chars().take(60).collect::<String>());
        return Err(wrong(format!("the page behind {shown} is that page again")));
    }
    let of_page = source.cursor.as_ref().filter(|_| !source.cursor_of_item);
    let cursor = match of_page {
        Some(cursor) => eval("cursor", cursor, &[("output", output)], moment)?,
        None => Value::Null,
    };
    Ok(Page { objects, next, cursor })
}

/// Where the reader is after a page with another one behind it, or why it goes no further: pages that lead back to an
/// earlier one are found after less than three rounds, whatever their number, by one that is remembered.
pub(crate) fn onward(before: &ReadTo, next: &Value, is_empty: bool) -> Result<ReadTo, StepError> {
    let pages = before.pages.saturating_add(1);
    let empty = if is_empty { before.empty.saturating_add(1) } else { 0 };
    if empty >= EMPTY_MAX {
        return Err(wrong(format!("{EMPTY_MAX} pages in a row were empty, and yet there is another one")));
    }
    if !before.mark.is_null() && before.mark == *next {
        let shown = display(&next.to_json().chars().take(60).collect::<String>());
        return Err(wrong(format!("the pages go in a circle: {shown} came before")));
    }
    let mark = if pages.is_power_of_two() { next.clone() } else { before.mark.clone() };
    Ok(ReadTo { page: next.clone(), pages, empty, mark, ..before.clone() })
}

/// The same look from its first page on.
pub(crate) fn from_first(place: &ReadTo) -> ReadTo {
    ReadTo { page: Value::Null, pages: 0, empty: 0, mark: Value::Null, ..place.clone() }
}

/// Whether a cursor lies behind a bound: times as times, numbers by amount, texts as texts; `None` if they cannot be
/// compared.
pub(crate) fn is_behind(cursor: &Value, bound: &Value) -> Option<bool> {
    use std::cmp::Ordering;
    if cursor.is_null() || bound.is_null() {
        return None;
    }
    let order = aura_protocol::expr::order(cursor, bound).or_else(|| {
        let (cursor, bound) = (cursor.as_str()?, bound.as_str()?);
        let time = |text: &str| text.parse::<jiff::Timestamp>().ok();
        Some(match (time(cursor), time(bound)) {
            (Some(cursor), Some(bound)) => cursor.cmp(&bound),
            _ => cursor.cmp(bound),
        })
    });
    order.or_else(|| Some(epoch_ms(cursor)?.cmp(&epoch_ms(bound)?))).map(|order| order == Ordering::Greater)
}

/// A time as milliseconds since 1970: written, or counted in seconds or milliseconds.
fn epoch_ms(value: &Value) -> Option<i128> {
    // In seconds the year 5138, in milliseconds 1973.
    const MILLISECONDS: u128 = 100_000_000_000;
    match value.as_int() {
        Some(number) if number.unsigned_abs() >= MILLISECONDS => Some(number),
        Some(number) => Some(number * 1_000),
        None => Some(i128::from(value.as_str()?.parse::<jiff::Timestamp>().ok()?.as_millisecond())),
    }
}

/// Whether a cursor surely lies before a bound: numbers and times only, since other texts may have no order.
pub(crate) fn is_before(cursor: &Value, bound: &Value) -> bool {
    let time = |value: &Value| value.as_str()?.parse::<jiff::Timestamp>().ok();
    match (time(cursor), time(bound)) {
        (Some(cursor), Some(bound)) => cursor < bound,
        _ => aura_protocol::expr::order(cursor, bound) == Some(std::cmp::Ordering::Less),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(json: &str) -> Source {
        let Ok(Value::Map(map)) = Value::from_json(json.as_bytes()) else { panic!("{json}") };
        Source::read(&map, None).unwrap()
    }

    fn page(source: &Source, output: &str) -> Result<Page, String> {
        let output = Value::from_json(output.as_bytes()).unwrap();
        let place = ReadTo { page: Value::from("p1"), ..ReadTo::default() };
        read(source, &place, &Bounds::default(), &output, &Moment::new(0, [0; 16])).map_err(|error| error.message)
    }

    #[test]
    fn a_page_is_read_whole_or_refused_with_the_object_at_fault() {
        let source = source(
            r#"{"uses":"a.b","items":"{{ output.list }}","key":"{{ item.id }}","cursor":"{{ item.at }}","next":"{{ output.next ?? '' }}"}"#,
        );
        let read = page(&source, r#"{"list":[{"id":1,"at":"x"},{"id":"1","at":"y"}],"next":"p2"}"#).unwrap();
        let keys: Vec<&str> = read.objects.iter().map(|object| object.key.as_str()).collect();
        assert_eq!((keys.as_slice(), &read.next), ([r"1", r#""1""#].as_slice(), &Value::from("p2")));
        assert_eq!(read.objects[1].cursor, Value::from("y"));
        assert_eq!(read.objects[0].body, br#"{"id":1,"at":"x"}"#);
        let check = |output: &str, expected: &str| assert_eq!(page(&source, output).unwrap_err(), expected);
        check(r#"{"list":7}"#, "`items` must give a list, this is integer");
        check(r#"{"list":[{"id":1,"at":1},{"id":null,"at":1}]}"#, "object 2: its key is null");
        check(r#"{"list":[],"next":"p1"}"#, "the page behind \"p1\" is that page again");
        assert!(page(&source, r#"{"list":[{}]}"#).unwrap_err().starts_with("object 1: `key` failed"));
        assert_eq!(page(&source, r#"{"list":null}"#), Ok(Page::default()));
    }

    #[test]
    fn pages_that_never_end_are_refused_and_others_are_read_however_many() {
        // Of so many pages the last one leads back to this one; after how many it is found.
        let circle = |pages: u64, back: u64| {
            let mut place = ReadTo::default();
            for read in 1..100 * pages {
                let at = place.page.as_int().map_or(0, |page| u64::try_from(page).unwrap());
                let next = if at + 1 == pages { back } else { at + 1 };
                match onward(&place, &Value::from(i64::try_from(next).unwrap()), false) {
                    Ok(further) => place = further,
                    Err(error) => {
                        assert!(error.message.starts_with("the pages go in a circle: "), "{}", error.message);
                        return read;
                    }
                }
            }
            panic!("{pages} pages that lead back to {back} are read for ever");
        };
        for (pages, back) in [(2, 0), (2, 1), (3, 1), (7, 3), (100, 99), (100, 0)] {
            assert!(circle(pages, back) <= 4 * pages, "{pages} {back}");
        }
        let mut place = ReadTo::default();
        for number in 1..2_000_i64 {
            place = onward(&place, &Value::from(number), number % 200 != 0).unwrap();
        }
        let empty = (0..201_i64).try_fold(ReadTo::default(), |place, page| onward(&place, &Value::from(page), true));
        assert_eq!(empty.unwrap_err().message, "200 pages in a row were empty, and yet there is another one");
        assert_eq!(from_first(&place), ReadTo::default());
    }

    #[test]
    fn a_large_page_is_within_the_budget_of_expressions() {
        let source = source(r#"{"uses":"a.b","items":"{{ output.list }}","key":"{{ item.id }}"}"#);
        let item = |number: usize| format!(r#"{{"id":{number},"text":"{}"}}"#, "x".repeat(20_000));
        let list: Vec<String> = (0..250).map(item).collect();
        assert_eq!(page(&source, &format!(r#"{{"list":[{}]}}"#, list.join(","))).unwrap().objects.len(), 250);
    }

    #[test]
    fn a_bound_is_compared_as_what_it_is() {
        let behind = |cursor: &str, bound: &str| {
            let value = |text: &str| Value::from_json(text.as_bytes()).unwrap();
            is_behind(&value(cursor), &value(bound))
        };
        assert_eq!(behind(r#""2026-01-01T00:00:00+02:00""#, r#""2026-01-01T00:00:00Z""#), Some(false));
        assert_eq!(behind(r#""2026-01-01T00:00:01Z""#, r#""2026-01-01T00:00:00Z""#), Some(true));
        assert_eq!(behind("10", "9"), Some(true));
        assert_eq!(behind("1767225601", r#""2026-01-01T00:00:00Z""#), Some(true));
        assert_eq!(behind("1767225600", r#""2026-01-01T00:00:00Z""#), Some(false));
        assert_eq!(behind(r#""2026-01-01T00:00:00Z""#, "1767225599"), Some(true), "a bound behind a cursor");
        assert_eq!(behind("1767225600001", r#""2026-01-01T00:00:00Z""#), Some(true));
        assert_eq!(behind("1767225600000", r#""2026-01-01T00:00:00Z""#), Some(false));
        assert_eq!(behind(r#""b""#, r#""a""#), Some(true));
        assert_eq!(behind("null", "1"), None);
    }
}
