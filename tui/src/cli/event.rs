//! `aura event …`: events that did not simply begin a run: held, dropped by a filter or a full key, repeated.

use aura_protocol::event::{EventRow, EventState};
use aura_protocol::rpc::EventQuery;
use aura_protocol::text::{display, display_lines};
use aura_protocol::{Code, EventId, Value, WireError};
use clap::{Subcommand, ValueEnum};

use super::Ended;
use super::output::{Output, note};
use crate::client::Session;
use crate::times;

/// A state as it is typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum State {
    /// Waits for its time or for its flow to be enabled.
    Held,
    /// No run came of it.
    Dropped,
    /// An earlier event has the same key (known since the daemon's start).
    Duplicate,
    /// Was held and has begun a run.
    Started,
}

impl State {
    fn state(self) -> EventState {
        match self {
            Self::Held => EventState::Held,
            Self::Dropped => EventState::Dropped,
            Self::Duplicate => EventState::Duplicate,
            Self::Started => EventState::Started,
        }
    }
}

/// What can be asked.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Held, dropped and repeated events, newest first
    #[command(after_help = "Example: aura event list --state dropped --flow order-paid")]
    List {
        /// Only in this state (repeatable)
        #[arg(long, value_enum)]
        state: Vec<State>,
        /// Only of this flow
        #[arg(long)]
        flow: Option<String>,
        /// At most this many
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
        limit: u32,
        /// Only older than this event (a full id)
        #[arg(long, value_name = "EVENT")]
        before: Option<String>,
    },
    /// One event with what was delivered
    #[command(after_help = "Example: aura event show evt_01KAM6Z7Q2M1GC2R8T4W9X5Y3Z")]
    Show {
        /// Its full id
        event: String,
    },
}

fn id(text: &str) -> Result<EventId, WireError> {
    text.parse().map_err(|error| WireError::new(Code::Invalid, format!("{error}")))
}

/// Answers an event command.
///
/// # Errors
/// What the daemon or the way to it says.
pub async fn event(command: Command, session: &mut Session, out: &mut Output) -> Ended {
    match command {
        Command::List { state, flow, limit, before } => {
            let before = before.as_deref().map(id).transpose()?;
            let states = state.into_iter().map(State::state).collect();
            list(EventQuery { flow, states, before, limit }, session, out).await
        }
        Command::Show { event } => {
            let event = id(&event)?;
            let row =
                session.call(|rpc, context, call| async move { rpc.event_show(context, call, event).await }).await?;
            if out.json {
                return out.value(&row).map(|()| 0);
            }
            show(&row, out).map(|()| 0)
        }
    }
}

async fn list(mut query: EventQuery, session: &mut Session, out: &mut Output) -> Ended {
    let wanted = usize::try_from(query.limit).unwrap_or(usize::MAX);
    let mut rows: Vec<EventRow> = Vec::new();
    while rows.len() < wanted {
        query.limit = u32::try_from(wanted - rows.len()).unwrap_or(500).min(500);
        let page = session
            .call(|rpc, context, call| {
                let query = query.clone();
                async move { rpc.event_list(context, call, query).await }
            })
            .await?;
        rows.extend(page.events);
        query.before = page.next;
        if page.next.is_none() {
            break;
        }
    }
    if out.json {
        for row in &rows {
            out.value(row)?;
        }
        return Ok(0);
    }
    let cells: Vec<Vec<String>> = rows
        .iter()
        .map(|row| {
            vec![
                word(row.state).to_owned(),
                row.event.to_string(),
                row.flow.clone(),
                row.trigger.clone(),
                times::full(row.delivery.received_ms, &out.zone),
                outcome(row, |at| times::full(at, &out.zone)),
            ]
        })
        .collect();
    out.table(&["STATE", "EVENT", "FLOW", "TRIGGER", "RECEIVED", "WHY"], &cells)?;
    if let Some(next) = query.before {
        note(&format!("older ones: --before {next}"));
    }
    Ok(0)
}

/// The word of a state.
#[must_use]
pub fn word(state: EventState) -> &'static str {
    match state {
        EventState::Started => "started",
        EventState::Queued => "queued",
        EventState::Held => "held",
        EventState::Dropped => "dropped",
        EventState::Duplicate => "duplicate",
    }
}

/// What became of an event and why, in one line of unsafe text.
#[must_use]
pub fn outcome(row: &EventRow, moment: impl Fn(i64) -> String) -> String {
    let mut parts = Vec::new();
    if let (EventState::Held, Some(at)) = (row.state, row.starts_at_ms) {
        parts.push(format!("until {}", moment(at)));
    }
    if !row.reason.is_empty() {
        parts.push(row.reason.clone());
    }
    if let Some(run) = row.run {
        parts.push(format!("run {run}"));
    }
    parts.join(", ")
}

fn show(row: &EventRow, out: &mut Output) -> Result<(), WireError> {
    let delivery = &row.delivery;
    out.line(&display(&format!("{}  {}", row.event, word(row.state))))?;
    out.line(&display(&format!("of        {}/{}", row.flow, row.trigger)))?;
    out.line(&format!("received  {}", times::full(delivery.received_ms, &out.zone)))?;
    let why = outcome(row, |at| times::full(at, &out.zone));
    if !why.is_empty() {
        out.line(&display(&format!("why       {why}")))?;
    }
    let query = if delivery.query.is_empty() { String::new() } else { format!("?{}", delivery.query) };
    out.line(&display(&format!("method    {}{query}", delivery.method)))?;
    for (name, value) in &delivery.headers {
        out.line(&display(&format!("header    {name}: {value}")))?;
    }
    out.line("")?;
    out.line(display_lines(&body(row)).trim_end())
}

/// The body as text: pretty JSON if it is JSON. Not yet safe to show.
#[must_use]
pub fn body(row: &EventRow) -> String {
    match Value::from_json(&row.delivery.body) {
        Ok(value) => value.to_json_pretty(),
        Err(_) => String::from_utf8_lossy(&row.delivery.body).into_owned(),
    }
}
