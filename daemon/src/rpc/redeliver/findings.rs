//! Why a signature does not fit, found by trying: with which change it would.
//!
//! Invariant: tried only when a person looks at one delivery, over what is kept; nothing here lets anything in, and a
//! finding names a secret's place, never its value.

use aura_protocol::Value;
use aura_protocol::rpc::Verdict;
use aura_protocol::signature::{self, Request};

use crate::catalog::routes::{Proof, Secret, Target};
use crate::rpc::Shared;
use crate::rpc::deliveries::Kept;

/// Other connections whose secrets are tried.
const OTHERS: usize = 200;

/// What was found about a refused delivery.
pub fn of(shared: &Shared, kept: &Kept) -> Vec<String> {
    let mut found = Vec::new();
    if kept.row.verdict != Verdict::Digest || !kept.whole {
        return found;
    }
    let state = shared.catalog.now();
    let Ok(target) = state.routes().of_flow(&kept.row.flow, Some(&kept.row.trigger)) else { return found };
    let Proof::Signed { secret, .. } = &target.proof else { return found };
    let own: Vec<String> = secret.values(&state, kept.proof_ms).iter().map(|it| it.as_str().to_owned()).collect();
    let tried = Tried { target: &target, kept };
    if own.iter().any(|secret| tried.fits(secret, &kept.body, &kept.url)) {
        found.push("the secret of now fits: `aura webhook replay` takes it in".to_owned());
        return found;
    }
    for own in &own {
        if own.trim() != own && tried.fits(own.trim(), &kept.body, &kept.url) {
            found.push("it fits without the blanks around our secret: set the secret again".to_owned());
        }
        for (body, said) in bodies(&kept.body) {
            if tried.fits(own, &body, &kept.url) {
                found.push(format!("the body fits {said}: something on the way changes it"));
            }
        }
        for (url, said) in addresses(&kept.url) {
            if tried.fits(own, &kept.body, &url) {
                found.push(format!("the address fits {said}: set `public_url` to what the sender was given"));
            }
        }
    }
    let names = state.connections().filter(|record| record.name != secret.connection).take(OTHERS);
    for record in names {
        for (field, value) in &record.secrets {
            let other = Secret { connection: record.name.clone(), field: field.clone() };
            if tried.fits(value, &kept.body, &kept.url) {
                found.push(format!("it is signed with `{}` of the connection {}", other.field, other.connection));
            }
        }
    }
    if found.is_empty() {
        found.push(
            "no other secret here fits, nor a body with other line ends: the sender has another secret".to_owned(),
        );
    }
    found
}

struct Tried<'a> {
    target: &'a Target,
    kept: &'a Kept,
}

impl Tried<'_> {
    fn fits(&self, secret: &str, body: &[u8], url: &str) -> bool {
        let Proof::Signed { scheme, .. } = &self.target.proof else { return false };
        let request = Request { method: &self.kept.row.method, url, headers: &self.kept.headers, body };
        let tried = scheme.with(|known| signature::verify(known, &[secret], &request, self.kept.proof_ms, None));
        !secret.is_empty() && tried.is_some_and(|verdict| verdict.is_ok())
    }
}

/// What proxies and frameworks make of a body.
fn bodies(body: &[u8]) -> Vec<(Vec<u8>, &'static str)> {
    let mut out = Vec::new();
    let text = String::from_utf8_lossy(body);
    out.push((text.trim_end().as_bytes().to_vec(), "without the line end behind it"));
    out.push(([body, b"\n"].concat(), "with a line end behind it"));
    out.push((text.replace("\r\n", "\n").into_bytes(), "with LF in place of CRLF"));
    out.push((text.replace("\r\n", "\n").replace('\n', "\r\n").into_bytes(), "with CRLF in place of LF"));
    if let Ok(value) = Value::from_json(body) {
        out.push((value.to_json().into_bytes(), "as JSON without blanks"));
        out.push((value.to_json_pretty().into_bytes(), "as JSON over several lines"));
    }
    out.retain(|(changed, _)| changed != body);
    out
}

fn addresses(url: &str) -> Vec<(String, &'static str)> {
    let mut out = Vec::new();
    if let Some(rest) = url.strip_prefix("http://") {
        out.push((format!("https://{rest}"), "with https"));
    }
    if let Some(rest) = url.strip_prefix("https://") {
        out.push((format!("http://{rest}"), "with http"));
    }
    if let Some((whole, _)) = url.split_once('?') {
        out.push((whole.to_owned(), "without its query"));
    }
    out.push((format!("{url}/"), "with a slash behind it"));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_tried_differs_from_what_came() {
        for body in [&b"{\"a\": 1}\n"[..], b"{}", b"", b"\xff"] {
            assert!(bodies(body).iter().all(|(changed, _)| changed != body), "{body:?}");
        }
        let with: Vec<Vec<u8>> = bodies(b"{\"a\": 1}\n").into_iter().map(|(changed, _)| changed).collect();
        assert!(with.contains(&b"{\"a\": 1}".to_vec()) && with.contains(&b"{\"a\":1}".to_vec()));
        assert!(addresses("http://a/b?c=d").iter().any(|(url, _)| url == "https://a/b?c=d"));
    }
}
