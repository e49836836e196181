//! How subscriptions are drawn: the list, and what was sent to the selected one below or beside it.
//!
//! Invariant: a pure function of state, store and size; whatever receivers answered passes the sanitizer.

use aura_protocol::ids::MessageId;
use aura_protocol::outgoing::{Sending, SendingState, Subscription};
use aura_protocol::text::display;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::SubscriptionsScreen;
use crate::cli::subscription::sendings::told;
use crate::look::Look;
use crate::store::Store;
use crate::theme::Tone;
use crate::times;
use crate::widgets::overlay::cursor;

/// From this width on list and sendings stand side by side.
const TWO_WIDE: u16 = 150;
/// From this height on they stand one above the other.
const TWO_HIGH: u16 = 13;

/// How a subscription fares, in a word.
pub(super) fn word(row: &Subscription) -> &'static str {
    match (row.enabled, row.health.disabled.is_some(), row.health.failing_since_ms.is_some()) {
        (_, true, _) => "disabled",
        (false, ..) => "off",
        (true, _, true) => "failing",
        (true, ..) => "on",
    }
}

impl SubscriptionsScreen {
    /// Draws list and sendings.
    pub fn draw(&mut self, look: &Look, store: &Store, buf: &mut Buffer, area: Rect) {
        if self.zoom || (area.width < TWO_WIDE && area.height < TWO_HIGH) {
            return match self.below {
                true => self.draw_sendings(look, store, buf, area),
                false => self.draw_list(look, store, buf, area),
            };
        }
        let (list, sent) = if area.width >= TWO_WIDE {
            let width = area.width / 2;
            let right = Rect { x: area.x + width, width: area.width - width, ..area };
            (Rect { width, ..area }, right)
        } else {
            let height = area.height / 2;
            let low = Rect { y: area.y + height, height: area.height - height, ..area };
            (Rect { height, ..area }, low)
        };
        self.draw_list(look, store, buf, list);
        self.draw_sendings(look, store, buf, sent);
    }

    fn draw_list(&mut self, look: &Look, store: &Store, buf: &mut Buffer, area: Rect) {
        let keys = self.keys(store);
        let all = store.subscriptions.rows.len();
        let mut title = self.filter.title(cursor(look)).map_or_else(String::new, |filter| format!("{filter}  "));
        title.push_str(&match keys.len() == all {
            true => format!("{all} shown"),
            false => format!("{} of {all} shown", keys.len()),
        });
        let tabs = crate::screens::tabs("subscriptions");
        let inside = look.frame(buf, area, &format!("{tabs}  {title}"), !self.below);
        // State and waiting are fixed; name, types and address share the rest.
        let left = usize::from(inside.width).saturating_sub(2 + 10 + 1 + 7 + 1 + 2);
        let name = (left / 3).min(24);
        let types = ((left - name) / 2).min(24);
        let wide = [10, name, 7, types, left.saturating_sub(name + types)];
        let heads = ["STATE", "NAME", "WAITING", "TYPES", "URL"].map(|head| (head.to_owned(), Tone::Title));
        line(look, buf, inside, 0, "", &heads, &wide);
        let list = Rect { y: inside.y + 1, height: inside.height.saturating_sub(1), ..inside };
        let (offset, index) = self.list.scroll(&keys, usize::from(list.height));
        let rows = self.rows(store);
        for (y, (at, row)) in (0..list.height).zip(rows.iter().enumerate().skip(offset)) {
            let lead = if at == index { look.glyphs.cursor } else { "" };
            line(look, buf, list, y, lead, &cells(look, row), &wide);
            if at == index {
                look.select(buf, list, y);
            }
        }
        if rows.is_empty() {
            let text = match (store.subscriptions.known, self.filter.text().is_empty()) {
                (false, _) => "waiting for the daemon's answer",
                (true, true) => "nobody is subscribed; see `aura subscription create --help`",
                (true, false) => "nothing passes the filter",
            };
            look.put(buf, list, 2, 0, text, Tone::Dim);
        }
    }

    fn draw_sendings(&mut self, look: &Look, store: &Store, buf: &mut Buffer, area: Rect) {
        let Some(row) = self.chosen(store) else {
            look.frame(buf, area, "sendings", self.below);
            return;
        };
        let moment = |at| times::moment(at, store.now_ms, &look.zone);
        let state = crate::cli::subscription::state(row, moment);
        let more = if store.subscriptions.more { "+" } else { "" };
        let sendings = self.sendings(store);
        let title = format!("{}: {}{more} sendings, {state}", display(&row.name), sendings.len());
        let inside = look.frame(buf, area, &title, self.below);
        let left = usize::from(inside.width).saturating_sub(2 + 11 + 1 + 6 + 1 + 12 + 1 + 1);
        let kind = (left / 3).min(24);
        let wide = [11, 6, 12, kind, left.saturating_sub(kind)];
        let keys: Vec<MessageId> = sendings.iter().map(|sending| sending.message).collect();
        let (offset, index) = self.sent.scroll(&keys, usize::from(inside.height));
        for (y, (at, sending)) in (0..inside.height).zip(sendings.iter().enumerate().skip(offset)) {
            let chosen = at == index && self.below;
            let lead = if chosen { look.glyphs.cursor } else { "" };
            line(look, buf, inside, y, lead, &sent(look, store, sending), &wide);
            if chosen {
                look.select(buf, inside, y);
            }
        }
        if sendings.is_empty() {
            let known = store.subscriptions.of == row.name;
            let text = if known { "nothing was sent yet" } else { "waiting for the daemon's answer" };
            look.put(buf, inside, 2, 0, text, Tone::Dim);
        }
    }
}

fn line(look: &Look, buf: &mut Buffer, area: Rect, y: u16, lead: &str, cells: &[(String, Tone)], wide: &[usize]) {
    look.put(buf, area, 0, y, lead, Tone::Key);
    let mut x = 2_u16;
    for ((text, tone), wide) in cells.iter().zip(wide) {
        look.put(buf, area, x, y, &look.fit(text, *wide), *tone);
        x = x.saturating_add(u16::try_from(*wide).unwrap_or(u16::MAX)).saturating_add(1);
    }
}

fn cells(look: &Look, row: &Subscription) -> [(String, Tone); 5] {
    let word = word(row);
    let (glyph, tone) = match (word, look.glyphs.ascii) {
        ("on", false) => ("▶", Tone::Good),
        ("on", true) => (">", Tone::Good),
        ("failing", _) => ("!", Tone::Warn),
        ("disabled", _) => ("x", Tone::Bad),
        _ => ("-", Tone::Dim),
    };
    let waiting = if row.health.waiting == 0 { String::new() } else { row.health.waiting.to_string() };
    [
        (format!("{glyph} {word}"), tone),
        (display(&row.name), Tone::Plain),
        (format!("{waiting:>7}"), Tone::Calm),
        (display(&row.types.join(",")), Tone::Plain),
        (display(&row.url), Tone::Dim),
    ]
}

fn sent(look: &Look, store: &Store, sending: &Sending) -> [(String, Tone); 5] {
    let moment = |at| times::moment(at, store.now_ms, &look.zone);
    let (glyph, tone) = match (sending.state, look.glyphs.ascii) {
        (SendingState::Waiting, false) => ("◷", Tone::Calm),
        (SendingState::Waiting, true) => ("w", Tone::Calm),
        (SendingState::Succeeded, _) => ("+", Tone::Good),
        (SendingState::Failed, _) => ("x", Tone::Bad),
    };
    [
        (format!("{glyph} {}", sending.state.word()), tone),
        (sending.message.short(), Tone::Plain),
        (moment(sending.created_ms), Tone::Plain),
        (display(&sending.kind), Tone::Plain),
        (told(sending, moment), Tone::Dim),
    ]
}
