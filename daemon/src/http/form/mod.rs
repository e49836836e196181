//! `/f/{endpoint}`: the page of a `form` trigger. It works without a script and keeps what people typed.
//!
//! Invariant: the thanks are shown only after the commit, and one page sent twice with the same words is one event
//! (`token`). The address gives no right but to fill in this form; what another site's page sends is refused, and
//! so is whoever sends too much.

mod page;
mod rate;
#[cfg(test)]
mod tests;
mod token;

use std::sync::Arc;

use aura_integrations::redact::Sink;
use aura_protocol::event::Delivery;
use aura_protocol::form::{FORM, Form, Judged, Kind, Words};
use aura_protocol::{EventId, TenantId};
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, LOCATION, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, request};
use axum::response::{IntoResponse, Response};

use crate::catalog::forms::FormTarget;
use crate::engine::{Flows, Intake};
use crate::http::Door;
use crate::http::answer::{self, EVENT_ID, Refused};
use crate::http::intake::{Route, check_coding, check_single, read};
use crate::http::peer::Peer;
pub use rate::FormRate;
use token::Token;

/// What is sent has at most so many bytes.
const BODY_MAX: usize = 512 * 1024;
/// Pairs of a submission looked at.
const PAIRS_MAX: usize = 4_096;

const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");

/// `/f/{endpoint}`: the form.
pub async fn page(State(door): State<Door>, path: Route<String>, request: Request) -> Response {
    let Some(target) = found(&door, path) else { return finished(&door, none()).await };
    if *request.method() == Method::POST {
        // What was typed goes back as it was: whoever wrote it must not hear which secrets are known here.
        return framed(sent(&door, &target, request).await);
    }
    let response = match *request.method() {
        Method::GET | Method::HEAD => {
            let token = token::new(&door.catalog, &target.endpoint, door.clock.wall_ms());
            html(StatusCode::OK, page::asked(&target.form, &Judged::empty(&target.form), &token, None))
        }
        _ => none(),
    };
    finished(&door, response).await
}

/// `/f/{endpoint}/thanks`: what is shown once it is taken. A reload of it sends nothing.
pub async fn thanks(State(door): State<Door>, path: Route<String>, request: Request) -> Response {
    let target = found(&door, path).filter(|_| matches!(*request.method(), Method::GET | Method::HEAD));
    let response = target.map_or_else(none, |target| html(StatusCode::OK, page::thanks(&target.form)));
    finished(&door, response).await
}

fn found(door: &Door, path: Route<String>) -> Option<Arc<FormTarget>> {
    let Path(name) = path.ok()?;
    let state = door.catalog.now();
    state.routes().forms().get(&name).filter(|target| target.published.enabled).map(Arc::clone)
}

fn none() -> Response {
    let words = Words::ALL.first().map_or("", |words| words.none);
    Words::ALL.first().map_or_else(
        || Refused::NotFound.into_response(),
        |english| html(StatusCode::NOT_FOUND, page::said(english, words, "")),
    )
}

fn html(status: StatusCode, text: String) -> Response {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HTML);
    response
}

/// Nothing of it is kept by others, runs a script, stands in a frame or loads anything.
fn framed(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // The sender of a form on this page must be told as this page.
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(HeaderName::from_static("x-robots-tag"), HeaderValue::from_static("noindex"));
    if let Ok(policy) = HeaderValue::from_str(&page::policy()) {
        headers.insert(CONTENT_SECURITY_POLICY, policy);
    }
    response
}

/// The same for a page that says nothing but what is ours.
async fn finished(door: &Door, response: Response) -> Response {
    answer::clean(door.catalog.sink(), framed(response)).await
}

/// A form without secrets of the vault in its own text: beside it stands what somebody typed.
fn cleaned(form: &Form, sink: &Sink) -> Form {
    let mut form = form.clone();
    let more = [&mut form.button, &mut form.thanks].into_iter().flatten();
    [&mut form.title, &mut form.note].into_iter().chain(more).for_each(|text| sink.hide(text));
    for field in &mut form.fields {
        sink.hide(&mut field.label);
        sink.hide(&mut field.note);
        if let Kind::Choice { options, .. } = &mut field.kind {
            options.iter_mut().flat_map(|(value, label)| [value, label]).for_each(|text| sink.hide(text));
        }
    }
    form
}

/// A page that says why nothing was taken, before anything of it was read.
fn refused(form: &Form, refused: Refused) -> Response {
    let words = form.lang;
    let text = match &refused {
        Refused::Share(_) => words.many,
        Refused::TooLarge(_) => words.large,
        Refused::MayNot(_) => words.elsewhere,
        Refused::Malformed(_) | Refused::Encoded(_) | Refused::Slow => words.again,
        _ => words.busy,
    };
    let mut response = refused.into_response();
    *response.body_mut() = Body::from(page::said(words, words.wrong, text));
    response.headers_mut().insert(CONTENT_TYPE, HTML);
    response
}

/// Whether a browser says that another site's page sent this.
fn from_elsewhere(head: &request::Parts) -> bool {
    let said = head.headers.get("sec-fetch-site").and_then(|value| value.to_str().ok());
    said.is_some_and(|said| !matches!(said, "same-origin" | "none"))
}

async fn sent(door: &Door, target: &FormTarget, request: Request) -> Response {
    match submitted(door, target, request).await {
        Ok(response) => response,
        Err(why) => refused(&target.form, why),
    }
}

async fn submitted(door: &Door, target: &FormTarget, request: Request) -> Result<Response, Refused> {
    let asking = door.engine.asks();
    let (head, body) = request.into_parts();
    check_single(&head.headers, std::iter::empty())?;
    check_coding(&head.headers, false)?;
    if from_elsewhere(&head) {
        return Err(Refused::MayNot("it came from another site's page".to_owned()));
    }
    let kind = head.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !kind.to_ascii_lowercase().starts_with("application/x-www-form-urlencoded") {
        return Err(Refused::Malformed("a form is sent as application/x-www-form-urlencoded".to_owned()));
    }
    let peer = head.extensions.get::<Peer>().map(|peer| peer.0);
    let client = peer.map(|peer| door.proxies.client(peer, &head.headers).unwrap_or(peer));
    let now_ms = door.clock.wall_ms();
    if client.is_some_and(|client| !door.forms.takes(client, now_ms)) {
        return Err(Refused::Share(60));
    }
    let (_of_client, _place, body) = read(door, &head, body, BODY_MAX.min(door.limits.in_flight_bytes)).await?;
    let pairs: Vec<(String, String)> = form_urlencoded::parse(&body).into_owned().take(PAIRS_MAX).collect();
    let first = |name: &str| pairs.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value.as_str());
    let form = &target.form;
    let (judged, values) = form.judge(&pairs);
    let given = first("token");
    let plain = || cleaned(form, door.catalog.sink());
    let again =
        |status: StatusCode, token: &str, why: Option<&str>| html(status, page::asked(&plain(), &judged, token, why));
    let fresh = || token::new(&door.catalog, &target.endpoint, now_ms);
    match token::judge(&door.catalog, &target.endpoint, given, now_ms) {
        Token::Good => {}
        Token::Old => return Ok(again(StatusCode::UNPROCESSABLE_ENTITY, &fresh(), Some(form.lang.old))),
        Token::Foreign => return Ok(again(StatusCode::UNPROCESSABLE_ENTITY, &fresh(), Some(form.lang.again))),
    }
    if !first("website").is_empty() {
        return Ok(again(StatusCode::UNPROCESSABLE_ENTITY, given, Some(form.lang.again)));
    }
    if !judged.fits() {
        return Ok(again(StatusCode::UNPROCESSABLE_ENTITY, given, None));
    }
    // Published meanwhile: the version of now counts, if it still has this trigger.
    let published = door.catalog.published(TenantId::DEFAULT, target.published.id).ok_or(Refused::NotFound)?;
    let trigger = published.flow.triggers.iter().position(|trigger| trigger.id == target.trigger_id);
    let trigger = trigger.filter(|_| published.enabled).ok_or(Refused::NotFound)?;
    let delivery = Delivery {
        event: EventId::now(),
        trigger: target.trigger_id.clone(),
        method: FORM.to_owned(),
        query: String::new(),
        headers: vec![("content-type".to_owned(), "application/json".to_owned())],
        body: values.to_json().into_bytes(),
        blob: None,
        received_ms: door.clock.now_ms(),
        came: None,
    };
    let shown = delivery.to_trigger();
    let delivery_id = Some(token::repeat(given, &values));
    let intake = Intake {
        tenant: TenantId::DEFAULT,
        flow: published,
        trigger,
        delivery,
        shown,
        delivery_id,
        note: None,
        relayed: None,
        anew: false,
    };
    let taken = match door.engine.accept(intake, asking).await {
        Ok(taken) => taken,
        // What was typed stays on the page.
        Err(why) => {
            let mut response = Refused::from(why).into_response();
            *response.body_mut() = Body::from(page::asked(&plain(), &judged, given, Some(form.lang.busy)));
            response.headers_mut().insert(CONTENT_TYPE, HTML);
            return Ok(response);
        }
    };
    target.saw(taken.ack.event_id);
    let mut response = html(StatusCode::SEE_OTHER, page::thanks(&plain()));
    let headers = response.headers_mut();
    if let (Ok(to), Ok(event)) = (
        HeaderValue::from_str(&format!("{}/thanks", target.endpoint)),
        HeaderValue::from_str(&taken.ack.event_id.to_string()),
    ) {
        headers.insert(LOCATION, to);
        headers.insert(EVENT_ID, event);
    }
    Ok(response)
}
