//! A SendGrid that sends nothing: it checks mail/send as the vendor's contract says and keeps the mails.

use std::io;
use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};

use aura_protocol::value::Value;

use crate::fakes::{FakeHandle, Reply, Seen};

/// The key it accepts.
pub const API_KEY: &str = "SG.fake-key.0123456789";
/// Mails kept.
const KEPT: usize = 1000;

/// A mail that was accepted.
#[derive(Clone, Debug, PartialEq)]
pub struct Mail {
    /// Recipient.
    pub to: String,
    /// Sender.
    pub from: String,
    /// Template.
    pub template: String,
    /// What its placeholders read.
    pub data: Value,
    /// The key that travelled in `custom_args`.
    pub key: String,
    /// The id given to it.
    pub message_id: String,
}

/// The running fake.
#[derive(Debug)]
pub struct Fake {
    server: FakeHandle,
    mails: Arc<Mutex<Vec<Mail>>>,
}

impl Fake {
    /// Starts it on a free loopback port.
    ///
    /// # Errors
    /// No port could be bound.
    pub async fn start() -> io::Result<Self> {
        let mails = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&mails);
        let server = FakeHandle::serve(move |seen| respond(seen, &kept)).await?;
        Ok(Self { server, mails })
    }

    /// The mails accepted so far, in order (the first 1,000).
    #[must_use]
    pub fn mails(&self) -> Vec<Mail> {
        self.mails.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Deref for Fake {
    type Target = FakeHandle;
    fn deref(&self) -> &FakeHandle {
        &self.server
    }
}

/// The mail in a request, if it is one that the contract allows (for those who watch [`FakeHandle::subscribe`]).
#[must_use]
pub fn mail(seen: &Seen) -> Option<Mail> {
    if seen.path != "/v3/mail/send" {
        return None;
    }
    read(seen).ok()
}

fn respond(seen: &Seen, mails: &Mutex<Vec<Mail>>) -> Reply {
    match (seen.method.as_str(), seen.path.as_str()) {
        ("POST", "/v3/mail/send") => {}
        (_, "/v3/mail/send") => return refuse(405, "method not allowed", None),
        _ => return refuse(404, "not found", None),
    }
    if seen.header("authorization") != Some(&format!("Bearer {API_KEY}")) {
        return refuse(401, "The provided authorization grant is invalid, expired, or revoked", None);
    }
    if !seen.header("content-type").is_some_and(|kind| kind.starts_with("application/json")) {
        return refuse(415, "Unsupported Media Type", None);
    }
    match read(seen) {
        Ok(mail) => {
            let id = mail.message_id.clone();
            let mut kept = mails.lock().unwrap_or_else(PoisonError::into_inner);
            if kept.len() < KEPT {
                kept.push(mail);
            }
            Reply { status: 202, headers: vec![("x-message-id".to_owned(), id)], body: String::new() }
        }
        Err((message, field)) => refuse(400, message, Some(field)),
    }
}

fn read(seen: &Seen) -> Result<Mail, (&'static str, &'static str)> {
    let body = Value::from_json(&seen.body).map_err(|_| ("Bad Request", "null"))?;
    let person = body.get("personalizations").and_then(Value::as_list).and_then(<[Value]>::first).ok_or((
        "The personalizations field is required and must have at least one personalization.",
        "personalizations",
    ))?;
    let to = person.get("to").and_then(Value::as_list).and_then(<[Value]>::first).ok_or((
        "The to array is required for all personalization objects, and must have at least one email object with a \
         valid email address.",
        "personalizations.0.to",
    ))?;
    let to = email(to).ok_or(("Does not contain a valid address.", "personalizations.0.to.0.email"))?;
    let from = body.get("from").ok_or(("The from object must be provided for every email send.", "from"))?;
    let from = email(from).ok_or(("The from email does not contain a valid address.", "from.email"))?;
    let template = body
        .get("template_id")
        .and_then(Value::as_str)
        .filter(|id| !id.is_empty())
        .ok_or(("Unless a valid template_id is provided, the content parameter is required.", "content"))?;
    let data = person.get("dynamic_template_data").cloned().unwrap_or_default();
    if !matches!(data, Value::Null | Value::Map(_)) {
        return Err((
            "The dynamic_template_data parameter should be an object.",
            "personalizations.0.dynamic_template_data",
        ));
    }
    let args = person.get("custom_args");
    if args.and_then(Value::as_map).is_some_and(|args| args.values().any(|value| value.as_str().is_none())) {
        return Err(("The custom_args values must be strings.", "personalizations.0.custom_args"));
    }
    let key = args.and_then(|args| args.get("aura_key")).and_then(Value::as_str).unwrap_or_default();
    Ok(Mail {
        to,
        from,
        template: template.to_owned(),
        data,
        key: key.to_owned(),
        message_id: format!("fake{:018}", seen.number),
    })
}

fn email(value: &Value) -> Option<String> {
    let text = value.get("email")?.as_str()?;
    let (local, host) = text.split_once('@')?;
    let plain = |part: &str| !part.is_empty() && !part.contains([' ', '<', '>', ',', '@']);
    (plain(local) && plain(host) && host.contains('.')).then(|| text.to_owned())
}

fn refuse(status: u16, message: &str, field: Option<&str>) -> Reply {
    let error = Value::object([
        ("message", Value::from(message)),
        ("field", Value::from(field.map(str::to_owned))),
        ("help", Value::Null),
    ]);
    Reply::json(status, Value::object([("errors", Value::List(vec![error]))]).to_json())
}
