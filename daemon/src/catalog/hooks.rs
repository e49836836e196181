//! Changes to one endpoint without a new version of its flow: closed or open, another address.
//!
//! Invariant: they stand in the flow's row, so routes are rebuilt with them in the same commit, and a deleted flow that
//! is restored has them still.

use aura_protocol::rpc::Actor;
use aura_protocol::{Code, FlowId, WireError};
use aura_storage::rows::{FlowRecord, HookRecord};

use crate::catalog::edit::endpoint;
use crate::catalog::{Catalog, Entry};
use crate::engine::Published;

/// Addresses of one endpoint that go on at the same time, beside the one of now.
const BEFORE_MAX: usize = 4;

impl Catalog {
    /// The flow as it is published now, while the endpoint of this trigger is open.
    #[must_use]
    pub fn open_now(&self, flow: FlowId, trigger: &str) -> Option<Published> {
        let state = self.now();
        let entry = state.flows.get(&flow)?;
        let closed = entry.record.hooks.iter().any(|said| said.closed && said.trigger == trigger);
        entry.as_published().filter(|published| published.enabled && !closed)
    }

    /// Closes or opens an endpoint.
    ///
    /// # Errors
    /// No such flow, or not stored.
    pub async fn hook_close(&self, actor: &Actor, flow: &str, trigger: &str, closed: bool) -> Result<(), WireError> {
        self.hook_change(actor, flow, trigger, |record, at| {
            record.hooks.iter_mut().skip(at).take(1).for_each(|said| said.closed = closed);
            Ok(())
        })
        .await
    }

    /// Gives an endpoint a new address; the one of now goes on until then.
    ///
    /// # Errors
    /// No such flow, too many addresses that were promised to go on, or not stored.
    pub async fn hook_readdress(
        &self,
        actor: &Actor,
        flow: &str,
        trigger: &str,
        until_ms: i64,
    ) -> Result<(), WireError> {
        let now_ms = self.0.clock.now_ms();
        self.hook_change(actor, flow, trigger, |record, at| {
            let live = |said: &HookRecord| said.before.iter().filter(|(_, until_ms)| *until_ms > now_ms).count();
            if until_ms > now_ms && record.hooks.get(at).map_or(0, live) >= BEFORE_MAX {
                let message =
                    format!("{BEFORE_MAX} addresses before this one go on already, and none of them ends early");
                return Err(WireError::new(Code::Conflict, message)
                    .hint("wait until one of them ends, or rotate without an overlap: --keep 0s"));
            }
            let new = endpoint()?;
            let Some((_, name)) = record.endpoints.iter_mut().find(|(id, _)| id == trigger) else { return Ok(()) };
            let old = std::mem::replace(name, new);
            if let Some(said) = record.hooks.get_mut(at) {
                said.before.retain(|(_, until_ms)| *until_ms > now_ms);
                // One that is over already is remembered only for what its senders are told here.
                if said.before.len() < BEFORE_MAX {
                    said.before.push((old, until_ms));
                }
            }
            Ok(())
        })
        .await
    }

    async fn hook_change(
        &self,
        actor: &Actor,
        flow: &str,
        trigger: &str,
        change: impl FnOnce(&mut FlowRecord, usize) -> Result<(), WireError>,
    ) -> Result<(), WireError> {
        let _one = self.editing().await?;
        let state = self.now();
        let entry = state.flow(flow)?;
        let mut record = entry.record.clone();
        let at = record.hooks.iter().position(|said| said.trigger == trigger).unwrap_or_else(|| {
            record.hooks.push(HookRecord { trigger: trigger.to_owned(), ..HookRecord::default() });
            record.hooks.len() - 1
        });
        change(&mut record, at)?;
        record.hooks.retain(|said| said.closed || !said.before.is_empty());
        record.changed_ms = self.0.clock.now_ms();
        let published = entry.published.clone();
        self.commit_flow(actor.tenant, Entry::of(record, published), None, false).await.map(drop)
    }
}
