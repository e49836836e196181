//! Functions on lists. None changes its list: `sort` and `reverse` give a new one.

use std::cmp::Ordering;

use super::super::ast::Term;
use super::super::data::{Data, Fields, List, Text};
use super::super::eval::{Fail, Machine, Outcome, a, number_of};
use super::super::number::Number;
use super::types::{ANY, LIST, OBJECT, TEXT};
use super::{Args, Function, both, bounds, count, method, plain};

pub(super) const FUNCTIONS: &[Function] = &[
    method("map", LIST, (1, 1), "Each item turned into what the function gives (item, place).", ("[1,2].map(x => x * 2)", "[2,4]"), map).arrow(1, 2),
    method("filter", LIST, (1, 1), "The items for which the function is true.", ("[1,2,3].filter(x => x > 1)", "[2,3]"), filter).arrow(1, 2),
    method("find", LIST, (1, 1), "The first item for which the function is true, or null.", ("[1,2,3].find(x => x > 1)", "2"), find).arrow(1, 2),
    method("findIndex", LIST, (1, 1), "The place of the first item for which the function is true, or -1.", ("[1,2,3].findIndex(x => x > 1)", "1"), find_index).arrow(1, 2),
    method("some", LIST, (1, 1), "Whether the function is true for at least one item.", ("[1,2].some(x => x > 1)", "true"), some).arrow(1, 2),
    method("every", LIST, (1, 1), "Whether the function is true for all items.", ("[1,2].every(x => x > 1)", "false"), every).arrow(1, 2),
    method("reduce", LIST, (1, 2), "One value out of all items: the function gets what it gave last, the item and its place; b is the first value.", ("[1,2,3].reduce((sum, x) => sum + x, 0)", "6"), reduce).arrow(1, 3),
    method("flatMap", LIST, (1, 1), "As map, with the lists that the function gives put together.", ("[1,2].flatMap(x => [x, x])", "[1,1,2,2]"), flat_map).arrow(1, 2),
    method("flat", LIST, (0, 0), "Lists within the list put together, one level.", ("[[1],[2,3]].flat()", "[1,2,3]"), flat),
    method("join", LIST, (0, 1), "The items as one text with a between them (a comma if not given).", ("['a','b'].join(', ')", "\"a, b\""), join),
    method("slice", LIST, (0, 2), "The items from place a up to b (not included); negative counts from the end.", ("[1,2,3].slice(1)", "[2,3]"), slice),
    method("includes", LIST, (1, 1), "Whether an item is equal to a.", ("[1,2].includes(2.0)", "true"), includes),
    method("indexOf", LIST, (1, 1), "The place of the first item equal to a, or -1.", ("['a','b'].indexOf('b')", "1"), index_of),
    method("at", LIST, (1, 1), "The item at a place, negative from the end; null if there is none.", ("[1,2,3].at(-1)", "3"), at),
    both("first", LIST, (0, 0), "The first item, null if there is none.", ("[1,2].first()", "1"), first),
    both("last", LIST, (0, 0), "The last item, null if there is none.", ("[1,2].last()", "2"), last),
    method("concat", LIST, (1, u8::MAX), "With the items of other lists behind it.", ("[1].concat([2], [3])", "[1,2,3]"), concat),
    method("reverse", LIST, (0, 0), "The items in the opposite order.", ("[1,2].reverse()", "[2,1]"), reverse),
    method("sort", LIST, (0, 1), "In order: numbers, texts or dates by themselves, else by a function that gives a number as in JavaScript.", ("[3,1,2].sort((x, y) => y - x)", "[3,2,1]"), sort).arrow(1, 2),
    method("sortBy", LIST, (1, 1), "In the order of what the function gives for each item.", ("[{n:2},{n:1}].sortBy(x => x.n)", "[{\"n\":1},{\"n\":2}]"), sort_by).arrow(1, 1),
    method("groupBy", LIST, (1, 1), "An object of lists: the items under the text that the function gives.", ("['a','bb','c'].groupBy(x => String(x.length))", "{\"1\":[\"a\",\"c\"],\"2\":[\"bb\"]}"), group_by).arrow(1, 1),
    method("keyBy", LIST, (1, 1), "An object with the last item under each text that the function gives, to look items up.", ("[{id:'a'}].keyBy(x => x.id)", "{\"a\":{\"id\":\"a\"}}"), key_by).arrow(1, 1),
    method("unique", LIST, (0, 1), "Without items equal to an earlier one, or for which the function gives the same.", ("[1,2,1].unique()", "[1,2]"), unique).arrow(1, 1),
    method("zip", LIST, (1, 1), "Pairs of the items at the same place, as long as the shorter list.", ("['a','b'].zip([1,2])", "[[\"a\",1],[\"b\",2]]"), zip),
    method("chunk", LIST, (1, 1), "Lists of at most a items.", ("[1,2,3].chunk(2)", "[[1,2],[3]]"), chunk),
    both("sum", LIST, (0, 0), "The sum of a list of numbers, exact.", ("[0.1, 0.2].sum()", "0.3"), sum),
    plain("Array.isArray", ANY, (1, 1), "Whether a value is a list.", ("Array.isArray([])", "true"), is_list),
    plain("Array.from", LIST | TEXT | OBJECT, (1, 2), "The items of a list, the characters of a text, or so many places as {length: n} says, each turned into what the function gives (item, place).", ("Array.from({length: 3}, (x, i) => i * 2)", "[0,2,4]"), from).arrow(1, 2),
];

fn map<'a>(machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    let (list, arrow) = (args.list(0)?, args.arrow(1)?);
    let mut out = Vec::new();
    for (place, item) in list.iter().enumerate() {
        machine.grow_items(1)?;
        out.push(machine.call(arrow, &[item, count(place)])?);
    }
    Ok(Data::list(out))
}

fn filter<'a>(machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    let (list, arrow) = (args.list(0)?, args.arrow(1)?);
    let mut out = Vec::new();
    for (place, item) in list.iter().enumerate() {
        if machine.call_bool(arrow, &[item.clone(), count(place)])? {
            machine.grow_items(1)?;
            out.push(item);
        }
    }
    Ok(Data::list(out))
}

/// The first item, with its place, for which the function answers `wanted`.
fn position<'a>(
    machine: &mut Machine<'a>,
    args: &Args<'a, '_>,
    wanted: bool,
) -> Outcome<'a, Option<(usize, Data<'a>)>> {
    let (list, arrow) = (args.list(0)?, args.arrow(1)?);
    for (place, item) in list.iter().enumerate() {
        if machine.call_bool(arrow, &[item.clone(), count(place)])? == wanted {
            return Ok(Some((place, item)));
        }
    }
    Ok(None)
}

fn find<'a>(machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    Ok(position(machine, args, true)?.map_or(Data::Null, |(_, item)| item))
}

fn find_index<'a>(machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    Ok(position(machine, args, true)?.map_or(Data::Int(-1), |(place, _)| count(place)))
}

fn some<'a>(machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    Ok(Data::Bool(position(machine, args, true)?.is_some()))
}

fn every<'a>(machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    Ok(Data::Bool(position(machine, args, false)?.is_none()))
}

fn reduce<'a>(machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    let (list, arrow) = (args.list(0)?, args.arrow(1)?);
    let mut items = list.iter().enumerate();
    let mut so_far = match args.get(2) {
        Some(start) => start.clone(),
        None => match items.next() {
            Some((_, first)) => first,
            None => {
                return Err(Fail::new("`reduce` of an empty list needs a first value")
                    .hint("write `.reduce((sum, x) => …, 0)`"));
            }
        },
    };
    for (place, item) in items {
        so_far = machine.call(arrow, &[so_far, item, count(place)])?;
        machine.check_nesting(&so_far, 0)?;
    }
    Ok(so_far)
}

fn append<'a>(machine: &mut Machine<'a>, out: &mut Vec<Data<'a>>, item: Data<'a>) -> Outcome<'a, ()> {
    match item {
        Data::List(inner) => {
            machine.grow_items(inner.len())?;
            out.extend(inner.iter());
        }
        other => {
            machine.grow_items(1)?;
            out.push(other);
        }
    }
    Ok(())
}

fn flat_map<'a>(machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    let (list, arrow) = (args.list(0)?, args.arrow(1)?);
    let mut out = Vec::new();
    for (place, item) in list.iter().enumerate() {
        let given = machine.call(arrow, &[item, count(place)])?;
        append(machine, &mut out, given)?;
    }
    Ok(Data::list(out))
}

fn flat<'a>(machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    let mut out = Vec::new();
    for item in args.list(0)?.iter() {
        append(machine, &mut out, item)?;
    }
    Ok(Data::list(out))
}

fn join<'a>(machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    let list = args.list(0)?;
    let between: &str = if args.get(1).is_some() { args.text(1)? } else { "," };
    let mut out = String::new();
    for (place, item) in list.iter().enumerate() {
        machine.steps(1)?;
        if place > 0 {
            machine.grow(between.len())?;
            out.push_str(between);
        }
        let piece = super::json::shown(machine, &item).map_err(|fail| {
            Fail::new(format!("item {place} of the list: {}", fail.0.message))
                .hint("turn the items into text with `.map(x => …)` first")
        })?;
        out.push_str(&piece);
    }
    Ok(Data::text(out))
}

fn slice<'a>(machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    let list = args.list(0)?;
    let (start, end) = bounds(list.len(), args.int_or(1, 0)?, args.int_or(2, i128::MAX)?);
    if let List::Borrowed(items) = list {
        return Ok(Data::List(List::Borrowed(items.get(start..end).unwrap_or(&[]))));
    }
    machine.grow_items(end - start)?;
    Ok(Data::list((start..end).filter_map(|place| list.get(place)).collect()))
}

fn place_of<'a>(machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a, Option<usize>> {
    let (list, wanted) = (args.list(0)?, args.get(1).cloned().unwrap_or(Data::Null));
    for (place, item) in list.iter().enumerate() {
        if machine.equal(&item, &wanted, 0)? {
            return Ok(Some(place));
        }
    }
    Ok(None)
}

fn includes<'a>(machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    Ok(Data::Bool(place_of(machine, args)?.is_some()))
}

fn index_of<'a>(machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    Ok(place_of(machine, args)?.map_or(Data::Int(-1), count))
}

fn at<'a>(_machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    let (list, place) = (args.list(0)?, args.int(1)?);
    let place = if place < 0 { i128::try_from(list.len()).unwrap_or(0).saturating_add(place) } else { place };
    Ok(usize::try_from(place).ok().and_then(|place| list.get(place)).unwrap_or(Data::Null))
}

fn first<'a>(_machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    Ok(args.list(0)?.get(0).unwrap_or(Data::Null))
}

fn last<'a>(_machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    let list = args.list(0)?;
    Ok(list.len().checked_sub(1).and_then(|place| list.get(place)).unwrap_or(Data::Null))
}

fn concat<'a>(machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    let mut out = Vec::new();
    for place in 0..args.values.len() {
        let list = args.list(place)?;
        machine.grow_items(list.len())?;
        out.extend(list.iter());
    }
    Ok(Data::list(out))
}

fn reverse<'a>(machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    let list = args.list(0)?;
    machine.grow_items(list.len())?;
    Ok(Data::list(list.iter().rev().collect()))
}

/// Order of two items by themselves; items of different or unordered types are an error.
fn natural<'a>(machine: &mut Machine<'a>, left: &Data<'a>, right: &Data<'a>) -> Outcome<'a, Ordering> {
    machine.order(left, right)?.ok_or_else(|| {
        Fail::new(format!("{} and {} have no order", a(left.kind()), a(right.kind())))
            .hint("sort by something that is in every item: `.sortBy(x => x.name)`")
    })
}

/// Stable merge sort: the comparison may fail and may be no order at all, which the standard sort punishes.
fn merge_sort<'a, T: Clone>(
    machine: &mut Machine<'a>,
    mut items: Vec<T>,
    compare: &mut dyn FnMut(&mut Machine<'a>, &T, &T) -> Outcome<'a, Ordering>,
) -> Outcome<'a, Vec<T>> {
    let mut width = 1;
    while width < items.len() {
        machine.steps(items.len())?;
        let mut merged = Vec::with_capacity(items.len());
        for run in items.chunks(width * 2) {
            let (left, right) = run.split_at(width.min(run.len()));
            let (mut left, mut right) = (left.iter().peekable(), right.iter().peekable());
            loop {
                match (left.peek(), right.peek()) {
                    (Some(one), Some(two)) => {
                        let from_left = compare(machine, one, two)? != Ordering::Greater;
                        merged.extend(if from_left { left.next() } else { right.next() }.cloned());
                    }
                    (Some(_), None) => merged.extend(left.next().cloned()),
                    (None, Some(_)) => merged.extend(right.next().cloned()),
                    (None, None) => break,
                }
            }
        }
        items = merged;
        width *= 2;
    }
    Ok(items)
}

fn sort<'a>(machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    let list = args.list(0)?;
    machine.grow_items(list.len())?;
    let items: Vec<Data<'a>> = list.iter().collect();
    let sorted = if args.get(1).is_some() {
        let arrow: &'a Term = args.arrow(1)?;
        merge_sort(machine, items, &mut |machine, left, right| {
            let answer = machine.call(arrow, &[left.clone(), right.clone()])?;
            match number_of(&answer) {
                Some(number) => Ok(Data::number(number).order(&Data::Int(0)).unwrap_or(Ordering::Equal)),
                None => {
                    Err(Fail::new(format!("the function of `sort` must give a number, it gave {}", a(answer.kind())))
                        .hint("write `(x, y) => x.n - y.n`, or `.sortBy(x => x.n)`"))
                }
            }
        })?
    } else {
        merge_sort(machine, items, &mut |machine, left, right| natural(machine, left, right))?
    };
    Ok(Data::list(sorted))
}

fn sort_by<'a>(machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    let (list, arrow) = (args.list(0)?, args.arrow(1)?);
    let mut keyed = Vec::new();
    for item in list.iter() {
        machine.grow_items(2)?;
        keyed.push((machine.call(arrow, std::slice::from_ref(&item))?, item));
    }
    let sorted = merge_sort(machine, keyed, &mut |machine, left, right| natural(machine, &left.0, &right.0))?;
    Ok(Data::list(sorted.into_iter().map(|(_, item)| item).collect()))
}

/// The text under which an item is filed.
pub(super) fn key<'a>(machine: &mut Machine<'a>, arrow: &'a Term, item: &Data<'a>) -> Outcome<'a, Text<'a>> {
    let text = match machine.call(arrow, std::slice::from_ref(item))? {
        Data::Text(text) => text,
        number @ Data::Int(_) => number.number_text().unwrap_or_default().into_owned().into(),
        other => {
            return Err(Fail::new(format!("the key of an item must be text, it is {}", a(other.kind())))
                .hint("write `String(x.key)`"));
        }
    };
    machine.grow(text.len())?;
    Ok(text)
}

fn group_by<'a>(machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    let (list, arrow) = (args.list(0)?, args.arrow(1)?);
    let mut groups: indexmap::IndexMap<Text<'a>, Vec<Data<'a>>> = indexmap::IndexMap::new();
    for item in list.iter() {
        machine.grow_items(2)?;
        let key = key(machine, arrow, &item)?;
        groups.entry(key).or_default().push(item);
    }
    Ok(Data::object(groups.into_iter().map(|(key, items)| (key, Data::list(items))).collect()))
}

fn key_by<'a>(machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    let (list, arrow) = (args.list(0)?, args.arrow(1)?);
    let mut out = Fields::new();
    for item in list.iter() {
        machine.grow_items(1)?;
        out.insert(key(machine, arrow, &item)?, item);
    }
    Ok(Data::object(out))
}

pub(super) fn unique<'a>(machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    let list = args.list(0)?;
    let arrow = if args.get(1).is_some() { Some(args.arrow(1)?) } else { None };
    let mut texts: std::collections::HashSet<Text<'a>> = std::collections::HashSet::new();
    let mut others: Vec<Data<'a>> = Vec::new();
    let mut out = Vec::new();
    for item in list.iter() {
        machine.grow_items(2)?;
        let mark = match arrow {
            Some(arrow) => machine.call(arrow, std::slice::from_ref(&item))?,
            None => item.clone(),
        };
        let new = if let Data::Text(text) = mark {
            machine.scan(text.len())?;
            texts.insert(text)
        } else {
            let mut known = false;
            for other in &others {
                known = machine.equal(other, &mark, 0)?;
                if known {
                    break;
                }
            }
            if !known {
                others.push(mark);
            }
            !known
        };
        if new {
            out.push(item);
        }
    }
    Ok(Data::list(out))
}

fn zip<'a>(machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    let (left, right) = (args.list(0)?, args.list(1)?);
    machine.grow_items(left.len().min(right.len()).saturating_mul(3))?;
    Ok(Data::list(left.iter().zip(right.iter()).map(|(left, right)| Data::list(vec![left, right])).collect()))
}

fn chunk<'a>(machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    let (list, size) = (args.list(0)?, args.int(1)?);
    let size = usize::try_from(size)
        .ok()
        .filter(|size| *size > 0)
        .ok_or_else(|| Fail::new(format!("`chunk` takes a whole number from 1, this is {size}")))?;
    machine.grow_items(list.len().saturating_mul(2))?;
    let mut out: Vec<Vec<Data<'a>>> = Vec::new();
    for item in list.iter() {
        match out.last_mut().filter(|chunk| chunk.len() < size) {
            Some(chunk) => chunk.push(item),
            None => out.push(vec![item]),
        }
    }
    Ok(Data::list(out.into_iter().map(Data::list).collect()))
}

fn sum<'a>(machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    let mut total = Number::Int(0);
    for (place, item) in args.list(0)?.iter().enumerate() {
        machine.steps(1)?;
        let number = number_of(&item)
            .ok_or_else(|| Fail::new(format!("item {place} of the list is {} and cannot be added", a(item.kind()))))?;
        total = total.add(number).map_err(Fail::new)?;
    }
    Ok(Data::number(total))
}

fn is_list<'a>(_machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    Ok(Data::Bool(matches!(args.get(0), Some(Data::List(_)))))
}

fn from<'a>(machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    let items: Vec<Data<'a>> = match args.get(0) {
        Some(Data::List(list)) => {
            machine.grow_items(list.len())?;
            list.iter().collect()
        }
        Some(Data::Text(text)) => {
            machine.scan(text.len())?;
            let mut out = Vec::new();
            for next in text.chars() {
                machine.grow_items(1)?;
                out.push(machine.made_text(next.to_string())?);
            }
            out
        }
        _ => {
            let places = match args.object(0)?.get("length") {
                Some(Data::Int(places)) => usize::try_from(places).ok(),
                _ => None,
            };
            let places = places.ok_or_else(|| {
                Fail::new("`Array.from` of an object needs its `length`, a whole number from 0")
                    .hint("write `Object.entries(x)` for the fields of an object")
            })?;
            machine.grow_items(places)?;
            vec![Data::Null; places]
        }
    };
    if args.get(1).is_none() {
        return Ok(Data::list(items));
    }
    let arrow = args.arrow(1)?;
    let mut out = Vec::with_capacity(items.len());
    machine.grow_items(items.len())?;
    for (place, item) in items.into_iter().enumerate() {
        out.push(machine.call(arrow, &[item, count(place)])?);
    }
    Ok(Data::list(out))
}
