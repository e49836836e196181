//! Makes a store of a backup, in an empty directory, paused: nothing starts before a person says so.
//!
//! The backup is proved whole before anything is made. The store is built under another name, read back and
//! compared with the backup's sums, marked as paused, and only then gets its name.

use std::fs;
use std::path::Path;

use super::{ArchiveError, Draft, Manifest, Progress, Proved, Sum, TableSum, read, write};
use crate::backend::redb::{File, Redb};
use crate::backend::{Backend, Change};
use crate::open;
use crate::pause::Paused;
use crate::seal;
use crate::table::{Key, Table};
use crate::vault::Vault;
use crate::writer::{Epoch, meta, stored};

/// Bytes of one commit.
const COMMIT_BYTES: usize = 16 * 1024 * 1024;
/// Cache while building; nothing else uses memory then.
const CACHE_BYTES: usize = 256 * 1024 * 1024;

/// What a failed restore takes away again.
struct Target<'a> {
    dir: &'a Path,
    made: bool,
    kept: bool,
}

impl Drop for Target<'_> {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        let _ = fs::remove_file(self.dir.join("aura.new"));
        let _ = fs::remove_file(self.dir.join("aura.lock"));
        if self.made {
            let _ = fs::remove_dir(self.dir);
        }
    }
}

/// Restores `from` into `dir`.
pub(crate) fn restore(
    from: &Path,
    dir: &Path,
    vault: &Vault,
    now_ms: i64,
    progress: &Progress,
) -> Result<Proved, ArchiveError> {
    use std::os::unix::fs::DirBuilderExt;
    empty(dir)?;
    let proved = read::prove(from, vault, progress)?;
    let made = !dir.exists();
    if made {
        let created = fs::DirBuilder::new().recursive(true).mode(0o700).create(dir);
        created.map_err(|error| ArchiveError::io("create", dir, &error))?;
    }
    let mut target = Target { dir, made, kept: false };
    let lock = open::lock(dir)?;
    let path = dir.join("aura.new");
    let draft = Draft::new(path.clone());
    build(from, &path, vault, &proved.manifest, now_ms, progress)?;
    let named = dir.join("aura.redb");
    fs::rename(&path, &named).map_err(|error| ArchiveError::io("name", &named, &error))?;
    draft.keep();
    target.kept = true;
    fs::File::open(dir).and_then(|dir| dir.sync_all()).map_err(|error| ArchiveError::io("write", dir, &error))?;
    drop(lock);
    Ok(proved)
}

fn empty(dir: &Path) -> Result<(), ArchiveError> {
    let mut entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(ArchiveError::io("read", dir, &error)),
    };
    match entries.next() {
        None => Ok(()),
        Some(_) => Err(ArchiveError::Target(format!(
            "{} is not empty; a backup is restored only into an empty directory, so name another one",
            dir.display()
        ))),
    }
}

fn build(
    from: &Path,
    path: &Path,
    vault: &Vault,
    manifest: &Manifest,
    now_ms: i64,
    progress: &Progress,
) -> Result<(), ArchiveError> {
    let backend = Redb::open(File(path.to_owned()), CACHE_BYTES)?;
    let mut changes: Vec<Change> = Vec::new();
    let mut bytes = 0;
    read::each(from, vault, progress, &mut |table, key, value| {
        bytes += key.0.len() + value.len();
        changes.push(Change { table, key: key.clone(), value: Some(value.to_vec()) });
        if bytes >= COMMIT_BYTES {
            bytes = 0;
            backend.write(std::mem::take(&mut changes))?;
        }
        Ok(())
    })?;
    backend.write(std::mem::take(&mut changes))?;
    let rows: u64 = manifest.tables.iter().map(|sum| sum.bytes).sum();
    progress.begin(rows);
    let found = sums(&backend, progress)?;
    if found.iter().filter(|sum| sum.rows > 0).ne(manifest.tables.iter().filter(|sum| sum.rows > 0)) {
        return Err(ArchiveError::Io(format!("what was written to {} is not what the backup holds", path.display())));
    }
    backend.write(marks(&backend, manifest, now_ms)?)?;
    backend.close()?;
    Ok(())
}

/// Sums of the tables of a store.
pub(crate) fn sums(backend: &dyn Backend, progress: &Progress) -> Result<Vec<TableSum>, ArchiveError> {
    let snapshot = backend.snapshot()?;
    let mut sums = Vec::new();
    for table in Table::ALL {
        let mut sum = Sum::default();
        let mut from = Key::new();
        loop {
            progress.go_on()?;
            let rows = snapshot.page(*table, &from, write::PAGE_ROWS, write::PAGE_BYTES)?;
            let Some((last, _)) = rows.last() else { break };
            from = last.next();
            for (key, value) in &rows {
                sum.add(key, value);
                progress.add(key.0.len() + value.len());
            }
        }
        sums.push(sum.end(*table));
    }
    Ok(sums)
}

/// What makes of the copy of a running store a closed and paused one.
fn marks(backend: &dyn Backend, manifest: &Manifest, now_ms: i64) -> Result<Vec<Change>, ArchiveError> {
    let key = meta::epoch();
    let row = backend.snapshot()?.read(Table::Meta, &key)?;
    let epoch: Option<Epoch> = row.and_then(|row| seal::unplain_value(Table::Meta, &key, &row));
    let Some(epoch) = epoch else { return Err(ArchiveError::Io("the backup has no row of starts".into())) };
    let closed = Epoch { closed_at: Some(manifest.head.cursor), ..epoch };
    let paused = Paused { since_ms: now_ms, snapshot_ms: manifest.head.created_ms, judged: false };
    let change = |key: Key, value: Option<Vec<u8>>| Change { table: Table::Meta, key, value };
    Ok(vec![
        change(meta::epoch(), Some(stored(Table::Meta, &meta::epoch(), &closed)?)),
        change(meta::paused(), Some(stored(Table::Meta, &meta::paused(), &paused)?)),
        change(meta::tries(), None),
    ])
}
