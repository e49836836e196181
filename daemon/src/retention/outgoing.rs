//! Messages and sendings of outgoing webhooks go when their time is over, also those that wait; those of a subscription
//! that is gone for good go at once; and what nobody waits for goes early when the quota fills.
//!
//! Invariant: a due row goes with its sending, and its count with it; a message that a sending waits for stays.

use std::collections::BTreeSet;

use aura_protocol::{MessageId, SubscriptionId, TenantId};
use aura_storage::rows::outgoing::{SendingRow, due_key, subscription_key, waiting_key};
use aura_storage::{CommitError, Key, ReadError, Store, Table, Txn};

use super::delete::DeleteError;
use crate::catalog::Catalog;
use crate::engine::outgoing::again::first_at;

/// Rows of one transaction.
const ROWS: usize = 128;
/// Sendings looked at between two looks at what is stored.
const PIECE: usize = 2_048;

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
        let (mut settled, mut waiting) = (Txn::new(), Vec::new());
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
            waiting.push((key, due_key(tenant, id, due_ms, message)));
        }
        gone -= waits(store, waiting_key(tenant, id), waiting).await?;
        if !settled.deletes.is_empty() {
            store.commit_low(settled).await?;
        }
        if !more {
            return Ok(gone);
        }
        tokio::time::sleep(super::BREATH).await;
    }
}

/// Deletes sendings that wait, all in one transaction; how many stay because somebody sent or moved them meanwhile.
async fn waits(store: &Store, counter: Key, rows: Vec<(Key, Key)>) -> Result<u64, DeleteError> {
    let without = |rows: &[(Key, Key)]| {
        let mut txn = Txn::new();
        for (sending, due) in rows {
            txn.expect_present(Table::SendingsDue, due.clone());
            txn.delete(Table::SendingsDue, due.clone());
            txn.delete(Table::Sendings, sending.clone());
        }
        txn.counters.push((counter.clone(), i64::try_from(rows.len()).map_or(0, |count| -count)));
        store.commit_low(txn)
    };
    if rows.is_empty() {
        return Ok(0);
    }
    match without(&rows).await {
        Ok(_) => return Ok(0),
        Err(CommitError::Conflict(_)) => {}
        Err(error) => return Err(error.into()),
    }
    let mut stay = 0;
    for row in rows {
        match without(&[row]).await {
            Ok(_) => {}
            Err(CommitError::Conflict(_)) => stay += 1,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(stay)
}

/// Deletes the oldest messages that nobody waits for, with their sendings, until no more than this is stored; how many
/// sendings and messages.
pub(super) async fn shrink(store: &Store, catalog: &Catalog, to_bytes: u64) -> Result<u64, DeleteError> {
    let tenant = TenantId::DEFAULT;
    let ids = catalog.every_subscription();
    // A piece is no larger for many subscriptions.
    let piece = (PIECE / ids.len().max(1)).clamp(1, ROWS);
    let (mut from, end) = (Key::tenant(tenant), Key::tenant(tenant).after_prefix());
    // Sendings whose message is gone lie before those of the first that there is.
    let (mut first, mut gone) = (MessageId::from_bytes([0; 16]), 0);
    while store.stored() > to_bytes {
        let messages = store.keys(Table::Messages, &from, &end, piece)?;
        let Some(newest) = messages.last() else { break };
        let Some(last) = newest.id_at(16).map(MessageId::from_bytes) else { break };
        from = newest.next();
        let (mut over, mut needed) = (Vec::new(), BTreeSet::new());
        for id in &ids {
            let prefix = subscription_key(tenant, *id);
            let (low, high) = (prefix.clone().id(first.bytes()), prefix.id(last.bytes()).next());
            settled(store, (low, &high), &mut over, &mut needed)?;
        }
        let wanted = |key: &Key| key.id_at(16).is_some_and(|id| needed.contains(&id));
        let messages = messages.into_iter().filter(|key| !wanted(key)).map(|key| (Table::Messages, key));
        over.extend(messages);
        for part in over.chunks(ROWS) {
            let mut txn = Txn::new();
            txn.deletes.extend_from_slice(part);
            store.commit_low(txn).await?;
            gone += u64::try_from(part.len()).unwrap_or(0);
        }
        first = last;
        tokio::time::sleep(super::BREATH).await;
    }
    Ok(gone)
}

/// Sendings of a stretch that are over; of the others the messages.
fn settled(
    store: &Store,
    (mut from, to): (Key, &Key),
    over: &mut Vec<(Table, Key)>,
    needed: &mut BTreeSet<[u8; 16]>,
) -> Result<(), DeleteError> {
    loop {
        let keys = store.keys(Table::Sendings, &from, to, ROWS)?;
        let Some(last) = keys.last() else { return Ok(()) };
        from = last.next();
        let more = keys.len() == ROWS;
        for key in keys {
            let row: Result<Option<SendingRow>, ReadError> = store.get(TenantId::DEFAULT, Table::Sendings, &key);
            match row {
                Ok(Some(row)) if row.due_ms.is_none() => over.push((Table::Sendings, key)),
                Ok(_) => needed.extend(key.id_at(32)),
                Err(error @ ReadError::Corrupt { .. }) => {
                    super::unreadable(&error);
                    needed.extend(key.id_at(32));
                }
                Err(error) => return Err(error.into()),
            }
        }
        if !more {
            return Ok(());
        }
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
