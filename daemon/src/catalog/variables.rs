//! Variables of a tenant: set by people, read by runs as they are when a run is created.
//!
//! Every change carries who and when; the newest stands in the row, the audit trail will have them all.

use std::sync::Arc;

use aura_protocol::flow::Variables;
use aura_protocol::rpc::Actor;
use aura_protocol::text::display;
use aura_protocol::variable::{VALUE_MAX, VARIABLES_MAX, VarSet, Variable, is_name};
use aura_protocol::{Code, Map, TenantId, Value, WireError};
use aura_storage::rows::{VarRow, name_key};
use aura_storage::{Key, Table, Txn};

use crate::catalog::edit::uncommitted;
use crate::catalog::{Catalog, State, unreadable};

fn shown(row: &VarRow) -> Variable {
    Variable { name: row.name.clone(), value: row.value.clone(), changed_ms: row.changed_ms, by: row.by.clone() }
}

impl Catalog {
    fn var_key(&self, tenant: TenantId, name: &str) -> Key {
        name_key(tenant, self.0.store.index_hash(tenant, "var", &[name.as_bytes()]))
    }

    /// All variables, by name.
    #[must_use]
    pub fn var_list(&self) -> Vec<Variable> {
        self.now().variables.values().map(|row| shown(row)).collect()
    }

    /// Sets a variable; the same again changes nothing but who and when.
    ///
    /// # Errors
    /// The name or the value is refused, there are too many, or it was not stored.
    pub async fn var_set(&self, actor: &Actor, set: VarSet) -> Result<Variable, WireError> {
        if !is_name(&set.name) {
            let message = format!("`{}` is no name of a variable", display(&set.name));
            return Err(WireError::new(Code::Invalid, message)
                .hint("use up to 64 letters, digits and `_`, the first no digit, as in `shop_url`"));
        }
        if set.value.weight() > VALUE_MAX || set.value.has_blob() {
            let message = format!("the value of {} is larger than {} KiB", set.name, VALUE_MAX / 1024);
            return Err(WireError::new(Code::Invalid, message).hint("keep large data in a `kv` step or outside"));
        }
        let _one = self.0.edit.lock().await;
        let state = self.now();
        if !state.variables.contains_key(&set.name) && state.variables.len() >= VARIABLES_MAX {
            let message = format!("there are {VARIABLES_MAX} variables already; nothing was stored");
            return Err(WireError::new(Code::Conflict, message).hint("take one away with `aura var unset NAME`"));
        }
        let row =
            VarRow { name: set.name, value: set.value, changed_ms: self.0.clock.now_ms(), by: actor.name.clone() };
        let mut txn = Txn::new();
        let key = self.var_key(actor.tenant, &row.name);
        self.0.store.put(&mut txn, actor.tenant, Table::Vars, key, &row).map_err(|error| unreadable(&error))?;
        self.0.store.commit(txn).await.map_err(|error| uncommitted(&error))?;
        let reply = shown(&row);
        let mut state = State::clone(&self.now());
        state.variables.insert(row.name.clone(), Arc::new(row));
        self.swap(state);
        Ok(reply)
    }

    /// Takes a variable away. Runs that were created before keep what they read.
    ///
    /// # Errors
    /// There is none of this name, or the change was not stored.
    pub async fn var_unset(&self, actor: &Actor, name: &str) -> Result<Variable, WireError> {
        let _one = self.0.edit.lock().await;
        let state = self.now();
        let Some(row) = state.variables.get(name) else {
            let message = format!("there is no variable `{}`", display(name));
            return Err(WireError::not_found(message).hint("`aura var list` shows them"));
        };
        let mut txn = Txn::new();
        txn.delete(Table::Vars, self.var_key(actor.tenant, name));
        self.0.store.commit(txn).await.map_err(|error| uncommitted(&error))?;
        let mut next = State::clone(&self.now());
        next.variables.remove(name);
        self.swap(next);
        Ok(shown(row))
    }

    /// What a new run reads of them.
    pub(crate) fn var_values(&self, wanted: &Variables) -> Value {
        let state = self.now();
        let fits = |name: &String| wanted.any || wanted.names.contains(name);
        let values: Map = state
            .variables
            .iter()
            .filter(|(name, _)| fits(name))
            .map(|(name, row)| (name.clone(), row.value.clone()))
            .collect();
        Value::Map(values)
    }
}
