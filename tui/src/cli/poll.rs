//! `aura poll`: what is asked again and again, how far it came, and why it stands still.
//!
//! Invariant: a cursor is shown and taken as JSON, so that what is shown can be given back.

use aura_protocol::rpc::{PollChange, PollEdit, PollInfo, PollQuery};
use aura_protocol::text::display;
use aura_protocol::{Code, Value, WireError};
use clap::Subcommand;

use super::Ended;
use super::output::Output;
use crate::client::Session;

/// What can be asked.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// All polls in a table
    #[command(after_help = "Example: aura poll list --json")]
    List,
    /// One flow's polls: cursor, last and next look, error
    #[command(after_help = "Example: aura poll show new-orders")]
    Show {
        /// Name of the flow, or FLOW/TRIGGER
        flow: String,
    },
    /// Look at once
    #[command(after_help = "Example: aura poll now new-orders")]
    Now {
        /// Name of the flow, or FLOW/TRIGGER
        flow: String,
    },
    /// Go on from another cursor; what was told before is not told again
    #[command(after_help = "Example: aura poll set new-orders '\"2026-05-01T00:00:00Z\"'")]
    Set {
        /// Name of the flow, or FLOW/TRIGGER
        flow: String,
        /// The cursor as JSON; what is no JSON is text
        cursor: String,
    },
    /// Begin as a new poll does; what was told, or known when it began, is told again by a backfill only
    #[command(
        after_help = "Example: aura poll reset new-orders --all\n         aura flow backfill new-orders --again   # tells also what is known"
    )]
    Reset {
        /// Name of the flow, or FLOW/TRIGGER
        flow: String,
        /// Tell what is there and not known, instead of marking it as known
        #[arg(long)]
        all: bool,
    },
}

/// Answers a poll command.
///
/// # Errors
/// What the daemon or the way to it says.
pub async fn poll(command: Command, session: &mut Session, out: &mut Output) -> Ended {
    let (flow, change) = match command {
        Command::List => return list(&ask(session, None).await?, out),
        Command::Show { flow } => return show(session, &flow, out).await,
        Command::Now { flow } => (flow, PollEdit::Now),
        Command::Set { flow, cursor } => {
            let cursor = Value::from_json(cursor.as_bytes()).unwrap_or(Value::Str(cursor));
            (flow, PollEdit::Cursor(cursor))
        }
        Command::Reset { flow, all } => (flow, PollEdit::Reset { all }),
    };
    let (flow, trigger) = named(&flow);
    let change = PollChange { flow, trigger, change };
    let info = session
        .call(|rpc, context, call| {
            let change = change.clone();
            async move { rpc.poll_change(context, call, change).await }
        })
        .await?;
    told(&info, out)?;
    Ok(0)
}

/// `FLOW` or `FLOW/TRIGGER`.
pub(super) fn named(text: &str) -> (String, Option<String>) {
    match text.split_once('/') {
        Some((flow, trigger)) => (flow.to_owned(), Some(trigger.to_owned())),
        None => (text.to_owned(), None),
    }
}

async fn ask(session: &mut Session, flow: Option<String>) -> Result<Vec<PollInfo>, WireError> {
    let query = PollQuery { flow };
    session
        .call(|rpc, context, call| {
            let query = query.clone();
            async move { rpc.poll_list(context, call, query).await }
        })
        .await
}

async fn show(session: &mut Session, flow: &str, out: &mut Output) -> Ended {
    let (flow, trigger) = named(flow);
    let mut polls = ask(session, Some(flow.clone())).await?;
    polls.retain(|poll| trigger.as_ref().is_none_or(|trigger| *trigger == poll.trigger));
    if polls.is_empty() {
        let message = format!("`{}` has no such poll trigger in a published version", display(&flow));
        return Err(WireError::new(Code::NotFound, message).hint("see `aura poll list`"));
    }
    for poll in &polls {
        told(poll, out)?;
    }
    Ok(0)
}

fn time(ms: Option<i64>) -> String {
    ms.map_or_else(|| "-".to_owned(), aura_protocol::event::timestamp)
}

fn told(poll: &PollInfo, out: &mut Output) -> Result<(), WireError> {
    if out.json {
        return out.value(poll);
    }
    let through = poll.connection.as_ref().map_or(String::new(), |name| format!(" through {name}"));
    let lines = [
        format!("{}/{}  {}{through} every {}  {}", poll.flow, poll.trigger, poll.source, poll.every, poll.state),
        format!("  cursor  {}{}", poll.cursor.to_json(), if poll.reading { " (a look goes on)" } else { "" }),
        format!("  told    {}", poll.told),
        format!("  last    {}", time(poll.last_ms)),
        format!("  next    {}", time(poll.next_ms)),
    ];
    for line in lines {
        out.line(&display(&line))?;
    }
    match &poll.error {
        Some(error) => out.line(&display(&format!("  error   {error} (failed {} times in a row)", poll.failures))),
        None => Ok(()),
    }
}

fn list(polls: &[PollInfo], out: &mut Output) -> Ended {
    if out.json {
        for poll in polls {
            out.value(poll)?;
        }
        return Ok(0);
    }
    if polls.is_empty() {
        out.line("no published flow has a poll")?;
        return Ok(0);
    }
    let row = |poll: &PollInfo| {
        let name = format!("{}/{}", poll.flow, poll.trigger);
        let source = format!("{} every {}", poll.source, poll.every);
        let error = poll.error.clone().unwrap_or_default();
        vec![name, source, poll.state.clone(), poll.told.to_string(), time(poll.next_ms), error]
    };
    let rows: Vec<Vec<String>> = polls.iter().map(row).collect();
    out.table(&["POLL", "SOURCE", "STATE", "TOLD", "NEXT", "ERROR"], &rows)?;
    Ok(0)
}
