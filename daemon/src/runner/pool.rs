//! Warm runners: a script gets one that waits, or a new one; a full pool lets it wait, and never fails it.
//!
//! The one invariant: a runner that did not answer in time, or not as it should, is never used again. Runners are ended
//! after [`JOBS_MAX`] jobs, and when they were idle for [`IDLE`].

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::process::{Child, Command};
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};

use super::wire::{ANSWER_MAX, Answer, Job, READY};

/// Jobs of one runner; what an engine leaks ends with its process.
pub const JOBS_MAX: u32 = 1_000;
/// A runner without work ends after this time.
pub const IDLE: Duration = Duration::from_secs(300);
/// A runner starts within this time.
pub const START: Duration = Duration::from_secs(10);
/// Beyond the time of a script; by then the runner has ended itself.
pub const LATE: Duration = Duration::from_secs(2);

/// Where runners come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The daemon starts them.
    Own,
    /// Each connection to this socket is one (a unit of systemd).
    Socket(PathBuf),
}

/// Why a script was not run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PoolError {
    /// There are no runners on this machine.
    #[error("scripts cannot run here: {0}")]
    Off(String),
    /// The runner ended under the script.
    #[error("the runner ended while the script ran: {0}")]
    Broken(String),
}

/// The runners of a daemon.
#[derive(Clone, Debug)]
pub struct Pool(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    source: Source,
    places: Arc<Semaphore>,
    idle: Mutex<Idle>,
}

#[derive(Debug, Default)]
struct Idle {
    runners: Vec<Runner>,
    /// Somebody will look for those that are idle too long.
    swept: bool,
}

#[derive(Debug)]
struct Runner {
    socket: UnixStream,
    /// Ended with this value.
    _child: Option<Child>,
    jobs: u32,
    since: Instant,
}

impl Pool {
    /// So many at most.
    #[must_use]
    pub fn new(source: Source, most: usize) -> Self {
        Self(Arc::new(Inner { source, places: Arc::new(Semaphore::new(most)), idle: Mutex::default() }))
    }

    /// A place for a script, once there is one.
    ///
    /// # Errors
    /// Never: the places are never closed.
    pub async fn place(&self) -> Result<OwnedSemaphorePermit, AcquireError> {
        Arc::clone(&self.0.places).acquire_owned().await
    }

    /// Runs a script in a place of this pool.
    ///
    /// # Errors
    /// There is no runner, or it ended under the script.
    pub async fn run(&self, job: &Job) -> Result<Answer, PoolError> {
        let waiting = self.idle().runners.pop();
        // One that waited may have ended meanwhile; a script reaches nothing, so another may begin it again.
        if let Some(runner) = waiting {
            match self.ask(runner, job).await {
                Err(PoolError::Broken(_)) => {}
                answered => return answered,
            }
        }
        let runner = self.start().await?;
        self.ask(runner, job).await
    }

    async fn ask(&self, mut runner: Runner, job: &Job) -> Result<Answer, PoolError> {
        let (begun, time) = (Instant::now(), Duration::from_millis(job.time_ms));
        let answer = match tokio::time::timeout(time + LATE, runner.ask(job)).await {
            Ok(Ok(answer)) => answer,
            // It had its time, and its runner ended itself because of it.
            Ok(Err(_)) | Err(_) if begun.elapsed() >= time => return Ok(Answer::late(job)),
            Ok(Err(error)) => return Err(PoolError::Broken(error.to_string())),
            Err(error) => return Err(PoolError::Broken(error.to_string())),
        };
        runner.jobs += 1;
        if runner.jobs < JOBS_MAX {
            self.put(runner);
        }
        Ok(answer)
    }

    fn idle(&self) -> MutexGuard<'_, Idle> {
        self.0.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, mut runner: Runner) {
        runner.since = Instant::now();
        let mut idle = self.idle();
        idle.runners.push(runner);
        if !std::mem::replace(&mut idle.swept, true) {
            let pool = Arc::downgrade(&self.0);
            tokio::spawn(async move {
                loop {
                    tokio::time::sleep(IDLE).await;
                    let Some(pool) = pool.upgrade().map(Self) else { return };
                    let mut idle = pool.idle();
                    idle.runners.retain(|runner| runner.since.elapsed() < IDLE);
                    if idle.runners.is_empty() {
                        idle.swept = false;
                        return;
                    }
                }
            });
        }
    }

    async fn start(&self) -> Result<Runner, PoolError> {
        let off = |error: &dyn std::fmt::Display| PoolError::Off(error.to_string());
        let (socket, child) = match &self.0.source {
            Source::Own => {
                let (ours, theirs) = std::os::unix::net::UnixStream::pair().map_err(|error| off(&error))?;
                ours.set_nonblocking(true).map_err(|error| off(&error))?;
                let socket = UnixStream::from_std(ours).map_err(|error| off(&error))?;
                // This very program, also if its file was replaced meanwhile. Nothing of our environment goes along.
                let child = Command::new("/proc/self/exe")
                    .arg("runner")
                    .env_clear()
                    .current_dir("/")
                    .stdin(Stdio::from(std::os::fd::OwnedFd::from(theirs)))
                    .stdout(Stdio::null())
                    .process_group(0)
                    .kill_on_drop(true)
                    .spawn()
                    .map_err(|error| off(&format!("the runner did not start: {error}")))?;
                (socket, Some(child))
            }
            Source::Socket(path) => {
                let socket = UnixStream::connect(path).await.map_err(|error| {
                    off(&format!(
                        "the runner's socket {} does not answer: {error}; see `systemctl status aurad-runner.socket`",
                        path.display()
                    ))
                })?;
                (socket, None)
            }
        };
        let mut runner = Runner { socket, _child: child, jobs: 0, since: Instant::now() };
        let mut word = [0; READY.len()];
        match tokio::time::timeout(START, runner.socket.read_exact(&mut word)).await {
            Ok(Ok(_)) if word == *READY => Ok(runner),
            Ok(Ok(_)) => Err(off(&"the runner is of another version; start it again")),
            Ok(Err(_)) => Err(off(&"the runner could not close itself in; the daemon's log says why")),
            // A machine that is busy: it is tried again.
            Err(_) => Err(PoolError::Broken("it did not start in time".to_owned())),
        }
    }
}

impl Runner {
    async fn ask(&mut self, job: &Job) -> std::io::Result<Answer> {
        let wrong = |message: String| std::io::Error::new(std::io::ErrorKind::InvalidData, message);
        self.socket.write_all(&job.to_frame()).await?;
        let length = usize::try_from(self.socket.read_u32().await?).unwrap_or(usize::MAX);
        if length > ANSWER_MAX {
            return Err(wrong(format!("its answer has {length} bytes")));
        }
        let mut frame = vec![0; length];
        self.socket.read_exact(&mut frame).await?;
        Answer::from_frame(&frame).map_err(wrong)
    }
}
