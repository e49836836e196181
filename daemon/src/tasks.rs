//! Tasks and their end: one tree of tokens, one tracker, a fixed order of shutdown.
//!
//! Order: stop listening, end long polls, let accepted work finish, drain the engine, close the store.
//! What does not end within the grace is named in the log; it resumes at the next start.

use std::future::Future;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Tokens and tracker of one daemon. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Tasks {
    tracker: TaskTracker,
    /// Cancelled first: nobody new is let in, idle connections end.
    pub closing: CancellationToken,
    /// Cancelled when the grace is over: what is left ends at its next await.
    pub ended: CancellationToken,
}

impl Tasks {
    /// Starts a tracked task.
    pub fn spawn<F>(&self, task: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.tracker.spawn(task)
    }

    /// Runs work to its end even if the one who waits for it goes away.
    ///
    /// # Errors
    /// The work panicked (logged by the runtime) or the daemon ends.
    pub async fn detached<F>(&self, work: F) -> Result<F::Output, tokio::task::JoinError>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.tracker.spawn(work).await
    }

    /// Stops letting anybody in and waits for what is at work, at most `grace`.
    pub async fn close(&self, grace: Duration) {
        self.closing.cancel();
        self.tracker.close();
        if tokio::time::timeout(grace, self.tracker.wait()).await.is_err() {
            tracing::warn!(tasks = self.tracker.len(), "not everything ended within the grace");
        }
        self.ended.cancel();
        let _ = tokio::time::timeout(Duration::from_secs(1), self.tracker.wait()).await;
    }
}

/// What the system may ask of a daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM or SIGINT: end.
    End(&'static str),
    /// SIGHUP: read the settings again.
    Reload,
}

/// The signals of this process; none of them ends it by itself any more.
#[derive(Debug)]
pub struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
    hangup: tokio::signal::unix::Signal,
}

impl Signals {
    /// Takes the signals over; must run within the runtime.
    ///
    /// # Errors
    /// The system refuses signal handlers.
    pub fn new() -> Result<Self, crate::stop::Stop> {
        use tokio::signal::unix::{SignalKind, signal};
        let take = |kind: SignalKind| {
            signal(kind).map_err(|error| crate::stop::Stop::System(format!("no signal handler: {error}")))
        };
        Ok(Self {
            terminate: take(SignalKind::terminate())?,
            interrupt: take(SignalKind::interrupt())?,
            hangup: take(SignalKind::hangup())?,
        })
    }

    /// The next one.
    pub async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.terminate.recv() => Signal::End("SIGTERM"),
            _ = self.interrupt.recv() => Signal::End("SIGINT"),
            _ = self.hangup.recv() => Signal::Reload,
        }
    }
}

/// Waits for SIGTERM or SIGINT and says which.
///
/// # Errors
/// The system refuses signal handlers.
pub async fn asked_to_end() -> std::io::Result<&'static str> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    })
}
