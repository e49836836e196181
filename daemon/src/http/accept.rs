//! The accept loop: connections within their caps, heads within their time, and a clean end.
//!
//! `axum::serve` sets no timer, so a slow head would hold its connection for ever; here hyper gets one, and
//! it also counts for a connection that was opened or kept open and sends nothing.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use aura_protocol::Code;
use axum::Router;
use axum::http::HeaderValue;
use axum::http::header::{CONNECTION, TRANSFER_ENCODING};
use axum::response::Response;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use crate::http::answer::Refused;
use crate::http::io::PatientWrite;
use crate::http::limits::Sources;
use crate::http::peer::Peer;
use crate::http::{Door, Limits};
use crate::tasks::Tasks;

/// Most headers of a request.
pub const HEADERS_MAX: usize = 100;
/// Largest head in bytes.
pub const HEAD_MAX: usize = 16 * 1024;
/// A sender that takes no byte of its answer this long is dropped.
const WRITE_PATIENCE: Duration = Duration::from_secs(30);
/// Connections that are turned away at the same time while the daemon ends.
const TURNED_AWAY_MAX: usize = 64;
/// Time for one of them.
const TURNED_AWAY_WITHIN: Duration = Duration::from_secs(1);
/// While the daemon ends, a connection that was let in may still send its first request for this long.
const FIRST_REQUEST: Duration = Duration::from_secs(1);

/// Accepts until the daemon closes, then lets requests at work finish.
pub async fn run(listener: TcpListener, router: Router, door: &Door) {
    let (limits, tasks) = (&door.limits, &door.tasks);
    let places = Arc::new(Semaphore::new(limits.connections_max));
    let sources = Sources::new(limits.per_source_max, limits.count_loopback);
    let builder = builder(limits);
    let mut pause = Duration::from_millis(5);
    loop {
        let place = tokio::select! {
            () = tasks.closing.cancelled() => break,
            place = Arc::clone(&places).acquire_owned() => place,
        };
        let Ok(place) = place else { return };
        let accepted = tokio::select! {
            () = tasks.closing.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => {
                pause = Duration::from_millis(5);
                accepted
            }
            Err(error) if of_one_connection(&error) => continue,
            Err(error) => {
                // Out of files or memory: wait, do not spin.
                tracing::warn!(%error, "the HTTP door cannot accept right now");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(Duration::from_secs(1));
                continue;
            }
        };
        // A proxy brings many senders: they are counted each for itself, by what it says of them.
        let of_source =
            if door.proxies.trusts(peer.ip()) { Ok(None) } else { sources.enter(peer.ip()).map(Some).ok_or(()) };
        let Ok(of_source) = of_source else {
            door.counters.turned_away.fetch_add(1, Relaxed);
            tracing::debug!(%peer, "too many connections of one source");
            continue;
        };
        door.counters.connections.fetch_add(1, Relaxed);
        door.counters.open.fetch_add(1, Relaxed);
        let (builder, door) = (builder.clone(), door.clone());
        let service = Peered { router: router.clone(), door: door.clone(), peer: Peer(peer.ip()) };
        tasks.spawn(async move {
            serve(stream, peer, &builder, service, &door.tasks).await;
            door.counters.open.fetch_sub(1, Relaxed);
            drop((place, of_source));
        });
    }
    if limits.turn_away {
        // Not tracked: it holds nothing, and ends with the process.
        tokio::spawn(turn_away(listener));
    }
}

/// While the daemon ends: whoever comes hears that it will be back in a moment.
async fn turn_away(listener: TcpListener) {
    let places = Arc::new(Semaphore::new(TURNED_AWAY_MAX));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let Ok((mut stream, _)) = listener.accept().await else { return };
        tokio::spawn(async move {
            let said = async {
                // What was sent is read first: closing over unread bytes would take the answer back.
                let mut bytes = [0; 4096];
                let mut read = 0;
                while read < HEAD_MAX {
                    match stream.read(&mut bytes).await {
                        Ok(count) if count == bytes.len() => read += count,
                        _ => break,
                    }
                }
                stream.write_all(ending().as_bytes()).await?;
                stream.shutdown().await
            };
            let _ = tokio::time::timeout(TURNED_AWAY_WITHIN, said).await;
            drop(place);
        });
    }
}

/// What they hear, whatever they asked.
fn ending() -> String {
    let body = format!("{{\"error\":{{\"code\":\"{}\",\"message\":\"{}\"}}}}\n", Code::Busy.text(), Refused::Ending);
    format!(
        "HTTP/1.1 503 Service Unavailable\r\nretry-after: 2\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// One connection's requests: each knows its peer, is counted, and one with chunks is the last.
#[derive(Clone)]
struct Peered {
    router: Router,
    door: Door,
    peer: Peer,
}

impl hyper::service::Service<hyper::Request<hyper::body::Incoming>> for Peered {
    type Response = Response;
    type Error = std::convert::Infallible;
    type Future = std::pin::Pin<Box<dyn Future<Output = Result<Response, Self::Error>> + Send>>;

    fn call(&self, mut request: hyper::Request<hyper::body::Incoming>) -> Self::Future {
        let chunked = request.headers().contains_key(TRANSFER_ENCODING);
        request.extensions_mut().insert(self.peer);
        let answer = tower::Service::call(&mut self.router.clone(), request);
        let door = self.door.clone();
        Box::pin(async move {
            let mut response = answer.await?;
            if chunked {
                // Where a proxy in front counted the body in another way, its rest must not become a request.
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            door.counters.answered(response.status().as_u16());
            Ok(response)
        })
    }
}

fn builder(limits: &Limits) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head)
        .max_headers(HEADERS_MAX)
        .max_buf_size(HEAD_MAX)
        .half_close(false);
    // Not `pipeline_flush`: it keeps answers back while bytes are unread, so the 400 to a head that cannot be
    // read would never leave.
    builder
}

fn of_one_connection(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

async fn serve(stream: TcpStream, peer: SocketAddr, builder: &http1::Builder, service: Peered, tasks: &Tasks) {
    let _ = stream.set_nodelay(true);
    let io = PatientWrite::new(stream, WRITE_PATIENCE);
    let answered = io.answered();
    let connection = builder.serve_connection(TokioIo::new(io), service);
    tokio::pin!(connection);
    let mut closing = false;
    loop {
        tokio::select! {
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(%peer, %error, "a connection ended early");
                }
                return;
            }
            () = tasks.closing.cancelled(), if !closing => {
                closing = true;
                if answered.load(Relaxed) {
                    connection.as_mut().graceful_shutdown();
                }
            }
            // Its first request may be on the way: closing now would lose a delivery that was let in.
            () = tokio::time::sleep(FIRST_REQUEST), if closing => connection.as_mut().graceful_shutdown(),
            () = tasks.ended.cancelled() => return,
        }
    }
}
