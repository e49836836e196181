//! `aura stdio`: the local daemon's socket on standard input and output, for an `aura` at the other end of ssh.
//!
//! Invariant: after the one line that begins the protocol only the socket's bytes are written; it ends when
//! either side does.

use std::path::Path;

use aura_protocol::{Code, WireError};
use tokio::io::{AsyncWriteExt, copy};
use tokio::net::UnixStream;

use super::Ended;
use crate::client::no_stream;
use crate::ssh::HELLO;
use crate::target::Target;

/// Bridges until either side ends.
///
/// # Errors
/// There is no daemon here, or the other side went away in the middle of a frame.
pub async fn stdio(target: &Target) -> Ended {
    let Target::Socket(socket) = target else {
        return Err(WireError::new(Code::Invalid, "`aura stdio` serves a socket of its own machine")
            .hint("leave --host and --context away, or name a socket with --socket"));
    };
    bridge(socket).await
}

async fn bridge(socket: &Path) -> Ended {
    let stream = UnixStream::connect(socket).await.map_err(|error| no_stream(socket, &error))?;
    let (mut from, mut to) = stream.into_split();
    let (mut input, mut output) = (tokio::io::stdin(), tokio::io::stdout());
    let lost = |error: std::io::Error| WireError::new(Code::Unreachable, format!("the link ended: {error}"));
    output.write_all(HELLO.as_bytes()).await.map_err(lost)?;
    output.flush().await.map_err(lost)?;
    tokio::select! {
        // The other side has said all: what it asked for is of no use to anybody any more.
        ended = copy(&mut input, &mut to) => ended,
        ended = flowing(&mut from, &mut output) => ended,
    }
    .map_err(lost)?;
    Ok(0)
}

/// Copies and flushes each piece: a frame must not wait in a buffer.
async fn flowing(
    from: &mut (impl tokio::io::AsyncRead + Unpin),
    to: &mut (impl tokio::io::AsyncWrite + Unpin),
) -> std::io::Result<u64> {
    use tokio::io::AsyncReadExt;
    let mut piece = vec![0; 64 * 1024];
    let mut all = 0;
    loop {
        let count = from.read(&mut piece).await?;
        if count == 0 {
            return Ok(all);
        }
        to.write_all(piece.get(..count).unwrap_or_default()).await?;
        to.flush().await?;
        all += u64::try_from(count).unwrap_or(0);
    }
}
