//! A sender that no scheme names: its HMAC described in the trigger, `auth: { hmac: { secret, header, … } }`.
//!
//! [`Generic`] is checked once when the flow is read; its scheme is the same data as every other, so one
//! verification serves all. What it cannot promise it refuses: the body is always signed, and a timestamp only
//! counts if it is signed too.

use super::{Algorithm, DeliveryId, Encoding, Family, Greeting, Hash, Key, Layout, Part, Scheme, Unit, Window};
use crate::flow::Hmac;

/// How far a timestamp may be away if the trigger does not say, in seconds.
const TOLERANCE_S: u64 = 300;
/// Largest tolerance, in seconds: a day.
const TOLERANCE_MAX_S: u64 = 86_400;
/// Longest texts of the description, in bytes.
const TEXT_MAX: usize = 100;

/// A checked description.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Generic {
    header: String,
    timestamp: Option<String>,
    id: Option<String>,
    prefix: String,
    encoding: Encoding,
    hash: Hash,
    signed: Vec<Piece>,
    tolerance_s: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Time,
    Id,
    Method,
    Url,
    Body,
}

/// What is wrong with a description: the key of it, and a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GenericError {
    /// The key under `hmac`.
    pub key: &'static str,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub hint: &'static str,
}

impl Generic {
    /// Checks a description.
    ///
    /// # Errors
    /// The first key that is wrong.
    pub fn of(hmac: &Hmac) -> Result<Self, GenericError> {
        let wrong = |key, message: &str, hint| GenericError { key, message: message.to_owned(), hint };
        let name = |key, text: &str| match header_name(text) {
            Some(name) => Ok(name),
            None => Err(wrong(key, "this is not the name of a header", "as in `X-Signature`")),
        };
        let header = name("header", &hmac.header)?;
        let timestamp = hmac.timestamp.as_deref().map(|text| name("timestamp", text)).transpose()?;
        let id = hmac.id.as_deref().map(|text| name("id", text)).transpose()?;
        let printable = |text: &str| text.len() <= TEXT_MAX && text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
        if !printable(&hmac.prefix) {
            return Err(wrong("prefix", "the prefix is not short plain text", "as in `sha256=`"));
        }
        let hash = match hmac.algorithm.as_str() {
            "sha256" => Hash::Sha256,
            "sha1" => Hash::Sha1,
            "sha512" => Hash::Sha512,
            _ => return Err(wrong("algorithm", "this algorithm is not known", "write sha256, sha512 or sha1")),
        };
        let encoding = match hmac.encoding.as_str() {
            "hex" => Encoding::Hex,
            "base64" => Encoding::Base64,
            _ => return Err(wrong("encoding", "this encoding is not known", "write hex or base64")),
        };
        let usual = if timestamp.is_some() { "{timestamp}.{body}" } else { "{body}" };
        let text = hmac.signed.as_deref().unwrap_or(usual);
        let pieces = if printable(text) { pieces(text) } else { None };
        let hint = "as in `{timestamp}.{body}`; there are {timestamp}, {id}, {method}, {url} and {body}";
        let Some(signed) = pieces else { return Err(wrong("signed", "this does not say what is signed", hint)) };
        if !signed.contains(&Piece::Body) {
            return Err(wrong("signed", "the body is not signed, so anybody could change it", hint));
        }
        let needs = |piece: &Piece, header: &Option<String>, key, what: &str| match (signed.contains(piece), header) {
            (true, None) => Err(wrong("signed", &format!("{{{key}}} is signed and no header holds it"), hint)),
            (false, Some(_)) => Err(wrong(key, &format!("{what} is not signed, so it proves nothing"), hint)),
            _ => Ok(()),
        };
        needs(&Piece::Time, &timestamp, "timestamp", "the time")?;
        if signed.contains(&Piece::Id) && id.is_none() {
            return Err(wrong("signed", "{id} is signed and no header holds it", hint));
        }
        let tolerance_s = hmac.tolerance.map_or(TOLERANCE_S, |span| span.ms / 1000);
        if hmac.tolerance.is_some() && timestamp.is_none() {
            return Err(wrong("tolerance", "there is no timestamp to tolerate", "add `timestamp: HEADER`"));
        }
        if !(1..=TOLERANCE_MAX_S).contains(&tolerance_s) {
            return Err(wrong("tolerance", "the tolerance is not between 1s and 1d", "as in `5m`"));
        }
        let prefix = hmac.prefix.clone();
        Ok(Self { header, timestamp, id, prefix, encoding, hash, signed, tolerance_s })
    }

    /// Hands this description as a scheme to `then`.
    pub fn with<R>(&self, then: impl FnOnce(&Scheme<'_>) -> R) -> R {
        let families = [Family {
            signature: &self.header,
            timestamp: self.timestamp.as_deref(),
            id: self.id.as_deref(),
            version: None,
        }];
        let signed: Vec<Part<'_>> = self.signed.iter().map(Piece::as_part).collect();
        let window = Window { tolerance_s: self.tolerance_s, both_ways: true, unit: Unit::Either };
        then(&Scheme {
            name: "hmac",
            title: "HMAC",
            families: &families,
            layout: Layout::One { prefix: &self.prefix },
            encoding: self.encoding,
            algorithm: Algorithm::Hmac(self.hash),
            signed: &signed,
            key: Key::Text,
            window: self.timestamp.is_some().then_some(window),
            delivery: DeliveryId::Header,
            greeting: Greeting::None,
            success_status: 202,
            reply_within_ms: None,
        })
    }

    /// The headers that may stand only once.
    pub fn headers(&self) -> impl Iterator<Item = &str> {
        [Some(&self.header), self.timestamp.as_ref(), self.id.as_ref()].into_iter().flatten().map(String::as_str)
    }
}

impl Piece {
    fn as_part(&self) -> Part<'_> {
        match self {
            Self::Text(text) => Part::Text(text),
            Self::Time => Part::Time,
            Self::Id => Part::Id,
            Self::Method => Part::Method,
            Self::Url => Part::Url,
            Self::Body => Part::Body,
        }
    }
}

/// The pieces of `{timestamp}.{body}`; `None` if a brace is left over or a name is unknown or there twice.
fn pieces(text: &str) -> Option<Vec<Piece>> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        let (name, behind) = after.split_once('}')?;
        let piece = match name {
            "timestamp" => Piece::Time,
            "id" => Piece::Id,
            "method" => Piece::Method,
            "url" => Piece::Url,
            "body" => Piece::Body,
            _ => return None,
        };
        if before.contains('}') || out.contains(&piece) {
            return None;
        }
        if !before.is_empty() {
            out.push(Piece::Text(before.to_owned()));
        }
        out.push(piece);
        rest = behind;
    }
    if rest.contains('}') {
        return None;
    }
    if !rest.is_empty() {
        out.push(Piece::Text(rest.to_owned()));
    }
    Some(out)
}

/// A header's name in lower case; `None` if the text is none, or one that other things need.
fn header_name(text: &str) -> Option<String> {
    const TAKEN: &[&str] = &["content-length", "content-type", "host", "transfer-encoding", "connection", "cookie"];
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    let name = text.to_ascii_lowercase();
    let fits = !name.is_empty() && name.len() <= TEXT_MAX && name.bytes().all(token) && !TAKEN.contains(&name.as_str());
    fits.then_some(name)
}
