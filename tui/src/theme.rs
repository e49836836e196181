//! Colours: the terminal's own sixteen, or none. State is always also a word or a glyph.
//!
//! Invariant: every style of the client is made here, so mono loses nothing and no screen names a colour.

use ratatui::style::{Color, Modifier, Style};

/// How much colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Theme {
    /// The terminal's own sixteen colours on its own background.
    Sixteen,
    /// Bold, dim and reverse only.
    Mono,
    /// Bright colours only, nothing dim.
    High,
}

/// What a piece of text is; the theme says how that looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// Text.
    Plain,
    /// Beside the point.
    Dim,
    /// Frames.
    Frame,
    /// Heads of tables, titles.
    Title,
    /// The selected row.
    Selected,
    /// Keys in footers and help.
    Key,
    /// Went well.
    Good,
    /// At work.
    Busy,
    /// Waits.
    Calm,
    /// Coped.
    Warn,
    /// Went wrong.
    Bad,
}

impl Theme {
    /// The theme of a name in the settings file.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "16" => Some(Self::Sixteen),
            "mono" => Some(Self::Mono),
            "high-contrast" => Some(Self::High),
            _ => None,
        }
    }

    /// From the environment: `AURA_COLOR=none|16` first, then `NO_COLOR`, then a dumb terminal.
    #[must_use]
    pub fn from_env(get: impl Fn(&str) -> Option<String>) -> Self {
        match get("AURA_COLOR").as_deref() {
            Some("none") => Self::Mono,
            Some("16" | "256" | "true") => Self::Sixteen,
            Some("high-contrast") => Self::High,
            _ if get("NO_COLOR").is_some_and(|value| !value.is_empty()) => Self::Mono,
            _ if get("TERM").is_some_and(|term| term == "dumb" || term.starts_with("vt")) => Self::Mono,
            _ => Self::Sixteen,
        }
    }

    /// How a tone looks.
    #[must_use]
    pub fn style(self, tone: Tone) -> Style {
        let plain = Style::new();
        match (tone, self) {
            (Tone::Plain, _) => plain,
            (Tone::Selected, _) => plain.add_modifier(Modifier::REVERSED),
            (Tone::Title, _) => plain.add_modifier(Modifier::BOLD),
            (Tone::Dim | Tone::Frame, Self::Mono) => plain.add_modifier(Modifier::DIM),
            (Tone::Dim | Tone::Frame, Self::Sixteen) => plain.fg(Color::DarkGray),
            (Tone::Dim | Tone::Frame, Self::High) => plain,
            (Tone::Key | Tone::Busy, Self::High) => plain.fg(Color::LightCyan).add_modifier(Modifier::BOLD),
            (Tone::Good, Self::High) => plain.fg(Color::LightGreen).add_modifier(Modifier::BOLD),
            (Tone::Calm, Self::High) => plain.fg(Color::LightBlue).add_modifier(Modifier::BOLD),
            (Tone::Warn, Self::High) => plain.fg(Color::LightYellow).add_modifier(Modifier::BOLD),
            (Tone::Bad, Self::High) => plain.fg(Color::LightRed).add_modifier(Modifier::BOLD),
            (Tone::Key | Tone::Warn | Tone::Bad, Self::Mono) => plain.add_modifier(Modifier::BOLD),
            (_, Self::Mono) => plain,
            (Tone::Key, _) => plain.fg(Color::Cyan),
            (Tone::Good, _) => plain.fg(Color::Green),
            (Tone::Busy, _) => plain.fg(Color::Cyan),
            (Tone::Calm, _) => plain.fg(Color::Blue),
            (Tone::Warn, _) => plain.fg(Color::Yellow),
            (Tone::Bad, _) => plain.fg(Color::Red).add_modifier(Modifier::BOLD),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_decides_in_its_order() {
        let check = |pairs: &[(&str, &str)], expected| {
            let get = |name: &str| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
            assert_eq!(Theme::from_env(get), expected, "{pairs:?}");
        };
        check(&[], Theme::Sixteen);
        check(&[("NO_COLOR", "1")], Theme::Mono);
        check(&[("NO_COLOR", "")], Theme::Sixteen);
        check(&[("NO_COLOR", "1"), ("AURA_COLOR", "16")], Theme::Sixteen);
        check(&[("AURA_COLOR", "none")], Theme::Mono);
        check(&[("TERM", "dumb")], Theme::Mono);
    }
}
