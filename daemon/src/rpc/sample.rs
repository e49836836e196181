//! `aura webhook test`: a sample delivery, signed as its sender would, sent to the trigger's own endpoint.
//!
//! It goes over a real connection to the door, so everything a provider's delivery passes is passed. The
//! secret does not leave this process: what proves the delivery is shown as dots.

use std::time::{Duration, Instant};

use aura_protocol::rpc::{WebhookTest, WebhookTested};
use aura_protocol::signature;
use aura_protocol::text::display;
use aura_protocol::{Code, EventId, WireError};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::Request;
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::catalog::State;
use crate::catalog::routes::{Proof, Target};
use crate::rpc::Service;

mod provider;
pub use provider::of_provider;

/// The door may take this long, a flow's own reply included.
const WITHIN: Duration = Duration::from_secs(35);
/// Most of an answer that is read.
const ANSWER_MAX: usize = 64 * 1024;
/// What stands for a secret or a signature.
const DOTS: &str = "••••••";

/// Sends the sample.
///
/// # Errors
/// No such trigger, its secret is not set, its sender cannot be imitated, or the door did not answer.
pub async fn test(service: &Service, request: WebhookTest) -> Result<WebhookTested, WireError> {
    let state = service.catalog.now();
    let target = state.routes().of_flow(&request.flow, request.trigger.as_deref())?;
    let now_ms = service.clock.now_ms();
    let id = format!("test_{}", EventId::now().short().to_ascii_lowercase());
    let body = request.body.unwrap_or_else(|| sample(&id));
    let content_type =
        if request.content_type.is_empty() { "application/json".to_owned() } else { request.content_type };
    let mut headers =
        vec![("content-type".to_owned(), content_type), ("user-agent".to_owned(), "aura-test".to_owned())];
    headers.extend(target.matches.iter().cloned());
    let open = headers.len();
    let path = format!("/hooks/{}", target.endpoint);
    let url = format!("{}{path}", service.reached.address());
    headers.extend(proof(
        &target,
        &state,
        &signature::Request { method: "POST", url: &url, headers: &[], body: &body },
        now_ms,
        &id,
    )?);
    let sent_bytes = u64::try_from(body.len()).unwrap_or(u64::MAX);
    let began = Instant::now();
    let answer = tokio::time::timeout(WITHIN, send(&service.listen, &path, &headers, body)).await;
    let (status, answered, text) = answer.map_err(|_| {
        WireError::new(Code::Busy, format!("the door did not answer the sample within {} s", WITHIN.as_secs()))
    })??;
    for (_, value) in headers.iter_mut().skip(open) {
        DOTS.clone_into(value);
    }
    Ok(WebhookTested {
        url,
        sent: headers,
        sent_bytes,
        status,
        headers: answered,
        body: text,
        took_ms: u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
    })
}

/// A body that every scheme can take an id from and every flow can look at.
fn sample(id: &str) -> Vec<u8> {
    format!("{{\"id\":\"{id}\",\"event_id\":\"{id}\",\"type\":\"aura.test\",\"test\":true}}").into_bytes()
}

fn proof(
    target: &Target,
    state: &State,
    request: &signature::Request<'_>,
    now_ms: i64,
    id: &str,
) -> Result<Vec<(String, String)>, WireError> {
    let missing = || {
        let what = target.proof.missing_secret(state).unwrap_or_else(|| "its secret is not set".to_owned());
        WireError::new(Code::Conflict, format!("the sample cannot be signed: {}", display(&what)))
            .hint("set it with `aura connection add`, then test again")
    };
    match &target.proof {
        Proof::Open => Ok(Vec::new()),
        Proof::Bearer(secret) => {
            let value = secret.value(state).ok_or_else(missing)?;
            Ok(vec![("authorization".to_owned(), format!("Bearer {}", value.as_str()))])
        }
        Proof::Basic(user, secret) => {
            let value = secret.value(state).ok_or_else(missing)?;
            let coded = STANDARD.encode(format!("{user}:{}", value.as_str()));
            Ok(vec![("authorization".to_owned(), format!("Basic {coded}"))])
        }
        Proof::Header(name, secret) => {
            let value = secret.value(state).ok_or_else(missing)?;
            Ok(vec![(name.clone(), value.as_str().to_owned())])
        }
        Proof::Signed { scheme, secret } => {
            let value = secret.value(state).ok_or_else(missing)?;
            let scheme_name = scheme.name();
            let headers = scheme.with(|known| signature::sign_request(known, &value, request, now_ms, id));
            let headers = headers.ok_or_else(|| {
                WireError::new(Code::Invalid, format!("this build does not know the scheme {scheme_name}"))
            })?;
            if headers.is_empty() {
                let sentence = format!("a delivery of the scheme {scheme_name} can be signed by its sender only");
                return Err(WireError::new(Code::Invalid, sentence).hint(
                    "ask the sender for a test delivery, then look at `aura webhook show` and `aura event list`",
                ));
            }
            Ok(headers)
        }
    }
}

type Answered = (u16, Vec<(String, String)>, String);

async fn send(address: &str, path: &str, headers: &[(String, String)], body: Vec<u8>) -> Result<Answered, WireError> {
    let failed = |what: &str, error: &dyn std::fmt::Display| {
        WireError::internal(format!("the sample did not reach the door at {address}: {what}: {error}"))
    };
    let stream = TcpStream::connect(address).await.map_err(|error| failed("no connection", &error))?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| failed("no connection", &error))?;
    let driven = tokio::spawn(connection);
    let mut request = Request::post(path).header("host", address).header("connection", "close");
    for (name, value) in headers {
        request = request.header(name, value);
    }
    let request = request.body(Full::new(Bytes::from(body))).map_err(|error| failed("no request", &error))?;
    let response = sender.send_request(request).await.map_err(|error| failed("no answer", &error))?;
    let (head, body) = response.into_parts();
    let body = Limited::new(body, ANSWER_MAX).collect().await;
    driven.abort();
    let text = body.map_or_else(
        |_| format!("… more than {ANSWER_MAX} bytes …"),
        |body| String::from_utf8_lossy(&body.to_bytes()).into_owned(),
    );
    let headers = head
        .headers
        .iter()
        .map(|(name, value)| (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
        .collect();
    Ok((head.status.as_u16(), headers, text))
}
