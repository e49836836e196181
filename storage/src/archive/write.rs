//! Makes a backup: streams a snapshot into a draft, reads it back, and only then gives it its name.

use std::fs::{self, File, OpenOptions};
use std::io::{BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::frames::Sealer;
use super::{ArchiveError, Draft, Head, Manifest, Progress, Proved, Sum, read};
use crate::backend::Snapshot;
use crate::table::{Key, Table};
use crate::vault::Vault;

/// Rows and bytes read at a time.
pub(crate) const PAGE_ROWS: usize = 4_096;
/// See [`PAGE_ROWS`].
pub(crate) const PAGE_BYTES: usize = 1024 * 1024;
/// After so many bytes the draft is flushed, so that its end does not hold up the store's own flushes.
const FLUSH_EVERY: u64 = 32 * 1024 * 1024;
/// A backup ends rather than leave less than this on its disk.
const SPACE_LEFT: u64 = 256 * 1024 * 1024;

/// What a file system without hard links answers.
const EPERM: i32 = rustix::io::Errno::PERM.raw_os_error();
/// See [`EPERM`].
const EOPNOTSUPP: i32 = rustix::io::Errno::OPNOTSUPP.raw_os_error();

/// Counts what goes to the disk and flushes it in portions.
struct Portions {
    file: File,
    since: u64,
}

impl Write for Portions {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.since += u64::try_from(written).unwrap_or(0);
        if self.since >= FLUSH_EVERY {
            self.since = 0;
            let stat = rustix::fs::fstatvfs(&self.file)?;
            if stat.f_bavail.saturating_mul(stat.f_frsize) < SPACE_LEFT {
                return Err(std::io::Error::new(std::io::ErrorKind::StorageFull, "the disk is nearly full"));
            }
            self.file.sync_data()?;
        }
        Ok(written)
    }
    fn flush(&mut self) -> std::io::Result<()> {
        self.file.flush()
    }
}

/// Writes and proves a backup of a snapshot. `to` must not exist.
pub(crate) fn make(
    snapshot: &dyn Snapshot,
    tables: &[Table],
    head: Head,
    to: &Path,
    vault: &Vault,
    progress: &Progress,
) -> Result<Proved, ArchiveError> {
    if to.symlink_metadata().is_ok() {
        return Err(ArchiveError::Target(format!("{} is there already; name another file", to.display())));
    }
    let mut name = to.as_os_str().to_owned();
    name.push(".part");
    let path = std::path::PathBuf::from(name);
    let open = || OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
    let file = match open() {
        // A draft that a killed backup left.
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => fs::remove_file(&path).and_then(|()| open()),
        opened => opened,
    };
    let file = file.map_err(|error| ArchiveError::io("create", &path, &error))?;
    let draft = Draft::new(path.clone());
    let manifest = stream(snapshot, tables, head, file, &path, vault, progress)?;
    let proved = read::prove(&path, vault, progress)?;
    if proved.manifest != manifest {
        return Err(ArchiveError::damaged(&path, "what was read back is not what was written"));
    }
    // Fails if somebody made such a file meanwhile: a backup never replaces anything.
    match fs::hard_link(&path, to) {
        Ok(()) => drop(draft),
        // A file system without links (a stick, a share): looked at once more, then renamed.
        Err(error) if matches!(error.raw_os_error(), Some(EPERM | EOPNOTSUPP)) && to.symlink_metadata().is_err() => {
            fs::rename(&path, to).map_err(|error| ArchiveError::io("name", to, &error))?;
            draft.keep();
        }
        Err(error) => return Err(ArchiveError::io("name", to, &error)),
    }
    let dir = to.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(|error| ArchiveError::io("write", dir, &error))?;
    Ok(proved)
}

fn stream(
    snapshot: &dyn Snapshot,
    tables: &[Table],
    head: Head,
    file: File,
    path: &Path,
    vault: &Vault,
    progress: &Progress,
) -> Result<Manifest, ArchiveError> {
    let io = |error: std::io::Error| ArchiveError::io("write", path, &error);
    let mut out = Sealer::new(BufWriter::new(Portions { file, since: 0 }), vault).map_err(io)?;
    let record = |out: &mut Sealer<_>, bytes: Vec<u8>| -> Result<(), ArchiveError> {
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        out.write(&length.to_be_bytes()).and_then(|()| out.write(&bytes)).map_err(io)
    };
    record(&mut out, encoded(&head)?)?;
    let mut sums = Vec::new();
    for table in tables {
        let mut sum = Sum::default();
        let mut from = Key::new();
        loop {
            progress.go_on()?;
            let rows = snapshot.page(*table, &from, PAGE_ROWS, PAGE_BYTES)?;
            let Some((last, _)) = rows.last() else { break };
            if *last < from {
                return Err(ArchiveError::Io(format!("the table {} cannot be read to its end", table.name())));
            }
            from = last.next();
            for (key, value) in &rows {
                sum.add(key, value);
                let lengths = (u16::try_from(key.0.len()), u32::try_from(value.len()));
                let (Ok(key_length), Ok(value_length)) = lengths else {
                    return Err(ArchiveError::Io(format!("a row of {} is too long for a backup", table.name())));
                };
                out.write(&[table.number()])
                    .and_then(|()| out.write(&key_length.to_be_bytes()))
                    .and_then(|()| out.write(&value_length.to_be_bytes()))
                    .and_then(|()| out.write(&key.0))
                    .and_then(|()| out.write(value))
                    .map_err(io)?;
                progress.add(key.0.len() + value.len());
            }
        }
        sums.push(sum.end(*table));
    }
    let manifest = Manifest { head, tables: sums };
    out.write(&[0]).map_err(io)?;
    record(&mut out, encoded(&manifest.tables)?)?;
    let file = out.finish().and_then(|writer| writer.into_inner().map_err(|error| error.into_error())).map_err(io)?;
    file.file.sync_all().map_err(io)?;
    Ok(manifest)
}

fn encoded<T: serde::Serialize>(value: &T) -> Result<Vec<u8>, ArchiveError> {
    aura_protocol::wire::encode(value).map_err(|error| ArchiveError::Io(format!("not encoded: {error}")))
}
