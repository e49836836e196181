//! Rows in ordered maps: the reference model, and the store of short-lived tests.
//!
//! A snapshot shares the maps with the writer until the next write, which then copies them. The content
//! outlives [`Backend::close`], so that the conformance suite can open it again.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use super::{Backend, Change, Fault, Row, Snapshot, growth};
use crate::table::{Key, Table};

type Maps = BTreeMap<Table, BTreeMap<Key, Vec<u8>>>;

/// See the module.
#[derive(Clone, Debug, Default)]
pub(crate) struct Memory(Arc<RwLock<Arc<Maps>>>);

struct Frozen(Arc<Maps>);

impl Memory {
    fn maps(&self) -> Arc<Maps> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Snapshot for Frozen {
    fn read(&self, table: Table, key: &Key) -> Result<Option<Vec<u8>>, Fault> {
        Ok(self.0.get(&table).and_then(|rows| rows.get(key)).cloned())
    }

    fn range(&self, table: Table, from: &Key, to: &Key, limit: usize, backwards: bool) -> Result<Vec<Row>, Fault> {
        let Some(rows) = self.0.get(&table).filter(|_| from < to) else { return Ok(Vec::new()) };
        let rows = rows.range(from.clone()..to.clone()).map(|(key, value)| (key.clone(), value.clone()));
        Ok(if backwards { rows.rev().take(limit).collect() } else { rows.take(limit).collect() })
    }

    fn page(&self, table: Table, from: &Key, rows_max: usize, bytes_max: usize) -> Result<Vec<Row>, Fault> {
        let Some(rows) = self.0.get(&table) else { return Ok(Vec::new()) };
        let mut left = bytes_max;
        let fits = |(key, value): &(&Key, &Vec<u8>)| {
            let before = left;
            left = left.saturating_sub(key.0.len() + value.len());
            before > 0
        };
        let rows = rows.range(from.clone()..).take(rows_max).take_while(fits);
        Ok(rows.map(|(key, value)| (key.clone(), value.clone())).collect())
    }
}

impl Backend for Memory {
    fn snapshot(&self) -> Result<Box<dyn Snapshot>, Fault> {
        Ok(Box::new(Frozen(self.maps())))
    }

    fn write(&self, changes: Vec<Change>) -> Result<i64, Fault> {
        let mut grown = 0;
        let mut guard = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let maps = Arc::make_mut(&mut guard);
        for change in changes {
            let rows = maps.entry(change.table).or_default();
            let before = rows.get(&change.key).map(Vec::len);
            grown += growth(&change.key, before, change.value.as_ref().map(Vec::len));
            match change.value {
                Some(value) => rows.insert(change.key, value),
                None => rows.remove(&change.key),
            };
        }
        Ok(grown)
    }

    fn reopen(&self) -> Result<(), Fault> {
        Ok(())
    }

    fn healthy(&self) -> Result<(), Fault> {
        Ok(())
    }

    fn adopt(&self, _: &[Table], changes: Vec<Change>) -> Result<i64, Fault> {
        self.write(changes)
    }

    fn complete(&self, _: u32) -> Result<(), Fault> {
        Ok(())
    }

    fn compact(&self) -> Result<(), Fault> {
        Ok(())
    }

    fn bytes(&self) -> u64 {
        let maps = self.maps();
        let rows = maps.values().flatten();
        rows.map(|(key, value)| u64::try_from(key.0.len() + value.len()).unwrap_or(u64::MAX)).sum()
    }

    fn is_fresh(&self) -> bool {
        self.maps().is_empty()
    }

    fn was_repaired(&self) -> bool {
        false
    }

    fn verify(&self, _: Table, _: &Key, _: &[u8]) -> Result<Vec<String>, Fault> {
        Ok(Vec::new())
    }

    fn close(&self) -> Result<(), Fault> {
        Ok(())
    }
}
