//! Functions on text. Lengths and places count characters (Unicode scalar values), not bytes or UTF-16 units.

use super::super::data::Data;
use super::super::eval::{Fail, Machine, Outcome};
use super::types::TEXT;
use super::{Args, Function, bounds, count, method};

pub(super) const FUNCTIONS: &[Function] = &[
    method("trim", TEXT, (0, 0), "Without white space at both ends.", ("' a b '.trim()", "\"a b\""), trim),
    method("trimStart", TEXT, (0, 0), "Without white space at the start.", ("' a '.trimStart()", "\"a \""), trim_start),
    method("trimEnd", TEXT, (0, 0), "Without white space at the end.", ("' a '.trimEnd()", "\" a\""), trim_end),
    method("toLowerCase", TEXT, (0, 0), "In small letters.", ("'ÄB'.toLowerCase()", "\"äb\""), lower),
    method("toUpperCase", TEXT, (0, 0), "In capital letters.", ("'äb'.toUpperCase()", "\"ÄB\""), upper),
    method("includes", TEXT, (1, 1), "Whether a text contains another.", ("'abc'.includes('b')", "true"), includes),
    method("startsWith", TEXT, (1, 1), "Whether a text begins so.", ("'abc'.startsWith('ab')", "true"), starts_with),
    method("endsWith", TEXT, (1, 1), "Whether a text ends so.", ("'abc'.endsWith('bc')", "true"), ends_with),
    method(
        "indexOf",
        TEXT,
        (1, 1),
        "Place of the first occurrence, -1 if there is none.",
        ("'abcb'.indexOf('b')", "1"),
        index_of,
    ),
    method(
        "lastIndexOf",
        TEXT,
        (1, 1),
        "Place of the last occurrence, -1 if there is none.",
        ("'abcb'.lastIndexOf('b')", "3"),
        last_index_of,
    ),
    method(
        "slice",
        TEXT,
        (1, 2),
        "From place a up to b (not included); negative counts from the end.",
        ("'abcd'.slice(1, -1)", "\"bc\""),
        slice,
    ),
    method(
        "substring",
        TEXT,
        (1, 2),
        "From place a up to b (not included).",
        ("'abcd'.substring(1, 3)", "\"bc\""),
        substring,
    ),
    method("substr", TEXT, (1, 2), "From place a, b characters.", ("'abcd'.substr(1, 2)", "\"bc\""), substr),
    method(
        "charAt",
        TEXT,
        (1, 1),
        "The character at a place, empty if there is none.",
        ("'abc'.charAt(1)", "\"b\""),
        char_at,
    ),
    method(
        "at",
        TEXT,
        (1, 1),
        "The character at a place, negative from the end; null if there is none.",
        ("'abc'.at(-1)", "\"c\""),
        at,
    ),
    method(
        "padStart",
        TEXT,
        (1, 2),
        "Filled up at the start to a length, with spaces or b.",
        ("'7'.padStart(3, '0')", "\"007\""),
        pad_start,
    ),
    method(
        "padEnd",
        TEXT,
        (1, 2),
        "Filled up at the end to a length, with spaces or b.",
        ("'7'.padEnd(3, '.')", "\"7..\""),
        pad_end,
    ),
    method("repeat", TEXT, (1, 1), "The text so many times.", ("'ab'.repeat(2)", "\"abab\""), repeat),
    method("concat", TEXT, (1, u8::MAX), "With other texts behind it.", ("'a'.concat('b', 'c')", "\"abc\""), concat),
];

fn trim<'a>(machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    let text = args.text(0)?;
    machine.scan(text.len())?;
    machine.made_text(text.trim().to_owned())
}

fn trim_start<'a>(machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    let text = args.text(0)?;
    machine.scan(text.len())?;
    machine.made_text(text.trim_start().to_owned())
}

fn trim_end<'a>(machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    let text = args.text(0)?;
    machine.scan(text.len())?;
    machine.made_text(text.trim_end().to_owned())
}

fn lower<'a>(machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    let text = args.text(0)?;
    machine.scan(text.len())?;
    machine.made_text(text.to_lowercase())
}

fn upper<'a>(machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    let text = args.text(0)?;
    machine.scan(text.len())?;
    machine.made_text(text.to_uppercase())
}

fn includes<'a>(machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    let (text, part) = (args.text(0)?, args.text(1)?);
    machine.scan(text.len())?;
    Ok(Data::Bool(text.contains(&**part)))
}

fn starts_with<'a>(machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    let (text, part) = (args.text(0)?, args.text(1)?);
    machine.scan(part.len())?;
    Ok(Data::Bool(text.starts_with(&**part)))
}

fn ends_with<'a>(machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    let (text, part) = (args.text(0)?, args.text(1)?);
    machine.scan(part.len())?;
    Ok(Data::Bool(text.ends_with(&**part)))
}

fn place<'a>(text: &str, byte: Option<usize>) -> Data<'a> {
    byte.and_then(|byte| text.get(..byte)).map_or(Data::Int(-1), |before| count(before.chars().count()))
}

fn index_of<'a>(machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    let (text, part) = (args.text(0)?, args.text(1)?);
    machine.scan(text.len())?;
    Ok(place(text, text.find(&**part)))
}

fn last_index_of<'a>(machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    let (text, part) = (args.text(0)?, args.text(1)?);
    machine.scan(text.len())?;
    Ok(place(text, text.rfind(&**part)))
}

/// The characters from `start` up to `end`.
fn cut<'a>(machine: &mut Machine<'a>, text: &str, start: usize, end: usize) -> Outcome<'a> {
    let mut places = text.char_indices().map(|(byte, _)| byte).chain([text.len()]);
    let from = places.by_ref().nth(start).unwrap_or(text.len());
    let to = if end <= start { from } else { places.nth(end - start - 1).unwrap_or(text.len()) };
    machine.made_text(text.get(from..to).unwrap_or("").to_owned())
}

fn slice<'a>(machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    let text = args.text(0)?;
    machine.scan(text.len())?;
    let (start, end) = bounds(text.chars().count(), args.int(1)?, args.int_or(2, i128::MAX)?);
    cut(machine, text, start, end)
}

fn substring<'a>(machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    let text = args.text(0)?;
    machine.scan(text.len())?;
    let (one, two) = (args.int(1)?.max(0), args.int_or(2, i128::MAX)?.max(0));
    let (start, end) = bounds(text.chars().count(), one.min(two), one.max(two));
    cut(machine, text, start, end)
}

fn substr<'a>(machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    let text = args.text(0)?;
    machine.scan(text.len())?;
    let (start, rest) = bounds(text.chars().count(), args.int(1)?, i128::MAX);
    let length = usize::try_from(args.int_or(2, i128::MAX)?.max(0)).unwrap_or(usize::MAX);
    cut(machine, text, start, start.saturating_add(length).min(rest))
}

fn char_at<'a>(machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    let text = args.text(0)?;
    machine.scan(text.len())?;
    let found = usize::try_from(args.int(1)?).ok().and_then(|place| text.chars().nth(place));
    Ok(Data::text(found.map(String::from).unwrap_or_default()))
}

fn at<'a>(machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    let (text, place) = (args.text(0)?, args.int(1)?);
    machine.scan(text.len())?;
    let found = if place < 0 {
        usize::try_from(-(place + 1)).ok().and_then(|back| text.chars().rev().nth(back))
    } else {
        usize::try_from(place).ok().and_then(|place| text.chars().nth(place))
    };
    Ok(found.map_or(Data::Null, |found| Data::text(found.to_string())))
}

/// The characters needed to fill `text` up to the wanted length, paid for before they are made.
fn padding<'a>(machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a, String> {
    let text = args.text(0)?;
    machine.scan(text.len())?;
    let fill: &str = if args.get(2).is_some() { args.text(2)? } else { " " };
    let wanted = usize::try_from(args.int(1)?.max(0)).unwrap_or(usize::MAX);
    let lacking = wanted.saturating_sub(text.chars().count());
    if lacking == 0 || fill.is_empty() {
        return Ok(String::new());
    }
    machine.grow(lacking)?;
    let mut out = String::new();
    for next in fill.chars().cycle().take(lacking) {
        machine.grow(next.len_utf8() - 1)?;
        out.push(next);
    }
    Ok(out)
}

fn pad_start<'a>(machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    let padding = padding(machine, args)?;
    machine.made_text(padding + args.text(0)?)
}

fn pad_end<'a>(machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    let padding = padding(machine, args)?;
    let text = args.text(0)?;
    machine.made_text(format!("{}{padding}", &**text))
}

fn repeat<'a>(machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    let (text, times) = (args.text(0)?, args.int(1)?);
    if times < 0 {
        return Err(Fail::new(format!("`repeat` takes a whole number from 0, this is {times}")));
    }
    let times = usize::try_from(times).unwrap_or(usize::MAX);
    let size = text.len().saturating_mul(times);
    machine.grow(size)?;
    Ok(Data::text(if size == 0 { String::new() } else { text.repeat(times) }))
}

fn concat<'a>(machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    let mut out = String::new();
    for place in 0..args.values.len() {
        let part = args.text(place)?;
        machine.grow(part.len())?;
        out.push_str(part);
    }
    Ok(Data::text(out))
}
