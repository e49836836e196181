//! The check of every start: once, as soon as the daemon serves, beside its work and never before it.
//!
//! What is found is in the log, in `aura status` and in `aura doctor`. Nothing is repaired; a run whose journal has a
//! gap is not made to go on by anybody (the engine refuses to read it).

use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};

use aura_protocol::rpc::StartChecked;
use aura_storage::{ArchiveError, Progress, StartCheck};

use crate::rpc::Service;

/// Findings that the log names.
const NAMED: usize = 20;

/// What the check of this start found, once it has ended.
#[derive(Debug, Default)]
pub struct AtStart(OnceLock<Result<StartChecked, String>>);

impl AtStart {
    /// For `aura status`; none while it goes on or if it could not be made.
    #[must_use]
    pub fn seen(&self) -> Option<StartChecked> {
        self.0.get()?.clone().ok()
    }

    /// Why it could not be made.
    #[must_use]
    pub fn failed(&self) -> Option<&str> {
        self.0.get()?.as_ref().err().map(String::as_str)
    }
}

/// Looks, and says what was found.
pub async fn check(service: Service) {
    let progress = Arc::new(Progress::default());
    let (store, shared) = (service.store.clone(), Arc::clone(&progress));
    let looking = tokio::task::spawn_blocking(move || store.check_start(&shared));
    tokio::pin!(looking);
    let looked = tokio::select! {
        looked = &mut looking => looked,
        () = service.tasks.closing.cancelled() => {
            progress.stop.store(true, Ordering::Relaxed);
            looking.await
        }
    };
    let outcome = match looked {
        Ok(Ok(seen)) => Ok(told(&seen)),
        Ok(Err(ArchiveError::Stopped)) => return,
        Ok(Err(error)) => Err(error.to_string()),
        Err(error) => Err(format!("it ended by a fault of the daemon: {error}")),
    };
    if let Err(why) = &outcome {
        tracing::error!("what lives could not be checked at the start: {why}");
    }
    let _ = service.upkeep.at_start.0.set(outcome);
}

/// Says it in the log.
fn told(seen: &StartCheck) -> StartChecked {
    let damaged = seen.found.iter().filter(|found| found.damage).count();
    for found in seen.found.iter().filter(|found| found.damage).take(NAMED) {
        tracing::error!(record = found.subject, "the check at the start found damage: {}", found.message);
    }
    let checked = StartChecked {
        live: seen.live,
        recent: seen.recent,
        whole: seen.whole,
        damaged: u64::try_from(damaged).unwrap_or(u64::MAX),
    };
    if damaged > 0 {
        tracing::error!(damaged, "`aura doctor --deep` says how far it goes; restore a backup made before");
    } else {
        tracing::info!(live = seen.live, recent = seen.recent, "what lives was checked and is whole");
    }
    checked
}
