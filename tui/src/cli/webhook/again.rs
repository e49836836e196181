//! `aura webhook replay` and `claim`: what came before, once more; what it would do first.
//!
//! Invariant: with a filter nothing is delivered before its number was said and somebody (or `--yes`) agreed.

use std::io::{IsTerminal, Write};
use std::os::unix::fs::OpenOptionsExt;

use aura_protocol::rpc::{DeliveryQuery, REDELIVER_MAX, Redelivered, WebhookRedeliver};
use aura_protocol::text::display;
use aura_protocol::{Code, Value, WireError};

use super::super::flow::edit::run_editor;
use super::super::output::{Output, note};
use super::super::{Ended, files};
use super::deliveries::{id, named, read};
use crate::client::Session;

/// What `aura webhook replay` takes.
#[derive(clap::Args, Debug)]
pub struct Replay {
    /// Ids of deliveries or of the events they became
    #[arg(value_name = "DELIVERY")]
    deliveries: Vec<String>,
    /// All that fit, oldest first: `since=1h`, `trigger.body.id=42`, `error~digest`, or `all`
    #[arg(long, value_name = "WORDS", conflicts_with = "deliveries", required_unless_present = "deliveries")]
    filter: Option<String>,
    /// With a filter: only to this flow, or FLOW/TRIGGER
    #[arg(long, requires = "filter")]
    flow: Option<String>,
    /// With a filter: only refused ones
    #[arg(long, requires = "filter")]
    failed: bool,
    /// With a filter: at most this many, the newest of them
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=i64::from(REDELIVER_MAX)))]
    limit: u32,
    /// To another endpoint than its own
    #[arg(long, value_name = "FLOW/TRIGGER")]
    to: Option<String>,
    /// Another body: text, @file, or - for standard input
    #[arg(long, value_name = "BODY", conflicts_with_all = ["filter", "edit"])]
    body: Option<String>,
    /// Edit the body in $VISUAL or $EDITOR first
    #[arg(long, conflicts_with = "filter")]
    edit: bool,
    /// Only say what would happen
    #[arg(long)]
    dry_run: bool,
    /// Also what cannot be proved (admins only)
    #[arg(long)]
    unproved: bool,
    /// Do not ask
    #[arg(long, short = 'y')]
    yes: bool,
}

/// What `aura webhook claim` takes.
#[derive(clap::Args, Debug)]
pub struct Claim {
    /// Id of the delivery
    delivery: String,
    /// The endpoint that takes it, as FLOW/TRIGGER
    #[arg(value_name = "FLOW/TRIGGER")]
    to: String,
    /// Only say what would happen
    #[arg(long)]
    dry_run: bool,
    /// Even if it does not prove itself to that endpoint (admins only)
    #[arg(long)]
    unproved: bool,
}

async fn ask(request: &WebhookRedeliver, session: &mut Session) -> Result<Redelivered, WireError> {
    let within = std::time::Duration::from_secs(120);
    session
        .call_for(within, |rpc, context, call| {
            let request = request.clone();
            async move { rpc.webhook_redeliver(context, call, request).await }
        })
        .await
}

/// Lets an endpoint take what came to no endpoint.
///
/// # Errors
/// What the daemon or the way to it says.
pub async fn claim(args: Claim, session: &mut Session, out: &mut Output) -> Ended {
    id(&args.delivery)?;
    let request = WebhookRedeliver {
        ids: vec![args.delivery],
        to: Some(args.to),
        claim: true,
        unproved: args.unproved,
        dry_run: args.dry_run,
        ..WebhookRedeliver::default()
    };
    let answer = ask(&request, session).await?;
    shown(&answer, args.dry_run, out)
}

/// Delivers again.
///
/// # Errors
/// What the daemon or the way to it says, or that nobody agreed.
pub async fn replay(args: Replay, session: &mut Session, out: &mut Output) -> Ended {
    for delivery in &args.deliveries {
        id(delivery)?;
    }
    let mut request = WebhookRedeliver {
        ids: args.deliveries,
        to: args.to,
        unproved: args.unproved,
        dry_run: args.dry_run,
        ..WebhookRedeliver::default()
    };
    if let Some(filter) = args.filter {
        let (flow, trigger) = args.flow.as_deref().map(named).map_or((None, None), |(flow, of)| (Some(flow), of));
        let filter = Some(filter).filter(|filter| filter != "all");
        let (failed, limit) = (args.failed, args.limit);
        request.query = Some(DeliveryQuery { flow, trigger, failed, filter, limit, ..DeliveryQuery::default() });
        return many(request, args.yes, session, out).await;
    }
    request.body = match (args.edit, args.body.as_deref()) {
        (true, _) => Some(edited(&request.ids, session).await?),
        (false, Some("-")) => Some(files::text("-")?.into_bytes()),
        (false, Some(text)) => match text.strip_prefix('@') {
            Some(path) => Some(files::text(path)?.into_bytes()),
            None => Some(text.as_bytes().to_vec()),
        },
        (false, None) => None,
    };
    let answer = ask(&request, session).await?;
    shown(&answer, request.dry_run, out)
}

async fn many(mut request: WebhookRedeliver, yes: bool, session: &mut Session, out: &mut Output) -> Ended {
    let dry = request.dry_run;
    request.dry_run = true;
    let plan = ask(&request, session).await?;
    if dry {
        return shown(&plan, true, out);
    }
    let going: Vec<String> = plan.rows.iter().filter(|row| !row.refused).map(|row| row.delivery.to_string()).collect();
    let refused = plan.rows.len() - going.len();
    note(&format!("{} deliveries fit, {} of them would be taken, {refused} refused", plan.rows.len(), going.len()));
    if let Some(next) = plan.next {
        note(&format!("there are older ones too, before {next}"));
    }
    if going.is_empty() {
        return shown(&plan, true, out);
    }
    if !yes {
        if !std::io::stdin().is_terminal() {
            return Err(WireError::new(Code::Invalid, "nobody can be asked, so nothing was delivered")
                .hint("look with --dry-run, then give --yes"));
        }
        let mut err = std::io::stderr();
        let _ = write!(err, "deliver {} again? [y/N] ", going.len()).and_then(|()| err.flush());
        let mut line = String::new();
        let _ = std::io::stdin().read_line(&mut line);
        if !line.trim().eq_ignore_ascii_case("y") {
            note("nothing was delivered");
            return Ok(0);
        }
    }
    // Exactly those that were counted, whatever came meanwhile.
    let request = WebhookRedeliver { ids: going, query: None, dry_run: false, ..request };
    let answer = ask(&request, session).await?;
    shown(&answer, false, out)
}

/// The body of a delivery after a person's editor.
async fn edited(ids: &[String], session: &mut Session) -> Result<Vec<u8>, WireError> {
    let [only] = ids else {
        return Err(WireError::new(Code::Invalid, "one delivery is edited at a time"));
    };
    let detail = read(only, session).await?;
    if detail.cut {
        return Err(WireError::new(Code::Invalid, "its body is not kept whole, so it cannot be edited")
            .hint("give one with --body @file"));
    }
    let pretty = Value::from_json(&detail.body).ok().map(|value| value.to_json_pretty());
    let before = match &pretty {
        Some(text) => text.clone().into_bytes(),
        None => detail.body.clone(),
    };
    let folder = std::env::var_os("XDG_RUNTIME_DIR").map_or_else(std::env::temp_dir, Into::into);
    let ending = if pretty.is_some() { "json" } else { "txt" };
    let path = folder.join(format!("aura-{}-{}.{ending}", detail.row.id.short(), std::process::id()));
    let failed = |error: std::io::Error| WireError::internal(format!("{} cannot be written: {error}", path.display()));
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).map_err(failed)?;
    file.write_all(&before).map_err(failed)?;
    drop(file);
    if let Err(error) = run_editor(&path) {
        // What somebody wrote is left to him; a payload that nobody changed is not left lying about.
        if std::fs::read(&path).is_ok_and(|text| text == before) {
            let _ = std::fs::remove_file(&path);
            let why = "the editor did not end well, and the body was not changed: nothing was delivered";
            return Err(
                WireError::new(Code::Invalid, why).hint("set VISUAL or EDITOR, or give a body with --body @file")
            );
        }
        return Err(error);
    }
    let text = files::text(&path.display().to_string())?.into_bytes();
    let _ = std::fs::remove_file(&path);
    let same = text == before || text.strip_suffix(b"\n") == Some(before.as_slice());
    if same {
        return Err(WireError::new(Code::Invalid, "the body was not changed, so nothing was delivered")
            .hint("without --edit it is delivered as it came"));
    }
    if pretty.is_some()
        && let Err(error) = Value::from_json(&text)
    {
        return Err(WireError::new(Code::Invalid, format!("the edited body is not JSON: {error}"))
            .hint("nothing was delivered"));
    }
    Ok(text)
}

fn shown(answer: &Redelivered, dry: bool, out: &mut Output) -> Ended {
    for row in &answer.rows {
        if out.json {
            out.value(row)?;
            continue;
        }
        let to = if row.flow.is_empty() { String::new() } else { format!(" to {}/{}", row.flow, row.trigger) };
        let ids = [row.event.map(|event| event.to_string()), row.run.map(|run| run.to_string())];
        let ids: Vec<String> = ids.into_iter().flatten().collect();
        let ids = if ids.is_empty() { String::new() } else { format!(" ({})", ids.join(", ")) };
        out.line(&display(&format!("{}{to}: {}{ids}", row.delivery, row.said)))?;
    }
    if dry && !out.json {
        note("nothing was delivered");
    }
    Ok(u8::from(answer.rows.iter().any(|row| row.refused)))
}
