//! The rpc side: a Unix socket for `aura`, one file per resource.
//!
//! The role of every method stands in the protocol's table and is checked before anything here runs. A call
//! that changes something runs in a task of its own: a client that goes away does not cancel it.

pub mod activity;
pub mod bin;
pub mod cut;
pub mod deletion;
pub mod deliveries;
pub mod events;
pub mod export;
pub mod eyes;
pub mod feed;
pub mod flows;
pub mod frames;
pub mod handler;
pub mod hook_doctor;
pub mod hooks;
pub mod listens;
pub mod outgoing;
pub mod peer;
pub mod redeliver;
pub mod refs;
pub mod relays;
pub mod replays;
pub mod runs;
pub mod sample;
pub mod schedules;
pub mod search;
pub mod socket;
pub mod sources;
pub mod status;
pub mod trials;
pub mod tries;
pub mod versions;
pub mod watch;

#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use aura_protocol::{Code, WireError};
use aura_storage::Store;
use tokio::sync::watch as channel;

use crate::accounts::Accounts;
use crate::catalog::Catalog;
use crate::clock::Clock;
use crate::engine::Engine;
use crate::http::Door;
use crate::http::listen::Listeners;
use crate::reached::Reached;
use crate::relay::home::Home;
use crate::room::Room;
use crate::tasks::Tasks;
use crate::tunnel::Tunnel;
use crate::upkeep::Upkeep;

/// What all calls share.
#[derive(Clone)]
pub struct Service(Arc<Shared>);

/// The services behind the socket and what `aura status` says.
pub struct Shared {
    /// The store.
    pub store: Store,
    /// Flows and connections.
    pub catalog: Catalog,
    /// Runs.
    pub engine: Engine,
    /// Time.
    pub clock: Clock,
    /// Tasks that must not end with their client.
    pub tasks: Tasks,
    /// Who may use the socket.
    pub accounts: Accounts,
    /// Name of this daemon on screen.
    pub profile: String,
    /// Address of the door.
    pub listen: String,
    /// How providers reach the door.
    pub reached: Reached,
    /// What brings them there, if the daemon keeps it.
    pub tunnel: Option<Tunnel>,
    /// Data directory.
    pub data_dir: PathBuf,
    /// The socket.
    pub socket: PathBuf,
    /// Master key file; empty for a key that lives only in memory.
    pub key_file: PathBuf,
    /// When it started.
    pub started: Instant,
    /// Room on the disk and in the quota.
    pub room: Room,
    /// Bytes that may be stored; 0: any number.
    pub quota: u64,
    /// Who listens for test events.
    pub listeners: Listeners,
    /// The door, for what is delivered again.
    pub door: Door,
    /// Links to relays.
    pub relays: Home,
    /// Long work on the store.
    pub upkeep: Upkeep,
    /// Number of `watch` calls so far.
    pub watched: channel::Sender<u64>,
    /// Turns of watchers.
    pub pace: watch::Pace,
    /// The settings as people see them.
    pub settings: aura_protocol::rpc::Settings,
}

impl std::ops::Deref for Service {
    type Target = Shared;
    fn deref(&self) -> &Shared {
        &self.0
    }
}

impl Service {
    /// The service over its parts.
    #[must_use]
    pub fn new(shared: Shared) -> Self {
        Self(Arc::new(shared))
    }

    /// Reads from the store without holding up the runtime.
    ///
    /// # Errors
    /// What the reading says.
    pub async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Shared) -> Result<T, WireError> + Send + 'static,
    ) -> Result<T, WireError> {
        let service = self.clone();
        tokio::task::spawn_blocking(move || read(&service)).await.unwrap_or_else(|error| Err(broken(&error)))
    }

    /// Runs a change to its end, whatever becomes of the client.
    ///
    /// # Errors
    /// What the change says.
    pub async fn change<T: Send + 'static>(
        &self,
        change: impl Future<Output = Result<T, WireError>> + Send + 'static,
    ) -> Result<T, WireError> {
        if self.tasks.closing.is_cancelled() {
            return Err(WireError::new(Code::Busy, "the daemon is ending").hint("try again when it is back"));
        }
        self.tasks.detached(change).await.unwrap_or_else(|error| Err(broken(&error)))
    }
}

fn broken(error: &tokio::task::JoinError) -> WireError {
    tracing::error!(%error, "a call ended by a fault");
    WireError::internal("the call ended by a fault of the daemon; its log says more")
}
