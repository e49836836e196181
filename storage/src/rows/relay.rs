//! Rows of relays: what a relay keeps for the daemon at home, and what home keeps about its relays.
//!
//! The invariant: a delivery leaves the relay's queue only after home said that it has it, and home keeps a row for what
//! it took (written in the transaction of the event) until the relay said that it let go of it.

use aura_protocol::rpc::Verdict;
use aura_protocol::{EventId, FlowId, RelayId, TenantId};
use serde::{Deserialize, Serialize};

use crate::table::Key;

/// Key of what a relay knows of itself.
#[must_use]
pub fn here_key(tenant: TenantId) -> Key {
    Key::tenant(tenant)
}

/// Key of a delivery that waits at a relay; all that must be known at a start stands in it.
#[must_use]
pub fn queued_key(tenant: TenantId, number: u64, event: EventId, bytes: u64) -> Key {
    Key::tenant(tenant).number(number).id(event.bytes()).number(bytes)
}

/// Number, event and bytes of a [`queued_key`].
#[must_use]
pub fn queued_of(key: &Key) -> Option<(u64, EventId, u64)> {
    Some((key.number_at(16)?, EventId::from_bytes(key.id_at(24)?), key.number_at(40)?))
}

/// Key of a relay at home.
#[must_use]
pub fn relay_key(tenant: TenantId, relay: RelayId) -> Key {
    Key::tenant(tenant).id(relay.bytes())
}

/// Key of what was taken of a relay, which is named as it names itself.
#[must_use]
pub fn taken_key(tenant: TenantId, relay: RelayId, event: EventId) -> Key {
    relay_key(tenant, relay).id(event.bytes())
}

/// The event of a [`taken_key`].
#[must_use]
pub fn taken_of(key: &Key) -> Option<EventId> {
    key.id_at(32).map(EventId::from_bytes)
}

/// What a relay knows of itself (table `RelayHere`, sealed); whoever has this row is a relay and nothing else.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HereRow {
    /// Names this relay to home, whatever home calls it.
    pub id: RelayId,
    /// SHA-256 of the token that home shows; none: nobody may.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<[u8; 32]>,
    /// When that token was made, in Unix milliseconds.
    pub token_ms: i64,
    /// SHA-256 of the routes that home sent last, as it sent them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub routes: Option<[u8; 32]>,
    /// When they came, in Unix milliseconds.
    pub routes_ms: i64,
}

impl std::fmt::Debug for HereRow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HereRow").field("token_ms", &self.token_ms).finish_non_exhaustive()
    }
}

/// A delivery that waits at a relay (table `RelayQueue`, sealed); number and event stand in its key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueuedRow {
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
    /// Headers, names in lower case, without those whose reader could act as the sender.
    pub headers: Vec<(String, String)>,
    /// The body as it came.
    #[serde(with = "serde_bytes")]
    pub body: Vec<u8>,
    /// Address of the sender.
    pub from: String,
    /// What the look at its proof found.
    pub verdict: Verdict,
    /// When it came, in Unix milliseconds.
    pub received_ms: i64,
}

/// A relay at home (table `Relays`, sealed).
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RelayRecord {
    /// Its id.
    pub id: RelayId,
    /// Its name.
    pub name: String,
    /// Its address.
    pub url: String,
    /// What is shown to it.
    pub token: String,
    /// Nothing is taken from it until somebody lets it go on.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub paused: bool,
    /// It is called without encryption, though it is not on this machine.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub insecure: bool,
    /// When it was added, in Unix milliseconds.
    pub created_ms: i64,
    /// Last change.
    pub changed_ms: i64,
}

impl std::fmt::Debug for RelayRecord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RelayRecord").field("name", &self.name).field("url", &self.url).finish_non_exhaustive()
    }
}

/// Something was taken of a relay (table `RelayTaken`, plain).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TakenRow {
    /// Its number there.
    pub number: u64,
    /// When, in Unix milliseconds.
    pub at_ms: i64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_start_must_know_is_read_back_from_the_keys() {
        let (event, relay) = (EventId::now(), RelayId::now());
        let key = queued_key(TenantId::DEFAULT, 7, event, 1 << 40);
        assert_eq!(queued_of(&key), Some((7, event, 1 << 40)));
        assert_eq!(queued_of(&here_key(TenantId::DEFAULT)), None);
        assert!(key < queued_key(TenantId::DEFAULT, 8, EventId::from_bytes([0; 16]), 0));
        assert_eq!(taken_of(&taken_key(TenantId::DEFAULT, relay, event)), Some(event));
    }
}
