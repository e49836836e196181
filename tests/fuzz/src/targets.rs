//! What must hold of each parser, whatever comes. A function panics if it does not; see [`crate::TARGETS`].

use aura_daemon::tunnel::kind::{Kind, Line};
use aura_integrations::http::{EgressPolicy, HttpResponse};
use aura_integrations::redact::Sink;
use aura_protocol::event::Delivery;
use aura_protocol::expr::{Scope, Template};
use aura_protocol::filter::Filter;
use aura_protocol::flow::{self, Severity};
use aura_protocol::relay::{BodyPiece, RouteSet, Take, Taken};
use aura_protocol::rpc::{Call, FlowApply, HelloRequest, RunQuery};
use aura_protocol::run::{Record, Transition};
use aura_protocol::signature::{self, Request};
use aura_protocol::watch::{WatchReply, WatchRequest};
use aura_protocol::{EventId, RunId, Value, text, wire};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Seeds of [`json()`].
pub const JSON: &[&[u8]] = &[
    br#"{"id":5071,"total":"612.10","n":612.10,"list":[1,-2,3e10,{"a":null}],"t":true,"text":"\u00e9\ud83d\ude00\n"}"#,
    b"[123456789012345678901234567890, 0.1, 1e400, -0, \"\\u2028\"]",
    include_bytes!("../../../protocol/tests/data/signatures.json"),
];

/// JSON in and out loses nothing, and the strict reader takes nothing that the other refuses.
pub fn json(bytes: &[u8]) {
    let strict = Value::from_json_strict(bytes);
    let Ok(value) = Value::from_json(bytes) else {
        assert!(strict.is_err(), "strict takes what the other refuses");
        return;
    };
    if let Ok(strict) = strict {
        assert_eq!(strict, value);
    }
    let again = Value::from_json(value.to_json().as_bytes());
    assert_eq!(again.as_ref(), Ok(&value), "what was written reads back");
    let canonical = value.to_canonical_json();
    let sorted = Value::from_json(canonical.as_bytes()).map(|value| value.to_canonical_json());
    assert_eq!(sorted, Ok(canonical), "the canonical form is a fixed point");
    assert_eq!(round(&value), value, "MessagePack keeps it");
}

/// Seeds of [`flow()`].
pub const FLOW: &[&[u8]] = &[
    include_bytes!("../../../docs/examples/recover-abandoned-carts.yaml"),
    include_bytes!("../../../docs/examples/new-order-to-erp.yaml"),
    br#"{"aura":1,"flow":"a","triggers":[{"id":"t","on":"webhook","auth":"none"}],"steps":[{"id":"s","set":{"a":"{{ trigger.body.a ?? 1 }}"}}]}"#,
    b"aura: 1\nflow: b\nsteps:\n  - id: m\n    needs: []\n    map: { over: \"{{ [1, 2] }}\", as: it, steps: [{ id: x, set: { y: \"{{ it }}\" } }] }\n",
];

/// A flow that is read has a canonical form with the same hash, and findings stand inside the text.
pub fn flow(bytes: &[u8]) {
    let source = String::from_utf8_lossy(bytes);
    let lines = u32::try_from(source.split(['\n', '\r', '\u{2028}', '\u{2029}', '\u{85}']).count()).unwrap_or(u32::MAX);
    let document = match flow::read(&source) {
        Ok(document) => document,
        Err(findings) => {
            assert!(findings.iter().any(|finding| finding.severity == Severity::Error), "refused without an error");
            for finding in &findings {
                assert!(finding.line <= lines + 1, "line {} of {lines}: {}", finding.line, finding.message);
                shown(&finding.message);
            }
            return;
        }
    };
    let findings = flow::check(&document, None);
    findings.iter().for_each(|finding| shown(&finding.message));
    let hash = flow::version_hash(&document.flow);
    let canonical = flow::canonical_text(&document.flow);
    let again = flow::read(&canonical).map_err(|findings| findings.into_iter().map(|finding| finding.message));
    match again {
        Ok(again) => assert_eq!(flow::version_hash(&again.flow), hash, "the canonical form means something else"),
        Err(messages) => {
            let messages: Vec<String> = messages.collect();
            unreachable!("the canonical form is refused: {messages:?}\n{canonical}")
        }
    }
}

/// Seeds of [`expression()`]: the expression, a line feed, and JSON that it reads as `trigger`.
pub const EXPRESSION: &[&[u8]] = &[
    b"{{ trigger.items.filter(o => o.total > 100).map(o => `${o.id}: ${o.total * 2}`).join(', ') }}\n{\"items\":[{\"id\":1,\"total\":150.5}]}",
    b"{{ trigger.a?.b ?? now() }} and {{ Math.max(1, 2, trigger.n) }}\n{\"n\":1e30}",
    b"{{ date(trigger.at).plus({ days: 1 }).format('yyyy-MM-dd') }}\n{\"at\":\"2026-03-29T02:30:00[Europe/Berlin]\"}",
    b"{{ trigger.s.replace(/(a+)+$/g, 'b').padStart(99, 'x').split('').reverse() }}\n{\"s\":\"aaaaaaaaaaaaaaaaaaaa!\"}",
    b"{{ Object.keys(trigger).length > 0 && JSON.stringify(trigger) != '' ? [1, 2.5, ...trigger.l] : { a: 1 } }}\n{\"l\":[3]}",
    b"{{ trigger.l.sortBy(x => x).groupBy(x => x % 2) }}{{ uuid() }}{{ random() }}\n{\"l\":[3,1,2]}",
];

struct Names(Value);

impl Scope for Names {
    fn root(&self, name: &str) -> Option<&Value> {
        matches!(name, "trigger" | "input" | "vars" | "env" | "run" | "error" | "item").then_some(&self.0)
    }
    fn step(&self, _id: &str) -> Option<&Value> {
        Some(&self.0)
    }
    fn now_ms(&self) -> i64 {
        1_790_000_000_000
    }
    fn entropy(&self, n: u32) -> [u8; 16] {
        [n.to_le_bytes()[0]; 16]
    }
}

/// An expression gives a value or an error within its budget, and the same one again.
pub fn expression(bytes: &[u8]) {
    let source = String::from_utf8_lossy(bytes);
    let (template, data) = source.split_once('\n').unwrap_or((&source, "null"));
    let Ok(template) = Template::parse_text(template) else { return };
    let names = Names(Value::from_json(data.as_bytes()).unwrap_or_default());
    match (template.eval(&names), template.eval(&names)) {
        (Ok(first), Ok(second)) => {
            assert_eq!(first, second, "the same names give the same value");
            assert!(first.value.weight() <= 64 << 20, "a value of {} bytes passed the budget", first.value.weight());
        }
        (Err(first), Err(second)) => {
            assert_eq!(first, second);
            shown(&first.message);
        }
        (first, second) => unreachable!("{first:?} and then {second:?}"),
    }
}

/// Seeds of [`cases()`].
pub const CASES: &[&[u8]] = &[
    include_bytes!("../../../docs/examples/recover-abandoned-carts.test.yaml"),
    include_bytes!("../../../docs/examples/ship-order.test.yaml"),
    b"aura: 1\ncases:\n  - name: a\n    pins: { b: [{ status: 503 }, { lost: answer }], c: { error: no, class: conflict } }\n    faults: [{ crash: 3 }, { cancel: 1h }]\n    expect: { run: failed, path: [b, { c: failed }], takes: 2h }\n",
];

/// A file of cases is read, or refused with findings that stand inside the text.
pub fn cases(bytes: &[u8]) {
    let source = String::from_utf8_lossy(bytes);
    let lines = u32::try_from(source.split(['\n', '\r', '\u{2028}', '\u{2029}', '\u{85}']).count()).unwrap_or(u32::MAX);
    let findings = flow::cases::read_cases(&source).err().unwrap_or_default();
    for finding in &findings {
        assert!(finding.line <= lines + 1, "line {} of {lines}: {}", finding.line, finding.message);
        shown(&finding.message);
    }
}

/// Seeds of [`filter()`].
pub const FILTER: &[&[u8]] = &[
    b"state=failed,in_doubt flow=cart since=1h version=3f2a label.team=growth",
    b"trigger.body.order.id=1042 !subject=a@b.c took>10s error~'timed out'",
    b"older=30d until=2026-03-01T10:00:00Z all",
];

/// Words of a filter are read or refused with a sentence, also while they are being typed.
pub fn filter(bytes: &[u8]) {
    let source = String::from_utf8_lossy(bytes);
    if let Err(error) = Filter::read(&source) {
        shown(&error.to_string());
    }
    let _ = Filter::typed(&source);
}

/// Seeds of [`signature()`]: header lines, an empty line, and the body.
pub const SIGNATURE: &[&[u8]] = &[
    b"stripe-signature: t=1790000000,v1=5257a869e7ecebeda32affa62cdca3fa51cad7e77a0e56ff536d0ce8e108d8bd,v0=6ffb\n\n{\"id\":\"evt_1\"}",
    b"x-shopify-hmac-sha256: XWmrwMey6OsLMeiZKwP4FppHH3cmAiiJJAweH5Jo4bM=\nx-shopify-webhook-id: b54\n\n{}",
    b"x-slack-signature: v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503\nx-slack-request-timestamp: 1790000000\n\n{\"type\":\"url_verification\",\"challenge\":\"3eZbrw1aB\"}",
    b"webhook-id: msg_1\nwebhook-timestamp: 1790000000\nwebhook-signature: v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4= v1,abc\n\n{}",
    b"x-twilio-email-event-webhook-signature: MEUCIGHQVtGj+Y3LkG9fLcxf3qfI10QysgDWmMOVmxG0u6ZUAiEAyBiXDWzM+uOe5W0JuG+luQAbPIqHh89M15TluLtEZtM=\nx-twilio-email-event-webhook-timestamp: 1600112502\n\n[]",
    b"x-hub-signature-256: sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17\nx-github-event: ping\n\nHello, World!",
    b"x-hubspot-signature-v3: A8yHnJUVrXp7P6bwXL7wQXwZKEBGcXVtU2C8b8V5v9E=\nx-hubspot-request-timestamp: 1790000000000\n\n[]",
    b"authorization: Bearer 0123456789\n\nfield=1",
];

/// Nobody without the secret proves anything; handshakes and ids never break.
pub fn signature(bytes: &[u8]) {
    let cut = bytes.windows(2).position(|pair| pair == b"\n\n").unwrap_or(bytes.len());
    let (head, body) = bytes.split_at(cut);
    let body = body.get(2..).unwrap_or_default();
    let head = String::from_utf8_lossy(head);
    let headers: Vec<(String, String)> = head
        .lines()
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    for method in ["POST", "GET"] {
        let url = "https://hooks.example/hooks/abc?a=1&hub.mode=subscribe&hub.challenge=12";
        let request = Request { method, url, headers: &headers, body };
        for scheme in signature::SCHEMES {
            for secret in ["", "a secret that nobody guesses: 71c2b0d9", "whsec_c2VjcmV0IHRoYXQgbm9ib2R5IGd1ZXNzZXM="] {
                let verdict = signature::verify(scheme, &[secret], &request, 1_790_000_000_000, None);
                let refusal = verdict.map_or_else(|refusal| refusal.to_string(), |()| String::new());
                assert!(!refusal.is_empty(), "{} lets a stranger in", scheme.name);
                assert!(secret.is_empty() || !refusal.contains(secret), "a refusal shows the secret");
            }
            let _ = signature::handshake(scheme, &headers, body);
            let _ = signature::unsigned(scheme, &request, Some("agreed"), method == "GET");
            let _ = signature::delivery_id(scheme, &headers, body);
        }
    }
    assert!(signature::bearer(&["another secret: 71c2b0d9"], &headers).is_err(), "a stranger's token is taken");
}

/// Seeds of [`delivery()`]: the content type, a line feed, the query, a line feed, and the body.
pub const DELIVERY: &[&[u8]] = &[
    b"application/json\na=1&b=%20\n{\"id\":1,\"list\":[1,2]}",
    b"application/x-www-form-urlencoded\n\npayload=%7B%22a%22%3A1%7D&x=1&x=2&%ff=%00",
    b"text/plain; charset=utf-8\n\nhello",
];

/// Any delivery can be shown to expressions, stored and read back.
pub fn delivery(bytes: &[u8]) {
    let mut parts = bytes.splitn(3, |byte| *byte == b'\n');
    let mut part = || parts.next().unwrap_or_default();
    let (content_type, query, body) = (part(), part(), part());
    let delivery = Delivery {
        event: EventId::from_bytes([1; 16]),
        trigger: "t".to_owned(),
        method: "POST".to_owned(),
        query: String::from_utf8_lossy(query).into_owned(),
        headers: vec![("content-type".to_owned(), String::from_utf8_lossy(content_type).into_owned())],
        body: body.to_vec(),
        received_ms: 1_790_000_000_000,
        blob: None,
        came: None,
    };
    let shown = delivery.to_trigger();
    assert!(shown.get("body").is_some() && shown.get("query").is_some());
    assert_eq!(Value::from_json(shown.to_json().as_bytes()), Ok(shown), "what expressions see is data");
    assert_eq!(round(&delivery), delivery);
}

/// Seeds of [`secrets()`].
pub const SECRETS: &[&[u8]] = &[
    br#"{"a":"sk_live_9 b\"c/d","b":["sk_live_9%20b%22c%2Fd","c2tfbGl2ZV85IGIiYy9k"],"n":123456789012}"#,
    b"sk_live_9+b%22c%2fd&x=%73%6b_live_9 b&quot;c&#x2f;d 736b5f6c6976655f39206222632f64",
    br#"\u{73}k_live_9 b\\\"c\/d [115, 107, 95, 108, 105, 118, 101, 95, 57, 32, 98, 34, 99, 47, 100]"#,
];

/// No secret is left in what a peer said, also not in its parsed texts, and what has none is not touched.
pub fn secrets(bytes: &[u8]) {
    static SINK: std::sync::LazyLock<Sink> = std::sync::LazyLock::new(|| {
        let sink = Sink::default();
        sink.replace(["sk_live_9 b\"c/d", "123456789012"].into_iter());
        sink
    });
    let clean = SINK.bytes(bytes);
    if !SINK.finds(bytes) {
        assert_eq!(clean, bytes, "nothing was there");
    }
    assert!(!SINK.finds(&clean), "a second pass finds more");
    let headers = vec![("x".to_owned(), String::from_utf8_lossy(bytes).into_owned())];
    let mut answer = HttpResponse { status: 200, headers, body: bytes.to_vec(), certificate: None };
    SINK.answer(&mut answer);
    assert!(!SINK.finds(&answer.body) && answer.headers.iter().all(|(_, value)| !SINK.finds(value.as_bytes())));
    if let Ok(value) = Value::from_json(&answer.body) {
        assert!(!SINK.finds(value.to_json_pretty().as_bytes()), "written otherwise it shows");
    }
}

/// Seeds of [`sanitizer()`].
pub const SANITIZER: &[&[u8]] = &[
    b"plain \x1b]52;c;aGk=\x07 \x9b31m \r\n\t end",
    "abc\u{202e}def\u{2066}\u{200b}\u{feff}\u{e0041}\u{fe0f}\u{fe0f} e\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}\u{301} \u{85}"
        .as_bytes(),
    "👨\u{200d}👩\u{200d}👧 żółw 漢字 ١٢٣".as_bytes(),
];

/// Nothing that moves a cursor, hides or reorders gets through; a second pass changes nothing.
pub fn sanitizer(bytes: &[u8]) {
    let source = String::from_utf8_lossy(bytes);
    let line = text::display(&source);
    safe(&line, false);
    assert_eq!(text::display(&line), line, "a second pass changes something");
    let lines = text::display_lines(&source);
    safe(&lines, true);
    assert_eq!(text::display_lines(&lines), lines);
}

fn safe(shown: &str, lines: bool) {
    for letter in shown.chars() {
        let hides = matches!(letter,
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200b}'..='\u{200f}' | '\u{61c}' | '\u{2060}'
            | '\u{feff}' | '\u{e0000}'..='\u{e007f}' | '\u{2028}' | '\u{2029}');
        let moves = letter.is_control() && !(lines && letter == '\n');
        assert!(!hides && !moves, "U+{:04X} gets through", u32::from(letter));
    }
}

/// Messages quote what was given: they must be fit to be shown as they are.
fn shown(message: &str) {
    safe(message, true);
}

/// Seeds of [`url()`].
pub const URL: &[&[u8]] = &[
    b"https://api.example.com/v1?x=1",
    b"http://127.0.0.1:8080/",
    b"http://0x7f000001/",
    b"http://[::ffff:169.254.169.254]/latest",
    b"http://2130706433/",
    b"https://user:pw@metadata.google.internal/",
    b"http://localhost./",
];

/// What the policy lets through names no address that it would refuse.
pub fn url(bytes: &[u8]) {
    let source = String::from_utf8_lossy(bytes);
    let Ok(url) = url::Url::parse(&source) else { return };
    let policy = EgressPolicy::default();
    if policy.check_url(&url).is_err() {
        return;
    }
    assert!(matches!(url.scheme(), "http" | "https"));
    match url.host() {
        Some(url::Host::Ipv4(address)) => assert_eq!(policy.check_address(address.into()), Ok(()), "{url}"),
        Some(url::Host::Ipv6(address)) => assert_eq!(policy.check_address(address.into()), Ok(()), "{url}"),
        Some(url::Host::Domain(name)) => {
            let name = name.trim_end_matches('.');
            assert!(name != "localhost" && !name.ends_with(".localhost"), "{url}");
        }
        None => unreachable!("an address without a host passed: {url}"),
    }
}

/// Seeds of [`wire()`]: frames of the socket, what relays say, and stored records, as MessagePack.
pub const WIRE: &[&[u8]] = &[
    b"\x83\xa6number\x01\xa5at_ms\x02\xa7records\x91\x81\xa3log\x83\xa4path\xa0\xa5level\xa4info\xa7message\xa2hi",
    b"\x81\xa4text\xa7aura: 1",
    b"\x85\xadsubscriptions\x90\xa6cursor\x05\xa9max_items\x64\xa9max_bytes\xcd\x04\x00\xa7wait_ms\x00",
    b"\x93\x01\x02\x93\x01\x02\x93\x01\x02\x03",
    b"\x84\xa5after\x00\xa3ack\x90\xa3max\x01\xa7wait_ms\x00",
    b"\x82\xa5flows\x90\xa6proofs\x90",
    b"\x81\xa9completed\x83\xa4path\xa1a\xa7attempt\x01\xa6output\x82\xa1a\xc4\x021e\xa1b\x92\xc0\xc3",
];

/// A frame or record is read or refused; what is read reads the same again.
pub fn wire(bytes: &[u8]) {
    fn each<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(bytes: &[u8]) {
        if let Ok(value) = wire::decode::<T>(bytes) {
            assert_eq!(round(&value), value);
        }
    }
    each::<Value>(bytes);
    each::<Record>(bytes);
    each::<Transition>(bytes);
    each::<WatchRequest>(bytes);
    each::<WatchReply>(bytes);
    each::<Call>(bytes);
    each::<HelloRequest>(bytes);
    each::<FlowApply>(bytes);
    each::<RunQuery>(bytes);
    each::<Take>(bytes);
    each::<Taken>(bytes);
    each::<BodyPiece>(bytes);
    each::<RouteSet>(bytes);
}

fn round<T: Serialize + DeserializeOwned>(value: &T) -> T {
    let bytes = wire::encode(value).unwrap_or_else(|error| unreachable!("a value has no encoding: {error}"));
    wire::decode(&bytes).unwrap_or_else(|error| unreachable!("what was encoded does not decode: {error}"))
}

/// Seeds of [`config()`].
pub const CONFIG: &[&[u8]] = &[
    b"listen = \"127.0.0.1:7878\"\nhttp_body_max = 1048576\negress_hosts = [\"10.0.0.0/8\"]\n",
    b"data_dir = \"/var/lib/aura\" # comment\n[section]\n",
];

/// Settings are taken or refused with one sentence that is fit to be shown.
pub fn config(bytes: &[u8]) {
    let source = String::from_utf8_lossy(bytes);
    match aura_daemon::config::read("aurad.toml", &source) {
        Ok(options) => drop(aura_daemon::config::check(&options)),
        Err(stop) => assert!(stop.to_string().starts_with("aurad.toml, line "), "{stop}"),
    }
}

/// Seeds of [`ids()`].
pub const IDS: &[&[u8]] =
    &[b"run_01K9ZQ3V8N5H2M7W4X6Y8Z0ABC", b"01k9zq3v8n5h2m7w4x6y8z0abc", b"evt_7ZZZZZZZZZZZZZZZZZZZZZZZZZ"];

/// An id that is read is written so that it reads back.
pub fn ids(bytes: &[u8]) {
    let source = String::from_utf8_lossy(bytes);
    if let Ok(run) = source.parse::<RunId>() {
        assert_eq!(run.to_string().parse::<RunId>(), Ok(run));
    }
    if let Ok(event) = source.parse::<EventId>() {
        assert_eq!(event.to_string().parse::<EventId>(), Ok(event));
    }
}

/// Seeds of [`tunnel()`].
pub const TUNNEL: &[&[u8]] = &[
    b"2026-11-22T23:00:00Z INF |  https://blue-cat-1.trycloudflare.com                      |",
    b"2026-11-22T23:00:00Z ERR failed to request quick Tunnel: Post \"https://api.trycloudflare.com/tunnel\": EOF",
    b"2026-11-22T23:00:00Z INF Registered tunnel connection connIndex=0 location=fra01",
    br#"{"addr":"http://127.0.0.1:1","lvl":"info","msg":"started tunnel","obj":"tunnels","url":"https://1a2b.ngrok-free.app"}"#,
    br#"{"lvl":"eror","err":"authentication failed: no token\r\nsee","msg":"x"}"#,
];

/// Of what a tunnel's program prints only a bare address of TLS counts, and its words are safe to show.
pub fn tunnel(bytes: &[u8]) {
    let line = String::from_utf8_lossy(bytes);
    for kind in [Kind::Cloudflared, Kind::Ngrok] {
        match kind.line(&line, "") {
            Line::Up(address) => {
                let url = url::Url::parse(&address)
                    .map(|url| (url.scheme() == "https", url.path() == "/", url.domain().is_some()));
                assert_eq!(url, Ok((true, true, true)), "{address}");
                assert!(
                    address.len() <= 200 && address.is_ascii() && !address.contains(['@', '?', '#', ' ']),
                    "{address}"
                );
            }
            Line::Wrong(words) | Line::Parting(words) => safe(&words, false),
            Line::Other => {}
        }
    }
}
