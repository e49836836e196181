//! `aura schedule`: what is due when, and what was.
//!
//! Invariant: times are shown in the zone of their schedule, with its offset, so that nobody has to guess.

use aura_protocol::WireError;
use aura_protocol::rpc::{ScheduleInfo, ScheduleQuery};
use aura_protocol::text::display;
use clap::Subcommand;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;

use super::Ended;
use super::output::Output;
use crate::client::Session;

/// What can be asked.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// All schedules in a table
    #[command(after_help = "Example: aura schedule list --json")]
    List,
    /// The next instants, soonest first
    #[command(after_help = "Example: aura schedule next nightly-report --count 5")]
    Next {
        /// Only of this flow
        flow: Option<String>,
        /// So many of each schedule, at most 100 (of all flows 3)
        #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
        count: u32,
    },
}

/// One instant to come.
#[derive(Serialize)]
struct Instant<'a> {
    flow: &'a str,
    trigger: &'a str,
    at: String,
    at_ms: i64,
    rule: &'a str,
}

/// Answers a schedule command.
///
/// # Errors
/// What the daemon or the way to it says.
pub async fn schedule(command: Command, session: &mut Session, out: &mut Output) -> Ended {
    match command {
        Command::List => list(&ask(session, None, 1).await?, out),
        Command::Next { flow, count } => next(&ask(session, flow, count).await?, out),
    }
}

async fn ask(session: &mut Session, flow: Option<String>, count: u32) -> Result<Vec<ScheduleInfo>, WireError> {
    let query = ScheduleQuery { flow, count };
    session
        .call(|rpc, context, call| {
            let query = query.clone();
            async move { rpc.schedule_list(context, call, query).await }
        })
        .await
}

fn list(schedules: &[ScheduleInfo], out: &mut Output) -> Ended {
    if out.json {
        for schedule in schedules {
            out.value(schedule)?;
        }
        return Ok(0);
    }
    if schedules.is_empty() {
        out.line("no published flow has a schedule")?;
        return Ok(0);
    }
    let rows: Vec<Vec<String>> = schedules
        .iter()
        .map(|it| {
            let next = it.next.first().map_or_else(|| "-".to_owned(), |ms| local(*ms, &it.zone));
            let last = it.last_ms.map_or_else(|| "-".to_owned(), |ms| local(ms, &it.zone));
            let state = if it.enabled { "on" } else { "off" };
            let name = format!("{}/{}", it.flow, it.trigger);
            vec![name, it.rule.clone(), state.to_owned(), next, last, it.missed.to_string()]
        })
        .collect();
    out.table(&["SCHEDULE", "RULE", "STATE", "NEXT", "LAST", "MISSED"], &rows)?;
    Ok(0)
}

fn next(schedules: &[ScheduleInfo], out: &mut Output) -> Ended {
    let mut instants: Vec<Instant<'_>> = schedules
        .iter()
        .flat_map(|it| {
            it.next.iter().map(|&at_ms| Instant {
                flow: &it.flow,
                trigger: &it.trigger,
                at: local(at_ms, &it.zone),
                at_ms,
                rule: &it.rule,
            })
        })
        .collect();
    instants.sort_by_key(|instant| instant.at_ms);
    if instants.is_empty() && !out.json {
        out.line("nothing is due: no enabled flow has a schedule")?;
    }
    for instant in &instants {
        if out.json {
            out.value(instant)?;
        } else {
            out.line(&display(&format!("{}  {}/{}  {}", instant.at, instant.flow, instant.trigger, instant.rule)))?;
        }
    }
    Ok(0)
}

/// RFC 3339 with the offset of a zone; UTC if this machine does not know the zone.
fn local(at_ms: i64, zone: &str) -> String {
    let zone = TimeZone::get(zone).unwrap_or(TimeZone::UTC);
    match Timestamp::from_millisecond(at_ms) {
        Ok(time) => time.display_with_offset(zone.to_offset(time)).to_string(),
        Err(_) => at_ms.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_shown_in_the_zone_of_their_schedule() {
        assert_eq!(local(1_795_334_400_000, "Europe/Berlin"), "2026-11-22T09:00:00+01:00");
        assert_eq!(local(1_795_334_400_000, "Nowhere/Land"), "2026-11-22T08:00:00+00:00");
    }
}
