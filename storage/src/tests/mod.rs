//! Tests of the whole store: one conformance suite for all backends, a model, and the disk's misdeeds.
//!
//! `conformance` says what a store does, `model` compares random histories with ordered maps, `power`, `flips`
//! `full` and `reopen` are what disks do to it (on `faults::Disk`, judged by `history`), `opening` is about what is
//! refused, `archive` about backups and `migrating` about older layouts.

mod archive;
mod blobs;
mod conformance;
mod flips;
mod full;
mod history;
mod migrating;
mod model;
mod opening;
mod power;
mod reopen;
mod starting;
mod support;
