//! How the door is reached from outside: what a person set, else what a tunnel found, else where it listens.
//!
//! Invariant: whoever needs the address asks here each time, so a new one of a tunnel counts everywhere at once.

use std::sync::{Arc, Mutex, PoisonError};

/// The address of the door. Cheap to clone; no address ends in a slash.
#[derive(Clone, Debug, Default)]
pub struct Reached(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    said: String,
    own: String,
    found: Mutex<Option<String>>,
}

fn bare(address: &str) -> String {
    address.trim_end_matches('/').to_owned()
}

impl Reached {
    /// From the setting `public_url` (empty: none) and the address at which the door listens.
    #[must_use]
    pub fn new(said: &str, own: &str) -> Self {
        Self(Arc::new(Inner { said: bare(said), own: bare(own), found: Mutex::default() }))
    }

    /// What is shown to people and given to senders.
    #[must_use]
    pub fn address(&self) -> String {
        match self.outside() {
            address if address.is_empty() => self.0.own.clone(),
            address => address,
        }
    }

    /// What senders use; empty if nobody knows: they may come by any name then.
    #[must_use]
    pub fn outside(&self) -> String {
        if !self.0.said.is_empty() {
            return self.0.said.clone();
        }
        self.0.found.lock().unwrap_or_else(PoisonError::into_inner).clone().unwrap_or_default()
    }

    /// Whether a person set it.
    #[must_use]
    pub fn is_set(&self) -> bool {
        !self.0.said.is_empty()
    }

    /// A tunnel found this address; true if it is another one than before.
    pub fn found(&self, address: &str) -> bool {
        let mut found = self.0.found.lock().unwrap_or_else(PoisonError::into_inner);
        let new = bare(address);
        let other = found.as_ref() != Some(&new);
        *found = Some(new);
        other
    }
}

impl From<&str> for Reached {
    fn from(said: &str) -> Self {
        Self::new(said, said)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_address_wins_over_a_found_one_and_that_over_the_own() {
        let reached = Reached::new("", "http://127.0.0.1:8470");
        assert_eq!((reached.address().as_str(), reached.outside().as_str()), ("http://127.0.0.1:8470", ""));
        let elsewhere = reached.clone();
        assert!(reached.found("https://a.example/") && !reached.found("https://a.example"));
        assert_eq!((elsewhere.address(), elsewhere.outside()), (reached.outside(), "https://a.example".to_owned()));
        let set = Reached::new("https://hooks.example.com/", "http://127.0.0.1:8470");
        set.found("https://a.example");
        assert_eq!((set.address().as_str(), set.is_set()), ("https://hooks.example.com", true));
    }
}
