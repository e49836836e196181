//! The command line: what can be asked, and who answers it. One file per noun beside this one.
//!
//! Invariant: every command prints either text for people or, with `--json`, JSON for scripts, and ends
//! with the exit code of `Code::exit_code`. Names of commands are fixed by the design.

mod backfill;
pub mod completions;
mod config;
mod connection;
mod demo;
mod doctor;
pub mod event;
mod export;
mod files;
pub mod flow;
mod form;
mod listen;
mod man;
mod many;
pub mod output;
mod poll;
mod prompt;
mod relay;
mod run;
mod run_cancel;
mod run_delete;
pub mod run_replay;
pub mod schedule;
mod setup;
mod status;
mod stdio;
pub mod subscription;
mod support;
pub mod table;
mod tail;
mod upgrade;
mod upkeep;
mod var;
mod vote;
pub mod webhook;

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use aura_protocol::{Code, WireError};
use clap::{Parser, Subcommand};

use crate::app::Opening;
use crate::client::Session;
use crate::settings::{self, Wanted};
use output::Output;

/// What a command ends with: an exit code, or an error that `main` prints.
type Ended = Result<u8, WireError>;

/// AURA in the terminal: without a command the live screens, else one answer.
#[derive(Parser, Debug)]
#[command(name = "aura", version, max_term_width = 100, after_help = AFTER)]
pub struct Args {
    /// Socket of the daemon (default: $AURA_SOCKET, the context, $XDG_RUNTIME_DIR/aura/aurad.sock, /run/aura/aurad.sock)
    #[arg(long, short = 'S', global = true, value_name = "PATH", conflicts_with = "host")]
    socket: Option<PathBuf>,
    /// A daemon on another machine: ssh://[user@]host[:port][/socket]; runs `aura stdio` there
    #[arg(long, short = 'H', global = true, value_name = "SSH")]
    host: Option<String>,
    /// A daemon by its name in ~/.config/aura/config.toml
    #[arg(long, short = 'C', global = true, value_name = "NAME", conflicts_with_all = ["host", "socket"])]
    context: Option<String>,
    /// Print JSON, one value a line
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

const AFTER: &str = "Exit codes: 0 done, 1 fault or failed run, 2 usage or bad input, 3 not found, 4 flow refused, \
5 conflict, 6 forbidden, 7 other protocol, 8 no daemon, 9 busy or locked.

Examples:
  aura                          open the live screens
  aura demo                     see a whole story in a minute
  aura -H ssh://ops@shop-01     the screens of a daemon on another machine
  aura flow check shop.yaml     check a flow file, no daemon needed
  aura run list --state failed  what went wrong";

#[derive(Subcommand, Debug)]
enum Command {
    /// Play a story with a daemon of its own: webhook, debounce, mails, sleep, success
    #[command(after_help = "Example: aura demo\n         aura demo </dev/null   # lines instead of screens")]
    Demo,
    /// Say what the daemon is and how it is
    #[command(after_help = "Example: aura status --json")]
    Status,
    /// Check the installation
    #[command(after_help = "Example: aura doctor --deep   # exit code 1 if a check fails")]
    Doctor {
        /// Read and verify everything stored
        #[arg(long)]
        deep: bool,
    },
    /// Flows: check, apply, publish, run
    #[command(subcommand)]
    Flow(flow::Command),
    /// Runs: list, show, follow, cancel, resolve
    #[command(subcommand)]
    Run(run::Command),
    /// Agree to what a run asks people
    #[command(
        after_help = "Example: aura approve 4XK2QW --show\n         aura approve 4XK2QW pay --field limit=500 --comment 'checked the sum'"
    )]
    Approve(vote::Decision),
    /// Refuse what a run asks people
    #[command(after_help = "Example: aura reject 4XK2QW --comment 'wrong account'")]
    Reject(vote::Decision),
    /// Follow everything that happens, one line each
    #[command(after_help = "Example: aura tail --json --from 1200")]
    Tail(tail::Args),
    /// Show deliveries as they come, and hand copies of them to a program on this machine
    #[command(long_about = listen::ABOUT, after_help = listen::EXAMPLES)]
    Listen(listen::Args),
    /// Endpoints of triggers, and signature checks
    #[command(subcommand)]
    Webhook(webhook::Command),
    /// Polls: what is asked again and again, and how far it came
    #[command(subcommand)]
    Poll(poll::Command),
    /// Relays: deliveries that another aurad takes where providers can reach it
    #[command(subcommand)]
    Relay(relay::Command),
    /// Backfills: flows that run over past objects; `aura flow backfill` begins one
    #[command(subcommand)]
    Backfill(backfill::Command),
    /// Pages of forms that people fill in
    #[command(subcommand)]
    Form(form::Command),
    /// Back the store up while runs go on, and read the backup back
    #[command(
        after_help = "Example: aura backup --to /mnt/backups\n         aura backup --verify /mnt/backups/aura-1.aurabk"
    )]
    Backup(upkeep::Backup),
    /// Make a store of a backup in an empty directory; it starts paused
    #[command(after_help = "Example: aura restore /mnt/backups/aura-1.aurabk --data-dir /var/lib/aura")]
    Restore(upkeep::Restore),
    /// Look, before another build of aurad takes over, whether it would do the same with your flows
    #[command(subcommand)]
    Upgrade(upgrade::Command),
    /// Let a restored store go on
    #[command(after_help = "Example: aura run list --state in_doubt && aura resume")]
    Resume,
    /// Give unused space of the store back; deliveries are answered 503 meanwhile
    #[command(after_help = "Example: aura compact --json")]
    Compact {
        /// A store that no daemon serves
        #[arg(long, value_name = "D")]
        data_dir: Option<PathBuf>,
    },
    /// What takes room, by table and by flow
    #[command(after_help = "Example: aura du --json | jq .flows")]
    Du,
    /// Schedules: what is due when, and what was
    #[command(subcommand)]
    Schedule(schedule::Command),
    /// Set this machine up
    #[command(subcommand)]
    Setup(setup::Command),
    /// Connections to providers and named secrets
    #[command(subcommand)]
    Connection(connection::Command),
    /// Variables that flows read as vars.name
    #[command(subcommand)]
    Var(var::Command),
    /// Outgoing webhooks: who gets which events, signed, and what became of them
    #[command(subcommand)]
    Subscription(subscription::Command),
    /// Events that were held, dropped or repeated
    #[command(subcommand)]
    Event(event::Command),
    /// Settings of client and daemon, with what decided each
    #[command(subcommand)]
    Config(config::Command),
    /// What helps somebody who helps you
    #[command(subcommand)]
    Support(support::Command),
    /// Print what a shell needs to complete commands
    #[command(after_help = "Example: aura completions bash > ~/.local/share/bash-completion/completions/aura")]
    Completions {
        /// The shell
        #[arg(value_enum)]
        shell: completions::Shell,
    },
    /// Manual pages: one on standard output, or all into a directory
    #[command(after_help = "Example: aura man flow edit | man -l -\n         aura man --dir ~/.local/share/man/man1")]
    Man(man::Args),
    /// Bridge standard input and output to the daemon's socket, for `aura --host`
    #[command(after_help = "Example: ssh ops@shop-01 aura stdio   # what `aura -H ssh://ops@shop-01` runs")]
    Stdio,
}

/// Runs the process's command line.
#[must_use]
pub fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            if error.use_stderr() && std::env::args_os().any(|word| word == "--json") {
                let text = error.render().to_string();
                let sentence = text.lines().next().unwrap_or_default().trim_start_matches("error: ");
                let refused = WireError::new(Code::Invalid, sentence).hint("see `aura --help`");
                output::complain(&refused, true);
                return ExitCode::from(Code::Invalid.exit_code());
            }
            // Nothing can be done about a closed terminal.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let json = args.json;
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            output::complain(&WireError::internal(format!("no runtime: {error}")), json);
            return ExitCode::from(1);
        }
    };
    let ended = runtime.block_on(dispatch(args));
    // A blocking read of standard input must not hold the process.
    runtime.shutdown_background();
    match ended {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            output::complain(&error, json);
            ExitCode::from(error.code.exit_code())
        }
    }
}

async fn dispatch(args: Args) -> Ended {
    let get = |name: &str| std::env::var(name).ok();
    let wanted = Wanted { host: args.host, socket: args.socket, context: args.context };
    let read = settings::load(&settings::path(get));
    let chosen = read.clone().and_then(|loaded| loaded.choose(&wanted, get, |path| path.exists()));
    let mut out = Output::new(args.json);
    // What needs no daemon works with wrong settings too.
    match &args.command {
        Some(Command::Demo) => return demo::demo(&mut out).await,
        Some(Command::Completions { shell }) => return completions::completions(*shell, &mut out),
        Some(Command::Man(args)) => return man::man(args, &mut out),
        Some(Command::Config(command)) => return config::config(command, read, chosen, &mut out).await,
        _ => {}
    }
    let (loaded, chosen) = (read?, chosen?);
    let mut session = Session::new(chosen.target.clone());
    match args.command {
        None => screens(Opening { chosen, settings: loaded.settings }).await,
        Some(Command::Demo | Command::Completions { .. } | Command::Man(_) | Command::Config(_)) => Ok(0),
        Some(Command::Stdio) => stdio::stdio(&chosen.target).await,
        Some(Command::Event(command)) => event::event(command, &mut session, &mut out).await,
        Some(Command::Support(command)) => support::support(command, &loaded, &chosen, &mut session, &mut out).await,
        Some(Command::Status) => status::status(&mut session, &mut out).await,
        Some(Command::Doctor { deep }) => doctor::doctor(&loaded, &chosen, &mut session, &mut out, deep).await,
        Some(Command::Flow(command)) => flow::flow(command, &mut session, &mut out).await,
        Some(Command::Run(command)) => run::run(command, &mut session, &mut out).await,
        Some(Command::Approve(decision)) => vote::vote(decision, true, &mut session, &mut out).await,
        Some(Command::Reject(decision)) => vote::vote(decision, false, &mut session, &mut out).await,
        Some(Command::Tail(args)) => tail::tail(&args, &mut session, &mut out).await,
        Some(Command::Listen(args)) => listen::listen(args, &mut session, &mut out).await,
        Some(Command::Webhook(command)) => webhook::webhook(command, &mut session, &mut out).await,
        Some(Command::Poll(command)) => poll::poll(command, &mut session, &mut out).await,
        Some(Command::Backfill(command)) => backfill::backfill(command, &mut session, &mut out).await,
        Some(Command::Relay(command)) => relay::relay(command, &mut session, &mut out).await,
        Some(Command::Form(command)) => form::form(command, &mut session, &mut out).await,
        Some(Command::Backup(args)) => upkeep::backup(args, &mut session, &mut out).await,
        Some(Command::Restore(args)) => upkeep::restore(args, &mut out).await,
        Some(Command::Upgrade(command)) => upgrade::upgrade(&command, &mut session, &mut out).await,
        Some(Command::Resume) => upkeep::resume(&mut session, &mut out).await,
        Some(Command::Compact { data_dir }) => upkeep::compact(data_dir, &mut session, &mut out).await,
        Some(Command::Du) => upkeep::du(&mut session, &mut out).await,
        Some(Command::Schedule(command)) => schedule::schedule(command, &mut session, &mut out).await,
        Some(Command::Setup(command)) => setup::setup(command, &mut out),
        Some(Command::Connection(command)) => connection::connection(command, &mut session, &mut out).await,
        Some(Command::Subscription(command)) => subscription::subscription(command, &mut session, &mut out).await,
        Some(Command::Var(command)) => var::var(command, &mut session, &mut out).await,
    }
}

async fn screens(opening: Opening) -> Ended {
    if !(std::io::stdout().is_terminal() && std::io::stdin().is_terminal()) {
        return Err(WireError::new(Code::Invalid, "the screens need a terminal for input and output")
            .hint("every screen has a command: try `aura run list` or `aura --help`"));
    }
    // A daemon that was never there is a sentence, not an empty screen.
    crate::client::Client::connect(&opening.chosen.target).await?;
    crate::app::open(&opening, None).await.map(|()| 0)
}

/// The whole definition of the command line, as help, completions, manual pages and the palette read it.
#[must_use]
pub fn definition() -> clap::Command {
    <Args as clap::CommandFactory>::command()
}

/// `docs/cli.md`, from the definitions above.
#[cfg(test)]
fn page() -> String {
    fn add(command: &clap::Command, path: &str, out: &mut String) {
        let path =
            if path.is_empty() { command.get_name().to_owned() } else { format!("{path} {}", command.get_name()) };
        let below: Vec<&clap::Command> = command.get_subcommands().filter(|below| below.get_name() != "help").collect();
        if below.is_empty() {
            let about = command.get_about().map(ToString::to_string).unwrap_or_default();
            out.push_str(&format!("\n## {path}\n\n{about}.\n\n"));
            let before = out.len();
            for arg in command.get_arguments().filter(|arg| {
                let usual = matches!(arg.get_action(), clap::ArgAction::Help | clap::ArgAction::Version);
                !usual && !matches!(arg.get_id().as_str(), "socket" | "host" | "context" | "json")
            }) {
                let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
                out.push_str(&format!("- `{arg}`: {help}\n"));
            }
            if out.len() > before {
                out.push('\n');
            }
            let example = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            out.push_str(&format!("```text\n{example}\n```\n"));
        }
        for below in below {
            add(below, &path, out);
        }
    }
    let mut out = String::from(
        "# Commands\n\nGenerated from the definitions in the client; a test keeps this page true. Every command takes \
         `--json` (one value a line) and says with which daemon it speaks: `--host ssh://[user@]host[:port][/socket]`, \
         `--socket PATH` or `--context NAME`; without them `$AURA_SOCKET`, `$AURA_CONTEXT`, the settings' `default`, else \
         `$XDG_RUNTIME_DIR/aura/aurad.sock` or `/run/aura/aurad.sock` (see client.md). `aura` without a command opens \
         the screens (see keys.md).\n\n",
    );
    out.push_str(&format!("```text\n{AFTER}\n```\n"));
    let mut whole = definition();
    whole.build();
    add(&whole, "", &mut out);
    out
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definitions_are_sound_and_every_command_has_an_example() {
        Args::command().debug_assert();
        let mut open = vec![Args::command()];
        while let Some(command) = open.pop() {
            let below: Vec<clap::Command> = command.get_subcommands().cloned().collect();
            if below.is_empty() {
                let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
                assert!(help.contains("Example"), "`{}` has no example", command.get_name());
            }
            open.extend(below);
        }
    }

    #[test]
    fn the_page_in_the_docs_is_made_of_these_definitions() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/cli.md");
        if std::env::var_os("AURA_WRITE_DOCS").is_some() {
            std::fs::write(path, page()).unwrap();
        }
        assert_eq!(std::fs::read_to_string(path).unwrap_or_default(), page(), "write it anew with AURA_WRITE_DOCS=1");
    }

    #[test]
    fn what_people_type_is_understood() {
        let check = |line: &str, expected: &str| {
            let args = Args::try_parse_from(line.split(' ')).map(|args| format!("{:?}", args.command));
            let text = args.unwrap_or_else(|error| error.kind().to_string());
            assert!(text.contains(expected), "{line}: {text}");
        };
        check("aura", "None");
        check("aura demo", "Demo");
        check("aura doctor --deep", "deep: true");
        check("aura run list --state failed --state in_doubt --limit 5", "InDoubt");
        check("aura run resolve run_1 charge --done --output {}", "done: true");
        check("aura run replay run_1 --item ship:A --reuse-keys --preview", "reuse_keys: true");
        check("aura run replay run_1 --from a --item b:c", "cannot be used");
        check("aura run replay --filter state=failed --rate 10/s --yes", "100ms");
        check("aura run replay", "required");
        check("aura run cancel --filter state=waiting --plan", "plan: true");
        check("aura run resolve run_1 charge", "required");
        check("aura run resolve run_1 charge --done --retry", "cannot be used");
        check("aura flow run cart --input @order.json --wait", "wait: true");
        check("aura flow check", "required");
        check("aura tail --from 12 --json", "Some(12)");
        check("aura webhook verify --cases cases.json", "cases.json");
        check("aura schedule next nightly --count 5", "count: 5");
        check("aura connection add shop shopify shop=x access_token=@file", "access_token=@file");
        check("aura var set limit -5", "value: \"-5\"");
        check("aura subscription create a --url https://a --types a,b --ordered", "ordered: Some(true)");
        check("aura subscription resend a --state failed --since 2d --plan", "plan: true");
        check("aura subscription resend a msg_1 --state failed", "cannot be used");
        check("aura subscription recover a", "required");
        check("aura flow edit shop --publish", "publish: true");
        check("aura relay add dmz https://r --token - --keep-token", "cannot be used");
        check("aura relay remove dmz --yes", "yes: true");
        check("aura event list --state dropped --limit 5", "Dropped");
        check("aura -H ssh://a -S /b status", "cannot be used");
        check("aura support bundle --yes", "yes: true");
        check("aura backup --to /mnt", "/mnt");
        check("aura backup --to /mnt --verify x", "cannot be used");
        check("aura restore one.aurabk --data-dir d", "one.aurabk");
        check("aura flow export carts --runs", "runs: true");
        check("aura nonsense", "subcommand");
    }

    #[test]
    fn the_json_switch_and_the_socket_work_behind_the_command() {
        let args = Args::try_parse_from(["aura", "run", "list", "--json", "--socket", "/tmp/a.sock"]).unwrap();
        assert!(args.json && args.socket == Some("/tmp/a.sock".into()));
    }
}
