//! Functions on numbers: exact, in JavaScript's spelling.

use rust_decimal::{Decimal, MathematicalOps, RoundingStrategy};

use super::super::data::{Data, List};
use super::super::eval::{Fail, Machine, Outcome};
use super::super::number::Number;
use super::types::{LIST, NUMBER, TEXT};
use super::{Args, Function, method, plain};

pub(super) const FUNCTIONS: &[Function] = &[
    plain("Math.floor", NUMBER, (1, 1), "Rounded down.", ("Math.floor(-1.5)", "-2"), floor),
    plain("Math.ceil", NUMBER, (1, 1), "Rounded up.", ("Math.ceil(1.2)", "2"), ceil),
    plain(
        "Math.round",
        NUMBER,
        (1, 1),
        "Rounded to a whole number, halves up.",
        ("Math.round(2.5)", "3"),
        round_half_up,
    ),
    plain("Math.trunc", NUMBER, (1, 1), "Without what stands behind the point.", ("Math.trunc(-1.5)", "-1"), trunc),
    plain("Math.abs", NUMBER, (1, 1), "Without its sign.", ("Math.abs(-1.5)", "1.5"), abs),
    plain("Math.sign", NUMBER, (1, 1), "-1, 0 or 1.", ("Math.sign(-3)", "-1"), sign),
    plain("Math.sqrt", NUMBER, (1, 1), "The square root, to 28 digits.", ("Math.sqrt(2.25)", "1.5"), sqrt),
    plain(
        "Math.min",
        NUMBER | LIST,
        (1, u8::MAX),
        "The smallest of numbers, or of a list of numbers.",
        ("Math.min(3, 1, 2)", "1"),
        min,
    ),
    plain(
        "Math.max",
        NUMBER | LIST,
        (1, u8::MAX),
        "The greatest of numbers, or of a list of numbers.",
        ("Math.max([3, 1, 2])", "3"),
        max,
    ),
    method(
        "round",
        NUMBER,
        (0, 1),
        "Rounded to a places (0), halves away from zero.",
        ("(2.345).round(2)", "2.35"),
        round,
    ),
    method("floor", NUMBER, (0, 0), "Rounded down.", ("(1.7).floor()", "1"), floor),
    method("ceil", NUMBER, (0, 0), "Rounded up.", ("(1.2).ceil()", "2"), ceil),
    method("abs", NUMBER, (0, 0), "Without its sign.", ("(-2).abs()", "2"), abs),
    method(
        "toFixed",
        NUMBER,
        (0, 1),
        "As text with exactly a digits behind the point (0), halves away from zero.",
        ("(1.005).toFixed(2)", "\"1.01\""),
        to_fixed,
    ),
    plain(
        "Number.isInteger",
        0,
        (1, 1),
        "Whether a value is a whole number.",
        ("Number.isInteger(2.0)", "true"),
        is_integer,
    ),
    plain(
        "parseInt",
        TEXT | NUMBER,
        (1, 2),
        "The whole number at the start of a text, to base b (10).",
        ("parseInt('12px')", "12"),
        parse_int,
    ),
    plain(
        "parseFloat",
        TEXT | NUMBER,
        (1, 1),
        "The number at the start of a text.",
        ("parseFloat('1.50 EUR')", "1.50"),
        parse_float,
    ),
];

fn floor<'a>(_machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    Ok(Data::number(args.number(0)?.round(0, RoundingStrategy::ToNegativeInfinity)))
}

fn ceil<'a>(_machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    Ok(Data::number(args.number(0)?.round(0, RoundingStrategy::ToPositiveInfinity)))
}

fn round_half_up<'a>(_machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    Ok(Data::number(args.number(0)?.round_half_up()))
}

fn trunc<'a>(_machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    Ok(Data::number(args.number(0)?.round(0, RoundingStrategy::ToZero)))
}

fn abs<'a>(_machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    let number = args.number(0)?;
    let negative = match number {
        Number::Int(number) => number < 0,
        Number::Dec(number) => number.is_sign_negative(),
    };
    Ok(Data::number(if negative { number.negate().map_err(Fail::new)? } else { number }))
}

fn sign<'a>(_machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    Ok(Data::Int(match args.number(0)? {
        Number::Int(number) => number.signum(),
        Number::Dec(number) if number.is_zero() => 0,
        Number::Dec(number) if number.is_sign_negative() => -1,
        Number::Dec(_) => 1,
    }))
}

fn sqrt<'a>(machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    machine.steps(20)?;
    let number = args.number(0)?.decimal().ok_or_else(|| Fail::new("`Math.sqrt`: the number is too large"))?;
    let root = number.sqrt().ok_or_else(|| Fail::new(format!("{number} has no square root")))?;
    Ok(Data::number(Number::short(root)))
}

fn extreme<'a>(machine: &mut Machine<'a>, args: &Args<'a, '_>, wanted: std::cmp::Ordering) -> Outcome<'a> {
    let items: Vec<Data<'a>> = match args.values {
        [Data::List(list)] => {
            machine.grow_items(list.len())?;
            List::iter(list).collect()
        }
        numbers => numbers.to_vec(),
    };
    let mut best: Option<Data<'a>> = None;
    for item in items {
        machine.steps(1)?;
        if item.number_text().is_none() {
            return Err(Fail::new(format!(
                "`{}` takes numbers, this is {}",
                args.function.name,
                super::a(item.kind())
            )));
        }
        let better = match &best {
            Some(best) => machine.order(&item, best)? == Some(wanted),
            None => true,
        };
        if better {
            best = Some(item);
        }
    }
    best.ok_or_else(|| {
        Fail::new(format!("`{}` of an empty list has no value", args.function.name))
            .hint("ask with `isEmpty(list)` first")
    })
}

fn min<'a>(machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    extreme(machine, args, std::cmp::Ordering::Less)
}

fn max<'a>(machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    extreme(machine, args, std::cmp::Ordering::Greater)
}

fn round<'a>(_machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    let places = args.within(1, 0, 28)?;
    Ok(Data::number(args.number(0)?.round(places, RoundingStrategy::MidpointAwayFromZero)))
}

fn to_fixed<'a>(machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    let places = args.within(1, 0, 28)?;
    machine.made_text(args.number(0)?.fixed(places))
}

fn is_integer<'a>(_machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    Ok(Data::Bool(match args.get(0) {
        Some(Data::Int(_)) => true,
        Some(data @ (Data::Dec(_) | Data::Written(_))) => {
            matches!(super::number_of(data).map(|number| number.decimal().map(Decimal::normalize_scale)), Some(Some(0)))
        }
        _ => false,
    }))
}

/// The scale that is left when trailing zeros are gone.
trait NormalizeScale {
    fn normalize_scale(self) -> u32;
}
impl NormalizeScale for Decimal {
    fn normalize_scale(self) -> u32 {
        self.normalize().scale()
    }
}

fn parse_int<'a>(machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    let Some(Data::Text(text)) = args.get(0) else { return trunc(machine, args) };
    machine.scan(text.len())?;
    let base = args.within(1, 10, 36)?;
    if base < 2 {
        return Err(Fail::new(format!("`parseInt` takes a base from 2 to 36, this is {base}")));
    }
    let trimmed = text.trim();
    let (sign, digits) = match trimmed.strip_prefix(['-', '+']) {
        Some(rest) => (if trimmed.starts_with('-') { "-" } else { "" }, rest),
        None => ("", trimmed),
    };
    let digits = if base == 16 { digits.trim_start_matches("0x").trim_start_matches("0X") } else { digits };
    let length = digits.find(|next: char| !next.is_digit(base)).unwrap_or(digits.len());
    let number = format!("{sign}{}", digits.get(..length).unwrap_or(""));
    i128::from_str_radix(&number, base).map(Data::Int).map_err(|_| no_number(text, length > 0))
}

fn parse_float<'a>(machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    let Some(Data::Text(text)) = args.get(0) else { return Ok(args.get(0).cloned().unwrap_or(Data::Null)) };
    machine.scan(text.len())?;
    let trimmed = text.trim_start().trim_start_matches('+');
    let digits = trimmed.find(|next: char| !(next.is_ascii_digit() || ".eE+-".contains(next))).unwrap_or(trimmed.len());
    // The longest start of at most 64 characters that is a number.
    let found = (1..=digits.min(64)).rev().find_map(|length| written(trimmed.get(..length)?));
    found.ok_or_else(|| no_number(text, digits > 64))
}

/// The number that a text is, as JSON writes numbers, also without a digit before or behind the point.
pub(super) fn written<'a>(text: &str) -> Option<Data<'a>> {
    if let Some(value) = crate::value::Value::from_number_text(text) {
        return Some(Data::made(value));
    }
    let (sign, rest) = text.strip_prefix('-').map_or(("", text), |rest| ("-", rest));
    let digits = rest.trim_start_matches('0');
    let filled = match (digits.starts_with('.') || digits.is_empty(), digits.ends_with('.')) {
        _ if rest.is_empty() || rest == "." => return None,
        (true, false) => format!("{sign}0{digits}"),
        (false, true) => format!("{sign}{}", digits.trim_end_matches('.')),
        (false, false) => format!("{sign}{digits}"),
        (true, true) => format!("{sign}0"),
    };
    crate::value::Value::from_number_text(&filled).map(Data::made)
}

fn no_number(text: &str, too_long: bool) -> Fail {
    let shown: String = text.chars().take(40).collect();
    let why = if too_long { "has too many digits" } else { "does not begin with a number" };
    Fail::new(format!("the text \"{}\" {why}", crate::text::display(&shown)))
}
