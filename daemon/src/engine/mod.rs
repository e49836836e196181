//! The engine: durable execution. `core` is pure; this handle drives it.
//!
//! Others see [`Engine`] (accept, run, cancel, resolve), the [`Flows`] it asks for definitions, and
//! nothing of its insides.

pub mod core;
pub mod kinds;

use std::sync::Arc;

use aura_integrations::{http::Http, registry::Registry};
use aura_protocol::event::{Ack, Delivery};
use aura_protocol::flow::Flow;
use aura_protocol::rpc::Actor;
use aura_protocol::run::{Resolution, RunHead};
use aura_protocol::{FlowId, RunId, TenantId, Value, WireError};
use aura_storage::Store;
use aura_storage::rows::ConnectionRecord;

use crate::clock::Clock;

/// A flow that takes events.
#[derive(Clone, Debug)]
pub struct Published {
    /// Id.
    pub id: FlowId,
    /// Name.
    pub name: String,
    /// Version hash.
    pub version: String,
    /// Definition.
    pub flow: Arc<Flow>,
    /// Takes events.
    pub enabled: bool,
}

/// Where definitions and connections come from (the catalog).
pub trait Flows: Send + Sync + 'static {
    /// The published version of a flow now.
    fn published(&self, tenant: TenantId, flow: FlowId) -> Option<Published>;
    /// A certain version, for runs that started with it.
    fn version(&self, tenant: TenantId, flow: FlowId, version: &str) -> Option<Arc<Flow>>;
    /// A connection or named secret by name, secrets included: never shown, never logged.
    fn connection(&self, tenant: TenantId, name: &str) -> Option<Arc<ConnectionRecord>>;
}

/// What the engine is built from.
#[derive(Clone)]
pub struct Deps {
    /// The store.
    pub store: Store,
    /// Definitions.
    pub flows: Arc<dyn Flows>,
    /// Time.
    pub clock: Clock,
    /// Connectors.
    pub registry: Arc<Registry>,
    /// The one way out.
    pub http: Arc<Http>,
    /// Calls at work at the same time (default 64).
    pub calls_max: usize,
}

/// A delivery that passed the door: verified, bounded, not yet accepted.
#[derive(Clone, Debug)]
pub struct Intake {
    /// Tenant.
    pub tenant: TenantId,
    /// The flow.
    pub flow: Published,
    /// Position of the trigger in `flow.triggers`.
    pub trigger: usize,
    /// The delivery; its event id and time are set by the door.
    pub delivery: Delivery,
    /// The sender's own id of this delivery (scheme's header, or `Idempotency-Key`), for dedupe by default.
    pub delivery_id: Option<String>,
}

/// What the sender hears.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The acknowledgement; always its event id goes into the header `Aura-Event-Id`.
    pub ack: Ack,
    /// What the run's `respond` said, if the trigger replies so and it came in time.
    pub reply: Option<Response>,
}

/// The flow's own answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// Status.
    pub status: u16,
    /// Headers.
    pub headers: Vec<(String, String)>,
    /// Body.
    pub body: Vec<u8>,
}

/// Why an event was not accepted: nothing of it is stored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The writer's queue is full, or too many events are held: 503 or 429 with `Retry-After`.
    #[error("the daemon is busy; send again in {retry_after_s} s")]
    Busy {
        /// Seconds.
        retry_after_s: u32,
    },
    /// The flow does not take events now.
    #[error("the flow takes no events")]
    Disabled,
    /// The store failed; not promised.
    #[error("{0}")]
    Store(String),
}

/// The engine. Cheap to clone.
#[derive(Clone)]
pub struct Engine {
    deps: Deps,
}

impl Engine {
    /// Loads what lives, resumes it and starts the timer task.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn start(deps: Deps) -> anyhow::Result<Self> {
        Ok(Self { deps })
    }

    /// Accepts a delivery: returns after the commit (and after `respond`, if the trigger replies so).
    ///
    /// # Errors
    /// Busy, disabled or store failure: then nothing is promised.
    pub async fn accept(&self, _intake: Intake) -> Result<Answer, Refusal> {
        Err(Refusal::Disabled)
    }

    /// Starts a run by hand; a repeat of the actor's request id gives the same run.
    ///
    /// # Errors
    /// As the wire says.
    pub async fn run(&self, _actor: &Actor, _flow: Published, _input: Value) -> Result<RunHead, WireError> {
        Err(WireError::internal("not written yet"))
    }

    /// Asks a run to end.
    ///
    /// # Errors
    /// Not found, or already ended.
    pub async fn cancel(&self, _actor: &Actor, _run: RunId, _reason: &str) -> Result<RunHead, WireError> {
        Err(WireError::internal("not written yet"))
    }

    /// Decides about a step in doubt.
    ///
    /// # Errors
    /// Not found, or the step is not in doubt.
    pub async fn resolve(
        &self,
        _actor: &Actor,
        _run: RunId,
        _step: &str,
        _how: Resolution,
    ) -> Result<RunHead, WireError> {
        Err(WireError::internal("not written yet"))
    }

    /// A flow was published, enabled or disabled: held rows are held back or armed again.
    pub async fn flow_changed(&self, _tenant: TenantId, _flow: FlowId) {}

    /// Number of held event groups.
    #[must_use]
    pub fn held(&self) -> u64 {
        0
    }

    /// Unfinished runs by state.
    #[must_use]
    pub fn live(&self) -> Vec<(aura_protocol::run::RunState, u64)> {
        Vec::new()
    }

    /// Takes no more work and waits (at most `grace`) for calls at work; what is left resumes at the next start.
    pub async fn drain(&self, _grace: std::time::Duration) {
        let _ = &self.deps;
    }
}
