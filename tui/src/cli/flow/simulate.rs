//! `aura flow simulate`: a flow, or a part of it, under a virtual clock, and where each value came from.
//!
//! Invariant: nothing is stored or sent. Whatever nobody said is made up and marked `generated`.

use std::path::Path;

use aura_protocol::event::timestamp;
use aura_protocol::flow::TEXT_MAX;
use aura_protocol::rpc::{AskedStep, CallRow, CaseReport, DataFrom, FlowPart, FlowTest, PathRow, RunRef};
use aura_protocol::text::{display, display_lines};
use aura_protocol::{Code, Map, Value, WireError};

use super::super::output::Output;
use super::super::{Ended, files};
use super::trial::{Row, ask, lived};
use crate::client::Session;

/// What a part of a flow is simulated or tried on.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct Given {
    /// The event's body as JSON, or an event that `aura flow listen --save` wrote (- for standard input)
    #[arg(long, value_name = "FILE", conflicts_with = "input")]
    trigger: Option<String>,
    /// The trigger, if it is not the flow's first
    #[arg(long, value_name = "TRIGGER", conflicts_with = "input")]
    on: Option<String>,
    /// A header of the event
    #[arg(long = "header", value_name = "NAME=VALUE", conflicts_with = "input")]
    headers: Vec<String>,
    /// Input of a run by hand: JSON, @file, or - for standard input
    #[arg(long, value_name = "JSON")]
    input: Option<String>,
    /// A variable; what reads as JSON is JSON, all else is text
    #[arg(long = "var", value_name = "NAME=VALUE")]
    vars: Vec<String>,
    /// What a step gives (its output), as STEP=JSON or STEP[ITEM]=JSON
    #[arg(long = "pin", value_name = "STEP=JSON")]
    pins: Vec<String>,
    /// A step's call fails with these words, as STEP=MESSAGE
    #[arg(long = "fail", value_name = "STEP=MESSAGE")]
    fails: Vec<String>,
    /// What this run was given and what came back then stands in for what no pin says
    #[arg(long, value_name = "RUN")]
    from_run: Option<String>,
    /// When the run begins, as 2026-03-01T09:00:00Z
    #[arg(long, value_name = "TIME")]
    clock: Option<String>,
}

/// `aura flow simulate`.
#[derive(clap::Args, Debug)]
pub struct Simulate {
    /// The flow's file, or the name of a flow whose draft (else published version) is taken
    #[arg(value_name = "FILE|NAME")]
    flow: String,
    /// Up to and with this step, and nothing that it does not need: STEP, or STEP[ITEM] for one item of a map
    #[arg(long, value_name = "STEP", conflicts_with = "only")]
    to: Option<String>,
    /// This step alone: what it reads of others comes from pins, the run, or is made up
    #[arg(long, value_name = "STEP")]
    only: Option<String>,
    /// Make nothing up: stop where nobody says what a call gives
    #[arg(long)]
    strict: bool,
    #[command(flatten)]
    given: Given,
}

/// A text to simulate: a file, or a flow of the daemon.
///
/// # Errors
/// Neither is there.
pub(super) async fn text_of(flow: &str, session: &mut Session) -> Result<String, WireError> {
    if flow == "-" || Path::new(flow).is_file() || flow.contains(['/', '.']) {
        return files::text(flow);
    }
    let name = flow.to_owned();
    let detail = session
        .call(|rpc, context, call| {
            let name = name.clone();
            async move { rpc.flow_show(context, call, name).await }
        })
        .await
        .map_err(|error| match error.code {
            Code::NotFound => WireError::not_found(format!("there is neither a file nor a flow {}", display(flow))),
            _ => error,
        })?;
    let text = detail.draft.or(detail.published);
    text.ok_or_else(|| WireError::not_found(format!("the flow {} has no text", display(flow))))
}

impl Given {
    /// The same; what says no time begins at this one.
    pub(super) fn at(&self, now_ms: i64) -> Self {
        Self { clock: self.clock.clone().or_else(|| Some(timestamp(now_ms))), ..self.clone() }
    }

    /// The request for a text.
    ///
    /// # Errors
    /// An argument that does not read.
    pub(super) fn request(&self, flow: String, part: Option<FlowPart>, generate: bool) -> Result<FlowTest, WireError> {
        let mut case = Map::from_iter([("name".to_owned(), Value::from("simulate"))]);
        if let Some(input) = &self.input {
            case.insert("input".to_owned(), files::json(input)?);
        } else if self.trigger.is_some() || self.on.is_some() || !self.headers.is_empty() {
            case.insert("trigger".to_owned(), Value::Map(self.event()?));
        }
        let mut pins = Map::new();
        for pin in &self.pins {
            let (step, json) = pair(pin, "pin", "STEP=JSON, as in --pin charge='{\"status\": 200}'")?;
            pins.insert(step.to_owned(), Value::object([("output", files::json(json)?)]));
        }
        for fail in &self.fails {
            let (step, message) = pair(fail, "failure", "STEP=MESSAGE, as in --fail charge='card declined'")?;
            pins.insert(step.to_owned(), Value::object([("error", message)]));
        }
        case.insert("pins".to_owned(), Value::Map(pins));
        let mut vars = Map::new();
        for var in &self.vars {
            let (name, value) = pair(var, "variable", "NAME=VALUE, as in --var rate=0.19")?;
            let value = Value::from_json(value.as_bytes()).unwrap_or_else(|_| Value::from(value));
            vars.insert(name.to_owned(), value);
        }
        if !vars.is_empty() {
            case.insert("vars".to_owned(), Value::Map(vars));
        }
        case.extend(self.clock.as_ref().map(|clock| ("clock".to_owned(), Value::from(clock.as_str()))));
        let file = Value::object([("aura", Value::from(1_i64)), ("cases", Value::List(vec![Value::Map(case)]))]);
        let from_run = self.from_run.clone().map(RunRef);
        Ok(FlowTest { flow, cases: file.to_json(), part, from_run, generate, ..FlowTest::default() })
    }

    /// The event: a body, or all of what a listener saved.
    fn event(&self) -> Result<Map, WireError> {
        let mut event = Map::new();
        if let Some(file) = &self.trigger {
            let argument = if file == "-" { file.clone() } else { format!("@{}", file.trim_start_matches('@')) };
            let read = files::json(&argument)?;
            match saved(&read) {
                Some(saved) => event = saved,
                None => drop(event.insert("body".to_owned(), read)),
            }
        }
        event.extend(self.on.as_ref().map(|id| ("id".to_owned(), Value::from(id.as_str()))));
        let mut headers = event.get("headers").and_then(Value::as_map).cloned().unwrap_or_default();
        for header in &self.headers {
            let (name, value) = pair(header, "header", "NAME=VALUE, as in --header x-topic=orders/paid")?;
            headers.insert(name.to_ascii_lowercase(), Value::from(value));
        }
        if !headers.is_empty() {
            event.insert("headers".to_owned(), Value::Map(headers));
        }
        Ok(event)
    }
}

/// The event in a file of a listener; none if it is a body.
fn saved(read: &Value) -> Option<Map> {
    read.get("aura_event")?;
    let mut event = read.as_map()?.clone();
    event.retain(|name, _| ["id", "body", "headers", "query"].contains(&name.as_str()));
    Some(event)
}

fn pair<'t>(text: &'t str, what: &str, how: &str) -> Result<(&'t str, &'t str), WireError> {
    // The key of an item may hold the sign itself.
    let head = text.split('=').next().unwrap_or_default();
    let from = if head.contains('[') && !head.contains(']') { text.find(']').unwrap_or(0) } else { 0 };
    let at = text.get(from..).and_then(|rest| rest.find('=')).map(|at| at + from);
    let split = at.and_then(|at| Some((text.get(..at)?.trim(), text.get(at + 1..)?)));
    split.filter(|(name, _)| !name.is_empty()).ok_or_else(|| {
        WireError::new(Code::Invalid, format!("`{}` is no {what}", display(text))).hint(format!("write {how}"))
    })
}

/// Runs a flow once and tells what it does.
///
/// # Errors
/// A file that cannot be read, an argument that is no JSON, or nobody who could run it.
pub async fn simulate(args: &Simulate, session: &mut Session, out: &mut Output) -> Ended {
    let flow = text_of(&args.flow, session).await?;
    let part = match (&args.to, &args.only) {
        (Some(to), _) => Some(FlowPart::To(to.clone())),
        (None, only) => only.clone().map(FlowPart::Only),
    };
    let request = args.given.request(flow, part, !args.strict)?;
    if request.flow.len() > TEXT_MAX {
        return Err(WireError::new(Code::Invalid, format!("{} is longer than a flow may be", display(&args.flow))));
    }
    let tested = ask(&request, session).await?;
    super::findings(&tested.flow_findings, &args.flow, &request.flow, out)?;
    if !tested.flow_findings.is_empty() {
        return Ok(Code::FlowRefused.exit_code());
    }
    if let Some(finding) = tested.case_findings.first() {
        return Err(WireError::new(Code::Invalid, finding.message.clone()));
    }
    let Some(report) = tested.cases.first() else {
        return Err(WireError::internal("whoever ran the flow said nothing"));
    };
    if out.json {
        out.value(&Row { file: &args.flow, flow: &tested.flow, report })?;
    } else {
        lines(report).iter().try_for_each(|line| out.line(line))?;
    }
    Ok(u8::from(!well(report)))
}

/// Whether the run, or the step that was asked for, went well.
pub(crate) fn well(report: &CaseReport) -> bool {
    let good = matches!(report.state.as_str(), "succeeded" | "skipped");
    good && report.asked.as_ref().is_none_or(|asked| !asked.state.is_empty())
}

/// A report as people read it: steps and calls in the order of the run, then the asked step in full.
pub(crate) fn lines(report: &CaseReport) -> Vec<String> {
    let at = |ms: u64| format!("+{}", lived(ms));
    let mut out = Vec::new();
    let mut calls: Vec<&CallRow> = report.calls.iter().collect();
    for row in &report.path {
        if let Some(index) = calls.iter().position(|call| call.step == row.step) {
            out.push(call_line(calls.remove(index), &at));
        }
        out.push(step_line(row, &at));
    }
    out.extend(calls.into_iter().filter(|_| report.asked.is_none()).map(|call| call_line(call, &at)));
    out.extend(report.notes.iter().map(|said| display(said)));
    let problems =
        report.problems.iter().filter(|it| report.asked.is_some() || (it.line > 0 && report.error.is_none()));
    out.extend(problems.map(|problem| {
        let hint = problem.message.contains("no answer is pinned").then_some("; here: --pin STEP=JSON");
        display(&format!("{}{}", problem.message, hint.unwrap_or_default()))
    }));
    if let Some(asked) = &report.asked {
        asked_lines(asked, &mut out);
        return out;
    }
    let error = report.error.as_ref().map(|error| format!(": {error}")).unwrap_or_default();
    out.push(display(&format!("{} after {}{error}", report.state, lived(report.lived_ms))));
    out.push(display(&format!("output: {}", report.output)));
    out
}

/// The asked step in full.
fn asked_lines(asked: &AskedStep, out: &mut Vec<String>) {
    let state = if asked.state.is_empty() { "not reached" } else { asked.state.as_str() };
    out.push(String::new());
    out.push(display(&format!("{}  {}  {state}", asked.step, asked.kind)));
    if !asked.given.is_empty() {
        let given: Vec<String> = asked.given.iter().map(|(name, from)| format!("{name} ({})", from.word())).collect();
        out.push(display(&format!("reads: {}", given.join(", "))));
    }
    let mut part = |title: String, json: &str| {
        out.push(title);
        let pretty = Value::from_json(json.as_bytes()).map_or_else(|_| json.to_owned(), |value| value.to_json_pretty());
        out.extend(display_lines(&pretty).lines().map(|line| format!("  {line}")));
    };
    if let Some(input) = &asked.input {
        part("input:".to_owned(), input);
    }
    if let Some(error) = &asked.error {
        out.push(display(&format!("error ({}): {error}", asked.from.word())));
    } else if let Some(output) = &asked.output {
        part(format!("output ({}):", asked.from.word()), output);
    }
}

fn step_line(row: &PathRow, at: &dyn Fn(u64) -> String) -> String {
    let from = match row.from {
        DataFrom::Computed => String::new(),
        from => format!("  ({})", from.word()),
    };
    display(&format!("{:>10}  {}: {}{from}", at(row.at_ms), row.step, row.state))
}

fn call_line(call: &CallRow, at: &dyn Fn(u64) -> String) -> String {
    let times = if call.sent > 1 { format!(" {} times", call.sent) } else { String::new() };
    let line =
        format!("{:>10}  {} -> {} ({}){times} {}", at(call.at_ms), call.step, call.action, call.effect, call.input);
    display(&line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pin_is_split_behind_its_item() {
        let check = |text: &str, expected: Option<(&str, &str)>| assert_eq!(pair(text, "pin", "x").ok(), expected);
        check("a={\"b\":1}", Some(("a", "{\"b\":1}")));
        check("ship[a=b]=1", Some(("ship[a=b]", "1")));
        check("a=[1]", Some(("a", "[1]")));
        check("a", None);
        check("=1", None);
    }

    #[test]
    fn a_saved_event_is_told_from_a_body() {
        let event = Value::from_json(br#"{"aura_event":1,"at":"x","id":"paid","headers":{"a":"b"},"body":{"n":1}}"#);
        let saved = saved(&event.unwrap()).unwrap();
        assert_eq!(Value::Map(saved).to_json(), r#"{"id":"paid","headers":{"a":"b"},"body":{"n":1}}"#);
        assert_eq!(super::saved(&Value::from_json(br#"{"body":1}"#).unwrap()), None);
    }
}
