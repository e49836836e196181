//! `aura webhook create`: a new flow with one endpoint, published, ready to be given to a sender.
//!
//! Invariant: an existing flow is never touched; the flow that is made keeps what came and does nothing else, so it is
//! edited with `aura flow edit` like any other.

use aura_protocol::rpc::FlowFiles;
use aura_protocol::text::display;
use aura_protocol::{Code, WireError};

use super::super::Ended;
use super::super::output::{Output, note};
use crate::client::Session;

/// What `aura webhook create` takes.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Name of the new flow
    flow: String,
    /// How deliveries prove themselves: a scheme as in `stripe`, `bearer`, or `none`
    #[arg(long, value_name = "SCHEME", default_value = "standard_webhooks")]
    auth: String,
    /// Name of the secret (see `aura connection add NAME secret`)
    #[arg(long, value_name = "NAME", required_unless_present_any = ["open"])]
    secret: Option<String>,
    /// Without any proof: whoever knows the address may send
    #[arg(long, conflicts_with = "secret")]
    open: bool,
}

/// Makes it and shows its address.
///
/// # Errors
/// There is such a flow, the secret is not set, or what the daemon or the way to it says.
pub async fn create(args: Args, session: &mut Session, out: &mut Output) -> Ended {
    let flows = session.call(|rpc, context, call| async move { rpc.flow_list(context, call, ()).await }).await?;
    if flows.iter().any(|row| row.flow == args.flow) {
        let message = format!("there is a flow {} already", display(&args.flow));
        return Err(WireError::new(Code::Conflict, message).hint("add a trigger to it with `aura flow edit`"));
    }
    let secret = args.secret.unwrap_or_default();
    let plain = |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
    if !plain(&args.flow) || !plain(&secret) || !plain(&args.auth) {
        return Err(WireError::new(Code::Invalid, "names have letters, digits and `-_.` only"));
    }
    let auth = match (args.open, args.auth.as_str()) {
        (true, _) => "none".to_owned(),
        (false, "bearer") => format!("{{ bearer: {secret} }}"),
        (false, scheme) => format!("{{ scheme: {scheme}, secret: {secret} }}"),
    };
    let text = format!(
        "aura: 1\nflow: {}\ntriggers:\n  - id: in\n    on: webhook\n    auth: {auth}\nsteps:\n  - id: received\n    set: {{ body: \"{{{{ trigger.body }}}}\" }}\n",
        args.flow
    );
    let request = FlowFiles { texts: vec![text], publish: true };
    session
        .call(|rpc, context, call| {
            let request = request.clone();
            async move { rpc.flow_apply_all(context, call, request).await }
        })
        .await?;
    for hook in super::list(session).await?.iter().filter(|hook| hook.flow == args.flow) {
        if out.json {
            out.value(hook)?;
        } else {
            super::show(hook, &[], out)?;
        }
    }
    note(&format!("it keeps what comes; say what it does with `aura flow edit {}`", args.flow));
    Ok(0)
}
