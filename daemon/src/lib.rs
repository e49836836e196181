//! `aurad`: the headless daemon. Wires storage and integrations; the only crate that listens.
//!
//! `app` builds the services in order; `engine` runs flows; `http` is the door; `rpc` serves the client.

pub mod clock;
pub mod engine;

/// Entry point of `aurad`.
#[must_use]
pub fn main() -> std::process::ExitCode {
    std::process::ExitCode::SUCCESS
}
