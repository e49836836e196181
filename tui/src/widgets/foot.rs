//! The key lines under a screen, taken from the keymap, so they are always true.
//!
//! Invariant: a pair of key and word is shown whole or not at all, and how to find all keys and the way back stand on
//! every screen: where there is no room for all, those of the screen go, the last first.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use unicode_width::UnicodeWidthStr;

use crate::keymap::{Command, Context, Keys};
use crate::look::Look;
use crate::theme::Tone;

/// Blanks between two pairs.
const GAP: u16 = 2;

/// Draws the pairs of the commands that apply now.
pub fn draw(
    look: &Look,
    buf: &mut Buffer,
    area: Rect,
    keys: &Keys,
    context: Context,
    applies: &dyn Fn(Command) -> bool,
) {
    let (mut pairs, mut own) = keys.foot(context, applies);
    let mut at = places(&pairs, area.width);
    while at.last().is_some_and(|(_, y)| *y >= area.height) {
        // What the screen itself offers last, then what every screen has: all but the keys and the way back.
        if own > 0 {
            own -= 1;
            pairs.remove(own);
        } else if pairs.len() > 2 {
            pairs.remove(1);
        } else {
            pairs.pop();
        }
        at = places(&pairs, area.width);
    }
    for ((key, word), (x, y)) in pairs.iter().zip(at) {
        let wide = look.put(buf, area, x, y, key, Tone::Key);
        look.put(buf, area, x + wide + 1, y, word, Tone::Plain);
    }
}

/// Where each pair stands: column and row.
fn places(pairs: &[(&str, &str)], width: u16) -> Vec<(u16, u16)> {
    let (mut x, mut y) = (1_u16, 0_u16);
    let mut places = Vec::with_capacity(pairs.len());
    for (key, word) in pairs {
        let wide = u16::try_from(key.width() + 1 + word.width()).unwrap_or(u16::MAX);
        if x > 1 && x.saturating_add(wide) > width {
            (x, y) = (1, y + 1);
        }
        places.push((x, y));
        x = x.saturating_add(wide).saturating_add(GAP);
    }
    places
}
