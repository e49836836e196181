//! One run of a flow under test: the pure core, a virtual clock, and a world that answers by pins.
//!
//! Invariant: nothing here knows the flow's rules. The core decides, this only does what the driver does (calls, timers,
//! signals, people, crashes) in memory and in one order that never changes, so a case gives the same every time.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use aura_integrations::registry::Registry;
use aura_protocol::approval::{Ask, Vote};
use aura_protocol::flow::cases::{Case, Fault};
use aura_protocol::flow::{Effect, Flow, InDoubtPolicy, Span};
use aura_protocol::run::{Awaited, CallOutcome, ErrorClass, Reach, Record, Resolution, StepError, Transition};
use aura_protocol::{RunId, Value};
use sha2::{Digest, Sha256};

use super::part::Part;
use super::world::{Halt, World, id_of, later};
use super::{SIMULATED, begin};
use crate::engine::core::decide::forgotten;
use crate::engine::core::plan::Plan;
use crate::engine::core::scope::Links;
use crate::engine::core::{Call, Input, Moment, Output, Place, RunState, step};
use crate::engine::kv::{Planned, planned};
use crate::runner::wire::Job;

/// A run of a case has at most so many transitions.
const TRANSITIONS_MAX: u32 = 200_000;

/// At most so many people decide about one step of a case.
const VOTES_MAX: usize = 50;

/// What will come at some time.
#[derive(Clone, Debug)]
enum Coming {
    /// The answer of a call; gone with a crash.
    Answer { at: Place, path: String, attempt: u32, outcome: CallOutcome },
    /// A called run ends.
    Returned { path: String, run: RunId, outcome: Result<Value, Box<StepError>> },
    /// A signal of the case, by its number; or of a pin.
    Signal { path: String, data: Value, number: Option<usize> },
    /// Those who are asked agree, or refuse with these words.
    Votes { path: String, ask: Box<Ask>, said: Result<Value, String> },
    /// A person decides about a step in doubt.
    Resolve { path: String, resolution: Resolution },
    /// Somebody cancels.
    Cancel,
}

/// Runs a script in a process of its own.
pub(super) type Scripts<'a> = &'a dyn Fn(&Job) -> CallOutcome;

/// Where the daemon is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kill {
    /// As soon as the journal holds so many records.
    Records(u32),
    /// At this commit or call, counted from 1.
    Point(u32),
}

/// How a run of a case ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// The run is over.
    Finished,
    /// Nothing is due and nothing comes.
    StandsStill,
    /// The trigger's filter did not let the event in.
    Dropped,
    /// The asked step has settled; nothing more was done.
    Reached,
}

/// See the module.
pub(super) struct Stage<'a> {
    pub plan: Arc<Plan>,
    pub state: RunState,
    pub journal: Vec<Transition>,
    pub world: World<'a>,
    pub begin_ms: i64,
    pub now_ms: i64,
    /// Records of the journal.
    pub records: u32,
    /// Commits and calls so far.
    pub points: u32,
    /// A person had to decide because of the crash.
    pub doubts: u32,
    /// What each signal of the case met.
    pub taken: Vec<bool>,
    flow: &'a Flow,
    case: &'a Case,
    scripts: Scripts<'a>,
    kill: Vec<Kill>,
    /// A person who knows what happened decides about what a crash left in doubt.
    knowing: bool,
    epoch: u64,
    /// Records that end something: what is drawn depends on them, and a crash changes none.
    settled: u32,
    transitions: u32,
    wanted: VecDeque<Call>,
    coming: BTreeMap<(i64, u64), Coming>,
    number: u64,
    until: Instant,
    part: Option<&'a Part>,
    reached: bool,
}

struct Addresses;

impl Links for Addresses {
    fn callback(&self, _run: RunId, path: &str) -> String {
        format!("{SIMULATED}c/{path}")
    }

    fn approval(&self, _run: RunId, path: &str, account: &str) -> String {
        format!("{SIMULATED}a/{account}/{path}")
    }
}

/// The id of the run under test.
fn run_id() -> RunId {
    RunId::from_bytes([0xA1; 16])
}

/// The key of a step: as the real one it follows from run and path alone.
fn key(path: &str) -> String {
    let digest = Sha256::digest(path.as_bytes());
    format!("aura_{}", hex::encode(digest.get(..13).unwrap_or_default()))
}

impl<'a> Stage<'a> {
    pub(super) fn new(
        (flow, plan): (&'a Flow, &Arc<Plan>),
        case: &'a Case,
        (registry, scripts): (&'a Registry, Scripts<'a>),
        until: Instant,
    ) -> Self {
        let begin_ms = case.clock_ms.unwrap_or(begin::CLOCK_MS);
        let faults = case.faults.iter().filter_map(|fault| match fault {
            Fault::Crash(records) => Some(Kill::Records(*records)),
            Fault::Cancel(_) => None,
        });
        Self {
            plan: Arc::clone(plan),
            state: RunState::new(run_id(), plan),
            journal: Vec::new(),
            world: World::new(flow, case, registry),
            begin_ms,
            now_ms: begin_ms,
            records: 0,
            points: 0,
            doubts: 0,
            taken: vec![false; case.signals.len()],
            flow,
            case,
            scripts,
            kill: faults.collect(),
            knowing: false,
            epoch: 1,
            settled: 0,
            transitions: 0,
            wanted: VecDeque::new(),
            coming: BTreeMap::new(),
            number: 0,
            until,
            part: None,
            reached: false,
        }
    }

    /// The same, as far as a part goes.
    pub(super) fn of_part(mut self, part: Option<&'a Part>) -> Self {
        self.part = part;
        self
    }

    /// The same, killed at a commit or call; a person who knows decides about what that leaves in doubt.
    pub(super) fn killed_at(mut self, point: u32) -> Self {
        self.kill = vec![Kill::Point(point)];
        self.knowing = true;
        self
    }

    /// Runs to the end.
    pub(super) fn run(&mut self) -> Result<Ended, Halt> {
        let moment = self.moment();
        self.world.kept = begin::kept(self.case, run_id(), self.now_ms);
        let Some(started) = begin::started(self.flow, &self.plan, self.case, &moment)? else {
            return Ok(Ended::Dropped);
        };
        for (number, signal) in self.case.signals.iter().enumerate() {
            let (path, data) = (signal.step.clone(), signal.data.clone());
            self.comes(later(self.begin_ms, signal.at), Coming::Signal { path, data, number: Some(number) });
        }
        for fault in &self.case.faults {
            if let Fault::Cancel(at) = fault {
                self.comes(later(self.begin_ms, *at), Coming::Cancel);
            }
        }
        self.apply(Input::Start(Arc::new(started)))?;
        while self.state.finished.is_none() && !self.reached {
            if let Some(call) = self.wanted.pop_front() {
                self.send(&call)?;
                continue;
            }
            let next = self.coming.first_key_value().map(|((at, _), _)| (*at).max(self.now_ms));
            match (next, self.state.next_due().map(|due| due.max(self.now_ms))) {
                (None, None) => return Ok(Ended::StandsStill),
                (next, Some(due)) if next.is_none_or(|next| due < next) => {
                    self.now_ms = due;
                    self.apply(Input::Due)?;
                }
                _ => self.meet()?,
            }
        }
        Ok(if self.reached { Ended::Reached } else { Ended::Finished })
    }

    /// Time and chance of the next transition. They follow from what has settled, so a crash does not change them.
    fn moment(&self) -> Moment {
        let mut seed = [0; 16];
        let digest = Sha256::digest(self.settled.to_be_bytes());
        seed.iter_mut().zip(digest).for_each(|(to, from)| *to = from);
        Moment::new(self.now_ms, seed).with_links(Arc::new(Addresses))
    }

    fn comes(&mut self, at_ms: i64, what: Coming) {
        self.number += 1;
        self.coming.insert((at_ms, self.number), what);
    }

    /// One transition; false if it does not apply to the run as it is.
    fn apply(&mut self, input: Input) -> Result<bool, Halt> {
        self.transitions += 1;
        if self.transitions > TRANSITIONS_MAX {
            let message = format!("the run has more than {TRANSITIONS_MAX} transitions; test it with less");
            return Err(Halt::new("", message));
        }
        if self.transitions.is_multiple_of(64) && Instant::now() > self.until {
            return Err(Halt::new("", OUT_OF_TIME));
        }
        let moment = self.moment();
        let Ok(Output { records, calls, abort, abort_unsent, children }) =
            step(&self.plan, &mut self.state, input, &moment, &key)
        else {
            return Ok(false);
        };
        self.wanted.retain(|call| !abort.contains(&call.at));
        self.coming.retain(|_, coming| match coming {
            Coming::Answer { at, .. } => !abort.contains(at),
            Coming::Returned { run, .. } => !children.contains(run),
            _ => true,
        });
        let unsent: Vec<Call> = self.wanted.iter().filter(|call| abort_unsent.contains(&call.at)).cloned().collect();
        self.wanted.retain(|call| !abort_unsent.contains(&call.at));
        self.wanted.extend(calls);
        self.committed(records)?;
        for call in unsent {
            let path = self.state.path(&self.plan, call.at);
            let error = StepError::new(ErrorClass::Cancelled, "dropped before it was sent");
            let outcome = CallOutcome::Failed(error, Reach::Unsent);
            self.apply(Input::Result { path, attempt: call.attempt, outcome })?;
        }
        Ok(true)
    }

    /// A transition is in the journal: people and the other side see what it says, or the daemon is killed.
    fn committed(&mut self, records: Vec<Record>) -> Result<(), Halt> {
        if records.is_empty() {
            return Ok(());
        }
        self.records = self.records.saturating_add(u32::try_from(records.len()).unwrap_or(u32::MAX));
        for record in &records {
            self.settled += u32::from(ends_something(record));
            self.reached |= self.part.is_some_and(|part| part.ends_with(&self.plan, record));
            match record {
                Record::Awaiting { path, what, .. } => self.awaits(path, what)?,
                Record::InDoubt { path, attempt, .. } => self.doubts(path, *attempt),
                _ => {}
            }
        }
        self.journal.push(Transition { number: self.state.transition, at_ms: self.now_ms, records });
        let here = self.records;
        let due = self.kill.iter().position(|kill| matches!(kill, Kill::Records(at) if *at <= here));
        if let Some(due) = due {
            self.kill.swap_remove(due);
            return self.crash();
        }
        self.point()
    }

    /// A commit or a call that left.
    fn point(&mut self) -> Result<(), Halt> {
        self.points += 1;
        let here = self.points;
        match self.kill.iter().position(|kill| *kill == Kill::Point(here)) {
            Some(due) => {
                self.kill.swap_remove(due);
                self.crash()
            }
            None => Ok(()),
        }
    }

    /// Memory is lost, the journal is not; calls that were out have nobody who hears their answers.
    fn crash(&mut self) -> Result<(), Halt> {
        self.wanted.clear();
        self.coming.retain(|_, coming| !matches!(coming, Coming::Answer { .. }));
        let read = RunState::fold(run_id(), &self.plan, &self.journal);
        if read != self.state {
            return Err(Halt::new("", "the journal does not read back as the run in memory; this is a fault of AURA"));
        }
        self.epoch += 1;
        if self.state.finished.is_some() {
            return Ok(());
        }
        self.apply(Input::Recover { epoch: self.epoch, restored: false }).map(drop)
    }

    /// A step waits for something from outside: it comes if it is pinned.
    fn awaits(&mut self, path: &str, what: &Awaited) -> Result<(), Halt> {
        if matches!(what, Awaited::Run { .. }) {
            return Ok(());
        }
        let Some(pin) = self.world.pins(path).and_then(<[_]>::first) else {
            let Some(data) = self.world.comes(path, what) else { return Ok(()) };
            let path = path.to_owned();
            let coming = match what {
                Awaited::People(ask) => Coming::Votes { path, ask: ask.clone(), said: Ok(data) },
                _ => Coming::Signal { path, data, number: None },
            };
            self.comes(self.now_ms, coming);
            return Ok(());
        };
        let at_ms = later(self.now_ms, pin.after);
        match (self.world.said(path, &pin.says)?.0, what) {
            (outcome, Awaited::People(ask)) => {
                let said = match outcome {
                    CallOutcome::Done(form) => Ok(form),
                    CallOutcome::Failed(error, _) => Err(error.message),
                };
                self.comes(at_ms, Coming::Votes { path: path.to_owned(), ask: ask.clone(), said });
                Ok(())
            }
            (CallOutcome::Done(data), _) => {
                let path = path.to_owned();
                self.comes(at_ms, Coming::Signal { path, data, number: None });
                Ok(())
            }
            _ => {
                let message =
                    format!("{path} waits for something from outside: pin the `output` that comes, or nothing");
                Err(Halt::new(super::world::place("pins", path), message))
            }
        }
    }

    /// A step is in doubt: the case says what a person decides; about what a crash did, one who knows decides.
    fn doubts(&mut self, path: &str, attempt: u32) {
        let of = |name: &str| self.case.resolve.iter().find(|(step, _)| step == name);
        let told = self.world.told(path, attempt).cloned();
        let unknown = |attempt| {
            let told = self.world.told(path, attempt);
            told.is_some_and(|answer| matches!(answer.outcome, CallOutcome::Failed(_, Reach::Unknown)))
        };
        let by_itself = (1..=attempt).any(unknown);
        let (at_ms, resolution) = match of(path).or_else(|| of(id_of(path))) {
            Some((_, resolution)) if by_itself || !self.knowing => (self.now_ms, resolution.clone()),
            _ if by_itself || !self.knowing => return,
            _ => {
                self.doubts += 1;
                match told {
                    Some(super::world::Answer { at_ms, outcome: CallOutcome::Done(output), .. })
                        if self.world.happened(path) =>
                    {
                        (at_ms.max(self.now_ms), Resolution::Done(output))
                    }
                    _ => (self.now_ms, Resolution::Retry),
                }
            }
        };
        self.comes(at_ms, Coming::Resolve { path: path.to_owned(), resolution });
    }

    /// The first of what comes is here.
    fn meet(&mut self) -> Result<(), Halt> {
        let Some(((at_ms, _), coming)) = self.coming.pop_first() else { return Ok(()) };
        self.now_ms = self.now_ms.max(at_ms);
        match coming {
            Coming::Answer { path, attempt, outcome, .. } => {
                self.apply(Input::Result { path, attempt, outcome })?;
            }
            Coming::Returned { path, run, outcome } => {
                self.apply(Input::Returned { path, run, outcome })?;
            }
            Coming::Cancel => {
                self.apply(Input::Cancel { by: "the case".to_owned(), reason: "as its faults say".to_owned() })?;
            }
            Coming::Signal { path, data, number } => {
                let taken = self.apply(Input::Signal { path, data, by: "the case".to_owned() })?;
                if let Some(place) = number.and_then(|number| self.taken.get_mut(number)) {
                    *place = taken;
                }
            }
            Coming::Votes { path, ask, said } => self.vote(&path, &ask, &said)?,
            Coming::Resolve { path, resolution } => {
                let by = "the case".to_owned();
                let refused = !self.apply(Input::Resolve { path: path.clone(), resolution: resolution.clone(), by })?;
                if refused && resolution == Resolution::Retry {
                    // A call of a part that is over is not repeated; the person says so.
                    let by = "the case".to_owned();
                    self.apply(Input::Resolve { path, resolution: Resolution::Fail, by })?;
                }
            }
        }
        Ok(())
    }

    /// One after the other of those who are asked decides, until it is decided.
    fn vote(&mut self, path: &str, ask: &Ask, said: &Result<Value, String>) -> Result<(), Halt> {
        let quorum = usize::try_from(ask.quorum).unwrap_or(usize::MAX).clamp(1, VOTES_MAX);
        let rounds = quorum.saturating_add(ask.approvers.len()).min(VOTES_MAX);
        for (number, who) in ask.approvers.iter().cycle().take(rounds).enumerate() {
            // A role has several people in it, an account is one.
            let by = if number < ask.approvers.len() { who.clone() } else { format!("{who}-{number}") };
            let (form, comment) = match said {
                Ok(form) => (form.clone(), String::new()),
                Err(why) => (Value::Null, why.clone()),
            };
            let hash = ask.hash.clone();
            let vote = Vote { by, approve: said.is_ok(), hash, form, comment, via: String::new(), at_ms: 0 };
            self.apply(Input::Vote { path: path.to_owned(), role: who.clone(), vote })?;
        }
        Ok(())
    }

    /// Makes a call that is still wanted.
    fn send(&mut self, call: &Call) -> Result<(), Halt> {
        let (at, attempt) = (call.at, call.attempt);
        let Some(cell) = self.state.cell(at).filter(|cell| cell.calling() && cell.attempt == attempt) else {
            return Ok(());
        };
        let (input, key, effect) = (cell.input.clone(), cell.key.clone(), cell.effect.unwrap_or_default());
        let path = self.state.path(&self.plan, at);
        if self.part.is_some_and(|part| !part.beside(&path)) {
            return Ok(());
        }
        let plan = Arc::clone(&self.plan);
        let Some(step) = plan.step(call.step) else { return Ok(()) };
        if step.kind.keeps() {
            let outcome = self.keep(&path, &input)?;
            return self.apply(Input::Result { path, attempt, outcome }).map(drop);
        }
        if step.kind.emits() {
            let pin = self.world.pins(&path).and_then(<[_]>::first);
            let outcome = match pin {
                Some(pin) => self.world.said(&path, &pin.says)?.0,
                None => CallOutcome::Done(Value::object([("told", Value::List(Vec::new()))])),
            };
            self.world.came(&path, &key, effect, &input, self.now_ms, true);
            return self.apply(Input::Result { path, attempt, outcome }).map(drop);
        }
        if step.kind.calls_flow() {
            return self.call_flow(path, attempt, &input, &key);
        }
        if let Some(job) = step.kind.job(&key, &input).filter(|_| self.world.pins(&path).is_none()) {
            self.world.came(&path, &key, effect, &input, self.now_ms, true);
            let outcome = match job {
                Ok(job) => (self.scripts)(&job),
                Err(message) => CallOutcome::Failed(StepError::new(ErrorClass::Invalid, message), Reach::Unsent),
            };
            return self.apply(Input::Result { path, attempt, outcome }).map(drop);
        }
        if let Some(error) = self.world.unsendable(&path, &input) {
            let outcome = CallOutcome::Failed(error, Reach::Unsent);
            return self.apply(Input::Result { path, attempt, outcome }).map(drop);
        }
        if effect.needs_started() {
            let epoch = self.epoch;
            let begun = self.apply(Input::Begin { path: path.clone(), attempt, lease: u64::from(attempt), epoch })?;
            if !begun {
                let error = StepError::new(ErrorClass::Cancelled, "dropped before it was sent");
                let outcome = CallOutcome::Failed(error, Reach::Unsent);
                return self.apply(Input::Result { path, attempt, outcome }).map(drop);
            }
            if self.epoch != epoch {
                return Ok(());
            }
        }
        let late = self.state.cell(at).and_then(|cell| forgotten(step, cell, self.now_ms));
        if let Some(error) = late {
            let outcome = CallOutcome::Failed(error, Reach::Unknown);
            return self.apply(Input::Result { path, attempt, outcome }).map(drop);
        }
        let answer = self.world.ask((&path, attempt), step, (&key, effect, &input), self.now_ms)?;
        let outcome = answer.outcome;
        self.comes(answer.at_ms, Coming::Answer { at, path, attempt, outcome });
        self.point()
    }

    /// A `kv` step: by the daemon's own decision, unless it is pinned.
    fn keep(&mut self, path: &str, input: &Value) -> Result<CallOutcome, Halt> {
        if let Some(pin) = self.world.pins(path).and_then(<[_]>::first) {
            return self.world.said(path, &pin.says).map(|(outcome, _)| outcome);
        }
        let name = input.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
        let names = i64::try_from(self.world.kept.len()).unwrap_or(i64::MAX);
        let Planned { outcome, row, .. } =
            planned::<Halt>(self.world.kept.get(&name), run_id(), input, self.now_ms, || Ok(names))?;
        match row {
            None => {}
            Some(None) => drop(self.world.kept.remove(&name)),
            Some(Some(row)) => drop(self.world.kept.insert(name, row)),
        }
        Ok(outcome)
    }

    /// A run of another flow begins, in the commit that records it.
    fn call_flow(&mut self, path: String, attempt: u32, input: &Value, key: &str) -> Result<(), Halt> {
        let flow = input.get("flow").and_then(Value::as_str).unwrap_or_default().to_owned();
        let waits = input.get("waits") == Some(&Value::Bool(true));
        let mut id = [0; 16];
        id.iter_mut().zip(Sha256::digest(path.as_bytes())).for_each(|(to, from)| *to = from);
        let run = RunId::from_bytes(id);
        let pin = self.world.pins(&path).and_then(<[_]>::first).cloned();
        let said = match pin.as_ref().map(|pin| self.world.said(&path, &pin.says)).transpose()? {
            None if waits => self.world.made(&path).map(|output| (CallOutcome::Done(output), true)),
            said => said,
        };
        let (effect, now_ms) = (Effect::Idempotent, self.now_ms);
        let called = Input::Called { path: path.clone(), attempt, run, flow, version: "1".to_owned(), waits };
        match (waits, said) {
            (true, None) => return Err(self.world.unpinned(&path)),
            (true, Some((outcome, _))) => {
                let at_ms = later(now_ms, pin.map_or(Span::from_ms(0), |pin| pin.after));
                let outcome = match outcome {
                    CallOutcome::Done(output) => Ok(output),
                    CallOutcome::Failed(error, _) => Err(Box::new(error)),
                };
                // Both are durable at once, so the end comes whatever happens to the daemon.
                self.world.came(&path, key, effect, input, now_ms, true);
                self.comes(at_ms, Coming::Returned { path, run, outcome });
            }
            (false, _) => self.world.came(&path, key, effect, input, now_ms, true),
        }
        self.apply(called).map(drop)
    }

    /// Whether its owner or a person accepts that a call happens twice.
    pub(super) fn may_repeat(&self, path: &str) -> bool {
        let step = self.plan.with_id(id_of(path)).last().and_then(|ix| self.plan.step(*ix));
        let of =
            |(name, how): &(String, Resolution)| *how == Resolution::Retry && (name == path || name == id_of(path));
        step.is_some_and(|step| step.in_doubt == InDoubtPolicy::Retry) || self.case.resolve.iter().any(of)
    }

    /// How long the run lived, in milliseconds.
    pub(super) fn lived_ms(&self) -> u64 {
        u64::try_from(self.now_ms.saturating_sub(self.begin_ms)).unwrap_or(0)
    }
}

/// A test has a limit of its own.
pub(super) const OUT_OF_TIME: &str = "the test took longer than it may";

/// Whether a record ends something: a crash adds and takes away none of these.
fn ends_something(record: &Record) -> bool {
    matches!(
        record,
        Record::Completed { .. }
            | Record::Failed { .. }
            | Record::Skipped { .. }
            | Record::ItemDone { .. }
            | Record::TimerFired { .. }
            | Record::Signalled { .. }
            | Record::Handled { .. }
    )
}
