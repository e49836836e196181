//! Calls that change flows. Each runs to its end even if its client goes.

use aura_integrations::redact::HIDDEN;
use aura_protocol::rpc::{Actor, FlowApply, FlowEnable, FlowRow, FlowRun};
use aura_protocol::run::RunHead;
use aura_protocol::{Code, WireError};

use crate::rpc::eyes::Eyes;
use crate::rpc::{Service, Shared, runs};

/// Stores a draft.
///
/// # Errors
/// Refused with findings or because a secret stands in it, or not stored.
pub async fn apply(service: &Service, actor: Actor, request: FlowApply) -> Result<FlowRow, WireError> {
    refuse_secrets(service, &request.text)?;
    let catalog = service.catalog.clone();
    service.change(async move { catalog.apply(&actor, &request.text).await }).await
}

/// A flow names connections, never what they hold. A text that was shown without a secret must not come back so: what
/// stood there would be lost.
pub(crate) fn refuse_secrets(shared: &Shared, text: &str) -> Result<(), WireError> {
    let sink = shared.catalog.sink();
    if sink.finds(text.as_bytes()) {
        let message = "a secret of a connection stands in the text of the flow; nothing was stored";
        return Err(WireError::new(Code::Invalid, message).hint("name the connection in its place"));
    }
    if text.contains(HIDDEN) && sink.is_armed() && shared.catalog.texts_have(|stored| sink.finds(stored.as_bytes())) {
        let message =
            format!("`{HIDDEN}` stands in the text where a secret was taken out when it was shown; nothing was stored");
        return Err(WireError::new(Code::Invalid, message).hint("name the connection in its place"));
    }
    Ok(())
}

/// Publishes the draft and tells the engine.
///
/// # Errors
/// Refused, or not stored.
pub async fn publish(service: &Service, actor: Actor, flow: String) -> Result<FlowRow, WireError> {
    let inner = service.clone();
    let change = async move {
        let row = inner.catalog.publish(&actor, &flow).await?;
        inner.engine.flow_changed(actor.tenant, row.id).await;
        Ok(row)
    };
    service.change(change).await
}

/// Enables or disables and tells the engine, which holds held rows back or arms them again.
///
/// # Errors
/// No such flow, or not stored.
pub async fn enable(service: &Service, actor: Actor, request: FlowEnable) -> Result<FlowRow, WireError> {
    let inner = service.clone();
    let change = async move {
        let row = inner.catalog.enable(&actor, &request.flow, request.enabled).await?;
        inner.engine.flow_changed(actor.tenant, row.id).await;
        Ok(row)
    };
    service.change(change).await
}

/// Starts a run by hand.
///
/// # Errors
/// Not published, or what the engine says.
pub async fn run(service: &Service, actor: Actor, request: FlowRun) -> Result<RunHead, WireError> {
    let published = service.catalog.published_by_name(&request.flow)?;
    let (engine, eyes) = (service.engine.clone(), Eyes::of(&actor));
    let begun = service.change(async move { engine.run(&actor, published, request.input).await }).await;
    begun.map(|head| runs::shown(service, &eyes, head))
}
