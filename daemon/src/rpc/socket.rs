//! The Unix socket: one daemon on it, private to its user and group, at most 64 clients.
//!
//! A lock file beside it decides who may serve; a socket left over by a killed daemon is replaced, one that
//! answers never is.

use std::fs::{self, File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use aura_integrations::redact::Sink;
use aura_protocol::rpc::{Aura, Offered, framing};
use futures::StreamExt;
use tarpc::server::{BaseChannel, Channel, Config};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;

use crate::accounts::Accounts;
use crate::locked;
use crate::rpc::Service;
use crate::rpc::frames::Clean;
use crate::rpc::handler::Session;
use crate::rpc::peer::{Peer, Standing};
use crate::stop::Stop;
use crate::tasks::Tasks;

/// Most clients at a time.
pub const CLIENTS_MAX: usize = 64;
/// Most calls of one client at a time.
pub const CALLS_MAX: usize = 32;
/// A client beyond the limit hears why for this long.
const TURNED_AWAY: Duration = Duration::from_secs(5);

/// What a client is offered: the daemon, or that it is locked.
pub type Served = Offered<Session, locked::Session>;

/// A bound socket; removed when dropped.
#[derive(Debug)]
pub struct Bound {
    listener: std::os::unix::net::UnixListener,
    /// Ours to remove; `None`: systemd's.
    path: Option<PathBuf>,
    _lock: File,
}

impl Drop for Bound {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            let _ = fs::remove_file(path);
        }
    }
}

impl Bound {
    /// The listener, once more: for one phase of the daemon. Must run within the runtime.
    ///
    /// # Errors
    /// The system has no more files.
    pub fn listener(&self) -> Result<UnixListener, Stop> {
        let again = self.listener.try_clone().and_then(UnixListener::from_std);
        again.map_err(|error| Stop::System(format!("the rpc socket cannot be used: {error}")))
    }
}

/// A socket that systemd holds: only the lock beside it is taken.
///
/// # Errors
/// Another daemon serves it.
pub fn given(path: &Path, listener: std::os::unix::net::UnixListener) -> Result<Bound, Stop> {
    let fail = |why: String| Stop::Taken(format!("the socket {} cannot be served: {why}", path.display()));
    listener.set_nonblocking(true).map_err(|error| fail(error.to_string()))?;
    let lock = lock(path).map_err(fail)?;
    Ok(Bound { listener, path: None, _lock: lock })
}

/// Whoever holds the lock file beside a socket serves it.
fn lock(path: &Path) -> Result<File, String> {
    let mut lock_path = path.as_os_str().to_owned();
    lock_path.push(".lock");
    let lock = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(&lock_path)
        .map_err(|error| format!("its lock file cannot be opened: {error}"))?;
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive)
        .map_err(|_| "another aurad serves it; stop that one or choose another with `--socket`".to_owned())?;
    Ok(lock)
}

/// Takes the socket; must run within the runtime.
///
/// # Errors
/// Another daemon serves it, its directory is not usable, or something else lies there.
pub fn bind(path: &Path) -> Result<Bound, Stop> {
    let fail = |why: String| Stop::Taken(format!("the socket {} cannot be served: {why}", path.display()));
    if path.as_os_str().len() > 100 {
        return Err(fail("its path is longer than 100 bytes, choose a shorter one with `--socket`".to_owned()));
    }
    if let Some(dir) = path.parent().filter(|dir| !dir.as_os_str().is_empty()) {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o750)
            .create(dir)
            .map_err(|error| fail(format!("its directory cannot be made: {error}")))?;
    }
    let lock = lock(path).map_err(fail)?;
    clear(path).map_err(fail)?;
    let listener = std::os::unix::net::UnixListener::bind(path).map_err(|error| fail(error.to_string()))?;
    let bound = Bound { listener, path: Some(path.to_owned()), _lock: lock };
    bound.listener.set_nonblocking(true).map_err(|error| fail(error.to_string()))?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o660))
        .map_err(|error| fail(format!("its mode cannot be set: {error}")))?;
    Ok(bound)
}

/// Removes a socket that nobody serves; anything else stays.
fn clear(path: &Path) -> Result<(), String> {
    let kind = match fs::symlink_metadata(path) {
        Ok(meta) => meta.file_type(),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error.to_string()),
    };
    if !kind.is_socket() {
        return Err("something that is no socket lies there; it was left alone".to_owned());
    }
    match std::os::unix::net::UnixStream::connect(path) {
        Ok(_) => Err("another program answers on it; stop that one or choose another with `--socket`".to_owned()),
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
            tracing::info!(socket = %path.display(), "replaced a socket left over by a daemon that was killed");
            fs::remove_file(path).map_err(|error| error.to_string())
        }
        Err(error) => Err(format!("it is there but cannot be probed: {error}")),
    }
}

/// Serves clients until the daemon closes.
pub async fn serve(listener: UnixListener, service: Service) {
    let (tasks, sink) = (service.tasks.clone(), service.catalog.sink().clone());
    let accounts = service.accounts.clone();
    serve_with(listener, tasks, (sink, accounts), move |peer| {
        Offered::Open(Session { service: service.clone(), peer })
    })
    .await;
}

/// Serves clients, each with a service made for it, until the daemon closes. What they get passes the sink.
pub async fn serve_with(
    listener: UnixListener,
    tasks: Tasks,
    (sink, accounts): (Sink, Accounts),
    session: impl Fn(Peer) -> Served,
) {
    let places = Arc::new(Semaphore::new(CLIENTS_MAX));
    let spare = Arc::new(Semaphore::new(CLIENTS_MAX));
    loop {
        let accepted = tokio::select! {
            () = tasks.closing.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "the socket cannot accept right now");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let mut peer = Peer::of(&stream, &accounts);
        let (place, stay) = match Arc::clone(&places).try_acquire_owned() {
            Ok(place) if peer.standing != Standing::Stranger => (place, None),
            taken => {
                drop(taken);
                let Ok(place) = Arc::clone(&spare).try_acquire_owned() else { continue };
                if peer.standing != Standing::Stranger {
                    peer.standing = Standing::OneTooMany;
                }
                (place, Some(TURNED_AWAY))
            }
        };
        let (service, of_client, codec) = (session(peer), tasks.clone(), Clean(sink.clone()));
        tasks.spawn(async move {
            client(stream, service, codec, of_client, stay).await;
            drop(place);
        });
    }
}

async fn client(stream: UnixStream, service: Served, codec: Clean, tasks: Tasks, stay: Option<Duration>) {
    let closing = tasks.closing.clone();
    let framed = tokio_util::codec::Framed::new(stream, framing());
    let transport = tarpc::serde_transport::new(framed, codec);
    let channel = BaseChannel::new(Config { pending_response_buffer: CALLS_MAX }, transport);
    let calls = channel.max_concurrent_requests(CALLS_MAX).execute(service.serve());
    // Each call in a task of its own: a fault in one ends that call and not its neighbours.
    let all = calls.for_each_concurrent(CALLS_MAX, |call| {
        let tasks = tasks.clone();
        async move {
            let _ = tasks.detached(call).await;
        }
    });
    let end = async {
        match stay {
            Some(stay) => tokio::select! { () = tokio::time::sleep(stay) => {}, () = closing.cancelled() => {} },
            None => closing.cancelled().await,
        }
        // Answers that are on their way may still leave.
        tokio::time::sleep(Duration::from_millis(300)).await;
    };
    tokio::select! { () = all => {}, () = end => {} }
}
