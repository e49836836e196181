//! Accounts of this machine: who a user of the socket is, and what they may do.
//!
//! They stand under `[accounts]` in the settings. The daemon's own user and root are owners whatever is written there;
//! who is not named and neither of the two is refused.

use std::collections::BTreeMap;

use aura_protocol::rpc::Role;
use serde::{Deserialize, Serialize};

/// Accounts by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Accounts(pub BTreeMap<String, Account>);

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Account {
    /// User id on this machine.
    pub uid: u32,
    /// What they may do.
    pub role: Role,
}

impl Accounts {
    /// Name and role of a user.
    #[must_use]
    pub fn of(&self, uid: u32) -> Option<(&str, Role)> {
        self.0.iter().find(|(_, account)| account.uid == uid).map(|(name, account)| (name.as_str(), account.role))
    }

    /// The role of an account.
    #[must_use]
    pub fn role(&self, name: &str) -> Option<Role> {
        self.0.get(name).map(|account| account.role)
    }

    /// Why these cannot be.
    ///
    /// # Errors
    /// One sentence.
    pub fn check(&self) -> Result<(), String> {
        let is_name = |name: &str| {
            !name.is_empty()
                && name.len() <= 64
                && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '@'))
        };
        for (name, account) in &self.0 {
            if !is_name(name) {
                return Err(format!("has `{}`, which cannot name an account", aura_protocol::text::display(name)));
            }
            if aura_protocol::approval::ROLES.contains(&name.as_str()) {
                return Err(format!("has `{name}`, which is the name of a role"));
            }
            if let Some((other, _)) = self.0.iter().find(|(other, it)| it.uid == account.uid && *other != name) {
                return Err(format!("gives the user {} to both `{name}` and `{other}`", account.uid));
            }
        }
        Ok(())
    }

    /// As the environment writes them: `anna:1000:operator,ben:1001:viewer`.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn read(text: &str) -> Result<Self, String> {
        let mut accounts = BTreeMap::new();
        for entry in text.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
            let wrong = || format!("`{entry}` is not NAME:UID:ROLE");
            let [name, uid, role] = entry.split(':').collect::<Vec<_>>()[..] else { return Err(wrong()) };
            let role = serde_json::from_value(serde_json::Value::from(role)).map_err(|_| wrong())?;
            accounts.insert(name.to_owned(), Account { uid: uid.parse().map_err(|_| wrong())?, role });
        }
        Ok(Self(accounts))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_are_read_and_judged() {
        let accounts = Accounts::read("anna:1000:operator, ben:1001:viewer").unwrap();
        assert_eq!(accounts.of(1001), Some(("ben", Role::Viewer)));
        assert_eq!((accounts.of(7), accounts.check()), (None, Ok(())));
        let check = |text: &str, expected: &str| {
            let said = Accounts::read(text).and_then(|accounts| accounts.check()).unwrap_err();
            assert!(said.contains(expected), "{said}");
        };
        check("anna", "NAME:UID:ROLE");
        check("anna:1:king", "NAME:UID:ROLE");
        check("owner:1:viewer", "name of a role");
        check("anna:1:viewer,ben:1:viewer", "both `anna` and `ben`");
    }
}
