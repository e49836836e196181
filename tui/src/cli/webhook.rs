//! `aura webhook`: the endpoints of triggers, how to try them, and signature cases without a daemon.
//!
//! Invariant: nothing here prints a secret; a `curl` line names the header that the caller has to fill.

mod test;

use aura_protocol::rpc::Webhook;
use aura_protocol::text::display;
use aura_protocol::{Code, WireError};
use clap::Subcommand;
use serde::Serialize;

use super::output::Output;
use super::{Ended, files};
use crate::client::Session;

/// What can be asked.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// All endpoints in a table
    #[command(after_help = "Example: aura webhook list")]
    List,
    /// Endpoints with their URL and a ready curl line
    #[command(after_help = "Example: aura webhook show recover-abandoned-cart")]
    Show {
        /// Only of this flow, or FLOW/TRIGGER
        flow: Option<String>,
    },
    /// Send a signed sample delivery through the door and print the answer
    #[command(
        after_help = "Example: aura webhook test order-paid/paid --body @order.json   # exit code 1 unless taken"
    )]
    Test(test::Args),
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
                    let state = if hook.enabled { "on" } else { "off" };
                    vec![hook.flow, hook.trigger, hook.on, hook.auth, state.to_owned(), hook.url]
                })
                .collect();
            out.table(&["FLOW", "TRIGGER", "ON", "AUTH", "STATE", "URL"], &rows)?;
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
            for hook in &hooks {
                if out.json {
                    out.value(&Shown { hook, curl: curl(hook) })?;
                } else {
                    show(hook, out)?;
                }
            }
            Ok(0)
        }
        Command::Test(args) => test::test(args, session, out).await,
        Command::Verify { cases } => verify(&cases, out),
    }
}

#[derive(Serialize)]
struct Shown<'a> {
    #[serde(flatten)]
    hook: &'a Webhook,
    curl: String,
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

fn show(hook: &Webhook, out: &mut Output) -> Result<(), WireError> {
    let state = if hook.enabled { "takes events" } else { "disabled" };
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
    out.line(&display(&format!("  auth   {} ({secret})", hook.auth)))?;
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
            offered: None,
            last_event: None,
        };
        assert!(curl(&hook).starts_with("curl -i -X POST 'http://h/%27; rm -rf /%27' -H"), "{}", curl(&hook));
    }
}
