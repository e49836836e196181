//! A store that was restored is paused: nothing starts until a person says so.
//!
//! The mark is a row of `Meta`, so it outlives restarts; it goes with [`Store::resume`] and nothing else.

use aura_protocol::TenantId;
use serde::{Deserialize, Serialize};

use crate::store::{CommitError, ReadError, Store};
use crate::table::Table;
use crate::txn::Txn;
use crate::writer::meta;

/// Why nothing starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Paused {
    /// When it was restored, Unix milliseconds.
    pub since_ms: i64,
    /// When the backup's snapshot was taken.
    pub snapshot_ms: i64,
    /// Calls that were out or about to leave at the snapshot have been judged.
    pub judged: bool,
}

impl Store {
    /// The mark, if the store is paused.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn paused(&self) -> Result<Option<Paused>, ReadError> {
        self.get(TenantId::DEFAULT, Table::Meta, &meta::paused())
    }

    /// Notes that calls of the snapshot were judged, so that this is done once.
    ///
    /// # Errors
    /// As [`Store::commit`].
    pub async fn judged(&self, paused: Paused) -> Result<(), CommitError> {
        let mut txn = Txn::new();
        let judged = Paused { judged: true, ..paused };
        self.put(&mut txn, TenantId::DEFAULT, Table::Meta, meta::paused(), &judged)
            .map_err(|error| CommitError::Io(error.to_string()))?;
        self.commit(txn).await.map(drop)
    }

    /// Takes the mark away: from the next moment on everything may start.
    ///
    /// # Errors
    /// As [`Store::commit`].
    pub async fn resume(&self) -> Result<(), CommitError> {
        let mut txn = Txn::new();
        txn.delete(Table::Meta, meta::paused());
        self.commit(txn).await.map(drop)
    }
}
