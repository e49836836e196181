//! `each`: sugar for a map of one step.
//!
//! What decides whether and when the step comes (`if`, `needs`, `join`, `losers`) stays with the map; all else
//! (attempts, handler, compensation …) is of the one step, once for each item.

use super::{Kind, Step};
use crate::value::{Map, Value};

/// A map takes at most this many items (or batches of items).
pub const ITEMS_MAX: u32 = 100_000;
/// Items of a map at work at once, unless it says otherwise.
pub const ITEMS_PARALLEL: u32 = 16;
/// Items of a map at work at once at most.
pub const ITEMS_PARALLEL_MAX: u32 = 1000;

/// Settings of the map that `each` stands for: it gives the list itself, or an object as a map has it.
#[must_use]
pub fn settings(each: &Value) -> Map {
    match each {
        Value::Map(settings) => settings.clone(),
        list => Map::from_iter([("over".to_owned(), list.clone())]),
    }
}

/// The map that a step with `each` stands for; `None` without it. Map and step have the same id: the paths of
/// the step carry the key of their item, as in `ship[3]`.
#[must_use]
pub fn unrolled(step: &Step) -> Option<Step> {
    let with = settings(step.each.as_ref()?);
    let mut inner = step.clone();
    inner.each = None;
    let mut outer = Step { id: step.id.clone(), note: inner.note.take(), ..Step::default() };
    outer.when = inner.when.take();
    outer.needs = inner.needs.take();
    outer.join = inner.join.take();
    outer.losers = inner.losers.take();
    outer.kind = Kind::Map { with, steps: vec![inner] };
    Some(outer)
}
