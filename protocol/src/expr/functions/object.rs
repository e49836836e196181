//! Functions on objects. Keys keep the order in which the object was written.

use super::super::data::{Data, Fields, Object, Text};
use super::super::eval::{Fail, Machine, Outcome, a};
use super::types::{LIST, OBJECT};
use super::{Args, Function, both, method, plain};

pub(super) const FUNCTIONS: &[Function] = &[
    plain("Object.keys", OBJECT, (1, 1), "The keys as a list.", ("Object.keys({a: 1, b: 2})", "[\"a\",\"b\"]"), keys),
    plain("Object.values", OBJECT, (1, 1), "The values as a list.", ("Object.values({a: 1, b: 2})", "[1,2]"), values),
    plain(
        "Object.entries",
        OBJECT,
        (1, 1),
        "Pairs of key and value.",
        ("Object.entries({a: 1})", "[[\"a\",1]]"),
        entries,
    ),
    plain(
        "Object.fromEntries",
        LIST,
        (1, 1),
        "An object of pairs of key and value.",
        ("Object.fromEntries([['a', 1]])", "{\"a\":1}"),
        from_entries,
    ),
    plain(
        "Object.assign",
        OBJECT,
        (1, u8::MAX),
        "One object with the fields of all; later ones win.",
        ("Object.assign({a: 1}, {b: 2})", "{\"a\":1,\"b\":2}"),
        merge,
    ),
    both("keys", OBJECT, (0, 0), "The keys as a list.", ("{a: 1}.keys()", "[\"a\"]"), keys),
    both("values", OBJECT, (0, 0), "The values as a list.", ("{a: 1}.values()", "[1]"), values),
    both("entries", OBJECT, (0, 0), "Pairs of key and value.", ("{a: 1}.entries()", "[[\"a\",1]]"), entries),
    method(
        "merge",
        OBJECT,
        (1, u8::MAX),
        "With the fields of other objects; later ones win.",
        ("{a: 1}.merge({a: 2})", "{\"a\":2}"),
        merge,
    ),
    method(
        "hasOwnProperty",
        OBJECT,
        (1, 1),
        "Whether the object has a field.",
        ("{a: null}.hasOwnProperty('a')", "true"),
        has,
    ),
    method("pick", OBJECT, (1, u8::MAX), "Only the fields named.", ("{a: 1, b: 2}.pick('a')", "{\"a\":1}"), pick),
    method("omit", OBJECT, (1, u8::MAX), "Without the fields named.", ("{a: 1, b: 2}.omit('a')", "{\"b\":2}"), omit),
];

fn key<'a>(machine: &mut Machine<'a>, key: Text<'a>) -> Outcome<'a> {
    machine.grow_items(1)?;
    Ok(Data::Text(key))
}

fn keys<'a>(machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    let mut out = Vec::new();
    for (name, _) in args.object(0)?.iter() {
        out.push(key(machine, name)?);
    }
    Ok(Data::list(out))
}

fn values<'a>(machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    let object = args.object(0)?;
    machine.grow_items(object.len())?;
    Ok(Data::list(object.iter().map(|(_, value)| value).collect()))
}

fn entries<'a>(machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    let object = args.object(0)?;
    machine.grow_items(object.len().saturating_mul(3))?;
    Ok(Data::list(object.iter().map(|(name, value)| Data::list(vec![Data::Text(name), value])).collect()))
}

fn from_entries<'a>(machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    let mut out = Fields::new();
    for (place, pair) in args.list(0)?.iter().enumerate() {
        machine.grow_items(1)?;
        match &pair {
            Data::List(pair) if pair.len() == 2 => match (pair.get(0), pair.get(1)) {
                (Some(Data::Text(name)), Some(value)) => {
                    out.insert(name, value);
                }
                (key, _) => {
                    let kind = key.map_or("null", |key| key.kind());
                    return Err(Fail::new(format!("the key of pair {place} must be text, it is {}", a(kind))));
                }
            },
            other => {
                return Err(Fail::new(format!(
                    "item {place} must be a list of a key and a value, it is {}",
                    a(other.kind())
                )));
            }
        }
    }
    Ok(Data::object(out))
}

fn merge<'a>(machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    let mut out = Fields::new();
    for place in 0..args.values.len() {
        let object = args.object(place)?;
        machine.grow_items(object.len())?;
        out.extend(object.iter());
    }
    Ok(Data::object(out))
}

fn has<'a>(_machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    Ok(Data::Bool(args.object(0)?.get(args.text(1)?).is_some()))
}

fn pick<'a>(machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    let object = args.object(0)?;
    let mut out = Fields::new();
    for place in 1..args.values.len() {
        let name = args.text(place)?;
        machine.grow_items(1)?;
        if let Some(value) = object.get(name) {
            out.insert(name.clone(), value);
        }
    }
    Ok(Data::object(out))
}

fn omit<'a>(machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    let object: &Object<'a> = args.object(0)?;
    let mut names = std::collections::HashSet::new();
    for place in 1..args.values.len() {
        names.insert(&**args.text(place)?);
    }
    machine.grow_items(object.len())?;
    Ok(Data::object(object.iter().filter(|(name, _)| !names.contains(&**name)).collect()))
}
