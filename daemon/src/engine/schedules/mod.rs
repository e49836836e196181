//! Schedules: instants become runs, each exactly once.
//!
//! Invariant: firing is one transaction of the row with the new mark, a dedupe key of (flow, trigger, instant)
//! and the run, so neither a kill nor a clock fires twice or loses an instant. What is due is decided in
//! [`decide`], which is pure. One change at a time: whoever reads a row to change it holds `edit`.

mod backfill;
pub mod decide;
mod show;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};

use aura_protocol::event::{Delivery, SCHEDULE, Tick, on_time};
use aura_protocol::flow::{Flow, WhenFull};
use aura_protocol::schedule::{CatchUp, Overlap, Schedule, Stretches};
use aura_protocol::{EventId, FlowId, TenantId, Value};
use aura_storage::rows::ScheduleRow;
use aura_storage::{DedupeEntry, Key, Table, Txn};
use tokio::sync::Notify;

use super::core::Moment;
use super::core::bugs::{Bug, has};
use super::driver::{Driver, EngineError, lock};
use super::intake::{Creation, DEDUPE_WINDOW, Submitted};
use super::{Published, core::state::ms};
use decide::{Due, Mark};

/// The clock is looked at so often while anything is scheduled: it may be set.
const LOOK_MS: u64 = 5_000;
/// A schedule that could not fire is tried again after this long.
const LATER_MS: i64 = 60_000;

/// All schedules in memory.
#[derive(Debug, Default)]
pub(crate) struct Schedules {
    known: Mutex<BTreeMap<Owner, Known>>,
    edit: tokio::sync::Mutex<()>,
    wake: Notify,
}

impl Schedules {
    /// All of a flow are gone with it.
    pub(crate) fn forget(&self, flow: FlowId) {
        lock(&self.known).retain(|owner, _| owner.0 != flow);
    }
}

/// Flow and index hash of the trigger's id.
type Owner = (FlowId, [u8; 16]);

#[derive(Clone, Debug)]
struct Known {
    row: ScheduleRow,
    /// As published; `None` if the flow has no such trigger any more.
    schedule: Option<Arc<Schedule>>,
    next_ms: Option<i64>,
    /// Not before this time: it failed.
    put_off_ms: i64,
    /// Its last change may not be stored: read it again first.
    doubtful: bool,
}

impl Known {
    fn new(mut row: ScheduleRow, schedule: Option<Arc<Schedule>>) -> Self {
        let armed = schedule.as_ref().filter(|_| row.armed && row.paused_by.is_none());
        let next_ms = armed.and_then(|schedule| Some(schedule.fires_at(schedule.next_after(row.mark_ms)?)));
        // Whatever fired before anybody noted it counts as fired.
        row.fired.get_or_insert_with(|| match row.last_ms {
            Some(_) => Stretches::unknown_until(row.mark_ms),
            None => Stretches::default(),
        });
        Self { row, schedule, next_ms, put_off_ms: 0, doubtful: false }
    }

    fn mark(&self) -> Mark {
        Mark { ms: self.row.mark_ms, gap: self.row.gap }
    }

    /// Whether there is something to do at this time.
    fn stirs(&self, now_ms: i64) -> bool {
        let due = self.next_ms.is_some_and(|next| next <= now_ms) || self.mark().rewound(now_ms).is_some();
        due && self.goes_on() && self.put_off_ms <= now_ms
    }

    /// Whether it fires at all now.
    fn goes_on(&self) -> bool {
        self.row.armed && self.row.paused_by.is_none() && self.schedule.is_some()
    }
}

fn with_mark(row: ScheduleRow, mark: Mark) -> ScheduleRow {
    ScheduleRow { mark_ms: mark.ms, gap: mark.gap, ..row }
}

fn row_key(tenant: TenantId, owner: Owner) -> Key {
    Key::tenant(tenant).id(owner.0.bytes()).id(owner.1)
}

/// Whether a schedule has other instants than its row was made for.
fn is_another(row: &ScheduleRow, schedule: &Schedule) -> bool {
    if row.settings.is_empty() { row.rule != schedule.rule() } else { row.settings != schedule.settings() }
}

/// The row under a schedule as it is published now.
fn under(row: ScheduleRow, schedule: &Schedule, armed: bool) -> ScheduleRow {
    // What was being made up for belongs to the rule that it was asked of.
    let backfill = row.backfill.clone().filter(|_| !is_another(&row, schedule));
    ScheduleRow { armed, rule: schedule.rule(), settings: schedule.settings().to_owned(), backfill, ..row }
}

/// Whether an instant fired before, also if the clock lives it again.
fn fired_before(row: &ScheduleRow, instant: i64) -> bool {
    row.fired.as_ref().is_some_and(|fired| fired.has(instant)) && !has(Bug::InstantsAreForgotten)
}

/// Why an instant fires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    /// It is its time, or was while nobody was there.
    Live,
    /// Somebody asked for past ones.
    Backfill,
}

/// An instant that is to become a run.
struct Firing {
    instant: i64,
    tick: Tick,
    cause: Cause,
    /// It has fired: only the row is stored.
    again: bool,
}

/// What became of it.
enum Fired {
    /// It is stored, with this row.
    Done(Box<ScheduleRow>),
    /// Nothing happened: its flow was disabled meanwhile, or there is no room yet.
    NotNow,
}

/// The schedule triggers of a flow.
fn triggers(flow: &Flow) -> impl Iterator<Item = (&str, Schedule)> {
    let schedules = flow.triggers.iter().filter(|trigger| trigger.on == "schedule");
    schedules.filter_map(|trigger| Some((trigger.id.as_str(), Schedule::read(&trigger.with).ok()?)))
}

/// What happens while an earlier run goes on: the flow's own concurrency decides unless the trigger says.
fn overlap(flow: &Flow, schedule: &Schedule) -> Overlap {
    let unsaid = match schedule.catch_up {
        _ if flow.concurrency.is_some() => Overlap::Allow,
        // Who wants all of them wants none left out because the one before has just begun.
        CatchUp::All => Overlap::Queue,
        CatchUp::Latest | CatchUp::Skip => Overlap::Skip,
    };
    schedule.overlap.unwrap_or(unsaid)
}

impl Driver {
    fn schedule_owner(&self, tenant: TenantId, flow: FlowId, trigger: &str) -> Owner {
        (flow, self.deps.store.index_hash(tenant, "schedule", &[trigger.as_bytes()]))
    }

    /// Reads the rows and fits them to what is published.
    pub(crate) async fn read_schedules(&self, tenant: TenantId) -> Result<(), EngineError> {
        let mut from = Key::tenant(tenant);
        let to = from.after_prefix();
        loop {
            let page: Vec<(Key, ScheduleRow)> =
                self.deps.store.scan(tenant, Table::Schedules, &from, &to, 256, false)?;
            let Some((last, _)) = page.last() else { break };
            from = last.next();
            let mut known = lock(&self.schedules.known);
            for (key, row) in page {
                let Some(hash) = key.id_at(32) else { continue };
                let row = if has(Bug::MissedInstantsAreForgotten) {
                    with_mark(row, Mark::begin(None, self.deps.clock.wall_ms()))
                } else {
                    row
                };
                known.insert((row.flow, hash), Known::new(row, None));
            }
        }
        for flow in self.deps.flows.ids(tenant) {
            self.fit_schedules(tenant, flow).await?;
        }
        Ok(())
    }

    /// A flow was published, enabled or disabled: its schedules begin, go on or rest.
    pub(crate) async fn fit_schedules(&self, tenant: TenantId, flow: FlowId) -> Result<(), EngineError> {
        let _one = self.schedules.edit.lock().await;
        let now = self.deps.clock.wall_ms();
        let published = self.deps.flows.published(tenant, flow);
        let mut wanted: HashMap<Owner, (String, Arc<Schedule>)> = HashMap::new();
        if let Some(published) = &published {
            for (trigger, schedule) in triggers(&published.flow) {
                let owner = self.schedule_owner(tenant, flow, trigger);
                let seed = self.deps.store.index_hash(tenant, "jitter", &[&flow.bytes(), trigger.as_bytes()]);
                wanted.insert(owner, (trigger.to_owned(), Arc::new(schedule.seeded(seed))));
            }
        }
        let enabled = published.as_ref().is_some_and(Published::starts);
        let keeps = published.is_some_and(|flow| flow.enabled && flow.paused);
        let mut txn = Txn::new();
        let mut changed = Vec::new();
        let of_flow: Vec<(Owner, Known)> = {
            let known = lock(&self.schedules.known);
            known.iter().filter(|((of, _), _)| *of == flow).map(|(owner, known)| (*owner, known.clone())).collect()
        };
        for (owner, known) in of_flow {
            let row = &ScheduleRow { keeps: keeps && (known.row.armed || known.row.keeps), ..known.row.clone() };
            let row = if enabled { &known.row } else { row };
            let (row, schedule) = match wanted.remove(&owner) {
                None => (ScheduleRow { armed: false, ..row.clone() }, None),
                Some((_, schedule)) if enabled && ((!row.armed && !row.keeps) || is_another(row, &schedule)) => {
                    let row = under(row.clone(), &schedule, true);
                    (with_mark(row, Mark::begin(Some(known.mark()), now)), Some(schedule))
                }
                Some((_, schedule)) => (under(row.clone(), &schedule, enabled), Some(schedule)),
            };
            let row = ScheduleRow { keeps: row.keeps && !row.armed, ..row };
            if row != known.row {
                self.deps.store.put(&mut txn, tenant, Table::Schedules, row_key(tenant, owner), &row)?;
            }
            changed.push((owner, Known::new(row, schedule)));
        }
        for (owner, (trigger, schedule)) in wanted {
            let mark = Mark::begin(None, now);
            let row = ScheduleRow {
                flow,
                trigger,
                rule: schedule.rule(),
                armed: enabled,
                mark_ms: mark.ms,
                gap: mark.gap,
                last_ms: None,
                last_run: None,
                missed: 0,
                settings: schedule.settings().to_owned(),
                fired: Some(Stretches::default()),
                last_note: String::new(),
                paused_by: None,
                keeps,
                backfill: None,
            };
            self.deps.store.put(&mut txn, tenant, Table::Schedules, row_key(tenant, owner), &row)?;
            changed.push((owner, Known::new(row, Some(schedule))));
        }
        if !txn.puts.is_empty() {
            self.deps.store.commit(txn).await?;
        }
        lock(&self.schedules.known).extend(changed);
        self.schedules.wake.notify_one();
        Ok(())
    }

    /// A restored store goes on: what was due since its snapshot may have fired elsewhere and is left out.
    async fn schedules_begin(&self, tenant: TenantId) -> Result<(), EngineError> {
        let _one = self.schedules.edit.lock().await;
        let now = self.deps.clock.wall_ms();
        let mut all: BTreeMap<Owner, Known> = lock(&self.schedules.known).clone();
        let mut txn = Txn::new();
        for (owner, known) in &mut all {
            let row = with_mark(known.row.clone(), Mark::begin(Some(known.mark()), now));
            self.deps.store.put(&mut txn, tenant, Table::Schedules, row_key(tenant, *owner), &row)?;
            *known = Known::new(row, known.schedule.clone());
        }
        if !all.is_empty() {
            self.deps.store.commit(txn).await?;
            lock(&self.schedules.known).extend(all);
        }
        Ok(())
    }

    /// Fires what is due, for ever.
    pub(crate) async fn schedules(self: Arc<Self>) {
        let restored = self.deps.hold.why().is_some_and(|why| why.restored_ms.is_some());
        tokio::select! {
            () = self.stopping.cancelled() => return,
            () = self.deps.hold.released() => {}
        }
        if restored && let Err(error) = self.schedules_begin(TenantId::DEFAULT).await {
            tracing::error!(%error, "the schedules of a restored store could not begin anew");
        }
        while !self.stopping.is_cancelled() {
            tokio::select! {
                () = self.stopping.cancelled() => return,
                () = self.deps.hold.released() => {}
            }
            // Without room nothing fires; what is due by then is late or missed, as after any absence.
            let next = match self.deps.room.tight() {
                Some(_) => Some(i64::MAX),
                None => {
                    let next = self.fire_schedules(TenantId::DEFAULT).await;
                    match self.work_backfills(TenantId::DEFAULT).await {
                        true => Some(next.unwrap_or(i64::MAX).min(self.deps.clock.wall_ms() + backfill::LOOK_MS)),
                        false => next,
                    }
                }
            };
            tokio::select! {
                () = self.stopping.cancelled() => return,
                () = self.schedules.wake.notified() => {}
                () = self.deps.clock.wait_wall(next, LOOK_MS) => {}
            }
        }
    }

    /// Fires everything due now; gives the time of the next instant.
    async fn fire_schedules(self: &Arc<Self>, tenant: TenantId) -> Option<i64> {
        let _one = self.schedules.edit.lock().await;
        let now = self.deps.clock.wall_ms();
        let stirring: Vec<Owner> = {
            let known = lock(&self.schedules.known);
            known.iter().filter(|(_, known)| known.stirs(now)).map(|(owner, _)| *owner).collect()
        };
        for owner in stirring {
            if self.stopping.is_cancelled() {
                return None;
            }
            if let Err(error) = self.fire_schedule(tenant, owner, now).await {
                tracing::error!(%error, "a schedule could not fire; it is tried again in a minute");
                if let Some(known) = lock(&self.schedules.known).get_mut(&owner) {
                    known.put_off_ms = now.saturating_add(LATER_MS);
                    known.doubtful = true;
                }
            }
        }
        let known = lock(&self.schedules.known);
        known.values().filter_map(|known| Some(known.next_ms?.max(known.put_off_ms))).min()
    }

    async fn fire_schedule(self: &Arc<Self>, tenant: TenantId, owner: Owner, now: i64) -> Result<(), EngineError> {
        let Some(mut known) = lock(&self.schedules.known).get(&owner).cloned() else { return Ok(()) };
        let Some(schedule) = known.schedule.clone() else { return Ok(()) };
        if known.doubtful {
            known = self.stored_schedule(tenant, owner, known)?;
        }
        let mut mark = known.mark();
        if let Some(back) = mark.rewound(now) {
            let (flow, trigger) = (&known.row.flow, &known.row.trigger);
            tracing::warn!(%flow, trigger, "the clock was set back out of a time that never was; the schedule goes on from here");
            mark = back;
        }
        let Some(Due { fire, missed, late, mark: end }) = decide::due(&schedule, mark, now) else {
            return self.keep(tenant, owner, with_mark(known.row, mark), &schedule).await;
        };
        let mut row = with_mark(known.row, Mark { ms: mark.ms, gap: end.gap });
        row.missed = row.missed.saturating_add(missed);
        if missed > 0 {
            let (flow, trigger) = (row.flow, row.trigger.clone());
            tracing::warn!(%flow, trigger, missed, "instants of a schedule were left out: nobody could fire them in time");
        }
        if fire.is_empty() {
            row.mark_ms = end.ms;
            return self.keep(tenant, owner, row, &schedule).await;
        }
        for (place, instant) in fire.into_iter().enumerate() {
            if self.stopping.is_cancelled() {
                return Ok(());
            }
            let tick = Tick {
                scheduled_at: schedule.local(instant),
                zone: schedule.zone_name().to_owned(),
                previous_at: row.last_ms.map(|last| schedule.local(last)),
                late,
                missed: if place == 0 { missed } else { 0 },
                cause: if late { "caught_up".to_owned() } else { on_time() },
            };
            // Between the mark and the first of them some may have been left out.
            let from = if place == 0 && missed > 0 { instant.saturating_sub(1) } else { row.mark_ms };
            let again = fired_before(&row, instant);
            row.fired.get_or_insert_default().fired(&schedule, from, instant);
            (row.mark_ms, row.last_ms) = (instant, Some(instant));
            row.last_note = match (tick.missed, late) {
                (0, true) => "caught up".to_owned(),
                (0, false) => String::new(),
                (missed, _) => format!("caught up; {missed} before it were left out"),
            };
            let firing = Firing { instant, tick, cause: Cause::Live, again };
            match self.fire_instant(tenant, owner, &schedule, row, firing).await? {
                Fired::Done(fired) => row = *fired,
                Fired::NotNow => return Ok(()),
            }
        }
        Ok(())
    }

    /// A schedule as its row says it.
    fn stored_schedule(&self, tenant: TenantId, owner: Owner, known: Known) -> Result<Known, EngineError> {
        let stored = self.deps.store.get::<ScheduleRow>(tenant, Table::Schedules, &row_key(tenant, owner))?;
        Ok(Known::new(stored.unwrap_or(known.row), known.schedule))
    }

    /// Stores a row that fires nothing now.
    async fn keep(
        &self,
        tenant: TenantId,
        owner: Owner,
        row: ScheduleRow,
        schedule: &Arc<Schedule>,
    ) -> Result<(), EngineError> {
        let mut txn = Txn::new();
        self.deps.store.put(&mut txn, tenant, Table::Schedules, row_key(tenant, owner), &row)?;
        self.deps.store.commit(txn).await?;
        lock(&self.schedules.known).insert(owner, Known::new(row, Some(Arc::clone(schedule))));
        Ok(())
    }

    /// One instant becomes one run: the row, the dedupe key and the run in one transaction.
    async fn fire_instant(
        self: &Arc<Self>,
        tenant: TenantId,
        owner: Owner,
        schedule: &Arc<Schedule>,
        mut row: ScheduleRow,
        firing: Firing,
    ) -> Result<Fired, EngineError> {
        let store = &self.deps.store;
        let permit = store.reserve().await?;
        let moment = self.moment();
        let instant = firing.instant.to_be_bytes();
        let hash = store.index_hash(tenant, "instant", &[&owner.0.bytes(), row.trigger.as_bytes(), &instant]);
        let (submitted, row) = {
            let intake = lock(&self.held);
            let mut txn = Txn::new();
            let published = self.deps.flows.published(tenant, owner.0).filter(Published::starts);
            let Some(flow) = published else {
                // Disabled this moment: the change that did it fits the row next.
                let _ = permit.submit(txn);
                return Ok(Fired::NotNow);
            };
            let submitted = if firing.again || store.dedupe_find(tenant, &hash, moment.now_ms).is_some() {
                store.put(&mut txn, tenant, Table::Schedules, row_key(tenant, owner), &row)?;
                Err(permit.submit(txn))
            } else {
                let event = EventId::from_bytes(self.new_run(&moment).bytes());
                let delivery = delivery(event, &row.trigger, &firing.tick, &moment);
                let mut gate = lock(&self.gate);
                let creation = self.creation(tenant, flow, delivery.clone(), schedule, firing.cause)?;
                let name = creation.flow.name.clone();
                let run = match self.create(creation, &moment, &mut gate, &mut txn) {
                    Ok(created) => Some(created),
                    // Nobody waits for it: it is tried again when there is room.
                    Err(EngineError::Full) if firing.cause == Cause::Backfill => return Ok(Fired::NotNow),
                    Err(EngineError::Full) => {
                        txn = Txn::new();
                        let reason = "too many runs of this schedule wait already".to_owned();
                        self.drop_event(tenant, &name, &delivery, reason, &mut txn)?;
                        None
                    }
                    Err(error) => return Err(error),
                };
                let became = run.as_ref().and_then(|created| created.ack.run_id);
                if firing.cause == Cause::Live {
                    row.last_run = became;
                    match &run {
                        Some(created) if became.is_none() => row.last_note = format!("no run: {}", created.reason),
                        None => row.last_note = "no run: too many wait already".to_owned(),
                        Some(_) => {}
                    }
                }
                if !has(Bug::InstantsAreForgotten) {
                    store.put(&mut txn, tenant, Table::Schedules, row_key(tenant, owner), &row)?;
                    let expires_ms = moment.now_ms.saturating_add(ms(DEDUPE_WINDOW.ms));
                    let entry = DedupeEntry { tenant, hash, event, run: became, expires_ms };
                    store.dedupe_remember(entry);
                    txn.dedupe.push(entry);
                }
                match run {
                    Some(created) => Ok(created.submit(permit, txn)),
                    None => Err(permit.submit(txn)),
                }
            };
            drop(intake);
            (submitted, row)
        };
        lock(&self.schedules.known).insert(owner, Known::new(row.clone(), Some(Arc::clone(schedule))));
        match submitted {
            Ok(submitted) => self.settle_apart(tenant, owner, submitted),
            Err(receipt) => drop(receipt.committed().await?),
        }
        Ok(Fired::Done(Box::new(row)))
    }

    fn creation(
        &self,
        tenant: TenantId,
        flow: Published,
        delivery: Delivery,
        schedule: &Schedule,
        cause: Cause,
    ) -> Result<Creation, EngineError> {
        let plan = self.plan(tenant, flow.id, &flow.version)?;
        let back = cause == Cause::Backfill;
        let when_full = match overlap(&flow.flow, schedule) {
            _ if back => flow.flow.concurrency.is_none().then_some(WhenFull::Queue),
            Overlap::Skip => Some(WhenFull::Drop),
            Overlap::Queue => Some(WhenFull::Queue),
            Overlap::Cancel => Some(WhenFull::Replace),
            Overlap::Allow => None,
        };
        let parts = [&flow.id.bytes()[..], delivery.trigger.as_bytes()];
        let label = if back { backfill::SLOT } else { "overlap" };
        let slot = when_full.map(|when| (self.deps.store.index_hash(tenant, label, &parts), when));
        Ok(Creation {
            tenant,
            plan,
            trigger: delivery.trigger.clone(),
            events: vec![delivery.event],
            events_more: 0,
            refused: None,
            input: Value::Null,
            // Somebody asked for these: they queue and are never left out.
            by_hand: back,
            overlap: slot,
            caller: None,
            replay: None,
            shown: None,
            sealed: None,
            run: None,
            flow,
            delivery,
        })
    }

    /// Waits for the commit and goes on with the run, beside the next instant.
    fn settle_apart(self: &Arc<Self>, tenant: TenantId, owner: Owner, submitted: Submitted) {
        let driver = Arc::clone(self);
        self.tasks.spawn(async move {
            if let Err(error) = driver.settle(tenant, submitted).await {
                tracing::error!(%error, "the run of a schedule could not be stored or go on");
                if let Some(known) = lock(&driver.schedules.known).get_mut(&owner) {
                    known.doubtful = true;
                }
            }
        });
    }
}

fn delivery(event: EventId, trigger: &str, tick: &Tick, moment: &Moment) -> Delivery {
    Delivery {
        event,
        trigger: trigger.to_owned(),
        method: SCHEDULE.to_owned(),
        query: String::new(),
        headers: vec![("content-type".to_owned(), "application/json".to_owned())],
        body: tick.body(),
        blob: None,
        came: None,
        received_ms: moment.now_ms,
    }
}
