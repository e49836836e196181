//! What goes when, what stays, and that the file stays as small as what is kept.

use std::sync::Arc;
use std::time::{Duration, Instant};

use aura_integrations::redact::Sink;
use aura_integrations::registry::Registry;
use aura_protocol::outgoing::{SendingState, SubscriptionPut};
use aura_protocol::rpc::{Actor, Role};
use aura_protocol::run::{Record, RunState, Transition};
use aura_protocol::{EventId, MessageId, RunId, SubscriptionId, Value};
use aura_storage::rows::outgoing::{DueRow, MessageRow, SendingRow, due_key, message_key, sending_key, waiting_key};
use aura_storage::rows::{LiveRow, journal_key};
use aura_storage::{StoreOptions, Txn};

use super::*;

const TENANT: TenantId = TenantId::DEFAULT;
const HOUR: i64 = 3_600_000;
const NOW: i64 = 1_790_000_000_000;

fn flow(number: u8) -> FlowId {
    FlowId::from_bytes([number; 16])
}

fn head(number: u64, flow: FlowId, created_ms: i64, finished_ms: Option<i64>, transition: u64) -> RunHead {
    let mut random = [0; 10];
    random[2..].copy_from_slice(&number.to_be_bytes());
    RunHead {
        run: RunId::from_parts(u64::try_from(created_ms).unwrap(), &random),
        flow_id: flow,
        flow: "f".to_owned(),
        version: "v".to_owned(),
        trigger: "t".to_owned(),
        event: EventId::from_bytes([4; 16]),
        state: if finished_ms.is_some() { RunState::Succeeded } else { RunState::InDoubt },
        created_ms,
        finished_ms,
        step: String::new(),
        attempt: 1,
        steps_done: 1,
        steps_all: 1,
        blocked_by: None,
        error: None,
        transition,
        origin: None,
    }
}

/// A run as the engine leaves it: journal, list row, and a live row while it has not finished.
fn put(store: &Store, txn: &mut Txn, head: &RunHead, bytes: usize) {
    for number in 1..=head.transition {
        let output = Value::Str("x".repeat(bytes));
        let records = vec![Record::Completed { path: "a".to_owned(), attempt: 1, output }];
        let transition = Transition { number, at_ms: head.created_ms, records };
        store.put(txn, TENANT, Table::Journal, journal_key(TENANT, head.run, number), &transition).unwrap();
    }
    store.put(txn, TENANT, Table::Runs, run_key(TENANT, head.run), head).unwrap();
    if head.finished_ms.is_none() {
        let (state, transition, created_ms) = (head.state, head.transition, head.created_ms);
        let live = LiveRow {
            state,
            transition,
            due_ms: None,
            flow: head.flow_id,
            slot: None,
            created_ms,
            rate: None,
            priority: 0,
            turn: 0,
            throttle: None,
        };
        store.put(txn, TENANT, Table::Live, run_key(TENANT, head.run), &live).unwrap();
    }
}

fn retention(store: &Store, clock: &Clock, quota: u64) -> Retention {
    let catalog = Catalog::open(store.clone(), Arc::new(Registry::builtin()), clock.clone(), Sink::default()).unwrap();
    Retention {
        store: store.clone(),
        catalog,
        clock: clock.clone(),
        usual_ms: 30 * 24 * HOUR,
        quota,
        outgoing_ms: 30 * 24 * HOUR,
        gone: Box::new(|_| {}),
    }
}

fn kept(store: &Store) -> Vec<RunId> {
    let all = Key::tenant(TENANT);
    let rows: Vec<(Key, RunHead)> = store.scan(TENANT, Table::Runs, &all, &all.after_prefix(), 1_000, false).unwrap();
    rows.into_iter().map(|(_, head)| head.run).collect()
}

#[tokio::test]
async fn each_run_goes_when_its_flow_says_and_never_before_it_has_finished() {
    let store = Store::open(&StoreOptions::in_memory([7; 32])).unwrap();
    let clock = Clock::demo();
    let retention = retention(&store, &clock, 0);
    let now = clock.now_ms();
    let policy = Policy { usual_ms: 100 * HOUR, flows: BTreeMap::from([(flow(1), HOUR)]), names: BTreeMap::default() };
    let runs = [
        head(1, flow(1), now - 200 * HOUR, Some(now - 2 * HOUR), 2),
        head(2, flow(1), now - 200 * HOUR, None, 2),
        head(3, flow(1), now - 2 * HOUR, Some(now - HOUR / 2), 1),
        head(4, flow(2), now - 200 * HOUR, Some(now - 150 * HOUR), 1),
        head(5, flow(2), now - 50 * HOUR, Some(now - 50 * HOUR), 1),
    ];
    let mut txn = Txn::new();
    runs.iter().for_each(|head| put(&store, &mut txn, head, 10));
    store.commit(txn).await.unwrap();
    let [_, live, later, _, young] = runs.each_ref().map(|head| head.run);
    let mut frontiers = Frontiers::default();
    assert_eq!(retention.sweep(&policy, &mut frontiers).await.unwrap(), 2);
    assert_eq!(kept(&store), [live, young, later]);
    let before = (store.stored(), *store.newest().borrow());
    assert_eq!(retention.sweep(&policy, &mut frontiers).await.unwrap(), 0);
    assert_eq!((store.stored(), *store.newest().borrow()), before, "nothing is written when nothing is due");
    clock.advance(u64::try_from(HOUR).unwrap());
    assert_eq!(retention.sweep(&policy, &mut frontiers).await.unwrap(), 1, "what was left behind comes when it is due");
    clock.advance(u64::try_from(60 * HOUR).unwrap());
    assert_eq!(retention.sweep(&policy, &mut frontiers).await.unwrap(), 1);
    assert_eq!(kept(&store), [live], "a run in doubt is never deleted");
    assert_eq!(store.check(true), Ok(vec![]));
}

#[tokio::test]
async fn a_long_journal_goes_in_pieces_and_a_run_at_work_not_at_all() {
    let store = Store::open(&StoreOptions::in_memory([7; 32])).unwrap();
    let (long, other) = (head(1, flow(1), NOW, Some(NOW), 1_000), head(2, flow(1), NOW, None, 1));
    let mut txn = Txn::new();
    put(&store, &mut txn, &long, 5);
    put(&store, &mut txn, &other, 5);
    store.commit(txn).await.unwrap();
    let mut deletion = Deletion::new(&store, TENANT);
    assert!(matches!(deletion.take(&other).await, Err(DeleteError::Live)));
    // What a list said a while ago does not matter: the transaction itself says that the run has ended.
    let stale = RunHead { state: RunState::Succeeded, ..other.clone() };
    deletion.take(&stale).await.unwrap();
    deletion.take(&long).await.unwrap();
    assert_eq!(store.check(true), Ok(vec![]), "what is left is a whole state at any time");
    assert_eq!(deletion.finish().await.unwrap(), 1);
    assert_eq!(kept(&store), [other.run]);
    assert_eq!(store.check(true), Ok(vec![]));
}

#[tokio::test(flavor = "multi_thread")]
async fn under_constant_load_the_file_stays_bounded_and_acknowledgements_quick() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&StoreOptions::in_dir(dir.path(), [7; 32])).unwrap();
    let clock = Clock::demo();
    let quota = 3 << 20;
    let retention = retention(&store, &clock, quota);
    let created = clock.now_ms() - 48 * HOUR;
    let live = head(0, flow(1), created - HOUR, None, 1);
    let mut txn = Txn::new();
    put(&store, &mut txn, &live, 10);
    store.commit(txn).await.unwrap();
    let stop = CancellationToken::new();
    let shrinking = tokio::spawn({
        let stop = stop.clone();
        async move {
            let mut gone = 0;
            while !stop.is_cancelled() {
                if retention.store.stored() >= part(quota, QUOTA_FROM) {
                    gone += retention.shrink(part(quota, QUOTA_TO)).await.unwrap();
                }
                tokio::task::yield_now().await;
            }
            gone
        }
    });
    let (mut sizes, mut took) = (Vec::new(), Vec::new());
    for round in 0..150_u64 {
        let mut receipts = Vec::new();
        for number in 0..40 {
            let finished = created + i64::try_from(round).unwrap();
            let head = head(1 + round * 40 + number, flow(1), finished, Some(finished), 1);
            let mut txn = Txn::new();
            put(&store, &mut txn, &head, 2_000);
            receipts.push(store.reserve().await.unwrap().submit(txn));
        }
        let began = Instant::now();
        for receipt in receipts {
            receipt.committed().await.unwrap();
        }
        took.push(began.elapsed());
        sizes.push(store.bytes());
        // A load that is faster than one thread can delete in a debug build is no constant load.
        while store.stored() > quota {
            tokio::task::yield_now().await;
        }
    }
    stop.cancel();
    let gone = shrinking.await.unwrap();
    took.sort_unstable();
    let (median, worst) = (took[took.len() / 2], took[took.len() - 1]);
    println!(
        "{gone} of 6000 runs deleted; file {} then {} bytes; a group took {median:?}, at most {worst:?}",
        sizes[50], sizes[149]
    );
    assert!(gone > 4_000 && store.stored() <= quota, "{gone} deleted, {} stored", store.stored());
    assert!(sizes[149] <= sizes[50] * 3 / 2, "the file grows: {} then {}", sizes[50], sizes[149]);
    assert!(median < Duration::from_millis(50), "housekeeping holds up acknowledgements: {median:?}");
    assert!(kept(&store).contains(&live.run), "a run in doubt is never deleted");
    assert_eq!(store.check(true), Ok(vec![]));
}

#[tokio::test]
async fn a_quota_takes_no_more_large_runs_than_it_needs() {
    let store = Store::open(&StoreOptions::in_memory([7; 32])).unwrap();
    let clock = Clock::demo();
    let created = clock.now_ms() - 48 * HOUR;
    let runs: Vec<RunHead> = (0..40).map(|number| head(number, flow(1), created, Some(created), 1)).collect();
    let mut txn = Txn::new();
    runs.iter().for_each(|head| put(&store, &mut txn, head, 60_000));
    store.commit(txn).await.unwrap();
    let one = store.stored() / 40;
    // Room for 25: all 40 would fit into one transaction that deletes.
    assert_eq!(retention(&store, &clock, 0).shrink(one * 25 + one / 2).await.unwrap(), 15);
    assert_eq!(kept(&store), runs[15..].iter().map(|head| head.run).collect::<Vec<_>>(), "the oldest went");
}

/// A large value as a row refers to it, with its content.
fn large(store: &Store, txn: &mut Txn, number: u64) -> aura_protocol::BlobRef {
    let sealed = store.seal_blob(TENANT, number.to_string().repeat(20_000).as_bytes()).unwrap();
    txn.hold_blob(aura_storage::rows::blob_key(TENANT, sealed.blob.hash), Some(sealed.content));
    sealed.blob
}

/// Finished runs of all shapes: small ones, long journals, a queued first row, many events, many stored values.
async fn shapes(store: &Store, now: i64, count: u64) -> u64 {
    let mut runs = 0;
    for number in 0..count {
        let rows = match number % 50 {
            7 => 900,
            _ => 3,
        };
        let head = head(number, flow(1), now, Some(now), rows);
        let mut txn = Txn::new();
        put(store, &mut txn, &head, 300);
        if number % 100 == 9 {
            // Thirty rows with ten values each, and one with a hundred.
            let first = head.transition;
            for extra in 1..=31_u64 {
                let count = if extra == 31 { 100 } else { 10 };
                let blobs =
                    (0..count).map(|at| Value::Blob(large(store, &mut txn, number * 10_000 + extra * 100 + at)));
                let output = Value::List(blobs.collect());
                let record = Record::Completed { path: "a".into(), attempt: 1, output };
                let row = Transition { number: first + extra, at_ms: now, records: vec![record] };
                let key = journal_key(TENANT, head.run, row.number);
                store.put(&mut txn, TENANT, Table::Journal, key, &row).unwrap();
            }
            let head = RunHead { transition: first + 31, ..head };
            store.put(&mut txn, TENANT, Table::Runs, run_key(TENANT, head.run), &head).unwrap();
        }
        store.commit(txn).await.unwrap();
        runs += 1;
    }
    runs
}

#[tokio::test]
async fn no_transaction_of_retention_is_larger_than_it_may_be() {
    let store = Store::open(&StoreOptions::in_memory([7; 32])).unwrap();
    let runs = shapes(&store, NOW, 60).await;
    let all = Key::tenant(TENANT);
    let heads: Vec<(Key, RunHead)> = store.scan(TENANT, Table::Runs, &all, &all.after_prefix(), 1_000, false).unwrap();
    let mut deletion = Deletion::new(&store, TENANT);
    let mut largest = 0;
    for (_, head) in &heads {
        deletion.take(head).await.unwrap();
        largest = largest.max(deletion.largest);
        assert_eq!(store.check(false), Ok(vec![]), "each piece leaves a whole state");
    }
    assert_eq!(deletion.finish().await.unwrap(), runs);
    assert!((delete::CHANGES / 2..=delete::CHANGES).contains(&largest), "{largest} changes in one transaction");
    assert!(kept(&store).is_empty());
    assert_eq!(store.check(true), Ok(vec![]), "nothing stored is lost or left");
}

#[tokio::test(flavor = "multi_thread")]
async fn housekeeping_adds_at_most_fifty_milliseconds_to_an_acknowledgement() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&StoreOptions::in_dir(dir.path(), [7; 32])).unwrap();
    let clock = Clock::demo();
    let created = clock.now_ms() - 48 * HOUR;
    let runs = shapes(&store, created, 1_000).await;
    let retention = retention(&store, &clock, 0);
    let policy = Policy { usual_ms: HOUR, ..Policy::default() };
    // One commit after the other: each waits for what the writer is at.
    let ack = async |number: u64| {
        let mut txn = Txn::new();
        store.put(&mut txn, TENANT, Table::Kv, Key::tenant(TENANT).number(number % 64), &number).unwrap();
        let began = Instant::now();
        store.commit(txn).await.unwrap();
        began.elapsed()
    };
    let mut before = Vec::new();
    for number in 0..300 {
        before.push(ack(number).await);
    }
    let sweep = tokio::spawn(async move { retention.sweep(&policy, &mut Frontiers::default()).await.unwrap() });
    let mut during = Vec::new();
    while !sweep.is_finished() {
        during.push(ack(u64::try_from(during.len()).unwrap()).await);
    }
    assert_eq!(sweep.await.unwrap(), runs);
    before.sort_unstable();
    during.sort_unstable();
    let at = |took: &[Duration], percent: usize| took[(took.len() - 1) * percent / 100];
    let shown =
        |took: &[Duration]| format!("p50 {:?}, p99 {:?}, worst {:?}", at(took, 50), at(took, 99), at(took, 100));
    println!("{} acks alone: {}", before.len(), shown(&before));
    println!("{} acks while {runs} runs are deleted: {}", during.len(), shown(&during));
    // Of the worst ones some are the machine's own: other tests write to the same disk.
    let added = at(&during, 90).saturating_sub(at(&before, 90));
    assert!(during.len() > 20 && added <= Duration::from_millis(50), "{added:?} of {} acks", during.len());
}

/// A message with a sending; gives its id.
fn sending(store: &Store, txn: &mut Txn, to: SubscriptionId, number: u16, created_ms: i64, waits: bool) -> MessageId {
    let mut random = [0; 10];
    random[8..].copy_from_slice(&number.to_be_bytes());
    let message = MessageId::from_parts(u64::try_from(created_ms).unwrap(), &random);
    let body = vec![b'x'; 1_000];
    let by = String::new();
    let row = MessageRow { kind: "a".to_owned(), customer: None, body, created_ms, by, test: false, shown: None };
    store.put(txn, TENANT, Table::Messages, message_key(TENANT, message), &row).unwrap();
    let due_ms = waits.then_some(created_ms);
    let row = SendingRow {
        kind: "a".to_owned(),
        state: if waits { SendingState::Waiting } else { SendingState::Succeeded },
        created_ms,
        due_ms,
        next_ms: due_ms,
        tries: 0,
        attempted: 0,
        attempts: Vec::new(),
        reason: String::new(),
    };
    store.put(txn, TENANT, Table::Sendings, sending_key(TENANT, to, message), &row).unwrap();
    if let Some(next_ms) = due_ms {
        let due = due_key(TENANT, to, next_ms, message);
        store.put(txn, TENANT, Table::SendingsDue, due, &DueRow { next_ms }).unwrap();
        txn.counters.push((waiting_key(TENANT, to), 1));
    }
    message
}

async fn subscription(catalog: &Catalog) -> SubscriptionId {
    let request = aura_protocol::RequestId::now();
    let actor = Actor { name: "anna".to_owned(), role: Role::Owner, tenant: TENANT, request };
    let put = SubscriptionPut {
        name: "acme".to_owned(),
        create: true,
        url: Some("https://acme.example/hook".to_owned()),
        types: Some(vec!["*".to_owned()]),
        secret: Some(aura_protocol::outgoing::secret_of(&[7; 32])),
        ..SubscriptionPut::default()
    };
    catalog.subscription_put(&actor, put).await.unwrap().id
}

fn rows_of(store: &Store, table: Table) -> usize {
    let all = Key::tenant(TENANT);
    store.keys(table, &all, &all.after_prefix(), 10_000).unwrap().len()
}

#[tokio::test]
async fn sendings_that_waited_too_long_go_with_their_due_rows_and_their_count() {
    let store = Store::open(&StoreOptions::in_memory([7; 32])).unwrap();
    let clock = Clock::demo();
    let retention = retention(&store, &clock, 0);
    let to = subscription(&retention.catalog).await;
    let old = clock.now_ms() - 31 * 24 * HOUR;
    let mut txn = Txn::new();
    let messages: Vec<MessageId> = (0..300).map(|number| sending(&store, &mut txn, to, number, old, true)).collect();
    sending(&store, &mut txn, to, 300, old, false);
    sending(&store, &mut txn, to, 301, clock.now_ms(), true);
    store.commit(txn).await.unwrap();
    // One was moved by somebody between the look and the commit.
    let mut txn = Txn::new();
    txn.delete(Table::SendingsDue, due_key(TENANT, to, old, messages[5]));
    store
        .put(&mut txn, TENANT, Table::SendingsDue, due_key(TENANT, to, 9, messages[5]), &DueRow { next_ms: 9 })
        .unwrap();
    store.commit(txn).await.unwrap();
    let gone = outgoing::sweep(&store, &retention.catalog, retention.outgoing_ms, clock.now_ms()).await.unwrap();
    let waiting: Option<i64> = store.get(TENANT, Table::Counters, &waiting_key(TENANT, to)).unwrap();
    assert_eq!((gone, waiting, rows_of(&store, Table::SendingsDue)), (300, Some(2), 2));
    assert_eq!((rows_of(&store, Table::Sendings), rows_of(&store, Table::Messages)), (2, 1));
}

#[tokio::test]
async fn a_quota_that_runs_cannot_free_takes_the_oldest_messages_that_nobody_waits_for() {
    let store = Store::open(&StoreOptions::in_memory([7; 32])).unwrap();
    let clock = Clock::demo();
    let retention = retention(&store, &clock, 0);
    let to = subscription(&retention.catalog).await;
    let mut txn = Txn::new();
    for number in 0..1_000 {
        let created = clock.now_ms() - 1_000 + i64::from(number);
        sending(&store, &mut txn, to, number, created, number % 10 == 0);
    }
    store.commit(txn).await.unwrap();
    let half = store.stored() / 2;
    retention.shrink(half).await.unwrap();
    let left = rows_of(&store, Table::Messages);
    assert!(store.stored() <= half && (300..520).contains(&left), "no more than it needs: {left}");
    retention.shrink(0).await.unwrap();
    let left = [Table::Messages, Table::Sendings, Table::SendingsDue].map(|table| rows_of(&store, table));
    assert_eq!(left, [100, 100, 100], "what waits stays, and its message with it");
}
