//! What is kept of a secret so that it can be found again: six bytes of each form and a keyed hash of the whole.
//!
//! The invariant: no form of a secret is kept. The automaton knows six bytes of it; whether the rest follows is asked
//! of an HMAC under a key that this process drew and never tells, so neither its memory nor its core shows more.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use aho_corasick::{AhoCorasick, Input};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::forms;

/// Bytes of a form that the automaton knows.
pub(super) const WINDOW: usize = forms::SHORTEST;

/// A keyed hash.
type Tag = [u8; 16];

/// The key of this process.
pub(super) struct Keyed(Hmac<Sha256>);

impl Keyed {
    /// A new one.
    pub fn new() -> Self {
        let mut key = zeroize::Zeroizing::new([0_u8; 64]);
        // Without randomness the hashes are only as good as SHA-256; secrets are found all the same.
        let _ = getrandom::fill(key.as_mut_slice());
        let block: &[u8; 64] = &key;
        Self(<Hmac<Sha256> as KeyInit>::new(block.into()))
    }

    pub fn tag(&self, bytes: &[u8]) -> Tag {
        let mut mac = self.0.clone();
        mac.update(bytes);
        let whole: [u8; 32] = mac.finalize().into_bytes().into();
        whole.first_chunk().copied().unwrap_or_default()
    }
}

/// One form of a secret.
struct Mark {
    window: [u8; WINDOW],
    /// Bytes of the form before the window.
    before: usize,
    length: usize,
    /// Asked before the hash: texts that only share the window are many where it is a usual word.
    ends: (u8, u8),
    tag: Tag,
}

/// One secret.
pub(super) struct Secret {
    /// Of the value itself.
    pub tag: Tag,
    /// When the vault was first seen without it.
    pub gone: Option<Instant>,
    spaced: bool,
    marks: Arc<[Mark]>,
}

impl Secret {
    /// What is kept of a value; `None` if it is not looked for.
    pub fn of(keyed: &Keyed, tag: Tag, value: &str) -> Option<Self> {
        let marks: Vec<Mark> = forms::forms(value).iter().filter_map(|form| mark(keyed, form)).collect();
        (!marks.is_empty()).then(|| Self { tag, gone: None, spaced: value.contains(' '), marks: marks.into() })
    }

    /// The same, since then no longer in the vault.
    pub fn with_gone(&self, gone: Option<Instant>) -> Self {
        Self { tag: self.tag, gone, spaced: self.spaced, marks: Arc::clone(&self.marks) }
    }
}

fn mark(keyed: &Keyed, form: &[u8]) -> Option<Mark> {
    // The window that is least like a word, the last of several: beginnings such as `sk_live_` are common to many.
    let odd = |window: &[u8]| {
        let digits = window.iter().filter(|byte| byte.is_ascii_digit()).count();
        let turns = window.iter().zip(window.iter().skip(1)).filter(|(a, b)| kind(**a) != kind(**b)).count();
        digits + 2 * turns
    };
    let (before, window) = form.windows(WINDOW).enumerate().max_by_key(|(_, window)| odd(window))?;
    let ends = (*form.first()?, *form.last()?);
    Some(Mark { window: window.try_into().ok()?, before, length: form.len(), ends, tag: keyed.tag(form) })
}

fn kind(byte: u8) -> u8 {
    match byte {
        b'a'..=b'z' => 0,
        b'A'..=b'Z' => 1,
        b'0'..=b'9' => 2,
        b',' | b' ' => 3,
        _ => 4,
    }
}

/// All secrets, ready to be looked for.
#[derive(Default)]
pub(super) struct Known {
    secrets: Vec<Secret>,
    automaton: Option<AhoCorasick>,
    /// By pattern of the automaton: where in `secrets` and which of its marks.
    places: Vec<Vec<(usize, usize)>>,
    /// One of them has a space, which forms write as `+`.
    pub spaced: bool,
}

impl Known {
    /// Ready to look for these.
    pub fn of(secrets: Vec<Secret>) -> Self {
        let mut numbers: HashMap<[u8; WINDOW], usize> = HashMap::new();
        let mut windows: Vec<[u8; WINDOW]> = Vec::new();
        let mut places: Vec<Vec<(usize, usize)>> = Vec::new();
        for (secret, known) in secrets.iter().enumerate() {
            for (place, mark) in known.marks.iter().enumerate() {
                let number = *numbers.entry(mark.window).or_insert_with(|| {
                    windows.push(mark.window);
                    places.push(Vec::new());
                    places.len() - 1
                });
                if let Some(places) = places.get_mut(number) {
                    places.push((secret, place));
                }
            }
        }
        let automaton = match windows.is_empty() {
            true => None,
            false => AhoCorasick::new(&windows)
                .inspect_err(|error| tracing::error!(%error, "secrets cannot be taken out of what leaves"))
                .ok(),
        };
        let spaced = secrets.iter().any(|secret| secret.spaced);
        Self { secrets, automaton, places, spaced }
    }

    /// All secrets.
    pub fn secrets(&self) -> &[Secret] {
        &self.secrets
    }

    /// Every place of a text at which a form of a secret stands.
    pub fn find(&self, keyed: &Keyed, text: &[u8], found: &mut impl FnMut(Range<usize>)) {
        let Some(automaton) = &self.automaton else { return };
        // All windows are of one length, so the next match never begins before the one found, nor within its first
        // byte: going on one byte behind misses none.
        let mut from = 0;
        while let Some(hit) = automaton.find(Input::new(text).range(from..)) {
            for (secret, place) in self.places.get(hit.pattern().as_usize()).into_iter().flatten() {
                let mark = self.secrets.get(*secret).and_then(|known| known.marks.get(*place));
                if let Some(range) = mark.and_then(|mark| mark.at(keyed, text, hit.start())) {
                    found(range);
                }
            }
            from = hit.start() + 1;
        }
    }
}

impl Mark {
    /// The form around its window, if it is there.
    fn at(&self, keyed: &Keyed, text: &[u8], window: usize) -> Option<Range<usize>> {
        let start = window.checked_sub(self.before)?;
        let range = start..start.checked_add(self.length)?;
        let form = text.get(range.clone())?;
        let ends = form.first() == Some(&self.ends.0) && form.last() == Some(&self.ends.1);
        (ends && keyed.tag(form) == self.tag).then_some(range)
    }
}
