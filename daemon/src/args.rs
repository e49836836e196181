//! The command line of `aurad`. Flags win over the environment, the environment over the file.
//!
//! Only what a person needs at start stands here; every other setting is in [`crate::config`].

use std::path::PathBuf;

use clap::{Parser, Subcommand};

/// The headless daemon of AURA.
#[derive(Debug, Parser)]
#[command(name = "aurad", version, about, after_help = EXAMPLES)]
pub struct Args {
    /// Settings file (default: `/etc/aura/aurad.toml` for root and services, else `~/.config/aura/aurad.toml`).
    #[arg(long, value_name = "F", global = true)]
    pub config: Option<PathBuf>,
    /// Directory of the store.
    #[arg(long, value_name = "D", global = true)]
    pub data_dir: Option<PathBuf>,
    /// Unix socket for `aura`.
    #[arg(long, value_name = "S", global = true)]
    pub socket: Option<PathBuf>,
    /// Address of the HTTP door; port 0 takes a free one.
    #[arg(long, value_name = "ADDR", global = true)]
    pub listen: Option<String>,
    /// File with the master key.
    #[arg(long, value_name = "F", global = true)]
    pub master_key: Option<PathBuf>,
    /// What is logged, as in `info` or `warn,aura_daemon=debug`.
    #[arg(long, value_name = "FILTER", global = true)]
    pub log: Option<String>,
    /// What to do instead of serving.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What `aurad` does when it does not serve.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Reads the settings, says what is wrong or risky, and ends.
    CheckConfig {
        /// Prints a commented file with every setting and its default.
        #[arg(long)]
        print_default: bool,
    },
    /// Makes a store of a backup in an empty data directory; it starts paused. Use `aura restore`.
    Restore {
        /// The backup.
        file: PathBuf,
    },
    /// Reads a backup whole and says what it holds. Use `aura backup --verify`.
    VerifyBackup {
        /// The backup.
        file: PathBuf,
    },
    /// Gives unused space of a store that no daemon serves back. With a daemon: `aura compact`.
    Compact,
    /// Runs scripts of flows for a daemon, which starts it or has systemd start it; its standard input is a socket.
    Runner,
    /// Becomes a tunnel's program that ends with the daemon, which starts it (setting `tunnel`).
    #[command(hide = true)]
    Tunnel {
        /// Process of the daemon.
        daemon: u32,
        /// The program.
        program: String,
        /// Its arguments.
        #[arg(last = true)]
        arguments: Vec<String>,
    },
    /// Serves as a relay, where providers can reach it: takes deliveries for a daemon at home, which fetches them, and
    /// runs no flows. Begin with `aura relay token`.
    Relay,
    /// Brings a store to this program's layout, also after tries that came to no end.
    Migrate,
    /// Runs the cases of a flow without a store: reads a request and writes a report. Use `aura flow test`.
    Test,
    /// Plays the cart recovery flow against built-in fakes in a temporary directory.
    #[cfg(feature = "fakes")]
    Demo {
        /// Waits for a client that watches, goes slowly, and stays up at the end.
        #[arg(long)]
        paced: bool,
    },
}

const EXAMPLES: &str = "Examples:
  aurad                                   serve with the settings found
  aurad --data-dir ./data --listen 127.0.0.1:0
  aurad relay --data-dir ./relay          take deliveries for a daemon that nothing can reach
  aurad check-config --print-default > aurad.toml
  aurad demo";
