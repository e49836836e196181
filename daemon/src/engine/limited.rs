//! Limits at work: under which keys a run and a call count, whose turn has come, and what of a rate is stored.
//!
//! Invariant: what of a rate is used up is written in the order in which it is used, and with a run's start or before
//! a call's bytes leave: so no restart forgets a use. [`super::limits`] decides, nothing here does.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use aura_protocol::expr::Template;
use aura_protocol::run::{Blocked, ErrorClass, Limited, RunHead, RunState as State, StepError};
use aura_protocol::{FlowId, RunId, TenantId, Value, filter, flow};
use aura_storage::rows::{ConnectionRecord, LimitRow, limit_key};
use aura_storage::{Key, Store, Table, Txn};

use super::backlog::Waiting;
use super::calls::Turn;
use super::core::bugs::{Bug, has};
use super::core::plan::PlanStep;
use super::core::scope::DoorScope;
use super::core::{Input, Moment};
use super::driver::{Driver, EngineError, Live, lock};
use super::gate::{Entry, Gate, rate_is_used};
use super::intake::Creation;
use super::limits::lanes::{Ask, Behind, Lane, Lanes, Need, PoolKey, Ticket};
use super::limits::window::Window;
use super::limits::{self, Limit, Rate, us};

/// Longest key that a sentence shows.
const KEY_SHOWN: usize = 60;
/// With more calls waiting than this a list does not say why each of its runs waits.
const TOLD_MAX: usize = 20_000;
/// What failed if it was the key of a throttle.
const THROTTLE: &str = "throttle key";
/// Stored rates looked at in one piece.
const PAGE: usize = 256;

/// The budget that the settings of a connection say.
#[must_use]
pub fn budget(record: &ConnectionRecord) -> Limit {
    let said = |name: &str| record.settings.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
    let most = said("concurrency").and_then(|text| text.parse::<u32>().ok()).filter(|most| *most > 0);
    let rate = said("rate").and_then(|text| flow::Rate::read(text).ok());
    Limit { most, rate: rate.as_ref().map(Rate::from) }
}

impl Driver {
    /// Microseconds of the engine's clock.
    pub(crate) fn now_us(&self) -> i64 {
        us(self.deps.clock.now_ms())
    }

    /// The limits of a run that is about to be created. An owner's failing expression never loses an event: the run is
    /// created and failed (rule 10), and counts nowhere.
    pub(crate) fn entry(&self, creation: &Creation, moment: &Moment) -> Counted {
        let flow = creation.flow.id;
        let free = Entry {
            tenant: creation.tenant,
            flow,
            slot: None,
            rate: None,
            priority: 0,
            throttle: None,
            of_schedule: false,
        };
        match self.entry_of(creation, moment, free) {
            Ok((entry, key)) => Counted { entry, key, refused: None },
            Err((what, message)) => {
                let of = if what == THROTTLE { "trigger" } else { "flow" };
                let message = format!("the {what} of the {of} failed: {message}");
                let refused = Some(StepError::new(ErrorClass::Invalid, message));
                Counted { entry: free, key: None, refused }
            }
        }
    }

    fn entry_of(
        &self,
        creation: &Creation,
        moment: &Moment,
        free: Entry,
    ) -> Result<(Entry, Option<String>), (&'static str, String)> {
        let plan = &creation.plan;
        if creation.refused.is_some() {
            return Ok((free, None));
        }
        let (mut entry, mut shown_as) = (free, None);
        if let Some((slot, _)) = creation.overlap {
            (entry.slot, entry.of_schedule) = (Some((slot, 1)), true);
        }
        let throttle = creation.throttle();
        if plan.concurrency.is_none() && plan.rate.is_none() && plan.priority.is_none() && throttle.is_none() {
            return Ok((entry, None));
        }
        let shown = &*shown_of(creation);
        let scope = DoorScope::creating(shown, &creation.input, moment);
        let text = |what: &'static str, key: Option<&Template>| match key {
            None => Ok(String::new()),
            Some(_) if has(Bug::KeysAreOne) => Ok(String::new()),
            Some(key) => {
                key.eval(&scope).map(|value| value.value.to_canonical_json()).map_err(|error| (what, error.to_string()))
            }
        };
        let hash = |label: &str, key: &str| {
            self.deps.store.index_hash(creation.tenant, label, &[&free.flow.bytes(), key.as_bytes()])
        };
        if let Some(policy) = plan.concurrency.as_ref().filter(|_| creation.overlap.is_none()) {
            let key = text("concurrency key", policy.key.as_ref())?;
            entry.slot = Some((hash("concurrency", &key), policy.limit));
            shown_as = policy.key.as_ref().map(|_| shown_key(&key));
        }
        if let Some(policy) = &plan.rate {
            let key = text("key of the rate", policy.key.as_ref())?;
            entry.rate = Some((hash("rate", &key), Some(policy.rate)));
            shown_as = shown_as.or(policy.key.as_ref().map(|_| shown_key(&key)));
        }
        if let Some(throttle) = throttle {
            let key = text(THROTTLE, throttle.key.as_ref())?;
            let parts = [&free.flow.bytes()[..], creation.trigger.as_bytes(), key.as_bytes()];
            let hash = self.deps.store.index_hash(creation.tenant, "throttle", &parts);
            (entry.rate, entry.throttle) = (Some((hash, Some(throttle.rate))), Some(throttle.on_excess));
            shown_as = shown_as.or(throttle.key.as_ref().map(|_| shown_key(&key)));
        }
        if let Some(priority) = &plan.priority {
            let value = priority.eval(&scope).map_err(|error| ("priority", error.to_string()))?.value;
            entry.priority = limits::priority(&value).map_err(|message| ("priority", message))?;
        }
        Ok((entry, shown_as))
    }

    /// Index hashes of the values by which a run is found: those of its flow's `index`, and whom it is about. What has
    /// no such value is not found by it.
    pub(crate) fn index_of(&self, creation: &Creation, moment: &Moment) -> Vec<[u8; 16]> {
        let plan = &creation.plan;
        if plan.index.is_empty() && plan.subject.is_none() {
            return Vec::new();
        }
        let shown = &*shown_of(creation);
        let (store, tenant) = (&self.deps.store, creation.tenant);
        let mut found = Vec::new();
        for path in &plan.index {
            let (root, rest) = path.split_once('.').unwrap_or((path, ""));
            let whole = if root == "input" { &creation.input } else { shown };
            let text = filter::field(whole, rest).and_then(filter::text_of);
            found.extend(text.map(|text| indexed(store, tenant, path, &text)));
        }
        let subject = plan
            .subject
            .as_ref()
            .and_then(|subject| subject.eval(&DoorScope::creating(shown, &creation.input, moment)).ok());
        let subject = subject.and_then(|value| filter::text_of(&value.value));
        found.extend(subject.map(|text| indexed(store, tenant, SUBJECT, &text)));
        found.sort_unstable();
        found.dedup();
        found
    }

    /// What is stored of a rate, if it is not in memory.
    pub(crate) fn restore_rate(&self, tenant: TenantId, entry: &Entry, gate: &mut Gate) {
        if let Some(ask) = entry.rate_ask() {
            self.restore(tenant, ask, gate.lanes());
        }
    }

    fn restore<T>(&self, tenant: TenantId, ask: Ask, lanes: &mut Lanes<TenantId, T>) {
        if ask.limit.rate.is_none() || lanes.knows(ask.key) {
            return;
        }
        match self.deps.store.get::<LimitRow>(tenant, Table::Limits, &limit_key(tenant, ask.key)) {
            Ok(Some(row)) => lanes.restore(ask, Window::of(&row)),
            Ok(None) => {}
            // It counts from anew: too early is better than never.
            Err(error) => tracing::error!(%error, "what is used of a rate cannot be read"),
        }
    }

    /// Writes what is used of the rate of a run that starts. The gate stays locked until the transaction is submitted.
    pub(crate) fn put_rate(
        &self,
        tenant: TenantId,
        entry: &Entry,
        gate: &mut Gate,
        txn: &mut Txn,
    ) -> Result<(), EngineError> {
        let Some((key, Some(_))) = entry.rate else { return Ok(()) };
        self.put_window(tenant, key, gate.lanes(), txn)
    }

    fn put_window<T>(
        &self,
        tenant: TenantId,
        key: PoolKey,
        lanes: &Lanes<TenantId, T>,
        txn: &mut Txn,
    ) -> Result<(), EngineError> {
        if let Some((window, rate)) = lanes.window(key) {
            self.deps.store.put(txn, tenant, Table::Limits, limit_key(tenant, key), &window.row(rate))?;
        }
        Ok(())
    }

    /// Queued runs whose turn has come start.
    pub(crate) fn pump_runs(self: &Arc<Self>) {
        loop {
            let Some((run, entry)) = lock(&self.gate).next(self.now_us()) else { break };
            self.unqueue(run, entry);
        }
        if lock(&self.gate).lanes().wakes_us().is_some() {
            self.rates_changed.notify_one();
        }
    }

    /// A run no longer holds its key, or does not wait any more: who waits behind it goes on.
    pub(crate) fn release(self: &Arc<Self>, slot: Option<PoolKey>, run: RunId) {
        lock(&self.gate).release(slot, run, self.now_us());
        self.pump_runs();
    }

    /// A queued run got its turn. If it cannot go on it gives its key back, or all behind it would stand still.
    fn unqueue(self: &Arc<Self>, run: RunId, entry: Entry) {
        let driver = Arc::clone(self);
        self.tasks.spawn(async move {
            match driver.start_queued(run, &entry).await {
                Ok(_) | Err(EngineError::Commit(_)) => {}
                Err(error) => {
                    tracing::error!(%run, %error, "a queued run could not start; the next one of its key does");
                    driver.release(entry.slot.map(|(key, _)| key), run);
                }
            }
        });
    }

    async fn start_queued(self: &Arc<Self>, run: RunId, entry: &Entry) -> Result<RunHead, EngineError> {
        let tenant = entry.tenant;
        if entry.rate.is_none() {
            return self.transition(tenant, run, Input::Unqueue, Txn::new()).await;
        }
        let permit = self.deps.store.reserve().await?;
        let cell = self.cell(run);
        let decided = {
            let mut gate = lock(&self.gate);
            let mut txn = Txn::new();
            let put = self.put_rate(tenant, entry, &mut gate, &mut txn);
            let mut place = lock(&cell);
            put.and_then(|()| self.decided(tenant, run, &mut place, Input::Unqueue, txn)).map(|(mut done, txn)| {
                done.receipt = Some(permit.submit(txn.unwrap_or_default()));
                done
            })
        };
        match decided {
            Ok(done) => self.finish(tenant, run, cell, done).await,
            Err(error) => {
                self.forget_idle(run, cell);
                Err(error)
            }
        }
    }

    /// What a flow limits now, for those who wait already.
    pub(crate) fn limits_changed(self: &Arc<Self>, tenant: TenantId, flow: FlowId) {
        if let Some(published) = self.deps.flows.published(tenant, flow) {
            let most = published.flow.concurrency.as_ref().map(|policy| policy.limit.max(1));
            let rate = published.flow.rate.as_ref().map(Rate::from);
            lock(&self.gate).set_limits(flow, most, rate, self.now_us());
            self.pump_runs();
        }
    }

    /// What a connection allows now, for the calls that wait already.
    pub(crate) fn budget_changed(self: &Arc<Self>, record: &ConnectionRecord) {
        let limit = budget(record);
        let now_us = self.now_us();
        lock(&self.backlog).lanes().set_limits(record.id.bytes(), now_us, &|_, _| limit);
        self.pump_calls();
    }

    /// Whether a call of a step never waits for a limit of its own.
    pub(crate) fn is_unlimited(&self, tenant: TenantId, step: &PlanStep) -> bool {
        step.counted.as_ref().is_none_or(|counted| counted.limit == Limit::default())
            && step.kind.connection().is_none_or(|name| {
                let record = self.deps.flows.connection(tenant, name);
                record.is_none_or(|record| budget(&record) == Limit::default())
            })
    }

    /// What a call waits for, and who goes first.
    pub(crate) fn need(&self, live: &Live, step: &PlanStep, limited: Option<&Limited>) -> (Need, i32) {
        let tenant = live.tenant;
        let started = live.state.started.as_ref();
        let of_run = started.map_or(0, |started| started.priority);
        let priority = limited.and_then(|limited| limited.priority).unwrap_or(of_run);
        let narrow = step.counted.as_ref().filter(|counted| counted.limit != Limit::default()).map(|counted| {
            let flow = started.map_or([0; 16], |started| started.flow_id.bytes());
            let key = limited.map(|limited| limited.key.as_str()).unwrap_or_default();
            let key = self.deps.store.index_hash(tenant, "limit step", &[&flow, step.id.as_bytes(), key.as_bytes()]);
            Ask { key, owner: flow, limit: counted.limit }
        });
        let wide = step.kind.connection().and_then(|name| {
            let record = self.deps.flows.connection(tenant, name)?;
            let limit = budget(&record);
            let key = || self.deps.store.index_hash(tenant, "limit connection", &[&record.id.bytes()]);
            (limit != Limit::default()).then(|| Ask { key: key(), owner: record.id.bytes(), limit })
        });
        (Need { narrow, wide }, priority)
    }

    /// What is stored of the rates of a call.
    pub(crate) fn restore_need(&self, tenant: TenantId, need: &Need) {
        for ask in need.asks() {
            self.restore(tenant, ask, lock(&self.backlog).lanes());
        }
    }

    /// A call is about to leave: its use of its rates counts from now, also after a restart.
    pub(crate) async fn uses_rates(&self, tenant: TenantId, turn: &Turn) -> Result<(), EngineError> {
        let lane = turn.lane();
        if lane == Lane::default() {
            return Ok(());
        }
        let permit = self.deps.store.reserve().await?;
        let receipt = {
            let mut backlog = lock(&self.backlog);
            let now_us = self.now_us();
            backlog.lanes().used(lane, now_us);
            // From here on, also if it is not stored.
            turn.counts();
            if backlog.lanes().wakes_us().is_some() {
                // Only now it is known when who waits behind it may go on.
                self.rates_changed.notify_one();
            }
            let mut txn = Txn::new();
            for key in lane.narrow.into_iter().chain(lane.wide) {
                self.put_window(tenant, key, backlog.lanes(), &mut txn)?;
            }
            (!txn.puts.is_empty()).then(|| permit.submit(txn))
        };
        if let Some(receipt) = receipt {
            receipt.committed().await?;
        }
        Ok(())
    }

    /// Wakes who waits for a rate, for ever.
    pub(crate) async fn rates(self: Arc<Self>) {
        while !(self.stopping.is_cancelled() || self.retired.is_cancelled()) {
            let next = [lock(&self.gate).lanes().wakes_us(), lock(&self.backlog).lanes().wakes_us()];
            let next = next.into_iter().flatten().min();
            // Rounded up: a moment too early would find nothing.
            let due = next.map_or(i64::MAX, |at| at / 1000 + i64::from(at % 1000 > 0));
            tokio::select! {
                () = self.stopping.cancelled() => return,
                () = self.retired.cancelled() => return,
                () = self.rates_changed.notified() => {}
                () = self.deps.clock.wait_until(due) => {
                    self.pump_runs();
                    self.pump_calls();
                }
            }
        }
    }

    /// Removes stored rates that say nothing any more; gives how many rows went.
    ///
    /// # Errors
    /// The store cannot be read or written.
    pub(crate) async fn sweep_limits(&self, tenant: TenantId) -> Result<usize, EngineError> {
        let now_us = self.now_us();
        lock(&self.gate).lanes().tidy(now_us);
        lock(&self.backlog).lanes().tidy(now_us);
        let (mut from, to) = (Key::tenant(tenant), Key::tenant(tenant).after_prefix());
        let mut gone = 0;
        loop {
            let page: Vec<(Key, LimitRow)> = self.deps.store.scan(tenant, Table::Limits, &from, &to, PAGE, false)?;
            let now_ms = self.deps.clock.now_ms();
            // A minute more: what is in memory may be written once more.
            let over = page.iter().filter(|(_, row)| row.until_ms.saturating_add(60_000) < now_ms);
            let mut txn = Txn::new();
            over.for_each(|(key, _)| txn.delete(Table::Limits, key.clone()));
            gone += txn.deletes.len();
            if !txn.deletes.is_empty() {
                self.deps.store.commit_low(txn).await?;
            }
            match page.last() {
                Some((key, _)) if page.len() == PAGE => from = key.next(),
                _ => return Ok(gone),
            }
        }
    }

    /// Says of runs that wait behind a limit why, as things stand now.
    pub(crate) fn tell_blocked(&self, heads: &mut [RunHead], always: bool) {
        {
            let gate = lock(&self.gate);
            for head in heads.iter_mut().filter(|head| head.state == State::Queued) {
                if let Some(why) = gate.why(head.run) {
                    // The key as text stands in the row.
                    let key = head.blocked_by.take().and_then(|before| before.key);
                    head.blocked_by = Some(with_key(why, key));
                }
            }
        }
        let working = |state: State| matches!(state, State::Running | State::InDoubt);
        let wanted: HashMap<RunId, usize> =
            heads.iter().enumerate().filter(|(_, head)| working(head.state)).map(|(at, head)| (head.run, at)).collect();
        let mut backlog = lock(&self.backlog);
        if wanted.is_empty() || backlog.len() == 0 || (!always && backlog.len() > TOLD_MAX) {
            return;
        }
        let found: Vec<(Ticket, Waiting)> = {
            let waiting = backlog.of_runs(&|run| wanted.contains_key(&run));
            waiting.into_iter().map(|(ticket, call)| (ticket, call.clone())).collect()
        };
        let mut told: HashMap<RunId, Ticket> = HashMap::new();
        for (ticket, call) in &found {
            if told.get(&call.run).is_some_and(|first| first.order <= ticket.order) {
                continue;
            }
            told.insert(call.run, *ticket);
            let (behind, ahead) = backlog.lanes().why(*ticket);
            let Some(head) = wanted.get(&call.run).and_then(|at| heads.get_mut(*at)) else { continue };
            let ahead = u64::try_from(ahead).unwrap_or(u64::MAX);
            let (what, until_us) = match behind {
                Behind::Full(_, at_work, most) => {
                    (format!("waits for its limit: {at_work} of {most} calls are at work"), None)
                }
                Behind::Rate(_, rate, next) => (rate_is_used(rate, next), next),
                Behind::Places => ("waits for its turn: as many calls as may be are at work".to_owned(), None),
            };
            let which = match behind {
                Behind::Full(key, ..) | Behind::Rate(key, ..) if ticket.lane.wide == Some(key) => {
                    Some("connection".to_owned())
                }
                Behind::Full(..) | Behind::Rate(..) => Some(format!("limit of {}", call.path)),
                Behind::Places => None,
            };
            let of = which.as_ref().map_or(String::new(), |which| format!(" ({which})"));
            let reason = format!("{} {what}{of}; {ahead} ahead", call.path);
            let until_ms = until_us.map(|at| at / 1000);
            head.blocked_by = Some(Blocked { reason, until_ms, key: which, ahead: Some(ahead) });
        }
    }
}

/// The name under which runs are found by whom they are about.
pub const SUBJECT: &str = "subject";

/// The index hash of a value by which runs are found.
#[must_use]
pub fn indexed(store: &Store, tenant: TenantId, path: &str, text: &str) -> [u8; 16] {
    store.index_hash(tenant, "index", &[path.as_bytes(), text.as_bytes()])
}

/// The limits under which a run counts.
pub(crate) struct Counted {
    pub entry: Entry,
    /// Its key as people see it.
    pub key: Option<String>,
    /// Why the owner's expressions do not say.
    pub refused: Option<StepError>,
}

/// Why a run waits, with the key behind which it does.
pub(crate) fn with_key(why: Blocked, key: Option<String>) -> Blocked {
    let reason = match &key {
        Some(key) => format!("{} (key {key})", why.reason),
        None => why.reason,
    };
    Blocked { reason, key, ..why }
}

/// `trigger` of a run to be created, read from its delivery unless that was done already.
fn shown_of(creation: &Creation) -> Cow<'_, Value> {
    creation.shown.as_ref().map_or_else(|| Cow::Owned(creation.delivery.to_trigger()), Cow::Borrowed)
}

/// A key in a sentence: short, without what could break the line.
fn shown_key(key: &str) -> String {
    let text = aura_protocol::text::display(key);
    match text.char_indices().nth(KEY_SHOWN) {
        Some((cut, _)) => format!("{}…", text.get(..cut).unwrap_or_default()),
        None => text,
    }
}
