//! The runner: a process of its own in which scripts of flows run (`aurad runner`), and the daemon's side of it.
//!
//! No user code is in the daemon's address space (design §4). A runner serves one Unix socket, its standard input:
//! under systemd that is a connection of `aurad-runner.socket` (a unit without network, files or privileges), elsewhere
//! the daemon starts it and it closes itself in ([`sandbox`]) before it reads a byte. The one invariant: a runner that
//! cannot be closed in runs nothing. Each job has a JavaScript engine of its own, so nothing of one is seen by the next.
//!
//! [`wire`] is what the two say to each other, [`script`] runs one job, [`pool`] keeps warm runners.

pub mod numbers;
pub mod pool;
pub mod sandbox;
pub mod script;
pub mod wire;

use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use self::wire::{Answer, Job};
use crate::stop::Stop;

/// What a script that does not end, not even when the engine asks it to, is given before its process ends.
const GRACE: Duration = Duration::from_millis(400);

/// `aurad runner`: serves the socket that is its standard input until that is closed.
///
/// # Errors
/// It has no such socket, or cannot be closed in.
pub fn serve() -> Result<(), Stop> {
    let system = |what: &str, error: &dyn std::fmt::Display| Stop::System(format!("the runner {what}: {error}"));
    let input = std::io::stdin().as_fd().try_clone_to_owned().map_err(|error| system("has no input", &error))?;
    let mut socket = UnixStream::from(input);
    socket
        .peer_addr()
        .map_err(|_| Stop::System("the runner serves a socket as its standard input; `aurad` starts it".to_owned()))?;
    let watch = Arc::new(Watch::default());
    let watching = Arc::clone(&watch);
    let (ready, began) = std::sync::mpsc::channel();
    sandbox::files().map_err(|error| system("cannot be closed in", &error))?;
    std::thread::Builder::new()
        .name("watch".to_owned())
        .stack_size(64 * 1024)
        .spawn(move || {
            let _ = ready.send(());
            watching.keep();
        })
        .map_err(|error| system("did not start", &error))?;
    // A thread needs more calls to begin than it has afterwards: it must have begun before they are taken away.
    began.recv().map_err(|error| system("did not start", &error))?;
    sandbox::calls().map_err(|error| system("cannot be closed in", &error))?;
    // The first word of a runner: it is closed in.
    socket.write_all(wire::READY).map_err(|error| system("cannot answer", &error))?;
    while let Some(frame) = read_frame(&mut socket).map_err(|error| system("cannot read", &error))? {
        let answer = match Job::from_frame(&frame) {
            Ok(job) => {
                watch.begin(Duration::from_millis(job.time_ms) + GRACE);
                let answer = script::run(&job);
                watch.end();
                answer
            }
            Err(message) => Answer::failed(wire::Fault::Refused, message),
        };
        socket.write_all(&answer.to_frame()).map_err(|error| system("cannot answer", &error))?;
    }
    Ok(())
}

/// One frame; `None` at the end of the connection.
fn read_frame(socket: &mut UnixStream) -> std::io::Result<Option<Vec<u8>>> {
    let mut length = [0; 4];
    match socket.read_exact(&mut length) {
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(None),
        other => other?,
    }
    let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
    if length > wire::JOB_MAX {
        return Err(std::io::Error::new(std::io::ErrorKind::InvalidData, "the frame is too large"));
    }
    let mut frame = vec![0; length];
    socket.read_exact(&mut frame)?;
    Ok(Some(frame))
}

/// Ends the process when a job does not end: some parts of the engine do not ask whether they should.
#[derive(Default)]
struct Watch {
    until: Mutex<Option<Instant>>,
    changed: Condvar,
}

impl Watch {
    fn begin(&self, time: Duration) {
        *self.until.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now().checked_add(time);
        self.changed.notify_one();
    }

    fn end(&self) {
        *self.until.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn keep(&self) {
        let mut until = self.until.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            until = match *until {
                None => self.changed.wait(until).unwrap_or_else(PoisonError::into_inner),
                Some(then) => {
                    let now = Instant::now();
                    if now >= then {
                        std::process::abort();
                    }
                    self.changed.wait_timeout(until, then - now).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }
}
