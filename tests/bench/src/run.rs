//! `aura-bench run`: the interleaved run and the bars that are judged by it.
//!
//! The one invariant: a bar is passed only by a figure that counts as measured; everything else is said to
//! be not measured, never passed.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use aura_bench::figures::{Ratio, SPREAD_MAX, table};
use aura_bench::meter;
use aura_bench::rounds::{Bench, Part, Phase, Program, Sample};
use aura_bench::served::Programs;
use serde_json::{Value, json};

/// What is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Which {
    /// Closed loop on many connections.
    Load,
    /// Closed loop on one.
    One,
    /// 230 and 1,000 a second.
    Rates,
    /// Everything.
    All,
}

/// How it is run.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example: cargo build --release -p aura-daemon -p aura-tui -p aura-bench && target/release/aura-bench run"
)]
pub struct Settings {
    /// Rounds of every part.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds of each program in each round.
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// Keep-alive connections of the load part and of the fixed rates.
    #[arg(long, default_value_t = 32)]
    connections: usize,
    /// Parts to run.
    #[arg(long, value_enum, default_value = "all")]
    part: Which,
    /// Only these programs, as in `L2,W1`.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Folder for all data (default: a temporary one). It must lie on the disk that is to be measured.
    #[arg(long, value_name = "D")]
    data_dir: Option<PathBuf>,
    /// Ends with 1 if a bar (not an aim) was missed.
    #[arg(long)]
    judge: bool,
    /// Writes everything that was measured.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// Runs it.
pub fn run(settings: &Settings) -> Result<()> {
    let programs = Programs::beside_this()?;
    let (own, folder) = match &settings.data_dir {
        Some(folder) => (None, folder.clone()),
        None => {
            let own = tempfile::Builder::new().prefix("aura-bench-").tempdir()?;
            let folder = own.path().to_owned();
            (Some(own), folder)
        }
    };
    warn_about(&folder);
    let wanted: Vec<Program> = Program::ALL
        .into_iter()
        .filter(|program| settings.only.is_empty() || settings.only.iter().any(|name| *name == format!("{program:?}")))
        .collect();
    let parts = parts(settings, &mut Bench::start(&programs, &folder, &wanted)?, &wanted)?;
    let bars = bars(&parts);
    println!("{}", table(&bars.iter().map(|bar| bar.line()).collect::<Vec<_>>()));
    if let Some(file) = &settings.json {
        let parts: Vec<Value> = parts.iter().map(Part::json).collect();
        let bars: Vec<Value> = bars.iter().skip(1).map(Bar::json).collect();
        let whole = json!({"rounds": settings.rounds, "seconds": settings.seconds, "parts": parts, "bars": bars});
        std::fs::write(file, serde_json::to_string(&whole)? + "\n")
            .with_context(|| format!("{} cannot be written", file.display()))?;
    }
    drop(own);
    let missed = bars.iter().filter(|bar| bar.verdict == MISSED && !bar.what.starts_with("aim"));
    let missed: Vec<&str> = missed.map(|bar| bar.what).collect();
    ensure!(!settings.judge || missed.is_empty(), "missed: {}", missed.join(", "));
    Ok(())
}

fn warn_about(folder: &Path) {
    if meter::in_memory(folder) {
        println!(
            "{} lies in memory: a flush costs nothing there, and no figure below means anything",
            folder.display()
        );
    }
}

fn parts(settings: &Settings, bench: &mut Bench, wanted: &[Program]) -> Result<Vec<Part>> {
    let among = |programs: &[Program]| -> Vec<Program> {
        programs.iter().copied().filter(|program| wanted.contains(program)).collect()
    };
    let length = Duration::try_from_secs_f64(settings.seconds).context("--seconds is no length")?;
    let many = Phase { connections: settings.connections, length, rate: None };
    // Not counted: files are made, connections opened, flows read.
    bench.part("warm-up", 1, wanted, &Phase { length: length.min(Duration::from_secs(1)), ..many })?;
    let mut parts = Vec::new();
    let mut part = |name: &str, programs: &[Program], phase: Phase| -> Result<()> {
        let programs = among(programs);
        if !programs.is_empty() {
            let part = bench.part(name, settings.rounds, &programs, &phase)?;
            println!("{}", part.text());
            parts.push(part);
        }
        Ok(())
    };
    let is = |which: Which| matches!(settings.part, Which::All) || settings.part == which;
    if is(Which::Load) {
        part(&format!("closed loop, {} connections", settings.connections), &Program::ALL, many)?;
    }
    if is(Which::One) {
        let length = length.mul_f64(0.3);
        part("closed loop, one connection", &Program::ALL, Phase { connections: 1, length, rate: None })?;
    }
    if is(Which::Rates) {
        use Program::{L2, L3, W2};
        let phase = Phase { length: length.mul_f64(0.8), ..many };
        part("230 a second", &[L2, L3, W2], Phase { rate: Some(230), ..phase })?;
        part("1000 a second", &[L2, L3, W2], Phase { rate: Some(1000), ..phase })?;
    }
    Ok(parts)
}

/// The verdict that fails a judged run.
const MISSED: &str = "MISSED";

/// A promise with its figure.
struct Bar {
    what: &'static str,
    bar: String,
    found: String,
    verdict: &'static str,
}

impl Bar {
    fn line(&self) -> Vec<String> {
        vec![self.what.to_owned(), self.bar.clone(), self.found.clone(), self.verdict.to_owned()]
    }
    fn json(&self) -> Value {
        json!({"what": self.what, "bar": self.bar, "found": self.found, "verdict": self.verdict})
    }
    fn at_least(what: &'static str, bar: f64, ratio: Option<Ratio>) -> Option<Self> {
        Self::of(what, format!(">= {bar}"), ratio?, |found| found >= bar)
    }
    fn at_most(what: &'static str, bar: f64, ratio: Option<Ratio>) -> Option<Self> {
        Self::of(what, format!("<= {bar}"), ratio?, |found| found <= bar)
    }
    fn of(what: &'static str, bar: String, ratio: Ratio, good: impl Fn(f64) -> bool) -> Option<Self> {
        let verdict = match (ratio.0.spread() <= SPREAD_MAX, good(ratio.0.median)) {
            (false, _) => "not measured",
            (true, true) => "reached",
            (true, false) => MISSED,
        };
        Some(Self { what, bar, found: ratio.to_string(), verdict })
    }
    fn value(what: &'static str, bar: f64, unit: &str, found: Option<f64>) -> Option<Self> {
        let found = found?;
        let verdict = if found <= bar { "reached" } else { MISSED };
        Some(Self { what, bar: format!("<= {bar} {unit}"), found: format!("{found:.3} {unit}"), verdict })
    }
}

/// The bars, after a line of heads.
fn bars(parts: &[Part]) -> Vec<Bar> {
    use Program::{L2, L3, W1, W2};
    let part = |name: &str| parts.iter().find(|part| part.name.contains(name));
    let per_s: fn(&Sample) -> f64 = |sample| sample.per_s;
    let cpu: fn(&Sample) -> f64 = |sample| sample.cpu_ms;
    let written: fn(&Sample) -> f64 = |sample| sample.written;
    let p99: fn(&Sample) -> f64 = |sample| sample.ack_ms[1];
    let p999: fn(&Sample) -> f64 = |sample| sample.ack_ms[2];
    let (load, slow, fast) = (part(" connections"), part("230 a"), part("1000 a"));
    let one = part("one connection");
    let median = |part: Option<&Part>, program, take| Some(part?.of(program)?.figure(take).median);
    let head = Bar { what: "bar", bar: String::new(), found: "found".to_owned(), verdict: "" };
    let found = [
        Bar::at_least("W1 by L2, per second", 0.50, load.and_then(|part| part.ratio(W1, L2, per_s))),
        Bar::at_least("W2 by L3, per second", 0.45, load.and_then(|part| part.ratio(W2, L3, per_s))),
        Bar::value("CPU of a W2 run, closed loop", 0.3, "ms", median(load, W2, cpu)),
        Bar::at_most("CPU of W2 by L3 at 230/s", 1.6, slow.and_then(|part| part.ratio(W2, L3, cpu))),
        Bar::at_most("ack p99 of W2 by L2 at 1,000/s", 3.0, fast.and_then(|part| part.ratio(W2, L2, p99))),
        Bar::value("ack p99.9 of W2 at 1,000/s", 50.0, "ms", median(fast, W2, p999)),
        Bar::at_most("aim: bytes of W2 by L3 at 230/s", 2.5, slow.and_then(|part| part.ratio(W2, L3, written))),
        Bar::value("aim: W1 p50 at one connection", 1.0, "ms", median(one, W1, |sample| sample.ack_ms[0])),
    ];
    std::iter::once(head).chain(found.into_iter().flatten()).collect()
}
