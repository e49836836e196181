//! Tables and keys. Keys hold only tenants, our own ids, integers, times and 16-byte index hashes.

use aura_protocol::TenantId;

/// Every table. The number is part of the file and of the associated data of sealed values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Table {
    /// Schema version, daemon epoch, folds: `(number)`.
    Meta = 1,
    /// Wrapped tenant keys: `(tenant)`.
    Tenants = 2,
    /// Flow records: `(tenant, flow)`.
    Flows = 3,
    /// Published versions: `(tenant, flow, index hash of the version)`.
    Versions = 4,
    /// Connections and named secrets: `(tenant, connection)`.
    Connections = 5,
    /// Run heads for lists: `(tenant, run)`.
    Runs = 6,
    /// One value per transition: `(tenant, run, number)`.
    Journal = 7,
    /// Only unfinished runs: `(tenant, run)`. Plain.
    Live = 8,
    /// Due first: `(due ms, tenant, owner)`. Plain.
    Timers = 9,
    /// Signals for runs that their next transition takes: `(tenant, run, number)`.
    Inbox = 10,
    /// Held event groups: `(tenant, held)`.
    Held = 11,
    /// Held and dropped events: `(tenant, event)`.
    Events = 12,
    /// One row per group commit, built by the writer: `(cursor)`. Plain.
    Tail = 13,
    /// Sorted segments of dedupe keys, built by the writer: `(number)`. Plain.
    Dedupe = 14,
    /// Counters: `(tenant, number)`. Plain.
    Counters = 15,
    /// Answers to mutating requests, for repeats: `(tenant, request)`.
    Requests = 16,
    /// Large values, each once, by their content: `(tenant, index hash)`.
    Blobs = 17,
    /// How many rows refer to a blob: `(tenant, index hash)`. Plain, kept by the writer.
    BlobCounts = 18,
    /// What `kv` steps keep: `(tenant, index hash of the name)`.
    Kv = 19,
    /// Variables of a tenant: `(tenant, index hash of the name)`.
    Vars = 20,
    /// What is decided about each schedule: `(tenant, flow, index hash of the trigger)`.
    Schedules = 30,
    /// Runs that wait for an event, and events that came before them: `(tenant, index hash of the key, owner)`.
    Waits = 31,
    /// What of a rate is used up: `(tenant, index hash of its key)`. Plain.
    Limits = 32,
    /// Runs by what they are found by: `(tenant, index hash of the value, run)`. Plain.
    Index = 33,
    /// How far each poll came: `(tenant, flow, index hash of the trigger)`.
    Polls = 60,
    /// Backfills: `(tenant, backfill)`.
    Backfills = 61,
    /// Deliveries that were refused or came where no endpoint is, bounded: `(tenant, delivery)`.
    Deliveries = 40,
    /// Their bodies: `(tenant, delivery)`.
    DeliveryBodies = 41,
    /// Subscriptions of people outside: `(tenant, subscription)`.
    Subscriptions = 50,
    /// How each of them fares: `(tenant, subscription)`. Plain.
    SubscriptionHealth = 51,
    /// Messages to them, each once: `(tenant, message)`.
    Messages = 52,
    /// What became of a message for a subscription: `(tenant, subscription, message)`.
    Sendings = 53,
    /// Sendings that wait: `(tenant, subscription, due ms, message)`. Plain.
    SendingsDue = 54,
    /// Of a relay: its token and which routes it has: `(tenant)`.
    RelayHere = 70,
    /// Of a relay: deliveries that the daemon at home has not taken yet: `(tenant, number, event, bytes)`.
    RelayQueue = 71,
    /// Relays that this daemon takes deliveries from: `(tenant, relay)`.
    Relays = 72,
    /// What was taken of a relay that does not know it yet: `(tenant, relay, event)`. Plain.
    RelayTaken = 73,
}

impl Table {
    /// All of them.
    pub const ALL: &'static [Self] = &[
        Self::Meta,
        Self::Tenants,
        Self::Flows,
        Self::Versions,
        Self::Connections,
        Self::Runs,
        Self::Journal,
        Self::Live,
        Self::Timers,
        Self::Inbox,
        Self::Held,
        Self::Events,
        Self::Tail,
        Self::Dedupe,
        Self::Counters,
        Self::Requests,
        Self::Blobs,
        Self::BlobCounts,
        Self::Kv,
        Self::Vars,
        Self::Schedules,
        Self::Waits,
        Self::Limits,
        Self::Index,
        Self::Polls,
        Self::Backfills,
        Self::Deliveries,
        Self::DeliveryBodies,
        Self::Subscriptions,
        Self::SubscriptionHealth,
        Self::Messages,
        Self::Sendings,
        Self::SendingsDue,
        Self::RelayHere,
        Self::RelayQueue,
        Self::Relays,
        Self::RelayTaken,
    ];

    /// Its name in messages, as people and doctor read it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Meta => "meta",
            Self::Tenants => "tenants",
            Self::Flows => "flows",
            Self::Versions => "versions",
            Self::Connections => "connections",
            Self::Runs => "runs",
            Self::Journal => "journal",
            Self::Live => "live",
            Self::Timers => "timers",
            Self::Inbox => "inbox",
            Self::Held => "held",
            Self::Events => "events",
            Self::Tail => "tail",
            Self::Dedupe => "dedupe",
            Self::Counters => "counters",
            Self::Requests => "requests",
            Self::Blobs => "blobs",
            Self::BlobCounts => "blob_counts",
            Self::Kv => "kv",
            Self::Vars => "vars",
            Self::Schedules => "schedules",
            Self::Waits => "waits",
            Self::Limits => "limits",
            Self::Index => "index",
            Self::Polls => "polls",
            Self::Backfills => "backfills",
            Self::Deliveries => "deliveries",
            Self::DeliveryBodies => "delivery_bodies",
            Self::Subscriptions => "subscriptions",
            Self::SubscriptionHealth => "subscription_health",
            Self::Messages => "messages",
            Self::Sendings => "sendings",
            Self::SendingsDue => "sendings_due",
            Self::RelayHere => "relay_here",
            Self::RelayQueue => "relay_queue",
            Self::Relays => "relays",
            Self::RelayTaken => "relay_taken",
        }
    }

    /// Whether its values hold only our own ids, integers and times: they get a checksum instead of a seal.
    #[must_use]
    pub const fn is_plain(self) -> bool {
        matches!(
            self,
            Self::Meta
                | Self::Live
                | Self::Timers
                | Self::Tail
                | Self::Dedupe
                | Self::Counters
                | Self::BlobCounts
                | Self::Limits
                | Self::Index
                | Self::SubscriptionHealth
                | Self::SendingsDue
                | Self::RelayTaken
        )
    }

    /// The layout of the store that brought it: older stores get it by a step of `migrate`.
    #[must_use]
    pub const fn since(self) -> u32 {
        match self {
            Self::Blobs | Self::BlobCounts | Self::Kv | Self::Vars | Self::Schedules => 2,
            Self::Waits => 3,
            Self::Limits | Self::Index => 4,
            Self::Polls | Self::Backfills | Self::Deliveries | Self::DeliveryBodies => 5,
            Self::Subscriptions | Self::SubscriptionHealth | Self::Messages | Self::Sendings | Self::SendingsDue => 6,
            Self::RelayHere | Self::RelayQueue | Self::Relays | Self::RelayTaken => 7,
            _ => 1,
        }
    }

    /// Its number as it stands in the file and in associated data.
    #[must_use]
    pub const fn number(self) -> u8 {
        self as u8
    }
}

/// An ordered key: big-endian pieces one after the other.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(pub Vec<u8>);

impl Key {
    /// An empty key, the least of all.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
    /// A key that begins with a tenant.
    #[must_use]
    pub fn tenant(tenant: TenantId) -> Self {
        Self(tenant.bytes().to_vec())
    }
    /// Appends sixteen bytes (an id or an index hash).
    #[must_use]
    pub fn id(mut self, id: [u8; 16]) -> Self {
        self.0.extend_from_slice(&id);
        self
    }
    /// Appends a number.
    #[must_use]
    pub fn number(mut self, number: u64) -> Self {
        self.0.extend_from_slice(&number.to_be_bytes());
        self
    }
    /// Appends a time in Unix milliseconds; negative times count as zero.
    #[must_use]
    pub fn time(self, unix_ms: i64) -> Self {
        self.number(u64::try_from(unix_ms).unwrap_or(0))
    }
    /// The least key that is greater than every key with this prefix.
    #[must_use]
    pub fn after_prefix(&self) -> Self {
        let mut bytes = self.0.clone();
        while let Some(last) = bytes.pop() {
            if last < u8::MAX {
                bytes.push(last + 1);
                return Self(bytes);
            }
        }
        Self(vec![u8::MAX; 64])
    }
    /// The least key greater than this one.
    #[must_use]
    pub fn next(&self) -> Self {
        let mut bytes = self.0.clone();
        bytes.push(0);
        Self(bytes)
    }
    /// The key in hex, as messages show it.
    #[must_use]
    pub fn hex(&self) -> String {
        use std::fmt::Write as _;
        self.0.iter().fold(String::with_capacity(self.0.len() * 2), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
    }
    /// The sixteen bytes at a byte offset, if there.
    #[must_use]
    pub fn id_at(&self, offset: usize) -> Option<[u8; 16]> {
        self.0.get(offset..offset + 16)?.try_into().ok()
    }
    /// The number at a byte offset, if there.
    #[must_use]
    pub fn number_at(&self, offset: usize) -> Option<u64> {
        Some(u64::from_be_bytes(self.0.get(offset..offset + 8)?.try_into().ok()?))
    }
}
