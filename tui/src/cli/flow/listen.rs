//! `aura flow listen`: the next event of a draft's trigger, shown and kept as a sample; nothing starts.
//!
//! Invariant: what is printed and saved came over the daemon's sink, so it holds no secret; a listener that nobody
//! waits for any more ends by itself.

use std::time::Duration;

use aura_protocol::event::{Delivery, timestamp};
use aura_protocol::flow::Span;
use aura_protocol::rpc::{FlowListen, Heard, HeardEvent, HeardQuery, Listening};
use aura_protocol::text::{display, display_lines};
use aura_protocol::{Code, EventId, Map, Value, WireError};
use serde::Serialize;

use super::super::output::{Output, note};
use super::super::{Ended, files};
use crate::client::Session;

/// One question waits so long at the daemon.
const WAIT: Duration = Duration::from_secs(20);

/// `aura flow listen`.
#[derive(clap::Args, Debug)]
pub struct Listen {
    /// The name of a flow whose draft (else published version) has the trigger, or a file that need not be stored
    #[arg(value_name = "NAME|FILE")]
    flow: String,
    /// The trigger, if several take deliveries
    #[arg(long, value_name = "TRIGGER")]
    on: Option<String>,
    /// So long at most, up to 1h
    #[arg(long = "for", value_name = "TIME", default_value = "10m")]
    within: Span,
    /// End after so many events
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100))]
    count: u32,
    /// Save the event (the last one of several) as a sample for `aura flow simulate --trigger FILE`
    #[arg(long, value_name = "FILE")]
    save: Option<String>,
}

#[derive(Serialize)]
#[serde(tag = "what", rename_all = "snake_case")]
enum Line<'a> {
    Listening(&'a Listening),
    Event(&'a HeardEvent),
    Ended { events: u32, why: &'a str },
}

/// Listens and tells what comes.
///
/// # Errors
/// No such flow or trigger, or the daemon went away: what listened ends with it.
pub async fn listen(args: &Listen, session: &mut Session, out: &mut Output) -> Ended {
    let file = args.flow == "-" || std::path::Path::new(&args.flow).is_file() || args.flow.contains(['/', '.']);
    let text = if file { Some(files::text(&args.flow)?) } else { None };
    let flow = if file { String::new() } else { args.flow.clone() };
    let request = FlowListen { flow, text, trigger: args.on.clone(), for_ms: args.within.ms, count: args.count };
    let listening = session
        .call(|rpc, context, call| {
            let request = request.clone();
            async move { rpc.flow_listen(context, call, request).await }
        })
        .await?;
    begun(&listening, args.within, out)?;
    let (mut passed, mut after) = (0, 0);
    loop {
        let heard = heard(&listening.id, after, session).await?;
        after = heard.next;
        for event in &heard.events {
            passed += u32::from(event.refused.is_none() && !event.handshake);
            told(event, args, &listening, out)?;
        }
        let Some(why) = &heard.ended else { continue };
        if out.json {
            out.value(&Line::Ended { events: passed, why })?;
        } else if passed < args.count {
            note(&format!("no longer listening: {why}"));
        }
        return Ok(u8::from(passed == 0));
    }
}

async fn heard(id: &str, after: u64, session: &mut Session) -> Result<Heard, WireError> {
    let wait_ms = u64::try_from(WAIT.as_millis()).unwrap_or(20_000);
    let query = HeardQuery { id: id.to_owned(), after, wait_ms };
    session
        .call_for(WAIT + Duration::from_secs(10), |rpc, context, call| {
            let query = query.clone();
            async move { rpc.flow_heard(context, call, query).await }
        })
        .await
}

fn begun(listening: &Listening, within: Span, out: &mut Output) -> Result<(), WireError> {
    if out.json {
        return out.value(&Line::Listening(listening));
    }
    let Listening { flow, trigger, on, url, auth, secret_set, .. } = listening;
    out.line(&display(&format!("listening for test events of {flow}/{trigger} ({on}), for {within}")))?;
    out.line(&display(&format!("  {url}")))?;
    let proof = match (auth.as_str(), secret_set) {
        ("none", _) => "anybody who knows the address may send".to_owned(),
        (auth, true) => format!("deliveries are checked as in production: {auth}"),
        (auth, false) => format!("every delivery will be refused: the secret of {auth} is not set"),
    };
    out.line(&display(&format!("  {proof}; nothing starts")))
}

fn told(event: &HeardEvent, args: &Listen, listening: &Listening, out: &mut Output) -> Result<(), WireError> {
    let saved = event.refused.is_none() && !event.handshake;
    if let Some(path) = args.save.as_ref().filter(|_| saved) {
        let text = sample(event, &listening.trigger)?;
        std::fs::write(path, text)
            .map_err(|error| WireError::new(Code::Invalid, format!("{path} was not written: {error}")))?;
    }
    if out.json {
        return out.value(&Line::Event(event));
    }
    lines(event).iter().try_for_each(|line| out.line(line))?;
    match args.save.as_ref().filter(|_| saved) {
        Some(path) => {
            out.line(&display(&format!("wrote {path}; next: aura flow simulate {} --trigger {path}", args.flow)))
        }
        None => Ok(()),
    }
}

/// An event as people read it.
pub(crate) fn lines(event: &HeardEvent) -> Vec<String> {
    let mut out = vec![String::new()];
    let query = if event.query.is_empty() { String::new() } else { format!("?{}", event.query) };
    out.push(display(&format!("{}  {}{query}  {} bytes", timestamp(event.at_ms), event.method, event.bytes)));
    out.push(display(&match &event.refused {
        Some(why) => format!("REFUSED, as production would: {why}"),
        None => format!("production would {}", event.would),
    }));
    out.extend(event.headers.iter().map(|(name, value)| display(&format!("  {name}: {value}"))));
    let pretty =
        Value::from_json(event.body.as_bytes()).map_or_else(|_| event.body.clone(), |value| value.to_json_pretty());
    out.extend(display_lines(&pretty).lines().map(|line| format!("  {line}")));
    if event.cut {
        out.push("  … cut …".to_owned());
    }
    out
}

/// The event as a file for `--trigger`.
pub(crate) fn sample(event: &HeardEvent, trigger: &str) -> Result<String, WireError> {
    if event.cut {
        let message = format!("the event has {} bytes; only its beginning was shown, so it is not saved", event.bytes);
        return Err(WireError::new(Code::Invalid, message));
    }
    let text = |value: &str| Value::from(value);
    let headers: Map = event.headers.iter().map(|(name, value)| (name.clone(), text(value))).collect();
    let delivery = Delivery {
        event: EventId::from_bytes([0; 16]),
        trigger: trigger.to_owned(),
        method: event.method.clone(),
        query: event.query.clone(),
        headers: Vec::new(),
        body: Vec::new(),
        blob: None,
        came: None,
        received_ms: event.at_ms,
    };
    let query = delivery.to_trigger().get("query").cloned().unwrap_or_default();
    let body = Value::from_json(event.body.as_bytes()).unwrap_or_else(|_| text(&event.body));
    let whole = Value::object([
        ("aura_event", Value::from(1_i64)),
        ("at", Value::from(timestamp(event.at_ms))),
        ("id", text(trigger)),
        ("headers", Value::Map(headers)),
        ("query", query),
        ("body", body),
    ]);
    Ok(format!("{}\n", whole.to_json_pretty()))
}
