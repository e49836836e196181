//! The master key: 32 bytes that never lie beside the data and never stand in the environment.
//!
//! A service gets it as the systemd credential `master.key` or in a file that only it can read; in user
//! mode it is made at first start under the settings directory. A file that others can read is refused.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::config::Options;
use crate::paths;
use crate::stop::Stop;

/// The key and where it came from.
pub struct MasterKey {
    /// The bytes; wiped when dropped.
    pub bytes: Zeroizing<[u8; 32]>,
    /// The file.
    pub file: PathBuf,
    /// It was made at this start.
    pub made: bool,
}

impl std::fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MasterKey").field("file", &self.file).finish_non_exhaustive()
    }
}

impl MasterKey {
    /// A random key that lives only in memory: for the demo and tests.
    ///
    /// # Errors
    /// The system gives no randomness.
    pub fn random() -> Result<Self, Stop> {
        Ok(Self { bytes: random()?, file: PathBuf::new(), made: true })
    }
}

/// Where systemd hands its credentials out, if it started this daemon with any.
#[must_use]
pub fn credentials() -> Option<PathBuf> {
    std::env::var_os("CREDENTIALS_DIRECTORY").filter(|dir| !dir.is_empty()).map(PathBuf::from)
}

/// Whether a key is one that systemd handed out: its mode and owner are systemd's, and nothing can be put beside it.
#[must_use]
pub fn handed_out(key: &Path, credentials: Option<&Path>) -> bool {
    credentials.is_some_and(|dir| key.starts_with(dir))
}

/// The file that says the owner has a copy of the key; `aura doctor` looks for it. It lies beside the key, or in
/// the settings directory if systemd handed the key out.
#[must_use]
pub fn copied_mark(key: &Path, credentials: Option<&Path>) -> PathBuf {
    match key.file_name() {
        Some(name) if handed_out(key, credentials) => paths::config_dir().join(name).with_extension("copied"),
        _ => key.with_extension("copied"),
    }
}

/// Finds the master key of a store or a backup that exists: none is ever made.
///
/// # Errors
/// As [`find`], or there is none.
pub fn existing(options: &Options) -> Result<MasterKey, Stop> {
    if let Some(key) = given(options)? {
        return Ok(key);
    }
    let file = paths::config_dir().join("master.key");
    Err(Stop::Key(format!(
        "there is no master key at {}: put the copy of the key there, or name its file with `--master-key`",
        file.display()
    )))
}

/// The key that the settings name, that systemd hands out, or that lies in its usual place.
fn given(options: &Options) -> Result<Option<MasterKey>, Stop> {
    if !options.master_key.as_os_str().is_empty() {
        let handed_out = handed_out(&options.master_key, credentials().as_deref());
        return read(&options.master_key, handed_out).map(Some);
    }
    if let Some(dir) = credentials() {
        let file = dir.join("master.key");
        if file.exists() {
            return read(&file, true).map(Some);
        }
    }
    let file = paths::config_dir().join("master.key");
    if file.exists() { read(&file, false).map(Some) } else { Ok(None) }
}

/// Finds the master key, or makes it in user mode.
///
/// # Errors
/// Missing for a service, wrong length, or readable by others: a sentence that says what to do.
pub fn find(options: &Options) -> Result<MasterKey, Stop> {
    if let Some(key) = given(options)? {
        return Ok(key);
    }
    let file = paths::config_dir().join("master.key");
    if paths::is_service() {
        return Err(Stop::Key(format!(
            "there is no master key: give the service the credential `master.key` or make one with `head -c 32 /dev/urandom | sudo install -m 0400 -o aura /dev/stdin {}`",
            file.display()
        )));
    }
    if options.data_dir.join("aura.redb").exists() {
        return Err(Stop::Key(format!(
            "{} has data but the master key {} is missing: restore the key from its copy, a new one would not open the data",
            options.data_dir.display(),
            file.display()
        )));
    }
    make(&file)
}

fn read(file: &Path, from_systemd: bool) -> Result<MasterKey, Stop> {
    let fail = |why: &str| Stop::Key(format!("the master key {} {why}", file.display()));
    let mut open = File::open(file).map_err(|error| fail(&format!("cannot be read: {error}")))?;
    let meta = open.metadata().map_err(|error| fail(&format!("cannot be read: {error}")))?;
    if !meta.is_file() {
        return Err(fail("is not a file"));
    }
    // systemd hands credentials out as 0440 in a directory that only the service can enter.
    if !from_systemd && meta.mode() & 0o177 != 0 {
        return Err(fail(&format!(
            "must be private to the daemon, mode 0400 or 0600, and has mode {:04o}: run `chmod 600 {}`",
            meta.mode() & 0o7777,
            file.display()
        )));
    }
    let me = rustix::process::geteuid().as_raw();
    if !from_systemd && meta.uid() != me && meta.uid() != 0 {
        return Err(fail(&format!("belongs to uid {} and not to the daemon's uid {me}", meta.uid())));
    }
    let mut text = Zeroizing::new(Vec::with_capacity(128));
    (&mut open).take(129).read_to_end(&mut text).map_err(|error| fail(&format!("cannot be read: {error}")))?;
    let bytes =
        decode(&text).ok_or_else(|| fail("must hold exactly 32 bytes, or the same as 64 hexadecimal characters"))?;
    Ok(MasterKey { bytes, file: file.to_owned(), made: false })
}

fn decode(text: &[u8]) -> Option<Zeroizing<[u8; 32]>> {
    if let Ok(raw) = <[u8; 32]>::try_from(text) {
        return Some(Zeroizing::new(raw));
    }
    let text = Zeroizing::new(std::str::from_utf8(text).ok()?.trim().to_owned());
    if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let mut out = Zeroizing::new([0_u8; 32]);
    for (place, byte) in out.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(place * 2..place * 2 + 2)?, 16).ok()?;
    }
    Some(out)
}

fn random() -> Result<Zeroizing<[u8; 32]>, Stop> {
    let mut bytes = Zeroizing::new([0_u8; 32]);
    getrandom::fill(bytes.as_mut())
        .map_err(|error| Stop::System(format!("the system gives no randomness: {error}")))?;
    Ok(bytes)
}

fn make(file: &Path) -> Result<MasterKey, Stop> {
    let fail = |error: std::io::Error| {
        Stop::Key(format!("the master key {} could not be made at first start: {error}", file.display()))
    };
    if let Some(dir) = file.parent() {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(fail)?;
    }
    let bytes = random()?;
    // Written whole under another name first: a crash leaves no half key that later starts would refuse.
    let draft = file.with_extension("new");
    let _ = fs::remove_file(&draft);
    let mut open = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft).map_err(fail)?;
    open.write_all(bytes.as_ref()).map_err(fail)?;
    open.sync_all().map_err(fail)?;
    fs::hard_link(&draft, file).map_err(fail)?;
    let _ = fs::remove_file(&draft);
    if let Some(dir) = file.parent() {
        File::open(dir).and_then(|dir| dir.sync_all()).map_err(fail)?;
    }
    Ok(MasterKey { bytes, file: file.to_owned(), made: true })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_key_that_was_made_reads_back_and_is_private() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("below/master.key");
        let made = make(&file).unwrap();
        let again = read(&file, false).unwrap();
        assert_eq!(made.bytes, again.bytes);
        assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o600);
        assert!(make(&file).is_err(), "an existing key is never replaced");
    }

    #[test]
    fn keys_that_others_can_read_or_of_a_wrong_length_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("master.key");
        for (content, mode, part) in [
            (vec![7; 32], 0o644, "has mode 0644: run `chmod 600"),
            (vec![7; 31], 0o600, "exactly 32 bytes"),
            (vec![b'g'; 64], 0o600, "exactly 32 bytes"),
            (vec![7; 200], 0o600, "exactly 32 bytes"),
        ] {
            fs::write(&file, content).unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
            let error = read(&file, false).unwrap_err();
            assert!(error.to_string().contains(part), "{error}");
            assert_eq!(error.exit_code(), 77);
        }
        fs::write(&file, format!("{}\n", "0a".repeat(32))).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o400)).unwrap();
        assert_eq!(*read(&file, false).unwrap().bytes, [10; 32]);
    }

    #[test]
    fn the_mark_of_a_copy_lies_where_it_can_be_made() {
        let dir = Path::new("/run/credentials/aurad.service");
        let (own, given) = (Path::new("/etc/aura/master.key"), dir.join("master.key"));
        let mark = |key: &Path, credentials| copied_mark(key, credentials);
        assert_eq!(mark(own, None), Path::new("/etc/aura/master.copied"));
        assert_eq!(mark(own, Some(dir)), Path::new("/etc/aura/master.copied"), "this key is not of systemd");
        assert_eq!(mark(&given, Some(dir)), paths::config_dir().join("master.copied"));
        assert!(!handed_out(own, Some(dir)) && handed_out(&given, Some(dir)));
    }
}
