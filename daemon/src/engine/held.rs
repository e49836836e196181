//! Held rows: events that wait for quiet (debounce) or for others (batch) before they become one run.
//!
//! Adding an event and moving the timer is one transaction; firing takes the row and creates the run in
//! one. The lock around [`super::groups::HeldRows`] is the intake lock: whoever decides about an event holds it.

use std::sync::Arc;

use aura_protocol::event::{Ack, Delivery, EventRow, EventState, timestamp};
use aura_protocol::{EventId, FlowId, HeldId, RunId, TenantId};
use aura_storage::rows::{HeldRow, TimerRow, timer_key};
use aura_storage::{Key, Receipt, Table, TailEntry, Txn};

use super::Published;
use super::core::plan::PlanTrigger;
use super::driver::{Driver, EngineError, lock};
use super::groups::{self, HeldRows};
use super::intake::{Creation, Gather, How};

/// A group whose run could not be created is tried again after this long.
const LATER_MS: i64 = 60_000;
/// Who waits for the group before it looks again at once if that one is due so soon.
const SOON_MS: i64 = 1_000;

/// What became of a group's events.
struct Told {
    state: EventState,
    reason: String,
    run: Option<RunId>,
}

pub(super) fn held_key(tenant: TenantId, held: HeldId) -> Key {
    Key::tenant(tenant).id(held.bytes())
}

/// The row of an event that is held.
pub(super) fn held_event(
    flow: &str,
    trigger: &str,
    delivery: &Delivery,
    reason: String,
    starts_at_ms: Option<i64>,
) -> EventRow {
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
        gather: &Gather,
        delivery: &Delivery,
        txn: &mut Txn,
    ) -> Result<Ack, EngineError> {
        let id = || lock(&self.held_back).next(delivery.received_ms);
        let (before, row) = rows.joined((of_flow.0, &trigger.id), gather, delivery, id);
        let (was_due, due) = (before.as_ref().and_then(|row| row.due_ms), row.due_ms.unwrap_or(i64::MAX));
        if let (Some(before), How::Quiet(..), Some(_)) = (&before, &gather.how, was_due) {
            // The event before this one no longer decides when the group fires, and says so.
            let reason = format!("goes with {}, which came later", delivery.event);
            let row = held_event(of_flow.1, &trigger.id, &before.last, reason, None);
            self.deps.store.put(txn, tenant, Table::Events, event_key(tenant, row.event), &row)?;
            txn.tell(TailEntry::Event(tenant, row.event));
        }
        self.write_held(tenant, &row, was_due, txn)?;
        let reason = match &gather.how {
            How::Quiet(..) => format!("waits for quiet until {}", timestamp(due)),
            How::Batch { .. } if row.batch.as_ref().is_some_and(|batch| batch.full) => {
                "made its batch full, which starts now".to_owned()
            }
            How::Batch { max, .. } => {
                let (count, until) = (row.events.len(), timestamp(due));
                format!("number {count} of a batch that starts with {max} events, or at {until}")
            }
        };
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
        let now = self.deps.clock.now_ms();
        let due = |row: &&HeldRow| row.due_ms.is_some_and(|due| due <= now);
        if self.waits_for_its_turn(tenant, held, now).await? {
            return Ok(());
        }
        // Batches of a key start in the order in which they were opened.
        let Some(seen) = lock(&self.held).first_of_its_key(held).filter(due).cloned() else { return Ok(()) };
        if seen.batch.is_some() {
            // Of a batch every event counts: those that are on their way to the store are there afterwards.
            self.deps.store.commit(Txn::new()).await?;
        }
        let stored = self.event_rows(tenant, &seen.events);
        let gathered = seen.batch.as_ref().map(|batch| groups::delivery(&seen, batch, &stored));
        let permit = self.deps.store.reserve().await?;
        let moment = self.moment();
        let (fired, told) = {
            let mut rows = lock(&self.held);
            // An event that came meanwhile has moved the timer, or comes with the next look.
            if rows.get(held) != Some(&seen) {
                return Ok(());
            }
            let Some(row) = rows.take(held) else { return Ok(()) };
            let mut txn = Txn::new();
            let published = self.deps.flows.published(tenant, row.flow).filter(Published::starts);
            let Some(flow) = published else {
                // Disabling and pausing hold: without a due time it waits until the flow starts runs again.
                self.put_back(tenant, &mut rows, row, None, &mut txn)?;
                let _ = permit.submit(txn);
                return Ok(());
            };
            txn.delete(Table::Held, held_key(tenant, held));
            if let Some(due) = row.due_ms {
                txn.delete(Table::Timers, timer_key(due, tenant, held.bytes()));
            }
            txn.tell(TailEntry::Held(tenant, held));
            let mut gate = lock(&self.gate);
            let created = self.plan(tenant, flow.id, &flow.version).and_then(|plan| {
                let delivery = gathered.unwrap_or_else(|| row.last.clone());
                let creation = Creation { delivery, ..Creation::of_held(tenant, flow, plan, &row) };
                self.create(creation, &moment, &mut gate, &mut txn)
            });
            let created = match created {
                Ok(created) => created,
                Err(error) => {
                    // It stays held and is tried again; nothing of what was prepared is written.
                    let mut later = Txn::new();
                    let again = moment.now_ms.saturating_add(LATER_MS);
                    self.put_back(tenant, &mut rows, row, Some(again), &mut later)?;
                    let _ = permit.submit(later);
                    return Err(error);
                }
            };
            let told = Told { state: created.ack.state, reason: created.reason.clone(), run: created.ack.run_id };
            for event in stored.iter().filter(|event| row.batch.is_some() || event.event != row.last.event) {
                self.tell_event(tenant, event, &told, &mut txn);
            }
            if row.batch.is_none() {
                // The last one may still be on its way to the store; it is in memory.
                let flow_name = stored.first().map_or_else(|| row.trigger.clone(), |event| event.flow.clone());
                let last = held_event(&flow_name, &row.trigger, &row.last, String::new(), None);
                self.tell_event(tenant, &last, &told, &mut txn);
            }
            (created.submit(permit, txn), told)
        };
        self.settle(tenant, fired).await?;
        self.tell_missed(tenant, &seen, &stored, &told).await
    }

    /// Whether another group of the same key comes first. If that one rests, or is put off, this one is so too.
    async fn waits_for_its_turn(&self, tenant: TenantId, held: HeldId, now: i64) -> Result<bool, EngineError> {
        let soon = |row: &HeldRow| row.due_ms.is_some_and(|due| due <= now.saturating_add(SOON_MS));
        match lock(&self.held).ahead_of(held) {
            None => return Ok(false),
            Some(first) if soon(first) => return Ok(true),
            Some(_) => {}
        }
        let permit = self.deps.store.reserve().await?;
        let mut rows = lock(&self.held);
        // Looked at again under the lock: who arms the rows of a flow that goes on does it after the flow does.
        let Some(first) = rows.ahead_of(held).filter(|row| !soon(row)).map(|row| (row.flow, row.due_ms)) else {
            return Ok(true);
        };
        let rests = !self.deps.flows.published(tenant, first.0).is_some_and(|flow| flow.starts());
        if (first.1.is_some() || rests)
            && let Some(row) = rows.take(held)
        {
            let mut txn = Txn::new();
            self.put_back(tenant, &mut rows, row, first.1, &mut txn)?;
            let _ = permit.submit(txn);
        }
        Ok(true)
    }

    /// Keeps a row held with another due time.
    fn put_back(
        &self,
        tenant: TenantId,
        rows: &mut HeldRows,
        row: HeldRow,
        due_ms: Option<i64>,
        txn: &mut Txn,
    ) -> Result<(), EngineError> {
        let before = row.due_ms;
        let row = HeldRow { due_ms, ..row };
        let written = self.write_held(tenant, &row, before, txn);
        rows.insert(row);
        written
    }

    /// The stored rows of events; one that cannot be read is left out, with a line in the log.
    fn event_rows(&self, tenant: TenantId, events: &[EventId]) -> Vec<EventRow> {
        let read = |event: &EventId| {
            let row = self.deps.store.get::<EventRow>(tenant, Table::Events, &event_key(tenant, *event));
            row.unwrap_or_else(|error| {
                tracing::error!(%event, %error, "a held event could not be read");
                None
            })
        };
        events.iter().filter_map(read).collect()
    }

    /// An event's row says what became of it.
    fn tell_event(&self, tenant: TenantId, event: &EventRow, told: &Told, txn: &mut Txn) {
        let row = EventRow {
            state: told.state,
            reason: told.reason.clone(),
            starts_at_ms: None,
            run: told.run,
            ..event.clone()
        };
        match self.deps.store.put(txn, tenant, Table::Events, event_key(tenant, row.event), &row) {
            Ok(()) => txn.tell(TailEntry::Event(tenant, row.event)),
            Err(error) => tracing::error!(event = %row.event, %error, "an event could not be told what became of it"),
        }
    }

    /// An event's row says what became of it: its state, why, and the run.
    pub(crate) fn tell_one(
        &self,
        tenant: TenantId,
        event: &EventRow,
        (state, reason, run): (EventState, String, Option<RunId>),
        txn: &mut Txn,
    ) {
        self.tell_event(tenant, event, &Told { state, reason, run }, txn);
    }

    /// Rows that were still on their way when the group fired are there now.
    async fn tell_missed(
        &self,
        tenant: TenantId,
        row: &HeldRow,
        stored: &[EventRow],
        told: &Told,
    ) -> Result<(), EngineError> {
        let missed = row
            .events
            .iter()
            .filter(|event| **event != row.last.event && !stored.iter().any(|stored| stored.event == **event));
        let missed: Vec<EventId> = missed.copied().collect();
        if missed.is_empty() {
            return Ok(());
        }
        let mut txn = Txn::new();
        for event in self.event_rows(tenant, &missed) {
            self.tell_event(tenant, &event, told, &mut txn);
        }
        self.deps.store.commit(txn).await?;
        Ok(())
    }

    /// Flows with held rows that no timer wakes.
    pub(crate) fn unarmed(&self) -> Vec<FlowId> {
        let rows = lock(&self.held);
        let flows = rows.iter().filter(|row| row.due_ms.is_none()).map(|row| row.flow);
        flows.collect::<std::collections::BTreeSet<_>>().into_iter().collect()
    }

    /// A flow was enabled or disabled: its held rows are armed or held back.
    pub(crate) async fn rearm(self: &Arc<Self>, tenant: TenantId, flow: FlowId) -> Result<(), EngineError> {
        let now = self.deps.clock.now_ms();
        // Judged anew for each row, under the lock: the flow may be switched again meanwhile.
        let enabled = || self.deps.flows.published(tenant, flow).is_some_and(|flow| flow.starts());
        let ids: Vec<HeldId> = {
            let rows = lock(&self.held);
            rows.iter().filter(|row| row.flow == flow).map(|row| row.held).collect()
        };
        for held in ids {
            let permit = self.deps.store.reserve().await?;
            let receipt: Option<Receipt> = {
                let mut rows = lock(&self.held);
                let enabled = enabled();
                let wrong = rows.get(held).is_some_and(|row| row.due_ms.is_some() != enabled);
                match wrong.then(|| rows.take(held)).flatten() {
                    None => None,
                    Some(row) => {
                        let mut txn = Txn::new();
                        // A batch whose time is not over goes on to collect.
                        let open = row.batch.as_ref().filter(|batch| !batch.full).map_or(now, |batch| batch.until_ms);
                        self.put_back(tenant, &mut rows, row, enabled.then_some(open.max(now)), &mut txn)?;
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
