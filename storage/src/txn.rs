//! A transaction as data: what must hold, what changes, and what the tail says about it.

use std::sync::Arc;

use aura_protocol::{EventId, HeldId, RunId, TenantId};
use serde::{Deserialize, Serialize};

use crate::table::{Key, Table};

/// One atomic change.
#[derive(Clone, Debug, Default)]
pub struct Txn {
    /// Rows that must not exist, else Conflict.
    pub absent: Vec<(Table, Key)>,
    /// Rows that must exist, else Conflict.
    pub present: Vec<(Table, Key)>,
    /// Sealed or checked values, ready to write.
    pub puts: Vec<(Table, Key, Vec<u8>)>,
    /// Rows to remove (absent ones are no error).
    pub deletes: Vec<(Table, Key)>,
    /// What the group's tail row says.
    pub tail: Vec<TailEntry>,
    /// Dedupe keys that ride in the group's tail row.
    pub dedupe: Vec<DedupeEntry>,
    /// Added to counters.
    pub counters: Vec<(Key, i64)>,
    /// References to blobs that its rows bring or take away.
    pub blobs: Vec<BlobChange>,
}

/// One reference more or less to a blob; the key is [`crate::rows::blob_key`]. The writer counts them, writes the
/// content with the first and removes it with the last.
#[derive(Clone, Debug)]
pub enum BlobChange {
    /// A row that is written now refers to it.
    Hold {
        /// Tenant and hash.
        key: Key,
        /// What [`crate::Store::seal_blob`] made; `None` only if another row refers to it already (else Conflict).
        content: Option<Arc<[u8]>>,
    },
    /// A row that is removed now referred to it.
    Release {
        /// Tenant and hash.
        key: Key,
    },
}

impl Txn {
    /// An empty transaction: committing it is a barrier for all before it.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
    /// Removes a row.
    pub fn delete(&mut self, table: Table, key: Key) {
        self.deletes.push((table, key));
    }
    /// Conflict if the row exists.
    pub fn expect_absent(&mut self, table: Table, key: Key) {
        self.absent.push((table, key));
    }
    /// Conflict unless the row exists.
    pub fn expect_present(&mut self, table: Table, key: Key) {
        self.present.push((table, key));
    }
    /// One more row refers to a blob.
    pub fn hold_blob(&mut self, key: Key, content: Option<Arc<[u8]>>) {
        self.blobs.push(BlobChange::Hold { key, content });
    }
    /// One row less refers to a blob: once for each blob of a removed journal row
    /// ([`aura_protocol::run::Transition::blobs`]).
    pub fn release_blob(&mut self, key: Key) {
        self.blobs.push(BlobChange::Release { key });
    }
    /// Tells the tail.
    pub fn tell(&mut self, entry: TailEntry) {
        self.tail.push(entry);
    }
}

/// What happened, in ids only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TailEntry {
    /// A run made its transition of this number (0: it was queued).
    Run(TenantId, RunId, u64),
    /// An event was held or dropped, or its held row fired.
    Event(TenantId, EventId),
    /// A held row changed.
    Held(TenantId, HeldId),
    /// A flow changed (16 bytes of its id).
    Flow(TenantId, aura_protocol::FlowId),
    /// A connection changed.
    Connection(TenantId, aura_protocol::ConnectionId),
    /// A subscription changed, was disabled, or fares otherwise than before.
    Subscription(TenantId, aura_protocol::SubscriptionId),
    /// A refused delivery was kept.
    Refused(TenantId, aura_protocol::DeliveryId),
}

/// A dedupe key and what it led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DedupeEntry {
    /// The tenant.
    pub tenant: TenantId,
    /// Index hash over flow, trigger and key.
    pub hash: [u8; 16],
    /// The event it led to.
    pub event: EventId,
    /// The run, if it led to one at once.
    pub run: Option<RunId>,
    /// Forgotten after this time.
    pub expires_ms: i64,
}
