//! Signature schemes: who sent a delivery, told from its raw bytes, as data and pure functions.
//!
//! A [`Scheme`] says which headers, which bytes are signed, how the signature is written and how old it may
//! be; [`verify`] reads that data and nothing else, so a new scheme is one more entry of [`SCHEMES`]. The
//! one invariant: whatever is missing, doubled, unreadable or unknown refuses, and a scheme without a secret
//! never lets anything in. There is no clock here: the caller hands in the time. Vendors' facts were read in
//! their SDKs and documentation; `tests/data/signatures.json` holds vectors that those SDKs answered.

pub mod cases;
mod delivery;
mod sign;
mod verify;

#[cfg(test)]
mod tests;

pub use delivery::{Handshake, delivery_id, handshake};
pub use sign::sign;
pub use verify::{Refusal, bearer, verify};

/// One way in which a vendor signs its deliveries.
#[derive(Debug, PartialEq, Eq)]
pub struct Scheme {
    /// Name in flows and connectors, as in `auth: { scheme: stripe }`.
    pub name: &'static str,
    /// For people.
    pub title: &'static str,
    /// Header families of the vendor; the first one whose signature header is present counts.
    pub families: &'static [Family],
    /// How signatures stand in the signature header.
    pub layout: Layout,
    /// How the bytes of one signature are written.
    pub encoding: Encoding,
    /// What is signed with HMAC-SHA256, piece by piece.
    pub signed: &'static [Part],
    /// How the secret's text becomes the key.
    pub key: Key,
    /// How far the timestamp may be from our clock; `None` if the vendor signs no time.
    pub window: Option<Window>,
    /// What tells one delivery from another.
    pub delivery: DeliveryId,
    /// Status of a success answer.
    pub success_status: u16,
    /// The sender gives up after this many milliseconds.
    pub reply_within_ms: Option<u64>,
}

/// The names of the headers that carry one delivery's proof, in lower case.
#[derive(Debug, PartialEq, Eq)]
pub struct Family {
    /// Holds the signature or several.
    pub signature: &'static str,
    /// Holds the time in Unix seconds, if it does not stand in the signature header.
    pub timestamp: Option<&'static str>,
    /// Holds the vendor's id of the delivery.
    pub id: Option<&'static str>,
}

/// How signatures stand in their header.
#[derive(Debug, PartialEq, Eq)]
pub enum Layout {
    /// One signature after a fixed prefix (which may be empty).
    One {
        /// For example `sha256=`.
        prefix: &'static str,
    },
    /// `t=…,v1=…,v1=…`: the time and any number of signatures; other keys are ignored.
    Pairs {
        /// Key of the time.
        time: &'static str,
        /// Key of a signature.
        signature: &'static str,
    },
    /// Entries between spaces, of which those with the prefix count.
    List {
        /// For example `v1,`.
        prefix: &'static str,
    },
}

/// How the 32 bytes of a signature are written.
#[derive(Debug, PartialEq, Eq)]
pub enum Encoding {
    /// Lower-case hexadecimal.
    Hex,
    /// Base 64 with padding.
    Base64,
}

/// A piece of the signed bytes.
#[derive(Debug, PartialEq, Eq)]
pub enum Part {
    /// Fixed text.
    Text(&'static str),
    /// The timestamp as it was sent.
    Time,
    /// The delivery's id as it was sent.
    Id,
    /// The raw body.
    Body,
}

/// How the secret's text becomes the key.
#[derive(Debug, PartialEq, Eq)]
pub enum Key {
    /// Its bytes as they are.
    Text,
    /// Base 64, after a prefix that may be left out.
    Base64 {
        /// For example `whsec_`.
        prefix: &'static str,
    },
}

/// How far a timestamp may be away.
#[derive(Debug, PartialEq, Eq)]
pub struct Window {
    /// Seconds, counted in whole seconds; a trigger may set its own.
    pub tolerance_s: u64,
    /// Whether a time ahead of ours is refused as well.
    pub both_ways: bool,
}

/// Where the vendor's id of a delivery stands.
#[derive(Debug, PartialEq, Eq)]
pub enum DeliveryId {
    /// In the family's `id` header.
    Header,
    /// In a text field at the top of the JSON body.
    Body(&'static str),
}

/// The scheme of that name; `None` if this build does not know it.
#[must_use]
pub fn scheme(name: &str) -> Option<&'static Scheme> {
    SCHEMES.iter().find(|scheme| scheme.name == name)
}

/// Every scheme of this build.
pub static SCHEMES: &[Scheme] = &[
    // base64 of HMAC-SHA256 over the body; older deliveries have `X-Shopify-…` headers, Events ones `shopify-…`.
    // Admin-created webhooks are signed with the store's secret, an app's with its client secret.
    Scheme {
        name: "shopify_webhook",
        title: "Shopify",
        families: &[
            Family { signature: "x-shopify-hmac-sha256", timestamp: None, id: Some("x-shopify-event-id") },
            Family { signature: "shopify-hmac-sha256", timestamp: None, id: Some("shopify-event-id") },
        ],
        layout: Layout::One { prefix: "" },
        encoding: Encoding::Base64,
        signed: &[Part::Body],
        key: Key::Text,
        window: None,
        delivery: DeliveryId::Header,
        success_status: 200,
        reply_within_ms: Some(5_000),
    },
    // The secret is used with its `whsec_`. Any v1 may match (rolled secrets); v0 is ignored. Stripe's own
    // libraries refuse only what is too old.
    Scheme {
        name: "stripe",
        title: "Stripe",
        families: &[Family { signature: "stripe-signature", timestamp: None, id: None }],
        layout: Layout::Pairs { time: "t", signature: "v1" },
        encoding: Encoding::Hex,
        signed: &[Part::Time, Part::Text("."), Part::Body],
        key: Key::Text,
        window: Some(Window { tolerance_s: 300, both_ways: false }),
        delivery: DeliveryId::Body("id"),
        success_status: 202,
        reply_within_ms: Some(10_000),
    },
    // No time is signed: a repeat is told by the delivery id only. The older SHA-1 header is never read.
    Scheme {
        name: "github",
        title: "GitHub",
        families: &[Family { signature: "x-hub-signature-256", timestamp: None, id: Some("x-github-delivery") }],
        layout: Layout::One { prefix: "sha256=" },
        encoding: Encoding::Hex,
        signed: &[Part::Body],
        key: Key::Text,
        window: None,
        delivery: DeliveryId::Header,
        success_status: 202,
        reply_within_ms: Some(10_000),
    },
    Scheme {
        name: "slack",
        title: "Slack",
        families: &[Family { signature: "x-slack-signature", timestamp: Some("x-slack-request-timestamp"), id: None }],
        layout: Layout::One { prefix: "v0=" },
        encoding: Encoding::Hex,
        signed: &[Part::Text("v0:"), Part::Time, Part::Text(":"), Part::Body],
        key: Key::Text,
        window: Some(Window { tolerance_s: 300, both_ways: true }),
        delivery: DeliveryId::Body("event_id"),
        success_status: 200,
        reply_within_ms: Some(3_000),
    },
    // standardwebhooks.com; the key is the base 64 after `whsec_`.
    Scheme {
        name: "standard_webhooks",
        title: "Standard Webhooks",
        families: &[Family {
            signature: "webhook-signature",
            timestamp: Some("webhook-timestamp"),
            id: Some("webhook-id"),
        }],
        layout: Layout::List { prefix: "v1," },
        encoding: Encoding::Base64,
        signed: &[Part::Id, Part::Text("."), Part::Time, Part::Text("."), Part::Body],
        key: Key::Base64 { prefix: "whsec_" },
        window: Some(Window { tolerance_s: 300, both_ways: true }),
        delivery: DeliveryId::Header,
        success_status: 202,
        reply_within_ms: Some(15_000),
    },
];
