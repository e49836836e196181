//! `aura webhook doctor`: an endpoint's public address proved end to end by its daemon.
//!
//! Invariant: one line a check; whatever is not good says what to do; exit code 1 if a check fails.

use aura_protocol::text::display;

use super::super::Ended;
use super::super::output::Output;
use crate::client::Session;

/// The daemon's probe takes this long at most, names and TLS included.
const WITHIN: std::time::Duration = std::time::Duration::from_secs(60);

/// Prints the findings.
///
/// # Errors
/// What the daemon or the way to it says.
pub async fn doctor(flow: &str, session: &mut Session, out: &mut Output) -> Ended {
    let findings = session
        .call_for(WITHIN, |rpc, context, call| {
            let flow = flow.to_owned();
            async move { rpc.webhook_doctor(context, call, flow).await }
        })
        .await?;
    for finding in &findings {
        if out.json {
            out.value(finding)?;
            continue;
        }
        out.line(&display(&format!("{:<4}  {}: {}", finding.level, finding.subject, finding.message)))?;
        if let Some(hint) = &finding.hint {
            out.line(&display(&format!("      do: {hint}")))?;
        }
    }
    Ok(u8::from(findings.iter().any(|finding| finding.level == "fail")))
}
