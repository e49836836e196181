//! What differs between two versions of a flow, step by step.
//!
//! Invariant: compared are canonical forms, so that comments, order of keys and spelling of defaults are no change;
//! a step is known by its id, wherever it stands.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Arm, Flow, Kind, Step, canonical, canonical_step};
use crate::value::{Map, Value};

/// Longest value of a key that is shown, in bytes.
const SHOWN_MAX: usize = 200;

/// How a part of a flow changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// Only the new version has it.
    Added,
    /// Only the old version has it.
    Removed,
    /// Both have it, otherwise.
    Changed,
}

/// A key with another value. Values are JSON, cut to 200 bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyChange {
    /// The key.
    pub key: String,
    /// Its value before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old: Option<String>,
    /// Its value now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new: Option<String>,
}

/// A step or trigger that is not what it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartChange {
    /// Its id.
    pub id: String,
    /// How.
    pub change: Change,
    /// What it is or was: the kind of a step, what a trigger is `on`.
    pub kind: String,
    /// The keys that differ; of a step that was moved `place`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<KeyChange>,
}

/// All that differs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowDiff {
    /// Keys of the flow itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub flow: Vec<KeyChange>,
    /// Triggers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub triggers: Vec<PartChange>,
    /// Steps in the order of the new version, removed ones behind them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<PartChange>,
}

impl FlowDiff {
    /// Whether nothing differs.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.flow.is_empty() && self.triggers.is_empty() && self.steps.is_empty()
    }

    /// How many parts differ, in words: `2 steps changed, 1 added`.
    #[must_use]
    pub fn sentence(&self) -> String {
        let mut parts = Vec::new();
        let count = |parts: &[PartChange], change| parts.iter().filter(|part| part.change == change).count();
        for (list, word) in [(&self.steps, "step"), (&self.triggers, "trigger")] {
            for (change, how) in [(Change::Added, "added"), (Change::Changed, "changed"), (Change::Removed, "removed")]
            {
                match count(list, change) {
                    0 => {}
                    1 => parts.push(format!("1 {word} {how}")),
                    many => parts.push(format!("{many} {word}s {how}")),
                }
            }
        }
        if !self.flow.is_empty() {
            let keys: Vec<&str> = self.flow.iter().map(|change| change.key.as_str()).collect();
            parts.push(format!("{} changed", keys.join(", ")));
        }
        if parts.is_empty() { "no change".to_owned() } else { parts.join(", ") }
    }
}

/// Compares two versions.
#[must_use]
pub fn diff(old: &Flow, new: &Flow) -> FlowDiff {
    let (old_whole, new_whole) = (canonical(old), canonical(new));
    let empty = Map::new();
    let without = |value: &Value| -> Map {
        let map = value.as_map().unwrap_or(&empty);
        let parts = ["steps", "on_error", "finally", "triggers"];
        map.iter().filter(|(key, _)| !parts.contains(&key.as_str())).map(|(k, v)| (k.clone(), v.clone())).collect()
    };
    let mut found = FlowDiff { flow: keys(&without(&old_whole), &without(&new_whole)), ..FlowDiff::default() };
    let triggers = |value: &Value| -> Vec<(String, Map)> {
        let list = match value.get("triggers") {
            Some(Value::List(list)) => list.clone(),
            _ => Vec::new(),
        };
        let maps = list.into_iter().filter_map(|trigger| trigger.as_map().cloned());
        maps.map(|map| (map.get("id").and_then(Value::as_str).unwrap_or_default().to_owned(), map)).collect()
    };
    found.triggers = parts(&triggers(&old_whole), &triggers(&new_whole), |map| {
        map.get("on").and_then(Value::as_str).unwrap_or_default().to_owned()
    });
    let (mut old_steps, mut new_steps) = (Vec::new(), Vec::new());
    all(old, &mut old_steps);
    all(new, &mut new_steps);
    let kinds: BTreeMap<String, String> =
        old_steps.iter().chain(&new_steps).map(|(id, kind, _)| (id.clone(), kind.clone())).collect();
    let bare = |steps: Vec<(String, String, Map)>| -> Vec<(String, Map)> {
        steps.into_iter().map(|(id, _, map)| (id, map)).collect()
    };
    found.steps = parts(&bare(old_steps), &bare(new_steps), |map| {
        let id = map.get("id").and_then(Value::as_str).unwrap_or_default();
        kinds.get(id).cloned().unwrap_or_default()
    });
    found
}

fn parts(old: &[(String, Map)], new: &[(String, Map)], kind: impl Fn(&Map) -> String) -> Vec<PartChange> {
    let known: BTreeMap<&str, &Map> = old.iter().map(|(id, map)| (id.as_str(), map)).collect();
    let mut found = Vec::new();
    for (id, map) in new {
        match known.get(id.as_str()) {
            None => found.push(PartChange { id: id.clone(), change: Change::Added, kind: kind(map), keys: Vec::new() }),
            Some(before) => {
                let keys = keys(before, map);
                if !keys.is_empty() {
                    found.push(PartChange { id: id.clone(), change: Change::Changed, kind: kind(map), keys });
                }
            }
        }
    }
    for (id, map) in old.iter().filter(|(id, _)| new.iter().all(|(other, _)| other != id)) {
        found.push(PartChange { id: id.clone(), change: Change::Removed, kind: kind(map), keys: Vec::new() });
    }
    found
}

fn keys(old: &Map, new: &Map) -> Vec<KeyChange> {
    let mut names: Vec<&String> = old.keys().chain(new.keys()).collect();
    names.sort_unstable();
    names.dedup();
    let differ = names.into_iter().filter(|name| old.get(*name) != new.get(*name));
    differ
        .map(|name| KeyChange { key: name.clone(), old: old.get(name).map(shown), new: new.get(name).map(shown) })
        .collect()
}

fn shown(value: &Value) -> String {
    let text = value.to_json();
    match text.get(..text.floor_char_boundary(SHOWN_MAX)) {
        Some(cut) if cut.len() < text.len() => format!("{cut}…"),
        _ => text,
    }
}

/// Every step with its keys, those of the steps in it left out; `place` tells where it stands.
fn all(flow: &Flow, found: &mut Vec<(String, String, Map)>) {
    within(&flow.steps, "steps", found);
    within(&flow.on_error, "on_error", found);
    within(&flow.finally, "finally", found);
}

fn within(steps: &[Step], place: &str, found: &mut Vec<(String, String, Map)>) {
    let mut before = "";
    for step in steps {
        let mut map = canonical_step(&without_steps(step)).as_map().cloned().unwrap_or_default();
        // What it comes after, where it does not say what it needs.
        let after = if step.needs.is_none() && !before.is_empty() { format!(" after {before}") } else { String::new() };
        map.insert("place".to_owned(), Value::from(format!("{place}{after}")));
        found.push((step.id.clone(), step.kind.name().to_owned(), map));
        match &step.kind {
            Kind::Branch(arms) => {
                for (number, arm) in arms.iter().enumerate() {
                    within(&arm.steps, &format!("{} arm {}", step.id, number + 1), found);
                }
            }
            Kind::Map { steps, .. } | Kind::Loop { steps, .. } => within(steps, &step.id, found),
            Kind::Try { steps, catch } => {
                within(steps, &step.id, found);
                within(catch, &format!("{} catch", step.id), found);
            }
            _ => {}
        }
        within(&step.on_error, &format!("{} on_error", step.id), found);
        within(&step.compensate, &format!("{} compensate", step.id), found);
        before = &step.id;
    }
}

/// A step without the steps in it.
#[must_use]
pub fn without_steps(step: &Step) -> Step {
    let kind = match &step.kind {
        Kind::Branch(arms) => {
            Kind::Branch(arms.iter().map(|arm| Arm { when: arm.when.clone(), steps: Vec::new() }).collect())
        }
        Kind::Map { with, .. } => Kind::Map { with: with.clone(), steps: Vec::new() },
        Kind::Loop { with, .. } => Kind::Loop { with: with.clone(), steps: Vec::new() },
        Kind::Try { .. } => Kind::Try { steps: Vec::new(), catch: Vec::new() },
        other => other.clone(),
    };
    Step { kind, on_error: Vec::new(), compensate: Vec::new(), ..step.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flow(steps: &str) -> Flow {
        let text = format!("aura: 1\nflow: f\ntriggers: [{{ id: t, on: manual }}]\nsteps:\n{steps}");
        crate::flow::read(&text).unwrap_or_else(|findings| panic!("{findings:#?}")).flow
    }

    #[track_caller]
    fn check(old: &str, new: &str, expected: &[&str], sentence: &str) {
        let found = diff(&flow(old), &flow(new));
        let line = |part: &PartChange| {
            let keys: Vec<&str> = part.keys.iter().map(|key| key.key.as_str()).collect();
            format!("{:?} {} {}", part.change, part.id, keys.join(",")).trim_end().to_owned()
        };
        assert_eq!(found.steps.iter().map(line).collect::<Vec<_>>(), expected);
        assert_eq!(found.sentence(), sentence);
    }

    #[test]
    fn steps_are_added_removed_changed_and_moved() {
        let two = "  - { id: a, set: { x: 1 } }\n  - { id: b, set: { x: 2 } }\n";
        check(two, two, &[], "no change");
        check(
            two,
            "  - { id: a, set: { x: 5 } }\n  - { id: b, set: { x: 2 } }\n",
            &["Changed a set"],
            "1 step changed",
        );
        check(two, "  - { id: a, set: { x: 1 } }\n", &["Removed b"], "1 step removed");
        let between = "  - { id: a, set: { x: 1 } }\n  - { id: c, set: { x: 3 } }\n  - { id: b, set: { x: 2 } }\n";
        check(two, between, &["Added c", "Changed b place"], "1 step added, 1 step changed");
        let inside = "  - id: t\n    try:\n      steps: [{ id: a, set: { x: 1 } }]\n  - { id: b, set: { x: 2 } }\n";
        check(two, inside, &["Added t", "Changed a place", "Changed b place"], "1 step added, 2 steps changed");
        let noted = "  - { id: a, note: why, set: { x: 1 } }\n  - { id: b, set: { x: 2 } }\n";
        check(two, noted, &["Changed a note"], "1 step changed");
    }
}
