//! Deleting and restoring flows and connections: what a live run needs is not deleted, nor what a flow that takes events
//! names.

use aura_protocol::rpc::{Actor, Connection, FlowPause, FlowRow, Removed};
use aura_protocol::run::RunHead;
use aura_protocol::text::display;
use aura_protocol::{Code, FlowId, RunId, TenantId, WireError};
use aura_storage::rows::{LiveRow, run_key};
use aura_storage::{Key, Table};

use crate::catalog::bin::Named;
use crate::catalog::unreadable;
use crate::rpc::{Service, Shared};

/// Live rows read at a time.
const PAGE: usize = 1024;
/// Names in a sentence.
const SHOWN: usize = 3;

/// Holds the events of a flow, or starts them again.
///
/// # Errors
/// No such flow, or not stored.
pub async fn pause(service: &Service, actor: Actor, request: FlowPause) -> Result<FlowRow, WireError> {
    let inner = service.clone();
    let change = async move {
        let mut row = inner.catalog.pause(&actor, &request.flow, request.paused).await?;
        row.held = inner.engine.held_back(row.id);
        inner.engine.flow_changed(actor.tenant, row.id).await;
        Ok(row)
    };
    service.change(change).await
}

/// Puts a flow into the bin.
///
/// # Errors
/// No such flow; live runs of it, or live runs or other flows that call it; or not stored.
pub async fn flow_delete(service: &Service, actor: Actor, name: String) -> Result<Removed, WireError> {
    let asked = name.clone();
    service
        .read(move |shared| {
            let id = shared.catalog.flow_id(&asked)?;
            unneeded(shared, &asked, Some(id), Named::Flow(&asked))
        })
        .await?;
    let inner = service.clone();
    let change = async move {
        let (id, removed) = inner.catalog.flow_delete(&actor, &name).await?;
        inner.engine.flow_changed(actor.tenant, id).await;
        Ok(removed)
    };
    service.change(change).await
}

/// Takes a flow out of the bin.
///
/// # Errors
/// It is not there, its name is taken, or not stored.
pub async fn flow_restore(service: &Service, actor: Actor, name: String) -> Result<FlowRow, WireError> {
    let inner = service.clone();
    let change = async move {
        let row = inner.catalog.flow_restore(&actor, &name).await?;
        inner.engine.flow_changed(actor.tenant, row.id).await;
        Ok(row)
    };
    service.change(change).await
}

/// Puts a connection into the bin.
///
/// # Errors
/// No such connection; live runs or flows that take events use it; or not stored.
pub async fn connection_delete(service: &Service, actor: Actor, name: String) -> Result<Removed, WireError> {
    let asked = name.clone();
    service.read(move |shared| unneeded(shared, &asked, None, Named::Connection(&asked))).await?;
    let inner = service.clone();
    service.change(async move { inner.catalog.connection_delete(&actor, &name).await }).await
}

/// Takes a connection out of the bin.
///
/// # Errors
/// It is not there, its name is taken, or not stored.
pub async fn connection_restore(service: &Service, actor: Actor, name: String) -> Result<Connection, WireError> {
    let inner = service.clone();
    service.change(async move { inner.catalog.connection_restore(&actor, &name).await }).await
}

fn unneeded(shared: &Shared, name: &str, own: Option<FlowId>, what: Named<'_>) -> Result<(), WireError> {
    let refuse = |why: String, hint: &str| {
        Err(WireError::new(Code::Conflict, format!("{} is not deleted: {why}", display(name))).hint(hint))
    };
    let flows = shared.catalog.published_naming(own, what);
    if !flows.is_empty() {
        let more = if flows.len() > SHOWN { ", …" } else { "" };
        let shown: Vec<&str> = flows.iter().take(SHOWN).map(String::as_str).collect();
        let verb = if matches!(what, Named::Flow(_)) { "call" } else { "use" };
        return refuse(
            format!("flows that take events {verb} it: {}{more}", shown.join(", ")),
            "disable them, or publish versions that do without it",
        );
    }
    let versions = shared.catalog.versions_naming(what)?;
    let tenant = TenantId::DEFAULT;
    let (mut from, to) = (Key::tenant(tenant), Key::tenant(tenant).after_prefix());
    loop {
        let page: Vec<(Key, LiveRow)> =
            shared.store.scan(tenant, Table::Live, &from, &to, PAGE, false).map_err(|error| unreadable(&error))?;
        for (key, row) in &page {
            let Some(run) = key.id_at(16).map(RunId::from_bytes) else { continue };
            let needs = if Some(row.flow) == own {
                true
            } else if versions.iter().any(|(flow, _)| *flow == row.flow) {
                let head: Option<RunHead> =
                    shared.store.get(tenant, Table::Runs, &run_key(tenant, run)).map_err(|error| unreadable(&error))?;
                head.is_none_or(|head| versions.iter().any(|(flow, of)| *flow == row.flow && *of == head.version))
            } else {
                false
            };
            if needs {
                let why = format!("{run} has not ended and needs it");
                return refuse(why, "wait for its end, cancel it, or see `aura run list` for others");
            }
        }
        match page.last() {
            Some((key, _)) if page.len() == PAGE => from = key.next(),
            _ => return Ok(()),
        }
    }
}
