//! Following: `aura tail` for everything, `aura run tail` for one run; one line per record.
//!
//! Invariant: the cursor only moves forward, over lost links too, so no line is missed or said twice; a
//! cut stream is said once.

use std::collections::HashMap;
use std::time::Duration;

use aura_protocol::event::{EventRow, EventState};
use aura_protocol::ids::RunId;
use aura_protocol::run::{Record, Transition};
use aura_protocol::text::display;
use aura_protocol::watch::{BYTES_MAX, Item, Subscription, WAIT_MS_MAX, WatchReply, WatchRequest};
use aura_protocol::{Code, WireError};
use serde::Serialize;

use super::Ended;
use super::output::{Output, note};
use crate::client::Session;
use crate::{journal, times};

/// Names of flows remembered for the lines of their runs.
const NAMES_MAX: usize = 10_000;

/// What `aura tail` takes.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Begin after this cursor instead of now (0: everything that is kept)
    #[arg(long, value_name = "CURSOR")]
    from: Option<u64>,
    /// End after this many lines
    #[arg(long, value_name = "N")]
    lines: Option<u64>,
}

/// Follows all transitions and events.
///
/// # Errors
/// What the daemon or the way to it says; ten seconds without a daemon end it. A reader that went away
/// ends it with 0: it has no other end.
pub async fn tail(args: &Args, session: &mut Session, out: &mut Output) -> Ended {
    let subscriptions = vec![Subscription::Transitions, Subscription::Events];
    let mut follow = Follow::new(subscriptions, args.from);
    let mut names = HashMap::new();
    let mut left = args.lines.unwrap_or(u64::MAX);
    while left > 0 && !out.closed() {
        let reply = follow.next(session, out).await?;
        for item in &reply.items {
            for line in lines(item, reply.cursor, &mut names, out)? {
                out.line(&line)?;
                left -= 1;
                if left == 0 || out.closed() {
                    break;
                }
            }
            if left == 0 || out.closed() {
                break;
            }
        }
    }
    Ok(0)
}

fn lines(item: &Item, cursor: u64, names: &mut HashMap<RunId, String>, out: &Output) -> Result<Vec<String>, WireError> {
    // The daemon adds the heads of runs, which say nothing that their transitions do not.
    if matches!(item, Item::Run(_)) {
        return Ok(Vec::new());
    }
    if out.json {
        return Ok(vec![super::output::json_line(&Line { cursor, item })?]);
    }
    Ok(match item {
        Item::Transition(run, transition) => {
            for record in &transition.records {
                if let Record::RunStarted(start) = record
                    && names.len() < NAMES_MAX
                {
                    names.insert(*run, display(&start.flow));
                }
            }
            let flow = names.get(run).map_or(String::new(), |flow| format!(" {flow}"));
            if transition.records.iter().any(|record| matches!(record, Record::RunFinished { .. })) {
                names.remove(run);
            }
            let middle = format!("{}{flow}", run.short());
            transition_lines(transition, out).into_iter().map(|(at, text)| format!("{at}  {middle}  {text}")).collect()
        }
        Item::Event(row) => vec![event_line(row, out)],
        Item::Run(_) => Vec::new(),
        Item::Changed(name) => vec![format!("changed {}", display(name))],
    })
}

/// `cursor` is where to go on after the whole batch that this line came with.
#[derive(Serialize)]
struct Line<'a> {
    cursor: u64,
    item: &'a Item,
}

/// Time and level, then text, of each record of a transition.
#[must_use]
pub fn transition_lines(transition: &Transition, out: &Output) -> Vec<(String, String)> {
    let at = times::full(transition.at_ms, &out.zone);
    transition
        .records
        .iter()
        .map(|record| {
            let (level, text) = journal::line(record, transition.at_ms);
            (format!("{at} {}", level.word()), text)
        })
        .collect()
}

/// An event as a line.
fn event_line(row: &EventRow, out: &Output) -> String {
    let at = times::full(row.delivery.received_ms, &out.zone);
    let what = match (row.state, row.starts_at_ms, row.run) {
        (EventState::Held, Some(until), _) => format!("held until {}", times::full(until, &out.zone)),
        (EventState::Held, None, _) => "held".to_owned(),
        (EventState::Dropped, ..) => "dropped".to_owned(),
        (_, _, Some(run)) => format!("became {run}"),
        (EventState::Queued, ..) => "queued".to_owned(),
        (EventState::Duplicate, ..) => "duplicate".to_owned(),
        (EventState::Started, ..) => "started".to_owned(),
    };
    let why = if row.reason.is_empty() { String::new() } else { format!(" ({})", row.reason) };
    format!("{at} event  {}", display(&format!("{} {} {}  {what}{why}", row.event.short(), row.flow, row.trigger)))
}

/// The long poll of a command.
pub struct Follow {
    subscriptions: Vec<Subscription>,
    cursor: Option<u64>,
    cut_said: bool,
}

impl Follow {
    /// From a cursor, or from now.
    #[must_use]
    pub fn new(subscriptions: Vec<Subscription>, cursor: Option<u64>) -> Self {
        Self { subscriptions, cursor, cut_said: false }
    }

    /// The next batch; it may be empty.
    ///
    /// # Errors
    /// What the daemon or the way to it says.
    pub async fn next(&mut self, session: &mut Session, out: &mut Output) -> Result<WatchReply, WireError> {
        let request = WatchRequest {
            subscriptions: self.subscriptions.clone(),
            cursor: self.cursor,
            max_items: 1000,
            max_bytes: BYTES_MAX,
            // The first poll without a cursor only asks where now is.
            wait_ms: if self.cursor.is_none() { 0 } else { WAIT_MS_MAX },
        };
        let within = Duration::from_millis(u64::from(WAIT_MS_MAX)) + Duration::from_secs(10);
        let reply = session
            .call_for(within, |rpc, context, call| {
                let request = request.clone();
                async move { rpc.watch(context, call, request).await }
            })
            .await?;
        if reply.cut && !self.cut_said {
            self.cut_said = true;
            let sentence = format!("retention cut the stream: it goes on from cursor {}", reply.cursor);
            if out.json {
                out.value(&serde_json::json!({ "cut": true, "cursor": reply.cursor }))?;
            } else {
                note(&sentence);
            }
        }
        if let Some(before) = self.cursor
            && reply.cursor < before
            && !reply.cut
        {
            return Err(WireError::new(Code::Conflict, "this is another daemon's store: its cursor went backwards"));
        }
        self.cursor = Some(reply.cursor);
        Ok(reply)
    }
}
