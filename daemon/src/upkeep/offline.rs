//! What `aurad` does with files that no daemon serves: verify and restore backups, compact, migrate.
//!
//! `aura` starts these and shows what they print: one JSON line at the end, sentences on standard error before.

use std::path::Path;
use std::time::Instant;

use aura_protocol::upkeep::CompactDone;
use aura_storage::{ArchiveError, Progress, Store, StoreOptions, archive};

use super::{backup, millis};
use crate::config::Options;
use crate::keys;
use crate::stop::Stop;

fn stop(error: &ArchiveError) -> Stop {
    match error {
        ArchiveError::WrongKey(_) => Stop::Key(error.to_string()),
        _ => Stop::Store(error.to_string()),
    }
}

fn print(value: &impl serde::Serialize) -> Result<(), Stop> {
    let text = serde_json::to_string(value).map_err(|error| Stop::System(format!("not JSON: {error}")))?;
    println!("{text}");
    Ok(())
}

/// `aurad verify-backup FILE`: reads a backup whole; nothing is written.
///
/// # Errors
/// What is wrong with it, or with the key.
pub fn verify(options: &Options, file: &Path) -> Result<(), Stop> {
    let key = keys::existing(options)?;
    let began = Instant::now();
    let proved = archive::verify(file, &key.bytes, &Progress::default()).map_err(|error| stop(&error))?;
    print(&backup::told(file, proved, millis(began)))
}

/// `aurad restore FILE`: makes a paused store of a backup in an empty directory.
///
/// # Errors
/// What is wrong with the backup, the key or the directory; nothing is left behind.
pub fn restore(options: &Options, file: &Path) -> Result<(), Stop> {
    let key = keys::existing(options)?;
    let began = Instant::now();
    let now_ms = crate::clock::Clock::system().now_ms();
    let proved = archive::restore(file, &options.data_dir, &key.bytes, now_ms, &Progress::default());
    print(&backup::told(file, proved.map_err(|error| stop(&error))?, millis(began)))
}

fn stored(options: &Options) -> Result<StoreOptions, Stop> {
    let key = keys::existing(options)?;
    if !options.data_dir.join("aura.redb").exists() {
        return Err(Stop::Store(format!("{} holds no store", options.data_dir.display())));
    }
    Ok(StoreOptions {
        cache_bytes: options.cache_mib * 1024 * 1024,
        ..StoreOptions::in_dir(&options.data_dir, *key.bytes)
    })
}

/// `aurad compact`: gives unused space back.
///
/// # Errors
/// The store is in use, or the disk failed.
pub fn compact(options: &Options) -> Result<(), Stop> {
    let store = Store::open(&stored(options)?).map_err(|error| Stop::Store(error.to_string()))?;
    let began = Instant::now();
    let (before, after) = store.compact().map_err(|error| Stop::Store(error.to_string()))?;
    drop(store);
    print(&CompactDone { before, after, took_ms: millis(began) })
}

/// `aurad migrate`: brings a store to this program's layout, also after tries that came to no end.
///
/// # Errors
/// Why it did not; the store is as it was.
pub fn migrate(options: &Options) -> Result<(), Stop> {
    let layout = Store::migrate(&stored(options)?).map_err(|error| Stop::Store(error.to_string()))?;
    println!("the store in {} has layout {layout}", options.data_dir.display());
    Ok(())
}
