//! Measures what a start after a kill costs, and what it costs to make it cheap: fill, kill, open, load.
//!
//! `reopen fill DIR MIB always|never` fills a store to that file size and kills itself in the middle of commits;
//! `reopen open DIR` opens it; `reopen load DIR SECONDS TASKS always|never` commits and tells throughput and times;
//! `reopen backup DIR FILE`, `reopen restore FILE DIR` and `reopen compact DIR` time these. Figures: docs/storage.md.
#![expect(clippy::unwrap_used, reason = "a measuring program ends at a fault")]

use std::path::Path;
use std::time::{Duration, Instant};

use aura_protocol::run::RunState;
use aura_protocol::{FlowId, RunId, TenantId};
use aura_storage::rows::{LiveRow, journal_key, run_key};
use aura_storage::{Progress, Store, StoreOptions, Table, TailEntry, Txn, archive};

const TENANT: TenantId = TenantId::DEFAULT;

fn options(dir: &str, record: &str) -> StoreOptions {
    let record_from = if record == "always" { 0 } else { u64::MAX };
    StoreOptions { record_from, ..StoreOptions::in_dir(dir, [7; 32]) }
}

/// A run of three transitions in one transaction, about 3 KiB.
fn transaction(store: &Store, number: u64, live: bool) -> Txn {
    let mut random = [0; 10];
    random.iter_mut().zip(number.to_le_bytes()).for_each(|(to, from)| *to = from);
    let run = RunId::from_parts(1_790_000_000_000 + number, &random);
    let mut txn = Txn::new();
    for transition in 1..=3 {
        let text = "an input or an output of a step, ".repeat(28);
        store.put(&mut txn, TENANT, Table::Journal, journal_key(TENANT, run, transition), &text).unwrap();
    }
    store.put(&mut txn, TENANT, Table::Runs, run_key(TENANT, run), &"a head of a run, ".repeat(12)).unwrap();
    if live {
        let row = LiveRow {
            state: RunState::Waiting,
            transition: 3,
            due_ms: None,
            flow: FlowId::from_bytes([3; 16]),
            slot: None,
            created_ms: 5,
            rate: None,
            priority: 0,
            turn: 0,
            throttle: None,
        };
        store.put(&mut txn, TENANT, Table::Live, run_key(TENANT, run), &row).unwrap();
    }
    txn.tell(TailEntry::Run(TENANT, run, 3));
    txn
}

async fn fill(store: Store, dir: &str, mib: u64) {
    let file = Path::new(dir).join("aura.redb");
    let mut number = 0;
    loop {
        let mut receipts = Vec::new();
        for _ in 0..64 {
            number += 1;
            receipts.push(store.reserve().await.unwrap().submit(transaction(&store, number, number % 1_000 == 0)));
        }
        if number % 6_400 == 0 && file.metadata().unwrap().len() >= mib * 1024 * 1024 {
            println!("{number} runs, {} MiB; killed", file.metadata().unwrap().len() >> 20);
            rustix_kill();
        }
        for receipt in receipts {
            receipt.committed().await.unwrap();
        }
    }
}

fn rustix_kill() {
    let me = std::process::id().to_string();
    std::process::Command::new("kill").args(["-9", &me]).status().unwrap();
}

async fn load(store: Store, seconds: u64, tasks: u64) {
    let end = Instant::now() + Duration::from_secs(seconds);
    let mut working = Vec::new();
    for task in 0..tasks {
        let store = store.clone();
        working.push(tokio::spawn(async move {
            let mut took = Vec::new();
            while Instant::now() < end {
                let number = 1_000_000_000 + task * 10_000_000 + u64::try_from(took.len()).unwrap();
                let txn = transaction(&store, number, false);
                let began = Instant::now();
                store.commit(txn).await.unwrap();
                took.push(began.elapsed());
            }
            took
        }));
    }
    let mut took = Vec::new();
    for task in working {
        took.extend(task.await.unwrap());
    }
    took.sort();
    let at = |share: usize| took.get(took.len() * share / 100).copied().unwrap_or_default();
    let rate = took.len() as u64 / seconds;
    println!("{rate}/s with {tasks} tasks, p50 {:?}, p99 {:?}", at(50), at(99));
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let began = Instant::now();
    match words.as_slice() {
        ["fill", dir, mib, record] => {
            let store = Store::open(&options(dir, record)).unwrap();
            runtime.block_on(fill(store, dir, mib.parse().unwrap()));
        }
        ["open", dir] => {
            let store = Store::open(&options(dir, "never")).unwrap();
            let opened = began.elapsed();
            let found = store.check(false).unwrap();
            println!("open {opened:?}, with the check of the start {:?}, {} findings", began.elapsed(), found.len());
            rustix_kill();
        }
        ["load", dir, seconds, tasks, record] => {
            let store = Store::open(&options(dir, record)).unwrap();
            runtime.block_on(load(store, seconds.parse().unwrap(), tasks.parse().unwrap()));
        }
        ["backup", dir, file] => {
            let store = Store::open(&options(dir, "never")).unwrap();
            let began = Instant::now();
            let proved = store.backup(Path::new(file), 1, &Progress::default()).unwrap();
            println!("backup of {} MiB in {:?}", proved.file_bytes >> 20, began.elapsed());
        }
        ["restore", file, dir] => {
            let proved = archive::restore(Path::new(file), Path::new(dir), &[7; 32], 1, &Progress::default()).unwrap();
            println!("restore of {} MiB in {:?}", proved.file_bytes >> 20, began.elapsed());
        }
        ["compact", dir] => {
            let store = Store::open(&options(dir, "never")).unwrap();
            let began = Instant::now();
            let (before, after) = store.compact().unwrap();
            println!("compacted {} MiB to {} MiB in {:?}", before >> 20, after >> 20, began.elapsed());
        }
        _ => println!("reopen fill|open|load|backup|restore|compact …"),
    }
}
