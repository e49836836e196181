//! Requests and replies about endpoints: who delivered what and what it heard, again, claimed, rotated, closed.
//!
//! Invariant: nothing here holds a secret on its way out, and a delivery has one id whatever became of it: an accepted
//! one shares its digits with its event.

use serde::{Deserialize, Serialize};

use crate::event::EventState;
use crate::ids::{DeliveryId, EventId, RunId};

/// Most deliveries that one call delivers again.
pub const REDELIVER_MAX: u32 = 500;
/// Longest time for which an address that was replaced goes on: 30 days, in milliseconds.
pub const ADDRESS_KEEP_MAX_MS: u64 = 30 * 86_400_000;

/// An endpoint of a trigger.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Webhook {
    /// Flow name.
    pub flow: String,
    /// Trigger id.
    pub trigger: String,
    /// What it listens for.
    pub on: String,
    /// Full URL, `…/hooks/{26 characters}`.
    pub url: String,
    /// Alias, if the trigger has a scheme or token.
    pub alias: Option<String>,
    /// Scheme, `bearer`, `basic`, `header` or `none`.
    pub auth: String,
    /// Its secret is set.
    pub secret_set: bool,
    /// Takes events.
    pub enabled: bool,
    /// The token with which the vendor wants to sign (Notion): to be shown to it and added as the secret. Only
    /// while no secret is set, and only to those who may set one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offered: Option<String>,
    /// Last event, if any.
    pub last_event: Option<EventId>,
    /// It alone is closed: deliveries hear 404 as those of a disabled flow do.
    #[serde(default)]
    pub closed: bool,
    /// The network that may send, or how many may; empty: anybody.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allow: Vec<String>,
    /// The secret before counts until then, in Unix milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_until_ms: Option<i64>,
    /// The address before counts until then, in Unix milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address_until_ms: Option<i64>,
    /// Deliveries accepted since the daemon's start.
    #[serde(default)]
    pub accepted: u64,
    /// Deliveries refused since the daemon's start.
    #[serde(default)]
    pub refused: u64,
    /// When the last delivery came, in Unix milliseconds.
    #[serde(default)]
    pub last_ms: Option<i64>,
}

/// What a look at a delivery found, by the part that decided.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Proved with the secret.
    Proved,
    /// Proved with the secret before, during a rotation.
    ProvedBefore,
    /// Nothing had to be proved (`auth: none`).
    Open,
    /// A handshake: answered, no event.
    Handshake,
    /// No endpoint has this address.
    NoEndpoint,
    /// The endpoint takes `POST` only.
    Method,
    /// The flow is disabled, or its trigger was taken out.
    Disabled,
    /// The endpoint alone is closed.
    Closed,
    /// The address was rotated and its time is over.
    AddressOver,
    /// The sender's network is not among those that may send.
    NotAllowed,
    /// A header of the proof is missing.
    HeaderMissing,
    /// A header is there more than once.
    HeaderTwice,
    /// A header of the proof has another form, or another version of the scheme.
    HeaderForm,
    /// Signed too long ago.
    Stale,
    /// Signed in our future.
    Ahead,
    /// The digest differs: another body, another secret, or (where it is signed) another address.
    Digest,
    /// The token, password or header value is another one.
    Token,
    /// No secret is set.
    NoSecret,
    /// The secret cannot be a key of the scheme.
    BadSecret,
    /// A handshake without the agreed word.
    HandshakeDenied,
    /// Proved, but another kind of event.
    OtherEvent,
    /// Too many bytes.
    TooLarge,
    /// Packed in a way that the trigger does not take, or wrongly packed.
    Packing,
    /// The body did not come in time.
    Slow,
    /// The body is not what its content type says.
    Body,
    /// Overload, or more than one sender may send.
    Busy,
    /// No room on the disk or in the quota.
    NoRoom,
    /// The store failed.
    Store,
    /// A newer daemon's verdict that this client does not know.
    #[default]
    #[serde(other)]
    Unknown,
}

impl Verdict {
    /// Every one of this build.
    pub const ALL: &'static [Self] = &[
        Self::Proved,
        Self::ProvedBefore,
        Self::Open,
        Self::Handshake,
        Self::NoEndpoint,
        Self::Method,
        Self::Disabled,
        Self::Closed,
        Self::AddressOver,
        Self::NotAllowed,
        Self::HeaderMissing,
        Self::HeaderTwice,
        Self::HeaderForm,
        Self::Stale,
        Self::Ahead,
        Self::Digest,
        Self::Token,
        Self::NoSecret,
        Self::BadSecret,
        Self::HandshakeDenied,
        Self::OtherEvent,
        Self::TooLarge,
        Self::Packing,
        Self::Slow,
        Self::Body,
        Self::Busy,
        Self::NoRoom,
        Self::Store,
    ];

    /// In a column.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Proved => "proved",
            Self::ProvedBefore => "proved (old secret)",
            Self::Open => "open",
            Self::Handshake => "handshake",
            Self::NoEndpoint => "no endpoint",
            Self::Method => "wrong method",
            Self::Disabled => "flow disabled",
            Self::Closed => "endpoint closed",
            Self::AddressOver => "old address",
            Self::NotAllowed => "not allowed",
            Self::HeaderMissing => "header missing",
            Self::HeaderTwice => "header twice",
            Self::HeaderForm => "header form",
            Self::Stale => "stale time",
            Self::Ahead => "time ahead",
            Self::Digest => "digest differs",
            Self::Token => "token differs",
            Self::NoSecret => "no secret set",
            Self::BadSecret => "secret unusable",
            Self::HandshakeDenied => "handshake denied",
            Self::OtherEvent => "other event",
            Self::TooLarge => "too large",
            Self::Packing => "packing",
            Self::Slow => "too slow",
            Self::Body => "body malformed",
            Self::Busy => "busy",
            Self::NoRoom => "no room",
            Self::Store => "not stored",
            Self::Unknown => "unknown",
        }
    }

    /// What to do about it; empty where nothing is wrong.
    #[must_use]
    pub fn advice(self) -> &'static str {
        match self {
            Self::Proved | Self::Open | Self::Handshake | Self::Unknown => "",
            Self::ProvedBefore => "give the sender the new secret before the time of the old one is over",
            Self::NoEndpoint => {
                "give the sender the address of `aura webhook show`, and take this one in with `aura webhook claim`"
            }
            Self::Method => "the sender must use POST; a browser that opens the address sends GET",
            Self::Disabled => "`aura flow enable FLOW`, then `aura webhook claim` takes this one in",
            Self::Closed => "`aura webhook enable FLOW/TRIGGER`, then `aura webhook claim` takes this one in",
            Self::AddressOver => "give the sender the new address of `aura webhook show`",
            Self::NotAllowed => {
                "add the sender's network to `allow` of the trigger, or set `trusted_proxies` if a proxy stands in front"
            }
            Self::HeaderMissing => {
                "the sender does not sign, or signs by another scheme: compare `auth` with its documentation"
            }
            Self::HeaderTwice => "a proxy in front adds the header again",
            Self::HeaderForm => "the sender signs by another scheme or version: compare `auth` with its documentation",
            Self::Stale => "the sender or a queue in front delivers late, or a clock is wrong: `aura webhook doctor`",
            Self::Ahead => "a clock is wrong: `aura webhook doctor` compares this one",
            Self::Digest => {
                "compare the secret with the sender's; look whether a proxy changes the body (`aura webhook doctor`)"
            }
            Self::Token => "compare the secret with the sender's",
            Self::NoSecret | Self::BadSecret => "`aura connection add` sets the secret, then `aura webhook replay`",
            Self::HandshakeDenied => "add the agreed word as `verify_token` to the connection",
            Self::OtherEvent => "subscribe the sender to this trigger's event only, or add a trigger for the other one",
            Self::TooLarge => "raise `body_max` in `with` of the trigger",
            Self::Packing => "add `encodings: [gzip]` to `with` of the trigger, or have the sender send plain",
            Self::Slow => "the sender or the network is slow; it will send again",
            Self::Body => "the sender's body is not what its content-type says",
            Self::Busy | Self::NoRoom | Self::Store => {
                "the sender will send again; see `aura status` and `aura doctor`"
            }
        }
    }

    /// Whether an endpoint can claim what came with it: nobody looked at its proof.
    #[must_use]
    pub fn claimable(self) -> bool {
        matches!(self, Self::NoEndpoint | Self::Disabled | Self::Closed | Self::AddressOver)
    }

    /// Whether it let the delivery through to the engine.
    #[must_use]
    pub fn passed(self) -> bool {
        matches!(self, Self::Proved | Self::ProvedBefore | Self::Open)
    }
}

/// `aura webhook deliveries` and `unclaimed`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeliveryQuery {
    /// Only to this flow.
    #[serde(default)]
    pub flow: Option<String>,
    /// Only to this trigger of it.
    #[serde(default)]
    pub trigger: Option<String>,
    /// Only refused ones.
    #[serde(default)]
    pub failed: bool,
    /// Only those that nobody has claimed: to unknown addresses, to closed endpoints and disabled flows.
    #[serde(default)]
    pub unclaimed: bool,
    /// A filter in the language of runs; `state` is `accepted` or `refused`, `error` the verdict and why.
    #[serde(default)]
    pub filter: Option<String>,
    /// Older than this one.
    #[serde(default)]
    pub before: Option<DeliveryId>,
    /// Newer than this one.
    #[serde(default)]
    pub after: Option<DeliveryId>,
    /// At most this many (≤ 200).
    pub limit: u32,
}

/// A piece of the list of deliveries.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeliveryPage {
    /// Newest first.
    pub deliveries: Vec<DeliveryRow>,
    /// Give this as `before` to go on; `None`: there are no older ones.
    pub next: Option<DeliveryId>,
    /// Refused ones since the daemon's start that were not kept: too many at once, or no room.
    #[serde(default)]
    pub unkept: u64,
}

/// A delivery in a list.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeliveryRow {
    /// Its id; that of an accepted one has the digits of its event.
    pub id: DeliveryId,
    /// When it came, in Unix milliseconds.
    pub at_ms: i64,
    /// Flow; empty where no endpoint has the address.
    pub flow: String,
    /// Trigger id.
    pub trigger: String,
    /// Method.
    pub method: String,
    /// Path as it was asked for; empty for an accepted one.
    #[serde(default)]
    pub path: String,
    /// Address of the sender; empty if it is not known any more.
    #[serde(default)]
    pub from: String,
    /// Status of the answer; none if it is not known any more.
    pub status: Option<u16>,
    /// What the look at it found.
    pub verdict: Verdict,
    /// In one sentence, what differed or what became of it.
    #[serde(default)]
    pub why: String,
    /// From the head to the answer, in microseconds; none if it is not known any more.
    pub took_us: Option<u64>,
    /// Bytes of its body.
    pub bytes: u64,
    /// The event it became, or was claimed as.
    pub event: Option<EventId>,
    /// What became of the event.
    pub state: Option<EventState>,
    /// The run.
    pub run: Option<RunId>,
    /// The relay that took it, by its name here: its id has the time of that relay's clock, and may be days old.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub relay: Option<String>,
}

impl DeliveryRow {
    /// Whether its sender was promised something.
    #[must_use]
    pub fn accepted(&self) -> bool {
        self.state.is_some()
    }
}

/// One delivery as it came.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeliveryDetail {
    /// Its row.
    pub row: DeliveryRow,
    /// Query without `?`.
    pub query: String,
    /// Headers in their order, names in lower case.
    pub headers: Vec<(String, String)>,
    /// Names of headers that came and are never kept, as `authorization`.
    #[serde(default)]
    pub withheld: Vec<String>,
    /// The body, byte for byte, at most 512 KiB of it.
    #[serde(with = "crate::bytes")]
    pub body: Vec<u8>,
    /// Not the whole body stands here.
    #[serde(default)]
    pub cut: bool,
    /// What to do.
    #[serde(default)]
    pub advice: String,
    /// What was found by trying: with which change the proof would fit.
    #[serde(default)]
    pub findings: Vec<String>,
}

/// `aura webhook replay` and `claim`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WebhookRedeliver {
    /// These deliveries, by id; empty: those of `query`.
    #[serde(default)]
    pub ids: Vec<String>,
    /// Which, if no ids are given; `limit` at most [`REDELIVER_MAX`].
    #[serde(default)]
    pub query: Option<DeliveryQuery>,
    /// To this endpoint, as `FLOW/TRIGGER`; none: its own.
    #[serde(default)]
    pub to: Option<String>,
    /// It is claimed: as if it had come there, so repeats are told and the row is marked.
    #[serde(default)]
    pub claim: bool,
    /// Another body (one id only).
    #[serde(default, with = "serde_bytes")]
    pub body: Option<Vec<u8>>,
    /// Also what cannot be proved. Admins only.
    #[serde(default)]
    pub unproved: bool,
    /// Only say what would happen.
    #[serde(default)]
    pub dry_run: bool,
}

/// What became of a question to deliver again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Redelivered {
    /// One row for each delivery, in the order in which they came.
    pub rows: Vec<RedeliveredRow>,
    /// There are more than one call delivers; ask again with `before` this one.
    #[serde(default)]
    pub next: Option<DeliveryId>,
}

/// What became of one of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RedeliveredRow {
    /// The delivery.
    pub delivery: DeliveryId,
    /// To which flow.
    pub flow: String,
    /// To which trigger.
    pub trigger: String,
    /// What the look at it found now.
    pub verdict: Verdict,
    /// In one sentence, what would happen or what happened.
    pub said: String,
    /// It was, or would be, refused.
    #[serde(default)]
    pub refused: bool,
    /// The new event.
    pub event: Option<EventId>,
    /// Its run.
    pub run: Option<RunId>,
}

/// `aura webhook rotate`.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WebhookRotate {
    /// The flow.
    pub flow: String,
    /// Its trigger; may be left out if it has one endpoint only.
    #[serde(default)]
    pub trigger: Option<String>,
    /// The new secret; none: the address is rotated.
    #[serde(default)]
    pub secret: Option<String>,
    /// How long the one before counts, in milliseconds (a secret at most 7 days, an address 30).
    pub keep_ms: u64,
}

impl std::fmt::Debug for WebhookRotate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { flow, trigger, secret, keep_ms } = self;
        let secret = secret.as_ref().map(|_| "••••••");
        f.debug_struct("WebhookRotate")
            .field("flow", flow)
            .field("trigger", trigger)
            .field("secret", &secret)
            .field("keep_ms", keep_ms)
            .finish()
    }
}

/// What was rotated.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rotated {
    /// The endpoint as it is now.
    pub webhook: Webhook,
    /// The one before counts until then, in Unix milliseconds.
    pub until_ms: i64,
    /// Where the secret stands, as `connection.field`; empty for an address.
    #[serde(default)]
    pub place: String,
    /// Other endpoints that prove by the same secret.
    #[serde(default)]
    pub shared: Vec<String>,
}

/// `aura webhook enable` and `disable`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WebhookSwitch {
    /// The flow.
    pub flow: String,
    /// Its trigger; may be left out if it has one endpoint only.
    #[serde(default)]
    pub trigger: Option<String>,
    /// Close it?
    pub closed: bool,
}

/// `aura webhook test --provider-sample`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WebhookSampleQuery {
    /// The flow.
    pub flow: String,
    /// Its trigger; may be left out if it has one endpoint only.
    #[serde(default)]
    pub trigger: Option<String>,
}

/// A realistic delivery, signed now.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WebhookSample {
    /// Whose.
    pub provider: String,
    /// The body.
    pub body: String,
    /// Headers as the provider sends them. A token or password stands as a variable of the shell.
    pub headers: Vec<(String, String)>,
    /// A line for a shell that sends exactly this.
    pub curl: String,
    /// For so many seconds the signature is taken; none: for ever.
    #[serde(default)]
    pub valid_s: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_says_what_to_do_and_every_verdict_has_its_own_word() {
        let words: std::collections::BTreeSet<&str> = Verdict::ALL.iter().map(|verdict| verdict.word()).collect();
        assert_eq!(words.len(), Verdict::ALL.len());
        for verdict in Verdict::ALL {
            let silent = matches!(verdict, Verdict::Proved | Verdict::Open | Verdict::Handshake);
            assert_eq!(verdict.advice().is_empty(), silent, "{verdict:?}");
            let json = serde_json::to_string(verdict).unwrap();
            assert_eq!(serde_json::from_str::<Verdict>(&json).unwrap(), *verdict);
        }
        assert_eq!(serde_json::from_str::<Verdict>("\"of_tomorrow\"").unwrap(), Verdict::Unknown);
    }

    #[test]
    fn a_secret_on_its_way_in_is_in_no_debug_text() {
        let rotate = WebhookRotate { secret: Some("hush-hush".to_owned()), ..WebhookRotate::default() };
        assert!(!format!("{rotate:?}").contains("hush"));
    }
}
