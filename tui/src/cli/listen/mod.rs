//! `aura listen`: deliveries of a daemon as they come, and copies of them to a program on this machine.
//!
//! Invariant: what a copy holds is what came, byte for byte, or no copy is made and the line says why; order is that of
//! the daemon, one copy is on its way at a time, and nothing is kept for later but the rows of one answer. The way to
//! the daemon is [`follow`]'s, a request is made in [`copy`] and handed on in [`send`].

mod copy;
mod follow;
mod seen;
mod send;

use std::time::Duration;

use aura_protocol::flow::Span;
use aura_protocol::rpc::{DeliveryFeed, DeliveryRow, HookName, RawDelivery};
use aura_protocol::text::{display, display_lines};
use aura_protocol::{Code, Value, WireError};
use serde::Serialize;
use tokio::signal::unix::{Signal, SignalKind, signal};

use self::copy::{Copy, Place};
use self::follow::{Follow, Word};
use self::send::{Sender, Sent};
use super::Ended;
use super::output::{Output, note};
use super::webhook::deliveries::{named, place};
use crate::client::Session;
use crate::times;

/// What the help says first.
pub const ABOUT: &str = "Show deliveries as they come, and hand copies of them to a program on this machine

Whoever develops what takes webhooks needs real ones: the daemon that the providers reach takes them as always, and its \
own runs go on; what `--to` posts here is a copy, with the headers and the bytes that came, so the program can check the \
provider's signature. Over ssh (`-H`) no port is opened anywhere. A lost link is tried again, and nothing that came \
meanwhile is left out.";

/// Examples.
pub const EXAMPLES: &str = "Examples:
  aura -H ssh://ops@shop-01 listen order-paid --to http://127.0.0.1:3000/hook
  aura listen --to 3000 --keep-path             # POST http://127.0.0.1:3000/hooks/…
  aura listen --unclaimed --print-body          # what came where no endpoint is
  aura listen order-paid/paid --since 1h --count 1 --to 3000 --json   # exit code 1 unless it was taken";

/// Longest body that is printed.
const PRINTED: usize = 64 * 1024;

/// What `aura listen` takes.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Only to these endpoints
    #[arg(value_name = "FLOW[/TRIGGER]")]
    flows: Vec<String>,
    /// Post a copy of each here: an address of HTTP in the clear, or a port of this machine with or without a path; a path
    /// that ends in `/` gets the delivery's own path
    #[arg(long, value_name = "URL")]
    to: Option<String>,
    /// Append the delivery's own path to that of --to
    #[arg(long, requires = "to")]
    keep_path: bool,
    /// Begin with what came so long before, at most 10,000 deliveries
    #[arg(long, value_name = "TIME")]
    since: Option<Span>,
    /// Also what endpoints refused, or answered as a handshake
    #[arg(long)]
    refused: bool,
    /// Also what nobody takes: unknown addresses, closed endpoints, disabled flows
    #[arg(long)]
    unclaimed: bool,
    /// End after so many deliveries
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// End after one delivery
    #[arg(long, conflicts_with = "count")]
    once: bool,
    /// Print bodies too
    #[arg(long)]
    print_body: bool,
    /// Wait so long for an answer to a copy
    #[arg(long, value_name = "TIME", default_value = "10s", requires = "to")]
    timeout: Span,
    /// Try a copy again so many times if nobody answers it, or with 429 or 5xx; later ones wait meanwhile
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32).range(..=100))]
    retry: u32,
}

/// What scripts read, one a line.
#[derive(Serialize)]
#[serde(tag = "what", rename_all = "snake_case")]
enum Line<'a> {
    Listening {
        to: Option<&'a str>,
        flows: &'a [String],
    },
    Link {
        up: bool,
        #[serde(skip_serializing_if = "Option::is_none")]
        why: Option<&'a str>,
    },
    Gap {
        caught_up: usize,
        too_many: bool,
    },
    Delivery {
        delivery: &'a DeliveryRow,
        #[serde(skip_serializing_if = "Option::is_none")]
        copy: Option<CopyLine<'a>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        request: Option<&'a RawDelivery>,
    },
    Ended(&'a Sum),
}

#[derive(Serialize)]
struct CopyLine<'a> {
    status: Option<u16>,
    error: Option<&'a str>,
    took_ms: u64,
    attempts: u32,
}

/// What it came to.
#[derive(Default, Serialize)]
struct Sum {
    deliveries: u64,
    taken: u64,
    refused_here: u64,
    not_sent: u64,
}

struct Work<'a> {
    follow: Follow,
    session: &'a mut Session,
    out: &'a mut Output,
    to: Option<(Place, Sender)>,
    print_body: bool,
    sum: Sum,
}

/// Follows until its count is full or somebody ends it.
///
/// # Errors
/// No such endpoint, a role that may not see bodies, or what the daemon or the way to it says at first.
pub async fn listen(args: Args, session: &mut Session, out: &mut Output) -> Ended {
    let to = match &args.to {
        Some(to) => {
            let sender = Sender::new(args.timeout, args.retry);
            Some((Place::read(to, args.keep_path)?, sender))
        }
        None => None,
    };
    let only = args.flows.iter().map(|name| named(name)).map(|(flow, trigger)| HookName { flow, trigger }).collect();
    let feed = DeliveryFeed {
        only,
        refused: args.refused,
        unclaimed: args.unclaimed,
        bodies: to.is_some() || args.print_body,
        ..DeliveryFeed::default()
    };
    let client = session.client().await?;
    if !client.hello.capabilities.iter().any(|name| name == "webhook_feed") {
        return Err(WireError::new(Code::Protocol, "this aurad cannot be listened to").hint("update aurad"));
    }
    let mut stop = Stop::new()?;
    let json = out.json;
    let mut say = |word: Word| said(&word, json);
    let (follow, mut rows) = Follow::begin(feed, args.since.map(|since| since.ms), session, &mut say).await?;
    begun(&args, to.as_ref().map(|(place, _)| place.shown()), out)?;
    let mut left = if args.once { 1 } else { args.count.unwrap_or(u64::MAX) };
    let mut work = Work { follow, session, out, to, print_body: args.print_body, sum: Sum::default() };
    let by_hand = 'listening: loop {
        for row in &rows {
            let handled = tokio::select! {
                biased;
                () = stop.asked() => break 'listening true,
                handled = work.handle(row) => handled?,
            };
            left = left.saturating_sub(u64::from(handled));
            if left == 0 || work.out.closed() {
                break 'listening false;
            }
        }
        rows = tokio::select! {
            biased;
            () = stop.asked() => break 'listening true,
            rows = work.follow.next(work.session, &mut say) => rows?,
        };
        if work.out.closed() {
            break 'listening false;
        }
    };
    let Work { sum, out, to, .. } = work;
    ended(&sum, to.is_some(), out)?;
    Ok(u8::from(!by_hand && to.is_some() && sum.taken < sum.deliveries))
}

/// Ctrl-C, or somebody who ends the process.
struct Stop(Signal, Signal);

impl Stop {
    fn new() -> Result<Self, WireError> {
        let of = |kind| signal(kind).map_err(|error| WireError::internal(format!("no signals: {error}")));
        Ok(Self(of(SignalKind::interrupt())?, of(SignalKind::terminate())?))
    }

    async fn asked(&mut self) {
        let Self(interrupt, terminate) = self;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    }
}

impl Work<'_> {
    /// Shows one delivery and hands its copy on; true once that is done.
    async fn handle(&mut self, row: &DeliveryRow) -> Result<bool, WireError> {
        let json = self.out.json;
        let bytes = match self.to.is_some() || self.print_body {
            true => Some(self.follow.bytes(row, self.session, &mut |word| said(&word, json)).await?),
            false => None,
        };
        let shown = bytes.as_ref().and_then(|bytes| bytes.as_ref().ok()).filter(|_| self.print_body).cloned();
        let sent = match (&self.to, bytes) {
            (Some((place, sender)), Some(bytes)) => Some(match bytes.and_then(|raw| Copy::of(place, row, raw)) {
                Ok(copy) => sender.send(copy).await,
                Err(why) => Sent { answer: Err(why), took: Duration::ZERO, attempts: 0 },
            }),
            (None, Some(Err(why))) => {
                note(&format!("{}: {why}", row.id));
                None
            }
            _ => None,
        };
        self.sum.deliveries += 1;
        match &sent {
            Some(sent) if sent.taken() => self.sum.taken += 1,
            Some(Sent { answer: Ok(_), .. }) => self.sum.refused_here += 1,
            Some(_) => self.sum.not_sent += 1,
            None => {}
        }
        self.show(row, sent.as_ref(), shown.as_ref())?;
        Ok(true)
    }

    fn show(&mut self, row: &DeliveryRow, sent: Option<&Sent>, raw: Option<&RawDelivery>) -> Result<(), WireError> {
        if self.out.json {
            let copy = sent.map(|sent| CopyLine {
                status: sent.answer.as_ref().ok().map(|answer| answer.status),
                error: sent.answer.as_ref().err().map(String::as_str),
                took_ms: u64::try_from(sent.took.as_millis()).unwrap_or(u64::MAX),
                attempts: sent.attempts,
            });
            return self.out.value(&Line::Delivery { delivery: row, copy, request: raw });
        }
        let at = times::full(row.at_ms, &self.out.zone);
        self.out.line(&line(&at, row, sent))?;
        let Some(raw) = raw.filter(|raw| !raw.body.is_empty()) else { return Ok(()) };
        for line in printed(&raw.body) {
            self.out.line(&line)?;
        }
        Ok(())
    }
}

/// One delivery as people read it.
fn line(at: &str, row: &DeliveryRow, sent: Option<&Sent>) -> String {
    let mut text = format!("{at}  {}  {}  {}", place(row), row.verdict.word(), times::bytes(row.bytes));
    if !row.accepted() {
        text.push_str(&format!("  ({})", row.why));
    }
    if let Some(sent) = sent {
        let took = times::took(i64::try_from(sent.took.as_millis()).unwrap_or(i64::MAX));
        let again = if sent.attempts > 1 { format!(", attempt {}", sent.attempts) } else { String::new() };
        text.push_str(&match &sent.answer {
            Ok(answer) => format!("  → {} in {took}{again}", answer.status),
            Err(why) if sent.attempts == 0 => format!("  → no copy: {why}"),
            Err(why) => format!("  → failed: {why} ({took}{again})"),
        });
        if let Ok(answer) = &sent.answer
            && !answer.said.is_empty()
        {
            text.push_str(&format!(": {}", answer.said));
        }
    }
    display(&text)
}

fn printed(body: &[u8]) -> Vec<String> {
    let cut = body.len() > PRINTED;
    let text = match Value::from_json(body) {
        Ok(value) if !cut => value.to_json_pretty(),
        _ => String::from_utf8_lossy(body.get(..PRINTED.min(body.len())).unwrap_or_default()).into_owned(),
    };
    let mut lines: Vec<String> = display_lines(&text).trim_end().lines().map(|line| format!("  {line}")).collect();
    if cut {
        lines.push(format!("  … {} in all …", times::bytes(u64::try_from(body.len()).unwrap_or(u64::MAX))));
    }
    lines
}

fn begun(args: &Args, to: Option<String>, out: &mut Output) -> Result<(), WireError> {
    let Args { flows, .. } = args;
    if out.json {
        return out.value(&Line::Listening { to: to.as_deref(), flows });
    }
    let of = if flows.is_empty() { "every endpoint".to_owned() } else { flows.join(", ") };
    let copies = match &to {
        Some(to) => format!("; copies go to {to}, and the daemon's own runs go on as always"),
        None => String::new(),
    };
    out.line(&display(&format!("listening for deliveries to {of}{copies} (Ctrl-C ends)")))
}

/// On standard error, so that pipes stay clean; scripts read it in the stream.
fn said(word: &Word, json: bool) {
    let (line, text) = match word {
        Word::Lost(why) => (
            Line::Link { up: false, why: Some(why) },
            format!("the link is lost ({why}); it is tried again, and nothing is left out"),
        ),
        Word::Back => {
            (Line::Link { up: true, why: None }, "the link is back; it goes on behind the last delivery".to_owned())
        }
        Word::Caught(rows) => (
            Line::Gap { caught_up: *rows, too_many: false },
            format!("the daemon keeps no changes so old any more: {rows} deliveries were caught up from its list"),
        ),
        Word::TooMany => (
            Line::Gap { caught_up: 10_000, too_many: true },
            "there are more than 10,000 deliveries of before; only the newest of them come".to_owned(),
        ),
    };
    if json {
        note(&super::output::json_line(&line).unwrap_or_default());
    } else {
        note(&text);
    }
}

fn ended(sum: &Sum, copies: bool, out: &mut Output) -> Result<(), WireError> {
    if out.json {
        return out.value(&Line::Ended(sum));
    }
    let Sum { deliveries, taken, refused_here, not_sent } = sum;
    note(&match copies {
        true => format!(
            "{deliveries} deliveries: {taken} taken by the program here, {refused_here} refused by it, {not_sent} not handed on"
        ),
        false => format!("{deliveries} deliveries"),
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use aura_protocol::event::EventState;
    use aura_protocol::rpc::Verdict;

    use super::send::Answered;
    use super::*;

    #[test]
    fn a_line_says_what_came_and_what_became_of_its_copy() {
        let row = DeliveryRow {
            flow: "shop".to_owned(),
            trigger: "paid".to_owned(),
            verdict: Verdict::Proved,
            state: Some(EventState::Started),
            bytes: 1_234,
            ..DeliveryRow::default()
        };
        let sent = |answer, attempts| Sent { answer, took: Duration::from_millis(12), attempts };
        let check = |row: &DeliveryRow, sent: Option<Sent>, expected: &str| {
            assert_eq!(line("12:00", row, sent.as_ref()), expected);
        };
        let answered = |status, said: &str| Ok(Answered { status, said: said.to_owned() });
        check(&row, None, "12:00  shop/paid  proved  1.2 kB");
        check(&row, Some(sent(answered(200, ""), 1)), "12:00  shop/paid  proved  1.2 kB  → 200 in 12ms");
        check(
            &row,
            Some(sent(answered(500, "no\x1b[2J"), 3)),
            "12:00  shop/paid  proved  1.2 kB  → 500 in 12ms, attempt 3: no␛[2J",
        );
        check(
            &row,
            Some(sent(Err("nobody listens there".to_owned()), 1)),
            "12:00  shop/paid  proved  1.2 kB  → failed: nobody listens there (12ms)",
        );
        check(
            &row,
            Some(sent(Err("it holds a link".to_owned()), 0)),
            "12:00  shop/paid  proved  1.2 kB  → no copy: it holds a link",
        );
        let refused = DeliveryRow {
            path: "/hooks/x".to_owned(),
            verdict: Verdict::NoEndpoint,
            why: "no endpoint has this address".to_owned(),
            ..DeliveryRow::default()
        };
        check(&refused, None, "12:00  /hooks/x  no endpoint  0 B  (no endpoint has this address)");
    }

    #[test]
    fn a_printed_body_moves_no_cursor_and_has_an_end() {
        assert_eq!(printed(b"{\"a\":1}"), ["  {", "    \"a\": 1", "  }"]);
        assert_eq!(printed(b"x\x1b[2J\n\xff"), ["  x␛[2J", "  \u{fffd}"]);
        let long = printed(&vec![b'x'; PRINTED + 1]);
        assert_eq!((long.len(), long[1].as_str()), (2, "  … 65 kB in all …"));
    }
}
