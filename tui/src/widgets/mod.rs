//! Pieces that screens share: a text field, a list's filter, the footer, overlays.
//!
//! Invariant: a widget knows no screen and no daemon; it is given what it shows.

pub mod field;
pub mod filter;
pub mod foot;
pub mod list;
pub mod overlay;
pub mod palette;
pub mod part;
pub mod replay;
pub mod vote;
