//! The simulator: random flows under a virtual clock, with a crash at every commit and around every call.
//!
//! The peer's behaviour is a script per step, so a run without crashes is the reference for a run with
//! them. Rules that hold for every run stand in [`judge`]; deliberate bugs ([`super::bugs`]) prove that
//! the rules find their kind. A failing case shrinks to a small flow and one crash. What may stand in a flow
//! is in [`flows`].

mod flows;
mod judge;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use aura_protocol::flow::Effect;
use aura_protocol::run::{
    CallOutcome, ErrorClass, Reach, Record, Resolution, RunStarted, RunState as State, StepError, StepState, Transition,
};
use aura_protocol::{EventId, FlowId, RunId, Value};
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};

use super::bugs::{self, Bug};
use super::plan::Plan;
use super::{Call, Input, Moment, Output, Place, RunState, step};
use flows::{Answer, Case, Maker, Spec, Waits, any_sketch, case};
use judge::judge;

/// What the outside saw.
#[derive(Debug, Default)]
struct Peer {
    scripts: BTreeMap<String, Vec<Answer>>,
    /// Keys of requests that arrived, by step, in order.
    arrived: BTreeMap<String, Vec<String>>,
    /// Requests that left, whatever became of them.
    sent: BTreeMap<String, usize>,
    /// Times that it happened, by step and key.
    effects: BTreeMap<(String, String), usize>,
    /// Position in the script: lost answers do not move it for a key that was seen.
    turn: BTreeMap<String, usize>,
}

impl Peer {
    fn send(&mut self, path: &str, key: &str, effect: Effect) -> CallOutcome {
        *self.sent.entry(path.to_owned()).or_default() += 1;
        let turn = self.turn.entry(path.to_owned()).or_default();
        let answer = self.scripts.get(id_of(path)).and_then(|script| script.get(*turn)).copied().unwrap_or(Answer::Ok);
        *turn += 1;
        let failed = |class: ErrorClass, reach| CallOutcome::Failed(StepError::new(class, "scripted"), reach);
        if answer == Answer::Unsent {
            return failed(ErrorClass::Transient, Reach::Unsent);
        }
        self.arrived.entry(path.to_owned()).or_default().push(key.to_owned());
        match answer {
            Answer::Ok | Answer::LostAfter => {
                let times = self.effects.entry((path.to_owned(), key.to_owned())).or_default();
                *times = if effect == Effect::Once { *times + 1 } else { 1 };
                if answer == Answer::Ok {
                    CallOutcome::Done(Value::from(path))
                } else {
                    failed(ErrorClass::Timeout, Reach::Unknown)
                }
            }
            Answer::LostBefore => failed(ErrorClass::Timeout, Reach::Unknown),
            Answer::Refused => failed(ErrorClass::Invalid, Reach::Refused),
            Answer::Slower => failed(ErrorClass::RateLimited, Reach::Refused),
            Answer::Unsent => failed(ErrorClass::Transient, Reach::Unsent),
        }
    }

    fn happened(&self, path: &str) -> bool {
        self.effects.keys().any(|(of, _)| of == path)
    }
}

/// A run in the simulator.
struct Sim {
    plan: Arc<Plan>,
    state: RunState,
    journal: Vec<Transition>,
    peer: Peer,
    /// Wanted, not sent.
    calls: Vec<Call>,
    /// Sent, not answered.
    out: Vec<(Call, String, CallOutcome)>,
    luck: u64,
    now_ms: i64,
    epoch: u64,
    /// Points at which a crash could have come, so far.
    points: usize,
    /// The point at which it comes.
    crash_at: Option<usize>,
    crashed: bool,
}

/// Something that must not be.
type Fault = String;

impl Sim {
    fn new(case: &Case, crash_at: Option<usize>) -> Self {
        let mut maker = Maker::default();
        let flow = maker.flow(case);
        let plan = Plan::compile(&flow, "v", &|_| None).expect("generated flows compile");
        let run = RunId::from_parts(1, &[1; 10]);
        let peer = Peer { scripts: maker.scripts, ..Peer::default() };
        let state = RunState::new(run, &plan);
        Self {
            plan,
            state,
            journal: Vec::new(),
            peer,
            calls: Vec::new(),
            out: Vec::new(),
            luck: case.luck,
            now_ms: 1_000,
            epoch: 1,
            points: 0,
            crash_at,
            crashed: false,
        }
    }

    /// One transition and its commit. A crash may come before it (it is lost) or after it.
    fn apply(&mut self, input: Input) -> Result<(), Fault> {
        let mut seed = [0; 16];
        seed[0] = u8::try_from(self.journal.len() % 251).unwrap_or(0);
        let moment = Moment::new(self.now_ms, seed);
        let keys = |path: &str| format!("key-{path}");
        let Output { records, calls, abort, abort_unsent } =
            match step(&self.plan, &mut self.state, input, &moment, &keys) {
                Ok(output) => output,
                Err(_) => return Ok(()),
            };
        if self.point() {
            return self.crash();
        }
        if !records.is_empty() {
            self.journal.push(Transition { number: self.state.transition, at_ms: self.now_ms, records });
            let read = RunState::fold(self.state.run, &self.plan, &self.journal);
            if read != self.state {
                return Err("the journal does not read back as the run in memory".into());
            }
        }
        self.calls.extend(calls);
        self.calls.retain(|call| !abort.contains(&call.at));
        self.out.retain(|(call, _, _)| !abort.contains(&call.at));
        for at in abort_unsent {
            let Some(found) = self.calls.iter().position(|call| call.at == at) else { continue };
            let call = self.calls.remove(found);
            let path = self.state.path(&self.plan, at);
            let outcome = CallOutcome::Failed(StepError::new(ErrorClass::Cancelled, "dropped"), Reach::Unsent);
            self.apply(Input::Result { path, attempt: call.attempt, outcome })?;
        }
        self.within_bounds()?;
        if self.point() { self.crash() } else { Ok(()) }
    }

    fn point(&mut self) -> bool {
        self.points += 1;
        !self.crashed && self.crash_at == Some(self.points)
    }

    /// Memory is lost; the journal is not.
    fn crash(&mut self) -> Result<(), Fault> {
        self.crashed = true;
        self.calls.clear();
        self.out.clear();
        self.epoch += 1;
        if self.journal.is_empty() {
            // The sender heard nothing and sends again.
            self.state = RunState::new(self.state.run, &self.plan);
            return self.apply(start());
        }
        self.state = RunState::fold(self.state.run, &self.plan, &self.journal);
        self.apply(Input::Recover { epoch: self.epoch, restored: false })
    }

    /// Sends a call that is still wanted; its answer comes later.
    fn call(&mut self, call: Call) -> Result<(), Fault> {
        let (at, attempt) = (call.at, call.attempt);
        let wanted = |state: &RunState| state.cell(at).is_some_and(|cell| cell.calling() && cell.attempt == attempt);
        if !wanted(&self.state) {
            return Ok(());
        }
        let path = self.state.path(&self.plan, at);
        let cell = self.state.cell(at).cloned().unwrap_or_default();
        let (effect, epoch) = (cell.effect.unwrap_or_default(), self.epoch);
        if effect.needs_started() {
            self.apply(Input::Begin { path: path.clone(), attempt, lease: 1, epoch })?;
            let begun = self.state.cell(at).is_some_and(|cell| cell.started == Some((attempt, epoch)));
            if self.epoch != epoch || !begun {
                return Ok(());
            }
        }
        let recorded =
            self.journal.iter().flat_map(|transition| &transition.records).any(
                |record| matches!(record, Record::Completed { path: of, attempt, .. } if *of == path && *attempt > 0),
            );
        if recorded {
            return Err(format!("{path} has a recorded result and is sent again"));
        }
        let outcome = self.peer.send(&path, &cell.key, effect);
        if self.point() {
            return self.crash();
        }
        self.out.push((call, path, outcome));
        Ok(())
    }

    /// An answer arrives.
    fn answer(&mut self, which: usize) -> Result<(), Fault> {
        let (call, path, outcome) = self.out.remove(which);
        self.now_ms += 7;
        self.apply(Input::Result { path, attempt: call.attempt, outcome })
    }

    /// A number below `bound` that the case and the moment decide.
    fn pick(&self, bound: usize) -> usize {
        let mixed = (self.luck ^ (self.points as u64)).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(23);
        usize::try_from(mixed % (bound.max(1) as u64)).unwrap_or(0)
    }

    /// No map has more items at work than it may.
    fn within_bounds(&self) -> Result<(), Fault> {
        for cell in self.state.frames.iter().flatten().flat_map(|frame| &frame.cells) {
            if let Some(items) = cell.items.as_ref().filter(|items| !items.list.is_empty())
                && items.live.len() > usize::try_from(items.parallel).unwrap_or(0)
            {
                return Err(format!("{} items are at work, {} may be", items.live.len(), items.parallel));
            }
        }
        Ok(())
    }

    /// Runs to the end; the person who resolves knows what the peer knows.
    fn run(mut self, case: &Case) -> Result<Self, Fault> {
        self.apply(start())?;
        let mut cancelled = false;
        for _ in 0..3000 {
            if self.state.finished.is_some() {
                return Ok(self);
            }
            if let (false, Some(after)) = (cancelled, case.cancel_after)
                && self.journal.len() > after
            {
                cancelled = true;
                self.apply(Input::Cancel { by: "test".into(), reason: "scripted".into() })?;
                continue;
            }
            if !self.calls.is_empty() || !self.out.is_empty() {
                let which = self.pick(self.calls.len() + self.out.len());
                if which < self.calls.len() {
                    let call = self.calls.remove(which);
                    self.call(call)?;
                } else {
                    self.answer(which - self.calls.len())?;
                }
                continue;
            }
            let mut doubt: Option<Place> = None;
            self.state.each_live(&mut |at, cell| {
                if cell.state == Some(StepState::InDoubt) {
                    doubt.get_or_insert(at);
                }
            });
            match (self.state.state(), doubt, self.state.next_due()) {
                (State::InDoubt, Some(at), _) => {
                    let path = self.state.path(&self.plan, at);
                    let happened = self.peer.happened(&path);
                    let resolution =
                        if happened { Resolution::Done(Value::from(path.as_str())) } else { Resolution::Retry };
                    let (before, epoch) = (self.journal.len(), self.epoch);
                    self.apply(Input::Resolve { path: path.clone(), resolution, by: "test".into() })?;
                    if self.journal.len() == before && self.epoch == epoch {
                        // A call of a part that is over is not repeated; the person says so.
                        self.apply(Input::Resolve { path, resolution: Resolution::Fail, by: "test".into() })?;
                    }
                }
                (_, _, Some(due)) => {
                    self.now_ms = self.now_ms.max(due);
                    self.apply(Input::Due)?;
                }
                (state, _, None) => return Err(format!("stands still while {state:?}, nothing due")),
            }
        }
        Err("never ends".into())
    }
}

/// The id in a path.
fn id_of(path: &str) -> &str {
    path.split('[').next().unwrap_or(path)
}

fn start() -> Input {
    let event = aura_protocol::event::Delivery {
        event: EventId::from_bytes([2; 16]),
        trigger: "t".into(),
        method: "POST".into(),
        query: String::new(),
        headers: Vec::new(),
        body: b"{}".to_vec(),
        blob: None,
        received_ms: 1_000,
    };
    Input::Start(Arc::new(RunStarted {
        flow_id: FlowId::from_bytes([3; 16]),
        flow: "sim".into(),
        version: "v".into(),
        trigger: "t".into(),
        semantics: 1,
        events: vec![event.event],
        event,
        events_more: 0,
        deadline_ms: None,
        refused: None,
        input: Value::Null,
        vars: Value::Null,
    }))
}

fn records(sim: &Sim) -> impl Iterator<Item = &Record> {
    sim.journal.iter().flat_map(|transition| &transition.records)
}

/// One case: without a crash, then with a crash at every point.
fn check(case: &Case) -> Result<(), Fault> {
    let calm = Sim::new(case, None).run(case)?;
    judge(&calm)?;
    // What comes from outside at a moment of its own meets a run with a crash at another moment.
    let timed = case.cancel_after.is_some() || case.timeout_s.is_some();
    for at in 1..=calm.points {
        let crashed = Sim::new(case, Some(at)).run(case).map_err(|fault| format!("crash at {at}: {fault}"))?;
        judge(&crashed).map_err(|fault| format!("crash at {at}: {fault}"))?;
        if timed || scripted_loss(case) || is_race(case) {
            continue;
        }
        if crashed.state.finished != calm.state.finished {
            return Err(format!("crash at {at}: ends {:?}, not {:?}", crashed.state.finished, calm.state.finished));
        }
        let effects = |sim: &Sim| sim.peer.effects.keys().map(|(path, _)| path.clone()).collect::<BTreeSet<_>>();
        if effects(&crashed) != effects(&calm) {
            return Err(format!("crash at {at}: effects {:?}, not {:?}", effects(&crashed), effects(&calm)));
        }
    }
    Ok(())
}

/// Whether a repeated request would meet another answer of the script: then ends may differ honestly.
fn scripted_loss(case: &Case) -> bool {
    any_sketch(case, &|sketch| match &sketch.spec {
        Spec::Call { answers, .. } | Spec::Each { answers, .. } => answers.iter().any(|answer| *answer != Answer::Ok),
        _ => false,
    })
}

/// Whether it depends on who comes first what else is done: then a crash may decide it otherwise.
fn is_race(case: &Case) -> bool {
    let joins = any_sketch(case, &|sketch| matches!(&sketch.waits, Waits::Join { join, .. } if *join > 0));
    let parallel = any_sketch(case, &|sketch| {
        !matches!(sketch.waits, Waits::Before) || matches!(sketch.spec, Spec::Map { .. } | Spec::Each { .. })
    });
    joins || (parallel && any_sketch(case, &|sketch| matches!(sketch.spec, Spec::Stop(_))))
}

/// Journals of random flows for the golden files: half of them with a crash, all small, each with much in it.
pub(super) fn recorded(count: usize) -> Vec<(aura_protocol::flow::Flow, Vec<Transition>)> {
    use proptest::strategy::{Strategy, ValueTree};
    let mut runner = TestRunner::new_with_rng(Config::default(), TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let mut found = Vec::new();
    while found.len() < count {
        let case = case().new_tree(&mut runner).expect("a case").current();
        let Ok(calm) = Sim::new(&case, None).run(&case) else { continue };
        let crash = (found.len() % 2 == 1).then_some(calm.points / 2);
        let Ok(run) = Sim::new(&case, crash).run(&case) else { continue };
        let bytes: usize =
            run.journal.iter().map(|row| aura_protocol::wire::encode(row).map_or(0, |row| row.len())).sum();
        if (12..40).contains(&run.journal.len()) && bytes < 3500 {
            found.push((Maker::default().flow(&case), run.journal));
        }
    }
    found
}

/// Runs random cases; gives the fault and how many cases it took.
fn search(bug: Option<Bug>, cases: u32) -> Result<(), (u32, Fault, Case)> {
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 400, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let tried = std::cell::Cell::new(0_u32);
    let failed = std::cell::Cell::new(false);
    let found = bugs::with(bug, || {
        runner.run(&case(), |case| {
            if !failed.get() {
                tried.set(tried.get() + 1);
            }
            check(&case).map_err(|fault| {
                failed.set(true);
                TestCaseError::fail(fault)
            })
        })
    });
    match found {
        Ok(()) => Ok(()),
        Err(TestError::Fail(reason, case)) => Err((tried.get(), reason.message().to_owned(), case)),
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn random_flows_survive_a_crash_at_every_point() {
    let cases = std::env::var("AURA_SIM_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(300);
    if let Err((tried, fault, case)) = search(None, cases) {
        panic!("after {tried} cases: {fault}\n{case:#?}");
    }
}

#[test]
fn every_deliberate_bug_is_found_within_its_budget() {
    let budgets = [
        (Bug::OnceIsRepeated, 200),
        (Bug::AttemptsAreForgotten, 200),
        (Bug::KeyPerAttempt, 200),
        (Bug::FinallyOnlyWhenGreen, 200),
        (Bug::HandledIsForgotten, 200),
        (Bug::CancelDoesNotStick, 200),
        (Bug::JoinCountsSkipped, 200),
        (Bug::CompensationInOrder, 200),
        (Bug::LosersGoOn, 200),
        (Bug::ItemKeyIsForgotten, 200),
    ];
    for (bug, budget) in budgets {
        let (tried, fault, _) =
            search(Some(bug), budget).expect_err(&format!("{bug:?} was not found in {budget} cases"));
        println!("{bug:?}: found after {tried} of {budget} cases: {fault}");
    }
}
