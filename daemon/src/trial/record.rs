//! A case written from a real run: its beginning, what the other side said, and what must come of it.
//!
//! Invariant: no secret and nothing about people stands in the file (`personal`). What is expected is not copied
//! from the run: the case is run here, with the stand-ins, so it passes; where it goes another way than the run did, the
//! file says so.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use aura_integrations::registry::Registry;
use aura_protocol::event::{Delivery, SCHEDULE, timestamp};
use aura_protocol::flow::cases::{CaseFile, read_cases};
use aura_protocol::flow::redact::HIDDEN;
use aura_protocol::flow::{self, Flow, Span};
use aura_protocol::run::{CallOutcome, ErrorClass, Record, Resolution, StepError, Transition};
use aura_protocol::text::display;
use aura_protocol::{Code, Map, RunId, Value, WireError};

use super::compare::settled;
use super::personal::StandIns;
use super::stage::Stage;
use super::world::id_of;
use super::{compare, compiled, emit};
use crate::runner::wire::Job;

/// A file of cases that is written has at most so many bytes.
const TEXT_MAX: usize = 1024 * 1024;
/// Running the case once may take so long.
const BUDGET: Duration = Duration::from_secs(10);

/// What a run says, in the words of a case.
#[derive(Default)]
pub(super) struct Told {
    pub(super) at_ms: i64,
    pub(super) event: Option<Delivery>,
    pub(super) input: Value,
    pub(super) vars: Map,
    /// By step, one answer for each attempt.
    pub(super) pins: BTreeMap<String, Vec<Value>>,
    pub(super) signals: Vec<Value>,
    pub(super) resolve: Map,
    faults: Vec<Value>,
    /// The steps that settled.
    way: Vec<String>,
}

/// Writes a file of cases from a run; large values must stand in the journal itself, and what the flow redacts must be
/// out of it: `hidden` is what was there.
///
/// # Errors
/// The run has no beginning any more, the flow is not taken by this build, or the file would be too large.
pub fn record(
    run: RunId,
    text: &str,
    (journal, hidden): (&[Transition], &[Value]),
    (registry, scripts): (&Registry, &dyn Fn(&Job) -> CallOutcome),
) -> Result<String, WireError> {
    let (flow, plan) = compiled(text, registry).map_err(|findings| WireError {
        findings,
        ..WireError::new(Code::FlowRefused, "the flow of the run is not taken by this build, so it cannot be tested")
    })?;
    let told = told(&flow, journal)?;
    let mut stand_ins = StandIns::new(redacted(&flow).into_iter());
    hidden.iter().for_each(|value| stand_ins.hide(value));
    let given = given(&flow, text, &told, &mut stand_ins);
    let name = format!("as {run}");
    let file = |expect: Map, given: &Map| {
        let mut case = Map::from_iter([("name".to_owned(), Value::from(name.as_str()))]);
        case.extend(given.clone());
        case.insert("expect".to_owned(), Value::Map(expect));
        Value::object([("aura", Value::from(1_i64)), ("cases", Value::List(vec![Value::Map(case)]))])
    };
    let first = emit::yaml(&file(Map::new(), &given));
    let read = parsed(&first)?;
    let mut notes = Vec::new();
    let case = read.cases.first().ok_or_else(|| WireError::internal("the file that was written has no case"))?;
    let mut stage = Stage::new((&flow, &plan), case, (registry, scripts), Instant::now() + BUDGET);
    let expect = match stage.run() {
        Ok(ended) => expected(&stage, compare::state(&stage, ended)),
        Err(halt) => {
            notes.push(format!("The case does not run to its end yet: {}", halt.message));
            Map::new()
        }
    };
    let went: Vec<String> = way(&stage);
    let original: Vec<String> = told.way.iter().map(|entry| stand_ins.text(entry)).collect();
    // Answers came at times of their own; in which order does not matter.
    let sorted = |way: &[String]| {
        let mut way = way.to_vec();
        way.sort();
        way
    };
    if sorted(&went) != sorted(&original) {
        notes.push("The case goes another way than the run did (-: the run, +: the case):".to_owned());
        notes.extend(compare::list(&original, &went).into_iter().take(20));
    }
    let mut out = format!("# Recorded from {run} of {} ({}).", flow.flow, plan.version.get(..8).unwrap_or_default());
    if stand_ins.len() > 0 {
        out.push_str(&format!(" {} names, addresses and the like are stand-ins.", stand_ins.len()));
    }
    out.push('\n');
    if !hidden.is_empty() {
        out.push_str(&format!(
            "# {} values that the flow redacts stand here as {HIDDEN}: put others there if the case needs them.\n",
            hidden.len()
        ));
    }
    notes.iter().for_each(|note| out.push_str(&format!("# {}\n", display(note))));
    out.push_str(&emit::yaml(&file(expect, &given)));
    parsed(&out).map(|_| out)
}

fn parsed(text: &str) -> Result<CaseFile, WireError> {
    if text.len() > TEXT_MAX {
        let message = format!("the run says {} bytes, a file of cases may have {TEXT_MAX}", text.len());
        return Err(WireError::new(Code::Invalid, message).hint("write a smaller case by hand"));
    }
    read_cases(text).map_err(|findings| {
        let first = findings.first().map(|finding| finding.message.clone()).unwrap_or_default();
        WireError::new(Code::Invalid, format!("the run is too much for a file of cases: {first}"))
    })
}

/// Field names that the flow keeps out of sight.
fn redacted(flow: &Flow) -> Vec<String> {
    fn walk(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Map(map) => {
                let listed = map.get("redact").and_then(Value::as_list).unwrap_or_default();
                found.extend(listed.iter().filter_map(Value::as_str).map(str::to_owned));
                map.values().for_each(|value| walk(value, found));
            }
            Value::List(list) => list.iter().for_each(|value| walk(value, found)),
            _ => {}
        }
    }
    let mut found = Vec::new();
    walk(&flow::canonical(flow), &mut found);
    found
}

/// What the journal says.
pub(super) fn told(flow: &Flow, journal: &[Transition]) -> Result<Told, WireError> {
    let kinds: BTreeMap<String, String> = flow::outline(flow).into_iter().map(|row| (row.step, row.kind)).collect();
    let calls = |path: &str| {
        let kind = kinds.get(id_of(path)).map_or("", |kind| kind.trim_start_matches("each "));
        kind.contains('.') || ["http", "kv", "call"].contains(&kind)
    };
    let mut told = Told::default();
    let mut failed = BTreeSet::new();
    for transition in journal {
        let since = u64::try_from(transition.at_ms.saturating_sub(told.at_ms)).unwrap_or(0);
        let at = || Value::from(Span::from_ms(since).to_string());
        for record in &transition.records {
            match record {
                Record::RunStarted(started) => {
                    told.at_ms = transition.at_ms;
                    told.vars = started.vars.as_map().cloned().unwrap_or_default();
                    if started.event.is_by_hand() {
                        told.input = started.input.clone();
                    } else {
                        told.event = Some(started.event.clone());
                    }
                }
                Record::Signalled { path, data, .. } => told.signals.push(Value::object([
                    ("step", Value::from(path.as_str())),
                    ("at", at()),
                    ("data", data.clone()),
                ])),
                Record::Completed { path, output, attempt }
                    if calls(path) && (*attempt > 0 || called(journal, path)) =>
                {
                    told.answer(path, Value::object([("output", output.clone())]));
                }
                Record::Failed { path, error, attempt, .. }
                    if calls(path)
                        && error.class != ErrorClass::Cancelled
                        && (*attempt > 0 || called(journal, path)) =>
                {
                    told.answer(path, said(error));
                }
                Record::Voted { path, vote } => {
                    let said = match vote.approve {
                        true => Value::object([("output", vote.form.clone())]),
                        false => Value::object([("error", vote.comment.as_str())]),
                    };
                    // What was decided last decides.
                    told.pins.insert(path.clone(), vec![said]);
                }
                Record::InDoubt { path, .. } => told.answer(path, Value::object([("lost", "request")])),
                Record::Resolved { path, resolution, .. } => {
                    let how = match resolution {
                        Resolution::Done(output) => Value::object([("done", output.clone())]),
                        Resolution::Retry => Value::from("retry"),
                        Resolution::Fail => Value::from("fail"),
                    };
                    told.resolve.insert(path.clone(), how);
                }
                Record::CancelRequested { .. } => told.faults.push(Value::object([("cancel", at())])),
                _ => {}
            }
            if let Some(state) = settled(record, &mut failed) {
                told.way.push(entry(record.path().unwrap_or_default(), state));
            }
        }
    }
    // What a person resolved is not what the other side said.
    for path in told.resolve.keys() {
        let done = told.resolve.get(path).is_some_and(|how| how.get("done").is_some());
        if let Some(pins) = told.pins.get_mut(path).filter(|pins| done && pins.len() > 1) {
            pins.pop();
        }
    }
    if journal.first().is_none_or(|first| !matches!(first.records.first(), Some(Record::RunStarted(_)))) {
        return Err(WireError::not_found(
            "the run's beginning is not kept any more, so no case can be written from it",
        ));
    }
    Ok(told)
}

/// Whether a step began a run of another flow.
fn called(journal: &[Transition], path: &str) -> bool {
    let records = journal.iter().flat_map(|transition| &transition.records);
    records.into_iter().any(|record| matches!(record, Record::Called { path: of, .. } if of == path))
}

impl Told {
    fn answer(&mut self, path: &str, said: Value) {
        self.pins.entry(path.to_owned()).or_default().push(said);
    }
}

/// An error as a pin says it.
fn said(error: &StepError) -> Value {
    let mut pin = Map::from_iter([
        ("error".to_owned(), Value::from(error.message.as_str())),
        ("class".to_owned(), Value::from(error.class.word())),
    ]);
    if error.unknown {
        pin.insert("reach".to_owned(), Value::from("unknown"));
    }
    if let Some(code) = &error.code {
        pin.insert("code".to_owned(), Value::from(code.as_str()));
    }
    if let Some(ms) = error.retry_after_ms {
        pin.insert("retry_after".to_owned(), Value::from(Span::from_ms(ms).to_string()));
    }
    if matches!(error.class, ErrorClass::InDoubt | ErrorClass::Cancelled) {
        return Value::object([("lost", "request")]);
    }
    Value::Map(pin)
}

/// What a case gives, with stand-ins.
fn given(flow: &Flow, text: &str, told: &Told, stand_ins: &mut StandIns) -> Map {
    let mut parts: Vec<(&str, Value)> = Vec::new();
    if let Some(event) = &told.event {
        parts.push(("trigger", trigger(flow, text, event)));
    } else {
        parts.push(("input", told.input.clone()));
    }
    if !told.vars.is_empty() {
        parts.push(("vars", Value::Map(told.vars.clone())));
    }
    parts.push(("clock", Value::from(timestamp(told.at_ms))));
    let pins = told.pins.iter().map(|(path, said)| {
        let pin = match said.as_slice() {
            [one] => one.clone(),
            more => Value::List(more.to_vec()),
        };
        (path.clone(), pin)
    });
    for (name, value) in [
        ("pins", Value::Map(pins.collect())),
        ("signals", Value::List(told.signals.clone())),
        ("resolve", Value::Map(told.resolve.clone())),
        ("faults", Value::List(told.faults.clone())),
    ] {
        let empty = value.as_map().is_some_and(Map::is_empty) || value.as_list().is_some_and(<[Value]>::is_empty);
        if !empty {
            parts.push((name, value));
        }
    }
    parts.iter().filter(|(name, _)| *name != "clock").for_each(|(_, value)| stand_ins.look(value));
    let whole: Map = parts.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    stand_ins.within(&whole)
}

/// The event: its body, its query, and of its headers those that the flow names.
fn trigger(flow: &Flow, text: &str, event: &Delivery) -> Value {
    let shown = event.to_trigger();
    let mut parts = Map::new();
    if flow.triggers.len() > 1 {
        parts.insert("id".to_owned(), Value::from(event.trigger.as_str()));
    }
    let headers: Map = event
        .headers
        .iter()
        .filter(|(name, _)| text.contains(name.as_str()) && name != "authorization" && name != "cookie")
        .map(|(name, value)| (name.clone(), Value::from(value.as_str())))
        .collect();
    if !headers.is_empty() {
        parts.insert("headers".to_owned(), Value::Map(headers));
    }
    if let Some(query) = shown.get("query").filter(|query| query.as_map().is_some_and(|query| !query.is_empty())) {
        parts.insert("query".to_owned(), query.clone());
    }
    let body = if event.method == SCHEDULE {
        Value::from_json(&event.body).unwrap_or_default()
    } else {
        shown.get("body").cloned().unwrap_or_default()
    };
    parts.insert("body".to_owned(), body);
    Value::Map(parts)
}

fn entry(step: &str, state: &str) -> String {
    if state == "succeeded" { step.to_owned() } else { format!("{step}: {state}") }
}

fn way(stage: &Stage<'_>) -> Vec<String> {
    let settled = compare::way(stage).into_iter();
    settled
        .filter(|(_, _, state)| !matches!(*state, "waiting" | "retrying" | "running"))
        .map(|(_, step, state)| entry(&step, state))
        .collect()
}

/// What came of the case, as it is expected from now on.
fn expected(stage: &Stage<'_>, state: &str) -> Map {
    let mut expect = Map::from_iter([("run".to_owned(), Value::from(state))]);
    if let Some(error) = stage.state.outcome.as_ref().and_then(|outcome| outcome.error.as_ref()) {
        expect.insert("error".to_owned(), Value::from(error.message.as_str()));
    }
    let path = compare::way(stage).into_iter().map(|(_, step, state)| match state {
        "succeeded" => Value::from(step),
        state => Value::object([(step, Value::from(state))]),
    });
    expect.insert("path".to_owned(), Value::List(path.collect()));
    let effects = stage.world.sent.iter().filter(|sent| compare::is_effect(sent)).map(|sent| {
        Value::object([
            ("step", Value::from(sent.path.as_str())),
            ("action", Value::from(sent.action.as_str())),
            ("input", sent.input.clone()),
        ])
    });
    expect.insert("effects".to_owned(), Value::List(effects.collect()));
    let own = stage.plan.scope_steps(0).iter().filter_map(|ix| stage.plan.step(*ix));
    let outputs = own.filter(|step| step.kind.connection().is_none() && !step.kind.waits()).filter_map(|step| {
        let pinned = stage.world.sent.iter().any(|sent| id_of(&sent.path) == step.id && sent.path == step.id);
        let output = compare::output(stage, &step.id).filter(|output| !pinned && !output.is_null())?;
        Some((step.id.clone(), output))
    });
    let outputs: Map = outputs.collect();
    if !outputs.is_empty() {
        expect.insert("outputs".to_owned(), Value::Map(outputs));
    }
    expect.insert("takes".to_owned(), Value::from(Span::from_ms(stage.lived_ms()).to_string()));
    expect
}
