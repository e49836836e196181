//! How things look: theme, signs and zone together, and the few strokes everything is drawn with.
//!
//! Invariant: text is cut only between graphemes, and a row never writes outside its width.

use aura_protocol::run::{RunState, StepState};
use jiff::tz::TimeZone;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use unicode_segmentation::UnicodeSegmentation;
use unicode_width::UnicodeWidthStr;

use crate::glyphs::Glyphs;
use crate::settings::Settings;
use crate::theme::{Theme, Tone};

/// Theme, signs and zone.
#[derive(Clone, Debug)]
pub struct Look {
    /// Colours.
    pub theme: Theme,
    /// Signs.
    pub glyphs: Glyphs,
    /// Zone of shown times.
    pub zone: TimeZone,
}

impl Look {
    /// From this process's environment and the settings.
    #[must_use]
    pub fn from_env(settings: &Settings) -> Self {
        let get = |name: &str| std::env::var(name).ok();
        // The environment speaks for this terminal, the file for its owner.
        let theme = match (Theme::from_env(get), settings.theme.as_deref().and_then(Theme::named)) {
            (Theme::Sixteen, Some(wanted)) if get("AURA_COLOR").is_none() => wanted,
            (theme, _) => theme,
        };
        let glyphs = if settings.ascii == Some(true) { Glyphs::ASCII } else { Glyphs::from_env(get) };
        Self { theme, glyphs, zone: TimeZone::system() }
    }

    /// How a tone looks.
    #[must_use]
    pub fn style(&self, tone: Tone) -> Style {
        self.theme.style(tone)
    }

    /// Text cut to a width, with a sign where it was cut.
    #[must_use]
    pub fn fit(&self, text: &str, width: usize) -> String {
        if text.width() <= width {
            return text.to_owned();
        }
        let mut out = String::new();
        let mut used = 0;
        for grapheme in text.graphemes(true) {
            let wide = grapheme.width();
            if used + wide + 1 > width {
                break;
            }
            used += wide;
            out.push_str(grapheme);
        }
        if width > 0 {
            out.push_str(self.glyphs.more);
        }
        out
    }

    /// Writes text at a place of an area, cut to the area; tells how many cells it took.
    pub fn put(&self, buf: &mut Buffer, area: Rect, x: u16, y: u16, text: &str, tone: Tone) -> u16 {
        if y >= area.height || x >= area.width {
            return 0;
        }
        let room = area.width - x;
        let shown = self.fit(text, usize::from(room));
        let (end, _) = buf.set_stringn(area.x + x, area.y + y, &shown, usize::from(room), self.style(tone));
        end.saturating_sub(area.x + x)
    }

    /// Writes pieces one after the other; tells where the next one would begin.
    pub fn pieces(&self, buf: &mut Buffer, area: Rect, y: u16, pieces: &[(&str, Tone)]) -> u16 {
        let mut x = 0;
        for (text, tone) in pieces {
            x += self.put(buf, area, x, y, text, *tone);
        }
        x
    }

    /// Draws a frame with a title and gives its inside.
    pub fn frame(&self, buf: &mut Buffer, area: Rect, title: &str, focus: bool) -> Rect {
        if area.width < 2 || area.height < 2 {
            return area;
        }
        let tone = if focus { Tone::Plain } else { Tone::Frame };
        let [left_top, right_top, left_bottom, right_bottom] = self.glyphs.corners;
        let line = self.glyphs.across.repeat(usize::from(area.width) - 2);
        self.put(buf, area, 0, 0, &format!("{left_top}{line}{right_top}"), tone);
        self.put(buf, area, 0, area.height - 1, &format!("{left_bottom}{line}{right_bottom}"), tone);
        for y in 1..area.height - 1 {
            self.put(buf, area, 0, y, self.glyphs.down, tone);
            self.put(buf, area, area.width - 1, y, self.glyphs.down, tone);
        }
        if !title.is_empty() && area.width > 6 {
            let title = self.fit(title, usize::from(area.width) - 6);
            let tone = if focus { Tone::Title } else { Tone::Plain };
            self.put(buf, area, 2, 0, &format!(" {title} "), tone);
        }
        Rect { x: area.x + 1, y: area.y + 1, width: area.width - 2, height: area.height - 2 }
    }

    /// Draws a row over the whole width in the style of the selection.
    pub fn select(&self, buf: &mut Buffer, area: Rect, y: u16) {
        if y < area.height {
            let row = Rect { x: area.x, y: area.y + y, width: area.width, height: 1 };
            buf.set_style(row.intersection(*buf.area()), self.style(Tone::Selected));
        }
    }
}

/// A line in pieces of at most a width, divided between graphemes; an empty line stays one.
#[must_use]
pub fn wrapped(line: &str, width: usize) -> Vec<String> {
    let mut out = vec![String::new()];
    let mut used = 0;
    for grapheme in line.graphemes(true) {
        let wide = grapheme.width();
        if used + wide > width && used > 0 {
            out.push(String::new());
            used = 0;
        }
        used += wide;
        if let Some(last) = out.last_mut() {
            last.push_str(grapheme);
        }
    }
    out
}

/// The tone of a run's state.
#[must_use]
pub fn run_tone(state: RunState) -> Tone {
    match state {
        RunState::Queued | RunState::Waiting | RunState::Paused => Tone::Calm,
        RunState::Running => Tone::Busy,
        RunState::Retrying | RunState::InDoubt => Tone::Warn,
        RunState::Succeeded => Tone::Good,
        RunState::Failed => Tone::Bad,
        RunState::Cancelled => Tone::Dim,
    }
}

/// The tone of a step's state.
#[must_use]
pub fn step_tone(state: StepState) -> Tone {
    match state {
        StepState::Waiting => Tone::Calm,
        StepState::Running => Tone::Busy,
        StepState::Retrying | StepState::InDoubt => Tone::Warn,
        StepState::Succeeded => Tone::Good,
        StepState::Failed => Tone::Bad,
        StepState::Queued | StepState::Cancelled | StepState::Skipped => Tone::Dim,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn look() -> Look {
        Look { theme: Theme::Mono, glyphs: Glyphs::BOX, zone: TimeZone::UTC }
    }

    #[test]
    fn text_is_cut_between_graphemes() {
        let check = |text: &str, width, expected: &str| assert_eq!(look().fit(text, width), expected);
        check("abc", 3, "abc");
        check("abcd", 3, "ab…");
        check("日本語", 4, "日…");
        check("e\u{301}e\u{301}e\u{301}", 2, "e\u{301}…");
        check("👩‍👩‍👧‍👦👩‍👩‍👧‍👦", 3, "👩‍👩‍👧‍👦…");
        check("abc", 0, "");
    }

    #[test]
    fn a_long_line_goes_on_below() {
        assert_eq!(wrapped("abcdef", 4), ["abcd", "ef"]);
        assert_eq!(wrapped("日本語", 5), ["日本", "語"]);
        assert_eq!(wrapped("", 4), [""]);
    }

    proptest! {
        #[test]
        fn nothing_is_wider_than_its_room(text in "\\PC{0,40}", width in 0_usize..20) {
            prop_assert!(look().fit(&text, width).width() <= width);
        }
    }
}
