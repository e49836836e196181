//! Vectors that the vendors' own libraries answered, and what must hold for every scheme.

use proptest::prelude::*;
use serde::Deserialize;

use super::cases::{Verdict, run};
use super::*;

const VECTORS: &str = include_str!("../../tests/data/signatures.json");
const NOW: i64 = 1_790_000_000_000;

fn secret(scheme: &Scheme) -> &'static str {
    match scheme.key {
        Key::Text => "shpss_0123456789abcdef",
        Key::Base64 { .. } => "whsec_ZGV2LXNlY3JldC0yNC1ieXRlcy1sb25n",
    }
}

fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
    list.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn every_binding_vector_has_the_expected_verdict() {
    #[derive(Deserialize)]
    struct File {
        cases: Vec<Expected>,
    }
    #[derive(Deserialize)]
    struct Expected {
        id: String,
        scheme: String,
        expect: Verdict,
        must: bool,
    }
    let expected: File = serde_json::from_str(VECTORS).unwrap();
    let verdicts = run(VECTORS).unwrap();
    assert_eq!(verdicts.len(), expected.cases.len());
    for scheme in SCHEMES {
        let own = expected.cases.iter().filter(|case| case.scheme == scheme.name && case.must);
        assert!(own.count() >= 5, "vectors of {} are missing", scheme.name);
    }
    for (case, verdict) in expected.cases.iter().zip(&verdicts) {
        assert_eq!(case.id, verdict.id);
        if case.must {
            assert_eq!(case.expect, verdict.verdict, "{}: {}", case.id, verdict.reason);
        }
        assert!(!verdict.reason.is_empty());
    }
}

#[test]
fn refusals_say_which_part_differed() {
    let verdicts = run(VECTORS).unwrap();
    let reason = |id: &str| verdicts.iter().find(|verdict| verdict.id == id).unwrap().reason.clone();
    for (id, part) in [
        ("stripe-tampered", "no signature in `stripe-signature` matches"),
        ("stripe-stale", "is 301 s old and 300 s are allowed"),
        ("stripe-no-t", "has no timestamp"),
        ("stripe-only-v0", "has no signature of the version"),
        ("slack-v1-prefix", "does not begin with the version"),
        ("slack-missing-sig", "`x-slack-signature` is missing"),
        ("github-sha1-only", "`x-hub-signature-256` is missing"),
        ("shopify-hex", "holds no signature of 32 bytes"),
        ("std-too-new", "is 301 s ahead of our clock"),
        ("std-no-version", "has no signature of the version"),
    ] {
        assert!(reason(id).contains(part), "{id}: {}", reason(id));
    }
}

#[test]
fn a_file_of_cases_is_judged_case_by_case() {
    let text = r#"{"cases": [
        {"id": "a", "scheme": "sendgrid", "public_key": "x"},
        {"id": "b", "scheme": "github"},
        {"scheme": "github", "now_ms": 1, "headers": [["X-Hub-Signature-256", "sha256=00"]]},
        {"id": "d", "scheme": "github", "secret": "s", "now_ms": 1, "headers": [], "body_b64": "*"},
        7
    ]}"#;
    let verdicts = run(text).unwrap();
    let reasons: Vec<&str> = verdicts.iter().map(|verdict| verdict.reason.as_str()).collect();
    assert!(verdicts.iter().all(|verdict| verdict.verdict == Verdict::Invalid));
    assert_eq!(reasons[0], "scheme sendgrid is not known to this build");
    assert!(reasons[1].contains("now_ms"), "{}", reasons[1]);
    assert!(reasons[2].contains("no secret is configured for github"), "{}", reasons[2]);
    assert_eq!(verdicts[2].id, "case 3");
    assert!(reasons[3].contains("not base 64"), "{}", reasons[3]);
    assert!(run("[]").unwrap_err().contains("at line 1 column"));
    assert!(run(r#"{"format": 2, "cases": []}"#).unwrap_err().contains("format 2"));
    let line = serde_json::to_string(&verdicts[0]).unwrap();
    assert_eq!(line, r#"{"id":"a","verdict":"invalid","reason":"scheme sendgrid is not known to this build"}"#);
}

#[test]
fn without_a_secret_nothing_gets_in() {
    for scheme in SCHEMES {
        let headers = sign(scheme, secret(scheme), b"{}", NOW, "id1");
        let refused = |secrets: &[&str]| verify(scheme, secrets, &headers, b"{}", NOW, None).unwrap_err();
        assert_eq!(refused(&[]), Refusal::NoSecret { scheme: scheme.name });
        assert_eq!(refused(&["", secret(scheme)]), Refusal::NoSecret { scheme: scheme.name });
    }
    let standard = scheme("standard_webhooks").unwrap();
    for bad in ["whsec_", "whsec_***", "not base 64"] {
        let refusal = verify(standard, &[bad], &[], b"", NOW, None).unwrap_err();
        assert_eq!(refusal, Refusal::BadSecret { scheme: "standard_webhooks" }, "{bad}");
    }
    assert_eq!(bearer("", &pairs(&[("authorization", "Bearer ")])), Err(Refusal::NoSecret { scheme: "bearer" }));
}

#[test]
fn every_header_that_counts_is_refused_when_missing_or_doubled() {
    for scheme in SCHEMES {
        let headers = sign(scheme, secret(scheme), b"{}", NOW, "id1");
        assert_eq!(verify(scheme, &[secret(scheme)], &headers, b"{}", NOW, None), Ok(()), "{}", scheme.name);
        for (index, (name, value)) in headers.iter().enumerate() {
            let counts = index == 0
                || scheme.families[0].timestamp == Some(name)
                || scheme.signed.contains(&Part::Id) && scheme.families[0].id == Some(name);
            if !counts {
                continue;
            }
            let mut without = headers.clone();
            without.remove(index);
            let refusal = verify(scheme, &[secret(scheme)], &without, b"{}", NOW, None).unwrap_err();
            assert!(matches!(refusal, Refusal::Missing { header } if header == name), "{refusal}");
            let mut doubled = headers.clone();
            doubled.push((name.to_uppercase(), value.clone()));
            let refusal = verify(scheme, &[secret(scheme)], &doubled, b"{}", NOW, None).unwrap_err();
            assert!(matches!(refusal, Refusal::Twice { header } if header == name), "{refusal}");
        }
    }
}

#[test]
fn two_secrets_are_active_during_a_rotation() {
    for scheme in SCHEMES {
        let (old, new) = match scheme.key {
            Key::Text => ("old", "new"),
            Key::Base64 { .. } => ("whsec_b2xk", "whsec_bmV3"),
        };
        for signed_with in [old, new] {
            let headers = sign(scheme, signed_with, b"{}", NOW, "id1");
            assert_eq!(verify(scheme, &[old, new], &headers, b"{}", NOW, None), Ok(()));
            assert_eq!(verify(scheme, &[new], &headers, b"{}", NOW, None).is_ok(), signed_with == new);
        }
    }
}

#[test]
fn the_window_is_the_schemes_own_unless_the_trigger_sets_one() {
    let check = |name: &str, ahead_s: i64, tolerance: Option<u64>, expected: bool| {
        let scheme = scheme(name).unwrap();
        let headers = sign(scheme, secret(scheme), b"{}", NOW + ahead_s * 1000, "id1");
        let verdict = verify(scheme, &[secret(scheme)], &headers, b"{}", NOW, tolerance);
        assert_eq!(verdict.is_ok(), expected, "{name} {ahead_s} {tolerance:?} {verdict:?}");
    };
    for name in ["stripe", "slack", "standard_webhooks"] {
        check(name, -300, None, true);
        check(name, -301, None, false);
        check(name, -301, Some(400), true);
        check(name, -20, Some(10), false);
        check(name, 300, None, true);
    }
    check("stripe", 86_400, None, true);
    check("slack", 301, None, false);
    check("standard_webhooks", 301, None, false);
    check("github", -86_400, None, true);
    check("shopify_webhook", -86_400, None, true);
    let slack = scheme("slack").unwrap();
    for time in ["", "soon", "-1", "1790000000.0", "99999999999999999999", "１７９００００００"] {
        let mut headers = sign(slack, "s", b"{}", NOW, "");
        time.clone_into(&mut headers[1].1);
        assert!(matches!(verify(slack, &["s"], &headers, b"{}", NOW, None), Err(Refusal::Malformed { .. })), "{time}");
    }
}

#[test]
fn too_many_signatures_are_refused_before_any_work() {
    let stripe = scheme("stripe").unwrap();
    let value = format!("t=1790000000{}", format!(",v1={}", "a".repeat(64)).repeat(17));
    let refusal = verify(stripe, &["s"], &pairs(&[("stripe-signature", &value)]), b"", NOW, None).unwrap_err();
    assert!(refusal.to_string().contains("more than 16"), "{refusal}");
}

#[test]
fn a_bearer_token_must_be_the_configured_one() {
    let check = |value: &str, expected: Result<(), &str>| {
        let verdict = bearer("s3cret", &pairs(&[("Authorization", value)]));
        match expected {
            Ok(()) => assert_eq!(verdict, Ok(())),
            Err(part) => assert!(verdict.clone().unwrap_err().to_string().contains(part), "{value}: {verdict:?}"),
        }
    };
    check("Bearer s3cret", Ok(()));
    check("bearer s3cret", Ok(()));
    check("Bearer s3cre", Err("not the one configured"));
    check("Bearer s3cretX", Err("not the one configured"));
    check("Basic s3cret", Err("is not of the form"));
    check("s3cret", Err("is not of the form"));
    check("Bearér s3cret", Err("is not of the form"));
    let twice = pairs(&[("authorization", "Bearer s3cret"), ("Authorization", "Bearer s3cret")]);
    assert_eq!(bearer("s3cret", &twice), Err(Refusal::Twice { header: "authorization" }));
    assert_eq!(bearer("s3cret", &[]), Err(Refusal::Missing { header: "authorization" }));
}

#[test]
fn the_delivery_id_is_the_vendors() {
    let check = |name: &str, headers: &[(&str, &str)], body: &str, expected: Option<&str>| {
        let id = delivery_id(scheme(name).unwrap(), &pairs(headers), body.as_bytes());
        assert_eq!(id.as_deref(), expected, "{name} {headers:?} {body}");
    };
    let old = [("X-Shopify-Hmac-Sha256", "x"), ("X-Shopify-Event-Id", "e1"), ("X-Shopify-Webhook-Id", "w1")];
    check("shopify_webhook", &old, "", Some("e1"));
    check("shopify_webhook", &[("shopify-hmac-sha256", "x"), ("shopify-event-id", "e2")], "", Some("e2"));
    check("shopify_webhook", &[old[0], old[1], old[1]], "", None);
    check("github", &[("x-hub-signature-256", "x"), ("x-github-delivery", "72d3162e")], "", Some("72d3162e"));
    check("github", &[("x-hub-signature-256", "x")], "", None);
    check("standard_webhooks", &[("webhook-signature", "x"), ("webhook-id", "msg_1")], "", Some("msg_1"));
    check("stripe", &[], r#"{"object":"event","id":"evt_1","data":{"id":"no"}}"#, Some("evt_1"));
    check("stripe", &[], r#"{"data":{"id":"no"}}"#, None);
    check("stripe", &[], "not json", None);
    check("slack", &[], r#"{"event_id":"Ev1","id":"no"}"#, Some("Ev1"));
    check("slack", &[], "token=xyz", None);
    let long = format!(r#"{{"id":"{}"}}"#, "x".repeat(513));
    check("stripe", &[], &long, None);
}

#[test]
fn handshakes_are_told_from_events() {
    let slack = scheme("slack").unwrap();
    let body = br#"{"token":"t","type":"url_verification","challenge":"abc123"}"#;
    assert_eq!(handshake(slack, &[], body), Some(Handshake { status: 200, body: "abc123".into() }));
    assert_eq!(handshake(slack, &[], br#"{"type":"event_callback"}"#), None);
    let github = scheme("github").unwrap();
    assert!(handshake(github, &pairs(&[("X-GitHub-Event", "ping")]), b"{}").is_some());
    assert!(handshake(github, &pairs(&[("X-GitHub-Event", "push")]), b"{}").is_none());
}

#[test]
fn schemes_hold_together() {
    for (index, own) in SCHEMES.iter().enumerate() {
        assert_eq!(SCHEMES.iter().position(|other| other.name == own.name), Some(index), "{} is there twice", own.name);
        assert!(!own.families.is_empty() && (200..300).contains(&own.success_status));
        assert!(own.signed.contains(&Part::Body), "{}", own.name);
        assert_eq!(own.window.is_some(), own.signed.contains(&Part::Time), "an unsigned time proves nothing");
        for family in own.families {
            let names = [Some(family.signature), family.timestamp, family.id];
            assert!(names.iter().flatten().all(|name| **name == name.to_lowercase()));
        }
    }
    assert_eq!(scheme("slack").unwrap().reply_within_ms, Some(3000));
    assert_eq!(scheme("shopify_webhook").unwrap().reply_within_ms, Some(5000));
    assert!(scheme("sha1").is_none());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn one_flipped_bit_anywhere_in_the_body_is_refused(
        which in 0..SCHEMES.len(),
        body in proptest::collection::vec(any::<u8>(), 1..200),
        at in any::<proptest::sample::Index>(),
        bit in 0..8_u32,
    ) {
        let scheme = &SCHEMES[which];
        let headers = sign(scheme, secret(scheme), &body, NOW, "id1");
        prop_assert_eq!(verify(scheme, &[secret(scheme)], &headers, &body, NOW, None), Ok(()));
        let mut changed = body.clone();
        changed[at.index(body.len())] ^= 1 << bit;
        prop_assert!(verify(scheme, &[secret(scheme)], &headers, &changed, NOW, None).is_err());
        prop_assert!(verify(scheme, &[secret(scheme)], &headers, &body[1..], NOW, None).is_err());
    }

    #[test]
    fn garbage_in_the_headers_is_refused_and_never_panics(
        which in 0..SCHEMES.len(),
        values in proptest::collection::vec("(v1,|v0=|sha256=|t=[0-9]{1,14},v1=|t=)?[ -~é]{0,90}", 3),
        body in proptest::collection::vec(any::<u8>(), 0..40),
        now in any::<i64>(),
        tolerance in proptest::option::of(any::<u64>()),
    ) {
        let scheme = &SCHEMES[which];
        let family = &scheme.families[0];
        let names = [Some(family.signature), family.timestamp, family.id];
        let headers: Vec<(String, String)> =
            names.iter().flatten().zip(values).map(|(name, value)| ((*name).to_owned(), value)).collect();
        let verdict = verify(scheme, &[secret(scheme)], &headers, &body, now, tolerance);
        prop_assert!(verdict.is_err());
        let _ = delivery_id(scheme, &headers, &body);
        let _ = handshake(scheme, &headers, &body);
        let _ = bearer("s", &headers);
    }
}
