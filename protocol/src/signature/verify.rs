//! Verification: header, time, signature, in this order, each refusal with the part that differed.
//!
//! Nothing from outside gets into a refusal's text, and every comparison of secret bytes takes the same
//! time wherever they differ. The schemes stand in [`super::SCHEMES`].

use std::borrow::Cow;

use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use base64::Engine as _;

use super::key::{Keyed, Signed};
use super::{Family, Layout, Part, Request, Scheme, Unit, Window, query};
use crate::rpc::Verdict;

/// Signatures tried per delivery; a header with more is refused.
const SIGNATURES_MAX: usize = 16;

/// Why a delivery is refused: one sentence that holds nothing the sender wrote.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Nothing to check against: refused, never skipped.
    #[error("no secret is configured for {scheme}, so nothing is accepted; add the signing secret to the connection")]
    NoSecret {
        /// Name of the scheme.
        scheme: String,
    },
    /// The configured secret cannot be a key of this scheme.
    #[error("the secret configured for {scheme} is not usable: it must be {form}")]
    BadSecret {
        /// Name of the scheme.
        scheme: String,
        /// What it must be.
        form: &'static str,
    },
    /// A header is not there.
    #[error("header `{header}` is missing")]
    Missing {
        /// Its name.
        header: String,
    },
    /// A header is there more than once: nobody can say which one counts.
    #[error("header `{header}` is there more than once")]
    Twice {
        /// Its name.
        header: String,
    },
    /// A header does not have its form.
    #[error("header `{header}` {problem}")]
    Malformed {
        /// Its name.
        header: String,
        /// What is wrong.
        problem: &'static str,
    },
    /// Signed too long ago: perhaps a replay.
    #[error("the timestamp in `{header}` is {age_s} s old and {tolerance_s} s are allowed")]
    TooOld {
        /// Where the time stands.
        header: String,
        /// Its age in seconds.
        age_s: u64,
        /// What is allowed.
        tolerance_s: u64,
    },
    /// Signed in our future.
    #[error("the timestamp in `{header}` is {ahead_s} s ahead of our clock and {tolerance_s} s are allowed")]
    TooNew {
        /// Where the time stands.
        header: String,
        /// Seconds ahead.
        ahead_s: u64,
        /// What is allowed.
        tolerance_s: u64,
    },
    /// The proof is wrong.
    #[error("no signature in `{header}` matches: the body was changed on the way, or the secret is another one")]
    Mismatch {
        /// Where the signatures stand.
        header: String,
    },
    /// The address is signed and its proof is wrong.
    #[error(
        "no signature in `{header}` matches: the body was changed on the way, the secret is another one, or the address is not the one its sender wrote (see `public_url`)"
    )]
    AddressMismatch {
        /// Where the signatures stand.
        header: String,
    },
    /// The token is another one.
    #[error("the bearer token is not the one configured for this trigger")]
    Token,
    /// A user, password or header value is another one.
    #[error("the {what} is not the one configured for this trigger")]
    Word {
        /// What.
        what: &'static str,
    },
}

impl Refusal {
    /// The part that differed, as the log of deliveries names it.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        match self {
            Self::NoSecret { .. } => Verdict::NoSecret,
            Self::BadSecret { .. } => Verdict::BadSecret,
            Self::Missing { .. } => Verdict::HeaderMissing,
            Self::Twice { .. } => Verdict::HeaderTwice,
            Self::Malformed { .. } => Verdict::HeaderForm,
            Self::TooOld { .. } => Verdict::Stale,
            Self::TooNew { .. } => Verdict::Ahead,
            Self::Mismatch { .. } | Self::AddressMismatch { .. } => Verdict::Digest,
            Self::Token | Self::Word { .. } => Verdict::Token,
        }
    }
}

/// Checks a delivery: Ok only if one of the secrets signed exactly this request.
///
/// `secrets` holds the active ones, two during a rotation; `now_ms` is Unix time; `tolerance` in seconds
/// replaces the scheme's own.
///
/// # Errors
/// The part that is missing or differs, as a [`Refusal`].
pub fn verify(
    scheme: &Scheme<'_>,
    secrets: &[&str],
    request: &Request<'_>,
    now_ms: i64,
    tolerance: Option<u64>,
) -> Result<(), Refusal> {
    matched(scheme, secrets, request, now_ms, tolerance).map(drop)
}

/// As [`verify`]; gives which of the secrets it was.
///
/// # Errors
/// As [`verify`].
pub fn matched(
    scheme: &Scheme<'_>,
    secrets: &[&str],
    request: &Request<'_>,
    now_ms: i64,
    tolerance: Option<u64>,
) -> Result<usize, Refusal> {
    let keys = keys(scheme, secrets)?;
    if scheme.layout == Layout::Query {
        return query::verify(scheme, keys, request, now_ms, tolerance).map(|()| 0);
    }
    let family = family(scheme, request).ok_or_else(|| missing(first_signature_header(scheme)))?;
    let claim = claim(scheme, family, request)?;
    if let Some(window) = &scheme.window {
        let (header, time) = claim.time.ok_or_else(|| missing(family.signature))?;
        in_window(header, time, now_ms, window, tolerance)?;
    }
    let time = claim.time.map_or("", |(_, time)| time);
    for (number, key) in keys.into_iter().enumerate() {
        for url in addresses(scheme, request.url).into_iter().flatten() {
            let mut key = key.clone();
            feed(scheme, &mut key, time, claim.id, &Request { url: &url, ..*request });
            if key.proves(&claim.signatures) {
                return Ok(number);
            }
        }
    }
    let header = family.signature.to_owned();
    Err(if scheme.signs_address() { Refusal::AddressMismatch { header } } else { Refusal::Mismatch { header } })
}

/// Checks `Authorization: Bearer …` against secrets, in constant time.
///
/// # Errors
/// The header is missing, doubled or of another form, a secret is empty, or the token differs.
pub fn bearer(secrets: &[&str], headers: &[(String, String)]) -> Result<usize, Refusal> {
    const HEADER: &str = "authorization";
    usable("bearer", secrets)?;
    let value = one(&Request::post(headers, b""), HEADER)?;
    let token = match value.split_at_checked(7) {
        Some((word, token)) if word.eq_ignore_ascii_case("bearer ") => token.trim_start_matches(' '),
        _ => {
            let problem = "is not of the form `Bearer <token>`";
            return Err(Refusal::Malformed { header: HEADER.to_owned(), problem });
        }
    };
    equal(token.as_bytes(), secrets).ok_or(Refusal::Token)
}

/// Checks `Authorization: Basic …` against a user and passwords, in constant time.
///
/// # Errors
/// As [`bearer`].
pub fn basic(user: &str, secrets: &[&str], headers: &[(String, String)]) -> Result<usize, Refusal> {
    const HEADER: &str = "authorization";
    usable("basic", secrets)?;
    let value = one(&Request::post(headers, b""), HEADER)?;
    let malformed = || {
        let problem = "is not of the form `Basic <base64 of user:password>`";
        Refusal::Malformed { header: HEADER.to_owned(), problem }
    };
    let (word, coded) = value.split_at_checked(6).ok_or_else(malformed)?;
    if !word.eq_ignore_ascii_case("basic ") {
        return Err(malformed());
    }
    let given = base64::engine::general_purpose::STANDARD.decode(coded.trim()).map_err(|_| malformed())?;
    let wanted: Vec<String> = secrets.iter().map(|secret| format!("{user}:{secret}")).collect();
    let wanted: Vec<&str> = wanted.iter().map(String::as_str).collect();
    equal(&given, &wanted).ok_or(Refusal::Word { what: "user or password" })
}

/// Checks a header whose value is the secret, in constant time.
///
/// # Errors
/// As [`bearer`].
pub fn header(name: &str, secrets: &[&str], headers: &[(String, String)]) -> Result<usize, Refusal> {
    usable("header", secrets)?;
    let value = one(&Request::post(headers, b""), name)?;
    equal(value.as_bytes(), secrets).ok_or(Refusal::Word { what: "header's value" })
}

fn usable(scheme: &str, secrets: &[&str]) -> Result<(), Refusal> {
    if secrets.is_empty() || secrets.iter().any(|secret| secret.is_empty()) {
        return Err(Refusal::NoSecret { scheme: scheme.to_owned() });
    }
    Ok(())
}

/// Which of the wanted texts it is. Digests have one length, so the time tells neither length nor place.
fn equal(given: &[u8], wanted: &[&str]) -> Option<usize> {
    let given = Sha256::digest(given);
    let mut found = None;
    for (number, wanted) in wanted.iter().enumerate().rev() {
        if bool::from(given.ct_eq(&Sha256::digest(wanted.as_bytes()))) {
            found = Some(number);
        }
    }
    found
}

/// The family whose signature header is there.
pub(super) fn family<'s>(scheme: &Scheme<'s>, request: &Request<'_>) -> Option<&'s Family<'s>> {
    scheme.families.iter().find(|family| request.header(family.signature).is_some())
}

/// Hands the signed pieces to a key, in order.
pub(super) fn feed(scheme: &Scheme<'_>, key: &mut Keyed, time: &str, id: &str, request: &Request<'_>) {
    for part in scheme.signed {
        key.update(piece(part, time, id, request));
    }
}

/// One signed piece.
pub(super) fn piece<'a>(part: &Part<'a>, time: &'a str, id: &'a str, request: &Request<'a>) -> &'a [u8] {
    match part {
        Part::Text(text) => text.as_bytes(),
        Part::Time => time.as_bytes(),
        Part::Id => id.as_bytes(),
        Part::Method => request.method.as_bytes(),
        Part::Url | Part::LooseUrl => request.url.as_bytes(),
        Part::Body => request.body,
    }
}

/// The forms in which the address may be signed, the documented one first.
pub(super) fn addresses<'a>(scheme: &Scheme<'_>, url: &'a str) -> [Option<Cow<'a, str>>; 2] {
    if scheme.signed.contains(&Part::LooseUrl) && url.contains('%') {
        [Some(Cow::Owned(delimiters_decoded(url))), Some(Cow::Borrowed(url))]
    } else {
        [Some(Cow::Borrowed(url)), None]
    }
}

/// An address in which the escapes of delimiters are undone.
fn delimiters_decoded(url: &str) -> String {
    const DELIMITERS: &[u8] = b":/?@!$'()*,;";
    let bytes = url.as_bytes();
    let (mut out, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while let Some(byte) = bytes.get(at) {
        let digits = bytes.get(at + 1..at + 3).filter(|_| *byte == b'%');
        let decoded = digits.and_then(|digits| hex::decode(digits).ok()?.first().copied());
        match decoded.filter(|found| DELIMITERS.contains(found)) {
            Some(found) => {
                out.push(found);
                at += 3;
            }
            None => {
                out.push(*byte);
                at += 1;
            }
        }
    }
    // Only whole ASCII characters came and went.
    String::from_utf8(out).unwrap_or_default()
}

fn keys(scheme: &Scheme<'_>, secrets: &[&str]) -> Result<Vec<Keyed>, Refusal> {
    let mut keys = Vec::with_capacity(secrets.len());
    for secret in secrets {
        keys.push(Keyed::of(scheme, secret)?);
    }
    if keys.is_empty() { Err(Refusal::NoSecret { scheme: scheme.name.to_owned() }) } else { Ok(keys) }
}

/// What the headers claim.
struct Claim<'a> {
    time: Option<(&'a str, &'a str)>,
    id: &'a str,
    signatures: Vec<Signed>,
}

fn claim<'a>(scheme: &Scheme<'_>, family: &Family<'a>, request: &Request<'a>) -> Result<Claim<'a>, Refusal> {
    let header = family.signature;
    let value = one(request, header)?;
    let malformed = |problem| Refusal::Malformed { header: header.to_owned(), problem };
    if let Some((name, version)) = family.version
        && one(request, name)? != version
    {
        let problem = "names another version of the scheme than this trigger's";
        return Err(Refusal::Malformed { header: name.to_owned(), problem });
    }
    let mut time = None;
    let mut texts: Vec<&str> = Vec::new();
    match &scheme.layout {
        Layout::One { prefix } => {
            let text = value.strip_prefix(prefix);
            texts.push(text.ok_or_else(|| malformed("does not begin with the version that we know"))?);
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
        Layout::Query => {}
    }
    if texts.is_empty() {
        return Err(malformed("has no signature of the version that we know"));
    }
    if texts.len() > SIGNATURES_MAX {
        return Err(malformed("has more than 16 signatures"));
    }
    let signatures: Vec<Signed> = texts.iter().filter_map(|text| Signed::read(scheme, text)).collect();
    if signatures.is_empty() {
        return Err(malformed(Signed::form(scheme)));
    }
    if let Some(name) = family.timestamp {
        time = Some((name, one(request, name)?));
    }
    let mut id = "";
    if scheme.signed.contains(&Part::Id)
        && let Some(name) = family.id
    {
        id = one(request, name)?;
        // The dot separates the signed pieces: with one inside, two deliveries could have the same bytes.
        if id.is_empty() || id.contains('.') {
            return Err(Refusal::Malformed { header: name.to_owned(), problem: "is empty or holds a dot" });
        }
    }
    Ok(Claim { time, id, signatures })
}

/// Refuses a time that is unreadable or outside of its window.
pub(super) fn in_window(
    header: &str,
    text: &str,
    now_ms: i64,
    window: &Window,
    tolerance: Option<u64>,
) -> Result<(), Refusal> {
    let malformed = || {
        let problem = match window.unit {
            Unit::Millis => "has a timestamp that is not Unix milliseconds",
            Unit::Seconds | Unit::Either => "has a timestamp that is not Unix seconds",
        };
        Refusal::Malformed { header: header.to_owned(), problem }
    };
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let millis = match window.unit {
        Unit::Seconds => false,
        Unit::Millis => true,
        Unit::Either => text.len() >= 13,
    };
    if !digits || text.len() > if millis { 15 } else { 12 } {
        return Err(malformed());
    }
    let time: i64 = text.parse().map_err(|_| malformed())?;
    let tolerance_s = tolerance.unwrap_or(window.tolerance_s);
    let (now, allowed, in_second) = if millis {
        (now_ms, tolerance_s.saturating_mul(1000), 1000)
    } else {
        (now_ms.div_euclid(1000), tolerance_s, 1)
    };
    let distance = now.abs_diff(time);
    let header = || header.to_owned();
    if distance <= allowed {
        Ok(())
    } else if now >= time {
        Err(Refusal::TooOld { header: header(), age_s: distance.div_ceil(in_second), tolerance_s })
    } else if window.both_ways {
        Err(Refusal::TooNew { header: header(), ahead_s: distance.div_ceil(in_second), tolerance_s })
    } else {
        Ok(())
    }
}

fn first_signature_header<'s>(scheme: &Scheme<'s>) -> &'s str {
    scheme.families.first().map_or("", |family| family.signature)
}

fn missing(header: &str) -> Refusal {
    Refusal::Missing { header: header.to_owned() }
}

/// The only value of a header.
fn one<'a>(request: &Request<'a>, name: &str) -> Result<&'a str, Refusal> {
    let mut values = request.all(name);
    match (values.next(), values.next()) {
        (Some(value), None) => Ok(value),
        (None, _) => Err(missing(name)),
        (Some(_), Some(_)) => Err(Refusal::Twice { header: name.to_owned() }),
    }
}
