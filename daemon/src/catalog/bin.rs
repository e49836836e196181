//! The bin: deleted flows and connections stay for 30 days and come back whole.
//!
//! Invariant: what is in the bin is not found by name, takes no events and signs nothing; its rows stay as they were.
//! What a live run needs never gets in ([`crate::rpc::bin`] asks first).

use std::sync::Arc;

use aura_protocol::flow::{Flow, canonical};
use aura_protocol::rpc::{Actor, Binned, Connection, FlowRow, Removed};
use aura_protocol::text::display;
use aura_protocol::{Code, FlowId, TenantId, Value, WireError};
use aura_storage::rows::{BackfillRow, ConnectionRecord, Deleted, FlowRecord, HeldRow, VersionRecord};
use aura_storage::{Key, Table, TailEntry, Txn};

use crate::catalog::connections::shown;
use crate::catalog::edit::uncommitted;
use crate::catalog::routes::Routes;
use crate::catalog::{Catalog, Entry, ROWS_READ, State, definition, unreadable};

/// How long something stays in the bin: 30 days.
pub const KEPT_MS: i64 = 30 * 24 * 3_600_000;

/// What of a flow may be referred to by another's definition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Named<'a> {
    /// A flow that `call` steps name.
    Flow(&'a str),
    /// A connection or named secret.
    Connection(&'a str),
}

/// Whether a definition names something.
#[must_use]
pub fn names(flow: &Flow, what: Named<'_>) -> bool {
    walk(&canonical(flow), what)
}

fn walk(value: &Value, what: Named<'_>) -> bool {
    match value {
        Value::List(items) => items.iter().any(|item| walk(item, what)),
        Value::Map(map) => map.iter().any(|(key, value)| {
            let here = match (what, key.as_str()) {
                (Named::Connection(name), "connection" | "secret" | "bearer") => value.as_str() == Some(name),
                (Named::Flow(name), "call") => value.get("flow").and_then(Value::as_str) == Some(name),
                _ => false,
            };
            here || walk(value, what)
        }),
        _ => false,
    }
}

fn until(deleted: &Deleted) -> i64 {
    deleted.at_ms.saturating_add(KEPT_MS)
}

impl Catalog {
    /// Flows other than this one whose published version names something.
    #[must_use]
    pub fn published_naming(&self, but: Option<FlowId>, what: Named<'_>) -> Vec<String> {
        let state = self.now();
        let others = state.flows().filter(|entry| Some(entry.record.id) != but && entry.record.enabled);
        let naming = others.filter(|entry| {
            let text = entry.published.as_ref().map(|version| version.record.text.as_str());
            text.and_then(|text| definition::read(text).ok()).is_some_and(|flow| names(&flow, what))
        });
        naming.map(|entry| entry.record.flow.clone()).collect()
    }

    /// Ids of the versions of a flow that name something.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn versions_naming(&self, what: Named<'_>) -> Result<Vec<(FlowId, String)>, WireError> {
        let tenant = TenantId::DEFAULT;
        let (mut from, to) = (Key::tenant(tenant), Key::tenant(tenant).after_prefix());
        let mut found = Vec::new();
        loop {
            const PAGE: usize = 256;
            let page: Vec<(Key, VersionRecord)> = self
                .0
                .store
                .scan(tenant, Table::Versions, &from, &to, PAGE, false)
                .map_err(|error| unreadable(&error))?;
            for (key, record) in &page {
                let flow = definition::read(&record.text).ok().filter(|flow| names(flow, what));
                found.extend(
                    flow.and_then(|_| key.id_at(16)).map(|id| (FlowId::from_bytes(id), record.version.clone())),
                );
            }
            match page.last() {
                Some((key, _)) if page.len() == PAGE => from = key.next(),
                _ => return Ok(found),
            }
        }
    }

    /// What is in the bin, by name.
    #[must_use]
    pub fn binned(&self) -> Vec<Binned> {
        let state = self.now();
        let of = |kind: &str, name: &str, deleted: &Deleted| Binned {
            kind: kind.to_owned(),
            name: name.to_owned(),
            deleted_ms: deleted.at_ms,
            until_ms: until(deleted),
            by: deleted.by.clone(),
        };
        let flows = state
            .binned_flows
            .values()
            .filter_map(|record| record.deleted.as_ref().map(|deleted| of("flow", &record.flow, deleted)));
        let connections = state
            .binned_connections
            .iter()
            .filter_map(|record| record.deleted.as_ref().map(|deleted| of("connection", &record.name, deleted)));
        let subscriptions = state.deleted_subscriptions().map(|(name, deleted)| of("subscription", name, deleted));
        let mut all: Vec<Binned> = flows.chain(connections).chain(subscriptions).collect();
        all.sort_by(|a, b| (&a.kind, &a.name, a.deleted_ms).cmp(&(&b.kind, &b.name, b.deleted_ms)));
        all
    }

    /// Holds the events of a flow, or starts them again.
    ///
    /// # Errors
    /// No such flow, or not stored.
    pub async fn pause(&self, actor: &Actor, name: &str, paused: bool) -> Result<FlowRow, WireError> {
        let _one = self.editing().await?;
        let state = self.now();
        let entry = state.flow(name)?;
        if entry.record.paused == paused {
            return Ok(entry.row.clone());
        }
        let record = FlowRecord { paused, changed_ms: self.0.clock.now_ms(), ..entry.record.clone() };
        let published = entry.published.clone();
        self.commit_flow(actor.tenant, Entry::of(record, published), None, false).await
    }

    /// Puts a flow into the bin. Nobody may need it any more.
    ///
    /// # Errors
    /// No such flow, or not stored.
    pub async fn flow_delete(&self, actor: &Actor, name: &str) -> Result<(FlowId, Removed), WireError> {
        let _one = self.editing().await?;
        let state = self.now();
        let entry = state.flow(name)?;
        let deleted = Deleted { at_ms: self.0.clock.now_ms(), by: actor.name.clone() };
        let removed = Removed { name: entry.record.flow.clone(), until_ms: until(&deleted) };
        let record = FlowRecord { deleted: Some(deleted), ..entry.record.clone() };
        let id = record.id;
        self.put_flow(actor.tenant, &record).await?;
        let mut next = State::clone(&state);
        next.flows.remove(&id);
        next.names.remove(&record.flow);
        next.binned_flows.insert(id, Arc::new(record));
        self.with_routes(next);
        Ok((id, removed))
    }

    /// Takes a flow out of the bin, the one deleted last if there are several of the name.
    ///
    /// # Errors
    /// It is not there, its name is taken, or not stored.
    pub async fn flow_restore(&self, actor: &Actor, name: &str) -> Result<FlowRow, WireError> {
        let _one = self.editing().await?;
        let state = self.now();
        let found = state.binned_flows.values().filter(|record| record.flow == name);
        let newest = found.max_by_key(|record| record.deleted.as_ref().map(|deleted| deleted.at_ms));
        let Some(record) = newest else { return Err(not_binned("flow", name)) };
        if state.names.contains_key(name) {
            let message = format!("there is a flow named {} again; nothing was restored", display(name));
            return Err(WireError::new(Code::Conflict, message).hint("delete that one first"));
        }
        let record = FlowRecord { deleted: None, changed_ms: self.0.clock.now_ms(), ..FlowRecord::clone(record) };
        self.put_flow(actor.tenant, &record).await?;
        let published = match &record.published {
            Some(version) => self.read_version(actor.tenant, record.id, version)?,
            None => None,
        };
        let entry = Entry::of(record, published);
        let row = entry.row.clone();
        let mut next = State::clone(&state);
        next.binned_flows.remove(&row.id);
        next.insert(entry);
        self.with_routes(next);
        Ok(row)
    }

    /// Puts a connection into the bin. Nobody may need it any more.
    ///
    /// # Errors
    /// No such connection, or not stored.
    pub async fn connection_delete(&self, actor: &Actor, name: &str) -> Result<Removed, WireError> {
        let _one = self.editing().await?;
        let state = self.now();
        let Some(record) = state.connection(name) else {
            let message = format!("there is no connection named {}", display(name));
            return Err(WireError::not_found(message).hint("`aura connection list` shows all connections"));
        };
        let deleted = Deleted { at_ms: self.0.clock.now_ms(), by: actor.name.clone() };
        let removed = Removed { name: record.name.clone(), until_ms: until(&deleted) };
        let record = ConnectionRecord { deleted: Some(deleted), ..ConnectionRecord::clone(record) };
        self.put_connection(actor.tenant, &record).await?;
        let mut next = State::clone(&state);
        next.connections.remove(name);
        next.binned_connections.push(Arc::new(record));
        self.swap(next);
        Ok(removed)
    }

    /// Takes a connection out of the bin.
    ///
    /// # Errors
    /// It is not there, its name is taken, or not stored.
    pub async fn connection_restore(&self, actor: &Actor, name: &str) -> Result<Connection, WireError> {
        let _one = self.editing().await?;
        let state = self.now();
        let found = state.binned_connections.iter().filter(|record| record.name == name);
        let newest = found.max_by_key(|record| record.deleted.as_ref().map(|deleted| deleted.at_ms));
        let Some(record) = newest else { return Err(not_binned("connection", name)) };
        if state.connections.contains_key(name) {
            let message = format!("there is a connection named {} again; nothing was restored", display(name));
            return Err(WireError::new(Code::Conflict, message).hint("delete that one first"));
        }
        let record = ConnectionRecord { deleted: None, ..ConnectionRecord::clone(record) };
        self.put_connection(actor.tenant, &record).await?;
        let reply = shown(&record);
        let mut next = State::clone(&state);
        next.binned_connections.retain(|other| other.id != record.id);
        next.connections.insert(record.name.clone(), Arc::new(record));
        self.swap(next);
        Ok(reply)
    }

    /// Removes for good what has been in the bin for 30 days; gives the flows of it, for whoever knows of them.
    ///
    /// # Errors
    /// The store cannot be read or written.
    pub async fn empty_bin(&self, tenant: TenantId) -> Result<Vec<FlowId>, WireError> {
        let over = |deleted: &Option<Deleted>, now: i64| deleted.as_ref().is_some_and(|deleted| until(deleted) <= now);
        let now = self.0.clock.now_ms();
        let state = self.now();
        if !state.binned_flows.values().any(|record| over(&record.deleted, now))
            && !state.binned_connections.iter().any(|record| over(&record.deleted, now))
        {
            return Ok(Vec::new());
        }
        let _one = self.editing().await?;
        let mut next = State::clone(&self.now());
        let flows: Vec<FlowId> =
            next.binned_flows.values().filter(|record| over(&record.deleted, now)).map(|record| record.id).collect();
        for flow in flows.iter().copied() {
            let mut txn = Txn::new();
            let prefix = Key::tenant(tenant).id(flow.bytes());
            txn.delete(Table::Flows, prefix.clone());
            let versions = self.0.store.keys(Table::Versions, &prefix, &prefix.after_prefix(), ROWS_READ);
            for key in versions.map_err(|error| unreadable(&error))? {
                txn.delete(Table::Versions, key);
            }
            // What began by itself and where it was.
            for table in [Table::Schedules, Table::Polls] {
                let keys = self.0.store.keys(table, &prefix, &prefix.after_prefix(), ROWS_READ);
                keys.map_err(|error| unreadable(&error))?.into_iter().for_each(|key| txn.delete(table, key));
            }
            let (from, to) = (Key::tenant(tenant), Key::tenant(tenant).after_prefix());
            let backfills: Vec<(Key, BackfillRow)> = self
                .0
                .store
                .scan(tenant, Table::Backfills, &from, &to, ROWS_READ, false)
                .map_err(|error| unreadable(&error))?;
            let of_flow = backfills.into_iter().filter(|(_, row)| row.flow == flow);
            of_flow.for_each(|(key, _)| txn.delete(Table::Backfills, key));
            self.0.store.commit_low(txn).await.map_err(|error| uncommitted(&error))?;
            self.drop_held(tenant, flow).await?;
            next.binned_flows.remove(&flow);
        }
        let old: Vec<Arc<ConnectionRecord>> =
            next.binned_connections.iter().filter(|record| over(&record.deleted, now)).cloned().collect();
        for record in old {
            let mut txn = Txn::new();
            txn.delete(Table::Connections, Key::tenant(tenant).id(record.id.bytes()));
            self.0.store.commit_low(txn).await.map_err(|error| uncommitted(&error))?;
            next.binned_connections.retain(|other| other.id != record.id);
        }
        self.swap(next);
        Ok(flows)
    }

    /// Events that were held for a flow that is gone for good.
    async fn drop_held(&self, tenant: TenantId, flow: FlowId) -> Result<(), WireError> {
        const PAGE: usize = 64;
        let (mut from, to) = (Key::tenant(tenant), Key::tenant(tenant).after_prefix());
        loop {
            let page: Vec<(Key, HeldRow)> =
                self.0.store.scan(tenant, Table::Held, &from, &to, PAGE, false).map_err(|error| unreadable(&error))?;
            let mut txn = Txn::new();
            for (key, row) in page.iter().filter(|(_, row)| row.flow == flow) {
                txn.delete(Table::Held, key.clone());
                row.events.iter().for_each(|event| txn.delete(Table::Events, Key::tenant(tenant).id(event.bytes())));
            }
            if !txn.deletes.is_empty() {
                self.0.store.commit_low(txn).await.map_err(|error| uncommitted(&error))?;
            }
            match page.last() {
                Some((key, _)) if page.len() == PAGE => from = key.next(),
                _ => return Ok(()),
            }
        }
    }

    async fn put_flow(&self, tenant: TenantId, record: &FlowRecord) -> Result<(), WireError> {
        let (store, key) = (&self.0.store, Key::tenant(tenant).id(record.id.bytes()));
        let mut txn = Txn::new();
        txn.expect_present(Table::Flows, key.clone());
        store.put(&mut txn, tenant, Table::Flows, key, record).map_err(|error| unreadable(&error))?;
        txn.tell(TailEntry::Flow(tenant, record.id));
        store.commit(txn).await.map(drop).map_err(|error| uncommitted(&error))
    }

    async fn put_connection(&self, tenant: TenantId, record: &ConnectionRecord) -> Result<(), WireError> {
        let (store, key) = (&self.0.store, Key::tenant(tenant).id(record.id.bytes()));
        let mut txn = Txn::new();
        txn.expect_present(Table::Connections, key.clone());
        store.put(&mut txn, tenant, Table::Connections, key, record).map_err(|error| unreadable(&error))?;
        txn.tell(TailEntry::Connection(tenant, record.id));
        store.commit(txn).await.map(drop).map_err(|error| uncommitted(&error))
    }

    fn with_routes(&self, mut state: State) {
        state.routes = Arc::new(Routes::of(state.flows.values(), &self.0.registry, &state.routes));
        self.swap(state);
    }
}

fn not_binned(kind: &str, name: &str) -> WireError {
    WireError::not_found(format!("there is no {kind} named {} in the bin", display(name)))
        .hint(format!("`aura {kind} list --deleted` shows what is there"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_definition_names_what_its_steps_and_triggers_name() {
        let text = "aura: 1\nflow: f\ntriggers:\n  - { id: in, on: webhook, auth: { bearer: hook } }\nsteps:\n  - id: all\n    map:\n      over: [1]\n      steps:\n        - { id: b, call: { flow: child } }\n        - { id: c, uses: slack.post_message, connection: ops, with: { flow: other } }\n";
        let flow = definition::read(text).unwrap();
        let check = |what: Named<'_>, expected: bool| assert_eq!(names(&flow, what), expected, "{what:?}");
        check(Named::Flow("child"), true);
        check(Named::Flow("other"), false);
        check(Named::Connection("ops"), true);
        check(Named::Connection("hook"), true);
        check(Named::Connection("shop"), false);
    }
}
