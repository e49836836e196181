//! `aura flow …`: files in, flows listed, published, run.
//!
//! Invariant: a text that the daemon refuses changes nothing there, and its findings are printed as
//! `aura flow check` prints them.

pub mod bin;
pub mod check;
pub(super) mod edit;
mod junit;
pub(crate) mod listen;
pub(crate) mod simulate;
mod template;
pub(super) mod trial;
pub(crate) mod try_out;
pub(crate) mod versions;

pub(crate) use versions::agreed;

use std::io::Write;
use std::time::Duration;

use aura_protocol::flow::Finding;
use aura_protocol::rpc::{FlowApply, FlowEnable, FlowRow, FlowRun};
use aura_protocol::run::{RunHead, RunState};
use aura_protocol::text::{display, display_lines};
use aura_protocol::{Code, Value, WireError};
use clap::Subcommand;

use super::output::{Output, note};
use super::{Ended, files, run};
use crate::client::Session;

/// What can be asked.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// All flows in a table
    #[command(after_help = "Example: aura flow list\n         aura flow list --deleted   # what can be restored")]
    List {
        /// What is in the bin
        #[arg(long)]
        deleted: bool,
    },
    /// Write a small flow file to begin with
    #[command(after_help = "Example: aura flow new order-paid && $EDITOR order-paid.yaml")]
    New {
        /// Name of the flow: a-z, 0-9 and -
        name: String,
        /// Where to write it (default NAME.yaml; - for standard output)
        #[arg(long, value_name = "FILE")]
        file: Option<String>,
    },
    /// Edit a flow's draft in $VISUAL or $EDITOR: checked, then stored; a refused text is kept
    #[command(after_help = "Example: aura flow edit order-paid --publish")]
    Edit(edit::Args),
    /// Flows, their runs and events as lines of JSON, without secrets
    #[command(
        after_help = "Example: aura flow export --runs --out all.jsonl\n         aura flow export --dir flows   # a file for each flow"
    )]
    Export(super::export::Export),
    /// Print a flow's published text
    #[command(after_help = "Example: aura flow show order-paid > order-paid.yaml")]
    Show {
        /// Name of the flow
        name: String,
        /// The draft instead of the published version
        #[arg(long)]
        draft: bool,
    },
    /// Print the JSON Schema of flow files; needs no daemon
    #[command(after_help = "Example: aura flow schema > aura.schema.json")]
    Schema,
    /// Check flow files; works without a daemon
    #[command(after_help = "Example: aura flow check flows/*.yaml   # exit code 4 if a file has errors")]
    Check {
        /// Files (- for standard input)
        #[arg(required = true, value_name = "FILE")]
        files: Vec<String>,
    },
    /// Run the cases of flows under a virtual clock: nothing is stored or sent; works without a daemon
    #[command(after_help = "Examples: aura flow test flows/ --junit report.xml   # exit code 1 if a case fails
          aura flow test order-paid.yaml --case 'the card is declined' --crash
          aura flow test order-paid.yaml --record run_01k9   # a case from a real run")]
    Test(trial::Test),
    /// Run a flow, or a step of it, under a virtual clock and show what it does and would send
    #[command(after_help = "Examples:
  aura flow simulate order-paid.yaml --trigger order.json --pin charge='{\"id\": 1}'
  aura flow simulate order-paid.yaml --to mail                    # up to a step, and only what it needs
  aura flow simulate order-paid.yaml --only mail --from-run 01k9  # a step alone, on what a real run had
  aura flow simulate order-paid.yaml --only 'ship[A-17]' --fail charge='card declined'")]
    Simulate(simulate::Simulate),
    /// Do one step of a draft really, on given data, as a test run: shown first, and asked about if it changes something
    #[command(after_help = "Examples:
  aura flow try order-paid.yaml --step mail --from-run 01k9 --preview   # what would be sent
  aura flow try order-paid.yaml --step charge --pin cart='{\"sum\": 5}' --yes
  aura run list --filter trigger=test                                   # such runs")]
    Try(try_out::Try),
    /// Show the next event of a draft's trigger at an address of its own, and keep it as a sample; nothing starts
    #[command(after_help = "Examples:
  aura flow listen order-paid --save paid.json           # then: aura flow simulate order-paid --trigger paid.json
  aura flow listen order-paid.yaml --on refunded --for 30m --count 3 --json
Exit code 1 if nothing came that production would take")]
    Listen(listen::Listen),
    /// Run over a provider's past objects: planned first, behind live events, resumable
    #[command(
        after_help = "Example: aura flow backfill new-order-to-erp --since 2026-01-01 --plan\n         aura flow backfill new-order-to-erp --since 90d --yes"
    )]
    Backfill(super::backfill::Begin),
    /// What files would change, what is missing, and what it means for runs; changes nothing
    #[command(after_help = "Example: aura flow plan flows/   # exit code 4 if a file would be refused")]
    Plan {
        /// Files, or directories of .yaml, .yml and .json files
        #[arg(required = true, value_name = "FILE|DIR")]
        files: Vec<String>,
    },
    /// Store files as drafts of their flows; of a directory all or none, after a plan was agreed to
    #[command(
        alias = "import",
        after_help = "Example: aura flow apply order-paid.yaml --publish\n         aura flow apply flows/ --publish --yes"
    )]
    Apply {
        /// Files (- for standard input), or directories of .yaml, .yml and .json files
        #[arg(required = true, value_name = "FILE|DIR")]
        files: Vec<String>,
        /// Publish them at once
        #[arg(long)]
        publish: bool,
        /// Do not ask (for directories)
        #[arg(long, short = 'y')]
        yes: bool,
    },
    /// When which version was published, by whom, and what changed
    #[command(after_help = "Example: aura flow log order-paid")]
    Log {
        /// Name of the flow
        name: String,
    },
    /// What differs between two versions: step by step, then line by line
    #[command(
        after_help = "Example: aura flow diff order-paid                 # the draft against the published version\n         aura flow diff order-paid 1a2b3c4d published"
    )]
    Diff {
        /// Name of the flow
        name: String,
        /// The older one: published, draft, or the start of a hash (default: published)
        #[arg(value_name = "A")]
        old: Option<String>,
        /// The newer one (default: the draft; without one, published against the publication before)
        #[arg(value_name = "B")]
        new: Option<String>,
        /// Leave the lines out
        #[arg(long)]
        steps: bool,
    },
    /// Publish an old version again; a draft stays
    #[command(after_help = "Example: aura flow rollback order-paid 1a2b3c4d")]
    Rollback {
        /// Name of the flow
        name: String,
        /// The version: the start of its hash
        version: String,
    },
    /// Make a flow's draft its published version
    #[command(after_help = "Example: aura flow publish order-paid")]
    Publish {
        /// Name of the flow
        name: String,
    },
    /// Start a run by hand
    #[command(after_help = "Example: aura flow run order-paid --input '{\"id\": 1042}' --wait")]
    Run {
        /// Name of the flow
        name: String,
        /// JSON, @file, or - for standard input
        #[arg(long, value_name = "JSON")]
        input: Option<String>,
        /// Wait until the run has ended; exit code 1 unless it succeeded
        #[arg(long)]
        wait: bool,
    },
    /// Let a flow take events
    #[command(after_help = "Example: aura flow enable order-paid")]
    Enable {
        /// Name of the flow
        name: String,
    },
    /// Hold the events of a flow: they are accepted, and start in their order when it is resumed
    #[command(after_help = "Example: aura flow pause order-paid   # runs at work go on; `aura run pause` holds them")]
    Pause {
        /// Name of the flow
        name: String,
    },
    /// Start what was held for a paused flow, in the order in which it came
    #[command(after_help = "Example: aura flow resume order-paid")]
    Resume {
        /// Name of the flow
        name: String,
    },
    /// Put a flow into the bin, unless a live run or another flow needs it
    #[command(after_help = "Example: aura flow delete old-carts")]
    Delete {
        /// Name of the flow
        name: String,
    },
    /// Take a flow out of the bin, within 30 days
    #[command(after_help = "Example: aura flow restore old-carts")]
    Restore {
        /// Name of the flow
        name: String,
    },
    /// Stop a flow from taking events; its live runs go on
    #[command(after_help = "Example: aura flow disable order-paid")]
    Disable {
        /// Name of the flow
        name: String,
    },
}

/// Answers a flow command.
///
/// # Errors
/// What the daemon or the way to it says; `FlowRefused` after the findings were printed.
pub async fn flow(command: Command, session: &mut Session, out: &mut Output) -> Ended {
    match command {
        Command::List { deleted: true } => bin::list("flow", session, out).await,
        Command::List { .. } => list(session, out).await,
        Command::Pause { name } => bin::pause(name, true, session, out).await,
        Command::Resume { name } => bin::pause(name, false, session, out).await,
        Command::Delete { name } => bin::delete(name, session, out).await,
        Command::Restore { name } => bin::restore(name, session, out).await,
        Command::Export(args) => super::export::export(args, session, out).await,
        Command::New { name, file } => new(&name, file, out),
        Command::Edit(args) => edit::edit(&args, session, out).await,
        Command::Show { name, draft } => show(name, draft, session, out).await,
        Command::Schema => schema(out),
        Command::Check { files } => check::check(&files, session, out).await,
        Command::Test(args) => trial::test(&args, session, out).await,
        Command::Simulate(args) => simulate::simulate(&args, session, out).await,
        Command::Try(args) => try_out::try_out(&args, session, out).await,
        Command::Listen(args) => listen::listen(&args, session, out).await,
        Command::Backfill(args) => super::backfill::begin(&args, session, out).await,
        Command::Plan { files } => versions::plan(&files, session, out).await,
        Command::Log { name } => versions::log(name, session, out).await,
        Command::Diff { name, old, new, steps } => versions::diff(name, (old, new), steps, session, out).await,
        Command::Rollback { name, version } => {
            let row = versions::rollback(name, version, session).await?;
            said(&row, "published", out).map(|()| 0)
        }
        Command::Apply { files, publish, yes } if files.iter().any(|file| std::path::Path::new(file).is_dir()) => {
            versions::apply(&files, publish, yes, session, out).await
        }
        Command::Apply { files, publish, .. } => {
            for file in &files {
                let text = files::text(file)?;
                let row = apply(&text, file, session, out).await?;
                let row = if publish { self::publish(row.flow, session, out.json).await? } else { row };
                said(&row, if publish { "published" } else { "stored as draft" }, out)?;
            }
            Ok(0)
        }
        Command::Publish { name } => {
            let row = self::publish(name, session, out.json).await?;
            said(&row, "published", out).map(|()| 0)
        }
        Command::Run { name, input, wait } => start(name, input, wait, session, out).await,
        Command::Enable { name } => enable(name, true, session, out).await,
        Command::Disable { name } => enable(name, false, session, out).await,
    }
}

async fn list(session: &mut Session, out: &mut Output) -> Ended {
    let rows = session.call(|rpc, context, call| async move { rpc.flow_list(context, call, ()).await }).await?;
    if out.json {
        for row in &rows {
            out.value(row)?;
        }
        return Ok(0);
    }
    let short = |hash: Option<&String>| hash.map_or("-".to_owned(), |hash| hash.chars().take(8).collect());
    let rows: Vec<Vec<String>> = rows
        .iter()
        .map(|row| {
            vec![
                row.flow.clone(),
                bin::state(row),
                short(row.published.as_ref()),
                short(row.draft.as_ref()),
                row.triggers.join(", "),
                row.title.clone(),
            ]
        })
        .collect();
    out.table(&["FLOW", "STATE", "PUBLISHED", "DRAFT", "TRIGGERS", "TITLE"], &rows)?;
    Ok(0)
}

fn new(name: &str, file: Option<String>, out: &mut Output) -> Ended {
    let sound = !name.is_empty()
        && name.len() <= 64
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    if !sound {
        return Err(WireError::new(Code::Invalid, format!("`{name}` is no name for a flow"))
            .hint("use a-z, 0-9 and -, at most 64, as in order-paid"));
    }
    let text = template::flow(name);
    let path = file.unwrap_or_else(|| format!("{name}.yaml"));
    if path == "-" {
        return out.line(text.trim_end()).map(|()| 0);
    }
    let written = std::fs::File::create_new(&path).and_then(|mut file| file.write_all(text.as_bytes()));
    written.map_err(|error| {
        let code = if error.kind() == std::io::ErrorKind::AlreadyExists { Code::Conflict } else { Code::Invalid };
        WireError::new(code, format!("{path} was not written: {error}")).hint("name another file with --file")
    })?;
    if out.json {
        return out.value(&serde_json::json!({ "file": path })).map(|()| 0);
    }
    out.line(&format!("wrote {}; next: aura flow check {0}", display(&path))).map(|()| 0)
}

async fn show(name: String, draft: bool, session: &mut Session, out: &mut Output) -> Ended {
    let detail = session
        .call(|rpc, context, call| {
            let name = name.clone();
            async move { rpc.flow_show(context, call, name).await }
        })
        .await?;
    if out.json {
        return out.value(&detail).map(|()| 0);
    }
    let text = if draft { detail.draft.or(detail.published) } else { detail.published };
    match text {
        Some(text) => out.line(display_lines(&text).trim_end()).map(|()| 0),
        None => Err(WireError::not_found(format!("`{name}` has no published version"))
            .hint(format!("see its draft with `aura flow show {name} --draft`, or publish it"))),
    }
}

fn schema(out: &mut Output) -> Ended {
    let schema = aura_protocol::flow::schema();
    let text = if out.json {
        super::output::json_line(&schema)?
    } else {
        serde_json::to_string_pretty(&schema).map_err(|error| WireError::internal(format!("no schema: {error}")))?
    };
    out.line(&text).map(|()| 0)
}

async fn apply(text: &str, file: &str, session: &mut Session, out: &mut Output) -> Result<FlowRow, WireError> {
    let request = FlowApply { text: text.to_owned() };
    let answer = session
        .call(|rpc, context, call| {
            let request = request.clone();
            async move { rpc.flow_apply(context, call, request).await }
        })
        .await;
    if let Err(error) = &answer {
        findings(&error.findings, file, text, out)?;
    }
    answer
}

fn findings(found: &[Finding], file: &str, text: &str, out: &mut Output) -> Result<(), WireError> {
    for finding in found {
        check::print(finding, file, text, out)?;
    }
    Ok(())
}

async fn publish(name: String, session: &mut Session, json: bool) -> Result<FlowRow, WireError> {
    let answer = session
        .call(|rpc, context, call| {
            let name = name.clone();
            async move { rpc.flow_publish(context, call, name).await }
        })
        .await;
    // For scripts they stand in the error itself.
    if let Some(error) = answer.as_ref().err().filter(|_| !json) {
        for finding in &error.findings {
            note(&check::line(finding, &name));
        }
    }
    answer
}

pub(crate) fn said(row: &FlowRow, what: &str, out: &mut Output) -> Result<(), WireError> {
    if out.json {
        return out.value(row);
    }
    let hash = row.draft.as_ref().filter(|_| what != "published").or(row.published.as_ref());
    let hash: String = hash.map(|hash| format!(" ({})", hash.chars().take(8).collect::<String>())).unwrap_or_default();
    out.line(&display(&format!("{} {what}{hash}", row.flow)))
}

async fn enable(name: String, enabled: bool, session: &mut Session, out: &mut Output) -> Ended {
    let request = FlowEnable { flow: name, enabled };
    let row = session
        .call(|rpc, context, call| {
            let request = request.clone();
            async move { rpc.flow_enable(context, call, request).await }
        })
        .await?;
    said(&row, if enabled { "takes events" } else { "takes no events" }, out).map(|()| 0)
}

async fn start(name: String, input: Option<String>, wait: bool, session: &mut Session, out: &mut Output) -> Ended {
    let input = input.map_or(Ok(Value::Null), |text| files::json(&text))?;
    let request = FlowRun { flow: name, input };
    let head = session
        .call(|rpc, context, call| {
            let request = request.clone();
            async move { rpc.flow_run(context, call, request).await }
        })
        .await?;
    if !wait {
        if out.json {
            return out.value(&head).map(|()| 0);
        }
        return out.line(&format!("{} {}", head.run, head.state.word())).map(|()| 0);
    }
    let head = ended(head, &[], session).await?;
    if out.json {
        out.value(&head)?;
    } else {
        run::sentence(&head, out)?;
    }
    Ok(u8::from(head.state != RunState::Succeeded))
}

/// Waits until a run has ended, or stands so; reads its head anew when the stream names it.
async fn ended(mut head: RunHead, or: &[RunState], session: &mut Session) -> Result<RunHead, WireError> {
    use aura_protocol::rpc::RunRef;
    use aura_protocol::watch::{BYTES_MAX, Subscription, WAIT_MS_MAX, WatchRequest};
    let mut cursor = None;
    while !head.state.is_final() && !or.contains(&head.state) {
        let request = WatchRequest {
            subscriptions: vec![Subscription::Run(head.run)],
            cursor,
            max_items: 100,
            max_bytes: BYTES_MAX,
            wait_ms: if cursor.is_none() { 0 } else { WAIT_MS_MAX },
        };
        let within = Duration::from_millis(u64::from(WAIT_MS_MAX)) + Duration::from_secs(10);
        let reply = session
            .call_for(within, |rpc, context, call| {
                let request = request.clone();
                async move { rpc.watch(context, call, request).await }
            })
            .await?;
        cursor = Some(reply.cursor);
        let run = RunRef(head.run.to_string());
        head = session
            .call(|rpc, context, call| {
                let run = run.clone();
                async move { rpc.run_show(context, call, run).await }
            })
            .await?
            .head;
    }
    Ok(head)
}
