//! Signs: box drawing where the locale is UTF-8, pure ASCII otherwise; never a private-use font.
//!
//! Invariant: with [`Glyphs::ASCII`] no byte above 127 leaves this client; foreign text is replaced too.

use aura_protocol::run::{RunState, StepState};

/// One set of signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Glyphs {
    /// Pure ASCII.
    pub ascii: bool,
    /// Horizontal line.
    pub across: &'static str,
    /// Vertical line.
    pub down: &'static str,
    /// Corners: top left, top right, bottom left, bottom right.
    pub corners: [&'static str; 4],
    /// The selected row.
    pub cursor: &'static str,
    /// A marked row.
    pub mark: &'static str,
    /// Text was cut.
    pub more: &'static str,
    /// Between crumbs.
    pub crumb: &'static str,
    /// A piece of a bar.
    pub bar: &'static str,
    /// A piece of a bar of waiting.
    pub dots: &'static str,
}

impl Glyphs {
    /// For UTF-8 terminals.
    pub const BOX: Self = Self {
        ascii: false,
        across: "─",
        down: "│",
        corners: ["┌", "┐", "└", "┘"],
        cursor: "▸",
        mark: "•",
        more: "…",
        crumb: "›",
        bar: "━",
        dots: "·",
    };
    /// For all others.
    pub const ASCII: Self = Self {
        ascii: true,
        across: "-",
        down: "|",
        corners: ["+", "+", "+", "+"],
        cursor: ">",
        mark: "*",
        more: "~",
        crumb: ">",
        bar: "=",
        dots: ".",
    };

    /// From the environment: `AURA_ASCII=1` first, then the locale as the C library reads it.
    #[must_use]
    pub fn from_env(get: impl Fn(&str) -> Option<String>) -> Self {
        if get("AURA_ASCII").is_some_and(|value| value == "1") {
            return Self::ASCII;
        }
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"].iter().find_map(|name| get(name).filter(|value| !value.is_empty()));
        let upper = locale.unwrap_or_default().to_ascii_uppercase();
        if upper.contains("UTF-8") || upper.contains("UTF8") { Self::BOX } else { Self::ASCII }
    }

    /// One cell that tells a run's state without colour.
    #[must_use]
    pub fn run(&self, state: RunState) -> &'static str {
        let (fine, plain) = match state {
            RunState::Queued => ("·", "."),
            RunState::Running => ("▶", ">"),
            RunState::Waiting => ("◷", "z"),
            RunState::Retrying => ("↻", "r"),
            RunState::Paused => ("‖", "="),
            RunState::InDoubt => ("?", "?"),
            RunState::Succeeded => ("✓", "+"),
            RunState::Failed => ("✗", "!"),
            RunState::Cancelled => ("∅", "x"),
        };
        if self.ascii { plain } else { fine }
    }

    /// One cell that tells a step's state without colour.
    #[must_use]
    pub fn step(&self, state: StepState) -> &'static str {
        let (fine, plain) = match state {
            StepState::Queued => ("·", "."),
            StepState::Running => ("▶", ">"),
            StepState::Waiting => ("◷", "z"),
            StepState::Retrying => ("↻", "r"),
            StepState::InDoubt => ("?", "?"),
            StepState::Succeeded => ("✓", "+"),
            StepState::Failed => ("✗", "!"),
            StepState::Cancelled => ("∅", "x"),
            StepState::Skipped => ("-", "-"),
        };
        if self.ascii { plain } else { fine }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_locale_variable_that_is_set_decides() {
        let check = |pairs: &[(&str, &str)], ascii| {
            let get = |name: &str| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
            assert_eq!(Glyphs::from_env(get).ascii, ascii, "{pairs:?}");
        };
        check(&[("LANG", "en_GB.UTF-8")], false);
        check(&[("LANG", "en_GB.utf8"), ("LC_ALL", "C")], true);
        check(&[("LANG", "C"), ("LC_ALL", "C.UTF-8")], false);
        check(&[("LANG", "C.UTF-8"), ("AURA_ASCII", "1")], true);
        check(&[], true);
    }
}
