//! What lies over a screen and takes its keys: help, go-to, a question, the way out of doubt.
//!
//! Invariant: `esc` always closes an overlay without doing anything.

use aura_protocol::Value;
use aura_protocol::ids::RunId;
use aura_protocol::run::Resolution;
use aura_protocol::text::display;
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::widgets::{Clear, Widget};

use super::field::Field;
use crate::action::{Action, Place, Request};
use crate::keymap::{self, Context};
use crate::look::Look;
use crate::store::Store;
use crate::theme::Tone;

/// Rows that go-to offers.
const OFFERS_MAX: usize = 12;

/// An overlay.
#[derive(Clone, Debug, PartialEq)]
pub enum Overlay {
    /// The keys of the screen below, searched by typing.
    Help(Context, Field, usize),
    /// Go to a screen or a run.
    Palette(Field, usize),
    /// A question that only `y` answers with yes.
    Confirm(String, Vec<Action>),
    /// Three ways out of doubt; the field holds the output of `it happened`.
    Resolve(RunId, String, Option<Field>, String),
}

/// What a key did to an overlay.
#[derive(Clone, Debug, PartialEq)]
pub enum Then {
    /// It stays.
    Stay,
    /// It closes; do this.
    Close(Vec<Action>),
}

impl Overlay {
    /// Pasted text goes into the field, if there is one.
    pub fn paste(&mut self, text: &str) {
        match self {
            Self::Help(_, field, _) | Self::Palette(field, _) | Self::Resolve(_, _, Some(field), _) => {
                field.paste(text);
            }
            _ => {}
        }
    }

    /// Takes a key.
    pub fn key(&mut self, key: KeyEvent, store: &Store) -> Then {
        let close = || Then::Close(Vec::new());
        let stop = key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
        if key.code == KeyCode::Esc {
            return close();
        }
        match self {
            Self::Help(_, field, top) => {
                match key.code {
                    KeyCode::Down | KeyCode::PageDown => *top = top.saturating_add(1),
                    KeyCode::Up | KeyCode::PageUp => *top = top.saturating_sub(1),
                    KeyCode::Enter => return close(),
                    KeyCode::Char('?') if field.text.is_empty() => return close(),
                    _ if stop && field.text.is_empty() => return close(),
                    _ if stop => field.text.clear(),
                    _ => {
                        if field.key(key) {
                            *top = 0;
                        }
                    }
                }
                Then::Stay
            }
            Self::Palette(field, chosen) => {
                match key.code {
                    KeyCode::Down => *chosen = (*chosen + 1).min(OFFERS_MAX - 1),
                    KeyCode::Up => *chosen = chosen.saturating_sub(1),
                    KeyCode::Enter => {
                        let offer = offers(&field.text, store).into_iter().nth(*chosen);
                        return Then::Close(offer.map(|offer| offer.1).into_iter().collect());
                    }
                    _ if stop && field.text.is_empty() => return close(),
                    _ if stop => field.text.clear(),
                    _ => {
                        if field.key(key) {
                            *chosen = 0;
                        }
                    }
                }
                Then::Stay
            }
            Self::Confirm(_, actions) => match key.code {
                KeyCode::Char('y') => Then::Close(std::mem::take(actions)),
                _ => close(),
            },
            Self::Resolve(run, step, output, problem) => {
                let decide =
                    |resolution| Then::Close(vec![Action::Ask(Request::Resolve(*run, step.clone(), resolution))]);
                match output {
                    None => match key.code {
                        KeyCode::Char('d') => {
                            *output = Some(Field::default());
                            Then::Stay
                        }
                        KeyCode::Char('r') => decide(Resolution::Retry),
                        KeyCode::Char('f') => decide(Resolution::Fail),
                        _ if stop => close(),
                        _ => Then::Stay,
                    },
                    Some(field) => {
                        if key.code == KeyCode::Enter {
                            let text = field.text.trim();
                            let value =
                                if text.is_empty() { Ok(Value::Null) } else { Value::from_json(text.as_bytes()) };
                            match value {
                                Ok(value) => return decide(Resolution::Done(value)),
                                Err(error) => *problem = display(&error.to_string()),
                            }
                        } else if stop && field.text.is_empty() {
                            return close();
                        } else if stop {
                            field.text.clear();
                        } else if field.key(key) {
                            problem.clear();
                        }
                        Then::Stay
                    }
                }
            }
        }
    }

    /// Draws the overlay over an area.
    pub fn draw(&self, look: &Look, store: &Store, buf: &mut Buffer, area: Rect) {
        match self {
            Self::Help(context, field, top) => {
                let rows = keymap::help(*context, &field.text);
                let high = u16::try_from(rows.len()).unwrap_or(u16::MAX).saturating_add(3).max(5);
                let title = format!("keys: {}", context.title());
                let inside = boxed(look, buf, area, &title, 76, high);
                search(look, buf, inside, field, "type to search");
                let list = below(inside, 1);
                let most = rows.len().saturating_sub(usize::from(list.height));
                for (y, bind) in (0..list.height).zip(rows.iter().skip((*top).min(most))) {
                    look.put(buf, list, 1, y, bind.keys, Tone::Key);
                    look.put(buf, list, 17, y, bind.help, Tone::Plain);
                }
                if rows.is_empty() {
                    look.put(buf, list, 1, 0, "no key for that", Tone::Dim);
                }
            }
            Self::Palette(field, chosen) => {
                let rows = offers(&field.text, store);
                let inside = boxed(look, buf, area, "go to", 76, u16::try_from(OFFERS_MAX).unwrap_or(12) + 3);
                search(look, buf, inside, field, "a screen, a flow, or the start or end of a run's id");
                let list = below(inside, 1);
                for (y, (words, _)) in (0..list.height).zip(&rows) {
                    look.put(buf, list, 1, y, words, Tone::Plain);
                    if usize::from(y) == (*chosen).min(rows.len().saturating_sub(1)) {
                        look.select(buf, list, y);
                    }
                }
            }
            Self::Confirm(question, _) => {
                let inside = boxed(look, buf, area, "sure?", 60, 5);
                look.put(buf, inside, 1, 0, question, Tone::Plain);
                look.pieces(
                    buf,
                    below(inside, 2),
                    0,
                    &[(" y", Tone::Key), (" yes   ", Tone::Plain), ("n", Tone::Key), (" no", Tone::Plain)],
                );
            }
            Self::Resolve(run, step, output, problem) => {
                let inside = boxed(look, buf, area, &format!("in doubt: {} of {}", display(step), run.short()), 70, 9);
                let lines = [
                    ("", "Nobody knows whether this call happened. Look at the other side, then:"),
                    ("", ""),
                    ("d", "it happened: go on, with this output"),
                    ("r", "send it again with the same key"),
                    ("f", "it failed: handlers take over"),
                ];
                for (y, (key, text)) in (0..).zip(lines) {
                    look.put(buf, inside, 1, y, key, Tone::Key);
                    look.put(buf, inside, if key.is_empty() { 1 } else { 4 }, y, text, Tone::Plain);
                }
                if let Some(field) = output {
                    let row = below(inside, 5);
                    let used = look.put(buf, row, 1, 0, "output as JSON (empty: null) ", Tone::Dim);
                    let shown = field.shown(usize::from(row.width.saturating_sub(used + 2)), cursor(look));
                    look.put(buf, row, used + 1, 0, &shown, Tone::Title);
                    look.put(buf, row, 1, 1, problem, Tone::Bad);
                }
            }
        }
    }
}

/// What stands for the text cursor.
#[must_use]
pub fn cursor(look: &Look) -> &'static str {
    if look.glyphs.ascii { "_" } else { "▏" }
}

fn search(look: &Look, buf: &mut Buffer, inside: Rect, field: &Field, hint: &str) {
    let used = look.put(buf, inside, 1, 0, "> ", Tone::Key);
    if field.text.is_empty() {
        let used = used + look.put(buf, inside, used + 1, 0, cursor(look), Tone::Plain);
        look.put(buf, inside, used + 1, 0, hint, Tone::Dim);
    } else {
        let shown = field.shown(usize::from(inside.width.saturating_sub(4)), cursor(look));
        look.put(buf, inside, used + 1, 0, &shown, Tone::Plain);
    }
}

fn boxed(look: &Look, buf: &mut Buffer, area: Rect, title: &str, wide: u16, high: u16) -> Rect {
    let (width, height) = (wide.min(area.width), high.min(area.height));
    let place = Rect { x: area.x + (area.width - width) / 2, y: area.y + (area.height - height) / 3, width, height };
    Clear.render(place, buf);
    look.frame(buf, place, title, true)
}

fn below(area: Rect, rows: u16) -> Rect {
    let rows = rows.min(area.height);
    Rect { y: area.y + rows, height: area.height - rows, ..area }
}

/// What go-to offers for a text, best first.
fn offers(text: &str, store: &Store) -> Vec<(String, Action)> {
    let wanted = text.trim().to_lowercase();
    let mut rows: Vec<(String, Action)> = Vec::new();
    let screens = [("runs", Action::Go(Place::Runs)), ("quit", Action::Quit), ("redraw", Action::Redraw)];
    // `:q` leaves, as in editors.
    if wanted == "q" {
        rows.push(("quit".to_owned(), Action::Quit));
    }
    for (name, action) in screens {
        if fuzzy(name, &wanted) && !rows.iter().any(|(known, _)| known == name) {
            rows.push((name.to_owned(), action));
        }
    }
    let words: Vec<&str> = wanted.split_whitespace().collect();
    for head in store.runs.values().rev() {
        if rows.len() >= OFFERS_MAX {
            break;
        }
        let line = format!("{}  {}  {}", head.run, display(&head.flow), head.state.word());
        let lower = line.to_lowercase();
        if words.iter().all(|word| lower.contains(word)) {
            rows.push((line, Action::Go(Place::Run(head.run))));
        }
    }
    if rows.is_empty() && wanted.len() >= 4 {
        rows.push((
            format!("look for run {}", display(text.trim())),
            Action::Ask(Request::Find(text.trim().to_owned())),
        ));
    }
    rows
}

/// The letters of `wanted` occur in `name` in their order.
fn fuzzy(name: &str, wanted: &str) -> bool {
    let mut letters = name.chars();
    wanted.chars().all(|wanted| letters.any(|letter| letter == wanted))
}
