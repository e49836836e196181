//! Many at once: runs that sleep cost disk only, and a long list that is killed half way goes on where it was.
//!
//! The small form of `aura-bench sleeping`, which has a million sleepers and 100,000 items.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use aura_protocol::run::{Record, RunHead, RunState, Transition};
use aura_protocol::{RunId, TenantId};
use aura_storage::rows::{LiveRow, TimerRow, journal_key, run_key, timer_key};
use aura_storage::{Key, Store, StoreOptions, Table, Txn};

use crate::support::daemon::MASTER;
use crate::support::{Daemon, LIMIT, Receiver, block_on, wait_until};

const SLEEPERS: u64 = 20_000;
const ITEMS: usize = 5_000;
const PARALLEL: usize = 50;
/// Resident memory in MiB.
const MEMORY: u64 = 200;

/// Resident memory of a process in MiB.
pub fn rss_mib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("the status of a process");
    let line = status.lines().find(|line| line.starts_with("VmRSS")).expect("its memory");
    line.split_whitespace().nth(1).expect("a number").parse::<u64>().expect("a number") / 1024
}

/// The rows of one sleeping run, under other ids.
fn copies(daemon: &Daemon, run: RunId) {
    let store = Store::open(&StoreOptions::in_dir(daemon.place.data(), MASTER)).expect("the store");
    let tenant = TenantId::DEFAULT;
    let key = run_key(tenant, run);
    let head: RunHead = store.get(tenant, Table::Runs, &key).expect("a read").expect("the list row");
    let live: LiveRow = store.get(tenant, Table::Live, &key).expect("a read").expect("the live row");
    let due_ms = live.due_ms.expect("it sleeps");
    let rows: Vec<(Key, Transition)> =
        store.scan(tenant, Table::Journal, &journal_key(tenant, run, 0), &key.after_prefix(), 9, false).expect("rows");
    for batch in (0..SLEEPERS).collect::<Vec<_>>().chunks(500) {
        let mut txn = Txn::new();
        for number in batch {
            let mut random = [0; 10];
            random[..8].copy_from_slice(&number.to_be_bytes());
            let created = u64::try_from(head.created_ms).expect("a time");
            let copy = RunId::from_parts(created, &random);
            let key = run_key(tenant, copy);
            let due_ms = due_ms + i64::try_from(*number).expect("a number");
            let put = |txn: &mut Txn| -> Result<(), aura_storage::ReadError> {
                store.put(txn, tenant, Table::Runs, key.clone(), &RunHead { run: copy, ..head.clone() })?;
                store.put(txn, tenant, Table::Live, key.clone(), &LiveRow { due_ms: Some(due_ms), ..live })?;
                for (_, row) in &rows {
                    store.put(txn, tenant, Table::Journal, journal_key(tenant, copy, row.number), row)?;
                }
                let timer = timer_key(due_ms, tenant, copy.bytes());
                store.put(txn, tenant, Table::Timers, timer, &TimerRow::Run)
            };
            put(&mut txn).expect("rows of a copy");
        }
        block_on(store.commit(txn)).expect("a commit");
    }
    block_on(store.close());
}

fn lateness(daemon: &Daemon, run: RunId) -> i64 {
    let journal = daemon.wait_state(run, RunState::Succeeded);
    let until = journal.records().find_map(|record| match record {
        Record::WaitCreated { until_ms, .. } => Some(*until_ms),
        _ => None,
    });
    let fired = |it: &&Transition| it.records.iter().any(|record| matches!(record, Record::TimerFired { .. }));
    let woke = journal.0.journal.iter().find(fired).expect("it woke").at_ms;
    woke - until.expect("it slept")
}

#[test]
fn sleeping_runs_take_no_memory_no_time_at_the_start_and_hold_up_no_timer() {
    let mut daemon = Daemon::start();
    daemon.publish("aura: 1\nflow: nap\ntriggers: [{ id: by_hand, on: manual }]\nsteps:\n  - { id: nap, sleep: { for: \"{{ input.for }}\" } }\n");
    let first = daemon.run("nap", "{\"for\":\"30d\"}");
    daemon.wait_state(first, RunState::Waiting);
    daemon.stop();
    copies(&daemon, first);
    let began = Instant::now();
    daemon.up();
    assert!(began.elapsed() < Duration::from_secs(5), "a start of {:?}", began.elapsed());
    let waiting = daemon.ask().status(()).expect("a status").live;
    assert_eq!(waiting, [(RunState::Waiting, SLEEPERS + 1)]);
    let soon = daemon.run("nap", "{\"for\":\"300ms\"}");
    let late = lateness(&daemon, soon);
    assert!((0..1000).contains(&late), "{late} ms late");
    // One that was due while nobody was there wakes at once.
    let missed = daemon.run("nap", "{\"for\":\"200ms\"}");
    daemon.kill9();
    daemon.up();
    daemon.wait_state(missed, RunState::Succeeded);
    let memory = rss_mib(daemon.pid());
    assert!(memory < MEMORY, "{memory} MiB");
}

#[test]
fn a_long_list_goes_on_after_a_kill_without_repeating_what_had_ended() {
    let mut daemon = Daemon::start();
    let receiver = Receiver::start();
    daemon.publish(&format!(
        "aura: 1\nflow: wide\ntriggers: [{{ id: by_hand, on: manual }}]\nsteps:\n  - id: all\n    map:\n      over: \"{{{{ input.items }}}}\"\n      max_parallel: {PARALLEL}\n      steps:\n        - id: put\n          http: {{ method: PUT, url: \"{}\", body: {{ n: \"{{{{ item }}}}\" }} }}\n",
        receiver.url("/item")
    ));
    let items: Vec<String> = (0..ITEMS).map(|item| item.to_string()).collect();
    let run = daemon.run("wide", &format!("{{\"items\":[{}]}}", items.join(",")));
    let limit = LIMIT * 4;
    wait_until("half of the items", limit, || receiver.count("/item") > ITEMS / 2);
    daemon.kill9();
    daemon.up();
    wait_until("all of the items", limit, || daemon.runs("wide")[0].state == RunState::Succeeded);
    assert_eq!(daemon.runs("wide")[0].run, run);
    let mut times: HashMap<u64, usize> = HashMap::new();
    for request in receiver.on_path("/item").iter().filter(|request| request.body.is_some()) {
        *times.entry(request.json()["n"].as_u64().expect("its number")).or_default() += 1;
    }
    assert_eq!(times.len(), ITEMS, "every item was sent");
    let repeated = times.values().filter(|times| **times > 1).count();
    assert!(repeated <= PARALLEL, "{repeated} items were sent twice");
    let memory = rss_mib(daemon.pid());
    assert!(memory < MEMORY, "{memory} MiB");
}
