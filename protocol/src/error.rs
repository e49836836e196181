//! The error that crosses the wire: a stable code, one sentence, a hint, and whether a repeat can help.

use serde::{Deserialize, Serialize};

/// Stable codes. Scripts match on these; the text may improve. `docs/errors.md` has an entry for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// The request itself is wrong: AURA-E1000.
    Invalid,
    /// A flow file did not pass its checks: AURA-E1100.
    FlowRefused,
    /// The thing named is not here, or not for you: AURA-E1200.
    NotFound,
    /// A prefix or suffix names more than one thing: AURA-E1201.
    Ambiguous,
    /// The thing changed meanwhile or is not in a state that allows this: AURA-E1300.
    Conflict,
    /// Your role does not allow this: AURA-E1400.
    Forbidden,
    /// The two sides speak different protocols: AURA-E1500.
    Protocol,
    /// The daemon is not reachable: AURA-E1600.
    Unreachable,
    /// Too much at once, come again: AURA-E1700.
    Busy,
    /// The daemon has no master key and serves nothing: AURA-E1800.
    Locked,
    /// Stored data failed its check: AURA-E1900.
    Corrupt,
    /// A fault of ours, with details in the daemon's log: AURA-E1999.
    Internal,
}

impl Code {
    /// Every code, for docs and tests.
    pub const ALL: &'static [Self] = &[
        Self::Invalid,
        Self::FlowRefused,
        Self::NotFound,
        Self::Ambiguous,
        Self::Conflict,
        Self::Forbidden,
        Self::Protocol,
        Self::Unreachable,
        Self::Busy,
        Self::Locked,
        Self::Corrupt,
        Self::Internal,
    ];

    /// The code as people and scripts see it.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::Invalid => "AURA-E1000",
            Self::FlowRefused => "AURA-E1100",
            Self::NotFound => "AURA-E1200",
            Self::Ambiguous => "AURA-E1201",
            Self::Conflict => "AURA-E1300",
            Self::Forbidden => "AURA-E1400",
            Self::Protocol => "AURA-E1500",
            Self::Unreachable => "AURA-E1600",
            Self::Busy => "AURA-E1700",
            Self::Locked => "AURA-E1800",
            Self::Corrupt => "AURA-E1900",
            Self::Internal => "AURA-E1999",
        }
    }

    /// The exit code of a command that failed so (0 success, 2 usage, 3 not found, …; listed in `docs/errors.md`).
    #[must_use]
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Invalid => 2,
            Self::NotFound | Self::Ambiguous => 3,
            Self::FlowRefused => 4,
            Self::Conflict => 5,
            Self::Forbidden => 6,
            Self::Protocol => 7,
            Self::Unreachable => 8,
            Self::Busy | Self::Locked => 9,
            Self::Corrupt | Self::Internal => 1,
        }
    }
}

/// One sentence for a person, a code for a script.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct WireError {
    /// Stable code.
    pub code: Code,
    /// What failed and where, in one sentence without a final stop.
    pub message: String,
    /// What to do, if we know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The same request may succeed later.
    #[serde(default)]
    pub retryable: bool,
    /// Findings of a refused flow, else empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<crate::flow::Finding>,
}

impl WireError {
    /// An error of a code with its sentence.
    #[must_use]
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), hint: None, retryable: code == Code::Busy, findings: Vec::new() }
    }

    /// Adds what to do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// A fault of ours; the details belong in the daemon's log.
    #[must_use]
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(Code::Internal, message)
    }

    /// The thing named is not here.
    #[must_use]
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(Code::NotFound, message)
    }
}
