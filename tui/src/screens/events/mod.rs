//! Events that did not simply begin a run: held, dropped, repeated; with what was delivered.
//!
//! Invariant: the list is what the daemon stored and what it said since; nothing is guessed from runs.

mod view;

use aura_protocol::event::EventRow;
use aura_protocol::ids::EventId;
use aura_protocol::rpc::EventQuery;
use crossterm::event::{KeyCode, KeyEvent};

use crate::action::{Action, Place, Request};
use crate::cli::event::word;
use crate::keymap::Command;
use crate::store::Store;
use crate::widgets::field::Field;
use crate::widgets::list::List;

/// Events read at a time.
const PAGE: u32 = 200;

/// State of the screen; it survives leaving it.
#[derive(Default)]
pub struct EventsScreen {
    filter: Field,
    editing: bool,
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
        let terms: Vec<String> = self.filter.text.split_whitespace().map(str::to_lowercase).collect();
        store.events.rows.values().rev().filter(|row| terms.iter().all(|term| takes(row, term))).collect()
    }

    fn keys(&self, store: &Store) -> Vec<EventId> {
        self.rows(store).into_iter().map(|row| row.event).collect()
    }

    /// Shows the events of a flow only.
    pub fn only(&mut self, flow: &str) {
        self.filter.text = format!("flow:{flow}");
        self.editing = false;
        self.list.selected = None;
    }

    /// The field takes all keys while it is open.
    #[must_use]
    pub fn typing(&self) -> bool {
        self.editing
    }

    /// Pasted text goes into the open field only.
    pub fn paste(&mut self, text: &str) {
        if self.editing {
            self.filter.paste(text);
        }
    }

    /// A key while the filter is typed.
    pub fn typed(&mut self, key: KeyEvent, store: &Store) -> Vec<Action> {
        match key.code {
            KeyCode::Enter => self.editing = false,
            KeyCode::Esc => drop(self.clear()),
            KeyCode::Down => return self.command(Command::Down, store),
            KeyCode::Up => return self.command(Command::Up, store),
            _ => drop(self.filter.key(key)),
        }
        vec![Action::Draw]
    }

    /// Clears an open or filled filter; false if there was none.
    pub fn clear(&mut self) -> bool {
        let was = self.editing || !self.filter.text.is_empty();
        self.editing = false;
        self.filter.text.clear();
        was
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
                self.editing = true;
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
