//! `aura setup systemd`: the service, its socket, its user and its sealed key, shown as a plan before anything is done.
//!
//! Invariant: without `--yes` nothing is changed. Files that are there with other content are kept beside as
//! `.before`; an existing key is never replaced. The unit files are those of the folder `systemd`.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command as Process;

use aura_protocol::text::display;
use aura_protocol::{Code, WireError};
use clap::Subcommand;
use serde::Serialize;

use super::Ended;
use super::output::Output;

/// What can be set up.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// aurad as a hardened systemd service; shows the plan, and does it with `--yes`
    #[command(after_help = "Example: aura setup systemd                  # the plan, nothing is changed
         sudo aura setup systemd --yes
         aura setup systemd --print aurad.service    # one file as it would be written")]
    Systemd {
        /// Do it
        #[arg(long)]
        yes: bool,
        /// Only print this file: aurad.service, aurad.socket, aurad-runner@.service, aurad-runner.socket,
        /// aurad.sysusers or aurad.tmpfiles
        #[arg(long, value_name = "FILE", conflicts_with = "yes")]
        print: Option<String>,
        /// Where aurad is (default: beside this program, else /usr/bin/aurad)
        #[arg(long, value_name = "PATH")]
        aurad: Option<PathBuf>,
        /// Write below this directory and run nothing: for an image
        #[arg(long, value_name = "DIR")]
        root: Option<PathBuf>,
    },
}

const SERVICE: &str = include_str!("../../../systemd/aurad.service");
const SOCKET: &str = include_str!("../../../systemd/aurad.socket");
const RUNNER: &str = include_str!("../../../systemd/aurad-runner@.service");
const RUNNER_SOCKET: &str = include_str!("../../../systemd/aurad-runner.socket");
const SYSUSERS: &str = include_str!("../../../systemd/aurad.sysusers");
const TMPFILES: &str = include_str!("../../../systemd/aurad.tmpfiles");
/// From systemd 253 on a reload is waited for.
const RELOAD: &str = "# systemd 253 and later: `systemctl reload` waits until the daemon has read its settings.\n[Service]\nType=notify-reload\nExecReload=\n";
const NOTIFY_RELOAD: u32 = 253;

/// One thing to do.
#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Step {
    /// Write a file.
    Write { file: PathBuf, why: &'static str, state: &'static str },
    /// Run a program.
    Run { command: String, why: &'static str },
}

/// Answers a setup command.
///
/// # Errors
/// A file cannot be written or a program fails: what was done so far is said.
pub fn setup(command: Command, out: &mut Output) -> Ended {
    let Command::Systemd { yes, print, aurad, root } = command;
    let aurad = match aurad {
        Some(path) => path,
        None => beside().unwrap_or_else(|| PathBuf::from("/usr/bin/aurad")),
    };
    if let Some(name) = print {
        return print_file(&name, &aurad, out);
    }
    let version = version();
    let below = root.clone().unwrap_or_else(|| PathBuf::from("/"));
    let files = files(&aurad, version)?;
    let commands = if root.is_some() { Vec::new() } else { commands() };
    let mut steps: Vec<Step> = Vec::new();
    for (path, text, why) in &files {
        let file = below.join(path);
        let state = match fs::read_to_string(&file) {
            Ok(there) if there == *text => "unchanged",
            Ok(_) => "replaced; the one there is kept as .before",
            Err(_) => "new",
        };
        steps.push(Step::Write { file, why, state });
    }
    steps.extend(commands.iter().map(|(command, why)| Step::Run { command: (*command).to_owned(), why }));
    for step in &steps {
        if out.json {
            out.value(step)?;
            continue;
        }
        match step {
            Step::Write { file, why, state } => {
                out.line(&format!("write  {}  ({state})", display(&file.display().to_string())))?;
                out.line(&format!("       {why}"))?;
            }
            Step::Run { command, why } => out.line(&format!("run    {command}\n       {why}"))?,
        }
    }
    if !yes {
        if !out.json {
            out.line("\nnothing was changed; do it with: sudo aura setup systemd --yes")?;
        }
        return Ok(0);
    }
    if root.is_none() && !is_root() {
        return Err(WireError::new(Code::Forbidden, "only root can set up a service").hint("run it with sudo"));
    }
    for (path, text, _) in &files {
        write(&below.join(path), text)?;
    }
    for (command, _) in &commands {
        run(command)?;
    }
    if !out.json {
        out.line("done; `systemctl status aurad` and `aura status` say how it is")?;
    }
    Ok(0)
}

fn print_file(name: &str, aurad: &Path, out: &mut Output) -> Ended {
    let text = match name {
        "aurad.service" => service(SERVICE, aurad)?,
        "aurad-runner@.service" => service(RUNNER, aurad)?,
        "aurad-runner.socket" => RUNNER_SOCKET.to_owned(),
        "aurad.socket" => SOCKET.to_owned(),
        "aurad.sysusers" => SYSUSERS.to_owned(),
        "aurad.tmpfiles" => TMPFILES.to_owned(),
        _ => {
            let message = format!("there is no file `{}` to print", display(name));
            return Err(WireError::new(Code::Invalid, message)
                .hint("it is one of aurad.service, aurad.socket, aurad-runner@.service, aurad-runner.socket, aurad.sysusers, aurad.tmpfiles"));
        }
    };
    if out.json {
        out.value(&serde_json::json!({ "file": name, "text": text }))?;
    } else {
        out.line(text.trim_end())?;
    }
    Ok(0)
}

/// A unit with the place of aurad in it.
fn service(unit: &str, aurad: &Path) -> Result<String, WireError> {
    let path = aurad.to_str().filter(|path| path.starts_with('/') && !path.contains(['%', '"', '\\', '\n', ' ', '$']));
    let Some(path) = path else {
        let message = format!("`{}` is no path that a unit file can name", display(&aurad.display().to_string()));
        return Err(WireError::new(Code::Invalid, message).hint("give an absolute path without spaces or %"));
    };
    Ok(unit.replace("ExecStart=/usr/bin/aurad", &format!("ExecStart={path}")))
}

type File = (&'static str, String, &'static str);

fn files(aurad: &Path, version: Option<u32>) -> Result<Vec<File>, WireError> {
    let mut files = vec![
        ("etc/systemd/system/aurad.service", service(SERVICE, aurad)?, "the hardened service"),
        (
            "etc/systemd/system/aurad-runner@.service",
            service(RUNNER, aurad)?,
            "scripts of flows run there: no files, no network",
        ),
        ("etc/systemd/system/aurad-runner.socket", RUNNER_SOCKET.to_owned(), "where the daemon finds runners"),
        (
            "etc/systemd/system/aurad.socket",
            SOCKET.to_owned(),
            "where deliveries and clients come in; it stays over restarts",
        ),
        ("etc/sysusers.d/aurad.conf", SYSUSERS.to_owned(), "the user aura"),
        ("etc/tmpfiles.d/aurad.conf", TMPFILES.to_owned(), "/run/aura and /etc/aura"),
    ];
    if version.is_some_and(|version| version >= NOTIFY_RELOAD) {
        let file = "etc/systemd/system/aurad.service.d/10-reload.conf";
        files.push((file, RELOAD.to_owned(), "this systemd waits for a reload"));
    }
    Ok(files)
}

/// The key is made and sealed in one pipe: it never lies on the disk in clear.
const SEAL: &str = "test -e /etc/credstore.encrypted/master.key || { install -d -m 0700 /etc/credstore.encrypted && \
head -c 32 /dev/urandom | systemd-creds encrypt --name=master.key - /etc/credstore.encrypted/master.key; }";

fn commands() -> Vec<(&'static str, &'static str)> {
    vec![
        ("systemd-sysusers", "makes the user aura"),
        ("systemd-tmpfiles --create aurad.conf", "makes the directories"),
        (SEAL, "makes the master key, sealed to this machine, unless there is one; keep a copy: systemd-creds decrypt"),
        ("systemctl daemon-reload", "reads the units"),
        ("systemctl enable --now aurad.socket aurad-runner.socket aurad.service", "starts it now and at every boot"),
    ]
}

fn beside() -> Option<PathBuf> {
    let path = std::env::current_exe().ok()?.with_file_name("aurad");
    path.exists().then_some(path)
}

/// The number of this machine's systemd.
fn version() -> Option<u32> {
    let output = Process::new("systemctl").arg("--version").output().ok()?;
    String::from_utf8_lossy(&output.stdout).split_whitespace().nth(1)?.parse().ok()
}

fn is_root() -> bool {
    // The owner of our own process directory is who we are.
    use std::os::unix::fs::MetadataExt;
    fs::metadata("/proc/self").is_ok_and(|me| me.uid() == 0)
}

fn write(file: &Path, text: &str) -> Result<(), WireError> {
    let fail = |error: std::io::Error| {
        WireError::internal(format!(
            "{} could not be written: {error}; what stands before it in the plan is done",
            file.display()
        ))
    };
    match fs::read_to_string(file) {
        Ok(there) if there == text => return Ok(()),
        Ok(there) => fs::write(file.with_extension("before"), there).map_err(fail)?,
        Err(_) => {}
    }
    if let Some(dir) = file.parent() {
        fs::create_dir_all(dir).map_err(fail)?;
    }
    let draft = file.with_extension("new");
    fs::write(&draft, text).map_err(fail)?;
    fs::set_permissions(&draft, fs::Permissions::from_mode(0o644)).map_err(fail)?;
    fs::rename(&draft, file).map_err(fail)
}

fn run(command: &str) -> Result<(), WireError> {
    let status = Process::new("sh").args(["-c", command]).status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(WireError::internal(format!(
            "`{command}` failed ({status}); what stands before it in the plan is done"
        ))
        .hint("fix what it says and run the command again: it does what is left")),
        Err(error) => Err(WireError::internal(format!("`{command}` could not be started: {error}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unit_names_the_place_of_the_daemon_and_nothing_that_could_be_more() {
        let text = service(SERVICE, Path::new("/opt/aura/aurad")).unwrap();
        assert!(text.contains("\nExecStart=/opt/aura/aurad\n") && !text.contains("/usr/bin/aurad"), "{text}");
        for path in ["aurad", "/opt/a b/aurad", "/opt/%h/aurad", "/opt/$HOME/aurad"] {
            assert_eq!(service(SERVICE, Path::new(path)).unwrap_err().code, Code::Invalid, "{path}");
        }
    }

    #[test]
    fn files_are_written_whole_and_what_was_there_is_kept() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("etc/systemd/system/aurad.socket");
        write(&file, "one").unwrap();
        write(&file, "two").unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "two");
        assert_eq!(fs::read_to_string(file.with_extension("before")).unwrap(), "one");
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o644);
    }

    #[test]
    fn newer_systemd_waits_for_a_reload() {
        let count = |version| files(Path::new("/usr/bin/aurad"), version).unwrap().len();
        assert_eq!((count(None), count(Some(252)), count(Some(253))), (6, 6, 7));
    }

    #[test]
    fn the_runner_of_the_unit_is_the_daemon_s_program() {
        let text = service(RUNNER, Path::new("/opt/aura/aurad")).unwrap();
        assert!(text.contains("\nExecStart=/opt/aura/aurad runner\n"), "{text}");
    }
}
