//! How a daemon's tunnel is, as `aura status` shows it.

use serde::{Deserialize, Serialize};

/// A tunnel's program that the daemon keeps running.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TunnelStatus {
    /// `cloudflared` or `ngrok`.
    pub kind: String,
    /// `starting`, `up` or `failing`.
    pub state: String,
    /// The public address, while it is up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Why it is not up, in a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// How often it was started again.
    #[serde(default)]
    pub restarts: u64,
}

impl TunnelStatus {
    /// In a sentence.
    #[must_use]
    pub fn sentence(&self) -> String {
        let Self { kind, state, url, why, .. } = self;
        match (state.as_str(), url, why) {
            ("up", Some(url), _) => format!("{kind} is up: {url}"),
            ("failing", _, Some(why)) => format!("{kind} fails: {why}"),
            _ => format!("{kind} is {state}"),
        }
    }
}
