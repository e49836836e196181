//! Deeper flows with more trouble than one crash: crashes anywhere and again, restored disks, a clock that jumps, answers
//! that come twice and late, signals early and late, people who cancel.
//!
//! `AURA_SIM_STEPS` says how many steps are to settle (20,000 in the gate, 5,000,000 in `.ci/full`), `AURA_SIM_SEED` from
//! where. What was met is counted: a kind that the engine executes and nobody met fails the test.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use aura_protocol::flow::support;
use aura_protocol::run::{Record, ScopeKind};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use super::bugs::{self, Bug};
use super::flows::{Case, nested_case};
use super::judge::judge;
use super::order::order;
use super::trouble::Trouble;
use super::{Fault, Sim, id_of};

/// A failing case is made smaller at most so often.
const SIMPLER_MAX: u32 = 400;
/// Runs of one case, each with another trouble.
const RUNS: u32 = 4;

/// What was done.
#[derive(Default)]
struct Tally {
    cases: u64,
    runs: u64,
    /// Steps that settled.
    steps: u64,
    /// Time that it took to think flows up.
    making: Duration,
    /// Steps that settled by kind, and everything else that was met.
    met: BTreeMap<&'static str, u64>,
}

impl Tally {
    fn add(&mut self, sim: &Sim) {
        self.runs += 1;
        for (what, count) in &sim.met {
            *self.met.entry(what).or_default() += count;
        }
        let mut meets = |what: &'static str| *self.met.entry(what).or_default() += 1;
        for record in super::records(sim) {
            let settles = match record {
                Record::Completed { .. } | Record::Skipped { .. } | Record::Failed { retry_at_ms: None, .. } => true,
                Record::Failed { .. } => {
                    meets("retry");
                    false
                }
                Record::InDoubt { .. } => {
                    meets("in doubt");
                    false
                }
                Record::Lost { .. } => {
                    meets("loser");
                    false
                }
                Record::TimedOut { .. } => {
                    meets("time of a scope over");
                    false
                }
                Record::TimerFired { path } if path.is_empty() => {
                    meets("time of the run over");
                    false
                }
                Record::Signalled { .. } => {
                    meets("signal");
                    false
                }
                Record::CancelRequested { .. } => {
                    meets("cancel");
                    false
                }
                Record::Broken { .. } => {
                    meets("break_if");
                    false
                }
                Record::ScopeOpened { scope, .. } => {
                    match scope {
                        ScopeKind::OnError => meets("on_error"),
                        ScopeKind::Catch => meets("catch"),
                        ScopeKind::Compensate => meets("compensate"),
                        ScopeKind::FlowOnError => meets("on_error of the flow"),
                        ScopeKind::Finally => meets("finally"),
                        _ => {}
                    }
                    false
                }
                _ => false,
            };
            if let (true, Some(path)) = (settles, record.path()) {
                self.steps += 1;
                meets(sim.kinds.get(id_of(path)).copied().unwrap_or("?"));
            }
        }
    }
}

/// The trouble of one run of a case.
fn trouble(number: u32) -> Trouble {
    match number {
        0 => Trouble::default(),
        1 => Trouble { crashes: 6, twice: true, quick: true, ..Trouble::default() },
        2 => Trouble { crashes: 2, jumps: true, twice: true, quick: true, restores: false },
        _ => Trouble { crashes: 3, jumps: true, twice: true, quick: true, restores: true },
    }
}

fn one(case: &Case, number: u32) -> Result<Sim, Fault> {
    let mut sim = Sim::new(case, None);
    sim.trouble = trouble(number);
    sim.luck = sim.luck.wrapping_add(u64::from(number).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    let sim = sim.run(case)?;
    judge(&sim).and_then(|()| order(&sim)).map_err(|fault| format!("{fault}\n{}", journal(&sim)))?;
    Ok(sim)
}

/// The journal of a run that broke a rule, to be read.
fn journal(sim: &Sim) -> String {
    let rows = sim.journal.iter().map(|row| {
        let records: Vec<String> =
            row.records.iter().map(|record| format!("    {record:?}").chars().take(200).collect()).collect();
        format!("  {} at {}\n{}", row.number, row.at_ms, records.join("\n"))
    });
    rows.collect::<Vec<_>>().join("\n")
}

fn all(case: &Case, tally: &mut Tally) -> Result<(), Fault> {
    tally.cases += 1;
    for number in 0..RUNS {
        let sim = one(case, number).map_err(|fault| format!("with {:?}: {fault}", trouble(number)))?;
        tally.add(&sim);
    }
    Ok(())
}

/// Runs cases until so many steps have settled, or a fault; that one with the smallest case found.
fn soak(bug: Option<Bug>, steps: u64, seed: u64) -> (Tally, Option<(Fault, Case)>) {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let mut tally = Tally::default();
    let strategy = nested_case();
    let found = bugs::with(bug, || {
        while tally.steps < steps {
            let begin = Instant::now();
            let mut tree = strategy.new_tree(&mut runner).expect("a case");
            tally.making += begin.elapsed();
            let Err(fault) = all(&tree.current(), &mut tally) else { continue };
            let mut found = (fault, tree.current());
            for _ in 0..if bug.is_some() { 0 } else { SIMPLER_MAX } {
                match all(&tree.current(), &mut Tally::default()) {
                    Err(fault) => {
                        found = (fault, tree.current());
                        if !tree.simplify() {
                            break;
                        }
                    }
                    Ok(()) if !tree.complicate() => break,
                    Ok(()) => {}
                }
            }
            return Some(found);
        }
        None
    });
    (tally, found)
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

#[test]
fn nested_flows_survive_whatever_happens() {
    let steps = number("AURA_SIM_STEPS", 20_000);
    let begin = Instant::now();
    let (tally, found) = soak(None, steps, number("AURA_SIM_SEED", 1));
    let took = begin.elapsed();
    println!(
        "{} steps settled in {} runs of {} flows in {:.1} s: {} a second",
        tally.steps,
        tally.runs,
        tally.cases,
        took.as_secs_f64(),
        u128::from(tally.steps) * 1000 / took.as_millis().max(1)
    );
    println!("{:.1} s of it to think the flows up", tally.making.as_secs_f64());
    tally.met.iter().for_each(|(what, count)| println!("  {what}: {count}"));
    if let Some((fault, case)) = found {
        panic!("after {} steps: {fault}\n{case:#?}", tally.steps);
    }
    let met = |what: &str| tally.met.get(what).copied().unwrap_or(0);
    for kind in support::KINDS {
        assert!(met(kind) > 20, "steps of kind `{kind}` settled {} times; the generator is in flows.rs", met(kind));
    }
    let others = "retry,in doubt,loser,time of a scope over,time of the run over,signal,cancel,break_if,on_error,catch,\
                  compensate,on_error of the flow,finally,crash,restore,clock ahead,clock back,late answer,told twice";
    for what in others.split(',') {
        assert!(met(what) > 5, "`{what}` was met {} times", met(what));
    }
}

#[test]
fn more_deliberate_bugs_are_found_within_their_budgets() {
    // `UndoOfLosersIsLost` needs luck here; `trial` finds it by a case of its own.
    let budgets = [
        (Bug::FlowHandlerIsSkipped, 20_000),
        (Bug::HandlerIsSkipped, 20_000),
        (Bug::UndoIsForgotten, 20_000),
        (Bug::RetryAfterIsIgnored, 20_000),
        (Bug::KeyWindowIsForgotten, 60_000),
        (Bug::LateAnswerCounts, 20_000),
        (Bug::ReturnCountsTwice, 20_000),
        (Bug::ItemFailureIsGreen, 20_000),
        (Bug::TimeoutIsForgotten, 20_000),
        (Bug::SleepEndsEarly, 20_000),
        (Bug::RestoreIsForgotten, 20_000),
    ];
    for (bug, budget) in budgets {
        let (tally, found) = soak(Some(bug), budget, 1);
        let (fault, _) = found.unwrap_or_else(|| panic!("{bug:?} was not found in {budget} steps"));
        println!("{bug:?}: found after {} steps: {fault}", tally.steps);
    }
}
