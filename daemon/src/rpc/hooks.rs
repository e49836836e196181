//! Calls that change one endpoint: its secret, its address, whether it is open.
//!
//! Invariant: the secret comes in and never goes out; a rotation leaves what was before valid for its time, so that no
//! delivery on its way is lost.

use aura_protocol::rpc::{ADDRESS_KEEP_MAX_MS, Actor, ConnectionAdd, Rotated, Webhook, WebhookRotate, WebhookSwitch};
use aura_protocol::{Code, WireError};

use crate::catalog::connections::KEEP_MAX_MS;
use crate::rpc::Service;

fn wrong(message: impl Into<String>) -> WireError {
    WireError::new(Code::Invalid, message)
}

fn now(service: &Service, flow: &str, trigger: &str) -> Result<Webhook, WireError> {
    let state = service.catalog.now();
    let target = state.routes().of_flow(flow, Some(trigger))?;
    Ok(target.shown(&state, &service.reached.address(), service.clock.now_ms()))
}

/// Closes or opens an endpoint.
///
/// # Errors
/// No such endpoint, or not stored.
pub async fn switch(service: &Service, actor: Actor, request: WebhookSwitch) -> Result<Webhook, WireError> {
    let target = service.catalog.now().routes().of_flow(&request.flow, request.trigger.as_deref())?;
    let (catalog, trigger, flow) = (service.catalog.clone(), target.trigger_id.clone(), request.flow.clone());
    let change = async move { catalog.hook_close(&actor, &flow, &trigger, request.closed).await };
    service.change(change).await?;
    now(service, &request.flow, &target.trigger_id).map(|hook| Webhook { offered: None, ..hook })
}

/// Gives an endpoint another secret or another address.
///
/// # Errors
/// No such endpoint, one that proves nothing, a time that is too long, or not stored.
pub async fn rotate(service: &Service, actor: Actor, request: WebhookRotate) -> Result<Rotated, WireError> {
    let state = service.catalog.now();
    let target = state.routes().of_flow(&request.flow, request.trigger.as_deref())?;
    let now_ms = service.clock.now_ms();
    let keep_ms = i64::try_from(request.keep_ms).unwrap_or(i64::MAX);
    let trigger = target.trigger_id.clone();
    let Some(secret) = request.secret else {
        if request.keep_ms > ADDRESS_KEEP_MAX_MS {
            return Err(wrong("an address that was replaced goes on for 30 days at most"));
        }
        let until_ms = now_ms.saturating_add(keep_ms);
        let (catalog, flow, of) = (service.catalog.clone(), request.flow.clone(), trigger.clone());
        service.change(async move { catalog.hook_readdress(&actor, &flow, &of, until_ms).await }).await?;
        let webhook = now(service, &request.flow, &trigger)?;
        return Ok(Rotated { webhook, until_ms, place: String::new(), shared: Vec::new() });
    };
    let place = target
        .proof
        .secret()
        .ok_or_else(|| wrong(format!("{} proves nothing (`auth: none`), so it has no secret", target.name())))?;
    if request.keep_ms > KEEP_MAX_MS {
        return Err(wrong("a secret that was replaced goes on for 7 days at most"));
    }
    if secret.is_empty() {
        return Err(wrong("the new secret is empty"));
    }
    let record = state.connection(&place.connection).ok_or_else(|| {
        let missing = target.proof.missing_secret(&state).unwrap_or_default();
        WireError::new(Code::Conflict, format!("there is nothing to rotate: {missing}"))
            .hint("`aura connection add` sets the first secret")
    })?;
    let same = target.proof.secret();
    let shared = state.routes().all().filter(|other| other.proof.secret() == same && other.endpoint != target.endpoint);
    let mut shared: Vec<String> = shared.map(|other| other.name()).collect();
    shared.sort();
    let add = ConnectionAdd {
        name: record.name.clone(),
        connector: record.connector.clone(),
        fields: vec![(place.field.clone(), secret)],
        keep_ms: Some(request.keep_ms),
    };
    let inner = service.clone();
    let change = async move {
        let added = inner.catalog.connection_add(&actor, add).await?;
        inner.engine.connection_changed(actor.tenant, &added.name);
        Ok(())
    };
    service.change(change).await?;
    let place = format!("{}.{}", place.connection, place.field);
    Ok(Rotated {
        webhook: now(service, &request.flow, &trigger)?,
        until_ms: now_ms.saturating_add(keep_ms),
        place,
        shared,
    })
}
