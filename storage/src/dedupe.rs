//! Dedupe keys: remembered in memory at once, kept in tail rows, folded into sorted segments.
//!
//! Random keys in a tree dirty a page each, so none is ever inserted: the entries of a group ride in its tail
//! row, and every [`FOLD_KEYS`] of them become one immutable row of table `Dedupe` (fixed-width records,
//! sorted, latest entry of a key only) that is removed when all of it has expired. In memory stand all entries
//! not folded yet and, of the folded ones, 64-bit fingerprints (about 20 bytes a key); a hit reads its segment
//! and compares the whole key, so a false hit costs a read and never an answer.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};

use aura_protocol::{EventId, RunId, TenantId};

use crate::table::{Key, Table};
use crate::txn::DedupeEntry;

/// Keys per segment.
pub(crate) const FOLD_KEYS: usize = 8_192;
/// Segments whose fingerprints share one map, dropped together.
const GENERATION: u64 = 64;
/// Most folded keys with fingerprints in memory; beyond it the oldest generation is forgotten, with a warning.
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

/// Fingerprints are parts of an HMAC already: hashing them again would only cost.
#[derive(Default)]
struct AsIs(u64);

impl Hasher for AsIs {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }
    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }
}

#[derive(Default)]
struct Generation {
    last: u64,
    expires_ms: i64,
    segments: HashMap<u64, u64, BuildHasherDefault<AsIs>>,
    /// Fingerprints that stand in more than one segment.
    more: Vec<(u64, u64)>,
}

#[derive(Clone, Copy, Default)]
struct Slot {
    committed: Option<DedupeEntry>,
    pending: Option<DedupeEntry>,
}

/// What is in memory.
pub(crate) struct Memory {
    recent: HashMap<Id, Slot>,
    generations: VecDeque<Generation>,
    folded: usize,
    fingerprint_mask: u64,
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
    pub(crate) fn new(fingerprint_mask: u64) -> Self {
        Self { recent: HashMap::new(), generations: VecDeque::new(), folded: 0, fingerprint_mask }
    }

    fn fingerprint(&self, (tenant, hash): &Id) -> u64 {
        let half = |bytes: &[u8; 16]| bytes.first_chunk().map_or(0, |half| u64::from_be_bytes(*half));
        (half(hash) ^ half(&tenant.bytes()).rotate_left(32)) & self.fingerprint_mask
    }

    /// Looks a key up.
    pub(crate) fn find(&self, wanted: Id, now_ms: i64) -> Found {
        if let Some(slot) = self.recent.get(&wanted) {
            let latest = slot.pending.or(slot.committed).filter(|entry| entry.expires_ms > now_ms);
            if let Some(entry) = latest {
                return Found::Entry(entry);
            }
        }
        let fingerprint = self.fingerprint(&wanted);
        let mut segments: Vec<u64> = Vec::new();
        for generation in self.generations.iter().filter(|generation| generation.expires_ms > now_ms) {
            segments.extend(generation.segments.get(&fingerprint));
            segments.extend(generation.more.iter().filter(|(known, _)| *known == fingerprint).map(|(_, at)| at));
        }
        segments.sort_unstable_by(|left, right| right.cmp(left));
        Found::Segments(segments)
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

    /// Segment `number` holds these records now: their fingerprints stay, the entries may go.
    pub(crate) fn folded(&mut self, number: u64, records: &[u8], expires_ms: i64) {
        let fresh = self.generations.back().is_none_or(|last| last.last / GENERATION != number / GENERATION);
        if fresh {
            self.generations.push_back(Generation { expires_ms, ..Generation::default() });
        }
        for bytes in records.chunks_exact(ENTRY) {
            let Some(entry) = unpack_one(bytes) else { continue };
            let fingerprint = self.fingerprint(&id(&entry));
            if let Some(generation) = self.generations.back_mut()
                && let Some(older) = generation.segments.insert(fingerprint, number)
                && older != number
            {
                generation.more.push((fingerprint, older));
            }
            if let Some(slot) = self.recent.get_mut(&id(&entry)) {
                if slot.committed == Some(entry) {
                    slot.committed = None;
                }
                if slot.pending.is_none() && slot.committed.is_none() {
                    self.recent.remove(&id(&entry));
                }
            }
        }
        if let Some(generation) = self.generations.back_mut() {
            generation.last = number;
            generation.expires_ms = generation.expires_ms.max(expires_ms);
        }
        self.folded += records.len() / ENTRY;
        while self.folded > FOLDED_KEYS_MAX && self.generations.len() > 1 {
            tracing::warn!(keys_max = FOLDED_KEYS_MAX, "too many dedupe keys in their windows, forgetting the oldest");
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) {
        if let Some(gone) = self.generations.pop_front() {
            self.folded = self.folded.saturating_sub(gone.segments.len() + gone.more.len());
        }
    }

    /// Forgets generations whose every key has expired.
    pub(crate) fn sweep(&mut self, now_ms: i64) {
        while self.generations.front().is_some_and(|oldest| oldest.expires_ms <= now_ms) && self.generations.len() > 1 {
            self.drop_oldest();
        }
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
        let mut memory = Memory::new(u64::MAX);
        memory.committed(entry(1, false, 50));
        memory.remember(entry(1, true, 90));
        memory.refused(&entry(1, true, 90));
        let found = memory.find((TenantId::DEFAULT, [1; 16]), 10);
        assert!(matches!(found, Found::Entry(found) if found == entry(1, false, 50)));
    }
}
