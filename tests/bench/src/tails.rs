//! `aura-bench tails`: does it cost the engine anything that people watch? (reliability bar A10)
//!
//! Rounds without and with watchers follow each other. The watchers are processes of their own with the lowest
//! priority, as if they sat on other machines: what counts is the daemon's work for them, not theirs.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use aura_bench::figures::Ratio;
use aura_bench::meter;
use aura_bench::rounds::{Phase, Program, Sample, measure};
use aura_bench::served::{self, Place, Programs};
use aura_bench::sink::Sink;
use aura_bench::socket::Client;

/// How it is run.
#[derive(Debug, clap::Args)]
pub struct Settings {
    /// Rounds.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds of each half of a round.
    #[arg(long, default_value_t = 6.0)]
    seconds: f64,
    /// Clients that read.
    #[arg(long, default_value_t = 40)]
    readers: usize,
    /// Clients that never read.
    #[arg(long, default_value_t = 10)]
    deaf: usize,
    /// Requests a second; 0 is a closed loop.
    #[arg(long, default_value_t = 0)]
    rate: u32,
}

/// What the watching process does.
#[derive(Debug, clap::Args)]
pub struct Watching {
    /// Socket of the daemon.
    #[arg(long)]
    socket: PathBuf,
    /// Clients that read.
    #[arg(long)]
    readers: usize,
    /// Clients that never read.
    #[arg(long)]
    deaf: usize,
}

/// Runs it.
pub fn run(settings: &Settings) -> Result<()> {
    let programs = Programs::beside_this()?;
    let folder = tempfile::Builder::new().prefix("aura-bench-").tempdir()?;
    let sink = Sink::start(([127, 0, 0, 1], 0).into())?;
    let place = Place::new(&programs, folder.path())?;
    let (mut served, _) = place.start()?;
    served.path = place.publish("w1", served::W1)?;
    let length = Duration::try_from_secs_f64(settings.seconds).context("--seconds is no length")?;
    let phase = Phase { connections: 32, length, rate: (settings.rate > 0).then_some(settings.rate) };
    measure(&served, Program::W1, &Phase { length: Duration::from_secs(1), ..phase }, "warm", &sink)?;
    let (mut alone, mut watched) = (Vec::new(), Vec::new());
    let before = meter::rss_kib(served.process())?;
    for round in 0..settings.rounds {
        alone.push(measure(&served, Program::W1, &phase, &format!("a{round}"), &sink)?);
        let mut watchers = watchers(&programs, &place, settings)?;
        watched.push(measure(&served, Program::W1, &phase, &format!("w{round}"), &sink)?);
        watchers.kill()?;
        watchers.wait()?;
    }
    let values = |samples: &[Sample], take: fn(&Sample) -> f64| samples.iter().map(take).collect::<Vec<f64>>();
    let clients = settings.readers + settings.deaf;
    println!(
        "W1 with {clients} clients that watch ({} never read) by W1 alone, {} rounds",
        settings.deaf, settings.rounds
    );
    for (what, take) in [
        ("per second", (|sample: &Sample| sample.per_s) as fn(&Sample) -> f64),
        ("ack p99", |sample| sample.ack_ms[1]),
        ("CPU per run", |sample| sample.cpu_ms),
    ] {
        let ratio = Ratio::of(&values(&watched, take), &values(&alone, take)).context("no rounds")?;
        println!("  {what}: {ratio}");
    }
    println!("  alone {:.0?} per second, watched {:.0?}", values(&alone, |s| s.per_s), values(&watched, |s| s.per_s));
    println!("  RSS {before} KiB before, {} KiB after", meter::rss_kib(served.process())?);
    Ok(())
}

/// Starts the watchers and waits until all of them are connected.
fn watchers(programs: &Programs, place: &Place, settings: &Settings) -> Result<Child> {
    let mut child = Command::new("nice")
        .args(["-n", "19"])
        .arg(&programs.bench)
        .args(["watch", "--socket"])
        .arg(place.socket())
        .args(["--readers", &settings.readers.to_string(), "--deaf", &settings.deaf.to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("the watchers do not start")?;
    let mut line = String::new();
    let out = child.stdout.take().context("no output")?;
    std::io::BufRead::read_line(&mut std::io::BufReader::new(out), &mut line)?;
    anyhow::ensure!(line.trim() == "watching", "the watchers did not connect");
    Ok(child)
}

/// Watches until the process is killed.
pub fn watch(settings: &Watching) -> Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let mut tasks = Vec::new();
        for number in 0..settings.readers + settings.deaf {
            let client = Client::connect(&settings.socket).await?;
            let start = client.watch(None, Duration::ZERO).await?.cursor;
            if number < settings.deaf {
                client.stop_reading();
                // Several polls from the beginning, so that the answers fill every buffer on the way.
                for _ in 0..8 {
                    let client = client.clone();
                    tasks.push(tokio::spawn(async move { client.watch(Some(0), Duration::ZERO).await.map(drop) }));
                }
                // The connection stays open as long as the process.
                tasks.push(tokio::spawn(async move {
                    std::future::pending::<()>().await;
                    drop(client);
                    Ok(())
                }));
            } else {
                tasks.push(tokio::spawn(read(client, start)));
            }
        }
        println!("watching");
        for task in tasks {
            let _ = task.await?;
        }
        Ok(())
    })
}

/// Reads news as the screens do: one long poll at a time, shown ten times a second at most.
async fn read(client: Client, mut cursor: u64) -> Result<()> {
    loop {
        cursor = client.watch(Some(cursor), Duration::from_secs(20)).await?.cursor;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
