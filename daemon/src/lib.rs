//! `aurad`: the headless daemon. Wires storage and integrations; the only crate that listens.
//!
//! [`app`] builds the services in order and reads like a table of contents; [`catalog`] holds flows and
//! connections; [`engine`] runs flows; [`http`] is the door for providers; [`rpc`] serves the client.

pub mod accounts;
pub mod app;
pub mod args;
pub mod catalog;
pub mod clock;
pub mod config;
#[cfg(feature = "fakes")]
pub mod demo;
pub mod doctor;
pub mod engine;
pub mod hold;
pub mod http;
pub mod keys;
pub mod locked;
pub mod notify;
pub mod paths;
pub mod reached;
pub mod recent;
pub mod relay;
pub mod retention;
pub mod room;
pub mod rpc;
pub mod runner;
pub mod settings;
pub mod sockets;
pub mod stop;
pub mod tasks;
pub mod telemetry;
pub mod trial;
pub mod tunnel;
pub mod upkeep;

use std::process::ExitCode;

use aura_integrations::redact::Sink;
use clap::Parser;

use crate::args::{Args, Command};
use crate::config::Options;
use crate::stop::Stop;

/// Entry point of `aurad`: reads arguments, runs, and ends with one sentence and a stable exit code.
#[must_use]
pub fn main() -> ExitCode {
    guarded(&Sink::default())
}

/// `aurad` without its sink: a deliberate bug that no setting reaches, with which tests prove that they would see a
/// secret.
#[doc(hidden)]
#[must_use]
pub fn main_that_leaks() -> ExitCode {
    guarded(&Sink::broken())
}

fn guarded(sink: &Sink) -> ExitCode {
    // The allocator asks for pages of 2 MiB; most of them stay half empty here and cost 10 MB. An old kernel that
    // does not know this is no reason to end.
    let _ = rustix::thread::disable_transparent_huge_pages(true);
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
    };
    match run(args, sink) {
        Ok(()) => ExitCode::SUCCESS,
        Err(stop) => {
            eprintln!("aurad: {}", aura_protocol::text::display(&sink.text(&stop.to_string())));
            ExitCode::from(stop.exit_code())
        }
    }
}

fn run(args: Args, sink: &Sink) -> Result<(), Stop> {
    if let Some(Command::CheckConfig { print_default: true }) = args.command {
        print!("{}", Options::default_file());
        return Ok(());
    }
    if let Some(Command::Runner) = args.command {
        // It has no settings and no secrets.
        return runner::serve();
    }
    if let Some(Command::Tunnel { daemon, program, arguments }) = &args.command {
        return tunnel::child::become_it(*daemon, program, arguments);
    }
    #[cfg(feature = "fakes")]
    if let Some(Command::Demo { paced }) = args.command {
        // Nothing of the machine's own daemon is read: no file, no environment.
        telemetry::start(args.log.as_deref().unwrap_or("warn"), false, sink)?;
        return runtime(0)?.block_on(demo::run(args.socket, paced, sink));
    }
    if let Some(Command::Test) = args.command {
        return trial::serve();
    }
    let options = config::load(&args)?;
    match &args.command {
        Some(Command::Restore { file }) => return upkeep::offline::restore(&options, file),
        Some(Command::VerifyBackup { file }) => return upkeep::offline::verify(&options, file),
        Some(Command::Compact) => return upkeep::offline::compact(&options),
        Some(Command::Migrate) => return upkeep::offline::migrate(&options),
        Some(Command::Relay) | None => {}
        Some(_) => return config::report(&options),
    }
    telemetry::start(&options.log, options.log_json, sink)?;
    let settings = settings::shown(&options, Some(&args));
    runtime(options.workers)?.block_on(app::serve(options, settings, args, sink.clone()))
}

/// So many threads; 0: as many as there are processors besides the one that the store's writer keeps busy. With one
/// more they take turns with it, and each of its commits waits for a processor (measured on two: a third less work).
fn runtime(workers: usize) -> Result<tokio::runtime::Runtime, Stop> {
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let workers = if workers == 0 { processors.saturating_sub(1).max(1) } else { workers };
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(workers)
        .enable_all()
        .build()
        .map_err(|error| Stop::System(format!("the runtime did not start: {error}")))
}
