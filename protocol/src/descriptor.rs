//! What a connector says about itself: enough for checks, forms, help and docs, without its code.

use serde::{Deserialize, Serialize};

use crate::flow::Effect;

/// A connector.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Connector {
    /// Name used in flows, as in `shopify`.
    pub id: String,
    /// For people.
    pub title: String,
    /// Settings that a connection needs.
    pub fields: Vec<Field>,
    /// What flows can call.
    pub actions: Vec<Action>,
    /// What starts flows.
    pub triggers: Vec<TriggerKind>,
}

impl Connector {
    /// What every connection may say of its provider's budget beside the fields of its connector; all flows share it.
    pub fn budget(&self) -> impl Iterator<Item = Field> {
        let field = |name: &str, help: &str, example: &str| Field {
            name: name.to_owned(),
            required: false,
            secret: false,
            kind: "text".to_owned(),
            default: None,
            help: help.to_owned(),
            example: example.to_owned(),
        };
        let fields = [
            field("concurrency", "Calls at the same time, of all flows together", "4"),
            field("rate", "Calls in a time, of all flows together", "40/1m"),
        ];
        fields.into_iter().filter(|field| !self.fields.iter().any(|taken| taken.name == field.name))
    }
}

/// One setting of a connection, or one input of an action.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Field {
    /// Name in `with` or in the connection.
    pub name: String,
    /// Must be given.
    #[serde(default)]
    pub required: bool,
    /// Is a secret: sealed, never shown again.
    #[serde(default)]
    pub secret: bool,
    /// `text`, `integer`, `decimal`, `boolean`, `list`, `object` or `any`.
    #[serde(default = "any", rename = "type")]
    pub kind: String,
    /// Taken when not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<String>,
    /// One line of help.
    #[serde(default)]
    pub help: String,
    /// An example.
    #[serde(default)]
    pub example: String,
}

fn any() -> String {
    "any".to_owned()
}

/// An action of a connector.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Action {
    /// Name after the dot, as in `post_message`.
    pub id: String,
    /// For people.
    pub title: String,
    /// What a repeat does outside.
    pub effect: Effect,
    /// How long the peer honours a key, in milliseconds (effect `keyed`).
    #[serde(default)]
    pub key_window_ms: u64,
    /// Its inputs; closed.
    pub input: Vec<Field>,
}

/// An event of a provider.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TriggerKind {
    /// Name after the dot, as in `checkout_updated`.
    pub id: String,
    /// For people.
    pub title: String,
    /// Signature scheme of its deliveries.
    pub scheme: String,
    /// Header and value that tell this event from others on the same endpoint, as `x-shopify-topic: checkouts/update`.
    #[serde(default)]
    pub matches: Vec<(String, String)>,
    /// The sender gives up after this long, in milliseconds.
    #[serde(default)]
    pub reply_within_ms: Option<u64>,
    /// Its deliveries come as `multipart/form-data` and become JSON.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub multipart: bool,
    /// What a backfill reads instead of deliveries, as [`crate::source::Source::read`] takes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backfill: Option<crate::value::Value>,
}
