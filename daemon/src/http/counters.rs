//! What the door counted since the start, as `/metrics` shows it in Prometheus' text format.
//!
//! Counters are atomics and nothing else: counting never waits. No label comes from outside.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Statuses of answers that are counted each for itself; the rest is counted by its hundred.
const STATUSES: [u16; 14] = [200, 202, 400, 401, 403, 404, 408, 413, 415, 421, 429, 431, 500, 503];

/// The counts of one daemon.
#[derive(Debug, Default)]
pub struct Counters {
    /// Connections that were taken.
    pub connections: AtomicU64,
    /// Of these, open ones.
    pub open: AtomicU64,
    /// Connections that were closed at once: too many of one source.
    pub turned_away: AtomicU64,
    /// Bytes of bodies that were read.
    pub body_bytes: AtomicU64,
    by_status: [AtomicU64; STATUSES.len()],
    by_hundred: [AtomicU64; 5],
}

impl Counters {
    /// Counts one answer.
    pub fn answered(&self, status: u16) {
        let exact = STATUSES.iter().position(|known| *known == status).and_then(|at| self.by_status.get(at));
        let hundred = || self.by_hundred.get(usize::from(status / 100).saturating_sub(1));
        if let Some(count) = exact.or_else(hundred) {
            count.fetch_add(1, Relaxed);
        }
    }

    /// Everything in Prometheus' text format; `more` are further lines of the same kind, name, help and value.
    #[must_use]
    pub fn text(&self, more: &[(&str, &str, &str, u64)]) -> String {
        let head =
            |name: &str, kind: &str, help: &str| format!("# HELP aura_{name} {help}\n# TYPE aura_{name} {kind}\n");
        let mut text = head("http_responses_total", "counter", "Answers of the door, by status.");
        for (status, count) in STATUSES.iter().zip(&self.by_status) {
            let _ = writeln!(text, "aura_http_responses_total{{status=\"{status}\"}} {}", count.load(Relaxed));
        }
        for (hundred, count) in (1..).zip(&self.by_hundred) {
            let _ = writeln!(text, "aura_http_responses_total{{status=\"{hundred}xx\"}} {}", count.load(Relaxed));
        }
        let own = [
            ("http_connections_total", "counter", "Connections taken.", self.connections.load(Relaxed)),
            ("http_connections_open", "gauge", "Connections open now.", self.open.load(Relaxed)),
            ("http_turned_away_total", "counter", "Connections closed at once.", self.turned_away.load(Relaxed)),
            ("http_body_bytes_total", "counter", "Bytes of bodies read.", self.body_bytes.load(Relaxed)),
        ];
        for (name, kind, help, value) in own.iter().chain(more) {
            text.push_str(&head(name, kind, help));
            let _ = writeln!(text, "aura_{name} {value}");
        }
        text
    }
}

/// Bytes of a page on every system that this runs on.
const PAGE: u64 = 4096;

/// Memory of this process that is in use, in bytes; 0 where the system does not say.
#[must_use]
pub fn resident_bytes() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm")
        .ok()
        .and_then(|text| text.split_ascii_whitespace().nth(1).and_then(|pages| pages.parse::<u64>().ok()));
    pages.unwrap_or(0) * PAGE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_what_prometheus_reads() {
        let counters = Counters::default();
        for status in [202, 202, 503, 418, 302] {
            counters.answered(status);
        }
        counters.body_bytes.fetch_add(7, Relaxed);
        let text = counters.text(&[("runs_live", "gauge", "Runs.", 3)]);
        for line in [
            "aura_http_responses_total{status=\"202\"} 2",
            "aura_http_responses_total{status=\"503\"} 1",
            "aura_http_responses_total{status=\"4xx\"} 1",
            "aura_http_responses_total{status=\"3xx\"} 1",
            "aura_http_body_bytes_total 7",
            "# TYPE aura_runs_live gauge",
            "aura_runs_live 3",
        ] {
            assert!(text.lines().any(|have| have == line), "{line} is missing in\n{text}");
        }
        assert!(text.lines().all(|line| line.starts_with("# ") || line.split(' ').count() == 2), "{text}");
        assert!(resident_bytes() > 1024 * 1024);
    }
}
