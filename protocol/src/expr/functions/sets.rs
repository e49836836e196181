//! Lists taken together: averages and extremes, counting, sets, and joining two lists.

use std::cmp::Ordering;
use std::collections::HashMap;

use super::super::data::{Data, Fields, List, Object, Text};
use super::super::eval::{Fail, Machine, Outcome, a, number_of};
use super::super::number::Number;
use super::types::LIST;
use super::{Args, Function, both, method, plain};

pub(super) const FUNCTIONS: &[Function] = &[
    both(
        "avg",
        LIST,
        (0, 0),
        "The mean of a list of numbers, to 28 digits; null for an empty list.",
        ("[1, 2, 4, 5].avg()", "3"),
        avg,
    ),
    both(
        "median",
        LIST,
        (0, 0),
        "The number in the middle of a list of numbers; null for an empty list.",
        ("[5, 1, 3].median()", "3"),
        median,
    ),
    method(
        "min",
        LIST,
        (0, 0),
        "The smallest of numbers, texts or dates; null for an empty list.",
        ("['b', 'a'].min()", "\"a\""),
        min,
    ),
    method(
        "max",
        LIST,
        (0, 0),
        "The greatest of numbers, texts or dates; null for an empty list.",
        ("[1, 2.5].max()", "2.5"),
        max,
    ),
    method(
        "sumBy",
        LIST,
        (1, 1),
        "The sum of what the function gives for each item, exact.",
        ("[{n: 1, p: 2.5}, {n: 2, p: 3}].sumBy(x => x.n * x.p)", "8.5"),
        sum_by,
    )
    .arrow(1, 1),
    method(
        "minBy",
        LIST,
        (1, 1),
        "The item for which the function gives the least; null for an empty list.",
        ("[{n: 2}, {n: 1}].minBy(x => x.n)", "{\"n\":1}"),
        min_by,
    )
    .arrow(1, 1),
    method(
        "maxBy",
        LIST,
        (1, 1),
        "The item for which the function gives the most; null for an empty list.",
        ("[{n: 2}, {n: 1}].maxBy(x => x.n)", "{\"n\":2}"),
        max_by,
    )
    .arrow(1, 1),
    method(
        "countBy",
        LIST,
        (1, 1),
        "How many items there are under each text that the function gives.",
        ("['a', 'bb', 'c'].countBy(x => String(x.length))", "{\"1\":2,\"2\":1}"),
        count_by,
    )
    .arrow(1, 1),
    method(
        "partition",
        LIST,
        (1, 1),
        "Two lists: the items for which the function is true, and the others.",
        ("[1, 2, 3].partition(x => x > 1)", "[[2,3],[1]]"),
        partition,
    )
    .arrow(1, 1),
    method(
        "uniqueBy",
        LIST,
        (1, 1),
        "As unique with a function.",
        ("[{id: 1}, {id: 1}].uniqueBy(x => x.id)", "[{\"id\":1}]"),
        super::list::unique,
    )
    .arrow(1, 1),
    method("dedupe", LIST, (0, 1), "As unique.", ("[1, 2, 1].dedupe()", "[1,2]"), super::list::unique).arrow(1, 1),
    method(
        "findLast",
        LIST,
        (1, 1),
        "The last item for which the function is true, or null.",
        ("[1, 2, 3].findLast(x => x < 3)", "2"),
        find_last,
    )
    .arrow(1, 1),
    method("take", LIST, (1, 1), "The first a items.", ("[1, 2, 3].take(2)", "[1,2]"), take),
    method("drop", LIST, (1, 1), "Without the first a items.", ("[1, 2, 3].drop(2)", "[3]"), drop_first),
    method(
        "compact",
        LIST,
        (0, 0),
        "Without null, empty texts, lists and objects.",
        ("[1, null, '', 0].compact()", "[1,0]"),
        compact,
    ),
    method(
        "pluck",
        LIST,
        (1, 1),
        "One field of each object, null where it is missing.",
        ("[{id: 1}, {}].pluck('id')", "[1,null]"),
        pluck,
    ),
    method("union", LIST, (1, 1), "All items of both lists, each once.", ("[1, 2].union([2, 3])", "[1,2,3]"), union),
    method(
        "intersection",
        LIST,
        (1, 1),
        "The items that are in both lists, each once.",
        ("[1, 2, 2].intersection([2, 3])", "[2]"),
        intersection,
    ),
    method(
        "difference",
        LIST,
        (1, 1),
        "The items that are not in the other list, each once.",
        ("[1, 2, 1].difference([2])", "[1]"),
        difference,
    ),
    method(
        "joinBy",
        LIST,
        (2, 3),
        "Each object merged with the first one of list a that has the same text or number in field b (in its field c, if they differ); objects without one are left out, and of a field in both the first list's stays.",
        ("[{id: 1, n: 2}].joinBy([{id: 1, sku: 'A'}], 'id')", "[{\"id\":1,\"n\":2,\"sku\":\"A\"}]"),
        join_by,
    ),
    method(
        "leftJoinBy",
        LIST,
        (2, 3),
        "As joinBy, but objects without a partner stay as they are.",
        (
            "[{of: 1}, {of: 2}].leftJoinBy([{id: 1, sku: 'A'}], 'of', 'id')",
            "[{\"of\":1,\"id\":1,\"sku\":\"A\"},{\"of\":2}]",
        ),
        left_join_by,
    ),
    plain(
        "range",
        0,
        (1, 2),
        "The whole numbers from 0 (or a) up to a (or b), not included.",
        ("range(2, 5)", "[2,3,4]"),
        range,
    ),
];

/// The numbers of a list.
fn numbers<'a>(machine: &mut Machine<'a>, list: &List<'a>) -> Outcome<'a, Vec<Number>> {
    machine.grow_items(list.len())?;
    list.iter().enumerate().map(|(place, item)| number(&item, place)).collect()
}

fn number<'a>(item: &Data<'a>, place: usize) -> Outcome<'a, Number> {
    number_of(item)
        .ok_or_else(|| Fail::new(format!("item {place} of the list is {} and cannot be added", a(item.kind()))))
}

fn avg<'a>(machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    let numbers = numbers(machine, args.list(0)?)?;
    if numbers.is_empty() {
        return Ok(Data::Null);
    }
    let length = i128::try_from(numbers.len()).unwrap_or(i128::MAX);
    let sum = numbers.into_iter().try_fold(Number::Int(0), Number::add).map_err(Fail::new)?;
    sum.divide(Number::Int(length)).map(Data::number).map_err(Fail::new)
}

fn median<'a>(machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    let list = args.list(0)?;
    numbers(machine, list)?;
    machine.steps(list.len().saturating_mul(16))?;
    let mut items: Vec<Data<'a>> = list.iter().collect();
    items.sort_by(|one, two| one.order(two).unwrap_or(Ordering::Equal));
    let middle = items.len() / 2;
    match (items.get(middle), middle.checked_sub(1).and_then(|before| items.get(before))) {
        (Some(item), _) if items.len() % 2 == 1 => Ok(item.clone()),
        (Some(high), Some(low)) => {
            let sum = number(low, 0)?.add(number(high, 0)?).map_err(Fail::new)?;
            sum.divide(Number::Int(2)).map(Data::number).map_err(Fail::new)
        }
        _ => Ok(Data::Null),
    }
}

/// The item whose mark is on the wanted side of all others; the first of equal ones.
fn extreme<'a>(machine: &mut Machine<'a>, args: &Args<'a, '_>, wanted: Ordering) -> Outcome<'a> {
    let list = args.list(0)?;
    let arrow = if args.get(1).is_some() { Some(args.arrow(1)?) } else { None };
    let mut best: Option<(Data<'a>, Data<'a>)> = None;
    for item in list.iter() {
        machine.steps(1)?;
        let mark = match arrow {
            Some(arrow) => machine.call(arrow, std::slice::from_ref(&item))?,
            None => item.clone(),
        };
        if let Some((held, _)) = &best {
            let order = machine
                .order(&mark, held)?
                .ok_or_else(|| Fail::new(format!("{} and {} have no order", a(mark.kind()), a(held.kind()))))?;
            if order != wanted {
                continue;
            }
        }
        best = Some((mark, item));
    }
    Ok(best.map_or(Data::Null, |(_, item)| item))
}

fn min<'a>(machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    extreme(machine, args, Ordering::Less)
}

fn max<'a>(machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    extreme(machine, args, Ordering::Greater)
}

fn min_by<'a>(machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    extreme(machine, args, Ordering::Less)
}

fn max_by<'a>(machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    extreme(machine, args, Ordering::Greater)
}

fn sum_by<'a>(machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    let (list, arrow) = (args.list(0)?, args.arrow(1)?);
    let mut total = Number::Int(0);
    for (place, item) in list.iter().enumerate() {
        machine.steps(1)?;
        let given = machine.call(arrow, &[item])?;
        total = total.add(number(&given, place)?).map_err(Fail::new)?;
    }
    Ok(Data::number(total))
}

fn count_by<'a>(machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    let (list, arrow) = (args.list(0)?, args.arrow(1)?);
    let mut out = Fields::new();
    for item in list.iter() {
        machine.grow_items(1)?;
        let place = out.entry(super::list::key(machine, arrow, &item)?).or_insert(Data::Int(0));
        if let Data::Int(seen) = place {
            *seen += 1;
        }
    }
    Ok(Data::object(out))
}

fn partition<'a>(machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    let (list, arrow) = (args.list(0)?, args.arrow(1)?);
    let (mut yes, mut no) = (Vec::new(), Vec::new());
    for item in list.iter() {
        machine.grow_items(1)?;
        if machine.call_bool(arrow, std::slice::from_ref(&item))? { yes.push(item) } else { no.push(item) }
    }
    Ok(Data::list(vec![Data::list(yes), Data::list(no)]))
}

fn find_last<'a>(machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    let (list, arrow) = (args.list(0)?, args.arrow(1)?);
    for item in list.iter().rev() {
        machine.steps(1)?;
        if machine.call_bool(arrow, std::slice::from_ref(&item))? {
            return Ok(item);
        }
    }
    Ok(Data::Null)
}

fn cut<'a>(machine: &mut Machine<'a>, list: &List<'a>, from: usize, to: usize) -> Outcome<'a> {
    let (from, to) = (from.min(list.len()), to.min(list.len()));
    if let List::Borrowed(items) = list {
        return Ok(Data::List(List::Borrowed(items.get(from..to).unwrap_or(&[]))));
    }
    machine.grow_items(to.saturating_sub(from))?;
    Ok(Data::list((from..to).filter_map(|place| list.get(place)).collect()))
}

fn amount<'a>(args: &Args<'a, '_>) -> Outcome<'a, usize> {
    Ok(usize::try_from(args.int(1)?.max(0)).unwrap_or(usize::MAX))
}

fn take<'a>(machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    cut(machine, args.list(0)?, 0, amount(args)?)
}

fn drop_first<'a>(machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    cut(machine, args.list(0)?, amount(args)?, usize::MAX)
}

fn compact<'a>(machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    let mut out = Vec::new();
    for item in args.list(0)?.iter() {
        machine.grow_items(1)?;
        if !super::json::nothing(&item) {
            out.push(item);
        }
    }
    Ok(Data::list(out))
}

fn pluck<'a>(machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    let (list, name) = (args.list(0)?, args.text(1)?);
    let mut out = Vec::new();
    for (place, item) in list.iter().enumerate() {
        machine.grow_items(1)?;
        out.push(object(&item, place)?.get(name).unwrap_or(Data::Null));
    }
    Ok(Data::list(out))
}

fn object<'a, 'd>(item: &'d Data<'a>, place: usize) -> Outcome<'a, &'d Object<'a>> {
    match item {
        Data::Object(object) => Ok(object),
        other => Err(Fail::new(format!("item {place} of the list must be an object, it is {}", a(other.kind())))),
    }
}

/// Items seen so far: texts in a table, others compared one by one (and paid for).
#[derive(Default)]
struct Seen<'a> {
    texts: std::collections::HashSet<Text<'a>>,
    others: Vec<Data<'a>>,
}

impl<'a> Seen<'a> {
    fn has(&self, machine: &mut Machine<'a>, item: &Data<'a>) -> Outcome<'a, bool> {
        if let Data::Text(text) = item {
            machine.scan(text.len())?;
            return Ok(self.texts.contains(text));
        }
        for other in &self.others {
            if machine.equal(other, item, 0)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether it is new.
    fn add(&mut self, machine: &mut Machine<'a>, item: &Data<'a>) -> Outcome<'a, bool> {
        if self.has(machine, item)? {
            return Ok(false);
        }
        machine.grow_items(2)?;
        match item {
            Data::Text(text) => drop(self.texts.insert(text.clone())),
            other => self.others.push(other.clone()),
        }
        Ok(true)
    }
}

fn chosen<'a>(
    machine: &mut Machine<'a>,
    items: impl Iterator<Item = Data<'a>>,
    other: Option<(&Seen<'a>, bool)>,
) -> Outcome<'a> {
    let (mut seen, mut out) = (Seen::default(), Vec::new());
    for item in items {
        machine.steps(1)?;
        let wanted = match other {
            Some((other, wanted)) => other.has(machine, &item)? == wanted,
            None => true,
        };
        if wanted && seen.add(machine, &item)? {
            machine.grow_items(1)?;
            out.push(item);
        }
    }
    Ok(Data::list(out))
}

fn seen<'a>(machine: &mut Machine<'a>, list: &List<'a>) -> Outcome<'a, Seen<'a>> {
    let mut seen = Seen::default();
    for item in list.iter() {
        seen.add(machine, &item)?;
    }
    Ok(seen)
}

fn union<'a>(machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    let (left, right) = (args.list(0)?, args.list(1)?);
    chosen(machine, left.iter().chain(right.iter()), None)
}

fn intersection<'a>(machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    let other = seen(machine, args.list(1)?)?;
    chosen(machine, args.list(0)?.iter(), Some((&other, true)))
}

fn difference<'a>(machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    let other = seen(machine, args.list(1)?)?;
    chosen(machine, args.list(0)?.iter(), Some((&other, false)))
}

/// What two fields are compared by: texts as they are, numbers by amount; nothing else joins.
fn join_mark(data: Option<Data<'_>>) -> Option<String> {
    match data? {
        Data::Text(text) => Some(format!("t{}", &*text)),
        other => number_of(&other).map(|number| match number.decimal() {
            Some(decimal) => format!("n{}", decimal.normalize()),
            None => format!("n{}", number.text()),
        }),
    }
}

fn joined<'a>(machine: &mut Machine<'a>, args: &Args<'a, '_>, keep: bool) -> Outcome<'a> {
    let (left, right, field) = (args.list(0)?, args.list(1)?, args.text(2)?);
    let other = if args.get(3).is_some() { args.text(3)? } else { field };
    let mut partners: HashMap<String, Data<'a>> = HashMap::new();
    for (place, item) in right.iter().enumerate() {
        if let Some(mark) = join_mark(object(&item, place)?.get(other)) {
            machine.grow_items(2)?;
            machine.grow(mark.len())?;
            partners.entry(mark).or_insert(item);
        }
    }
    let mut out = Vec::new();
    for (place, item) in left.iter().enumerate() {
        machine.grow_items(1)?;
        let fields = object(&item, place)?;
        let mark = join_mark(fields.get(field));
        machine.scan(mark.as_ref().map_or(0, String::len))?;
        match mark.and_then(|mark| partners.get(&mark)) {
            Some(Data::Object(partner)) => {
                machine.grow_items(fields.len() + partner.len())?;
                let mut merged: Fields<'a> = fields.iter().collect();
                for (name, value) in partner.iter() {
                    machine.grow(name.len())?;
                    merged.entry(name).or_insert(value);
                }
                out.push(Data::object(merged));
            }
            _ if keep => out.push(item),
            _ => {}
        }
    }
    Ok(Data::list(out))
}

fn join_by<'a>(machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    joined(machine, args, false)
}

fn left_join_by<'a>(machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    joined(machine, args, true)
}

fn range<'a>(machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    let (from, to) = if args.get(1).is_some() { (args.int(0)?, args.int(1)?) } else { (0, args.int(0)?) };
    let length = usize::try_from(to.saturating_sub(from).max(0)).unwrap_or(usize::MAX);
    machine.grow_items(length)?;
    Ok(Data::list((from..to).map(Data::Int).collect()))
}
