//! The house in order: what `ARCHITECTURE.md` states as absences is checked here, file by file.
//!
//! The one invariant: a rule that nobody checks is not in that page, and each check fails when it finds
//! nothing to check. [`crates`] for who may know whom, [`files`] for headers, sizes and words, [`lists`]
//! for registration lists and pages that must name everything, [`rivals`] for `docs/rivals.md`.

mod crates;
mod files;
mod lists;
pub mod rivals;

use std::fs;
use std::path::{Path, PathBuf};

/// Folders with our own sources.
const FOLDERS: &[&str] = &["protocol", "storage", "integrations", "daemon", "tui", "tests"];

/// The workspace.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_owned()
}

/// A file's text.
fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// All files below a folder whose name ends so, as paths from the workspace.
fn files(folder: &str, endings: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    let mut open = vec![root().join(folder)];
    while let Some(folder) = open.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for entry in entries {
            let path = entry.expect("a folder's entry").path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
            if path.is_dir() {
                if name != "target" && name != ".git" {
                    open.push(path);
                }
            } else if endings.iter().any(|ending| name.ends_with(ending)) {
                let own = path.strip_prefix(root()).expect("a path below the workspace");
                found.push(own.to_str().expect("a path in UTF-8").to_owned());
            }
        }
    }
    found.sort();
    found
}

/// Fails with everything that was found wrong, a line each.
fn none(rule: &str, wrong: &[String]) {
    assert!(wrong.is_empty(), "{rule}:\n  {}", wrong.join("\n  "));
}
