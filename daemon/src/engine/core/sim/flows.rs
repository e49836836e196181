//! Random flows for the simulator: what may stand in them, and how the other side answers.
//!
//! To add a step kind: a variant of [`Spec`], a line in `spec` (how often), one in `Maker::step` (what the file says),
//! and in [`Spec::inside`] if it has steps in it. `soak` fails until every kind that the engine executes is met.

use std::collections::{BTreeMap, BTreeSet};

use aura_protocol::flow::{Arm, Effect, Flow, Http, InDoubtPolicy, Kind, Need, Retry, Sleep, Span, Step, Stop};
use aura_protocol::{Map, Value};
use proptest::prelude::*;
use proptest::sample::Index;

/// How the peer answers one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Ok,
    /// It happened, but the answer got lost.
    LostAfter,
    /// It did not happen, and nobody heard so.
    LostBefore,
    Refused,
    Slower,
    Unsent,
}

/// How much the peer answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Size {
    Small,
    Large,
    /// More than an output may have.
    TooLarge,
}

/// What a `kv` step does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keep {
    Get,
    Set,
    /// Text, which cannot be counted up.
    SetText,
    /// For a while.
    SetFor,
    Incr,
    Delete,
    /// From nothing to 5.
    Cas,
}

/// A step to generate.
#[derive(Clone, Debug)]
pub(super) enum Spec {
    Set,
    /// A large value, the same everywhere.
    Large,
    /// What the step before gave, once more.
    Echo,
    /// An operation on one of a few names.
    Kv(Keep, u8),
    Sleep(u16),
    Call {
        effect: Effect,
        answers: Vec<Answer>,
        attempts: u32,
        size: Size,
        echo: bool,
        /// As an action of a connector, not as a request.
        uses: bool,
        policy: InDoubtPolicy,
    },
    Branch {
        taken: bool,
        arm: Vec<Sketch>,
        other: Vec<Sketch>,
    },
    Map {
        items: u8,
        parallel: u8,
        keyed: bool,
        carry_on: bool,
        body: Vec<Sketch>,
    },
    Each {
        items: u8,
        parallel: u8,
        carry_on: bool,
        effect: Effect,
        answers: Vec<Answer>,
    },
    Respond,
    Stop(bool),
    /// Steps, and others if they fail.
    Try(Vec<Sketch>, Vec<Sketch>),
    Loop(Turns, Vec<Sketch>),
    /// A script.
    Code,
    /// An event for other flows.
    Emit,
    /// For a callback, so many seconds.
    Wait(u16),
    /// People decide: so many of three must agree.
    Approval {
        quorum: u8,
        no_self: bool,
        delegates: bool,
        escalates: bool,
    },
    /// A run of another flow, which ends well or not.
    Child {
        waits: bool,
        ends: bool,
    },
}

/// How often a loop goes round.
#[derive(Clone, Copy, Debug)]
pub(super) struct Turns {
    /// `until` is true behind the iteration of this number, from 0.
    pub until: u8,
    /// `max_iterations`.
    pub cap: u8,
    /// `break_if` is true in this one.
    pub breaks: Option<u8>,
    /// The same as `while` instead of `until`.
    pub before: bool,
}

/// What a step waits for; picks are among the steps written before it.
#[derive(Clone, Debug)]
pub(super) enum Waits {
    Before,
    Nothing,
    Join { picks: Vec<(Index, u8)>, join: u8, losers: bool },
}

/// A step with its modifiers.
#[derive(Clone, Debug)]
pub(super) struct Sketch {
    pub spec: Spec,
    pub waits: Waits,
    pub skipped: bool,
    /// In seconds, of a step with steps in it.
    pub limit: Option<u16>,
    pub handler: Option<Vec<Sketch>>,
    pub undo: Option<Vec<Sketch>>,
}

impl Sketch {
    /// Whether it has steps in it.
    pub(super) fn is_scope(&self) -> bool {
        !self.spec.inside().is_empty()
    }
}

impl Spec {
    /// The lists of steps in it.
    pub(super) fn inside(&self) -> Vec<&[Sketch]> {
        match self {
            Self::Branch { arm, other, .. } => vec![arm, other],
            Self::Map { body, .. } | Self::Loop(_, body) => vec![body],
            Self::Try(body, catch) => vec![body, catch],
            _ => Vec::new(),
        }
    }
}

/// A flow, the peer, and what happens to the run from outside.
#[derive(Clone, Debug)]
pub(super) struct Case {
    pub steps: Vec<Sketch>,
    pub on_error: Option<Vec<Sketch>>,
    pub finally: Option<Vec<Sketch>>,
    /// Cancel after this many commits.
    pub cancel_after: Option<usize>,
    pub timeout_s: Option<u16>,
    /// The body of its event is large.
    pub large_body: bool,
    /// Which of several possible things happens next.
    pub luck: u64,
}

/// `well` of them to some that go wrong.
fn answer(well: u32) -> impl Strategy<Value = Answer> {
    prop_oneof![
        well => Just(Answer::Ok),
        1 => Just(Answer::LostAfter),
        1 => Just(Answer::LostBefore),
        2 => Just(Answer::Refused),
        1 => Just(Answer::Slower),
        1 => Just(Answer::Unsent),
    ]
}

fn size() -> impl Strategy<Value = Size> {
    prop_oneof![8 => Just(Size::Small), 4 => Just(Size::Large), 1 => Just(Size::TooLarge)]
}

fn keep() -> impl Strategy<Value = Keep> {
    prop_oneof![
        2 => Just(Keep::Get),
        3 => Just(Keep::Set),
        1 => Just(Keep::SetText),
        3 => Just(Keep::SetFor),
        6 => Just(Keep::Incr),
        1 => Just(Keep::Delete),
        1 => Just(Keep::Cas),
    ]
}

fn effect() -> impl Strategy<Value = Effect> {
    prop_oneof![Just(Effect::Read), Just(Effect::Idempotent), Just(Effect::Keyed), Just(Effect::Once)]
}

/// What may stand around a step.
#[derive(Clone, Copy)]
struct Where {
    depth: u32,
    stops: bool,
    undo: bool,
    in_map: bool,
    /// Also what makes a run with a crash differ honestly from one without.
    free: bool,
}

fn spec(place: Where) -> BoxedStrategy<Spec> {
    // What fails soon ends deep flows before they are deep.
    let well = if place.free { 40 } else { 8 };
    let answers = move || prop::collection::vec(answer(well), 1..4);
    let effects =
        if place.free { prop_oneof![6 => effect(), 1 => Just(Effect::Lookup)].boxed() } else { effect().boxed() };
    let policy = if place.free {
        prop_oneof![4 => Just(InDoubtPolicy::Ask), 1 => Just(InDoubtPolicy::Fail), 1 => Just(InDoubtPolicy::Retry)]
            .boxed()
    } else {
        Just(InDoubtPolicy::Ask).boxed()
    };
    let uses = prop::bool::weighted(if place.free { 0.3 } else { 0.0 });
    let call = (effects, answers(), 1_u32..4, size(), prop::bool::weighted(0.2), uses, policy).prop_map(
        |(effect, answers, attempts, size, echo, uses, policy)| Spec::Call {
            effect,
            answers,
            attempts,
            size,
            echo,
            uses,
            policy,
        },
    );
    let kept = prop_oneof![
        4 => (keep(), 0_u8..2).prop_map(|(keep, name)| Spec::Kv(keep, name)),
        1 => Just(Spec::Large),
        2 => Just(Spec::Echo),
    ];
    let each = (0_u8..4, 1_u8..4, any::<bool>(), effect(), answers()).prop_map(
        |(items, parallel, carry_on, effect, answers)| Spec::Each { items, parallel, carry_on, effect, answers },
    );
    let leaf = prop_oneof![2 => Just(Spec::Set), 2 => (1_u16..500).prop_map(Spec::Sleep), 2 => (1_u16..2000).prop_map(Spec::Wait), 2 => (any::<bool>(), any::<bool>()).prop_map(|(waits, ends)| Spec::Child { waits, ends }),
        2 => (1_u8..4, any::<bool>(), any::<bool>(), any::<bool>()).prop_map(|(quorum, no_self, delegates, escalates)| Spec::Approval { quorum, no_self, delegates, escalates }), 6 => call, 1 => each, 4 => kept];
    let leaf = if place.in_map { leaf.boxed() } else { prop_oneof![12 => leaf, 1 => Just(Spec::Respond)].boxed() };
    let leaf =
        if place.stops { prop_oneof![14 => leaf, 1 => any::<bool>().prop_map(Spec::Stop)].boxed() } else { leaf };
    let leaf =
        if place.free { prop_oneof![14 => leaf, 1 => Just(Spec::Code), 1 => Just(Spec::Emit)].boxed() } else { leaf };
    if place.depth == 0 {
        return leaf;
    }
    let inner = Where { depth: place.depth - 1, ..place };
    let branch = (any::<bool>(), sketches(inner), sketches(inner)).prop_map(|(taken, arm, other)| Spec::Branch {
        taken,
        arm,
        other,
    });
    let items = Where { in_map: true, ..inner };
    let map = (0_u8..4, 1_u8..4, any::<bool>(), any::<bool>(), sketches(items))
        .prop_map(|(items, parallel, keyed, carry_on, body)| Spec::Map { items, parallel, keyed, carry_on, body });
    let tries = (sketches(inner), sketches(inner)).prop_map(|(body, catch)| Spec::Try(body, catch));
    let turns = (0_u8..4, 1_u8..4, prop::option::weighted(0.3, 0_u8..3), any::<bool>())
        .prop_map(|(until, cap, breaks, before)| Turns { until, cap, breaks, before });
    let rounds = (turns, sketches(items)).prop_map(|(turns, body)| Spec::Loop(turns, body));
    prop_oneof![9 => leaf, 1 => branch, 1 => map, 1 => tries, 1 => rounds].boxed()
}

fn waits() -> impl Strategy<Value = Waits> {
    let pick = (any::<Index>(), prop_oneof![6 => Just(0_u8), 1 => Just(1_u8), 1 => Just(2_u8)]);
    let join = (prop::collection::vec(pick, 1..4), 0_u8..4, any::<bool>())
        .prop_map(|(picks, join, losers)| Waits::Join { picks, join, losers });
    prop_oneof![3 => Just(Waits::Before), 2 => Just(Waits::Nothing), 3 => join]
}

fn sketches(place: Where) -> BoxedStrategy<Vec<Sketch>> {
    let extra = |weight: f64, allowed: bool| {
        if place.depth == 0 || !allowed {
            return Just(None).boxed();
        }
        let inner = Where { depth: place.depth - 1, undo: false, ..place };
        prop::option::weighted(weight, sketches(inner)).boxed()
    };
    let undo = if place.undo && place.depth > 0 {
        let inner = Where { depth: 0, stops: false, undo: false, ..place };
        prop::option::weighted(0.25, sketches(inner)).boxed()
    } else {
        Just(None).boxed()
    };
    let limit = prop::option::weighted(0.2, 1_u16..600);
    let sketch = (spec(place), waits(), prop::bool::weighted(0.1), limit, extra(0.25, true), undo)
        .prop_map(|(spec, waits, skipped, limit, handler, undo)| Sketch { spec, waits, skipped, limit, handler, undo });
    let most = if place.depth >= 2 { 6 } else { 4 };
    prop::collection::vec(sketch, 1..most).boxed()
}

pub(super) fn case() -> impl Strategy<Value = Case> {
    case_of(2, false)
}

/// Deeper ones, with all that may stand in a flow.
pub(super) fn nested_case() -> impl Strategy<Value = Case> {
    prop_oneof![3 => case_of(2, true), 2 => case_of(3, true)]
}

fn case_of(deep: u32, free: bool) -> impl Strategy<Value = Case> {
    let place = move |depth, stops, undo| Where { depth, stops, undo, in_map: false, free };
    (
        sketches(place(deep, true, true)),
        prop::option::weighted(0.3, sketches(place(1, true, false))),
        prop::option::weighted(0.4, sketches(place(1, false, false))),
        prop::option::weighted(0.2, 0_usize..10),
        prop::option::weighted(0.15, 1_u16..400),
        prop::bool::weighted(0.1),
        any::<u64>(),
    )
        .prop_map(|(steps, on_error, finally, cancel_after, timeout_s, large_body, luck)| Case {
            steps,
            on_error,
            finally,
            cancel_after,
            timeout_s,
            large_body,
            luck,
        })
}

/// Makes the flow of a case, with a script of answers by step id.
#[derive(Default)]
pub(super) struct Maker {
    count: usize,
    pub scripts: BTreeMap<String, Vec<Answer>>,
    /// Steps that wait.
    pub waits: Vec<String>,
    /// Steps that call another flow.
    pub children: BTreeSet<String>,
    /// How much the peer answers, by step id.
    pub sizes: BTreeMap<String, Size>,
    /// Ids of `kv` steps.
    pub keeps: BTreeSet<String>,
    /// Which step gives again what which one gave.
    pub echoes: BTreeMap<String, String>,
    /// What each step is, by its id.
    pub kinds: BTreeMap<String, &'static str>,
}

/// What [`Spec::Large`] gives.
pub(super) fn other_value() -> Value {
    Value::object([("v", Value::from("L".repeat(500)))])
}

/// The operation of a `kv` step as a flow writes it.
fn operation(keep: Keep, name: u8) -> Value {
    let name = Value::from(format!("n{name}"));
    let set = |value: Value| vec![("set", name.clone()), ("value", value)];
    Value::object(match keep {
        Keep::Get => vec![("get", name)],
        Keep::Set => set(Value::Int(7)),
        Keep::SetText => set(Value::from("text")),
        Keep::SetFor => [set(Value::Int(3)), vec![("ttl", Value::from("2s"))]].concat(),
        Keep::Incr => vec![("incr", name)],
        Keep::Delete => vec![("delete", name)],
        Keep::Cas => vec![("cas", name), ("from", Value::Null), ("to", Value::Int(5))],
    })
}

impl Maker {
    pub(super) fn flow(&mut self, case: &Case) -> Flow {
        Flow {
            flow: "sim".into(),
            steps: self.steps(&case.steps),
            on_error: case.on_error.as_ref().map(|specs| self.steps(specs)).unwrap_or_default(),
            finally: case.finally.as_ref().map(|specs| self.steps(specs)).unwrap_or_default(),
            timeout: case.timeout_s.map(|secs| Span::from_secs(u64::from(secs))),
            ..Flow::default()
        }
    }

    fn steps(&mut self, sketches: &[Sketch]) -> Vec<Step> {
        let mut steps: Vec<Step> = Vec::new();
        for sketch in sketches {
            let before = steps.last().filter(|_| matches!(sketch.waits, Waits::Before)).map(|step| step.id.clone());
            let mut step = self.step(sketch, before);
            match &sketch.waits {
                Waits::Before => {}
                Waits::Nothing => step.needs = Some(Vec::new()),
                Waits::Join { picks, join, losers } => {
                    let mut needs: Vec<Need> = Vec::new();
                    for (pick, when) in picks.iter().filter(|_| !steps.is_empty()) {
                        let id = pick.get(&steps).id.clone();
                        if needs.iter().all(|need| need.step != id) {
                            let when = ["settled", "succeeded", "failed"][usize::from(*when)].to_owned();
                            needs.push(Need { step: id, when });
                        }
                    }
                    if needs.len() > 1 {
                        let count = i64::try_from(needs.len()).unwrap_or(1);
                        (step.join, step.losers) = match join {
                            0 => (None, None),
                            1 if count > 2 => {
                                (Some(Value::object([("n_of", count - 1)])), losers.then(|| "cancel".to_owned()))
                            }
                            _ => (Some(Value::from("any")), losers.then(|| "cancel".to_owned())),
                        };
                    }
                    step.needs = Some(needs);
                }
            }
            steps.push(step);
        }
        steps
    }

    fn step(&mut self, sketch: &Sketch, before: Option<String>) -> Step {
        self.count += 1;
        let id = format!("s{}", self.count);
        let http = Http { method: "POST".into(), url: "http://peer/".into(), ..Http::default() };
        let text = |value: bool| format!("{{{{ {value} }}}}");
        let on_item_error = |carry_on: bool| Value::from(if carry_on { "continue" } else { "fail" });
        let list = |items: u8| {
            Value::List((0..items).map(|item| Value::object([("id", Value::from(format!("k{item}")))])).collect())
        };
        let again = match &before {
            Some(before) => Value::from(format!("{{{{ steps.{before}.output }}}}")),
            None => Value::from("{{ trigger.body }}"),
        };
        let mut step = Step { id: id.clone(), when: sketch.skipped.then(|| text(false)), ..Step::default() };
        match &sketch.spec {
            Spec::Set => step.kind = Kind::Set(Map::from_iter([("a".to_owned(), Value::Int(1))])),
            Spec::Large => step.kind = Kind::Set(other_value().as_map().cloned().unwrap_or_default()),
            Spec::Echo => {
                step.kind = Kind::Set(Map::from_iter([("v".to_owned(), again)]));
                self.echoes.extend(before.map(|before| (id, before)));
            }
            Spec::Kv(keep, name) => {
                step.kind = Kind::Kv(operation(*keep, *name));
                self.keeps.insert(id);
            }
            Spec::Sleep(secs) => step.kind = Kind::Sleep(Sleep::For(format!("{secs}s"))),
            Spec::Approval { quorum, no_self, delegates, escalates } => {
                let names = |list: &[&str]| Value::List(list.iter().map(|name| Value::from(*name)).collect());
                let mut parts = vec![
                    ("approvers", names(&["a", "b", "c"])),
                    ("quorum", Value::from(i64::from(*quorum))),
                    ("no_self", Value::Bool(*no_self)),
                    ("delegate", Value::Bool(*delegates)),
                    ("deadline", Value::from("500s")),
                ];
                if *escalates {
                    let rule = [("after", Value::from("100s")), ("approvers", names(&["d"]))];
                    parts.push(("escalate", Value::object(rule)));
                }
                step.kind = Kind::Approval(Value::object(parts));
            }
            Spec::Child { waits, ends } => {
                let mut parts = vec![("flow", Value::from("other")), ("input", Value::Bool(*ends))];
                parts.extend((!waits).then_some(("detach", Value::Bool(true))));
                step.kind = Kind::Call(Value::object(parts));
                self.children.insert(id);
            }
            Spec::Wait(secs) => {
                let parts = [("callback", Value::Bool(true)), ("deadline", Value::from(format!("{secs}s")))];
                step.kind = Kind::Wait(Value::object(parts));
                self.waits.push(id);
            }
            Spec::Code => {
                let parts = [("js", Value::from("return 1")), ("input", again)];
                step.kind = Kind::Code(Value::object(parts));
                self.scripts.insert(id, Vec::new());
            }
            Spec::Emit => {
                step.kind = Kind::Emit(Value::object([("event", Value::from("done")), ("body", again)]));
                self.scripts.insert(id, Vec::new());
            }
            Spec::Respond => step.kind = Kind::Respond(aura_protocol::flow::Respond::default()),
            Spec::Stop(true) => step.kind = Kind::Stop(Stop::Ok(Value::from("enough"))),
            Spec::Stop(false) => step.kind = Kind::Stop(Stop::Fail(Value::from("no"))),
            Spec::Call { effect, answers, attempts, size, echo, uses, policy } => {
                let body = echo.then_some(again);
                step.kind = if *uses {
                    let parts = [("url", Value::from("http://peer/")), ("body", body.unwrap_or_default())];
                    let with = parts.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
                    Kind::Uses { action: "peer.act".to_owned(), connection: None, with }
                } else {
                    Kind::Http(Http { body, ..http })
                };
                step.in_doubt = Some(*policy);
                step.i_accept_duplicates = *policy == InDoubtPolicy::Retry;
                self.sizes.insert(id.clone(), *size);
                step.effect = Some(*effect);
                step.retry = Some(Retry { attempts: *attempts, ..Retry::default() });
                self.scripts.insert(id, answers.clone());
            }
            Spec::Each { items, parallel, carry_on, effect, answers } => {
                step.kind = Kind::Http(http);
                step.effect = Some(*effect);
                step.each = Some(Value::object([
                    ("over", list(*items)),
                    ("max_parallel", Value::from(i64::from(*parallel))),
                    ("on_item_error", on_item_error(*carry_on)),
                ]));
                self.scripts.insert(id, answers.clone());
            }
            Spec::Branch { taken, arm, other } => {
                step.kind = Kind::Branch(vec![
                    Arm { when: Some(text(*taken)), steps: self.steps(arm) },
                    Arm { when: None, steps: self.steps(other) },
                ]);
            }
            Spec::Map { items, parallel, keyed, carry_on, body } => {
                let mut with = Map::from_iter([
                    ("over".to_owned(), list(*items)),
                    ("max_parallel".to_owned(), Value::from(i64::from(*parallel))),
                    ("on_item_error".to_owned(), on_item_error(*carry_on)),
                ]);
                if *keyed {
                    with.insert("key".to_owned(), Value::from("{{ item.id }}"));
                }
                step.kind = Kind::Map { with, steps: self.steps(body) };
            }
            Spec::Try(body, catch) => step.kind = Kind::Try { steps: self.steps(body), catch: self.steps(catch) },
            Spec::Loop(turns, body) => {
                let ends = if turns.before { ("while", "<=") } else { ("until", ">=") };
                let mut with = Map::from_iter([
                    (ends.0.to_owned(), Value::from(format!("{{{{ index {} {} }}}}", ends.1, turns.until))),
                    ("max_iterations".to_owned(), Value::from(i64::from(turns.cap))),
                    ("max_duration".to_owned(), Value::from("1d")),
                ]);
                if let Some(breaks) = turns.breaks {
                    with.insert("break_if".to_owned(), Value::from(format!("{{{{ index == {breaks} }}}}")));
                }
                step.kind = Kind::Loop { with, steps: self.steps(body) };
            }
        }
        self.kinds.insert(step.id.clone(), step.kind.name());
        step.timeout = sketch.limit.filter(|_| sketch.is_scope()).map(|secs| Span::from_secs(u64::from(secs)));
        step.on_error = sketch.handler.as_ref().map(|handler| self.steps(handler)).unwrap_or_default();
        step.compensate = sketch.undo.as_ref().map(|undo| self.steps(undo)).unwrap_or_default();
        step
    }
}

/// What is in a case, wherever.
pub(super) fn any_sketch(case: &Case, test: &dyn Fn(&Sketch) -> bool) -> bool {
    fn any(sketches: &[Sketch], test: &dyn Fn(&Sketch) -> bool) -> bool {
        sketches.iter().any(|sketch| {
            let inside = sketch.spec.inside().into_iter().any(|sketches| any(sketches, test));
            let beside = [&sketch.handler, &sketch.undo].into_iter().flatten().any(|sketches| any(sketches, test));
            test(sketch) || inside || beside
        })
    }
    any(&case.steps, test) || [&case.on_error, &case.finally].into_iter().flatten().any(|sketches| any(sketches, test))
}
