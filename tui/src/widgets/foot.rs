//! The key lines under a screen, taken from the keymap, so they are always true.
//!
//! Invariant: a pair of key and word is shown whole or not at all.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use unicode_width::UnicodeWidthStr;

use crate::keymap::{Context, Keys};
use crate::look::Look;
use crate::theme::Tone;

/// Draws as many pairs as fit.
pub fn draw(look: &Look, buf: &mut Buffer, area: Rect, keys: &Keys, context: Context) {
    let (mut x, mut y) = (1, 0);
    for (key, word) in keys.foot(context) {
        let wide = u16::try_from(key.width() + 1 + word.width()).unwrap_or(u16::MAX);
        if x + wide > area.width {
            (x, y) = (1, y + 1);
        }
        if y >= area.height || x + wide > area.width {
            return;
        }
        let at = look.put(buf, area, x, y, key, Tone::Key);
        look.put(buf, area, x + at + 1, y, word, Tone::Plain);
        x += wide + 2;
    }
}
