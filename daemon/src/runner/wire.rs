//! What the daemon and a runner say to each other: frames of a length (four bytes, big-endian) and JSON.
//!
//! Both sides are bounded. What comes from a runner is text of a stranger: it is read with limits, and shown only as
//! every other text from outside.

use serde::{Deserialize, Serialize};

/// What a runner says when it is closed in and ready.
pub const READY: &[u8; 8] = b"aura-js1";
/// Largest job.
pub const JOB_MAX: usize = 17 * 1024 * 1024;
/// Largest input and largest output of a script, as JSON.
pub const VALUE_MAX: usize = 8 * 1024 * 1024;
/// Lines that a script may print; further ones are dropped.
pub const LINES_MAX: usize = 100;
/// Longest of those lines in bytes.
pub const LINE_MAX: usize = 1024;

/// Longest sentence about what went wrong, in bytes.
pub const MESSAGE_MAX: usize = 4 * 1024;
/// Largest answer: JSON within JSON, and lines of control characters.
pub const ANSWER_MAX: usize = VALUE_MAX * 2 + LINES_MAX * LINE_MAX * 6 + 64 * 1024;

/// A script to run.
#[derive(Debug, Serialize, Deserialize)]
pub struct Job {
    /// The body of a function of `input`.
    pub js: String,
    /// `input`, as JSON.
    pub input: String,
    /// What the clock shows, in Unix milliseconds.
    pub now_ms: i64,
    /// What `Math.random` begins with.
    pub seed: u32,
    /// It may take this long.
    pub time_ms: u64,
}

/// Why there is no output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// The script threw, or is none.
    Script,
    /// It took too long.
    Time,
    /// It took too much memory.
    Memory,
    /// What it returned cannot be an output.
    Output,
    /// The job was no job.
    Refused,
}

/// What became of a job.
#[derive(Debug, Serialize, Deserialize)]
pub struct Answer {
    /// The output as JSON, or why there is none.
    pub outcome: Result<String, (Fault, String)>,
    /// What it printed.
    #[serde(default)]
    pub lines: Vec<String>,
}

impl Answer {
    /// Without an output.
    #[must_use]
    pub fn failed(fault: Fault, message: impl Into<String>) -> Self {
        Self { outcome: Err((fault, message.into())), lines: Vec::new() }
    }

    /// The script did not end in its time.
    #[must_use]
    pub fn late(job: &Job) -> Self {
        Self::failed(Fault::Time, format!("the script took longer than {} ms", job.time_ms))
    }

    /// As a frame.
    #[must_use]
    pub fn to_frame(&self) -> Vec<u8> {
        framed(self)
    }

    /// Of the bytes of a frame.
    ///
    /// # Errors
    /// It is no answer.
    pub fn from_frame(frame: &[u8]) -> Result<Self, String> {
        let answer: Self = serde_json::from_slice(frame).map_err(|error| error.to_string())?;
        Ok(answer.bounded())
    }

    /// Within the limits of lines and sentences, whoever made it.
    #[must_use]
    pub fn bounded(mut self) -> Self {
        self.lines.truncate(LINES_MAX);
        self.lines.iter_mut().for_each(|line| line.truncate(line.floor_char_boundary(LINE_MAX)));
        if let Err((_, message)) = &mut self.outcome {
            message.truncate(message.floor_char_boundary(MESSAGE_MAX));
        }
        self
    }
}

impl Job {
    /// As a frame.
    #[must_use]
    pub fn to_frame(&self) -> Vec<u8> {
        framed(self)
    }

    /// Of the bytes of a frame.
    ///
    /// # Errors
    /// It is no job.
    pub fn from_frame(frame: &[u8]) -> Result<Self, String> {
        serde_json::from_slice(frame).map_err(|error| error.to_string())
    }
}

fn framed<T: Serialize>(message: &T) -> Vec<u8> {
    let body = serde_json::to_vec(message).unwrap_or_default();
    let mut frame = Vec::with_capacity(body.len() + 4);
    frame.extend_from_slice(&u32::try_from(body.len()).unwrap_or(u32::MAX).to_be_bytes());
    frame.extend_from_slice(&body);
    frame
}
