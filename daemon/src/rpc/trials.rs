//! Tests of flows over the socket: a bounded piece of work away from the runtime, a few at a time.

use std::borrow::Cow;
use std::sync::atomic::{AtomicU32, Ordering};

use aura_protocol::event::TEST;
use aura_protocol::rpc::{FlowTest, FlowTested, RunRef};
use aura_protocol::run::{CallOutcome, Record, RunHead, Transition};
use aura_protocol::{Code, TenantId, Value, WireError};

use crate::engine::Flows;
use crate::rpc::eyes::Eyes;
use crate::rpc::{Service, Shared, runs};
use crate::runner::wire::Job;
use crate::trial::{self, Recorded};

/// So many tests at a time; each takes a processor.
const AT_ONCE: u32 = 2;

static AT_WORK: AtomicU32 = AtomicU32::new(0);

struct Place;

impl Place {
    fn take() -> Result<Self, WireError> {
        if AT_WORK.fetch_add(1, Ordering::AcqRel) < AT_ONCE {
            return Ok(Self);
        }
        drop(Self);
        Err(WireError::new(Code::Busy, format!("{AT_ONCE} tests of flows are at work already"))
            .hint("try again in a moment, or run `aurad test` on a machine of your own"))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        AT_WORK.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Runs the cases of a flow.
///
/// # Errors
/// Too many at a time, or no case of that name.
pub async fn test(service: &Service, request: FlowTest) -> Result<FlowTested, WireError> {
    let place = Place::take()?;
    service
        .read(move |shared| {
            let _place = place;
            simulated(shared, &request)
        })
        .await
}

/// Runs the cases, on what a real run says if one is named.
///
/// # Errors
/// As [`test()`], and no such run.
pub fn simulated(shared: &Shared, request: &FlowTest) -> Result<FlowTested, WireError> {
    let recorded = request.from_run.as_ref().map(|run| recorded(shared, run)).transpose()?;
    let scripts = scripts(shared);
    let registry = shared.catalog.registry();
    match &recorded {
        None => trial::run(request, registry, &scripts, trial::BUDGET),
        Some(run) => trial::run_on(request, Some(run), registry, &scripts, trial::BUDGET),
    }
}

/// What a real run says, without what nobody may see.
fn recorded(shared: &Shared, run: &RunRef) -> Result<Recorded, WireError> {
    let (head, journal) = runs::whole_journal(shared, run)?;
    is_whole(&head, &journal)?;
    let flow = shared.catalog.version(TenantId::DEFAULT, head.flow_id, &head.version).ok_or_else(|| {
        WireError::not_found(format!("the version of {} that {} ran is not kept any more", head.flow, head.run))
    })?;
    let redacted = runs::redacted(shared, &head);
    let hidden = journal.into_iter().map(|mut transition| {
        redacted.transition_taken(&mut transition, &mut |_| {});
        without_secrets(shared, transition)
    });
    trial::recorded(head.run, &flow, &hidden.collect::<Vec<_>>())
}

/// A try of one step says nothing of its flow.
fn is_whole(head: &RunHead, journal: &[Transition]) -> Result<(), WireError> {
    let tried = |record: &Record| matches!(record, Record::RunStarted(started) if started.event.method == TEST);
    if !journal.iter().flat_map(|transition| &transition.records).any(tried) {
        return Ok(());
    }
    let message = format!("{} was a try of one step, not a run of its flow", head.run);
    Err(WireError::new(Code::Invalid, message).hint("name a run that an event or a person began"))
}

/// Answers came without secrets; what else stands in a journal passes the sink, and links of ours are for nobody here.
fn without_secrets(shared: &Shared, mut transition: Transition) -> Transition {
    Eyes::anybody().transition(&shared.store, &mut transition);
    let sink = shared.catalog.sink();
    for record in &mut transition.records {
        if let Record::RunStarted(started) = record {
            let started = std::sync::Arc::make_mut(started);
            started.event.body = sink.text(&String::from_utf8_lossy(&started.event.body)).into_owned().into_bytes();
            if let Cow::Owned(text) = sink.text(&started.input.to_json()) {
                started.input = Value::from_json(text.as_bytes()).unwrap_or_else(|_| Value::from(text));
            }
        }
    }
    transition
}

/// The daemon's own runners; asked from threads that may wait.
fn scripts(shared: &Shared) -> impl Fn(&Job) -> CallOutcome {
    trial::in_runners(shared.engine.runners(), tokio::runtime::Handle::current())
}

/// Writes a file of cases from a run, without secrets, what the flow redacts, and links of ours.
///
/// # Errors
/// No such run, its flow's version or values are not there any more, or it is too large.
pub fn record(shared: &Shared, run: &RunRef) -> Result<String, WireError> {
    let (head, journal) = runs::whole_journal(shared, run)?;
    let text = shared.catalog.version_text(head.flow_id, &head.version).ok_or_else(|| {
        WireError::not_found(format!("the version of {} that {} ran is not kept any more", head.flow, head.run))
    })?;
    is_whole(&head, &journal)?;
    let (sink, redacted) = (shared.catalog.sink(), runs::redacted(shared, &head));
    let mut hidden = Vec::new();
    // Before stand-ins are made.
    let journal: Vec<Transition> = journal
        .into_iter()
        .map(|mut transition| {
            redacted.transition_taken(&mut transition, &mut |value| hidden.push(value));
            without_secrets(shared, transition)
        })
        .collect();
    let text = trial::record(head.run, &text, (&journal, &hidden), (shared.catalog.registry(), &scripts(shared)))?;
    Ok(sink.text(&text).into_owned())
}
