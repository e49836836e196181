//! Replays: a run that has ended is read, the core decides what is copied, and a new run begins with it.
//!
//! Invariant: the other run is only read. The new one holds what it copied itself, so either may be deleted.

use std::sync::Arc;

use aura_protocol::event::{Delivery, TEST};
use aura_protocol::rpc::{Actor, ReplayPreview};
use aura_protocol::run::{Origin, Point, Record, RunHead, Transition};
use aura_protocol::{Code, RunId, TenantId, Value, WireError};

use super::core::plan::Plan;
use super::core::replay::past::Past;
use super::core::replay::{Impossible, Opening, Version, Wanted, opening};
use super::driver::{Driver, EngineError};
use super::intake::Creation;
use super::migrate::version_of;
use super::{Engine, Published, no_references};

/// What is to be run again.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The run.
    pub run: RunId,
    /// The version under which it runs again.
    pub flow: Published,
    /// From where.
    pub point: Point,
    /// Another input of the point.
    pub edit: Option<Value>,
    /// Calls keep their keys where their input is what it was.
    pub reuse_keys: bool,
}

/// A replay that can begin.
struct Prepared {
    opening: Opening,
    plan: Arc<Plan>,
    past: Past,
}

impl Engine {
    /// What a replay would do.
    ///
    /// # Errors
    /// The run goes on, has no such point, or cannot be read.
    pub fn replay_preview(&self, actor: &Actor, asked: &Asked) -> Result<ReplayPreview, WireError> {
        Ok(self.driver().prepare(actor.tenant, asked, &actor.name)?.opening.preview)
    }

    /// Begins a replay; a repeat of the actor's request id gives the same run.
    ///
    /// # Errors
    /// As [`Engine::replay_preview`], or no run may begin now.
    pub async fn replay(&self, actor: &Actor, asked: Asked) -> Result<(ReplayPreview, RunHead), WireError> {
        self.0.deps.room.wanted()?;
        if let Some(why) = self.0.deps.hold.why() {
            let error = WireError::new(Code::Conflict, format!("no run can start now: {}", why.text()));
            return Err(error.hint("`aura status` says when it can"));
        }
        if let Some(edit) = &asked.edit {
            no_references(edit)?;
        }
        let (tenant, request, by) = (actor.tenant, actor.request.bytes(), actor.name.clone());
        self.detached(|driver| async move { driver.replay(tenant, asked, request, by).await }).await
    }
}

impl Driver {
    /// All transitions of a run.
    pub(super) fn journal(&self, tenant: TenantId, run: RunId) -> Result<Vec<Transition>, EngineError> {
        let mut journal = Vec::new();
        self.each_transition(tenant, run, &mut |transition| {
            journal.push(transition);
            Ok(())
        })?;
        Ok(journal)
    }

    fn prepare(&self, tenant: TenantId, asked: &Asked, by: &str) -> Result<Prepared, EngineError> {
        let journal = self.journal(tenant, asked.run)?;
        let started = journal.first().and_then(|first| {
            first.records.iter().find_map(|record| match record {
                Record::RunStarted(started) => Some(Arc::clone(started)),
                _ => None,
            })
        });
        let started = started.ok_or(EngineError::NotFound(asked.run))?;
        if started.event.method == TEST {
            let text = "this was a try of one step, not a run of its flow; do it again with `aura flow try`";
            return Err(Impossible::Point(text.to_owned()).into());
        }
        let version = version_of(&journal).unwrap_or(&started.version).to_owned();
        let old_plan = self.plan(tenant, started.flow_id, &version)?;
        let plan = self.plan(tenant, asked.flow.id, &asked.flow.version)?;
        let flow = |version: &str| {
            let missing = || EngineError::Plan(format!("version {version} of {} is not stored", started.flow));
            self.deps.flows.version(tenant, started.flow_id, version).ok_or_else(missing)
        };
        let (old_flow, new_flow) = (flow(&version)?, flow(&asked.flow.version)?);
        let past = Past::read(asked.run, &old_plan, &journal).ok_or(EngineError::NotFound(asked.run))?;
        let wanted = Wanted {
            point: asked.point.clone(),
            edit: asked.edit.clone(),
            reuse_keys: asked.reuse_keys,
            variables_differ: self.deps.flows.variables(tenant, &plan.variables) != started.vars,
            now_ms: self.deps.clock.now_ms(),
            by: by.to_owned(),
        };
        let old = Version { flow: &old_flow, plan: &old_plan };
        let opening = opening(&past, old, Version { flow: &new_flow, plan: &plan }, &wanted)?;
        Ok(Prepared { opening, plan, past })
    }

    async fn replay(
        self: &Arc<Self>,
        tenant: TenantId,
        asked: Asked,
        request: [u8; 16],
        by: String,
    ) -> Result<(ReplayPreview, RunHead), EngineError> {
        let permit = self.deps.store.reserve().await?;
        let Prepared { opening, plan, past } = self.prepare(tenant, &asked, &by)?;
        let moment = self.moment();
        let run = self.new_run(&moment);
        let mut delivery = past.started.event.clone();
        if let Some(blob) = delivery.blob.take() {
            delivery.body = self.blobs.bytes(tenant, blob)?.to_vec();
        }
        let mut input = self.blobs.loaded(tenant, &past.started.input)?;
        if let (Point::Start, Some(edit)) = (&asked.point, &asked.edit) {
            with_body(&mut delivery, edit);
            // Whoever was called, by hand or by a run, has it as `input` too.
            if delivery.is_by_hand() {
                input = edit.clone();
            }
        }
        let origin = Origin {
            run: asked.run,
            point: asked.point,
            by,
            before: past.started.origin.as_ref().map(|origin| origin.wanted_by()).unwrap_or_default(),
            edited: asked.edit.is_some(),
            input: opening.input,
            keys: opening.keys,
        };
        let creation = Creation {
            trigger: past.started.trigger.clone(),
            events: past.started.events.clone(),
            events_more: past.started.events_more,
            replay: Some((Box::new(origin), opening.records)),
            ..Creation::by_hand(tenant, asked.flow, plan, delivery, input, run)
        };
        let head = self.begin_once(creation, moment, permit, request).await?;
        Ok((opening.preview, head))
    }
}

/// The same delivery with another body.
fn with_body(delivery: &mut Delivery, body: &Value) {
    delivery.body = body.to_json().into_bytes();
    delivery.headers.retain(|(name, _)| {
        !["content-type", "content-length", "content-encoding"].iter().any(|other| name.eq_ignore_ascii_case(other))
    });
    delivery.headers.push(("content-type".to_owned(), "application/json".to_owned()));
}
