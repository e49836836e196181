//! Whose eyes a reply is for: links that let somebody else decide, or end a wait, are not for all of them.
//!
//! Invariant: whoever may not do a thing by a call of their own is shown no link that does it. What leaves the daemon
//! for others (exports, recorded cases) holds none. It is looked at before anything is cut: a piece of a link is one.

use std::sync::Arc;

use aura_protocol::approval::Question;
use aura_protocol::event::{Delivery, EventRow};
use aura_protocol::rpc::{Actor, Role};
use aura_protocol::run::{Awaited, Record, Resolution, RunHead, StepError, Transition};
use aura_protocol::{Map, TenantId, Value};
use aura_storage::Store;

use crate::engine::links::{self, Link};

/// Who looks.
#[derive(Clone, Debug)]
pub struct Eyes(Who);

#[derive(Clone, Debug)]
enum Who {
    /// The daemon itself.
    Itself,
    /// Whoever gets it in the end.
    Anybody,
    /// An account with its role.
    Account(String, Role),
}

impl Eyes {
    /// Those of whoever calls.
    #[must_use]
    pub fn of(actor: &Actor) -> Self {
        Self(Who::Account(actor.name.clone(), actor.role))
    }

    /// Those of whoever gets to see a file.
    #[must_use]
    pub fn anybody() -> Self {
        Self(Who::Anybody)
    }

    /// Those of the daemon.
    #[must_use]
    pub fn own() -> Self {
        Self(Who::Itself)
    }

    fn sees_all(&self) -> bool {
        match &self.0 {
            Who::Itself => true,
            Who::Anybody => false,
            Who::Account(_, role) => *role >= Role::Admin,
        }
    }

    /// Whether a link is not for them.
    fn hides(&self, link: &Link) -> bool {
        match (&self.0, link) {
            (Who::Itself, _) => false,
            (Who::Anybody, _) => true,
            // Whoever may give a step what it waits for needs no link to do so.
            (Who::Account(_, role), Link::Callback) => *role < Role::Operator,
            (Who::Account(name, role), Link::Approval(account)) => *role < Role::Admin && name != account,
        }
    }

    fn without(&self, store: &Store, text: &[u8]) -> Option<Vec<u8>> {
        links::without(store, TenantId::DEFAULT, text, &|link| self.hides(link))
    }

    /// Bytes as they may see them.
    pub fn bytes(&self, store: &Store, bytes: &mut Vec<u8>) {
        if self.sees_all() {
            return;
        }
        if let Some(shown) = self.without(store, bytes) {
            *bytes = shown;
        }
    }

    /// A text as they may see it.
    pub fn text(&self, store: &Store, text: &mut String) {
        if self.sees_all() {
            return;
        }
        if let Some(shown) = self.without(store, text.as_bytes()) {
            // Only letters were taken out, so it is text still.
            *text = String::from_utf8(shown).unwrap_or_else(|_| links::LINK.to_owned());
        }
    }

    /// A value as they may see it.
    pub fn value(&self, store: &Store, value: &mut Value) {
        if self.sees_all() {
            return;
        }
        match value {
            Value::Str(text) => self.text(store, text),
            Value::List(list) => list.iter_mut().for_each(|value| self.value(store, value)),
            Value::Map(map) => {
                map.values_mut().for_each(|value| self.value(store, value));
                if map.keys().any(|name| self.without(store, name.as_bytes()).is_some()) {
                    let named = std::mem::take(map).into_iter().map(|(mut name, value)| {
                        self.text(store, &mut name);
                        (name, value)
                    });
                    *map = named.collect::<Map>();
                }
            }
            _ => {}
        }
    }

    fn error(&self, store: &Store, error: &mut StepError) {
        self.text(store, &mut error.message);
        error.detail.iter_mut().for_each(|detail| self.value(store, detail));
        error.code.iter_mut().for_each(|code| self.text(store, code));
    }

    /// A head as they may see it.
    pub fn head(&self, store: &Store, head: &mut RunHead) {
        if self.sees_all() {
            return;
        }
        head.error.iter_mut().for_each(|error| self.error(store, error));
        head.blocked_by.iter_mut().for_each(|blocked| self.text(store, &mut blocked.reason));
    }

    fn delivery(&self, store: &Store, delivery: &mut Delivery) {
        self.bytes(store, &mut delivery.body);
        self.text(store, &mut delivery.query);
        delivery.headers.iter_mut().for_each(|(_, value)| self.text(store, value));
    }

    /// An event as they may see it.
    pub fn event(&self, store: &Store, row: &mut EventRow) {
        if !self.sees_all() {
            self.delivery(store, &mut row.delivery);
            self.text(store, &mut row.reason);
        }
    }

    /// A question as they may see it.
    pub fn question(&self, store: &Store, question: &mut Question) {
        self.value(store, &mut question.ask.form);
        for vote in &mut question.standing.votes {
            self.value(store, &mut vote.form);
            self.text(store, &mut vote.comment);
        }
    }

    /// A transition as they may see it.
    pub fn transition(&self, store: &Store, transition: &mut Transition) {
        if !self.sees_all() {
            transition.records.iter_mut().for_each(|record| self.record(store, record));
        }
    }

    fn record(&self, store: &Store, record: &mut Record) {
        match record {
            Record::RunStarted(started) => {
                let started = Arc::make_mut(started);
                self.delivery(store, &mut started.event);
                self.value(store, &mut started.input);
                self.value(store, &mut started.vars);
                started.refused.iter_mut().for_each(|error| self.error(store, error));
                let input = started.origin.iter_mut().filter_map(|origin| origin.input.as_mut());
                input.for_each(|input| self.value(store, input));
            }
            Record::Copied(copied) => self.record(store, copied),
            Record::ItemsCopied { items, .. } => {
                for item in items {
                    self.value(store, &mut item.output);
                    item.error.iter_mut().for_each(|error| self.error(store, error));
                }
            }
            Record::Scheduled { input, .. } => self.value(store, input),
            Record::Completed { output, .. }
            | Record::Handled { output, .. }
            | Record::Signalled { data: output, .. }
            | Record::Resolved { resolution: Resolution::Done(output), .. } => self.value(store, output),
            Record::Listed { items, keys, .. } => {
                items.iter_mut().for_each(|item| self.value(store, item));
                keys.iter_mut().for_each(|key| self.text(store, key));
            }
            Record::Awaiting { what: Awaited::People(ask), .. } => self.value(store, &mut ask.form),
            Record::Awaiting { what: Awaited::Event { key, .. }, .. } => self.text(store, key),
            Record::Voted { vote, .. } => {
                self.value(store, &mut vote.form);
                self.text(store, &mut vote.comment);
            }
            Record::Failed { error, .. }
            | Record::InDoubt { error, .. }
            | Record::TimedOut { error, .. }
            | Record::Compensated { error: Some(error), .. } => self.error(store, error),
            Record::Responded { headers, body, .. } => {
                self.bytes(store, body);
                headers.iter_mut().for_each(|(_, value)| self.text(store, value));
            }
            Record::Log { message, .. } | Record::Skipped { why: message, .. } => self.text(store, message),
            Record::CancelRequested { reason, .. }
            | Record::Paused { reason, .. }
            | Record::ForceFinished { reason, .. } => self.text(store, reason),
            Record::RunFinished { output, error, .. } => {
                self.value(store, output);
                error.iter_mut().for_each(|error| self.error(store, error));
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests;
