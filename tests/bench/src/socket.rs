//! A client of the daemon's socket: asks for lists, watches, or stops reading.
//!
//! The one invariant: it speaks the same protocol as `aura`. A *deaf* client asks like any other and takes no
//! byte of the answers, as a terminal that somebody has stopped.

use std::io::Result as IoResult;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow};
use aura_protocol::rpc::{AuraClient, Call, Codec, HelloRequest, RunQuery, framing};
use aura_protocol::version::{BUILD, PROTOCOL};
use aura_protocol::watch::{BYTES_MAX, Subscription, WatchReply, WatchRequest};
use aura_protocol::{RequestId, TenantId};
use tarpc::tokio_util::codec::Framed;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::UnixStream;

/// Longest wait for one answer.
const PATIENCE: Duration = Duration::from_secs(40);

/// A connected client.
#[derive(Clone, Debug)]
pub struct Client {
    rpc: AuraClient,
    deaf: Arc<AtomicBool>,
}

impl Client {
    /// Connects and shakes hands.
    ///
    /// # Errors
    /// No daemon, or one of another protocol.
    pub async fn connect(socket: &Path) -> Result<Self> {
        let deaf = Arc::new(AtomicBool::new(false));
        let stream = UnixStream::connect(socket).await.with_context(|| format!("no daemon at {}", socket.display()))?;
        let transport =
            tarpc::serde_transport::new(Framed::new(Ear { stream, deaf: Arc::clone(&deaf) }, framing()), Codec);
        let rpc = AuraClient::new(tarpc::client::Config::default(), transport).spawn();
        let client = Self { rpc, deaf };
        let hello = HelloRequest { protocol: PROTOCOL, build: BUILD.to_owned() };
        let (context, call) = call();
        client.rpc.hello(context, call, hello).await?.map_err(|error| anyhow!("{error}"))?;
        Ok(client)
    }

    /// From now on no byte is read.
    pub fn stop_reading(&self) {
        self.deaf.store(true, Ordering::Relaxed);
    }

    /// The newest runs.
    ///
    /// # Errors
    /// What the daemon says.
    pub async fn list(&self, limit: u32) -> Result<usize> {
        let (context, call) = call();
        let query = RunQuery { limit, ..RunQuery::default() };
        Ok(self.rpc.run_list(context, call, query).await?.map_err(|error| anyhow!("{error}"))?.len())
    }

    /// One long poll for everything that `aura tail` shows.
    ///
    /// # Errors
    /// What the daemon says.
    pub async fn watch(&self, cursor: Option<u64>, wait: Duration) -> Result<WatchReply> {
        let (context, call) = call();
        let request = WatchRequest {
            subscriptions: vec![Subscription::Runs, Subscription::Events],
            cursor,
            max_items: 1000,
            max_bytes: BYTES_MAX,
            wait_ms: u32::try_from(wait.as_millis()).unwrap_or(u32::MAX),
        };
        self.rpc.watch(context, call, request).await?.map_err(|error| anyhow!("{error}"))
    }
}

fn call() -> (tarpc::context::Context, Call) {
    let mut context = tarpc::context::current();
    context.deadline = Instant::now() + PATIENCE;
    (context, Call { tenant: TenantId::DEFAULT, actor: "bench".to_owned(), request: RequestId::now() })
}

/// A stream that can stop reading.
struct Ear {
    stream: UnixStream,
    deaf: Arc<AtomicBool>,
}

impl AsyncRead for Ear {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<IoResult<()>> {
        if self.deaf.load(Ordering::Relaxed) {
            return Poll::Pending;
        }
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Ear {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<IoResult<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<IoResult<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<IoResult<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
