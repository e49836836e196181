//! Long work on the store: one piece at a time, in the background, with news for whoever asks.
//!
//! [`Upkeep`] holds the piece at work and the one that ended last. A repeat of the call that started a piece gets
//! that piece, not another one. [`backup`], [`compact`], [`usage`] and [`scrub`] are the pieces; [`start`] is the check
//! of every start, [`offline`] what `aurad` does with a store that no daemon serves.

pub mod backup;
pub mod compact;
pub mod offline;
pub mod scrub;
pub mod start;
pub mod usage;

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use aura_protocol::run::RunState;
use aura_protocol::upkeep::{Ended, Job, JobQuery, Resumed};
use aura_protocol::{Code, RequestId, WireError};
use aura_storage::{ArchiveError, Progress};
use tokio::sync::watch;

use crate::rpc::{Service, Shared};

/// Longest wait for news.
const WAIT_MAX: Duration = Duration::from_secs(10);

struct Piece {
    job: u64,
    work: &'static str,
    request: Option<RequestId>,
    progress: Arc<Progress>,
    ended: Option<Ended>,
}

impl Piece {
    fn shown(&self) -> Job {
        Job {
            job: self.job,
            work: self.work.to_owned(),
            done: self.progress.done.load(Ordering::Relaxed),
            total: self.progress.total.load(Ordering::Relaxed),
            ended: self.ended.clone(),
        }
    }
}

/// See the module.
pub struct Upkeep {
    piece: Mutex<Option<Piece>>,
    ended: watch::Sender<u64>,
    /// What the check of this start found.
    pub at_start: start::AtStart,
}

impl Default for Upkeep {
    fn default() -> Self {
        Self { piece: Mutex::default(), ended: watch::Sender::new(0), at_start: start::AtStart::default() }
    }
}

impl Upkeep {
    fn lock(&self) -> MutexGuard<'_, Option<Piece>> {
        self.piece.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the place for a piece of work.
    fn begin(&self, work: &'static str, request: Option<RequestId>) -> Result<(Job, Option<Arc<Progress>>), WireError> {
        let mut place = self.lock();
        if let Some(piece) = place.as_ref() {
            if request.is_some() && piece.request == request {
                return Ok((piece.shown(), None));
            }
            if piece.ended.is_none() {
                let message = format!("a {} is at work on the store, and only one such thing at a time is", piece.work);
                return Err(WireError::new(Code::Conflict, message).hint("try again when it has ended"));
            }
        }
        let job = place.as_ref().map_or(1, |piece| piece.job + 1);
        let piece = Piece { job, work, request, progress: Arc::default(), ended: None };
        let (shown, progress) = (piece.shown(), Arc::clone(&piece.progress));
        *place = Some(piece);
        Ok((shown, Some(progress)))
    }

    fn end(&self, job: u64, ended: Ended) {
        if let Some(piece) = self.lock().as_mut().filter(|piece| piece.job == job) {
            piece.ended = Some(ended);
        }
        self.ended.send_replace(job);
    }

    /// Asks the piece at work to end.
    pub fn stop(&self) {
        if let Some(piece) = self.lock().as_ref() {
            piece.progress.stop.store(true, Ordering::Relaxed);
        }
    }

    fn shown(&self, job: u64) -> Result<Job, WireError> {
        let place = self.lock();
        let piece = place.as_ref().filter(|piece| piece.job == job);
        piece.map(Piece::shown).ok_or_else(|| {
            WireError::not_found("this work is not known any more").hint("`aura status` and the daemon's log say more")
        })
    }

    /// News of a piece of work: at its end, or after the wait.
    ///
    /// # Errors
    /// Another piece was begun since, or the daemon was started again.
    pub async fn news(&self, query: &JobQuery) -> Result<Job, WireError> {
        let mut ended = self.ended.subscribe();
        let wait = Duration::from_millis(u64::from(query.wait_ms)).min(WAIT_MAX);
        let shown = self.shown(query.job)?;
        if shown.ended.is_some() {
            return Ok(shown);
        }
        let _ = tokio::time::timeout(wait, ended.wait_for(|ended| *ended >= query.job)).await;
        self.shown(query.job)
    }
}

/// Starts a piece of work on a thread of its own; it ends by itself, or soon after the daemon is asked to.
fn start(
    service: &Service,
    work: &'static str,
    request: Option<RequestId>,
    piece: impl FnOnce(&Shared, &Progress) -> Result<Ended, WireError> + Send + 'static,
) -> Result<Job, WireError> {
    let (job, progress) = service.upkeep.begin(work, request)?;
    let Some(progress) = progress else { return Ok(job) };
    let (number, service) = (job.job, service.clone());
    let tasks = service.tasks.clone();
    tasks.spawn(async move {
        let began = Instant::now();
        let inner = service.clone();
        let working = tokio::task::spawn_blocking(move || piece(&inner, &progress));
        tokio::pin!(working);
        let ended = tokio::select! {
            ended = &mut working => ended,
            () = service.tasks.closing.cancelled() => {
                service.upkeep.stop();
                working.await
            }
        };
        let ended = ended.unwrap_or_else(|error| {
            tracing::error!(%error, work, "a piece of work ended by a fault");
            Err(WireError::internal("it ended by a fault of the daemon; its log says more"))
        });
        let ended = ended.unwrap_or_else(|error| {
            tracing::warn!(work, %error, "work on the store failed");
            Ended::Failed(error)
        });
        tracing::info!(work, took_ms = millis(began), "work on the store ended");
        service.upkeep.end(number, ended);
    });
    Ok(job)
}

fn millis(began: Instant) -> u64 {
    u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// What people hear of a backup that did not come to be.
fn refused(error: &ArchiveError) -> WireError {
    let code = match error {
        ArchiveError::WrongKey(_) => Code::Forbidden,
        ArchiveError::Foreign(_) | ArchiveError::Newer { .. } => Code::Invalid,
        ArchiveError::Damaged { .. } => Code::Corrupt,
        ArchiveError::Target(_) => Code::Conflict,
        ArchiveError::Stopped => Code::Busy,
        ArchiveError::Io(_) => Code::Internal,
    };
    WireError::new(code, error.to_string())
}

/// Lets a restored store go on.
///
/// # Errors
/// The store cannot be written: it stays paused.
pub async fn resume(service: &Service) -> Result<Resumed, WireError> {
    let paused = service.engine.hold().why().is_some_and(|why| why.restored_ms.is_some());
    let (mut runs, mut in_doubt) = (0, 0);
    for (state, count) in service.engine.live() {
        if state == RunState::InDoubt {
            in_doubt += count;
        } else {
            runs += count;
        }
    }
    if paused {
        let engine = service.engine.clone();
        service.change(async move { engine.go_on().await }).await?;
        tracing::info!(runs, in_doubt, "a person let the restored store go on");
    }
    Ok(Resumed { was_paused: paused, runs, in_doubt })
}
