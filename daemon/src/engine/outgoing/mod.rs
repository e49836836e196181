//! Outgoing webhooks: messages to subscriptions of people outside, sent until their receivers take them.
//!
//! The invariant: a message and all its sendings are one commit with the step that emitted it, and a sending leaves
//! its line only in the commit that records what became of it; so nothing is lost, and a receiver may get a message
//! again, always under the same `webhook-id`. Waiting sendings lie in the store: memory holds a handful of names for
//! each subscription (`lanes`). `offer` makes messages, `send` attempts them, `judge` says what follows,
//! `again` is what people ask for.

pub mod again;
mod judge;
mod lanes;
mod offer;
mod send;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use aura_protocol::outgoing::Health;
use aura_protocol::{MessageId, SubscriptionId, TenantId};
use aura_storage::rows::outgoing::{DueRow, HealthRow, subscription_key, waiting_key};
use aura_storage::{Key, ReadError, Table, Txn};
use tokio::sync::Notify;

pub(crate) use self::offer::Offered;

use self::lanes::{Due, Lanes, Next, Page};
use super::driver::{Driver, EngineError, lock};
use super::{Engine, WireError};

/// A lane that cannot be read is read again after this time, in milliseconds.
const READ_AGAIN_MS: i64 = 1_000;

/// How outgoing webhooks are sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutgoingOptions {
    /// Attempts at the same time.
    pub most: usize,
    /// The same of one subscription.
    pub each: usize,
    /// A receiver must answer within this time.
    pub timeout: Duration,
    /// Waits between attempts, in milliseconds.
    pub waits_ms: Vec<i64>,
    /// A subscription whose receiver failed for so long is disabled, in milliseconds.
    pub disable_after_ms: i64,
    /// Messages and sendings are kept for so long, in milliseconds.
    pub kept_ms: i64,
}

impl Default for OutgoingOptions {
    fn default() -> Self {
        let waits = [5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400];
        Self {
            most: 256,
            each: 16,
            timeout: Duration::from_secs(20),
            waits_ms: waits.map(|seconds| seconds * 1000).to_vec(),
            disable_after_ms: 5 * 86_400_000,
            kept_ms: 30 * 86_400_000,
        }
    }
}

/// The driver's part: who is sent to now, and who when.
pub(crate) struct Outgoing {
    lanes: Mutex<Lanes>,
    /// Something may be to be sent.
    wake: Notify,
    /// One request of people to send again at a time: two would move the same rows.
    asked: tokio::sync::Mutex<()>,
}

impl Outgoing {
    pub fn new(options: &OutgoingOptions) -> Self {
        let lanes = Mutex::new(Lanes::new(options.most, options.each));
        Self { lanes, wake: Notify::new(), asked: tokio::sync::Mutex::new(()) }
    }

    /// Something came into these lanes.
    pub fn told(&self, subscriptions: &[SubscriptionId]) {
        if subscriptions.is_empty() {
            return;
        }
        let mut lanes = lock(&self.lanes);
        subscriptions.iter().for_each(|id| lanes.heat(*id));
        drop(lanes);
        self.wake.notify_one();
    }
}

/// The message that a key of a due row or a sending ends with.
fn message_at(key: &Key, offset: usize) -> Option<MessageId> {
    key.id_at(offset).map(MessageId::from_bytes)
}

/// The time that the key of a due row holds.
fn due_at(key: &Key) -> Option<i64> {
    key.number_at(32).and_then(|due| i64::try_from(due).ok())
}

impl Driver {
    /// Reads how subscriptions fare, and looks at each of them once.
    pub(crate) fn read_subscriptions(&self, tenant: TenantId) -> Result<(), EngineError> {
        let from = Key::tenant(tenant);
        let newest = self.deps.store.keys_back(Table::Messages, &from, &from.after_prefix(), 1)?;
        let mut lanes = lock(&self.sends.lanes);
        newest.iter().filter_map(|key| message_at(key, 16)).for_each(|message| lanes.made(message));
        // Those of the bin too: one that is restored fares as it did before.
        for id in self.deps.flows.subscription_ids(tenant) {
            let health = match self.health_row(tenant, id) {
                Ok(health) => health,
                Err(error @ ReadError::Corrupt { .. }) => {
                    tracing::error!(subscription = %id, %error, "how a subscription fared is lost");
                    HealthRow::default()
                }
                Err(error) => return Err(error.into()),
            };
            lanes.configure(id, self.deps.flows.subscription(tenant, id).as_deref());
            lanes.fares(id, health);
        }
        Ok(())
    }

    fn health_row(&self, tenant: TenantId, id: SubscriptionId) -> Result<HealthRow, ReadError> {
        let key = subscription_key(tenant, id);
        Ok(self.deps.store.get(tenant, Table::SubscriptionHealth, &key)?.unwrap_or_default())
    }

    /// Sends what is due, for ever.
    pub(crate) async fn outgoing(self: Arc<Self>) {
        let tenant = TenantId::DEFAULT;
        while !self.stopping.is_cancelled() {
            tokio::select! {
                () = self.stopping.cancelled() => return,
                () = self.may_start() => {}
            }
            let next_ms = self.begin_due(tenant);
            tokio::select! {
                () = self.stopping.cancelled() => return,
                () = self.sends.wake.notified() => {}
                () = self.deps.clock.wait_until(next_ms.unwrap_or(i64::MAX)) => {}
            }
        }
    }

    /// Begins everything that may be sent now; gives when to look next.
    fn begin_due(self: &Arc<Self>, tenant: TenantId) -> Option<i64> {
        loop {
            let now_ms = self.deps.clock.now_ms();
            // In a statement of its own: nobody holds the lanes while the store is read.
            let next = lock(&self.sends.lanes).next(now_ms);
            match next {
                Next::Send(id, due) => self.spawn_attempt(tenant, id, due),
                Next::Read { id, ordered, room } => {
                    let page = self.due_page(tenant, id, ordered, room, now_ms).unwrap_or_else(|error| {
                        tracing::error!(%error, "what waits for a subscription cannot be read; it is tried again");
                        Page { due: Vec::new(), next_ms: Some(now_ms.saturating_add(READ_AGAIN_MS)) }
                    });
                    lock(&self.sends.lanes).filled(id, page, now_ms);
                }
                Next::Nothing => return lock(&self.sends.lanes).next_ms(),
            }
        }
    }

    /// What waits in a lane.
    fn due_page(
        &self,
        tenant: TenantId,
        id: SubscriptionId,
        ordered: bool,
        room: usize,
        now_ms: i64,
    ) -> Result<Page, ReadError> {
        let from = subscription_key(tenant, id);
        let limit = if ordered { 1 } else { room };
        let rows =
            self.deps.store.scan::<DueRow>(tenant, Table::SendingsDue, &from, &from.after_prefix(), limit, false);
        let rows = match rows {
            Ok(rows) => rows.into_iter().map(|(key, row)| (key, row.next_ms)).collect::<Vec<_>>(),
            // A damaged row says nothing but its key, which holds the same time unless it is of an ordered lane; its
            // sending is looked at then.
            Err(ReadError::Corrupt { .. }) => {
                let keys = self.deps.store.keys(Table::SendingsDue, &from, &from.after_prefix(), limit)?;
                keys.into_iter().filter_map(|key| Some((due_at(&key)?, key))).map(|(at, key)| (key, at)).collect()
            }
            Err(error) => return Err(error),
        };
        let mut page = Page::default();
        for (key, next_ms) in rows {
            let (Some(due_ms), Some(message)) = (due_at(&key), message_at(&key, 40)) else { continue };
            if next_ms > now_ms {
                page.next_ms = Some(page.next_ms.map_or(next_ms, |next| next.min(next_ms)));
                // A row from when the lane went in order stands before those whose time is in their key.
                if due_ms == 0 && !ordered {
                    continue;
                }
                break;
            }
            page.due.push(Due { due_ms, message });
        }
        Ok(page)
    }

    /// A subscription was created, changed, enabled, deleted or restored.
    pub(crate) fn subscription_changed(&self, tenant: TenantId, id: SubscriptionId) {
        let record = self.deps.flows.subscription(tenant, id);
        lock(&self.sends.lanes).configure(id, record.as_deref());
        self.sends.wake.notify_one();
    }

    /// Forgets that the daemon disabled it, and since when it fails.
    pub(crate) async fn subscription_revived(&self, tenant: TenantId, id: SubscriptionId) -> Result<(), EngineError> {
        let permit = self.deps.store.reserve().await?;
        let receipt = {
            let mut lanes = lock(&self.sends.lanes);
            // Whatever memory says: a row that is left over would count again at the next start.
            let health = HealthRow { failing_since_ms: None, disabled: None, ..lanes.health(id) };
            let mut txn = Txn::new();
            self.deps.store.put(&mut txn, tenant, Table::SubscriptionHealth, subscription_key(tenant, id), &health)?;
            lanes.fares(id, health);
            permit.submit(txn)
        };
        receipt.committed().await?;
        Ok(())
    }

    /// How a subscription fares, as it is shown.
    pub(crate) fn fares(&self, tenant: TenantId, id: SubscriptionId) -> Result<Health, ReadError> {
        let waiting: Option<i64> = self.deps.store.get(tenant, Table::Counters, &waiting_key(tenant, id))?;
        let waiting = u64::try_from(waiting.unwrap_or(0)).unwrap_or(0);
        let lanes = lock(&self.sends.lanes);
        let health = lanes.health(id);
        Ok(Health {
            waiting,
            failing_since_ms: health.failing_since_ms,
            last_success_ms: health.last_success_ms,
            next_ms: lanes.looks_ms(id).filter(|_| waiting > 0),
            disabled: health.disabled,
        })
    }
}

impl Engine {
    /// A subscription was created, changed, enabled, deleted or restored.
    pub fn subscription_changed(&self, tenant: TenantId, id: SubscriptionId) {
        self.driver().subscription_changed(tenant, id);
    }

    /// A person enabled it: what the daemon held against it is forgotten.
    ///
    /// # Errors
    /// Not stored.
    pub async fn subscription_revived(&self, tenant: TenantId, id: SubscriptionId) -> Result<(), WireError> {
        self.driver().subscription_revived(tenant, id).await.map_err(WireError::from)
    }

    /// How a subscription fares.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn subscription_health(&self, tenant: TenantId, id: SubscriptionId) -> Result<Health, WireError> {
        self.driver().fares(tenant, id).map_err(|error| EngineError::from(error).into())
    }

    /// Whether an address may be sent to, as far as that is known before its name is resolved.
    ///
    /// # Errors
    /// A sentence that says why not.
    pub fn may_call(&self, url: &str) -> Result<(), String> {
        self.0.deps.http.may_call(url)
    }

    /// Attempts at work.
    #[must_use]
    pub fn sends_at_work(&self) -> usize {
        lock(&self.driver().sends.lanes).at_work()
    }
}
