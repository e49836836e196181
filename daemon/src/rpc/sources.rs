//! Calls about forms, polls and backfills.

use aura_protocol::rpc::{
    Actor, BackfillAsk, BackfillControl, BackfillInfo, BackfillPlan, BackfillQuery, PollChange, PollInfo, PollQuery,
};
use aura_protocol::{TenantId, WireError};

use crate::rpc::{Service, Shared};

/// Polls of published flows.
///
/// # Errors
/// No such flow.
pub fn polls(shared: &Shared, tenant: TenantId, query: &PollQuery) -> Result<Vec<PollInfo>, WireError> {
    let flow = query.flow.as_deref().map(|name| shared.catalog.flow_id(name)).transpose()?;
    Ok(shared.engine.polls(tenant, flow))
}

/// Looks now, moves a cursor, or begins anew.
///
/// # Errors
/// No such poll, or not stored.
pub async fn change_poll(service: &Service, actor: Actor, change: PollChange) -> Result<PollInfo, WireError> {
    let engine = service.engine.clone();
    service.change(async move { engine.change_poll(actor.tenant, change).await }).await
}

/// What a backfill would mean.
///
/// # Errors
/// No such flow, no source, or it cannot be read.
pub async fn plan(service: &Service, actor: Actor, ask: BackfillAsk) -> Result<BackfillPlan, WireError> {
    let flow = service.catalog.published_by_name(&ask.flow)?;
    service.engine.plan_backfill(actor.tenant, flow, ask).await
}

/// Begins a backfill.
///
/// # Errors
/// No such flow, no source, another one is not over, or not stored.
pub async fn begin(service: &Service, actor: Actor, ask: BackfillAsk) -> Result<BackfillInfo, WireError> {
    let flow = service.catalog.published_by_name(&ask.flow)?;
    let engine = service.engine.clone();
    service.change(async move { engine.start_backfill(&actor, flow, ask).await }).await
}

/// All backfills that are remembered.
///
/// # Errors
/// No such flow.
pub fn backfills(shared: &Shared, query: &BackfillQuery) -> Result<Vec<BackfillInfo>, WireError> {
    let flow = query.flow.as_deref().map(|name| shared.catalog.flow_id(name)).transpose()?;
    Ok(shared.engine.backfills(flow))
}

/// Holds a backfill, lets it go on, or ends it.
///
/// # Errors
/// No such backfill, it is over, or not stored.
pub async fn control(service: &Service, actor: Actor, control: BackfillControl) -> Result<BackfillInfo, WireError> {
    let engine = service.engine.clone();
    service.change(async move { engine.change_backfill(actor.tenant, control).await }).await
}
