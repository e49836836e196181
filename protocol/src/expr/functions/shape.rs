//! Objects reshaped, defaults, types asked for, and numbers written for people.

use rust_decimal::{Decimal, RoundingStrategy};

use super::super::data::{Data, Fields, Text};
use super::super::eval::{Fail, Machine, Outcome, a};
use super::super::number::Number;
use super::types::{ANY, NUMBER, OBJECT};
use super::{Args, Function, both, method, plain};

pub(super) const FUNCTIONS: &[Function] = &[
    method(
        "mapValues",
        OBJECT,
        (1, 1),
        "With every value turned into what the function gives (value, key).",
        ("{a: 1, b: 2}.mapValues(v => v * 2)", "{\"a\":2,\"b\":4}"),
        map_values,
    )
    .arrow(1, 2),
    method(
        "filterValues",
        OBJECT,
        (1, 1),
        "Only the fields for which the function is true (value, key).",
        ("{a: 1, b: 2}.filterValues(v => v > 1)", "{\"b\":2}"),
        filter_values,
    )
    .arrow(1, 2),
    method(
        "compact",
        OBJECT,
        (0, 0),
        "Without fields that are null, empty texts, lists or objects.",
        ("{a: 1, b: null, c: ''}.compact()", "{\"a\":1}"),
        compact,
    ),
    method(
        "rename",
        OBJECT,
        (1, 1),
        "With fields under new names: {old: 'new'}; the others stay.",
        ("{a: 1, b: 2}.rename({a: 'x'})", "{\"x\":1,\"b\":2}"),
        rename,
    ),
    method(
        "get",
        OBJECT,
        (1, 2),
        "What a path such as 'a.b.0' leads to, or b (null) where something on it is missing.",
        ("{a: {b: [7]}}.get('a.b.0')", "7"),
        get,
    ),
    both(
        "ifEmpty",
        ANY,
        (1, 1),
        "The value, or a if it is null or has nothing in it.",
        ("''.ifEmpty('none')", "\"none\""),
        if_empty,
    ),
    plain(
        "typeOf",
        0,
        (1, 1),
        "The word for its type: null, boolean, integer, decimal, text, list, object or date.",
        ("typeOf(1.50)", "\"decimal\""),
        type_of,
    ),
    plain(
        "deepMerge",
        OBJECT,
        (2, u8::MAX),
        "One object with the fields of all, objects within them merged too; of others the later one wins.",
        ("deepMerge({a: {x: 1}}, {a: {y: 2}})", "{\"a\":{\"x\":1,\"y\":2}}"),
        deep_merge,
    ),
    plain(
        "Math.pow",
        NUMBER,
        (2, 2),
        "a times itself, b times; b is a whole number from 0 to 1000.",
        ("Math.pow(1.5, 2)", "2.25"),
        pow,
    ),
    method("clamp", NUMBER, (2, 2), "The number, but at least a and at most b.", ("(12).clamp(0, 10)", "10"), clamp),
    method(
        "formatNumber",
        NUMBER,
        (0, 3),
        "For people: with a digits behind the point (2), point b ('.') and thousands c (',').",
        ("(1234567.891).formatNumber(2, ',', '.')", "\"1.234.567,89\""),
        format_number,
    ),
    method(
        "toCents",
        NUMBER,
        (0, 1),
        "The amount in its smallest unit, which has a digits (2): a whole number; more digits are an error.",
        ("(12.34).toCents()", "1234"),
        to_cents,
    ),
    method(
        "fromCents",
        NUMBER,
        (0, 1),
        "The amount of so many smallest units of a digits (2).",
        ("(1234).fromCents()", "12.34"),
        from_cents,
    ),
];

fn map_values<'a>(machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    let (object, arrow) = (args.object(0)?, args.arrow(1)?);
    let mut out = Fields::new();
    for (name, value) in object.iter() {
        machine.grow_items(1)?;
        let value = machine.call(arrow, &[value, Data::Text(name.clone())])?;
        out.insert(name, value);
    }
    Ok(Data::object(out))
}

fn filter_values<'a>(machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    let (object, arrow) = (args.object(0)?, args.arrow(1)?);
    let mut out = Fields::new();
    for (name, value) in object.iter() {
        if machine.call_bool(arrow, &[value.clone(), Data::Text(name.clone())])? {
            machine.grow_items(1)?;
            out.insert(name, value);
        }
    }
    Ok(Data::object(out))
}

fn compact<'a>(machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    let object = args.object(0)?;
    machine.grow_items(object.len())?;
    Ok(Data::object(object.iter().filter(|(_, value)| !super::json::nothing(value)).collect()))
}

fn rename<'a>(machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    let (object, names) = (args.object(0)?, args.object(1)?);
    let mut out = Fields::new();
    for (name, value) in object.iter() {
        machine.grow_items(1)?;
        let name: Text<'a> = match names.get(&name) {
            None => name,
            Some(Data::Text(new)) => new,
            Some(other) => {
                return Err(Fail::new(format!("the new name of `{}` must be text, it is {}", &*name, a(other.kind()))));
            }
        };
        out.insert(name, value);
    }
    Ok(Data::object(out))
}

fn get<'a>(machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    let path = args.text(1)?;
    machine.scan(path.len())?;
    let mut at = args.get(0).cloned().unwrap_or(Data::Null);
    for name in path.split('.') {
        machine.steps(1)?;
        let next = match &at {
            Data::Object(object) => object.get(name),
            Data::List(list) => name.parse::<usize>().ok().and_then(|place| list.get(place)),
            _ => None,
        };
        match next {
            Some(next) => at = next,
            None => return Ok(args.get(2).cloned().unwrap_or(Data::Null)),
        }
    }
    Ok(at)
}

fn if_empty<'a>(_machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    let (value, instead) = (args.get(0).cloned().unwrap_or(Data::Null), args.get(1).cloned().unwrap_or(Data::Null));
    Ok(if super::json::nothing(&value) { instead } else { value })
}

fn type_of<'a>(_machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    Ok(Data::Text(Text::Borrowed(args.get(0).map_or("null", Data::kind))))
}

/// Levels of objects that are merged; below them the later one wins.
const MERGE_DEPTH: usize = 32;

fn merged<'a>(machine: &mut Machine<'a>, left: &Data<'a>, right: &Data<'a>, depth: usize) -> Outcome<'a> {
    let (Data::Object(one), Data::Object(two)) = (left, right) else { return Ok(right.clone()) };
    machine.grow_items(one.len() + two.len())?;
    let mut out: Fields<'a> = one.iter().collect();
    for (name, value) in two.iter() {
        let value = match out.get(&*name) {
            Some(held) if depth < MERGE_DEPTH => merged(machine, held, &value, depth + 1)?,
            _ => value,
        };
        out.insert(name, value);
    }
    Ok(Data::object(out))
}

fn deep_merge<'a>(machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    let mut so_far = args.get(0).cloned().unwrap_or(Data::Null);
    for place in 1..args.values.len() {
        args.object(place)?;
        so_far = merged(machine, &so_far, args.get(place).unwrap_or(&Data::Null), 0)?;
    }
    Ok(so_far)
}

fn pow<'a>(machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    let base = args.number(0)?;
    let times = args.within(1, 0, 1_000)?;
    let mut out = Number::Int(1);
    for _ in 0..times {
        machine.steps(1)?;
        out = out.multiply(base).map_err(Fail::new)?;
    }
    Ok(Data::number(out))
}

fn clamp<'a>(_machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    for place in 0..3 {
        args.number(place)?;
    }
    let (Some(value), Some(least), Some(most)) = (args.get(0), args.get(1), args.get(2)) else { return Ok(Data::Null) };
    if least.order(most).is_some_and(std::cmp::Ordering::is_gt) {
        return Err(Fail::new("`clamp` takes the smaller bound first"));
    }
    if value.order(least).is_some_and(std::cmp::Ordering::is_lt) {
        return Ok(least.clone());
    }
    Ok(if value.order(most).is_some_and(std::cmp::Ordering::is_gt) { most.clone() } else { value.clone() })
}

fn sign<'a>(args: &Args<'a, '_>, place: usize, default: &'static str) -> Outcome<'a, String> {
    let text: &str = if args.get(place).is_some() { args.text(place)? } else { default };
    if text.chars().count() > 1 {
        return Err(Fail::new("`formatNumber` takes one character for the point and one for thousands"));
    }
    Ok(text.to_owned())
}

fn format_number<'a>(machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    let places = args.within(1, 2, 28)?;
    let (point, group) = (sign(args, 2, ".")?, sign(args, 3, ",")?);
    machine.steps(8)?;
    let fixed = args.number(0)?.fixed(places);
    let (minus, digits) = fixed.strip_prefix('-').map_or(("", fixed.as_str()), |rest| ("-", rest));
    let (whole, rest) = digits.split_once('.').unwrap_or((digits, ""));
    let mut out = minus.to_owned();
    for (place, digit) in whole.chars().enumerate() {
        if place > 0 && (whole.len() - place).is_multiple_of(3) {
            out.push_str(&group);
        }
        out.push(digit);
    }
    if !rest.is_empty() {
        out.push_str(&point);
        out.push_str(rest);
    }
    machine.made_text(out)
}

/// Ten to the power of the digits of a currency.
fn unit(digits: u32) -> Number {
    Number::Int(10_i128.pow(digits.min(8)))
}

fn to_cents<'a>(_machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    let amount = args.number(0)?.multiply(unit(args.within(1, 2, 8)?)).map_err(Fail::new)?;
    let whole = amount.round(0, RoundingStrategy::ToZero);
    let same = match (amount.decimal(), whole.decimal()) {
        (Some(amount), Some(whole)) => amount == whole,
        _ => true,
    };
    if !same {
        return Err(Fail::new("`toCents`: the amount has more digits than its smallest unit").hint("round it first"));
    }
    Ok(Data::number(whole))
}

fn from_cents<'a>(_machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    let (amount, digits) = (args.int(0)?, args.within(1, 2, 8)?);
    match Decimal::try_from_i128_with_scale(amount, digits) {
        Ok(amount) => Ok(Data::Dec(amount)),
        Err(_) => Err(Fail::new("`fromCents`: the number has too many digits")),
    }
}
