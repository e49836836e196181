//! What a delivery meets before anybody believes it: bounds, handshake, proof, kind, packing, form.
//!
//! Invariant: the order is the same for an endpoint and for whoever listens for test events, and nothing is parsed
//! before the proof.

use aura_protocol::{Value, signature};
use axum::body::Body;
use axum::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{StatusCode, request};
use axum::response::Response;

use super::answer::Refused;
use super::intake::{all_headers, check_body, check_head, other_event, read};
use super::limits::{OfSource, Place};
use super::{Door, greet, multipart, proof, unpack};
use crate::catalog::routes::{Proof, Target};
use crate::catalog::signing::Signing;

/// How a delivery was met.
pub(super) enum Met {
    /// It only asked whether somebody is there.
    Greeted(Response),
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
    /// Its places; held until they are dropped.
    pub places: (Option<OfSource>, Place),
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
) -> Result<Met, (Refused, String)> {
    let said = |refused: Refused| {
        let why = refused.to_string();
        (refused, why)
    };
    let packed = check_head(head, target).map_err(said)?;
    // No body takes more than all bodies together may.
    let body_max = target.takes.body_max(door.limits.body_max).min(door.limits.in_flight_bytes);
    let (of_client, mut place, body) = read(door, head, body, body_max).await.map_err(said)?;
    seen(&body);
    let state = door.catalog.now();
    let mut headers = all_headers(&head.headers);
    let url = match target.signs_address() {
        true => door.proxies.address(&door.public_url, head),
        false => String::new(),
    };
    let claim = signature::Request { method: head.method.as_str(), url: &url, headers: &headers, body: &body };
    if let Some(answer) = greet::answer(target, &state, &claim) {
        return answer.map(Met::Greeted).map_err(said);
    }
    if let Err(why) = proof::check(target, &state, &claim, door.clock.wall_ms()) {
        return Err((Refused::Unproved, why));
    }
    if let Some((header, wanted)) = other_event(target, &head.headers) {
        let text = format!("this endpoint takes only deliveries with {header}: {wanted}");
        return Err(said(Refused::OtherEvent(text)));
    }
    // What is kept is the text, so its headers say nothing of a packing.
    let body = if packed {
        headers.retain(|(name, _)| name != CONTENT_ENCODING.as_str() && name != CONTENT_LENGTH.as_str());
        let body = unpack::gunzip(&body, body_max, &mut place).await.map_err(said)?;
        seen(&body);
        body
    } else {
        body
    };
    let scheme = scheme(target);
    if let Some(handshake) = scheme.and_then(|scheme| signature::handshake(scheme.known()?, &headers, &body)) {
        return Ok(Met::Greeted(greet::heard(handshake)));
    }
    let kind = head.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if target.multipart && multipart::is_multipart(kind) {
        let value = multipart::read(kind, body).await.map_err(said)?;
        let id = value.get("message_id").and_then(Value::as_str).map(str::to_owned);
        // What is kept is JSON, so its headers say so.
        headers.retain(|(name, _)| name != CONTENT_TYPE.as_str() && name != CONTENT_LENGTH.as_str());
        headers.push((CONTENT_TYPE.as_str().to_owned(), "application/json".to_owned()));
        let body = value.to_json().into_bytes();
        return Ok(Met::Event(Proved { headers, body, json: Some(value), id, places: (of_client, place) }));
    }
    let json = check_body(&head.headers, &body).map_err(said)?;
    Ok(Met::Event(Proved { headers, body, json, id: None, places: (of_client, place) }))
}

/// The scheme that signs what comes to a trigger.
pub(super) fn scheme(target: &Target) -> Option<&Signing> {
    match &target.proof {
        Proof::Signed { scheme, .. } => Some(scheme),
        _ => None,
    }
}

/// What a sender hears whose event was taken.
pub(super) fn success(target: &Target) -> StatusCode {
    let own = scheme(target).and_then(|scheme| StatusCode::from_u16(scheme.known()?.success_status).ok());
    own.unwrap_or(StatusCode::ACCEPTED)
}
