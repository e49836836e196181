//! A tunnel's program as a child: started when the door listens, read, started again when it ends, ended with us.
//!
//! Invariant: the child has nothing of our environment but what it needs to find its account, no shell stands between,
//! and it never outlives the daemon ([`child`]). What it prints is bounded and believed only as far as [`kind`] says.

pub mod child;
pub mod kind;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aura_protocol::rpc::TunnelStatus;
use aura_protocol::text::display;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use self::kind::{Kind, Line};
use crate::config::Options;
use crate::reached::Reached;
use crate::tasks::Tasks;

/// Longest line that is looked at, in bytes; the rest of it is skipped.
const LINE_MAX: usize = 8 * 1024;
/// It says its address within this time, or is started again.
const UP_WITHIN: Duration = Duration::from_secs(45);
/// Pauses before it is started again.
const PAUSES: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(60)];
/// Up for so long, its end is a new trouble and not the old one.
const STEADY: Duration = Duration::from_secs(60);
/// It may say good-bye.
const GRACE: Duration = Duration::from_secs(2);
/// Last words of a child that ended are waited for.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// A tunnel and how it is. Cheap to clone.
#[derive(Clone)]
pub struct Tunnel(Arc<Inner>);

impl std::fmt::Debug for Tunnel {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_tuple("Tunnel").field(&self.0.kind).finish()
    }
}

struct Inner {
    kind: Kind,
    program: PathBuf,
    hostname: String,
    arguments: Vec<String>,
    /// Its token in our environment, which it may print.
    token: Option<String>,
    state: Mutex<State>,
    restarts: AtomicU64,
}

#[derive(Clone, Debug)]
enum State {
    Starting,
    Up(String),
    Failing(String),
}

impl Tunnel {
    /// What the settings ask for.
    #[must_use]
    pub fn of(options: &Options) -> Option<Self> {
        let kind = Kind::read(&options.tunnel)?;
        let named = !options.tunnel_program.as_os_str().is_empty();
        Some(Self(Arc::new(Inner {
            kind,
            program: if named { options.tunnel_program.clone() } else { kind.word().into() },
            hostname: options.tunnel_hostname.clone(),
            arguments: options.tunnel_args.clone(),
            token: std::env::var(kind.token()).ok(),
            state: Mutex::new(State::Starting),
            restarts: AtomicU64::new(0),
        })))
    }

    /// How it is.
    #[must_use]
    pub fn status(&self) -> TunnelStatus {
        let state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let (word, url, why) = match state {
            State::Starting => ("starting", None, None),
            State::Up(url) => ("up", Some(url), None),
            State::Failing(why) => ("failing", None, Some(why)),
        };
        TunnelStatus {
            kind: self.0.kind.word().to_owned(),
            state: word.to_owned(),
            url,
            why,
            restarts: self.0.restarts.load(Relaxed),
        }
    }

    /// What to do if its program is not there, or fails.
    #[must_use]
    pub fn advice(&self) -> &'static str {
        self.0.kind.install()
    }

    fn set(&self, state: State) {
        *self.0.state.lock().unwrap_or_else(PoisonError::into_inner) = state;
    }

    /// Keeps it up until the daemon closes. It has a thread of its own, since the kernel ties a child to the thread that
    /// began it.
    pub fn start(self, door: SocketAddr, reached: Reached, tasks: &Tasks) {
        let (done, ended) = tokio::sync::oneshot::channel::<()>();
        let closing = tasks.closing.clone();
        let inner = self.clone();
        let thread = std::thread::Builder::new().name("tunnel".to_owned()).spawn(move || {
            match tokio::runtime::Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => runtime.block_on(inner.keep(door, &reached, &closing)),
                Err(error) => inner.set(State::Failing(format!("it cannot be watched: {error}"))),
            }
            drop(done);
        });
        match thread {
            Ok(_) => drop(tasks.spawn(async move { drop(ended.await) })),
            Err(error) => self.set(State::Failing(format!("it cannot be watched: {error}"))),
        }
    }

    async fn keep(&self, door: SocketAddr, reached: &Reached, closing: &CancellationToken) {
        let [first, longest] = PAUSES;
        let mut pause = first;
        let word = self.0.kind.word();
        loop {
            let began = Instant::now();
            let Some(why) = self.once(door, reached, closing).await else { return };
            tracing::warn!(tunnel = word, "the tunnel is down: {why}; it is started again");
            self.set(State::Failing(why));
            self.0.restarts.fetch_add(1, Relaxed);
            if began.elapsed() > STEADY {
                pause = first;
            }
            tokio::select! {
                () = closing.cancelled() => return,
                () = sleep(pause) => {}
            }
            pause = (pause * 2).min(longest);
        }
    }

    /// One life of the child: why it ended, or nothing if the daemon closes.
    async fn once(&self, door: SocketAddr, reached: &Reached, closing: &CancellationToken) -> Option<String> {
        let mut child = match self.command(door).spawn() {
            Ok(child) => child,
            Err(error) => return Some(format!("it does not start: {error}")),
        };
        let (Some(out), Some(errors)) = (child.stdout.take(), child.stderr.take()) else {
            return Some("it has no output".to_owned());
        };
        let (mut out, mut errors) = (Lines::of(out), Lines::of(errors));
        let mut heard = Heard::default();
        let late = sleep(UP_WITHIN);
        tokio::pin!(late);
        let status = loop {
            tokio::select! {
                () = closing.cancelled() => {
                    end(&mut child).await;
                    return None;
                }
                line = out.next() => self.hear(&line, &mut heard, reached),
                line = errors.next() => self.hear(&line, &mut heard, reached),
                () = &mut late, if !heard.up => {
                    end(&mut child).await;
                    let said = heard.wrong.map(|words| format!(": {words}")).unwrap_or_default();
                    return Some(format!("it said no address within {} s{said}", UP_WITHIN.as_secs()));
                }
                status = child.wait() => break status,
            }
        };
        let last = async {
            loop {
                let line = tokio::select! {
                    line = out.next() => line,
                    line = errors.next() => line,
                };
                self.hear(&line, &mut heard, reached);
            }
        };
        let _: Result<(), _> = timeout(LAST_WORDS, last).await;
        Some(self.why(status, heard.wrong))
    }

    fn why(&self, status: std::io::Result<ExitStatus>, words: Option<String>) -> String {
        if words.as_deref() == Some(child::NOT_THERE) {
            return format!("{} is not installed", display(&self.0.program.display().to_string()));
        }
        let how = match status.map(|status| status.code()) {
            Ok(Some(code)) => format!("it ended with code {code}"),
            Ok(None) => "it was killed".to_owned(),
            Err(error) => format!("its end was not seen: {error}"),
        };
        words.map_or_else(|| how.clone(), |words| format!("{how}: {words}"))
    }

    fn hear(&self, line: &[u8], heard: &mut Heard, reached: &Reached) {
        let line = kind::without_tokens(&String::from_utf8_lossy(line), self.0.token.as_deref());
        let word = self.0.kind.word();
        tracing::debug!(tunnel = word, "{}", display(line.trim_end()));
        if line.trim_end().ends_with(child::NOT_THERE) {
            heard.wrong = Some(child::NOT_THERE.to_owned());
            return;
        }
        match self.0.kind.line(line.trim_end(), &self.0.hostname) {
            Line::Up(address) => {
                heard.up = true;
                if reached.found(&address) {
                    let used = if reached.is_set() { "; `public_url` is shown in its place" } else { "" };
                    tracing::info!(tunnel = word, "the tunnel is up: {address}{used}");
                }
                self.set(State::Up(address));
            }
            Line::Wrong(words) if !heard.parting => heard.wrong = Some(words),
            Line::Parting(words) if !heard.parting => {
                heard.parting = true;
                heard.wrong = Some(words);
            }
            Line::Wrong(_) | Line::Parting(_) | Line::Other => {}
        }
    }

    fn command(&self, door: SocketAddr) -> Command {
        let reached = match door.ip() {
            any if any.is_unspecified() => SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), door.port()),
            _ => door,
        };
        let arguments = self.0.kind.arguments(&format!("http://{reached}"), &self.0.hostname, &self.0.arguments);
        // This very program ties itself to us and becomes the other one.
        let mut command = Command::new("/proc/self/exe");
        command
            .arg("tunnel")
            .arg(std::process::id().to_string())
            .arg(&self.0.program)
            .arg("--")
            .args(arguments)
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        let own = ["PATH", "HOME", "XDG_CONFIG_HOME"];
        for name in own.iter().chain(self.0.kind.variables()) {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        command
    }
}

/// What a child said so far.
#[derive(Debug, Default)]
struct Heard {
    up: bool,
    parting: bool,
    wrong: Option<String>,
}

/// Asks the child and its own children to end, then ends them.
async fn end(child: &mut Child) {
    let group = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    let tell = |signal| group.map(|group| kill_process_group(group, signal));
    // Whoever is gone already needs no signal.
    let _ = tell(Signal::TERM);
    if timeout(GRACE, child.wait()).await.is_err() {
        let _ = tell(Signal::KILL);
        let _ = child.wait().await;
    }
}

/// Lines of at most [`LINE_MAX`] bytes; after the last one it waits for ever.
struct Lines<R> {
    from: BufReader<R>,
    line: Vec<u8>,
}

impl<R: AsyncRead + Unpin> Lines<R> {
    fn of(from: R) -> Self {
        Self { from: BufReader::new(from), line: Vec::new() }
    }

    /// Nothing is lost if it is dropped while it waits.
    async fn next(&mut self) -> Vec<u8> {
        loop {
            let piece = match self.from.fill_buf().await {
                Ok(piece) if !piece.is_empty() => piece,
                _ if !self.line.is_empty() => return std::mem::take(&mut self.line),
                _ => return std::future::pending().await,
            };
            let end = piece.iter().position(|byte| *byte == b'\n');
            let upto = end.unwrap_or(piece.len());
            let room = LINE_MAX.saturating_sub(self.line.len());
            self.line.extend_from_slice(piece.get(..upto.min(room)).unwrap_or_default());
            self.from.consume(end.map_or(upto, |end| end + 1));
            if end.is_some() {
                return std::mem::take(&mut self.line);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lines_are_bounded_and_the_last_one_needs_no_end() {
        let text = format!("one\n\n{}\nlast", "x".repeat(3 * LINE_MAX));
        let mut lines = Lines::of(text.as_bytes());
        let mut seen = Vec::new();
        while let Ok(line) = timeout(Duration::from_millis(50), lines.next()).await {
            seen.push(line.len());
        }
        assert_eq!(seen, [3, 0, LINE_MAX, 4]);
    }
}
