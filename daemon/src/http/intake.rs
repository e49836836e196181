//! One delivery: find its trigger, read it, prove it, look at it, and hand it to the engine.
//!
//! The order matters: of what comes to no endpoint only the beginning is read, for a claim (`refuse.rs`), nothing is
//! parsed before the proof, and success is said only after the engine returned from its commit.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use aura_protocol::event::{Ack, Came, Delivery, EventState};
use aura_protocol::flow::Reply;
use aura_protocol::rpc::Verdict;
use aura_protocol::{EventId, TenantId, Value, signature};
use aura_storage::rows::relay::QueuedRow;
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, TRANSFER_ENCODING};
use axum::http::{HeaderMap, Method, request};
use axum::response::{IntoResponse, Response};

use crate::catalog::routes::{Proof, Target};
use crate::engine::{Answer, Asking, Intake};
use crate::http::answer::{self, Refused, accepted};
use crate::http::limits::{OfSource, Place};
use crate::http::meet::{Met, Proved, Turned, meet, sender, success};
use crate::http::peer::Peer;
use crate::http::refuse::Found;
use crate::http::{Door, body, greet};
use crate::relay::here::Here;

/// How long an overload's refusal is held back.
const BREATH: Duration = Duration::from_millis(500);

pub(super) type Route<T> = Result<Path<T>, PathRejection>;

/// `POST /hooks/{endpoint}`.
pub async fn endpoint(State(door): State<Door>, path: Route<String>, request: Request) -> Response {
    let state = door.catalog.now();
    let found = path.ok().map_or(Found::Nowhere, |Path(name)| {
        let routes = state.routes();
        let over = || routes.over(&name).map_or(Found::Nowhere, |target| Found::Over(Arc::clone(target)));
        routes.endpoint(&name, door.clock.now_ms()).map_or_else(over, |target| Found::At(Arc::clone(target)))
    });
    take(door, found, request).await
}

/// `POST /hooks/{tenant}/{flow}/{trigger}`.
pub async fn named(State(door): State<Door>, path: Route<(String, String, String)>, request: Request) -> Response {
    let state = door.catalog.now();
    let target =
        path.ok().and_then(|Path((tenant, flow, trigger))| state.routes().named(&tenant, &flow, &trigger).cloned());
    take(door, target.map_or(Found::Nowhere, Found::At), request).await
}

/// `POST /webhooks/{provider}/{flow}`.
pub async fn provider(State(door): State<Door>, path: Route<(String, String)>, request: Request) -> Response {
    let target = {
        let state = door.catalog.now();
        let takes = |target: &Target| other_event(target, request.headers()).is_none();
        path.ok().and_then(|Path((provider, flow))| state.routes().provider(&provider, &flow, takes).cloned())
    };
    take(door, target.map_or(Found::Nowhere, Found::At), request).await
}

/// Any other path.
pub async fn nowhere(State(door): State<Door>, request: Request) -> Response {
    take(door, Found::Nowhere, request).await
}

async fn take(door: Door, found: Found, request: Request) -> Response {
    let (asking, began) = (door.engine.asks(), Instant::now());
    let outcome = match found {
        Found::At(target) if request.method() == Method::POST && target.open() => {
            deliver(&door, target, request, asking, began).await
        }
        Found::At(target) if target.open() => {
            let (head, _) = request.into_parts();
            let answer = match head.method {
                Method::GET => asked(&door, &target, &head),
                _ => Err(Refused::NotFound),
            };
            match &answer {
                Ok(_) => door.log_greeted(&target, &head, None, began),
                Err(refused) => {
                    let turned = match refused {
                        Refused::NotFound => {
                            let why = format!("it came by {}, and deliveries come by POST", head.method);
                            Turned { verdict: Verdict::Method, why, ..Refused::NotFound.into() }
                        }
                        other => other.clone().into(),
                    };
                    door.log_refused(&target, &head, turned, began);
                }
            }
            answer
        }
        found => {
            door.nowhere(found, request, began).await;
            Err(Refused::NotFound)
        }
    };
    if let Err(Refused::Busy(_)) = outcome {
        // Nothing of it is held any more but its connection. Refused at once, senders would come back at once, and
        // their refusals would take the time of those who were let in. It still asks: who stands outside tells an
        // overload from a burst.
        let _asking = door.engine.asks();
        tokio::time::sleep(BREATH).await;
    }
    answer::clean(door.catalog.sink(), outcome.unwrap_or_else(IntoResponse::into_response)).await
}

/// A handshake that comes by `GET`; whatever is none is answered like an endpoint that does not exist.
pub(super) fn asked(door: &Door, target: &Target, head: &request::Parts) -> Result<Response, Refused> {
    let url = head.uri.to_string();
    let known = signature::Request { method: "GET", url: &url, headers: &[], body: b"" };
    let answer = greet::answer(target, &door.catalog.now(), &known).ok_or(Refused::NotFound)?;
    if target.allows(sender(door, head)) { answer } else { Err(Refused::NotAllowed) }
}

async fn deliver(
    door: &Door,
    target: Arc<Target>,
    request: Request,
    asking: Asking,
    began: Instant,
) -> Result<Response, Refused> {
    let (head, body) = request.into_parts();
    // A relay keeps the body as it came; what it became is decided at home.
    let mut came = None;
    let relays = door.relay.is_some();
    let mut seen = |body: &[u8]| {
        if relays && came.is_none() {
            came = Some(body.to_vec());
        }
    };
    let met = match meet(door, &target, &head, body, &mut seen).await {
        Ok(met) => met,
        Err(turned) => {
            match &turned.refused {
                Refused::Unproved => door.say_unproved(&target, &turned.why),
                Refused::OtherEvent(text) => tracing::warn!(
                    flow = target.published.name,
                    trigger = target.trigger_id,
                    "a proved delivery of another event was refused: {text}"
                ),
                _ => {}
            }
            let refused = turned.refused.clone();
            door.log_refused(&target, &head, turned, began);
            return Err(refused);
        }
    };
    let proved = match met {
        Met::Greeted(answer, body) => {
            door.log_greeted(&target, &head, body, began);
            return Ok(answer);
        }
        Met::Event(proved) => proved,
    };
    let taken = match &door.relay {
        Some(here) => keep(door, here, &target, &head, (proved, came.unwrap_or_default())).await,
        None => accept(door, &target, &head, proved, asking).await,
    };
    match taken {
        Ok((answer, event)) => {
            target.saw(answer.ack.event_id);
            target.seen.accepted.fetch_add(1, Ordering::Relaxed);
            target.seen.last_ms.store(door.clock.now_ms(), Ordering::Relaxed);
            let response = accepted(answer, success(&target));
            door.log.answered(event, response.status().as_u16(), began.elapsed());
            Ok(response)
        }
        Err(refused) => {
            door.log_refused(&target, &head, refused.clone().into(), began);
            Err(refused)
        }
    }
}

/// Hands a proved delivery to the engine; gives its own event beside the answer, which of a repeat names the first one.
async fn accept(
    door: &Door,
    target: &Target,
    head: &request::Parts,
    proved: Proved,
    asking: Asking,
) -> Result<(Answer, EventId), Refused> {
    let Proved { headers, body, json, id: delivery_id, verdict, places } = proved;
    let now_ms = door.clock.now_ms();
    // Published or closed meanwhile: what stands now counts, if it still has this trigger.
    let published = door.catalog.open_now(target.flow, &target.trigger_id).ok_or(Refused::NotFound)?;
    let trigger =
        published.flow.triggers.iter().position(|trigger| trigger.id == target.trigger_id).ok_or(Refused::NotFound)?;
    let replies =
        published.flow.triggers.get(trigger).is_some_and(|found| matches!(found.reply, Reply::Respond { .. }));
    let waits = match replies {
        true => Some(door.waiting.enter(target.flow, body.len()).ok_or(Refused::Busy(2))?),
        false => None,
    };
    let from = sender(door, head).map(|from| from.to_string()).unwrap_or_default();
    let event = EventId::now();
    let delivery = Delivery {
        event,
        trigger: target.trigger_id.clone(),
        method: head.method.as_str().to_owned(),
        query: head.uri.query().unwrap_or_default().to_owned(),
        headers: stored(headers, target.proof.private_header()),
        body,
        blob: None,
        received_ms: now_ms,
        came: Some(Came { from, verdict: Some(verdict), ..Came::default() }),
    };
    let shown = delivery.to_trigger_with(json);
    let tenant = TenantId::DEFAULT;
    let intake = Intake {
        tenant,
        flow: published,
        trigger,
        delivery,
        shown,
        delivery_id,
        anew: false,
        note: None,
        relayed: None,
    };
    // The engine goes on with what it began even if this sender hangs up.
    let answer = door.engine.accept(intake, asking).await?;
    drop((places, waits));
    Ok((answer, event))
}

/// Keeps a proved delivery for home; what becomes of it is decided there.
async fn keep(
    door: &Door,
    here: &Here,
    target: &Target,
    head: &request::Parts,
    (proved, body): (Proved, Vec<u8>),
) -> Result<(Answer, EventId), Refused> {
    if door.catalog.open_now(target.flow, &target.trigger_id).is_none() {
        return Err(Refused::NotFound);
    }
    let event = EventId::now();
    let row = QueuedRow {
        flow: target.flow,
        name: target.published.name.clone(),
        trigger: target.trigger_id.clone(),
        method: head.method.as_str().to_owned(),
        query: head.uri.query().unwrap_or_default().to_owned(),
        headers: stored(all_headers(&head.headers), target.proof.private_header()),
        body,
        from: sender(door, head).map(|from| from.to_string()).unwrap_or_default(),
        verdict: proved.verdict,
        received_ms: door.clock.now_ms(),
    };
    here.keep(door, event, row).await?;
    drop(proved.places);
    let ack = Ack { event_id: event, run_id: None, state: EventState::Held, starts_at: None };
    Ok((Answer { ack, reply: None }, event))
}

/// Lets a request in and reads its body; its places are held until they are dropped.
pub(super) async fn read(
    door: &Door,
    head: &request::Parts,
    mut body: Body,
    body_max: usize,
) -> Result<(Option<OfSource>, Place, Vec<u8>), Refused> {
    let peer = head.extensions.get::<Peer>().and_then(|peer| door.proxies.client(peer.0, &head.headers));
    let (of_client, mut place) = match enter(door, peer) {
        Ok(places) => places,
        Err(refused) => {
            body::waste(&mut body).await;
            return Err(refused);
        }
    };
    let length = head.headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    let body = body::read(body, length, body_max, &door.limits, &mut place).await?;
    door.counters.body_bytes.fetch_add(u64::try_from(body.len()).unwrap_or(0), Ordering::Relaxed);
    Ok((of_client, place, body))
}

/// A place for one delivery: of its sender where a proxy brings it, of its tenant, of the door.
fn enter(door: &Door, client: Option<IpAddr>) -> Result<(Option<OfSource>, Place), Refused> {
    let of_client = match client {
        Some(client) => Some(door.clients.enter(client).ok_or(Refused::Share(1))?),
        None => None,
    };
    door.rate.take().map_err(Refused::Share)?;
    // Said before anything of it is read or judged: what an overload refuses must cost little.
    if door.engine.is_full() {
        return Err(Refused::Busy(1));
    }
    Ok((of_client, door.in_flight.enter().ok_or(Refused::Busy(1))?))
}

/// Headers that are never stored: whoever reads one could act as its sender. Signatures are kept, they prove one
/// body and nothing else.
const PRIVATE: &[&str] = &[
    "api-key",
    "apikey",
    "authorization",
    "cf-access-client-secret",
    "cf-access-jwt-assertion",
    "cookie",
    "private-token",
    "proxy-authorization",
    "x-access-token",
    "x-amz-security-token",
    "x-api-key",
    "x-api-token",
    "x-auth-token",
    "x-csrf-token",
    "x-forwarded-access-token",
    "x-gitlab-token",
    "x-goog-channel-token",
    "x-goog-iap-jwt-assertion",
    "x-secret-token",
    "x-shopify-access-token",
    "x-telegram-bot-api-secret-token",
    "x-token",
    "x-vault-token",
    "x-webhook-secret",
    "x-webhook-token",
    "x-xsrf-token",
];
/// Headers that may stand only once, beside those of the signature schemes.
const SINGLE: &[&str] = &[
    "authorization",
    "content-encoding",
    "content-length",
    "content-type",
    "host",
    "idempotency-key",
    "transfer-encoding",
];

/// Gives whether the body comes packed.
pub(super) fn check_head(head: &request::Parts, target: &Target) -> Result<bool, Refused> {
    // Most heads have nothing twice.
    if head.headers.len() > head.headers.keys_len() {
        let own = match &target.proof {
            Proof::Signed { scheme, .. } => Some(scheme.own_headers()),
            _ => None,
        };
        let matched = target.matches.iter().map(|(name, _)| name.as_str()).chain(target.proof.private_header());
        check_single(&head.headers, matched.chain(own.into_iter().flatten()))?;
    }
    check_coding(&head.headers, target.takes.gzip)
}

pub(super) fn check_single<'a>(headers: &HeaderMap, own: impl Iterator<Item = &'a str>) -> Result<(), Refused> {
    let schemes = signature::SCHEMES.iter().flat_map(|scheme| scheme.families).flat_map(|family| {
        let version = family.version.map(|(name, _)| name);
        [Some(family.signature), family.timestamp, family.id, version].into_iter().flatten()
    });
    for name in SINGLE.iter().copied().chain(schemes).chain(own) {
        if headers.get_all(name).iter().nth(1).is_some() {
            return Err(Refused::Malformed(format!("the header {name} is given more than once")));
        }
    }
    Ok(())
}

pub(crate) fn check_coding(headers: &HeaderMap, gzip: bool) -> Result<bool, Refused> {
    if let Some(coding) = headers.get(TRANSFER_ENCODING)
        && !coding.as_bytes().eq_ignore_ascii_case(b"chunked")
    {
        return Err(Refused::Malformed("the only transfer-encoding taken is chunked".to_owned()));
    }
    match headers.get(CONTENT_ENCODING) {
        Some(coding) if gzip && coding.as_bytes().eq_ignore_ascii_case(b"gzip") => Ok(true),
        Some(coding) if !coding.as_bytes().eq_ignore_ascii_case(b"identity") => Err(Refused::Encoded(gzip)),
        _ => Ok(false),
    }
}

/// The headers that are stored with a delivery; `own` is one more that is not.
pub(crate) fn stored(headers: Vec<(String, String)>, own: Option<&str>) -> Vec<(String, String)> {
    headers.into_iter().filter(|(name, _)| !is_private(name, own)).collect()
}

/// Whether a header is never stored, by its name in lower case.
pub(crate) fn is_private(name: &str, own: Option<&str>) -> bool {
    PRIVATE.contains(&name) || own == Some(name)
}

pub(super) fn all_headers(headers: &HeaderMap) -> Vec<(String, String)> {
    headers
        .iter()
        .map(|(name, value)| (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
        .collect()
}

pub(super) fn text_of(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned)
}

/// The header and value that this trigger wants and the delivery does not have.
pub(crate) fn other_event<'a>(target: &'a Target, headers: &HeaderMap) -> Option<(&'a str, &'a str)> {
    let wrong = target.matches.iter().find(|(name, wanted)| {
        !headers.get(name).is_some_and(|have| have.as_bytes().eq_ignore_ascii_case(wanted.as_bytes()))
    });
    wrong.map(|(name, wanted)| (name.as_str(), wanted.as_str()))
}

/// JSON must be JSON and is given back, text must be text; a form is a form; other types pass as they are.
pub(crate) fn check_body(headers: &HeaderMap, body: &[u8]) -> Result<Option<Value>, Refused> {
    let kind = text_of(headers, "content-type").unwrap_or_default().to_ascii_lowercase();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    let json = kind == "application/json" || kind.ends_with("+json") || kind.is_empty();
    if body.is_empty() {
        return Ok(None);
    }
    if std::str::from_utf8(body).is_err() && (json || kind.starts_with("text/")) {
        return Err(Refused::Malformed("the body is not valid UTF-8".to_owned()));
    }
    if json {
        return Value::from_json(body).map(Some).map_err(|error| {
            Refused::Malformed(format!("the body is not JSON: {}", aura_protocol::text::display(&error.to_string())))
        });
    }
    Ok(None)
}

impl Door {
    /// One line a second at most: refused deliveries may come in any number.
    fn say_unproved(&self, target: &Target, why: &str) {
        use std::sync::atomic::Ordering::Relaxed;
        let now = self.clock.now_ms();
        let silent = self.unproved.count.fetch_add(1, Relaxed);
        if now - self.unproved.said_ms.load(Relaxed) < 1000 {
            return;
        }
        self.unproved.said_ms.store(now, Relaxed);
        self.unproved.count.store(0, Relaxed);
        tracing::warn!(
            flow = target.published.name,
            trigger = target.trigger_id,
            unsaid = silent,
            "a delivery was refused: {why}"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_that_proves_or_frames_a_delivery_may_stand_only_once() {
        let headers = |list: &[&str]| {
            let mut map = HeaderMap::new();
            for name in list {
                map.append(axum::http::HeaderName::try_from(*name).unwrap(), "a".parse().unwrap());
            }
            map
        };
        let own = || ["x-shopify-topic", "x-own-signature"].into_iter();
        for name in [
            "authorization",
            "content-type",
            "host",
            "idempotency-key",
            "klaviyo-signature",
            "shopify-hmac-sha256",
            "stripe-signature",
            "svix-id",
            "webhook-id",
            "webhook-signature",
            "webhook-timestamp",
            "x-hub-signature-256",
            "x-hubspot-signature-version",
            "x-own-signature",
            "x-shopify-hmac-sha256",
            "x-shopify-topic",
            "x-slack-request-timestamp",
            "x-slack-signature",
            "x-twilio-email-event-webhook-timestamp",
        ] {
            assert_eq!(check_single(&headers(&[name]), own()), Ok(()), "{name}");
            let refused = check_single(&headers(&[name, "x-other", name]), own()).unwrap_err();
            assert_eq!(refused, Refused::Malformed(format!("the header {name} is given more than once")));
            assert_eq!(refused.into_response().status(), 400, "{name}");
        }
        assert_eq!(check_single(&headers(&["x-other", "x-other"]), own()), Ok(()));
    }

    #[test]
    fn what_would_let_its_reader_act_as_the_sender_is_not_stored() {
        let names = |list: &[&str]| -> Vec<(String, String)> {
            list.iter().map(|name| ((*name).to_owned(), "v".to_owned())).collect()
        };
        let kept = ["content-type", "stripe-signature", "x-goog-channel-id", "x-shopify-topic"];
        let mut all = names(&kept);
        all.extend(names(PRIVATE));
        assert_eq!(stored(all, None), names(&kept));
        assert!(PRIVATE.is_sorted() && PRIVATE.iter().all(|name| name.to_ascii_lowercase() == **name));
    }
}
