//! The relays that this daemon takes deliveries from: where each is, and the token it is shown.
//!
//! A token goes in and never comes out; the sink knows it. How a link fares is told by `relay/home`.

use std::sync::Arc;

use aura_protocol::relay::{RELAYS_MAX, RelayAdd, TOKEN_PREFIX, check_name, check_url};
use aura_protocol::text::display;
use aura_protocol::{Code, RelayId, TenantId, WireError};
use aura_storage::rows::relay::{RelayRecord, relay_key};
use aura_storage::{Table, Txn};

use crate::catalog::edit::uncommitted;
use crate::catalog::{Catalog, State, unreadable};

const TENANT: TenantId = TenantId::DEFAULT;
/// Longest token, in bytes.
const TOKEN_MAX: usize = 200;

impl State {
    /// All relays, by name.
    pub fn relays(&self) -> impl Iterator<Item = &Arc<RelayRecord>> {
        self.relays.values()
    }

    /// A relay.
    ///
    /// # Errors
    /// There is none of this name.
    pub fn relay(&self, name: &str) -> Result<&Arc<RelayRecord>, WireError> {
        self.relays.get(name).ok_or_else(|| {
            WireError::not_found(format!("there is no relay named {}", display(name)))
                .hint("`aura relay list` shows all of them")
        })
    }
}

impl Catalog {
    /// Adds a relay, or changes its address and token.
    ///
    /// # Errors
    /// Something of it is not in form, there are too many, or it is not stored.
    pub async fn relay_add(&self, add: RelayAdd) -> Result<Arc<RelayRecord>, WireError> {
        let wrong = |why: String, hint: &str| WireError::new(Code::Invalid, why).hint(hint);
        check_name(&add.name).map_err(|why| wrong(why, "name it after where it is, as in dmz"))?;
        let url = add.url.trim_end_matches('/').to_owned();
        check_url(&url, add.insecure).map_err(|why| {
            wrong(why, "write https://relay.example.com; --insecure allows http in a network that you trust")
        })?;
        let _one = self.editing().await?;
        let state = self.now();
        let old = state.relays.get(&add.name);
        if old.is_none() && state.relays.len() >= RELAYS_MAX {
            return Err(WireError::new(Code::Conflict, format!("there are {RELAYS_MAX} relays already"))
                .hint("`aura relay remove` takes one away"));
        }
        if let Some(other) = state.relays.values().find(|other| other.url == url && other.name != add.name) {
            return Err(WireError::new(Code::Conflict, format!("{} has this address already", other.name))
                .hint("change that one, or remove it first"));
        }
        let token = match (add.token.trim(), old) {
            ("", Some(old)) => old.token.clone(),
            (token, _) => token.to_owned(),
        };
        let plain = token.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if !token.starts_with(TOKEN_PREFIX) || token.len() > TOKEN_MAX || !plain {
            return Err(wrong("this is no token of a relay".to_owned(), "`aura relay token` at the relay makes one"));
        }
        let now_ms = self.0.clock.now_ms();
        let record = RelayRecord {
            id: old.map_or_else(RelayId::now, |old| old.id),
            name: add.name,
            url,
            token,
            paused: old.is_some_and(|old| old.paused),
            insecure: add.insecure,
            created_ms: old.map_or(now_ms, |old| old.created_ms),
            changed_ms: now_ms,
        };
        self.put_relay(record).await
    }

    /// Takes nothing from a relay, or goes on.
    ///
    /// # Errors
    /// There is none of this name, or it is not stored.
    pub async fn relay_pause(&self, name: &str, paused: bool) -> Result<Arc<RelayRecord>, WireError> {
        let _one = self.editing().await?;
        let old = Arc::clone(self.now().relay(name)?);
        if old.paused == paused {
            return Ok(old);
        }
        self.put_relay(RelayRecord { paused, changed_ms: self.0.clock.now_ms(), ..RelayRecord::clone(&old) }).await
    }

    async fn put_relay(&self, record: RelayRecord) -> Result<Arc<RelayRecord>, WireError> {
        let mut txn = Txn::new();
        let store = &self.0.store;
        store
            .put(&mut txn, TENANT, Table::Relays, relay_key(TENANT, record.id), &record)
            .map_err(|error| unreadable(&error))?;
        store.commit(txn).await.map_err(|error| uncommitted(&error))?;
        let record = Arc::new(record);
        let mut state = State::clone(&self.now());
        state.relays.insert(record.name.clone(), Arc::clone(&record));
        self.swap(state);
        Ok(record)
    }

    /// Forgets a relay. What was taken of it is remembered: it may come back under another name.
    ///
    /// # Errors
    /// There is none of this name, or it is not stored.
    pub async fn relay_remove(&self, name: &str) -> Result<Arc<RelayRecord>, WireError> {
        let _one = self.editing().await?;
        let old = Arc::clone(self.now().relay(name)?);
        let store = &self.0.store;
        let mut txn = Txn::new();
        txn.delete(Table::Relays, relay_key(TENANT, old.id));
        store.commit(txn).await.map_err(|error| uncommitted(&error))?;
        let mut state = State::clone(&self.now());
        state.relays.remove(name);
        self.swap(state);
        Ok(old)
    }
}
