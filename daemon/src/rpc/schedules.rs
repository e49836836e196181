//! What people ask of schedules: their rows, a rest, a run now, past instants.
//!
//! Invariant: a change is carried on when its client goes, and what it says is stored.

use aura_protocol::rpc::{
    Actor, BackfillPlan, ScheduleBackfill, ScheduleInfo, SchedulePause, ScheduleQuery, ScheduleRef,
};
use aura_protocol::run::RunHead;
use aura_protocol::{TenantId, WireError};

use crate::rpc::{Service, Shared};

/// Most instants of one flow's schedules in an answer, and of all flows'.
const INSTANTS_MAX: (u32, u32) = (100, 10);

/// Schedules with their next instants.
///
/// # Errors
/// No such flow.
pub fn list(shared: &Shared, tenant: TenantId, query: &ScheduleQuery) -> Result<Vec<ScheduleInfo>, WireError> {
    let flow = query.flow.as_deref().map(|name| shared.catalog.flow_id(name)).transpose()?;
    let most = if flow.is_some() { INSTANTS_MAX.0 } else { INSTANTS_MAX.1 };
    let count = usize::try_from(query.count.min(most)).unwrap_or(0);
    Ok(shared.engine.schedules(tenant, flow, count))
}

/// Lets one rest, or go on.
///
/// # Errors
/// No such schedule, or not stored.
pub async fn pause(service: &Service, actor: Actor, request: SchedulePause) -> Result<ScheduleInfo, WireError> {
    let inner = service.clone();
    let change = async move {
        let flow = inner.catalog.flow_id(&request.schedule.flow)?;
        inner.engine.pause_schedule(&actor, request, flow).await
    };
    service.change(change).await
}

/// One run now.
///
/// # Errors
/// No such schedule, nothing may start now, or not stored.
pub async fn run(service: &Service, actor: Actor, request: ScheduleRef) -> Result<RunHead, WireError> {
    let inner = service.clone();
    let change = async move {
        let flow = inner.catalog.flow_id(&request.flow)?;
        inner.engine.run_schedule(&actor, request, flow).await
    };
    service.change(change).await
}

/// Runs of past instants.
///
/// # Errors
/// No such schedule, too many, another backfill of it goes on, it rests, or not stored.
pub async fn backfill(service: &Service, actor: Actor, request: ScheduleBackfill) -> Result<BackfillPlan, WireError> {
    let inner = service.clone();
    let change = async move {
        let flow = inner.catalog.flow_id(&request.schedule.flow)?;
        inner.engine.backfill_schedule(&actor, request, flow).await
    };
    service.change(change).await
}

/// Ends a backfill.
///
/// # Errors
/// No such schedule, or not stored.
pub async fn stop(service: &Service, actor: Actor, request: ScheduleRef) -> Result<ScheduleInfo, WireError> {
    let inner = service.clone();
    let change = async move {
        let flow = inner.catalog.flow_id(&request.flow)?;
        inner.engine.stop_backfill(&actor, request, flow).await
    };
    service.change(change).await
}
