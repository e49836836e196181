//! `aura flow listen`: a trigger of a draft is given an address for test events, and what comes there is told.
//!
//! Invariant: the text need not be stored, nothing of it is, and who asks for news keeps a listener alive.

use std::sync::Arc;
use std::time::{Duration, Instant};

use aura_protocol::flow::{self, Flow};
use aura_protocol::rpc::{Actor, FlowListen, HEARD_MAX, Heard, HeardQuery, LISTEN_MAX_MS, Listening};
use aura_protocol::text::display;
use aura_protocol::{Code, FlowId, WireError};

use crate::catalog::routes::Target;
use crate::rpc::Service;
use crate::trial;

/// Longest wait of one question.
const WAIT_MAX: Duration = Duration::from_secs(25);
/// Bytes of one answer.
const TOLD_MAX: usize = 2 * 1024 * 1024;

/// Begins to listen.
///
/// # Errors
/// No such flow or trigger, one that takes no deliveries, or too many listen already.
pub async fn listen(service: &Service, _: &Actor, request: FlowListen) -> Result<Listening, WireError> {
    if request.for_ms == 0 || request.for_ms > LISTEN_MAX_MS {
        let message = format!("it can listen for 1 s to {} m", LISTEN_MAX_MS / 60_000);
        return Err(WireError::new(Code::Invalid, message));
    }
    if request.count == 0 || request.count > HEARD_MAX {
        return Err(WireError::new(Code::Invalid, format!("it can wait for 1 to {HEARD_MAX} events")));
    }
    let text = match request.text {
        Some(text) => text,
        None => {
            let detail = service.catalog.show(&request.flow)?;
            detail
                .draft
                .or(detail.published)
                .ok_or_else(|| WireError::not_found(format!("the flow {} has no text yet", display(&request.flow))))?
        }
    };
    let read = flow::read(&text).map_err(|findings| WireError {
        findings,
        ..WireError::new(Code::FlowRefused, "the text is no flow, so it has no trigger to listen to")
    })?;
    let flow = Arc::new(read.flow);
    let registry = service.catalog.registry();
    let id = service.catalog.now().id_of(&flow.flow).unwrap_or(FlowId::from_bytes([0; 16]));
    let target = chosen(&flow, request.trigger.as_deref(), |index| Target::of_draft(id, &flow, index, registry))?;
    let state = service.catalog.now();
    let now_ms = service.clock.now_ms();
    let mut listening = Listening {
        id: String::new(),
        flow: flow.flow.clone(),
        trigger: target.trigger_id.clone(),
        on: flow.triggers.get(target.trigger).map(|trigger| trigger.on.clone()).unwrap_or_default(),
        url: String::new(),
        auth: target.proof.word().to_owned(),
        secret_set: target.proof.missing_secret(&state).is_none(),
        until_ms: now_ms.saturating_add(i64::try_from(request.for_ms).unwrap_or(0)),
    };
    let judge = trial::door_says(&text, registry, &target.trigger_id);
    let within = Duration::from_millis(request.for_ms);
    let (id, token) = service.listeners.open(target, judge, (within, request.count))?;
    listening.url = format!("{}/hooks/test/{token}", service.reached.address());
    listening.id = id;
    Ok(listening)
}

/// The trigger that is named, or the only one that takes deliveries.
fn chosen(flow: &Flow, wanted: Option<&str>, target: impl Fn(usize) -> Option<Target>) -> Result<Target, WireError> {
    let shown = display(&flow.flow);
    if let Some(wanted) = wanted {
        let found = flow.triggers.iter().position(|trigger| trigger.id == wanted);
        let index = found.ok_or_else(|| {
            let known: Vec<&str> = flow.triggers.iter().map(|trigger| trigger.id.as_str()).collect();
            let message = format!("{shown} has no trigger {}; it has {}", display(wanted), display(&known.join(", ")));
            WireError::not_found(message)
        })?;
        return target(index).ok_or_else(|| {
            let on = flow.triggers.get(index).map(|trigger| trigger.on.as_str()).unwrap_or_default();
            let message = format!("no deliveries come to the trigger {} of {shown}: it is `on: {on}`", display(wanted));
            WireError::new(Code::Invalid, message).hint("try it with `aura flow simulate` or `aura flow run`")
        });
    }
    let mut all: Vec<Target> = (0..flow.triggers.len()).filter_map(target).collect();
    match (all.pop(), all.is_empty()) {
        (Some(only), true) => Ok(only),
        (None, _) => Err(WireError::new(Code::Invalid, format!("no trigger of {shown} takes deliveries"))
            .hint("try it with `aura flow simulate` or `aura flow run`")),
        (Some(last), false) => {
            let names = all.iter().map(|it| it.trigger_id.as_str()).chain([last.trigger_id.as_str()]);
            let names = display(&names.collect::<Vec<_>>().join(", "));
            Err(WireError::new(Code::Invalid, format!("several triggers of {shown} take deliveries: {names}"))
                .hint("name one with --on"))
        }
    }
}

/// What came since.
///
/// # Errors
/// Nobody listens under this id any more.
pub async fn heard(service: &Service, _: &Actor, query: HeardQuery) -> Result<Heard, WireError> {
    let until = Instant::now() + Duration::from_millis(query.wait_ms).min(WAIT_MAX);
    loop {
        let listener = service.listeners.find(&query.id).ok_or_else(|| {
            WireError::not_found("nobody listens under this id any more: aurad was started again, or it was ended")
                .hint("listen again; the address is another one then")
        })?;
        let (events, next, ended) = listener.told(query.after, TOLD_MAX);
        let left = until.saturating_duration_since(Instant::now());
        if !events.is_empty() || ended.is_some() || left.is_zero() {
            if ended.is_some() {
                service.listeners.close(&query.id);
            }
            return Ok(Heard { events, next, ended });
        }
        tokio::select! {
            () = listener.changed(left) => {}
            () = service.tasks.closing.cancelled() => {
                return Err(WireError::new(Code::Conflict, "aurad is ending, and with it what listens here")
                    .hint("listen again when it is back; the address is another one then"));
            }
        }
    }
}

/// Ends a listener.
///
/// # Errors
/// There is none of this id any more.
pub fn unlisten(service: &Service, _: &Actor, id: &str) -> Result<(), WireError> {
    match service.listeners.close(id) {
        true => Ok(()),
        false => Err(WireError::not_found("nobody listens under this id any more")),
    }
}
