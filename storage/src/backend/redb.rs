//! Rows in one redb file (or in anything that redb can use as one: the fault simulator).
//!
//! redb trusts the pages of a cleanly closed file and may panic on a damaged one, so every call runs under
//! [`guarded`]: a panic becomes [`Fault::Damaged`]. Tables are created once, with the file: a table that is
//! missing later is damage and never created again silently. Commits are `Durability::Immediate`.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, TryLockError};
use std::time::{Duration, Instant};
use std::{fs, io};

use redb::{
    CompactionError, Database, Durability, ReadOnlyTable, ReadTransaction, ReadableDatabase, StorageBackend,
    TableDefinition, TableHandle,
};

use super::{Backend, Change, Fault, Row, Snapshot, growth};
use crate::table::{Key, Table};

/// How long a compaction waits for those who read.
const READERS_MAX: Duration = Duration::from_secs(10);
/// How often it looks whether they are done.
const READERS_PAUSE: Duration = Duration::from_millis(5);

/// What the database lives on.
pub(crate) trait Medium: Send + Sync + std::fmt::Debug + 'static {
    /// What redb writes to.
    type Storage: StorageBackend;
    /// Opens it.
    fn open(&self) -> io::Result<Self::Storage>;
    /// Opens it after an I/O error: what was written but never reached the disk must not be read any more.
    fn reopen(&self) -> io::Result<Self::Storage>;
    /// A private copy of its present content that goes away with its handle.
    fn copy(&self) -> io::Result<Self::Storage>;
    /// Its length in bytes.
    fn bytes(&self) -> io::Result<u64>;
}

/// A file of the given path.
#[derive(Debug)]
pub(crate) struct File(pub PathBuf);

impl File {
    fn handle(&self) -> io::Result<fs::File> {
        use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
        let mut options = fs::OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false).mode(0o600).open(&self.0)?;
        if file.metadata()?.permissions().mode() & 0o077 != 0 {
            file.set_permissions(fs::Permissions::from_mode(0o600))?;
        }
        Ok(file)
    }
}

fn storage(file: fs::File) -> io::Result<redb::backends::FileBackend> {
    redb::backends::FileBackend::new(file).map_err(|error| io::Error::other(error.to_string()))
}

impl Medium for File {
    type Storage = redb::backends::FileBackend;

    fn open(&self) -> io::Result<Self::Storage> {
        self.handle().and_then(storage)
    }

    fn reopen(&self) -> io::Result<Self::Storage> {
        let file = self.handle()?;
        // After a failed fsync the kernel keeps the pages as if they were written: they are read anew from the disk.
        rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed)?;
        storage(file)
    }

    fn copy(&self) -> io::Result<Self::Storage> {
        let path = self.0.with_extension("check");
        let copied = fs::copy(&self.0, &path).and_then(|_| Self(path.clone()).open());
        // The open handle keeps the content until it is dropped.
        let removed = fs::remove_file(&path);
        let storage = copied?;
        removed?;
        Ok(storage)
    }

    fn bytes(&self) -> io::Result<u64> {
        fs::metadata(&self.0).map(|data| data.len())
    }
}

/// See the module.
pub(crate) struct Redb<M: Medium> {
    medium: M,
    database: RwLock<Option<Database>>,
    fresh: bool,
    repaired: bool,
    cache_bytes: usize,
    record_from: u64,
}

impl<M: Medium> std::fmt::Debug for Redb<M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Redb").field(&self.medium).finish()
    }
}

const fn definition(table: Table) -> TableDefinition<'static, &'static [u8], &'static [u8]> {
    TableDefinition::new(table.name())
}

/// Runs something of redb; its panics are faults of the file.
fn guarded<T>(work: impl FnOnce() -> Result<T, Fault>) -> Result<T, Fault> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|payload| {
        let text = payload
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| payload.downcast_ref::<&str>().copied())
            .unwrap_or("unknown reason");
        Err(Fault::Damaged(format!("the database file is damaged ({text})")))
    })
}

fn fault(error: impl Into<redb::Error>) -> Fault {
    match error.into() {
        redb::Error::Io(error) => io_fault(&error),
        error @ (redb::Error::Corrupted(_)
        | redb::Error::TableTypeMismatch { .. }
        | redb::Error::TableIsMultimap(_)
        | redb::Error::TypeDefinitionChanged { .. }
        | redb::Error::TableDoesNotExist(_)
        | redb::Error::UpgradeRequired(_)) => Fault::Damaged(format!("the database file is damaged ({error})")),
        error => Fault::Io(error.to_string()),
    }
}

fn io_fault(error: &io::Error) -> Fault {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Fault::Full(format!("the disk is full ({error})")),
        io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => {
            Fault::Damaged(format!("the database file is damaged or cut short ({error})"))
        }
        _ => Fault::Io(error.to_string()),
    }
}

fn closed() -> Fault {
    Fault::Io("the store is not open".into())
}

fn database_on(
    storage: impl StorageBackend,
    cache_bytes: usize,
    repaired: &Arc<AtomicBool>,
) -> Result<Database, Fault> {
    let seen = Arc::clone(repaired);
    let mut builder = redb::Builder::new();
    builder.set_cache_size(cache_bytes);
    builder.set_repair_callback(move |_| seen.store(true, Ordering::Relaxed));
    builder.create_with_backend(storage).map_err(fault)
}

impl<M: Medium> Redb<M> {
    /// Opens or creates a database with all tables.
    pub(crate) fn open(medium: M, cache_bytes: usize) -> Result<Self, Fault> {
        let fresh = medium.bytes().map_or(true, |bytes| bytes == 0);
        let repaired = Arc::new(AtomicBool::new(false));
        let database = guarded(|| {
            let storage = medium.open().map_err(|error| io_fault(&error))?;
            // Where commits record free pages nothing is repaired: only the mark in the file's head tells.
            repaired.store(!fresh && unclean(&storage), Ordering::Relaxed);
            let database = database_on(storage, cache_bytes, &repaired)?;
            if fresh {
                let transaction = database.begin_write().map_err(fault)?;
                for table in Table::ALL {
                    transaction.open_table(definition(*table)).map_err(fault)?;
                }
                transaction.commit().map_err(fault)?;
            } else {
                // Which further tables it must have follows from its layout, see `complete`.
                has(&database, &[Table::Meta])?;
            }
            Ok(database)
        })?;
        let repaired = repaired.load(Ordering::Relaxed);
        Ok(Self { medium, database: RwLock::new(Some(database)), fresh, repaired, cache_bytes, record_from: u64::MAX })
    }

    /// From this file size on every commit records which pages are free.
    pub(crate) fn recording_from(self, bytes: u64) -> Self {
        Self { record_from: bytes, ..self }
    }

    fn with<T>(&self, work: impl FnOnce(&Database) -> Result<T, Fault>) -> Result<T, Fault> {
        let guard = match self.database.try_read() {
            Ok(guard) => guard,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => patiently(|| self.database.read().unwrap_or_else(PoisonError::into_inner)),
        };
        let database = guard.as_ref().ok_or_else(closed)?;
        guarded(|| work(database))
    }
}

/// Whether a file's head says that it was not closed cleanly.
fn unclean(storage: &impl StorageBackend) -> bool {
    /// Where redb keeps its flags, and which one says so.
    const FLAGS_AT: u64 = 9;
    const NOT_CLOSED: u8 = 2;
    let mut flags = [0; 1];
    let [flags] = match storage.read(FLAGS_AT, &mut flags) {
        Ok(()) => flags,
        Err(_) => return false,
    };
    flags & NOT_CLOSED != 0
}

/// Waits for a compaction without holding up the tasks that share this thread.
fn patiently<T>(wait: impl FnOnce() -> T) -> T {
    use tokio::runtime::{Handle, RuntimeFlavor};
    match Handle::try_current() {
        Ok(handle) if handle.runtime_flavor() == RuntimeFlavor::MultiThread => tokio::task::block_in_place(wait),
        _ => wait(),
    }
}

/// These tables are there, each with the types that we gave it.
fn has(database: &Database, tables: &[Table]) -> Result<(), Fault> {
    let transaction = database.begin_read().map_err(fault)?;
    let names: Vec<String> = transaction.list_tables().map_err(fault)?.map(|table| table.name().to_owned()).collect();
    if names.is_empty() {
        return Err(Fault::Damaged("it holds no tables".into()));
    }
    for table in tables {
        if !names.iter().any(|name| name == table.name()) {
            return Err(Fault::Damaged(format!("its table `{}` is missing", table.name())));
        }
        transaction.open_table(definition(*table)).map_err(fault)?;
    }
    Ok(())
}

fn of_layout(layout: u32) -> Vec<Table> {
    Table::ALL.iter().copied().filter(|table| table.since() <= layout).collect()
}

/// A page of the tree above the rows was changed on the disk: then a search ends in another place. Each row there is
/// whole and opens under its own key, so this is the only place where it is seen that nobody asked for it.
fn disordered(table: Table) -> Fault {
    Fault::Damaged(format!("the tree of `{}` is not in order", table.name()))
}

type Open = ReadOnlyTable<&'static [u8], &'static [u8]>;

struct Pinned {
    transaction: ReadTransaction,
    tables: Mutex<Vec<(Table, Arc<Open>)>>,
}

impl Pinned {
    fn table(&self, table: Table) -> Result<Arc<Open>, Fault> {
        let mut tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, open)) = tables.iter().find(|(known, _)| *known == table) {
            return Ok(Arc::clone(open));
        }
        let open = Arc::new(self.transaction.open_table(definition(table)).map_err(fault)?);
        tables.push((table, Arc::clone(&open)));
        Ok(open)
    }
}

impl Snapshot for Pinned {
    fn read(&self, table: Table, key: &Key) -> Result<Option<Vec<u8>>, Fault> {
        guarded(|| {
            let table = self.table(table)?;
            Ok(table.get(key.0.as_slice()).map_err(fault)?.map(|value| value.value().to_vec()))
        })
    }

    fn range(&self, table: Table, from: &Key, to: &Key, limit: usize, backwards: bool) -> Result<Vec<Row>, Fault> {
        if from >= to || limit == 0 {
            return Ok(Vec::new());
        }
        guarded(|| {
            let open = self.table(table)?;
            let mut range = open.range(from.0.as_slice()..to.0.as_slice()).map_err(fault)?;
            let mut rows = Vec::new();
            while rows.len() < limit {
                let Some(row) = (if backwards { range.next_back() } else { range.next() }) else { break };
                let (key, value) = row.map_err(fault)?;
                let key = Key(key.value().to_vec());
                let last = rows.last().map(|(last, _): &Row| last);
                let (low, high) = if backwards { (Some(&key), last) } else { (last, Some(&key)) };
                if key < *from || key >= *to || low.zip(high).is_some_and(|(low, high)| low >= high) {
                    return Err(disordered(table));
                }
                rows.push((key, value.value().to_vec()));
            }
            Ok(rows)
        })
    }

    fn page(&self, table: Table, from: &Key, rows_max: usize, bytes_max: usize) -> Result<Vec<Row>, Fault> {
        guarded(|| {
            let open = self.table(table)?;
            let mut range = open.range(from.0.as_slice()..).map_err(fault)?;
            let (mut rows, mut bytes) = (Vec::new(), 0);
            while rows.len() < rows_max && bytes < bytes_max {
                let Some(row) = range.next() else { break };
                let (key, value) = row.map_err(fault)?;
                bytes += key.value().len() + value.value().len();
                let key = Key(key.value().to_vec());
                if key < *from || rows.last().is_some_and(|(last, _): &Row| *last >= key) {
                    return Err(disordered(table));
                }
                rows.push((key, value.value().to_vec()));
            }
            Ok(rows)
        })
    }
}

impl<M: Medium> Backend for Redb<M> {
    fn snapshot(&self) -> Result<Box<dyn Snapshot>, Fault> {
        let transaction = self.with(|database| database.begin_read().map_err(fault))?;
        Ok(Box::new(Pinned { transaction, tables: Mutex::new(Vec::new()) }))
    }

    fn write(&self, changes: Vec<Change>) -> Result<i64, Fault> {
        self.adopt(&[], changes)
    }

    fn adopt(&self, tables: &[Table], changes: Vec<Change>) -> Result<i64, Fault> {
        self.with(|database| {
            let mut grown = 0;
            let mut transaction = database.begin_write().map_err(fault)?;
            transaction.set_durability(Durability::Immediate).map_err(fault)?;
            // redb drops the record with the next commit that makes none, so now and then would be no use.
            transaction.set_quick_repair(self.bytes() >= self.record_from);
            for table in tables {
                transaction.open_table(definition(*table)).map_err(fault)?;
            }
            let mut changes = changes.into_iter().peekable();
            while let Some(current) = changes.peek().map(|change| change.table) {
                let mut table = transaction.open_table(definition(current)).map_err(fault)?;
                while let Some(change) = changes.next_if(|change| change.table == current) {
                    let before = match &change.value {
                        Some(value) => table.insert(change.key.0.as_slice(), value.as_slice()),
                        None => table.remove(change.key.0.as_slice()),
                    };
                    let before = before.map_err(fault)?.map(|value| value.value().len());
                    grown += growth(&change.key, before, change.value.as_ref().map(Vec::len));
                }
            }
            transaction.commit().map_err(fault)?;
            Ok(grown)
        })
    }

    fn complete(&self, layout: u32) -> Result<(), Fault> {
        self.with(|database| has(database, &of_layout(layout)))
    }

    fn compact(&self) -> Result<(), Fault> {
        let mut guard = self.database.write().unwrap_or_else(PoisonError::into_inner);
        let database = guard.as_mut().ok_or_else(closed)?;
        let began = Instant::now();
        loop {
            match guarded(|| Ok(database.compact()))? {
                Ok(_) => return Ok(()),
                // Somebody still reads an older state; nobody new can begin while the lock is held.
                Err(CompactionError::TransactionInProgress) if began.elapsed() < READERS_MAX => {
                    super::rest(READERS_PAUSE);
                }
                Err(CompactionError::TransactionInProgress) => {
                    return Err(Fault::Io("something still reads an older state of the store".into()));
                }
                Err(error) => return Err(fault(error)),
            }
        }
    }

    fn reopen(&self) -> Result<(), Fault> {
        let mut place = self.database.write().unwrap_or_else(PoisonError::into_inner);
        // What its end says does not matter: it has failed already.
        let _ = guarded(|| {
            drop(place.take());
            Ok(())
        });
        let database = guarded(|| {
            let storage = self.medium.reopen().map_err(|error| io_fault(&error))?;
            let database = database_on(storage, self.cache_bytes, &Arc::default())?;
            Ok(database)
        })?;
        *place = Some(database);
        Ok(())
    }

    fn healthy(&self) -> Result<(), Fault> {
        self.with(|database| database.begin_write().map_err(fault)?.abort().map_err(fault))
    }

    fn bytes(&self) -> u64 {
        self.medium.bytes().unwrap_or(0)
    }

    fn is_fresh(&self) -> bool {
        self.fresh
    }

    fn was_repaired(&self) -> bool {
        self.repaired
    }

    fn verify(&self, table: Table, key: &Key, value: &[u8]) -> Result<Vec<String>, Fault> {
        let storage = self.medium.copy().map_err(|error| io_fault(&error))?;
        let verified = guarded(|| {
            let mut builder = redb::Builder::new();
            builder.set_cache_size(self.cache_bytes);
            builder.set_check_integrity_on_open(true);
            let mut database = builder.create_with_backend(storage).map_err(fault)?;
            let clean = database.check_integrity().map_err(fault)?;
            has(&database, Table::ALL)?;
            let transaction = database.begin_read().map_err(fault)?;
            let found = transaction.open_table(definition(table)).map_err(fault)?;
            let newest = found.get(key.0.as_slice()).map_err(fault)?.is_some_and(|found| found.value() == value);
            Ok((clean, newest))
        });
        match verified {
            Ok((true, true)) => Ok(Vec::new()),
            Ok((_, false)) => Ok(vec!["pages of the newest commit are damaged".into()]),
            Ok((false, true)) => Ok(vec!["the page allocation does not fit the pages in use".into()]),
            Err(Fault::Damaged(text)) => Ok(vec![text]),
            Err(fault) => Err(fault),
        }
    }

    fn close(&self) -> Result<(), Fault> {
        let database = self.database.write().unwrap_or_else(PoisonError::into_inner).take();
        database.map_or(Ok(()), |database| guarded(|| database.close().map_err(fault)))
    }
}
