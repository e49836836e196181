//! How the list of runs is drawn: columns by width, one line that says why the selected run stands still.
//!
//! Invariant: a pure function of state, store and size; times are moments, never countdowns.

use aura_protocol::run::RunState;
use aura_protocol::text::display;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::{Filter, Key, Row, Runs};
use crate::look::{Look, run_tone};
use crate::store::Store;
use crate::theme::Tone;
use crate::widgets::overlay::cursor;
use crate::{journal, times};

struct Columns {
    flow: usize,
    step: usize,
    attempt: bool,
    started: bool,
    trigger: usize,
    why: usize,
}

const STATE: usize = 11;
const STEPS: usize = 5;
const TIME: usize = 14;

fn columns(width: usize) -> Columns {
    let attempt = width >= 96;
    let started = width >= 90;
    let trigger = if width >= 110 { 12 } else { 0 };
    let fixed = 2 + STATE + 1 + 6 + 1 + STEPS + 1 + TIME;
    let fixed =
        fixed + if attempt { 4 } else { 0 } + if started { 13 } else { 0 } + if trigger > 0 { trigger + 1 } else { 0 };
    let left = width.saturating_sub(fixed + 1);
    let why = if left > 70 { left - 50 } else { 0 };
    let left = left - why;
    let step = if left >= 30 { left * 2 / 5 } else { 0 };
    let flow = left.saturating_sub(if step > 0 { step + 1 } else { 0 });
    Columns { flow, step, attempt, started, trigger, why: why.saturating_sub(1) }
}

impl Runs {
    /// Draws the list into an area, with its last row telling about the selected run.
    pub fn draw(&mut self, look: &Look, store: &Store, buf: &mut Buffer, area: Rect) {
        let area = story(look, store, buf, area);
        let framed = Rect { height: area.height.saturating_sub(1), ..area };
        let inside = look.frame(buf, framed, &self.title(look, store), true);
        let columns = columns(usize::from(inside.width));
        head(look, buf, inside, &columns);
        let list = Rect { y: inside.y + 1, height: inside.height.saturating_sub(1), ..inside };
        self.page = usize::from(list.height);
        let index = self.scroll(store, self.page);
        let rows = self.rows(store);
        for (y, (at, row)) in (0..list.height).zip(rows.iter().enumerate().skip(self.offset)) {
            let tone_row = Rect { y: list.y + y, height: 1, ..list };
            self.row(look, store, buf, tone_row, row, &columns, at == index);
        }
        if rows.is_empty() {
            let text = if self.filter.text().is_empty() { "no runs yet" } else { "nothing passes the filter" };
            look.put(buf, list, 2, 0, text, Tone::Dim);
        }
        let line = Rect { y: area.y + area.height.saturating_sub(1), height: 1, ..area };
        if let Some(row) = rows.get(index) {
            let (text, tone) = why(look, store, row);
            look.put(buf, line, 1, 0, &text, tone);
        }
    }

    /// Plain lines for terminals that are too small for a frame.
    pub fn draw_small(&mut self, look: &Look, store: &Store, buf: &mut Buffer, area: Rect) {
        self.page = usize::from(area.height);
        let index = self.scroll(store, self.page);
        for (y, (at, row)) in (0..area.height).zip(self.rows(store).iter().enumerate().skip(self.offset)) {
            let text = match row {
                Row::Held(row) => format!("h {} {}", row.event.short(), display(&row.flow)),
                Row::Run(head) => {
                    format!("{} {} {}", look.glyphs.run(head.state), head.run.short(), display(&head.flow))
                }
            };
            look.put(buf, area, 0, y, &text, Tone::Plain);
            if at == index {
                look.select(buf, area, y);
            }
        }
    }

    fn scroll(&mut self, store: &Store, page: usize) -> usize {
        let rows = self.rows(store);
        let index = self.index(&rows);
        let mut offset = self.offset.min(rows.len().saturating_sub(page));
        if index < offset {
            offset = index;
        }
        if page > 0 && index >= offset + page {
            offset = index + 1 - page;
        }
        self.offset = offset;
        index
    }

    fn title(&self, look: &Look, store: &Store) -> String {
        let rows = self.rows(store);
        let all = match &self.frozen {
            Some(frozen) => frozen.runs.len() + frozen.held.len(),
            None => store.runs.len() + store.held.len(),
        };
        let more = self.more(store);
        let mut title = match &self.frozen {
            None => "live".to_owned(),
            Some(frozen) => match store.version - frozen.version {
                0 => "frozen".to_owned(),
                1 => "frozen, 1 change hidden".to_owned(),
                hidden => format!("frozen, {hidden} changes hidden"),
            },
        };
        if let Some(filter) = self.filter.title(cursor(look)) {
            title.push_str(&format!("  {filter}"));
        }
        if rows.len() == all {
            title.push_str(&format!("  {all}{more} shown"));
        } else {
            title.push_str(&format!("  {} of {all}{more} shown", rows.len()));
        }
        if !self.marks.is_empty() {
            title.push_str(&format!("  {} marked", self.marks.len()));
        }
        format!("{}  {title}", crate::screens::tabs("runs"))
    }

    /// `+` where older ones can be loaded.
    fn more(&self, store: &Store) -> &'static str {
        let query = Filter::read(self.filter.text()).query(&|name| store.catalog.rows.contains_key(name));
        if store.older_of(&query).next.is_some() { "+" } else { "" }
    }

    #[expect(clippy::too_many_arguments, reason = "one place to draw, one row, one width table")]
    fn row(
        &self,
        look: &Look,
        store: &Store,
        buf: &mut Buffer,
        area: Rect,
        row: &Row<'_>,
        columns: &Columns,
        selected: bool,
    ) {
        let marked = matches!(row.key(), Key::Run(run) if self.marks.contains(&run));
        let lead = match (selected, marked) {
            (true, true) => format!("{}{}", look.glyphs.cursor, look.glyphs.mark),
            (true, false) => format!("{} ", look.glyphs.cursor),
            (false, true) => format!(" {}", look.glyphs.mark),
            (false, false) => "  ".to_owned(),
        };
        let cells = cells(look, store, row);
        let mut x = look.put(buf, area, 0, 0, &lead, Tone::Key);
        let mut put = |text: &str, width: usize, tone: Tone| {
            if width > 0 {
                look.put(buf, area, x, 0, &look.fit(text, width), tone);
                x = x.saturating_add(u16::try_from(width).unwrap_or(u16::MAX)).saturating_add(1);
            }
        };
        put(&cells.state, STATE, cells.tone);
        put(&cells.id, 6, Tone::Plain);
        put(&cells.flow, columns.flow, Tone::Plain);
        put(&cells.step, columns.step, Tone::Plain);
        put(&format!("{:>STEPS$}", cells.steps), STEPS, Tone::Plain);
        if columns.attempt {
            put(&format!("{:>3}", cells.attempt), 3, Tone::Plain);
        }
        if columns.started {
            put(&cells.started, 12, Tone::Plain);
        }
        put(&cells.time, TIME, if cells.until { Tone::Calm } else { Tone::Plain });
        put(&cells.trigger, columns.trigger, Tone::Dim);
        put(&cells.why, columns.why, Tone::Dim);
        if selected {
            look.select(buf, area, 0);
        }
    }
}

/// A demo's story below the list, where there is room; gives what is left for the list.
fn story(look: &Look, store: &Store, buf: &mut Buffer, area: Rect) -> Rect {
    if store.story.is_empty() || area.height < 18 {
        return area;
    }
    let height = area.height / 2;
    let place = Rect { y: area.y + area.height - height, height, ..area };
    let inside = look.frame(buf, place, "the story so far", false);
    let skip = store.story.len().saturating_sub(usize::from(inside.height));
    for (y, line) in (0..inside.height).zip(store.story.iter().skip(skip)) {
        look.put(buf, inside, 1, y, line, Tone::Plain);
    }
    Rect { height: area.height - height, ..area }
}

fn head(look: &Look, buf: &mut Buffer, area: Rect, columns: &Columns) {
    let mut x = 2_u16;
    let mut put = |text: &str, width: usize| {
        if width > 0 {
            look.put(buf, area, x, 0, &look.fit(text, width), Tone::Title);
            x = x.saturating_add(u16::try_from(width).unwrap_or(u16::MAX)).saturating_add(1);
        }
    };
    put("STATE", STATE);
    put("RUN", 6);
    put("FLOW", columns.flow);
    put("STEP", columns.step);
    put(" DONE", STEPS);
    if columns.attempt {
        put("TRY", 3);
    }
    if columns.started {
        put("STARTED", 12);
    }
    put("TOOK / UNTIL", TIME);
    put("TRIGGER", columns.trigger);
    put("WHY", columns.why);
}

struct Cells {
    state: String,
    tone: Tone,
    id: String,
    flow: String,
    step: String,
    steps: String,
    attempt: String,
    started: String,
    time: String,
    until: bool,
    trigger: String,
    why: String,
}

fn cells(look: &Look, store: &Store, row: &Row<'_>) -> Cells {
    let moment = |at| times::moment(at, store.now_ms, &look.zone);
    match row {
        Row::Held(row) => Cells {
            state: format!("{} held", if look.glyphs.ascii { "h" } else { "◷" }),
            tone: Tone::Calm,
            id: row.event.short(),
            flow: display(&row.flow),
            step: "event held".to_owned(),
            steps: "-".to_owned(),
            attempt: "-".to_owned(),
            started: moment(row.delivery.received_ms),
            time: row.starts_at_ms.map_or("-".to_owned(), |at| until(store, look, at)),
            until: true,
            trigger: display(&row.trigger),
            why: display(&row.reason),
        },
        Row::Run(head) => {
            let waits = head.blocked_by.as_ref().and_then(|blocked| blocked.until_ms);
            let time = match (head.finished_ms, waits) {
                (Some(end), _) => times::took(end - head.created_ms),
                (None, Some(at)) => until(store, look, at),
                (None, None) => "-".to_owned(),
            };
            let why = head.error.as_ref().map(journal::sentence);
            let why = why.or_else(|| head.blocked_by.as_ref().map(|blocked| display(&blocked.reason)));
            Cells {
                state: format!("{} {}", look.glyphs.run(head.state), head.state.word()),
                tone: run_tone(head.state),
                id: head.run.short(),
                flow: display(&head.flow),
                step: if head.step.is_empty() { "-".to_owned() } else { display(&head.step) },
                steps: format!("{}/{}", head.steps_done, head.steps_all),
                attempt: if head.attempt == 0 { "-".to_owned() } else { head.attempt.to_string() },
                started: moment(head.created_ms),
                time,
                until: head.finished_ms.is_none(),
                trigger: display(&head.trigger),
                why: why.unwrap_or_default(),
            }
        }
    }
}

/// `til 08:41:07`, or the date when it is another day.
fn until(store: &Store, look: &Look, at_ms: i64) -> String {
    let text = times::moment(at_ms, store.now_ms, &look.zone);
    if text.len() <= 8 { format!("til {text}") } else { format!("> {text}") }
}

/// Why the selected row stands as it does.
fn why(look: &Look, store: &Store, row: &Row<'_>) -> (String, Tone) {
    match row {
        Row::Held(row) => {
            let until = row
                .starts_at_ms
                .map_or(String::new(), |at| format!(" until {}", times::moment(at, store.now_ms, &look.zone)));
            let why = if row.reason.is_empty() { String::new() } else { format!(": {}", row.reason) };
            (display(&format!("event {} held{until}{why}", row.event.short())), Tone::Calm)
        }
        Row::Run(head) => match (&head.error, &head.blocked_by) {
            (Some(error), _) => {
                (format!("{} at {}: {}", head.state.word(), at(&head.step), journal::sentence(error)), Tone::Bad)
            }
            (None, Some(blocked)) => {
                (display(&format!("{}: {}", head.state.word(), blocked.reason)), run_tone(head.state))
            }
            (None, None) if head.state == RunState::Running => (format!("running {}", at(&head.step)), Tone::Dim),
            (None, None) => (format!("{} {}", head.run, head.state.word()), Tone::Dim),
        },
    }
}

fn at(step: &str) -> String {
    if step.is_empty() { "its start".to_owned() } else { display(step) }
}
