//! Where runs that wait for an event and the events meet.
//!
//! Both sides write a row under the hash of their key and a note in the inbox that they are there, in the transaction
//! that makes them, and look for the other side after its commit: whoever comes second finds the first. The note goes
//! when that look has been taken, so a stop in between forgets nobody. An event goes to every run that waits for it
//! then; if none does it is kept for the next one.

use std::collections::hash_map::Entry;
use std::sync::Arc;

use aura_protocol::TenantId;
use aura_protocol::event::{Delivery, EventState};
use aura_protocol::run::{Awaited, Record};
use aura_storage::rows::{InboxRow, WaitRow, wait_key};
use aura_storage::{Key, Table, Txn};

use super::core::Input;
use super::driver::{Driver, EngineError, Live, lock};

/// An event that nobody waits for is kept so long.
pub(crate) const EARLY_MS: i64 = 7 * 24 * 3_600_000;
/// Rows under one hash that are looked at.
const ROWS_MAX: usize = 1000;

/// Hash of a key, and the owner of a row under it.
pub(crate) type Met = ([u8; 16], [u8; 16]);

impl Driver {
    /// What a key of an awaited event is found by.
    pub(crate) fn wait_hash(&self, tenant: TenantId, flow: [u8; 16], trigger: &str, key: &str) -> [u8; 16] {
        self.deps.store.index_hash(tenant, "wait", &[&flow, trigger.as_bytes(), key.as_bytes()])
    }

    fn note(&self, tenant: TenantId, hash: [u8; 16], owner: [u8; 16], txn: &mut Txn) -> Result<(), EngineError> {
        self.deps.store.put(txn, tenant, Table::Inbox, wait_key(tenant, hash, owner), &InboxRow::Meet { hash })?;
        Ok(())
    }

    /// The rows of the waits that these records begin; gives hash and owner of each.
    pub(crate) fn awaits(&self, live: &Live, records: &[Record], txn: &mut Txn) -> Result<Vec<Met>, EngineError> {
        let mut meets = Vec::new();
        let Some(started) = &live.state.started else { return Ok(meets) };
        for record in records {
            let Record::Awaiting { path, what: Awaited::Event { trigger, key }, until_ms } = record else { continue };
            let (run, tenant) = (live.state.run, live.tenant);
            let hash = self.wait_hash(tenant, started.flow_id.bytes(), trigger, key);
            let owner = self.deps.store.index_hash(tenant, "waiter", &[&run.bytes(), path.as_bytes()]);
            let row = WaitRow::Run { run, path: path.clone(), until_ms: until_ms.unwrap_or(i64::MAX) };
            self.deps.store.put(txn, tenant, Table::Waits, wait_key(tenant, hash, owner), &row)?;
            self.note(tenant, hash, owner, txn)?;
            meets.push((hash, owner));
        }
        Ok(meets)
    }

    /// The rows of an event that runs may wait for.
    pub(crate) fn keep_event(
        &self,
        tenant: TenantId,
        flow: &str,
        delivery: &Delivery,
        hashes: &[[u8; 16]],
        txn: &mut Txn,
    ) -> Result<(), EngineError> {
        let until_ms = delivery.received_ms.saturating_add(EARLY_MS);
        let owner = delivery.event.bytes();
        for hash in hashes {
            let row = WaitRow::Event { delivery: Box::new(delivery.clone()), flow: flow.to_owned(), until_ms };
            self.deps.store.put(txn, tenant, Table::Waits, wait_key(tenant, *hash, owner), &row)?;
            self.note(tenant, *hash, owner, txn)?;
        }
        let reason = "kept for the run that waits for it".to_owned();
        self.record_event(tenant, flow, delivery, (EventState::Held, None), reason, txn)
    }

    /// Looks for the other side, then takes the note away.
    pub(crate) fn spawn_meet(self: &Arc<Self>, tenant: TenantId, hash: [u8; 16], owner: [u8; 16]) {
        let driver = Arc::clone(self);
        self.tasks.spawn(async move {
            // Together with whoever looks there already: one more look behind that one is enough for both.
            match lock(&driver.meeting).entry(hash) {
                Entry::Occupied(mut at_work) => {
                    at_work.get_mut().push(owner);
                    return;
                }
                Entry::Vacant(free) => {
                    free.insert(vec![owner]);
                }
            }
            loop {
                let owners = {
                    let mut meeting = lock(&driver.meeting);
                    match meeting.get_mut(&hash).map(std::mem::take).filter(|owners| !owners.is_empty()) {
                        Some(owners) => owners,
                        None => {
                            meeting.remove(&hash);
                            return;
                        }
                    }
                };
                let met = driver.meet(tenant, hash).await;
                if let Err(error) = met {
                    if !matches!(error, EngineError::Commit(_)) {
                        tracing::error!(%error, "an event could not be given to the runs that wait for it");
                    }
                    lock(&driver.meeting).remove(&hash);
                    return;
                }
                let mut noted = Txn::new();
                owners.iter().for_each(|owner| noted.delete(Table::Inbox, wait_key(tenant, hash, *owner)));
                let _ = driver.deps.store.commit(noted).await;
            }
        });
    }

    /// Gives events to the runs that wait for them.
    async fn meet(self: &Arc<Self>, tenant: TenantId, hash: [u8; 16]) -> Result<(), EngineError> {
        let from = Key::tenant(tenant).id(hash);
        let rows: Vec<(Key, WaitRow)> =
            self.deps.store.scan(tenant, Table::Waits, &from, &from.after_prefix(), ROWS_MAX, false)?;
        let now = self.deps.clock.now_ms();
        let (mut waiting, mut events) = (Vec::new(), Vec::new());
        for (key, row) in rows {
            match row {
                WaitRow::Run { run, path, .. } => waiting.push((key, run, path)),
                WaitRow::Event { delivery, flow, until_ms } if until_ms > now => events.push((key, delivery, flow)),
                WaitRow::Event { .. } => {}
            }
        }
        events.sort_by_key(|(_, delivery, _)| (delivery.received_ms, delivery.event));
        for (event_at, delivery, flow) in events {
            let mut taken = false;
            for (run_at, run, path) in std::mem::take(&mut waiting) {
                let mut txn = Txn::new();
                txn.delete(Table::Waits, run_at.clone());
                txn.delete(Table::Waits, event_at.clone());
                let reason = format!("ended the wait of {path} in {run}");
                self.record_event(tenant, &flow, &delivery, (EventState::Started, Some(run)), reason, &mut txn)?;
                let by = delivery.event.to_string();
                let signal = Input::Signal { path, data: delivery.to_trigger(), by };
                match self.transition(tenant, run, signal, txn).await {
                    Ok(_) => taken = true,
                    // It does not wait any more.
                    Err(EngineError::Refused(_) | EngineError::NotFound(_)) => {
                        let mut stale = Txn::new();
                        stale.delete(Table::Waits, run_at);
                        self.deps.store.commit(stale).await?;
                    }
                    Err(error) => return Err(error),
                }
            }
            if taken {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Removes what waits no more and what nobody waited for; gives how many rows went.
    ///
    /// # Errors
    /// The store cannot be read or written.
    pub(crate) async fn sweep_waits(&self, tenant: TenantId) -> Result<usize, EngineError> {
        const PAGE: usize = 256;
        let (mut from, to) = (Key::tenant(tenant), Key::tenant(tenant).after_prefix());
        let mut gone = 0;
        loop {
            let page: Vec<(Key, WaitRow)> = self.deps.store.scan(tenant, Table::Waits, &from, &to, PAGE, false)?;
            let now = self.deps.clock.now_ms();
            let mut txn = Txn::new();
            for (key, row) in &page {
                match row {
                    WaitRow::Run { until_ms, .. } if *until_ms > now => continue,
                    WaitRow::Event { until_ms, .. } if *until_ms > now => continue,
                    WaitRow::Run { .. } => {}
                    WaitRow::Event { delivery, flow, .. } => {
                        let reason = "no run waited for it".to_owned();
                        self.record_event(tenant, flow, delivery, (EventState::Dropped, None), reason, &mut txn)?;
                    }
                }
                txn.delete(Table::Waits, key.clone());
            }
            gone += txn.deletes.len();
            if !txn.deletes.is_empty() {
                self.deps.store.commit(txn).await?;
            }
            match page.last() {
                Some((key, _)) if page.len() == PAGE => from = key.next(),
                _ => return Ok(gone),
            }
        }
    }
}
