//! Retention: finished runs go when their time is over, oldest first, and earlier when the quota fills.
//!
//! A run that has not finished (waiting, paused, in doubt) is never deleted. Runs lie in the order of their
//! creation, so for each length of retention a frontier moves over what is old enough; what it had to leave behind
//! is looked at again when it is due, and everything once a day. Nothing is kept in the store for this, and
//! nothing is written when nothing is due. Dedupe keys have a window of their own.

pub mod delete;
pub mod events;
mod frontier;
mod outgoing;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use aura_protocol::run::RunHead;
use aura_protocol::{FlowId, TenantId};
use aura_storage::rows::run_key;
use aura_storage::{Key, ReadError, Store, Table};
use tokio_util::sync::CancellationToken;

use crate::catalog::Catalog;
use crate::clock::Clock;
use delete::{DeleteError, Deletion};
use frontier::Frontiers;

/// Shortest and longest retention of a flow.
pub const LEAST_MS: i64 = 3_600_000;
/// How often what is due is looked for.
const EVERY: Duration = Duration::from_secs(60);
/// How often the quota is looked at.
const OFTEN: Duration = Duration::from_secs(2);
/// List rows read at a time.
const WINDOW: usize = 256;
/// A breath after each window.
const BREATH: Duration = Duration::from_millis(2);
/// Parts of the quota, in percent, between which the oldest finished runs go early.
const QUOTA_FROM: u64 = 90;
const QUOTA_TO: u64 = 80;
/// Ages that the quota spares as long as it can, oldest first, in milliseconds.
const SPARED: [i64; 3] = [24 * 3_600_000, 3_600_000, 0];

/// How long finished runs of each flow are kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// Unless a flow says otherwise, in milliseconds.
    pub usual_ms: i64,
    /// Flows that do.
    pub flows: BTreeMap<FlowId, i64>,
    /// The same by name, for events.
    pub names: BTreeMap<String, i64>,
}

impl Policy {
    /// What the published versions say now.
    #[must_use]
    pub fn of(catalog: &Catalog, usual_ms: i64) -> Self {
        let mut policy = Self { usual_ms, ..Self::default() };
        for entry in catalog.now().flows() {
            let said = entry.published.as_ref().and_then(|version| version.flow.retention);
            if let Some(span) = said {
                let kept = i64::try_from(span.ms).unwrap_or(i64::MAX).max(LEAST_MS);
                policy.flows.insert(entry.record.id, kept);
                policy.names.insert(entry.record.flow.clone(), kept);
            }
        }
        policy
    }

    /// How long finished runs of a flow are kept.
    #[must_use]
    pub fn of_flow(&self, flow: FlowId) -> i64 {
        self.flows.get(&flow).copied().unwrap_or(self.usual_ms)
    }

    /// Every length there is.
    fn lengths(&self) -> Vec<i64> {
        let mut lengths: Vec<i64> = self.flows.values().copied().chain([self.usual_ms]).collect();
        lengths.sort_unstable();
        lengths.dedup();
        lengths
    }
}

/// Deletes what is due. See the module.
pub struct Retention {
    /// The store.
    pub store: Store,
    /// Flows, for their retention.
    pub catalog: Catalog,
    /// Time.
    pub clock: Clock,
    /// How long finished runs are kept unless their flow says otherwise, in milliseconds.
    pub usual_ms: i64,
    /// Bytes that may be stored; 0: any number.
    pub quota: u64,
    /// How long messages to subscriptions and their sendings are kept, in milliseconds.
    pub outgoing_ms: i64,
    /// Told of each flow that is gone for good.
    pub gone: Box<dyn Fn(FlowId) + Send + Sync>,
}

impl Retention {
    /// Works until the daemon closes.
    pub async fn work(self, closing: CancellationToken) {
        let mut frontiers = Frontiers::default();
        let mut next = tokio::time::Instant::now() + EVERY / 2;
        loop {
            tokio::select! {
                () = closing.cancelled() => return,
                () = tokio::time::sleep(OFTEN) => {}
            }
            let due = tokio::time::Instant::now() >= next;
            // A restored store keeps everything until somebody looked at it.
            if self.store.paused().ok().flatten().is_some() {
                continue;
            }
            let work = async {
                if self.quota > 0 && self.store.stored() >= part(self.quota, QUOTA_FROM) {
                    self.shrink(part(self.quota, QUOTA_TO)).await?;
                }
                if due {
                    match self.catalog.empty_bin(TenantId::DEFAULT).await {
                        Ok(flows) => flows.into_iter().for_each(|flow| (self.gone)(flow)),
                        Err(error) => tracing::error!(%error, "the bin could not be emptied; it is tried again"),
                    }
                    self.sweep(&Policy::of(&self.catalog, self.usual_ms), &mut frontiers).await?;
                }
                Ok::<_, DeleteError>(())
            };
            let outcome = tokio::select! {
                () = closing.cancelled() => return,
                outcome = work => outcome,
            };
            if due {
                next = tokio::time::Instant::now() + EVERY;
            }
            match outcome {
                Ok(()) | Err(DeleteError::Commit(_)) => {}
                Err(error) => tracing::error!(%error, "retention could not go on; it is tried again"),
            }
        }
    }

    /// Deletes what is due now; how many runs.
    async fn sweep(&self, policy: &Policy, frontiers: &mut Frontiers) -> Result<u64, DeleteError> {
        let (tenant, now) = (TenantId::DEFAULT, self.clock.now_ms());
        frontiers.begin(policy, now);
        let mut deletion = Deletion::new(&self.store, tenant);
        for run in frontiers.due(now) {
            let key = run_key(tenant, run);
            match self.store.get::<RunHead>(tenant, Table::Runs, &key) {
                Ok(Some(head)) => self.judge(&head, policy, now, frontiers, &mut deletion).await?,
                Ok(None) => {}
                Err(error) => unreadable(&error),
            }
        }
        for kept in policy.lengths() {
            let to = created_at(tenant, now.saturating_sub(kept));
            loop {
                let from = frontiers.at(kept, tenant);
                let heads = self.window(&from, &to).await?;
                let Some((last, _)) = heads.last() else { break };
                let more = heads.len() == WINDOW;
                let reached = last.next();
                for (_, head) in &heads {
                    let head = match head {
                        Some(head) if policy.of_flow(head.flow_id) == kept => head,
                        _ => continue,
                    };
                    self.judge(head, policy, now, frontiers, &mut deletion).await?;
                }
                frontiers.reach(kept, reached);
                if !more {
                    break;
                }
                tokio::time::sleep(BREATH).await;
            }
        }
        let gone = deletion.finish().await?;
        let events = events::sweep(&self.store, tenant, policy, now).await?;
        let sendings = outgoing::sweep(&self.store, &self.catalog, self.outgoing_ms, now).await?;
        if gone + events + sendings > 0 {
            tracing::info!(runs = gone, events, sendings, "retention deleted what was over its time");
        }
        Ok(gone)
    }

    /// Deletes a run whose time is over; else remembers when to look again.
    async fn judge(
        &self,
        head: &RunHead,
        policy: &Policy,
        now: i64,
        frontiers: &mut Frontiers,
        deletion: &mut Deletion,
    ) -> Result<(), DeleteError> {
        let kept = policy.of_flow(head.flow_id);
        let due = match head.finished_ms {
            Some(finished) if head.state.is_final() => finished.saturating_add(kept),
            // It has not finished: looked at again in a while.
            _ => now.saturating_add(kept / 4).max(now + LEAST_MS),
        };
        if due > now {
            frontiers.later(due, head.run);
            return Ok(());
        }
        match deletion.take(head).await {
            Err(DeleteError::Read(error @ ReadError::Corrupt { .. })) => {
                unreadable(&error);
                Ok(())
            }
            Err(DeleteError::Live) => Ok(()),
            other => other,
        }
    }

    /// Deletes the oldest finished runs until no more than this is stored; if these do not suffice, the oldest messages
    /// to subscriptions that nobody waits for.
    async fn shrink(&self, to_bytes: u64) -> Result<u64, DeleteError> {
        let (tenant, now) = (TenantId::DEFAULT, self.clock.now_ms());
        let mut gone = 0;
        for spared in SPARED {
            let end = Key::tenant(tenant).after_prefix();
            let mut from = Key::tenant(tenant);
            while self.store.stored() > to_bytes {
                let heads = self.window(&from, &end).await?;
                let Some((last, _)) = heads.last() else { break };
                from = last.next();
                let more = heads.len() == WINDOW;
                let mut deletion = Deletion::new(&self.store, tenant);
                for head in heads.iter().filter_map(|(_, head)| head.as_ref()) {
                    let old = head.finished_ms.is_some_and(|finished| finished <= now.saturating_sub(spared));
                    if !(old && head.state.is_final()) {
                        continue;
                    }
                    match deletion.take(head).await {
                        Ok(()) | Err(DeleteError::Live) => {}
                        Err(DeleteError::Read(error @ ReadError::Corrupt { .. })) => unreadable(&error),
                        Err(error) => return Err(error),
                    }
                    // What is not committed yet is not counted yet: if it may be enough, it is looked at.
                    if self.store.stored().saturating_sub(deletion.waiting) <= to_bytes {
                        deletion.settle().await?;
                    }
                    if self.store.stored() <= to_bytes {
                        break;
                    }
                }
                gone += deletion.finish().await?;
                if !more {
                    break;
                }
                tokio::time::sleep(BREATH).await;
            }
        }
        let outgoing = outgoing::shrink(&self.store, &self.catalog, to_bytes).await?;
        if gone + outgoing > 0 {
            tracing::warn!(
                runs = gone,
                outgoing,
                stored = self.store.stored(),
                quota = self.quota,
                "the quota is nearly used up: the oldest finished runs, and then messages, were deleted early"
            );
        }
        Ok(gone)
    }

    /// List rows from a key on; one that cannot be read is left out and said.
    async fn window(&self, from: &Key, to: &Key) -> Result<Vec<(Key, Option<RunHead>)>, DeleteError> {
        let (store, from, to) = (self.store.clone(), from.clone(), to.clone());
        let read = tokio::task::spawn_blocking(move || window(&store, from, &to)).await;
        Ok(read.unwrap_or_else(|error| Err(ReadError::Io(error.to_string())))?)
    }
}

/// One window of list rows; a damaged one stands as `None`.
pub(crate) fn window(store: &Store, from: Key, to: &Key) -> Result<Vec<(Key, Option<RunHead>)>, ReadError> {
    let tenant = TenantId::DEFAULT;
    match store.scan::<RunHead>(tenant, Table::Runs, &from, to, WINDOW, false) {
        Ok(rows) => Ok(rows.into_iter().map(|(key, head)| (key, Some(head))).collect()),
        Err(error @ ReadError::Corrupt { .. }) => {
            unreadable(&error);
            // One by one past the damaged one.
            let mut rows = Vec::new();
            for key in store.keys(Table::Runs, &from, to, WINDOW)? {
                let head = store.get(tenant, Table::Runs, &key).unwrap_or_default();
                rows.push((key, head));
            }
            Ok(rows)
        }
        Err(error) => Err(error),
    }
}

fn unreadable(error: &ReadError) {
    tracing::error!(%error, "a row that may be due cannot be read and is kept; `aura doctor --deep` says more");
}

fn part(bytes: u64, percent: u64) -> u64 {
    (bytes / 100).saturating_mul(percent)
}

/// The key before every run created at this time or later: ids begin with their time.
fn created_at(tenant: TenantId, unix_ms: i64) -> Key {
    let first = aura_protocol::RunId::from_parts(u64::try_from(unix_ms).unwrap_or(0), &[0; 10]);
    let mut bytes = first.bytes();
    // Of an id of that time only the time itself counts.
    if let Some(rest) = bytes.get_mut(6..) {
        rest.fill(0);
    }
    Key::tenant(tenant).id(bytes)
}
