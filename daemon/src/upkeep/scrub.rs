//! The nightly scrub: opens every stored value at low priority and says what did not open.

use std::time::Duration;

use aura_protocol::upkeep::Ended;
use aura_storage::Progress;

use super::start as start_piece;
use crate::rpc::{Service, Shared};

/// It rests this many times as long as it works.
const PACE: u32 = 4;
/// How often it looks whether it is time.
const LOOK: Duration = Duration::from_secs(600);
/// Damaged records that the log names.
const NAMED: usize = 20;

/// Scrubs every so many hours, for ever; 0: never.
pub async fn nightly(service: Service, hours: u64) {
    if hours == 0 {
        return;
    }
    let every = i64::try_from(hours.saturating_mul(3_600_000)).unwrap_or(i64::MAX);
    loop {
        tokio::select! {
            () = service.tasks.closing.cancelled() => return,
            () = tokio::time::sleep(LOOK) => {}
        }
        let last = match service.store.scrubbed() {
            Ok(last) => last.map_or(0, |seen| seen.at_ms),
            Err(error) => {
                tracing::error!(%error, "when the last scrub was cannot be read");
                0
            }
        };
        if service.clock.now_ms().saturating_sub(last) >= every {
            // Another piece of work comes first; the next look is soon enough.
            let _ = start_piece(&service, "scrub", None, scrub);
        }
    }
}

fn scrub(shared: &Shared, progress: &Progress) -> Result<Ended, aura_protocol::WireError> {
    let (seen, found) =
        shared.store.scrub(shared.clock.now_ms(), PACE, progress).map_err(|error| super::refused(&error))?;
    for finding in found.iter().take(NAMED) {
        tracing::error!(record = finding.subject, "a stored value is damaged; it is never served");
    }
    let remembered = tokio::runtime::Handle::current().block_on(shared.store.remember_scrub(&seen));
    if let Err(error) = remembered {
        tracing::warn!(%error, "what the scrub found could not be remembered");
    }
    Ok(Ended::Scrub { rows: seen.rows, damaged: seen.damaged })
}
