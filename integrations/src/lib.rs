//! Connectors: what a provider offers, as data in its `connector.toml`, with Rust only for what data cannot say.
//!
//! Everything that leaves the machine goes through [`http::Http`], the only client there is; a connector
//! sees the outside through the [`ctx::CallCtx`] handed to it and knows neither store nor daemon. What comes back has
//! passed [`redact::Sink`]. Start with
//! [`registry::Registry`]; `docs/connectors.md` says how to add one.

pub mod connector;
pub mod ctx;
pub mod http;
pub mod redact;
pub mod registry;
pub mod sendgrid;
pub mod shopify;
pub mod slack;
mod template;

#[cfg(test)]
mod conformance;
#[cfg(any(test, feature = "fakes"))]
pub mod fakes;

pub use registry::sample;
