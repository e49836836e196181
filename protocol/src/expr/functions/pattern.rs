//! Replacing, splitting and matching, with plain text or with a regular expression.
//!
//! The engine is linear in the text for one match, times the places in the pattern that can be at work at once
//! at worst: a search pays for both. For all matches of one text the worst case is matches times length, where a
//! pattern can look far beyond its match: there that product is paid for too.

use regex::Captures;

use super::super::ast::{Pattern, Term};
use super::super::data::{Data, Fields, Text};
use super::super::eval::{Fail, Machine, Outcome, a};
use super::types::{REGEX, TEXT};
use super::{Args, Function, method};

pub(super) const FUNCTIONS: &[Function] = &[
    method("replace", TEXT, (2, 2), "The first occurrence of text a, or the match of a pattern (all with flag g), replaced by b; `$1` `$<name>` `$&` stand for what matched, or b is a function of the match and its groups.", ("'2024-05'.replace(/(\\d+)-(\\d+)/, '$2/$1')", "\"05/2024\""), replace).arrow(2, 8),
    method("replaceAll", TEXT, (2, 2), "Every occurrence of a text or match of a pattern replaced.", ("'a-b-c'.replaceAll('-', '+')", "\"a+b+c\""), replace_all).arrow(2, 8),
    method("split", TEXT, (1, 2), "The parts between a text or pattern, at most b of them; '' gives the characters.", ("'a, b,c'.split(/, */)", "[\"a\",\"b\",\"c\"]"), split),
    method("match", TEXT, (1, 1), "The first match with its groups, or null; with flag g all matches without groups, or null.", ("'id 42'.match(/id (\\d+)/)", "[\"id 42\",\"42\"]"), matches),
    method("matchAll", TEXT, (1, 1), "All matches, each with its groups.", ("'a1 b2'.matchAll(/([a-z])(\\d)/g)", "[[\"a1\",\"a\",\"1\"],[\"b2\",\"b\",\"2\"]]"), match_all),
    method("search", TEXT, (1, 1), "Place of the first match of a pattern, -1 if there is none.", ("'ab1'.search(/\\d/)", "2"), search),
    method("test", REGEX, (1, 1), "Whether a pattern matches somewhere in a text.", ("/^\\d+$/.test('42')", "true"), test),
    method("groups", TEXT, (1, 1), "The named groups of the first match as an object, or null.", ("'id 42'.groups(/id (?<id>\\d+)/)", "{\"id\":\"42\"}"), groups),
];

/// Pays for looking through a text once.
fn search_cost(machine: &mut Machine<'_>, pattern: &Pattern, bytes: usize) -> Result<(), Fail> {
    machine.steps((bytes / 64 + 1).saturating_mul(pattern.weight.saturating_mul(2).saturating_add(1)))
}

/// Pays for one more match in a text of which `left` bytes remain.
fn pay_match(machine: &mut Machine<'_>, pattern: &Pattern, left: usize) -> Result<(), Fail> {
    machine.steps(2)?;
    if pattern.far { search_cost(machine, pattern, left / 2) } else { Ok(()) }
}

fn capture<'a>(found: Option<regex::Match<'_>>) -> Data<'a> {
    found.map_or(Data::Null, |found| Data::text(found.as_str().to_owned()))
}

fn captures<'a>(machine: &mut Machine<'a>, found: &Captures<'_>) -> Outcome<'a, Vec<Data<'a>>> {
    let size: usize = found.iter().flatten().map(|group| group.len()).sum();
    machine.grow(size)?;
    machine.grow_items(found.len())?;
    Ok(found.iter().map(capture).collect())
}

/// Appends to a text that is being made.
fn push(machine: &mut Machine<'_>, out: &mut String, piece: &str) -> Result<(), Fail> {
    machine.grow(piece.len())?;
    out.push_str(piece);
    Ok(())
}

/// What stands in for a match: a text with `$` references, or a function.
enum Instead<'a> {
    Text(Text<'a>),
    Call(&'a Term),
}

fn instead<'a>(args: &Args<'a, '_>) -> Outcome<'a, Instead<'a>> {
    match args.get(2) {
        Some(Data::Arrow(arrow)) => Ok(Instead::Call(arrow)),
        _ => args.text(2).cloned().map(Instead::Text),
    }
}

fn called<'a>(machine: &mut Machine<'a>, arrow: &'a Term, groups: &[Data<'a>], out: &mut String) -> Outcome<'a, ()> {
    match machine.call(arrow, groups)? {
        Data::Text(text) => push(machine, out, &text),
        other => Err(Fail::new(format!("what replaces a match must be text, it is {}", a(other.kind())))
            .hint("write `String(x)`")),
    }
}

fn replace<'a>(machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    replaced(machine, args, false)
}

fn replace_all<'a>(machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    replaced(machine, args, true)
}

fn replaced<'a>(machine: &mut Machine<'a>, args: &Args<'a, '_>, every: bool) -> Outcome<'a> {
    let (text, instead) = (args.text(0)?, instead(args)?);
    machine.scan(text.len())?;
    match args.get(1) {
        Some(Data::Regex(pattern)) => {
            search_cost(machine, pattern, text.len())?;
            replace_pattern(machine, text, pattern, &instead, every || pattern.global)
        }
        _ => replace_text(machine, text, args.text(1)?, &instead, every),
    }
}

fn replace_text<'a>(
    machine: &mut Machine<'a>,
    text: &str,
    part: &str,
    instead: &Instead<'a>,
    every: bool,
) -> Outcome<'a> {
    let mut out = String::new();
    let mut done = 0;
    for (at, found) in text.match_indices(part).take(if every { usize::MAX } else { 1 }) {
        machine.steps(1)?;
        push(machine, &mut out, text.get(done..at).unwrap_or(""))?;
        match instead {
            Instead::Text(new) => push(machine, &mut out, new)?,
            Instead::Call(arrow) => called(machine, arrow, &[Data::text(found.to_owned())], &mut out)?,
        }
        done = at + found.len();
    }
    push(machine, &mut out, text.get(done..).unwrap_or(""))?;
    Ok(Data::text(out))
}

fn replace_pattern<'a>(
    machine: &mut Machine<'a>,
    text: &str,
    pattern: &Pattern,
    instead: &Instead<'a>,
    every: bool,
) -> Outcome<'a> {
    let mut out = String::new();
    let mut done = 0;
    for found in pattern.regex.captures_iter(text).take(if every { usize::MAX } else { 1 }) {
        let Some(whole) = found.get(0) else { continue };
        pay_match(machine, pattern, text.len() - whole.start())?;
        push(machine, &mut out, text.get(done..whole.start()).unwrap_or(""))?;
        match instead {
            Instead::Text(new) => expand(machine, &found, new, &mut out)?,
            Instead::Call(arrow) => {
                let groups = captures(machine, &found)?;
                called(machine, arrow, &groups, &mut out)?;
            }
        }
        done = whole.end();
    }
    push(machine, &mut out, text.get(done..).unwrap_or(""))?;
    Ok(Data::text(out))
}

/// Writes a replacement, with `$1`, `$<name>`, `$&` and `$$` as JavaScript reads them.
fn expand(machine: &mut Machine<'_>, found: &Captures<'_>, new: &str, out: &mut String) -> Result<(), Fail> {
    let group = |number: usize| found.get(number).map_or("", |group| group.as_str());
    let mut rest = new;
    while let Some((before, after)) = rest.split_once('$') {
        push(machine, out, before)?;
        let digits = after.bytes().take(2).take_while(u8::is_ascii_digit).count();
        // `$12` is group 12 if there is one, else group 1 and a 2.
        let numbered = (1..=digits).rev().find_map(|length| {
            let number: usize = after.get(..length)?.parse().ok()?;
            (number > 0 && number < found.len()).then_some((number, length))
        });
        let named = after.strip_prefix('<').and_then(|name| name.split_once('>'));
        let taken = match (numbered, named) {
            (Some((number, length)), _) => {
                push(machine, out, group(number))?;
                length
            }
            (_, Some((name, _))) => {
                push(machine, out, found.name(name).map_or("", |group| group.as_str()))?;
                name.len() + 2
            }
            _ if after.starts_with('&') => {
                push(machine, out, group(0))?;
                1
            }
            _ => {
                push(machine, out, "$")?;
                usize::from(after.starts_with('$'))
            }
        };
        rest = after.get(taken..).unwrap_or("");
    }
    push(machine, out, rest)
}

fn split<'a>(machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    let text = args.text(0)?;
    machine.scan(text.len())?;
    let most = usize::try_from(args.int_or(2, i128::MAX)?).unwrap_or(usize::MAX);
    let mut out = Vec::new();
    let mut add = |machine: &mut Machine<'a>, piece: &str| -> Outcome<'a, ()> {
        machine.grow_items(1)?;
        machine.grow(piece.len())?;
        out.push(Data::text(piece.to_owned()));
        Ok(())
    };
    match args.get(1) {
        Some(Data::Regex(pattern)) => {
            let mut left = text.len();
            search_cost(machine, pattern, left)?;
            for piece in pattern.regex.split(text).take(most) {
                pay_match(machine, pattern, left)?;
                left = left.saturating_sub(piece.len());
                add(machine, piece)?;
            }
        }
        _ => {
            let part = args.text(1)?;
            if part.is_empty() {
                for (at, found) in text.char_indices().take(most) {
                    add(machine, text.get(at..at + found.len_utf8()).unwrap_or(""))?;
                }
            } else {
                for piece in text.split(&**part).take(most) {
                    add(machine, piece)?;
                }
            }
        }
    }
    Ok(Data::list(out))
}

fn matches<'a>(machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    let (text, pattern) = (args.text(0)?, args.pattern(1)?);
    search_cost(machine, pattern, text.len())?;
    if !pattern.global {
        return match pattern.regex.captures(text) {
            None => Ok(Data::Null),
            Some(found) => captures(machine, &found).map(Data::list),
        };
    }
    let mut out = Vec::new();
    for found in pattern.regex.find_iter(text) {
        pay_match(machine, pattern, text.len() - found.start())?;
        machine.grow_items(1)?;
        machine.grow(found.len())?;
        out.push(Data::text(found.as_str().to_owned()));
    }
    Ok(if out.is_empty() { Data::Null } else { Data::list(out) })
}

fn match_all<'a>(machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    let (text, pattern) = (args.text(0)?, args.pattern(1)?);
    search_cost(machine, pattern, text.len())?;
    let mut out = Vec::new();
    for found in pattern.regex.captures_iter(text) {
        pay_match(machine, pattern, text.len() - found.get(0).map_or(0, |whole| whole.start()))?;
        machine.grow_items(1)?;
        out.push(Data::list(captures(machine, &found)?));
    }
    Ok(Data::list(out))
}

fn search<'a>(machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    let (text, pattern) = (args.text(0)?, args.pattern(1)?);
    search_cost(machine, pattern, text.len())?;
    let before = pattern.regex.find(text).and_then(|found| text.get(..found.start()));
    Ok(before.map_or(Data::Int(-1), |before| super::count(before.chars().count())))
}

fn test<'a>(machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    let (pattern, text) = (args.pattern(0)?, args.text(1)?);
    search_cost(machine, pattern, text.len())?;
    Ok(Data::Bool(pattern.regex.is_match(text)))
}

fn groups<'a>(machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    let (text, pattern) = (args.text(0)?, args.pattern(1)?);
    search_cost(machine, pattern, text.len())?;
    let Some(found) = pattern.regex.captures(text) else { return Ok(Data::Null) };
    let mut out = Fields::new();
    for name in pattern.regex.capture_names().flatten() {
        let group = found.name(name);
        machine.grow_items(1)?;
        machine.grow(name.len() + group.map_or(0, |group| group.len()))?;
        out.insert(name.to_owned().into(), capture(group));
    }
    Ok(Data::object(out))
}
