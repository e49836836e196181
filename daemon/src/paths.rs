//! Where things are when nobody says: as a service under `/var/lib` and `/run`, for a person under their home.
//!
//! The key never lies beside the data: a copied data directory alone shows nothing.

use std::env;
use std::path::PathBuf;

/// Whether this runs as a service (systemd or root) and not for one person.
#[must_use]
pub fn is_service() -> bool {
    rustix::process::geteuid().is_root()
        || env::var_os("CREDENTIALS_DIRECTORY").is_some()
        || env::var_os("STATE_DIRECTORY").is_some()
}

fn home() -> PathBuf {
    env::var_os("HOME").filter(|home| !home.is_empty()).map_or_else(|| PathBuf::from("/"), PathBuf::from)
}

fn xdg(variable: &str, below_home: &str) -> PathBuf {
    env::var_os(variable)
        .map(PathBuf::from)
        .filter(|path| path.is_absolute())
        .unwrap_or_else(|| home().join(below_home))
        .join("aura")
}

/// Directory of settings and, in user mode, of the master key.
#[must_use]
pub fn config_dir() -> PathBuf {
    if is_service() { PathBuf::from("/etc/aura") } else { xdg("XDG_CONFIG_HOME", ".config") }
}

/// Directory of the store.
#[must_use]
pub fn data_dir() -> PathBuf {
    match env::var_os("STATE_DIRECTORY").map(PathBuf::from).filter(|path| path.is_absolute()) {
        Some(dir) => dir,
        None if is_service() => PathBuf::from("/var/lib/aura"),
        None => xdg("XDG_DATA_HOME", ".local/share"),
    }
}

/// The Unix socket; `aura` looks at the same places.
#[must_use]
pub fn socket() -> PathBuf {
    match env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|path| path.is_absolute()) {
        Some(dir) if !is_service() => dir.join("aura/aurad.sock"),
        _ => PathBuf::from("/run/aura/aurad.sock"),
    }
}
