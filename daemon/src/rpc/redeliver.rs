//! Delivering again: what came before goes to its endpoint once more, or to the one that claims it.
//!
//! Invariant: a delivery that was not accepted is proved first, over the bytes that are kept and at the time at which it
//! came; what is dry changes nothing. A repeat of the same request delivers nothing twice, nor does a second claim.

mod again;
pub mod findings;

use std::sync::Arc;

use aura_protocol::event::EventState;
use aura_protocol::rpc::{Actor, DeliveryQuery, REDELIVER_MAX, Redelivered, RedeliveredRow, Role, WebhookRedeliver};
use aura_protocol::text::display;
use aura_protocol::{Code, DeliveryId, TenantId, WireError};
use aura_storage::rows::{RefusedRow, delivery_key};
use aura_storage::{Table, Txn};

use crate::catalog::routes::Target;
use crate::catalog::unreadable;
use crate::rpc::deliveries::{Kept, find, page};
use crate::rpc::eyes::Eyes;
use crate::rpc::{Service, Shared};

/// Largest edited body, in bytes.
const EDIT_MAX: usize = 1024 * 1024;

fn wrong(message: impl Into<String>) -> WireError {
    WireError::new(Code::Invalid, message)
}

/// Splits `FLOW/TRIGGER`.
fn named(text: &str) -> (&str, Option<&str>) {
    text.split_once('/').map_or((text, None), |(flow, trigger)| (flow, Some(trigger)))
}

/// Delivers again, or says what that would do.
///
/// # Errors
/// No such delivery or endpoint, or a question that contradicts itself. What becomes of each delivery stands in its row.
pub async fn redeliver(service: &Service, actor: Actor, request: WebhookRedeliver) -> Result<Redelivered, WireError> {
    service.door.log.flush().await;
    if request.unproved && actor.role < Role::Admin {
        let message = "only an admin delivers again what cannot be proved";
        return Err(WireError::new(Code::Forbidden, message));
    }
    if request.body.is_some() && request.ids.len() != 1 {
        return Err(wrong("another body goes with one delivery only").hint("name its id"));
    }
    if request.body.as_ref().is_some_and(|body| body.len() > EDIT_MAX) {
        return Err(wrong(format!("the edited body is larger than {} MiB", EDIT_MAX >> 20)));
    }
    if request.claim && request.to.is_none() {
        return Err(wrong("say which endpoint claims it, as FLOW/TRIGGER"));
    }
    let (ids, next) = match (&request.query, request.ids.as_slice()) {
        (_, [_, ..]) => (read_ids(&request.ids)?, None),
        (Some(query), []) => {
            let query = query.clone();
            service.read(move |shared| chosen(shared, query)).await?
        }
        (None, []) => return Err(wrong("say which deliveries: their ids, or a filter")),
    };
    endpoint_of(service, &request)?;
    let mut rows = Vec::with_capacity(ids.len());
    let single = ids.len() == 1;
    for id in ids {
        let (inner, actor, request) = (service.clone(), actor.clone(), request.clone());
        let dry = request.dry_run;
        let work = async move {
            // Two claims of one delivery do not both find that nobody has claimed it.
            let _claiming = match request.claim && !dry {
                true => Some(inner.door.log.claiming().await),
                false => None,
            };
            let kept = inner.read(move |shared| find(shared, id)).await?;
            // Looked up for each: an endpoint may be closed while many go there.
            let to = endpoint_of(&inner, &request)?;
            one(&inner, &actor, &request, to, kept).await
        };
        let row = match dry {
            true => work.await,
            false => service.change(async move { Ok(work.await) }).await?,
        };
        if let (true, Err(error)) = (single, &row) {
            return Err(error.clone());
        }
        rows.push(row.unwrap_or_else(|error| RedeliveredRow {
            delivery: id,
            said: error.to_string(),
            refused: true,
            ..RedeliveredRow::default()
        }));
    }
    Ok(Redelivered { rows, next })
}

/// The endpoint that is named, if one is.
fn endpoint_of(service: &Service, request: &WebhookRedeliver) -> Result<Option<Arc<Target>>, WireError> {
    let of = |to: &str| {
        let (flow, trigger) = named(to);
        service.catalog.now().routes().of_flow(flow, trigger)
    };
    request.to.as_deref().map(of).transpose()
}

fn read_ids(texts: &[String]) -> Result<Vec<DeliveryId>, WireError> {
    if texts.len() > usize::try_from(REDELIVER_MAX).unwrap_or(usize::MAX) {
        return Err(wrong(format!("one call delivers {REDELIVER_MAX} again at most")));
    }
    texts.iter().map(|text| DeliveryId::read(text).map_err(|error| wrong(display(&error.to_string())))).collect()
}

/// The deliveries of a filter, in the order in which they came.
fn chosen(shared: &Shared, mut query: DeliveryQuery) -> Result<(Vec<DeliveryId>, Option<DeliveryId>), WireError> {
    let most = query.limit.clamp(1, REDELIVER_MAX);
    let (mut ids, mut next) = (Vec::new(), None);
    // Pages of a filter that finds little may be empty.
    for _ in 0..100 {
        let left = most.saturating_sub(u32::try_from(ids.len()).unwrap_or(most));
        if left == 0 {
            break;
        }
        query.limit = left;
        let page = page(shared, &Eyes::own(), &query)?;
        ids.extend(page.deliveries.iter().map(|row| row.id));
        next = page.next;
        query.before = page.next;
        if page.next.is_none() {
            break;
        }
    }
    ids.reverse();
    Ok((ids, next))
}

async fn one(
    service: &Service,
    actor: &Actor,
    request: &WebhookRedeliver,
    to: Option<Arc<Target>>,
    kept: Kept,
) -> Result<RedeliveredRow, WireError> {
    let id = kept.row.id;
    if kept.row.state == Some(EventState::Duplicate) {
        return Err(wrong(format!("{id} was a repeat, and of repeats no body is kept"))
            .hint("deliver the event again that it repeats"));
    }
    if !kept.whole && request.body.is_none() {
        return Err(wrong(format!("the body of {id} is not kept whole, so it cannot be delivered again"))
            .hint("ask the sender for it, or give a body with --body"));
    }
    if let Some((event, _)) = kept.refused.as_ref().and_then(|row| row.claimed).filter(|_| request.claim) {
        return Err(WireError::new(Code::Conflict, format!("{id} was claimed before, as {event}"))
            .hint("`aura webhook replay` delivers it once more"));
    }
    let target = match to {
        Some(target) => target,
        None if kept.row.flow.is_empty() => {
            return Err(wrong(format!("{id} came to no endpoint")).hint("say which one takes it: --to FLOW/TRIGGER"));
        }
        None => service.catalog.now().routes().of_flow(&kept.row.flow, Some(&kept.row.trigger))?,
    };
    let mut row = RedeliveredRow {
        delivery: id,
        flow: target.published.name.clone(),
        trigger: target.trigger_id.clone(),
        ..RedeliveredRow::default()
    };
    let looked = match again::look(service, &target, &kept, request).await {
        Ok(looked) => looked,
        Err((verdict, why)) => {
            (row.verdict, row.said, row.refused) = (verdict, format!("refused: {why}"), true);
            return Ok(row);
        }
    };
    row.verdict = looked.verdict;
    if request.dry_run {
        row.said = again::would(service, &target, &looked);
        return Ok(row);
    }
    let key = match request.claim {
        true => looked.delivery_id.clone().unwrap_or_else(|| format!("claim:{id}")),
        false => format!("again:{}:{id}", actor.request),
    };
    let ack = match again::hand_over(service, &target, looked, key, request.claim).await {
        Ok(ack) => ack,
        Err(why) => {
            (row.said, row.refused) = (format!("not taken: {why}"), true);
            return Ok(row);
        }
    };
    (row.event, row.run) = (Some(ack.event_id), ack.run_id);
    row.said = match ack.state {
        EventState::Started => "began a run".to_owned(),
        EventState::Queued => "became a run that waits for its turn".to_owned(),
        EventState::Held => "is held".to_owned(),
        EventState::Dropped => "was dropped: see `aura event show`".to_owned(),
        EventState::Duplicate => "was taken before: nothing new began".to_owned(),
    };
    if request.claim
        && let Some(refused) = kept.refused
    {
        claimed(service, RefusedRow { claimed: Some((ack.event_id, ack.run_id)), ..refused }).await?;
    }
    Ok(row)
}

/// Remembers as what a delivery was claimed.
async fn claimed(service: &Service, row: RefusedRow) -> Result<(), WireError> {
    let tenant = TenantId::DEFAULT;
    let key = delivery_key(tenant, row.id);
    let mut txn = Txn::new();
    txn.expect_present(Table::Deliveries, key.clone());
    service.store.put(&mut txn, tenant, Table::Deliveries, key, &row).map_err(|error| unreadable(&error))?;
    // It may have grown too old meanwhile; the event is there all the same.
    if let Err(error) = service.store.commit(txn).await {
        tracing::warn!(%error, "a claimed delivery could not be marked");
    }
    Ok(())
}
