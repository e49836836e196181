//! Connectors: data first, Rust only for what data cannot say; and the one way out to the network.

pub mod ctx;
pub mod http;
pub mod registry;
