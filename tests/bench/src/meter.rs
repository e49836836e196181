//! What the kernel counted of a process and of the disk.
//!
//! The one invariant: two readings of one process are taken by the same thread around one phase, so their
//! difference belongs to that phase. CPU time is that of all threads, ended ones too.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::{Context, Result};

/// One reading. Differences count.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reading {
    /// CPU time of the process, in ticks of the kernel.
    pub ticks: u64,
    /// Bytes that the process made the kernel write.
    pub written: u64,
    /// Bytes that the disk below the data directory was given, by anybody.
    pub disk: u64,
    /// CPU time of the whole machine that was not idle, in ticks.
    pub machine: u64,
    /// CPU time of this process (sender and sink), in ticks.
    pub own: u64,
}

/// Ticks a second in `/proc`: USER_HZ, which is 100 on every machine that we build for (`man 5 proc`).
pub const TICKS_PER_SECOND: u64 = 100;

/// Reads everything of a process whose files lie in a folder.
///
/// # Errors
/// The process is gone.
pub fn read(process: u32, folder: &Path) -> Result<Reading> {
    Ok(Reading {
        ticks: ticks(&format!("/proc/{process}/stat"))?,
        written: field(&text(&format!("/proc/{process}/io"))?, "write_bytes:").context("no write_bytes")?,
        disk: disk(folder).unwrap_or(0),
        machine: machine()?,
        own: ticks("/proc/self/stat")?,
    })
}

/// Proportional memory of a process in KiB.
///
/// # Errors
/// The process is gone.
pub fn pss_kib(process: u32) -> Result<u64> {
    field(&text(&format!("/proc/{process}/smaps_rollup"))?, "Pss:").context("no Pss")
}

/// Resident memory of a process in KiB.
///
/// # Errors
/// The process is gone.
pub fn rss_kib(process: u32) -> Result<u64> {
    field(&text(&format!("/proc/{process}/status"))?, "VmRSS:").context("no VmRSS")
}

fn text(path: &str) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("{path} cannot be read"))
}

/// The first number behind a name.
fn field(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse().ok())
}

fn ticks(path: &str) -> Result<u64> {
    stat_ticks(&text(path)?).with_context(|| format!("{path} has an unknown form"))
}

/// User and system time; the name before them may hold anything, so they are counted from its last bracket.
fn stat_ticks(text: &str) -> Option<u64> {
    let mut fields = text.rsplit_once(')')?.1.split_whitespace().skip(11);
    let mut next = || fields.next()?.parse::<u64>().ok();
    Some(next()? + next()?)
}

/// Time that was not idle: all columns but idle, iowait and those of guests.
fn machine() -> Result<u64> {
    let text = text("/proc/stat")?;
    let line = text.lines().next().unwrap_or_default();
    let busy = line.split_whitespace().skip(1).take(8).enumerate().filter(|(at, _)| !matches!(at, 3 | 4));
    Ok(busy.filter_map(|(_, value)| value.parse::<u64>().ok()).sum())
}

fn disk(folder: &Path) -> Option<u64> {
    let device = fs::metadata(folder).ok()?.dev();
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    sectors(&fs::read_to_string("/proc/diskstats").ok()?, major, minor).map(|sectors| sectors * 512)
}

fn sectors(text: &str, major: u32, minor: u32) -> Option<u64> {
    text.lines().find_map(|line| {
        let mut fields = line.split_whitespace();
        let here = fields.next()?.parse() == Ok(major) && fields.next()?.parse() == Ok(minor);
        // Name, then reads (4), then writes and merged writes, then the sectors.
        here.then(|| fields.nth(7)?.parse().ok()).flatten()
    })
}

/// Whether a folder lies in memory: there a flush costs nothing and no figure means anything.
#[must_use]
pub fn in_memory(folder: &Path) -> bool {
    const TMPFS: i64 = 0x0102_1994;
    rustix::fs::statfs(folder).is_ok_and(|found| found.f_type == TMPFS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_tables_are_read() {
        let line = "7 (a (b) c) S 1 7 7 0 -1 4194304 1 2 3 4 150 25 6 7 20 0 3 0 1000 1 2";
        assert_eq!(stat_ticks(line), Some(175));
        assert_eq!(stat_ticks("nothing"), None);
        let table = " 254 0 vda 1 2 3 4 5 6 7777 8 0 1 2\n 254 1 vda1 1 2 3 4 5 6 88 8 0 1 2\n";
        assert_eq!(
            (sectors(table, 254, 0), sectors(table, 254, 1), sectors(table, 8, 0)),
            (Some(7777), Some(88), None)
        );
        assert_eq!(field("Rss: 5 kB\nPss:   12 kB\n", "Pss:"), Some(12));
    }

    #[test]
    fn this_process_can_be_read() {
        let reading = read(std::process::id(), Path::new("/")).expect("a reading");
        assert!(reading.machine > 0);
        assert!(pss_kib(std::process::id()).expect("memory") > 0 && rss_kib(std::process::id()).expect("memory") > 0);
    }
}
