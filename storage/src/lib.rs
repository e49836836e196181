//! The durable store: transactions as data, one group-committing writer, sealed values.
//!
//! A [`Txn`] is built and sealed by whoever wants a change and handed to the writer through a [`Permit`];
//! the writer thread takes what is waiting, checks, applies and commits it as one group, then tells each
//! [`Receipt`]. Order of submission is order of commit, so a caller may decide on memory and submit under
//! one lock. Nothing here knows flows, HTTP or connectors.
//!
//! Where to look: `store` the handle, `queue` and `writer` the way of a transaction, `seal` and `vault` how
//! values are protected, `dedupe` and `tail` what the writer builds itself, `blobs` large values, `check` and
//! `scrub` what doctor asks, `archive` backups, `migrate` older layouts, `ballast` room for bad times, `backend`
//! where bytes go and `open` which of them is chosen.

pub mod archive;
mod backend;
mod ballast;
mod blobs;
mod check;
mod dedupe;
#[cfg(any(test, feature = "faults"))]
pub mod faults;
mod migrate;
mod open;
mod pause;
mod queue;
pub mod random;
pub mod rows;
mod scrub;
mod seal;
mod steady;
pub mod store;
pub mod table;
mod tail;
pub mod txn;
mod usage;
mod vault;
mod writer;

#[cfg(test)]
mod tests;

pub use archive::{ArchiveError, Manifest, Progress, Proved, TableSum};
pub use blobs::{BLOB_MAX, BLOB_MIN, SealedBlob};
pub use check::StartCheck;
pub use open::OpenError;
pub use pause::Paused;
pub use scrub::Scrubbed;
pub use steady::Steady;
pub use store::{
    CommitError, Committed, Finding, Permit, ReadError, Receipt, Space, Standing, Store, StoreOptions, TailPage,
};
pub use table::{Key, Table};
pub use txn::{BlobChange, DedupeEntry, TailEntry, Txn};
pub use usage::{FlowUse, TableUse, Usage};
