//! `watch`: reads the tail after a cursor and turns its ids into news; waits when there are none.
//!
//! Nothing is kept per client. A batch ends at the border of a commit group, so the cursor is enough to go
//! on; the last group may exceed the asked-for bytes, then its payloads are cut harder to fit a frame.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use aura_protocol::event::EventRow;
use aura_protocol::flow::redact::Redacted;
use aura_protocol::run::{RunHead, Transition};
use aura_protocol::watch::{BYTES_MAX, Item, Subscription, WAIT_MS_MAX, WatchReply, WatchRequest};
use aura_protocol::{EventId, FlowId, RunId, TenantId, WireError, wire};
use aura_storage::rows::{ConnectionRecord, journal_key, run_key};
use aura_storage::{Key, Table, TailEntry};
use tokio::time::Instant;

use crate::catalog::unreadable;
use crate::rpc::eyes::Eyes;
use crate::rpc::{Service, Shared, cut, runs};

/// Most items of a batch.
const ITEMS_MAX: u32 = 1_000;
/// Groups of commits read at a time.
const GROUPS: usize = 64;
/// Bytes of one batch that always fit a frame.
const HARD_MAX: usize = 2 * 1024 * 1024;
/// Payloads of a group that is too large as it is.
const SMALL: usize = 512;
/// Sentences of heads in such a group.
const TINY: usize = 128;

/// Serves one long poll of a client.
///
/// # Errors
/// The store cannot be read.
pub async fn watch(service: &Service, eyes: Eyes, request: WatchRequest) -> Result<WatchReply, WireError> {
    service.watched.send_modify(|count| *count += 1);
    news(service, eyes, request).await
}

/// Waits for news, within the daemon too.
///
/// # Errors
/// The store cannot be read.
pub async fn news(service: &Service, eyes: Eyes, request: WatchRequest) -> Result<WatchReply, WireError> {
    let mut newest = service.store.newest();
    let Some(mut cursor) = request.cursor else {
        let cursor = *newest.borrow();
        return Ok(reply(service, cursor, Batch::default()));
    };
    let until = Instant::now() + Duration::from_millis(u64::from(request.wait_ms.min(WAIT_MS_MAX)));
    loop {
        let now = *newest.borrow_and_update();
        if cursor > now {
            // The cursor is of another store, or of a newer one: what it pointed at is not here.
            return Ok(reply(service, now, Batch { cut: true, ..Batch::default() }));
        }
        if cursor < now {
            let (wanted, eyes) = (request.clone(), eyes.clone());
            let turn = service.pace.turn().await;
            let batch = service.read(move |shared| batch(shared, &eyes, cursor, &wanted)).await?;
            turn.done();
            cursor = batch.cursor;
            if !batch.items.is_empty() || batch.cut {
                return Ok(reply(service, cursor, batch));
            }
            if batch.more && Instant::now() < until {
                continue;
            }
        }
        tokio::select! {
            changed = newest.changed() => {
                if changed.is_err() {
                    return Ok(reply(service, cursor, Batch::default()));
                }
            }
            () = tokio::time::sleep_until(until) => return Ok(reply(service, cursor, Batch::default())),
            () = service.tasks.closing.cancelled() => return Ok(reply(service, cursor, Batch::default())),
        }
    }
}

/// Watchers take turns, and after each turn all rest: as long as it took, times those who wait. However many watch,
/// runs keep their speed, and a watcher is late in place of the work. A lone event costs each of them a fraction of a
/// millisecond, so nobody notices while there is no load.
#[derive(Debug)]
pub struct Pace {
    free: tokio::sync::Mutex<Instant>,
    waiting: AtomicU32,
}

/// Those who wait count for at most this much.
const REST_TIMES: u32 = 19;
/// Longest rest.
const REST_MAX: Duration = Duration::from_millis(250);

/// A watcher's turn.
#[derive(Debug)]
pub(super) struct Turn<'a> {
    free: tokio::sync::MutexGuard<'a, Instant>,
    begin: Instant,
    waiting: &'a AtomicU32,
}

/// One who waits for a turn, counted also if it gives up.
struct Waits<'a>(&'a AtomicU32);

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Default for Pace {
    fn default() -> Self {
        Self { free: tokio::sync::Mutex::new(Instant::now()), waiting: AtomicU32::new(0) }
    }
}

impl Pace {
    /// Waits for a turn; first come, first served.
    pub(super) async fn turn(&self) -> Turn<'_> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let _waits = Waits(&self.waiting);
        let free = self.free.lock().await;
        tokio::time::sleep_until(*free).await;
        Turn { free, begin: Instant::now(), waiting: &self.waiting }
    }
}

impl Turn<'_> {
    /// The others rest now.
    pub(super) fn done(mut self) {
        let now = Instant::now();
        let times = self.waiting.load(Ordering::Relaxed).clamp(1, REST_TIMES);
        *self.free = now + ((now - self.begin) * times).min(REST_MAX);
    }
}

#[derive(Default)]
struct Batch {
    cursor: u64,
    items: Vec<Item>,
    cut: bool,
    more: bool,
}

fn reply(shared: &Shared, cursor: u64, batch: Batch) -> WatchReply {
    WatchReply { cursor, items: batch.items, cut: batch.cut, more: batch.more, now_ms: shared.clock.now_ms() }
}

struct Wanted {
    runs: bool,
    transitions: bool,
    events: bool,
    catalog: bool,
    single: HashSet<RunId>,
}

impl Wanted {
    fn of(subscriptions: &[Subscription]) -> Self {
        let has = |wanted: &Subscription| subscriptions.contains(wanted);
        Self {
            runs: has(&Subscription::Runs),
            transitions: has(&Subscription::Transitions),
            events: has(&Subscription::Events),
            catalog: has(&Subscription::Catalog),
            single: subscriptions
                .iter()
                .take(64)
                .filter_map(|wanted| if let Subscription::Run(run) = wanted { Some(*run) } else { None })
                .collect(),
        }
    }
}

fn batch(shared: &Shared, eyes: &Eyes, after: u64, request: &WatchRequest) -> Result<Batch, WireError> {
    let page = shared.store.tail_after(after, GROUPS).map_err(|error| unreadable(&error))?;
    let newest = *shared.store.newest().borrow();
    if page.cut {
        return Ok(Batch { cursor: newest, cut: true, ..Batch::default() });
    }
    let wanted = Wanted::of(&request.subscriptions);
    let items_max = usize::try_from(request.max_items.clamp(1, ITEMS_MAX)).unwrap_or(1);
    let bytes_max = usize::try_from(request.max_bytes.clamp(1024, BYTES_MAX)).unwrap_or(1024);
    let mut out = Batch { cursor: after, ..Batch::default() };
    let mut bytes = 0;
    let mut heads = HashSet::new();
    for (cursor, entries) in page.groups {
        let mut fresh = heads.clone();
        let Some(items) = items(shared, eyes, &entries, &wanted, &mut fresh)? else {
            // What this group tells of was deleted: the reader is told once that the stream is cut, behind what it
            // got before it.
            if out.items.is_empty() {
                return Ok(Batch { cursor: newest, cut: true, ..Batch::default() });
            }
            out.more = true;
            return Ok(out);
        };
        let size = weigh(&items);
        let first = out.items.is_empty();
        if !first && (out.items.len() + items.len() > items_max || bytes + size > bytes_max) {
            out.more = true;
            return Ok(out);
        }
        heads = fresh;
        bytes += size;
        out.items.extend(if size > HARD_MAX { items.into_iter().map(small).collect() } else { items });
        out.cursor = cursor;
    }
    out.more = out.cursor < newest;
    Ok(out)
}

fn weigh(items: &[Item]) -> usize {
    items.iter().map(|item| wire::encode(item).map_or(0, |bytes| bytes.len())).sum()
}

fn small(item: Item) -> Item {
    match item {
        Item::Transition(run, transition) => Item::Transition(run, cut::transition(transition, SMALL)),
        Item::Run(mut head) => {
            cut::head(&mut head, TINY);
            Item::Run(head)
        }
        Item::Event(mut event) => {
            event.delivery.body.clear();
            event.delivery.headers.clear();
            Item::Event(event)
        }
        other => other,
    }
}

/// The items of a group; `None` if a run that it tells of is no longer kept.
fn items(
    shared: &Shared,
    eyes: &Eyes,
    entries: &[TailEntry],
    wanted: &Wanted,
    heads: &mut HashSet<RunId>,
) -> Result<Option<Vec<Item>>, WireError> {
    let mut out = Vec::new();
    for entry in entries {
        match *entry {
            TailEntry::Run(tenant, run, number) if tenant == TenantId::DEFAULT => {
                let transitions = wanted.transitions || wanted.single.contains(&run);
                if transitions && number > 0 {
                    out.extend(transition(shared, eyes, run, number)?.map(|found| Item::Transition(run, found)));
                }
                if (wanted.runs || transitions) && heads.insert(run) {
                    let Some(head) = head(shared, eyes, run)? else { return Ok(None) };
                    out.push(Item::Run(Box::new(head)));
                }
            }
            TailEntry::Event(tenant, event) if tenant == TenantId::DEFAULT && wanted.events => {
                out.extend(event_row(shared, eyes, event)?.map(|row| Item::Event(Box::new(row))));
            }
            TailEntry::Flow(_, flow) if wanted.catalog => out.extend(flow_name(shared, flow).map(Item::Changed)),
            TailEntry::Connection(tenant, connection) if wanted.catalog => {
                let key = Key::tenant(tenant).id(connection.bytes());
                let row: Option<ConnectionRecord> =
                    shared.store.get(tenant, Table::Connections, &key).map_err(|error| unreadable(&error))?;
                out.extend(row.map(|row| Item::Changed(row.name)));
            }
            TailEntry::Subscription(_, id) if wanted.catalog => {
                out.extend(shared.catalog.subscription_name(id).map(Item::Changed));
            }
            _ => {}
        }
    }
    Ok(Some(out))
}

fn transition(shared: &Shared, eyes: &Eyes, run: RunId, number: u64) -> Result<Option<Transition>, WireError> {
    let tenant = TenantId::DEFAULT;
    let found: Option<Transition> = shared
        .store
        .get(tenant, Table::Journal, &journal_key(tenant, run, number))
        .map_err(|error| unreadable(&error))?;
    let Some(found) = found else { return Ok(None) };
    let head: Option<RunHead> =
        shared.store.get(tenant, Table::Runs, &run_key(tenant, run)).map_err(|error| unreadable(&error))?;
    let redacted = head.map_or_else(Redacted::everything, |head| runs::redacted(shared, &head));
    Ok(Some(cut::transition(runs::shown_to(shared, eyes, &redacted, found), cut::PAYLOAD_MAX)))
}

fn head(shared: &Shared, eyes: &Eyes, run: RunId) -> Result<Option<RunHead>, WireError> {
    let tenant = TenantId::DEFAULT;
    let found: Option<RunHead> =
        shared.store.get(tenant, Table::Runs, &run_key(tenant, run)).map_err(|error| unreadable(&error))?;
    Ok(found.map(|mut head| {
        eyes.head(&shared.store, &mut head);
        cut::head(&mut head, cut::HEAD_TEXT_MAX);
        head
    }))
}

fn event_row(shared: &Shared, eyes: &Eyes, event: EventId) -> Result<Option<EventRow>, WireError> {
    let tenant = TenantId::DEFAULT;
    let key = Key::tenant(tenant).id(event.bytes());
    let found: Option<EventRow> = shared.store.get(tenant, Table::Events, &key).map_err(|error| unreadable(&error))?;
    Ok(found.map(|mut row| {
        eyes.event(&shared.store, &mut row);
        if row.delivery.body.len() > cut::PAYLOAD_MAX {
            row.delivery.body = format!("… {} bytes …", row.delivery.body.len()).into_bytes();
        }
        row
    }))
}

fn flow_name(shared: &Shared, flow: FlowId) -> Option<String> {
    shared.catalog.flow_name(flow)
}
