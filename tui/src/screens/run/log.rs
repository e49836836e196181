//! The log pane: the journal as lines. It follows the end until the reader scrolls.
//!
//! Invariant: new lines never move what a reader is reading.

use aura_protocol::run::{Record, Transition};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::RunScreen;
use crate::journal::{self, Level};
use crate::look::Look;
use crate::theme::Tone;
use crate::times;

/// How many lines a journal has.
#[must_use]
pub fn count(journal: &[Transition]) -> usize {
    journal.iter().map(|transition| transition.records.len()).sum()
}

impl RunScreen {
    /// Draws the log.
    pub(super) fn draw_log(&mut self, look: &Look, journal: &[Transition], buf: &mut Buffer, area: Rect) {
        let page = usize::from(area.height);
        self.pages[2] = page;
        self.log_lines = count(journal);
        let last = self.log_lines.saturating_sub(page);
        let top = self.log_top.unwrap_or(last).min(last);
        let records =
            journal.iter().flat_map(|transition| transition.records.iter().map(|record| (transition.at_ms, record)));
        for (y, (at_ms, record)) in (0..area.height).zip(records.skip(top)) {
            draw_line(look, at_ms, record, buf, Rect { y: area.y + y, height: 1, ..area });
        }
    }

    /// `follow: on` or why not, for the title.
    pub(super) fn log_title(&self) -> String {
        let follow = if self.log_top.is_none() { "follow: on" } else { "follow: off" };
        format!("log  {} lines  {follow}", self.log_lines)
    }
}

fn draw_line(look: &Look, at_ms: i64, record: &Record, buf: &mut Buffer, area: Rect) {
    let (level, text) = journal::line(record, at_ms);
    let tone = match level {
        Level::Info => Tone::Plain,
        Level::Warn => Tone::Warn,
        Level::Error => Tone::Bad,
    };
    let at = times::clock(at_ms, &look.zone);
    look.pieces(
        buf,
        area,
        0,
        &[
            (" ", Tone::Plain),
            (&at, Tone::Dim),
            (" ", Tone::Plain),
            (level.word(), tone),
            (" ", Tone::Plain),
            (&text, tone),
        ],
    );
}
