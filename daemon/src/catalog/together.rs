//! Changes that are more than one draft: many files at once, a version published again.
//!
//! Invariant: each is decided on one picture of the catalog and stored in one transaction, all of it or nothing; then
//! one swap makes it visible.

use std::collections::BTreeSet;
use std::sync::Arc;

use aura_protocol::flow::diff::{FlowDiff, diff};
use aura_protocol::flow::{Finding, Flow, Severity};
use aura_protocol::rpc::{Actor, FLOWS_AT_ONCE, FlowFiles, FlowRow, FlowText, FlowVersion, PlannedFlow, VersionOf};
use aura_protocol::text::display;
use aura_protocol::{Code, FlowId, Value, WireError};
use aura_storage::rows::{FlowRecord, Publication};
use aura_storage::{Key, Table, TailEntry, Txn};

use crate::catalog::edit::uncommitted;
use crate::catalog::routes::{Proof, Routes};
use crate::catalog::{Catalog, State, definition, unreadable, version_key};

impl Catalog {
    /// Stores many texts as drafts, and publishes them if wanted: all of them or none.
    ///
    /// # Errors
    /// One of them is refused (the sentence names its flow), two are of one flow, or they are not stored.
    pub async fn apply_all(&self, actor: &Actor, files: &FlowFiles) -> Result<Vec<FlowRow>, WireError> {
        too_many(&files.texts)?;
        let _one = self.editing().await?;
        let (store, tenant) = (&self.0.store, actor.tenant);
        let mut state = State::clone(&self.now());
        let mut txn = Txn::new();
        let mut rows: Vec<FlowRow> = Vec::new();
        for text in &files.texts {
            let named = |error: WireError| name_it(error, text);
            let mut entry = self.drafted(&state, text).map_err(named)?;
            let name = entry.record.flow.clone();
            if rows.iter().any(|row| row.flow == name) {
                let message = format!("two of the files are of the flow {name}; nothing was stored");
                return Err(WireError::new(Code::Invalid, message).hint("keep one of them"));
            }
            let new = !state.flows.contains_key(&entry.record.id);
            if let (true, Some(draft)) = (files.publish, entry.record.draft.clone()) {
                let record = FlowRecord { draft: None, ..entry.record.clone() };
                entry = self.published_as(&state, record, draft, &actor.name, "").map_err(named)?;
            }
            let id = entry.record.id;
            let key = Key::tenant(tenant).id(id.bytes());
            if new {
                txn.expect_absent(Table::Flows, key.clone());
            } else {
                txn.expect_present(Table::Flows, key.clone());
            }
            store.put(&mut txn, tenant, Table::Flows, key, &entry.record).map_err(|error| unreadable(&error))?;
            if let Some(version) = entry.published.as_ref().filter(|_| files.publish) {
                let key = version_key(store, tenant, id, &version.record.version);
                let put = store.put(&mut txn, tenant, Table::Versions, key, &version.record);
                put.map_err(|error| unreadable(&error))?;
            }
            txn.tell(TailEntry::Flow(tenant, id));
            rows.push(entry.row.clone());
            state.insert(entry);
            // The next one is checked against what this one takes.
            state.routes = Arc::new(Routes::of(state.flows.values(), &self.0.registry, &state.routes));
        }
        store.commit(txn).await.map_err(|error| uncommitted(&error))?;
        self.swap(state);
        Ok(rows)
    }

    /// Publishes an old version again; a draft stays.
    ///
    /// # Errors
    /// No such version, or it cannot be published any more.
    pub async fn rollback(&self, actor: &Actor, name: &str, part: &str) -> Result<FlowRow, WireError> {
        let _one = self.editing().await?;
        let state = self.now();
        let entry = state.flow(name)?;
        let version = self.version_like(entry.record.id, part)?;
        if entry.record.published.as_ref() == Some(&version) {
            return Ok(entry.row.clone());
        }
        let known = self.versions_of(entry.record.id)?;
        let old = known.into_iter().find(|record| record.version == version);
        let old = old.ok_or_else(|| WireError::not_found("the version is gone"))?;
        let entry = self.published_as(&state, entry.record.clone(), old.text, &actor.name, "rolled back")?;
        let published = entry.published.clone();
        self.commit_flow(actor.tenant, entry, published, false).await
    }

    /// The text of a version.
    ///
    /// # Errors
    /// No such flow or version.
    pub fn text_of(&self, name: &str, wanted: &VersionOf) -> Result<FlowText, WireError> {
        let state = self.now();
        let entry = state.flow(name)?;
        let missing = |what: &str| WireError::new(Code::Conflict, format!("the flow {name} has no {what}"));
        let (version, text) = match wanted {
            VersionOf::Published | VersionOf::Run => {
                let version = entry.version()?.ok_or_else(|| missing("published version"))?;
                (version.record.version.clone(), version.record.text.clone())
            }
            VersionOf::Draft => {
                let text = entry.record.draft.clone().ok_or_else(|| missing("draft beside its published version"))?;
                (entry.row.draft.clone().unwrap_or_default(), text)
            }
            VersionOf::Hash(part) => {
                let version = self.version_like(entry.record.id, part)?;
                let known = self.versions_of(entry.record.id)?;
                let record = known.into_iter().find(|record| record.version == version);
                let record = record.ok_or_else(|| WireError::not_found("the version is gone"))?;
                (record.version, record.text)
            }
        };
        Ok(FlowText { flow: entry.record.flow.clone(), version, text })
    }

    /// The publications of a flow, newest first, and its draft before them. `live`: unfinished runs by version.
    ///
    /// # Errors
    /// No such flow, or the store cannot be read.
    pub fn history(&self, name: &str, live: &dyn Fn(&str) -> u64) -> Result<Vec<FlowVersion>, WireError> {
        let state = self.now();
        let entry = state.flow(name)?;
        let known = self.versions_of(entry.record.id)?;
        let mut publications = entry.record.history.clone();
        if publications.is_empty() {
            // Published by a build that did not remember.
            publications = known
                .iter()
                .filter(|record| record.published_ms > 0)
                .map(|record| Publication {
                    version: record.version.clone(),
                    at_ms: record.published_ms,
                    by: record.by.clone(),
                    note: String::new(),
                })
                .collect();
            publications.sort_by_key(|publication| publication.at_ms);
        }
        let text = |version: &str| known.iter().find(|record| record.version == version).map(|it| it.text.as_str());
        let mut found: Vec<FlowVersion> = Vec::new();
        let mut before: Option<&str> = None;
        for publication in &publications {
            let now = text(&publication.version);
            let changes = before.zip(now).map(|(old, new)| between(old, new).sentence()).unwrap_or_default();
            found.push(FlowVersion {
                version: publication.version.clone(),
                at_ms: publication.at_ms,
                by: publication.by.clone(),
                note: publication.note.clone(),
                published: false,
                live: live(&publication.version),
                changes,
            });
            before = now.or(before);
        }
        let published = entry.record.published.as_deref();
        if let Some(newest) = found.iter_mut().rev().find(|version| published == Some(version.version.as_str())) {
            newest.published = true;
        }
        // Runs of what was never published (somebody ran a draft), or so long ago that its publication is forgotten.
        for record in &known {
            let named = found.iter().any(|version| version.version == record.version);
            if !named && live(&record.version) > 0 {
                let (at, note) = match record.published_ms {
                    0 => (found.len(), "run as a draft"),
                    _ => (0, ""),
                };
                let version = FlowVersion {
                    version: record.version.clone(),
                    at_ms: record.published_ms,
                    by: record.by.clone(),
                    note: note.to_owned(),
                    published: false,
                    live: live(&record.version),
                    changes: String::new(),
                };
                found.insert(at, version);
            }
        }
        if let (Some(draft), Some(version)) = (&entry.record.draft, &entry.row.draft) {
            found.push(FlowVersion {
                version: version.clone(),
                at_ms: 0,
                by: String::new(),
                note: "draft".to_owned(),
                published: false,
                live: 0,
                changes: before.map(|old| between(old, draft).sentence()).unwrap_or_default(),
            });
        }
        found.reverse();
        Ok(found)
    }

    /// What texts would change together, as far as the catalog knows; runs are looked at by the caller.
    #[must_use]
    pub fn planned_all(&self, texts: &[String]) -> Vec<(PlannedFlow, Option<FlowId>)> {
        let state = self.now();
        let read: Vec<Option<Flow>> = texts.iter().map(|text| definition::read(text).ok()).collect();
        // Whether a flow of that name is there then, and whether it can be called.
        let callable = |name: &str| {
            let here = read.iter().flatten().find(|flow| flow.flow == *name);
            let there = || state.flow(name).ok().and_then(|entry| Some(Arc::clone(&entry.published.as_ref()?.flow)));
            let is = |flow: &Flow| flow.triggers.iter().any(|trigger| trigger.on == "called");
            here.map(is).or_else(|| there().map(|flow| is(&flow)))
        };
        let each = texts.iter().zip(&read).enumerate();
        each.map(|(at, (text, flow))| {
            let (mut planned, id) = self.planned(&state, text);
            let Some(flow) = flow else { return (planned, id) };
            let twice = read.iter().take(at).flatten().any(|before| before.flow == flow.flow);
            if twice {
                "refused".clone_into(&mut planned.change);
                planned
                    .notes
                    .push(format!("another file is of the flow {} too: keep one of them", display(&flow.flow)));
            }
            for name in called_by(flow) {
                let shown = display(&name);
                match callable(&name) {
                    Some(true) => {}
                    Some(false) => planned.notes.push(format!("it calls {shown}, which has no trigger `on: called`")),
                    None => {
                        planned.notes.push(format!("it calls {shown}, which is neither published nor among the files"))
                    }
                }
            }
            (planned, id)
        })
        .collect()
    }

    /// What a text would change.
    fn planned(&self, state: &State, text: &str) -> (PlannedFlow, Option<FlowId>) {
        let mut planned = PlannedFlow {
            flow: String::new(),
            change: "refused".to_owned(),
            published: None,
            version: String::new(),
            diff: FlowDiff::default(),
            findings: self.check(text),
            missing: Vec::new(),
            live: Vec::new(),
            movable: 0,
            looked_at: 0,
            held: 0,
            notes: Vec::new(),
        };
        let Ok(flow) = definition::read(text) else { return (planned, None) };
        planned.flow.clone_from(&flow.flow);
        planned.version = definition::version(&flow);
        let is_missing = |finding: &&Finding| {
            finding.message.starts_with("there is no connection") || finding.message.ends_with("is not set")
        };
        planned.missing = planned.findings.iter().filter(is_missing).map(|finding| finding.message.clone()).collect();
        for trigger in &flow.triggers {
            let Some(proof) = Proof::of(trigger, &self.0.registry) else { continue };
            if let Some(missing) = proof.missing_secret(state).filter(|_| !proof.brings_secret()) {
                let sentence = format!("no secret configured for the trigger {}: {missing}", trigger.id);
                if !planned.missing.contains(&sentence) {
                    planned.missing.push(sentence);
                }
            }
        }
        let wrong = |finding: &Finding| finding.severity == Severity::Error && !is_missing(&finding);
        let refused = planned.findings.iter().any(wrong);
        let Ok(entry) = state.flow(&flow.flow) else {
            if !refused {
                "new".clone_into(&mut planned.change);
            }
            return (planned, None);
        };
        planned.published.clone_from(&entry.record.published);
        if let Some(version) = &entry.published {
            planned.diff = between(&version.record.text, text);
        }
        if !refused {
            let same = planned.published.as_ref() == Some(&planned.version);
            (if same { "same" } else { "changed" }).clone_into(&mut planned.change);
        }
        let id = entry.record.id;
        let gone = |trigger: &str| flow.triggers.iter().all(|other| other.id != trigger);
        for (trigger, _) in entry.record.endpoints.iter().filter(|(trigger, _)| gone(trigger)) {
            planned.notes.push(format!("the endpoint of the trigger {trigger} answers nobody any more"));
        }
        (planned, Some(id))
    }

    /// Reads a version that a text would be, so that runs can be compared with it. Nothing is stored.
    #[must_use]
    pub fn known_text(&self, flow: FlowId, text: &str) -> Option<String> {
        let read = definition::read(text).ok()?;
        let version = definition::version(&read);
        self.know_version(flow, &version, read);
        Some(version)
    }
}

/// The flows that a flow calls, each once.
fn called_by(flow: &Flow) -> BTreeSet<String> {
    fn walk(value: &Value, found: &mut BTreeSet<String>) {
        match value {
            Value::Map(map) => {
                let called = map.get("call").and_then(|call| call.get("flow")).and_then(Value::as_str);
                found.extend(called.map(str::to_owned));
                map.values().for_each(|value| walk(value, found));
            }
            Value::List(list) => list.iter().for_each(|value| walk(value, found)),
            _ => {}
        }
    }
    let mut found = BTreeSet::new();
    let canonical = aura_protocol::flow::canonical(flow);
    for scope in ["steps", "on_error", "finally"] {
        canonical.get(scope).into_iter().for_each(|steps| walk(steps, &mut found));
    }
    found
}

/// What differs between two texts, as far as they are readable.
fn between(old: &str, new: &str) -> FlowDiff {
    match (definition::read(old), definition::read(new)) {
        (Ok(old), Ok(new)) => diff(&old, &new),
        _ => FlowDiff::default(),
    }
}

/// An error that names the flow it is about.
fn name_it(error: WireError, text: &str) -> WireError {
    let name = definition::read(text).map(|flow| flow.flow).unwrap_or_default();
    let of = if name.is_empty() { "a file".to_owned() } else { display(&name) };
    WireError { message: format!("{of}: {}; nothing was stored", error.message), ..error }
}

/// Not more than one call takes.
///
/// # Errors
/// They are too many.
pub(crate) fn too_many(texts: &[String]) -> Result<(), WireError> {
    if texts.len() <= FLOWS_AT_ONCE {
        return Ok(());
    }
    let message = format!("{} flows are more than the {FLOWS_AT_ONCE} of one call", texts.len());
    Err(WireError::new(Code::Invalid, message).hint("apply them in parts"))
}
