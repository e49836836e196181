//! Room kept for bad times: a file of blocks that nobody needs, beside the database.
//!
//! When the disk is full its blocks are given back, so that what frees room (cancel, delete, retention) can
//! still commit; when there is room again it is made anew. It is allocated, never written: where a file
//! system cannot allocate, there is none.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Of a small disk the ballast takes at most this part.
const PART: u64 = 16;

/// Room on the disk of a directory, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// All there is.
    pub total: u64,
    /// What this process may still use.
    pub free: u64,
}

/// Asks the file system of a directory.
///
/// # Errors
/// The system's.
pub fn space(dir: &Path) -> io::Result<Space> {
    let found = rustix::fs::statvfs(dir)?;
    let bytes = |blocks: u64| blocks.saturating_mul(found.f_frsize);
    Ok(Space { total: bytes(found.f_blocks), free: bytes(found.f_bavail) })
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Ballast {
    dir: PathBuf,
    bytes: u64,
}

impl Ballast {
    /// The ballast of a directory; no bytes: none.
    pub(crate) fn new(dir: &Path, bytes: u64) -> Self {
        Self { dir: dir.to_owned(), bytes }
    }

    fn path(&self) -> PathBuf {
        self.dir.join("aura.ballast")
    }

    /// Room on its disk.
    pub(crate) fn space(&self) -> Option<Space> {
        space(&self.dir).ok()
    }

    /// Makes it if it is not there and this much stays free beside it; removes what an earlier setting left.
    pub(crate) fn keep(&self, beside: u64) {
        let path = self.path();
        let there = fs::metadata(&path).map(|data| data.len()).ok();
        let Some(space) = self.space() else { return };
        let bytes = self.bytes.min(space.total / PART);
        if there == Some(bytes) || (there.is_none() && bytes == 0) {
            return;
        }
        if there.is_some() {
            self.release();
        }
        if bytes > 0 && space.free >= bytes.saturating_mul(2).saturating_add(beside) {
            let made = allocate(&path, bytes);
            if let Err(error) = made {
                tracing::info!(%error, "no ballast: the file system does not give room in advance");
                let _ = fs::remove_file(&path);
            }
        }
    }

    /// Gives its blocks back; whether there were any.
    pub(crate) fn release(&self) -> bool {
        fs::remove_file(self.path()).is_ok()
    }
}

fn allocate(path: &Path, bytes: u64) -> io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    let file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, bytes)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_made_once_given_back_and_made_again() {
        let dir = tempfile::tempdir().unwrap();
        let ballast = Ballast::new(dir.path(), 8192);
        let there = || fs::metadata(dir.path().join("aura.ballast")).map(|data| data.len()).ok();
        ballast.keep(u64::MAX / 2);
        assert_eq!(there(), None, "there is no such room beside it");
        ballast.keep(0);
        if there().is_none() {
            println!("not run: this file system does not allocate");
            return;
        }
        assert_eq!(there(), Some(8192));
        assert!(ballast.release() && !ballast.release());
        ballast.keep(0);
        assert_eq!(there(), Some(8192));
        Ballast::new(dir.path(), 0).keep(0);
        assert_eq!(there(), None, "an earlier setting leaves nothing behind");
    }
}
