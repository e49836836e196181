//! Polls: a provider is asked again and again, and each new object becomes an event, once.
//!
//! Invariant: nothing moves a cursor but the transaction that leaves the notes of what was read, made under the lock
//! of what is known; so a change by a person and a look that is under way never undo each other.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};

use aura_protocol::flow::{Flow, Trigger};
use aura_protocol::rpc::{PollChange, PollEdit, PollInfo};
use aura_protocol::run::{ErrorClass, StepError};
use aura_protocol::source::{Order, POLL, Poll, Start};
use aura_protocol::text::display;
use aura_protocol::{Code, EventId, FlowId, TenantId, Value, WireError};
use aura_storage::rows::{PollRow, ReadTo};
use aura_storage::{DedupeEntry, Key, Permit, Receipt, Table, Txn};
use tokio::sync::{Notify, Semaphore};

use super::page::{self, Bounds, Object};
use super::sift::{self, Look, Sifted};
use super::{Asking, Listener, again_after, chunks};
use crate::engine::core::state::ms;
use crate::engine::driver::{Driver, EngineError, lock};

/// The clock is looked at so often while anything is polled: it may be set.
const LOOK_MS: u64 = 5_000;
/// Pages of polls that are asked for and worked off at the same time.
const AT_ONCE: usize = 8;
/// What has more to read goes on after this long at most.
const SOON_MS: i64 = 1_000;
/// Longest error that is kept, in characters.
const ERROR_MAX: usize = 500;

/// Flow and index hash of the trigger's id.
type Owner = (FlowId, [u8; 16]);

/// All polls in memory.
#[derive(Debug)]
pub(crate) struct Polls {
    known: Mutex<BTreeMap<Owner, Known>>,
    edit: tokio::sync::Mutex<()>,
    wake: Notify,
    /// For pages; who waits for the budget of its connection has none.
    places: Arc<Semaphore>,
}

impl Default for Polls {
    fn default() -> Self {
        let places = Arc::new(Semaphore::new(AT_ONCE));
        Self { known: Mutex::default(), edit: tokio::sync::Mutex::default(), wake: Notify::new(), places }
    }
}

impl Polls {
    /// All of a flow are gone with it.
    pub(crate) fn forget(&self, flow: FlowId) {
        lock(&self.known).retain(|owner, _| owner.0 != flow);
    }
}

#[derive(Clone, Debug)]
struct Known {
    row: PollRow,
    /// As published; `None` if the flow has no such trigger any more.
    poll: Option<Arc<Poll>>,
    /// It looks now.
    busy: bool,
    /// What it waits for while it looks.
    waits: bool,
    next_ms: i64,
    last_ms: Option<i64>,
    /// Changed by a person: a look that began before writes nothing any more.
    generation: u64,
}

impl Known {
    fn new(row: PollRow, poll: Option<Arc<Poll>>) -> Self {
        Self { row, poll, busy: false, waits: false, next_ms: 0, last_ms: None, generation: 0 }
    }
}

/// Why a look ended early.
enum Ended {
    /// The daemon ends, or somebody changed the poll or its flow meanwhile.
    Over,
    /// It failed.
    Failed(StepError),
    /// The store did.
    Store(EngineError),
}

impl From<EngineError> for Ended {
    fn from(error: EngineError) -> Self {
        Self::Store(error)
    }
}
impl From<StepError> for Ended {
    fn from(error: StepError) -> Self {
        Self::Failed(error)
    }
}

/// How a page leads on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Onward {
    /// There is another page.
    More,
    /// All was read.
    End,
}

fn row_key(tenant: TenantId, owner: Owner) -> Key {
    Key::tenant(tenant).id(owner.0.bytes()).id(owner.1)
}

/// The poll triggers of a flow.
fn triggers(flow: &Flow) -> impl Iterator<Item = (&Trigger, Poll)> {
    let polls = flow.triggers.iter().filter(|trigger| trigger.on == "poll");
    polls.filter_map(|trigger| Some((trigger, Poll::read(&trigger.with, trigger.connection.as_deref()).ok()?)))
}

/// A poll that begins.
fn fresh(flow: FlowId, trigger: &str, poll: &Poll, start: &Start, told: u64) -> PollRow {
    let cursor = match start {
        Start::At(cursor) => cursor.clone(),
        Start::Now | Start::All => Value::Null,
    };
    PollRow {
        flow,
        trigger: trigger.to_owned(),
        identity: poll.source.identity.clone(),
        place: ReadTo { cursor, ..ReadTo::default() },
        begun: *start != Start::Now,
        told,
        failures: 0,
        error: String::new(),
    }
}

impl Driver {
    fn poll_owner(&self, tenant: TenantId, flow: FlowId, trigger: &str) -> Owner {
        (flow, self.deps.store.index_hash(tenant, "poll", &[trigger.as_bytes()]))
    }

    /// Reads the rows and fits them to what is published.
    pub(crate) async fn read_polls(&self, tenant: TenantId) -> Result<(), EngineError> {
        let mut from = Key::tenant(tenant);
        let to = from.after_prefix();
        loop {
            let page: Vec<(Key, PollRow)> = self.deps.store.scan(tenant, Table::Polls, &from, &to, 256, false)?;
            let Some((last, _)) = page.last() else { break };
            from = last.next();
            let mut known = lock(&self.polls.known);
            for (key, row) in page {
                if let Some(hash) = key.id_at(32) {
                    known.insert((row.flow, hash), Known::new(row, None));
                }
            }
        }
        for flow in self.deps.flows.ids(tenant) {
            self.fit_polls(tenant, flow).await?;
        }
        Ok(())
    }

    /// A flow was published, enabled or disabled: its polls begin, go on or rest.
    pub(crate) async fn fit_polls(&self, tenant: TenantId, flow: FlowId) -> Result<(), EngineError> {
        let _one = self.polls.edit.lock().await;
        let mut wanted: HashMap<Owner, (String, Poll)> = HashMap::new();
        if let Some(published) = self.deps.flows.published(tenant, flow) {
            for (trigger, poll) in triggers(&published.flow) {
                wanted.insert(self.poll_owner(tenant, flow, &trigger.id), (trigger.id.clone(), poll));
            }
        }
        let gone: Vec<Owner> = {
            let known = lock(&self.polls.known);
            known.keys().filter(|owner| owner.0 == flow && !wanted.contains_key(owner)).copied().collect()
        };
        for owner in gone {
            if let Some(known) = lock(&self.polls.known).get_mut(&owner) {
                known.poll = None;
            }
        }
        for (owner, (trigger, poll)) in wanted {
            let poll = Arc::new(poll);
            let permit = self.deps.store.reserve().await?;
            let receipt = {
                let mut known = lock(&self.polls.known);
                let now = self.deps.clock.wall_ms();
                if let Some(old) = known.get_mut(&owner)
                    && old.row.identity == poll.source.identity
                {
                    // It may look sooner than it would have.
                    old.next_ms = old.next_ms.min(now.saturating_add(ms(poll.every.ms)));
                    old.poll = Some(poll);
                    continue;
                }
                let told = known.get(&owner).map_or(0, |old| old.row.told);
                let generation = known.get(&owner).map_or(0, |old| old.generation) + 1;
                // One that looks now ends by itself, and only then the next one looks.
                let busy = known.get(&owner).is_some_and(|old| old.busy);
                let row = fresh(flow, &trigger, &poll, &poll.start, told);
                let mut txn = Txn::new();
                self.deps.store.put(&mut txn, tenant, Table::Polls, row_key(tenant, owner), &row)?;
                known.insert(owner, Known { generation, busy, ..Known::new(row, Some(poll)) });
                permit.submit(txn)
            };
            receipt.committed().await?;
        }
        self.polls.wake.notify_one();
        Ok(())
    }

    /// Looks whenever it is time, for ever.
    pub(crate) async fn poll(self: Arc<Self>) {
        while !self.stopping.is_cancelled() {
            tokio::select! {
                () = self.stopping.cancelled() => return,
                () = self.deps.hold.released() => {}
            }
            let next = match self.deps.room.tight() {
                Some(_) => Some(i64::MAX),
                None => self.start_polls(TenantId::DEFAULT),
            };
            tokio::select! {
                () = self.stopping.cancelled() => return,
                () = self.retired.cancelled() => return,
                () = self.polls.wake.notified() => {}
                () = self.deps.clock.wait_wall(next, LOOK_MS) => {}
            }
        }
    }

    /// Begins every look that is due; gives the time of the next one.
    fn start_polls(self: &Arc<Self>, tenant: TenantId) -> Option<i64> {
        let now = self.deps.clock.wall_ms();
        let mut known = lock(&self.polls.known);
        let mut next: Option<i64> = None;
        for (owner, known) in known.iter_mut() {
            let Some(poll) = known.poll.clone().filter(|_| !known.busy) else { continue };
            // A clock that was set back does not make it wait for longer than it ever would.
            let longest = ms(poll.every.ms).max(super::AGAIN_MAX_MS).saturating_mul(2);
            known.next_ms = known.next_ms.min(now.saturating_add(longest));
            if !self.deps.flows.published(tenant, owner.0).is_some_and(|flow| flow.starts()) {
                continue;
            }
            if known.next_ms > now {
                next = Some(next.unwrap_or(i64::MAX).min(known.next_ms));
                continue;
            }
            known.busy = true;
            let (driver, owner, begun) = (Arc::clone(self), *owner, known.clone());
            self.tasks.spawn(async move {
                driver.look_at_poll(tenant, owner, &poll, begun).await;
                driver.polls.wake.notify_one();
            });
        }
        next
    }

    /// One look, and when the next one is.
    async fn look_at_poll(self: &Arc<Self>, tenant: TenantId, owner: Owner, poll: &Poll, begun: Known) {
        let generation = begun.generation;
        let ended = self.pages(tenant, owner, poll, &begun).await;
        let (now, every) = (self.deps.clock.wall_ms(), ms(poll.every.ms));
        let mut place = match ended {
            Ok(Onward::End) => Settled { next_ms: now.saturating_add(every), error: None, failures: 0 },
            Ok(Onward::More) => Settled { next_ms: now.saturating_add(every.min(SOON_MS)), error: None, failures: 0 },
            Err(Ended::Over) => Settled { next_ms: now, error: None, failures: begun.row.failures },
            Err(Ended::Store(error)) => {
                tracing::error!(%error, "what a poll read could not be stored; it is read again");
                Settled { next_ms: now.saturating_add(every.max(SOON_MS)), error: None, failures: begun.row.failures }
            }
            Err(Ended::Failed(error)) => {
                let failures = begun.row.failures.saturating_add(1);
                let pause = again_after(failures, every, &error, &self.moment());
                Settled { next_ms: now.saturating_add(pause), error: Some(error), failures }
            }
        };
        if let Err(error) = self.settle_look(tenant, owner, generation, &mut place).await {
            tracing::error!(%error, "how a poll ended could not be stored");
        }
    }

    /// Notes how a look ended; what changed nothing is not written.
    async fn settle_look(
        &self,
        tenant: TenantId,
        owner: Owner,
        generation: u64,
        settled: &mut Settled,
    ) -> Result<(), EngineError> {
        let permit = self.deps.store.reserve().await?;
        let receipt = {
            let mut known = lock(&self.polls.known);
            let Some(known) = known.get_mut(&owner) else { return Ok(()) };
            known.busy = false;
            known.waits = false;
            if known.generation != generation {
                // It was changed: the new one looks at once.
                return Ok(());
            }
            (known.next_ms, known.last_ms) = (settled.next_ms, Some(self.deps.clock.wall_ms()));
            let mut row = known.row.clone();
            row.failures = settled.failures;
            row.error = settled.error.as_ref().map_or_else(String::new, |error| cut(&error.message));
            // A page that cannot be asked for any more: the look begins again, and what it told is known by its keys.
            let forgotten = |error: &StepError| matches!(error.class, ErrorClass::Invalid | ErrorClass::NotFound);
            if settled.error.as_ref().is_some_and(forgotten) {
                row.place = page::from_first(&row.place);
            }
            if row == known.row {
                return Ok(());
            }
            let mut txn = Txn::new();
            self.deps.store.put(&mut txn, tenant, Table::Polls, row_key(tenant, owner), &row)?;
            known.row = row;
            permit.submit(txn)
        };
        receipt.committed().await?;
        Ok(())
    }

    /// Reads page after page.
    async fn pages(
        self: &Arc<Self>,
        tenant: TenantId,
        owner: Owner,
        poll: &Poll,
        begun: &Known,
    ) -> Result<Onward, Ended> {
        let listener = Listener {
            tenant,
            flow: owner.0,
            trigger: &begun.row.trigger,
            method: POLL,
            window_ms: ms(poll.window.ms),
        };
        let mut row = begun.row.clone();
        for _ in 0..poll.source.pages {
            if self.quiet().await.is_none() {
                return Err(Ended::Over);
            }
            let moment = self.moment();
            let input = page::asked(&poll.source, &row.place, &Bounds::default(), &moment)?;
            self.note_waiting(owner, true);
            let wanted = || self.is_wanted(tenant, owner, begun.generation);
            let asking = Asking { wanted: &wanted, places: Some(&self.polls.places) };
            let said = self.ask_source(tenant, &poll.source, &input, asking).await.ok_or(Ended::Over)?;
            self.note_waiting(owner, false);
            let read = page::read(&poll.source, &row.place, &Bounds::default(), &said.answer?, &self.moment())?;
            let onward = self.take_page(&listener, owner, (poll, begun.generation), &mut row, read).await?;
            drop(said.place);
            if onward == Onward::End {
                return Ok(Onward::End);
            }
        }
        Ok(Onward::More)
    }

    /// Whether a look that waits for its turn is still to be made.
    fn is_wanted(&self, tenant: TenantId, owner: Owner, generation: u64) -> bool {
        let known = lock(&self.polls.known);
        let same = known.get(&owner).is_some_and(|known| known.poll.is_some() && known.generation == generation);
        same && self.goes_on(tenant, owner.0).is_some()
    }

    fn note_waiting(&self, owner: Owner, waits: bool) {
        if let Some(known) = lock(&self.polls.known).get_mut(&owner) {
            known.waits = waits;
        }
    }

    /// Tells what is new on a page, and moves the cursor with it.
    async fn take_page(
        self: &Arc<Self>,
        listener: &Listener<'_>,
        owner: Owner,
        (poll, generation): (&Poll, u64),
        row: &mut PollRow,
        read: page::Page,
    ) -> Result<Onward, Ended> {
        let source = &poll.source;
        let began_ms = row.place.began_ms.unwrap_or_else(|| self.deps.clock.now_ms());
        let before = row.place.clone();
        let mut after = ReadTo { began_ms: Some(began_ms), ..before.clone() };
        let found = self.sift(listener, source.order, &after, &read.objects);
        let cursors = |objects: &[Object]| -> Option<Value> {
            let mut cursors = objects.iter().map(|object| &object.cursor).filter(|cursor| !cursor.is_null());
            match source.order {
                Order::Oldest => cursors.next_back().cloned(),
                Order::Newest => cursors.next().cloned(),
            }
        };
        let came = if source.cursor_of_item { cursors(&read.objects) } else { Some(read.cursor.clone()) };
        if let Some(came) = came.filter(|came| !came.is_null())
            && (source.order == Order::Oldest || after.reached.is_null())
        {
            after.reached = came;
        }
        // Of what is there at the beginning, newest first, nobody wants what lies behind.
        let enough = !row.begun && source.order == Order::Newest;
        let ends = found.stop || enough || read.next.is_null();
        let mut onward = Onward::More;
        if ends {
            let cursor = if after.reached.is_null() { before.cursor.clone() } else { after.reached.clone() };
            let moved = cursor != before.cursor;
            after = ReadTo { cursor, ..ReadTo::default() };
            // Who has no pages goes on from the cursor as long as it brings anything.
            let follows = source.next.is_none() && source.order == Order::Oldest && source.cursor.is_some();
            if !(follows && moved && !found.fresh.is_empty()) {
                onward = Onward::End;
            }
        } else {
            after = page::onward(&after, &read.next, read.objects.is_empty())?;
        }
        let tells = row.begun;
        let pieces = chunks(&found.fresh);
        let last = pieces.len().saturating_sub(1);
        for (number, piece) in pieces.into_iter().enumerate() {
            if number == last {
                row.place = after.clone();
                row.begun |= ends && onward == Onward::End;
            } else {
                row.place = ReadTo { began_ms: Some(began_ms), ..before.clone() };
            }
            if ends || !found.fresh.is_empty() {
                (row.failures, row.error) = (0, String::new());
            }
            let permit = self.deps.store.reserve().await.map_err(EngineError::from)?;
            let refreshed = if number == last { found.refreshed.as_slice() } else { &[] };
            self.write_piece(listener, owner, generation, (row, piece, refreshed, tells), permit).await?;
        }
        Ok(onward)
    }

    /// One transaction: objects, their keys, and the row; nothing if somebody changed the poll or its flow meanwhile.
    async fn write_piece(
        self: &Arc<Self>,
        listener: &Listener<'_>,
        owner: Owner,
        generation: u64,
        (row, piece, refreshed, tells): (&mut PollRow, &[Object], &[DedupeEntry], bool),
        permit: Permit,
    ) -> Result<(), Ended> {
        let (receipt, notes): (Receipt, _) = {
            let mut known = lock(&self.polls.known);
            let Some(known) = known.get_mut(&owner).filter(|known| known.generation == generation) else {
                return Err(Ended::Over);
            };
            if !self.listens(listener, &row.identity) {
                return Err(Ended::Over);
            }
            let (was, is) = (&known.row, &*row);
            let same = was.place.cursor == is.place.cursor
                && (was.begun, was.failures, &was.error) == (is.begun, is.failures, &is.error);
            if piece.is_empty() && refreshed.is_empty() && same {
                // Nothing new: nothing is written. A restart begins this look again and finds the same.
                known.row = row.clone();
                return Ok(());
            }
            let telling = lock(&self.telling);
            let mut told = self.tell_objects(&telling, listener, piece, tells, None)?;
            row.told = row.told.saturating_add(u64::try_from(told.notes.len()).unwrap_or(0));
            for entry in refreshed {
                self.deps.store.dedupe_remember(*entry);
                told.txn.dedupe.push(*entry);
            }
            let key = row_key(listener.tenant, owner);
            self.deps.store.put(&mut told.txn, listener.tenant, Table::Polls, key, row).map_err(EngineError::from)?;
            known.row = row.clone();
            (permit.submit(told.txn), told.notes)
        };
        receipt.committed().await.map_err(EngineError::from)?;
        // In the order of the objects; and nothing more is read before the flow has these.
        self.take_in_order(listener.tenant, notes).await;
        Ok(())
    }

    /// What of a page is new, and whether what follows is known.
    fn sift(&self, listener: &Listener<'_>, order: Order, place: &ReadTo, objects: &[Object]) -> Sifted {
        let moment = self.moment();
        let look = Look {
            order,
            began_ms: place.began_ms.unwrap_or(moment.now_ms),
            now_ms: moment.now_ms,
            window_ms: listener.window_ms,
            cursor: &place.cursor,
        };
        let known = |object: &Object| {
            let hash = self.object_hash(listener, &object.key);
            (hash, self.deps.store.dedupe_find(listener.tenant, &hash, moment.now_ms))
        };
        sift::sift(&look, objects, known, || EventId::from_bytes(self.new_run(&moment).bytes()))
    }

    /// The polls of published flows.
    pub(crate) fn list_polls(&self, tenant: TenantId, only: Option<FlowId>) -> Vec<PollInfo> {
        let known: Vec<Known> = {
            let known = lock(&self.polls.known);
            known
                .iter()
                .filter(|(owner, _)| only.is_none_or(|only| only == owner.0))
                .map(|(_, it)| it.clone())
                .collect()
        };
        let now = self.deps.clock.wall_ms();
        let mut out: Vec<PollInfo> = known
            .into_iter()
            .filter_map(|known| {
                let (poll, flow) = (known.poll.as_ref()?, self.deps.flows.published(tenant, known.row.flow)?);
                let state = match () {
                    () if !flow.enabled => "off",
                    () if flow.paused => "paused",
                    () if known.waits => "asking",
                    () if known.busy => "reading",
                    () if known.row.failures > 0 => "failing",
                    () if !known.row.begun => "beginning",
                    () => "waiting",
                };
                Some(PollInfo {
                    flow: flow.name.clone(),
                    trigger: known.row.trigger.clone(),
                    source: poll.source.says().to_owned(),
                    connection: poll.source.connection().map(str::to_owned),
                    every: poll.every.to_string(),
                    state: state.to_owned(),
                    cursor: known.row.place.cursor.clone(),
                    reading: known.row.place.began_ms.is_some(),
                    begun: known.row.begun,
                    told: known.row.told,
                    last_ms: known.last_ms,
                    next_ms: flow.starts().then_some(known.next_ms.max(now)),
                    failures: known.row.failures,
                    error: Some(known.row.error.clone()).filter(|error| !error.is_empty()),
                })
            })
            .collect();
        out.sort_by(|a, b| (&a.flow, &a.trigger).cmp(&(&b.flow, &b.trigger)));
        out
    }

    /// Looks now, moves a cursor, or begins anew.
    pub(crate) async fn change_poll(&self, tenant: TenantId, change: PollChange) -> Result<PollInfo, WireError> {
        let _one = self.polls.edit.lock().await;
        let (flow, owner, trigger) = self.poll_named(tenant, &change)?;
        let permit = self.deps.store.reserve().await.map_err(EngineError::from)?;
        let receipt = {
            let mut known = lock(&self.polls.known);
            let missing = || WireError::not_found("there is no such poll");
            let known = known.get_mut(&owner).ok_or_else(missing)?;
            let poll = known.poll.clone().ok_or_else(missing)?;
            let mut row = known.row.clone();
            match change.change {
                PollEdit::Now => {}
                PollEdit::Cursor(_) if poll.source.cursor.is_none() => {
                    let message =
                        format!("the poll {trigger} has no `cursor`: it tells objects apart by their keys alone");
                    return Err(WireError::new(Code::Invalid, message));
                }
                PollEdit::Cursor(cursor) => {
                    row = PollRow { begun: true, place: ReadTo { cursor, ..ReadTo::default() }, ..row };
                }
                PollEdit::Reset { all } => {
                    let start = if all { Start::All } else { poll.start.clone() };
                    row = fresh(flow, &trigger, &poll, &start, row.told);
                }
            }
            (row.failures, row.error) = (0, String::new());
            known.next_ms = 0;
            if row == known.row {
                None
            } else {
                known.generation += 1;
                let mut txn = Txn::new();
                let put = self.deps.store.put(&mut txn, tenant, Table::Polls, row_key(tenant, owner), &row);
                put.map_err(EngineError::from)?;
                known.row = row;
                Some(permit.submit(txn))
            }
        };
        if let Some(receipt) = receipt {
            receipt.committed().await.map_err(EngineError::from)?;
        }
        self.polls.wake.notify_one();
        let listed = self.list_polls(tenant, Some(flow));
        let found = listed.into_iter().find(|info| info.trigger == trigger);
        found.ok_or_else(|| WireError::not_found("there is no such poll"))
    }

    fn poll_named(&self, tenant: TenantId, change: &PollChange) -> Result<(FlowId, Owner, String), WireError> {
        let shown = display(&change.flow);
        let polls: Vec<PollInfo> =
            self.list_polls(tenant, None).into_iter().filter(|info| info.flow == change.flow).collect();
        let found = match (&change.trigger, polls.as_slice()) {
            (None, [only]) => Some(only),
            (None, [_, _, ..]) => {
                let names: Vec<&str> = polls.iter().map(|info| info.trigger.as_str()).collect();
                return Err(WireError::new(Code::Invalid, format!("{shown} has several polls: {}", names.join(", ")))
                    .hint(format!("name one, as in {shown}/{}", names.first().unwrap_or(&"TRIGGER"))));
            }
            (name, all) => all.iter().find(|info| Some(&info.trigger) == name.as_ref()),
        };
        let missing = || {
            WireError::not_found(format!("`{shown}` has no such poll trigger in a published version"))
                .hint("see `aura poll list`")
        };
        let trigger = found.ok_or_else(missing)?.trigger.clone();
        let known = lock(&self.polls.known);
        let owner = known.iter().find(|(owner, it)| {
            it.row.trigger == trigger
                && self.deps.flows.published(tenant, owner.0).is_some_and(|flow| flow.name == change.flow)
        });
        let owner = *owner.ok_or_else(missing)?.0;
        Ok((owner.0, owner, trigger))
    }
}

/// How a look ended.
struct Settled {
    next_ms: i64,
    error: Option<StepError>,
    failures: u32,
}

fn cut(text: &str) -> String {
    text.chars().take(ERROR_MAX).collect()
}
