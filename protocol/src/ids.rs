//! Ids: one newtype per thing, all UUIDv7 inside, shown as `prefix_` and 26 Crockford characters.
//!
//! Time-ordered ids let runs, lists and journals append at one edge of their trees. An id never carries
//! meaning beyond its time. Parsing accepts upper and lower case, with or without the prefix.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// Writes 128 bits as 26 Crockford base-32 characters, most significant first.
#[must_use]
pub fn crockford(bits: u128) -> String {
    (0..26)
        .rev()
        .map(|place| {
            let index = usize::try_from((bits >> (place * 5)) & 31).unwrap_or(0);
            char::from(ALPHABET.get(index).copied().unwrap_or(b'0'))
        })
        .collect()
}

/// Reads 26 Crockford characters; `None` if the text is not exactly that or does not fit 128 bits.
#[must_use]
pub fn from_crockford(text: &str) -> Option<u128> {
    if text.len() != 26 || !text.is_ascii() {
        return None;
    }
    let mut bits: u128 = 0;
    for (place, byte) in text.bytes().enumerate() {
        let upper = match byte.to_ascii_uppercase() {
            b'O' => b'0',
            b'I' | b'L' => b'1',
            other => other,
        };
        let digit = ALPHABET.iter().position(|&letter| letter == upper)?;
        if place == 0 && digit > 7 {
            return None;
        }
        bits = (bits << 5) | u128::try_from(digit).ok()?;
    }
    Some(bits)
}

/// The text given for an id is not one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not an id of the form {prefix}_ followed by 26 characters")]
pub struct IdError {
    /// What was given.
    pub text: String,
    /// The prefix that was expected, without its underscore.
    pub prefix: &'static str,
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident = $prefix:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub Uuid);

        impl $name {
            /// The prefix people see, without its underscore.
            pub const PREFIX: &'static str = $prefix;

            /// A new id of the current wall clock, monotonic within this process.
            #[must_use]
            pub fn now() -> Self {
                Self(Uuid::now_v7())
            }

            /// An id of a given time in Unix milliseconds and ten random bytes (pure; for tests and clocks of our own).
            #[must_use]
            pub fn from_parts(unix_ms: u64, random: &[u8; 10]) -> Self {
                Self(uuid::Builder::from_unix_timestamp_millis(unix_ms, random).into_uuid())
            }

            /// The sixteen bytes, big-endian, as they stand in storage keys.
            #[must_use]
            pub fn bytes(self) -> [u8; 16] {
                self.0.into_bytes()
            }

            /// The id of sixteen stored bytes.
            #[must_use]
            pub fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(Uuid::from_bytes(bytes))
            }

            /// The last six characters, as narrow screens show it.
            #[must_use]
            pub fn short(self) -> String {
                let text = crockford(self.0.as_u128());
                text.get(20..).unwrap_or_default().to_owned()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}_{}", $prefix, crockford(self.0.as_u128()))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                let body = text.strip_prefix(concat!($prefix, "_")).unwrap_or(text);
                from_crockford(body)
                    .map(|bits| Self(Uuid::from_u128(bits)))
                    .ok_or_else(|| IdError { text: text.to_owned(), prefix: $prefix })
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                if serializer.is_human_readable() {
                    serializer.collect_str(self)
                } else {
                    serializer.serialize_bytes(self.0.as_bytes())
                }
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                use serde::de::Error;
                if deserializer.is_human_readable() {
                    String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
                } else {
                    let bytes = <serde_bytes::ByteArray<16>>::deserialize(deserializer)?;
                    Ok(Self::from_bytes(bytes.into_array()))
                }
            }
        }
    )*};
}

ids! {
    /// A tenant: the border of everything stored.
    TenantId = "ten";
    /// A flow, stable over renames and versions.
    FlowId = "flow";
    /// One run of one version of a flow.
    RunId = "run";
    /// An accepted event.
    EventId = "evt";
    /// One request to an endpoint, accepted or not; that of an accepted one has the digits of its event.
    DeliveryId = "dlv";
    /// A held event group (debounce) that waits to become a run.
    HeldId = "held";
    /// A flow that runs over a provider's past objects.
    BackfillId = "bf";
    /// A connection to a provider.
    ConnectionId = "con";
    /// A subscription: whom outside we send events to.
    SubscriptionId = "sub";
    /// A message: one event for the outside, as its `webhook-id` names it.
    MessageId = "msg";
    /// A relay that a daemon takes deliveries from.
    RelayId = "rel";
    /// One mutating request of a client; a repeat with the same id is answered, not redone.
    RequestId = "req";
}

impl Default for DeliveryId {
    /// Nobody's.
    fn default() -> Self {
        Self(Uuid::nil())
    }
}

impl From<EventId> for DeliveryId {
    fn from(event: EventId) -> Self {
        Self(event.0)
    }
}

impl DeliveryId {
    /// Reads an id of a delivery, or of the event that it became.
    ///
    /// # Errors
    /// It is neither.
    pub fn read(text: &str) -> Result<Self, IdError> {
        let text = text.trim();
        match text.strip_prefix("evt_") {
            Some(_) => text.parse::<EventId>().map(Self::from),
            None => text.parse(),
        }
    }
}

impl TenantId {
    /// The tenant every installation has.
    pub const DEFAULT: Self = Self(Uuid::from_u128(1));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_back_from_what_it_shows() {
        let id = RunId::from_parts(1_790_000_000_000, &[7; 10]);
        let shown = id.to_string();
        assert!(shown.starts_with("run_") && shown.len() == 30, "{shown}");
        assert_eq!(shown.parse::<RunId>(), Ok(id));
        assert_eq!(shown.to_lowercase().trim_start_matches("run_").parse::<RunId>(), Ok(id));
    }

    #[test]
    fn what_is_not_an_id_is_refused_with_its_form() {
        let error = "run_short".parse::<RunId>().unwrap_err();
        assert!(error.to_string().contains("26 characters"), "{error}");
        assert!("Z".repeat(26).parse::<RunId>().is_err(), "would not fit 128 bits");
    }

    #[test]
    fn ids_sort_by_time() {
        assert!(RunId::from_parts(1, &[255; 10]) < RunId::from_parts(2, &[0; 10]));
    }
}
