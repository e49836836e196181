//! `aura webhook rotate`, `enable` and `disable`: changes to one endpoint without a new version of its flow.
//!
//! Invariant: a secret is read from a file, standard input or the terminal without echo, and never printed; a made one is
//! written into a file of its owner only.

use std::io::{IsTerminal, Write};
use std::os::unix::fs::OpenOptionsExt;

use aura_protocol::flow::Span;
use aura_protocol::rpc::{Rotated, Webhook, WebhookRotate, WebhookSwitch};
use aura_protocol::text::display;
use aura_protocol::{Code, WireError};

use super::super::output::Output;
use super::super::{Ended, files, prompt};
use super::deliveries::named;
use crate::client::Session;
use crate::times;

/// What `aura webhook rotate` takes.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The flow, or FLOW/TRIGGER
    flow: String,
    /// The new secret: @file or - for standard input (default: it is asked for)
    #[arg(long, value_name = "@FILE", conflicts_with_all = ["generate", "address"])]
    secret: Option<String>,
    /// Make a new secret and write it into this new file (0600)
    #[arg(long, value_name = "FILE", conflicts_with = "address")]
    generate: Option<String>,
    /// A new address instead of a new secret
    #[arg(long)]
    address: bool,
    /// How long the one before goes on: a secret at most 7d, an address 30d
    #[arg(long, default_value = "24h", value_name = "TIME")]
    keep: String,
}

fn invalid(message: impl Into<String>) -> WireError {
    WireError::new(Code::Invalid, message)
}

/// Rotates.
///
/// # Errors
/// What the daemon or the way to it says; `Invalid` for a secret that cannot be read.
pub async fn rotate(args: Args, session: &mut Session, out: &mut Output) -> Ended {
    let keep: Span = args.keep.parse().map_err(|why: String| invalid(why))?;
    let (flow, trigger) = named(&args.flow);
    let secret = match (&args.secret, &args.generate, args.address) {
        (_, _, true) => None,
        (_, Some(path), _) => Some(made(path, &flow, trigger.as_deref(), session).await?),
        (Some(text), _, _) => Some(given(text)?),
        _ if std::io::stdin().is_terminal() => Some(prompt::ask("the new secret", true)?),
        _ => {
            return Err(invalid("say what is rotated")
                .hint("--secret @file, --secret - for standard input, --generate FILE, or --address"));
        }
    };
    let request = WebhookRotate { flow, trigger, secret, keep_ms: keep.ms };
    let rotated = session
        .call(|rpc, context, call| {
            let request = request.clone();
            async move { rpc.webhook_rotate(context, call, request).await }
        })
        .await?;
    if out.json {
        return out.value(&rotated).map(|()| 0);
    }
    show(&rotated, out).map(|()| 0)
}

fn show(rotated: &Rotated, out: &mut Output) -> Result<(), WireError> {
    let hook = &rotated.webhook;
    let until = times::full(rotated.until_ms, &out.zone);
    if rotated.place.is_empty() {
        out.line(&display(&format!("{}/{} has a new address: {}", hook.flow, hook.trigger, hook.url)))?;
        return out.line(&format!("the one before goes on until {until}"));
    }
    out.line(&display(&format!("{}/{} has a new secret in {}", hook.flow, hook.trigger, rotated.place)))?;
    out.line(&format!("the one before goes on until {until}; `aura webhook deliveries` says which one proved"))?;
    if !rotated.shared.is_empty() {
        out.line(&display(&format!("it is also the secret of {}", rotated.shared.join(", "))))?;
    }
    Ok(())
}

fn given(text: &str) -> Result<String, WireError> {
    let read = match text.strip_prefix('@') {
        Some(path) => files::text(path)?,
        None if text == "-" => files::text("-")?,
        // It would stand in the shell's history, and is not repeated here.
        None => return Err(invalid("give a secret as @file, or as - for standard input")),
    };
    Ok(read.strip_suffix('\n').map_or(read.as_str(), |text| text.strip_suffix('\r').unwrap_or(text)).to_owned())
}

/// A secret of the form that the endpoint's scheme wants, in a new file.
async fn made(path: &str, flow: &str, trigger: Option<&str>, session: &mut Session) -> Result<String, WireError> {
    use base64::Engine as _;
    let fits = |hook: &Webhook| hook.flow == flow && trigger.is_none_or(|wanted| wanted == hook.trigger);
    let hooks = super::list(session).await?;
    let auth = hooks.iter().find(|hook| fits(hook)).map(|hook| hook.auth.clone()).unwrap_or_default();
    let mut bytes = [0_u8; 32];
    getrandom::fill(&mut bytes).map_err(|error| WireError::internal(format!("no randomness: {error}")))?;
    let coded = base64::engine::general_purpose::STANDARD.encode(bytes);
    let secret = match auth.as_str() {
        "standard_webhooks" | "svix" => format!("whsec_{coded}"),
        "sendgrid" | "notion" => {
            return Err(invalid(format!("the secret of {auth} is made by the sender"))
                .hint("read it there and give it with --secret @file"));
        }
        _ => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
    };
    let failed = |error: std::io::Error| invalid(format!("{path} cannot be made: {error}"));
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(failed)?;
    writeln!(file, "{secret}").map_err(failed)?;
    Ok(secret)
}

/// Closes or opens one endpoint.
///
/// # Errors
/// What the daemon or the way to it says.
pub async fn switch(name: &str, closed: bool, session: &mut Session, out: &mut Output) -> Ended {
    let (flow, trigger) = named(name);
    let request = WebhookSwitch { flow, trigger, closed };
    let hook = session
        .call(|rpc, context, call| {
            let request = request.clone();
            async move { rpc.webhook_switch(context, call, request).await }
        })
        .await?;
    if out.json {
        return out.value(&hook).map(|()| 0);
    }
    let said = match (hook.closed, hook.enabled) {
        (true, _) => "is closed: deliveries hear 404 and are kept for a claim",
        (false, true) => "takes deliveries",
        (false, false) => "is open, but its flow is disabled",
    };
    out.line(&display(&format!("{}/{} {said}", hook.flow, hook.trigger))).map(|()| 0)
}
