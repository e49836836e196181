//! Events that did not simply begin a run: held, dropped, repeated; with what was delivered.
//!
//! Invariant: the list is what the daemon stored and what it said since; nothing is guessed from runs.

mod view;

use aura_protocol::event::EventRow;
use aura_protocol::ids::EventId;
use aura_protocol::rpc::EventQuery;
use crossterm::event::KeyEvent;

use crate::action::{Action, Place, Request};
use crate::cli::event::word;
use crate::keymap::Command;
use crate::store::Store;
use crate::widgets::filter::{FilterField, Typed};
use crate::widgets::list::List;

/// Events read at a time.
const PAGE: u32 = 200;

/// State of the screen; it survives leaving it.
#[derive(Default)]
pub struct EventsScreen {
    /// What is shown of them.
    pub filter: FilterField,
    list: List<EventId>,
    below: bool,
    zoom: bool,
    top: usize,
    lines: usize,
    page: usize,
    asked: Option<EventId>,
}

/// The question for the newest events.
#[must_use]
pub fn newest() -> Request {
    Request::Events(EventQuery { limit: PAGE, ..EventQuery::default() })
}

impl EventsScreen {
    fn rows<'a>(&self, store: &'a Store) -> Vec<&'a EventRow> {
        let terms = self.filter.terms();
        store.events.rows.values().rev().filter(|row| terms.iter().all(|term| takes(row, term))).collect()
    }

    fn keys(&self, store: &Store) -> Vec<EventId> {
        self.rows(store).into_iter().map(|row| row.event).collect()
    }

    /// Shows the events of a flow only.
    pub fn only(&mut self, flow: &str) {
        self.filter.set(format!("flow:{flow}"));
        self.list.selected = None;
    }

    /// A key while the filter is typed.
    pub fn typed(&mut self, key: KeyEvent, store: &Store) -> Vec<Action> {
        match self.filter.typed(key) {
            Typed::Step(command) => self.command(command, store),
            Typed::Entered | Typed::Edited => vec![Action::Draw],
        }
    }

    /// What a command does here.
    pub fn command(&mut self, command: Command, store: &Store) -> Vec<Action> {
        let keys = self.keys(store);
        if self.below {
            let (last, half) = (self.lines.saturating_sub(self.page.max(1)), self.page.max(2) / 2);
            let to = match command {
                Command::Down => Some(self.top + 1),
                Command::Up => Some(self.top.saturating_sub(1)),
                Command::HalfDown => Some(self.top + half),
                Command::HalfUp => Some(self.top.saturating_sub(half)),
                Command::Top => Some(0),
                Command::Bottom => Some(last),
                _ => None,
            };
            if let Some(to) = to {
                self.top = to.min(last);
                return vec![Action::Draw];
            }
        } else if self.list.go(command, &keys) {
            self.top = 0;
            return std::iter::once(Action::Draw).chain(self.older(store, &keys)).collect();
        }
        let chosen = self.list.chosen(&keys).and_then(|event| store.events.rows.get(&event));
        match (command, chosen) {
            (Command::Filter, _) => {
                self.filter.open = true;
                vec![Action::Draw]
            }
            (Command::Pane | Command::PaneBack, _) => {
                self.below = !self.below;
                vec![Action::Draw]
            }
            (Command::Zoom, _) => {
                self.zoom = !self.zoom;
                vec![Action::Draw]
            }
            (Command::Enter, Some(row)) => match row.run {
                Some(run) => vec![Action::Go(Place::Run(run))],
                None => {
                    self.below = true;
                    vec![Action::Draw]
                }
            },
            (Command::Copy, Some(row)) => vec![Action::Copy(row.event.to_string())],
            _ => Vec::new(),
        }
    }

    fn older(&mut self, store: &Store, keys: &[EventId]) -> Option<Action> {
        let before = store.events.next.filter(|next| self.asked != Some(*next) && self.list.near_end(keys))?;
        self.asked = Some(before);
        Some(Action::Ask(Request::Events(EventQuery { before: Some(before), limit: PAGE, ..EventQuery::default() })))
    }
}

fn takes(row: &EventRow, term: &str) -> bool {
    let (not, term) = term.strip_prefix('!').map_or((false, term), |rest| (true, rest));
    let lower = |text: &str| text.to_lowercase();
    let found = match term.split_once(':') {
        Some(("state" | "s", text)) => word(row.state).contains(text),
        Some(("flow" | "f", text)) => lower(&row.flow).contains(text),
        Some(("trigger" | "t", text)) => lower(&row.trigger).contains(text),
        _ => {
            [&row.flow, &row.trigger, &row.reason, &row.event.to_string()].iter().any(|text| lower(text).contains(term))
                || word(row.state).contains(term)
        }
    };
    found != not
}
