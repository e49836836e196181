//! A part of a flow on what is known: pins, a real run, and what is made up for the rest.
//!
//! Invariant: where a value came from is never lost on its way to people: pinned before recorded before generated, and
//! whatever the flow itself makes of these is computed.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use aura_integrations::registry::{example, sample};
use aura_protocol::flow::cases::{Case, CaseEvent, Says};
use aura_protocol::flow::{self, Flow, outline};
use aura_protocol::rpc::{AskedStep, DataFrom};
use aura_protocol::run::Record;
use aura_protocol::text::display;
use aura_protocol::{Map, Value};

use super::compare;
use super::invent::Reads;
use super::part::{Gives, Part};
use super::recorded::Recorded;
use super::stage::Stage;
use super::world::id_of;
use crate::engine::core::plan::{Owner, Plan, StepIx};

/// Input and output of the asked step are shown up to so many bytes.
const WHOLE_MAX: usize = 256 * 1024;

/// Everything that stands in for what a simulation does not do.
#[derive(Default)]
pub(super) struct Known {
    /// What the flow reads; none if nothing is to be made up.
    pub reads: Option<Reads>,
    /// Pins that a real run says.
    pub recorded: BTreeSet<String>,
    /// What is good to know.
    pub notes: Vec<String>,
    /// Where the event or input came from.
    pub event: DataFrom,
    /// What of the rest is generated: `trigger` for headers and query, `vars`.
    pub made: Vec<(&'static str, String)>,
}

impl Known {
    /// Completes a case by a run and by what is made up.
    pub(super) fn of(flow: &Flow, plan: &Plan, case: &mut Case, run: Option<&Recorded>, generate: bool) -> Self {
        let mut known = Self { reads: generate.then(|| Reads::of(flow)), event: DataFrom::Pinned, ..Self::default() };
        let given = |case: &Case| case.input.is_some() || case.trigger.as_ref().is_some_and(|it| it.body.is_some());
        let by_hand = given(case);
        if let Some(run) = run {
            (known.recorded, known.notes) = run.complete(case, plan);
        }
        if given(case) {
            known.event = if by_hand { DataFrom::Pinned } else { DataFrom::Recorded };
        } else {
            known.event = DataFrom::Generated;
        }
        if let Some(reads) = &known.reads {
            known.made = event(flow, case, reads, given(case), &mut known.notes);
        }
        known
    }
}

/// The event and the variables as far as nobody says them; gives what was made up beside the body.
fn event(
    flow: &Flow,
    case: &mut Case,
    reads: &Reads,
    given: bool,
    notes: &mut Vec<String>,
) -> Vec<(&'static str, String)> {
    let mut all = Vec::new();
    let asked = case.trigger.as_ref().and_then(|event| event.id.as_deref());
    let trigger = flow.triggers.iter().find(|trigger| asked.is_none_or(|id| trigger.id == id));
    let by_events = flow.triggers.iter().all(|it| it.on != "manual" && it.on != "called");
    let read = reads.value(&["trigger", "body"]);
    match trigger.filter(|_| case.trigger.is_some() || (by_events && case.input.is_none())) {
        Some(trigger) => {
            let own = given || sample(&trigger.on).is_some() || trigger.on == "schedule";
            let event = case.trigger.get_or_insert_with(CaseEvent::default);
            if !own {
                event.body = read.or_else(|| Some(Value::Map(Map::new())));
            }
            let mut made = Vec::new();
            for part in ["headers", "query"] {
                let into = if part == "headers" { &mut event.headers } else { &mut event.query };
                if let Some(Value::Map(read)) = reads.value(&["trigger", part]) {
                    for (name, value) in read.into_iter().filter(|(_, value)| value.as_map().is_none()) {
                        if !into.keys().any(|known| known.eq_ignore_ascii_case(&name)) {
                            made.push(name.clone());
                            into.insert(
                                name,
                                Value::from(value.as_str().map_or_else(|| value.to_json(), str::to_owned)),
                            );
                        }
                    }
                }
            }
            if !made.is_empty() {
                notes.push(format!("headers and query that the flow reads are generated: {}", made.join(", ")));
                all.push(("trigger", "headers and query".to_owned()));
            }
        }
        None if case.input.is_none() => case.input = reads.value(&["input"]).or(read),
        None => {}
    }
    if let Some(Value::Map(read)) = reads.value(&["vars"]) {
        let missing: Map = read.into_iter().filter(|(name, _)| !case.vars.contains_key(name)).collect();
        if !missing.is_empty() {
            let names: Vec<&str> = missing.keys().map(String::as_str).collect();
            notes.push(format!("variables are generated: {}; say them with --var NAME=VALUE", names.join(", ")));
            all.push(("vars", format!("variables ({})", names.join(", "))));
            case.vars.extend(missing.clone());
        }
    }
    all
}

/// Gives the outputs of steps that are not done.
pub(super) struct Giver<'a> {
    case: &'a Case,
    run: Option<&'a Recorded>,
    known: &'a Known,
    kinds: HashMap<String, String>,
    /// Where what was given came from, by path.
    pub from: BTreeMap<String, DataFrom>,
}

impl<'a> Giver<'a> {
    pub(super) fn new(flow: &Flow, case: &'a Case, run: Option<&'a Recorded>, known: &'a Known) -> Self {
        let kinds = outline(flow).into_iter().map(|row| (row.step, row.kind)).collect();
        Self { case, run, known, kinds, from: BTreeMap::new() }
    }

    fn said(&mut self, path: &str) -> (Value, Option<DataFrom>) {
        let of = |name: &str| self.case.pins.iter().find(|(step, _)| step == name);
        let pinned = of(path).or_else(|| of(id_of(path))).filter(|(name, _)| !self.known.recorded.contains(name));
        if let Some(says) = pinned.and_then(|(_, pins)| pins.last()).map(|pin| &pin.says) {
            let value = match says {
                Says::Output(output) => output.clone(),
                Says::Status { status, headers, body } => Value::object([
                    ("status", Value::from(i64::from(*status))),
                    ("headers", Value::Map(headers.clone())),
                    ("body", body.clone()),
                ]),
                Says::Error { .. } | Says::Lost { .. } => Value::Null,
            };
            return (value, Some(DataFrom::Pinned));
        }
        if let Some(output) = self.run.and_then(|run| run.output(path)) {
            return (output.clone(), Some(DataFrom::Recorded));
        }
        let kind = self.kinds.get(id_of(path)).map(String::as_str).unwrap_or_default();
        let read = self.known.reads.as_ref().and_then(|reads| reads.output(id_of(path)));
        match (example(kind), read) {
            (Some(output), _) => (output, Some(DataFrom::Generated)),
            (None, Some(output)) => (output, Some(DataFrom::Generated)),
            (None, None) => (Value::Null, None),
        }
    }
}

impl Gives for Giver<'_> {
    fn output(&mut self, _step: StepIx, path: &str) -> Option<Value> {
        let (value, from) = self.said(path);
        let said = matches!(from, Some(DataFrom::Pinned | DataFrom::Recorded));
        let pure = self.kinds.get(id_of(path)).is_some_and(|kind| kind == "set");
        // Values of values that were given are worth more than made up ones.
        if !said && pure && self.known.event != DataFrom::Generated {
            return None;
        }
        // What nobody reads is not worth a word.
        if let Some(from) = from {
            self.from.insert(path.to_owned(), from);
        }
        Some(value)
    }

    fn error(&mut self, step: &str) -> String {
        let pinned = self.case.pins.iter().filter(|(name, _)| id_of(name) == step).flat_map(|(_, pins)| pins);
        let mut message = pinned.filter_map(|pin| match &pin.says {
            Says::Error { message, .. } => Some(message.clone()),
            _ => None,
        });
        let recorded = || self.run.and_then(|run| run.error(step)).map(str::to_owned);
        let (message, from) = match message.next_back() {
            Some(message) => (message, DataFrom::Pinned),
            None => match recorded() {
                Some(message) => (message, DataFrom::Recorded),
                None => (format!("{step} failed (generated)"), DataFrom::Generated),
            },
        };
        self.from.insert(error_of(step), from);
        message
    }
}

/// What came of the asked step.
pub(super) fn asked(
    stage: &Stage<'_>,
    flow: &Flow,
    part: &Part,
    known: &Known,
    given: &BTreeMap<String, DataFrom>,
) -> AskedStep {
    let plan = &stage.plan;
    let way = compare::way(stage);
    let mine = |(_, path, _): &&(i64, String, &str)| part.is_asked(plan, path);
    // Of several items the first that ended; what they began together is still at work then.
    let met = way.iter().filter(mine).find(|(_, _, state)| has_settled(state)).or_else(|| way.iter().rev().find(mine));
    let scheduled = || {
        stage.journal.iter().flat_map(|transition| &transition.records).rev().find_map(|record| match record {
            Record::Scheduled { path, .. } if part.is_asked(plan, path) => Some(path.clone()),
            _ => None,
        })
    };
    let path = met.map(|(_, path, _)| path.clone()).or_else(scheduled);
    let mut asked = AskedStep {
        step: path.clone().unwrap_or_else(|| part.path.clone()),
        state: met.map(|(_, _, state)| (*state).to_owned()).unwrap_or_default(),
        given: reads_of(plan, flow, part, known, given, &stage.world.from),
        ..AskedStep::default()
    };
    let id = id_of(&asked.step);
    let row = outline(flow).into_iter().find(|row| row.step == id);
    asked.kind = row.map(|row| row.kind).unwrap_or_default();
    let Some(path) = path else { return asked };
    asked.from = stage.world.from.get(&path).copied().unwrap_or_default();
    let records = stage.journal.iter().flat_map(|transition| &transition.records);
    for record in records.filter(|record| record.path() == Some(path.as_str())) {
        match record {
            Record::Scheduled { input, .. } => asked.input = Some(cut(input)),
            Record::Failed { error, .. } | Record::InDoubt { error, .. } => asked.error = Some(error.message.clone()),
            _ => {}
        }
    }
    if let Some(sent) = stage.world.sent.iter().find(|sent| sent.path == path) {
        asked.kind.clone_from(&sent.action);
    }
    let settled = has_settled(&asked.state) && asked.state != "failed";
    if settled {
        asked.error = None;
    }
    asked.output = compare::output(stage, &path).filter(|_| settled || asked.error.is_none()).map(|it| cut(&it));
    asked
}

fn has_settled(state: &str) -> bool {
    !matches!(state, "" | "waiting" | "retrying" | "running" | "in_doubt")
}

/// How what a handler reads is named among what was given.
fn error_of(step: &str) -> String {
    format!("the error of {step}")
}

/// What the asked step is made of, and where it came from: what it reads, and through what was computed of it, what
/// that reads; the lists and conditions around it; the error that it handles.
fn reads_of(
    plan: &Plan,
    flow: &Flow,
    part: &Part,
    known: &Known,
    given: &BTreeMap<String, DataFrom>,
    done: &BTreeMap<String, DataFrom>,
) -> Vec<(String, DataFrom)> {
    let (whole, rows) = (flow::canonical(flow), outline(flow));
    let own = |id: &str| find(&whole, id).map(|step| alone(step).to_json()).unwrap_or_default();
    let id = id_of(&part.path);
    let mut texts = VecDeque::from([find(&whole, id).map(Value::to_json).unwrap_or_default()]);
    let mut found: Vec<(String, DataFrom)> = Vec::new();
    for owner in &part.around {
        let outer = owner.step().and_then(|outer| plan.step(outer)).map(|step| step.id.as_str());
        if matches!(owner, Owner::OnError(_) | Owner::Catch(_) | Owner::FlowOnError | Owner::Finally) {
            let errors = given.iter().filter(|(name, _)| name.starts_with(&error_of("")));
            found = errors.map(|(name, from)| (name.clone(), *from)).collect();
        } else if let (Owner::Item(_), Some(outer)) = (owner, outer) {
            // Which arm is taken does not matter, which item does.
            texts.push_back(own(outer));
        }
    }
    let mut seen = BTreeSet::from([id.to_owned()]);
    while let Some(text) = texts.pop_front() {
        let mut add = |name: String, from: DataFrom| {
            if !found.iter().any(|(known, _)| *known == name) {
                found.push((name, from));
            }
        };
        if ["trigger", "input"].iter().any(|root| names(&text, root)) {
            add("the event".to_owned(), known.event);
        }
        for (_, what) in known.made.iter().filter(|(root, _)| names(&text, root)) {
            add(what.clone(), DataFrom::Generated);
        }
        for row in &rows {
            if seen.contains(&row.step) || !names(&text, &format!("steps.{}", row.step)) {
                continue;
            }
            seen.insert(row.step.clone());
            let of = |map: &BTreeMap<String, DataFrom>| {
                map.iter().find(|(path, _)| id_of(path) == row.step).map(|(_, from)| *from)
            };
            let from = of(given).or_else(|| of(done)).unwrap_or_default();
            add(row.step.clone(), from);
            if from == DataFrom::Computed {
                texts.push_back(find(&whole, &row.step).map(Value::to_json).unwrap_or_default());
            }
        }
    }
    found
}

/// A step without the steps in it.
fn alone(step: &Value) -> Value {
    const INSIDE: &[&str] = &["steps", "catch", "on_error", "compensate"];
    match step {
        Value::Map(map) => {
            let own = map.iter().filter(|(name, _)| !INSIDE.contains(&name.as_str()));
            Value::Map(own.map(|(name, value)| (name.clone(), alone(value))).collect())
        }
        Value::List(list) => Value::List(list.iter().map(alone).collect()),
        other => other.clone(),
    }
}

/// Whether a text names something as a whole word.
fn names(text: &str, word: &str) -> bool {
    let part = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    text.match_indices(word).any(|(at, _)| {
        let before = text.get(..at).and_then(|head| head.chars().next_back());
        let after = text.get(at + word.len()..).and_then(|rest| rest.chars().next());
        !before.is_some_and(|c| part(c) || c == '.') && !after.is_some_and(part)
    })
}

/// The step of an id in the canonical form.
fn find<'v>(value: &'v Value, id: &str) -> Option<&'v Value> {
    match value {
        Value::Map(map) => {
            let is = map.get("id").and_then(Value::as_str) == Some(id) && !map.contains_key("on");
            if is { Some(value) } else { map.values().find_map(|value| find(value, id)) }
        }
        Value::List(list) => list.iter().find_map(|value| find(value, id)),
        _ => None,
    }
}

/// Why the run did not come to the asked step.
pub(super) fn not_reached(stage: &Stage<'_>, part: &Part, state: &str) -> String {
    let listed = stage.journal.iter().flat_map(|transition| &transition.records).find_map(|record| match record {
        Record::Listed { path, items, keys, .. } if part.path.contains('[') && !part.is_asked(&stage.plan, path) => {
            let keys: Vec<String> =
                if keys.is_empty() { (0..items.len()).map(|it| it.to_string()).collect() } else { keys.clone() };
            Some(keys.into_iter().take(8).collect::<Vec<_>>().join(", "))
        }
        _ => None,
    });
    let error = stage.state.outcome.as_ref().and_then(|outcome| outcome.error.as_ref());
    let why = error.map(|error| match error.step.as_str() {
        "" => format!(": {}", error.message),
        step => format!(": {step}: {}", error.message),
    });
    let items = listed.map(|keys| format!("; items: {keys}")).unwrap_or_default();
    let shown = &part.path;
    display(&format!("the run did not come to {shown}, it is {state}{}{items}", why.unwrap_or_default()))
}

fn cut(value: &Value) -> String {
    super::cut(value.to_json(), WHOLE_MAX)
}
