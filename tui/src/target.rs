//! Where a daemon is: a socket of this machine, or `ssh://` and what runs `aura stdio` there.
//!
//! Invariant: nothing of an address can become an option of ssh or a word of the remote shell; it is refused
//! when it is read.

use std::fmt;
use std::path::PathBuf;

use aura_protocol::text::display;
use aura_protocol::{Code, WireError};

/// Where a daemon is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A socket of this machine.
    Socket(PathBuf),
    /// Another machine.
    Ssh(Ssh),
}

/// Another machine, reached by ssh.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ssh {
    /// Account there; empty for what ssh thinks.
    pub user: String,
    /// Machine, as ssh takes it.
    pub host: String,
    /// Port, if it is not the one of ssh's own settings.
    pub port: Option<u16>,
    /// Socket of the daemon there; empty for what the aura there finds.
    pub socket: String,
    /// The `aura` of that machine.
    pub remote: String,
    /// What is run in place of `ssh`, with its first arguments.
    pub program: Vec<String>,
    /// Never ask for a password: the screens own the terminal.
    pub quiet: bool,
}

impl From<PathBuf> for Target {
    fn from(path: PathBuf) -> Self {
        Self::Socket(path)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(path) => write!(f, "{}", path.display()),
            Self::Ssh(ssh) => write!(f, "{}", ssh.address()),
        }
    }
}

impl Target {
    /// The same, but never asking on the terminal.
    #[must_use]
    pub fn quiet(&self) -> Self {
        match self {
            Self::Ssh(ssh) => Self::Ssh(Ssh { quiet: true, ..ssh.clone() }),
            other => other.clone(),
        }
    }

    /// The arguments with which another `aura` talks to the same daemon.
    #[must_use]
    pub fn arguments(&self) -> Vec<String> {
        match self {
            Self::Socket(path) => vec!["--socket".to_owned(), path.display().to_string()],
            Self::Ssh(ssh) => vec!["--host".to_owned(), ssh.address()],
        }
    }

    /// Reads `ssh://[user@]host[:port][/socket]`.
    ///
    /// # Errors
    /// `Invalid` with what is wrong.
    pub fn ssh(text: &str, remote: Option<&str>, program: Option<&str>) -> Result<Self, WireError> {
        let refuse = |why: &str| {
            WireError::new(Code::Invalid, format!("`{}` is no address of a machine: {why}", display(text)))
                .hint("write it like ssh://ops@shop-01, ssh://ops@shop-01:2222 or ssh://shop-01/run/aura/aurad.sock")
        };
        let rest = text.strip_prefix("ssh://").ok_or_else(|| refuse("it does not begin with ssh://"))?;
        let (place, socket) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let (user, place) = place.rsplit_once('@').unwrap_or(("", place));
        let (host, port) = match place.rsplit_once(':') {
            Some((host, port)) if !host.contains(':') || host.ends_with(']') => {
                (host, Some(port.parse().map_err(|_| refuse("its port is no number from 1 to 65535"))?))
            }
            _ => (place, None),
        };
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let word = |text: &str, more: &str| {
            !text.starts_with('-')
                && text.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c) || more.contains(c))
        };
        if host.is_empty() || !word(host, ":%") {
            return Err(refuse("its host is missing or has characters that no host has"));
        }
        if !word(user, "+@\\") {
            return Err(refuse("its user has characters that no account has"));
        }
        if socket.chars().any(char::is_control) || socket == "/" {
            return Err(refuse("its path is no socket"));
        }
        let remote = remote.unwrap_or("aura");
        if remote.is_empty() || remote.chars().any(char::is_control) {
            return Err(refuse("the program `aura` of that machine has no sound name"));
        }
        let program: Vec<String> = program.unwrap_or("ssh").split_whitespace().map(str::to_owned).collect();
        if program.is_empty() {
            return Err(refuse("AURA_SSH names no program"));
        }
        Ok(Self::Ssh(Ssh {
            user: user.to_owned(),
            host: host.to_owned(),
            port,
            socket: socket.to_owned(),
            remote: remote.to_owned(),
            program,
            quiet: false,
        }))
    }
}

impl Ssh {
    /// As people write it.
    #[must_use]
    pub fn address(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        let user = if self.user.is_empty() { String::new() } else { format!("{}@", self.user) };
        let port = self.port.map_or(String::new(), |port| format!(":{port}"));
        format!("ssh://{user}{host}{port}{}", self.socket)
    }

    /// Program and arguments.
    #[must_use]
    pub fn command(&self) -> Vec<String> {
        let mut words = self.program.clone();
        words.extend(["-T", "-e", "none", "-o", "ConnectTimeout=10"].map(str::to_owned));
        words.extend(["-o", "ServerAliveInterval=15", "-o", "ServerAliveCountMax=3"].map(str::to_owned));
        if self.quiet {
            words.extend(["-o", "BatchMode=yes"].map(str::to_owned));
        }
        if let Some(port) = self.port {
            words.extend(["-p".to_owned(), port.to_string()]);
        }
        if !self.user.is_empty() {
            words.extend(["-l".to_owned(), self.user.clone()]);
        }
        words.extend(["--".to_owned(), self.host.clone()]);
        // One word: the shell of the other side reads it.
        let socket = if self.socket.is_empty() { String::new() } else { format!("--socket {} ", quoted(&self.socket)) };
        words.push(format!("{} {socket}stdio", quoted(&self.remote)));
        words
    }
}

/// A word for a shell, in quotes only where it needs them.
#[must_use]
pub fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-/:@%+=,".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_written_alike() {
        let check = |text: &str, user: &str, host: &str, port: Option<u16>, socket: &str| {
            let Ok(Target::Ssh(ssh)) = Target::ssh(text, None, None) else { panic!("{text}") };
            assert_eq!((&*ssh.user, &*ssh.host, ssh.port, &*ssh.socket), (user, host, port, socket), "{text}");
            assert_eq!(ssh.address(), text);
        };
        check("ssh://shop-01", "", "shop-01", None, "");
        check("ssh://ops@shop-01:2222", "ops", "shop-01", Some(2222), "");
        check("ssh://ops@shop-01/run/aura/aurad.sock", "ops", "shop-01", None, "/run/aura/aurad.sock");
        check("ssh://ops@[fe80::1]:22", "ops", "fe80::1", Some(22), "");
        check("ssh://ops@corp@host", "ops@corp", "host", None, "");
    }

    #[test]
    fn what_could_be_an_option_or_a_command_is_refused() {
        for text in [
            "shop-01",
            "ssh://",
            "ssh://-oProxyCommand=x",
            "ssh://-l@host",
            "ssh://host:0x1",
            "ssh://host:99999",
            "ssh://ho st",
            "ssh://host;reboot",
            "ssh://host$(x)",
            "ssh://host/",
            "ssh://host/a\nb",
        ] {
            let error = Target::ssh(text, None, None).unwrap_err();
            assert!(error.code == Code::Invalid && error.hint.is_some(), "{text}");
        }
    }

    #[test]
    fn the_command_is_ssh_with_one_quoted_word_for_the_other_side() {
        let words = |text: &str, remote: Option<&str>| match Target::ssh(text, remote, Some("ssh -F /x")) {
            Ok(Target::Ssh(ssh)) => ssh.command(),
            other => panic!("{other:?}"),
        };
        let seen = words("ssh://ops@shop-01:2222/run/o'dd $x.sock", Some("/opt/my aura"));
        assert_eq!(seen[..4], ["ssh", "-F", "/x", "-T"]);
        assert_eq!(seen[seen.len() - 7..seen.len() - 1], ["-p", "2222", "-l", "ops", "--", "shop-01"]);
        assert_eq!(seen.last().unwrap(), "'/opt/my aura' --socket '/run/o'\\''dd $x.sock' stdio");
        assert_eq!(words("ssh://shop-01", None).last().unwrap(), "aura stdio");
    }
}
