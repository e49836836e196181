//! Tests of the expression language: tables of expression and result or error, budgets, arbitrary text.

mod language;
mod library;
mod limits;
mod shapes;

use super::{Evaluated, ExprError, Scope, Template};
use crate::value::Value;

/// A scope with one of everything.
pub(super) struct Fixture {
    roots: Value,
    steps: Value,
}

impl Fixture {
    pub(super) fn new() -> Self {
        let read = |text: &str| Value::from_json(text.as_bytes()).unwrap();
        Self {
            roots: read(
                r#"{
                "trigger": {
                    "body": {
                        "id": 4501, "email": "Ada@Example.com", "total": 612.10, "huge": 1e400, "paid": true,
                        "note": null, "empty": "", "when": "2024-05-01T10:00:00Z", "tags": ["new", "vip"],
                        "items": [{"sku": "A", "qty": 2, "price": 19.99}, {"sku": "B", "qty": 1, "price": 5}],
                        "length": 7, "deep": {"er": {"x": 1}}, "big": 18446744073709551616, "ratio": 0.50
                    },
                    "headers": {"x-shopify-event-id": "ev-1"}
                },
                "vars": {"rate": 0.19, "name": "shop"},
                "item": {"sku": "A"},
                "index": 3
            }"#,
            ),
            steps: read(r#"{"fetch": {"output": {"ok": true, "list": [3, 1, 2]}}, "my-step": {"output": 7}}"#),
        }
    }
}

impl Scope for Fixture {
    fn root(&self, name: &str) -> Option<&Value> {
        self.roots.get(name)
    }
    fn step(&self, id: &str) -> Option<&Value> {
        self.steps.get(id)
    }
    fn now_ms(&self) -> i64 {
        1_767_323_045_678
    }
    fn entropy(&self, n: u32) -> [u8; 16] {
        let mut bytes = [7; 16];
        bytes[0] = u8::try_from(n % 256).unwrap();
        bytes
    }
}

/// Evaluates a text of a flow file.
pub(super) fn run(text: &str) -> Result<Evaluated, ExprError> {
    Template::parse_text(text)?.eval(&Fixture::new())
}

/// The JSON of what an expression gives, or its error and hint in one line.
pub(super) fn outcome(expression: &str) -> String {
    match run(&format!("{{{{ {expression} }}}}")) {
        Ok(evaluated) => evaluated.value.to_json(),
        Err(error) => match error.hint {
            Some(hint) => format!("! {} ~ {hint}", error.message),
            None => format!("! {}", error.message),
        },
    }
}

/// Compares every line of a table and shows all that differ.
pub(super) fn check_all(table: &[(&str, &str)]) {
    let wrong: Vec<String> = table
        .iter()
        .filter_map(|(expression, expected)| {
            let got = outcome(expression);
            (got != *expected).then(|| format!("{expression}\n   got      {got}\n   expected {expected}"))
        })
        .collect();
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}
