//! Slack: all of it is data.

#[cfg(any(test, feature = "fakes"))]
pub mod fake;
#[cfg(test)]
mod tests;

use crate::connector::Hooks;
use crate::registry::Builtin;

/// The connector.
pub const BUILTIN: Builtin = Builtin {
    id: "slack",
    toml: include_str!("connector.toml"),
    hooks: Hooks { prepare: None, wait: None },
    samples: &[("event", include_str!("fixtures/event.json"))],
    exchanges: &[("post_message", include_str!("fixtures/post_message.json"))],
};
