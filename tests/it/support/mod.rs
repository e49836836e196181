//! What behaviour tests stand on: the real binaries, a receiver for their calls, and waiting for conditions.
//!
//! The one invariant: nothing in here sleeps for a fixed time to make something happen; [`wait_until`]
//! asks again until it is true or the limit is over, and says what it waited for. See [`daemon`] for the
//! process, [`client`] for the rpc, [`receiver`] for the outside world and [`sender`] for webhooks.

pub mod client;
pub mod daemon;
pub mod pair;
pub mod receiver;
pub mod screen;
pub mod sender;

use std::fmt::Debug;
use std::time::{Duration, Instant};

pub use client::{Client, block_on};
pub use daemon::{Daemon, Journal, Place, Said, Setup, aura, aura_at, aura_in, run_of};
pub use pair::Pair;
pub use receiver::{Answer, Receiver, Request};
pub use screen::Screen;
pub use sender::{Hook, Reply};

/// Long enough for a slow machine, short enough to notice.
pub const LIMIT: Duration = Duration::from_secs(30);

/// Asks again until the answer is there; panics with what was waited for.
pub fn wait_for<T>(what: &str, limit: Duration, mut ask: impl FnMut() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(begin.elapsed() < limit, "waited {limit:?} in vain for: {what}");
        tick();
    }
}

/// Asks again until it is true; panics with what was waited for.
pub fn wait_until(what: &str, limit: Duration, mut ask: impl FnMut() -> bool) {
    wait_for(what, limit, || ask().then_some(()));
}

/// The breath between two questions.
#[expect(clippy::disallowed_methods, reason = "a test thread that polls; nothing depends on the length")]
pub fn tick() {
    std::thread::sleep(Duration::from_millis(5));
}

/// Unix milliseconds of this machine.
pub fn now_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a clock after 1970");
    i64::try_from(since.as_millis()).expect("a clock before the year 292 million")
}

/// Asserts that a text says something, and shows the text if not.
pub fn assert_says(text: impl Debug + AsRef<str>, wanted: &[&str]) {
    for piece in wanted {
        assert!(text.as_ref().to_lowercase().contains(&piece.to_lowercase()), "`{piece}` is missing in: {text:?}");
    }
}
