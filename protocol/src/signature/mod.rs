//! Signature schemes: who sent a delivery, told from its raw bytes, as data and pure functions.
//!
//! A [`Scheme`] says which headers, which bytes are signed, how the signature is written and how old it may
//! be; [`verify`] reads that data and nothing else, so a new scheme is one more entry of [`SCHEMES`]. The
//! one invariant: whatever is missing, doubled, unreadable or unknown refuses, and a scheme without a secret
//! never lets anything in. There is no clock here: the caller hands in the time. Vendors' facts were read in
//! their SDKs and documentation; `tests/data/signatures.json` holds vectors that those SDKs answered.

pub mod cases;
mod delivery;
mod generic;
mod greeting;
mod key;
mod query;
mod schemes;
mod sign;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_more;
mod verify;

pub use delivery::delivery_id;
pub use generic::{Generic, GenericError};
pub use greeting::{Handshake, Unsigned, handshake, token, unsigned};
pub use schemes::{SCHEMES, SHOPIFY_QUERY};
pub use sign::{sign, sign_request};
pub use verify::{Refusal, basic, bearer, header, matched, verify};

/// One way in which a vendor signs its deliveries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scheme<'a> {
    /// Name in flows and connectors, as in `auth: { scheme: stripe }`.
    pub name: &'a str,
    /// For people.
    pub title: &'a str,
    /// Header families of the vendor; the first one whose signature header is present counts.
    pub families: &'a [Family<'a>],
    /// How signatures stand in the signature header.
    pub layout: Layout<'a>,
    /// How the bytes of one signature are written.
    pub encoding: Encoding,
    /// How the pieces are signed.
    pub algorithm: Algorithm,
    /// What is signed, piece by piece.
    pub signed: &'a [Part<'a>],
    /// How the secret's text becomes the key.
    pub key: Key,
    /// How far the timestamp may be from our clock; `None` if the vendor signs no time.
    pub window: Option<Window>,
    /// What tells one delivery from another.
    pub delivery: DeliveryId,
    /// What the vendor sends before or beside events.
    pub greeting: Greeting,
    /// Status of a success answer.
    pub success_status: u16,
    /// The sender gives up after this many milliseconds.
    pub reply_within_ms: Option<u64>,
}

/// The names of the headers that carry one delivery's proof, in lower case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Family<'a> {
    /// Holds the signature or several.
    pub signature: &'a str,
    /// Holds the time, if it does not stand in the signature header.
    pub timestamp: Option<&'a str>,
    /// Holds the vendor's id of the delivery.
    pub id: Option<&'a str>,
    /// A header that must be there with this value, and is not signed: the version of the scheme.
    pub version: Option<(&'a str, &'a str)>,
}

/// How signatures stand in their header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout<'a> {
    /// One signature after a fixed prefix (which may be empty).
    One {
        /// For example `sha256=`.
        prefix: &'a str,
    },
    /// `t=…,v1=…,v1=…`: the time and any number of signatures; other keys are ignored.
    Pairs {
        /// Key of the time.
        time: &'a str,
        /// Key of a signature.
        signature: &'a str,
    },
    /// Entries between spaces, of which those with the prefix count.
    List {
        /// For example `v1,`.
        prefix: &'a str,
    },
    /// In the query of the address, over its other parameters: callbacks of a browser, no webhooks.
    Query,
}

/// How the bytes of a signature are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// Lower-case hexadecimal.
    Hex,
    /// Base 64 with padding.
    Base64,
}

/// How the pieces are signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// HMAC with the secret as key.
    Hmac(Hash),
    /// SHA-256 over the secret and then the pieces: an old form, weaker than HMAC.
    Digest,
    /// ECDSA over P-256 and SHA-256, in DER; the secret is the public key.
    EcdsaP256,
}

/// A hash function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hash {
    /// 20 bytes; still sound within HMAC, taken only where a generic webhook asks for it.
    Sha1,
    /// 32 bytes.
    Sha256,
    /// 64 bytes.
    Sha512,
}

/// A piece of the signed bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part<'a> {
    /// Fixed text.
    Text(&'a str),
    /// The timestamp as it was sent.
    Time,
    /// The delivery's id as it was sent.
    Id,
    /// The request's method, as in `POST`.
    Method,
    /// The whole address as its sender wrote it.
    Url,
    /// The same with `%`-escapes of delimiters undone, as HubSpot's documents for v3 say, or as it was sent, as its SDKs
    /// do: either proves.
    LooseUrl,
    /// The raw body.
    Body,
}

/// How the secret's text becomes the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    /// Its bytes as they are.
    Text,
    /// Base 64, after a prefix that may be left out.
    Base64 {
        /// For example `whsec_`.
        prefix: &'static str,
    },
    /// Base 64 of a public key (SPKI in DER), with or without PEM lines around it.
    PublicKey,
}

/// How far a timestamp may be away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Seconds; a trigger may set its own.
    pub tolerance_s: u64,
    /// Whether a time ahead of ours is refused as well.
    pub both_ways: bool,
    /// How the time is written.
    pub unit: Unit,
}

/// How a time is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Unix seconds; ages are counted in whole seconds.
    Seconds,
    /// Unix milliseconds.
    Millis,
    /// Seconds, or with 13 digits milliseconds.
    Either,
}

/// Where the vendor's id of a delivery stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeliveryId {
    /// In the family's `id` header.
    Header,
    /// In a text field at the top of the JSON body.
    Body(&'static str),
    /// A delivery holds several events: these fields of each of them together are its id.
    Each {
        /// The field that holds the events; `None` if the body itself is the list.
        list: Option<&'static str>,
        /// The fields of one event.
        fields: &'static [&'static str],
    },
    /// The vendor gives none: a repeat has the same bytes, so their digest is the id.
    Digest,
}

/// What a vendor sends before or beside events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Greeting {
    /// Nothing.
    None,
    /// Signed JSON of `type: url_verification`, answered with its `challenge`; forms with `ssl_check=1`, which Slack does
    /// not sign.
    Slack,
    /// A signed delivery with this header and value, which is no event.
    Ping {
        /// Name in lower case.
        header: &'static str,
        /// Its value.
        value: &'static str,
    },
    /// `GET` with `hub.challenge` and the agreed `hub.verify_token`.
    HubChallenge,
    /// The first, unsigned delivery brings the token that signs all later ones.
    Token {
        /// The JSON field that holds it.
        field: &'static str,
    },
    /// An unsigned form with nothing but this field and a number, without the signature header.
    UnsignedPing {
        /// The field.
        field: &'static str,
    },
}

/// What is checked of a delivery.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// As in `POST`.
    pub method: &'a str,
    /// The whole address as its sender wrote it, with query.
    pub url: &'a str,
    /// Names (any case) and values as received.
    pub headers: &'a [(String, String)],
    /// The raw body.
    pub body: &'a [u8],
}

impl<'a> Request<'a> {
    /// A `POST` whose address is not signed.
    #[must_use]
    pub const fn post(headers: &'a [(String, String)], body: &'a [u8]) -> Self {
        Self { method: "POST", url: "", headers, body }
    }

    /// The text behind the `?`, empty without one.
    #[must_use]
    pub fn query(&self) -> &'a str {
        let whole = self.url.split_once('#').map_or(self.url, |(before, _)| before);
        whole.split_once('?').map_or("", |(_, query)| query)
    }

    /// Every value of a header, by its name in any case.
    pub(crate) fn all(&self, name: &str) -> impl Iterator<Item = &'a str> {
        self.headers.iter().filter(move |(have, _)| have.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The first value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&'a str> {
        self.all(name).next()
    }
}

impl Scheme<'_> {
    /// Whether the address is signed: then `public_url` must be what the sender was given.
    #[must_use]
    pub fn signs_address(&self) -> bool {
        self.signed.iter().any(|part| matches!(part, Part::Url | Part::LooseUrl))
    }
}

/// The webhook scheme of that name; `None` if this build does not know it.
#[must_use]
pub fn scheme(name: &str) -> Option<&'static Scheme<'static>> {
    SCHEMES.iter().find(|scheme| scheme.name == name)
}
