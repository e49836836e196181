//! Who is at the other end of the socket: told by the kernel, never by the call.
//!
//! The daemon's own user and root are owners; everybody else needs an account in the settings.

use crate::accounts::Accounts;
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
    pub fn of(stream: &UnixStream, accounts: &Accounts) -> Self {
        let Ok(peer) = stream.peer_cred() else {
            return Self { account: "unknown".to_owned(), standing: Standing::Stranger };
        };
        let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
        Self::judged(peer.uid(), rustix::process::geteuid().as_raw(), &passwd, accounts)
    }

    fn judged(uid: u32, daemon: u32, passwd: &str, accounts: &Accounts) -> Self {
        let named = accounts.of(uid);
        let account = named.map(|(name, _)| name.to_owned()).or_else(|| account(uid, passwd));
        let account = account.unwrap_or_else(|| format!("uid {uid}"));
        let standing = match named {
            _ if uid == daemon || uid == 0 => Standing::Has(Role::Owner),
            Some((_, role)) => Standing::Has(role),
            None => Standing::Stranger,
        };
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
                format!("{} is neither the daemon's own user nor root, and has no account", self.account),
            )
            .hint("run `aura` as the user that runs `aurad`, or have an account added under `[accounts]`")),
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

/// Whether accounts take no names that root and the daemon's own user have without one: whoever is named is asked, may
/// vote and stands in journals by name, so a name must be of one user only.
///
/// # Errors
/// One sentence.
pub fn check(accounts: &Accounts) -> Result<(), String> {
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    checked(accounts, rustix::process::geteuid().as_raw(), &passwd)
}

fn checked(accounts: &Accounts, daemon: u32, passwd: &str) -> Result<(), String> {
    for uid in [0, daemon] {
        let name = Peer::judged(uid, daemon, passwd, accounts).account;
        if let Some(other) = accounts.0.get(&name).filter(|account| account.uid != uid) {
            let whose = if uid == 0 { "root" } else { "the daemon's own user" };
            let name = aura_protocol::text::display(&name);
            return Err(format!("gives `{name}`, the name of {whose}, to the user {}", other.uid));
        }
    }
    Ok(())
}

/// The role of an account by name: the daemon's own user and root are owners.
#[must_use]
pub fn role_of(name: &str, accounts: &Accounts) -> Option<Role> {
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let daemon = rustix::process::geteuid().as_raw();
    let owners = [daemon, 0].map(|uid| Peer::judged(uid, daemon, &passwd, accounts).account);
    if owners.iter().any(|owner| owner == name) { Some(Role::Owner) } else { accounts.role(name) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_daemons_user_and_root_have_a_role() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\nanna:x:1000:1000::/home/anna:/bin/sh\nbroken\n";
        for (uid, account, owner) in [(1000, "anna", true), (0, "root", true), (1001, "uid 1001", false)] {
            let peer = Peer::judged(uid, 1000, passwd, &Accounts::default());
            assert_eq!((peer.account.as_str(), peer.role().is_ok()), (account, owner));
        }
        let error = Peer::judged(7, 1000, "", &Accounts::default()).role().unwrap_err();
        assert_eq!(error.code, Code::Forbidden);
        let accounts = Accounts::read("anna.b:1000:viewer,ben:1001:operator").unwrap();
        let ben = Peer::judged(1001, 1000, passwd, &accounts);
        assert_eq!((ben.account.as_str(), ben.role().ok()), ("ben", Some(Role::Operator)));
        let own = Peer::judged(1000, 1000, passwd, &accounts);
        assert_eq!((own.account.as_str(), own.role().ok()), ("anna.b", Some(Role::Owner)));
    }

    #[test]
    fn a_name_that_root_or_the_daemons_user_has_is_given_to_nobody_else() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\naura:x:990:990::/:/bin/false\n";
        let check = |accounts: &str, expected: Option<&str>| {
            let said = checked(&Accounts::read(accounts).unwrap(), 990, passwd).err();
            match expected {
                None => assert_eq!(said, None, "{accounts}"),
                Some(part) => assert!(said.as_deref().unwrap_or_default().contains(part), "{accounts}: {said:?}"),
            }
        };
        check("root:1000:viewer", Some("`root`, the name of root, to the user 1000"));
        check("aura:1000:operator", Some("`aura`, the name of the daemon's own user"));
        check("root:0:owner,aura:990:owner,anna:1000:viewer", None);
        // Root and the daemon's user have other names here, so theirs are free.
        check("boss:0:owner,root:1000:viewer", None);
    }
}
