//! What a sender hears: the acknowledgement, the flow's own reply, or a refusal in one sentence.
//!
//! Only answers with the header `Aura-Event-Id` promise anything. Refusals of unknown, disabled and
//! wrong-method requests are one and the same.

use std::borrow::Cow;

use aura_integrations::redact::{HIDDEN, Sink};
use aura_protocol::Code;
use aura_protocol::event::{Ack, EventState};
use aura_protocol::rpc::Verdict;
use axum::body::{Body, to_bytes};
use axum::http::header::{CONNECTION, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderName, HeaderValue, Response, StatusCode};
use axum::response::IntoResponse;

use crate::engine::{Answer, Refusal};
use crate::room::Tight;

/// The header of every promise.
pub const EVENT_ID: HeaderName = HeaderName::from_static("aura-event-id");

/// Why a delivery was refused: nothing of it is stored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Unknown, disabled or wrong method: 404.
    #[error("there is no such endpoint")]
    NotFound,
    /// A handshake without the agreed word: 403.
    #[error("the handshake does not carry the word that was agreed")]
    Denied,
    /// The trigger says which networks may send, and this is none of them: 403.
    #[error("this endpoint takes deliveries of certain networks only")]
    NotAllowed,
    /// Signature or token missing or wrong, or no secret set: 401.
    #[error("the delivery is not signed as this endpoint requires")]
    Unproved,
    /// The head says something twice or wrongly, or the body is not what it claims: 400.
    #[error("{0}")]
    Malformed(String),
    /// Proved, but an event of another kind: 404.
    #[error("{0}")]
    OtherEvent(String),
    /// The time of a callback is over: 410.
    #[error("nobody waits for this call any more")]
    Over,
    /// A decision that was taken, or is not asked for any more: 410.
    #[error("this was decided, or is not asked any more")]
    Decided,
    /// A link whose step has not begun: 409.
    #[error("this is not asked yet; open the link again later")]
    NotYet,
    /// A decision about something else than is asked: 409.
    #[error("what is asked has changed since it was shown; open the link again")]
    Changed,
    /// Whose link it is may not decide: 403.
    #[error("{0}")]
    MayNot(String),
    /// Too many bytes: 413.
    #[error("the body is larger than {0} bytes")]
    TooLarge(usize),
    /// Compressed, in another way than the trigger takes: 415.
    #[error("the body must come without content-encoding{}", if *.0 { ", or as gzip" } else { "" })]
    Encoded(bool),
    /// Too slow: 408.
    #[error("the body did not arrive in time")]
    Slow,
    /// More than one source or one tenant may send: 429 with the seconds to wait.
    #[error("more than this installation takes of one sender; send again later with the same id")]
    Share(u32),
    /// The daemon ends or starts again: 503.
    #[error("the daemon is restarting; send again in a moment with the same id")]
    Ending,
    /// Overloaded: 503 with the seconds to wait.
    #[error("too much at once; send again later with the same id")]
    Busy(u32),
    /// The disk is nearly full: 503.
    #[error("there is no room for more now; send again later with the same id")]
    NoRoom,
    /// The tenant's quota is used up: 429.
    #[error("the quota is used up; send again later with the same id")]
    Quota,
    /// Nothing may start now: 503 with the seconds to wait.
    #[error("no deliveries are taken right now; send again later with the same id")]
    Held(u32),
    /// The store failed: 503.
    #[error("the event could not be stored; send again later with the same id")]
    Store,
}

impl Refused {
    /// The status of the answer.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::NotFound | Self::OtherEvent(_) => StatusCode::NOT_FOUND,
            Self::Over | Self::Decided => StatusCode::GONE,
            Self::NotYet | Self::Changed => StatusCode::CONFLICT,
            Self::Unproved => StatusCode::UNAUTHORIZED,
            Self::Denied | Self::NotAllowed | Self::MayNot(_) => StatusCode::FORBIDDEN,
            Self::Malformed(_) => StatusCode::BAD_REQUEST,
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Encoded(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Slow => StatusCode::REQUEST_TIMEOUT,
            Self::Quota | Self::Share(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::Busy(_) | Self::Held(_) | Self::NoRoom | Self::Store | Self::Ending => {
                StatusCode::SERVICE_UNAVAILABLE
            }
        }
    }

    fn code(&self) -> Code {
        match self {
            Self::NotFound | Self::OtherEvent(_) => Code::NotFound,
            Self::Over | Self::Decided | Self::NotYet | Self::Changed => Code::Conflict,
            Self::Unproved | Self::Denied | Self::NotAllowed | Self::MayNot(_) => Code::Forbidden,
            Self::Malformed(_) | Self::TooLarge(_) | Self::Encoded(_) | Self::Slow => Code::Invalid,
            Self::Busy(_)
            | Self::Held(_)
            | Self::NoRoom
            | Self::Quota
            | Self::Store
            | Self::Ending
            | Self::Share(_) => Code::Busy,
        }
    }

    fn retry_after_s(&self) -> Option<u32> {
        match self {
            Self::Busy(seconds) | Self::Held(seconds) | Self::Share(seconds) => Some(jittered(*seconds)),
            Self::Store | Self::NoRoom => Some(jittered(30)),
            Self::Quota => Some(jittered(60)),
            Self::Ending => Some(2),
            _ => None,
        }
    }
}

impl Refused {
    /// The part that decided, for the log of deliveries.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        match self {
            Self::NotFound | Self::Over | Self::Decided | Self::NotYet | Self::Changed => Verdict::Disabled,
            Self::Denied | Self::MayNot(_) => Verdict::HandshakeDenied,
            Self::NotAllowed => Verdict::NotAllowed,
            Self::Unproved => Verdict::Digest,
            Self::Malformed(_) => Verdict::Body,
            Self::OtherEvent(_) => Verdict::OtherEvent,
            Self::TooLarge(_) => Verdict::TooLarge,
            Self::Encoded(_) => Verdict::Packing,
            Self::Slow => Verdict::Slow,
            Self::Share(_) | Self::Busy(_) | Self::Held(_) | Self::Ending => Verdict::Busy,
            Self::NoRoom | Self::Quota => Verdict::NoRoom,
            Self::Store => Verdict::Store,
        }
    }
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Busy { retry_after_s } => Self::Busy(retry_after_s),
            Refusal::Held { retry_after_s } => Self::Held(retry_after_s),
            Refusal::Disabled => Self::NotFound,
            Refusal::NoRoom(Tight::Disk) => Self::NoRoom,
            Refusal::NoRoom(Tight::Quota) => Self::Quota,
            Refusal::Store(why) => {
                tracing::error!(why, "an event could not be stored");
                Self::Store
            }
        }
    }
}

/// Up to half as long again, so that senders do not come back all at once; at least 1.
fn jittered(seconds: u32) -> u32 {
    let mut byte = [0_u8; 1];
    let _ = getrandom::fill(&mut byte);
    let [random] = byte;
    let seconds = seconds.clamp(1, 3600);
    seconds + (seconds.div_ceil(2) * u32::from(random)) / 256
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response<Body> {
        let text = serde_json::json!({ "error": { "code": self.code().text(), "message": self.to_string() } });
        let mut response = json(self.status(), text.to_string());
        if let Some(seconds) = self.retry_after_s() {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if matches!(self, Self::Slow | Self::TooLarge(_) | Self::Ending) {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

fn json(status: StatusCode, mut text: String) -> Response<Body> {
    text.push('\n');
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// The answer to an accepted delivery; `success` is the status the sender's scheme expects.
#[must_use]
pub fn accepted(answer: Answer, success: StatusCode) -> Response<Body> {
    let event = answer.ack.event_id;
    let mut response = match answer.reply {
        Some(reply) => own(reply),
        None => acknowledged(&answer.ack, success),
    };
    if let Ok(id) = HeaderValue::from_str(&event.to_string()) {
        response.headers_mut().insert(EVENT_ID, id);
    }
    response
}

fn acknowledged(ack: &Ack, success: StatusCode) -> Response<Body> {
    let status = if ack.state == EventState::Duplicate { StatusCode::OK } else { success };
    json(status, serde_json::to_string(ack).unwrap_or_default())
}

/// An answer without secrets of the vault: a flow may have echoed what its sender or a provider said.
pub async fn clean(sink: &Sink, response: Response<Body>) -> Response<Body> {
    if !sink.is_armed() {
        return response;
    }
    let (mut head, body) = response.into_parts();
    for value in head.headers.values_mut() {
        if let Cow::Owned(text) = sink.bytes(value.as_bytes()) {
            *value = HeaderValue::from_bytes(&text).unwrap_or(HeaderValue::from_static(HIDDEN));
        }
    }
    // It lies whole in memory: the bytes are handed over, not copied.
    let Ok(bytes) = to_bytes(body, usize::MAX).await else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let body = match sink.bytes(&bytes) {
        Cow::Borrowed(_) => Body::from(bytes),
        Cow::Owned(text) => Body::from(text),
    };
    Response::from_parts(head, body)
}

/// Headers that belong to the connection and not to the flow.
const OURS: &[&str] = &[
    "connection",
    "content-length",
    "date",
    "keep-alive",
    "proxy-authenticate",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "aura-event-id",
];

fn own(reply: crate::engine::Response) -> Response<Body> {
    let mut response = Response::new(Body::from(reply.body));
    *response.status_mut() =
        StatusCode::from_u16(reply.status).ok().filter(|status| status.as_u16() >= 200).unwrap_or(StatusCode::OK);
    for (name, value) in reply.headers {
        let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) else { continue };
        if !OURS.contains(&name.as_str()) {
            response.headers_mut().append(name, value);
        }
    }
    response
}

#[cfg(test)]
mod tests {
    use aura_protocol::EventId;

    use super::*;

    #[test]
    fn a_flows_own_reply_cannot_break_the_connection_and_carries_the_event() {
        let ack = Ack { event_id: EventId::now(), run_id: None, state: EventState::Started, starts_at: None };
        let headers = [("Content-Type", "text/plain"), ("Transfer-Encoding", "chunked"), ("x-a", "b\r\nc"), ("ä", "b")];
        let reply = crate::engine::Response {
            status: 101,
            headers: headers.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect(),
            body: b"hi".to_vec(),
        };
        let response = accepted(Answer { ack: ack.clone(), reply: Some(reply) }, StatusCode::ACCEPTED);
        assert_eq!(response.status(), 200);
        let names: Vec<&str> = response.headers().keys().map(HeaderName::as_str).collect();
        assert_eq!(names, ["content-type", "aura-event-id"]);
        let duplicate = Ack { state: EventState::Duplicate, ..ack };
        assert_eq!(accepted(Answer { ack: duplicate, reply: None }, StatusCode::ACCEPTED).status(), 200);
    }

    #[test]
    fn waiting_times_are_whole_seconds_and_differ() {
        let times: std::collections::BTreeSet<u32> = (0..200).map(|_| jittered(30)).collect();
        assert!(times.len() > 3 && times.iter().all(|time| (30..=45).contains(time)), "{times:?}");
    }
}
