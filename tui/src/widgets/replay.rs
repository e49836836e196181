//! What a replay would do, before it is begun: over the run, with its choices.
//!
//! Invariant: nothing is begun but by `y`, and what `y` begins is what is shown; another choice asks for its preview
//! first.

use aura_protocol::rpc::{Fate, ReplayPreview, RunReplay, VersionOf};
use aura_protocol::run::Point;
use aura_protocol::text::display;
use crossterm::event::{KeyCode, KeyEvent};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use crate::action::{Action, Request};
use crate::cli::run_replay::lines;
use crate::look::Look;
use crate::theme::Tone;

/// A replay that was asked for and not begun.
#[derive(Clone, Debug, PartialEq)]
pub struct Replay {
    /// What was asked.
    pub request: RunReplay,
    /// What it would do.
    pub preview: ReplayPreview,
    top: usize,
}

impl Replay {
    /// With its answer.
    #[must_use]
    pub fn new(request: RunReplay, preview: ReplayPreview) -> Self {
        Self { request, preview, top: 0 }
    }

    /// Takes a key; `Some`: it closes, and this is done.
    pub fn key(&mut self, key: KeyEvent) -> Option<Vec<Action>> {
        let again = |request: RunReplay| Some(vec![Action::Ask(Request::Replay(Box::new(request)))]);
        let request = &self.request;
        match key.code {
            KeyCode::Char('y') => again(RunReplay { preview: false, ..request.clone() }),
            KeyCode::Char('v') => {
                let version = match request.version {
                    VersionOf::Run => VersionOf::Published,
                    _ => VersionOf::Run,
                };
                again(RunReplay { version, ..request.clone() })
            }
            KeyCode::Char('d') => again(RunReplay { version: VersionOf::Draft, ..request.clone() }),
            KeyCode::Char('u') => again(RunReplay { reuse_keys: !request.reuse_keys, ..request.clone() }),
            KeyCode::Char('s') if request.point != Point::Start => {
                again(RunReplay { point: Point::Start, ..request.clone() })
            }
            KeyCode::Down | KeyCode::Char('j') => {
                self.top = (self.top + 1).min(self.preview.calls.len());
                None
            }
            KeyCode::Up | KeyCode::Char('k') => {
                self.top = self.top.saturating_sub(1);
                None
            }
            KeyCode::Char('n' | 'q') => Some(Vec::new()),
            _ => None,
        }
    }

    /// How high it wants to be.
    #[must_use]
    pub fn height(&self) -> u16 {
        u16::try_from(self.preview.calls.len()).unwrap_or(u16::MAX).saturating_add(9)
    }

    /// The title of its box.
    #[must_use]
    pub fn title(&self) -> String {
        display(&format!("run again from {}", self.preview.point))
    }

    /// Draws into its box.
    pub fn draw(&self, look: &Look, buf: &mut Buffer, area: Rect) {
        let all = lines(&self.preview);
        // The title says the first one.
        let (head, calls) = all.split_at(3.min(all.len()));
        for (y, line) in (0..).zip(head.iter().skip(1)) {
            look.put(buf, area, 1, y, line, Tone::Plain);
        }
        let list = Rect { y: area.y + 3, height: area.height.saturating_sub(6), ..area };
        let most = calls.len().saturating_sub(usize::from(list.height));
        for (y, (at, line)) in (0..list.height).zip(calls.iter().enumerate().skip(self.top.min(most))) {
            let tone = match self.preview.calls.get(at).map(|call| call.fate) {
                Some(Fate::NewKey) => Tone::Warn,
                Some(Fate::Copied) => Tone::Dim,
                _ => Tone::Plain,
            };
            look.put(buf, list, 1, y, line, tone);
        }
        let foot = Rect { y: area.y + area.height.saturating_sub(2), height: 2.min(area.height), ..area };
        let keys = if self.request.reuse_keys { " new keys   " } else { " keep keys   " };
        let version = if self.request.version == VersionOf::Run { " published version   " } else { " its version   " };
        look.pieces(
            buf,
            foot,
            0,
            &[
                (" y", Tone::Key),
                (" begin   ", Tone::Plain),
                ("v", Tone::Key),
                (version, Tone::Plain),
                ("d", Tone::Key),
                (" draft", Tone::Plain),
            ],
        );
        let second = Rect { y: foot.y + 1, height: foot.height.saturating_sub(1), ..foot };
        look.pieces(
            buf,
            second,
            0,
            &[
                (" u", Tone::Key),
                (keys, Tone::Plain),
                ("s", Tone::Key),
                (" from the start   ", Tone::Plain),
                ("esc", Tone::Key),
                (" do nothing", Tone::Plain),
            ],
        );
    }
}
