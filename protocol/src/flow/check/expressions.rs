//! Expressions in their places: syntax and functions, which names exist there, and rule 2: a step may be
//! read only if it has certainly settled, others as a maybe (`steps.x?.output`).

use std::collections::HashMap;

use super::super::path::Path;
use super::super::scopes::{At, ScopeKind, item_name};
use super::super::suggest::did_you_mean;
use super::super::{Kind, Sleep, Step, Stop, rules, support};
use super::Checks;
use super::ids::Order;
use crate::expr::{Reference, Template};
use crate::value::Value;

/// Where an expression stands; decides what it may read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// A policy at the door: the event is all there is.
    Door,
    /// A policy of the flow: evaluated when the run is created.
    Creation,
    /// A step, with `item` in reach if it stands in its own `each`, and what its rules `decided`.
    Step { at: At, item: bool, decided: bool },
    /// A condition of a loop, in its body: before one of the steps, or behind all of them.
    Body { at: At, behind: bool },
}

impl<'f> Checks<'f> {
    pub(super) fn expressions(&mut self) {
        let flow = &self.document.flow;
        let mut orders: HashMap<usize, Order> = HashMap::new();
        for (number, trigger) in flow.triggers.iter().enumerate() {
            let path = Path::root().field("triggers").item(number);
            if let Some(dedupe) = &trigger.dedupe {
                self.text(&dedupe.key, &path.field("dedupe").field("key"), Place::Door, &mut orders);
            }
            if let Some(debounce) = &trigger.debounce {
                self.text(&debounce.key, &path.field("debounce").field("key"), Place::Door, &mut orders);
            }
            if let Some(filter) = &trigger.filter {
                self.text(filter, &path.field("filter"), Place::Door, &mut orders);
            }
            let batch = trigger.batch.as_ref().and_then(|batch| batch.key.as_ref());
            let throttle = trigger.throttle.as_ref().and_then(|throttle| throttle.key.as_ref());
            for (policy, key) in [("batch", batch), ("throttle", throttle)] {
                if let Some(key) = key {
                    self.text(key, &path.field(policy).field("key"), Place::Door, &mut orders);
                }
            }
        }
        let root = Path::root();
        if let Some(key) = flow.concurrency.as_ref().and_then(|limits| limits.key.as_ref()) {
            self.text(key, &root.field("concurrency").field("key"), Place::Creation, &mut orders);
        }
        if let Some(subject) = &flow.subject {
            self.text(subject, &root.field("subject"), Place::Creation, &mut orders);
        }
        if let Some(key) = flow.rate.as_ref().and_then(|rate| rate.key.as_ref()) {
            self.text(key, &root.field("rate").field("key"), Place::Creation, &mut orders);
        }
        self.maybe_value(flow.priority.as_ref(), &root.field("priority"), Place::Creation, &mut orders);
        let scopes = self.scopes;
        for (at, step, path) in scopes.steps() {
            self.step_expressions(step, at, &path, &mut orders);
        }
    }

    fn step_expressions(&mut self, step: &'f Step, at: At, path: &Path, orders: &mut HashMap<usize, Order>) {
        let here = Place::Step { at, item: step.each.is_some(), decided: false };
        let inner = Place::Step { at, item: true, decided: false };
        let decided = Place::Step { at, item: step.each.is_some(), decided: step.rules.is_some() };
        if let Some(when) = &step.when {
            self.text(when, &path.field("if"), Place::Step { at, item: false, decided: false }, orders);
        }
        let outer = Place::Step { at, item: false, decided: false };
        match &step.each {
            Some(Value::Map(settings)) => self.settings(settings, &path.field("each"), outer, inner, orders),
            each => self.maybe_value(each.as_ref(), &path.field("each"), outer, orders),
        }
        if let Some(limit) = &step.limit {
            let path = path.field("limit");
            if let Some(key) = &limit.key {
                self.text(key, &path.field("key"), here, orders);
            }
            self.maybe_value(limit.priority.as_ref(), &path.field("priority"), here, orders);
        }
        let own = path.field(step.kind.name());
        if let Some(rules) = &step.rules {
            self.rules_expressions(rules, &path.field("rules"), here, orders);
        }
        match &step.kind {
            Kind::Uses { with, .. } => self.map(with, &path.field("with"), here, orders),
            Kind::Http(http) => {
                self.text(&http.url, &own.field("url"), here, orders);
                self.map(&http.query, &own.field("query"), here, orders);
                self.map(&http.headers, &own.field("headers"), here, orders);
                self.maybe_value(http.body.as_ref(), &own.field("body"), here, orders);
                if let Some(form) = &http.form {
                    self.map(form, &own.field("form"), here, orders);
                }
            }
            Kind::Set(values) => self.map(values, &own, decided, orders),
            Kind::Branch(arms) => {
                for (index, when) in arms.iter().enumerate().filter_map(|(n, arm)| Some((n, arm.when.as_ref()?))) {
                    self.text(when, &own.item(index).field("when"), decided, orders);
                }
            }
            Kind::Map { with, .. } => self.settings(with, &own, outer, inner, orders),
            Kind::Loop { with, .. } => {
                let body = self.scopes.body(at, ScopeKind::Loop);
                for (key, value) in with {
                    let place = match (key.as_str(), body) {
                        ("until", Some(at)) => Place::Body { at, behind: true },
                        ("break_if", Some(at)) => Place::Body { at, behind: false },
                        _ => inner,
                    };
                    self.value(value, &own.field(key), place, orders);
                }
            }
            Kind::Sleep(Sleep::For(text)) => self.text(text, &own.field("for"), here, orders),
            Kind::Sleep(Sleep::Until(text)) => self.text(text, &own.field("until"), here, orders),
            Kind::Wait(value) => {
                for (key, value) in value.as_map().into_iter().flatten().filter(|(key, _)| *key != "match") {
                    self.value(value, &own.field(key), here, orders);
                }
                for (key, value) in value.get("match").and_then(Value::as_map).into_iter().flatten() {
                    let place = if key == "event" { Place::Door } else { here };
                    self.value(value, &own.field("match").field(key), place, orders);
                }
            }
            Kind::Approval(value) | Kind::Call(value) | Kind::Emit(value) | Kind::Kv(value) => {
                self.value(value, &own, here, orders)
            }
            Kind::Respond(respond) => {
                self.maybe_value(respond.status.as_ref(), &own.field("status"), here, orders);
                self.map(&respond.headers, &own.field("headers"), here, orders);
                self.maybe_value(respond.body.as_ref(), &own.field("body"), here, orders);
            }
            Kind::Stop(Stop::Ok(reason)) => self.value(reason, &own.field("ok"), here, orders),
            Kind::Stop(Stop::Fail(reason)) => self.value(reason, &own.field("fail"), here, orders),
            // The script is the runner's, not a template.
            Kind::Code(value) => self.maybe_value(value.get("input"), &own.field("input"), here, orders),
            // It has only bodies.
            Kind::Try { .. } => {}
        }
    }

    /// Expressions of a rule table: its inputs and what its rows say. Cells are constants.
    fn rules_expressions(&mut self, rules: &Value, path: &Path, here: Place, orders: &mut HashMap<usize, Order>) {
        self.maybe_value(rules.get("inputs"), &path.field("inputs"), here, orders);
        self.maybe_value(rules.get("else"), &path.field("else"), here, orders);
        let rows = rules.get("rows").and_then(Value::as_list).unwrap_or_default();
        for (number, row) in rows.iter().enumerate() {
            self.maybe_value(row.get("then"), &path.field("rows").item(number).field("then"), here, orders);
        }
    }

    /// Settings of a map: only its key is evaluated for each item.
    fn settings(
        &mut self,
        settings: &crate::value::Map,
        path: &Path,
        outer: Place,
        inner: Place,
        orders: &mut HashMap<usize, Order>,
    ) {
        for (key, value) in settings.iter().filter(|(key, _)| *key != "as") {
            self.value(value, &path.field(key), if key == "key" { inner } else { outer }, orders);
        }
    }

    /// What the items are called that can be read from a place.
    fn item_names(&self, place: Place) -> Vec<&'f str> {
        let (at, item, decided) = match place {
            Place::Step { at, item, decided } => (at, item, decided),
            Place::Body { at, .. } => (at, false, false),
            Place::Door | Place::Creation => return Vec::new(),
        };
        let own = self.scopes.step(at).filter(|_| item).and_then(|step| item_name(step, true));
        let names = self.scopes.item_names(at.scope).into_iter().chain(own);
        names.chain(rules::NAMES.into_iter().filter(|_| decided)).collect()
    }

    fn maybe_value(&mut self, value: Option<&Value>, path: &Path, place: Place, orders: &mut HashMap<usize, Order>) {
        if let Some(value) = value {
            self.value(value, path, place, orders);
        }
    }

    fn map(&mut self, map: &crate::value::Map, path: &Path, place: Place, orders: &mut HashMap<usize, Order>) {
        for (key, value) in map {
            self.value(value, &path.field(key), place, orders);
        }
    }

    fn value(&mut self, value: &Value, path: &Path, place: Place, orders: &mut HashMap<usize, Order>) {
        match value {
            Value::Str(text) => self.text(text, path, place, orders),
            Value::List(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.value(item, &path.item(index), place, orders);
                }
            }
            Value::Map(map) => self.map(map, path, place, orders),
            _ => {}
        }
    }

    fn text(&mut self, text: &str, path: &Path, place: Place, orders: &mut HashMap<usize, Order>) {
        if !text.contains("{{") {
            return;
        }
        let names = self.item_names(place);
        match Template::parse_with(&Value::Str(text.to_owned()), &names) {
            Err(error) => {
                let hint = error.hint.unwrap_or_default();
                let finding = self.document.finding_in(path, text, error.offset, error.message, hint);
                self.findings.push(finding);
            }
            Ok(template) => {
                let mut seen: Vec<Reference> = Vec::new();
                for reference in template.references() {
                    if !seen.contains(&reference) {
                        self.reference(&reference, path, place, orders);
                        seen.push(reference);
                    }
                }
            }
        }
    }

    fn reference(&mut self, it: &Reference, path: &Path, place: Place, orders: &mut HashMap<usize, Order>) {
        let root = it.root.as_str();
        if self.item_names(place).contains(&root) {
            return;
        }
        let allowed: Vec<&str> = match place {
            Place::Door => vec!["trigger"],
            Place::Creation => vec!["trigger", "input"],
            Place::Step { .. } | Place::Body { .. } => {
                let (at, item) = match place {
                    Place::Step { at, item, .. } => (at, item),
                    Place::Body { at, .. } => (at, true),
                    Place::Door | Place::Creation => return,
                };
                const HANDLERS: &[ScopeKind] =
                    &[ScopeKind::OnError, ScopeKind::Catch, ScopeKind::FlowOnError, ScopeKind::Compensate];
                let mut allowed = vec!["input", "trigger", "steps", "run", "vars", "env"];
                if self.scopes.is_within(at.scope, HANDLERS) {
                    allowed.push("error");
                }
                if item || self.scopes.is_repeated(at.scope) || self.scopes.is_within(at.scope, &[ScopeKind::Loop]) {
                    allowed.extend(["item", "index"]);
                }
                allowed
            }
        };
        if !allowed.contains(&root) {
            let message = match (place, root) {
                (Place::Door, _) => format!("`{root}` is not known here: a policy at the door reads only the event"),
                (Place::Creation, _) => format!("`{root}` is not known here: the run is only being created"),
                (_, "error") => "`error` is known only in handlers (`on_error`, `catch`)".to_owned(),
                (_, "item" | "index") => format!("`{root}` is known only inside a map or loop"),
                _ => format!("`{root}` is not known here"),
            };
            let known: Vec<&str> = allowed.iter().copied().filter(|root| support::ROOTS.contains(root)).collect();
            self.error(path, message, format!("known here: {}", known.join(", ")));
            return;
        }
        if !support::ROOTS.contains(&root) {
            let hint = format!("it provides: {}", support::ROOTS.join(", "));
            self.error(path, format!("`{root}` is not provided by this build"), hint);
            return;
        }
        if root != "steps" {
            return;
        }
        match (&it.step, place) {
            (Some(id), Place::Step { at, .. }) => self.step_reference(id, it.maybe, path, at, orders),
            (Some(id), Place::Body { at, behind }) => {
                let own = self.scopes.ids.get(id.as_str()).is_some_and(|target| target.scope == at.scope);
                match (own, behind || it.maybe) {
                    (false, _) => self.step_reference(id, it.maybe, path, at, orders),
                    // Behind its steps all of them have settled; before one of them any may be the first.
                    (true, true) => {}
                    (true, false) => self.unsettled(id, format!("read a maybe: `steps.{id}?.output`"), path),
                }
            }
            _ => self.error(path, "`steps` must be read by the id of a step", "write `steps.<id>.output`"),
        }
    }

    /// Rule 2.
    fn step_reference(&mut self, id: &str, maybe: bool, path: &Path, at: At, orders: &mut HashMap<usize, Order>) {
        let Some(&target) = self.scopes.ids.get(id) else {
            // Comparing with every id of a large flow is dear; nobody reads that many findings.
            let many = self.findings.len() > super::FINDINGS_MAX;
            let mut ids: Vec<&str> = self.scopes.ids.keys().copied().filter(|_| !many).collect();
            ids.sort_unstable();
            self.error(path, format!("there is no step `{}`", crate::text::display(id)), did_you_mean(id, ids));
            return;
        };
        match self.sight(target, at, orders) {
            Sight::Certain => {}
            Sight::Maybe if maybe => {}
            Sight::Maybe => {
                let ends = [ScopeKind::FlowOnError, ScopeKind::Finally, ScopeKind::Compensate];
                let hint = if self.scopes.is_within(at.scope, &ends) {
                    format!("read a maybe: `steps.{id}?.output`")
                } else if self.has_needs(target, at) {
                    format!("add `{id}` to `needs`, or read a maybe: `steps.{id}?.output`")
                } else {
                    format!("move this step behind `{id}`, or read a maybe: `steps.{id}?.output`")
                };
                self.unsettled(id, hint, path);
            }
            Sight::Itself => {
                self.error(path, format!("`{id}` cannot read itself, it has not run yet"), "");
            }
            Sight::Around(handler) => {
                let hint = if handler { "in a handler, read `error`" } else { "" };
                self.error(path, format!("`{id}` has not settled while the steps inside it run"), hint);
            }
            Sight::Inside(owner) => {
                let (message, hint) = match owner.and_then(|at| self.scopes.step(at)) {
                    Some(step) => (
                        format!("`{id}` is inside `{}`, nothing in there can be read from here", step.id),
                        format!("read what `{0}` gives: `steps.{0}.output`", step.id),
                    ),
                    None => {
                        (format!("`{id}` belongs to a handler of the flow and cannot be read from here"), String::new())
                    }
                };
                self.error(path, message, hint);
            }
        }
    }

    fn unsettled(&mut self, id: &str, hint: String, path: &Path) {
        self.error(path, format!("`{id}` has not certainly settled when this is evaluated"), hint);
    }

    /// Whether the step that reads, or the one around it beside the target, says what it needs.
    fn has_needs(&self, target: At, from: At) -> bool {
        let mut at = from;
        while at.scope != target.scope {
            let Some(owner) = self.scopes.row(at.scope).and_then(|row| row.owner) else { return false };
            at = owner;
        }
        self.scopes.step(at).is_some_and(|step| step.needs.is_some())
    }

    fn sight(&self, target: At, from: At, orders: &mut HashMap<usize, Order>) -> Sight {
        let mut at = from;
        let mut only_maybe = false;
        let mut handler = false;
        loop {
            let Some(row) = self.scopes.row(at.scope) else { return Sight::Inside(None) };
            if target.scope == at.scope {
                if target.step == at.step && !only_maybe {
                    return if at == from { Sight::Itself } else { Sight::Around(handler) };
                }
                let order = orders.entry(at.scope).or_insert_with(|| Order::of(row));
                let certain = order.certain.get(at.step).and_then(|set| set.get(target.step)).copied();
                return if certain == Some(true) && !only_maybe { Sight::Certain } else { Sight::Maybe };
            }
            match (row.kind, row.owner) {
                (ScopeKind::FlowOnError | ScopeKind::Finally, _) => {
                    let main = self.scopes.row(target.scope).is_some_and(|row| row.kind == ScopeKind::Main);
                    return if main { Sight::Maybe } else { Sight::Inside(self.ancestor(target, ScopeKind::Main)) };
                }
                (kind, Some(owner)) => {
                    only_maybe |= kind == ScopeKind::Compensate;
                    handler = kind == ScopeKind::OnError;
                    at = owner;
                }
                (_, None) => return Sight::Inside(self.visible_owner(target, from)),
            }
        }
    }

    /// The step around the target that stands in a scope of the given kind.
    fn ancestor(&self, target: At, kind: ScopeKind) -> Option<At> {
        let mut at = self.scopes.row(target.scope)?.owner?;
        while self.scopes.row(at.scope)?.kind != kind {
            at = self.scopes.row(at.scope)?.owner?;
        }
        Some(at)
    }

    /// The outermost step around the target that can be read instead.
    fn visible_owner(&self, target: At, from: At) -> Option<At> {
        let mut chain = vec![from.scope];
        while let Some(owner) = chain.last().and_then(|scope| self.scopes.row(*scope)?.owner) {
            chain.push(owner.scope);
        }
        let mut at = self.scopes.row(target.scope)?.owner?;
        while !chain.contains(&at.scope) {
            at = self.scopes.row(at.scope)?.owner?;
        }
        Some(at)
    }
}

/// How a step is seen from a place.
enum Sight {
    /// It has settled for sure.
    Certain,
    /// It may have settled.
    Maybe,
    /// It is the reader.
    Itself,
    /// It is around the reader; true if the reader stands in its handler.
    Around(bool),
    /// It is in a body out of sight; the step around it that can be read.
    Inside(Option<At>),
}
