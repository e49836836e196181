//! `aura-bench overload`: ten times what the daemon can do, for a minute (reliability bar A9).
//!
//! The one invariant: whoever is accepted was promised something, so every accepted run must have its effect;
//! everybody else must hear 429 or 503 with `Retry-After`. The generator cannot send all that is due either:
//! what it never sent is said, and latency counts from the moment of sending.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use aura_bench::load::{self, Outcome, Plan};
use aura_bench::rounds::{drain, quantiles};
use aura_bench::served::{self, Place, Programs};
use aura_bench::sink::Sink;
use aura_bench::{figures, meter};

/// How it is run.
#[derive(Debug, clap::Args)]
pub struct Settings {
    /// Seconds of overload.
    #[arg(long, default_value_t = 60.0)]
    seconds: f64,
    /// Connections of the overload.
    #[arg(long, default_value_t = 1500)]
    connections: usize,
    /// How many times the capacity is due.
    #[arg(long, default_value_t = 10)]
    times: u32,
    /// Flow: w1 or w2.
    #[arg(long, default_value = "w2")]
    flow: String,
}

/// Runs it.
pub fn run(settings: &Settings) -> Result<()> {
    let programs = Programs::beside_this()?;
    let folder = tempfile::Builder::new().prefix("aura-bench-").tempdir()?;
    let sink = Sink::start(([127, 0, 0, 1], 0).into())?;
    let place = Place::new(&programs, folder.path())?;
    let (mut served, _) = place.start()?;
    let calls = settings.flow == "w2";
    served.path =
        if calls { place.publish("w2", &served::w2(sink.address))? } else { place.publish("w1", served::W1)? };
    let process = served.process();
    let seconds = |value: f64| Duration::try_from_secs_f64(value).context("no length of time");
    let head = ["", "due/s", "accepted/s", "p50", "p99 ms", "refused", "FAILED", "not sent", "lost", "RSS MiB"];
    let mut lines = vec![head.map(str::to_owned).to_vec()];
    let mut phase = |name: &str, plan: &Plan| -> Result<(Outcome, u64)> {
        sink.begin(&plan.tag);
        let outcome = load::run(plan)?;
        let rss = meter::rss_kib(process)?;
        let mut lost = 0;
        if calls {
            drain(&sink, &outcome);
            let arrived = sink.arrived(outcome.acks.iter().map(|ack| ack.number));
            lost = arrived.first.iter().filter(|first| first.is_none()).count();
        }
        let [p50, p99, _] = quantiles(&outcome.latency);
        lines.push(vec![
            name.to_owned(),
            plan.rate.map_or("-".to_owned(), |rate| rate.to_string()),
            format!("{:.0}", per_s(&outcome)),
            format!("{p50:.1}"),
            format!("{p99:.1}"),
            outcome.refused.to_string(),
            format!("{} {}", outcome.wrong + outcome.broken, outcome.first_error.as_deref().unwrap_or_default()),
            outcome.unsent.to_string(),
            lost.to_string(),
            format!("{:.1}", rss as f64 / 1024.0),
        ]);
        Ok((outcome, rss))
    };
    let closed = Plan { replies: !calls, ..Plan::closed(&served, "warm", 32, seconds(1.0)?) };
    phase("warm-up", &closed)?;
    let (full, _) =
        phase("capacity, 32 connections", &Plan { tag: "full".to_owned(), length: seconds(5.0)?, ..closed.clone() })?;
    let capacity = per_s(&full).max(1.0) as u32;
    let half = Plan {
        tag: "half".to_owned(),
        length: seconds(10.0)?,
        rate: Some((capacity / 2).max(1)),
        from_sending: true,
        ..closed
    };
    let (calm, calm_rss) = phase("half of it", &half)?;
    let flood = Plan {
        tag: "flood".to_owned(),
        length: seconds(settings.seconds)?,
        rate: Some(capacity.saturating_mul(settings.times)),
        connections: settings.connections,
        ..half.clone()
    };
    let (flooded, flood_rss) = phase("overload", &flood)?;
    let ended = Instant::now();
    let (again, _) = phase("half of it again", &Plan { tag: "again".to_owned(), length: seconds(5.0)?, ..half })?;
    println!("{}", figures::table(&lines));
    let p99 = |outcome: &Outcome| quantiles(&outcome.latency)[1];
    println!("accepted p99 under overload by half load: {:.2} (bar 5)", p99(&flooded) / p99(&calm).max(0.001));
    println!("RSS under overload by half load: {:.2} (bar 1.5)", flood_rss as f64 / calm_rss as f64);
    println!("accepted under overload by capacity: {:.2}", per_s(&flooded) / per_s(&full).max(1.0));
    println!("answers without Retry-After or broken connections: {} (bar 0)", flooded.wrong + flooded.broken);
    println!(
        "p99 of the 5 s that began {:.1} s after the overload by before: {:.2}",
        (again.begin - ended).as_secs_f64(),
        p99(&again) / p99(&calm).max(0.001)
    );
    Ok(())
}

fn per_s(outcome: &Outcome) -> f64 {
    outcome.acks.len() as f64 / (outcome.end - outcome.begin).as_secs_f64().max(0.001)
}
