//! The demo's directory: private, and gone when the demo ends.

use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use crate::stop::Stop;

/// A temporary directory.
#[derive(Debug)]
pub struct Place(PathBuf);

impl Place {
    /// Makes it.
    ///
    /// # Errors
    /// The system refuses.
    pub fn new() -> Result<Self, Stop> {
        let name = format!("aura-demo-{}", aura_protocol::RequestId::now().short().to_ascii_lowercase());
        let path = std::env::temp_dir().join(format!("{name}-{}", std::process::id()));
        fs::DirBuilder::new()
            .mode(0o700)
            .create(&path)
            .map_err(|error| Stop::System(format!("the directory {} cannot be made: {error}", path.display())))?;
        Ok(Self(path))
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            tracing::warn!(directory = %self.0.display(), %error, "the demo's directory could not be removed");
        }
    }
}
