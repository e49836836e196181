//! The terminal: raw mode and its end, frames as one write, suspend, the clipboard.
//!
//! Invariant: whoever took the terminal gives it back on every way out, a panic included; a frame leaves in
//! one piece between synchronized-update marks, and a frame without a difference writes nothing.

use std::io::{self, Write};

use crossterm::cursor::{Hide, Show};
use crossterm::event::{DisableBracketedPaste, EnableBracketedPaste};
use crossterm::queue;
use crossterm::terminal::{
    BeginSynchronizedUpdate, Clear, ClearType, EndSynchronizedUpdate, EnterAlternateScreen, LeaveAlternateScreen,
    disable_raw_mode, enable_raw_mode,
};
use ratatui::backend::{Backend, CrosstermBackend};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

/// Most bytes of the encoded text that terminals take in one go.
const CLIPBOARD_MAX: usize = 70_000;

/// What frames are drawn on.
pub trait Screen {
    /// Takes bytes for the terminal, whole.
    ///
    /// # Errors
    /// If the terminal is gone.
    fn write(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// Gives the terminal back, stops this process, and takes the terminal again once the shell wakes it.
    ///
    /// # Errors
    /// If the terminal cannot be given or taken.
    fn suspend(&mut self) -> io::Result<()>;
    /// Gives the terminal to another program, or takes it again.
    ///
    /// # Errors
    /// If the terminal cannot be given or taken.
    fn lend(&mut self, away: bool) -> io::Result<()>;
    /// Columns and rows.
    fn size(&self) -> (u16, u16);
}

/// The real terminal on standard output.
pub struct Terminal(());

impl Terminal {
    /// Takes the terminal: raw mode, other screen, no cursor.
    ///
    /// # Errors
    /// If standard output is no terminal.
    pub fn take() -> io::Result<Self> {
        static HOOK: std::sync::Once = std::sync::Once::new();
        HOOK.call_once(|| {
            let before = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |info| {
                give_back();
                before(info);
            }));
        });
        let terminal = Self(());
        enter()?;
        Ok(terminal)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        give_back();
    }
}

fn enter() -> io::Result<()> {
    enable_raw_mode()?;
    let mut bytes = Vec::new();
    queue!(bytes, EnterAlternateScreen, EnableBracketedPaste, Hide)?;
    let mut out = io::stdout().lock();
    out.write_all(&bytes)?;
    out.flush()
}

fn give_back() {
    let mut bytes = Vec::new();
    // A terminal that is gone needs nothing back.
    let _ = queue!(bytes, EndSynchronizedUpdate, DisableBracketedPaste, Show, LeaveAlternateScreen);
    let mut out = io::stdout().lock();
    let _ = out.write_all(&bytes).and_then(|()| out.flush());
    let _ = disable_raw_mode();
}

impl Screen for Terminal {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut out = io::BufWriter::with_capacity(bytes.len() + 1, io::stdout().lock());
        out.write_all(bytes)?;
        out.flush()
    }

    fn suspend(&mut self) -> io::Result<()> {
        give_back();
        rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::TSTP)?;
        enter()
    }

    fn lend(&mut self, away: bool) -> io::Result<()> {
        if away {
            give_back();
            return Ok(());
        }
        enter()
    }

    fn size(&self) -> (u16, u16) {
        crossterm::terminal::size().unwrap_or((80, 24))
    }
}

/// What stands on the terminal, so that only differences are written.
pub struct Canvas {
    shown: Buffer,
    ascii: bool,
    clear: bool,
}

impl Canvas {
    /// An empty one; the first frame clears the terminal.
    #[must_use]
    pub fn new(ascii: bool) -> Self {
        Self { shown: Buffer::empty(Rect::ZERO), ascii, clear: true }
    }

    /// The next frame writes everything.
    pub fn forget(&mut self) {
        self.clear = true;
    }

    /// Draws a frame and gives the bytes for the terminal, or nothing if nothing differs.
    ///
    /// # Errors
    /// Never in practice: bytes go to memory.
    pub fn frame(&mut self, size: (u16, u16), draw: impl FnOnce(&mut Buffer, Rect)) -> io::Result<Option<Vec<u8>>> {
        let area = Rect::new(0, 0, size.0, size.1);
        let mut next = Buffer::empty(area);
        draw(&mut next, area);
        if self.ascii {
            for cell in &mut next.content {
                if !cell.symbol().is_ascii() {
                    cell.set_symbol("?");
                }
            }
        }
        let whole = self.clear || self.shown.area != area;
        if whole {
            self.shown = Buffer::empty(area);
        }
        let changes = self.shown.diff(&next);
        if changes.is_empty() && !whole {
            return Ok(None);
        }
        let mut bytes = Vec::with_capacity(16 * 1024);
        queue!(bytes, BeginSynchronizedUpdate)?;
        if whole {
            queue!(bytes, Clear(ClearType::All))?;
        }
        CrosstermBackend::new(&mut bytes).draw(changes.into_iter())?;
        queue!(bytes, EndSynchronizedUpdate)?;
        self.shown = next;
        self.clear = false;
        Ok(Some(bytes))
    }
}

/// The sequence that puts a text on the clipboard (OSC 52); nothing for what is too long or not plain.
#[must_use]
pub fn clipboard(text: &str) -> Option<Vec<u8>> {
    use base64::Engine;
    if text.chars().any(char::is_control) {
        return None;
    }
    let encoded = base64::engine::general_purpose::STANDARD.encode(text);
    (encoded.len() <= CLIPBOARD_MAX).then(|| format!("\u{1b}]52;c;{encoded}\u{7}").into_bytes())
}
