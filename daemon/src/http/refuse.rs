//! What the log of deliveries is told of a refused one, and of one that came where no endpoint is.
//!
//! Invariant: the answer is decided before, and is the same whether it is kept or not. A header whose reader could act
//! as the sender is never kept: of its value only an index hash, so that a claim can still tell whether a secret fits.
//! Nor is a body that names the token with which a vendor will sign.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use aura_integrations::redact::HIDDEN;
use aura_protocol::rpc::Verdict;
use aura_protocol::{DeliveryId, TenantId};
use aura_storage::rows::RefusedRow;
use aura_storage::rows::relay::TakenRow;
use aura_storage::{Key, Store};
use axum::body::Body;
use axum::extract::Request;
use axum::http::{Method, request};

use super::intake::{all_headers, is_private};
use super::log::{BODY_KEPT, Group, Promised};
use super::meet::{Turned, sender};
use super::{Door, body, greet};
use crate::catalog::routes::Target;

/// Longest path and query that are kept, in bytes.
const ADDRESS_KEPT: usize = 4096;

/// Where a request went.
pub(super) enum Found {
    /// To an endpoint.
    At(Arc<Target>),
    /// To an address that an endpoint had before.
    Over(Arc<Target>),
    /// Where no endpoint is.
    Nowhere,
}

/// Index hash of the value of a header that is not kept, written so that equal secrets have equal hashes.
#[must_use]
pub(crate) fn withheld(store: &Store, name: &str, value: &str) -> [u8; 16] {
    let value = value.trim();
    let (word, rest) = match name {
        "authorization" => value.split_once(' ').unwrap_or(("", value)),
        _ => ("", value),
    };
    let parts = [name.as_bytes(), word.to_ascii_lowercase().into_bytes().as_slice(), rest.trim().as_bytes()].concat();
    store.index_hash(TenantId::DEFAULT, "withheld header", &[&parts])
}

impl Door {
    /// Tells the log of a refused delivery of an endpoint.
    pub(super) fn log_refused(&self, target: &Target, head: &request::Parts, turned: Turned, began: Instant) {
        let status = turned.refused.status().as_u16();
        target.seen.refused.fetch_add(1, Relaxed);
        self.log_one(target, head, (turned.verdict, turned.why, status), turned.body, began);
    }

    /// Tells the log of a handshake, which is no event.
    pub(super) fn log_greeted(&self, target: &Target, head: &request::Parts, body: Option<Vec<u8>>, began: Instant) {
        let why = "answered as a handshake; it is no event".to_owned();
        self.log_one(target, head, (Verdict::Handshake, why, 200), body, began);
    }

    fn log_one(
        &self,
        target: &Target,
        head: &request::Parts,
        (verdict, why, status): (Verdict, String, u16),
        body: Option<Vec<u8>>,
        began: Instant,
    ) {
        target.seen.last_ms.store(self.clock.now_ms(), Relaxed);
        let from = sender(self, head);
        let group = Group::Endpoint(target.flow, target.trigger_id.clone());
        // A listener of a draft has no endpoint, and nothing of it is kept.
        if target.endpoint.is_empty() || !self.keeps(&group, from) {
            return;
        }
        let (whole, body) = match body {
            Some(body) => (true, body),
            None => (false, Vec::new()),
        };
        let row = self.row(Some(target), head, (verdict, why, status), (body.len(), whole), from, began);
        self.keep(Some(target), row, body);
    }

    /// Whether one more may be kept: neither without room for it, as nothing else is stored then, nor beyond the rates.
    fn keeps(&self, group: &Group, from: Option<IpAddr>) -> bool {
        if self.engine.is_tight() {
            self.log.lost();
            return false;
        }
        self.log.takes(group, from)
    }

    fn keep(&self, target: Option<&Target>, mut row: RefusedRow, mut body: Vec<u8>) {
        shorten(target, &mut row, &mut body);
        self.log.refused(row, body);
    }

    fn row(
        &self,
        target: Option<&Target>,
        head: &request::Parts,
        (verdict, why, status): (Verdict, String, u16),
        (bytes, whole): (usize, bool),
        from: Option<IpAddr>,
        began: Instant,
    ) -> RefusedRow {
        let own = target.and_then(|target| target.proof.private_header());
        let (mut headers, mut hidden) = (Vec::new(), Vec::new());
        for (name, value) in all_headers(&head.headers) {
            if is_private(&name, own) || (sounds_private(&name) && !target.is_some_and(|it| it.looks_at(&name))) {
                let hash = withheld(self.catalog.store(), &name, &value);
                hidden.push((name, hash));
            } else {
                headers.push((name, value));
            }
        }
        let cut = |text: &str| {
            let end = (0..=text.len().min(ADDRESS_KEPT)).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
            text.get(..end).unwrap_or_default().to_owned()
        };
        RefusedRow {
            id: DeliveryId::now(),
            at_ms: self.clock.now_ms(),
            proof_ms: self.clock.wall_ms(),
            flow: target.map(|target| target.flow),
            name: target.map(|target| target.published.name.clone()).unwrap_or_default(),
            trigger: target.map(|target| target.trigger_id.clone()).unwrap_or_default(),
            method: head.method.as_str().to_owned(),
            path: cut(head.uri.path()),
            query: cut(&shown_query(head.uri.query().unwrap_or_default())),
            url: cut(&self.proxies.address(&self.reached.outside(), head)),
            headers,
            withheld: hidden,
            from: from.map(|from| from.to_string()).unwrap_or_default(),
            status,
            verdict,
            why,
            took_us: u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX),
            bytes: u64::try_from(bytes).unwrap_or(u64::MAX),
            whole,
            claimed: None,
        }
    }

    /// Keeps for a while what came where nothing takes it, so that somebody can claim it. What its sender hears is the
    /// same 404 in any case.
    pub(super) async fn nowhere(&self, found: Found, request: Request, began: Instant) {
        let (head, mut body) = request.into_parts();
        let target = match &found {
            Found::At(target) | Found::Over(target) => Some(target.as_ref()),
            Found::Nowhere => None,
        };
        if let Some(target) = target {
            target.seen.refused.fetch_add(1, Relaxed);
        }
        if head.method != Method::POST || (target.is_none() && !self.known_host(&head)) {
            return;
        }
        let verdict = match (&found, target) {
            (Found::Over(_), _) => Verdict::AddressOver,
            (_, Some(target)) if !target.published.enabled => Verdict::Disabled,
            (_, Some(_)) => Verdict::Closed,
            (_, None) => Verdict::NoEndpoint,
        };
        let from = sender(self, &head);
        let group = target.map_or(Group::Nowhere, |it| Group::Endpoint(it.flow, it.trigger_id.clone()));
        if !self.keeps(&group, from) {
            return;
        }
        let (kept, whole) = self.some_of(&mut body).await;
        let why = match verdict {
            Verdict::AddressOver => "this address was rotated, and its time is over",
            Verdict::Disabled => "the flow is disabled",
            Verdict::Closed => "the endpoint is closed",
            _ => "no endpoint has this address",
        };
        let row = self.row(target, &head, (verdict, why.to_owned(), 404), (kept.len(), whole), from, began);
        self.keep(target, row, kept);
    }

    async fn some_of(&self, body: &mut Body) -> (Vec<u8>, bool) {
        match self.in_flight.enter() {
            Some(mut place) => body::some(body, BODY_KEPT, &self.limits, &mut place).await,
            None => (Vec::new(), false),
        }
    }

    /// What is kept of a delivery that a relay had taken and that can never become an event here. Its sender was answered
    /// long ago, so nothing is left out but what no row may hold.
    pub(crate) fn promised(&self, mut row: RefusedRow, mut body: Vec<u8>, taken: (Key, TakenRow)) -> Promised {
        row.query = shown_query(&row.query);
        let headers = std::mem::take(&mut row.headers);
        for (name, value) in headers {
            if is_private(&name, None) || sounds_private(&name) {
                let hash = withheld(self.catalog.store(), &name, &value);
                row.withheld.push((name, hash));
            } else {
                row.headers.push((name, value));
            }
        }
        shorten(None, &mut row, &mut body);
        Promised { row, body, taken }
    }

    /// Whether a request was meant for us: under our own name if we have one, or from this machine.
    fn known_host(&self, head: &request::Parts) -> bool {
        let outside = self.reached.outside();
        let Some(own) = outside.split("://").nth(1).and_then(|rest| rest.split('/').next()) else {
            return true;
        };
        let asked = self.proxies.address("", head);
        let asked = asked.split("://").nth(1).and_then(|rest| rest.split('/').next()).unwrap_or_default();
        let name = |host: &str| host.rsplit_once(':').map_or(host, |(name, _)| name).to_ascii_lowercase();
        name(asked) == name(own) || matches!(name(asked).as_str(), "localhost" | "127.0.0.1" | "[::1]")
    }
}

/// Leaves of a body what the log keeps of it.
fn shorten(target: Option<&Target>, row: &mut RefusedRow, body: &mut Vec<u8>) {
    if greet::names_token(target, body) {
        row.whole = false;
        *body = Vec::new();
    }
    if body.len() > BODY_KEPT {
        row.whole = false;
        body.truncate(BODY_KEPT);
        body.shrink_to_fit();
    }
}

/// A query without the values of parameters that sound like secrets; the rest of it byte for byte. The whole address is
/// kept for proofs that cover it, and shown to nobody.
fn shown_query(query: &str) -> String {
    let part = |part: &str| {
        let name = part.split_once('=').map_or("", |(name, _)| name);
        let plain =
            form_urlencoded::parse(name.as_bytes()).next().map_or(String::new(), |(name, _)| name.to_lowercase());
        if sounds_private(&plain) { format!("{name}={HIDDEN}") } else { part.to_owned() }
    };
    query.split('&').map(part).collect::<Vec<_>>().join("&")
}

/// Whether the name of a header or parameter sounds as if its value were a secret. Signatures prove one body only.
fn sounds_private(name: &str) -> bool {
    let signs = ["sign", "hmac", "digest"].iter().any(|word| name.contains(word));
    !signs
        && ["token", "secret", "key", "auth", "password", "session"].iter().any(|word| name.contains(word))
        && !matches!(name, "idempotency-key")
}

#[cfg(test)]
mod tests {
    use aura_storage::StoreOptions;

    use super::*;

    #[test]
    fn what_sounds_like_a_secret_is_not_kept_and_equal_secrets_have_equal_hashes() {
        for name in ["x-hook-key", "x-my-token", "app-secret", "x-auth", "x-password"] {
            assert!(sounds_private(name), "{name}");
        }
        for name in ["x-auth-signature", "x-key-hmac", "idempotency-key", "content-type", "x-shopify-topic"] {
            assert!(!sounds_private(name), "{name}");
        }
        for (query, shown) in [
            ("", ""),
            ("a=1&b&=c", "a=1&b&=c"),
            ("hub.mode=subscribe&hub.verify_token=agreed", "hub.mode=subscribe&hub.verify_token=[secret]"),
            ("Access%5FToken=x%20y&n=%41", "Access%5FToken=[secret]&n=%41"),
            ("signature=s&api_key=k&key=", "signature=s&api_key=[secret]&key=[secret]"),
        ] {
            assert_eq!(shown_query(query), shown);
        }
        let store = Store::open(&StoreOptions::in_memory([7; 32])).unwrap();
        let of = |value: &str| withheld(&store, "authorization", value);
        assert_eq!(of("Bearer abc"), of("bearer  abc "));
        assert_ne!(of("Bearer abc"), of("Bearer abd"));
        assert_ne!(of("Bearer abc"), of("Basic abc"));
        assert_ne!(withheld(&store, "x-a", "abc"), withheld(&store, "x-b", "abc"));
    }
}
