//! The accept loop: connections within their caps, heads within their time, and a clean end.
//!
//! `axum::serve` sets no timer, so a slow head would hold its connection for ever; here hyper gets one, and
//! it also counts for a connection that was opened or kept open and sends nothing.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use crate::http::Limits;
use crate::http::io::PatientWrite;
use crate::http::limits::Sources;
use crate::tasks::Tasks;

/// Most headers of a request.
pub const HEADERS_MAX: usize = 100;
/// Largest head in bytes.
pub const HEAD_MAX: usize = 16 * 1024;
/// A sender that takes no byte of its answer this long is dropped.
const WRITE_PATIENCE: Duration = Duration::from_secs(30);

/// Accepts until the daemon closes, then lets requests at work finish.
pub async fn run(listener: TcpListener, router: Router, limits: &Limits, tasks: &Tasks) {
    let places = Arc::new(Semaphore::new(limits.connections_max));
    let sources = Sources::new(limits.per_source_max, limits.count_loopback);
    let builder = builder(limits);
    let mut pause = Duration::from_millis(5);
    loop {
        let place = tokio::select! {
            () = tasks.closing.cancelled() => return,
            place = Arc::clone(&places).acquire_owned() => place,
        };
        let Ok(place) = place else { return };
        let accepted = tokio::select! {
            () = tasks.closing.cancelled() => return,
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
        let Some(of_source) = sources.enter(peer.ip()) else {
            tracing::debug!(%peer, "too many connections of one source");
            continue;
        };
        let (builder, router, tokens) = (builder.clone(), router.clone(), tasks.clone());
        tasks.spawn(async move {
            serve(stream, peer, &builder, router, &tokens).await;
            drop((place, of_source));
        });
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

async fn serve(stream: TcpStream, peer: SocketAddr, builder: &http1::Builder, router: Router, tasks: &Tasks) {
    let _ = stream.set_nodelay(true);
    let io = TokioIo::new(PatientWrite::new(stream, WRITE_PATIENCE));
    let connection = builder.serve_connection(io, TowerToHyperService::new(router));
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
                connection.as_mut().graceful_shutdown();
            }
            () = tasks.ended.cancelled() => return,
        }
    }
}
