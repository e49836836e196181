//! The newest log lines in memory, for a support bundle where there is no journal to ask.
//!
//! Lines come here as they leave on standard error (one line, nothing a terminal would act on), so what is
//! kept shows no more than the log does. At most [`LINES`] lines and `BYTES` bytes.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

/// Most lines kept.
pub const LINES: usize = 500;
/// Most bytes kept.
const BYTES: usize = 256 * 1024;

struct Kept {
    lines: VecDeque<String>,
    bytes: usize,
}

static KEPT: Mutex<Kept> = Mutex::new(Kept { lines: VecDeque::new(), bytes: 0 });

/// Keeps a line.
pub fn keep(line: &str) {
    let line = line.trim_end_matches('\n').to_owned();
    let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    kept.bytes += line.len();
    kept.lines.push_back(line);
    while kept.lines.len() > LINES || kept.bytes > BYTES {
        match kept.lines.pop_front() {
            Some(old) => kept.bytes -= old.len(),
            None => break,
        }
    }
}

/// The newest lines, oldest first.
#[must_use]
pub fn newest(most: usize) -> Vec<String> {
    let kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    kept.lines.iter().skip(kept.lines.len().saturating_sub(most)).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_bytes_are_bounded_and_the_newest_stay() {
        for number in 0..2_000 {
            keep(&format!("line {number}\n"));
        }
        let seen = newest(3);
        assert_eq!(seen.last().map(String::as_str), Some("line 1999"));
        assert_eq!((seen.len(), newest(9_999).len()), (3, LINES));
        keep(&"x".repeat(BYTES));
        assert_eq!(newest(9_999).len(), 1);
    }
}
