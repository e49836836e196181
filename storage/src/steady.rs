//! What is kept of the daemon's clock between two starts: how its time goes with the time since the machine's boot.
//!
//! A row of `Meta`, written when that changes and never otherwise. Another boot makes it worthless.

use aura_protocol::TenantId;
use serde::{Deserialize, Serialize};

use crate::store::{CommitError, ReadError, Store};
use crate::table::Table;
use crate::txn::Txn;
use crate::writer::meta;

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Steady {
    /// The boot of the machine, as its kernel names it.
    pub boot: String,
    /// The daemon's time less the time since that boot, in milliseconds.
    pub base_ms: i64,
}

impl Store {
    /// What was kept, if anything.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn steady(&self) -> Result<Option<Steady>, ReadError> {
        self.get(TenantId::DEFAULT, Table::Meta, &meta::steady())
    }

    /// Keeps it.
    ///
    /// # Errors
    /// As [`Store::commit`].
    pub async fn keep_steady(&self, steady: &Steady) -> Result<(), CommitError> {
        let mut txn = Txn::new();
        self.put(&mut txn, TenantId::DEFAULT, Table::Meta, meta::steady(), steady)
            .map_err(|error| CommitError::Io(error.to_string()))?;
        self.commit(txn).await.map(drop)
    }
}
