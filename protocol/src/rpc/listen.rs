//! Listening for test events: a trigger of a draft gets an address of its own for a while, and shows what comes there.
//!
//! Nothing of it is stored and nothing starts. A listener belongs to the daemon's memory: it ends with its time, with
//! its last event, when nobody asks for news any more, and with the daemon.

use serde::{Deserialize, Serialize};

/// Longest time to listen, in milliseconds.
pub const LISTEN_MAX_MS: u64 = 3_600_000;
/// Most events of one listener.
pub const HEARD_MAX: u32 = 100;

/// `aura flow listen`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowListen {
    /// The flow whose draft (else published version) has the trigger; not looked at with a text.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub flow: String,
    /// The text of a flow that need not be stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The trigger; none: the only one that takes deliveries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trigger: Option<String>,
    /// So many milliseconds, at most [`LISTEN_MAX_MS`].
    pub for_ms: u64,
    /// It ends after so many events, at most [`HEARD_MAX`].
    pub count: u32,
}

/// A listener that began.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listening {
    /// Names it for the other calls.
    pub id: String,
    /// The flow.
    pub flow: String,
    /// The trigger.
    pub trigger: String,
    /// What it listens for.
    pub on: String,
    /// Where test events go.
    pub url: String,
    /// Scheme, `bearer` or `none`.
    pub auth: String,
    /// Its secret is set; without it every delivery is refused, here as in production.
    pub secret_set: bool,
    /// When it ends, in Unix milliseconds of the daemon's clock.
    pub until_ms: i64,
}

/// What came since the last question.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeardQuery {
    /// The listener.
    pub id: String,
    /// How many were told already.
    pub after: u64,
    /// Wait so long for news, at most 25 s.
    pub wait_ms: u64,
}

/// News of a listener.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heard {
    /// What came, in order.
    pub events: Vec<HeardEvent>,
    /// For the next question.
    pub next: u64,
    /// One sentence: it has ended, and why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<String>,
}

/// A test event: without secrets, and without headers that would let a reader act as its sender.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeardEvent {
    /// When, in Unix milliseconds.
    pub at_ms: i64,
    /// Method.
    pub method: String,
    /// Query as it was sent.
    pub query: String,
    /// Headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// Body as text, unpacked; where `cut`, only its beginning.
    pub body: String,
    /// Length of the body in bytes.
    pub bytes: u64,
    /// The body was too large to be shown whole.
    #[serde(default)]
    pub cut: bool,
    /// Why production would refuse it, if it would.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
    /// What production would do with it otherwise, as in `would start a run`.
    #[serde(default)]
    pub would: String,
    /// The provider only asks whether somebody is there; it is no event and does not count.
    #[serde(default)]
    pub handshake: bool,
}
