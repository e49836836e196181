//! Routes of a relay: what of the catalog at home its door must know, and how a relay takes that over.
//!
//! Invariant: nothing leaves home but the triggers that take deliveries and the secrets that prove them; a relay has
//! exactly what home sent last, all of it or nothing, under the same names, ids and addresses. So the door of a relay is
//! the ordinary door, over a catalog that somebody else writes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use aura_protocol::flow::{self, Flow, Reply, Step, Trigger};
use aura_protocol::intake;
use aura_protocol::relay::{RouteFlow, RouteProof, RouteSet};
use aura_protocol::text::display;
use aura_protocol::{Code, Map, TenantId, Value, WireError};
use aura_storage::rows::{ConnectionRecord, FlowRecord, HookRecord, PreviousSecret, VersionRecord};
use aura_storage::{Key, Table, TailEntry, Txn};

use crate::catalog::edit::uncommitted;
use crate::catalog::routes::{Proof, Routes};
use crate::catalog::{
    CONNECTIONS_MAX, Catalog, ENDPOINTS_MAX, Entry, FLOWS_MAX, State, Version, definition, unreadable, version_key,
};

const TENANT: TenantId = TenantId::DEFAULT;
/// What stands for the steps of a flow, which a relay does not know.
const NO_STEPS: &str = r#"{"aura": 1, "flow": "relayed", "triggers": [{"id": "relayed", "on": "manual"}],
    "steps": [{"id": "relayed", "stop": {"ok": "a relay runs nothing"}}]}"#;
/// A field of a secret that is looked at in handshakes.
const VERIFY_TOKEN: &str = "verify_token";

/// A trigger with what the door needs: what is decided about its events is decided at home.
fn trimmed(trigger: &Trigger, body_max: usize) -> Trigger {
    let mut with: Map = Map::new();
    for (key, value) in &trigger.with {
        if intake::KEYS.contains(&key.as_str()) && key != "backfill" {
            with.insert(key.clone(), value.clone());
        }
    }
    // What home takes by its own settings, the relay takes too.
    let usual = u64::try_from(body_max).unwrap_or(u64::MAX).clamp(intake::BODY_MIN, intake::BODY_MAX);
    with.entry("body_max".to_owned()).or_insert(Value::Int(i128::from(usual)));
    Trigger {
        id: trigger.id.clone(),
        on: trigger.on.clone(),
        connection: trigger.connection.clone(),
        with,
        auth: trigger.auth.clone(),
        allow: trigger.allow.clone(),
        ..Trigger::default()
    }
}

impl Catalog {
    /// What a relay must know; `body_max` is the largest body that the door takes without a word about it.
    #[must_use]
    pub fn for_relays(&self, body_max: usize) -> RouteSet {
        let state = self.now();
        let (mut flows, mut proofs) = (Vec::new(), BTreeMap::new());
        let steps = flow::read(NO_STEPS).map(|document| document.flow.steps).unwrap_or_default();
        for entry in state.flows.values() {
            let Some(version) = &entry.published else { continue };
            let mut triggers = Vec::new();
            for trigger in &version.flow.triggers {
                let Some(proof) = Proof::of(trigger, &self.0.registry) else { continue };
                if let Some(secret) = proof.secret() {
                    let fields = proofs.entry(secret.connection.clone()).or_insert_with(BTreeSet::new);
                    fields.extend([secret.field.clone(), VERIFY_TOKEN.to_owned()]);
                }
                triggers.push(trimmed(trigger, body_max));
            }
            if !triggers.is_empty() {
                flows.push(sent(&entry.record, &version.flow, triggers, steps.clone()));
            }
        }
        let proofs = proofs.into_iter().filter_map(|(name, fields)| proved(state.connection(&name)?, &fields));
        RouteSet { flows, proofs: proofs.collect() }
    }

    /// Triggers that answer their senders themselves, which over a relay they cannot, as `flow/trigger`.
    #[must_use]
    pub fn own_answers(&self) -> Vec<String> {
        let state = self.now();
        let all = state.flows.values().filter_map(|entry| entry.published.as_ref());
        let mut names: Vec<String> = all
            .flat_map(|version| {
                let own = version.flow.triggers.iter().filter(|it| matches!(it.reply, Reply::Respond { .. }));
                own.map(|trigger| format!("{}/{}", version.flow.flow, trigger.id))
            })
            .collect();
        names.sort();
        names
    }

    /// Takes over what home sent, in one transaction with what `txn` has already.
    ///
    /// # Errors
    /// It is not in form (nothing changed), or not stored.
    pub async fn mirror(&self, set: RouteSet, mut txn: Txn) -> Result<(), WireError> {
        let _one = self.editing().await?;
        let old = self.now();
        let mut state = self.mirrored(set)?;
        let store = &self.0.store;
        let key_of = |entry: &Entry| Key::tenant(TENANT).id(entry.record.id.bytes());
        let version_of = |entry: &Entry| {
            let version = entry.record.published.as_deref()?;
            Some(version_key(store, TENANT, entry.record.id, version))
        };
        for (id, entry) in &old.flows {
            let new = state.flows.get(id);
            let gone = version_of(entry).filter(|_| new.is_none_or(|it| it.record.published != entry.record.published));
            txn.deletes.extend(gone.map(|key| (Table::Versions, key)));
            if new.is_none() {
                txn.delete(Table::Flows, key_of(entry));
                txn.tell(TailEntry::Flow(TENANT, *id));
            }
        }
        for (id, entry) in &state.flows {
            let before = old.flows.get(id);
            if before.is_some_and(|before| before.record == entry.record) {
                continue;
            }
            store
                .put(&mut txn, TENANT, Table::Flows, key_of(entry), &entry.record)
                .map_err(|error| unreadable(&error))?;
            if before.is_none_or(|before| before.record.published != entry.record.published)
                && let (Some(key), Some(version)) = (version_of(entry), &entry.published)
            {
                store
                    .put(&mut txn, TENANT, Table::Versions, key, &version.record)
                    .map_err(|error| unreadable(&error))?;
            }
            txn.tell(TailEntry::Flow(TENANT, *id));
        }
        let row_of = |record: &ConnectionRecord| Key::tenant(TENANT).id(record.id.bytes());
        for record in old.connections.values() {
            if !state.connections.values().any(|new| new.id == record.id) {
                txn.delete(Table::Connections, row_of(record));
                txn.tell(TailEntry::Connection(TENANT, record.id));
            }
        }
        for record in state.connections.values() {
            if old.connections.get(&record.name).is_some_and(|before| before == record) {
                continue;
            }
            store
                .put(&mut txn, TENANT, Table::Connections, row_of(record), record.as_ref())
                .map_err(|error| unreadable(&error))?;
            txn.tell(TailEntry::Connection(TENANT, record.id));
        }
        store.commit(txn).await.map_err(|error| uncommitted(&error))?;
        state.routes = Arc::new(Routes::of(state.flows.values(), &self.0.registry, &old.routes));
        self.swap(state);
        Ok(())
    }

    /// The state that the routes mean.
    fn mirrored(&self, set: RouteSet) -> Result<State, WireError> {
        let wrong = |why: String| WireError::new(Code::Invalid, why);
        let endpoints: usize = set.flows.iter().map(|flow| flow.endpoints.len() + flow.before.len()).sum();
        if set.flows.len() > FLOWS_MAX || set.proofs.len() > CONNECTIONS_MAX || endpoints > 5 * ENDPOINTS_MAX {
            return Err(wrong("the routes are more than one relay takes".to_owned()));
        }
        let mut state = State::default();
        for flow in set.flows {
            let entry = self.mirrored_flow(flow).map_err(wrong)?;
            if state.names.contains_key(&entry.record.flow) || state.flows.contains_key(&entry.record.id) {
                return Err(wrong(format!("the flow {} stands twice in the routes", display(&entry.record.flow))));
            }
            state.insert(entry);
        }
        for proof in set.proofs {
            let name = proof.name.clone();
            if state.connections.insert(name.clone(), Arc::new(kept(proof))).is_some() {
                return Err(wrong(format!("the connection {} stands twice in the routes", display(&name))));
            }
        }
        Ok(state)
    }

    fn mirrored_flow(&self, sent: RouteFlow) -> Result<Entry, String> {
        let unread = |findings: Vec<flow::Finding>| {
            let first = findings.into_iter().next().map(|finding| finding.message).unwrap_or_default();
            format!("a flow of the routes cannot be read by this build: {first}")
        };
        let read = definition::read(&sent.text).map_err(unread)?;
        let takes = |trigger: &Trigger| Proof::of(trigger, &self.0.registry).is_some();
        if let Some(other) = read.triggers.iter().find(|trigger| !takes(trigger)) {
            return Err(format!(
                "the trigger {} of {} takes no deliveries that this build knows",
                display(&other.id),
                display(&read.flow)
            ));
        }
        let plain = |name: &str| name.len() == 26 && name.bytes().all(|byte| byte.is_ascii_alphanumeric());
        let names = sent.endpoints.iter().map(|(_, name)| name).chain(sent.before.iter().map(|(_, name, _)| name));
        if !names.into_iter().all(|name| plain(name)) {
            return Err(format!("an address of {} is none", display(&read.flow)));
        }
        let mut hooks: BTreeMap<&str, HookRecord> = BTreeMap::new();
        let said = |trigger: &str| HookRecord { trigger: trigger.to_owned(), ..HookRecord::default() };
        for trigger in &sent.closed {
            hooks.entry(trigger).or_insert_with(|| said(trigger)).closed = true;
        }
        for (trigger, name, until_ms) in &sent.before {
            hooks.entry(trigger).or_insert_with(|| said(trigger)).before.push((name.clone(), *until_ms));
        }
        // Only the hash of what stands here: that of home counts its steps.
        let version = definition::version(&read);
        let record = FlowRecord {
            id: sent.id,
            flow: read.flow.clone(),
            enabled: sent.enabled,
            paused: false,
            deleted: None,
            published: Some(version.clone()),
            draft: None,
            endpoints: sent.endpoints,
            changed_ms: sent.changed_ms,
            history: Vec::new(),
            hooks: hooks.into_values().collect(),
        };
        let version = VersionRecord { version, text: sent.text, published_ms: sent.changed_ms, by: "home".to_owned() };
        Ok(Entry::of(record, Some(Version::of(version, read))))
    }
}

fn sent(record: &FlowRecord, flow: &Flow, triggers: Vec<Trigger>, steps: Vec<Step>) -> RouteFlow {
    let ids: BTreeSet<&str> = triggers.iter().map(|trigger| trigger.id.as_str()).collect();
    let hooks = || record.hooks.iter().filter(|said| ids.contains(said.trigger.as_str()));
    let before = hooks()
        .flat_map(|said| said.before.iter().map(|(name, until_ms)| (said.trigger.clone(), name.clone(), *until_ms)));
    let endpoints = record.endpoints.iter().filter(|(id, _)| ids.contains(id.as_str()));
    let (endpoints, before) = (endpoints.cloned().collect(), before.collect());
    let closed = hooks().filter(|said| said.closed).map(|said| said.trigger.clone()).collect();
    let small = Flow { flow: flow.flow.clone(), title: flow.title.clone(), triggers, steps, ..Flow::default() };
    RouteFlow {
        id: record.id,
        enabled: record.enabled,
        text: flow::canonical_text(&small),
        endpoints,
        closed,
        before,
        changed_ms: record.changed_ms,
    }
}

fn proved(record: &ConnectionRecord, fields: &BTreeSet<String>) -> Option<RouteProof> {
    let secrets: Vec<(String, String)> =
        record.secrets.iter().filter(|(field, _)| fields.contains(field)).cloned().collect();
    let previous = record.previous.iter().filter(|old| fields.contains(&old.field));
    let previous = previous.map(|old| (old.field.clone(), old.value.clone(), old.until_ms)).collect();
    (!secrets.is_empty()).then(|| RouteProof {
        id: record.id,
        name: record.name.clone(),
        connector: record.connector.clone(),
        secrets,
        previous,
    })
}

fn kept(proof: RouteProof) -> ConnectionRecord {
    let previous = proof.previous.into_iter().map(|(field, value, until_ms)| PreviousSecret { field, value, until_ms });
    ConnectionRecord {
        id: proof.id,
        name: proof.name,
        connector: proof.connector,
        settings: Vec::new(),
        secrets: proof.secrets,
        previous: previous.collect(),
        deleted: None,
        changed_ms: 0,
    }
}
