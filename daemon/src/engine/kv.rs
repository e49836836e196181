//! What `kv` steps do: read, decide and write in the transaction that records their output.
//!
//! Invariant: order of operations on a name is order of commits. An operation reads, decides and is submitted under
//! one lock; what is submitted but not durable yet is in memory, so the next one sees it. If a commit fails, memory
//! forgets it and the store says what is true. Lock order: this one, then one run.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use aura_protocol::flow::kv::VALUE_MAX;
use aura_protocol::run::{CallOutcome, ErrorClass, Reach, StepError};
use aura_protocol::{RunId, TenantId, Value};
use aura_storage::rows::{KvRow, kv_count_key, name_key};
use aura_storage::{Key, ReadError, Table, Txn};

use super::core::Input;
use super::core::bugs::{Bug, has};
use super::driver::{Driver, EngineError, lock};

/// Names that a tenant's flows may keep at once.
pub const NAMES_MAX: i64 = 100_000;
/// Rows looked at in one go when what has expired is removed.
const PAGE: usize = 256;
/// How often that is done; until then it is not there for flows all the same.
const SWEEP: Duration = Duration::from_secs(600);

/// What is submitted and not durable yet, and how many names there are.
#[derive(Debug, Default)]
pub(crate) struct Keeper {
    pending: HashMap<Key, (u64, Option<KvRow>)>,
    counts: HashMap<TenantId, i64>,
    number: u64,
}

impl Keeper {
    /// What is kept under a name as all that was submitted leaves it; `stored` reads what is durable.
    pub(crate) fn now<E>(
        &self,
        key: &Key,
        stored: impl FnOnce() -> Result<Option<KvRow>, E>,
    ) -> Result<Option<KvRow>, E> {
        match self.pending.get(key) {
            Some((_, row)) if !has(Bug::KvPendingIsForgotten) => Ok(row.clone()),
            _ => stored(),
        }
    }

    /// A change was submitted (`None`: the row goes); gives its number.
    pub(crate) fn submitted(&mut self, key: Key, row: Option<KvRow>) -> u64 {
        let number = self.number;
        self.number += 1;
        self.pending.insert(key, (number, row));
        number
    }

    /// A change is durable, or failed: then the store says what is true.
    pub(crate) fn settled(&mut self, key: &Key, number: u64, failed: bool) {
        if self.pending.get(key).is_some_and(|(of, _)| *of == number || failed) {
            self.pending.remove(key);
        }
    }
}

/// What the transaction of an operation holds.
#[derive(Debug)]
pub(crate) struct Planned {
    /// For the run.
    pub outcome: CallOutcome,
    /// The row to write (`Some(None)`: to remove); `None`: nothing changes.
    pub row: Option<Option<KvRow>>,
    /// By how much the number of names changes.
    pub grows: i64,
}

/// One operation on what is stored under its name; `names` counts the names there are.
pub(crate) fn planned<E>(
    stored: Option<&KvRow>,
    run: RunId,
    input: &Value,
    now_ms: i64,
    names: impl FnOnce() -> Result<i64, E>,
) -> Result<Planned, E> {
    let now = stored.filter(|row| row.expires_ms.is_none_or(|at| at > now_ms));
    let failed =
        |error: StepError| Ok(Planned { outcome: CallOutcome::Failed(error, Reach::Refused), row: None, grows: 0 });
    let decided = match decide(input, now, now_ms) {
        Ok(decided) => decided,
        Err(error) => return failed(error),
    };
    let outcome = CallOutcome::Done(decided.output);
    let Some(change) = decided.change else { return Ok(Planned { outcome, row: None, grows: 0 }) };
    // An expired row still counts until it is swept.
    let there = if has(Bug::KvExpiredIsCountedAgain) { now } else { stored };
    let grows = i64::from(change.is_some()) - i64::from(there.is_some());
    let row = change.map(|(value, expires_ms)| KvRow {
        name: input.get("name").and_then(Value::as_str).unwrap_or_default().to_owned(),
        value,
        changed_ms: now_ms,
        run,
        expires_ms,
    });
    match &row {
        Some(row) if row.value.weight() > VALUE_MAX => {
            let message = format!("a value that is kept has at most {} KiB", VALUE_MAX / 1024);
            failed(StepError::new(ErrorClass::Invalid, message))
        }
        Some(_) if grows > 0 && names()? >= NAMES_MAX => {
            let message = format!("flows keep {NAMES_MAX} names already; delete some or give them a `ttl`");
            failed(StepError::new(ErrorClass::Invalid, message))
        }
        _ => Ok(Planned { outcome, row: Some(row), grows }),
    }
}

/// What an operation means.
#[derive(Debug, PartialEq)]
pub(crate) struct Decided {
    pub(crate) output: Value,
    /// The row to write (`Some(None)`: to remove); `None`: nothing changes.
    pub(crate) change: Option<Option<(Value, Option<i64>)>>,
}

/// One operation on what is there now.
pub(crate) fn decide(input: &Value, now: Option<&KvRow>, now_ms: i64) -> Result<Decided, StepError> {
    let invalid = |message: String| StepError::new(ErrorClass::Invalid, message);
    let field = |name: &str| input.get(name).cloned().unwrap_or_default();
    let held = now.map(|row| row.value.clone()).unwrap_or_default();
    let ttl = input.get("ttl_ms").and_then(Value::as_int);
    let expires = ttl.map(|ttl| now_ms.saturating_add(i64::try_from(ttl).unwrap_or(i64::MAX)));
    match input.get("operation").and_then(Value::as_str).unwrap_or_default() {
        "get" => Ok(Decided { output: if now.is_some() { held } else { field("default") }, change: None }),
        "set" => Ok(Decided { output: held, change: Some(Some((field("value"), expires))) }),
        "delete" => Ok(Decided { output: held, change: now.is_some().then_some(None) }),
        "incr" => {
            let by = input.get("by").cloned().unwrap_or(Value::Int(1));
            let from = if now.is_some() { held } else { Value::Int(0) };
            let sum = aura_protocol::expr::add(&from, &by).map_err(|why| {
                let name = aura_protocol::text::display(input.get("name").and_then(Value::as_str).unwrap_or_default());
                invalid(format!("what is kept under {name} cannot be counted up: {why}"))
            })?;
            // A number that is counted on keeps its time to live unless it gets a new one.
            let expires = expires.or(now.and_then(|row| row.expires_ms));
            Ok(Decided { output: sum.clone(), change: Some(Some((sum, expires))) })
        }
        "cas" => {
            let (from, to) = (field("from"), field("to"));
            let swapped = aura_protocol::expr::same(&held, &from);
            let there = if swapped { to.clone() } else { held };
            let output = Value::object([("swapped", Value::Bool(swapped)), ("value", there)]);
            let change = if to.is_null() { now.is_some().then_some(None) } else { Some(Some((to, expires))) };
            Ok(Decided { output, change: change.filter(|_| swapped) })
        }
        other => Err(invalid(format!("`{}` is no operation of kv", aura_protocol::text::display(other)))),
    }
}

impl Driver {
    fn names(&self, keeper: &mut Keeper, tenant: TenantId) -> Result<i64, ReadError> {
        if let Some(count) = keeper.counts.get(&tenant) {
            return Ok(*count);
        }
        let count = self.deps.store.get::<i64>(tenant, Table::Counters, &kv_count_key(tenant))?.unwrap_or(0);
        keeper.counts.insert(tenant, count);
        Ok(count)
    }

    /// Makes the operation of a scheduled `kv` step and records its output, in one transaction.
    pub(crate) async fn make_kv(
        self: &Arc<Self>,
        tenant: TenantId,
        run: RunId,
        path: &str,
        attempt: u32,
        input: &Value,
    ) -> Result<(), EngineError> {
        let name = input.get("name").and_then(Value::as_str).unwrap_or_default();
        let key = name_key(tenant, self.deps.store.index_hash(tenant, "kv", &[name.as_bytes()]));
        let permit = self.deps.store.reserve().await?;
        let cell = self.cell(run);
        let now_ms = self.deps.clock.now_ms();
        let submitted = {
            let mut keeper = lock(&self.kv);
            let mut guard = lock(&cell);
            self.kv_decided(&mut keeper, tenant, run, &key, input, now_ms).and_then(|(planned, txn)| {
                let Planned { outcome, row, grows } = planned;
                let result = Input::Result { path: path.to_owned(), attempt, outcome };
                let (mut done, txn) = self.decided(tenant, run, &mut guard, result, txn)?;
                let number = row.map(|row| {
                    if grows != 0 {
                        *keeper.counts.entry(tenant).or_default() += grows;
                    }
                    keeper.submitted(key.clone(), row)
                });
                done.receipt = Some(permit.submit(txn.unwrap_or_default()));
                Ok((done, number, grows))
            })
        };
        let (done, number, grows) = match submitted {
            Ok(submitted) => submitted,
            Err(error) => {
                self.forget_idle(run, cell);
                return Err(error);
            }
        };
        let finished = self.finish(tenant, run, cell, done).await.map(drop);
        let Some(number) = number else { return finished };
        let mut keeper = lock(&self.kv);
        keeper.settled(&key, number, finished.is_err());
        if finished.is_err() && grows != 0 {
            keeper.counts.remove(&tenant);
        }
        finished
    }

    /// What an operation means now, and its part of the transaction.
    fn kv_decided(
        &self,
        keeper: &mut Keeper,
        tenant: TenantId,
        run: RunId,
        key: &Key,
        input: &Value,
        now_ms: i64,
    ) -> Result<(Planned, Txn), EngineError> {
        let stored = keeper.now(key, || self.deps.store.get(tenant, Table::Kv, key))?;
        let planned = planned(stored.as_ref(), run, input, now_ms, || self.names(keeper, tenant))?;
        let mut txn = Txn::new();
        match &planned.row {
            Some(Some(row)) => self.deps.store.put(&mut txn, tenant, Table::Kv, key.clone(), row)?,
            Some(None) => txn.delete(Table::Kv, key.clone()),
            None => {}
        }
        if planned.grows != 0 {
            self.names(keeper, tenant)?;
            txn.counters.push((kv_count_key(tenant), planned.grows));
        }
        Ok((planned, txn))
    }

    /// Removes what has expired, now and then, for ever.
    pub(crate) async fn sweeps(self: Arc<Self>) {
        while !self.stopping.is_cancelled() {
            match self.sweep_kv(TenantId::DEFAULT).await {
                Ok(0) => {}
                Ok(rows) => tracing::debug!(rows, "what kv steps kept has expired"),
                Err(error) => tracing::error!(%error, "what kv steps kept could not be swept"),
            }
            if let Err(error) = self.sweep_limits(TenantId::DEFAULT).await {
                tracing::error!(%error, "rates that are over could not be swept");
            }
            if let Err(error) = self.sweep_waits(TenantId::DEFAULT).await {
                tracing::error!(%error, "waits that are over could not be swept");
            }
            tokio::select! {
                () = self.stopping.cancelled() => {}
                () = tokio::time::sleep(SWEEP) => {}
            }
        }
    }

    /// Removes what has expired, a page at a time; gives how many rows went.
    ///
    /// # Errors
    /// The store cannot be read or written.
    pub(crate) async fn sweep_kv(&self, tenant: TenantId) -> Result<usize, EngineError> {
        let (mut from, to) = (Key::tenant(tenant), Key::tenant(tenant).after_prefix());
        let mut gone = 0;
        loop {
            let page: Vec<(Key, KvRow)> = self.deps.store.scan(tenant, Table::Kv, &from, &to, PAGE, false)?;
            let now_ms = self.deps.clock.now_ms();
            let expired = |row: &KvRow| row.expires_ms.is_some_and(|at| at <= now_ms);
            let keys: Vec<Key> = page.iter().filter(|(_, row)| expired(row)).map(|(key, _)| key.clone()).collect();
            if !keys.is_empty() {
                let permit = self.deps.store.reserve().await?;
                let receipt = {
                    let mut keeper = lock(&self.kv);
                    let mut txn = Txn::new();
                    for key in keys {
                        // Written again meanwhile: it is not the row that was seen.
                        let again = keeper.pending.contains_key(&key);
                        let row: Option<KvRow> = self.deps.store.get(tenant, Table::Kv, &key)?;
                        if !again && row.as_ref().is_some_and(expired) {
                            txn.delete(Table::Kv, key);
                        }
                    }
                    let count = i64::try_from(txn.deletes.len()).unwrap_or(0);
                    gone += txn.deletes.len();
                    self.names(&mut keeper, tenant)?;
                    *keeper.counts.entry(tenant).or_default() -= count;
                    txn.counters.push((kv_count_key(tenant), -count));
                    permit.submit(txn)
                };
                receipt.committed().await?;
            }
            match page.last() {
                Some((key, _)) if page.len() == PAGE => from = key.next(),
                _ => return Ok(gone),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(value: Value, expires_ms: Option<i64>) -> KvRow {
        KvRow { name: "n".into(), value, changed_ms: 0, run: RunId::from_parts(1, &[0; 10]), expires_ms }
    }

    #[test]
    fn each_operation_gives_and_changes_what_the_docs_say() {
        let held = row(Value::Int(5), Some(99));
        let check = |input: &str, now: Option<&KvRow>, output: &str, change: Option<Option<(&str, Option<i64>)>>| {
            let input = Value::from_json(input.as_bytes()).unwrap();
            let decided = decide(&input, now, 10)
                .unwrap_or_else(|error| Decided { output: Value::from(error.message), change: None });
            let change_got = decided.change.map(|row| row.map(|(value, expires)| (value.to_json(), expires)));
            let change = change.map(|row| row.map(|(value, expires)| (value.to_owned(), expires)));
            assert_eq!((decided.output.to_json(), change_got), (output.to_owned(), change), "{}", input.to_json());
        };
        check(r#"{"operation":"get"}"#, None, "null", None);
        check(r#"{"operation":"get","default":1}"#, None, "1", None);
        check(r#"{"operation":"get","default":1}"#, Some(&held), "5", None);
        check(r#"{"operation":"set","value":{"a":1.50}}"#, None, "null", Some(Some((r#"{"a":1.50}"#, None))));
        check(r#"{"operation":"set","value":1,"ttl_ms":5}"#, Some(&held), "5", Some(Some(("1", Some(15)))));
        check(r#"{"operation":"delete"}"#, None, "null", None);
        check(r#"{"operation":"delete"}"#, Some(&held), "5", Some(None));
        check(r#"{"operation":"incr"}"#, None, "1", Some(Some(("1", None))));
        check(r#"{"operation":"incr","by":0.5}"#, Some(&held), "5.5", Some(Some(("5.5", Some(99)))));
        check(r#"{"operation":"incr","by":-2,"ttl_ms":1}"#, Some(&held), "3", Some(Some(("3", Some(11)))));
        let text = row(Value::from("x"), None);
        let said = "\"what is kept under n cannot be counted up: text is no number\"";
        check(r#"{"operation":"incr","name":"n"}"#, Some(&text), said, None);
        check(
            r#"{"operation":"cas","from":null,"to":1}"#,
            None,
            r#"{"swapped":true,"value":1}"#,
            Some(Some(("1", None))),
        );
        check(r#"{"operation":"cas","from":null,"to":1}"#, Some(&held), r#"{"swapped":false,"value":5}"#, None);
        check(
            r#"{"operation":"cas","from":5.0,"to":6}"#,
            Some(&held),
            r#"{"swapped":true,"value":6}"#,
            Some(Some(("6", None))),
        );
        check(r#"{"operation":"cas","from":5,"to":null}"#, Some(&held), r#"{"swapped":true,"value":null}"#, Some(None));
    }
}
