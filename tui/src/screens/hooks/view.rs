//! How webhooks are drawn: endpoints, their deliveries, one delivery; side by side where there is room.
//!
//! Invariant: a pure function of state, store and size; text from outside passes `display`.

use aura_protocol::rpc::{DeliveryRow, Verdict};
use aura_protocol::text::display;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::{ALL, HooksScreen, Pane, UNCLAIMED, name};
use crate::cli::webhook::deliveries::{lines, place, took};
use crate::cli::webhook::state;
use crate::look::Look;
use crate::store::Store;
use crate::theme::Tone;
use crate::times;
use crate::widgets::overlay::cursor;

/// From this width on endpoints and deliveries stand side by side.
const TWO_WIDE: u16 = 76;
/// From this width on a delivery stands beside them too.
const THREE_WIDE: u16 = 180;

impl HooksScreen {
    /// Draws endpoints, deliveries and the one that is open.
    pub fn draw(&mut self, look: &Look, store: &Store, buf: &mut Buffer, area: Rect) {
        if self.zoom || area.width < TWO_WIDE {
            return match self.pane {
                Pane::Endpoints => self.draw_endpoints(look, store, buf, area, true),
                Pane::Deliveries => self.draw_deliveries(look, store, buf, area),
                Pane::Detail => self.draw_detail(look, store, buf, area),
            };
        }
        let left = (area.width / 3).clamp(26, 60);
        let endpoints = Rect { width: left, ..area };
        let rest = Rect { x: area.x + left, width: area.width - left, ..area };
        self.draw_endpoints(look, store, buf, endpoints, false);
        if area.width >= THREE_WIDE && store.hooks.open.is_some() {
            let half = rest.width / 2;
            self.draw_deliveries(look, store, buf, Rect { width: half, ..rest });
            let right = Rect { x: rest.x + half, width: rest.width - half, ..rest };
            return self.draw_detail(look, store, buf, right);
        }
        match self.pane {
            Pane::Detail => self.draw_detail(look, store, buf, rest),
            _ => self.draw_deliveries(look, store, buf, rest),
        }
    }

    fn draw_endpoints(&mut self, look: &Look, store: &Store, buf: &mut Buffer, area: Rect, tabs: bool) {
        let title = if tabs { crate::screens::tabs("hooks") } else { "endpoints".to_owned() };
        let inside = look.frame(buf, area, &title, self.pane == Pane::Endpoints);
        let names = Self::names(store);
        // The chosen endpoint says more on the lines below the list.
        let facts = self.facts(look, store);
        let below = u16::try_from(facts.len()).unwrap_or(0).min(inside.height / 2);
        let list = Rect { height: inside.height.saturating_sub(below), ..inside };
        let (offset, index) = self.endpoints.scroll(&names, usize::from(list.height));
        let width = usize::from(inside.width);
        for (y, (at, key)) in (0..list.height).zip(names.iter().enumerate().skip(offset)) {
            let hook = store.hooks.rows.iter().find(|hook| name(hook) == *key);
            let (text, counts, tone) = match hook {
                Some(hook) => {
                    let counts = format!("{}/{}", hook.accepted, hook.refused);
                    let tone = match (state(hook), hook.secret_set || hook.auth == "none") {
                        (_, false) => Tone::Bad,
                        ("on", true) if hook.refused > 0 => Tone::Warn,
                        ("on", true) => Tone::Good,
                        _ => Tone::Dim,
                    };
                    (display(key), counts, tone)
                }
                None if key == ALL => ("all endpoints".to_owned(), String::new(), Tone::Plain),
                None => ("unclaimed".to_owned(), String::new(), Tone::Plain),
            };
            let lead = if at == index { look.glyphs.cursor } else { "" };
            look.put(buf, list, 0, y, lead, Tone::Key);
            let room = width.saturating_sub(3 + counts.len());
            look.put(buf, list, 2, y, &look.fit(&text, room), tone);
            let x = u16::try_from(width.saturating_sub(counts.len())).unwrap_or(0);
            look.put(buf, list, x, y, &counts, Tone::Dim);
            if at == index {
                look.select(buf, list, y);
            }
        }
        if !store.hooks.known {
            look.put(buf, list, 2, 2, "waiting for the daemon's answer", Tone::Dim);
        }
        let under = Rect { y: inside.y + list.height, height: below, ..inside };
        for (y, (text, tone)) in (0..below).zip(&facts) {
            look.put(buf, under, 1, y, &look.fit(text, width.saturating_sub(1)), *tone);
        }
    }

    fn facts(&self, look: &Look, store: &Store) -> Vec<(String, Tone)> {
        let moment = |at| times::moment(at, store.now_ms, &look.zone);
        let Some(hook) = self.hook(store) else {
            let chosen = self.endpoints.chosen(&Self::names(store));
            return match chosen.as_deref() {
                Some(UNCLAIMED) => vec![("what came where nothing takes it, kept a day".to_owned(), Tone::Dim)],
                _ => Vec::new(),
            };
        };
        let tail: String = hook.url.rsplit('/').next().unwrap_or_default().chars().take(26).collect();
        let secret = match (hook.auth.as_str(), hook.secret_set) {
            ("none", _) => ("open to anybody".to_owned(), Tone::Warn),
            (auth, true) => (auth.to_owned(), Tone::Plain),
            (auth, false) => (format!("{auth}: NO SECRET"), Tone::Bad),
        };
        let last = hook.last_ms.map_or("nothing yet".to_owned(), |at| format!("last {}", moment(at)));
        let mut out = vec![(display(&tail), Tone::Dim), (display(&secret.0), secret.1), (last, Tone::Dim)];
        if state(hook) != "on" {
            out.insert(0, (format!("{}: senders hear 404", state(hook)), Tone::Warn));
        }
        if let Some(until) = hook.secret_until_ms {
            out.push((format!("old secret until {}", moment(until)), Tone::Warn));
        }
        if let Some(until) = hook.address_until_ms {
            out.push((format!("old address until {}", moment(until)), Tone::Warn));
        }
        out
    }

    fn draw_deliveries(&mut self, look: &Look, store: &Store, buf: &mut Buffer, area: Rect) {
        let ids = self.ids(store);
        let all = store.hooks.deliveries.len();
        let more = if store.hooks.next.is_some() { "+" } else { "" };
        let count =
            if ids.len() == all { format!("{all}{more} shown") } else { format!("{} of {all}{more}", ids.len()) };
        let filter = self.filter.title(cursor(look)).map_or_else(String::new, |filter| format!("{filter}  "));
        let lost = if store.hooks.unkept > 0 { format!("  {} not kept", store.hooks.unkept) } else { String::new() };
        let title = format!("{}  {filter}{count}{lost}", crate::screens::tabs("hooks"));
        let inside = look.frame(buf, area, &title, self.pane == Pane::Deliveries);
        let width = usize::from(inside.width);
        let place = if width > 90 { 24 } else { 0 };
        let took = if width > 60 { 8 } else { 0 };
        let fixed = 2 + 12 + 1 + 3 + 1 + if place > 0 { place + 1 } else { 0 } + if took > 0 { took + 1 } else { 0 };
        let left = width.saturating_sub(fixed);
        let verdict = left.min(19);
        let wide = [12, 3, verdict, place, took, left.saturating_sub(verdict + 1)];
        let heads = ["RECEIVED", "ST", "VERDICT", "FLOW/TRIGGER", "TOOK", "WHY"];
        line(look, buf, inside, 0, "", &heads.map(|head| (head.to_owned(), Tone::Title)), wide);
        let list = Rect { y: inside.y + 1, height: inside.height.saturating_sub(1), ..inside };
        let (offset, index) = self.deliveries.scroll(&ids, usize::from(list.height));
        let rows = self.rows(store);
        for (y, (at, row)) in (0..list.height).zip(rows.iter().enumerate().skip(offset)) {
            let lead = if at == index { look.glyphs.cursor } else { "" };
            line(look, buf, list, y, lead, &cells(look, store, row), wide);
            if at == index {
                look.select(buf, list, y);
            }
        }
        if rows.is_empty() {
            let text = match (store.hooks.read, self.filter.text().is_empty()) {
                (false, _) => "waiting for the daemon's answer",
                (true, true) => "nothing came yet",
                (true, false) => "nothing passes the filter",
            };
            look.put(buf, list, 2, 0, text, Tone::Dim);
        }
    }

    fn draw_detail(&mut self, look: &Look, store: &Store, buf: &mut Buffer, area: Rect) {
        let Some(detail) = &store.hooks.open else {
            look.frame(buf, area, "delivery", self.pane == Pane::Detail);
            return;
        };
        let inside = look.frame(buf, area, &format!("delivery {}", detail.row.id.short()), self.pane == Pane::Detail);
        let moment = |at| times::moment(at, store.now_ms, &look.zone);
        let lines = lines(detail, &moment);
        let page = usize::from(inside.height);
        (self.lines, self.page) = (lines.len(), page);
        self.top = self.top.min(lines.len().saturating_sub(page));
        for (y, text) in (0..inside.height).zip(lines.iter().skip(self.top)) {
            let tone = match text.split_whitespace().next() {
                Some("do" | "found") => Tone::Warn,
                Some("header" | "method") => Tone::Dim,
                _ => Tone::Plain,
            };
            look.put(buf, inside, 1, y, text, tone);
        }
    }
}

fn line(look: &Look, buf: &mut Buffer, area: Rect, y: u16, lead: &str, cells: &[(String, Tone); 6], wide: [usize; 6]) {
    look.put(buf, area, 0, y, lead, Tone::Key);
    let mut x = 2_u16;
    for ((text, tone), wide) in cells.iter().zip(wide).filter(|(_, wide)| *wide > 0) {
        look.put(buf, area, x, y, &look.fit(text, wide), *tone);
        x = x.saturating_add(u16::try_from(wide).unwrap_or(u16::MAX)).saturating_add(1);
    }
}

fn cells(look: &Look, store: &Store, row: &DeliveryRow) -> [(String, Tone); 6] {
    let tone = match (row.accepted(), row.verdict) {
        (true, Verdict::ProvedBefore) => Tone::Warn,
        (true, _) => Tone::Good,
        (false, Verdict::Handshake) => Tone::Calm,
        (false, _) => Tone::Bad,
    };
    [
        (times::moment(row.at_ms, store.now_ms, &look.zone), Tone::Plain),
        (row.status.map_or("-".to_owned(), |status| status.to_string()), tone),
        (row.verdict.word().to_owned(), tone),
        (display(&place(row)), Tone::Plain),
        (row.took_us.map_or("-".to_owned(), took), Tone::Dim),
        (display(&row.why), Tone::Dim),
    ]
}
