//! `aura flow try`: the input of one step is found by a simulation, then that step alone is done really.
//!
//! Invariant: what is sent is what the preview shows. The version of a test run holds this one step and reads nothing
//! but the run's input, so no other step of the text can run.

use aura_protocol::flow::redact::HIDDEN;
use aura_protocol::flow::{self, Flow, Http, Kind, Step};
use aura_protocol::rpc::{Actor, AskedStep, DataFrom, FlowPart, FlowTried, FlowTry};
use aura_protocol::text::display;
use aura_protocol::{Code, Map, Value, WireError};

use crate::engine::links::LINK;
use crate::rpc::eyes::Eyes;
use crate::rpc::{Service, runs, trials};
use crate::trial::SIMULATED;

/// Finds the input of the step, and if more is wanted than that, begins the test run.
///
/// # Errors
/// No such step, one that calls nobody outside, or an input that must not or cannot be sent.
pub async fn try_out(service: &Service, actor: Actor, request: FlowTry) -> Result<FlowTried, WireError> {
    let eyes = Eyes::of(&actor);
    let Some(FlowPart::Only(step)) = request.test.part.clone() else {
        return Err(WireError::new(Code::Invalid, "a try is of one step").hint("name it with --step"));
    };
    let text = request.test.flow.clone();
    let tested = trials::test(service, request.test).await?;
    let report = tested.cases.first();
    let Some(asked) = report.and_then(|report| report.asked.clone()).filter(|_| tested.flow_findings.is_empty()) else {
        return Ok(FlowTried { tested, run: None });
    };
    let made = asked.given.iter().find(|(_, from)| *from == DataFrom::Generated);
    if let Some((name, _)) = made.filter(|_| !request.preview && !request.made_up) {
        let message = format!("nothing was sent: {} reads what is made up: {}", display(&step), display(name));
        return Err(WireError::new(Code::Invalid, message)
            .hint("say it with a trigger, an input, a pin or a recorded run, or that made-up data may be sent"));
    }
    let read = flow::read(&text).map_err(|_| WireError::new(Code::FlowRefused, "the text is no flow"))?;
    let (single, input) = single(&read.flow, &step, &asked)?;
    if request.preview {
        return Ok(FlowTried { tested, run: None });
    }
    let id = service.catalog.now().id_of(&read.flow.flow).ok_or_else(|| {
        WireError::not_found(format!("there is no flow {} here, so its test run would belong to none", read.flow.flow))
            .hint("store the text once with `aura flow apply`; it need not be published")
    })?;
    let (engine, catalog) = (service.engine.clone(), service.catalog.clone());
    let change = async move {
        let flow = catalog.keep_single(&actor, id, single).await?;
        engine.try_out(&actor, flow, input).await
    };
    let head = service.change(change).await?;
    Ok(FlowTried { tested, run: Some(runs::shown(service, &eyes, head)) })
}

/// A flow of the asked step alone, which takes its input from its run, and that input.
fn single(flow: &Flow, step: &str, asked: &AskedStep) -> Result<(Flow, Value), WireError> {
    let invalid = |message: String| WireError::new(Code::Invalid, message);
    let shown = display(step);
    let id = step.split('[').next().unwrap_or(step).trim();
    let found = find(&flow.steps, id).or_else(|| find(&flow.on_error, id)).or_else(|| find(&flow.finally, id));
    let found = found.ok_or_else(|| WireError::not_found(format!("the flow has no step {shown}")))?;
    if found.each.is_some() && !step.contains('[') {
        return Err(invalid(format!("{shown} is done for each item of a list"))
            .hint(format!("name one, as in {shown}[KEY]; `aura flow simulate --to {shown}` shows them")));
    }
    if !matches!(found.kind, Kind::Uses { .. } | Kind::Http(_)) {
        let message = format!("{shown} is a `{}` step, which calls nobody outside", found.kind.name());
        return Err(invalid(message).hint(format!("`aura flow simulate --only {shown}` does all that it does")));
    }
    if found.redact.iter().any(|path| path.starts_with("input")) {
        let message = format!("{shown} keeps a part of its input out of sight, and its test run would show it");
        return Err(invalid(message).hint("publish the flow and run it, or replay a run from this step"));
    }
    let Some(text) = &asked.input else {
        let why = asked.error.as_ref().map(|error| format!(": {error}")).unwrap_or_default();
        return Err(invalid(format!("there is no input to send: the simulation did not come to {shown}{why}"))
            .hint(format!("see `aura flow simulate --only {shown}`")));
    };
    // What is hidden, and addresses of a simulation, which are nobody's.
    let signs = [HIDDEN, aura_integrations::redact::HIDDEN, LINK, SIMULATED];
    if let Some(sign) = signs.into_iter().find(|sign| text.contains(sign)) {
        return Err(invalid(format!("the input of {shown} holds {sign}, which would be sent as it stands"))
            .hint("pin what it reads with --pin STEP=JSON"));
    }
    let input = Value::from_json(text.as_bytes())
        .map_err(|_| invalid(format!("the input of {shown} is larger than 256 KiB; a try does not send so much")))?;
    let fields = |of: Option<&Value>, path: &str| -> Result<Map, WireError> {
        let map = of.and_then(Value::as_map).cloned().unwrap_or_default();
        map.into_iter().map(|(name, _)| Ok((name.clone(), Value::from(reads(path, &name)?)))).collect()
    };
    let kind = match &found.kind {
        Kind::Http(http) => Kind::Http(Http {
            method: http.method.clone(),
            url: "{{ input.url }}".to_owned(),
            query: fields(input.get("query"), "input.query")?,
            headers: fields(input.get("headers"), "input.headers")?,
            body: input.get("body").map(|_| Value::from("{{ input.body }}")),
            form: input.get("form").map(|form| fields(Some(form), "input.form")).transpose()?,
        }),
        Kind::Uses { action, connection, .. } => {
            Kind::Uses { action: action.clone(), connection: connection.clone(), with: fields(Some(&input), "input")? }
        }
        other => other.clone(),
    };
    let alone = Step {
        id: found.id.clone(),
        kind,
        retry: found.retry.clone(),
        timeout: found.timeout,
        effect: found.effect,
        in_doubt: found.in_doubt,
        i_accept_duplicates: found.i_accept_duplicates,
        redact: found.redact.clone(),
        note: Some(format!("a try of one step of {}", flow.flow)),
        ..Step::default()
    };
    let single = Flow {
        flow: flow.flow.clone(),
        title: flow.title.clone(),
        labels: flow.labels.clone(),
        retention: flow.retention,
        steps: vec![alone],
        ..Flow::default()
    };
    Ok((single, input))
}

/// The expression that reads a field.
fn reads(path: &str, name: &str) -> Result<String, WireError> {
    if name.chars().any(|c| matches!(c, '\'' | '\\' | '{' | '}') || c.is_control()) {
        let message = format!("a try cannot send the field {}: its name is no plain text", display(name));
        return Err(WireError::new(Code::Invalid, message));
    }
    Ok(format!("{{{{ {path}['{name}'] }}}}"))
}

/// The step of an id, wherever it stands.
fn find<'s>(steps: &'s [Step], id: &str) -> Option<&'s Step> {
    steps.iter().find_map(|step| {
        if step.id == id {
            return Some(step);
        }
        let inside = match &step.kind {
            Kind::Branch(arms) => arms.iter().find_map(|arm| find(&arm.steps, id)),
            Kind::Map { steps, .. } | Kind::Loop { steps, .. } => find(steps, id),
            Kind::Try { steps, catch } => find(steps, id).or_else(|| find(catch, id)),
            _ => None,
        };
        inside.or_else(|| find(&step.on_error, id)).or_else(|| find(&step.compensate, id))
    })
}
