//! `aura-bench outgoing`: messages a second to one receiver, beside a bare reqwest loop that posts the same bytes to the
//! same sink; and what a start and the memory are like while very many wait.
//!
//! What waits is copied into the store as the daemon writes it (`bulk`), so only sending is measured: from the first
//! arrival to the last. Both sides are processes of their own with as many requests at the same time, round by round.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use aura_bench::bulk::{self, Waiting};
use aura_bench::figures::{Figure, Ratio, table};
use aura_bench::meter;
use aura_bench::payload::payload;
use aura_bench::served::{self, Place, Programs, Served};
use aura_bench::sink::Sink;
use aura_protocol::SubscriptionId;
use serde_json::Value;

/// As [`Place::new`] writes it.
const MASTER: [u8; 32] = *b"a master key of nothing but runs";
/// The bar: messages a second by those of the bare loop.
const BAR: f64 = 0.5;
/// Resident memory in MiB while very many wait.
const MEMORY_BAR: f64 = 200.0;

/// How it is run.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example: aura-bench outgoing --rounds 5 --messages 20000 --judge\n         aura-bench outgoing --rounds 0 --waiting 1000000"
)]
pub struct Settings {
    /// Rounds.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Messages of each side in each round.
    #[arg(long, default_value_t = 20_000)]
    messages: u64,
    /// Requests at the same time.
    #[arg(long, default_value_t = 16)]
    parallel: usize,
    /// Messages that wait while memory and start are looked at; 0: not looked at.
    #[arg(long, default_value_t = 0)]
    waiting: u64,
    /// Fail unless the bars hold.
    #[arg(long)]
    judge: bool,
    /// Folder for the data (default: a temporary one).
    #[arg(long, value_name = "D")]
    data_dir: Option<PathBuf>,
}

/// The bare loop.
#[derive(Debug, clap::Args)]
pub struct Posting {
    /// Where to.
    #[arg(long)]
    to: SocketAddr,
    /// Tag of the ids.
    #[arg(long)]
    tag: String,
    /// How many.
    #[arg(long)]
    messages: u64,
    /// At the same time.
    #[arg(long)]
    parallel: usize,
}

/// Runs it.
pub fn run(settings: &Settings) -> Result<()> {
    let programs = Programs::beside_this()?;
    let own = tempfile::Builder::new().prefix("aura-bench-").tempdir()?;
    let folder = settings.data_dir.clone().unwrap_or_else(|| own.path().to_owned());
    let sink = Sink::start(([127, 0, 0, 1], 0).into())?;
    let each = settings.parallel.to_string();
    let mut place = Place::new(&programs, &folder)?;
    place.settings.push(("AURA_OUTGOING_PER_SUBSCRIPTION".to_owned(), each.clone()));
    place.settings.push(("AURA_OUTGOING_MAX".to_owned(), settings.parallel.max(64).to_string()));
    let (mut daemon, _) = place.start()?;
    let url = format!("http://{}/", sink.address);
    let made = place.aura(&["subscription", "create", "bench", "--url", &url, "--types", "*"])?;
    let id = made.first().and_then(|row| row.get("id")).and_then(Value::as_str).context("no subscription")?;
    let id: SubscriptionId = id.parse()?;
    daemon.terminate()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let data = place.folder.join("data");
    let (mut ours, mut bare, mut cpu) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..settings.rounds {
        let tag = format!("out{round}");
        let waiting = Waiting { tag: tag.clone(), count: settings.messages, later_ms: 0 };
        runtime.block_on(bulk::sendings(&data, MASTER, id, &waiting))?;
        sink.begin(&tag);
        let (mut daemon, _) = place.start()?;
        let (took, busy) = until(&sink, settings.messages, || cpu_ms(&daemon, &place))?;
        let arrived = sink.arrived(0..settings.messages);
        ensure!(arrived.first.iter().all(Option::is_some), "messages were lost");
        ensure!(arrived.repeated == 0, "{} messages were sent twice without a kill", arrived.repeated);
        settled(&place)?;
        daemon.terminate()?;
        ours.push(settings.messages as f64 / took.as_secs_f64());
        cpu.push(busy / settings.messages as f64);
        let tag = format!("bare{round}");
        sink.begin(&tag);
        let mut child = Command::new(&programs.bench)
            .args(["post", "--to", &sink.address.to_string(), "--tag", &tag])
            .args(["--messages", &settings.messages.to_string(), "--parallel", &each])
            .spawn()?;
        // It ends when all were answered, so all have come.
        ensure!(child.wait()?.success(), "the bare loop failed");
        let (took, _) = until(&sink, settings.messages, || 0.0)?;
        bare.push(settings.messages as f64 / took.as_secs_f64());
    }
    let ratio = Ratio::of(&ours, &bare);
    if let (Some(ratio), Some(ours), Some(bare), Some(cpu)) =
        (ratio, Figure::of(&ours), Figure::of(&bare), Figure::of(&cpu))
    {
        let head = ["messages a s", "bare loop a s", "ratio", "CPU ms each", "bar"].map(str::to_owned).to_vec();
        let verdict = match (ratio.is_measured(), ratio.0.median >= BAR) {
            (false, _) => "not measured",
            (true, true) => "reached",
            (true, false) => "MISSED",
        };
        let row = vec![
            format!("{:.0}", ours.median),
            format!("{:.0}", bare.median),
            ratio.to_string(),
            format!("{:.3}", cpu.median),
            format!(">= {BAR}: {verdict}"),
        ];
        println!("{}", table(&[head, row]));
        ensure!(!settings.judge || verdict == "reached", "the bar of outgoing webhooks: {verdict}");
    }
    if settings.waiting > 0 {
        many(settings, &place, id, &runtime)?;
    }
    Ok(())
}

/// Waits until all have come; how long it took from the first on, and what of the processor it cost.
fn until(sink: &Sink, count: u64, cpu: impl Fn() -> f64) -> Result<(Duration, f64)> {
    let begin = Instant::now();
    while sink.count() < count {
        ensure!(begin.elapsed() < Duration::from_secs(600), "{} of {count} messages in ten minutes", sink.count());
        served::pause(Duration::from_millis(2));
    }
    let busy = cpu();
    let arrived = sink.arrived(0..count);
    let mut times: Vec<Instant> = arrived.first.into_iter().flatten().collect();
    times.sort_unstable();
    let (first, last) = times.first().zip(times.last()).context("nothing came")?;
    Ok((last.duration_since(*first), busy))
}

/// Milliseconds of the processor that a daemon has used since its start.
fn cpu_ms(daemon: &Served, place: &Place) -> f64 {
    let ticks = meter::read(daemon.process(), &place.folder).map_or(0, |reading| reading.ticks);
    ticks as f64 * 1000.0 / meter::TICKS_PER_SECOND as f64
}

/// Until what became of the last ones is stored.
fn settled(place: &Place) -> Result<()> {
    let begin = Instant::now();
    loop {
        let row = place.aura(&["subscription", "show", "bench"])?;
        let waiting = row.first().and_then(|row| row.get("health")?.get("waiting")?.as_u64());
        if waiting == Some(0) {
            return Ok(());
        }
        ensure!(begin.elapsed() < Duration::from_secs(60), "{waiting:?} still wait");
        served::pause(Duration::from_millis(20));
    }
}

/// Memory and start while very many wait for a later time.
fn many(settings: &Settings, place: &Place, id: SubscriptionId, runtime: &tokio::runtime::Runtime) -> Result<()> {
    let data = place.folder.join("data");
    let waiting = Waiting { tag: "later".to_owned(), count: settings.waiting, later_ms: 86_400_000 };
    runtime.block_on(bulk::sendings(&data, MASTER, id, &waiting))?;
    let size = std::fs::metadata(place.database())?.len() >> 20;
    let (mut daemon, start) = place.start()?;
    let asked = Instant::now();
    place.aura(&["subscription", "sendings", "bench", "--limit", "50"])?;
    let listed = asked.elapsed();
    let row = place.aura(&["subscription", "show", "bench"])?;
    let waits = row.first().and_then(|row| row.get("health")?.get("waiting")?.as_u64());
    ensure!(waits == Some(settings.waiting), "{waits:?} wait instead of {}", settings.waiting);
    served::pause(Duration::from_secs(5));
    let memory = meter::rss_kib(daemon.process())? as f64 / 1024.0;
    let head = ["waiting", "store MiB", "start ms", "list of 50 ms", "RSS MiB"].map(str::to_owned).to_vec();
    let row = vec![
        settings.waiting.to_string(),
        size.to_string(),
        format!("{:.0}", start.as_secs_f64() * 1000.0),
        format!("{:.0}", listed.as_secs_f64() * 1000.0),
        format!("{memory:.0}"),
    ];
    println!("{}", table(&[head, row]));
    ensure!(!settings.judge || memory < MEMORY_BAR, "more than {MEMORY_BAR} MiB");
    daemon.terminate()
}

/// The loop: as many tasks as requests at the same time, each posting one after the other.
#[expect(clippy::disallowed_methods, reason = "the bare loop is what the product is compared with")]
pub fn post(posting: &Posting) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    // Without a provider rustls panics at the first client.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().no_proxy().tls_certs_only([]).build()?;
    let next = Arc::new(AtomicU64::new(0));
    let url = format!("http://{}/", posting.to);
    runtime.block_on(async {
        let mut tasks = Vec::new();
        for _ in 0..posting.parallel {
            let (client, next, url) = (client.clone(), Arc::clone(&next), url.clone());
            let (tag, count) = (posting.tag.clone(), posting.messages);
            tasks.push(tokio::spawn(async move {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count {
                        return Ok::<_, anyhow::Error>(());
                    }
                    let request = client.post(&url).header("content-type", "application/json");
                    let answer = request.body(payload(&tag, number)).send().await?;
                    ensure!(answer.status().is_success(), "status {}", answer.status());
                    answer.bytes().await?;
                }
            }));
        }
        for task in tasks {
            task.await??;
        }
        Ok(())
    })
}
