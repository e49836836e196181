//! Times, spans and sizes as people read them; pure, so that screens and commands say the same.
//!
//! Invariant: what is shown is true until news comes. Waits are shown as the moment they end, never as
//! a countdown, because nothing is drawn when nothing changes.

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// `08:41:07` in a zone.
#[must_use]
pub fn clock(at_ms: i64, zone: &TimeZone) -> String {
    format(at_ms, zone, "%H:%M:%S")
}

/// The clock on the same day as `now_ms`, else `Nov 20 08:41`; nine to twelve cells.
#[must_use]
pub fn moment(at_ms: i64, now_ms: i64, zone: &TimeZone) -> String {
    let day = |ms| format(ms, zone, "%Y-%m-%d");
    if day(at_ms) == day(now_ms) { clock(at_ms, zone) } else { format(at_ms, zone, "%b %d %H:%M") }
}

/// Day and clock without the year, `Nov 20 08:41:07`.
#[must_use]
pub fn day(at_ms: i64, zone: &TimeZone) -> String {
    format(at_ms, zone, "%b %d %H:%M:%S")
}

/// Date and clock, `2026-11-20 08:41:07`.
#[must_use]
pub fn full(at_ms: i64, zone: &TimeZone) -> String {
    format(at_ms, zone, "%Y-%m-%d %H:%M:%S")
}

fn format(at_ms: i64, zone: &TimeZone, pattern: &str) -> String {
    Timestamp::from_millisecond(at_ms)
        .map_or_else(|_| at_ms.to_string(), |time| time.to_zoned(zone.clone()).strftime(pattern).to_string())
}

/// A span in at most six cells: `12ms`, `0.6s`, `48s`, `1m05s`, `23h00m`, `6d02h`.
#[must_use]
pub fn took(ms: i64) -> String {
    let ms = ms.max(0);
    let secs = ms / 1000;
    match ms {
        0..1000 => format!("{ms}ms"),
        1000..10_000 => format!("{}.{}s", secs, (ms % 1000) / 100),
        10_000..60_000 => format!("{secs}s"),
        60_000..3_600_000 => format!("{}m{:02}s", secs / 60, secs % 60),
        3_600_000..86_400_000 => format!("{}h{:02}m", secs / 3600, secs / 60 % 60),
        _ => format!("{}d{:02}h", secs / 86_400, secs / 3600 % 24),
    }
}

/// Bytes in at most eight cells: `812 B`, `1.1 kB`, `34 MB`.
#[must_use]
pub fn bytes(count: u64) -> String {
    let mut whole = count;
    let mut tenth = 0;
    for unit in ["B", "kB", "MB", "GB"] {
        if whole < 1000 {
            return if unit == "B" || whole >= 10 {
                format!("{whole} {unit}")
            } else {
                format!("{whole}.{tenth} {unit}")
            };
        }
        tenth = whole % 1000 / 100;
        whole /= 1000;
    }
    format!("{whole} TB")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_fit_six_cells_and_keep_two_figures() {
        let check = |ms, expected: &str| assert_eq!(took(ms), expected);
        check(-5, "0ms");
        check(12, "12ms");
        check(600, "600ms");
        check(9_840, "9.8s");
        check(48_000, "48s");
        check(65_000, "1m05s");
        check(82_800_000, "23h00m");
        check(525_600_000, "6d02h");
    }

    #[test]
    fn sizes_use_thousands() {
        let check = |count, expected: &str| assert_eq!(bytes(count), expected);
        check(0, "0 B");
        check(999, "999 B");
        check(1_140, "1.1 kB");
        check(34_000_000, "34 MB");
        check(u64::MAX, "18446744 TB");
    }

    #[test]
    fn a_moment_names_the_day_only_when_it_is_another() {
        let now = 1_790_000_000_000;
        assert_eq!(moment(now - 1000, now, &TimeZone::UTC), "14:13:19");
        assert_eq!(moment(now - 86_400_000, now, &TimeZone::UTC), "Sep 20 14:13");
    }
}
