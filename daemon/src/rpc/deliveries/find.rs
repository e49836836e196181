//! One delivery by its id, wherever it stands.
//!
//! Invariant: found are the bytes as they came; a body that is not kept whole says so.

use aura_protocol::event::{Delivery, EventRow, EventState};
use aura_protocol::rpc::{DeliveryRow, Verdict};
use aura_protocol::run::RunHead;
use aura_protocol::{DeliveryId, EventId, RunId, WireError};
use aura_storage::rows::{RefusedRow, delivery_key, run_key};
use aura_storage::{Key, Table};

use super::read::{body_of, by_door, started, whole};
use super::{TENANT, accepted, refused};
use crate::catalog::unreadable;
use crate::rpc::Shared;

/// Runs looked at for the one that an event began.
const LOOKED_AT: usize = 50_000;
/// Runs read at a time.
const WINDOW: usize = 200;

/// A delivery with all that is known of it.
#[derive(Clone, Debug, Default)]
pub struct Kept {
    /// Its row.
    pub row: DeliveryRow,
    /// Query without `?`.
    pub query: String,
    /// The whole address as its sender wrote it; empty for an accepted one.
    pub url: String,
    /// Headers that are kept.
    pub headers: Vec<(String, String)>,
    /// Names of others with the index hashes of their values.
    pub withheld: Vec<(String, [u8; 16])>,
    /// The body.
    pub body: Vec<u8>,
    /// All of it.
    pub whole: bool,
    /// When it came, by the wall's clock.
    pub proof_ms: i64,
    /// It came by the door and was accepted: its own endpoint looked at its network and, as its row says, at its proof.
    pub accepted: bool,
    /// Its row in the log, if it was refused.
    pub refused: Option<RefusedRow>,
}

impl Kept {
    /// Whether the endpoint of this flow and trigger took it when it came.
    #[must_use]
    pub fn taken_by(&self, flow: &str, trigger: &str) -> bool {
        self.accepted && self.row.flow == flow && self.row.trigger == trigger
    }

    /// Whether it was proved to this flow and trigger when it came: what proves to one proves nothing to another.
    #[must_use]
    pub fn proved_to(&self, flow: &str, trigger: &str) -> bool {
        let proved = matches!(self.row.verdict, Verdict::Proved | Verdict::ProvedBefore);
        proved && self.taken_by(flow, trigger)
    }

    /// An accepted one, from its delivery.
    pub(in crate::rpc) fn of(
        shared: &Shared,
        flow: &str,
        delivery: Delivery,
        became: (EventState, Option<RunId>, String),
    ) -> Self {
        let row = accepted(shared, &shared.catalog.now(), flow, &delivery, became);
        let by_door = by_door(&delivery);
        let Delivery { query, headers, body, .. } = whole(shared, delivery);
        Self {
            proof_ms: row.at_ms,
            url: String::new(),
            withheld: Vec::new(),
            whole: true,
            accepted: by_door,
            refused: None,
            row,
            query,
            headers,
            body,
        }
    }
}

/// The delivery of an id.
///
/// # Errors
/// There is none, or the store cannot be read.
pub fn find(shared: &Shared, id: DeliveryId) -> Result<Kept, WireError> {
    let stored: Option<RefusedRow> =
        shared.store.get(TENANT, Table::Deliveries, &delivery_key(TENANT, id)).map_err(|error| unreadable(&error))?;
    if let Some(stored) = stored {
        return Ok(Kept {
            row: refused(&stored),
            query: stored.query.clone(),
            url: stored.url.clone(),
            headers: stored.headers.clone(),
            withheld: stored.withheld.clone(),
            body: body_of(shared, id),
            whole: stored.whole,
            proof_ms: stored.proof_ms,
            accepted: false,
            refused: Some(stored),
        });
    }
    let event = EventId(id.0);
    let key = Key::tenant(TENANT).id(id.bytes());
    let row: Option<EventRow> = shared.store.get(TENANT, Table::Events, &key).map_err(|error| unreadable(&error))?;
    let repeat = || shared.engine.repeats().rows().into_iter().find(|row| row.event == event);
    if let Some(row) = row.or_else(repeat) {
        let repeated = row.state == EventState::Duplicate;
        let kept = Kept::of(shared, &row.flow, row.delivery, (row.state, row.run, row.reason));
        return Ok(Kept { whole: !repeated, ..kept });
    }
    if let Some(head) = run_of(shared, event)?
        && let Some(started) = started(shared, head.run)?
    {
        let why = format!("became {}", head.run);
        return Ok(Kept::of(shared, &head.flow, started.event.clone(), (EventState::Started, Some(head.run), why)));
    }
    Err(WireError::not_found(format!("there is no delivery {id}"))
        .hint("`aura webhook deliveries` and `aura webhook unclaimed` list what is kept"))
}

/// The run that an event began: it was created soon after the event came.
fn run_of(shared: &Shared, event: EventId) -> Result<Option<RunHead>, WireError> {
    let mut from = run_key(TENANT, RunId::from_bytes(event.bytes()));
    // Ids of the same millisecond are in no order.
    from.0.truncate(16 + 6);
    let to = Key::tenant(TENANT).after_prefix();
    for _ in 0..LOOKED_AT / WINDOW {
        let rows: Vec<(Key, RunHead)> =
            shared.store.scan(TENANT, Table::Runs, &from, &to, WINDOW, false).map_err(|error| unreadable(&error))?;
        let (more, last) = (rows.len() == WINDOW, rows.last().map(|(key, _)| key.next()));
        // A replay has the event of the run that it goes on from.
        if let Some((_, head)) = rows.into_iter().find(|(_, head)| head.event == event && head.origin.is_none()) {
            return Ok(Some(head));
        }
        match last {
            Some(next) if more => from = next,
            _ => break,
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delivery_is_proved_to_the_endpoint_that_took_it_and_to_no_other() {
        let kept = |accepted, verdict| {
            let row = DeliveryRow { flow: "shop".into(), trigger: "in".into(), verdict, ..DeliveryRow::default() };
            Kept { accepted, row, ..Kept::default() }
        };
        let check = |kept: Kept, flow: &str, trigger: &str, taken: bool, proved: bool| {
            assert_eq!((kept.taken_by(flow, trigger), kept.proved_to(flow, trigger)), (taken, proved), "{kept:?}");
        };
        check(kept(true, Verdict::Proved), "shop", "in", true, true);
        check(kept(true, Verdict::ProvedBefore), "shop", "in", true, true);
        check(kept(true, Verdict::Proved), "bank", "in", false, false);
        check(kept(true, Verdict::Proved), "shop", "other", false, false);
        check(kept(true, Verdict::Open), "shop", "in", true, false);
        check(kept(true, Verdict::Digest), "shop", "in", true, false);
        check(kept(false, Verdict::Proved), "shop", "in", false, false);
    }
}
