//! What a verified delivery is: the vendor's id of it, and whether it is a handshake instead of an event.
//!
//! Both read only after [`super::verify`] said yes. An id that is missing or over 512 bytes is no id: then
//! there is no default dedupe key (design §3, rule 11).

use serde::Deserialize;

use super::verify::family;
use super::{DeliveryId, Scheme};

/// Longest id taken, in bytes.
const ID_MAX: usize = 512;

/// The vendor's id of a delivery, on which repeats are told.
///
/// A header that is there twice is no id: the sender of such a thing cannot be told from a forger.
#[must_use]
pub fn delivery_id(scheme: &Scheme, headers: &[(String, String)], body: &[u8]) -> Option<String> {
    let id = match scheme.delivery {
        DeliveryId::Header => {
            let name = family(scheme, headers)?.id?;
            let mut values = headers.iter().filter(|(have, _)| have.eq_ignore_ascii_case(name));
            let (_, value) = values.next()?;
            if values.next().is_some() {
                return None;
            }
            value.clone()
        }
        DeliveryId::Body(field) => {
            let fields: Fields = serde_json::from_slice(body).ok()?;
            if field == "id" { fields.id } else { fields.event_id }?
        }
    };
    (!id.is_empty() && id.len() <= ID_MAX).then_some(id)
}

/// A delivery that only asks whether somebody is there: answered at once, it starts no flow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handshake {
    /// Status of the answer.
    pub status: u16,
    /// Body of the answer, plain text.
    pub body: String,
}

/// The answer to a handshake of the vendor; `None` if the delivery is an event.
///
/// Slack signs `url_verification` and wants its challenge back; GitHub signs a `ping`.
#[must_use]
pub fn handshake(scheme: &Scheme, headers: &[(String, String)], body: &[u8]) -> Option<Handshake> {
    match scheme.name {
        "slack" => {
            let fields: Fields = serde_json::from_slice(body).ok()?;
            (fields.kind.as_deref() == Some("url_verification"))
                .then(|| Handshake { status: 200, body: fields.challenge.unwrap_or_default() })
        }
        "github" => headers
            .iter()
            .any(|(name, value)| name.eq_ignore_ascii_case("x-github-event") && value == "ping")
            .then(|| Handshake { status: 200, body: String::new() }),
        _ => None,
    }
}

/// The few fields of a body that tell what it is; the rest is skipped, not kept.
#[derive(Deserialize)]
struct Fields {
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    event_id: Option<String>,
    #[serde(default, rename = "type")]
    kind: Option<String>,
    #[serde(default)]
    challenge: Option<String>,
}
