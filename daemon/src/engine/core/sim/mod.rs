//! The simulator: random flows under a virtual clock, with a crash at every commit and around every call.
//!
//! The peer's behaviour is a script per step, so a run without crashes is the reference for a run with
//! them. Memory is ahead of the disk by commits that wait in order, as in the driver; a crash keeps some of them.
//! Rules that hold for every run stand in [`judge`] and [`kept`]; deliberate bugs ([`super::bugs`]) prove that
//! the rules find their kind. A failing case shrinks to a small flow and one crash. What may stand in a flow
//! is in [`flows`]; [`soak`] runs deeper ones with more trouble than one crash.

mod disk;
mod flows;
mod judge;
mod kept;
mod nested;
mod order;
mod peer;
mod people;
mod replays;
mod soak;
mod trouble;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use aura_protocol::flow::Effect;
use aura_protocol::run::{
    Awaited, CallOutcome, ErrorClass, Reach, Record, Resolution, RunStarted, RunState as State, StepError, StepState,
    Transition,
};
use aura_protocol::{RunId, Value};
use aura_storage::Key;
use aura_storage::rows::KvRow;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};

use super::bugs::{self, Bug, has};
use super::decide::forgotten;
use super::fixtures::started;
use super::frames::FrameIx;
use super::plan::{KEY_WINDOW, Plan};
use super::{Call, Input, Moment, Output, Place, RunState, step};
use crate::engine::kv::{Keeper, Planned, planned};
use disk::{Disk, kept_key};
use flows::{Answer, Case, Keep, Maker, Size, Spec, Waits, any_sketch, case, other_value};
use judge::judge;
use peer::Peer;
use trouble::Trouble;

/// What rides in the transaction of a transition.
#[derive(Default)]
struct Extra {
    /// What a `kv` step changes: its key, the row, by how much the names grow.
    kv: Option<(Key, Option<KvRow>, i64)>,
    /// Large values that must be findable until it is durable.
    kept: Vec<[u8; 16]>,
}

/// A transaction in the writer's queue.
#[derive(Default)]
struct Commit {
    transition: Option<Transition>,
    /// Key, row, by how much the names grow, number.
    kv: Option<(Key, Option<KvRow>, i64, u64)>,
    kept: Vec<[u8; 16]>,
    /// Made once it is durable.
    calls: Vec<Call>,
    /// Called runs that are to end.
    children: Vec<RunId>,
    /// Of these, dropped before.
    dropped: Vec<Place>,
}

/// A run in the simulator.
struct Sim {
    plan: Arc<Plan>,
    state: RunState,
    /// Every transition that was submitted.
    journal: Vec<Transition>,
    /// How many of them are durable.
    durable: usize,
    /// Submitted and not durable, in order.
    queue: VecDeque<Commit>,
    disk: Disk,
    keeper: Keeper,
    /// Names that are kept, with what is on its way.
    names: i64,
    peer: Peer,
    /// Wanted, not sent.
    calls: Vec<Call>,
    /// Sent, not answered.
    out: Vec<(Call, String, CallOutcome)>,
    /// Steps that keep something.
    keeps: BTreeSet<String>,
    /// Which step gives again what which one gave.
    echoes: BTreeMap<String, String>,
    large_body: bool,
    /// Steps that call another flow.
    children: BTreeSet<String>,
    /// Called runs that were asked to end, as the disk has it.
    cancelled: BTreeSet<RunId>,
    /// Steps that wait and whom nothing was sent.
    waits: Vec<String>,
    /// Answers may take longer than what else is due.
    slow: bool,
    luck: u64,
    now_ms: i64,
    epoch: u64,
    /// Points at which a crash could have come, so far.
    points: usize,
    /// How it begins, if it goes on from another run.
    begins: Option<(Arc<RunStarted>, Vec<Record>)>,
    /// What its keys begin with.
    key: &'static str,
    /// The point at which it comes.
    crash_at: Option<usize>,
    crashed: bool,
    /// How often memory was lost.
    crashes: usize,
    /// What else may go wrong.
    trouble: Trouble,
    /// What has gone wrong, by name.
    met: BTreeMap<&'static str, u64>,
    /// Answers that may come once more.
    late: Vec<(String, u32, CallOutcome)>,
    /// Steps whose calls somebody else may have sent: those scheduled in a store that was restored.
    scheduled_before: BTreeSet<String>,
    /// What each step is, by its id.
    kinds: BTreeMap<String, &'static str>,
}

/// Something that must not be.
type Fault = String;

impl Sim {
    fn new(case: &Case, crash_at: Option<usize>) -> Self {
        let mut maker = Maker::default();
        let flow = maker.flow(case);
        let actions = |action: &str| (action == "peer.act").then_some((Effect::Once, KEY_WINDOW));
        let plan = Plan::compile(&flow, "v", &actions).expect("generated flows compile");
        let run = RunId::from_parts(1, &[1; 10]);
        let peer = Peer { scripts: maker.scripts, sizes: maker.sizes, ..Peer::default() };
        let state = RunState::new(run, &plan);
        Self {
            plan,
            state,
            journal: Vec::new(),
            durable: 0,
            queue: VecDeque::new(),
            disk: Disk::shared_with(&other_value()),
            keeper: Keeper::default(),
            names: 0,
            peer,
            calls: Vec::new(),
            out: Vec::new(),
            keeps: maker.keeps,
            echoes: maker.echoes,
            large_body: case.large_body,
            children: maker.children,
            cancelled: BTreeSet::new(),
            waits: maker.waits,
            slow: is_limited(case),
            luck: case.luck,
            now_ms: 1_000,
            epoch: 1,
            points: 0,
            begins: None,
            key: "key",
            crash_at,
            crashed: false,
            crashes: 0,
            trouble: Trouble::default(),
            met: BTreeMap::new(),
            late: Vec::new(),
            scheduled_before: BTreeSet::new(),
            kinds: maker.kinds,
        }
    }

    /// The run's first transition.
    fn start(&mut self) -> Result<(), Fault> {
        if let Some((started, copied)) = self.begins.clone() {
            return self.apply(Input::Replay { started, copied, queued: false });
        }
        let mut first = started("t", Value::Null);
        let mut kept = Vec::new();
        first.event.method = "MANUAL".to_owned();
        first.event.headers = vec![("by".to_owned(), "a".to_owned())];
        if self.large_body {
            let blob = self.disk.keep(format!("\"{}\"", "b".repeat(disk::LARGE)).into_bytes());
            (first.event.body, first.event.blob) = (Vec::new(), Some(blob));
            kept.push(blob.hash);
        }
        self.commit(Input::Start(Arc::new(first)), Extra { kept, ..Extra::default() })
    }

    fn apply(&mut self, input: Input) -> Result<(), Fault> {
        self.commit(input, Extra::default())
    }

    /// One transition and its commit. A crash may come before it (it is lost) or after it.
    fn commit(&mut self, input: Input, extra: Extra) -> Result<(), Fault> {
        let mut seed = [0; 16];
        seed[0] = u8::try_from(self.journal.len() % 251).unwrap_or(0);
        let session = self.disk.session();
        let moment = Moment::new(self.now_ms, seed).with_stored(Arc::clone(&session) as _);
        let key = self.key;
        let keys = |path: &str| format!("{key}-{path}");
        let Output { records, mut calls, abort, abort_unsent, children } =
            match step(&self.plan, &mut self.state, input, &moment, &keys) {
                Ok(output) => output,
                Err(_) => {
                    self.disk.drop_kept(&extra.kept);
                    return Ok(());
                }
            };
        self.disk.lost()?;
        if self.point() {
            return self.crash();
        }
        self.calls.retain(|call| !abort.contains(&call.at));
        self.out.retain(|(call, _, _)| !abort.contains(&call.at));
        calls.retain(|call| !abort.contains(&call.at));
        let mut commit = Commit { calls, children, kept: [extra.kept, session.end()].concat(), ..Commit::default() };
        commit.kv = extra.kv.map(|(key, row, grows)| {
            self.names += grows;
            let number = self.keeper.submitted(key.clone(), row.clone());
            (key, row, grows, number)
        });
        if !records.is_empty() {
            let transition = Transition { number: self.state.transition, at_ms: self.now_ms, records };
            self.journal.push(transition.clone());
            commit.transition = Some(transition);
            // Before its crash a run is the one without, which was looked at.
            let new = (self.crash_at.is_none() || self.crashed) && (self.trouble.crashes == 0 || self.pick(16) == 0);
            if new && RunState::fold(self.state.run, &self.plan, &self.journal) != self.state {
                return Err("the journal does not read back as the run in memory".into());
            }
        }
        for waiting in &mut self.queue {
            waiting.calls.retain(|call| !abort.contains(&call.at));
            waiting.dropped.extend(waiting.calls.iter().map(|call| call.at).filter(|at| abort_unsent.contains(at)));
        }
        self.queue.push_back(commit);
        let epoch = self.epoch;
        for at in abort_unsent {
            if self.epoch != epoch {
                // It crashed meanwhile: why they were to be dropped may be lost.
                break;
            }
            let Some(found) = self.calls.iter().position(|call| call.at == at) else { continue };
            let call = self.calls.remove(found);
            self.drop_unsent(&call)?;
        }
        self.within_bounds()?;
        // Half of the cases have a disk that is slower than what happens.
        if self.luck.is_multiple_of(2) || self.pick(3) == 0 { self.flush() } else { Ok(()) }
    }

    /// A call that never left ends.
    fn drop_unsent(&mut self, call: &Call) -> Result<(), Fault> {
        let path = self.state.path(&self.plan, call.at);
        let outcome = CallOutcome::Failed(StepError::new(ErrorClass::Cancelled, "dropped"), Reach::Unsent);
        self.apply(Input::Result { path, attempt: call.attempt, outcome })
    }

    /// Everything that was submitted becomes durable, and is made known.
    fn flush(&mut self) -> Result<(), Fault> {
        while let Some(commit) = self.queue.pop_front() {
            self.write(&commit)?;
            if self.point() {
                return self.crash();
            }
            self.disk.drop_kept(&commit.kept);
            if let Some((key, _, _, number)) = &commit.kv {
                self.keeper.settled(key, *number, false);
            }
            for call in commit.calls {
                if commit.dropped.contains(&call.at) {
                    self.drop_unsent(&call)?;
                } else {
                    self.calls.push(call);
                }
            }
        }
        Ok(())
    }

    /// On disk, all of it or nothing.
    fn write(&mut self, commit: &Commit) -> Result<(), Fault> {
        self.cancelled.extend(commit.children.iter().copied());
        if let Some(transition) = &commit.transition {
            self.durable += 1;
            self.disk.write(transition)?;
        }
        match &commit.kv {
            Some((key, Some(row), grows, _)) => {
                self.disk.kv.insert(key.clone(), row.clone());
                self.disk.names += grows;
            }
            Some((key, None, grows, _)) => {
                self.disk.kv.remove(key);
                self.disk.names += grows;
            }
            None => {}
        }
        Ok(())
    }

    fn point(&mut self) -> bool {
        self.points += 1;
        if self.trouble.crashes > 0 && self.pick_for(1, 30) == 0 {
            self.trouble.crashes -= 1;
            return true;
        }
        !self.crashed && self.crash_at == Some(self.points)
    }

    /// Memory is lost; the disk is not. Of what was on its way, the first ones may have arrived.
    fn crash(&mut self) -> Result<(), Fault> {
        self.crashed = true;
        self.crashes += 1;
        self.meets("crash");
        self.late.clear();
        let arrived = self.pick(self.queue.len() + 1);
        let queue = std::mem::take(&mut self.queue);
        for commit in queue.iter().take(arrived) {
            self.write(commit)?;
        }
        self.disk.forget();
        self.journal.truncate(self.durable);
        self.keeper = Keeper::default();
        self.names = self.disk.names;
        self.calls.clear();
        self.out.clear();
        self.epoch += 1;
        if self.journal.is_empty() {
            // The sender heard nothing and sends again.
            self.state = RunState::new(self.state.run, &self.plan);
            return self.start();
        }
        self.state = RunState::fold(self.state.run, &self.plan, &self.journal);
        let restored = self.trouble.restores && self.pick_for(2, 2) == 0;
        if restored {
            self.meets("restore");
            self.scheduled_before = records(self)
                .filter_map(|record| match record {
                    Record::Scheduled { path, .. } => Some(path.clone()),
                    _ => None,
                })
                .collect();
        }
        self.apply(Input::Recover { epoch: self.epoch, restored })
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
        let input = self.disk.loaded(&cell.input)?;
        if self.children.contains(id_of(&path)) {
            let before = records(self).filter(|record| matches!(record, Record::Called { .. })).count();
            let run = RunId::from_parts(2, &[u8::try_from(before % 250).unwrap_or(0) + 1; 10]);
            let (flow, version) = ("other".to_owned(), "v".to_owned());
            let waits = input.get("waits") == Some(&Value::Bool(true));
            return self.apply(Input::Called { path, attempt, run, flow, version, waits });
        }
        if self.keeps.contains(id_of(&path)) {
            return self.keep(path, attempt, &input);
        }
        if effect.needs_started() {
            self.apply(Input::Begin { path: path.clone(), attempt, lease: 1, epoch })?;
            self.flush()?;
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
        let own = matches!(self.kinds.get(id_of(&path)), Some(&("code" | "emit")));
        if !own && input.get("url") != Some(&Value::from("http://peer/")) {
            return Err(format!("{path} is sent with another input: {}", input.to_json()));
        }
        let late = self.plan.step(call.step).and_then(|step| forgotten(step, &cell, self.now_ms));
        if let Some(error) = late {
            self.meets("key too old");
            let outcome = CallOutcome::Failed(error, Reach::Unknown);
            return self.apply(Input::Result { path, attempt, outcome });
        }
        let window = i64::try_from(KEY_WINDOW.ms).unwrap_or(i64::MAX);
        let forgotten = effect == Effect::Keyed && self.now_ms > cell.scheduled_ms + window;
        if forgotten && self.peer.effects.contains_key(&(path.clone(), cell.key.clone())) {
            return Err(format!("{path} is repeated under a key that its peer has forgotten"));
        }
        if effect.needs_started() && self.scheduled_before.contains(&path) && !self.was_doubted(&path) {
            return Err(format!("{path} was scheduled before the restore and is simply sent"));
        }
        let outcome = self.peer.send(&path, &cell.key, effect);
        if self.point() {
            return self.crash();
        }
        self.out.push((call, path, outcome));
        Ok(())
    }

    /// A `kv` step reads, decides and writes in the transaction of its answer.
    fn keep(&mut self, path: String, attempt: u32, input: &Value) -> Result<(), Fault> {
        self.now_ms += 3;
        let key = kept_key(input.get("name").and_then(Value::as_str).unwrap_or_default());
        let durable = self.disk.kv.get(&key).cloned();
        let stored = self.keeper.now::<Fault>(&key, || Ok(durable))?;
        let names = self.names;
        let Planned { outcome, row, grows } =
            planned::<Fault>(stored.as_ref(), self.state.run, input, self.now_ms, || Ok(names))?;
        let mut kv = row.map(|row| (key, row, grows));
        if has(Bug::KvIsWrittenAhead) && kv.is_some() {
            let epoch = self.epoch;
            self.queue
                .push_back(Commit { kv: kv.take().map(|(k, row, grows)| (k, row, grows, 0)), ..Commit::default() });
            self.names += grows;
            self.flush()?;
            if self.epoch != epoch {
                return Ok(());
            }
        }
        self.commit(Input::Result { path, attempt, outcome }, Extra { kv, ..Extra::default() })
    }

    /// An answer arrives.
    fn answer(&mut self, which: usize) -> Result<(), Fault> {
        let (call, path, outcome) = self.out.remove(which);
        self.now_ms += 7;
        let (outcome, kept) = self.disk.keep_outcome(outcome);
        let extra = Extra { kept, ..Extra::default() };
        if self.trouble.twice
            && self.late.len() < 8
            && matches!(&outcome, CallOutcome::Failed(..) | CallOutcome::Done(Value::Str(_)))
        {
            self.late.push((path.clone(), call.attempt, outcome.clone()));
        }
        self.commit(Input::Result { path, attempt: call.attempt, outcome }, extra)
    }

    /// A called run ends, if one does now; what it was given says how.
    fn child_ends(&mut self) -> Result<bool, Fault> {
        let mut waiting = None;
        self.state.each_live(&mut |at, cell| {
            if let Some(Awaited::Run { run, .. }) = cell.awaits.as_deref() {
                waiting.get_or_insert((self.state.path(&self.plan, at), *run, cell.input.clone()));
            }
        });
        let Some((path, run, input)) = waiting else { return Ok(false) };
        let well = self.disk.loaded(&input)?.get("input") == Some(&Value::Bool(true));
        let failed = || Box::new(StepError::new(ErrorClass::Invalid, "the other flow failed"));
        let outcome = if well { Ok(Value::from(path.as_str())) } else { Err(failed()) };
        self.now_ms += 20;
        let epoch = self.epoch;
        self.apply(Input::Returned { path: path.clone(), run, outcome: outcome.clone() })?;
        if self.trouble.twice && epoch == self.epoch && self.state.finished.is_none() {
            self.meets("told twice");
            self.refuses(
                Input::Returned { path: path.clone(), run, outcome },
                &format!("the end of what {path} called counts twice"),
            )?;
        }
        Ok(true)
    }

    /// A number below `bound` that the case and the moment decide.
    fn pick(&self, bound: usize) -> usize {
        self.pick_for(0, bound)
    }

    /// Another one at the same moment.
    fn pick_for(&self, what: u64, bound: usize) -> usize {
        let salt = what.wrapping_mul(0xD6E8_FEB8_6659_FD93);
        let mixed = (self.luck ^ salt ^ (self.points as u64)).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(23);
        usize::try_from(mixed % (bound.max(1) as u64)).unwrap_or(0)
    }

    /// No map has calls out in more items than may be at work.
    fn within_bounds(&self) -> Result<(), Fault> {
        for cell in self.state.frames.iter().flatten().flat_map(|frame| &frame.cells) {
            let Some(items) = cell.items.as_ref().filter(|items| !items.list.is_empty()) else { continue };
            let parallel = usize::try_from(items.parallel).unwrap_or(0);
            if items.live.len() <= parallel {
                continue;
            }
            // Only a replay opens more than that.
            let calls = |frame: FrameIx| {
                let mut out = false;
                let count = self.state.frame(frame).map_or(0, |frame| frame.cells.len());
                for position in 0..count {
                    self.state.live_under(Place { frame, position }, &mut |_, cell| out |= cell.calling());
                }
                out
            };
            let at_work = items.live.values().filter(|frame| calls(**frame)).count();
            if at_work > parallel || self.begins.is_none() {
                return Err(format!("{at_work} of {} items are at work, {parallel} may be", items.live.len()));
            }
        }
        Ok(())
    }

    /// Runs to the end; the person who resolves knows what the peer knows.
    fn run(mut self, case: &Case) -> Result<Self, Fault> {
        self.start()?;
        let mut cancelled = false;
        for _ in 0..20_000 {
            if self.trouble.jumps && self.pick_for(3, 40) == 0 {
                self.jump();
            }
            if !self.late.is_empty() && self.state.finished.is_none() && self.pick_for(4, 6) == 0 {
                self.answer_again()?;
                continue;
            }
            if self.state.finished.is_some() {
                if self.queue.is_empty() {
                    return Ok(self);
                }
                self.flush()?;
                continue;
            }
            if let (false, Some(after)) = (cancelled, case.cancel_after)
                && self.journal.len() > after
            {
                cancelled = true;
                self.apply(Input::Cancel { by: "test".into(), reason: "scripted".into() })?;
                continue;
            }
            if !self.waits.is_empty() && self.pick(5) == 0 {
                self.signal()?;
                continue;
            }
            let due = self.state.next_due().filter(|_| self.slow && !self.out.is_empty() && self.pick(4) == 0);
            if let Some(due) = due {
                self.now_ms = self.now_ms.max(due);
                self.apply(Input::Due)?;
                continue;
            }
            if !self.calls.is_empty() || !self.out.is_empty() {
                let waiting = usize::from(!self.queue.is_empty());
                let which = self.pick(self.calls.len() + self.out.len() + waiting);
                if which == self.calls.len() + self.out.len() {
                    self.flush()?;
                } else if which < self.calls.len() {
                    let call = self.calls.remove(which);
                    self.call(call)?;
                } else {
                    self.answer(which - self.calls.len())?;
                }
                continue;
            }
            if !self.queue.is_empty() {
                self.flush()?;
                continue;
            }
            if self.pick(4) > 0 && self.vote()? {
                continue;
            }
            if (self.pick(3) > 0 || self.state.next_due().is_none()) && self.child_ends()? {
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
                        if happened { Resolution::Done(self.peer.output(&path)) } else { Resolution::Retry };
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

fn records(sim: &Sim) -> impl Iterator<Item = &Record> {
    sim.journal.iter().flat_map(|transition| &transition.records)
}

/// One case: without a crash, then with a crash at every point.
fn check(case: &Case) -> Result<(), Fault> {
    let calm = Sim::new(case, None).run(case)?;
    judge(&calm)?;
    // What comes from outside at a moment of its own meets a run with a crash at another moment.
    let expires = any_sketch(case, &|sketch| matches!(sketch.spec, Spec::Kv(Keep::SetFor, _)));
    // When something comes from outside decides too.
    let waits = any_sketch(case, &|sketch| matches!(sketch.spec, Spec::Wait(_) | Spec::Approval { .. }));
    let timed = waits || case.cancel_after.is_some() || case.timeout_s.is_some() || expires || is_limited(case);
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
        let kept = |sim: &Sim| {
            sim.disk.kv.values().map(|row| (row.name.clone(), row.value.clone())).collect::<BTreeMap<_, _>>()
        };
        if !is_parallel(case) && kept(&crashed) != kept(&calm) {
            return Err(format!("crash at {at}: {:?} is kept, not {:?}", kept(&crashed), kept(&calm)));
        }
    }
    Ok(())
}

/// Whether a step with steps in it may run out of time.
fn is_limited(case: &Case) -> bool {
    any_sketch(case, &|sketch| sketch.limit.is_some() && sketch.is_scope())
}

/// Whether a repeated request would meet another answer of the script: then ends may differ honestly.
fn scripted_loss(case: &Case) -> bool {
    any_sketch(case, &|sketch| match &sketch.spec {
        Spec::Call { answers, .. } | Spec::Each { answers, .. } => answers.iter().any(|answer| *answer != Answer::Ok),
        _ => false,
    })
}

/// Whether steps are at work beside each other.
fn is_parallel(case: &Case) -> bool {
    any_sketch(case, &|sketch| {
        !matches!(sketch.waits, Waits::Before) || matches!(sketch.spec, Spec::Map { .. } | Spec::Each { .. })
    })
}

/// Whether it depends on who comes first what else is done: then a crash may decide it otherwise.
fn is_race(case: &Case) -> bool {
    let joins = any_sketch(case, &|sketch| matches!(&sketch.waits, Waits::Join { join, .. } if *join > 0));
    // Who comes later may find text that cannot be counted up, or no more room for large values.
    let decides = any_sketch(case, &|sketch| matches!(sketch.spec, Spec::Stop(_) | Spec::Kv(Keep::SetText, _)));
    joins || (is_parallel(case) && (decides || uses_large(case)))
}

/// Whether something in it may be large.
fn uses_large(case: &Case) -> bool {
    let large = |sketch: &flows::Sketch| match sketch.spec {
        Spec::Large | Spec::Echo => true,
        Spec::Call { size, echo, .. } => size != Size::Small || echo,
        _ => false,
    };
    case.large_body || any_sketch(case, &large)
}

/// Journals of random flows for the golden files: half of them with a crash, all small, each with much in it.
pub(super) fn recorded(count: usize) -> Vec<(aura_protocol::flow::Flow, Vec<Transition>)> {
    use proptest::strategy::{Strategy, ValueTree};
    let mut runner = TestRunner::new_with_rng(Config::default(), TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let mut found = Vec::new();
    while found.len() < count {
        let case = case().new_tree(&mut runner).expect("a case").current();
        // The files hold rows and nothing that stands beside them.
        if uses_large(&case) {
            continue;
        }
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
    // A bug that was planted needs no smaller case.
    let max_shrink_iters = if bug.is_some() { 0 } else { 400 };
    let config = Config { cases, failure_persistence: None, max_shrink_iters, ..Config::default() };
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
        (Bug::JoinCountsSkipped, 600),
        (Bug::CompensationInOrder, 200),
        (Bug::LosersGoOn, 200),
        (Bug::ItemKeyIsForgotten, 200),
        (Bug::KvPendingIsForgotten, 200),
        (Bug::KvExpiredIsCountedAgain, 800),
        (Bug::KvIsWrittenAhead, 200),
        (Bug::InputsAreNotHeld, 200),
        (Bug::InputsAreNotGivenBack, 200),
        (Bug::CatchIsSkipped, 200),
        (Bug::LoopCapIsForgotten, 200),
        (Bug::BreakGoesOn, 200),
        (Bug::LimitIsForgotten, 200),
        (Bug::LimitFailsAtOnce, 200),
        (Bug::EarlySignalIsForgotten, 200),
        (Bug::DeadlineIsGreen, 200),
        (Bug::CalledFailureIsGreen, 200),
        (Bug::ChildrenAreForgotten, 200),
        (Bug::OwnVoteCounts, 200),
        (Bug::QuorumIsOne, 200),
        (Bug::AnyHashCounts, 400),
    ];
    for (bug, budget) in budgets {
        let (tried, fault, _) =
            search(Some(bug), budget).expect_err(&format!("{bug:?} was not found in {budget} cases"));
        println!("{bug:?}: found after {tried} of {budget} cases: {fault}");
    }
}
