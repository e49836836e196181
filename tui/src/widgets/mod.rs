//! Pieces that screens share: a text field, the footer, overlays.
//!
//! Invariant: a widget knows no screen and no daemon; it is given what it shows.

pub mod field;
pub mod foot;
pub mod list;
pub mod overlay;
pub mod palette;
