//! The load driver: what AURA does a second and what a run costs, beside what the machine can do at most.
//!
//! The one invariant: everything is measured from outside, on processes of their own (the real `aurad`, the
//! limit programs of [`limits`]), in rounds that follow each other at once, so that only ratios of neighbours
//! are compared. [`load`] sends, [`sink`] takes what arrives, [`meter`] reads what the kernel counted,
//! [`rounds`] puts them in order, [`socket`] is a client that watches. What each figure means: `docs/benchmarks.md`.

pub mod bulk;
pub mod figures;
pub mod http;
pub mod limits;
pub mod load;
pub mod meter;
pub mod payload;
pub mod rounds;
pub mod served;
pub mod sink;
pub mod socket;
