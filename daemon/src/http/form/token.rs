//! The token of a page: a random number and the time, with a keyed hash that only this installation can make.
//!
//! Invariant: nothing of it is stored. Two sendings of one page with the same words are one event, whatever browser,
//! reload or second click made them.

use aura_protocol::Value;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use sha2::{Digest, Sha256};

use crate::catalog::Catalog;

/// A page counts for so long.
const OPEN_MS: i64 = 24 * 3_600_000;
/// Bytes before the hash: random ones and a time.
const HEAD: usize = 16 + 8;

/// How a token is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token {
    /// Ours, and young enough.
    Good,
    /// Ours, and too old.
    Old,
    /// Not ours.
    Foreign,
}

/// A new token for a page.
pub(super) fn new(catalog: &Catalog, endpoint: &str, now_ms: i64) -> String {
    let mut head = Vec::with_capacity(HEAD + 16);
    let mut random = [0_u8; 16];
    let _ = getrandom::fill(&mut random);
    head.extend_from_slice(&random);
    head.extend_from_slice(&now_ms.to_be_bytes());
    let mac = catalog.page_mac(endpoint, &head);
    head.extend_from_slice(&mac);
    BASE64.encode(head)
}

/// Judges a token that came back.
pub(super) fn judge(catalog: &Catalog, endpoint: &str, text: &str, now_ms: i64) -> Token {
    let bytes = if text.len() <= 128 { BASE64.decode(text).unwrap_or_default() } else { Vec::new() };
    let Some((head, mac)) = bytes.split_at_checked(HEAD) else { return Token::Foreign };
    let wanted = catalog.page_mac(endpoint, head);
    if !bool::from(subtle::ConstantTimeEq::ct_eq(wanted.as_slice(), mac)) {
        return Token::Foreign;
    }
    let made = head.get(16..).and_then(|time| time.try_into().ok()).map_or(0, i64::from_be_bytes);
    let age = now_ms.saturating_sub(made);
    if (-OPEN_MS..=OPEN_MS).contains(&age) { Token::Good } else { Token::Old }
}

/// What tells repeats of a sending: the page and what was written.
pub(super) fn repeat(token: &str, values: &Value) -> String {
    let digest =
        Sha256::new().chain_update(token).chain_update([0]).chain_update(values.to_canonical_json()).finalize();
    BASE64.encode(digest)
}
