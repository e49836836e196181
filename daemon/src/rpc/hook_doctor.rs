//! `aura webhook doctor`: an endpoint's public address proved end to end, one finding a check.
//!
//! Invariant: the probe leaves through the one egress client, to the operator's own `public_url` and nowhere else, and it
//! carries nothing of the installation; each finding that is not good says what to do.

mod certificate;

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use aura_integrations::http::{EgressPolicy, Http, HttpRequest, HttpResponse};
use aura_protocol::rpc::DoctorFinding;
use aura_protocol::{Code, WireError};
use url::Url;

use crate::catalog::routes::{Proof, Target};
use crate::http::probe::Arrived;
use crate::rpc::Service;

/// The whole probe may take this long.
const WITHIN: Duration = Duration::from_secs(20);
/// A certificate that ends sooner is warned of: 21 days, in seconds.
const SOON_S: i64 = 21 * 86_400;
/// A clock that is off by more is warned of, in seconds.
const CLOCK_S: i64 = 30;

fn finding(level: &str, subject: &str, message: impl Into<String>, hint: Option<&str>) -> DoctorFinding {
    DoctorFinding {
        level: level.to_owned(),
        subject: subject.to_owned(),
        message: message.into(),
        hint: hint.map(str::to_owned),
    }
}

/// What is sent: everything that something on the way might change.
fn body() -> Vec<u8> {
    b"{ \"probe\" : \"\xc3\xa4\xf0\x9f\x9a\x80\\u00e4\",\r\n\t\"number\" : 1.10,  \"a\":1, \"a\":2 }\r\n".to_vec()
}

/// Looks at an endpoint.
///
/// # Errors
/// No such endpoint, or too many look at the same time.
pub async fn look(service: &Service, name: &str) -> Result<Vec<DoctorFinding>, WireError> {
    let (flow, trigger) = name.split_once('/').map_or((name, None), |(flow, trigger)| (flow, Some(trigger)));
    let target = service.catalog.now().routes().of_flow(flow, trigger)?;
    let mut out = endpoint(service, &target);
    let public = service.reached.address();
    let said = !service.reached.outside().is_empty();
    let Ok(url) = Url::parse(&public) else {
        let text = format!("`public_url` is no address: {public}");
        out.push(finding("fail", "address", text, Some("set it as in https://hooks.example.com")));
        return Ok(out);
    };
    out.push(address(&url, said, service.reached.is_set()));
    out.push(names(&url).await);
    let mut bytes = [0_u8; 16];
    getrandom::fill(&mut bytes).map_err(|error| WireError::internal(format!("no randomness: {error}")))?;
    let nonce = aura_protocol::ids::crockford(u128::from_be_bytes(bytes)).to_ascii_lowercase();
    let Some(expected) = service.door.probes.expect(&nonce) else {
        return Err(WireError::new(Code::Busy, "too many probes are on their way").hint("try again in a moment"));
    };
    let (answer, began_s) = send(service, &url, &public, &nonce).await;
    let arrived = expected.take();
    match answer {
        Err(why) => out.push(finding(
            "fail",
            "reachable",
            format!("{public} was not reached from here: {why}"),
            Some("look at name, port, firewall and proxy; a router may refuse its own outer address from inside"),
        )),
        Ok(answer) => {
            if url.scheme() == "https" {
                out.push(tls(answer.certificate.as_deref(), began_s));
            }
            out.extend(answered(&answer, &nonce, arrived.as_ref()));
            out.push(clock(&target, &answer, began_s));
        }
    }
    if let Some(arrived) = arrived {
        out.push(exact(&arrived));
        out.push(forwarded(service, &target, &arrived, &public, &nonce));
    }
    Ok(out)
}

fn endpoint(service: &Service, target: &Target) -> Vec<DoctorFinding> {
    let state = service.catalog.now();
    let name = target.name();
    let mut out = vec![match (target.published.enabled, target.closed) {
        (false, _) => finding(
            "fail",
            "endpoint",
            format!("the flow of {name} is disabled: deliveries hear 404"),
            Some("aura flow enable"),
        ),
        (true, true) => {
            finding("fail", "endpoint", format!("{name} is closed: deliveries hear 404"), Some("aura webhook enable"))
        }
        (true, false) => finding("ok", "endpoint", format!("{name} takes deliveries"), None),
    }];
    out.push(match (&target.proof, target.proof.missing_secret(&state)) {
        (_, Some(missing)) => finding(
            "fail",
            "secret",
            format!("every delivery is refused: {missing}"),
            Some("set it with `aura connection add`"),
        ),
        (Proof::Open, None) => finding(
            "warn",
            "secret",
            "anybody who knows the address may send",
            Some("use a signature scheme, or `allow`"),
        ),
        (_, None) => finding("ok", "secret", format!("deliveries prove themselves by {}", target.proof.word()), None),
    });
    if !target.allow.is_empty() && service.door.proxies.is_empty() {
        let text = format!("{} networks may send, told by the other end of the connection", target.allow.len());
        out.push(finding("ok", "allow", text, Some("with a proxy in front set `trusted_proxies`, or nobody may send")));
    }
    out
}

fn address(url: &Url, said: bool, by_hand: bool) -> DoctorFinding {
    let here = matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
    match (said, url.scheme(), here) {
        (false, ..) => finding(
            "warn",
            "address",
            "`public_url` is not set: providers are shown the address at which the door listens",
            Some("set `public_url` to the address under which the internet reaches this daemon"),
        ),
        (true, "https", _) if !by_hand => finding("ok", "address", format!("the tunnel's address is {url}"), None),
        (true, "https", _) | (true, _, true) => finding("ok", "address", format!("`public_url` is {url}"), None),
        _ => finding(
            "warn",
            "address",
            format!("`public_url` is {url}: deliveries come in clear"),
            Some("put a proxy with TLS in front and set its https address"),
        ),
    }
}

async fn names(url: &Url) -> DoctorFinding {
    let host = url.host_str().unwrap_or_default().to_owned();
    let port = url.port_or_known_default().unwrap_or(443);
    let bare = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let found = tokio::time::timeout(Duration::from_secs(5), tokio::net::lookup_host((bare, port))).await;
    let mut addresses: Vec<String> = match found {
        Ok(Ok(found)) => found.map(|address| address.ip().to_string()).collect(),
        _ => Vec::new(),
    };
    addresses.sort();
    addresses.dedup();
    match addresses.as_slice() {
        [] => finding(
            "fail",
            "name",
            format!("{host} has no address"),
            Some("add its A or AAAA record, or correct `public_url`"),
        ),
        some => {
            let shown: Vec<&str> = some.iter().take(4).map(String::as_str).collect();
            finding("ok", "name", format!("{host} is {}", shown.join(", ")), None)
        }
    }
}

async fn send(service: &Service, url: &Url, public: &str, nonce: &str) -> (Result<HttpResponse, String>, i64) {
    // Whoever may set `public_url` may call it.
    let policy =
        EgressPolicy { allow_loopback: true, allow_hosts: url.host_str().map(str::to_owned).into_iter().collect() };
    let now = || jiff::Timestamp::now().as_second();
    let http = match Http::guarded(policy, service.catalog.sink().clone()) {
        Ok(http) => http,
        Err(error) => return (Err(error.message), now()),
    };
    let request = HttpRequest {
        method: "POST".to_owned(),
        url: format!("{public}/hooks/probe/{nonce}"),
        headers: vec![("content-type".to_owned(), "application/json".to_owned())],
        body: body(),
        timeout: WITHIN,
        redirects: 0,
    };
    let sent = AtomicBool::new(false);
    let answer = http.send(request, &sent).await.map_err(|(error, _)| error.message);
    (answer, now())
}

fn tls(certificate: Option<&[u8]>, now_s: i64) -> DoctorFinding {
    let Some(ends_s) = certificate.and_then(certificate::not_after_s) else {
        return finding("warn", "certificate", "it is taken, and its end could not be read", None);
    };
    let days = (ends_s - now_s).div_euclid(86_400);
    if ends_s - now_s < SOON_S {
        let hint = Some("renew it, and look why that did not happen by itself");
        return finding("warn", "certificate", format!("it ends in {days} days"), hint);
    }
    finding("ok", "certificate", format!("it is taken and ends in {days} days"), None)
}

fn answered(answer: &HttpResponse, nonce: &str, arrived: Option<&Arrived>) -> Vec<DoctorFinding> {
    let echoed = answer.body == nonce.as_bytes();
    vec![match (arrived, answer.status, echoed) {
        (Some(_), 200, true) => finding("ok", "reachable", "the probe came in here and its answer came back", None),
        (Some(_), status, _) => finding(
            "fail",
            "reachable",
            format!("the probe came in here, and another answer came back (status {status})"),
            Some("the proxy in front must hand our answers on as they are"),
        ),
        (None, status @ 300..400, _) => finding(
            "fail",
            "reachable",
            format!("it answers {status}: senders of webhooks follow no redirects"),
            Some("set `public_url` to the address to which it leads"),
        ),
        (None, status, _) => finding(
            "fail",
            "reachable",
            format!("something answered {status}, and the probe did not come in here"),
            Some("the name leads to another server, or the proxy in front does not hand /hooks/ on to this daemon"),
        ),
    }]
}

fn clock(target: &Target, answer: &HttpResponse, now_s: i64) -> DoctorFinding {
    let date = answer.header("date").and_then(|date| jiff::fmt::rfc2822::parse(date).ok());
    let window = match &target.proof {
        Proof::Signed { scheme, .. } => scheme.with(|scheme| scheme.window.map(|window| window.tolerance_s)).flatten(),
        _ => None,
    };
    let wants = window.map_or(String::new(), |s| format!("; its scheme takes times of up to {s} s"));
    let Some(date) = date else {
        return finding("ok", "clock", format!("the answer names no time{wants}"), None);
    };
    let apart = date.timestamp().as_second() - now_s;
    if apart.abs() > CLOCK_S {
        let text = format!("the clock of the server in front is {apart} s from ours{wants}");
        return finding("warn", "clock", text, Some("let both follow a time server (chrony, systemd-timesyncd)"));
    }
    finding("ok", "clock", format!("the answer's time is {apart} s from ours{wants}"), None)
}

fn exact(arrived: &Arrived) -> DoctorFinding {
    if arrived.body == body() {
        return finding("ok", "body", "it came in byte for byte", None);
    }
    finding(
        "fail",
        "body",
        "something on the way changed the body, so no signature can fit",
        Some("turn off what rewrites bodies in the proxy: compression, filters, firewalls for web applications"),
    )
}

fn forwarded(service: &Service, target: &Target, arrived: &Arrived, public: &str, nonce: &str) -> DoctorFinding {
    let has = |name: &str| arrived.headers.iter().any(|(have, _)| have == name);
    let by_proxy = has("x-forwarded-for") || has("forwarded") || has("via");
    let peer = arrived.peer.map_or("an unknown address".to_owned(), |peer| peer.to_string());
    let trusted = arrived.peer.is_some_and(|peer| service.door.proxies.trusts(peer));
    if by_proxy && !trusted {
        let text = format!("a proxy at {peer} brings deliveries and is not among `trusted_proxies`");
        let hint = "set `trusted_proxies`, else all senders count as one and `allow` looks at the proxy";
        return finding("warn", "proxy", text, Some(hint));
    }
    if trusted && !has("x-forwarded-for") {
        let text = format!("the proxy at {peer} does not say who sends");
        return finding("warn", "proxy", text, Some("have it set X-Forwarded-For"));
    }
    let wanted = format!("{public}/hooks/probe/{nonce}");
    if target.signs_address() && service.reached.outside().is_empty() && arrived.address != wanted {
        let text = format!("the scheme signs the address, and here it is {}", arrived.address);
        return finding("warn", "proxy", text, Some("set `public_url` to what the sender was given"));
    }
    let from = arrived.sender.map_or("an unknown address".to_owned(), |from| from.to_string());
    let way = if by_proxy { format!("through the proxy at {peer}") } else { "without a proxy".to_owned() };
    finding("ok", "proxy", format!("the probe came {way}, sent by {from}"), None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_answers_for_somebody_else_is_told_from_us() {
        let answer = |status, body: &[u8]| HttpResponse { status, body: body.to_vec(), ..HttpResponse::default() };
        let check = |arrived: Option<Arrived>, status, body: &[u8], level: &str, part: &str| {
            let found = answered(&answer(status, body), "n", arrived.as_ref());
            assert_eq!(found[0].level, level, "{found:?}");
            assert!(found[0].message.contains(part), "{found:?}");
            assert_eq!(found[0].hint.is_none(), level == "ok");
        };
        let here = Some(Arrived { body: body(), ..Arrived::default() });
        check(here.clone(), 200, b"n", "ok", "came in here");
        check(here, 200, b"<html>", "fail", "another answer");
        check(None, 200, b"n", "fail", "did not come in here");
        check(None, 301, b"", "fail", "no redirects");
        assert_eq!(exact(&Arrived { body: body(), ..Arrived::default() }).level, "ok");
        assert_eq!(exact(&Arrived { body: b"{}".to_vec(), ..Arrived::default() }).level, "fail");
    }
}
