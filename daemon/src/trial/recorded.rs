//! What a real run says, as pins and outputs for a simulation on another text.
//!
//! Invariant: what a run keeps out of sight stays out of sight: what comes here passed the same list and the same sink
//! as on screen, so such values stand as `[redacted]`, and how many do is said.

use std::collections::{BTreeMap, BTreeSet};

use aura_protocol::event::{SCHEDULE, timestamp};
use aura_protocol::flow::Flow;
use aura_protocol::flow::cases::{Case, read_cases};
use aura_protocol::flow::redact::HIDDEN;
use aura_protocol::run::{Record, Transition};
use aura_protocol::{Code, Map, RunId, Value, WireError};

use super::record::{Told, told};
use super::world::id_of;
use crate::engine::core::plan::Plan;

/// What a run says.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// Which.
    pub run: RunId,
    /// Event or input, variables, time, answers and signals.
    case: Case,
    /// What every step gave, by path.
    outputs: BTreeMap<String, Value>,
    /// Why steps failed, by path.
    errors: BTreeMap<String, String>,
    /// How many values are out of sight.
    hidden: usize,
}

/// Reads a journal; large values must stand in it, and what nobody may see must be hidden.
///
/// # Errors
/// The run's beginning is not kept any more, or it is too much for a case.
pub fn recorded(run: RunId, flow: &Flow, journal: &[Transition]) -> Result<Recorded, WireError> {
    // What was copied from another run counts as if it had been done.
    let bare = |transition: &Transition| {
        let records = transition.records.iter().map(|record| record.bare().clone()).collect();
        Transition { number: transition.number, at_ms: transition.at_ms, records }
    };
    let told = told(flow, &journal.iter().map(bare).collect::<Vec<_>>())?;
    let mut case = Map::from_iter([("name".to_owned(), Value::from("recorded"))]);
    case.extend(whole(told));
    let file = Value::object([("aura", Value::from(1_i64)), ("cases", Value::List(vec![Value::Map(case)]))]);
    let read = read_cases(&file.to_json()).map_err(|findings| {
        let first = findings.first().map(|finding| finding.message.clone()).unwrap_or_default();
        WireError::new(Code::Invalid, format!("{run} is too much for a simulation: {first}"))
    })?;
    let case = read.cases.into_iter().next().unwrap_or_default();
    let (mut outputs, mut errors) = (BTreeMap::new(), BTreeMap::new());
    for record in journal.iter().flat_map(|transition| &transition.records) {
        match record.bare() {
            Record::Completed { path, output, .. } | Record::Handled { path, output } => {
                outputs.insert(path.clone(), output.clone());
            }
            Record::Skipped { path, .. } => {
                outputs.insert(path.clone(), Value::Null);
            }
            Record::Failed { path, error, .. } => {
                errors.insert(path.clone(), error.message.clone());
            }
            _ => {}
        }
    }
    let hidden = outputs.values().map(count).sum();
    Ok(Recorded { run, case, outputs, errors, hidden })
}

/// What a run says, as a case without stand-ins.
fn whole(told: Told) -> Map {
    let mut parts = Map::new();
    match &told.event {
        None => parts.insert("input".to_owned(), told.input),
        Some(event) => {
            let shown = event.to_trigger();
            let body = match event.method.as_str() {
                SCHEDULE => Value::from_json(&event.body).unwrap_or_default(),
                _ => shown.get("body").cloned().unwrap_or_default(),
            };
            let headers: Map =
                event.headers.iter().map(|(name, value)| (name.clone(), Value::from(value.as_str()))).collect();
            let query = shown.get("query").and_then(Value::as_map).cloned().unwrap_or_default();
            let event = Value::object([
                ("id", Value::from(event.trigger.as_str())),
                ("headers", Value::Map(headers)),
                ("query", Value::Map(query)),
                ("body", body),
            ]);
            parts.insert("trigger".to_owned(), event)
        }
    };
    let pins = told.pins.into_iter().map(|(path, said)| (path, Value::List(said))).collect();
    for (name, value) in [
        ("vars", Value::Map(told.vars)),
        ("clock", Value::from(timestamp(told.at_ms))),
        ("pins", Value::Map(pins)),
        ("signals", Value::List(told.signals)),
        ("resolve", Value::Map(told.resolve)),
    ] {
        parts.insert(name.to_owned(), value);
    }
    parts
}

/// How often the sign of what is hidden stands in a value.
fn count(value: &Value) -> usize {
    value.to_json().matches(HIDDEN).count()
}

impl Recorded {
    /// Completes a case: what it says itself counts. Gives the steps whose answers come from the run, and what is good
    /// to know.
    pub(super) fn complete(&self, case: &mut Case, plan: &Plan) -> (BTreeSet<String>, Vec<String>) {
        let mut notes = Vec::new();
        let by_hand = case.trigger.is_none() && case.input.is_none();
        if by_hand {
            case.trigger.clone_from(&self.case.trigger);
            case.input.clone_from(&self.case.input);
            let known = |id: &String| plan.triggers.iter().any(|trigger| trigger.id == *id);
            if let Some(event) = case.trigger.as_mut().filter(|event| event.id.as_ref().is_some_and(|id| !known(id))) {
                notes.push("the run's trigger is not in this text: its event goes to the first one".to_owned());
                event.id = None;
            }
        } else if let (Some(event), Some(theirs)) = (&mut case.trigger, &self.case.trigger)
            && event.body.is_none()
        {
            event.body.clone_from(&theirs.body);
            theirs.headers.iter().for_each(|(name, value)| {
                event.headers.entry(name.clone()).or_insert_with(|| value.clone());
            });
        }
        for (name, value) in &self.case.vars {
            case.vars.entry(name.clone()).or_insert_with(|| value.clone());
        }
        case.clock_ms = case.clock_ms.or(self.case.clock_ms);
        let known = |path: &str| !plan.with_id(id_of(path)).is_empty();
        let own: BTreeSet<String> = case.pins.iter().map(|(step, _)| step.clone()).collect();
        let said = |path: &str| own.contains(path) || own.contains(id_of(path));
        let mut unknown = BTreeSet::new();
        let mut from = BTreeSet::new();
        for (path, pins) in &self.case.pins {
            if !known(path) {
                unknown.insert(id_of(path).to_owned());
            } else if !said(path) {
                case.pins.push((path.clone(), pins.clone()));
                from.insert(path.clone());
            }
        }
        case.signals.extend(self.case.signals.iter().filter(|signal| known(&signal.step)).cloned());
        case.resolve.extend(self.case.resolve.iter().filter(|(step, _)| known(step)).cloned());
        if !unknown.is_empty() {
            let names: Vec<String> = unknown.into_iter().take(10).collect();
            notes.push(format!("the run called steps that this text does not have: {}", names.join(", ")));
        }
        if self.hidden > 0 {
            notes.push(format!(
                "{} values of {} are kept out of sight and stand as {HIDDEN}; pin them if the flow needs them",
                self.hidden, self.run
            ));
        }
        (from, notes)
    }

    /// What a step gave there; at the first path of its id if the path names no item.
    pub(super) fn output(&self, path: &str) -> Option<&Value> {
        let first = || self.outputs.iter().find(|(of, _)| id_of(of) == path).map(|(_, output)| output);
        self.outputs.get(path).or_else(first)
    }

    /// Why it failed there.
    pub(super) fn error(&self, step: &str) -> Option<&str> {
        let found = self.errors.iter().find(|(of, _)| *of == step || id_of(of) == step);
        found.map(|(_, message)| message.as_str())
    }
}
