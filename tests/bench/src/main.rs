//! `aura-bench`: measures the product from outside; see `docs/benchmarks.md`.
//!
//! This file knows the command line only. Every command prints a table for people and, with `--json FILE`,
//! writes everything that was measured.

mod run;

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
    /// Serves as one limit program until it is killed (used by the other commands).
    Limit(aura_bench::limits::Settings),
}

fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Run(settings) => run::run(&settings),
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
