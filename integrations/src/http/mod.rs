//! The one HTTP client of the product: every request that leaves goes through [`Http::send`].
//!
//! The invariant: an address that the [`EgressPolicy`] refuses is never dialled, and a failure says whether
//! a byte of the request may have left ([`Reach`]). Retries are off: repeating is the engine's decision. Redirects
//! are off in the library and followed here where the request allows it (`redirect`), each hop judged anew. Two clients stand behind it: the one for `http` loads no certificates, so that a machine
//! without any can still talk to its own services. See `policy` for addresses, `classify` for answers.

mod classify;
mod deliver;
mod policy;
mod redirect;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_egress;

use std::error::Error as StdError;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use aura_protocol::run::{ErrorClass, Reach, StepError};
use aura_protocol::text::display;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Method};
use url::Url;

use crate::redact::Sink;

pub use classify::{classify, retry_after_ms};
pub(crate) use classify::{detail, status_class};
pub use deliver::{Delivered, READ_MAX};
pub use policy::{Blocked, EgressPolicy, in_network, is_network};

/// Most bytes read of an answer, after decompression: 10 MiB.
pub const BODY_MAX: usize = 10 * 1024 * 1024;
/// An answer over this is looked through for secrets beside the runtime.
const LARGE: usize = 256 * 1024;
/// Time for name, TCP and TLS.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Idle connections kept to one host: as many calls as may be at work by default, so that a burst of calls does not
/// close connections that the next burst opens again.
const IDLE_MAX: usize = 64;
/// Longest time of one request.
const TIMEOUT_MAX: Duration = Duration::from_secs(15 * 60);
/// Idle connections are dropped soon, so that a request seldom meets one that the peer is closing.
const IDLE: Duration = Duration::from_secs(15);
/// Most headers in a request.
const HEADERS_MAX: usize = 100;

/// Headers that the client sets by itself: from outside they could smuggle a second request.
const OWN_HEADERS: &[&str] =
    &["connection", "content-length", "expect", "host", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"];

/// A request to send.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HttpRequest {
    /// Method, as in `POST`.
    pub method: String,
    /// Absolute address with query.
    pub url: String,
    /// Headers.
    pub headers: Vec<(String, String)>,
    /// Body; empty for none.
    pub body: Vec<u8>,
    /// The whole exchange may take this long, at most 15 minutes.
    pub timeout: Duration,
    /// Redirects that are followed, at most 5: of GET and HEAD all, of other methods none, because to send them
    /// again is the caller's decision.
    pub redirects: u8,
}

/// An answer, whatever its status.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HttpResponse {
    /// Status.
    pub status: u16,
    /// Headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// Body, decompressed.
    pub body: Vec<u8>,
    /// The certificate of the other end in DER, where the connection is encrypted.
    pub certificate: Option<Vec<u8>>,
}

impl HttpResponse {
    /// Whether the status is 2xx.
    #[must_use]
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The first header of that name (lower case).
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(have, _)| have == name).map(|(_, value)| value.as_str())
    }
}

/// The egress client. Cheap until its first request; clones share their connections.
#[derive(Clone, Debug)]
pub struct Http {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    policy: Arc<EgressPolicy>,
    sink: Sink,
    names: Arc<dyn policy::Names>,
    plain: OnceLock<Client>,
    tls: OnceLock<Client>,
}

impl Http {
    /// A client under a policy.
    ///
    /// # Errors
    /// None today: certificates are read at the first https request, whose failure says what is wrong.
    pub fn new(policy: EgressPolicy) -> Result<Self, StepError> {
        Self::guarded(policy, Sink::default())
    }

    /// A client under a policy whose answers and errors pass a sink before anybody sees them.
    ///
    /// # Errors
    /// As [`Http::new`].
    pub fn guarded(policy: EgressPolicy, sink: Sink) -> Result<Self, StepError> {
        Ok(Self::with(policy, sink, Arc::new(policy::System)))
    }

    /// What its answers pass.
    #[must_use]
    pub fn sink(&self) -> &Sink {
        &self.inner.sink
    }

    /// A client that resolves names in another way: tests give names whatever addresses they want.
    fn with(policy: EgressPolicy, sink: Sink, names: Arc<dyn policy::Names>) -> Self {
        let inner = Inner { policy: Arc::new(policy), sink, names, plain: OnceLock::new(), tls: OnceLock::new() };
        Self { inner: Arc::new(inner) }
    }

    /// Sends a request and reads its answer, following redirects as far as the request allows. See `once`. No secret
    /// of the vault is in what it gives.
    ///
    /// # Errors
    /// As `once`; also if a redirect leads to where nothing may be called, or there are too many.
    pub async fn send(&self, request: HttpRequest, sent: &AtomicBool) -> Result<HttpResponse, (StepError, Reach)> {
        // Here and nowhere later: whole, before anybody reads, cuts or keeps it.
        match self.follow(request, sent).await {
            Ok(response) => self.clean(response).await,
            Err((mut error, reach)) => {
                self.inner.sink.error(&mut error);
                Err((error, reach))
            }
        }
    }

    /// An answer without secrets. A large one is looked through beside the runtime: 10 MiB take a tenth of a second.
    async fn clean(&self, mut response: HttpResponse) -> Result<HttpResponse, (StepError, Reach)> {
        let sink = &self.inner.sink;
        if !sink.is_armed() || response.body.len() <= LARGE {
            sink.answer(&mut response);
            return Ok(response);
        }
        let sink = sink.clone();
        let cleaned = tokio::task::spawn_blocking(move || {
            sink.answer(&mut response);
            response
        });
        cleaned.await.map_err(|error| {
            let sentence = format!("the answer could not be looked through for secrets: {error}");
            (StepError::new(ErrorClass::Internal, sentence), Reach::Unknown)
        })
    }

    async fn follow(&self, mut request: HttpRequest, sent: &AtomicBool) -> Result<HttpResponse, (StepError, Reach)> {
        let mut left =
            if redirect::repeatable(&request.method) { request.redirects.min(redirect::HOPS_MAX) } else { 0 };
        if left == 0 {
            return self.once(request, sent).await;
        }
        let began = tokio::time::Instant::now();
        let limit = request.timeout.min(TIMEOUT_MAX);
        loop {
            request.timeout = limit.saturating_sub(began.elapsed());
            let response = self.once(request.clone(), sent).await?;
            let Some(next) = redirect::next(&request, &response) else { return Ok(response) };
            let refused = |why: String| {
                let sentence = format!("the answer {} leads elsewhere: {why}", response.status);
                (StepError::new(ErrorClass::Invalid, sentence), Reach::Refused)
            };
            if left == 0 {
                return Err(refused(format!("more than {} redirects", request.redirects.min(redirect::HOPS_MAX))));
            }
            left -= 1;
            request = next.map_err(refused)?;
            let url = Url::parse(&request.url).map_err(|error| refused(error.to_string()))?;
            self.inner.policy.check_url(&url).map_err(|blocked| refused(blocked.to_string()))?;
        }
    }

    /// Sends one request, once, and reads its answer. Once this future has ended or was dropped halfway, `sent`
    /// says whether bytes left; if it is false then, nothing left and nothing will. It says nothing before.
    ///
    /// # Errors
    /// With [`Reach::Unsent`] no byte of the request left: bad address or header, refused by policy, name or
    /// connection failed. With [`Reach::Unknown`] the peer may have acted: timeout, reset, answer too large.
    async fn once(&self, request: HttpRequest, sent: &AtomicBool) -> Result<HttpResponse, (StepError, Reach)> {
        let unsent = |class, sentence: String| (StepError::new(class, sentence), Reach::Unsent);
        let invalid = |sentence: String| unsent(ErrorClass::Invalid, sentence);
        let url = Url::parse(&request.url)
            .map_err(|error| invalid(format!("`{}` is not an address: {error}", shown(&request.url))))?;
        self.inner.policy.check_url(&url).map_err(|blocked| invalid(blocked.to_string()))?;
        let host = display(url.host_str().unwrap_or_default());
        let method = Method::from_bytes(request.method.as_bytes())
            .map_err(|_| invalid(format!("`{}` is not an HTTP method", shown(&request.method))))?;
        let headers = headers(&request.headers).map_err(invalid)?;
        let client = self.client(url.scheme() == "https").map_err(|why| unsent(ErrorClass::Internal, why))?;
        let limit = request.timeout.min(TIMEOUT_MAX);

        let mut builder = client.request(method, url).headers(headers);
        let gate = if request.body.is_empty() {
            // Without a body nobody asks before the head leaves.
            sent.store(true, Ordering::Release);
            None
        } else {
            let state = Arc::new(AtomicU8::new(CLOSED));
            let bytes = Some(Bytes::from(request.body));
            builder = builder.body(reqwest::Body::wrap(Watched { bytes, state: Arc::clone(&state) }));
            Some(Gate { state, sent })
        };
        let result = tokio::time::timeout(limit, exchange(builder)).await;
        // From here on nothing leaves any more: either it has, or the gate stays shut.
        let nothing_left = gate.is_some_and(|gate| gate.shut());
        let (error, reach) = match result {
            Ok(Ok(response)) => return Ok(response),
            Ok(Err(Lost::TooLarge)) => {
                let sentence = format!("the answer of {host} is larger than {} MiB", BODY_MAX >> 20);
                (StepError::new(ErrorClass::Invalid, sentence), Reach::Unknown)
            }
            Ok(Err(Lost::Failed(error))) => explain(&error, &host, nothing_left),
            Err(_) => {
                let sentence = format!("no complete answer of {host} within {limit:?}");
                let reach = if nothing_left { Reach::Unsent } else { Reach::Unknown };
                (StepError::new(ErrorClass::Timeout, sentence), reach)
            }
        };
        sent.store(reach != Reach::Unsent, Ordering::Release);
        Err((error, reach))
    }

    fn client(&self, tls: bool) -> Result<&Client, String> {
        let slot = if tls { &self.inner.tls } else { &self.inner.plain };
        if let Some(client) = slot.get() {
            return Ok(client);
        }
        let client = build(&self.inner, tls)?;
        Ok(slot.get_or_init(|| client))
    }
}

/// The only place where a client is built.
#[expect(clippy::disallowed_methods, reason = "this is the one client factory that owns the egress policy")]
fn build(inner: &Inner, tls: bool) -> Result<Client, String> {
    // Without a provider rustls panics at the first client. An Err says that one is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut builder = Client::builder()
        .user_agent(concat!("aura/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .no_proxy()
        .tls_info(true)
        .referer(false)
        .connect_timeout(CONNECT_TIMEOUT)
        .pool_idle_timeout(IDLE)
        .pool_max_idle_per_host(IDLE_MAX)
        .dns_resolver(policy::Resolver::new(Arc::clone(&inner.policy), Arc::clone(&inner.names)));
    if !tls {
        builder = builder.tls_certs_only([]);
    }
    builder.build().map_err(|error| format!("the HTTP client cannot start: {}", root_cause(&error)))
}

enum Lost {
    Failed(reqwest::Error),
    TooLarge,
}

async fn exchange(builder: reqwest::RequestBuilder) -> Result<HttpResponse, Lost> {
    let mut answer = builder.send().await.map_err(Lost::Failed)?;
    let headers = answer
        .headers()
        .iter()
        .map(|(name, value)| (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
        .collect();
    let info = answer.extensions().get::<reqwest::tls::TlsInfo>();
    let certificate = info.and_then(|info| info.peer_certificate()).map(<[u8]>::to_vec);
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(Lost::Failed)? {
        if body.len() + chunk.len() > BODY_MAX {
            return Err(Lost::TooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(HttpResponse { status: answer.status().as_u16(), headers, body, certificate })
}

fn headers(pairs: &[(String, String)]) -> Result<HeaderMap, String> {
    if pairs.len() > HEADERS_MAX {
        return Err(format!("a request may have {HEADERS_MAX} headers, not {}", pairs.len()));
    }
    let mut map = HeaderMap::with_capacity(pairs.len());
    for (name, value) in pairs {
        let name =
            HeaderName::from_bytes(name.as_bytes()).map_err(|_| format!("`{}` is not a header name", shown(name)))?;
        if OWN_HEADERS.contains(&name.as_str()) {
            return Err(format!("header `{name}` is set by the client and cannot be given"));
        }
        // The value may be a secret, so it is not shown.
        let value = HeaderValue::from_str(value)
            .map_err(|_| format!("the value of header `{name}` has characters that a header cannot hold"))?;
        map.append(name, value);
    }
    Ok(map)
}

/// What a failed exchange means. The address's query and the request never get into the sentence.
fn explain(error: &reqwest::Error, host: &str, nothing_left: bool) -> (StepError, Reach) {
    if let Some(blocked) = policy::blocked_in(error) {
        return (StepError::new(ErrorClass::Invalid, blocked.to_string()), Reach::Unsent);
    }
    if error.is_dns() {
        let sentence = format!("the name {host} cannot be resolved: {}", root_cause(error));
        return (StepError::new(ErrorClass::Transient, sentence), Reach::Unsent);
    }
    if error.is_connect() {
        let class = if error.is_timeout() { ErrorClass::Timeout } else { ErrorClass::Transient };
        return (StepError::new(class, format!("no connection to {host}: {}", root_cause(error))), Reach::Unsent);
    }
    let sentence = format!("the exchange with {host} broke off: {}", root_cause(error));
    let reach = if nothing_left || error.is_builder() { Reach::Unsent } else { Reach::Unknown };
    (StepError::new(ErrorClass::Transient, sentence), reach)
}

/// The innermost cause: the outer ones repeat the address, which may hold what must not be shown.
fn root_cause(error: &reqwest::Error) -> String {
    let mut cause: Option<&(dyn StdError + 'static)> = error.source();
    let mut text = String::from("the request could not be made");
    while let Some(inner) = cause {
        text = inner.to_string();
        cause = inner.source();
    }
    shown(&text)
}

fn shown(text: &str) -> String {
    let short: String = text.chars().take(200).collect();
    display(&short)
}

/// Nothing of the request was taken yet.
const CLOSED: u8 = 0;
/// The connection took the body: bytes leave.
const OPEN: u8 = 1;
/// Given up before anything left: nothing may leave any more.
const SHUT: u8 = 2;

/// Decides, once and for all, whether bytes leave: the connection opens it, or the caller shuts it.
struct Gate<'a> {
    state: Arc<AtomicU8>,
    sent: &'a AtomicBool,
}

impl Gate<'_> {
    /// Shuts it; true if nothing has left.
    fn shut(self) -> bool {
        self.settle()
    }

    fn settle(&self) -> bool {
        let before = self.state.compare_exchange(CLOSED, SHUT, Ordering::AcqRel, Ordering::Acquire);
        let nothing_left = !matches!(before, Err(OPEN));
        if !nothing_left {
            self.sent.store(true, Ordering::Release);
        }
        nothing_left
    }
}

impl Drop for Gate<'_> {
    fn drop(&mut self) {
        self.settle();
    }
}

/// A body that must pass the gate. The connection asks for it before it writes anything, head included, so
/// a body that was never asked for proves that nothing left.
struct Watched {
    bytes: Option<Bytes>,
    state: Arc<AtomicU8>,
}

impl Body for Watched {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<std::io::Result<Frame<Bytes>>>> {
        if self.state.compare_exchange(CLOSED, OPEN, Ordering::AcqRel, Ordering::Acquire) == Err(SHUT) {
            self.bytes = None;
            return Poll::Ready(Some(Err(std::io::Error::other("given up before the request left"))));
        }
        Poll::Ready(self.bytes.take().map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
    }
}
