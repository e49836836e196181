//! The vendors' own SDKs against a real daemon, both ways: what they sign we take, what we sign they take, and of
//! deliveries that are broken on purpose both say the same.
//!
//! The one invariant: nothing here passes without the SDKs. `.ci/full` installs them, says where, and runs these tests;
//! where an SDK says something else than we do it stands in [`DIFFERENCES`] with its reason, and anything else fails.

use aura_protocol::rpc::{DeliveryQuery, Verdict};
use aura_protocol::signature::{self, Encoding, Layout, Part, SCHEMES, SHOPIFY_QUERY, Scheme, scheme};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use self::sdks::{Sdk, Sdks, Sent};
use crate::support::sender::SECRET;
use crate::support::{Daemon, Receiver, now_ms};

mod sdks;

/// A key pair of P-256 made for tests: what the owner of an endpoint has, what our double of SendGrid signs with
/// (PKCS #8), what the libraries sign with (SEC 1).
const PUBLIC: &str = "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEeKJyu0g1D1ZWGx/SuNIlh2vS9VcxahYgvNzPoMWPUQt5iVslEIsd/2nd0nBGDO+Ja1nha5ACII4WMUB5E3EZyA==";
const PRIVATE: &str = "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgrndvihEGF7u4sXrg8imzkJd1nijPLcXgIqO9+mch7WuhRANCAAR4onK7SDUPVlYbH9K40iWHa9L1VzFqFiC83M+gxY9RC3mJWyUQix3/ad3ScEYM74lrWeFrkAIgjhYxQHkTcRnI";
const PRIVATE_SEC1: &str = "MHcCAQEEIK53b4oRBhe7uLF64PIps5CXdZ4ozy3F4CKjvfpnIe1roAoGCCqGSM49\nAwEHoUQDQgAEeKJyu0g1D1ZWGx/SuNIlh2vS9VcxahYgvNzPoMWPUQt5iVslEIsd\n/2nd0nBGDO+Ja1nha5ACII4WMUB5E3EZyA==";

/// (Package, scheme, case, whether the SDK takes it, why we say the opposite.)
const DIFFERENCES: &[(&str, &str, &str, bool, &str)] = &[
    ("@slack/bolt", "slack", "310 s", true, "slack_sdk refuses times ahead as well, and so do we"),
    ("@sendgrid/eventwebhook", "sendgrid", "no padding", true, "SendGrid pads, and its PyPI package wants it"),
    ("openai", "standard_webhooks", "no padding", true, "the specification pads; on npm only"),
    ("openai", "standard_webhooks", "no version", true, "the specification names the version, and OpenAI sends it"),
    ("@hubspot/api-client", "hubspot_v3", "escapes undone", false, "HubSpot's documents undo them; we take both"),
    ("hubspot-api-client", "hubspot_v3", "escapes undone", false, "HubSpot's documents undo them; we take both"),
    ("@notionhq/client", "notion", "upper case", true, "Notion sends lower case"),
    (
        "ShopifyAPI",
        "shopify_query",
        "all kinds of characters",
        false,
        "it escapes three; the packages of npm and Ruby all",
    ),
    ("ShopifyAPI", "shopify_query", "100 s", true, "it allows a day, Shopify's npm package 90 s, and so do we"),
];

#[test]
#[ignore = "needs packages of npm: .ci/full installs them and runs this"]
fn the_sdks_of_npm_and_aura_take_each_others_deliveries() {
    let folder =
        std::env::var("AURA_VENDORS_NPM").expect("AURA_VENDORS_NPM says where tests/peers/vendors is installed");
    hold_together("npm", Sdks::start("npm", &["run", "--silent", "judge"], &folder));
}

#[test]
#[ignore = "needs packages of PyPI: .ci/full installs them and runs this"]
fn the_sdks_of_pypi_and_aura_take_each_others_deliveries() {
    let python = std::env::var("AURA_VENDORS_PYPI").expect("AURA_VENDORS_PYPI names a Python that has the packages");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/peers/vendors/vendors.py");
    hold_together("PyPI", Sdks::start(&python, &[script], "."));
}

fn hold_together(registry: &str, mut sdks: Sdks) {
    let list = sdks.list();
    let daemon = Daemon::start();
    daemon.secret("text", SECRET);
    daemon.secret("public", PUBLIC);
    for scheme in SCHEMES {
        let secret = if scheme.name == "sendgrid" { "public" } else { "text" };
        daemon.publish(&format!(
            "aura: 1\nflow: {}\ntriggers:\n  - id: in\n    on: webhook\n    auth: {{ scheme: {}, secret: {secret} }}\nsteps:\n  - id: a\n    set: {{ b: 1 }}\n",
            name_of(scheme.name), scheme.name
        ));
    }
    let mut wrong = Vec::new();
    for sdk in &list {
        if sdk.scheme != SHOPIFY_QUERY.name {
            if sdk.can_sign() {
                takes_what_it_signs(&daemon, &mut sdks, sdk);
            }
            it_takes_what_we_sign(&daemon, &mut sdks, sdk);
        }
        let (judged, differing) = says_the_same(&daemon, &mut sdks, sdk);
        println!(
            "{} {judged} odd or broken deliveries judged by both, {} unlisted differences",
            sdk.row(registry),
            differing.len()
        );
        wrong.extend(differing);
    }
    it_takes_what_we_send_out(&daemon, &mut sdks, &list);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let page = include_str!("../../docs/webhooks.md");
    let missing: Vec<String> = list.iter().map(|sdk| sdk.row(registry)).filter(|row| !page.contains(row)).collect();
    assert!(missing.is_empty(), "docs/webhooks.md does not say:\n{}", missing.join("\n"));
}

fn name_of(scheme: &str) -> String {
    scheme.replace('_', "-")
}

fn known(sdk: &Sdk) -> &'static Scheme<'static> {
    let query = Some(&SHOPIFY_QUERY).filter(|scheme| scheme.name == sdk.scheme);
    scheme(&sdk.scheme).or(query).unwrap_or_else(|| panic!("{sdk:?} is of no scheme of ours"))
}

/// What the SDK is handed as the secret.
fn secret_for(sdk: &Sdk) -> Value {
    if sdk.scheme != "sendgrid" {
        return SECRET.into();
    }
    let pem = format!("-----BEGIN EC PRIVATE KEY-----\n{PRIVATE_SEC1}\n-----END EC PRIVATE KEY-----\n");
    json!({"public": PUBLIC, "private": pem})
}

fn url_of(daemon: &Daemon, scheme: &str) -> String {
    let name = name_of(scheme);
    let hooks = daemon.ask().webhook_list(()).expect("the endpoints");
    hooks.into_iter().find(|hook| hook.flow == name).expect("an endpoint").url
}

/// Bodies as senders have them: plain, with all that is not ASCII and the line end of SendGrid, many, a form.
fn bodies(sdk: &Sdk, id: &str) -> Vec<(&'static str, String)> {
    let event = |text: &str| {
        let id = format!("{id}-{}", text.len());
        format!(r#"{{"id":"{id}","event_id":"{id}","sg_event_id":"{id}","type":"a.b","text":"{text}"}}"#)
    };
    let json = "application/json";
    let mut bodies = vec![(json, event("plain")), (json, format!("{}\r\n", event(r"Zoë ☕ 漢 \u00eb \/ + %2B")))];
    if sdk.scheme == "sendgrid" {
        // Signatures in DER have 68 to 72 bytes, by chance.
        bodies.extend(
            (0..24).map(|number| (json, format!("[{},\r\n{}]\r\n", event("list"), event(&"x".repeat(number))))),
        );
    }
    if ["slack", "github"].contains(&sdk.scheme.as_str()) {
        bodies.push(("application/x-www-form-urlencoded", format!("payload=%7B%22id%22%3A%22{id}%22%7D&a=b+c")));
    }
    bodies
}

/// Another body with the same length, whose form is as good: its first letter in the other case.
fn changed(body: &str) -> String {
    let at = body.find(|letter: char| letter.is_ascii_alphabetic()).expect("a letter in the body");
    let letter = body.as_bytes()[at];
    let other =
        char::from(if letter.is_ascii_lowercase() { letter.to_ascii_uppercase() } else { letter.to_ascii_lowercase() });
    format!("{}{other}{}", &body[..at], &body[at + 1..])
}

/// The vendor signs: the real door says proved, and refuses the same with one byte changed.
fn takes_what_it_signs(daemon: &Daemon, sdks: &mut Sdks, sdk: &Sdk) {
    let flow = name_of(&sdk.scheme);
    let (mut hook, mut url) = (daemon.open_hook(&flow), url_of(daemon, &sdk.scheme));
    let newest = |failed: bool| {
        let query = DeliveryQuery { flow: Some(flow.clone()), failed, limit: 1, ..DeliveryQuery::default() };
        let rows = daemon.ask().webhook_deliveries(query).expect("the deliveries").deliveries;
        rows.into_iter().next().expect("a row")
    };
    let id = format!("{}-{}", sdk.package.replace(['@', '/'], ""), sdk.version);
    for (number, (content_type, body)) in bodies(sdk, &id).into_iter().enumerate() {
        if number == 1 {
            // With a query: who signs the address signs it as it stands here.
            let query = "?to=https%3A%2F%2Fa.example%2C&n=%2B1&m=a+b";
            hook.path.push_str(query);
            url.push_str(query);
        }
        let mut sent = sdks.sign(sdk, &secret_for(sdk), &url, &body, &format!("{id}-{number}").replace('.', "_"));
        sent.headers.push(("content-type".to_owned(), content_type.to_owned()));
        let reply = hook.send_with(&sent.headers, body.as_bytes()).expect("an answer");
        assert_eq!(reply.status, known(sdk).success_status, "{sdk:?}: {} to {sent:?}", reply.text());
        let row = newest(false);
        assert_eq!(row.event.map(|event| event.to_string()).as_deref(), reply.event(), "{sdk:?}: {row:?}");
        assert_eq!((row.verdict, row.status), (Verdict::Proved, Some(reply.status)), "{sdk:?}: {row:?}");
        // The log of refused ones is bounded: the first few show it.
        let reply = hook.send_with(&sent.headers, changed(&body).as_bytes()).expect("an answer");
        assert_eq!((reply.status, reply.event()), (401, None), "{sdk:?}: {}", reply.text());
        if number < 3 {
            assert_eq!(newest(true).verdict, Verdict::Digest, "{sdk:?}");
        }
    }
}

/// We sign: the sample of the provider, as `aura webhook test` shows it, is valid for the vendor's own SDK.
fn it_takes_what_we_sign(daemon: &Daemon, sdks: &mut Sdks, sdk: &Sdk) {
    let said = daemon.aura(&["webhook", "test", &name_of(&sdk.scheme), "--provider-sample", "--json"]);
    let (url, secret) = (url_of(daemon, &sdk.scheme), secret_for(sdk));
    let sent = if sdk.scheme == "sendgrid" {
        assert_eq!(said.code, 2, "only SendGrid has its private key: {said:?}");
        signed(known(sdk), &url, &bodies(sdk, "ours")[1].1, 0)
    } else {
        let said = said.success().json();
        let headers = said["headers"].as_array().expect("headers").iter();
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        let headers = headers.map(|pair| (text(&pair[0]), text(&pair[1]))).collect();
        Sent { url, headers, body: text(&said["body"]) }
    };
    sdks.verify(sdk, &secret, &sent).unwrap_or_else(|why| panic!("{sdk:?} refuses what we signed, {why}: {sent:?}"));
    let other = Sent { body: changed(&sent.body), ..sent };
    let taken = sdks.verify(sdk, &secret, &other);
    assert!(taken.is_err(), "{sdk:?} takes a changed body: {other:?}");
}

/// What a subscription of ours sends to people outside is valid for every SDK of Standard Webhooks.
fn it_takes_what_we_send_out(daemon: &Daemon, sdks: &mut Sdks, list: &[Sdk]) {
    let receiver = Receiver::start();
    let url = receiver.url("/peer");
    let made = daemon.aura(&["subscription", "create", "peer", "--url", &url, "--types", "*", "--json"]).success();
    let data = r#"{"name":"Zoë ☕","sum":12.50}"#;
    daemon.aura(&["subscription", "test", "peer", "--type", "order.paid", "--data", data]).success();
    let request = receiver.wait("/peer", 1).remove(0);
    let body = String::from_utf8(request.body.expect("a body")).expect("text");
    assert!(body.contains("12.50"), "{body}");
    let sent = Sent { url, headers: request.headers, body };
    let secret = &made.json()["secret"];
    let judges: Vec<&Sdk> =
        list.iter().filter(|sdk| ["standard_webhooks", "svix"].contains(&sdk.scheme.as_str())).collect();
    assert!(judges.len() > 2, "{list:?}");
    for sdk in judges {
        sdks.verify(sdk, secret, &sent).unwrap_or_else(|why| panic!("{sdk:?} refuses what we sent, {why}: {sent:?}"));
        let other = Sent { body: sent.body.replace("12.50", "12.51"), ..sent.clone() };
        assert!(sdks.verify(sdk, secret, &other).is_err(), "{sdk:?} takes a changed body");
    }
}

/// Signed by us as the vendor would, so many seconds from now.
fn signed(scheme: &Scheme<'_>, url: &str, body: &str, ahead_s: i64) -> Sent {
    signed_by(scheme, if scheme.name == "sendgrid" { PRIVATE } else { SECRET }, url, body, ahead_s)
}

fn signed_by(scheme: &Scheme<'_>, secret: &str, url: &str, body: &str, ahead_s: i64) -> Sent {
    let request = signature::Request { method: "POST", url, headers: &[], body: body.as_bytes() };
    let mut headers = signature::sign_request(scheme, secret, &request, now_ms() + ahead_s * 1000, "msg_1");
    if scheme.name == "shopify_webhook" {
        // Without these its SDK refuses whatever the signature is.
        let more = [("topic", "orders/paid"), ("shop-domain", "a.myshopify.com"), ("api-version", "2026-10")];
        headers.extend(more.map(|(name, value)| (format!("x-shopify-{name}"), value.to_owned())));
        headers.push(("x-shopify-webhook-id".to_owned(), "1".to_owned()));
    }
    Sent { url: url.to_owned(), headers, body: body.to_owned() }
}

/// Deliveries that are right, late, broken or odd, by what was done to them.
fn cases(scheme: &Scheme<'_>) -> Vec<(String, Sent)> {
    let url = "https://hooks.example.com/hooks/abc?n=1";
    let body = r#"{"id":"evt_1","text":"Zoë ☕"}"#;
    let fine = || signed(scheme, url, body, 0);
    let mut cases = vec![
        ("as signed".to_owned(), fine()),
        ("another body".to_owned(), Sent { body: changed(body), ..fine() }),
        ("a line end more".to_owned(), Sent { body: format!("{body}\n"), ..fine() }),
    ];
    for ahead_s in [-290, -310, 290, 310] {
        cases.push((format!("{ahead_s} s"), signed(scheme, url, body, ahead_s)));
    }
    let Some(family) = scheme.families.first() else { return Vec::new() };
    let edited = |header: &str, edit: &dyn Fn(&str) -> String| {
        let mut sent = fine();
        let pair = sent.headers.iter_mut().find(|(name, _)| name == header).expect("the header");
        pair.1 = edit(&pair.1);
        sent
    };
    let of_signature = |edit: &dyn Fn(&str) -> String| edited(family.signature, edit);
    let mut without = fine();
    without.headers.retain(|(name, _)| name != family.signature);
    cases.push(("no signature".to_owned(), without));
    cases.push((
        "another character of the signature".to_owned(),
        of_signature(&|text| {
            let at = text.len() - 12;
            let other = if text.as_bytes()[at] == b'a' { "b" } else { "a" };
            format!("{}{other}{}", &text[..at], &text[at + 1..])
        }),
    ));
    cases.push(("half a signature".to_owned(), of_signature(&|text| text[..text.len() - 16].to_owned())));
    if let Some(name) = family.timestamp {
        cases.push((
            "another time".to_owned(),
            edited(name, &|text| (text.parse::<i64>().expect("a time") + 1).to_string()),
        ));
        cases.push(("no number as time".to_owned(), edited(name, &|_| "soon".to_owned())));
    }
    if let Some(name) = family.id.filter(|_| scheme.signed.contains(&Part::Id)) {
        cases.push(("another id".to_owned(), edited(name, &|_| "msg_2".to_owned())));
    }
    if scheme.name != "sendgrid" {
        cases.push(("another secret".to_owned(), signed_by(scheme, "whsec_b3RoZXI=", url, body, 0)));
    }
    if scheme.encoding == Encoding::Hex {
        cases.push((
            "upper case".to_owned(),
            of_signature(&|text| match text.rsplit_once('=') {
                Some((before, digits)) => format!("{before}={}", digits.to_uppercase()),
                None => text.to_uppercase(),
            }),
        ));
    } else {
        let bare = of_signature(&|text| text.trim_end_matches('=').to_owned());
        // A third of ECDSA's signatures need none.
        if bare.headers.iter().any(|(name, text)| {
            name == family.signature && text.rsplit(',').next().is_some_and(|text| text.len() % 4 != 0)
        }) {
            cases.push(("no padding".to_owned(), bare));
        }
    }
    match scheme.layout {
        Layout::Pairs { .. } => {
            let wrong = "0".repeat(64);
            cases.push((
                "a wrong one first".to_owned(),
                of_signature(&|text| text.replacen(",v1=", &format!(",v1={wrong},v1="), 1)),
            ));
            cases.push((
                "a wrong one of another version".to_owned(),
                of_signature(&|text| format!("{text},v0={wrong}")),
            ));
            cases.push(("only another version".to_owned(), of_signature(&|text| text.replace("v1=", "v0="))));
            cases.push((
                "no time".to_owned(),
                of_signature(&|text| text[text.find("v1").expect("a signature")..].to_owned()),
            ));
        }
        Layout::List { .. } => {
            let wrong = format!("v1,{}", STANDARD.encode([7; 32]));
            cases.push(("a wrong one first".to_owned(), of_signature(&|text| format!("{wrong} {text}"))));
            cases.push(("one of another version first".to_owned(), of_signature(&|text| format!("v1a,AAAA {text}"))));
            cases.push(("only another version".to_owned(), of_signature(&|text| text.replace("v1,", "v2,"))));
            cases.push(("no version".to_owned(), of_signature(&|text| text.replace("v1,", ""))));
        }
        Layout::One { prefix } if !prefix.is_empty() => {
            cases.push(("no prefix".to_owned(), of_signature(&|text| text.replace(prefix, ""))));
            cases.push(("another prefix".to_owned(), of_signature(&|text| text.replace(prefix, "sha1="))));
        }
        Layout::One { .. } | Layout::Query => {}
    }
    if scheme.signs_address() {
        let other = "https://hooks.example.com/hooks/abd?n=1".to_owned();
        cases.push(("another address".to_owned(), Sent { url: other, ..fine() }));
        let undone = "https://hooks.example.com/hooks/abc?to=https://a.example&n=%2B1";
        let escaped = "https://hooks.example.com/hooks/abc?to=https%3A%2F%2Fa.example&n=%2B1".to_owned();
        cases.push(("escapes undone".to_owned(), Sent { url: escaped, ..signed(scheme, undone, body, 0) }));
    }
    cases
}

/// Signed addresses, made here by Shopify's own description: sorted, joined, HMAC in hexadecimal digits.
fn addresses() -> Vec<(String, Sent)> {
    let time = now_ms() / 1000;
    let address = |kind: &str, signed: &str, sent: &str| {
        let proof = hex::encode(crate::support::sender::hmac(SECRET.as_bytes(), signed.as_bytes()));
        let url = format!("https://hooks.example.com/callback?{sent}&{kind}={proof}");
        Sent { url, headers: Vec::new(), body: String::new() }
    };
    let install = format!("code=09&host=YWNt&shop=a.myshopify.com&state=6&timestamp={time}");
    let late = format!("code=09&shop=a.myshopify.com&timestamp={}", time - 100);
    let odd = format!("code=09&state=a+b~c%27%28d%29%21*%2B%2F%3A%3D%26%C3%AB&timestamp={time}");
    vec![
        ("as signed".to_owned(), address("hmac", &install, &install)),
        ("another shop".to_owned(), address("hmac", &install, &install.replace("a.my", "b.my"))),
        ("100 s".to_owned(), address("hmac", &late, &late)),
        ("all kinds of characters".to_owned(), address("hmac", &odd.replace('~', "%7E"), &odd)),
    ]
}

/// Both judge every case: how many there are, and what differs and is not in the list.
fn says_the_same(daemon: &Daemon, sdks: &mut Sdks, sdk: &Sdk) -> (usize, Vec<String>) {
    let scheme = known(sdk);
    let cases = if scheme.name == SHOPIFY_QUERY.name { addresses() } else { cases(scheme) };
    assert!(cases.len() >= 4, "{sdk:?}");
    let mut wrong = Vec::new();
    for (case, sent) in &cases {
        let now = now_ms();
        let file = json!({"format": 1, "cases": [{
            "id": case, "scheme": scheme.name, "secret": if scheme.name == "sendgrid" { PUBLIC } else { SECRET },
            "now_ms": now, "url": sent.url, "headers": sent.headers, "body_b64": STANDARD.encode(&sent.body),
        }]});
        let path = daemon.place.path("cases.json");
        std::fs::write(&path, file.to_string()).expect("a file");
        let said =
            crate::support::aura(&["webhook", "verify", "--cases", &path.display().to_string(), "--json"]).success();
        let (ours, theirs) = (said.json()["verdict"] == "valid", sdks.verify(sdk, &secret_for(sdk), sent));
        let listed = DIFFERENCES.iter().any(|(package, scheme, known, taken, _)| {
            (*package, *scheme, *known, *taken)
                == (sdk.package.as_str(), sdk.scheme.as_str(), case.as_str(), theirs.is_ok())
        });
        if (ours != theirs.is_ok()) != listed {
            wrong.push(format!(
                "{} {} {case}: ours {}, theirs {theirs:?}: {sent:?}",
                sdk.package,
                sdk.scheme,
                said.out.trim()
            ));
        }
    }
    (cases.len(), wrong)
}
