//! How schedules are drawn: the list, soonest first, and below it or beside it everything about one of them.
//!
//! Invariant: a pure function of state, store and size; times are moments, never countdowns, and stand in the zone of
//! the screen in the list and in that of the schedule below it.

use aura_protocol::rpc::ScheduleInfo;
use aura_protocol::text::display;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::SchedulesScreen;
use crate::cli::schedule::{local, state};
use crate::look::Look;
use crate::schedules::begins;
use crate::store::Store;
use crate::theme::Tone;
use crate::times;
use crate::widgets::overlay::cursor;

/// From this width on the list and the one stand side by side.
const TWO_WIDE: u16 = 150;
/// From this height on they stand one above the other.
const TWO_HIGH: u16 = 15;

impl SchedulesScreen {
    /// Draws list and details.
    pub fn draw(&mut self, look: &Look, store: &Store, buf: &mut Buffer, area: Rect) {
        let small = area.width < TWO_WIDE && area.height < TWO_HIGH;
        match (small, self.zoom) {
            (true, true) => return self.draw_one(look, store, buf, area),
            (true, false) | (false, true) => return self.draw_list(look, store, buf, area),
            (false, false) => {}
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
        let all = store.schedules.rows.len();
        let mut title = self.filter.title(cursor(look)).map_or_else(String::new, |filter| format!("{filter}  "));
        title.push_str(&if keys.len() == all {
            format!("{all} shown")
        } else {
            format!("{} of {all} shown", keys.len())
        });
        let inside = look.frame(buf, area, &format!("{}  {title}", crate::screens::tabs("due")), true);
        let wide = widths(usize::from(inside.width));
        let heads = ["NEXT", "SCHEDULE", "STATE", "LAST", "MISSED", "RULE"].map(|head| (head.to_owned(), Tone::Title));
        line(look, buf, inside, 0, "", &heads, &wide);
        let list = Rect { y: inside.y + 1, height: inside.height.saturating_sub(1), ..inside };
        let (offset, index) = self.list.scroll(&keys, usize::from(list.height));
        let rows = self.rows(store);
        for (y, (at, row)) in (0..list.height).zip(rows.iter().enumerate().skip(offset)) {
            let lead = if at == index { look.glyphs.cursor } else { "" };
            line(look, buf, list, y, lead, &cells(look, store, row), &wide);
            if at == index {
                look.select(buf, list, y);
            }
        }
        if rows.is_empty() {
            let text = match (store.schedules.known, self.filter.text().is_empty()) {
                (false, _) => "waiting for the daemon's answer",
                (true, true) => "no published flow has a schedule",
                (true, false) => "nothing passes the filter",
            };
            look.put(buf, list, 2, 0, text, Tone::Dim);
        }
    }

    fn draw_one(&self, look: &Look, store: &Store, buf: &mut Buffer, area: Rect) {
        let rows = self.rows(store);
        let Some(row) = rows.get(self.list.index(&self.keys(store))) else {
            look.frame(buf, area, "schedule", false);
            return;
        };
        let inside = look.frame(buf, area, &display(&format!("{}/{}", row.flow, row.trigger)), false);
        for (y, (text, tone)) in (0..inside.height).zip(told(row)) {
            look.put(buf, inside, 1, y, &text, tone);
        }
    }
}

/// Next, name, state, last, missed, rule; what has no room is left out.
fn widths(width: usize) -> [usize; 6] {
    let (last, missed) = (if width >= 76 { 12 } else { 0 }, if width >= 56 { 6 } else { 0 });
    let fixed = 12 + 9 + last + missed;
    let left = width.saturating_sub(2 + fixed + 6);
    let rule = if left >= 48 { left / 2 } else { 0 };
    [12, left - rule, 9, last, missed, rule]
}

fn line(look: &Look, buf: &mut Buffer, area: Rect, y: u16, lead: &str, cells: &[(String, Tone); 6], wide: &[usize; 6]) {
    look.put(buf, area, 0, y, lead, Tone::Key);
    let mut x = 2_u16;
    for ((text, tone), wide) in cells.iter().zip(wide).filter(|(_, wide)| **wide > 0) {
        look.put(buf, area, x, y, &look.fit(text, *wide), *tone);
        x = x.saturating_add(u16::try_from(*wide).unwrap_or(u16::MAX)).saturating_add(1);
    }
}

fn word(row: &ScheduleInfo) -> (String, Tone) {
    match (row.enabled, &row.paused_by, &row.backfill) {
        (false, ..) => ("off".to_owned(), Tone::Dim),
        (_, Some(_), _) => ("paused".to_owned(), Tone::Warn),
        (_, _, Some(job)) => (format!("back {}", job.left), Tone::Busy),
        _ => ("on".to_owned(), Tone::Good),
    }
}

fn cells(look: &Look, store: &Store, row: &ScheduleInfo) -> [(String, Tone); 6] {
    let moment = |at: Option<i64>| at.map_or("-".to_owned(), |at| times::moment(at, store.now_ms, &look.zone));
    let (missed, tone) = match row.missed {
        0 => (format!("{:>6}", "-"), Tone::Dim),
        missed => (format!("{missed:>6}"), Tone::Warn),
    };
    [
        (moment(begins(row)), Tone::Calm),
        (display(&format!("{}/{}", row.flow, row.trigger)), Tone::Plain),
        word(row),
        (moment(row.last_ms), Tone::Plain),
        (missed, tone),
        (display(&row.rule), Tone::Dim),
    ]
}

/// Everything about one of them, the most wanted first.
fn told(row: &ScheduleInfo) -> Vec<(String, Tone)> {
    let at = |ms: i64| local(ms, &row.zone);
    let mut out = vec![(display(&row.rule), Tone::Title)];
    let state = match &row.paused_by {
        Some(by) if row.enabled => format!("paused by {by}: what passes is left out; P lets it go on"),
        _ if !row.enabled => "off with its flow".to_owned(),
        _ => state(row),
    };
    out.push((display(&state), if row.paused_by.is_some() { Tone::Warn } else { Tone::Plain }));
    if let Some(job) = &row.backfill {
        let text = format!("backfill: {} runs made, {} to come, by {}", job.made, job.left, job.by);
        out.push((display(&text), Tone::Busy));
        out.push((format!("  of {} to {}", at(job.from_ms), at(job.to_ms)), Tone::Dim));
    }
    let last = match (row.last_ms, row.last_run) {
        (Some(ms), Some(run)) => format!("last {} became {run}", at(ms)),
        (Some(ms), None) => format!("last {} became no run", at(ms)),
        (None, _) => "has not fired yet".to_owned(),
    };
    out.push((last, Tone::Plain));
    if !row.last_note.is_empty() {
        out.push((display(&row.last_note), Tone::Warn));
    }
    if row.missed > 0 {
        out.push((format!("{} left out so far because nobody could fire them in time", row.missed), Tone::Warn));
    }
    for (number, instant) in row.next.iter().enumerate() {
        let begins = row.begins.get(number).filter(|begins| **begins != *instant);
        let late = begins.map_or(String::new(), |begins| format!(", begins {} later", times::took(begins - instant)));
        let lead = if number == 0 { "next" } else { "    " };
        out.push((format!("{lead} {}{late}", at(*instant)), Tone::Calm));
    }
    out.push((display(&format!("catch-up {}, overlap {}", row.catch_up, row.overlap)), Tone::Dim));
    out
}
