//! Outgoing webhooks: subscriptions of people outside, messages, and sendings with their attempts.
//!
//! Words: a *subscription* is a receiver's address with what it wants to hear; a *message* is one event for the
//! outside, signed under one `webhook-id`; a *sending* is one message to one subscription; an *attempt* is one request
//! of it. The one invariant: no type in here carries a secret out of the daemon; secrets only go in.

use serde::{Deserialize, Serialize};

use crate::flow::limits::Rate;
use crate::ids::{MessageId, SubscriptionId};
use crate::text::display;

/// Subscriptions of an installation at most: an event for all of them is one transaction.
pub const SUBSCRIPTIONS_MAX: usize = 2_000;
/// Event types of one subscription at most.
pub const TYPES_MAX: usize = 32;
/// Headers of one subscription at most.
pub const HEADERS_MAX: usize = 16;
/// Longest address, in bytes.
pub const URL_MAX: usize = 1024;
/// Longest value of a header, in bytes.
pub const HEADER_MAX: usize = 512;
/// Longest name, event type and customer, in bytes.
pub const NAME_MAX: usize = 64;
/// Longest note for people, in bytes.
pub const NOTE_MAX: usize = 200;
/// Longest time for which a secret before still signs: 7 days.
pub const KEEP_MAX_MS: u64 = 7 * 86_400_000;
/// How long it does unless somebody says otherwise: a day.
pub const KEEP_MS: u64 = 86_400_000;
/// What stands before the base 64 of a secret.
pub const SECRET_PREFIX: &str = "whsec_";
/// Shortest and longest secret, in bytes of its key (the specification's bounds).
pub const SECRET_BYTES: std::ops::RangeInclusive<usize> = 24..=64;
/// The customer of subscriptions that get the events of all of them.
pub const ALL_CUSTOMERS: &str = "*";
/// Event type of a test.
pub const TEST_TYPE: &str = "aura.test";
/// Event that flows are told of when a subscription is disabled because its receiver fails.
pub const DISABLED_EVENT: &str = "subscription_disabled";

/// Headers that we set, or that would change how the request is read.
const TAKEN: &[&str] = &[
    "content-type",
    "content-length",
    "content-encoding",
    "host",
    "connection",
    "transfer-encoding",
    "te",
    "trailer",
    "upgrade",
    "expect",
    "keep-alive",
    "user-agent",
    "cookie",
    "accept-encoding",
];

/// A header that is sent along.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// Its name.
    pub name: String,
    /// Its value; dots where a secret one is shown.
    pub value: String,
    /// Nobody is shown its value.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub secret: bool,
}

impl std::fmt::Debug for Header {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Header").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Why the daemon disabled a subscription by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// Its receiver failed for days.
    Failing,
    /// Its receiver answered 410: nobody wants these events any more.
    Gone,
}

impl Cause {
    /// For people.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::Failing => "its receiver failed for too long",
            Self::Gone => "its receiver answered 410 (gone)",
        }
    }
}

/// How a subscription fares.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// Sendings that wait.
    pub waiting: u64,
    /// Since when no attempt succeeded, if the last one failed, in Unix milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failing_since_ms: Option<i64>,
    /// When an attempt succeeded last, as far as it is remembered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_success_ms: Option<i64>,
    /// When the next attempt is due, if something waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_ms: Option<i64>,
    /// When and why the daemon disabled it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disabled: Option<(i64, Cause)>,
}

/// A subscription as it is shown: never with a secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subscription {
    /// Its id.
    pub id: SubscriptionId,
    /// Its name, by which it is called.
    pub name: String,
    /// Where its events are sent.
    pub url: String,
    /// Event types it wants: names, or beginnings with a `*` at their end.
    pub types: Vec<String>,
    /// Whose it is: it gets events for nobody in particular and those of this customer; [`ALL_CUSTOMERS`]: of all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub customer: Option<String>,
    /// For people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
    /// Headers that are sent along; values of secret ones are dots.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<Header>,
    /// Attempts in a time, as in `10/1s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<String>,
    /// The next one is sent only when the one before succeeded or was given up.
    pub ordered: bool,
    /// It is sent to: a person wants it, and the daemon has not disabled it.
    pub enabled: bool,
    /// Until when the secret before signs too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotating_until_ms: Option<i64>,
    /// When it was created.
    pub created_ms: i64,
    /// When it was last changed.
    pub changed_ms: i64,
    /// How it fares.
    pub health: Health,
}

/// Which subscriptions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubscriptionQuery {
    /// Only this one.
    #[serde(default)]
    pub name: Option<String>,
    /// Behind this name.
    #[serde(default)]
    pub after: Option<String>,
}

/// Subscriptions by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubscriptionPage {
    /// They.
    pub subscriptions: Vec<Subscription>,
    /// There are more behind this name.
    pub next: Option<String>,
}

/// Creates a subscription, or changes what is given of one.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubscriptionPut {
    /// Its name.
    pub name: String,
    /// It must not be there yet; else it must be.
    pub create: bool,
    /// Where its events are sent.
    #[serde(default)]
    pub url: Option<String>,
    /// What it wants to hear.
    #[serde(default)]
    pub types: Option<Vec<String>>,
    /// Whose it is; an empty text: nobody's in particular.
    #[serde(default)]
    pub customer: Option<String>,
    /// For people.
    #[serde(default)]
    pub note: Option<String>,
    /// Headers to set; one with an empty value is taken away.
    #[serde(default)]
    pub headers: Vec<Header>,
    /// Attempts in a time; an empty text: as many as there are.
    #[serde(default)]
    pub rate: Option<String>,
    /// In order.
    #[serde(default)]
    pub ordered: Option<bool>,
    /// Its secret, made by whoever creates it: the daemon never gives one out.
    #[serde(default)]
    pub secret: Option<String>,
}

impl std::fmt::Debug for SubscriptionPut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SubscriptionPut")
            .field("name", &self.name)
            .field("create", &self.create)
            .finish_non_exhaustive()
    }
}

/// Gives a subscription a new secret; the one before signs beside it for a while.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubscriptionRotate {
    /// Its name.
    pub name: String,
    /// The new secret.
    pub secret: String,
    /// The one before signs too for so many milliseconds, at most [`KEEP_MAX_MS`].
    pub keep_ms: u64,
}

impl std::fmt::Debug for SubscriptionRotate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SubscriptionRotate").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Lets a subscription be sent to, or not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubscriptionEnable {
    /// Its name.
    pub name: String,
    /// Send to it?
    pub enabled: bool,
}

/// Sends a test event to one subscription, once and at once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubscriptionTest {
    /// Its name.
    pub name: String,
    /// The event's type; none: [`TEST_TYPE`].
    #[serde(default)]
    pub kind: Option<String>,
    /// Its data as JSON; none: a sample.
    #[serde(default)]
    pub data: Option<String>,
}

/// State of a sending.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SendingState {
    /// For its turn, or for its next attempt.
    Waiting,
    /// Its receiver answered 2xx.
    Succeeded,
    /// Given up.
    Failed,
}

impl SendingState {
    /// As it is typed and shown.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
        }
    }
}

/// One request to a receiver, and what came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// Counts from 1 over the whole life of its sending.
    pub number: u32,
    /// When it began, in Unix milliseconds.
    pub at_ms: i64,
    /// How long it took, in milliseconds.
    pub took_ms: u32,
    /// Status of the answer, if there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Why it does not count as success; empty if it does.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub error: String,
    /// The beginning of the answer's body, without secrets of ours.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub answer: String,
}

/// One message to one subscription.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sending {
    /// The message, as `webhook-id` names it.
    pub message: MessageId,
    /// Name of the subscription.
    pub subscription: String,
    /// The event's type.
    pub kind: String,
    /// State.
    pub state: SendingState,
    /// When the message was made.
    pub created_ms: i64,
    /// When the next attempt is due.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_ms: Option<i64>,
    /// Why it was given up.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// Its attempts, oldest first; the newest are kept.
    pub attempts: Vec<Attempt>,
}

/// Which sendings.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SendingQuery {
    /// Only to this subscription.
    #[serde(default)]
    pub subscription: Option<String>,
    /// Only in these states (empty: all).
    #[serde(default)]
    pub states: Vec<SendingState>,
    /// Only of this event type, or of those that begin so (`order.*`).
    #[serde(default)]
    pub kind: Option<String>,
    /// Only of messages made then or later.
    #[serde(default)]
    pub since_ms: Option<i64>,
    /// Only of messages made before.
    #[serde(default)]
    pub until_ms: Option<i64>,
    /// Older than this message.
    #[serde(default)]
    pub before: Option<MessageId>,
    /// At most this many (≤ 500).
    pub limit: u32,
}

/// Sendings, newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SendingPage {
    /// They.
    pub sendings: Vec<Sending>,
    /// There may be older ones than this message.
    pub next: Option<MessageId>,
}

/// One sending.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SendingRef {
    /// Name of the subscription.
    pub subscription: String,
    /// The message.
    pub message: MessageId,
}

/// A sending with what is sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SendingDetail {
    /// It.
    pub sending: Sending,
    /// Where it came from: a run and its step, or a person's test.
    pub by: String,
    /// The body, byte-exact as text; empty if retention took it.
    pub body: String,
}

/// Sends again what failed (or whatever is asked for), or says what that would send.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resend {
    /// Name of the subscription.
    pub subscription: String,
    /// Only this message.
    #[serde(default)]
    pub message: Option<MessageId>,
    /// Only in these states (empty: failed); what waits is sent at once.
    #[serde(default)]
    pub states: Vec<SendingState>,
    /// Only of this event type, or of those that begin so.
    #[serde(default)]
    pub kind: Option<String>,
    /// Only of messages made then or later.
    #[serde(default)]
    pub since_ms: Option<i64>,
    /// Only of messages made before.
    #[serde(default)]
    pub until_ms: Option<i64>,
    /// Also messages that it would have got had it been enabled.
    #[serde(default)]
    pub missing: bool,
    /// Only count.
    #[serde(default)]
    pub plan: bool,
    /// Go on behind this message, as the reply before said.
    #[serde(default)]
    pub after: Option<MessageId>,
}

/// What is sent again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resent {
    /// How many.
    pub sendings: u64,
    /// How many of these it had not been sent before.
    pub missing: u64,
    /// The first of them, at most ten.
    pub first: Vec<MessageId>,
    /// There may be more behind this message: ask again with it as `after`.
    pub next: Option<MessageId>,
}

/// What is wrong with something given, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Wrong {
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub hint: &'static str,
}

fn wrong<T>(message: String, hint: &'static str) -> Result<T, Wrong> {
    Err(Wrong { message, hint })
}

/// Whether a text can be the name of a subscription.
///
/// # Errors
/// What is wrong.
pub fn check_name(name: &str) -> Result<(), Wrong> {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_' | '.');
    if name.is_empty() || name.len() > NAME_MAX || !name.chars().all(fits) {
        return wrong(
            format!("`{}` is no name of a subscription", display(name)),
            "use 1 to 64 of a-z, 0-9, -, _ and .",
        );
    }
    Ok(())
}

/// Whether a text says which event types are meant: a name, a beginning with `*` behind it, or `*` alone.
///
/// # Errors
/// What is wrong.
pub fn check_type(pattern: &str) -> Result<(), Wrong> {
    let name = pattern.strip_suffix('*').unwrap_or(pattern);
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if pattern.is_empty() || pattern.len() > NAME_MAX || !name.chars().all(fits) {
        let message = format!("`{}` is no event type", display(pattern));
        return wrong(message, "write a name like order.paid, a beginning like order.*, or * for all");
    }
    Ok(())
}

/// Whether a text can name a customer.
///
/// # Errors
/// What is wrong.
pub fn check_customer(customer: &str) -> Result<(), Wrong> {
    if customer.is_empty() || customer.len() > NAME_MAX || customer.chars().any(|c| c.is_control() || c.is_whitespace())
    {
        let message = format!("`{}` is no name of a customer", display(customer));
        return wrong(message, "use up to 64 bytes without blanks; * gets the events of all customers");
    }
    Ok(())
}

/// Whether a header can be sent along.
///
/// # Errors
/// What is wrong; the value is never in it.
pub fn check_header(header: &Header) -> Result<(), Wrong> {
    let name = header.name.to_ascii_lowercase();
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.is_empty() || name.len() > NAME_MAX || !name.bytes().all(token) {
        return wrong(format!("`{}` is no name of a header", display(&header.name)), "as in X-Shop");
    }
    if TAKEN.contains(&name.as_str()) || name.starts_with("webhook-") || name.starts_with("proxy-") {
        return wrong(format!("the header `{name}` is set by AURA"), "choose another name");
    }
    if header.value.len() > HEADER_MAX || !header.value.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
        let message = format!("the value of the header `{name}` is no line of at most {HEADER_MAX} plain characters");
        return wrong(message, "encode it");
    }
    Ok(())
}

/// Whether a text is a secret that both sides can sign with.
///
/// # Errors
/// What is wrong; the secret is never in it.
pub fn check_secret(secret: &str) -> Result<(), Wrong> {
    use base64::Engine as _;
    let key = secret.strip_prefix(SECRET_PREFIX).map(|text| base64::prelude::BASE64_STANDARD.decode(text));
    match key {
        Some(Ok(key)) if SECRET_BYTES.contains(&key.len()) => Ok(()),
        _ => wrong(
            "the secret is not of the form whsec_ and base 64 of 24 to 64 bytes".to_owned(),
            "leave it out, and one is made",
        ),
    }
}

/// A secret of these random bytes.
#[must_use]
pub fn secret_of(random: &[u8; 32]) -> String {
    use base64::Engine as _;
    format!("{SECRET_PREFIX}{}", base64::prelude::BASE64_STANDARD.encode(random))
}

/// A rate as it is written; none for an empty text.
///
/// # Errors
/// What is wrong.
pub fn read_rate(text: &str) -> Result<Option<Rate>, Wrong> {
    if text.is_empty() {
        return Ok(None);
    }
    Rate::read(text).map(Some).map_err(|message| Wrong { message, hint: "as in 10/1s" })
}

/// Whether a pattern of event types takes this one.
#[must_use]
pub fn takes(pattern: &str, kind: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(beginning) => kind.starts_with(beginning),
        None => pattern == kind,
    }
}

/// Whether the subscription of this customer gets an event that is for that one.
#[must_use]
pub fn concerns(subscriber: Option<&str>, event_for: Option<&str>) -> bool {
    match (subscriber, event_for) {
        (_, None) | (Some(ALL_CUSTOMERS), _) => true,
        (subscriber, wanted) => subscriber == wanted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_and_customers_decide_who_gets_an_event() {
        for (pattern, kind, expected) in [
            ("order.paid", "order.paid", true),
            ("order.paid", "order.paid2", false),
            ("order.*", "order.paid", true),
            ("order.*", "orders", false),
            ("*", "anything", true),
            ("order", "order.paid", false),
        ] {
            assert_eq!(takes(pattern, kind), expected, "{pattern} {kind}");
        }
        for (subscriber, event_for, expected) in [
            (None, None, true),
            (Some("acme"), None, true),
            (None, Some("acme"), false),
            (Some("acme"), Some("acme"), true),
            (Some("acme"), Some("Acme"), false),
            (Some("other"), Some("acme"), false),
            (Some("*"), Some("acme"), true),
            // An event never makes itself one for all.
            (None, Some("*"), false),
            (Some("acme"), Some("*"), false),
        ] {
            assert_eq!(concerns(subscriber, event_for), expected, "{subscriber:?} {event_for:?}");
        }
    }

    #[test]
    fn what_is_given_is_checked() {
        let header = |name: &str, value: &str| Header { name: name.into(), value: value.into(), secret: true };
        for (checked, fits) in [
            (check_name("acme-orders.eu"), true),
            (check_name(""), false),
            (check_name("Acme"), false),
            (check_name(&"a".repeat(65)), false),
            (check_type("order.paid"), true),
            (check_type("*"), true),
            (check_type("or*der"), false),
            (check_type(""), false),
            (check_type("a b"), false),
            (check_customer("acme"), true),
            (check_customer("a b"), false),
            (check_customer(""), false),
            (check_header(&header("X-Shop", "a b")), true),
            (check_header(&header("Webhook-Signature", "v1,x")), false),
            (check_header(&header("Content-Length", "1")), false),
            (check_header(&header("X-A", "a\r\nX-B: c")), false),
            (check_header(&header("X A", "a")), false),
            (check_secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"), true),
            (check_secret("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"), false),
            (check_secret("whsec_c2hvcnQ="), false),
            (check_secret("whsec_ä"), false),
            (check_secret(&secret_of(&[7; 32])), true),
        ] {
            assert_eq!(checked.is_ok(), fits, "{checked:?}");
        }
        assert!(!format!("{:?}", check_header(&header("X-A", "s3cret\n"))).contains("s3cret"));
        assert!(!format!("{:?}", header("x", "s3cret")).contains("s3cret"));
        assert_eq!(read_rate(""), Ok(None));
        assert!(read_rate("10/1s").is_ok_and(|rate| rate.is_some()) && read_rate("x").is_err());
    }
}
