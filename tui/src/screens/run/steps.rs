//! The steps pane: trigger, steps in written order, attempts and waits below a step that needed several.
//!
//! Invariant: rows come from `journal::timeline`, as `aura run show` prints it.

use aura_protocol::rpc::RunDetail;
use aura_protocol::run::StepState;
use aura_protocol::text::display;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::RunScreen;
use crate::journal::{self, Span, Step};
use crate::look::{Look, step_tone};
use crate::theme::Tone;
use crate::times;

/// Steps that can be selected: the trigger (empty) and every step.
pub fn selectable(detail: &RunDetail) -> Vec<String> {
    let steps = journal::timeline(&detail.outline, &detail.journal);
    std::iter::once(String::new()).chain(steps.into_iter().map(|step| step.id)).collect()
}

/// The step to look at unless a person chose one: in doubt, failed, at work, else the last that began.
pub fn current(detail: &RunDetail) -> String {
    let steps = journal::timeline(&detail.outline, &detail.journal);
    let of = |wanted: &[StepState]| steps.iter().rev().find(|step| wanted.contains(&step.state));
    let found = of(&[StepState::InDoubt])
        .or_else(|| {
            // What began last is what is at work inside of the others.
            let active = [StepState::Running, StepState::Retrying, StepState::Waiting];
            steps.iter().filter(|step| active.contains(&step.state)).max_by_key(|step| step.from_ms)
        })
        .or_else(|| steps.iter().rev().find(|step| step.state == StepState::Failed && !step.handled))
        .or_else(|| steps.iter().filter(|step| step.state == StepState::Succeeded).max_by_key(|step| step.to_ms));
    found.map_or(String::new(), |step| step.id.clone())
}

/// Ids of steps in a state.
pub fn in_state(detail: &RunDetail, state: StepState) -> Vec<String> {
    let steps = journal::timeline(&detail.outline, &detail.journal);
    steps.into_iter().filter(|step| step.state == state).map(|step| step.id).collect()
}

/// Whether a step of the run asks people now.
pub fn asks(detail: &RunDetail) -> bool {
    let steps = journal::timeline(&detail.outline, &detail.journal);
    steps.iter().any(|step| step.state == StepState::Waiting && step.kind == "approval")
}

enum Row<'a> {
    Trigger,
    Scope(&'a Step),
    Step(&'a Step),
    Span(&'a Step, &'a Span),
}

fn rows(steps: &[Step]) -> Vec<Row<'_>> {
    let mut rows = vec![Row::Trigger];
    // The scope told last at each depth; deeper ones end where one less deep goes on.
    let mut told: Vec<&str> = Vec::new();
    for step in steps {
        let depth = usize::try_from(step.depth).unwrap_or(0);
        told.truncate(depth + 1);
        let known = told.len() > depth && told.last() == Some(&step.scope.as_str());
        told.resize(depth, "");
        told.push(&step.scope);
        if !known && step.scope != "steps" && !step.scope.is_empty() {
            rows.push(Row::Scope(step));
        }
        rows.push(Row::Step(step));
        if step.spans.len() > 1 || step.spans.iter().any(|span| span.label == "wait") {
            rows.extend(step.spans.iter().map(|span| Row::Span(step, span)));
        }
    }
    rows
}

impl RunScreen {
    /// Draws the timeline.
    pub(super) fn draw_steps(&mut self, look: &Look, detail: &RunDetail, now_ms: i64, buf: &mut Buffer, area: Rect) {
        let steps = journal::timeline(&detail.outline, &detail.journal);
        let rows = rows(&steps);
        let page = usize::from(area.height);
        self.pages[0] = page;
        let at = |row: &Row<'_>| match row {
            Row::Trigger => self.selected.is_empty(),
            Row::Step(step) => step.id == self.selected,
            _ => false,
        };
        let index = rows.iter().position(at).unwrap_or(0);
        // A step's attempts come into view with it.
        let end = rows.iter().skip(index + 1).take_while(|row| matches!(row, Row::Span(..))).count() + index;
        let mut offset = self.steps_offset.min(rows.len().saturating_sub(page));
        if end >= offset + page {
            offset = (end + 1).saturating_sub(page);
        }
        offset = offset.min(index);
        self.steps_offset = offset;
        for (y, (at, row)) in (0..area.height).zip(rows.iter().enumerate().skip(offset)) {
            let line = Rect { y: area.y + y, height: 1, ..area };
            draw_row(look, detail, now_ms, buf, line, row);
            if at == index {
                look.select(buf, line, 0);
            }
        }
    }
}

fn draw_row(look: &Look, detail: &RunDetail, now_ms: i64, buf: &mut Buffer, area: Rect, row: &Row<'_>) {
    let wide = usize::from(area.width);
    let times = if wide >= 44 { 18 } else { 9 };
    let bar = if wide >= 84 { wide - 64 } else { 0 };
    let room = wide.saturating_sub(14 + times + bar);
    let left = |depth: u32| usize::try_from(depth).unwrap_or(0).min(10) * 2;
    let mut line =
        |mark: &str, state: &str, tone: Tone, name: &str, name_tone: Tone, from: Option<i64>, to: Option<i64>| {
            let x = look.put(buf, area, 1, 0, mark, tone);
            look.put(buf, area, x + 2, 0, &look.fit(state, 9), tone);
            look.put(buf, area, 13, 0, &look.fit(name, room), name_tone);
            let mut x = u16::try_from(wide - times - bar).unwrap_or(0);
            if times == 18 {
                let at = from.map_or(String::new(), |at| short(at, now_ms, look));
                look.put(buf, area, x, 0, &at, Tone::Dim);
                x += 10;
            }
            let took = match (from, to) {
                (Some(from), Some(to)) => times::took(to - from),
                _ => "-".to_owned(),
            };
            look.put(buf, area, x, 0, &format!("{took:>7}"), Tone::Plain);
            if bar > 2
                && let Some(from) = from
            {
                let (start, end) = (detail.head.created_ms, last(detail).max(to.unwrap_or(0)));
                let (skip, count) = scaled(from - start, to.unwrap_or(end) - start, end - start, bar - 2);
                let sign = if state == "wait" { look.glyphs.dots } else { look.glyphs.bar };
                let x = u16::try_from(wide - bar + 1 + skip).unwrap_or(0);
                look.put(buf, area, x, 0, &sign.repeat(count), tone);
            }
        };
    match row {
        Row::Trigger => {
            let name = display(&format!("{} (trigger)", detail.head.trigger));
            line("", "event", Tone::Plain, &name, Tone::Plain, Some(detail.head.created_ms), None);
        }
        Row::Scope(step) => {
            let depth = left(step.depth).saturating_sub(2);
            look.put(buf, area, 13, 0, &format!("{}{}", " ".repeat(depth), display(&step.scope)), Tone::Dim);
        }
        Row::Step(step) => {
            let mut kind = if step.kind.is_empty() { String::new() } else { format!("  {}", step.kind) };
            if step.items.is_some() || step.undone {
                kind.push_str(&format!("  {}", step.told()));
            }
            let name = display(&format!("{}{kind}", step.id));
            let name = format!("{}{name}", " ".repeat(left(step.depth)));
            let to = step.to_ms.filter(|_| step.state != StepState::Skipped);
            let tone = if step.state == StepState::Skipped { Tone::Dim } else { Tone::Plain };
            let (mark, mark_tone) = match step.handled {
                true => ("!", Tone::Warn),
                false => (look.glyphs.step(step.state), step_tone(step.state)),
            };
            line(mark, step.word(), mark_tone, &name, tone, step.from_ms, to);
        }
        Row::Span(step, span) => {
            let indent = " ".repeat(left(step.depth) + 2);
            let wait = span.label == "wait";
            let name = if wait {
                format!("{indent}wait until {}", span.to_ms.map_or(String::new(), |to| short(to, now_ms, look)))
            } else {
                format!("{indent}{} {}", span.label, span.note)
            };
            let state = if wait { "wait" } else { span.state.word() };
            let tone = if wait { Tone::Calm } else { step_tone(span.state) };
            line("", state, tone, &display(&name), Tone::Dim, Some(span.from_ms), span.to_ms);
        }
    }
}

/// Clock today, day otherwise; at most nine cells.
fn short(at_ms: i64, now_ms: i64, look: &Look) -> String {
    let text = times::moment(at_ms, now_ms, &look.zone);
    if text.len() > 9 { text.chars().skip(4).collect() } else { text }
}

fn last(detail: &RunDetail) -> i64 {
    let last = detail.journal.last().map_or(detail.head.created_ms, |last| last.at_ms);
    detail.head.finished_ms.unwrap_or(last).max(detail.head.created_ms + 1)
}

/// Where a bar begins and how long it is, of a number of cells; at least one, inside the cells.
fn scaled(from: i64, to: i64, whole: i64, cells: usize) -> (usize, usize) {
    let cells_wide = i128::try_from(cells).unwrap_or(0);
    let place = |ms: i64| {
        let place = i128::from(ms.max(0)) * cells_wide / i128::from(whole.max(1));
        usize::try_from(place).unwrap_or(0)
    };
    let begin = place(from).min(cells.saturating_sub(1));
    let end = place(to).clamp(begin + 1, cells.max(begin + 1));
    (begin, end - begin)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_stay_inside_and_are_never_empty() {
        let check = |from, to, expected| assert_eq!(scaled(from, to, 1000, 20), expected);
        check(0, 0, (0, 1));
        check(0, 1000, (0, 20));
        check(500, 750, (10, 5));
        check(1000, 1000, (19, 1));
        check(-5, 5000, (0, 20));
    }
}
