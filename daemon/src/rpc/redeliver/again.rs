//! One delivery once more: looked at as at the door, said or handed to the engine.
//!
//! Invariant: the same checks in the same order as for a delivery that comes over the network, and behind the proof by the
//! same function (`http/meet.rs`), except for who sends: its network was looked at when it came, if it came to this
//! endpoint.

use aura_protocol::event::{Ack, Came, Delivery};
use aura_protocol::rpc::{Verdict, WebhookRedeliver};
use aura_protocol::{EventId, TenantId, Value, signature};
use axum::http::header::{CONTENT_ENCODING, CONTENT_LENGTH};
use axum::http::{HeaderMap, HeaderName, HeaderValue};

use crate::catalog::State;
use crate::catalog::routes::{Proof, Target};
use crate::engine::Intake;
use crate::http::answer::Refused;
use crate::http::intake::{check_coding, other_event, stored};
use crate::http::limits::Place;
use crate::http::meet::{Come, Formed, InForm, Judged, body_max, formed, judged};
use crate::http::multipart::json_max;
use crate::http::refuse::withheld;
use crate::rpc::Service;
use crate::rpc::deliveries::Kept;
use crate::trial;

/// A delivery that passed.
pub struct Looked {
    pub verdict: Verdict,
    pub delivery: Delivery,
    pub shown: Value,
    /// The sender's own id of it.
    pub delivery_id: Option<String>,
    /// The memory of its body.
    pub place: Place,
}

type Refusal = (Verdict, String);

fn refused(refused: &Refused) -> Refusal {
    (refused.verdict(), refused.to_string())
}

fn opened(target: &Target) -> Result<(), Refusal> {
    if target.open() {
        return Ok(());
    }
    let verdict = if target.published.enabled { Verdict::Closed } else { Verdict::Disabled };
    Err((verdict, format!("{} takes no deliveries now", target.name())))
}

/// Looks at it as the door would.
pub async fn look(
    service: &Service,
    target: &Target,
    kept: &Kept,
    request: &WebhookRedeliver,
) -> Result<Looked, Refusal> {
    opened(target)?;
    let from = kept.row.from.parse().ok();
    let here = kept.taken_by(&target.published.name, &target.trigger_id);
    if !here && !request.unproved && !target.allows(from) {
        let text = format!("{} is in none of the networks of `allow`", kept.row.from);
        return Err((Verdict::NotAllowed, text));
    }
    let map = map_of(&kept.headers);
    let verdict = match prove(service, target, kept, &map) {
        Ok(verdict) => verdict,
        Err((verdict, _)) if request.unproved => verdict,
        Err(refusal) => return Err(refusal),
    };
    let (edited, mut map, mut headers) = (request.body.as_ref(), map, kept.headers.clone());
    if edited.is_some() {
        // What somebody wrote is not packed.
        headers.retain(|(name, _)| name != CONTENT_ENCODING.as_str() && name != CONTENT_LENGTH.as_str());
        map.remove(CONTENT_ENCODING);
    }
    let packed = check_coding(&map, target.takes.gzip).map_err(|error| refused(&error))?;
    let body_max = body_max(&service.door, target);
    let body = edited.unwrap_or(&kept.body).clone();
    // What a multipart body became is larger than it was.
    let most = if target.multipart { json_max(body_max) } else { body_max };
    if body.len() > most {
        return Err(refused(&Refused::TooLarge(most)));
    }
    let mut place = service.door.in_flight.enter().ok_or_else(|| refused(&Refused::Busy(1)))?;
    if !place.grow(body.len()) {
        return Err(refused(&Refused::Busy(1)));
    }
    let come = Come { map: &map, headers, body, packed };
    let formed = formed(target, come, body_max, place, &mut |_| {}).await;
    let InForm { headers, body, json, id: delivery_id, place } = match formed {
        Ok(Formed::Event(event)) => event,
        Ok(Formed::Greeted(..)) => return Err((Verdict::Handshake, "it is a handshake and no event".to_owned())),
        Err(turned) => return Err((turned.verdict, turned.why)),
    };
    let again = Some(kept.row.id);
    let came = Came { from: kept.row.from.clone(), verdict: Some(verdict), again, ..Came::default() };
    let delivery = Delivery {
        event: EventId::now(),
        trigger: target.trigger_id.clone(),
        method: kept.row.method.clone(),
        // As it came; what is shown of a refused one leaves secrets out.
        query: kept.url.split_once('?').map_or(kept.query.as_str(), |(_, query)| query).to_owned(),
        headers: stored(headers, target.proof.private_header()),
        body,
        blob: None,
        received_ms: kept.row.at_ms,
        came: Some(came),
    };
    let shown = delivery.to_trigger_with(json);
    Ok(Looked { verdict, delivery, shown, delivery_id, place })
}

fn map_of(headers: &[(String, String)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        let (name, value) = (HeaderName::try_from(name.as_str()), HeaderValue::try_from(value.as_str()));
        if let (Ok(name), Ok(value)) = (name, value) {
            map.append(name, value);
        }
    }
    map
}

/// Whether it proves itself to this trigger, at the time at which it came.
fn prove(service: &Service, target: &Target, kept: &Kept, map: &HeaderMap) -> Result<Verdict, Refusal> {
    let other = || {
        let (header, wanted) = other_event(target, map)?;
        Some((Verdict::OtherEvent, format!("this endpoint takes only deliveries with {header}: {wanted}")))
    };
    if kept.proved_to(&target.published.name, &target.trigger_id) {
        return other().map_or(Ok(kept.row.verdict), Err);
    }
    let state = service.catalog.now();
    if let Some(verdict) = secret_word(service, target, kept, &state) {
        return match verdict {
            Ok(verdict) => other().map_or(Ok(verdict), Err),
            Err(refusal) => Err(refusal),
        };
    }
    let claim =
        signature::Request { method: &kept.row.method, url: &kept.url, headers: &kept.headers, body: &kept.body };
    match judged(target, &state, map, &claim, kept.proof_ms) {
        Ok(Judged::Proved(verdict)) => Ok(verdict),
        Ok(Judged::Greeted(_)) => Err((Verdict::Handshake, "it is a handshake and no event".to_owned())),
        Err(turned) => Err((turned.verdict, turned.why)),
    }
}

/// For proofs by a header that is not kept: whether its hash is that of a secret. `None`: the proof stands in what is
/// kept.
fn secret_word(service: &Service, target: &Target, kept: &Kept, state: &State) -> Option<Result<Verdict, Refusal>> {
    use base64::Engine as _;
    let basic = |user: &str, secret: &str| {
        format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("{user}:{secret}")))
    };
    let (header, secret): (&str, _) = match &target.proof {
        Proof::Bearer(secret) | Proof::Basic(_, secret) => ("authorization", secret),
        Proof::Header(name, secret) => (name, secret),
        Proof::Open | Proof::Signed { .. } => return None,
    };
    let Some((_, came)) = kept.withheld.iter().find(|(name, _)| name == header) else {
        // A name that did not sound like a secret is kept as it came.
        let stands = kept.headers.iter().any(|(name, _)| name == header);
        let why = format!("header `{header}` is missing");
        return (!stands).then_some(Err((Verdict::HeaderMissing, why)));
    };
    if let Some(missing) = target.proof.missing_secret(state) {
        return Some(Err((Verdict::NoSecret, missing)));
    }
    let values = secret.values(state, kept.proof_ms);
    let fits = values.iter().position(|value| {
        let wanted = match &target.proof {
            Proof::Bearer(_) => format!("Bearer {}", value.as_str()),
            Proof::Basic(user, _) => basic(user, value),
            _ => value.as_str().to_owned(),
        };
        withheld(&service.store, header, &wanted) == *came
    });
    Some(match fits {
        Some(0) => Ok(Verdict::Proved),
        Some(_) => Ok(Verdict::ProvedBefore),
        None => Err((Verdict::Token, format!("the value of `{header}` was not the one configured for this trigger"))),
    })
}

/// What would become of it.
pub fn would(service: &Service, target: &Target, looked: &Looked) -> String {
    let text = service.catalog.version_text(target.flow, &target.published.version);
    let Some(text) = text else { return "the published version cannot be read".to_owned() };
    let judge = trial::door_says(&text, service.catalog.registry(), &target.trigger_id);
    let held = if target.published.paused { "; the flow is paused, so it would be held first" } else { "" };
    format!("{}{held}", judge(&looked.delivery, &looked.shown))
}

/// Hands it to the engine.
pub async fn hand_over(
    service: &Service,
    target: &Target,
    looked: Looked,
    key: String,
    claim: bool,
) -> Result<Ack, String> {
    let tenant = TenantId::DEFAULT;
    // The endpoint of now counts, as at the door.
    let now = service.catalog.now().routes().of_flow(&target.published.name, Some(&target.trigger_id));
    let now = now.map_err(|_| format!("{} is not published any more", target.name()))?;
    opened(&now).map_err(|(_, why)| why)?;
    let (published, trigger) = (now.published.clone(), now.trigger);
    let Looked { delivery, shown, place, .. } = looked;
    let (delivery_id, anew) = (Some(key), !claim);
    let intake =
        Intake { tenant, flow: published, trigger, delivery, shown, delivery_id, anew, note: None, relayed: None };
    let asking = service.engine.asks();
    let answer = service.engine.accept(intake, asking).await.map_err(|refusal| Refused::from(refusal).to_string())?;
    drop(place);
    target.saw(answer.ack.event_id);
    Ok(answer.ack)
}
