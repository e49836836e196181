//! Accepted events: the delivery as it came, what became of it, and the acknowledgement.

use serde::{Deserialize, Serialize};

use crate::ids::{DeliveryId, EventId, RunId};
use crate::rpc::Verdict;
use crate::value::{BlobRef, Map, Value};

/// One delivery, byte-exact. What `trigger` shows in expressions is derived from it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Delivery {
    /// The event it became.
    pub event: EventId,
    /// Trigger id.
    pub trigger: String,
    /// HTTP method; `MANUAL` for manual runs, [`SCHEDULE`] for instants of a schedule, [`BATCH`] for several events.
    pub method: String,
    /// Query string without `?`.
    #[serde(default)]
    pub query: String,
    /// Headers in their order, names in lower case; secrets like `authorization` are left out.
    #[serde(default)]
    pub headers: Vec<(String, String)>,
    /// The raw body; empty if it stands in `blob`.
    #[serde(with = "crate::bytes", default)]
    pub body: Vec<u8>,
    /// Where a large body stands: the store keeps it once, by its content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blob: Option<BlobRef>,
    /// When it was accepted.
    pub received_ms: i64,
    /// How it came in at the door; none for what came from inside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub came: Option<Came>,
}

/// What the log of deliveries knows of an accepted one beside the delivery itself: a few bytes of its row.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Came {
    /// Address of the sender.
    pub from: String,
    /// What the look at its proof found; none in rows that say it by `old` only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
    /// Proved with the secret before, during a rotation; read where there is no `verdict`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub old: bool,
    /// The delivery that was delivered again, if it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub again: Option<DeliveryId>,
    /// The relay that took and proved it, by its name here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub relay: Option<String>,
}

impl Delivery {
    /// Whether nobody delivered it: a run was begun by a person, by another run or by a try, and has an `input`.
    #[must_use]
    pub fn is_by_hand(&self) -> bool {
        matches!(self.method.as_str(), "MANUAL" | "CALL" | TEST)
    }

    /// The `trigger` object of expressions: `id`, `event`, `method`, `query`, `headers`, `body`, `received_at`.
    ///
    /// A body that stands elsewhere is a reference to its bytes. Else it is parsed as JSON if it is JSON, as an object
    /// of fields for a form, else it is text. An instant of a schedule has its fields ([`Tick`]) beside these and no
    /// body, and a batch the list of its `events`, each as its own `trigger` would be, with their `key`.
    #[must_use]
    pub fn to_trigger(&self) -> Value {
        self.to_trigger_with(None)
    }

    /// The same from a body that somebody has parsed as JSON already; `None` parses it here.
    #[must_use]
    pub fn to_trigger_with(&self, json: Option<Value>) -> Value {
        let headers: Map =
            self.headers.iter().map(|(name, value)| (name.clone(), Value::from(value.clone()))).collect();
        let content_type = self.headers.iter().find(|(name, _)| name == "content-type").map_or("", |(_, value)| value);
        let body = if let Some(blob) = self.blob {
            Value::Blob(blob)
        } else if content_type.starts_with("application/x-www-form-urlencoded") {
            Value::Map(form(&String::from_utf8_lossy(&self.body)))
        } else if self.body.is_empty() {
            Value::Null
        } else if let Some(json) = json {
            json
        } else {
            Value::from_json(&self.body)
                .unwrap_or_else(|_| Value::Str(String::from_utf8_lossy(&self.body).into_owned()))
        };
        let (own, body) = match body {
            Value::Map(tick) if self.method == SCHEDULE => (tick, Value::Null),
            events if self.method == BATCH => (self.gathered(events), Value::Null),
            body => (Map::new(), body),
        };
        let Value::Map(mut trigger) = Value::object([
            ("id", Value::from(self.trigger.clone())),
            ("event", Value::from(self.event.to_string())),
            ("method", Value::from(self.method.clone())),
            ("query", Value::Map(form(&self.query))),
            ("headers", Value::Map(headers)),
            ("body", body),
            ("received_at", Value::from(timestamp(self.received_ms))),
        ]) else {
            return Value::Null;
        };
        trigger.extend(own);
        Value::Map(trigger)
    }

    /// What a batch has beside the usual fields.
    fn gathered(&self, events: Value) -> Map {
        let said = |name: &str| self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
        let key = said(BATCH_KEY).and_then(|key| Value::from_json(key.as_bytes()).ok()).unwrap_or_default();
        Map::from_iter([("events".to_owned(), events), ("key".to_owned(), key)])
    }
}

/// The method of the event of a test run: nobody is told of its failure.
pub const TEST: &str = "TEST";

/// The method of deliveries that a schedule made.
pub const SCHEDULE: &str = "SCHEDULE";

/// The method of deliveries that stand for a batch; their body is the list of its events.
pub const BATCH: &str = "BATCH";
/// Their header that holds the value of the key, as JSON.
pub const BATCH_KEY: &str = "batch-key";
/// Their header that says why the batch was not waited for longer: `full`, `time` or `bytes`.
pub const BATCH_ENDED: &str = "batch-ended";

/// What an instant of a schedule adds to `trigger`; stored as the JSON body of its delivery.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tick {
    /// The instant, RFC 3339 with the offset of the schedule's zone.
    pub scheduled_at: String,
    /// The zone's name.
    pub zone: String,
    /// The instant that fired before this one, or null.
    pub previous_at: Option<String>,
    /// It was more than a minute late: the daemon was away, or the clock was set forward.
    pub late: bool,
    /// How many instants before it were left out.
    pub missed: u64,
    /// Why it fires: `on_time`, `caught_up`, `backfill` or `by_hand`.
    #[serde(default = "on_time")]
    pub cause: String,
}

/// [`Tick::cause`] of an instant that fires when it should.
#[must_use]
pub fn on_time() -> String {
    "on_time".to_owned()
}

impl Tick {
    /// The tick as the body of a delivery.
    #[must_use]
    pub fn body(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }
}

/// RFC 3339 text in UTC of Unix milliseconds.
#[must_use]
pub fn timestamp(unix_ms: i64) -> String {
    jiff::Timestamp::from_millisecond(unix_ms).map_or_else(|_| unix_ms.to_string(), |time| time.to_string())
}

fn form(text: &str) -> Map {
    form_urlencoded::parse(text.as_bytes())
        .map(|(key, value)| (key.into_owned(), Value::from(value.into_owned())))
        .collect()
}

/// What became of an accepted event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventState {
    /// A run began.
    Started,
    /// A run waits behind its concurrency key.
    Queued,
    /// A held row will become a run.
    Held,
    /// Recorded, no run: filter or `when_full: drop`.
    Dropped,
    /// The same dedupe key came before.
    Duplicate,
}

/// The acknowledgement: given only after the commit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ack {
    /// The event (of a duplicate: the first one).
    pub event_id: EventId,
    /// The run, if there is one.
    pub run_id: Option<RunId>,
    /// What became of it.
    pub state: EventState,
    /// When a held row will fire.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub starts_at: Option<String>,
}

/// An event that has a row of its own: held or dropped.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EventRow {
    /// The event.
    pub event: EventId,
    /// The flow's name.
    pub flow: String,
    /// Trigger id.
    pub trigger: String,
    /// Held or dropped (and started, once its held row has fired).
    pub state: EventState,
    /// Why, in words: the filter, or the run that was in the way.
    pub reason: String,
    /// When a held row fires.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub starts_at_ms: Option<i64>,
    /// The run it became part of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<RunId>,
    /// The delivery itself.
    pub delivery: Delivery,
}
