//! What lies over a screen and takes its keys: help, palette, a question, a line to type, what a command said.
//!
//! Invariant: `esc` always closes an overlay without doing anything.

use aura_protocol::Value;
use aura_protocol::ids::RunId;
use aura_protocol::run::Resolution;
use aura_protocol::text::{display, display_lines};
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::widgets::{Clear, Widget};
use unicode_width::UnicodeWidthStr;

use super::field::Field;
use super::palette::{Around, OFFERS_MAX, offers};
use super::part::PartDialog;
use super::replay::Replay;
use super::vote::{VoteDialog, Voted, WIDTH};
use crate::action::{Action, Request};
use crate::commands::Finished;
use crate::look::Look;
use crate::screens::flows::start;
use crate::theme::Tone;

/// Rows of the palette.
const PALETTE_ROWS: u16 = 14;
/// Most lines of a command's output that are kept.
const OUTPUT_LINES: usize = 5_000;

/// An overlay.
#[derive(Clone, Debug, PartialEq)]
pub enum Overlay {
    /// The keys of the screen below, searched by typing.
    Help(Field, usize),
    /// Everything: screens, what can be done here, commands, flows, runs.
    Palette(Field, usize),
    /// A question that only `y` answers with yes.
    Confirm(String, Vec<Action>),
    /// Three ways out of doubt; the field holds the output of `it happened`.
    Resolve(RunId, String, Option<Field>, String),
    /// What a step asks people.
    Vote(Box<VoteDialog>),
    /// The input of a run by hand: flow, JSON, what is wrong with it.
    Start(String, Field, String),
    /// Which part of a flow is simulated.
    Part(Box<PartDialog>),
    /// A replay, before it is begun.
    Replay(Box<Replay>),
    /// A command line: what was typed, what may follow, what is wrong with it.
    Line(Field, String, String),
    /// What a command said: title, lines, first line shown.
    Output(String, Vec<String>, usize),
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
    /// What a command said.
    #[must_use]
    pub fn output(finished: &Finished) -> Self {
        let code = match finished.code {
            Some(0) => "done".to_owned(),
            Some(code) => format!("exit code {code}"),
            None => "stopped".to_owned(),
        };
        let mut lines: Vec<String> =
            display_lines(&finished.output).lines().take(OUTPUT_LINES).map(str::to_owned).collect();
        if lines.is_empty() {
            lines.push("(it said nothing)".to_owned());
        }
        Self::Output(display(&format!("aura {}  {code}", finished.line)), lines, 0)
    }

    /// Pasted text goes into the field, if there is one.
    pub fn paste(&mut self, text: &str) {
        match self {
            Self::Help(field, _)
            | Self::Palette(field, _)
            | Self::Resolve(_, _, Some(field), _)
            | Self::Start(_, field, _)
            | Self::Line(field, ..) => {
                field.paste(text);
            }
            Self::Vote(dialog) => {
                if let Some(field) = dialog.field() {
                    field.paste(text);
                }
            }
            _ => {}
        }
    }

    /// Takes a key.
    pub fn key(&mut self, key: KeyEvent, around: &Around<'_>) -> Then {
        let close = || Then::Close(Vec::new());
        let stop = key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
        if key.code == KeyCode::Esc {
            return close();
        }
        match self {
            Self::Help(field, top) => {
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
                        let offer = offers(&field.text, around).into_iter().nth(*chosen);
                        return Then::Close(offer.map(|offer| offer.action).into_iter().collect());
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
            Self::Start(flow, field, problem) => {
                match key.code {
                    KeyCode::Enter => match start(flow, &field.text) {
                        Ok(request) => return Then::Close(vec![Action::Ask(request)]),
                        Err(error) => *problem = error,
                    },
                    _ if stop && field.text.is_empty() => return close(),
                    _ if stop => field.text.clear(),
                    _ => {
                        if field.key(key) {
                            problem.clear();
                        }
                    }
                }
                Then::Stay
            }
            Self::Part(dialog) => match dialog.key(key) {
                Some(actions) => Then::Close(actions),
                None if stop => close(),
                None => Then::Stay,
            },
            Self::Replay(replay) => match replay.key(key) {
                Some(actions) => Then::Close(actions),
                None if stop => close(),
                None => Then::Stay,
            },
            Self::Line(field, _, problem) => {
                match key.code {
                    KeyCode::Enter => match crate::words::split(&field.text) {
                        Ok(words) if words.is_empty() => return close(),
                        Ok(words) => return Then::Close(vec![Action::Run(words)]),
                        Err(error) => *problem = error,
                    },
                    _ if stop && field.text.is_empty() => return close(),
                    _ if stop => field.text.clear(),
                    _ => {
                        if field.key(key) {
                            problem.clear();
                        }
                    }
                }
                Then::Stay
            }
            Self::Output(_, lines, top) => {
                let last = lines.len().saturating_sub(1);
                *top = match key.code {
                    KeyCode::Char('j') | KeyCode::Down => (*top + 1).min(last),
                    KeyCode::Char('k') | KeyCode::Up => top.saturating_sub(1),
                    KeyCode::PageDown | KeyCode::Char(' ') => (*top + 10).min(last),
                    KeyCode::PageUp => top.saturating_sub(10),
                    KeyCode::Home | KeyCode::Char('g') => 0,
                    KeyCode::End | KeyCode::Char('G') => last,
                    _ => return close(),
                };
                Then::Stay
            }
            Self::Vote(dialog) => match dialog.key(key) {
                Voted::Stay => Then::Stay,
                Voted::Close(actions) => Then::Close(actions),
            },
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
    pub fn draw(&self, look: &Look, around: &Around<'_>, buf: &mut Buffer, area: Rect) {
        match self {
            Self::Help(field, top) => {
                let context = around.context;
                let rows = around.keys.help(context, &field.text);
                let high = u16::try_from(rows.len()).unwrap_or(u16::MAX).saturating_add(3).max(5);
                let title = format!("keys: {}", context.title());
                let inside = boxed(look, buf, area, &title, 76, high);
                search(look, buf, inside, field, "type to search");
                let list = below(inside, 1);
                let most = rows.len().saturating_sub(usize::from(list.height));
                for (y, bind) in (0..list.height).zip(rows.iter().skip((*top).min(most))) {
                    look.put(buf, list, 1, y, &bind.keys, Tone::Key);
                    look.put(buf, list, 17, y, bind.help, Tone::Plain);
                }
                if rows.is_empty() {
                    look.put(buf, list, 1, 0, "no key for that", Tone::Dim);
                }
            }
            Self::Palette(field, chosen) => {
                let rows = offers(&field.text, around);
                let inside = boxed(look, buf, area, "everything", 100, PALETTE_ROWS + 3);
                search(look, buf, inside, field, "what to do, a screen, a command, a flow, a run's id");
                let list = below(inside, 1);
                let chosen = (*chosen).min(rows.len().saturating_sub(1));
                let first = (chosen + 1).saturating_sub(usize::from(list.height));
                for (y, (at, offer)) in (0..list.height).zip(rows.iter().enumerate().skip(first)) {
                    let side = look.fit(&offer.side, 10);
                    let room = usize::from(list.width).saturating_sub(13);
                    look.put(buf, list, 1, y, &look.fit(&offer.text, room), Tone::Plain);
                    let wide = u16::try_from(unicode_width::UnicodeWidthStr::width(side.as_str())).unwrap_or(0);
                    look.put(buf, list, list.width.saturating_sub(wide + 1), y, &side, Tone::Key);
                    if at == chosen {
                        look.select(buf, list, y);
                    }
                }
                if rows.is_empty() {
                    look.put(buf, list, 1, 0, "nothing fits", Tone::Dim);
                }
            }
            Self::Start(flow, field, problem) => {
                let inside = boxed(look, buf, area, &format!("start a run of {}", display(flow)), 76, 7);
                look.put(buf, inside, 1, 0, "input as JSON (empty: null), enter starts it, esc does not", Tone::Plain);
                typed(look, buf, below(inside, 2), "> ", field);
                look.put(buf, below(inside, 3), 1, 0, &display(problem), Tone::Bad);
            }
            Self::Part(dialog) => {
                let high = dialog.height().min(area.height.saturating_sub(2));
                let inside = boxed(look, buf, area, &dialog.title(), 76, high);
                dialog.draw(look, buf, inside);
            }
            Self::Replay(replay) => {
                let high = replay.height().min(area.height.saturating_sub(2));
                let inside = boxed(look, buf, area, &replay.title(), area.width.saturating_sub(4).min(120), high);
                replay.draw(look, buf, inside);
            }
            Self::Line(field, usage, problem) => {
                let inside = boxed(look, buf, area, "command", 90, 7);
                look.put(buf, inside, 1, 0, &display(usage), Tone::Dim);
                typed(look, buf, below(inside, 2), "aura ", field);
                look.put(buf, below(inside, 3), 1, 0, &display(problem), Tone::Bad);
            }
            Self::Output(title, lines, top) => {
                let wide = usize::from(area.width.saturating_sub(8)).max(1);
                let rows: usize = lines.iter().map(|line| line.width().div_ceil(wide).max(1)).sum();
                let high = u16::try_from(rows).unwrap_or(u16::MAX).saturating_add(4);
                let inside = boxed(
                    look,
                    buf,
                    area,
                    title,
                    area.width.saturating_sub(4),
                    high.min(area.height.saturating_sub(2)),
                );
                let list = Rect { height: inside.height.saturating_sub(1), ..inside };
                let wide = usize::from(list.width.saturating_sub(2)).max(1);
                let lines: Vec<String> = lines.iter().flat_map(|line| crate::look::wrapped(line, wide)).collect();
                let most = lines.len().saturating_sub(usize::from(list.height));
                for (y, line) in (0..list.height).zip(lines.iter().skip((*top).min(most))) {
                    look.put(buf, list, 1, y, line, Tone::Plain);
                }
                look.put(buf, below(inside, list.height), 1, 0, "j k space move, any other key closes", Tone::Dim);
            }
            Self::Confirm(question, _) => {
                // What there is to know stands below the answer, so that the answer is seen on a small screen too.
                let (question, more) = question.split_once('\n').unwrap_or((question, ""));
                let rows = u16::try_from(more.lines().count()).unwrap_or(u16::MAX);
                let high = if rows == 0 { 5 } else { rows.saturating_add(6) };
                let inside = boxed(look, buf, area, "sure?", 76, high.min(area.height));
                look.put(buf, inside, 1, 0, question, Tone::Plain);
                for (y, line) in (4..inside.height).zip(more.lines()) {
                    look.put(buf, inside, 1, y, line, Tone::Dim);
                }
                look.pieces(
                    buf,
                    below(inside, 2),
                    0,
                    &[(" y", Tone::Key), (" yes   ", Tone::Plain), ("n", Tone::Key), (" no", Tone::Plain)],
                );
            }
            Self::Vote(dialog) => {
                let rows = dialog.rows(WIDTH, cursor(look));
                let high = u16::try_from(rows.len()).unwrap_or(u16::MAX).saturating_add(3);
                let inside = boxed(look, buf, area, &dialog.title(), 76, high);
                let most = rows.len().saturating_sub(usize::from(inside.height));
                for (y, (lead, text, tone)) in (0..inside.height).zip(rows.iter().skip(dialog.top().min(most))) {
                    let used = look.put(buf, inside, 1, y, lead, Tone::Key);
                    look.put(buf, inside, used + 1, y, text, *tone);
                }
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

fn typed(look: &Look, buf: &mut Buffer, row: Rect, lead: &str, field: &Field) {
    let used = look.put(buf, row, 1, 0, lead, Tone::Key);
    let shown = field.shown(usize::from(row.width.saturating_sub(used + 2)), cursor(look));
    look.put(buf, row, used + 1, 0, &shown, Tone::Title);
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
