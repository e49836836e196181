//! Acceptance: from a verified delivery to a durable answer.
//!
//! What is decided about an event (duplicate, dropped, held, run, queued) is decided under the intake lock
//! and submitted under it, so order of decisions is order of commits; an event that no key ties to others
//! needs no lock. The sender hears nothing before the
//! commit. An owner's failing expression never loses an event: it becomes a failed run (rule 10).

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use aura_protocol::event::{Ack, Delivery, EventRow, EventState};
use aura_protocol::expr::Template;
use aura_protocol::flow::{OnExcess, Reply, Span, WhenFull};
use aura_protocol::run::{Caller, ErrorClass, Origin, Record, RunHead, RunStarted, StepError};
use aura_protocol::{BlobRef, EventId, RunId, TenantId, Value, version::SEMANTICS};
use aura_storage::rows::{HeldRow, InboxRow};
use aura_storage::{BLOB_MIN, DedupeEntry, Key, Permit, Receipt, Table, TailEntry, Txn};
use tokio::sync::oneshot;

use super::admission::Admitted;
use super::blobs::Kept;
use super::core::bugs::{Bug, has};
use super::core::plan::{Plan, PlanThrottle, PlanTrigger};
use super::core::scope::DoorScope;
use super::core::state::ms;
use super::core::{Input, Moment, RunState};
use super::driver::{Cell, Done, Driver, EngineError, Live, lock};
use super::gate::Gate;
use super::groups::HELD_MAX;
use super::held::event_key;
use super::limited::{Counted, with_key};
use super::limits::{Rate, us};
use super::{Answer, Intake, Published, Refusal, Response};

/// How long a dedupe key counts unless the trigger says otherwise (design §11).
pub(crate) const DEDUPE_WINDOW: Span = Span::from_secs(7 * 24 * 3600);

/// A run about to be created.
pub(crate) struct Creation {
    pub tenant: TenantId,
    pub flow: Published,
    pub plan: Arc<Plan>,
    pub trigger: String,
    pub delivery: Delivery,
    /// `trigger` in expressions, if it was read already.
    pub shown: Option<Value>,
    /// Its body, if it is large and was sealed already.
    pub sealed: Option<(BlobRef, Kept)>,
    pub events: Vec<EventId>,
    pub events_more: u64,
    pub refused: Option<StepError>,
    pub input: Value,
    /// Runs by hand queue; they never replace and are never dropped.
    pub by_hand: bool,
    /// A slot of its schedule, and what happens while an earlier run holds it; then the flow has no other.
    pub overlap: Option<([u8; 16], WhenFull)>,
    /// The step that called it.
    pub caller: Option<Caller>,
    /// The run that it goes on from, and what of it is copied.
    pub replay: Option<(Box<Origin>, Vec<Record>)>,
    pub run: Option<RunId>,
}

impl Creation {
    /// The run of events that were held.
    pub fn of_held(tenant: TenantId, flow: Published, plan: Arc<Plan>, row: &HeldRow) -> Self {
        Self {
            tenant,
            flow,
            plan,
            trigger: row.trigger.clone(),
            delivery: row.last.clone(),
            shown: None,
            sealed: None,
            events: row.events.clone(),
            events_more: row.events_more,
            refused: None,
            input: Value::Null,
            by_hand: false,
            overlap: None,
            caller: None,
            replay: None,
            run: None,
        }
    }

    /// The throttle of the trigger that begins it; none for what somebody asks for, and for instants of a schedule.
    pub fn throttle(&self) -> Option<&PlanThrottle> {
        let trigger = self.plan.triggers.iter().find(|trigger| trigger.id == self.trigger);
        trigger.filter(|_| !self.by_hand && self.overlap.is_none())?.throttle.as_ref()
    }

    /// A run that somebody or another run asks for: it queues, and is never dropped or replaced.
    pub fn by_hand(
        tenant: TenantId,
        flow: Published,
        plan: Arc<Plan>,
        delivery: Delivery,
        input: Value,
        run: RunId,
    ) -> Self {
        Self {
            tenant,
            flow,
            plan,
            trigger: delivery.trigger.clone(),
            events: vec![delivery.event],
            events_more: 0,
            delivery,
            shown: None,
            sealed: None,
            refused: None,
            input,
            by_hand: true,
            overlap: None,
            caller: None,
            replay: None,
            run: Some(run),
        }
    }
}

/// A created run, not yet submitted.
pub(crate) struct Created {
    pub ack: Ack,
    pub reason: String,
    run: Option<(RunId, Cell, Done)>,
    /// The holder that must make room, with the inbox row that says so.
    replaced: Option<(RunId, Key, InboxRow)>,
    /// Queued runs that ended before they began.
    overtaken: Vec<(RunId, Cell)>,
}

/// A created run whose transaction is with the writer.
pub(crate) struct Submitted {
    created: Created,
    receipt: Option<Receipt>,
}

impl Created {
    /// Hands the transaction over.
    pub fn submit(self, permit: Permit, txn: Txn) -> Submitted {
        self.submitted(permit.submit(txn))
    }

    /// Its transaction was handed over with another's.
    pub fn submitted(mut self, receipt: Receipt) -> Submitted {
        match &mut self.run {
            Some((_, _, done)) => {
                done.receipt = Some(receipt);
                Submitted { created: self, receipt: None }
            }
            None => Submitted { created: self, receipt: Some(receipt) },
        }
    }
}

/// With which others an event becomes one run.
pub(crate) struct Gather {
    pub hash: [u8; 16],
    pub how: How,
}

/// When that run starts, and with what.
pub(crate) enum How {
    /// When it was quiet for so long, or so long after the first event; with the last one.
    Quiet(Span, Option<Span>),
    /// With so many events, or so long after the first; with all of them. The value of their key is JSON.
    Batch { key: String, max: usize, within: Span },
}

/// The policies of a trigger, evaluated for one delivery.
#[derive(Default)]
struct Policies {
    dedupe: Option<([u8; 16], Span)>,
    wanted: bool,
    gather: Option<Gather>,
    /// Keys under which runs may wait for it.
    awaited: Vec<[u8; 16]>,
    refused: Option<StepError>,
}

/// What was decided about a delivery.
#[expect(clippy::large_enum_variant, reason = "one at a time, and the large one is the common one")]
enum Decided {
    Duplicate(DedupeEntry, Receipt),
    Dropped(Ack, Receipt),
    Held(Ack, Receipt),
    Run(Submitted),
}

impl Driver {
    /// Accepts a delivery whose place in the writer's queue is reserved.
    ///
    /// `place` is given back once the answer is durable: who waits for a reply of the flow takes none away.
    pub(crate) async fn accept(
        self: &Arc<Self>,
        intake: Intake,
        permit: Permit,
        place: Admitted,
    ) -> Result<Answer, Refusal> {
        let moment = self.moment();
        let failed = |error: EngineError| Refusal::Store(error.to_string());
        let plan = self.plan(intake.tenant, intake.flow.id, &intake.flow.version).map_err(failed)?;
        let Some(trigger) = plan.triggers.get(intake.trigger) else { return Err(Refusal::Disabled) };
        let policies = self.policies(&intake, trigger, &moment);
        let body = &intake.delivery.body;
        let sealed = (body.len() > BLOB_MIN).then(|| self.blobs.keep_bytes(intake.tenant, body.clone()));
        let sealed = sealed.transpose().map_err(|error| failed(error.into()))?;
        let (tenant, flow) = (intake.tenant, intake.flow.id);
        let reply = if intake.relayed.is_some() { Reply::Ack } else { trigger.reply };
        let (awaited, owner) = (policies.awaited.clone(), intake.delivery.event.bytes());
        let decided = self.decide(intake, &plan, trigger, (policies, sealed), permit, &moment)?;
        match decided {
            Decided::Duplicate(first, barrier) => {
                barrier.committed().await.map_err(|error| failed(error.into()))?;
                drop(place);
                let ack =
                    Ack { event_id: first.event, run_id: first.run, state: EventState::Duplicate, starts_at: None };
                let answer = match (reply, first.run) {
                    (Reply::Respond { wait }, Some(run)) => self.recorded_reply(tenant, run, wait).await,
                    _ => None,
                };
                Ok(Answer { ack, reply: answer })
            }
            Decided::Dropped(ack, receipt) | Decided::Held(ack, receipt) => {
                receipt.committed().await.map_err(|error| failed(error.into()))?;
                if ack.state == EventState::Held {
                    awaited.into_iter().for_each(|hash| self.spawn_meet(tenant, hash, owner));
                    // Whoever resumed its flow before it was counted found nothing to start.
                    if self.goes_on(tenant, flow).is_some() {
                        self.start_held_back(tenant, flow);
                    }
                }
                self.wake.notify_one();
                Ok(Answer { ack, reply: None })
            }
            Decided::Run(submitted) => {
                let ack = submitted.created.ack.clone();
                let waiting = match (reply, ack.run_id) {
                    (Reply::Respond { wait }, Some(run)) => Some((run, wait, self.await_reply(run))),
                    _ => None,
                };
                if has(Bug::PromiseBeforeCommit) {
                    let driver = Arc::clone(self);
                    self.tasks.spawn(async move { driver.settle(tenant, submitted).await.map(drop) });
                } else {
                    self.settle(tenant, submitted).await.map_err(failed)?;
                }
                drop(place);
                let reply = match waiting {
                    Some((run, wait, receiver)) => self.waited(run, wait, receiver).await,
                    None => None,
                };
                Ok(Answer { ack, reply })
            }
        }
    }

    fn policies(&self, intake: &Intake, trigger: &PlanTrigger, moment: &Moment) -> Policies {
        let scope = DoorScope::new(&intake.shown, moment);
        let (store, tenant, flow) = (&self.deps.store, intake.tenant, intake.flow.id.bytes());
        let hash =
            |label: &str, key: &str| store.index_hash(tenant, label, &[&flow, trigger.id.as_bytes(), key.as_bytes()]);
        let key = |template: &Template, what: &str| -> Result<String, Box<StepError>> {
            let refused = |message: String| Box::new(policy_error(trigger, what, &message));
            let value = template.eval(&scope).map_err(|error| refused(error.to_string()))?.value;
            if value.is_null() { Err(refused("its key is null".to_owned())) } else { Ok(value.to_canonical_json()) }
        };
        let mut policies = Policies { wanted: true, ..Policies::default() };
        // By default, and when the owner's key fails, the sender's own id tells repeats.
        policies.dedupe = intake.delivery_id.as_deref().map(|id| (hash("dedupe", id), DEDUPE_WINDOW));
        if let Some((template, window)) = trigger.dedupe.as_ref().filter(|_| !intake.anew) {
            match key(template, "dedupe") {
                Ok(key) => policies.dedupe = Some((hash("dedupe", &key), *window)),
                Err(error) => policies.refused = Some(*error),
            }
        }
        if let Some(filter) = &trigger.filter {
            match filter.eval_bool(&scope) {
                Ok((wanted, _)) => policies.wanted = wanted,
                Err(error) => policies.refused = Some(policy_error(trigger, "filter", &error.to_string())),
            }
        }
        if let Some((template, quiet, max)) = &trigger.debounce {
            match key(template, "debounce") {
                Ok(key) => {
                    policies.gather = Some(Gather { hash: hash("debounce", &key), how: How::Quiet(*quiet, *max) });
                }
                Err(error) => policies.refused = Some(*error),
            }
        }
        if let Some(batch) = &trigger.batch {
            match batch.key.as_ref().map_or(Ok("null".to_owned()), |template| key(template, "batch")) {
                Ok(key) => {
                    let how = How::Batch { key: key.clone(), max: batch.max, within: batch.within };
                    policies.gather = Some(Gather { hash: hash("batch", &key), how });
                }
                Err(error) => policies.refused = Some(*error),
            }
        }
        for template in &trigger.awaited {
            match key(template, "awaited event") {
                Ok(key) => policies.awaited.push(self.wait_hash(tenant, flow, &trigger.id, &key)),
                Err(error) => policies.refused = Some(*error),
            }
        }
        policies
    }

    /// Decides and submits, under the intake lock.
    fn decide(
        &self,
        intake: Intake,
        plan: &Arc<Plan>,
        trigger: &PlanTrigger,
        (policies, sealed): (Policies, Option<(BlobRef, Kept)>),
        permit: Permit,
        moment: &Moment,
    ) -> Result<Decided, Refusal> {
        let failed = |error: EngineError| Refusal::Store(error.to_string());
        let (store, tenant) = (&self.deps.store, intake.tenant);
        let (now, event) = (moment.now_ms, intake.delivery.event);
        // Without a key to remember or a group to join nothing here depends on what others decide.
        let alone = policies.dedupe.is_none() && policies.gather.is_none() && !self.holds_back(tenant, &intake.flow);
        let mut rows = (!alone).then(|| lock(&self.held));
        let mut txn = Txn::new();
        if let Some(note) = intake.note {
            txn.delete(Table::Inbox, note);
        }
        if let Some((key, taken)) = intake.relayed {
            txn.expect_absent(Table::RelayTaken, key.clone());
            store.put(&mut txn, tenant, Table::RelayTaken, key, &taken).map_err(|error| failed(error.into()))?;
        }
        if let Some((hash, _)) = policies.dedupe
            && let Some(first) = store.dedupe_find(tenant, &hash, now)
        {
            self.repeats.note(&intake.flow.name, &intake.delivery, first.event, first.run);
            // The first one may still be on its way: an empty transaction behind it is the barrier.
            return Ok(Decided::Duplicate(first, permit.submit(txn)));
        }
        let remember = |run: Option<RunId>, txn: &mut Txn| {
            if let Some((hash, window)) = policies.dedupe {
                let expires_ms = now.saturating_add(ms(window.ms));
                let entry = DedupeEntry { tenant, hash, event, run, expires_ms };
                store.dedupe_remember(entry);
                txn.dedupe.push(entry);
            }
        };
        if policies.refused.is_none() && !policies.wanted {
            let reason = "its trigger's filter is false".to_owned();
            self.drop_event(tenant, &intake.flow.name, &intake.delivery, reason, &mut txn).map_err(failed)?;
            remember(None, &mut txn);
            let ack = Ack { event_id: event, run_id: None, state: EventState::Dropped, starts_at: None };
            return Ok(Decided::Dropped(ack, permit.submit(txn)));
        }
        if !policies.awaited.is_empty() && policies.refused.is_none() {
            self.keep_event(tenant, &intake.flow.name, &intake.delivery, &policies.awaited, &mut txn)
                .map_err(failed)?;
            remember(None, &mut txn);
            let ack = Ack { event_id: event, run_id: None, state: EventState::Held, starts_at: None };
            return Ok(Decided::Held(ack, permit.submit(txn)));
        }
        if let (Some(gather), Some(rows), None) = (&policies.gather, rows.as_mut(), &policies.refused) {
            if rows.len() >= HELD_MAX {
                return Err(Refusal::Busy { retry_after_s: 60 });
            }
            let flow = (intake.flow.id, intake.flow.name.as_str());
            let ack =
                self.hold_event(rows, tenant, flow, trigger, gather, &intake.delivery, &mut txn).map_err(failed)?;
            remember(None, &mut txn);
            return Ok(Decided::Held(ack, permit.submit(txn)));
        }
        if !alone && self.holds_back(tenant, &intake.flow) {
            let held = self.hold_back(tenant, &intake.flow, &trigger.id, &intake.delivery, &mut txn).map_err(failed)?;
            let Some(ack) = held else { return Err(Refusal::Busy { retry_after_s: 60 }) };
            remember(None, &mut txn);
            return Ok(Decided::Held(ack, permit.submit(txn)));
        }
        let creation = Creation {
            tenant,
            plan: Arc::clone(plan),
            trigger: trigger.id.clone(),
            events: vec![event],
            events_more: 0,
            refused: policies.refused,
            input: Value::Null,
            by_hand: false,
            overlap: None,
            caller: None,
            replay: None,
            run: None,
            flow: intake.flow,
            delivery: intake.delivery,
            shown: Some(intake.shown),
            sealed,
        };
        // Held until the transaction is submitted: a queued run must not be promoted before it is there.
        // A flow without limits never looks into it.
        let limited = plan.concurrency.is_some() || plan.rate.is_some() || trigger.throttle.is_some();
        let (mut gate, mut no_gate) = (limited.then(|| lock(&self.gate)), Gate::default());
        let gate = gate.as_deref_mut().unwrap_or(&mut no_gate);
        let created = match self.create(creation, moment, gate, &mut txn) {
            Err(EngineError::Full) => return Err(Refusal::Busy { retry_after_s: 5 }),
            other => other.map_err(failed)?,
        };
        remember(created.ack.run_id, &mut txn);
        Ok(Decided::Run(created.submit(permit, txn)))
    }

    /// Starts a run by hand; the request id is its dedupe key.
    pub(crate) async fn run_by_hand(
        self: &Arc<Self>,
        tenant: TenantId,
        flow: Published,
        input: Value,
        request: [u8; 16],
        by: &str,
    ) -> Result<RunHead, EngineError> {
        let permit = self.deps.store.reserve().await?;
        let moment = self.moment();
        let plan = self.plan(tenant, flow.id, &flow.version)?;
        let run = self.new_run(&moment);
        let delivery = Delivery {
            event: EventId::from_bytes(self.new_run(&moment).bytes()),
            trigger: "manual".to_owned(),
            method: "MANUAL".to_owned(),
            query: String::new(),
            headers: vec![("content-type".to_owned(), "application/json".to_owned()), ("by".to_owned(), by.to_owned())],
            body: input.to_json().into_bytes(),
            blob: None,
            came: None,
            received_ms: moment.now_ms,
        };
        let creation = Creation::by_hand(tenant, flow, plan, delivery, input, run);
        self.begin_once(creation, moment, permit, request).await
    }

    /// Begins a run that somebody asked for; the request id is its dedupe key, so a repeat gives the same run.
    pub(crate) async fn begin_once(
        self: &Arc<Self>,
        creation: Creation,
        moment: Moment,
        permit: Permit,
        request: [u8; 16],
    ) -> Result<RunHead, EngineError> {
        let tenant = creation.tenant;
        let run = creation.run.unwrap_or_else(|| self.new_run(&moment));
        let hash = self.deps.store.index_hash(tenant, "request", &[&request]);
        let submitted = {
            let _intake = lock(&self.held);
            if let Some(first) = self.deps.store.dedupe_find(tenant, &hash, moment.now_ms) {
                Err((first.run.ok_or(EngineError::NotFound(run))?, permit.submit(Txn::new())))
            } else {
                let mut txn = Txn::new();
                let mut gate = lock(&self.gate);
                let created = self.create(Creation { run: Some(run), ..creation }, &moment, &mut gate, &mut txn)?;
                let expires_ms = moment.now_ms.saturating_add(ms(DEDUPE_WINDOW.ms));
                let entry =
                    DedupeEntry { tenant, hash, event: EventId::from_bytes(request), run: Some(run), expires_ms };
                self.deps.store.dedupe_remember(entry);
                txn.dedupe.push(entry);
                Ok(created.submit(permit, txn))
            }
        };
        match submitted {
            Ok(submitted) => self.settle(tenant, submitted).await?.ok_or(EngineError::NotFound(run)),
            Err((first, barrier)) => {
                barrier.committed().await?;
                Ok(super::driver::head(&self.load(tenant, first)?))
            }
        }
    }

    /// One decision of a person about a run; a repeat of its request id is answered, not done again.
    pub(crate) async fn decide_once(
        self: &Arc<Self>,
        tenant: TenantId,
        run: RunId,
        input: Input,
        request: [u8; 16],
    ) -> Result<RunHead, EngineError> {
        let store = &self.deps.store;
        let now = self.deps.clock.now_ms();
        let hash = store.index_hash(tenant, "request", &[&request]);
        if store.dedupe_find(tenant, &hash, now).is_some() {
            store.commit(Txn::new()).await?;
            return Ok(super::driver::head(&self.load(tenant, run)?));
        }
        let expires_ms = now.saturating_add(ms(DEDUPE_WINDOW.ms));
        let event = EventId::from_bytes(request);
        let mut txn = Txn::new();
        txn.dedupe.push(DedupeEntry { tenant, hash, event, run: Some(run), expires_ms });
        self.transition(tenant, run, input, txn).await
    }

    /// Creates a run, or decides that there is none. Nothing is submitted yet; the caller holds the intake lock.
    /// It also holds the gate until the transaction is submitted.
    pub(crate) fn create(
        &self,
        creation: Creation,
        moment: &Moment,
        gate: &mut Gate,
        txn: &mut Txn,
    ) -> Result<Created, EngineError> {
        let (tenant, flow) = (creation.tenant, creation.flow.id);
        let now_us = us(moment.now_ms);
        let Counted { entry, key, refused } = self.entry(&creation, moment);
        let refused = creation.refused.clone().or(refused);
        let mut when_full = creation.plan.concurrency.as_ref().map_or(WhenFull::Queue, |policy| policy.when_full);
        if let Some((_, of_schedule)) = creation.overlap {
            when_full = of_schedule;
        }
        if creation.by_hand {
            when_full = WhenFull::Queue;
        }
        self.restore_rate(tenant, &entry, gate);
        let slot = entry.slot.map(|(key, _)| key);
        let full = !gate.free(&entry, now_us);
        // Whose rate alone is used up waits, whatever the flow says of its concurrency key.
        let held = full && entry.slot.is_some_and(|(key, limit)| gate.is_held(key, limit));
        let event = creation.delivery.event;
        let holder = slot.and_then(|key| gate.oldest(key));
        if held && when_full == WhenFull::Drop {
            let by = holder.map(|run| run.to_string()).unwrap_or_default();
            let says =
                if creation.overlap.is_some() { "schedule says overlap: skip" } else { "flow says when_full: drop" };
            let reason = format!("{by} was in the way and the {says}");
            self.drop_event(tenant, &creation.flow.name, &creation.delivery, reason.clone(), txn)?;
            let ack = Ack { event_id: event, run_id: None, state: EventState::Dropped, starts_at: None };
            return Ok(Created { ack, reason, run: None, replaced: None, overtaken: Vec::new() });
        }
        if entry.throttle == Some(OnExcess::Drop) && !gate.lets_through(&entry, now_us) {
            let used = gate.used_up(&entry);
            let reason = format!("the throttle of its trigger says on_excess: drop, and {used}");
            self.drop_event(tenant, &creation.flow.name, &creation.delivery, reason.clone(), txn)?;
            let ack = Ack { event_id: event, run_id: None, state: EventState::Dropped, starts_at: None };
            return Ok(Created { ack, reason, run: None, replaced: None, overtaken: Vec::new() });
        }
        if full && gate.is_full(&entry) {
            return Err(EngineError::Full);
        }
        let run = creation.run.unwrap_or_else(|| self.new_run(moment));
        let mut replaced = None;
        let mut overtaken = Vec::new();
        if held && when_full == WhenFull::Replace {
            let reason = format!("replaced by {run}");
            let waiting = slot.map(|key| gate.waiting(key)).unwrap_or_default();
            for queued in waiting {
                match self.cancel_queued(tenant, queued, &reason, txn) {
                    Ok(cell) => overtaken.push((queued, cell)),
                    Err(error) => {
                        tracing::error!(run = %queued, %error, "a queued run could not be replaced and stays queued");
                        continue;
                    }
                }
                gate.release(slot, queued, now_us);
            }
            if let Some(holder) = holder {
                let row = InboxRow::Cancel { by: run.to_string(), reason };
                let key = Key::tenant(tenant).id(holder.bytes()).id(run.bytes());
                self.deps.store.put(txn, tenant, Table::Inbox, key.clone(), &row)?;
                replaced = Some((holder, key, row));
            }
        }
        let index = self.index_of(&creation, moment);
        for hash in &index {
            let key = aura_storage::rows::index_key(tenant, *hash, run);
            self.deps.store.put(txn, tenant, Table::Index, key, &aura_storage::rows::IndexRow { flow })?;
        }
        let mut delivery = creation.delivery;
        let mut sealed = creation.sealed;
        if sealed.is_none() && delivery.body.len() > BLOB_MIN {
            sealed = Some(self.blobs.keep_bytes(tenant, std::mem::take(&mut delivery.body))?);
        }
        if let Some((blob, _)) = &sealed {
            (delivery.body, delivery.blob) = (Vec::new(), Some(*blob));
        }
        let (input, kept_input) = self.blobs.keep(tenant, creation.input)?;
        let (origin, copied) = creation.replay.unzip();
        let started = Arc::new(RunStarted {
            flow_id: flow,
            flow: creation.flow.name.clone(),
            version: creation.flow.version.clone(),
            trigger: creation.trigger.clone(),
            semantics: SEMANTICS,
            event: delivery,
            events: creation.events,
            events_more: creation.events_more,
            deadline_ms: None,
            refused,
            caller: creation.caller,
            input,
            priority: entry.priority,
            index,
            vars: if creation.plan.variables.is_empty() {
                Value::Null
            } else {
                self.deps.flows.variables(tenant, &creation.plan.variables)
            },
            origin,
        });
        if full {
            gate.queue(&entry, run, now_us);
        } else if !entry.is_free() {
            gate.hold(&entry, run, now_us);
        }
        let mut live = Live {
            tenant,
            state: RunState::new(run, &creation.plan),
            plan: creation.plan,
            timer: None,
            slot,
            rate: entry.rate.map(|(key, _)| key),
            turn: if full { gate.turn(now_us) } else { 0 },
            throttle: entry.throttle.and(entry.rate).and_then(|(_, rate)| rate).map(Rate::stored),
            row: None,
            calls: HashMap::new(),
            blocked: gate.why(run).map(|why| with_key(why, key)),
        };
        let input = match copied {
            Some(copied) => Input::Replay { started, copied, queued: full },
            None if full => Input::Queue(started),
            None => Input::Start(started),
        };
        // A large body is read when a step asks for it.
        live.state.trigger = creation.shown.filter(|_| sealed.is_none()).unwrap_or_default();
        let begun = self.apply(&mut live, input, txn).and_then(|done| {
            if !full {
                self.put_rate(tenant, &entry, gate, txn)?;
            }
            Ok(done)
        });
        let mut done = match begun {
            Ok(done) => done,
            Err(error) => {
                gate.release(slot, run, now_us);
                return Err(error);
            }
        };
        done.kept.extend(sealed.into_iter().map(|(_, kept)| kept).chain(kept_input));
        let state = if full { EventState::Queued } else { EventState::Started };
        let ack = Ack { event_id: event, run_id: Some(run), state, starts_at: None };
        let cell = self.remember(run, live);
        Ok(Created { ack, reason: format!("became {run}"), run: Some((run, cell, done)), replaced, overtaken })
    }

    /// A queued run ends before it began, in the transaction of the one that replaces it.
    fn cancel_queued(&self, tenant: TenantId, run: RunId, reason: &str, txn: &mut Txn) -> Result<Cell, EngineError> {
        let cell = self.cell(run);
        let mut guard = lock(&cell);
        if guard.is_none() {
            *guard = Some(self.load(tenant, run)?);
        }
        let live = guard.as_mut().ok_or(EngineError::NotFound(run))?;
        let input = Input::Cancel { by: "a newer run".to_owned(), reason: reason.to_owned() };
        match self.apply(live, input, txn) {
            Ok(_) | Err(EngineError::Refused(_)) => {}
            Err(error) => return Err(error),
        }
        drop(guard);
        Ok(cell)
    }

    /// Records an event that leads to no run.
    pub(crate) fn drop_event(
        &self,
        tenant: TenantId,
        flow: &str,
        delivery: &Delivery,
        reason: String,
        txn: &mut Txn,
    ) -> Result<(), EngineError> {
        self.record_event(tenant, flow, delivery, (EventState::Dropped, None), reason, txn)
    }

    /// Records what became of an event, for its row and the tail.
    pub(super) fn record_event(
        &self,
        tenant: TenantId,
        flow: &str,
        delivery: &Delivery,
        (state, run): (EventState, Option<RunId>),
        reason: String,
        txn: &mut Txn,
    ) -> Result<(), EngineError> {
        let row = EventRow {
            event: delivery.event,
            flow: flow.to_owned(),
            trigger: delivery.trigger.clone(),
            state,
            reason,
            starts_at_ms: None,
            run,
            delivery: delivery.clone(),
        };
        self.deps.store.put(txn, tenant, Table::Events, event_key(tenant, delivery.event), &row)?;
        txn.tell(TailEntry::Event(tenant, delivery.event));
        Ok(())
    }

    /// Waits for the commit of a created run and does what may only follow it.
    pub(crate) async fn settle(
        self: &Arc<Self>,
        tenant: TenantId,
        submitted: Submitted,
    ) -> Result<Option<RunHead>, EngineError> {
        if let Some(receipt) = submitted.receipt {
            receipt.committed().await?;
        }
        let Created { run, replaced, overtaken, .. } = submitted.created;
        let Some((run, cell, done)) = run else { return Ok(None) };
        let head = self.finish(tenant, run, cell, done).await?;
        for (queued, cell) in overtaken {
            self.answer_waiting(queued, None);
            self.forget_idle(queued, cell);
        }
        if let Some((holder, key, InboxRow::Cancel { by, reason })) = replaced {
            let mut taken = Txn::new();
            taken.delete(Table::Inbox, key);
            self.spawn_transition(tenant, holder, Input::Cancel { by, reason }, taken);
        }
        Ok(Some(head))
    }

    /// Resolves when the run answers its sender or ends.
    fn await_reply(&self, run: RunId) -> oneshot::Receiver<Option<Response>> {
        let (sender, receiver) = oneshot::channel();
        lock(&self.replies).entry(run).or_default().push(sender);
        receiver
    }

    /// The answer that a run recorded, or records within `wait`.
    async fn recorded_reply(&self, tenant: TenantId, run: RunId, wait: Span) -> Option<Response> {
        let receiver = self.await_reply(run);
        let (reply, ended) = {
            let cell = self.cell(run);
            let mut guard = lock(&cell);
            if guard.is_none() {
                *guard = self.load(tenant, run).ok();
            }
            let state = guard.as_ref().map(|live| &live.state);
            let ended = state.is_none_or(|state| state.finished.is_some());
            let found = (state.and_then(|state| state.replied.clone()), ended);
            drop(guard);
            self.forget_idle(run, cell);
            found
        };
        if reply.is_none() && !ended {
            return self.waited(run, wait, receiver).await;
        }
        drop(receiver);
        self.forget_waiting(run);
        let (status, headers, body) = reply?;
        // Memory may be ahead of the store: the bytes go out only once they are durable.
        self.deps.store.commit(Txn::new()).await.ok()?;
        Some(Response { status, headers, body })
    }

    /// Waits for a run's answer, at most so long.
    async fn waited(&self, run: RunId, wait: Span, receiver: oneshot::Receiver<Option<Response>>) -> Option<Response> {
        let reply = tokio::time::timeout(Duration::from_millis(wait.ms), receiver).await;
        self.forget_waiting(run);
        reply.ok().and_then(Result::ok).flatten()
    }
}

fn policy_error(trigger: &PlanTrigger, what: &str, message: &str) -> StepError {
    StepError::new(ErrorClass::Invalid, format!("the {what} of trigger {} failed: {message}", trigger.id))
}
