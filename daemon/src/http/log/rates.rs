//! How many refused deliveries may be kept a second: of one source, of one endpoint, of all.
//!
//! Invariant: integers and a clock that never goes back; memory is bounded however many sources there are.

use std::collections::HashMap;
use std::time::Instant;

use super::Group;

/// Sources and groups that are remembered; beyond that all are forgotten, which lets a few more in.
const REMEMBERED: usize = 10_000;

/// So many at once, then so many a second.
#[derive(Clone, Copy, Debug)]
struct Pace {
    burst: u64,
    a_second: u64,
}

const SOURCE: Pace = Pace { burst: 60, a_second: 5 };
const GROUP: Pace = Pace { burst: 200, a_second: 20 };
const ALL: Pace = Pace { burst: 500, a_second: 100 };

#[derive(Clone, Copy, Debug)]
struct Bucket {
    /// Thousandths.
    left: u64,
    at: Instant,
}

impl Bucket {
    fn full(pace: Pace, now: Instant) -> Self {
        Self { left: pace.burst * 1000, at: now }
    }

    fn refill(&mut self, pace: Pace, now: Instant) {
        let ms = u64::try_from(now.saturating_duration_since(self.at).as_millis()).unwrap_or(u64::MAX);
        if ms > 0 {
            self.left = self.left.saturating_add(ms.saturating_mul(pace.a_second)).min(pace.burst * 1000);
            self.at = now;
        }
    }
}

/// What was taken so far.
#[derive(Debug, Default)]
pub struct Rates {
    sources: HashMap<u64, Bucket>,
    groups: HashMap<Group, Bucket>,
    all: Option<Bucket>,
}

impl Rates {
    /// Takes one, if source, group and the whole have it.
    pub fn take(&mut self, group: &Group, source: u64, now: Instant) -> bool {
        if self.sources.len() >= REMEMBERED {
            self.sources.clear();
        }
        if self.groups.len() >= REMEMBERED {
            self.groups.clear();
        }
        let of_source = self.sources.entry(source).or_insert_with(|| Bucket::full(SOURCE, now));
        of_source.refill(SOURCE, now);
        if of_source.left < 1000 {
            return false;
        }
        let all = self.all.get_or_insert_with(|| Bucket::full(ALL, now));
        all.refill(ALL, now);
        let of_group = match self.groups.get_mut(group) {
            Some(of_group) => of_group,
            None => self.groups.entry(group.clone()).or_insert_with(|| Bucket::full(GROUP, now)),
        };
        of_group.refill(GROUP, now);
        if all.left < 1000 || of_group.left < 1000 {
            return false;
        }
        for bucket in [of_source, all, of_group] {
            bucket.left -= 1000;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_burst_passes_then_so_many_a_second_and_others_still_pass() {
        let (mut rates, now) = (Rates::default(), Instant::now());
        let taken = (0..1000).filter(|_| rates.take(&Group::Nowhere, 1, now)).count();
        assert_eq!(taken, 60);
        assert!(rates.take(&Group::Nowhere, 2, now), "another source");
        let later = now + Duration::from_secs(2);
        assert_eq!((0..100).filter(|_| rates.take(&Group::Nowhere, 1, later)).count(), 10);
        for source in 0..50_000 {
            rates.take(&Group::Nowhere, source, later);
        }
        assert!(rates.sources.len() <= REMEMBERED);
    }
}
