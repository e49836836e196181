//! `cargo run`: builds `aurad` and `aura` in its own profile, finds them beside itself and becomes `aura demo`.
//!
//! The one invariant: this program does nothing but build and exec. What the demo shows is written in
//! `aura` (`tui`) and `aurad` (`daemon`). It uses the standard library only, so that the first line a
//! newcomer sees comes within seconds.

use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

fn main() -> ExitCode {
    match prepare() {
        Ok(mut demo) => {
            // exec only comes back when it failed.
            let error = demo.exec();
            fail(&format!("`aura demo` could not be started: {error}"))
        }
        Err(sentence) => fail(&sentence),
    }
}

fn fail(sentence: &str) -> ExitCode {
    // Nobody is left to tell when standard error is gone too.
    let _ = writeln!(io::stderr(), "cargo run: {sentence}");
    ExitCode::FAILURE
}

/// Builds both binaries and gives the command that shows the demo.
fn prepare() -> Result<Command, String> {
    let own = std::env::current_exe().map_err(|error| format!("this program cannot find itself: {error}"))?;
    let place = Place::of(&own)?;
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(&cargo);
    build
        .arg("build")
        .arg("--locked")
        .args(["-p", "aura-daemon", "-p", "aura-tui", "--bin", "aurad", "--bin", "aura"])
        .args(place.profile_arguments())
        .arg("--target-dir")
        .arg(&place.target)
        .arg("--manifest-path")
        .arg(workspace().join("Cargo.toml"));
    let status = build.status().map_err(|error| format!("{} could not be started: {error}", cargo.display()))?;
    if !status.success() {
        return Err("aurad and aura could not be built; the compiler's messages stand above".to_owned());
    }
    for name in ["aurad", "aura"] {
        let binary = place.folder.join(name);
        if !binary.is_file() {
            return Err(format!("the build made no {}; was another target chosen?", binary.display()));
        }
    }
    let mut demo = Command::new(place.folder.join("aura"));
    demo.arg("demo").args(std::env::args_os().skip(1));
    Ok(demo)
}

/// The workspace, also when cargo was called elsewhere with `--manifest-path`.
fn workspace() -> PathBuf {
    let own = std::env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from);
    own.ancestors().nth(2).map_or_else(|| own.clone(), Path::to_path_buf)
}

/// Where this program lies: `TARGET/PROFILE/aura-demo`.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    /// `TARGET/PROFILE`, where the build puts both binaries.
    folder: PathBuf,
    /// `TARGET`.
    target: PathBuf,
    /// Name of the profile's directory.
    profile: String,
}

impl Place {
    fn of(own: &Path) -> Result<Self, String> {
        let lost = || format!("{} does not lie in a target directory of cargo; start it by `cargo run`", own.display());
        let folder = own.parent().ok_or_else(lost)?;
        let target = folder.parent().ok_or_else(lost)?;
        let profile = folder.file_name().and_then(|name| name.to_str()).ok_or_else(lost)?;
        Ok(Self { folder: folder.into(), target: target.into(), profile: profile.to_owned() })
    }

    /// The profile of a directory: `debug` is `dev`, any other has its profile's name.
    fn profile_arguments(&self) -> [&str; 2] {
        ["--profile", if self.profile == "debug" { "dev" } else { &self.profile }]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_profile_and_the_target_come_from_the_own_place() {
        let check = |own: &str, target: &str, profile: &str| {
            let place = Place::of(Path::new(own)).expect("a place");
            assert_eq!(place.target, Path::new(target), "{own}");
            assert_eq!(place.profile_arguments(), ["--profile", profile], "{own}");
        };
        check("/home/a/aura/target/debug/aura-demo", "/home/a/aura/target", "dev");
        check("/t/release/aura-demo", "/t", "release");
        check("/t/x86_64-unknown-linux-gnu/dist/aura-demo", "/t/x86_64-unknown-linux-gnu", "dist");
    }

    #[test]
    fn a_program_outside_of_a_target_directory_says_so() {
        let sentence = Place::of(Path::new("/")).expect_err("no place");
        assert!(sentence.contains("cargo run"), "{sentence}");
    }
}
