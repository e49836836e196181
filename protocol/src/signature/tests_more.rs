//! Handshakes, ids of batches, signed addresses and generic senders.

use proptest::prelude::*;

use super::*;
use crate::flow::{Hmac, Span};

const NOW: i64 = 1_790_000_000_000;

fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
    list.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn the_handshakes_of_the_vectors_are_answered_as_the_vendors_want() {
    #[derive(serde::Deserialize)]
    struct File {
        handshakes: Vec<Vector>,
    }
    #[derive(serde::Deserialize)]
    struct Vector {
        id: String,
        request: serde_json::Value,
        response: serde_json::Value,
    }
    let file: File = serde_json::from_str(include_str!("../../tests/data/signatures.json")).unwrap();
    assert_eq!(file.handshakes.len(), 5);
    for Vector { id, request, response } in file.handshakes {
        let scheme = scheme(id.split('-').next().unwrap()).unwrap();
        let body = match (&request["body"], &request["body_text"]) {
            (serde_json::Value::Null, serde_json::Value::String(text)) => text.clone(),
            (serde_json::Value::Null, _) => String::new(),
            (body, _) => body.to_string(),
        };
        let header: Vec<(String, String)> = request["header"]
            .as_str()
            .and_then(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into_iter()
            .collect();
        let url = format!("/hooks/x?{}", request["query"].as_str().unwrap_or_default());
        let request =
            Request { method: request["method"].as_str().unwrap(), url: &url, headers: &header, body: body.as_bytes() };
        let answer = match unsigned(scheme, &request, Some("meatyhamhock"), false) {
            Some(Unsigned::Answer(answer)) => answer,
            Some(Unsigned::Token(token)) => {
                assert_eq!((id.as_str(), token.as_str()), ("notion-verification-token", "secret_xxx"));
                continue;
            }
            Some(Unsigned::Denied) => panic!("{id} is denied"),
            None => handshake(scheme, request.headers, request.body).unwrap_or_else(|| panic!("{id} is no handshake")),
        };
        assert_eq!(answer.body, response["body_is"].as_str().unwrap_or_default(), "{id}");
        assert_eq!(answer.status, 200, "{id}");
    }
}

#[test]
fn slack_looks_at_a_certificate_without_signing() {
    let slack = scheme("slack").unwrap();
    let check = |method: &str, url: &str, body: &str, headers: &[(&str, &str)], expected: bool| {
        let headers = pairs(headers);
        let request = Request { method, url, headers: &headers, body: body.as_bytes() };
        let answer = unsigned(slack, &request, None, true);
        let fine = Unsigned::Answer(Handshake { status: 200, body: String::new() });
        assert_eq!(answer, expected.then_some(fine), "{method} {url} {body}");
    };
    check("POST", "/h", "ssl_check=1&token=abc", &[], true);
    check("POST", "/h", "token=abc&ssl_check=1", &[], true);
    check("GET", "/h?ssl_check=1&token=abc", "", &[], true);
    check("POST", "/h", "ssl_check=0", &[], false);
    check("POST", "/h", "ssl_check=10", &[], false);
    check("POST", "/h", r#"{"type":"url_verification","challenge":"x","ssl_check":1}"#, &[], false);
    check("POST", "/h?ssl_check=1", "command=%2Fdeploy&text=ssl_check%3D1", &[], false);
    check("POST", "/h", &format!("text={}&ssl_check=1", "x".repeat(5000)), &[], false);
    // What claims to be signed is judged by its signature.
    check("POST", "/h", "ssl_check=1", &[("X-Slack-Signature", "v0=00")], false);
    assert!(handshake(slack, &[], b"token=abc&ssl_check=1").is_some());
    assert_eq!(handshake(slack, &[], b"ssl_check=11&command=x"), None);
}

#[test]
fn an_unsigned_handshake_is_the_exact_one_or_nothing() {
    let get = |query: &str, agreed: Option<&str>| {
        let url = format!("https://h.example/hooks/x?{query}");
        unsigned(scheme("meta").unwrap(), &Request { method: "GET", url: &url, headers: &[], body: b"" }, agreed, true)
    };
    let fine = "hub.mode=subscribe&hub.challenge=1158201444&hub.verify_token=word";
    assert!(matches!(get(fine, Some("word")), Some(Unsigned::Answer(answer)) if answer.body == "1158201444"));
    for (query, agreed) in [
        (fine, None),
        (fine, Some("")),
        (fine, Some("Word")),
        ("", Some("word")),
        ("hub.mode=unsubscribe&hub.challenge=1&hub.verify_token=word", Some("word")),
        ("hub.mode=subscribe&hub.verify_token=word", Some("word")),
        ("hub.mode=subscribe&hub.challenge=%3Cscript%3E&hub.verify_token=word", Some("word")),
        ("hub.mode=subscribe&hub.challenge=1&hub.verify_token=no&hub.verify_token=word", Some("word")),
    ] {
        assert_eq!(get(query, agreed), Some(Unsigned::Denied), "{query} {agreed:?}");
    }
    let post = |name: &str, headers: &[(&str, &str)], body: &str, secret_set: bool| {
        let headers = pairs(headers);
        unsigned(scheme(name).unwrap(), &Request::post(&headers, body.as_bytes()), None, secret_set)
    };
    let token = r#"{"verification_token":"secret_abc"}"#;
    assert_eq!(post("notion", &[], token, false), Some(Unsigned::Token("secret_abc".to_owned())));
    assert_eq!(post("notion", &[], token, true), None, "once a secret is set nobody brings another");
    assert_eq!(post("notion", &[("x-notion-signature", "sha256=00")], token, false), None);
    for body in ["{}", r#"{"verification_token":""}"#, r#"{"verification_token":"a b"}"#, r#"{"verification_token":7}"#]
    {
        assert_eq!(post("notion", &[], body, false), None, "{body}");
    }
    assert!(matches!(post("woocommerce", &[], "webhook_id=42", true), Some(Unsigned::Answer(_))));
    for body in ["webhook_id=", "webhook_id=4x", "webhook_id=42&a=b", "{\"webhook_id\":42}", ""] {
        assert_eq!(post("woocommerce", &[], body, true), None, "{body}");
    }
    assert_eq!(post("woocommerce", &[("x-wc-webhook-signature", "x")], "webhook_id=42", true), None);
    for scheme in SCHEMES.iter().filter(|scheme| !matches!(scheme.name, "woocommerce" | "notion" | "meta")) {
        assert_eq!(post(scheme.name, &[], "webhook_id=42", false), None, "{}", scheme.name);
        assert_eq!(post(scheme.name, &[], token, false), None, "{}", scheme.name);
    }
}

#[test]
fn a_batch_is_told_by_the_ids_of_its_events() {
    let id = |name: &str, body: &str| delivery_id(scheme(name).unwrap(), &[], body.as_bytes());
    let one = id("sendgrid", r#"[{"sg_event_id":"a","email":"x"},{"sg_event_id":"b"}]"#).unwrap();
    assert_eq!(id("sendgrid", r#"[{"sg_event_id":"a"},{"sg_event_id":"b","more":1}]"#).as_ref(), Some(&one));
    for other in
        [r#"[{"sg_event_id":"a"}]"#, r#"[{"sg_event_id":"b"},{"sg_event_id":"a"}]"#, r#"[{"sg_event_id":"ab"}]"#]
    {
        assert_ne!(id("sendgrid", other).as_ref(), Some(&one), "{other}");
    }
    for none in ["[]", "{}", "7", r#"[{"email":"x"}]"#, r#"[{"sg_event_id":null}]"#, "not json"] {
        assert_eq!(id("sendgrid", none), None, "{none}");
    }
    let hubspot = r#"[{"eventId":1,"subscriptionId":2,"occurredAt":3,"attemptNumber":0}]"#;
    let again = r#"[{"eventId":1,"subscriptionId":2,"occurredAt":3,"attemptNumber":1}]"#;
    assert!(id("hubspot_v3", hubspot).is_some());
    assert_eq!(id("hubspot_v3", hubspot), id("hubspot_v3", again), "another attempt is the same event");
    assert_ne!(
        id("klaviyo", r#"{"data":[{"topic":"a","external_id":"1"}]}"#),
        id("klaviyo", r#"{"data":[{"topic":"b","external_id":"1"}]}"#)
    );
    assert!(id("meta", r#"{"entry":[]}"#).is_some_and(|id| id.len() == 64));
    assert_ne!(id("meta", "{}"), id("meta", "{ }"));
}

#[test]
fn hubspot_signs_the_address_with_its_delimiters_undone() {
    let v3 = scheme("hubspot_v3").unwrap();
    let at = |url| Request { method: "POST", url, headers: &[], body: b"[]" };
    let plain = "https://h.example/hooks/x?to=https://a.example/b,c&n=%2B1";
    let headers = sign_request(v3, "secret", &at(plain), NOW, "");
    for (url, expected) in [
        (plain, true),
        ("https://h.example/hooks/x?to=https%3A%2F%2Fa.example%2Fb%2Cc&n=%2B1", true),
        ("https://h.example/hooks/x?to=https%3a%2f%2fa.example/b,c&n=%2B1", true),
        ("https://h.example/hooks/x?to=https://a.example/b,c&n=+1", false),
        ("https://h.example/hooks/y?to=https://a.example/b,c&n=%2B1", false),
        ("http://h.example/hooks/x?to=https://a.example/b,c&n=%2B1", false),
    ] {
        let request = Request { method: "POST", url, headers: &headers, body: b"[]" };
        assert_eq!(verify(v3, &["secret"], &request, NOW, None).is_ok(), expected, "{url}");
    }
    let request = Request { method: "PUT", url: plain, headers: &headers, body: b"[]" };
    assert!(verify(v3, &["secret"], &request, NOW, None).is_err());
}

#[test]
fn an_address_with_escapes_is_taken_as_the_sender_signed_it() {
    let url = "https://h.example/hooks/x?to=https%3A%2F%2Fa.example%2Fb%2Cc&n=%2B1";
    let check = |name: &str, headers: &[(&str, &str)], url: &str, expected: bool| {
        let headers = pairs(headers);
        let request = Request { method: "POST", url, headers: &headers, body: b"[]" };
        let verdict = verify(scheme(name).unwrap(), &["secret"], &request, NOW, None);
        assert_eq!(verdict.is_ok(), expected, "{name} {url}: {verdict:?}");
    };
    // Made by HubSpot's own packages of npm and PyPI, which sign the address as it is.
    let v3 = [
        ("x-hubspot-signature-v3", "jB4iEPF4vD+6pQMigrgQUEDhOu3VkEXCOt9Qa+u0+tc="),
        ("x-hubspot-request-timestamp", "1790000000000"),
    ];
    let v2 = [
        ("x-hubspot-signature", "33f957e62418cace45c999e8c9ccd11fc795bfddb557566958d6e368b0ec77c8"),
        ("x-hubspot-signature-version", "v2"),
    ];
    check("hubspot_v3", &v3, url, true);
    check("hubspot_v2", &v2, url, true);
    let undone = "https://h.example/hooks/x?to=https://a.example/b,c&n=%2B1";
    check("hubspot_v3", &v3, undone, false);
    check("hubspot_v2", &v2, undone, false);
    // HubSpot's documents undo the escapes in v3, and say of v2 that the address is exactly the one of the request.
    let signed = |name: &str| {
        let request = Request { method: "POST", url: undone, headers: &[], body: b"[]" };
        sign_request(scheme(name).unwrap(), "secret", &request, NOW, "")
    };
    for (name, expected) in [("hubspot_v3", true), ("hubspot_v2", false)] {
        let headers = signed(name);
        let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        check(name, &headers, url, expected);
    }
    // A sender that the trigger describes signs the address as it is, too.
    let way = Hmac { signed: Some("{url}{body}".into()), ..way() };
    Generic::of(&way).unwrap().with(|scheme| {
        let at = |url| Request { method: "POST", url, headers: &[], body: b"[]" };
        let headers = sign_request(scheme, "key", &at(url), NOW, "");
        let judged = |url| verify(scheme, &["key"], &Request { headers: &headers, ..at(url) }, NOW, None).is_ok();
        assert!(judged(url) && !judged(undone));
    });
}

#[test]
fn the_address_of_an_installation_is_written_as_a_form_before_it_is_signed() {
    // Made by Shopify's own package of npm.
    let hmac = "a0861e0f817ce7ebaaed7a73b372670de5700525c1bd48441f608d72d51fbd74";
    let rest = "code=09&shop=a.myshopify.com&timestamp=1790000000";
    for (state, expected) in [
        ("a+b~c%27%28d%29%21*%2B%2F%3A%3D%26%C3%AB", true),
        ("a%20b%7Ec'(d)!%2A%2B/:%3D%26%C3%AB", true),
        ("a+b~c%27%28d%29%21*%2B%2F%3A%3D%26%C3%AC", false),
    ] {
        let url = format!("https://h.example/callback?{rest}&state={state}&hmac={hmac}");
        let request = Request { method: "GET", url: &url, headers: &[], body: b"" };
        assert_eq!(verify(&SHOPIFY_QUERY, &["s"], &request, NOW, None).is_ok(), expected, "{state}");
    }
}

#[test]
fn signed_addresses_are_refused_when_a_parameter_is_doubled_or_missing() {
    let check = |query: &str| {
        let url = format!("https://h.example/oauth/shopify/callback?{query}");
        verify(&SHOPIFY_QUERY, &["s"], &Request { method: "GET", url: &url, headers: &[], body: b"" }, NOW, None)
    };
    let hmac = "0".repeat(64);
    for (query, part) in [
        (String::new(), "`hmac` is missing"),
        (format!("hmac={hmac}"), "`timestamp` is missing"),
        (format!("hmac={hmac}&hmac={hmac}&timestamp=1790000000"), "`hmac` is there more than once"),
        (format!("hmac={hmac}&timestamp=1790000000&timestamp=1"), "`timestamp` is there more than once"),
        (format!("hmac=AA{hmac}&timestamp=1790000000"), "64 lower-case"),
        (format!("hmac={hmac}&timestamp=1790000000"), "no signature in `hmac` matches"),
        (format!("signature={hmac}&timestamp=1790000000"), "no signature in `signature` matches"),
        (format!("hmac={hmac}&timestamp=1790000091"), "91 s ahead"),
        (format!("hmac={hmac}{}", "&a=b".repeat(64)), "more than 64"),
    ] {
        let refusal = check(&query).unwrap_err().to_string();
        assert!(refusal.contains(part), "{query}: {refusal}");
    }
}

fn way() -> Hmac {
    Hmac { secret: "hook".into(), header: "X-Signature".into(), ..Hmac::default() }
}

#[test]
fn a_generic_sender_is_described_in_the_trigger() {
    let check = |way: Hmac, headers: &[(&str, &str)], body: &str, expected: Result<(), &str>| {
        let generic = Generic::of(&way).unwrap();
        let headers = pairs(headers);
        let request = Request { method: "POST", url: "https://h.example/x", headers: &headers, body: body.as_bytes() };
        let verdict = generic.with(|scheme| verify(scheme, &["key"], &request, NOW, None));
        match (&verdict, expected) {
            (Ok(()), Ok(())) => {}
            (Err(refusal), Err(part)) if refusal.to_string().contains(part) => {}
            _ => panic!("{way:?}: {verdict:?}, expected {expected:?}"),
        }
    };
    // Made with another tool: printf '%s' '…' | openssl dgst -sha… -hmac key.
    let body = "The quick brown fox jumps over the lazy dog";
    let sha256 = "f7bc83f430538424b13298e6aa6fb143ef4d59a14946175997479dbc2d1a3cd8";
    let sha1 = "de7c9b85b8b78aa6bc8a7a36f70a90701c9db4d9";
    check(way(), &[("x-signature", sha256)], body, Ok(()));
    check(way(), &[("x-signature", sha256)], "The quick brown fox", Err("no signature in `x-signature` matches"));
    check(way(), &[("x-signature", sha1)], body, Err("64 lower-case"));
    check(way(), &[], body, Err("`x-signature` is missing"));
    check(
        Hmac { algorithm: "sha1".into(), prefix: "sha1=".into(), ..way() },
        &[("X-Signature", &format!("sha1={sha1}"))],
        body,
        Ok(()),
    );
    let base64 = "97yD9DBThCSxMpjmqm+xQ+9NWaFJRhdZl0edvC0aPNg=";
    check(Hmac { encoding: "base64".into(), ..way() }, &[("x-signature", base64)], body, Ok(()));
    let timed = || Hmac { timestamp: Some("X-Time".into()), algorithm: "sha512".into(), ..way() };
    let sign = |way: &Hmac, now: i64| {
        Generic::of(way).unwrap().with(|scheme| sign(scheme, "key", body.as_bytes(), now, "d.1"))
    };
    for (now, expected) in [(NOW, Ok(())), (NOW - 301_000, Err("301 s old")), (NOW + 301_000, Err("301 s ahead"))] {
        let headers = sign(&timed(), now);
        assert_eq!(headers[0].1.len(), 128);
        let headers: Vec<(&str, &str)> = headers.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
        check(timed(), &headers, body, expected);
        check(Hmac { tolerance: Some(Span::from_secs(400)), ..timed() }, &headers, body, Ok(()));
    }
    let named = Hmac { id: Some("X-Id".into()), signed: Some("v1:{id}:{body}".into()), ..way() };
    let headers = sign(&named, NOW);
    // A dot inside of an id could move the border between two signed pieces.
    assert_eq!(headers[1], ("x-id".to_owned(), "d.1".to_owned()));
    let generic = Generic::of(&named).unwrap();
    let refused = generic.with(|scheme| verify(scheme, &["key"], &Request::post(&headers, body.as_bytes()), NOW, None));
    assert!(refused.unwrap_err().to_string().contains("holds a dot"));
    assert_eq!(generic.with(|scheme| delivery_id(scheme, &headers, b"")).as_deref(), Some("d.1"));
}

#[test]
fn what_a_generic_sender_cannot_promise_is_refused_with_its_key() {
    for (way, key, part) in [
        (Hmac { header: "X Signature".into(), ..way() }, "header", "not the name of a header"),
        (Hmac { header: "Host".into(), ..way() }, "header", "not the name of a header"),
        (Hmac { header: String::new(), ..way() }, "header", "not the name of a header"),
        (Hmac { algorithm: "md5".into(), ..way() }, "algorithm", "not known"),
        (Hmac { encoding: "base32".into(), ..way() }, "encoding", "not known"),
        (Hmac { prefix: "v\n".into(), ..way() }, "prefix", "plain text"),
        (Hmac { signed: Some("{bodi}".into()), ..way() }, "signed", "does not say what is signed"),
        (Hmac { signed: Some("{body".into()), ..way() }, "signed", "does not say what is signed"),
        (Hmac { signed: Some("{body}}".into()), ..way() }, "signed", "does not say what is signed"),
        (Hmac { signed: Some("{body}{body}".into()), ..way() }, "signed", "does not say what is signed"),
        (Hmac { signed: Some("{method}".into()), ..way() }, "signed", "the body is not signed"),
        (Hmac { signed: Some("{timestamp}{body}".into()), ..way() }, "signed", "no header holds it"),
        (Hmac { signed: Some("{id}{body}".into()), ..way() }, "signed", "no header holds it"),
        (
            Hmac { signed: Some("{body}".into()), timestamp: Some("x-time".into()), ..way() },
            "timestamp",
            "is not signed, so it proves nothing",
        ),
        (Hmac { tolerance: Some(Span::from_secs(5)), ..way() }, "tolerance", "no timestamp"),
        (
            Hmac { tolerance: Some(Span::from_secs(0)), timestamp: Some("x-time".into()), ..way() },
            "tolerance",
            "not between",
        ),
    ] {
        let error = Generic::of(&way).unwrap_err();
        assert_eq!(error.key, key, "{way:?}: {error:?}");
        assert!(error.message.contains(part), "{way:?}: {error:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn garbage_as_a_handshake_never_panics(
        which in 0..SCHEMES.len(),
        query in "[ -~é]{0,80}",
        body in proptest::collection::vec(any::<u8>(), 0..80),
        get in any::<bool>(),
        signed in proptest::option::of("\\PC{0,20}"),
    ) {
        let url = format!("https://h.example/x?{query}");
        let request = Request { method: if get { "GET" } else { "POST" }, url: &url, headers: &[], body: &body };
        let _ = unsigned(&SCHEMES[which], &request, Some("agreed"), false);
        let _ = handshake(&SCHEMES[which], &[], &body);
        let refused = verify(&SHOPIFY_QUERY, &["s"], &request, 0, None);
        prop_assert!(refused.is_err());
        let _ = Generic::of(&Hmac { signed, ..way() });
    }
}

/// The table of schemes for people.
fn table() -> String {
    let mut out = String::from(
        "| scheme | sender | signed | repeats are told by | oldest | newest | answer | sender waits | handshake |\n|---|---|---|---|---|---|---|---|---|\n",
    );
    for scheme in SCHEMES {
        let ids = scheme.families.iter().filter_map(|family| family.id).map(|id| format!("`{id}`"));
        let repeats = match scheme.delivery {
            DeliveryId::Header => ids.collect::<Vec<_>>().join(", "),
            DeliveryId::Body(field) => format!("`{field}` in the body"),
            DeliveryId::Each { fields, .. } => {
                format!(
                    "{} of all its events",
                    fields.iter().map(|field| format!("`{field}`")).collect::<Vec<_>>().join(", ")
                )
            }
            DeliveryId::Digest => "its bytes".to_owned(),
        };
        let part = |part: &Part<'_>| match part {
            Part::Text(text) => format!("`{text}`"),
            Part::Time => "time".to_owned(),
            Part::Id => "id".to_owned(),
            Part::Method => "method".to_owned(),
            Part::Url | Part::LooseUrl => "address".to_owned(),
            Part::Body => "body".to_owned(),
        };
        let pieces = scheme.signed.iter().map(part).collect::<Vec<_>>().join(" ");
        let how = match scheme.algorithm {
            Algorithm::Hmac(Hash::Sha256) => "HMAC-SHA256",
            Algorithm::Hmac(Hash::Sha1) => "HMAC-SHA1",
            Algorithm::Hmac(Hash::Sha512) => "HMAC-SHA512",
            Algorithm::Digest => "SHA-256 of secret and",
            Algorithm::EcdsaP256 => "ECDSA P-256",
        };
        let seconds = |found: Option<u64>| found.map_or("–".to_owned(), |seconds| format!("{seconds} s"));
        let window = scheme.window;
        let greeting = match scheme.greeting {
            Greeting::None => "–",
            Greeting::Slack => "signed `url_verification`, unsigned `ssl_check`",
            Greeting::Ping { .. } => "signed `ping`",
            Greeting::HubChallenge => "`GET` with the agreed `verify_token`",
            Greeting::Token { .. } => "names the token that will sign",
            Greeting::UnsignedPing { .. } => "unsigned ping",
        };
        out.push_str(&format!(
            "| `{}` | {} | {how}: {pieces} | {repeats} | {} | {} | {} | {} | {greeting} |\n",
            scheme.name,
            scheme.title,
            seconds(window.map(|window| window.tolerance_s)),
            seconds(window.filter(|window| window.both_ways).map(|window| window.tolerance_s)),
            scheme.success_status,
            seconds(scheme.reply_within_ms.map(|ms| ms / 1000)),
        ));
    }
    out
}

#[test]
fn the_page_of_connectors_shows_every_scheme() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/connectors.md");
    let written = std::fs::read_to_string(path).unwrap();
    let (begin, end) = ("<!-- schemes -->\n", "<!-- /schemes -->");
    let (before, rest) = written.split_once(begin).unwrap();
    let (_, after) = rest.split_once(end).unwrap();
    let page = format!("{before}{begin}{}{end}{after}", table());
    if std::env::var_os("AURA_WRITE_DOCS").is_some() {
        std::fs::write(path, &page).unwrap();
    }
    let written = std::fs::read_to_string(path).unwrap();
    assert!(written == page, "docs/connectors.md is not what the schemes say; run this test with AURA_WRITE_DOCS=1");
}

#[test]
fn the_signatures_of_the_reference_are_those_that_its_senders_make() {
    let cases: serde_json::Value =
        serde_json::from_str(include_str!("../../tests/data/reference-cases.json")).expect("JSON");
    let (input, expected) = (&cases["50_hook"]["input"], &cases["50_hook"]["expected"]);
    let text = |name: &str| input[name].as_str().expect("a text").to_owned();
    let (body, at_ms) = (text("body"), input["t"].as_i64().expect("a time") * 1000);
    let schemes = [
        ("stripe", "stripe_secret", "stripe"),
        ("shopify_webhook", "shopify_secret", "shopify"),
        ("github", "github_secret", "github"),
        ("slack", "slack_secret", "slack"),
        ("standard_webhooks", "std_secret", "standard"),
    ];
    for (name, secret, wanted) in schemes {
        let scheme = scheme(name).expect(name);
        let headers = sign(scheme, &text(secret), body.as_bytes(), at_ms, &text("msg_id"));
        let wanted = expected[wanted].as_str().expect("a signature");
        assert!(headers.iter().any(|(_, value)| value == wanted), "{name}: {wanted} is none of {headers:?}");
    }
}
