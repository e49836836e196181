//! SendGrid against its fake: what the contract allows gets through, the rest is refused as the vendor does.

use aura_protocol::run::{CallOutcome, ErrorClass, Reach};
use aura_protocol::value::Value;

use super::fake::{API_KEY, Fake, mail};
use crate::fakes::{Behaviour, call};

const GOOD: &str =
    r#"{"to": "ada@example.com", "template": "cart-1", "data": {"total": 126.770, "id": 981820079255243537}}"#;

async fn send(fake: &Fake, input: &str, settings: &[(&str, &str)], key: &str) -> CallOutcome {
    let mut all = vec![("base_url", fake.base_url.as_str())];
    all.extend_from_slice(settings);
    call("sendgrid.send_template", input, &all, &[("api_key", key)]).await
}

#[tokio::test]
async fn a_mail_arrives_with_our_key_and_its_numbers_untouched() {
    let fake = Fake::start().await.unwrap();
    let mut watch = fake.subscribe();
    let outcome = send(&fake, GOOD, &[("from", "shop@acme.example")], API_KEY).await;
    let CallOutcome::Done(output) = outcome else { panic!("{outcome:?}") };
    let [arrived] = &fake.mails()[..] else { panic!("one mail expected") };
    assert_eq!(output.get("message_id").and_then(Value::as_str), Some(arrived.message_id.as_str()));
    assert_eq!((arrived.to.as_str(), arrived.from.as_str()), ("ada@example.com", "shop@acme.example"));
    assert_eq!((arrived.template.as_str(), arrived.key.as_str()), ("cart-1", "aura_testkey"));
    assert_eq!(arrived.data.to_json(), r#"{"total":126.770,"id":981820079255243537}"#);
    assert_eq!(mail(&watch.recv().await.unwrap()).as_ref(), Some(arrived));
}

#[tokio::test]
async fn the_senders_address_comes_from_the_step_or_the_connection() {
    let fake = Fake::start().await.unwrap();
    let own = r#"{"to": "a@example.com", "template": "t", "from": "me@acme.example"}"#;
    assert!(matches!(send(&fake, own, &[], API_KEY).await, CallOutcome::Done(_)));
    assert_eq!(fake.mails()[0].from, "me@acme.example");
    let outcome = send(&fake, GOOD, &[], API_KEY).await;
    let CallOutcome::Failed(error, Reach::Unsent) = outcome else { panic!("{outcome:?}") };
    assert_eq!(error.message, "sendgrid.send_template: `from or from of the connection` is missing");
}

#[tokio::test]
async fn refusals_are_the_vendors() {
    let fake = Fake::start().await.unwrap();
    let from = [("from", "shop@acme.example")];
    let check = async |input: &str, key: &str, class: ErrorClass, reach: Reach, words: &str| match send(
        &fake, input, &from, key,
    )
    .await
    {
        CallOutcome::Failed(error, got) => {
            assert!(error.message.contains(words), "{input}: {}", error.message);
            assert_eq!((error.class, got), (class, reach), "{input}");
        }
        done @ CallOutcome::Done(_) => panic!("{input}: {done:?}"),
    };
    use Reach::{Refused, Unknown};
    check(GOOD, "SG.wrong", ErrorClass::Auth, Refused, "authorization grant is invalid").await;
    let bad = r#"{"to": "nobody", "template": "t"}"#;
    check(bad, API_KEY, ErrorClass::Invalid, Refused, "Does not contain a valid address").await;
    let bad = r#"{"to": "a@example.com", "template": ""}"#;
    check(bad, API_KEY, ErrorClass::Invalid, Refused, "valid template_id").await;
    fake.next(Behaviour::Drop);
    check(GOOD, API_KEY, ErrorClass::Transient, Unknown, "broke off").await;
    assert_eq!(fake.mails().len(), 1, "the dropped connection did not undo the mail: hence unknown");
}
