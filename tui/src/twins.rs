//! The command log: everything done on the screens as the command line that does the same.
//!
//! Invariant: at most [`KEPT`] lines; what was decided carries its outcome, in the order in which it was asked.

use std::collections::VecDeque;

use aura_protocol::text::display;

/// Most lines kept.
const KEPT: usize = 200;

/// How a line ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Only looked.
    Looked,
    /// Asked, no answer yet.
    Asked,
    /// Done.
    Done,
    /// Refused, and why.
    Refused(String),
}

/// A line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// When, on the daemon's clock; 0 before it is known.
    pub at_ms: i64,
    /// The command, safe to show.
    pub text: String,
    /// How it ended.
    pub outcome: Outcome,
}

/// The log.
#[derive(Clone, Debug, Default)]
pub struct Twins {
    lines: VecDeque<Line>,
}

impl Twins {
    /// Notes a command (without `aura`).
    pub fn note(&mut self, at_ms: i64, command: &str, decides: bool) {
        let command: String = command.chars().take(500).collect();
        let text = display(&format!("aura {command}"));
        let outcome = if decides { Outcome::Asked } else { Outcome::Looked };
        // Looking again and again is one line.
        if outcome == Outcome::Looked && self.lines.back().is_some_and(|last| last.text == text) {
            return;
        }
        if self.lines.len() >= KEPT {
            self.lines.pop_front();
        }
        self.lines.push_back(Line { at_ms, text, outcome });
    }

    /// The oldest open line has its outcome.
    pub fn settle(&mut self, refused: Option<&str>) {
        if let Some(line) = self.lines.iter_mut().find(|line| line.outcome == Outcome::Asked) {
            line.outcome = refused.map_or(Outcome::Done, |why| Outcome::Refused(display(why)));
        }
    }

    /// The newest lines, oldest first.
    pub fn newest(&self, most: usize) -> impl Iterator<Item = &Line> {
        self.lines.iter().skip(self.lines.len().saturating_sub(most))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decisions_get_their_outcome_in_order_and_looking_twice_is_said_once() {
        let mut twins = Twins::default();
        twins.note(1, "flow list", false);
        twins.note(2, "flow list", false);
        twins.note(3, "run cancel a", true);
        twins.note(4, "run cancel b\u{1b}", true);
        twins.settle(None);
        twins.settle(Some("gone"));
        let seen: Vec<(String, Outcome)> =
            twins.newest(9).map(|line| (line.text.clone(), line.outcome.clone())).collect();
        assert_eq!(
            seen,
            [
                ("aura flow list".to_owned(), Outcome::Looked),
                ("aura run cancel a".to_owned(), Outcome::Done),
                ("aura run cancel b␛".to_owned(), Outcome::Refused("gone".to_owned())),
            ]
        );
        (0..500).for_each(|number| twins.note(5, &format!("run show {number}"), false));
        assert_eq!(twins.newest(9999).count(), KEPT);
    }
}
