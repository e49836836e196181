//! Which part of a flow is simulated: its steps to choose from, over the flow.
//!
//! Invariant: nothing of it is stored or sent but by `aura flow try`, which shows its call and asks; what it begins
//! is a command, and its line stands in the log.

use aura_protocol::flow;
use aura_protocol::ids::RunId;
use aura_protocol::rpc::OutlineRow;
use aura_protocol::text::display;
use crossterm::event::{KeyCode, KeyEvent};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use crate::action::Action;
use crate::look::Look;
use crate::theme::Tone;

/// A part that is being chosen.
#[derive(Clone, Debug, PartialEq)]
pub struct PartDialog {
    flow: String,
    steps: Vec<OutlineRow>,
    chosen: usize,
    /// The flow's last run, whose data can be taken.
    last: Option<RunId>,
    recorded: bool,
}

impl PartDialog {
    /// Of a flow's text; its last run may give the data.
    ///
    /// # Errors
    /// A sentence: the text is no flow.
    pub fn new(text: &str, last: Option<RunId>) -> Result<Self, String> {
        let read = flow::read(text).map_err(|found| {
            let first = found.first().map(|finding| format!(": line {}: {}", finding.line, finding.message));
            format!("the text has errors, so nothing of it can be tried{}", first.unwrap_or_default())
        })?;
        let steps = flow::outline(&read.flow);
        Ok(Self { flow: read.flow.flow, steps, chosen: 0, last, recorded: false })
    }

    /// Takes a key; `Some`: it closes, and this is done.
    pub fn key(&mut self, key: KeyEvent) -> Option<Vec<Action>> {
        let last = self.steps.len().saturating_sub(1);
        match key.code {
            KeyCode::Char('j') | KeyCode::Down => self.chosen = (self.chosen + 1).min(last),
            KeyCode::Char('k') | KeyCode::Up => self.chosen = self.chosen.saturating_sub(1),
            KeyCode::Char('g') | KeyCode::Home => self.chosen = 0,
            KeyCode::Char('G') | KeyCode::End => self.chosen = last,
            KeyCode::PageDown => self.chosen = (self.chosen + 8).min(last),
            KeyCode::PageUp => self.chosen = self.chosen.saturating_sub(8),
            KeyCode::Char('r') if self.last.is_some() => self.recorded = !self.recorded,
            KeyCode::Enter | KeyCode::Char('t') => return Some(self.simulated(Some("--to"))),
            KeyCode::Char('o') => return Some(self.simulated(Some("--only"))),
            KeyCode::Char('a') => return Some(self.simulated(None)),
            KeyCode::Char('x') => return Some(self.tried()),
            KeyCode::Char('q' | 'n') => return Some(Vec::new()),
            _ => {}
        }
        None
    }

    fn simulated(&self, how: Option<&str>) -> Vec<Action> {
        let mut words = vec!["flow".to_owned(), "simulate".to_owned(), self.flow.clone()];
        if let (Some(how), Some(step)) = (how, self.steps.get(self.chosen)) {
            words.extend([how.to_owned(), step.step.clone()]);
        }
        if let Some(run) = self.last.filter(|_| self.recorded) {
            words.extend(["--from-run".to_owned(), run.to_string()]);
        }
        vec![Action::Run(words)]
    }

    /// The chosen step really: the command shows what it would send, and asks.
    fn tried(&self) -> Vec<Action> {
        let step = self.steps.get(self.chosen).map(|row| row.step.clone()).unwrap_or_default();
        let mut words = ["flow".to_owned(), "try".to_owned(), self.flow.clone(), "--step".to_owned(), step].to_vec();
        if let Some(run) = self.last.filter(|_| self.recorded) {
            words.extend(["--from-run".to_owned(), run.to_string()]);
        }
        vec![Action::Run(words)]
    }

    /// How high it wants to be.
    #[must_use]
    pub fn height(&self) -> u16 {
        u16::try_from(self.steps.len()).unwrap_or(u16::MAX).saturating_add(5)
    }

    /// The title of its box.
    #[must_use]
    pub fn title(&self) -> String {
        display(&format!("try {}: nothing is sent but by x", self.flow))
    }

    /// Draws into its box.
    pub fn draw(&self, look: &Look, buf: &mut Buffer, area: Rect) {
        let list = Rect { height: area.height.saturating_sub(2), ..area };
        let first = (self.chosen + 1).saturating_sub(usize::from(list.height));
        for (y, (at, row)) in (0..list.height).zip(self.steps.iter().enumerate().skip(first)) {
            let indent = u16::try_from(row.depth.min(8)).unwrap_or(0) * 2;
            let room = list.width.saturating_sub(indent + 2);
            let used =
                look.put(buf, list, 1 + indent, y, &look.fit(&display(&row.step), usize::from(room)), Tone::Plain);
            let scope = if row.scope == "steps" { String::new() } else { format!("  [{}]", row.scope) };
            let side = display(&format!("{}{scope}", row.kind));
            let from = indent + used + 3;
            let room = list.width.saturating_sub(from + 1);
            look.put(buf, list, from, y, &look.fit(&side, usize::from(room)), Tone::Dim);
            if at == self.chosen {
                look.select(buf, list, y);
            }
        }
        let foot = |row: u16| Rect { y: area.y + area.height.saturating_sub(row), height: 1, ..area };
        let data = match (self.last, self.recorded) {
            (None, _) => "",
            (Some(_), true) => " make data up",
            (Some(_), false) => " take the last run's data",
        };
        let data_key = if data.is_empty() { "" } else { " r" };
        look.pieces(buf, foot(2), 0, &[(data_key, Tone::Key), (data, Tone::Plain)]);
        look.pieces(
            buf,
            foot(1),
            0,
            &[
                (" enter", Tone::Key),
                (" up to it   ", Tone::Plain),
                ("o", Tone::Key),
                (" only it   ", Tone::Plain),
                ("x", Tone::Key),
                (" really   ", Tone::Plain),
                ("a", Tone::Key),
                (" all   ", Tone::Plain),
                ("esc", Tone::Key),
                (" no", Tone::Plain),
            ],
        );
    }
}
