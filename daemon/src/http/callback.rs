//! `POST /c/{code}`: whoever has the address of a wait ends it, once.
//!
//! The address is its own proof. Success is said only after the commit; a repeat is answered and changes nothing.
//! Only `POST`: programs that look at links must not end anything.

use axum::Json;
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::engine::CalledBack;
use crate::http::Door;
use crate::http::answer::{self, Refused};
use crate::http::intake::{Route, check_body, check_coding, check_single, read};

/// Takes one call.
pub async fn callback(State(door): State<Door>, path: Route<String>, request: Request) -> Response {
    let outcome = match path {
        Ok(code) if request.method() == Method::POST => take(&door, code.0, request).await,
        _ => Err(Refused::NotFound),
    };
    answer::clean(door.catalog.sink(), outcome.unwrap_or_else(IntoResponse::into_response)).await
}

async fn take(door: &Door, code: String, request: Request) -> Result<Response, Refused> {
    let (head, body) = request.into_parts();
    check_single(&head.headers, std::iter::empty())?;
    check_coding(&head.headers, false)?;
    let body_max = door.limits.body_max.min(door.limits.in_flight_bytes);
    let (_of_client, _place, body) = read(door, &head, body, body_max).await?;
    let json = check_body(&head.headers, &body)?;
    let text = || String::from_utf8_lossy(&body).into_owned();
    let data = json.unwrap_or_else(|| if body.is_empty() { aura_protocol::Value::Null } else { text().into() });
    match door.engine.called_back(code, data).await? {
        CalledBack::Taken => Ok((StatusCode::OK, Json(json!({ "state": "taken" }))).into_response()),
        CalledBack::Repeated => Ok((StatusCode::OK, Json(json!({ "state": "duplicate" }))).into_response()),
        CalledBack::Over => Err(Refused::Over),
        CalledBack::Unknown => Err(Refused::NotFound),
    }
}
