//! The filter above a list: typed while it is open, kept when it is left, the same on every screen with a list.

use aura_protocol::text::display;
use crossterm::event::{KeyCode, KeyEvent};

use super::field::Field;
use crate::keymap::Command;

/// Characters of an open filter that a title shows.
const SHOWN: usize = 30;

/// A filter; what its terms mean is the list's business.
#[derive(Clone, Debug, Default)]
pub struct FilterField {
    field: Field,
    /// It takes all keys.
    pub open: bool,
}

/// What a key in an open filter was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Typed {
    /// A step in the list below.
    Step(Command),
    /// It was left, and its text counts.
    Entered,
    /// Its text may have changed.
    Edited,
}

impl FilterField {
    /// What was typed.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.field.text
    }

    /// Its words, in lower case.
    #[must_use]
    pub fn terms(&self) -> Vec<String> {
        self.field.text.split_whitespace().map(str::to_lowercase).collect()
    }

    /// Filters by this text, without being open.
    pub fn set(&mut self, text: String) {
        self.field.text = text;
        self.open = false;
    }

    /// Pasted text goes in only while it is open.
    pub fn paste(&mut self, text: &str) {
        if self.open {
            self.field.paste(text);
        }
    }

    /// Takes a key while it is open.
    pub fn typed(&mut self, key: KeyEvent) -> Typed {
        match key.code {
            KeyCode::Enter => {
                self.open = false;
                return Typed::Entered;
            }
            KeyCode::Esc => drop(self.clear()),
            KeyCode::Down => return Typed::Step(Command::Down),
            KeyCode::Up => return Typed::Step(Command::Up),
            _ => drop(self.field.key(key)),
        }
        Typed::Edited
    }

    /// Clears an open or filled filter; false if there was none.
    pub fn clear(&mut self) -> bool {
        let was = self.open || !self.field.text.is_empty();
        self.set(String::new());
        was
    }

    /// Its part of a title; nothing if there is no filter.
    #[must_use]
    pub fn title(&self, cursor: &str) -> Option<String> {
        if self.open {
            return Some(format!("filter: {}", self.field.shown(SHOWN, cursor)));
        }
        (!self.field.text.is_empty()).then(|| format!("filter: {}", display(&self.field.text)))
    }
}
