//! What people are shown before a replay: every call, whether it is sent again and under which key.
//!
//! Invariant: what the preview says is read from what was decided, not decided a second time.

use aura_protocol::flow::{Effect, Flow, Kind, Step};
use aura_protocol::rpc::{Fate, PREVIEW_MAX, ReplayCall, ReplayPreview};
use aura_protocol::run::{KeptKey, Point, Record};

use super::super::advance::hash;
use super::super::bugs::{Bug, has};
use super::super::plan::Owner;
use super::super::state::ms;
use super::copy::Copier;
use super::past::{Called, around, step_of};
use super::{ITEMS_WEIGHT_MAX, Impossible, KEYS_MAX, Opening, RECORDS_MAX};

impl Copier<'_> {
    /// Everything that was decided, in order.
    pub(super) fn finished(mut self, flow: &Flow, same_version: bool) -> Result<Opening, Impossible> {
        let wanted = self.wanted;
        if wanted.edit.is_some() && !self.edited && wanted.point != Point::Start {
            let text = format!("{} has no input of its own to edit: it calls nobody", wanted.point);
            return Err(Impossible::Edit(text));
        }
        let too_large = self.records.len() > RECORDS_MAX || self.weight > ITEMS_WEIGHT_MAX;
        if too_large {
            let text = format!("more than {RECORDS_MAX} steps, or results of more than 4 MiB, would be copied");
            return Err(Impossible::TooLarge(format!("{text}; replay from further outside")));
        }
        self.consent()?;
        self.records.sort_by_key(|(at, _)| *at);
        let records: Vec<Record> = std::mem::take(&mut self.records).into_iter().map(|(_, record)| record).collect();
        let mut preview = ReplayPreview {
            of: self.past.run,
            flow: flow.flow.clone(),
            point: wanted.point.clone(),
            version: self.plan.version.clone(),
            same_version,
            copied: 0,
            again: 0,
            calls: Vec::new(),
            more: 0,
        };
        let mut keys = Vec::new();
        let mut calls = Vec::new();
        for (path, was) in &self.past.steps {
            let copied = self.is_copied(path);
            if copied && self.past.undone.contains(path) && !has(Bug::ReplayCopiesWhatWasUndone) {
                // Done and undone in a body whose failure stays: it is not copied, and does not run again either.
                continue;
            }
            if copied && was.settled.is_some() {
                preview.copied += 1;
            } else if !copied {
                preview.again += 1;
            }
            let step = step_of(self.plan, path).and_then(|ix| self.plan.step(ix));
            let stands = step.is_some_and(|step| step.kind.asks() || step.kind.waits());
            let (effect, (fate, why)) = match &was.call {
                Some(call) if !copied => (call.effect, self.fate(path, call, &mut keys)),
                Some(call) => (call.effect, (Fate::Copied, String::new())),
                None if stands && !copied => (Effect::Read, (Fate::NewKey, self.because(path))),
                None if stands && was.settled.is_some() => (Effect::Read, (Fate::Copied, String::new())),
                None => continue,
            };
            let calls_what = step.and_then(|step| find(flow, &step.id));
            let calls_what = match calls_what {
                Some(step) => match calls_of(step) {
                    // A sleep.
                    None if was.call.is_none() => continue,
                    said => said.unwrap_or_default(),
                },
                // The new version does not have it.
                None => continue,
            };
            calls.push(ReplayCall { path: path.clone(), calls: calls_what, effect, fate, why });
        }
        if keys.len() > KEYS_MAX {
            let text = format!("more than {KEYS_MAX} calls would keep their keys");
            return Err(Impossible::TooLarge(format!("{text}; replay without that, or from further inside")));
        }
        self.not_reached(flow, &mut calls);
        // What is sent stands first, what cannot be taken back before what only reads.
        calls.sort_by_key(|call| (call.fate, call.effect == Effect::Read));
        preview.more = u64::try_from(calls.len().saturating_sub(PREVIEW_MAX)).unwrap_or(0);
        calls.truncate(PREVIEW_MAX);
        preview.calls = calls;
        Ok(Opening { records, keys, input: self.input, preview })
    }

    /// Whether an instance of a step is copied, by itself or with what is around it.
    pub(super) fn is_copied(&self, path: &str) -> bool {
        let outer = around(self.plan, path);
        // What undoes a step is not copied with it.
        if outer.iter().any(|(_, owner, _)| matches!(owner, Owner::Compensate(_))) {
            return false;
        }
        // What is in a body that failed is not sent again when only the answer to that is run again.
        let answered = outer.iter().any(|(outer, owner, _)| match owner {
            Owner::Arm(..) | Owner::Item(_) | Owner::Try(_) => {
                [true, false].into_iter().any(|how| self.failed_bodies.contains(&(outer.clone(), how)))
            }
            Owner::Catch(_) => self.failed_bodies.contains(&(outer.clone(), true)),
            _ => false,
        });
        // That it failed stays, when its handler is run again.
        answered
            || self.failed_bodies.contains(&(path.to_owned(), true))
            || self.whole.contains(path)
            || outer
                .into_iter()
                .any(|(outer, _, key)| self.whole.contains(&outer) || self.whole_items.contains(&(outer, key)))
    }

    /// Why an instance of a step runs again.
    fn because(&self, path: &str) -> String {
        let outer = || around(self.plan, path).into_iter().find_map(|(outer, ..)| self.why.get(&outer).cloned());
        self.why.get(path).cloned().or_else(outer).unwrap_or_else(|| match self.wanted.point {
            Point::Start => "everything runs again".to_owned(),
            _ => "it is in what runs again".to_owned(),
        })
    }

    /// How a call that runs again is sent, and why it is.
    fn fate(&self, path: &str, call: &Called, keys: &mut Vec<KeptKey>) -> (Fate, String) {
        let why = self.because(path);
        if !self.wanted.reuse_keys || matches!(call.effect, Effect::Read) {
            return (Fate::NewKey, why);
        }
        let edited = matches!(&self.wanted.point, Point::Step(point) if point == path)
            && self.input.as_ref().is_some_and(|input| hash(input) != call.input_hash);
        if edited && !has(Bug::ReplayKeepsEveryKey) {
            return (Fate::NewKey, format!("{why}; its input is another one"));
        }
        if call.draws {
            return (Fate::NewKey, format!("{why}; its input holds a time or something drawn"));
        }
        let window =
            step_of(self.plan, path).and_then(|ix| self.plan.step(ix)).map_or(0, |step| ms(step.key_window.ms));
        if self.wanted.now_ms > call.key_ms.saturating_add(window) {
            return (Fate::NewKey, format!("{why}; its peer may have forgotten the old key"));
        }
        keys.push(KeptKey {
            path: path.to_owned(),
            input_hash: call.input_hash.clone(),
            key: call.key.clone(),
            since_ms: call.key_ms,
        });
        (Fate::SameKey, why)
    }

    /// Calls that the run did not come to: what is sent for the first time.
    fn not_reached(&self, flow: &Flow, calls: &mut Vec<ReplayCall>) {
        for step in &self.plan.steps {
            let Some(what) = find(flow, &step.id).and_then(calls_of) else { continue };
            let stands = step.kind.asks() || step.kind.waits();
            let reached = self.past.steps.iter().any(|(path, was)| {
                (was.call.is_some() || stands) && path.split('[').next().is_some_and(|id| id == step.id)
            });
            let listed = calls.iter().any(|call| call.path == step.id);
            if !reached && !listed {
                let why = "the run did not come to it; only if this one does".to_owned();
                let effect = step.effect;
                calls.push(ReplayCall { path: step.id.clone(), calls: what, effect, fate: Fate::NewKey, why });
            }
        }
    }
}

/// A step of a flow by its id.
fn find<'f>(flow: &'f Flow, id: &str) -> Option<&'f Step> {
    fn within<'f>(steps: &'f [Step], id: &str) -> Option<&'f Step> {
        steps.iter().find_map(|step| {
            if step.id == id {
                return Some(step);
            }
            let inside = match &step.kind {
                Kind::Branch(arms) => arms.iter().find_map(|arm| within(&arm.steps, id)),
                Kind::Map { steps, .. } | Kind::Loop { steps, .. } => within(steps, id),
                Kind::Try { steps, catch } => within(steps, id).or_else(|| within(catch, id)),
                _ => None,
            };
            inside.or_else(|| within(&step.on_error, id)).or_else(|| within(&step.compensate, id))
        })
    }
    [&flow.steps, &flow.on_error, &flow.finally].into_iter().find_map(|steps| within(steps, id))
}

/// What a step calls, if it calls somebody.
fn calls_of(step: &Step) -> Option<String> {
    match &step.kind {
        Kind::Uses { action, .. } => Some(action.clone()),
        Kind::Http(http) if http.method.is_empty() => Some("http GET".to_owned()),
        Kind::Http(http) => Some(format!("http {}", http.method.to_ascii_uppercase())),
        Kind::Code(_) | Kind::Call(_) | Kind::Kv(_) | Kind::Emit(_) | Kind::Approval(_) | Kind::Wait(_) => {
            Some(step.kind.name().to_owned())
        }
        _ => None,
    }
}
