//! Runs that steps of other runs call.
//!
//! The child and the record of it in its caller are one transaction. A child that ends leaves a note for its caller
//! in the inbox, in the transaction of its end; a caller that gives up leaves one for the child. So a stop in between
//! forgets neither.

use std::sync::Arc;

use aura_protocol::event::Delivery;
use aura_protocol::run::CallOutcome;
use aura_protocol::run::{Caller, ErrorClass, Reach, Record, RunState as State, StepError};
use aura_protocol::{EventId, RunId, TenantId, Value};
use aura_storage::rows::InboxRow;
use aura_storage::{Key, Permit, Table, Txn};

use super::core::{Input, Moment};
use super::driver::{Cell, Done, Driver, EngineError, Live, lock};
use super::intake::{Creation, Submitted};

/// Calls and events may lead to one another so often; a flow that calls itself for ever ends here.
pub(crate) const DEPTH_MAX: u32 = 32;

impl Driver {
    /// Begins the run that a step calls.
    pub(crate) async fn make_child(
        self: &Arc<Self>,
        tenant: TenantId,
        caller: RunId,
        path: &str,
        attempt: u32,
        input: &Value,
    ) -> Result<(), EngineError> {
        let name = input.get("flow").and_then(Value::as_str).unwrap_or_default().to_owned();
        let waits = input.get("waits") == Some(&Value::Bool(true));
        let refuse = |class: ErrorClass, message: String| {
            let outcome = CallOutcome::Failed(StepError::new(class, message), Reach::Refused);
            Input::Result { path: path.to_owned(), attempt, outcome }
        };
        let shown = aura_protocol::text::display(&name);
        let ids = self.deps.flows.ids(tenant);
        let found = ids.into_iter().filter_map(|id| self.deps.flows.published(tenant, id));
        let Some(flow) = found.into_iter().find(|flow| flow.name == name) else {
            let input = refuse(ErrorClass::NotFound, format!("there is no published flow {shown}"));
            return self.transition(tenant, caller, input, Txn::new()).await.map(drop);
        };
        let Some(trigger) = flow.flow.triggers.iter().find(|trigger| trigger.on == "called") else {
            let message = format!("the flow {shown} cannot be called; give it a trigger `on: called`");
            return self.transition(tenant, caller, refuse(ErrorClass::Invalid, message), Txn::new()).await.map(drop);
        };
        let (depth, begun_by) = self.led_to(tenant, caller)?;
        let depth = depth.saturating_add(1);
        if depth > DEPTH_MAX {
            let message = format!("calls nest deeper than {DEPTH_MAX}");
            return self.transition(tenant, caller, refuse(ErrorClass::Invalid, message), Txn::new()).await.map(drop);
        }
        let plan = match self.plan(tenant, flow.id, &flow.version) {
            Ok(plan) => plan,
            Err(EngineError::Plan(why)) => {
                return self.transition(tenant, caller, refuse(ErrorClass::Invalid, why), Txn::new()).await.map(drop);
            }
            Err(error) => return Err(error),
        };
        let permit = self.deps.store.reserve().await?;
        let moment = self.moment();
        let run = self.new_run(&moment);
        let given = input.get("input").cloned().unwrap_or_default();
        let mut headers = vec![
            ("content-type".to_owned(), "application/json".to_owned()),
            ("by".to_owned(), format!("{caller} {path}")),
        ];
        headers.extend(begun_by.into_iter().map(|by| ("starter".to_owned(), by)));
        let delivery = Delivery {
            event: EventId::from_bytes(self.new_run(&moment).bytes()),
            trigger: trigger.id.clone(),
            method: "CALL".to_owned(),
            query: String::new(),
            headers,
            body: given.to_json().into_bytes(),
            blob: None,
            came: None,
            received_ms: moment.now_ms,
        };
        let called = Input::Called {
            path: path.to_owned(),
            attempt,
            run,
            flow: flow.name.clone(),
            version: flow.version.clone(),
            waits,
        };
        let caller_of = Caller { run: caller, path: path.to_owned(), waits, depth };
        let creation =
            Creation { caller: Some(caller_of), ..Creation::by_hand(tenant, flow, plan, delivery, given, run) };
        let cell = self.cell(caller);
        let decided = self.began(tenant, creation, called, (caller, &cell), (permit, &moment));
        let (child, done) = match decided {
            Ok(decided) => decided,
            Err(EngineError::Full) => {
                let input = refuse(ErrorClass::RateLimited, format!("too many runs of {shown} wait already"));
                return self.transition(tenant, caller, input, Txn::new()).await.map(drop);
            }
            Err(error) => {
                self.forget_idle(caller, cell);
                return Err(error);
            }
        };
        self.settle(tenant, child).await?;
        self.finish(tenant, caller, cell, done).await.map(drop)
    }

    /// Child and record in one transaction, or neither.
    fn began(
        &self,
        tenant: TenantId,
        creation: Creation,
        called: Input,
        (caller, cell): (RunId, &Cell),
        (permit, moment): (Permit, &Moment),
    ) -> Result<(Submitted, Done), EngineError> {
        let run = creation.run;
        let mut txn = Txn::new();
        let mut gate = lock(&self.gate);
        let created = self.create(creation, moment, &mut gate, &mut txn)?;
        let mut place = lock(cell);
        match self.decided(tenant, caller, &mut place, called, txn) {
            Ok((done, txn)) => Ok((created.submitted(permit.submit(txn.unwrap_or_default())), done)),
            Err(error) => {
                drop(place);
                // The caller gave up meanwhile: the child never was.
                if let Some(run) = run {
                    let slot = self.known_cell(run).and_then(|cell| lock(&cell).as_ref()?.slot);
                    gate.release(slot, run, self.now_us());
                    self.forget(run);
                }
                Err(error)
            }
        }
    }

    /// Notes of a transition for other runs: to the caller of a run that ended, to children nobody waits for.
    pub(crate) fn notes(
        &self,
        live: &Live,
        records: &[Record],
        children: Vec<RunId>,
        txn: &mut Txn,
    ) -> Result<Vec<Note>, EngineError> {
        let mut notes = Vec::new();
        let (tenant, run) = (live.tenant, live.state.run);
        let caller = live.state.started.as_ref().and_then(|started| started.caller.as_ref());
        if let (Some(caller), Some(Record::RunFinished { state, error, output })) = (
            caller.filter(|caller| caller.waits),
            records.iter().rev().find(|record| matches!(record, Record::RunFinished { .. })),
        ) {
            let error = (*state != State::Succeeded).then(|| {
                let flow = live.state.started.as_ref().map(|started| started.flow.clone()).unwrap_or_default();
                let mut error = error.clone().unwrap_or_else(|| StepError::new(ErrorClass::Internal, "it failed"));
                // The run that called it has rules of its own.
                live.plan.redacted.error("", &mut error);
                let message = format!("{run} of {flow} {}: {}", state.word(), error.message);
                Box::new(StepError { message, step: String::new(), ..error })
            });
            let row = InboxRow::Returned { path: caller.path.clone(), run, output: output.clone(), error };
            notes.push(Note { to: caller.run, key: note_key(tenant, caller.run, run), row });
        }
        for child in children {
            let row = InboxRow::Cancel { by: run.to_string(), reason: "the run that called it gave up".to_owned() };
            notes.push(Note { to: child, key: note_key(tenant, child, run), row });
        }
        for note in &notes {
            self.deps.store.put(txn, tenant, Table::Inbox, note.key.clone(), &note.row)?;
        }
        Ok(notes)
    }

    /// Hands a note over and takes it away, in one transaction.
    pub(crate) fn deliver(self: &Arc<Self>, tenant: TenantId, note: Note) {
        let Note { to, key, row } = note;
        match row {
            InboxRow::Event { delivery, .. } => self.spawn_taken(tenant, key, delivery.event),
            row => {
                let mut taken = Txn::new();
                taken.delete(Table::Inbox, key);
                if let Some(input) = told(row) {
                    self.spawn_transition(tenant, to, input, taken);
                }
            }
        }
    }
}

/// What a note tells its run; none: it is for no run.
pub(crate) fn told(row: InboxRow) -> Option<Input> {
    match row {
        InboxRow::Cancel { by, reason } => Some(Input::Cancel { by, reason }),
        InboxRow::Returned { path, run, output, error } => {
            Some(Input::Returned { path, run, outcome: error.map_or(Ok(output), Err) })
        }
        InboxRow::Event { .. } | InboxRow::Meet { .. } => None,
    }
}

/// A row of the inbox on its way.
#[derive(Debug)]
pub(crate) struct Note {
    /// The run that it is for.
    pub to: RunId,
    /// Where it stands.
    pub key: Key,
    /// It.
    pub row: InboxRow,
}

fn note_key(tenant: TenantId, to: RunId, from: RunId) -> Key {
    Key::tenant(tenant).id(to.bytes()).id(from.bytes())
}
