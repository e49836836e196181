//! What a connector may touch during one call.

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use crate::http::Http;

/// One call.
pub struct CallCtx<'a> {
    /// The one way out.
    pub http: &'a Http,
    /// Settings of the connection that are no secrets.
    pub settings: &'a [(String, String)],
    /// Its secrets.
    pub secrets: &'a [(String, String)],
    /// Idempotency key of the step.
    pub key: &'a str,
    /// The whole call may take this long.
    pub timeout: Duration,
    /// Unix milliseconds.
    pub now_ms: i64,
    /// Set right before the first byte leaves.
    pub sent: &'a AtomicBool,
}
