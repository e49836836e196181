//! `aura-bench stored`: what it costs to keep many flows and runs (the bars on memory, start and lists).
//!
//! Everything is put in through the door, as deliveries. Between the sizes the daemon is stopped, started,
//! killed, and started again with its file out of the page cache; the file is never touched otherwise.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use aura_bench::figures::{Figure, table};
use aura_bench::load::{self, Plan};
use aura_bench::meter;
use aura_bench::served::{self, Place, Programs, Served};
use aura_bench::socket::Client;

/// Starts and lists of which the median counts.
const REPEATS: usize = 5;
/// Lists asked for one figure.
const LISTS: usize = 51;

/// How it is run.
#[derive(Debug, clap::Args)]
pub struct Settings {
    /// Finished runs, in growing order.
    #[arg(long, value_delimiter = ',', default_value = "1000,100000,500000")]
    runs: Vec<u64>,
    /// Published flows.
    #[arg(long, default_value_t = 1000)]
    flows: usize,
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
    let (mut served, empty) = place.start()?;
    println!("empty store: ready after {:.0} ms, {}", ms(empty), memory(&served)?);
    served.path = place.publish("w1", served::W1)?;
    fill_flows(&place, settings.flows.saturating_sub(1))?;
    println!("{} flows: {}", settings.flows, memory(&served)?);

    let head = [
        "runs",
        "file MiB",
        "B a run",
        "RSS after load",
        "start ms",
        "start, uncached",
        "idle PSS",
        "RSS MiB",
        "list 20 ms",
        "list 500 ms",
        "idle B/s",
        "after kill s",
        "uncached s",
        "s a GiB",
    ];
    let mut lines = vec![head.map(str::to_owned).to_vec()];
    let mut have = 0;
    for want in &settings.runs {
        ensure!(*want > have, "--runs must grow");
        let plan = Plan {
            most: Some(want - have),
            replies: true,
            ..Plan::closed(&served, &format!("r{want}"), 32, Duration::from_secs(3600))
        };
        let outcome = load::run(&plan)?;
        ensure!(outcome.acks.len() as u64 == want - have, "not all were accepted: {:?}", outcome.first_error);
        have = *want;
        let loaded = meter::rss_kib(served.process())?;
        let file = place.database();
        let size = std::fs::metadata(&file)?.len();
        // Clean ends and starts, the file in the page cache and out of it.
        let path = served.path.clone();
        let mut starts = Vec::new();
        for _ in 0..REPEATS {
            stop(&mut served)?;
            let (again, time) = place.start()?;
            starts.push(ms(time));
            served = again;
        }
        stop(&mut served)?;
        forget(&file)?;
        let (again, uncached) = place.start()?;
        served = again;
        let (short, long) = (list(&place, 20)?, list(&place, 500)?);
        let before = meter::read(served.process(), &place.folder)?;
        served::pause(Duration::from_secs(5));
        let idle = (meter::read(served.process(), &place.folder)?.written - before.written) / 5;
        let (pss, rss) = (meter::pss_kib(served.process())?, meter::rss_kib(served.process())?);
        // Killed while it writes.
        let killed = |cold: bool, served: Served| -> Result<(Served, f64)> {
            let mut served = served;
            under_load(&mut served, &path, cold)?;
            if cold {
                forget(&file)?;
            }
            let (again, time) = place.start()?;
            Ok((again, time.as_secs_f64()))
        };
        let (again, warm) = killed(false, served)?;
        let (again, cold) = killed(true, again)?;
        served = again;
        served.path = path;
        let gib = size as f64 / f64::from(1 << 30);
        lines.push(vec![
            want.to_string(),
            format!("{:.0}", size as f64 / f64::from(1 << 20)),
            (size / want).to_string(),
            format!("{:.1} MiB", loaded as f64 / 1024.0),
            format!("{:.0}", Figure::of(&starts).unwrap_or_default().median),
            format!("{:.0}", ms(uncached)),
            format!("{:.1} MiB", pss as f64 / 1024.0),
            format!("{:.1}", rss as f64 / 1024.0),
            format!("{short:.2}"),
            format!("{long:.2}"),
            idle.to_string(),
            format!("{warm:.2}"),
            format!("{cold:.2}"),
            format!("{:.2}", cold / gib),
        ]);
        println!("{}", lines.last().map(|line| line.join("  ")).unwrap_or_default());
    }
    println!("\n{}", table(&lines));
    Ok(())
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

fn memory(served: &Served) -> Result<String> {
    let (pss, rss) = (meter::pss_kib(served.process())?, meter::rss_kib(served.process())?);
    Ok(format!("PSS {:.1} MiB, RSS {:.1} MiB", pss as f64 / 1024.0, rss as f64 / 1024.0))
}

/// Many published flows, each with a webhook.
fn fill_flows(place: &Place, count: usize) -> Result<()> {
    let folder = place.folder.join("flows");
    std::fs::create_dir_all(&folder)?;
    let mut files = Vec::new();
    for number in 0..count {
        let file = folder.join(format!("f{number:04}.yaml"));
        let name = format!("flow: f{number:04}");
        std::fs::write(&file, served::W1.replace("flow: w1", &name))?;
        files.push(file.to_string_lossy().into_owned());
    }
    for some in files.chunks(100) {
        let mut arguments = vec!["flow", "apply", "--publish"];
        arguments.extend(some.iter().map(String::as_str));
        place.aura(&arguments)?;
    }
    Ok(())
}

/// Ends it as systemd does.
fn stop(served: &mut Served) -> Result<()> {
    served.terminate()
}

/// Sends for a moment and kills in the middle of it.
fn under_load(served: &mut Served, path: &str, second: bool) -> Result<()> {
    served.path = path.to_owned();
    let tag = format!("k{}{}", u8::from(second), served.process());
    let plan = Plan { stop_at_error: true, ..Plan::closed(served, &tag, 8, Duration::from_secs(30)) };
    let sender = std::thread::spawn(move || load::run(&plan));
    served::pause(Duration::from_millis(500));
    served.kill()?;
    let outcome = sender.join().ok().context("the sender ended badly")??;
    ensure!(!outcome.acks.is_empty(), "nothing was written before the kill: {:?}", outcome.first_error);
    Ok(())
}

/// Takes a file out of the page cache.
fn forget(file: &Path) -> Result<()> {
    let file = File::open(file)?;
    file.sync_all()?;
    rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed)?;
    Ok(())
}

/// Median time of a list of the newest runs, in milliseconds.
fn list(place: &Place, limit: u32) -> Result<f64> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let client = Client::connect(&place.socket()).await?;
        let mut times = Vec::new();
        for _ in 0..LISTS {
            let begin = Instant::now();
            client.list(limit).await?;
            times.push(ms(begin.elapsed()));
        }
        Ok(Figure::of(&times).unwrap_or_default().median)
    })
}
