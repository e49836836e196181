//! Deleting one finished run: all its rows and references at once, or in pieces that are each a whole state.
//!
//! The transaction says itself that the run has ended (no live row), so a run that is at work is never deleted,
//! whoever decided so. A long journal goes from its end, with the list row told each time where it ends now.

use aura_protocol::run::{Record, RunHead, Transition};
use aura_protocol::{RunId, TenantId};
use aura_storage::rows::{blob_key, index_key, journal_key, run_key};
use aura_storage::{CommitError, Key, ReadError, Store, Table, Txn};

use crate::engine::core::bugs::{Bug, has, without_inputs};

/// Changes of one transaction: few, so that it adds little to the group that it rides in. A journal row with all that
/// it refers to cannot be divided, so the last one may go beyond it.
pub(super) const CHANGES: usize = 256;
/// Journal rows read at a time.
const PAGE: usize = 64;

/// Why a run was not deleted.
#[derive(Debug, thiserror::Error)]
pub enum DeleteError {
    /// It is at work, or in doubt.
    #[error("it has not finished")]
    Live,
    /// A row of it cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The store did not commit.
    #[error(transparent)]
    Commit(#[from] CommitError),
}

/// Deletes runs one after the other, several in one transaction if they are small.
pub struct Deletion {
    store: Store,
    tenant: TenantId,
    /// Runs whose transactions are committed together next.
    next: Vec<Txn>,
    /// What those free at most, in bytes.
    pub waiting: u64,
    deleted: u64,
    /// Changes of the largest transaction so far.
    pub largest: usize,
}

impl Deletion {
    /// Deletes runs of a tenant.
    #[must_use]
    pub fn new(store: &Store, tenant: TenantId) -> Self {
        Self { store: store.clone(), tenant, next: Vec::new(), waiting: 0, deleted: 0, largest: 0 }
    }

    /// Takes a run; it is gone when [`Deletion::finish`] returned.
    ///
    /// # Errors
    /// It has not finished, or the store refuses.
    pub async fn take(&mut self, head: &RunHead) -> Result<(), DeleteError> {
        let (tenant, run) = (self.tenant, head.run);
        if !head.state.is_final() {
            return Err(DeleteError::Live);
        }
        let mut last = head.transition;
        loop {
            let store = self.store.clone();
            let read = tokio::task::spawn_blocking(move || ending(&store, tenant, run, last)).await;
            let (rows, rest) = read.unwrap_or_else(|error| Err(ReadError::Io(error.to_string())))?;
            let mut txn = Txn::new();
            txn.expect_absent(Table::Live, run_key(tenant, run));
            txn.expect_present(Table::Runs, run_key(tenant, run));
            let mut bytes = 0;
            for (key, transition) in rows {
                bytes += weight(&transition);
                give_back(tenant, run, &transition, &mut txn);
                txn.delete(Table::Journal, key);
            }
            let Some(rest) = rest else {
                txn.delete(Table::Runs, run_key(tenant, run));
                let waiting: usize = self.next.iter().map(changes).sum();
                if waiting + changes(&txn) > CHANGES {
                    self.settle().await?;
                }
                self.next.push(txn);
                self.waiting = self.waiting.saturating_add(bytes);
                return Ok(());
            };
            // The rest is still a run whose list row and journal fit each other.
            last = rest;
            let head = RunHead { transition: last, ..head.clone() };
            self.store.put(&mut txn, tenant, Table::Runs, run_key(tenant, run), &head)?;
            self.largest = self.largest.max(changes(&txn));
            self.store.commit_low(txn).await?;
        }
    }

    /// Commits what was taken so far.
    ///
    /// # Errors
    /// The store refuses.
    pub async fn settle(&mut self) -> Result<(), DeleteError> {
        self.waiting = 0;
        if self.next.is_empty() {
            return Ok(());
        }
        let parts = std::mem::take(&mut self.next);
        let mut whole = Txn::new();
        for part in &parts {
            whole.absent.extend(part.absent.iter().cloned());
            whole.present.extend(part.present.iter().cloned());
            whole.deletes.extend(part.deletes.iter().cloned());
            whole.blobs.extend(part.blobs.iter().cloned());
        }
        self.largest = self.largest.max(changes(&whole));
        match self.store.commit_low(whole).await {
            Ok(_) => self.deleted += u64::try_from(parts.len()).unwrap_or(0),
            // Somebody else deleted one of them meanwhile: then each for itself.
            Err(CommitError::Conflict(_)) => {
                for part in parts {
                    match self.store.commit_low(part).await {
                        Ok(_) => self.deleted += 1,
                        Err(CommitError::Conflict(_)) => {}
                        Err(error) => return Err(error.into()),
                    }
                }
            }
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// Commits what is left; how many runs were deleted.
    ///
    /// # Errors
    /// The store refuses.
    pub async fn finish(mut self) -> Result<u64, DeleteError> {
        self.settle().await?;
        Ok(self.deleted)
    }
}

/// What a transition and the stored values it refers to take at most, in bytes: values that others hold too stay.
fn weight(transition: &Transition) -> u64 {
    let row = aura_protocol::wire::encode(transition).map_or(0, |row| row.len());
    transition.blobs().iter().fold(u64::try_from(row).unwrap_or(0), |sum, blob| sum.saturating_add(blob.bytes))
}

/// What a transaction changes: rows, and references to stored values.
pub(super) fn changes(txn: &Txn) -> usize {
    txn.deletes.len() + txn.puts.len() + txn.blobs.len()
}

/// The last rows of a journal up to `last`, as many as one transaction may hold, and the number before the first of
/// them; none if these are all.
#[expect(clippy::type_complexity, reason = "one caller, which takes it apart at once")]
fn ending(
    store: &Store,
    tenant: TenantId,
    run: RunId,
    last: u64,
) -> Result<(Vec<(Key, Transition)>, Option<u64>), ReadError> {
    let (from, mut to) = (journal_key(tenant, run, 0), journal_key(tenant, run, last.saturating_add(1)));
    let mut rows: Vec<(Key, Transition)> = Vec::new();
    let mut cost = 0;
    loop {
        let page: Vec<(Key, Transition)> = store.scan(tenant, Table::Journal, &from, &to, PAGE, true)?;
        let whole = page.len() < PAGE;
        for (key, transition) in page {
            let mut alone = Txn::new();
            give_back(tenant, run, &transition, &mut alone);
            let more = 1 + changes(&alone);
            // Two are for the list row.
            if !rows.is_empty() && cost + more > CHANGES - 2 {
                return Ok((rows, Some(transition.number)));
            }
            cost += more;
            to = key.clone();
            rows.push((key, transition));
        }
        if whole {
            return Ok((rows, None));
        }
    }
}

/// What a transition refers to: stored values, and the rows of the events that it began with and by which it is found.
pub(crate) fn give_back(tenant: TenantId, run: RunId, transition: &Transition, txn: &mut Txn) {
    let held = if has(Bug::InputsAreNotGivenBack) { without_inputs(transition).blobs() } else { transition.blobs() };
    for blob in held.into_iter().filter(|_| !has(Bug::RoomIsNotGivenBack)) {
        txn.release_blob(blob_key(tenant, blob.hash));
    }
    for record in &transition.records {
        if let Record::RunStarted(started) = record {
            for hash in &started.index {
                txn.delete(Table::Index, index_key(tenant, *hash, run));
            }
            for event in started.events.iter().chain([&started.event.event]) {
                txn.delete(Table::Events, Key::tenant(tenant).id(event.bytes()));
            }
        }
    }
}
