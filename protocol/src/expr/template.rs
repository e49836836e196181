//! A value of the flow file with `{{ }}` in its texts, split and parsed once.
//!
//! A text that is one expression (a line break behind it does not count) gives the typed value; else its
//! expressions are written into the text. Keys of objects hold no expressions. Where nothing is computed,
//! the value is kept as it is.

use super::ast::{Kind, Term};
use super::budget::ITEM_BYTES;
use super::data::Data;
use super::eval::{Fail, Machine};
use super::lexer::Fault;
use super::parser::parse;
use super::{ExprError, Reference};
use crate::value::{DEPTH_MAX, Map, Value};

/// Longest text that may hold expressions, in bytes.
const TEXT_MAX: usize = 1024 * 1024;

/// A template, value by value.
#[derive(Clone, Debug)]
pub(super) enum Tree {
    Constant(Value),
    Typed(Term),
    Text(Vec<Part>),
    List(Vec<Self>),
    Object(Vec<(String, Self)>),
}

/// A piece of a text.
#[derive(Clone, Debug)]
pub(super) enum Part {
    Literal(Box<str>),
    Expression(Term),
}

impl Fault {
    fn into_error(self) -> ExprError {
        ExprError { message: self.message, offset: self.at, hint: self.hint }
    }
}

/// An error with the place in the template in front of it, for example `to` or `items[2].name`.
fn inside(mut error: ExprError, place: &str) -> ExprError {
    let joint = if error.message.starts_with("in `") { "." } else { "" };
    error.message = match error.message.strip_prefix("in `").filter(|_| joint == ".") {
        Some(rest) if rest.starts_with('[') => format!("in `{place}{rest}"),
        Some(rest) => format!("in `{place}.{rest}"),
        None => format!("in `{place}`: {}", error.message),
    };
    error
}

pub(super) fn build(source: &Value, depth: usize, names: &[&str]) -> Result<Tree, ExprError> {
    if depth > DEPTH_MAX {
        return Err(Fault::new(0, format!("the value is nested deeper than {DEPTH_MAX} levels")).into_error());
    }
    match source {
        Value::Str(text) => build_text(text, names).map_err(Fault::into_error),
        Value::List(items) => {
            let mut out = Vec::with_capacity(items.len());
            for (place, item) in items.iter().enumerate() {
                out.push(build(item, depth + 1, names).map_err(|error| inside(error, &format!("[{place}]")))?);
            }
            let constant = out.iter().all(|tree| matches!(tree, Tree::Constant(_)));
            Ok(if constant { Tree::Constant(source.clone()) } else { Tree::List(out) })
        }
        Value::Map(map) => {
            let mut out = Vec::with_capacity(map.len());
            for (key, value) in map {
                if key.contains("{{") {
                    let fault = Fault::new(0, format!("the key `{key}` holds an expression, which is not evaluated"));
                    return Err(fault.hint("build the object in one expression: `{{ {[key]: value} }}`").into_error());
                }
                out.push((key.clone(), build(value, depth + 1, names).map_err(|error| inside(error, key))?));
            }
            let constant = out.iter().all(|(_, tree)| matches!(tree, Tree::Constant(_)));
            Ok(if constant { Tree::Constant(source.clone()) } else { Tree::Object(out) })
        }
        other => Ok(Tree::Constant(other.clone())),
    }
}

fn build_text(text: &str, names: &[&str]) -> Result<Tree, Fault> {
    if !text.contains("{{") {
        return Ok(Tree::Constant(Value::Str(text.to_owned())));
    }
    if text.len() > TEXT_MAX {
        return Err(Fault::new(0, "a text with expressions is longer than 1 MiB"));
    }
    let mut parts = Vec::new();
    let mut at = 0;
    while let Some(found) = text.get(at..).and_then(|rest| rest.find("{{")) {
        let open = at + found;
        if found > 0 {
            parts.push(Part::Literal(text.get(at..open).unwrap_or("").into()));
        }
        let (term, end) = parse(text, open + 2, names)?;
        let rest = text.get(end..).unwrap_or("");
        if !rest.starts_with("}}") {
            return Err(unfinished(rest, end, open));
        }
        parts.push(Part::Expression(term));
        at = end + 2;
    }
    let tail = text.get(at..).unwrap_or("");
    match (parts.as_slice(), tail) {
        ([Part::Expression(_)], "" | "\n" | "\r\n") => {
            let only = parts.pop();
            Ok(match only {
                Some(Part::Expression(term)) => Tree::Typed(term),
                _ => Tree::Constant(Value::Null),
            })
        }
        _ => {
            if !tail.is_empty() {
                parts.push(Part::Literal(tail.into()));
            }
            Ok(Tree::Text(parts))
        }
    }
}

fn unfinished(rest: &str, end: usize, open: usize) -> Fault {
    match rest.chars().next() {
        None => Fault::new(open, "`{{` is not closed")
            .hint("end the expression with `}}`; for the two braces themselves write `{{ '{{' }}`"),
        Some('}') => Fault::new(end, "an expression ends with one brace").hint("end it with `}}`"),
        Some(found) => {
            let fault = Fault::new(
                end,
                format!("expected `}}}}` or an operator, found `{}`", crate::text::display(&found.to_string())),
            );
            if found.is_alphabetic() {
                fault.hint("text stands in quotes, and names in brackets if they hold other signs: `steps['my-step']`")
            } else {
                fault
            }
        }
    }
}

/// Evaluates a tree; every part shares one machine and so one budget.
pub(super) fn evaluate<'a>(tree: &'a Tree, machine: &mut Machine<'a>) -> Result<Value, ExprError> {
    match tree {
        Tree::Constant(value) => Ok(value.clone()),
        Tree::Typed(term) => {
            machine.eval(term).and_then(|data: Data<'a>| machine.export(term, data)).map_err(Fail::into_error)
        }
        Tree::Text(parts) => {
            let mut out = String::new();
            for part in parts {
                match part {
                    Part::Literal(text) => out.push_str(text),
                    Part::Expression(term) => {
                        let data = machine.eval(term).map_err(Fail::into_error)?;
                        machine.render(term, &data, &mut out).map_err(Fail::into_error)?;
                    }
                }
            }
            Ok(Value::Str(out))
        }
        Tree::List(items) => {
            machine.grow(items.len().saturating_mul(ITEM_BYTES)).map_err(Fail::into_error)?;
            let mut out = Vec::with_capacity(items.len());
            for (place, item) in items.iter().enumerate() {
                out.push(evaluate(item, machine).map_err(|error| inside(error, &format!("[{place}]")))?);
            }
            Ok(Value::List(out))
        }
        Tree::Object(fields) => {
            machine.grow(fields.len().saturating_mul(ITEM_BYTES)).map_err(Fail::into_error)?;
            let mut out = Map::with_capacity(fields.len());
            for (key, field) in fields {
                out.insert(key.clone(), evaluate(field, machine).map_err(|error| inside(error, key))?);
            }
            Ok(Value::Map(out))
        }
    }
}

/// Every expression of a tree.
pub(super) fn expressions<'t>(tree: &'t Tree, visit: &mut dyn FnMut(&'t Term)) {
    match tree {
        Tree::Constant(_) => {}
        Tree::Typed(term) => visit(term),
        Tree::Text(parts) => {
            for part in parts {
                if let Part::Expression(term) = part {
                    visit(term);
                }
            }
        }
        Tree::List(items) => items.iter().for_each(|item| expressions(item, visit)),
        Tree::Object(fields) => fields.iter().for_each(|(_, field)| expressions(field, visit)),
    }
}

/// What an expression reads; `maybe` tells that `?.` stands behind it.
pub(super) fn references(term: &Term, maybe: bool, out: &mut Vec<Reference>) {
    let mut add = |root: &str, step: Option<&str>| {
        let reference = Reference { root: root.to_owned(), step: step.map(str::to_owned), maybe };
        if !out.contains(&reference) {
            out.push(reference);
        }
    };
    match &term.kind {
        Kind::Root(name) => add(name, None),
        Kind::Step(id) => add("steps", Some(id)),
        Kind::Field { of, optional, .. } => references(of, *optional, out),
        Kind::Index { of, index, optional } => {
            references(of, *optional, out);
            references(index, false, out);
        }
        Kind::Call { method, optional, args, .. } => {
            for (place, arg) in args.iter().enumerate() {
                references(arg, *method && *optional && place == 0, out);
            }
        }
        other => other.children(&mut |child| references(child, false, out)),
    }
}

/// The fields of a root that an expression reads; `all` if it reads the root itself or a computed field.
pub(super) fn fields(term: &Term, root: &str, out: &mut Vec<String>, all: &mut bool) {
    let is_root = |of: &Term| matches!(&of.kind, Kind::Root(name) if **name == *root);
    match &term.kind {
        Kind::Root(name) if **name == *root => *all = true,
        Kind::Field { of, name, .. } if is_root(of) => out.push(name.to_string()),
        Kind::Index { of, index, .. } if is_root(of) => match &index.kind {
            Kind::Text(name) => out.push(name.to_string()),
            _ => {
                *all = true;
                fields(index, root, out, all);
            }
        },
        Kind::Field { of, .. } => fields(of, root, out, all),
        Kind::Index { of, index, .. } => {
            fields(of, root, out, all);
            fields(index, root, out, all);
        }
        Kind::Call { args, .. } => args.iter().for_each(|arg| fields(arg, root, out, all)),
        other => other.children(&mut |child| fields(child, root, out, all)),
    }
}
