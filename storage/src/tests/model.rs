//! Random histories against ordered maps, on both backends, with reopens in between.
//!
//! The model answers what every transaction must answer and what every table must hold.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;

use super::support::{MASTER, TENANT, block_on};
use crate::backend::memory::Memory;
use crate::faults::{Disk, open_with};
use crate::open;
use crate::store::{CommitError, Store, StoreOptions};
use crate::table::{Key, Table};
use crate::txn::{TailEntry, Txn};
use crate::writer::Limits;

const TABLES: [Table; 3] = [Table::Flows, Table::Live, Table::Held];

#[derive(Clone, Debug)]
struct Plan {
    absent: Vec<(usize, u64)>,
    present: Vec<(usize, u64)>,
    puts: Vec<(usize, u64, u16)>,
    deletes: Vec<(usize, u64)>,
    counters: Vec<(u64, i64)>,
    told: bool,
}

#[derive(Clone, Debug)]
enum Act {
    Together(Vec<Plan>),
    Reopen,
}

#[derive(Default)]
struct Model {
    rows: BTreeMap<(usize, u64), u16>,
    counters: BTreeMap<u64, i64>,
    told: usize,
}

impl Model {
    fn apply(&mut self, plan: &Plan) -> Result<(), CommitError> {
        for (wanted, rows) in [(false, &plan.absent), (true, &plan.present)] {
            for row in rows {
                if self.rows.contains_key(row) != wanted {
                    return Err(CommitError::Conflict(TABLES[row.0]));
                }
            }
        }
        for (table, key, value) in &plan.puts {
            self.rows.insert((*table, *key), *value);
        }
        for row in &plan.deletes {
            self.rows.remove(row);
        }
        for (key, delta) in &plan.counters {
            *self.counters.entry(*key).or_default() += delta;
        }
        self.told += usize::from(plan.told);
        Ok(())
    }
}

fn key(number: u64) -> Key {
    Key::tenant(TENANT).number(number)
}

fn txn(store: &Store, plan: &Plan) -> Txn {
    let mut txn = Txn::new();
    plan.absent.iter().for_each(|(table, row)| txn.expect_absent(TABLES[*table], key(*row)));
    plan.present.iter().for_each(|(table, row)| txn.expect_present(TABLES[*table], key(*row)));
    for (table, row, value) in &plan.puts {
        store.put(&mut txn, TENANT, TABLES[*table], key(*row), value).unwrap();
    }
    plan.deletes.iter().for_each(|(table, row)| txn.delete(TABLES[*table], key(*row)));
    txn.counters.extend(plan.counters.iter().map(|(row, delta)| (key(*row), *delta)));
    if plan.told {
        txn.tell(TailEntry::Run(TENANT, super::support::run(1), 1));
    }
    txn
}

fn agree(store: &Store, model: &Model) {
    for (number, table) in TABLES.iter().enumerate() {
        let expected: Vec<(Key, u16)> = model
            .rows
            .iter()
            .filter(|((at, _), _)| *at == number)
            .map(|((_, row), value)| (key(*row), *value))
            .collect();
        let mut rows = store.scan::<u16>(TENANT, *table, &key(0), &key(99), 99, false).unwrap();
        assert_eq!(rows, expected, "{table:?}");
        rows.reverse();
        assert_eq!(
            store.scan::<u16>(TENANT, *table, &key(0), &key(99), 99, true).unwrap(),
            rows,
            "{table:?} backwards"
        );
    }
    for row in 0..4 {
        let counter = store.get::<i64>(TENANT, Table::Counters, &key(row)).unwrap();
        assert_eq!(counter, model.counters.get(&row).copied());
    }
    let page = store.tail_after(0, 1_000).unwrap();
    assert_eq!(page.groups.iter().map(|(_, entries)| entries.len()).sum::<usize>(), model.told);
    assert_eq!(page.groups.len() as u64, *store.newest().borrow());
}

async fn play(acts: &[Act], reopen: impl Fn() -> Store) {
    let mut model = Model::default();
    let mut store = reopen();
    for act in acts {
        match act {
            Act::Reopen => {
                store.close().await;
                store = reopen();
            }
            Act::Together(plans) => {
                let mut receipts = Vec::new();
                for plan in plans {
                    receipts.push(store.reserve().await.unwrap().submit(txn(&store, plan)));
                }
                for (plan, receipt) in plans.iter().zip(receipts) {
                    assert_eq!(receipt.committed().await.map(|_| ()), model.apply(plan), "{plan:?}");
                }
            }
        }
        agree(&store, &model);
    }
    store.close().await;
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let row = || (0..TABLES.len(), 0_u64..6);
    let plan = (
        proptest::collection::vec(row(), 0..2),
        proptest::collection::vec(row(), 0..2),
        proptest::collection::vec((0..TABLES.len(), 0_u64..6, any::<u16>()), 0..4),
        proptest::collection::vec(row(), 0..2),
        proptest::collection::vec((0_u64..4, -9_i64..9), 0..2),
        any::<bool>(),
    );
    let plan = plan.prop_map(|(absent, present, puts, deletes, counters, told)| Plan {
        absent,
        present,
        puts,
        deletes,
        counters,
        told,
    });
    let act = prop_oneof![8 => proptest::collection::vec(plan, 1..6).prop_map(Act::Together), 1 => Just(Act::Reopen)];
    proptest::collection::vec(act, 1..12)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn both_backends_agree_with_ordered_maps(acts in acts()) {
        let options = StoreOptions { cache_bytes: 1 << 20, ..StoreOptions::in_memory(MASTER) };
        let disk = Disk::default();
        block_on(play(&acts, || open_with(&disk, &options, Limits::default()).unwrap()));
        let memory = Memory::default();
        let start = || open::start(Arc::new(memory.clone()), "memory", &options, Limits::default(), None);
        block_on(play(&acts, || Store::from_inner(start().unwrap())));
    }
}
