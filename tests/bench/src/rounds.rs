//! Phases of load, one program after the other, in rounds; and what comes of them as tables and JSON.
//!
//! The one invariant: within a round all programs run one after the other under the same load, with their
//! files growing over the rounds, so each ratio compares neighbours in time. Start with [`Bench::part`].

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use hdrhistogram::Histogram;
use serde_json::{Value, json};

use crate::figures::{Figure, Ratio, table};
use crate::limits::Limit;
use crate::load::{self, Outcome, Plan};
use crate::meter;
use crate::served::{self, Place, Programs, Served, pause};
use crate::sink::Sink;

/// Effects that do not come any more for so long are lost.
const LOST_AFTER: Duration = Duration::from_secs(15);
/// Share of the machine that others may use in a calm round. Interrupts of the loopback are in it: 0.05 to 0.10.
const OTHERS_MAX: f64 = 0.15;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// Echo.
    L1,
    /// One row.
    L2,
    /// Row, call, row.
    L3,
    /// A flow that answers.
    W1,
    /// A flow that calls.
    W2,
}

impl Program {
    /// All, in the order of a round: what is compared stands side by side.
    pub const ALL: [Self; 5] = [Self::L1, Self::L2, Self::W1, Self::L3, Self::W2];

    /// Whether its runs end at the sink.
    #[must_use]
    pub fn calls(self) -> bool {
        matches!(self, Self::L3 | Self::W2)
    }
}

/// The load of one phase.
#[derive(Clone, Copy, Debug)]
pub struct Phase {
    /// Keep-alive connections.
    pub connections: usize,
    /// How long.
    pub length: Duration,
    /// Requests a second; `None`: closed loop.
    pub rate: Option<u32>,
}

/// What one phase showed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sample {
    /// Acknowledged (L1, L2, W1) or completed (L3, W2) a second.
    pub per_s: f64,
    /// Times to the acknowledgement, in milliseconds: 50, 99, 99.9 of 100.
    pub ack_ms: [f64; 3],
    /// Times to the effect, likewise; 0 without effects.
    pub done_ms: [f64; 3],
    /// CPU of the server per request, in milliseconds.
    pub cpu_ms: f64,
    /// Bytes per request that the server made the kernel write.
    pub written: f64,
    /// Bytes per request that reached the disk, of whomever.
    pub disk: f64,
    /// Memory at the end, in MiB (PSS).
    pub pss_mib: f64,
    /// Acknowledged.
    pub acked: u64,
    /// Acknowledged without effect.
    pub lost: u64,
    /// Effects that came more than once.
    pub repeated: u64,
    /// 429 and 503 with `Retry-After`.
    pub refused: u64,
    /// Other answers, wrong replies, broken connections, and requests that were never sent.
    pub failed: u64,
    /// Share of the machine that neither server nor driver used.
    pub others: f64,
}

/// A number of a sample.
type Take = fn(&Sample) -> f64;

/// Name and value of each figure, as in tables and JSON.
const FIGURES: &[(&str, Take)] = &[
    ("per_s", |sample| sample.per_s),
    ("ack_p50_ms", |sample| p(sample.ack_ms, 0)),
    ("ack_p99_ms", |sample| p(sample.ack_ms, 1)),
    ("ack_p999_ms", |sample| p(sample.ack_ms, 2)),
    ("done_p50_ms", |sample| p(sample.done_ms, 0)),
    ("done_p99_ms", |sample| p(sample.done_ms, 1)),
    ("cpu_ms", |sample| sample.cpu_ms),
    ("written_bytes", |sample| sample.written),
    ("disk_bytes", |sample| sample.disk),
    ("pss_mib", |sample| sample.pss_mib),
    ("others_share", |sample| sample.others),
];

fn p(all: [f64; 3], at: usize) -> f64 {
    all.get(at).copied().unwrap_or_default()
}

/// The samples of one program in one part.
#[derive(Clone, Debug)]
pub struct Series {
    /// Which program.
    pub program: Program,
    /// Its rounds.
    pub samples: Vec<Sample>,
}

impl Series {
    /// The values of one figure.
    #[must_use]
    pub fn values(&self, take: Take) -> Vec<f64> {
        self.samples.iter().map(take).collect()
    }

    /// Its median and spread.
    #[must_use]
    pub fn figure(&self, take: Take) -> Figure {
        Figure::of(&self.values(take)).unwrap_or_default()
    }

    fn sum(&self, take: fn(&Sample) -> u64) -> u64 {
        self.samples.iter().map(take).sum()
    }
}

/// Rounds of one load.
#[derive(Clone, Debug)]
pub struct Part {
    /// What the load was, in words.
    pub name: String,
    /// One series per program.
    pub series: Vec<Series>,
}

impl Part {
    /// The series of a program.
    #[must_use]
    pub fn of(&self, program: Program) -> Option<&Series> {
        self.series.iter().find(|series| series.program == program)
    }

    /// A ratio of two programs, round by round.
    #[must_use]
    pub fn ratio(&self, above: Program, below: Program, take: Take) -> Option<Ratio> {
        Ratio::of(&self.of(above)?.values(take), &self.of(below)?.values(take))
    }

    /// The table for people.
    #[must_use]
    pub fn text(&self) -> String {
        let head = [
            "",
            "per second",
            "ack p50",
            "p99",
            "p99.9 ms",
            "done p50",
            "p99 ms",
            "CPU ms",
            "written",
            "disk B",
            "PSS MiB",
        ];
        let mut lines = vec![head.map(str::to_owned).to_vec()];
        let mut remarks = Vec::new();
        for series in &self.series {
            let median = |take: Take| series.figure(take).median;
            let rate = series.figure(|sample| sample.per_s);
            let done = |at: usize| {
                let value = Figure::of(&series.values(if at == 0 { |s| p(s.done_ms, 0) } else { |s| p(s.done_ms, 1) }));
                if series.program.calls() { number(value.unwrap_or_default().median) } else { "-".to_owned() }
            };
            lines.push(vec![
                format!("{:?}", series.program),
                format!("{:.0} [{:.0}-{:.0}]", rate.median, rate.least, rate.most),
                number(median(|sample| p(sample.ack_ms, 0))),
                number(median(|sample| p(sample.ack_ms, 1))),
                number(median(|sample| p(sample.ack_ms, 2))),
                done(0),
                done(1),
                format!("{:.3}", median(|sample| sample.cpu_ms)),
                format!("{:.0}", median(|sample| sample.written)),
                format!("{:.0}", median(|sample| sample.disk)),
                format!("{:.1}", median(|sample| sample.pss_mib)),
            ]);
            for (count, what) in [
                (series.sum(|sample| sample.lost), "acknowledged without effect"),
                (series.sum(|sample| sample.repeated), "effects that came again"),
                (series.sum(|sample| sample.refused), "refused (429, 503)"),
                (series.sum(|sample| sample.failed), "FAILED or wrong"),
            ] {
                if count > 0 {
                    remarks.push(format!("{:?}: {count} {what}", series.program));
                }
            }
            let others = series.figure(|sample| sample.others);
            if others.median > OTHERS_MAX {
                remarks.push(format!(
                    "{:?}: others used {:.0} % of the machine",
                    series.program,
                    100.0 * others.median
                ));
            }
        }
        let remarks: String = remarks.iter().map(|line| format!("  {line}\n")).collect();
        format!("{}\n{}{remarks}", self.name, table(&lines))
    }

    /// Everything as JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        let series = self.series.iter().map(|series| {
            let figures = FIGURES.iter().map(|(name, take)| {
                let figure = series.figure(*take);
                let values = series.values(*take);
                let value =
                    json!({"median": figure.median, "least": figure.least, "most": figure.most, "rounds": values});
                ((*name).to_owned(), value)
            });
            let mut figures: serde_json::Map<String, Value> = figures.collect();
            for (name, take) in [
                ("acked", (|sample: &Sample| sample.acked) as fn(&Sample) -> u64),
                ("lost", |sample| sample.lost),
                ("repeated", |sample| sample.repeated),
                ("refused", |sample| sample.refused),
                ("failed", |sample| sample.failed),
            ] {
                figures.insert(name.to_owned(), json!(series.sum(take)));
            }
            (format!("{:?}", series.program), Value::Object(figures))
        });
        json!({"part": self.name, "programs": series.collect::<serde_json::Map<_, _>>()})
    }
}

/// A number with as many digits as it deserves.
fn number(value: f64) -> String {
    if value >= 100.0 { format!("{value:.0}") } else { format!("{value:.2}") }
}

/// Everything that runs.
#[derive(Debug)]
pub struct Bench {
    /// The sink that W2 and L3 call.
    pub sink: Sink,
    servers: Vec<(Program, Served)>,
    phases: u32,
}

impl Bench {
    /// Starts the programs, each in a folder of its own.
    ///
    /// # Errors
    /// One does not start, or refuses its flow.
    pub fn start(programs: &Programs, folder: &Path, wanted: &[Program]) -> Result<Self> {
        let sink = Sink::start(([127, 0, 0, 1], 0).into())?;
        let mut servers = Vec::new();
        for program in wanted {
            let folder = folder.join(format!("{program:?}"));
            let limit = |limit| served::limit(programs, limit, &folder, sink.address);
            let served = match program {
                Program::L1 => limit(Limit::L1)?,
                Program::L2 => limit(Limit::L2)?,
                Program::L3 => limit(Limit::L3)?,
                Program::W1 => daemon(programs, &folder, "w1", served::W1)?,
                Program::W2 => daemon(programs, &folder, "w2", &served::w2(sink.address))?,
            };
            servers.push((*program, served));
        }
        Ok(Self { sink, servers, phases: 0 })
    }

    /// Runs rounds of one load over some of the programs. A round in which others used the machine is repeated,
    /// but the part never has more than twice the rounds; then the calmest ones count and the table says so.
    ///
    /// # Errors
    /// A server is gone. What it answers wrongly stands in the samples.
    pub fn part(&mut self, name: &str, rounds: usize, wanted: &[Program], phase: &Phase) -> Result<Part> {
        let mut all: Vec<Vec<Sample>> = Vec::new();
        let others = |round: &[Sample]| round.iter().map(|sample| sample.others).fold(0.0, f64::max);
        for _ in 0..2 * rounds {
            let round = wanted.iter().map(|program| self.measure(*program, phase)).collect::<Result<Vec<_>>>()?;
            all.push(round);
            if all.iter().filter(|round| others(round) <= OTHERS_MAX).count() >= rounds {
                break;
            }
        }
        let run = all.len();
        all.sort_by(|a, b| others(a).total_cmp(&others(b)));
        all.truncate(rounds);
        let series = wanted.iter().enumerate().map(|(at, program)| Series {
            program: *program,
            samples: all.iter().filter_map(|round| round.get(at).copied()).collect(),
        });
        let series = series.collect();
        let name = if run > rounds { format!("{name} ({rounds} calm rounds of {run})") } else { name.to_owned() };
        Ok(Part { name, series })
    }

    fn measure(&mut self, program: Program, phase: &Phase) -> Result<Sample> {
        self.phases += 1;
        let tag = format!("{program:?}p{}", self.phases).to_lowercase();
        let Some((_, served)) = self.servers.iter().find(|(have, _)| *have == program) else {
            anyhow::bail!("{program:?} was not started");
        };
        measure(served, program, phase, &tag, &self.sink)
    }
}

/// A daemon with one flow.
fn daemon(programs: &Programs, folder: &Path, name: &str, text: &str) -> Result<Served> {
    let place = Place::new(programs, folder)?;
    let (mut served, _) = place.start()?;
    served.path = place.publish(name, text)?;
    Ok(served)
}

/// One phase of load on one server.
///
/// # Errors
/// The server is gone.
pub fn measure(served: &Served, program: Program, phase: &Phase, tag: &str, sink: &Sink) -> Result<Sample> {
    let plan = Plan {
        rate: phase.rate,
        replies: program == Program::W1,
        ..Plan::closed(served, tag, phase.connections, phase.length)
    };
    sink.begin(&plan.tag);
    let process = served.process();
    let begin = Instant::now();
    let before = meter::read(process, &served.folder)?;
    let outcome = load::run(&plan)?;
    if program.calls() {
        drain(sink, &outcome);
        settle(process, &served.folder)?;
    }
    let after = meter::read(process, &served.folder)?;
    let elapsed = begin.elapsed().as_secs_f64();
    ensure!(!outcome.acks.is_empty(), "{program:?} acknowledged nothing: {:?}", outcome.first_error);
    let mut sample = sample(program, &outcome, sink);
    let (count, ticks) = (outcome.acks.len() as f64, meter::TICKS_PER_SECOND as f64);
    let spent = |before: u64, after: u64| after.saturating_sub(before) as f64;
    sample.cpu_ms = spent(before.ticks, after.ticks) * 1000.0 / ticks / count;
    sample.written = spent(before.written, after.written) / count;
    sample.disk = spent(before.disk, after.disk) / count;
    sample.pss_mib = meter::pss_kib(process)? as f64 / 1024.0;
    let cores = std::thread::available_parallelism().map_or(1, usize::from) as f64;
    let known = spent(before.ticks, after.ticks) + spent(before.own, after.own);
    sample.others = (spent(before.machine, after.machine) - known).max(0.0) / ticks / elapsed / cores;
    Ok(sample)
}

/// Waits until every acknowledged run has had its effect, or none comes any more.
pub fn drain(sink: &Sink, outcome: &Outcome) {
    let mut last = (0, Instant::now());
    loop {
        let count = sink.count();
        if count >= outcome.acks.len() as u64 || last.1.elapsed() > LOST_AFTER {
            return;
        }
        if count != last.0 {
            last = (count, Instant::now());
        }
        pause(Duration::from_millis(5));
    }
}

/// Waits until what follows the last effect is written too.
fn settle(process: u32, folder: &Path) -> Result<()> {
    let mut last = meter::read(process, folder)?.written;
    for _ in 0..50 {
        pause(Duration::from_millis(20));
        let now = meter::read(process, folder)?.written;
        if now == last {
            return Ok(());
        }
        last = now;
    }
    Ok(())
}

fn sample(program: Program, outcome: &Outcome, sink: &Sink) -> Sample {
    let mut sample = Sample {
        ack_ms: quantiles(&outcome.latency),
        acked: outcome.acks.len() as u64,
        refused: outcome.refused,
        failed: outcome.wrong + outcome.broken + outcome.unsent,
        ..Sample::default()
    };
    if program.calls() {
        let arrived = sink.arrived(outcome.acks.iter().map(|ack| ack.number));
        let mut times = load::histogram();
        let mut last = outcome.begin;
        for (ack, first) in outcome.acks.iter().zip(&arrived.first) {
            if let Some(first) = first {
                let micros = first.saturating_duration_since(ack.due).as_micros();
                times.saturating_record(u64::try_from(micros).unwrap_or(u64::MAX).max(1));
                last = last.max(*first);
            }
        }
        sample.done_ms = quantiles(&times);
        sample.lost = sample.acked - times.len();
        sample.repeated = arrived.repeated;
        sample.per_s = times.len() as f64 / (last - outcome.begin).as_secs_f64().max(0.001);
    } else {
        sample.per_s = sample.acked as f64 / (outcome.end - outcome.begin).as_secs_f64().max(0.001);
    }
    sample
}

/// 50, 99 and 99.9 of 100, in milliseconds.
#[must_use]
pub fn quantiles(times: &Histogram<u64>) -> [f64; 3] {
    [0.5, 0.99, 0.999].map(|part| times.value_at_quantile(part) as f64 / 1000.0)
}
