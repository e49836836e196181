//! How one run is laid out: one pane, two or three, by size and zoom.
//!
//! Invariant: the layout is a pure function of size, zoom and the pane in front.

use aura_protocol::text::display;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::payload::{self, Payload};
use super::{Pane, RunScreen};
use crate::look::{Look, run_tone};
use crate::store::Store;
use crate::theme::Tone;
use crate::{journal, times};

/// From this width on two panes stand side by side.
const TWO_WIDE: u16 = 96;
/// From this height on two panes stand one above the other.
const TWO_HIGH: u16 = 16;

impl RunScreen {
    /// Draws the run: a line about it, then its panes.
    pub fn draw(&mut self, look: &Look, store: &Store, buf: &mut Buffer, area: Rect) {
        let Some(detail) = store.detail.as_ref().filter(|detail| Some(detail.head.run) == self.run) else {
            let inside = look.frame(buf, area, "run", true);
            look.put(buf, inside, 1, 0, "waiting for the daemon's answer", Tone::Dim);
            return;
        };
        if !self.moved {
            self.selected = super::steps::current(detail);
        }
        let top = Rect { height: 1, ..area };
        let head = &detail.head;
        let took =
            head.finished_ms.map_or(String::new(), |end| format!("  took {}", times::took(end - head.created_ms)));
        let version: String = head.version.chars().take(8).collect();
        let name = display(&format!(" {}  {version}  ", head.flow));
        let state = format!("{} {}", look.glyphs.run(head.state), head.state.word());
        let began = format!("  began {}{took}", times::moment(head.created_ms, store.now_ms, &look.zone));
        look.pieces(buf, top, 0, &[(&name, Tone::Plain), (&state, run_tone(head.state)), (&began, Tone::Plain)]);
        let why = head.error.as_ref().map(|error| (journal::sentence(error), Tone::Bad));
        let why =
            why.or_else(|| head.blocked_by.as_ref().map(|blocked| (display(&blocked.reason), run_tone(head.state))));
        let (text, tone) = why.unwrap_or((String::new(), Tone::Plain));
        let last = Rect { y: area.y + area.height.saturating_sub(1), height: 1, ..area };
        look.put(buf, last, 1, 0, &text, tone);
        let body = Rect { y: area.y + 1, height: area.height.saturating_sub(2), ..area };
        for (pane, place) in self.layout(body) {
            self.pane(look, store, buf, place, pane);
        }
    }

    fn layout(&self, area: Rect) -> Vec<(Pane, Rect)> {
        if self.zoom || (area.width < TWO_WIDE && area.height < TWO_HIGH) {
            return vec![(self.pane, area)];
        }
        let cut = |area: Rect, rows: u16| {
            let rows = rows.min(area.height);
            let low = Rect { y: area.y + rows, height: area.height - rows, ..area };
            (Rect { height: rows, ..area }, low)
        };
        if area.width < TWO_WIDE {
            let below = if self.pane == Pane::Steps { Pane::Payload } else { self.pane };
            let (upper, lower) = cut(area, area.height * 9 / 20);
            return vec![(Pane::Steps, upper), (below, lower)];
        }
        let beside = |area: Rect, width: u16| {
            let right = Rect { x: area.x + width, width: area.width - width, ..area };
            (Rect { width, ..area }, right)
        };
        if area.height < TWO_HIGH {
            let right_pane = if self.pane == Pane::Steps { Pane::Payload } else { self.pane };
            let (left, right) = beside(area, area.width * 11 / 20);
            return vec![(Pane::Steps, left), (right_pane, right)];
        }
        let (upper, log) = cut(area, area.height * 13 / 20);
        let (left, right) = beside(upper, area.width * 11 / 20);
        vec![(Pane::Steps, left), (Pane::Payload, right), (Pane::Log, log)]
    }

    fn pane(&mut self, look: &Look, store: &Store, buf: &mut Buffer, area: Rect, pane: Pane) {
        let Some(detail) = &store.detail else { return };
        let focus = pane == self.pane;
        match pane {
            Pane::Steps => {
                let head = &detail.head;
                let inside = look.frame(buf, area, &format!("steps  {}/{}", head.steps_done, head.steps_all), focus);
                self.draw_steps(look, detail, store.now_ms, buf, inside);
            }
            Pane::Log => {
                self.log_lines = super::log::count(&detail.journal);
                let inside = look.frame(buf, area, &self.log_title(), focus);
                self.draw_log(look, &detail.journal, buf, inside);
            }
            Pane::Payload => self.draw_payload(look, store, buf, area, focus),
        }
    }

    fn draw_payload(&mut self, look: &Look, store: &Store, buf: &mut Buffer, area: Rect, focus: bool) {
        let Some(detail) = &store.detail else { return };
        let of = if self.selected.is_empty() { "the run".to_owned() } else { display(&self.selected) };
        let inner_wide = usize::from(area.width.saturating_sub(3));
        let (title, text) = match payload::of(detail, &self.selected, self.part, self.window_at) {
            Payload::Text(part, text) => {
                let size = times::bytes(u64::try_from(text.len()).unwrap_or(0));
                (format!("{} of {of}  {size}", part.word()), Ok(text))
            }
            Payload::Nothing(part, why) => (format!("{} of {of}", part.word()), Err(why)),
            Payload::Window(query) => match store.window.as_ref().filter(|window| window.query == query) {
                Some(window) => {
                    let end = query.offset + u64::try_from(window.text.len()).unwrap_or(0);
                    let place = if end < window.total || query.offset > 0 {
                        format!("bytes {}-{end} of {} ([ ])", query.offset, window.total)
                    } else {
                        times::bytes(window.total)
                    };
                    (format!("{} of {of}  {place}", query.part), Ok(window.text.clone()))
                }
                None => (format!("{} of {of}", query.part), Err("waiting for the daemon's answer")),
            },
        };
        let fold = if self.fold > 0 { format!("  folded at {}", self.fold) } else { String::new() };
        let inside = look.frame(buf, area, &format!("{title}{fold}"), focus);
        let page = usize::from(inside.height);
        self.pages[1] = page;
        let lines = match text {
            Ok(text) => payload::lines(&text, self.fold, self.wrap.then_some(inner_wide)),
            Err(why) => {
                look.put(buf, inside, 1, 0, why, Tone::Dim);
                Vec::new()
            }
        };
        self.payload_lines = lines.len();
        self.payload_top = self.payload_top.min(lines.len().saturating_sub(page));
        for (y, line) in (0..inside.height).zip(lines.iter().skip(self.payload_top)) {
            look.put(buf, inside, 1, y, line, Tone::Plain);
        }
    }
}
