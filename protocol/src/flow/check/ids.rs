//! Names and needs: the flow's name, ids unique over the flow, needs among siblings without cycles (rule 1).

use std::collections::HashMap;

use super::super::graph::Graph;
use super::super::path::Path;
use super::super::scopes::ScopeRow;
use super::super::suggest::did_you_mean;
use super::Checks;

/// Steps of one look for needs that say nothing new.
const REDUNDANT_MOST: usize = 100_000;
/// A name may have this many characters.
const NAME_MAX: usize = 64;

/// Whether a text can be the id of a step or trigger: it is written as `steps.<id>` in expressions.
fn is_id(text: &str) -> bool {
    text.len() <= NAME_MAX
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

/// Whether a text can name a flow.
fn is_flow_name(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= NAME_MAX
        && !text.starts_with('-')
        && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
}

impl<'f> Checks<'f> {
    pub(super) fn names(&mut self) {
        let flow = &self.document.flow;
        let root = Path::root();
        if !is_flow_name(&flow.flow) {
            let message = format!("`{}` cannot name a flow", crate::text::display(&flow.flow));
            let hint = "use a-z, 0-9 and `-`, at most 64 of them; the title is for people";
            self.error(&root.field("flow"), message, hint);
        }
        if flow.steps.is_empty() {
            self.error(&root.field("steps"), "the flow has no steps", "");
        }
        let mut seen: HashMap<&'f str, Path> = HashMap::new();
        let triggers = flow.triggers.iter().enumerate();
        let ids = triggers.map(|(n, trigger)| (trigger.id.as_str(), root.field("triggers").item(n)));
        let mut ids: Vec<(&'f str, Path)> = ids.collect();
        ids.extend(self.scopes.steps().map(|(_, step, path)| (step.id.as_str(), path)));
        ids.sort_by_key(|(_, path)| self.document.place(path.as_str()));
        for (id, whole) in ids {
            let path = whole.field("id");
            if !is_id(id) {
                let message = format!("`{}` cannot be an id", crate::text::display(id));
                self.error(&path, message, "use a-z, 0-9 and `_`, a letter first, at most 64 of them");
            }
            if let Some(first) = seen.get(id) {
                let (line, _) = self.document.place(first.as_str());
                let message = format!("the id `{id}` is already taken by {first} in line {line}");
                self.error(&path, message, "ids are unique over the whole flow");
            } else {
                seen.insert(id, whole);
            }
        }
        let scopes = self.scopes;
        for row in &scopes.rows {
            self.needs(row);
        }
    }

    fn needs(&mut self, row: &ScopeRow<'f>) {
        let siblings: HashMap<&str, usize> =
            row.steps.iter().enumerate().rev().map(|(index, step)| (step.id.as_str(), index)).collect();
        for (index, step) in row.steps.iter().enumerate() {
            let path = row.step_path(index).field("needs");
            for (number, need) in step.needs.iter().flatten().enumerate() {
                let path = path.item(number);
                if let Some(&sibling) = siblings.get(need.step.as_str()) {
                    self.need(row, index, number, sibling);
                    continue;
                }
                let (message, hint) = if self.scopes.ids.contains_key(need.step.as_str()) {
                    let message = format!("`{}` is a step of another scope", need.step);
                    (message, "`needs` names siblings only; need the step it is inside of".to_owned())
                } else {
                    let known = row.steps.iter().map(|step| step.id.as_str()).filter(|id| *id != step.id);
                    (format!("there is no step `{}`", need.step), did_you_mean(&need.step, known))
                };
                self.error(&path, message, hint);
            }
        }
        self.redundant(row, &siblings);
        let order = Order::of(row);
        if let Some(cycle) = order.cycle {
            let first = cycle.last().copied().unwrap_or_default();
            let names: Vec<&str> = cycle
                .iter()
                .rev()
                .chain(cycle.last())
                .filter_map(|i| row.steps.get(*i))
                .map(|s| s.id.as_str())
                .collect();
            let message = format!("these steps need each other and none can start: {}", names.join(" → "));
            self.error(&row.step_path(first).field("needs"), message, "cycles exist only as `map` and `loop`");
        }
    }
}

impl Checks<'_> {
    /// Needs that another need brings anyway: only where all needs are waited for, however they settle.
    fn redundant(&mut self, row: &ScopeRow<'_>, siblings: &HashMap<&str, usize>) {
        let needs = needs_of(row, siblings);
        for (need, wants) in Graph::new(needs).redundant(REDUNDANT_MOST) {
            let (Some(step), Some(needed)) = (row.steps.get(wants), row.steps.get(need)) else { continue };
            let written = step.needs.as_deref().unwrap_or_default();
            let place = written.iter().position(|it| it.step == needed.id && it.when == "settled");
            let Some(place) = place.filter(|_| step.join.is_none()) else { continue };
            let path = row.step_path(wants).field("needs").item(place);
            self.note(&path, format!("`{}` can be left out: what else `{}` needs has it settled", needed.id, step.id));
        }
    }

    /// A need on a sibling that is there.
    fn need(&mut self, row: &ScopeRow<'_>, step: usize, number: usize, sibling: usize) {
        let (Some(step), path) = (row.steps.get(step), row.step_path(step).field("needs").item(number)) else { return };
        let needs = step.needs.as_deref().unwrap_or_default();
        let Some(need) = needs.get(number) else { return };
        if needs.iter().take(number).any(|earlier| earlier.step == need.step) {
            self.error(&path, format!("`{}` is needed twice", need.step), "leave one of the two out");
        }
        let handled = row.steps.get(sibling).is_some_and(|sibling| !sibling.on_error.is_empty());
        if need.when == "failed" && !handled {
            let message = format!(
                "`{}` never counts as failed here: a failure that it does not handle ends the scope",
                need.step
            );
            self.warn(&path, message, format!("give `{}` an `on_error`", need.step));
        }
    }
}

/// What settles before what among siblings.
pub(super) struct Order {
    /// For each step, whether each sibling has certainly settled when it starts.
    pub certain: Vec<Vec<bool>>,
    /// Steps that need each other in a circle, if any do: each is needed by the next one, the last by the first.
    pub cycle: Option<Vec<usize>>,
}

impl Order {
    /// The order that `needs` give; without `needs` a step needs the one written before it.
    pub fn of(row: &ScopeRow<'_>) -> Self {
        let count = row.steps.len();
        let ids: HashMap<&str, usize> =
            row.steps.iter().enumerate().rev().map(|(index, step)| (step.id.as_str(), index)).collect();
        let needs = needs_of(row, &ids);
        let mut certain: Vec<Option<Vec<bool>>> = vec![None; count];
        // In written order everything is usually ready; a pass without progress means a cycle.
        let mut left: Vec<usize> = (0..count).collect();
        while !left.is_empty() {
            let before = left.len();
            left.retain(|&index| {
                let Some(needs) = needs.get(index) else { return false };
                let ready = |need: &usize| certain.get(*need).is_some_and(Option::is_some);
                if !needs.iter().all(ready) {
                    return true;
                }
                let reached: Vec<Vec<bool>> = needs
                    .iter()
                    .filter_map(|&need| {
                        let mut set = certain.get(need)?.clone()?;
                        if let Some(own) = set.get_mut(need) {
                            *own = true;
                        }
                        Some(set)
                    })
                    .collect();
                let join = row.steps.get(index).and_then(|step| step.join.as_ref());
                let wanted = wanted(join, reached.len());
                if let Some(slot) = certain.get_mut(index) {
                    *slot = Some(merged(&reached, count, wanted));
                }
                false
            });
            if left.len() == before {
                break;
            }
        }
        let cycle = if left.is_empty() { None } else { Graph::new(needs).circle() };
        let certain = certain.into_iter().map(|set| set.unwrap_or_else(|| vec![false; count])).collect();
        Self { certain, cycle }
    }
}

/// What each step needs: what it says, else the one written before it.
fn needs_of(row: &ScopeRow<'_>, siblings: &HashMap<&str, usize>) -> Vec<Vec<usize>> {
    let own = |(index, step): (usize, &super::super::Step)| match &step.needs {
        None => index.checked_sub(1).into_iter().collect(),
        Some(needs) => needs.iter().filter_map(|need| siblings.get(need.step.as_str()).copied()).collect(),
    };
    row.steps.iter().enumerate().map(own).collect()
}

/// How many of so many needs a join waits for.
pub(super) fn wanted(join: Option<&crate::Value>, needs: usize) -> usize {
    match join {
        Some(join) if join.as_str() == Some("any") => 1,
        Some(join) => {
            let some = join.get("n_of").and_then(crate::Value::as_int);
            some.and_then(|some| usize::try_from(some).ok()).unwrap_or(needs)
        }
        None => needs,
    }
}

/// What has settled whichever `wanted` of the needs came: at least one of them brings it in any case.
fn merged(reached: &[Vec<bool>], count: usize, wanted: usize) -> Vec<bool> {
    let brings = |index: usize| reached.iter().filter(|set| set.get(index) == Some(&true)).count();
    (0..count).map(|index| brings(index) > reached.len().saturating_sub(wanted)).collect()
}
