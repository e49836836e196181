//! The disk of the simulator: what is durable, and the large values that are on their way there.
//!
//! It counts references by its own rules (content comes with the first, goes with the last), so what the engine
//! holds and what retention gives back are judged and not asked.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};

use aura_protocol::run::{CallOutcome, Reach, StepError, Transition};
use aura_protocol::{BlobRef, RunId, TenantId, Value, wire};
use aura_storage::rows::{KvRow, blob_key, name_key};
use aura_storage::{BlobChange, Key, Txn};
use sha2::{Digest, Sha256};

use super::Fault;
use crate::engine::blobs::{held_by, too_large};
use crate::engine::core::scope::Stored;
use crate::retention::delete::give_back;

const TENANT: TenantId = TenantId::DEFAULT;
/// Values of more than this weight are large in the simulator.
pub(super) const LARGE: usize = 400;
/// Bytes of one output at most.
pub(super) const OUTPUT_MAX: usize = 4_000;
/// Bytes of all large values of a run at most.
const RUN_MAX: u64 = 9_000;

/// The key of a name that `kv` steps keep something under.
pub(super) fn kept_key(name: &str) -> Key {
    name_key(TENANT, hashed(name.as_bytes()))
}

fn hashed(bytes: &[u8]) -> [u8; 16] {
    let mut hash = [0; 16];
    hash.copy_from_slice(&Sha256::digest(bytes)[..16]);
    hash
}

/// Content that is durable and how many rows refer to it; content on its way and who still needs it.
#[derive(Debug, Default)]
struct Shelf {
    rows: BTreeMap<Key, (u64, Vec<u8>)>,
    pending: BTreeMap<[u8; 16], (usize, Vec<u8>)>,
    lost: Option<Fault>,
}

impl Shelf {
    fn keep(&mut self, content: Vec<u8>) -> BlobRef {
        let blob = BlobRef { hash: hashed(&content), bytes: content.len() as u64 };
        self.pending.entry(blob.hash).or_insert((0, content)).0 += 1;
        blob
    }

    fn bytes(&mut self, blob: BlobRef) -> Result<Vec<u8>, Fault> {
        let pending = self.pending.get(&blob.hash).map(|(_, content)| content);
        let found = pending.or_else(|| self.rows.get(&blob_key(TENANT, blob.hash)).map(|(_, content)| content));
        found.cloned().ok_or_else(|| {
            let fault = format!("a reference leads nowhere: {}", hex::encode(blob.hash));
            self.lost.get_or_insert(fault).clone()
        })
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Disk {
    /// What `kv` steps keep.
    pub kv: BTreeMap<Key, KvRow>,
    /// The counter of its rows.
    pub names: i64,
    shelf: Arc<Mutex<Shelf>>,
}

/// The large values of one transition until it is durable.
pub(super) struct Session {
    shelf: Arc<Mutex<Shelf>>,
    kept: Mutex<Vec<[u8; 16]>>,
}

impl Session {
    /// What it kept.
    pub(super) fn end(&self) -> Vec<[u8; 16]> {
        std::mem::take(&mut self.kept.lock().unwrap())
    }
}

impl Stored for Session {
    fn min(&self) -> usize {
        LARGE
    }

    fn keep(&self, value: Value) -> Value {
        let blob = self.shelf.lock().unwrap().keep(wire::encode(&value).unwrap());
        self.kept.lock().unwrap().push(blob.hash);
        Value::Blob(blob)
    }

    fn value(&self, blob: BlobRef) -> Result<Value, String> {
        Ok(wire::decode(&self.shelf.lock().unwrap().bytes(blob)?).unwrap())
    }

    fn bytes(&self, blob: BlobRef) -> Result<Arc<Vec<u8>>, String> {
        self.shelf.lock().unwrap().bytes(blob).map(Arc::new)
    }

    fn refuses(&self, weight: usize, held: u64) -> Option<StepError> {
        (weight > OUTPUT_MAX || held + weight as u64 > RUN_MAX).then(|| too_large(0))
    }
}

impl Disk {
    /// A disk on which another run holds this content once.
    pub(super) fn shared_with(other: &Value) -> Self {
        let disk = Self::default();
        let content = wire::encode(other).unwrap();
        disk.shelf().rows.insert(blob_key(TENANT, hashed(&content)), (1, content));
        disk
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock().unwrap()
    }

    /// A session for one transition.
    pub(super) fn session(&self) -> Arc<Session> {
        Arc::new(Session { shelf: Arc::clone(&self.shelf), kept: Mutex::default() })
    }

    /// Content on its way, as an event's body.
    pub(super) fn keep(&self, content: Vec<u8>) -> BlobRef {
        self.shelf().keep(content)
    }

    /// An outcome as the driver hands it to the run, and what must be kept until that is durable.
    pub(super) fn keep_outcome(&self, outcome: CallOutcome) -> (CallOutcome, Vec<[u8; 16]>) {
        match outcome {
            CallOutcome::Done(output) if output.weight() > OUTPUT_MAX => {
                (CallOutcome::Failed(too_large(0), Reach::Arrived), Vec::new())
            }
            CallOutcome::Done(output) if output.weight() > LARGE => {
                let blob = self.keep(wire::encode(&output).unwrap());
                (CallOutcome::Done(Value::Blob(blob)), vec![blob.hash])
            }
            other => (other, Vec::new()),
        }
    }

    /// Nobody waits for these any more.
    pub(super) fn drop_kept(&self, kept: &[[u8; 16]]) {
        let pending = &mut self.shelf().pending;
        for hash in kept {
            let users = pending.get_mut(hash).map_or(0, |(users, _)| {
                *users -= 1;
                *users
            });
            if users == 0 {
                pending.remove(hash);
            }
        }
    }

    /// Memory is lost.
    pub(super) fn forget(&self) {
        self.shelf().pending.clear();
    }

    /// A value with every reference in it read.
    pub(super) fn loaded(&self, value: &Value) -> Result<Value, Fault> {
        value.loaded(&mut |blob| Ok(wire::decode(&self.shelf().bytes(blob)?).unwrap()))
    }

    /// A reference that was followed in vain, in an expression or by the driver.
    pub(super) fn lost(&self) -> Result<(), Fault> {
        self.shelf().lost.clone().map_or(Ok(()), Err)
    }

    /// A journal row is durable, with the content that it brings.
    pub(super) fn write(&self, transition: &Transition) -> Result<(), Fault> {
        let mut txn = Txn::new();
        for blob in held_by(transition) {
            let content = self.shelf().pending.get(&blob.hash).map(|(_, content)| content.as_slice().into());
            txn.hold_blob(blob_key(TENANT, blob.hash), content);
        }
        self.count(&txn)
    }

    /// A journal row goes as retention lets it go.
    pub(super) fn delete(&self, transition: &Transition) -> Result<(), Fault> {
        let mut txn = Txn::new();
        give_back(TENANT, RunId::from_bytes([0; 16]), transition, &mut txn);
        self.count(&txn)
    }

    fn count(&self, txn: &Txn) -> Result<(), Fault> {
        let rows = &mut self.shelf().rows;
        for change in &txn.blobs {
            match change {
                BlobChange::Hold { key, content } => match (rows.get_mut(key), content) {
                    (Some((count, _)), _) => *count += 1,
                    (None, Some(content)) => {
                        rows.insert(key.clone(), (1, content.to_vec()));
                    }
                    (None, None) => return Err("a row refers to content that nobody brings".into()),
                },
                BlobChange::Release { key } => match rows.get_mut(key) {
                    None => return Err("a row gives back content that nobody holds".into()),
                    Some((count, _)) if *count > 1 => *count -= 1,
                    Some(_) => {
                        rows.remove(key);
                    }
                },
            }
        }
        Ok(())
    }

    /// Whether exactly these rows are counted, besides the one of another run.
    pub(super) fn counts(&self, journal: &[Transition], other: &Value) -> Result<(), Fault> {
        let mut wanted: BTreeMap<Key, u64> = BTreeMap::new();
        let content = wire::encode(other).unwrap();
        wanted.insert(blob_key(TENANT, hashed(&content)), 1);
        for transition in journal {
            // Once for each row, however often it refers to it: told here again.
            let mut found = BTreeSet::new();
            transition.records.iter().for_each(|record| {
                record.blobs(&mut |blob| {
                    found.insert(blob_key(TENANT, blob.hash));
                });
            });
            found.into_iter().for_each(|key| *wanted.entry(key).or_default() += 1);
        }
        let held: BTreeMap<Key, u64> =
            self.shelf().rows.iter().map(|(key, (count, _))| (key.clone(), *count)).collect();
        if held == wanted {
            return Ok(());
        }
        let shown = |counts: &BTreeMap<Key, u64>| {
            counts.iter().map(|(key, count)| format!("{}×{count}", key.hex())).collect::<Vec<_>>().join(" ")
        };
        Err(format!("large values are held {}, and rows refer to {}", shown(&held), shown(&wanted)))
    }
}
