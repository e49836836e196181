//! The log of deliveries: refused ones are kept for people, bounded; of accepted ones only how long they took.
//!
//! Invariant: nothing here holds a sender up or makes an accepted delivery dearer. An accepted one is in the store with
//! its event; of a refused one a note goes through a bounded queue to one writer, and what does not fit is counted
//! and not kept; but what a relay had promised is waited for ([`Log::promised`]). [`rates`] says how much may come in, [`kept`] how much stays and whose goes first.

pub mod kept;
pub mod rates;

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use aura_protocol::{EventId, FlowId, TenantId};
use aura_storage::rows::relay::TakenRow;
use aura_storage::rows::{RefusedBody, RefusedRow, delivery_key};
use aura_storage::{Key, Store, Table, TailEntry, Txn};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::http::limits::network;
use kept::Kept;
use rates::Rates;

/// Bytes of a refused body that are kept.
pub const BODY_KEPT: usize = 64 * 1024;
/// Notes that wait for the writer.
const QUEUE: usize = 256;
/// Notes of one transaction.
const BATCH: usize = 32;
/// How long notes are gathered.
const GATHER: Duration = Duration::from_millis(50);
/// How often what is too old goes.
const SWEEP: Duration = Duration::from_secs(300);
/// Answers of accepted deliveries that are remembered.
const RECENT: usize = 4096;

/// Whose bounds count: those of an endpoint, or those of all addresses without one.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Group {
    /// No endpoint has the address.
    Nowhere,
    /// The endpoint of a flow's trigger.
    Endpoint(FlowId, String),
}

impl Group {
    /// Of a row.
    #[must_use]
    pub fn of(row: &RefusedRow) -> Self {
        row.flow.map_or(Self::Nowhere, |flow| Self::Endpoint(flow, row.trigger.clone()))
    }
}

/// A number for the network of an address; 0 where none is known. Of IPv6 it is the /48: whoever has one has 65,536 of
/// the networks that connections are counted by.
fn source_of(from: IpAddr) -> u64 {
    match from.to_canonical() {
        IpAddr::V6(_) => network(from) & !0xffff,
        IpAddr::V4(_) => network(from),
    }
}

/// The same of an address as text.
fn source(from: &str) -> u64 {
    from.parse::<IpAddr>().map_or(0, source_of)
}

/// The status that the sender of what a relay took had heard; no refused delivery of this door has it.
pub const PROMISED: u16 = 202;

/// Whose share a row is counted to.
fn holder(row: &RefusedRow) -> u64 {
    if row.status == PROMISED { kept::PROMISES } else { source(&row.from) }
}

/// A delivery that a relay had promised and that can never become an event.
pub struct Promised {
    /// What people are told; its status is [`PROMISED`].
    pub row: RefusedRow,
    /// What is kept of its body.
    pub body: Vec<u8>,
    /// What remembers that it was taken of the relay.
    pub taken: (Key, TakenRow),
}

type Done = oneshot::Sender<Result<(), String>>;

enum Note {
    Refused(Box<RefusedRow>, Vec<u8>),
    Promised(Box<Promised>, Done),
    Flush(oneshot::Sender<()>),
}

/// The log. Cheap to clone.
#[derive(Clone)]
pub struct Log(Arc<Inner>);

struct Inner {
    store: Store,
    clock: Clock,
    notes: mpsc::Sender<Note>,
    rates: Mutex<Rates>,
    unkept: AtomicU64,
    claiming: tokio::sync::Mutex<()>,
    recent: Vec<(AtomicU64, AtomicU64)>,
}

/// The other end of the queue; [`Log::keep`] works it off.
pub struct Notes(mpsc::Receiver<Note>);

impl Log {
    /// A log over a store.
    #[must_use]
    pub fn new(store: Store, clock: Clock) -> (Self, Notes) {
        let (notes, receiver) = mpsc::channel(QUEUE);
        let recent = std::iter::repeat_with(Default::default).take(RECENT).collect();
        let (rates, unkept, claiming) = (Mutex::default(), AtomicU64::new(0), tokio::sync::Mutex::default());
        (Self(Arc::new(Inner { store, clock, notes, rates, unkept, claiming, recent })), Notes(receiver))
    }

    /// Whether a refused delivery may be kept; what may not is counted.
    #[must_use]
    pub fn takes(&self, group: &Group, from: Option<IpAddr>) -> bool {
        let source = from.map_or(0, source_of);
        let taken = self.0.rates.lock().unwrap_or_else(PoisonError::into_inner).take(group, source, Instant::now());
        if !taken {
            self.lost();
        }
        taken
    }

    /// Counts one that is not kept.
    pub fn lost(&self) {
        self.0.unkept.fetch_add(1, Relaxed);
    }

    /// Keeps a refused delivery that [`Log::takes`] let through; never waits.
    pub fn refused(&self, row: RefusedRow, body: Vec<u8>) {
        if self.0.notes.try_send(Note::Refused(Box::new(row), body)).is_err() {
            self.lost();
        }
    }

    /// Keeps what a relay had promised, in one commit with what remembers that it was taken; returns after it.
    ///
    /// # Errors
    /// Not stored, a sentence: it must stay at the relay.
    pub async fn promised(&self, promised: Promised) -> Result<(), String> {
        let (done, stored) = oneshot::channel();
        let ending = || "this daemon ends".to_owned();
        let sent = self.0.notes.send(Note::Promised(Box::new(promised), done)).await;
        sent.map_err(|_| ending())?;
        stored.await.unwrap_or_else(|_| Err(ending()))
    }

    /// Lets one claim at a time look at what is kept and mark it.
    pub async fn claiming(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.0.claiming.lock().await
    }

    /// Refused deliveries that were not kept since the start.
    #[must_use]
    pub fn unkept(&self) -> u64 {
        self.0.unkept.load(Relaxed)
    }

    /// Waits until what was noted before is stored, at most a second.
    pub async fn flush(&self) {
        let (done, wait) = oneshot::channel();
        let flushed = async {
            if self.0.notes.send(Note::Flush(done)).await.is_ok() {
                let _ = wait.await;
            }
        };
        let _ = tokio::time::timeout(Duration::from_secs(1), flushed).await;
    }

    fn slot(&self, event: EventId) -> (u64, Option<&(AtomicU64, AtomicU64)>) {
        let bytes = event.bytes();
        let key = bytes.iter().skip(8).fold(0_u64, |key, byte| (key << 8) | u64::from(*byte));
        let at = usize::try_from(key).unwrap_or(0) % RECENT;
        (key, self.0.recent.get(at))
    }

    /// Remembers what an accepted delivery was answered, and after how long.
    pub fn answered(&self, event: EventId, status: u16, took: Duration) {
        let (key, Some((named, said))) = self.slot(event) else { return };
        let took = u64::try_from(took.as_micros()).unwrap_or(u64::MAX).min(u64::MAX >> 16);
        named.store(0, Relaxed);
        said.store((took << 16) | u64::from(status), Relaxed);
        named.store(key, Relaxed);
    }

    /// Status and microseconds of an accepted delivery, while they are remembered.
    #[must_use]
    pub fn answer_of(&self, event: EventId) -> Option<(u16, u64)> {
        let (key, Some((named, said))) = self.slot(event) else { return None };
        let said = said.load(Relaxed);
        (named.load(Relaxed) == key).then(|| (u16::try_from(said & 0xffff).unwrap_or(0), said >> 16))
    }

    /// Writes what is noted and takes away what is too much or too old, until the daemon ends.
    pub async fn keep(self, notes: Notes, closing: CancellationToken) {
        let Notes(mut notes) = notes;
        let store = self.0.store.clone();
        let mut kept = tokio::task::spawn_blocking(move || load(&store)).await.unwrap_or_default();
        let mut sweep = tokio::time::interval(SWEEP);
        let mut batch = Vec::new();
        loop {
            let more = tokio::select! {
                () = closing.cancelled() => false,
                _ = sweep.tick() => {
                    self.expire(&mut kept).await;
                    continue;
                }
                count = notes.recv_many(&mut batch, BATCH) => count > 0,
            };
            if more && !batch.iter().any(|note| matches!(note, Note::Flush(_))) {
                // A flood is written in few transactions, and a single one soon.
                let until = tokio::time::Instant::now() + GATHER;
                while batch.len() < BATCH {
                    match tokio::time::timeout_at(until, notes.recv()).await {
                        Ok(Some(note)) => batch.push(note),
                        _ => break,
                    }
                    if batch.iter().any(|note| matches!(note, Note::Flush(_))) {
                        break;
                    }
                }
            }
            if !more {
                notes.close();
                while let Ok(note) = notes.try_recv() {
                    batch.push(note);
                }
            }
            self.write(&mut kept, std::mem::take(&mut batch)).await;
            if !more {
                return;
            }
        }
    }

    async fn write(&self, kept: &mut Kept, batch: Vec<Note>) {
        let tenant = TenantId::DEFAULT;
        let (mut txn, mut rows, mut waiting, mut promises) = (Txn::new(), 0_u64, Vec::new(), Vec::new());
        for note in batch {
            let (row, body, promised) = match note {
                Note::Refused(row, body) => (row, body, None),
                Note::Promised(promised, done) => {
                    let Promised { row, body, taken } = *promised;
                    (Box::new(row), body, Some((taken, done)))
                }
                Note::Flush(done) => {
                    waiting.push(done);
                    continue;
                }
            };
            let put = self.put(&mut txn, &row, body, promised.as_ref().map(|(taken, _)| taken));
            let done = promised.map(|(_, done)| done);
            let new = match put {
                Ok(new) => new,
                Err(error) => {
                    tracing::error!(error, "a refused delivery could not be kept");
                    if let Some(done) = done {
                        let _ = done.send(Err(error));
                    }
                    continue;
                }
            };
            promises.extend(done);
            rows += 1;
            if !new {
                continue;
            }
            txn.tell(TailEntry::Refused(tenant, row.id));
            for gone in kept.add(Group::of(&row), holder(&row), row.id, kept::weight(&row), row.at_ms) {
                txn.delete(Table::Deliveries, delivery_key(tenant, gone));
                txn.delete(Table::DeliveryBodies, delivery_key(tenant, gone));
            }
        }
        let mut stored = Ok(());
        if rows > 0
            && let Err(error) = self.0.store.commit_low(txn).await
        {
            self.0.unkept.fetch_add(rows.saturating_sub(u64::try_from(promises.len()).unwrap_or(0)), Relaxed);
            tracing::warn!(%error, rows, "refused deliveries could not be kept");
            stored = Err(error.to_string());
            // What is counted must be what is stored.
            let store = self.0.store.clone();
            *kept = tokio::task::spawn_blocking(move || load(&store)).await.unwrap_or_default();
        }
        for done in promises {
            let _ = done.send(stored.clone());
        }
        for done in waiting {
            let _ = done.send(());
        }
    }

    /// Puts a row; gives whether it is new: what a relay offers again behind a backup of it may be here, and claimed.
    fn put(
        &self,
        txn: &mut Txn,
        row: &RefusedRow,
        body: Vec<u8>,
        taken: Option<&(Key, TakenRow)>,
    ) -> Result<bool, String> {
        let (tenant, store) = (TenantId::DEFAULT, &self.0.store);
        let key = delivery_key(tenant, row.id);
        let put = || {
            let here = match taken {
                Some((key_of, taken)) => {
                    store.put(txn, tenant, Table::RelayTaken, key_of.clone(), taken)?;
                    store.get::<RefusedRow>(tenant, Table::Deliveries, &key)?.is_some()
                }
                None => false,
            };
            if here {
                return Ok(false);
            }
            store.put(txn, tenant, Table::Deliveries, key.clone(), row)?;
            if !body.is_empty() {
                store.put(txn, tenant, Table::DeliveryBodies, key, &RefusedBody { body })?;
            }
            Ok(true)
        };
        put().map_err(|error: aura_storage::ReadError| error.to_string())
    }

    async fn expire(&self, kept: &mut Kept) {
        let tenant = TenantId::DEFAULT;
        let gone = kept.expire(self.0.clock.now_ms());
        for piece in gone.chunks(128) {
            let mut txn = Txn::new();
            for id in piece {
                txn.delete(Table::Deliveries, delivery_key(tenant, *id));
                txn.delete(Table::DeliveryBodies, delivery_key(tenant, *id));
            }
            if let Err(error) = self.0.store.commit_low(txn).await {
                tracing::warn!(%error, "old refused deliveries could not be deleted; it is tried again at the next start");
                return;
            }
        }
    }
}

/// What is kept, as the store has it.
fn load(store: &Store) -> Kept {
    const PAGE: usize = 256;
    let tenant = TenantId::DEFAULT;
    let (mut from, to) = (Key::tenant(tenant), Key::tenant(tenant).after_prefix());
    let mut kept = Kept::default();
    loop {
        let page: Result<Vec<(Key, RefusedRow)>, _> = store.scan(tenant, Table::Deliveries, &from, &to, PAGE, false);
        let page = match page {
            Ok(page) => page,
            Err(error) => {
                tracing::error!(%error, "the log of deliveries could not be read whole");
                return kept;
            }
        };
        for (_, row) in &page {
            kept.put(Group::of(row), holder(row), row.id, kept::weight(row), row.at_ms);
        }
        match page.last() {
            Some((key, _)) if page.len() == PAGE => from = key.next(),
            _ => return kept,
        }
    }
}

#[cfg(test)]
mod tests {
    use aura_protocol::DeliveryId;
    use aura_storage::StoreOptions;

    use super::*;

    fn row(number: u64, from: &str) -> RefusedRow {
        RefusedRow { id: DeliveryId::from_parts(number, &[1; 10]), from: from.to_owned(), ..RefusedRow::default() }
    }

    #[tokio::test]
    async fn what_is_noted_is_stored_and_what_a_restart_finds_is_bounded_as_before() {
        let store = Store::open(&StoreOptions::in_memory([7; 32])).unwrap();
        let (log, notes) = Log::new(store.clone(), Clock::system());
        let closing = CancellationToken::new();
        let keeper = tokio::spawn(log.clone().keep(notes, closing.clone()));
        let now = Clock::system().now_ms();
        for number in 0..200 {
            log.refused(RefusedRow { at_ms: now, ..row(number, "203.0.113.7") }, b"body".to_vec());
        }
        log.flush().await;
        closing.cancel();
        keeper.await.unwrap();
        let all = |table| store.keys(table, &Key::new(), &Key(vec![255; 40]), 1000).unwrap().len();
        let stored = all(Table::Deliveries);
        assert_eq!((stored, log.unkept()), (kept::NOWHERE.of_source, 0));
        assert_eq!(all(Table::DeliveryBodies), stored);
        assert_eq!(load(&store).rows(), stored);
    }

    #[tokio::test]
    async fn a_promise_is_kept_with_what_remembers_it_or_said_not_to_be() {
        let store = Store::open(&StoreOptions::in_memory([7; 32])).unwrap();
        let (log, notes) = Log::new(store.clone(), Clock::system());
        let closing = CancellationToken::new();
        let keeper = tokio::spawn(log.clone().keep(notes, closing.clone()));
        let at_ms = Clock::system().now_ms();
        let flow = Some(FlowId::from_bytes([1; 16]));
        let promised = |number: u64| {
            let row = RefusedRow { at_ms, flow, status: PROMISED, ..row(number, "203.0.113.7") };
            let taken = (Key::tenant(TenantId::DEFAULT).number(number), TakenRow { number, at_ms });
            Promised { row, body: b"body".to_vec(), taken }
        };
        let all = |table| store.keys(table, &Key::new(), &Key(vec![255; 40]), 2000).unwrap().len();
        // More than the queue holds, and more than a network's share.
        let kept = futures::future::join_all((0..600).map(|number| log.promised(promised(number)))).await;
        assert!(kept.iter().all(Result::is_ok), "{kept:?}");
        let stored = || (all(Table::Deliveries), all(Table::DeliveryBodies), all(Table::RelayTaken));
        assert_eq!(stored(), (600, 600, 600), "without a flush");
        log.promised(promised(7)).await.unwrap();
        assert_eq!(stored(), (600, 600, 600), "offered again");
        closing.cancel();
        keeper.await.unwrap();
        assert!(log.promised(promised(600)).await.is_err());
        assert_eq!(stored(), (600, 600, 600));
    }

    #[test]
    fn a_source_is_a_network_as_people_are_given_it() {
        assert_eq!(source("2001:db8:1:2::3"), source("2001:db8:1:ffff::9"), "one /48");
        assert_ne!(source("2001:db8:1::1"), source("2001:db8:2::1"));
        assert_eq!(source("203.0.113.1"), source("::ffff:203.0.113.9"), "one /24");
        assert_ne!(source("203.0.113.1"), source("203.0.114.1"));
        assert_eq!(source("nobody"), 0);
    }

    #[test]
    fn the_answer_of_an_accepted_delivery_is_remembered_for_a_while() {
        let (log, _notes) = Log::new(Store::open(&StoreOptions::in_memory([7; 32])).unwrap(), Clock::system());
        let event = EventId::now();
        assert_eq!(log.answer_of(event), None);
        log.answered(event, 202, Duration::from_micros(1234));
        assert_eq!(log.answer_of(event), Some((202, 1234)));
        let other = EventId::from_parts(1, &[9; 10]);
        log.answered(other, 200, Duration::MAX);
        assert_eq!(log.answer_of(other).map(|(status, _)| status), Some(200));
    }
}
