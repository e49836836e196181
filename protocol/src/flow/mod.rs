//! The flow file, format 1: its types, reading with positions, canonical form, schema and checks.
//!
//! [`types`] is the whole format; a build that does not execute a part refuses it in [`check`], never
//! ignores it. Authored text is kept beside the canonical form; the version of a flow is the hash of
//! the canonical form.

pub mod types;

pub use types::*;
