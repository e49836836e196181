//! The places where the daemon is reached: the rpc socket and the door's listener, bound here or held by systemd.
//!
//! Invariant: they are taken before anything is opened, so that a second daemon changes nothing, and they outlive
//! the locked state. A socket that systemd holds is only closed here: connections wait in it for the next start.

use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;

use listenfd::ListenFd;

use crate::config::Options;
use crate::http;
use crate::rpc::socket::{self, Bound};
use crate::stop::Stop;

/// All places.
#[derive(Debug)]
pub struct Places {
    /// The rpc socket.
    pub rpc: Bound,
    /// The listener for deliveries.
    pub hooks: TcpListener,
    /// Its address.
    pub address: SocketAddr,
    /// The listener of the API and its address, if it has one.
    pub api: Option<(TcpListener, SocketAddr)>,
    /// systemd holds the listener: who comes while the daemon ends waits for the next one.
    pub held: bool,
}

/// What systemd handed over, by name (`FileDescriptorName=`): `rpc`, `hooks`, `api`.
#[derive(Debug, Default)]
struct Given {
    rpc: Option<UnixListener>,
    hooks: Option<TcpListener>,
    api: Option<TcpListener>,
}

impl Given {
    /// From `LISTEN_FDS` and `LISTEN_FDNAMES`. Without a name it is told by its kind.
    fn take() -> Result<Self, Stop> {
        let mut fds = ListenFd::from_env();
        let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut names = names.split(':');
        let mut given = Self::default();
        for number in 0..fds.len() {
            let name = names.next().unwrap_or_default();
            if let Ok(Some(unix)) = fds.take_unix_listener(number) {
                if given.rpc.replace(unix).is_some() {
                    return Err(twice("rpc", "Unix"));
                }
            } else if let Ok(Some(tcp)) = fds.take_tcp_listener(number) {
                // Without names the first one is for deliveries and the second for the API.
                let place = if name == "api" || given.hooks.is_some() { &mut given.api } else { &mut given.hooks };
                if place.replace(tcp).is_some() {
                    return Err(twice(name, "TCP"));
                }
            } else {
                let name = aura_protocol::text::display(name);
                return Err(Stop::Taken(format!(
                    "systemd handed over a socket `{name}` that is neither a TCP listener nor a Unix one; see aurad.socket"
                )));
            }
        }
        Ok(given)
    }
}

fn twice(name: &str, kind: &str) -> Stop {
    Stop::Taken(format!("systemd handed over two {kind} listeners for `{name}`; aurad.socket may have one of them"))
}

impl Places {
    /// Takes what systemd holds for this daemon, and binds what it does not.
    ///
    /// # Errors
    /// A place is taken, or what was handed over is not usable.
    pub async fn take(options: &Options) -> Result<Self, Stop> {
        let given = Given::take()?;
        let rpc = match given.rpc {
            Some(listener) => socket::given(&options.socket, listener)?,
            None => socket::bind(&options.socket)?,
        };
        let held = given.hooks.is_some();
        let hooks = match given.hooks {
            Some(listener) => listener,
            None => http::listen(&options.listen, http::Which::Door)
                .await?
                .0
                .into_std()
                .map_err(|error| unusable(&error))?,
        };
        hooks.set_nonblocking(true).map_err(|error| unusable(&error))?;
        let address = hooks.local_addr().map_err(|error| unusable(&error))?;
        let api = match (given.api, http::api_address(options)) {
            (Some(listener), _) => Some(listener),
            (None, Some(at)) => {
                Some(http::listen(&at, http::Which::Api).await?.0.into_std().map_err(|error| unusable(&error))?)
            }
            (None, None) => None,
        };
        let with_address = |listener: TcpListener| {
            listener.set_nonblocking(true)?;
            listener.local_addr().map(|address| (listener, address))
        };
        let api = api.map(with_address).transpose().map_err(|error| unusable(&error))?;
        Ok(Self { rpc, hooks, address, api, held })
    }

    /// The listener of the API, once more: for one phase of the daemon.
    ///
    /// # Errors
    /// The system has no more files.
    pub fn api(&self) -> Result<Option<(tokio::net::TcpListener, SocketAddr)>, Stop> {
        let Some((listener, address)) = &self.api else { return Ok(None) };
        let again = listener.try_clone().and_then(tokio::net::TcpListener::from_std);
        Ok(Some((again.map_err(|error| unusable(&error))?, *address)))
    }

    /// The listener for deliveries, once more: for one phase of the daemon.
    ///
    /// # Errors
    /// The system has no more files.
    pub fn hooks(&self) -> Result<tokio::net::TcpListener, Stop> {
        let again = self.hooks.try_clone().and_then(tokio::net::TcpListener::from_std);
        again.map_err(|error| unusable(&error))
    }
}

fn unusable(error: &std::io::Error) -> Stop {
    Stop::System(format!("the HTTP door's listener cannot be used: {error}"))
}
