//! Subscriptions: to whom events are sent and how each fares, with what was sent below.
//!
//! Invariant: whatever changes something is asked before, and has its twin on the command line; a secret is never on
//! this screen but in the output of the command that makes it.

mod view;

use aura_protocol::ids::MessageId;
use aura_protocol::outgoing::{Sending, SendingState, Subscription};
use crossterm::event::KeyEvent;

use crate::action::{Action, Request};
use crate::keymap::Command;
use crate::store::Store;
use crate::widgets::filter::{FilterField, Typed};
use crate::widgets::list::List;

/// State of the screen; it survives leaving it.
#[derive(Default)]
pub struct SubscriptionsScreen {
    /// What is shown of them.
    pub filter: FilterField,
    list: List<String>,
    sent: List<MessageId>,
    below: bool,
    zoom: bool,
    /// Whose sendings were asked for last.
    asked: String,
}

impl SubscriptionsScreen {
    fn rows<'a>(&self, store: &'a Store) -> Vec<&'a Subscription> {
        let terms = self.filter.terms();
        store.subscriptions.rows.iter().filter(|row| terms.iter().all(|term| takes(row, term))).collect()
    }

    fn keys(&self, store: &Store) -> Vec<String> {
        self.rows(store).into_iter().map(|row| row.name.clone()).collect()
    }

    fn chosen<'a>(&self, store: &'a Store) -> Option<&'a Subscription> {
        let name = self.list.chosen(&self.keys(store))?;
        store.subscriptions.rows.iter().find(|row| row.name == name)
    }

    /// Sendings of the chosen one, if they are known.
    fn sendings<'a>(&self, store: &'a Store) -> &'a [Sending] {
        match self.chosen(store) {
            Some(row) if row.name == store.subscriptions.of => &store.subscriptions.sendings,
            _ => &[],
        }
    }

    fn sending<'a>(&self, store: &'a Store) -> Option<&'a Sending> {
        let sendings = self.sendings(store);
        let keys: Vec<MessageId> = sendings.iter().map(|sending| sending.message).collect();
        sendings.get(self.sent.index(&keys))
    }

    /// What is to be read for what is shown; `again`: also what is known already.
    pub fn wants(&mut self, store: &Store, again: bool) -> Vec<Request> {
        let mut wanted = Vec::new();
        if again || !store.subscriptions.known {
            wanted.push(Request::Subscriptions);
        }
        let name = self.chosen(store).map(|row| row.name.clone()).unwrap_or_default();
        if !name.is_empty() && (again || self.asked != name) {
            self.asked.clone_from(&name);
            wanted.push(Request::Sendings(name));
        }
        wanted
    }

    /// A key while the filter is typed.
    pub fn typed(&mut self, key: KeyEvent, store: &Store) -> Vec<Action> {
        match self.filter.typed(key) {
            Typed::Step(command) => self.command(command, store),
            Typed::Entered | Typed::Edited => vec![Action::Draw],
        }
    }

    /// Back from what was sent to the list.
    pub fn stepped_back(&mut self) -> bool {
        std::mem::take(&mut self.below)
    }

    /// What a command does here.
    pub fn command(&mut self, command: Command, store: &Store) -> Vec<Action> {
        let moved = if self.below {
            let keys: Vec<MessageId> = self.sendings(store).iter().map(|sending| sending.message).collect();
            self.sent.go(command, &keys)
        } else {
            let keys = self.keys(store);
            let moved = self.list.go(command, &keys);
            if moved {
                self.sent = List::default();
            }
            moved
        };
        if moved {
            return vec![Action::Draw];
        }
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<String>>();
        match (command, self.chosen(store)) {
            (Command::Filter, _) => self.filter.open = true,
            (Command::Pane | Command::PaneBack, _) => self.below = !self.below,
            (Command::Zoom, _) => self.zoom = !self.zoom,
            (Command::Enter, Some(row)) => match self.sending(store).filter(|_| self.below) {
                Some(sending) => {
                    let message = sending.message.to_string();
                    return vec![Action::Run(words(&["subscription", "attempts", &row.name, &message]))];
                }
                None => self.below = true,
            },
            (Command::Switch, Some(row)) => {
                let what = if row.enabled { "Stop sending to" } else { "Send again to" };
                let request = Request::SwitchSubscription(row.name.clone(), !row.enabled);
                return vec![Action::Confirm(format!("{what} {}?", row.name), vec![request])];
            }
            (Command::SendTest, Some(row)) => {
                return vec![Action::Run(words(&["subscription", "test", &row.name]))];
            }
            (Command::Rotate, Some(row)) => {
                let line = format!("subscription rotate {} ", crate::target::quoted(&row.name));
                return vec![Action::Line(line, "[--keep <TIME>]: the new secret is shown once".to_owned())];
            }
            (Command::Recover, Some(row)) => {
                let line = format!("subscription recover {} --yes --since ", crate::target::quoted(&row.name));
                return vec![Action::Line(line, "<TIME> [--missing] [--plan], as in 2d".to_owned())];
            }
            (Command::Replay, Some(row)) => {
                let Some(sending) = self.sending(store) else { return vec![Action::Say("nothing was sent".into())] };
                let question = format!("Send {} to {} again?", sending.message.short(), row.name);
                return vec![Action::Confirm(question, vec![Request::Resend(row.name.clone(), sending.message)])];
            }
            (Command::GiveUp, Some(row)) => {
                let Some(sending) = self.sending(store).filter(|found| found.state == SendingState::Waiting) else {
                    return vec![Action::Say("only what waits can be given up".to_owned())];
                };
                let question = format!("Give {} to {} up?", sending.message.short(), row.name);
                return vec![Action::Confirm(question, vec![Request::GiveUp(row.name.clone(), sending.message)])];
            }
            (Command::Copy, Some(row)) => {
                let text = match self.sending(store).filter(|_| self.below) {
                    Some(sending) => sending.message.to_string(),
                    None => row.name.clone(),
                };
                return vec![Action::Copy(text)];
            }
            _ => return Vec::new(),
        }
        vec![Action::Draw]
    }
}

fn takes(row: &Subscription, term: &str) -> bool {
    let (not, term) = term.strip_prefix('!').map_or((false, term), |rest| (true, rest));
    let has = |text: &str, part: &str| text.to_lowercase().contains(part);
    let customer = row.customer.as_deref().unwrap_or_default();
    let found = match term.split_once(':') {
        Some(("state" | "s", text)) => view::word(row).contains(text),
        Some(("customer" | "c", text)) => has(customer, text),
        Some(("type" | "t", text)) => row.types.iter().any(|pattern| has(pattern, text)),
        _ => {
            has(&row.name, term)
                || has(&row.url, term)
                || has(customer, term)
                || row.types.iter().any(|pattern| has(pattern, term))
        }
    };
    found != not
}
