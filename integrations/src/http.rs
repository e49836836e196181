//! The one HTTP client factory: every byte that leaves passes here.

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use aura_protocol::run::{Reach, StepError};

/// Where requests may go.
#[derive(Clone, Debug, Default)]
pub struct EgressPolicy {
    /// Loopback addresses are allowed (demo, tests).
    pub allow_loopback: bool,
    /// Hosts that are allowed whatever their address.
    pub allow_hosts: Vec<String>,
}

/// The client.
#[derive(Clone, Debug)]
pub struct Http {
    /// Where it may go.
    pub policy: EgressPolicy,
}

/// A request.
#[derive(Clone, Debug, Default)]
pub struct HttpRequest {
    /// GET, HEAD, POST, PUT, PATCH, DELETE.
    pub method: String,
    /// Address with query.
    pub url: String,
    /// Headers.
    pub headers: Vec<(String, String)>,
    /// Body.
    pub body: Vec<u8>,
    /// All of it may take this long.
    pub timeout: Duration,
}

/// An answer, whatever its status.
#[derive(Clone, Debug, Default)]
pub struct HttpResponse {
    /// Status.
    pub status: u16,
    /// Headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// Body, at most 10 MiB.
    pub body: Vec<u8>,
}

impl Http {
    /// A client with a policy.
    ///
    /// # Errors
    /// If TLS cannot be set up.
    pub fn new(policy: EgressPolicy) -> Result<Self, StepError> {
        Ok(Self { policy })
    }

    /// Sends a request; sets `sent` right before the first byte leaves.
    ///
    /// # Errors
    /// What failed, and what is known about whether it arrived.
    pub async fn send(&self, _request: HttpRequest, _sent: &AtomicBool) -> Result<HttpResponse, (StepError, Reach)> {
        Err((StepError::new(aura_protocol::run::ErrorClass::Internal, "not written yet"), Reach::Unsent))
    }
}

/// Class, reach and asked-for wait of an answer; `None` for 2xx.
#[must_use]
pub fn classify(_response: &HttpResponse) -> Option<(StepError, Reach)> {
    None
}
