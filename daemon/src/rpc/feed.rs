//! `webhook_feed` and `webhook_raw`: deliveries as they come behind a cursor of the tail, and their bytes for a copy.
//!
//! Invariant: a batch ends at the border of a commit, so its cursor is enough to go on and nothing is kept for a client;
//! bytes are given as they came or not at all: what would have to be masked is refused.

use std::sync::Arc;
use std::time::Duration;

use aura_protocol::event::EventRow;
use aura_protocol::rpc::{
    Actor, DeliveryFeed, DeliveryNews, DeliveryRow, FEED_NAMES_MAX, FEED_WAIT_MS_MAX, HookName, RAW_MAX, RawDelivery,
    RawQuery, Role,
};
use aura_protocol::run::RunHead;
use aura_protocol::text::display;
use aura_protocol::{Code, EventId, RunId, TenantId, WireError};
use aura_storage::rows::{RefusedRow, delivery_key, journal_key, run_key};
use aura_storage::{Key, Table, TailEntry};
use tokio::time::Instant;

use crate::catalog::unreadable;
use crate::rpc::deliveries::{self, Kept};
use crate::rpc::eyes::Eyes;
use crate::rpc::{Service, Shared};

/// Groups of commits read at a time.
const GROUPS: usize = 64;
/// Rows after which a batch ends with its group.
const ROWS: usize = 200;

/// Whoever may deliver again may have the bytes.
const BYTES: Role = Role::Operator;

/// Serves one long poll.
///
/// # Errors
/// No such flow, a role that may not see bytes that are asked for, or the store cannot be read.
pub async fn feed(service: &Service, actor: &Actor, request: DeliveryFeed) -> Result<DeliveryNews, WireError> {
    if request.only.len() > FEED_NAMES_MAX {
        return Err(WireError::new(Code::Invalid, format!("one feed names at most {FEED_NAMES_MAX} endpoints")));
    }
    for name in &request.only {
        known(service, name)?;
    }
    if request.bodies {
        may_see(actor)?;
    }
    let eyes = Eyes::of(actor);
    let mut newest = service.store.newest();
    let Some(mut cursor) = request.cursor else {
        // What was refused before now is before the cursor.
        service.door.log.flush().await;
        let cursor = *newest.borrow();
        return Ok(news(service, cursor, Batch::default()));
    };
    let until = Instant::now() + Duration::from_millis(u64::from(request.wait_ms.min(FEED_WAIT_MS_MAX)));
    loop {
        let now = *newest.borrow_and_update();
        if cursor > now {
            // The cursor is of another store, or of a newer one.
            return Ok(news(service, now, Batch { cut: true, ..Batch::default() }));
        }
        if cursor < now {
            let (wanted, eyes) = (request.clone(), eyes.clone());
            let turn = service.pace.turn().await;
            let batch = service.read(move |shared| batch(shared, &eyes, cursor, &wanted)).await?;
            turn.done();
            cursor = batch.cursor;
            if !batch.rows.is_empty() || batch.cut {
                return Ok(news(service, cursor, batch));
            }
            if batch.more && Instant::now() < until {
                continue;
            }
        }
        tokio::select! {
            changed = newest.changed() => {
                if changed.is_err() {
                    return Ok(news(service, cursor, Batch::default()));
                }
            }
            () = tokio::time::sleep_until(until) => return Ok(news(service, cursor, Batch::default())),
            () = service.tasks.closing.cancelled() => {
                return Err(WireError::new(Code::Busy, "aurad is ending").hint("ask again when it is back"));
            }
        }
    }
}

/// Whether somebody may have bytes as they came.
fn may_see(actor: &Actor) -> Result<(), WireError> {
    let Actor { name, role, .. } = actor;
    if *role >= BYTES {
        return Ok(());
    }
    let message =
        format!("{} has the role {}; bodies are handed on to operators and above", display(name), role.word());
    Err(WireError::new(Code::Forbidden, message)
        .hint("without --to and --print-body it shows the list; an admin gives roles under `[accounts]`"))
}

/// A flow without endpoints may get some; a name that is none is a slip.
fn known(shared: &Shared, name: &HookName) -> Result<(), WireError> {
    shared.catalog.flow_id(&name.flow)?;
    let Some(trigger) = &name.trigger else { return Ok(()) };
    let of_flow: Vec<_> = shared.catalog.webhooks("").into_iter().filter(|hook| hook.flow == name.flow).collect();
    if of_flow.iter().any(|hook| hook.trigger == *trigger) {
        return Ok(());
    }
    let has: Vec<&str> = of_flow.iter().map(|hook| hook.trigger.as_str()).collect();
    let has = if has.is_empty() { "none".to_owned() } else { has.join(", ") };
    let message = format!("{} has no endpoint {}; it has {}", display(&name.flow), display(trigger), display(&has));
    Err(WireError::not_found(message).hint("see `aura webhook list`"))
}

fn news(service: &Service, cursor: u64, batch: Batch) -> DeliveryNews {
    DeliveryNews {
        deliveries: batch.rows,
        cursor,
        cut: batch.cut,
        wall_ms: service.clock.wall_ms(),
        unkept: service.door.log.unkept(),
    }
}

#[derive(Default)]
struct Batch {
    rows: Vec<DeliveryRow>,
    cursor: u64,
    cut: bool,
    more: bool,
}

fn batch(shared: &Shared, eyes: &Eyes, after: u64, request: &DeliveryFeed) -> Result<Batch, WireError> {
    let page = shared.store.tail_after(after, GROUPS).map_err(|error| unreadable(&error))?;
    let newest = *shared.store.newest().borrow();
    if page.cut {
        return Ok(Batch { cursor: newest, cut: true, ..Batch::default() });
    }
    let mut out = Batch { cursor: after, ..Batch::default() };
    for (cursor, entries) in page.groups {
        for entry in entries {
            let Some(mut row) = row_of(shared, entry)? else { continue };
            if request.takes(&row) {
                eyes.text(&shared.store, &mut row.why);
                eyes.text(&shared.store, &mut row.path);
                out.rows.push(row);
            }
        }
        out.cursor = cursor;
        if out.rows.len() >= ROWS {
            break;
        }
    }
    out.more = out.cursor < newest;
    Ok(out)
}

/// The delivery that an entry of the tail tells of, if it does and is still kept.
fn row_of(shared: &Shared, entry: TailEntry) -> Result<Option<DeliveryRow>, WireError> {
    match entry {
        TailEntry::Event(tenant, event) if tenant == TenantId::DEFAULT => of_event(shared, event),
        // The first transition of a run is 0 if it was queued, else 1.
        TailEntry::Run(tenant, run, number @ 0..=1) if tenant == TenantId::DEFAULT => of_run(shared, run, number),
        TailEntry::Refused(tenant, id) if tenant == TenantId::DEFAULT => {
            let row: Option<RefusedRow> = shared
                .store
                .get(tenant, Table::Deliveries, &delivery_key(tenant, id))
                .map_err(|error| unreadable(&error))?;
            Ok(row.as_ref().map(deliveries::refused))
        }
        _ => Ok(None),
    }
}

fn event_row(shared: &Shared, event: EventId) -> Result<Option<EventRow>, WireError> {
    let key = Key::tenant(TenantId::DEFAULT).id(event.bytes());
    shared.store.get(TenantId::DEFAULT, Table::Events, &key).map_err(|error| unreadable(&error))
}

fn of_event(shared: &Shared, event: EventId) -> Result<Option<DeliveryRow>, WireError> {
    let Some(row) = event_row(shared, event)?.filter(|row| deliveries::by_door(&row.delivery)) else {
        return Ok(None);
    };
    let state = shared.catalog.now();
    Ok(Some(deliveries::accepted(shared, &state, &row.flow, &row.delivery, (row.state, row.run, row.reason))))
}

fn of_run(shared: &Shared, run: RunId, number: u64) -> Result<Option<DeliveryRow>, WireError> {
    let tenant = TenantId::DEFAULT;
    if number == 1 {
        let (from, to) = (journal_key(tenant, run, 0), journal_key(tenant, run, 1));
        if !shared.store.keys(Table::Journal, &from, &to, 1).map_err(|error| unreadable(&error))?.is_empty() {
            return Ok(None);
        }
    }
    let head: Option<RunHead> =
        shared.store.get(tenant, Table::Runs, &run_key(tenant, run)).map_err(|error| unreadable(&error))?;
    let Some(head) = head.filter(|head| head.origin.is_none()) else { return Ok(None) };
    let Some(started) = deliveries::started(shared, run)? else { return Ok(None) };
    // What was held before has a row of its own, and was told of by it.
    if !deliveries::by_door(&started.event) || event_row(shared, head.event)?.is_some() {
        return Ok(None);
    }
    let became = (aura_protocol::event::EventState::Started, Some(run), format!("became {run}"));
    Ok(Some(deliveries::accepted(shared, &shared.catalog.now(), &head.flow, &started.event, became)))
}

/// The bytes of one delivery.
///
/// # Errors
/// There is none of this id, its body is kept nowhere, or the store cannot be read.
pub async fn raw(service: &Service, actor: &Actor, query: RawQuery) -> Result<RawDelivery, WireError> {
    let eyes = Eyes::of(actor);
    service.read(move |shared| bytes(shared, &eyes, &query)).await
}

fn bytes(shared: &Shared, eyes: &Eyes, query: &RawQuery) -> Result<RawDelivery, WireError> {
    let kept = match query.run.map(|run| of_its_run(shared, run, EventId(query.id.0))).transpose()?.flatten() {
        Some(kept) => kept,
        None => deliveries::find(shared, query.id)?,
    };
    let mut seen = kept.clone();
    deliveries::mask(&shared.store, eyes, &mut seen);
    let same = seen.body == kept.body && seen.query == kept.query && seen.headers == kept.headers;
    let Kept { row, query: search, headers, withheld, body, whole, .. } = seen;
    let total = u64::try_from(body.len()).unwrap_or(u64::MAX);
    if !same {
        return Ok(RawDelivery { method: row.method, total, whole, masked: true, ..RawDelivery::default() });
    }
    let path = match row.path.as_str() {
        "" => path_of(shared, &row),
        path => path.to_owned(),
    };
    let from = usize::try_from(query.offset).unwrap_or(usize::MAX).min(body.len());
    let to = from.saturating_add(usize::try_from(query.limit.min(RAW_MAX)).unwrap_or(0)).min(body.len());
    Ok(RawDelivery {
        method: row.method,
        path,
        query: search,
        headers,
        withheld: withheld.into_iter().map(|(name, _)| name).collect(),
        body: body.get(from..to).unwrap_or_default().to_vec(),
        total,
        whole,
        masked: false,
    })
}

fn of_its_run(shared: &Shared, run: RunId, event: EventId) -> Result<Option<Kept>, WireError> {
    let started = deliveries::started(shared, run)?.filter(|started| started.event.event == event);
    Ok(started.map(|started| {
        let started = Arc::unwrap_or_clone(started);
        let became = (aura_protocol::event::EventState::Started, Some(run), String::new());
        Kept::of(shared, &started.flow, started.event, became)
    }))
}

/// The path of an endpoint today.
fn path_of(shared: &Shared, row: &DeliveryRow) -> String {
    let target = shared.catalog.now().routes().of_flow(&row.flow, Some(&row.trigger)).ok();
    target.map(|target| format!("/hooks/{}", target.endpoint)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use aura_protocol::RequestId;
    use aura_protocol::rpc::Operation;

    use super::*;

    #[test]
    fn bytes_are_for_operators_and_above_and_the_refusal_names_the_role() {
        assert_eq!((Operation::WebhookRaw.role(), Operation::WebhookFeed.role()), (BYTES, Role::Viewer));
        for role in [Role::Auditor, Role::Viewer, Role::Operator, Role::Editor, Role::Admin, Role::Owner] {
            let actor = Actor { name: "carl".into(), role, tenant: TenantId::DEFAULT, request: RequestId::now() };
            let said = may_see(&actor).map_err(|error| (error.code, error.message));
            match role {
                Role::Auditor | Role::Viewer => {
                    let (code, message) = said.unwrap_err();
                    assert_eq!(code, Code::Forbidden);
                    assert!(message.contains(role.word()) && message.contains("operators"), "{message}");
                }
                _ => assert_eq!(said, Ok(())),
            }
        }
    }
}
