//! One line of typed text. Pasted text goes in literally, without line breaks and control characters.
//!
//! Invariant: never longer than [`MAX`] characters.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use unicode_segmentation::UnicodeSegmentation;

/// Most characters of a field.
pub const MAX: usize = 4096;

/// A text field; its cursor stands at the end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Field {
    /// What was typed.
    pub text: String,
}

impl Field {
    /// Takes a key that edits; false if it does not.
    pub fn key(&mut self, key: KeyEvent) -> bool {
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        match key.code {
            KeyCode::Char('u') if control => self.text.clear(),
            KeyCode::Char('w') if control => {
                let kept = self.text.trim_end().rfind(' ').map_or(0, |at| at + 1);
                self.text.truncate(kept);
            }
            KeyCode::Char(c) if !control && !key.modifiers.contains(KeyModifiers::ALT) => {
                self.paste(c.encode_utf8(&mut [0; 4]));
            }
            KeyCode::Backspace => {
                let kept = self.text.grapheme_indices(true).next_back().map_or(0, |(at, _)| at);
                self.text.truncate(kept);
            }
            _ => return false,
        }
        true
    }

    /// Puts text at the end.
    pub fn paste(&mut self, text: &str) {
        let room = MAX.saturating_sub(self.text.chars().count());
        self.text.extend(text.chars().filter(|c| !c.is_control()).take(room));
    }

    /// What to show: safe text, its end if it is too long, and a cursor after it.
    #[must_use]
    pub fn shown(&self, width: usize, cursor: &str) -> String {
        let safe = aura_protocol::text::display(&self.text);
        let room = width.saturating_sub(1);
        let mut from = safe.len();
        let mut used = 0;
        for (at, grapheme) in safe.grapheme_indices(true).rev() {
            used += unicode_width::UnicodeWidthStr::width(grapheme);
            if used > room {
                break;
            }
            from = at;
        }
        format!("{}{cursor}", safe.get(from..).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn editing_takes_whole_graphemes_and_no_control_characters() {
        let mut field = Field::default();
        field.paste("a\u{1b}[2J\ne\u{301}");
        assert_eq!(field.text, "a[2Je\u{301}");
        field.key(KeyEvent::new(KeyCode::Backspace, KeyModifiers::NONE));
        assert_eq!(field.text, "a[2J");
        field.key(KeyEvent::new(KeyCode::Char('u'), KeyModifiers::CONTROL));
        assert_eq!(field.text, "");
        field.paste(&"x".repeat(MAX + 5));
        assert_eq!(field.text.len(), MAX);
        assert_eq!(field.shown(4, "_"), "xxx_");
    }
}
