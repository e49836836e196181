//! Backfills: a flow runs over a provider's past objects, once each, behind everything that is live.
//!
//! Invariant: as for polls, what was read, what was told and how far it came are one transaction under the lock of
//! what is known. A backfill asks for its next page only while little waits: whatever is live goes first.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aura_protocol::flow::Trigger;
use aura_protocol::ids::BackfillId;
use aura_protocol::rpc::{BackfillAsk, BackfillEffect, BackfillInfo, BackfillWhat};
use aura_protocol::run::{ErrorClass, StepError};
use aura_protocol::source::{self, BACKFILL, Order, Poll, Source, WINDOW};
use aura_protocol::text::display;
use aura_protocol::{Code, FlowId, TenantId, Value, WireError};
use aura_storage::rows::{BackfillRow, BackfillState, ReadTo};
use aura_storage::{Key, Receipt, Table, Txn};

use super::page::{self, Bounds, Object};
use super::{Asking, Listener, OwnKey, again_after, chunks, made_ms};
use crate::engine::Published;
use crate::engine::core::state::ms;
use crate::engine::driver::{Driver, EngineError, lock};

/// Backfills that are remembered; the oldest that ended are forgotten first.
const KEPT: usize = 200;
/// With so many calls waiting no page is read.
const CALLS_MAX: usize = 100;
/// With so many queued runs of its flow no page is read.
const QUEUED_MAX: usize = 200;
/// How often who waits looks again.
const BREATH: Duration = Duration::from_millis(100);
/// After so many failures in a row that will not mend themselves it stands still.
const TRIES: u32 = 3;

/// All backfills in memory.
#[derive(Debug, Default)]
pub(crate) struct Backfills {
    known: Mutex<BTreeMap<BackfillId, Known>>,
    edit: tokio::sync::Mutex<()>,
}

impl Backfills {
    /// All of a flow are gone with it.
    pub(crate) fn forget(&self, flow: FlowId) {
        lock(&self.known).retain(|_, known| known.row.flow != flow);
    }
}

#[derive(Clone, Debug)]
struct Known {
    row: BackfillRow,
    busy: bool,
    waits: Option<&'static str>,
    next_ms: Option<i64>,
    generation: u64,
}

impl Known {
    fn new(row: BackfillRow) -> Self {
        Self { row, busy: false, waits: None, next_ms: None, generation: 0 }
    }
}

/// What of a page a backfill tells.
#[derive(Default)]
struct Sifted {
    fresh: Vec<Object>,
    seen: u64,
    skipped: u64,
    stop: bool,
}

/// Why a backfill does not go on now.
enum Ended {
    Over,
    /// Its flow is deleted.
    Gone,
    Failed(StepError),
    Store(EngineError),
}

impl From<StepError> for Ended {
    fn from(error: StepError) -> Self {
        Self::Failed(error)
    }
}
impl From<EngineError> for Ended {
    fn from(error: EngineError) -> Self {
        Self::Store(error)
    }
}

fn row_key(tenant: TenantId, id: BackfillId) -> Key {
    Key::tenant(tenant).id(id.bytes())
}

/// What a person wrote as a time: RFC 3339, a day, a span back from now, or a number as it is.
pub(crate) fn bound(text: &str, now_ms: i64) -> Result<Value, WireError> {
    let text = text.trim();
    let at = |ms: i64| Value::from(aura_protocol::event::timestamp(ms));
    if let Ok(time) = text.parse::<jiff::Timestamp>() {
        return Ok(at(time.as_millisecond()));
    }
    if text.len() == 10
        && let Ok(day) = text.parse::<jiff::civil::Date>()
        && let Ok(time) = day.to_zoned(jiff::tz::TimeZone::UTC)
    {
        return Ok(at(time.timestamp().as_millisecond()));
    }
    if let Ok(span) = text.parse::<aura_protocol::flow::Span>() {
        return Ok(at(now_ms.saturating_sub(ms(span.ms))));
    }
    if let Some(number) = Value::from_number_text(text) {
        return Ok(number);
    }
    let message = format!("`{}` is no time", display(text));
    Err(WireError::new(Code::Invalid, message).hint("write 2026-05-31, 2026-05-31T08:00:00Z, 90d (ago) or a number"))
}

impl Driver {
    /// The source of a trigger: its own, or what its connector says of the event.
    pub(crate) fn source_of(&self, trigger: &Trigger) -> Option<Source> {
        let connection = trigger.connection.as_deref();
        source::of_trigger(&trigger.on, connection, &trigger.with).or_else(|| {
            let of_event = self.deps.registry.trigger(&trigger.on)?.backfill.as_ref()?.as_map()?;
            Source::read(of_event, connection).ok()
        })
    }

    /// Of a flow, the trigger that a backfill is for, with its source.
    pub(crate) fn backfilled(&self, flow: &Published, wanted: Option<&str>) -> Result<(Trigger, Source), WireError> {
        let shown = display(&flow.name);
        let triggers = flow.flow.triggers.iter().filter(|trigger| wanted.is_none_or(|wanted| wanted == trigger.id));
        let mut found: Vec<(Trigger, Source)> =
            triggers.filter_map(|trigger| Some((trigger.clone(), self.source_of(trigger)?))).collect();
        match found.len() {
            1 => found.pop().ok_or_else(|| WireError::internal("a trigger is lost")),
            0 => {
                let message = format!("no trigger of {shown} says where its past objects are read");
                Err(WireError::new(Code::Invalid, message)
                    .hint("add a `poll` trigger, or `with: { backfill: { uses: …, key: … } }` to the one it has"))
            }
            _ => {
                let names: Vec<&str> = found.iter().map(|(trigger, _)| trigger.id.as_str()).collect();
                let message = format!("{shown} has several triggers with past objects: {}", names.join(", "));
                Err(WireError::new(Code::Invalid, message).hint("name one with --trigger"))
            }
        }
    }

    /// Reads the rows and goes on with those that run.
    pub(crate) fn read_backfills(self: &Arc<Self>, tenant: TenantId) -> Result<(), EngineError> {
        let (from, to) = (Key::tenant(tenant), Key::tenant(tenant).after_prefix());
        let rows: Vec<(Key, BackfillRow)> =
            self.deps.store.scan(tenant, Table::Backfills, &from, &to, KEPT * 2, false)?;
        {
            let mut known = lock(&self.backfills.known);
            for (key, row) in rows {
                if let Some(id) = key.id_at(16) {
                    known.insert(BackfillId::from_bytes(id), Known::new(row));
                }
            }
        }
        self.go_on_backfills(tenant);
        Ok(())
    }

    /// Spawns whatever runs and is not at work.
    fn go_on_backfills(self: &Arc<Self>, tenant: TenantId) {
        let mut known = lock(&self.backfills.known);
        for (id, known) in known.iter_mut().filter(|(_, it)| !it.busy && it.row.state == BackfillState::Running) {
            known.busy = true;
            let (driver, id) = (Arc::clone(self), *id);
            self.tasks.spawn(async move {
                driver.backfill(tenant, id).await;
            });
        }
    }

    /// Begins a backfill.
    pub(crate) async fn start_backfill(
        self: &Arc<Self>,
        tenant: TenantId,
        flow: Published,
        ask: BackfillAsk,
        by: &str,
    ) -> Result<BackfillInfo, WireError> {
        let _one = self.backfills.edit.lock().await;
        let now = self.deps.clock.now_ms();
        let (trigger, source) = self.backfilled(&flow, ask.trigger.as_deref())?;
        let bounds = self.bounds(&source, &ask, now)?;
        let reads = |name: &str| source.reads.iter().any(|read| read == name);
        // Who does not ask for `since` begins with it as a cursor.
        let cursor = if reads("since") { Value::Null } else { bounds.since.clone() };
        let row = BackfillRow {
            flow: flow.id,
            name: flow.name.clone(),
            trigger: trigger.id.clone(),
            identity: source.identity.clone(),
            since: bounds.since,
            until: bounds.until,
            again: ask.again,
            limit: ask.limit,
            state: BackfillState::Running,
            by: by.to_owned(),
            created_ms: now,
            ended_ms: None,
            place: ReadTo { cursor, ..ReadTo::default() },
            pages: 0,
            seen: 0,
            told: 0,
            skipped: 0,
            expected: ask.expected,
            failures: 0,
            error: String::new(),
        };
        let permit = self.deps.store.reserve().await.map_err(EngineError::from)?;
        let id = BackfillId::from_bytes(self.new_run(&self.moment()).bytes());
        let receipt = {
            let mut known = lock(&self.backfills.known);
            let open = |it: &&Known| matches!(it.row.state, BackfillState::Running | BackfillState::Paused);
            let other = known.iter().find(|(_, it)| open(it) && it.row.flow == flow.id && it.row.trigger == trigger.id);
            if let Some((other, _)) = other {
                let message = format!("a backfill of {}/{} is not over", flow.name, trigger.id);
                return Err(WireError::new(Code::Conflict, message)
                    .hint(format!("`aura backfill show {other}`; it can be resumed or cancelled")));
            }
            let mut txn = Txn::new();
            let over: Vec<BackfillId> = known.iter().filter(|(_, it)| !open(it)).map(|(id, _)| *id).collect();
            for old in over.iter().take((known.len() + 1).saturating_sub(KEPT)) {
                known.remove(old);
                txn.delete(Table::Backfills, row_key(tenant, *old));
            }
            let key = row_key(tenant, id);
            self.deps.store.put(&mut txn, tenant, Table::Backfills, key, &row).map_err(EngineError::from)?;
            known.insert(id, Known::new(row));
            permit.submit(txn)
        };
        receipt.committed().await.map_err(EngineError::from)?;
        self.go_on_backfills(tenant);
        self.backfill_info(id)
    }

    /// The bounds that were asked for, if the source can keep them.
    pub(crate) fn bounds(&self, source: &Source, ask: &BackfillAsk, now_ms: i64) -> Result<Bounds, WireError> {
        if ask.limit == Some(0) {
            let error = WireError::new(Code::Invalid, "a backfill of 0 objects tells nothing");
            return Err(error.hint("give --limit a number from 1 on, or leave it out"));
        }
        let refuse = |what: &str, hint: &str| {
            Err(WireError::new(Code::Invalid, format!("this source cannot be read {what} a time")).hint(hint))
        };
        let of = |text: &Option<String>| text.as_deref().map_or(Ok(Value::Null), |text| bound(text, now_ms));
        let compares = source.cursor.is_some() && source.cursor_of_item;
        if ask.since.is_some() && !source.takes_since() && !compares {
            return refuse("since", "let its `input` read `since` or `cursor`, or give it a `cursor` of its objects");
        }
        if ask.until.is_some() && !source.takes_until() {
            return refuse("until", "let its `input` read `until`, or give it a `cursor` of its objects");
        }
        Ok(Bounds { since: of(&ask.since)?, until: of(&ask.until)? })
    }

    /// Reads page after page until all is told or somebody holds it.
    async fn backfill(self: Arc<Self>, tenant: TenantId, id: BackfillId) {
        loop {
            let Some(begun) = lock(&self.backfills.known).get(&id).cloned() else { return };
            if begun.row.state != BackfillState::Running {
                break;
            }
            let mut is_over = false;
            let failed = match self.backfill_page(tenant, id, &begun).await {
                Ok(true) => continue,
                Ok(false) => break,
                Err(Ended::Over) => {
                    if self.stopping.is_cancelled() || self.retired.is_cancelled() {
                        return;
                    }
                    continue;
                }
                Err(Ended::Store(error)) => {
                    tracing::error!(%error, "what a backfill read could not be stored; it is read again");
                    StepError::new(ErrorClass::Internal, "what was read could not be stored")
                }
                Err(Ended::Failed(error)) => error,
                Err(Ended::Gone) => {
                    is_over = true;
                    let message = "its flow is deleted; begin another one if it comes back";
                    StepError::new(ErrorClass::NotFound, message)
                }
            };
            let pause = match self.backfill_failed(tenant, id, begun.generation, (&failed, is_over)).await {
                Ok(pause) => pause,
                Err(error) => {
                    tracing::error!(%error, "how a backfill failed could not be stored");
                    ms(60_000)
                }
            };
            let until = self.deps.clock.now_ms().saturating_add(pause);
            if let Some(known) = lock(&self.backfills.known).get_mut(&id) {
                known.next_ms = Some(until);
            }
            while self.deps.clock.now_ms() < until && self.is_generation(id, begun.generation) {
                tokio::select! {
                    () = self.stopping.cancelled() => return,
                    () = self.retired.cancelled() => return,
                    () = tokio::time::sleep(BREATH) => {}
                }
            }
        }
        if let Some(known) = lock(&self.backfills.known).get_mut(&id) {
            (known.busy, known.waits, known.next_ms) = (false, None, None);
        }
        // Resumed in the moment in which it ended.
        self.go_on_backfills(tenant);
    }

    fn is_generation(&self, id: BackfillId, generation: u64) -> bool {
        lock(&self.backfills.known).get(&id).is_some_and(|known| known.generation == generation)
    }

    fn waits(&self, id: BackfillId, why: Option<&'static str>) {
        if let Some(known) = lock(&self.backfills.known).get_mut(&id) {
            (known.waits, known.next_ms) = (why, None);
        }
    }

    /// Waits until nothing that is live would wait because of it; false: somebody changed it.
    async fn may_backfill(&self, id: BackfillId, begun: &Known) -> Option<bool> {
        loop {
            if !self.is_generation(id, begun.generation) {
                return Some(false);
            }
            self.quiet().await?;
            // Deleted: that is found out, and not waited for.
            let published = self.deps.flows.published(TenantId::DEFAULT, begun.row.flow);
            let why = if published.is_some_and(|flow| !flow.starts()) {
                "its flow is off or paused"
            } else if lock(&self.backlog).len() >= CALLS_MAX {
                "live calls wait for their turn"
            } else if lock(&self.gate).waiting_of(begun.row.flow) >= QUEUED_MAX {
                "runs of its flow wait behind a limit"
            } else {
                self.waits(id, Some("its connection's budget"));
                return Some(true);
            };
            self.waits(id, Some(why));
            tokio::select! {
                () = self.stopping.cancelled() => return None,
                () = self.retired.cancelled() => return None,
                () = tokio::time::sleep(BREATH) => {}
            }
        }
    }

    /// One page; false: it was the last.
    async fn backfill_page(self: &Arc<Self>, tenant: TenantId, id: BackfillId, begun: &Known) -> Result<bool, Ended> {
        match self.may_backfill(id, begun).await {
            Some(true) => {}
            Some(false) | None => return Err(Ended::Over),
        }
        let gone = |what: &str| Ended::Failed(StepError::new(ErrorClass::NotFound, what));
        let published = self.deps.flows.published(tenant, begun.row.flow).ok_or(Ended::Gone)?;
        let trigger = published.flow.triggers.iter().find(|trigger| trigger.id == begun.row.trigger);
        let trigger = trigger.ok_or_else(|| gone("its flow has no such trigger any more"))?;
        let source = self.source_of(trigger).ok_or_else(|| gone("its trigger does not say any more what is read"))?;
        if source.identity != begun.row.identity {
            let message = "its trigger reads something else by now: cancel it and begin another one";
            return Err(Ended::Failed(StepError::new(ErrorClass::Invalid, message)));
        }
        let window = Poll::read(&trigger.with, None).map_or(WINDOW, |poll| poll.window);
        let listener = Listener {
            tenant,
            flow: begun.row.flow,
            trigger: &begun.row.trigger,
            method: BACKFILL,
            window_ms: ms(window.ms),
        };
        let bounds = Bounds { since: begun.row.since.clone(), until: begun.row.until.clone() };
        let input = page::asked(&source, &begun.row.place, &bounds, &self.moment())?;
        let wanted = || self.is_generation(id, begun.generation) && self.goes_on(tenant, begun.row.flow).is_some();
        let said = self.ask_source(tenant, &source, &input, Asking::while_wanted(&wanted)).await;
        let said = said.ok_or(Ended::Over)?;
        self.waits(id, None);
        let read = page::read(&source, &begun.row.place, &bounds, &said.answer?, &self.moment())?;
        self.take_backfill(&listener, id, (&source, &bounds), begun, read).await
    }

    /// What of a page is told.
    fn sift_backfill(
        &self,
        listener: &Listener<'_>,
        id: BackfillId,
        (source, bounds): (&Source, &Bounds),
        row: &BackfillRow,
        objects: &[Object],
    ) -> Sifted {
        let now = self.deps.clock.now_ms();
        let mut sifted = Sifted::default();
        for object in objects {
            if page::is_behind(&object.cursor, &bounds.until) == Some(true) {
                if source.order == Order::Oldest {
                    sifted.stop = true;
                    break;
                }
                continue;
            }
            if page::is_behind(&bounds.since, &object.cursor) == Some(true) {
                if source.order == Order::Newest {
                    sifted.stop = true;
                    break;
                }
                continue;
            }
            let own = self.own_hash(listener, id, &object.key);
            let hash = if row.again { own } else { self.object_hash(listener, &object.key) };
            match self.deps.store.dedupe_find(listener.tenant, &hash, now) {
                // Told by this one before a kill.
                Some(entry) if made_ms(entry.event) >= row.created_ms => {}
                Some(_) => {
                    sifted.seen += 1;
                    sifted.skipped += 1;
                }
                None => {
                    sifted.seen += 1;
                    sifted.fresh.push(object.clone());
                }
            }
            let left = row.limit.map(|limit| limit.saturating_sub(row.told));
            if left.is_some_and(|left| u64::try_from(sifted.fresh.len()).unwrap_or(u64::MAX) >= left) {
                sifted.stop = true;
                break;
            }
        }
        sifted
    }

    fn own_hash(&self, listener: &Listener<'_>, id: BackfillId, key: &str) -> [u8; 16] {
        self.deps.store.index_hash(listener.tenant, "backfill", &[&id.bytes(), key.as_bytes()])
    }

    async fn take_backfill(
        self: &Arc<Self>,
        listener: &Listener<'_>,
        id: BackfillId,
        (source, bounds): (&Source, &Bounds),
        begun: &Known,
        read: page::Page,
    ) -> Result<bool, Ended> {
        let mut row = begun.row.clone();
        let sifted = self.sift_backfill(listener, id, (source, bounds), &row, &read.objects);
        let before = row.place.clone();
        let cursors = || read.objects.iter().rev().map(|object| &object.cursor).find(|cursor| !cursor.is_null());
        let came = if source.cursor_of_item { cursors().cloned() } else { Some(read.cursor.clone()) };
        let came = came.filter(|came| !came.is_null()).unwrap_or_else(|| before.cursor.clone());
        let follows = source.next.is_none() && source.order == Order::Oldest && source.cursor.is_some();
        let reads_cursor = source.reads.iter().any(|name| name == "cursor");
        let (after, ends) = if sifted.stop {
            (before.clone(), true)
        } else if !read.next.is_null() {
            (page::onward(&before, &read.next, read.objects.is_empty())?, false)
        } else if follows && reads_cursor && came != before.cursor {
            let after = page::onward(&before, &came, read.objects.is_empty())?;
            (ReadTo { cursor: came, page: Value::Null, ..after }, false)
        } else {
            (before.clone(), true)
        };
        row.error = String::new();
        // What was known before is no progress: a page that cannot be read would be tried for ever.
        if ends || !sifted.fresh.is_empty() {
            row.failures = 0;
        }
        row.pages += 1;
        row.seen = row.seen.saturating_add(sifted.seen);
        row.skipped = row.skipped.saturating_add(sifted.skipped);
        let pieces = chunks(&sifted.fresh);
        let last = pieces.len().saturating_sub(1);
        for (number, piece) in pieces.into_iter().enumerate() {
            row.place = if number == last { after.clone() } else { before.clone() };
            if number == last && ends {
                row.state = BackfillState::Done;
                row.ended_ms = Some(self.deps.clock.now_ms());
            }
            self.write_backfill(listener, id, begun.generation, &mut row, piece).await?;
            if number != last {
                // Between two pieces too: what is live goes first.
                self.quiet().await.ok_or(Ended::Over)?;
            }
        }
        Ok(!ends)
    }

    async fn write_backfill(
        self: &Arc<Self>,
        listener: &Listener<'_>,
        id: BackfillId,
        generation: u64,
        row: &mut BackfillRow,
        piece: &[Object],
    ) -> Result<(), Ended> {
        let permit = self.deps.store.reserve().await.map_err(EngineError::from)?;
        let own = |key: &str| self.own_hash(listener, id, key);
        let (receipt, notes): (Receipt, _) = {
            let mut known = lock(&self.backfills.known);
            let Some(known) = known.get_mut(&id).filter(|known| known.generation == generation) else {
                return Err(Ended::Over);
            };
            if !self.listens(listener, &row.identity) {
                return Err(Ended::Over);
            }
            let telling = lock(&self.telling);
            let again = row.again.then_some(&own as OwnKey<'_>);
            let mut told = self.tell_objects(&telling, listener, piece, true, again)?;
            row.told = row.told.saturating_add(u64::try_from(told.notes.len()).unwrap_or(0));
            let key = row_key(listener.tenant, id);
            self.deps
                .store
                .put(&mut told.txn, listener.tenant, Table::Backfills, key, row)
                .map_err(EngineError::from)?;
            known.row = row.clone();
            (permit.submit(told.txn), told.notes)
        };
        receipt.committed().await.map_err(EngineError::from)?;
        // In the order of the objects; and nothing more is read before the flow has these.
        self.take_in_order(listener.tenant, notes).await;
        Ok(())
    }

    /// Notes a failure; gives how long it waits, in milliseconds.
    async fn backfill_failed(
        &self,
        tenant: TenantId,
        id: BackfillId,
        generation: u64,
        (error, is_over): (&StepError, bool),
    ) -> Result<i64, EngineError> {
        let permit = self.deps.store.reserve().await?;
        let (receipt, pause) = {
            let mut known = lock(&self.backfills.known);
            let Some(known) = known.get_mut(&id).filter(|known| known.generation == generation) else { return Ok(0) };
            let mut row = known.row.clone();
            row.failures = row.failures.saturating_add(1);
            row.error = error.message.chars().take(500).collect();
            let lasting = matches!(error.class, ErrorClass::Invalid | ErrorClass::NotFound | ErrorClass::Auth);
            let mut pause = again_after(row.failures, 0, error, &self.moment());
            if is_over {
                // Of a flow that is deleted nothing can be told.
                (row.state, row.ended_ms) = (BackfillState::Failed, Some(self.deps.clock.now_ms()));
                pause = 0;
            } else if lasting && row.failures >= TRIES {
                row.state = BackfillState::Paused;
                pause = 0;
            } else if lasting && row.failures == TRIES - 1 && error.class != ErrorClass::Auth {
                // Perhaps its page cannot be asked for any more; what was told is known by its keys.
                row.place = page::from_first(&row.place);
            }
            let mut txn = Txn::new();
            self.deps.store.put(&mut txn, tenant, Table::Backfills, row_key(tenant, id), &row)?;
            known.row = row;
            (permit.submit(txn), pause)
        };
        receipt.committed().await?;
        Ok(pause)
    }

    /// Holds a backfill, lets it go on, or ends it.
    pub(crate) async fn change_backfill(
        self: &Arc<Self>,
        tenant: TenantId,
        id: BackfillId,
        what: BackfillWhat,
    ) -> Result<BackfillInfo, WireError> {
        let _one = self.backfills.edit.lock().await;
        let permit = self.deps.store.reserve().await.map_err(EngineError::from)?;
        let receipt = {
            let mut known = lock(&self.backfills.known);
            let known = known.get_mut(&id).ok_or_else(|| WireError::not_found(format!("there is no backfill {id}")))?;
            let to = match (known.row.state, what) {
                (BackfillState::Running, BackfillWhat::Pause) => BackfillState::Paused,
                (BackfillState::Paused, BackfillWhat::Resume) => BackfillState::Running,
                (BackfillState::Running | BackfillState::Paused, BackfillWhat::Cancel) => BackfillState::Cancelled,
                (BackfillState::Running, BackfillWhat::Resume) | (BackfillState::Paused, BackfillWhat::Pause) => {
                    known.row.state
                }
                (state, _) => {
                    let message = format!("the backfill is over: {}", word(state));
                    return Err(WireError::new(Code::Conflict, message));
                }
            };
            if to == known.row.state {
                None
            } else {
                let mut row = BackfillRow { state: to, failures: 0, ..known.row.clone() };
                if to == BackfillState::Cancelled {
                    row.ended_ms = Some(self.deps.clock.now_ms());
                }
                if to == BackfillState::Running {
                    row.error = String::new();
                }
                known.generation += 1;
                let mut txn = Txn::new();
                let put = self.deps.store.put(&mut txn, tenant, Table::Backfills, row_key(tenant, id), &row);
                put.map_err(EngineError::from)?;
                known.row = row;
                Some(permit.submit(txn))
            }
        };
        if let Some(receipt) = receipt {
            receipt.committed().await.map_err(EngineError::from)?;
        }
        self.go_on_backfills(tenant);
        self.backfill_info(id)
    }

    fn backfill_info(&self, id: BackfillId) -> Result<BackfillInfo, WireError> {
        let known = lock(&self.backfills.known).get(&id).cloned();
        known.map(|known| info(id, known)).ok_or_else(|| WireError::not_found(format!("there is no backfill {id}")))
    }

    /// All that are remembered, newest first.
    pub(crate) fn list_backfills(&self, only: Option<FlowId>) -> Vec<BackfillInfo> {
        let known = lock(&self.backfills.known);
        let wanted = known.iter().rev().filter(|(_, it)| only.is_none_or(|only| only == it.row.flow));
        wanted.map(|(id, it)| info(*id, it.clone())).collect()
    }

    /// The calls that one object will cause.
    pub(crate) fn effects_of(&self, tenant: TenantId, flow: &Published) -> Result<Vec<BackfillEffect>, EngineError> {
        let plan = self.plan(tenant, flow.id, &flow.version)?;
        let definition = self.deps.flows.version(tenant, flow.id, &flow.version);
        let calls = |id: &str| definition.as_ref().is_some_and(|flow| is_call(flow, id));
        let steps = plan.steps.iter().filter(|step| calls(&step.id));
        let of = |step: &crate::engine::core::plan::PlanStep| BackfillEffect {
            step: step.id.clone(),
            effect: step.effect,
            connection: step.kind.connection().map(str::to_owned),
            repeated: step.in_map,
        };
        Ok(steps.map(of).collect())
    }
}

/// Whether a step calls something outside.
fn is_call(flow: &aura_protocol::flow::Flow, id: &str) -> bool {
    let rows = aura_protocol::flow::outline(flow);
    rows.iter().any(|row| row.step == id && (row.kind.contains('.') || row.kind == "http"))
}

fn word(state: BackfillState) -> &'static str {
    match state {
        BackfillState::Running => "running",
        BackfillState::Paused => "paused",
        BackfillState::Done => "done",
        BackfillState::Cancelled => "cancelled",
        BackfillState::Failed => "failed",
    }
}

fn info(id: BackfillId, known: Known) -> BackfillInfo {
    let Known { row, waits, next_ms, .. } = known;
    BackfillInfo {
        id,
        flow: row.name,
        trigger: row.trigger,
        state: word(row.state).to_owned(),
        since: row.since,
        until: row.until,
        again: row.again,
        limit: row.limit,
        by: row.by,
        created_ms: row.created_ms,
        ended_ms: row.ended_ms,
        pages: row.pages,
        seen: row.seen,
        told: row.told,
        skipped: row.skipped,
        expected: row.expected,
        failures: row.failures,
        error: Some(row.error).filter(|error| !error.is_empty()),
        waits_for: waits.filter(|_| row.state == BackfillState::Running).map(str::to_owned),
        next_ms: next_ms.filter(|_| row.state == BackfillState::Running),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_write_times_as_they_like() {
        let check = |text: &str, expected: &str| {
            let said = bound(text, 1_767_225_600_000).map_or_else(|error| error.message, |value| value.to_json());
            assert_eq!(said, expected, "{text}");
        };
        check("2026-01-01", r#""2026-01-01T00:00:00Z""#);
        check("2026-01-01T02:00:00+02:00", r#""2026-01-01T00:00:00Z""#);
        check("90d", r#""2025-10-03T00:00:00Z""#);
        check("1767225600", "1767225600");
        check("yesterday", "`yesterday` is no time");
    }
}
