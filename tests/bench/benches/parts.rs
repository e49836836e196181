//! Micro-benches of the parts that every run passes: `cargo bench -p aura-bench`.
//!
//! They say where time goes, not how fast AURA is: that is what `aura-bench run` measures.

#![expect(clippy::expect_used, reason = "a bench that cannot prepare its input must stop")]
#![allow(missing_docs, reason = "the names of benches say what they measure")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use aura_daemon::engine::core::plan::Plan;
use aura_daemon::engine::core::{self, Input, Moment, RunState};
use aura_integrations::redact::Sink;
use aura_protocol::event::Delivery;
use aura_protocol::expr::{Scope, Template};
use aura_protocol::flow::Effect;
use aura_protocol::run::{CallOutcome, Record, RunStarted, Transition};
use aura_protocol::{EventId, FlowId, RunId, TenantId, Value, wire};
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
        limit: None,
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

/// A flow of so many steps: values that read each other, calls, branches, tables and lists.
fn long_flow(steps: usize) -> String {
    let mut text = "aura: 1\nflow: long\nsteps:\n".to_owned();
    for number in 0..steps {
        let before = number.saturating_sub(1);
        text.push_str(&match (number, number % 5) {
            (0, _) => "  - { id: s0, set: { n: 1 } }\n".to_owned(),
            (_, 1) => format!("  - {{ id: s{number}, set: {{ n: \"{{{{ steps.s{before}?.output ?? 0 }}}}\", t: \"at {{{{ trigger.body.id }}}}\" }} }}\n"),
            (_, 2) => format!("  - {{ id: s{number}, http: {{ url: \"https://x.example/{{{{ steps.s{before}.output.t }}}}\", body: {{ a: \"{{{{ trigger.body.items.map(i => i.price).sum() }}}}\" }}, method: POST }} }}\n"),
            (_, 3) => format!("  - {{ id: s{number}, branch: [{{ when: \"{{{{ steps.s{before}.output.status == 200 }}}}\", steps: [{{ id: b{number}, set: {{ a: 1 }} }}] }}] }}\n"),
            (_, 4) if number % 10 == 4 => format!("  - {{ id: s{number}, rules: {{ inputs: {{ t: \"{{{{ trigger.body.total }}}}\" }}, rows: [{{ when: {{ t: \"< 50\" }}, then: 1 }}, {{ when: {{ t: \">= 50\" }}, then: 2 }}] }}, set: {{ d: \"{{{{ decision }}}}\" }} }}\n"),
            (_, 4) => format!("  - {{ id: s{number}, set: {{ s: \"{{{{ steps.s{before}.output?.a }}}}\" }} }}\n"),
            _ => format!("  - {{ id: s{number}, map: {{ over: \"{{{{ trigger.body.items }}}}\", steps: [{{ id: m{number}, set: {{ a: \"{{{{ item.sku }}}}\" }} }}] }} }}\n"),
        });
    }
    text
}

#[divan::bench(args = [100, 1000], sample_count = 20)]
fn flow_read(bencher: Bencher<'_, '_>, steps: usize) {
    let text = long_flow(steps);
    bencher.bench(|| aura_protocol::flow::read(black_box(&text)).expect("a flow"));
}

/// At most 50 ms for 1,000 steps.
#[divan::bench(args = [100, 1000], sample_count = 20)]
fn flow_check(bencher: Bencher<'_, '_>, steps: usize) {
    let document = aura_protocol::flow::read(&long_flow(steps)).expect("a flow");
    let findings = aura_protocol::flow::check(&document, None);
    assert!(!aura_protocol::flow::is_refused(&findings), "{findings:?}");
    bencher.bench(|| aura_protocol::flow::check(black_box(&document), None));
}

/// A run of five steps that waits for the answer to its second one, a call.
fn waiting() -> (Arc<Plan>, RunState) {
    let text = "aura: 1\nflow: f\nsteps:
  - { id: a, set: { n: \"{{ trigger.body.id }}\" } }
  - { id: b, http: { method: POST, url: \"https://x.example/{{ steps.a.output.n }}\", body: { amount: \"{{ trigger.body.amount }}\" } } }
  - { id: c, branch: [{ when: \"{{ steps.b.output.status == 200 }}\", steps: [{ id: d, set: { ok: true } }] }] }
  - { id: e, http: { method: POST, url: \"https://x.example/next\", body: \"{{ steps.b.output.body }}\" } }
";
    let document = aura_protocol::flow::read(text).expect("a flow");
    let plan = Plan::compile(&document.flow, "v", &|_| None).expect("a plan");
    let event = Delivery {
        event: EventId::from_bytes([2; 16]),
        trigger: "t".to_owned(),
        method: "POST".to_owned(),
        query: String::new(),
        headers: Vec::new(),
        body: body().into_bytes(),
        blob: None,
        came: None,
        received_ms: 0,
    };
    let started = RunStarted {
        flow_id: FlowId::from_bytes([3; 16]),
        flow: "f".to_owned(),
        version: "v".to_owned(),
        trigger: "t".to_owned(),
        semantics: 1,
        events: vec![event.event],
        event,
        events_more: 0,
        deadline_ms: None,
        refused: None,
        input: Value::Null,
        priority: 0,
        index: Vec::new(),
        vars: Value::Null,
        origin: None,
        caller: None,
    };
    let mut state = RunState::new(RunId::from_bytes([1; 16]), &plan);
    let moment = Moment::new(1, [7; 16]);
    core::step(&plan, &mut state, Input::Start(Arc::new(started)), &moment, &|path| path.to_owned()).expect("begun");
    (plan, state)
}

/// At most 20 µs: an answer comes, what follows from it runs up to the next call.
#[divan::bench(sample_count = 200)]
fn core_transition(bencher: Bencher<'_, '_>) {
    let (plan, state) = waiting();
    let answer = Value::from_json(br#"{"status":200,"headers":{},"body":{"id":7,"state":"done"}}"#).expect("JSON");
    let input = Input::Result { path: "b".to_owned(), attempt: 1, outcome: CallOutcome::Done(answer) };
    let inputs = || (state.clone(), input.clone(), Moment::new(2, [8; 16]));
    bencher.with_inputs(inputs).bench_values(|(mut state, input, moment)| {
        let done = core::step(&plan, &mut state, input, &moment, &|path| path.to_owned()).expect("a transition");
        assert_eq!(done.calls.len(), 1);
        (state, done)
    });
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
