//! Asks for a value on the terminal; a secret is typed without echo and never shown again.
//!
//! Invariant: raw mode ends on every way out of [`ask`].

use std::io::Write;

use aura_protocol::{Code, WireError};
use crossterm::event::{Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers, read};

struct Raw;

impl Raw {
    fn enter() -> std::io::Result<Self> {
        crossterm::terminal::enable_raw_mode()?;
        crossterm::execute!(std::io::stderr(), crossterm::event::EnableBracketedPaste)?;
        Ok(Self)
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        let _ = crossterm::execute!(std::io::stderr(), crossterm::event::DisableBracketedPaste);
        let _ = crossterm::terminal::disable_raw_mode();
        let _ = writeln!(std::io::stderr());
    }
}

/// One line typed by a person.
///
/// # Errors
/// `Invalid` if it was broken off, `Internal` if there is no terminal to ask.
pub fn ask(label: &str, secret: bool) -> Result<String, WireError> {
    let failed = |error: std::io::Error| WireError::internal(format!("the terminal cannot be asked: {error}"));
    let mut err = std::io::stderr();
    write!(err, "{label}: ").and_then(|()| err.flush()).map_err(failed)?;
    let raw = Raw::enter().map_err(failed)?;
    let mut value = String::new();
    loop {
        let before = value.chars().count();
        match read().map_err(failed)? {
            Event::Paste(text) => value.extend(text.chars().filter(|c| !c.is_control())),
            Event::Key(key) if key.kind != KeyEventKind::Release => match typed(&mut value, key) {
                Some(true) => break,
                Some(false) => {
                    return Err(WireError::new(Code::Invalid, "broken off; nothing was changed"));
                }
                None => {}
            },
            _ => {}
        }
        if value.len() > 64 * 1024 {
            return Err(WireError::new(Code::Invalid, "the value is longer than 64 KiB; give it as field=@file"));
        }
        if !secret {
            let shown: String = value.chars().skip(before).collect();
            let back = before.saturating_sub(value.chars().count());
            write!(err, "{shown}{}", "\u{8} \u{8}".repeat(back)).and_then(|()| err.flush()).map_err(failed)?;
        }
    }
    drop(raw);
    Ok(value)
}

/// Applies a key; `Some(true)`: done, `Some(false)`: broken off.
fn typed(value: &mut String, key: KeyEvent) -> Option<bool> {
    let control = key.modifiers.contains(KeyModifiers::CONTROL);
    match key.code {
        KeyCode::Enter => return Some(true),
        KeyCode::Esc => return Some(false),
        KeyCode::Char('c' | 'd') if control => return Some(false),
        KeyCode::Char('u') if control => value.clear(),
        KeyCode::Backspace => drop(value.pop()),
        KeyCode::Char(c) if !control => value.push(c),
        _ => {}
    }
    None
}
