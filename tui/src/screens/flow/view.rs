//! How one flow is laid out: facts and text side by side, one above the other, or one of them.
//!
//! Invariant: the layout is a pure function of size, zoom and the pane in front.

use aura_protocol::flow::{Finding, Severity};
use aura_protocol::text::display;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::super::flows::state;
use super::{FlowScreen, Pane};
use crate::catalog::FlowView;
use crate::look::{Look, run_tone};
use crate::store::Store;
use crate::theme::Tone;
use crate::times;

/// From this width on two panes stand side by side.
const TWO_WIDE: u16 = 110;
/// Backfills of a flow that are shown.
const BACKFILLS_SHOWN: usize = 3;
/// From this height on two panes stand one above the other.
const TWO_HIGH: u16 = 14;

type Row = (String, String, Tone);

impl FlowScreen {
    /// Draws the flow.
    pub fn draw(&mut self, look: &Look, store: &Store, buf: &mut Buffer, area: Rect) {
        let Some(view) = self.view(store) else {
            let inside = look.frame(buf, area, "flow", true);
            look.put(buf, inside, 1, 0, "waiting for the daemon's answer", Tone::Dim);
            return;
        };
        let view = view.clone();
        let facts = facts(look, store, &view);
        let rows = u16::try_from(facts.len()).unwrap_or(u16::MAX);
        let (upper, lower) = if area.width >= TWO_WIDE {
            let width = area.width * 9 / 20;
            let right = Rect { x: area.x + width, width: area.width - width, ..area };
            (Rect { width, ..area }, right)
        } else {
            let height = rows.saturating_add(2).min(area.height / 2);
            let low = Rect { y: area.y + height, height: area.height - height, ..area };
            (Rect { height, ..area }, low)
        };
        let one = self.zoom || (area.width < TWO_WIDE && area.height < TWO_HIGH);
        match (one, self.pane) {
            (true, Pane::Text) => self.draw_text(look, &view, buf, area),
            (true, Pane::Facts) => self.draw_facts(look, &facts, buf, area),
            _ => {
                self.draw_facts(look, &facts, buf, upper);
                self.draw_text(look, &view, buf, lower);
            }
        }
    }

    fn draw_facts(&mut self, look: &Look, facts: &[Row], buf: &mut Buffer, area: Rect) {
        let focus = self.pane == Pane::Facts;
        let inside = look.frame(buf, area, "facts", focus);
        let page = usize::from(inside.height);
        let mut top = 0;
        if focus {
            (self.lines, self.page) = (facts.len(), page);
            self.top = self.top.min(facts.len().saturating_sub(page));
            top = self.top;
        }
        for (y, (name, value, tone)) in (0..inside.height).zip(facts.iter().skip(top)) {
            look.put(buf, inside, 1, y, name, Tone::Dim);
            look.put(buf, inside, 11, y, value, *tone);
        }
    }

    fn draw_text(&mut self, look: &Look, view: &FlowView, buf: &mut Buffer, area: Rect) {
        let focus = self.pane == Pane::Text;
        let detail = &view.detail;
        let (what, text, checked) = match (&detail.draft, &detail.published) {
            (Some(draft), Some(_)) if !self.published => ("draft, not published yet", draft.as_str(), true),
            (Some(draft), None) => ("draft", draft.as_str(), true),
            (draft, Some(published)) => ("published", published.as_str(), draft.is_none()),
            (None, None) => ("nothing stored", "", false),
        };
        let found = if checked { view.findings.as_slice() } else { &[] };
        let errors = if checked { view.errors() } else { 0 };
        let notes = match (errors, found.len()) {
            (0, 0) => String::new(),
            (0, all) => format!("  {all} to look at"),
            (1, _) => "  1 error".to_owned(),
            (many, _) => format!("  {many} errors"),
        };
        let inside = look.frame(buf, area, &format!("text: {what}{notes}"), focus);
        let rows = rows(text, found);
        let page = usize::from(inside.height);
        let mut top = 0;
        if focus {
            (self.lines, self.page) = (rows.len(), page);
            self.top = self.top.min(rows.len().saturating_sub(page));
            top = self.top;
        }
        for (y, (number, line, tone)) in (0..inside.height).zip(rows.iter().skip(top)) {
            look.put(buf, inside, 0, y, number, Tone::Dim);
            look.put(buf, inside, 5, y, line, *tone);
        }
    }
}

/// The text with its findings below their lines: number, line, tone.
fn rows(text: &str, found: &[Finding]) -> Vec<Row> {
    let tone = |finding: &Finding| match finding.severity {
        Severity::Error => Tone::Bad,
        Severity::Warning => Tone::Warn,
        Severity::Note => Tone::Calm,
    };
    let told = |line: usize, blanks: usize| {
        found.iter().filter(move |finding| usize::try_from(finding.line).unwrap_or(0) == line).flat_map(
            move |finding| {
                let hint = finding.hint.as_ref().map(|hint| format!("  hint: {hint}"));
                let lines = std::iter::once(finding.message.clone()).chain(hint);
                lines.map(move |line| {
                    ("    !".to_owned(), format!("{}{}", " ".repeat(blanks), display(&line)), tone(finding))
                })
            },
        )
    };
    let mut out: Vec<Row> = told(0, 0).collect();
    for (at, line) in text.lines().enumerate() {
        let blanks = line.len() - line.trim_start().len();
        out.push((format!("{:>4}", at + 1), display(line), Tone::Plain));
        out.extend(told(at + 1, blanks.min(40)));
    }
    out
}

fn facts(look: &Look, store: &Store, view: &FlowView) -> Vec<Row> {
    let row = &view.detail.row;
    let moment = |at| times::moment(at, store.now_ms, &look.zone);
    let mut out: Vec<Row> = Vec::new();
    let mut add = |name: &str, value: String, tone: Tone| out.push((name.to_owned(), display(&value), tone));
    add("flow", row.flow.clone(), Tone::Title);
    if row.title != row.flow {
        add("title", row.title.clone(), Tone::Plain);
    }
    let (word, tone) = match state(row) {
        "on" => ("on: takes events", Tone::Good),
        "off" => ("off: takes no events, held ones wait", Tone::Warn),
        "paused" => ("paused: its events are held", Tone::Warn),
        _ => ("draft: never published", Tone::Warn),
    };
    add("state", word.to_owned(), tone);
    let short = |hash: &str| hash.chars().take(12).collect::<String>();
    let version = match (&row.published, &row.draft) {
        (Some(published), Some(draft)) => format!("{} published, draft {} differs", short(published), short(draft)),
        (Some(published), None) => format!("{} published", short(published)),
        (None, Some(draft)) => format!("{} draft", short(draft)),
        (None, None) => "none".to_owned(),
    };
    add("version", format!("{version}, changed {}", moment(row.changed_ms)), Tone::Plain);
    if let Some(activity) = store.catalog.activity.get(&row.flow) {
        let failed = if activity.failed > 0 { Tone::Bad } else { Tone::Plain };
        let since = moment(store.catalog.since_ms);
        add("since", format!("{since}: {} runs, {} failed", activity.runs, activity.failed), failed);
        if let Some(last) = &activity.last {
            let why = if last.error.is_empty() { String::new() } else { format!(": {}", last.error) };
            let text = format!("{} {} {}{why}", last.run.short(), last.state.word(), moment(last.created_ms));
            add("last run", text, run_tone(last.state));
        }
        if activity.held > 0 {
            let next = activity.next_held_ms.map_or(String::new(), |at| format!(", the next begins {}", moment(at)));
            add("held", format!("{} groups of events{next}", activity.held), Tone::Calm);
        }
    }
    if let Some(at) = row.next_ms {
        add("schedule", format!("next {}", moment(at)), Tone::Calm);
    }
    for trigger in &row.triggers {
        let id = trigger.split(':').next().unwrap_or_default();
        add("trigger", trigger.clone(), Tone::Plain);
        for hook in view.hooks.iter().filter(|hook| hook.trigger == id) {
            add("  URL", hook.url.clone(), Tone::Key);
            let (secret, tone) = match (hook.auth.as_str(), hook.secret_set) {
                ("none", _) => ("anybody who knows the URL may send", Tone::Warn),
                (_, true) => ("secret set", Tone::Plain),
                (_, false) => ("SECRET NOT SET: every delivery is refused", Tone::Bad),
            };
            add("  auth", format!("{}: {secret}", hook.auth), tone);
            let last = hook.last_event.map_or("none since the start".to_owned(), |event| event.short());
            add("  last", last, Tone::Dim);
        }
        for form in view.forms.iter().filter(|form| form.trigger == id) {
            add("  page", form.url.clone(), Tone::Key);
            add("  asks", form.fields.join(", "), Tone::Plain);
            let last = form.last_event.map_or("none since the start".to_owned(), |event| event.short());
            add("  last", last, Tone::Dim);
        }
        for poll in view.polls.iter().filter(|poll| poll.trigger == id) {
            let next = poll.next_ms.map_or(String::new(), |at| format!(", next {}", moment(at)));
            add("  asks", format!("{} every {}, {}{next}", poll.source, poll.every, poll.state), Tone::Plain);
            add("  came to", format!("{}, {} told", poll.cursor.to_json(), poll.told), Tone::Plain);
            if let Some(error) = &poll.error {
                add("  error", error.clone(), Tone::Bad);
            }
        }
    }
    for backfill in view.backfills.iter().take(BACKFILLS_SHOWN) {
        let tone = match backfill.state.as_str() {
            "running" => Tone::Good,
            "paused" | "failed" => Tone::Warn,
            _ => Tone::Dim,
        };
        let of = backfill.expected.map_or(String::new(), |all| format!(" of {all}"));
        let (id, state, told) = (backfill.id.short(), &backfill.state, backfill.told);
        add("backfill", format!("{id} {state}: {told}{of} told, {} skipped", backfill.skipped), tone);
        if let Some(why) = backfill.error.as_ref().or(backfill.waits_for.as_ref()) {
            add("  waits", why.clone(), Tone::Warn);
        }
    }
    out
}
