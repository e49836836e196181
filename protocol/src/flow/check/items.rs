//! Rules of joins, maps, `each` and compensation: what could never come, hang, or be undone is refused here.

use super::super::each::{ITEMS_MAX, ITEMS_PARALLEL_MAX, settings};
use super::super::path::Path;
use super::super::scopes::{At, ScopeKind};
use super::super::suggest::{did_you_mean, one_of};
use super::super::{Kind, Step, keys};
use super::Checks;
use super::ids::wanted;
use crate::expr::Template;
use crate::value::{Map, Value};

impl Checks<'_> {
    /// `join` and `losers`.
    pub(super) fn joined(&mut self, step: &Step, path: &Path) {
        let needs = step.needs.as_ref().map_or(0, Vec::len);
        if let Some(join) = &step.join {
            let path = path.field("join");
            let wanted = wanted(Some(join), needs);
            if needs < 2 {
                let message = format!("`join` says how several `needs` are joined, this step has {needs}");
                self.error(&path, message, "write `needs: [a, b]`, or leave `join` out");
            } else if wanted == 0 || wanted > needs {
                let message = format!("`n_of` must be from 1 to {needs}, the number of `needs`, this is {wanted}");
                self.error(&path.field("n_of"), message, "");
            }
        }
        if step.losers.is_some() && (step.join.is_none() || wanted(step.join.as_ref(), needs) >= needs.max(1)) {
            let hint = "write `join: any` or `join: { n_of: 2 }`, or leave `losers` out";
            self.error(&path.field("losers"), "nobody loses a join that waits for all of its `needs`", hint);
        }
    }

    /// `map`, `each` and `compensate`.
    pub(super) fn repeated(&mut self, step: &Step, at: At, path: &Path) {
        if let Kind::Map { with, steps } = &step.kind {
            let own = path.field("map");
            if steps.is_empty() {
                self.error(&own, "the map has no steps", "write `steps` with what to do for each `item`");
            }
            self.settings_of(with, at, &own);
        }
        if let Some(each) = &step.each {
            let own = path.field("each");
            let kind = step.kind.name();
            if matches!(kind, "map" | "branch" | "loop" | "try" | "respond" | "stop") {
                let message = format!("`each` repeats one plain step, this is a `{kind}` step");
                self.error(&own, message, "write a `map` with this step in its `steps`");
            }
            if let Value::Map(written) = each {
                let known: Vec<&str> = keys::MAP.iter().copied().filter(|key| *key != "steps").collect();
                for key in written.keys().filter(|key| !known.contains(&key.as_str())) {
                    let message = format!("`each` has no setting `{}`", crate::text::display(key));
                    self.error(&own.field(key), message, did_you_mean(key, known.iter().copied()));
                }
                if !written.contains_key("over") {
                    self.error(
                        &own,
                        "the key `over` is missing",
                        "write `over: \"{{ … }}\"`, an expression that gives a list",
                    );
                }
            }
            self.settings_of(&settings(each), at, &own);
        }
        if !step.compensate.is_empty() {
            for (kind, name) in [(ScopeKind::Compensate, "compensate"), (ScopeKind::Finally, "finally")] {
                if self.scopes.is_within(at.scope, &[kind]) {
                    let message = format!("what runs in `{name}` is never undone");
                    self.error(&path.field("compensate"), message, "leave it out");
                }
            }
            if matches!(step.kind, Kind::Stop(_) | Kind::Respond(_) | Kind::Sleep(_)) {
                let message = format!("a `{}` step does nothing that could be undone", step.kind.name());
                self.warn(&path.field("compensate"), message, "");
            }
        }
    }

    fn settings_of(&mut self, with: &Map, at: At, path: &Path) {
        let is_expression = |value: &Value| value.as_str().is_some_and(|text| text.contains("{{"));
        let list = path.field("over");
        match with.get("over") {
            None | Some(Value::List(_)) => {}
            Some(over) if is_expression(over) => {}
            Some(other) => {
                // `each: x` is the list itself.
                let place = if path.as_str().ends_with(".each") { path } else { &list };
                let message = format!("a map goes over a list, this is {}", other.kind());
                self.error(place, message, "write an expression that gives one: \"{{ trigger.body.items }}\"");
            }
        }
        for (key, most) in [("max_parallel", ITEMS_PARALLEL_MAX), ("batch", ITEMS_MAX)] {
            let fits = |value: &Value| value.as_int().is_some_and(|number| (1..=i128::from(most)).contains(&number));
            if let Some(value) = with.get(key).filter(|value| !is_expression(value) && !fits(value)) {
                let message =
                    format!("`{key}` must be an integer from 1 to {most}, this is {}", super::super::shown(value));
                self.error(&path.field(key), message, "");
            }
        }
        if let Some(value) = with.get("key").filter(|value| !is_expression(value)) {
            let message =
                format!("the key must be different for each item, this is always {}", super::super::shown(value));
            self.error(&path.field("key"), message, "write an expression: \"{{ item.id }}\"");
        }
        if let Some(value) = with.get("on_item_error")
            && !matches!(value.as_str(), Some("fail" | "continue"))
        {
            let message = format!("`on_item_error` cannot be {}", super::super::shown(value));
            self.error(&path.field("on_item_error"), message, one_of(["fail", "continue"]));
        }
        if let Some(value) = with.get("as") {
            self.item_name(value, at, &path.field("as"));
        }
    }

    fn item_name(&mut self, name: &Value, at: At, path: &Path) {
        let text = name.as_str().unwrap_or_default();
        let is_word = text.starts_with(|c: char| c.is_ascii_lowercase())
            && text.len() <= 64
            && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
        if !is_word || matches!(text, "true" | "false" | "null") {
            let message = format!("{} cannot name an item", super::super::shown(name));
            self.error(path, message, "use a-z, 0-9 and `_`, a letter first, at most 64 of them");
        } else if Template::is_root(text) {
            self.error(path, format!("`{text}` means something else already"), "take another name");
        } else if self.scopes.item_names(at.scope).contains(&text) {
            let message = format!("`{text}` is already the item of a map around this one");
            self.error(path, message, "take another name");
        }
    }
}
