//! `code`: a script of the flow's own, run by a runner. Its output is what the script returns.
//!
//! The script is text, never a template; what it may read is its `input`, resolved once. It can reach nothing, so a
//! repeat after a crash is harmless: its effect is `read`, and its clock and random numbers are those of the first try.

use std::time::Duration;

use aura_protocol::expr::{ExprError, Template};
use aura_protocol::flow::{Effect, Kind, Span, Step, code};
use aura_protocol::run::{CallOutcome, ErrorClass, Reach, StepError};
use aura_protocol::{Map, Value};
use futures::future::BoxFuture;
use sha2::{Digest, Sha256};

use super::{CallContext, Enter, Entered, StepKind};
use crate::engine::core::bugs::{Bug, has};
use crate::engine::core::plan::{ActionEffects, Builder, KEY_WINDOW, PlanError, StepIx};
use crate::runner::numbers::for_script;
use crate::runner::pool::PoolError;
use crate::runner::wire::{Answer, Fault, Job, VALUE_MAX};

#[derive(Debug)]
struct Code {
    js: String,
    input: Template,
    time: Span,
}

/// Compiles a `code` step.
///
/// # Errors
/// It has no script, or an expression is wrong.
pub fn compile(builder: &mut Builder<'_>, _ix: StepIx, step: &Step) -> Result<Box<dyn StepKind>, PlanError> {
    let wrong = || PlanError::Kind { step: step.id.clone(), kind: "code" };
    let Kind::Code(value) = &step.kind else { return Err(wrong()) };
    let shape = code::shape(value).map_err(|_| wrong())?;
    let time = step.timeout.unwrap_or(code::TIME).min(code::TIME_MAX);
    Ok(Box::new(Code { js: shape.js.to_owned(), input: builder.template(step, shape.input)?, time }))
}

impl StepKind for Code {
    fn enter(&self, at: &Enter<'_>) -> Result<Entered, ExprError> {
        let input = self.input.eval(at.scope)?;
        let mut resolved = Map::new();
        resolved.insert("input".to_owned(), input.value);
        resolved.insert("now_ms".to_owned(), Value::Int(i128::from(at.now_ms)));
        Ok(Entered::Call { input: Value::Map(resolved), draws: input.draws })
    }

    fn effect(&self, _actions: ActionEffects<'_>) -> Option<(Effect, Span)> {
        Some((Effect::Read, KEY_WINDOW))
    }

    fn in_runner(&self) -> bool {
        !has(Bug::WaitingIsTimed)
    }

    fn job(&self, key: &str, input: &Value) -> Option<Result<Job, String>> {
        Some(self.prepared(key, input))
    }

    fn call<'a>(&'a self, context: CallContext, input: &'a Value) -> BoxFuture<'a, CallOutcome> {
        Box::pin(async move {
            let job = match self.prepared(&context.key, input) {
                Ok(job) => job,
                Err(message) => return failed(ErrorClass::Invalid, message, None),
            };
            if has(Bug::WaitingIsTimed) {
                let time = Duration::from_millis(self.time.ms);
                let Ok(_place) = tokio::time::timeout(time, context.runners.place()).await else {
                    return failed(ErrorClass::Timeout, "no runner came in time".to_owned(), None);
                };
                return self.run(&context, &job).await;
            }
            self.run(&context, &job).await
        })
    }
}

impl Code {
    async fn run(&self, context: &CallContext, job: &Job) -> CallOutcome {
        match context.runners.run(job).await {
            Ok(mut answer) => {
                context.print(std::mem::take(&mut answer.lines));
                outcome(answer)
            }
            Err(error @ PoolError::Off(_)) => failed(ErrorClass::Invalid, error.to_string(), Some("runner")),
            // A script may have ended it, as well as the machine: it is tried again as often as a call.
            Err(error @ PoolError::Broken(_)) => failed(ErrorClass::Transient, error.to_string(), Some("runner")),
        }
    }

    fn prepared(&self, key: &str, resolved: &Value) -> Result<Job, String> {
        let input = for_script(resolved.get("input").unwrap_or(&Value::Null))?;
        if input.len() > VALUE_MAX {
            return Err(format!("the input of the script has {} bytes, the most is {VALUE_MAX}", input.len()));
        }
        let now = resolved.get("now_ms").and_then(Value::as_int).unwrap_or_default();
        Ok(Job {
            js: self.js.clone(),
            input,
            now_ms: i64::try_from(now).unwrap_or_default(),
            seed: seed(key),
            time_ms: self.time.ms,
        })
    }
}

/// What an answer of a runner means for the step.
#[must_use]
pub fn outcome(answer: Answer) -> CallOutcome {
    let (fault, message) = match answer.outcome {
        Ok(json) => match Value::from_json(json.as_bytes()) {
            Ok(output) => return CallOutcome::Done(output),
            Err(error) => (Fault::Output, format!("the script returned no data: {error}")),
        },
        Err(why) => why,
    };
    let code = match fault {
        Fault::Script => None,
        Fault::Time => Some("time"),
        Fault::Memory => Some("memory"),
        Fault::Output => Some("output"),
        Fault::Refused => Some("runner"),
    };
    failed(ErrorClass::Invalid, aura_protocol::text::display(&message), code)
}

/// Random numbers of a script begin with what its step's key gives: the same at each try.
fn seed(key: &str) -> u32 {
    let digest = Sha256::digest(key.as_bytes());
    digest.iter().take(4).fold(0, |seed, byte| (seed << 8) | u32::from(*byte))
}

fn failed(class: ErrorClass, message: impl Into<String>, code: Option<&str>) -> CallOutcome {
    let error = StepError { code: code.map(str::to_owned), ..StepError::new(class, message) };
    CallOutcome::Failed(error, Reach::Unknown)
}
