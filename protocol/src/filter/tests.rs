//! What filters mean, as tables.

use super::*;
use crate::run::{ErrorClass, RunHead, StepError};
use crate::value::Value;
use crate::{EventId, FlowId, RunId};

const NOW: i64 = 1_000_000_000;

fn head() -> RunHead {
    RunHead {
        run: RunId::from_bytes([7; 16]),
        flow_id: FlowId::from_bytes([1; 16]),
        flow: "cart".into(),
        version: "3f2a99".into(),
        trigger: "paid".into(),
        event: EventId::from_bytes([2; 16]),
        state: RunState::InDoubt,
        created_ms: NOW - 60_000,
        finished_ms: Some(NOW - 10_000),
        step: "charge".into(),
        attempt: 2,
        steps_done: 1,
        steps_all: 3,
        blocked_by: None,
        error: Some(StepError::new(ErrorClass::Timeout, "No answer within 30 s")),
        transition: 4,
        origin: None,
    }
}

#[test]
fn words_are_joined_by_and() {
    let labels = [("team".to_owned(), "growth".to_owned())].into();
    let head = head();
    let row = Columns::of(&head, Some(&labels));
    let check = |text: &str, fits: bool| {
        let filter = Filter::read(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(filter.row(&row, NOW), fits, "{text}");
        assert_eq!(Filter::typed(text).row(&row, NOW), fits, "typed: {text}");
    };
    for text in ["", "all", "state=in_doubt", "state=failed,in_doubt", "s:doubt", "flow=cart", "flow:car", "!flow=shop"]
    {
        check(text, true);
    }
    for text in ["flow=car", "flow!=cart", "!state:doubt", "state=failed", "version=4", "label.team=sales", "label.x=y"]
    {
        check(text, false);
    }
    for text in
        ["version=3f2a", "label.team=growth", "label=team:growth", "since=1h", "until=30s", "older=5s", "took>40s"]
    {
        check(text, true);
    }
    for text in ["since=30s", "until=2h", "older=1m", "took<50s", "created>1970-01-13", "ended>5s"] {
        check(text, false);
    }
    check("\"no answer\" flow=cart", true);
    check("error~'within 30' step=charge trigger=paid", true);
    check("ANSWER", true);
    check("!answer", false);
    check("created<1970-01-13T00:00:00Z", true);
    check("took>=50s took<=50s", true);
}

#[test]
fn words_about_flows_and_labels_are_judged_alone() {
    let labels = [("team".to_owned(), "growth".to_owned())].into();
    let check = |text: &str, fits: Option<bool>| {
        let filter = Filter::read(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(filter.fits_flow("cart", &labels), fits, "{text}");
    };
    check("", None);
    check("state=failed trigger.body.n=1", None);
    check("flow=cart,other state=failed", Some(true));
    check("flow:ca !label.team=sales", Some(true));
    check("flow=cart label.team=sales", Some(false));
    check("!flow=cart trigger.body.n=1", Some(false));
    check("label.town=x", Some(false));
}

#[test]
fn payloads_are_compared_as_what_they_are() {
    let trigger = Value::from_json(br#"{"body":{"id":"A-1","amount":120.50,"n":7,"ok":true,"items":[{"sku":"x"}]}}"#);
    let trigger = trigger.unwrap();
    let read = |root: &str| match root {
        "trigger" => trigger.clone(),
        "subject" => Value::from("a@b.c"),
        _ => Value::Null,
    };
    let check = |text: &str, fits: bool| {
        let filter = Filter::read(text).unwrap();
        assert!(filter.needs_payload(), "{text}");
        assert!(filter.row(&Columns::default(), NOW), "a row cannot say: {text}");
        assert_eq!(filter.payload(&read), fits, "{text}");
    };
    for text in [
        "trigger.body.id=A-1",
        "trigger.body.id:a-",
        "trigger.body.amount>100",
        "trigger.body.amount=120.5",
        "trigger.body.n=7",
        "trigger.body.n>=7",
        "trigger.body.ok=true",
        "trigger.body.items.0.sku=x,y",
        "!trigger.body.id=B-1",
        "subject=a@b.c",
        "!input.id=3",
    ] {
        check(text, true);
    }
    for text in ["trigger.body.id=a-1", "trigger.body.n>10", "trigger.body.none=1", "trigger.body=x", "input.id=3"] {
        check(text, false);
    }
    let filter = Filter::read("trigger.body.id=A-1 trigger.body.n>3 subject=x !input.a=1 input.b=1,2").unwrap();
    let found: Vec<(Key, &str)> = filter.equalities().map(|(key, text)| (key.clone(), text)).collect();
    assert_eq!(found, [(Key::Payload("trigger.body.id".into()), "A-1"), (Key::Subject, "x")]);
}

#[test]
fn what_is_no_filter_is_refused_with_its_word() {
    for (text, part) in [
        ("state=runing", "`runing` is no state"),
        ("older=soon", "`soon` is no time"),
        ("took>soon", "`soon` is no duration"),
        ("colour=red", "`colour=red` is no part"),
        ("flow<3", "`flow<3` is no part"),
        ("\"open", "not closed"),
    ] {
        let error = Filter::read(text).unwrap_err();
        assert!(error.0.contains(part), "{text}: {error}");
        let typed = Filter::typed(text);
        assert!(typed.terms.iter().all(|term| term.key == Key::Any), "while it is typed it is a text: {text}");
    }
    assert!(Filter::read(&"a ".repeat(33)).is_err() && Filter::read(&"a".repeat(3000)).is_err());
    assert_eq!(Filter::typed("flow: ! state:").terms, [], "half a word says nothing yet");
    let filter = Filter::read("flow=a,b state=failed,queued since=10s").unwrap();
    assert_eq!(filter.flows(), Some(["a".to_owned(), "b".to_owned()].as_slice()));
    assert_eq!(filter.states(), [RunState::Failed, RunState::Queued]);
    assert_eq!(filter.since(NOW), Some(NOW - 10_000));
}
