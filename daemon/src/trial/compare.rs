//! What was expected and what was met, and the difference as people read it: `-` was expected, `+` was met.

use std::collections::BTreeSet;

use aura_protocol::flow::cases::{CaseEffect, Expect};
use aura_protocol::flow::{Effect, Span};
use aura_protocol::run::{ErrorClass, Record, RunState as State, ScopeKind, StepState};
use aura_protocol::text::display;
use aura_protocol::{Map, Value};

use super::stage::{Ended, Stage};
use super::world::{Sent, id_of, place};
use crate::engine::core::frames::StepCell;

/// A difference: where in the case, one sentence, and its lines.
pub(super) struct Problem {
    pub at: String,
    pub message: String,
    pub lines: Vec<String>,
}

impl Problem {
    pub(super) fn new(at: impl Into<String>, message: impl Into<String>) -> Self {
        Self { at: at.into(), message: message.into(), lines: Vec::new() }
    }
}

/// A step that settled: when, its path, how.
pub(super) type Settled = (i64, String, &'static str);

/// Most lines of one difference.
const LINES_MAX: usize = 40;
/// Lists of more entries are compared from the front only.
const LIST_MAX: usize = 400;
/// Most characters of a value in a line.
const SHOWN_MAX: usize = 200;

/// How the run ended, as cases say it.
pub(super) fn state(stage: &Stage<'_>, ended: Ended) -> &'static str {
    match (ended, stage.state.state()) {
        (Ended::Dropped, _) => "dropped",
        (_, State::Succeeded) => "succeeded",
        (_, State::Failed) => "failed",
        (_, State::Cancelled) => "cancelled",
        (_, State::InDoubt) => "in_doubt",
        _ => "waiting",
    }
}

/// How a record settles its step; `failed` are those that have failed before.
pub(super) fn settled(record: &Record, failed: &mut BTreeSet<String>) -> Option<&'static str> {
    Some(match record {
        Record::Completed { .. } => "succeeded",
        Record::Failed { retry_at_ms: None, error, .. } if error.class == ErrorClass::Cancelled => "cancelled",
        Record::Failed { retry_at_ms: None, path, .. } if failed.insert(path.clone()) => "failed",
        // Of a step with steps in it: what failed inside has its own record.
        Record::ScopeOpened { scope: ScopeKind::OnError, path } if failed.insert(path.clone()) => "failed",
        Record::Skipped { .. } => "skipped",
        Record::InDoubt { .. } => "in_doubt",
        Record::Compensated { .. } => "undone",
        _ => return None,
    })
}

/// The steps that settled, in that order, and then those that are still at work.
pub(super) fn way(stage: &Stage<'_>) -> Vec<Settled> {
    let mut found: Vec<Settled> = Vec::new();
    let mut failed = BTreeSet::new();
    for transition in &stage.journal {
        let at = transition.at_ms;
        for record in &transition.records {
            let Some(state) = settled(record, &mut failed) else { continue };
            found.push((at, record.path().unwrap_or_default().to_owned(), state));
        }
    }
    if stage.state.finished.is_none() {
        stage.state.each_live(&mut |at, cell| {
            let state = match cell.state {
                Some(StepState::Waiting) => "waiting",
                Some(StepState::Retrying) => "retrying",
                Some(StepState::Running) if cell.calling() => "running",
                _ => return,
            };
            found.push((stage.now_ms, stage.state.path(&stage.plan, at), state));
        });
    }
    found
}

/// The output of a step by its path.
pub(super) fn output(stage: &Stage<'_>, path: &str) -> Option<Value> {
    let records = stage.journal.iter().flat_map(|transition| &transition.records).rev();
    let said = records.filter(|record| record.path() == Some(path)).find_map(|record| match record {
        Record::Completed { output, .. } | Record::Handled { output, .. } => Some(output.clone()),
        Record::Skipped { .. } => Some(Value::Null),
        _ => None,
    });
    // Of a step with steps in it whose failure was handled elsewhere.
    let owned = || {
        let step = stage.plan.step(*stage.plan.with_id(path).first()?).filter(|step| step.scope == 0)?;
        let cell = stage.state.frame(0)?.cells.get(step.position).filter(|cell| cell.state.is_some())?;
        Some(StepCell::output(cell))
    };
    said.or_else(owned)
}

/// The answer to the sender.
fn reply(stage: &Stage<'_>) -> Option<Value> {
    let (status, headers, body) = stage.state.replied.as_ref()?;
    let text = || Value::from(String::from_utf8_lossy(body).as_ref());
    let body = if body.is_empty() { Value::Null } else { Value::from_json(body).unwrap_or_else(|_| text()) };
    let headers = headers.iter().map(|(name, value)| (name.clone(), Value::from(value.as_str()))).collect();
    Some(Value::object([("status", Value::from(i64::from(*status))), ("headers", Value::Map(headers)), ("body", body)]))
}

/// Everything that is not as expected.
pub(super) fn compare(stage: &Stage<'_>, ended: Ended, expect: &Expect) -> Vec<Problem> {
    let mut found = Vec::new();
    end(stage, ended, expect, &mut found);
    let met: Vec<(String, String)> = way(stage).into_iter().map(|(_, step, state)| (step, state.to_owned())).collect();
    if let Some(wanted) = &expect.path
        && *wanted != met
    {
        let lines = list(&entries(wanted), &entries(&met));
        found.push(Problem { lines, ..Problem::new("expect.path", "the steps did not settle as expected") });
    }
    if let Some(wanted) = &expect.passes {
        let mut rest = met.iter();
        if let Some((step, state)) = wanted.iter().find(|wanted| !rest.any(|met| met == *wanted)) {
            // What stands between is not wrong.
            let beside = |line: String| line.strip_prefix('+').map(|rest| format!(" {rest}")).unwrap_or(line);
            let lines = list(&entries(wanted), &entries(&met)).into_iter().map(beside).collect();
            let message = format!("{step} did not settle as {state} in this order");
            found.push(Problem { lines, ..Problem::new("expect.passes", message) });
        }
    }
    if let Some(wanted) = &expect.effects {
        effects(stage, wanted, &mut found);
    }
    for (path, wanted) in expect.calls.iter().flatten() {
        let at = place("expect.calls", path);
        let sent = stage.world.sent.iter().find(|sent| sent.path == *path);
        match (sent, wanted) {
            (None, Value::Null) => {}
            (Some(_), Value::Null) => found.push(Problem::new(at, format!("{path} made a call and must not"))),
            (None, _) => found.push(Problem::new(at, format!("{path} made no call"))),
            (Some(sent), wanted) => {
                value(&at, &format!("the call of {path}"), wanted, Some(&sent.input), true, &mut found)
            }
        }
    }
    for (path, wanted) in expect.outputs.iter().flatten() {
        let at = place("expect.outputs", path);
        value(&at, &format!("the output of {path}"), wanted, output(stage, path).as_ref(), false, &mut found);
    }
    if let Some(wanted) = &expect.reply {
        value("expect.reply", "the answer to the sender", wanted, reply(stage).as_ref(), true, &mut found);
    }
    for (name, wanted) in expect.kv.iter().flatten() {
        let at = place("expect.kv", name);
        let row = stage.world.kept.get(name).filter(|row| row.expires_ms.is_none_or(|end| end > stage.now_ms));
        let kept = row.map(|row| &row.value).or(wanted.is_null().then_some(&Value::Null));
        value(&at, &format!("what is kept under {name}"), wanted, kept, false, &mut found);
    }
    if let Some(wanted) = expect.takes {
        let met = Span::from_ms(stage.lived_ms());
        if met != wanted {
            let message = format!("the run lived {met}, {wanted} were expected");
            found.push(Problem::new("expect.takes", message));
        }
    }
    found
}

/// State and error.
fn end(stage: &Stage<'_>, ended: Ended, expect: &Expect, found: &mut Vec<Problem>) {
    let met = state(stage, ended);
    let wanted = expect.run.as_deref().unwrap_or("succeeded");
    let error = stage.state.outcome.as_ref().and_then(|outcome| outcome.error.clone());
    if met != wanted {
        let message = match ended {
            Ended::Dropped => "the trigger's filter kept the event out: there was no run".to_owned(),
            Ended::StandsStill => {
                let why = stage.state.blocked_by(&stage.plan).map(|blocked| blocked.reason).unwrap_or_default();
                format!("the run stands still ({met}) and was to be {wanted}: {why}")
            }
            Ended::Finished | Ended::Reached => {
                let why = error.as_ref().map(|error| match error.step.as_str() {
                    "" => format!(": {}", error.message),
                    step => format!(" in {step}: {}", error.message),
                });
                format!("the run {met}{} and was to be {wanted}", why.unwrap_or_default())
            }
        };
        found.push(Problem::new(if expect.run.is_some() { "expect.run" } else { "expect" }, message));
    }
    match (&expect.error, error) {
        (None, _) => {}
        (Some(wanted @ Value::Str(_)), error) => {
            let met = error.map(|error| Value::from(error.message));
            value("expect.error", "the error", wanted, met.as_ref(), false, found);
        }
        (Some(wanted), error) => {
            let met = error.map(|error| error.to_value());
            value("expect.error", "the error", wanted, met.as_ref(), true, found);
        }
    }
}

/// Whether a call may change something outside.
pub(super) fn is_effect(sent: &Sent) -> bool {
    sent.effect != Effect::Read
}

/// The calls that change something, in order.
fn effects(stage: &Stage<'_>, wanted: &[CaseEffect], found: &mut Vec<Problem>) {
    let met: Vec<&Sent> = stage.world.sent.iter().filter(|sent| is_effect(sent)).collect();
    let names = |path: &str, action: Option<&str>| match action {
        Some(action) => format!("{path}: {action}"),
        None => path.to_owned(),
    };
    let left: Vec<String> = wanted.iter().map(|it| names(&it.step, it.action.as_deref())).collect();
    let right: Vec<String> = met
        .iter()
        .enumerate()
        .map(|(number, sent)| {
            let says = wanted.get(number).is_none_or(|it| it.action.is_some() || it.step != sent.path);
            names(&sent.path, says.then_some(sent.action.as_str()))
        })
        .collect();
    if left != right {
        let lines = list(&left, &right);
        found.push(Problem { lines, ..Problem::new("expect.effects", "other calls left than expected") });
        return;
    }
    for (number, (wanted, sent)) in wanted.iter().zip(met).enumerate() {
        let at = format!("expect.effects[{number}]");
        if let Some(input) = &wanted.input {
            value(&format!("{at}.input"), &format!("the call of {}", sent.path), input, Some(&sent.input), true, found);
        }
        if let Some(times) = wanted.times.filter(|times| *times != sent.times) {
            let message = format!("{} was sent {} times, {times} were expected", sent.path, sent.times);
            found.push(Problem::new(format!("{at}.times"), message));
        }
    }
}

/// A value that must be equal; with `part` what is not named in objects does not matter.
fn value(at: &str, what: &str, wanted: &Value, met: Option<&Value>, part: bool, found: &mut Vec<Problem>) {
    let mut lines = Vec::new();
    match met {
        None => lines.push(format!("- {}", shown(wanted))),
        Some(met) => differ("", wanted, met, part, &mut lines),
    }
    if lines.is_empty() {
        return;
    }
    let message =
        if met.is_some() { format!("{what} is not as expected") } else { format!("there is nothing: {what}") };
    found.push(Problem { lines, ..Problem::new(at, message) });
}

/// The places at which two values differ.
fn differ(at: &str, wanted: &Value, met: &Value, part: bool, lines: &mut Vec<String>) {
    if lines.len() >= LINES_MAX {
        return;
    }
    let below = |name: &str| if at.is_empty() { name.to_owned() } else { format!("{at}.{name}") };
    let label = |at: &str| if at.is_empty() { String::new() } else { format!("{at}: ") };
    match (wanted, met) {
        (Value::Map(wanted), Value::Map(met)) => {
            for (name, value) in wanted {
                match met.get(name) {
                    Some(met) => differ(&below(name), value, met, part, lines),
                    None => lines.push(format!("- {}{}", label(&below(name)), shown(value))),
                }
            }
            for (name, value) in met.iter().filter(|(name, _)| !part && !wanted.contains_key(name.as_str())) {
                lines.push(format!("+ {}{}", label(&below(name)), shown(value)));
            }
        }
        (Value::List(wanted), Value::List(met)) => {
            for index in 0..wanted.len().max(met.len()) {
                let at = format!("{at}[{index}]");
                match (wanted.get(index), met.get(index)) {
                    (Some(wanted), Some(met)) => differ(&at, wanted, met, part, lines),
                    (Some(wanted), None) => lines.push(format!("- {at}: {}", shown(wanted))),
                    (None, Some(met)) => lines.push(format!("+ {at}: {}", shown(met))),
                    (None, None) => {}
                }
            }
        }
        (wanted, met) if same(wanted, met) => {}
        (wanted, met) => {
            lines.push(format!("- {}{}", label(at), shown(wanted)));
            lines.push(format!("+ {}{}", label(at), shown(met)));
        }
    }
    lines.truncate(LINES_MAX);
}

/// Equal; a whole number is equal however it is written.
fn same(wanted: &Value, met: &Value) -> bool {
    wanted == met || aura_protocol::expr::same(wanted, met)
}

fn shown(value: &Value) -> String {
    let text = display(&value.to_json());
    match text.char_indices().nth(SHOWN_MAX) {
        Some((cut, _)) => format!("{}…", text.get(..cut).unwrap_or_default()),
        None => text,
    }
}

fn entries(list: &[(String, String)]) -> Vec<String> {
    let entry = |(step, state): &(String, String)| match state.as_str() {
        "succeeded" => step.clone(),
        state => format!("{step}: {state}"),
    };
    list.iter().map(entry).collect()
}

/// Two lists as a difference, with what is the same between.
pub(super) fn list(wanted: &[String], met: &[String]) -> Vec<String> {
    let (wanted, met) = (wanted.get(..LIST_MAX).unwrap_or(wanted), met.get(..LIST_MAX).unwrap_or(met));
    // Lengths of the longest common parts from here to the ends.
    let width = met.len() + 1;
    let mut common = vec![0_u32; (wanted.len() + 1) * width];
    let at = |row: usize, column: usize| row * width + column;
    for row in (0..wanted.len()).rev() {
        for column in (0..met.len()).rev() {
            let longest = if wanted.get(row) == met.get(column) {
                common.get(at(row + 1, column + 1)).map_or(0, |length| length + 1)
            } else {
                let down = common.get(at(row + 1, column)).copied().unwrap_or(0);
                down.max(common.get(at(row, column + 1)).copied().unwrap_or(0))
            };
            if let Some(place) = common.get_mut(at(row, column)) {
                *place = longest;
            }
        }
    }
    let length = |row: usize, column: usize| common.get(at(row, column)).copied().unwrap_or(0);
    let (mut row, mut column, mut lines) = (0, 0, Vec::new());
    while row < wanted.len() || column < met.len() {
        match (wanted.get(row), met.get(column)) {
            (Some(left), Some(right)) if left == right => {
                lines.push(format!("  {}", display(left)));
                (row, column) = (row + 1, column + 1);
            }
            (Some(left), right) if right.is_none() || length(row + 1, column) >= length(row, column + 1) => {
                lines.push(format!("- {}", display(left)));
                row += 1;
            }
            (_, Some(right)) => {
                lines.push(format!("+ {}", display(right)));
                column += 1;
            }
            (Some(_) | None, None) => break,
        }
    }
    around(lines)
}

/// Long stretches of what is the same are left out.
fn around(lines: Vec<String>) -> Vec<String> {
    let differs: Vec<usize> =
        lines.iter().enumerate().filter(|(_, line)| !line.starts_with(' ')).map(|(at, _)| at).collect();
    let near = |at: usize| differs.iter().any(|differs| differs.abs_diff(at) <= 3);
    let mut out: Vec<String> = Vec::new();
    for (at, line) in lines.into_iter().enumerate() {
        if near(at) {
            out.push(line);
        } else if out.last().is_none_or(|last| last != "  …") {
            out.push("  …".to_owned());
        }
        if out.len() >= LINES_MAX {
            out.push("  …".to_owned());
            break;
        }
    }
    out
}

/// What must hold for every run, whatever its case expects: keys are stable, `once` is not sent twice.
pub(super) fn always(stage: &Stage<'_>) -> Vec<Problem> {
    let mut found = Vec::new();
    for sent in &stage.world.sent {
        if let Some(what) = sent.unlike {
            let message = format!("{} was sent again with another {what}", sent.path);
            found.push(Problem::new("", message));
        }
        let accepted = stage.may_repeat(&sent.path);
        if sent.effect == Effect::Once && sent.happened > 1 && !accepted {
            let message = format!("{} happened {} times under one key", sent.path, sent.happened);
            found.push(Problem::new("", message));
        }
    }
    found
}

/// Names of steps in a case that its flow does not have.
pub(super) fn unknown_steps(stage: &Stage<'_>, case: &aura_protocol::flow::cases::Case) -> Vec<Problem> {
    let unknown = |path: &str| stage.plan.with_id(id_of(path)).is_empty();
    let mut found = Vec::new();
    let mut look = |at: String, path: &str| {
        if unknown(path) {
            found.push(Problem::new(at, format!("the flow has no step `{}`", id_of(path))));
        }
    };
    case.pins.iter().for_each(|(step, _)| look(place("pins", step), step));
    case.resolve.iter().for_each(|(step, _)| look(place("resolve", step), step));
    for (number, signal) in case.signals.iter().enumerate() {
        look(format!("signals[{number}].step"), &signal.step);
    }
    let named = |map: &Option<Map>| map.iter().flat_map(|map| map.keys().cloned()).collect::<Vec<_>>();
    named(&case.expect.outputs).iter().for_each(|step| look(place("expect.outputs", step), step));
    named(&case.expect.calls).iter().for_each(|step| look(place("expect.calls", step), step));
    found
}
