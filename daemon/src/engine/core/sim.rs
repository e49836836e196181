//! The simulator: random flows under a virtual clock, with a crash at every commit and around every call.
//!
//! The peer's behaviour is a script per step, so a run without crashes is the reference for a run with
//! them. Rules that hold for every run stand in [`judge`]; deliberate bugs ([`super::bugs`]) prove that
//! the rules find their kind. A failing case shrinks to a small flow and one crash.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use aura_protocol::flow::{Arm, Effect, Flow, Http, Kind, Retry, Sleep, Span, Step, Stop};
use aura_protocol::run::{
    CallOutcome, ErrorClass, Reach, Record, Resolution, RunStarted, RunState as State, StepError, StepState, Transition,
};
use aura_protocol::{EventId, FlowId, Map, RunId, Value};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};

use super::bugs::{self, Bug};
use super::plan::{Owner, Plan, StepIx};
use super::{Call, Input, Moment, Output, RunState, step};

/// How the peer answers one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Ok,
    /// It happened, but the answer got lost.
    LostAfter,
    /// It did not happen, and nobody heard so.
    LostBefore,
    Refused,
    Slower,
    Unsent,
}

/// A step to generate.
#[derive(Clone, Debug)]
enum Spec {
    Set,
    Sleep(u16),
    Call { effect: Effect, answers: Vec<Answer>, handler: Option<Vec<Spec>>, attempts: u32 },
    Branch { taken: bool, arm: Vec<Spec>, other: Vec<Spec>, handler: Option<Vec<Spec>> },
    Respond,
    Stop(bool),
    SkippedCall,
}

/// A flow, the peer, and what happens to the run from outside.
#[derive(Clone, Debug)]
struct Case {
    steps: Vec<Spec>,
    on_error: Option<Vec<Spec>>,
    finally: Option<Vec<Spec>>,
    /// Cancel after this many commits.
    cancel_after: Option<usize>,
    timeout_s: Option<u16>,
}

fn answer() -> impl Strategy<Value = Answer> {
    prop_oneof![
        4 => Just(Answer::Ok),
        1 => Just(Answer::LostAfter),
        1 => Just(Answer::LostBefore),
        1 => Just(Answer::Refused),
        1 => Just(Answer::Slower),
        1 => Just(Answer::Unsent),
    ]
}

fn effect() -> impl Strategy<Value = Effect> {
    prop_oneof![Just(Effect::Read), Just(Effect::Idempotent), Just(Effect::Keyed), Just(Effect::Once)]
}

fn specs(depth: u32, stops: bool) -> BoxedStrategy<Vec<Spec>> {
    let leaf = prop_oneof![
        2 => Just(Spec::Set),
        2 => (1_u16..500).prop_map(Spec::Sleep),
        1 => Just(Spec::Respond),
        1 => Just(Spec::SkippedCall),
        5 => call(depth, stops),
    ];
    let leaf =
        if stops { prop_oneof![12 => leaf, 1 => any::<bool>().prop_map(Spec::Stop)].boxed() } else { leaf.boxed() };
    if depth == 0 {
        return prop::collection::vec(leaf, 1..3).boxed();
    }
    let branch = (any::<bool>(), specs(depth - 1, stops), specs(depth - 1, stops), handler(depth - 1, stops))
        .prop_map(|(taken, arm, other, handler)| Spec::Branch { taken, arm, other, handler });
    prop::collection::vec(prop_oneof![4 => leaf, 1 => branch], 1..4).boxed()
}

fn handler(depth: u32, stops: bool) -> BoxedStrategy<Option<Vec<Spec>>> {
    prop::option::weighted(0.3, specs(depth, stops)).boxed()
}

fn call(depth: u32, stops: bool) -> BoxedStrategy<Spec> {
    let handler = if depth == 0 { Just(None).boxed() } else { handler(depth - 1, stops) };
    (effect(), prop::collection::vec(answer(), 1..5), handler, 1_u32..4)
        .prop_map(|(effect, answers, handler, attempts)| Spec::Call { effect, answers, handler, attempts })
        .boxed()
}

fn case() -> impl Strategy<Value = Case> {
    (
        specs(2, true),
        prop::option::weighted(0.3, specs(1, true)),
        prop::option::weighted(0.5, specs(1, false)),
        prop::option::weighted(0.2, 0_usize..8),
        prop::option::weighted(0.2, 1_u16..400),
    )
        .prop_map(|(steps, on_error, finally, cancel_after, timeout_s)| Case {
            steps,
            on_error,
            finally,
            cancel_after,
            timeout_s,
        })
}

/// Makes the flow of a case, with a script of answers by step.
#[derive(Default)]
struct Maker {
    count: usize,
    scripts: BTreeMap<String, Vec<Answer>>,
}

impl Maker {
    fn steps(&mut self, specs: &[Spec]) -> Vec<Step> {
        specs.iter().map(|spec| self.step(spec)).collect()
    }

    fn step(&mut self, spec: &Spec) -> Step {
        self.count += 1;
        let id = format!("s{}", self.count);
        let http = || Kind::Http(Http { method: "POST".into(), url: "http://peer/".into(), ..Http::default() });
        let text = |value: bool| format!("{{{{ {value} }}}}");
        let mut step = Step { id: id.clone(), ..Step::default() };
        match spec {
            Spec::Set => step.kind = Kind::Set(Map::from_iter([("a".to_owned(), Value::Int(1))])),
            Spec::Sleep(secs) => step.kind = Kind::Sleep(Sleep::For(format!("{secs}s"))),
            Spec::Respond => step.kind = Kind::Respond(aura_protocol::flow::Respond::default()),
            Spec::Stop(true) => step.kind = Kind::Stop(Stop::Ok(Value::from("enough"))),
            Spec::Stop(false) => step.kind = Kind::Stop(Stop::Fail(Value::from("no"))),
            Spec::SkippedCall => {
                step.kind = http();
                step.when = Some(text(false));
            }
            Spec::Call { effect, answers, handler, attempts } => {
                step.kind = http();
                step.effect = Some(*effect);
                step.retry = Some(Retry { attempts: *attempts, ..Retry::default() });
                step.on_error = handler.as_ref().map(|handler| self.steps(handler)).unwrap_or_default();
                self.scripts.insert(id, answers.clone());
            }
            Spec::Branch { taken, arm, other, handler } => {
                step.kind = Kind::Branch(vec![
                    Arm { when: Some(text(*taken)), steps: self.steps(arm) },
                    Arm { when: None, steps: self.steps(other) },
                ]);
                step.on_error = handler.as_ref().map(|handler| self.steps(handler)).unwrap_or_default();
            }
        }
        step
    }
}

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
        let answer = self.scripts.get(path).and_then(|script| script.get(*turn)).copied().unwrap_or(Answer::Ok);
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
    calls: Vec<Call>,
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
        let flow = Flow {
            flow: "sim".into(),
            steps: maker.steps(&case.steps),
            on_error: case.on_error.as_ref().map(|specs| maker.steps(specs)).unwrap_or_default(),
            finally: case.finally.as_ref().map(|specs| maker.steps(specs)).unwrap_or_default(),
            timeout: case.timeout_s.map(|secs| Span::from_secs(u64::from(secs))),
            ..Flow::default()
        };
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
        self.calls.retain(|call| !abort.contains(&call.step) && !abort_unsent.contains(&call.step));
        for ix in abort_unsent {
            let (path, attempt) = (self.plan.steps[ix].id.clone(), self.state.steps[ix].attempt);
            let outcome = CallOutcome::Failed(StepError::new(ErrorClass::Cancelled, "dropped"), Reach::Unsent);
            self.apply(Input::Result { path, attempt, outcome })?;
        }
        self.calls.extend(calls);
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
        self.epoch += 1;
        if self.journal.is_empty() {
            // The sender heard nothing and sends again.
            self.state = RunState::new(self.state.run, &self.plan);
            return self.apply(start());
        }
        self.state = RunState::fold(self.state.run, &self.plan, &self.journal);
        self.apply(Input::Recover { epoch: self.epoch })
    }

    fn call(&mut self, call: &Call) -> Result<(), Fault> {
        let (path, attempt) = (self.plan.steps[call.step].id.clone(), call.attempt);
        let cell = self.state.steps[call.step].clone();
        let (effect, epoch) = (cell.effect.unwrap_or_default(), self.epoch);
        if effect.needs_started() {
            self.apply(Input::Begin { path: path.clone(), attempt, lease: 1, epoch })?;
            let begun = self.state.steps[call.step].started == Some((attempt, epoch));
            if self.epoch != epoch || !begun {
                return Ok(());
            }
        }
        let key = cell.key.clone();
        let recorded =
            self.journal.iter().flat_map(|transition| &transition.records).any(
                |record| matches!(record, Record::Completed { path: of, attempt, .. } if *of == path && *attempt > 0),
            );
        if recorded {
            return Err(format!("{path} has a recorded result and is sent again"));
        }
        let outcome = self.peer.send(&path, &key, effect);
        if self.point() {
            return self.crash();
        }
        self.now_ms += 7;
        self.apply(Input::Result { path, attempt, outcome })
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
            if let Some(call) = (!self.calls.is_empty()).then(|| self.calls.remove(0)) {
                self.call(&call)?;
                continue;
            }
            let doubt =
                self.state.steps.iter().position(|cell| cell.state == Some(aura_protocol::run::StepState::InDoubt));
            match (self.state.state(), doubt, self.state.next_due()) {
                (State::InDoubt, Some(ix), _) => {
                    let path = self.plan.steps[ix].id.clone();
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
    }))
}

fn records(sim: &Sim) -> impl Iterator<Item = &Record> {
    sim.journal.iter().flat_map(|transition| &transition.records)
}

/// Rules for every run, whatever happened to it.
fn judge(sim: &Sim) -> Result<(), Fault> {
    for ((path, key), times) in &sim.peer.effects {
        if *times > 1 {
            return Err(format!("{path} happened {times} times under {key}"));
        }
    }
    for (path, keys) in &sim.peer.arrived {
        if keys.iter().collect::<BTreeSet<_>>().len() > 1 {
            return Err(format!("{path} was sent with several keys"));
        }
    }
    for (path, sent) in &sim.peer.sent {
        let attempts = usize::try_from(sim.plan.steps[sim.plan.find(path).expect("a step")].retry.attempts).unwrap();
        // A person who resolves by repeating adds one, and so does the crash.
        let repeats = records(sim).filter(
            |record| matches!(record, Record::Resolved { path: of, resolution: Resolution::Retry, .. } if of == path),
        );
        let allowed = attempts + repeats.count() + usize::from(sim.crashed);
        if *sent > allowed {
            return Err(format!("{path} was sent {sent} times, {allowed} are allowed"));
        }
    }
    if let Some(finally) = sim.plan.finally
        && sim.plan.scope_steps(finally).iter().any(|ix| sim.state.steps[*ix].state.is_none())
        && !sim.state.failed.contains(&finally)
    {
        return Err("`finally` did not run".into());
    }
    for (path, _) in sim.peer.effects.keys() {
        let ix = sim.plan.find(path).expect("a step");
        let cell = &sim.state.steps[ix];
        let ended = matches!(cell.state, Some(StepState::Failed | StepState::Cancelled));
        // Of its own last attempt; its handler may have failed in another way. A person who says that it
        // failed is believed, and so is a peer that refuses the same key for good.
        let class = records(sim).filter_map(|record| match record {
            Record::Failed { path: of, attempt, error, .. } if of == path && *attempt > 0 => Some(error.class),
            _ => None,
        });
        let class = class.last();
        let definite = matches!(class, Some(ErrorClass::InDoubt | ErrorClass::Invalid));
        if ended && !definite && !super::state::repeatable(sim.plan.steps[ix].effect) {
            return Err(format!("{path} happened and ended {:?} as {class:?}, not in doubt", cell.state));
        }
    }
    let mut cancelled = false;
    for record in records(sim) {
        match record {
            Record::CancelRequested { .. } => cancelled = true,
            Record::Scheduled { path, .. } if cancelled && !in_finally(&sim.plan, path) => {
                return Err(format!("{path} began after the cancel"));
            }
            _ => {}
        }
    }
    if cancelled && sim.state.finished != Some(State::Cancelled) {
        return Err(format!("the cancel did not stick: {:?}", sim.state.finished));
    }
    let stopped = sim.state.outcome.as_ref().is_some_and(|outcome| outcome.stopped);
    if sim.state.finished == Some(State::Succeeded) && !stopped {
        for (ix, step) in sim.plan.steps.iter().enumerate() {
            if unhandled(sim, ix) {
                return Err(format!("{} failed unhandled and the run is green", step.id));
            }
        }
    }
    Ok(())
}

/// Whether a step failed and neither it nor a step around it has a handler that ended well.
fn unhandled(sim: &Sim, step: StepIx) -> bool {
    let mut at = step;
    loop {
        let cell = &sim.state.steps[at];
        if cell.state != Some(aura_protocol::run::StepState::Failed) || cell.handled {
            return false;
        }
        match sim.plan.owner_of(at) {
            Owner::Arm(owner, _) | Owner::OnError(owner) => at = owner,
            Owner::Root | Owner::FlowOnError | Owner::Finally => return true,
        }
    }
}

fn in_finally(plan: &Plan, path: &str) -> bool {
    let mut at = plan.find(path).expect("a step");
    loop {
        match plan.owner_of(at) {
            Owner::Finally => return true,
            Owner::Arm(owner, _) | Owner::OnError(owner) => at = owner,
            Owner::Root | Owner::FlowOnError => return false,
        }
    }
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
        if timed || scripted_loss(case) {
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
    fn any(specs: &[Spec]) -> bool {
        specs.iter().any(|spec| match spec {
            Spec::Call { answers, handler, .. } => {
                answers.iter().any(|answer| *answer != Answer::Ok) || handler.as_ref().is_some_and(|specs| any(specs))
            }
            Spec::Branch { arm, other, handler, .. } => {
                any(arm) || any(other) || handler.as_ref().is_some_and(|specs| any(specs))
            }
            _ => false,
        })
    }
    any(&case.steps) || [&case.on_error, &case.finally].into_iter().flatten().any(|specs| any(specs))
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
    let cases = std::env::var("AURA_SIM_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(1500);
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
    ];
    for (bug, budget) in budgets {
        let (tried, fault, _) =
            search(Some(bug), budget).expect_err(&format!("{bug:?} was not found in {budget} cases"));
        println!("{bug:?}: found after {tried} of {budget} cases: {fault}");
    }
}
