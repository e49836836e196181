//! Test runs: one step really, on an input that is known before it begins.
//!
//! Invariant: a test run is a run like any other (journal, limits of its connection, in doubt), but for its event: its
//! method is [`TEST`], so nobody is told of its failure and lists show it as `test`.

use aura_protocol::event::{Delivery, TEST};
use aura_protocol::rpc::Actor;
use aura_protocol::run::RunHead;
use aura_protocol::{Code, EventId, Value, WireError};

use super::intake::Creation;
use super::{Engine, Published, no_references};

/// What lists show as the trigger of a test run.
pub const TRIGGER: &str = "test";

impl Engine {
    /// Begins a test run; a repeat of the actor's request id gives the same run.
    ///
    /// # Errors
    /// No run can start now, or as the wire says.
    pub async fn try_out(&self, actor: &Actor, flow: Published, input: Value) -> Result<RunHead, WireError> {
        self.0.deps.room.wanted()?;
        if let Some(why) = self.0.deps.hold.why() {
            let error = WireError::new(Code::Conflict, format!("no run can start now: {}", why.text()));
            return Err(error.hint("`aura status` says when it can"));
        }
        no_references(&input)?;
        let (tenant, request, by) = (actor.tenant, actor.request.bytes(), actor.name.clone());
        let begin = |driver: std::sync::Arc<super::driver::Driver>| async move {
            let permit = driver.deps.store.reserve().await?;
            let moment = driver.moment();
            let plan = driver.plan(tenant, flow.id, &flow.version)?;
            let run = driver.new_run(&moment);
            let delivery = Delivery {
                event: EventId::from_bytes(driver.new_run(&moment).bytes()),
                trigger: TRIGGER.to_owned(),
                method: TEST.to_owned(),
                query: String::new(),
                headers: vec![("content-type".to_owned(), "application/json".to_owned()), ("by".to_owned(), by)],
                body: input.to_json().into_bytes(),
                blob: None,
                came: None,
                received_ms: moment.now_ms,
            };
            let creation = Creation::by_hand(tenant, flow, plan, delivery, input, run);
            driver.begin_once(creation, moment, permit, request).await
        };
        self.detached(begin).await
    }
}
