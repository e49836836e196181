//! `aura compact`: gives unused space back while the daemon runs; nothing starts meanwhile.

use std::time::Instant;

use aura_protocol::WireError;
use aura_protocol::rpc::Actor;
use aura_protocol::upkeep::{CompactDone, Ended, Job};

use super::{millis, start as start_piece};
use crate::hold::Hold;
use crate::rpc::Service;

/// Holds everything back until it is dropped.
struct Held(Hold);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.compacting(false);
    }
}

/// Starts a compaction.
///
/// # Errors
/// Other work is going on.
pub fn start(service: &Service, actor: &Actor) -> Result<Job, WireError> {
    start_piece(service, "compact", Some(actor.request), |shared, _| {
        let began = Instant::now();
        let held = Held(shared.engine.hold().clone());
        held.0.compacting(true);
        let (before, after) = shared.store.compact().map_err(|error| WireError::internal(error.to_string()))?;
        drop(held);
        Ok(Ended::Compact(CompactDone { before, after, took_ms: millis(began) }))
    })
}
