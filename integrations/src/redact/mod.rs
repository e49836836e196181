//! The one sink for secrets: whatever leaves the daemon passes it, and no value of the vault is left in it.
//!
//! The invariant: whoever cuts a text cuts it after this, so that no part of a secret is left over at the cut. Looked
//! for is every value of the vault ([`Sink::replace`]) as it is, in base64 at its three alignments (so also within
//! basic authentication), in hex, as a list of bytes, and all of these percent-, form-, JSON- or HTML-escaped, also
//! in part and twice. `forms` says what is too short to be looked for, `marks` what is kept of a secret.
//! With an empty vault each function costs one atomic read.

mod forms;
mod marks;
mod views;

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use aura_protocol::run::StepError;
use aura_protocol::value::Value;

use crate::http::HttpResponse;
use marks::{Keyed, Known, Secret};
use views::View;

/// What stands for a secret that was taken out.
pub const HIDDEN: &str = "[secret]";

/// A value that left the vault is looked for at least this long: calls at work may still bring it back.
const KEPT: Duration = Duration::from_secs(60 * 60);
/// Escapes within escapes are undone this often.
const LEVELS: usize = 3;

/// How a value is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Watched {
    /// In every form.
    Whole,
    /// Encoded only: as it is it could be a word or a number of everyday texts.
    Encoded,
    /// Not at all: it is too short.
    Never,
}

/// How a value will be looked for.
#[must_use]
pub fn watched(value: &str) -> Watched {
    if value.len() < forms::SHORTEST {
        Watched::Never
    } else if forms::is_plain(value) {
        Watched::Encoded
    } else {
        Watched::Whole
    }
}

/// The sink. Clones are the same sink.
#[derive(Clone)]
pub struct Sink(Arc<Inner>);

struct Inner {
    keyed: Keyed,
    /// There is something to look for.
    armed: AtomicBool,
    /// It never learns anything.
    broken: bool,
    known: RwLock<Arc<Known>>,
    /// One change at a time; who looks for secrets never waits for it.
    changing: Mutex<()>,
}

impl std::fmt::Debug for Sink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sink(***)")
    }
}

impl Default for Sink {
    fn default() -> Self {
        Self::new(false)
    }
}

impl Sink {
    fn new(broken: bool) -> Self {
        let (known, changing) = (RwLock::default(), Mutex::default());
        Self(Arc::new(Inner { keyed: Keyed::new(), armed: AtomicBool::new(false), broken, known, changing }))
    }

    /// A sink that lets everything pass: a deliberate bug, with which tests prove that they would see a secret.
    #[doc(hidden)]
    #[must_use]
    pub fn broken() -> Self {
        Self::new(true)
    }

    /// Whether there is anything to look for.
    #[must_use]
    pub fn is_armed(&self) -> bool {
        self.0.armed.load(Ordering::Acquire)
    }

    /// Looks from now on for these values: all of the vault, those of a rotation that still count included. What is
    /// not among them any more is looked for an hour longer.
    pub fn replace<'a>(&self, values: impl Iterator<Item = &'a str>) {
        if self.0.broken {
            return;
        }
        let (keyed, now) = (&self.0.keyed, Instant::now());
        let _one = self.0.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let place = Arc::clone(&self.0.known.read().unwrap_or_else(PoisonError::into_inner));
        let before: HashMap<_, _> = place.secrets().iter().map(|known| (known.tag, known)).collect();
        let mut wanted = HashSet::new();
        let mut secrets = Vec::new();
        let mut changed = false;
        for value in values {
            let tag = keyed.tag(value.as_bytes());
            if !wanted.insert(tag) {
                continue;
            }
            match before.get(&tag) {
                Some(known) => {
                    changed |= known.gone.is_some();
                    secrets.push(known.with_gone(None));
                }
                None => {
                    let new = Secret::of(keyed, tag, value);
                    changed |= new.is_some();
                    secrets.extend(new);
                }
            }
        }
        for known in before.into_values().filter(|known| !wanted.contains(&known.tag)) {
            let gone = known.gone.unwrap_or(now);
            let kept = now.duration_since(gone) < KEPT;
            changed |= known.gone.is_none() || !kept;
            if kept {
                secrets.push(known.with_gone(Some(gone)));
            }
        }
        if changed {
            let armed = !secrets.is_empty();
            let known = Arc::new(Known::of(secrets));
            *self.0.known.write().unwrap_or_else(PoisonError::into_inner) = known;
            self.0.armed.store(armed, Ordering::Release);
        }
    }

    fn known(&self) -> Option<Arc<Known>> {
        let known = || Arc::clone(&self.0.known.read().unwrap_or_else(PoisonError::into_inner));
        self.is_armed().then(known)
    }

    /// Where secrets stand, in order and apart.
    fn places(&self, text: &[u8]) -> Vec<Range<usize>> {
        let (mut found, keyed) = (Vec::new(), &self.0.keyed);
        let Some(known) = self.known() else { return found };
        known.find(keyed, text, &mut |range| found.push(range));
        let mut views: Vec<View> = Vec::new();
        for _ in 0..LEVELS {
            let source = views.last().map_or(text, |view| view.bytes.as_slice());
            let down = |range: Range<usize>| views.iter().rev().fold(range, |range, view| view.source(&range));
            if known.spaced
                && let Some(form) = View::of(source, true)
            {
                known.find(keyed, &form.bytes, &mut |range| found.push(down(form.source(&range))));
            }
            let Some(view) = View::of(source, false) else { break };
            known.find(keyed, &view.bytes, &mut |range| found.push(down(view.source(&range))));
            views.push(view);
        }
        found.sort_unstable_by_key(|range| (range.start, range.end));
        found.dedup_by(|next, kept| {
            let within = next.start < kept.end;
            if within {
                kept.end = kept.end.max(next.end);
            }
            within
        });
        found
    }

    /// Whether a secret stands in it.
    #[must_use]
    pub fn finds(&self, text: &[u8]) -> bool {
        !self.places(text).is_empty()
    }

    /// Bytes without secrets.
    #[must_use]
    pub fn bytes<'a>(&self, text: &'a [u8]) -> Cow<'a, [u8]> {
        let places = self.places(text);
        if places.is_empty() {
            return Cow::Borrowed(text);
        }
        let mut out = Vec::with_capacity(text.len());
        let mut copied = 0;
        for range in places {
            out.extend_from_slice(text.get(copied..range.start).unwrap_or_default());
            out.extend_from_slice(HIDDEN.as_bytes());
            copied = range.end;
        }
        out.extend_from_slice(text.get(copied..).unwrap_or_default());
        Cow::Owned(out)
    }

    /// A text without secrets.
    #[must_use]
    pub fn text<'a>(&self, text: &'a str) -> Cow<'a, str> {
        match self.bytes(text.as_bytes()) {
            Cow::Borrowed(_) => Cow::Borrowed(text),
            Cow::Owned(bytes) => Cow::Owned(String::from_utf8_lossy(&bytes).into_owned()),
        }
    }

    /// Takes secrets out of a text.
    pub fn hide(&self, text: &mut String) {
        if let Cow::Owned(clean) = self.text(text) {
            *text = clean;
        }
    }

    /// Takes secrets out of every text and key of a value, and numbers that hold one.
    pub fn value(&self, value: &mut Value) {
        match value {
            Value::Str(text) => self.hide(text),
            Value::List(items) => items.iter_mut().for_each(|item| self.value(item)),
            Value::Map(map) => {
                if map.keys().any(|key| matches!(self.text(key), Cow::Owned(_))) {
                    *map = std::mem::take(map)
                        .into_iter()
                        .map(|(key, value)| (self.text(&key).into_owned(), value))
                        .collect();
                }
                map.values_mut().for_each(|item| self.value(item));
            }
            Value::Int(_) | Value::Dec(_) => {
                if self.finds(value.to_json().as_bytes()) {
                    *value = Value::from(HIDDEN);
                }
            }
            Value::Null | Value::Bool(_) | Value::Blob(_) => {}
        }
    }

    /// Takes secrets out of an error, its details included.
    pub fn error(&self, error: &mut StepError) {
        if !self.is_armed() {
            return;
        }
        self.hide(&mut error.message);
        if let Some(code) = &mut error.code {
            self.hide(code);
        }
        if let Some(detail) = &mut error.detail {
            self.value(detail);
        }
    }

    /// Takes secrets out of what a peer answered; its body is read once if there is nothing. JSON stays JSON, unless
    /// the secret stands across its texts, as a list of numbers does.
    pub fn answer(&self, response: &mut HttpResponse) {
        if !self.is_armed() {
            return;
        }
        for (_, value) in &mut response.headers {
            self.hide(value);
        }
        if let Cow::Owned(clean) = self.bytes(&response.body) {
            // A secret that stands there as a number would leave a hole in the JSON.
            response.body = match Value::from_json(&response.body) {
                Ok(mut value) => {
                    self.value(&mut value);
                    let text = value.to_json().into_bytes();
                    if self.finds(&text) { clean } else { text }
                }
                Err(_) => clean,
            };
        }
    }
}
