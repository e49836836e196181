//! Relays: what a daemon at home and a relay say to each other, and what people ask about either.
//!
//! Home dials, the relay never does: one long poll ([`Take`] → [`Taken`]) brings deliveries and says which of the ones
//! before are stored at home, and [`RouteSet`] brings the relay what it needs to find and prove deliveries. Bodies of both
//! are [`crate::wire`] over HTTP. The invariant: a delivery is named by its number and its event together, so that an
//! answer about one can never be taken for an answer about another.

use serde::{Deserialize, Serialize};

use crate::ids::{ConnectionId, EventId, FlowId, RelayId};
use crate::rpc::Verdict;

/// Where home asks for deliveries.
pub const TAKE_PATH: &str = "/relay/v1/take";
/// Where home sends its routes.
pub const ROUTES_PATH: &str = "/relay/v1/routes";
/// Where home reads a body that is too large for an answer.
pub const BODY_PATH: &str = "/relay/v1/body";
/// Most deliveries in one answer.
pub const TAKE_MAX: u32 = 128;
/// Bytes of bodies in one answer; a larger body is read in pieces of this size.
pub const TAKE_BYTES: u64 = 4 * 1024 * 1024;
/// Longest time that an answer is waited for, in milliseconds.
pub const WAIT_MAX_MS: u64 = 25_000;
/// Most deliveries that one request says to be stored.
pub const ACK_MAX: usize = 4096;
/// Largest request with routes, in bytes.
pub const ROUTES_MAX: usize = 8 * 1024 * 1024;
/// Most relays of one daemon.
pub const RELAYS_MAX: usize = 16;
/// Longest address of a relay, in bytes.
pub const URL_MAX: usize = 200;
/// Beginning of every token.
pub const TOKEN_PREFIX: &str = "relay_";

/// A delivery by number and event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Numbered {
    /// Its place in the relay's queue.
    pub number: u64,
    /// The event that it is.
    pub event: EventId,
}

/// Home asks for deliveries.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Take {
    /// Only those behind this number.
    pub after: u64,
    /// These are stored at home: the relay lets go of them, before it answers.
    pub ack: Vec<Numbered>,
    /// At most so many.
    pub max: u32,
    /// Wait so long if there are none.
    pub wait_ms: u64,
}

/// What the relay has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Taken {
    /// The relay's own id, for ever: what home took is remembered under it.
    pub relay: RelayId,
    /// Deliveries in the order of their numbers.
    pub deliveries: Vec<Relayed>,
    /// Deliveries that wait there, these included.
    pub waiting: u64,
    /// Their bytes.
    pub bytes: u64,
    /// When the oldest of them came, in Unix milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oldest_ms: Option<i64>,
    /// SHA-256 of the routes it has; none before it had any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub routes: Option<[u8; 32]>,
    /// How providers reach it, if it was told.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub public_url: String,
}

/// One delivery on its way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Relayed {
    /// Which.
    pub which: Numbered,
    /// The flow.
    pub flow: FlowId,
    /// Its name then.
    pub name: String,
    /// The trigger.
    pub trigger: String,
    /// Method.
    pub method: String,
    /// Query as it was sent.
    pub query: String,
    /// Headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body as it came; empty if it is too large for an answer, then it is read in pieces.
    #[serde(with = "serde_bytes")]
    pub body: Vec<u8>,
    /// Length of the body.
    pub bytes: u64,
    /// Address of the sender.
    pub from: String,
    /// What the relay found of its proof.
    pub verdict: Verdict,
    /// When it came, in Unix milliseconds.
    pub received_ms: i64,
}

/// Home reads a piece of a large body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BodyPiece {
    /// Of which delivery.
    pub which: Numbered,
    /// From this byte on; the answer is at most [`TAKE_BYTES`] bytes as they are.
    pub offset: u64,
}

/// Everything a relay needs to find and prove deliveries, all at once: what is not in it is no route any more.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteSet {
    /// Flows, each with its triggers that take deliveries and nothing else.
    pub flows: Vec<RouteFlow>,
    /// The secrets that prove deliveries, and no others.
    pub proofs: Vec<RouteProof>,
}

/// One flow as a relay knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteFlow {
    /// Id.
    pub id: FlowId,
    /// It takes events.
    pub enabled: bool,
    /// A flow file with nothing but what the door needs.
    pub text: String,
    /// Endpoint names by trigger.
    pub endpoints: Vec<(String, String)>,
    /// Triggers that are closed.
    pub closed: Vec<String>,
    /// Endpoint names before, by trigger, each until then in Unix milliseconds.
    pub before: Vec<(String, String, i64)>,
    /// Last change at home.
    pub changed_ms: i64,
}

/// Secrets of one connection.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteProof {
    /// Id of the connection.
    pub id: ConnectionId,
    /// Its name.
    pub name: String,
    /// Its connector, or `secret`.
    pub connector: String,
    /// Fields and values.
    pub secrets: Vec<(String, String)>,
    /// Fields and values that were replaced, each until then in Unix milliseconds.
    pub previous: Vec<(String, String, i64)>,
}

impl std::fmt::Debug for RouteProof {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RouteProof").field("name", &self.name).finish_non_exhaustive()
    }
}

/// `aura relay add`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RelayAdd {
    /// Its name here.
    pub name: String,
    /// Its address.
    pub url: String,
    /// Its token; empty for a relay that is changed: the one it has.
    pub token: String,
    /// It may be called without encryption.
    pub insecure: bool,
}

impl std::fmt::Debug for RelayAdd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RelayAdd").field("name", &self.name).field("url", &self.url).finish_non_exhaustive()
    }
}

/// `aura relay pause` and `resume`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RelayPause {
    /// Name.
    pub name: String,
    /// Take nothing?
    pub paused: bool,
}

/// A new token, shown once.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RelayToken {
    /// The token.
    pub token: String,
    /// There was one before; it counts no more.
    pub replaced: bool,
}

impl std::fmt::Debug for RelayToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RelayToken").field("replaced", &self.replaced).finish_non_exhaustive()
    }
}

/// Relays as a daemon knows them, and itself if it is one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RelayState {
    /// What it is as a relay; none: it is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serving: Option<RelayServing>,
    /// Relays that it takes deliveries from, by name.
    pub relays: Vec<RelayInfo>,
}

/// A relay as it sees itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RelayServing {
    /// When its token was made, in Unix milliseconds; none: it has none, and home cannot connect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_ms: Option<i64>,
    /// Flows it has routes of.
    pub flows: u64,
    /// When they came, in Unix milliseconds; none: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub routes_ms: Option<i64>,
    /// Deliveries that wait for home.
    pub waiting: u64,
    /// Most that may wait.
    pub waiting_max: u64,
    /// Bytes of those that wait.
    pub bytes: u64,
    /// Most bytes that may wait.
    pub bytes_max: u64,
    /// When the oldest of them came, in Unix milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oldest_ms: Option<i64>,
    /// When home asked last, in Unix milliseconds; none: not since the start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked_ms: Option<i64>,
    /// Deliveries that home took since the start.
    pub forwarded: u64,
}

/// A relay as home sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RelayInfo {
    /// Id of the entry here.
    pub id: RelayId,
    /// Name.
    pub name: String,
    /// Address.
    pub url: String,
    /// Address under which providers reach it.
    pub public_url: String,
    /// Nothing is taken from it.
    pub paused: bool,
    /// It answers.
    pub connected: bool,
    /// It has the routes of now.
    pub current: bool,
    /// Deliveries that wait there, as it said last.
    pub waiting: u64,
    /// When the oldest of them came, in Unix milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oldest_ms: Option<i64>,
    /// When it answered last, in Unix milliseconds; none: not since the start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heard_ms: Option<i64>,
    /// Since when it is away, in Unix milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub away_since_ms: Option<i64>,
    /// Deliveries taken since the start.
    pub taken: u64,
    /// Of these, such as came a second time, and became nothing new.
    pub repeated: u64,
    /// Deliveries refused here for good since the start; the log of deliveries has them.
    pub refused: u64,
    /// What went wrong last, while it does; a sentence.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub error: String,
    /// What works otherwise over a relay, a sentence each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// What is wrong with the address of a relay; `insecure` allows http to other machines.
///
/// # Errors
/// A sentence.
pub fn check_url(url: &str, insecure: bool) -> Result<(), String> {
    if url.len() > URL_MAX {
        return Err(format!("the address is longer than {URL_MAX} bytes"));
    }
    if url.chars().any(|c| c.is_whitespace() || c.is_control()) || url.contains(['?', '#', '@', '\\']) {
        return Err("the address has a query, a user, or characters that no address has".to_owned());
    }
    let (plain, rest) = match (url.strip_prefix("https://"), url.strip_prefix("http://")) {
        (Some(rest), _) => (false, rest),
        (_, Some(rest)) => (true, rest),
        _ => return Err("the address begins with https://".to_owned()),
    };
    let host = rest.split('/').next().unwrap_or_default();
    let name = match host.strip_prefix('[') {
        Some(six) => six.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    if name.is_empty() {
        return Err("the address names no host".to_owned());
    }
    let own = name.eq_ignore_ascii_case("localhost")
        || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
    if plain && !own && !insecure {
        return Err("over http anybody on the way reads the token and the secrets of your endpoints".to_owned());
    }
    Ok(())
}

/// What is wrong with the name of a relay.
///
/// # Errors
/// A sentence.
pub fn check_name(name: &str) -> Result<(), String> {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if name.is_empty() || name.len() > 32 || !name.chars().all(fits) {
        return Err(format!(
            "`{}` is no name of a relay: use 1 to 32 of a-z, 0-9 and -",
            crate::text::display(&name.chars().take(64).collect::<String>())
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_relays_are_encrypted_or_of_this_machine() {
        for (url, insecure, fits) in [
            ("https://relay.example.com", false, true),
            ("https://relay.example.com:8443/aura", false, true),
            ("http://127.0.0.1:8470", false, true),
            ("http://[::1]:8470", false, true),
            ("http://localhost:1", false, true),
            ("http://10.0.0.7:8470", false, false),
            ("http://10.0.0.7:8470", true, true),
            ("http://localhost.example.com", false, false),
            ("https://", false, false),
            ("https://a@b", false, false),
            ("https://b?token=x", true, false),
            ("ftp://b", true, false),
            ("https://b\n", true, false),
        ] {
            assert_eq!(check_url(url, insecure).is_ok(), fits, "{url}");
        }
        assert!(check_url(&format!("https://{}", "a".repeat(URL_MAX)), false).is_err());
        assert!(check_name("dmz-1").is_ok() && check_name("DMZ").is_err() && check_name("").is_err());
    }

    #[test]
    fn no_secret_is_in_what_a_log_shows() {
        let add = RelayAdd {
            name: "dmz".to_owned(),
            url: "https://r".to_owned(),
            token: "relay_secret".to_owned(),
            insecure: false,
        };
        let proof = RouteProof {
            id: ConnectionId::now(),
            name: "hook".to_owned(),
            connector: "secret".to_owned(),
            secrets: vec![("value".to_owned(), "a_secret".to_owned())],
            previous: Vec::new(),
        };
        let token = RelayToken { token: "relay_secret".to_owned(), replaced: true };
        let shown = format!("{add:?}{proof:?}{token:?}");
        assert!(!shown.contains("_secret"), "{shown}");
    }
}
