//! Flows: what is there, whether it works, what it does next; live.
//!
//! Invariant: a failing flow explains itself on the last line without being opened; whatever changes a flow is
//! a question to the person first.

mod view;

use aura_protocol::Value;
use aura_protocol::rpc::FlowRow;
use crossterm::event::KeyEvent;

use crate::action::{Action, Place, Request};
use crate::keymap::Command;
use crate::store::Store;
use crate::widgets::filter::{FilterField, Typed};
use crate::widgets::list::List;

/// State of the screen; it survives leaving it.
#[derive(Default)]
pub struct Flows {
    /// What is shown of them.
    pub filter: FilterField,
    list: List<String>,
}

/// `on`, `off`, `paused` or `draft`.
#[must_use]
pub fn state(row: &FlowRow) -> &'static str {
    match (&row.published, row.enabled) {
        (None, _) => "draft",
        (Some(_), true) if row.paused => "paused",
        (Some(_), true) => "on",
        (Some(_), false) => "off",
    }
}

impl Flows {
    fn rows<'a>(&self, store: &'a Store) -> Vec<&'a FlowRow> {
        let terms = self.filter.terms();
        store.catalog.rows.values().filter(|row| terms.iter().all(|term| takes(row, term))).collect()
    }

    fn keys(&self, store: &Store) -> Vec<String> {
        self.rows(store).into_iter().map(|row| row.flow.clone()).collect()
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
        if command == Command::Filter {
            self.filter.open = true;
            return vec![Action::Draw];
        }
        let chosen = self.list.chosen(&keys).and_then(|name| store.catalog.rows.get(&name));
        let Some(row) = chosen else { return Vec::new() };
        match command {
            Command::Enter => vec![Action::Go(Place::Flow(row.id))],
            Command::Copy => vec![Action::Copy(row.flow.clone())],
            other => decide(other, row),
        }
    }
}

/// What can be done with a flow, from the list and from its own screen.
#[must_use]
pub fn decide(command: Command, row: &FlowRow) -> Vec<Action> {
    let name = row.flow.clone();
    match command {
        Command::Edit => vec![Action::Run(vec!["flow".to_owned(), "edit".to_owned(), name])],
        Command::RunNow if row.published.is_none() => {
            vec![Action::Say(format!("{name} has no published version yet: p publishes its draft"))]
        }
        Command::RunNow => vec![Action::StartDialog(name)],
        Command::Switch if row.published.is_none() => {
            vec![Action::Say(format!("{name} has no published version yet, so it takes no events"))]
        }
        Command::Switch => {
            let question = if row.enabled {
                format!("Stop {name} from taking events? Its live runs go on.")
            } else {
                format!("Let {name} take events?")
            };
            vec![Action::Confirm(question, vec![Request::Switch(name, !row.enabled)])]
        }
        Command::Pause if row.published.is_none() || !row.enabled => {
            vec![Action::Say(format!("{name} takes no events, so there is nothing to hold"))]
        }
        Command::Pause => {
            let question = match row.paused {
                true => format!("Let {name} go on, beginning with what was held?"),
                false => format!("Hold the events of {name}? They are accepted, and start when it goes on."),
            };
            vec![Action::Confirm(question, vec![Request::PauseFlow(name, !row.paused)])]
        }
        Command::Publish if row.draft.is_none() => {
            vec![Action::Say(format!("{name} has no draft that differs from its published version"))]
        }
        Command::Publish => {
            vec![Action::Confirm(format!("Publish the draft of {name}?"), vec![Request::Publish(name)])]
        }
        Command::RunsOf => vec![Action::RunsOf(name)],
        Command::EventsOf => vec![Action::EventsOf(name)],
        _ => Vec::new(),
    }
}

/// The question that starts a run with an input as it was typed.
///
/// # Errors
/// Why the input is no JSON.
pub fn start(name: &str, input: &str) -> Result<Request, String> {
    let input = input.trim();
    if input.is_empty() {
        return Ok(Request::Start(name.to_owned(), Value::Null));
    }
    let value = Value::from_json(input.as_bytes()).map_err(|error| error.to_string())?;
    Ok(Request::Start(name.to_owned(), value))
}

fn takes(row: &FlowRow, term: &str) -> bool {
    let (not, term) = term.strip_prefix('!').map_or((false, term), |rest| (true, rest));
    let triggers = || row.triggers.join(" ").to_lowercase();
    let found = match term.split_once(':') {
        Some(("state" | "s", text)) => state(row).contains(text),
        Some(("trigger" | "t", text)) => triggers().contains(text),
        _ => {
            row.flow.contains(term)
                || row.title.to_lowercase().contains(term)
                || triggers().contains(term)
                || state(row) == term
        }
    };
    found != not
}
