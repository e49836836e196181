//! What one call of an action may touch, and nothing else: the client, its connection, its key, its time.

use std::fmt;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use crate::http::Http;

/// The surroundings of one attempt. Secrets in it are never shown: `Debug` names them only.
#[derive(Clone, Copy)]
pub struct CallCtx<'a> {
    /// The one way out.
    pub http: &'a Http,
    /// The connection's settings that are no secrets, by field name.
    pub settings: &'a [(String, String)],
    /// The connection's secrets, by field name.
    pub secrets: &'a [(String, String)],
    /// The stable idempotency key of this call.
    pub key: &'a str,
    /// The whole call may take this long.
    pub timeout: Duration,
    /// Now, in Unix milliseconds (for providers that say *until when* to wait).
    pub now_ms: i64,
    /// Whether bytes left: certain once the call has ended or was dropped halfway, not while it is at work.
    pub sent: &'a AtomicBool,
}

impl<'a> CallCtx<'a> {
    /// A field of the connection, secret or not; an empty one counts as not given.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&'a str> {
        let find = |list: &'a [(String, String)]| list.iter().find(|(have, _)| have == name);
        find(self.secrets).or_else(|| find(self.settings)).map(|(_, value)| value.as_str()).filter(|v| !v.is_empty())
    }
}

impl fmt::Debug for CallCtx<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let secrets: Vec<&str> = self.secrets.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("CallCtx").field("settings", &self.settings).field("secrets", &secrets).finish_non_exhaustive()
    }
}
