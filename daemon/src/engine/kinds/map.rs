//! `map`: its steps once for each item of a list. Its output is a list in input order.
//!
//! The list and the keys are evaluated once, when the map's turn comes, and journaled: what happens to the
//! source later changes nothing (design §3 rule 6).

use std::collections::HashMap;

use aura_protocol::Value;
use aura_protocol::expr::{ExprError, Scope, Template};
use aura_protocol::flow::{ITEMS_MAX, ITEMS_PARALLEL, ITEMS_PARALLEL_MAX, Kind, Step};

use super::{Enter, Entered, MapRules, StepKind, refused};
use crate::engine::core::plan::{Builder, PlanError, StepIx};

/// A key is at most this long, in bytes: it is part of the paths of its item's steps.
const KEY_MAX: usize = 200;

#[derive(Debug)]
struct Items {
    over: Template,
    key: Option<Template>,
    parallel: Option<Template>,
    batch: Option<Template>,
    rules: MapRules,
}

/// Compiles a `map` step and its body.
///
/// # Errors
/// An expression is wrong.
pub fn compile(builder: &mut Builder<'_>, ix: StepIx, step: &Step) -> Result<Box<dyn StepKind>, PlanError> {
    let Kind::Map { with, steps } = &step.kind else {
        return Err(PlanError::Kind { step: step.id.clone(), kind: "map" });
    };
    let part = |name: &str| with.get(name).map(|value| builder.template(step, value)).transpose();
    let over = builder.template(step, with.get("over").unwrap_or(&Value::Null))?;
    let (key, parallel, batch) = (part("key")?, part("max_parallel")?, part("batch")?);
    let name = with.get("as").and_then(Value::as_str).map(str::to_owned);
    let carry_on = with.get("on_item_error").and_then(Value::as_str) == Some("continue");
    builder.items(ix, name.as_deref(), steps)?;
    Ok(Box::new(Items { over, key, parallel, batch, rules: MapRules { name, carry_on } }))
}

impl StepKind for Items {
    fn enter(&self, at: &Enter<'_>) -> Result<Entered, ExprError> {
        let mut items = match self.over.eval(at.scope)?.value {
            Value::List(items) => items,
            other => {
                let message =
                    format!("`over` needs a list, this is {}; write `?? []` if it may be absent", other.kind());
                return Err(refused(message));
            }
        };
        if let Some(size) = count(self.batch.as_ref(), "batch", ITEMS_MAX, at.scope)? {
            items = batches(items, size);
        }
        let most = usize::try_from(ITEMS_MAX).unwrap_or(usize::MAX);
        if items.len() > most {
            let message = format!(
                "the list has {} items, a map takes at most {ITEMS_MAX}; write `batch`, or split the list",
                items.len()
            );
            return Err(refused(message));
        }
        let parallel = count(self.parallel.as_ref(), "max_parallel", ITEMS_PARALLEL_MAX, at.scope)?;
        let keys = match &self.key {
            None => Vec::new(),
            Some(key) => self.keys(key, &items, at.scope)?,
        };
        Ok(Entered::Items { items, keys, parallel: parallel.unwrap_or(ITEMS_PARALLEL) })
    }

    fn map(&self) -> Option<&MapRules> {
        Some(&self.rules)
    }
}

impl Items {
    fn keys(&self, key: &Template, items: &[Value], scope: &dyn Scope) -> Result<Vec<String>, ExprError> {
        let mut seen: HashMap<String, usize> = HashMap::with_capacity(items.len());
        let mut keys = Vec::with_capacity(items.len());
        for (number, item) in items.iter().enumerate() {
            let index = Value::from(i64::try_from(number).unwrap_or(i64::MAX));
            let scope = ItemScope { scope, item, index, name: self.rules.name.as_deref() };
            let text = match key.eval(&scope)?.value {
                Value::Str(text) | Value::Dec(text) => text,
                Value::Int(value) => value.to_string(),
                other => {
                    return Err(refused(format!(
                        "the key of item {number} must be text or a number, it is {}",
                        other.kind()
                    )));
                }
            };
            if text.is_empty() || text.len() > KEY_MAX {
                return Err(refused(format!(
                    "the key of item {number} must have 1 to {KEY_MAX} bytes, it has {}",
                    text.len()
                )));
            }
            if let Some(first) = seen.insert(text.clone(), number) {
                let shown = aura_protocol::text::display(&text);
                return Err(refused(format!(
                    "the items {first} and {number} have the same key `{shown}`; keys must be unique"
                )));
            }
            keys.push(text);
        }
        Ok(keys)
    }
}

/// A number from 1 to `most`, written or computed.
fn count(template: Option<&Template>, what: &str, most: u32, scope: &dyn Scope) -> Result<Option<u32>, ExprError> {
    let Some(template) = template else { return Ok(None) };
    let value = template.eval(scope)?.value;
    let number =
        value.as_int().and_then(|number| u32::try_from(number).ok()).filter(|number| (1..=most).contains(number));
    match number {
        Some(number) => Ok(Some(number)),
        None => Err(refused(format!("`{what}` must be an integer from 1 to {most}, it is {}", value.to_json()))),
    }
}

/// Lists of so many items each; the last one may be shorter.
fn batches(items: Vec<Value>, size: u32) -> Vec<Value> {
    let size = usize::try_from(size).unwrap_or(usize::MAX).max(1);
    let mut out = Vec::with_capacity(items.len().div_ceil(size));
    let mut batch = Vec::new();
    for item in items {
        batch.push(item);
        if batch.len() == size {
            out.push(Value::List(std::mem::take(&mut batch)));
        }
    }
    if !batch.is_empty() {
        out.push(Value::List(batch));
    }
    out
}

/// What the key of an item may read: the item, besides what the map may.
struct ItemScope<'a> {
    scope: &'a dyn Scope,
    item: &'a Value,
    index: Value,
    name: Option<&'a str>,
}

impl Scope for ItemScope<'_> {
    fn root(&self, name: &str) -> Option<&Value> {
        match name {
            "item" => Some(self.item),
            "index" => Some(&self.index),
            _ if self.name == Some(name) => Some(self.item),
            _ => self.scope.root(name),
        }
    }

    fn step(&self, id: &str) -> Option<&Value> {
        self.scope.step(id)
    }

    fn now_ms(&self) -> i64 {
        self.scope.now_ms()
    }

    fn entropy(&self, n: u32) -> [u8; 16] {
        self.scope.entropy(n)
    }
}
