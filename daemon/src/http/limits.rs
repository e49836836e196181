//! What may be at work at the same time: connections by source, deliveries, bytes of bodies, waiting replies.
//!
//! Every count goes down by dropping its guard, so no path can forget it. Memory is bounded by
//! `connections × head + bytes in flight`.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use aura_protocol::FlowId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Open connections by source network: /24 of IPv4, /64 of IPv6.
#[derive(Clone, Debug)]
pub struct Sources {
    open: Arc<Mutex<HashMap<u64, usize>>>,
    max: usize,
    count_loopback: bool,
}

/// One counted connection.
#[derive(Debug)]
pub struct OfSource {
    sources: Sources,
    network: Option<u64>,
}

pub(super) fn network(address: IpAddr) -> u64 {
    match address.to_canonical() {
        IpAddr::V4(four) => u64::from(u32::from(four) >> 8),
        // The upper half of an IPv6 address never looks like the small numbers of IPv4 networks in practice
        // (those are in ::/64); if it did, they would share one count.
        IpAddr::V6(six) => u64::try_from(u128::from(six) >> 64).unwrap_or(u64::MAX),
    }
}

impl Sources {
    /// At most `max` per network; the loopback is where a proxy stands and not counted unless asked.
    #[must_use]
    pub fn new(max: usize, count_loopback: bool) -> Self {
        Self { open: Arc::default(), max, count_loopback }
    }

    /// Counts a connection; `None` if its network has too many.
    #[must_use]
    pub fn enter(&self, address: IpAddr) -> Option<OfSource> {
        if address.to_canonical().is_loopback() && !self.count_loopback {
            return Some(OfSource { sources: self.clone(), network: None });
        }
        let network = network(address);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(network).or_insert(0);
        if *count >= self.max {
            return None;
        }
        *count += 1;
        Some(OfSource { sources: self.clone(), network: Some(network) })
    }
}

impl Drop for OfSource {
    fn drop(&mut self) {
        let Some(network) = self.network else { return };
        let mut open = self.sources.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&network) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                open.remove(&network);
            }
        }
    }
}

/// Deliveries and bytes at work.
#[derive(Debug)]
pub struct InFlight {
    count: Arc<Semaphore>,
    kib: Arc<Semaphore>,
    most: (usize, usize),
}

/// A delivery at work, with the bytes it holds.
#[derive(Debug)]
pub struct Place {
    _one: OwnedSemaphorePermit,
    kib: Arc<Semaphore>,
    held: Option<OwnedSemaphorePermit>,
}

/// How many deliveries a tenant may send: so many a second, and as many at once.
#[derive(Debug)]
pub struct Rate {
    per_second: u32,
    state: Mutex<Bucket>,
}

#[derive(Debug)]
struct Bucket {
    left: f64,
    at: Instant,
}

impl Rate {
    /// At most this many a second; 0: no limit.
    #[must_use]
    pub fn new(per_second: u32) -> Self {
        Self { per_second, state: Mutex::new(Bucket { left: f64::from(per_second), at: Instant::now() }) }
    }

    /// Takes one; the error is the seconds to wait.
    ///
    /// # Errors
    /// The second's share is used up.
    pub fn take(&self) -> Result<(), u32> {
        if self.per_second == 0 { Ok(()) } else { self.take_at(Instant::now()) }
    }

    fn take_at(&self, now: Instant) -> Result<(), u32> {
        let mut bucket = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let most = f64::from(self.per_second);
        let gained = now.saturating_duration_since(bucket.at).as_secs_f64() * most;
        bucket.left = (bucket.left + gained).min(most);
        bucket.at = now;
        if bucket.left < 1.0 {
            return Err(1);
        }
        bucket.left -= 1.0;
        Ok(())
    }
}

impl InFlight {
    /// Deliveries at work and bytes of bodies in memory.
    #[must_use]
    pub fn used(&self) -> (usize, usize) {
        let (count, kib) = self.most;
        (count - self.count.available_permits().min(count), (kib - self.kib.available_permits().min(kib)) * 1024)
    }

    /// Limits in deliveries and bytes.
    #[must_use]
    pub fn new(count: usize, bytes: usize) -> Self {
        let kib = (bytes / 1024).clamp(1, Semaphore::MAX_PERMITS);
        Self { count: Arc::new(Semaphore::new(count)), kib: Arc::new(Semaphore::new(kib)), most: (count, kib) }
    }

    /// A place for one delivery; `None`: overloaded.
    #[must_use]
    pub fn enter(&self) -> Option<Place> {
        let one = Arc::clone(&self.count).try_acquire_owned().ok()?;
        Some(Place { _one: one, kib: Arc::clone(&self.kib), held: None })
    }
}

impl Place {
    /// Makes room for a body of this many bytes in all; false: overloaded.
    pub fn grow(&mut self, bytes: usize) -> bool {
        let have = self.held.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let need = bytes.div_ceil(1024);
        let Some(more) = need.checked_sub(have).filter(|more| *more > 0) else { return true };
        let Ok(more) = u32::try_from(more) else { return false };
        let Ok(permit) = Arc::clone(&self.kib).try_acquire_many_owned(more) else { return false };
        match &mut self.held {
            Some(held) => held.merge(permit),
            None => self.held = Some(permit),
        }
        true
    }
}

/// Deliveries that wait for the reply of their flow. They keep their place for as long as the flow takes, so one
/// flow may have half of all places and bytes and all such flows together three quarters: the rest stays for others.
/// Where there are only a few places, they are not shared out.
#[derive(Clone, Debug)]
pub struct Waiting {
    held: Arc<Mutex<HashMap<FlowId, Held>>>,
    most: Held,
}

/// From this many places on they are shared out.
const SHARED_FROM: usize = 8;

#[derive(Clone, Copy, Debug, Default)]
struct Held {
    count: usize,
    bytes: usize,
}

/// One delivery that waits.
#[derive(Debug)]
pub struct Waits {
    waiting: Waiting,
    flow: FlowId,
    bytes: usize,
}

impl Held {
    /// Whether one more fits into a part of `most`, in quarters; the first always does.
    fn takes(self, bytes: usize, most: Self, quarters: usize) -> bool {
        let part = |all: usize| (all / 4).saturating_mul(quarters) + (all % 4) * quarters / 4;
        let places = if most.count < SHARED_FROM { most.count } else { part(most.count) };
        self.count == 0 || (self.count < places && self.bytes.saturating_add(bytes) <= part(most.bytes))
    }
}

impl Waiting {
    /// Limits of the door in deliveries and bytes, of which these get a part.
    #[must_use]
    pub fn new(count: usize, bytes: usize) -> Self {
        Self { held: Arc::default(), most: Held { count, bytes } }
    }

    /// A place for a delivery with a body of this many bytes; `None`: too many wait already.
    #[must_use]
    pub fn enter(&self, flow: FlowId, bytes: usize) -> Option<Waits> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let all = held
            .values()
            .fold(Held::default(), |all, one| Held { count: all.count + one.count, bytes: all.bytes + one.bytes });
        let own = held.get(&flow).copied().unwrap_or_default();
        if !own.takes(bytes, self.most, 2) || !all.takes(bytes, self.most, 3) {
            return None;
        }
        held.insert(flow, Held { count: own.count + 1, bytes: own.bytes + bytes });
        Some(Waits { waiting: self.clone(), flow, bytes })
    }
}

impl Drop for Waits {
    fn drop(&mut self) {
        let mut held = self.waiting.held.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = held.get_mut(&self.flow) {
            own.count = own.count.saturating_sub(1);
            own.bytes = own.bytes.saturating_sub(self.bytes);
            if own.count == 0 {
                held.remove(&self.flow);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_slow_flow_leaves_places_for_others_and_all_of_them_too() {
        let waiting = Waiting::new(8, 8000);
        let (one, two, three) = (FlowId::now(), FlowId::now(), FlowId::now());
        let mut held: Vec<Waits> = (0..4).map(|_| waiting.enter(one, 10).unwrap()).collect();
        assert!(waiting.enter(one, 10).is_none(), "half of the places");
        held.extend((0..2).map(|_| waiting.enter(two, 10).unwrap()));
        assert!(waiting.enter(two, 10).is_none() && waiting.enter(three, 10).is_none(), "three quarters of them");
        held.remove(0);
        let large = waiting.enter(three, 5000).unwrap();
        held.remove(0);
        assert!(waiting.enter(three, 10).is_none(), "half of the bytes");
        assert!(waiting.enter(one, 2000).is_none(), "three quarters of them");
        drop((held, large));
        assert!(waiting.held.lock().unwrap().is_empty());
        let tiny = Waiting::new(1, 1024);
        let only = tiny.enter(one, 4096).unwrap();
        assert!(tiny.enter(two, 1).is_none());
        drop(only);
    }

    #[test]
    fn sources_are_counted_by_network_and_forgotten() {
        let sources = Sources::new(2, false);
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let first = sources.enter(ip("203.0.113.1")).unwrap();
        let _second = sources.enter(ip("::ffff:203.0.113.200")).unwrap();
        assert!(sources.enter(ip("203.0.113.3")).is_none(), "the same /24");
        let _other = sources.enter(ip("203.0.114.3")).unwrap();
        drop(first);
        let _third = sources.enter(ip("203.0.113.3")).unwrap();
        let _six = [sources.enter(ip("2001:db8::1")).unwrap(), sources.enter(ip("2001:db8::ffff:1")).unwrap()];
        assert!(sources.enter(ip("2001:db8::2")).is_none(), "the same /64");
        assert!((0..9).map(|_| sources.enter(ip("127.0.0.1"))).collect::<Vec<_>>().iter().all(Option::is_some));
        drop((_second, _third, _other, _six));
        assert!(sources.open.lock().unwrap().is_empty());
    }

    #[test]
    fn a_rate_is_filled_again_with_time() {
        let rate = Rate::new(3);
        let now = Instant::now();
        let after = |ms: u64| now + std::time::Duration::from_millis(ms);
        assert_eq!((0..5).map(|_| rate.take_at(after(1)).is_ok()).filter(|fine| *fine).count(), 3);
        assert_eq!(rate.take_at(after(100)), Err(1));
        assert_eq!(rate.take_at(after(400)), Ok(()));
        assert_eq!((0..9).map(|_| rate.take_at(after(60_000)).is_ok()).filter(|fine| *fine).count(), 3);
        assert!((0..9).all(|_| Rate::new(0).take().is_ok()));
    }

    #[test]
    fn bytes_in_flight_are_bounded_over_all_deliveries() {
        let limit = InFlight::new(2, 8 * 1024);
        let mut one = limit.enter().unwrap();
        let mut two = limit.enter().unwrap();
        assert!(limit.enter().is_none());
        assert_eq!(limit.used(), (2, 0));
        assert!(one.grow(1) && one.grow(1024) && one.grow(5000));
        assert!(two.grow(3000) && !two.grow(3073), "5 KiB and 3 KiB are all there is");
        drop(one);
        assert!(two.grow(8192) && limit.enter().is_some());
    }
}
