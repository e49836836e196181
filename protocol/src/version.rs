//! Protocol number, flow format number and engine semantics number: what the handshake compares.

/// The rpc protocol. Changes are additive; a client of another number is told which side is older.
pub const PROTOCOL: u32 = 1;
/// The flow file format this build reads and writes.
pub const FLOW_FORMAT: i64 = 1;
/// Meaning of journals: a run goes on under the number it started with.
pub const SEMANTICS: u32 = 1;
/// The version of this build.
pub const BUILD: &str = env!("CARGO_PKG_VERSION");
/// What this build offers beyond the protocol number.
pub const CAPABILITIES: &[&str] =
    &["watch", "resolve", "demo-clock", "flow_test", "flow_part", "flow_listen", "flow_try", "webhook_feed"];
