//! Who is at the other end of the socket: told by the kernel, never by the call.
//!
//! The daemon's own user and root are owners; everybody else is refused until there are accounts.

use aura_protocol::rpc::Role;
use aura_protocol::{Code, WireError};
use tokio::net::UnixStream;

/// A client's account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Account name, or `uid 1000` if it has none.
    pub account: String,
    /// What it may do.
    pub standing: Standing,
}

/// What a client may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It has a role.
    Has(Role),
    /// The kernel says it is somebody else.
    Stranger,
    /// There are too many clients.
    OneTooMany,
}

impl Peer {
    /// The client of a connection.
    #[must_use]
    pub fn of(stream: &UnixStream) -> Self {
        let Ok(peer) = stream.peer_cred() else {
            return Self { account: "unknown".to_owned(), standing: Standing::Stranger };
        };
        let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
        Self::judged(peer.uid(), rustix::process::geteuid().as_raw(), &passwd)
    }

    fn judged(uid: u32, daemon: u32, passwd: &str) -> Self {
        let account = account(uid, passwd).unwrap_or_else(|| format!("uid {uid}"));
        let standing = if uid == daemon || uid == 0 { Standing::Has(Role::Owner) } else { Standing::Stranger };
        Self { account, standing }
    }

    /// The role.
    ///
    /// # Errors
    /// Why the client has none.
    pub fn role(&self) -> Result<Role, WireError> {
        match self.standing {
            Standing::Has(role) => Ok(role),
            Standing::Stranger => Err(WireError::new(
                Code::Forbidden,
                format!("{} is neither the daemon's own user nor root", self.account),
            )
            .hint("run `aura` as the user that runs `aurad`")),
            Standing::OneTooMany => {
                Err(WireError::new(Code::Busy, "the daemon serves as many clients as it may; close one and try again"))
            }
        }
    }
}

fn account(uid: u32, passwd: &str) -> Option<String> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_daemons_user_and_root_have_a_role() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\nanna:x:1000:1000::/home/anna:/bin/sh\nbroken\n";
        for (uid, account, owner) in [(1000, "anna", true), (0, "root", true), (1001, "uid 1001", false)] {
            let peer = Peer::judged(uid, 1000, passwd);
            assert_eq!((peer.account.as_str(), peer.role().is_ok()), (account, owner));
        }
        let error = Peer::judged(7, 1000, "").role().unwrap_err();
        assert_eq!(error.code, Code::Forbidden);
    }
}
