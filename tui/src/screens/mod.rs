//! The screens. Each has its state, what keys do to it, and how it is drawn from the store.
//!
//! Invariant: a screen reads the store and returns actions; it never asks the daemon. To add one: a folder
//! here, a line below, a place in [`crate::action::Place`] and its keys in [`crate::keymap`].

pub mod events;
pub mod flow;
pub mod flows;
pub mod hooks;
pub mod run;
pub mod runs;
pub mod schedules;
pub mod subscriptions;

/// The screens' names in a title, with the one that is shown in brackets.
#[must_use]
pub fn tabs(shown: &str) -> String {
    let names = [("1", "runs"), ("2", "flows"), ("3", "events"), ("4", "due"), ("5", "hooks")];
    let tab = |(key, name): &(&str, &str)| {
        if *name == shown { format!("[{key} {name}]") } else { format!("{key} {name}") }
    };
    // Where it is shown only: a narrow terminal has no room for one name more.
    let apart = [("6", "subscriptions")];
    let apart = apart.iter().filter(|(_, name)| *name == shown);
    names.iter().chain(apart).map(tab).collect::<Vec<_>>().join(" ")
}
