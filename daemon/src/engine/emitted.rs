//! Events that come from inside: of `emit` steps, and of runs that failed.
//!
//! What happened and a note for each flow that takes it are one transaction; a note and what becomes of it are another.
//! So a stop in between loses no event and none counts twice. How deep such events led to one another is counted, and
//! a run that was told of a failure tells nobody of its own: nothing of this goes on for ever. [`super::takers`] has the
//! notes taken.

use std::sync::Arc;

use aura_protocol::event::{Delivery, TEST};
use aura_protocol::flow::redact::Part;
use aura_protocol::run::{CallOutcome, ErrorClass, Reach, Record, RunStarted, RunState as State, StepError};
use aura_protocol::{EventId, RunId, TenantId, Value};
use aura_storage::rows::InboxRow;
use aura_storage::{Key, Table, Txn};

use super::child::{DEPTH_MAX, Note};
use super::core::Input;
use super::core::votes::starters;
use super::driver::{Driver, EngineError, Live, lock};
use super::outgoing::Offered;
use super::{Inside, Published};

/// Method of the deliveries of `emit` steps.
pub(crate) const EMIT: &str = "EMIT";
/// Method of the deliveries that tell of a run that failed.
pub(crate) const FAILED: &str = "FAILED";
/// One event has so many takers at most: they are told in one transaction.
const TAKERS_MAX: usize = 32;

/// How many events and calls led to this run.
pub(crate) fn depth_of(started: &RunStarted) -> u32 {
    let called = started.caller.as_ref().map(|caller| caller.depth);
    let told = || match started.event.method.as_str() {
        EMIT | FAILED => started.event.headers.iter().find(|(name, _)| name == "depth")?.1.parse().ok(),
        _ => None,
    };
    called.or_else(told).unwrap_or(0)
}

/// A trigger of a flow that takes an event.
struct Taker {
    flow: Published,
    trigger: String,
}

/// Who began or replayed a run, to be passed on.
fn people(started: &RunStarted) -> Vec<String> {
    starters(started).into_iter().map(str::to_owned).collect()
}

impl Driver {
    /// The triggers that take what happened now.
    fn takers(
        &self,
        tenant: TenantId,
        what: Inside<'_>,
        fits: impl Fn(&Published, &aura_protocol::flow::Trigger) -> bool,
    ) -> Vec<Taker> {
        let ids = self.deps.flows.takers(tenant, what).into_iter();
        let flows = ids.filter_map(|id| self.deps.flows.published(tenant, id));
        let mut takers = Vec::new();
        for flow in flows.filter(|flow| flow.enabled) {
            for trigger in flow.flow.triggers.iter().filter(|trigger| fits(&flow, trigger)) {
                takers.push(Taker { flow: flow.clone(), trigger: trigger.id.clone() });
            }
        }
        takers.sort_by(|a, b| (&a.flow.name, &a.trigger).cmp(&(&b.flow.name, &b.trigger)));
        takers
    }

    /// Gives the event of an `emit` step to those who take it, and records to whom.
    pub(crate) async fn make_emit(
        self: &Arc<Self>,
        tenant: TenantId,
        run: RunId,
        path: &str,
        attempt: u32,
        input: &Value,
    ) -> Result<(), EngineError> {
        let name = input.get("event").and_then(Value::as_str).unwrap_or_default();
        let report = |outcome: CallOutcome| Input::Result { path: path.to_owned(), attempt, outcome };
        let refuse =
            |message: String| report(CallOutcome::Failed(StepError::new(ErrorClass::Invalid, message), Reach::Refused));
        let (depth, begun_by) = self.led_to(tenant, run)?;
        if depth >= DEPTH_MAX {
            let message = format!("events and calls led to one another more than {DEPTH_MAX} times");
            return self.transition(tenant, run, refuse(message), Txn::new()).await.map(drop);
        }
        let to = input.get("to").and_then(Value::as_str).unwrap_or("flows");
        let takers = match to {
            "subscribers" => Vec::new(),
            _ => self.takers_of(tenant, name),
        };
        if takers.len() > TAKERS_MAX {
            let message = format!("{} triggers take this event, more than {TAKERS_MAX}", takers.len());
            return self.transition(tenant, run, refuse(message), Txn::new()).await.map(drop);
        }
        let body = input.get("body").map(Value::to_json).unwrap_or_default().into_bytes();
        let said = [("by", format!("{run} {path}")), ("depth", (depth + 1).to_string())];
        let mut txn = Txn::new();
        let (mut notes, mut told) = (Vec::new(), Vec::new());
        for taker in takers {
            let delivery = self.inside(EMIT, &taker.trigger, &said, &begun_by, body.clone());
            told.push(Value::object([
                ("flow", Value::from(taker.flow.name.as_str())),
                ("trigger", Value::from(taker.trigger.as_str())),
                ("event_id", Value::from(delivery.event.to_string())),
            ]));
            notes.push(self.note_event(tenant, run, taker, delivery, &mut txn)?);
        }
        let mut output = vec![("told", Value::List(told))];
        let mut offered = Offered::default();
        if to != "flows" {
            let customer = input.get("customer").and_then(Value::as_str);
            let data = input.get("body").cloned().unwrap_or_default();
            let shown = self.redacted_body(tenant, (run, path), input)?.filter(|shown| *shown != data);
            let by = format!("{run} {path}");
            offered = self.offer(tenant, (name, customer), (&data, shown.as_ref()), by, &mut txn)?;
            output.push(("message_id", offered.message.map(|id| Value::from(id.to_string())).unwrap_or_default()));
            output.push(("subscriptions", Value::from(i64::try_from(offered.to.len()).unwrap_or(i64::MAX))));
        }
        let done = report(CallOutcome::Done(Value::object(output)));
        self.transition(tenant, run, done, txn).await?;
        notes.into_iter().for_each(|note| self.deliver(tenant, note));
        self.sends.told(&offered.to);
        Ok(())
    }

    /// Whose triggers take an emitted event.
    fn takers_of(&self, tenant: TenantId, name: &str) -> Vec<Taker> {
        self.takers(tenant, Inside::Emitted(name), |_, trigger| {
            trigger.on == "event" && trigger.with.get("name").and_then(Value::as_str) == Some(name)
        })
    }

    /// Notes for the flows that take an event of the daemon itself; `owner` and the event's id are their keys.
    pub(crate) fn note_inside(
        &self,
        tenant: TenantId,
        name: &str,
        owner: [u8; 16],
        by: &str,
        body: &Value,
        txn: &mut Txn,
    ) -> Result<Vec<(Key, EventId)>, EngineError> {
        let said = [("by", by.to_owned()), ("depth", "1".to_owned())];
        let body = body.to_json().into_bytes();
        let mut notes = Vec::new();
        for taker in self.takers_of(tenant, name).into_iter().take(TAKERS_MAX) {
            let delivery = self.inside(EMIT, &taker.trigger, &said, &[], body.clone());
            let event = delivery.event;
            let note = self.note_event(tenant, RunId::from_bytes(owner), taker, delivery, txn)?;
            notes.push((note.key, event));
        }
        Ok(notes)
    }

    /// The body of an `emit` as people are shown it, if its step redacts anything.
    fn redacted_body(
        &self,
        tenant: TenantId,
        (run, path): (RunId, &str),
        input: &Value,
    ) -> Result<Option<Value>, EngineError> {
        let cell = self.cell(run);
        let plan = {
            let mut place = lock(&cell);
            if place.is_none() {
                *place = Some(self.load(tenant, run)?);
            }
            place.as_ref().map(|live| Arc::clone(&live.plan))
        };
        self.forget_idle(run, cell);
        let Some(plan) = plan.filter(|plan| !plan.redacted.is_empty()) else { return Ok(None) };
        let mut shown = input.clone();
        plan.redacted.hide(path, Part::Input, &mut shown);
        Ok(Some(match shown {
            Value::Map(mut map) => map.swap_remove("body").unwrap_or_default(),
            // All of the input.
            hidden => hidden,
        }))
    }

    /// How deep a run is, and who began or replayed what led to it.
    pub(crate) fn led_to(&self, tenant: TenantId, run: RunId) -> Result<(u32, Vec<String>), EngineError> {
        let cell = self.cell(run);
        let started = {
            let mut place = lock(&cell);
            if place.is_none() {
                *place = Some(self.load(tenant, run)?);
            }
            place.as_ref().and_then(|live| live.state.started.clone())
        };
        self.forget_idle(run, cell);
        Ok(started.map_or((0, Vec::new()), |started| (depth_of(&started), people(&started))))
    }

    /// An event of our own.
    fn inside(
        &self,
        method: &str,
        trigger: &str,
        said: &[(&str, String)],
        begun_by: &[String],
        body: Vec<u8>,
    ) -> Delivery {
        let moment = self.moment();
        let mut headers = vec![("content-type".to_owned(), "application/json".to_owned())];
        headers.extend(said.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
        headers.extend(begun_by.iter().map(|by| ("starter".to_owned(), by.clone())));
        Delivery {
            event: EventId::from_bytes(self.new_run(&moment).bytes()),
            trigger: trigger.to_owned(),
            method: method.to_owned(),
            query: String::new(),
            headers,
            body,
            blob: None,
            came: None,
            received_ms: moment.now_ms,
        }
    }

    /// A note that a flow is to take an event.
    fn note_event(
        &self,
        tenant: TenantId,
        run: RunId,
        taker: Taker,
        delivery: Delivery,
        txn: &mut Txn,
    ) -> Result<Note, EngineError> {
        // No other note has the id of this event.
        let key = Key::tenant(tenant).id(run.bytes()).id(delivery.event.bytes());
        let row = InboxRow::Event { flow: taker.flow.id, delivery: Box::new(delivery) };
        self.deps.store.put(txn, tenant, Table::Inbox, key.clone(), &row)?;
        Ok(Note { to: run, key, row })
    }

    /// Notes for the flows that are told of a failure, in its transaction.
    pub(crate) fn tell_failure(
        &self,
        live: &Live,
        records: &[Record],
        txn: &mut Txn,
    ) -> Result<Vec<Note>, EngineError> {
        let Some(started) = &live.state.started else { return Ok(Vec::new()) };
        let end = records.iter().rev().find_map(|record| match record {
            Record::RunFinished { state: State::Failed, error, .. } => Some(error),
            _ => None,
        });
        let depth = depth_of(started);
        let (Some(error), true) = (end, depth < DEPTH_MAX && ![FAILED, TEST].contains(&started.event.method.as_str()))
        else {
            return Ok(Vec::new());
        };
        let (tenant, run) = (live.tenant, live.state.run);
        let failed = || self.deps.flows.version(tenant, started.flow_id, &started.version);
        let mut takers = self.takers(tenant, Inside::Failed, |flow, trigger| {
            // A flow is not told of itself.
            trigger.on == "flow_failed" && flow.id != started.flow_id && {
                let named = trigger.with.get("flows").and_then(Value::as_list);
                let wanted = trigger.with.get("labels").and_then(Value::as_map);
                let stands_in = trigger.with.get("default_on_error").and_then(Value::as_bool) == Some(true);
                (!stands_in || failed().is_none_or(|failed| failed.on_error.is_empty()))
                    && named.is_none_or(|names| names.iter().any(|name| name.as_str() == Some(&started.flow)))
                    && wanted.is_none_or(|wanted| {
                        failed().is_some_and(|failed| {
                            wanted
                                .iter()
                                .all(|(name, value)| failed.labels.get(name).map(String::as_str) == value.as_str())
                        })
                    })
            }
        });
        if takers.len() > TAKERS_MAX {
            tracing::warn!(%run, "more than {TAKERS_MAX} flows want to know of its failure; the others are not told");
            takers.truncate(TAKERS_MAX);
        }
        if takers.is_empty() {
            return Ok(Vec::new());
        }
        // The run that is told of it has rules of its own.
        let mut error = error.clone();
        error.iter_mut().for_each(|error| live.plan.redacted.error("", error));
        let body = Value::object([
            ("run_id", Value::from(run.to_string())),
            ("flow", Value::from(started.flow.as_str())),
            ("version", Value::from(started.version.as_str())),
            ("trigger", Value::from(started.trigger.as_str())),
            ("event_id", Value::from(started.event.event.to_string())),
            ("error", error.map(|error| error.to_value()).unwrap_or_default()),
        ]);
        let body = body.to_json().into_bytes();
        let said = [("by", run.to_string()), ("depth", (depth + 1).to_string())];
        let begun_by = people(started);
        let tell = |taker: Taker| {
            let delivery = self.inside(FAILED, &taker.trigger, &said, &begun_by, body.clone());
            self.note_event(tenant, run, taker, delivery, txn)
        };
        takers.into_iter().map(tell).collect()
    }
}
