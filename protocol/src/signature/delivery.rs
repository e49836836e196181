//! The vendor's id of a verified delivery, on which repeats are told.
//!
//! It is read only after [`super::verify`] said yes. An id that is missing or over 512 bytes is no id: then
//! there is no default dedupe key (design §3, rule 11).

use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use super::verify::family;
use super::{DeliveryId, Request, Scheme};
use crate::value::Value;

/// Longest id taken, in bytes.
const ID_MAX: usize = 512;

/// The vendor's id of a delivery, on which repeats are told.
///
/// A header that is there twice is no id: the sender of such a thing cannot be told from a forger.
#[must_use]
pub fn delivery_id(scheme: &Scheme<'_>, headers: &[(String, String)], body: &[u8]) -> Option<String> {
    let request = Request::post(headers, body);
    let id = match scheme.delivery {
        DeliveryId::Header => {
            let mut values = request.all(family(scheme, &request)?.id?);
            let value = values.next()?;
            if values.next().is_some() {
                return None;
            }
            value.to_owned()
        }
        DeliveryId::Body(field) => {
            let fields: Fields = serde_json::from_slice(body).ok()?;
            if field == "id" { fields.id } else { fields.event_id }?
        }
        DeliveryId::Each { list, fields } => each(body, list, fields)?,
        DeliveryId::Digest => hex::encode(Sha256::digest(body)),
    };
    (!id.is_empty() && id.len() <= ID_MAX).then_some(id)
}

/// The digest of these fields of every event; `None` if one of them has none of it.
fn each(body: &[u8], list: Option<&str>, fields: &[&str]) -> Option<String> {
    let body = Value::from_json(body).ok()?;
    let events = match list {
        Some(field) => body.get(field)?.as_list()?,
        None => body.as_list()?,
    };
    if events.is_empty() {
        return None;
    }
    let mut digest = Sha256::new();
    for event in events {
        for field in fields {
            let found = event.get(field).filter(|found| !found.is_null())?.to_json();
            // The length first: no two lists of texts give the same bytes.
            digest.update(u64::try_from(found.len()).ok()?.to_be_bytes());
            digest.update(found.as_bytes());
        }
    }
    Some(hex::encode(digest.finalize()))
}

/// The few fields of a body that tell what it is; the rest is skipped, not kept.
#[derive(Deserialize)]
struct Fields {
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    event_id: Option<String>,
}
