//! The one thread that writes: takes what waits, checks, applies, commits, tells.
//!
//! A transaction is checked against the store as the ones before it leave it, also those of the same group,
//! and is applied as a whole or not at all. A group becomes one commit with one tail row. After an I/O error
//! whether that group is durable is unknown and every waiter hears so; the file is let go and opened again under a
//! new number, and transactions that were decided before are refused, because they may rest on what is lost. The
//! third fault within ten minutes ends it. No sealing and no foreign code runs here.

use std::collections::{BTreeMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::backend::{Backend, Change, Fault, Snapshot};
use crate::ballast::Ballast;
use crate::migrate::{LAYOUT, Layout};
use crate::queue::{Queue, Reply, Waiting, Work};
use crate::store::{CommitError, Committed, Standing};
use crate::table::{Key, Table};
use crate::tail::{self, TailRow};
use crate::txn::{DedupeEntry, TailEntry, Txn};
use crate::{blobs, dedupe, open, seal};

/// Keys of the rows in `Meta`; those up to 5 exist from the first commit on.
pub(crate) mod meta {
    use crate::table::Key;

    /// [`super::Schema`].
    pub(crate) fn schema() -> Key {
        Key::new().number(1)
    }
    /// Check value of the master key.
    pub(crate) fn master() -> Key {
        Key::new().number(2)
    }
    /// [`super::Epoch`].
    pub(crate) fn epoch() -> Key {
        Key::new().number(3)
    }
    /// [`super::Fold`].
    pub(crate) fn fold() -> Key {
        Key::new().number(4)
    }
    /// Number of the last page check.
    pub(crate) fn mark() -> Key {
        Key::new().number(5)
    }
    /// [`crate::pause::Paused`]; only there while nothing may start.
    pub(crate) fn paused() -> Key {
        Key::new().number(6)
    }
    /// [`crate::scrub::Scrubbed`]; only there after the first scrub.
    pub(crate) fn scrubbed() -> Key {
        Key::new().number(7)
    }
    /// [`crate::steady::Steady`]; only there once a daemon kept it.
    pub(crate) fn steady() -> Key {
        Key::new().number(9)
    }
    /// Tries of a migration that is not done.
    pub(crate) fn tries() -> Key {
        Key::new().number(8)
    }
}

/// Free bytes with which it is worth trying to go on after a full disk.
const ROOM: u64 = 2 * 1024 * 1024;

/// Which program wrote the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Schema {
    /// Number of the layout.
    pub schema: u32,
    /// Version of the program.
    pub program: String,
}

/// Number of starts, and how the last one ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Epoch {
    /// One more at each open.
    pub epoch: u64,
    /// Newest cursor at a clean close; `None` while open.
    pub closed_at: Option<u64>,
    /// Bytes of all rows at a clean close.
    #[serde(default)]
    pub bytes: Option<u64>,
}

/// How far dedupe keys are folded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Fold {
    /// Number of the next segment.
    pub next: u64,
    /// Entries of tail rows up to this cursor are in segments.
    pub upto: u64,
    /// Segments there are.
    pub segments: u64,
}

/// Numbers that tests make small.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Groups kept in the tail.
    pub tail_groups: u64,
    /// Groups removed at once.
    pub trim: u64,
    /// Keys per segment; also groups after which a fold is due however few keys there are.
    pub fold_keys: usize,
    /// Bits of fingerprints.
    pub fingerprint_mask: u32,
    /// With so many I/O errors within [`Limits::faults_within`] it is over.
    pub faults_max: usize,
    pub faults_within: Duration,
    /// How long after a failed attempt to open again the next one comes.
    pub again_after: Duration,
    /// The layout to bring the store to.
    pub layout: Layout,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            tail_groups: 100_000,
            trim: 256,
            fold_keys: dedupe::FOLD_KEYS,
            fingerprint_mask: u32::MAX,
            faults_max: 3,
            faults_within: Duration::from_secs(600),
            again_after: Duration::from_secs(1),
            layout: LAYOUT,
        }
    }
}

/// What the writer shares with the handle.
#[derive(Debug)]
pub(crate) struct Shared {
    pub backend: Arc<dyn Backend>,
    pub queue: Queue,
    pub dedupe: RwLock<dedupe::Memory>,
    /// Latest time that a caller told us, for expiry.
    pub now_ms: AtomicI64,
    pub newest: watch::Sender<u64>,
    pub failed: watch::Sender<Option<String>>,
    /// Number of this opening; changes only under the lock of `dedupe`.
    pub epoch: AtomicU64,
    /// Bytes of all rows.
    pub stored: AtomicU64,
    pub standing: watch::Sender<Standing>,
    pub ballast: Option<Ballast>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Writer {
    pub shared: Arc<Shared>,
    pub limits: Limits,
    pub epoch: u64,
    /// Newest cursor.
    pub cursor: u64,
    /// Oldest cursor kept.
    pub first: u64,
    pub fold: Fold,
    /// Segments there are, with the time after which they may go.
    pub segments: VecDeque<(u64, i64)>,
    /// Committed entries that are not in a segment yet.
    pub unfolded: Vec<DedupeEntry>,
    pub marks: u64,
    /// Why nothing is written now.
    pub fault: Option<Fault>,
    /// When the next attempt to open again is; `None` with a fault: it is over.
    pub again: Option<Instant>,
    /// Times of I/O errors.
    pub faults: VecDeque<Instant>,
    /// Held until the file is closed.
    pub lock: Option<std::fs::File>,
}

/// The rows that a group changes, latest value first come last served, sorted for the backend.
#[derive(Default)]
struct Overlay(BTreeMap<Table, BTreeMap<Key, Option<Vec<u8>>>>);

impl Overlay {
    fn set(&mut self, table: Table, key: Key, value: Option<Vec<u8>>) {
        self.0.entry(table).or_default().insert(key, value);
    }
    fn get(&self, table: Table, key: &Key) -> Option<&Option<Vec<u8>>> {
        self.0.get(&table)?.get(key)
    }
    fn into_changes(self) -> Vec<Change> {
        let rows = self.0.into_iter();
        rows.flat_map(|(table, rows)| rows.into_iter().map(move |(key, value)| Change { table, key, value })).collect()
    }
}

/// Reads the store as it is before the group, opened only if somebody asks.
struct Before<'a> {
    backend: &'a dyn Backend,
    snapshot: Option<Box<dyn Snapshot>>,
}

impl Before<'_> {
    fn read(&mut self, table: Table, key: &Key) -> Result<Option<Vec<u8>>, Fault> {
        if self.snapshot.is_none() {
            self.snapshot = Some(self.backend.snapshot()?);
        }
        self.snapshot.as_ref().map_or(Ok(None), |snapshot| snapshot.read(table, key))
    }
}

/// A group while it is put together.
struct Group<'a> {
    before: Before<'a>,
    overlay: Overlay,
    counters: BTreeMap<Key, i64>,
    entries: Vec<TailEntry>,
    dedupe: Vec<DedupeEntry>,
}

impl Group<'_> {
    fn exists(&mut self, table: Table, key: &Key) -> Result<bool, Fault> {
        match self.overlay.get(table, key) {
            Some(value) => Ok(value.is_some()),
            None => Ok(self.before.read(table, key)?.is_some()),
        }
    }

    /// A row as the transactions before leave it.
    fn read(&mut self, table: Table, key: &Key) -> Result<Option<Vec<u8>>, Fault> {
        match self.overlay.get(table, key) {
            Some(value) => Ok(value.clone()),
            None => self.before.read(table, key),
        }
    }

    /// Adds a transaction, or says why not and leaves no trace of it. A fault concerns the whole group.
    fn add(&mut self, txn: Txn) -> Result<Result<(), CommitError>, Fault> {
        for (wanted, rows) in [(false, &txn.absent), (true, &txn.present)] {
            for (table, key) in rows {
                if self.exists(*table, key)? != wanted {
                    return Ok(Err(CommitError::Conflict(*table)));
                }
            }
        }
        let held = match blobs::counted(&txn.blobs, |table, key| self.read(table, key))? {
            Ok(held) => held,
            Err(error) => return Ok(Err(error)),
        };
        for (key, _) in &txn.counters {
            if self.counters.contains_key(key) {
                continue;
            }
            let now = match self.before.read(Table::Counters, key)? {
                None => 0,
                Some(stored) => match seal::unplain_value(Table::Counters, key, &stored) {
                    Some(now) => now,
                    None => return Ok(Err(CommitError::Io(format!("the counter {} is damaged", key.hex())))),
                },
            };
            self.counters.insert(key.clone(), now);
        }
        for (key, delta) in txn.counters {
            let counter = self.counters.entry(key.clone()).or_default();
            *counter = counter.saturating_add(delta);
            match seal::plain_value(Table::Counters, &key, counter) {
                Ok(stored) => self.overlay.set(Table::Counters, key, Some(stored)),
                Err(error) => return Err(Fault::Io(error.to_string())),
            }
        }
        for (table, key, value) in txn.puts {
            self.overlay.set(table, key, Some(value));
        }
        for (table, key) in txn.deletes {
            self.overlay.set(table, key, None);
        }
        for (table, key, value) in held {
            self.overlay.set(table, key, value);
        }
        self.entries.extend(txn.tail);
        self.dedupe.extend(txn.dedupe);
        Ok(Ok(()))
    }
}

impl Writer {
    /// Works until the queue is closed and empty, then closes the file.
    pub(crate) fn run(mut self) {
        let mut worked = Duration::ZERO;
        loop {
            let wait = self.again.map(|again| again.saturating_duration_since(Instant::now()));
            match self.shared.queue.take(wait, worked) {
                Work::Group(group) => {
                    let begin = Instant::now();
                    self.group(group);
                    worked = begin.elapsed();
                }
                Work::Verify(reply) => {
                    let result = self.caught(Self::verify);
                    drop(reply.send(result));
                }
                Work::Compact(reply) => {
                    let result = self.caught(|writer| writer.shared.backend.compact());
                    drop(reply.send(result));
                }
                Work::Probe if self.fault.is_none() => {
                    let healthy = self.caught(|writer| writer.shared.backend.healthy());
                    if let Err(fault) = healthy {
                        self.failed(&fault);
                    }
                }
                Work::Probe | Work::Idle => {}
                Work::End => break,
            }
            if self.again.is_some_and(|again| again <= Instant::now()) {
                self.open_again();
            }
        }
        // Also after a failure: where the disk refuses, this writes nothing either.
        if let Err(fault) = self.caught(Self::mark_closed) {
            self.over(&fault);
        }
        let closed = catch_unwind(AssertUnwindSafe(|| self.shared.backend.close()));
        if let Ok(Err(fault)) = closed {
            tracing::error!(error = %fault, "the store could not be closed cleanly");
        }
        drop(self.lock.take());
        self.shared.queue.ended();
    }

    /// A panic here would leave everybody waiting: it becomes a failed store.
    fn caught<T>(&mut self, work: impl FnOnce(&mut Self) -> Result<T, Fault>) -> Result<T, Fault> {
        catch_unwind(AssertUnwindSafe(|| work(self)))
            .unwrap_or_else(|_| Err(Fault::Damaged("the writer stopped on a fault of the program".into())))
    }

    /// An I/O error: lets everybody know and tries to open again at once.
    fn failed(&mut self, fault: &Fault) {
        if self.fault.is_some() {
            return;
        }
        tracing::error!(error = %fault, "the store could not write; it is opened again");
        if let Fault::Full(_) = fault
            && self.shared.ballast.as_ref().is_some_and(Ballast::release)
        {
            tracing::warn!("the disk is full: the ballast was given back");
        }
        if self.stays_out(fault) {
            self.open_again();
        }
    }

    /// Records a fault; whether opening again is still to be tried.
    fn stays_out(&mut self, fault: &Fault) -> bool {
        let now = Instant::now();
        let (text, standing): (_, fn(String) -> Standing) = match fault {
            Fault::Damaged(_) => {
                self.over(fault);
                return false;
            }
            Fault::Full(text) => (text, Standing::Full),
            Fault::Io(text) => {
                let within = self.limits.faults_within;
                self.faults.push_back(now);
                self.faults.retain(|then| now.duration_since(*then) < within);
                if self.faults.len() >= self.limits.faults_max {
                    self.over(fault);
                    return false;
                }
                (text, Standing::Out)
            }
        };
        self.fault = Some(fault.clone());
        self.again = Some(now + self.limits.again_after);
        self.shared.standing.send_replace(standing(text.clone()));
        true
    }

    /// It is over: nothing is written any more.
    fn over(&mut self, fault: &Fault) {
        if self.fault.is_some() && self.again.is_none() {
            return;
        }
        tracing::error!(error = %fault, "the store cannot write any more");
        self.fault = Some(fault.clone());
        self.again = None;
        let sentence = format!("the store could not write: {fault}; free the disk or repair it, then start again");
        self.shared.failed.send_replace(Some(sentence.clone()));
        self.shared.standing.send_replace(Standing::Failed(sentence));
    }

    /// One attempt to go on after a fault.
    fn open_again(&mut self) {
        let began = Instant::now();
        match self.caught(Self::reopened) {
            Ok(true) => {
                self.fault = None;
                self.again = None;
                tracing::warn!(took = ?began.elapsed(), epoch = self.epoch, "the store was opened again and goes on");
                self.shared.standing.send_replace(Standing::Good(self.epoch));
            }
            Ok(false) => self.again = Some(Instant::now() + self.limits.again_after),
            Err(fault) => {
                tracing::error!(error = %fault, "the store could not be opened again");
                let waits = self.stays_out(&fault);
                if waits && matches!(fault, Fault::Full(_)) {
                    // Reading goes on meanwhile.
                    let _ = self.caught(|writer| writer.shared.backend.reopen());
                }
            }
        }
    }

    /// Lets the file go, opens it again, verifies and takes over what it says. `false`: there is no room yet.
    fn reopened(&mut self) -> Result<bool, Fault> {
        let shared = Arc::clone(&self.shared);
        let full = matches!(self.fault, Some(Fault::Full(_)));
        let room = || shared.ballast.as_ref().and_then(Ballast::space).is_none_or(|space| space.free >= ROOM);
        // While there is no room, readers keep what was opened.
        if full && !room() && shared.backend.healthy().is_ok() {
            return Ok(false);
        }
        shared.backend.reopen()?;
        if full && !room() {
            return Ok(false);
        }
        shared.backend.complete(self.limits.layout.number)?;
        let loaded = open::load(shared.backend.as_ref(), self.limits)?;
        if loaded.cursor < self.cursor {
            let (there, told) = (loaded.cursor, self.cursor);
            return Err(Fault::Damaged(format!("acknowledged changes are gone: {there} of {told} groups are there")));
        }
        if let Some(damage) = loaded.found.first() {
            return Err(Fault::Damaged(format!("{}: {}", damage.subject, damage.message)));
        }
        let epoch = loaded.epoch.epoch.max(self.epoch) + 1;
        open::begin(shared.backend.as_ref(), epoch)?;
        self.epoch = epoch;
        self.cursor = loaded.cursor;
        self.first = loaded.first;
        self.fold = loaded.fold;
        self.segments = loaded.segments;
        self.unfolded = loaded.unfolded;
        self.marks = loaded.marks;
        shared.stored.store(loaded.bytes, Ordering::Relaxed);
        {
            let mut memory = shared.dedupe.write().unwrap_or_else(PoisonError::into_inner);
            *memory = loaded.memory;
            shared.epoch.store(epoch, Ordering::Release);
        }
        self.announce();
        Ok(true)
    }

    fn announce(&self) {
        let cursor = self.cursor;
        self.shared.newest.send_if_modified(|newest| std::mem::replace(newest, cursor) != cursor);
    }

    fn group(&mut self, mut waiting: Vec<Waiting>) {
        if let Some(fault) = &self.fault {
            for waiting in waiting {
                waiting.reply.tell(Err(CommitError::Io(fault.to_string())));
            }
            return;
        }
        if waiting.iter().any(|waiting| waiting.epoch != self.epoch) {
            let (fit, stale): (Vec<Waiting>, Vec<Waiting>) =
                waiting.into_iter().partition(|waiting| waiting.epoch == self.epoch);
            for stale in stale {
                stale.reply.tell(Err(CommitError::Reopened));
            }
            waiting = fit;
        }
        let mut replies: Vec<(Reply, Result<(), CommitError>)> = Vec::with_capacity(waiting.len());
        let mut txns = Vec::with_capacity(waiting.len());
        for waiting in waiting {
            replies.push((waiting.reply, Ok(())));
            txns.push(waiting.txn);
        }
        let outcome = self.caught(|writer| {
            let verdicts: &mut [(Reply, Result<(), CommitError>)] = &mut replies;
            writer.commit(txns, verdicts)
        });
        match outcome {
            Ok(()) => {
                let cursor = self.cursor;
                self.announce();
                for (reply, verdict) in replies {
                    reply.tell(verdict.map(|()| Committed { cursor }));
                }
            }
            Err(fault) => {
                // First the attempt to go on: who hears of the fault then reads what is true.
                self.failed(&fault);
                for (reply, _) in replies {
                    reply.tell(Err(CommitError::Io(fault.to_string())));
                }
            }
        }
    }

    fn commit(&mut self, txns: Vec<Txn>, verdicts: &mut [(Reply, Result<(), CommitError>)]) -> Result<(), Fault> {
        let shared = Arc::clone(&self.shared);
        let mut group = Group {
            before: Before { backend: shared.backend.as_ref(), snapshot: None },
            overlay: Overlay::default(),
            counters: BTreeMap::new(),
            entries: Vec::new(),
            dedupe: Vec::new(),
        };
        let mut refused = Vec::new();
        for (txn, (_, verdict)) in txns.into_iter().zip(verdicts) {
            let keys = txn.dedupe.clone();
            *verdict = group.add(txn)?;
            if verdict.is_err() {
                refused.extend(keys);
            }
        }
        let Group { mut overlay, entries, dedupe: keys, .. } = group;
        let mut cursor = self.cursor;
        if !entries.is_empty() || !keys.is_empty() {
            cursor += 1;
            let key = tail::key(cursor);
            let stored =
                stored(Table::Tail, &key, &TailRow::new(entries, &keys, shared.stored.load(Ordering::Relaxed)))?;
            overlay.set(Table::Tail, key, Some(stored));
        }
        self.unfolded.extend_from_slice(&keys);
        let keeping = self.housekeeping(cursor, &mut overlay)?;
        let changes = overlay.into_changes();
        if !changes.is_empty() {
            let grown = shared.backend.write(changes)?;
            self.grew(grown);
        }
        self.cursor = cursor;
        let mut memory = shared.dedupe.write().unwrap_or_else(PoisonError::into_inner);
        for key in keys {
            memory.committed(key);
        }
        for key in &refused {
            memory.refused(key);
        }
        if let Some(keeping) = keeping {
            self.kept(keeping, &mut memory);
        }
        Ok(())
    }

    /// Folds dedupe keys and trims the tail when it is time, as part of the same commit.
    fn housekeeping(&self, cursor: u64, overlay: &mut Overlay) -> Result<Option<Keeping>, Fault> {
        let trim = (cursor + 1).saturating_sub(self.first) >= self.limits.tail_groups.saturating_add(self.limits.trim);
        let groups_due = u64::try_from(self.limits.fold_keys).unwrap_or(u64::MAX);
        let due = self.unfolded.len() >= self.limits.fold_keys || cursor.saturating_sub(self.fold.upto) >= groups_due;
        if !trim && !due {
            return Ok(None);
        }
        // Trimming folds too, so that no entry goes with its row.
        let mut keeping = Keeping { fold: Fold { upto: cursor, ..self.fold }, ..Keeping::default() };
        if !self.unfolded.is_empty() {
            let number = keeping.fold.next;
            let (records, expires_ms) = dedupe::segment(&self.unfolded);
            let key = dedupe::key(number);
            overlay.set(dedupe::TABLE, key.clone(), Some(seal::plain(dedupe::TABLE, &key, &records)));
            let (key, prints) = (dedupe::prints_key(number), dedupe::Prints::of(number, &records));
            overlay.set(dedupe::TABLE, key.clone(), Some(seal::plain(dedupe::TABLE, &key, &prints.pack())));
            keeping.fold.next += 1;
            keeping.fold.segments += 1;
            keeping.segment = Some((prints, number, expires_ms));
        }
        keeping.now_ms = self.shared.now_ms.load(Ordering::Relaxed);
        for (number, expires_ms) in &self.segments {
            if *expires_ms <= keeping.now_ms {
                overlay.set(dedupe::TABLE, dedupe::key(*number), None);
                overlay.set(dedupe::TABLE, dedupe::prints_key(*number), None);
                keeping.fold.segments = keeping.fold.segments.saturating_sub(1);
            }
        }
        if trim {
            keeping.trimmed = self.limits.trim;
            for gone in self.first..self.first.saturating_add(keeping.trimmed) {
                overlay.set(Table::Tail, tail::key(gone), None);
            }
        }
        overlay.set(Table::Meta, meta::fold(), Some(stored(Table::Meta, &meta::fold(), &keeping.fold)?));
        Ok(Some(keeping))
    }

    fn kept(&mut self, keeping: Keeping, memory: &mut dedupe::Memory) {
        self.fold = keeping.fold;
        self.first += keeping.trimmed;
        let folded = std::mem::take(&mut self.unfolded);
        self.segments.retain(|(_, expires_ms)| *expires_ms > keeping.now_ms);
        memory.sweep(keeping.now_ms);
        if let Some((prints, number, expires_ms)) = keeping.segment {
            memory.folded(prints, &folded);
            self.segments.push_back((number, expires_ms));
        }
    }

    /// Writes a new mark, so that the copy can be told from an older state, and has the backend verify it.
    fn verify(&mut self) -> Result<Vec<String>, Fault> {
        let key = meta::mark();
        self.marks += 1;
        let value = stored(Table::Meta, &key, &self.marks)?;
        let mark = Change { table: Table::Meta, key: key.clone(), value: Some(value.clone()) };
        if self.fault.is_none()
            && let Err(fault) = self.shared.backend.write(vec![mark])
        {
            self.failed(&fault);
            return Err(fault);
        }
        self.shared.backend.verify(Table::Meta, &key, &value)
    }

    fn mark_closed(&mut self) -> Result<(), Fault> {
        let key = meta::epoch();
        let bytes = Some(self.shared.stored.load(Ordering::Relaxed));
        let value = stored(Table::Meta, &key, &Epoch { epoch: self.epoch, closed_at: Some(self.cursor), bytes })?;
        self.shared.backend.write(vec![Change { table: Table::Meta, key, value: Some(value) }]).map(drop)
    }

    fn grew(&self, by: i64) {
        let bytes = self.shared.stored.load(Ordering::Relaxed).saturating_add_signed(by);
        self.shared.stored.store(bytes, Ordering::Relaxed);
    }
}

/// What a commit does beside its transactions.
#[derive(Default)]
struct Keeping {
    fold: Fold,
    segment: Option<(dedupe::Prints, u64, i64)>,
    now_ms: i64,
    trimmed: u64,
}

/// A plain row; not being able to encode one of our own is a fault.
pub(crate) fn stored<T: Serialize>(table: Table, key: &Key, value: &T) -> Result<Vec<u8>, Fault> {
    seal::plain_value(table, key, value).map_err(|error| Fault::Io(error.to_string()))
}
