//! Shopify's signed addresses: all parameters but the signature, sorted, under the app's secret.
//!
//! `hmac` (callback of an installation) joins `name=value` with `&`, written as forms are (`+` for a blank), as
//! Shopify's own libraries for JavaScript and Ruby do;
//! `signature` (app proxy) joins them with nothing and not encoded; repeats of a name are joined by commas.

use std::collections::BTreeMap;

use super::key::{Keyed, Signed};
use super::verify::in_window;
use super::{Refusal, Request, Scheme};

/// Parameters read of one address.
const PARAMETERS_MAX: usize = 64;

/// Checks the address of a request.
pub(super) fn verify(
    scheme: &Scheme<'_>,
    keys: Vec<Keyed>,
    request: &Request<'_>,
    now_ms: i64,
    tolerance: Option<u64>,
) -> Result<(), Refusal> {
    let mut fields: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut count = 0;
    for (name, value) in form_urlencoded::parse(request.query().as_bytes()) {
        count += 1;
        fields.entry(name.into_owned()).or_default().push(value.into_owned());
    }
    let malformed = |header: &str, problem| Refusal::Malformed { header: header.to_owned(), problem };
    if count > PARAMETERS_MAX {
        return Err(malformed("query", "has more than 64 parameters"));
    }
    let (hmac, proxy) = (fields.remove("hmac"), fields.remove("signature"));
    let (header, texts, encoded) = match (hmac, proxy) {
        (Some(texts), _) => ("hmac", texts, true),
        (None, Some(texts)) => ("signature", texts, false),
        (None, None) => return Err(Refusal::Missing { header: "hmac".to_owned() }),
    };
    let [text] = texts.as_slice() else { return Err(Refusal::Twice { header: header.to_owned() }) };
    let signature = Signed::read(scheme, text).ok_or_else(|| malformed(header, Signed::form(scheme)))?;
    if let Some(window) = &scheme.window {
        let time = match fields.get("timestamp").map(Vec::as_slice) {
            Some([time]) => time,
            Some(_) => return Err(Refusal::Twice { header: "timestamp".to_owned() }),
            None => return Err(Refusal::Missing { header: "timestamp".to_owned() }),
        };
        in_window("timestamp", time, now_ms, window, tolerance)?;
    }
    let pairs = fields.iter().map(|(name, values)| {
        let value = values.join(",");
        if encoded { format!("{}={}", escaped(name), escaped(&value)) } else { format!("{name}={value}") }
    });
    let message = pairs.collect::<Vec<_>>().join(if encoded { "&" } else { "" });
    for mut key in keys {
        key.update(message.as_bytes());
        if key.proves(&[signature]) {
            return Ok(());
        }
    }
    Err(Refusal::Mismatch { header: header.to_owned() })
}

/// As a form writes it.
fn escaped(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect()
}
