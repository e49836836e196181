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
        ("list_orders", include_str!("fixtures/list_orders.json")),
        ("count_orders", include_str!("fixtures/count_orders.json")),
        ("list_products", include_str!("fixtures/list_products.json")),
        ("count_products", include_str!("fixtures/count_products.json")),
    ],
};

/// Ids come as numbers (webhooks), as text, or as `gid://shopify/Order/1?…`; requests are made of the digits.
///
/// Nothing but digits gets into a search, so an input cannot widen it.
fn prepare(action: &str, input: &mut Map) -> Result<(), String> {
    if action.starts_with("list_") || action.starts_with("count_") {
        return searched(action, input);
    }
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

/// The search of a list: `since` and `until` become words of it, `by` the order, `first` has its usual value.
///
/// Only times get between the quotes, so an input cannot widen the search.
fn searched(action: &str, input: &mut Map) -> Result<(), String> {
    let by = match input.get("by") {
        None | Some(Value::Null) => "updated_at".to_owned(),
        Some(Value::Str(by)) if by == "created_at" || by == "updated_at" => by.clone(),
        Some(_) => return Err("input `by` is created_at or updated_at".to_owned()),
    };
    let mut words = Vec::new();
    if let Some(Value::Str(own)) = input.get("query")
        && !own.trim().is_empty()
    {
        words.push(own.trim().to_owned());
    }
    for (name, sign) in [("since", ">="), ("until", "<=")] {
        match input.get(name) {
            None | Some(Value::Null) => {}
            Some(Value::Str(time)) if time.is_empty() => {}
            Some(Value::Str(time)) if is_time(time) => words.push(format!("{by}:{sign}'{time}'")),
            Some(_) => return Err(format!("input `{name}` is a time as in 2026-05-31T00:00:00Z")),
        }
    }
    input.insert("query".to_owned(), if words.is_empty() { Value::Null } else { Value::from(words.join(" ")) });
    input.insert("by".to_owned(), Value::from(by.to_uppercase()));
    if action.starts_with("list_") {
        let first = match input.get("first") {
            None | Some(Value::Null) => 50,
            Some(Value::Int(first)) if (1..=250).contains(first) => *first,
            Some(_) => return Err("input `first` is a number from 1 to 250".to_owned()),
        };
        input.insert("first".to_owned(), Value::Int(first));
    }
    Ok(())
}

fn is_time(text: &str) -> bool {
    (10..=35).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'-' | b'+' | b':' | b'.' | b'T' | b'Z'))
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
