//! Tests of the whole store: one conformance suite for all backends, a model, and the disk's misdeeds.
//!
//! `conformance` says what a store does, `model` compares random histories with ordered maps, `sim` cuts the
//! power, flips bytes and fills the disk, `opening` is about what is refused.

mod conformance;
mod opening;
mod support;
