//! What the demo prints: one line for each thing that happened, with the daemon's own (demo) time.

use std::io::Write;

use aura_protocol::event::{EventRow, timestamp};
use aura_protocol::run::{Record, ScopeKind, Transition};
use aura_protocol::text::display;

/// Prints a line; a reader that went away is no fault.
pub fn line(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{}", display(text)).and_then(|()| out.flush());
}

/// Prints a line with a time.
pub fn at(ms: i64, text: &str) {
    line(&format!("{}  {text}", timestamp(ms - ms.rem_euclid(1000))));
}

/// Prints what became of an event.
pub fn event(now_ms: i64, row: &EventRow) {
    let word = format!("{:?}", row.state).to_lowercase();
    let until = row.starts_at_ms.map(|ms| format!(" until {}", timestamp(ms - ms.rem_euclid(1000))));
    at(now_ms, &format!("event    {} {word}{}", row.event, until.unwrap_or_default()));
}

/// Prints the records of a transition.
pub fn transition(transition: &Transition) {
    for text in transition.records.iter().filter_map(record) {
        at(transition.at_ms, &text);
    }
}

fn record(record: &Record) -> Option<String> {
    Some(match record {
        Record::RunStarted(started) => {
            format!("run      started by `{}`, {} events", started.trigger, started.events.len().max(1))
        }
        Record::Scheduled { path, effect, .. } => {
            format!("step     {path}: scheduled ({})", format!("{effect:?}").to_lowercase())
        }
        Record::Started { path, attempt, .. } => format!("step     {path}: attempt {attempt} leaves"),
        Record::Completed { path, .. } => format!("step     {path}: succeeded"),
        Record::Failed { path, error, .. } => format!("step     {path}: failed: {error}"),
        Record::Handled { path, .. } => format!("step     {path}: failed, handled"),
        Record::Skipped { path, why, .. } => format!("step     {path}: skipped, {why}"),
        Record::ScopeOpened { path, scope: ScopeKind::Arm(arm) } => format!("step     {path}: takes arm {}", arm + 1),
        Record::WaitCreated { path, until_ms } => {
            format!("step     {path}: sleeps until {}", timestamp(until_ms - until_ms.rem_euclid(1000)))
        }
        Record::Awaiting { path, .. } => format!("step     {path}: waits for an answer from outside"),
        Record::TimerFired { path } if !path.is_empty() => format!("step     {path}: wakes up"),
        Record::InDoubt { path, error, .. } => format!("step     {path}: in doubt: {error}"),
        Record::RunFinished { state, error, .. } => {
            let why = error.as_ref().map(|error| format!(": {error}")).unwrap_or_default();
            format!("run      {}{why}", state.word())
        }
        _ => return None,
    })
}
