//! How a run under test begins: the event as its door would have made it, with the policies that are asked there.

use std::collections::HashMap;

use aura_integrations::registry::{Registry, sample};
use aura_protocol::event::{self, BATCH, BATCH_ENDED, BATCH_KEY, Delivery, SCHEDULE, Tick, timestamp};
use aura_protocol::expr::Template;
use aura_protocol::flow::cases::{Case, CaseEvent};
use aura_protocol::flow::{Flow, OnExcess, Trigger};
use aura_protocol::run::{ErrorClass, RunStarted, StepError};
use aura_protocol::{EventId, FlowId, Map, RunId, Value};
use aura_storage::rows::KvRow;

use super::world::Halt;
use crate::engine::core::Moment;
use crate::engine::core::plan::{Plan, PlanBatch};
use crate::engine::core::scope::DoorScope;

/// When a run begins unless its case says so: 2026-01-01T00:00:00Z.
pub(super) const CLOCK_MS: i64 = 1_767_225_600_000;

fn event_id() -> EventId {
    EventId::from_bytes([0xA2; 16])
}

/// What `kv` steps find.
pub(super) fn kept(case: &Case, run: RunId, now_ms: i64) -> HashMap<String, KvRow> {
    let row = |(name, value): (&String, &Value)| {
        let row = KvRow { name: name.clone(), value: value.clone(), changed_ms: now_ms, run, expires_ms: None };
        (name.clone(), row)
    };
    case.kv.iter().map(row).collect()
}

/// The beginning; `None` if the trigger's filter does not let the event in.
pub(super) fn started(flow: &Flow, plan: &Plan, case: &Case, moment: &Moment) -> Result<Option<RunStarted>, Halt> {
    let (event, input) = match (&case.trigger, flow.triggers.first()) {
        (Some(event), _) => (delivery(flow, event, moment)?, Value::Null),
        // What nobody says of a flow that events begin: the sample of its first trigger.
        (None, Some(_))
            if case.input.is_none() && flow.triggers.iter().all(|it| it.on != "manual" && it.on != "called") =>
        {
            (delivery(flow, &CaseEvent::default(), moment)?, Value::Null)
        }
        (None, _) => {
            let input = case.input.clone().unwrap_or_default();
            (by_hand(&input, moment), input)
        }
    };
    let (mut event, mut refused) = (event, None);
    let batch = plan.triggers.iter().find(|it| it.id == event.trigger).and_then(|it| it.batch.as_ref());
    if let (Some(batch), true) = (batch, event.method != "MANUAL") {
        match gathered(plan, batch, &event, moment) {
            Ok(Some(all)) => event = all,
            Ok(None) => return Ok(None),
            Err(error) => refused = Some(error),
        }
    } else if event.method != "MANUAL" {
        let shown = event.to_trigger();
        match policies(plan, &event.trigger, &shown, moment) {
            Ok(true) => {}
            Ok(false) => return Ok(None),
            Err(error) => refused = Some(error),
        }
    }
    Ok(Some(RunStarted {
        flow_id: FlowId::from_bytes([0xA3; 16]),
        flow: flow.flow.clone(),
        version: plan.version.clone(),
        trigger: event.trigger.clone(),
        semantics: 1,
        events: vec![event.event],
        event,
        events_more: 0,
        deadline_ms: None,
        refused,
        caller: None,
        priority: 0,
        index: Vec::new(),
        origin: None,
        input,
        vars: Value::Map(case.vars.clone()),
    }))
}

fn by_hand(input: &Value, moment: &Moment) -> Delivery {
    Delivery {
        event: event_id(),
        trigger: "manual".to_owned(),
        method: "MANUAL".to_owned(),
        query: String::new(),
        headers: vec![("content-type".to_owned(), "application/json".to_owned())],
        body: input.to_json().into_bytes(),
        blob: None,
        came: None,
        received_ms: moment.now_ms,
    }
}

fn trigger<'f>(flow: &'f Flow, event: &CaseEvent) -> Result<&'f Trigger, Halt> {
    let Some(first) = flow.triggers.first() else {
        let message = "the flow has no triggers: give the run's `input` instead of a `trigger`";
        return Err(Halt::new("trigger", message));
    };
    let Some(id) = &event.id else { return Ok(first) };
    flow.triggers.iter().find(|trigger| trigger.id == *id).ok_or_else(|| {
        let known: Vec<&str> = flow.triggers.iter().map(|trigger| trigger.id.as_str()).collect();
        Halt::new("trigger.id", format!("the flow has no trigger `{id}`; it has {}", known.join(", ")))
    })
}

fn delivery(flow: &Flow, event: &CaseEvent, moment: &Moment) -> Result<Delivery, Halt> {
    let trigger = trigger(flow, event)?;
    let tick = || {
        let at = timestamp(moment.now_ms);
        let tick = Tick {
            scheduled_at: at,
            zone: "UTC".to_owned(),
            previous_at: None,
            late: false,
            missed: 0,
            cause: event::on_time(),
        };
        Value::from_json(&tick.body()).unwrap_or_default()
    };
    let scheduled = trigger.on == "schedule";
    let body = match (&event.body, sample(&trigger.on)) {
        (Some(body), _) => body.to_json().into_bytes(),
        (None, Some(sample)) => sample.as_bytes().to_vec(),
        (None, None) if scheduled => tick().to_json().into_bytes(),
        (None, None) => Vec::new(),
    };
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_json(), str::to_owned);
    let mut headers: Vec<(String, String)> =
        event.headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), text(value))).collect();
    if headers.iter().all(|(name, _)| name != "content-type") {
        headers.push(("content-type".to_owned(), "application/json".to_owned()));
    }
    Ok(Delivery {
        event: event_id(),
        trigger: trigger.id.clone(),
        method: if scheduled { SCHEDULE } else { "POST" }.to_owned(),
        query: query(&event.query),
        headers,
        body,
        blob: None,
        came: None,
        received_ms: moment.now_ms,
    })
}

/// What the door would do with an event of a text's trigger, told without doing it.
pub fn door_says(text: &str, registry: &Registry, trigger: &str) -> crate::http::listen::Judge {
    let plan = super::compiled(text, registry).ok();
    let trigger = trigger.to_owned();
    Box::new(move |delivery, shown| {
        let Some((flow, plan)) = &plan else {
            return "be looked at when the flow has no errors any more (`aura flow check`)".to_owned();
        };
        let moment = Moment::new(delivery.received_ms, [0; 16]);
        match policies(plan, &trigger, shown, &moment) {
            Err(error) => format!("begin a run that fails at once: {}", error.message),
            Ok(false) => "be dropped: its trigger's filter is false".to_owned(),
            Ok(true) => {
                let trigger = flow.triggers.iter().find(|it| it.id == trigger);
                let (debounce, batch) =
                    (trigger.and_then(|it| it.debounce.as_ref()), trigger.and_then(|it| it.batch.as_ref()));
                match (debounce, batch, trigger.and_then(|it| it.throttle.as_ref())) {
                    (Some(debounce), ..) => format!("be held until {} of quiet have passed", debounce.quiet),
                    (_, Some(batch), _) => {
                        format!("be held until {} of its key are there, at most for {}", batch.max, batch.within)
                    }
                    (.., Some(throttle)) if throttle.on_excess == OnExcess::Drop => {
                        format!("start a run, or be dropped if it is more than {}", throttle.rate())
                    }
                    (.., Some(throttle)) => {
                        format!("start a run, or wait for its turn if it is more than {}", throttle.rate())
                    }
                    _ => "start a run".to_owned(),
                }
            }
        }
    })
}

/// The batch of a trigger that collects: of each item of a list, or of the one body that there is. `None` if the
/// filter lets none of them in.
fn gathered(plan: &Plan, batch: &PlanBatch, one: &Delivery, moment: &Moment) -> Result<Option<Delivery>, StepError> {
    let bodies = match Value::from_json(&one.body) {
        Ok(Value::List(bodies)) if !bodies.is_empty() => bodies,
        Ok(body) => vec![body],
        Err(_) => vec![Value::Null],
    };
    let mut events = Vec::new();
    for body in bodies {
        let shown = Delivery { body: body.to_json().into_bytes(), ..one.clone() }.to_trigger();
        if policies(plan, &one.trigger, &shown, moment)? {
            events.push(shown);
        }
    }
    let Some(last) = events.last() else { return Ok(None) };
    // It was evaluated a moment ago and did not fail.
    let key = batch.key.as_ref().and_then(|key| key.eval(&DoorScope::new(last, moment)).ok());
    let key = key.map_or_else(|| "null".to_owned(), |key| key.value.to_canonical_json());
    let said = [("content-type", "application/json"), (BATCH_KEY, key.as_str()), (BATCH_ENDED, "full")];
    Ok(Some(Delivery {
        method: BATCH.to_owned(),
        query: String::new(),
        headers: said.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        body: Value::List(events).to_json().into_bytes(),
        ..one.clone()
    }))
}

fn query(pairs: &Map) -> String {
    let mut out = url::form_urlencoded::Serializer::new(String::new());
    for (name, value) in pairs {
        out.append_pair(name, &value.as_str().map_or_else(|| value.to_json(), str::to_owned));
    }
    out.finish()
}

/// What is asked at the door: false if the filter keeps the event out; an error fails the run (rule 10).
fn policies(plan: &Plan, id: &str, shown: &Value, moment: &Moment) -> Result<bool, StepError> {
    let scope = DoorScope::new(shown, moment);
    let Some(trigger) = plan.triggers.iter().find(|trigger| trigger.id == id) else { return Ok(true) };
    let wrong = |what: &str, message: &str| {
        StepError::new(ErrorClass::Invalid, format!("the {what} of trigger {id} failed: {message}"))
    };
    let key = |template: &Template, what: &str| match template.eval(&scope) {
        Err(error) => Err(wrong(what, &error.to_string())),
        Ok(key) if key.value.is_null() => Err(wrong(what, "its key is null")),
        Ok(_) => Ok(()),
    };
    if let Some((template, _)) = &trigger.dedupe {
        key(template, "dedupe")?;
    }
    let wanted = match &trigger.filter {
        Some(filter) => filter.eval_bool(&scope).map_err(|error| wrong("filter", &error.to_string()))?.0,
        None => true,
    };
    if let Some((template, _, _)) = &trigger.debounce {
        key(template, "debounce")?;
    }
    if let Some(template) = trigger.batch.as_ref().and_then(|batch| batch.key.as_ref()) {
        key(template, "batch")?;
    }
    Ok(wanted)
}
