//! Faults made from outside: killed at the n-th write, flipped bytes.
//!
//! `docs/reliability.md. has what each proves and when it was run.

mod canaries;
mod flips;
mod points;
