//! Verification: header, time, signature, in this order, each refusal with the part that differed.
//!
//! Nothing from outside gets into a refusal's text, and every comparison of secret bytes takes the same
//! time wherever they differ. The schemes stand in [`super::SCHEMES`].

use base64::Engine as _;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig, general_purpose::STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::{Encoding, Family, Key, Layout, Part, Scheme};

/// Signatures tried per delivery; a header with more is refused.
const SIGNATURES_MAX: usize = 16;

/// People paste secrets with and without `=` at the end; both are the same key.
const ANY_PADDING: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Why a delivery is refused: one sentence that holds nothing the sender wrote.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Nothing to check against: refused, never skipped.
    #[error("no secret is configured for {scheme}, so nothing is accepted; add the signing secret to the connection")]
    NoSecret {
        /// Name of the scheme.
        scheme: &'static str,
    },
    /// The configured secret cannot be a key of this scheme.
    #[error("the secret configured for {scheme} is not usable: it must be base 64, as in whsec_…")]
    BadSecret {
        /// Name of the scheme.
        scheme: &'static str,
    },
    /// A header is not there.
    #[error("header `{header}` is missing")]
    Missing {
        /// Its name.
        header: &'static str,
    },
    /// A header is there more than once: nobody can say which one counts.
    #[error("header `{header}` is there more than once")]
    Twice {
        /// Its name.
        header: &'static str,
    },
    /// A header does not have its form.
    #[error("header `{header}` {problem}")]
    Malformed {
        /// Its name.
        header: &'static str,
        /// What is wrong.
        problem: &'static str,
    },
    /// Signed too long ago: perhaps a replay.
    #[error("the timestamp in `{header}` is {age_s} s old and {tolerance_s} s are allowed")]
    TooOld {
        /// Where the time stands.
        header: &'static str,
        /// Its age in seconds.
        age_s: u64,
        /// What is allowed.
        tolerance_s: u64,
    },
    /// Signed in our future.
    #[error("the timestamp in `{header}` is {ahead_s} s ahead of our clock and {tolerance_s} s are allowed")]
    TooNew {
        /// Where the time stands.
        header: &'static str,
        /// Seconds ahead.
        ahead_s: u64,
        /// What is allowed.
        tolerance_s: u64,
    },
    /// The proof is wrong.
    #[error("no signature in `{header}` matches: the body was changed on the way, or the secret is another one")]
    Mismatch {
        /// Where the signatures stand.
        header: &'static str,
    },
    /// The token is another one.
    #[error("the bearer token is not the one configured for this trigger")]
    Token,
}

/// Checks a delivery: Ok only if one of the secrets signed exactly this body.
///
/// `headers` are names (any case) and values as received; `secrets` holds the active ones, two during a
/// rotation; `now_ms` is Unix time; `tolerance` in seconds replaces the scheme's own.
///
/// # Errors
/// The part that is missing or differs, as a [`Refusal`].
pub fn verify(
    scheme: &Scheme,
    secrets: &[&str],
    headers: &[(String, String)],
    body: &[u8],
    now_ms: i64,
    tolerance: Option<u64>,
) -> Result<(), Refusal> {
    let keys = keys(scheme, secrets)?;
    let family = family(scheme, headers).ok_or(Refusal::Missing { header: first_signature_header(scheme) })?;
    let claim = claim(scheme, family, headers)?;
    if let Some(window) = &scheme.window {
        let (header, time) = claim.time.ok_or(Refusal::Missing { header: family.signature })?;
        let seconds = seconds(header, time)?;
        in_window(header, seconds, now_ms, tolerance.unwrap_or(window.tolerance_s), window.both_ways)?;
    }
    for key in &keys {
        let mac = mac(scheme, key, claim.time.map_or("", |(_, time)| time), claim.id, body);
        for signature in &claim.signatures {
            // verify_slice compares in constant time.
            if mac.clone().verify_slice(signature).is_ok() {
                return Ok(());
            }
        }
    }
    Err(Refusal::Mismatch { header: family.signature })
}

/// Checks `Authorization: Bearer …` against a secret, in constant time.
///
/// # Errors
/// The header is missing, doubled or of another form, the secret is empty, or the token differs.
pub fn bearer(secret: &str, headers: &[(String, String)]) -> Result<(), Refusal> {
    const HEADER: &str = "authorization";
    if secret.is_empty() {
        return Err(Refusal::NoSecret { scheme: "bearer" });
    }
    let value = one(headers, HEADER)?;
    let token = match value.split_at_checked(7) {
        Some((word, token)) if word.eq_ignore_ascii_case("bearer ") => token.trim_start_matches(' '),
        _ => return Err(Refusal::Malformed { header: HEADER, problem: "is not of the form `Bearer <token>`" }),
    };
    // Digests have one length, so the time does not tell the token's length either.
    let same = Sha256::digest(token.as_bytes()).ct_eq(&Sha256::digest(secret.as_bytes()));
    if bool::from(same) { Ok(()) } else { Err(Refusal::Token) }
}

/// The family whose signature header is there.
pub(super) fn family(scheme: &Scheme, headers: &[(String, String)]) -> Option<&'static Family> {
    scheme.families.iter().find(|family| all(headers, family.signature).next().is_some())
}

/// The MAC of one delivery, not yet finished.
pub(super) fn mac(scheme: &Scheme, key: &Hmac<Sha256>, time: &str, id: &str, body: &[u8]) -> Hmac<Sha256> {
    let mut mac = key.clone();
    for part in scheme.signed {
        mac.update(match part {
            Part::Text(text) => text.as_bytes(),
            Part::Time => time.as_bytes(),
            Part::Id => id.as_bytes(),
            Part::Body => body,
        });
    }
    mac
}

/// The keyed MAC of a secret; an empty or unreadable secret is refused.
pub(super) fn key(scheme: &Scheme, secret: &str) -> Result<Hmac<Sha256>, Refusal> {
    if secret.is_empty() {
        return Err(Refusal::NoSecret { scheme: scheme.name });
    }
    let bad = Refusal::BadSecret { scheme: scheme.name };
    let keyed = match &scheme.key {
        Key::Text => Hmac::new_from_slice(secret.as_bytes()),
        Key::Base64 { prefix } => match ANY_PADDING.decode(secret.strip_prefix(prefix).unwrap_or(secret)) {
            Ok(bytes) if !bytes.is_empty() => Hmac::new_from_slice(&bytes),
            _ => return Err(bad),
        },
    };
    keyed.map_err(|_| bad)
}

fn keys(scheme: &Scheme, secrets: &[&str]) -> Result<Vec<Hmac<Sha256>>, Refusal> {
    let mut keys = Vec::with_capacity(secrets.len());
    for secret in secrets {
        keys.push(key(scheme, secret)?);
    }
    if keys.is_empty() { Err(Refusal::NoSecret { scheme: scheme.name }) } else { Ok(keys) }
}

/// What the headers claim.
struct Claim<'a> {
    time: Option<(&'static str, &'a str)>,
    id: &'a str,
    signatures: Vec<[u8; 32]>,
}

fn claim<'a>(scheme: &Scheme, family: &'static Family, headers: &'a [(String, String)]) -> Result<Claim<'a>, Refusal> {
    let header = family.signature;
    let value = one(headers, header)?;
    let malformed = |problem| Refusal::Malformed { header, problem };
    let mut time = None;
    let mut texts: Vec<&str> = Vec::new();
    match &scheme.layout {
        Layout::One { prefix } => {
            texts.push(value.strip_prefix(prefix).ok_or(malformed("does not begin with the version that we know"))?);
        }
        Layout::Pairs { time: time_key, signature: signature_key } => {
            for (name, text) in value.split(',').filter_map(|entry| entry.split_once('=')) {
                if name == *time_key && time.replace((header, text)).is_some() {
                    return Err(malformed("has two timestamps"));
                }
                if name == *signature_key {
                    texts.push(text);
                }
            }
            if time.is_none() {
                return Err(malformed("has no timestamp"));
            }
        }
        Layout::List { prefix } => texts.extend(value.split(' ').filter_map(|entry| entry.strip_prefix(prefix))),
    }
    if texts.is_empty() {
        return Err(malformed("has no signature of the version that we know"));
    }
    if texts.len() > SIGNATURES_MAX {
        return Err(malformed("has more than 16 signatures"));
    }
    let signatures: Vec<[u8; 32]> = texts.iter().filter_map(|text| decode(&scheme.encoding, text)).collect();
    if signatures.is_empty() {
        return Err(malformed(match scheme.encoding {
            Encoding::Hex => "holds no signature of 64 lower-case hexadecimal digits",
            Encoding::Base64 => "holds no signature of 32 bytes in base 64",
        }));
    }
    if let Some(name) = family.timestamp {
        time = Some((name, one(headers, name)?));
    }
    let mut id = "";
    if scheme.signed.contains(&Part::Id)
        && let Some(name) = family.id
    {
        id = one(headers, name)?;
        // The dot separates the signed pieces: with one inside, two deliveries could have the same bytes.
        if id.is_empty() || id.contains('.') {
            return Err(Refusal::Malformed { header: name, problem: "is empty or holds a dot" });
        }
    }
    Ok(Claim { time, id, signatures })
}

fn decode(encoding: &Encoding, text: &str) -> Option<[u8; 32]> {
    let bytes = match encoding {
        Encoding::Hex if text.bytes().any(|byte| byte.is_ascii_uppercase()) => return None,
        Encoding::Hex => hex::decode(text).ok()?,
        Encoding::Base64 => STANDARD.decode(text).ok()?,
    };
    bytes.try_into().ok()
}

fn seconds(header: &'static str, text: &str) -> Result<i64, Refusal> {
    let malformed = Refusal::Malformed { header, problem: "has a timestamp that is not Unix seconds" };
    if text.is_empty() || text.len() > 12 || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(malformed);
    }
    text.parse().map_err(|_| malformed)
}

fn in_window(
    header: &'static str,
    seconds: i64,
    now_ms: i64,
    tolerance_s: u64,
    both_ways: bool,
) -> Result<(), Refusal> {
    let now = now_ms.div_euclid(1000);
    let distance = now.abs_diff(seconds);
    if distance <= tolerance_s {
        Ok(())
    } else if now >= seconds {
        Err(Refusal::TooOld { header, age_s: distance, tolerance_s })
    } else if both_ways {
        Err(Refusal::TooNew { header, ahead_s: distance, tolerance_s })
    } else {
        Ok(())
    }
}

fn first_signature_header(scheme: &Scheme) -> &'static str {
    scheme.families.first().map_or("", |family| family.signature)
}

fn all<'a>(headers: &'a [(String, String)], name: &str) -> impl Iterator<Item = &'a str> {
    headers.iter().filter(move |(have, _)| have.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
}

/// The only value of a header.
fn one<'a>(headers: &'a [(String, String)], name: &'static str) -> Result<&'a str, Refusal> {
    let mut values = all(headers, name);
    match (values.next(), values.next()) {
        (Some(value), None) => Ok(value),
        (None, _) => Err(Refusal::Missing { header: name }),
        (Some(_), Some(_)) => Err(Refusal::Twice { header: name }),
    }
}
