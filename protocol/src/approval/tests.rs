//! Who may decide, and what decisions come to: the reference cases of approvals, and what else could go wrong.

use super::*;

fn ask(approvers: &[&str], quorum: u32) -> Ask {
    Ask {
        form: Value::Null,
        fields: Vec::new(),
        hash: "h".to_owned(),
        approvers: approvers.iter().map(|name| (*name).to_owned()).collect(),
        quorum,
        reject: None,
        no_self: true,
        delegate: true,
        escalate_ms: None,
        escalate: Vec::new(),
    }
}

fn vote(by: &str, approve: bool) -> Vote {
    Vote {
        by: by.to_owned(),
        approve,
        hash: "h".to_owned(),
        form: Value::Null,
        comment: String::new(),
        via: String::new(),
        at_ms: 0,
    }
}

/// The votes that count of those that were tried: of whom is asked and may, each once.
fn tried(ask: &Ask, votes: &[(&str, bool)], starter: &str) -> Standing {
    let mut standing = Standing::default();
    for (by, approve) in votes {
        if ask.may(&standing, &[starter], by, "viewer").is_ok() {
            standing.votes.push(vote(by, *approve));
        }
    }
    standing
}

#[test]
fn the_reference_cases_of_approvals() {
    let check = |need: u32, voters: &[&str], votes: &[(&str, bool)], starter: &str, reject, expected: Verdict| {
        let ask = Ask { reject, delegate: false, ..ask(voters, need) };
        let standing = tried(&ask, votes, starter);
        assert_eq!(ask.verdict(&standing, &[starter]), expected, "{need} of {voters:?}: {votes:?} by {starter}");
    };
    let three = ["a", "b", "c"];
    // The five states of case `46_appr`.
    check(2, &three, &[("a", true), ("b", true)], "z", None, Verdict::Approved);
    check(2, &three, &[("a", true), ("a", true)], "z", None, Verdict::Pending);
    check(2, &three, &[("a", true), ("b", false), ("c", false)], "z", None, Verdict::Rejected);
    check(2, &three, &[("a", true), ("z", true)], "a", None, Verdict::Pending);
    check(1, &["a", "b"], &[("b", false)], "z", Some(1), Verdict::Rejected);
    // And around them.
    check(1, &["a", "b"], &[("b", false)], "z", None, Verdict::Pending);
    check(2, &["owner"], &[("a", false)], "z", None, Verdict::Pending);
    check(1, &["viewer"], &[("a", false)], "z", None, Verdict::Rejected);
    check(2, &["a", "b"], &[], "a", None, Verdict::Impossible);
    check(2, &["a", "viewer"], &[], "a", None, Verdict::Pending);
}

#[test]
fn who_may_decide() {
    let mut ask = ask(&["a", "admin"], 1);
    ask.escalate = vec!["e".to_owned()];
    let mut standing = Standing::default();
    let check = |standing: &Standing, account: &str, role: &str, expected: Result<(), MayNot>| {
        assert_eq!(ask.may(standing, &["s"], account, role), expected, "{account} {role}");
    };
    check(&standing, "a", "viewer", Ok(()));
    check(&standing, "b", "admin", Ok(()));
    check(&standing, "b", "owner", Err(MayNot::NotAsked));
    check(&standing, "admin", "viewer", Err(MayNot::NotAsked));
    check(&standing, "s", "admin", Err(MayNot::OwnRun));
    check(&standing, "e", "", Err(MayNot::NotYet));
    standing.escalated = true;
    check(&standing, "e", "", Ok(()));
    standing.votes.push(vote("a", true));
    check(&standing, "a", "viewer", Err(MayNot::Decided));
}

#[test]
fn who_is_asked_may_ask_somebody_else_once() {
    let ask = ask(&["a", "b"], 2);
    let mut standing = Standing::default();
    let may = |standing: &Standing, by: &str, to: &str| {
        ask.may_delegate(standing, &["s"], (by, "viewer"), (to, "viewer")).err()
    };
    assert_eq!(may(&standing, "a", "x"), None);
    assert_eq!(may(&standing, "a", "b"), Some(MayNot::AskedAlready), "b would count for two");
    assert_eq!(may(&standing, "a", "s"), Some(MayNot::OwnRun));
    assert_eq!(may(&standing, "c", "x"), Some(MayNot::NotAsked));
    standing.delegations.push(("a".to_owned(), "x".to_owned()));
    assert_eq!(may(&standing, "a", "y"), Some(MayNot::Delegated));
    assert_eq!(may(&standing, "b", "x"), Some(MayNot::AskedAlready));
    assert_eq!(may(&standing, "x", "a"), Some(MayNot::AskedAlready), "it does not come back");
    assert_eq!(ask.may(&standing, &["s"], "a", "viewer"), Err(MayNot::Delegated));
    assert_eq!(ask.may(&standing, &["s"], "x", ""), Ok(()));
    standing.votes = vec![vote("x", true), vote("b", true)];
    assert_eq!(ask.verdict(&standing, &["s"]), Verdict::Approved);
    let mine = Ask { delegate: true, ..self::ask(&["s"], 1) };
    assert_eq!(mine.verdict(&Standing::default(), &["s"]), Verdict::Pending, "s may hand it on");
    assert_eq!(mine.may_delegate(&Standing::default(), &["s"], ("s", ""), ("x", "")), Ok(()));
    let fixed = Ask { delegate: false, ..ask.clone() };
    let refused = fixed.may_delegate(&Standing::default(), &[], ("a", ""), ("x", ""));
    assert_eq!(refused, Err(MayNot::Fixed));
}

#[test]
fn whoever_had_a_run_done_again_began_it_too() {
    let starters = ["anna", "ben", "carl"];
    let asked = Ask { delegate: false, ..ask(&["anna", "ben", "carl", "dora"], 1) };
    let none = Standing::default();
    for starter in starters {
        assert_eq!(asked.may(&none, &starters, starter, "owner"), Err(MayNot::OwnRun), "{starter}");
    }
    assert_eq!(asked.may(&none, &starters, "dora", ""), Ok(()));
    assert_eq!(asked.verdict(&none, &starters), Verdict::Pending);
    assert_eq!(Ask { quorum: 2, ..asked.clone() }.verdict(&none, &starters), Verdict::Impossible);
    let anybody = Ask { no_self: false, ..asked };
    assert_eq!(anybody.may(&none, &starters, "ben", ""), Ok(()));
    let handed = ask(&["dora"], 1);
    for starter in starters {
        let refused = handed.may_delegate(&none, &starters, ("dora", ""), (starter, ""));
        assert_eq!(refused, Err(MayNot::OwnRun), "{starter}");
    }
}

#[test]
fn a_form_is_filled_in_as_it_asks() {
    let mut ask = ask(&["a"], 1);
    ask.fields = vec![
        Field { name: "why".to_owned(), kind: FieldKind::Text },
        Field { name: "limit".to_owned(), kind: FieldKind::Number },
    ];
    let check = |given: &str, expected: &str| {
        let said = ask.fits(&Value::from_json(given.as_bytes()).unwrap()).err().unwrap_or_default();
        assert_eq!(said, expected, "{given}");
    };
    check(r#"{"why":"x","limit":1.5}"#, "");
    check(r#"{"why":"x"}"#, "the form asks for `limit` (number)");
    check(r#"{"why":1,"limit":1}"#, "`why` must be a text");
    check(r#"{"why":"x","limit":1,"sum":9}"#, "the form does not ask for `sum`");
    check("[3]", "the form must be an object, this is list");
}

#[test]
fn what_is_typed_is_read_as_its_field_says() {
    let check = |kind: FieldKind, text: &str, expected: Value| assert_eq!(kind.typed(text), expected, "{text}");
    check(FieldKind::Text, "12", Value::from("12"));
    check(FieldKind::Number, " 12.50", Value::from_json(b"12.50").unwrap());
    check(FieldKind::Number, "twelve", Value::from("twelve"));
    check(FieldKind::Boolean, "yes", Value::Bool(true));
    check(FieldKind::Boolean, "false", Value::Bool(false));
    check(FieldKind::Boolean, "1", Value::from("1"));
}
