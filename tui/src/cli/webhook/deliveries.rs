//! `aura webhook deliveries`, `unclaimed` and `delivery`: what came, what it heard, and which part differed.
//!
//! Invariant: text from outside passes `display`; only `--raw` writes bytes as they came, and only into a file or pipe.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use aura_protocol::rpc::{DeliveryDetail, DeliveryPage, DeliveryQuery, DeliveryRow};
use aura_protocol::text::{display, display_lines};
use aura_protocol::{Code, DeliveryId, Value, WireError};

use super::super::Ended;
use super::super::output::{Output, note};
use crate::client::Session;
use crate::times;

/// How often `--follow` asks.
const FOLLOW: Duration = Duration::from_millis(500);
/// Rows of one question.
const PAGE: u32 = 200;

/// What `aura webhook deliveries` takes.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Only to this flow, or FLOW/TRIGGER
    flow: Option<String>,
    /// Only refused ones
    #[arg(long)]
    failed: bool,
    /// Go on with what comes, oldest first
    #[arg(long, conflicts_with = "before")]
    follow: bool,
    /// Only those that fit: `since=1h`, `trigger.body.id=42`, `error~digest`, words
    #[arg(long, value_name = "WORDS")]
    filter: Option<String>,
    /// At most this many
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    limit: u32,
    /// Only older than this delivery (a full id)
    #[arg(long, value_name = "DELIVERY")]
    before: Option<String>,
}

/// What `aura webhook unclaimed` takes.
#[derive(clap::Args, Debug)]
pub struct Unclaimed {
    /// At most this many
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    limit: u32,
}

/// Reads an id as it is typed.
///
/// # Errors
/// It is none.
pub fn id(text: &str) -> Result<DeliveryId, WireError> {
    DeliveryId::read(text).map_err(|error| {
        WireError::new(Code::Invalid, display(&error.to_string())).hint("`aura webhook deliveries --json` has them")
    })
}

/// Splits `FLOW/TRIGGER`.
#[must_use]
pub fn named(text: &str) -> (String, Option<String>) {
    match text.split_once('/') {
        Some((flow, trigger)) => (flow.to_owned(), Some(trigger.to_owned())),
        None => (text.to_owned(), None),
    }
}

async fn page(query: &DeliveryQuery, session: &mut Session) -> Result<DeliveryPage, WireError> {
    session
        .call(|rpc, context, call| {
            let query = query.clone();
            async move { rpc.webhook_deliveries(context, call, query).await }
        })
        .await
}

/// Deliveries, newest first, or as they come.
///
/// # Errors
/// What the daemon or the way to it says.
pub async fn deliveries(args: Args, session: &mut Session, out: &mut Output) -> Ended {
    let (flow, trigger) = args.flow.as_deref().map(named).map_or((None, None), |(flow, of)| (Some(flow), of));
    let before = args.before.as_deref().map(id).transpose()?;
    let query = DeliveryQuery {
        flow,
        trigger,
        failed: args.failed,
        filter: args.filter,
        before,
        limit: args.limit,
        ..DeliveryQuery::default()
    };
    if args.follow {
        return follow(query, session, out).await;
    }
    list(query, session, out).await
}

/// What nobody has claimed.
///
/// # Errors
/// As [`deliveries`].
pub async fn unclaimed(args: Unclaimed, session: &mut Session, out: &mut Output) -> Ended {
    let query = DeliveryQuery { unclaimed: true, limit: args.limit, ..DeliveryQuery::default() };
    list(query, session, out).await
}

async fn list(mut query: DeliveryQuery, session: &mut Session, out: &mut Output) -> Ended {
    let wanted = usize::try_from(query.limit).unwrap_or(usize::MAX);
    let (mut rows, mut unkept): (Vec<DeliveryRow>, u64) = (Vec::new(), 0);
    while rows.len() < wanted {
        query.limit = u32::try_from(wanted - rows.len()).unwrap_or(PAGE).min(PAGE);
        let page = page(&query, session).await?;
        unkept = page.unkept;
        rows.extend(page.deliveries);
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
    let cells: Vec<Vec<String>> = rows.iter().map(|row| cells(row, out)).collect();
    out.table(&HEADS, &cells)?;
    if let Some(next) = query.before {
        note(&format!("older ones: --before {next}"));
    }
    if unkept > 0 {
        note(&format!("{unkept} more were refused since the daemon's start and not kept: too many at once"));
    }
    Ok(0)
}

async fn follow(mut query: DeliveryQuery, session: &mut Session, out: &mut Output) -> Ended {
    let shown = usize::try_from(query.limit).unwrap_or(50);
    query.limit = PAGE;
    let first = page(&query, session).await?;
    let mut rows: Vec<DeliveryRow> = first.deliveries.into_iter().take(shown).collect();
    rows.reverse();
    query.after = rows.last().map(|row| row.id);
    loop {
        for row in &rows {
            if out.json {
                out.value(row)?;
            } else {
                out.line(&display(&cells(row, out).join("  ")))?;
            }
        }
        if out.closed() {
            return Ok(0);
        }
        tokio::time::sleep(FOLLOW).await;
        let (mut news, mut asked) = (Vec::new(), query.clone());
        loop {
            let page = page(&asked, session).await?;
            news.extend(page.deliveries);
            asked.before = page.next;
            if page.next.is_none() {
                break;
            }
        }
        news.reverse();
        query.after = news.last().map(|row: &DeliveryRow| row.id).or(query.after);
        rows = news;
    }
}

const HEADS: [&str; 9] = ["RECEIVED", "STATUS", "VERDICT", "FLOW/TRIGGER", "FROM", "TOOK", "BYTES", "DELIVERY", "WHY"];

fn cells(row: &DeliveryRow, out: &Output) -> Vec<String> {
    vec![
        times::full(row.at_ms, &out.zone),
        row.status.map_or("-".to_owned(), |status| status.to_string()),
        row.verdict.word().to_owned(),
        place(row),
        if row.from.is_empty() { "-".to_owned() } else { row.from.clone() },
        row.took_us.map_or("-".to_owned(), took),
        row.bytes.to_string(),
        row.id.to_string(),
        row.why.clone(),
    ]
}

/// Where it went: the endpoint, or the path that is none.
#[must_use]
pub fn place(row: &DeliveryRow) -> String {
    match row.flow.as_str() {
        "" => row.path.clone(),
        flow => format!("{flow}/{}", row.trigger),
    }
}

/// A short time.
#[must_use]
pub fn took(us: u64) -> String {
    match us {
        0..1000 => format!("{us} µs"),
        1000..10_000 => format!("{}.{} ms", us / 1000, us % 1000 / 100),
        10_000..10_000_000 => format!("{} ms", us / 1000),
        _ => format!("{} s", us / 1_000_000),
    }
}

/// What `aura webhook delivery` takes.
#[derive(clap::Args, Debug)]
pub struct One {
    /// Its id, or that of the event it became
    delivery: String,
    /// Write the request as it came, byte for byte, to standard output (not a terminal)
    #[arg(long, conflicts_with = "json")]
    raw: bool,
}

/// Reads one delivery.
///
/// # Errors
/// What the daemon or the way to it says.
pub async fn read(text: &str, session: &mut Session) -> Result<DeliveryDetail, WireError> {
    id(text)?;
    session
        .call(|rpc, context, call| {
            let text = text.to_owned();
            async move { rpc.webhook_delivery(context, call, text).await }
        })
        .await
}

/// Shows one delivery.
///
/// # Errors
/// What the daemon or the way to it says; `Invalid` for raw bytes to a terminal.
pub async fn one(args: One, session: &mut Session, out: &mut Output) -> Ended {
    let detail = read(&args.delivery, session).await?;
    if args.raw {
        if std::io::stdout().is_terminal() {
            return Err(WireError::new(Code::Invalid, "raw bytes are not written to a terminal").hint("add `> FILE`"));
        }
        let mut stdout = std::io::stdout().lock();
        let written = stdout.write_all(&raw(&detail)).and_then(|()| stdout.flush());
        return written.map(|()| 0).map_err(|error| WireError::internal(format!("standard output: {error}")));
    }
    if out.json {
        return out.value(&detail).map(|()| 0);
    }
    for line in lines(&detail, &|at| times::full(at, &out.zone)) {
        out.line(&line)?;
    }
    Ok(0)
}

/// The request as it came; names of headers are in lower case.
fn raw(detail: &DeliveryDetail) -> Vec<u8> {
    let query = if detail.query.is_empty() { String::new() } else { format!("?{}", detail.query) };
    let path = if detail.row.path.is_empty() { "/" } else { detail.row.path.as_str() };
    let mut bytes = format!("{} {path}{query} HTTP/1.1\r\n", detail.row.method).into_bytes();
    for (name, value) in &detail.headers {
        bytes.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
    }
    bytes.extend_from_slice(b"\r\n");
    bytes.extend_from_slice(&detail.body);
    bytes
}

/// A delivery for people, safe to show; the screens show the same.
#[must_use]
pub fn lines(detail: &DeliveryDetail, moment: &dyn Fn(i64) -> String) -> Vec<String> {
    let row = &detail.row;
    let mut out = Vec::new();
    let status = row.status.map_or(String::new(), |status| format!("  {status}"));
    out.push(format!("{}  {}{status}", row.id, row.verdict.word()));
    let to = place(row);
    if !to.is_empty() {
        out.push(format!("to        {to}"));
    }
    let from = if row.from.is_empty() { "not known" } else { row.from.as_str() };
    out.push(format!("from      {from}"));
    out.push(format!("received  {}", moment(row.at_ms)));
    if let Some(us) = row.took_us {
        out.push(format!("took      {}", took(us)));
    }
    if !row.why.is_empty() {
        out.push(format!("why       {}", row.why));
    }
    if let Some(event) = row.event {
        out.push(format!("event     {event}"));
    }
    if let Some(run) = row.run {
        out.push(format!("run       {run}"));
    }
    out.extend(detail.findings.iter().map(|finding| format!("found     {finding}")));
    if !detail.advice.is_empty() {
        out.push(format!("do        {}", detail.advice));
    }
    let query = if detail.query.is_empty() { String::new() } else { format!("?{}", detail.query) };
    out.push(format!("method    {} {}{query}", row.method, row.path));
    out.extend(detail.headers.iter().map(|(name, value)| format!("header    {name}: {value}")));
    out.extend(detail.withheld.iter().map(|name| format!("header    {name}: (never kept)")));
    let cut = if detail.cut { ", not all of it is kept" } else { "" };
    out.push(format!("body      {} bytes{cut}", row.bytes));
    let mut out: Vec<String> = out.iter().map(|line| display(line)).collect();
    if !detail.body.is_empty() {
        out.push(String::new());
        let text = Value::from_json(&detail.body)
            .map_or_else(|_| String::from_utf8_lossy(&detail.body).into_owned(), |value| value.to_json_pretty());
        out.extend(display_lines(&text).trim_end().lines().map(str::to_owned));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_raw_request_is_what_came_and_people_see_no_control_characters() {
        let mut detail = DeliveryDetail {
            query: "a=b".to_owned(),
            headers: vec![("x-a".to_owned(), "1".to_owned())],
            withheld: vec!["authorization".to_owned()],
            body: b"\x1b[2J\xff".to_vec(),
            ..DeliveryDetail::default()
        };
        (detail.row.method, detail.row.path) = ("POST".to_owned(), "/hooks/x".to_owned());
        assert_eq!(raw(&detail), b"POST /hooks/x?a=b HTTP/1.1\r\nx-a: 1\r\n\r\n\x1b[2J\xff");
        let text = lines(&detail, &|_| "then".to_owned()).join("\n");
        assert!(!text.contains('\x1b') && text.contains("authorization: (never kept)"), "{text}");
        for (us, shown) in [(7, "7 µs"), (1250, "1.2 ms"), (25_000, "25 ms"), (12_000_000, "12 s")] {
            assert_eq!(took(us), shown);
        }
    }
}
