//! Calls about deliveries: what came to endpoints, accepted or refused, as one list, and one of them as it came.
//!
//! Invariant: accepted deliveries are read from where their events stand (a run's journal, the events' rows, the repeats
//! in memory) and refused ones from their log; nothing is stored for this list. A page is whole down to its `next`.

mod find;
mod read;

use aura_protocol::event::{Delivery, EventState};
use aura_protocol::filter::{Columns, Filter};
use aura_protocol::flow::Reply;
use aura_protocol::rpc::{Actor, DeliveryDetail, DeliveryPage, DeliveryQuery, DeliveryRow, Verdict};
use aura_protocol::text::display;
use aura_protocol::{Code, DeliveryId, RunId, TenantId, Value, WireError};
use aura_storage::Store;
use aura_storage::rows::RefusedRow;

use crate::catalog::State;
use crate::catalog::routes::Proof;
use crate::http::meet::success;
use crate::rpc::eyes::Eyes;
use crate::rpc::{Service, Shared};

pub use find::{Kept, find};
pub(super) use read::{by_door, started};

/// Most rows of one page.
const PAGE_MAX: usize = 200;
/// Longest body that is shown.
const BODY_SHOWN: usize = 512 * 1024;

/// A page of deliveries.
///
/// # Errors
/// No such flow, a filter that is none, or the store cannot be read.
pub async fn list(service: &Service, actor: &Actor, query: DeliveryQuery) -> Result<DeliveryPage, WireError> {
    service.door.log.flush().await;
    let eyes = Eyes::of(actor);
    service.read(move |shared| page(shared, &eyes, &query)).await
}

/// What a list asks for.
pub(super) struct Wanted<'a> {
    pub query: &'a DeliveryQuery,
    pub filter: Filter,
    pub state: std::sync::Arc<State>,
    pub limit: usize,
    pub now_ms: i64,
}

impl Wanted<'_> {
    /// Whether a flow and trigger are asked for.
    pub fn named(&self, flow: &str, trigger: &str) -> bool {
        self.query.flow.as_ref().is_none_or(|wanted| wanted == flow)
            && self.query.trigger.as_ref().is_none_or(|wanted| wanted == trigger)
    }

    /// Whether a delivery lies between the ends of the page.
    pub fn between(&self, id: DeliveryId) -> bool {
        self.query.before.is_none_or(|before| id < before) && self.query.after.is_none_or(|after| id > after)
    }

    /// Whether a row passes the filter; `whole` gives what was delivered.
    pub fn takes(&self, shared: &Shared, row: &DeliveryRow, whole: impl FnOnce() -> Delivery) -> bool {
        let entry = self.state.id_of(&row.flow).and_then(|id| self.state.entry(id));
        let labels = entry.and_then(|entry| entry.published.as_ref()).map(|version| &version.flow.labels);
        let why = format!("{} {}", row.verdict.word(), row.why);
        let columns = Columns {
            flow: &row.flow,
            trigger: &row.trigger,
            step: &row.from,
            id: row.id.to_string(),
            why: &why,
            created_ms: row.at_ms,
            labels,
            ..Columns::default()
        };
        if !self.filter.row(&columns, self.now_ms) {
            return false;
        }
        if !self.filter.needs_payload() {
            return true;
        }
        let mut value = whole().to_trigger();
        Eyes::anybody().value(&shared.store, &mut value);
        self.filter.payload(&|root| if root == "trigger" { value.clone() } else { Value::Null })
    }
}

/// Rows of one place, and down to where they are all that it has.
#[derive(Default)]
pub(super) struct Part {
    pub rows: Vec<DeliveryRow>,
    pub down_to: Option<DeliveryId>,
}

pub(super) fn page(shared: &Shared, eyes: &Eyes, query: &DeliveryQuery) -> Result<DeliveryPage, WireError> {
    let filter = Filter::read(query.filter.as_deref().unwrap_or_default()).map_err(|error| {
        WireError::new(Code::Invalid, error.to_string())
            .hint("write for example 'flow=cart since=1h error~digest trigger.body.id=42'")
    })?;
    let state = shared.catalog.now();
    if let Some(flow) = &query.flow {
        shared.catalog.flow_id(flow)?;
    }
    let limit = usize::try_from(query.limit).unwrap_or(PAGE_MAX).clamp(1, PAGE_MAX);
    let wanted = Wanted { query, filter, state, limit, now_ms: shared.clock.now_ms() };
    let mut parts = vec![read::refused(shared, &wanted)?];
    if !query.failed && !query.unclaimed {
        parts.push(read::repeats(shared, &wanted));
        parts.push(read::events(shared, &wanted)?);
        parts.push(read::runs(shared, &wanted)?);
    }
    let floor = parts.iter().filter_map(|part| part.down_to).max();
    let mut rows: Vec<DeliveryRow> = parts.into_iter().flat_map(|part| part.rows).collect();
    rows.retain(|row| floor.is_none_or(|floor| row.id >= floor));
    rows.sort_by_key(|row| std::cmp::Reverse(row.id));
    // A held event has a row of its own and may have begun a run as well.
    rows.dedup_by_key(|row| row.id);
    let next = if rows.len() > limit {
        rows.truncate(limit);
        rows.last().map(|row| row.id)
    } else {
        floor
    };
    for row in &mut rows {
        eyes.text(&shared.store, &mut row.why);
        eyes.text(&shared.store, &mut row.path);
    }
    Ok(DeliveryPage { deliveries: rows, next, unkept: shared.door.log.unkept() })
}

/// The row of an accepted delivery.
pub(super) fn accepted(
    shared: &Shared,
    state: &State,
    flow: &str,
    delivery: &Delivery,
    (event_state, run, why): (EventState, Option<RunId>, String),
) -> DeliveryRow {
    let target = state.routes().of_flow(flow, Some(&delivery.trigger)).ok();
    let came = delivery.came.clone().unwrap_or_default();
    let verdict = came.verdict.unwrap_or_else(|| {
        // Rows of before do not say it: what proves today stands for it.
        let open = target.as_ref().is_some_and(|target| target.proof == Proof::Open);
        match (came.old, open) {
            (true, _) => Verdict::ProvedBefore,
            (false, true) => Verdict::Open,
            (false, false) => Verdict::Proved,
        }
    });
    let answered = shared.door.log.answer_of(delivery.event);
    // Whoever waits for a reply of the flow hears what the flow says.
    let usual = target.filter(|target| {
        let trigger = target.published.flow.triggers.get(target.trigger);
        trigger.is_some_and(|trigger| trigger.reply == Reply::Ack)
    });
    let usual = usual.map(|target| if event_state == EventState::Duplicate { 200 } else { success(&target).as_u16() });
    let again = came.again.map(|of| format!("delivered again from {of}; ")).unwrap_or_default();
    let by = came.relay.as_ref().map(|name| format!("by the relay {name}; ")).unwrap_or_default();
    DeliveryRow {
        id: delivery.event.into(),
        at_ms: delivery.received_ms,
        flow: flow.to_owned(),
        trigger: delivery.trigger.clone(),
        method: delivery.method.clone(),
        path: String::new(),
        from: came.from,
        status: answered.map(|(status, _)| status).or(usual.filter(|_| came.again.is_none())),
        verdict,
        why: format!("{by}{again}{why}"),
        took_us: answered.map(|(_, took)| took),
        bytes: delivery.blob.map_or_else(|| u64::try_from(delivery.body.len()).unwrap_or(0), |blob| blob.bytes),
        event: Some(delivery.event),
        state: Some(event_state),
        run,
        relay: came.relay,
    }
}

/// The row of a refused one.
pub(super) fn refused(row: &RefusedRow) -> DeliveryRow {
    let claimed = row.claimed.map(|(event, _)| format!("; claimed as {event}")).unwrap_or_default();
    DeliveryRow {
        id: row.id,
        at_ms: row.at_ms,
        flow: row.name.clone(),
        trigger: row.trigger.clone(),
        method: row.method.clone(),
        path: row.path.clone(),
        from: row.from.clone(),
        status: Some(row.status),
        verdict: row.verdict,
        why: format!("{}{claimed}", row.why),
        took_us: Some(row.took_us),
        bytes: row.bytes,
        event: row.claimed.map(|(event, _)| event),
        state: None,
        run: row.claimed.and_then(|(_, run)| run),
        relay: None,
    }
}

/// Whether nobody has claimed a row that somebody could.
#[must_use]
pub fn unclaimed(row: &RefusedRow) -> bool {
    row.claimed.is_none() && row.verdict.claimable()
}

/// One delivery as it came.
///
/// # Errors
/// There is none of this id, or the store cannot be read.
pub async fn show(service: &Service, actor: &Actor, id: String) -> Result<DeliveryDetail, WireError> {
    service.door.log.flush().await;
    let eyes = Eyes::of(actor);
    service.read(move |shared| shown(shared, &eyes, &id)).await
}

fn shown(shared: &Shared, eyes: &Eyes, id: &str) -> Result<DeliveryDetail, WireError> {
    let id = DeliveryId::read(id).map_err(|error| WireError::new(Code::Invalid, display(&error.to_string())))?;
    let mut kept = find(shared, id)?;
    let findings = crate::rpc::redeliver::findings::of(shared, &kept);
    mask(&shared.store, eyes, &mut kept);
    let Kept { row, query, headers, withheld, mut body, whole, .. } = kept;
    let cut = !whole || body.len() > BODY_SHOWN;
    body.truncate(BODY_SHOWN);
    Ok(DeliveryDetail {
        advice: row.verdict.advice().to_owned(),
        row,
        query,
        headers,
        withheld: withheld.into_iter().map(|(name, _)| name).collect(),
        body,
        cut,
        findings,
    })
}

/// Takes out the links that are not for whoever looks: an address may be one, or hold one.
pub(super) fn mask(store: &Store, eyes: &Eyes, kept: &mut Kept) {
    eyes.bytes(store, &mut kept.body);
    let row = &mut kept.row;
    for text in [&mut row.why, &mut row.path, &mut row.from, &mut kept.query] {
        eyes.text(store, text);
    }
    kept.headers.iter_mut().for_each(|(_, value)| eyes.text(store, value));
}

/// The tenant of all this.
pub(super) const TENANT: TenantId = TenantId::DEFAULT;

#[cfg(test)]
mod tests {
    use aura_storage::StoreOptions;

    use super::*;
    use crate::engine::links;

    #[test]
    fn nothing_of_a_delivery_shows_a_link_to_whoever_it_is_not_for() {
        let store = Store::open(&StoreOptions::in_memory([7; 32])).unwrap();
        let link = links::made(&store);
        let token = link.rsplit('/').next().unwrap();
        let kept = || Kept {
            row: DeliveryRow { path: format!("/c/{token}"), why: link.clone(), ..DeliveryRow::default() },
            query: format!("to={token}"),
            headers: vec![("referer".to_owned(), link.clone())],
            body: link.clone().into_bytes(),
            ..Kept::default()
        };
        let mut shown = kept();
        mask(&store, &Eyes::anybody(), &mut shown);
        assert_eq!((shown.row.path.as_str(), shown.query.as_str()), ("/c/[link]", "to=[link]"));
        assert!(!format!("{shown:?}").contains(token), "{shown:?}");
        assert!(!String::from_utf8(shown.body).unwrap().contains(token));
        let mut shown = kept();
        mask(&store, &Eyes::own(), &mut shown);
        assert_eq!(shown.query, format!("to={token}"));
    }
}
