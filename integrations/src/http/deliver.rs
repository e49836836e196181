//! Sending to a receiver that may be hostile: its status counts, its body is only glanced at.
//!
//! The invariant: whatever a receiver answers costs at most [`READ_MAX`] bytes and the request's time, and a redirect
//! is never followed. The address is judged as that of every request.

use std::time::Duration;

use aura_protocol::run::{ErrorClass, StepError};
use aura_protocol::text::display;
use reqwest::Method;
use tokio::time::Instant;
use url::Url;

use super::{Http, HttpRequest, HttpResponse, LARGE, TIMEOUT_MAX, explain, headers, retry_after_ms, shown};

/// Most bytes read of a body: so much keeps the connection for the next one, what sends more is cut off.
pub const READ_MAX: usize = 64 * 1024;
/// Once the status is there the body may take so long.
const BODY_WITHIN: Duration = Duration::from_secs(2);

/// What a receiver answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Delivered {
    /// Status.
    pub status: u16,
    /// The wait it asks for, in milliseconds, at most a day.
    pub retry_after_ms: Option<u64>,
    /// The beginning of its body, without secrets.
    pub body: Vec<u8>,
    /// The body broke off, took too long or was too long: why, in words.
    pub cut: Option<&'static str>,
}

impl Http {
    /// Whether an address may be called, as far as that is known before its name is resolved.
    ///
    /// # Errors
    /// A sentence that says why not.
    pub fn may_call(&self, url: &str) -> Result<(), String> {
        let url = Url::parse(url).map_err(|error| format!("`{}` is not an address: {error}", shown(url)))?;
        self.inner.policy.check_url(&url).map_err(|blocked| blocked.to_string())
    }

    /// Sends a request once and reads what counts of the answer.
    ///
    /// # Errors
    /// No status came: refused by policy, no connection, closed or silent.
    pub async fn deliver(&self, request: HttpRequest) -> Result<Delivered, StepError> {
        let answered = self.delivered(request).await;
        let sink = &self.inner.sink;
        match answered {
            Ok(mut delivered) => {
                let mut response = HttpResponse {
                    status: delivered.status,
                    headers: Vec::new(),
                    body: delivered.body,
                    certificate: None,
                };
                const { assert!(READ_MAX <= LARGE, "so little is looked through at once") };
                sink.answer(&mut response);
                delivered.body = response.body;
                Ok(delivered)
            }
            Err(mut error) => {
                sink.error(&mut error);
                Err(error)
            }
        }
    }

    async fn delivered(&self, request: HttpRequest) -> Result<Delivered, StepError> {
        let invalid = |sentence: String| StepError::new(ErrorClass::Invalid, sentence);
        let url = Url::parse(&request.url)
            .map_err(|error| invalid(format!("`{}` is not an address: {error}", shown(&request.url))))?;
        self.inner.policy.check_url(&url).map_err(|blocked| invalid(blocked.to_string()))?;
        let host = display(url.host_str().unwrap_or_default());
        let method = Method::from_bytes(request.method.as_bytes())
            .map_err(|_| invalid(format!("`{}` is not an HTTP method", shown(&request.method))))?;
        let headers = headers(&request.headers).map_err(invalid)?;
        let client = self.client(url.scheme() == "https");
        let client = client.map_err(|why| StepError::new(ErrorClass::Internal, why))?;
        let limit = request.timeout.min(TIMEOUT_MAX);
        let until = Instant::now() + limit;
        let sent = client.request(method, url).headers(headers).body(request.body).send();
        let mut answer = match tokio::time::timeout_at(until, sent).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => return Err(explain(&error, &host, false).0),
            Err(_) => {
                return Err(StepError::new(ErrorClass::Timeout, format!("no answer of {host} within {limit:?}")));
            }
        };
        let pairs: Vec<(String, String)> = answer
            .headers()
            .iter()
            .filter(|(name, _)| matches!(name.as_str(), "retry-after" | "date"))
            .map(|(name, value)| (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
            .collect();
        let mut delivered = Delivered {
            status: answer.status().as_u16(),
            retry_after_ms: retry_after_ms(&pairs),
            ..Delivered::default()
        };
        let until = until.min(Instant::now() + BODY_WITHIN);
        delivered.cut = loop {
            match tokio::time::timeout_at(until, answer.chunk()).await {
                Ok(Ok(Some(chunk))) => {
                    let room = READ_MAX.saturating_sub(delivered.body.len());
                    delivered.body.extend_from_slice(chunk.get(..chunk.len().min(room)).unwrap_or_default());
                    if chunk.len() > room {
                        break Some("the body was longer than anybody reads, and was cut off");
                    }
                }
                Ok(Ok(None)) => break None,
                Ok(Err(_)) => break Some("the body broke off"),
                Err(_) => break Some("the body came too slowly, and was cut off"),
            }
        };
        Ok(delivered)
    }
}
