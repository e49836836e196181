//! The world around a flow under test: the other side answers by pins, and remembers what reached it.
//!
//! Invariant: it outlives every crash of the daemon under test, as the real one does, so what it saw is the judge of
//! effects. An attempt that is repeated after a crash meets the same answer at the same time.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use aura_integrations::http::{HttpResponse, classify};
use aura_integrations::registry::{Registry, example};
use aura_protocol::flow::cases::{Case, Pin, Says};
use aura_protocol::flow::{Effect, Flow, Span, outline};
use aura_protocol::rpc::DataFrom;
use aura_protocol::run::{Awaited, CallOutcome, ErrorClass, Reach, StepError};
use aura_protocol::{Map, Value};
use aura_storage::rows::KvRow;

use super::invent::{Reads, filled};

use crate::engine::core::plan::PlanStep;
use crate::engine::core::state::ms;
use crate::engine::kinds;

/// Why a case cannot go on: a place in its file, and a sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Halt {
    /// Below the case, as `pins.charge`; empty: the case itself.
    pub at: String,
    pub message: String,
}

impl Halt {
    pub(super) fn new(at: impl Into<String>, message: impl Into<String>) -> Self {
        Self { at: at.into(), message: message.into() }
    }
}

/// A call that reached the other side, however often.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Sent {
    pub path: String,
    pub action: String,
    pub effect: Effect,
    pub key: String,
    pub input: Value,
    /// When it came first.
    pub at_ms: i64,
    /// How often it came.
    pub times: u32,
    /// How often something happened because of it.
    pub happened: u32,
    /// A repeat came under another key, or with another input.
    pub unlike: Option<&'static str>,
}

/// An answer on its way.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Answer {
    pub at_ms: i64,
    pub outcome: CallOutcome,
    /// Something happened there.
    pub happens: bool,
}

/// See the module.
pub(super) struct World<'a> {
    case: &'a Case,
    registry: &'a Registry,
    /// What a step is, by its id: a kind, or the action of a `uses` step.
    actions: HashMap<String, String>,
    /// In the order in which they came.
    pub sent: Vec<Sent>,
    /// What `kv` steps keep.
    pub kept: HashMap<String, KvRow>,
    /// Steps that were answered by a connector's recorded example.
    pub examples: BTreeSet<String>,
    /// Where what a step gave came from, if the flow did not make it.
    pub from: BTreeMap<String, DataFrom>,
    /// What nobody says is made of what the flow reads.
    reads: Option<&'a Reads>,
    /// Pins that come from a real run.
    recorded: Option<&'a BTreeSet<String>>,
    /// Pins that somebody asked for.
    used: BTreeSet<String>,
    answers: HashMap<(String, u32), Answer>,
}

impl<'a> World<'a> {
    pub(super) fn new(flow: &Flow, case: &'a Case, registry: &'a Registry) -> Self {
        let each = |kind: String| kind.strip_prefix("each ").map(str::to_owned).unwrap_or(kind);
        let actions = outline(flow).into_iter().map(|row| (row.step, each(row.kind))).collect();
        Self {
            case,
            registry,
            actions,
            sent: Vec::new(),
            kept: HashMap::new(),
            examples: BTreeSet::new(),
            from: BTreeMap::new(),
            reads: None,
            recorded: None,
            used: BTreeSet::new(),
            answers: HashMap::new(),
        }
    }

    /// The same, where a real run says some of the pins, and what nobody says is made up.
    pub(super) fn completed(&mut self, reads: Option<&'a Reads>, recorded: &'a BTreeSet<String>) {
        (self.reads, self.recorded) = (reads, Some(recorded));
    }

    /// What a step is: its kind, or its action.
    pub(super) fn kind(&self, path: &str) -> &str {
        self.actions.get(id_of(path)).map_or("", String::as_str)
    }

    /// How people call what a call does.
    pub(super) fn action(&self, path: &str, input: &Value) -> String {
        let text = |name: &str| input.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        match self.kind(path) {
            "http" => format!("{} {}", text("method"), text("url")),
            "call" => format!("call {}", text("flow")),
            "emit" => format!("emit {}", text("event")),
            action => action.to_owned(),
        }
    }

    /// The answers that a step is given: by its path, else by its id.
    pub(super) fn pins(&mut self, path: &str) -> Option<&'a [Pin]> {
        let of = |name: &str| self.case.pins.iter().find(|(step, _)| step == name);
        let (name, pins) = of(path).or_else(|| of(id_of(path)))?;
        self.used.insert(name.clone());
        let recorded = self.recorded.is_some_and(|recorded| recorded.contains(name));
        self.from.insert(path.to_owned(), if recorded { DataFrom::Recorded } else { DataFrom::Pinned });
        Some(pins)
    }

    /// Pins that nobody asked for.
    pub(super) fn unused(&self) -> impl Iterator<Item = &str> {
        self.case.pins.iter().map(|(step, _)| step.as_str()).filter(|step| !self.used.contains(*step))
    }

    /// Why an input cannot even be sent, as the call itself would say it.
    pub(super) fn unsendable(&self, path: &str, input: &Value) -> Option<StepError> {
        let problem = match self.kind(path) {
            "http" => kinds::http::sendable(input).err(),
            "call" | "code" => None,
            action => self.registry.check_input(action, input).err(),
        };
        problem.map(|message| StepError::new(ErrorClass::Invalid, message))
    }

    /// A call arrives; what is said to it, and when.
    pub(super) fn ask(
        &mut self,
        (path, attempt): (&str, u32),
        step: &PlanStep,
        (key, effect, input): (&str, Effect, &Value),
        now_ms: i64,
    ) -> Result<Answer, Halt> {
        let known = self.answers.get(&(path.to_owned(), attempt)).cloned();
        let answer = match known {
            Some(answer) => Answer { at_ms: answer.at_ms.max(now_ms), ..answer },
            None => self.answer(path, step, now_ms)?,
        };
        self.answers.insert((path.to_owned(), attempt), answer.clone());
        self.came(path, key, effect, input, now_ms, answer.happens);
        Ok(answer)
    }

    /// Remembers that a call came.
    pub(super) fn came(&mut self, path: &str, key: &str, effect: Effect, input: &Value, now_ms: i64, happens: bool) {
        let found = self.sent.iter().position(|sent| sent.path == path);
        let index = found.unwrap_or_else(|| {
            self.sent.push(Sent {
                path: path.to_owned(),
                action: self.action(path, input),
                effect,
                key: key.to_owned(),
                input: input.clone(),
                at_ms: now_ms,
                times: 0,
                happened: 0,
                unlike: None,
            });
            self.sent.len() - 1
        });
        let Some(sent) = self.sent.get_mut(index) else { return };
        sent.times += 1;
        if sent.key != key {
            sent.unlike = Some("key");
        } else if sent.input != *input {
            sent.unlike = Some("input");
        }
        // Who knows the key, or is only asked, does nothing twice.
        let again = matches!(effect, Effect::Once | Effect::Lookup) || sent.happened == 0;
        sent.happened += u32::from(happens && again);
    }

    /// The first answer to an attempt.
    fn answer(&mut self, path: &str, step: &PlanStep, now_ms: i64) -> Result<Answer, Halt> {
        let Some(pins) = self.pins(path) else {
            let output = match example(self.kind(path)) {
                Some(output) => {
                    self.examples.insert(path.to_owned());
                    self.from.insert(path.to_owned(), DataFrom::Generated);
                    output
                }
                None => self.made(path).ok_or_else(|| self.unpinned(path))?,
            };
            return Ok(Answer { at_ms: now_ms, outcome: CallOutcome::Done(output), happens: true });
        };
        let last = pins.len().saturating_sub(1);
        // An attempt that never came here (a crash was in between) takes no answer away.
        let turn = self.answers.keys().filter(|(of, _)| of == path).count().min(last);
        let Some(pin) = pins.get(turn) else { return Err(self.unpinned(path)) };
        let (outcome, happens) = self.said(path, &pin.says)?;
        let lost = matches!(pin.says, Says::Lost { .. });
        let after = if lost { pin.after.max(step.timeout) } else { pin.after };
        if lost || after > step.timeout {
            let message = format!("no answer within {} ms", step.timeout.ms);
            let error = StepError::new(ErrorClass::Timeout, message);
            let outcome = CallOutcome::Failed(error, Reach::Unknown);
            return Ok(Answer { at_ms: later(now_ms, step.timeout), outcome, happens });
        }
        Ok(Answer { at_ms: later(now_ms, after), outcome, happens })
    }

    /// What a pin means, and whether something happened.
    pub(super) fn said(&self, path: &str, says: &Says) -> Result<(CallOutcome, bool), Halt> {
        Ok(match says {
            Says::Output(output) => (CallOutcome::Done(output.clone()), true),
            Says::Lost { arrived } => {
                let error = StepError::new(ErrorClass::Timeout, "nobody heard an answer");
                (CallOutcome::Failed(error, Reach::Unknown), *arrived)
            }
            Says::Error { class, reach, message, code, retry_after } => {
                let mut error = StepError::new(*class, message.clone());
                error.code.clone_from(code);
                error.retry_after_ms = retry_after.map(|span| span.ms);
                (CallOutcome::Failed(error, *reach), false)
            }
            Says::Status { status, headers, body } => {
                let text = |value: &Value| value.as_str().map_or_else(|| value.to_json(), str::to_owned);
                let headers: Vec<(String, String)> =
                    headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), text(value))).collect();
                let bytes = if body.is_null() { Vec::new() } else { text(body).into_bytes() };
                let response = HttpResponse { status: *status, headers, body: bytes, certificate: None };
                match classify(&response) {
                    Some((error, reach)) => (CallOutcome::Failed(error, reach), false),
                    None if self.kind(path) == "http" => {
                        let headers = response.headers.into_iter().map(|(name, value)| (name, Value::from(value)));
                        let output = Value::object([
                            ("status", Value::from(i64::from(*status))),
                            ("headers", Value::Map(headers.collect())),
                            ("body", body.clone()),
                        ]);
                        (CallOutcome::Done(output), true)
                    }
                    None => {
                        let message = format!(
                            "`{path}` is no http step, so a status of success does not say what it gives: pin its `output`"
                        );
                        return Err(Halt::new(pin_place(self.case, path), message));
                    }
                }
            }
        })
    }

    /// What a step gives that nobody says anything about; none if that is not wanted.
    pub(super) fn made(&mut self, path: &str) -> Option<Value> {
        let read = self.reads?.output(id_of(path));
        self.from.insert(path.to_owned(), DataFrom::Generated);
        if self.kind(path) != "http" {
            return Some(read.unwrap_or_else(|| Value::Map(Map::new())));
        }
        let mut whole = Map::from_iter([
            ("status".to_owned(), Value::Int(200)),
            ("headers".to_owned(), Value::Map(Map::new())),
            ("body".to_owned(), Value::Map(Map::new())),
        ]);
        if let Some(Value::Map(read)) = read {
            // A status is what a request says of itself, so only one that the flow asks for by number counts.
            let told = |name: &str, value: &Value| name != "status" || value.as_int().is_some_and(|it| it >= 100);
            whole.extend(read.into_iter().filter(|(name, value)| told(name, value)));
        }
        Some(Value::Map(whole))
    }

    /// What comes for a step that waits, if that is to be made up.
    pub(super) fn comes(&mut self, path: &str, what: &Awaited) -> Option<Value> {
        let signalled = |name: &str| self.case.signals.iter().any(|signal| signal.step == name);
        if signalled(path) || signalled(id_of(path)) {
            return None;
        }
        let made = self.made(path)?;
        Some(if let Awaited::People(ask) = what { filled(&ask.fields) } else { made })
    }

    /// Nothing is pinned for a step.
    pub(super) fn unpinned(&self, path: &str) -> Halt {
        let what = match self.kind(path) {
            "http" => "makes a request",
            "call" => "runs another flow",
            _ => "calls an action that has no recorded example",
        };
        let id = id_of(path);
        let message = format!(
            "the step {path} {what} and no answer is pinned: add `pins: {{ {id}: {{ output: … }} }}` to the case"
        );
        Halt::new("", message)
    }

    /// Whether something happened because of a step.
    pub(super) fn happened(&self, path: &str) -> bool {
        self.sent.iter().any(|sent| sent.path == path && sent.happened > 0)
    }

    /// What was said to an attempt that reached the other side.
    pub(super) fn told(&self, path: &str, attempt: u32) -> Option<&Answer> {
        self.answers.get(&(path.to_owned(), attempt))
    }
}

/// The place of a step's pin in its case.
fn pin_place(case: &Case, path: &str) -> String {
    let has = |name: &str| case.pins.iter().any(|(step, _)| step == name);
    if has(path) { place("pins", path) } else { place("pins", id_of(path)) }
}

/// The path of a key below a part of a case.
pub(super) fn place(part: &str, key: &str) -> String {
    let simple = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    if simple { format!("{part}.{key}") } else { format!("{part}[{key:?}]") }
}

/// The id in a path.
pub(super) fn id_of(path: &str) -> &str {
    path.split('[').next().unwrap_or(path)
}

/// A span after a time.
pub(super) fn later(now_ms: i64, span: Span) -> i64 {
    now_ms.saturating_add(ms(span.ms))
}
