//! Micro-benches of the parts that every run passes: `cargo bench -p aura-bench`.
//!
//! They say where time goes, not how fast AURA is: that is what `aura-bench run` measures.

#![expect(clippy::expect_used, reason = "a bench that cannot prepare its input must stop")]
#![allow(missing_docs, reason = "the names of benches say what they measure")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use aura_integrations::redact::Sink;
use aura_protocol::expr::{Scope, Template};
use aura_protocol::flow::Effect;
use aura_protocol::run::{Record, Transition};
use aura_protocol::{RunId, TenantId, Value, wire};
use aura_storage::rows::journal_key;
use aura_storage::{Store, StoreOptions, Table, TailEntry, Txn};
use divan::{Bencher, black_box};

fn main() {
    divan::main();
}

fn body() -> String {
    aura_bench::payload::payload("bench", 142)
}

/// A transition as W2's first: a call with its input.
fn transition() -> Transition {
    let input = Value::from_json(body().as_bytes()).expect("JSON");
    let call = Record::Scheduled {
        path: "effect".to_owned(),
        input,
        input_hash: "0".repeat(64),
        key: "aura_01234567890123456789012345".to_owned(),
        effect: Effect::Keyed,
        draws: Vec::new(),
    };
    Transition { number: 1, at_ms: 1_790_000_000_000, records: vec![call] }
}

#[divan::bench]
fn json_parse_1_kib(bencher: Bencher<'_, '_>) {
    let body = body();
    bencher.bench(|| Value::from_json(black_box(body.as_bytes())).expect("JSON"));
}

#[divan::bench]
fn json_write_1_kib(bencher: Bencher<'_, '_>) {
    let value = Value::from_json(body().as_bytes()).expect("JSON");
    bencher.bench(|| black_box(&value).to_json());
}

#[divan::bench]
fn journal_encode(bencher: Bencher<'_, '_>) {
    let transition = transition();
    bencher.bench(|| wire::encode(black_box(&transition)).expect("bytes"));
}

#[divan::bench]
fn journal_decode(bencher: Bencher<'_, '_>) {
    let bytes = wire::encode(&transition()).expect("bytes");
    bencher.bench(|| wire::decode::<Transition>(black_box(&bytes)).expect("a transition"));
}

/// A sink that knows so many secrets.
fn sink(secrets: usize) -> Sink {
    let sink = Sink::default();
    let all: Vec<String> = (0..secrets).map(|number| format!("sk_live_{number:04}Zx9QmT7rLw3B/+{number}=")).collect();
    sink.replace(all.iter().map(String::as_str));
    sink
}

/// What every answer costs while the vault is empty, and with so many secrets in it, none of which is there.
#[divan::bench(args = [0, 1, 20, 1000])]
fn sink_answer_1_kib(bencher: Bencher<'_, '_>, secrets: usize) {
    let (sink, body) = (sink(secrets), body());
    bencher.bench(|| black_box(&sink).finds(black_box(body.as_bytes())));
}

#[divan::bench(args = [0, 20])]
fn sink_answer_64_kib_with_escapes(bencher: Bencher<'_, '_>, secrets: usize) {
    let (sink, body) = (sink(secrets), Value::from(body().repeat(56)).to_json());
    bencher.bench(|| black_box(&sink).finds(black_box(body.as_bytes())));
}

#[divan::bench(args = [20, 1000, 4000])]
fn sink_learns(bencher: Bencher<'_, '_>, secrets: usize) {
    let all: Vec<String> = (0..secrets).map(|number| format!("sk_live_{number:04}Zx9QmT7rLw3B/+{number}=")).collect();
    bencher.bench(|| {
        let sink = Sink::default();
        sink.replace(all.iter().map(String::as_str));
        sink
    });
}

/// What an expression reads: the trigger.
struct Names(Value);

impl Scope for Names {
    fn root(&self, name: &str) -> Option<&Value> {
        (name == "trigger").then_some(&self.0)
    }
    fn step(&self, _id: &str) -> Option<&Value> {
        None
    }
    fn now_ms(&self) -> i64 {
        0
    }
    fn entropy(&self, _n: u32) -> [u8; 16] {
        [0; 16]
    }
}

#[divan::bench(args = [
    "order-{{ trigger.body.id }}",
    "{{ trigger.body.amount * 2 }}",
    "{{ trigger.body.amount >= 100 }}",
    "{{ trigger.body.items.filter(i => i.price > 5).map(i => i.sku) }}",
])]
fn expression(bencher: Bencher<'_, '_>, text: &str) {
    let value = Value::from_json(body().as_bytes()).expect("JSON");
    let names = Names(Value::object([("body", value)]));
    let template = Template::parse_text(text).expect("an expression");
    bencher.bench(|| template.eval(black_box(&names)).expect("a value"));
}

/// A store in memory: sealing and the writer's own work, without a disk.
fn store() -> Store {
    Store::open(&StoreOptions::in_memory([7; 32])).expect("a store")
}

static NUMBER: AtomicU64 = AtomicU64::new(0);

/// One transaction of a run: a sealed journal row and a line in the tail.
fn transaction(store: &Store, transition: &Transition) -> Txn {
    let mut random = [0; 10];
    random.iter_mut().zip(NUMBER.fetch_add(1, Ordering::Relaxed).to_be_bytes()).for_each(|(to, from)| *to = from);
    let run = RunId::from_parts(1_790_000_000_000, &random);
    let mut txn = Txn::new();
    store
        .put(&mut txn, TenantId::DEFAULT, Table::Journal, journal_key(TenantId::DEFAULT, run, 1), transition)
        .expect("sealed");
    txn.tell(TailEntry::Run(TenantId::DEFAULT, run, 1));
    txn
}

#[divan::bench]
fn seal_a_transition(bencher: Bencher<'_, '_>) {
    let (store, transition) = (store(), transition());
    bencher.bench(|| transaction(black_box(&store), &transition));
}

/// The writer's way of a group: check, apply, commit, tell. In memory the disk costs nothing.
#[divan::bench(args = [1, 32], sample_count = 20)]
fn writer_applies(bencher: Bencher<'_, '_>, count: usize) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let (store, transition) = (store(), Arc::new(transition()));
    bencher.with_inputs(|| (0..count).map(|_| transaction(&store, &transition)).collect::<Vec<Txn>>()).bench_values(
        |txns| {
            runtime.block_on(async {
                let mut receipts = Vec::with_capacity(count);
                for txn in txns {
                    receipts.push(store.reserve().await.expect("a place").submit(txn));
                }
                for receipt in receipts {
                    receipt.committed().await.expect("a commit");
                }
            });
        },
    );
}
