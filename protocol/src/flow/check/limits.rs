//! Limits by key, priorities, and what runs are found by.

use super::super::limits::{INDEX_MAX, Limit, PRIORITY_MAX, Rate};
use super::super::path::Path;
use super::super::{Step, support};
use super::Checks;
use crate::value::Value;

impl Checks<'_> {
    /// Those of the flow.
    pub(super) fn flow_limits(&mut self) {
        let (flow, root) = (&self.document.flow, Path::root());
        if let Some(rate) = &flow.rate {
            self.rate(rate, &root.field("rate"));
        }
        if let Some(priority) = &flow.priority {
            self.priority(priority, &root.field("priority"));
        }
        if flow.index.len() > INDEX_MAX {
            let message = format!("runs are found by at most {INDEX_MAX} values, these are {}", flow.index.len());
            self.error(&root.field("index"), message, "leave out those that nobody looks for");
        }
        for (number, path) in flow.index.iter().enumerate() {
            let mut parts = path.split('.');
            let known = parts.next().is_some_and(|root| matches!(root, "trigger" | "input"));
            let names: Vec<&str> = parts.collect();
            if !known || names.is_empty() || names.iter().any(|name| name.is_empty()) || path.contains(['{', ' ', '['])
            {
                let message = format!("`{}` is no path of what begins a run", crate::text::display(path));
                let hint = "write it without braces, as in `trigger.body.order.id` or `input.customer`";
                self.error(&root.field("index").item(number), message, hint);
            }
        }
    }

    /// Those of a step.
    pub(super) fn step_limits(&mut self, step: &Step, path: &Path) {
        let Some(limit) = &step.limit else { return };
        let path = path.field("limit");
        if !support::CALLS.contains(&step.kind.name()) {
            let message = format!("`limit` is for steps that call somebody; a `{}` step does not", step.kind.name());
            self.error(&path, message, "limit the steps in it, or the flow by `concurrency` and `rate`");
        }
        let Limit { key, concurrency, rate, priority } = limit;
        if concurrency.is_none() && rate.is_none() && priority.is_none() {
            self.error(&path, "`limit` limits nothing", "write `concurrency: 2` or `rate: { count: 40, per: 1m }`");
        } else if key.is_some() && concurrency.is_none() && rate.is_none() {
            self.error(&path.field("key"), "a key without a limit does nothing", "add `concurrency` or `rate`");
        }
        if *concurrency == Some(0) {
            let hint = "write 1 or more";
            self.error(&path.field("concurrency"), "`concurrency: 0` would never make a call", hint);
        }
        if let Some(rate) = rate {
            self.rate(rate, &path.field("rate"));
        }
        if let Some(priority) = priority {
            self.priority(priority, &path.field("priority"));
        }
    }

    fn rate(&mut self, rate: &Rate, path: &Path) {
        if let Some((field, message)) = rate.wrong() {
            self.error(&path.field(field), message, "");
        }
    }

    fn priority(&mut self, value: &Value, path: &Path) {
        let fits = match value {
            Value::Int(number) => number.unsigned_abs() <= u128::from(PRIORITY_MAX.unsigned_abs()),
            Value::Str(text) => text.contains("{{"),
            _ => false,
        };
        if !fits {
            let message = format!("a priority is an integer from -{PRIORITY_MAX} to {PRIORITY_MAX}, or an expression");
            self.error(path, message, "runs of a higher one go first; the usual one is 0");
        }
    }
}
