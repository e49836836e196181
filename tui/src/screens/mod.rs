//! The screens. Each has its state, what keys do to it, and how it is drawn from the store.
//!
//! Invariant: a screen reads the store and returns actions; it never asks the daemon. To add one: a folder
//! here, a line below, a place in [`crate::action::Place`] and its keys in [`crate::keymap`].

pub mod run;
pub mod runs;
