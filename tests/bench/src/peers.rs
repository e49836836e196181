//! `aura-bench peers`: the same flows in another engine, interleaved with ours, and what a kill loses.
//!
//! The one invariant: both engines get the same deliveries in the same session from the same generator, and
//! their effects are counted at the same sink. The peers are installed by `tests/peers/install`; without them
//! this command fails, so that nothing that was not run is taken for passed.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use aura_bench::figures::{Ratio, table};
use aura_bench::http::{Connection, post};
use aura_bench::load::{self, Plan};
use aura_bench::rounds::{Phase, Program, Sample, Series, drain, measure};
use aura_bench::served::{self, Place, Programs, Served, pause};
use aura_bench::sink::Sink;

/// How long a peer may take to be ready.
const READY: Duration = Duration::from_secs(120);

/// Which engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Peer {
    /// Keeps messages in memory and no history.
    NodeRed,
    /// A log that is flushed before the answer, with a service beside it.
    Restate,
}

/// How it is run.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example: tests/peers/install /tmp/peers && target/release/aura-bench peers --peer node-red --folder /tmp/peers"
)]
pub struct Settings {
    /// Which engine.
    #[arg(long, value_enum)]
    peer: Peer,
    /// Where `tests/peers/install` put it.
    #[arg(long, value_name = "D")]
    folder: PathBuf,
    /// Rounds.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds of each engine and flow in each round.
    #[arg(long, default_value_t = 4.0)]
    seconds: f64,
    /// Kills of each engine.
    #[arg(long, default_value_t = 1)]
    kills: usize,
}

/// Runs it.
pub fn run(settings: &Settings) -> Result<()> {
    let programs = Programs::beside_this()?;
    let folder = tempfile::Builder::new().prefix("aura-bench-").tempdir()?;
    let sink = Sink::start(([127, 0, 0, 1], 0).into())?;
    let place = Place::new(&programs, &folder.path().join("aurad"))?;
    let (mut ours, _) = place.start()?;
    let paths = [place.publish("w1", served::W1)?, place.publish("w2", &served::w2(sink.address))?];
    let data = folder.path().join("peer");
    fs::create_dir_all(&data)?;
    let foreign = Foreign { peer: settings.peer, modules: settings.folder.canonicalize()?, data, sink: sink.address };
    let _service = foreign.service()?;
    let mut theirs = foreign.start()?;
    foreign.ready(&theirs)?;

    let length = Duration::try_from_secs_f64(settings.seconds).context("--seconds is no length")?;
    let phase = Phase { connections: 32, length, rate: None };
    let mut series: Vec<(&str, Series)> = Vec::new();
    // The first round warms both engines and is not counted.
    for round in 0..=settings.rounds {
        for (at, program) in [Program::W1, Program::W2].into_iter().enumerate() {
            ours.path = paths.get(at).cloned().unwrap_or_default();
            theirs.path = foreign.path(program).to_owned();
            for (name, server) in [("aurad", &ours), ("peer", &theirs)] {
                let tag = format!("{name}{program:?}r{round}").to_lowercase();
                let sample = measure(server, program, &phase, &tag, &sink)?;
                if round > 0 {
                    match series.iter_mut().find(|(have, series)| *have == name && series.program == program) {
                        Some((_, series)) => series.samples.push(sample),
                        None => series.push((name, Series { program, samples: vec![sample] })),
                    }
                }
            }
        }
    }
    report(settings.peer, &series)?;

    ours.path = paths.last().cloned().unwrap_or_default();
    theirs.path = foreign.path(Program::W2).to_owned();
    for kill in 0..settings.kills {
        println!(
            "kill {}: aurad {}",
            kill + 1,
            killed(&mut ours, &format!("ak{kill}"), &sink, || Ok(place.start()?.0))?
        );
        println!(
            "kill {}: {:?} {}",
            kill + 1,
            settings.peer,
            killed(&mut theirs, &format!("pk{kill}"), &sink, || foreign.start())?
        );
    }
    Ok(())
}

fn report(peer: Peer, series: &[(&str, Series)]) -> Result<()> {
    let find = |name: &str, program: Program| {
        series.iter().find(|(have, series)| *have == name && series.program == program).map(|(_, series)| series)
    };
    let head = ["", "per second", "ack p50", "p99 ms", "CPU ms", "written", "PSS MiB", "lost", "FAILED"];
    let mut lines = vec![head.map(str::to_owned).to_vec()];
    for (name, series) in series {
        let median = |take: fn(&Sample) -> f64| series.figure(take).median;
        let rate = series.figure(|sample| sample.per_s);
        lines.push(vec![
            format!("{} {:?}", if *name == "peer" { format!("{peer:?}") } else { (*name).to_owned() }, series.program),
            format!("{:.0} [{:.0}-{:.0}]", rate.median, rate.least, rate.most),
            format!("{:.2}", median(|sample| sample.ack_ms[0])),
            format!("{:.2}", median(|sample| sample.ack_ms[1])),
            format!("{:.3}", median(|sample| sample.cpu_ms)),
            format!("{:.0}", median(|sample| sample.written)),
            format!("{:.1}", median(|sample| sample.pss_mib)),
            series.samples.iter().map(|sample| sample.lost).sum::<u64>().to_string(),
            series.samples.iter().map(|sample| sample.failed).sum::<u64>().to_string(),
        ]);
    }
    println!("{}", table(&lines));
    for program in [Program::W1, Program::W2] {
        let (ours, theirs) =
            (find("aurad", program).context("no rounds")?, find("peer", program).context("no rounds")?);
        let per_s: fn(&Sample) -> f64 = |sample| sample.per_s;
        let ratio = Ratio::of(&ours.values(per_s), &theirs.values(per_s)).context("no rounds")?;
        println!("{program:?} of aurad by {peer:?}, per second: {ratio}");
    }
    Ok(())
}

/// Kills a server in the middle of W2, starts it again and counts what was acknowledged and never came.
fn killed(server: &mut Served, tag: &str, sink: &Sink, again: impl FnOnce() -> Result<Served>) -> Result<String> {
    sink.begin(tag);
    let plan = Plan { stop_at_error: true, ..Plan::closed(server, tag, 32, Duration::from_secs(60)) };
    let path = server.path.clone();
    let sender = std::thread::spawn(move || load::run(&plan));
    pause(Duration::from_secs(2));
    server.kill()?;
    let outcome = sender.join().ok().context("the sender ended badly")??;
    let begin = Instant::now();
    *server = again()?;
    server.path = path;
    drain(sink, &outcome);
    let arrived = sink.arrived(outcome.acks.iter().map(|ack| ack.number));
    let lost = arrived.first.iter().filter(|first| first.is_none()).count();
    let acked = outcome.acks.len();
    Ok(format!(
        "acknowledged {acked} before the kill, lost {lost} ({:.2} %), repeated {}, {:.1} s until all was done or given up",
        100.0 * lost as f64 / acked.max(1) as f64,
        arrived.repeated,
        begin.elapsed().as_secs_f64()
    ))
}

/// A peer and where it lives.
struct Foreign {
    peer: Peer,
    modules: PathBuf,
    data: PathBuf,
    sink: SocketAddr,
}

impl Foreign {
    fn path(&self, program: Program) -> &'static str {
        match (self.peer, program) {
            (Peer::NodeRed, Program::W2) => "/webhook/w2",
            (Peer::NodeRed, _) => "/webhook/w1",
            (Peer::Restate, Program::W2) => "/flow/w2/send",
            (Peer::Restate, _) => "/flow/w1",
        }
    }

    fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], if self.peer == Peer::NodeRed { 1880 } else { 8080 }))
    }

    fn module(&self, path: &str) -> Result<PathBuf> {
        let file = self.modules.join("node_modules").join(path);
        ensure!(file.exists(), "{} is missing: run tests/peers/install first", file.display());
        Ok(file)
    }

    fn command(&self, program: &Path) -> Result<Command> {
        let log = File::options().create(true).append(true).open(self.data.join("peer.log"))?;
        let mut command = Command::new(program);
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).current_dir(&self.modules);
        command.env("NODE_ENV", "production").env("DO_NOT_TRACK", "1").env("NO_COLOR", "1");
        Ok(command)
    }

    /// What runs beside the engine and is not killed.
    fn service(&self) -> Result<Option<Served>> {
        if self.peer != Peer::Restate {
            return Ok(None);
        }
        let mut command = self.command(&self.module("node/bin/node")?)?;
        command.arg("restate-service.mjs").env("PORT", "9080").env("RESTATE_LOGGING", "ERROR");
        command.env("SINK", format!("http://{}/effect", self.sink));
        let process = command.spawn().context("the service does not start")?;
        Ok(Some(Served::of(process, SocketAddr::from(([127, 0, 0, 1], 9080)), &self.data)))
    }

    fn start(&self) -> Result<Served> {
        let mut command = match self.peer {
            Peer::NodeRed => {
                let flows = fs::read_to_string(self.modules.join("node-red-flows.json"))?;
                fs::write(self.data.join("flows.json"), flows.replace("127.0.0.1:9900", &self.sink.to_string()))?;
                let mut command = self.command(&self.module("node/bin/node")?)?;
                command.arg(self.module("node-red/red.js")?).arg("-u").arg(&self.data).args([
                    "-p",
                    "1880",
                    "flows.json",
                ]);
                command.env("NODE_RED_TELEMETRY_ENABLED", "false");
                command
            }
            Peer::Restate => {
                let server = self.module("@restatedev/restate-server-linux-x64/bin/restate-server")?;
                let mut command = self.command(&server)?;
                command.args(["--node-name", "n1", "--base-dir"]).arg(self.data.join("restate"));
                command.env("RESTATE_DISABLE_TELEMETRY", "true");
                command
            }
        };
        let process = command.spawn().context("the peer does not start")?;
        Ok(Served::of(process, self.address(), &self.data))
    }

    /// Waits until W1 is answered rightly, which a start-up page is not.
    fn ready(&self, server: &Served) -> Result<()> {
        let begin = Instant::now();
        let mut known = self.peer != Peer::Restate;
        loop {
            known = known || register().is_ok();
            let plan = Plan {
                most: Some(1),
                replies: true,
                stop_at_error: true,
                path: self.path(Program::W1).to_owned(),
                ..Plan::closed(server, "ready", 1, Duration::from_secs(5))
            };
            if known && load::run(&plan)?.acks.len() == 1 {
                return Ok(());
            }
            let said = fs::read_to_string(self.data.join("peer.log")).unwrap_or_default();
            ensure!(begin.elapsed() < READY, "the peer was not ready within {READY:?}:\n{said}");
            pause(Duration::from_millis(100));
        }
    }
}

/// Tells Restate where its service is.
fn register() -> Result<()> {
    let admin = SocketAddr::from(([127, 0, 0, 1], 9070));
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let mut connection = Connection::open(admin).await?;
        let body = r#"{"uri":"http://127.0.0.1:9080","force":true}"#;
        let answer = connection.call(&post(&admin, "/deployments", body)).await?;
        ensure!((200..300).contains(&answer.status), "{}", String::from_utf8_lossy(answer.body));
        Ok(())
    })
}
