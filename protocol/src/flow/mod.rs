//! The flow file, format 1: its types, reading with positions, canonical form, schema and checks.
//!
//! [`types`] is the whole format; a build that does not execute a part refuses it in [`check()`], never
//! ignores it ([`support`]). Authored text is kept beside the canonical form; the version of a flow is the
//! hash of the canonical form. The way of a file: [`read()`] → [`Document`] → [`check()`] → [`version_hash`].

pub mod ask;
pub mod await_for;
mod canonical;
pub mod cases;
mod check;
pub mod code;
pub mod diff;
mod document;
pub mod each;
pub mod graph;
pub mod keys;
pub mod kv;
pub mod limits;
mod outline;
mod path;
pub mod policies;
mod read;
pub mod redact;
pub mod rules;
mod scalar;
mod schema;
mod scopes;
mod suggest;
pub mod support;
mod tree;
pub mod types;
mod variables;

pub use canonical::{canonical, canonical_step, canonical_text, version_hash};
pub use check::{Knowledge, check, is_refused, method_effect, upcoming};
pub use document::Document;
pub use each::{ITEMS_MAX, ITEMS_PARALLEL, ITEMS_PARALLEL_MAX};
pub use limits::{Limit, Rate};
pub use outline::outline;
pub use policies::{Batch, OnExcess, Throttle};
pub use read::read;
pub use schema::schema;
pub use tree::{DEPTH_MAX, ENTRIES_MAX, TEXT_MAX};
pub use types::*;
pub use variables::{Variables, variables};

/// A value as it stands in a sentence: JSON, short, without control characters.
fn shown(value: &crate::Value) -> String {
    let text = crate::text::display(&value.to_json());
    match text.char_indices().nth(60) {
        Some((cut, _)) => format!("{}…", text.get(..cut).unwrap_or_default()),
        None => text,
    }
}
