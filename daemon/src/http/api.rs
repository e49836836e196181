//! The API's own listener: health and numbers, on the loopback only, apart from the one that strangers reach.
//!
//! The invariant: a request whose `Host` is not this listener's own is refused, so that a page in somebody's
//! browser cannot reach it under a name of its own (DNS rebinding).

use std::net::IpAddr;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::{CONTENT_TYPE, HOST};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use crate::http::answer::Refused;
use crate::http::counters::resident_bytes;
use crate::http::{Door, ready};

impl Door {
    /// The routes of the API's listener; `hosts` are names under which it may be called, besides the loopback's.
    pub fn api(&self, hosts: Vec<String>) -> Router {
        Router::new()
            .route("/healthz", get(|| async { "ok\n" }))
            .route("/readyz", get(ready))
            .route("/metrics", get(metrics))
            .fallback(|| async { Refused::NotFound.into_response() })
            .method_not_allowed_fallback(|| async { Refused::NotFound.into_response() })
            .with_state(self.clone())
            .layer(from_fn_with_state(std::sync::Arc::<[String]>::from(hosts), own_host))
    }
}

async fn own_host(State(hosts): State<std::sync::Arc<[String]>>, request: Request, next: Next) -> Response {
    let mut given = request.headers().get_all(HOST).iter();
    let host = given.next().and_then(|value| value.to_str().ok()).unwrap_or_default();
    if given.next().is_some() || !is_own(host, &hosts) {
        let sentence = "this listener is called by its own address only; see the setting `api_hosts`\n";
        return (StatusCode::MISDIRECTED_REQUEST, sentence).into_response();
    }
    next.run(request).await
}

/// Whether a `Host` is this machine's loopback or one of the names that the operator gave.
fn is_own(host: &str, hosts: &[String]) -> bool {
    let (name, port) = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((six, port)) => (six, port.strip_prefix(':').unwrap_or(port)),
        None => host.rsplit_once(':').unwrap_or((host, "")),
    };
    if !port.bytes().all(|byte| byte.is_ascii_digit()) {
        return false;
    }
    name.eq_ignore_ascii_case("localhost")
        || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
        || hosts.iter().any(|own| own.eq_ignore_ascii_case(name))
}

async fn metrics(State(door): State<Door>) -> Response {
    let (deliveries, bytes) = door.in_flight.used();
    let number = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    let mut gauges = vec![
        ("deliveries_at_work", "gauge", "Deliveries at work now.", number(deliveries)),
        ("deliveries_at_work_bytes", "gauge", "Bytes of bodies in memory now.", number(bytes)),
        (
            "calls_waiting",
            "gauge",
            "Calls that wait for one of the places of calls_max.",
            number(door.engine.calls_waiting()),
        ),
        (
            "outgoing_at_work",
            "gauge",
            "Attempts of outgoing webhooks at work now.",
            number(door.engine.sends_at_work()),
        ),
        ("memory_resident_bytes", "gauge", "Memory of the process that is in use.", resident_bytes()),
    ];
    if let Some(here) = &door.relay {
        let waiting = here.queue().waiting();
        gauges.push(("relay_waiting", "gauge", "Deliveries that wait for the daemon at home.", waiting.count));
        gauges.push(("relay_waiting_bytes", "gauge", "Bytes of those that wait for it.", waiting.bytes));
    }
    let text = door.counters.text(&gauges);
    let mut response = text.into_response();
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_own_names_are_answered() {
        let hosts = ["aura.intern".to_owned()];
        for host in
            ["localhost", "LOCALHOST:8471", "127.0.0.1:8471", "127.9.9.9", "[::1]:8471", "[::1]", "aura.intern:80"]
        {
            assert!(is_own(host, &hosts), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "evil.example:8471",
            "localhost.evil.example",
            "10.0.0.1",
            "localhost:80:80",
            "[::1",
            "[::2]",
            "127.0.0.1:x",
        ] {
            assert!(!is_own(host, &hosts), "{host}");
        }
    }
}
