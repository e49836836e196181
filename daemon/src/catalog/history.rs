//! Versions of flows by name: the one of a run, the published one, the draft, or any by its hash.
//!
//! Invariant: a run's version is stored before the run is. A draft that somebody runs is stored as a version that
//! was never published: its row says `published_ms` 0.

use std::sync::{Arc, PoisonError};

use aura_protocol::flow::Flow;
use aura_protocol::rpc::{Actor, VersionOf};
use aura_protocol::text::display;
use aura_protocol::{Code, FlowId, TenantId, WireError};
use aura_storage::rows::VersionRecord;
use aura_storage::{Key, Table, Txn};

use crate::catalog::edit::{refused, uncommitted};
use crate::catalog::{Catalog, definition, unreadable, version_key};
use crate::engine::{Flows, Published};

/// Versions of one flow that are looked at.
const VERSIONS_READ: usize = 10_000;
/// Fewest characters of a hash.
const SHORTEST: usize = 4;

impl Catalog {
    /// A version of a flow, ready to run. A draft is known from then on, and stored by [`Catalog::keep_version`].
    ///
    /// # Errors
    /// The flow or the version is not there, or the draft has errors.
    pub async fn chosen(&self, flow: FlowId, of_run: &str, wanted: &VersionOf) -> Result<Published, WireError> {
        let state = self.now();
        let entry = state.flows.get(&flow).ok_or_else(|| {
            WireError::not_found("the flow of this run is not there any more").hint("apply its file again")
        })?;
        let name = display(&entry.record.flow);
        let version = match wanted {
            VersionOf::Run => of_run.to_owned(),
            VersionOf::Published => entry
                .version()?
                .map(|version| version.record.version.clone())
                .ok_or_else(|| WireError::new(Code::Conflict, format!("the flow {name} has no published version")))?,
            VersionOf::Hash(part) => self.version_like(flow, part)?,
            VersionOf::Draft => {
                let text = entry.record.draft.as_deref().ok_or_else(|| {
                    WireError::new(Code::Conflict, format!("the flow {name} has no draft beside its published version"))
                })?;
                let (read, _) = self.checked(text).map_err(|findings| refused("the draft was refused", findings))?;
                let version = definition::version(&read);
                self.know_version(flow, &version, read);
                version
            }
        };
        let read = self.version(TenantId::DEFAULT, flow, &version).ok_or_else(|| {
            WireError::new(Code::Corrupt, format!("the version {} of {name} cannot be read", short(&version)))
                .hint("run `aura doctor --deep`")
        })?;
        Ok(Published {
            id: flow,
            name: entry.record.flow.clone(),
            version,
            flow: read,
            enabled: entry.record.enabled,
            paused: entry.record.paused,
        })
    }

    /// Stores a version that was never published, so that runs may name it.
    ///
    /// # Errors
    /// It is not stored.
    pub async fn keep_version(&self, actor: &Actor, flow: &Published) -> Result<(), WireError> {
        let _one = self.editing().await?;
        let (store, tenant) = (&self.0.store, actor.tenant);
        let key = version_key(store, tenant, flow.id, &flow.version);
        let stored: Option<VersionRecord> =
            store.get(tenant, Table::Versions, &key).map_err(|error| unreadable(&error))?;
        if stored.is_some() {
            return Ok(());
        }
        let state = self.now();
        let draft = state.flows.get(&flow.id).and_then(|entry| entry.record.draft.clone());
        let same = |text: &String| definition::read(text).is_ok_and(|read| definition::version(&read) == flow.version);
        let text = draft.filter(same).ok_or_else(|| {
            WireError::new(Code::Conflict, "the draft was changed meanwhile; nothing was stored").hint("try again")
        })?;
        let record = VersionRecord { version: flow.version.clone(), text, published_ms: 0, by: actor.name.clone() };
        let mut txn = Txn::new();
        store.put(&mut txn, tenant, Table::Versions, key, &record).map_err(|error| unreadable(&error))?;
        store.commit(txn).await.map_err(|error| uncommitted(&error))?;
        Ok(())
    }

    /// A version of one step of a flow, stored for its test run and never published.
    ///
    /// # Errors
    /// It has errors here, as a connection that is not there, or it is not stored.
    pub async fn keep_single(&self, actor: &Actor, flow: FlowId, single: Flow) -> Result<Published, WireError> {
        let text = aura_protocol::flow::canonical_text(&single);
        let (read, _) = self.checked(&text).map_err(|findings| refused("the step was refused", findings))?;
        let version = definition::version(&read);
        let _one = self.editing().await?;
        let (store, tenant) = (&self.0.store, actor.tenant);
        let key = version_key(store, tenant, flow, &version);
        let stored: Option<VersionRecord> =
            store.get(tenant, Table::Versions, &key).map_err(|error| unreadable(&error))?;
        if stored.is_none() {
            let record = VersionRecord { version: version.clone(), text, published_ms: 0, by: actor.name.clone() };
            let mut txn = Txn::new();
            store.put(&mut txn, tenant, Table::Versions, key, &record).map_err(|error| unreadable(&error))?;
            store.commit(txn).await.map_err(|error| uncommitted(&error))?;
        }
        self.know_version(flow, &version, read.clone());
        let name = read.flow.clone();
        Ok(Published { id: flow, name, version, flow: Arc::new(read), enabled: true, paused: false })
    }

    /// All stored versions of a flow.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn versions_of(&self, flow: FlowId) -> Result<Vec<VersionRecord>, WireError> {
        let tenant = TenantId::DEFAULT;
        let from = Key::tenant(tenant).id(flow.bytes());
        let to = from.after_prefix();
        let rows: Vec<(Key, VersionRecord)> = self
            .0
            .store
            .scan(tenant, Table::Versions, &from, &to, VERSIONS_READ, false)
            .map_err(|error| unreadable(&error))?;
        Ok(rows.into_iter().map(|(_, record)| record).collect())
    }

    /// The version whose hash begins so.
    ///
    /// # Errors
    /// None or several do.
    pub fn version_like(&self, flow: FlowId, part: &str) -> Result<String, WireError> {
        let part = part.trim().to_ascii_lowercase();
        let shown = display(&part);
        if part.len() < SHORTEST || !part.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            let message = format!("{shown} is no version: give at least {SHORTEST} characters of its hash");
            return Err(WireError::new(Code::Invalid, message).hint("`aura flow log FLOW` shows them"));
        }
        let known = self.versions_of(flow)?;
        let fitting: Vec<&VersionRecord> = known.iter().filter(|record| record.version.starts_with(&part)).collect();
        match fitting.as_slice() {
            [one] => Ok(one.version.clone()),
            [] => Err(WireError::not_found(format!("there is no version {shown} of this flow"))
                .hint("`aura flow log FLOW` shows them")),
            several => {
                Err(WireError::new(Code::Ambiguous, format!("{shown} is the beginning of {} versions", several.len()))
                    .hint("give more characters"))
            }
        }
    }

    /// A version that is read from now on without being stored.
    pub(crate) fn know_version(&self, flow: FlowId, version: &str, read: Flow) {
        let mut kept = self.0.versions.write().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= super::VERSIONS_KEPT {
            kept.clear();
        }
        kept.insert((flow, version.to_owned()), Arc::new(read));
    }
}

/// The beginning of a hash.
pub(crate) fn short(version: &str) -> String {
    version.chars().take(8).collect()
}
