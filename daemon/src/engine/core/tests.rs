//! Long lists and what people are told: cases that random flows of the simulator do not reach.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aura_protocol::run::{CallOutcome, Record, RunState as State, Transition};
use aura_protocol::{RunId, Value, wire};

use super::fixtures::started;
use super::plan::Plan;
use super::{Call, Input, Moment, RunState, step};

mod book;
mod hold;
mod reference;

fn plan(steps: &str) -> Arc<Plan> {
    plan_of(&format!("aura: 1\nflow: f\nsteps:\n{steps}"))
}

fn plan_of(text: &str) -> Arc<Plan> {
    let document = aura_protocol::flow::read(text).unwrap_or_else(|findings| panic!("{findings:#?}"));
    let findings = aura_protocol::flow::check(&document, None);
    assert!(!aura_protocol::flow::is_refused(&findings), "{findings:#?}");
    Plan::compile(&document.flow, "v", &|_| None).unwrap()
}

/// A run whose calls are answered one after the other.
struct Run {
    plan: Arc<Plan>,
    state: RunState,
    journal: Vec<Transition>,
    calls: VecDeque<Call>,
    now_ms: i64,
}

impl Run {
    fn new(steps: &str, input: Value) -> Self {
        Self::with(plan(steps), input)
    }

    fn of(text: &str, input: Value) -> Self {
        Self::with(plan_of(text), input)
    }

    fn with(plan: Arc<Plan>, input: Value) -> Self {
        let state = RunState::new(RunId::from_bytes([1; 16]), &plan);
        let mut run = Self { plan, state, journal: Vec::new(), calls: VecDeque::new(), now_ms: 1 };
        run.apply(Input::Start(Arc::new(started("hand", input))));
        run
    }

    fn apply(&mut self, input: Input) {
        let moment = Moment::new(self.now_ms, [9; 16]);
        let keys = |path: &str| format!("key-{path}");
        let out = step(&self.plan, &mut self.state, input, &moment, &keys).unwrap();
        self.calls.extend(out.calls);
        if !out.records.is_empty() {
            let number = self.state.transition;
            self.journal.push(Transition { number, at_ms: self.now_ms, records: out.records });
        }
    }

    fn ended(mut self) -> Self {
        while self.state.finished.is_none() {
            if let Some(call) = self.calls.pop_front() {
                let path = self.state.path(&self.plan, call.at);
                let outcome = CallOutcome::Done(Value::from(path.as_str()));
                self.apply(Input::Result { path, attempt: call.attempt, outcome });
            } else {
                self.now_ms = self.state.next_due().expect("something is due").max(self.now_ms);
                self.apply(Input::Due);
            }
        }
        self
    }

    fn bytes(&self) -> Vec<usize> {
        self.journal.iter().map(|transition| wire::encode(transition).unwrap().len()).collect()
    }
}

fn numbers(count: u32) -> Value {
    Value::object([("items", Value::List((0..count).map(|n| Value::from(i64::from(n))).collect()))])
}

const CALLS: &str = "  - id: all
    map:
      over: \"{{ input.items }}\"
      steps:
        - { id: ship, http: { method: PUT, url: \"http://e.org/{{ item }}\" } }
        - { id: note, set: { n: \"{{ item }}\" } }
";

/// Bytes of the journal and the time it took, for so many items.
fn calls(count: u32) -> (usize, Duration) {
    let begin = Instant::now();
    let run = Run::new(CALLS, numbers(count)).ended();
    let took = begin.elapsed();
    assert_eq!(run.state.finished, Some(State::Succeeded));
    let live = run.state.frames.iter().flatten().count();
    assert_eq!(live, 1, "items that have ended are gone from memory");
    let bytes = run.bytes();
    let middle = &bytes[1..bytes.len() - 1];
    assert!(middle.iter().all(|bytes| *bytes < 1500), "no transition of one item holds them all");
    assert_eq!(RunState::fold(run.state.run, &run.plan, &run.journal), run.state);
    (bytes.iter().sum(), took)
}

#[test]
fn ten_thousand_items_cost_ten_times_what_a_thousand_cost() {
    let (few, quick) = calls(1_000);
    let (many, slow) = calls(10_000);
    assert!(many < few * 11, "{few} bytes for 1,000 items, {many} for 10,000");
    assert!(slow < quick * 30 + Duration::from_millis(500), "{quick:?} for 1,000 items, {slow:?} for 10,000");
}

#[test]
fn a_long_list_of_pure_steps_is_several_commits_without_a_pause() {
    let run = Run::new(
        "  - { id: all, map: { over: \"{{ input.items }}\", steps: [{ id: s, set: { n: \"{{ item + 1 }}\" } }] } }",
        numbers(10_000),
    );
    assert_eq!(run.state.state(), State::Running);
    let run = run.ended();
    assert!((10..=12).contains(&run.journal.len()), "{} commits", run.journal.len());
    assert_eq!(run.now_ms, 1, "nothing waits");
    let output = run.state.last_output(0);
    assert_eq!(output.as_list().map(<[Value]>::len), Some(10_000));
    assert_eq!(output.as_list().unwrap()[9_999].to_json(), "{\"n\":10000}");
}

#[test]
fn a_journal_that_is_full_begins_nothing_that_repeats_and_the_run_still_ends_in_order() {
    let text = "aura: 1
flow: f
triggers: [{ id: hand, on: manual }]
steps:
  - id: rounds
    loop:
      while: \"{{ true }}\"
      max_iterations: 100000
      max_duration: 1d
      steps:
        - { id: list, map: { over: \"{{ input.items }}\", steps: [{ id: s, set: { n: \"{{ item }}\" } }] } }
finally:
  - { id: last, http: { method: PUT, url: \"http://e.org/last\" } }
";
    let mut plan = plan_of(text);
    Arc::get_mut(&mut plan).expect("a plan of our own").records_max = 500;
    let run = Run::with(plan, numbers(30)).ended();
    let error = run.state.outcome.as_ref().and_then(|outcome| outcome.error.clone()).expect("an error");
    assert_eq!(error.message, "the run has 500 records, the most it may have; make runs of its parts with `call`");
    assert_eq!(run.state.finished, Some(State::Failed));
    let last = run.journal.iter().flat_map(|transition| &transition.records);
    assert!(last.clone().any(|record| matches!(record, Record::Completed { path, .. } if path == "last")));
    let records = u64::try_from(last.count()).expect("a count");
    assert_eq!(records, run.state.records);
    assert!((500..620).contains(&records), "{records} records: a list that had begun ended, nothing more");
    assert_eq!(RunState::fold(run.state.run, &run.plan, &run.journal), run.state);
}

#[test]
fn a_list_that_is_too_long_or_has_a_key_twice_fails_its_step() {
    let check = |settings: &str, input: Value, expected: &str| {
        let steps = format!("  - {{ id: all, map: {{ {settings}, steps: [{{ id: s, set: {{}} }}] }} }}");
        let run = Run::new(&steps, input).ended();
        let error = run.state.outcome.as_ref().and_then(|outcome| outcome.error.clone()).expect("an error");
        assert!(error.message.contains(expected), "{}", error.message);
    };
    let over = "over: \"{{ input.items }}\"";
    check(over, numbers(100_001), "the list has 100001 items, a map takes at most 100000");
    check(&format!("{over}, key: \"{{{{ item % 2 }}}}\""), numbers(3), "the items 0 and 2 have the same key `0`");
    check(over, Value::object([("items", Value::Int(3))]), "`over` needs a list, this is integer");
    check(
        &format!("{over}, max_parallel: \"{{{{ 0 }}}}\""),
        numbers(1),
        "`max_parallel` must be an integer from 1 to 1000",
    );
}

#[test]
fn a_batch_is_an_item() {
    let steps = "  - { id: all, map: { over: \"{{ input.items }}\", batch: 4, steps: [{ id: s, set: { n: \"{{ item.length }}\" } }] } }";
    let run = Run::new(steps, numbers(10)).ended();
    assert_eq!(run.state.last_output(0).to_json(), "[{\"n\":4},{\"n\":4},{\"n\":2}]");
}

#[test]
fn a_blocked_run_says_which_join_waits_for_whom() {
    let run = Run::new(
        "  - { id: left, sleep: { for: 1h } }
  - { id: right, needs: [], http: { url: \"http://e.org/\" } }
  - { id: other, needs: [], http: { url: \"http://e.org/\" } }
  - { id: two, needs: [left, right, other], join: { n_of: 2 }, set: {} }",
        Value::Null,
    );
    let blocked = run.state.blocked_by(&run.plan).unwrap();
    assert_eq!(blocked.reason, "left sleeps until 1970-01-01T01:00:00.001Z; two waits for 2 of 3: left, right, other");
}

#[test]
fn records_of_items_carry_the_keys_of_all_items_around() {
    let run = Run::new(
        "  - id: orders
    map:
      over: \"{{ input.orders }}\"
      as: order
      key: \"{{ item.id }}\"
      steps:
        - { id: line, each: \"{{ order.lines }}\", http: { method: PUT, url: \"http://e.org/{{ order.id }}/{{ item }}\" } }",
        Value::from_json(br#"{"orders":[{"id":"a[1]","lines":[7,8]},{"id":"b","lines":[]}]}"#).unwrap(),
    )
    .ended();
    let scheduled = run.journal.iter().flat_map(|transition| &transition.records).filter_map(|record| match record {
        Record::Scheduled { path, input, .. } => Some((path.as_str(), input.get("url").cloned().unwrap_or_default())),
        _ => None,
    });
    let scheduled: Vec<(&str, Value)> = scheduled.collect();
    let urls = ["http://e.org/a[1]/7", "http://e.org/a[1]/8"].map(Value::from);
    assert_eq!(scheduled, [("line[a%5b1%5d][0]", urls[0].clone()), ("line[a%5b1%5d][1]", urls[1].clone())]);
    assert_eq!(run.state.last_output(0).to_json(), "[[\"line[a%5b1%5d][0]\",\"line[a%5b1%5d][1]\"],[]]");
}
