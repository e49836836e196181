//! Rows of events that led to no run, or to one by a held row: they go as old runs do.
//!
//! A held event is never deleted, nor one whose run has not finished; an event of a run goes with its run.

use aura_protocol::event::{EventRow, EventState};
use aura_protocol::{RunId, TenantId};
use aura_storage::rows::run_key;
use aura_storage::{Key, ReadError, Store, Table, Txn};

use super::Policy;
use super::delete::DeleteError;

/// Rows read at a time: a stored body may have a MiB.
const WINDOW: usize = 16;
/// Rows looked at by one sweep; the next one goes on from the oldest again.
const LOOKED_AT: usize = 20_000;
/// Rows of one transaction.
const ROWS: usize = 128;

/// Deletes what is due; how many rows.
pub(super) async fn sweep(store: &Store, tenant: TenantId, policy: &Policy, now: i64) -> Result<u64, DeleteError> {
    let shortest = policy.lengths().first().copied().unwrap_or(policy.usual_ms);
    let end = super::created_at(tenant, now.saturating_sub(shortest));
    let mut from = Key::tenant(tenant);
    let (mut gone, mut txn) = (0, Txn::new());
    for _ in 0..LOOKED_AT / WINDOW {
        let rows: Vec<(Key, EventRow)> = match store.scan(tenant, Table::Events, &from, &end, WINDOW, false) {
            Ok(rows) => rows,
            // A damaged row stays for doctor to find; those before it were looked at.
            Err(error @ ReadError::Corrupt { .. }) => {
                super::unreadable(&error);
                break;
            }
            Err(error) => return Err(error.into()),
        };
        let more = rows.len() == WINDOW;
        if let Some((key, _)) = rows.last() {
            from = key.next();
        }
        for (key, row) in rows {
            let kept = policy.names.get(&row.flow).copied().unwrap_or(policy.usual_ms);
            let over = row.delivery.received_ms.saturating_add(kept) <= now;
            if over && row.state != EventState::Held && !alive(store, tenant, row.run)? {
                txn.delete(Table::Events, key);
                gone += 1;
            }
        }
        if txn.deletes.len() >= ROWS || (!more && !txn.deletes.is_empty()) {
            store.commit_low(std::mem::take(&mut txn)).await?;
        }
        if !more {
            return Ok(gone);
        }
        tokio::time::sleep(super::BREATH).await;
    }
    if !txn.deletes.is_empty() {
        store.commit_low(txn).await?;
    }
    Ok(gone)
}

fn alive(store: &Store, tenant: TenantId, run: Option<RunId>) -> Result<bool, ReadError> {
    let Some(run) = run else { return Ok(false) };
    let row: Option<aura_storage::rows::LiveRow> = store.get(tenant, Table::Live, &run_key(tenant, run))?;
    Ok(row.is_some())
}
