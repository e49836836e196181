//! `aura webhook`: the endpoints of triggers, how to try them, and signature cases without a daemon.
//!
//! Invariant: nothing here prints a secret; a `curl` line names the header that the caller has to fill.

mod again;
mod create;
mod delete;
pub mod deliveries;
mod doctor;
mod rotate;
mod test;

use aura_protocol::rpc::Webhook;
use aura_protocol::text::display;
use aura_protocol::{Code, WireError};
use clap::Subcommand;
use serde::Serialize;

use super::output::Output;
use super::{Ended, files};
use crate::client::Session;
use crate::times;

/// What can be asked.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// All endpoints in a table
    #[command(after_help = "Example: aura webhook list")]
    List,
    /// Make a new flow with one endpoint, and show its address
    #[command(
        after_help = "Example: aura webhook create orders --auth stripe --secret stripe-hook\n         aura webhook create try-it --open"
    )]
    Create(create::Args),
    /// Endpoints with their URL and a ready curl line
    #[command(after_help = "Example: aura webhook show recover-abandoned-cart")]
    Show {
        /// Only of this flow, or FLOW/TRIGGER
        flow: Option<String>,
    },
    /// Send a signed sample delivery through the door and print the answer
    #[command(
        after_help = "Example: aura webhook test order-paid/paid --body @order.json   # exit code 1 unless taken\n         aura webhook test order-paid/paid --provider-sample   # a signed curl line; sends nothing"
    )]
    Test(test::Args),
    /// What came to endpoints, accepted or refused, newest first
    #[command(after_help = "Examples:
  aura webhook deliveries order-paid --failed
  aura webhook deliveries --follow                    # as they come
  aura webhook deliveries --filter 'since=1h error~digest'")]
    Deliveries(deliveries::Args),
    /// One delivery as it came, what differed and what to do
    #[command(
        after_help = "Example: aura webhook delivery dlv_01KAM6Z7Q2M1GC2R8T4W9X5Y3Z\n         aura webhook delivery evt_01KAM6Z7Q2M1GC2R8T4W9X5Y3Z --raw > request.http"
    )]
    Delivery(deliveries::One),
    /// What came where nothing takes it, kept for a day: unknown addresses, disabled flows, closed endpoints
    #[command(after_help = "Example: aura webhook unclaimed")]
    Unclaimed(deliveries::Unclaimed),
    /// Let an endpoint take a delivery as if it had come there; it must prove itself
    #[command(after_help = "Example: aura webhook claim dlv_01KAM6Z7Q2M1GC2R8T4W9X5Y3Z order-paid/paid")]
    Claim(again::Claim),
    /// Deliver again: one, several, or all that fit
    #[command(after_help = "Examples:
  aura webhook replay dlv_01KAM6Z7Q2M1GC2R8T4W9X5Y3Z --dry-run
  aura webhook replay evt_01KAM6Z7Q2M1GC2R8T4W9X5Y3Z --edit             # another body
  aura webhook replay --filter 'since=2h' --failed --flow order-paid    # after the secret was mended")]
    Replay(again::Replay),
    /// Give an endpoint a new secret or a new address; the one before goes on for a while
    #[command(after_help = "Examples:
  aura webhook rotate order-paid/paid --secret @new.txt --keep 24h
  aura webhook rotate order-paid/paid --generate new-secret.txt
  aura webhook rotate order-paid/paid --address --keep 7d")]
    Rotate(rotate::Args),
    /// Open a closed endpoint
    #[command(after_help = "Example: aura webhook enable order-paid/paid")]
    Enable {
        /// The flow, or FLOW/TRIGGER
        flow: String,
    },
    /// Close one endpoint without a new version; what comes is kept for a claim
    #[command(after_help = "Example: aura webhook disable order-paid/paid")]
    Disable {
        /// The flow, or FLOW/TRIGGER
        flow: String,
    },
    /// Take an endpoint's trigger out of its flow, and publish the flow without it
    #[command(after_help = "Example: aura webhook delete order-paid/paid   # shows what changes, then asks")]
    Delete(delete::Args),
    /// Prove an endpoint's public address end to end: name, TLS, proxy, body, clock
    #[command(after_help = "Example: aura webhook doctor order-paid/paid   # exit code 1 if a check fails")]
    Doctor {
        /// The flow, or FLOW/TRIGGER
        flow: String,
    },
    /// Check signatures of a case file; needs no daemon
    #[command(after_help = "Example: aura webhook verify --cases signatures.json   # one JSON line per case")]
    Verify {
        /// File with cases
        #[arg(long, value_name = "FILE")]
        cases: String,
    },
}

/// Answers a webhook command.
///
/// # Errors
/// What the daemon or the way to it says; `Invalid` for a case file that is none.
pub async fn webhook(command: Command, session: &mut Session, out: &mut Output) -> Ended {
    match command {
        Command::List => {
            let hooks = list(session).await?;
            if out.json {
                for hook in &hooks {
                    out.value(hook)?;
                }
                return Ok(0);
            }
            let rows: Vec<Vec<String>> = hooks
                .into_iter()
                .map(|hook| {
                    let counts = format!("{}/{}", hook.accepted, hook.refused);
                    let state = state(&hook).to_owned();
                    vec![hook.flow, hook.trigger, hook.on, hook.auth, state, counts, hook.url]
                })
                .collect();
            out.table(&["FLOW", "TRIGGER", "ON", "AUTH", "STATE", "OK/REFUSED", "URL"], &rows)?;
            Ok(0)
        }
        Command::Show { flow } => {
            let hooks = list(session).await?;
            let wanted = |hook: &Webhook| {
                flow.as_ref()
                    .is_none_or(|name| *name == hook.flow || *name == format!("{}/{}", hook.flow, hook.trigger))
            };
            let hooks: Vec<Webhook> = hooks.into_iter().filter(wanted).collect();
            if hooks.is_empty() {
                return Err(WireError::not_found(none(flow.as_deref()))
                    .hint("see `aura webhook list`; a flow gets its endpoints when it is published"));
            }
            let relays = super::relay::addresses(session).await;
            for hook in &hooks {
                let relays: Vec<String> = relays.iter().filter_map(|base| at_relay(base, &hook.url)).collect();
                if out.json {
                    out.value(&Shown { hook, relays, curl: curl(hook) })?;
                } else {
                    show(hook, &relays, out)?;
                }
            }
            Ok(0)
        }
        Command::Test(args) => test::test(args, session, out).await,
        Command::Create(args) => create::create(args, session, out).await,
        Command::Deliveries(args) => deliveries::deliveries(args, session, out).await,
        Command::Delivery(args) => deliveries::one(args, session, out).await,
        Command::Unclaimed(args) => deliveries::unclaimed(args, session, out).await,
        Command::Claim(args) => again::claim(args, session, out).await,
        Command::Replay(args) => again::replay(args, session, out).await,
        Command::Rotate(args) => rotate::rotate(args, session, out).await,
        Command::Enable { flow } => rotate::switch(&flow, false, session, out).await,
        Command::Disable { flow } => rotate::switch(&flow, true, session, out).await,
        Command::Delete(args) => delete::delete(args, session, out).await,
        Command::Doctor { flow } => doctor::doctor(&flow, session, out).await,
        Command::Verify { cases } => verify(&cases, out),
    }
}

#[derive(Serialize)]
struct Shown<'a> {
    #[serde(flatten)]
    hook: &'a Webhook,
    /// Its address at each relay.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    relays: Vec<String>,
    curl: String,
}

/// The address of an endpoint at a relay: the same path, there.
fn at_relay(base: &str, url: &str) -> Option<String> {
    let path = url.rfind("/hooks/").and_then(|at| url.get(at..))?;
    Some(format!("{}{path}", base.trim_end_matches('/')))
}

/// `on`, `off` (the flow) or `closed` (the endpoint alone).
#[must_use]
pub fn state(hook: &Webhook) -> &'static str {
    match (hook.closed, hook.enabled) {
        (true, _) => "closed",
        (false, true) => "on",
        (false, false) => "off",
    }
}

async fn list(session: &mut Session) -> Result<Vec<Webhook>, WireError> {
    session.call(|rpc, context, call| async move { rpc.webhook_list(context, call, ()).await }).await
}

/// Why nothing is shown.
fn none(flow: Option<&str>) -> String {
    match flow {
        Some(flow) => format!("`{flow}` has no webhook trigger in a published version"),
        None => "no flow has a webhook trigger in a published version".to_owned(),
    }
}

fn show(hook: &Webhook, relays: &[String], out: &mut Output) -> Result<(), WireError> {
    let state = match state(hook) {
        "on" => "takes events",
        "closed" => "closed",
        _ => "disabled",
    };
    let secret = match (hook.auth.as_str(), hook.secret_set) {
        ("none", _) => "anybody who knows the URL may send",
        (_, true) => "secret set",
        (_, false) => "SECRET NOT SET: every delivery is refused",
    };
    let last = hook.last_event.map_or("none yet".to_owned(), |event| event.to_string());
    out.line(&display(&format!("{}/{}  {}  {state}", hook.flow, hook.trigger, hook.on)))?;
    out.line(&display(&format!("  url    {}", hook.url)))?;
    if let Some(alias) = &hook.alias {
        out.line(&display(&format!("  alias  {alias}")))?;
    }
    for relay in relays {
        out.line(&display(&format!("  relay  {relay}")))?;
    }
    out.line(&display(&format!("  auth   {} ({secret})", hook.auth)))?;
    if !hook.allow.is_empty() {
        out.line(&display(&format!("  allow  {}", hook.allow.join(", "))))?;
    }
    if let Some(until) = hook.secret_until_ms {
        out.line(&format!("  old    the secret before goes on until {}", times::full(until, &out.zone)))?;
    }
    if let Some(until) = hook.address_until_ms {
        out.line(&format!("  old    the address before goes on until {}", times::full(until, &out.zone)))?;
    }
    if let Some(token) = &hook.offered {
        let what = "its sender wants to sign with this token: show it to the sender, then add it as the secret";
        out.line(&display(&format!("  token  {token} ({what})")))?;
    }
    out.line(&display(&format!("  last   {last}")))?;
    out.line(&display(&format!("  try    {}", curl(hook))))
}

/// A line to paste into a shell; signed schemes say which header is missing.
fn curl(hook: &Webhook) -> String {
    let proof = match hook.auth.as_str() {
        "none" => "",
        "basic" => " -u \"$USER:$PASSWORD\"",
        "bearer" => " -H \"Authorization: Bearer $TOKEN\"",
        "shopify_webhook" => " -H \"X-Shopify-Hmac-Sha256: $SIGNATURE\"",
        "stripe" => " -H \"Stripe-Signature: $SIGNATURE\"",
        "github" => " -H \"X-Hub-Signature-256: $SIGNATURE\"",
        "slack" => " -H \"X-Slack-Request-Timestamp: $(date +%s)\" -H \"X-Slack-Signature: $SIGNATURE\"",
        "standard_webhooks" => {
            " -H \"webhook-id: $ID\" -H \"webhook-timestamp: $(date +%s)\" -H \"webhook-signature: $SIGNATURE\""
        }
        _ => " -H \"$HEADER: $SIGNATURE\"",
    };
    let url = hook.url.replace('\'', "%27");
    format!("curl -i -X POST '{url}' -H 'Content-Type: application/json'{proof} -d '{{}}'")
}

fn verify(path: &str, out: &mut Output) -> Ended {
    let text = files::text(path)?;
    let verdicts = aura_protocol::signature::cases::run(&text)
        .map_err(|error| WireError::new(Code::Invalid, format!("{path} is no file of signature cases: {error}")))?;
    for verdict in &verdicts {
        out.value(verdict)?;
    }
    Ok(0)
}

#[cfg(test)]
mod checks {
    use super::*;

    #[test]
    fn nothing_is_said_to_be_nothing() {
        assert_eq!(none(Some("hello")), "`hello` has no webhook trigger in a published version");
        assert_eq!(none(None), "no flow has a webhook trigger in a published version");
    }

    #[test]
    fn an_endpoint_has_the_same_path_at_a_relay() {
        let at = |base: &str| at_relay(base, "http://127.0.0.1:8470/aura/hooks/abc").unwrap();
        assert_eq!(at("https://relay.example.com/"), "https://relay.example.com/hooks/abc");
        assert_eq!(at("https://example.com/in"), "https://example.com/in/hooks/abc");
    }

    #[test]
    fn a_curl_line_cannot_leave_its_quotes() {
        let hook = Webhook {
            flow: "f".into(),
            trigger: "t".into(),
            on: "webhook".into(),
            url: "http://h/'; rm -rf /'".into(),
            alias: None,
            auth: "none".into(),
            secret_set: false,
            enabled: true,
            ..Webhook::default()
        };
        assert!(curl(&hook).starts_with("curl -i -X POST 'http://h/%27; rm -rf /%27' -H"), "{}", curl(&hook));
    }
}
