//! The first line of every screen: which daemon, how it is, where we are; and the command log when it is shown.
//!
//! Invariant: a daemon that is not simply ready (locked, paused, short of disk) says so on every screen.

use aura_protocol::run::RunState;
use aura_protocol::text::display;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::{App, SMALLEST};
use crate::action::Place;
use crate::store::Link;
use crate::theme::Tone;
use crate::times;
use crate::twins::Outcome;

/// Rows of the command log.
pub const LOG_ROWS: u16 = 8;

impl App {
    pub(super) fn header(&self, buf: &mut Buffer, area: Rect, small: bool) {
        let look = &self.look;
        let mut x = look.put(buf, area, 0, 0, " AURA ", Tone::Title);
        let mut put = |text: &str, tone| x += look.put(buf, area, x, 0, text, tone);
        let status = self.store.status.as_ref();
        let profile = status.map_or("-".to_owned(), |status| display(&status.profile));
        let name = match &self.context_name {
            Some(name) if *name != profile => format!("{}/{profile}", display(name)),
            _ => profile,
        };
        put(&format!(" {name} "), if self.production { Tone::Bad } else { Tone::Plain });
        match &self.store.link {
            Link::Down(since, why) => {
                let secs = since.elapsed().as_secs();
                put(&format!(" aurad not reachable {secs}s, retrying ({why})"), Tone::Bad);
                return;
            }
            Link::Opening => return put(" connecting", Tone::Dim),
            Link::Up if small => {
                return put(&format!(" below {}x{}: a list only", SMALLEST.0, SMALLEST.1), Tone::Warn);
            }
            Link::Up => {}
        }
        let state = status.map_or(String::new(), |status| display(&status.state));
        let tone = if state == "ready" || state.starts_with("ready as a relay") {
            Tone::Good
        } else if ["locked", "disk", "quota"].iter().any(|word| state.starts_with(word)) {
            Tone::Bad
        } else {
            Tone::Warn
        };
        put(&state, tone);
        if self.store.now_ms > 0 {
            let now = self.store.now_ms;
            let shown = if area.width < 100 { times::clock(now, &look.zone) } else { times::day(now, &look.zone) };
            put(&format!("  {shown}"), Tone::Plain);
        }
        match self.place {
            Place::Run(run) => {
                put(&format!("  runs {} ", look.glyphs.crumb), Tone::Dim);
                // The whole id where it fits, its end otherwise.
                return if area.width >= 80 {
                    put(&run.to_string(), Tone::Title)
                } else {
                    put(&run.short(), Tone::Title)
                };
            }
            Place::Flow(flow) => {
                put(&format!("  flows {} ", look.glyphs.crumb), Tone::Dim);
                let name = self.store.catalog.of(flow).map_or(String::new(), |row| display(&row.flow));
                return put(&name, Tone::Title);
            }
            Place::Runs | Place::Flows | Place::Events | Place::Schedules | Place::Hooks | Place::Subscriptions => {}
        }
        use RunState as S;
        let counts: [(usize, &str, Tone); 6] = [
            (self.store.held.len(), "held", Tone::Calm),
            (self.store.count(|state| matches!(state, S::Running | S::Retrying)), "running", Tone::Busy),
            (self.store.count(|state| state == S::Queued), "queued", Tone::Calm),
            (self.store.count(|state| matches!(state, S::Waiting | S::Paused)), "waiting", Tone::Calm),
            (self.store.count(|state| state == S::InDoubt), "in doubt", Tone::Warn),
            (self.store.count(|state| state == S::Failed), "failed", Tone::Bad),
        ];
        for (count, word, tone) in counts {
            if count > 0 {
                put(&format!("  {count} {word}"), tone);
            }
        }
    }

    /// The command log below the screen, where there is room; gives what is left for the screen.
    pub(super) fn command_log(&self, buf: &mut Buffer, area: Rect) -> Rect {
        if !self.show_log || area.height < LOG_ROWS + 8 {
            return area;
        }
        let look = &self.look;
        let place = Rect { y: area.y + area.height - LOG_ROWS, height: LOG_ROWS, ..area };
        let inside = look.frame(buf, place, "command log: the same from a shell", false);
        let lines = self.store.twins.newest(usize::from(inside.height));
        for (y, line) in (0..inside.height).zip(lines) {
            let (sign, tone, more) = match &line.outcome {
                Outcome::Looked => (" ", Tone::Dim, String::new()),
                Outcome::Asked => ("?", Tone::Busy, String::new()),
                Outcome::Done => ("+", Tone::Good, String::new()),
                Outcome::Refused(why) => ("!", Tone::Bad, format!("   # {why}")),
            };
            let at = if line.at_ms > 0 { times::clock(line.at_ms, &look.zone) } else { "        ".to_owned() };
            let text = format!("{}{more}", line.text);
            look.pieces(buf, inside, y, &[(&at, Tone::Dim), (" ", tone), (sign, tone), (" ", tone), (&text, tone)]);
        }
        Rect { height: area.height - LOG_ROWS, ..area }
    }
}
