//! What expressions of a step may see: the run's state, the error inside handlers, and drawn values.

use std::cell::{Cell, OnceCell, RefCell};
use std::sync::Arc;

use aura_protocol::expr::Scope;
use aura_protocol::run::StepError;
use aura_protocol::{BlobRef, Map, RunId, Value};
use sha2::{Digest, Sha256};

use super::Place;
use super::plan::{Owner, Plan};
use super::state::RunState;

/// What there is not.
static NULL: Value = Value::Null;

/// Bytes of stored values that one step may read.
const READ_MAX: u64 = 64 * 1024 * 1024;

/// Where large values stand. A reference leads to the same value for ever, so this adds nothing that a replay
/// would see differently.
pub trait Stored: Send + Sync {
    /// Values of more than this weight in bytes are kept outside of the run.
    fn min(&self) -> usize {
        aura_storage::BLOB_MIN
    }
    /// The value as a journal holds it: itself, or a reference if it is large.
    fn keep(&self, value: Value) -> Value;
    /// The value behind a reference, or why there is none.
    ///
    /// # Errors
    /// One sentence.
    fn value(&self, blob: BlobRef) -> Result<Value, String>;
    /// The bytes of an event's body behind a reference.
    ///
    /// # Errors
    /// One sentence.
    fn bytes(&self, blob: BlobRef) -> Result<Arc<Vec<u8>>, String>;
    /// Why an output of this weight is too much for a run that holds so many bytes already.
    fn refuses(&self, weight: usize, held: u64) -> Option<StepError>;
}

/// Time and randomness of one transition; all draws follow from the seed.
#[derive(Clone)]
pub struct Moment {
    /// Unix milliseconds.
    pub now_ms: i64,
    /// Random bytes, fresh for each transition.
    pub seed: [u8; 16],
    draws: Cell<u32>,
    stored: Option<Arc<dyn Stored>>,
    links: Option<Arc<dyn Links>>,
}

/// Addresses that end a wait. They follow from run and path alone, so a replay sees the same.
pub trait Links: Send + Sync {
    /// The address of a step's callback.
    fn callback(&self, run: RunId, path: &str) -> String;
    /// The address under which an account decides about what a step asks.
    fn approval(&self, run: RunId, path: &str, account: &str) -> String;
}

impl Moment {
    /// A moment.
    #[must_use]
    pub fn new(now_ms: i64, seed: [u8; 16]) -> Self {
        Self { now_ms, seed, draws: Cell::new(0), stored: None, links: None }
    }

    /// The same, with large values kept outside of the run.
    #[must_use]
    pub fn with_stored(self, stored: Arc<dyn Stored>) -> Self {
        Self { stored: Some(stored), ..self }
    }

    /// The same, with addresses of callbacks.
    #[must_use]
    pub fn with_links(self, links: Arc<dyn Links>) -> Self {
        Self { links: Some(links), ..self }
    }

    /// Where large values stand, if anywhere.
    #[must_use]
    pub fn stored(&self) -> Option<&dyn Stored> {
        self.stored.as_deref()
    }

    /// Sixteen bytes that no other draw of this transition gives.
    #[must_use]
    pub fn draw(&self) -> [u8; 16] {
        let count = self.draws.get();
        self.draws.set(count.wrapping_add(1));
        let digest = Sha256::new().chain_update(self.seed).chain_update(count.to_be_bytes()).finalize();
        let mut out = [0; 16];
        out.iter_mut().zip(digest.iter()).for_each(|(to, from)| *to = *from);
        out
    }

    /// A number below `bound`, evenly enough for jitter.
    #[must_use]
    pub fn below(&self, bound: u64) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = self.draw();
        u64::from_be_bytes([a, b, c, d, e, f, g, h]) % bound.max(1)
    }
}

impl std::fmt::Debug for Moment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Moment").field("now_ms", &self.now_ms).finish_non_exhaustive()
    }
}

/// What a step has read of stored values: each is read on its first use.
#[derive(Default)]
struct Loaded {
    trigger: OnceCell<Value>,
    input: OnceCell<Value>,
    steps: OnceCell<Vec<OnceCell<Value>>>,
    item: OnceCell<Value>,
    run: OnceCell<Value>,
    bytes: Cell<u64>,
    lost: RefCell<Option<String>>,
}

/// Names for the expressions of one step.
pub struct StepScope<'a> {
    state: &'a RunState,
    plan: &'a Plan,
    moment: &'a Moment,
    at: Place,
    error: Value,
    empty: Value,
    /// What the last iteration gave, and the number of the one that may come.
    coming: Option<(Value, Value)>,
    loaded: Loaded,
}

impl<'a> StepScope<'a> {
    /// The scope of a step; inside a handler it has `error`.
    #[must_use]
    pub fn new(plan: &'a Plan, state: &'a RunState, moment: &'a Moment, at: Place) -> Self {
        let error = handled_error(plan, state, at).map_or(Value::Null, |error| error.to_value());
        Self { state, plan, moment, at, error, empty: Value::Map(Map::new()), coming: None, loaded: Loaded::default() }
    }

    /// The same, for the condition before an iteration of a loop.
    #[must_use]
    pub fn before_iteration(mut self, last: Value, index: u32) -> Self {
        let last = if last.has_blob() { self.load(&last) } else { last };
        self.coming = Some((last, Value::from(i64::from(index))));
        self
    }

    /// What the iteration before this one gave; null in the first.
    fn given(&self, at: Place) -> Option<&Value> {
        let items = self.state.cell(at)?.items.as_ref()?;
        match items.results.values().next_back() {
            Some(Ok(last)) if last.has_blob() => Some(self.loaded.item.get_or_init(|| self.load(last))),
            Some(Ok(last)) => Some(last),
            _ => Some(&NULL),
        }
    }

    /// `run` with the addresses that a step may hand out, of callbacks and for those who are asked: those of its scope
    /// and of the ones around.
    fn run_with_callbacks(&self) -> Value {
        let (Value::Map(run), Some(links)) = (&self.state.run_value, &self.moment.links) else {
            return self.state.run_value.clone();
        };
        let (mut callbacks, mut approvals) = (Map::new(), Map::new());
        let mut next = Some(self.at.frame);
        while let Some(ix) = next {
            let Some(frame) = self.state.frame(ix) else { break };
            for step in self.plan.scope_steps(frame.scope).iter().filter_map(|ix| self.plan.step(*ix)) {
                if step.kind.is_called_back() {
                    let path = self.state.path(self.plan, Place { frame: ix, position: step.position });
                    let address = links.callback(self.state.run, &path);
                    callbacks.insert(step.id.clone(), Value::from(address));
                }
                if step.kind.asks() {
                    let path = self.state.path(self.plan, Place { frame: ix, position: step.position });
                    let link = |name: &String| (name.clone(), Value::from(links.approval(self.state.run, &path, name)));
                    approvals.insert(step.id.clone(), Value::Map(step.kind.accounts().iter().map(link).collect()));
                }
            }
            next = frame.owner.map(|owner| owner.frame);
        }
        let mut run = run.clone();
        run.insert("callbacks".to_owned(), Value::Map(callbacks));
        run.insert("approvals".to_owned(), Value::Map(approvals));
        Value::Map(run)
    }

    /// The item of a map around this step: the nearest one, or the one with a name.
    fn item(&self, name: &str) -> Option<&Value> {
        match (&self.coming, name) {
            (Some((last, _)), "item") => return Some(last),
            (Some((_, index)), "index") => return Some(index),
            _ => {}
        }
        let mut next = Some(self.at);
        while let Some(at) = next {
            let frame = self.state.frame(at.frame)?;
            if let (Some((index, number)), Some(map)) = (&frame.index, frame.owner) {
                let items = self.state.cell(map)?.items.as_ref()?;
                let kind = self.state.step_ix(self.plan, map).and_then(|ix| self.plan.step(ix)).map(|step| &step.kind);
                let repeats = kind.is_some_and(|kind| kind.repeats().is_some());
                let item = || usize::try_from(*index).ok().and_then(|index| items.list.get(index));
                match name {
                    "item" if repeats => return self.given(map),
                    "item" => return item(),
                    "index" => return Some(number),
                    _ => {
                        let rules = kind.and_then(|kind| kind.map());
                        if rules.is_some_and(|rules| rules.name.as_deref() == Some(name)) {
                            return item();
                        }
                    }
                }
            }
            next = frame.owner;
        }
        None
    }

    /// Why a value that was asked for could not be read; then nothing that was computed counts.
    #[must_use]
    pub fn lost(&self) -> Option<String> {
        self.loaded.lost.borrow().clone()
    }

    fn read<T>(&self, blob: BlobRef, read: impl FnOnce(&dyn Stored) -> Result<T, String>) -> Result<T, ()> {
        let bytes = self.loaded.bytes.get().saturating_add(blob.bytes);
        self.loaded.bytes.set(bytes);
        let found = match self.moment.stored() {
            _ if bytes > READ_MAX => Err(format!("the step reads more than {} MiB of stored values", READ_MAX >> 20)),
            Some(stored) => read(stored),
            None => Err("large values cannot be read here".to_owned()),
        };
        found.map_err(|message| {
            self.loaded.lost.borrow_mut().get_or_insert(message);
        })
    }

    /// A value with everything in it that stands elsewhere.
    fn load(&self, value: &Value) -> Value {
        value.loaded(&mut |blob| self.read(blob, |stored| stored.value(blob))).unwrap_or_default()
    }

    /// `trigger` of an event whose body stands elsewhere.
    fn load_trigger(&self) -> Value {
        let Some(started) = &self.state.started else { return Value::Null };
        let Some(blob) = started.event.blob else { return self.state.trigger.clone() };
        let Ok(body) = self.read(blob, |stored| stored.bytes(blob)) else { return Value::Null };
        let mut event = started.event.clone();
        (event.body, event.blob) = (body.to_vec(), None);
        event.to_trigger()
    }
}

/// The error that the handler around a step handles: of the nearest failing step, or of the run.
fn handled_error(plan: &Plan, state: &RunState, step: Place) -> Option<StepError> {
    let mut at = step;
    loop {
        let frame = state.frame(at.frame)?;
        match plan.owner(frame.scope) {
            Owner::OnError(_) | Owner::Catch(_) => return state.cell(frame.owner?)?.error.clone(),
            Owner::FlowOnError | Owner::Finally | Owner::Compensate(_) => {
                return state.outcome.as_ref().and_then(|outcome| outcome.error.clone());
            }
            _ => at = frame.owner?,
        }
    }
}

impl Scope for StepScope<'_> {
    fn root(&self, name: &str) -> Option<&Value> {
        match name {
            "trigger" if self.state.held.is_empty() => Some(&self.state.trigger),
            "trigger" => Some(self.loaded.trigger.get_or_init(|| self.load_trigger())),
            "input" if self.state.held.is_empty() => Some(&self.state.input),
            "input" => Some(self.loaded.input.get_or_init(|| self.load(&self.state.input))),
            "run" if !self.plan.has_callbacks => Some(&self.state.run_value),
            "run" => Some(self.loaded.run.get_or_init(|| self.run_with_callbacks())),
            "error" => Some(&self.error),
            "vars" => {
                Some(self.state.started.as_ref().map(|it| &it.vars).filter(|it| !it.is_null()).unwrap_or(&self.empty))
            }
            "env" => Some(&self.empty),
            name => self.item(name),
        }
    }

    /// A step of this scope, or of one around it; the flow's handler and last steps read the flow's steps.
    fn step(&self, id: &str) -> Option<&Value> {
        let known = self.plan.with_id(id);
        let mut frame = Some(self.at.frame);
        while let Some(at) = frame {
            let here = self.state.frame(at)?;
            let mut steps = known.iter().filter_map(|ix| Some((*ix, self.plan.step(*ix)?)));
            if let Some((ix, step)) = steps.find(|(_, step)| step.scope == here.scope) {
                let value = here.cells.get(step.position)?.value.as_ref()?;
                if self.state.held.is_empty() || !value.has_blob() {
                    return Some(value);
                }
                let loaded = self.loaded.steps.get_or_init(|| vec![OnceCell::new(); self.plan.steps.len()]);
                return Some(loaded.get(ix)?.get_or_init(|| self.load(value)));
            }
            frame = here.owner.map(|owner| owner.frame).or((at != 0).then_some(0));
        }
        None
    }

    fn now_ms(&self) -> i64 {
        self.moment.now_ms
    }

    fn entropy(&self, _n: u32) -> [u8; 16] {
        self.moment.draw()
    }
}

/// Names for the policies of a trigger: the trigger alone.
pub struct DoorScope<'a> {
    trigger: &'a Value,
    input: Option<&'a Value>,
    moment: &'a Moment,
}

impl<'a> DoorScope<'a> {
    /// The scope of a trigger's policies.
    #[must_use]
    pub fn new(trigger: &'a Value, moment: &'a Moment) -> Self {
        Self { trigger, input: None, moment }
    }

    /// The scope of a flow's policies, evaluated when a run is created.
    #[must_use]
    pub fn creating(trigger: &'a Value, input: &'a Value, moment: &'a Moment) -> Self {
        Self { trigger, input: Some(input), moment }
    }
}

impl Scope for DoorScope<'_> {
    fn root(&self, name: &str) -> Option<&Value> {
        match name {
            "trigger" => Some(self.trigger),
            "input" => self.input,
            _ => None,
        }
    }
    fn step(&self, _id: &str) -> Option<&Value> {
        None
    }
    fn now_ms(&self) -> i64 {
        self.moment.now_ms
    }
    fn entropy(&self, _n: u32) -> [u8; 16] {
        self.moment.draw()
    }
}
