//! The timer task and the start: what is due, and what was under way when the daemon stopped.
//!
//! The table of timers is the truth; the task keeps nothing in memory but when to look next.

use std::sync::Arc;

use aura_protocol::run::RunState as State;
use aura_protocol::{HeldId, RunId, TenantId};
use aura_storage::rows::{HeldRow, InboxRow, LiveRow, TimerRow};
use aura_storage::{Key, Table, Txn};
use futures::StreamExt;

use super::core::{Input, Refused};
use super::driver::{Driver, EngineError, lock};

/// Timers fired side by side.
const AT_ONCE: usize = 64;
/// Rows read at once.
const PAGE: usize = 256;

impl Driver {
    /// Fires what is due, for ever.
    pub(crate) async fn timers(self: Arc<Self>) {
        while !self.stopping.is_cancelled() {
            let next = match self.fire_due().await {
                Ok(next) => next,
                Err(error) => {
                    tracing::error!(%error, "timers could not be read");
                    Some(self.deps.clock.now_ms() + 1000)
                }
            };
            let due = next.unwrap_or(i64::MAX);
            tokio::select! {
                () = self.stopping.cancelled() => return,
                () = self.wake.notified() => {}
                () = self.deps.clock.wait_until(due) => {}
            }
        }
    }

    /// Fires everything due now; gives the time of the next timer.
    async fn fire_due(self: &Arc<Self>) -> Result<Option<i64>, EngineError> {
        let everything = (Key::new(), Key(vec![u8::MAX; 64]));
        loop {
            let now = self.deps.clock.now_ms();
            let rows: Vec<(Key, TimerRow)> =
                self.deps.store.scan(TenantId::DEFAULT, Table::Timers, &everything.0, &everything.1, PAGE, false)?;
            let due_of = |key: &Key| key.number_at(0).and_then(|due| i64::try_from(due).ok()).unwrap_or(0);
            let next = rows.first().map(|(key, _)| due_of(key));
            if next.is_none_or(|next| next > now) {
                return Ok(next);
            }
            let due = rows.into_iter().filter(|(key, _)| due_of(key) <= now);
            futures::stream::iter(due).for_each_concurrent(AT_ONCE, |(key, row)| self.fire(key, row)).await;
        }
    }

    async fn fire(self: &Arc<Self>, key: Key, row: TimerRow) {
        let (Some(tenant), Some(owner)) = (key.id_at(8), key.id_at(24)) else { return };
        let tenant = TenantId::from_bytes(tenant);
        let fired = match row {
            TimerRow::Run => self.transition(tenant, RunId::from_bytes(owner), Input::Due, Txn::new()).await.map(drop),
            TimerRow::Held => self.fire_held(tenant, HeldId::from_bytes(owner)).await,
        };
        let stale = match fired {
            Ok(()) => self.deps.store.get::<TimerRow>(tenant, Table::Timers, &key).is_ok_and(|row| row.is_some()),
            Err(EngineError::Refused(Refused::Ended) | EngineError::NotFound(_)) => true,
            Err(error) => {
                tracing::error!(%error, "a timer could not fire");
                true
            }
        };
        // Nothing that is due may stay, or this would never end.
        if stale {
            let mut txn = Txn::new();
            txn.delete(Table::Timers, key);
            let _ = self.deps.store.commit(txn).await;
        }
    }

    /// Reads what lives: counts, concurrency keys, held rows; gives the runs that have calls to make or judge.
    pub(crate) fn read_live(&self, tenant: TenantId) -> Result<Vec<RunId>, EngineError> {
        let mut resume = Vec::new();
        let mut queued = Vec::new();
        let mut from = Key::tenant(tenant);
        let to = from.after_prefix();
        loop {
            let page: Vec<(Key, LiveRow)> = self.deps.store.scan(tenant, Table::Live, &from, &to, PAGE, false)?;
            let Some((last, _)) = page.last() else { break };
            from = Key(last.0.iter().copied().chain([0]).collect());
            for (key, row) in &page {
                let Some(run) = key.id_at(16).map(RunId::from_bytes) else { continue };
                self.count(None, Some(row.state));
                if let Some(slot) = row.slot {
                    let limit = self.limit_of(tenant, row);
                    if row.state == State::Queued {
                        queued.push((row.created_ms, run, row.flow, slot, limit));
                    } else {
                        lock(&self.gate).hold(row.flow, slot, limit, run);
                    }
                }
                if matches!(row.state, State::Running | State::InDoubt) {
                    resume.push(run);
                }
            }
        }
        queued.sort_unstable();
        for (_, run, flow, slot, limit) in queued {
            lock(&self.gate).queue(flow, slot, limit, run);
        }
        let mut from = Key::tenant(tenant);
        loop {
            let page: Vec<(Key, HeldRow)> = self.deps.store.scan(tenant, Table::Held, &from, &to, PAGE, false)?;
            let Some((last, _)) = page.last() else { break };
            from = Key(last.0.iter().copied().chain([0]).collect());
            page.into_iter().for_each(|(_, row)| lock(&self.held).insert(row));
        }
        Ok(resume)
    }

    fn limit_of(&self, tenant: TenantId, row: &LiveRow) -> u32 {
        let flow = self.deps.flows.published(tenant, row.flow);
        flow.and_then(|flow| flow.flow.concurrency.as_ref().map(|policy| policy.limit)).unwrap_or(1)
    }

    /// Resumes runs, delivers what waits in inboxes, and gives free keys to who waits.
    pub(crate) async fn resume(self: &Arc<Self>, tenant: TenantId, runs: Vec<RunId>) -> Result<(), EngineError> {
        let epoch = self.deps.store.epoch();
        futures::stream::iter(runs)
            .for_each_concurrent(AT_ONCE, |run| async move {
                if let Err(error) = self.transition(tenant, run, Input::Recover { epoch }, Txn::new()).await {
                    tracing::error!(%run, %error, "a run could not be resumed");
                }
            })
            .await;
        let from = Key::tenant(tenant);
        let inbox: Vec<(Key, InboxRow)> =
            self.deps.store.scan(tenant, Table::Inbox, &from, &from.after_prefix(), usize::MAX, false)?;
        for (key, InboxRow::Cancel { by, reason }) in inbox {
            let Some(run) = key.id_at(16).map(RunId::from_bytes) else { continue };
            let mut taken = Txn::new();
            taken.delete(Table::Inbox, key);
            self.spawn_transition(tenant, run, Input::Cancel { by, reason }, taken);
        }
        let next = lock(&self.gate).promote_all();
        for run in next {
            self.spawn_transition(tenant, run, Input::Unqueue, Txn::new());
        }
        Ok(())
    }
}
