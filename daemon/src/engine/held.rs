//! Held rows: events that wait for quiet (debounce) before they become one run.
//!
//! Adding an event and moving the timer is one transaction; firing takes the row and creates the run in
//! one. The lock around [`HeldRows`] is the intake lock: whoever decides about an event holds it.

use std::collections::HashMap;
use std::sync::Arc;

use aura_protocol::event::{Ack, Delivery, EventRow, EventState, timestamp};
use aura_protocol::{EventId, FlowId, HeldId, TenantId};
use aura_storage::rows::{HeldRow, TimerRow, timer_key};
use aura_storage::{Key, Receipt, Table, TailEntry, Txn};

use super::core::plan::PlanTrigger;
use super::core::state::ms;
use super::driver::{Driver, EngineError, lock};
use super::intake::{Creation, Debounced};

/// Held groups in memory at most; one more is refused at the door.
pub const HELD_MAX: usize = 100_000;
/// Events of a group that are kept by id.
const EVENTS_MAX: usize = 1000;

/// What a group is found by.
type GroupKey = (FlowId, String, [u8; 16]);

/// All held rows, by group and by id.
#[derive(Debug, Default)]
pub struct HeldRows {
    groups: HashMap<GroupKey, HeldRow>,
    by_id: HashMap<HeldId, GroupKey>,
}

impl HeldRows {
    /// Number of groups.
    #[must_use]
    pub fn len(&self) -> usize {
        self.groups.len()
    }

    /// Puts a row in place.
    pub fn insert(&mut self, row: HeldRow) {
        let key = (row.flow, row.trigger.clone(), row.hash);
        self.by_id.insert(row.held, key.clone());
        self.groups.insert(key, row);
    }

    fn get(&self, held: HeldId) -> Option<&HeldRow> {
        self.groups.get(self.by_id.get(&held)?)
    }

    fn take(&mut self, held: HeldId) -> Option<HeldRow> {
        self.groups.remove(&self.by_id.remove(&held)?)
    }
}

fn held_key(tenant: TenantId, held: HeldId) -> Key {
    Key::tenant(tenant).id(held.bytes())
}

/// The row of an event that is held.
fn held_event(flow: &str, trigger: &str, delivery: &Delivery, reason: String, starts_at_ms: Option<i64>) -> EventRow {
    EventRow {
        event: delivery.event,
        flow: flow.to_owned(),
        trigger: trigger.to_owned(),
        state: EventState::Held,
        reason,
        starts_at_ms,
        run: None,
        delivery: delivery.clone(),
    }
}

/// Key of an event's own row.
pub(crate) fn event_key(tenant: TenantId, event: EventId) -> Key {
    Key::tenant(tenant).id(event.bytes())
}

impl Driver {
    /// Adds an event to its group. The caller holds the intake lock.
    #[expect(
        clippy::too_many_arguments,
        reason = "one decision needs all of them, and a struct for one caller hides it"
    )]
    pub(crate) fn hold_event(
        &self,
        rows: &mut HeldRows,
        tenant: TenantId,
        of_flow: (FlowId, &str),
        trigger: &PlanTrigger,
        debounced: &Debounced,
        delivery: &Delivery,
        txn: &mut Txn,
    ) -> Result<Ack, EngineError> {
        let now = delivery.received_ms;
        let key = (of_flow.0, trigger.id.clone(), debounced.hash);
        let mut row = rows.groups.get(&key).cloned().unwrap_or_else(|| HeldRow {
            held: HeldId::from_bytes(delivery.event.bytes()),
            flow: of_flow.0,
            trigger: trigger.id.clone(),
            hash: debounced.hash,
            first_ms: now,
            due_ms: None,
            events: Vec::new(),
            events_more: 0,
            last: delivery.clone(),
        });
        let before = row.due_ms;
        if before.is_some() {
            // The event before this one no longer decides when the group fires, and says so.
            let reason = format!("goes with {}, which came later", delivery.event);
            let row = held_event(of_flow.1, &trigger.id, &row.last, reason, None);
            self.deps.store.put(txn, tenant, Table::Events, event_key(tenant, row.event), &row)?;
            txn.tell(TailEntry::Event(tenant, row.event));
        }
        let quiet = now.saturating_add(ms(debounced.quiet.ms));
        let longest = debounced.max.map(|max| row.first_ms.saturating_add(ms(max.ms)));
        let due = longest.map_or(quiet, |longest| quiet.min(longest));
        if row.events.len() < EVENTS_MAX {
            row.events.push(delivery.event);
        } else {
            row.events_more += 1;
        }
        row.last = delivery.clone();
        row.due_ms = Some(due);
        self.write_held(tenant, &row, before, txn)?;
        let reason = format!("waits for quiet until {}", timestamp(due));
        let event = held_event(of_flow.1, &trigger.id, delivery, reason, Some(due));
        self.deps.store.put(txn, tenant, Table::Events, event_key(tenant, delivery.event), &event)?;
        txn.tell(TailEntry::Event(tenant, delivery.event));
        rows.insert(row);
        Ok(Ack { event_id: delivery.event, run_id: None, state: EventState::Held, starts_at: Some(timestamp(due)) })
    }

    fn write_held(
        &self,
        tenant: TenantId,
        row: &HeldRow,
        before: Option<i64>,
        txn: &mut Txn,
    ) -> Result<(), EngineError> {
        let store = &self.deps.store;
        if before != row.due_ms {
            if let Some(old) = before {
                txn.delete(Table::Timers, timer_key(old, tenant, row.held.bytes()));
            }
            if let Some(new) = row.due_ms {
                store.put(txn, tenant, Table::Timers, timer_key(new, tenant, row.held.bytes()), &TimerRow::Held)?;
            }
        }
        store.put(txn, tenant, Table::Held, held_key(tenant, row.held), row)?;
        txn.tell(TailEntry::Held(tenant, row.held));
        Ok(())
    }

    /// A held row's time has come: it becomes a run of the version published at this moment.
    pub(crate) async fn fire_held(self: &Arc<Self>, tenant: TenantId, held: HeldId) -> Result<(), EngineError> {
        let permit = self.deps.store.reserve().await?;
        let moment = self.moment();
        let fired = {
            let mut rows = lock(&self.held);
            let due = rows.get(held).and_then(|row| row.due_ms).is_some_and(|due| due <= moment.now_ms);
            if !due {
                return Ok(());
            }
            let Some(row) = rows.take(held) else { return Ok(()) };
            let mut txn = Txn::new();
            let published = self.deps.flows.published(tenant, row.flow).filter(|flow| flow.enabled);
            let Some(flow) = published else {
                // Disabling holds: without a due time it waits until the flow takes events again.
                let before = row.due_ms;
                let row = HeldRow { due_ms: None, ..row };
                self.write_held(tenant, &row, before, &mut txn)?;
                rows.insert(row);
                let _ = permit.submit(txn);
                return Ok(());
            };
            txn.delete(Table::Held, held_key(tenant, held));
            if let Some(due) = row.due_ms {
                txn.delete(Table::Timers, timer_key(due, tenant, held.bytes()));
            }
            txn.tell(TailEntry::Held(tenant, held));
            let plan = match self.plan(tenant, flow.id, &flow.version) {
                Ok(plan) => plan,
                Err(error) => {
                    rows.insert(row);
                    return Err(error);
                }
            };
            let creation = Creation {
                tenant,
                flow,
                plan,
                trigger: row.trigger.clone(),
                delivery: row.last.clone(),
                events: row.events.clone(),
                events_more: row.events_more,
                refused: None,
                input: aura_protocol::Value::Null,
                by_hand: false,
                run: None,
            };
            let created = self.create(creation, &moment, &mut txn)?;
            self.tell_events(tenant, &row, &created.ack, &created.reason, &mut txn)?;
            created.submit(permit, txn)
        };
        self.settle(tenant, fired).await.map(drop)
    }

    /// The rows of a group's events say what became of them.
    fn tell_events(
        &self,
        tenant: TenantId,
        row: &HeldRow,
        ack: &Ack,
        reason: &str,
        txn: &mut Txn,
    ) -> Result<(), EngineError> {
        let store = &self.deps.store;
        for event in &row.events {
            let key = event_key(tenant, *event);
            let Some(stored) = store.get::<EventRow>(tenant, Table::Events, &key)? else { continue };
            let told =
                EventRow { state: ack.state, reason: reason.to_owned(), starts_at_ms: None, run: ack.run_id, ..stored };
            store.put(txn, tenant, Table::Events, key, &told)?;
            txn.tell(TailEntry::Event(tenant, *event));
        }
        Ok(())
    }

    /// A flow was enabled or disabled: its held rows are armed or held back.
    pub(crate) async fn rearm(self: &Arc<Self>, tenant: TenantId, flow: FlowId) -> Result<(), EngineError> {
        let enabled = self.deps.flows.published(tenant, flow).is_some_and(|flow| flow.enabled);
        let now = self.deps.clock.now_ms();
        let ids: Vec<HeldId> = {
            let rows = lock(&self.held);
            let of_this = rows.groups.values().filter(|row| row.flow == flow && row.due_ms.is_some() != enabled);
            of_this.map(|row| row.held).collect()
        };
        for held in ids {
            let permit = self.deps.store.reserve().await?;
            let receipt: Option<Receipt> = {
                let mut rows = lock(&self.held);
                match rows.take(held) {
                    None => None,
                    Some(row) => {
                        let before = row.due_ms;
                        let row = HeldRow { due_ms: enabled.then_some(now), ..row };
                        let mut txn = Txn::new();
                        self.write_held(tenant, &row, before, &mut txn)?;
                        rows.insert(row);
                        Some(permit.submit(txn))
                    }
                }
            };
            if let Some(receipt) = receipt {
                receipt.committed().await?;
            }
        }
        self.wake.notify_one();
        Ok(())
    }
}
