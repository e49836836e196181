//! How much of refused deliveries stays, and whose goes first.
//!
//! Invariant: pure, and fair: when a group is full the oldest of the source that holds most of it goes, so nobody who
//! sends much pushes out what others sent; and a source never holds more than its share. What relays had promised
//! goes last.

use std::collections::{BTreeMap, HashMap, VecDeque};

use aura_protocol::DeliveryId;
use aura_storage::rows::RefusedRow;

use super::{BODY_KEPT, Group};

const DAY_MS: i64 = 86_400_000;

/// Bounds of one group.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Rows.
    pub rows: usize,
    /// Rows of one source network.
    pub of_source: usize,
    /// Bytes, bodies and headers.
    pub bytes: u64,
    /// How long a row is kept.
    pub age_ms: i64,
}

/// Of one endpoint: a month.
pub const ENDPOINT: Bounds = Bounds { rows: 1_000, of_source: 1_000, bytes: 8 << 20, age_ms: 30 * DAY_MS };
/// Of all addresses without an endpoint: a day.
pub const NOWHERE: Bounds = Bounds { rows: 500, of_source: 50, bytes: 16 << 20, age_ms: DAY_MS };
/// The source of what relays had promised: nobody's share, and the last that goes.
pub const PROMISES: u64 = u64::MAX;
/// Of all groups together.
const ALL: (usize, u64) = (50_000, 256 << 20);

impl Group {
    fn bounds(&self) -> Bounds {
        match self {
            Self::Nowhere => NOWHERE,
            Self::Endpoint(..) => ENDPOINT,
        }
    }
}

/// About what a row takes with its body.
#[must_use]
pub fn weight(row: &RefusedRow) -> u32 {
    let headers: usize = row.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
    let body = usize::try_from(row.bytes).unwrap_or(BODY_KEPT).min(BODY_KEPT);
    u32::try_from(256 + headers + body + row.path.len() + row.query.len()).unwrap_or(u32::MAX)
}

#[derive(Clone, Copy, Debug)]
struct One {
    id: DeliveryId,
    bytes: u32,
    at_ms: i64,
}

#[derive(Debug, Default)]
struct OfGroup {
    sources: BTreeMap<u64, VecDeque<One>>,
    rows: usize,
    bytes: u64,
}

impl OfGroup {
    fn pop(&mut self, source: u64) -> Option<One> {
        let held = self.sources.get_mut(&source)?;
        let one = held.pop_front()?;
        if held.is_empty() {
            self.sources.remove(&source);
        }
        self.rows -= 1;
        self.bytes -= u64::from(one.bytes);
        Some(one)
    }

    /// The oldest of whoever holds most; a promise only where nothing else is.
    fn pop_largest(&mut self) -> Option<One> {
        let oldest = |held: &VecDeque<One>| std::cmp::Reverse(held.front().map(|one| one.id));
        let (source, _) = {
            let held = self.sources.iter();
            held.max_by_key(|(source, held)| (**source != PROMISES, held.len(), oldest(held)))?
        };
        self.pop(*source)
    }
}

/// What is kept of all groups.
#[derive(Debug, Default)]
pub struct Kept {
    groups: HashMap<Group, OfGroup>,
    rows: usize,
    bytes: u64,
}

impl Kept {
    /// Rows of all groups.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// A row that is there.
    pub fn put(&mut self, group: Group, source: u64, id: DeliveryId, bytes: u32, at_ms: i64) {
        let of = self.groups.entry(group).or_default();
        of.sources.entry(source).or_default().push_back(One { id, bytes, at_ms });
        of.rows += 1;
        of.bytes += u64::from(bytes);
        self.rows += 1;
        self.bytes += u64::from(bytes);
    }

    /// A new row; gives those that must go for it.
    pub fn add(&mut self, group: Group, source: u64, id: DeliveryId, bytes: u32, at_ms: i64) -> Vec<DeliveryId> {
        let bounds = group.bounds();
        self.put(group.clone(), source, id, bytes, at_ms);
        let mut gone = Vec::new();
        if let Some(of) = self.groups.get_mut(&group) {
            while of.sources.get(&source).is_some_and(|held| held.len() > bounds.of_source) {
                gone.extend(of.pop(source));
            }
            while of.rows > bounds.rows || of.bytes > bounds.bytes {
                let Some(one) = of.pop_largest() else { break };
                gone.push(one);
            }
        }
        self.count(&gone);
        while self.rows > ALL.0 || self.bytes > ALL.1 {
            let largest = self.groups.values_mut().max_by_key(|of| of.bytes);
            let Some(one) = largest.and_then(OfGroup::pop_largest) else { break };
            self.count(&[one]);
            gone.push(one);
        }
        gone.into_iter().map(|one| one.id).collect()
    }

    fn count(&mut self, gone: &[One]) {
        self.rows -= gone.len();
        self.bytes -= gone.iter().map(|one| u64::from(one.bytes)).sum::<u64>();
    }

    /// What is too old by now.
    pub fn expire(&mut self, now_ms: i64) -> Vec<DeliveryId> {
        let mut gone = Vec::new();
        for (group, of) in &mut self.groups {
            let before = now_ms.saturating_sub(group.bounds().age_ms);
            let sources: Vec<u64> = of.sources.keys().copied().collect();
            for source in sources {
                let old = |of: &OfGroup| {
                    of.sources.get(&source).and_then(VecDeque::front).is_some_and(|one| one.at_ms < before)
                };
                while old(of) {
                    gone.extend(of.pop(source));
                }
            }
        }
        self.groups.retain(|_, of| of.rows > 0);
        self.count(&gone);
        gone.into_iter().map(|one| one.id).collect()
    }
}

#[cfg(test)]
mod tests {
    use aura_protocol::FlowId;

    use super::*;

    fn id(number: u64) -> DeliveryId {
        DeliveryId::from_parts(number, &[0; 10])
    }

    #[test]
    fn whoever_floods_pushes_out_only_what_he_sent_himself() {
        for group in [Group::Nowhere, Group::Endpoint(FlowId::from_bytes([1; 16]), "t".to_owned())] {
            let bounds = group.bounds();
            let mut kept = Kept::default();
            for number in 0..20 {
                assert!(kept.add(group.clone(), 1000 + number, id(number), 500, 0).is_empty());
            }
            for number in 20..100_000 {
                let gone = kept.add(group.clone(), 7, id(number), 500, 0);
                assert!(gone.iter().all(|gone| *gone >= id(20)), "{number}");
                assert!(kept.rows <= bounds.rows && kept.bytes <= bounds.bytes);
            }
            assert!(kept.rows <= 20 + bounds.of_source);
        }
    }

    #[test]
    fn a_flood_pushes_out_no_promise() {
        let group = Group::Endpoint(FlowId::from_bytes([1; 16]), "t".to_owned());
        let mut kept = Kept::default();
        for number in 0..900 {
            assert!(kept.add(group.clone(), PROMISES, id(number), 500, 0).is_empty());
        }
        for number in 900..20_000 {
            let gone = kept.add(group.clone(), number % 7, id(number), 500, 0);
            assert!(gone.iter().all(|gone| *gone >= id(900)), "{number}");
        }
        assert_eq!(kept.rows, ENDPOINT.rows);
    }

    #[test]
    fn bytes_and_the_whole_are_bounded_also_over_many_endpoints() {
        let mut kept = Kept::default();
        let mut count = 0_u64;
        for endpoint in 0..200_u8 {
            for _ in 0..150 {
                count += 1;
                let group = Group::Endpoint(FlowId::from_bytes([endpoint; 16]), "t".to_owned());
                kept.add(group, u64::from(endpoint % 3), id(count), 70_000, 0);
            }
        }
        assert!(kept.bytes <= ALL.1 && kept.rows <= ALL.0, "{} {}", kept.bytes, kept.rows);
        let counted: u64 = kept.groups.values().map(|of| of.bytes).sum();
        assert_eq!(counted, kept.bytes);
        assert!(kept.groups.values().all(|of| of.bytes <= ENDPOINT.bytes));
    }

    #[test]
    fn what_nobody_claims_is_gone_after_a_day() {
        let mut kept = Kept::default();
        kept.put(Group::Nowhere, 1, id(1), 10, 0);
        kept.put(Group::Nowhere, 1, id(2), 10, DAY_MS);
        kept.put(Group::Endpoint(FlowId::from_bytes([1; 16]), "t".to_owned()), 1, id(3), 10, 0);
        assert_eq!(kept.expire(DAY_MS), []);
        assert_eq!(kept.expire(DAY_MS + 1), [id(1)]);
        assert_eq!(kept.expire(31 * DAY_MS).len(), 2);
        assert_eq!((kept.rows, kept.bytes), (0, 0));
    }
}
