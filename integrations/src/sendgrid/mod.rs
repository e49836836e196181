//! SendGrid: all of it is data.

#[cfg(any(test, feature = "fakes"))]
pub mod fake;
#[cfg(test)]
mod tests;

use crate::connector::Hooks;
use crate::registry::Builtin;

/// The connector.
pub const BUILTIN: Builtin = Builtin {
    id: "sendgrid",
    toml: include_str!("connector.toml"),
    hooks: Hooks { prepare: None, wait: None },
    samples: &[("inbound", include_str!("fixtures/inbound.json"))],
    exchanges: &[("send_template", include_str!("fixtures/send_template.json"))],
};
