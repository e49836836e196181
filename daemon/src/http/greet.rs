//! Handshakes that come without a signature: answered, refused, or a token kept for the operator.
//!
//! The invariant: none of them stores an event, and none makes a secret. A token that a vendor names stays beside
//! its endpoint in memory until somebody who may see it adds it as the secret; see `docs/http-door.md`.

use aura_protocol::signature::{self, Greeting, Handshake, Request, SCHEMES, Scheme, Unsigned, unsigned};
use axum::http::header::{CONTENT_TYPE, HeaderName};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};

use crate::catalog::State;
use crate::catalog::routes::{Proof, Target};
use crate::http::answer::Refused;

/// Field of a connection that holds the word agreed with Meta.
const VERIFY_TOKEN: &str = "verify_token";

/// The answer to an unsigned handshake; `None`: the request has to prove itself.
pub fn answer(target: &Target, state: &State, request: &Request<'_>) -> Option<Result<Response, Refused>> {
    let Proof::Signed { scheme, secret } = &target.proof else { return None };
    let scheme = scheme.known().filter(|scheme| greets(scheme))?;
    let agreed = secret.beside(state, VERIFY_TOKEN);
    let agreed = agreed.as_ref().map(|word| word.as_str());
    Some(match unsigned(scheme, request, agreed, secret.value(state).is_some())? {
        Unsigned::Answer(handshake) => Ok(heard(handshake)),
        Unsigned::Denied => Err(Refused::Denied),
        Unsigned::Token(token) => {
            tracing::warn!(
                flow = target.published.name,
                trigger = target.trigger_id,
                "{} named the token that will sign its deliveries: `aura webhook show {}` shows it",
                scheme.title,
                target.published.name
            );
            target.offer(token);
            Ok(heard(Handshake { status: 200, body: String::new() }))
        }
    })
}

/// Whether a body names the token with which a vendor will sign: whoever reads it could act as the vendor. Where no
/// endpoint is known, the fields of all vendors count.
pub fn names_token(target: Option<&Target>, body: &[u8]) -> bool {
    let named = |scheme: &Scheme<'_>| match scheme.greeting {
        Greeting::Token { field } => signature::token(field, body).is_some(),
        _ => false,
    };
    match target.map(|target| &target.proof) {
        None => SCHEMES.iter().any(named),
        Some(Proof::Signed { scheme, .. }) => scheme.known().is_some_and(named),
        Some(_) => false,
    }
}

/// Whether this vendor has handshakes without a signature.
fn greets(scheme: &Scheme<'_>) -> bool {
    !matches!(scheme.greeting, Greeting::None | Greeting::Ping { .. })
}

/// A handshake's answer: plain text, which no browser takes for anything else.
pub fn heard(handshake: Handshake) -> Response {
    let status = StatusCode::from_u16(handshake.status).unwrap_or(StatusCode::OK);
    let mut response = (status, handshake.body).into_response();
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
        .headers_mut()
        .insert(HeaderName::from_static("x-content-type-options"), HeaderValue::from_static("nosniff"));
    response
}
