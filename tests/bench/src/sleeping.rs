//! `aura-bench sleeping`: a million sleeping runs, and one run over a long list that is killed half way.
//!
//! The sleepers are copied into the store (`bulk`); then the daemon is started, killed and started again, and the timers
//! that are due while all of them sleep are looked at. The list is sent as one delivery, and the sink says which of its
//! items came how often.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use aura_bench::bulk;
use aura_bench::figures::table;
use aura_bench::meter;
use aura_bench::served::{self, Place, Programs, Served};
use aura_bench::sink::Sink;
use aura_protocol::RunId;
use serde_json::Value;

/// As [`Place::new`] writes it.
const MASTER: [u8; 32] = *b"a master key of nothing but runs";
/// The bars: resident memory in MiB, a start in milliseconds, a timer's lateness in milliseconds.
const BARS: (f64, f64, i64) = (200.0, 5000.0, 1000);
/// Sleeps a month; the flow whose run is copied.
const SLEEPER: &str = "aura: 1
flow: sleeper
triggers: [{ id: by_hand, on: manual }]
steps:
  - { id: nap, sleep: { for: 30d } }
  - { id: after, set: { done: true } }
";
/// Wakes soon.
const ALARM: &str = "aura: 1
flow: alarm
triggers: [{ id: by_hand, on: manual }]
steps:
  - { id: nap, sleep: { for: \"{{ input.for }}\" } }
";

/// How it is run.
#[derive(Debug, clap::Args)]
pub struct Settings {
    /// Sleeping runs.
    #[arg(long, default_value_t = 1_000_000)]
    runs: u64,
    /// Items of the long list; 0: none.
    #[arg(long, default_value_t = 100_000)]
    items: u64,
    /// Items at work at once.
    #[arg(long, default_value_t = 50)]
    parallel: u32,
    /// Fail unless the bars hold.
    #[arg(long)]
    judge: bool,
    /// Folder for the data (default: a temporary one).
    #[arg(long, value_name = "D")]
    data_dir: Option<PathBuf>,
}

/// Runs it.
pub fn run(settings: &Settings) -> Result<()> {
    let programs = Programs::beside_this()?;
    let own = tempfile::Builder::new().prefix("aura-bench-").tempdir()?;
    let folder = settings.data_dir.clone().unwrap_or_else(|| own.path().to_owned());
    let place = Place::new(&programs, &folder)?;
    if settings.runs > 0 {
        sleepers(&place, settings)?;
    }
    if settings.items > 0 {
        let wide = Place::new(&programs, &folder.join("wide"))?;
        long_list(&wide, settings)?;
    }
    Ok(())
}

fn mib(process: u32) -> Result<f64> {
    Ok(meter::rss_kib(process)? as f64 / 1024.0)
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

fn begin(place: &Place, flow: &str, input: &str) -> Result<RunId> {
    let said = place.aura(&["flow", "run", flow, "--input", input])?;
    let run = said.first().and_then(|head| head.get("run")).and_then(Value::as_str).context("no run")?;
    Ok(run.parse()?)
}

fn sleepers(place: &Place, settings: &Settings) -> Result<()> {
    let (mut served, _) = place.start()?;
    std::fs::write(place.folder.join("sleeper.yaml"), SLEEPER)?;
    std::fs::write(place.folder.join("alarm.yaml"), ALARM)?;
    for name in ["sleeper.yaml", "alarm.yaml"] {
        place.aura(&["flow", "apply", &place.folder.join(name).to_string_lossy(), "--publish"])?;
    }
    let first = begin(place, "sleeper", "{}")?;
    served.terminate()?;
    let began = Instant::now();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let data = place.folder.join("data");
    runtime.block_on(bulk::sleepers(&data, MASTER, first, settings.runs, 50))?;
    let size = std::fs::metadata(place.database())?.len();
    println!("{} sleepers written in {:.1} s, {} MiB", settings.runs, began.elapsed().as_secs_f64(), size >> 20);
    let (mut served, start) = place.start()?;
    let late = alarms(place, &["100ms", "700ms", "2s", "5s"])?;
    let idle = mib(served.process())?;
    // One that is due while nobody is there wakes at the start.
    let due = begin(place, "alarm", "{\"for\":\"1s\"}")?;
    served.kill()?;
    served::pause(Duration::from_secs(2));
    let (again, after_kill) = place.start()?;
    served = again;
    let missed = lateness(place, due)?;
    let later = alarms(place, &["300ms", "3s"])?;
    served::pause(Duration::from_secs(10));
    let settled = mib(served.process())?;
    let head = ["sleepers", "start ms", "RSS MiB", "after kill ms", "RSS MiB later", "timer late ms", "missed late ms"];
    let row = vec![
        settings.runs.to_string(),
        format!("{:.0}", ms(start)),
        format!("{idle:.0}"),
        format!("{:.0}", ms(after_kill)),
        format!("{settled:.0}"),
        late.max(later).to_string(),
        missed.to_string(),
    ];
    println!("\n{}", table(&[head.map(str::to_owned).to_vec(), row]));
    if settings.judge {
        let (memory, starts, lates) = BARS;
        ensure!(idle.max(settled) < memory, "more than {memory} MiB");
        ensure!(ms(start).max(ms(after_kill)) < starts, "a start took longer than {starts} ms");
        ensure!(late.max(later) < lates, "a timer was later than {lates} ms");
    }
    served.terminate()
}

/// How late the latest of these woke, in milliseconds.
fn alarms(place: &Place, lengths: &[&str]) -> Result<i64> {
    let mut runs = Vec::new();
    for length in lengths {
        runs.push(begin(place, "alarm", &format!("{{\"for\":\"{length}\"}}"))?);
    }
    let mut latest = 0;
    for run in runs {
        latest = latest.max(lateness(place, run)?);
    }
    Ok(latest)
}

fn lateness(place: &Place, run: RunId) -> Result<i64> {
    let began = Instant::now();
    loop {
        let said = place.aura(&["run", "show", &run.to_string()])?;
        let journal = said.first().and_then(|detail| detail.get("journal")).and_then(Value::as_array);
        let (mut until, mut woke) = (None, None);
        for transition in journal.into_iter().flatten() {
            let at = transition.get("at_ms").and_then(Value::as_i64);
            for record in transition.get("records").and_then(Value::as_array).into_iter().flatten() {
                let wait = record.get("wait_created").and_then(|wait| wait.get("until_ms"));
                until = until.or(wait.and_then(Value::as_i64));
                if record.get("timer_fired").is_some() {
                    woke = at;
                }
            }
        }
        if let (Some(until), Some(woke)) = (until, woke) {
            return Ok(woke - until);
        }
        ensure!(began.elapsed() < Duration::from_secs(60), "{run} did not wake");
        served::pause(Duration::from_millis(20));
    }
}

fn long_list(place: &Place, settings: &Settings) -> Result<()> {
    let sink = Sink::start(([127, 0, 0, 1], 0).into())?;
    sink.begin("item");
    let (mut served, _) = place.start()?;
    let text = format!(
        "aura: 1\nflow: wide\ntriggers: [{{ id: by_hand, on: manual }}]\nsteps:\n  - id: all\n    map:\n      over: \"{{{{ input.items }}}}\"\n      max_parallel: {}\n      steps:\n        - id: put\n          http: {{ method: PUT, url: \"http://{}/\", body: {{ id: \"item-{{{{ json(item).padStart(12, '0') }}}}\" }} }}\n        - {{ id: note, set: {{}} }}\n",
        settings.parallel, sink.address
    );
    std::fs::write(place.folder.join("wide.yaml"), text)?;
    place.aura(&["flow", "apply", &place.folder.join("wide.yaml").to_string_lossy(), "--publish"])?;
    let items: Vec<String> = (0..settings.items).map(|item| item.to_string()).collect();
    let input = place.folder.join("items.json");
    std::fs::write(&input, format!("{{\"items\":[{}]}}", items.join(",")))?;
    let began = Instant::now();
    let run = begin(place, "wide", &format!("@{}", input.display()))?;
    let mut most = 0.0_f64;
    let mut watch = |served: &Served, until: u64| -> Result<()> {
        while sink.count() < until {
            most = most.max(mib(served.process())?);
            ensure!(began.elapsed() < Duration::from_secs(3600), "{} items in an hour", sink.count());
            served::pause(Duration::from_millis(100));
        }
        Ok(())
    };
    watch(&served, settings.items / 2)?;
    served.kill()?;
    let killed_at = sink.count();
    let (again, start) = place.start()?;
    served = again;
    watch(&served, settings.items)?;
    loop {
        let said = place.aura(&["run", "list", "--limit", "1"])?;
        let state = said.first().and_then(|head| head.get("state")).and_then(Value::as_str).unwrap_or_default();
        if state == "succeeded" {
            break;
        }
        ensure!(began.elapsed() < Duration::from_secs(3600) && state != "failed", "{run} is {state}");
        served::pause(Duration::from_millis(50));
    }
    let took = began.elapsed();
    let arrived = sink.arrived(0..settings.items);
    let lost = arrived.first.iter().filter(|first| first.is_none()).count();
    let head = ["items", "parallel", "s", "items a s", "killed at", "start ms", "sent twice", "lost", "most RSS MiB"];
    let row = vec![
        settings.items.to_string(),
        settings.parallel.to_string(),
        format!("{:.1}", took.as_secs_f64()),
        format!("{:.0}", settings.items as f64 / took.as_secs_f64()),
        killed_at.to_string(),
        format!("{:.0}", ms(start)),
        arrived.repeated.to_string(),
        lost.to_string(),
        format!("{most:.0}"),
    ];
    println!("\n{}", table(&[head.map(str::to_owned).to_vec(), row]));
    // An item that had ended is never repeated; those that were out when it was killed may be.
    ensure!(arrived.repeated <= u64::from(settings.parallel), "{} items were sent twice", arrived.repeated);
    ensure!(lost == 0, "{lost} items were not sent");
    if settings.judge {
        ensure!(most < BARS.0, "more than {} MiB", BARS.0);
    }
    served.terminate()
}
