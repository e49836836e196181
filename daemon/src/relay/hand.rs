//! A delivery of a relay becomes an event here, once.
//!
//! Invariant: behind its proof, which the relay looked at, it goes the way of every delivery (`http/meet`); the row that
//! remembers it is part of the transaction of its event, so a second coming finds it or finds nothing of the first. What
//! cannot be taken now is left at the relay; what can never be is in the log of deliveries, in one commit with the row that
//! remembers it, before the relay hears so. A relay can only name triggers that take deliveries, and nothing it sends is larger than the door takes.

use std::sync::atomic::Ordering::Relaxed;

use aura_protocol::event::{Came, Delivery};
use aura_protocol::relay::{Numbered, Relayed};
use aura_protocol::rpc::Verdict;
use aura_protocol::{DeliveryId, FlowId, RelayId, TenantId};
use aura_storage::Table;
use aura_storage::rows::RefusedRow;
use aura_storage::rows::relay::{RelayRecord, TakenRow, taken_key};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use futures::future::join_all;

use super::link::Wire;
use crate::catalog::routes::Target;
use crate::engine::{Intake, Refusal};
use crate::http::Door;
use crate::http::answer::Refused;
use crate::http::intake::{check_coding, stored};
use crate::http::limits::Place;
use crate::http::log::{PROMISED, Promised};
use crate::http::meet::{Come, Formed, InForm, body_max, formed};

const TENANT: TenantId = TenantId::DEFAULT;
/// Deliveries that are decided together; their order stays.
const TOGETHER: usize = 32;
/// Most headers of a delivery, and their bytes.
const HEADERS_MAX: (usize, usize) = (512, 256 * 1024);
/// Longest names and texts of a delivery beside these, in bytes.
const TEXT_MAX: usize = 64 * 1024;

/// What became of a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Became {
    /// It is an event now.
    Taken,
    /// It was one before.
    Repeated,
    /// It can never be one; the log has it.
    Refused,
    /// Not now: why.
    Later(String),
}

/// Ready for the engine.
struct Ready {
    intake: Intake,
    target: std::sync::Arc<Target>,
    /// Held until it is stored.
    _place: Place,
}

enum Looked {
    Ready(Box<Ready>),
    Known,
    Never(Box<Promised>),
    Later(String),
}

/// Hands deliveries over in their order; `peer` is the relay as it names itself.
pub async fn hand_over(
    door: &Door,
    (relay, peer): (&RelayRecord, RelayId),
    wire: &Wire,
    deliveries: Vec<Relayed>,
) -> Vec<(Numbered, Became)> {
    let mut out = Vec::with_capacity(deliveries.len());
    let mut deliveries = deliveries.into_iter().peekable();
    while deliveries.peek().is_some() {
        let (mut waiting, mut never) = (Vec::new(), Vec::new());
        for delivery in deliveries.by_ref().take(TOGETHER) {
            let which = delivery.which;
            match look(door, (relay, peer), wire, delivery).await {
                Looked::Ready(ready) => waiting.push((which, ready)),
                Looked::Known => out.push((which, Became::Repeated)),
                Looked::Later(why) => out.push((which, Became::Later(why))),
                Looked::Never(promised) => never.push((which, promised)),
            }
        }
        // All in this task and polled in order: what is decided first was sent first.
        let accepted = waiting.into_iter().map(|(which, ready)| async move { (which, accept(door, *ready).await) });
        for (which, became) in join_all(accepted).await {
            match became {
                Ok(became) => out.push((which, became)),
                Err(promised) => never.push((which, promised)),
            }
        }
        let kept = never.into_iter().map(|(which, promised)| async move { (which, keep(door, *promised).await) });
        out.extend(join_all(kept).await);
    }
    out
}

/// Keeps what can never be an event, and that it was taken; what cannot be kept stays at the relay.
async fn keep(door: &Door, promised: Promised) -> Became {
    if door.engine.is_tight() {
        return Became::Later(Refused::NoRoom.to_string());
    }
    match door.log.promised(promised).await {
        Ok(()) => Became::Refused,
        Err(why) => Became::Later(format!("it could not be kept in the log of deliveries: {why}")),
    }
}

async fn accept(door: &Door, ready: Ready) -> Result<Became, Box<Promised>> {
    let Ready { intake, target, _place } = ready;
    let asking = door.engine.asks();
    let (kept, taken) = (intake.delivery.clone(), intake.relayed.clone());
    match (door.engine.accept(intake, asking).await, taken) {
        (Ok(answer), _) => {
            target.saw(answer.ack.event_id);
            target.seen.accepted.fetch_add(1, Relaxed);
            target.seen.last_ms.store(door.clock.now_ms(), Relaxed);
            Ok(Became::Taken)
        }
        (Err(Refusal::Disabled), Some(taken)) => {
            let flow = (target.flow, target.published.name.as_str());
            let row = row_of(&kept, flow, (Verdict::Disabled, "the flow is disabled"), taken.1.at_ms);
            Err(Box::new(door.promised(row, kept.body, taken)))
        }
        (Err(other), _) => Ok(Became::Later(Refused::from(other).to_string())),
    }
}

async fn look(door: &Door, (relay, peer): (&RelayRecord, RelayId), wire: &Wire, mut sent: Relayed) -> Looked {
    let key = taken_key(TENANT, peer, sent.which.event);
    match door.catalog.store().get::<TakenRow>(TENANT, Table::RelayTaken, &key) {
        Ok(Some(_)) => return Looked::Known,
        Ok(None) => {}
        Err(error) => return Looked::Later(format!("what was taken before cannot be read: {error}")),
    }
    let now_ms = door.clock.now_ms();
    let taken = TakenRow { number: sent.which.number, at_ms: now_ms };
    let mut delivery = Delivery {
        event: sent.which.event,
        trigger: String::new(),
        method: "POST".to_owned(),
        query: String::new(),
        headers: Vec::new(),
        body: std::mem::take(&mut sent.body),
        blob: None,
        received_ms: sent.received_ms.clamp(0, now_ms),
        came: None,
    };
    if !in_bounds(&sent) {
        let why = (Verdict::Body, "the relay sent what no door takes: names or headers are too long");
        let row = row_of(&delivery, (sent.flow, ""), why, now_ms);
        return Looked::Never(Box::new(door.promised(row, Vec::new(), (key, taken))));
    }
    let came = Came {
        from: sent.from.clone(),
        verdict: Some(sent.verdict),
        relay: Some(relay.name.clone()),
        ..Came::default()
    };
    delivery.trigger.clone_from(&sent.trigger);
    delivery.query.clone_from(&sent.query);
    delivery.came = Some(came);
    delivery.headers = stored(std::mem::take(&mut sent.headers), None);
    let state = door.catalog.now();
    let target =
        state.entry(sent.flow).and_then(|entry| state.routes().of_flow(&entry.record.flow, Some(&sent.trigger)).ok());
    let never = |delivery: &Delivery, target: Option<&Target>, verdict: Verdict, why: &str| {
        let name = target.map_or(sent.name.as_str(), |target| target.published.name.as_str());
        let row = row_of(delivery, (sent.flow, name), (verdict, why), now_ms);
        Looked::Never(Box::new(door.promised(row, delivery.body.clone(), (key.clone(), taken))))
    };
    let Some(target) = target else {
        return never(&delivery, None, Verdict::NoEndpoint, "its flow or trigger is gone");
    };
    if !target.open() {
        let verdict = if target.published.enabled { Verdict::Closed } else { Verdict::Disabled };
        return never(&delivery, Some(&target), verdict, "the flow is disabled, or its endpoint closed");
    }
    let most = body_max(door, &target);
    let bytes = usize::try_from(sent.bytes).unwrap_or(usize::MAX);
    if bytes > most || delivery.body.len() > most {
        return never(&delivery, Some(&target), Verdict::TooLarge, "the body is larger than this daemon takes");
    }
    let Some(mut place) = door.in_flight.enter() else { return Looked::Later(Refused::Busy(1).to_string()) };
    if !place.grow(bytes.max(delivery.body.len())) {
        return Looked::Later(Refused::Busy(1).to_string());
    }
    if delivery.body.len() != bytes {
        match wire.body(sent.which, bytes).await {
            Ok(body) => delivery.body = body,
            Err(why) => return Looked::Later(why),
        }
    }
    let map = map_of(&delivery.headers);
    let packed = match check_coding(&map, target.takes.gzip) {
        Ok(packed) => packed,
        Err(refused) => return never(&delivery, Some(&target), refused.verdict(), &refused.to_string()),
    };
    let come = Come { map: &map, headers: delivery.headers.clone(), body: delivery.body.clone(), packed };
    let InForm { headers, body, json, id, place } = match formed(&target, come, most, place, &mut |_| {}).await {
        Ok(Formed::Event(event)) => event,
        Ok(Formed::Greeted(..)) => {
            return never(&delivery, Some(&target), Verdict::Handshake, "it is a handshake and no event");
        }
        Err(turned) if turned.refused.status() == StatusCode::SERVICE_UNAVAILABLE => {
            return Looked::Later(turned.why);
        }
        Err(turned) => return never(&delivery, Some(&target), turned.verdict, &turned.why),
    };
    delivery.headers = stored(headers, target.proof.private_header());
    delivery.body = body;
    let shown = delivery.to_trigger_with(json);
    let intake = Intake {
        tenant: TENANT,
        flow: target.published.clone(),
        trigger: target.trigger,
        delivery,
        shown,
        delivery_id: id,
        anew: false,
        note: None,
        relayed: Some((key, taken)),
    };
    Looked::Ready(Box::new(Ready { intake, target, _place: place }))
}

fn in_bounds(sent: &Relayed) -> bool {
    let headers: usize = sent.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
    let texts = [&sent.name, &sent.trigger, &sent.method, &sent.query, &sent.from];
    sent.method == "POST"
        && sent.headers.len() <= HEADERS_MAX.0
        && headers <= HEADERS_MAX.1
        && texts.iter().all(|text| text.len() <= TEXT_MAX)
}

fn map_of(headers: &[(String, String)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        let (name, value) = (HeaderName::try_from(name.as_str()), HeaderValue::try_from(value.as_str()));
        if let (Ok(name), Ok(value)) = (name, value) {
            map.append(name, value);
        }
    }
    map
}

/// What the log is told of a delivery that cannot become an event. It is kept from the taking on, however long it waited.
fn row_of(
    delivery: &Delivery,
    (flow, name): (FlowId, &str),
    (verdict, why): (Verdict, &str),
    now_ms: i64,
) -> RefusedRow {
    let came = delivery.came.clone().unwrap_or_default();
    let by = came.relay.map(|name| format!("by the relay {name}, which had taken it: ")).unwrap_or_default();
    RefusedRow {
        id: DeliveryId::from(delivery.event),
        at_ms: now_ms,
        proof_ms: delivery.received_ms,
        flow: Some(flow),
        name: name.to_owned(),
        trigger: delivery.trigger.clone(),
        method: delivery.method.clone(),
        query: delivery.query.clone(),
        headers: delivery.headers.clone(),
        from: came.from,
        status: PROMISED,
        verdict,
        why: format!("{by}{why}"),
        bytes: u64::try_from(delivery.body.len()).unwrap_or(u64::MAX),
        whole: true,
        ..RefusedRow::default()
    }
}
