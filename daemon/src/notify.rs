//! What systemd hears: ready, status, reloading, stopping, and a sign of life while the daemon really moves.
//!
//! Invariant: the watchdog is fed only after the writer answered and the engine's locks were free; a daemon that
//! hangs is restarted instead of looking well. Without systemd nothing here does anything.

use std::time::Duration;

use aura_storage::{Store, Txn};
use sd_notify::NotifyState;

use crate::engine::Engine;
use crate::tasks::Tasks;

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!(%error, "systemd could not be told");
    }
}

/// Serving; the status is what `systemctl status` shows.
pub fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// Reading the settings again; [`ready`] must follow.
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(_) => tell(&[NotifyState::Reloading]),
    }
}

/// Ending.
pub fn stopping() {
    tell(&[NotifyState::Stopping, NotifyState::Status("ending: work at hand is finished")]);
}

/// How often systemd wants a sign of life, if at all; half of what it waits.
#[must_use]
pub fn interval() -> Option<Duration> {
    sd_notify::watchdog_enabled().map(|whole| whole / 2)
}

/// A sign of life.
pub fn alive() {
    tell(&[NotifyState::Watchdog]);
}

/// Feeds the watchdog for as long as writer and engine move.
pub async fn watch(store: Store, engine: Engine, tasks: Tasks) {
    let Some(interval) = interval() else { return };
    let mut hung = false;
    loop {
        if moves(&store, &engine, interval).await {
            alive();
            hung = false;
        } else if !hung {
            hung = true;
            tracing::error!("writer or engine did not answer in time; systemd's watchdog is not fed");
        }
        tokio::select! {
            () = tasks.ended.cancelled() => return,
            () = tokio::time::sleep(interval) => {}
        }
    }
}

/// Whether writer and engine answer within a time. A refusal is an answer: a full disk is no hang.
async fn moves(store: &Store, engine: &Engine, within: Duration) -> bool {
    let engine = engine.clone();
    let both = async {
        let locks = tokio::task::spawn_blocking(move || engine.touch());
        let (_, locks) = tokio::join!(store.commit(Txn::new()), locks);
        locks.is_ok()
    };
    tokio::time::timeout(within, both).await.unwrap_or(false)
}
