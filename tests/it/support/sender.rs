//! The senders of webhooks: HTTP/1.1 written by hand, so that a test controls every byte.
//!
//! The one invariant: signatures are computed here from the providers' documents and not by AURA's own
//! code, so a mistake in one of the two is found.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// An HTTP answer.
#[derive(Clone, Debug)]
pub struct Reply {
    /// Status.
    pub status: u16,
    /// Headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// Body.
    pub body: Vec<u8>,
}

impl Reply {
    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
    /// The promise: an answer without this header is none.
    pub fn event(&self) -> Option<&str> {
        self.header("aura-event-id")
    }
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
    /// A field of the acknowledgement.
    pub fn field(&self, name: &str) -> String {
        let json: serde_json::Value =
            serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error} in {}", self.text()));
        json.get(name).map_or_else(String::new, |value| value.as_str().map_or_else(|| value.to_string(), str::to_owned))
    }
}

/// One endpoint and how to talk to it.
#[derive(Clone, Debug)]
pub struct Hook {
    /// The door.
    pub address: SocketAddr,
    /// Path, `/hooks/…`.
    pub path: String,
    /// Secret of Standard Webhooks as `whsec_…`; empty: unsigned.
    pub secret: String,
}

/// The secret tests sign with.
pub const SECRET: &str = "whsec_c2lnbmVkIGJ5IHRlc3RzLCBub3QgYnkgYXVyYSE=";

impl Hook {
    /// Sends a body under a message id, signed now.
    pub fn send(&self, id: &str, body: &str) -> io::Result<Reply> {
        self.send_noting(id, body, || ())
    }

    /// As [`Hook::send`]; calls back once every byte has left.
    pub fn send_noting(&self, id: &str, body: &str, sent: impl FnOnce()) -> io::Result<Reply> {
        let headers = self.signed(id, super::now_ms() / 1000, body.as_bytes());
        exchange(self.address, &self.request(&headers, body.as_bytes()), sent)
    }

    /// Headers of Standard Webhooks for a message.
    pub fn signed(&self, id: &str, seconds: i64, body: &[u8]) -> Vec<(String, String)> {
        let mut headers = vec![("content-type".to_owned(), "application/json".to_owned())];
        if self.secret.is_empty() {
            headers.push(("idempotency-key".to_owned(), id.to_owned()));
        } else {
            let key = STANDARD.decode(self.secret.trim_start_matches("whsec_")).expect("a base64 secret");
            let message = [format!("{id}.{seconds}.").as_bytes(), body].concat();
            headers.push(("webhook-id".to_owned(), id.to_owned()));
            headers.push(("webhook-timestamp".to_owned(), seconds.to_string()));
            headers.push(("webhook-signature".to_owned(), format!("v1,{}", STANDARD.encode(hmac(&key, &message)))));
        }
        headers
    }

    /// Sends a body with exactly these headers (and `content-length`).
    pub fn send_with(&self, headers: &[(String, String)], body: &[u8]) -> io::Result<Reply> {
        exchange(self.address, &self.request(headers, body), || ())
    }

    fn request(&self, headers: &[(String, String)], body: &[u8]) -> Vec<u8> {
        let mut bytes = format!(
            "POST {} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\ncontent-length: {}\r\n",
            self.path,
            self.address,
            body.len()
        )
        .into_bytes();
        for (name, value) in headers {
            bytes.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        }
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(body);
        bytes
    }
}

/// HMAC-SHA256.
pub fn hmac(key: &[u8], message: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("a key of any length");
    mac.update(message);
    mac.finalize().into_bytes().to_vec()
}

/// The headers of a Shopify delivery.
pub fn shopify(secret: &str, topic: &str, event: &str, body: &[u8]) -> Vec<(String, String)> {
    [
        ("content-type", "application/json".to_owned()),
        ("x-shopify-topic", topic.to_owned()),
        ("x-shopify-event-id", event.to_owned()),
        ("x-shopify-webhook-id", event.to_owned()),
        ("x-shopify-shop-domain", "tests.myshopify.example".to_owned()),
        ("x-shopify-hmac-sha256", STANDARD.encode(hmac(secret.as_bytes(), body))),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .to_vec()
}

/// Sends bytes, calls back, and reads one answer.
pub fn exchange(address: SocketAddr, bytes: &[u8], sent: impl FnOnce()) -> io::Result<Reply> {
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(5))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(40)))?;
    stream.set_write_timeout(Some(Duration::from_secs(40)))?;
    // A server that refuses early closes before all is written: its answer still counts.
    let written = stream.write_all(bytes);
    sent();
    let mut answer = Vec::new();
    let mut piece = [0; 16 * 1024];
    loop {
        if let Some(reply) = parse(&answer)? {
            return Ok(reply);
        }
        match stream.read(&mut piece) {
            Ok(0) => break,
            Ok(count) => answer.extend_from_slice(&piece[..count]),
            Err(error) => return Err(error),
        }
    }
    written?;
    Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the connection ended before an answer"))
}

/// The answer, once all of it is there.
fn parse(bytes: &[u8]) -> io::Result<Option<Reply>> {
    let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(None) };
    let wrong = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    let head = std::str::from_utf8(&bytes[..end]).map_err(|_| wrong("a head that is no text"))?;
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|word| word.parse().ok());
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let reply = Reply { status: status.ok_or_else(|| wrong("no status"))?, headers, body: Vec::new() };
    let rest = &bytes[end + 4..];
    if reply.header("transfer-encoding") == Some("chunked") {
        return unchunk(rest).map(|body| body.map(|body| Reply { body, ..reply }));
    }
    let length: usize = reply.header("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
    Ok(rest.get(..length).map(|body| Reply { body: body.to_vec(), ..reply }))
}

fn unchunk(mut rest: &[u8]) -> io::Result<Option<Vec<u8>>> {
    let mut body = Vec::new();
    loop {
        let Some(end) = rest.windows(2).position(|window| window == b"\r\n") else { return Ok(None) };
        let size = std::str::from_utf8(&rest[..end]).ok().and_then(|text| usize::from_str_radix(text.trim(), 16).ok());
        let size = size.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "a chunk without a size"))?;
        let Some(chunk) = rest.get(end + 2..end + 2 + size) else { return Ok(None) };
        if size == 0 {
            return Ok(Some(body));
        }
        body.extend_from_slice(chunk);
        let Some(next) = rest.get(end + 4 + size..) else { return Ok(None) };
        rest = next;
    }
}
