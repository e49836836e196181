//! Secrets are found in every form, whole, wherever they stand; nothing else is touched.

use base64::Engine as _;
use proptest::prelude::*;

use super::*;

fn sink(list: &[&str]) -> Sink {
    let sink = Sink::default();
    sink.replace(list.iter().copied());
    sink
}

#[test]
fn a_secret_is_found_in_every_form_and_nothing_else_is() {
    let secret = "p\"w/ü +é\\x%4";
    let known = sink(&[secret, "short"]);
    let check = |text: &str, expected: &str| assert_eq!(known.text(text), expected, "{text}");
    check(&format!("a {secret} b {secret}"), "a [secret] b [secret]");
    check(r#"a p\"w\/ü +é\\x%4 b"#, "a [secret] b");
    check(r#"a p\"w/\u00fc +\u00E9\\x%4 b"#, "a [secret] b");
    check("a=p%22w%2F%C3%BC%20%2B%C3%A9%5Cx%254&b", "a=[secret]&b");
    check("a=p%22w%2f%c3%bc+%2b%c3%a9%5cx%254&b", "a=[secret]&b");
    check("a=%70%22%77%2F%C3%BC%20%2B%C3%A9%5C%78%25%34&b", "a=[secret]&b");
    check("<b>p&quot;w/ü +é\\x%4</b>", "<b>[secret]</b>");
    check("<b>p&#34;w&#x2f;&#252; +é\\x%4</b>", "<b>[secret]</b>");
    check(r#"{"log":"{\"said\":\"p\\\"w/ü +é\\\\x%4\"}"}"#, r#"{"log":"{\"said\":\"[secret]\"}"}"#);
    for text in ["short", "p\"w/ü +é\\x%5", "p%22w%2F", "%", "%7", "\\", "\\u", "\\ud83d", "+", "", "p\"w/ü"] {
        check(text, text);
    }
    assert_eq!(sink(&["emoji\u{1f600}!"]).text(r"x emoji\ud83d\ude00! y"), "x [secret] y");
    assert_eq!(sink(&["abcdef9", "abcdef9gh"]).text("abcdef9gh"), "[secret]", "the longer one");
    assert_eq!(sink(&["ab%41\"cd"]).text(r#"x ab%41\"cd y"#), "x [secret] y", "looks like an escape itself");
    assert_eq!(sink(&["hunter2-key"]).text("[104, 117, 110, 116, 101, 114, 50, 45, 107, 101, 121]"), "[[secret]]");
    assert_eq!(sink(&["hunter2-key"]).text("68756e746572322d6b6579 68756E746572322D6B6579"), "[secret] [secret]");
}

#[test]
fn base64_of_a_secret_is_found_wherever_it_begins() {
    // Made with another tool: base64 of "hunter2-key", "x:hunter2-key", "xy:hunter2-key", "xyz:hunter2-key!".
    let known = sink(&["hunter2-key"]);
    for (text, expected) in [
        ("aHVudGVyMi1rZXk=", "[secret]="),
        ("Basic eDpodW50ZXIyLWtleQ==", "Basic eDp[secret]=="),
        ("Basic eHk6aHVudGVyMi1rZXk=", "Basic eHk6[secret]="),
        ("Basic eHl6Omh1bnRlcjIta2V5IQ==", "Basic eHl6Om[secret]IQ=="),
    ] {
        assert_eq!(known.text(text), expected, "{text}");
    }
    let odd = sink(&["\u{3ff}\u{3ff}\u{3ff}>>>???"]);
    for text in ["z7/Pv8+/Pj4+Pz8/", "z7_Pv8-_Pj4-Pz8_", "z7%2FPv8%2B%2FPj4%2BPz8%2F"] {
        assert_eq!(odd.text(text), HIDDEN, "{text}");
    }
}

#[test]
fn an_answer_stays_json_also_where_the_secret_is_a_number() {
    let known = sink(&["123456789012", "tok-123456"]);
    let answer = |body: &str| {
        let headers = vec![("x-echo".to_owned(), "is tok-123456".to_owned())];
        let mut response = HttpResponse { status: 200, headers, body: body.as_bytes().to_vec(), certificate: None };
        known.answer(&mut response);
        assert_eq!(response.headers[0].1, "is [secret]");
        String::from_utf8(response.body).unwrap()
    };
    assert_eq!(answer(r#"{"a": 123456789012, "b": 1.50}"#), r#"{"a":"[secret]","b":1.50}"#);
    assert_eq!(answer(r#"{"tok-123456": ["tok\u002d123456"]}"#), r#"{"[secret]":["[secret]"]}"#);
    assert_eq!(answer(r#"{"a" : 1.50}"#), r#"{"a" : 1.50}"#, "what has none is not touched");
    assert_eq!(answer("[7, 116, 111, 107, 45, 49, 50, 51, 52, 53, 54]"), "[7, [secret]]", "as a list of bytes");
    assert_eq!(answer(r#"[91234567890129]"#), r#"["[secret]"]"#);
    assert_eq!(answer("<p>tok-123456"), "<p>[secret]");
    assert_eq!(answer("{\"a\":\"tok-123456\"}\n{}"), "{\"a\":\"[secret]\"}\n{}");
}

#[test]
fn a_value_that_left_the_vault_is_looked_for_a_while_longer() {
    let known = sink(&["first-secret-1"]);
    known.replace(["second-secret-2"].into_iter());
    assert_eq!(known.text("first-secret-1 second-secret-2"), "[secret] [secret]");
    known.replace(["second-secret-2", "first-secret-1"].into_iter());
    known.replace(std::iter::empty());
    assert_eq!(known.text("first-secret-1 second-secret-2"), "[secret] [secret]");
    assert!(known.is_armed() && !Sink::default().is_armed());
    assert_eq!(Sink::default().text("first-secret-1"), "first-secret-1");
    let broken = Sink::broken();
    broken.replace(["first-secret-1"].into_iter());
    assert_eq!(broken.text("first-secret-1"), "first-secret-1", "the deliberate bug");
}

#[test]
fn nothing_of_a_secret_is_kept_but_six_bytes() {
    let keyed = Keyed::new();
    let secret = "sk_live_4eC39HqLyjWDarjtT1zdp7dc";
    let found = Secret::of(&keyed, keyed.tag(secret.as_bytes()), secret).unwrap();
    let shown = format!("{:?}", sink(&[secret]));
    assert_eq!(shown, "Sink(***)");
    // All that is kept has a size that does not depend on the secret.
    let long = secret.repeat(100);
    let longer = Secret::of(&keyed, keyed.tag(long.as_bytes()), &long).unwrap();
    assert!(std::mem::size_of_val(&found) == std::mem::size_of_val(&longer));
    assert_eq!(marks::WINDOW, 6);
}

fn percent(text: &str, which: impl Fn(u8) -> bool) -> String {
    text.bytes()
        .map(|byte| if byte.is_ascii() && !which(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

proptest! {
    /// Whatever a secret is made of and whatever stands around it: no form of it is left, and what is around stays.
    #[test]
    fn no_form_of_any_secret_is_left(
        secret in "[ -~]{4,30}[0-9][ -~ä€😀]{1,20}",
        before in "[a-z ]{0,40}",
        behind in "[ -~]{0,40}",
        form in 0..8_usize,
    ) {
        let known = sink(&[&secret]);
        let said = match form {
            0 => secret.clone(),
            1 => base64::engine::general_purpose::STANDARD.encode(&secret),
            2 => base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(format!("u:{secret}")),
            3 => secret.bytes().map(|byte| format!("{byte:02x}")).collect(),
            4 => percent(&secret, |byte| !byte.is_ascii_alphanumeric()),
            5 => serde_json::to_string(&secret).unwrap(),
            6 => url::form_urlencoded::byte_serialize(secret.as_bytes()).collect(),
            _ => percent(&secret, |_| true),
        };
        let left = known.text(&format!("{before}{said}")).into_owned();
        prop_assert!(left.starts_with(&before) && left.contains(HIDDEN), "{said}: {left}");
        prop_assert!(!left.contains(&said), "{said}: {left}");
        let behind = behind.replace(&secret, "");
        let left = known.text(&behind);
        prop_assert!(known.finds(behind.as_bytes()) || left == behind);
    }

    /// Bytes of any kind are read without a fault.
    #[test]
    fn any_bytes_are_read(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = sink(&["a%20b+c\\u00e4"]).bytes(&bytes);
    }
}
