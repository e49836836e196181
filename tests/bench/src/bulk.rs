//! Many sleeping runs at once: the rows of one that the daemon made, copied under other ids.
//!
//! The one invariant: what is written is what the daemon itself writes for such a run (list row, live row, journal,
//! timer), so it cannot tell them from its own; only how they came is shorter.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use aura_protocol::run::{Record, RunHead, Transition};
use aura_protocol::{RunId, TenantId};
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
