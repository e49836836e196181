//! Calls about relays: what a daemon takes deliveries from, and what it is if it is a relay itself.
//!
//! Invariant: a token is given out once, when it is made, and never again; a relay does nothing with flows but show them.

use aura_protocol::relay::{RelayAdd, RelayInfo, RelayPause, RelayState, RelayToken};
use aura_protocol::rpc::{Operation, Role};
use aura_protocol::{Code, WireError};

use crate::rpc::{Service, Shared};

/// What a relay does beside answering questions.
const OF_A_RELAY: &[Operation] = &[
    Operation::RelayTokenMade,
    Operation::WebhookTest,
    Operation::WebhookSample,
    Operation::WebhookDoctor,
    Operation::ConfigShow,
    Operation::LogRecent,
    Operation::Backup,
    Operation::Compact,
    Operation::Resume,
    Operation::WebhookRaw,
];
/// What only a relay does, or nobody but it.
const DECISIONS: &[Operation] = &[Operation::RunVote, Operation::RunDelegate];

/// Whether this daemon does such a thing.
///
/// # Errors
/// It is a relay, and this is done at home; or the other way round.
pub fn does(shared: &Shared, operation: Operation) -> Result<(), WireError> {
    match (&shared.door.relay, operation) {
        (None, Operation::RelayTokenMade) => {
            Err(WireError::new(Code::Conflict, "this daemon is no relay, so it has no token of one")
                .hint("start one where providers can reach it: aurad relay"))
        }
        (Some(_), operation) => {
            let asks = operation.role() <= Role::Viewer && !DECISIONS.contains(&operation);
            if asks || OF_A_RELAY.contains(&operation) {
                return Ok(());
            }
            Err(WireError::new(
                Code::Conflict,
                "this daemon is a relay: it takes deliveries for another one and has nothing of its own",
            )
            .hint("do it at home, where the flows are; the relay hears of it by itself"))
        }
        (None, _) => Ok(()),
    }
}

/// All relays, and what this daemon is as one.
#[must_use]
pub fn list(shared: &Shared) -> RelayState {
    let flows = shared.catalog.now().flows().count();
    RelayState { serving: shared.door.relay.as_ref().map(|here| here.shown(flows)), relays: shared.relays.shown() }
}

fn one(shared: &Shared, name: &str) -> Result<RelayInfo, WireError> {
    let found = shared.relays.shown().into_iter().find(|relay| relay.name == name);
    found.ok_or_else(|| WireError::not_found("the relay was removed meanwhile"))
}

/// Adds or changes one.
///
/// # Errors
/// Not in form, too many, or not stored.
pub async fn add(service: &Service, add: RelayAdd) -> Result<RelayInfo, WireError> {
    let inner = service.clone();
    service
        .change(async move {
            let record = inner.catalog.relay_add(add).await?;
            one(&inner, &record.name)
        })
        .await
}

/// Removes one; gives it as it was.
///
/// # Errors
/// No such relay, or not stored.
pub async fn remove(service: &Service, name: String) -> Result<RelayInfo, WireError> {
    let inner = service.clone();
    service
        .change(async move {
            inner.catalog.now().relay(&name)?;
            let before = one(&inner, &name)?;
            inner.catalog.relay_remove(&name).await?;
            Ok(before)
        })
        .await
}

/// Pauses one, or lets it go on.
///
/// # Errors
/// No such relay, or not stored.
pub async fn pause(service: &Service, request: RelayPause) -> Result<RelayInfo, WireError> {
    let inner = service.clone();
    service
        .change(async move {
            let record = inner.catalog.relay_pause(&request.name, request.paused).await?;
            one(&inner, &record.name)
        })
        .await
}

/// A new token of this relay.
///
/// # Errors
/// It is none, or not stored.
pub async fn token(service: &Service) -> Result<RelayToken, WireError> {
    let inner = service.clone();
    service
        .change(async move {
            let here = inner.door.relay.as_ref().ok_or_else(|| WireError::internal("this daemon is no relay"))?;
            here.new_token().await
        })
        .await
}
