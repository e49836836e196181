//! Signing as the vendor does: for tests, provider fakes and `aura webhook test`.
//!
//! What [`sign`] makes, [`super::verify`] takes; a property test holds the two together.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::Mac as _;

use super::verify::{key, mac};
use super::{Encoding, Layout, Scheme};

/// The headers with which the vendor would send this body at `now_ms` (Unix milliseconds) as delivery `id`.
///
/// Names are in lower case. The id stands in a header only where the vendor sends it in one. A secret that
/// cannot be a key of the scheme gives no headers at all.
#[must_use]
pub fn sign(scheme: &Scheme, secret: &str, body: &[u8], now_ms: i64, id: &str) -> Vec<(String, String)> {
    let (Some(family), Ok(key)) = (scheme.families.first(), key(scheme, secret)) else {
        return Vec::new();
    };
    let time = now_ms.div_euclid(1000).to_string();
    let bytes = mac(scheme, &key, &time, id, body).finalize().into_bytes();
    let text = match scheme.encoding {
        Encoding::Hex => hex::encode(bytes),
        Encoding::Base64 => STANDARD.encode(bytes),
    };
    let value = match &scheme.layout {
        Layout::One { prefix } | Layout::List { prefix } => format!("{prefix}{text}"),
        Layout::Pairs { time: time_key, signature } => format!("{time_key}={time},{signature}={text}"),
    };
    let mut headers = vec![(family.signature.to_owned(), value)];
    headers.extend(family.timestamp.map(|name| (name.to_owned(), time)));
    headers.extend(family.id.map(|name| (name.to_owned(), id.to_owned())));
    headers
}
