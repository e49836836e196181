//! What waits for the writer: transactions in order of submission, and a few orders of the store itself.
//!
//! The number of waiting transactions is bounded by places (a semaphore), so pushing never blocks and order
//! of pushes is order of commits. A group is whatever waits, up to [`GROUP_TXNS_MAX`] and
//! [`GROUP_BYTES_MAX`]; a transaction that comes alone never waits for others, see [`rest`]. Housekeeping waits in a line of
//! its own, of which a group takes one small transaction at most: it adds little to an acknowledgement and never
//! starves.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::backend::Fault;
use crate::store::{CommitError, Committed};
use crate::txn::Txn;

/// Most transactions of one commit.
pub(crate) const GROUP_TXNS_MAX: usize = 512;
/// Most bytes of one commit, unless a single transaction is larger.
pub(crate) const GROUP_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Who hears about a transaction.
#[derive(Debug)]
pub(crate) enum Reply {
    /// A task.
    Task(oneshot::Sender<Result<Committed, CommitError>>),
    /// A thread of the store itself that waits.
    Thread(mpsc::SyncSender<Result<Committed, CommitError>>),
}

impl Reply {
    /// Tells it; nobody may be left to hear it.
    pub(crate) fn tell(self, result: Result<Committed, CommitError>) {
        match self {
            Self::Task(sender) => drop(sender.send(result)),
            Self::Thread(sender) => drop(sender.send(result)),
        }
    }
}

/// A transaction on its way.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub txn: Txn,
    pub bytes: usize,
    pub reply: Reply,
    /// Given back when the writer takes the transaction.
    pub place: Option<OwnedSemaphorePermit>,
    /// The opening of the store that it was decided on; see [`crate::Store::pinned`].
    pub epoch: u64,
    /// Nobody outside waits for it.
    pub unasked: bool,
}

/// What the last group was.
#[derive(Clone, Copy, Debug, Default)]
struct Last {
    txns: usize,
    unasked: usize,
}

/// Groups from this size on are work in earnest.
const LOADED: usize = 8;
/// So many that wait make a group that needs no others.
const ENOUGH: usize = 128;
/// Longest rest.
const REST_MAX: Duration = Duration::from_micros(400);

/// How long the writer lets a group grow before it takes it. Where groups are large and much in them is progress of
/// runs, for which nobody outside waits, there is other work to do meanwhile: then fewer and larger commits cost a
/// sixth less CPU time and a third fewer bytes a run, and acknowledgements come sooner for it (docs/benchmarks.md). Where
/// everything in a group is waited for, a rest would only be lost: never then.
fn rest(last: Last, waiting: usize, worked: Duration) -> Option<Duration> {
    let apt = last.txns >= LOADED && last.unasked.saturating_mul(3) >= last.txns && waiting < ENOUGH;
    apt.then(|| REST_MAX.min(worked / 2))
}

/// What the writer does next.
#[derive(Debug)]
pub(crate) enum Work {
    /// Commit these together.
    Group(Vec<Waiting>),
    /// Verify the pages between two commits.
    Verify(mpsc::SyncSender<Result<Vec<String>, Fault>>),
    /// Give unused space back between two commits.
    Compact(mpsc::SyncSender<Result<(), Fault>>),
    /// A reader met an I/O error: look whether commits are still possible.
    Probe,
    /// Nothing came within the time.
    Idle,
    /// Nothing waits and nothing will come.
    End,
}

#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "nearly all are transactions; a box each would cost the hot path")]
enum Job {
    Txn(Waiting),
    Verify(mpsc::SyncSender<Result<Vec<String>, Fault>>),
    Compact(mpsc::SyncSender<Result<(), Fault>>),
}

#[derive(Debug, Default)]
struct State {
    jobs: VecDeque<Job>,
    /// Housekeeping: one of these at most rides in a group.
    low: VecDeque<Waiting>,
    probe: bool,
    /// The writer sleeps until it is called: a call costs a system call, so nobody calls who is heard anyway.
    asleep: bool,
    last: Last,
    closing: bool,
    ended: bool,
    closers: Vec<oneshot::Sender<()>>,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    state: Mutex<State>,
    wake: Condvar,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Calls the writer if it sleeps.
    fn call(&self, mut state: MutexGuard<'_, State>) {
        let asleep = std::mem::take(&mut state.asleep);
        drop(state);
        if asleep {
            self.wake.notify_one();
        }
    }

    /// Appends a transaction, or answers that the store is closed.
    pub(crate) fn push(&self, waiting: Waiting) {
        let mut state = self.lock();
        if state.closing {
            drop(state);
            waiting.reply.tell(Err(CommitError::Closed));
            return;
        }
        state.jobs.push_back(Job::Txn(waiting));
        self.call(state);
    }

    /// Appends a small transaction that must not hold up others.
    pub(crate) fn push_low(&self, waiting: Waiting) {
        let mut state = self.lock();
        if state.closing {
            drop(state);
            waiting.reply.tell(Err(CommitError::Closed));
            return;
        }
        state.low.push_back(waiting);
        self.call(state);
    }

    /// Asks the writer to look whether the disk still takes commits.
    pub(crate) fn probe(&self) {
        let mut state = self.lock();
        state.probe = true;
        self.call(state);
    }

    /// Asks for a page check; `None` if the store is closed.
    pub(crate) fn verify(&self) -> Option<mpsc::Receiver<Result<Vec<String>, Fault>>> {
        self.order(Job::Verify)
    }

    /// Asks for a compaction; `None` if the store is closed.
    pub(crate) fn compact(&self) -> Option<mpsc::Receiver<Result<(), Fault>>> {
        self.order(Job::Compact)
    }

    fn order<T>(&self, job: impl FnOnce(mpsc::SyncSender<T>) -> Job) -> Option<mpsc::Receiver<T>> {
        let mut state = self.lock();
        if state.closing {
            return None;
        }
        let (sender, receiver) = mpsc::sync_channel(1);
        state.jobs.push_back(job(sender));
        self.call(state);
        Some(receiver)
    }

    /// Lets nothing more in; the receiver hears when the file is closed.
    pub(crate) fn close(&self) -> oneshot::Receiver<()> {
        let (sender, receiver) = oneshot::channel();
        let mut state = self.lock();
        state.closing = true;
        if state.ended {
            let _ = sender.send(());
        } else {
            state.closers.push(sender);
        }
        self.call(state);
        receiver
    }

    /// The file is closed: tells everybody who waits for that.
    pub(crate) fn ended(&self) {
        let mut state = self.lock();
        state.closing = true;
        state.ended = true;
        let jobs = std::mem::take(&mut state.jobs);
        let low = std::mem::take(&mut state.low);
        for closer in state.closers.drain(..) {
            let _ = closer.send(());
        }
        drop(state);
        for job in jobs {
            if let Job::Txn(waiting) = job {
                waiting.reply.tell(Err(CommitError::Closed));
            }
        }
        for waiting in low {
            waiting.reply.tell(Err(CommitError::Closed));
        }
    }

    /// Waits for work (at most so long, if said) and takes what is there; the last commit took `worked`.
    pub(crate) fn take(&self, longest: Option<Duration>, worked: Duration) -> Work {
        let mut state = self.lock();
        while state.jobs.is_empty() && state.low.is_empty() {
            if std::mem::take(&mut state.probe) {
                return Work::Probe;
            }
            if state.closing {
                return Work::End;
            }
            state.asleep = true;
            let Some(longest) = longest else {
                state = self.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let (later, waited) = self.wake.wait_timeout(state, longest).unwrap_or_else(PoisonError::into_inner);
            state = later;
            if waited.timed_out() && state.jobs.is_empty() && state.low.is_empty() {
                return Work::Idle;
            }
        }
        state.asleep = false;
        if let Some(rest) = rest(state.last, state.jobs.len(), worked).filter(|_| !state.closing) {
            // Nobody calls who is not asleep: this is the whole rest.
            (state, _) = self.wake.wait_timeout(state, rest).unwrap_or_else(PoisonError::into_inner);
        }
        let mut group = Vec::new();
        let mut bytes = 0_usize;
        while let Some(job) = state.jobs.pop_front() {
            match job {
                Job::Verify(sender) if group.is_empty() => return Work::Verify(sender),
                Job::Compact(sender) if group.is_empty() => return Work::Compact(sender),
                Job::Txn(mut waiting)
                    if group.is_empty()
                        || (group.len() < GROUP_TXNS_MAX && bytes.saturating_add(waiting.bytes) <= GROUP_BYTES_MAX) =>
                {
                    bytes = bytes.saturating_add(waiting.bytes);
                    drop(waiting.place.take());
                    group.push(waiting);
                }
                later => {
                    state.jobs.push_front(later);
                    break;
                }
            }
        }
        group.extend(state.low.pop_front());
        state.last = Last { txns: group.len(), unasked: group.iter().filter(|waiting| waiting.unasked).count() };
        Work::Group(group)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_writer_rests_only_where_others_can_work_meanwhile() {
        let check = |txns, unasked, waiting, worked_us, rest_us: u64| {
            let found = rest(Last { txns, unasked }, waiting, Duration::from_micros(worked_us));
            let wanted = (rest_us > 0).then(|| Duration::from_micros(rest_us));
            assert_eq!(found, wanted, "{unasked} of {txns} unasked, {waiting} wait, the last took {worked_us} us");
        };
        check(0, 0, 1, 0, 0);
        check(1, 1, 1, 2_000, 0);
        check(7, 7, 9, 800, 0);
        check(8, 4, 9, 800, 400);
        check(24, 8, 12, 300, 150);
        check(24, 7, 12, 800, 0);
        check(32, 0, 32, 800, 0);
        check(32, 32, 128, 800, 0);
        check(32, 16, 16, 90_000, 400);
    }
}
