//! Where the rows of the list of deliveries are read: each place newest first, bounded, and saying how far it went.
//!
//! Invariant: what a part gives is all that its place has down to `down_to` (or to the end).

use std::collections::HashMap;

use aura_protocol::event::{Delivery, EventRow, EventState};
use aura_protocol::rpc::DeliveryRow;
use aura_protocol::run::{Record, RunHead, RunStarted, Transition};
use aura_protocol::{DeliveryId, EventId, RunId, WireError};
use aura_storage::rows::{RefusedBody, RefusedRow, delivery_key, journal_key, run_key};
use aura_storage::{Key, Table};

use super::{Part, TENANT, Wanted, accepted, refused as refused_row, unclaimed};
use crate::catalog::unreadable;
use crate::rpc::Shared;

/// Rows read at a time.
const WINDOW: usize = 100;
/// Rows with bodies read at a time.
const SMALL: usize = 16;
/// Refused rows looked at for one page.
const REFUSED: usize = 5_000;
/// Events looked at for one page.
const EVENTS: usize = 2_000;
/// Runs looked at for one page.
const RUNS: usize = 50_000;
/// Journals read for one page.
const JOURNALS: usize = 2_000;
/// A run is created at most so long after the event that began it at once came.
const LAG_MS: u64 = 2_000;

/// Unix milliseconds in an id.
fn ms_of(bytes: [u8; 16]) -> u64 {
    bytes.iter().take(6).fold(0, |ms, byte| (ms << 8) | u64::from(*byte))
}

/// Refused deliveries, from their log.
pub fn refused(shared: &Shared, wanted: &Wanted<'_>) -> Result<Part, WireError> {
    let from = wanted.query.after.map_or_else(|| Key::tenant(TENANT), |after| delivery_key(TENANT, after).next());
    let before = wanted.query.before;
    let mut to = before.map_or_else(|| Key::tenant(TENANT).after_prefix(), |before| delivery_key(TENANT, before));
    let (mut part, mut looked_at) = (Part::default(), 0);
    loop {
        let rows: Vec<(Key, RefusedRow)> = shared
            .store
            .scan(TENANT, Table::Deliveries, &from, &to, WINDOW, true)
            .map_err(|error| unreadable(&error))?;
        let more = rows.len() == WINDOW;
        for (key, row) in rows {
            to = key;
            looked_at += 1;
            let fits = wanted.named(&row.name, &row.trigger) && (!wanted.query.unclaimed || unclaimed(&row));
            let whole = || Delivery { body: body_of(shared, row.id), ..delivery_of(&row) };
            let shown = refused_row(&row);
            if fits && wanted.takes(shared, &shown, whole) {
                part.rows.push(shown);
            }
            if part.rows.len() > wanted.limit || looked_at >= REFUSED {
                part.down_to = Some(row.id);
                return Ok(part);
            }
        }
        if !more {
            return Ok(part);
        }
    }
}

/// The stored body of a refused delivery.
pub fn body_of(shared: &Shared, id: DeliveryId) -> Vec<u8> {
    let stored: Result<Option<RefusedBody>, _> =
        shared.store.get(TENANT, Table::DeliveryBodies, &delivery_key(TENANT, id));
    stored.ok().flatten().map(|stored| stored.body).unwrap_or_default()
}

/// A refused delivery in the form of an accepted one, without its body.
pub fn delivery_of(row: &RefusedRow) -> Delivery {
    Delivery {
        event: EventId(row.id.0),
        trigger: row.trigger.clone(),
        method: row.method.clone(),
        query: row.query.clone(),
        headers: row.headers.clone(),
        body: Vec::new(),
        blob: None,
        received_ms: row.at_ms,
        came: None,
    }
}

/// Whether it came by the door.
pub fn by_door(delivery: &Delivery) -> bool {
    delivery.came.is_some() || delivery.method == "POST"
}

fn push(shared: &Shared, wanted: &Wanted<'_>, part: &mut Part, row: EventRow) {
    let id = DeliveryId::from(row.event);
    if !wanted.between(id) || !by_door(&row.delivery) || !wanted.named(&row.flow, &row.trigger) {
        return;
    }
    let became = (row.state, row.run, row.reason.clone());
    let shown = accepted(shared, &wanted.state, &row.flow, &row.delivery, became);
    if wanted.takes(shared, &shown, || whole(shared, row.delivery.clone())) {
        part.rows.push(shown);
    }
}

/// Repeats, which are in memory only.
pub fn repeats(shared: &Shared, wanted: &Wanted<'_>) -> Part {
    let mut part = Part::default();
    for row in shared.engine.repeats().rows() {
        push(shared, wanted, &mut part, row);
    }
    part
}

/// Events with a row of their own.
pub fn events(shared: &Shared, wanted: &Wanted<'_>) -> Result<Part, WireError> {
    let at = |id: DeliveryId| Key::tenant(TENANT).id(id.bytes());
    let from = wanted.query.after.map_or_else(|| Key::tenant(TENANT), |after| at(after).next());
    let mut to = wanted.query.before.map_or_else(|| Key::tenant(TENANT).after_prefix(), at);
    let (mut part, mut looked_at) = (Part::default(), 0);
    loop {
        let rows: Vec<(Key, EventRow)> =
            shared.store.scan(TENANT, Table::Events, &from, &to, SMALL, true).map_err(|error| unreadable(&error))?;
        let more = rows.len() == SMALL;
        for (key, row) in rows {
            to = key;
            looked_at += 1;
            let id = row.event.into();
            push(shared, wanted, &mut part, row);
            if part.rows.len() > wanted.limit || looked_at >= EVENTS {
                part.down_to = Some(id);
                return Ok(part);
            }
        }
        if !more {
            return Ok(part);
        }
    }
}

/// Deliveries that began a run at once.
pub fn runs(shared: &Shared, wanted: &Wanted<'_>) -> Result<Part, WireError> {
    // A demo's clock is ahead of the ids of its events.
    let ahead = u64::try_from(shared.clock.now_ms().saturating_sub(shared.clock.wall_ms())).unwrap_or(0);
    let mut to = wanted.query.before.map_or_else(
        || Key::tenant(TENANT).after_prefix(),
        |before| run_key(TENANT, RunId::from_parts(ms_of(before.bytes()) + LAG_MS + ahead, &[0; 10])),
    );
    let from = wanted.query.after.map_or_else(
        || Key::tenant(TENANT),
        |after| run_key(TENANT, RunId::from_parts(ms_of(after.bytes()), &[0; 10])),
    );
    let (mut part, mut looked_at, mut journals) = (Part::default(), 0, 0);
    // Whether deliveries come to a trigger, by flow and trigger.
    let mut kinds: HashMap<(String, String), bool> = HashMap::new();
    loop {
        let rows: Vec<(Key, RunHead)> =
            shared.store.scan(TENANT, Table::Runs, &from, &to, WINDOW, true).map_err(|error| unreadable(&error))?;
        let more = rows.len() == WINDOW;
        for (key, head) in rows {
            to = key;
            looked_at += 1;
            let id = DeliveryId::from(head.event);
            let fits = wanted.between(id) && head.origin.is_none() && wanted.named(&head.flow, &head.trigger);
            if fits && takes_deliveries(wanted, &head, &mut kinds) {
                journals += 1;
                if let Some(started) = started(shared, head.run)?
                    && by_door(&started.event)
                    && started.event.event == head.event
                {
                    part.rows.extend(of_run(shared, wanted, &head, &started));
                }
            }
            // Events of older runs are older than this run.
            let down_to = DeliveryId::from_parts(ms_of(head.run.bytes()).saturating_sub(ahead) + 1, &[0; 10]);
            let enough = part.rows.len() > wanted.limit || looked_at >= RUNS || journals >= JOURNALS;
            if enough && wanted.query.before.is_none_or(|before| down_to < before) {
                part.down_to = Some(down_to);
                return Ok(part);
            }
        }
        if !more {
            return Ok(part);
        }
    }
}

fn takes_deliveries(wanted: &Wanted<'_>, head: &RunHead, kinds: &mut HashMap<(String, String), bool>) -> bool {
    *kinds.entry((head.flow.clone(), head.trigger.clone())).or_insert_with(|| {
        let published = wanted.state.entry(head.flow_id).and_then(|entry| entry.published.as_ref());
        let trigger = published.and_then(|version| version.flow.triggers.iter().find(|it| it.id == head.trigger));
        // A trigger that is not there any more may have taken some.
        trigger.is_none_or(|trigger| trigger.on == "webhook" || trigger.on.contains('.')) && head.trigger != "manual"
    })
}

fn of_run(shared: &Shared, wanted: &Wanted<'_>, head: &RunHead, started: &RunStarted) -> Option<DeliveryRow> {
    let why = format!("became {}", head.run);
    let became = (EventState::Started, Some(head.run), why);
    let shown = accepted(shared, &wanted.state, &head.flow, &started.event, became);
    wanted.takes(shared, &shown, || whole(shared, started.event.clone())).then_some(shown)
}

/// A delivery with its body.
pub fn whole(shared: &Shared, mut delivery: Delivery) -> Delivery {
    if let Some(blob) = delivery.blob.take() {
        delivery.body = shared.store.blob(TENANT, blob).ok().flatten().unwrap_or_default();
    }
    delivery
}

/// What began a run.
pub fn started(shared: &Shared, run: RunId) -> Result<Option<std::sync::Arc<RunStarted>>, WireError> {
    let (from, to) = (journal_key(TENANT, run, 0), run_key(TENANT, run).after_prefix());
    let rows: Vec<(Key, Transition)> =
        shared.store.scan(TENANT, Table::Journal, &from, &to, 1, false).map_err(|error| unreadable(&error))?;
    Ok(rows.into_iter().flat_map(|(_, transition)| transition.records).find_map(|record| match record {
        Record::RunStarted(started) => Some(started),
        _ => None,
    }))
}
