//! Encodings of text, and values drawn from the journal: `uuid()` and `random()`.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use rust_decimal::Decimal;

use super::super::data::Data;
use super::super::eval::{Fail, Machine, Outcome};
use super::super::number::Number;
use super::types::{OBJECT, TEXT};
use super::{Args, Function, both, plain};
use crate::value::Value;

pub(super) const FUNCTIONS: &[Function] = &[
    plain(
        "encodeURIComponent",
        TEXT,
        (1, 1),
        "Safe as a part of an address.",
        ("encodeURIComponent('a b/ä')", "\"a%20b%2F%C3%A4\""),
        encode_component,
    ),
    plain(
        "decodeURIComponent",
        TEXT,
        (1, 1),
        "The text that such a part stands for.",
        ("decodeURIComponent('a%20b')", "\"a b\""),
        decode_component,
    ),
    plain(
        "encodeURI",
        TEXT,
        (1, 1),
        "Safe as a whole address.",
        ("encodeURI('https://x.de/a b?c=ä')", "\"https://x.de/a%20b?c=%C3%A4\""),
        encode_uri,
    ),
    both(
        "urlEncode",
        OBJECT,
        (0, 0),
        "An object as a query string or form body.",
        ("{a: 'b c', n: 1}.urlEncode()", "\"a=b+c&n=1\""),
        url_encode,
    ),
    both("base64Encode", TEXT, (0, 0), "As base64.", ("base64Encode('hi')", "\"aGk=\""), base64_encode),
    both(
        "base64Decode",
        TEXT,
        (0, 0),
        "The text that a base64 text (also without padding or for addresses) stands for.",
        ("base64Decode('aGk=')", "\"hi\""),
        base64_decode,
    ),
    plain("uuid", 0, (0, 0), "A new random UUID; the same when a step is repeated.", ("uuid().length", "36"), uuid),
    plain(
        "random",
        0,
        (0, 0),
        "A random number from 0 up to 1; the same when a step is repeated.",
        ("random() < 1", "true"),
        random,
    ),
    plain("Math.random", 0, (0, 0), "As random().", ("Math.random() < 1", "true"), random),
];

fn percent<'a>(machine: &mut Machine<'a>, args: &Args<'a, '_>, kept: &str) -> Outcome<'a> {
    let text = args.text(0)?;
    machine.scan(text.len())?;
    let mut out = String::new();
    for byte in text.bytes() {
        let plain = byte.is_ascii_alphanumeric() || kept.as_bytes().contains(&byte);
        machine.grow(if plain { 1 } else { 3 })?;
        if plain {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    Ok(Data::text(out))
}

fn encode_component<'a>(machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    percent(machine, args, "-_.!~*'()")
}

fn encode_uri<'a>(machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    percent(machine, args, "-_.!~*'();/?:@&=+$,#")
}

pub(super) fn decode_component<'a>(machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    let text = args.text(0)?;
    machine.scan(text.len())?;
    machine.grow(text.len())?;
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        if *first == b'%' {
            let digits = after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
            let byte = digits.filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
            let byte = byte.and_then(|digits| u8::from_str_radix(digits, 16).ok());
            out.push(
                byte.ok_or_else(|| Fail::new("`decodeURIComponent`: a `%` is not followed by two hexadecimal digits"))?,
            );
            rest = after.get(2..).unwrap_or(&[]);
        } else {
            out.push(*first);
            rest = after;
        }
    }
    String::from_utf8(out)
        .map(Data::text)
        .map_err(|_| Fail::new("`decodeURIComponent`: what is encoded is no UTF-8 text"))
}

fn url_encode<'a>(machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    let mut out = form_urlencoded::Serializer::new(String::new());
    for (key, value) in args.object(0)?.iter() {
        machine.steps(1)?;
        machine.grow(key.len() * 3)?;
        let text = super::json::shown(machine, &value)?;
        machine.grow(text.len() * 2)?;
        out.append_pair(&key, &text);
    }
    Ok(Data::text(out.finish()))
}

fn base64_encode<'a>(machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    let text = args.text(0)?;
    machine.scan(text.len())?;
    machine.grow(text.len() / 3 * 4 + 4)?;
    Ok(Data::text(STANDARD.encode(text.as_bytes())))
}

fn base64_decode<'a>(machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    let text = args.text(0)?;
    machine.scan(text.len())?;
    machine.grow(text.len())?;
    let compact = text.trim().trim_end_matches('=');
    let bytes = STANDARD_NO_PAD
        .decode(compact)
        .or_else(|_| URL_SAFE_NO_PAD.decode(compact))
        .map_err(|_| Fail::new("`base64Decode`: the text is no base64"))?;
    String::from_utf8(bytes).map(Data::text).map_err(|_| Fail::new("`base64Decode`: what is encoded is no UTF-8 text"))
}

/// The next sixteen random bytes of this evaluation.
fn draw(machine: &mut Machine<'_>) -> Result<[u8; 16], Fail> {
    machine.steps(16)?;
    machine.grow(64)?;
    let number = machine.drawn;
    machine.drawn = number.saturating_add(1);
    Ok(machine.scope.entropy(number))
}

fn uuid<'a>(machine: &mut Machine<'a>, _args: &Args<'a, '_>) -> Outcome<'a> {
    let id = uuid::Builder::from_random_bytes(draw(machine)?).into_uuid().to_string();
    machine.draws.push(Value::Str(id.clone()));
    machine.made_text(id)
}

fn random<'a>(machine: &mut Machine<'a>, _args: &Args<'a, '_>) -> Outcome<'a> {
    let bytes = u128::from_be_bytes(draw(machine)?);
    let digits = i64::try_from(bytes % 1_000_000_000_000_000_000).unwrap_or(0);
    let number = Number::short(Decimal::new(digits, 18));
    machine.draws.push(Value::from_number_text(&number.text()).unwrap_or_default());
    Ok(Data::number(number))
}
