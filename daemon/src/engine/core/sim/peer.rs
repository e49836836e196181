//! The outside of the simulator: it answers by a script and remembers what it saw.

use std::collections::BTreeMap;

use aura_protocol::Value;
use aura_protocol::flow::Effect;
use aura_protocol::run::{CallOutcome, ErrorClass, Reach, StepError};

use super::disk::{LARGE, OUTPUT_MAX};
use super::flows::{Answer, Size};
use super::id_of;

/// What the outside saw.
#[derive(Debug, Default)]
pub(super) struct Peer {
    pub scripts: BTreeMap<String, Vec<Answer>>,
    /// Steps that are refused whatever the script says, and how.
    pub refused: BTreeMap<String, ErrorClass>,
    /// How much it answers, by step id.
    pub sizes: BTreeMap<String, Size>,
    /// Keys of requests that arrived, by step, in order.
    pub arrived: BTreeMap<String, Vec<String>>,
    /// Requests that left, whatever became of them.
    pub sent: BTreeMap<String, usize>,
    /// Times that it happened, by step and key.
    pub effects: BTreeMap<(String, String), usize>,
    /// Position in the script: lost answers do not move it for a key that was seen.
    pub turn: BTreeMap<String, usize>,
}

impl Peer {
    /// One request.
    pub(super) fn send(&mut self, path: &str, key: &str, effect: Effect) -> CallOutcome {
        *self.sent.entry(path.to_owned()).or_default() += 1;
        let turn = self.turn.entry(path.to_owned()).or_default();
        let answer = self.scripts.get(id_of(path)).and_then(|script| script.get(*turn)).copied().unwrap_or(Answer::Ok);
        *turn += 1;
        let failed = |class: ErrorClass, reach| CallOutcome::Failed(StepError::new(class, "scripted"), reach);
        if let Some(class) = self.refused.get(path) {
            return failed(*class, Reach::Refused);
        }
        if answer == Answer::Unsent {
            return failed(ErrorClass::Transient, Reach::Unsent);
        }
        self.arrived.entry(path.to_owned()).or_default().push(key.to_owned());
        match answer {
            Answer::Ok | Answer::LostAfter => {
                let times = self.effects.entry((path.to_owned(), key.to_owned())).or_default();
                *times = if matches!(effect, Effect::Once | Effect::Lookup) { *times + 1 } else { 1 };
                if answer == Answer::Ok {
                    CallOutcome::Done(self.output(path))
                } else {
                    failed(ErrorClass::Timeout, Reach::Unknown)
                }
            }
            Answer::LostBefore => failed(ErrorClass::Timeout, Reach::Unknown),
            Answer::Refused => failed(ErrorClass::Invalid, Reach::Refused),
            Answer::Slower => {
                let error =
                    StepError { retry_after_ms: Some(5_000), ..StepError::new(ErrorClass::RateLimited, "slower") };
                CallOutcome::Failed(error, Reach::Refused)
            }
            Answer::Unsent => failed(ErrorClass::Transient, Reach::Unsent),
        }
    }

    /// Whether a request of this step did something.
    pub(super) fn happened(&self, path: &str) -> bool {
        self.effects.keys().any(|(of, _)| of == path)
    }

    /// Whether it is asked by this step.
    pub(super) fn answers(&self, path: &str) -> bool {
        self.scripts.contains_key(id_of(path))
    }

    /// What it says to this step.
    pub(super) fn output(&self, path: &str) -> Value {
        match self.sizes.get(id_of(path)) {
            Some(Size::Large) => Value::from(path.repeat(LARGE)),
            Some(Size::TooLarge) => Value::from(path.repeat(OUTPUT_MAX)),
            Some(Size::Small) | None => Value::from(path),
        }
    }
}
