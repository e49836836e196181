//! `aura`: the terminal client. Commands in `cli`, the live screens in `app` and `screens`.
//!
//! The one invariant: this crate knows a daemon only through `aura_protocol::rpc`; it opens no database
//! and no connector, and text from outside reaches the terminal only through `aura_protocol::text`.

mod action;
mod app;
mod catalog;
mod cli;
mod client;
mod commands;
mod event;
mod events;
mod glyphs;
mod hooks;
mod journal;
mod keymap;
mod link;
mod look;
mod schedules;
mod screens;
mod settings;
mod ssh;
mod store;
mod subscriptions;
mod target;
mod term;
mod theme;
mod times;
mod twins;
mod widgets;
mod words;

#[cfg(test)]
mod fake;
#[cfg(test)]
mod fixture;
#[cfg(test)]
mod tests;

/// Runs the command line of this process and tells how it ended (0 success; see `docs/cli.md`).
#[must_use]
pub fn main() -> std::process::ExitCode {
    cli::main()
}
