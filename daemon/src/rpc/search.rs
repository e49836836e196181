//! Looking for runs: a filter over rows, by index where one value is asked for exactly, by a bounded look otherwise.
//!
//! Invariant: a look is bounded in runs, payloads and time, and an answer that did not look at everything says so. What
//! was left out is found by going on from `next`.

use std::cell::OnceCell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aura_protocol::filter::{Columns, Filter, Key as Word};
use aura_protocol::flow::Flow;
use aura_protocol::rpc::Bounded;
use aura_protocol::run::{Record, RunHead, RunStarted, Transition};
use aura_protocol::{Code, RunId, TenantId, Value, WireError, wire};
use aura_storage::rows::{IndexRow, index_key, journal_key, run_key};
use aura_storage::{Key, Store, Table};

use crate::catalog::{State, unreadable};
use crate::engine::limited::{SUBJECT, indexed};
use crate::rpc::eyes::Eyes;

/// Heads read at a time: stored heads are uncut.
const WINDOW: usize = 100;
/// Runs looked at for one answer, whatever its filter.
pub const LOOKED_AT: usize = 20_000;
/// Payloads read for one answer.
const PAYLOADS: usize = 4_000;
/// An answer that reads payloads takes at most so long.
const LONGEST: Duration = Duration::from_secs(2);
/// Runs of one index hash read at a time.
const INDEXED: usize = 1_000;

/// A filter and what it is judged by.
pub struct Search<'a> {
    store: &'a Store,
    state: Option<Arc<State>>,
    filter: Filter,
    now_ms: i64,
}

/// Where a look goes on, newest first.
pub struct Look {
    /// Behind this run.
    to: Key,
    /// The runs of an index, newest first; none: all runs.
    indexed: Option<Indexed>,
    window: std::vec::IntoIter<RunHead>,
    looked_at: usize,
    payloads: usize,
    began: Instant,
    last: Option<(RunId, i64)>,
    ended: bool,
}

/// Runs with the same index hash, newest first.
struct Indexed {
    from: Key,
    /// Behind what was read.
    to: Key,
    /// Those that were read.
    runs: std::vec::IntoIter<RunId>,
    ended: bool,
}

impl Indexed {
    fn next(&mut self, store: &Store) -> Result<Option<RunId>, WireError> {
        if self.runs.len() == 0 && !self.ended {
            let keys = store
                .scan::<IndexRow>(TenantId::DEFAULT, Table::Index, &self.from, &self.to, INDEXED, true)
                .map_err(|error| unreadable(&error))?;
            self.ended = keys.len() < INDEXED;
            if let Some((key, _)) = keys.last() {
                self.to = key.clone();
            }
            let runs: Vec<RunId> = keys.iter().filter_map(|(key, _)| key.id_at(32)).map(RunId::from_bytes).collect();
            self.runs = runs.into_iter();
        }
        Ok(self.runs.next())
    }
}

impl Look {
    /// The run looked at last.
    #[must_use]
    pub fn last(&self) -> Option<RunId> {
        self.last.map(|(run, _)| run)
    }

    /// Whether there may be more.
    #[must_use]
    pub fn has_more(&self) -> bool {
        !self.ended
    }

    /// How far it went, if that is not to the end.
    #[must_use]
    pub fn bounded(&self) -> Option<Bounded> {
        let (_, back_to_ms) = self.last.filter(|_| !self.ended)?;
        Some(Bounded { looked_at: u64::try_from(self.looked_at).unwrap_or(u64::MAX), back_to_ms })
    }
}

fn wrong(error: &aura_protocol::filter::FilterError) -> WireError {
    WireError::new(Code::Invalid, error.to_string())
        .hint("write for example 'state=failed flow=cart since=1h trigger.body.id=42'")
}

impl<'a> Search<'a> {
    /// Reads a filter; `state` has the labels of flows and says what is indexed.
    ///
    /// # Errors
    /// It is no filter.
    pub fn read(
        store: &'a Store,
        state: Option<Arc<State>>,
        text: Option<&str>,
        now_ms: i64,
    ) -> Result<Self, WireError> {
        let filter = Filter::read(text.unwrap_or_default()).map_err(|error| wrong(&error))?;
        Ok(Self { store, state, filter, now_ms })
    }

    /// Begins a look behind a run, or at the newest.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn begin(&self, before: Option<RunId>) -> Result<Look, WireError> {
        let tenant = TenantId::DEFAULT;
        let to = before.map_or_else(|| Key::tenant(tenant).after_prefix(), |run| run_key(tenant, run));
        let indexed = self.by_index().map(|hash| Indexed {
            from: index_key(tenant, hash, RunId::from_bytes([0; 16])),
            to: before.map_or_else(|| Key::tenant(tenant).id(hash).after_prefix(), |run| index_key(tenant, hash, run)),
            runs: Vec::new().into_iter(),
            ended: false,
        });
        Ok(Look {
            to,
            indexed,
            window: Vec::new().into_iter(),
            looked_at: 0,
            payloads: 0,
            began: Instant::now(),
            last: None,
            ended: false,
        })
    }

    /// The hash of a value that is asked for exactly and by which the flows in question are found.
    fn by_index(&self) -> Option<[u8; 16]> {
        let state = self.state.as_ref()?;
        let named = self.filter.flows();
        let mut narrowed = false;
        let published = state.flows().filter_map(|entry| entry.published.as_ref().map(|version| &version.flow));
        let flows: Vec<&Arc<Flow>> = published
            .filter(|flow| {
                let fits = self.filter.fits_flow(&flow.flow, &flow.labels);
                narrowed |= fits.is_some();
                fits != Some(false)
            })
            .collect();
        self.filter.equalities().find_map(|(key, text)| match key {
            Word::Subject => Some(indexed(self.store, TenantId::DEFAULT, SUBJECT, text)),
            Word::Payload(path) => {
                let declared = |flow: &&Arc<Flow>| flow.index.contains(path);
                // Without words about flows: of those that declare it; a flow that does not is asked for by its name.
                // One that is not there any more, or not published, may have runs too, and nobody knows under which
                // hashes.
                let is_there = |name: &String| flows.iter().any(|flow| flow.flow == *name);
                let known = match narrowed {
                    true => {
                        let all_there = named.is_none_or(|names| names.iter().all(is_there));
                        !flows.is_empty() && all_there && flows.iter().all(declared)
                    }
                    false => flows.iter().any(declared),
                };
                known.then(|| indexed(self.store, TenantId::DEFAULT, path, text))
            }
            _ => None,
        })
    }

    /// The next run that fits; none: there is none, or the look has gone far enough.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn next(&self, look: &mut Look) -> Result<Option<RunHead>, WireError> {
        let needs_payload = self.filter.needs_payload();
        let since = self.filter.since(self.now_ms);
        while !look.ended {
            let far = look.looked_at >= LOOKED_AT || look.payloads >= PAYLOADS;
            if far || (needs_payload && look.began.elapsed() > LONGEST) {
                return Ok(None);
            }
            let Some(head) = self.following(look)? else {
                look.ended = true;
                return Ok(None);
            };
            // Runs lie in the order in which they were created.
            if since.is_some_and(|since| head.created_ms < since) {
                look.ended = true;
                return Ok(None);
            }
            look.looked_at += 1;
            look.last = Some((head.run, head.created_ms));
            if !self.fits_row(&head) {
                continue;
            }
            if needs_payload {
                look.payloads += 1;
                if !self.fits_payload(&head)? {
                    continue;
                }
            }
            return Ok(Some(head));
        }
        Ok(None)
    }

    /// Whether a run fits.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn fits(&self, head: &RunHead) -> Result<bool, WireError> {
        Ok(self.fits_row(head) && (!self.filter.needs_payload() || self.fits_payload(head)?))
    }

    fn following(&self, look: &mut Look) -> Result<Option<RunHead>, WireError> {
        let tenant = TenantId::DEFAULT;
        if let Some(indexed) = &mut look.indexed {
            while let Some(run) = indexed.next(self.store)? {
                let head: Option<RunHead> =
                    self.store.get(tenant, Table::Runs, &run_key(tenant, run)).map_err(|error| unreadable(&error))?;
                if head.is_some() {
                    return Ok(head);
                }
            }
            return Ok(None);
        }
        if let Some(head) = look.window.next() {
            return Ok(Some(head));
        }
        let rows: Vec<(Key, RunHead)> = self
            .store
            .scan(tenant, Table::Runs, &Key::tenant(tenant), &look.to, WINDOW, true)
            .map_err(|error| unreadable(&error))?;
        if let Some((key, _)) = rows.last() {
            look.to = key.clone();
        }
        let heads: Vec<RunHead> = rows.into_iter().map(|(_, head)| head).collect();
        look.window = heads.into_iter();
        Ok(look.window.next())
    }

    fn fits_row(&self, head: &RunHead) -> bool {
        let entry = self.state.as_ref().and_then(|state| state.entry(head.flow_id));
        let labels = entry.and_then(|entry| entry.published.as_ref()).map(|version| &version.flow.labels);
        if head.error.is_none() {
            return self.filter.row(&Columns::of(head, labels), self.now_ms);
        }
        let mut seen = head.clone();
        Eyes::anybody().head(self.store, &mut seen);
        self.filter.row(&Columns::of(&seen, labels), self.now_ms)
    }

    fn fits_payload(&self, head: &RunHead) -> Result<bool, WireError> {
        let tenant = TenantId::DEFAULT;
        let (from, to) = (journal_key(tenant, head.run, 0), run_key(tenant, head.run).after_prefix());
        let rows: Vec<(Key, Transition)> =
            self.store.scan(tenant, Table::Journal, &from, &to, 1, false).map_err(|error| unreadable(&error))?;
        let started = rows.iter().flat_map(|(_, transition)| &transition.records).find_map(|record| match record {
            Record::RunStarted(started) => Some(started),
            _ => None,
        });
        let Some(started) = started else { return Ok(false) };
        let trigger = OnceCell::new();
        let subject = |text: &str| started.index.contains(&indexed(self.store, tenant, SUBJECT, text));
        // Whoever asks may compare with what anybody may see only: one by one, comparisons tell a link.
        let seen = |mut value: Value| {
            Eyes::anybody().value(self.store, &mut value);
            value
        };
        let read = |root: &str| match root {
            "trigger" => trigger.get_or_init(|| seen(self.trigger(started))).clone(),
            "input" => seen(self.loaded(&started.input)),
            // Whom it is about is stored as a hash only: equality is all that can be asked.
            SUBJECT => {
                let asked = self.filter.equalities().find(|(key, _)| **key == Word::Subject);
                asked.filter(|(_, text)| subject(text)).map_or(Value::Null, |(_, text)| Value::from(text))
            }
            _ => Value::Null,
        };
        Ok(self.filter.payload(&read))
    }

    fn trigger(&self, started: &RunStarted) -> Value {
        let mut event = started.event.clone();
        if let Some(blob) = event.blob.take() {
            event.body = self.store.blob(TenantId::DEFAULT, blob).ok().flatten().unwrap_or_default();
        }
        event.to_trigger()
    }

    fn loaded(&self, value: &Value) -> Value {
        let read = |blob| -> Result<Value, WireError> {
            let content = self.store.blob(TenantId::DEFAULT, blob).map_err(|error| unreadable(&error))?;
            Ok(content.and_then(|content| wire::decode(&content).ok()).unwrap_or_default())
        };
        value.loaded(&mut { read }).unwrap_or_default()
    }
}
