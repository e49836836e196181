//! One run: its steps as a timeline, the payload of the selected step, its log.
//!
//! Invariant: the log stays where the reader is; the selection is anchored to its step.

mod log;
mod payload;
mod steps;
mod view;

use aura_protocol::approval::Question;
use aura_protocol::ids::RunId;
use aura_protocol::rpc::{PayloadQuery, RunRef, RunReplay, VersionOf};
use aura_protocol::run::{Point, RunState, StepState};

use crate::action::{Action, Request};
use crate::cli::run_replay::point_of_failure;
use crate::keymap::Command;
use crate::store::Store;
use payload::{Part, Payload};

/// Asks what a replay would do.
fn replay(run: RunId, point: Point, version: VersionOf) -> Action {
    let run = RunRef(run.to_string());
    let request = RunReplay { run, point, input: None, version, reuse_keys: false, preview: true };
    Action::Ask(Request::Replay(Box::new(request)))
}

/// A pane.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Pane {
    #[default]
    Steps,
    Payload,
    Log,
}

impl Pane {
    fn next(self) -> Self {
        match self {
            Self::Steps => Self::Payload,
            Self::Payload => Self::Log,
            Self::Log => Self::Steps,
        }
    }
}

/// State of the screen for one run.
#[derive(Default)]
pub struct RunScreen {
    run: Option<RunId>,
    pane: Pane,
    zoom: bool,
    /// Step id; empty for the trigger.
    selected: String,
    moved: bool,
    steps_offset: usize,
    part: Option<Part>,
    fold: usize,
    wrap: bool,
    payload_top: usize,
    payload_lines: usize,
    window_at: u64,
    asked: Option<PayloadQuery>,
    /// First line shown; `None`: follow the end.
    log_top: Option<usize>,
    log_lines: usize,
    pages: [usize; 3],
}

impl RunScreen {
    /// Opens a run.
    pub fn open(&mut self, run: RunId) {
        if self.run != Some(run) {
            *self = Self { run: Some(run), wrap: true, ..Self::default() };
        }
    }

    /// What must be asked now so that the screen can show what it should.
    pub fn wants(&mut self, store: &Store) -> Option<Request> {
        let detail = store.detail.as_ref().filter(|detail| Some(detail.head.run) == self.run)?;
        if !self.moved {
            self.selected = steps::current(detail);
        }
        let Payload::Window(query) = payload::of(detail, &self.selected, self.part, self.window_at) else {
            return None;
        };
        let have = store.window.as_ref().is_some_and(|window| window.query == query);
        if have || self.asked.as_ref() == Some(&query) {
            return None;
        }
        self.asked = Some(query.clone());
        Some(Request::Payload(query))
    }

    /// Whether the footer offers a command: only what this run allows as it stands. Its key answers all the same.
    pub fn offers(&self, command: Command, store: &Store) -> bool {
        let Some(detail) = store.detail.as_ref().filter(|detail| Some(detail.head.run) == self.run) else {
            return true;
        };
        let ended = detail.head.state.is_final();
        match command {
            Command::Cancel | Command::Pause => !ended,
            Command::Vote => !ended && steps::asks(detail),
            Command::Resolve => !steps::in_state(detail, StepState::InDoubt).is_empty(),
            Command::Replay | Command::Retry => ended,
            _ => true,
        }
    }

    /// What a command does here.
    pub fn command(&mut self, command: Command, store: &Store) -> Vec<Action> {
        let Some(detail) = store.detail.as_ref().filter(|detail| Some(detail.head.run) == self.run) else {
            return Vec::new();
        };
        let page = self.pages.get(self.pane as usize).copied().unwrap_or(0).max(2) / 2;
        match command {
            Command::Down => self.scroll(store, 1),
            Command::Up => self.scroll(store, -1),
            Command::HalfDown => self.scroll(store, i64::try_from(page).unwrap_or(1)),
            Command::HalfUp => self.scroll(store, -i64::try_from(page).unwrap_or(1)),
            Command::Top => self.scroll(store, i64::MIN / 2),
            Command::Bottom => self.scroll(store, i64::MAX / 2),
            Command::Pane | Command::PaneBack => {
                self.pane = if command == Command::Pane { self.pane.next() } else { self.pane.next().next() };
                vec![Action::Draw]
            }
            Command::Enter => {
                self.pane = Pane::Payload;
                vec![Action::Draw]
            }
            Command::Zoom => {
                self.zoom = !self.zoom;
                vec![Action::Draw]
            }
            Command::Input => self.show(Part::Input),
            Command::Output => self.show(Part::Output),
            Command::Error => self.show(Part::Error),
            Command::Fold => {
                self.fold = (self.fold + 1) % 4;
                self.payload_top = 0;
                vec![Action::Draw]
            }
            Command::Wrap => {
                self.wrap = !self.wrap;
                vec![Action::Draw]
            }
            Command::NextWindow | Command::PriorWindow => {
                let Some(window) = store.window.as_ref().filter(|_| self.asked.is_some()) else {
                    return vec![Action::Say("this payload is shown whole".to_owned())];
                };
                let step = u64::from(payload::WINDOW);
                let to = if command == Command::NextWindow {
                    self.window_at.saturating_add(step)
                } else {
                    self.window_at.saturating_sub(step)
                };
                if to >= window.total || to == self.window_at {
                    return vec![Action::Say("no window further that way".to_owned())];
                }
                self.window_at = to;
                self.payload_top = 0;
                vec![Action::Draw]
            }
            Command::Follow => {
                self.log_top = match self.log_top {
                    Some(_) => None,
                    None => Some(self.log_lines.saturating_sub(self.pages[2])),
                };
                vec![Action::Draw]
            }
            Command::Cancel => {
                if detail.head.state.is_final() {
                    return vec![Action::Say(format!("this run has ended: {}", detail.head.state.word()))];
                }
                let run = detail.head.run;
                vec![Action::Confirm(format!("Ask run {} to end?", run.short()), vec![Request::Cancel(run)])]
            }
            Command::Vote | Command::Pause if detail.head.state.is_final() => {
                vec![Action::Say(format!("this run has ended: {}", detail.head.state.word()))]
            }
            Command::Pause => {
                let (run, paused) = (detail.head.run, detail.head.state == RunState::Paused);
                let question = match paused {
                    true => format!("Let run {} go on?", run.short()),
                    false => format!("Hold run {} where it is? What is out ends, nothing more begins.", run.short()),
                };
                vec![Action::Confirm(question, vec![Request::Pause(run, !paused)])]
            }
            Command::Vote => vec![Action::Ask(Request::Asks(detail.head.run))],
            Command::Resolve => {
                let doubtful = steps::in_state(detail, StepState::InDoubt);
                let chosen = doubtful.iter().find(|step| **step == self.selected).or_else(|| doubtful.first());
                match chosen {
                    Some(step) => vec![Action::ResolveDialog(detail.head.run, step.clone())],
                    None => vec![Action::Say("no step of this run is in doubt".to_owned())],
                }
            }
            Command::Replay | Command::Retry if !detail.head.state.is_final() => {
                let text = format!("this run goes on ({}): only what has ended is run again", detail.head.state.word());
                vec![Action::Say(text)]
            }
            Command::Replay => {
                let step = self.selected.clone();
                let point = if step.is_empty() { Point::Start } else { Point::Step(step) };
                vec![replay(detail.head.run, point, VersionOf::Run)]
            }
            Command::Retry => match point_of_failure(&detail.head) {
                Ok(point) => vec![replay(detail.head.run, point, VersionOf::Published)],
                Err(error) => vec![Action::Say(error.message)],
            },
            Command::Copy if self.selected.is_empty() => vec![Action::Copy(detail.head.event.to_string())],
            Command::Copy => vec![Action::Copy(self.selected.clone())],
            Command::CopyId => vec![Action::Copy(detail.head.run.to_string())],
            _ => Vec::new(),
        }
    }

    /// The question of the selected step, else the first one.
    pub fn chosen(&self, mut questions: Vec<Question>) -> Option<Question> {
        let at = questions.iter().position(|question| question.path == self.selected).unwrap_or(0);
        (at < questions.len()).then(|| questions.swap_remove(at))
    }

    fn show(&mut self, part: Part) -> Vec<Action> {
        self.part = Some(part);
        self.payload_top = 0;
        self.window_at = 0;
        vec![Action::Draw]
    }

    fn scroll(&mut self, store: &Store, by: i64) -> Vec<Action> {
        let moved = |at: usize, last: usize| {
            let at = i64::try_from(at).unwrap_or(0).saturating_add(by).max(0);
            usize::try_from(at).unwrap_or(0).min(last)
        };
        match self.pane {
            Pane::Steps => {
                let Some(detail) = &store.detail else { return Vec::new() };
                let ids = steps::selectable(detail);
                let index = ids.iter().position(|id| *id == self.selected).unwrap_or(0);
                let Some(chosen) = ids.get(moved(index, ids.len().saturating_sub(1))) else { return Vec::new() };
                self.moved = true;
                if *chosen != self.selected {
                    self.selected.clone_from(chosen);
                    self.part = None;
                    self.payload_top = 0;
                    self.window_at = 0;
                }
            }
            Pane::Payload => {
                let last = self.payload_lines.saturating_sub(self.pages[1].max(1));
                self.payload_top = moved(self.payload_top, last);
            }
            Pane::Log => {
                let last = self.log_lines.saturating_sub(self.pages[2].max(1));
                let top = moved(self.log_top.unwrap_or(last).min(last), last);
                // At the very end by the reader's own key: follow again.
                self.log_top = if top == last && by > 0 { None } else { Some(top) };
            }
        }
        vec![Action::Draw]
    }
}
