//! What a delivery meets before anybody believes it: bounds, network, handshake, proof, kind, packing, form.
//!
//! Invariant: the order is the same for an endpoint, for whoever listens for test events and for what is delivered
//! again, and nothing is parsed before the proof.

use std::net::IpAddr;

use aura_protocol::rpc::Verdict;
use aura_protocol::{Value, signature};
use axum::body::Body;
use axum::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode, request};
use axum::response::Response;

use super::answer::Refused;
use super::intake::{all_headers, check_body, check_head, other_event, read};
use super::limits::{OfSource, Place};
use super::peer::Peer;
use super::{Door, greet, multipart, proof, unpack};
use crate::catalog::State;
use crate::catalog::routes::{Proof, Target};
use crate::catalog::signing::Signing;

/// How a delivery was met.
pub(super) enum Met {
    /// It only asked whether somebody is there; the body is given of a signed handshake only, since an unsigned one may
    /// hold the secret of later deliveries.
    Greeted(Response, Option<Vec<u8>>),
    /// It is an event.
    Event(Proved),
}

/// A delivery that is proved and in form.
pub(super) struct Proved {
    /// All headers; of a packed body none says so.
    pub headers: Vec<(String, String)>,
    /// Unpacked.
    pub body: Vec<u8>,
    /// The body, if it is JSON.
    pub json: Option<Value>,
    /// What tells repeats of it, where that stands in the body.
    pub id: Option<String>,
    /// Which secret it was.
    pub verdict: Verdict,
    /// Its places; held until they are dropped.
    pub places: (Option<OfSource>, Place),
}

/// A delivery that was refused.
pub(crate) struct Turned {
    /// What its sender hears.
    pub refused: Refused,
    /// Why, for people on this side.
    pub why: String,
    /// The part that decided.
    pub verdict: Verdict,
    /// The body as it came, if it was read.
    pub body: Option<Vec<u8>>,
}

impl From<Refused> for Turned {
    fn from(refused: Refused) -> Self {
        Self { why: refused.to_string(), verdict: refused.verdict(), body: None, refused }
    }
}

impl From<proof::Unproved> for Turned {
    fn from(proof::Unproved { verdict, why }: proof::Unproved) -> Self {
        Self { refused: Refused::Unproved, why, verdict, body: None }
    }
}

/// Who sends, as far as it is known: a trusted proxy says so, else it is the other end of the connection.
pub(super) fn sender(door: &Door, head: &request::Parts) -> Option<IpAddr> {
    let peer = head.extensions.get::<Peer>()?.0;
    Some(door.proxies.client(peer, &head.headers).unwrap_or(peer).to_canonical())
}

/// Meets a delivery; `seen` is given the body as it came and as it was unpacked.
///
/// # Errors
/// What its sender hears, and why, for people on this side.
pub(super) async fn meet(
    door: &Door,
    target: &Target,
    head: &request::Parts,
    body: Body,
    seen: &mut (dyn FnMut(&[u8]) + Send),
) -> Result<Met, Turned> {
    if !target.allow.is_empty() {
        let from = sender(door, head);
        if !target.allows(from) {
            let from = from.map_or("a sender without an address".to_owned(), |from| from.to_string());
            let why = format!("{from} is in none of the {} networks of `allow`", target.allow.len());
            return Err(Turned { why, ..Turned::from(Refused::NotAllowed) });
        }
    }
    let packed = check_head(head, target).map_err(|refused| match refused {
        Refused::Malformed(_) => Turned { verdict: Verdict::HeaderTwice, ..Turned::from(refused) },
        other => other.into(),
    })?;
    // No body takes more than all bodies together may.
    let body_max = target.takes.body_max(door.limits.body_max).min(door.limits.in_flight_bytes);
    let (of_client, mut place, body) = read(door, head, body, body_max).await?;
    seen(&body);
    let state = door.catalog.now();
    let mut headers = all_headers(&head.headers);
    let url = match target.signs_address() {
        true => door.proxies.address(&door.public_url, head),
        false => String::new(),
    };
    let claim = signature::Request { method: head.method.as_str(), url: &url, headers: &headers, body: &body };
    let now_ms = door.clock.wall_ms();
    let verdict = match judged(target, &state, &head.headers, &claim, now_ms) {
        Ok(Judged::Greeted(answer)) => return Ok(Met::Greeted(answer, None)),
        Ok(Judged::Proved(verdict)) => verdict,
        Err(turned) => return Err(Turned { body: Some(body), ..turned }),
    };
    // What is kept is the text, so its headers say nothing of a packing.
    let body = if packed {
        headers.retain(|(name, _)| name != CONTENT_ENCODING.as_str() && name != CONTENT_LENGTH.as_str());
        let unpacked = match unpack::gunzip(&body, body_max, &mut place).await {
            Ok(unpacked) => unpacked,
            Err(refused) => {
                let turned = Turned::from(refused);
                let verdict = if turned.verdict == Verdict::Body { Verdict::Packing } else { turned.verdict };
                return Err(Turned { body: Some(body), verdict, ..turned });
            }
        };
        seen(&unpacked);
        unpacked
    } else {
        body
    };
    let scheme = scheme(target);
    if let Some(handshake) = scheme.and_then(|scheme| signature::handshake(scheme.known()?, &headers, &body)) {
        return Ok(Met::Greeted(greet::heard(handshake), Some(body)));
    }
    let kind = head.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if target.multipart && multipart::is_multipart(kind) {
        let value = multipart::read(kind, body).await?;
        let id = value.get("message_id").and_then(Value::as_str).map(str::to_owned);
        // What is kept is JSON, so its headers say so.
        headers.retain(|(name, _)| name != CONTENT_TYPE.as_str() && name != CONTENT_LENGTH.as_str());
        headers.push((CONTENT_TYPE.as_str().to_owned(), "application/json".to_owned()));
        let body = value.to_json().into_bytes();
        return Ok(Met::Event(Proved { headers, body, json: Some(value), id, verdict, places: (of_client, place) }));
    }
    let json = match check_body(&head.headers, &body) {
        Ok(json) => json,
        Err(refused) => return Err(Turned { body: Some(body), ..Turned::from(refused) }),
    };
    Ok(Met::Event(Proved { headers, body, json, id: None, verdict, places: (of_client, place) }))
}

/// What the raw bytes say.
pub(crate) enum Judged {
    /// An unsigned handshake.
    Greeted(Response),
    /// Proved, and an event of this trigger.
    Proved(Verdict),
}

/// Looks at the raw bytes: handshake, proof, kind of event.
pub(crate) fn judged(
    target: &Target,
    state: &State,
    map: &HeaderMap,
    claim: &signature::Request<'_>,
    now_ms: i64,
) -> Result<Judged, Turned> {
    if let Some(answer) = greet::answer(target, state, claim) {
        return Ok(Judged::Greeted(answer?));
    }
    let verdict = proof::check(target, state, claim, now_ms)?;
    if let Some((header, wanted)) = other_event(target, map) {
        let text = format!("this endpoint takes only deliveries with {header}: {wanted}");
        return Err(Refused::OtherEvent(text).into());
    }
    Ok(Judged::Proved(verdict))
}

/// The scheme that signs what comes to a trigger.
pub(crate) fn scheme(target: &Target) -> Option<&Signing> {
    match &target.proof {
        Proof::Signed { scheme, .. } => Some(scheme),
        _ => None,
    }
}

/// What a sender hears whose event was taken.
pub(crate) fn success(target: &Target) -> StatusCode {
    let own = scheme(target).and_then(|scheme| StatusCode::from_u16(scheme.known()?.success_status).ok());
    own.unwrap_or(StatusCode::ACCEPTED)
}
