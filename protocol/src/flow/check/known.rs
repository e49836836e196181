//! What only a daemon knows: connectors, their actions and inputs, connections and secrets.
//!
//! Offline there is one note that says what was not looked at, and nothing here is guessed.

use super::super::path::Path;
use super::super::suggest::did_you_mean;
use super::super::{Auth, Effect, Kind, Reply, Span, Step, Trigger, support};
use super::{Checks, Knowledge};
use crate::descriptor::{Action, Connector, Field, TriggerKind};
use crate::value::{Map, Value};

impl Checks<'_> {
    pub(super) fn known(&mut self, known: Option<&Knowledge>) {
        let scopes = self.scopes;
        let Some(known) = known else {
            let calls = scopes.steps().any(|(_, step, _)| matches!(step.kind, Kind::Uses { .. }));
            let has_secret = |auth: &Auth| !matches!(auth, Auth::None);
            let mut triggers = self.document.flow.triggers.iter();
            let door = triggers.any(|it| it.connection.is_some() || it.auth.as_ref().is_some_and(has_secret));
            if calls || door {
                let message = "connectors, connections and secrets were not checked, only a daemon knows them";
                self.note(&Path::root(), message);
            }
            return;
        };
        for (number, trigger) in self.document.flow.triggers.iter().enumerate() {
            let path = Path::root().field("triggers").item(number);
            self.source_known(known, trigger, &path);
            if let Some((connector, event)) = trigger.on.split_once('.') {
                if let Some(kind) = self.event(known, connector, event, &path.field("on")) {
                    self.patience(trigger, kind, &path);
                }
                if let Some(name) = &trigger.connection {
                    self.connection(known, name, connector, &path.field("connection"));
                }
            }
            let (Some(secret), Some(secrets)) = (trigger.auth.as_ref().and_then(Auth::secret), &known.secrets) else {
                continue;
            };
            if !secrets.iter().any(|have| have == secret) {
                let message = format!("the secret `{}` is not set", crate::text::display(secret));
                let hint = "deliveries are refused until it is added with `aura connection add`";
                self.warn(&path.field("auth"), message, hint);
            }
        }
        self.variables(known);
        for (_, step, path) in scopes.steps() {
            if let Kind::Uses { action, connection, with } = &step.kind {
                self.call(known, step, action, connection.as_deref(), with, &path);
            }
        }
    }

    /// A variable that is not set makes the step that reads it fail.
    fn variables(&mut self, known: &Knowledge) {
        let Some(set) = &known.variables else { return };
        for name in super::super::variables(&self.document.flow).names {
            if !set.contains(&name) {
                let shown = crate::text::display(&name);
                let hint = match super::super::suggest::nearest(&name, set.iter().map(String::as_str)) {
                    Some(near) => format!("did you mean `vars.{near}`?"),
                    None => format!("set it: `aura var set {shown} …`, or write `vars?.{shown} ?? default`"),
                };
                self.warn(&Path::root(), format!("the variable `{shown}` is not set"), hint);
            }
        }
    }

    pub(super) fn connector<'k>(&mut self, known: &'k Knowledge, id: &str, path: &Path) -> Option<&'k Connector> {
        let found = known.connectors.iter().find(|connector| connector.id == id);
        if found.is_none() {
            let names: Vec<&str> = known.connectors.iter().map(|connector| connector.id.as_str()).collect();
            self.error(path, format!("there is no connector `{}`", crate::text::display(id)), did_you_mean(id, names));
        }
        found
    }

    /// A sender may give up sooner than the format's own list knows.
    fn patience(&mut self, trigger: &Trigger, kind: &TriggerKind, path: &Path) {
        let listed = support::patience(&trigger.on, trigger.auth.as_ref());
        if let (Reply::Respond { wait }, Some(cap), None) = (trigger.reply, kind.reply_within_ms, listed)
            && wait.ms > cap
        {
            let path = path.field("reply").field("respond").field("wait");
            let cap = Span::from_ms(cap);
            let message = format!("`wait` is {wait}, the sender of `{}` gives up after {cap}", trigger.on);
            self.error(&path, message, format!("write `wait: {cap}` or less"));
        }
    }

    fn event<'k>(
        &mut self,
        known: &'k Knowledge,
        connector: &str,
        event: &str,
        path: &Path,
    ) -> Option<&'k TriggerKind> {
        let connector = self.connector(known, connector, path)?;
        let found = connector.triggers.iter().find(|kind| kind.id == event);
        if found.is_some() {
            return found;
        }
        let names: Vec<&str> = connector.triggers.iter().map(|kind| kind.id.as_str()).collect();
        let message = format!("the connector `{}` has no event `{}`", connector.id, crate::text::display(event));
        self.error(path, message, did_you_mean(event, names));
        None
    }

    pub(super) fn connection(&mut self, known: &Knowledge, name: &str, connector: &str, path: &Path) {
        let Some(connections) = &known.connections else { return };
        match connections.iter().find(|(known, _)| known == name) {
            Some((_, of)) if of == connector => {}
            Some((_, of)) => {
                let message = format!("the connection `{name}` is one of {of}, this needs one of {connector}");
                self.error(path, message, "");
            }
            None => {
                let same = connections.iter().filter(|(_, of)| of == connector).map(|(name, _)| name.as_str());
                let hint = match super::super::suggest::nearest(name, same) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("add it: `aura connection add {name} {connector}`"),
                };
                self.error(path, format!("there is no connection `{}`", crate::text::display(name)), hint);
            }
        }
    }

    fn call(
        &mut self,
        known: &Knowledge,
        step: &Step,
        action: &str,
        connection: Option<&str>,
        with: &Map,
        path: &Path,
    ) {
        let Some((connector, name)) = action.split_once('.') else { return };
        let Some(connector) = self.connector(known, connector, &path.field("uses")) else { return };
        match connection {
            Some(name) => self.connection(known, name, &connector.id, &path.field("connection")),
            None if connector.fields.iter().any(|field| field.required) => {
                let hint = format!("write `connection:` and the name of a {} connection", connector.id);
                self.error(path, format!("`{action}` needs a connection"), hint);
            }
            None => {}
        }
        let Some(action) = connector.actions.iter().find(|known| known.id == name) else {
            let names: Vec<&str> = connector.actions.iter().map(|action| action.id.as_str()).collect();
            let message = format!("the connector `{}` has no action `{}`", connector.id, crate::text::display(name));
            self.error(&path.field("uses"), message, did_you_mean(name, names));
            return;
        };
        self.inputs(action, with, path, &path.field("with"));
        self.narrowed(action, step, path);
    }

    /// The inputs of an action as they stand at `at`; what is missing is told at `path` if there are none.
    pub(super) fn inputs(&mut self, action: &Action, with: &Map, path: &Path, at: &Path) {
        for (name, value) in with {
            let Some(field) = action.input.iter().find(|field| field.name == *name) else {
                let names: Vec<&str> = action.input.iter().map(|field| field.name.as_str()).collect();
                let message = format!("`{}` takes no input `{}`", action.id, crate::text::display(name));
                self.error(&at.field(name), message, did_you_mean(name, names));
                continue;
            };
            if let Some(message) = misfit(field, value) {
                self.error(&at.field(name), message, "");
            }
        }
        for field in action.input.iter().filter(|field| field.required && !with.contains_key(&field.name)) {
            let hint = if field.example.is_empty() { String::new() } else { format!("for example {}", field.example) };
            let path = if with.is_empty() { path } else { at };
            self.error(path, format!("`{}` needs the input `{}`", action.id, field.name), hint);
        }
    }

    /// The author may narrow what a repeat does, never widen it.
    fn narrowed(&mut self, action: &Action, step: &Step, path: &Path) {
        let width = |effect: Effect| match effect {
            Effect::Once => 0,
            Effect::Lookup => 1,
            Effect::Keyed => 2,
            Effect::Idempotent => 3,
            Effect::Read => 4,
        };
        let Some(effect) = step.effect else { return };
        let is_wider = width(effect) > width(action.effect);
        let has_no_key = effect == Effect::Keyed && action.effect != Effect::Keyed;
        if is_wider || has_no_key {
            let word = |effect: Effect| format!("{effect:?}").to_lowercase();
            let message = format!(
                "`{}` is declared `{}`, a step cannot make it `{}`",
                action.id,
                word(action.effect),
                word(effect)
            );
            self.error(&path.field("effect"), message, "an effect may be narrowed (towards `once`), never widened");
        }
    }
}

/// Why a constant does not fit an input; expressions are judged when they are evaluated.
fn misfit(field: &Field, value: &Value) -> Option<String> {
    if value.as_str().is_some_and(|text| text.contains("{{")) {
        return None;
    }
    let fits = match field.kind.as_str() {
        "text" => matches!(value, Value::Str(_)),
        "integer" => matches!(value, Value::Int(_)),
        "decimal" => matches!(value, Value::Int(_) | Value::Dec(_)),
        "boolean" => matches!(value, Value::Bool(_)),
        "list" => matches!(value, Value::List(_)),
        "object" => matches!(value, Value::Map(_)),
        _ => true,
    };
    let optional_null = !field.required && value.is_null();
    (!fits && !optional_null).then(|| format!("`{}` must be {}, this is {}", field.name, field.kind, value.kind()))
}
