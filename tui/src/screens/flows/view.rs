//! How the list of flows is drawn: columns by width, one line that says why the selected flow fails or waits.
//!
//! Invariant: a pure function of state, store and size; times are moments, never countdowns.

use aura_protocol::rpc::{FlowActivity, FlowRow};
use aura_protocol::run::RunState;
use aura_protocol::text::display;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::{Flows, state};
use crate::look::{Look, run_tone};
use crate::store::Store;
use crate::theme::Tone;
use crate::times;
use crate::widgets::overlay::cursor;

/// A column: head, cells wide, from this width of the screen on.
struct Column {
    head: &'static str,
    wide: usize,
    from: usize,
}

const STATE: Column = Column { head: "STATE", wide: 9, from: 0 };
const LAST: Column = Column { head: "LAST RUN", wide: 14, from: 66 };
/// From this width on the last run's state is a word too.
const WORDY: usize = 110;
const RUNS: Column = Column { head: " RUNS", wide: 5, from: 100 };
const FAILED: Column = Column { head: " FAIL", wide: 5, from: 0 };
const HELD: Column = Column { head: " HELD", wide: 5, from: 0 };
const NEXT: Column = Column { head: "NEXT", wide: 12, from: 78 };
const TRIGGERS: Column = Column { head: "TRIGGERS", wide: 36, from: 140 };

fn shown(column: &Column, width: usize) -> usize {
    if width >= column.from { column.wide } else { 0 }
}

fn widths(width: usize) -> [usize; 9] {
    let mut wide = [0; 9];
    let last = Column { wide: if width >= WORDY { LAST.wide + 10 } else { LAST.wide }, ..LAST };
    let fixed = [&STATE, &last, &RUNS, &FAILED, &HELD, &NEXT, &TRIGGERS].map(|column| shown(column, width));
    let [state, last, runs, failed, held, next, triggers] = fixed;
    let used: usize = 2 + fixed.iter().filter(|wide| **wide > 0).map(|wide| wide + 1).sum::<usize>();
    let left = width.saturating_sub(used + 1);
    let title = if left > 60 { left - 40 } else { 0 };
    let name = left.saturating_sub(if title > 0 { title + 1 } else { 0 });
    wide.copy_from_slice(&[name, state, last, runs, failed, held, next, triggers, title]);
    wide
}

const HEADS: [&str; 9] =
    ["FLOW", STATE.head, LAST.head, RUNS.head, FAILED.head, HELD.head, NEXT.head, TRIGGERS.head, "TITLE"];

impl Flows {
    /// Draws the list into an area, with its last row telling about the selected flow.
    pub fn draw(&mut self, look: &Look, store: &Store, buf: &mut Buffer, area: Rect) {
        let framed = Rect { height: area.height.saturating_sub(1), ..area };
        let keys = self.keys(store);
        let mut title = self.filter.title(cursor(look)).map_or_else(String::new, |filter| format!("{filter}  "));
        let all = store.catalog.rows.len();
        title.push_str(&if keys.len() == all {
            format!("{all} shown")
        } else {
            format!("{} of {all} shown", keys.len())
        });
        let inside = look.frame(buf, framed, &format!("{}  {title}", crate::screens::tabs("flows")), true);
        let wide = widths(usize::from(inside.width));
        row(look, buf, inside, 0, "", &HEADS.map(|head| (head.to_owned(), Tone::Title)), &wide);
        let list = Rect { y: inside.y + 1, height: inside.height.saturating_sub(1), ..inside };
        let (offset, index) = self.list.scroll(&keys, usize::from(list.height));
        let rows = self.rows(store);
        for (y, (at, flow)) in (0..list.height).zip(rows.iter().enumerate().skip(offset)) {
            let lead = if at == index { look.glyphs.cursor } else { "" };
            row(look, buf, list, y, lead, &cells(look, store, flow, usize::from(inside.width) >= WORDY), &wide);
            if at == index {
                look.select(buf, list, y);
            }
        }
        if rows.is_empty() {
            let text = match (store.catalog.known, self.filter.text().is_empty()) {
                (false, _) => "waiting for the daemon's answer",
                (true, true) => "no flows yet: `aura flow new NAME` writes a first one, `aura flow apply` stores it",
                (true, false) => "nothing passes the filter",
            };
            look.put(buf, list, 2, 0, text, Tone::Dim);
        }
        let line = Rect { y: area.y + area.height.saturating_sub(1), height: 1, ..area };
        if let Some(flow) = rows.get(index) {
            let (text, tone) = why(look, store, flow);
            look.put(buf, line, 1, 0, &text, tone);
        }
    }
}

fn row(look: &Look, buf: &mut Buffer, area: Rect, y: u16, lead: &str, cells: &[(String, Tone); 9], wide: &[usize; 9]) {
    look.put(buf, area, 0, y, lead, Tone::Key);
    let mut x = 2_u16;
    for ((text, tone), wide) in cells.iter().zip(wide).filter(|(_, wide)| **wide > 0) {
        look.put(buf, area, x, y, &look.fit(text, *wide), *tone);
        x = x.saturating_add(u16::try_from(*wide).unwrap_or(u16::MAX)).saturating_add(1);
    }
}

fn number(count: u64) -> String {
    if count == 0 { format!("{:>5}", "-") } else { format!("{count:>5}") }
}

fn cells(look: &Look, store: &Store, flow: &FlowRow, wordy: bool) -> [(String, Tone); 9] {
    let activity = store.catalog.activity.get(&flow.flow);
    let moment = |at| times::moment(at, store.now_ms, &look.zone);
    let (word, tone) = match state(flow) {
        "on" => ("on", Tone::Good),
        "off" => ("off", Tone::Warn),
        "paused" => ("paused", Tone::Warn),
        other => (other, Tone::Dim),
    };
    let state =
        if flow.published.is_some() && flow.draft.is_some() { format!("{word} +draft") } else { word.to_owned() };
    let last = activity.and_then(|activity| activity.last.as_ref());
    let last = last.map_or(("-".to_owned(), Tone::Dim), |last| {
        let word = if wordy { format!("{} ", last.state.word()) } else { String::new() };
        (format!("{} {word}{}", look.glyphs.run(last.state), moment(last.created_ms)), run_tone(last.state))
    });
    let failed = activity.map_or(0, |activity| activity.failed);
    [
        (display(&flow.flow), Tone::Plain),
        (state, tone),
        last,
        (number(activity.map_or(0, |activity| activity.runs)), Tone::Plain),
        (number(failed), if failed > 0 { Tone::Bad } else { Tone::Plain }),
        (number(activity.map_or(0, |activity| activity.held)), Tone::Plain),
        (next(flow, activity).map_or("-".to_owned(), moment), Tone::Calm),
        (display(&flow.triggers.join(", ")), Tone::Dim),
        (display(&flow.title), Tone::Dim),
    ]
}

/// When the flow's next run begins by itself: a schedule, or held events.
#[must_use]
pub fn next(flow: &FlowRow, activity: Option<&FlowActivity>) -> Option<i64> {
    [flow.next_ms, activity.and_then(|activity| activity.next_held_ms)].into_iter().flatten().min()
}

/// Why the selected flow stands as it does.
fn why(look: &Look, store: &Store, flow: &FlowRow) -> (String, Tone) {
    let moment = |at| times::moment(at, store.now_ms, &look.zone);
    let activity = store.catalog.activity.get(&flow.flow);
    let last = activity.and_then(|activity| activity.last.as_ref());
    if let Some(last) = last.filter(|last| last.state == RunState::Failed) {
        let text = format!("last run {} failed {}: {}", last.run.short(), moment(last.created_ms), last.error);
        return (display(&text), Tone::Bad);
    }
    if flow.published.is_none() {
        return ("not published: it takes no events; p publishes its draft".to_owned(), Tone::Warn);
    }
    if !flow.enabled {
        return ("off: it takes no events, held ones wait; s lets it take them again".to_owned(), Tone::Warn);
    }
    if flow.paused {
        let text = format!("paused: {} events are held; P starts them", flow.held);
        return (display(&text), Tone::Warn);
    }
    if flow.draft.is_some() {
        return ("its draft differs from the published version: p publishes it".to_owned(), Tone::Calm);
    }
    if let Some(last) = last.filter(|last| last.state == RunState::InDoubt) {
        return (format!("run {} is in doubt: f shows its runs", last.run.short()), Tone::Warn);
    }
    (display(&flow.title), Tone::Dim)
}
