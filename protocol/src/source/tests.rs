//! Sources: what is refused in a file, and what a backfill can say to them.

use super::*;
use crate::value::Value;

fn with(json: &str) -> Map {
    match Value::from_json(json.as_bytes()) {
        Ok(Value::Map(map)) => map,
        other => panic!("{other:?}"),
    }
}

const ORDERS: &str = r#""uses":"shop.list","input":{"after":"{{ cursor ?? '' }}","page":"{{ page }}"},
    "items":"{{ output.orders }}","key":"{{ item.id }}","cursor":"{{ item.at }}","next":"{{ output.next ?? null }}""#;

#[test]
fn a_poll_is_closed_and_every_mistake_has_its_key() {
    let check = |json: &str, expected: &[&str]| {
        let wrong = Poll::read(&with(json), Some("shop")).map(|_| Vec::new()).unwrap_or_else(|wrong| wrong);
        let said: Vec<String> = wrong.iter().map(|wrong| format!("{}: {}", wrong.key, wrong.message)).collect();
        assert_eq!(said, expected, "{json}");
    };
    let poll = |more: &str| format!(r#"{{"every":"5m",{ORDERS}{more}}}"#);
    check(&poll(""), &[]);
    check(&poll(r#","start":"2026-01-01","window":"90d","pages":3,"order":"newest""#), &[]);
    check(&poll(r#","speed":1"#), &["speed: a poll has no setting `speed`"]);
    check(&poll(r#","window":"1h""#), &["window: `window: 1h` must be between 3d and 365d"]);
    check(&poll(r#","pages":0"#), &["pages: `pages` is a number from 1 to 1000"]);
    check(&poll(r#","order":"random""#), &["order: `order` is oldest or newest: what the provider gives first"]);
    check(&poll(r#","http":{"url":"https://a.example"}"#), &["http: a source has `uses` or `http`, not both"]);
    check(
        r#"{"every":"5m"}"#,
        &[": the source does not say what is read", ": the source does not say what tells its objects apart"],
    );
    check(
        r#"{"http":{"url":"https://a.example","method":"POST"},"key":"{{ item.id }}"}"#,
        &[": the poll does not say how often", "http.method: a source only reads: the method is GET or HEAD"],
    );
    let http = |more: &str| format!(r#"{{"every":"5m","http":{{"url":"https://a.example"}},{more}}}"#);
    check(&http(r#""key":"{{ item.id }}""#), &[]);
    check(&http(r#""key":"id""#), &["key: `key` is an expression"]);
    check(&http(r#""key":"{{ trigger.id }}""#), &["key: `trigger` is not known here"]);
    check(&http(r#""key":"{{ item.id }}","items":"{{ item }}""#), &["items: `item` is not known here"]);
    check(&http(r#""key":"{{ item.id }}","start":"2026-01-01""#), &["start: `start` says where the poll begins"]);
    check(&http(r#""key":"{{ item. }}""#), &["key: expected a name after `.`, found `}`"]);
}

#[test]
fn a_source_says_what_a_backfill_can_ask_of_it() {
    let source = |json: &str| Source::read(&with(json), None).unwrap();
    let orders = source(&format!("{{{ORDERS}}}"));
    assert!(orders.takes_since() && orders.takes_until() && orders.cursor_of_item);
    assert_eq!(orders.says(), "shop.list");
    let all = source(r#"{"http":{"url":"https://a.example"},"key":"{{ item }}"}"#);
    assert!(!all.takes_since() && !all.takes_until());
    let token =
        source(r#"{"http":{"url":"https://a.example/{{ cursor }}"},"key":"{{ item }}","cursor":"{{ output.at }}"}"#);
    assert!(token.takes_since() && !token.takes_until() && !token.cursor_of_item);
}

#[test]
fn another_cursor_or_key_is_another_source_and_another_input_is_not() {
    let of = |json: &str| Source::read(&with(json), None).unwrap().identity;
    let one = of(r#"{"uses":"a.b","input":{"n":1},"key":"{{ item.id }}"}"#);
    assert_eq!(one, of(r#"{"uses":"a.b","input":{"n":2},"key":"{{ item.id }}","pages":2}"#));
    for other in [
        r#"{"uses":"a.c","input":{"n":1},"key":"{{ item.id }}"}"#,
        r#"{"uses":"a.b","input":{"n":1},"key":"{{ item.name }}"}"#,
        r#"{"uses":"a.b","input":{"n":1},"key":"{{ item.id }}","cursor":"{{ item.id }}"}"#,
        r#"{"uses":"a.b","connection":"x","key":"{{ item.id }}"}"#,
    ] {
        assert_ne!(one, of(other), "{other}");
    }
}
