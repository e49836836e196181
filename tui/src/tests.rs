//! Tests of the screens as a whole: frames, keys, budgets, foreign text, the link.
//!
//! Invariant: they drive the same loop and link as a terminal does; only the terminal and the daemon are ours.

mod budget;
mod foreign;
mod frames;
mod keys;
mod link;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use crate::action::Request;
use crate::app::{App, Todo};
use crate::event::Event;
use crate::fixture;
use crate::store::Store;
use crate::theme::Theme;

/// An app on the list of runs with a store.
fn app(store: Store) -> App {
    let mut app = App::new(fixture::look(Theme::Sixteen));
    app.store = store;
    app
}

/// A key as people write it.
fn key(name: &str) -> KeyEvent {
    let code = match name {
        "enter" => KeyCode::Enter,
        "esc" => KeyCode::Esc,
        "space" => KeyCode::Char(' '),
        "tab" => KeyCode::Tab,
        "down" => KeyCode::Down,
        "up" => KeyCode::Up,
        "backspace" => KeyCode::Backspace,
        _ => {
            if let Some(letter) = name.strip_prefix("ctrl-") {
                return KeyEvent::new(KeyCode::Char(letter.chars().next().unwrap()), KeyModifiers::CONTROL);
            }
            assert_eq!(name.chars().count(), 1, "no key `{name}`");
            KeyCode::Char(name.chars().next().unwrap())
        }
    };
    KeyEvent::new(code, KeyModifiers::NONE)
}

/// Presses keys between blanks; what is left to do for the loop.
fn press(app: &mut App, keys: &str) -> Vec<Todo> {
    keys.split_whitespace().flat_map(|name| app.handle(Event::Key(key(name)))).collect()
}

/// Types letters one by one.
fn write(app: &mut App, text: &str) {
    for letter in text.chars() {
        app.handle(Event::Key(KeyEvent::new(KeyCode::Char(letter), KeyModifiers::NONE)));
    }
}

fn buffer(app: &mut App, width: u16, height: u16) -> Buffer {
    let area = Rect::new(0, 0, width, height);
    let mut buffer = Buffer::empty(area);
    app.draw(&mut buffer, area);
    buffer
}

/// A frame as text.
fn text(app: &mut App, width: u16, height: u16) -> String {
    let buffer = buffer(app, width, height);
    let mut out = String::new();
    for y in 0..height {
        let mut line = String::new();
        let mut skip = 0;
        for x in 0..width {
            let symbol = buffer[(x, y)].symbol();
            if skip > 0 {
                skip -= 1;
                continue;
            }
            line.push_str(symbol);
            skip = unicode_width::UnicodeWidthStr::width(symbol).saturating_sub(1);
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

/// What is asked of the daemon.
fn asked(todos: Vec<Todo>) -> Vec<Request> {
    todos
        .into_iter()
        .filter_map(|todo| match todo {
            Todo::Ask(request) => Some(request),
            _ => None,
        })
        .collect()
}
