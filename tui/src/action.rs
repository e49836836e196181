//! Actions as data: what keys lead to. Screens return them, [`crate::app`] carries them out.
//!
//! Invariant: a screen changes only itself; whatever reaches the daemon, the terminal or another screen is
//! an action, so a test can read it.

use aura_protocol::ids::RunId;
use aura_protocol::rpc::PayloadQuery;
use aura_protocol::run::Resolution;

/// A place to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// All runs.
    Runs,
    /// One run.
    Run(RunId),
}

/// A question to the daemon.
#[derive(Clone, Debug, PartialEq)]
pub enum Request {
    /// Watch this run too, or none.
    Watch(Option<RunId>),
    /// Read a run with its journal.
    Run(RunId),
    /// Find a run by the start or end of its id, then go there.
    Find(String),
    /// Read a window of a payload.
    Payload(PayloadQuery),
    /// Ask runs to end.
    Cancel(RunId),
    /// Decide about a step in doubt.
    Resolve(RunId, String, Resolution),
}

/// What a key leads to.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Only this screen changed.
    Draw,
    /// Go somewhere.
    Go(Place),
    /// One step back.
    Back,
    /// Ask the daemon.
    Ask(Request),
    /// Ask the person first, then ask the daemon.
    Confirm(String, Vec<Request>),
    /// Ask the person how a step in doubt ended.
    ResolveDialog(RunId, String),
    /// Put an id or constant on the clipboard.
    Copy(String),
    /// Say something in the status line.
    Say(String),
    /// Leave.
    Quit,
    /// Draw everything anew.
    Redraw,
    /// Stop this process until the shell wakes it.
    Suspend,
}
