//! `aura backup`: where the file goes, and what is told about it.

use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use aura_protocol::rpc::Actor;
use aura_protocol::upkeep::{BackupDone, BackupRequest, BackupTable, Ended, Job};
use aura_protocol::{Code, WireError};
use aura_storage::{Proved, archive};

use super::{millis, refused, start as start_piece};
use crate::rpc::{Service, Shared};

/// Directory of backups without `--to`, below the data directory.
const BELOW: &str = "backups";

/// Starts a backup.
///
/// # Errors
/// The path is relative or of a directory that is not there, or other work is going on.
pub fn start(service: &Service, actor: &Actor, request: BackupRequest) -> Result<Job, WireError> {
    let file = file(service, request.to.as_deref())?;
    start_piece(service, "backup", Some(actor.request), move |shared, progress| make(shared, &file, progress))
}

fn make(shared: &Shared, file: &Path, progress: &aura_storage::Progress) -> Result<Ended, WireError> {
    let began = Instant::now();
    let proved = shared.store.backup(file, shared.clock.now_ms(), progress).map_err(|error| refused(&error))?;
    if proved.damaged_rows > 0 {
        tracing::error!(
            damaged = proved.damaged_rows,
            "the store has damaged records; they are in the backup as they are"
        );
    }
    Ok(Ended::Backup(told(file, proved, millis(began))))
}

/// What people hear of a backup that was read back.
#[must_use]
pub fn told(file: &Path, proved: Proved, took_ms: u64) -> BackupDone {
    let head = proved.manifest.head;
    let table = |sum: aura_storage::TableSum| BackupTable {
        table: sum.table,
        rows: sum.rows,
        bytes: sum.bytes,
        sha256: sum.sha256,
    };
    BackupDone {
        file: file.display().to_string(),
        bytes: proved.file_bytes,
        created_ms: head.created_ms,
        layout: head.layout,
        program: head.program,
        semantics: head.semantics,
        cursor: head.cursor,
        tables: proved.manifest.tables.into_iter().map(table).collect(),
        damaged: proved.damaged,
        damaged_rows: proved.damaged_rows,
        took_ms,
    }
}

fn file(shared: &Shared, to: Option<&str>) -> Result<PathBuf, WireError> {
    let name = || {
        let at = aura_protocol::event::timestamp(shared.clock.now_ms());
        let at: String = at.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').collect();
        format!("aura-{at}.{}", archive::ENDING)
    };
    let Some(to) = to else {
        let dir = shared.data_dir.join(BELOW);
        let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&dir);
        made.map_err(|error| WireError::internal(format!("{} could not be made: {error}", dir.display())))?;
        return Ok(dir.join(name()));
    };
    let path = PathBuf::from(to);
    if !path.is_absolute() {
        return Err(WireError::new(Code::Invalid, "a backup needs an absolute path on the daemon's machine"));
    }
    if path.is_dir() {
        return Ok(path.join(name()));
    }
    match path.parent() {
        Some(dir) if dir.is_dir() => Ok(path),
        _ => Err(WireError::not_found(format!("the directory of {} is not there", path.display()))
            .hint("the daemon writes the file: name a directory on its machine that its account may write to")),
    }
}
