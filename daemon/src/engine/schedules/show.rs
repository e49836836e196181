//! Schedules as people see them, and what people do to one: let it rest, have it run now.
//!
//! Invariant: a schedule that rested begins anew, and what passed meanwhile is counted as left out, never forgotten;
//! [`super::backfill`] can make it up.

use std::collections::HashMap;
use std::sync::Arc;

use aura_protocol::event::Tick;
use aura_protocol::rpc::{Actor, ScheduleInfo, ScheduleRef};
use aura_protocol::run::RunHead;
use aura_protocol::schedule::{CATCH_UP_MAX, CatchUp, Schedule};
use aura_protocol::{Code, EventId, FlowId, TenantId, Value, WireError};
use aura_storage::rows::ScheduleRow;
use aura_storage::{Table, Txn};

use super::decide::Mark;
use super::{Known, Owner, delivery, overlap, row_key, with_mark};
use crate::engine::Published;
use crate::engine::driver::{Driver, EngineError, lock};
use crate::engine::intake::Creation;

/// So many instants of a rest are counted.
const COUNT_MAX: usize = 10_000;

impl Driver {
    /// When the next schedule of each flow is due.
    pub(crate) fn next_by_flow(&self) -> HashMap<FlowId, i64> {
        let mut next: HashMap<FlowId, i64> = HashMap::new();
        for (owner, known) in lock(&self.schedules.known).iter() {
            if let Some(due) = known.next_ms {
                next.entry(owner.0).and_modify(|first| *first = due.min(*first)).or_insert(due);
            }
        }
        next
    }

    /// The schedules of published flows with their next instants.
    pub(crate) fn list_schedules(&self, tenant: TenantId, only: Option<FlowId>, count: usize) -> Vec<ScheduleInfo> {
        let now = self.deps.clock.wall_ms();
        let known: Vec<Known> = {
            let known = lock(&self.schedules.known);
            known
                .iter()
                .filter(|((flow, _), _)| only.is_none_or(|only| only == *flow))
                .map(|(_, known)| known.clone())
                .collect()
        };
        let mut out: Vec<ScheduleInfo> = known
            .into_iter()
            .filter_map(|Known { row, schedule, .. }| {
                let (schedule, flow) = (schedule?, self.deps.flows.published(tenant, row.flow)?);
                Some(info(row, &schedule, &flow, now, count))
            })
            .collect();
        out.sort_by(|a, b| (&a.flow, &a.trigger).cmp(&(&b.flow, &b.trigger)));
        out
    }

    /// The one schedule that is meant.
    pub(super) fn one_schedule(&self, tenant: TenantId, asked: &ScheduleRef, flow: FlowId) -> Result<Owner, WireError> {
        let known = lock(&self.schedules.known);
        let mut of_flow: Vec<&ScheduleRow> =
            known.values().filter(|it| it.row.flow == flow && it.schedule.is_some()).map(|it| &it.row).collect();
        of_flow.sort_by(|a, b| a.trigger.cmp(&b.trigger));
        let found = match &asked.trigger {
            Some(trigger) => of_flow.iter().find(|row| row.trigger == *trigger).copied(),
            None if of_flow.len() == 1 => of_flow.first().copied(),
            None => None,
        };
        let names = || of_flow.iter().map(|row| row.trigger.as_str()).collect::<Vec<_>>().join(", ");
        match found {
            Some(row) => Ok(self.schedule_owner(tenant, flow, &row.trigger)),
            None if of_flow.is_empty() => Err(WireError::new(
                Code::NotFound,
                format!("the flow {} has no schedule that is published", asked.flow),
            )),
            None => {
                let message = match &asked.trigger {
                    Some(trigger) => {
                        format!("the flow {} has no schedule {}", asked.flow, aura_protocol::text::display(trigger))
                    }
                    None => format!("the flow {} has several schedules", asked.flow),
                };
                Err(WireError::new(Code::NotFound, message).hint(format!("name one of: {}", names())))
            }
        }
    }

    /// What is known of a schedule now, with its flow.
    pub(super) fn known_schedule(
        &self,
        tenant: TenantId,
        owner: Owner,
    ) -> Result<(Known, Arc<Schedule>, Published), WireError> {
        let gone = || WireError::new(Code::NotFound, "the schedule is not published any more");
        let known = lock(&self.schedules.known).get(&owner).cloned().ok_or_else(gone)?;
        let schedule = known.schedule.clone().ok_or_else(gone)?;
        let flow = self.deps.flows.published(tenant, owner.0).ok_or_else(gone)?;
        Ok((known, schedule, flow))
    }

    /// Stores a row that somebody changed, and has it looked at.
    pub(super) async fn change_schedule(
        &self,
        tenant: TenantId,
        owner: Owner,
        row: ScheduleRow,
        schedule: &Arc<Schedule>,
        flow: &Published,
    ) -> Result<ScheduleInfo, WireError> {
        let mut txn = Txn::new();
        self.deps
            .store
            .put(&mut txn, tenant, Table::Schedules, row_key(tenant, owner), &row)
            .map_err(EngineError::from)?;
        self.deps.store.commit(txn).await.map_err(EngineError::from)?;
        lock(&self.schedules.known).insert(owner, Known::new(row.clone(), Some(Arc::clone(schedule))));
        self.schedules.wake.notify_one();
        Ok(info(row, schedule, flow, self.deps.clock.wall_ms(), 1))
    }

    /// Lets one schedule rest, or go on.
    pub(crate) async fn pause_schedule(
        &self,
        actor: &Actor,
        asked: &ScheduleRef,
        flow: FlowId,
        paused: bool,
    ) -> Result<ScheduleInfo, WireError> {
        let tenant = actor.tenant;
        let _one = self.schedules.edit.lock().await;
        let owner = self.one_schedule(tenant, asked, flow)?;
        let (known, schedule, published) = self.known_schedule(tenant, owner)?;
        let now = self.deps.clock.wall_ms();
        let mut row = known.row.clone();
        if row.paused_by.is_some() == paused {
            return Ok(info(row, &schedule, &published, now, 1));
        }
        row.paused_by = paused.then(|| actor.name.clone());
        if !paused {
            let left_out = schedule.count(row.mark_ms, now, COUNT_MAX);
            row.missed = row.missed.saturating_add(left_out);
            if left_out > 0 {
                row.last_note =
                    format!("{left_out} were left out while it was paused; `aura schedule backfill` makes them up");
            }
            row = with_mark(row, Mark::begin(Some(known.mark()), now));
        }
        self.change_schedule(tenant, owner, row, &schedule, &published).await
    }

    /// One run of a schedule now, beside its instants; a repeat of the request gives the same run.
    pub(crate) async fn run_schedule(
        self: &Arc<Self>,
        actor: &Actor,
        asked: &ScheduleRef,
        flow: FlowId,
    ) -> Result<RunHead, WireError> {
        let tenant = actor.tenant;
        let owner = self.one_schedule(tenant, asked, flow)?;
        let (known, schedule, published) = self.known_schedule(tenant, owner)?;
        let permit = self.deps.store.reserve().await.map_err(EngineError::from)?;
        let moment = self.moment();
        let plan = self.plan(tenant, published.id, &published.version)?;
        let tick = Tick {
            scheduled_at: schedule.local(self.deps.clock.wall_ms()),
            zone: schedule.zone_name().to_owned(),
            previous_at: known.row.last_ms.map(|last| schedule.local(last)),
            late: false,
            missed: 0,
            cause: "by_hand".to_owned(),
        };
        let run = self.new_run(&moment);
        let event = EventId::from_bytes(self.new_run(&moment).bytes());
        let delivery = delivery(event, &known.row.trigger, &tick, &moment);
        let creation = Creation::by_hand(tenant, published, plan, delivery, Value::Null, run);
        Ok(self.begin_once(creation, moment, permit, actor.request.bytes()).await?)
    }
}

/// A schedule as people see it.
pub(super) fn info(row: ScheduleRow, schedule: &Schedule, flow: &Published, now: i64, count: usize) -> ScheduleInfo {
    let goes_on = row.armed && row.paused_by.is_none();
    let next: Vec<i64> = if goes_on { schedule.after(row.mark_ms.max(now), count).collect() } else { Vec::new() };
    let begins = match schedule.jitter_ms() {
        0 => Vec::new(),
        _ => next.iter().map(|instant| schedule.fires_at(*instant)).collect(),
    };
    let catch_up = match schedule.catch_up {
        CatchUp::All if schedule.catch_up_max < CATCH_UP_MAX => format!("all, at most {}", schedule.catch_up_max),
        choice => word(&choice),
    };
    ScheduleInfo {
        overlap: word(&overlap(&flow.flow, schedule)),
        flow: flow.name.clone(),
        trigger: row.trigger,
        rule: schedule.rule(),
        zone: schedule.zone_name().to_owned(),
        catch_up,
        enabled: row.armed,
        next,
        last_ms: row.last_ms,
        last_run: row.last_run,
        missed: row.missed,
        last_note: row.last_note,
        jitter_ms: schedule.jitter_ms(),
        begins,
        paused_by: row.paused_by,
        backfill: row.backfill,
    }
}

/// The word that the flow file has for a choice.
fn word<T: serde::Serialize>(choice: &T) -> String {
    match serde_json::to_value(choice) {
        Ok(serde_json::Value::String(word)) => word,
        _ => String::new(),
    }
}
