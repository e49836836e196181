//! Probes of our own: `aura webhook doctor` sends one to the public address and looks here what arrived.
//!
//! Invariant: a nonce that nobody waits for hears what every unknown address hears; what arrives is only measured, and
//! that it arrives in this process is the proof that it is this daemon that answers.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use axum::extract::{Path, Request, State};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};

use super::Door;
use super::answer::Refused;
use super::body;
use super::intake::{Route, all_headers};
use super::peer::Peer;

/// Probes at the same time.
const PROBES: usize = 16;
/// Largest body of a probe.
const BODY_MAX: usize = 16 * 1024;

/// What arrived.
#[derive(Clone, Debug, Default)]
pub struct Arrived {
    /// Other end of the connection.
    pub peer: Option<IpAddr>,
    /// Headers.
    pub headers: Vec<(String, String)>,
    /// Body.
    pub body: Vec<u8>,
    /// The address as the door takes it for proofs.
    pub address: String,
    /// Who sent it, as the door takes it.
    pub sender: Option<IpAddr>,
}

/// Probes on their way.
#[derive(Debug, Default)]
pub struct Probes(Mutex<HashMap<String, Option<Arrived>>>);

impl Probes {
    fn all(&self) -> std::sync::MutexGuard<'_, HashMap<String, Option<Arrived>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a nonce until the answer is dropped; `None` if too many wait.
    pub fn expect<'a>(&'a self, nonce: &'a str) -> Option<Expected<'a>> {
        let mut all = self.all();
        if all.len() >= PROBES {
            return None;
        }
        all.insert(nonce.to_owned(), None);
        Some(Expected { probes: self, nonce })
    }
}

/// A probe on its way. Whoever asked may be gone before it arrives: its place is free again in any case.
#[derive(Debug)]
pub struct Expected<'a> {
    probes: &'a Probes,
    nonce: &'a str,
}

impl Expected<'_> {
    /// What arrived; nobody waits for it any more.
    #[must_use]
    pub fn take(self) -> Option<Arrived> {
        self.probes.all().remove(self.nonce).flatten()
    }
}

impl Drop for Expected<'_> {
    fn drop(&mut self) {
        self.probes.all().remove(self.nonce);
    }
}

/// `POST /hooks/probe/{nonce}`.
pub async fn endpoint(State(door): State<Door>, path: Route<String>, request: Request) -> Response {
    let nonce = path.ok().map(|Path(nonce)| nonce).filter(|nonce| door.probes.all().contains_key(nonce));
    let (Some(nonce), &Method::POST) = (nonce, request.method()) else {
        return Refused::NotFound.into_response();
    };
    let (head, mut sent) = request.into_parts();
    let Some(mut place) = door.in_flight.enter() else { return Refused::Busy(1).into_response() };
    let (body, whole) = body::some(&mut sent, BODY_MAX, &door.limits, &mut place).await;
    let arrived = Arrived {
        peer: head.extensions.get::<Peer>().map(|peer| peer.0.to_canonical()),
        sender: super::meet::sender(&door, &head),
        address: door.proxies.address("", &head),
        headers: all_headers(&head.headers),
        body: if whole { body } else { Vec::new() },
    };
    if let Some(slot) = door.probes.all().get_mut(&nonce) {
        *slot = Some(arrived);
    }
    (StatusCode::OK, nonce).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_that_nobody_waits_for_any_more_gives_its_place_back() {
        let probes = Probes::default();
        for _ in 0..3 {
            let nonces: Vec<String> = (0..PROBES).map(|number| number.to_string()).collect();
            let held: Vec<_> = nonces.iter().map(|nonce| probes.expect(nonce).unwrap()).collect();
            assert!(probes.expect("more").is_none());
            drop(held);
        }
        let expected = probes.expect("one").unwrap();
        probes.all().insert("one".to_owned(), Some(Arrived::default()));
        assert!(expected.take().is_some() && probes.all().is_empty());
    }
}
