//! The steps of a run as rows: in written order, each item of a map with steps of its own below it.
//!
//! Invariant: a map shows a bounded number of items, those that somebody should look at first; the row of the
//! map tells how many there are.

use std::collections::{BTreeSet, HashMap, HashSet};

use aura_protocol::rpc::OutlineRow;
use aura_protocol::run::{Record, RunState, ScopeKind, StepState, Transition};

use super::Step;

/// Items of one map that are shown.
const ITEMS_SHOWN: usize = 50;

/// The steps of a run in written order, with what happened to each.
#[must_use]
pub fn timeline(outline: &[OutlineRow], journal: &[Transition]) -> Vec<Step> {
    let mut told = Told { outline, steps: HashMap::new(), heard: Vec::new(), items: HashMap::new() };
    let mut finished = None;
    for transition in journal {
        for record in &transition.records {
            if let Record::RunFinished { state, .. } = record {
                finished = Some((*state, transition.at_ms));
            }
            if !matches!(record, Record::Log { .. } | Record::Responded { .. })
                && let Some(path) = record.path()
            {
                told.hear(path, transition.at_ms, record);
            }
        }
    }
    let mut rows = Vec::new();
    told.rows(0..outline.len(), "", 0, &mut rows);
    // What the outline does not know (its version is gone) comes last.
    let known: BTreeSet<&str> = outline.iter().map(|row| row.step.as_str()).collect();
    let unknown: Vec<String> = told.heard.iter().filter(|path| !known.contains(id_of(path))).cloned().collect();
    rows.extend(unknown.iter().filter_map(|path| told.steps.remove(path)));
    if let Some((state, at_ms)) = finished {
        rows.iter_mut().for_each(|step| ended(step, state, at_ms));
    }
    rows
}

/// The id in a path.
fn id_of(path: &str) -> &str {
    path.split('[').next().unwrap_or(path)
}

/// A scope ends as its run does; only calls in doubt stay as they are.
fn ended(step: &mut Step, state: RunState, at_ms: i64) {
    match step.state {
        StepState::Queued => step.state = StepState::Skipped,
        StepState::Running | StepState::Waiting | StepState::Retrying => {
            step.state = match state {
                RunState::Succeeded => StepState::Succeeded,
                RunState::Cancelled => StepState::Cancelled,
                _ => StepState::Failed,
            };
            step.to_ms = Some(at_ms);
            step.waited(at_ms, step.state);
            step.close(at_ms, step.state);
        }
        _ => {}
    }
}

/// What the journal says, by path.
struct Told<'o> {
    outline: &'o [OutlineRow],
    steps: HashMap<String, Step>,
    /// Paths in the order in which they were first heard of.
    heard: Vec<String>,
    /// Keys of items with steps that began, by the path of their map.
    items: HashMap<String, Keys>,
}

/// Keys of items in the order in which their first step was heard of.
#[derive(Default)]
struct Keys {
    order: Vec<String>,
    seen: HashSet<String>,
}

impl Told<'_> {
    fn hear(&mut self, path: &str, at_ms: i64, record: &Record) {
        if !self.steps.contains_key(path) {
            self.heard.push(path.to_owned());
            let id = id_of(path);
            let maps = self.maps_around(id, path.matches('[').count());
            let mut at = id.len();
            for map in maps {
                let Some(end) = path.get(at..).and_then(|rest| rest.find(']')) else { break };
                let (before, key) = (path.get(id.len()..at).unwrap_or_default(), path.get(at..=at + end));
                let keys = self.items.entry(format!("{map}{before}")).or_default();
                if let Some(key) = key.filter(|key| keys.seen.insert((*key).to_owned())) {
                    keys.order.push(key.to_owned());
                }
                at += end + 1;
            }
            self.steps.insert(path.to_owned(), Step::new(path, "", 0, "steps"));
        }
        let Some(step) = self.steps.get_mut(path) else { return };
        match record.bare() {
            // An item begins: nothing of the map's own.
            Record::ScopeOpened { scope: ScopeKind::Item(_) | ScopeKind::Compensate, .. } => {}
            _ => step.apply(at_ms, record),
        }
    }

    /// The maps around a step with so many keys, outermost first.
    fn maps_around(&self, id: &str, keys: usize) -> Vec<String> {
        let Some(at) = self.outline.iter().position(|row| row.step == id) else { return Vec::new() };
        let mut maps = Vec::new();
        let mut depth = self.outline.get(at).map_or(0, |row| row.depth);
        let mut scope = self.outline.get(at).map_or("", |row| row.scope.as_str());
        if self.outline.get(at).is_some_and(is_each) {
            maps.push(id.to_owned());
        }
        for row in self.outline.get(..at).unwrap_or_default().iter().rev() {
            if row.depth < depth {
                let own = matches!(scope, "on_error" | "compensate");
                if (matches!(row.kind.as_str(), "map" | "loop") && !own) || (is_each(row) && own) {
                    maps.push(row.step.clone());
                }
                (depth, scope) = (row.depth, row.scope.as_str());
            }
        }
        maps.reverse();
        maps.truncate(keys);
        maps
    }

    /// The rows of a part of the outline, for the items that `suffix` names, `deeper` than written.
    fn rows(&mut self, part: std::ops::Range<usize>, suffix: &str, deeper: u32, out: &mut Vec<Step>) {
        let mut at = part.start;
        while at < part.end {
            let Some(row) = self.outline.get(at) else { return };
            let below = self.outline.get(at + 1..part.end).unwrap_or_default();
            let body = below.iter().take_while(|inner| inner.depth > row.depth).count();
            let path = format!("{}{suffix}", row.step);
            out.push(self.take(row, &path, deeper));
            let inside = at + 1..at + 1 + body;
            at = inside.end;
            let Some(keys) = self.items.remove(&path) else {
                self.rows(inside, suffix, deeper, out);
                continue;
            };
            let each = is_each(row);
            // A map's own handler stands behind its body and is not repeated.
            let own = |inner: &OutlineRow| {
                !each && inner.depth == row.depth + 1 && matches!(inner.scope.as_str(), "on_error" | "compensate")
            };
            let rest = self.outline.get(inside.clone()).unwrap_or_default().iter().position(own);
            let split = rest.map_or(inside.end, |rest| inside.start + rest);
            for key in self.shown(&keys.order, inside.start..split, each.then_some(row), suffix) {
                let suffix = format!("{suffix}{key}");
                if each {
                    let path = format!("{}{suffix}", row.step);
                    let mut step = self.take(row, &path, deeper + 1);
                    step.scope = "each".to_owned();
                    out.push(step);
                }
                self.rows(inside.start..split, &suffix, deeper + u32::from(each), out);
            }
            self.rows(split..inside.end, suffix, deeper, out);
        }
    }

    fn take(&mut self, row: &OutlineRow, path: &str, deeper: u32) -> Step {
        let mut step = self.steps.remove(path).unwrap_or_else(|| Step::new(path, "", 0, ""));
        step.kind.clone_from(&row.kind);
        step.depth = row.depth + deeper;
        step.scope.clone_from(&row.scope);
        step
    }

    /// Which items are shown, in their order: those that did not simply go well first, then the last ones.
    fn shown(
        &self,
        keys: &[String],
        body: std::ops::Range<usize>,
        each: Option<&OutlineRow>,
        suffix: &str,
    ) -> Vec<String> {
        if keys.len() <= ITEMS_SHOWN {
            return keys.to_vec();
        }
        let rows: Vec<&str> =
            self.outline.get(body).unwrap_or_default().iter().chain(each).map(|row| row.step.as_str()).collect();
        let matters = |key: &str| {
            rows.iter()
                .filter_map(|id| self.steps.get(&format!("{id}{suffix}{key}")))
                .any(|step| !matches!(step.state, StepState::Succeeded | StepState::Skipped | StepState::Queued))
        };
        let mut chosen: BTreeSet<usize> = BTreeSet::new();
        chosen.extend((0..keys.len()).filter(|at| keys.get(*at).is_some_and(|key| matters(key))).take(ITEMS_SHOWN));
        for at in (0..keys.len()).rev() {
            if chosen.len() >= ITEMS_SHOWN {
                break;
            }
            chosen.insert(at);
        }
        chosen.into_iter().filter_map(|at| keys.get(at).cloned()).collect()
    }
}

fn is_each(row: &OutlineRow) -> bool {
    row.kind.starts_with("each ")
}

#[cfg(test)]
mod tests {
    use aura_protocol::Value;
    use aura_protocol::run::{ErrorClass, StepError};

    use super::*;

    fn row(step: &str, depth: u32, kind: &str, scope: &str) -> OutlineRow {
        OutlineRow { step: step.into(), depth, kind: kind.into(), scope: scope.into() }
    }

    fn done(path: &str) -> Record {
        Record::Completed { path: path.into(), attempt: 1, output: Value::Null }
    }

    fn failed(path: &str) -> Record {
        let error = StepError::new(ErrorClass::Invalid, "no such parcel");
        Record::Failed { path: path.into(), attempt: 1, error, retry_at_ms: None }
    }

    fn listed(path: &str, count: usize) -> Record {
        Record::Listed { path: path.into(), items: vec![Value::Null; count], keys: Vec::new(), parallel: 16 }
    }

    fn item(path: &str, index: u32) -> Record {
        Record::ItemDone { path: path.into(), index }
    }

    /// Rows as `depth path word what`.
    fn rows(outline: &[OutlineRow], records: Vec<Record>) -> Vec<String> {
        let journal = [Transition { number: 1, at_ms: 0, records }];
        let line =
            |step: &Step| format!("{} {} {} {}", step.depth, step.id, step.word(), step.told()).trim_end().to_owned();
        timeline(outline, &journal).iter().map(line).collect()
    }

    fn parcels() -> Vec<OutlineRow> {
        vec![
            row("parcels", 0, "map", "steps"),
            row("ship", 1, "http", "map"),
            row("recall", 2, "http", "compensate"),
            row("label", 1, "set", "map"),
            row("tell", 1, "http", "on_error"),
            row("end", 0, "set", "steps"),
        ]
    }

    #[test]
    fn items_stand_below_their_map_and_its_handler_behind_them() {
        let records = vec![
            listed("parcels", 3),
            done("ship[A]"),
            failed("ship[B]"),
            done("label[A]"),
            item("parcels", 0),
            done("recall[A]"),
            done("tell"),
        ];
        assert_eq!(
            rows(&parcels(), records),
            [
                "0 parcels running 1 of 3 items done",
                "1 ship[A] succeeded",
                "2 recall[A] succeeded",
                "1 label[A] succeeded",
                "1 ship[B] failed no such parcel (invalid)",
                "2 recall[B] queued",
                "1 label[B] queued",
                "1 tell succeeded",
                "0 end queued",
            ]
        );
    }

    #[test]
    fn before_its_first_item_a_map_shows_what_it_will_do() {
        let rows = rows(&parcels(), Vec::new());
        assert_eq!(rows[..2], ["0 parcels queued", "1 ship queued"]);
    }

    #[test]
    fn each_shows_its_step_once_for_each_item_also_inside_a_map() {
        let outline = [row("orders", 0, "map", "steps"), row("line", 1, "each http", "map")];
        let records = vec![listed("orders", 1), listed("line[7]", 2), done("line[7][0]"), done("line[7][1]")];
        assert_eq!(
            rows(&outline, records),
            [
                "0 orders running 0 of 1 items done",
                "1 line[7] running 0 of 2 items done",
                "2 line[7][0] succeeded",
                "2 line[7][1] succeeded",
            ]
        );
    }

    #[test]
    fn of_many_items_those_are_shown_that_did_not_go_well_and_the_last() {
        let mut records = vec![listed("parcels", 10_000)];
        records.extend((0..10_000).map(|n| if n == 17 { failed("ship[17]") } else { done(&format!("ship[{n}]")) }));
        let rows = rows(&parcels(), records);
        let ships: Vec<&String> = rows.iter().filter(|row| row.contains(" ship[")).collect();
        assert_eq!(ships.len(), ITEMS_SHOWN);
        assert!(ships[0].starts_with("1 ship[17] failed"), "{}", ships[0]);
        assert!(ships[ITEMS_SHOWN - 1].starts_with("1 ship[9999] succeeded"));
    }
}
