//! Webhooks: endpoints left, what came to them right, with the verdict on each; one delivery in full.
//!
//! Invariant: a refused delivery says on its row which part differed, and every change is a question to the person first.

mod view;

use aura_protocol::ids::DeliveryId;
use aura_protocol::rpc::{DeliveryQuery, DeliveryRow, Webhook};
use crossterm::event::KeyEvent;

use crate::action::{Action, Place, Request};
use crate::hooks::Whose;
use crate::keymap::Command;
use crate::store::Store;
use crate::widgets::filter::{FilterField, Typed};
use crate::widgets::list::List;

/// Deliveries read at a time.
const PAGE: u32 = 100;

/// Which pane takes keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Pane {
    #[default]
    Endpoints,
    Deliveries,
    Detail,
}

/// State of the screen; it survives leaving it.
#[derive(Default)]
pub struct HooksScreen {
    /// What is shown of the deliveries.
    pub filter: FilterField,
    endpoints: List<String>,
    deliveries: List<DeliveryId>,
    pane: Pane,
    zoom: bool,
    top: usize,
    lines: usize,
    page: usize,
    asked: Option<DeliveryId>,
}

/// The first two rows stand for no single endpoint.
const ALL: &str = "all";
const UNCLAIMED: &str = "unclaimed";

/// The question for the newest deliveries.
#[must_use]
pub fn query(whose: &Whose) -> DeliveryQuery {
    let all = DeliveryQuery { limit: PAGE, ..DeliveryQuery::default() };
    match whose {
        Whose::All => all,
        Whose::Unclaimed => DeliveryQuery { unclaimed: true, ..all },
        Whose::Endpoint(flow, trigger) => {
            DeliveryQuery { flow: Some(flow.clone()), trigger: Some(trigger.clone()), ..all }
        }
    }
}

fn name(hook: &Webhook) -> String {
    format!("{}/{}", hook.flow, hook.trigger)
}

impl HooksScreen {
    /// What is asked when the screen opens or something happened.
    #[must_use]
    pub fn wants(&self, store: &Store) -> Vec<Request> {
        vec![Request::Hooks, Request::Deliveries(store.hooks.whose.clone(), query(&store.hooks.whose))]
    }

    fn names(store: &Store) -> Vec<String> {
        [ALL, UNCLAIMED].into_iter().map(str::to_owned).chain(store.hooks.rows.iter().map(name)).collect()
    }

    fn hook<'a>(&self, store: &'a Store) -> Option<&'a Webhook> {
        let chosen = self.endpoints.chosen(&Self::names(store))?;
        store.hooks.rows.iter().find(|hook| name(hook) == chosen)
    }

    fn rows<'a>(&self, store: &'a Store) -> Vec<&'a DeliveryRow> {
        let terms = self.filter.terms();
        store.hooks.deliveries.values().rev().filter(|row| terms.iter().all(|term| takes(row, term))).collect()
    }

    fn ids(&self, store: &Store) -> Vec<DeliveryId> {
        self.rows(store).into_iter().map(|row| row.id).collect()
    }

    fn row<'a>(&self, store: &'a Store) -> Option<&'a DeliveryRow> {
        let chosen = self.deliveries.chosen(&self.ids(store))?;
        store.hooks.deliveries.get(&chosen)
    }

    /// A key while the filter is typed.
    pub fn typed(&mut self, key: KeyEvent, store: &Store) -> Vec<Action> {
        match self.filter.typed(key) {
            Typed::Step(command) => self.command(command, store),
            Typed::Entered | Typed::Edited => vec![Action::Draw],
        }
    }

    /// Back from the delivery to the list, and from there to the endpoints; a filter is taken away before that.
    pub fn stepped_back(&mut self) -> bool {
        let to = match self.pane {
            Pane::Detail => Pane::Deliveries,
            Pane::Deliveries if self.filter.text().is_empty() => Pane::Endpoints,
            _ => return false,
        };
        self.pane = to;
        true
    }

    /// What a command does here.
    pub fn command(&mut self, command: Command, store: &Store) -> Vec<Action> {
        match command {
            Command::Filter => {
                self.filter.open = true;
                self.pane = Pane::Deliveries;
                return vec![Action::Draw];
            }
            Command::Pane | Command::PaneBack => {
                let open = store.hooks.open.is_some();
                self.pane = match (self.pane, command == Command::Pane) {
                    (Pane::Endpoints, true) | (Pane::Detail, false) => Pane::Deliveries,
                    (Pane::Deliveries, true) | (Pane::Endpoints, false) if open => Pane::Detail,
                    (Pane::Endpoints, false) => Pane::Deliveries,
                    _ => Pane::Endpoints,
                };
                return vec![Action::Draw];
            }
            Command::Zoom => {
                self.zoom = !self.zoom;
                return vec![Action::Draw];
            }
            _ => {}
        }
        let moved = match self.pane {
            Pane::Endpoints => self.in_endpoints(command, store),
            Pane::Deliveries => self.in_deliveries(command, store),
            Pane::Detail => self.in_detail(command, store),
        };
        if !moved.is_empty() {
            return moved;
        }
        self.decide(command, store)
    }

    fn in_endpoints(&mut self, command: Command, store: &Store) -> Vec<Action> {
        let names = Self::names(store);
        if self.endpoints.go(command, &names) {
            let whose = match (self.endpoints.chosen(&names).as_deref(), self.hook(store)) {
                (Some(UNCLAIMED), _) => Whose::Unclaimed,
                (_, Some(hook)) => Whose::Endpoint(hook.flow.clone(), hook.trigger.clone()),
                _ => Whose::All,
            };
            self.deliveries.selected = None;
            self.asked = None;
            return vec![Action::Ask(Request::Deliveries(whose.clone(), query(&whose)))];
        }
        if command == Command::Enter {
            self.pane = Pane::Deliveries;
            return vec![Action::Draw];
        }
        Vec::new()
    }

    fn in_deliveries(&mut self, command: Command, store: &Store) -> Vec<Action> {
        let ids = self.ids(store);
        if self.deliveries.go(command, &ids) {
            let before = store.hooks.next.filter(|next| self.asked != Some(*next) && self.deliveries.near_end(&ids));
            let mut actions = vec![Action::Draw];
            if let Some(before) = before {
                self.asked = Some(before);
                let whose = store.hooks.whose.clone();
                let older = DeliveryQuery { before: Some(before), ..query(&whose) };
                actions.push(Action::Ask(Request::Deliveries(whose, older)));
            }
            return actions;
        }
        match (command, self.row(store)) {
            (Command::Enter, Some(row)) => {
                self.pane = Pane::Detail;
                self.top = 0;
                vec![Action::Ask(Request::Delivery(row.id))]
            }
            _ => Vec::new(),
        }
    }

    fn in_detail(&mut self, command: Command, store: &Store) -> Vec<Action> {
        let (last, half) = (self.lines.saturating_sub(self.page.max(1)), self.page.max(2) / 2);
        let to = match command {
            Command::Down => self.top + 1,
            Command::Up => self.top.saturating_sub(1),
            Command::HalfDown => self.top + half,
            Command::HalfUp => self.top.saturating_sub(half),
            Command::Top => 0,
            Command::Bottom => last,
            Command::Enter => {
                let run = store.hooks.open.as_ref().and_then(|detail| detail.row.run);
                return run.map(|run| Action::Go(Place::Run(run))).into_iter().collect();
            }
            _ => return Vec::new(),
        };
        self.top = to.min(last);
        vec![Action::Draw]
    }

    /// What can be done with the chosen endpoint or delivery.
    fn decide(&mut self, command: Command, store: &Store) -> Vec<Action> {
        let (hook, row) = (self.hook(store), self.row(store));
        match (command, hook, row) {
            (Command::CopyUrl, Some(hook), _) => vec![Action::Copy(hook.url.clone())],
            (Command::CopyUrl, None, _) => vec![Action::Say("choose an endpoint first".to_owned())],
            (Command::Copy, _, Some(row)) => vec![Action::Copy(row.id.to_string())],
            (Command::Replay, _, Some(row)) => {
                let question = format!("Deliver {} once more?", row.id.short());
                vec![Action::Confirm(question, vec![Request::Redeliver(row.id)])]
            }
            (Command::Claim, _, Some(row)) if row.event.is_none() => {
                let words = format!("webhook claim {} ", row.id);
                vec![Action::Line(words, "FLOW/TRIGGER takes it, if it proves itself there".to_owned())]
            }
            (Command::Claim, _, Some(_)) => vec![Action::Say("this one was taken already".to_owned())],
            (Command::Rotate, Some(hook), _) => {
                let words = format!("webhook rotate {} --address --keep 24h", name(hook));
                let usage = "--address, or --secret @FILE, or --generate FILE; --keep TIME".to_owned();
                vec![Action::Line(words, usage)]
            }
            (Command::Pause, Some(hook), _) => {
                let question = match hook.closed {
                    true => format!("Let {} take deliveries again?", name(hook)),
                    false => format!("Close {}? Senders hear 404; what comes is kept for a claim.", name(hook)),
                };
                let change = Request::SwitchHook(hook.flow.clone(), hook.trigger.clone(), !hook.closed);
                vec![Action::Confirm(question, vec![change])]
            }
            (Command::Doctor, Some(hook), _) => {
                vec![Action::Run(vec!["webhook".to_owned(), "doctor".to_owned(), name(hook)])]
            }
            (Command::Rotate | Command::Pause | Command::Doctor, None, _) => {
                vec![Action::Say("choose an endpoint first".to_owned())]
            }
            _ => Vec::new(),
        }
    }
}

fn takes(row: &DeliveryRow, term: &str) -> bool {
    let (not, term) = term.strip_prefix('!').map_or((false, term), |rest| (true, rest));
    let lower = |text: &str| text.to_lowercase();
    let state = if row.accepted() { "accepted" } else { "refused" };
    let found = match term.split_once(':') {
        Some(("state" | "s", text)) => state.contains(text) || row.status.is_some_and(|it| it.to_string() == text),
        Some(("flow" | "f", text)) => lower(&row.flow).contains(text),
        Some(("from", text)) => row.from.contains(text),
        _ => {
            [row.flow.as_str(), &row.trigger, &row.why, &row.from, &row.path, row.verdict.word(), state]
                .iter()
                .any(|text| lower(text).contains(term))
                || lower(&row.id.to_string()).contains(term)
        }
    };
    found != not
}
