//! `aura run cancel`: one run, or all that fit a filter after a plan was shown and agreed to.
//!
//! Invariant: with a filter nobody is asked to end before their number was said and somebody (or `--yes`) agreed.

use aura_protocol::rpc::{RunCancel, RunRef};
use aura_protocol::run::RunHead;
use aura_protocol::text::display;
use aura_protocol::{Code, WireError};
use clap::Args;

use super::many::{self, Rate};
use super::output::{Output, note};
use super::{Ended, run};
use crate::client::Session;

/// What is to end.
#[derive(Args, Debug)]
pub struct Which {
    /// Run id, or its start or end
    #[arg(value_name = "RUN", required_unless_present = "filter", conflicts_with = "filter")]
    run: Option<String>,
    /// Why, for the record
    #[arg(long, default_value = "cancelled by hand")]
    reason: String,
    /// All unfinished runs that fit: `flow=NAME`, `state=queued,waiting`, `until=2h` (created before), or `all`
    #[arg(long, value_name = "WORDS")]
    filter: Option<String>,
    #[command(flatten)]
    how: many::How,
}

/// Asks runs to end.
///
/// # Errors
/// What the daemon or the way to it says, or that nobody agreed.
pub async fn cancel(which: Which, session: &mut Session, out: &mut Output) -> Ended {
    let Which { run, reason, filter, how } = which;
    let Some(filter) = filter else {
        let head = ask(run.unwrap_or_default(), &reason, session).await?;
        return run::decided(&head, out);
    };
    let status = session.call(|rpc, context, call| async move { rpc.status(context, call, ()).await }).await?;
    let filter = many::read(&filter)?;
    let mut found: Vec<RunHead> = Vec::new();
    many::each(many::flow(&filter), filter.states(), session, |head| {
        // What begins from now on is not meant.
        if !head.state.is_final() && head.created_ms <= status.now_ms && many::fits(&filter, &head, status.now_ms) {
            found.push(head);
        }
    })
    .await?;
    let sentence = format!("{} runs would be asked to end", found.len());
    if how.plan || found.is_empty() {
        if out.json {
            let runs: Vec<String> = found.iter().map(|head| head.run.to_string()).collect();
            return out.value(&serde_json::json!({ "runs": runs })).map(|()| 0);
        }
        return out.line(&sentence).map(|()| 0);
    }
    how.agreed(&sentence, "ask them")?;
    let mut pace = how.rate.map(Rate::pace);
    let mut failures = 0_u32;
    for head in found {
        if let Some(pace) = &mut pace {
            pace.tick().await;
        }
        match ask(head.run.to_string(), &reason, session).await {
            Ok(head) => run::decided(&head, out).map(drop)?,
            Err(error) if matches!(error.code, Code::Unreachable | Code::Protocol | Code::Forbidden) => {
                return Err(error);
            }
            // Most often it has ended meanwhile.
            Err(error) => {
                failures += 1;
                note(&display(&format!("{} goes on or has ended: {}", head.run, error.message)));
            }
        }
    }
    Ok(if failures == 0 { 0 } else { Code::Conflict.exit_code() })
}

async fn ask(run: String, reason: &str, session: &mut Session) -> Result<RunHead, WireError> {
    let request = RunCancel { run: RunRef(run), reason: reason.to_owned() };
    session
        .call(|rpc, context, call| {
            let request = request.clone();
            async move { rpc.run_cancel(context, call, request).await }
        })
        .await
}
