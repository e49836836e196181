//! Runs of past instants: planned first, then made one after another, each of them once.
//!
//! Invariant: how far a backfill is stands in the schedule's row, which is written with each run that it makes; an
//! instant that fired in its time, or in an earlier backfill, fires no more. So a kill neither doubles nor forgets one.

use std::sync::Arc;

use aura_protocol::event::Tick;
use aura_protocol::rpc::{Actor, Backfilling, ScheduleBackfill, ScheduleBackfilled, ScheduleInfo, ScheduleRef};
use aura_protocol::schedule::Schedule;
use aura_protocol::{Code, FlowId, TenantId, WireError};
use aura_storage::rows::ScheduleRow;

use super::show::info;
use super::{Cause, Fired, Firing, Owner};
use crate::engine::core::bugs::{Bug, has};
use crate::engine::driver::{Driver, EngineError, lock};

/// While a backfill goes on it is looked at so often.
pub(super) const LOOK_MS: i64 = 300;
/// What its runs are found by: one after another, unless the flow has `concurrency`.
pub(super) const SLOT: &str = "backfill";
/// Runs of one backfill.
const RUNS_MAX: u64 = 10_000;
/// Instants that are looked at for a plan.
const WALK_MAX: usize = 200_000;
/// Runs made in one look.
const BURST: usize = 16;
/// Instants that have fired which are passed over in one look.
const STEPS: usize = 5_000;
/// Runs of it that may wait for the one before them.
const AHEAD: usize = 16;
/// Instants that a plan shows.
const SHOWN: usize = 10;

/// What of a stretch would fire.
struct Found {
    count: u64,
    fired: u64,
    first: Vec<i64>,
    last: Option<i64>,
}

fn walk(schedule: &Schedule, row: &ScheduleRow, from_ms: i64, to_ms: i64) -> Result<Found, WireError> {
    let mut found = Found { count: 0, fired: 0, first: Vec::new(), last: None };
    let judge = row.fired.as_ref().map(aura_protocol::schedule::Stretches::judge);
    let instants = schedule.after(from_ms.saturating_sub(1), WALK_MAX + 1).take_while(|at| *at <= to_ms);
    for (number, instant) in instants.enumerate() {
        if number >= WALK_MAX || found.count > RUNS_MAX {
            let message = format!("that are more than {RUNS_MAX} runs in one backfill");
            return Err(WireError::new(Code::Invalid, message).hint("take a shorter time, and the rest afterwards"));
        }
        if judge.as_ref().is_some_and(|judge| judge.has(instant)) {
            found.fired += 1;
            continue;
        }
        found.count += 1;
        found.last = Some(instant);
        if found.first.len() < SHOWN {
            found.first.push(instant);
        }
    }
    Ok(found)
}

/// The next instant that has not fired, with the one before it; without one, up to where all have fired, which is the
/// end unless there were so many that the rest is for the next look.
fn next_to_make(schedule: &Schedule, row: &ScheduleRow, job: &Backfilling, steps: usize) -> (i64, Option<i64>) {
    let fired = row.fired.as_ref().filter(|_| !has(Bug::InstantsAreForgotten));
    // Read once: an instant is judged in no time, and the settings are parsed in some.
    let judge = fired.map(aura_protocol::schedule::Stretches::judge);
    let mut at = job.at_ms;
    for (step, instant) in schedule.after(at, steps.saturating_add(1)).enumerate() {
        if instant > job.to_ms {
            return (job.to_ms, None);
        }
        if judge.as_ref().is_none_or(|judge| !judge.has(instant)) {
            return (at, Some(instant));
        }
        at = instant;
        if step + 1 >= steps {
            return (at, None);
        }
    }
    (job.to_ms, None)
}

impl Driver {
    /// Plans a backfill, and begins it unless it is only asked what it would do.
    pub(crate) async fn backfill_schedule(
        &self,
        actor: &Actor,
        asked: &ScheduleBackfill,
        flow: FlowId,
    ) -> Result<ScheduleBackfilled, WireError> {
        let tenant = actor.tenant;
        if asked.from_ms > asked.to_ms {
            return Err(WireError::new(Code::Invalid, "the beginning lies behind the end"));
        }
        let _one = self.schedules.edit.lock().await;
        let owner = self.one_schedule(tenant, &asked.schedule, flow)?;
        let (known, schedule, published) = self.known_schedule(tenant, owner)?;
        let mut row = known.row.clone();
        let now = self.deps.clock.wall_ms();
        // What comes after the mark is still to fire by itself.
        let to_ms = asked.to_ms.min(row.mark_ms).min(now);
        let found = walk(&schedule, &row, asked.from_ms, to_ms)?;
        let mut plan = ScheduleBackfilled {
            schedule: info(row.clone(), &schedule, &published, now, 1),
            count: found.count,
            fired: found.fired,
            first: found.first,
            last: found.last,
            begun: false,
        };
        if asked.dry || plan.count == 0 {
            return Ok(plan);
        }
        if let Some(other) = &row.backfill {
            let message =
                format!("a backfill of {}/{} goes on already: {} to come", published.name, row.trigger, other.left);
            return Err(WireError::new(Code::Conflict, message).hint("wait for it, or end it by `aura schedule stop`"));
        }
        if !known.goes_on() {
            let message = format!("{}/{} rests, so nothing of it is made up", published.name, row.trigger);
            return Err(WireError::new(Code::Conflict, message).hint("enable the flow or resume the schedule first"));
        }
        row.backfill = Some(Backfilling {
            from_ms: asked.from_ms,
            to_ms,
            at_ms: asked.from_ms.saturating_sub(1),
            made: 0,
            left: plan.count,
            by: actor.name.clone(),
        });
        plan.schedule = self.change_schedule(tenant, owner, row, &schedule, &published).await?;
        plan.begun = true;
        Ok(plan)
    }

    /// Ends a backfill; the runs that it made stay.
    pub(crate) async fn stop_backfill(
        &self,
        actor: &Actor,
        asked: &ScheduleRef,
        flow: FlowId,
    ) -> Result<ScheduleInfo, WireError> {
        let tenant = actor.tenant;
        let _one = self.schedules.edit.lock().await;
        let owner = self.one_schedule(tenant, asked, flow)?;
        let (known, schedule, published) = self.known_schedule(tenant, owner)?;
        let row = ScheduleRow { backfill: None, ..known.row };
        self.change_schedule(tenant, owner, row, &schedule, &published).await
    }

    /// Makes some runs of each backfill; whether there is more to do.
    pub(super) async fn work_backfills(self: &Arc<Self>, tenant: TenantId) -> bool {
        let _one = self.schedules.edit.lock().await;
        let owners: Vec<Owner> = {
            let known = lock(&self.schedules.known);
            let at_work = |known: &super::Known| known.row.backfill.is_some() && known.goes_on();
            known.iter().filter(|(_, known)| at_work(known)).map(|(owner, _)| *owner).collect()
        };
        let mut more = false;
        for owner in owners {
            match self.backfill_some(tenant, owner).await {
                Ok(goes_on) => more |= goes_on,
                Err(error) => {
                    tracing::error!(%error, "a backfill could not go on; it is tried again");
                    if let Some(known) = lock(&self.schedules.known).get_mut(&owner) {
                        known.doubtful = true;
                    }
                    more = true;
                }
            }
        }
        more
    }

    async fn backfill_some(self: &Arc<Self>, tenant: TenantId, owner: Owner) -> Result<bool, EngineError> {
        for _ in 0..BURST {
            let Some(known) = lock(&self.schedules.known).get(&owner).cloned() else { return Ok(false) };
            if known.doubtful {
                // What is stored says how far it is; the look that fires reads it again.
                let stored = self.stored_schedule(tenant, owner, known)?;
                lock(&self.schedules.known).insert(owner, stored);
                continue;
            }
            let (Some(schedule), Some(job)) = (known.schedule.clone(), known.row.backfill.clone()) else {
                return Ok(false);
            };
            let slot = self.deps.store.index_hash(tenant, SLOT, &[&owner.0.bytes(), known.row.trigger.as_bytes()]);
            if self.stopping.is_cancelled() || lock(&self.gate).waiting(slot).len() >= AHEAD {
                return Ok(true);
            }
            let mut row = known.row;
            let (at, next) = next_to_make(&schedule, &row, &job, STEPS);
            let Some(instant) = next else {
                let goes_on = at < job.to_ms;
                row.backfill = goes_on.then_some(Backfilling { at_ms: at, ..job });
                self.keep(tenant, owner, row, &schedule).await?;
                return Ok(goes_on);
            };
            let tick = Tick {
                scheduled_at: schedule.local(instant),
                zone: schedule.zone_name().to_owned(),
                previous_at: None,
                late: true,
                missed: 0,
                cause: "backfill".to_owned(),
            };
            row.fired.get_or_insert_default().fired(&schedule, at, instant);
            let (made, left) = (job.made + 1, job.left.saturating_sub(1));
            row.backfill = Some(Backfilling { at_ms: instant, made, left, ..job });
            let firing = Firing { instant, tick, cause: Cause::Backfill, again: false };
            if let Fired::NotNow = self.fire_instant(tenant, owner, &schedule, row, firing).await? {
                return Ok(true);
            }
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use aura_protocol::schedule::Stretches;
    use aura_protocol::{FlowId, Value};

    use super::*;

    #[test]
    fn what_fired_is_passed_over_in_pieces() {
        let with = [("every".to_owned(), Value::from("1s"))].into_iter().collect();
        let schedule = Schedule::read(&with).unwrap();
        let mut fired = Stretches::default();
        fired.fired(&schedule, 0, 10_000);
        let row = ScheduleRow {
            flow: FlowId::from_bytes([1; 16]),
            trigger: "all".to_owned(),
            rule: schedule.rule(),
            armed: true,
            mark_ms: 100_000,
            gap: None,
            last_ms: None,
            last_run: None,
            missed: 0,
            settings: schedule.settings().to_owned(),
            fired: Some(fired),
            last_note: String::new(),
            paused_by: None,
            keeps: false,
            backfill: None,
        };
        let check = |at_ms: i64, to_ms: i64, expected: (i64, Option<i64>)| {
            let job = Backfilling { from_ms: 1, to_ms, at_ms, made: 0, left: 9, by: String::new() };
            assert_eq!(next_to_make(&schedule, &row, &job, 4), expected, "{at_ms} {to_ms}");
        };
        check(0, 20_000, (4_000, None));
        check(4_000, 20_000, (8_000, None));
        check(8_000, 20_000, (10_000, Some(11_000)));
        check(11_000, 20_000, (11_000, Some(12_000)));
        check(20_000, 20_500, (20_500, None));
        check(8_000, 9_500, (9_500, None));
        check(0, 4_000, (4_000, None));
    }
}
