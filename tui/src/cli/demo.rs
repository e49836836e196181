//! `aura demo`: a daemon of its own plays one story; a person watches it in the screens, a script reads lines.
//!
//! Invariant: the child never outlives this command, and nothing is left in the temporary directory.

use std::ffi::OsStr;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use aura_protocol::text::display;
use aura_protocol::{Code, RequestId, WireError};
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::sync::mpsc;

use super::Ended;
use super::output::{Output, note};
use crate::app::Opening;

/// The whole story without a terminal.
const STORY_MAX: Duration = Duration::from_secs(60);
/// From start to the line `ready`.
const READY_MAX: Duration = Duration::from_secs(20);
/// From SIGTERM to SIGKILL.
const STOP_MAX: Duration = Duration::from_secs(3);
/// Lines of the child's standard error that are kept for the end.
const ERRORS_KEPT: usize = 20;

/// A directory for the socket that goes away with its owner.
struct Place(PathBuf);

impl Place {
    fn new() -> Result<Self, WireError> {
        use std::os::unix::fs::DirBuilderExt;
        let id = RequestId::now().short();
        let dir = std::env::temp_dir().join(format!("aura-demo-{}-{id}", std::process::id()));
        let made = std::fs::DirBuilder::new().mode(0o700).create(&dir);
        made.map_err(|error| WireError::internal(format!("{} was not made: {error}", dir.display())))?;
        Ok(Self(dir))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Plays the demo.
///
/// # Errors
/// If the daemon is not found beside this program, does not start, or takes longer than a minute.
pub async fn demo(out: &mut Output) -> Ended {
    let daemon = daemon_beside(&std::env::current_exe().unwrap_or_default())?;
    let place = Place::new()?;
    let socket = place.0.join("aurad.sock");
    let watched = std::io::stdout().is_terminal() && std::io::stdin().is_terminal() && !out.json;
    let mut command = Command::new(&daemon);
    command.arg("demo").arg("--socket").arg(&socket).stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
    if watched {
        command.arg("--paced").stderr(Stdio::piped());
    }
    let mut child = command.spawn().map_err(|error| {
        WireError::internal(format!("{} did not start: {error}", daemon.display())).hint("build it with `cargo build`")
    })?;
    // Held until the end: a watched daemon ends when it reads its end, also when this process was killed.
    let _alive = child.stdin.take();
    let Some(stdout) = child.stdout.take() else {
        return Err(WireError::internal("the demo daemon has no output"));
    };
    let lines = BufReader::new(stdout).lines();
    let ended = if watched { watch(&mut child, lines, socket).await } else { pass(&mut child, lines, out).await };
    stop(&mut child).await;
    ended
}

/// `aurad` beside `aura`, `it-aurad` beside `it-aura`.
pub(super) fn daemon_beside(own: &Path) -> Result<PathBuf, WireError> {
    let tests = own.file_name().and_then(OsStr::to_str).is_some_and(|name| name.starts_with("it-"));
    let daemon = own.with_file_name(if tests { "it-aurad" } else { "aurad" });
    if daemon.is_file() {
        return Ok(daemon);
    }
    Err(WireError::new(Code::NotFound, format!("this needs the daemon beside this program: no {}", daemon.display()))
        .hint("build both with `cargo run` in the source tree"))
}

/// Without a terminal: the story as lines.
async fn pass(child: &mut Child, mut lines: Lines<BufReader<ChildStdout>>, out: &mut Output) -> Ended {
    let story = async {
        while let Some(line) = next(&mut lines).await? {
            if out.json {
                out.value(&serde_json::json!({ "line": line }))?;
            } else {
                out.line(&display(&line))?;
            }
        }
        let status = child.wait().await.map_err(|error| WireError::internal(format!("the demo was lost: {error}")))?;
        Ok(status.code())
    };
    match tokio::time::timeout(STORY_MAX, story).await {
        Ok(Ok(Some(0))) => Ok(0),
        Ok(Ok(code)) => {
            let code = code.map_or("by a signal".to_owned(), |code| format!("with code {code}"));
            Err(WireError::internal(format!("the demo did not succeed: aurad ended {code}")))
        }
        Ok(Err(error)) => Err(error),
        Err(_) => Err(WireError::internal("the demo did not end within 60 s and was stopped")),
    }
}

/// With a terminal: the screens on the child's socket, its lines as notices.
async fn watch(child: &mut Child, mut lines: Lines<BufReader<ChildStdout>>, socket: PathBuf) -> Ended {
    let errors = child.stderr.take().map(|stderr| tokio::spawn(last_lines(stderr)));
    let ready = tokio::time::timeout(READY_MAX, async {
        while let Some(line) = next(&mut lines).await? {
            if let Some(rest) = line.strip_prefix("ready ") {
                let named = rest.split(' ').find_map(|word| word.strip_prefix("socket="));
                return Ok(Some(named.map(PathBuf::from)));
            }
        }
        Ok::<_, WireError>(None)
    });
    let socket = match ready.await {
        Ok(Ok(Some(named))) => named.unwrap_or(socket),
        Ok(Err(error)) => return Err(error),
        Ok(Ok(None)) | Err(_) => {
            stop(child).await;
            tell(errors).await;
            return Err(WireError::internal("the demo daemon did not become ready"));
        }
    };
    let (notices, inbox) = mpsc::channel(64);
    let forward = tokio::spawn(async move {
        while let Ok(Some(line)) = next(&mut lines).await {
            if notices.send(line).await.is_err() {
                break;
            }
        }
    });
    let shown = crate::app::open(&Opening::at(socket), Some(inbox)).await;
    forward.abort();
    stop(child).await;
    if shown.is_err() {
        tell(errors).await;
    }
    shown.map(|()| 0)
}

async fn next(lines: &mut Lines<BufReader<ChildStdout>>) -> Result<Option<String>, WireError> {
    lines.next_line().await.map_err(|error| WireError::internal(format!("the demo's output broke: {error}")))
}

async fn last_lines(stderr: impl AsyncRead + Unpin) -> Vec<String> {
    let mut lines = BufReader::new(stderr).lines();
    let mut kept = Vec::new();
    while let Ok(Some(line)) = lines.next_line().await {
        if kept.len() == ERRORS_KEPT {
            kept.remove(0);
        }
        kept.push(line.chars().take(500).collect());
    }
    kept
}

async fn tell(errors: Option<tokio::task::JoinHandle<Vec<String>>>) {
    let Some(errors) = errors else { return };
    if let Ok(Ok(lines)) = tokio::time::timeout(Duration::from_secs(1), errors).await {
        for line in lines {
            note(&line);
        }
    }
}

/// SIGTERM, three seconds, SIGKILL.
async fn stop(child: &mut Child) {
    let Some(pid) = child.id().and_then(|id| i32::try_from(id).ok()).and_then(rustix::process::Pid::from_raw) else {
        return;
    };
    let asked = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
    if asked.is_ok() && tokio::time::timeout(STOP_MAX, child.wait()).await.is_ok() {
        return;
    }
    // It may have ended by itself meanwhile.
    let _ = child.kill().await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_daemon_is_looked_for_under_the_name_that_fits_ones_own() {
        let dir = tempfile::tempdir().unwrap();
        let error = daemon_beside(&dir.path().join("aura")).unwrap_err();
        assert!(error.message.ends_with("/aurad"), "{error}");
        std::fs::write(dir.path().join("it-aurad"), "").unwrap();
        assert_eq!(daemon_beside(&dir.path().join("it-aura")), Ok(dir.path().join("it-aurad")));
    }

    #[test]
    fn a_place_goes_away_with_its_owner() {
        let place = Place::new().unwrap();
        let path = place.0.clone();
        assert!(path.is_dir());
        drop(place);
        assert!(!path.exists());
    }
}
