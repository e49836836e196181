//! Signing as the vendor does: for tests, provider fakes and `aura webhook test`.
//!
//! What [`sign`] makes, [`super::verify`] takes; a property test holds the two together.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::key::{Keyed, sign_ecdsa};
use super::verify::{addresses, feed, piece};
use super::{Algorithm, Encoding, Layout, Request, Scheme, Unit};

/// The headers with which the vendor would send this body at `now_ms` (Unix milliseconds) as delivery `id`, to an
/// address that is not signed.
///
/// Names are in lower case. The id stands in a header only where the vendor sends it in one. A secret that
/// cannot be a key of the scheme gives no headers at all.
#[must_use]
pub fn sign(scheme: &Scheme<'_>, secret: &str, body: &[u8], now_ms: i64, id: &str) -> Vec<(String, String)> {
    sign_request(scheme, secret, &Request::post(&[], body), now_ms, id)
}

/// As [`sign`], for schemes that sign method and address too. The headers of the request are not looked at.
///
/// For ECDSA the secret is the private key (PKCS #8 in base 64), which only a double of the vendor has.
#[must_use]
pub fn sign_request(
    scheme: &Scheme<'_>,
    secret: &str,
    request: &Request<'_>,
    now_ms: i64,
    id: &str,
) -> Vec<(String, String)> {
    let [url, _] = addresses(scheme, request.url);
    let request = &Request { url: url.as_deref().unwrap_or(request.url), ..*request };
    let unit = scheme.window.map_or(Unit::Seconds, |window| window.unit);
    let time = if unit == Unit::Millis { now_ms } else { now_ms.div_euclid(1000) }.to_string();
    let bytes = match scheme.algorithm {
        Algorithm::EcdsaP256 => {
            sign_ecdsa(secret, scheme.signed.iter().map(|part| piece(part, &time, id, request).to_vec()))
        }
        _ => Keyed::of(scheme, secret).ok().and_then(|mut key| {
            feed(scheme, &mut key, &time, id, request);
            key.finish()
        }),
    };
    let (Some(family), Some(bytes)) = (scheme.families.first(), bytes) else {
        return Vec::new();
    };
    let text = match scheme.encoding {
        Encoding::Hex => hex::encode(bytes),
        Encoding::Base64 => STANDARD.encode(bytes),
    };
    let value = match &scheme.layout {
        Layout::One { prefix } | Layout::List { prefix } => format!("{prefix}{text}"),
        Layout::Pairs { time: time_key, signature } => format!("{time_key}={time},{signature}={text}"),
        Layout::Query => text,
    };
    let mut headers = vec![(family.signature.to_owned(), value)];
    headers.extend(family.timestamp.map(|name| (name.to_owned(), time)));
    headers.extend(family.id.map(|name| (name.to_owned(), id.to_owned())));
    headers.extend(family.version.map(|(name, value)| (name.to_owned(), value.to_owned())));
    headers
}
