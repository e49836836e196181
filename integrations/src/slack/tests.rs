//! Slack against its fake: a status of 200 says nothing, `ok` does.

use aura_protocol::run::{CallOutcome, ErrorClass, Reach};
use aura_protocol::signature;
use aura_protocol::value::Value;

use super::fake::{BOT_TOKEN, Fake, Message};
use crate::fakes::{Behaviour, Reply, call};
use crate::registry::sample;

#[tokio::test]
async fn a_message_is_posted() {
    let fake = Fake::start().await.unwrap();
    let settings = [("base_url", fake.base_url.as_str())];
    let input = r##"{"channel": "#carts", "text": "3 carts & <more>\n\"quoted\" ☃"}"##;
    let outcome = call("slack.post_message", input, &settings, &[("bot_token", BOT_TOKEN)]).await;
    let CallOutcome::Done(output) = outcome else { panic!("{outcome:?}") };
    assert!(output.get("ts").and_then(Value::as_str).is_some_and(|ts| ts.contains('.')));
    let text = "3 carts & <more>\n\"quoted\" ☃".to_owned();
    assert_eq!(fake.messages(), [Message { channel: "#carts".into(), text, thread_ts: None }]);
}

#[tokio::test]
async fn ok_false_is_an_error_of_its_class() {
    let fake = Fake::start().await.unwrap();
    let settings = [("base_url", fake.base_url.as_str())];
    for (input, token, class, code) in [
        (r##"{"channel": "#a", "text": "x"}"##, "xoxb-wrong", ErrorClass::Auth, "invalid_auth"),
        (r#"{"channel": "nowhere", "text": "x"}"#, BOT_TOKEN, ErrorClass::NotFound, "channel_not_found"),
        (r##"{"channel": "#a", "text": ""}"##, BOT_TOKEN, ErrorClass::Invalid, "no_text"),
    ] {
        let outcome = call("slack.post_message", input, &settings, &[("bot_token", token)]).await;
        let CallOutcome::Failed(error, Reach::Refused) = outcome else { panic!("{input}: {outcome:?}") };
        assert_eq!((error.class, error.code.as_deref()), (class, Some(code)), "{}", error.message);
        assert_eq!(error.message, format!("Slack refused post_message: {code}"));
    }
    assert!(fake.messages().is_empty());
}

#[tokio::test]
async fn a_token_that_slack_repeats_is_hidden_before_its_words_are_cut() {
    let fake = Fake::start().await.unwrap();
    let settings = [("base_url", fake.base_url.as_str())];
    let escaped: String = BOT_TOKEN.bytes().map(|byte| format!("%{byte:02x}")).collect();
    for form in [BOT_TOKEN, escaped.as_str()] {
        for before in 270..=300 {
            let words = format!("{}{form} and more", "-".repeat(before));
            let answer = format!(r#"{{"ok": false, "error": "{words}", "more": "{}"}}"#, "-".repeat(before * 20));
            fake.next(Behaviour::Answer(Reply::json(200, answer)));
            let input = r##"{"channel": "#a", "text": "x"}"##;
            let outcome = call("slack.post_message", input, &settings, &[("bot_token", BOT_TOKEN)]).await;
            let CallOutcome::Failed(error, _) = outcome else { panic!("{outcome:?}") };
            let all = format!("{} {:?} {:?}", error.message, error.code, error.detail);
            assert!(!all.contains(&form[..4]), "{before}: {all}");
        }
    }
}

#[test]
fn a_sample_event_is_told_by_its_event_id() {
    let slack = signature::scheme("slack").unwrap();
    let body = sample("slack.event").unwrap().as_bytes();
    let headers = signature::sign(slack, "s", body, 1_790_000_000_000, "");
    assert_eq!(
        signature::verify(slack, &["s"], &signature::Request::post(&headers, body), 1_790_000_000_000, None),
        Ok(())
    );
    assert_eq!(signature::delivery_id(slack, &headers, body).as_deref(), Some("Ev0PV52K25"));
    assert_eq!(signature::handshake(slack, &headers, body), None);
}
