//! Replays of simulated runs: from every point of whatever became of a random flow.
//!
//! What a replay must be is told here with other words than in `core/replay`: a straight run in which the copied
//! steps end as they did gives the same end; what is copied is exactly what had settled and does not need the point.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use aura_protocol::Value;
use aura_protocol::flow::Flow;
use aura_protocol::flow::InDoubtPolicy;
use aura_protocol::rpc::Fate;
use aura_protocol::run::{ErrorClass, Origin, Point, Record, RunStarted};
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};

use super::super::bugs::{self, Bug};
use super::super::plan::{Owner, Plan};
use super::super::replay::past::{Past, Settled, around, step_of};
use super::super::replay::{Impossible, Opening, Version, Wanted, opening};
use super::flows::{Case, Maker, Sketch, Spec, Turns, Waits, case, other_value};
use super::{Fault, Sim, id_of, is_parallel, records};

/// Points tried of one run.
const POINTS: usize = 6;

/// A case without what ends otherwise when it is run again: races, clocks, what is kept, what is large.
fn plain(case: &Case) -> Case {
    fn sketches(some: &[Sketch]) -> Vec<Sketch> {
        some.iter().map(sketch).collect()
    }
    fn sketch(old: &Sketch) -> Sketch {
        let spec = match &old.spec {
            // A called run may end before or behind the time of a loop around it.
            Spec::Kv(..)
            | Spec::Wait(_)
            | Spec::Approval { .. }
            | Spec::Child { .. }
            | Spec::Large
            | Spec::Echo
            | Spec::Stop(_) => Spec::Set,
            Spec::Call { effect, answers, attempts, .. } => Spec::Call {
                effect: *effect,
                answers: answers.clone(),
                attempts: *attempts,
                size: super::flows::Size::Small,
                echo: false,
                uses: false,
                policy: InDoubtPolicy::Ask,
            },
            Spec::Branch { taken, arm, other } => {
                Spec::Branch { taken: *taken, arm: sketches(arm), other: sketches(other) }
            }
            Spec::Map { items, parallel, keyed, carry_on, body } => Spec::Map {
                items: *items,
                parallel: *parallel,
                keyed: *keyed,
                carry_on: *carry_on,
                body: sketches(body),
            },
            Spec::Try(body, catch) => Spec::Try(sketches(body), sketches(catch)),
            // Beside others it is a race which of them began before the break; copied, they have ended before it.
            Spec::Loop(turns, body) if body.iter().any(|sketch| !matches!(sketch.waits, Waits::Before)) => {
                Spec::Loop(Turns { breaks: None, ..*turns }, sketches(body))
            }
            Spec::Loop(turns, body) => Spec::Loop(*turns, sketches(body)),
            other => other.clone(),
        };
        let waits = match &old.waits {
            Waits::Join { picks, .. } => Waits::Join { picks: picks.clone(), join: 0, losers: false },
            other => other.clone(),
        };
        Sketch {
            spec,
            waits,
            limit: None,
            handler: old.handler.as_deref().map(sketches),
            undo: old.undo.as_deref().map(sketches),
            ..old.clone()
        }
    }
    Case {
        steps: sketches(&case.steps),
        on_error: case.on_error.as_deref().map(sketches),
        finally: case.finally.as_deref().map(sketches),
        timeout_s: None,
        large_body: false,
        ..case.clone()
    }
}

/// Every point of a run.
fn points(past: &Past) -> Vec<Point> {
    let mut found = vec![Point::Start];
    for (path, was) in &past.steps {
        found.push(Point::Step(path.clone()));
        let keys: Vec<String> = match &was.listed {
            Some((_, list)) if !list.keys.is_empty() => list.keys.clone(),
            Some((_, list)) => (0..list.items.len()).map(|index| index.to_string()).collect(),
            None => was.items.keys().map(u32::to_string).collect(),
        };
        found.extend(keys.into_iter().map(|key| Point::Item { map: path.clone(), key }));
    }
    found
}

/// What needs the point, in its scope and in those around it; with the point, without what is around it.
fn affected(plan: &Plan, point: &Point) -> BTreeSet<String> {
    let (path, item) = match point {
        Point::Start => return BTreeSet::new(),
        Point::Step(path) => (path.clone(), false),
        Point::Item { map, .. } => (map.clone(), true),
    };
    let mut chain: Vec<String> = vec![path.clone()];
    chain.extend(around(plan, &path).into_iter().map(|(path, ..)| path));
    let mut found = BTreeSet::new();
    if !item {
        found.insert(path.clone());
    }
    for at in chain {
        let step = &plan.steps[step_of(plan, &at).unwrap()];
        let keys = &at[id_of(&at).len()..];
        let siblings = plan.scope_steps(step.scope);
        let mut needing = BTreeSet::from([step.position]);
        // Needs are written before what needs them.
        for ix in siblings {
            let sibling = &plan.steps[*ix];
            if sibling.needs.iter().any(|need| needing.contains(&need.position)) {
                needing.insert(sibling.position);
                found.insert(format!("{}{keys}", sibling.id));
            }
        }
    }
    found
}

/// Whether a path is one of these or in one of them.
fn within(plan: &Plan, path: &str, some: &BTreeSet<String>) -> bool {
    some.contains(path) || around(plan, path).iter().any(|(outer, ..)| some.contains(outer))
}

/// Whether it is in the item of the point.
fn in_item(plan: &Plan, path: &str, point: &Point) -> bool {
    let Point::Item { map, key } = point else { return false };
    around(plan, path).iter().any(|(outer, owner, of)| matches!(owner, Owner::Item(_)) && outer == map && of == key)
}

/// Whether it is an iteration that follows the point, or in one.
fn later(plan: &Plan, path: &str, point: &Point) -> bool {
    let mut rounds: BTreeMap<String, u32> = BTreeMap::new();
    let of = match point {
        Point::Start => return false,
        Point::Step(of) => of,
        Point::Item { map, key } => {
            rounds.insert(map.clone(), key.parse().unwrap_or(0));
            map
        }
    };
    let repeats = |path: &str| step_of(plan, path).is_some_and(|ix| plan.steps[ix].kind.repeats().is_some());
    for (outer, owner, key) in around(plan, of) {
        if matches!(owner, Owner::Item(_)) && repeats(&outer) {
            rounds.insert(outer, key.parse().unwrap_or(0));
        }
    }
    around(plan, path).iter().any(|(outer, _, key)| {
        repeats(outer) && rounds.get(outer).is_some_and(|from| key.parse::<u32>().is_ok_and(|at| at > *from))
    })
}

struct Replayed {
    opening: Opening,
    sim: Sim,
}

/// Runs a replay to its end with a peer that answers well.
fn replay(case: &Case, old: Sim, past: &Past, flow: &Flow, wanted: &Wanted) -> Result<Option<Replayed>, Fault> {
    let version = Version { flow, plan: &old.plan };
    let opening = match opening(past, version, version, wanted) {
        Ok(opening) => opening,
        Err(Impossible::Point(_) | Impossible::Edit(_)) => return Ok(None),
        Err(other) => return Err(other.to_string()),
    };
    let origin = Origin {
        run: past.run,
        point: wanted.point.clone(),
        by: "test".into(),
        before: past.started.origin.as_ref().map(|origin| origin.wanted_by()).unwrap_or_default(),
        edited: wanted.edit.is_some(),
        input: opening.input.clone(),
        keys: opening.keys.clone(),
    };
    let started = RunStarted { origin: Some(Box::new(origin)), ..RunStarted::clone(&past.started) };
    let mut sim = Sim::new(case, None);
    sim.peer.scripts.values_mut().for_each(Vec::clear);
    sim.begins = Some((Arc::new(started), opening.records.clone()));
    sim.key = "again";
    (sim.names, sim.disk) = (old.disk.names, old.disk);
    sim.now_ms = old.now_ms + 1_000;
    let end = sim.run(&Case { cancel_after: None, ..case.clone() })?;
    let both: Vec<_> = old.journal.iter().chain(&end.journal).cloned().collect();
    end.disk.counts(&both, &other_value())?;
    Ok(Some(Replayed { opening, sim: end }))
}

/// One replay of one run, judged.
fn judge(case: &Case, point: &Point, exact: bool) -> Result<(), Fault> {
    let old = Sim::new(case, None).run(case)?;
    let (plan, flow) = (Arc::clone(&old.plan), Maker::default().flow(case));
    let past = Past::read(old.state.run, &plan, &old.journal).ok_or("no past")?;
    let old_keys: BTreeMap<String, String> =
        past.steps.iter().filter_map(|(path, was)| Some((path.clone(), was.call.as_ref()?.key.clone()))).collect();
    let failed = failures(&old);
    let called = past.steps.get(match point {
        Point::Step(path) => path.as_str(),
        _ => "",
    });
    // Half of the points that ask the peer are edited; most keep keys.
    let asks = matches!(point, Point::Step(path) if old.peer.answers(path));
    let edits = asks && called.is_some_and(|was| was.call.is_some()) && case.luck.is_multiple_of(2);
    let edit = edits.then(|| {
        Value::object(
            [("method", "POST"), ("url", "http://peer/"), ("edited", "yes")].map(|(k, v)| (k, Value::from(v))),
        )
    });
    let reuse_keys = !case.luck.is_multiple_of(3);
    let wanted = Wanted { point: point.clone(), edit, reuse_keys, now_ms: old.now_ms, ..Wanted::default() };
    let Some(Replayed { opening, sim }) = replay(case, old, &past, &flow, &wanted)? else { return Ok(()) };
    let calls = &opening.preview.calls;
    let of = |fate: Fate| calls.iter().filter(move |call| call.fate == fate).map(|call| call.path.clone());
    let copied: BTreeSet<String> = of(Fate::Copied).collect();
    let affected = affected(&plan, point);
    for path in &copied {
        if sim.peer.sent.contains_key(path) {
            return Err(format!("{path} was copied and is sent again"));
        }
        if within(&plan, path, &affected) || in_item(&plan, path, point) || *point == Point::Start {
            return Err(format!("{path} was copied and needs {point}"));
        }
        if past.undone.contains(path) {
            return Err(format!("{path} was copied and had been undone"));
        }
    }
    for (path, keys) in &sim.peer.arrived {
        let old_key = old_keys.get(path);
        let same = keys.iter().any(|key| Some(key) == old_key);
        let edited = edits && matches!(point, Point::Step(of) if of == path);
        if same && (!reuse_keys || edited) {
            return Err(format!("{path} is sent with the key of the run before"));
        }
        // An item or iteration that the run before did not come to stands for by the others.
        let other = || calls.iter().find(|call| id_of(&call.path) == id_of(path)).map(|_| Fate::NewKey);
        let said = calls.iter().find(|call| call.path == *path).map(|call| call.fate).or_else(other);
        match said {
            // Elsewhere its input may be computed from something that is another thing now.
            Some(Fate::SameKey) if !same && exact => return Err(format!("{path} was to keep its key")),
            Some(Fate::Copied) | None => return Err(format!("{path} is sent and the preview says {said:?}")),
            _ => {}
        }
    }
    if !exact {
        return Ok(());
    }
    // Whatever ended well and does not need the point is not done again.
    if past.undone.is_empty() && *point != Point::Start {
        for (path, was) in past.steps.iter().filter(|(_, was)| was.call.is_some()) {
            let settled = matches!(was.settled, Some(Settled::Completed { .. }));
            let free = !within(&plan, path, &affected) && !in_item(&plan, path, point) && !later(&plan, path, point);
            if settled
                && free
                && !ends_again(&plan, path)
                && !failed_around(&past, &plan, path)
                && !answers_the_point(&plan, path, point)
                && !copied.contains(path)
            {
                return Err(format!("{path} had ended, does not need {point}, and is not copied"));
            }
        }
    }
    straight(case, &sim, &copied, &failed)
}

/// A straight run in which the copied steps end as they did.
fn straight(
    case: &Case,
    sim: &Sim,
    copied: &BTreeSet<String>,
    failed: &BTreeMap<String, ErrorClass>,
) -> Result<(), Fault> {
    let case = Case { cancel_after: None, ..case.clone() };
    let mut straight = Sim::new(&case, None);
    straight.peer.scripts.values_mut().for_each(Vec::clear);
    straight.peer.refused =
        failed.iter().filter(|(path, _)| copied.contains(*path)).map(|(path, class)| (path.clone(), *class)).collect();
    let straight = straight.run(&case)?;
    if sim.state.finished != straight.state.finished {
        return Err(format!("ends {:?}, straight {:?}", sim.state.finished, straight.state.finished));
    }
    let output = |sim: &Sim| {
        let found = records(sim).find_map(|record| match record {
            Record::RunFinished { output, .. } => Some(output.clone()),
            _ => None,
        });
        found.unwrap_or_default()
    };
    // A failure that was copied may stand in the output with other words than the refusal that stands for it here.
    let told = copied.iter().any(|path| failed.contains_key(path));
    if !told && output(sim) != output(&straight) {
        return Err(format!("gives {}, straight {}", output(sim).to_json(), output(&straight).to_json()));
    }
    if is_parallel(&case) {
        // What stood beside a failure may have begun or not.
        return Ok(());
    }
    let happened = |sim: &Sim| sim.peer.effects.keys().map(|(path, _)| path.clone()).collect::<BTreeSet<_>>();
    let mut all = happened(sim);
    all.extend(copied.iter().filter(|path| !failed.contains_key(*path)).cloned());
    if all != happened(&straight) {
        return Err(format!("does {all:?}, straight {:?}", happened(&straight)));
    }
    Ok(())
}

/// Steps whose calls failed in the end, and how.
fn failures(sim: &Sim) -> BTreeMap<String, ErrorClass> {
    let mut found = BTreeMap::new();
    for record in records(sim) {
        match record {
            Record::Failed { path, error, retry_at_ms: None, .. } if error.class != ErrorClass::Cancelled => {
                found.insert(path.clone(), error.class);
            }
            _ => {}
        }
    }
    found
}

/// Whether it belongs to what runs at the end of a run in any case, or undoes something.
fn ends_again(plan: &Plan, path: &str) -> bool {
    let outer = around(plan, path);
    let outermost = outer.last().map_or(path, |(path, ..)| path.as_str());
    let owner = plan.owner_of(step_of(plan, outermost).unwrap());
    matches!(owner, Owner::FlowOnError | Owner::Finally)
        || outer.iter().any(|(_, owner, _)| matches!(owner, Owner::Compensate(_)))
}

/// Whether it is in a handler or a `catch` of a step that had not ended: that step runs again from its beginning.
fn failed_around(past: &Past, plan: &Plan, path: &str) -> bool {
    around(plan, path).iter().any(|(outer, owner, _)| {
        let settled = past.steps.get(outer).is_some_and(|was| was.settled.is_some());
        matches!(owner, Owner::OnError(_) | Owner::Catch(_)) && !settled
    })
}

/// Whether it is in the handler or `catch` of a step around the point, where the point is not: it ran because of that.
fn answers_the_point(plan: &Plan, path: &str, point: &Point) -> bool {
    let (of, item) = match point {
        Point::Start => return false,
        Point::Step(of) => (of, false),
        Point::Item { map, .. } => (map, true),
    };
    let mut inside: Vec<(String, Owner)> =
        around(plan, of).into_iter().map(|(outer, owner, _)| (outer, owner)).collect();
    if item {
        inside.extend(step_of(plan, of).map(|ix| (of.clone(), Owner::Item(ix))));
    }
    around(plan, path).iter().any(|(outer, owner, _)| {
        matches!(owner, Owner::OnError(_) | Owner::Catch(_))
            && inside.iter().any(|(around, how)| around == outer && how != owner)
    })
}

/// Points of a run, spread over it by the luck of the case.
fn some_points(case: &Case) -> Result<Vec<Point>, Fault> {
    let old = Sim::new(case, None).run(case)?;
    let past = Past::read(old.state.run, &old.plan, &old.journal).ok_or("no past")?;
    let all = points(&past);
    let step = (all.len() / POINTS).max(1);
    let from = usize::try_from(case.luck % 7).unwrap_or(0) % step;
    Ok(all.into_iter().skip(from).step_by(step).collect())
}

fn check(case: &Case) -> Result<(), Fault> {
    for (case, exact) in [(case.clone(), false), (plain(case), true)] {
        for point in some_points(&case)? {
            judge(&case, &point, exact).map_err(|fault| format!("from {point}: {fault}"))?;
        }
    }
    Ok(())
}

fn search(bug: Option<Bug>, cases: u32) -> Result<(), (u32, Fault, Case)> {
    let max_shrink_iters = if bug.is_some() { 0 } else { 400 };
    let config = Config { cases, failure_persistence: None, max_shrink_iters, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let tried = std::cell::Cell::new(0_u32);
    let found = bugs::with(bug, || {
        runner.run(&case(), |case| {
            tried.set(tried.get() + 1);
            check(&case).map_err(TestCaseError::fail)
        })
    });
    match found {
        Ok(()) => Ok(()),
        Err(TestError::Fail(reason, case)) => Err((tried.get(), reason.message().to_owned(), case)),
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn a_replay_from_any_point_ends_as_the_straight_run() {
    let cases = std::env::var("AURA_SIM_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(150);
    if let Err((tried, fault, case)) = search(None, cases) {
        let flow = Maker::default().flow(&plain(&case));
        panic!("after {tried} cases: {fault}\n{}\n{case:#?}", aura_protocol::flow::canonical(&flow).to_json_pretty());
    }
}

#[test]
fn every_deliberate_bug_of_replays_is_found() {
    let bugs = [
        Bug::ReplayCopiesTooMuch,
        Bug::ReplayCopiesTooLittle,
        Bug::ReplayCopiesWhatWasUndone,
        Bug::ReplayKeepsEveryKey,
    ];
    for bug in bugs {
        let (tried, fault, _) = search(Some(bug), 300).expect_err(&format!("{bug:?} was not found"));
        println!("{bug:?}: found after {tried} cases: {fault}");
    }
}

#[test]
fn random_flows_hold_what_replays_are_about() {
    use proptest::strategy::{Strategy, ValueTree};
    let mut runner = TestRunner::new_with_rng(Config::default(), TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let (mut copied, mut kinds) = (0, BTreeSet::new());
    for _ in 0..100 {
        let case = plain(&case().new_tree(&mut runner).expect("a case").current());
        let Ok(points) = some_points(&case) else { continue };
        for point in points {
            let Ok(old) = Sim::new(&case, None).run(&case) else { continue };
            let flow = Maker::default().flow(&case);
            let past = Past::read(old.state.run, &old.plan, &old.journal).expect("a past");
            let version = Version { flow: &flow, plan: &old.plan };
            let wanted = Wanted { point, ..Wanted::default() };
            let Ok(opening) = opening(&past, version, version, &wanted) else { continue };
            copied += opening.records.len();
            for record in &opening.records {
                kinds.insert(match record.bare() {
                    Record::ScopeOpened { scope, .. } => {
                        format!("{scope:?}").split('(').next().unwrap_or_default().to_owned()
                    }
                    other => format!("{other:?}").split([' ', '(']).next().unwrap_or_default().to_owned(),
                });
            }
        }
    }
    let needed = ["Completed", "Handled", "Skipped", "Listed", "ItemsCopied", "Arm", "Try", "Item", "Iteration"];
    assert!(copied > 500, "{copied}");
    for kind in needed {
        assert!(kinds.contains(kind), "{kind} is in none: {kinds:?}");
    }
}
