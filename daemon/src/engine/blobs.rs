//! Large values beside the runs: on their way to the store, and a few that were read lately.
//!
//! Invariant: whoever holds a reference finds its content, in memory until its transaction is durable, in the store
//! from then on. A run keeps references only; what an expression reads is loaded for that step and dropped after it,
//! but for a small cache (least recently used, bounded in bytes). A reference leads to the same content for ever, so
//! the core stays a pure function of the journal.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use aura_protocol::run::{CallOutcome, ErrorClass, Reach, StepError, Transition};
use aura_protocol::{BlobRef, TenantId, Value, wire};
use aura_storage::rows::blob_key;
use aura_storage::{BLOB_MIN, ReadError, Store, Txn};
use lru::LruCache;

use super::core::bugs::{Bug, has, without_inputs};
use super::core::scope::Stored;

/// Bytes of values read lately that stay in memory.
const CACHE_MAX: usize = 8 * 1024 * 1024;

/// How much one output, and one run, may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlobLimits {
    /// Bytes of one output.
    pub output_max: usize,
    /// Bytes of all large values of one run.
    pub run_max: u64,
}

impl Default for BlobLimits {
    fn default() -> Self {
        Self { output_max: 16 * 1024 * 1024, run_max: 256 * 1024 * 1024 }
    }
}

type Name = (TenantId, [u8; 16]);

/// Content that is not durable yet.
#[derive(Debug)]
struct Pending {
    users: usize,
    sealed: Arc<[u8]>,
    content: Arc<Vec<u8>>,
}

#[derive(Debug)]
struct Memory {
    pending: HashMap<Name, Pending>,
    recent: LruCache<Name, Arc<Vec<u8>>>,
    recent_bytes: usize,
}

impl Memory {
    fn remember(&mut self, name: Name, content: Arc<Vec<u8>>) {
        if content.len() > CACHE_MAX / 2 || self.recent.contains(&name) {
            return;
        }
        self.recent_bytes += content.len();
        self.recent.put(name, content);
        while self.recent_bytes > CACHE_MAX {
            let Some((_, gone)) = self.recent.pop_lru() else { break };
            self.recent_bytes = self.recent_bytes.saturating_sub(gone.len());
        }
    }
}

/// See the module. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Blobs {
    store: Store,
    /// How much outputs and runs may hold.
    pub limits: BlobLimits,
    memory: Arc<Mutex<Memory>>,
}

/// Keeps content findable until it is dropped, which is after its commit.
#[derive(Debug)]
pub struct Kept {
    blobs: Blobs,
    name: Name,
}

impl Drop for Kept {
    fn drop(&mut self) {
        let mut memory = self.blobs.lock();
        let Entry::Occupied(mut entry) = memory.pending.entry(self.name) else { return };
        entry.get_mut().users -= 1;
        if entry.get().users == 0 {
            let content = entry.remove().content;
            memory.remember(self.name, content);
        }
    }
}

impl Blobs {
    /// Over a store.
    #[must_use]
    pub fn new(store: Store, limits: BlobLimits) -> Self {
        let memory = Memory { pending: HashMap::new(), recent: LruCache::unbounded(), recent_bytes: 0 };
        Self { store, limits, memory: Arc::new(Mutex::new(memory)) }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hashes, compresses and seals content; it is findable while the guard lives.
    ///
    /// # Errors
    /// The store cannot seal it.
    pub fn keep_bytes(&self, tenant: TenantId, content: Vec<u8>) -> Result<(BlobRef, Kept), ReadError> {
        let sealed = self.store.seal_blob(tenant, &content)?;
        let name = (tenant, sealed.blob.hash);
        let mut memory = self.lock();
        let pending = memory.pending.entry(name).or_insert_with(|| Pending {
            users: 0,
            sealed: sealed.content,
            content: Arc::new(content),
        });
        pending.users += 1;
        Ok((sealed.blob, Kept { blobs: self.clone(), name }))
    }

    /// The value as a journal holds it: itself, or a reference if it is large.
    ///
    /// # Errors
    /// The store cannot seal it.
    pub fn keep(&self, tenant: TenantId, value: Value) -> Result<(Value, Option<Kept>), ReadError> {
        if value.weight() <= BLOB_MIN || has(Bug::LargeValuesStayInTheRun) {
            return Ok((value, None));
        }
        let content = wire::encode(&value).map_err(|error| ReadError::Io(error.to_string()))?;
        let (blob, kept) = self.keep_bytes(tenant, content)?;
        Ok((Value::Blob(blob), Some(kept)))
    }

    /// The outcome of a call as a journal holds it; an output over the limit fails the step, which did happen.
    ///
    /// # Errors
    /// The store cannot seal it.
    pub fn keep_outcome(
        &self,
        tenant: TenantId,
        outcome: CallOutcome,
    ) -> Result<(CallOutcome, Option<Kept>), ReadError> {
        let CallOutcome::Done(output) = outcome else { return Ok((outcome, None)) };
        if output.weight() > self.limits.output_max && !has(Bug::LargeOutputPasses) {
            return Ok((CallOutcome::Failed(too_large(self.limits.output_max), Reach::Arrived), None));
        }
        let (output, kept) = self.keep(tenant, output)?;
        Ok((CallOutcome::Done(output), kept))
    }

    /// The content behind a reference.
    ///
    /// # Errors
    /// The disk failed, or the content is damaged or missing.
    pub fn bytes(&self, tenant: TenantId, blob: BlobRef) -> Result<Arc<Vec<u8>>, ReadError> {
        let name = (tenant, blob.hash);
        {
            let mut memory = self.lock();
            if let Some(pending) = memory.pending.get(&name) {
                return Ok(Arc::clone(&pending.content));
            }
            if let Some(recent) = memory.recent.get(&name) {
                return Ok(Arc::clone(recent));
            }
        }
        let content = self.store.blob(tenant, blob)?.ok_or_else(|| missing(tenant, blob))?;
        let content = Arc::new(content);
        self.lock().remember(name, Arc::clone(&content));
        Ok(content)
    }

    /// The value behind a reference.
    ///
    /// # Errors
    /// As [`Blobs::bytes`].
    pub fn value(&self, tenant: TenantId, blob: BlobRef) -> Result<Value, ReadError> {
        wire::decode(&self.bytes(tenant, blob)?).map_err(|_| missing(tenant, blob))
    }

    /// A value with every reference in it read.
    ///
    /// # Errors
    /// As [`Blobs::bytes`].
    pub fn loaded(&self, tenant: TenantId, value: &Value) -> Result<Value, ReadError> {
        value.loaded(&mut |blob| self.value(tenant, blob))
    }

    /// Adds the references of a journal row to its transaction, with the content that is new.
    pub fn hold(&self, tenant: TenantId, transition: &Transition, txn: &mut Txn) {
        for blob in held_by(transition) {
            let content = self.lock().pending.get(&(tenant, blob.hash)).map(|pending| Arc::clone(&pending.sealed));
            txn.hold_blob(blob_key(tenant, blob.hash), content);
        }
    }

    /// A session for one transition.
    #[must_use]
    pub fn session(&self, tenant: TenantId) -> Arc<Session> {
        Arc::new(Session { blobs: self.clone(), tenant, state: Mutex::default() })
    }
}

/// The references that a journal row holds: retention gives back the same ones.
pub(crate) fn held_by(transition: &Transition) -> BTreeSet<BlobRef> {
    if has(Bug::InputsAreNotHeld) { without_inputs(transition).blobs() } else { transition.blobs() }
}

/// What reading a stored value that is damaged or not there is called.
fn missing(tenant: TenantId, blob: BlobRef) -> ReadError {
    ReadError::Corrupt { table: aura_storage::Table::Blobs, record: blob_key(tenant, blob.hash).hex() }
}

/// The error of an output over the limit.
#[must_use]
pub fn too_large(limit: usize) -> StepError {
    StepError::new(ErrorClass::Invalid, format!("its output is larger than {} MiB", limit / 1024 / 1024))
}

/// The store of large values as one transition sees it.
#[derive(Debug)]
pub struct Session {
    blobs: Blobs,
    tenant: TenantId,
    state: Mutex<SessionState>,
}

#[derive(Debug, Default)]
struct SessionState {
    kept: Vec<Kept>,
    failed: Option<ReadError>,
}

impl Session {
    fn state(&self) -> std::sync::MutexGuard<'_, SessionState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the transition brought, to be held until it is durable; or why it must not be committed.
    ///
    /// # Errors
    /// The disk failed meanwhile: nothing that was decided counts.
    pub fn end(&self) -> Result<Vec<Kept>, ReadError> {
        let mut state = self.state();
        match state.failed.take() {
            Some(error) => Err(error),
            None => Ok(std::mem::take(&mut state.kept)),
        }
    }

    fn found<T>(&self, found: Result<T, ReadError>) -> Result<T, String> {
        found.map_err(|error| {
            // Damage is an answer that stays; a disk that fails is none.
            if matches!(error, ReadError::Io(_)) {
                self.state().failed = Some(error.clone());
            }
            error.to_string()
        })
    }
}

impl Stored for Session {
    fn keep(&self, value: Value) -> Value {
        match self.blobs.keep(self.tenant, value) {
            Ok((value, kept)) => {
                self.state().kept.extend(kept);
                value
            }
            Err(error) => {
                self.state().failed = Some(error);
                Value::Null
            }
        }
    }

    fn value(&self, blob: BlobRef) -> Result<Value, String> {
        self.found(self.blobs.value(self.tenant, blob))
    }

    fn bytes(&self, blob: BlobRef) -> Result<Arc<Vec<u8>>, String> {
        self.found(self.blobs.bytes(self.tenant, blob))
    }

    fn refuses(&self, weight: usize, held: u64) -> Option<StepError> {
        let limits = self.blobs.limits;
        if weight > limits.output_max {
            return Some(too_large(limits.output_max));
        }
        let sum = held.saturating_add(u64::try_from(weight).unwrap_or(u64::MAX));
        (sum > limits.run_max).then(|| {
            let message = format!("the large values of this run are together more than {} MiB", limits.run_max >> 20);
            StepError::new(ErrorClass::Invalid, message)
        })
    }
}

#[cfg(test)]
mod tests {
    use aura_storage::StoreOptions;

    use super::*;

    const TENANT: TenantId = TenantId::DEFAULT;

    fn large(letter: &str) -> Value {
        Value::from(letter.repeat(BLOB_MIN + 1))
    }

    #[tokio::test]
    async fn what_is_kept_is_found_before_and_after_its_commit() {
        let store = Store::open(&StoreOptions::in_memory([7; 32])).unwrap();
        let blobs = Blobs::new(store.clone(), BlobLimits::default());
        let small = Value::from("x".repeat(BLOB_MIN - 16));
        assert_eq!(blobs.keep(TENANT, small.clone()).unwrap().0, small, "small values stay where they are");
        let (kept, guard) = blobs.keep(TENANT, large("a")).unwrap();
        let Value::Blob(blob) = kept else { panic!("{kept:?}") };
        assert_eq!(blobs.value(TENANT, blob).unwrap(), large("a"), "on its way");
        let record = aura_protocol::run::Record::Completed { path: "a".into(), attempt: 1, output: kept };
        let transition = Transition { number: 1, at_ms: 0, records: vec![record] };
        let mut txn = Txn::new();
        blobs.hold(TENANT, &transition, &mut txn);
        store.commit(txn).await.unwrap();
        drop(guard);
        assert!(blobs.lock().pending.is_empty());
        let fresh = Blobs::new(store, BlobLimits::default());
        assert_eq!(fresh.value(TENANT, blob).unwrap(), large("a"), "from the store");
        let other = BlobRef { hash: [1; 16], ..blob };
        assert!(matches!(fresh.value(TENANT, other), Err(ReadError::Corrupt { .. })));
    }

    #[tokio::test]
    async fn the_cache_is_bounded_in_bytes() {
        let store = Store::open(&StoreOptions::in_memory([7; 32])).unwrap();
        let blobs = Blobs::new(store, BlobLimits::default());
        for number in 0..20_u8 {
            drop(blobs.keep_bytes(TENANT, vec![number; CACHE_MAX / 4]).unwrap());
        }
        drop(blobs.keep_bytes(TENANT, vec![99; CACHE_MAX]).unwrap());
        let memory = blobs.lock();
        assert!(memory.recent_bytes <= CACHE_MAX && memory.recent.len() == 4, "{}", memory.recent.len());
    }

    #[tokio::test]
    async fn an_output_over_the_limit_fails_its_step() {
        let store = Store::open(&StoreOptions::in_memory([7; 32])).unwrap();
        let blobs = Blobs::new(store, BlobLimits { output_max: 100_000, run_max: 150_000 });
        let done = CallOutcome::Done(Value::from("x".repeat(100_001)));
        let (outcome, _) = blobs.keep_outcome(TENANT, done).unwrap();
        assert!(matches!(outcome, CallOutcome::Failed(error, Reach::Arrived) if error.class == ErrorClass::Invalid));
        let session = blobs.session(TENANT);
        assert!(session.refuses(90_000, 60_000).is_none());
        assert!(session.refuses(90_000, 60_001).unwrap().message.contains("together"));
    }
}
