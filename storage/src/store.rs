//! The handle everybody uses.
//!
//! Reads block the calling thread (a few microseconds when the pages are in memory, a disk read otherwise) and
//! see the newest commit; a caller with much to read does it on a thread of its own. Writes go through a
//! place in the queue and are acknowledged when they are durable. A value that does not fit its seal or
//! checksum is an error that names the record and is never served.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError, mpsc};

use aura_protocol::{RunId, TenantId};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::archive::{self, ArchiveError, Progress, Proved};
use crate::backend::{Fault, Snapshot};
pub use crate::ballast::Space;
pub use crate::check::Finding;
use crate::migrate::LAYOUT;
pub use crate::open::OpenError;
use crate::queue::{Reply, Waiting};
use crate::seal::{self, SealError};
use crate::table::{Key, Table};
use crate::txn::{DedupeEntry, TailEntry, Txn};
use crate::vault::{TenantKeys, Vault};
use crate::writer::Shared;
use crate::{check, dedupe, open, tail};

/// How often a read is repeated that fails while the store is opened again.
const READ_TRIES: u32 = 3;

/// Where and how.
#[derive(Clone)]
pub struct StoreOptions {
    /// Directory of `aura.redb`; `None` for the memory backend.
    pub dir: Option<PathBuf>,
    /// The master key.
    pub master: [u8; 32],
    /// Page cache in bytes (default 32 MiB).
    pub cache_bytes: usize,
    /// Longest queue of waiting transactions.
    pub queue_max: usize,
    /// Room kept for a full disk, in bytes (of a small disk at most a sixteenth); 0: none.
    pub ballast_bytes: u64,
    /// The ballast is made only if so many bytes stay free beside it.
    pub reserve_bytes: u64,
    /// File size in bytes from which every commit also records which pages are free, so that a start after a kill
    /// needs no walk through the whole file. See docs/storage.md for what it costs.
    pub record_from: u64,
}

impl StoreOptions {
    /// Page cache in bytes unless said otherwise.
    pub const CACHE_BYTES: usize = 32 * 1024 * 1024;
    /// Longest queue unless said otherwise.
    pub const QUEUE_MAX: usize = 4_096;
    /// File size from which commits record free pages unless said otherwise: never.
    pub const RECORD_FROM: u64 = u64::MAX;

    /// A store in a directory.
    #[must_use]
    pub fn in_dir(dir: impl Into<PathBuf>, master: [u8; 32]) -> Self {
        Self { dir: Some(dir.into()), ..Self::in_memory(master) }
    }

    /// A store that is gone when it is closed.
    #[must_use]
    pub fn in_memory(master: [u8; 32]) -> Self {
        Self {
            dir: None,
            master,
            cache_bytes: Self::CACHE_BYTES,
            queue_max: Self::QUEUE_MAX,
            ballast_bytes: 0,
            reserve_bytes: 0,
            record_from: Self::RECORD_FROM,
        }
    }
}

impl fmt::Debug for StoreOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreOptions").field("dir", &self.dir).field("master", &"***").finish_non_exhaustive()
    }
}

/// Why a transaction was not committed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommitError {
    /// A row was there or was not.
    #[error("a row of {0:?} is not as expected")]
    Conflict(Table),
    /// The disk failed: whether it is committed is unknown.
    #[error("the store could not write: {0}")]
    Io(String),
    /// The store was opened anew after a fault since this was decided: nothing of it is written.
    #[error("the store was opened again after a fault of the disk; nothing of this was written")]
    Reopened,
    /// The store is closed.
    #[error("the store is closed")]
    Closed,
}

/// Why something could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The value's seal or checksum does not fit: it is never served.
    #[error("the record {record} of {table:?} is damaged")]
    Corrupt {
        /// Table.
        table: Table,
        /// Key in hex.
        record: String,
    },
    /// The disk failed.
    #[error("the store could not read: {0}")]
    Io(String),
}

impl ReadError {
    pub(crate) fn damaged(table: Table, key: &Key) -> Self {
        Self::Corrupt { table, record: key.hex() }
    }
    pub(crate) fn of(table: Table, key: &Key, fault: Fault) -> Self {
        match fault {
            Fault::Io(text) | Fault::Full(text) => Self::Io(text),
            Fault::Damaged(_) => Self::damaged(table, key),
        }
    }
}

impl From<SealError> for ReadError {
    fn from(error: SealError) -> Self {
        Self::Io(error.to_string())
    }
}

/// How the store stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It takes transactions; with the number of this opening. A greater one than before: it was opened again,
    /// and whoever kept memory ahead of it must read it anew.
    Good(u64),
    /// It does not take transactions now, and is or will be opened again: why.
    Out(String),
    /// As `Out`, because there is no room; it goes on when there is.
    Full(String),
    /// It is over: the daemon must end.
    Failed(String),
}

/// A committed transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Committed {
    /// Cursor of its group; of the group before if nothing of it concerns the tail.
    pub cursor: u64,
}

/// A place in the writer's queue.
#[derive(Debug)]
pub struct Permit {
    place: OwnedSemaphorePermit,
    shared: Arc<Shared>,
    epoch: u64,
}

/// Resolves when the group with this transaction is durable.
#[derive(Debug)]
pub struct Receipt(oneshot::Receiver<Result<Committed, CommitError>>);

impl Receipt {
    /// Waits for the commit.
    ///
    /// # Errors
    /// Conflict, I/O, closed.
    pub async fn committed(self) -> Result<Committed, CommitError> {
        self.0.await.unwrap_or(Err(CommitError::Closed))
    }
}

impl Permit {
    /// Hands over a transaction. Order of calls is order of commits.
    #[must_use]
    pub fn submit(self, txn: Txn) -> Receipt {
        self.push(txn, false)
    }

    /// As [`Self::submit`], for what nobody outside waits for: under load it may be committed a fraction of a
    /// millisecond later, with more of its kind.
    #[must_use]
    pub fn submit_unasked(self, txn: Txn) -> Receipt {
        self.push(txn, true)
    }

    fn push(self, txn: Txn, unasked: bool) -> Receipt {
        let (sender, receiver) = oneshot::channel();
        let bytes = txn.bytes();
        let (reply, place) = (Reply::Task(sender), Some(self.place));
        self.shared.queue.push(Waiting { txn, bytes, reply, place, epoch: self.epoch, unasked });
        Receipt(receiver)
    }
}

/// The store. Cheap to clone; the last clone dropped closes it, [`Store::close`] does so at a known time.
#[derive(Clone, Debug)]
pub struct Store(pub(crate) Arc<Inner>, Option<u64>);

#[derive(Debug)]
pub(crate) struct Inner {
    pub shared: Arc<Shared>,
    pub vault: Vault,
    pub places: Arc<Semaphore>,
    /// Found while opening.
    pub found: Vec<Finding>,
    pub thread: Mutex<Option<std::thread::JoinHandle<()>>>,
    /// One creation of tenant keys at a time.
    pub creating: Mutex<()>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        drop(self.shared.queue.close());
        self.join();
    }
}

impl Inner {
    fn join(&self) {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            drop(thread.join());
        }
    }

    fn snapshot(&self) -> Result<Box<dyn Snapshot>, ReadError> {
        self.shared.backend.snapshot().map_err(|fault| {
            self.noticed(&fault);
            ReadError::Io(fault.to_string())
        })
    }

    /// Reading failed: after an I/O error nothing works until the store is opened again.
    fn noticed(&self, fault: &Fault) {
        if matches!(fault, Fault::Io(_)) {
            self.shared.queue.probe();
        }
    }

    /// Reads from a snapshot of now; from a new one if the store was opened again meanwhile.
    fn reading<T>(
        &self,
        table: Table,
        key: &Key,
        read: impl Fn(&dyn Snapshot) -> Result<T, Fault>,
    ) -> Result<T, ReadError> {
        let mut tries = 0;
        loop {
            match read(self.snapshot()?.as_ref()) {
                Err(Fault::Io(_)) if tries < READ_TRIES => tries += 1,
                other => {
                    return other.map_err(|fault| {
                        self.noticed(&fault);
                        ReadError::of(table, key, fault)
                    });
                }
            }
        }
    }

    /// The keys of a tenant that has some.
    pub(crate) fn keys(&self, tenant: TenantId) -> Result<Option<Arc<TenantKeys>>, ReadError> {
        if let Some(keys) = self.vault.known(tenant) {
            return Ok(Some(keys));
        }
        let key = Key::tenant(tenant);
        let snapshot = self.snapshot()?;
        let Some(stored) =
            snapshot.read(Table::Tenants, &key).map_err(|fault| ReadError::of(Table::Tenants, &key, fault))?
        else {
            return Ok(None);
        };
        let keys = self.vault.unwrap(tenant, &stored).ok_or_else(|| ReadError::damaged(Table::Tenants, &key))?;
        Ok(Some(self.vault.learn(tenant, keys)))
    }

    /// The keys of a tenant, made durable before their first use. Waits for a commit the first time.
    pub(crate) fn keys_or_new(&self, tenant: TenantId) -> Result<Arc<TenantKeys>, ReadError> {
        if let Some(keys) = self.keys(tenant)? {
            return Ok(keys);
        }
        let creating = self.creating.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(keys) = self.keys(tenant)? {
            return Ok(keys);
        }
        let keys = TenantKeys::generate()?;
        let mut txn = Txn::new();
        txn.expect_absent(Table::Tenants, Key::tenant(tenant));
        txn.puts.push((Table::Tenants, Key::tenant(tenant), self.vault.wrap(tenant, &keys)?));
        let (sender, receiver) = mpsc::sync_channel(1);
        let epoch = self.shared.epoch.load(Ordering::Acquire);
        self.shared.queue.push(Waiting {
            txn,
            bytes: 0,
            reply: Reply::Thread(sender),
            place: None,
            epoch,
            unasked: false,
        });
        receiver
            .recv()
            .unwrap_or(Err(CommitError::Closed))
            .map_err(|error| ReadError::Io(format!("the keys of a new tenant could not be stored: {error}")))?;
        drop(creating);
        Ok(self.vault.learn(tenant, keys))
    }

    /// A row as it is stored.
    pub(crate) fn stored(&self, table: Table, key: &Key) -> Result<Option<Vec<u8>>, ReadError> {
        self.snapshot()?.read(table, key).map_err(|fault| ReadError::of(table, key, fault))
    }

    /// The value of a stored row.
    pub(crate) fn opened<T: DeserializeOwned>(
        &self,
        tenant: TenantId,
        table: Table,
        key: &Key,
        stored: &[u8],
    ) -> Result<T, ReadError> {
        let value = if table.is_plain() {
            seal::unplain_value(table, key, stored)
        } else {
            self.keys(tenant)?
                .and_then(|keys| seal::unseal(keys.data(), table, key, stored))
                .and_then(|record| seal::value(&record))
        };
        value.ok_or_else(|| ReadError::damaged(table, key))
    }
}

/// A page of the tail.
#[derive(Clone, Debug, Default)]
pub struct TailPage {
    /// Entries by group, with the group's cursor.
    pub groups: Vec<(u64, Vec<TailEntry>)>,
    /// The cursor asked for is older than what is kept, or was never given out by this store.
    pub cut: bool,
}

impl Store {
    /// Opens or creates a store; checks schema version, key and structure.
    ///
    /// # Errors
    /// One sentence: wrong key, newer file, truncated file, another daemon, full disk.
    pub fn open(options: &StoreOptions) -> Result<Self, OpenError> {
        open::open(options).map(Self::from_inner)
    }

    pub(crate) fn from_inner(inner: Inner) -> Self {
        Self(Arc::new(inner), None)
    }

    /// This store as it is opened now: once it had to be opened again, transactions through this handle are
    /// refused as [`CommitError::Reopened`] and nothing is remembered. For whoever decides on memory.
    #[must_use]
    pub fn pinned(&self) -> Self {
        Self(Arc::clone(&self.0), Some(self.epoch()))
    }

    fn permit(&self, place: OwnedSemaphorePermit) -> Result<Permit, CommitError> {
        let epoch = self.0.shared.epoch.load(Ordering::Acquire);
        if self.1.is_some_and(|pin| pin != epoch) {
            return Err(CommitError::Reopened);
        }
        Ok(Permit { place, shared: Arc::clone(&self.0.shared), epoch })
    }

    pub(crate) fn inner(&self) -> &Inner {
        &self.0
    }

    /// Brings the store of a directory to this program's layout, also after tries that came to no end; gives the
    /// layout.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn migrate(options: &StoreOptions) -> Result<u32, OpenError> {
        open::migrate_again(options)
    }

    /// Waits for a place in the queue.
    ///
    /// # Errors
    /// Closed; or this handle is pinned and the store was opened again.
    pub async fn reserve(&self) -> Result<Permit, CommitError> {
        let place = Arc::clone(&self.0.places).acquire_owned().await.map_err(|_| CommitError::Closed)?;
        self.permit(place)
    }

    /// A place in the queue if there is one now; `None`: overloaded, or no transactions are taken now.
    #[must_use]
    pub fn try_reserve(&self) -> Option<Permit> {
        if !matches!(*self.0.shared.standing.borrow(), Standing::Good(_)) {
            return None;
        }
        let place = Arc::clone(&self.0.places).try_acquire_owned().ok()?;
        self.permit(place).ok()
    }

    /// Commits a small transaction that must not hold up others: housekeeping. One of them at most rides in a
    /// group; keep it under some hundred rows.
    ///
    /// # Errors
    /// As [`Receipt::committed`].
    pub async fn commit_low(&self, txn: Txn) -> Result<Committed, CommitError> {
        let epoch = self.0.shared.epoch.load(Ordering::Acquire);
        if self.1.is_some_and(|pin| pin != epoch) {
            return Err(CommitError::Reopened);
        }
        let (sender, receiver) = oneshot::channel();
        let bytes = txn.bytes();
        self.0.shared.queue.push_low(Waiting {
            txn,
            bytes,
            reply: Reply::Task(sender),
            place: None,
            epoch,
            unasked: true,
        });
        Receipt(receiver).committed().await
    }

    /// Reserve, submit and wait.
    ///
    /// # Errors
    /// As [`Receipt::committed`].
    pub async fn commit(&self, txn: Txn) -> Result<Committed, CommitError> {
        self.reserve().await?.submit(txn).committed().await
    }

    /// Seals a value (or adds its checksum, for plain tables) and adds the put to a transaction.
    ///
    /// The first value of a new tenant waits for a commit that makes its keys durable.
    ///
    /// # Errors
    /// The value has no encoding, or the tenant's keys cannot be read or stored.
    pub fn put<T: Serialize>(
        &self,
        txn: &mut Txn,
        tenant: TenantId,
        table: Table,
        key: Key,
        value: &T,
    ) -> Result<(), ReadError> {
        let stored = if table.is_plain() {
            seal::plain_value(table, &key, value)?
        } else {
            seal::seal_value(self.0.keys_or_new(tenant)?.data(), table, &key, value)?
        };
        txn.puts.push((table, key, stored));
        Ok(())
    }

    /// Reads one row.
    ///
    /// # Errors
    /// The disk failed, or the value is not what was written.
    pub fn get<T: DeserializeOwned>(&self, tenant: TenantId, table: Table, key: &Key) -> Result<Option<T>, ReadError> {
        let stored = self.0.reading(table, key, |snapshot| snapshot.read(table, key))?;
        stored.map(|stored| self.0.opened(tenant, table, key, &stored)).transpose()
    }

    /// Reads rows of `from..to` in order (newest first with `backwards`), at most `limit`.
    ///
    /// # Errors
    /// The disk failed, or one of the values is not what was written (the message names the first).
    pub fn scan<T: DeserializeOwned>(
        &self,
        tenant: TenantId,
        table: Table,
        from: &Key,
        to: &Key,
        limit: usize,
        backwards: bool,
    ) -> Result<Vec<(Key, T)>, ReadError> {
        let rows = self.0.reading(table, from, |snapshot| snapshot.range(table, from, to, limit, backwards))?;
        rows.into_iter()
            .map(|(key, stored)| {
                let value = self.0.opened(tenant, table, &key, &stored)?;
                Ok((key, value))
            })
            .collect()
    }

    /// Keys of `from..to` in order, at most `limit`; values are not looked at.
    ///
    /// # Errors
    /// The disk failed.
    pub fn keys(&self, table: Table, from: &Key, to: &Key, limit: usize) -> Result<Vec<Key>, ReadError> {
        let rows = self.0.reading(table, from, |snapshot| snapshot.range(table, from, to, limit, false))?;
        Ok(rows.into_iter().map(|(key, _)| key).collect())
    }

    /// Keys of `from..to` from the last one back, at most `limit`; values are not looked at.
    ///
    /// # Errors
    /// The disk failed.
    pub fn keys_back(&self, table: Table, from: &Key, to: &Key, limit: usize) -> Result<Vec<Key>, ReadError> {
        let rows = self.0.reading(table, from, |snapshot| snapshot.range(table, from, to, limit, true))?;
        Ok(rows.into_iter().map(|(key, _)| key).collect())
    }

    /// Groups after a cursor.
    ///
    /// # Errors
    /// The disk failed, or a row of the tail is damaged or missing: the tail has no gaps.
    pub fn tail_after(&self, cursor: u64, groups_max: usize) -> Result<TailPage, ReadError> {
        let newest = *self.0.shared.newest.borrow();
        tail::after(self.0.snapshot()?.as_ref(), cursor, newest, groups_max)
    }

    /// The newest cursor, as it grows.
    #[must_use]
    pub fn newest(&self) -> tokio::sync::watch::Receiver<u64> {
        self.0.shared.newest.subscribe()
    }

    /// What a dedupe key led to, also if its transaction is still on its way.
    #[must_use]
    pub fn dedupe_find(&self, tenant: TenantId, hash: &[u8; 16], now_ms: i64) -> Option<DedupeEntry> {
        let shared = &self.0.shared;
        shared.now_ms.store(now_ms, Ordering::Relaxed);
        let found = shared.dedupe.read().unwrap_or_else(PoisonError::into_inner).find((tenant, *hash), now_ms);
        let segments = match found {
            dedupe::Found::Entry(entry) => return Some(entry),
            dedupe::Found::Segments(segments) if segments.is_empty() => return None,
            dedupe::Found::Segments(segments) => segments,
        };
        let snapshot = shared
            .backend
            .snapshot()
            .inspect_err(|fault| tracing::error!(error = %fault, "dedupe keys cannot be read"));
        let snapshot = snapshot.ok()?;
        let mut entries = segments.into_iter().filter_map(|number| {
            let key = dedupe::key(number);
            let stored = snapshot.read(dedupe::TABLE, &key).unwrap_or_default()?;
            let records = seal::unplain(dedupe::TABLE, &key, &stored);
            if records.is_none() {
                tracing::error!(segment = number, "a segment of dedupe keys is damaged");
            }
            dedupe::in_segment(records?, (tenant, *hash))
        });
        entries.find(|entry| entry.expires_ms > now_ms)
    }

    /// Remembers a key in memory at once; the same entry must ride in the transaction submitted next.
    pub fn dedupe_remember(&self, entry: DedupeEntry) {
        let mut memory = self.0.shared.dedupe.write().unwrap_or_else(PoisonError::into_inner);
        // The number changes under the same lock, with a memory made anew.
        if self.1.is_none_or(|pin| pin == self.0.shared.epoch.load(Ordering::Acquire)) {
            memory.remember(entry);
        }
    }

    /// HMAC under the tenant's index key, for keys made of foreign text.
    ///
    /// If a new tenant's keys cannot be stored (the store has failed then and commits nothing more) the
    /// answer is random.
    #[must_use]
    pub fn index_hash(&self, tenant: TenantId, label: &str, parts: &[&[u8]]) -> [u8; 16] {
        match self.0.keys_or_new(tenant) {
            Ok(keys) => keys.index_hash(label, parts),
            Err(_) => seal::random().unwrap_or_default(),
        }
    }

    /// The idempotency key of a step: `aura_` + base32(HMAC(tenant key, run ‖ path))[..26].
    ///
    /// If a new tenant's keys cannot be stored the answer is random, as with [`Store::index_hash`].
    #[must_use]
    pub fn step_key(&self, tenant: TenantId, run: RunId, path: &str) -> String {
        match self.0.keys_or_new(tenant) {
            Ok(keys) => keys.step_key(run, path),
            Err(_) => {
                let bits = u128::from_be_bytes(seal::random().unwrap_or_default());
                format!("aura_{}", aura_protocol::ids::crockford(bits).to_lowercase())
            }
        }
    }

    /// Number of this opening: one more at each start, and each time the store had to be opened again. A pinned
    /// handle keeps its own.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.1.unwrap_or_else(|| self.0.shared.epoch.load(Ordering::Acquire))
    }

    /// How the store stands, as it changes.
    #[must_use]
    pub fn standing(&self) -> tokio::sync::watch::Receiver<Standing> {
        self.0.shared.standing.subscribe()
    }

    /// Becomes `Some(sentence)` when the disk failed: the daemon must end.
    #[must_use]
    pub fn failed(&self) -> tokio::sync::watch::Receiver<Option<String>> {
        self.0.shared.failed.subscribe()
    }

    /// Bytes of all rows, keys and values: what is stored, without the room that the file keeps for later.
    #[must_use]
    pub fn stored(&self) -> u64 {
        self.0.shared.stored.load(Ordering::Relaxed)
    }

    /// Room on the disk of the store; `None` in memory, or if the system does not say.
    #[must_use]
    pub fn space(&self) -> Option<Space> {
        self.0.shared.ballast.as_ref()?.space()
    }

    /// Makes the ballast again if it was given back and so many bytes stay free beside it.
    pub fn keep_ballast(&self, beside: u64) {
        if let Some(ballast) = &self.0.shared.ballast {
            ballast.keep(beside);
        }
    }

    /// Bytes of the file.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.0.shared.backend.bytes()
    }

    /// Structure (numbers without gaps, live rows with their timers) and, if deep, every value and page.
    ///
    /// Blocks the calling thread; deep copies and reads the whole file, and no commit happens meanwhile.
    ///
    /// # Errors
    /// The disk failed. Damage is a finding, not an error.
    pub fn check(&self, deep: bool) -> Result<Vec<Finding>, ReadError> {
        let mut found = self.0.found.clone();
        if deep && let Some(pages) = self.0.shared.queue.verify() {
            let faults = pages
                .recv()
                .map_err(|_| ReadError::Io("the store was closed during the check".into()))?
                .map_err(|fault| ReadError::Io(fault.to_string()))?;
            found.extend(faults.into_iter().map(|message| Finding::damage("the database file", message)));
        }
        check::rows(&self.0, self.0.snapshot()?.as_ref(), deep, &mut found);
        Ok(found)
    }

    /// Writes a backup of the newest commit to a new file and reads it back. Blocks the calling thread; commits go
    /// on meanwhile, and space that they free is not used again before the end.
    ///
    /// # Errors
    /// The file is there already, a disk failed or is nearly full, or it was asked to stop: nothing is left behind.
    pub fn backup(&self, to: &Path, now_ms: i64, progress: &Progress) -> Result<Proved, ArchiveError> {
        let snapshot = self.0.shared.backend.snapshot()?;
        let (_, last) = tail::bounds(snapshot.as_ref())?;
        let head = archive::Head {
            layout: LAYOUT.number,
            program: env!("CARGO_PKG_VERSION").to_owned(),
            semantics: aura_protocol::version::SEMANTICS,
            created_ms: now_ms,
            cursor: last,
        };
        progress.begin(self.bytes());
        archive::write::make(snapshot.as_ref(), Table::ALL, head, to, &self.0.vault, progress)
    }

    /// Gives space that is not used back to the file system; gives the bytes of the file before and after. Blocks the
    /// calling thread; commits and reads wait until it is done.
    ///
    /// # Errors
    /// The disk failed, or something reads an older state for longer than ten seconds.
    pub fn compact(&self) -> Result<(u64, u64), ReadError> {
        let before = self.bytes();
        let closed = || ReadError::Io("the store is closed".into());
        let done = self.0.shared.queue.compact().ok_or_else(closed)?;
        done.recv().map_err(|_| closed())?.map_err(|fault| ReadError::Io(fault.to_string()))?;
        Ok((before, self.bytes()))
    }

    /// Commits what waits and closes the file.
    pub async fn close(&self) {
        self.0.places.close();
        // An error means that the writer is gone already.
        let _ = self.0.shared.queue.close().await;
        self.0.join();
    }
}

impl Txn {
    /// About how many bytes it brings to a commit.
    fn bytes(&self) -> usize {
        let rows: usize = self.puts.iter().map(|(_, key, value)| key.0.len() + value.len()).sum();
        rows + self.blob_bytes()
            + 64 * (self.deletes.len() + self.tail.len() + self.counters.len())
            + 80 * self.dedupe.len()
    }
}
