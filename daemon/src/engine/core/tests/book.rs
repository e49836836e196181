//! `docs/flows.md`, executed: every flow on that page is read, checked and run by the core under a virtual clock, with
//! the input that stands behind it, and must give what stands there.
//!
//! Behind each `yaml` block stands a `json` block:
//! `input` (of a run by hand) or `event` (the body that came in), `events` (of a batch) or `tick` (of a schedule),
//! `vars`, `answers` (by step: what the other side says; `{"fails": …}` for a refusal; a list for one attempt after the other; of a `call` what its run gives), `signals`
//! (by step: what it waits for comes), `votes` (by step: who decides what, one after the other, or has somebody else
//! decide), and what is expected: `run`
//! (its state), `error`, `outputs` and `calls` (by step), `reply`, and `takes` (the time until its end). Names kept
//! by `kv` steps begin empty and are kept for the examples of one section. Nothing on the page is left out: a flow
//! without its block fails the test.

use std::collections::HashMap;
use std::sync::Arc;

use aura_protocol::approval::Vote;
use aura_protocol::event::{BATCH, BATCH_KEY, Delivery, SCHEDULE};
use aura_protocol::flow::{Effect, Span};
use aura_protocol::run::{Awaited, CallOutcome, ErrorClass, Reach, Record, RunState as State, StepError};
use aura_protocol::{RunId, Value};
use aura_storage::rows::KvRow;

use super::super::frames::StepCell;
use super::super::plan::Plan;
use super::super::{Call, Input, RunState};
use super::{Run, started};
use crate::engine::kinds;

const PAGE: &str = include_str!("../../../../../docs/flows.md");

/// One example: the line it begins in, its section, flow and block.
struct Example {
    line: usize,
    section: String,
    flow: String,
    block: Value,
}

/// The examples of the page; a `yaml` block without its `json` block is an error.
fn examples() -> Vec<Example> {
    let (mut found, mut section, mut flow) = (Vec::new(), String::new(), None::<(usize, String)>);
    let mut lines = PAGE.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        if line.starts_with("## ") {
            section = line.to_owned();
        }
        let Some(language) = line.trim_start().strip_prefix("```").map(str::to_owned) else { continue };
        let text: Vec<&str> =
            lines.by_ref().map(|(_, line)| line).take_while(|line| !line.trim_start().starts_with("```")).collect();
        let text = text.join("\n");
        match language.as_str() {
            "yaml" => {
                if let Some((line, _)) = flow.replace((number + 1, text)) {
                    panic!("docs/flows.md:{line}: the flow has no json block behind it");
                }
            }
            "json" => {
                let (line, flow) = flow.take().unwrap_or_else(|| panic!("docs/flows.md:{}: no flow", number + 1));
                let block = Value::from_json(text.as_bytes())
                    .unwrap_or_else(|error| panic!("docs/flows.md:{}: {error}", number + 1));
                found.push(Example { line, section: section.clone(), flow, block });
            }
            other => assert!(["text", "sh"].contains(&other), "docs/flows.md:{}: `{other}`", number + 1),
        }
    }
    assert!(flow.is_none(), "the last flow has no json block");
    found
}

/// What the other side says to an attempt.
fn answer(answers: Option<&Value>, path: &str, attempt: u32) -> CallOutcome {
    let said = answers.and_then(|answers| answers.get(path)).cloned().unwrap_or_default();
    let said = match said {
        Value::List(mut attempts) => {
            let last = attempts.len().saturating_sub(1);
            attempts.swap_remove(usize::try_from(attempt - 1).unwrap().min(last))
        }
        other => other,
    };
    match said.get("fails") {
        None => CallOutcome::Done(said),
        Some(why) => {
            let class = match said.get("class").and_then(Value::as_str) {
                None => ErrorClass::Invalid,
                Some("transient") => ErrorClass::Transient,
                Some(other) => panic!("class {other}"),
            };
            CallOutcome::Failed(StepError::new(class, why.as_str().unwrap()), Reach::Refused)
        }
    }
}

type Kept = HashMap<String, KvRow>;

/// What a `kv` step does, by the daemon's own decision.
fn keep(kept: &mut Kept, input: &Value, now_ms: i64) -> CallOutcome {
    let name = input.get("name").and_then(Value::as_str).unwrap().to_owned();
    match crate::engine::kv::decide(input, kept.get(&name), now_ms) {
        Err(error) => CallOutcome::Failed(error, Reach::Unsent),
        Ok(decided) => {
            match decided.change {
                None => {}
                Some(None) => drop(kept.remove(&name)),
                Some(Some((value, expires_ms))) => {
                    let run = RunId::from_bytes([1; 16]);
                    kept.insert(name.clone(), KvRow { name, value, changed_ms: now_ms, run, expires_ms });
                }
            }
            CallOutcome::Done(decided.output)
        }
    }
}

fn run(example: &Example, kept: &mut Kept) -> Vec<String> {
    let head = if example.flow.starts_with("aura:") { "" } else { "aura: 1\nflow: example\n" };
    let text = format!("{head}{}\n", example.flow);
    let document = match aura_protocol::flow::read(&text) {
        Ok(document) => document,
        Err(findings) => return findings.iter().map(|it| format!("{}: {}", it.line, it.message)).collect(),
    };
    let findings = aura_protocol::flow::check(&document, None);
    let wrong = findings.iter().filter(|it| it.severity > aura_protocol::flow::Severity::Note);
    let mut wrong: Vec<String> = wrong.map(|it| format!("{}: {}", it.path, it.message)).collect();
    let actions = |_: &str| Some((Effect::Once, Span::from_secs(3600)));
    let plan = match Plan::compile(&document.flow, "v", &actions) {
        Ok(plan) => plan,
        Err(error) => return vec![error.to_string()],
    };
    let block = &example.block;
    let known = [
        "input", "event", "events", "tick", "vars", "answers", "signals", "votes", "run", "error", "outputs", "calls",
        "reply", "takes",
    ];
    wrong.extend(block.as_map().unwrap().keys().filter(|key| !known.contains(&key.as_str())).cloned());
    let mut begin = started("example", block.get("input").cloned().unwrap_or_default());
    if let Some(body) = block.get("event") {
        begin.event = Delivery { method: "POST".into(), body: body.to_json().into_bytes(), ..begin.event };
    }
    if let Some(events) = block.get("events").and_then(Value::as_list) {
        begin.event = batch(begin.event, &plan, events);
    }
    if let Some(at) = block.get("tick").and_then(Value::as_str) {
        let tick = Value::object([("scheduled_at", Value::from(at)), ("cause", Value::from("on_time"))]);
        begin.event = Delivery { method: SCHEDULE.into(), body: tick.to_json().into_bytes(), ..begin.event };
    }
    begin.vars = block.get("vars").cloned().unwrap_or_else(|| Value::object::<String, Value>([]));
    let state = RunState::new(RunId::from_bytes([1; 16]), &plan);
    let mut run = Run { plan, state, journal: Vec::new(), calls: std::collections::VecDeque::new(), now_ms: 1 };
    run.apply(Input::Start(Arc::new(begin)));
    for _ in 0..10_000 {
        if run.state.finished.is_some() {
            break;
        }
        if let Some(call) = run.calls.pop_front() {
            if run.plan.step(call.step).is_some_and(|step| step.kind.calls_flow()) {
                begin_child(&mut run, &call);
                continue;
            }
            let outcome = outcome(&run, &call, block.get("answers"), kept);
            let path = run.state.path(&run.plan, call.at);
            run.apply(Input::Result { path, attempt: call.attempt, outcome });
        } else if comes(&mut run, block) {
            continue;
        } else if let Some(due) = run.state.next_due() {
            run.now_ms = due.max(run.now_ms);
            run.apply(Input::Due);
        } else {
            wrong.push("nothing is due and nothing is at work".to_owned());
            return wrong;
        }
    }
    wrong.extend(differences(&run, block));
    wrong
}

/// The delivery of a batch of events with these bodies.
fn batch(one: Delivery, plan: &Plan, bodies: &[Value]) -> Delivery {
    let shown = |body: &Value| {
        Delivery { method: "POST".into(), body: body.to_json().into_bytes(), ..one.clone() }.to_trigger()
    };
    let events: Vec<Value> = bodies.iter().map(shown).collect();
    let key = plan.triggers.first().and_then(|trigger| trigger.batch.as_ref()?.key.as_ref());
    let moment = super::super::Moment::new(1, [0; 16]);
    let key = key.zip(events.last()).map(|(key, last)| {
        let scope = super::super::scope::DoorScope::new(last, &moment);
        key.eval(&scope).expect("a key").value.to_canonical_json()
    });
    let headers = vec![
        ("content-type".to_owned(), "application/json".to_owned()),
        (BATCH_KEY.to_owned(), key.unwrap_or_else(|| "null".to_owned())),
    ];
    Delivery { method: BATCH.into(), headers, body: Value::List(events).to_json().into_bytes(), ..one }
}

/// The run that a `call` begins.
fn begin_child(run: &mut Run, call: &Call) {
    let path = run.state.path(&run.plan, call.at);
    let input = scheduled(run, &path).unwrap_or_default();
    let flow = input.get("flow").and_then(Value::as_str).unwrap().to_owned();
    let waits = input.get("waits") == Some(&Value::Bool(true));
    let child = RunId::from_bytes([7; 16]);
    run.apply(Input::Called { path, attempt: call.attempt, run: child, flow, version: "v".into(), waits });
}

/// What a step waits for comes, if the block says so.
fn comes(run: &mut Run, block: &Value) -> bool {
    let mut waiting = None;
    run.state.each_live(&mut |at, cell| {
        if let Some(what) = cell.awaits.as_deref() {
            waiting.get_or_insert((run.state.path(&run.plan, at), what.clone()));
        }
    });
    let Some((path, what)) = waiting else { return false };
    match what {
        Awaited::People(ask) => {
            let decided = records(run).filter(|record| match record {
                Record::Voted { path: of, .. } | Record::Delegated { path: of, .. } => *of == path,
                _ => false,
            });
            let votes = block.get("votes").and_then(|votes| votes.get(&path)).and_then(Value::as_list);
            let Some(vote) = votes.unwrap_or_default().get(decided.count()) else { return false };
            let text = |name: &str| vote.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
            let by = text("by");
            run.apply(match vote.get("delegates_to") {
                Some(to) => {
                    let to = (to.as_str().unwrap().to_owned(), "viewer".to_owned());
                    Input::Delegate { path, by: (by, text("role")), to }
                }
                None => {
                    let approve = vote.get("approve") == Some(&Value::Bool(true));
                    let form = vote.get("form").cloned().unwrap_or_default();
                    let (hash, comment) = (ask.hash.clone(), text("comment"));
                    let vote = Vote { by, approve, hash, form, comment, via: String::new(), at_ms: 0 };
                    Input::Vote { path, role: text("role"), vote }
                }
            });
        }
        Awaited::Run { run: child, .. } => {
            let outcome = match answer(block.get("answers"), &path, 1) {
                CallOutcome::Done(output) => Ok(output),
                CallOutcome::Failed(error, _) => Err(Box::new(error)),
            };
            run.apply(Input::Returned { path, run: child, outcome });
        }
        _ => {
            let data = block.get("signals").and_then(|signals| signals.get(&path)).cloned();
            let Some(data) = data else { return false };
            run.apply(Input::Signal { path, data, by: "the page".into() });
        }
    }
    true
}

fn outcome(run: &Run, call: &Call, answers: Option<&Value>, kept: &mut Kept) -> CallOutcome {
    let path = run.state.path(&run.plan, call.at);
    if run.plan.step(call.step).is_some_and(|step| step.kind.keeps()) {
        let input = scheduled(run, &path).unwrap_or_default();
        return keep(kept, &input, run.now_ms);
    }
    // A script is run for what it is.
    let input = scheduled(run, &path).unwrap_or_default();
    if let Some(job) = run.plan.step(call.step).and_then(|step| step.kind.job("key", &input)) {
        return kinds::code::outcome(crate::runner::script::run(&job.unwrap()));
    }
    answer(answers, &path, call.attempt)
}

fn scheduled(run: &Run, wanted: &str) -> Option<Value> {
    records(run).find_map(|record| match record {
        Record::Scheduled { path, input, .. } if path == wanted => Some(input.clone()),
        _ => None,
    })
}

fn records(run: &Run) -> impl DoubleEndedIterator<Item = &Record> {
    run.journal.iter().flat_map(|transition| &transition.records)
}

/// Where the run is not as the block says.
fn differences(run: &Run, block: &Value) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut same = |what: String, got: Option<Value>, wanted: &Value| {
        if got.as_ref() != Some(wanted) {
            let got = got.map_or_else(|| "nothing".to_owned(), |got| got.to_json());
            wrong.push(format!("{what}: {got}, the page says {}", wanted.to_json()));
        }
    };
    let state = match run.state.state() {
        State::Succeeded => "succeeded",
        State::Failed => "failed",
        State::Cancelled => "cancelled",
        _ => "not ended",
    };
    same("run".to_owned(), Some(Value::from(state)), block.get("run").unwrap_or(&Value::from("succeeded")));
    let error = run.state.outcome.as_ref().and_then(|outcome| outcome.error.clone());
    match (block.get("error"), error) {
        (None, None) => {}
        (wanted, error) => same(
            "error".to_owned(),
            error.map(|error| Value::from(error.message.as_str())),
            wanted.unwrap_or(&Value::Null),
        ),
    }
    for (path, wanted) in block.get("outputs").and_then(Value::as_map).into_iter().flatten() {
        let output = records(run).rev().find_map(|record| match record {
            Record::Completed { path: of, output, .. } if of == path => Some(output.clone()),
            Record::Skipped { path: of, .. } if of == path => Some(Value::from("skipped")),
            _ => None,
        });
        let owned = || run.plan.with_id(path).first().and_then(|ix| output_of(run, *ix));
        same(format!("output of {path}"), output.or_else(owned), wanted);
    }
    for (path, wanted) in block.get("calls").and_then(Value::as_map).into_iter().flatten() {
        let call = scheduled(run, path);
        // What is not named there does not matter.
        let shown = call.map(|call| match (&call, wanted) {
            (Value::Map(call), Value::Map(wanted)) => {
                Value::Map(wanted.keys().filter_map(|key| Some((key.clone(), call.get(key)?.clone()))).collect())
            }
            _ => call,
        });
        match wanted {
            Value::Null => same(format!("call of {path}"), Some(shown.unwrap_or_default()), wanted),
            _ => same(format!("call of {path}"), shown, wanted),
        }
    }
    if let Some(wanted) = block.get("reply") {
        let reply = records(run).find_map(|record| match record {
            Record::Responded { status, body, .. } => {
                let body =
                    Value::from_json(body).unwrap_or_else(|_| Value::from(String::from_utf8_lossy(body).as_ref()));
                Some(Value::object([("status", Value::from(i64::from(*status))), ("body", body)]))
            }
            _ => None,
        });
        same("reply".to_owned(), reply, wanted);
    }
    if let Some(wanted) = block.get("takes") {
        let span = Span::from_ms(u64::try_from(run.now_ms - 1).unwrap());
        same("takes".to_owned(), Some(Value::from(span.to_string().as_str())), wanted);
    }
    wrong
}

/// The output of a step of the flow's own list, as others read it: also of one that has steps of its own.
fn output_of(run: &Run, ix: usize) -> Option<Value> {
    let step = run.plan.step(ix).filter(|step| step.scope == 0)?;
    run.state.frame(0)?.cells.get(step.position).map(StepCell::output)
}

#[test]
fn every_flow_of_the_page_does_what_the_page_says() {
    let examples = examples();
    assert!(examples.len() >= 25, "{} examples", examples.len());
    let (mut kept, mut section) = (Kept::new(), String::new());
    let mut wrong = Vec::new();
    for example in &examples {
        if example.section != section {
            section.clone_from(&example.section);
            kept.clear();
        }
        wrong.extend(run(example, &mut kept).into_iter().map(|it| format!("docs/flows.md:{}: {it}", example.line)));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_page_shows_every_kind_and_modifier_that_is_executed() {
    let flows: Vec<String> = examples().into_iter().map(|example| example.flow).collect();
    let shown = |key: &str| flows.iter().any(|flow| flow.contains(&format!("{key}:")));
    let support = aura_protocol::flow::support::KINDS.iter().copied().chain(aura_protocol::flow::support::modifiers());
    let lacking: Vec<&str> = support.chain(["rules"]).filter(|key| !shown(key)).collect();
    assert!(lacking.is_empty(), "docs/flows.md has no example of {lacking:?}");
}
