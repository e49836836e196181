//! The records of what is copied: the end of a step, or the scopes of a step that is completed anew.
//!
//! Invariant: read in order they are a journal that a run could have had: a scope is opened before anything in it,
//! and what could be undone stands there with all that is around it.

use std::collections::BTreeSet;

use aura_protocol::run::{ErrorClass, ItemCopy, Point, Record, ScopeKind, StepError, path_key};

use super::super::plan::{Owner, PlanStep, StepIx};
use super::copy::{Copier, holds};
use super::past::{Listed, Settled, Was};
use super::same::Sameness;

impl Copier<'_> {
    fn emit(&mut self, at: usize, record: Record) {
        self.records.push((at, Record::Copied(Box::new(record))));
    }

    fn opened(&mut self, at: usize, path: &str, scope: ScopeKind) {
        self.emit(at, Record::ScopeOpened { path: path.to_owned(), scope });
    }

    /// A step with all that is in it.
    pub(super) fn copy(&mut self, ix: StepIx, step: &PlanStep, path: &str, was: &Was, keys: &str) {
        self.whole.insert(path.to_owned());
        if let Some((at, join)) = &was.lost {
            return self.emit(*at, Record::Lost { path: path.to_owned(), join: join.clone() });
        }
        let undoable = self.undoable_in(path, "");
        if undoable && holds(was) {
            self.body(ix, step, path, was, keys, None);
        }
        if undoable && step.catch.is_some() {
            self.catch(step, path, was, keys);
        }
        if let Some(answer) = &was.answer {
            self.emit(was.at, answer.clone());
        }
        let path = path.to_owned();
        match was.settled.clone() {
            Some(Settled::Completed { attempt, output }) => {
                self.emit(was.at, Record::Completed { path, attempt, output });
            }
            Some(Settled::Handled { output }) => {
                self.handler(step, &path, was, undoable.then_some(keys));
                self.emit(was.at, Record::Handled { path, output });
            }
            Some(Settled::Skipped { why, spread }) => self.emit(was.at, Record::Skipped { path, why, spread }),
            None => {}
        }
    }

    /// A step that is completed anew, because of what is in it.
    pub(super) fn open(&mut self, ix: StepIx, step: &PlanStep, path: &str, was: &Was, keys: &str) {
        match self.via(path) {
            Some((Owner::OnError(_), _)) => {
                self.failed_bodies.insert((path.to_owned(), true));
                if self.undoable_in(path, "") && holds(was) {
                    self.body(ix, step, path, was, keys, None);
                }
                self.handler(step, path, was, Some(keys));
            }
            Some((Owner::Catch(_), _)) => {
                self.failed_bodies.insert((path.to_owned(), false));
                self.body(ix, step, path, was, keys, None);
                self.catch(step, path, was, keys);
            }
            via => self.body(ix, step, path, was, keys, via.map(|(_, key)| key)),
        }
    }

    fn undoable_in(&self, path: &str, key: &str) -> bool {
        self.past.undoable_in.contains(&(path.to_owned(), key.to_owned()))
    }

    /// It failed and its handler began; with `keys` also what the handler did.
    fn handler(&mut self, step: &PlanStep, path: &str, was: &Was, keys: Option<&str>) {
        let began = was.began(|scope| scope == ScopeKind::OnError);
        let at = began.map_or(was.at, |(at, _)| at);
        let error = was.error.clone().unwrap_or_else(|| StepError::new(ErrorClass::Internal, "it failed"));
        self.emit(at, Record::Failed { path: path.to_owned(), attempt: was.attempt, error, retry_at_ms: None });
        if let (Some(keys), Some((at, _)), Some(scope)) = (keys, began, step.on_error) {
            self.opened(at, path, ScopeKind::OnError);
            self.scope(scope, keys);
        }
    }

    /// The body of a `try` failed and its `catch` began.
    fn catch(&mut self, step: &PlanStep, path: &str, was: &Was, keys: &str) {
        let (Some((at, _)), Some(scope)) = (was.began(|scope| scope == ScopeKind::Catch), step.catch) else { return };
        let error = was.error.clone().unwrap_or_else(|| StepError::new(ErrorClass::Internal, "its body failed"));
        // What failed in there is not copied, that it failed is.
        self.emit(at, Record::TimedOut { path: path.to_owned(), error });
        self.opened(at, path, ScopeKind::Catch);
        self.scope(scope, keys);
    }

    /// The scopes of a step as far as they are copied; `key`: the item that holds the point.
    fn body(&mut self, ix: StepIx, step: &PlanStep, path: &str, was: &Was, keys: &str, key: Option<&str>) {
        if step.kind.repeats().is_some() {
            return self.rounds(step, path, was, keys, key);
        }
        if let Some((at, list)) = &was.listed {
            return self.items(step, path, was, (*at, list), keys, key);
        }
        let opened = was.began(|scope| matches!(scope, ScopeKind::Arm(_) | ScopeKind::Try));
        let Some((at, scope)) = opened else { return };
        let body = if let ScopeKind::Arm(arm) = scope { self.plan.arm(ix, arm) } else { step.body };
        if let Some(body) = body {
            self.opened(at, path, scope);
            self.scope(body, keys);
        }
    }

    /// The items of a map.
    fn items(
        &mut self,
        step: &PlanStep,
        path: &str,
        was: &Was,
        (at, list): (usize, &Listed),
        keys: &str,
        target: Option<&str>,
    ) {
        let mut listed = list.clone();
        let key_of = |index: u32| {
            let key = usize::try_from(index).ok().and_then(|index| list.keys.get(index));
            path_key(&key.cloned().unwrap_or_else(|| index.to_string()))
        };
        let mut began: BTreeSet<u32> = was.items.keys().copied().collect();
        began.extend(was.opened.iter().filter_map(|(_, scope)| match scope {
            ScopeKind::Item(index) => Some(*index),
            _ => None,
        }));
        let point = |key: &str| self.is_point(path, key);
        if let Some(input) = self.wanted.edit.clone() {
            let all = 0..u32::try_from(list.items.len()).unwrap_or(u32::MAX);
            let index = all.into_iter().find(|index| point(&key_of(*index)));
            let place = index.and_then(|index| listed.items.get_mut(usize::try_from(index).ok()?));
            if let Some(place) = place {
                *place = input;
                self.edited = true;
            }
        }
        let record = Record::Listed {
            path: path.to_owned(),
            items: std::mem::take(&mut listed.items),
            keys: listed.keys,
            parallel: listed.parallel,
        };
        self.emit(at, record);
        let mut copies = Vec::new();
        let changed = self.changed_inside(step);
        for index in began {
            let key = key_of(index);
            if self.is_point(path, &key) {
                continue;
            }
            let inner = format!("{keys}[{key}]");
            let opened = was.began(|scope| scope == ScopeKind::Item(index));
            let undone = self.past.undone_in.contains(&(path.to_owned(), key.clone()));
            let ended = was.items.get(&index).filter(|_| !changed && !undone && target != Some(key.as_str()));
            if let Some((done, copy)) = ended {
                self.whole_items.insert((path.to_owned(), key.clone()));
                self.weight = self.weight.saturating_add(copy.output.weight());
                match opened.filter(|_| self.undoable_in(path, &key)) {
                    Some((began, scope)) => self.item(step, path, (began, scope), &inner, (*done, copy)),
                    None => copies.push(copy.clone()),
                }
            } else if let (Some((began, scope)), Some(body)) = (opened, step.body) {
                self.opened(began, path, scope);
                self.scope(body, &inner);
            }
        }
        if !copies.is_empty() {
            self.records.push((at, Record::ItemsCopied { path: path.to_owned(), items: copies }));
        }
    }

    /// An item that ended, with what is in it.
    fn item(
        &mut self,
        step: &PlanStep,
        path: &str,
        (began, scope): (usize, ScopeKind),
        inner: &str,
        (done, copy): (usize, &ItemCopy),
    ) {
        self.opened(began, path, scope);
        if let Some(body) = step.body {
            self.scope(body, inner);
        }
        self.records.push((done, Record::ItemsCopied { path: path.to_owned(), items: vec![copy.clone()] }));
    }

    /// The iterations of a loop: of those that ended the last one counts, behind it one goes on.
    fn rounds(&mut self, step: &PlanStep, path: &str, was: &Was, keys: &str, target: Option<&str>) {
        let opened = was.opened.iter().filter_map(|(_, scope)| match scope {
            ScopeKind::Iteration(index) => Some(*index),
            _ => None,
        });
        let unfinished = opened.filter(|index| !was.items.contains_key(index)).min();
        let undone = |index: &u32| self.past.undone_in.contains(&(path.to_owned(), index.to_string()));
        let undone = was.items.keys().copied().filter(undone).min();
        let target = target.and_then(|key| key.parse::<u32>().ok());
        let changed = self.changed_inside(step).then_some(0);
        let end = was.items.keys().next_back().map_or(0, |last| last.saturating_add(1));
        let next = [unfinished, undone, target, changed].into_iter().flatten().min().unwrap_or(end);
        let mut last = None;
        for (index, (done, copy)) in was.items.range(..next) {
            let key = index.to_string();
            self.whole_items.insert((path.to_owned(), key.clone()));
            let began = was.began(|scope| scope == ScopeKind::Iteration(*index));
            match began.filter(|_| self.undoable_in(path, &key)) {
                Some(opened) => {
                    self.item(step, path, opened, &format!("{keys}[{key}]"), (*done, copy));
                    last = None;
                }
                None => last = Some((*done, copy.clone())),
            }
        }
        if let Some((done, copy)) = last {
            self.records.push((done, Record::ItemsCopied { path: path.to_owned(), items: vec![copy] }));
        }
        let key = next.to_string();
        let began = was.began(|scope| scope == ScopeKind::Iteration(next));
        if let (Some((at, scope)), Some(body), false) = (began, step.body, self.is_point(path, &key)) {
            self.opened(at, path, scope);
            self.scope(body, &format!("{keys}[{key}]"));
        }
    }

    /// Whether something in the body of a step is another step now, reads what runs again, or gave out its address.
    fn changed_inside(&self, step: &PlanStep) -> bool {
        self.same.step(&step.id) != Sameness::Whole
            || self.same.reads_inside(&step.id, &self.dirty)
            || self.same.gives_inside(&step.id, &self.open)
    }

    /// Whether the point is this item.
    fn is_point(&self, path: &str, item: &str) -> bool {
        matches!(&self.wanted.point, Point::Item { map, key } if map == path && path_key(key) == *item)
    }
}
