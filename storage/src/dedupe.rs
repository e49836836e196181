//! Dedupe keys: remembered in memory at once, kept in tail rows, folded into sorted segments.
//!
//! Random keys in a tree dirty a page each, so none is ever inserted: the entries of a group ride in its tail
//! row, and every [`FOLD_KEYS`] of them become one immutable row of table `Dedupe` (fixed-width records,
//! sorted, latest entry of a key only) that is removed when all of it has expired. In memory stand all entries
//! not folded yet and, of the folded ones, 32-bit fingerprints (four bytes a key), which have rows of their own
//! so that a start need not read the segments; a hit reads its segment and compares the whole key, so a false
//! hit costs a read and never an answer.

use std::collections::{BTreeMap, HashMap, VecDeque};

use aura_protocol::{EventId, RunId, TenantId};

use crate::table::{Key, Table};
use crate::txn::DedupeEntry;

/// Keys per segment.
pub(crate) const FOLD_KEYS: usize = 8_192;
/// Most folded keys with fingerprints in memory (64 MiB); beyond it the oldest segment is forgotten, with a warning.
const FOLDED_KEYS_MAX: usize = 16 * 1024 * 1024;

const ENTRY: usize = 16 + 16 + 16 + 1 + 16 + 8;

/// What a dedupe key is.
pub(crate) type Id = (TenantId, [u8; 16]);

fn id(entry: &DedupeEntry) -> Id {
    (entry.tenant, entry.hash)
}

/// Entries as fixed-width records.
pub(crate) fn pack(entries: &[DedupeEntry]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(entries.len() * ENTRY);
    for entry in entries {
        bytes.extend_from_slice(&entry.tenant.bytes());
        bytes.extend_from_slice(&entry.hash);
        bytes.extend_from_slice(&entry.event.bytes());
        bytes.push(u8::from(entry.run.is_some()));
        bytes.extend_from_slice(&entry.run.map_or([0; 16], RunId::bytes));
        bytes.extend_from_slice(&entry.expires_ms.to_be_bytes());
    }
    bytes
}

fn unpack_one(bytes: &[u8]) -> Option<DedupeEntry> {
    let (tenant, rest) = bytes.split_first_chunk::<16>()?;
    let (hash, rest) = rest.split_first_chunk::<16>()?;
    let (event, rest) = rest.split_first_chunk::<16>()?;
    let (has_run, rest) = rest.split_first()?;
    let (run, rest) = rest.split_first_chunk::<16>()?;
    let expires = rest.first_chunk::<8>()?;
    Some(DedupeEntry {
        tenant: TenantId::from_bytes(*tenant),
        hash: *hash,
        event: EventId::from_bytes(*event),
        run: (*has_run != 0).then(|| RunId::from_bytes(*run)),
        expires_ms: i64::from_be_bytes(*expires),
    })
}

/// The entries of fixed-width records; what is cut short is left out (checksums find that before).
pub(crate) fn unpack(bytes: &[u8]) -> Vec<DedupeEntry> {
    bytes.chunks_exact(ENTRY).filter_map(unpack_one).collect()
}

/// A segment ready to write: its latest entries per key, sorted, and when the last of them expires.
pub(crate) fn segment(entries: &[DedupeEntry]) -> (Vec<u8>, i64) {
    let latest: BTreeMap<Id, DedupeEntry> = entries.iter().map(|entry| (id(entry), *entry)).collect();
    let sorted: Vec<DedupeEntry> = latest.into_values().collect();
    let expires_ms = sorted.iter().map(|entry| entry.expires_ms).max().unwrap_or(i64::MIN);
    (pack(&sorted), expires_ms)
}

/// When the last entry of a segment's records expires.
pub(crate) fn expires(records: &[u8]) -> i64 {
    records.chunks_exact(ENTRY).filter_map(unpack_one).map(|entry| entry.expires_ms).max().unwrap_or(i64::MIN)
}

/// The entry of a key in a segment's records.
pub(crate) fn in_segment(records: &[u8], wanted: Id) -> Option<DedupeEntry> {
    let (mut low, mut high) = (0, records.len() / ENTRY);
    while low < high {
        let middle = usize::midpoint(low, high);
        let entry = unpack_one(records.get(middle * ENTRY..)?)?;
        match id(&entry).cmp(&wanted) {
            std::cmp::Ordering::Equal => return Some(entry),
            std::cmp::Ordering::Less => low = middle + 1,
            std::cmp::Ordering::Greater => high = middle,
        }
    }
    None
}

/// The key of a segment.
pub(crate) fn key(number: u64) -> Key {
    Key::new().number(number)
}

/// The table of segments.
pub(crate) const TABLE: Table = Table::Dedupe;

/// The key of a segment's fingerprints: behind all segments, so that a start reads only these.
pub(crate) fn prints_key(number: u64) -> Key {
    Key::new().number(u64::MAX).number(number)
}

/// The number of a segment whose fingerprints lie under this key.
pub(crate) fn printed(key: &Key) -> Option<u64> {
    (key.0.len() == 16 && key.number_at(0) == Some(u64::MAX)).then(|| key.number_at(8)).flatten()
}

fn fingerprint((tenant, hash): &Id) -> u32 {
    let part = |bytes: &[u8; 16]| bytes.first_chunk().map_or(0, |part| u32::from_be_bytes(*part));
    part(hash) ^ part(&tenant.bytes()).rotate_left(16)
}

/// The fingerprints of a segment: four bytes a key, sorted, and where each first byte begins.
pub(crate) struct Prints {
    number: u64,
    expires_ms: i64,
    starts: Box<[u32]>,
    prints: Box<[u32]>,
}

impl Prints {
    fn new(number: u64, expires_ms: i64, mut prints: Vec<u32>) -> Self {
        prints.sort_unstable();
        let starts = (0..=256_u64).map(|byte| {
            let below = prints.partition_point(|print| u64::from(*print) < byte << 24);
            u32::try_from(below).unwrap_or(u32::MAX)
        });
        Self { number, expires_ms, starts: starts.collect(), prints: prints.into_boxed_slice() }
    }

    /// Of a segment's records.
    pub(crate) fn of(number: u64, records: &[u8]) -> Self {
        let entries = || records.chunks_exact(ENTRY).filter_map(unpack_one);
        Self::new(number, expires(records), entries().map(|entry| fingerprint(&id(&entry))).collect())
    }

    /// As a row holds them.
    pub(crate) fn pack(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(8 + self.prints.len() * 4);
        bytes.extend_from_slice(&self.expires_ms.to_be_bytes());
        self.prints.iter().for_each(|print| bytes.extend_from_slice(&print.to_be_bytes()));
        bytes
    }

    /// From a row.
    pub(crate) fn unpack(number: u64, bytes: &[u8]) -> Option<Self> {
        let (expires, prints) = bytes.split_first_chunk::<8>()?;
        let prints =
            prints.chunks_exact(4).filter_map(|print| print.first_chunk().map(|print| u32::from_be_bytes(*print)));
        Some(Self::new(number, i64::from_be_bytes(*expires), prints.collect()))
    }

    /// When the last key expires.
    pub(crate) fn expires_ms(&self) -> i64 {
        self.expires_ms
    }

    fn has(&self, print: u32, mask: u32) -> bool {
        if mask != u32::MAX {
            return self.prints.iter().any(|known| known & mask == print & mask);
        }
        let first = usize::try_from(print >> 24).unwrap_or(0);
        let at = |index: usize| self.starts.get(index).and_then(|at| usize::try_from(*at).ok()).unwrap_or(0);
        self.prints.get(at(first)..at(first + 1)).is_some_and(|known| known.binary_search(&print).is_ok())
    }
}

#[derive(Clone, Copy, Default)]
struct Slot {
    committed: Option<DedupeEntry>,
    pending: Option<DedupeEntry>,
}

/// What is in memory.
pub(crate) struct Memory {
    recent: HashMap<Id, Slot>,
    segments: VecDeque<Prints>,
    folded: usize,
    fingerprint_mask: u32,
}

impl std::fmt::Debug for Memory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Memory")
            .field("recent", &self.recent.len())
            .field("folded", &self.folded)
            .finish_non_exhaustive()
    }
}

/// What memory says about a key.
pub(crate) enum Found {
    /// This entry, not expired.
    Entry(DedupeEntry),
    /// Perhaps in one of these segments, newest first.
    Segments(Vec<u64>),
}

impl Memory {
    /// An empty one; fewer bits in the mask provoke false hits in tests.
    pub(crate) fn new(fingerprint_mask: u32) -> Self {
        Self { recent: HashMap::new(), segments: VecDeque::new(), folded: 0, fingerprint_mask }
    }

    /// Looks a key up.
    pub(crate) fn find(&self, wanted: Id, now_ms: i64) -> Found {
        if let Some(slot) = self.recent.get(&wanted) {
            let latest = slot.pending.or(slot.committed).filter(|entry| entry.expires_ms > now_ms);
            if let Some(entry) = latest {
                return Found::Entry(entry);
            }
        }
        let print = fingerprint(&wanted);
        let live = self.segments.iter().rev().filter(|segment| segment.expires_ms > now_ms);
        let hit = live.filter(|segment| segment.has(print, self.fingerprint_mask));
        Found::Segments(hit.map(|segment| segment.number).collect())
    }

    /// Remembers an entry whose transaction is still on its way.
    pub(crate) fn remember(&mut self, entry: DedupeEntry) {
        self.recent.entry(id(&entry)).or_default().pending = Some(entry);
    }

    /// The transaction of an entry is committed.
    pub(crate) fn committed(&mut self, entry: DedupeEntry) {
        let slot = self.recent.entry(id(&entry)).or_default();
        slot.committed = Some(entry);
        if slot.pending == Some(entry) {
            slot.pending = None;
        }
    }

    /// The transaction of an entry was refused.
    pub(crate) fn refused(&mut self, entry: &DedupeEntry) {
        if let Some(slot) = self.recent.get_mut(&id(entry)) {
            if slot.pending == Some(*entry) {
                slot.pending = None;
            }
            if slot.pending.is_none() && slot.committed.is_none() {
                self.recent.remove(&id(entry));
            }
        }
    }

    /// A segment holds these entries now: their fingerprints stay, the entries may go.
    pub(crate) fn folded(&mut self, prints: Prints, entries: &[DedupeEntry]) {
        for entry in entries {
            if let Some(slot) = self.recent.get_mut(&id(entry)) {
                if slot.committed == Some(*entry) {
                    slot.committed = None;
                }
                if slot.pending.is_none() && slot.committed.is_none() {
                    self.recent.remove(&id(entry));
                }
            }
        }
        self.folded += prints.prints.len();
        self.segments.push_back(prints);
        while self.folded > FOLDED_KEYS_MAX && self.segments.len() > 1 {
            tracing::warn!(keys_max = FOLDED_KEYS_MAX, "too many dedupe keys in their windows, forgetting the oldest");
            if let Some(gone) = self.segments.pop_front() {
                self.folded = self.folded.saturating_sub(gone.prints.len());
            }
        }
    }

    /// Forgets segments whose every key has expired.
    pub(crate) fn sweep(&mut self, now_ms: i64) {
        self.segments.retain(|segment| segment.expires_ms > now_ms);
        self.folded = self.segments.iter().map(|segment| segment.prints.len()).sum();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(number: u8, run: bool, expires_ms: i64) -> DedupeEntry {
        DedupeEntry {
            tenant: TenantId::DEFAULT,
            hash: [number; 16],
            event: EventId::from_bytes([number; 16]),
            run: run.then(|| RunId::from_bytes([number; 16])),
            expires_ms,
        }
    }

    #[test]
    fn entries_keep_their_fields() {
        let entries = [entry(1, true, 5), entry(2, false, -5)];
        assert_eq!(unpack(&pack(&entries)), entries);
    }

    #[test]
    fn a_segment_is_sorted_and_keeps_the_latest_of_a_key() {
        let (records, expires) = segment(&[entry(9, false, 50), entry(1, true, 70), entry(9, true, 60)]);
        assert_eq!(unpack(&records), [entry(1, true, 70), entry(9, true, 60)]);
        assert_eq!(expires, 70);
        assert_eq!(in_segment(&records, (TenantId::DEFAULT, [9; 16])), Some(entry(9, true, 60)));
        assert_eq!(in_segment(&records, (TenantId::DEFAULT, [8; 16])), None);
        assert_eq!(in_segment(&[], (TenantId::DEFAULT, [8; 16])), None);
    }

    #[test]
    fn a_refused_entry_uncovers_the_one_before() {
        let mut memory = Memory::new(u32::MAX);
        memory.committed(entry(1, false, 50));
        memory.remember(entry(1, true, 90));
        memory.refused(&entry(1, true, 90));
        let found = memory.find((TenantId::DEFAULT, [1; 16]), 10);
        assert!(matches!(found, Found::Entry(found) if found == entry(1, false, 50)));
    }

    #[test]
    fn fingerprints_find_their_keys_and_survive_their_row() {
        let entries: Vec<DedupeEntry> = (0..200).map(|number| entry(number, false, i64::from(number))).collect();
        let (records, _) = segment(&entries);
        let prints = Prints::of(7, &records);
        let again = Prints::unpack(7, &prints.pack()).unwrap();
        assert_eq!((again.number, again.expires_ms), (7, 199));
        assert!(entries.iter().all(|entry| again.has(fingerprint(&id(entry)), u32::MAX)));
        assert!(!again.has(fingerprint(&(TenantId::DEFAULT, [201; 16])), u32::MAX));
        assert!(again.has(fingerprint(&(TenantId::DEFAULT, [201; 16])), 0), "a coarse mask gives false hits");
        assert!(Prints::unpack(7, &[1, 2]).is_none());
        assert_eq!(printed(&prints_key(9)), Some(9));
        assert_eq!(printed(&key(u64::MAX)), None);
    }
}
