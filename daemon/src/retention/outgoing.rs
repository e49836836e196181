//! Messages and sendings of outgoing webhooks go when their time is over, also those that wait; those of a subscription
//! that is gone for good go at once.
//!
//! Invariant: a due row goes with its sending, and its count with it.

use aura_protocol::{MessageId, SubscriptionId, TenantId};
use aura_storage::rows::outgoing::{SendingRow, due_key, subscription_key, waiting_key};
use aura_storage::{CommitError, Key, ReadError, Store, Table, Txn};

use super::delete::DeleteError;
use crate::catalog::Catalog;
use crate::engine::outgoing::again::first_at;

/// Rows of one transaction.
const ROWS: usize = 128;

/// Deletes what is due; how many sendings.
pub(super) async fn sweep(store: &Store, catalog: &Catalog, kept_ms: i64, now_ms: i64) -> Result<u64, DeleteError> {
    let tenant = TenantId::DEFAULT;
    let before = first_at(now_ms.saturating_sub(kept_ms));
    let mut gone = 0;
    for id in catalog.every_subscription() {
        gone += sendings(store, tenant, id, before).await?;
    }
    let from = Key::tenant(tenant);
    rows(store, Table::Messages, from.clone(), &from.id(before.bytes())).await?;
    for id in catalog.subscriptions_over() {
        gone += sendings(store, tenant, id, MessageId::from_bytes([255; 16])).await?;
        let prefix = subscription_key(tenant, id);
        // What is left had no sending of its own.
        rows(store, Table::SendingsDue, prefix.clone(), &prefix.after_prefix()).await?;
        let mut txn = Txn::new();
        txn.delete(Table::SubscriptionHealth, prefix);
        txn.delete(Table::Counters, waiting_key(tenant, id));
        store.commit_low(txn).await?;
        if let Err(error) = catalog.subscription_forget(tenant, id).await {
            tracing::error!(%error, "a subscription could not be forgotten; it is tried again");
        }
    }
    Ok(gone)
}

/// Sendings of messages before this one.
async fn sendings(store: &Store, tenant: TenantId, id: SubscriptionId, before: MessageId) -> Result<u64, DeleteError> {
    let prefix = subscription_key(tenant, id);
    let (mut from, to) = (prefix.clone(), prefix.id(before.bytes()));
    let mut gone = 0;
    loop {
        let keys = store.keys(Table::Sendings, &from, &to, ROWS)?;
        let Some(last) = keys.last() else { return Ok(gone) };
        from = last.next();
        let more = keys.len() == ROWS;
        let mut settled = Txn::new();
        for key in keys {
            let row: Option<SendingRow> = match store.get(tenant, Table::Sendings, &key) {
                Ok(row) => row,
                // It goes with the rest; if it had a due row the line finds that nothing belongs to it.
                Err(error @ ReadError::Corrupt { .. }) => {
                    super::unreadable(&error);
                    None
                }
                Err(error) => return Err(error.into()),
            };
            let message = key.id_at(32).map(MessageId::from_bytes);
            gone += 1;
            let Some((due_ms, message)) = row.and_then(|row| row.due_ms).zip(message) else {
                settled.delete(Table::Sendings, key);
                continue;
            };
            // Apart from the others: it may be sent, or moved, at this very moment.
            let due = due_key(tenant, id, due_ms, message);
            let mut txn = Txn::new();
            txn.expect_present(Table::SendingsDue, due.clone());
            txn.delete(Table::SendingsDue, due);
            txn.delete(Table::Sendings, key);
            txn.counters.push((waiting_key(tenant, id), -1));
            match store.commit_low(txn).await {
                Ok(_) => {}
                Err(CommitError::Conflict(_)) => gone -= 1,
                Err(error) => return Err(error.into()),
            }
        }
        if !settled.deletes.is_empty() {
            store.commit_low(settled).await?;
        }
        if !more {
            return Ok(gone);
        }
        tokio::time::sleep(super::BREATH).await;
    }
}

/// All rows of a stretch.
async fn rows(store: &Store, table: Table, mut from: Key, to: &Key) -> Result<(), DeleteError> {
    loop {
        let keys = store.keys(table, &from, to, ROWS)?;
        let Some(last) = keys.last() else { return Ok(()) };
        from = last.next();
        let more = keys.len() == ROWS;
        let mut txn = Txn::new();
        keys.into_iter().for_each(|key| txn.delete(table, key));
        store.commit_low(txn).await?;
        if !more {
            return Ok(());
        }
        tokio::time::sleep(super::BREATH).await;
    }
}
