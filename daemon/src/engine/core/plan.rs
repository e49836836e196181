//! A flow compiled for running: steps and scopes in arenas, expressions parsed once.
//!
//! Invariant: a plan is a pure function of the flow; indices never change within a version, so a journal
//! read under the same version always means the same steps.

use std::collections::HashMap;
use std::sync::Arc;

use aura_protocol::Value;
use aura_protocol::expr::{ExprError, Scope, Template};
use aura_protocol::flow::redact::Redacted;
use aura_protocol::flow::rules::{Rules, RulesError};
use aura_protocol::flow::{
    self, Concurrency, Effect, Flow, InDoubtPolicy, OnExcess, Reply, Retry, Span, Step, Trigger, Variables, WhenFull,
    each, support, variables,
};
use aura_protocol::run::Limited;

use crate::engine::kinds::{self, StepKind};
use crate::engine::limits::{self, Limit, Rate};

/// Position of a step in [`Plan::steps`].
pub type StepIx = usize;
/// Position of a scope in [`Plan::scopes`].
pub type ScopeIx = usize;

/// How long one attempt of a call may take unless the step says otherwise.
pub const CALL_TIMEOUT: Span = Span::from_secs(30);
/// How long a peer is believed to honour our key unless its action says otherwise (24 h, as Stripe does).
pub const KEY_WINDOW: Span = Span::from_secs(24 * 3600);

/// A run's journal has about so many records at most (a gigabyte): what repeats inside of what repeats has to end one
/// day, and whoever needs more makes runs of its parts.
pub const RECORDS_MAX: u64 = 5_000_000;

/// A flow ready to run.
#[derive(Debug)]
pub struct Plan {
    /// Name of the flow.
    pub flow: String,
    /// Hash of the version.
    pub version: String,
    /// All steps in written order.
    pub steps: Vec<PlanStep>,
    /// How many of them no map repeats.
    pub steps_outside_maps: u32,
    /// All scopes; 0 is the flow's `steps`.
    pub scopes: Vec<PlanScope>,
    /// The flow's handler.
    pub on_error: Option<ScopeIx>,
    /// The flow's last steps.
    pub finally: Option<ScopeIx>,
    /// How long a run may take.
    pub timeout: Option<Span>,
    /// With so many records in its journal a run begins no further list and no further iteration.
    pub records_max: u64,
    /// Policies of its triggers, in order.
    pub triggers: Vec<PlanTrigger>,
    /// Runs that may go on at the same time.
    pub concurrency: Option<PlanConcurrency>,
    /// Runs that start in a time.
    pub rate: Option<PlanRate>,
    /// Who goes first.
    pub priority: Option<Template>,
    /// Whom a run is about.
    pub subject: Option<Template>,
    /// Paths by whose values runs are found.
    pub index: Vec<String>,
    /// Some step limits the time of what is in it.
    pub has_limits: bool,
    /// Some step waits for an event.
    pub awaits_events: bool,
    /// Some step has addresses of its own: it waits for a callback, or asks people.
    pub has_callbacks: bool,
    /// Variables that its expressions read.
    pub variables: Variables,
    /// What nobody is shown of its runs.
    pub redacted: Redacted,
    /// Steps of an id: one, or for `each` the map and the step that it repeats.
    by_id: HashMap<String, Vec<StepIx>>,
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
    /// Collects events: key, how many, how long.
    pub batch: Option<PlanBatch>,
    /// So many start runs in a time: key, rate, and what becomes of one more.
    pub throttle: Option<PlanThrottle>,
    /// What the sender hears.
    pub reply: Reply,
    /// Keys under which runs of this flow wait for its events; then they start none.
    pub awaited: Vec<Template>,
}

/// Events that become one run, by key.
#[derive(Debug)]
pub struct PlanBatch {
    /// Key; absent: one for the trigger.
    pub key: Option<Template>,
    /// So many make it full.
    pub max: usize,
    /// Counted from the first one.
    pub within: Span,
}

/// A throttle by key, evaluated when a run is created of its trigger.
#[derive(Debug)]
pub struct PlanThrottle {
    /// Key; absent: one for the trigger.
    pub key: Option<Template>,
    /// How many in which time.
    pub rate: Rate,
    /// What becomes of one more.
    pub on_excess: OnExcess,
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

/// A rate by key, evaluated when a run is created.
#[derive(Debug)]
pub struct PlanRate {
    /// Key; absent: one for the flow.
    pub key: Option<Template>,
    /// How many in which time.
    pub rate: Rate,
}

/// Limits of the calls of a step.
#[derive(Debug)]
pub struct PlanLimit {
    /// Key; absent: one for the step.
    pub key: Option<Template>,
    /// What a key limits.
    pub limit: Limit,
    /// Who goes first; absent: by the priority of the run.
    pub priority: Option<Template>,
}

impl PlanLimit {
    /// Under which key a call counts, and who goes first.
    ///
    /// # Errors
    /// An expression failed, or gave no key or no priority.
    pub fn of(&self, scope: &dyn Scope) -> Result<Limited, ExprError> {
        let key = match &self.key {
            None => String::new(),
            Some(key) => match key.eval(scope)?.value {
                Value::Null => return Err(kinds::refused("the key of `limit` is null")),
                value => value.to_canonical_json(),
            },
        };
        let priority = self.priority.as_ref().map(|priority| {
            let value = priority.eval(scope)?.value;
            limits::priority(&value).map_err(kinds::refused)
        });
        Ok(Limited { key, priority: priority.transpose()? })
    }
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
    /// The body of a map or loop, once for each item or iteration.
    Item(StepIx),
    /// The body of a `try`.
    Try(StepIx),
    /// What runs when the body of a `try` failed.
    Catch(StepIx),
    /// What undoes a step.
    Compensate(StepIx),
    /// The flow's handler.
    FlowOnError,
    /// The flow's last steps.
    Finally,
}

impl Owner {
    /// The step whose scope it is; none for those of the flow.
    #[must_use]
    pub fn step(self) -> Option<StepIx> {
        match self {
            Self::Root | Self::FlowOnError | Self::Finally => None,
            Self::Arm(step, _)
            | Self::OnError(step)
            | Self::Item(step)
            | Self::Try(step)
            | Self::Catch(step)
            | Self::Compensate(step) => Some(step),
        }
    }
}

/// How a sibling must have settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// In any way.
    Settled,
    /// Well.
    Succeeded,
    /// By an error that its handler dealt with.
    Failed,
}

/// A sibling that a step waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Need {
    /// Its position in the scope.
    pub position: usize,
    /// How it must have settled.
    pub when: When,
}

/// How many needs must come true.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Join {
    /// All settled, none of them otherwise than wanted.
    All,
    /// The first so many.
    First(usize),
}

/// One step.
#[derive(Debug)]
pub struct PlanStep {
    /// Id; also its path where no map is around it.
    pub id: String,
    /// The scope it stands in.
    pub scope: ScopeIx,
    /// Its place in there.
    pub position: usize,
    /// A map is around it.
    pub in_map: bool,
    /// What it waits for.
    pub needs: Vec<Need>,
    /// How many of them must come true.
    pub join: Join,
    /// The needs that a settled join did not wait for are cancelled.
    pub cancel_losers: bool,
    /// The body of a map, loop or try.
    pub body: Option<ScopeIx>,
    /// What runs when the body of a try failed.
    pub catch: Option<ScopeIx>,
    /// What undoes it.
    pub compensate: Option<ScopeIx>,
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
    /// All that is in it may take this long.
    pub limit: Option<Span>,
    /// What to do when the outcome is unknown.
    pub in_doubt: InDoubtPolicy,
    /// What its calls wait for.
    pub counted: Option<PlanLimit>,
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
    /// A rule table is wrong.
    #[error("step {step}: {source}")]
    Rules {
        /// Step id.
        step: String,
        /// Why.
        source: Box<RulesError>,
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
            steps_outside_maps: 0,
            scopes: Vec::new(),
            on_error: None,
            finally: None,
            timeout: flow.timeout,
            records_max: RECORDS_MAX,
            triggers: flow.triggers.iter().map(trigger).collect::<Result<_, _>>()?,
            concurrency: flow.concurrency.as_ref().map(concurrency).transpose()?,
            rate: flow.rate.as_ref().map(rate).transpose()?,
            priority: flow.priority.as_ref().map(|value| door_value("priority", value)).transpose()?,
            subject: flow.subject.as_deref().map(|text| door("subject", text)).transpose()?,
            index: flow.index.clone(),
            has_limits: false,
            awaits_events: false,
            has_callbacks: false,
            variables: variables(flow),
            redacted: Redacted::of(flow),
            by_id: HashMap::new(),
        };
        let mut builder = Builder { plan, actions, names: Vec::new(), maps: 0 };
        builder.scope(Owner::Root, &flow.steps)?;
        if !flow.on_error.is_empty() {
            builder.plan.on_error = Some(builder.scope(Owner::FlowOnError, &flow.on_error)?);
        }
        if !flow.finally.is_empty() {
            builder.plan.finally = Some(builder.scope(Owner::Finally, &flow.finally)?);
        }
        builder.plan.has_callbacks =
            builder.plan.steps.iter().any(|step| step.kind.is_called_back() || step.kind.asks());
        builder.plan.awaits_events = builder.plan.triggers.iter().any(|trigger| !trigger.awaited.is_empty());
        builder.plan.has_limits = builder.plan.steps.iter().any(|step| step.limit.is_some());
        let outside = builder.plan.steps.iter().filter(|step| !step.in_map).count();
        builder.plan.steps_outside_maps = u32::try_from(outside).unwrap_or(u32::MAX);
        Ok(Arc::new(builder.plan))
    }

    /// The steps with an id: one, or for `each` the map and the step in it.
    #[must_use]
    pub fn with_id(&self, id: &str) -> &[StepIx] {
        self.by_id.get(id).map_or(&[], Vec::as_slice)
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
        self.steps.get(step).map_or(Owner::Root, |step| self.owner(step.scope))
    }

    /// The owner of a scope.
    #[must_use]
    pub fn owner(&self, scope: ScopeIx) -> Owner {
        self.scopes.get(scope).map_or(Owner::Root, |scope| scope.owner)
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
    /// What the maps around call their items.
    names: Vec<String>,
    /// How many maps are around.
    maps: u32,
}

impl Builder<'_> {
    /// Compiles the steps of one scope.
    ///
    /// # Errors
    /// As [`Plan::compile`].
    pub fn scope(&mut self, owner: Owner, steps: &[Step]) -> Result<ScopeIx, PlanError> {
        let scope = self.plan.scopes.len();
        self.plan.scopes.push(PlanScope { owner, steps: Vec::with_capacity(steps.len()) });
        for (position, step) in steps.iter().enumerate() {
            let repeated = each::unrolled(step);
            let step = repeated.as_ref().unwrap_or(step);
            let ix = self.step(scope, position, step, needs(steps, position))?;
            if let Some(scope) = self.plan.scopes.get_mut(scope) {
                scope.steps.push(ix);
            }
        }
        Ok(scope)
    }

    /// Compiles the body of a map, whose items have a name if the flow says so.
    ///
    /// # Errors
    /// As [`Plan::compile`].
    pub fn items(&mut self, map: StepIx, name: Option<&str>, steps: &[Step]) -> Result<(), PlanError> {
        self.names.extend(name.map(str::to_owned));
        self.maps += 1;
        let body = self.scope(Owner::Item(map), steps)?;
        self.maps -= 1;
        if name.is_some() {
            self.names.pop();
        }
        if let Some(step) = self.plan.steps.get_mut(map) {
            step.body = Some(body);
        }
        Ok(())
    }

    /// Compiles the body of a try and what runs when it failed.
    ///
    /// # Errors
    /// As [`Plan::compile`].
    pub fn tried(&mut self, ix: StepIx, steps: &[Step], catch: &[Step]) -> Result<(), PlanError> {
        let body = self.scope(Owner::Try(ix), steps)?;
        let catch = if catch.is_empty() { None } else { Some(self.scope(Owner::Catch(ix), catch)?) };
        if let Some(step) = self.plan.steps.get_mut(ix) {
            (step.body, step.catch) = (Some(body), catch);
        }
        Ok(())
    }

    /// Parses a template of a step; items may be read by the names that the maps around give them.
    ///
    /// # Errors
    /// It is wrong; the error names the step.
    pub fn template(&self, step: &Step, value: &Value) -> Result<Template, PlanError> {
        self.template_with(step, value, &[])
    }

    /// As [`Builder::template`], where more names can be read.
    ///
    /// # Errors
    /// It is wrong; the error names the step.
    pub fn template_with(&self, step: &Step, value: &Value, more: &[&str]) -> Result<Template, PlanError> {
        let names: Vec<&str> = self.names.iter().map(String::as_str).chain(more.iter().copied()).collect();
        Template::parse_with(value, &names).map_err(|source| PlanError::Expression { step: step.id.clone(), source })
    }

    /// The rule table of a step, if it has one.
    ///
    /// # Errors
    /// The table or one of its expressions is wrong; the error names the step.
    pub fn rules(&self, step: &Step) -> Result<Option<Rules>, PlanError> {
        let names: Vec<&str> = self.names.iter().map(String::as_str).collect();
        let compiled = step.rules.as_ref().map(|rules| Rules::compile(rules, &names)).transpose();
        compiled.map_err(|source| PlanError::Rules { step: step.id.clone(), source: Box::new(source) })
    }

    fn step(&mut self, scope: ScopeIx, position: usize, step: &Step, needs: Vec<Need>) -> Result<StepIx, PlanError> {
        let ix = self.plan.steps.len();
        let when = step.when.as_deref().map(|when| self.template(step, &Value::from(when))).transpose()?;
        let counted = step.limit.as_ref().map(|limit| self.limit(step, limit)).transpose()?;
        self.plan.steps.push(PlanStep {
            id: step.id.clone(),
            scope,
            position,
            in_map: self.maps > 0,
            needs,
            join: join(step.join.as_ref()),
            cancel_losers: step.losers.is_some(),
            body: None,
            catch: None,
            compensate: None,
            kind: Box::new(kinds::Placeholder),
            when,
            on_error: None,
            effect: step.effect.unwrap_or_default(),
            key_window: KEY_WINDOW,
            retry: step.retry.clone().unwrap_or_default(),
            timeout: step.timeout.unwrap_or(CALL_TIMEOUT),
            limit: None,
            in_doubt: step.in_doubt.unwrap_or_default(),
            counted,
        });
        self.plan.by_id.entry(step.id.clone()).or_default().push(ix);
        let kind = kinds::compile(self, ix, step)?;
        let declared = kind.effect(self.actions);
        let on_error =
            if step.on_error.is_empty() { None } else { Some(self.scope(Owner::OnError(ix), &step.on_error)?) };
        let undo = &step.compensate;
        let compensate = if undo.is_empty() { None } else { Some(self.scope(Owner::Compensate(ix), undo)?) };
        if let Some(planned) = self.plan.steps.get_mut(ix) {
            if support::SCOPES.contains(&step.kind.name()) {
                let most = kind.repeats().map(|rules| rules.max_duration);
                planned.limit = step.timeout.into_iter().chain(most).min();
            }
            planned.kind = kind;
            planned.on_error = on_error;
            planned.compensate = compensate;
            if let Some((effect, window)) = declared {
                planned.effect = step.effect.unwrap_or(effect);
                planned.key_window = window;
            }
        }
        Ok(ix)
    }

    fn limit(&self, step: &Step, limit: &flow::Limit) -> Result<PlanLimit, PlanError> {
        let template = |value: &Value| self.template(step, value);
        Ok(PlanLimit {
            key: limit.key.as_deref().map(|key| template(&Value::from(key))).transpose()?,
            limit: Limit { most: limit.concurrency.map(|most| most.max(1)), rate: limit.rate.as_ref().map(Rate::from) },
            priority: limit.priority.as_ref().map(template).transpose()?,
        })
    }

    /// A step waits for events of a trigger, told by this key over the event.
    ///
    /// # Errors
    /// The key is wrong.
    pub fn awaits(&mut self, step: &Step, trigger: &str, key: &Value) -> Result<(), PlanError> {
        let found = self.plan.triggers.iter_mut().find(|known| known.id == trigger);
        let trigger = found.ok_or_else(|| PlanError::Kind { step: step.id.clone(), kind: "wait" })?;
        let template =
            Template::parse_with(key, &[]).map_err(|source| PlanError::Expression { step: step.id.clone(), source })?;
        trigger.awaited.push(template);
        Ok(())
    }

    /// Whether a connector has this action.
    #[must_use]
    pub fn knows_action(&self, action: &str) -> bool {
        (self.actions)(action).is_some()
    }
}

/// What a step waits for: what it says, else the one written before it (rule 1).
fn needs(siblings: &[Step], position: usize) -> Vec<Need> {
    let Some(needs) = siblings.get(position).and_then(|step| step.needs.as_ref()) else {
        return position.checked_sub(1).map(|position| Need { position, when: When::Settled }).into_iter().collect();
    };
    let need = |need: &aura_protocol::flow::Need| {
        let position = siblings.iter().position(|sibling| sibling.id == need.step)?;
        let when = match need.when.as_str() {
            "succeeded" => When::Succeeded,
            "failed" => When::Failed,
            _ => When::Settled,
        };
        Some(Need { position, when })
    };
    needs.iter().filter_map(need).collect()
}

fn join(join: Option<&Value>) -> Join {
    match join {
        Some(Value::Str(word)) if word == "any" => Join::First(1),
        Some(some) => match some.get("n_of").and_then(Value::as_int).and_then(|count| usize::try_from(count).ok()) {
            Some(count) => Join::First(count),
            None => Join::All,
        },
        None => Join::All,
    }
}

fn door(place: &str, text: &str) -> Result<Template, PlanError> {
    Template::parse_text(text).map_err(|source| PlanError::Expression { step: place.to_owned(), source })
}

fn door_value(place: &str, value: &Value) -> Result<Template, PlanError> {
    Template::parse_with(value, &[]).map_err(|source| PlanError::Expression { step: place.to_owned(), source })
}

fn trigger(trigger: &Trigger) -> Result<PlanTrigger, PlanError> {
    let parse = |text: &str| door(&trigger.id, text);
    Ok(PlanTrigger {
        id: trigger.id.clone(),
        dedupe: trigger.dedupe.as_ref().map(|it| Ok((parse(&it.key)?, it.window))).transpose()?,
        filter: trigger.filter.as_deref().map(parse).transpose()?,
        debounce: trigger.debounce.as_ref().map(|it| Ok((parse(&it.key)?, it.quiet, it.max))).transpose()?,
        batch: trigger
            .batch
            .as_ref()
            .map(|it| {
                let max = usize::try_from(it.max).unwrap_or(usize::MAX).max(1);
                Ok(PlanBatch { key: it.key.as_deref().map(parse).transpose()?, max, within: it.within })
            })
            .transpose()?,
        throttle: trigger
            .throttle
            .as_ref()
            .map(|it| {
                let key = it.key.as_deref().map(parse).transpose()?;
                Ok(PlanThrottle { key, rate: Rate::from(&it.rate()), on_excess: it.on_excess })
            })
            .transpose()?,
        reply: trigger.reply,
        awaited: Vec::new(),
    })
}

fn rate(rate: &flow::Rate) -> Result<PlanRate, PlanError> {
    let key = rate.key.as_deref().map(|text| door("rate", text)).transpose()?;
    Ok(PlanRate { key, rate: Rate::from(rate) })
}

fn concurrency(policy: &Concurrency) -> Result<PlanConcurrency, PlanError> {
    let key = policy.key.as_deref().map(|text| door("concurrency", text)).transpose()?;
    Ok(PlanConcurrency { key, limit: policy.limit.max(1), when_full: policy.when_full })
}
