//! The durable store: transactions as data, one group-committing writer, sealed values.
//!
//! A [`Txn`] is built and sealed by whoever wants a change and handed to the writer through a [`Permit`];
//! the writer thread takes what is waiting, checks, applies and commits it as one group, then tells each
//! [`Receipt`]. Order of submission is order of commit, so a caller may decide on memory and submit under
//! one lock. Nothing here knows flows, HTTP or connectors.

pub mod rows;
pub mod store;
pub mod table;
pub mod txn;

pub use store::{CommitError, Committed, OpenError, Permit, ReadError, Receipt, Store, StoreOptions};
pub use table::{Key, Table};
pub use txn::{DedupeEntry, TailEntry, Txn};
