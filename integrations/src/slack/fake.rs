//! A Slack that shows nothing to anybody: chat.postMessage as the vendor's contract says, messages kept.

use std::io;
use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};

use aura_protocol::value::Value;

use crate::fakes::{FakeHandle, Reply, Seen};

/// The token it accepts.
pub const BOT_TOKEN: &str = "xoxb-fake-0123456789";
/// Messages kept.
const KEPT: usize = 1000;

/// A message that was posted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Channel as it was given.
    pub channel: String,
    /// Text.
    pub text: String,
    /// Thread it answers in.
    pub thread_ts: Option<String>,
}

/// The running fake.
#[derive(Debug)]
pub struct Fake {
    server: FakeHandle,
    messages: Arc<Mutex<Vec<Message>>>,
}

impl Fake {
    /// Starts it on a free loopback port.
    ///
    /// # Errors
    /// No port could be bound.
    pub async fn start() -> io::Result<Self> {
        let messages = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&messages);
        let server = FakeHandle::serve(move |seen| respond(seen, &kept)).await?;
        Ok(Self { server, messages })
    }

    /// The messages posted so far, in order (the first 1,000).
    #[must_use]
    pub fn messages(&self) -> Vec<Message> {
        self.messages.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Deref for Fake {
    type Target = FakeHandle;
    fn deref(&self) -> &FakeHandle {
        &self.server
    }
}

fn respond(seen: &Seen, messages: &Mutex<Vec<Message>>) -> Reply {
    if (seen.method.as_str(), seen.path.as_str()) != ("POST", "/api/chat.postMessage") {
        return error("unknown_method");
    }
    match seen.header("authorization") {
        None => return error("not_authed"),
        Some(value) if value != format!("Bearer {BOT_TOKEN}") => return error("invalid_auth"),
        Some(_) => {}
    }
    let Ok(body) = Value::from_json(&seen.body) else { return error("invalid_json") };
    let text = |field: &str| body.get(field).and_then(Value::as_str).filter(|text| !text.is_empty());
    let Some(channel) = text("channel").filter(|channel| channel.starts_with(['#', 'C', 'D', 'G'])) else {
        return error("channel_not_found");
    };
    let Some(message) = text("text") else { return error("no_text") };
    if message.chars().count() > 40_000 {
        return error("msg_too_long");
    }
    let mut kept = messages.lock().unwrap_or_else(PoisonError::into_inner);
    if kept.len() < KEPT {
        kept.push(Message {
            channel: channel.to_owned(),
            text: message.to_owned(),
            thread_ts: text("thread_ts").map(str::to_owned),
        });
    }
    let ts = format!("1503435956.{:06}", seen.number);
    let answer = Value::object([
        ("ok", Value::from(true)),
        ("channel", Value::from("C1H9RESGL")),
        ("ts", Value::from(ts.clone())),
        (
            "message",
            Value::object([
                ("type", Value::from("message")),
                ("subtype", Value::from("bot_message")),
                ("bot_id", Value::from("B19LU7CSY")),
                ("text", Value::from(message)),
                ("ts", Value::from(ts)),
            ]),
        ),
    ]);
    Reply::json(200, answer.to_json())
}

fn error(code: &str) -> Reply {
    Reply::json(200, Value::object([("ok", Value::from(false)), ("error", Value::from(code))]).to_json())
}
