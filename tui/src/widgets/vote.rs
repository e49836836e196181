//! What a run asks people, and the decision: over the run's screen.
//!
//! Invariant: what is sent carries the hash of what is shown here; nothing is sent before `a` or `r` and `enter`.

use aura_protocol::approval::{FieldKind, Question};
use aura_protocol::rpc::{RunRef, RunVote};
use aura_protocol::text::display;
use aura_protocol::{Map, Value};
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::field::Field;
use crate::action::{Action, Request};
use crate::theme::Tone;

/// Lines of the form that are shown; the whole stands in the step's input.
const FORM_LINES: usize = 12;

/// One question and what was typed so far.
#[derive(Clone, Debug, PartialEq)]
pub struct VoteDialog {
    question: Question,
    /// Yes or no, once chosen.
    approve: Option<bool>,
    /// What is filled in, and last the comment.
    fields: Vec<Field>,
    at: usize,
}

/// What a key did.
pub enum Voted {
    /// It stays.
    Stay,
    /// It closes; do this.
    Close(Vec<Action>),
}

impl VoteDialog {
    /// Opens a question.
    #[must_use]
    pub fn new(question: Question) -> Self {
        Self { question, approve: None, fields: Vec::new(), at: 0 }
    }

    /// Its title.
    #[must_use]
    pub fn title(&self) -> String {
        display(&format!("{} of {} asks", self.question.path, self.question.run.short()))
    }

    /// The field that is typed into.
    pub fn field(&mut self) -> Option<&mut Field> {
        self.fields.get_mut(self.at)
    }

    /// Takes a key.
    pub fn key(&mut self, key: KeyEvent) -> Voted {
        let stop = key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
        let Some(approve) = self.approve else {
            match key.code {
                _ if stop => return Voted::Close(Vec::new()),
                KeyCode::Char('a') => self.choose(true),
                KeyCode::Char('r') => self.choose(false),
                _ => {}
            }
            return Voted::Stay;
        };
        match key.code {
            KeyCode::Enter if self.at + 1 >= self.fields.len() => {
                return Voted::Close(vec![Action::Ask(Request::Vote(Box::new(self.vote(approve))))]);
            }
            KeyCode::Enter | KeyCode::Down | KeyCode::Tab => self.at = (self.at + 1).min(self.fields.len() - 1),
            KeyCode::Up | KeyCode::BackTab => self.at = self.at.saturating_sub(1),
            _ => {
                let Some(field) = self.fields.get_mut(self.at) else { return Voted::Stay };
                match stop {
                    true if field.text.is_empty() => return Voted::Close(Vec::new()),
                    true => field.text.clear(),
                    false => drop(field.key(key)),
                }
            }
        }
        Voted::Stay
    }

    fn choose(&mut self, approve: bool) {
        self.approve = Some(approve);
        // Whoever refuses only says why.
        let asked = if approve { self.question.ask.fields.len() } else { 0 };
        self.fields = vec![Field::default(); asked + 1];
    }

    fn vote(&self, approve: bool) -> RunVote {
        let mut form = Map::new();
        if approve {
            for (asked, field) in self.question.ask.fields.iter().zip(&self.fields) {
                form.insert(asked.name.clone(), asked.kind.typed(&field.text));
            }
        }
        RunVote {
            run: RunRef(self.question.run.to_string()),
            step: self.question.path.clone(),
            approve,
            hash: self.question.ask.hash.clone(),
            form: if form.is_empty() { Value::Null } else { Value::Map(form) },
            comment: self.fields.last().map(|field| field.text.trim().to_owned()).unwrap_or_default(),
        }
    }

    /// What is shown: lead and text of each row, with the tone of the text. The row that is typed into ends in the
    /// cursor.
    #[must_use]
    pub fn rows(&self, width: usize, cursor: &str) -> Vec<(String, String, Tone)> {
        let ask = &self.question.ask;
        let mut rows = vec![(String::new(), display(&ask.who(&self.question.standing)), Tone::Dim)];
        let form = ask.form.as_map().into_iter().flatten();
        let lines: Vec<(String, String, Tone)> = form
            .map(|(name, value)| {
                let text = value.as_str().map_or_else(|| value.to_json(), str::to_owned);
                (format!("{} ", display(name)), display(&text), Tone::Plain)
            })
            .collect();
        let more = lines.len().saturating_sub(FORM_LINES);
        rows.extend(lines.into_iter().take(FORM_LINES));
        if more > 0 {
            rows.push((String::new(), format!("… {more} more: `i` shows the whole"), Tone::Dim));
        }
        rows.push((String::new(), String::new(), Tone::Plain));
        let Some(approve) = self.approve else {
            rows.push(("a ".to_owned(), "approve".to_owned(), Tone::Plain));
            rows.push(("r ".to_owned(), "reject".to_owned(), Tone::Plain));
            return rows;
        };
        let said = if approve { "approve; enter goes on and at the end decides" } else { "reject; enter decides" };
        rows.push((String::new(), said.to_owned(), Tone::Dim));
        for (at, field) in self.fields.iter().enumerate() {
            let lead = match ask.fields.get(at).filter(|_| approve) {
                Some(asked) => {
                    let hint = if asked.kind == FieldKind::Boolean { "yes or no" } else { asked.kind.word() };
                    format!("{} ({hint}) ", display(&asked.name))
                }
                None => "comment ".to_owned(),
            };
            let room = width.saturating_sub(lead.len() + 2);
            let shown = field.shown(room, if at == self.at { cursor } else { "" });
            rows.push((lead, shown, Tone::Title));
        }
        rows
    }
}
