//! JSON, conversions between types, and the tests for emptiness.

use super::super::budget::{ITEM_BYTES, ITEM_HEAP};
use super::super::data::{Data, date_text, offset_text};
use super::super::eval::{Fail, Machine, Outcome, a};
use super::types::{ANY, LIST, NULL, OBJECT, TEXT};
use super::{Args, Function, both, method, plain};
use crate::value::Value;

pub(super) const FUNCTIONS: &[Function] = &[
    plain(
        "json",
        ANY,
        (1, 1),
        "A value as JSON text, numbers as they were written.",
        ("json({a: [1, 2.50]})", "\"{\\\"a\\\":[1,2.50]}\""),
        json,
    ),
    plain(
        "JSON.stringify",
        ANY,
        (1, 3),
        "As json(x); with null and a number behind it in lines.",
        ("JSON.stringify([1, null])", "\"[1,null]\""),
        stringify,
    ),
    plain(
        "JSON.parse",
        TEXT,
        (1, 1),
        "The value of a JSON text.",
        ("JSON.parse('{\"a\":1.10}')", "{\"a\":1.10}"),
        parse,
    ),
    plain("Number", 0, (1, 1), "The number that a text is.", ("Number(' 1.50 ')", "1.50"), to_number),
    plain("String", 0, (1, 1), "A number, boolean or date as text.", ("String(1.50)", "\"1.50\""), to_text),
    plain(
        "Boolean",
        0,
        (1, 1),
        "true and false out of 'true', 'false', 1 and 0.",
        ("Boolean('false')", "false"),
        to_boolean,
    ),
    method("toString", ANY & !NULL & !LIST & !OBJECT, (0, 0), "As String(x).", ("(5).toString()", "\"5\""), to_text),
    method("toNumber", TEXT, (0, 0), "As Number(x).", ("'5'.toNumber()", "5"), to_number),
    method("toJsonString", ANY & !NULL, (0, 0), "As json(x).", ("[1].toJsonString()", "\"[1]\""), json),
    method("parseJson", TEXT, (0, 0), "As JSON.parse(x).", ("'[1]'.parseJson()", "[1]"), parse),
    both(
        "isEmpty",
        NULL | TEXT | LIST | OBJECT,
        (0, 0),
        "Whether a value is null or has nothing in it.",
        ("isEmpty('')", "true"),
        is_empty,
    ),
    both(
        "isNotEmpty",
        NULL | TEXT | LIST | OBJECT,
        (0, 0),
        "Whether a value has something in it.",
        ("[1].isNotEmpty()", "true"),
        is_not_empty,
    ),
];

/// Appends the JSON of a value, paid for as it grows.
fn write<'a>(
    machine: &mut Machine<'a>,
    data: &Data<'a>,
    pretty: bool,
    level: usize,
    out: &mut String,
) -> Outcome<'a, ()> {
    machine.steps(1)?;
    let before = out.len();
    let line = |machine: &mut Machine<'a>, out: &mut String, level: usize| {
        if pretty {
            machine.grow(level * 2 + 1)?;
            out.push('\n');
            out.extend(std::iter::repeat_n("  ", level));
        }
        Ok::<(), Fail>(())
    };
    match data {
        Data::Text(text) => {
            escapes(machine, text)?;
            out.push_str(&quoted(text));
        }
        Data::Date(date) => out.push_str(&quoted(&date_text(date))),
        Data::List(list) if list.len() > 0 => {
            out.push('[');
            for (place, item) in list.iter().enumerate() {
                machine.grow(ITEM_BYTES)?;
                out.push_str(if place > 0 { "," } else { "" });
                line(machine, out, level + 1)?;
                write(machine, &item, pretty, level + 1, out)?;
            }
            line(machine, out, level)?;
            out.push(']');
            return Ok(());
        }
        Data::Object(object) if object.len() > 0 => {
            out.push('{');
            for (place, (key, value)) in object.iter().enumerate() {
                machine.grow(ITEM_BYTES)?;
                escapes(machine, &key)?;
                out.push_str(if place > 0 { "," } else { "" });
                line(machine, out, level + 1)?;
                out.push_str(&quoted(&key));
                out.push_str(if pretty { ": " } else { ":" });
                write(machine, &value, pretty, level + 1, out)?;
            }
            line(machine, out, level)?;
            out.push('}');
            return Ok(());
        }
        Data::List(_) => out.push_str("[]"),
        Data::Object(_) => out.push_str("{}"),
        Data::Null => out.push_str("null"),
        Data::Bool(yes) => out.push_str(if *yes { "true" } else { "false" }),
        Data::Regex(_) | Data::Arrow(_) => return Err(Fail::new(format!("{} has no JSON", a(data.kind())))),
        number => out.push_str(&number.number_text().unwrap_or_default()),
    }
    machine.grow(out.len() - before)
}

/// Pays for a text as JSON writes it, six bytes for a control character.
fn escapes(machine: &mut Machine<'_>, text: &str) -> Result<(), Fail> {
    machine.scan(text.len())?;
    let more = text.bytes().filter(|byte| *byte < 0x20 || matches!(byte, b'"' | b'\\')).count();
    machine.grow(text.len().saturating_add(more.saturating_mul(5)))
}

fn quoted(text: &str) -> String {
    Value::Str(text.to_owned()).to_json()
}

fn json<'a>(machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    let mut out = String::new();
    write(machine, args.get(0).unwrap_or(&Data::Null), false, 0, &mut out)?;
    Ok(Data::text(out))
}

fn stringify<'a>(machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    if !matches!(args.get(1), None | Some(Data::Null)) {
        return Err(args.wrong(1, "null").hint("choose fields with `.pick('a', 'b')` first"));
    }
    let pretty = args.get(2).is_some() && args.within(2, 0, 10)? > 0;
    let mut out = String::new();
    write(machine, args.get(0).unwrap_or(&Data::Null), pretty, 0, &mut out)?;
    Ok(Data::text(out))
}

fn parse<'a>(machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    let text = args.text(0)?;
    machine.scan(text.len())?;
    // Where a value can begin one is paid for, before it is made; the weight when it is known.
    let values = text.bytes().filter(|byte| matches!(byte, b',' | b'[' | b'{')).count();
    machine.heap(values.saturating_mul(2 * ITEM_HEAP))?;
    machine.grow(text.len())?;
    let value =
        Value::from_json(text.as_bytes()).map_err(|error| Fail::new(format!("`{}`: {error}", args.function.name)))?;
    machine.grow(value.weight())?;
    Ok(Data::made(value))
}

fn to_number<'a>(machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    match args.get(0) {
        Some(number @ (Data::Int(_) | Data::Dec(_) | Data::Written(_))) => Ok(number.clone()),
        Some(Data::Text(text)) => {
            machine.scan(text.len())?;
            let trimmed = text.trim();
            super::number::written(trimmed.strip_prefix('+').unwrap_or(trimmed)).ok_or_else(|| {
                let shown: String = text.chars().take(40).collect();
                Fail::new(format!("the text \"{}\" is no number", crate::text::display(&shown)))
            })
        }
        Some(Data::Date(_)) => Err(args.wrong(0, "text").hint("write `date.toMillis()` or `date.toSeconds()`")),
        _ => Err(args.wrong(0, "text or a number")),
    }
}

/// A single value as text, paid for.
pub(super) fn shown<'a>(machine: &mut Machine<'a>, data: &Data<'a>) -> Outcome<'a, String> {
    let text = match data {
        Data::Text(text) => text.to_string(),
        Data::Bool(yes) => yes.to_string(),
        Data::Date(date) => offset_text(date),
        Data::Int(_) | Data::Dec(_) | Data::Written(_) => data.number_text().unwrap_or_default().into_owned(),
        Data::Null => return Err(Fail::new("null has no text").hint("give a default with `??`")),
        other => return Err(Fail::new(format!("{} has no text of its own", a(other.kind()))).hint("write `json(x)`")),
    };
    machine.grow(text.len())?;
    Ok(text)
}

fn to_text<'a>(machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    match args.get(0) {
        Some(text @ Data::Text(_)) => Ok(text.clone()),
        Some(data) => shown(machine, data).map(Data::text),
        None => Err(args.wrong(0, "a value")),
    }
}

fn to_boolean<'a>(_machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    match args.get(0) {
        Some(Data::Bool(yes)) => Ok(Data::Bool(*yes)),
        Some(Data::Int(number @ (0 | 1))) => Ok(Data::Bool(*number == 1)),
        Some(Data::Text(text)) if text.trim().eq_ignore_ascii_case("true") => Ok(Data::Bool(true)),
        Some(Data::Text(text)) if text.trim().eq_ignore_ascii_case("false") => Ok(Data::Bool(false)),
        _ => Err(args.wrong(0, "'true', 'false', 1 or 0").hint("ask with `isNotEmpty(x)` or `x != 0`")),
    }
}

/// Whether a value is null or has nothing in it; numbers, booleans and dates are something.
pub(super) fn nothing(data: &Data<'_>) -> bool {
    matches!(data, Data::Null | Data::Text(_) | Data::List(_) | Data::Object(_)) && empty(Some(data))
}

fn empty(data: Option<&Data<'_>>) -> bool {
    match data {
        Some(Data::Text(text)) => text.is_empty(),
        Some(Data::List(list)) => list.len() == 0,
        Some(Data::Object(object)) => object.len() == 0,
        _ => true,
    }
}

fn is_empty<'a>(_machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    Ok(Data::Bool(empty(args.get(0))))
}

fn is_not_empty<'a>(_machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    Ok(Data::Bool(!empty(args.get(0))))
}
