//! A Shopify with one shop: Admin GraphQL for abandoned checkouts and orders, as the vendor shapes them.
//!
//! It checks the token, the path and the query's fields against the API's schema, and answers with exactly
//! the selected fields. A checkout can be marked completed while it runs.

use std::io;
use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aura_protocol::value::{Map, Value};

use super::graphql::{Selection, check, parse, project};
use crate::fakes::{FakeHandle, Reply, Seen};

/// The token it accepts.
pub const ACCESS_TOKEN: &str = "shpat_fake_0123456789abcdef";
/// Checkouts and orders kept.
const KEPT: usize = 1000;

/// The running fake.
#[derive(Debug)]
pub struct Fake {
    server: FakeHandle,
    shop: Arc<Mutex<Shop>>,
}

#[derive(Debug, Default)]
struct Shop {
    checkouts: Map,
    orders: Map,
    products: Map,
}

impl Fake {
    /// Starts it on a free loopback port, with the checkout and the order of the samples.
    ///
    /// # Errors
    /// No port could be bound, or a fixture is broken.
    pub async fn start() -> io::Result<Self> {
        let shop = Arc::new(Mutex::new(Shop::default()));
        let kept = Arc::clone(&shop);
        let server = FakeHandle::serve(move |seen| respond(seen, &kept)).await?;
        let fake = Self { server, shop };
        for (object, add) in [
            (include_str!("fixtures/checkout.json"), Self::add_checkout as fn(&Self, Value)),
            (include_str!("fixtures/order.json"), Self::add_order),
            (include_str!("fixtures/product.json"), Self::add_product),
        ] {
            add(&fake, Value::from_json(object.as_bytes()).map_err(io::Error::other)?);
        }
        Ok(fake)
    }

    /// Adds or replaces an abandoned checkout, an object of the API with its `id`.
    pub fn add_checkout(&self, object: Value) {
        keep(&mut self.shop().checkouts, object);
    }

    /// Adds or replaces an order, an object of the API with its `id`.
    pub fn add_order(&self, object: Value) {
        keep(&mut self.shop().orders, object);
    }

    /// Adds or replaces a product, an object of the API with its `id`.
    pub fn add_product(&self, object: Value) {
        keep(&mut self.shop().products, object);
    }

    /// Marks a checkout completed at a time (RFC 3339), or not completed; false if there is none of that number.
    pub fn set_completed(&self, number: &str, at: Option<&str>) -> bool {
        match self.shop().checkouts.get_mut(number) {
            Some(Value::Map(object)) => {
                object.insert("completedAt".to_owned(), Value::from(at.map(str::to_owned)));
                true
            }
            _ => false,
        }
    }

    /// The answer of a full cost bucket: status 200 and THROTTLED; the bucket needs `wait_s` seconds.
    #[must_use]
    pub fn throttled(wait_s: u32) -> Reply {
        let missing = u64::from(wait_s) * 50;
        Reply::json(
            200,
            format!(
                r#"{{"errors":[{{"message":"Throttled","extensions":{{"code":"THROTTLED","documentation":"https://shopify.dev/api/usage/rate-limits"}}}}],"extensions":{{"cost":{{"requestedQueryCost":{missing},"actualQueryCost":null,"throttleStatus":{{"maximumAvailable":2000.0,"currentlyAvailable":0,"restoreRate":50.0}}}}}}}}"#
            ),
        )
    }

    fn shop(&self) -> MutexGuard<'_, Shop> {
        self.shop.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Deref for Fake {
    type Target = FakeHandle;
    fn deref(&self) -> &FakeHandle {
        &self.server
    }
}

fn keep(into: &mut Map, object: Value) {
    let number = object.get("id").and_then(Value::as_str).and_then(|id| id.rsplit('/').next()).map(str::to_owned);
    if let Some(number) = number
        && into.len() < KEPT
    {
        into.insert(number, object);
    }
}

fn respond(seen: &Seen, shop: &Mutex<Shop>) -> Reply {
    let version = seen.path.strip_prefix("/admin/api/").and_then(|rest| rest.strip_suffix("/graphql.json"));
    let Some(version) = version.filter(|_| seen.method == "POST") else {
        return Reply::json(404, r#"{"errors":"Not Found"}"#);
    };
    if seen.header("x-shopify-access-token") != Some(ACCESS_TOKEN) {
        return Reply::json(
            401,
            r#"{"errors":"[API] Invalid API key or access token (unrecognized login or wrong password)"}"#,
        );
    }
    let body = seen.json();
    let Some(query) = body.get("query").and_then(Value::as_str) else {
        return Reply::json(400, r#"{"errors":{"query":"Required parameter missing or invalid"}}"#);
    };
    let fields = match parse(query).and_then(|fields| check(&fields, "QueryRoot").map(|()| fields)) {
        Ok(fields) => fields,
        Err(message) => return invalid(&message),
    };
    let shop = shop.lock().unwrap_or_else(PoisonError::into_inner);
    let mut data = Map::new();
    for field in &fields {
        match answer(field, body.get("variables"), &shop) {
            Ok(value) => data.insert(field.name.clone(), value),
            Err(message) => return invalid(&message),
        };
    }
    let answer = format!(
        r#"{{"data":{},"extensions":{{"cost":{{"requestedQueryCost":12,"actualQueryCost":8,"throttleStatus":{{"maximumAvailable":2000.0,"currentlyAvailable":1992,"restoreRate":100.0}}}}}}}}"#,
        Value::Map(data).to_json()
    );
    Reply::json(200, answer).header("x-shopify-api-version", version)
}

fn answer(field: &Selection, variables: Option<&Value>, shop: &Shop) -> Result<Value, String> {
    let argument = |name: &str| -> Result<Option<Value>, String> {
        let Some((_, text)) = field.arguments.iter().find(|(have, _)| have == name) else { return Ok(None) };
        match text.strip_prefix('$') {
            None => Ok(Some(Value::from(text.as_str()))),
            Some(variable) => variables
                .and_then(|all| all.get(variable))
                .cloned()
                .map(Some)
                .ok_or_else(|| format!("Variable ${variable} was provided invalid value")),
        }
    };
    match field.name.as_str() {
        "abandonedCheckouts" => {
            if argument("first")?.is_none() {
                return Err("you must provide one of first or last".to_owned());
            }
            let search = argument("query")?;
            let number = search.as_ref().and_then(Value::as_str).and_then(|text| text.strip_prefix("id:"));
            let found: Vec<Value> = number.and_then(|number| shop.checkouts.get(number)).cloned().into_iter().collect();
            Ok(project(&Value::object([("nodes", Value::List(found))]), &field.fields))
        }
        "order" => {
            let id = argument("id")?;
            let number = id.as_ref().and_then(Value::as_str).and_then(|id| id.strip_prefix("gid://shopify/Order/"));
            let number = number.ok_or("Invalid global id")?;
            Ok(shop.orders.get(number).map_or(Value::Null, |object| project(object, &field.fields)))
        }
        "orders" | "products" => {
            let all = if field.name == "orders" { &shop.orders } else { &shop.products };
            let variable = |name: &str| argument(name).ok().flatten();
            let first =
                variable("first").and_then(|first| first.as_int()).and_then(|first| usize::try_from(first).ok());
            let first = first.filter(|first| (1..=250).contains(first)).ok_or("first must be from 1 to 250")?;
            let by = variable("sortKey").and_then(|key| key.as_str().map(str::to_owned)).ok_or("sortKey is missing")?;
            let by = if by == "CREATED_AT" { "createdAt" } else { "updatedAt" };
            let mut found = searched(all, variable("query").as_ref())?;
            found.sort_by_key(|object| object.get(by).and_then(Value::as_str).unwrap_or_default().to_owned());
            // A cursor of ours is the number of objects before it; the real ones are opaque too.
            let after = variable("after");
            let from: usize =
                after.as_ref().and_then(Value::as_str).map_or(Ok(0), str::parse).map_err(|_| "Invalid cursor")?;
            let more = found.len() > from.saturating_add(first);
            let nodes: Vec<Value> = found.into_iter().skip(from).take(first).cloned().collect();
            let end = (!nodes.is_empty()).then(|| (from + nodes.len()).to_string());
            let info = Value::object([("hasNextPage", Value::Bool(more)), ("endCursor", Value::from(end))]);
            Ok(project(&Value::object([("nodes", Value::List(nodes)), ("pageInfo", info)]), &field.fields))
        }
        "ordersCount" | "productsCount" => {
            let all = if field.name == "ordersCount" { &shop.orders } else { &shop.products };
            let count = searched(all, argument("query").ok().flatten().as_ref())?.len();
            let count = Value::Int(i128::try_from(count).unwrap_or(0));
            Ok(project(&Value::object([("count", count), ("precision", Value::from("EXACT"))]), &field.fields))
        }
        other => Err(format!("the fake has no '{other}'")),
    }
}

/// As much of the search syntax as our queries have: words that compare a time; of others only a few are known.
fn searched<'m>(all: &'m Map, query: Option<&Value>) -> Result<Vec<&'m Value>, String> {
    let mut found: Vec<&Value> = all.values().collect();
    let query = query.and_then(Value::as_str).unwrap_or_default();
    for word in query.split(' ').filter(|word| !word.is_empty()) {
        let (name, rest) = word.split_once(':').ok_or_else(|| format!("the fake does not search for '{word}'"))?;
        let field = match name {
            "created_at" => "createdAt",
            "updated_at" => "updatedAt",
            "financial_status" | "status" => continue,
            other => return Err(format!("the fake does not search by '{other}'")),
        };
        let (sign, time) = rest.split_at_checked(2).ok_or("a comparison is cut short")?;
        let time = time.trim_matches('\'');
        found.retain(|object| {
            let have = object.get(field).and_then(Value::as_str).unwrap_or_default();
            if sign == ">=" { have >= time } else { have <= time }
        });
    }
    Ok(found)
}

fn invalid(message: &str) -> Reply {
    let extensions = Value::object([("code", Value::from("undefinedField"))]);
    let error = Value::object([("message", Value::from(message)), ("extensions", extensions)]);
    Reply::json(200, Value::object([("errors", Value::List(vec![error]))]).to_json())
}
