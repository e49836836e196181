//! Rows of outgoing webhooks: subscriptions, messages, sendings, and when each is due.
//!
//! The invariant: a sending waits exactly as long as it has a due row, and the counter of its subscription counts
//! these rows; whoever writes one of the three writes all, in one transaction that expects the due row to be as it was.

use aura_protocol::outgoing::{Attempt, Cause, Header, SendingState};
use aura_protocol::{MessageId, SubscriptionId, TenantId};
use serde::{Deserialize, Serialize};

use super::Deleted;
use crate::table::Key;

/// Key of a subscription and of how it fares.
#[must_use]
pub fn subscription_key(tenant: TenantId, subscription: SubscriptionId) -> Key {
    Key::tenant(tenant).id(subscription.bytes())
}

/// Key of the counter of a subscription's sendings that wait.
#[must_use]
pub fn waiting_key(tenant: TenantId, subscription: SubscriptionId) -> Key {
    subscription_key(tenant, subscription)
}

/// Key of a message.
#[must_use]
pub fn message_key(tenant: TenantId, message: MessageId) -> Key {
    Key::tenant(tenant).id(message.bytes())
}

/// Key of a sending.
#[must_use]
pub fn sending_key(tenant: TenantId, subscription: SubscriptionId, message: MessageId) -> Key {
    subscription_key(tenant, subscription).id(message.bytes())
}

/// Key of a due row: in ordered subscriptions the time is 0, so that messages stand in the order of their ids.
#[must_use]
pub fn due_key(tenant: TenantId, subscription: SubscriptionId, due_ms: i64, message: MessageId) -> Key {
    subscription_key(tenant, subscription).time(due_ms).id(message.bytes())
}

/// A secret with which a subscription is signed.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SigningSecret {
    /// `whsec_…`.
    pub value: String,
    /// It signs until then, beside a newer one; none: it is the one of now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until_ms: Option<i64>,
}

/// A subscription (table `Subscriptions`, sealed).
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct SubscriptionRecord {
    /// Its id.
    pub id: SubscriptionId,
    /// Its name.
    pub name: String,
    /// Where its events are sent.
    pub url: String,
    /// Patterns of the event types it wants.
    pub types: Vec<String>,
    /// Whose it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub customer: Option<String>,
    /// For people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
    /// Headers that are sent along.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<Header>,
    /// Attempts in a time, as it was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<String>,
    /// The next is sent only when the one before is over.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ordered: bool,
    /// A person wants it to be sent to.
    pub enabled: bool,
    /// Its secrets, newest first.
    pub secrets: Vec<SigningSecret>,
    /// When it was created.
    pub created_ms: i64,
    /// Last change.
    pub changed_ms: i64,
    /// It is in the bin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deleted: Option<Deleted>,
}

impl std::fmt::Debug for SubscriptionRecord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SubscriptionRecord").field("name", &self.name).finish_non_exhaustive()
    }
}

/// How a subscription fares (table `SubscriptionHealth`, plain): written when it begins to fail or fails no more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthRow {
    /// Since when no attempt succeeded, if the last one failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failing_since_ms: Option<i64>,
    /// A success that is remembered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_success_ms: Option<i64>,
    /// When and why the daemon disabled it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disabled: Option<(i64, Cause)>,
}

/// A message (table `Messages`, sealed).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageRow {
    /// The event's type.
    pub kind: String,
    /// Whom it concerns, if not everybody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub customer: Option<String>,
    /// The bytes that are sent.
    #[serde(with = "serde_bytes")]
    pub body: Vec<u8>,
    /// When it was made.
    pub created_ms: i64,
    /// What made it: a run and its step, or a person.
    pub by: String,
    /// It is a test of one subscription: nobody else gets it later.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub test: bool,
    /// What people are shown instead of the bytes that are sent, if the step redacts some of them.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "serde_bytes")]
    pub shown: Option<Vec<u8>>,
}

/// What became of a message for a subscription (table `Sendings`, sealed).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SendingRow {
    /// The event's type.
    pub kind: String,
    /// State.
    pub state: SendingState,
    /// When the message was made.
    pub created_ms: i64,
    /// The time in the key of its due row while it waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due_ms: Option<i64>,
    /// When its next attempt may be made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_ms: Option<i64>,
    /// Attempts of the schedule that is at work; a resend begins anew.
    pub tries: u32,
    /// Attempts of its whole life.
    pub attempted: u32,
    /// The newest of them, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attempts: Vec<Attempt>,
    /// Why it was given up.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

/// A sending waits (table `SendingsDue`, plain).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DueRow {
    /// Its next attempt may be made then, in Unix milliseconds.
    pub next_ms: i64,
}
