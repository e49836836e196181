//! One keep-alive HTTP/1.1 connection that costs as little as possible: driver and server share the machine.
//!
//! The one invariant: an answer is returned only when it has arrived as a whole; a connection that broke is
//! never used again (the caller drops it at the first error).

use std::io::{Error, ErrorKind, Result};
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::payload::find;

/// Most bytes of an answer.
const ANSWER_MAX: usize = 1024 * 1024;

/// A connection.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// An answer; its body is in the connection's buffer until the next request.
#[derive(Debug)]
pub struct Answer<'a> {
    /// Status.
    pub status: u16,
    /// Whether it says when to come again.
    pub retry_after: bool,
    /// Whether the connection stays open.
    pub keep: bool,
    /// Body.
    pub body: &'a [u8],
}

struct Head {
    status: u16,
    retry_after: bool,
    keep: bool,
    length: Option<usize>,
    chunked: bool,
}

impl Connection {
    /// Opens one.
    ///
    /// # Errors
    /// Those of the socket.
    pub async fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::with_capacity(8192) })
    }

    /// Sends a whole request and reads a whole answer.
    ///
    /// # Errors
    /// The connection broke, or what came is no answer; it must not be used again.
    pub async fn call(&mut self, request: &[u8]) -> Result<Answer<'_>> {
        self.stream.write_all(request).await?;
        self.buffer.clear();
        let begin = loop {
            if let Some(at) = find(&self.buffer, b"\r\n\r\n") {
                break at + 4;
            }
            self.more().await?;
        };
        let head = head(self.buffer.get(..begin).unwrap_or_default())?;
        let end = match head.length {
            Some(length) => begin + length,
            None if head.chunked => loop {
                if self.buffer.ends_with(b"\r\n0\r\n\r\n") || self.buffer.get(begin..) == Some(b"0\r\n\r\n") {
                    break self.buffer.len();
                }
                self.more().await?;
            },
            None => begin,
        };
        while self.buffer.len() < end {
            self.more().await?;
        }
        let Head { status, retry_after, keep, .. } = head;
        Ok(Answer { status, retry_after, keep, body: self.buffer.get(begin..end).unwrap_or_default() })
    }

    async fn more(&mut self) -> Result<()> {
        if self.buffer.len() > ANSWER_MAX {
            return Err(Error::new(ErrorKind::InvalidData, "the answer is too large"));
        }
        match self.stream.read_buf(&mut self.buffer).await? {
            0 => Err(Error::new(ErrorKind::UnexpectedEof, "the server closed the connection")),
            _ => Ok(()),
        }
    }
}

fn head(bytes: &[u8]) -> Result<Head> {
    let wrong = || Error::new(ErrorKind::InvalidData, "no HTTP answer");
    let text = std::str::from_utf8(bytes).map_err(|_| wrong())?;
    let mut lines = text.split("\r\n");
    let status = lines.next().and_then(|line| line.get(9..12)).and_then(|digits| digits.parse().ok());
    let mut head =
        Head { status: status.ok_or_else(wrong)?, retry_after: false, keep: true, length: None, chunked: false };
    for line in lines {
        let Some((name, value)) = line.split_once(':') else { continue };
        let value = value.trim();
        if name.eq_ignore_ascii_case("content-length") {
            head.length = Some(value.parse().map_err(|_| wrong())?);
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            head.chunked = value.eq_ignore_ascii_case("chunked");
        } else if name.eq_ignore_ascii_case("connection") {
            head.keep = !value.eq_ignore_ascii_case("close");
        } else if name.eq_ignore_ascii_case("retry-after") {
            head.retry_after = true;
        }
    }
    if head.length.is_none() && !head.chunked && !matches!(head.status, 204 | 304) {
        head.keep = false;
    }
    Ok(head)
}

/// A POST of JSON.
#[must_use]
pub fn post(host: &SocketAddr, path: &str, body: &str) -> Vec<u8> {
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_read() {
        let check = |text: &str, expected: Option<(u16, bool, bool, Option<usize>, bool)>| {
            let found = head(text.as_bytes()).ok();
            let found = found.map(|head| (head.status, head.retry_after, head.keep, head.length, head.chunked));
            assert_eq!(found, expected, "{text}");
        };
        check("HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n", Some((200, false, true, Some(12), false)));
        check(
            "HTTP/1.1 503 Busy\r\nretry-after: 1\r\ncontent-length: 0\r\n\r\n",
            Some((503, true, true, Some(0), false)),
        );
        check("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", Some((200, false, true, None, true)));
        check(
            "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 1\r\n\r\n",
            Some((200, false, false, Some(1), false)),
        );
        check("HTTP/1.1 200 OK\r\n\r\n", Some((200, false, false, None, false)));
        check("HTTP/1.1 204 No Content\r\n\r\n", Some((204, false, true, None, false)));
        check("nothing\r\n\r\n", None);
        check("HTTP/1.1 200 OK\r\ncontent-length: many\r\n\r\n", None);
    }
}
