//! Signature schemes as data and pure functions.
