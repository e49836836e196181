//! Step kinds, one file each; this list is the only place that knows them all.
//!
//! A kind has a pure half (`enter`: what its turn means for the run) and, if it calls somebody, a half
//! that the driver runs (`call`). To add a kind: one file, one line in [`KINDS`].

pub mod approval;
pub mod branch;
pub mod call;
pub mod code;
pub mod emit;
pub mod http;
pub mod kv;
pub mod map;
pub mod repeat;
pub mod respond;
pub mod set;
pub mod sleep;
pub mod stop;
pub mod try_catch;
pub mod uses;
pub mod wait;

use std::fmt::Debug;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aura_integrations::http::Http;
use aura_integrations::registry::Registry;
use aura_protocol::Value;
use aura_protocol::expr::{ExprError, Scope, Template};
use aura_protocol::flow::{Effect, Span, Step};
use aura_protocol::run::{Awaited, CallOutcome, ErrorClass, Reach, StepError};
use aura_storage::rows::ConnectionRecord;
use futures::future::BoxFuture;

use crate::engine::core::plan::{ActionEffects, Builder, PlanError, StepIx};
use crate::runner::pool::Pool;
use crate::runner::wire::Job;

/// Compiles a step of one kind.
type Compile = fn(&mut Builder<'_>, StepIx, &Step) -> Result<Box<dyn StepKind>, PlanError>;

/// Every kind that this build executes, with the key that tells it in the file.
pub const KINDS: &[(&str, Compile)] = &[
    ("uses", uses::compile),
    ("http", http::compile),
    ("set", set::compile),
    ("branch", branch::compile),
    ("map", map::compile),
    ("loop", repeat::compile),
    ("try", try_catch::compile),
    ("sleep", sleep::compile),
    ("wait", wait::compile),
    ("approval", approval::compile),
    ("call", call::compile),
    ("code", code::compile),
    ("emit", emit::compile),
    ("kv", kv::compile),
    ("respond", respond::compile),
    ("stop", stop::compile),
];

/// Compiles the kind of a step.
///
/// # Errors
/// The kind is not in the list, or its own part is wrong.
pub fn compile(builder: &mut Builder<'_>, ix: StepIx, step: &Step) -> Result<Box<dyn StepKind>, PlanError> {
    let name = step.kind.name();
    match KINDS.iter().find(|(known, _)| *known == name) {
        Some((_, compile)) => compile(builder, ix, step),
        None => Err(PlanError::Kind { step: step.id.clone(), kind: name }),
    }
}

/// What a kind sees when its turn comes.
pub struct Enter<'a> {
    /// Names for expressions.
    pub scope: &'a dyn Scope,
    /// Unix milliseconds.
    pub now_ms: i64,
}

/// What the turn of a step means.
#[derive(Clone, Debug, PartialEq)]
pub enum Entered {
    /// Done, with this output.
    Done(Value),
    /// Go on in this arm.
    Arm(u32),
    /// Go on in the body of the `try`.
    Try,
    /// The first iteration begins, or the loop ends before it.
    Loop,
    /// The steps of a map begin, once for each item.
    Items {
        /// The items in input order.
        items: Vec<Value>,
        /// Their keys, all different; empty: their positions.
        keys: Vec<String>,
        /// How many are at work at once at most.
        parallel: u32,
    },
    /// Wait until then.
    Wait(i64),
    /// Wait for something from outside.
    Await {
        /// What.
        what: Awaited,
        /// Until then, in Unix milliseconds.
        until_ms: i64,
    },
    /// A call with this input, which never changes again.
    Call {
        /// Resolved input.
        input: Value,
        /// Values drawn while resolving.
        draws: Vec<Value>,
    },
    /// Answer the sender.
    Respond {
        /// Status.
        status: u16,
        /// Headers.
        headers: Vec<(String, String)>,
        /// Body.
        body: Vec<u8>,
    },
}

/// What a map says beyond its list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MapRules {
    /// What its steps call the item, besides `item`.
    pub name: Option<String>,
    /// An item that fails does not end the map (`on_item_error: continue`).
    pub carry_on: bool,
}

/// When a loop goes on and ends.
#[derive(Clone, Debug)]
pub struct LoopRules {
    /// `while`: another iteration begins only if true.
    pub during: Option<Template>,
    /// `until`: an iteration behind which it is true was the last one.
    pub until: Option<Template>,
    /// An iteration in which it comes true ends there, and is the last one.
    pub break_if: Option<Template>,
    /// More fail the loop.
    pub max_iterations: u32,
    /// Longer fails the loop.
    pub max_duration: Span,
}

/// What a call may touch.
pub struct CallContext {
    /// The one way out.
    pub http: Arc<Http>,
    /// Connectors.
    pub registry: Arc<Registry>,
    /// The step's connection, secrets included.
    pub connection: Option<Arc<ConnectionRecord>>,
    /// Idempotency key.
    pub key: String,
    /// The whole attempt may take this long.
    pub timeout: Duration,
    /// Whether bytes left: certain once the call has ended or was dropped, not while it is at work.
    pub sent: Arc<AtomicBool>,
    /// Unix milliseconds.
    pub now_ms: i64,
    /// Where scripts run.
    pub runners: Pool,
    /// What a script printed.
    pub printed: Arc<Mutex<Vec<String>>>,
}

impl CallContext {
    /// These lines were printed.
    pub fn print(&self, lines: Vec<String>) {
        self.printed.lock().unwrap_or_else(PoisonError::into_inner).extend(lines);
    }
}

/// A kind of step.
pub trait StepKind: Debug + Send + Sync {
    /// Its turn has come (pure).
    ///
    /// # Errors
    /// An expression failed: so does the step.
    fn enter(&self, at: &Enter<'_>) -> Result<Entered, ExprError>;

    /// For `stop`: whether it ends the run well.
    fn stops(&self) -> Option<bool> {
        None
    }

    /// For `map`: what its body and its failures mean.
    fn map(&self) -> Option<&MapRules> {
        None
    }

    /// For `loop`: when it goes on and ends.
    fn repeats(&self) -> Option<&LoopRules> {
        None
    }

    /// What a repeat of its call does outside, and how long its peer honours a key.
    fn effect(&self, _actions: ActionEffects<'_>) -> Option<(Effect, Span)> {
        None
    }

    /// Whether it reads or writes what the tenant keeps, instead of calling somebody.
    fn keeps(&self) -> bool {
        false
    }

    /// Whether it begins a run of another flow, instead of calling somebody.
    fn calls_flow(&self) -> bool {
        false
    }

    /// Whether it needs a place among the runners of scripts.
    fn in_runner(&self) -> bool {
        false
    }

    /// For a script: what a runner is asked, from the step's key and its resolved input.
    fn job(&self, _key: &str, _input: &Value) -> Option<Result<Job, String>> {
        None
    }

    /// Whether it asks people.
    fn asks(&self) -> bool {
        false
    }

    /// Whether nobody decides there about a run of their own.
    fn no_self(&self) -> bool {
        false
    }

    /// The accounts that it asks by name, at once or later.
    fn accounts(&self) -> &[String] {
        &[]
    }

    /// Whether it gives an event to the flows that take it, instead of calling somebody.
    fn emits(&self) -> bool {
        false
    }

    /// Whether it waits for something from outside.
    fn waits(&self) -> bool {
        false
    }

    /// Whether that something is a call to an address of its own.
    fn is_called_back(&self) -> bool {
        false
    }

    /// The name of the connection it uses.
    fn connection(&self) -> Option<&str> {
        None
    }

    /// Makes the call (the driver's half).
    fn call<'a>(&'a self, _context: CallContext, _input: &'a Value) -> BoxFuture<'a, CallOutcome> {
        let error = StepError::new(ErrorClass::Internal, "this kind of step calls nobody");
        Box::pin(std::future::ready(CallOutcome::Failed(error, Reach::Unsent)))
    }
}

/// An error in words, where no expression is at fault.
pub(crate) fn refused(message: impl Into<String>) -> ExprError {
    ExprError { message: message.into(), offset: 0, hint: None }
}

/// Stands in a plan while its step is being compiled.
#[derive(Debug)]
pub struct Placeholder;

impl StepKind for Placeholder {
    fn enter(&self, _at: &Enter<'_>) -> Result<Entered, ExprError> {
        Err(refused("the step was not compiled"))
    }
}

#[cfg(test)]
mod tests {
    use super::KINDS;

    #[test]
    fn check_and_engine_know_the_same_kinds() {
        let mut ours: Vec<&str> = KINDS.iter().map(|(name, _)| *name).collect();
        let mut checked: Vec<&str> = aura_protocol::flow::support::KINDS.to_vec();
        ours.sort_unstable();
        checked.sort_unstable();
        assert_eq!(ours, checked);
    }
}
