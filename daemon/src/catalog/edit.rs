//! Changes to flows: apply a draft, publish it, enable and disable.
//!
//! A refused text changes nothing. A published version never changes: its row is put under the hash of its
//! canonical form, and publishing the same text twice is the same as once (so a repeated request is too).

use std::sync::Arc;

use aura_protocol::flow::{Finding, Severity};
use aura_protocol::rpc::{Actor, FlowRow};
use aura_protocol::{Code, FlowId, TenantId, WireError};
use aura_storage::rows::{FlowRecord, HISTORY_MAX, Publication, VersionRecord};
use aura_storage::{CommitError, Key, Table, TailEntry, Txn};

use crate::catalog::routes::{Proof, Routes};
use crate::catalog::{
    Catalog, ENDPOINTS_MAX, Entry, FLOWS_MAX, SCHEDULES_MAX, State, Version, definition, unreadable, version_key,
};
use crate::engine::core::bugs::{Bug, has};

/// Largest flow file, in bytes.
pub const TEXT_MAX: usize = 1024 * 1024;

pub(crate) fn uncommitted(error: &CommitError) -> WireError {
    match error {
        CommitError::Conflict(_) => WireError::new(Code::Conflict, "the thing changed meanwhile; nothing was stored"),
        CommitError::Reopened => WireError::new(Code::Busy, error.to_string()),
        CommitError::Io(_) | CommitError::Closed => {
            tracing::error!(%error, "a change could not be stored");
            WireError::internal(format!("whether the change was stored is unknown: {error}"))
        }
    }
}

pub(crate) fn refused(what: &str, findings: Vec<Finding>) -> WireError {
    let errors = findings.iter().filter(|finding| finding.severity == Severity::Error).count();
    let first = findings.iter().find(|finding| finding.severity == Severity::Error);
    let message = match (errors, first) {
        (1, Some(only)) => format!("{what}: line {}, column {}: {}", only.line, only.column, only.message),
        _ => format!("{what}: {errors} errors; nothing was changed"),
    };
    WireError { findings, ..WireError::new(Code::FlowRefused, message) }
}

impl Catalog {
    /// Checks a text with what this daemon knows; changes nothing.
    #[must_use]
    pub fn check(&self, text: &str) -> Vec<Finding> {
        match self.checked(text) {
            Ok((_, warnings)) => warnings,
            Err(findings) => findings,
        }
    }

    pub(crate) fn checked(&self, text: &str) -> Result<(aura_protocol::flow::Flow, Vec<Finding>), Vec<Finding>> {
        self.checked_in(&self.now(), text)
    }

    pub(crate) fn checked_in(
        &self,
        state: &State,
        text: &str,
    ) -> Result<(aura_protocol::flow::Flow, Vec<Finding>), Vec<Finding>> {
        if text.len() > TEXT_MAX {
            return Err(vec![Finding {
                severity: Severity::Error,
                line: 0,
                column: 0,
                path: String::new(),
                message: format!("the file has {} bytes and a flow may have {TEXT_MAX}", text.len()),
                hint: None,
            }]);
        }
        definition::check(text, state, &self.0.registry)
    }

    /// Stores a text as the flow's draft; creates the flow if needed.
    ///
    /// # Errors
    /// Refused with its findings (nothing changed), or not stored.
    pub async fn apply(&self, actor: &Actor, text: &str) -> Result<FlowRow, WireError> {
        let _one = self.editing().await?;
        let state = self.now();
        let entry = self.drafted(&state, text)?;
        let new = !state.flows.contains_key(&entry.record.id);
        self.commit_flow(actor.tenant, entry, None, new).await
    }

    /// A flow with a text as its draft.
    pub(crate) fn drafted(&self, state: &State, text: &str) -> Result<Entry, WireError> {
        let (flow, _) = self.checked_in(state, text).map_err(|findings| refused("the flow was refused", findings))?;
        let old = state.names.get(&flow.flow).and_then(|id| state.flows.get(id));
        if old.is_none() && state.flows.len() >= FLOWS_MAX {
            let message = format!("there are {FLOWS_MAX} flows already and no more fit in a list; nothing was stored");
            return Err(WireError::new(Code::Conflict, message)
                .hint("apply it under the name of a flow that is no longer used, or run a second daemon"));
        }
        let same = old.and_then(|entry| entry.published.as_ref()).is_some_and(|version| version.record.text == text);
        let mut record = old.map_or_else(
            || FlowRecord {
                id: FlowId::now(),
                flow: flow.flow.clone(),
                enabled: true,
                paused: false,
                deleted: None,
                published: None,
                draft: None,
                endpoints: Vec::new(),
                changed_ms: 0,
                history: Vec::new(),
                hooks: Vec::new(),
            },
            |entry| entry.record.clone(),
        );
        record.draft = (!same).then(|| text.to_owned());
        record.changed_ms = self.0.clock.now_ms();
        Ok(Entry::of(record, old.and_then(|entry| entry.published.clone())))
    }

    /// Makes the draft the published version. Without a draft the published version stays as it is.
    ///
    /// # Errors
    /// Nothing to publish, findings, or a signed trigger whose secret is not set.
    pub async fn publish(&self, actor: &Actor, name: &str) -> Result<FlowRow, WireError> {
        let _one = self.editing().await?;
        let state = self.now();
        let entry = state.flow(name)?;
        let Some(text) = entry.record.draft.clone() else {
            return match entry.published {
                Some(_) => Ok(entry.row.clone()),
                None => Err(WireError::new(Code::Conflict, format!("the flow {name} has nothing to publish"))
                    .hint("`aura flow apply FILE` stores a draft")),
            };
        };
        let record = FlowRecord { draft: None, ..entry.record.clone() };
        let entry = self.published_as(&state, record, text, &actor.name, "")?;
        let published = entry.published.clone();
        self.commit_flow(actor.tenant, entry, published, false).await
    }

    /// A flow with a text as its published version.
    pub(crate) fn published_as(
        &self,
        state: &State,
        mut record: FlowRecord,
        text: String,
        by: &str,
        note: &str,
    ) -> Result<Entry, WireError> {
        let name = record.flow.clone();
        let (flow, _) = self.checked_in(state, &text).map_err(|findings| refused("the draft was refused", findings))?;
        for trigger in &flow.triggers {
            let proof = Proof::of(trigger, &self.0.registry);
            if proof.is_none() && trigger.on != "form" {
                continue;
            }
            // Who brings the secret in its handshake has to find a door; it refuses all else until the secret is set.
            if let Some(missing) =
                proof.as_ref().filter(|proof| !proof.brings_secret()).and_then(|proof| proof.missing_secret(state))
            {
                return Err(WireError::new(
                    Code::Conflict,
                    format!("no secret configured for the trigger {} of {name}: {missing}", trigger.id),
                )
                .hint("add it with `aura connection add`, then publish again"));
            }
            if has(Bug::AddressPerPublication) {
                record.endpoints.retain(|(id, _)| *id != trigger.id);
            }
            if !record.endpoints.iter().any(|(id, _)| *id == trigger.id) {
                record.endpoints.push((trigger.id.clone(), endpoint()?));
            }
        }
        let takes = |trigger: &aura_protocol::flow::Trigger| {
            trigger.on == "form" || Proof::of(trigger, &self.0.registry).is_some()
        };
        let taking = flow.triggers.iter().filter(|trigger| takes(trigger)).count();
        if taking > 0 && state.routes.others(record.id) + taking > ENDPOINTS_MAX {
            let message = format!(
                "{name} would make more than {ENDPOINTS_MAX} endpoints of all flows together; nothing was published"
            );
            return Err(
                WireError::new(Code::Conflict, message).hint("take triggers out of flows that are no longer used")
            );
        }
        let scheduled =
            |flow: &aura_protocol::flow::Flow| flow.triggers.iter().filter(|it| it.on == "schedule").count();
        let others = state.flows.values().filter(|entry| entry.record.id != record.id);
        let others: usize = others.filter_map(|entry| entry.published.as_ref()).map(|it| scheduled(&it.flow)).sum();
        if scheduled(&flow) > 0 && others + scheduled(&flow) > SCHEDULES_MAX {
            let message = format!(
                "{name} would make more than {SCHEDULES_MAX} schedules of all flows together; nothing was published"
            );
            return Err(
                WireError::new(Code::Conflict, message).hint("take triggers out of flows that are no longer used")
            );
        }
        let now_ms = self.0.clock.now_ms();
        let version =
            VersionRecord { version: definition::version(&flow), text, published_ms: now_ms, by: by.to_owned() };
        record.history.push(Publication {
            version: version.version.clone(),
            at_ms: now_ms,
            by: by.to_owned(),
            note: note.to_owned(),
        });
        let more = record.history.len().saturating_sub(HISTORY_MAX);
        record.history.drain(..more);
        record.published = Some(version.version.clone());
        record.changed_ms = now_ms;
        Ok(Entry::of(record, Some(Version::of(version, flow))))
    }

    /// Starts or stops taking events.
    ///
    /// # Errors
    /// No such flow, or not stored.
    pub async fn enable(&self, actor: &Actor, name: &str, enabled: bool) -> Result<FlowRow, WireError> {
        let _one = self.editing().await?;
        let state = self.now();
        let entry = state.flow(name)?;
        if entry.record.enabled == enabled {
            return Ok(entry.row.clone());
        }
        let record = FlowRecord { enabled, changed_ms: self.0.clock.now_ms(), ..entry.record.clone() };
        let published = entry.published.clone();
        self.commit_flow(actor.tenant, Entry::of(record, published), None, false).await
    }

    pub(crate) async fn commit_flow(
        &self,
        tenant: TenantId,
        entry: Entry,
        version: Option<Version>,
        new: bool,
    ) -> Result<FlowRow, WireError> {
        let store = &self.0.store;
        let id = entry.record.id;
        let key = Key::tenant(tenant).id(id.bytes());
        let mut txn = Txn::new();
        if new {
            txn.expect_absent(Table::Flows, key.clone());
        } else {
            txn.expect_present(Table::Flows, key.clone());
        }
        store.put(&mut txn, tenant, Table::Flows, key, &entry.record).map_err(|error| unreadable(&error))?;
        if let Some(version) = version {
            let key = version_key(store, tenant, id, &version.record.version);
            store.put(&mut txn, tenant, Table::Versions, key, &version.record).map_err(|error| unreadable(&error))?;
        }
        txn.tell(TailEntry::Flow(tenant, id));
        store.commit(txn).await.map_err(|error| uncommitted(&error))?;
        let shown = entry.row.clone();
        let mut state = State::clone(&self.now());
        state.insert(entry);
        state.routes = Arc::new(Routes::of(state.flows.values(), &self.0.registry, &state.routes));
        self.swap(state);
        Ok(shown)
    }
}

/// 26 random characters: 128 bits nobody can guess.
pub(super) fn endpoint() -> Result<String, WireError> {
    let mut bytes = [0_u8; 16];
    getrandom::fill(&mut bytes).map_err(|error| WireError::internal(format!("no randomness: {error}")))?;
    Ok(aura_protocol::ids::crockford(u128::from_be_bytes(bytes)).to_ascii_lowercase())
}
