//! Vectors that the vendors' own libraries answered, and what must hold for every scheme.

use proptest::prelude::*;
use serde::Deserialize;

use super::cases::{Verdict, run};
use super::*;

const VECTORS: &str = include_str!("../../tests/data/signatures.json");
const NOW: i64 = 1_790_000_000_000;

/// A key pair of P-256 made for these tests with `openssl genpkey`: what the double of a vendor signs with.
const PRIVATE: &str = "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgrndvihEGF7u4sXrg8imzkJd1nijPLcXgIqO9+mch7WuhRANCAAR4onK7SDUPVlYbH9K40iWHa9L1VzFqFiC83M+gxY9RC3mJWyUQix3/ad3ScEYM74lrWeFrkAIgjhYxQHkTcRnI";
const PUBLIC: &str = "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEeKJyu0g1D1ZWGx/SuNIlh2vS9VcxahYgvNzPoMWPUQt5iVslEIsd/2nd0nBGDO+Ja1nha5ACII4WMUB5E3EZyA==";

/// What checks.
fn secret(scheme: &Scheme<'_>) -> &'static str {
    match scheme.key {
        Key::Text => "shpss_0123456789abcdef",
        Key::Base64 { .. } => "whsec_ZGV2LXNlY3JldC0yNC1ieXRlcy1sb25n",
        Key::PublicKey => PUBLIC,
    }
}

/// What signs.
fn signer(scheme: &Scheme<'_>) -> &'static str {
    if scheme.key == Key::PublicKey { PRIVATE } else { secret(scheme) }
}

const URL: &str = "https://hooks.example.com/hooks/abc?x=1";

fn signed(scheme: &Scheme<'_>, body: &[u8], now_ms: i64, id: &str) -> Vec<(String, String)> {
    let request = Request { method: "POST", url: URL, headers: &[], body };
    sign_request(scheme, signer(scheme), &request, now_ms, id)
}

fn check(
    scheme: &Scheme<'_>,
    secrets: &[&str],
    headers: &[(String, String)],
    body: &[u8],
    now_ms: i64,
    tolerance: Option<u64>,
) -> Result<(), Refusal> {
    verify(scheme, secrets, &Request { method: "POST", url: URL, headers, body }, now_ms, tolerance)
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
    for scheme in SCHEMES.iter().chain([&SHOPIFY_QUERY]) {
        let own = expected.cases.iter().filter(|case| case.scheme == scheme.name && case.must);
        assert!(own.count() >= 1, "vectors of {} are missing", scheme.name);
    }
    assert_eq!(expected.cases.iter().filter(|case| case.must).count(), 65);
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
        ("sendgrid-crlf-stripped", "no signature in `x-twilio-email-event-webhook-signature` matches"),
        ("sendgrid-p1363", "no signature in `x-twilio-email-event-webhook-signature` matches"),
        ("hubspot-v3-stale", "is 301 s old and 300 s are allowed"),
        ("hubspot-v3-path", "or the address is not the one its sender wrote"),
        ("shopify-oauth-stale", "is 91 s old and 90 s are allowed"),
        ("klaviyo-no-ts", "`klaviyo-timestamp` is missing"),
        ("notion-truncated", "holds no signature of 64"),
    ] {
        assert!(reason(id).contains(part), "{id}: {}", reason(id));
    }
}

#[test]
fn a_file_of_cases_is_judged_case_by_case() {
    let text = r#"{"cases": [
        {"id": "a", "scheme": "pigeon", "public_key": "x"},
        {"id": "b", "scheme": "github"},
        {"scheme": "github", "now_ms": 1, "headers": [["X-Hub-Signature-256", "sha256=00"]]},
        {"id": "d", "scheme": "github", "secret": "s", "now_ms": 1, "headers": [], "body_b64": "*"},
        7
    ]}"#;
    let verdicts = run(text).unwrap();
    let reasons: Vec<&str> = verdicts.iter().map(|verdict| verdict.reason.as_str()).collect();
    assert!(verdicts.iter().all(|verdict| verdict.verdict == Verdict::Invalid));
    assert_eq!(reasons[0], "scheme pigeon is not known to this build");
    assert!(reasons[1].contains("now_ms"), "{}", reasons[1]);
    assert!(reasons[2].contains("no secret is configured for github"), "{}", reasons[2]);
    assert_eq!(verdicts[2].id, "case 3");
    assert!(reasons[3].contains("not base 64"), "{}", reasons[3]);
    assert!(run("[]").unwrap_err().contains("at line 1 column"));
    assert!(run(r#"{"format": 2, "cases": []}"#).unwrap_err().contains("format 2"));
    let line = serde_json::to_string(&verdicts[0]).unwrap();
    assert_eq!(line, r#"{"id":"a","verdict":"invalid","reason":"scheme pigeon is not known to this build"}"#);
}

#[test]
fn without_a_secret_nothing_gets_in() {
    for scheme in SCHEMES {
        let headers = signed(scheme, b"{}", NOW, "id1");
        let refused = |secrets: &[&str]| check(scheme, secrets, &headers, b"{}", NOW, None).unwrap_err();
        assert_eq!(refused(&[]), Refusal::NoSecret { scheme: scheme.name.to_owned() });
        assert_eq!(refused(&["", secret(scheme)]), Refusal::NoSecret { scheme: scheme.name.to_owned() });
    }
    let standard = scheme("standard_webhooks").unwrap();
    let bad_secret = |form| Refusal::BadSecret { scheme: "standard_webhooks".to_owned(), form };
    for bad in ["whsec_", "whsec_***", "not base 64"] {
        let refusal = check(standard, &[bad], &[], b"", NOW, None).unwrap_err();
        assert_eq!(refusal, bad_secret("base 64, as in whsec_…"), "{bad}");
    }
    let sendgrid = scheme("sendgrid").unwrap();
    for bad in ["x", "*", PRIVATE, &PUBLIC[..80]] {
        let refusal = check(sendgrid, &[bad], &[], b"", NOW, None).unwrap_err();
        assert!(matches!(refusal, Refusal::BadSecret { .. }), "{bad}: {refusal}");
    }
    let pem = format!("-----BEGIN PUBLIC KEY-----\n{}\n{}\n-----END PUBLIC KEY-----\n", &PUBLIC[..64], &PUBLIC[64..]);
    assert_eq!(check(sendgrid, &[&pem], &signed(sendgrid, b"[]", NOW, ""), b"[]", NOW, None), Ok(()));
    assert_eq!(
        bearer(&[""], &pairs(&[("authorization", "Bearer ")])),
        Err(Refusal::NoSecret { scheme: "bearer".to_owned() })
    );
}

#[test]
fn every_header_that_counts_is_refused_when_missing_or_doubled() {
    for scheme in SCHEMES {
        let headers = signed(scheme, b"{}", NOW, "id1");
        assert_eq!(check(scheme, &[secret(scheme)], &headers, b"{}", NOW, None), Ok(()), "{}", scheme.name);
        for (index, (name, value)) in headers.iter().enumerate() {
            let counts = index == 0
                || scheme.families[0].timestamp == Some(name)
                || scheme.families[0].version.is_some_and(|(version, _)| version == name)
                || scheme.signed.contains(&Part::Id) && scheme.families[0].id == Some(name);
            if !counts {
                continue;
            }
            let mut without = headers.clone();
            without.remove(index);
            let refusal = check(scheme, &[secret(scheme)], &without, b"{}", NOW, None).unwrap_err();
            assert!(matches!(refusal, Refusal::Missing { ref header } if header == name), "{refusal}");
            let mut doubled = headers.clone();
            doubled.push((name.to_uppercase(), value.clone()));
            let refusal = check(scheme, &[secret(scheme)], &doubled, b"{}", NOW, None).unwrap_err();
            assert!(matches!(refusal, Refusal::Twice { ref header } if header == name), "{refusal}");
        }
    }
}

#[test]
fn two_secrets_are_active_during_a_rotation() {
    for scheme in SCHEMES {
        let (old, new) = match scheme.key {
            Key::Text => ("old", "new"),
            Key::Base64 { .. } => ("whsec_b2xk", "whsec_bmV3"),
            Key::PublicKey => {
                let other = "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEfueujLU9mvpLL6he/nzXuP6/mZodH1oyS6Zvmwp1OnsOgkNHZDV/RYZxtU0DEZkqmIX82XOTA2POuBUgMjEOJg==";
                let headers = signed(scheme, b"{}", NOW, "id1");
                assert_eq!(check(scheme, &[other, PUBLIC], &headers, b"{}", NOW, None), Ok(()));
                assert!(check(scheme, &[other], &headers, b"{}", NOW, None).is_err());
                continue;
            }
        };
        for signed_with in [old, new] {
            let request = Request { method: "POST", url: URL, headers: &[], body: b"{}" };
            let headers = sign_request(scheme, signed_with, &request, NOW, "id1");
            assert_eq!(check(scheme, &[old, new], &headers, b"{}", NOW, None), Ok(()));
            assert_eq!(check(scheme, &[new], &headers, b"{}", NOW, None).is_ok(), signed_with == new);
        }
    }
}

#[test]
fn the_window_is_the_schemes_own_unless_the_trigger_sets_one() {
    let at = |name: &str, ahead_s: i64, tolerance: Option<u64>, expected: bool| {
        let scheme = scheme(name).unwrap();
        let headers = signed(scheme, b"{}", NOW + ahead_s * 1000, "id1");
        let verdict = check(scheme, &[secret(scheme)], &headers, b"{}", NOW, tolerance);
        assert_eq!(verdict.is_ok(), expected, "{name} {ahead_s} {tolerance:?} {verdict:?}");
    };
    for name in ["stripe", "slack", "standard_webhooks", "svix", "hubspot_v3", "klaviyo"] {
        at(name, -300, None, true);
        at(name, -301, None, false);
        at(name, -301, Some(400), true);
        at(name, -20, Some(10), false);
        at(name, 300, None, true);
    }
    at("stripe", 86_400, None, true);
    at("slack", 301, None, false);
    at("standard_webhooks", 301, None, false);
    at("github", -86_400, None, true);
    at("shopify_webhook", -86_400, None, true);
    let slack = scheme("slack").unwrap();
    for time in ["", "soon", "-1", "1790000000.0", "99999999999999999999", "１７９００００００"] {
        let mut headers = sign(slack, "s", b"{}", NOW, "");
        time.clone_into(&mut headers[1].1);
        assert!(matches!(check(slack, &["s"], &headers, b"{}", NOW, None), Err(Refusal::Malformed { .. })), "{time}");
    }
}

#[test]
fn too_many_signatures_are_refused_before_any_work() {
    let stripe = scheme("stripe").unwrap();
    let value = format!("t=1790000000{}", format!(",v1={}", "a".repeat(64)).repeat(17));
    let refusal = check(stripe, &["s"], &pairs(&[("stripe-signature", &value)]), b"", NOW, None).unwrap_err();
    assert!(refusal.to_string().contains("more than 16"), "{refusal}");
}

#[test]
fn a_bearer_token_must_be_the_configured_one() {
    let token = |value: &str, expected: Result<(), &str>| {
        let verdict = bearer(&["s3cret"], &pairs(&[("Authorization", value)]));
        match expected {
            Ok(()) => assert_eq!(verdict, Ok(0)),
            Err(part) => assert!(verdict.clone().unwrap_err().to_string().contains(part), "{value}: {verdict:?}"),
        }
    };
    token("Bearer s3cret", Ok(()));
    token("bearer s3cret", Ok(()));
    token("Bearer s3cre", Err("not the one configured"));
    token("Bearer s3cretX", Err("not the one configured"));
    token("Basic s3cret", Err("is not of the form"));
    token("s3cret", Err("is not of the form"));
    token("Bearér s3cret", Err("is not of the form"));
    let twice = pairs(&[("authorization", "Bearer s3cret"), ("Authorization", "Bearer s3cret")]);
    assert_eq!(bearer(&["s3cret"], &twice), Err(Refusal::Twice { header: "authorization".to_owned() }));
    assert_eq!(bearer(&["s3cret"], &[]), Err(Refusal::Missing { header: "authorization".to_owned() }));
}

#[test]
fn the_delivery_id_is_the_vendors() {
    let id_of = |name: &str, headers: &[(&str, &str)], body: &str, expected: Option<&str>| {
        let id = delivery_id(scheme(name).unwrap(), &pairs(headers), body.as_bytes());
        assert_eq!(id.as_deref(), expected, "{name} {headers:?} {body}");
    };
    let old = [("X-Shopify-Hmac-Sha256", "x"), ("X-Shopify-Event-Id", "e1"), ("X-Shopify-Webhook-Id", "w1")];
    id_of("shopify_webhook", &old, "", Some("e1"));
    id_of("shopify_webhook", &[("shopify-hmac-sha256", "x"), ("shopify-event-id", "e2")], "", Some("e2"));
    id_of("shopify_webhook", &[old[0], old[1], old[1]], "", None);
    id_of("github", &[("x-hub-signature-256", "x"), ("x-github-delivery", "72d3162e")], "", Some("72d3162e"));
    id_of("github", &[("x-hub-signature-256", "x")], "", None);
    id_of("standard_webhooks", &[("webhook-signature", "x"), ("webhook-id", "msg_1")], "", Some("msg_1"));
    id_of("stripe", &[], r#"{"object":"event","id":"evt_1","data":{"id":"no"}}"#, Some("evt_1"));
    id_of("stripe", &[], r#"{"data":{"id":"no"}}"#, None);
    id_of("stripe", &[], "not json", None);
    id_of("slack", &[], r#"{"event_id":"Ev1","id":"no"}"#, Some("Ev1"));
    id_of("slack", &[], "token=xyz", None);
    let long = format!(r#"{{"id":"{}"}}"#, "x".repeat(513));
    id_of("stripe", &[], &long, None);
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
        assert!(own.window.is_none() || own.signed.contains(&Part::Time), "an unsigned time proves nothing");
        assert_eq!(own.signs_address(), own.name.starts_with("hubspot_v") && own.name != "hubspot_v1");
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
        let headers = signed(scheme, &body, NOW, "id1");
        prop_assert_eq!(check(scheme, &[secret(scheme)], &headers, &body, NOW, None), Ok(()));
        let mut changed = body.clone();
        changed[at.index(body.len())] ^= 1 << bit;
        prop_assert!(check(scheme, &[secret(scheme)], &headers, &changed, NOW, None).is_err());
        prop_assert!(check(scheme, &[secret(scheme)], &headers, &body[1..], NOW, None).is_err());
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
        let verdict = check(scheme, &[secret(scheme)], &headers, &body, now, tolerance);
        prop_assert!(verdict.is_err());
        let _ = delivery_id(scheme, &headers, &body);
        let _ = handshake(scheme, &headers, &body);
        let _ = bearer(&["s"], &headers);
    }
}
