//! The protocol over the standard streams of a program: `ssh`, or what a test puts in its place.
//!
//! Both sides skip what a login shell prints before [`HELLO`], so a chatty profile breaks nothing. What the
//! program says on its standard error becomes the sentence of a failed connection.

use std::collections::VecDeque;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aura_protocol::text::display;
use aura_protocol::{Code, WireError};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::target::Ssh;

/// The line after which the protocol begins.
pub const HELLO: &str = "AURA-STDIO 1\n";
/// Most bytes before it.
const NOISE_MAX: usize = 64 * 1024;
/// Lines of standard error that are kept.
const SAID_MAX: usize = 8;
/// A person may have to type a password or to accept a host.
const ASKED_MAX: Duration = Duration::from_secs(180);
/// Nobody is asked.
const QUIET_MAX: Duration = Duration::from_secs(20);

/// A running program; it ends with this.
pub struct Tunnel {
    address: String,
    child: Child,
    said: Arc<Mutex<VecDeque<String>>>,
}

/// Its streams.
pub type Streams = tokio::io::Join<BufReader<ChildStdout>, ChildStdin>;

impl Tunnel {
    /// Starts the program and waits for its first line.
    ///
    /// # Errors
    /// `Unreachable` with what the program said.
    pub async fn open(ssh: &Ssh) -> Result<(Self, Streams), WireError> {
        let words = ssh.command();
        let (program, arguments) = words.split_first().ok_or_else(|| WireError::internal("no program for ssh"))?;
        let mut child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| {
                WireError::new(Code::Unreachable, format!("{} did not start: {error}", display(program)))
                    .hint("install OpenSSH's client, or name a program in AURA_SSH")
            })?;
        let (Some(input), Some(output), Some(errors)) = (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(WireError::internal("the program for ssh has no streams"));
        };
        let said = Arc::new(Mutex::new(VecDeque::new()));
        tokio::spawn(listen(errors, Arc::clone(&said)));
        let mut tunnel = Self { address: ssh.address(), child, said };
        let mut output = BufReader::new(output);
        let limit = if ssh.quiet { QUIET_MAX } else { ASKED_MAX };
        match tokio::time::timeout(limit, skip_noise(&mut output)).await {
            Ok(Ok(())) => Ok((tunnel, tokio::io::join(output, input))),
            Ok(Err(noise)) => Err(tunnel.failed(&noise).await),
            Err(_) => Err(tunnel.failed(&format!("no answer within {} s", limit.as_secs())).await),
        }
    }

    /// Why the other side is not there, from the program's last words and its end.
    pub async fn failed(&mut self, noise: &str) -> WireError {
        let ended = tokio::time::timeout(Duration::from_secs(1), self.child.wait()).await;
        // Its last line may still be on its way.
        tokio::task::yield_now().await;
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let said: Vec<String> = said.iter().map(|line| display(line)).filter(|line| !line.trim().is_empty()).collect();
        let code = match &ended {
            Ok(Ok(status)) => status.code(),
            _ => None,
        };
        let words = said.join("; ");
        let words = if words.is_empty() { display(noise) } else { words };
        let hint = match code {
            Some(127) => "aura is not installed there, or not in the path: name it with `program` of the context",
            Some(255) => "try the same with `ssh` alone: name, key, network or host key are refused there",
            _ => "see whether `aura status` works on that machine",
        };
        let how = code.map_or(String::new(), |code| format!(" (code {code})"));
        WireError::new(Code::Unreachable, format!("no aurad at hand over {}{how}: {words}", self.address)).hint(hint)
    }
}

async fn listen(errors: impl AsyncRead + Unpin, said: Arc<Mutex<VecDeque<String>>>) {
    let mut lines = BufReader::new(errors.take(1024 * 1024)).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let line: String = line.chars().take(400).collect();
        let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
        if said.len() >= SAID_MAX {
            said.pop_front();
        }
        said.push_back(line);
    }
}

/// Reads up to the line that begins the protocol; otherwise what came in its place.
async fn skip_noise(output: &mut (impl AsyncBufReadExt + Unpin)) -> Result<(), String> {
    let mut seen = 0;
    let mut first = String::new();
    loop {
        let mut line = Vec::new();
        let room = u64::try_from(NOISE_MAX - seen).unwrap_or(0);
        let count = output.take(room).read_until(b'\n', &mut line).await.map_err(|error| error.to_string())?;
        if line == HELLO.as_bytes() {
            return Ok(());
        }
        if count == 0 {
            let what =
                if first.is_empty() { "it ended without a word".to_owned() } else { format!("it said: {first}") };
            return Err(what);
        }
        seen += count;
        if first.is_empty() {
            first = String::from_utf8_lossy(&line).trim().chars().take(200).collect();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_a_login_shell_prints_is_skipped_and_not_the_frames() {
        let check = async |text: &str, expected: Result<&str, &str>| {
            let mut input = BufReader::new(text.as_bytes());
            let mut rest = String::new();
            let seen = skip_noise(&mut input).await;
            if seen.is_ok() {
                input.read_to_string(&mut rest).await.unwrap();
            }
            assert_eq!(
                seen.map(|()| rest.as_str()).map_err(|why| why.clone()),
                expected.map_err(str::to_owned),
                "{text}"
            );
        };
        check("AURA-STDIO 1\nframe", Ok("frame")).await;
        check("Welcome!\nlast login\nAURA-STDIO 1\n", Ok("")).await;
        check("", Err("it ended without a word")).await;
        check("This account is locked.\n", Err("it said: This account is locked.")).await;
        check(&"x".repeat(100_000), Err(&format!("it said: {}", "x".repeat(200)))).await;
    }
}
