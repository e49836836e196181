//! `aura schedule`: what is due when, and what was.
//!
//! Invariant: times are shown in the zone of their schedule, with its offset, so that nobody has to guess.

use aura_protocol::rpc::{BackfillPlan, ScheduleBackfill, ScheduleInfo, SchedulePause, ScheduleQuery, ScheduleRef};
use aura_protocol::text::display;
use aura_protocol::{Code, WireError};
use clap::Subcommand;
use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use serde::Serialize;

use super::Ended;
use super::flow::agreed;
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
    /// Lets one schedule rest; its flow goes on
    #[command(after_help = "Example: aura schedule pause nightly-report")]
    Pause {
        /// The flow
        flow: String,
        /// Its trigger, if it has several schedules
        trigger: Option<String>,
    },
    /// A schedule that rested goes on; what passed meanwhile is left out
    #[command(after_help = "Example: aura schedule resume nightly-report")]
    Resume {
        /// The flow
        flow: String,
        /// Its trigger, if it has several schedules
        trigger: Option<String>,
    },
    /// One run now, as if an instant had come; the schedule itself does not move
    #[command(after_help = "Example: aura schedule run nightly-report")]
    Run {
        /// The flow
        flow: String,
        /// Its trigger, if it has several schedules
        trigger: Option<String>,
    },
    /// Runs of past instants, one after another; none that fired before
    #[command(
        after_help = "Examples: aura schedule backfill nightly-report --from 2026-11-01 --to 2026-11-15 --dry-run\n  \
                      aura schedule backfill nightly-report tick --from 2026-11-01T12:00 --yes"
    )]
    Backfill {
        /// The flow
        flow: String,
        /// Its trigger, if it has several schedules
        trigger: Option<String>,
        /// From this time of the schedule's zone on: 2026-11-01, 2026-11-01T12:00, or with an offset
        #[arg(long)]
        from: String,
        /// To this time, a day to its end; default: until now
        #[arg(long)]
        to: Option<String>,
        /// Only say which runs it would start
        #[arg(long)]
        dry_run: bool,
        /// Start them
        #[arg(long)]
        yes: bool,
    },
    /// Ends a backfill; the runs that it started stay
    #[command(after_help = "Example: aura schedule stop nightly-report")]
    Stop {
        /// The flow
        flow: String,
        /// Its trigger, if it has several schedules
        trigger: Option<String>,
    },
}

/// One instant to come.
#[derive(Serialize)]
struct Instant<'a> {
    flow: &'a str,
    trigger: &'a str,
    at: String,
    at_ms: i64,
    /// When its run begins, if that is later.
    #[serde(skip_serializing_if = "Option::is_none")]
    begins_ms: Option<i64>,
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
        Command::Pause { flow, trigger } => pause(ScheduleRef { flow, trigger }, true, session, out).await,
        Command::Resume { flow, trigger } => pause(ScheduleRef { flow, trigger }, false, session, out).await,
        Command::Run { flow, trigger } => run(ScheduleRef { flow, trigger }, session, out).await,
        Command::Stop { flow, trigger } => stop(ScheduleRef { flow, trigger }, session, out).await,
        Command::Backfill { flow, trigger, from, to, dry_run, yes } => {
            let schedule = ScheduleRef { flow, trigger };
            backfill(schedule, &from, to.as_deref(), (dry_run, yes), session, out).await
        }
    }
}

async fn pause(schedule: ScheduleRef, paused: bool, session: &mut Session, out: &mut Output) -> Ended {
    let request = SchedulePause { schedule, paused };
    let info = session
        .call(|rpc, context, call| {
            let request = request.clone();
            async move { rpc.schedule_pause(context, call, request).await }
        })
        .await?;
    let next = info.next.first().map_or_else(String::new, |ms| format!(", next {}", local(*ms, &info.zone)));
    let note = if info.last_note.is_empty() { String::new() } else { format!("; {}", info.last_note) };
    let what = if paused { "rests".to_owned() } else { format!("goes on{next}{note}") };
    said(&info, &what, out)
}

async fn run(schedule: ScheduleRef, session: &mut Session, out: &mut Output) -> Ended {
    let head = session
        .call(|rpc, context, call| {
            let request = schedule.clone();
            async move { rpc.schedule_run(context, call, request).await }
        })
        .await?;
    if out.json {
        out.value(&head)?;
    } else {
        out.line(&format!("{} started", head.run))?;
    }
    Ok(0)
}

async fn stop(schedule: ScheduleRef, session: &mut Session, out: &mut Output) -> Ended {
    let info = session
        .call(|rpc, context, call| {
            let request = schedule.clone();
            async move { rpc.schedule_stop(context, call, request).await }
        })
        .await?;
    said(&info, "makes up for nothing any more", out)
}

fn said(info: &ScheduleInfo, what: &str, out: &mut Output) -> Ended {
    if out.json {
        out.value(info)?;
    } else {
        out.line(&display(&format!("{}/{} {what}", info.flow, info.trigger)))?;
    }
    Ok(0)
}

async fn backfill(
    schedule: ScheduleRef,
    from: &str,
    to: Option<&str>,
    (dry_run, yes): (bool, bool),
    session: &mut Session,
    out: &mut Output,
) -> Ended {
    let known = ask(session, Some(schedule.flow.clone()), 1).await?;
    let meant = known.iter().find(|it| schedule.trigger.as_ref().is_none_or(|trigger| *trigger == it.trigger));
    let zone = TimeZone::get(meant.map_or("UTC", |it| &it.zone)).unwrap_or(TimeZone::UTC);
    let from_ms = time(from, &zone, false)?;
    let to_ms = to.map_or(Ok(Timestamp::now().as_millisecond()), |to| time(to, &zone, true))?;
    let asked = |dry| ScheduleBackfill { schedule: schedule.clone(), from_ms, to_ms, dry };
    let mut send = async |request: ScheduleBackfill| {
        session
            .call(|rpc, context, call| {
                let request = request.clone();
                async move { rpc.schedule_backfill(context, call, request).await }
            })
            .await
    };
    let plan = send(asked(true)).await?;
    if dry_run || plan.count == 0 {
        return planned(&plan, out);
    }
    let begin = format!("{} runs of past instants would start, one after another", plan.count);
    if !yes && !out.json {
        planned(&plan, out)?;
    }
    agreed(yes, &begin, "start them")?;
    let plan = send(asked(false)).await?;
    planned(&plan, out)
}

fn planned(plan: &BackfillPlan, out: &mut Output) -> Ended {
    if out.json {
        out.value(plan)?;
        return Ok(0);
    }
    let it = &plan.schedule;
    let what = if plan.begun { "starts" } else { "would start" };
    out.line(&display(&format!("{}/{} {what} {} runs of past instants", it.flow, it.trigger, plan.count)))?;
    for instant in &plan.first {
        out.line(&format!("  {}", local(*instant, &it.zone)))?;
    }
    if let Some(last) = plan.last.filter(|last| plan.first.last() != Some(last)) {
        out.line(&format!("  … to {}", local(last, &it.zone)))?;
    }
    if plan.fired > 0 {
        out.line(&format!("{} in between fired before and are left out", plan.fired))?;
    }
    Ok(0)
}

/// A time as people write it; a day is its beginning, or its end.
///
/// # Errors
/// It is none.
pub fn time(text: &str, zone: &TimeZone, end: bool) -> Result<i64, WireError> {
    if let Ok(exact) = text.parse::<Timestamp>() {
        return Ok(exact.as_millisecond());
    }
    let day = text.parse::<Date>().ok().filter(|_| !text.contains('T'));
    let at = match day {
        Some(day) if end => day.tomorrow().ok().map(|next| next.at(0, 0, 0, 0)),
        Some(day) => Some(day.at(0, 0, 0, 0)),
        None => text.parse::<DateTime>().ok(),
    };
    let found = at.and_then(|at| at.to_zoned(zone.clone()).ok()).map(|at| at.timestamp().as_millisecond());
    match found {
        Some(ms) => Ok(if end && day.is_some() { ms - 1 } else { ms }),
        None => Err(WireError::new(Code::Invalid, format!("`{}` is no time", display(text)))
            .hint("write 2026-11-01, 2026-11-01T12:00 or 2026-11-01T12:00+01:00")),
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
            let name = format!("{}/{}", it.flow, it.trigger);
            vec![name, it.rule.clone(), state(it), next, last, it.missed.to_string()]
        })
        .collect();
    out.table(&["SCHEDULE", "RULE", "STATE", "NEXT", "LAST", "MISSED"], &rows)?;
    Ok(0)
}

/// Whether a schedule fires, in a word or two.
#[must_use]
pub fn state(it: &ScheduleInfo) -> String {
    match (&it.paused_by, it.enabled, &it.backfill) {
        (_, false, _) => "off".to_owned(),
        (Some(_), ..) => "paused".to_owned(),
        (None, true, Some(job)) => format!("on, {} to make up", job.left),
        (None, true, None) => "on".to_owned(),
    }
}

fn next(schedules: &[ScheduleInfo], out: &mut Output) -> Ended {
    let mut instants: Vec<Instant<'_>> = schedules
        .iter()
        .flat_map(|it| {
            it.next.iter().enumerate().map(|(number, &at_ms)| Instant {
                flow: &it.flow,
                trigger: &it.trigger,
                at: local(at_ms, &it.zone),
                at_ms,
                begins_ms: it.begins.get(number).copied(),
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
#[must_use]
pub fn local(at_ms: i64, zone: &str) -> String {
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
    fn times_are_read_in_the_zone_of_the_schedule() {
        let zone = TimeZone::get("Europe/Berlin").unwrap();
        let check = |text: &str, end: bool, expected: &str| {
            assert_eq!(local(time(text, &zone, end).unwrap(), "UTC"), expected, "{text}");
        };
        check("2026-11-22", false, "2026-11-21T23:00:00+00:00");
        check("2026-11-22", true, "2026-11-22T22:59:59.999+00:00");
        check("2026-11-22T09:30", true, "2026-11-22T08:30:00+00:00");
        check("2026-11-22T09:30:00Z", false, "2026-11-22T09:30:00+00:00");
        check("2026-11-22T09:30+05:30", false, "2026-11-22T04:00:00+00:00");
        for wrong in ["", "yesterday", "2026-13-01", "9:30"] {
            assert!(time(wrong, &zone, false).is_err(), "{wrong}");
        }
    }

    #[test]
    fn times_are_shown_in_the_zone_of_their_schedule() {
        assert_eq!(local(1_795_334_400_000, "Europe/Berlin"), "2026-11-22T09:00:00+01:00");
        assert_eq!(local(1_795_334_400_000, "Nowhere/Land"), "2026-11-22T08:00:00+00:00");
    }
}
