//! Groups of held events in memory: which group an event joins, and which of a key comes next. Pure.
//!
//! Invariant: an event is in exactly one group, and groups of one key start in the order in which they were opened. A
//! batch that is full takes no more: the next event opens another one.

use std::collections::{BTreeSet, HashMap};

use aura_protocol::event::{BATCH, BATCH_ENDED, BATCH_KEY, Delivery, EventRow};
use aura_protocol::flow::policies::BATCH_BYTES;
use aura_protocol::{FlowId, HeldId, Value};
use aura_storage::rows::{BatchRow, HeldRow};

use super::core::bugs::{Bug, has};
use super::core::state::ms;
use super::intake::{Gather, How};

/// Held groups in memory at most; one more is refused at the door.
pub const HELD_MAX: usize = 100_000;
/// Events of a group that are kept by id.
const EVENTS_MAX: usize = 1000;

/// What a group is found by.
type GroupKey = (FlowId, String, [u8; 16]);

/// All held rows, by id; of a key several may wait, the last of them may be open.
#[derive(Debug, Default)]
pub struct HeldRows {
    rows: HashMap<HeldId, HeldRow>,
    of_key: HashMap<GroupKey, BTreeSet<HeldId>>,
}

fn key_of(row: &HeldRow) -> GroupKey {
    (row.flow, row.trigger.clone(), row.hash)
}

/// What an event weighs in a batch.
fn weight(delivery: &Delivery) -> u64 {
    let headers: usize = delivery.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
    u64::try_from(delivery.body.len() + delivery.query.len() + headers).unwrap_or(u64::MAX)
}

impl HeldRows {
    /// Number of groups.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// All of them, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &HeldRow> {
        self.rows.values()
    }

    /// Puts a row in place.
    pub fn insert(&mut self, row: HeldRow) {
        self.of_key.entry(key_of(&row)).or_default().insert(row.held);
        self.rows.insert(row.held, row);
    }

    /// When a row fires.
    pub fn due_of(&self, held: HeldId) -> Option<i64> {
        self.get(held)?.due_ms
    }

    /// One of them.
    pub fn get(&self, held: HeldId) -> Option<&HeldRow> {
        self.rows.get(&held)
    }

    /// One of them, unless another one of its key was opened before it.
    pub fn first_of_its_key(&self, held: HeldId) -> Option<&HeldRow> {
        let row = self.get(held)?;
        let first = self.of_key.get(&key_of(row)).and_then(BTreeSet::first);
        (first == Some(&held)).then_some(row)
    }

    /// The group of the same key that comes before this one.
    pub fn ahead_of(&self, held: HeldId) -> Option<&HeldRow> {
        let first = self.of_key.get(&key_of(self.get(held)?))?.first()?;
        self.get(*first).filter(|row| row.held != held)
    }

    /// Takes one out.
    pub fn take(&mut self, held: HeldId) -> Option<HeldRow> {
        let row = self.rows.remove(&held)?;
        let key = key_of(&row);
        if let Some(ids) = self.of_key.get_mut(&key) {
            ids.remove(&held);
            if ids.is_empty() {
                self.of_key.remove(&key);
            }
        }
        Some(row)
    }

    /// All of a flow are gone with it.
    pub fn forget(&mut self, flow: FlowId) {
        self.rows.retain(|_, row| row.flow != flow);
        self.of_key.retain(|key, _| key.0 != flow);
    }

    /// The group of an event with it, not yet in place, and as it was before if it was there; `id` is that of a new
    /// one, later than all others.
    pub fn joined(
        &self,
        (flow, trigger): (FlowId, &str),
        gather: &Gather,
        delivery: &Delivery,
        id: impl FnOnce() -> HeldId,
    ) -> (Option<HeldRow>, HeldRow) {
        let now = delivery.received_ms;
        let last = self.of_key.get(&(flow, trigger.to_owned(), gather.hash)).and_then(BTreeSet::last);
        // Whose time is over starts in a moment: joining it again and again would put that off for ever.
        let takes = |row: &&HeldRow| {
            let batch = row.batch.as_ref();
            batch.is_none_or(|batch| (!batch.full || has(Bug::FullBatchGoesOn)) && batch.until_ms > now)
        };
        let before = last.and_then(|held| self.get(*held)).filter(takes).cloned();
        let mut row = before.clone().unwrap_or_else(|| HeldRow {
            held: id(),
            flow,
            trigger: trigger.to_owned(),
            hash: gather.hash,
            first_ms: now,
            due_ms: None,
            events: Vec::new(),
            events_more: 0,
            last: delivery.clone(),
            paused: false,
            batch: None,
        });
        if row.events.len() < EVENTS_MAX {
            row.events.push(delivery.event);
        } else {
            row.events_more += 1;
        }
        match &gather.how {
            How::Quiet(quiet, max) => {
                let quiet = now.saturating_add(ms(quiet.ms));
                let longest = max.map(|max| row.first_ms.saturating_add(ms(max.ms)));
                row.due_ms = Some(longest.map_or(quiet, |longest| quiet.min(longest)));
                row.last = delivery.clone();
            }
            How::Batch { key, max, within } => {
                let until_ms = row.first_ms.saturating_add(ms(within.ms));
                let batch =
                    row.batch.get_or_insert_with(|| BatchRow { key: key.clone(), until_ms, ..BatchRow::default() });
                batch.bytes = batch.bytes.saturating_add(weight(delivery));
                batch.full = row.events.len() >= *max || batch.bytes >= BATCH_BYTES;
                row.due_ms = Some(if batch.full { now } else { batch.until_ms });
                // The events themselves stand in rows of their own.
                row.last = Delivery { body: Vec::new(), headers: Vec::new(), ..delivery.clone() };
            }
        }
        (before, row)
    }
}

/// The delivery of a run of several events: all of them in the order in which they were accepted.
#[must_use]
pub fn delivery(row: &HeldRow, batch: &BatchRow, stored: &[EventRow]) -> Delivery {
    let found: HashMap<_, _> = stored.iter().map(|event| (event.event, event)).collect();
    let lost = |event: &aura_protocol::EventId| {
        let why = "this event is damaged in the store; `aura doctor --deep` says more";
        Value::object([("event", Value::from(event.to_string())), ("unreadable", Value::from(why))])
    };
    let mut events: Vec<Value> = row
        .events
        .iter()
        .map(|event| found.get(event).map_or_else(|| lost(event), |row| row.delivery.to_trigger()))
        .collect();
    if has(Bug::LastOfBatchIsLost) {
        events.pop();
    }
    let ended = match batch.full {
        true if batch.bytes >= BATCH_BYTES => "bytes",
        true => "full",
        false => "time",
    };
    Delivery {
        method: BATCH.to_owned(),
        query: String::new(),
        headers: vec![
            ("content-type".to_owned(), "application/json".to_owned()),
            (BATCH_KEY.to_owned(), batch.key.clone()),
            (BATCH_ENDED.to_owned(), ended.to_owned()),
        ],
        body: Value::List(events).to_json().into_bytes(),
        blob: None,
        ..row.last.clone()
    }
}

#[cfg(test)]
mod tests;
