//! What a relay took and the daemon at home has not: a durable line, bounded, in the order of its numbers.
//!
//! Invariant: a delivery is in the store before its sender hears anything, and leaves it only because home said so. A
//! number is given out before its row is stored, so a reader stops at the first number whose row is still on its way:
//! it never sees a later delivery before an earlier one. What a start must know stands in the keys; bodies stay on disk.

use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Unbounded};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aura_protocol::relay::{Numbered, Relayed, TAKE_BYTES};
use aura_protocol::{EventId, TenantId};
use aura_storage::rows::relay::{QueuedRow, queued_key, queued_of};
use aura_storage::{CommitError, Key, ReadError, Store, Table, Txn};
use tokio::sync::watch;

const TENANT: TenantId = TenantId::DEFAULT;
/// What counts of a delivery whose body goes in pieces.
const HEAD_BYTES: u64 = 128 * 1024;
/// Keys read at once.
const PAGE: usize = 4096;

/// How much may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Deliveries.
    pub count: u64,
    /// Bytes, headers included.
    pub bytes: u64,
}

/// How much waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    /// Deliveries.
    pub count: u64,
    /// Bytes, headers included.
    pub bytes: u64,
    /// When the oldest came, in Unix milliseconds.
    pub oldest_ms: Option<i64>,
}

/// Why a delivery was not kept: nothing of it is promised.
#[derive(Debug, thiserror::Error)]
pub enum Unkept {
    /// The line is full.
    #[error("so much waits for home already")]
    Full,
    /// The writer has no place now.
    #[error("too much at once")]
    Busy,
    /// The store failed.
    #[error("it could not be stored: {0}")]
    Store(String),
}

/// The line. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Queue(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    store: Store,
    bounds: Bounds,
    line: Mutex<Line>,
    /// Grows with every delivery that is stored.
    news: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Line {
    /// The number given out last.
    last: u64,
    places: BTreeMap<u64, Place>,
    bytes: u64,
    /// Whether something is stored that is not here, or the other way round, is unknown.
    doubtful: bool,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    event: EventId,
    bytes: u64,
    stored: bool,
    /// Its row is damaged: it stays where it is for `doctor`, and is not offered.
    damaged: bool,
}

impl Line {
    fn put(&mut self, number: u64, place: Place) {
        self.last = self.last.max(number);
        if self.places.insert(number, place).is_none() {
            self.bytes = self.bytes.saturating_add(place.bytes);
        }
    }

    fn take(&mut self, number: u64) {
        if let Some(place) = self.places.remove(&number) {
            self.bytes = self.bytes.saturating_sub(place.bytes);
        }
    }

    fn count(&self) -> u64 {
        u64::try_from(self.places.len()).unwrap_or(u64::MAX)
    }
}

/// About what a delivery takes.
fn weight(row: &QueuedRow) -> u64 {
    let headers: usize = row.headers.iter().map(|(name, value)| name.len() + value.len() + 8).sum();
    u64::try_from(256 + headers + row.query.len() + row.body.len()).unwrap_or(u64::MAX)
}

impl Queue {
    /// The line as the store has it.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn open(store: Store, bounds: Bounds) -> Result<Self, ReadError> {
        let queue = Self(Arc::new(Inner { store, bounds, line: Mutex::default(), news: watch::Sender::new(0) }));
        queue.read_again()?;
        Ok(queue)
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        self.0.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in what the store has and the line does not.
    fn read_again(&self) -> Result<(), ReadError> {
        self.line().doubtful = false;
        let (mut from, to) = (Key::tenant(TENANT), Key::tenant(TENANT).after_prefix());
        loop {
            let page = self.0.store.keys(Table::RelayQueue, &from, &to, PAGE).inspect_err(|_| {
                self.line().doubtful = true;
            })?;
            let mut line = self.line();
            for (number, event, bytes) in page.iter().filter_map(queued_of) {
                line.put(number, Place { event, bytes, stored: true, damaged: false });
            }
            drop(line);
            match page.last() {
                Some(key) if page.len() == PAGE => from = key.next(),
                _ => break,
            }
        }
        self.0.news.send_modify(|news| *news += 1);
        Ok(())
    }

    /// How much may wait.
    #[must_use]
    pub fn bounds(&self) -> Bounds {
        self.0.bounds
    }

    /// How much waits.
    #[must_use]
    pub fn waiting(&self) -> Waiting {
        let line = self.line();
        let oldest = line.places.values().next().map(|place| time_of(place.event));
        Waiting { count: line.count(), bytes: line.bytes, oldest_ms: oldest }
    }

    /// Stores a delivery; returns after its commit.
    ///
    /// # Errors
    /// Full, busy, or not stored: then its sender sends again.
    pub async fn keep(&self, event: EventId, row: QueuedRow, now_ms: i64) -> Result<(), Unkept> {
        let bytes = weight(&row);
        let permit = self.0.store.try_reserve().ok_or(Unkept::Busy)?;
        let number = {
            let mut line = self.line();
            let bounds = self.0.bounds;
            if line.count() >= bounds.count || line.bytes.saturating_add(bytes) > bounds.bytes {
                return Err(Unkept::Full);
            }
            // Never one that was given out before, also not behind a start with nothing in the line.
            let by_time = u64::try_from(now_ms).unwrap_or(0).saturating_mul(1000);
            let number = line.last.saturating_add(1).max(by_time);
            line.put(number, Place { event, bytes, stored: false, damaged: false });
            number
        };
        let mut txn = Txn::new();
        let key = queued_key(TENANT, number, event, bytes);
        let stored = match self.0.store.put(&mut txn, TENANT, Table::RelayQueue, key, &row) {
            Ok(()) => permit.submit(txn).committed().await.map(drop).map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        let mut line = self.line();
        if let Err(why) = stored {
            line.take(number);
            // It may have been stored all the same; then it is offered, and what repeats it is told at home.
            line.doubtful = true;
            drop(line);
            self.0.news.send_modify(|news| *news += 1);
            return Err(Unkept::Store(why));
        }
        if let Some(place) = line.places.get_mut(&number) {
            place.stored = true;
        }
        drop(line);
        self.0.news.send_modify(|news| *news += 1);
        Ok(())
    }

    /// What is behind a number, in order: at most so many, and about [`TAKE_BYTES`].
    fn behind(&self, after: u64, most: usize) -> Vec<(u64, Place)> {
        let line = self.line();
        let mut found = Vec::new();
        let mut bytes = 0_u64;
        for (number, place) in line.places.range((Excluded(after), Unbounded)) {
            if !place.stored || found.len() >= most {
                break;
            }
            let sent = if place.bytes > TAKE_BYTES { HEAD_BYTES } else { place.bytes };
            bytes = bytes.saturating_add(sent);
            if bytes > TAKE_BYTES && !found.is_empty() {
                break;
            }
            if !place.damaged {
                found.push((*number, *place));
            }
        }
        found
    }

    /// Deliveries behind a number. Blocks the thread; call it beside the runtime.
    ///
    /// # Errors
    /// The disk failed.
    pub fn read(&self, after: u64, most: usize) -> Result<Vec<Relayed>, ReadError> {
        if self.line().doubtful {
            self.read_again()?;
        }
        let mut out = Vec::new();
        for (number, place) in self.behind(after, most) {
            if let Some(row) = self.row(number, place)? {
                out.push(relayed(number, place, row));
            }
        }
        Ok(out)
    }

    fn row(&self, number: u64, place: Place) -> Result<Option<QueuedRow>, ReadError> {
        let key = queued_key(TENANT, number, place.event, place.bytes);
        match self.0.store.get(TENANT, Table::RelayQueue, &key) {
            Ok(Some(row)) => Ok(Some(row)),
            // Taken meanwhile.
            Ok(None) => {
                self.line().take(number);
                Ok(None)
            }
            Err(error @ ReadError::Corrupt { .. }) => {
                tracing::error!(%error, event = %place.event, "a delivery that waits for home is damaged and stays here");
                if let Some(place) = self.line().places.get_mut(&number) {
                    place.damaged = true;
                }
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// A piece of a large body; `None` if there is no such delivery. Blocks the thread.
    ///
    /// # Errors
    /// The disk failed.
    pub fn piece(&self, which: Numbered, offset: u64) -> Result<Option<Vec<u8>>, ReadError> {
        let place = self.line().places.get(&which.number).copied();
        let Some(place) = place.filter(|place| place.event == which.event && place.stored) else { return Ok(None) };
        let Some(row) = self.row(which.number, place)? else { return Ok(None) };
        let from = usize::try_from(offset).unwrap_or(usize::MAX).min(row.body.len());
        let most = usize::try_from(TAKE_BYTES).unwrap_or(usize::MAX);
        let to = from.saturating_add(most).min(row.body.len());
        Ok(row.body.get(from..to).map(<[u8]>::to_vec))
    }

    /// Lets go of what is stored at home; gives how many of them were here.
    ///
    /// # Errors
    /// Not stored: they are offered again, and home tells that it has them.
    pub async fn let_go(&self, which: &[Numbered]) -> Result<u64, CommitError> {
        let mut txn = Txn::new();
        let found: Vec<u64> = {
            let line = self.line();
            let mut found = Vec::new();
            for one in which {
                let place = line.places.get(&one.number);
                if let Some(place) = place.filter(|place| place.event == one.event && place.stored) {
                    txn.delete(Table::RelayQueue, queued_key(TENANT, one.number, place.event, place.bytes));
                    found.push(one.number);
                }
            }
            found
        };
        if found.is_empty() {
            return Ok(0);
        }
        let committed = self.0.store.commit(txn).await;
        let mut line = self.line();
        committed.inspect_err(|_| line.doubtful = true)?;
        found.iter().for_each(|number| line.take(*number));
        Ok(u64::try_from(found.len()).unwrap_or(u64::MAX))
    }

    /// Waits until something may be behind a number.
    pub async fn wait(&self, after: u64) {
        let mut news = self.0.news.subscribe();
        loop {
            news.borrow_and_update();
            if !self.behind(after, 1).is_empty() || self.line().doubtful {
                return;
            }
            if news.changed().await.is_err() {
                return;
            }
        }
    }
}

/// The time in an event's id, in Unix milliseconds.
fn time_of(event: EventId) -> i64 {
    let bytes = event.bytes();
    let ms = bytes.iter().take(6).fold(0_u64, |ms, byte| (ms << 8) | u64::from(*byte));
    i64::try_from(ms).unwrap_or(0)
}

fn relayed(number: u64, place: Place, row: QueuedRow) -> Relayed {
    let bytes = u64::try_from(row.body.len()).unwrap_or(u64::MAX);
    Relayed {
        which: Numbered { number, event: place.event },
        flow: row.flow,
        name: row.name,
        trigger: row.trigger,
        method: row.method,
        query: row.query,
        headers: row.headers,
        body: if place.bytes > TAKE_BYTES { Vec::new() } else { row.body },
        bytes,
        from: row.from,
        verdict: row.verdict,
        received_ms: row.received_ms,
    }
}

#[cfg(test)]
mod tests {
    use aura_protocol::FlowId;
    use aura_protocol::rpc::Verdict;
    use aura_storage::StoreOptions;

    use super::*;

    fn row(body: usize) -> QueuedRow {
        QueuedRow {
            flow: FlowId::from_bytes([1; 16]),
            name: "orders".to_owned(),
            trigger: "in".to_owned(),
            method: "POST".to_owned(),
            query: String::new(),
            headers: Vec::new(),
            body: vec![7; body],
            from: "203.0.113.9".to_owned(),
            verdict: Verdict::Proved,
            received_ms: 1,
        }
    }

    fn opened(store: &Store, count: u64) -> Queue {
        Queue::open(store.clone(), Bounds { count, bytes: 1 << 30 }).unwrap()
    }

    fn numbers(read: &[Relayed]) -> Vec<EventId> {
        read.iter().map(|one| one.which.event).collect()
    }

    #[tokio::test]
    async fn what_is_kept_is_read_in_order_until_home_has_it_also_behind_a_start() {
        let store = Store::open(&StoreOptions::in_memory([7; 32])).unwrap();
        let queue = opened(&store, 100);
        let events: Vec<EventId> = (0..5).map(|_| EventId::now()).collect();
        for event in &events {
            queue.keep(*event, row(10), 1000).await.unwrap();
        }
        let all = queue.read(0, 128).unwrap();
        assert_eq!(numbers(&all), events);
        assert_eq!(numbers(&queue.read(all[1].which.number, 2).unwrap()), events[2..4]);
        let other = Numbered { number: all[0].which.number, event: events[1] };
        assert_eq!(queue.let_go(&[all[1].which, all[3].which, other]).await.unwrap(), 2);
        assert_eq!(queue.let_go(&[all[1].which]).await.unwrap(), 0, "said twice");
        let again = opened(&store, 100);
        assert_eq!(numbers(&again.read(0, 128).unwrap()), [events[0], events[2], events[4]]);
        assert_eq!(again.waiting().count, 3);
        // A clock that was set back does not give a number twice.
        let late = EventId::now();
        again.keep(late, row(0), 0).await.unwrap();
        assert_eq!(numbers(&again.read(0, 128).unwrap()).last(), Some(&late));
    }

    #[tokio::test]
    async fn a_full_line_takes_nothing_and_room_comes_back() {
        let store = Store::open(&StoreOptions::in_memory([7; 32])).unwrap();
        let queue = opened(&store, 2);
        for _ in 0..2 {
            queue.keep(EventId::now(), row(1), 1).await.unwrap();
        }
        assert!(matches!(queue.keep(EventId::now(), row(1), 1).await, Err(Unkept::Full)));
        let first = queue.read(0, 1).unwrap()[0].which;
        queue.let_go(&[first]).await.unwrap();
        queue.keep(EventId::now(), row(1), 1).await.unwrap();
        let small = Queue::open(store, Bounds { count: 100, bytes: 2000 }).unwrap();
        assert!(matches!(small.keep(EventId::now(), row(3000), 1).await, Err(Unkept::Full)), "bytes count too");
    }

    #[tokio::test]
    async fn a_body_larger_than_an_answer_is_read_in_pieces() {
        let store = Store::open(&StoreOptions::in_memory([7; 32])).unwrap();
        let queue = opened(&store, 10);
        let large = usize::try_from(TAKE_BYTES).unwrap() + 5;
        queue.keep(EventId::now(), row(large), 1).await.unwrap();
        queue.keep(EventId::now(), row(1), 1).await.unwrap();
        let read = queue.read(0, 10).unwrap();
        assert_eq!((read.len(), read[0].body.len(), read[0].bytes), (2, 0, TAKE_BYTES + 5));
        let piece = |offset| queue.piece(read[0].which, offset).unwrap().unwrap().len();
        assert_eq!((piece(0), piece(TAKE_BYTES), piece(TAKE_BYTES + 5)), (large - 5, 5, 0));
        let nobody = Numbered { event: EventId::now(), ..read[0].which };
        assert_eq!(queue.piece(nobody, 0).unwrap(), None);
    }

    #[test]
    fn a_number_on_its_way_hides_those_behind_it() {
        let store = Store::open(&StoreOptions::in_memory([7; 32])).unwrap();
        let queue = opened(&store, 10);
        let place = |stored| Place { event: EventId::now(), bytes: 1, stored, damaged: false };
        for (number, stored) in [(1, true), (2, false), (3, true)] {
            queue.line().put(number, place(stored));
        }
        let seen = |queue: &Queue| queue.behind(0, 9).into_iter().map(|(number, _)| number).collect::<Vec<_>>();
        assert_eq!(seen(&queue), [1]);
        queue.line().places.get_mut(&2).unwrap().stored = true;
        assert_eq!(seen(&queue), [1, 2, 3]);
    }
}
