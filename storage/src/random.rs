//! Random bytes of the operating system, drawn many at a time: a transition needs several handfuls, and asking for
//! each costs as much as sealing a short value. Every byte is handed out once and forgotten.

use std::cell::RefCell;

/// Bytes drawn at once.
const DRAWN: usize = 1024;

thread_local! {
    /// What was drawn, and how much of it is used up.
    static POOL: RefCell<([u8; DRAWN], usize)> = const { RefCell::new(([0; DRAWN], DRAWN)) };
}

/// `N` random bytes, at most 1,024. For nonces, ids and seeds; a key that must stay secret is drawn by itself.
///
/// # Errors
/// The operating system gave none.
pub fn draw<const N: usize>() -> Result<[u8; N], getrandom::Error> {
    const { assert!(N <= DRAWN, "more than is drawn at once") };
    POOL.with_borrow_mut(|(pool, used)| {
        if *used + N > DRAWN {
            getrandom::fill(pool)?;
            *used = 0;
        }
        let mut bytes = [0; N];
        for (to, from) in bytes.iter_mut().zip(pool.iter_mut().skip(*used)) {
            *to = std::mem::take(from);
        }
        *used += N;
        Ok(bytes)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_given_twice() {
        let draws = || (0..500).map(|_| draw::<24>().unwrap()).collect::<Vec<_>>();
        let threads: Vec<_> = (0..4).map(|_| std::thread::spawn(draws)).collect();
        let all: Vec<_> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
        let different: std::collections::HashSet<_> = all.iter().collect();
        assert_eq!(different.len(), 2_000, "also over the edge of what was drawn, and between threads");
    }
}
