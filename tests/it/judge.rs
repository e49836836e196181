//! Judges what kills left behind, from evidence only: the senders' acks, the receiver's log, the kill
//! times, and the reopened store.
//!
//! The one invariant: nothing of `aura_daemon` is used, so a mistake there cannot excuse itself. Each rule
//! of issue 2, bar 2 is one function that gives its faults as sentences; the tests below prove for each
//! rule that it finds a doctored fault.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::Path;

use aura_protocol::event::{EventRow, EventState};
use aura_protocol::flow::Effect;
use aura_protocol::run::{Record, RunHead, RunState, Transition};
use aura_protocol::{EventId, RunId, TenantId};
use aura_storage::rows::{journal_key, run_key};
use aura_storage::{Key, Store, StoreOptions, Table, Txn};

use crate::support::daemon::MASTER;
use crate::support::{Request, block_on};

mod proof;

/// A delivery whose promise was heard.
#[derive(Clone, Debug)]
pub struct Acked {
    /// The sender's number of the message; its body holds it as `n`.
    pub message: u64,
    /// The event that was promised.
    pub event: EventId,
}

/// A run as the store has it.
#[derive(Clone, Debug)]
pub struct StoredRun {
    /// List row.
    pub head: RunHead,
    /// All transitions that exist, with the number in their key.
    pub journal: Vec<(u64, Transition)>,
}

impl StoredRun {
    fn records(&self) -> impl Iterator<Item = (i64, &Record)> {
        self.journal.iter().flat_map(|(_, step)| step.records.iter().map(|record| (step.at_ms, record)))
    }

    /// Every event that became part of the run.
    fn events(&self) -> BTreeSet<EventId> {
        let mut events = BTreeSet::from([self.head.event]);
        for (_, record) in self.records() {
            if let Record::RunStarted(started) = record {
                events.insert(started.event.event);
                events.extend(&started.events);
            }
        }
        events
    }

    /// The sender's number in the body of the event accepted last.
    fn message(&self) -> Option<u64> {
        self.records().find_map(|(_, record)| match record {
            Record::RunStarted(started) => {
                serde_json::from_slice::<serde_json::Value>(&started.event.body).ok()?.get("n")?.as_u64()
            }
            _ => None,
        })
    }

    /// Keys and effects by step, as they were scheduled.
    fn scheduled(&self) -> BTreeMap<&str, (&str, Effect)> {
        self.records()
            .filter_map(|(_, record)| match record {
                Record::Scheduled { path, key, effect, .. } => Some((path.as_str(), (key.as_str(), *effect))),
                _ => None,
            })
            .collect()
    }
}

/// Everything that is known after the last kill.
#[derive(Clone, Debug, Default)]
pub struct Evidence {
    /// Promises heard by the senders.
    pub acks: Vec<Acked>,
    /// When the daemon was killed, Unix milliseconds.
    pub kills: Vec<i64>,
    /// What the receiver saw, in order.
    pub requests: Vec<Request>,
    /// Runs of the store.
    pub runs: Vec<StoredRun>,
    /// Events recorded as dropped.
    pub dropped: HashSet<EventId>,
    /// Runs with a live row.
    pub live: HashSet<RunId>,
    /// Faults that were found by reading the store.
    pub reading: Vec<String>,
}

/// Gives the faults of one kind.
type Rule = fn(&Evidence) -> Vec<String>;

const PAGE: usize = 500;

/// All rows of a table of the default tenant.
fn all<T: serde::de::DeserializeOwned>(store: &Store, table: Table, from: &Key, to: &Key) -> Vec<(Key, T)> {
    let mut rows = Vec::new();
    let mut from = from.clone();
    loop {
        let page: Vec<(Key, T)> =
            store.scan(TenantId::DEFAULT, table, &from, to, PAGE, false).unwrap_or_else(|error| panic!("{error}"));
        let last = page.last().map(|(key, _)| key.clone());
        let full = page.len() == PAGE;
        rows.extend(page);
        match last {
            Some(last) if full => {
                from = last;
                from.0.push(0);
            }
            _ => return rows,
        }
    }
}

impl Evidence {
    /// Adds what the closed store of a data directory holds.
    pub fn read(&mut self, data: &Path, master: [u8; 32]) {
        let store = open(data, master);
        for finding in store.check(true).expect("a check").into_iter().filter(|finding| finding.damage) {
            self.reading.push(format!("{}: {}", finding.subject, finding.message));
        }
        let tenant = Key::tenant(TenantId::DEFAULT);
        let heads: Vec<(Key, RunHead)> = all(&store, Table::Runs, &tenant, &tenant.after_prefix());
        for (key, head) in heads {
            if key != run_key(TenantId::DEFAULT, head.run) {
                self.reading.push(format!("{} lies under another key", head.run));
            }
            let first = journal_key(TenantId::DEFAULT, head.run, 0);
            let end = run_key(TenantId::DEFAULT, head.run).after_prefix();
            let journal: Vec<(Key, Transition)> = all(&store, Table::Journal, &first, &end);
            let journal =
                journal.into_iter().map(|(key, step)| (key.number_at(32).unwrap_or(u64::MAX), step)).collect();
            self.runs.push(StoredRun { head, journal });
        }
        let events: Vec<(Key, EventRow)> = all(&store, Table::Events, &tenant, &tenant.after_prefix());
        self.dropped
            .extend(events.into_iter().filter(|(_, row)| row.state == EventState::Dropped).map(|(_, row)| row.event));
        let live: Vec<(Key, aura_storage::rows::LiveRow)> = all(&store, Table::Live, &tenant, &tenant.after_prefix());
        self.live.extend(live.iter().filter_map(|(key, _)| key.id_at(16)).map(RunId::from_bytes));
        block_on(store.close());
    }

    /// Every fault, by rule.
    pub fn faults(&self) -> Vec<String> {
        let rules: [(&str, Rule); 9] = [
            ("the store is sound", |evidence| evidence.reading.clone()),
            ("journal numbers have no gaps", Self::gaps),
            ("every acked event has exactly one run or was dropped", Self::lost),
            ("every message has one run", Self::doubled),
            ("every run is finished or in doubt", Self::unfinished),
            ("only an interrupted `once` step is in doubt", Self::doubt),
            ("each `once` key reached the receiver at most once", Self::once),
            ("a recorded result is never sent again", Self::resent),
            ("keys are equal over attempts and what is recorded as done was done", Self::keys),
        ];
        rules
            .iter()
            .flat_map(|(rule, judge)| judge(self).into_iter().map(move |fault| format!("{rule}: {fault}")))
            .collect()
    }

    fn gaps(&self) -> Vec<String> {
        let mut faults = Vec::new();
        for StoredRun { head, journal } in &self.runs {
            // A run that had to queue keeps what it was accepted with as transition 0.
            let first = u64::from(journal.first().is_none_or(|(number, _)| *number != 0));
            for (expected, (number, step)) in (first..).zip(journal) {
                if *number != expected || step.number != expected {
                    faults.push(format!("{}: number {expected} is {number} ({})", head.run, step.number));
                }
            }
            if Some(head.transition) != journal.last().map(|(number, _)| *number) {
                faults.push(format!("{}: its row says {}, it has {}", head.run, head.transition, journal.len()));
            }
        }
        faults
    }

    fn lost(&self) -> Vec<String> {
        let mut owners: HashMap<EventId, Vec<RunId>> = HashMap::new();
        for run in &self.runs {
            for event in run.events() {
                owners.entry(event).or_default().push(run.head.run);
            }
        }
        let mut faults = Vec::new();
        for acked in &self.acks {
            let runs = owners.get(&acked.event).map_or(&[][..], Vec::as_slice);
            if runs.len() + usize::from(self.dropped.contains(&acked.event)) != 1 {
                faults.push(format!("{} of message {} belongs to {runs:?}", acked.event, acked.message));
            }
        }
        for (event, runs) in owners.iter().filter(|(_, runs)| runs.len() > 1) {
            faults.push(format!("{event} belongs to {runs:?}"));
        }
        faults
    }

    fn doubled(&self) -> Vec<String> {
        let mut owners: HashMap<u64, Vec<RunId>> = HashMap::new();
        for run in &self.runs {
            match run.message() {
                Some(message) => owners.entry(message).or_default().push(run.head.run),
                None => owners.entry(u64::MAX).or_default().push(run.head.run),
            }
        }
        let mut events: HashMap<u64, BTreeSet<EventId>> = HashMap::new();
        for acked in &self.acks {
            events.entry(acked.message).or_default().insert(acked.event);
        }
        let runs = owners.into_iter().filter(|(_, runs)| runs.len() > 1);
        let acks = events.into_iter().filter(|(_, events)| events.len() > 1);
        runs.map(|(message, runs)| format!("message {message} began {runs:?}"))
            .chain(acks.map(|(message, events)| format!("message {message} was promised as {events:?}")))
            .collect()
    }

    fn unfinished(&self) -> Vec<String> {
        let mut faults = Vec::new();
        for run in &self.runs {
            let head = &run.head;
            if head.state != RunState::Succeeded && head.state != RunState::InDoubt {
                faults.push(format!("{} is {}: {:?} {:?}", head.run, head.state.word(), head.blocked_by, head.error));
            }
            if head.state.is_final() == self.live.contains(&head.run) {
                faults.push(format!("{} is {} and its live row says otherwise", head.run, head.state.word()));
            }
            let ended = run.records().any(|(_, record)| matches!(record, Record::RunFinished { .. }));
            if ended != head.state.is_final() {
                faults.push(format!("{} is {} and its journal says otherwise", head.run, head.state.word()));
            }
        }
        faults
    }

    fn doubt(&self) -> Vec<String> {
        let mut faults = Vec::new();
        for run in &self.runs {
            let scheduled = run.scheduled();
            let mut started: HashMap<&str, i64> = HashMap::new();
            for (at_ms, record) in run.records() {
                match record {
                    Record::Started { path, .. } => _ = started.insert(path, at_ms),
                    // An answer was recorded: no doubt about that attempt is possible any more.
                    Record::Completed { path, .. } | Record::Failed { path, .. } => _ = started.remove(path.as_str()),
                    Record::InDoubt { path, .. } => {
                        let effect = scheduled.get(path.as_str()).map(|(_, effect)| *effect);
                        if effect != Some(Effect::Once) {
                            faults.push(format!("{} {path} is {effect:?}", run.head.run));
                        }
                        match started.get(path.as_str()) {
                            None => faults.push(format!("{} {path} had no attempt without an answer", run.head.run)),
                            Some(begin) if !self.kills.iter().any(|kill| (*begin..=at_ms).contains(kill)) => {
                                faults.push(format!("{} {path} without a kill in {begin}..={at_ms}", run.head.run));
                            }
                            Some(_) => {}
                        }
                    }
                    _ => {}
                }
            }
        }
        faults
    }

    fn once(&self) -> Vec<String> {
        let once: HashSet<&str> = self
            .runs
            .iter()
            .flat_map(|run| run.scheduled().into_values())
            .filter(|(_, effect)| *effect == Effect::Once)
            .map(|(key, _)| key)
            .collect();
        let mut seen: HashMap<&str, usize> = HashMap::new();
        for request in self.requests.iter().filter(|request| once.contains(request.key())) {
            *seen.entry(request.key()).or_default() += 1;
        }
        seen.into_iter().filter(|(_, times)| *times > 1).map(|(key, times)| format!("{key} {times} times")).collect()
    }

    fn resent(&self) -> Vec<String> {
        let mut last: HashMap<&str, &Request> = HashMap::new();
        for request in &self.requests {
            last.insert(request.key(), request);
        }
        let mut faults = Vec::new();
        for run in &self.runs {
            let scheduled = run.scheduled();
            for (at_ms, record) in run.records() {
                let (Record::Completed { path, .. } | Record::Failed { path, retry_at_ms: None, .. }) = record else {
                    continue;
                };
                let Some((key, _)) = scheduled.get(path.as_str()) else { continue };
                if let Some(request) = last.get(key).filter(|request| request.at_ms > at_ms) {
                    let late = request.at_ms - at_ms;
                    faults.push(format!("{} {path} was sent again {late} ms after its result", run.head.run));
                }
            }
        }
        faults
    }

    fn keys(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let mut owner: HashMap<&str, (RunId, &str)> = HashMap::new();
        for run in &self.runs {
            for (path, (key, _)) in run.scheduled() {
                if let Some(other) = owner.insert(key, (run.head.run, path)) {
                    faults.push(format!("{key} is the key of {other:?} and of {} {path}", run.head.run));
                }
            }
            let mut keys: HashMap<&str, BTreeSet<&str>> = HashMap::new();
            for (_, record) in run.records() {
                if let Record::Scheduled { path, key, .. } = record {
                    keys.entry(path).or_default().insert(key);
                }
            }
            for (path, keys) in keys.into_iter().filter(|(_, keys)| keys.len() > 1) {
                faults.push(format!("{} {path} was scheduled with {keys:?}", run.head.run));
            }
        }
        let mut arrived: HashSet<&str> = HashSet::new();
        let mut by_call: HashMap<(&str, u64), BTreeSet<&str>> = HashMap::new();
        for request in &self.requests {
            match owner.get(request.key()) {
                None => faults.push(format!("{} {} came with the key of no step", request.path, request.key())),
                Some((run, path)) if request.path.trim_start_matches('/') != *path => {
                    faults.push(format!("{} came with the key of {run} {path}", request.path));
                }
                Some(_) => {}
            }
            if let Some(body) = &request.body {
                arrived.insert(request.key());
                let body: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
                let message = body.get("n").and_then(serde_json::Value::as_u64).unwrap_or(u64::MAX);
                by_call.entry((&request.path, message)).or_default().insert(request.key());
            }
        }
        for ((path, message), keys) in by_call.into_iter().filter(|(_, keys)| keys.len() > 1) {
            faults.push(format!("{path} of message {message} came with {keys:?}"));
        }
        for run in &self.runs {
            let scheduled = run.scheduled();
            for (_, record) in run.records() {
                let Record::Completed { path, .. } = record else { continue };
                if let Some((key, _)) = scheduled.get(path.as_str()).filter(|(key, _)| !arrived.contains(key)) {
                    faults.push(format!("{} {path} is recorded as done but {key} never arrived", run.head.run));
                }
            }
        }
        faults
    }
}

fn open(data: &Path, master: [u8; 32]) -> Store {
    let options = StoreOptions { queue_max: 16, ..StoreOptions::in_dir(data, master) };
    Store::open(&options).unwrap_or_else(|error| panic!("the store does not open: {error}"))
}

/// The row of an event in a closed store, if it has one.
pub fn event(data: &Path, id: &str) -> Option<EventRow> {
    let store = open(data, MASTER);
    let id: EventId = id.parse().expect("an event id");
    let key = Key::tenant(TenantId::DEFAULT).id(id.bytes());
    let row = store.get(TenantId::DEFAULT, Table::Events, &key).unwrap_or_else(|error| panic!("{error}"));
    block_on(store.close());
    row
}

/// Makes a closed store look as if a later program had written it.
pub fn make_newer(data: &Path) {
    #[derive(serde::Serialize)]
    struct Schema {
        schema: u32,
        program: String,
    }
    let store = open(data, MASTER);
    let mut txn = Txn::new();
    let later = Schema { schema: 999, program: "9.9.9".into() };
    store.put(&mut txn, TenantId::DEFAULT, Table::Meta, Key::new().number(1), &later).expect("a row");
    block_on(store.commit(txn)).expect("a commit");
    block_on(store.close());
}

/// Takes rows out of a closed store as a changed byte in its tree does: nothing else knows of it.
pub fn vanish(data: &Path, rows: impl FnOnce(&Store) -> Vec<(Table, Key)>) {
    let store = open(data, MASTER);
    let mut txn = Txn::new();
    txn.deletes = rows(&store);
    block_on(store.commit(txn)).expect("a commit");
    block_on(store.close());
}
