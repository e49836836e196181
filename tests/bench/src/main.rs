//! `aura-bench`: measures the product from outside; see `docs/benchmarks.md`.
//!
//! This file knows the command line only. Every command prints a table for people and, with `--json FILE`,
//! writes everything that was measured.

mod outgoing;
mod overload;
mod peers;
mod run;
mod sleeping;
mod stored;
mod tails;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Load driver of AURA: the real binaries beside limit programs, on one machine, in one session.
#[derive(Debug, Parser)]
#[command(name = "aura-bench", version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Limit programs and flows in interleaved rounds: closed loop, one connection, fixed rates.
    Run(run::Settings),
    /// What it costs to keep 1,000 flows and many runs: memory, start, lists, and the start after a kill.
    Stored(stored::Settings),
    /// A million sleeping runs, and a map over 100,000 items that is killed half way.
    Sleeping(sleeping::Settings),
    /// Ten times the measured capacity: who is refused, how late the others are, and what is left afterwards.
    Overload(overload::Settings),
    /// Throughput with 50 clients that watch, of which 10 never read.
    Tails(tails::Settings),
    /// Outgoing webhooks: messages a second beside a bare reqwest loop, and memory while very many wait.
    Outgoing(outgoing::Settings),
    /// The same flows in another engine in the same session, and what a kill loses.
    Peers(peers::Settings),
    /// Posts messages as fast as it can (used by `outgoing`).
    Post(outgoing::Posting),
    /// Watches until it is killed (used by `tails`).
    Watch(tails::Watching),
    /// Serves as one limit program until it is killed (used by the other commands).
    Limit(aura_bench::limits::Settings),
}

fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Run(settings) => run::run(&settings),
        Command::Stored(settings) => stored::run(&settings),
        Command::Sleeping(settings) => sleeping::run(&settings),
        Command::Overload(settings) => overload::run(&settings),
        Command::Tails(settings) => tails::run(&settings),
        Command::Outgoing(settings) => outgoing::run(&settings),
        Command::Post(posting) => outgoing::post(&posting),
        Command::Peers(settings) => peers::run(&settings),
        Command::Watch(settings) => tails::watch(&settings),
        Command::Limit(settings) => aura_bench::limits::serve(&settings),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("aura-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}
