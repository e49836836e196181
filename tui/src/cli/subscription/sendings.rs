//! What became of messages: lists, attempts, sending again, giving up.
//!
//! Invariant: what would be sent is counted before it is sent, and a script must say `--yes`.

use aura_protocol::flow::Span;
use aura_protocol::outgoing::{Resend, Resent, Sending, SendingPage, SendingQuery, SendingRef, SendingState};
use aura_protocol::text::{display, display_lines};
use aura_protocol::{Code, MessageId, Value, WireError};
use clap::{Args, ValueEnum};

use super::outcome;
use crate::cli::Ended;
use crate::cli::many::How;
use crate::cli::output::{Output, note};
use crate::client::Session;
use crate::times;

/// A state as it is typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum State {
    /// For its turn, or for its next attempt.
    Waiting,
    /// Its receiver answered 2xx.
    Succeeded,
    /// Given up.
    Failed,
}

impl State {
    fn state(self) -> SendingState {
        match self {
            Self::Waiting => SendingState::Waiting,
            Self::Succeeded => SendingState::Succeeded,
            Self::Failed => SendingState::Failed,
        }
    }
}

/// Which sendings, as every command takes it.
#[derive(Args, Debug, Default)]
pub struct Which {
    /// Only in this state (repeatable)
    #[arg(long, value_enum)]
    state: Vec<State>,
    /// Only of this event type, or of those that begin so (order.*)
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<String>,
    /// Only of messages made since then: a time ago like 2d, or a moment like 2026-11-20T08:00:00Z
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Only of messages made before then
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
}

/// `sendings`.
#[derive(Args, Debug)]
pub struct List {
    /// Only to this subscription
    name: Option<String>,
    #[command(flatten)]
    which: Which,
    /// At most this many
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    limit: u32,
    /// Only older than this message
    #[arg(long, value_name = "MESSAGE")]
    before: Option<String>,
}

/// `resend`.
#[derive(Args, Debug)]
pub struct Again {
    /// The subscription
    name: String,
    /// Only this message
    #[arg(conflicts_with_all = ["state", "kind", "since", "until"])]
    message: Option<String>,
    #[command(flatten)]
    which: Which,
    /// Only say how many it would be
    #[arg(long)]
    plan: bool,
    /// Do not ask
    #[arg(long, short = 'y')]
    yes: bool,
}

/// `recover`.
#[derive(Args, Debug)]
pub struct Recover {
    /// The subscription
    name: String,
    /// Since then: a time ago like 2d, or a moment like 2026-11-20T08:00:00Z
    #[arg(long, value_name = "TIME")]
    since: String,
    /// Also messages that it would have got had it been enabled, or there
    #[arg(long)]
    missing: bool,
    /// Only say how many it would be
    #[arg(long)]
    plan: bool,
    /// Do not ask
    #[arg(long, short = 'y')]
    yes: bool,
}

/// A moment as it was typed: so long before `now_ms`, or the moment itself.
fn moment(text: &str, now_ms: i64) -> Result<i64, WireError> {
    if let Ok(span) = text.parse::<Span>() {
        return Ok(now_ms.saturating_sub(i64::try_from(span.ms).unwrap_or(i64::MAX)));
    }
    text.parse::<jiff::Timestamp>().map(jiff::Timestamp::as_millisecond).map_err(|_| {
        WireError::new(Code::Invalid, format!("`{}` is no time", display(text)))
            .hint("write how long ago, like 2d or 90m, or a moment like 2026-11-20T08:00:00Z")
    })
}

fn message(text: &str) -> Result<MessageId, WireError> {
    text.parse().map_err(|error| WireError::new(Code::Invalid, format!("{error}")))
}

/// The daemon's clock, if somebody asked for a time.
async fn now(asked: bool, session: &mut Session) -> Result<i64, WireError> {
    if !asked {
        return Ok(0);
    }
    let status = session.call(|rpc, context, call| async move { rpc.status(context, call, ()).await }).await?;
    Ok(status.now_ms)
}

/// Lists sendings.
///
/// # Errors
/// What the daemon or the way to it says.
pub async fn list(list: List, session: &mut Session, out: &mut Output) -> Ended {
    let List { name, which, limit, before } = list;
    let now_ms = now(which.since.is_some() || which.until.is_some(), session).await?;
    let time = |text: Option<String>| text.map(|text| moment(&text, now_ms)).transpose();
    let mut query = SendingQuery {
        subscription: name,
        states: which.state.into_iter().map(State::state).collect(),
        kind: which.kind,
        since_ms: time(which.since)?,
        until_ms: time(which.until)?,
        before: before.as_deref().map(message).transpose()?,
        limit,
    };
    let wanted = usize::try_from(limit).unwrap_or(usize::MAX);
    let mut rows: Vec<Sending> = Vec::new();
    while rows.len() < wanted {
        query.limit = u32::try_from(wanted - rows.len()).unwrap_or(500).min(500);
        let page: SendingPage = session
            .call(|rpc, context, call| {
                let query = query.clone();
                async move { rpc.sending_list(context, call, query).await }
            })
            .await?;
        rows.extend(page.sendings);
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
            let attempts = row.attempts.last().map_or(0, |last| last.number).to_string();
            vec![
                row.state.word().to_owned(),
                row.message.to_string(),
                row.subscription.clone(),
                row.kind.clone(),
                times::full(row.created_ms, &out.zone),
                attempts,
                told(row, |at| times::full(at, &out.zone)),
            ]
        })
        .collect();
    out.table(&["STATE", "MESSAGE", "SUBSCRIPTION", "TYPE", "MADE", "ATTEMPTS", "LAST"], &cells)?;
    if let Some(next) = query.before {
        note(&format!("older ones: --before {next}"));
    }
    Ok(0)
}

/// How a sending stands, in one line of safe text.
#[must_use]
pub fn told(row: &Sending, moment: impl Fn(i64) -> String) -> String {
    let mut parts = vec![outcome(row)];
    if let Some(next) = row.next_ms.filter(|_| row.state == SendingState::Waiting) {
        parts.push(format!("next {}", moment(next)));
    }
    if !row.reason.is_empty() {
        parts.push(display(&row.reason));
    }
    parts.join(", ")
}

/// Shows a sending with its attempts.
///
/// # Errors
/// What the daemon or the way to it says.
pub async fn attempts(name: String, text: &str, session: &mut Session, out: &mut Output) -> Ended {
    let of = SendingRef { subscription: name, message: message(text)? };
    let detail = session
        .call(|rpc, context, call| {
            let of = of.clone();
            async move { rpc.sending_show(context, call, of).await }
        })
        .await?;
    if out.json {
        return out.value(&detail).map(|()| 0);
    }
    let sending = &detail.sending;
    let zone = out.zone.clone();
    let full = |at| times::full(at, &zone);
    out.line(&display(&format!("{}  {}  {}", sending.message, sending.kind, sending.state.word())))?;
    out.line(&display(&format!("to       {}", sending.subscription)))?;
    out.line(&display(&format!("of       {}", detail.by)))?;
    out.line(&format!("made     {}", full(sending.created_ms)))?;
    if let Some(next) = sending.next_ms {
        out.line(&format!("next     {}", full(next)))?;
    }
    if !sending.reason.is_empty() {
        out.line(&display(&format!("why      {}", sending.reason)))?;
    }
    for attempt in &sending.attempts {
        let status = attempt.status.map_or("no answer".to_owned(), |status| status.to_string());
        let took = times::took(i64::from(attempt.took_ms));
        let line = format!("{:>3}  {}  {status:<9}  {took:>6}  {}", attempt.number, full(attempt.at_ms), attempt.error);
        out.line(display(&line).trim_end())?;
        for line in display_lines(&attempt.answer).lines() {
            out.line(&format!("       {line}"))?;
        }
    }
    out.line("")?;
    let body = Value::from_json(detail.body.as_bytes()).map_or(detail.body.clone(), |value| value.to_json_pretty());
    out.line(display_lines(&body).trim_end()).map(|()| 0)
}

/// Sends again what is asked for, piece by piece.
async fn all(mut ask: Resend, session: &mut Session) -> Result<Resent, WireError> {
    let mut sum = Resent::default();
    loop {
        let piece: Resent = session
            .call(|rpc, context, call| {
                let ask = ask.clone();
                async move { rpc.sending_resend(context, call, ask).await }
            })
            .await?;
        sum.sendings += piece.sendings;
        sum.missing += piece.missing;
        let room = 10_usize.saturating_sub(sum.first.len());
        sum.first.extend(piece.first.into_iter().take(room));
        ask.after = piece.next;
        if ask.after.is_none() {
            return Ok(sum);
        }
    }
}

async fn again(ask: Resend, (plan, yes): (bool, bool), session: &mut Session, out: &mut Output) -> Ended {
    let planned = all(Resend { plan: true, ..ask.clone() }, session).await?;
    if plan || planned.sendings == 0 {
        return resent(&planned, true, out);
    }
    let missing =
        if planned.missing > 0 { format!(" ({} for the first time)", planned.missing) } else { String::new() };
    let sentence = format!("{} messages{missing} would be sent to {}", planned.sendings, display(&ask.subscription));
    How { plan: false, yes, rate: None }.agreed(&sentence, "send them")?;
    let done = all(ask, session).await?;
    resent(&done, false, out)
}

fn resent(done: &Resent, planned: bool, out: &mut Output) -> Ended {
    if out.json {
        return out.value(done).map(|()| 0);
    }
    let what = if planned { "would be sent" } else { "are on their way" };
    let word = if done.sendings == 1 { "message" } else { "messages" };
    out.line(&format!("{} {word} {what}", done.sendings))?;
    for message in &done.first {
        out.line(&format!("  {message}"))?;
    }
    Ok(0)
}

/// Sends a message, or all that fit, again.
///
/// # Errors
/// What the daemon or the way to it says; not agreed.
pub async fn resend(ask: Again, session: &mut Session, out: &mut Output) -> Ended {
    let Again { name, message: text, which, plan, yes } = ask;
    if text.is_none() && which.state.is_empty() && which.since.is_none() && which.kind.is_none() {
        let error = WireError::new(Code::Invalid, "say which messages are sent again");
        return Err(error.hint("name one, or use --state, --type or --since; all that failed: --state failed"));
    }
    let now_ms = now(which.since.is_some() || which.until.is_some(), session).await?;
    let time = |text: Option<String>| text.map(|text| moment(&text, now_ms)).transpose();
    let ask = Resend {
        subscription: name,
        message: text.as_deref().map(message).transpose()?,
        states: which.state.into_iter().map(State::state).collect(),
        kind: which.kind,
        since_ms: time(which.since)?,
        until_ms: time(which.until)?,
        missing: false,
        plan: false,
        after: None,
    };
    if let (Some(message), false) = (ask.message, plan) {
        let done = all(ask.clone(), session).await?;
        if done.sendings == 0 {
            let error = WireError::not_found(format!("{message} was not sent to {}", display(&ask.subscription)));
            return Err(error.hint("or it is being sent just now; `aura subscription attempts` says more"));
        }
        return resent(&done, false, out);
    }
    again(ask, (plan, yes), session, out).await
}

/// Sends what failed since a time.
///
/// # Errors
/// What the daemon or the way to it says; not agreed.
pub async fn recover(ask: Recover, session: &mut Session, out: &mut Output) -> Ended {
    let Recover { name, since, missing, plan, yes } = ask;
    let now_ms = now(true, session).await?;
    let ask = Resend {
        subscription: name,
        message: None,
        // What waits for its time is sent now, too.
        states: vec![SendingState::Failed, SendingState::Waiting],
        kind: None,
        since_ms: Some(moment(&since, now_ms)?),
        until_ms: None,
        missing,
        plan: false,
        after: None,
    };
    again(ask, (plan, yes), session, out).await
}

/// Gives a sending up.
///
/// # Errors
/// What the daemon or the way to it says.
pub async fn give_up(name: String, text: &str, session: &mut Session, out: &mut Output) -> Ended {
    let of = SendingRef { subscription: name, message: message(text)? };
    let detail = session
        .call(|rpc, context, call| {
            let of = of.clone();
            async move { rpc.sending_give_up(context, call, of).await }
        })
        .await?;
    if out.json {
        return out.value(&detail).map(|()| 0);
    }
    out.line(&display(&format!("{} is given up for {}", detail.sending.message, detail.sending.subscription)))?;
    Ok(0)
}

#[cfg(test)]
mod checks {
    use super::*;

    #[test]
    fn times_are_read_as_people_write_them() {
        assert_eq!(moment("2d", 200_000_000).unwrap(), 200_000_000 - 2 * 86_400_000);
        assert_eq!(moment("1970-01-01T00:00:01Z", 5).unwrap(), 1000);
        assert!(moment("soon", 5).is_err());
    }
}
