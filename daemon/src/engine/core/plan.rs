//! A flow compiled for running: steps and scopes in arenas, expressions parsed once.
//!
//! Invariant: a plan is a pure function of the flow; indices never change within a version, so a journal
//! read under the same version always means the same steps.

use std::collections::HashMap;
use std::sync::Arc;

use aura_protocol::expr::{ExprError, Template};
use aura_protocol::flow::{Concurrency, Effect, Flow, InDoubtPolicy, Reply, Retry, Span, Step, Trigger, WhenFull};

use crate::engine::kinds::{self, StepKind};

/// Position of a step in [`Plan::steps`].
pub type StepIx = usize;
/// Position of a scope in [`Plan::scopes`].
pub type ScopeIx = usize;

/// How long one attempt of a call may take unless the step says otherwise.
pub const CALL_TIMEOUT: Span = Span::from_secs(30);
/// How long a peer is believed to honour our key unless its action says otherwise (24 h, as Stripe does).
pub const KEY_WINDOW: Span = Span::from_secs(24 * 3600);

/// A flow ready to run.
#[derive(Debug)]
pub struct Plan {
    /// Name of the flow.
    pub flow: String,
    /// Hash of the version.
    pub version: String,
    /// All steps in written order.
    pub steps: Vec<PlanStep>,
    /// All scopes; 0 is the flow's `steps`.
    pub scopes: Vec<PlanScope>,
    /// The flow's handler.
    pub on_error: Option<ScopeIx>,
    /// The flow's last steps.
    pub finally: Option<ScopeIx>,
    /// How long a run may take.
    pub timeout: Option<Span>,
    /// Policies of its triggers, in order.
    pub triggers: Vec<PlanTrigger>,
    /// Runs that may go on at the same time.
    pub concurrency: Option<PlanConcurrency>,
    by_id: HashMap<String, StepIx>,
}

/// The policies of a trigger, evaluated at acceptance.
#[derive(Debug)]
pub struct PlanTrigger {
    /// Id.
    pub id: String,
    /// Key and window.
    pub dedupe: Option<(Template, Span)>,
    /// Only events for which this is true.
    pub filter: Option<Template>,
    /// Key, quiet time, longest wait.
    pub debounce: Option<(Template, Span, Option<Span>)>,
    /// What the sender hears.
    pub reply: Reply,
}

/// Concurrency by key, evaluated when a run is created.
#[derive(Debug)]
pub struct PlanConcurrency {
    /// Key; absent: one for the flow.
    pub key: Option<Template>,
    /// How many hold it at once.
    pub limit: u32,
    /// What happens to one more.
    pub when_full: WhenFull,
}

/// A scope and who owns it.
#[derive(Debug)]
pub struct PlanScope {
    /// Who.
    pub owner: Owner,
    /// Its steps in order.
    pub steps: Vec<StepIx>,
}

/// Who owns a scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// The flow's `steps`.
    Root,
    /// An arm of a branch.
    Arm(StepIx, u32),
    /// The handler of a step.
    OnError(StepIx),
    /// The flow's handler.
    FlowOnError,
    /// The flow's last steps.
    Finally,
}

/// One step.
#[derive(Debug)]
pub struct PlanStep {
    /// Id; also its path as long as no map is around it.
    pub id: String,
    /// The scope it stands in.
    pub scope: ScopeIx,
    /// What it does.
    pub kind: Box<dyn StepKind>,
    /// Skip unless true.
    pub when: Option<Template>,
    /// Its handler.
    pub on_error: Option<ScopeIx>,
    /// What a repeat of its call does outside.
    pub effect: Effect,
    /// How long its peer honours a key.
    pub key_window: Span,
    /// Attempts.
    pub retry: Retry,
    /// One attempt may take this long.
    pub timeout: Span,
    /// What to do when the outcome is unknown.
    pub in_doubt: InDoubtPolicy,
}

/// What is known of actions: effect and key window by `connector.action`.
pub type ActionEffects<'a> = &'a dyn Fn(&str) -> Option<(Effect, Span)>;

/// Why a flow does not compile; `aura flow check` finds the same earlier.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// An expression is wrong.
    #[error("step {step}: {source}")]
    Expression {
        /// Step id.
        step: String,
        /// Why.
        source: ExprError,
    },
    /// This build does not execute the kind.
    #[error("step {step}: this build does not execute `{kind}` steps")]
    Kind {
        /// Step id.
        step: String,
        /// Kind.
        kind: &'static str,
    },
    /// No connector has this action.
    #[error("step {step}: no connector has the action {action}")]
    Action {
        /// Step id.
        step: String,
        /// Action.
        action: String,
    },
}

impl Plan {
    /// Compiles a flow.
    ///
    /// # Errors
    /// If `aura flow check` would have refused it.
    pub fn compile(flow: &Flow, version: &str, actions: ActionEffects<'_>) -> Result<Arc<Self>, PlanError> {
        let plan = Self {
            flow: flow.flow.clone(),
            version: version.to_owned(),
            steps: Vec::new(),
            scopes: Vec::new(),
            on_error: None,
            finally: None,
            timeout: flow.timeout,
            triggers: flow.triggers.iter().map(trigger).collect::<Result<_, _>>()?,
            concurrency: flow.concurrency.as_ref().map(concurrency).transpose()?,
            by_id: HashMap::new(),
        };
        let mut builder = Builder { plan, actions };
        builder.scope(Owner::Root, &flow.steps)?;
        if !flow.on_error.is_empty() {
            builder.plan.on_error = Some(builder.scope(Owner::FlowOnError, &flow.on_error)?);
        }
        if !flow.finally.is_empty() {
            builder.plan.finally = Some(builder.scope(Owner::Finally, &flow.finally)?);
        }
        Ok(Arc::new(builder.plan))
    }

    /// The step of a path.
    #[must_use]
    pub fn find(&self, path: &str) -> Option<StepIx> {
        self.by_id.get(path).copied()
    }

    /// A step by position.
    #[must_use]
    pub fn step(&self, ix: StepIx) -> Option<&PlanStep> {
        self.steps.get(ix)
    }

    /// The steps of a scope.
    #[must_use]
    pub fn scope_steps(&self, scope: ScopeIx) -> &[StepIx] {
        self.scopes.get(scope).map_or(&[], |scope| &scope.steps)
    }

    /// The owner of the scope that a step stands in.
    #[must_use]
    pub fn owner_of(&self, step: StepIx) -> Owner {
        self.steps.get(step).and_then(|step| self.scopes.get(step.scope)).map_or(Owner::Root, |scope| scope.owner)
    }

    /// The arm of a branch as a scope.
    #[must_use]
    pub fn arm(&self, branch: StepIx, arm: u32) -> Option<ScopeIx> {
        self.scopes.iter().position(|scope| scope.owner == Owner::Arm(branch, arm))
    }
}

/// Compiles scopes and steps; handed to kinds that own scopes.
pub struct Builder<'a> {
    plan: Plan,
    actions: ActionEffects<'a>,
}

impl Builder<'_> {
    /// Compiles the steps of one scope.
    ///
    /// # Errors
    /// As [`Plan::compile`].
    pub fn scope(&mut self, owner: Owner, steps: &[Step]) -> Result<ScopeIx, PlanError> {
        let scope = self.plan.scopes.len();
        self.plan.scopes.push(PlanScope { owner, steps: Vec::with_capacity(steps.len()) });
        for step in steps {
            let ix = self.step(scope, step)?;
            if let Some(scope) = self.plan.scopes.get_mut(scope) {
                scope.steps.push(ix);
            }
        }
        Ok(scope)
    }

    fn step(&mut self, scope: ScopeIx, step: &Step) -> Result<StepIx, PlanError> {
        let ix = self.plan.steps.len();
        let expression = |source| PlanError::Expression { step: step.id.clone(), source };
        let when = step.when.as_deref().map(Template::parse_text).transpose().map_err(expression)?;
        self.plan.steps.push(PlanStep {
            id: step.id.clone(),
            scope,
            kind: Box::new(kinds::Placeholder),
            when,
            on_error: None,
            effect: step.effect.unwrap_or_default(),
            key_window: KEY_WINDOW,
            retry: step.retry.clone().unwrap_or_default(),
            timeout: step.timeout.unwrap_or(CALL_TIMEOUT),
            in_doubt: step.in_doubt.unwrap_or_default(),
        });
        self.plan.by_id.insert(step.id.clone(), ix);
        let kind = kinds::compile(self, ix, step)?;
        let declared = kind.effect(self.actions);
        let on_error =
            if step.on_error.is_empty() { None } else { Some(self.scope(Owner::OnError(ix), &step.on_error)?) };
        if let Some(planned) = self.plan.steps.get_mut(ix) {
            planned.kind = kind;
            planned.on_error = on_error;
            if let Some((effect, window)) = declared {
                planned.effect = step.effect.unwrap_or(effect);
                planned.key_window = window;
            }
        }
        Ok(ix)
    }

    /// Whether a connector has this action.
    #[must_use]
    pub fn knows_action(&self, action: &str) -> bool {
        (self.actions)(action).is_some()
    }
}

fn door(place: &str, text: &str) -> Result<Template, PlanError> {
    Template::parse_text(text).map_err(|source| PlanError::Expression { step: place.to_owned(), source })
}

fn trigger(trigger: &Trigger) -> Result<PlanTrigger, PlanError> {
    let parse = |text: &str| door(&trigger.id, text);
    Ok(PlanTrigger {
        id: trigger.id.clone(),
        dedupe: trigger.dedupe.as_ref().map(|it| Ok((parse(&it.key)?, it.window))).transpose()?,
        filter: trigger.filter.as_deref().map(parse).transpose()?,
        debounce: trigger.debounce.as_ref().map(|it| Ok((parse(&it.key)?, it.quiet, it.max))).transpose()?,
        reply: trigger.reply,
    })
}

fn concurrency(policy: &Concurrency) -> Result<PlanConcurrency, PlanError> {
    let key = policy.key.as_deref().map(|text| door("concurrency", text)).transpose()?;
    Ok(PlanConcurrency { key, limit: policy.limit.max(1), when_full: policy.when_full })
}
