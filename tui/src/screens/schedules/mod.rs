//! Schedules: what fires next, over all flows, what fired last and with which run, what was left out; live.
//!
//! Invariant: the list is what the daemon answered, soonest first; whatever changes a schedule is a question to the
//! person first, and a backfill says which runs it would start before it starts one.

mod view;

use aura_protocol::rpc::{ScheduleInfo, ScheduleQuery};
use crossterm::event::KeyEvent;

use crate::action::{Action, Place, Request};
use crate::cli::schedule::state;
use crate::keymap::Command;
use crate::schedules::{key, named};
use crate::store::Store;
use crate::target::quoted;
use crate::widgets::filter::{FilterField, Typed};
use crate::widgets::list::List;

/// Instants asked of each.
const COUNT: u32 = 10;

/// State of the screen; it survives leaving it.
#[derive(Default)]
pub struct SchedulesScreen {
    /// What is shown of them.
    pub filter: FilterField,
    list: List<(String, String)>,
    zoom: bool,
}

/// The question for all schedules.
#[must_use]
pub fn all() -> Request {
    Request::Schedules(ScheduleQuery { flow: None, count: COUNT })
}

impl SchedulesScreen {
    fn rows<'a>(&self, store: &'a Store) -> Vec<&'a ScheduleInfo> {
        let terms = self.filter.terms();
        let rows = store.schedules.in_order().into_iter();
        rows.filter(|row| terms.iter().all(|term| takes(row, term))).collect()
    }

    fn keys(&self, store: &Store) -> Vec<(String, String)> {
        self.rows(store).into_iter().map(key).collect()
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
        if self.list.go(command, &keys) {
            return vec![Action::Draw];
        }
        match command {
            Command::Filter => {
                self.filter.open = true;
                return vec![Action::Draw];
            }
            Command::Zoom => {
                self.zoom = !self.zoom;
                return vec![Action::Draw];
            }
            _ => {}
        }
        let chosen = self.list.chosen(&keys).and_then(|key| store.schedules.rows.get(&key));
        chosen.map_or_else(Vec::new, |row| decide(command, row))
    }
}

fn decide(command: Command, row: &ScheduleInfo) -> Vec<Action> {
    let name = format!("{}/{}", row.flow, row.trigger);
    match command {
        Command::Enter => match row.last_run {
            Some(run) => vec![Action::Go(Place::Run(run))],
            None => vec![Action::Say(format!("{name} has no last run to open"))],
        },
        Command::RunNow => {
            let question = format!("Start one run of {name} now? The schedule itself does not move.");
            vec![Action::Confirm(question, vec![Request::RunSchedule(named(row))])]
        }
        Command::Pause if !row.enabled => {
            vec![Action::Say(format!("{name} is off with its flow, so there is nothing to pause"))]
        }
        Command::Pause => {
            let paused = row.paused_by.is_some();
            let question = match paused {
                true => format!("Let {name} go on? What passed meanwhile is left out; b makes it up."),
                false => format!("Let {name} rest? Its flow goes on, and what passes meanwhile is left out."),
            };
            vec![Action::Confirm(question, vec![Request::PauseSchedule(named(row), !paused)])]
        }
        Command::Backfill if row.backfill.is_some() => {
            let question = format!("End the backfill of {name}? The runs that it started stay.");
            vec![Action::Confirm(question, vec![Request::StopBackfill(named(row))])]
        }
        Command::Backfill => {
            let line = format!("schedule backfill {} {} --dry-run --from ", quoted(&row.flow), quoted(&row.trigger));
            let usage = "2026-11-01 [--to 2026-11-15T12:00]; --yes in place of --dry-run starts them".to_owned();
            vec![Action::Line(line, usage)]
        }
        Command::RunsOf => vec![Action::RunsOf(row.flow.clone())],
        Command::EventsOf => vec![Action::EventsOf(row.flow.clone())],
        Command::Copy => vec![Action::Copy(name)],
        _ => Vec::new(),
    }
}

fn takes(row: &ScheduleInfo, term: &str) -> bool {
    let (not, term) = term.strip_prefix('!').map_or((false, term), |rest| (true, rest));
    let lower = |text: &str| text.to_lowercase();
    let found = match term.split_once(':') {
        Some(("state" | "s", text)) => state(row).contains(text),
        Some(("flow" | "f", text)) => lower(&row.flow).contains(text),
        Some(("trigger" | "t", text)) => lower(&row.trigger).contains(text),
        _ => [&row.flow, &row.trigger, &row.rule, &row.zone].iter().any(|text| lower(text).contains(term)),
    };
    found != not
}
