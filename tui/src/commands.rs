//! Commands of ours run from the screens: another `aura` with its output shown, never a shell.
//!
//! Invariant: bounded in time and bytes; the other process gets no terminal, so it can ask nothing and wait
//! for nothing.

use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;

use crate::target::Target;

/// Longest time for one command.
const WITHIN: Duration = Duration::from_secs(60);
/// Most output kept of each stream.
const OUTPUT_MAX: u64 = 256 * 1024;

/// A command that has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finished {
    /// The command without `aura`.
    pub line: String,
    /// Its exit code; `None` if it was stopped.
    pub code: Option<i32>,
    /// What it said, not yet safe to show.
    pub output: String,
}

/// The command for another process of this program that talks to the same daemon.
///
/// # Errors
/// This program's own file is not known.
pub fn command(target: &Target, words: &[String]) -> std::io::Result<std::process::Command> {
    let mut command = std::process::Command::new(std::env::current_exe()?);
    command.args(target.arguments()).args(words);
    if let Target::Ssh(ssh) = target {
        let quiet = if ssh.quiet { " -o BatchMode=yes" } else { "" };
        command.env("AURA_SSH", format!("{}{quiet}", ssh.program.join(" "))).env("AURA_REMOTE", &ssh.remote);
    }
    Ok(command)
}

/// Runs a command to its end.
pub async fn run(target: &Target, words: Vec<String>) -> Finished {
    let line = words.iter().map(|word| crate::target::quoted(word)).collect::<Vec<_>>().join(" ");
    let failed = |what: String| Finished { line: line.clone(), code: None, output: what };
    let command = match command(&target.quiet(), &words) {
        Ok(command) => command,
        Err(error) => return failed(format!("it did not start: {error}")),
    };
    let spawned = Command::from(command)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn();
    let mut child = match spawned {
        Ok(child) => child,
        Err(error) => return failed(format!("it did not start: {error}")),
    };
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let work = async {
        let (out, err) = tokio::join!(read(out), read(err));
        let code = child.wait().await.ok().and_then(|status| status.code());
        (code, out, err)
    };
    match tokio::time::timeout(WITHIN, work).await {
        Ok((code, out, err)) => {
            let between = if out.is_empty() || err.is_empty() || out.ends_with('\n') { "" } else { "\n" };
            Finished { line, code, output: format!("{out}{between}{err}") }
        }
        Err(_) => failed(format!("it did not end within {} s and was stopped", WITHIN.as_secs())),
    }
}

async fn read(stream: Option<impl AsyncRead + Unpin>) -> String {
    let Some(mut stream) = stream else { return String::new() };
    let mut bytes = Vec::new();
    let mut kept = (&mut stream).take(OUTPUT_MAX);
    if kept.read_to_end(&mut bytes).await.is_err() {
        return "its output cannot be read".to_owned();
    }
    // What is too much is read and thrown away, so that the command can end.
    let more = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await.unwrap_or(0);
    let mut text = String::from_utf8_lossy(&bytes).into_owned();
    if more > 0 {
        text.push_str(&format!("\n… {more} bytes more …\n"));
    }
    text
}
