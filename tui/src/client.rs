//! The connection to a daemon: socket or ssh, handshake, calls that survive a lost link.
//!
//! The only file that knows tarpc. Invariant: one question of a person has one request id, however often
//! it is sent, so a repeat after a lost link is answered and not redone.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use aura_protocol::rpc::{AuraClient, Call, Codec, HelloReply, HelloRequest, framing};
use aura_protocol::version::{BUILD, PROTOCOL};
use aura_protocol::{Code, RequestId, TenantId, WireError};
use tarpc::client::RpcError;
use tarpc::context::Context;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::UnixStream;
use tokio_util::codec::Framed;

use crate::ssh::Tunnel;
use crate::target::Target;

/// How long one answer may take, unless the call itself waits.
pub const ANSWER_MAX: Duration = Duration::from_secs(20);
/// How long a command tries to reach a daemon that it had reached before.
const RELINK_MAX: Duration = Duration::from_secs(10);

/// A daemon that shook hands.
#[derive(Clone)]
pub struct Client {
    rpc: AuraClient,
    /// What it said about itself.
    pub hello: HelloReply,
    /// What carries the link; it ends with the last of its clients.
    _tunnel: Option<Arc<Tunnel>>,
}

impl Client {
    /// Connects and shakes hands.
    ///
    /// # Errors
    /// `Unreachable` if nobody listens, `Forbidden` if the socket may not be opened, `Protocol` if the two
    /// sides speak different numbers (the sentence says which is older).
    pub async fn connect(target: &Target) -> Result<Self, WireError> {
        let socket = match target {
            Target::Socket(socket) => socket,
            Target::Ssh(ssh) => {
                let (mut tunnel, streams) = Tunnel::open(ssh).await?;
                return match shake(streams).await? {
                    Some((rpc, hello)) => Ok(Self { rpc, hello, _tunnel: Some(Arc::new(tunnel)) }),
                    None => Err(tunnel.failed("the handshake was not answered").await),
                };
            }
        };
        let stream = match tokio::time::timeout(Duration::from_secs(5), UnixStream::connect(socket)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(no_stream(socket, &error)),
            Err(_) => return Err(unreachable(socket, "does not accept connections")),
        };
        match shake(stream).await? {
            Some((rpc, hello)) => Ok(Self { rpc, hello, _tunnel: None }),
            None => Err(unreachable(socket, "took the connection but did not answer the handshake")),
        }
    }
}

/// The handshake; nothing if the other side does not answer it.
async fn shake(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
) -> Result<Option<(AuraClient, HelloReply)>, WireError> {
    let transport = tarpc::serde_transport::new(Framed::new(stream, framing()), Codec);
    let rpc = AuraClient::new(tarpc::client::Config::default(), transport).spawn();
    let request = HelloRequest { protocol: PROTOCOL, build: BUILD.to_owned() };
    let hello = match rpc.hello(context(Duration::from_secs(10)), new_call(), request).await {
        Ok(answer) => answer?,
        Err(_) => return Ok(None),
    };
    compare(PROTOCOL, &hello)?;
    Ok(Some((rpc, hello)))
}

/// Refuses a daemon of another protocol with a sentence that names the older side.
///
/// # Errors
/// `Protocol`, unless the numbers are equal.
pub fn compare(ours: u32, hello: &HelloReply) -> Result<(), WireError> {
    let theirs = hello.protocol;
    if ours == theirs {
        return Ok(());
    }
    let build = aura_protocol::text::display(&hello.build);
    let sentence = format!("aura {BUILD} speaks protocol {ours} and aurad {build} speaks protocol {theirs}");
    let (older, hint) = if ours < theirs {
        ("aura is older", "update aura, or use the one that was installed with this aurad")
    } else {
        ("aurad is older", "restart aurad after its update, or use the aura that was installed with it")
    };
    Err(WireError::new(Code::Protocol, format!("{sentence}: {older}")).hint(hint))
}

/// Why a socket cannot be opened, as a person hears it.
#[must_use]
pub fn no_stream(socket: &Path, error: &std::io::Error) -> WireError {
    match error.kind() {
        std::io::ErrorKind::NotFound => unreachable(socket, "is not there"),
        std::io::ErrorKind::ConnectionRefused => unreachable(socket, "is left over: nobody listens behind it"),
        std::io::ErrorKind::PermissionDenied => {
            WireError::new(Code::Forbidden, format!("you may not open the socket {}", socket.display())).hint(
                "aurad serves its own user and root: run aura as one of them, or name your own aurad with --socket",
            )
        }
        _ => unreachable(socket, &format!("cannot be opened: {error}")),
    }
}

fn unreachable(socket: &Path, what: &str) -> WireError {
    WireError::new(Code::Unreachable, format!("no aurad at hand: the socket {} {what}", socket.display()))
        .hint("start `aurad`, name another socket with --socket, or look around with `aura demo`")
}

/// A context whose deadline lies this far ahead.
#[must_use]
pub fn context(within: Duration) -> Context {
    let mut context = tarpc::context::current();
    context.deadline = Instant::now() + within;
    context
}

/// A call with a new request id.
#[must_use]
pub fn new_call() -> Call {
    let actor = std::env::var("USER").unwrap_or_else(|_| "unknown".to_owned());
    Call { tenant: TenantId::DEFAULT, actor, request: RequestId::now() }
}

/// One answer, or how the way to it failed.
pub type Answer<T> = Result<Result<T, WireError>, RpcError>;

/// A failed way is either lost (connect again, repeat) or an answer of its own.
///
/// # Errors
/// The error that a person should see, if repeating cannot help.
pub fn lost<T>(answer: Answer<T>) -> Result<Option<T>, WireError> {
    match answer {
        Ok(Ok(reply)) => Ok(Some(reply)),
        Ok(Err(error)) => Err(error),
        Err(RpcError::DeadlineExceeded) => {
            let mut error = WireError::new(Code::Busy, "aurad did not answer in time");
            // A command given anew is a new question: it is not known whether this one was done.
            error.retryable = false;
            let look = "it may have been done all the same: look first (`aura run list`, `aura status`), then decide";
            error.hint = Some(look.to_owned());
            Err(error)
        }
        Err(RpcError::Server(error)) => Err(WireError::new(Code::Busy, format!("aurad gave up on the call: {error}"))),
        Err(_) => Ok(None),
    }
}

/// What a command talks through: connects at the first call and again when the link is lost.
pub struct Session {
    target: Target,
    client: Option<Client>,
}

impl Session {
    /// Nothing is opened yet.
    #[must_use]
    pub fn new(target: impl Into<Target>) -> Self {
        Self { target: target.into(), client: None }
    }

    /// The daemon, connected if need be.
    ///
    /// # Errors
    /// As [`Client::connect`].
    pub async fn client(&mut self) -> Result<&Client, WireError> {
        let client = match self.client.take() {
            Some(client) => client,
            None => Client::connect(&self.target).await?,
        };
        Ok(self.client.insert(client))
    }

    /// One call over the link that is there or can be made now; `None`: it was lost meanwhile.
    ///
    /// # Errors
    /// What the daemon answers, or why there is no link.
    pub async fn call_once<T, F>(
        &mut self,
        within: Duration,
        ask: impl FnOnce(AuraClient, Context, Call) -> F,
    ) -> Result<Option<T>, WireError>
    where
        F: Future<Output = Answer<T>>,
    {
        let rpc = self.client().await?.rpc.clone();
        let reply = lost(ask(rpc, context(within), new_call()).await);
        // A link that does not answer in time is none.
        if !matches!(&reply, Ok(Some(_))) && !matches!(&reply, Err(error) if error.code != Code::Busy) {
            self.client = None;
        }
        reply
    }

    /// One call; repeated with the same request id if the link is lost meanwhile.
    ///
    /// # Errors
    /// What the daemon answers, or `Unreachable` after ten seconds without a link.
    pub async fn call<T, F>(&mut self, ask: impl Fn(AuraClient, Context, Call) -> F) -> Result<T, WireError>
    where
        F: Future<Output = Answer<T>>,
    {
        self.call_for(ANSWER_MAX, ask).await
    }

    /// As [`Self::call`] with an own limit for the answer (a long poll waits by itself).
    ///
    /// # Errors
    /// As [`Self::call`].
    pub async fn call_for<T, F>(
        &mut self,
        within: Duration,
        ask: impl Fn(AuraClient, Context, Call) -> F,
    ) -> Result<T, WireError>
    where
        F: Future<Output = Answer<T>>,
    {
        let call = new_call();
        let mut rpc = self.client().await?.rpc.clone();
        let mut lost_at: Option<Instant> = None;
        let mut pause = Duration::from_millis(50);
        loop {
            if let Some(reply) = lost(ask(rpc.clone(), context(within), call.clone()).await)? {
                return Ok(reply);
            }
            self.client = None;
            let since = *lost_at.get_or_insert_with(Instant::now);
            rpc = loop {
                match self.client().await {
                    Ok(client) => break client.rpc.clone(),
                    Err(error) if error.code != Code::Unreachable || since.elapsed() > RELINK_MAX => return Err(error),
                    Err(_) => tokio::time::sleep(pause).await,
                }
                pause = (pause * 2).min(Duration::from_secs(1));
            };
            if since.elapsed() > RELINK_MAX {
                let sentence = format!("no aurad at hand: {} keeps closing the connection", self.target);
                return Err(WireError::new(Code::Unreachable, sentence).hint("see `aurad`'s log"));
            }
        }
    }
}

/// The rpc client of a connection, for the link of the screens.
#[must_use]
pub fn rpc(client: &Client) -> AuraClient {
    client.rpc.clone()
}

/// Where a daemon may listen: `$AURA_SOCKET` was given before, then the user's, then the system's.
#[must_use]
pub fn socket_path(given: Option<PathBuf>, runtime_dir: Option<PathBuf>, exists: impl Fn(&Path) -> bool) -> PathBuf {
    let system = PathBuf::from("/run/aura/aurad.sock");
    let user = runtime_dir.filter(|dir| dir.is_absolute()).map(|dir| dir.join("aura/aurad.sock"));
    match (given, user) {
        (Some(path), _) => path,
        (None, Some(path)) if exists(&path) || !exists(&system) => path,
        _ => system,
    }
}

#[cfg(test)]
mod tests {
    use aura_protocol::rpc::Role;

    use super::*;

    fn hello(protocol: u32) -> HelloReply {
        HelloReply {
            protocol,
            build: "9.9.9".into(),
            capabilities: Vec::new(),
            account: "maria".into(),
            role: Role::Owner,
        }
    }

    #[test]
    fn the_sentence_names_the_older_side() {
        assert!(compare(1, &hello(1)).is_ok());
        let error = compare(1, &hello(2)).unwrap_err();
        assert!(error.message.ends_with("aura is older") && error.code == Code::Protocol, "{error}");
        let error = compare(3, &hello(2)).unwrap_err();
        assert!(error.message.ends_with("aurad is older"), "{error}");
    }

    #[test]
    fn a_given_socket_wins_and_a_relative_runtime_directory_is_ignored() {
        let with = |there: &'static str, given: Option<&str>, dir: Option<&str>, expected: &str| {
            let found = socket_path(given.map(Into::into), dir.map(Into::into), |path| path == Path::new(there));
            assert_eq!(found, PathBuf::from(expected), "{there} is there");
        };
        let check = |given: Option<&str>, dir: Option<&str>, expected: &str| with("", given, dir, expected);
        with("/run/aura/aurad.sock", None, Some("/run/user/1"), "/run/aura/aurad.sock");
        with("/run/user/1/aura/aurad.sock", None, Some("/run/user/1"), "/run/user/1/aura/aurad.sock");
        check(Some("/tmp/x.sock"), Some("/run/user/1"), "/tmp/x.sock");
        check(None, Some("/run/user/1"), "/run/user/1/aura/aurad.sock");
        check(None, Some("relative"), "/run/aura/aurad.sock");
        check(None, None, "/run/aura/aurad.sock");
    }

    #[test]
    fn a_question_without_an_answer_is_not_called_repeatable() {
        let error = lost::<()>(Err(RpcError::DeadlineExceeded)).unwrap_err();
        assert!(!error.retryable && error.hint.as_deref().unwrap().contains("aura run list"), "{error:?}");
    }

    #[tokio::test]
    async fn a_daemon_that_is_away_is_one_sentence_and_a_way_out() {
        let error = Client::connect(&PathBuf::from("/nonexistent/aurad.sock").into()).await.err().unwrap();
        assert_eq!(error.code, Code::Unreachable);
        assert!(error.message.contains("/nonexistent/aurad.sock") && error.hint.is_some(), "{error:?}");
    }
}
