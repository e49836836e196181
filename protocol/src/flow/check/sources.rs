//! Rules of triggers that come from people's forms and from reading providers: `form`, `poll`, and `with.backfill`.
//!
//! What the settings mean is read by [`crate::form`] and [`crate::source`]; here their mistakes find their place, and
//! what a source calls is looked up.

use super::super::path::Path;
use super::super::{Effect, Reply, Trigger};
use super::{Checks, Knowledge};
use crate::form::Form;
use crate::schedule::Wrong;
use crate::source::{self, Poll, Source};
use crate::text::display;
use crate::value::{Map, Value};

/// The place of a setting: `fields.2.type` is a field of an item of a field.
fn place(with: &Path, key: &str) -> Path {
    key.split('.').fold(with.clone(), |path, part| match part.parse::<usize>() {
        Ok(index) => path.item(index),
        Err(_) => path.field(part),
    })
}

impl Checks<'_> {
    /// What is wrong with the settings of a trigger, each at its place.
    fn wrong(&mut self, wrong: Vec<Wrong>, trigger: &Path, with: &Path) {
        for Wrong { key, message, hint } in wrong {
            let at = if key.is_empty() { trigger.clone() } else { place(with, &key) };
            self.error(&at, message, hint);
        }
    }

    fn none_of(&mut self, trigger: &Trigger, path: &Path, keys: &[(&str, bool)], hint: &str) {
        for (key, _) in keys.iter().filter(|(_, written)| *written) {
            self.error(&path.field(key), format!("`{key}` has no meaning on a {} trigger", trigger.on), hint);
        }
    }

    /// A page that people fill in.
    pub(super) fn form(&mut self, trigger: &Trigger, path: &Path) {
        let written = [
            ("auth", trigger.auth.is_some()),
            ("connection", trigger.connection.is_some()),
            ("reply", trigger.reply != Reply::Ack),
        ];
        self.none_of(trigger, path, &written, "whoever has the page's address may fill it in, and hears `thanks`");
        if let Err(wrong) = Form::read(&trigger.with) {
            self.wrong(wrong, path, &path.field("with"));
        }
    }

    /// Something that is asked again and again.
    pub(super) fn poll(&mut self, trigger: &Trigger, path: &Path) {
        let written = [
            ("auth", trigger.auth.is_some()),
            ("dedupe", trigger.dedupe.is_some()),
            ("reply", trigger.reply != Reply::Ack),
        ];
        self.none_of(trigger, path, &written, "nobody sends to a poll; its `key` and `window` tell objects apart");
        if let Err(wrong) = Poll::read(&trigger.with, trigger.connection.as_deref()) {
            self.wrong(wrong, path, &path.field("with"));
        }
    }

    /// What a backfill of a trigger that takes deliveries reads.
    pub(super) fn backfill(&mut self, trigger: &Trigger, path: &Path) {
        let at = path.field("with").field("backfill");
        match trigger.with.get("backfill") {
            None => {}
            Some(Value::Map(source)) => {
                if let Err(wrong) = Source::read(source, trigger.connection.as_deref()) {
                    self.wrong(wrong, &at, &at);
                }
            }
            Some(_) => self.error(&at, "`backfill` is an object", "write `backfill: { uses: …, key: … }`"),
        }
    }

    /// The calls of a trigger's source, with what a daemon knows.
    pub(super) fn source_known(&mut self, known: &Knowledge, trigger: &Trigger, path: &Path) {
        let (with, at) = match (trigger.on.as_str(), trigger.with.get("backfill")) {
            ("poll", _) => (&trigger.with, path.field("with")),
            (_, Some(Value::Map(source))) => (source, path.field("with").field("backfill")),
            _ => return,
        };
        let Some(source) = source::of_trigger(&trigger.on, trigger.connection.as_deref(), &trigger.with) else {
            return;
        };
        let empty = Map::new();
        let input = |map: Option<&Value>| map.and_then(Value::as_map).cloned().unwrap_or_else(|| empty.clone());
        if let Some(Value::Str(action)) = with.get("uses") {
            self.read_call(known, action, source.connection(), &input(with.get("input")), (path, &at, "input"));
        }
        if let Some(count) = &source.count {
            let given = input(with.get("count").and_then(|count| count.get("input")));
            let at = at.field("count");
            self.read_call(known, &count.action, source.connection(), &given, (path, &at, "input"));
        }
    }

    fn read_call(
        &mut self,
        known: &Knowledge,
        action: &str,
        connection: Option<&str>,
        input: &Map,
        (trigger, at, key): (&Path, &Path, &str),
    ) {
        let Some((connector, name)) = action.split_once('.') else { return };
        let uses = at.field("uses");
        let Some(connector) = self.connector(known, connector, &uses) else { return };
        match connection {
            Some(name) => self.connection(known, name, &connector.id, &trigger.field("connection")),
            None if connector.fields.iter().any(|field| field.required) => {
                let hint = format!("write `connection:` and the name of a {} connection", connector.id);
                self.error(trigger, format!("`{}` needs a connection", display(action)), hint);
            }
            None => {}
        }
        let Some(action) = connector.actions.iter().find(|known| known.id == name) else {
            let names: Vec<&str> = connector.actions.iter().map(|action| action.id.as_str()).collect();
            let message = format!("the connector `{}` has no action `{}`", connector.id, display(name));
            self.error(&uses, message, super::super::suggest::did_you_mean(name, names));
            return;
        };
        if action.effect != Effect::Read {
            let hint = "whatever changes something is a step's work";
            self.error(&uses, format!("a source only reads, and `{name}` does not"), hint);
        }
        self.inputs(action, input, &uses, &at.field(key));
    }
}
