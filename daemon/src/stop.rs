//! Why the daemon did not start or had to end: one sentence and one stable exit code each.
//!
//! The codes follow `sysexits.h` where it has one; `docs/operating.md` lists them.

/// Why `aurad` ends without success.
#[derive(Debug, thiserror::Error)]
pub enum Stop {
    /// A setting is wrong: exit 78.
    #[error("{0}")]
    Config(String),
    /// The master key is missing, not safe, or of another store: the daemon is locked meanwhile (a demo ends with 77).
    #[error("{0}")]
    Key(String),
    /// An address or socket is taken: exit 69.
    #[error("{0}")]
    Taken(String),
    /// The store did not open or cannot write: exit 74.
    #[error("{0}")]
    Store(String),
    /// The system refused something: exit 71.
    #[error("{0}")]
    System(String),
    /// The demo did not come to its good end: exit 1.
    #[error("{0}")]
    Demo(String),
}

impl Stop {
    /// The exit code.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Demo(_) => 1,
            Self::Taken(_) => 69,
            Self::System(_) => 71,
            Self::Store(_) => 74,
            Self::Key(_) => 77,
            Self::Config(_) => 78,
        }
    }
}
