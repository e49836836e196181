//! How much one place may send to forms: so many a minute of one network.
//!
//! Invariant: bounded memory; a loopback that no trusted proxy speaks for is where a proxy stands, and not counted.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

/// Submissions of one network in a minute, those with mistakes included.
pub(super) const PER_MINUTE: u32 = 30;
/// Networks remembered.
const NETWORKS_MAX: usize = 10_000;
const MINUTE_MS: i64 = 60_000;

/// Counts by network: /24 of IPv4, /64 of IPv6.
#[derive(Debug, Default)]
pub struct FormRate(Mutex<HashMap<u64, (i64, u32)>>);

fn network(address: IpAddr) -> u64 {
    match address.to_canonical() {
        IpAddr::V4(four) => u64::from(u32::from(four) >> 8),
        IpAddr::V6(six) => u64::try_from(u128::from(six) >> 64).unwrap_or(u64::MAX),
    }
}

impl FormRate {
    /// Counts one; whether it is still within the limit.
    #[must_use]
    pub fn takes(&self, address: IpAddr, now_ms: i64) -> bool {
        if address.to_canonical().is_loopback() {
            return true;
        }
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let over = |began: i64| !(0..MINUTE_MS).contains(&now_ms.saturating_sub(began));
        let network = network(address);
        if counts.len() >= NETWORKS_MAX && !counts.contains_key(&network) {
            counts.retain(|_, (began, _)| !over(*began));
            if counts.len() >= NETWORKS_MAX {
                // So many networks in one minute are one attack: the quarter that came first is forgotten, and nobody
                // is locked out.
                let mut begun: Vec<i64> = counts.values().map(|(began, _)| *began).collect();
                let (_, last, _) = begun.select_nth_unstable(NETWORKS_MAX / 4);
                counts.retain(|_, (began, _)| *began > *last);
            }
        }
        let (began, count) = counts.entry(network).or_insert((now_ms, 0));
        if over(*began) {
            (*began, *count) = (now_ms, 0);
        }
        *count = count.saturating_add(1);
        *count <= PER_MINUTE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_may_send_so_much_a_minute_and_others_are_not_in_its_way() {
        let rate = FormRate::default();
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        for number in 0..PER_MINUTE {
            assert!(rate.takes(ip(&format!("203.0.113.{}", number % 250)), 1_000));
        }
        assert!(!rate.takes(ip("203.0.113.7"), 1_001) && rate.takes(ip("203.0.114.7"), 1_001));
        assert!(!rate.takes(ip("203.0.113.7"), 60_999) && rate.takes(ip("203.0.113.7"), 61_000));
        assert!(rate.takes(ip("203.0.113.7"), 0), "a clock that was set back locks nobody out");
        assert!((0..1_000).all(|_| rate.takes(ip("127.0.0.1"), 0)));
        for number in 0..20_000_u32 {
            let [_, a, b, c] = number.to_be_bytes();
            assert!(rate.takes(IpAddr::from([10_u8.wrapping_add(a), b, c, 0]), 70_000 + i64::from(number)), "{number}");
        }
        let last = IpAddr::from([10, 0x4e, 0x1f, 7]);
        assert_eq!((0..PER_MINUTE).filter(|_| rate.takes(last, 90_001)).count(), 29, "who is known is counted on");
        assert!(rate.0.lock().unwrap().len() <= NETWORKS_MAX);
    }
}
