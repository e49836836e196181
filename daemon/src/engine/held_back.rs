//! What comes for a paused flow, and what a source read for one that is off: each event is held in a row of its own, and
//! they start in the order in which they came once the flow goes on.
//!
//! Invariant: an event never overtakes one that was accepted before it. While rows of a flow are left, also after it was
//! resumed, what comes is held behind them; the last row and the look that finds none are under the intake lock. In
//! memory is only how many there are.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use aura_protocol::event::{Ack, Delivery, EventState};
use aura_protocol::{FlowId, HeldId, TenantId};
use aura_storage::rows::HeldRow;
use aura_storage::{Key, Table, TailEntry, Txn};

use super::Published;
use super::driver::{Driver, EngineError, lock};
use super::held::{held_event, held_key};
use super::intake::Creation;

/// Events held for paused flows at most; one more is told to come back.
pub const HELD_BACK_MAX: u64 = 1_000_000;
/// Rows read at a time.
const PAGE: usize = 64;
/// What could not be started is tried again after this long.
const LATER: Duration = Duration::from_secs(30);
/// How long a start waits for room before it is tried again.
const AGAIN: Duration = Duration::from_millis(500);

/// How many are held for which flow.
#[derive(Debug, Default)]
pub struct HeldBack {
    counts: HashMap<FlowId, u64>,
    /// Flows whose rows are being started.
    starting: HashSet<FlowId>,
    last: u128,
}

impl HeldBack {
    /// How many are held for a flow.
    #[must_use]
    pub fn of(&self, flow: FlowId) -> u64 {
        self.counts.get(&flow).copied().unwrap_or(0)
    }

    /// How many are held for all flows.
    #[must_use]
    pub fn all(&self) -> u64 {
        self.counts.values().sum()
    }

    /// A row that is stored.
    pub fn read(&mut self, row: &HeldRow) {
        self.came(row.flow);
    }

    /// An id that is in use.
    pub fn had(&mut self, held: HeldId) {
        self.last = self.last.max(u128::from_be_bytes(held.bytes()));
    }

    /// Flows that have some.
    #[must_use]
    pub fn flows(&self) -> Vec<FlowId> {
        self.counts.keys().copied().collect()
    }

    /// An id behind all others.
    pub fn next(&mut self, now_ms: i64) -> HeldId {
        let now = u128::try_from(now_ms).unwrap_or(0) << 80;
        self.last = now.max(self.last.saturating_add(1));
        HeldId::from_bytes(self.last.to_be_bytes())
    }

    /// Its rows are gone with their flow.
    pub fn forget(&mut self, flow: FlowId) {
        self.counts.remove(&flow);
    }

    fn came(&mut self, flow: FlowId) {
        *self.counts.entry(flow).or_default() += 1;
    }

    fn gone(&mut self, flow: FlowId) {
        if let Some(count) = self.counts.get_mut(&flow) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.counts.remove(&flow);
            }
        }
    }
}

impl Driver {
    /// Whether an event of a flow has to wait behind others, as things stand now: since its delivery was read somebody
    /// may have paused or resumed the flow. Of a flow that is off only what a source read comes so far.
    pub(crate) fn holds_back(&self, tenant: TenantId, flow: &Published) -> bool {
        let is_off = || !self.deps.flows.published(tenant, flow.id).is_some_and(|now| now.enabled);
        self.deps.flows.is_paused(tenant, flow.id).unwrap_or(flow.paused)
            || (!flow.enabled && is_off())
            || lock(&self.held_back).of(flow.id) > 0
    }

    /// Holds an event of a paused flow; none: there are too many. The caller holds the intake lock.
    pub(crate) fn hold_back(
        &self,
        tenant: TenantId,
        flow: &Published,
        trigger: &str,
        delivery: &Delivery,
        txn: &mut Txn,
    ) -> Result<Option<Ack>, EngineError> {
        let held = {
            let mut held_back = lock(&self.held_back);
            if held_back.all() >= HELD_BACK_MAX {
                return Ok(None);
            }
            held_back.next(delivery.received_ms)
        };
        let row = HeldRow {
            held,
            flow: flow.id,
            trigger: trigger.to_owned(),
            hash: [0; 16],
            first_ms: delivery.received_ms,
            due_ms: None,
            events: vec![delivery.event],
            events_more: 0,
            last: delivery.clone(),
            paused: true,
            batch: None,
        };
        self.deps.store.put(txn, tenant, Table::Held, held_key(tenant, held), &row)?;
        txn.tell(TailEntry::Held(tenant, held));
        let reason = (EventState::Held, None);
        let why = if flow.enabled { "its flow is paused" } else { "its flow is off" };
        self.record_event(tenant, &flow.name, delivery, reason, why.to_owned(), txn)?;
        // Last: what is counted is stored, or everything behind it would wait for ever.
        lock(&self.held_back).came(flow.id);
        Ok(Some(Ack { event_id: delivery.event, run_id: None, state: EventState::Held, starts_at: None }))
    }

    /// Starts what is held for a flow that goes on, if nobody does so yet.
    pub(crate) fn start_held_back(self: &Arc<Self>, tenant: TenantId, flow: FlowId) {
        {
            let mut held_back = lock(&self.held_back);
            if held_back.of(flow) == 0 || !held_back.starting.insert(flow) {
                return;
            }
        }
        let driver = Arc::clone(self);
        self.tasks.spawn(async move {
            if let Err(error) = driver.start_all(tenant, flow).await {
                if !matches!(error, EngineError::Commit(_)) {
                    tracing::error!(%error, "events of a flow that was resumed could not be started; tried again soon");
                }
                tokio::select! {
                    () = driver.stopping.cancelled() => {}
                    () = driver.retired.cancelled() => {}
                    () = tokio::time::sleep(LATER) => {}
                }
            }
            lock(&driver.held_back).starting.remove(&flow);
            // Resumed again just before the look that found it paused.
            let over = driver.stopping.is_cancelled() || driver.retired.is_cancelled();
            if driver.goes_on(tenant, flow).is_some() && !over {
                driver.start_held_back(tenant, flow);
            }
        });
    }

    /// The flow, if its events start runs now.
    pub(crate) fn goes_on(&self, tenant: TenantId, flow: FlowId) -> Option<Published> {
        self.deps.flows.published(tenant, flow).filter(Published::starts)
    }

    async fn start_all(self: &Arc<Self>, tenant: TenantId, flow: FlowId) -> Result<(), EngineError> {
        let (mut from, to) = (Key::tenant(tenant), Key::tenant(tenant).after_prefix());
        while lock(&self.held_back).of(flow) > 0 {
            // What is on its way to the store is there afterwards.
            self.deps.store.commit(Txn::new()).await?;
            loop {
                let page: Vec<(Key, HeldRow)> = self.deps.store.scan(tenant, Table::Held, &from, &to, PAGE, false)?;
                let whole = page.len() < PAGE;
                for (key, row) in page {
                    if row.paused && row.flow == flow && !self.start_one(tenant, row).await? {
                        return Ok(());
                    }
                    from = key.next();
                }
                if whole {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Starts one of them, as soon as there is room; false: its flow was paused again, or the daemon ends.
    async fn start_one(self: &Arc<Self>, tenant: TenantId, row: HeldRow) -> Result<bool, EngineError> {
        loop {
            tokio::select! {
                () = self.stopping.cancelled() => return Ok(false),
                () = self.may_start() => {}
            }
            let Some(flow) = self.goes_on(tenant, row.flow) else { return Ok(false) };
            let permit = self.deps.store.reserve().await?;
            let moment = self.moment();
            let plan = self.plan(tenant, flow.id, &flow.version)?;
            let created = {
                let _intake = lock(&self.held);
                let mut gate = lock(&self.gate);
                let mut txn = Txn::new();
                txn.delete(Table::Held, held_key(tenant, row.held));
                txn.tell(TailEntry::Held(tenant, row.held));
                let name = flow.name.clone();
                let creation = Creation::of_held(tenant, flow, plan, &row);
                match self.create(creation, &moment, &mut gate, &mut txn) {
                    Ok(created) => {
                        let event = held_event(&name, &row.trigger, &row.last, String::new(), None);
                        let told = (created.ack.state, created.reason.clone(), created.ack.run_id);
                        self.tell_one(tenant, &event, told, &mut txn);
                        let submitted = created.submit(permit, txn);
                        // Only now: who finds that none is left needs no lock and would overtake it.
                        lock(&self.held_back).gone(row.flow);
                        Some(submitted)
                    }
                    Err(EngineError::Full) => None,
                    Err(error) => return Err(error),
                }
            };
            match created {
                Some(submitted) => {
                    self.settle(tenant, submitted).await?;
                    return Ok(true);
                }
                // Too many wait behind its key: it stays held until there is room.
                None => {
                    let _ = tokio::time::timeout(AGAIN, self.stopping.cancelled()).await;
                }
            }
        }
    }
}
