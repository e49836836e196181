//! Deleting one finished run: all its rows and references at once, or in pieces that are each a whole state.
//!
//! The transaction says itself that the run has ended (no live row), so a run that is at work is never deleted,
//! whoever decided so. A long journal goes from its end, with the list row told each time where it ends now.

use aura_protocol::run::{Record, RunHead, Transition};
use aura_protocol::{RunId, TenantId};
use aura_storage::rows::{blob_key, journal_key, run_key};
use aura_storage::{CommitError, Key, ReadError, Store, Table, Txn};

use crate::engine::core::bugs::{Bug, has, without_inputs};

/// Rows of one transaction: few, so that it adds little to the group that it rides in.
const ROWS: usize = 256;
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
    deleted: u64,
}

impl Deletion {
    /// Deletes runs of a tenant.
    #[must_use]
    pub fn new(store: &Store, tenant: TenantId) -> Self {
        Self { store: store.clone(), tenant, next: Vec::new(), deleted: 0 }
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
            let (rows, first) = read.unwrap_or_else(|error| Err(ReadError::Io(error.to_string())))?;
            let mut txn = Txn::new();
            txn.expect_absent(Table::Live, run_key(tenant, run));
            txn.expect_present(Table::Runs, run_key(tenant, run));
            for (key, transition) in rows {
                give_back(tenant, &transition, &mut txn);
                txn.delete(Table::Journal, key);
            }
            if first <= 1 {
                txn.delete(Table::Runs, run_key(tenant, run));
                let rows: usize = self.next.iter().map(|txn| txn.deletes.len()).sum();
                if !self.next.is_empty() && rows + txn.deletes.len() > ROWS {
                    self.commit().await?;
                }
                self.next.push(txn);
                return Ok(());
            }
            // The rest is still a run whose list row and journal fit each other.
            last = first - 1;
            let head = RunHead { transition: last, ..head.clone() };
            self.store.put(&mut txn, tenant, Table::Runs, run_key(tenant, run), &head)?;
            self.store.commit_low(txn).await?;
        }
    }

    async fn commit(&mut self) -> Result<(), DeleteError> {
        let parts = std::mem::take(&mut self.next);
        let mut whole = Txn::new();
        for part in &parts {
            whole.absent.extend(part.absent.iter().cloned());
            whole.present.extend(part.present.iter().cloned());
            whole.deletes.extend(part.deletes.iter().cloned());
            whole.blobs.extend(part.blobs.iter().cloned());
        }
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
        if !self.next.is_empty() {
            self.commit().await?;
        }
        Ok(self.deleted)
    }
}

/// The last rows of a journal up to `last`, as many as one transaction may hold, and the number of the first.
fn ending(store: &Store, tenant: TenantId, run: RunId, last: u64) -> Result<(Vec<(Key, Transition)>, u64), ReadError> {
    let (from, mut to) = (journal_key(tenant, run, 0), journal_key(tenant, run, last.saturating_add(1)));
    let mut rows: Vec<(Key, Transition)> = Vec::new();
    loop {
        let page: Vec<(Key, Transition)> = store.scan(tenant, Table::Journal, &from, &to, PAGE, true)?;
        let whole = page.len() < PAGE;
        rows.extend(page);
        if whole {
            return Ok((rows, 0));
        }
        if let Some((key, _)) = rows.last() {
            to = key.clone();
        }
        if rows.len() >= ROWS {
            let first = rows.last().and_then(|(key, _)| key.number_at(32)).unwrap_or(0);
            return Ok((rows, first));
        }
    }
}

/// What a transition refers to: stored values, and the rows of the events that it began with.
pub(crate) fn give_back(tenant: TenantId, transition: &Transition, txn: &mut Txn) {
    let held = if has(Bug::InputsAreNotGivenBack) { without_inputs(transition).blobs() } else { transition.blobs() };
    for blob in held {
        txn.release_blob(blob_key(tenant, blob.hash));
    }
    for record in &transition.records {
        if let Record::RunStarted(started) = record {
            for event in started.events.iter().chain([&started.event.event]) {
                txn.delete(Table::Events, Key::tenant(tenant).id(event.bytes()));
            }
        }
    }
}
