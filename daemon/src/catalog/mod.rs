//! What is defined here: flows, drafts, published versions, connections, and the routes of their triggers.
//!
//! Memory is a picture of the store: a change is committed first, then one swap makes it visible, so a
//! reader sees all of a change or nothing. [`edit`] changes flows, [`connections`] connections,
//! [`routes`] is what the door looks up, [`signing`] how deliveries are signed, [`definition`] is the border to the flow format.

pub mod bin;
pub mod connections;
pub mod definition;
pub mod edit;
pub mod forms;
pub mod history;
pub mod hooks;
pub mod mirror;
pub mod relays;
pub mod routes;
pub mod signing;
pub mod subscriptions;
pub mod together;
pub mod variables;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError, RwLock};

use aura_integrations::redact::{self, Sink};
use aura_integrations::registry::Registry;
use aura_protocol::flow::Flow;
use aura_protocol::rpc::{FlowDetail, FlowRow};
use aura_protocol::{Code, FlowId, SubscriptionId, TenantId, WireError};
use aura_storage::rows::outgoing::SubscriptionRecord;
use aura_storage::rows::relay::RelayRecord;
use aura_storage::rows::{ConnectionRecord, FlowRecord, VarRow, VersionRecord};
use aura_storage::{Key, Store, Table};

use crate::catalog::routes::Routes;
use crate::clock::Clock;
use crate::engine::{Flows, Inside, Published};

/// Most flows of an installation: their list fits one frame (a test says so), as do the next two.
pub const FLOWS_MAX: usize = 2_000;
/// Most connections of an installation.
pub const CONNECTIONS_MAX: usize = 2_000;
/// Most endpoints of all published flows.
pub const ENDPOINTS_MAX: usize = 4_000;
/// Most schedules of all published flows.
pub const SCHEDULES_MAX: usize = 4_000;
/// Rows read at start: more than can be made, so that none is left out.
const ROWS_READ: usize = 100_000;
/// Longest title in a list, in bytes.
const TITLE_MAX: usize = 200;
/// Triggers named in a list.
const TRIGGERS_SHOWN: usize = 8;
/// Longest trigger in a list, in bytes.
const TRIGGER_MAX: usize = 130;
/// Versions kept read in memory, steps included.
const VERSIONS_KEPT: usize = 256;

/// Flows and connections. Cheap to clone.
#[derive(Clone)]
pub struct Catalog(Arc<Inner>);

struct Inner {
    store: Store,
    registry: Arc<Registry>,
    clock: Clock,
    /// One change at a time; readers never wait for it. Holds the store's opening that was read.
    edit: tokio::sync::Mutex<u64>,
    state: RwLock<Arc<State>>,
    /// Knows every secret of the state, before the state is seen.
    sink: Sink,
    versions: RwLock<HashMap<(FlowId, String), Arc<Flow>>>,
    /// Grows with every change of the state.
    changes: tokio::sync::watch::Sender<u64>,
}

/// Everything at one moment.
#[derive(Clone, Default)]
pub struct State {
    flows: BTreeMap<FlowId, Arc<Entry>>,
    names: HashMap<String, FlowId>,
    connections: BTreeMap<String, Arc<ConnectionRecord>>,
    variables: BTreeMap<String, Arc<VarRow>>,
    binned_flows: BTreeMap<FlowId, Arc<FlowRecord>>,
    binned_connections: Vec<Arc<ConnectionRecord>>,
    subscriptions: BTreeMap<String, Arc<SubscriptionRecord>>,
    subscriptions_by_id: HashMap<SubscriptionId, Arc<SubscriptionRecord>>,
    binned_subscriptions: Vec<Arc<SubscriptionRecord>>,
    relays: BTreeMap<String, Arc<RelayRecord>>,
    routes: Arc<Routes>,
}

/// A flow: its row and, if published, its version.
#[derive(Clone, Debug)]
pub struct Entry {
    /// As stored.
    pub record: FlowRecord,
    /// The published version.
    pub published: Option<Version>,
    /// As lists show it, made once: a draft is not read again for every list.
    row: FlowRow,
}

/// A published version, read.
#[derive(Clone, Debug)]
pub struct Version {
    /// As stored.
    pub record: VersionRecord,
    /// Its definition without its steps: a thousand flows lie here, and only runs need their steps, which
    /// [`Flows::version`] reads.
    pub flow: Arc<Flow>,
}

impl Version {
    fn of(record: VersionRecord, flow: Flow) -> Self {
        let front = Flow { steps: Vec::new(), on_error: Vec::new(), finally: Vec::new(), ..flow };
        Self { record, flow: Arc::new(front) }
    }
}

impl Entry {
    fn of(record: FlowRecord, published: Option<Version>) -> Self {
        let row = row(&record, published.as_ref());
        Self { record, published, row }
    }

    /// The published version; `None` if none was published.
    ///
    /// # Errors
    /// One was published, and it is not in the store any more or not readable by this build: nobody is told that
    /// there is none.
    fn version(&self) -> Result<Option<&Version>, WireError> {
        match (&self.published, &self.record.published) {
            (None, Some(version)) => Err(WireError::new(
                Code::Corrupt,
                format!("the published version {} of {} cannot be read from the store", version, self.record.flow),
            )
            .hint("run `aura doctor --deep`; a backup has it, or publish the flow's file again")),
            (version, _) => Ok(version.as_ref()),
        }
    }

    fn as_published(&self) -> Option<Published> {
        let version = self.published.as_ref()?;
        Some(Published {
            id: self.record.id,
            name: self.record.flow.clone(),
            version: version.record.version.clone(),
            flow: Arc::clone(&version.flow),
            enabled: self.record.enabled,
            paused: self.record.paused,
        })
    }
}

/// Text of a store error for the wire; details go to the log.
pub(crate) fn unreadable(error: &aura_storage::ReadError) -> WireError {
    tracing::error!(%error, "the store could not be read");
    match error {
        aura_storage::ReadError::Corrupt { .. } => {
            WireError::new(Code::Corrupt, error.to_string()).hint("run `aura doctor --deep`")
        }
        aura_storage::ReadError::Io(_) => WireError::internal(error.to_string()),
    }
}

fn version_key(store: &Store, tenant: TenantId, flow: FlowId, version: &str) -> Key {
    let hash = store.index_hash(tenant, "version", &[version.as_bytes()]);
    Key::tenant(tenant).id(flow.bytes()).id(hash)
}

impl Catalog {
    /// Reads everything that is stored.
    ///
    /// # Errors
    /// The store cannot be read; a published version that this build does not read is only logged, and its
    /// flow takes no events.
    pub fn open(store: Store, registry: Arc<Registry>, clock: Clock, sink: Sink) -> Result<Self, WireError> {
        let epoch = store.epoch();
        let state = read_all(&store, &registry, &Routes::default())?;
        sink.replace(state.secrets());
        Ok(Self(Arc::new(Inner {
            store,
            registry,
            clock,
            edit: tokio::sync::Mutex::new(epoch),
            state: RwLock::new(Arc::new(state)),
            sink,
            versions: RwLock::new(HashMap::new()),
            changes: tokio::sync::watch::Sender::new(0),
        })))
    }

    /// The right to change something. After the store had to be opened again what it says is read anew first:
    /// whether the last change is stored was unknown.
    async fn editing(&self) -> Result<tokio::sync::MutexGuard<'_, u64>, WireError> {
        let mut read_at = self.0.edit.lock().await;
        let epoch = self.0.store.epoch();
        if *read_at != epoch {
            let state = read_all(&self.0.store, &self.0.registry, self.now().routes())?;
            self.swap(state);
            *read_at = epoch;
        }
        Ok(read_at)
    }

    /// Reads everything again if the store had to be opened again.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn renew(&self) -> Result<(), WireError> {
        self.editing().await.map(drop)
    }

    /// Everything at this moment.
    #[must_use]
    pub fn now(&self) -> Arc<State> {
        Arc::clone(&self.0.state.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn swap(&self, state: State) {
        self.0.sink.replace(state.secrets());
        *self.0.state.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(state);
        self.0.changes.send_modify(|count| *count += 1);
    }

    /// Grows with every change, after it can be seen.
    #[must_use]
    pub fn changes(&self) -> tokio::sync::watch::Receiver<u64> {
        self.0.changes.subscribe()
    }

    /// What knows every secret that counts.
    #[must_use]
    pub fn sink(&self) -> &Sink {
        &self.0.sink
    }

    /// Where everything is stored.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.0.store
    }

    /// The connectors of this build.
    #[must_use]
    pub fn registry(&self) -> &Registry {
        &self.0.registry
    }

    /// All flows, by name.
    #[must_use]
    pub fn list(&self) -> Vec<FlowRow> {
        let state = self.now();
        let mut rows: Vec<FlowRow> = state.flows.values().map(|entry| entry.row.clone()).collect();
        rows.sort_by(|a, b| a.flow.cmp(&b.flow));
        rows
    }

    /// One flow with its texts.
    ///
    /// # Errors
    /// No flow has this name, or its published version is lost.
    pub fn show(&self, name: &str) -> Result<FlowDetail, WireError> {
        let state = self.now();
        let entry = state.flow(name)?;
        Ok(FlowDetail {
            row: entry.row.clone(),
            published: entry.version()?.map(|version| version.record.text.clone()),
            draft: entry.record.draft.clone(),
        })
    }

    /// Whether this holds of the text of some flow, draft or published.
    #[must_use]
    pub fn texts_have(&self, holds: impl Fn(&str) -> bool) -> bool {
        self.now().flows.values().any(|entry| {
            let published = entry.published.as_ref().map(|version| version.record.text.as_str());
            entry.record.draft.as_deref().is_some_and(&holds) || published.is_some_and(&holds)
        })
    }

    /// The published version of a flow by name.
    ///
    /// # Errors
    /// No such flow, or it has no published version, or that is lost.
    pub fn published_by_name(&self, name: &str) -> Result<Published, WireError> {
        let state = self.now();
        let entry = state.flow(name)?;
        entry.version()?;
        entry.as_published().ok_or_else(|| {
            WireError::new(Code::Conflict, format!("the flow {name} has no published version"))
                .hint(format!("run `aura flow publish {name}`"))
        })
    }

    fn read_version(&self, tenant: TenantId, flow: FlowId, version: &str) -> Result<Option<Version>, WireError> {
        let found = load_version(&self.0.store, tenant, flow, version)?;
        Ok(found.map(|(record, flow)| Version::of(record, flow)))
    }

    /// The id of a flow.
    ///
    /// # Errors
    /// No such flow.
    pub fn flow_id(&self, name: &str) -> Result<FlowId, WireError> {
        Ok(self.now().flow(name)?.record.id)
    }

    /// The authored text of a version, as long as it is kept.
    #[must_use]
    pub fn version_text(&self, flow: FlowId, version: &str) -> Option<String> {
        let loaded = load_version(&self.0.store, TenantId::DEFAULT, flow, version).ok().flatten()?;
        Some(loaded.0.text)
    }

    /// The name of a flow, for lists and news.
    #[must_use]
    pub fn flow_name(&self, id: FlowId) -> Option<String> {
        let state = self.now();
        let here = state.flows.get(&id).map(|entry| &entry.record);
        here.or_else(|| state.binned_flows.get(&id).map(Arc::as_ref)).map(|record| record.flow.clone())
    }
}

impl State {
    /// The flow of a name.
    #[must_use]
    pub fn id_of(&self, name: &str) -> Option<FlowId> {
        self.names.get(name).copied()
    }

    fn insert(&mut self, entry: Entry) {
        self.names.insert(entry.record.flow.clone(), entry.record.id);
        self.flows.insert(entry.record.id, Arc::new(entry));
    }

    fn flow(&self, name: &str) -> Result<&Arc<Entry>, WireError> {
        self.names.get(name).and_then(|id| self.flows.get(id)).ok_or_else(|| {
            WireError::not_found(format!("there is no flow named {}", aura_protocol::text::display(name)))
                .hint("`aura flow list` shows all flows")
        })
    }

    /// What the door looks up.
    #[must_use]
    pub fn routes(&self) -> &Arc<Routes> {
        &self.routes
    }

    /// All flows.
    pub fn flows(&self) -> impl Iterator<Item = &Arc<Entry>> {
        self.flows.values()
    }

    /// A flow.
    #[must_use]
    pub fn entry(&self, flow: FlowId) -> Option<&Arc<Entry>> {
        self.flows.get(&flow)
    }

    /// A connection or named secret.
    #[must_use]
    pub fn connection(&self, name: &str) -> Option<&Arc<ConnectionRecord>> {
        self.connections.get(name)
    }

    /// Every secret that counts, also those of rotations.
    fn secrets(&self) -> impl Iterator<Item = &str> {
        // Also those in the bin: their values may still stand in what runs recorded.
        let of_connections = self.connections.values().chain(&self.binned_connections).flat_map(|record| {
            let now = record.secrets.iter().map(|(_, value)| value.as_str());
            now.chain(record.previous.iter().map(|before| before.value.as_str()))
        });
        let of_relays = self.relays.values().map(|relay| relay.token.as_str());
        of_connections.chain(self.subscription_secrets()).chain(of_relays)
    }

    /// Fields of connections and headers of subscriptions whose secrets are too short or too plain to be kept out of what leaves.
    #[must_use]
    pub fn weak_secrets(&self) -> Vec<String> {
        let weak = |value: &str| !value.is_empty() && redact::watched(value) != redact::Watched::Whole;
        let of = |record: &Arc<ConnectionRecord>| {
            let found = record.secrets.iter().filter(|(_, value)| weak(value));
            found.map(|(field, _)| format!("{}.{field}", record.name)).collect::<Vec<_>>()
        };
        self.connections.values().flat_map(of).chain(self.weak_headers(weak)).collect()
    }

    /// All connections and named secrets.
    pub fn connections(&self) -> impl Iterator<Item = &Arc<ConnectionRecord>> {
        self.connections.values()
    }

    /// Names of the variables that are set.
    #[must_use]
    pub fn variable_names(&self) -> Vec<String> {
        self.variables.keys().cloned().collect()
    }
}

fn read_all(store: &Store, registry: &Registry, before: &Routes) -> Result<State, WireError> {
    let tenant = TenantId::DEFAULT;
    let (from, to) = (Key::tenant(tenant), Key::tenant(tenant).after_prefix());
    let mut state = State::default();
    let flows: Vec<(Key, FlowRecord)> =
        store.scan(tenant, Table::Flows, &from, &to, ROWS_READ, false).map_err(|error| unreadable(&error))?;
    for (_, record) in flows {
        if record.deleted.is_some() {
            state.binned_flows.insert(record.id, Arc::new(record));
            continue;
        }
        let published = match &record.published {
            Some(version) => {
                load_version(store, tenant, record.id, version)?.map(|(record, flow)| Version::of(record, flow))
            }
            None => None,
        };
        state.insert(Entry::of(record, published));
    }
    let connections: Vec<(Key, ConnectionRecord)> =
        store.scan(tenant, Table::Connections, &from, &to, ROWS_READ, false).map_err(|error| unreadable(&error))?;
    for (_, record) in connections {
        let record = Arc::new(record);
        if record.deleted.is_some() {
            state.binned_connections.push(record);
        } else {
            state.connections.insert(record.name.clone(), record);
        }
    }
    let variables: Vec<(Key, VarRow)> =
        store.scan(tenant, Table::Vars, &from, &to, ROWS_READ, false).map_err(|error| unreadable(&error))?;
    for (_, row) in variables {
        state.variables.insert(row.name.clone(), Arc::new(row));
    }
    let subscriptions: Vec<(Key, SubscriptionRecord)> =
        store.scan(tenant, Table::Subscriptions, &from, &to, ROWS_READ, false).map_err(|error| unreadable(&error))?;
    for (_, record) in subscriptions {
        state.take_subscription(Arc::new(record));
    }
    let relays: Vec<(Key, RelayRecord)> =
        store.scan(tenant, Table::Relays, &from, &to, ROWS_READ, false).map_err(|error| unreadable(&error))?;
    state.relays = relays.into_iter().map(|(_, record)| (record.name.clone(), Arc::new(record))).collect();
    state.routes = Arc::new(Routes::of(state.flows.values(), registry, before));
    Ok(state)
}

fn load_version(
    store: &Store,
    tenant: TenantId,
    flow: FlowId,
    version: &str,
) -> Result<Option<(VersionRecord, Flow)>, WireError> {
    let key = version_key(store, tenant, flow, version);
    let stored: Option<VersionRecord> = store.get(tenant, Table::Versions, &key).map_err(|error| unreadable(&error))?;
    let Some(record) = stored else {
        tracing::error!(%flow, version, "a published version is missing in the store");
        return Ok(None);
    };
    match definition::read(&record.text) {
        Ok(flow) => Ok(Some((record, flow))),
        Err(_) => {
            tracing::error!(%flow, version, "a published version is not readable by this build; its flow takes no events");
            Ok(None)
        }
    }
}

fn row(record: &FlowRecord, published: Option<&Version>) -> FlowRow {
    let draft = record.draft.as_deref().and_then(|text| definition::read(text).ok());
    let shown = published.map(|version| version.flow.as_ref()).or(draft.as_ref());
    let title = shown.and_then(|flow| flow.title.as_deref()).unwrap_or(&record.flow);
    let all = shown.map(|flow| flow.triggers.as_slice()).unwrap_or_default();
    let mut triggers: Vec<String> = all
        .iter()
        .take(TRIGGERS_SHOWN)
        .map(|trigger| cut(&format!("{}: {}", trigger.id, trigger.on), TRIGGER_MAX))
        .collect();
    if let Some(more) = all.len().checked_sub(TRIGGERS_SHOWN).filter(|more| *more > 0) {
        triggers.push(format!("… and {more} more"));
    }
    FlowRow {
        id: record.id,
        flow: record.flow.clone(),
        title: cut(title, TITLE_MAX),
        enabled: record.enabled,
        paused: record.paused,
        held: 0,
        published: record.published.clone(),
        draft: draft.as_ref().map(definition::version),
        triggers,
        next_ms: None,
        changed_ms: record.changed_ms,
    }
}

/// The beginning of a text, at most `max` bytes.
fn cut(text: &str, max: usize) -> String {
    if text.len() <= max {
        return text.to_owned();
    }
    let kept = text.get(..text.floor_char_boundary(max.saturating_sub('…'.len_utf8()))).unwrap_or_default();
    format!("{kept}…")
}

impl Flows for Catalog {
    fn ids(&self, tenant: TenantId) -> Vec<FlowId> {
        if tenant != TenantId::DEFAULT {
            return Vec::new();
        }
        self.now().flows.keys().copied().collect()
    }

    fn published(&self, tenant: TenantId, flow: FlowId) -> Option<Published> {
        if tenant != TenantId::DEFAULT {
            return None;
        }
        self.now().flows.get(&flow)?.as_published()
    }

    fn is_paused(&self, tenant: TenantId, flow: FlowId) -> Option<bool> {
        let state = (tenant == TenantId::DEFAULT).then(|| self.now())?;
        let entry = state.flows.get(&flow)?;
        entry.published.as_ref().map(|_| entry.record.paused)
    }

    fn takers(&self, tenant: TenantId, what: Inside<'_>) -> Vec<FlowId> {
        match tenant == TenantId::DEFAULT {
            true => self.now().routes.inside(what).to_vec(),
            false => Vec::new(),
        }
    }

    fn version(&self, tenant: TenantId, flow: FlowId, version: &str) -> Option<Arc<Flow>> {
        if tenant != TenantId::DEFAULT {
            return None;
        }
        let key = (flow, version.to_owned());
        if let Some(known) = self.0.versions.read().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return Some(Arc::clone(known));
        }
        let loaded = Arc::new(load_version(&self.0.store, tenant, flow, version).ok().flatten()?.1);
        let mut kept = self.0.versions.write().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= VERSIONS_KEPT {
            kept.clear();
        }
        kept.insert(key, Arc::clone(&loaded));
        Some(loaded)
    }

    fn connection(&self, tenant: TenantId, name: &str) -> Option<Arc<ConnectionRecord>> {
        if tenant != TenantId::DEFAULT {
            return None;
        }
        self.now().connections.get(name).map(Arc::clone)
    }

    fn subscribers(&self, tenant: TenantId, kind: &str, customer: Option<&str>) -> Vec<Arc<SubscriptionRecord>> {
        if tenant != TenantId::DEFAULT {
            return Vec::new();
        }
        self.now().subscribers(kind, customer)
    }

    fn subscription(&self, tenant: TenantId, id: SubscriptionId) -> Option<Arc<SubscriptionRecord>> {
        if tenant != TenantId::DEFAULT {
            return None;
        }
        self.now().subscriptions_by_id.get(&id).cloned()
    }

    fn subscription_ids(&self, tenant: TenantId) -> Vec<SubscriptionId> {
        if tenant != TenantId::DEFAULT {
            return Vec::new();
        }
        self.every_subscription()
    }

    fn variables(&self, _tenant: TenantId, wanted: &aura_protocol::flow::Variables) -> aura_protocol::Value {
        self.var_values(wanted)
    }
}
