//! A run that goes on under another version of its flow, if nothing that it has done or does is another thing there.
//!
//! Invariant: the whole journal must read under the new version as it reads under the old one: the same steps open, at
//! the same attempts. So a run that moved is a run that could have begun there.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use aura_protocol::rpc::{Actor, RunMigrated};
use aura_protocol::run::{Record, RunHead, StepState, Transition};
use aura_protocol::{RunId, TenantId, WireError};
use aura_storage::Txn;

use super::core::plan::Plan;
use super::core::replay::past::Past;
use super::core::replay::{Version, hindrances};
use super::core::{Input, Refused, RunState};
use super::driver::{Done, Driver, EngineError, Live, lock};
use super::{Engine, Published};

/// How often it is tried to find the store and memory at one point.
const TRIES: usize = 10;

/// The version under which a journal goes on: that of its begin, or the one that it moved to last.
#[must_use]
pub fn version_of(journal: &[Transition]) -> Option<&str> {
    let records = journal.iter().rev().flat_map(|transition| transition.records.iter().rev());
    records
        .filter_map(|record| match record {
            Record::Migrated { version, .. } => Some(version.as_str()),
            Record::RunStarted(started) => Some(started.version.as_str()),
            _ => None,
        })
        .next()
}

/// What was found out about a move.
enum Found {
    /// The store is behind.
    Behind,
    /// It cannot, or was only to be looked at.
    Stays(Box<RunHead>, String, Vec<String>),
    /// It did; what is left to do once that is durable.
    Moved(Box<Done>, String),
}

impl Engine {
    /// Moves an unfinished run to another version, or says why it cannot.
    ///
    /// # Errors
    /// The run has ended, waits for its key, or cannot be read.
    pub async fn migrate(
        &self,
        actor: &Actor,
        run: RunId,
        to: Published,
        plan: bool,
    ) -> Result<RunMigrated, WireError> {
        let (tenant, by) = (actor.tenant, actor.name.clone());
        self.detached(|driver| async move { driver.migrate(tenant, run, &to, plan, by).await }).await
    }

    /// Why a run could not move to a version; read without changing anything.
    ///
    /// # Errors
    /// As [`Engine::migrate`].
    pub fn hindrances(&self, tenant: TenantId, run: RunId, to: &Published) -> Result<Vec<String>, WireError> {
        let driver = self.driver();
        let journal = driver.journal(tenant, run)?;
        let from = version_of(&journal).unwrap_or_default().to_owned();
        let old = driver.plan(tenant, to.id, &from)?;
        let new = driver.plan(tenant, to.id, &to.version)?;
        Ok(driver.reasons(tenant, run, (&old, &new), to, &journal)?)
    }
}

impl Driver {
    async fn migrate(
        self: &Arc<Self>,
        tenant: TenantId,
        run: RunId,
        to: &Published,
        plan: bool,
        by: String,
    ) -> Result<RunMigrated, EngineError> {
        for _ in 0..TRIES {
            // What is on its way is written first: the move is decided on the whole journal.
            self.deps.store.commit(Txn::new()).await?;
            let permit = self.deps.store.reserve().await?;
            let cell = self.cell(run);
            let found = {
                let mut place = lock(&cell);
                let mut txn = Txn::new();
                let found = self.moved(tenant, run, &mut place, (to, plan, &by), &mut txn);
                match found {
                    Ok(Found::Moved(mut done, from)) => {
                        done.receipt = Some(permit.submit(txn));
                        Ok(Found::Moved(done, from))
                    }
                    other => other,
                }
            };
            let answer = |head: RunHead, from: String, reasons: Vec<String>| RunMigrated {
                run: head,
                from,
                to: to.version.clone(),
                reasons,
            };
            match found {
                Ok(Found::Moved(done, from)) => {
                    let head = self.finish(tenant, run, cell, *done).await?;
                    return Ok(answer(head, from, Vec::new()));
                }
                Ok(Found::Stays(head, from, reasons)) => {
                    self.forget_idle(run, cell);
                    return Ok(answer(*head, from, reasons));
                }
                Ok(Found::Behind) => self.forget_idle(run, cell),
                Err(error) => {
                    self.forget_idle(run, cell);
                    return Err(error);
                }
            }
        }
        Err(EngineError::Refused(Refused::Moving))
    }

    /// Under the run's lock.
    fn moved(
        &self,
        tenant: TenantId,
        run: RunId,
        place: &mut Option<Live>,
        (to, plan, by): (&Published, bool, &str),
        txn: &mut Txn,
    ) -> Result<Found, EngineError> {
        if place.is_none() {
            *place = Some(self.load(tenant, run)?);
        }
        let live = place.as_mut().ok_or(EngineError::NotFound(run))?;
        if live.state.finished.is_some() {
            return Err(Refused::Ended.into());
        }
        let journal = self.journal(tenant, run)?;
        if journal.last().is_none_or(|last| last.number != live.state.transition) {
            return Ok(Found::Behind);
        }
        let from = live.plan.version.clone();
        let head = Box::new(super::driver::head(live));
        if from == to.version {
            return Ok(Found::Stays(head, from, vec!["it has this version already".to_owned()]));
        }
        if live.state.transition == 0 {
            let why = "it has not begun; cancel it and replay it on that version".to_owned();
            return Ok(Found::Stays(head, from, vec![why]));
        }
        let new_plan = self.plan(tenant, to.id, &to.version)?;
        let mut reasons = self.reasons(tenant, run, (&live.plan, &new_plan), to, &journal)?;
        let state = RunState::fold(run, &new_plan, &journal);
        if reasons.is_empty() && open(&state, &new_plan) != open(&live.state, &live.plan) {
            reasons.push("what is open in it reads otherwise under that version".to_owned());
        }
        // A call knows its place in the version that it was begun under, until its turn comes.
        if live.calls.values().any(|flight| !flight.named.load(Ordering::Acquire)) {
            reasons.push("a call of it is about to be made; try again in a moment".to_owned());
        }
        if plan || !reasons.is_empty() {
            return Ok(Found::Stays(head, from, reasons));
        }
        let calls = std::mem::take(&mut live.calls);
        for (at, call) in calls {
            let path = live.state.path(&live.plan, at);
            if let Some(at) = state.find(&new_plan, &path) {
                live.calls.insert(at, call);
            }
        }
        (live.state, live.plan) = (state, new_plan);
        let input = Input::Migrate { version: to.version.clone(), by: by.to_owned() };
        match self.apply(live, input, txn) {
            Ok(done) => Ok(Found::Moved(Box::new(done), from)),
            Err(error) => {
                // Whatever was prepared does not count.
                *place = None;
                Err(error)
            }
        }
    }

    fn reasons(
        &self,
        tenant: TenantId,
        run: RunId,
        (old_plan, new_plan): (&Plan, &Plan),
        to: &Published,
        journal: &[Transition],
    ) -> Result<Vec<String>, EngineError> {
        let flow = |version: &str| {
            let missing = || EngineError::Plan(format!("version {version} of {} is not stored", to.name));
            self.deps.flows.version(tenant, to.id, version).ok_or_else(missing)
        };
        let (old_flow, new_flow) = (flow(&old_plan.version)?, flow(&to.version)?);
        let past = Past::read(run, old_plan, journal).ok_or(EngineError::NotFound(run))?;
        let old = Version { flow: &old_flow, plan: old_plan };
        Ok(hindrances(&past, old, Version { flow: &new_flow, plan: new_plan }))
    }
}

/// What is open in a run: paths, states, attempts.
fn open(state: &RunState, plan: &Plan) -> Vec<(String, Option<StepState>, u32)> {
    let mut found = Vec::new();
    state.each_live(&mut |at, cell| found.push((state.path(plan, at), cell.state, cell.attempt)));
    found.sort_by(|a, b| a.0.cmp(&b.0));
    found
}
