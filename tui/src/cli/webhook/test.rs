//! `aura webhook test`: a sample delivery through the door, signed as its sender would, and what was answered.

use aura_protocol::rpc::{WebhookSampleQuery, WebhookTest, WebhookTested};
use aura_protocol::text::{display, display_lines};
use aura_protocol::{Value, WireError};

use super::super::output::{Output, note};
use super::super::{Ended, files};
use crate::client::Session;

/// What `aura webhook test` takes.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The flow, or FLOW/TRIGGER
    flow: String,
    /// Body: text, @file, or - for standard input (default: a small JSON sample)
    #[arg(long, value_name = "BODY")]
    body: Option<String>,
    /// Content type of the body
    #[arg(long, value_name = "TYPE", default_value = "application/json")]
    content_type: String,
    /// Send nothing: print what the provider really sends, signed now, as a curl line
    #[arg(long, conflicts_with = "body")]
    provider_sample: bool,
}

/// Sends it. Exit code 1 unless the door took it.
///
/// # Errors
/// What the daemon or the way to it says.
pub async fn test(args: Args, session: &mut Session, out: &mut Output) -> Ended {
    let (flow, trigger) = match args.flow.split_once('/') {
        Some((flow, trigger)) => (flow.to_owned(), Some(trigger.to_owned())),
        None => (args.flow.clone(), None),
    };
    if args.provider_sample {
        return provider_sample(WebhookSampleQuery { flow, trigger }, session, out).await;
    }
    let body = match args.body.as_deref() {
        None => None,
        Some("-") => Some(files::text("-")?.into_bytes()),
        Some(text) => match text.strip_prefix('@') {
            Some(path) => Some(files::text(path)?.into_bytes()),
            None => Some(text.as_bytes().to_vec()),
        },
    };
    let request = WebhookTest { flow, trigger, body, content_type: args.content_type };
    let within = std::time::Duration::from_secs(45);
    let tested = session
        .call_for(within, |rpc, context, call| {
            let request = request.clone();
            async move { rpc.webhook_test(context, call, request).await }
        })
        .await?;
    if out.json {
        out.value(&tested)?;
    } else {
        show(&tested, out)?;
    }
    Ok(u8::from(!(200..300).contains(&tested.status)))
}

async fn provider_sample(query: WebhookSampleQuery, session: &mut Session, out: &mut Output) -> Ended {
    let sample = session
        .call(|rpc, context, call| {
            let query = query.clone();
            async move { rpc.webhook_sample(context, call, query).await }
        })
        .await?;
    if out.json {
        return out.value(&sample).map(|()| 0);
    }
    out.line(&display(&sample.curl))?;
    if let Some(seconds) = sample.valid_s {
        note(&format!("its signature is taken for {seconds} s"));
    }
    Ok(0)
}

fn show(tested: &WebhookTested, out: &mut Output) -> Result<(), WireError> {
    out.line(&display(&format!("POST {}  {} bytes", tested.url, tested.sent_bytes)))?;
    for (name, value) in &tested.sent {
        out.line(&display(&format!("> {name}: {value}")))?;
    }
    out.line("")?;
    out.line(&format!("{}  after {} ms", tested.status, tested.took_ms))?;
    for (name, value) in &tested.headers {
        out.line(&display(&format!("< {name}: {value}")))?;
    }
    let body =
        Value::from_json(tested.body.as_bytes()).map_or_else(|_| tested.body.clone(), |value| value.to_json_pretty());
    if !body.is_empty() {
        out.line("")?;
        out.line(display_lines(&body).trim_end())?;
    }
    let promised = tested.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("aura-event-id"));
    let verdict = match (promised, tested.status) {
        (true, _) => "accepted: it is stored and does what a real delivery does",
        (false, 200..300) => "answered without an event: a handshake, or a delivery that no flow takes",
        (false, 401 | 403) => "refused: the proof is wrong, see the daemon's log",
        (false, 404) => "not found: the flow is disabled or not published",
        (false, _) => "not promised: nothing was stored",
    };
    out.line("")?;
    out.line(verdict)
}
