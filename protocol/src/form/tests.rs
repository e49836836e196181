//! Forms: what is refused in a file, and what becomes of what people type.

use super::*;
use crate::value::{Map, Value};

fn with(json: &str) -> Map {
    match Value::from_json(json.as_bytes()) {
        Ok(Value::Map(map)) => map,
        other => panic!("{other:?}"),
    }
}

fn form(fields: &str) -> Form {
    Form::read(&with(&format!(r#"{{"title":"T","fields":[{fields}]}}"#))).unwrap()
}

#[test]
fn a_form_is_closed_and_every_mistake_has_its_place() {
    let check = |json: &str, expected: &[&str]| {
        let wrong = Form::read(&with(json)).map(|_| Vec::new()).unwrap_or_else(|wrong| wrong);
        let said: Vec<String> = wrong.iter().map(|wrong| format!("{}: {}", wrong.key, wrong.message)).collect();
        assert_eq!(said, expected, "{json}");
    };
    check(r#"{"title":"T","fields":[{"name":"a"}]}"#, &[]);
    check("{}", &[": the form has no `title`", ": a form has 1 to 50 `fields`"]);
    check(r#"{"title":"T","fields":[]}"#, &["fields: a form has 1 to 50 `fields`"]);
    check(r#"{"title":"{{ x }}","fields":[{"name":"a"}]}"#, &["title: `title` of a form is a plain text"]);
    check(r#"{"title":"T","colour":1,"fields":[{"name":"a"}]}"#, &["colour: a form has no setting `colour`"]);
    check(r#"{"title":"T","lang":"xx","fields":[{"name":"a"}]}"#, &["lang: this build has no sentences in `xx`"]);
    let field = |field: &str, expected: &str| {
        check(&format!(r#"{{"title":"T","fields":[{{"name":"z"}},{field}]}}"#), &[expected]);
    };
    field("1", "fields.1: a field is an object");
    field("{}", "fields.1: the field has no `name`");
    field(r#"{"name":"1a"}"#, "fields.1.name: this cannot name a field");
    field(r#"{"name":"z"}"#, "fields.1.name: the field `z` is there twice");
    field(r#"{"name":"a","type":"file"}"#, "fields.1.type: `file` is no type of a field");
    field(r#"{"name":"a","size":1}"#, "fields.1.size: a field has no setting `size`");
    field(r#"{"name":"a","min":1}"#, "fields.1.min: `min` does not go with the type `text`");
    field(r#"{"name":"a","type":"number","min":5,"max":4.9}"#, "fields.1.max: `max` is less than `min`");
    field(r#"{"name":"a","type":"choice"}"#, "fields.1: a choice has 1 to 200 `options`");
    field(
        r#"{"name":"a","type":"choice","options":["x",{"v":1}]}"#,
        "fields.1.options.1: an option is a text, or has `value` and `label`",
    );
    field(r#"{"name":"a","type":"choice","options":["x","x"]}"#, "fields.1.options.1: the option `x` is there twice");
    field(r#"{"name":"a","required":"yes"}"#, "fields.1.required: `required` is true or false");
    field(r#"{"name":"a","autocomplete":"card"}"#, "fields.1.autocomplete: `card` is no word of `autocomplete`");
}

/// What a field makes of what was typed: its value, or the sentence in brackets.
fn typed(field: &str, given: &[&str]) -> String {
    let form = form(field);
    let pairs: Vec<(String, String)> =
        given.iter().map(|text| (format!("f.{}", form.fields[0].name), (*text).to_owned())).collect();
    let (judged, values) = form.judge(&pairs);
    assert_eq!(judged.answers[0].typed, given, "what was typed is kept");
    match &judged.answers[0].wrong {
        Some(sentence) => format!("({sentence})"),
        None => values.get(&form.fields[0].name).unwrap().to_json(),
    }
}

#[test]
fn what_is_typed_becomes_a_value_or_a_sentence() {
    let check = |field: &str, given: &[&str], expected: &str| assert_eq!(typed(field, given), expected, "{field}");
    let text = r#"{"name":"a","max":5}"#;
    check(text, &["  héllo "], r#""héllo""#);
    check(text, &["héllos"], "(Please write at most 5 characters)");
    check(text, &[], "null");
    check(text, &["a\r\nb"], r#""a b""#);
    check(r#"{"name":"a","lines":4}"#, &["a\r\nb"], r#""a\nb""#);
    check(r#"{"name":"a","required":true}"#, &["  "], "(Please fill this in)");
    let email = r#"{"name":"a","type":"email"}"#;
    check(email, &["jo@example.com"], r#""jo@example.com""#);
    for bad in
        ["jo", "jo@example", "@example.com", "a b@example.com", "a@b@", "<jo@example.com>", "jo@-x.com", "a@x..y"]
    {
        check(email, &[bad], "(Please write an e-mail address, as in name@example.com)");
    }
    let number = r#"{"name":"a","type":"number","min":1,"max":10.5}"#;
    check(number, &["007"], "(Please write a number)");
    check(number, &["1,50"], "1.50");
    check(number, &["10.50"], "10.50");
    check(number, &["0.99"], "(Please write 1 or more)");
    check(number, &["10.51"], "(Please write 10.5 or less)");
    check(number, &["1e400"], "(Please write 10.5 or less)");
    check(number, &["NaN"], "(Please write a number)");
    let date = r#"{"name":"a","type":"date"}"#;
    check(date, &["2028-02-29"], r#""2028-02-29""#);
    for bad in ["2026-02-29", "29.2.2028", "20280229", "2028-02-29T10:00"] {
        check(date, &[bad], "(Please write a day, as in 2026-05-31)");
    }
    check(r#"{"name":"a","type":"boolean"}"#, &[], "false");
    check(r#"{"name":"a","type":"boolean"}"#, &["true"], "true");
    check(r#"{"name":"a","type":"boolean","required":true}"#, &[], "(Please tick this box)");
    let choice = r#"{"name":"a","type":"choice","options":[{"value":"s","label":"Small"},"L"]"#;
    check(&format!("{choice}}}"), &["L"], r#""L""#);
    check(&format!("{choice}}}"), &["Small"], "(Please choose one of the options)");
    check(&format!("{choice}}}"), &[""], "null");
    check(&format!(r#"{choice},"required":true}}"#), &[], "(Please choose one of the options)");
    check(&format!(r#"{choice},"many":true}}"#), &["L", "s", "L"], r#"["s","L"]"#);
    check(&format!(r#"{choice},"many":true}}"#), &[], "[]");
    check(&format!(r#"{choice},"many":true}}"#), &["L", "x"], "(Please choose one of the options)");
}

#[test]
fn what_the_form_does_not_ask_for_is_never_taken() {
    let (judged, values) = form(r#"{"name":"a"}"#).judge(&[
        ("f.b".to_owned(), "x".to_owned()),
        ("a".to_owned(), "x".to_owned()),
        ("f.a".to_owned(), "y".to_owned()),
    ]);
    assert!(judged.fits());
    assert_eq!(values.to_json(), r#"{"a":"y"}"#);
}

#[test]
fn every_language_says_everything_and_names_its_numbers() {
    for words in Words::ALL {
        for sentence in [words.too_long, words.at_least, words.at_most] {
            assert_eq!(sentence.matches("{}").count(), 1, "{}: {sentence}", words.lang);
        }
        let all = format!("{words:?}");
        assert!(!all.contains(r#""""#), "{all}");
    }
}
