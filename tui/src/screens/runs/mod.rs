//! Runs: everything that is held, runs and ran, newest first, live.
//!
//! Invariant: the selection is anchored to its run, not to its row; a frozen list changes only by keys.

mod filter;
mod view;

use std::collections::BTreeSet;

use aura_protocol::event::EventRow;
use aura_protocol::ids::{EventId, RunId};
use aura_protocol::run::RunHead;
use crossterm::event::KeyEvent;

use crate::action::{Action, Place, Request};
use crate::keymap::Command;
use crate::store::Store;
use crate::widgets::filter::{FilterField, Typed};
use filter::Filter;

/// What a row is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// A held event.
    Held(EventId),
    /// A run.
    Run(RunId),
}

/// A row.
#[derive(Clone, Copy, Debug)]
pub enum Row<'a> {
    /// A held event.
    Held(&'a EventRow),
    /// A run.
    Run(&'a RunHead),
}

impl Row<'_> {
    fn key(&self) -> Key {
        match self {
            Self::Held(row) => Key::Held(row.event),
            Self::Run(head) => Key::Run(head.run),
        }
    }
}

struct Frozen {
    runs: Vec<RunHead>,
    held: Vec<EventRow>,
    version: u64,
}

/// State of the screen; it survives leaving it.
#[derive(Default)]
pub struct Runs {
    /// What is shown of them.
    pub filter: FilterField,
    /// `None`: the top row, whatever it is.
    selected: Option<Key>,
    offset: usize,
    marks: BTreeSet<RunId>,
    frozen: Option<Frozen>,
    page: usize,
}

fn known(store: &Store, flow: &str) -> bool {
    store.catalog.rows.contains_key(flow)
}

impl Runs {
    /// All rows that pass the filter.
    fn rows<'a>(&'a self, store: &'a Store) -> Vec<Row<'a>> {
        let filter = Filter::read(self.filter.text());
        let all: Vec<Row<'a>> = match &self.frozen {
            Some(frozen) => frozen.held.iter().map(Row::Held).chain(frozen.runs.iter().map(Row::Run)).collect(),
            None => store.held.values().rev().map(Row::Held).chain(store.runs.values().rev().map(Row::Run)).collect(),
        };
        // What only the daemon can say of a run it has said by giving it.
        let given = filter.needs_daemon().then(|| store.older_of(&filter.query(&|name| known(store, name))).given);
        let is_given = |row: &Row<'_>| match (&given, row) {
            (Some(given), Row::Run(head)) => given.contains(&head.run),
            (Some(_), Row::Held(_)) => false,
            (None, _) => true,
        };
        all.into_iter().filter(|row| is_given(row) && filter.takes(row, store.now_ms)).collect()
    }

    fn index(&self, rows: &[Row<'_>]) -> usize {
        let Some(selected) = self.selected else { return 0 };
        // A row that is gone leaves the cursor where it was on screen.
        rows.iter()
            .position(|row| row.key() == selected)
            .unwrap_or_else(|| self.offset.min(rows.len().saturating_sub(1)))
    }

    /// Shows the runs of a flow only.
    pub fn only(&mut self, flow: &str) {
        self.filter.set(format!("flow:{flow}"));
        self.selected = None;
    }

    /// The question for older runs, if the end of what is known is near and there may be more.
    fn older(&self, store: &Store) -> Option<Action> {
        let filter = Filter::read(self.filter.text());
        let mut query = filter.query(&|name| known(store, name));
        if filter.needs_daemon() && !store.was_asked(&query) {
            // Half a word is not asked for.
            return query.filter.is_some().then_some(Action::Ask(Request::Older(query)));
        }
        let rows = self.rows(store);
        if self.frozen.is_some() || self.index(&rows) + self.page.max(1) < rows.len() {
            return None;
        }
        let older = store.older_of(&query);
        query.before = Some(older.next.filter(|_| !older.asked)?);
        Some(Action::Ask(Request::Older(query)))
    }

    /// A key while the filter is typed.
    pub fn typed(&mut self, key: KeyEvent, store: &Store) -> Vec<Action> {
        match self.filter.typed(key) {
            Typed::Step(command) => self.command(command, store),
            Typed::Entered => std::iter::once(Action::Draw).chain(self.older(store)).collect(),
            Typed::Edited => vec![Action::Draw],
        }
    }

    fn go(&mut self, store: &Store, to: impl Fn(usize, usize) -> usize) -> Vec<Action> {
        let rows = self.rows(store);
        let last = rows.len().saturating_sub(1);
        let index = to(self.index(&rows), last).min(last);
        let key = rows.get(index).map(Row::key).filter(|_| index > 0);
        if key == self.selected && index > 0 {
            return self.older(store).into_iter().collect();
        }
        self.selected = key;
        std::iter::once(Action::Draw).chain(self.older(store)).collect()
    }

    /// What a command does here.
    pub fn command(&mut self, command: Command, store: &Store) -> Vec<Action> {
        let page = self.page.max(2) / 2;
        let chosen = {
            let rows = self.rows(store);
            let index = self.index(&rows);
            rows.get(index).map(Row::key)
        };
        match command {
            Command::Down => self.go(store, |at, _| at.saturating_add(1)),
            Command::Up => self.go(store, |at, _| at.saturating_sub(1)),
            Command::HalfDown => self.go(store, |at, _| at.saturating_add(page)),
            Command::HalfUp => self.go(store, |at, _| at.saturating_sub(page)),
            Command::Top => self.go(store, |_, _| 0),
            Command::Bottom => self.go(store, |_, last| last),
            Command::Filter => {
                self.filter.open = true;
                vec![Action::Draw]
            }
            Command::Mark => match chosen {
                Some(Key::Run(run)) => {
                    if !self.marks.remove(&run) {
                        self.marks.insert(run);
                    }
                    self.go(store, |at, _| at.saturating_add(1));
                    vec![Action::Draw]
                }
                _ => vec![Action::Say("a held event has no run yet: nothing to mark".to_owned())],
            },
            Command::Freeze => {
                self.frozen = match self.frozen.take() {
                    Some(_) => None,
                    None => Some(Frozen {
                        runs: store.runs.values().rev().cloned().collect(),
                        held: store.held.values().rev().cloned().collect(),
                        version: store.version,
                    }),
                };
                vec![Action::Draw]
            }
            Command::Enter => match chosen {
                Some(Key::Run(run)) => vec![Action::Go(Place::Run(run))],
                Some(Key::Held(_)) => {
                    vec![Action::Say("this event is held; its run begins when its time comes".to_owned())]
                }
                None => Vec::new(),
            },
            Command::Copy => match chosen {
                Some(Key::Run(run)) => vec![Action::Copy(run.to_string())],
                Some(Key::Held(event)) => vec![Action::Copy(event.to_string())],
                None => Vec::new(),
            },
            Command::Cancel => self.cancel(chosen, store),
            _ => Vec::new(),
        }
    }

    fn cancel(&mut self, chosen: Option<Key>, store: &Store) -> Vec<Action> {
        let live = |run: &RunId| store.runs.get(run).is_some_and(|head| !head.state.is_final());
        let wanted: Vec<RunId> = match chosen {
            _ if !self.marks.is_empty() => self.marks.iter().copied().filter(|run| live(run)).collect(),
            Some(Key::Run(run)) if live(&run) => vec![run],
            _ => Vec::new(),
        };
        let question = match wanted.as_slice() {
            [] => return vec![Action::Say("nothing to cancel: what is chosen has ended or is held".to_owned())],
            [run] => format!("Ask run {} to end?", run.short()),
            many => format!("Ask {} marked runs to end?", many.len()),
        };
        vec![Action::Confirm(question, wanted.into_iter().map(Request::Cancel).collect())]
    }
}
