//! Many sleeping runs at once, as rows of one that the daemon made, copied under other ids; and many messages that wait.
//!
//! The one invariant: what is written is what the daemon itself writes for such a run (list row, live row, journal,
//! timer) or message, so it cannot tell them from its own; only how they came is shorter.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use aura_protocol::outgoing::SendingState;
use aura_protocol::run::{Record, RunHead, Transition};
use aura_protocol::{MessageId, RunId, SubscriptionId, TenantId};
use aura_storage::rows::outgoing::{DueRow, MessageRow, SendingRow, due_key, message_key, sending_key, waiting_key};
use aura_storage::rows::{LiveRow, TimerRow, journal_key, run_key, timer_key};
use aura_storage::{Key, Store, StoreOptions, Table, Txn};

/// Runs of one transaction.
const BATCH: u64 = 250;
/// Transactions under way.
const UNDER_WAY: usize = 8;

/// Copies a sleeping run so often; the copies are created and wake one after the other, so many milliseconds apart.
///
/// # Errors
/// There is no such run, it does not sleep, or the store refuses.
pub async fn sleepers(data: &Path, master: [u8; 32], run: RunId, count: u64, apart_ms: i64) -> Result<()> {
    let tenant = TenantId::DEFAULT;
    let store = Store::open(&StoreOptions::in_dir(data, master))?;
    let key = run_key(tenant, run);
    let head: RunHead = store.get(tenant, Table::Runs, &key)?.context("the run is not in the list")?;
    let live: LiveRow = store.get(tenant, Table::Live, &key)?.context("the run does not live")?;
    let due_ms = live.due_ms.context("the run does not sleep")?;
    let journal: Vec<(Key, Transition)> =
        store.scan(tenant, Table::Journal, &journal_key(tenant, run, 0), &key.after_prefix(), 100, false)?;
    ensure!(!journal.is_empty(), "the run has no journal");
    let mut waiting = std::collections::VecDeque::new();
    let mut done = 0;
    while done < count {
        let mut txn = Txn::new();
        for number in done..(done + BATCH).min(count) {
            let later = i64::try_from(number)?.saturating_add(1).saturating_mul(apart_ms);
            let created_ms = head.created_ms.saturating_add(i64::try_from(number)? / 1000);
            let mut random = [0; 10];
            random.iter_mut().zip(number.to_be_bytes()).for_each(|(to, from)| *to = from);
            let copy = RunId::from_parts(u64::try_from(created_ms)?, &random);
            let due_ms = due_ms.saturating_add(later);
            let key = run_key(tenant, copy);
            let head = RunHead { run: copy, created_ms, blocked_by: None, ..head.clone() };
            store.put(&mut txn, tenant, Table::Runs, key.clone(), &head)?;
            let live = LiveRow { due_ms: Some(due_ms), created_ms, ..live };
            store.put(&mut txn, tenant, Table::Live, key, &live)?;
            for (_, transition) in &journal {
                let mut transition = transition.clone();
                for record in &mut transition.records {
                    if let Record::WaitCreated { until_ms, .. } = record {
                        *until_ms = due_ms;
                    }
                }
                let key = journal_key(tenant, copy, transition.number);
                store.put(&mut txn, tenant, Table::Journal, key, &transition)?;
            }
            let timer = timer_key(due_ms, tenant, copy.bytes());
            store.put(&mut txn, tenant, Table::Timers, timer, &TimerRow::Run)?;
        }
        done = (done + BATCH).min(count);
        waiting.push_back(store.reserve().await?.submit(txn));
        if waiting.len() >= UNDER_WAY
            && let Some(oldest) = waiting.pop_front()
        {
            oldest.committed().await?;
        }
    }
    for receipt in waiting {
        receipt.committed().await?;
    }
    store.close().await;
    Ok(())
}

/// Messages that wait to be sent.
#[derive(Clone, Debug)]
pub struct Waiting {
    /// Tag of the ids in their bodies.
    pub tag: String,
    /// How many.
    pub count: u64,
    /// They are due so many milliseconds from now.
    pub later_ms: i64,
}

/// Writes messages with one sending each to a subscription that is there.
///
/// # Errors
/// The store refuses.
pub async fn sendings(data: &Path, master: [u8; 32], to: SubscriptionId, waiting: &Waiting) -> Result<()> {
    let tenant = TenantId::DEFAULT;
    let store = Store::open(&StoreOptions::in_dir(data, master))?;
    let now_ms = i64::try_from(std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_millis())?;
    let next_ms = now_ms.saturating_add(waiting.later_ms);
    let mut under_way = std::collections::VecDeque::new();
    let mut done = 0;
    while done < waiting.count {
        let mut txn = Txn::new();
        let to_number = (done + BATCH).min(waiting.count);
        for number in done..to_number {
            let mut random = [0; 10];
            random.iter_mut().skip(2).zip(number.to_be_bytes()).for_each(|(to, from)| *to = from);
            let message = MessageId::from_parts(u64::try_from(now_ms)?, &random);
            let body = crate::payload::payload(&waiting.tag, number).into_bytes();
            let (kind, by) = ("order.created".to_owned(), "bench".to_owned());
            let row = MessageRow {
                kind: kind.clone(),
                customer: None,
                body,
                created_ms: now_ms,
                by,
                test: false,
                shown: None,
            };
            store.put(&mut txn, tenant, Table::Messages, message_key(tenant, message), &row)?;
            let row = SendingRow {
                kind,
                state: SendingState::Waiting,
                created_ms: now_ms,
                due_ms: Some(next_ms),
                next_ms: Some(next_ms),
                tries: 0,
                attempted: 0,
                attempts: Vec::new(),
                reason: String::new(),
            };
            store.put(&mut txn, tenant, Table::Sendings, sending_key(tenant, to, message), &row)?;
            let due = due_key(tenant, to, next_ms, message);
            store.put(&mut txn, tenant, Table::SendingsDue, due, &DueRow { next_ms })?;
        }
        txn.counters.push((waiting_key(tenant, to), i64::try_from(to_number - done)?));
        done = to_number;
        under_way.push_back(store.reserve().await?.submit(txn));
        if under_way.len() >= UNDER_WAY
            && let Some(oldest) = under_way.pop_front()
        {
            oldest.committed().await?;
        }
    }
    for receipt in under_way {
        receipt.committed().await?;
    }
    store.close().await;
    Ok(())
}
