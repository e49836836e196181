//! `aura du`: what takes room, by table and by flow.

use aura_protocol::WireError;
use aura_protocol::rpc::Actor;
use aura_protocol::upkeep::{Ended, FlowRoom, Job, StoreUse, TableRoom};

use super::{refused, start as start_piece};
use crate::rpc::Service;

/// Flows in one answer at most.
const FLOWS_MAX: usize = 1_000;

/// Starts to count.
///
/// # Errors
/// Other work is going on.
pub fn start(service: &Service, actor: &Actor) -> Result<Job, WireError> {
    start_piece(service, "du", Some(actor.request), |shared, progress| {
        let usage = shared.store.usage(progress).map_err(|error| refused(&error))?;
        let table = |of: aura_storage::TableUse| TableRoom { table: of.table, rows: of.rows, bytes: of.bytes };
        let flow = |of: aura_storage::FlowUse| FlowRoom {
            flow: of.flow,
            runs: of.runs,
            events: of.events,
            rows: of.rows,
            bytes: of.bytes,
        };
        Ok(Ended::Usage(StoreUse {
            file_bytes: usage.file_bytes,
            tables: usage.tables.into_iter().map(table).collect(),
            flows: usage.flows.into_iter().take(FLOWS_MAX).map(flow).collect(),
        }))
    })
}
