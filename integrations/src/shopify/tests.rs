//! Shopify against its fake, the queries against the API's own field names, and the cost bucket.

use aura_protocol::run::{CallOutcome, ErrorClass, Reach};
use aura_protocol::signature;
use aura_protocol::value::Value;

use super::*;
use crate::fakes::{Behaviour, call};
use crate::registry::{Registry, sample};

async fn get(fake: &fake::Fake, action: &str, input: &str, token: &str) -> CallOutcome {
    call(action, input, &[("base_url", &fake.base_url)], &[("access_token", token)]).await
}

#[tokio::test]
async fn an_abandoned_checkout_is_found_by_the_id_of_its_webhook() {
    let fake = fake::Fake::start().await.unwrap();
    let webhook = Value::from_json(sample("shopify.checkout_updated").unwrap().as_bytes()).unwrap();
    let input = format!(r#"{{"id": {}}}"#, webhook.get("id").unwrap().to_json());
    let CallOutcome::Done(checkout) = get(&fake, "shopify.get_abandoned_checkout", &input, fake::ACCESS_TOKEN).await
    else {
        panic!("not found")
    };
    assert_eq!(checkout.get("completedAt"), Some(&Value::Null));
    let total = checkout.get("totalPriceSet").unwrap().get("shopMoney").unwrap();
    assert_eq!(total.get("amount"), webhook.get("total_price"), "money stays text");
    assert!(fake.set_completed("981820079255243537", Some("2026-11-21T10:02:10Z")));
    let CallOutcome::Done(checkout) = get(&fake, "shopify.get_abandoned_checkout", &input, fake::ACCESS_TOKEN).await
    else {
        panic!("not found")
    };
    assert_eq!(checkout.get("completedAt").and_then(Value::as_str), Some("2026-11-21T10:02:10Z"));
    assert_eq!(fake.requests().len(), 2);
}

#[tokio::test]
async fn an_order_is_read_by_number_or_gid() {
    let fake = fake::Fake::start().await.unwrap();
    for id in ["820982911946154508", r#""820982911946154508""#, r#""gid://shopify/Order/820982911946154508""#] {
        let outcome = get(&fake, "shopify.get_order", &format!(r#"{{"id": {id}}}"#), fake::ACCESS_TOKEN).await;
        let CallOutcome::Done(order) = outcome else { panic!("{id}: {outcome:?}") };
        assert_eq!(order.get("name").and_then(Value::as_str), Some("#9999"));
    }
}

#[tokio::test]
async fn what_goes_wrong_is_told_apart() {
    let fake = fake::Fake::start().await.unwrap();
    let check = async |input: &str, token: &str, class: ErrorClass, reach: Reach, wait: Option<u64>| match get(
        &fake,
        "shopify.get_abandoned_checkout",
        input,
        token,
    )
    .await
    {
        CallOutcome::Failed(error, got) => {
            assert_eq!((error.class, got, error.retry_after_ms), (class, reach, wait), "{input}: {error}");
        }
        done @ CallOutcome::Done(_) => panic!("{input}: {done:?}"),
    };
    use Reach::{Refused, Unsent};
    check(r#"{"id": 1}"#, fake::ACCESS_TOKEN, ErrorClass::NotFound, Refused, None).await;
    check(r#"{"id": 1}"#, "shpat_wrong", ErrorClass::Auth, Refused, None).await;
    fake.next(Behaviour::Answer(fake::Fake::throttled(3)));
    check(r#"{"id": 1}"#, fake::ACCESS_TOKEN, ErrorClass::RateLimited, Refused, Some(3000)).await;
    let before = fake.count();
    for bad in [
        r#"{"id": "1 OR status:open"}"#,
        r#"{"id": ""}"#,
        r#"{"id": -1}"#,
        r#"{"id": 1.5}"#,
        r#"{"id": true}"#,
        r#"{"id": "gid://shopify/Order/x"}"#,
        r#"{"id": "123456789012345678901"}"#,
        "{}",
    ] {
        check(bad, fake::ACCESS_TOKEN, ErrorClass::Invalid, Unsent, None).await;
    }
    assert_eq!(fake.count(), before, "bad ids are refused before anything is sent");
}

#[tokio::test]
async fn a_connection_needs_a_shop_or_a_base_address_and_nothing_odd() {
    let check = async |settings: &[(&str, &str)], words: &str| {
        let outcome = call("shopify.get_order", r#"{"id": 1}"#, settings, &[("access_token", "shpat_x")]).await;
        let CallOutcome::Failed(error, Reach::Unsent) = outcome else { panic!("{settings:?}: {outcome:?}") };
        assert!(error.message.contains(words), "{settings:?}: {}", error.message);
    };
    check(&[], "base_url of the connection").await;
    check(&[("shop", "acme.myshopify.com/?x=")], "is not a base address").await;
    check(&[("shop", "user@acme.myshopify.com")], "is not a base address").await;
    check(&[("base_url", "acme")], "is not a base address").await;
    check(&[("base_url", "http://10.0.0.1")], "blocked by egress policy").await;
}

#[test]
fn every_query_uses_fields_that_the_api_has() {
    let file: toml::Table = toml::from_str(BUILTIN.toml).unwrap();
    let actions = file["actions"].as_array().unwrap();
    for action in actions {
        let query = action["request"]["body"]["query"].as_str().unwrap();
        let fields = graphql::parse(query).unwrap();
        graphql::check(&fields, "QueryRoot").unwrap_or_else(|error| panic!("{}: {error}", action["id"]));
    }
    for (query, words) in [
        ("query { order(id: $id) { nothing } }", "Field 'nothing' doesn't exist on type 'Order'"),
        ("query { order(name: $id) { id } }", "doesn't accept argument 'name'"),
        ("query { order(id: $id) }", "must have selections"),
        ("query { order(id: $id) { id { x } } }", "can't be made on scalars"),
        ("{ order { ", "ends too early"),
        ("{ order { id } } }", "text after the query"),
        ("nothing", "has braces"),
        ("{ }", "is empty"),
        (&"{a".repeat(100), "too deep"),
    ] {
        let error = graphql::parse(query).and_then(|fields| graphql::check(&fields, "QueryRoot")).unwrap_err();
        assert!(error.contains(words), "{query}: {error}");
    }
}

#[test]
fn the_wait_is_what_the_bucket_needs() {
    let check = |requested: &str, available: &str, rate: &str, expected: Option<u64>| {
        let body = format!(
            r#"{{"extensions":{{"cost":{{"requestedQueryCost":{requested},"throttleStatus":{{"currentlyAvailable":{available},"restoreRate":{rate}}}}}}}}}"#
        );
        assert_eq!(wait(&Value::from_json(body.as_bytes()).unwrap()), expected, "{body}");
    };
    check("202", "118", "50.0", Some(1680));
    check("202", "118.9", "50", Some(1680));
    check("1000", "0", "3", Some(333_334));
    check("10", "500", "50", Some(1000));
    check("10", "0", "0", Some(10_000));
    check("10", "-3", "50", None);
    check("null", "0", "50", None);
    check("\"10\"", "0", "50", None);
    assert_eq!(wait(&Value::Null), None);
}

#[test]
fn the_triggers_are_signed_and_told_apart_by_topic() {
    let registry = Registry::builtin();
    let trigger = registry.trigger("shopify.checkout_updated").unwrap();
    assert_eq!(trigger.matches, [("x-shopify-topic".to_owned(), "checkouts/update".to_owned())]);
    assert_eq!(trigger.reply_within_ms, signature::scheme(&trigger.scheme).unwrap().reply_within_ms);
    assert_eq!(registry.signing_field("shopify"), Some("webhook_secret"));
    let topics: std::collections::BTreeSet<_> =
        registry.connector("shopify").unwrap().triggers.iter().map(|trigger| &trigger.matches).collect();
    assert_eq!(topics.len(), registry.connector("shopify").unwrap().triggers.len());
}

/// What a source's expressions see.
struct Names<'a>(&'a [(&'a str, Value)]);

impl aura_protocol::expr::Scope for Names<'_> {
    fn root(&self, name: &str) -> Option<&Value> {
        self.0.iter().find(|(known, _)| *known == name).map(|(_, value)| value)
    }
    fn step(&self, _: &str) -> Option<&Value> {
        None
    }
    fn now_ms(&self) -> i64 {
        0
    }
    fn entropy(&self, _: u32) -> [u8; 16] {
        [0; 16]
    }
}

#[tokio::test]
async fn past_orders_come_page_by_page_in_the_form_of_the_webhook() {
    let fake = fake::Fake::start().await.unwrap();
    let registry = Registry::builtin();
    let Some(Value::Map(map)) = registry.trigger("shopify.order_created").unwrap().backfill.clone() else {
        panic!("no source")
    };
    let source = aura_protocol::source::Source::read(&map, None).unwrap();
    for number in 1..=3 {
        let mut order = Value::from_json(include_str!("fixtures/order.json").as_bytes()).unwrap();
        let Value::Map(fields) = &mut order else { panic!("an object") };
        fields.insert("id".to_owned(), Value::from(format!("gid://shopify/Order/{number}")));
        fields.insert("legacyResourceId".to_owned(), Value::from(number.to_string()));
        fields.insert("createdAt".to_owned(), Value::from(format!("2026-01-0{number}T00:00:00Z")));
        fake.add_order(order);
    }
    let since = Value::from("2026-01-02T00:00:00Z");
    let until = Value::from("2026-01-31T00:00:00Z");
    let mut page = Value::Null;
    let mut seen = Vec::new();
    for _ in 0..2 {
        let asked =
            [("cursor", Value::Null), ("page", page.clone()), ("since", since.clone()), ("until", until.clone())];
        let Value::Map(mut input) = source.input.eval(&Names(&asked)).unwrap().value else { panic!("an object") };
        input.insert("first".to_owned(), Value::Int(1));
        let outcome = get(&fake, "shopify.list_orders", &Value::Map(input).to_json(), fake::ACCESS_TOKEN).await;
        let CallOutcome::Done(output) = outcome else { panic!("{outcome:?}") };
        let came = [("output", output)];
        let items = source.items.as_ref().unwrap().eval(&Names(&came)).unwrap().value;
        for item in items.as_list().unwrap() {
            let of = [("item", item.clone()), ("index", Value::Int(0)), ("output", Value::Null)];
            seen.push(source.body.as_ref().unwrap().eval(&Names(&of)).unwrap().value);
        }
        page = source.next.as_ref().unwrap().eval(&Names(&came)).unwrap().value;
    }
    assert!(page.is_null(), "two orders since the second of January");
    let webhook = Value::from_json(sample("shopify.order_created").unwrap().as_bytes()).unwrap();
    for (body, number) in seen.iter().zip([2, 3]) {
        assert_eq!(body.get("id"), Some(&Value::Int(number)));
        for name in ["name", "total_price", "currency", "line_items"] {
            let (ours, theirs) = (body.get(name).unwrap(), webhook.get(name).unwrap());
            assert_eq!(ours.kind(), theirs.kind(), "{name}: {} {}", ours.to_json(), theirs.to_json());
        }
    }
    assert_eq!(seen.len(), 2);
    let outcome = get(
        &fake,
        "shopify.count_orders",
        r#"{"since":"2026-01-03T00:00:00Z","by":"created_at","until":"2026-02-01T00:00:00Z"}"#,
        fake::ACCESS_TOKEN,
    )
    .await;
    let CallOutcome::Done(output) = outcome else { panic!("{outcome:?}") };
    assert_eq!(output.to_json(), r#"{"count":1,"precision":"EXACT"}"#);
    let widened = get(&fake, "shopify.list_orders", r#"{"since":"2026' OR id:1"}"#, fake::ACCESS_TOKEN).await;
    assert!(matches!(widened, CallOutcome::Failed(_, Reach::Unsent)), "{widened:?}");
}
