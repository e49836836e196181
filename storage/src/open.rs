//! Opens a store: the one place that chooses a backend, and everything that is checked before use.
//!
//! Order: lock of the directory, file, schema, master key, tenant keys, dedupe memory, then one commit that
//! counts the start. A new file is built under another name and renamed when it is complete, so `aura.redb`
//! is never half a store: an empty or cut one is damage and is refused, never filled.

use std::collections::VecDeque;
use std::fs;
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::atomic::{AtomicI64, AtomicU64};
use std::sync::{Arc, Mutex, RwLock};

use aura_protocol::TenantId;
use tokio::sync::{Semaphore, watch};

use crate::backend::memory::Memory;
use crate::backend::redb::{File, Redb};
use crate::backend::{Backend, Change, Fault, Snapshot, all};
use crate::ballast::Ballast;
use crate::check::Finding;
use crate::migrate::{self, LAYOUT, Layout, Unmigrated};
use crate::queue::Queue;
use crate::store::{Inner, Standing, StoreOptions};
use crate::table::{Key, Table};
use crate::tail::{self, TailRow};
use crate::vault::{TenantKeys, Vault};
use crate::writer::{Epoch, Fold, Limits, Schema, Shared, Writer, meta, stored};
use crate::{archive, dedupe, seal};

/// First bytes of every redb file.
const REDB_MAGIC: [u8; 9] = [b'r', b'e', b'd', b'b', 0x1A, 0x0A, 0xA9, 0x0D, 0x0A];

/// Why the store did not open: one sentence each.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process holds the directory.
    #[error("process {pid} has the store in {dir} open; stop it first, or choose another data directory")]
    InUse {
        /// The directory.
        dir: String,
        /// What the lock file says.
        pid: String,
    },
    /// The key is another one.
    #[error("the master key does not fit this store; start with the key that it was created with")]
    WrongKey,
    /// A newer program wrote it.
    #[error(
        "the store has layout {found} (written by aura {program}) and this program knows layouts up to {known}; \
         start the newer program, or go back to the backup made before the upgrade: {command}"
    )]
    Newer {
        /// Layout of the file.
        found: u32,
        /// Newest layout of this program.
        known: u32,
        /// Version of the program that wrote it.
        program: String,
        /// How to go back.
        command: String,
    },
    /// An older layout could not be brought to ours.
    #[error(
        "the store {path} has layout {found} and could not be brought to layout {wanted}: {reason}; nothing of it is \
         lost: {command}"
    )]
    Migration {
        /// The file.
        path: String,
        /// Its layout.
        found: u32,
        /// The layout of this program.
        wanted: u32,
        /// What went wrong.
        reason: String,
        /// What to do.
        command: String,
    },
    /// Not one of our files.
    #[error("{0} is not a store of aura; move it away, or choose another data directory")]
    Foreign(String),
    /// Cut short or changed outside.
    #[error("the store {path} is damaged: {reason}; restore a backup")]
    Damaged {
        /// The file.
        path: String,
        /// What was found.
        reason: String,
    },
    /// The disk or the system refused.
    #[error("{0}")]
    Other(String),
}

impl OpenError {
    pub(crate) fn of(path: &str, fault: Fault) -> Self {
        match fault {
            Fault::Io(reason) | Fault::Full(reason) => {
                Self::Other(format!("the store {path} could not be opened: {reason}"))
            }
            Fault::Damaged(reason) => Self::Damaged { path: path.to_owned(), reason },
        }
    }
    fn io(what: &str, path: &Path, error: &io::Error) -> Self {
        Self::Other(format!("could not {what} {}: {error}", path.display()))
    }
}

/// Opens what the options name. A new backend is one more arm here.
pub(crate) fn open(options: &StoreOptions) -> Result<Inner, OpenError> {
    match &options.dir {
        Some(dir) => directory(dir, options, Limits::default()),
        None => start(Arc::new(Memory::default()), "in memory", options, Limits::default(), None),
    }
}

/// Opens a redb file in a directory.
pub(crate) fn directory(dir: &Path, options: &StoreOptions, limits: Limits) -> Result<Inner, OpenError> {
    use std::os::unix::fs::DirBuilderExt;
    if !dir.is_dir() {
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true).mode(0o700).create(dir).map_err(|error| OpenError::io("create", dir, &error))?;
    }
    let lock = lock(dir)?;
    let path = dir.join("aura.redb");
    let name = path.display().to_string();
    let exists = path.try_exists().map_err(|error| OpenError::io("look for", &path, &error))?;
    if exists {
        recognise(&path)?;
    } else {
        create(&path, options, &name)?;
    }
    let backend = Redb::open(File(path), options.cache_bytes).map_err(|fault| OpenError::of(&name, fault))?;
    let backend = backend.recording_from(options.record_from);
    start(Arc::new(backend), &name, options, limits, Some(lock))
}

/// Takes the directory for this process; the lock file says who holds it and stays.
pub(crate) fn lock(dir: &Path) -> Result<fs::File, OpenError> {
    use std::os::unix::fs::OpenOptionsExt;
    let path = dir.join("aura.lock");
    let mut file = fs::OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(|error| OpenError::io("open", &path, &error))?;
    match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(rustix::io::Errno::WOULDBLOCK) => {
            let mut text = String::new();
            // What it says is only for people.
            let _ = (&file).take(64).read_to_string(&mut text);
            let pid: String = text.chars().filter(char::is_ascii_digit).collect();
            let pid = if pid.is_empty() { "(unknown)".to_owned() } else { pid };
            return Err(OpenError::InUse { dir: dir.display().to_string(), pid });
        }
        Err(error) => return Err(OpenError::io("lock", &path, &error.into())),
    }
    // The text is for people: on a full disk the lock itself still holds.
    let _ = file.set_len(0).and_then(|()| file.write_all(format!("{}\n", std::process::id()).as_bytes()));
    Ok(file)
}

/// Refuses what is not a redb file before redb sees it.
fn recognise(path: &Path) -> Result<(), OpenError> {
    let mut head = Vec::new();
    fs::File::open(path)
        .and_then(|file| file.take(9).read_to_end(&mut head))
        .map_err(|error| OpenError::io("read", path, &error))?;
    let path = path.display().to_string();
    if head.len() < REDB_MAGIC.len() && REDB_MAGIC.starts_with(&head) {
        return Err(OpenError::Damaged { path, reason: "the file is cut short".into() });
    }
    if head != REDB_MAGIC {
        return Err(OpenError::Foreign(path));
    }
    Ok(())
}

/// Builds a complete empty store beside the final name, then renames it.
fn create(path: &Path, options: &StoreOptions, name: &str) -> Result<(), OpenError> {
    let building = path.with_extension("new");
    match fs::remove_file(&building) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(OpenError::io("remove", &building, &error));
        }
        _ => {}
    }
    let built = Redb::open(File(building.clone()), options.cache_bytes).and_then(|backend| {
        first_commit(&backend, &Vault::new(&options.master), LAYOUT.number)?;
        backend.close()
    });
    built.map_err(|fault| OpenError::of(name, fault))?;
    fs::rename(&building, path).map_err(|error| OpenError::io("create", path, &error))?;
    if let Some(dir) = path.parent() {
        fs::File::open(dir).and_then(|dir| dir.sync_all()).map_err(|error| OpenError::io("write", dir, &error))?;
    }
    Ok(())
}

/// Writes what every store has.
fn first_commit(backend: &dyn Backend, vault: &Vault, layout: u32) -> Result<(), Fault> {
    let keys = TenantKeys::generate().map_err(|error| Fault::Io(error.to_string()))?;
    let wrapped = vault.wrap(TenantId::DEFAULT, &keys).map_err(|error| Fault::Io(error.to_string()))?;
    let schema = Schema { schema: layout, program: env!("CARGO_PKG_VERSION").to_owned() };
    let rows = [
        (meta::schema(), stored(Table::Meta, &meta::schema(), &schema)?),
        (meta::master(), stored(Table::Meta, &meta::master(), &vault.check())?),
        (meta::epoch(), stored(Table::Meta, &meta::epoch(), &Epoch { epoch: 0, closed_at: Some(0), bytes: Some(0) })?),
        (meta::fold(), stored(Table::Meta, &meta::fold(), &Fold::default())?),
        (meta::mark(), stored(Table::Meta, &meta::mark(), &0_u64)?),
    ];
    let rows = rows.into_iter().map(|(key, value)| Change { table: Table::Meta, key, value: Some(value) });
    let tenant = Change { table: Table::Tenants, key: Key::tenant(TenantId::DEFAULT), value: Some(wrapped) };
    backend.write(rows.chain([tenant]).collect()).map(drop)
}

/// Starts a store on an open backend.
pub(crate) fn start(
    backend: Arc<dyn Backend>,
    name: &str,
    options: &StoreOptions,
    limits: Limits,
    lock: Option<fs::File>,
) -> Result<Inner, OpenError> {
    let started = prepare(backend, name, options, limits, lock)?;
    let (writer, inner) = started;
    let thread = std::thread::Builder::new()
        .name("store-writer".into())
        .spawn(move || writer.run())
        .map_err(|error| OpenError::Other(format!("could not start the writer of the store: {error}")))?;
    if let Ok(mut place) = inner.thread.lock() {
        *place = Some(thread);
    }
    Ok(inner)
}

fn prepare(
    backend: Arc<dyn Backend>,
    name: &str,
    options: &StoreOptions,
    limits: Limits,
    lock: Option<fs::File>,
) -> Result<(Writer, Inner), OpenError> {
    let of = |fault| OpenError::of(name, fault);
    let damaged = |reason: &str| OpenError::Damaged { path: name.to_owned(), reason: reason.to_owned() };
    let vault = Vault::new(&options.master);
    if backend.is_fresh() {
        first_commit(backend.as_ref(), &vault, limits.layout.number).map_err(of)?;
    }
    let snapshot = backend.snapshot().map_err(of)?;
    let snapshot = snapshot.as_ref();
    let schema: Schema = row(snapshot, &meta::schema(), "its schema row").map_err(of)?;
    if schema.schema > limits.layout.number {
        let program = aura_protocol::text::display(&schema.program).chars().take(40).collect();
        let (found, known) = (schema.schema, limits.layout.number);
        return Err(OpenError::Newer { found, known, program, command: way_back(options.dir.as_deref()) });
    }
    let check: [u8; 16] = row(snapshot, &meta::master(), "its key check row").map_err(of)?;
    if check != vault.check() {
        return Err(OpenError::WrongKey);
    }
    let tenant = Key::tenant(TenantId::DEFAULT);
    let keys = snapshot.read(Table::Tenants, &tenant).map_err(of)?;
    let keys = keys.and_then(|stored| vault.unwrap(TenantId::DEFAULT, &stored));
    let _ = vault.learn(TenantId::DEFAULT, keys.ok_or_else(|| damaged("the keys of its tenant do not open"))?);

    backend.complete(schema.schema).map_err(of)?;
    if schema.schema < limits.layout.number {
        migrated(backend.as_ref(), name, options, limits.layout, &schema, &vault)?;
        backend.complete(limits.layout.number).map_err(of)?;
    }
    let loaded = load(backend.as_ref(), limits).map_err(of)?;
    let (mut found, before) = (loaded.found, loaded.epoch);
    if before.closed_at.is_none() && !backend.was_repaired() && !backend.is_fresh() {
        found.push(Finding::damage("the database file", "it was closed cleanly but its last commit is missing"));
    }
    let epoch = before.epoch + 1;
    begin(backend.as_ref(), epoch).map_err(of)?;

    let ballast = options.dir.as_deref().map(|dir| Ballast::new(dir, options.ballast_bytes));
    if let Some(ballast) = &ballast {
        ballast.keep(options.reserve_bytes);
    }
    let shared = Arc::new(Shared {
        backend,
        queue: Queue::default(),
        dedupe: RwLock::new(loaded.memory),
        now_ms: AtomicI64::new(i64::MIN),
        newest: watch::channel(loaded.cursor).0,
        failed: watch::channel(None).0,
        epoch: AtomicU64::new(epoch),
        stored: AtomicU64::new(loaded.bytes),
        standing: watch::channel(Standing::Good(epoch)).0,
        ballast,
    });
    let writer = Writer {
        shared: Arc::clone(&shared),
        limits,
        epoch,
        cursor: loaded.cursor,
        first: loaded.first,
        fold: loaded.fold,
        segments: loaded.segments,
        unfolded: loaded.unfolded,
        marks: loaded.marks,
        fault: None,
        again: None,
        faults: VecDeque::new(),
        lock,
    };
    let places = Arc::new(Semaphore::new(options.queue_max.clamp(1, 1 << 20)));
    let inner = Inner { shared, vault, places, found, thread: Mutex::new(None), creating: Mutex::new(()) };
    Ok((writer, inner))
}

/// Brings an older store to the layout of this program, after a backup beside it that was read back.
fn migrated(
    backend: &dyn Backend,
    name: &str,
    options: &StoreOptions,
    layout: Layout,
    schema: &Schema,
    vault: &Vault,
) -> Result<(), OpenError> {
    let refused = |found: u32, reason: String| {
        let command = match (&options.dir, reason.is_empty()) {
            (None, _) => "start the program that wrote it".to_owned(),
            (Some(dir), _) => format!(
                "start aura {} again, or have it tried once more with `aurad migrate --data-dir {}`",
                aura_protocol::text::display(&schema.program),
                dir.display()
            ),
        };
        OpenError::Migration { path: name.to_owned(), found, wanted: layout.number, reason, command }
    };
    let backup = || match &options.dir {
        None => Ok(()),
        Some(dir) => before_layout(backend, dir, layout.number, schema, vault),
    };
    match migrate::run(backend, layout, schema.schema, backup) {
        Ok(()) => Ok(()),
        Err(Unmigrated::TooOften) => {
            Err(refused(schema.schema, format!("it was tried {} times and came to no end", migrate::TRIES_MAX)))
        }
        Err(Unmigrated::Backup(reason)) => {
            Err(refused(schema.schema, format!("the backup that is made before failed ({reason})")))
        }
        Err(Unmigrated::Step(at, fault)) => Err(refused(at, fault.to_string())),
        Err(Unmigrated::Fault(fault)) => Err(OpenError::of(name, fault)),
    }
}

/// The backup before a migration; one that is there from an earlier try and still whole is enough.
fn before_layout(backend: &dyn Backend, dir: &Path, layout: u32, schema: &Schema, vault: &Vault) -> Result<(), String> {
    let snapshot = backend.snapshot().map_err(|fault| fault.to_string())?;
    let snapshot = snapshot.as_ref();
    let epoch: Epoch = row(snapshot, &meta::epoch(), "its epoch row").map_err(|fault| fault.to_string())?;
    let path = dir.join(format!("{BEFORE_LAYOUT}{layout}-start-{}.{}", epoch.epoch, archive::ENDING));
    let progress = archive::Progress::default();
    if path.exists() {
        return match archive::read::prove(&path, vault, &progress) {
            Ok(_) => Ok(()),
            Err(error) => Err(format!("{error}; move it away")),
        };
    }
    let (_, cursor) = tail::bounds(snapshot).map_err(|fault| fault.to_string())?;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let head = archive::Head {
        layout: schema.schema,
        program: schema.program.clone(),
        semantics: aura_protocol::version::SEMANTICS,
        created_ms: i64::try_from(now.as_millis()).unwrap_or(i64::MAX),
        cursor,
    };
    let tables: Vec<Table> = Table::ALL.iter().copied().filter(|table| table.since() <= schema.schema).collect();
    let made = archive::write::make(snapshot, &tables, head, &path, vault, &progress);
    made.map(|_| tracing::info!(backup = %path.display(), "made a backup before the store gets a newer layout"))
        .map_err(|error| error.to_string())
}

/// How the name of a backup made before a migration begins.
const BEFORE_LAYOUT: &str = "before-layout-";

/// The command that goes back to the newest backup made before a migration.
fn way_back(dir: Option<&Path>) -> String {
    let Some(dir) = dir else { return "there is none for a store in memory".to_owned() };
    let names = fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
    let ours = |path: &std::path::PathBuf| {
        let name = path.file_name().and_then(std::ffi::OsStr::to_str).unwrap_or_default();
        name.starts_with(BEFORE_LAYOUT) && name.ends_with(archive::ENDING)
    };
    let changed = |path: &std::path::PathBuf| path.metadata().and_then(|meta| meta.modified()).ok();
    let newest = names.filter(ours).max_by_key(changed);
    let file = newest.map_or_else(|| "BACKUP".to_owned(), |path| path.display().to_string());
    format!("`aura restore {file} --data-dir {}.before`", dir.display())
}

/// Forgets tries of a migration that came to no end, and tries once more.
pub(crate) fn migrate_again(options: &StoreOptions) -> Result<u32, OpenError> {
    let Some(dir) = &options.dir else { return Ok(LAYOUT.number) };
    let lock = lock(dir)?;
    let path = dir.join("aura.redb");
    let name = path.display().to_string();
    recognise(&path)?;
    let backend = Redb::open(File(path), options.cache_bytes).map_err(|fault| OpenError::of(&name, fault))?;
    migrate::forget_tries(&backend).map_err(|fault| OpenError::of(&name, fault))?;
    backend.close().map_err(|fault| OpenError::of(&name, fault))?;
    drop((backend, lock));
    drop(directory(dir, options, Limits::default())?);
    Ok(LAYOUT.number)
}

/// What the writer and dedupe know of an open backend.
pub(crate) struct Loaded {
    /// How the last opening ended.
    pub epoch: Epoch,
    pub marks: u64,
    pub fold: Fold,
    pub first: u64,
    pub cursor: u64,
    /// Bytes of all rows.
    pub bytes: u64,
    pub memory: dedupe::Memory,
    pub segments: VecDeque<(u64, i64)>,
    pub unfolded: Vec<crate::txn::DedupeEntry>,
    pub found: Vec<Finding>,
}

/// Reads what the writer and dedupe must know; after a start and after a reopen.
pub(crate) fn load(backend: &dyn Backend, limits: Limits) -> Result<Loaded, Fault> {
    let snapshot = backend.snapshot()?;
    let snapshot = snapshot.as_ref();
    let epoch: Epoch = row(snapshot, &meta::epoch(), "its epoch row")?;
    let marks: u64 = row(snapshot, &meta::mark(), "its mark row")?;
    let fold: Fold = row(snapshot, &meta::fold(), "its fold row")?;
    let mut found = Vec::new();
    let (first, last) = tail::bounds(snapshot)?;
    let cursor = last.max(fold.upto).max(epoch.closed_at.unwrap_or(0));
    if cursor > last && (last > 0 || cursor > 0) {
        found.push(Finding::damage("the tail", format!("the newest groups are missing: {last} of {cursor}")));
    }
    let told = epoch.bytes.map_or_else(|| tail::bytes(snapshot, last), |bytes| Ok(Some(bytes)))?;
    let Rebuilt { memory, segments, unfolded } = rebuild(snapshot, fold, limits, &mut found)?;
    let bytes = told.unwrap_or_else(|| if last > 0 { backend.bytes() } else { 0 });
    Ok(Loaded { epoch, marks, fold, first, cursor, bytes, memory, segments, unfolded, found })
}

/// The commit that counts an opening.
pub(crate) fn begin(backend: &dyn Backend, epoch: u64) -> Result<(), Fault> {
    let opened = stored(Table::Meta, &meta::epoch(), &Epoch { epoch, closed_at: None, bytes: None })?;
    backend.write(vec![Change { table: Table::Meta, key: meta::epoch(), value: Some(opened) }]).map(drop)
}

/// A row of `Meta`: each exists from the first commit on, so a missing one is damage.
fn row<T: serde::de::DeserializeOwned>(snapshot: &dyn Snapshot, key: &Key, what: &str) -> Result<T, Fault> {
    let stored = snapshot.read(Table::Meta, key)?;
    stored
        .and_then(|stored| seal::unplain_value(Table::Meta, key, &stored))
        .ok_or_else(|| Fault::Damaged(format!("{what} is missing or damaged")))
}

struct Rebuilt {
    memory: dedupe::Memory,
    segments: VecDeque<(u64, i64)>,
    unfolded: Vec<crate::txn::DedupeEntry>,
}

/// Dedupe memory from the segments and from the tail rows since the last fold.
fn rebuild(snapshot: &dyn Snapshot, fold: Fold, limits: Limits, found: &mut Vec<Finding>) -> Result<Rebuilt, Fault> {
    let mut memory = dedupe::Memory::new(limits.fingerprint_mask);
    let mut segments = VecDeque::new();
    let mut unfolded = Vec::new();
    let mut seen = 0;
    let mut keep = |prints: dedupe::Prints, number: u64| {
        seen += 1;
        segments.push_back((number, prints.expires_ms()));
        memory.folded(prints, &[]);
    };
    let mut damaged = Vec::new();
    let whole = walk(snapshot, dedupe::TABLE, dedupe::prints_key(0), 64, |key, stored| {
        let prints = seal::unplain(dedupe::TABLE, key, stored);
        let prints = dedupe::printed(key)
            .zip(prints)
            .and_then(|(number, bytes)| dedupe::Prints::unpack(number, bytes).map(|prints| (prints, number)));
        match prints {
            Some((prints, number)) => keep(prints, number),
            None => damaged.push(key.clone()),
        }
    })?;
    // Fingerprints that are damaged, or that an older program did not write, are made again.
    if !whole || !damaged.is_empty() || seen != fold.segments {
        (memory, segments, seen) = (dedupe::Memory::new(limits.fingerprint_mask), VecDeque::new(), 0);
        walk(snapshot, dedupe::TABLE, Key::new(), 4, |key, stored| {
            match (key.number_at(0), seal::unplain(dedupe::TABLE, key, stored)) {
                _ if dedupe::printed(key).is_some() => {}
                (Some(number), Some(records)) => {
                    let prints = dedupe::Prints::of(number, records);
                    seen += 1;
                    segments.push_back((number, prints.expires_ms()));
                    memory.folded(prints, &[]);
                }
                _ => damaged.push(key.clone()),
            }
        })?;
    }
    for key in damaged {
        found.push(Finding::damage(format!("dedupe {}", key.hex()), "a segment of dedupe keys is damaged"));
    }
    if seen != fold.segments {
        let message = format!("there are {seen} segments of dedupe keys and should be {}", fold.segments);
        found.push(Finding::damage("dedupe", message));
    }
    let whole =
        walk(
            snapshot,
            Table::Tail,
            tail::key(fold.upto.saturating_add(1)),
            256,
            |key, stored| match seal::unplain_value::<TailRow>(Table::Tail, key, stored) {
                Some(row) => {
                    for entry in dedupe::unpack(&row.dedupe) {
                        memory.committed(entry);
                        unfolded.push(entry);
                    }
                }
                None => found.push(Finding::damage(format!("tail {}", key.hex()), "a row of the tail is damaged")),
            },
        )?;
    if !whole {
        found.push(Finding::damage("tail", "the tail cannot be read to its end"));
    }
    Ok(Rebuilt { memory, segments, unfolded })
}

/// As [`each`]; a tree that is damaged ends it where it is, and false is given.
fn walk(
    snapshot: &dyn Snapshot,
    table: Table,
    from: Key,
    at_once: usize,
    visit: impl FnMut(&Key, &[u8]),
) -> Result<bool, Fault> {
    match each(snapshot, table, from, at_once, visit) {
        Ok(()) => Ok(true),
        Err(Fault::Damaged(_)) => Ok(false),
        Err(fault) => Err(fault),
    }
}

/// Visits every row of a table from a key on, a few at a time.
pub(crate) fn each(
    snapshot: &dyn Snapshot,
    table: Table,
    mut from: Key,
    at_once: usize,
    mut visit: impl FnMut(&Key, &[u8]),
) -> Result<(), Fault> {
    let (_, to) = all();
    loop {
        let rows = snapshot.range(table, &from, &to, at_once, false)?;
        for (key, stored) in &rows {
            visit(key, stored);
        }
        match rows.last() {
            // Keys that do not grow would come from a damaged tree, and never end.
            Some((last, _)) if rows.len() == at_once && *last >= from => from = last.next(),
            _ => return Ok(()),
        }
    }
}
