//! The list of connectors.

use aura_protocol::Value;
use aura_protocol::descriptor::{Action, Connector, TriggerKind};
use aura_protocol::run::{CallOutcome, ErrorClass, Reach, StepError};

use crate::ctx::CallCtx;

/// Every connector of this build.
#[derive(Debug, Default)]
pub struct Registry {
    connectors: Vec<Connector>,
}

impl Registry {
    /// The built-in connectors.
    #[must_use]
    pub fn builtin() -> Self {
        Self::default()
    }
    /// Their descriptors.
    #[must_use]
    pub fn connectors(&self) -> &[Connector] {
        &self.connectors
    }
    /// An action by `connector.action`.
    #[must_use]
    pub fn action(&self, _name: &str) -> Option<&Action> {
        None
    }
    /// A trigger by `connector.event`.
    #[must_use]
    pub fn trigger(&self, _name: &str) -> Option<&TriggerKind> {
        None
    }
    /// The field of a connection whose secret signs deliveries.
    #[must_use]
    pub fn signing_field(&self, _connector: &str) -> Option<&str> {
        None
    }
    /// Calls an action.
    pub async fn call(&self, _ctx: &CallCtx<'_>, action: &str, _input: &Value) -> CallOutcome {
        CallOutcome::Failed(StepError::new(ErrorClass::Internal, format!("{action} is not written yet")), Reach::Unsent)
    }
}
