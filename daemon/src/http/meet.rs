//! What a delivery meets before anybody believes it: bounds, network, handshake, proof, kind, packing, form.
//!
//! Invariant: the order is the same for an endpoint, for whoever listens for test events and for what is delivered
//! again, and nothing is parsed before the proof.

use std::net::IpAddr;

use aura_protocol::rpc::Verdict;
use aura_protocol::{Value, signature};
use axum::body::{Body, Bytes};
use axum::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode, request};
use axum::response::Response;

use super::answer::Refused;
use super::intake::{all_headers, check_body, check_head, other_event, read, text_of};
use super::limits::{OfSource, Place};
use super::peer::Peer;
use super::{Door, greet, multipart, proof, unpack};
use crate::catalog::State;
use crate::catalog::routes::{Proof, Target};
use crate::catalog::signing::Signing;

/// Longest id of a delivery, in bytes.
pub(super) const ID_MAX: usize = 512;

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
    /// What tells repeats of it.
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
    let body_max = body_max(door, target);
    let (of_client, place, body) = read(door, head, body, body_max).await?;
    seen(&body);
    let state = door.catalog.now();
    let headers = all_headers(&head.headers);
    let url = match target.signs_address() {
        true => door.proxies.address(&door.reached.outside(), head),
        false => String::new(),
    };
    let claim = signature::Request { method: head.method.as_str(), url: &url, headers: &headers, body: &body };
    let now_ms = door.clock.wall_ms();
    let verdict = match judged(target, &state, &head.headers, &claim, now_ms) {
        Ok(Judged::Greeted(answer)) => return Ok(Met::Greeted(answer, None)),
        Ok(Judged::Proved(verdict)) => verdict,
        Err(turned) => return Err(Turned { body: Some(body), ..turned }),
    };
    let come = Come { map: &head.headers, headers, body, packed };
    let formed = formed(target, come, body_max, place, seen).await?;
    Ok(match formed {
        Formed::Greeted(answer, body) => Met::Greeted(answer, Some(body)),
        Formed::Event(InForm { headers, body, json, id, place }) => {
            Met::Event(Proved { headers, body, json, id, verdict, places: (of_client, place) })
        }
    })
}

/// A delivery right behind its proof.
pub(crate) struct Come<'a> {
    /// Headers as they came.
    pub map: &'a HeaderMap,
    /// The same as they are stored.
    pub headers: Vec<(String, String)>,
    /// Body as it came.
    pub body: Vec<u8>,
    /// The body is gzip, and the trigger takes that.
    pub packed: bool,
}

/// A delivery that is unpacked and in form.
pub(crate) struct InForm {
    /// All headers; of a body that was changed none says what it was.
    pub headers: Vec<(String, String)>,
    /// Unpacked; of a `multipart/form-data` its JSON.
    pub body: Vec<u8>,
    /// The body, if it is JSON.
    pub json: Option<Value>,
    /// What tells repeats of it.
    pub id: Option<String>,
    /// Its memory.
    pub place: Place,
}

/// What a proved delivery is.
pub(crate) enum Formed {
    /// A signed handshake.
    Greeted(Response, Vec<u8>),
    /// An event.
    Event(InForm),
}

/// The largest body of a trigger; none takes more than all bodies together may.
pub(crate) fn body_max(door: &Door, target: &Target) -> usize {
    target.takes.body_max(door.limits.body_max).min(door.limits.in_flight_bytes)
}

/// What comes behind the proof, the same for whoever delivers and for what is delivered again: packing, handshake, form,
/// and what tells repeats.
///
/// # Errors
/// What its sender hears, with the body as it came.
pub(crate) async fn formed(
    target: &Target,
    come: Come<'_>,
    body_max: usize,
    mut place: Place,
    seen: &mut (dyn FnMut(&[u8]) + Send),
) -> Result<Formed, Turned> {
    let Come { map, mut headers, body, packed } = come;
    // What is kept is the text, so its headers say nothing of a packing.
    let (body, came) = if packed {
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
        (unpacked, Some(body))
    } else {
        (body, None)
    };
    let scheme = scheme(target);
    if let Some(handshake) = scheme.and_then(|scheme| signature::handshake(scheme.known()?, &headers, &body)) {
        return Ok(Formed::Greeted(greet::heard(handshake), body));
    }
    let kind = map.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let (body, json, id, place) = if target.multipart && multipart::is_multipart(kind) {
        let body = Bytes::from(body);
        let read = match multipart::read(kind, body.clone(), body_max, place).await {
            Ok(read) => read,
            Err(refused) => {
                return Err(Turned { body: Some(came.unwrap_or_else(|| body.into())), ..Turned::from(refused) });
            }
        };
        // What is kept is JSON, so its headers say so.
        headers.retain(|(name, _)| name != CONTENT_TYPE.as_str() && name != CONTENT_LENGTH.as_str());
        headers.push((CONTENT_TYPE.as_str().to_owned(), "application/json".to_owned()));
        (read.json, Some(read.value), read.id, read.place)
    } else {
        match check_body(map, &body) {
            Ok(json) => (body, json, None, place),
            Err(refused) => return Err(Turned { body: Some(came.unwrap_or(body)), ..Turned::from(refused) }),
        }
    };
    let own = match scheme {
        Some(scheme) => scheme.with(|scheme| signature::delivery_id(scheme, &headers, &body)).flatten(),
        None => text_of(map, "idempotency-key").filter(|key| !key.is_empty() && key.len() <= ID_MAX),
    };
    Ok(Formed::Event(InForm { headers, body, json, id: own.or(id), place }))
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
