//! Two daemons: a relay where senders reach it, and one at home that takes what comes there.
//!
//! The one invariant: home dials and nothing else does; the relay is never told where home is.

use aura_protocol::relay::{RelayAdd, RelayInfo, RelayServing};

use super::daemon::Setup;
use super::{Daemon, Hook, LIMIT, wait_for, wait_until};

/// A relay and the daemon at home.
pub struct Pair {
    /// Where senders go.
    pub relay: Daemon,
    /// Where flows run.
    pub home: Daemon,
}

impl Pair {
    /// Starts both; the relay with these settings.
    pub fn start(environment: &[(&str, &str)]) -> Self {
        let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let setup = Setup { arguments: vec!["relay".to_owned()], environment, ..Setup::default() };
        let pair = Self { relay: Daemon::start_with(setup), home: Daemon::start() };
        pair.introduce();
        pair
    }

    /// Makes a token and gives it to home.
    pub fn introduce(&self) {
        let token = self.relay.ask().relay_token(()).expect("a token").token;
        self.add(&token);
    }

    /// Gives home a token.
    pub fn add(&self, token: &str) {
        let url = format!("http://{}", self.relay.address());
        let add = RelayAdd { name: "dmz".to_owned(), url, token: token.to_owned(), insecure: false };
        self.home.ask().relay_add(add).expect("a relay");
    }

    /// The relay as home sees it.
    pub fn seen(&self) -> RelayInfo {
        self.home.ask().relay_list(()).expect("the relays").relays.into_iter().next().expect("a relay")
    }

    /// The relay as it sees itself.
    pub fn serving(&self) -> RelayServing {
        self.relay.ask().relay_list(()).expect("the relay").serving.expect("a relay")
    }

    /// Waits until the relay has the routes of now.
    pub fn wait_routes(&self) {
        wait_until("the relay to have the routes of now", LIMIT, || {
            let seen = self.seen();
            seen.connected && seen.current
        });
    }

    /// Waits until nothing waits at the relay and home has heard so.
    pub fn wait_drained(&self) {
        wait_until("nothing to wait at the relay", LIMIT, || self.serving().waiting == 0);
    }

    /// The endpoint of a flow's only trigger at the relay, signed.
    pub fn hook(&self, flow: &str) -> Hook {
        self.at_relay(self.home.hook(flow))
    }

    /// The same endpoint at the relay, once it is there.
    pub fn at_relay(&self, hook: Hook) -> Hook {
        wait_for("the endpoint at the relay", LIMIT, || {
            let all = self.relay.ask().webhook_list(()).expect("the endpoints");
            all.iter().any(|one| one.url.ends_with(&hook.path)).then_some(())
        });
        Hook { address: self.relay.address(), ..hook }
    }
}
