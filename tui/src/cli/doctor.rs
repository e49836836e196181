//! `aura doctor`: the daemon's checks, worst first; exit code 1 if one fails.
//!
//! Invariant: a failed check is never hidden behind many good ones.

use std::time::Duration;

use aura_protocol::rpc::DoctorRequest;
use aura_protocol::text::display;

use super::Ended;
use super::output::Output;
use crate::client::Session;

/// A deep check reads everything stored.
const DEEP_MAX: Duration = Duration::from_secs(3600);

/// Prints the findings.
///
/// # Errors
/// What the daemon or the way to it says.
pub async fn doctor(session: &mut Session, out: &mut Output, deep: bool) -> Ended {
    let request = DoctorRequest { deep };
    let mut findings = session
        .call_for(DEEP_MAX, |rpc, context, call| async move { rpc.doctor(context, call, request).await })
        .await?;
    let rank = |level: &str| match level {
        "fail" => 0,
        "warn" => 1,
        _ => 2,
    };
    findings.sort_by_key(|finding| rank(&finding.level));
    for finding in &findings {
        if out.json {
            out.value(finding)?;
            continue;
        }
        out.line(&format!(
            "{:<4}  {}: {}",
            display(&finding.level),
            display(&finding.subject),
            display(&finding.message)
        ))?;
        if let Some(hint) = &finding.hint {
            out.line(&format!("      hint: {}", display(hint)))?;
        }
    }
    Ok(u8::from(findings.iter().any(|finding| finding.level == "fail")))
}
