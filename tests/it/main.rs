//! Behaviour tests: the real binaries, real sockets, real files, real SIGKILL; one binary, links once.
//!
//! `e2e_*` drives `aurad` and `aura` as people and providers do; `kill_loop` and `judge` kill it and
//! judge what is left without its code; `tidy` keeps the house in order. Nothing in here may use
//! `aura_daemon` or `aura_tui` but as processes.
#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "this whole crate is a test: a panic is how it says no, also outside of test functions"
)]
#![allow(missing_docs, reason = "test functions say what they test by their names")]

mod disk_faults;
mod disk_full;
mod e2e_approvals;
mod e2e_backfills;
mod e2e_backlog;
mod e2e_backup;
mod e2e_calls;
mod e2e_client;
mod e2e_code;
mod e2e_consent;
mod e2e_control;
mod e2e_data;
mod e2e_door;
mod e2e_effects;
mod e2e_emitted;
mod e2e_escapes;
mod e2e_flow_control;
mod e2e_flows;
mod e2e_forms;
mod e2e_handshakes;
mod e2e_items;
mod e2e_layouts;
mod e2e_limits;
mod e2e_listen;
mod e2e_mail;
mod e2e_many;
mod e2e_operate;
mod e2e_operations;
mod e2e_outgoing;
mod e2e_packed;
mod e2e_partial;
mod e2e_policies;
mod e2e_polls;
mod e2e_redact;
mod e2e_relay;
mod e2e_remote;
mod e2e_replay;
mod e2e_rivals;
mod e2e_schedules;
mod e2e_scopes;
mod e2e_service;
mod e2e_start;
mod e2e_testing;
mod e2e_tui;
mod e2e_tunnels;
mod e2e_vendors;
mod e2e_versions;
mod e2e_waits;
mod e2e_watch;
mod e2e_webhooks;
mod faults;
mod judge;
mod kill_loop;
mod malformed;
mod relay_kills;
mod support;
mod tidy;
