//! The least group-committing writer: one thread takes what waits, inserts, commits, tells.
//!
//! The one invariant: a row is acknowledged only after the commit that holds it was flushed. The thread never
//! waits for a batch to fill; while it commits, the next one collects by itself.

use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use anyhow::{Context, Result, anyhow};
use bytes::Bytes;
use redb::{Database, Durability, TableDefinition};
use tokio::sync::oneshot;

const ROWS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("rows");
/// Page cache, as `aurad` has it by default.
const CACHE: usize = 32 * 1024 * 1024;
/// Most rows that wait.
const QUEUE: usize = 4096;
/// Most rows of one commit.
const GROUP: usize = 512;

type Waiting = (Bytes, oneshot::Sender<()>);

/// The way to the writer.
#[derive(Clone, Debug)]
pub(super) struct Rows(SyncSender<Waiting>);

impl Rows {
    /// Makes the database and starts its thread.
    pub(super) fn open(file: &Path) -> Result<Self> {
        let base = Database::builder()
            .set_cache_size(CACHE)
            .create(file)
            .with_context(|| format!("the database {} cannot be made", file.display()))?;
        let (sender, receiver) = sync_channel(QUEUE);
        std::thread::Builder::new().name("writer".to_owned()).spawn(move || {
            if let Err(error) = write(&base, &receiver) {
                eprintln!("the writer ends: {error}");
            }
        })?;
        Ok(Self(sender))
    }

    /// Stores one row; returns after it is on disk.
    pub(super) async fn store(&self, row: Bytes) -> Result<()> {
        let (sender, receiver) = oneshot::channel();
        self.0.try_send((row, sender)).map_err(|_| anyhow!("the queue is full"))?;
        receiver.await.context("the writer has ended")
    }
}

fn write(base: &Database, queue: &Receiver<Waiting>) -> Result<()> {
    let mut number = 0u64;
    let mut told = Vec::with_capacity(GROUP);
    while let Ok(first) = queue.recv() {
        let mut transaction = base.begin_write()?;
        transaction.set_durability(Durability::Immediate)?;
        {
            let mut table = transaction.open_table(ROWS)?;
            for (row, sender) in std::iter::once(first).chain(queue.try_iter().take(GROUP - 1)) {
                table.insert(number, row.as_ref())?;
                number += 1;
                told.push(sender);
            }
        }
        transaction.commit()?;
        for sender in told.drain(..) {
            let _ = sender.send(());
        }
    }
    Ok(())
}
