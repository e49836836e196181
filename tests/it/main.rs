//! Behaviour tests: the real binaries, real sockets, real files, real SIGKILL; one binary, links once.
//!
//! `e2e_*` drives `aurad` and `aura` as people and providers do; `kill_loop` and `judge` kill it and
//! judge what is left without its code; `tidy` keeps the house in order. Nothing in here may use
//! `aura_daemon` or `aura_tui` but as processes.
#![allow(missing_docs)]

mod judge;
mod kill_loop;
mod support;
mod tidy;
