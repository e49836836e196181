//! Finds the links of ours in what is shown: whoever holds one ends a wait, or decides in somebody's name.
//!
//! Invariant: only what verifies as ours is replaced, wherever it stands in a text and whatever stands around it. Of a
//! token nothing stays: who knows the most of one could guess the rest.

use aura_protocol::{RunId, TenantId};
use aura_storage::Store;

use super::{asked, callbacks};

/// Stands for a link of ours.
pub(crate) const LINK: &str = "[link]";
/// Fewer characters are no token: run, keyed hash, and a step of one letter.
const SHORTEST: usize = 44;
/// More characters are none.
const LONGEST: usize = asked::TOKEN_MAX;
/// So many of these are looked behind.
const BEHIND_MAX: usize = 32;
/// What text may put right behind a link (`_…_`) that is a letter of a token, too.
const BEHIND: [char; 2] = ['_', '-'];

/// What a link lets whoever has it do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Link {
    /// End a wait.
    Callback,
    /// Decide in the name of this account.
    Approval(String),
}

/// The same bytes without the links that `hidden` wants out; `None` if there is none.
pub(crate) fn without(store: &Store, tenant: TenantId, text: &[u8], hidden: &dyn Fn(&Link) -> bool) -> Option<Vec<u8>> {
    let mut out: Option<Vec<u8>> = None;
    let mut kept = 0;
    let mut at = 0;
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        let length = rest.iter().take_while(|byte| is_letter(**byte)).count();
        let word = rest.get(..length).unwrap_or_default();
        if let Some(found) = found(store, tenant, word).filter(|(link, _)| hidden(link)).map(|(_, length)| length) {
            let out = out.get_or_insert_default();
            out.extend_from_slice(text.get(kept..at).unwrap_or_default());
            out.extend_from_slice(LINK.as_bytes());
            kept = at + found;
        }
        at += length + 1;
    }
    let mut out = out?;
    out.extend_from_slice(text.get(kept..).unwrap_or_default());
    Some(out)
}

fn is_letter(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')
}

/// The link that a word begins with, and how many letters of it are the token.
fn found(store: &Store, tenant: TenantId, word: &[u8]) -> Option<(Link, usize)> {
    if !(SHORTEST..=LONGEST + BEHIND.len()).contains(&word.len()) {
        return None;
    }
    let mut word = std::str::from_utf8(word).ok()?;
    for _ in 0..BEHIND_MAX {
        if let Some(link) = link(store, tenant, word) {
            return Some((link, word.len()));
        }
        word = word.strip_suffix(BEHIND)?;
    }
    None
}

fn link(store: &Store, tenant: TenantId, word: &str) -> Option<Link> {
    if !begins_with_a_run(word) {
        return None;
    }
    if callbacks::opened(store, tenant, word).is_some() {
        return Some(Link::Callback);
    }
    asked::opened(store, tenant, word).map(|(_, _, account)| Link::Approval(account))
}

/// Most words are none: a run's id says its kind in its first bytes, and costs no hash to look at.
fn begins_with_a_run(word: &str) -> bool {
    use base64::Engine as _;
    let first = word.get(..24).and_then(|first| base64::prelude::BASE64_URL_SAFE_NO_PAD.decode(first).ok());
    let id = first.and_then(|bytes| bytes.first_chunk::<16>().copied());
    id.is_some_and(|id| RunId::from_bytes(id).0.get_version_num() == 7)
}

/// An address that ends a wait.
#[cfg(test)]
pub(crate) fn made(store: &Store) -> String {
    use super::core::scope::Links as _;
    let links = callbacks::DoorLinks { store: store.clone(), tenant: TenantId::DEFAULT, base: "http://a".into() };
    links.callback(RunId::now(), "a")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use aura_storage::StoreOptions;

    use super::super::core::scope::Links;
    use super::*;

    #[tokio::test]
    async fn a_link_of_ours_is_found_wherever_it_stands_and_nothing_else_is() {
        let store = Store::open(&StoreOptions::in_memory([7; 32])).unwrap();
        let other = Store::open(&StoreOptions::in_memory([8; 32])).unwrap();
        let links = |store: &Store| callbacks::DoorLinks {
            store: store.clone(),
            tenant: TenantId::DEFAULT,
            base: Arc::from("https://a.example/"),
        };
        let run = RunId::now();
        let ours = links(&store);
        let all = |text: &str| without(&store, TenantId::DEFAULT, text.as_bytes(), &|_| true);
        let token = |link: String| link.rsplit('/').next().unwrap().to_owned();
        for path in ["a", "ask", "ask[ä]", "wait[some longer key][1]", "paid"] {
            for link in [ours.callback(run, path), ours.approval(run, path, "anna@shop.example")] {
                let token = token(link.clone());
                let check = |text: &str, expected: &str| {
                    let shown = all(text).map(|shown| String::from_utf8(shown).unwrap());
                    assert_eq!(shown.as_deref(), Some(expected), "{text}");
                };
                check(&token, LINK);
                check(&format!("see {link}."), &format!("see {}.", link.replace(&token, LINK)));
                check(&format!("_{}_ ä {link}", "x").replace("_x_", &format!("{link}_")), &{
                    let shown = link.replace(&token, LINK);
                    format!("{shown}_ ä {shown}")
                });
                check(&format!(r#"{{"l":"https:\/\/a.example\/a\/{token}","m":1}}"#), &{
                    format!(r#"{{"l":"https:\/\/a.example\/a\/{LINK}","m":1}}"#)
                });
                check(&format!("u=https%3A%2F%2Fa.example%2Fa%2F?t={token}&x"), &{
                    format!("u=https%3A%2F%2Fa.example%2Fa%2F?t={LINK}&x")
                });
                let mut forged = token.clone().into_bytes();
                forged[30] = if forged[30] == b'A' { b'B' } else { b'A' };
                assert_eq!(all(std::str::from_utf8(&forged).unwrap()), None);
            }
        }
        assert_eq!(all(&links(&other).callback(run, "a")), None, "of another installation");
        assert_eq!(all("nothing at all, ä"), None);
        assert_eq!(all(&"x".repeat(100_000)), None);
        let (mine, theirs) = (ours.approval(run, "ask", "ben"), ours.approval(run, "ask", "carl"));
        let text = format!("{mine} {theirs}");
        let hidden = |link: &Link| *link != Link::Approval("ben".to_owned());
        let shown = without(&store, TenantId::DEFAULT, text.as_bytes(), &hidden).unwrap();
        assert_eq!(
            String::from_utf8(shown).unwrap(),
            format!("{mine} {}", theirs.replace(&token(theirs.clone()), LINK))
        );
        assert!(begins_with_a_run(&token(mine)) && !begins_with_a_run(&"A".repeat(60)));
    }
}
