//! What the tests share: places to reopen a store from, and rows like the engine's.
//!
//! A [`Place`] gives the same store again after it was closed, whatever the backend.

use std::future::Future;
use std::sync::Arc;

use aura_protocol::run::RunState;
use aura_protocol::{EventId, FlowId, RunId, TenantId};

use crate::backend::memory::Memory;
use crate::rows::LiveRow;
use crate::store::StoreOptions;
use crate::table::{Key, Table};
use crate::txn::{DedupeEntry, Txn};
use crate::writer::Limits;
use crate::{Store, open};

pub(crate) const MASTER: [u8; 32] = [7; 32];
pub(crate) const TENANT: TenantId = TenantId::DEFAULT;

/// Where a store lives across reopens.
pub(crate) enum Place {
    Dir(tempfile::TempDir),
    Memory(Memory),
}

impl Place {
    pub(crate) fn both() -> [Self; 2] {
        [Self::Dir(tempfile::tempdir().unwrap()), Self::Memory(Memory::default())]
    }

    pub(crate) fn open(&self) -> Store {
        self.open_with(Limits::default())
    }

    pub(crate) fn open_with(&self, limits: Limits) -> Store {
        let inner = match self {
            Self::Dir(dir) => open::directory(dir.path(), &StoreOptions::in_dir(dir.path(), MASTER), limits).unwrap(),
            Self::Memory(memory) => {
                let options = StoreOptions::in_memory(MASTER);
                open::start(Arc::new(memory.clone()), "memory", &options, limits, None).unwrap()
            }
        };
        Store::from_inner(inner)
    }
}

/// Runs a future on a runtime of its own.
pub(crate) fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(work)
}

/// A store per backend, one after the other.
pub(crate) fn on_both(test: impl AsyncFn(&Place)) {
    for place in Place::both() {
        block_on(test(&place));
    }
}

pub(crate) fn run(number: u64) -> RunId {
    let mut random = [0; 10];
    random[2..].copy_from_slice(&number.to_be_bytes());
    RunId::from_parts(1_790_000_000_000 + number, &random)
}

pub(crate) fn live(transition: u64, due_ms: Option<i64>) -> LiveRow {
    LiveRow {
        state: RunState::Waiting,
        transition,
        due_ms,
        flow: FlowId::from_bytes([3; 16]),
        slot: None,
        created_ms: 5,
        rate: None,
        priority: 0,
        turn: 0,
        throttle: None,
    }
}

pub(crate) fn entry(number: u64, expires_ms: i64) -> DedupeEntry {
    let mut hash = [0; 16];
    hash[..8].copy_from_slice(&number.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes());
    let event = EventId::from_parts(number, &[1; 10]);
    DedupeEntry { tenant: TENANT, hash, event, run: Some(run(number)), expires_ms }
}

/// A transaction that puts one text.
pub(crate) fn put(store: &Store, table: Table, key: Key, text: &str) -> Txn {
    let mut txn = Txn::new();
    store.put(&mut txn, TENANT, table, key, &text.to_owned()).unwrap();
    txn
}

pub(crate) fn texts(store: &Store, table: Table, from: &Key, to: &Key, limit: usize, backwards: bool) -> Vec<String> {
    let rows: Vec<(Key, String)> = store.scan(TENANT, table, from, to, limit, backwards).unwrap();
    rows.into_iter().map(|(_, text)| text).collect()
}

/// How often a seeded test runs: `AURA_STORAGE_ROUNDS` times as often as in the quick gate.
pub(crate) fn rounds(usual: u64) -> u64 {
    let times = std::env::var("AURA_STORAGE_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(1_u64);
    usual * times.clamp(1, 1_000)
}
