//! How events are drawn: the list, and what was delivered below or beside it.
//!
//! Invariant: a pure function of state, store and size; bodies pass the sanitizer line by line.

use aura_protocol::event::{EventRow, EventState};
use aura_protocol::text::{display, display_lines};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::EventsScreen;
use crate::cli::event::{body, outcome, word};
use crate::look::Look;
use crate::store::Store;
use crate::theme::Tone;
use crate::times;
use crate::widgets::overlay::cursor;

/// From this width on the list and the delivery stand side by side.
const TWO_WIDE: u16 = 150;
/// From this height on they stand one above the other.
const TWO_HIGH: u16 = 15;

impl EventsScreen {
    /// Draws list and delivery.
    pub fn draw(&mut self, look: &Look, store: &Store, buf: &mut Buffer, area: Rect) {
        let one = self.zoom || (area.width < TWO_WIDE && area.height < TWO_HIGH);
        if one {
            return if self.below {
                self.draw_one(look, store, buf, area)
            } else {
                self.draw_list(look, store, buf, area)
            };
        }
        let (list, one) = if area.width >= TWO_WIDE {
            let width = area.width * 3 / 5;
            let right = Rect { x: area.x + width, width: area.width - width, ..area };
            (Rect { width, ..area }, right)
        } else {
            let height = area.height * 11 / 20;
            let low = Rect { y: area.y + height, height: area.height - height, ..area };
            (Rect { height, ..area }, low)
        };
        self.draw_list(look, store, buf, list);
        self.draw_one(look, store, buf, one);
    }

    fn draw_list(&mut self, look: &Look, store: &Store, buf: &mut Buffer, area: Rect) {
        let keys = self.keys(store);
        let all = store.events.rows.len();
        let mut title = self.filter.title(cursor(look)).map_or_else(String::new, |filter| format!("{filter}  "));
        let more = if store.events.next.is_some() { "+" } else { "" };
        title.push_str(&if keys.len() == all {
            format!("{all}{more} shown")
        } else {
            format!("{} of {all}{more} shown", keys.len())
        });
        let inside = look.frame(buf, area, &format!("{}  {title}", crate::screens::tabs("events")), !self.below);
        let width = usize::from(inside.width);
        // State, id, time are fixed; flow and reason share the rest.
        let left = width.saturating_sub(2 + 11 + 1 + 6 + 1 + 12 + 1);
        let flow = (left * 2 / 5).min(30);
        let wide = [11, 6, 12, flow, left.saturating_sub(flow + 1)];
        line(
            look,
            buf,
            inside,
            0,
            "",
            &["STATE", "EVENT", "RECEIVED", "FLOW", "WHY"].map(|head| (head.to_owned(), Tone::Title)),
            wide,
        );
        let list = Rect { y: inside.y + 1, height: inside.height.saturating_sub(1), ..inside };
        let (offset, index) = self.list.scroll(&keys, usize::from(list.height));
        let rows = self.rows(store);
        for (y, (at, row)) in (0..list.height).zip(rows.iter().enumerate().skip(offset)) {
            let lead = if at == index { look.glyphs.cursor } else { "" };
            line(look, buf, list, y, lead, &cells(look, store, row), wide);
            if at == index {
                look.select(buf, list, y);
            }
        }
        if rows.is_empty() {
            let text = match (store.events.known, self.filter.text().is_empty()) {
                (false, _) => "waiting for the daemon's answer",
                (true, true) => "no event was held, dropped or repeated",
                (true, false) => "nothing passes the filter",
            };
            look.put(buf, list, 2, 0, text, Tone::Dim);
        }
    }

    fn draw_one(&mut self, look: &Look, store: &Store, buf: &mut Buffer, area: Rect) {
        let rows = self.rows(store);
        let index = self.list.index(&self.keys(store));
        let Some(row) = rows.get(index) else {
            look.frame(buf, area, "delivery", self.below);
            return;
        };
        let inside = look.frame(buf, area, &format!("delivery of {}", row.event), self.below);
        let lines = told(look, store, row);
        let page = usize::from(inside.height);
        (self.lines, self.page) = (lines.len(), page);
        self.top = self.top.min(lines.len().saturating_sub(page));
        for (y, (text, tone)) in (0..inside.height).zip(lines.iter().skip(self.top)) {
            look.put(buf, inside, 1, y, text, *tone);
        }
    }
}

fn line(look: &Look, buf: &mut Buffer, area: Rect, y: u16, lead: &str, cells: &[(String, Tone); 5], wide: [usize; 5]) {
    look.put(buf, area, 0, y, lead, Tone::Key);
    let mut x = 2_u16;
    for ((text, tone), wide) in cells.iter().zip(wide) {
        look.put(buf, area, x, y, &look.fit(text, wide), *tone);
        x = x.saturating_add(u16::try_from(wide).unwrap_or(u16::MAX)).saturating_add(1);
    }
}

fn cells(look: &Look, store: &Store, row: &EventRow) -> [(String, Tone); 5] {
    let moment = |at| times::moment(at, store.now_ms, &look.zone);
    let (glyph, tone) = match (row.state, look.glyphs.ascii) {
        (EventState::Held, false) => ("◷", Tone::Calm),
        (EventState::Held, true) => ("h", Tone::Calm),
        (EventState::Dropped, _) => ("x", Tone::Warn),
        (EventState::Duplicate, _) => ("=", Tone::Dim),
        (_, false) => ("▶", Tone::Good),
        (_, true) => (">", Tone::Good),
    };
    [
        (format!("{glyph} {}", word(row.state)), tone),
        (row.event.short(), Tone::Plain),
        (moment(row.delivery.received_ms), Tone::Plain),
        (display(&row.flow), Tone::Plain),
        (display(&outcome(row, moment)), Tone::Dim),
    ]
}

fn told(look: &Look, store: &Store, row: &EventRow) -> Vec<(String, Tone)> {
    let moment = |at| times::moment(at, store.now_ms, &look.zone);
    let delivery = &row.delivery;
    let mut out = vec![(display(&format!("{} of {}/{}", word(row.state), row.flow, row.trigger)), Tone::Title)];
    let why = outcome(row, moment);
    if !why.is_empty() {
        out.push((display(&why), Tone::Plain));
    }
    let query = if delivery.query.is_empty() { String::new() } else { format!("?{}", delivery.query) };
    out.push((display(&format!("{}{query}", delivery.method)), Tone::Dim));
    for (name, value) in &delivery.headers {
        out.push((display(&format!("{name}: {value}")), Tone::Dim));
    }
    if !delivery.body.is_empty() {
        out.push((String::new(), Tone::Plain));
        out.extend(display_lines(&body(row)).lines().map(|line| (line.to_owned(), Tone::Plain)));
    }
    out
}
