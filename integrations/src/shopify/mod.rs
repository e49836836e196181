//! Shopify: what `connector.toml` cannot say, namely ids in their two spellings and the cost bucket.
//!
//! The API throttles with status 200 and says in the body how full the bucket is; `wait` turns that into a
//! time. Everything else is data.

#[cfg(any(test, feature = "fakes"))]
pub mod fake;
#[cfg(any(test, feature = "fakes"))]
mod graphql;
#[cfg(test)]
mod tests;

use aura_protocol::value::{Map, Value};

use crate::connector::Hooks;
use crate::registry::Builtin;

/// Payload of `checkouts/create` and `checkouts/update`.
const CHECKOUT: &str = include_str!("fixtures/checkout_update.json");
/// Payload of the `orders/…` topics.
const ORDER: &str = include_str!("fixtures/order_create.json");

/// The connector.
pub const BUILTIN: Builtin = Builtin {
    id: "shopify",
    toml: include_str!("connector.toml"),
    hooks: Hooks { prepare: Some(prepare), wait: Some(wait) },
    samples: &[
        ("checkout_created", CHECKOUT),
        ("checkout_updated", CHECKOUT),
        ("order_created", ORDER),
        ("order_paid", ORDER),
        ("order_cancelled", ORDER),
    ],
    exchanges: &[
        ("get_abandoned_checkout", include_str!("fixtures/get_abandoned_checkout.json")),
        ("get_order", include_str!("fixtures/get_order.json")),
    ],
};

/// Ids come as numbers (webhooks), as text, or as `gid://shopify/Order/1?…`; requests are made of the digits.
///
/// Nothing but digits gets into a search, so an input cannot widen it.
fn prepare(_action: &str, input: &mut Map) -> Result<(), String> {
    if let Some(id) = input.get_mut("id") {
        let digits = match &*id {
            Value::Int(number) => number.to_string(),
            Value::Str(text) => {
                let tail = text.strip_prefix("gid://shopify/").and_then(|rest| rest.split_once('/'));
                let tail = tail.map_or(text.as_str(), |(_, tail)| tail);
                tail.split_once('?').map_or(tail, |(digits, _)| digits).to_owned()
            }
            other => return Err(format!("input `id` must be a number or text, not {}", other.kind())),
        };
        if digits.is_empty() || digits.len() > 20 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err("input `id` is neither a number nor a gid://shopify/… of one".to_owned());
        }
        *id = Value::Str(digits);
    }
    Ok(())
}

/// Time until the bucket holds what the query costs: (requested - available) / restore rate.
fn wait(body: &Value) -> Option<u64> {
    let cost = body.get("extensions")?.get("cost")?;
    let status = cost.get("throttleStatus")?;
    let requested = whole(cost.get("requestedQueryCost")?)?;
    let available = whole(status.get("currentlyAvailable")?)?;
    let rate = whole(status.get("restoreRate")?)?.max(1);
    let missing = requested.checked_sub(available)?;
    // A bucket that seems full enough was emptied by others meanwhile: one second.
    if missing <= 0 {
        return Some(1000);
    }
    u64::try_from(missing.checked_mul(1000)?.checked_add(rate - 1)? / rate).ok()
}

/// The part before the point of a number that is not negative.
fn whole(value: &Value) -> Option<i128> {
    let number = match value {
        Value::Int(number) => *number,
        Value::Dec(text) => text.split_once('.').map_or(text.as_str(), |(whole, _)| whole).parse().ok()?,
        _ => return None,
    };
    (number >= 0).then_some(number)
}
