//! The last moment before a tunnel's program: this process ties itself to the daemon, then becomes the program.
//!
//! Invariant: the kernel kills the program when the daemon ends, however it ends; a daemon that ended before the tie is
//! noticed.

use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::process::{Signal, getppid, set_parent_process_death_signal};

use crate::stop::Stop;

/// What is said of a program that is not there.
pub const NOT_THERE: &str = "the program is not installed";

/// Becomes the program.
///
/// # Errors
/// The daemon is gone, or there is no such program; the sentence is for the daemon, which reads it as a line.
pub fn become_it(daemon: u32, program: &str, arguments: &[String]) -> Result<(), Stop> {
    set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(|error| Stop::System(format!("the tunnel cannot be tied to the daemon: {error}")))?;
    let parent = getppid().map_or(0, |parent| parent.as_raw_nonzero().get());
    if u32::try_from(parent) != Ok(daemon) {
        return Err(Stop::System("the daemon ended before its tunnel began".to_owned()));
    }
    let error = Command::new(program).args(arguments).exec();
    Err(Stop::System(match error.kind() {
        std::io::ErrorKind::NotFound => NOT_THERE.to_owned(),
        _ => format!("the program does not start: {error}"),
    }))
}
