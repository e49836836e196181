//! Tests of flows: a flow and its file of cases in, a report out; nothing is stored, nothing is sent.
//!
//! Invariant: the flow is checked and compiled as for a real run, and the core that executes it is the real one; only
//! the clock (`stage`), the world (`world`) and what begins the run (`begin`) are not. A case gives the same every
//! time. `crash` kills the daemon under test at every commit and call, `record` writes a case from a real run.

mod asked;
mod begin;
mod compare;
mod crash;
mod emit;
mod invent;
mod part;
mod personal;
mod record;
mod recorded;
mod stage;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_parts;
mod world;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use aura_integrations::registry::Registry;
use aura_protocol::flow::cases::{Case, CaseFile, read_cases};
use aura_protocol::flow::{self, Flow, Knowledge, Severity, Span};
use aura_protocol::rpc::{CallRow, CaseProblem, CaseReport, DataFrom, FlowTest, FlowTested, PathRow};
use aura_protocol::run::{CallOutcome, ErrorClass, Reach, StepError};
use aura_protocol::text::display;
use aura_protocol::{Code, WireError};

use crate::engine::core::plan::Plan;
use crate::engine::kinds::code;
use crate::runner::pool::{Pool, Source};
use crate::runner::wire::Job;
use crate::stop::Stop;
use asked::{Giver, Known};
pub use begin::door_says;
use compare::Problem;
use part::Part;
pub use record::record;
pub use recorded::{Recorded, recorded};
use stage::{Ended, Scripts, Stage};
use world::Halt;

/// What addresses of a simulation begin with: nobody has them.
pub const SIMULATED: &str = "https://aura.test/";

/// One call of the daemon may work so long.
pub const BUDGET: Duration = Duration::from_secs(20);
/// Rows of a report, so that it fits a frame.
const PATH_MAX: usize = 1_000;
const CALLS_MAX: usize = 500;
const INPUT_MAX: usize = 2 * 1024;
const OUTPUT_MAX: usize = 16 * 1024;
/// Reports of more cases leave out their paths and calls.
const WHOLE_MAX: usize = 20;

/// A request on standard input, at most so many bytes.
const REQUEST_MAX: u64 = 16 * 1024 * 1024;
/// Without a daemon nobody else waits: one file of cases may take so long.
const ALONE: Duration = Duration::from_secs(600);

/// `aurad test`: one request as JSON from standard input, its report or its refusal as JSON to standard output.
///
/// # Errors
/// What came is no request, or nobody takes the report.
pub fn serve() -> Result<(), Stop> {
    let mut text = String::new();
    let read = std::io::stdin().take(REQUEST_MAX).read_to_string(&mut text);
    read.map_err(|error| Stop::System(format!("standard input cannot be read: {error}")))?;
    let request: FlowTest = serde_json::from_str(&text)
        .map_err(|error| Stop::System(format!("standard input holds no request: {error}; use `aura flow test`")))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.map_err(|error| Stop::System(format!("the runtime did not start: {error}")))?;
    let scripts = in_runners(Pool::new(Source::Own, 1), runtime.handle().clone());
    let report = run(&request, &Registry::builtin(), &scripts, ALONE);
    runtime.shutdown_background();
    let line = serde_json::to_string(&report).map_err(|error| Stop::System(format!("no report: {error}")))?;
    writeln!(std::io::stdout(), "{line}").map_err(|error| Stop::System(format!("standard output: {error}")))
}

/// Scripts in the runners of a pool; not to be called on a thread of that runtime.
pub fn in_runners(pool: Pool, runtime: tokio::runtime::Handle) -> impl Fn(&Job) -> CallOutcome {
    move |job| {
        let answer = runtime.block_on(async {
            let _place = pool.place().await;
            pool.run(job).await
        });
        match answer {
            Ok(answer) => code::outcome(answer),
            Err(error) => CallOutcome::Failed(StepError::new(ErrorClass::Invalid, error.to_string()), Reach::Unsent),
        }
    }
}

/// Runs the cases of a flow.
///
/// # Errors
/// There is no case of the name that was asked for.
pub fn run(
    request: &FlowTest,
    registry: &Registry,
    scripts: &dyn Fn(&Job) -> CallOutcome,
    budget: Duration,
) -> Result<FlowTested, WireError> {
    if let Some(run) = &request.from_run {
        let message = format!("only a daemon knows what {} did", display(&run.0));
        return Err(WireError::new(Code::Unreachable, message).hint("start aurad, or name its socket"));
    }
    run_on(request, None, registry, scripts, budget)
}

/// Runs the cases of a flow on what a real run says, too.
///
/// # Errors
/// There is no case of the name that was asked for, or no step.
pub fn run_on(
    request: &FlowTest,
    recorded: Option<&Recorded>,
    registry: &Registry,
    scripts: &dyn Fn(&Job) -> CallOutcome,
    budget: Duration,
) -> Result<FlowTested, WireError> {
    let until = Instant::now() + budget;
    let mut tested = FlowTested::default();
    let file = match read_cases(&request.cases) {
        Ok(file) => Some(file),
        Err(findings) => {
            tested.case_findings = findings;
            None
        }
    };
    let (flow, plan) = match compiled(&request.flow, registry) {
        Ok(compiled) => compiled,
        Err(findings) => {
            tested.flow_findings = findings;
            return Ok(tested);
        }
    };
    tested.flow.clone_from(&flow.flow);
    tested.version = flow::version_hash(&flow);
    let Some(mut file) = file else { return Ok(tested) };
    let known: Vec<Known> = match request.generate || recorded.is_some() {
        true => file.cases.iter_mut().map(|case| Known::of(&flow, &plan, case, recorded, request.generate)).collect(),
        false => Vec::new(),
    };
    let part = request.part.as_ref().map(|part| Part::find(&plan, part)).transpose();
    let part = part.map_err(|message| WireError::new(Code::NotFound, message))?;
    let nothing = Known::default();
    let wanted = |case: &Case| request.case.as_ref().is_none_or(|name| case.name == *name);
    if let Some(name) = request.case.as_ref().filter(|_| !file.cases.iter().any(wanted)) {
        let known: Vec<&str> = file.cases.iter().map(|case| case.name.as_str()).take(10).collect();
        let message = format!("there is no case `{}`; there are {}", display(name), display(&known.join(", ")));
        return Err(WireError::new(Code::NotFound, message));
    }
    for (number, case) in file.cases.iter().enumerate().filter(|(_, case)| wanted(case)) {
        if Instant::now() > until {
            tested.not_run = Some(case.name.clone());
            break;
        }
        let known = known.get(number).unwrap_or(&nothing);
        let mut giver = Giver::new(&flow, case, recorded, known);
        let cut = match &part {
            Some(part) => compiled(&request.flow, registry)
                .ok()
                .and_then(|(_, plan)| Arc::into_inner(plan))
                .map(|plan| Arc::new(part.cut(plan, &mut giver))),
            None => None,
        };
        let plan = cut.as_ref().unwrap_or(&plan);
        let bench = Bench { flow: &flow, plan, registry, scripts, file: &file, until, part: part.as_ref(), known };
        let mut report = bench.report(number, case, request.crash, &giver.from);
        if file.cases.len() > WHOLE_MAX && request.case.is_none() {
            (report.path, report.calls) = (Vec::new(), Vec::new());
        }
        tested.cases.push(report);
    }
    Ok(tested)
}

/// A flow as a daemon with every connection, secret and variable would take it.
fn compiled(text: &str, registry: &Registry) -> Result<(Flow, Arc<Plan>), Vec<flow::Finding>> {
    let document = flow::read(text)?;
    let known = Knowledge { connectors: registry.connectors().to_vec(), ..Knowledge::default() };
    let findings = flow::check(&document, Some(&known));
    if flow::is_refused(&findings) {
        return Err(findings);
    }
    let action = |name: &str| registry.action(name).map(|action| (action.effect, Span::from_ms(action.key_window_ms)));
    match Plan::compile(&document.flow, &flow::version_hash(&document.flow), &action) {
        Ok(plan) => Ok((document.flow, plan)),
        Err(error) => Err(vec![flow::Finding {
            severity: Severity::Error,
            line: 0,
            column: 0,
            path: String::new(),
            message: error.to_string(),
            hint: None,
        }]),
    }
}

/// A flow and what its cases need.
struct Bench<'a> {
    flow: &'a Flow,
    plan: &'a Arc<Plan>,
    registry: &'a Registry,
    scripts: Scripts<'a>,
    file: &'a CaseFile,
    until: Instant,
    part: Option<&'a Part>,
    known: &'a Known,
}

impl<'a> Bench<'a> {
    fn stage(&self, case: &'a Case) -> Stage<'a> {
        let stage = Stage::new((self.flow, self.plan), case, (self.registry, self.scripts), self.until);
        let mut stage = stage.of_part(self.part);
        stage.world.completed(self.known.reads.as_ref(), &self.known.recorded);
        stage
    }

    /// One case, and if wanted all its crashes.
    fn report(&self, number: usize, case: &'a Case, crash: bool, given: &BTreeMap<String, DataFrom>) -> CaseReport {
        let begin = Instant::now();
        let base = format!("cases[{number}]");
        let mut stage = self.stage(case);
        let ended = stage.run();
        let mut report = self.seen(&stage, case, given);
        report.line = self.file.place(&base).0;
        let mut problems = compare::unknown_steps(&stage, case);
        match &ended {
            Err(halt) => problems.push(halted(halt)),
            Ok(ended) if self.part.is_some() => {
                report.state = compare::state(&stage, *ended).to_owned();
                if let (Some(asked), Some(part)) = (report.asked.as_ref(), self.part) {
                    match (asked.state.as_str(), ended) {
                        ("", Ended::Dropped) => {
                            let message = "the trigger's filter keeps the event out: no step runs".to_owned();
                            problems.push(Problem::new("", message));
                        }
                        ("", _) => {
                            problems.push(Problem::new("", asked::not_reached(&stage, part, &report.state)));
                        }
                        (state, _) => state.clone_into(&mut report.state),
                    }
                }
            }
            Ok(ended) => {
                report.state = compare::state(&stage, *ended).to_owned();
                problems.extend(compare::compare(&stage, *ended, &case.expect));
                problems.extend(signals(&stage, case));
            }
        }
        problems.extend(compare::always(&stage));
        if let (true, Ok(ended)) = (crash && problems.is_empty(), ended) {
            let (crashes, found) = crash::crashes(&|| self.stage(case), &stage, ended);
            report.crashes = Some(crashes);
            problems.extend(found);
        }
        report.passed = problems.is_empty();
        report.problems = problems.into_iter().map(|problem| self.placed(&base, problem)).collect();
        report.took_us = u64::try_from(begin.elapsed().as_micros()).unwrap_or(u64::MAX);
        report
    }

    /// What was seen, whatever was expected.
    fn seen(&self, stage: &Stage<'_>, case: &Case, given: &BTreeMap<String, DataFrom>) -> CaseReport {
        let since = |at_ms: i64| u64::try_from(at_ms.saturating_sub(stage.begin_ms)).unwrap_or(0);
        let asked = self.part.map(|part| asked::asked(stage, self.flow, part, self.known, given));
        let reads = |path: &str| {
            asked.as_ref().is_some_and(|asked| asked.given.iter().any(|(step, _)| step == world::id_of(path)))
        };
        let shown = |path: &str| {
            self.part
                .is_none_or(|part| part.shows(&stage.plan, path) || (part.alone && part.beside(path) && reads(path)))
        };
        let settled = compare::way(stage).into_iter().filter(|(_, step, _)| shown(step));
        let path = settled.take(PATH_MAX).map(|(at, step, state)| PathRow {
            at_ms: since(at),
            from: given.get(&step).or_else(|| stage.world.from.get(&step)).copied().unwrap_or_default(),
            step,
            state: state.to_owned(),
        });
        let calls = stage.world.sent.iter().take(CALLS_MAX).map(|sent| CallRow {
            at_ms: since(sent.at_ms),
            step: sent.path.clone(),
            action: sent.action.clone(),
            effect: effect_word(sent.effect).to_owned(),
            input: cut(sent.input.to_json(), INPUT_MAX),
            sent: sent.times,
        });
        let mut notes = self.known.notes.clone();
        if !stage.world.examples.is_empty() {
            let steps: Vec<&str> = stage.world.examples.iter().map(String::as_str).take(20).collect();
            notes.push(format!("answered by their connectors' recorded examples: {}", steps.join(", ")));
        }
        let unused = stage.world.unused().filter(|pin| self.part.is_none() && !self.known.recorded.contains(*pin));
        let unused: Vec<&str> = unused.collect();
        if !unused.is_empty() {
            notes.push(format!("pins that no step asked for: {}", unused.join(", ")));
        }
        let outcome = stage.state.outcome.as_ref();
        let error = outcome.and_then(|outcome| outcome.error.as_ref()).map(|error| error.message.clone());
        let output = stage.state.ending(stage.plan.as_ref()).output;
        CaseReport {
            name: case.name.clone(),
            notes,
            state: stage.state.state().word().to_owned(),
            error,
            lived_ms: stage.lived_ms(),
            records: stage.records,
            path: path.collect(),
            calls: calls.collect(),
            output: cut(output.to_json(), OUTPUT_MAX),
            asked,
            ..CaseReport::default()
        }
    }

    fn placed(&self, base: &str, problem: Problem) -> CaseProblem {
        let path = if problem.at.is_empty() { base.to_owned() } else { format!("{base}.{}", problem.at) };
        let (line, column) = self.file.place(&path);
        CaseProblem { line, column, message: display(&problem.message), lines: problem.lines }
    }
}

fn halted(halt: &Halt) -> Problem {
    Problem::new(halt.at.clone(), halt.message.clone())
}

/// Signals that were taken and must not be, or the other way round.
fn signals(stage: &Stage<'_>, case: &Case) -> Vec<Problem> {
    let each = case.signals.iter().zip(&stage.taken).enumerate();
    let wrong = each.filter(|(_, (signal, taken))| signal.taken.is_some_and(|wanted| wanted != **taken));
    wrong
        .map(|(number, (signal, taken))| {
            let what = if *taken { "was taken and must not be" } else { "was not taken" };
            Problem::new(format!("signals[{number}]"), format!("the signal for {} {what}", signal.step))
        })
        .collect()
}

fn effect_word(effect: flow::Effect) -> &'static str {
    match effect {
        flow::Effect::Read => "read",
        flow::Effect::Idempotent => "idempotent",
        flow::Effect::Keyed => "keyed",
        flow::Effect::Lookup => "lookup",
        flow::Effect::Once => "once",
    }
}

fn cut(mut text: String, most: usize) -> String {
    if text.len() > most {
        text.truncate(text.floor_char_boundary(most));
        text.push('…');
    }
    text
}
