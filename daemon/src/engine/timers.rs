//! The timer task and the start: what is due, and what was under way when the daemon stopped.
//!
//! The table of timers is the truth; the task keeps nothing in memory but when to look next.

use std::sync::Arc;

use aura_protocol::flow::OnExcess;
use aura_protocol::run::RunState as State;
use aura_protocol::{HeldId, RunId, TenantId};
use aura_storage::rows::{HeldRow, LiveRow, TimerRow};
use aura_storage::{Key, ReadError, Table, Txn};
use futures::StreamExt;

use super::core::{Input, Refused};
use super::driver::{Driver, EngineError, lock};
use super::gate::Entry;
use super::limits::{Rate, us};

/// Timers fired side by side.
const AT_ONCE: usize = 64;
/// Rows read at once.
const PAGE: usize = 256;

/// A timer whose owner claims it again at once.
const AGAIN_MS: i64 = 20;
/// A timer that could not fire.
const LATER_MS: i64 = 60_000;

/// What a look at the timers found.
#[derive(Default)]
struct Look {
    due: Vec<(Key, TimerRow)>,
    next: Option<i64>,
}

impl Look {
    fn soonest(&mut self, due: i64) {
        self.next = Some(self.next.map_or(due, |next| next.min(due)));
    }
}

fn due_of(key: &Key) -> i64 {
    key.number_at(0).and_then(|due| i64::try_from(due).ok()).unwrap_or(0)
}

/// Where a queued run stands in the order of acceptance.
fn turn_of(row: &LiveRow) -> i64 {
    if row.turn > 0 { row.turn } else { us(row.created_ms) }
}

fn from_hex(text: &str) -> Option<Key> {
    let pair = |at: usize| text.get(at..at + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok());
    (0..text.len()).step_by(2).map(pair).collect::<Option<Vec<u8>>>().map(Key)
}

impl Driver {
    /// Fires what is due, for ever.
    pub(crate) async fn timers(self: Arc<Self>) {
        while !self.stopping.is_cancelled() {
            tokio::select! {
                () = self.stopping.cancelled() => return,
                () = self.may_start() => {}
            }
            let next = match self.fire_due().await {
                Ok(next) => next,
                Err(error) => {
                    tracing::error!(%error, "timers could not be read");
                    Some(self.deps.clock.now_ms() + 1000)
                }
            };
            if next.is_none() {
                self.deps.clock.settle();
            }
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
        loop {
            let look = self.look()?;
            if look.due.is_empty() {
                return Ok(look.next);
            }
            futures::stream::iter(look.due).for_each_concurrent(AT_ONCE, |(key, row)| self.fire(key, row)).await;
        }
    }

    /// The first rows that are due, and when the next one is.
    fn look(&self) -> Result<Look, EngineError> {
        let now = self.deps.clock.now_ms();
        let (mut from, to) = (Key::new(), Key(vec![u8::MAX; 64]));
        let mut look = Look::default();
        loop {
            let page = self.deps.store.scan::<TimerRow>(TenantId::DEFAULT, Table::Timers, &from, &to, PAGE, false);
            let rows = match page {
                Ok(rows) => rows,
                // One damaged row must not stop the others: go on one by one, and past it.
                Err(ReadError::Corrupt { record, .. }) => {
                    tracing::error!(record, "a timer is damaged; `aura doctor --deep` says more");
                    let one = self.deps.store.scan(TenantId::DEFAULT, Table::Timers, &from, &to, 1, false);
                    match one {
                        Ok(rows) => rows,
                        Err(_) => {
                            let Some(damaged) = from_hex(&record).filter(|damaged| *damaged > from) else {
                                // No row, but the way to it: what is behind it cannot be read now.
                                look.soonest(now + LATER_MS);
                                return Ok(look);
                            };
                            from = damaged.next();
                            continue;
                        }
                    }
                }
                Err(error) => return Err(error.into()),
            };
            let Some((last, _)) = rows.last() else { return Ok(look) };
            from = last.next();
            for (key, row) in rows {
                let due = due_of(&key);
                let due = lock(&self.put_off).get(&key).copied().unwrap_or(due).max(due);
                if due_of(&key) > now {
                    look.soonest(due);
                    return Ok(look);
                }
                if due > now {
                    look.soonest(due);
                    continue;
                }
                look.due.push((key, row));
                if look.due.len() >= PAGE {
                    return Ok(look);
                }
            }
        }
    }

    async fn fire(self: &Arc<Self>, key: Key, row: TimerRow) {
        let (Some(tenant), Some(owner)) = (key.id_at(8), key.id_at(24)) else { return };
        let (tenant, now) = (TenantId::from_bytes(tenant), self.deps.clock.now_ms());
        let fired = match row {
            TimerRow::Run => self.transition(tenant, RunId::from_bytes(owner), Input::Due, Txn::new()).await.map(drop),
            TimerRow::Held => self.fire_held(tenant, HeldId::from_bytes(owner)).await,
        };
        let wait = match fired {
            // Still claimed: something else is due at the same moment, or an event is on its way.
            Ok(()) if self.claims(tenant, owner, row, due_of(&key)) => Some(AGAIN_MS),
            Ok(()) | Err(EngineError::Refused(Refused::Ended) | EngineError::NotFound(_)) => None,
            Err(error) => {
                tracing::error!(%error, "a timer could not fire; it is tried again in a minute");
                Some(LATER_MS)
            }
        };
        if let Some(wait) = wait {
            lock(&self.put_off).insert(key, now.saturating_add(wait));
            return;
        }
        lock(&self.put_off).remove(&key);
        let there = self.deps.store.get::<TimerRow>(tenant, Table::Timers, &key).is_ok_and(|row| row.is_some());
        if there {
            let mut txn = Txn::new();
            txn.delete(Table::Timers, key);
            let _ = self.deps.store.commit(txn).await;
        }
    }

    /// Whether the owner of a timer row still wants to be woken then.
    fn claims(&self, tenant: TenantId, owner: [u8; 16], row: TimerRow, due: i64) -> bool {
        match row {
            TimerRow::Run => {
                let key = aura_storage::rows::run_key(tenant, RunId::from_bytes(owner));
                let live = self.deps.store.get::<LiveRow>(tenant, Table::Live, &key);
                live.is_ok_and(|live| live.is_some_and(|live| live.due_ms == Some(due)))
            }
            TimerRow::Held => lock(&self.held).due_of(HeldId::from_bytes(owner)) == Some(due),
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
            from = last.next();
            for (key, row) in &page {
                let Some(run) = key.id_at(16).map(RunId::from_bytes) else { continue };
                self.count(None, Some(row.state));
                if row.slot.is_some() || row.rate.is_some() {
                    let entry = self.entry_again(tenant, row);
                    if row.state == State::Queued {
                        queued.push((turn_of(row), run, entry));
                    } else {
                        lock(&self.gate).held(&entry, run, self.now_us());
                    }
                }
                if matches!(row.state, State::Running | State::InDoubt | State::Paused) {
                    resume.push(run);
                }
            }
        }
        queued.sort_unstable_by_key(|(turn, run, _)| (*turn, *run));
        for (turn, run, entry) in queued {
            let mut gate = lock(&self.gate);
            gate.had_turn(turn);
            self.restore_rate(tenant, &entry, &mut gate);
            gate.queue(&entry, run, self.now_us());
        }
        let mut from = Key::tenant(tenant);
        loop {
            let page: Vec<(Key, HeldRow)> = self.deps.store.scan(tenant, Table::Held, &from, &to, PAGE, false)?;
            let Some((last, _)) = page.last() else { break };
            from = last.next();
            for (_, row) in page {
                lock(&self.held_back).had(row.held);
                match row.paused {
                    true => lock(&self.held_back).read(&row),
                    false => lock(&self.held).insert(row),
                }
            }
        }
        Ok(resume)
    }

    /// The limits of a run as its flow says them now.
    fn entry_again(&self, tenant: TenantId, row: &LiveRow) -> Entry {
        let flow = self.deps.flows.published(tenant, row.flow).map(|published| published.flow);
        let policy = flow.as_ref().and_then(|flow| flow.concurrency.as_ref());
        let rate = match row.throttle {
            Some((count, per_ms)) => Some(Rate { count, per_us: us(i64::try_from(per_ms).unwrap_or(i64::MAX)) }),
            None => flow.as_ref().and_then(|flow| flow.rate.as_ref()).map(Rate::from),
        };
        Entry {
            tenant,
            flow: row.flow,
            slot: row.slot.map(|slot| (slot, policy.map_or(1, |policy| policy.limit))),
            rate: row.rate.map(|key| (key, rate)),
            priority: row.priority,
            throttle: row.throttle.map(|_| OnExcess::Queue),
            of_schedule: policy.is_none(),
        }
    }

    /// Judges what was out, and makes calls that were not; `restored`: by somebody who may have gone on since.
    pub(crate) async fn recover(self: &Arc<Self>, tenant: TenantId, runs: Vec<RunId>, restored: bool) {
        let epoch = self.deps.store.epoch();
        futures::stream::iter(runs)
            .for_each_concurrent(AT_ONCE, |run| async move {
                if let Err(error) = self.transition(tenant, run, Input::Recover { epoch, restored }, Txn::new()).await {
                    tracing::error!(%run, %error, "a run could not be resumed");
                }
            })
            .await;
    }

    /// Delivers what waits in inboxes, gives free keys to who waits, and arms held rows.
    pub(crate) async fn go_on(self: &Arc<Self>, tenant: TenantId) -> Result<(), EngineError> {
        self.go_through_inbox(tenant).await?;
        self.pump_runs();
        // A kill between enabling a flow and arming its held rows must not leave them held for ever.
        for flow in self.unarmed() {
            self.rearm(tenant, flow).await?;
        }
        // Or between resuming it and starting what was held.
        for flow in lock(&self.held_back).flows() {
            if self.deps.flows.published(tenant, flow).is_some_and(|flow| flow.starts()) {
                self.start_held_back(tenant, flow);
            }
        }
        Ok(())
    }
}
