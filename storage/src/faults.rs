//! A disk in memory that can lose power, run full, and be changed byte by byte; only for tests.
//!
//! It lives below redb (as its `StorageBackend`), so everything above is the product. What was synced
//! survives a cut; of what was not, [`Disk::after_cut`] keeps a seeded choice: nothing, all, a prefix whose
//! last write is torn, or single sectors of 512 bytes in any order. The same seed gives the same disk.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redb::StorageBackend;

use crate::backend::redb::{Medium, Redb};
use crate::open::{self, OpenError};
use crate::store::{Store, StoreOptions};
use crate::writer::Limits;

/// What a disk writes at once.
const SECTOR: usize = 512;

/// Numbers that follow from a seed (SplitMix64).
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// Dice of a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0x5DEE_CE66)
    }
    /// The next number below `sides`; 0 if there are none.
    pub fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)).checked_rem(sides).unwrap_or(0)
    }
    fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            let other = usize::try_from(self.roll(last as u64 + 1)).unwrap_or(0);
            items.swap(last, other);
        }
    }
}

#[derive(Clone, Debug)]
enum Change {
    Write(usize, Vec<u8>),
    Length(usize),
}

#[derive(Debug, Default)]
struct State {
    live: Vec<u8>,
    synced: Vec<u8>,
    pending: Vec<Change>,
    /// Operations until the power goes.
    left: Option<u64>,
    /// Of the operation in which the power goes, a sync may still have happened.
    sync_on_cut: bool,
    dead: bool,
    space: Option<usize>,
    operations: u64,
    /// Operations until one fails, and what is drawn for the later ones.
    fails: Option<(u64, Dice, u64)>,
    /// An operation failed since the disk was opened.
    failed: bool,
    faults: u64,
}

/// See the module. Clones are the same disk.
#[derive(Clone, Debug, Default)]
pub struct Disk(Arc<Mutex<State>>);

fn power_gone() -> io::Error {
    io::Error::other("the power is gone")
}

fn place(offset: u64) -> io::Result<usize> {
    usize::try_from(offset).map_err(io::Error::other)
}

/// Writes into a content that may be shorter.
fn write_at(content: &mut Vec<u8>, offset: usize, data: &[u8]) {
    let end = offset + data.len();
    if content.len() < end {
        content.resize(end, 0);
    }
    if let Some(target) = content.get_mut(offset..end) {
        target.copy_from_slice(data);
    }
}

impl State {
    /// Counts a changing operation; the power may go in it.
    fn step(&mut self, is_sync: bool) -> io::Result<()> {
        if self.dead {
            return Err(power_gone());
        }
        self.operations += 1;
        if let Some((left, dice, one_in)) = self.fails.as_mut() {
            if *left == 0 {
                *left = dice.roll(2 * *one_in);
                self.failed = true;
                self.faults += 1;
                return Err(io::Error::from_raw_os_error(rustix::io::Errno::IO.raw_os_error()));
            }
            *left -= 1;
        }
        match self.left.as_mut() {
            None => Ok(()),
            Some(0) => {
                self.dead = true;
                if is_sync && self.sync_on_cut {
                    self.sync();
                }
                Err(power_gone())
            }
            Some(left) => {
                *left -= 1;
                Ok(())
            }
        }
    }

    fn sync(&mut self) {
        for change in self.pending.drain(..) {
            match change {
                Change::Write(offset, data) => write_at(&mut self.synced, offset, &data),
                Change::Length(length) => self.synced.resize(length, 0),
            }
        }
    }

    fn room(&self, end: usize) -> io::Result<()> {
        match self.space {
            Some(space) if end > space => Err(io::Error::from_raw_os_error(rustix::io::Errno::NOSPC.raw_os_error())),
            _ => Ok(()),
        }
    }
}

impl Disk {
    /// A disk with this content, all of it synced.
    #[must_use]
    pub fn with_content(content: Vec<u8>) -> Self {
        Self(Arc::new(Mutex::new(State { synced: content.clone(), live: content, ..State::default() })))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a program reads now.
    #[must_use]
    pub fn content(&self) -> Vec<u8> {
        self.lock().live.clone()
    }

    /// Writes, syncs and changes of length so far.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.lock().operations
    }

    /// The power goes in the operation after this many more; if that one is a sync, it may have happened.
    pub fn cut_after(&self, operations: u64, sync_happens: bool) {
        let mut state = self.lock();
        state.left = Some(operations);
        state.sync_on_cut = sync_happens;
    }

    /// From now on an operation fails with EIO, on average one in this many; `None`: none any more. What a failed
    /// sync should have made durable is durable in part; opening again shows which part.
    pub fn fail(&self, one_in: Option<(u64, u64)>) {
        self.lock().fails = one_in.map(|(one_in, seed)| {
            let mut dice = Dice::new(seed);
            (dice.roll(2 * one_in), dice, one_in)
        });
    }

    /// Operations that failed so far.
    #[must_use]
    pub fn faults(&self) -> u64 {
        self.lock().faults
    }

    /// Whether the power has gone.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        self.lock().dead
    }

    /// The file cannot grow beyond this many bytes; `None` frees the disk.
    pub fn limit(&self, space: Option<u64>) {
        self.lock().space = space.map(|space| usize::try_from(space).unwrap_or(usize::MAX));
    }

    /// The disk when the power is back: what was synced, and a seeded part of what was not.
    #[must_use]
    pub fn after_cut(&self, dice: &mut Dice) -> Self {
        let state = self.lock();
        let mut content = state.synced.clone();
        let mut length = content.len();
        let mut pending = state.pending.clone();
        match dice.roll(6) {
            0 => pending.clear(),
            1 => {}
            2 => {
                let kept = usize::try_from(dice.roll(pending.len() as u64 + 1)).unwrap_or(0);
                pending.truncate(kept);
                if let Some(Change::Write(_, data)) = pending.last_mut() {
                    let sectors = data.len().div_ceil(SECTOR) as u64;
                    data.truncate(usize::try_from(dice.roll(sectors + 1)).unwrap_or(0) * SECTOR);
                }
            }
            3 => {
                pending.retain(|_| dice.roll(2) == 0);
                dice.shuffle(&mut pending);
            }
            chosen => {
                let keep = if chosen == 4 { 50 } else { 90 };
                let mut sectors = Vec::new();
                for change in pending {
                    match change {
                        Change::Length(_) => sectors.push(change),
                        // Writes are cut where sectors of the disk end, wherever they begin.
                        Change::Write(mut offset, data) => {
                            let mut data = data.as_slice();
                            while !data.is_empty() {
                                let (now, later) = data.split_at(data.len().min(SECTOR - offset % SECTOR));
                                sectors.push(Change::Write(offset, now.to_vec()));
                                offset += now.len();
                                data = later;
                            }
                        }
                    }
                }
                sectors.retain(|_| dice.roll(100) < keep);
                dice.shuffle(&mut sectors);
                pending = sectors;
            }
        }
        for change in pending {
            match change {
                Change::Write(offset, data) => write_at(&mut content, offset, &data),
                Change::Length(changed) => length = changed,
            }
        }
        // Data beyond a length that did not survive is gone with it.
        content.resize(length, 0);
        Self::with_content(content)
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        let state = self.lock();
        if state.dead {
            return Err(power_gone());
        }
        Ok(state.live.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let state = self.lock();
        if state.dead {
            return Err(power_gone());
        }
        let start = place(offset)?;
        let found = start.checked_add(out.len()).and_then(|end| state.live.get(start..end));
        out.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.lock();
        state.step(false)?;
        let length = place(len)?;
        state.room(length)?;
        state.live.resize(length, 0);
        state.pending.push(Change::Length(length));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.lock();
        state.step(true)?;
        state.sync();
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut state = self.lock();
        state.step(false)?;
        let offset = place(offset)?;
        state.room(offset + data.len())?;
        write_at(&mut state.live, offset, data);
        state.pending.push(Change::Write(offset, data.to_vec()));
        Ok(())
    }
}

impl Medium for Disk {
    type Storage = Self;

    fn open(&self) -> io::Result<Self> {
        Ok(self.clone())
    }

    fn reopen(&self) -> io::Result<Self> {
        let seed = self.lock().operations;
        let left = self.after_cut(&mut Dice::new(seed)).content();
        let mut state = self.lock();
        if state.failed {
            state.failed = false;
            state.pending.clear();
            state.synced.clone_from(&left);
            state.live = left;
        }
        drop(state);
        Ok(self.clone())
    }

    fn copy(&self) -> io::Result<Self> {
        Ok(Self::with_content(self.content()))
    }

    fn bytes(&self) -> io::Result<u64> {
        Ok(self.lock().live.len() as u64)
    }
}

/// Opens a store on a disk; the directory of the options does not matter.
///
/// # Errors
/// As [`Store::open`].
pub fn open(disk: &Disk, options: &StoreOptions) -> Result<Store, OpenError> {
    open_with(disk, options, Limits::default())
}

pub(crate) fn open_with(disk: &Disk, options: &StoreOptions, limits: Limits) -> Result<Store, OpenError> {
    let backend =
        Redb::open(disk.clone(), options.cache_bytes).map_err(|fault| OpenError::of("on the simulated disk", fault))?;
    let backend = backend.recording_from(options.record_from);
    open::start(Arc::new(backend), "on the simulated disk", options, limits, None).map(Store::from_inner)
}
